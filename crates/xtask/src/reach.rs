//! `bench reach`: exact reach of a large estate on one core.
//!
//! Three estates: shops, where many devices are alike, the hardest case, where no two are, and a million
//! devices with ten million allowed edges for what one device reaches. Processor
//! time is compared, so that other work on the machine counts less.

#![expect(unsafe_code, reason = "getrusage is the only call that tells the processor time used")]

use model::IdError;
use policy::draft::{DraftOptions, draft};
use policy::impact::Graph;
use policy::lower::lower;
use policy::reach;

use crate::estate;
use crate::figures::{self, Bar, Figure};
use crate::{Options, Stop};

const DEVICES: u32 = 100_000;
const SECS_MAX: f64 = 5.0;
/// The large estate: a million devices with ten allowed services each, no two alike.
const MILLION: u32 = 1_000_000;
const DIRECT_SECS_MAX: f64 = 1.0;
const CLOSURE_SECS_MAX: f64 = 0.5;

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
    drop((folder, lowered));

    let (folder, lowered) = estate::unlike(MILLION).map_err(wrong)?;
    let (graph, graph_secs) = timed(|| Graph::of(&folder, &lowered));
    let (direct, direct_secs) = timed(|| graph.direct());
    let (closure, closure_secs) = timed(|| graph.closure(MILLION.saturating_sub(1)));
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
            Figure::new("devices, no two alike", number(long(direct.len())), "device"),
            Figure::new("allowed edges", number(long(graph.edges())), "edge"),
            secs("graph of them", graph_secs),
            secs("direct reach of all", direct_secs).bar(Bar::AtMost(DIRECT_SECS_MAX)),
            Figure::new("devices reached by one", number(long(closure.devices.len())), "device"),
            secs("full reach of one", closure_secs).bar(Bar::AtMost(CLOSURE_SECS_MAX)),
        ],
        options,
    )
}

fn long(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
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
