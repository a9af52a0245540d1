//! The conditions of an access list entry.

use std::net::IpAddr;

use model::Mac;
use serde_json::Value as Json;

use super::read::{Object, Reader};
use super::{Ethernet, Icmp, Initiated, Ip, Matches, Network, PortMatch, Ports, TlsProfile, Who};
use crate::text::line;

/// What of an entry may stand in two places in files written before the RFC.
#[derive(Default)]
struct Early {
    source: Option<PortMatch>,
    destination: Option<PortMatch>,
    initiated: Option<Initiated>,
}

impl Reader<'_> {
    pub(super) fn matches(&mut self, path: &str, object: &Object) -> Matches {
        let mut matches = Matches::default();
        let mut early = Early::default();
        for (key, value) in object {
            let at = format!("{path}/{}", line(key));
            let bare = key.strip_prefix("ietf-access-control-list:").unwrap_or(key);
            match (bare, value.as_object()) {
                ("ietf-mud:mud" | "ietf-mud:mud-acl", Some(whom)) => {
                    for (key, value) in whom {
                        self.who(&at, key, value, &mut matches, &mut early);
                    }
                }
                ("ipv4" | "ipv4-acl", Some(ip)) => {
                    self.ip(&at, ip, false, &mut matches, &mut early);
                }
                ("ipv6" | "ipv6-acl", Some(ip)) => {
                    self.ip(&at, ip, true, &mut matches, &mut early);
                }
                ("tcp" | "tcp-acl", Some(tcp)) => self.ports(&at, tcp, true, &mut matches),
                ("udp" | "udp-acl", Some(udp)) => self.ports(&at, udp, false, &mut matches),
                ("icmp", Some(icmp)) => matches.icmp = Some(self.icmp(&at, icmp)),
                ("eth", Some(eth)) => matches.ethernet = Some(self.ethernet(&at, eth)),
                ("ietf-acl-tls:client-profiles" | "ietf-acl-tls:client-profile", Some(_)) => {
                    match TlsProfile::list(value) {
                        Ok(profiles) => matches.tls = profiles,
                        Err(_) => self.strange(&["matches", key], value),
                    }
                }
                (key, _) => match key.strip_prefix("ietf-mud:") {
                    Some(who) => self.who(path, who, value, &mut matches, &mut early),
                    None => self.strange(&["matches", key], value),
                },
            }
        }
        self.early(path, early, &mut matches);
        matches
    }

    /// Puts together what stood in two places.
    fn early(&mut self, path: &str, early: Early, matches: &mut Matches) {
        let Early { source, destination, initiated } = early;
        if source.is_none() && destination.is_none() && initiated.is_none() {
            return;
        }
        let protocol = matches.ip.as_ref().and_then(|ip| ip.protocol);
        let ports = match (&mut matches.ports, protocol) {
            (Some(ports), _) => ports,
            (none, Some(protocol @ (6 | 17))) => {
                none.insert(Ports { tcp: protocol == 6, ..Ports::default() })
            }
            (None, _) => {
                let why = "ports or a direction, and neither TCP nor UDP";
                return self.fault(path, why);
            }
        };
        let twice = |a: bool, b: bool| a && b;
        if twice(source.is_some(), ports.source.is_some())
            || twice(destination.is_some(), ports.destination.is_some())
            || twice(initiated.is_some(), ports.initiated.is_some())
        {
            self.fault(path, "ports or direction are given twice");
        }
        ports.source = ports.source.or(source);
        ports.destination = ports.destination.or(destination);
        ports.initiated = ports.initiated.or(initiated);
    }

    fn who(
        &mut self,
        path: &str,
        key: &str,
        value: &Json,
        matches: &mut Matches,
        early: &mut Early,
    ) {
        let who = match key {
            "my-controller" => Who::MyController,
            "same-manufacturer" => Who::SameManufacturer,
            "local-networks" => Who::LocalNetworks,
            "controller" => Who::Controller(self.text(path, value).unwrap_or_default()),
            "manufacturer" => Who::Manufacturer(self.text(path, value).unwrap_or_default()),
            "model" => Who::Model(self.text(path, value).unwrap_or_default()),
            "direction-initiated" => {
                early.initiated = self.initiated(path, value);
                return;
            }
            _ => return self.strange(&["matches", "ietf-mud:mud", key], value),
        };
        // An empty leaf is `[null]`; writers also use null, true and "".
        let empty = match value {
            Json::Array(items) => matches!(items.as_slice(), [] | [Json::Null]),
            Json::Null | Json::Bool(true) => true,
            Json::String(text) => text.is_empty(),
            _ => false,
        };
        let leaf = matches!(who, Who::MyController | Who::SameManufacturer | Who::LocalNetworks);
        if leaf && !empty {
            self.fault(path, format!("`{key}` is an empty leaf, written as [null]"));
        }
        if matches.who.contains(&who) {
            self.fault(path, format!("`{key}` is given twice"));
        } else {
            matches.who.push(who);
            matches.who.sort();
        }
    }

    fn initiated(&mut self, path: &str, value: &Json) -> Option<Initiated> {
        match value.as_str() {
            Some("from-device") => Some(Initiated::FromDevice),
            Some("to-device") => Some(Initiated::ToDevice),
            _ => {
                self.fault(path, "direction-initiated is neither from-device nor to-device");
                None
            }
        }
    }

    fn ip(
        &mut self,
        path: &str,
        object: &Object,
        v6: bool,
        matches: &mut Matches,
        early: &mut Early,
    ) {
        let mut ip = Ip { v6, ..Ip::default() };
        for (key, value) in object {
            let at = format!("{path}/{}", line(key));
            match key.as_str() {
                "protocol" => ip.protocol = self.number(&at, value),
                "source-ipv4-network" | "source-ipv6-network" => {
                    ip.source = self.network(&at, key, value, v6);
                }
                "destination-ipv4-network" | "destination-ipv6-network" => {
                    ip.destination = self.network(&at, key, value, v6);
                }
                "ietf-acldns:src-dnsname" | "src-dnsname" => ip.source_name = self.name(&at, value),
                "ietf-acldns:dst-dnsname" | "dst-dnsname" => {
                    ip.destination_name = self.name(&at, value);
                }
                "source-port-range" | "source-port-range-or-operator" => {
                    early.source = self.port(&at, value);
                }
                "destination-port-range" | "destination-port-range-or-operator" => {
                    early.destination = self.port(&at, value);
                }
                _ => self.strange(&["matches", if v6 { "ipv6" } else { "ipv4" }, key], value),
            }
        }
        if matches.ip.replace(ip).is_some() {
            self.fault(path, "two IP versions in one entry");
        }
    }

    fn name(&mut self, path: &str, value: &Json) -> Option<String> {
        let name = self.text(path, value)?;
        let plain = name.trim_end_matches('.');
        let label = |label: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*');
            (1..=63).contains(&label.len()) && label.chars().all(allowed)
        };
        if plain.len() > 253 || !plain.split('.').all(label) {
            self.fault(path, format!("`{}` is not a DNS name", line(&name)));
            return None;
        }
        Some(plain.to_ascii_lowercase())
    }

    /// A network of one IP version. One of the other version is a condition that no packet meets: files have
    /// such entries, and they open nothing.
    fn network(&mut self, path: &str, key: &str, value: &Json, v6: bool) -> Option<Network> {
        let text = self.text(path, value)?;
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text.as_str(), None),
        };
        let network = ip.parse::<IpAddr>().ok().and_then(|ip| {
            let whole = if ip.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.map_or(Some(whole), |p| p.parse().ok())?;
            (prefix <= whole).then_some(Network { ip, prefix })
        });
        match network {
            Some(network) if network.ip.is_ipv6() != v6 => {
                self.strange(&["matches", if v6 { "ipv6" } else { "ipv4" }, key], value);
                None
            }
            Some(network) => Some(network),
            None => {
                let version = if v6 { "IPv6" } else { "IPv4" };
                self.fault(path, format!("`{}` is not an {version} network", line(&text)));
                None
            }
        }
    }

    fn ports(&mut self, path: &str, object: &Object, tcp: bool, matches: &mut Matches) {
        let mut ports = Ports { tcp, ..Ports::default() };
        for (key, value) in object {
            let at = format!("{path}/{}", line(key));
            match key.as_str() {
                "source-port" | "source-port-range" => ports.source = self.port(&at, value),
                "destination-port" | "destination-port-range" => {
                    ports.destination = self.port(&at, value);
                }
                "ietf-mud:direction-initiated" | "direction-initiated" => {
                    ports.initiated = self.initiated(&at, value);
                }
                _ => self.strange(&["matches", if tcp { "tcp" } else { "udp" }, key], value),
            }
        }
        if matches.ports.replace(ports).is_some() {
            self.fault(path, "TCP and UDP in one entry");
        }
    }

    fn port(&mut self, path: &str, value: &Json) -> Option<PortMatch> {
        for key in value.as_object().into_iter().flat_map(|object| object.keys()) {
            if !["lower-port", "upper-port", "port", "operator"].contains(&key.as_str()) {
                self.fault(&format!("{path}/{}", line(key)), "not known among ports");
            }
        }
        let field = |key: &str| value.get(key).filter(|v| !v.is_null());
        if let (Some(lower), Some(upper)) = (field("lower-port"), field("upper-port")) {
            let (lower, upper) = (self.number(path, lower)?, self.number(path, upper)?);
            if lower > upper {
                self.fault(path, "the range is empty");
            }
            return Some(if lower == upper {
                PortMatch::Equal(lower)
            } else {
                PortMatch::Range(lower, upper)
            });
        }
        let port = match field("port").or_else(|| field("lower-port")) {
            Some(port) => self.number(path, port)?,
            None => {
                self.fault(path, "has neither port nor lower-port and upper-port");
                return None;
            }
        };
        match field("operator").map_or(Some("eq"), Json::as_str) {
            Some("eq") => Some(PortMatch::Equal(port)),
            Some("neq") => Some(PortMatch::NotEqual(port)),
            Some("lte") => Some(PortMatch::AtMost(port)),
            Some("gte") => Some(PortMatch::AtLeast(port)),
            operator => {
                let operator = line(operator.unwrap_or("?"));
                self.fault(path, format!("operator `{operator}` is not known"));
                None
            }
        }
    }

    fn icmp(&mut self, path: &str, object: &Object) -> Icmp {
        let mut icmp = Icmp::default();
        for (key, value) in object {
            match key.as_str() {
                "type" => icmp.kind = self.number(path, value),
                "code" => icmp.code = self.number(path, value),
                _ => self.strange(&["matches", "icmp", key], value),
            }
        }
        icmp
    }

    fn ethernet(&mut self, path: &str, object: &Object) -> Ethernet {
        let mut ethernet = Ethernet::default();
        let (mut source_mask, mut destination_mask) = (None, None);
        for (key, value) in object {
            let at = format!("{path}/{}", line(key));
            match key.as_str() {
                "ethertype" => ethernet.ethertype = self.ethertype(&at, value),
                "source-mac-address" => ethernet.source = self.mac(&at, value).map(|m| (m, None)),
                "source-mac-address-mask" => source_mask = self.mac(&at, value),
                "destination-mac-address" => {
                    ethernet.destination = self.mac(&at, value).map(|m| (m, None));
                }
                "destination-mac-address-mask" => destination_mask = self.mac(&at, value),
                _ => self.strange(&["matches", "eth", key], value),
            }
        }
        for (end, mask) in
            [(&mut ethernet.source, source_mask), (&mut ethernet.destination, destination_mask)]
        {
            match (end, mask) {
                (Some((_, slot)), mask) => *slot = mask,
                (None, None) => {}
                (None, Some(_)) => self.fault(path, "a mask without an address"),
            }
        }
        ethernet
    }

    fn mac(&mut self, path: &str, value: &Json) -> Option<Mac> {
        let text = self.text(path, value)?;
        let mac = text.parse().ok();
        if mac.is_none() {
            self.fault(path, format!("`{}` is not a MAC address", line(&text)));
        }
        mac
    }

    /// A number, a number in hexadecimal, or a name of `ietf-ethertypes` (RFC 8519 Appendix A).
    fn ethertype(&mut self, path: &str, value: &Json) -> Option<u16> {
        let text = value.as_str().unwrap_or_default().to_ascii_lowercase();
        let number = match text.strip_prefix("0x") {
            Some(hex) => u16::from_str_radix(hex, 16).ok(),
            None => value
                .as_u64()
                .and_then(|n| u16::try_from(n).ok())
                .or_else(|| text.parse().ok())
                .or_else(|| ETHERTYPES.iter().find(|(name, _)| *name == text).map(|(_, n)| *n)),
        };
        if number.is_none() {
            self.fault(path, "not an EtherType");
        }
        number
    }
}

/// Names of `ietf-ethertypes`.
const ETHERTYPES: &[(&str, u16)] = &[
    ("ipv4", 0x0800),
    ("arp", 0x0806),
    ("wlan", 0x0842),
    ("trill", 0x22f3),
    ("srp", 0x22ea),
    ("decnet", 0x6003),
    ("rarp", 0x8035),
    ("appletalk", 0x809b),
    ("aarp", 0x80f3),
    ("vlan", 0x8100),
    ("ipx", 0x8137),
    ("qnx", 0x8204),
    ("ipv6", 0x86dd),
    ("efc", 0x8808),
    ("esp", 0x8809),
    ("cobranet", 0x8819),
    ("mpls-unicast", 0x8847),
    ("mpls-multicast", 0x8848),
    ("pppoe-discovery", 0x8863),
    ("pppoe-session", 0x8864),
    ("intel-ans", 0x886d),
    ("jumbo-frames", 0x8870),
    ("homeplug", 0x887b),
    ("eap", 0x888e),
    ("profinet", 0x8892),
    ("hyperscsi", 0x889a),
    ("aoe", 0x88a2),
    ("ethercat", 0x88a4),
    ("provider-bridging", 0x88a8),
    ("ethernet-powerlink", 0x88ab),
    ("goose", 0x88b8),
    ("gse", 0x88b9),
    ("sv", 0x88ba),
    ("lldp", 0x88cc),
    ("sercos", 0x88cd),
    ("wsmp", 0x88dc),
    ("homeplug-av-mme", 0x88e1),
    ("mrp", 0x88e3),
    ("macsec", 0x88e5),
    ("pbb", 0x88e7),
    ("cfm", 0x8902),
    ("fcoe", 0x8906),
    ("fcoe-ip", 0x8914),
    ("roce", 0x8915),
    ("tte", 0x891d),
    ("hsr", 0x892f),
    ("ctp", 0x9000),
    ("vlan-double-tagged", 0x9100),
];
