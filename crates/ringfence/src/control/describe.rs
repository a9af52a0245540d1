//! `ringfence describe`: one thing with all that belongs to it.

use std::io::{self, Write};

use serde_json::Value;

use super::args::{Describe, Described};
use super::client::{Client, segment, with_query};
use super::fault::Stop;
use super::words::{at, instant, list, plain};
use super::{columns, explain, history, identity};
use crate::terminal::table;
use crate::{exit, out};

/// Latest changes that are shown.
const CHANGES: usize = 5;
/// Devices of a team that are named.
const NAMED: usize = 20;
/// Fields of a device that are believed, in the order people look for them.
const FIELDS: [&str; 17] = [
    "name",
    "type",
    "vendor",
    "model",
    "firmware",
    "hardware",
    "serial",
    "os",
    "hostname",
    "zone",
    "owner",
    "criticality",
    "assurance",
    "posture",
    "support",
    "exposure",
    "mud-url",
];

pub(super) fn run(args: &Describe) -> Result<u8, Stop> {
    let mut client = super::open(&args.at)?;
    match args.kind {
        Described::Device => device(&mut client, &args.id)?,
        Described::Site => site(&mut client, &args.id)?,
        Described::Team => team(&mut client, &args.id)?,
        Described::Decision => {
            let decision = client.get(&format!("/v1/decisions/{}", segment(&args.id)))?;
            out::print(|out| explain::print(out, &decision, None))?;
        }
    }
    Ok(exit::FINE)
}

fn device(client: &mut Client, id: &str) -> Result<(), Stop> {
    let path = format!("/v1/devices/{}", segment(id));
    let device = client.get(&path)?;
    // A device of an earlier name is known by its id of today.
    let id = at(&device, "/id");
    let leases = client.get(&with_query("/v1/leases", &[("device", id.clone())]))?;
    let lease = match list(&leases, "/items").next() {
        None => "nothing was granted yet, so nothing was decided: has it a zone?".to_owned(),
        Some(lease) => {
            let granted = lease.pointer("/granted") == Some(&Value::Bool(true));
            let word = if granted { "granted" } else { "refused" };
            format!("{word}: ringfence explain {}", at(lease, "/decision"))
        }
    };
    let shown = client.get(&format!("/v1/devices/{}/identity", segment(&id)))?;
    let changes = history::read(client, &id, CHANGES)?;
    out::print(|out| {
        writeln!(out, "Device {id}")?;
        let state = match device.pointer("/resurfaced") {
            Some(Value::Bool(true)) => format!("{}, seen again since", at(&device, "/state")),
            _ => at(&device, "/state"),
        };
        pairs(
            out,
            &[
                ("state", state),
                ("site", at(&device, "/site")),
                ("addresses", at(&device, "/addresses")),
                ("keys", at(&device, "/keys")),
                ("labels", at(&device, "/labels")),
                ("earlier ids", at(&device, "/aliases")),
                ("confused with", at(&device, "/confused_with")),
                ("first seen", instant(&device, "/first_seen")),
                ("last seen", instant(&device, "/last_seen")),
                ("stands at", identity::standing(&shown)),
                ("lease", lease),
            ],
        )?;
        let mut values = table(&["FIELD", "VALUE", "HOW WE KNOW", "SURE", "SINCE"]);
        for field in FIELDS {
            let Some(value) = device.get(field).filter(|value| value.is_object()) else { continue };
            let decided = value.get("decided") == Some(&Value::Bool(true));
            values.add_row([
                field.to_owned(),
                at(value, "/value"),
                at(value, "/source"),
                if decided {
                    "decided".to_owned()
                } else {
                    format!("{} %", at(value, "/confidence"))
                },
                instant(value, "/at"),
            ]);
            // What does not fit is no less known.
            for other in list(&device, &format!("/otherwise/{field}")) {
                values.add_row([
                    String::new(),
                    format!("otherwise: {}", at(other, "/value")),
                    at(other, "/source"),
                    format!("{} %", at(other, "/confidence")),
                    instant(other, "/at"),
                ]);
            }
        }
        if !values.is_empty() {
            writeln!(out, "\n{values}")?;
        }
        if !changes.items.is_empty() {
            writeln!(out, "\nLatest changes")?;
            history::print(out, &changes)?;
        }
        Ok(())
    })?;
    Ok(())
}

fn site(client: &mut Client, id: &str) -> Result<(), Stop> {
    let site = client.get(&format!("/v1/sites/{}", segment(id)))?;
    out::print(|out| {
        writeln!(out, "Site {}", at(&site, "/id"))?;
        let generation = |pointer: &str| match at(&site, pointer) {
            none if none.is_empty() => "nothing yet".to_owned(),
            number => format!("generation {number}"),
        };
        let intended = match site.pointer("/intended").filter(|bundle| bundle.is_object()) {
            Some(bundle) => {
                format!(
                    "generation {}, content {}",
                    at(bundle, "/generation"),
                    at(bundle, "/content")
                )
            }
            None => "nothing yet: `ringfence apply -f FOLDER` sets a policy".to_owned(),
        };
        pairs(
            out,
            &[
                ("name", at(&site, "/name")),
                ("state", at(&site, "/state")),
                ("token until", instant(&site, "/token_until")),
                ("certificate until", instant(&site, "/identity/not_after")),
                ("serial number", at(&site, "/identity/serial")),
                ("key (SHA-256)", at(&site, "/identity/key_sha256")),
                ("devices", at(&site, "/devices")),
                ("intended", intended),
                ("applied", generation("/applied")),
                ("verified", generation("/verified")),
                ("says", columns::says(&site)),
                ("kernel's ruleset", at(&site, "/ack/kernel_generation")),
            ],
        )?;
        let happened = site.pointer("/happened").and_then(Value::as_array);
        let happened = happened.map_or(&[][..], Vec::as_slice);
        if !happened.is_empty() {
            writeln!(out, "  happened there, the newest first:")?;
        }
        for one in happened.iter().take(NAMED) {
            let (at, what) = (instant(one, "/at"), at(one, "/what"));
            writeln!(out, "    {}  {}", plain(&at), plain(&what))?;
        }
        Ok(())
    })?;
    Ok(())
}

fn team(client: &mut Client, id: &str) -> Result<(), Stop> {
    let team = client.get(&format!("/v1/teams/{}", segment(id)))?;
    let (mut count, mut named) = (0_u64, Vec::new());
    let owned = [("l", format!("owner={}", at(&team, "/id")))];
    client.list("/v1/devices", &owned, &mut |device| {
        count = count.saturating_add(1);
        if named.len() < NAMED {
            named.push(at(&device, "/id"));
        }
        Ok(true)
    })?;
    out::print(|out| {
        writeln!(out, "Team {}", at(&team, "/id"))?;
        let after = format!("{} min", at(&team, "/escalate_after_min"));
        let next = match at(&team, "/escalate_to") {
            none if none.is_empty() => "nobody".to_owned(),
            team => team,
        };
        pairs(
            out,
            &[
                ("name", at(&team, "/name")),
                ("contact", at(&team, "/contact")),
                ("has", after),
                ("then", next),
                ("devices", count.to_string()),
            ],
        )?;
        for id in &named {
            writeln!(out, "    {}", plain(id))?;
        }
        let shown = u64::try_from(named.len()).unwrap_or(u64::MAX);
        if count > shown {
            let id = at(&team, "/id");
            let more = count.saturating_sub(shown);
            writeln!(out, "    … and {more} more: ringfence get devices -l owner={id}")?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Names and values under each other; what is empty is left out.
pub(super) fn pairs(out: &mut dyn Write, pairs: &[(&str, String)]) -> io::Result<()> {
    let shown = pairs.iter().filter(|(_, value)| !value.is_empty());
    let width = shown.clone().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in shown {
        writeln!(out, "  {name:width$}  {value}")?;
    }
    Ok(())
}
