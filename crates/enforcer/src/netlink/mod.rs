//! Netlink without a C library: what nf_tables, conntrack and NFLOG have in common.
//!
//! * [`attr`]: messages and attributes as bytes. Pure.
//! * [`socket`]: requests, dumps, transactions and events, here or in another network namespace.

pub mod attr;
pub mod socket;

pub use attr::{Attribute, Attributes, Encoder, Message, Messages};
pub use socket::{Batch, NetlinkError, Place, Protocol, Socket};
