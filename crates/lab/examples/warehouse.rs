//! The warehouse by hand: builds it, runs its traffic, takes over the camera before and after the
//! fence, and says how to look inside meanwhile.
//!
//! `cargo run -p lab --example warehouse -- [SECONDS [CAPTURE.pcap]]`

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use enforcer::contain::Method;
use lab::{Lab, LabError, attack, privilege, probe, record, traffic, wait};
use model::Timestamp;
use model::ruleset::Mode;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    privilege::reexec()?;
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let capture = arguments.next().map(PathBuf::from);
    match run(Duration::from_secs(seconds), capture) {
        Err(LabError::Interrupted) => println!("interrupted; nothing is left"),
        other => other?,
    }
    Ok(())
}

fn run(time: Duration, capture: Option<PathBuf>) -> Result<(), LabError> {
    let mut clock = Clock(wait::now());
    let lab = Lab::new(7)?;
    clock.lap("built");
    let path = capture.unwrap_or_else(|| lab.directory().join("warehouse.pcap"));
    let recording = record::start(&lab, &path)?;
    lab.boot()?;
    clock.lap("booted");
    for device in lab.devices() {
        let path = device.netns.path();
        println!("{:12} {:15} nsenter --net={}", device.name, device.ip, path.display());
    }
    let report = traffic::baseline(&lab, time)?;
    println!("{} tasks done, {} kinds failed", report.total(), report.failed.len());
    println!("{:?} in {}", recording.stop()?, path.display());
    clock.lap("worked");
    show(&attack::take_over(&lab, "camera")?);
    clock.lap("attacked, flat");
    let everything = probe::everything(&lab);
    let open = probe::matrix(&lab, &everything)?;
    println!(
        "{} of {} probes pass",
        open.iter().filter(|v| v.outcome.passed()).count(),
        open.len()
    );
    clock.lap("probed, flat");
    let _isolated = lab.isolate(Method::BridgeFilter)?;
    let (ruleset, options) = (lab.ruleset(1, Mode::Enforce), lab.options(now()));
    println!("{:?}", lab.fence().apply(&ruleset, &options)?);
    clock.lap("applied");
    match lab.fence().verify(&ruleset, &options)? {
        Ok(verified) => println!("{verified:?}"),
        Err(differences) => differences.iter().for_each(|difference| println!("{difference}")),
    }
    clock.lap("verified");
    show(&attack::take_over(&lab, "camera")?);
    clock.lap("attacked, fenced");
    let fenced = probe::matrix(&lab, &everything)?;
    let passed = fenced.iter().filter(|v| v.outcome.passed()).count();
    println!("{passed} of {} probes pass", fenced.len());
    clock.lap("probed, fenced");
    let report = traffic::baseline(&lab, Duration::from_secs(1))?;
    println!("{} tasks done, failed: {:?}", report.total(), report.failed);
    clock.lap("worked");
    drop(lab);
    clock.lap("taken away");
    Ok(())
}

fn show(report: &attack::Report) {
    println!(
        "{}: found {} hosts, reached {} of {} ports on {} machines, {} served it",
        report.device,
        report.found.len(),
        report.reached(),
        report.probes.len(),
        report.machines(),
        report.served()
    );
    report.steps.iter().for_each(|step| println!("  {step}"));
}

fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the edge of the process")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), 0)
}

struct Clock(Instant);

impl Clock {
    fn lap(&mut self, what: &str) {
        let now = wait::now();
        println!("[{what}: {:.2} s]", now.duration_since(self.0).as_secs_f64());
        self.0 = now;
    }
}
