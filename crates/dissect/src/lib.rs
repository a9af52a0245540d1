//! Packet and protocol parsers: foreign bytes in, typed facts out.
//!
//! Floor 0. This crate has no I/O, no clock, no state that outlives a call, and never panics on
//! any input. It knows nothing about devices: it reports *who said what* ([`About`], [`Fact`]) to
//! a [`Sink`] and leaves belief to the inventory.
//!
//! The way of a packet:
//!
//! ```text
//! bytes ──▶ frame::parse ──▶ Packet ──▶ registry (EtherType, port, probe) ──▶ dissector ──▶ Sink
//! ```
//!
//! * [`frame`]: link and network layers, tunnels; runs for every packet and allocates nothing.
//! * [`link`]: protocols directly on Ethernet (LLDP, CDP, ARP, PROFINET DCP, GOOSE…).
//! * [`names`]: who is called what (DHCP, DNS, mDNS, SSDP, SNMP…).
//! * [`app`]: sessions of information technology (HTTP, TLS, MQTT, SSH…).
//! * [`ics`]: industrial and building automation (Modbus, S7, CIP, BACnet…).
//! * [`vendor`]: makers' own discovery protocols (Tuya, TP-Link, Ubiquiti…).
//! * [`registry`]: which dissector is tried where; [`fields`]: every field name there is.

#![forbid(unsafe_code)]

mod app;
mod fact;
pub mod fields;
pub mod frame;
pub mod fuzzing;
mod ics;
mod identity;
mod link;
mod names;
mod reader;
pub mod registry;
mod scan;
pub mod testing;
mod text;
mod vendor;

pub use fact::{About, Ctx, Endpoint, Fact, Malformed, Outcome, Probe, Role, Sink, Step};
pub use reader::Reader;
