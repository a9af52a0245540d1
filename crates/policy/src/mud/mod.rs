//! Manufacturer usage descriptions (RFC 8520): read from anybody, written per device type, weighed.
//!
//! A MUD file is *evidence* about what a type of device needs. It opens nothing by itself, and never
//! what local policy forbids: [`propose`](mod@propose) says what it would open and what stands against it.
//!
//! Nothing in a file is dropped in silence. What is malformed is a fault and refuses the file; what is
//! well formed but not understood is a [`Statement`], is written back as it was read, and is listed by
//! [`Mud::unsupported`]. An entry that accepts under a condition nobody here can check opens nothing.

mod cache;
pub mod fuzzing;
mod matches;
pub mod propose;
mod read;
mod select;
mod statements;
mod tls;
mod types;
mod write;

use std::fmt;
use std::net::IpAddr;

use model::Mac;

pub use cache::{Freshness, freshness};
pub use read::parse;
pub use select::{Choice, select};
pub use statements::{Abstraction, Statement, Unsupported};
pub use tls::TlsProfile;
pub use types::export;
pub(crate) use types::of_types;

/// Where MUD files are said to be found until somebody names their own place (RFC 2606: nobody's).
pub const URL_BASE: &str = "https://mud.example.net/";

/// A MUD file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Mud {
    /// `mud-version`; 1, also where a pre-RFC file leaves it out.
    pub version: u8,
    /// `mud-url`.
    pub url: String,
    /// `mud-signature`.
    pub signature_url: Option<String>,
    /// `last-update`, as written; [`Mud::updated`] reads it.
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
    /// `ietf-mud-tls:is-tls-dtls-profile-supported` (RFC 9761 §6).
    pub tls_profile_supported: bool,
    /// What was not understood, by its path from the root.
    pub other: Vec<Statement>,
}

/// An access list (RFC 8519).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// Its name.
    pub name: String,
    /// What its entries match.
    pub family: Family,
    /// Its entries, in order: the first that matches decides.
    pub aces: Vec<Ace>,
    /// What was not understood, by its path from here.
    pub other: Vec<Statement>,
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
    /// What happens to what it matches.
    pub forwarding: Forwarding,
    /// It asks for a log record (`log-syslog`).
    pub log: bool,
    /// What was not understood, by its path from here.
    pub other: Vec<Statement>,
}

/// `actions/forwarding` (RFC 8519 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forwarding {
    /// Passes.
    Accept,
    /// Is discarded.
    Drop,
    /// Is discarded with an answer. A manufacturer cannot know whether that suits a network, so it
    /// is treated as `Drop` (RFC 8520 §3).
    Reject,
}

/// What an entry matches; what is `None` or empty matches anything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Matches {
    /// Whom, in MUD's abstractions; all must hold.
    pub who: Vec<Who>,
    /// Ethernet fields.
    pub ethernet: Option<Ethernet>,
    /// IP fields.
    pub ip: Option<Ip>,
    /// TCP or UDP fields.
    pub ports: Option<Ports>,
    /// ICMP type and code.
    pub icmp: Option<Icmp>,
    /// TLS profiles of which the connection must show one (RFC 9761); empty for any.
    pub tls: Vec<TlsProfile>,
}

/// Abstractions of RFC 8520 §8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// Ethernet fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Ethernet {
    /// `ethertype`.
    pub ethertype: Option<u16>,
    /// `source-mac-address` and its mask.
    pub source: Option<(Mac, Option<Mac>)>,
    /// `destination-mac-address` and its mask.
    pub destination: Option<(Mac, Option<Mac>)>,
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
