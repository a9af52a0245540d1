//! Signatures from end to end: of MUD files, own and foreign ones, and of notes; good and spoilt.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod maker;
mod notes;
mod openssl;
mod tampering;
