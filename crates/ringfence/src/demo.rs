//! `ringfence demo`: a warehouse in network namespaces, its policy learnt, enforced and proved.
//!
//! The end-to-end test is this same code (`tests/it`): every number it prints is checked there.

mod headquarters;
mod kept;

use std::fs;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use enforcer::contain::Method;
use enforcer::{Flow, judge};
use indicatif::ProgressBar;
use lab::probe::{self, Probe, Verdict};
use lab::{Lab, LabError, attack, interrupt, privilege, traffic};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use model::SiteId;
use model::inspect::Status;
use model::ruleset::Ruleset;
use policy::draft::DraftOptions;
use sensor::capture::{Ring, ring};
use serde::Serialize;

use self::headquarters::Headquarters;
use crate::args::Demo;
use crate::inspect::{Learnt, learn};
use crate::{exit, folder, html, knowledge, terminal};

/// How long the warehouse works while the sensor listens.
const LEARN: Duration = Duration::from_secs(12);
/// How long it works behind the fence, to show that nothing it needs broke.
const WORK: Duration = Duration::from_secs(2);

/// What the demo measured, for people and for the test.
#[derive(Debug, Serialize)]
pub(crate) struct Proof {
    /// What was compared, flat and fenced.
    pub(crate) rows: Vec<Row>,
    /// Probes whose fate in the kernel differs from what the policy says; none is right.
    pub(crate) disagreements: Vec<String>,
    /// Kinds of work that failed behind the fence; none is right.
    pub(crate) broken: Vec<String>,
    /// Devices of the lab that the inventory has, of all.
    pub(crate) found: (usize, usize),
    /// What keeps the fence true, as shown: a line each.
    pub(crate) kept: Vec<String>,
    /// Seconds in all.
    pub(crate) seconds: f64,
}

/// One number before and after.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) flat: String,
    pub(crate) fenced: String,
}

pub(crate) fn run(args: &Demo) -> Result<u8> {
    // Everything that can be refused is refused before the minute begins.
    folder::is_place_for(&args.html)?;
    privilege::reexec().into_diagnostic()?;
    interrupt::install();
    let mut out = BufWriter::new(io::stdout());
    match show(args, &mut out) {
        Ok(proof) => {
            let sound = proof.disagreements.is_empty() && proof.broken.is_empty();
            Ok(if sound { exit::FINE } else { exit::FAILED })
        }
        Err(Stop::Interrupted) => {
            eprintln!("ringfence: interrupted; everything it made is gone");
            Ok(exit::FAILED)
        }
        Err(Stop::Unread) => {
            eprintln!("ringfence: nobody reads any more; everything it made is gone");
            Ok(exit::FAILED)
        }
        Err(Stop::Failed(report)) => Err(report),
    }
}

enum Stop {
    Interrupted,
    /// Standard output is closed (`| head`).
    Unread,
    Failed(miette::Report),
}

impl From<LabError> for Stop {
    fn from(error: LabError) -> Self {
        match error {
            LabError::Interrupted => Self::Interrupted,
            other => Self::Failed(miette!("{other}")),
        }
    }
}

impl From<miette::Report> for Stop {
    fn from(report: miette::Report) -> Self {
        Self::Failed(report)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::Failed(miette!("{error}")),
        }
    }
}

fn show(args: &Demo, out: &mut dyn Write) -> Result<Proof, Stop> {
    let start = now();
    let mut hq = Headquarters::start()?;
    writeln!(out, "{}\n", console_in_words(hq.as_ref()))?;
    writeln!(out, "Ringfence demo: a small warehouse on this machine, seed {}.\n", args.seed)?;
    step(out, start, "Building gateway, 12 devices and their services in network namespaces")?;
    let lab = Lab::new(args.seed)?;
    let (learnt, worked) = listen(&lab, out, start)?;
    writeln!(out, "        {worked} exchanges of real protocols, no rule in force")?;
    let found = inventory(out, &lab, &learnt)?;
    if let Some(hq) = &mut hq {
        hq.learnt(&learnt)?;
        writeln!(
            out,
            "        devices, draft policy and reach are in the console: {}\n",
            hq.address
        )?;
    }

    step(out, start, "The camera is taken over, in the flat network")?;
    let everything = probe::everything(&lab);
    let flat = Sides {
        attack: attack::take_over(&lab, "camera")?,
        verdicts: probe::matrix(&lab, &everything)?,
    };
    writeln!(out, "        {}", in_words(&flat.attack))?;

    let ruleset = policy::compile::ruleset(&learnt.draft.folder, 1, None).into_diagnostic()?;
    step(out, start, &fence_in_words(&learnt, &ruleset))?;
    let options = enforcer::Options {
        log_group: Some(enforcer::verdict::GROUP),
        ..lab.options(folder::now())
    };
    let _isolated = lab.isolate(Method::BridgeFilter)?;
    let fence = lab.fence();
    let applied = fence.apply(&ruleset, &options).into_diagnostic()?;
    let verified = fence.verify(&ruleset, &options).into_diagnostic()?.map_err(|wrong| {
        let all: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        miette!("the kernel does not hold what was applied: {}", all.join("; "))
    })?;
    writeln!(
        out,
        "        generation {} applied in one transaction: {} elements, all read back ({verified:?})",
        applied.generation, applied.elements
    )?;
    for unsupported in &applied.unsupported {
        writeln!(out, "        not enforceable here: {unsupported}")?;
    }

    step(out, start, "The camera is taken over again, behind the fence")?;
    let passes = |p: &Probe| judged(&lab, &ruleset, &options, p).is_ok_and(|j| j);
    let listener = kept::Listener::start(&lab)?;
    let attack = attack::take_over(&lab, "camera")?;
    let (denials, examples) = listener.end(&ruleset, &learnt.draft.folder)?;
    let mut fenced = Sides { attack, verdicts: probe::matrix(&lab, &everything)? };
    probe::confirm(&lab, &mut fenced.verdicts, passes)?;
    writeln!(out, "        {}", in_words(&fenced.attack))?;
    writeln!(out, "        {denials}; for example")?;
    for line in &examples {
        writeln!(out, "          {line}")?;
    }
    let disagreements: Vec<String> = fenced
        .verdicts
        .iter()
        .filter(|v| v.outcome.passed() != passes(&v.probe))
        .map(|v| format!("{} → {}:{} {:?}", v.probe.from, v.probe.to, v.probe.port, v.outcome))
        .collect();

    step(out, start, "The warehouse goes on working behind the fence")?;
    let after = traffic::baseline(&lab, WORK)?;
    let broken: Vec<String> = after
        .failed
        .iter()
        .map(|(what, (times, why))| format!("{what}: {why} ({times})"))
        .collect();

    step(out, start, "Somebody opens everything by hand: nft insert rule … accept")?;
    let by_hand = kept::by_hand(&lab, &fence, &ruleset, &options)?;
    writeln!(out, "        {by_hand}")?;
    step(out, start, "The camera is cut off, while the recorder reads its stream")?;
    let (cut, left) = kept::cut_off(&lab, &fence, &ruleset, "camera", ("nvr", 554))?;
    writeln!(out, "        {cut}")?;
    if let Some(hq) = &mut hq {
        let mac = lab.device("camera")?.mac;
        let camera = learnt.report.devices.iter().find(|device| device.macs == [mac]);
        let camera = camera.ok_or_else(|| miette!("the inventory has no camera"))?;
        hq.quarantine(camera.id.as_str(), "it scans the warehouse")?;
    }
    if left > 0 {
        return Err(Stop::Failed(miette!("the camera was cut off, and still: {cut}")));
    }
    drop(lab);

    let kept = vec![
        format!("Of the attack, {denials}."),
        format!("A rule put in by hand: {by_hand}."),
        format!("The camera cut off: {cut}."),
    ];
    let seconds = now().duration_since(start).as_secs_f64();
    let rows = compare(&learnt, &flat, &fenced);
    let proof = Proof { rows, disagreements, broken, found, kept, seconds };
    conclude(out, &proof, &flat, &fenced)?;
    let page = html::page(&learnt.report, &learnt.draft, Some(&proof)).into_diagnostic()?;
    fs::write(&args.html, page)
        .into_diagnostic()
        .wrap_err_with(|| format!("writing {}", args.html.display()))?;
    writeln!(out, "\nReport: {}   ({:.0} s in all)", args.html.display(), proof.seconds)?;
    if let Some(hq) = hq.as_ref().filter(|_| args.stay) {
        writeln!(out, "\nThe console stays at {} until Ctrl-C.", hq.address)?;
        out.flush()?;
        while lab::wait::pass(Duration::from_secs(3_600)).is_ok() {}
    }
    out.flush()?;
    Ok(proof)
}

fn console_in_words(hq: Option<&Headquarters>) -> String {
    match hq {
        Some(Headquarters { address, password, root_sha256, .. }) => format!(
            "Console: {address}   login demo, password {password}\n         \
             Its certificate is the demo's own, so a browser asks first: root sha256 {root_sha256}\n         \
             It is gone with the demo; --stay keeps it until Ctrl-C."
        ),
        None => "Console: not shown, for this process has a network of its own; as root it is"
            .to_owned(),
    }
}

/// Lets the warehouse work while a sensor listens on its bridge.
fn listen(lab: &Lab, out: &mut dyn Write, start: Instant) -> Result<(Learnt, u32), Stop> {
    let stop = Arc::new(AtomicBool::new(false));
    let options = ring::Options { stop: Arc::clone(&stop), ..ring::Options::default() };
    let knowledge = knowledge::load(None, None)?;
    let site = SiteId::new("warehouse").into_diagnostic()?;
    let bridge = lab.bridge_interface();
    let ring = lab.gateway().enter(|| Ring::open(bridge, &options))?.into_diagnostic()?;
    let sensor = std::thread::spawn(move || {
        let options = DraftOptions::default();
        learn(vec![Box::new(ring)], site, &knowledge, &options, &ProgressBar::hidden())
    });
    step(out, start, "A sensor listens on the bridge while the warehouse starts and works")?;
    let worked = lab.boot().and_then(|()| traffic::baseline(lab, LEARN));
    stop.store(true, Ordering::SeqCst);
    let learnt = sensor.join().map_err(|_| Stop::Failed(miette!("the sensor stopped early")))?;
    let worked = worked?;
    if let Some((what, (_, why))) = worked.failed.first_key_value() {
        return Err(Stop::Failed(miette!("the warehouse itself does not work: {what}: {why}")));
    }
    Ok((learnt, worked.total()))
}

fn inventory(out: &mut dyn Write, lab: &Lab, learnt: &Learnt) -> Result<(usize, usize), Stop> {
    let known = |mac| learnt.report.devices.iter().any(|d| d.macs == [mac]);
    let inside: Vec<_> = lab.devices().iter().filter(|d| d.fenced).collect();
    let found = inside.iter().filter(|d| known(d.mac)).count();
    writeln!(out, "        {found} of its {} devices found:\n", inside.len())?;
    let confirmed = learnt.report.devices.iter().filter(|d| d.status == Status::Confirmed).count();
    terminal::devices(out, &learnt.report, confirmed)?;
    writeln!(out)?;
    Ok((found, inside.len()))
}

fn fence_in_words(learnt: &Learnt, ruleset: &Ruleset) -> String {
    format!(
        "From {} used paths a draft policy ({} closed paths explained), compiled to {} classes and \
         {} permits",
        learnt.report.conduits.len(),
        learnt.draft.refused.len(),
        ruleset.classes.len(),
        ruleset.permits.len()
    )
}

/// What happened to one side of the comparison.
struct Sides {
    attack: attack::Report,
    verdicts: Vec<Verdict>,
}

impl Sides {
    fn passed(&self) -> usize {
        self.verdicts.iter().filter(|v| v.outcome.passed()).count()
    }
}

fn in_words(report: &attack::Report) -> String {
    format!(
        "it finds {} hosts, reaches {} of {} ports on {} machines, and {} of {} attacks succeed",
        report.found.len(),
        report.reached(),
        report.probes.len(),
        report.machines(),
        report.successes(),
        report.steps.len()
    )
}

fn judged(
    lab: &Lab,
    ruleset: &Ruleset,
    options: &enforcer::Options,
    p: &Probe,
) -> Result<bool, LabError> {
    let flow = Flow {
        from: IpAddr::V4(lab.device(&p.from)?.ip),
        to: IpAddr::V4(lab.device(&p.to)?.ip),
        transport: p.transport,
        port: p.port,
    };
    Ok(judge(ruleset, options, &flow).passes())
}

fn compare(learnt: &Learnt, flat: &Sides, fenced: &Sides) -> Vec<Row> {
    let row =
        |what: &str, flat: String, fenced: String| Row { what: what.to_owned(), flat, fenced };
    let of = |n: usize, all: usize| format!("{n} of {all}");
    let (a, b) = (&flat.attack, &fenced.attack);
    let mut rows = vec![
        row("hosts the camera's scan finds", a.found.len().to_string(), b.found.len().to_string()),
        row("ports it reaches", of(a.reached(), a.probes.len()), of(b.reached(), b.probes.len())),
        row("machines it reaches", a.machines().to_string(), b.machines().to_string()),
        row(
            "attacks that succeed",
            of(a.successes(), a.steps.len()),
            of(b.successes(), b.steps.len()),
        ),
        row(
            "probes between all devices that pass",
            of(flat.passed(), flat.verdicts.len()),
            of(fenced.passed(), fenced.verdicts.len()),
        ),
    ];
    if let Some(reach) = &learnt.report.reach {
        rows.push(row(
            "device-service pairs in reach, hopping included (computed)",
            terminal::grouped(reach.flat.transitive_pairs),
            terminal::grouped(reach.draft.transitive_pairs),
        ));
    }
    rows
}

fn conclude(out: &mut dyn Write, proof: &Proof, flat: &Sides, fenced: &Sides) -> io::Result<()> {
    writeln!(out, "\nBEFORE AND AFTER, judged at the victims")?;
    let mut table = terminal::table(&["", "FLAT", "FENCED"]);
    for row in &proof.rows {
        table.add_row([&row.what, &row.flat, &row.fenced]);
    }
    writeln!(out, "{table}\n\nWhat the camera tried:")?;
    let mut steps = terminal::table(&["ATTACK", "FLAT", "FENCED"]);
    let word = |success| if success { "succeeded" } else { "failed" };
    for (before, after) in flat.attack.steps.iter().zip(&fenced.attack.steps) {
        steps.add_row([before.what, word(before.success), word(after.success)]);
    }
    writeln!(out, "{steps}\n")?;
    match proof.disagreements.as_slice() {
        [] => writeln!(out, "Kernel and policy agree on all {} probes.", fenced.verdicts.len())?,
        wrong => writeln!(out, "DISAGREEMENT of kernel and policy: {}", wrong.join("; "))?,
    }
    match proof.broken.as_slice() {
        [] => writeln!(out, "Everything the warehouse needs still works.")?,
        broken => writeln!(out, "BROKEN by the fence: {}", broken.join("; "))?,
    }
    writeln!(
        out,
        "\nReal here: the kernel (namespaces, bridge, nf_tables), mosquitto, dnsmasq, udhcpc, every packet, the\n\
         capture, the inventory, the policy, the probes. Not real: the devices are small programs that speak their\n\
         protocols (Modbus/TCP, RTSP, HTTP, mDNS, PJL, NTP, MQTT) over the kernel's sockets; nobody prints a label."
    )
}

fn step(out: &mut dyn Write, start: Instant, what: &str) -> Result<(), Stop> {
    if interrupt::interrupted() {
        return Err(Stop::Interrupted);
    }
    writeln!(out, "[{:>4.1} s] {what}", now().duration_since(start).as_secs_f64())?;
    out.flush()?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the edge of the process: elapsed time for people")]
fn now() -> Instant {
    Instant::now()
}
