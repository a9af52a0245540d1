//! An estate with its journal, as a controller has them.

use std::collections::BTreeSet;

use estate::devices::{self, Facts, Field, Said};
use estate::record::{self, Record};
use estate::{At, Command, Estate, Event, Refusal, sites, teams};
use journal::entry::{Actor, Entry, Name};
use model::{DeviceId, SiteId, Timestamp};

pub(crate) const SITES: [&str; 3] = ["north", "south", "west"];
pub(crate) const TEAMS: [&str; 2] = ["it", "ot"];

pub(crate) fn site(id: &str) -> SiteId {
    SiteId::new(id).unwrap()
}

pub(crate) fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

pub(crate) fn person() -> Actor {
    Actor { kind: Name::new("person").unwrap(), id: "op-1".to_owned() }
}

pub(crate) fn said(field: Field, value: &str, confidence: u8, at: Timestamp) -> Said {
    Said { field, value: Some(value.to_owned()), detail: String::new(), confidence, at }
}

/// A device that a source has just seen, with some identifiers and nothing said.
pub(crate) fn facts(id: &str, subject: &str, keys: &[&str], seen: Timestamp) -> Facts {
    Facts {
        id: device(id),
        subject: subject.to_owned(),
        keys: keys.iter().map(ToString::to_string).collect(),
        addresses: None,
        said: Vec::new(),
        first_seen: seen,
        last_seen: seen,
    }
}

pub(crate) fn report(at: &str, source: &str, devices: Vec<Facts>) -> Command {
    Command::Device(devices::Command::Report { site: site(at), source: source.to_owned(), devices })
}

/// A person decides about some devices.
pub(crate) fn edit(ids: &[&str], set: &[(Field, Option<&str>)]) -> Command {
    let set = set.iter().map(|(field, value)| (*field, value.map(str::to_owned))).collect();
    Command::Device(devices::Command::Edit {
        devices: ids.iter().map(|id| device(id)).collect(),
        edit: devices::Edit { set, ..devices::Edit::default() },
    })
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) estate: Estate,
    /// Entries as bytes.
    pub(crate) journal: Vec<Vec<u8>>,
    pub(crate) now: Timestamp,
}

impl World {
    /// Three sites, two teams.
    pub(crate) fn new() -> Self {
        let now = Timestamp::from_secs(1_900_000_000, 0);
        let mut world = Self { estate: Estate::default(), journal: Vec::new(), now };
        for id in SITES {
            let create = sites::Command::Create { id: site(id), name: id.to_owned() };
            world.command(&Command::Site(create)).unwrap();
        }
        for id in TEAMS {
            let team = teams::Team {
                id: id.to_owned(),
                name: id.to_owned(),
                contact: "desk".to_owned(),
                escalate_after_min: 30,
                escalate_to: None,
            };
            world.command(&Command::Team(teams::Command::Set { team })).unwrap();
        }
        world
    }

    pub(crate) fn pass(&mut self, seconds: i64) {
        let nanos = seconds.saturating_mul(1_000_000_000);
        self.now = Timestamp::from_nanos(self.now.as_nanos().saturating_add(nanos));
    }

    /// Decides, writes the entries, reads them back and folds what was read. The number of entries and the events.
    pub(crate) fn command(&mut self, command: &Command) -> Result<Vec<Event>, Refusal> {
        let who = person();
        let events = self.estate.decide(command, &who, self.now)?;
        if events.is_empty() {
            return Ok(events);
        }
        let record = Record {
            at: self.now,
            who,
            why: "a test".to_owned(),
            command: command.clone(),
            evidence: BTreeSet::new(),
            events,
        };
        let mut read = Vec::new();
        for entry in record.entries().unwrap() {
            let bytes = entry.encode().unwrap();
            read.extend(fold(&mut self.estate, self.journal.len(), &bytes));
            self.journal.push(bytes);
        }
        assert_eq!(read, record.events, "what is read back is what was decided");
        Ok(read)
    }

    /// The estate that the journal says, from nothing.
    pub(crate) fn replayed(&self) -> Estate {
        self.then(u64::MAX)
    }

    /// The same, of its first entries.
    pub(crate) fn then(&self, size: u64) -> Estate {
        let mut estate = Estate::default();
        let size = usize::try_from(size).unwrap();
        for (number, bytes) in self.journal.iter().take(size).enumerate() {
            fold(&mut estate, number, bytes);
        }
        estate
    }

    pub(crate) fn device(&self, id: &str) -> &devices::Device {
        self.estate.devices().get(&device(id)).unwrap()
    }
}

fn fold(estate: &mut Estate, number: usize, bytes: &[u8]) -> Vec<Event> {
    let entry = Entry::decode(bytes).unwrap();
    let events = record::events(&entry).unwrap();
    let at = At { entry: u64::try_from(number).unwrap(), time: entry.at, who: &entry.who };
    estate.apply(&events, at);
    events
}
