//! Whether an entry speaks of a path of the estate.
//!
//! An entry of the *from-device* lists speaks of a path that the device opens when the service is at its
//! destination end; one of the *to-device* lists speaks of a path that a peer opens to the device. The
//! others (a port at the wrong end, another `direction-initiated`) are answers: an enforcement point
//! lets them pass with their connection.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use model::Mac;
use model::inspect::Scope;
use model::observation::Transport;

use super::super::select::same_url;
use super::super::{Ace, Initiated, Mud, Network, PortMatch, Ports, Who};
use crate::folder::{Device, Estate, Service};

/// The estate by name, and what the file's abstractions stand for in it.
pub(super) struct World<'a> {
    pub(super) estate: &'a Estate,
    hosts: HashMap<&'a str, &'a Device>,
    sites: HashMap<&'a str, &'a str>,
    url: &'a str,
}

/// One way of an entry: outgoing, incoming or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// The device opens.
    Out,
    /// A peer opens.
    In,
    /// Part of a connection that something else opened.
    Answer,
}

impl<'a> World<'a> {
    pub(super) fn of(estate: &'a Estate, mud: &'a Mud) -> Self {
        let site = |z: &'a crate::folder::Zone| Some((z.id.as_str(), z.site.as_ref()?.as_str()));
        Self {
            estate,
            hosts: estate.devices.iter().map(|d| (d.id.as_str(), d)).collect(),
            sites: estate.zones.iter().filter_map(site).collect(),
            url: &mud.url,
        }
    }

    pub(super) fn host(&self, service: &Service) -> Option<&'a Device> {
        self.hosts.get(service.device.as_ref()?.as_str()).copied()
    }

    pub(super) fn site(&self, device: &Device) -> &'a str {
        self.sites.get(device.zone.as_str()).copied().unwrap_or("")
    }

    /// Names that `controller` or `my-controller` stands for; `None` where nobody said.
    pub(super) fn controllers(&self, who: &Who) -> Option<&'a [String]> {
        let named = |key: &str| {
            let found = self.estate.controllers.iter().find(|(name, _)| same_url(name, key));
            found.map(|(_, ids)| ids.as_slice())
        };
        match who {
            Who::Controller(uri) => named(uri),
            Who::MyController => named(self.url).or_else(|| named("my-controller")),
            _ => Some(&[]),
        }
    }

    /// `device` opens `service`, and the entry speaks of it.
    pub(super) fn speaks_of(
        &self,
        way: Way,
        ace: &Ace,
        device: &Device,
        service: &Service,
    ) -> bool {
        let m = &ace.matches;
        let host = self.host(service);
        let whom = m.who.iter().all(|who| match way {
            Way::In => self.is_device(who, device, host),
            _ => self.is_service(who, device, service, host),
        });
        whom && carries(ace, service)
            && m.ports.as_ref().is_none_or(|p| holds(p.destination, service.port))
            && self.addresses(ace, device, service, host)
            && self.frames(ace, device, service, host)
    }

    /// The peer is the service, which a device of the type opens.
    fn is_service(
        &self,
        who: &Who,
        device: &Device,
        service: &Service,
        host: Option<&Device>,
    ) -> bool {
        match who {
            Who::Controller(_) | Who::MyController => {
                let named = self.controllers(who).unwrap_or_default();
                let host = host.map(|h| h.id.as_str());
                named.iter().any(|n| n == service.id.as_str() || Some(n.as_str()) == host)
            }
            Who::LocalNetworks => match host {
                Some(host) => self.site(host) == self.site(device),
                None => service.scope == Scope::Estate,
            },
            who => host.is_some_and(|host| self.is_of(who, host)),
        }
    }

    /// The peer is a device, which opens a service of the type.
    fn is_device(&self, who: &Who, device: &Device, host: Option<&Device>) -> bool {
        match who {
            Who::Controller(_) | Who::MyController => {
                let named = self.controllers(who).unwrap_or_default();
                named.iter().any(|n| n == device.id.as_str())
            }
            Who::LocalNetworks => host.is_some_and(|host| self.site(host) == self.site(device)),
            who => self.is_of(who, device),
        }
    }

    /// The manufacturer abstractions go by the URL that a device announces (RFC 8520 §3).
    fn is_of(&self, who: &Who, peer: &Device) -> bool {
        let Some(url) = peer.mud_url.as_deref() else {
            return false;
        };
        match who {
            Who::Manufacturer(name) => authority(url).is_some_and(|a| a.eq_ignore_ascii_case(name)),
            Who::SameManufacturer => {
                let same = authority(url).zip(authority(self.url));
                same.is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
            }
            Who::Model(model) => same_url(url, model),
            _ => false,
        }
    }

    /// Networks and names, source at the opening end.
    fn addresses(
        &self,
        ace: &Ace,
        device: &Device,
        service: &Service,
        host: Option<&Device>,
    ) -> bool {
        let Some(ip) = &ace.matches.ip else {
            return true;
        };
        let at = self.estate.addresses(service, host);
        let family = |addresses: &[IpAddr]| {
            addresses.is_empty() || addresses.iter().any(|a| a.is_ipv6() == ip.v6)
        };
        let within = |network: Option<Network>, addresses: &[IpAddr]| {
            network.is_none_or(|network| addresses.iter().any(|a| network.contains(*a)))
        };
        let named = |name: &Option<String>, names: &[String]| {
            name.as_ref().is_none_or(|name| names.iter().any(|n| same_name(name, n)))
        };
        service.transport != Transport::Link
            && family(at)
            && within(ip.destination, at)
            && named(&ip.destination_name, &service.dns_names)
            && within(ip.source, &device.addresses)
            && ip.source_name.is_none()
    }

    fn frames(&self, ace: &Ace, device: &Device, service: &Service, host: Option<&Device>) -> bool {
        let Some(ethernet) = &ace.matches.ethernet else {
            return true;
        };
        let masked = |a: Mac, mask: Option<Mac>| a.as_u64() & mask.map_or(u64::MAX, Mac::as_u64);
        let is = |end: Option<(Mac, Option<Mac>)>, macs: &[Mac]| {
            end.is_none_or(|(mac, mask)| macs.iter().any(|m| masked(*m, mask) == masked(mac, mask)))
        };
        let to_group = ethernet.destination.is_some_and(|(mac, _)| mac.is_group());
        let destination = match to_group {
            true => service.scope == Scope::Group || service.transport == Transport::Link,
            false => is(ethernet.destination, host.map_or(&[][..], |h| &h.macs)),
        };
        is(ethernet.source, &device.macs) && destination
    }
}

/// Which way an entry of a list speaks.
pub(super) fn way(ace: &Ace, from_device: bool) -> Way {
    let ports = ace.matches.ports.as_ref();
    let opens = if from_device { Initiated::FromDevice } else { Initiated::ToDevice };
    let other = ports.and_then(|p| p.initiated).is_some_and(|initiated| initiated != opens);
    let at_source = ports.is_some_and(|p: &Ports| p.source.is_some() && p.destination.is_none());
    match (from_device, other || at_source) {
        (_, true) => Way::Answer,
        (true, false) => Way::Out,
        (false, false) => Way::In,
    }
}

/// Protocol, ICMP type, EtherType.
fn carries(ace: &Ace, service: &Service) -> bool {
    let m = &ace.matches;
    let v6 = m.ip.as_ref().is_some_and(|ip| ip.v6);
    let protocol = match service.transport {
        Transport::Tcp => Some(6),
        Transport::Udp => Some(17),
        Transport::Icmp => Some(if v6 { 58 } else { 1 }),
        Transport::Ip => u8::try_from(service.port).ok(),
        Transport::Link => None,
    };
    let asked = m.ip.as_ref().and_then(|ip| ip.protocol);
    let ports = m.ports.as_ref().is_none_or(|p| match service.transport {
        Transport::Tcp => p.tcp,
        Transport::Udp => !p.tcp,
        _ => false,
    });
    let icmp = m.icmp.is_none_or(|icmp| {
        service.transport == Transport::Icmp
            && icmp.kind.is_none_or(|kind| u16::from(kind) == service.port)
    });
    let ethertype =
        m.ethernet.as_ref().and_then(|e| e.ethertype).is_none_or(|number| {
            match service.transport {
                Transport::Link => number == service.port,
                _ => number == if v6 { 0x86dd } else { 0x0800 },
            }
        });
    (asked.is_none() || asked == protocol) && ports && icmp && ethertype
}

/// A port satisfies a condition.
pub(super) fn holds(condition: Option<PortMatch>, port: u16) -> bool {
    match condition {
        None => true,
        Some(PortMatch::Equal(p)) => port == p,
        Some(PortMatch::NotEqual(p)) => port != p,
        Some(PortMatch::AtMost(p)) => port <= p,
        Some(PortMatch::AtLeast(p)) => port >= p,
        Some(PortMatch::Range(a, b)) => (a..=b).contains(&port),
    }
}

impl Network {
    /// The address is in the network.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let cut = |bits: u128, whole: u32| {
            bits.checked_shr(whole.saturating_sub(u32::from(self.prefix))).unwrap_or(0)
        };
        match (self.ip, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                cut(a.to_bits().into(), 32) == cut(b.to_bits().into(), 32)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => cut(a.to_bits(), 128) == cut(b.to_bits(), 128),
            _ => false,
        }
    }

    /// It is one address.
    pub fn is_host(&self) -> bool {
        self.prefix == if self.ip.is_ipv4() { 32 } else { 128 }
    }
}

/// `*.example.com` stands for every name below.
fn same_name(pattern: &str, name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    match pattern.strip_prefix("*.") {
        Some(below) => name.strip_suffix(below).is_some_and(|rest| rest.ends_with('.')),
        None => name == pattern,
    }
}

/// Host of a URL.
pub(super) fn authority(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let host = host.rsplit('@').next()?;
    Some(host.split_once(':').map_or(host, |(host, _)| host)).filter(|h| !h.is_empty())
}

/// Controllers by the URI that files call them: ids of devices and services.
pub type Controllers = BTreeMap<String, Vec<String>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_by_prefix() {
        for (network, prefix, ip, inside) in [
            ("10.0.0.0", 8, "10.255.0.1", true),
            ("10.0.0.0", 8, "11.0.0.1", false),
            ("0.0.0.0", 0, "203.0.113.9", true),
            ("10.0.0.7", 32, "10.0.0.7", true),
            ("10.0.0.7", 32, "10.0.0.8", false),
            ("ff00::", 8, "ff02::fb", true),
            ("::", 0, "2001:db8::1", true),
            ("::", 0, "10.0.0.1", false),
        ] {
            let network = Network { ip: network.parse().unwrap(), prefix };
            assert_eq!(network.contains(ip.parse().unwrap()), inside, "{network} {ip}");
        }
    }

    #[test]
    fn names_and_authorities() {
        assert!(same_name("x.example", "X.example."));
        assert!(same_name("*.example", "a.b.example"));
        assert!(!same_name("*.example", "example"));
        assert!(!same_name("*.example", "badexample"));
        for (url, host) in [
            ("https://x.example/m.json", Some("x.example")),
            ("https://u@x.example:8443?q", Some("x.example")),
            ("https:///m", None),
            ("x.example", None),
        ] {
            assert_eq!(authority(url), host, "{url}");
        }
    }

    #[test]
    fn port_conditions() {
        for (condition, inside, outside) in [
            (PortMatch::Equal(5), 5, 6),
            (PortMatch::NotEqual(5), 6, 5),
            (PortMatch::AtMost(5), 5, 6),
            (PortMatch::AtLeast(5), 5, 4),
            (PortMatch::Range(5, 7), 7, 8),
        ] {
            assert!(holds(Some(condition), inside) && !holds(Some(condition), outside));
        }
        assert!(holds(None, 0));
    }
}
