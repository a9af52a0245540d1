//! Signatures of MUD files from end to end: own and foreign ones, good and spoilt.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod maker;
mod openssl;
mod tampering;
