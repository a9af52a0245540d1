//! Capture: packets in, observations out.
//!
//! [`capture`] reads files and live interfaces; [`Sensor`] follows links, conversations and byte
//! streams, shows their content to the dissectors, and reports each new fact once. What it keeps
//! is bounded everywhere; reaching a bound is an observation of its own.
//!
//! ```text
//! Packet ─▶ frame ─▶ link table ─▶ flow table ─▶ dissector ─▶ report (each fact once) ─▶ Observation
//! ```
//!
//! The sensor believes nothing: who owns an address and what a device is, is the inventory's.

pub mod capture;
mod dispatch;
mod flows;
mod fragments;
pub mod fuzzing;
mod links;
mod recent;
mod report;
mod streams;
mod suspicion;
mod track;

pub use track::{Config, Frame, Sensor, Totals};
