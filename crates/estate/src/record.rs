//! Commands and events as entries of the journal, and back.
//!
//! A payload is JSON with its members in the order of declaration. Names and members are written for ever: a changed meaning is
//! a new version of the type, read beside the old one (`tests/it/fixtures`).
//!
//! Events that do not fit one entry go on in the next; all entries of one command are appended together or not at all.

use std::collections::BTreeSet;

use journal::entry::{Actor, Entry, Name, Typed};
use journal::{Hash, Malformed};
use model::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    Command, Event, access, commitments, devices, exceptions, identities, leases, policies,
    releases, sites, teams, views,
};

/// Version of every command and event so far.
const VERSION: u32 = 1;
/// Bytes of payloads in one entry; what is around them stays far below the rest.
const PAYLOAD_BYTES_MAX: usize = 48_000;
/// A longer command is written as its digest: what came of it is in the events.
const COMMAND_BYTES_MAX: usize = 4_096;

/// A command with what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it was decided.
    pub at: Timestamp,
    /// Who commanded it.
    pub who: Actor,
    /// Why.
    pub why: String,
    /// What was commanded.
    pub command: Command,
    /// On which evidence.
    pub evidence: BTreeSet<Hash>,
    /// What came of it.
    pub events: Vec<Event>,
}

impl Record {
    /// As entries of the journal, in order.
    pub fn entries(&self) -> Result<Vec<Entry>, Malformed> {
        let command = command(&self.command)?;
        let entry = |events| Entry {
            at: self.at,
            who: self.who.clone(),
            command: command.clone(),
            why: self.why.clone(),
            evidence: self.evidence.clone(),
            events,
        };
        let mut entries = Vec::new();
        let (mut part, mut bytes) = (Vec::new(), 0_usize);
        for event in &self.events {
            let typed = event_typed(event)?;
            let more = typed.payload.len().saturating_add(100);
            if !part.is_empty() && bytes.saturating_add(more) > PAYLOAD_BYTES_MAX {
                entries.push(entry(std::mem::take(&mut part)));
                bytes = 0;
            }
            bytes = bytes.saturating_add(more);
            part.push(typed);
        }
        entries.push(entry(part));
        Ok(entries)
    }
}

/// The events of an entry.
pub fn events(entry: &Entry) -> Result<Vec<Event>, Malformed> {
    entry.events.iter().map(event).collect()
}

fn command(command: &Command) -> Result<Typed, Malformed> {
    let (area, payload) = match command {
        Command::Access(command) => ("access", json_of(command)?),
        Command::Site(command) => ("site", json_of(command)?),
        Command::Team(command) => ("team", json_of(command)?),
        Command::Device(command) => ("device", json_of(command)?),
        Command::Policy(command) => ("policy", json_of(command)?),
        Command::Lease(command) => ("lease", json_of(command)?),
        Command::Commitment(command) => ("commitment", json_of(command)?),
        Command::View(command) => ("view", json_of(command)?),
        Command::Exception(command) => ("exception", json_of(command)?),
        Command::Identity(command) => ("identity", json_of(command)?),
        Command::Release(command) => ("release", json_of(command)?),
    };
    let payload = match payload.len() > COMMAND_BYTES_MAX {
        true => {
            let digest: String =
                Sha256::digest(&payload).iter().map(|b| format!("{b:02x}")).collect();
            json_of(&json!({ "bytes": payload.len(), "sha256": digest }))?
        }
        false => payload,
    };
    Ok(Typed { name: Name::new(area)?, version: VERSION, payload })
}

fn event_typed(event: &Event) -> Result<Typed, Malformed> {
    let payload = match event {
        Event::Access(event) => json_of(event)?,
        Event::Site(event) => json_of(event)?,
        Event::Team(event) => json_of(event)?,
        Event::Device(event) => json_of(event)?,
        Event::Policy(event) => json_of(event)?,
        Event::Lease(event) => json_of(event)?,
        Event::Commitment(event) => json_of(event)?,
        Event::View(event) => json_of(event)?,
        Event::Exception(event) => json_of(event)?,
        Event::Identity(event) => json_of(event)?,
        Event::Release(event) => json_of(event)?,
    };
    Ok(Typed { name: Name::new(&name(event))?, version: VERSION, payload })
}

/// Its name in the journal.
fn name(event: &Event) -> String {
    let (area, word) = match event {
        Event::Access(event) => ("access", event.word()),
        Event::Site(event) => ("site", event.word()),
        Event::Team(event) => ("team", event.word()),
        Event::Device(event) => ("device", event.word()),
        Event::Policy(event) => ("policy", event.word()),
        Event::Lease(event) => ("lease", event.word()),
        Event::Commitment(event) => ("commitment", event.word()),
        Event::View(event) => ("view", event.word()),
        Event::Exception(event) => ("exception", event.word()),
        Event::Identity(event) => ("identity", event.word()),
        Event::Release(event) => ("release", event.word()),
    };
    format!("{area}.{word}")
}

fn event(typed: &Typed) -> Result<Event, Malformed> {
    let called = typed.name.as_str();
    if typed.version != VERSION {
        let why = format!("version {} of {called} is newer than this program", typed.version);
        return Err(malformed(why));
    }
    let area = called.split_once('.').map_or(called, |(area, _)| area);
    let event = match area {
        "access" => of_json::<access::Event>(typed).map(Event::Access),
        "site" => of_json::<sites::Event>(typed).map(Event::Site),
        "team" => of_json::<teams::Event>(typed).map(Event::Team),
        "device" => of_json::<devices::Event>(typed).map(Event::Device),
        "policy" => of_json::<policies::Event>(typed).map(Event::Policy),
        "lease" => of_json::<leases::Event>(typed).map(Event::Lease),
        "commitment" => of_json::<commitments::Event>(typed).map(Event::Commitment),
        "view" => of_json::<views::Event>(typed).map(Event::View),
        "exception" => of_json::<exceptions::Event>(typed).map(Event::Exception),
        "identity" => of_json::<identities::Event>(typed).map(Event::Identity),
        "release" => of_json::<releases::Event>(typed).map(Event::Release),
        _ => Err(malformed(format!("`{called}` is no event of an estate"))),
    }?;
    // Whoever filters by name sees what is applied.
    match name(&event) {
        name if name == called => Ok(event),
        name => Err(malformed(format!("`{called}` holds `{name}`"))),
    }
}

fn json_of<T: Serialize>(value: &T) -> Result<Vec<u8>, Malformed> {
    serde_json::to_vec(value).map_err(|error| malformed(error.to_string()))
}

fn of_json<T: DeserializeOwned>(typed: &Typed) -> Result<T, Malformed> {
    serde_json::from_slice(&typed.payload)
        .map_err(|error| malformed(format!("{}: {error}", typed.name)))
}

fn malformed(why: String) -> Malformed {
    Malformed { what: "an event of an estate", at: 0, why }
}
