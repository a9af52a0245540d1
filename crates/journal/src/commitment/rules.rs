//! Which commitments count: who may speak, and what follows what.

use super::{Class, Commitment, Key, Signed, Verifier};
use crate::Malformed;
use crate::hash::Hash;
use crate::proof::{self, Invalid};

/// The last commitment of a device that was accepted, by class: one chain for the device, one for each gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// Who said so.
    pub class: Class,
    /// With which key.
    pub key: Hash,
    /// About which device.
    pub device: String,
    /// In which epoch.
    pub epoch: u64,
    /// Sequence number of its first message.
    pub first: u64,
    /// Sequence number of its last message.
    pub last: u64,
    /// Its hash.
    pub hash: Hash,
}

/// Who may speak, as the registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker<'a> {
    /// As what the key is registered.
    pub class: Class,
    /// The key.
    pub key: &'a Key,
    /// The device whose messages it may commit to.
    pub device: &'a str,
    /// The epoch that it is registered for.
    pub epoch: u64,
}

/// A commitment that counts. Only [`accept`] and [`judge`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    commitment: Commitment,
    hash: Hash,
}

/// Why a commitment does not count. Those from [`Refusal::Replay`] on carry a good signature: they are findings about the
/// device, and the commitment is evidence of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A gateway's for a device's, or the other way.
    #[error("it is {got:?} evidence, and the key is registered for {registered:?} evidence")]
    Class {
        /// What it says it is.
        got: Class,
        /// What the key is registered for.
        registered: Class,
    },
    /// Signed by another key than the registered one.
    #[error("it names the key {0}, which is not the registered one")]
    Key(Hash),
    /// About another device.
    #[error("it is about the device {got}, not about {registered}")]
    Device {
        /// Whom it names.
        got: String,
        /// Whom the key is registered for.
        registered: String,
    },
    /// What was handed in as the last one belongs to another chain.
    #[error("the last commitment is one of another class or device")]
    OtherChain,
    /// Forged or changed.
    #[error("its signature does not hold")]
    Signature,
    /// Its numbers contradict each other, which its encoding would not allow.
    #[error("{0}")]
    Malformed(Malformed),
    /// The very commitment that was accepted last.
    #[error("messages {first} to {last} were committed to before, by the same commitment")]
    Replay {
        /// First message.
        first: u64,
        /// Last message.
        last: u64,
    },
    /// Messages that a later commitment has passed.
    #[error(
        "it begins at message {got}, and message {expected} is next: it is late, or numbers are used twice"
    )]
    Reordered {
        /// Message that would follow.
        expected: u64,
        /// Where it begins.
        got: u64,
    },
    /// The same place, and other messages: two histories of one device.
    #[error(
        "it ends where the last one ended, at message {at}, and says something else: the device has two histories"
    )]
    Fork {
        /// The last message of both.
        at: u64,
    },
    /// Messages that nobody committed to.
    #[error("it begins at message {got}, and message {expected} is next: {} are missing", got.saturating_sub(*expected))]
    Gap {
        /// Message that would follow.
        expected: u64,
        /// Where it begins.
        got: u64,
    },
    /// It does not follow the one that was accepted last.
    #[error("it follows the commitment {got}, not {expected}")]
    Previous {
        /// The hash of the last one.
        expected: Hash,
        /// The hash it names.
        got: Hash,
    },
    /// Another epoch than the registered one.
    #[error("it is of epoch {got}, and the key is registered for epoch {registered}")]
    Epoch {
        /// The epoch of the registered key.
        registered: u64,
        /// The epoch it names.
        got: u64,
    },
    /// The registry itself went back.
    #[error("epoch {registered} is registered, and a commitment of epoch {last} was accepted")]
    EpochBack {
        /// The epoch of the registered key.
        registered: u64,
        /// The epoch of the last one.
        last: u64,
    },
}

impl Refusal {
    /// Whether the signature of the registered key holds, so that the refused commitment proves what is said about it.
    pub const fn is_finding(&self) -> bool {
        match self {
            Self::Class { .. }
            | Self::Key(_)
            | Self::Device { .. }
            | Self::OtherChain
            | Self::Signature
            | Self::Malformed(_) => false,
            Self::Replay { .. }
            | Self::Reordered { .. }
            | Self::Fork { .. }
            | Self::Gap { .. }
            | Self::Previous { .. }
            | Self::Epoch { .. }
            | Self::EpochBack { .. } => true,
        }
    }
}

/// A commitment whose signature holds under the key that it names. Only [`check`] makes one; whether it counts is asked later, and
/// again whenever something changed meanwhile ([`judge`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    signed: Signed,
    key: Key,
    hash: Hash,
}

impl Verified {
    /// What is signed.
    pub const fn commitment(&self) -> &Commitment {
        &self.signed.commitment
    }

    /// With its signature.
    pub const fn signed(&self) -> &Signed {
        &self.signed
    }

    /// The key under which it holds.
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// [`Commitment::hash`].
    pub const fn hash(&self) -> Hash {
        self.hash
    }
}

/// Judges a commitment by who may speak and by the last one of the same chain that was accepted (`None`: there is none). A gap
/// is refused like everything else; whoever decides to go on behind one registers a new epoch, which is an entry of its own.
pub fn accept(
    signed: &Signed,
    speaker: &Speaker<'_>,
    last: Option<&Last>,
    verifier: &dyn Verifier,
) -> Result<Accepted, Refusal> {
    speaks(&signed.commitment, speaker, last)?;
    judge(&check(signed, speaker.key, verifier)?, speaker, last)
}

/// Checks the signature: what takes time, needs a provider, and depends on nothing that changes.
pub fn check(signed: &Signed, key: &Key, verifier: &dyn Verifier) -> Result<Verified, Refusal> {
    let commitment = &signed.commitment;
    if commitment.key != key.id() {
        return Err(Refusal::Key(commitment.key));
    }
    let body = commitment.encode().map_err(Refusal::Malformed)?;
    let message = [super::CONTEXT, &body].concat();
    if key.is_weak() || !verifier.verify_commitment(key, &message, &signed.signature) {
        return Err(Refusal::Signature);
    }
    Ok(Verified { signed: signed.clone(), key: *key, hash: Hash::of(&body) })
}

/// [`accept`] for a commitment whose signature was checked before.
pub fn judge(
    verified: &Verified,
    speaker: &Speaker<'_>,
    last: Option<&Last>,
) -> Result<Accepted, Refusal> {
    let commitment = verified.commitment();
    speaks(commitment, speaker, last)?;
    let Commitment { key, epoch, first, last: end, previous, .. } = commitment;
    if *epoch != speaker.epoch {
        return Err(Refusal::Epoch { registered: speaker.epoch, got: *epoch });
    }
    if let Some(last) = last.filter(|l| l.epoch > *epoch) {
        return Err(Refusal::EpochBack { registered: *epoch, last: last.epoch });
    }
    // A new epoch counts from 0, and has nothing before it.
    let (expected, before) = match last.filter(|l| l.epoch == *epoch) {
        Some(last) => {
            if verified.hash == last.hash {
                return Err(Refusal::Replay { first: *first, last: *end });
            }
            if *end == last.last {
                return Err(Refusal::Fork { at: *end });
            }
            // Another key of the same epoch cannot go on with the chain.
            if *key != last.key {
                return Err(Refusal::Previous { expected: last.hash, got: *previous });
            }
            (last.last.saturating_add(1), last.hash)
        }
        None => (0, NOTHING),
    };
    match first.cmp(&expected) {
        std::cmp::Ordering::Less => Err(Refusal::Reordered { expected, got: *first }),
        std::cmp::Ordering::Greater => Err(Refusal::Gap { expected, got: *first }),
        std::cmp::Ordering::Equal if *previous != before => {
            Err(Refusal::Previous { expected: before, got: *previous })
        }
        std::cmp::Ordering::Equal => {
            Ok(Accepted { commitment: commitment.clone(), hash: verified.hash })
        }
    }
}

/// Whether it is of the class, key, device and chain that it is judged by.
fn speaks(
    commitment: &Commitment,
    speaker: &Speaker<'_>,
    last: Option<&Last>,
) -> Result<(), Refusal> {
    let Commitment { class, key, device, .. } = commitment;
    if *class != speaker.class {
        return Err(Refusal::Class { got: *class, registered: speaker.class });
    }
    if *key != speaker.key.id() {
        return Err(Refusal::Key(*key));
    }
    if device != speaker.device {
        let (got, registered) = (device.clone(), speaker.device.to_owned());
        return Err(Refusal::Device { got, registered });
    }
    match last.is_some_and(|l| l.class != *class || l.device != *device) {
        true => Err(Refusal::OtherChain),
        false => Ok(()),
    }
}

/// What the first commitment of an epoch follows.
pub const NOTHING: Hash = Hash([0; 32]);

impl Accepted {
    /// What counts now.
    pub const fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    /// What to judge the next one by.
    pub fn last(&self) -> Last {
        let Commitment { class, key, device, epoch, first, last, .. } = self.commitment.clone();
        Last { class, key, device, epoch, first, last, hash: self.hash }
    }

    /// Checks that the device sent (or the gateway saw) this message, as number `sequence`.
    pub fn verify(&self, sequence: u64, message: &[u8], proof: &[Hash]) -> Result<(), Invalid> {
        let Commitment { first, last, root, .. } = &self.commitment;
        let size = last.saturating_sub(*first).saturating_add(1);
        // A number before the first one is beyond the end, and so out of range.
        let index = sequence.checked_sub(*first).unwrap_or(u64::MAX);
        proof::verify_inclusion(&Hash::leaf(message), index, size, proof, root)
    }
}
