//! What people read about a site.

use std::fmt::Write as _;

use miette::{IntoDiagnostic, Result};
use model::ruleset::Mode;
use site::control::Request;
use site::journal::Checked;
use site::life::{Control, short};
use site::prepare::PathState;
use site::status::{Status, ZoneState};
use site::uplink::Line;

use crate::terminal::table;

/// The whole of it.
pub(super) fn status(status: &Status, json: bool) -> Result<String> {
    if json {
        let mut text = serde_json::to_string_pretty(status).into_diagnostic()?;
        text.push('\n');
        return Ok(text);
    }
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "Site {} behind {}: generation {} ({}), policy {}\n",
        status.site,
        status.interface,
        status.generation,
        status.why,
        status.content.as_deref().map_or("none", short),
    );
    if let Some(told) = &status.line {
        let _ = writeln!(out, "{}\n", line(told));
    }
    let mut controls = table(&["CONTROL", "STATE", "WHY NOT FURTHER"]);
    for control in &status.controls {
        controls.add_row([&control.control, word(control.state), &control.why]);
    }
    let _ = writeln!(out, "{controls}\n");
    let mut zones =
        table(&["ZONE", "MODE", "DECIDED BY", "DEVICES", "FLOWS", "WOULD DENY", "GATE"]);
    for zone in status.zones.iter().filter(|zone| zone.devices > 0) {
        zones.add_row([
            zone.zone.clone(),
            mode(zone.mode).to_owned(),
            zone.decided.clone(),
            zone.devices.to_string(),
            zone.explained.to_string(),
            zone.would_deny.to_string(),
            gate(zone),
        ]);
    }
    let _ = writeln!(out, "{zones}\n");
    if let Some(pending) = &status.pending {
        let _ = writeln!(
            out,
            "WAITS FOR `ringfence site confirm` until {}, else it is rolled back.\n",
            pending.until
        );
    }
    for grant in &status.break_glass {
        let _ = writeln!(
            out,
            "BREAK-GLASS {} until {}, by {}: {}",
            grant.zone, grant.until, grant.by, grant.reason
        );
    }
    for fault in &status.faults {
        let _ = writeln!(out, "FAULT of the folder on disk (what is enforced stays): {fault}");
    }
    let devices = &status.devices;
    let _ = writeln!(
        out,
        "{} devices seen, {} of the folder, {} unknown; {} packets read, {} lost.",
        devices.seen,
        devices.known,
        devices.unknown.len(),
        devices.packets,
        devices.dropped
    );
    if let Some(questions) = &status.questions {
        let _ = writeln!(
            out,
            "Names asked for: {} in policy, {} outside (answered, no path), {} outside (refused), {} too many.",
            questions.permitted, questions.unknown, questions.refused, questions.throttled
        );
        for unknown in questions.unknown_names.iter().take(NAMES_MAX) {
            let _ = writeln!(
                out,
                "  outside policy: {} by {} ({}×)",
                unknown.name, unknown.device, unknown.count
            );
        }
        if questions.unknown_names.len() > NAMES_MAX || questions.not_listed > 0 {
            let _ = writeln!(out, "  and more: -o json");
        }
    }
    for line in &status.not_enforceable {
        let _ = writeln!(out, "NOT ENFORCED {line}");
    }
    for finding in status.findings.iter().take(FINDINGS_MAX) {
        let _ = writeln!(out, "FINDING {}: {} ({}×)", finding.kind, finding.what, finding.count);
    }
    if let more @ 1.. = status.findings.len().saturating_sub(FINDINGS_MAX) {
        let _ = writeln!(out, "and {more} findings more: -o json");
    }
    Ok(out)
}

/// How the line to the controller stands.
fn line(line: &Line) -> String {
    let mut out = match line.connected {
        true => format!("Controller {}: connected since {}", line.controller, line.since),
        false => format!("Controller {}: CUT since {} ({})", line.controller, line.since, line.why),
    };
    let _ = match line.leases_until {
        Some(until) => writeln!(out, "; leases until {until}."),
        None => writeln!(out, "; it said nothing of leases yet."),
    };
    let _ = match line.variant {
        None => writeln!(out, "No bundle came yet: what the kernel holds stays as it is."),
        Some(variant) => writeln!(
            out,
            "Bundle {} offered, {} applied, {} verified; enforced as {}.",
            line.offered,
            line.applied,
            line.verified,
            variant.word()
        ),
    };
    if !line.refused.is_empty() {
        let _ = writeln!(out, "Bundle {} is REFUSED: {}", line.offered, line.refused);
    }
    let lost = if line.lost > 0 { format!(", {} lost", line.lost) } else { String::new() };
    let _ = write!(
        out,
        "{} events and devices wait to be told{lost}. Certificate until {}.",
        line.outbox, line.certificate_until
    );
    out
}

/// Names outside policy shown to people.
const NAMES_MAX: usize = 5;
/// Findings shown to people.
const FINDINGS_MAX: usize = 20;

/// What came of a request.
pub(super) fn outcome(request: &Request, status: &Status) -> String {
    let rules = status.controls.iter().find(|control| control.control == "rules");
    let state = rules.map_or("unknown", |control| word(control.state));
    let now = format!("generation {} is {state}", status.generation);
    match request {
        Request::BreakGlass { zone, .. } => {
            let grant = status.break_glass.iter().rev().find(|grant| grant.zone == *zone);
            let until = grant.map_or(String::new(), |grant| format!(" until {}", grant.until));
            format!("Paths of {zone} are open{until}; {now}. The kernel ends it.\n")
        }
        Request::Stop => "The site ends; its fence stays up.\n".to_owned(),
        Request::Confirm => format!("Confirmed; {now}.\n"),
        Request::Reload { .. } => match &status.pending {
            Some(pending) => {
                format!(
                    "Reloaded; {now}. Confirm before {}: ringfence site confirm\n",
                    pending.until
                )
            }
            None => format!("Reloaded; {now}.\n"),
        },
        _ => format!("Done; {now}.\n"),
    }
}

/// The journal.
pub(super) fn journal(checked: &Checked, json: bool) -> Result<String> {
    let mut out = String::new();
    if json {
        for line in &checked.lines {
            out.push_str(&serde_json::to_string(line).into_diagnostic()?);
            out.push('\n');
        }
        return Ok(out);
    }
    let mut lines = table(&["#", "WHEN", "WHAT", "WHO", "ZONE", "UNTIL", "GENERATION", "WHY"]);
    for line in &checked.lines {
        let entry = &line.entry;
        lines.add_row([
            line.seq.to_string(),
            line.at.to_string(),
            entry.event.clone(),
            entry.by.clone(),
            entry.zone.clone(),
            entry.until.map_or(String::new(), |until| until.to_string()),
            entry.generation.map_or(String::new(), |n| n.to_string()),
            entry.reason.clone(),
        ]);
    }
    let _ = writeln!(out, "{lines}");
    let _ = writeln!(
        out,
        "{} lines, each with the hash of the one before. Last hash: {}",
        checked.lines.len(),
        checked.last
    );
    Ok(out)
}

/// What a preparation changes.
pub(super) fn changes(changes: &[String]) -> String {
    match changes {
        [] => "Nothing has to be changed.\n".to_owned(),
        changes => changes.iter().map(|change| format!("change: {change}\n")).collect(),
    }
}

/// Paths and what decides about them.
pub(super) fn paths(paths: &[PathState]) -> String {
    let mut out = table(&["PATH", "ENFORCED", "HOW"]);
    for path in paths {
        let enforced = if path.enforced { "yes" } else { "no" };
        out.add_row([path.path.as_str(), enforced, &path.how]);
    }
    format!("{out}\n")
}

fn word(state: Control) -> &'static str {
    match state {
        Control::Intended => "intended",
        Control::Applied => "applied",
        Control::Verified => "verified",
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Shadow => "shadow",
        Mode::Enforce => "enforce",
    }
}

fn gate(zone: &ZoneState) -> String {
    match &zone.gate {
        None => String::new(),
        Some(gate) if gate.open => "open".to_owned(),
        Some(gate) => gate.reasons.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use site::uplink::reckon::Variant;

    use super::*;

    #[test]
    fn a_line_is_shown_with_what_it_means() {
        let at = |seconds| Timestamp::from_secs(seconds, 0);
        let up = Line {
            controller: "hq.example:8443".to_owned(),
            connected: true,
            since: at(60),
            why: String::new(),
            leases_until: Some(at(360)),
            offered: 7,
            applied: 7,
            verified: 6,
            refused: String::new(),
            variant: Some(Variant::Held),
            outbox: 3,
            lost: 0,
            certificate_until: at(86_400),
        };
        insta::assert_snapshot!(line(&up));
        let cut = Line {
            connected: false,
            why: "the line broke".to_owned(),
            refused: "estate.toml:3: no such zone".to_owned(),
            variant: Some(Variant::Expired),
            lost: 2,
            ..up.clone()
        };
        insta::assert_snapshot!(line(&cut));
        insta::assert_snapshot!(line(&Line { variant: None, leases_until: None, ..up }));
    }
}
