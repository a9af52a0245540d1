//! The tamper-evident journal: a Merkle tree over entries, its signed heads, and the proofs that nobody
//! rewrote or forked it unseen.
//!
//! The crate is pure: bytes come in and go out, time is an argument, and keys are behind two traits
//! ([`Verifier`], [`Signer`]) that `crypto` implements with the one provider (docs/adr/0016). The formats
//! are the field's own, so that any C2SP or RFC 9162 tool can check what is written here (docs/journal.md).
//!
//! * [`entry`]: one change of the estate, in one canonical encoding for ever.
//! * [`tree`], [`proof`]: the Merkle tree (RFC 9162 §2.1), made and proved from any provider of hashes.
//! * [`tile`], [`bundle`]: how tree and entries are laid out in files (C2SP tlog-tiles).
//! * [`note`], [`checkpoint`], [`cosignature`], [`tlog_proof`]: C2SP texts of the same names.
//! * [`policy`]: which logs and how many witnesses are believed (C2SP tlog-policy).
//! * [`guard`], [`witness`]: what a log may sign, and what a witness cosigns (C2SP tlog-witness).
//! * [`quorum`]: how a log gathers cosignatures, and learns that it is an older copy of itself.
//! * [`follow`]: a log seen from outside, head after head.
//! * [`commitment`]: batches of messages, signed by the device that sent them or by a gateway that saw them.
//! * [`audit`]: everything above, checked offline against entries, tiles and checkpoints.
//!
//! It must never know where bytes are kept, or who holds a key.

pub mod audit;
pub mod bundle;
mod cbor;
pub mod checkpoint;
pub mod commitment;
pub mod cosignature;
pub mod entry;
pub mod flip;
pub mod follow;
pub mod fuzzing;
pub mod guard;
mod hash;
mod key;
mod lines;
pub mod note;
pub mod policy;
pub mod proof;
pub mod quorum;
pub mod tile;
pub mod tlog_proof;
pub mod tree;
pub mod witness;

pub use hash::Hash;
pub use key::{KeyId, KeyName, SignatureType, VerifierKey};

/// Entries a log may have: as many as a signed 64-bit number counts, so that a proof has at most 63
/// hashes (C2SP tlog-witness) and every program can count them.
pub const SIZE_MAX: u64 = (1 << 63) - 1;

/// Checks Ed25519 signatures (RFC 8032).
pub trait Verifier {
    /// Whether `signature` over `message` was made with the private half of `key`.
    fn verify(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool;
}

/// Signs with an Ed25519 key that this crate never sees.
pub trait Signer {
    /// Its public half.
    fn public_key(&self) -> [u8; 32];
    /// Signs a message; `Err` says why it cannot.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String>;
}

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {what}: {why} (byte {at})")]
pub struct Malformed {
    /// What was expected: `an entry`.
    pub what: &'static str,
    /// Offset of the first byte that is wrong.
    pub at: usize,
    /// What is wrong with it.
    pub why: String,
}

impl Malformed {
    pub(crate) fn new(what: &'static str, at: usize, why: impl Into<String>) -> Self {
        Self { what, at, why: why.into() }
    }

    /// The same, found in a part that begins at `offset` of the whole.
    pub(crate) fn within(mut self, what: &'static str, offset: usize) -> Self {
        self.what = what;
        self.at = self.at.saturating_add(offset);
        self
    }
}
