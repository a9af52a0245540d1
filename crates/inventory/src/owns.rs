//! Which network addresses a link address owns, and which it only forwards.
//!
//! Keying by address merges devices, keying by link address splits them: one router shows the
//! whole Internet behind its link address, one lease wanders over four devices in a day. What
//! counts here is who *claims* an address (ARP, neighbour discovery, DHCP), and whether packets
//! arrive with an untouched hop limit.

use std::collections::BTreeSet;
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
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ownership<'a> {
    /// Its own, in order of first sight.
    pub(crate) own: &'a [IpAddr],
    /// Others' that it forwards.
    pub(crate) forwarded: &'a [IpAddr],
}

impl Ownership<'_> {
    pub(crate) fn owns(self, ip: IpAddr) -> bool {
        self.own.contains(&ip)
    }
}

/// Ownership of every node, and the owners of each address. Few and long lists, because there may be very
/// many nodes.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    /// Of every node, its own and then those it forwards, one node after the other.
    addresses: Vec<IpAddr>,
    /// Where those of each node end: its own, all.
    ends: Vec<(u32, u32)>,
    /// Addresses with an owner, sorted; one that has several stands there several times.
    owned: Vec<IpAddr>,
    /// The owner of each of these.
    owners: Vec<NodeId>,
}

impl Owners {
    pub(crate) fn of(graph: &Graph) -> Self {
        let linked = graph.nodes.iter().any(|n| matches!(n.identity, Identity::Link(_)));
        let mut all = Self::default();
        let mut owned: Vec<(IpAddr, NodeId)> = Vec::with_capacity(graph.nodes.len());
        all.ends.reserve_exact(graph.nodes.len());
        for (id, node) in (0..).zip(&graph.nodes) {
            let (own, forwarded) = decide(node, linked);
            owned.extend(own.iter().map(|ip| (*ip, id)));
            all.addresses.extend(own);
            let own_end = all.addresses.len();
            all.addresses.extend(forwarded);
            let end = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
            all.ends.push((end(own_end), end(all.addresses.len())));
        }
        owned.sort_unstable();
        (all.owned, all.owners) = owned.into_iter().unzip();
        all
    }

    pub(crate) fn node(&self, id: NodeId) -> Ownership<'_> {
        let at = id as usize;
        let before = at.checked_sub(1).and_then(|at| self.ends.get(at)).map_or(0, |(_, end)| *end);
        let Some((own, all)) = self.ends.get(at).copied() else { return Ownership::default() };
        let range =
            |from: u32, to: u32| self.addresses.get(from as usize..to as usize).unwrap_or_default();
        Ownership { own: range(before, own), forwarded: range(own, all) }
    }

    /// Nodes that own an address, at whatever time.
    pub(crate) fn owners(&self, ip: IpAddr) -> &[NodeId] {
        let from = self.owned.partition_point(|owned| *owned < ip);
        let rest = self.owned.get(from..).unwrap_or_default();
        let count = rest.iter().take_while(|owned| **owned == ip).count();
        self.owners.get(from..from + count).unwrap_or_default()
    }

    /// All addresses with several owners.
    pub(crate) fn shared(&self) -> impl Iterator<Item = (IpAddr, &[NodeId])> {
        let mut from = 0;
        self.owned.chunk_by(|a, b| a == b).filter_map(move |same| {
            let nodes = self.owners.get(from..from + same.len())?;
            from += same.len();
            Some((*same.first()?, nodes)).filter(|_| same.len() > 1)
        })
    }
}

/// The addresses that one node owns, in order of first sight, and those it forwards. `linked` is
/// whether anything was seen with a link address: then hosts of the Internet that a tunnel shows are
/// destinations, where otherwise one of them may be ours.
fn decide(node: &Node, linked: bool) -> (Vec<IpAddr>, Vec<IpAddr>) {
    let mac = match node.identity {
        Identity::Link(mac) => mac,
        Identity::Host(ip) if linked && !is_private(ip) => {
            return (Vec::new(), vec![ip]);
        }
        Identity::Host(ip) => return (vec![ip], Vec::new()),
        Identity::Child(_) => {
            let own = node.stations.iter().map(|(ip, _)| *ip).collect();
            return (own, Vec::new());
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
    (own.into_iter().map(|(ip, _)| *ip).collect(), forwarded)
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
