//! `bench reach`: exact reach of a large estate on one core.
//!
//! Two estates: shops, where many devices are alike, and the hardest case, where no two are. Processor
//! time is compared, so that other work on the machine counts less.

#![expect(unsafe_code, reason = "getrusage is the only call that tells the processor time used")]

use model::IdError;
use policy::draft::{DraftOptions, draft};
use policy::lower::lower;
use policy::reach;

use crate::estate;
use crate::figures::{self, Bar, Figure};
use crate::{Options, Stop};

const DEVICES: u32 = 100_000;
const SECS_MAX: f64 = 5.0;

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<bool, Stop> {
    let wrong = |e: IdError| Stop(format!("the estate cannot be made: {e}"));
    let shops = estate::shops(DEVICES).map_err(wrong)?;
    let (drafted, draft_secs) = timed(|| draft(&shops, &DraftOptions::default()));
    let folder = drafted.folder;
    let (lowered, lower_secs) = timed(|| lower(&folder));
    let (analysis, alike_secs) = timed(|| reach::analyse(&folder, &lowered));
    let used = reach::used_pairs(&shops, &folder);
    let summary = reach::summary(&folder, &analysis, used);

    let (folder, lowered) = estate::chain(DEVICES).map_err(wrong)?;
    let (hardest, unlike_secs) = timed(|| reach::analyse(&folder, &lowered));
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let number = |n: u64| n as f64;
    let secs = |name: &str, secs: f64| Figure::new(name, secs, "CPU s");
    figures::print(
        "bench reach",
        &[
            Figure::new("devices", f64::from(DEVICES), "device"),
            Figure::new("services of the shops", number(analysis.services), "service"),
            Figure::new("pairs, flat", number(summary.flat.direct_pairs), "pair"),
            Figure::new("pairs by hopping, draft", number(summary.draft.transitive_pairs), "pair"),
            secs("draft of the shops", draft_secs),
            secs("policies lowered", lower_secs),
            secs("reach of the shops", lower_secs + alike_secs).bar(Bar::AtMost(SECS_MAX)),
            Figure::new(
                "pairs by hopping, no two alike",
                number(hardest.transitive_services.iter().sum()),
                "pair",
            ),
            secs("reach, no two devices alike", unlike_secs).bar(Bar::AtMost(SECS_MAX)),
        ],
        options,
    )
}

pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = cpu_secs();
    let made = work();
    (made, cpu_secs() - before)
}

/// Processor time of this process, user and system.
fn cpu_secs() -> f64 {
    // SAFETY: `rusage` is made of integers, so zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a local that lives through the call.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
    let secs = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    secs(usage.ru_utime) + secs(usage.ru_stime)
}
