//! What a policy compiles to and an enforcer applies: a value, numbered by generation.
//!
//! It is factorised: one member entry per device address, then class × class permits. Flat
//! address × address tables explode (36 rules per consumer device on average).

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::observation::Transport;
use crate::{DeviceId, Mac, Timestamp};

/// A compiled policy for one enforcement point. Default deny: what no permit names is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruleset {
    /// Number of this compiled plan. An enforcement point never goes back to an older one.
    pub generation: u64,
    /// Generation this one was planned against.
    pub parent: Option<u64>,
    /// Classes by number; numbers start at 1, because packet mark 0 means "unknown".
    pub classes: BTreeMap<ClassId, Class>,
    /// Devices: which address pair belongs to which class. Other source pairs are spoofed or
    /// unknown and are dropped.
    pub members: Vec<Member>,
    /// Destinations that are not member devices: addresses and prefixes by class.
    pub peers: Vec<Peer>,
    /// Class × class permits.
    pub permits: Vec<Permit>,
    /// Device-specific grants with an expiry, looked up first.
    pub exceptions: Vec<Exception>,
    /// Permits to destinations that policy knows by DNS name. The site's resolver puts the
    /// addresses of an answer in force, for as long as the answer lives, before the device gets it.
    #[serde(default)]
    pub names: Vec<NamePermit>,
    /// What policies in shadow would open: dropped today, and counted as "would be allowed".
    #[serde(default)]
    pub proposed: Vec<Permit>,
}

/// Number of a class; also the packet mark in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClassId(pub u32);

/// Devices (or destinations) that policy treats alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// Name for people, also used in comments: `zone/cameras`.
    pub name: String,
    /// Shadow or enforce.
    pub mode: Mode,
}

/// Whether verdicts bite.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Count and log what would be dropped, pass it.
    Shadow,
    /// Drop.
    #[default]
    Enforce,
}

/// One device address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The device.
    pub device: DeviceId,
    /// Its link address.
    pub mac: Mac,
    /// Its network address.
    pub ip: IpAddr,
    /// Its class.
    pub class: ClassId,
}

/// A destination that is not a member device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Address, or network address of the prefix.
    pub ip: IpAddr,
    /// Prefix length, 32 or 128 for one address.
    pub prefix: u8,
    /// Its class.
    pub class: ClassId,
}

/// "Devices of class `from` may open `transport`/`ports` to class `to`."
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Permit {
    /// Source class.
    pub from: ClassId,
    /// Destination class.
    pub to: ClassId,
    /// Transport.
    pub transport: Transport,
    /// First port; 0 with `last_port` 65535 for all, and where there are no ports.
    pub first_port: u16,
    /// Last port, inclusive.
    pub last_port: u16,
    /// Policy rule it came from.
    pub rule: String,
    /// What comes with the permission.
    #[serde(default)]
    pub terms: Terms,
}

/// "Devices of class `from` may open `transport`/`ports` to whatever `name` resolves to."
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NamePermit {
    /// Source class.
    pub from: ClassId,
    /// DNS name in lower case without the last dot; `*.` in front for every name below it
    /// (RFC 4592 calls it a wildcard; here it covers any depth).
    pub name: String,
    /// Transport.
    pub transport: Transport,
    /// First port; 0 with `last_port` 65535 for all.
    pub first_port: u16,
    /// Last port, inclusive.
    pub last_port: u16,
    /// Policy rule it came from.
    pub rule: String,
    /// What comes with the permission.
    #[serde(default)]
    pub terms: Terms,
}

/// What comes with a permission: conditions on how it is used, and what is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Policy in shadow that would close the path: it passes today, and is counted and logged as
    /// "would be denied".
    pub closing: Option<String>,
    /// New flows per second and source class at most (`@rate`); what exceeds is dropped.
    pub rate_per_second: Option<u32>,
    /// Log every new flow (`@log`).
    pub log: bool,
    /// What only a protocol gateway can keep, by protocol: `modbus` → `read-only`. An enforcement
    /// point that cannot says so instead of permitting in silence.
    pub application: BTreeMap<String, String>,
}

/// A device-specific grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// Source address.
    pub from: IpAddr,
    /// Destination address.
    pub to: IpAddr,
    /// Transport.
    pub transport: Transport,
    /// Port.
    pub port: u16,
    /// When it ends by itself, in the kernel.
    pub expires: Timestamp,
    /// Name in `exceptions.toml`.
    pub name: String,
}
