//! Tests of the estate through its public face.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod access;
mod commitments;
mod drill;
mod exceptions;
mod fixtures;
mod found;
mod identities;
mod laws;
mod lists;
mod places;
mod proofs;
mod releases;
mod secrets;
mod world;
