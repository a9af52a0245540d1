//! Manufacturer usage descriptions (RFC 8520): written per device type, read from anybody.
//!
//! A MUD file is evidence about what a type of device needs. It opens nothing by itself.

mod read;
mod types;
mod write;

use std::fmt;
use std::net::IpAddr;

pub use read::parse;
pub(crate) use types::of_types;

/// A MUD file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Mud {
    /// `mud-version`; 1, also where a pre-RFC file leaves it out.
    pub version: u8,
    /// `mud-url`.
    pub url: String,
    /// `mud-signature`.
    pub signature_url: Option<String>,
    /// `last-update`, as written.
    pub last_update: String,
    /// `cache-validity` in hours, 1 to 168; 48 where it is left out.
    pub cache_validity_hours: u16,
    /// `is-supported`.
    pub is_supported: bool,
    /// `systeminfo`.
    pub systeminfo: Option<String>,
    /// `mfg-name`.
    pub mfg_name: Option<String>,
    /// `model-name`.
    pub model_name: Option<String>,
    /// `firmware-rev`.
    pub firmware_rev: Option<String>,
    /// `software-rev`.
    pub software_rev: Option<String>,
    /// `documentation`.
    pub documentation: Option<String>,
    /// `extensions`.
    pub extensions: Vec<String>,
    /// Names of the lists of `from-device-policy`.
    pub from_device: Vec<String>,
    /// Names of the lists of `to-device-policy`.
    pub to_device: Vec<String>,
    /// Access lists.
    pub acls: Vec<Acl>,
    /// Members that were not understood, by path: extensions and novelties.
    pub unknown: Vec<String>,
}

/// An access list (RFC 8519).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// Its name.
    pub name: String,
    /// What its entries match.
    pub family: Family,
    /// Its entries, in order.
    pub aces: Vec<Ace>,
}

/// Type of an access list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `ipv4-acl-type`.
    V4,
    /// `ipv6-acl-type`.
    V6,
    /// `eth-acl-type`.
    Ethernet,
    /// A mix (`mixed-eth-ipv4-acl-type`…).
    Mixed,
}

/// An access list entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ace {
    /// Its name.
    pub name: String,
    /// What it matches.
    pub matches: Matches,
    /// `accept`, as opposed to `drop` or `reject`.
    pub accept: bool,
}

/// What an entry matches; what is `None` or empty matches anything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Matches {
    /// Whom, in MUD's abstractions.
    pub who: Option<Who>,
    /// Ethernet fields.
    pub ethernet: Option<Ethernet>,
    /// IP fields.
    pub ip: Option<Ip>,
    /// TCP or UDP fields.
    pub ports: Option<Ports>,
    /// ICMP type and code.
    pub icmp: Option<Icmp>,
}

/// Abstractions of RFC 8520 §8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// `controller`: a class of controllers by URI.
    Controller(String),
    /// `my-controller`: the controllers of this very device.
    MyController,
    /// `manufacturer`: devices whose MUD URL has this authority.
    Manufacturer(String),
    /// `same-manufacturer`.
    SameManufacturer,
    /// `model`: devices with this MUD URL.
    Model(String),
    /// `local-networks`.
    LocalNetworks,
}

/// Ethernet fields, as written.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ethernet {
    /// `ethertype`.
    pub ethertype: Option<String>,
    /// `source-mac-address`.
    pub source: Option<String>,
    /// `destination-mac-address`.
    pub destination: Option<String>,
}

/// IPv4 or IPv6 fields.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ip {
    /// The container was `ipv6`.
    pub v6: bool,
    /// Protocol number.
    pub protocol: Option<u8>,
    /// Source network.
    pub source: Option<Network>,
    /// Destination network.
    pub destination: Option<Network>,
    /// `ietf-acldns:src-dnsname`.
    pub source_name: Option<String>,
    /// `ietf-acldns:dst-dnsname`.
    pub destination_name: Option<String>,
}

/// An address with a prefix length; the full length where the file gives none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// Address.
    pub ip: IpAddr,
    /// Prefix length.
    pub prefix: u8,
}

/// TCP or UDP fields.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ports {
    /// The container was `tcp`.
    pub tcp: bool,
    /// Source port.
    pub source: Option<PortMatch>,
    /// Destination port.
    pub destination: Option<PortMatch>,
    /// `ietf-mud:direction-initiated`.
    pub initiated: Option<Initiated>,
}

/// A port condition (RFC 8519 `port-range-or-operator`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortMatch {
    /// `eq`.
    Equal(u16),
    /// `neq`.
    NotEqual(u16),
    /// `lte`.
    AtMost(u16),
    /// `gte`.
    AtLeast(u16),
    /// `lower-port` to `upper-port`.
    Range(u16, u16),
}

/// Who opens a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiated {
    /// `from-device`.
    FromDevice,
    /// `to-device`.
    ToDevice,
}

/// ICMP fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Icmp {
    /// Type.
    pub kind: Option<u8>,
    /// Code.
    pub code: Option<u8>,
}

impl Mud {
    /// RFC 8520 JSON, indented, with a final line break. Uses the RFC's container name `acls`, whatever
    /// the file was read from.
    pub fn to_json(&self) -> String {
        write::json(self)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}
