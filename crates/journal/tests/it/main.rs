//! Tests of the crate as its users see it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod audits;
mod commitments;
mod entries;
mod fuzzed;
mod notes;
mod policies;
mod proofs;
mod quorums;
mod reference;
mod tiles;
mod witnesses;
