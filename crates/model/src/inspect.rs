//! The document `ringfence inspect -o json` writes: `ringfence.inspect/v1`.
//!
//! Field names are a contract. New fields may be added within v1; a meaning never changes.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::observation::{IdentifierKind, Transport};
use crate::{Assurance, DeviceId, Mac, ServiceId, SiteId, Timestamp};

/// Value of [`Report::schema`].
pub const SCHEMA: &str = "ringfence.inspect/v1";

/// Rule named in the evidence of a model that is only what a general-purpose machine is called.
pub const MACHINE_NAME_RULE: &str = "machine-name";

/// The whole document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// What was read.
    pub inputs: Vec<Input>,
    /// The time the inputs cover.
    pub span: Span,
    /// Devices, in order of first sight.
    pub devices: Vec<Device>,
    /// Destinations that devices talk to.
    pub services: Vec<Service>,
    /// Paths that were really used.
    pub conduits: Vec<Conduit>,
    /// What deserves a person's attention.
    pub findings: Vec<Finding>,
    /// Who can reach what.
    pub reach: Option<Reach>,
}

/// One file or interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// As given on the command line.
    pub name: String,
    /// Packets read.
    pub packets: u64,
    /// Bytes of those packets as captured.
    pub bytes: u64,
    /// What went wrong, with byte offsets; empty when all was read.
    pub errors: Vec<String>,
    /// The input ended inside a packet.
    pub truncated: bool,
    /// Packets the kernel dropped (live capture).
    pub dropped: u64,
}

/// First and last instant seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// First packet.
    pub first: Timestamp,
    /// Last packet.
    pub last: Timestamp,
}

/// One attribute with the answer to "how do you know".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    /// The value believed.
    pub value: String,
    /// 0 to 1.
    pub confidence: f64,
    /// Where it came from, strongest first.
    pub evidence: Vec<Evidence>,
    /// Other values claimed; they lowered `confidence` and are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contradicted_by: Vec<Claim>,
}

impl Attribute {
    /// The value is a product designation, not just the name of a general-purpose machine.
    pub fn is_product(&self) -> bool {
        self.evidence.first().is_none_or(|e| &*e.rule != MACHINE_NAME_RULE)
    }
}

/// A value that lost against a stronger one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The value.
    pub value: String,
    /// Where it came from.
    pub evidence: Vec<Evidence>,
}

/// One dated, attributable fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Input by name.
    pub input: Arc<str>,
    /// Packet number in the input, from 1.
    pub packet: u64,
    /// Protocol.
    pub protocol: Arc<str>,
    /// Field, as in the catalogue.
    pub field: Arc<str>,
    /// The text seen on the wire, cut to a readable length.
    pub value: Arc<str>,
    /// Rule that turned the field into the attribute.
    pub rule: Arc<str>,
    /// When.
    pub observed_at: Timestamp,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Stable id.
    pub id: DeviceId,
    /// Ids it had before merges.
    pub aliases: Vec<DeviceId>,
    /// Site of the sensors that see it.
    pub site: SiteId,
    /// Link addresses, in order of first sight.
    pub macs: Vec<Mac>,
    /// Network addresses, in order of first sight.
    pub ips: Vec<IpAddr>,
    /// VLANs it was seen in.
    pub vlans: Vec<u16>,
    /// Names it gave itself.
    pub hostnames: Vec<String>,
    /// Product vendor.
    pub vendor: Option<Attribute>,
    /// Product model.
    pub model: Option<Attribute>,
    /// What it is: `ip-camera`, `plc`, `printer`….
    #[serde(rename = "type")]
    pub kind: Option<Attribute>,
    /// Firmware or software version.
    pub firmware: Option<Attribute>,
    /// Hardware revision.
    pub hardware: Option<Attribute>,
    /// Serial number.
    pub serial: Option<Attribute>,
    /// Operating system.
    pub os: Option<Attribute>,
    /// Maker of the network chip or module, where that is all an address block tells.
    pub chip_vendor: Option<String>,
    /// Part it plays on the network: `gateway`, `server`, `scada-master`….
    pub role: Option<String>,
    /// Whether it counts as a device yet.
    #[serde(default)]
    pub status: Status,
    /// Identity ladder; passive observation never exceeds `observed`.
    pub assurance: Assurance,
    /// Device it sits behind.
    pub parent: Option<DeviceId>,
    /// Devices behind it.
    pub children: Vec<DeviceId>,
    /// How it sits behind its parent (`cip-backplane`, `capwap`…).
    pub via: Option<String>,
    /// Identifiers beyond the MAC addresses.
    pub identifiers: Vec<Identifier>,
    /// Firmware versions with the time each was first seen, oldest first.
    pub firmware_history: Vec<Version>,
    /// URL of the manufacturer usage description that the device announces (RFC 8520).
    pub mud_url: Option<Attribute>,
    /// Switch ports it was seen at.
    pub located_at: Vec<Location>,
    /// Link addresses that this switch or access point reported at its own ports.
    #[serde(default)]
    pub clients: Vec<Client>,
    /// Devices that may be the same one; a person decides.
    pub merge_suggestions: Vec<MergeSuggestion>,
    /// Protocols it speaks.
    pub protocols: Vec<String>,
    /// First packet.
    pub first_seen: Timestamp,
    /// Last packet.
    pub last_seen: Timestamp,
    /// Packets sent.
    pub packets: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Own packets until its model was known.
    pub packets_to_identity: Option<u64>,
}

/// Whether an identity on the wire counts as a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It showed more than one stray packet.
    #[default]
    Confirmed,
    /// One packet that nothing confirms: a flipped bit or a made-up address. Listed, but given no
    /// zone, no path and no place in any count of devices.
    Quarantined,
}

/// An identifier with its kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identifier {
    /// Which kind.
    pub kind: IdentifierKind,
    /// Its value.
    pub value: String,
}

/// A firmware version and when it was first seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// The version.
    pub value: String,
    /// First seen.
    pub since: Timestamp,
}

/// A place in the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Location {
    /// Switch or access point.
    pub device: DeviceId,
    /// Port as that device names it.
    pub port: String,
    /// When it was last said.
    pub at: Timestamp,
}

/// A link address at a port, as the switch reported it; it need not have been seen otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Client {
    /// Link address.
    pub mac: Mac,
    /// Port as the switch names it.
    pub port: String,
    /// When it was last said.
    pub at: Timestamp,
}

/// "This may be the same device."
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergeSuggestion {
    /// The other device.
    pub device: DeviceId,
    /// 0 to 1.
    pub confidence: f64,
    /// Why.
    pub reason: String,
}

/// A destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Stable id.
    pub id: ServiceId,
    /// Name for people: a host name, a DNS name, an address.
    pub name: String,
    /// Device that offers it; `None` for one outside the estate or a group address.
    pub device: Option<DeviceId>,
    /// Where it is.
    pub scope: Scope,
    /// Addresses it was seen at.
    pub addresses: Vec<IpAddr>,
    /// DNS names its clients used.
    pub dns_names: Vec<String>,
    /// Transport.
    pub transport: Transport,
    /// Port, or EtherType for non-IP.
    pub port: u16,
    /// Application protocol, where confirmed.
    pub protocol: Option<String>,
}

/// Where a destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// A device of the estate.
    Estate,
    /// The Internet.
    External,
    /// A multicast or broadcast group.
    Group,
}

/// A path that was used: one device to one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conduit {
    /// Client.
    pub from: DeviceId,
    /// Destination.
    pub to: ServiceId,
    /// Transport.
    pub transport: Transport,
    /// Port.
    pub port: u16,
    /// Application protocol, where confirmed.
    pub protocol: Option<String>,
    /// Who opens: `from-device` when the roles are certain, `either` when only data was seen.
    pub direction: Direction,
    /// DNS name the client used, where an answer was seen.
    pub dns_name: Option<String>,
    /// First use.
    pub first_seen: Timestamp,
    /// Last use.
    pub last_seen: Timestamp,
    /// Connections or exchanges.
    pub flows: u64,
    /// Packets both ways.
    pub packets: u64,
    /// Bytes both ways.
    pub bytes: u64,
    /// Input and packet number where it was first seen.
    pub evidence: PathEvidence,
    /// Whether a draft policy should allow it, and why not.
    pub proposal: Proposal,
}

/// Where a path was first seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathEvidence {
    /// Input by name.
    pub input: Arc<str>,
    /// Packet number from 1.
    pub packet: u64,
}

/// Who opens a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The device in `from` opens it.
    FromDevice,
    /// Only the middle of the conversation was seen.
    Either,
}

/// What the draft policy does with a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict", content = "reason")]
pub enum Proposal {
    /// Allow.
    Allow,
    /// Leave closed, for the reason given.
    NotAllowed(String),
}

/// A fact that deserves attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Kind, a stable word: `firmware-changed`, `scan`, `cleartext-admin`….
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// Device concerned.
    pub device: Option<DeviceId>,
    /// One line.
    pub title: String,
    /// What was seen and what to do.
    pub detail: String,
    /// When first seen.
    pub at: Timestamp,
    /// Where it came from.
    pub evidence: Vec<Evidence>,
    /// How many times.
    pub count: u64,
}

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it this week.
    Low,
    /// Look at it today.
    Medium,
    /// Look at it now.
    High,
}

/// Who can reach what: the flat network beside the draft policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// Without any fence: every device reaches every service.
    pub flat: ReachSummary,
    /// Under the draft policy.
    pub draft: ReachSummary,
    /// Share (0 to 1) of the flat network's reachable (device, service) pairs that no recorded
    /// path used.
    pub unused_share: f64,
    /// The ten devices that reach most, hopping included, under the draft.
    pub worst: Vec<DeviceReach>,
}

/// Totals over all devices.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct ReachSummary {
    /// Devices counted.
    pub devices: u64,
    /// Services counted.
    pub services: u64,
    /// (device, service) pairs reachable directly.
    pub direct_pairs: u64,
    /// (device, service) pairs reachable when a taken-over device may use every allowed path of
    /// each device it reaches.
    pub transitive_pairs: u64,
    /// Largest number of services one device reaches directly.
    pub direct_max: u64,
    /// Largest number of services one device reaches by hopping.
    pub transitive_max: u64,
}

/// Reach of one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceReach {
    /// The device.
    pub device: DeviceId,
    /// Services reached directly in the flat network.
    pub flat_services: u64,
    /// Services reached directly under the draft.
    pub direct_services: u64,
    /// Devices reached directly under the draft.
    pub direct_devices: u64,
    /// Services reached by hopping under the draft.
    pub transitive_services: u64,
    /// Devices reached by hopping under the draft.
    pub transitive_devices: u64,
}
