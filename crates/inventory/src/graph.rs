//! The identity graph: nodes are identities seen on the wire, devices are clusters of them.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use model::limits::{ADDRESSES_PER_DEVICE_MAX, CHILDREN_PER_DEVICE_MAX, VALUES_PER_FIELD_MAX};
use model::observation::{
    BindingSource, EventKind, Fact, Flow, IdentifierKind, Observation, Subject,
};
use model::{DeviceId, Mac, SiteId, Timestamp};
use rustc_hash::{FxHashMap, FxHashSet};

/// Index of a node.
pub(crate) type NodeId = u32;

/// Facts one node keeps; beyond it new values are refused and counted.
const FACTS_PER_NODE_MAX: usize = 2_048;
/// Network addresses kept per node, own and routed.
const STATIONS_MAX: usize = 4_096;

/// Hands out device ids. Ids are never made here: whoever runs the inventory decides what they
/// look like and keeps them stable.
pub trait Ids {
    /// The id for a subject seen for the first time.
    fn id(&mut self, subject: &Subject) -> DeviceId;
}

/// Where a fact was seen.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) input: Arc<str>,
    pub(crate) packet: u64,
    pub(crate) at: Timestamp,
    pub(crate) nth: u64,
}

/// Something a node said about itself.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) field: Arc<str>,
    pub(crate) value: Arc<str>,
    /// Network address it was said from.
    pub(crate) ip: Option<IpAddr>,
    pub(crate) source: Source,
}

/// An identifier a node stated.
#[derive(Clone, Debug)]
pub(crate) struct Stated {
    pub(crate) kind: IdentifierKind,
    pub(crate) value: Arc<str>,
    pub(crate) ip: Option<IpAddr>,
}

/// A network address seen with a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Station {
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) packets: u64,
    pub(crate) hop_limit: Option<u8>,
    pub(crate) bound: Option<BindingSource>,
}

/// The network addresses of one node, sorted. Most nodes have one: a list, let alone a tree, would cost
/// each of them more than the address itself.
#[derive(Clone, Debug, Default)]
pub(crate) enum Stations {
    #[default]
    None,
    One((IpAddr, Station)),
    Several(Vec<(IpAddr, Station)>),
}

impl Stations {
    fn as_slice(&self) -> &[(IpAddr, Station)] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(list) => list,
        }
    }

    pub(crate) fn get(&self, ip: &IpAddr) -> Option<&Station> {
        let list = self.as_slice();
        let at = list.binary_search_by_key(ip, |(known, _)| *known).ok()?;
        list.get(at).map(|(_, station)| station)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&IpAddr, &Station)> {
        self.as_slice().iter().map(|(ip, station)| (ip, station))
    }

    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The station of an address, made by `new` where it is not known and there is room.
    fn entry(&mut self, ip: IpAddr, new: impl FnOnce() -> Station) -> Option<&mut Station> {
        let list = self.as_slice();
        let at = match list.binary_search_by_key(&ip, |(known, _)| *known) {
            Ok(at) => at,
            Err(_) if list.len() >= STATIONS_MAX => return None,
            Err(at) => {
                *self = match std::mem::take(self) {
                    Self::None => Self::One((ip, new())),
                    Self::One(one) => {
                        let mut list = vec![one];
                        list.insert(at, (ip, new()));
                        Self::Several(list)
                    }
                    Self::Several(mut list) => {
                        make_room(&mut list);
                        list.insert(at, (ip, new()));
                        Self::Several(list)
                    }
                };
                at
            }
        };
        match self {
            Self::None => None,
            Self::One((_, station)) => Some(station),
            Self::Several(list) => list.get_mut(at).map(|(_, station)| station),
        }
    }
}

/// A list that most nodes do not have: one word instead of three.
#[derive(Debug)]
#[expect(clippy::box_collection, reason = "that is the point")]
pub(crate) struct Few<T>(Option<Box<Vec<T>>>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> std::ops::Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl<T> Few<T> {
    fn push(&mut self, item: T) {
        push(self.0.get_or_insert_default(), item);
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Grows a list by a half instead of doubling it, and from one: most lists of most nodes hold one
/// or two things, and there are many nodes.
fn make_room<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 2 + 1);
    }
}

fn push<T>(list: &mut Vec<T>, item: T) {
    make_room(list);
    list.push(item);
}

/// An event a node was part of.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    pub(crate) kind: EventKind,
    pub(crate) detail: Arc<str>,
    pub(crate) source: Source,
}

/// What makes a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    Link(Mac),
    Host(IpAddr),
    Child(Box<Child>),
}

/// A device behind another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Child {
    pub(crate) parent: NodeId,
    pub(crate) via: Arc<str>,
    pub(crate) key: Arc<str>,
}

/// One identity on the wire.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: DeviceId,
    pub(crate) site: SiteId,
    pub(crate) identity: Identity,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) vlans: Few<u16>,
    /// Each once; nodes that speak the same ones share the list.
    pub(crate) protocols: Arc<[Arc<str>]>,
    pub(crate) said: Vec<Said>,
    pub(crate) stated: Few<Stated>,
    pub(crate) stations: Stations,
    pub(crate) events: Few<Happened>,
    /// Device it was seen behind, and how.
    pub(crate) behind: Option<Box<(NodeId, Arc<str>)>>,
    pub(crate) children: u32,
}

impl Node {
    fn new(id: DeviceId, site: SiteId, identity: Identity, at: Timestamp) -> Self {
        Self {
            id,
            site,
            identity,
            first: at,
            last: at,
            packets: 0,
            bytes: 0,
            vlans: Few::default(),
            protocols: none_spoken(),
            said: Vec::new(),
            stated: Few::default(),
            stations: Stations::default(),
            events: Few::default(),
            behind: None,
            children: 0,
        }
    }
}

/// One list for all nodes of which no protocol is known.
fn none_spoken() -> Arc<[Arc<str>]> {
    static NONE: LazyLock<Arc<[Arc<str>]>> = LazyLock::new(|| Arc::from([]));
    Arc::clone(&NONE)
}

/// A client seen at a port of a switch.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) at: NodeId,
    pub(crate) port: Arc<str>,
    pub(crate) when: Timestamp,
}

/// A conversation with its client node.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    pub(crate) client: NodeId,
    pub(crate) flow: Flow,
    pub(crate) source: Source,
}

/// All nodes and what ties them together.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    by_identity: FxHashMap<Identity, NodeId>,
    /// Lists of protocols that nodes share.
    spoken: FxHashSet<Arc<[Arc<str>]>>,
    pub(crate) conversations: Vec<Conversation>,
    pub(crate) located: FxHashMap<Mac, Vec<Located>>,
    /// Events that concern no device: floods, the sensor's own bounds.
    pub(crate) sensor_events: Vec<Happened>,
    /// Values not kept because a bound was reached.
    pub(crate) refused: u64,
}

impl Graph {
    pub(crate) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id as usize)
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(id as usize)
    }

    pub(crate) fn find(&self, identity: &Identity) -> Option<NodeId> {
        self.by_identity.get(identity).copied()
    }

    pub(crate) fn find_link(&self, mac: Mac) -> Option<NodeId> {
        self.find(&Identity::Link(mac))
    }

    /// The node of a subject, made when it is new; `None` where a bound forbids a new one.
    fn node_of(
        &mut self,
        seen: &Observation,
        subject: &Subject,
        ids: &mut dyn Ids,
    ) -> Option<NodeId> {
        let identity = match subject {
            Subject::Link { mac, .. } => Identity::Link(*mac),
            Subject::Host { ip } => Identity::Host(*ip),
            Subject::Child { parent, via, key } => {
                let parent = self.node_of(seen, parent, ids)?;
                let (via, key) = (Arc::clone(via), Arc::clone(key));
                Identity::Child(Box::new(Child { parent, via, key }))
            }
        };
        if let Some(id) = self.by_identity.get(&identity) {
            return Some(*id);
        }
        if let Identity::Child(child) = &identity {
            let parent = self.node_mut(child.parent)?;
            if parent.children as usize >= CHILDREN_PER_DEVICE_MAX {
                self.refused += 1;
                return None;
            }
            parent.children += 1;
        }
        let id = NodeId::try_from(self.nodes.len()).ok()?;
        self.nodes.push(Node::new(
            ids.id(subject),
            seen.origin.site.clone(),
            identity.clone(),
            seen.at,
        ));
        self.by_identity.insert(identity, id);
        Some(id)
    }

    /// Adds a host seen only through the router `via`; its traffic times move with it.
    pub(crate) fn add_host(&mut self, ip: IpAddr, via: NodeId, ids: &mut dyn Ids) {
        let identity = Identity::Host(ip);
        if self.by_identity.contains_key(&identity) {
            return;
        }
        let Some((site, station)) =
            self.node(via).and_then(|n| Some((n.site.clone(), *n.stations.get(&ip)?)))
        else {
            return;
        };
        let Ok(id) = NodeId::try_from(self.nodes.len()) else { return };
        let mut node =
            Node::new(ids.id(&Subject::Host { ip }), site, identity.clone(), station.first);
        node.last = station.last;
        node.packets = station.packets;
        node.stations.entry(ip, || station);
        self.nodes.push(node);
        self.by_identity.insert(identity, id);
    }

    /// Takes one observation.
    pub(crate) fn apply(&mut self, seen: &Observation, ids: &mut dyn Ids) {
        let source = || Source {
            input: Arc::clone(&seen.origin.input),
            packet: seen.packet,
            at: seen.at,
            nth: seen.nth,
        };
        let ip = match &seen.subject {
            Subject::Link { mac, ip } => {
                // The zero address stands for the sensor itself.
                if !mac.is_unicast() {
                    if let Fact::Event { kind, detail } = &seen.fact {
                        let detail = Arc::clone(detail);
                        self.sensor_events.push(Happened { kind: *kind, detail, source: source() });
                    }
                    return;
                }
                *ip
            }
            Subject::Host { ip } => Some(*ip),
            Subject::Child { .. } => None,
        };
        let behind = match &seen.fact {
            Fact::Behind { parent, via } => {
                let Some(parent) = self.node_of(seen, parent, ids) else { return };
                Some(Box::new((parent, Arc::clone(via))))
            }
            _ => None,
        };
        let Some(id) = self.node_of(seen, &seen.subject, ids) else { return };
        let mut refused = 0;
        let Some(node) = self.nodes.get_mut(id as usize) else { return };
        node.first = node.first.min(seen.at);
        node.last = node.last.max(seen.at);
        match &seen.fact {
            Fact::Says { field, value } => {
                let (mut known, mut many, mut plainer) = (false, 0, false);
                for said in node.said.iter().filter(|s| is_same(&s.field, field)) {
                    known |= said.ip == ip && said.value == *value;
                    many += usize::from(said.ip == ip);
                    plainer |= is_qualified(&said.value, value);
                }
                let field_max = if &**field == "dns.query" { 64 } else { VALUES_PER_FIELD_MAX };
                if known || many >= field_max || node.said.len() >= FACTS_PER_NODE_MAX {
                    refused += u64::from(!known);
                } else {
                    let (field, value) = (Arc::clone(field), Arc::clone(value));
                    if plainer {
                        node.said.retain(|s| s.field != field || !is_qualified(&s.value, &value));
                    }
                    push(&mut node.said, Said { field, value, ip, source: source() });
                }
            }
            Fact::Identifier { kind, value, field } => {
                let known = node.stated.iter().any(|s| s.kind == *kind && s.value == *value);
                if !known && node.stated.len() < ADDRESSES_PER_DEVICE_MAX {
                    node.stated.push(Stated { kind: *kind, value: Arc::clone(value), ip });
                    let (field, value) = (Arc::clone(field), Arc::clone(value));
                    // Said in its own words already, or without what makes it unique.
                    let said = |s: &Said| {
                        s.field == field && (s.value == value || is_qualified(&value, &s.value))
                    };
                    if !node.said.iter().any(said) {
                        push(&mut node.said, Said { field, value, ip, source: source() });
                    }
                }
            }
            Fact::Bound { ip, how } => {
                if !ip.is_unspecified()
                    && let Some(station) = station(node, *ip, seen.at)
                {
                    station.bound = station.bound.or(Some(*how));
                }
            }
            Fact::Sighted { first, packets, bytes, vlan, hop_limit, protocols } => match ip {
                Some(ip) if !ip.is_unspecified() => {
                    if let Some(station) = station(node, ip, seen.at) {
                        station.first = station.first.min(*first);
                        station.packets += packets;
                        station.hop_limit = station.hop_limit.max(*hop_limit);
                    }
                }
                Some(_) => {}
                None => {
                    node.first = node.first.min(*first);
                    node.packets += packets;
                    node.bytes += bytes;
                    if let Some(vlan) = vlan.filter(|v| !node.vlans.contains(v)) {
                        node.vlans.push(vlan);
                    }
                    if protocols.iter().any(|p| !node.protocols.contains(p)) {
                        let mut all = node.protocols.to_vec();
                        for protocol in protocols {
                            if !all.contains(protocol) {
                                all.push(Arc::clone(protocol));
                            }
                        }
                        node.protocols = match self.spoken.get(all.as_slice()) {
                            Some(known) => Arc::clone(known),
                            None => {
                                let all: Arc<[Arc<str>]> = all.into();
                                self.spoken.insert(Arc::clone(&all));
                                all
                            }
                        };
                    }
                }
            },
            Fact::Behind { .. } => node.behind = node.behind.take().or(behind),
            Fact::Event { kind, detail } => {
                if node.events.len() < ADDRESSES_PER_DEVICE_MAX {
                    let detail = Arc::clone(detail);
                    node.events.push(Happened { kind: *kind, detail, source: source() });
                }
            }
            Fact::Flow(flow) => {
                let (flow, source) = (flow.clone(), source());
                self.conversations.push(Conversation { client: id, flow, source });
            }
            Fact::Located { client, port, present } => {
                let known = self.located.entry(*client).or_default();
                known.retain(|l| l.at != id || l.port != *port);
                if *present && known.len() < VALUES_PER_FIELD_MAX {
                    known.push(Located { at: id, port: Arc::clone(port), when: seen.at });
                }
            }
        }
        self.refused += refused;
    }
}

/// A sensor has one text for each field, so most that are the same are at the same place.
fn is_same(a: &Arc<str>, b: &Arc<str>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// An identifier that stands for a plain value with its maker in front: `Acme/1234` for `1234`.
fn is_qualified(identifier: &str, plain: &str) -> bool {
    identifier.strip_suffix(plain).is_some_and(|front| front.ends_with(['/', ':']))
}

fn station(node: &mut Node, ip: IpAddr, at: Timestamp) -> Option<&mut Station> {
    let new = || Station { first: at, last: at, packets: 0, hop_limit: None, bound: None };
    let station = node.stations.entry(ip, new)?;
    station.first = station.first.min(at);
    station.last = station.last.max(at);
    Some(station)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qualified_identifier_is_known_from_its_plain_value() {
        for (identifier, plain, expect) in [
            ("Acme/1234", "1234", true),
            ("siemens:S C-1", "S C-1", true),
            ("1234", "1234", false),
            ("99-1234", "1234", false),
            ("uuid:1234", "uuid:1234-5", false),
        ] {
            assert_eq!(is_qualified(identifier, plain), expect, "{identifier} {plain}");
        }
    }
}
