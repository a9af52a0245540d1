//! `bench controller`: what a controller does in a second, and how soon what it decides is in force, asked through its own doors.
//!
//! The controller is a process of its own, on a real disk; whoever asks shares its two cores. Where a rate is judged, it is by the processor time of the
//! controller alone, times the two cores it has; the rate as it was seen, with the asking on the same cores, stands beside it.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
#![expect(clippy::indexing_slicing, reason = "what an answer does not have is null")]

mod bare;
mod changes;
mod commitments;
pub(crate) mod hq;
mod load;
mod reads;
mod site;
mod witnesses;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::figures::{self, Figure};
use crate::{Options, Stop};

/// The estate's name.
pub(crate) const NAME: &str = "acme.example";
/// Cores that rates are told for.
pub(crate) const CORES: f64 = 2.0;

/// What can be measured alone.
const PARTS: &str = "changes, reads, commitments, witnesses, pages, site";

/// Measures and prints; one part of it, or all.
pub(crate) fn run(part: Option<&str>, options: &Options) -> Result<bool, Stop> {
    // Not a file system in memory: something has to be synced.
    let folder = crate::root().join("target/controller-bench");
    let measured = measure(part, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    figures::print("bench controller", &measured?, options)
}

/// The handler that reads are compared with; serves until it is killed.
pub(crate) fn bare(folder: &str) -> Result<bool, Stop> {
    bare::serve(Path::new(folder)).map(|()| true)
}

fn measure(wanted: Option<&str>, folder: &Path) -> Result<Vec<Figure>, Stop> {
    let mut figures = Vec::new();
    let wants = |name: &str| wanted.is_none_or(|wanted| wanted == name);
    if wants("changes") {
        figures.extend(part("changes", folder, changes::measure)?);
    }
    if wants("reads") {
        figures.extend(part("reads", folder, reads::measure)?);
    }
    if wants("commitments") {
        figures.extend(part("commitments", folder, commitments::measure)?);
    }
    if wants("witnesses") {
        figures.extend(part("witnesses", folder, witnesses::measure)?);
    }
    if wants("pages") {
        figures.extend(part("pages", folder, reads::pages)?);
    }
    if wants("site") {
        figures.extend(site::measure(&folder.join("site"))?);
    }
    match figures.is_empty() {
        true => Err(Stop(format!("there is no part {}: {PARTS}", wanted.unwrap_or_default()))),
        false => Ok(figures),
    }
}

/// One part, in a folder of its own.
pub(crate) fn part<F: Future<Output = Result<Vec<Figure>, Stop>>>(
    name: &str,
    folder: &Path,
    measure: impl FnOnce(PathBuf) -> F,
) -> Result<Vec<Figure>, Stop> {
    eprintln!("measuring {name}");
    let folder = folder.join(name);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(stop)?;
    let figures = runtime.block_on(measure(folder.clone()));
    let _ = std::fs::remove_dir_all(&folder);
    figures
}

pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn stop(error: impl std::fmt::Display) -> Stop {
    Stop(error.to_string())
}
