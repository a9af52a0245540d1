//! Commitments: which key speaks for which device, and how far each device has committed to what it sent.
//!
//! ```text
//!  signed bytes ─▶ the shell checks the signature ─▶ Verified ─▶ decide: who may speak? what does it follow? ─▶ Committed
//!                  (crypto, outside of every lock)                └─▶ Found: fork, gap… with the evidence
//! ```
//!
//! * A key is registered for a device and an epoch; for a device that does not sign, with the gateway that sees it. The two classes are
//!   chains of their own and never mix: a key belongs to one device, or to one gateway.
//! * A chain is decided on as it is when the entry is written, so two who send it at once cannot fork it.
//! * The same commitment again is no finding: an answer may be lost, and anybody can send bytes again. [`RECENT_MAX`] are remembered, and
//!   what a remembered one says it follows is known by that.
//! * What is refused in spite of a good signature is a finding, with the signed bytes as evidence: [`FOUND_MAX`] a day and chain; whoever
//!   holds a key could fill the journal otherwise. Other refusals are not the device's doing, and no events.
//!
//! The rules of a chain are `journal::commitment`'s. It must never know how a signature is checked.

mod command;
mod decide;
mod key;
pub mod proof;

use std::collections::{BTreeMap, VecDeque};

use journal::Hash;
use journal::commitment::{Class, Commitment, Last, Verified};
use model::{DeviceId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::At;
use crate::side::Digest;

pub use command::{Command, Event};
pub use decide::Outcome;
pub use key::{PublicKey, Sent};

/// Keys of one device, with those that speak no more.
pub const KEYS_MAX: usize = 64;
/// Commitments of one command.
pub const BATCH_MAX: usize = 4_096;
/// Commitments of one event.
pub const EVENT_MAX: usize = 64;
/// Accepted commitments of a chain that are known again.
pub const RECENT_MAX: usize = 16;
/// Findings of one chain that are shown; all are in the journal.
pub const FINDINGS_MAX: usize = 8;
/// Findings of one chain in a day that are written down.
pub const FOUND_MAX: u32 = 32;
/// That day, in nanoseconds.
const DAY_NANOS: i64 = 86_400 * 1_000_000_000;

/// All keys and chains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitments {
    /// By the name that commitments have for the device.
    devices: BTreeMap<DeviceId, OfDevice>,
    /// Whose a key is, by its id.
    owners: BTreeMap<Digest, Owner>,
}

/// Keys and chains of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfDevice {
    /// By their ids.
    keys: BTreeMap<Digest, Registered>,
    /// By the gateway; none: its own.
    chains: BTreeMap<Option<DeviceId>, Chain>,
}

/// Whose a key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// It signs what this device sends.
    Device(DeviceId),
    /// It signs what this gateway sees.
    Gateway(DeviceId),
}

/// A key that speaks for a device, or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The key.
    pub key: PublicKey,
    /// The gateway that it is a key of; none: the device's own.
    pub gateway: Option<DeviceId>,
    /// The epoch that it speaks for.
    pub epoch: u64,
    /// Since when.
    pub at: Timestamp,
    /// The entry that says so.
    pub entry: u64,
    /// Whether it speaks.
    pub state: KeyState,
}

/// Whether a key speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// It does.
    Current,
    /// Another one took its place.
    Superseded,
    /// It was taken away.
    Revoked,
}

impl KeyState {
    /// Its word in documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Superseded => "superseded",
            Self::Revoked => "revoked",
        }
    }
}

/// What a device, or a gateway about it, has committed to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Highest epoch that was registered.
    pub epoch: u64,
    /// The key that speaks.
    pub key: Option<Digest>,
    /// The last commitment that counts.
    pub tip: Option<Tip>,
    /// Commitments that count, of all epochs.
    pub commitments: u64,
    /// Messages that they cover.
    pub messages: u64,
    /// Things that were found.
    pub found: u64,
    /// The last of them.
    pub findings: VecDeque<Finding>,
    /// Beginnings of the hashes of what was accepted last.
    recent: VecDeque<[u8; 16]>,
    /// When the day of findings began, and findings since.
    day: Option<(Timestamp, u32)>,
}

/// The last commitment of a chain that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    /// Its key.
    pub key: Digest,
    /// Its epoch.
    pub epoch: u64,
    /// Number of its first message.
    pub first: u64,
    /// Number of its last message.
    pub last: u64,
    /// Its hash.
    pub hash: Digest,
    /// The entry that has it.
    pub entry: u64,
    /// When it came.
    pub at: Timestamp,
}

/// Something that a device signed and that cannot be true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable word.
    pub finding: String,
    /// One line.
    pub what: String,
    /// Hash of the commitment that is the evidence.
    pub hash: Digest,
    /// The entry that has it.
    pub entry: u64,
    /// When it came.
    pub at: Timestamp,
}

impl Commitments {
    /// The key that a commitment names, if it is registered for the device that it names: what its signature has to hold under.
    pub fn key_of(&self, commitment: &Commitment) -> Option<&PublicKey> {
        Some(&self.registered(commitment)?.key)
    }

    /// Keys of a device, by the name that commitments have for it: by id.
    pub fn keys(&self, device: &DeviceId) -> impl Iterator<Item = (&Digest, &Registered)> {
        self.devices.get(device).into_iter().flat_map(|of| &of.keys)
    }

    /// Chains of a device, by the same name: its own first, then by gateway.
    pub fn chains(&self, device: &DeviceId) -> impl Iterator<Item = (&Option<DeviceId>, &Chain)> {
        self.devices.get(device).into_iter().flat_map(|of| &of.chains)
    }

    fn registered(&self, commitment: &Commitment) -> Option<&Registered> {
        let device = DeviceId::new(&commitment.device).ok()?;
        let registered = self.devices.get(&device)?.keys.get(&commitment.key.into())?;
        (class(registered.gateway.as_ref()) == commitment.class).then_some(registered)
    }

    pub(crate) fn apply(&mut self, event: &Event, at: At<'_>) {
        match event {
            Event::KeyRegistered { device, gateway, key, epoch } => {
                self.register(device, gateway.as_ref(), *key, *epoch, at);
            }
            Event::KeyRevoked { device, key } => {
                let Some(of) = self.devices.get_mut(device) else { return };
                if let Some(registered) = of.keys.get_mut(key) {
                    registered.state = KeyState::Revoked;
                }
                let speaks = of.chains.values_mut().filter(|chain| chain.key == Some(*key));
                speaks.for_each(|chain| chain.key = None);
            }
            Event::Committed { commitments } => {
                for Sent(signed) in commitments {
                    // It was encoded when it was written, and read again just now.
                    let Ok(hash) = signed.commitment.hash() else { continue };
                    if let Some(chain) = self.chain_of(&signed.commitment) {
                        chain.take(&signed.commitment, hash, at.entry, at.time);
                    }
                }
            }
            Event::Found { finding, what, commitment: Sent(signed), .. } => {
                let Ok(hash) = signed.commitment.hash() else { return };
                if let Some(chain) = self.chain_of(&signed.commitment) {
                    chain.find(Finding {
                        finding: finding.clone(),
                        what: what.clone(),
                        hash: hash.into(),
                        entry: at.entry,
                        at: at.time,
                    });
                }
            }
        }
    }

    fn register(
        &mut self,
        device: &DeviceId,
        gateway: Option<&DeviceId>,
        key: PublicKey,
        epoch: u64,
        at: At<'_>,
    ) {
        let id = key.id();
        let owner = owner(device, gateway);
        self.owners.insert(id, owner);
        let of = self.devices.entry(device.clone()).or_default();
        let chain = of.chains.entry(gateway.cloned()).or_default();
        chain.epoch = epoch;
        if let Some(before) = chain.key.replace(id)
            && let Some(before) = of.keys.get_mut(&before)
        {
            before.state = KeyState::Superseded;
        }
        let registered = Registered {
            key,
            gateway: gateway.cloned(),
            epoch,
            at: at.time,
            entry: at.entry,
            state: KeyState::Current,
        };
        of.keys.insert(id, registered);
    }

    fn chain_of(&mut self, commitment: &Commitment) -> Option<&mut Chain> {
        let device = DeviceId::new(&commitment.device).ok()?;
        let of = self.devices.get_mut(&device)?;
        let registered = of.keys.get(&commitment.key.into())?;
        of.chains.get_mut(&registered.gateway)
    }
}

impl Chain {
    fn take(&mut self, commitment: &Commitment, hash: Hash, entry: u64, at: Timestamp) {
        let Commitment { key, epoch, first, last, .. } = commitment;
        let tip = Tip {
            key: (*key).into(),
            epoch: *epoch,
            first: *first,
            last: *last,
            hash: hash.into(),
            entry,
            at,
        };
        self.tip = Some(tip);
        self.commitments = self.commitments.saturating_add(1);
        let messages = last.saturating_sub(*first).saturating_add(1);
        self.messages = self.messages.saturating_add(messages);
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(beginning(&hash));
    }

    fn find(&mut self, finding: Finding) {
        self.found = self.found.saturating_add(1);
        self.day = match self.today(finding.at) {
            Some((began, count)) => Some((began, count.saturating_add(1))),
            None => Some((finding.at, 1)),
        };
        if self.findings.len() == FINDINGS_MAX {
            self.findings.pop_front();
        }
        self.findings.push_back(finding);
    }

    /// When the day of findings began that a moment is in, and findings since.
    fn today(&self, now: Timestamp) -> Option<(Timestamp, u32)> {
        let within = |began: Timestamp| {
            (0..DAY_NANOS).contains(&now.as_nanos().saturating_sub(began.as_nanos()))
        };
        self.day.filter(|(began, _)| within(*began))
    }

    /// Whether it was accepted, and not long ago.
    fn knows(&self, verified: &Verified) -> bool {
        self.recent.contains(&beginning(&verified.hash()))
    }

    /// The last one, as the rules take it.
    fn last(&self, device: &DeviceId, gateway: Option<&DeviceId>) -> Option<Last> {
        let tip = self.tip.as_ref()?;
        Some(Last {
            class: class(gateway),
            key: tip.key.into(),
            device: device.to_string(),
            epoch: tip.epoch,
            first: tip.first,
            last: tip.last,
            hash: tip.hash.into(),
        })
    }
}

/// As much of a hash as nobody finds two inputs for.
fn beginning(hash: &Hash) -> [u8; 16] {
    hash.0.first_chunk().copied().unwrap_or_default()
}

/// Whose word it is.
pub const fn class(gateway: Option<&DeviceId>) -> Class {
    match gateway {
        None => Class::Device,
        Some(_) => Class::Gateway,
    }
}

fn owner(device: &DeviceId, gateway: Option<&DeviceId>) -> Owner {
    match gateway {
        None => Owner::Device(device.clone()),
        Some(gateway) => Owner::Gateway(gateway.clone()),
    }
}
