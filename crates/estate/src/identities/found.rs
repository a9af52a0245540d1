//! What a person should look at: about devices, and about the door, where somebody was refused who is no device that is known.
//!
//! Both lists have a bound, and whoever fills one pushes out his own kind.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use model::{DeviceId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Event, Identities};
use crate::At;

/// Findings about devices that are shown; all of them are in the journal.
pub const FOUND_MAX: usize = 1_000;
/// Findings about the door that are shown; all refusals are in the journal.
pub const DOOR_MAX: usize = 1_000;
/// What is found again is told again after this long, in nanoseconds: an hour.
const FOUND_AGAIN_NANOS: i64 = 3_600 * 1_000_000_000;
/// Findings of one kind of refusal within an hour.
const REFUSED_FOUND_MAX: usize = 100;

/// What deserves a person's attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// When.
    pub at: Timestamp,
    /// Stable word: `identity.key-taken`.
    pub code: String,
    /// Whom it concerns.
    pub device: DeviceId,
    /// One line.
    pub what: String,
    /// The journal entry with all of it.
    pub entry: u64,
}

/// What was refused at the door, of one network and for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtDoor {
    /// Of which network; `None`: of several.
    pub from: Option<IpAddr>,
    /// Stable word: `identity.request`.
    pub code: String,
    /// How often.
    pub times: u64,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// What was said of that, one line.
    pub what: String,
    /// The journal entry with it.
    pub entry: u64,
}

/// All that was refused at the door and concerns no device that is known, the latest at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Door(VecDeque<AtDoor>);

impl Door {
    /// Somebody was refused.
    pub(super) fn note(&mut self, refused: &Event, at: At<'_>) {
        let Event::Refused { code, why, from, times, .. } = refused else { return };
        let known = self.0.iter().position(|one| one.from == *from && one.code == *code);
        let before = known.and_then(|place| self.0.remove(place));
        if before.is_none() && self.0.len() >= DOOR_MAX {
            make_room(&mut self.0, |one| &one.code);
        }
        self.0.push_back(AtDoor {
            from: *from,
            code: code.clone(),
            times: before.as_ref().map_or(0, |one| one.times).saturating_add(*times),
            first: before.map_or(at.time, |one| one.first),
            last: at.time,
            what: why.clone(),
            entry: at.entry,
        });
    }
}

/// The oldest of the kind that has the most goes.
fn make_room<T>(all: &mut VecDeque<T>, code: impl Fn(&T) -> &str) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for one in &*all {
        let count = counts.entry(code(one)).or_default();
        *count = count.saturating_add(1);
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count).map(|(code, _)| code);
    let oldest = all.iter().position(|one| Some(code(one)) == most);
    if let Some(oldest) = oldest {
        all.remove(oldest);
    }
}

impl Identities {
    /// What deserves a person's attention about devices, the latest at the end.
    pub fn found(&self) -> impl DoubleEndedIterator<Item = &Finding> {
        self.found.iter()
    }

    /// What was refused at the door and concerns no device that is known, the latest at the end.
    pub fn at_door(&self) -> impl DoubleEndedIterator<Item = &AtDoor> {
        self.door.0.iter()
    }

    /// The same, for a snapshot.
    pub(crate) const fn door(&self) -> &Door {
        &self.door
    }

    /// A refusal for the journal; a finding where it is known whom it concerns and that is news. What is refused again and again for the same reason is
    /// found once in an hour, and little of it in all, so that it pushes out nothing else.
    pub(super) fn refuse(&self, refused: Event, now: Timestamp) -> Vec<Event> {
        let found = match &refused {
            Event::Refused { code, why, device: Some(device), .. }
                if self.lately(code, now).count() < REFUSED_FOUND_MAX =>
            {
                let (code, device, what) = (code.clone(), device.clone(), why.clone());
                self.unless_lately(Event::Found { code, device, what }, now)
            }
            _ => None,
        };
        std::iter::once(refused).chain(found).collect()
    }

    /// A finding, unless it was found of the same device within the hour.
    pub(super) fn unless_lately(&self, found: Event, now: Timestamp) -> Option<Event> {
        let Event::Found { code, device, .. } = &found else { return None };
        let again = self.lately(code, now).any(|before| before == device);
        (!again).then_some(found)
    }

    /// Of which devices something was found within the hour.
    fn lately(&self, code: &str, now: Timestamp) -> impl Iterator<Item = &DeviceId> {
        let since = now.plus_nanos(-FOUND_AGAIN_NANOS);
        let lately = self.found.iter().rev().take_while(move |found| found.at > since);
        lately.filter(move |found| found.code == code).map(|found| &found.device)
    }

    pub(super) fn find(&mut self, code: &str, device: &DeviceId, what: &str, at: At<'_>) {
        if self.found.len() >= FOUND_MAX {
            make_room(&mut self.found, |found| &found.code);
        }
        self.found.push_back(Finding {
            at: at.time,
            code: code.to_owned(),
            device: device.clone(),
            what: what.to_owned(),
            entry: at.entry,
        });
    }
}
