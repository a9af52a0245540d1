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
//! * [`registry`]: which dissector is tried where; [`fields`]: every field name there is.
//! * The dissectors, reached through the registry only, in groups with one table each:
//!   * `link`: directly on Ethernet and IP (LLDP, CDP, ARP, PROFINET DCP, GOOSE, ICMPv6…);
//!   * `names`: who is called what (DHCP, DNS, mDNS, SSDP, SNMP…);
//!   * `app`: sessions of information technology (HTTP, TLS, MQTT, SSH…);
//!   * `ics`: industrial and building automation (Modbus, S7, CIP, BACnet…);
//!   * `vendor`: makers' own discovery protocols (Tuya, TP-Link, Ubiquiti…).
//! * What they share: [`Reader`] for bytes, `text` for foreign text, `scan` for BER, JSON and XML,
//!   `identity` for what tells devices apart.
//! * [`testing`]: a sink that writes facts down; [`fuzzing`]: every group shown any bytes.

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
