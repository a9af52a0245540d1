//! From conversations to services and the conduits that lead to them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use model::inspect::{Conduit, Direction, PathEvidence, Proposal, Scope, Service};
use model::observation::{Flow, Transport};
use model::{DeviceId, Mac, ServiceId, is_private};

use crate::graph::{Conversation, Graph, NodeId};
use crate::merge::Merged;
use crate::owns::Owners;

/// Addresses and names listed for one service.
const LISTED_MAX: usize = 32;

/// Where a conversation leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A device, by its root node.
    Device(NodeId),
    /// The Internet.
    External,
    /// A group.
    Group,
}

/// A conversation with its ends: the device that opened it, unless that is a host of the Internet, and
/// where it leads.
pub(crate) type Routed<'a> = (&'a Conversation, Option<NodeId>, Target);

/// Finds the ends of conversations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) owners: &'a Owners,
    pub(crate) merged: &'a Merged,
}

impl<'a> Ends<'a> {
    /// All conversations with their ends, which are found once and asked for several times.
    pub(crate) fn all(&self) -> Vec<Routed<'a>> {
        self.graph.conversations.iter().map(|c| (c, self.client(c), self.target(c))).collect()
    }

    fn client(&self, c: &Conversation) -> Option<NodeId> {
        match c.flow.client_ip {
            Some(ip) if !ip.is_unspecified() && !self.owners.node(c.client).owns(ip) => {
                self.owner(ip, None, c)
            }
            _ => Some(self.merged.root(c.client)),
        }
    }

    fn target(&self, c: &Conversation) -> Target {
        let Flow { server_ip, server_mac, .. } = &c.flow;
        match server_ip {
            Some(ip) if ip.is_multicast() || server_mac.is_group() => Target::Group,
            None if server_mac.is_group() => Target::Group,
            Some(ip) => match self.owner(*ip, Some(*server_mac), c) {
                Some(node) => Target::Device(node),
                None => Target::External,
            },
            None => match self.graph.find_link(*server_mac) {
                Some(node) => Target::Device(self.merged.root(node)),
                None => Target::Group,
            },
        }
    }

    /// The device that had an address during a conversation.
    fn owner(&self, ip: IpAddr, mac: Option<Mac>, c: &Conversation) -> Option<NodeId> {
        let owners = self.owners.owners(ip);
        let by_mac =
            mac.and_then(|mac| self.graph.find_link(mac)).filter(|node| owners.contains(node));
        let at_the_time = || {
            owners.iter().copied().find(|node| {
                self.graph
                    .node(*node)
                    .and_then(|n| n.stations.get(&ip))
                    .is_some_and(|s| s.first <= c.flow.last && c.flow.first <= s.last)
            })
        };
        by_mac
            .or_else(at_the_time)
            .or_else(|| owners.last().copied())
            .map(|node| self.merged.root(node))
    }
}

/// Services and conduits of an estate.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    services: BTreeMap<ServiceId, Service>,
    conduits: BTreeMap<(DeviceId, ServiceId), Conduit>,
}

impl Paths {
    /// Adds a conversation from a device. `name` gives the id and the display name of a device.
    pub(crate) fn add(
        &mut self,
        from: &DeviceId,
        c: &Conversation,
        target: Target,
        name: &dyn Fn(NodeId) -> Option<(DeviceId, String)>,
    ) {
        let flow = &c.flow;
        let address = || match flow.server_ip {
            Some(ip) => ip.to_string(),
            None => flow.server_mac.to_string(),
        };
        let (host, shown, device, scope) = match target {
            Target::Device(node) => {
                let Some((id, shown)) = name(node) else { return };
                // A device talking to itself (several nodes of one device) is no path.
                if id == *from {
                    return;
                }
                (id.as_str().to_owned(), shown, Some(id), Scope::Estate)
            }
            Target::External => {
                let host = flow.server_name.as_deref().map_or_else(address, str::to_owned);
                (["ext:", &host].concat(), host, None, Scope::External)
            }
            Target::Group => {
                let host = address();
                (["group:", &host].concat(), host, None, Scope::Group)
            }
        };
        let word = flow.transport.word();
        let id = ["svc:", &host, "/", word, "/", &flow.port.to_string()].concat();
        let Some(id) = service_id(&id) else { return };
        let protocol = flow.application.as_deref().map(str::to_owned);
        let service = self.services.entry(id.clone()).or_insert_with(|| Service {
            id: id.clone(),
            name: shown,
            device,
            scope,
            addresses: Vec::new(),
            dns_names: Vec::new(),
            transport: flow.transport,
            port: flow.port,
            protocol: None,
        });
        if let Some(ip) = flow.server_ip.filter(|ip| !service.addresses.contains(ip))
            && service.addresses.len() < LISTED_MAX
        {
            service.addresses.push(ip);
        }
        let dns_name = flow.server_name.as_deref().map(str::to_owned);
        if let Some(name) = &dns_name
            && !service.dns_names.contains(name)
            && service.dns_names.len() < LISTED_MAX
        {
            service.dns_names.push(name.clone());
        }
        if service.protocol.is_none() {
            service.protocol.clone_from(&protocol);
        }
        let conduit = self.conduits.entry((from.clone(), id.clone())).or_insert_with(|| Conduit {
            from: from.clone(),
            to: id,
            transport: flow.transport,
            port: flow.port,
            protocol: None,
            direction: Direction::Either,
            dns_name: None,
            first_seen: flow.first,
            last_seen: flow.last,
            flows: 0,
            packets: 0,
            bytes: 0,
            evidence: PathEvidence { input: c.source.input.clone(), packet: c.source.packet },
            proposal: Proposal::Allow,
        });
        if flow.first < conduit.first_seen {
            conduit.first_seen = flow.first;
            conduit.evidence =
                PathEvidence { input: c.source.input.clone(), packet: c.source.packet };
        }
        conduit.last_seen = conduit.last_seen.max(flow.last);
        conduit.flows += flow.flows;
        conduit.packets += flow.packets_out + flow.packets_in;
        conduit.bytes += flow.bytes_out + flow.bytes_in;
        if flow.roles_certain {
            conduit.direction = Direction::FromDevice;
        }
        if conduit.dns_name.is_none() {
            conduit.dns_name = dns_name;
        }
        if conduit.protocol.is_none() {
            conduit.protocol = protocol;
        }
    }

    pub(crate) fn finish(self) -> (Vec<Service>, Vec<Conduit>) {
        (self.services.into_values().collect(), self.conduits.into_values().collect())
    }
}

/// An id from text that came off the wire.
fn service_id(text: &str) -> Option<ServiceId> {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".:/_-@+#".contains(c);
    let fit = match text.chars().all(fits) {
        true => Cow::Borrowed(text),
        false => text.chars().map(|c| if fits(c) { c } else { '_' }).collect(),
    };
    let fit = fit.get(fit.len().saturating_sub(128)..).unwrap_or(&fit);
    ServiceId::new(fit).ok()
}

/// Whether a service of this transport can be asked for at a port.
pub(crate) const fn has_ports(transport: Transport) -> bool {
    matches!(transport, Transport::Tcp | Transport::Udp)
}

/// An address that may be a host of this estate behind a router.
pub(crate) fn may_be_routed_host(ip: IpAddr) -> bool {
    let local = match ip {
        IpAddr::V4(v4) => {
            v4.is_link_local() || v4.is_broadcast() || v4.octets().last() == Some(&255)
        }
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    is_private(ip) && !ip.is_unspecified() && !ip.is_multicast() && !local
}
