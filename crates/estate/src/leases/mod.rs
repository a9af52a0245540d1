//! Leases: what each device is granted at its site, until when, on which evidence.
//!
//! [`Judge`] keeps a policy folder ready and asks it about all devices, or about the few that changed. What differs from the decision in force is a [`Decision`], which is an event;
//! a renewal on the same grounds is none. Every decision holds what it was made from, so that [`replay`] gives the same verdict
//! again, byte for byte.

mod judge;

use std::collections::{BTreeMap, BTreeSet};

use model::{DeviceId, SiteId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::devices::Devices;
use crate::{Refusal, Sort};

pub use judge::{Judge, Judged, judge, overlay, replay};

/// How long a lease lasts, in seconds, unless what it rests on ends before.
pub const TERM_S: i64 = 300;
/// Services named in a decision; the digest is over all of them.
pub const NAMED_MAX: usize = 32;
/// Decisions of one command.
pub const BATCH_MAX: usize = 10_000;

/// What a lease rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// Field of the device.
    pub field: String,
    /// Its value.
    pub value: String,
    /// Who says so.
    pub source: String,
    /// Since when.
    pub at: Timestamp,
}

/// The device as the policy was asked about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Which.
    pub device: DeviceId,
    /// Where.
    pub site: SiteId,
    /// `active`, `stale`, `retired`.
    pub state: String,
    /// Values by field, those that policies look at.
    pub values: BTreeMap<String, String>,
}

/// What the policy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// These services, and no others.
    Granted {
        /// How many.
        services: u32,
        /// `SERVICE by POLICY`, the first [`NAMED_MAX`].
        named: Vec<String>,
        /// SHA-256 over all of them, in hex.
        sha256: String,
    },
    /// Nothing.
    Refused {
        /// Why.
        why: String,
    },
}

/// A decision that differs from the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Its id.
    pub id: String,
    /// Content of the policy folder that was asked.
    pub policy: String,
    /// About whom.
    pub subject: Subject,
    /// What it rests on.
    pub grounds: Vec<Ground>,
    /// What was decided.
    pub verdict: Verdict,
    /// What set it off: `policy`, `device`, `sweep`.
    pub because: String,
    /// The decision that it takes the place of.
    pub previous: Option<String>,
    /// Where its policy looks at other devices too: how many entries of the journal their values are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<u64>,
}

/// What can be commanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// These differ from what is in force.
    Decide {
        /// All of them.
        decisions: Vec<Decision>,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// It is in force from now on.
    Decided(Decision),
}

impl Event {
    /// Its word in the journal.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Decided(_) => "decided",
        }
    }
}

/// A decision in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Where.
    pub site: SiteId,
    /// Id of the decision.
    pub decision: String,
    /// Its journal entry.
    pub entry: u64,
    /// Something is granted.
    pub granted: bool,
    /// Tells two decisions with different grounds or verdicts apart.
    pub fingerprint: [u8; 16],
}

/// All decisions in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leases {
    all: BTreeMap<DeviceId, Lease>,
    by_decision: BTreeMap<String, u64>,
}

impl Leases {
    /// The decision in force about a device.
    pub fn get(&self, device: &DeviceId) -> Option<&Lease> {
        self.all.get(device)
    }

    /// All of them, by device.
    pub fn iter(&self) -> impl Iterator<Item = (&DeviceId, &Lease)> {
        self.all.iter()
    }

    /// The journal entry of a decision.
    pub fn entry_of(&self, decision: &str) -> Option<u64> {
        self.by_decision.get(decision).copied()
    }

    pub(crate) fn decide(
        &self,
        command: &Command,
        devices: &Devices,
        _now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let Command::Decide { decisions } = command;
        if decisions.len() > BATCH_MAX {
            let why = format!("{} decisions; {BATCH_MAX} at most", decisions.len());
            return Err(Refusal::new(Sort::Invalid, "lease.batch", "the command", why));
        }
        let mut events = Vec::new();
        let (mut about, mut named) = (BTreeSet::new(), BTreeSet::new());
        for decision in decisions {
            let id = &decision.subject.device;
            if devices.get(id).is_none_or(|device| device.id != *id) {
                let what = format!("decision about {id}");
                return Err(Refusal::new(
                    Sort::Unknown,
                    "lease.device",
                    what,
                    "there is no such device",
                ));
            }
            let last = self.all.get(id);
            if last.map(|lease| &lease.decision) != decision.previous.as_ref() {
                let what = format!("decision about {id}");
                let why = "another one was made meanwhile";
                return Err(Refusal::new(Sort::Conflict, "lease.previous", what, why));
            }
            let fresh = !decision.id.is_empty()
                && !self.by_decision.contains_key(&decision.id)
                && named.insert(&decision.id);
            if !about.insert(id) || !fresh {
                let what = format!("decision about {id}");
                let why = "each decision has an id of its own, and there is one about a device";
                return Err(Refusal::new(Sort::Invalid, "lease.twice", what, why));
            }
            if last.is_none_or(|lease| lease.fingerprint != decision.fingerprint()) {
                events.push(Event::Decided(decision.clone()));
            }
        }
        Ok(events)
    }

    /// A device is no more: it is an alias of another.
    pub(crate) fn forget(&mut self, device: &DeviceId) {
        if let Some(lease) = self.all.remove(device) {
            self.by_decision.remove(&lease.decision);
        }
    }

    pub(crate) fn apply(&mut self, event: &Event, entry: u64) {
        let Event::Decided(decision) = event;
        let lease = Lease {
            site: decision.subject.site.clone(),
            decision: decision.id.clone(),
            entry,
            granted: matches!(decision.verdict, Verdict::Granted { .. }),
            fingerprint: decision.fingerprint(),
        };
        self.by_decision.insert(decision.id.clone(), entry);
        if let Some(before) = self.all.insert(decision.subject.device.clone(), lease) {
            // Older ones are found through the journal: each names the one before it.
            self.by_decision.remove(&before.decision);
        }
    }
}
