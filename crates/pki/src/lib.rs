//! Certificates and signed messages: read, judged at a given time, written.
//!
//! The crate is pure: time is an argument, and every algorithm and key is behind a trait
//! ([`Verifier`], [`Signer`]) that one crate implements with the one provider (docs/adr/0016). What
//! it refuses it refuses with a reason; nothing unknown counts as good.
//!
//! * [`Certificate`]: one X.509 certificate (RFC 5280), with the MUD extensions of RFC 8520.
//! * [`path`]: from a signer's certificate to a trust anchor.
//! * [`issue`], [`request`]: certificates of our own estate, and what asks for them (RFC 2986).
//! * [`est`]: what devices that enrol send and get (RFC 7030).
//! * [`identity`]: whom such a certificate speaks for.
//! * [`crl`]: lists of what is revoked, complete and as deltas.
//! * [`ocsp`]: answers about single certificates (RFC 6960).
//! * [`cms`]: detached signatures (RFC 5652), as MUD files carry them.
//! * [`sealed`]: keys under a passphrase.
//! * [`tpm`]: keys, quotes and measurements of a TPM 2.0.
//!
//! It must never know where bytes come from, what time it is, what a device is, or which provider computes.

mod algorithm;
mod certificate;
pub mod cms;
pub mod crl;
mod der;
pub mod est;
pub mod fuzzing;
pub mod identity;
pub mod issue;
mod number;
pub mod ocsp;
pub mod path;
mod pem;
pub mod request;
mod san;
pub mod sealed;
pub mod tpm;

pub use algorithm::{Algorithm, Digest, Key, KeyKind, Weak};
pub use certificate::Certificate;
pub use identity::{Identity, identity_of};
pub use number::Number;
pub use pem::Pem;

/// Computes what takes no secret.
pub trait Verifier {
    /// The digest of some bytes.
    fn digest(&self, digest: Digest, bytes: &[u8]) -> Vec<u8>;
    /// Whether `signature` over `message` was made with the private half of `key`.
    fn verify(&self, algorithm: Algorithm, key: &Key, message: &[u8], signature: &[u8]) -> bool;
}

/// Signs with a key that this crate never sees.
pub trait Signer {
    /// What it signs with.
    fn algorithm(&self) -> Algorithm;
    /// Its public half, as [`Key::bytes`].
    fn public_key(&self) -> Vec<u8>;
    /// Signs a message (not a digest of it); `Err` says why it cannot.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String>;
}

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {what}: {why}")]
pub struct Malformed {
    /// What was expected: `a certificate`.
    pub what: &'static str,
    /// What is wrong.
    pub why: String,
}

impl Malformed {
    pub(crate) fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self { what, why: why.into() }
    }
}
