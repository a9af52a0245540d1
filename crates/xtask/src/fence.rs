//! `bench enforcer`: the fence at full size, beside `nft -f` on the same ruleset in the same run.
//!
//! The measuring is done by two examples of the lab, programs without anything else in them, so that
//! their memory is the enforcer's; here their figures get their bars.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use crate::figures::{self, Bar, Figure};
use crate::{Options, Stop};

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<bool, Stop> {
    let mut measured = measure("fence_figures")?;
    measured.extend(measure("watch_figures")?);
    let known = |name: &str| measured.get(name).copied();
    let get = |name: &str| {
        known(name).ok_or_else(|| Stop(format!("the figure `{name}` was not measured")))
    };
    let added = |kind: &str, size: &str| -> Result<f64, Stop> {
        Ok(get(&format!("packet_{kind}_{size}_ns"))? - get(&format!("packet_{kind}_none_ns"))?)
    };
    let figure = |name: &str, value: f64, unit: &'static str| Figure::new(name, value, unit);
    let (open_few, open_many) = (added("open", "few")?, added("open", "many")?);
    let judged = |size: &str| get(&format!("packet_denied_{size}_ns"));
    let (judged_few, judged_many) = (judged("few")?, judged("many")?);
    let grown = |few: f64, many: f64| if few > 0.0 { (many / few - 1.0) * 100.0 } else { 0.0 };
    figures::print(
        "bench enforcer",
        &[
            figure("elements", get("elements")?, "element"),
            figure("load, beside nft -f", get("load_s")?, "s")
                .beside(known("nft_load_s"))
                .bar(Bar::AtMost(3.0)),
            figure("peak memory of the load, beside nft -f", get("load_peak_mb")?, "MB")
                .beside(known("nft_peak_mb"))
                .bar(Bar::AtMost(100.0)),
            figure("verified by sample", get("verify_s")?, "s"),
            figure("elements compared", get("verify_compared")?, "element"),
            figure("verified whole, by key", get("verify_all_s")?, "s"),
            figure("one device changed and read back, p50", get("change_p50_ms")?, "ms"),
            figure("one device changed and read back, p99", get("change_p99_ms")?, "ms")
                .bar(Bar::AtMost(5.0)),
            figure(
                "two whole rulesets compared, difference sent",
                get("change_by_comparing_s")?,
                "s",
            ),
            figure("packet of an open flow, added, few elements", open_few, "ns"),
            figure("packet of an open flow, added, all elements", open_many, "ns"),
            figure("growth", grown(open_few, open_many), "%").bar(Bar::AtMost(10.0)),
            figure("packet judged and denied, few elements", judged_few, "ns"),
            figure("packet judged and denied, all elements", judged_many, "ns"),
            figure("growth, judged", grown(judged_few, judged_many), "%").bar(Bar::AtMost(10.0)),
            figure("generations switched under traffic", get("swaps")?, "swap")
                .bar(Bar::AtLeast(100.0)),
            figure("traffic meanwhile", get("swaps_packets_per_s")?, "packet/s")
                .bar(Bar::AtLeast(50_000.0)),
            figure("wrong verdicts", get("swaps_wrong")?, "packet").bar(Bar::AtMost(0.0)),
            figure("killed while applying", get("kills")?, "kill").bar(Bar::AtLeast(200.0)),
            figure(
                "of these with two generations in the kernel",
                get("kills_in_the_middle")?,
                "kill",
            ),
            figure("not one whole generation afterwards", get("kills_wrong")?, "kill")
                .bar(Bar::AtMost(0.0)),
            figure("devices quarantined", get("quarantine_devices")?, "device")
                .bar(Bar::AtLeast(10_000.0)),
            figure("elements and open flows gone within", get("quarantine_s")?, "s")
                .bar(Bar::AtMost(1.0)),
            figure("last packet of a revoked device's open flow, median", get("cut_p50_ms")?, "ms"),
            figure("last packet of a revoked device's open flow, worst", get("cut_max_ms")?, "ms")
                .bar(Bar::AtMost(100.0)),
            figure("outside change noticed, undone, read back, median", get("drift_p50_ms")?, "ms"),
            figure("outside change noticed, undone, read back, worst", get("drift_max_ms")?, "ms")
                .bar(Bar::AtMost(1_000.0)),
            figure("verdicts read", get("log_records_per_s")?, "record/s"),
            figure("verdicts lost and told, of 300,000", get("log_lost")?, "record"),
        ],
        options,
    )
}

/// Runs an example of the lab, which `./x` builds before it calls this.
fn measure(example: &str) -> Result<BTreeMap<String, f64>, Stop> {
    let binary = crate::release(&format!("examples/{example}"))?;
    let mut command = Command::new(binary);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|e| Stop(format!("cannot run {example}: {e}")))?;
    if !output.status.success() {
        return Err(Stop(
            "the measurement failed; it needs root, or user namespaces, and nft for its peer"
                .to_owned(),
        ));
    }
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let figure = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(lines.lines().filter_map(figure).collect())
}
