//! Decisions about devices, sites and teams. Each says why.

use hyper::{Method, header};
use serde_json::{Map, Value, json};

use super::args::{Approval, Edit, Output, Owner, Quarantine, Retire, Sites, Teams, Views, Which};
use super::client::{APPROVAL, Client, segment, with_query};
use super::fault::Stop;
use super::words::at;
use crate::{exit, out};

/// `FIELD=VALUE` of a label begins with this.
const LABEL: &str = "label.";
/// What a new team has before the next one is asked, in minutes.
const ESCALATE_MIN: u64 = 240;

/// `ringfence edit`.
pub(super) fn edit(args: &Edit) -> Result<u8, Stop> {
    let mut client = super::open(&args.at)?;
    let what = Change::of(&args.set, &args.reason.reason);
    match args.ids.as_slice() {
        [id] if !args.dry_run => one(&mut client, id, &what),
        ids => {
            let of = Selected {
                selector: args.selector.as_deref(),
                expression: args.expression.as_deref(),
                search: args.search.as_deref(),
                ids,
                dry_run: args.dry_run,
            };
            many(&mut client, &of, &what, args.approval.approval.as_deref())
        }
    }
}

/// `ringfence owner`.
pub(super) fn owner(args: &Owner) -> Result<u8, Stop> {
    let set = [("owner".to_owned(), args.team.clone())];
    let what = Change::of(&set, &args.reason.reason);
    chosen(&mut super::open(&args.at)?, &args.devices, &what, &args.approval)
}

/// `ringfence quarantine`.
pub(super) fn quarantine(args: &Quarantine) -> Result<u8, Stop> {
    let posture = if args.lift { "" } else { "quarantined" };
    let set = [("posture".to_owned(), posture.to_owned())];
    let what = Change::of(&set, &args.reason.reason);
    chosen(&mut super::open(&args.at)?, &args.devices, &what, &args.approval)
}

/// `ringfence retire`.
pub(super) fn retire(args: &Retire) -> Result<u8, Stop> {
    let mut client = super::open(&args.at)?;
    if args.ids.is_empty() {
        let body = json!({
            "l": args.selector, "where": args.expression, "q": args.search, "why": args.reason.reason,
            "dry_run": args.dry_run,
        });
        let (path, approval) = ("/v1/devices/retire", args.approval.approval.as_deref());
        return bulk(&mut client, path, &body, args.dry_run, approval, "retired");
    }
    for id in &args.ids {
        let body = json!({ "why": args.reason.reason });
        client.post(&format!("/v1/devices/{}/retire", segment(id)), &body)?;
        eprintln!("{id} is retired");
    }
    Ok(exit::FINE)
}

/// What is decided about devices.
struct Change<'a> {
    set: Map<String, Value>,
    labels: Map<String, Value>,
    why: &'a str,
}

impl<'a> Change<'a> {
    fn of(set: &[(String, String)], why: &'a str) -> Self {
        let (mut fields, mut labels) = (Map::new(), Map::new());
        for (field, value) in set {
            let value = if value.is_empty() { Value::Null } else { Value::from(value.as_str()) };
            match field.strip_prefix(LABEL) {
                Some(label) => labels.insert(label.to_owned(), value),
                None => fields.insert(field.clone(), value),
            };
        }
        Self { set: fields, labels, why }
    }
}

/// About one device or a selection, whichever was typed.
fn chosen(
    client: &mut Client,
    which: &Which,
    change: &Change<'_>,
    approval: &Approval,
) -> Result<u8, Stop> {
    let selector = which.devices.as_deref();
    if let Some(id) = selector
        && !is_selector(id)
    {
        return one(client, id, change);
    }
    let (expression, search) = (which.expression.as_deref(), which.search.as_deref());
    let of = Selected { selector, expression, search, ids: &[], dry_run: false };
    many(client, &of, change, approval.approval.as_deref())
}

/// Which devices.
struct Selected<'a> {
    selector: Option<&'a str>,
    expression: Option<&'a str>,
    search: Option<&'a str>,
    ids: &'a [String],
    dry_run: bool,
}

/// Ids have none of these.
fn is_selector(text: &str) -> bool {
    text.contains(['=', '!', ',', '(', ' '])
}

/// About one device, as it was when it was looked at.
fn one(client: &mut Client, id: &str, change: &Change<'_>) -> Result<u8, Stop> {
    let path = format!("/v1/devices/{}", segment(id));
    let etag = client.ask(&Method::GET, &path, None, &[])?.etag;
    let body = json!({ "set": change.set, "labels": change.labels, "why": change.why });
    let as_seen: Vec<_> = etag.iter().map(|tag| (header::IF_MATCH, tag.as_str())).collect();
    let after = client.ask(&Method::PATCH, &path, Some(&body), &as_seen)?;
    let changed = after.etag != etag;
    eprintln!("{id} {}", if changed { "is changed" } else { "was so already" });
    Ok(exit::FINE)
}

/// About all of them, or none.
fn many(
    client: &mut Client,
    of: &Selected<'_>,
    change: &Change<'_>,
    approval: Option<&str>,
) -> Result<u8, Stop> {
    let body = json!({
        "l": of.selector, "where": of.expression, "q": of.search, "ids": of.ids, "set": change.set, "labels": change.labels,
        "why": change.why, "dry_run": of.dry_run,
    });
    bulk(client, "/v1/devices/edit", &body, of.dry_run, approval, "changed")
}

/// Sends a command about many devices, and says how many it was about.
fn bulk(
    client: &mut Client,
    path: &str,
    body: &Value,
    dry_run: bool,
    approval: Option<&str>,
    done: &str,
) -> Result<u8, Stop> {
    let approved: Vec<_> = approval.iter().map(|id| (APPROVAL, *id)).collect();
    let answer = client.ask(&Method::POST, path, Some(body), &approved)?;
    let bulk = answer.json()?;
    if answer.status == WAITS {
        return Ok(waits(&bulk));
    }
    let selected = at(&bulk, "/selected");
    match dry_run {
        true => eprintln!("it is about {selected} devices; nothing was changed"),
        false => eprintln!("{} of {selected} devices are {done}", at(&bulk, "/changed")),
    }
    Ok(exit::FINE)
}

/// The path of something that is taken away, with why.
pub(super) fn away(path: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => with_query(path, &[("why", reason.to_owned())]),
        None => path.to_owned(),
    }
}

/// Status of what waits for a second person.
pub(super) const WAITS: u16 = 202;

/// Says what a second person has to do, and what comes after.
pub(super) fn waits(approval: &Value) -> u8 {
    let (id, needs) = (at(approval, "/id"), at(approval, "/needs"));
    eprintln!("nothing was changed: it takes a second person ({needs})");
    eprintln!("  they say:  ringfence approve {id} --reason …");
    eprintln!("  then:      the same command again, with --approval {id}");
    exit::REFUSED
}

/// `ringfence sites …`.
pub(super) fn sites(command: &Sites) -> Result<u8, Stop> {
    match command {
        Sites::Create(args) => {
            let name = args.name.as_ref().unwrap_or(&args.id);
            let body = json!({ "id": args.id, "name": name, "why": args.reason.reason });
            super::open(&args.at)?.post("/v1/sites", &body)?;
            eprintln!(
                "site {} is made; next: ringfence sites token {} --reason …",
                args.id, args.id
            );
        }
        Sites::Token(args) => {
            let hours = args.lasts.map(|lasts| lasts.as_secs().div_ceil(3_600));
            let mut body = json!({ "why": args.reason.reason });
            if let (Some(hours), Some(map)) = (hours, body.as_object_mut()) {
                map.insert("hours".to_owned(), hours.into());
            }
            let path = format!("/v1/sites/{}/token", segment(&args.id));
            let made = super::open(&args.at)?.post(&path, &body)?;
            printed(&made, args.output)?;
        }
        Sites::Revoke(args) => {
            let path = format!("/v1/sites/{}/revoke", segment(&args.id));
            super::open(&args.at)?.post(&path, &json!({ "why": args.reason.reason }))?;
            eprintln!("site {} is believed no more", args.id);
        }
    }
    Ok(exit::FINE)
}

/// A secret that is shown once: alone on standard output.
pub(super) fn printed(made: &Value, output: Output) -> Result<(), Stop> {
    match output {
        Output::Json => out::document(made)?,
        Output::Table => {
            out::print(|out| writeln!(out, "{}", at(made, "/token")))?;
            eprintln!("good until {}; it is not shown again", at(made, "/expires_at"));
        }
    }
    Ok(())
}

/// `ringfence teams …`.
pub(super) fn teams(command: &Teams) -> Result<u8, Stop> {
    match command {
        Teams::Set(args) => {
            let mut client = super::open(&args.at)?;
            let path = format!("/v1/teams/{}", segment(&args.id));
            let known = match client.ask(&Method::GET, &path, None, &[]) {
                Ok(answer) => Some((answer.json()?, answer.etag)),
                Err(fault) if fault.code_of_exit() == exit::NOT_FOUND => None,
                Err(fault) => return Err(fault.into()),
            };
            let (before, etag) = known.unwrap_or((Value::Null, None));
            let kept = |option: &Option<String>, pointer: &str, new: &str| match option {
                Some(text) => text.clone(),
                None if before.is_null() => new.to_owned(),
                None => at(&before, pointer),
            };
            let minutes = args.escalate_after.map(|time| time.as_secs().div_ceil(60));
            let before_min = before.get("escalate_after_min").and_then(Value::as_u64);
            let next = kept(&args.escalate_to, "/escalate_to", "");
            let body = json!({
                "name": kept(&args.name, "/name", &args.id),
                "contact": kept(&args.contact, "/contact", ""),
                "escalate_after_min": minutes.or(before_min).unwrap_or(ESCALATE_MIN),
                "escalate_to": (!next.is_empty()).then_some(next),
                "why": args.reason.reason,
            });
            let as_seen: Vec<_> = etag.iter().map(|tag| (header::IF_MATCH, tag.as_str())).collect();
            client.ask(&Method::PUT, &path, Some(&body), &as_seen)?;
            let done = if before.is_null() { "is made" } else { "is set" };
            eprintln!("team {} {done}", args.id);
        }
        Teams::Remove(args) => {
            let path = format!("/v1/teams/{}", segment(&args.id));
            let path = away(&path, args.reason.as_deref());
            super::open(&args.at)?.ask(&Method::DELETE, &path, None, &[])?;
            eprintln!("team {} is taken away", args.id);
        }
    }
    Ok(exit::FINE)
}

/// `ringfence views …`.
pub(super) fn views(command: &Views) -> Result<u8, Stop> {
    match command {
        Views::Set(args) => {
            let body = json!({
                "l": args.selector, "where": args.expression, "q": args.search,
                "columns": args.columns, "sort": args.sort, "why": args.reason.reason,
            });
            let path = format!("/v1/views/{}", segment(&args.name));
            super::open(&args.at)?.ask(&Method::PUT, &path, Some(&body), &[])?;
            eprintln!("view {} is set: ringfence get devices --view {}", args.name, args.name);
        }
        Views::Remove(args) => {
            let path = format!("/v1/views/{}", segment(&args.name));
            let path = away(&path, args.reason.as_deref());
            super::open(&args.at)?.ask(&Method::DELETE, &path, None, &[])?;
            eprintln!("view {} is taken away", args.name);
        }
    }
    Ok(exit::FINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_told_from_ids() {
        for id in ["cam-7", "Halle/7:a@b+c#d", "d-001b1b010203/cip-backplane/slot-3"] {
            assert!(!is_selector(id), "{id}");
        }
        for selector in ["type=plc", "!owner", "site in (w1,w2)", "a,b"] {
            assert!(is_selector(selector), "{selector}");
        }
    }

    #[test]
    fn labels_and_fields_are_told_apart_and_nothing_takes_back() {
        let set = [("name", "Gate 3"), ("zone", ""), ("label.rack", "B"), ("label.old", "")];
        let set = set.map(|(field, value)| (field.to_owned(), value.to_owned()));
        let change = Change::of(&set, "why");
        assert_eq!(Value::from(change.set), json!({ "name": "Gate 3", "zone": null }));
        assert_eq!(Value::from(change.labels), json!({ "rack": "B", "old": null }));
    }
}
