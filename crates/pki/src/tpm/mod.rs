//! TPM 2.0, from the side of who asks (TCG TPM 2.0 Library, Parts 1 to 3; EK Credential Profile; PC Client Platform Firmware
//! Profile). Numbers of sections are those of revision 1.38 of the library.
//!
//! A TPM comes to count in four steps, each a value that the next one takes:
//!
//! 1. [`EndorsementKey`], then [`endorsed`]: a manufacturer says that this key is in a TPM that it made.
//! 2. [`AttestationKey`], then [`challenge`]: only the TPM with both keys can answer.
//! 3. [`certify`]: the device's own key is in the same TPM.
//! 4. [`quote`], again and again: what is in the registers, judged against the last time ([`since`]), and against the event
//!    log and reference values ([`measured`]).
//!
//! What ties an answer to its question, its connection and its key is [`binding`].

mod attest;
mod certify;
mod credential;
mod ek;
mod key;
mod log;
mod measured;
mod pcr;
mod public;
mod quote;
mod wire;

use crate::{Digest, Key, Verifier};

pub use attest::{
    ATTEST_BYTES_MAX, About, Attest, Clock, NONCE_BYTES_MAX, SIGNATURE_BYTES_MAX, Signature, Untrue,
};
pub use certify::{Certified, NotCertified, certify};
pub use credential::{Challenge, NoChallenge, Sealer, challenge};
pub(crate) use ek::named;
pub use ek::{Endorsed, Model, NotEndorsed, endorsed};
pub use key::{AttestationKey, EK_POLICY_A_SHA256, EK_POLICY_B_SHA384, EndorsementKey, Unfit};
pub use log::{EVENTS_MAX, Event, EventKind, LOG_BYTES_MAX, Log, write_log};
pub use measured::{Measured, NotMeasured, Reference, measured};
pub use pcr::{Pcrs, REGISTERS, Selection};
pub use public::{Attributes, Name, PUBLIC_BYTES_MAX, Public, Scheme};
pub use quote::{Backwards, Confirmed, Demand, NoQuote, Quote, Since, quote, since};

/// What a device asks its TPM to sign into a quote or a certification: SHA-256 over three parts, each behind its length in four
/// bytes, the highest first.
///
/// * `nonce`: what the server sent, random and used once. The answer is fresh.
/// * `exporter`: keying material of the TLS connection (RFC 8446 §7.5) over which the answer comes. It cannot be relayed
///   from another machine.
/// * `key`: the device's public key, hashed as a SubjectPublicKeyInfo. It speaks for the certificate that is asked for, or that
///   the device shows.
pub fn binding(nonce: &[u8], exporter: &[u8], key: &Key, verifier: &dyn Verifier) -> [u8; 32] {
    let key = key.write();
    let mut bytes = Vec::with_capacity(256);
    for part in [nonce, exporter, &key] {
        let size = u32::try_from(part.len()).unwrap_or(u32::MAX);
        bytes.extend(size.to_be_bytes());
        bytes.extend(part);
    }
    // SHA-256 has no other length (FIPS 180-4).
    verifier.digest(Digest::Sha256, &bytes).try_into().unwrap_or_default()
}
