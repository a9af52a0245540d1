//! What the commands show.

use std::io::{self, Write};

use model::Timestamp;
use pki::cms::Verified;
use policy::mud::propose::{Entry, Outcome, Path, Proposal};
use policy::mud::{Freshness, Mud, freshness};
use serde_json::{Value as Json, json};

/// Rows of each table before `--all`.
const SHOWN: usize = 20;

pub(super) fn signature(verified: &Verified) -> Json {
    json!({
        "signer": verified.signer,
        "issuers": verified.issuers,
        "algorithm": verified.algorithm,
        "signed_at": verified.signed_at.map(|t| t.to_string()),
        "valid_until": verified.valid_until.to_string(),
    })
}

/// A file as a document.
pub(super) fn document(mud: &Mud) -> Json {
    let unsupported: Vec<Json> = mud
        .unsupported()
        .into_iter()
        .map(|u| json!({"place": u.place, "statement": u.statement, "withholds": u.withholds}))
        .collect();
    let abstractions: serde_json::Map<String, Json> =
        mud.abstractions().into_iter().map(|(a, n)| (a.word().to_owned(), json!(n))).collect();
    json!({
        "mud_url": mud.url,
        "signature_url": mud.signature_url,
        "last_update": mud.last_update,
        "cache_validity_hours": mud.cache_validity_hours,
        "is_supported": mud.is_supported,
        "systeminfo": mud.systeminfo,
        "mfg_name": mud.mfg_name,
        "model_name": mud.model_name,
        "firmware_rev": mud.firmware_rev,
        "software_rev": mud.software_rev,
        "documentation": mud.documentation,
        "extensions": mud.extensions,
        "entries": mud.acls.iter().map(|acl| acl.aces.len()).sum::<usize>(),
        "abstractions": abstractions,
        "unsupported": unsupported,
        "remarks": mud.remarks(),
    })
}

pub(super) fn check(out: &mut dyn Write, mud: &Mud, verified: Option<&Verified>) -> io::Result<()> {
    let entries: usize = mud.acls.iter().map(|acl| acl.aces.len()).sum();
    writeln!(
        out,
        "{}: sound, {entries} entries in {} lists",
        mud.url.escape_debug(),
        mud.acls.len()
    )?;
    match (verified, &mud.signature_url) {
        (Some(v), _) => {
            writeln!(out, "signed by {} ({})", v.signer, v.algorithm)?;
            if !v.issuers.is_empty() {
                writeln!(out, "vouched for by {}", v.issuers.join(", then "))?;
            }
            if let Some(at) = v.signed_at {
                writeln!(out, "says it was signed at {at}")?;
            }
            writeln!(out, "certificates are valid until {}", v.valid_until)?;
        }
        (None, Some(url)) => {
            writeln!(
                out,
                "not verified: its signature is at {}; fetch it and add --signature and --anchor",
                url.escape_debug()
            )?;
        }
        (None, None) => writeln!(out, "not verified: the file names no signature")?,
    }
    notes(out, mud)
}

fn notes(out: &mut dyn Write, mud: &Mud) -> io::Result<()> {
    for remark in mud.remarks() {
        writeln!(out, "remark: {remark}")?;
    }
    for told in mud.unsupported() {
        let effect = if told.withholds { "; the entry opens nothing" } else { "" };
        writeln!(out, "not understood: {}: {}{effect}", told.place, told.statement)?;
    }
    Ok(())
}

pub(super) fn show(
    out: &mut dyn Write,
    name: &str,
    mud: &Mud,
    fetched: Option<Timestamp>,
    now: Timestamp,
) -> io::Result<()> {
    writeln!(out, "{name}")?;
    let mut row = |key: &str, value: Option<&str>| match value {
        Some(value) => writeln!(out, "  {key:<14} {}", value.escape_debug()),
        None => Ok(()),
    };
    row("url", Some(&mud.url))?;
    row("system", mud.systeminfo.as_deref())?;
    row("maker", mud.mfg_name.as_deref())?;
    row("model", mud.model_name.as_deref())?;
    row("firmware", mud.firmware_rev.as_deref())?;
    row("software", mud.software_rev.as_deref())?;
    row("documentation", mud.documentation.as_deref())?;
    row("signature", mud.signature_url.as_deref())?;
    row("last update", Some(&mud.last_update))?;
    if !mud.extensions.is_empty() {
        row("extensions", Some(&mud.extensions.join(", ")))?;
    }
    let validity = match fetched.map(|fetched| freshness(mud, fetched, now)) {
        None => format!("{} h after it is fetched", mud.cache_validity_hours),
        Some(Freshness::Until(t)) => format!("until {t}"),
        Some(Freshness::DueSince(t)) => format!("fetch again, due since {t}"),
    };
    row("valid", Some(&validity))?;
    for (names, direction) in
        [(&mud.from_device, "from the device"), (&mud.to_device, "to the device")]
    {
        for name in names {
            let Some(acl) = mud.acls.iter().find(|acl| acl.name == *name) else {
                continue;
            };
            writeln!(out, "\n  {direction}: {}", name.escape_debug())?;
            for says in policy::mud::propose::sentences(mud, name, direction == "from the device") {
                writeln!(out, "    {says}")?;
            }
            if acl.aces.is_empty() {
                writeln!(out, "    nothing")?;
            }
        }
    }
    for profile in mud.acls.iter().flat_map(|acl| &acl.aces).flat_map(|ace| &ace.matches.tls) {
        let members: Vec<&str> = profile.members.iter().map(|(member, _)| *member).collect();
        writeln!(
            out,
            "  TLS profile {} (read, not enforced): {}",
            profile.name.escape_debug(),
            members.join(", ")
        )?;
    }
    writeln!(out)?;
    notes(out, mud)
}

pub(super) fn cedar(out: &mut dyn Write, proposal: &Proposal) -> io::Result<()> {
    writeln!(
        out,
        "// Proposed from {}. Everything is in shadow: it decides nothing until its",
        proposal.url.escape_debug()
    )?;
    writeln!(out, "// @mode line is removed by somebody who is answerable.")?;
    if !proposal.services.is_empty() {
        writeln!(out, "// Needs these in estate.toml:\n//")?;
        for line in policy::folder::services_text(&proposal.services).lines() {
            writeln!(out, "// {line}")?;
        }
    }
    writeln!(out, "\n{}", proposal.cedar)
}

pub(super) fn proposal(out: &mut dyn Write, proposal: &Proposal, all: bool) -> io::Result<()> {
    let limit = if all { usize::MAX } else { SHOWN };
    let traffic = if proposal.compared_with_traffic {
        "recorded traffic"
    } else {
        "what policy grants today"
    };
    writeln!(
        out,
        "{} for {} device(s), compared with {traffic}\n",
        proposal.url.escape_debug(),
        proposal.devices
    )?;
    let mut table = crate::terminal::table(&["LIST", "ENTRY", "SAYS", "OUTCOME", "PATHS", "OPENS"]);
    for entry in proposal.entries.iter().take(limit) {
        table.add_row([
            entry.list.clone(),
            entry.name.clone(),
            entry.says.clone(),
            outcome(entry),
            entry.paths.to_string(),
            entry.opens.to_string(),
        ]);
    }
    writeln!(out, "{table}")?;
    more(out, proposal.entries.len(), limit)?;
    let paths = |out: &mut dyn Write, title: &str, these: &[Path]| -> io::Result<()> {
        if these.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{title}")?;
        for path in these.iter().take(limit) {
            let entry =
                if path.entry.is_empty() { String::new() } else { format!("  ({})", path.entry) };
            writeln!(out, "  {} -> {}{entry}", path.from, path.to)?;
        }
        more(out, these.len(), limit)
    };
    writeln!(out, "\n{} path(s) are described and granted already.", proposal.already)?;
    paths(out, "Would open (proposed in shadow):", &proposal.opens)?;
    if !proposal.conflicts.is_empty() {
        writeln!(out, "\nForbidden by local policy, stays closed:")?;
        for c in proposal.conflicts.iter().take(limit) {
            writeln!(
                out,
                "  {} -> {}  ({}) by {} at {}:{}",
                c.path.from, c.path.to, c.path.entry, c.policy, c.file, c.line
            )?;
        }
        more(out, proposal.conflicts.len(), limit)?;
    }
    paths(out, "In use and not described by the manufacturer:", &proposal.undescribed)?;
    if !proposal.unresolved.is_empty() {
        writeln!(out, "\nCould not be weighed:")?;
        for line in &proposal.unresolved {
            writeln!(out, "  {line}")?;
        }
    }
    if !proposal.services.is_empty() {
        writeln!(
            out,
            "\nNew for estate.toml:\n\n{}",
            policy::folder::services_text(&proposal.services)
        )?;
    }
    if !proposal.cedar.is_empty() {
        writeln!(
            out,
            "\nProposed for {} (-o cedar prints the file):\n\n{}",
            proposal.policy_file, proposal.cedar
        )?;
    }
    Ok(())
}

fn outcome(entry: &Entry) -> String {
    let word = match entry.outcome {
        Outcome::Describes => "describes",
        Outcome::Answers => "answers",
        Outcome::Closes => "closes",
        Outcome::Nothing => "nothing here",
        Outcome::Unresolved => "unresolved",
        Outcome::Withheld => "withheld",
    };
    let unused = if entry.unused { ", never used" } else { "" };
    format!("{word}{unused}")
}

fn more(out: &mut dyn Write, len: usize, limit: usize) -> io::Result<()> {
    match len.saturating_sub(limit) {
        0 => Ok(()),
        more => writeln!(out, "  … and {more} more (--all)"),
    }
}
