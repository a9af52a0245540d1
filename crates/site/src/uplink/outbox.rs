//! What waits to be told to the controller: what happened, in order, none lost and none twice; and devices, each once with its newest state.
//!
//! Events are durable when they are taken. A batch is durable, with its number, before it is sent for the first time; it is sent again under
//! the same number until the controller says that it has it. Pure: the caller keeps [`Head`] and [`Noted`] lines, and sends.

use std::collections::{BTreeMap, VecDeque};

use model::line::{BATCH_BYTES_MAX, Batch, DEVICES_MAX, EVENTS_MAX, Happened, Sighting};
use serde::{Deserialize, Serialize};

/// Events that wait. More are counted, and told of when there is room.
pub const WAITING_MAX: usize = 100_000;
/// Devices that wait: the one that has waited longest goes first when there are more.
pub const SIGHTINGS_MAX: usize = 20_000;
/// A device that did not change is told of again after this, in seconds.
pub const AGAIN_S: i64 = 600;
/// Characters of one text of an event.
const TEXT_CHARS_MAX: usize = 1_000;
/// Values of one kind in a sighting.
const VALUES_MAX: usize = 64;
/// Bytes of a batch as it is put together: its largest member may still be added.
const BYTES_MAX: usize = BATCH_BYTES_MAX / 2;

/// What survives beside the events: replaced whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// Number of the last batch that the controller has.
    pub taken: u64,
    /// The last event that is in it, or in one before, or in the one on its way.
    pub through: u64,
    /// The last line of the site's journal that was taken up; none: the journal from before does not count.
    pub journal: Option<u64>,
    /// The batch on its way.
    pub sending: Option<Batch>,
}

/// An event as it is kept: a line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// Its number here, from 1.
    pub number: u64,
    /// Its line in the site's journal, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<u64>,
    /// The event.
    pub happened: Happened,
}

/// Whether an event is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entered {
    /// Make these durable.
    Noted(Vec<Noted>),
    /// It was taken before.
    Known,
    /// There is no room.
    Full,
}

/// What came of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The controller has it. Make the head durable.
    Taken,
    /// The controller has later ones than this site ever sent: this state directory is older than what was sent, or new. What is on its
    /// way has a later number now. Make the head durable before it is sent.
    Renumbered,
    /// It is about no batch that is on its way.
    Other,
}

/// The outbox.
#[derive(Clone, Debug)]
pub struct Outbox {
    head: Head,
    events: VecDeque<Noted>,
    last: u64,
    lost: u64,
    /// The head and the events of the batch that was put together last, until it is durable.
    before: Option<(u64, Vec<Noted>)>,
    /// Devices in the order in which they wait.
    sightings: VecDeque<String>,
    waiting: BTreeMap<String, Sighting>,
    /// What was last told of a device, and when it had been seen then.
    known: BTreeMap<String, Sighting>,
    passed_over: u64,
}

impl Outbox {
    /// Goes on from what was kept.
    pub fn new(head: Head, kept: Vec<Noted>) -> Self {
        let last = kept.iter().map(|noted| noted.number).max().unwrap_or(0).max(head.through);
        let journal = kept.iter().filter_map(|noted| noted.journal).max().max(head.journal);
        let through = head.through;
        let events = kept.into_iter().filter(|noted| noted.number > through).collect();
        Self {
            head: Head { journal, ..head },
            events,
            last,
            lost: 0,
            before: None,
            sightings: VecDeque::new(),
            waiting: BTreeMap::new(),
            known: BTreeMap::new(),
            passed_over: 0,
        }
    }

    /// What must survive beside the events.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Events that are in no batch yet: a file with these is as good as the one it replaces.
    pub fn events(&self) -> impl Iterator<Item = &Noted> {
        self.events.iter()
    }

    /// Lines of the journal up to this one are not news.
    pub fn begin_after(&mut self, journal: u64) {
        self.head.journal.get_or_insert(journal);
    }

    /// Events and devices that the controller does not have.
    pub fn waiting(&self) -> usize {
        let sending = self.head.sending.as_ref();
        let sending = sending.map_or(0, |b| b.events.len().saturating_add(b.devices.len()));
        self.events.len().saturating_add(self.sightings.len()).saturating_add(sending)
    }

    /// Events that there was no room for, and devices of which an older state went.
    pub const fn lost(&self) -> (u64, u64) {
        (self.lost, self.passed_over)
    }

    /// Something happened. `journal`: its line in the site's journal.
    pub fn happened(&mut self, happened: Happened, journal: Option<u64>) -> Entered {
        if let (Some(line), Some(known)) = (journal, self.head.journal)
            && line <= known
        {
            return Entered::Known;
        }
        if self.events.len() >= WAITING_MAX {
            self.lost = self.lost.saturating_add(1);
            self.head.journal = self.head.journal.max(journal);
            return Entered::Full;
        }
        let mut noted = Vec::new();
        if self.lost > 0 {
            let what = format!("{} events before this one had no room and are not told", self.lost);
            self.lost = 0;
            let (kind, subject) = ("events-lost".to_owned(), "line".to_owned());
            noted.push(self.enter(Happened { at: happened.at, kind, subject, what }, None));
        }
        noted.push(self.enter(happened, journal));
        Entered::Noted(noted)
    }

    fn enter(&mut self, happened: Happened, journal: Option<u64>) -> Noted {
        self.last = self.last.saturating_add(1);
        self.head.journal = self.head.journal.max(journal);
        let happened = Happened {
            at: happened.at,
            kind: cut(&happened.kind),
            subject: cut(&happened.subject),
            what: cut(&happened.what),
        };
        let noted = Noted { number: self.last, journal, happened };
        self.events.push_back(noted.clone());
        noted
    }

    /// [`Entered::Noted`] could not be made durable: it is as if it had never come.
    pub fn not_kept(&mut self, noted: &[Noted]) {
        let gone = |number| noted.iter().any(|noted| noted.number == number);
        self.events.retain(|waiting| !gone(waiting.number));
        self.lost = self.lost.saturating_add(u64::try_from(noted.len()).unwrap_or(u64::MAX));
    }

    /// A device was seen. One that has not changed since it was told of is told of again after a while only.
    pub fn saw(&mut self, device: String, sighting: Sighting) {
        let sighting = within(sighting);
        if let Some(known) = self.known.get(&device) {
            let then = known.seen_at.plus_nanos(AGAIN_S.saturating_mul(1_000_000_000));
            let same = Sighting { seen_at: sighting.seen_at, ..known.clone() } == sighting;
            if same && sighting.seen_at < then {
                return;
            }
        }
        if self.waiting.insert(device.clone(), sighting).is_none() {
            self.sightings.push_back(device);
        }
        if self.sightings.len() > SIGHTINGS_MAX
            && let Some(oldest) = self.sightings.pop_front()
        {
            self.waiting.remove(&oldest);
            self.passed_over = self.passed_over.saturating_add(1);
        }
    }

    /// Whether there is something to send: what happened, or only devices.
    pub fn ready(&self) -> Option<Ready> {
        if self.head.sending.is_some() || !self.events.is_empty() {
            return Some(Ready::Happened);
        }
        (!self.sightings.is_empty()).then_some(Ready::Seen)
    }

    /// The batch to send: the one on its way, or the next. `true`: it is new, so the head has to be durable before it is sent.
    pub fn batch(&mut self) -> Option<(&Batch, bool)> {
        let new = self.head.sending.is_none();
        if new {
            self.ready()?;
            let (mut events, mut devices, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
            let mut through = self.head.through;
            let mut before = Vec::new();
            while events.len() < EVENTS_MAX && bytes < BYTES_MAX {
                let Some(noted) = self.events.pop_front() else {
                    break;
                };
                bytes = bytes.saturating_add(size(&noted.happened));
                through = noted.number;
                events.push(noted.happened.clone());
                before.push(noted);
            }
            while devices.len() < DEVICES_MAX && bytes < BYTES_MAX {
                let Some(device) = self.sightings.pop_front() else {
                    break;
                };
                if let Some(sighting) = self.waiting.remove(&device) {
                    bytes = bytes.saturating_add(size(&sighting));
                    devices.push(sighting.clone());
                    self.remember(device, sighting);
                }
            }
            let number = self.head.taken.saturating_add(1);
            self.before = Some((self.head.through, before));
            self.head.through = through;
            self.head.sending = Some(Batch { number, events, devices });
        }
        self.head.sending.as_ref().map(|batch| (batch, new))
    }

    /// The head with a new batch could not be made durable: all of it goes back to where it came from, and is not sent.
    pub fn not_sent(&mut self) {
        let Some((through, events)) = self.before.take() else {
            return;
        };
        self.head.sending = None;
        self.head.through = through;
        events.into_iter().rev().for_each(|noted| self.events.push_front(noted));
        // Its devices are told of when they are seen again.
        self.known.clear();
    }

    /// The controller says which batch it has.
    pub fn taken(&mut self, number: u64) -> Settled {
        let Some(batch) = &mut self.head.sending else {
            return Settled::Other;
        };
        if number < batch.number {
            return Settled::Other;
        }
        if number > batch.number {
            batch.number = number.saturating_add(1);
            self.head.taken = number;
            return Settled::Renumbered;
        }
        self.head.taken = number;
        (self.head.sending, self.before) = (None, None);
        Settled::Taken
    }

    fn remember(&mut self, device: String, sighting: Sighting) {
        if self.known.len() >= SIGHTINGS_MAX && !self.known.contains_key(&device) {
            // Whoever is forgotten is told of once more.
            self.known.pop_first();
        }
        self.known.insert(device, sighting);
    }
}

/// What is ready to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// What happened: at once.
    Happened,
    /// Devices only: they can wait for others.
    Seen,
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

fn within(mut sighting: Sighting) -> Sighting {
    for values in [&mut sighting.macs, &mut sighting.ips, &mut sighting.keys] {
        values.truncate(VALUES_MAX);
        values.iter_mut().for_each(|value| *value = cut(value));
    }
    while sighting.attributes.len() > VALUES_MAX {
        sighting.attributes.pop_last();
    }
    for (value, _) in sighting.attributes.values_mut() {
        *value = cut(value);
    }
    sighting
}

fn size(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(BYTES_MAX, |text| text.len())
}

#[cfg(test)]
mod tests;
