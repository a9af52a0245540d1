//! Tests of the crate as its users see it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod agree;
mod drafts;
mod excepted;
mod filters;
mod folders;
mod laws;
mod manifests;
mod modes;
mod packs;
mod plans;
mod proposals;
mod sample;
