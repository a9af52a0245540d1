//! Releases: firmware that somebody answers for, and what a device that runs it may measure.
//!
//! A device is attested by the release that is in the catalogue under its vendor, model and version, and by no other. What a release says never
//! changes: other values are another release, in the place of the first one. Once it is withdrawn nothing rests on it any more.
//!
//! It must never know where a document came from, or what a TPM says.

mod decide;
pub mod document;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::At;
use crate::access::By;
use crate::identities::Octets;
use crate::side::Digest;

pub use decide::unknown;

/// Releases of the catalogue that are not withdrawn.
pub const RELEASES_MAX: usize = 4_096;
/// Withdrawn ones that are remembered, without their values; the oldest goes first.
pub const WITHDRAWN_MAX: usize = 4_096;
/// Values of one release.
pub const VALUES_OF_ONE_MAX: usize = 16_384;
/// Values of all releases that are not withdrawn.
pub const VALUES_MAX: usize = 262_144;
/// Registers of a TPM (TCG PC Client Platform Firmware Profile, section 2.2.4).
pub const REGISTERS: u8 = 24;

/// Which digests a TPM measures with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bank {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Bank {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// Its word in documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The bank of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bank| bank.word() == word)
    }

    /// Bytes of a digest.
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// What reference values are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Whole registers.
    Values,
    /// Events of the log that leads to them.
    Events,
}

impl Form {
    /// Its word in documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::Events => "events",
        }
    }
}

/// What may be in one register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// Which.
    pub pcr: u8,
    /// Values, or events, of which each is good.
    pub allowed: Vec<Octets>,
    /// Events that have to be there.
    pub required: Vec<Octets>,
}

/// Firmware, and what a device that runs it may measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Its id.
    pub id: String,
    /// Who makes the devices that it is for.
    pub vendor: String,
    /// For which of theirs.
    pub model: String,
    /// Version of the firmware.
    pub version: String,
    /// SHA-256 of the document that says so.
    pub digest: Digest,
    /// Why it is here.
    pub reason: String,
    /// Of which registers.
    pub bank: Bank,
    /// What is compared.
    pub form: Form,
    /// By number, each once, digests in their order.
    pub registers: Vec<Register>,
}

impl Release {
    /// How many values it has.
    pub fn values(&self) -> usize {
        values(&self.registers)
    }

    /// Whether a device that this release attests is attested by the other one too, whatever it measured.
    fn is_within(&self, other: &Self) -> bool {
        (self.bank, self.form) == (other.bank, other.form)
            && self.registers.len() == other.registers.len()
            && self.registers.iter().zip(&other.registers).all(|(ours, theirs)| {
                let has = |all: &[Octets], one: &Octets| all.binary_search(one).is_ok();
                let good = |one: &Octets| has(&theirs.allowed, one) || has(&theirs.required, one);
                ours.pcr == theirs.pcr
                    && ours.allowed.iter().chain(&ours.required).all(good)
                    && theirs.required.iter().all(|one| has(&ours.required, one))
            })
    }
}

fn values(registers: &[Register]) -> usize {
    let count = |of: &Register| of.allowed.len().saturating_add(of.required.len());
    registers.iter().map(count).fold(0, usize::saturating_add)
}

/// What can be commanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// Somebody answers for firmware.
    Add {
        /// All of it.
        release: Release,
        /// The release of the same vendor, model and version in whose place it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<String>,
    },
    /// Nobody does any more.
    Withdraw {
        /// Which.
        id: String,
        /// Why.
        reason: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// It is in the catalogue.
    Added {
        /// All of it, as far as it fits one event.
        release: Release,
    },
    /// More of it.
    Continued {
        /// Of which.
        id: String,
        /// What may be in registers, besides what was said.
        registers: Vec<Register>,
    },
    /// Nothing rests on it any more.
    Withdrawn {
        /// Which.
        id: String,
        /// Why.
        reason: String,
        /// What is in its place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaced_by: Option<String>,
        /// Whatever it attested is attested by what is in its place.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        carried: bool,
    },
}

impl Event {
    /// Its word in the journal.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Added { .. } => "added",
            Self::Continued { .. } => "continued",
            Self::Withdrawn { .. } => "withdrawn",
        }
    }
}

/// A release that was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// It; without values once it is withdrawn.
    pub release: Arc<Release>,
    /// How many values it has, or had.
    pub values: u32,
    /// Who added it.
    pub by: By,
    /// When.
    pub at: Timestamp,
    /// The journal entry with it.
    pub entry: u64,
    /// Who withdrew it, and why.
    pub withdrawn: Option<Withdrawn>,
    /// Number of the entry that changed it last.
    pub changed_by: u64,
}

/// The end of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    /// Who said so.
    pub by: By,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// What is in its place.
    pub replaced_by: Option<String>,
}

/// For whom a release is: vendor, model, version.
type Kind = (String, String, String);

/// The catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Releases {
    all: BTreeMap<String, Known>,
    /// Which of them counts.
    #[serde(skip)]
    current: BTreeMap<Kind, String>,
    /// By the entry that added it.
    #[serde(skip)]
    by_entry: BTreeMap<u64, String>,
    /// Values of those that count.
    #[serde(skip)]
    values: usize,
    /// When, and which: those that are withdrawn.
    #[serde(skip)]
    past: BTreeSet<(u64, String)>,
}

impl Releases {
    /// One that is in the catalogue, or was a while ago.
    pub fn get(&self, id: &str) -> Option<&Known> {
        self.all.get(id)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.all.values()
    }

    /// The one that counts for devices of a vendor, model and version.
    pub fn current(&self, vendor: &str, model: &str, version: &str) -> Option<&Arc<Release>> {
        let kind = (vendor.to_owned(), model.to_owned(), version.to_owned());
        self.all.get(self.current.get(&kind)?).map(|known| &known.release)
    }

    /// The one that an entry of the journal added.
    pub fn of_entry(&self, entry: u64) -> Option<&Known> {
        self.all.get(self.by_entry.get(&entry)?)
    }

    /// Whether a document was ever read that is remembered.
    pub fn has_document(&self, digest: &Digest) -> bool {
        self.iter().any(|known| known.release.digest == *digest)
    }

    pub(crate) fn apply(&mut self, event: &Event, at: At<'_>) {
        match event {
            Event::Added { release } => {
                let known = Known {
                    release: Arc::new(release.clone()),
                    values: 0,
                    by: By::from(at.who),
                    at: at.time,
                    entry: at.entry,
                    withdrawn: None,
                    changed_by: at.entry,
                };
                self.change(&release.id, |has| *has = Some(known));
            }
            Event::Continued { id, registers } => self.change(id, |has| {
                if let Some(known) = has {
                    let release = Arc::make_mut(&mut known.release);
                    release.registers.extend(registers.iter().cloned());
                    release.registers = tidy(&release.registers);
                }
            }),
            Event::Withdrawn { id, reason, replaced_by, .. } => {
                self.change(id, |has| {
                    if let Some(known) = has {
                        // The journal keeps what it said.
                        Arc::make_mut(&mut known.release).registers = Vec::new();
                        let (reason, replaced_by) = (reason.clone(), replaced_by.clone());
                        let by = By::from(at.who);
                        known.withdrawn = Some(Withdrawn { by, at: at.time, reason, replaced_by });
                        known.changed_by = at.entry;
                    }
                });
                while self.past.len() > WITHDRAWN_MAX
                    && let Some((_, oldest)) = self.past.first().cloned()
                {
                    self.change(&oldest, |has| *has = None);
                }
            }
        }
    }

    /// What is not in a snapshot follows from what is.
    pub(crate) fn indexed(mut self) -> Self {
        for (id, known) in std::mem::take(&mut self.all) {
            self.index(&known);
            self.all.insert(id, known);
        }
        self
    }

    fn change(&mut self, id: &str, with: impl FnOnce(&mut Option<Known>)) {
        let mut known = self.all.remove(id);
        if let Some(known) = &known {
            self.unindex(known);
        }
        with(&mut known);
        if let Some(mut known) = known {
            if known.withdrawn.is_none() {
                known.values = u32::try_from(known.release.values()).unwrap_or(u32::MAX);
            }
            self.index(&known);
            self.all.insert(id.to_owned(), known);
        }
    }

    fn index(&mut self, known: &Known) {
        let id = &known.release.id;
        self.by_entry.insert(known.entry, id.clone());
        match known.withdrawn {
            Some(_) => {
                self.past.insert((known.changed_by, id.clone()));
            }
            None => {
                self.current.insert(kind(&known.release), id.clone());
                self.values = self.values.saturating_add(known.release.values());
            }
        }
    }

    fn unindex(&mut self, known: &Known) {
        let id = &known.release.id;
        self.by_entry.remove(&known.entry);
        match known.withdrawn {
            Some(_) => {
                self.past.remove(&(known.changed_by, id.clone()));
            }
            None => {
                // What is in its place may be here already.
                let kind = kind(&known.release);
                if self.current.get(&kind) == Some(id) {
                    self.current.remove(&kind);
                }
                self.values = self.values.saturating_sub(known.release.values());
            }
        }
    }
}

fn kind(release: &Release) -> Kind {
    (release.vendor.clone(), release.model.clone(), release.version.clone())
}

/// Each register once and in order, and each digest: what has to be there is good anyhow.
fn tidy(registers: &[Register]) -> Vec<Register> {
    let mut by: BTreeMap<u8, (BTreeSet<&Octets>, BTreeSet<&Octets>)> = BTreeMap::new();
    for Register { pcr, allowed, required } in registers {
        let (good, needed) = by.entry(*pcr).or_default();
        good.extend(allowed);
        needed.extend(required);
    }
    let own = |all: BTreeSet<&Octets>| all.into_iter().cloned().collect();
    by.into_iter()
        .map(|(pcr, (mut good, needed))| {
            good.retain(|one| !needed.contains(one));
            Register { pcr, allowed: own(good), required: own(needed) }
        })
        .collect()
}
