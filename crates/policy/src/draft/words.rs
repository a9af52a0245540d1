//! What a draft says to people: README, proposals, comments.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use model::inspect::Report;

use super::Refused;
use crate::class;
use crate::compile::{Limit, limits as compile_limits};
use crate::folder::{Folder, Observed};
use crate::lower::Lowered;
use crate::text::{count, line, list};

const HOUR: f64 = 3_600.0;
const DAY: f64 = 24.0 * HOUR;

/// The span and what it cannot have seen.
pub(super) fn observed(report: &Report) -> Observed {
    let seconds = report.span.last.seconds_since(report.span.first);
    let mut unseen = Vec::new();
    for (span, what) in [
        (DAY, "nightly jobs (backups, reports, log rotation): less than 24 hours were observed"),
        (7.0 * DAY, "weekly jobs and weekends: less than 7 days were observed"),
        (
            31.0 * DAY,
            "monthly jobs (closing, certificate and firmware checks): less than 31 days were observed",
        ),
    ] {
        if seconds < span {
            unseen.push(what.to_owned());
        }
    }
    Observed {
        first: report.span.first,
        last: report.span.last,
        inputs: report.inputs.iter().map(|i| line(&i.name)).collect(),
        unseen,
    }
}

/// What the compiled form cannot express, in words.
pub(crate) fn limits(folder: &Folder, lowered: &Lowered) -> Vec<String> {
    let mut link = Vec::new();
    let mut nowhere = Vec::new();
    let mut resolved = Vec::new();
    let mut silent = Vec::new();
    let mut remarks = Vec::new();
    for limit in compile_limits(folder, lowered) {
        match limit {
            Limit::SharedAddress { granted, other, address } => remarks.push(format!(
                "`{granted}` and `{other}` are both at {address}: whoever is permitted the first reaches the second, a packet filter cannot tell them apart"
            )),
            Limit::NotIp { service } => link.push(service),
            Limit::NoAddress { service } => nowhere.push(service),
            Limit::NeedsResolver { service, names } => {
                resolved.push(format!("{service} ({})", list(names.into_iter().map(|n| line(&n)), 3)));
            }
            Limit::NotAName { service, name } => remarks.push(format!(
                "`{service}` has `{}`, which cannot be a DNS name: nothing is opened for it",
                line(&name)
            )),
            Limit::NoSource { device } => silent.push(device),
        }
    }
    for (items, what, text) in [
        (
            link,
            "service",
            "not IP: opened and closed only where the fence also stands between bridge ports",
        ),
        (
            nowhere,
            "service",
            "without an address yet: permitted, but opened only once an address is known",
        ),
        (
            resolved,
            "service",
            "known by DNS name only: opened when a device asks the site's resolver for the name",
        ),
        (
            silent,
            "device",
            "without a link or network address of its own: permitted, but its packets cannot be recognised",
        ),
    ] {
        if !items.is_empty() {
            remarks.push(format!("{} {text}: {}", count(items.len(), what), list(items, 5)));
        }
    }
    remarks
}

/// Comment lines for the policy file of the source's class.
pub(super) fn refused_by_file(
    folder: &Folder,
    refused: &[Refused],
) -> BTreeMap<String, Vec<String>> {
    let classes = classes(folder);
    let mut notes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in refused {
        let class = classes.get(path.from.as_str()).copied().unwrap_or(class::UNKNOWN);
        let lines = notes.entry(format!("policies/{class}.cedar")).or_insert_with(|| {
            vec!["NOT ALLOWED: recorded, but left closed until a person decides.".to_owned()]
        });
        lines.push(format!(
            "{} -> {} {}/{}: {} (evidence {})",
            path.from,
            path.to,
            path.transport.word(),
            path.port,
            reasons(path),
            list(path.evidence.iter().cloned(), 3),
        ));
    }
    notes
}

fn classes(folder: &Folder) -> BTreeMap<&str, &str> {
    let zones: BTreeMap<&str, &str> =
        folder.estate.zones.iter().map(|z| (z.id.as_str(), z.class.as_str())).collect();
    let class = |zone: &str| zones.get(zone).copied().unwrap_or(class::UNKNOWN);
    folder.estate.devices.iter().map(|d| (d.id.as_str(), class(&d.zone))).collect()
}

fn reasons(path: &Refused) -> String {
    let words = path.reasons.iter().map(|r| format!("[{}] {}", r.kind.word(), line(&r.text)));
    words.collect::<Vec<_>>().join("; ")
}

/// `proposals.md`: what a person has to decide.
pub(super) fn proposals(folder: &Folder, refused: &[Refused], remarks: &[String]) -> String {
    let mut text = String::from("# To decide\n");
    text.push_str("\n## Recorded, but not allowed\n\n");
    if refused.is_empty() {
        text.push_str("Nothing: every recorded path is permitted.\n");
    } else {
        text.push_str(
            "To allow one, add a permit with an owner's approval; until then it stays closed.\n\n",
        );
        text.push_str("| from | to | path | why | seen | evidence |\n|---|---|---|---|---|---|\n");
    }
    let names: BTreeMap<&str, &str> =
        folder.estate.services.iter().map(|s| (s.id.as_str(), s.name.as_str())).collect();
    for path in refused {
        let name = names.get(path.to.as_str()).copied().unwrap_or("");
        let to =
            if name.is_empty() { path.to.to_string() } else { format!("{name} ({})", path.to) };
        let _ = writeln!(
            text,
            "| {} | {to} | {}/{} | {} | {} to {}, {} | {} |",
            path.from,
            path.transport.word(),
            path.port,
            path.reasons
                .iter()
                .map(|r| format!("{}: {}", r.kind.word(), line(&r.text)))
                .collect::<Vec<_>>()
                .join("; "),
            path.first_seen,
            path.last_seen,
            count(usize::try_from(path.flows).unwrap_or(usize::MAX), "flow"),
            list(path.evidence.iter().cloned(), 3),
        );
    }
    text.push_str("\n## Remarks\n\n");
    if remarks.is_empty() {
        text.push_str("None.\n");
    }
    for remark in remarks {
        let _ = writeln!(text, "* {remark}");
    }
    text
}

/// `README.md` of the folder.
pub(super) fn readme(
    folder: &Folder,
    observed: &Observed,
    refused: &[Refused],
    remarks: &[String],
) -> String {
    let estate = &folder.estate;
    let mut text = String::from(
        "# Policy folder\n\nDrafted from recorded traffic. Default deny: what no permit names is closed. \
         Read it, fill in owners, decide `proposals.md`, keep it in git.\n\n\
         | file | what it holds |\n|---|---|\n\
         | `schema.cedarschema` | the words policies may use |\n\
         | `policies/*.cedar` | permits, each with mode, evidence and reason; the forbids are those of the pack `base` (`packs` in `estate.toml`) and are never lifted |\n\
         | `estate.toml` | sites, zones, owners, devices, services, recorded conduits |\n\
         | `tests.toml` | what must stay allowed, denied, and within reach |\n\
         | `claims.toml` | standing claims between classes |\n\
         | `exceptions.toml` | expiring grants; owner, reason and expiry are mandatory |\n\
         | `mud/*.json` | manufacturer usage descriptions by type (RFC 8520) |\n\
         | `proposals.md` | recorded paths that are not allowed, and remarks |\n",
    );
    let _ = write!(text, "\n## Observed\n\n{} to {}", observed.first, observed.last);
    let seconds = observed.last.seconds_since(observed.first);
    let _ = writeln!(
        text,
        " ({}), from {}.",
        duration(seconds),
        list(observed.inputs.iter().cloned(), 5)
    );
    if !observed.unseen.is_empty() {
        text.push_str("\nThis span cannot have seen:\n\n");
        for unseen in &observed.unseen {
            let _ = writeln!(text, "* {unseen}");
        }
        text.push_str("\nRun in shadow mode until it has, or these will break.\n");
    }
    let permits = estate.conduits.len();
    let _ = writeln!(
        text,
        "\n## Drafted\n\n{}, {}, {}, {}; {} not allowed, {}.",
        count(estate.zones.iter().filter(|z| z.site.is_some()).count(), "zone"),
        count(estate.devices.len(), "device"),
        count(estate.services.len(), "service"),
        count(permits, "permit"),
        count(refused.len(), "recorded path"),
        count(remarks.len(), "remark"),
    );
    text.push_str("\n| zone | devices | types |\n|---|---|---|\n");
    let mut zones: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for device in &estate.devices {
        *zones.entry(&device.zone).or_default().entry(&device.kind).or_default() += 1;
    }
    for (zone, kinds) in zones {
        let devices: usize = kinds.values().sum();
        let kinds = list(kinds.iter().map(|(kind, n)| format!("{n} {kind}")), 6);
        let _ = writeln!(text, "| {zone} | {devices} | {kinds} |");
    }
    if !refused.is_empty() {
        let mut by_reason: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in refused.iter().flat_map(|r| &r.reasons) {
            *by_reason.entry(reason.kind.word()).or_default() += 1;
        }
        let reasons = list(by_reason.iter().map(|(word, n)| format!("{n} {word}")), 8);
        let _ = writeln!(
            text,
            "\n## Not allowed\n\n{reasons}. Each with reason and evidence in `proposals.md`."
        );
    }
    text
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s >= 2.0 * DAY => format!("{:.1} days", s / DAY),
        s if s >= 2.0 * HOUR => format!("{:.1} hours", s / HOUR),
        s if s >= 120.0 => format!("{:.1} minutes", s / 60.0),
        s => format!("{s:.1} seconds"),
    }
}
