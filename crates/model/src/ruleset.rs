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

impl NamePermit {
    /// Whether a question for `name` (lower case, without the last dot) is about this permit.
    pub fn covers(&self, name: &str) -> bool {
        match self.name.strip_prefix("*.") {
            None => self.name == name,
            Some(suffix) => {
                let below = name.strip_suffix(suffix).and_then(|front| front.strip_suffix('.'));
                below.is_some_and(|labels| !labels.is_empty())
            }
        }
    }
}

/// A DNS name as policy writes it: lower case, without the last dot; `*.` may stand in front.
///
/// `None` for what is no host name: empty or overlong labels (RFC 1035 §2.3.4), other characters than
/// letters, digits, `-` and `_`, an address.
pub fn dns_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let host = name.strip_prefix("*.").unwrap_or(&name);
    let label = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(plain)
    };
    let is_name = (1..=253).contains(&host.len())
        && host.split('.').all(label)
        && host.parse::<IpAddr>().is_err();
    is_name.then_some(name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_covered_exactly_or_below_a_suffix() {
        let check = |policy: &str, name: &str, expect: bool| {
            let permit = NamePermit {
                from: ClassId(1),
                name: policy.to_owned(),
                transport: Transport::Tcp,
                first_port: 443,
                last_port: 443,
                rule: "cloud".to_owned(),
                terms: Terms::default(),
            };
            assert_eq!(permit.covers(name), expect, "{policy} {name}");
        };
        check("api.example.com", "api.example.com", true);
        check("api.example.com", "x.api.example.com", false);
        check("*.example.com", "api.example.com", true);
        check("*.example.com", "a.b.example.com", true);
        check("*.example.com", "example.com", false);
        check("*.example.com", "evilexample.com", false);
        check("*.example.com", ".example.com", false);
        check("*.example.com", "example.com.evil.net", false);
    }

    #[test]
    fn names_are_brought_to_one_form_or_refused() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(dns_name(text).as_deref(), expect, "{text}");
        };
        check("API.Example.com.", Some("api.example.com"));
        check("*.Example.com", Some("*.example.com"));
        check("_ntp._udp.example.com", Some("_ntp._udp.example.com"));
        check("broker", Some("broker"));
        check("", None);
        check(".", None);
        check("*.", None);
        check("*", None);
        check("a..b", None);
        check("a.*.b", None);
        check("10.0.0.1", None);
        check("exa mple.com", None);
        check("münchen.example", None);
        check(&"a".repeat(64), None);
        check(&["a".repeat(63).as_str(); 4].join("."), None);
    }
}
