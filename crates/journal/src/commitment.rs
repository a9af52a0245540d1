//! Commitments: a device signs what it sent, batch by batch, so that it cannot deny it later.
//!
//! The messages of a batch are the entries of a Merkle tree (RFC 9162 §2.1, [`crate::tree`]); the commitment names its root,
//! which sequence numbers it covers, and the commitment before it. Batches of one device and epoch make a chain that
//! nobody can cut, reorder or fork without it being found. The body is an array in deterministic CBOR (RFC 8949 §4.2.1), the same for ever:
//!
//! ```text
//! commitment = [body, signature]
//! body      = [1, class, key, device, epoch, first, last, previous, root]
//! class     = 1 / 2                  ; device, gateway
//! key       = bstr .size 32          ; SHA-256 of the public key, as `Key::id` takes it
//! device    = tstr                   ; 1 to 128 bytes of a-z A-Z 0-9 . : / _ - @ + #
//! epoch     = uint                   ; how often its counter began anew: after a reset, with a new key
//! first, last = uint                 ; sequence numbers below 2^63, at most 65,536 of them
//! previous  = bstr .size 32          ; SHA-256 of the body before; zeros where the epoch begins
//! root      = bstr .size 32          ; Merkle Tree Hash of the messages
//! signature = bstr .size 64          ; over "ringfence commitment v1\n" and the body; Ed25519, or r and s of ECDSA with P-256 and SHA-256
//! ```
//!
//! **Two classes, never mixed.** A device's commitment says that the device sent it. A gateway's says that a gateway saw it, for
//! devices that cannot sign: evidence about the device, and nothing that binds it. The class is in what is signed, and whoever accepts
//! states the class that the key is registered for; one never passes for the other.
//!
//! It must never know which key belongs to which device (a registry does), or the time.

mod rules;

use sha2::{Digest as _, Sha256};

use crate::cbor::{Reader, Writer};
use crate::hash::Hash;
use crate::proof::{self, CannotProve};
use crate::tree::{CompactRange, Missing};
use crate::{KeyName, Malformed, SIZE_MAX, SignatureType, Signer, VerifierKey};

pub use rules::{Accepted, Last, NOTHING, Refusal, Speaker, Verified, accept, check, judge};

/// The version that is written.
pub const VERSION: u64 = 1;
/// Most messages of one batch.
pub const MESSAGES_MAX: u64 = 65_536;
/// Longest commitment, in bytes.
pub const BYTES_MAX: usize = 512;
/// Most commitments of one sequence.
pub const SEQUENCE_MAX: usize = 1_024;

const WHAT: &str = "a commitment";
const DEVICE_BYTES_MAX: usize = 128;
/// In front of what is signed, so that the signature is good for nothing else.
const CONTEXT: &[u8] = b"ringfence commitment v1\n";

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The device itself, with its own key.
    Device,
    /// A gateway that saw it.
    Gateway,
}

/// A public key that signs commitments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Ed25519 (RFC 8032 §5.1.5).
    Ed25519([u8; 32]),
    /// P-256, the uncompressed point.
    P256([u8; 65]),
}

/// Checks signatures of commitments.
pub trait Verifier {
    /// Whether the signature over the message was made with the private half of the key. Of P-256 it is `r` and `s`, 32 bytes each.
    fn verify_commitment(&self, key: &Key, message: &[u8], signature: &[u8; 64]) -> bool;
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// Who says so.
    pub class: Class,
    /// SHA-256 of the public key ([`Key::id`]).
    pub key: Hash,
    /// Which device sent the messages.
    pub device: String,
    /// How often its counter began anew.
    pub epoch: u64,
    /// Sequence number of the first message.
    pub first: u64,
    /// Sequence number of the last message, which is in the batch.
    pub last: u64,
    /// [`Commitment::hash`] of the one before in the epoch; zeros for the first.
    pub previous: Hash,
    /// Merkle Tree Hash of the messages.
    pub root: Hash,
}

/// A commitment with its signature, which is not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What is signed.
    pub commitment: Commitment,
    /// Over [`Commitment::message`].
    pub signature: [u8; 64],
}

/// The Merkle Tree Hash of the messages of a batch, in order.
pub fn root<M: AsRef<[u8]>>(messages: &[M]) -> Hash {
    let mut range = CompactRange::new();
    for message in messages {
        // More than memory holds would be needed to fill a tree.
        if range.append(Hash::leaf(message.as_ref())).is_err() {
            break;
        }
    }
    range.root()
}

/// Proves that message number `index` (from 0) is among the messages of a batch.
pub fn prove<M: AsRef<[u8]>>(
    messages: &[M],
    index: u64,
) -> Result<Vec<Hash>, CannotProve<Missing>> {
    let leaves: Vec<Hash> = messages.iter().map(|m| Hash::leaf(m.as_ref())).collect();
    let size = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
    proof::inclusion(leaves.as_slice(), index, size)
}

impl Key {
    /// SHA-256 of a byte for its kind (1 Ed25519, 2 P-256) and the key.
    pub fn id(&self) -> Hash {
        let mut state = Sha256::new();
        match self {
            Self::Ed25519(key) => {
                state.update([1]);
                state.update(key);
            }
            Self::P256(key) => {
                state.update([2]);
                state.update(key);
            }
        }
        Hash(state.finalize().into())
    }

    /// Everybody can write signatures that it verifies: nobody registers it.
    pub fn is_weak(&self) -> bool {
        match self {
            // As it is refused for notes.
            Self::Ed25519(key) => KeyName::new("device")
                .is_ok_and(|name| VerifierKey::new(name, SignatureType::Ed25519, *key).is_err()),
            Self::P256(_) => false,
        }
    }
}

impl Class {
    const fn number(self) -> u64 {
        match self {
            Self::Device => 1,
            Self::Gateway => 2,
        }
    }
}

impl Commitment {
    /// Its one byte string, without the signature. What would not be read again is refused.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let mut w = Writer::default();
        self.write(&mut w);
        let bytes = w.into_bytes();
        let mut r = Reader::new(WHAT, &bytes);
        Self::read(&mut r)?;
        Ok(bytes)
    }

    /// What is signed.
    pub fn message(&self) -> Result<Vec<u8>, Malformed> {
        Ok([CONTEXT, &self.encode()?].concat())
    }

    /// SHA-256 of the encoded body: what the next one names. The signature is outside, so that two signatures of one
    /// commitment make no two histories.
    pub fn hash(&self) -> Result<Hash, Malformed> {
        Ok(Hash::of(&self.encode()?))
    }

    fn write(&self, w: &mut Writer) {
        w.array(9);
        w.unsigned(VERSION);
        w.unsigned(self.class.number());
        w.bytes(&self.key.0);
        w.text(&self.device);
        w.unsigned(self.epoch);
        w.unsigned(self.first);
        w.unsigned(self.last);
        w.bytes(&self.previous.0);
        w.bytes(&self.root.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let at = r.at();
        let items = r.array("the body", 64)?;
        let version_at = r.at();
        let version = r.unsigned("the version")?;
        if version != VERSION {
            return Err(r.wrong(version_at, format!("its version is {version}; 1 is known")));
        }
        if items != 9 {
            return Err(r.wrong(at, format!("the body has 9 items, not {items}")));
        }
        let class_at = r.at();
        let class = match r.unsigned("the class")? {
            1 => Class::Device,
            2 => Class::Gateway,
            other => return Err(r.wrong(class_at, format!("the class {other} is not known"))),
        };
        let key = hash(r, "the key")?;
        let device_at = r.at();
        let device = r.text("the device", DEVICE_BYTES_MAX)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".:/_-@+#".contains(c);
        if device.is_empty() || !device.chars().all(allowed) {
            let why = "the device has 1 to 128 of a-z A-Z 0-9 . : / _ - @ + #";
            return Err(r.wrong(device_at, why));
        }
        let device = device.to_owned();
        let epoch = r.unsigned("the epoch")?;
        let first = r.unsigned("the first number")?;
        let last_at = r.at();
        let last = r.unsigned("the last number")?;
        if last > SIZE_MAX {
            return Err(r.wrong(last_at, format!("the last number is above {SIZE_MAX}")));
        }
        if last.checked_sub(first).is_none_or(|more| more >= MESSAGES_MAX) {
            let why = format!("{first} to {last} are not 1 to {MESSAGES_MAX} messages");
            return Err(r.wrong(last_at, why));
        }
        let (previous, root) = (hash(r, "the previous hash")?, hash(r, "the root")?);
        Ok(Self { class, key, device, epoch, first, last, previous, root })
    }
}

impl Signed {
    /// Signs with an Ed25519 key, as a gateway of ours does it. The key must be the one that the commitment names.
    pub fn sign(commitment: Commitment, signer: &dyn Signer) -> Result<Self, String> {
        if commitment.key != Key::Ed25519(signer.public_key()).id() {
            return Err("the commitment names another key".to_owned());
        }
        let message = commitment.message().map_err(|e| e.to_string())?;
        let signature = signer.sign(&message)?;
        Ok(Self { commitment, signature })
    }

    /// Its one byte string.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let mut w = Writer::default();
        w.array(2);
        self.commitment.write(&mut w);
        w.bytes(&self.signature);
        let bytes = w.into_bytes();
        Self::decode(&bytes)?;
        Ok(bytes)
    }

    /// What [`Self::encode`] wrote, and nothing else. The signature is not checked ([`accept`]).
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(WHAT, bytes);
        if bytes.len() > BYTES_MAX {
            return Err(r.wrong(BYTES_MAX, format!("it is longer than {BYTES_MAX} bytes")));
        }
        let signed = Self::read(&mut r)?;
        r.end()?;
        Ok(signed)
    }

    /// Commitments one behind the other (a CBOR sequence, RFC 8742): 1 to [`SEQUENCE_MAX`] of them. Nothing of a sequence counts when
    /// any byte of it is wrong: where the next one would begin is not known.
    pub fn decode_sequence(bytes: &[u8]) -> Result<Vec<Self>, Malformed> {
        let mut r = Reader::new("a sequence of commitments", bytes);
        let mut all = Vec::new();
        loop {
            if all.len() == SEQUENCE_MAX {
                let why = format!("more than {SEQUENCE_MAX} commitments");
                return Err(r.wrong(r.at(), why));
            }
            all.push(Self::read(&mut r)?);
            if r.at() == bytes.len() {
                return Ok(all);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let begin = r.at();
        let items = r.array("the commitment", 2)?;
        if items != 2 {
            return Err(r.wrong(begin, format!("it has 2 items, not {items}")));
        }
        let commitment = Commitment::read(r)?;
        let at = r.at();
        let signature = r.bytes("the signature", 64)?;
        let wrong = |_| r.wrong(at, format!("the signature has 64 bytes, not {}", signature.len()));
        let signature = signature.try_into().map_err(wrong)?;
        Ok(Self { commitment, signature })
    }
}

fn hash(r: &mut Reader<'_>, name: &str) -> Result<Hash, Malformed> {
    let at = r.at();
    let bytes = r.bytes(name, 32)?;
    let length = bytes.len();
    bytes
        .try_into()
        .map(Hash)
        .map_err(|_| r.wrong(at, format!("{name} has 32 bytes, not {length}")))
}
