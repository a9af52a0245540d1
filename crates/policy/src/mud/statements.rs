//! What a file says beyond what is understood, and which of MUD's abstractions it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value as Json;

use super::{Ace, Acl, Family, Forwarding, Ip, Mud, Who};
use crate::text::{count, line};

/// A statement that is not understood, kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Member names from its holder to it.
    pub path: Vec<String>,
    /// Its value.
    pub value: Json,
}

impl Statement {
    /// It narrows what the entry matches.
    pub(super) fn is_match(&self) -> bool {
        self.path.first().is_some_and(|first| first == "matches")
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&line(&self.path.join("/")))
    }
}

/// A statement that has no effect here, and what follows from that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Where it stands, for people: `list from-v4, entry cl0`.
    pub place: String,
    /// Which: `matches/tcp/flags`.
    pub statement: String,
    /// The entry accepts under this condition, so it opens nothing.
    pub withholds: bool,
}

/// A way of saying whom or what an entry matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Abstraction {
    /// `controller`.
    Controller,
    /// `my-controller`.
    MyController,
    /// `manufacturer`.
    Manufacturer,
    /// `same-manufacturer`.
    SameManufacturer,
    /// `model`.
    Model,
    /// `local-networks`.
    LocalNetworks,
    /// `src-dnsname`, `dst-dnsname`.
    DnsName,
    /// An IPv4 network.
    NetworkV4,
    /// An IPv6 network.
    NetworkV6,
    /// `eth`.
    Ethernet,
    /// `icmp`.
    Icmp,
    /// A port range, or an operator other than `eq`.
    PortRange,
    /// `direction-initiated`.
    Direction,
    /// A TLS profile.
    Tls,
}

impl Abstraction {
    /// A stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::MyController => "my-controller",
            Self::Manufacturer => "manufacturer",
            Self::SameManufacturer => "same-manufacturer",
            Self::Model => "model",
            Self::LocalNetworks => "local-networks",
            Self::DnsName => "dnsname",
            Self::NetworkV4 => "ipv4-network",
            Self::NetworkV6 => "ipv6-network",
            Self::Ethernet => "eth",
            Self::Icmp => "icmp",
            Self::PortRange => "port-range",
            Self::Direction => "direction-initiated",
            Self::Tls => "tls-profile",
        }
    }
}

/// `systeminfo` in characters (RFC 8520 §3.6).
const SYSTEMINFO_CHARS_MAX: usize = 60;

impl Mud {
    /// Every statement that has no effect here.
    pub fn unsupported(&self) -> Vec<Unsupported> {
        let mut all = Vec::new();
        let mut put = |place: &str, statement: &Statement, withholds| {
            let (place, statement) = (place.to_owned(), statement.to_string());
            all.push(Unsupported { place, statement, withholds });
        };
        self.other.iter().for_each(|s| put("file", s, false));
        for acl in &self.acls {
            let list = format!("list {}", line(&acl.name));
            acl.other.iter().for_each(|s| put(&list, s, false));
            for ace in &acl.aces {
                let place = format!("{list}, entry {}", line(&ace.name));
                ace.other.iter().for_each(|s| put(&place, s, s.is_match() && ace.accepts()));
            }
        }
        all
    }

    /// How often each abstraction is used.
    pub fn abstractions(&self) -> BTreeMap<Abstraction, usize> {
        let mut all = BTreeMap::new();
        let aces = self.acls.iter().flat_map(|acl| &acl.aces);
        for kind in aces.flat_map(Ace::abstractions) {
            let n: &mut usize = all.entry(kind).or_default();
            *n = n.saturating_add(1);
        }
        all
    }

    /// What is understood and yet wrong, doubtful or without effect.
    pub fn remarks(&self) -> Vec<String> {
        let mut all = Vec::new();
        if !self.url.starts_with("https://") {
            all.push(format!("mud-url `{}` is not an https URL", line(&self.url)));
        }
        if self.updated().is_none() {
            all.push(format!("last-update `{}` is not an instant", line(&self.last_update)));
        }
        if !(1..=168).contains(&self.cache_validity_hours) {
            let hours = self.cache_validity_hours;
            all.push(format!("cache-validity is {hours} h; it is 1 to 168"));
        }
        if self.systeminfo.as_ref().is_some_and(|s| s.chars().count() > SYSTEMINFO_CHARS_MAX) {
            all.push(format!("systeminfo is longer than {SYSTEMINFO_CHARS_MAX} characters"));
        }
        if !self.is_supported {
            all.push("the manufacturer does not support the device any more".to_owned());
        }
        for extension in &self.extensions {
            if !["mud-tls", "ietf-mud-tls"].contains(&extension.as_str()) {
                all.push(format!("extension `{}` is not known here", line(extension)));
            }
        }
        let mut names = BTreeSet::new();
        for acl in &self.acls {
            let name = line(&acl.name);
            if !names.insert(&acl.name) {
                all.push(format!("there are two lists `{name}`; the first is used"));
            }
            match (self.from_device.contains(&acl.name), self.to_device.contains(&acl.name)) {
                (false, false) => all.push(format!("no policy uses list `{name}`")),
                (true, true) => all.push(format!("both policies use list `{name}`")),
                _ => {}
            }
            all.extend(acl.remarks());
        }
        all
    }
}

impl Acl {
    fn remarks(&self) -> Vec<String> {
        let name = line(&self.name);
        let mut all = Vec::new();
        let foreign = |ip: &Ip| match self.family {
            Family::V4 => ip.v6,
            Family::V6 => !ip.v6,
            Family::Ethernet => true,
            Family::Mixed => false,
        };
        let odd = self.aces.iter().filter(|a| a.matches.ip.as_ref().is_some_and(foreign)).count();
        if odd > 0 {
            let entries = count(odd, "entry");
            all.push(format!("list `{name}`: {entries} of another kind than the list's type"));
        }
        let mut seen: Vec<&Ace> = Vec::new();
        let mut twice = 0usize;
        for ace in &self.aces {
            // The bound keeps the comparison of long lists cheap.
            if seen.iter().any(|s| s.matches == ace.matches && s.other == ace.other) {
                twice = twice.saturating_add(1);
            } else if seen.len() < 1_000 {
                seen.push(ace);
            }
        }
        if twice > 0 {
            let entries = count(twice, "entry");
            all.push(format!(
                "list `{name}`: {entries} without effect: an earlier one matches the same"
            ));
        }
        all
    }
}

impl Ace {
    /// It lets pass what it matches.
    pub fn accepts(&self) -> bool {
        self.forwarding == Forwarding::Accept
    }

    /// It matches under a condition that is not understood.
    pub fn is_unclear(&self) -> bool {
        self.other.iter().any(Statement::is_match)
    }

    fn abstractions(&self) -> BTreeSet<Abstraction> {
        let m = &self.matches;
        let mut all: BTreeSet<Abstraction> = m
            .who
            .iter()
            .map(|who| match who {
                Who::Controller(_) => Abstraction::Controller,
                Who::MyController => Abstraction::MyController,
                Who::Manufacturer(_) => Abstraction::Manufacturer,
                Who::SameManufacturer => Abstraction::SameManufacturer,
                Who::Model(_) => Abstraction::Model,
                Who::LocalNetworks => Abstraction::LocalNetworks,
            })
            .collect();
        if let Some(ip) = &m.ip {
            if ip.source_name.is_some() || ip.destination_name.is_some() {
                all.insert(Abstraction::DnsName);
            }
            for network in ip.source.iter().chain(&ip.destination) {
                all.insert(match network.ip.is_ipv6() {
                    true => Abstraction::NetworkV6,
                    false => Abstraction::NetworkV4,
                });
            }
        }
        if let Some(ports) = &m.ports {
            let mut both = ports.source.iter().chain(&ports.destination);
            if both.any(|p| !matches!(p, super::PortMatch::Equal(_))) {
                all.insert(Abstraction::PortRange);
            }
            if ports.initiated.is_some() {
                all.insert(Abstraction::Direction);
            }
        }
        for (used, kind) in [
            (m.ethernet.is_some(), Abstraction::Ethernet),
            (m.icmp.is_some(), Abstraction::Icmp),
            (!m.tls.is_empty(), Abstraction::Tls),
        ] {
            if used {
                all.insert(kind);
            }
        }
        all
    }
}
