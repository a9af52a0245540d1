//! `bench sensor`: the full inventory on one core, beside the tools people know, in one run.
//!
//! Processor time (user and system) is compared, not wall time, so that other work on the machine
//! counts less; the median run of five is taken of each program.

#![expect(unsafe_code, reason = "wait4 is the only call that tells what one finished child used")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use model::inspect::Report;

use crate::figures::{self, Bar, Figure};
use crate::{Options, Stop, replay};

const FILE_BYTES: u64 = 500_000_000;
const IDLE_FEW: u32 = 10_000;
const IDLE_MANY: u32 = 110_000;
const RUNS: usize = 9;
/// Packets that ndpiReader 4.2 read in a CPU second on the machine for which the bar of five million was set.
const YARDSTICK: f64 = 1.778e6;
/// Seconds of the warehouse's day, where there are no captures.
const LAB_SECS: &str = "20";

/// Measures and prints.
pub(crate) fn run(captures: &Path, options: &Options) -> Result<bool, Stop> {
    let ringfence = crate::ringfence()?;
    let folder = ringfence.ancestors().nth(2).unwrap_or(Path::new("target")).join("bench");
    let file = folder.join("sensor.pcap");
    let (report, lines) = (folder.join("report.json"), folder.join("report.jsonl"));
    let captures = captures_or_lab(captures, &folder)?;
    in_a_process_of_its_own(|| replay::write_replay(&captures, &file, FILE_BYTES))?;
    let (few, many) = (folder.join("idle-few.pcap"), folder.join("idle-many.pcap"));
    in_a_process_of_its_own(|| replay::write_idle(&few, IDLE_FEW))?;
    in_a_process_of_its_own(|| replay::write_idle(&many, IDLE_MANY))?;

    let inspect = |format: &str, file: &Path| {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(&ringfence).args(["inspect", "-o", format]).arg(file);
        command
    };
    let peer = |program: &str, arguments: &[&str]| {
        let mut command = Command::new("taskset");
        command.args(["-c", "0", program]).args(arguments).arg(&file);
        command
    };
    // Side by side, in turns: what disturbs one disturbs the other.
    let (mut own, mut whole, mut ndpi, mut p0f) = (vec![], vec![], vec![], vec![]);
    for _ in 0..RUNS {
        own.extend(measure(inspect("jsonl", &file), Some(&lines))?);
        whole.extend(measure(inspect("json", &file), Some(&report))?);
        if exists("ndpiReader") {
            ndpi.extend(measure(peer("ndpiReader", &["-q", "-i"]), None)?);
        }
        if exists("p0f") {
            p0f.extend(measure(peer("p0f", &["-r"]), None)?);
        }
    }
    let [own, whole, ndpi, p0f] = [own, whole, ndpi, p0f].map(median);
    let (Some(own), Some(whole)) = (own, whole) else {
        return Err(Stop("`ringfence inspect` failed on the file".to_owned()));
    };
    let idle = |file: &Path| -> Result<f64, Stop> {
        let used = measure(inspect("json", file), Some(&folder.join("idle.json")))?;
        used.map(|u| u.peak_bytes)
            .ok_or_else(|| Stop(format!("`ringfence inspect {}` failed", file.display())))
    };
    let per_idle = (idle(&many)? - idle(&few)?) / f64::from(IDLE_MANY - IDLE_FEW);

    let text = std::fs::read(&report).map_err(|e| Stop(format!("the report is gone: {e}")))?;
    let report: Report = serde_json::from_slice(&text)
        .map_err(|e| Stop(format!("the report is not understood: {e}")))?;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (packets, bytes, devices) = (
        report.inputs.iter().map(|i| i.packets).sum::<u64>() as f64,
        report.inputs.iter().map(|i| i.bytes).sum::<u64>() as f64,
        report.devices.len() as f64,
    );
    let rate = |used: Option<Used>| used.map(|u| packets / u.cpu_secs);
    for (name, used) in [("ndpiReader", ndpi), ("p0f", p0f)] {
        if used.is_none() {
            eprintln!("{name} is not installed or failed: no comparison with it");
        }
    }
    let speed = |name: &str| Figure::new(name, packets / own.cpu_secs, "packet/CPU s");
    let with_draft = Figure::new(
        "inspect with draft policy and reach, beside ndpiReader",
        packets / whole.cpu_secs,
        "packet/CPU s",
    );
    // How fast a machine is changes from day to day; what it comes to on the one where the bar was set does not.
    let equivalent = rate(ndpi).map(|peer| {
        let name = "the same, where ndpiReader reads 1.78 million";
        let value = packets / own.cpu_secs / peer * YARDSTICK;
        Figure::new(name, value, "packet/CPU s").bar(Bar::AtLeast(5e6))
    });
    let mut figures = vec![
        Figure::new("file", bytes / 1e6, "MB of packets"),
        Figure::new("packets", packets, "packet"),
        Figure::new("devices found", devices, "device"),
        speed("inspect, the inventory"),
        speed("the same, beside ndpiReader").beside(rate(ndpi)).bar(Bar::RatioAtLeast(2.5)),
        speed("the same, beside p0f").beside(rate(p0f)),
        with_draft.beside(rate(ndpi)),
        Figure::new("inspect, volume", bytes / 1e6 / own.cpu_secs, "MB/CPU s"),
        Figure::new("peak memory", whole.peak_bytes / 1e6, "MB")
            .beside(ndpi.map(|u| u.peak_bytes / 1e6)),
        Figure::new("memory per idle device", per_idle, "byte").bar(Bar::AtMost(1_024.0)),
    ];
    figures.extend(equivalent);
    figures::print("bench sensor", &figures, options)
}

/// The folder of captures, or where there is none, a folder with what the lab's warehouse says to itself.
fn captures_or_lab(captures: &Path, folder: &Path) -> Result<PathBuf, Stop> {
    if captures.is_dir() {
        return Ok(captures.to_owned());
    }
    eprintln!("{} is not there: recording the lab's warehouse", captures.display());
    let lab = folder.join("lab");
    let failed = |why: String| Stop(format!("the lab's warehouse could not be recorded: {why}"));
    std::fs::create_dir_all(&lab).map_err(|e| failed(e.to_string()))?;
    let mut warehouse = Command::new(crate::release("examples/warehouse")?);
    warehouse.arg(LAB_SECS).arg(lab.join("warehouse.pcap")).stdout(Stdio::null());
    let ended = warehouse.status().map_err(|e| failed(e.to_string()))?;
    if ended.success() { Ok(lab) } else { Err(failed(format!("it ended with {ended}"))) }
}

/// What one run of a program used.
#[derive(Clone, Copy, Debug)]
struct Used {
    cpu_secs: f64,
    peak_bytes: f64,
}

/// The run in the middle by processor time; none where the program failed each time.
fn median(mut runs: Vec<Used>) -> Option<Used> {
    runs.sort_by(|a, b| a.cpu_secs.total_cmp(&b.cpu_secs));
    runs.get(runs.len() / 2).copied()
}

/// Runs a program to its end; `None` when it fails.
fn measure(mut command: Command, out: Option<&Path>) -> Result<Option<Used>, Stop> {
    let stdout = match out {
        Some(path) => {
            let file = File::create(path);
            file.map_err(|e| Stop(format!("{} cannot be written: {e}", path.display())))?.into()
        }
        None => Stdio::null(),
    };
    let child = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).spawn();
    let child = child.map_err(|e| Stop(format!("{command:?} cannot be run: {e}")))?;
    let pid = child.id().cast_signed();
    let mut status = 0;
    // SAFETY: `rusage` is made of integers, so zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to locals that live through the call; the child is ours and nobody
    // else waits for it.
    let ended = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    if ended != pid || !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) != 0 {
        return Ok(None);
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds and bytes for people")]
    let secs = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    #[expect(clippy::cast_precision_loss, reason = "seconds and bytes for people")]
    let peak_bytes = usage.ru_maxrss as f64 * 1_024.0;
    Ok(Some(Used {
        cpu_secs: (secs(usage.ru_utime) + secs(usage.ru_stime)).max(0.001),
        peak_bytes,
    }))
}

/// Does work in a child, so that the memory it needs is not counted as the memory of the programs
/// that are measured later: a started program's peak begins with that of its parent.
fn in_a_process_of_its_own(work: impl FnOnce() -> Result<(), Stop>) -> Result<(), Stop> {
    // SAFETY: this program has one thread, so the child may go on as usual.
    match unsafe { libc::fork() } {
        -1 => Err(Stop("no process can be started".to_owned())),
        0 => {
            let code = match work() {
                Ok(()) => 0,
                Err(error) => {
                    eprintln!("xtask: {error}");
                    1
                }
            };
            std::process::exit(code)
        }
        child => {
            let mut status = 0;
            // SAFETY: the pointer is to a local that lives through the call.
            let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
            if ended == child && status == 0 {
                Ok(())
            } else {
                Err(Stop("a file for the bench could not be written".to_owned()))
            }
        }
    }
}

fn exists(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|p| p.join(program).is_file())
}
