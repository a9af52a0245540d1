//! Capture and assembly: packets in, observations out.

pub mod capture;
