//! Which network addresses a link address owns, and which it only forwards.
//!
//! Keying by address merges devices, keying by link address splits them: one router shows the
//! whole Internet behind its link address, one lease wanders over four devices in a day. What
//! counts here is who *claims* an address (ARP, neighbour discovery, DHCP), and whether packets
//! arrive with an untouched hop limit.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::observation::BindingSource;
use model::{Mac, is_private};

use crate::graph::{Graph, Identity, Node, NodeId, Station};

/// Addresses one link address may claim by ARP before it counts as a proxy for others.
const CLAIMS_MAX: usize = 16;
/// Unclaimed addresses a link address may use before it counts as forwarding for others.
const UNCLAIMED_MAX: usize = 4;
/// Protocols that stay on the link: who speaks them from an address has it.
const ON_LINK: [&str; 3] = ["mdns.", "mndp.", "llmnr.claim"];

/// Addresses of one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ownership {
    /// Its own, in order of first sight.
    pub(crate) own: Vec<IpAddr>,
    /// Others' that it forwards.
    pub(crate) forwarded: Vec<IpAddr>,
}

impl Ownership {
    pub(crate) fn owns(&self, ip: IpAddr) -> bool {
        self.own.contains(&ip)
    }
}

/// Ownership of every node, and the owners of each address.
#[derive(Debug)]
pub(crate) struct Owners {
    by_node: Vec<Ownership>,
    by_ip: BTreeMap<IpAddr, Vec<NodeId>>,
}

impl Owners {
    pub(crate) fn of(graph: &Graph) -> Self {
        let linked = graph.nodes.iter().any(|n| matches!(n.identity, Identity::Link(_)));
        let by_node: Vec<Ownership> = graph.nodes.iter().map(|n| decide(n, linked)).collect();
        let mut by_ip: BTreeMap<IpAddr, Vec<NodeId>> = BTreeMap::new();
        for (id, ownership) in (0..).zip(&by_node) {
            for ip in &ownership.own {
                by_ip.entry(*ip).or_default().push(id);
            }
        }
        Self { by_node, by_ip }
    }

    pub(crate) fn node(&self, id: NodeId) -> &Ownership {
        static NONE: Ownership = Ownership { own: Vec::new(), forwarded: Vec::new() };
        self.by_node.get(id as usize).unwrap_or(&NONE)
    }

    /// Nodes that own an address, at whatever time.
    pub(crate) fn owners(&self, ip: IpAddr) -> &[NodeId] {
        self.by_ip.get(&ip).map_or(&[], Vec::as_slice)
    }

    /// All addresses with several owners.
    pub(crate) fn shared(&self) -> impl Iterator<Item = (IpAddr, &[NodeId])> {
        self.by_ip.iter().filter(|(_, n)| n.len() > 1).map(|(ip, n)| (*ip, n.as_slice()))
    }
}

/// Decides for one node. `linked` is whether anything was seen with a link address: then hosts of
/// the Internet that a tunnel shows are destinations, where otherwise one of them may be ours.
fn decide(node: &Node, linked: bool) -> Ownership {
    let mac = match node.identity {
        Identity::Link(mac) => mac,
        Identity::Host(ip) if linked && !is_private(ip) => {
            return Ownership { own: Vec::new(), forwarded: vec![ip] };
        }
        Identity::Host(ip) => return Ownership { own: vec![ip], forwarded: Vec::new() },
        Identity::Child { .. } => {
            let own = node.stations.iter().map(|(ip, _)| *ip).collect();
            return Ownership { own, forwarded: Vec::new() };
        }
    };
    let stations = || node.stations.iter().map(|(_, station)| station);
    let claims = stations().filter(|s| s.bound == Some(BindingSource::Arp)).count();
    let proxy = claims > CLAIMS_MAX;
    let claimed = |s: &Station| s.bound.is_some() && !proxy;
    let spoke_on_link: BTreeSet<IpAddr> = node
        .said
        .iter()
        .filter(|s| ON_LINK.iter().any(|p| s.field.starts_with(p)))
        .filter_map(|s| s.ip)
        .collect();
    let any_claim = stations().any(claimed);
    let unclaimed = stations().filter(|s| !claimed(s) && s.packets > 0).count();
    let mut own: Vec<(&IpAddr, &Station)> = Vec::new();
    let mut forwarded = Vec::new();
    for (ip, station) in node.stations.iter() {
        let is_own = claimed(station)
            || from_mac(*ip, mac)
            || spoke_on_link.contains(ip) && !proxy
            || match (arrived_untouched(station), any_claim) {
                // Routed packets have lost a hop; a claimed address beside it makes it certain.
                (Some(false), _) => false,
                (Some(true), true) => ip.is_ipv6() || unclaimed <= UNCLAIMED_MAX,
                // A proxy's answers for addresses from which nothing came are about others.
                (Some(true) | None, false) => {
                    unclaimed <= UNCLAIMED_MAX && !(proxy && station.packets == 0)
                }
                (None, true) => false,
            };
        if is_own { own.push((ip, station)) } else { forwarded.push(*ip) }
    }
    own.sort_by_key(|(ip, s)| (s.first, **ip));
    Ownership { own: own.into_iter().map(|(ip, _)| *ip).collect(), forwarded }
}

/// Whether packets from this address still have an initial hop limit. Values up to 4 are what
/// multicast senders choose; `None` where no packet was counted.
fn arrived_untouched(station: &Station) -> Option<bool> {
    station
        .hop_limit
        .map(|limit| matches!(limit, 0..=4 | 30 | 32 | 60 | 64 | 100 | 128 | 150 | 200 | 255))
}

/// An IPv6 interface identifier made from the link address (RFC 4291 appendix A).
fn from_mac(ip: IpAddr, mac: Mac) -> bool {
    let IpAddr::V6(v6) = ip else { return false };
    let [.., a, b, c, d, e, f, g, h] = v6.octets();
    let Mac([m0, m1, m2, m3, m4, m5]) = mac;
    [a, b, c, d, e, f, g, h] == [m0 ^ 2, m1, m2, 0xff, 0xfe, m3, m4, m5]
}
