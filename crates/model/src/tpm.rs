//! What a device and a controller say to each other about the device's TPM: version 1, at the door where devices enrol.
//!
//! | request, below `/.well-known/ringfence/v1/tpm/` | who | body | answer |
//! |---|---|---|---|
//! | `POST challenge` | anybody | [`Ask`] | [`Challenge`] |
//! | `POST enrol` | with a token (HTTP Basic), or known by its TPM | [`Enrol`] | as `simpleenroll` (RFC 7030 §4.2.3) |
//! | `GET nonce` | with its certificate | – | [`Nonce`] |
//! | `POST quote` | with its certificate | [`Quote`] | [`Verdict`] |
//!
//! Texts are base64 (RFC 4648 §4) where nothing else is said; structures are those of the TPM 2.0 Library, Part 2. Fields that a reader does not know are
//! passed over.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// In front of each word.
pub const PATH: &str = "/.well-known/ringfence/v1/tpm/";
/// Bytes of a body.
pub const BODY_BYTES_MAX: usize = 65_536;
/// Bytes of an event log, without its base64.
pub const LOG_BYTES_MAX: usize = 1 << 20;
/// Certificates of an endorsement key.
pub const CERTIFICATES_MAX: usize = 6;

/// The keys of a TPM, for which a challenge is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Certificate of the endorsement key, then those between it and its manufacturer's root (DER).
    #[serde(default)]
    pub ek_certificates: Vec<String>,
    /// The endorsement key (TPMT_PUBLIC).
    pub ek_public: String,
    /// The attestation key (TPMT_PUBLIC), below the endorsement key.
    pub ak_public: String,
}

/// What only the TPM with both keys can open (TPM2_ActivateCredential).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// 32 random bytes: what it is called, and the nonce of what is certified next.
    pub id: String,
    /// TPM2B_ID_OBJECT.
    pub blob: String,
    /// TPM2B_ENCRYPTED_SECRET.
    pub seed: String,
}

/// A certificate is wanted for a key in the TPM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    /// Of the challenge.
    pub id: String,
    /// What was in it.
    pub secret: String,
    /// Certificate request (PKCS #10, DER).
    pub csr: String,
    /// What the attestation key says about the request's key.
    pub certify: Certification,
}

/// A key is in the TPM of the attestation key (TPM2_Certify).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certification {
    /// TPMS_ATTEST; its nonce is the binding of challenge, connection and key.
    pub attest: String,
    /// TPMT_SIGNATURE.
    pub signature: String,
    /// The key (TPMT_PUBLIC).
    pub public: String,
}

/// A quote is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nonce {
    /// 32 random bytes.
    pub nonce: String,
    /// Which registers (TPML_PCR_SELECTION).
    pub pcrs: String,
    /// An event log is judged too.
    pub event_log: bool,
    /// Seconds until it is too late.
    pub seconds: u32,
}

/// What a TPM says that was measured (TPM2_Quote).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// TPMS_ATTEST; its nonce is the binding of nonce, connection and the certificate's key.
    pub attest: String,
    /// TPMT_SIGNATURE.
    pub signature: String,
    /// TPML_PCR_SELECTION, and behind it a TPM2B_DIGEST for each register in its order.
    pub pcrs: String,
    /// The event log, as a kernel has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_log: Option<String>,
}

/// What became of a quote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The device is what it should be.
    pub attested: bool,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The machine was booted since the last quote that counted.
    #[serde(default)]
    pub rebooted: bool,
    /// The TPM's own firmware is another one since then.
    #[serde(default)]
    pub other_firmware: bool,
    /// Stable word for why it is not: `pcr`, `replayed`, `no-reference`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// One line for people.
    pub why: String,
}
