//! What a zone asks of its devices and of the network between them.

use model::ruleset::Mode;
use model::{Assurance, SiteId};
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
    /// Where devices are that stand lower than this zone asks for; none: it asks for nothing.
    pub below: Option<Below>,
    /// VLAN of its devices (IEEE 802.1Q, [`VLAN_MIN`] to [`VLAN_MAX`]), for whoever sets ports; none when not stated.
    pub vlan: Option<u16>,
}

/// What a zone asks of its devices, and where the others are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Below {
    /// They stand at least so high.
    pub assurance_min: Assurance,
    /// Zone of the same site for those that do not. It asks for less, so the way ends.
    pub otherwise: String,
}

/// Lowest VLAN that devices may be in.
pub const VLAN_MIN: u16 = 1;
/// Highest VLAN that devices may be in.
pub const VLAN_MAX: u16 = 4_094;

/// Where a device is that is meant for a zone and stands so high: there, or as far away as [`Zone::below`] leads.
pub fn zone_in_force<'z>(
    zones: impl Fn(&str) -> Option<&'z Zone>,
    zone: &'z Zone,
    level: Assurance,
) -> &'z Zone {
    let mut at = zone;
    // Each one asks for less than the one before; what is not checked yet may lead in a circle.
    for _ in Assurance::ALL {
        let below = at.below.as_ref().filter(|below| level < below.assurance_min);
        match below.and_then(|below| zones(&below.otherwise)) {
            Some(next) => at = next,
            None => break,
        }
    }
    at
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
