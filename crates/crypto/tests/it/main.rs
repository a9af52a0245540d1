//! Signatures from end to end: of MUD files, own and foreign ones, of notes, certificates and requests; good and spoilt.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod commitments;
mod enrolment;
mod estate;
mod issuing;
mod maker;
mod notes;
mod ocsp;
mod openssl;
mod peer;
mod requests;
mod revocation;
mod sealed;
mod swtpm;
mod tampering;
mod tls;
mod tls_openssl;
mod tpm_real;
mod tpm_soft;
