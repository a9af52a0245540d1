//! What is printed: lines for people, documents for programs.

use std::io::{self, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use estate::commitments::proof::{Disproved, MessageProof, Proven};
use journal::Hash;
use journal::audit::Report;
use journal::checkpoint::SignedCheckpoint;
use journal::commitment::Commitment;
use journal::entry::{Entry, Typed};
use journal::follow::{Seen, Step};
use journal::policy::Believed;
use journal::tile::TilePath;
use journal::tlog_proof::TlogProof;
use serde_json::{Value, json};
use store::Late;

use super::args::Output;

/// What came of `append`.
pub(super) fn appended(
    number: u64,
    leaf: &Hash,
    signed: &SignedCheckpoint,
    late: Option<&Late>,
) -> Value {
    let head = signed.checkpoint();
    let late = late.map(|late| json!({ "since": late.since, "why": late.to_string() }));
    json!({
        "schema": "ringfence.journal.appended/v1",
        "number": number,
        "leaf": leaf.to_base64(),
        "origin": head.origin,
        "size": head.size,
        "root": head.root.to_base64(),
        "cosignatures": signed.note().signatures().len().saturating_sub(1),
        "late": late,
    })
}

/// One entry; its bytes are what counts, this is for reading.
pub(super) fn entry(number: u64, leaf: &Hash, entry: &Entry) -> Value {
    let Entry { at, who, command, why, evidence, events } = entry;
    json!({
        "schema": "ringfence.journal.entry/v1",
        "number": number,
        "leaf": leaf.to_base64(),
        "at": at.to_string(),
        "who": { "kind": who.kind.as_str(), "id": who.id },
        "command": typed(command),
        "why": why,
        "evidence": evidence.iter().map(|digest| digest.to_base64()).collect::<Vec<_>>(),
        "events": events.iter().map(typed).collect::<Vec<_>>(),
    })
}

fn typed(typed: &Typed) -> Value {
    let mut value = json!({
        "type": typed.name.as_str(),
        "version": typed.version,
        "payload": STANDARD.encode(&typed.payload),
    });
    if let (Ok(text), Some(object)) = (std::str::from_utf8(&typed.payload), value.as_object_mut()) {
        object.insert("text".to_owned(), text.into());
    }
    value
}

/// What the audit of a folder found.
pub(super) fn report(
    out: &mut dyn Write,
    folder: &Path,
    report: &Report,
    gone: Option<TilePath>,
) -> io::Result<()> {
    let verdict = if report.is_intact() && gone.is_none() { "intact" } else { "NOT intact" };
    writeln!(out, "{}: {verdict}", folder.display())?;
    writeln!(out, "  entries  {}, of which {} are proven", report.entries, report.proven)?;
    for head in &report.heads {
        let by = match head.believed.cosigned.len() {
            0 => "no witness".to_owned(),
            1 => "1 witness".to_owned(),
            n => format!("{n} witnesses"),
        };
        writeln!(
            out,
            "  head     {} entries, root {}, {by} ({})",
            head.size, head.root, head.name
        )?;
        for (line, name, id) in &head.believed.unknown {
            writeln!(out, "           line {line}: {} {id} is not known", clean(name.as_str()))?;
        }
    }
    if let Some(path) = gone {
        writeln!(out, "  fault    {path} is missing")?;
    }
    for finding in &report.findings {
        writeln!(out, "  fault    {}", clean(&finding.to_string()))?;
    }
    match report.more {
        0 => Ok(()),
        more => writeln!(out, "           and {more} more"),
    }
}

/// The same as a document.
pub(super) fn verified(folder: &Path, report: &Report, gone: Option<TilePath>) -> Value {
    let heads = report.heads.iter().map(|head| {
        json!({
            "name": head.name,
            "size": head.size,
            "root": head.root.to_base64(),
            "cosigned": head.believed.cosigned.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "unknown_signatures": head.believed.unknown.len(),
        })
    });
    let findings = report.findings.iter().map(|finding| {
        json!({ "code": finding.code(), "entry": finding.entry(), "what": finding.to_string() })
    });
    json!({
        "schema": "ringfence.journal.verified/v1",
        "folder": folder.display().to_string(),
        "intact": report.is_intact() && gone.is_none(),
        "entries": report.entries,
        "proven": report.proven,
        "heads": heads.collect::<Vec<_>>(),
        "missing": gone.map(|path| path.to_string()),
        "findings": findings.collect::<Vec<_>>(),
        "more": report.more,
    })
}

/// A proof that proves something.
pub(super) fn proven(
    out: &mut dyn Write,
    name: &str,
    proof: &TlogProof,
    believed: &Believed,
    entry: &Entry,
) -> io::Result<()> {
    let head = proof.checkpoint.checkpoint();
    writeln!(out, "{name}: entry {} of {} is proven", proof.index, clean(&head.origin))?;
    writeln!(out, "  head     {} entries, root {}", head.size, head.root)?;
    writeln!(out, "  at       {}", entry.at)?;
    writeln!(out, "  who      {} {}", entry.who.kind, clean(&entry.who.id))?;
    writeln!(out, "  command  {}", entry.command.name)?;
    writeln!(out, "  why      {}", clean(&entry.why))?;
    for (witness, at) in &believed.cosigned {
        writeln!(out, "  witness  {} at {at} s since 1970", clean(witness))?;
    }
    Ok(())
}

/// The same as a document.
pub(super) fn proof(name: &str, judged: Result<(&TlogProof, &Entry), &String>) -> Value {
    let mut value = json!({
        "schema": "ringfence.journal.proof/v1",
        "file": name,
        "proven": judged.is_ok(),
    });
    let Some(object) = value.as_object_mut() else { return value };
    match judged {
        Ok((proof, content)) => {
            let head = proof.checkpoint.checkpoint();
            object.insert("origin".to_owned(), head.origin.clone().into());
            object.insert("size".to_owned(), head.size.into());
            let leaf =
                content.leaf().map_or(Value::Null, |leaf| entry(proof.index, &leaf, content));
            object.insert("entry".to_owned(), leaf);
        }
        Err(why) => {
            object.insert("why".to_owned(), why.clone().into());
        }
    }
    value
}

/// What a proof of a message proves, or the step at which it fails.
pub(super) fn message(
    out: &mut dyn Write,
    name: &str,
    judged: Result<&(MessageProof, Proven), &Disproved>,
) -> io::Result<()> {
    let (proof, proven) = match judged {
        Ok(proved) => proved,
        Err(Disproved { step, why }) => {
            return writeln!(
                out,
                "{name}: proves nothing: the step `{}` fails: {}",
                step.word(),
                clean(why)
            );
        }
    };
    let Commitment { device, key, epoch, first, last, root, .. } = &proven.signed.commitment;
    let sent = match &proven.gateway {
        None => format!("device {} sent message {}", clean(device), proof.sequence),
        Some(gateway) => format!(
            "gateway {} says that device {} sent message {}",
            clean(gateway.as_str()),
            clean(device),
            proof.sequence
        ),
    };
    let head = proof.checkpoint.checkpoint();
    writeln!(out, "{name}: {sent}")?;
    writeln!(
        out,
        "  message     {} bytes, SHA-256 {}",
        proof.message.len(),
        Hash::of(&proof.message)
    )?;
    writeln!(out, "  batch       {first} to {last} of epoch {epoch}, root {root}")?;
    writeln!(
        out,
        "  key         {key}, registered in entry {} at {}",
        proof.registered.index, proven.registered_at
    )?;
    writeln!(
        out,
        "  commitment  {} in entry {} at {}",
        proof.commitment, proof.committed.index, proven.at
    )?;
    writeln!(
        out,
        "  head        {}: {} entries, root {}",
        clean(&head.origin),
        head.size,
        head.root
    )?;
    for (witness, at) in &proven.believed.cosigned {
        writeln!(out, "  witness     {} at {at} s since 1970", clean(witness))?;
    }
    for (line, name, id) in &proven.believed.unknown {
        writeln!(out, "              line {line}: {} {id} is not known", clean(name.as_str()))?;
    }
    Ok(())
}

/// The same as a document.
pub(super) fn message_document(
    name: &str,
    judged: Result<&(MessageProof, Proven), &Disproved>,
) -> Value {
    const SCHEMA: &str = "ringfence.journal.message-proof/v1";
    match judged {
        Err(Disproved { step, why }) => json!({
            "schema": SCHEMA, "file": name, "proven": false, "step": step.word(), "why": why,
        }),
        Ok((proof, proven)) => {
            let Commitment { device, key, epoch, first, last, root, .. } =
                &proven.signed.commitment;
            let head = proof.checkpoint.checkpoint();
            json!({
                "schema": SCHEMA,
                "file": name,
                "proven": true,
                "device": device,
                "class": if proven.gateway.is_some() { "gateway" } else { "device" },
                "gateway": proven.gateway,
                "sequence": proof.sequence,
                "message": STANDARD.encode(&proof.message),
                "key": key.to_string(),
                "public_key": proven.key.to_string(),
                "epoch": epoch,
                "first": first,
                "last": last,
                "root": root.to_base64(),
                "commitment": proof.commitment.to_base64(),
                "entry": proof.committed.index,
                "at": proven.at.to_string(),
                "registered": { "entry": proof.registered.index, "at": proven.registered_at.to_string() },
                "origin": head.origin,
                "size": head.size,
                "cosigned": proven.believed.cosigned.iter().map(|(name, _)| name).collect::<Vec<_>>(),
                "unknown_signatures": proven.believed.unknown.len(),
            })
        }
    }
}

/// A head that `watch` saw, as a line or a document of one line.
pub(super) fn head(signed: &SignedCheckpoint, seen: &Seen, output: Output) -> String {
    let head = signed.checkpoint();
    let from = match seen.step {
        Step::Grown { from } => Some(from),
        Step::First | Step::Same => None,
    };
    let cosigned: Vec<&str> =
        seen.believed.cosigned.iter().map(|(name, _)| name.as_str()).collect();
    match output {
        Output::Table => {
            let more = from.map_or(String::new(), |from| {
                format!(", extends {from} by {}", head.size.saturating_sub(from))
            });
            let by = match cosigned.as_slice() {
                [] => String::new(),
                names => format!(", cosigned by {}", clean(&names.join(", "))),
            };
            let origin = clean(&head.origin);
            format!("{origin}: {} entries{more}, root {}{by}", head.size, head.root)
        }
        Output::Json => json!({
            "schema": "ringfence.journal.head/v1",
            "origin": head.origin,
            "size": head.size,
            "root": head.root.to_base64(),
            "extends": from,
            "cosigned": cosigned,
        })
        .to_string(),
    }
}

/// Foreign text, with whatever would steer a terminal written out.
fn clean(text: &str) -> std::str::EscapeDebug<'_> {
    text.escape_debug()
}
