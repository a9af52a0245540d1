//! Plans and answers for people, as plain text.

use std::io::{self, Write};

use model::inspect::{Reach, ReachSummary};
use model::ruleset::Mode;
use policy::impact::{CutOff, Takeover};
use policy::plan::{ModeShare, Pairs, Plan};

use super::Remarks;
use crate::terminal::table;

/// Rows shown before `--all` is needed.
const ROWS: usize = 20;

pub(crate) fn plan(out: &mut dyn Write, plan: &Plan, all: bool) -> io::Result<()> {
    let parent = match plan.parent {
        Some(parent) => format!("generation {parent} in force"),
        None => "nothing in force".to_owned(),
    };
    let short = plan.folder_digest.get(..12).unwrap_or(&plan.folder_digest);
    writeln!(out, "Plan for generation {} ({parent}); folder {short}\n", plan.generation)?;
    let limit = if all { usize::MAX } else { ROWS };
    pairs(out, "Opens", &plan.opened, limit)?;
    pairs(out, "Closes", &plan.closed, limit)?;
    for change in &plan.modes {
        writeln!(
            out,
            "Mode of {}: {} -> {} ({} devices)",
            change.zone,
            mode(change.before),
            mode(change.after),
            change.devices
        )?;
    }
    if !plan.modes.is_empty() {
        writeln!(out)?;
    }
    breaks(out, plan, limit)?;
    if !plan.exceptions.is_empty() {
        writeln!(out, "Exceptions:")?;
        let mut rows = table(&["NAME", "STATE", "FROM", "TO", "OWNER", "UNTIL", "LINE"]);
        for e in &plan.exceptions {
            rows.add_row([
                e.id.clone(),
                e.state.word().to_owned(),
                e.from.to_string(),
                e.to.to_string(),
                e.owner.clone(),
                e.expires.to_string(),
                e.line.to_string(),
            ]);
        }
        writeln!(out, "{rows}\n")?;
    }
    reach(out, plan)?;
    lines(out, "Not covered by a capability or a control:", &plan.uncovered, limit)?;
    lines(out, "Not enforceable as written:", &plan.limits, limit)?;
    match (plan.refused.len(), plan.changed) {
        (0, false) => writeln!(out, "No changes: what is in force is what the folder wants."),
        (0, true) => writeln!(
            out,
            "{} pairs open, {} close, {} recorded flows break.",
            plan.opened.pairs,
            plan.closed.pairs,
            plan.breaks.len()
        ),
        (n, _) => {
            writeln!(out, "REFUSED: {n} test(s), claim(s) or budget(s) do not hold:")?;
            for fault in &plan.refused {
                writeln!(out, "  {}:{}: {}: {}", fault.file, fault.line, fault.what, fault.why)?;
            }
            Ok(())
        }
    }
}

fn pairs(out: &mut dyn Write, word: &str, pairs: &Pairs, limit: usize) -> io::Result<()> {
    if pairs.pairs == 0 {
        return Ok(());
    }
    writeln!(out, "{word} {} (device, service) pairs:", pairs.pairs)?;
    let mut rows = table(&["DEVICES", "TYPE", "ZONE", "SERVICE", "PORT", "BECAUSE", "SUCH AS"]);
    for group in pairs.groups.iter().take(limit) {
        let such: Vec<String> = group.examples.iter().map(ToString::to_string).collect();
        let shadow = if group.mode == Mode::Shadow { " (shadow)" } else { "" };
        rows.add_row([
            group.devices.to_string(),
            group.kind.clone(),
            format!("{}{shadow}", group.zone),
            group.service.to_string(),
            format!("{}/{}", group.transport.word(), group.port),
            group.cause.to_string(),
            such.join(" "),
        ]);
    }
    writeln!(out, "{rows}")?;
    let hidden = pairs.groups.len().saturating_sub(limit);
    if hidden > 0 {
        writeln!(out, "… and {hidden} more rows (--all shows them)")?;
    }
    if pairs.more_groups > 0 {
        writeln!(out, "… and {} more groups that are only counted", pairs.more_groups)?;
    }
    writeln!(out)
}

fn breaks(out: &mut dyn Write, plan: &Plan, limit: usize) -> io::Result<()> {
    if plan.breaks.is_empty() {
        return Ok(());
    }
    writeln!(out, "Recorded flows that would break:")?;
    let mut rows =
        table(&["FROM", "TO", "OWNER", "FLOWS", "LAST SEEN", "EFFECT", "RECORDED", "WHY"]);
    for flow in plan.breaks.iter().take(limit) {
        let effect = match (flow.mode, flow.permitted_before) {
            (Mode::Shadow, _) => "counted",
            (Mode::Enforce, true) => "breaks",
            (Mode::Enforce, false) => "stays closed",
        };
        let owner = if flow.owner.is_empty() { "nobody" } else { &flow.owner };
        rows.add_row([
            flow.from.clone(),
            flow.to.clone(),
            owner.to_owned(),
            flow.flows.to_string(),
            flow.last_seen.to_string(),
            effect.to_owned(),
            flow.source.to_string(),
            flow.why.clone(),
        ]);
    }
    writeln!(out, "{rows}")?;
    let hidden = plan.breaks.len().saturating_sub(limit);
    if hidden > 0 {
        writeln!(out, "… and {hidden} more flows (--all shows them)")?;
    }
    writeln!(out)
}

fn reach(out: &mut dyn Write, plan: &Plan) -> io::Result<()> {
    writeln!(out, "Reach (services, directly and by hopping):")?;
    let mut rows = table(&["", "DIRECT PAIRS", "BY HOPPING", "MOST, DIRECT", "MOST, HOPPING"]);
    let row = |name: &str, reach: &ReachSummary| {
        [
            name.to_owned(),
            reach.direct_pairs.to_string(),
            reach.transitive_pairs.to_string(),
            reach.direct_max.to_string(),
            reach.transitive_max.to_string(),
        ]
    };
    if let Some(before) = &plan.reach.before {
        rows.add_row(row("now", before));
    }
    rows.add_row(row("planned", &plan.reach.after));
    writeln!(out, "{rows}")?;
    let mut rows = table(&["WORST DEVICES", "NOW", "PLANNED", "DIRECT", "DEVICES"]);
    for worst in &plan.reach.worst {
        rows.add_row([
            worst.after.device.to_string(),
            worst.before.map_or("-".to_owned(), |n| n.to_string()),
            worst.after.transitive_services.to_string(),
            worst.after.direct_services.to_string(),
            worst.after.transitive_devices.to_string(),
        ]);
    }
    writeln!(out, "{rows}\n")
}

fn mode(mode: Option<ModeShare>) -> String {
    match mode {
        None => "none".to_owned(),
        Some(ModeShare { mode: Mode::Shadow, .. }) => "shadow".to_owned(),
        Some(ModeShare { mode: Mode::Enforce, share: 100 }) => "enforce".to_owned(),
        Some(ModeShare { mode: Mode::Enforce, share }) => format!("enforce {share} %"),
    }
}

fn lines(out: &mut dyn Write, head: &str, items: &[String], limit: usize) -> io::Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(out, "{head}")?;
    for item in items.iter().take(limit) {
        writeln!(out, "  {item}")?;
    }
    if items.len() > limit {
        writeln!(out, "  … and {} more", items.len() - limit)?;
    }
    writeln!(out)
}

pub(super) fn remarks(out: &mut dyn Write, remarks: &Remarks) -> io::Result<()> {
    writeln!(
        out,
        "no faults: {} devices, {} services, {} policies\n",
        remarks.devices, remarks.services, remarks.policies
    )?;
    let all = usize::MAX;
    lines(out, "In shadow (they decide nothing yet):", &remarks.in_shadow, all)?;
    lines(out, "Expired exceptions:", &remarks.expired, all)?;
    lines(out, "Not covered by a capability or a control:", &remarks.uncovered, all)?;
    lines(out, "Not enforceable as written:", &remarks.limits, all)?;
    lines(out, "On Cedar's own authorizer (they hold, and take longer):", &remarks.on_cedar, all)?;
    let Some(assessment) = &remarks.iec62443 else {
        return Ok(());
    };
    writeln!(out, "IEC 62443-3-2, conduits:")?;
    let mut rows = table(&["FROM", "TO", "PERMITTED", "POSSIBLE", "SL-T"]);
    for conduit in &assessment.conduits {
        rows.add_row([
            conduit.from.clone(),
            conduit.to.clone(),
            conduit.permitted.to_string(),
            conduit.possible.to_string(),
            conduit.level.map_or("-".to_owned(), |level| level.to_string()),
        ]);
    }
    writeln!(out, "{rows}\n")?;
    let mut rows = table(&["REMARK", "ABOUT", "WHAT", "RULE"]);
    for remark in &assessment.remarks {
        rows.add_row([
            remark.kind.word().to_owned(),
            remark.subject.clone(),
            remark.text.clone(),
            remark.rule.as_ref().map_or(String::new(), ToString::to_string),
        ]);
    }
    writeln!(out, "{rows}")
}

pub(super) fn reach_of_all(out: &mut dyn Write, reach: &Reach) -> io::Result<()> {
    writeln!(
        out,
        "{} devices, {} services: {} pairs open of {} (flat network); {} by hopping\n",
        reach.draft.devices,
        reach.draft.services,
        reach.draft.direct_pairs,
        reach.flat.direct_pairs,
        reach.draft.transitive_pairs
    )?;
    let mut rows = table(&["WORST DEVICES", "FLAT", "DIRECT", "BY HOPPING", "DEVICES"]);
    for device in &reach.worst {
        rows.add_row([
            device.device.to_string(),
            device.flat_services.to_string(),
            device.direct_services.to_string(),
            device.transitive_services.to_string(),
            device.transitive_devices.to_string(),
        ]);
    }
    writeln!(out, "{rows}")
}

pub(super) fn takeover(out: &mut dyn Write, takeover: &Takeover, all: bool) -> io::Result<()> {
    writeln!(
        out,
        "{}, taken over, reaches {} devices and {} services\n",
        takeover.device,
        takeover.devices.len(),
        takeover.services.len()
    )?;
    if takeover.devices.is_empty() {
        return Ok(());
    }
    let limit = if all { usize::MAX } else { ROWS };
    let mut rows = table(&["HOPS", "DEVICE", "FROM", "THROUGH", "BY"]);
    for step in takeover.devices.iter().take(limit) {
        rows.add_row([
            step.hops.to_string(),
            step.device.to_string(),
            step.from.to_string(),
            step.through.to_string(),
            step.rule.to_string(),
        ]);
    }
    writeln!(out, "{rows}")?;
    let hidden = takeover.devices.len().saturating_sub(limit);
    if hidden > 0 {
        writeln!(out, "… and {hidden} more devices (--all shows them)")?;
    }
    Ok(())
}

pub(super) fn cut_off(out: &mut dyn Write, cut: &CutOff) -> io::Result<()> {
    writeln!(out, "When {} is cut off:\n", cut.device)?;
    if cut.offers.is_empty() && cut.uses.is_empty() && cut.flows.is_empty() {
        return writeln!(out, "nothing stops: nobody may open anything on it, nor it on others");
    }
    let name = |owner: &str| if owner.is_empty() { "nobody".to_owned() } else { owner.to_owned() };
    if !cut.offers.is_empty() {
        let mut rows = table(&["OTHERS LOSE", "PORT", "DEVICES, BY OWNER"]);
        for offer in &cut.offers {
            let clients: Vec<String> =
                offer.clients.iter().map(|(owner, n)| format!("{n} of {}", name(owner))).collect();
            rows.add_row([
                offer.service.to_string(),
                format!("{}/{}", offer.transport.word(), offer.port),
                clients.join(", "),
            ]);
        }
        writeln!(out, "{rows}\n")?;
    }
    if !cut.uses.is_empty() {
        let mut rows = table(&["IT LOSES", "OWNER", "PERMITTED BY"]);
        for using in &cut.uses {
            rows.add_row([using.service.to_string(), name(&using.owner), using.rule.to_string()]);
        }
        writeln!(out, "{rows}\n")?;
    }
    if !cut.flows.is_empty() {
        let mut rows = table(&["RECORDED FLOW FROM", "TO", "OWNER", "FLOWS", "LAST SEEN"]);
        for flow in &cut.flows {
            rows.add_row([
                flow.from.to_string(),
                flow.to.to_string(),
                name(&flow.owner),
                flow.flows.to_string(),
                flow.last_seen.to_string(),
            ]);
        }
        writeln!(out, "{rows}")?;
    }
    Ok(())
}
