//! What a sensor tells: the only thing the inventory learns from.
//!
//! Observations are versioned documents. They carry site and sensor, so that several sensors feed
//! one inventory, and an inspection of files is a fold over the same documents.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Mac, SensorId, SiteId, Timestamp};

/// Version written into every observation. Older versions keep decoding.
pub const VERSION: u16 = 1;

/// One dated fact about one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Version of this document.
    pub v: u16,
    /// Where it was made.
    #[serde(flatten)]
    pub origin: Arc<Origin>,
    /// Number of the packet in that input, from 1; 0 where no single packet is meant.
    pub packet: u64,
    /// When.
    pub at: Timestamp,
    /// How many packets this subject's link address had sent when the fact was seen, from 1.
    pub nth: u64,
    /// Whom the fact is about.
    pub subject: Subject,
    /// The fact.
    pub fact: Fact,
}

/// Where observations are made: one for all of an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Where the sensor stands.
    pub site: SiteId,
    /// Which sensor.
    pub sensor: SensorId,
    /// Name of the capture file or interface.
    pub input: Arc<str>,
}

/// Whom an observation is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A sender on the link: its MAC address, and the network address used in this packet.
    Link {
        /// Link address.
        mac: Mac,
        /// Network address in the same packet; may belong to a host routed by `mac`.
        ip: Option<IpAddr>,
    },
    /// A host known by network address only.
    Host {
        /// Network address.
        ip: IpAddr,
    },
    /// A device behind another: a backplane module, a routed BACnet instance, a bridge's bulb.
    Child {
        /// Whom it sits behind: always a `Link` or a `Host`.
        parent: Box<Self>,
        /// How: `cip-backplane`, `bacnet-network`, `hue`, `capwap`, `modbus-unit`, `mstp`….
        via: Arc<str>,
        /// Name among the parent's children on that medium (`slot 3`, `1:4201`).
        key: Arc<str>,
    },
}

/// Which kind of thing identifies a device beyond its MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentifierKind {
    /// Chassis id of LLDP or CDP device id: one per chassis, shared by its ports.
    Chassis,
    /// DHCP unique identifier, or client identifier that is not just the MAC address.
    Duid,
    /// Manufacturer's serial number, qualified by the vendor where the protocol says it.
    Serial,
    /// UUID of UPnP, WS-Discovery, mDNS….
    Uuid,
    /// PROFINET name of station.
    StationName,
    /// Fingerprint or subject of a device certificate.
    Certificate,
    /// CIP vendor id and serial number.
    CipSerial,
    /// BACnet network number and device instance.
    BacnetInstance,
    /// Vendor's own device id (Tuya gwId, miIO did, Google Cast id).
    VendorId,
    /// SSH or other host key fingerprint.
    HostKey,
    /// Another MAC address the device says is its own.
    Mac,
    /// Bridge id of STP: shared by the ports of one bridge.
    Bridge,
}

/// How a network address was tied to a link address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BindingSource {
    /// ARP sender fields.
    Arp,
    /// IPv6 neighbour discovery.
    NeighbourDiscovery,
    /// DHCP acknowledgement or the client's own request.
    Dhcp,
    /// The address a discovery protocol states (LLDP/CDP management address, DCP IP block).
    Stated,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The subject said something about itself.
    Says {
        /// Field name, `protocol.field` (`dhcp.hostname`); the catalogue is in `dissect::fields`.
        field: Arc<str>,
        /// Its value as text.
        value: Arc<str>,
    },
    /// The subject states an identifier of its own.
    Identifier {
        /// Field it came from.
        field: Arc<str>,
        /// Which kind.
        kind: IdentifierKind,
        /// Its value, normalised by the dissector.
        value: Arc<str>,
    },
    /// The subject uses a network address.
    Bound {
        /// The address.
        ip: IpAddr,
        /// How that is known.
        how: BindingSource,
    },
    /// The subject sits behind another device (a wireless client behind its access point).
    Behind {
        /// That device: always a `Link` or a `Host`.
        parent: Box<Subject>,
        /// How.
        via: Arc<str>,
    },
    /// Traffic totals since the last such observation: of a link address (`ip` is `None` in the
    /// subject), or of one network address behind it.
    Sighted {
        /// First packet of this span.
        first: Timestamp,
        /// Packets sent.
        packets: u64,
        /// Bytes sent, as on the wire.
        bytes: u64,
        /// VLAN id, where tagged.
        vlan: Option<u16>,
        /// Largest hop limit seen with this network address: an initial value (64, 128, 255…)
        /// says that the sender is on this link, a smaller one that it was routed.
        hop_limit: Option<u8>,
        /// Protocols spoken by the sender, by name.
        protocols: Vec<Arc<str>>,
    },
    /// A conversation, aggregated since the last such observation. Its subject is the client.
    Flow(Flow),
    /// A client of the subject (a switch or access point) was seen at one of its ports.
    Located {
        /// The client.
        client: Mac,
        /// Port as the switch names it.
        port: Arc<str>,
        /// Learnt (`true`) or removed.
        present: bool,
    },
    /// Something happened that is worth a finding.
    Event {
        /// Which.
        kind: EventKind,
        /// Details for a person.
        detail: Arc<str>,
    },
}

/// Events that dissectors and the sensor recognise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A firmware image travels to the subject.
    FirmwareTransfer,
    /// A controller was told to change mode, program or configuration.
    ControlWrite,
    /// A credential crossed in clear text.
    CleartextCredential,
    /// The subject probes many addresses or ports.
    Scan,
    /// The subject floods with made-up identities.
    Flood,
    /// A bound of the sensor was reached.
    LimitReached,
    /// Administration in clear text (telnet, HTTP basic auth, FTP…).
    CleartextAdmin,
    /// Two devices claim one network address at the same time.
    AddressConflict,
    /// A frame does not make sense as its protocol.
    Malformed,
}

/// One conversation between a client and a server port, summed over its flows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// Server's link address as seen here (a router's, when the server is remote).
    pub server_mac: Mac,
    /// Client's network address; `None` for non-IP protocols.
    pub client_ip: Option<IpAddr>,
    /// Server's network address; `None` for non-IP protocols.
    pub server_ip: Option<IpAddr>,
    /// Transport.
    pub transport: Transport,
    /// Server's port, or the EtherType / ICMP type where there are no ports.
    pub port: u16,
    /// Application protocol by name, where a dissector confirmed it.
    pub application: Option<Arc<str>>,
    /// Name the client resolved or asked for (DNS answer, TLS SNI, HTTP Host).
    pub server_name: Option<Arc<str>>,
    /// First packet.
    pub first: Timestamp,
    /// Last packet.
    pub last: Timestamp,
    /// Number of connections or datagram exchanges.
    pub flows: u64,
    /// Packets from the client.
    pub packets_out: u64,
    /// Packets from the server.
    pub packets_in: u64,
    /// Bytes from the client.
    pub bytes_out: u64,
    /// Bytes from the server.
    pub bytes_in: u64,
    /// The connection was accepted: TCP handshake or data both ways, UDP answered.
    pub established: bool,
    /// Whether client and server roles are certain (handshake seen, or a protocol's own roles).
    pub roles_certain: bool,
}

/// Transport of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP or ICMPv6.
    Icmp,
    /// Another IP protocol; `port` holds its number.
    Ip,
    /// Not IP; `port` holds the EtherType.
    Link,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Tcp, Self::Udp, Self::Icmp, Self::Ip, Self::Link];

    /// The one of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.word() == word)
    }

    /// The word used in documents and policies.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Ip => "ip",
            Self::Link => "link",
        }
    }
}
