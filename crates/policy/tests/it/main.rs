//! Tests of the crate as its users see it.

mod drafts;
mod folders;
mod laws;
mod manifests;
mod sample;
