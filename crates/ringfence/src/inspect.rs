//! `ringfence inspect`: a fold over observations, and its presentation.

mod document;

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use inventory::{Inventory, Knowledge, Resolved};
use miette::{Diagnostic, IntoDiagnostic, Result, WrapErr};
use model::inspect::{Device, Input, Proposal, Report, SCHEMA, Severity, Span, Status};
use model::{SensorId, SiteId, Timestamp};
use policy::draft::{Draft, DraftOptions, draft};
use sensor::capture::{self, Merge, Ring, Source, ring};
use sensor::{Config, Frame, Sensor};

use crate::args::{Inspect, Output};
use crate::ids::SubjectIds;
use crate::told::Tell as _;
use crate::{exit, folder, html, knowledge, out, terminal};

/// Packets between two updates of the progress bar.
const TICK_PACKETS: u64 = 1 << 17;

#[derive(Debug, thiserror::Error, Diagnostic)]
enum Fault {
    #[error("{} holds files already", .0.display())]
    #[diagnostic(
        code(ringfence::inspect::policy_folder),
        help(
            "a draft never overwrites a policy folder; name a new one, and compare with `diff -r`"
        )
    )]
    FolderInUse(PathBuf),
    #[error("`{name}` cannot be a site: {why}")]
    #[diagnostic(code(ringfence::inspect::site))]
    Site { name: String, why: String },
    #[error("nothing could be read")]
    #[diagnostic(code(ringfence::inspect::nothing_read), help("the messages above say why"))]
    NothingRead,
}

/// What was learnt from some traffic.
pub(crate) struct Learnt {
    pub(crate) report: Report,
    pub(crate) draft: Draft,
}

pub(crate) fn run(args: &Inspect) -> Result<u8> {
    // Everything that can be refused is refused before the reading starts.
    if let Some(folder) = &args.policy {
        folder_is_free(folder)?;
    }
    if let Some(file) = &args.html {
        folder::is_place_for(file)?;
    }
    let site = SiteId::new(&args.site)
        .map_err(|e| Fault::Site { name: args.site.clone(), why: e.to_string() })?;
    let knowledge = knowledge::load(args.rules.as_deref(), args.oui.as_deref())?;
    let (sources, mut unread) = match &args.interface {
        Some(name) => (vec![live(name, args.run_for)?], Vec::new()),
        None => open_all(&args.files),
    };
    if sources.is_empty() {
        return Err(Fault::NothingRead.into());
    }
    let bar = progress(args, &sources);
    let mut read = read(sources, site, &knowledge, &bar);
    let failed = !unread.is_empty() || read.inputs.iter().any(|i| !i.errors.is_empty());
    let for_people =
        args.policy.is_some() || args.html.is_some() || matches!(args.output, Output::Table);
    let findings = if for_people {
        let mut learnt = read.learn(&DraftOptions::default(), &bar);
        bar.finish_and_clear();
        tell_faults(&learnt.report.inputs);
        learnt.report.inputs.append(&mut unread);
        present(args, &learnt)?;
        learnt.report.findings
    } else {
        bar.finish_and_clear();
        tell_faults(&read.inputs);
        read.inputs.append(&mut unread);
        let mut out = out::large()?;
        // Documents of the report alone need no folder of texts.
        let options = DraftOptions { folder: false, ..DraftOptions::default() };
        let (written, findings) = match args.output {
            Output::Jsonl => document::jsonl(&mut out, read),
            Output::Json | Output::Table => document::json(&mut out, read, &options),
        };
        finish(&mut out, written)?;
        findings
    };
    let grave = findings.iter().any(|f| f.severity >= Severity::Medium);
    Ok(match () {
        () if failed => exit::FAILED,
        () if args.detailed_exitcode && grave => exit::FINDINGS,
        () => exit::FINE,
    })
}

fn tell_faults(inputs: &[Input]) {
    for input in inputs {
        for error in &input.errors {
            eprintln!("ringfence: {}: {error}", input.name);
        }
    }
}

/// Reads all sources to their end and says what they amount to.
pub(crate) fn learn(
    sources: Vec<Box<dyn Source>>,
    site: SiteId,
    knowledge: &Knowledge,
    options: &DraftOptions,
    bar: &ProgressBar,
) -> Learnt {
    read(sources, site, knowledge, bar).learn(options, bar)
}

/// What was read, before anything was made of it.
struct Read<'k> {
    inventory: Inventory,
    ids: SubjectIds,
    knowledge: &'k Knowledge,
    inputs: Vec<Input>,
    span: Span,
}

/// Reads all sources to their end.
fn read<'k>(
    sources: Vec<Box<dyn Source>>,
    site: SiteId,
    knowledge: &'k Knowledge,
    bar: &ProgressBar,
) -> Read<'k> {
    let mut sensor = Sensor::new(Config { site, sensor: sensor_id() });
    let mut inventory = Inventory::default();
    let mut ids = SubjectIds;
    let numbers: Vec<u16> = sources.iter().map(|s| sensor.input(&s.status().name)).collect();
    let mut packets = capture::merge(sources);
    let mut count = 0u64;
    while let Some((source, packet)) = packets.next_packet() {
        sensor.frame(&Frame {
            input: numbers.get(source).copied().unwrap_or_default(),
            number: packet.number,
            at: packet.at,
            link: packet.link,
            wire_len: packet.wire_len,
            vlan: packet.vlan,
            data: packet.data,
        });
        if sensor.has_news() {
            for observation in sensor.drain() {
                inventory.apply(&observation, &mut ids);
            }
        }
        count += 1;
        if count.is_multiple_of(TICK_PACKETS) {
            tick(bar, &packets, count);
        }
    }
    sensor.finish(&mut |observation| inventory.apply(&observation, &mut ids));
    let totals = sensor.totals();
    let span = if totals.packets == 0 {
        Span { first: Timestamp::EPOCH, last: Timestamp::EPOCH }
    } else {
        Span { first: totals.first, last: totals.last }
    };
    let inputs = packets.status().into_iter().map(Input::from).collect();
    Read { inventory, ids, knowledge, inputs, span }
}

impl Read<'_> {
    /// A report of what was read, before anything was made of it.
    fn report(&self) -> Report {
        Report {
            schema: SCHEMA.to_owned(),
            inputs: self.inputs.clone(),
            span: self.span,
            devices: Vec::new(),
            services: Vec::new(),
            conduits: Vec::new(),
            findings: Vec::new(),
            reach: None,
        }
    }

    /// Makes devices, each of which is handed over in order of first sight, and what is known when all
    /// of them were made.
    fn resolve_each(&mut self, take: &mut dyn FnMut(Device)) -> Resolved {
        self.inventory.resolve_each(self.knowledge, &mut self.ids, take)
    }

    /// Everything at once, for those who show it to people.
    fn learn(mut self, options: &DraftOptions, bar: &ProgressBar) -> Learnt {
        bar.set_message("putting devices together");
        let (mut report, mut strays) = (self.report(), Vec::new());
        // Strays are in the document, but have no part in policy and reach.
        let resolved = self.resolve_each(&mut |device| match device.status {
            Status::Confirmed => report.devices.push(device),
            Status::Quarantined => strays.push(device),
        });
        drop(self);
        report.services = resolved.services;
        report.conduits = resolved.conduits;
        report.findings = resolved.findings;
        bar.set_message("drafting policy and reach");
        let draft = draft(&report, options);
        close(&mut report, &draft);
        report.devices.append(&mut strays);
        report.devices.sort_unstable_by(|a, b| (a.first_seen, &a.id).cmp(&(b.first_seen, &b.id)));
        Learnt { report, draft }
    }
}

/// Enters into a report what its draft leaves closed, and how far devices reach.
fn close(report: &mut Report, draft: &Draft) {
    for refused in &draft.refused {
        let why: Vec<&str> = refused.reasons.iter().map(|r| r.text.as_str()).collect();
        for conduit in &refused.conduits {
            if let Some(conduit) = report.conduits.get_mut(*conduit) {
                conduit.proposal = Proposal::NotAllowed(why.join("; "));
            }
        }
    }
    report.reach = Some(draft.reach.clone());
}

#[expect(clippy::expect_used, reason = "a constant of allowed characters")]
fn sensor_id() -> SensorId {
    SensorId::new("inspect").expect("a valid constant")
}

/// Opens what can be opened; the rest is told now and listed as inputs with errors.
fn open_all(files: &[PathBuf]) -> (Vec<Box<dyn Source>>, Vec<Input>) {
    let mut sources = Vec::new();
    let mut unread = Vec::new();
    for file in files {
        match capture::open(file) {
            Ok(source) => sources.push(source),
            Err(error) => {
                eprintln!("ringfence: {error}");
                unread.push(Input {
                    name: file.display().to_string(),
                    packets: 0,
                    bytes: 0,
                    errors: vec![error.to_string()],
                    truncated: false,
                    dropped: 0,
                });
            }
        }
    }
    (sources, unread)
}

fn live(name: &str, run_for: Option<Duration>) -> Result<Box<dyn Source>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).into_diagnostic()?;
    }
    let options = ring::Options { run_for, stop, ..ring::Options::default() };
    let ring = Ring::open(name, &options).told("ringfence::inspect::interface")?;
    Ok(Box::new(ring))
}

fn progress(args: &Inspect, sources: &[Box<dyn Source>]) -> ProgressBar {
    let hidden = args.quiet || !io::stderr().is_terminal();
    let total: Option<u64> = sources.iter().map(|s| s.status().size).sum();
    let (bar, template) = match total {
        Some(bytes) if args.interface.is_none() => (
            ProgressBar::new(bytes),
            "{bar:30} {percent:>3}% {decimal_bytes}/{decimal_total_bytes} {msg} ({eta} left)",
        ),
        _ => (ProgressBar::new_spinner(), "{spinner} {elapsed} {msg}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    if hidden {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

fn tick(bar: &ProgressBar, packets: &Merge, count: u64) {
    let status = packets.status();
    let dropped: u64 = status.iter().map(|s| s.dropped).sum();
    bar.set_position(status.iter().map(|s| s.position).sum());
    let lost = if dropped > 0 { format!(", {dropped} dropped") } else { String::new() };
    bar.set_message(format!("{:.1} M packets{lost}", count as f64 / 1e6));
}

fn present(args: &Inspect, learnt: &Learnt) -> Result<()> {
    if let Some(folder) = &args.policy {
        write_folder(folder, &learnt.draft)?;
    }
    if let Some(file) = &args.html {
        let page = html::page(&learnt.report, &learnt.draft, None).into_diagnostic()?;
        fs::write(file, page)
            .into_diagnostic()
            .wrap_err_with(|| format!("writing {}", file.display()))?;
    }
    let mut out = out::large()?;
    let written = match args.output {
        Output::Table => terminal::print(&mut out, learnt, args),
        Output::Json => serde_json::to_writer_pretty(&mut out, &learnt.report)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out)),
        Output::Jsonl => learnt.report.devices.iter().try_for_each(|device| {
            serde_json::to_writer(&mut out, device)?;
            writeln!(out)
        }),
    };
    finish(&mut out, written)
}

/// A reader that has seen enough (`| head`) is no error.
fn finish(out: &mut dyn Write, written: io::Result<()>) -> Result<()> {
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.into_diagnostic().wrap_err("writing the report to standard output"),
    }
}

fn folder_is_free(folder: &Path) -> Result<()> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Fault::FolderInUse(folder.to_owned()).into());
    }
    Ok(())
}

fn write_folder(folder: &Path, draft: &Draft) -> Result<()> {
    for (path, text) in &draft.files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .into_diagnostic()
                .wrap_err_with(|| format!("creating {}", parent.display()))?;
        }
        File::create(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .into_diagnostic()
            .wrap_err_with(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
