//! The report for people, as plain text.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;

use comfy_table::{ContentArrangement, Table, presets};
use model::DeviceId;
use model::inspect::{
    Attribute, Conduit, Device, Finding, Input, Proposal, Reach, Report, Scope, Severity, Status,
};

use crate::args::Inspect;
use crate::inspect::Learnt;

/// Rows shown before `--all` is needed.
const DEVICES_SHOWN: usize = 60;
const FINDINGS_SHOWN: usize = 12;
const SERVICES_SHOWN: usize = 15;

pub(crate) fn print(out: &mut dyn Write, learnt: &Learnt, args: &Inspect) -> io::Result<()> {
    let report = &learnt.report;
    let limit = |shown: usize| if args.all { usize::MAX } else { shown };
    summary(out, report)?;
    devices(out, report, limit(DEVICES_SHOWN))?;
    services(out, report, limit(SERVICES_SHOWN))?;
    findings(out, report, limit(FINDINGS_SHOWN))?;
    if let Some(reach) = &report.reach {
        self::reach(out, report, reach)?;
    }
    next_steps(out, args, learnt)
}

/// Prints the catalogue of fields.
pub(crate) fn fields() -> u8 {
    let mut out = io::stdout().lock();
    for field in dissect::fields::all() {
        // A reader that has seen enough (`| head`) is no error.
        if writeln!(out, "{:<34} {}", field.name, field.meaning).is_err() {
            break;
        }
    }
    crate::exit::FINE
}

fn summary(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let packets: u64 = report.inputs.iter().map(|i| i.packets).sum();
    let bytes: u64 = report.inputs.iter().map(|i| i.bytes).sum();
    let files = match report.inputs.as_slice() {
        [one] => one.name.clone(),
        many => format!("{} inputs", many.len()),
    };
    writeln!(out, "{files}: {} packets, {}", grouped(packets), size(bytes))?;
    if packets > 0 {
        let span = report.span;
        writeln!(
            out,
            "{} to {} ({})",
            instant(&span.first),
            instant(&span.last),
            duration(span.last.seconds_since(span.first))
        )?;
    }
    for input in report.inputs.iter().filter(|i| troubled(i)) {
        let what = match (input.truncated, input.dropped) {
            (_, n) if n > 0 => format!("{} packets were dropped by the capture", grouped(n)),
            (true, _) => "it ends inside a packet; what came before was read".to_owned(),
            _ => format!("{} faults, the first: {}", input.errors.len(), first(&input.errors)),
        };
        writeln!(out, "  ! {}: {what}", input.name)?;
    }
    Ok(())
}

const fn troubled(input: &Input) -> bool {
    input.truncated || input.dropped > 0 || !input.errors.is_empty()
}

fn first(errors: &[String]) -> &str {
    errors.first().map_or("", String::as_str)
}

pub(crate) fn devices(out: &mut dyn Write, report: &Report, limit: usize) -> io::Result<()> {
    let (known, strays): (Vec<&Device>, Vec<&Device>) =
        report.devices.iter().partition(|d| d.status == Status::Confirmed);
    let has = |f: fn(&Device) -> bool| known.iter().filter(|d| f(d)).count();
    writeln!(
        out,
        "\nDEVICES  {}: vendor known for {}, type {}, model {}, firmware {}{}",
        known.len(),
        has(|d| d.vendor.is_some()),
        has(|d| d.kind.is_some()),
        has(|d| product(d).is_some()),
        has(|d| d.firmware.is_some()),
        if strays.is_empty() {
            String::new()
        } else {
            format!(" ({} stray link addresses in quarantine)", strays.len())
        }
    )?;
    let mut table =
        table(&["ADDRESS", "LINK", "TYPE", "VENDOR", "MODEL", "FIRMWARE", "NAME", "HOW WE KNOW"]);
    for device in known.iter().take(limit) {
        table.add_row(vec![
            address(device),
            link(device),
            shown(device.kind.as_ref()),
            device.vendor.as_ref().map_or_else(|| chip(device), |v| v.value.clone()),
            shown(product(device)),
            shown(device.firmware.as_ref()),
            device.hostnames.first().cloned().unwrap_or_default(),
            how(device),
        ]);
    }
    writeln!(out, "{table}")?;
    more(out, known.len(), limit, "devices")
}

/// The model, unless it is just what a general-purpose machine is called.
fn product(device: &Device) -> Option<&Attribute> {
    device.model.as_ref().filter(|m| m.is_product())
}

fn chip(device: &Device) -> String {
    device.chip_vendor.as_ref().map_or_else(String::new, |c| format!("({c} chip)"))
}

fn shown(attribute: Option<&Attribute>) -> String {
    attribute.map_or_else(String::new, |a| {
        let doubt = if a.confidence < 0.35 { "?" } else { "" };
        format!("{}{doubt}", a.value)
    })
}

fn address(device: &Device) -> String {
    match (main_address(device), device.ips.len(), &device.via) {
        (Some(ip), 1, _) => ip.to_string(),
        (Some(ip), n, _) => format!("{ip} +{}", n - 1),
        (None, _, Some(via)) => format!("↳ {via}"),
        (None, _, None) => String::new(),
    }
}

/// The address people know a device by.
fn main_address(device: &Device) -> Option<&IpAddr> {
    device.ips.iter().find(|ip| ip.is_ipv4()).or_else(|| device.ips.first())
}

fn link(device: &Device) -> String {
    match device.macs.as_slice() {
        [] => String::new(),
        [mac] => mac.to_string(),
        [mac, rest @ ..] => format!("{mac} +{}", rest.len()),
    }
}

/// The strongest evidence of the most telling attribute.
fn how(device: &Device) -> String {
    [product(device), device.kind.as_ref(), device.vendor.as_ref()]
        .into_iter()
        .flatten()
        .flat_map(|a| a.evidence.first())
        .map(|e| match e.packet {
            0 => e.field.to_string(),
            n => format!("{} #{n}", e.field),
        })
        .next()
        .unwrap_or_default()
}

fn services(out: &mut dyn Write, report: &Report, limit: usize) -> io::Result<()> {
    let closed = report.conduits.iter().filter(|c| c.proposal != Proposal::Allow).count();
    writeln!(
        out,
        "\nPATHS  {} used, from {} devices to {} services; {closed} of them are proposed as not allowed",
        report.conduits.len(),
        count_unique(report.conduits.iter().map(|c| &c.from)),
        report.services.len(),
    )?;
    let mut by_service: BTreeMap<&str, Vec<&Conduit>> = BTreeMap::new();
    for conduit in &report.conduits {
        by_service.entry(conduit.to.as_str()).or_default().push(conduit);
    }
    let mut rows: Vec<_> = report
        .services
        .iter()
        .map(|s| (s, by_service.get(s.id.as_str()).map_or(&[][..], Vec::as_slice)))
        .collect();
    rows.sort_by_key(|(s, c)| (std::cmp::Reverse(c.len()), &s.id));
    let mut table =
        table(&["SERVICE", "WHERE", "PORT", "PROTOCOL", "CLIENTS", "EXCHANGES", "VOLUME"]);
    for (service, conduits) in rows.iter().take(limit) {
        table.add_row(vec![
            service.name.clone(),
            match service.scope {
                Scope::Estate => {
                    service.addresses.first().map_or_else(String::new, ToString::to_string)
                }
                Scope::External => "outside".to_owned(),
                Scope::Group => "group".to_owned(),
            },
            format!("{}/{}", service.transport.word(), service.port),
            service.protocol.clone().unwrap_or_default(),
            conduits.len().to_string(),
            grouped(conduits.iter().map(|c| c.flows).sum()),
            size(conduits.iter().map(|c| c.bytes).sum()),
        ]);
    }
    writeln!(out, "{table}")?;
    more(out, rows.len(), limit, "services")
}

fn findings(out: &mut dyn Write, report: &Report, limit: usize) -> io::Result<()> {
    if report.findings.is_empty() {
        return writeln!(out, "\nFINDINGS  none");
    }
    writeln!(out, "\nFINDINGS  {}", report.findings.len())?;
    for finding in report.findings.iter().take(limit) {
        writeln!(
            out,
            "  {:<6} {}: {}",
            severity(finding),
            subject(report, finding),
            finding.title
        )?;
        writeln!(out, "         {}", finding.detail)?;
    }
    more(out, report.findings.len(), limit, "findings")
}

const fn severity(finding: &Finding) -> &'static str {
    match finding.severity {
        Severity::High => "HIGH",
        Severity::Medium => "MEDIUM",
        Severity::Low => "LOW",
        Severity::Info => "INFO",
    }
}

fn subject(report: &Report, finding: &Finding) -> String {
    finding.device.as_ref().map_or_else(|| "segment".to_owned(), |id| title(report, id))
}

/// Name, model or address of a device, whichever tells most.
fn title(report: &Report, id: &DeviceId) -> String {
    let Some(device) = report.devices.iter().find(|d| d.id == *id) else { return id.to_string() };
    let name = device.hostnames.first().cloned().or_else(|| {
        let model = product(device)?.value.clone();
        Some(
            device
                .vendor
                .as_ref()
                .map_or_else(|| model.clone(), |v| format!("{} {model}", v.value)),
        )
    });
    match (name, main_address(device)) {
        (Some(name), Some(ip)) => format!("{name} ({ip})"),
        (Some(name), None) => name,
        (None, Some(ip)) => ip.to_string(),
        (None, None) => id.to_string(),
    }
}

fn reach(out: &mut dyn Write, report: &Report, reach: &Reach) -> io::Result<()> {
    let (flat, draft) = (reach.flat, reach.draft);
    writeln!(
        out,
        "\nREACH  {} devices, {} services; {:.0} % of what the flat network opens was never used",
        flat.devices,
        flat.services,
        reach.unused_share * 100.0
    )?;
    let mut table =
        table(&["", "PAIRS, DIRECT", "PAIRS, BY HOPPING", "ONE DEVICE AT MOST", "BY HOPPING"]);
    for (name, r) in [("flat network", flat), ("draft policy", draft)] {
        table.add_row(vec![
            name.to_owned(),
            grouped(r.direct_pairs),
            grouped(r.transitive_pairs),
            grouped(r.direct_max),
            grouped(r.transitive_max),
        ]);
    }
    writeln!(out, "{table}")?;
    let worst: Vec<String> = reach
        .worst
        .iter()
        .take(3)
        .filter(|w| w.transitive_services > 0)
        .map(|w| format!("{} ({} services)", title(report, &w.device), w.transitive_services))
        .collect();
    if !worst.is_empty() {
        writeln!(out, "reach most under the draft, hopping included: {}", worst.join(", "))?;
    }
    Ok(())
}

fn next_steps(out: &mut dyn Write, args: &Inspect, learnt: &Learnt) -> io::Result<()> {
    writeln!(out)?;
    match &args.policy {
        Some(folder) => {
            let count = learnt.draft.files.len();
            let folder = folder.display();
            writeln!(out, "Draft policy: {count} files in {folder} (start with README.md)")?;
        }
        None => {
            writeln!(out, "Next: --policy DIR drafts a least-privilege policy from these paths")?;
        }
    }
    match &args.html {
        Some(file) => writeln!(out, "Report: {}", file.display()),
        None => writeln!(out, "      --html FILE writes this as a page, -o json as a document"),
    }
}

pub(crate) fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head.iter().copied());
    // A file or a pipe has no width: nothing is wrapped there, so that every row is one line.
    if table.is_tty() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

fn more(out: &mut dyn Write, total: usize, limit: usize, what: &str) -> io::Result<()> {
    if total > limit {
        writeln!(out, "… and {} more {what} (--all shows them)", total - limit)?;
    }
    Ok(())
}

fn count_unique<T: Ord>(items: impl Iterator<Item = T>) -> usize {
    items.collect::<std::collections::BTreeSet<_>>().len()
}

fn instant(at: &model::Timestamp) -> String {
    let text = at.to_string();
    text.split('.').next().unwrap_or_default().replace('T', " ")
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in decimal units.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// Seconds as people say them.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(1_000), grouped(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([size(1), size(1_500), size(2_500_000)], ["1 B", "1.5 kB", "2.5 MB"]);
        assert_eq!([duration(1.0), duration(600.0), duration(1e6)], ["1.0 s", "10 min", "12 days"]);
    }
}
