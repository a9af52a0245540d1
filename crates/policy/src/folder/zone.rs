//! What a zone asks of its devices and of the network between them.

use model::SiteId;
use model::ruleset::Mode;
use serde::{Deserialize, Serialize};

/// A group of devices with one security requirement (IEC 62443).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Zone {
    /// Id: `SITE/CLASS/SUBNET`, or `external`, `groups`.
    pub id: String,
    /// Site; none for destinations outside the estate.
    pub site: Option<SiteId>,
    /// Class: `cameras`.
    pub class: String,
    /// Subnet, for people.
    pub subnet: String,
    /// Shadow or enforce.
    pub mode: Mode,
    /// Percent (0 to 100) of its devices that `mode` enforce holds for; the others stay in shadow.
    /// Which ones follows from a stable hash of their ids. None means all.
    pub share: Option<u8>,
    /// Target security level (IEC 62443-3-3 SL-T), 0 to [`SECURITY_LEVEL_MAX`]; none when not stated.
    pub security_level: Option<u8>,
    /// Owner of its devices unless they name their own; "" when nobody is.
    pub owner: String,
    /// What happens to protocols that announce and find neighbours.
    pub treatment: Treatments,
}

/// Highest security level (IEC 62443-3-3).
pub const SECURITY_LEVEL_MAX: u8 = 4;

/// What happens to one neighbourhood protocol in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Treatment {
    /// Dropped.
    Deny,
    /// Between devices of the zone only.
    WithinZone,
    /// Passed.
    Permit,
}

impl Treatment {
    /// Its word in `estate.toml`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::WithinZone => "within-zone",
            Self::Permit => "permit",
        }
    }
}

/// Declared treatments of a zone; none where the zone says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Treatments {
    /// Multicast DNS (RFC 6762).
    pub mdns: Option<Treatment>,
    /// SSDP, the discovery of UPnP.
    pub ssdp: Option<Treatment>,
    /// IPv6 neighbour discovery (RFC 4861).
    pub ipv6_nd: Option<Treatment>,
    /// PROFINET discovery and real-time frames (EtherType 0x8892).
    pub profinet: Option<Treatment>,
    /// GOOSE frames (IEC 61850-8-1, EtherType 0x88b8).
    pub goose: Option<Treatment>,
}

impl Treatments {
    /// Every protocol by its key in `estate.toml`, with what is declared for it.
    pub const fn all(&self) -> [(&'static str, Option<Treatment>); 5] {
        [
            ("mdns", self.mdns),
            ("ssdp", self.ssdp),
            ("ipv6_nd", self.ipv6_nd),
            ("profinet", self.profinet),
            ("goose", self.goose),
        ]
    }
}
