//! Tests of the estate through its public face.

mod drill;
mod fixtures;
mod laws;
mod places;
mod world;
