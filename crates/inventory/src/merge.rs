//! Which nodes are one device.
//!
//! Certain ties unite; uncertain ones are suggestions that a person decides. A tie is certain when
//! the device itself says so in a protocol made for it (chassis id, CIP serial, station name) or
//! when two link addresses of one maker use one network address as only one box can.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::Mac;
use model::observation::IdentifierKind;

use rustc_hash::FxHashMap;

use crate::graph::{Graph, Identity, Node, NodeId, Said};
use crate::oui::Oui;
use crate::owns::Owners;
use crate::vendors;

/// An identifier shared by more nodes than this identifies nothing (a factory default).
const SHARERS_MAX: usize = 64;
/// The same for identifiers that factories are known to repeat.
const SUGGESTED_SHARERS_MAX: usize = 4;

/// A link address that sent no more than this may be a damaged copy of its neighbour.
const STRAY_PACKETS_MAX: u64 = 2;
/// Locally administered addresses compared with all others.
const LOCAL_MAX: usize = 512;
/// Identical words said on two interfaces at once that make one machine.
const ECHOES_MIN: usize = 2;
/// Largest time between such words, in nanoseconds.
const ECHO_NANOS: u64 = 5_000_000;

/// An uncertain tie.
#[derive(Clone, Debug)]
pub(crate) struct Suggestion {
    pub(crate) nodes: (NodeId, NodeId),
    pub(crate) confidence: f64,
    pub(crate) reason: String,
}

/// The clusters, and what might belong together besides.
#[derive(Debug)]
pub(crate) struct Merged {
    parent: Vec<NodeId>,
    pub(crate) suggestions: Vec<Suggestion>,
}

impl Merged {
    /// The node that stands for the device of `id`.
    pub(crate) fn root(&self, mut id: NodeId) -> NodeId {
        while let Some(up) = self.parent.get(id as usize).filter(|up| **up != id) {
            id = *up;
        }
        id
    }

    /// The earliest node stands for the device, so that ids stay stable as more is learnt.
    fn unite(&mut self, a: NodeId, b: NodeId) {
        let (a, b) = (self.root(a), self.root(b));
        let (keep, join) = (a.min(b), a.max(b));
        if let Some(slot) = self.parent.get_mut(join as usize) {
            *slot = keep;
        }
    }

    /// Lets every node point at its root: parents come before their children, so one pass does.
    fn flatten(&mut self) {
        for id in 0..NodeId::try_from(self.parent.len()).unwrap_or(NodeId::MAX) {
            let root = self.root(id);
            if let Some(slot) = self.parent.get_mut(id as usize) {
                *slot = root;
            }
        }
    }

    fn suggest(&mut self, a: NodeId, b: NodeId, confidence: f64, reason: String) {
        if self.root(a) != self.root(b) {
            self.suggestions.push(Suggestion { nodes: (a.min(b), a.max(b)), confidence, reason });
        }
    }

    pub(crate) fn of(graph: &Graph, owners: &Owners, oui: &Oui) -> Self {
        let count = NodeId::try_from(graph.nodes.len()).unwrap_or(NodeId::MAX);
        let mut merged = Self { parent: (0..count).collect(), suggestions: Vec::new() };
        let makers = Makers::of(graph, oui);
        merged.by_identifier(graph, owners);
        merged.by_address(graph, owners, &makers);
        merged.by_name(graph, &makers);
        merged.by_echo(graph, &makers);
        merged.by_returning_frames(graph);
        merged.by_neighbouring_address(graph);
        merged.flatten();
        let mut suggestions = std::mem::take(&mut merged.suggestions);
        suggestions.retain(|s| merged.root(s.nodes.0) != merged.root(s.nodes.1));
        merged.suggestions = suggestions;
        merged
    }

    fn by_identifier(&mut self, graph: &Graph, owners: &Owners) {
        let mut by_value: BTreeMap<(Group, Arc<str>), BTreeSet<NodeId>> = BTreeMap::new();
        for (id, node) in (0..).zip(&graph.nodes) {
            for stated in &node.stated {
                // Said from an address that the node only forwards: somebody else's.
                if stated.ip.is_some_and(|ip| !owners.node(id).owns(ip)) {
                    continue;
                }
                let chassis = stated.value.strip_prefix("mac:").and_then(|mac| mac.parse().ok());
                if let Some(other) = chassis.and_then(|mac| graph.find_link(mac)) {
                    self.unite(id, other);
                }
                // A bridge id ends in the bridge's own address (IEEE 802.1D §9.2.5).
                if stated.kind == IdentifierKind::Bridge
                    && let Some(other) = stated.value.parse().ok().and_then(|m| graph.find_link(m))
                {
                    self.unite(id, other);
                }
                if stated.kind == IdentifierKind::Mac {
                    if let Some(other) = stated.value.parse().ok().and_then(|m| graph.find_link(m))
                    {
                        self.own_mac(graph, id, other);
                    }
                    continue;
                }
                let (group, value) = group(stated.kind, &stated.value);
                by_value.entry((group, value)).or_default().insert(id);
            }
        }
        for ((group, value), nodes) in by_value {
            if nodes.len() < 2 || nodes.len() > SHARERS_MAX {
                continue;
            }
            let mut nodes = nodes.into_iter();
            let Some(first) = nodes.next() else { continue };
            let rest: Vec<NodeId> = nodes.collect();
            for other in &rest {
                let (Some(a), Some(b)) = (graph.node(first), graph.node(*other)) else { continue };
                if group.certain() && !wrapped(a) && !wrapped(b)
                    || same_block(a, b) && !group.cloned()
                {
                    self.unite(first, *other);
                } else if rest.len() < SUGGESTED_SHARERS_MAX {
                    let reason = format!("both state the {} {value}", group.word());
                    self.suggest(first, *other, 0.6, reason);
                }
            }
        }
    }

    /// A node says that another link address is its own.
    fn own_mac(&mut self, graph: &Graph, says: NodeId, other: NodeId) {
        let (Some(a), Some(b)) = (graph.node(says), graph.node(other)) else { return };
        match a.identity {
            Identity::Child(_) => {}
            // A host seen through a router, and its link address seen elsewhere.
            Identity::Host(_) => self.unite(says, other),
            Identity::Link(_) if same_block(a, b) => self.unite(says, other),
            Identity::Link(_) => {
                self.suggest(says, other, 0.7, "one names the other's link address".to_owned());
            }
        }
    }

    /// Two link addresses that use one network address.
    fn by_address(&mut self, graph: &Graph, owners: &Owners, makers: &Makers) {
        for (ip, nodes) in owners.shared().filter(|(ip, _)| !ip.is_loopback()) {
            for (i, a) in nodes.iter().enumerate() {
                for b in nodes.iter().skip(i + 1) {
                    let (Some(left), Some(right)) = (graph.node(*a), graph.node(*b)) else {
                        continue;
                    };
                    if let (Identity::Host(_), _) | (_, Identity::Host(_)) =
                        (&left.identity, &right.identity)
                    {
                        self.unite(*a, *b);
                        continue;
                    }
                    let overlap = overlap(left, right, ip);
                    let steady = left.packets.min(right.packets) > STRAY_PACKETS_MAX;
                    let twins = adjacent(left, right) || makers.local_twin(graph, *a, *b);
                    if overlap && steady && twins {
                        self.unite(*a, *b);
                    } else if overlap && nodes.len() == 2 {
                        let reason = format!("both used {ip} in the same period");
                        self.suggest(*a, *b, 0.3, reason);
                    }
                }
            }
        }
    }

    /// The same name given to a fixed and to a locally administered address of one maker: a
    /// machine that shares its connection.
    fn by_name(&mut self, graph: &Graph, makers: &Makers) {
        let mut by_name: BTreeMap<String, Vec<NodeId>> = BTreeMap::new();
        for (id, node) in (0..).zip(&graph.nodes) {
            if !matches!(node.identity, Identity::Link(_)) {
                continue;
            }
            let names: BTreeSet<String> = node
                .said
                .iter()
                .filter(|s| is_name_field(&s.field))
                .map(|s| plain_name(&s.value))
                .collect();
            for name in names.into_iter().filter(|n| n.len() >= 4) {
                by_name.entry(name).or_default().push(id);
            }
        }
        for (name, nodes) in by_name {
            let [a, b] = nodes.as_slice() else { continue };
            if makers.local_twin(graph, *a, *b) {
                self.unite(*a, *b);
            } else {
                self.suggest(*a, *b, 0.4, format!("both call themselves {name}"));
            }
        }
    }

    /// A machine with two interfaces asks the same questions on both within milliseconds. Counts
    /// only for a locally administered address beside a fixed one of the same maker.
    fn by_echo(&mut self, graph: &Graph, makers: &Makers) {
        let mut fixed: FxHashMap<u32, Vec<NodeId>> = FxHashMap::default();
        let mut local: Vec<(NodeId, u32)> = Vec::new();
        for (id, node) in (0..).zip(&graph.nodes) {
            match (&node.identity, makers.get(id)) {
                (Identity::Link(mac), Some(maker)) if mac.is_local() => local.push((id, maker)),
                (_, Some(maker)) => fixed.entry(maker).or_default().push(id),
                (_, None) => {}
            }
        }
        for (a, maker) in local.into_iter().take(LOCAL_MAX) {
            let Some(left) = graph.node(a).filter(|n| n.said.len() >= ECHOES_MIN) else { continue };
            for b in fixed.get(&maker).into_iter().flatten() {
                if graph.node(*b).is_some_and(|right| echoes(left, right) >= ECHOES_MIN) {
                    self.unite(a, *b);
                }
            }
        }
    }

    /// The first slave of an EtherCAT segment sets the local bit of the source address, so that
    /// frames come back to their master under another one (ETG.1000.4 §4.3).
    fn by_returning_frames(&mut self, graph: &Graph) {
        let speaks = |n: &Node| n.said.iter().any(|s| &*s.field == "ethercat.present");
        for (id, node) in (0..).zip(&graph.nodes) {
            let Identity::Link(mac) = node.identity else { continue };
            let Mac([first, rest @ ..]) = mac;
            let [a, b, c, d, e] = rest;
            let sender = graph.find_link(Mac([first & !2, a, b, c, d, e]));
            if let Some(sender) = sender.filter(|s| mac.is_local() && *s != id)
                && speaks(node)
                && graph.node(sender).is_some_and(speaks)
            {
                self.unite(id, sender);
            }
        }
    }

    /// Link addresses next to each other, one of which never speaks IP: ports of one device.
    fn by_neighbouring_address(&mut self, graph: &Graph) {
        let mut links: Vec<(u64, NodeId)> = (0..)
            .zip(&graph.nodes)
            .filter_map(|(id, n)| match n.identity {
                Identity::Link(mac) => Some((mac.as_u64(), id)),
                _ => None,
            })
            .collect();
        links.sort_unstable();
        for pair in links.windows(2) {
            let [(x, a), (y, b)] = pair else { continue };
            let (Some(left), Some(right)) = (graph.node(*a), graph.node(*b)) else { continue };
            let silent = left.stations.is_empty() != right.stations.is_empty();
            if y - x <= 2 && silent && !wrapped(left) {
                let reason = "neighbouring link addresses, one of them without an IP address";
                self.suggest(*a, *b, 0.4, reason.to_owned());
            }
        }
    }
}

/// Identifier kinds that are compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    /// Chassis and station names, which PROFINET devices use for each other.
    Chassis,
    CipSerial,
    Serial,
    Bridge,
    Uuid,
    Clonable(IdentifierKind),
}

impl Group {
    /// Made to name one chassis; nothing else may carry it.
    const fn certain(self) -> bool {
        matches!(self, Self::Chassis | Self::CipSerial | Self::Bridge)
    }

    /// Known to be the same on several devices that left one factory or one disk image.
    const fn cloned(self) -> bool {
        matches!(self, Self::Clonable(_))
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Chassis => "chassis or station name",
            Self::CipSerial => "CIP serial number",
            Self::Serial => "serial number",
            Self::Bridge => "bridge id",
            Self::Uuid => "UUID",
            Self::Clonable(IdentifierKind::HostKey) => "SSH host key",
            Self::Clonable(IdentifierKind::Certificate) => "certificate",
            Self::Clonable(IdentifierKind::Duid) => "DHCP unique identifier",
            Self::Clonable(IdentifierKind::BacnetInstance) => "BACnet device instance",
            Self::Clonable(_) => "vendor's device id",
        }
    }
}

fn group(kind: IdentifierKind, value: &Arc<str>) -> (Group, Arc<str>) {
    let group = match kind {
        // PROFINET devices put their station name into LLDP as a locally assigned chassis id.
        IdentifierKind::Chassis | IdentifierKind::StationName => {
            let name = value.strip_prefix("local:").unwrap_or(value);
            return (Group::Chassis, Arc::from(name.to_lowercase()));
        }
        IdentifierKind::CipSerial => Group::CipSerial,
        IdentifierKind::Serial => Group::Serial,
        IdentifierKind::Bridge => Group::Bridge,
        IdentifierKind::Uuid => Group::Uuid,
        IdentifierKind::Mac
        | IdentifierKind::Duid
        | IdentifierKind::Certificate
        | IdentifierKind::HostKey
        | IdentifierKind::VendorId
        | IdentifierKind::BacnetInstance => Group::Clonable(kind),
    };
    (group, Arc::clone(value))
}

fn macs(a: &Node, b: &Node) -> Option<(Mac, Mac)> {
    match (&a.identity, &b.identity) {
        (Identity::Link(a), Identity::Link(b)) => Some((*a, *b)),
        _ => None,
    }
}

/// A frame of another medium in an Ethernet wrapper: the address is a station number, not a MAC.
pub(crate) fn is_wrapped(mac: Mac) -> bool {
    matches!(mac.0, [0, 0, 0, 0, 0, _])
}

fn wrapped(node: &Node) -> bool {
    matches!(node.identity, Identity::Link(mac) if is_wrapped(mac))
}

/// The first three bytes agree, the local bit aside.
fn same_block(a: &Node, b: &Node) -> bool {
    macs(a, b).is_some_and(|(Mac([a0, a1, a2, ..]), Mac([b0, b1, b2, ..]))| {
        (a0 | 2, a1, a2) == (b0 | 2, b1, b2)
    })
}

/// Addresses of one row of interfaces: all but the last four bits agree, the local bit aside.
fn adjacent(a: &Node, b: &Node) -> bool {
    const LOCAL: u64 = 2 << 40;
    macs(a, b).is_some_and(|(a, b)| (a.as_u64() | LOCAL) >> 4 == (b.as_u64() | LOCAL) >> 4)
}

/// Who made the interface of each node, the local bit aside; equal numbers are one maker.
struct Makers(Vec<Option<u32>>);

impl Makers {
    /// Every block's owner is normalised once, however many nodes have it.
    fn of(graph: &Graph, oui: &Oui) -> Self {
        let mut by_block: FxHashMap<&str, u32> = FxHashMap::default();
        let mut by_name: FxHashMap<String, u32> = FxHashMap::default();
        let maker = |node: &Node| {
            let Identity::Link(Mac([first, rest @ ..])) = node.identity else { return None };
            let [m1, m2, m3, m4, m5] = rest;
            let owner = oui.lookup(Mac([first & !2, m1, m2, m3, m4, m5]))?;
            Some(*by_block.entry(owner).or_insert_with(|| {
                let next = u32::try_from(by_name.len()).unwrap_or(u32::MAX);
                *by_name.entry(vendors::normalise(owner)).or_insert(next)
            }))
        };
        Self(graph.nodes.iter().map(maker).collect())
    }

    fn get(&self, id: NodeId) -> Option<u32> {
        self.0.get(id as usize).copied().flatten()
    }

    /// One address is the other maker's with the local bit set: a bridge or virtual interface.
    fn local_twin(&self, graph: &Graph, a: NodeId, b: NodeId) -> bool {
        let (Some(left), Some(right)) = (graph.node(a), graph.node(b)) else { return false };
        macs(left, right).is_some_and(|(left, right)| left.is_local() != right.is_local())
            && self.get(a).is_some_and(|maker| self.get(b) == Some(maker))
    }
}

/// How often both said the same thing at the same moment.
fn echoes(a: &Node, b: &Node) -> usize {
    let apart = |x: &Node, y: &Node| {
        y.first.as_nanos().saturating_sub(x.last.as_nanos()) > ECHO_NANOS.cast_signed()
    };
    if apart(a, b) || apart(b, a) {
        return 0;
    }
    let at_once =
        |x: &Said, y: &Said| x.source.at.as_nanos().abs_diff(y.source.at.as_nanos()) <= ECHO_NANOS;
    a.said
        .iter()
        .filter(|x| {
            b.said.iter().any(|y| x.field == y.field && x.value == y.value && at_once(x, y))
        })
        .count()
}

/// Both were using the address at some moment, or one right after the other and back.
fn overlap(a: &Node, b: &Node, ip: std::net::IpAddr) -> bool {
    let (Some(x), Some(y)) = (a.stations.get(&ip), b.stations.get(&ip)) else { return false };
    x.first <= y.last && y.first <= x.last
}

/// Fields in which a device names itself.
fn is_name_field(field: &str) -> bool {
    matches!(
        field,
        "dhcp.hostname"
            | "dhcp.fqdn"
            | "mdns.host"
            | "mdns.instance"
            | "nbns.name"
            | "llmnr.name"
            | "llmnr.claim"
            | "lldp.system_name"
            | "snmp.sys_name"
            | "browser.name"
    )
}

/// A name without the decoration that differs between protocols: `Luca’s iMac` and `Lucas-iMac`.
fn plain_name(name: &str) -> String {
    let name = name.split(['.', '@']).next().unwrap_or_default();
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_decoration() {
        assert_eq!(plain_name("Luca’s iMac"), plain_name("Lucas-iMac.local"));
        assert_ne!(plain_name("plug-1"), plain_name("plug-2"));
    }

    #[test]
    fn station_and_chassis_names_are_one_kind() {
        let (a, x) = group(IdentifierKind::Chassis, &Arc::from("local:Siemens-X208"));
        let (b, y) = group(IdentifierKind::StationName, &Arc::from("siemens-x208"));
        assert_eq!((a, x), (b, y));
        assert!(group(IdentifierKind::HostKey, &Arc::from("x")).0.cloned());
    }
}
