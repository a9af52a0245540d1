//! `bench identity`: certificates in a second, a fleet that comes back at once, one that goes over to another root, how soon a revoked device is out, quotes, and a million
//! identities, asked through the controller's own doors.
//!
//! The controller is a process of its own on a real disk; the devices share its two cores. What is judged is the processor time of the
//! controller alone. Its journal is written beforehand, as the controller would have written it: every device has its certificate.

mod door;
mod fleet;
mod million;
mod quotes;

use std::path::Path;
use std::process::Command;

use crate::controller_bench::part;
use crate::figures::{self, Figure};
use crate::{Options, Stop};

/// What can be measured alone.
const PARTS: &str = "issue, storm, root, revoke, quotes, million";

/// Measures and prints; one part of it, or all.
pub(crate) fn run(wanted: Option<&str>, options: &Options) -> Result<bool, Stop> {
    // Not a file system in memory: something has to be synced.
    let folder = crate::root().join("target/identity-bench");
    let measured = measure(wanted, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    figures::print("bench identity", &measured?, options)
}

fn measure(wanted: Option<&str>, folder: &Path) -> Result<Vec<Figure>, Stop> {
    let mut figures = Vec::new();
    let wants = |name: &str| wanted.is_none_or(|wanted| wanted == name);
    if wants("issue") {
        figures.extend(part("issue", folder, door::issue)?);
    }
    if wants("storm") {
        figures.extend(part("storm", folder, door::storm)?);
    }
    if wants("root") {
        figures.extend(part("root", folder, door::root)?);
    }
    if wants("revoke") {
        figures.extend(part("revoke", folder, door::revoke)?);
    }
    if wants("quotes") {
        figures.extend(quotes::measure()?);
    }
    if wants("million") {
        figures.extend(part("million", folder, million::measure)?);
    }
    match figures.is_empty() {
        true => Err(Stop(format!("there is no part {}: {PARTS}", wanted.unwrap_or_default()))),
        false => Ok(figures),
    }
}

/// Signatures and verifications that openssl makes with P-256 in a second of one core; `None` where it is not there.
fn openssl() -> Option<(f64, f64)> {
    speed("ecdsap256", "nistp256")
}

/// The same with an algorithm by its name, and by what stands in the line that tells of it.
fn speed(algorithm: &str, line: &str) -> Option<(f64, f64)> {
    let mut speed = Command::new("openssl");
    let done = speed.args(["speed", "-seconds", "2", algorithm]).output().ok()?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let line = text.lines().find(|found| found.contains(line))?;
    let mut figures = line.split_whitespace().rev().map(str::parse::<f64>);
    let (verify, sign) = (figures.next()?.ok()?, figures.next()?.ok()?);
    Some((sign, verify))
}
