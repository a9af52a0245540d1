//! Link addresses and the network addresses seen with them.

use std::net::IpAddr;

use dissect::frame::Packet;
use model::limits::LINKS_MAX;
use model::{Mac, Timestamp, is_private};
use rustc_hash::FxHashMap;

use crate::dispatch::NameId;

/// Index of a link address in [`Links`]. 0 is "nobody".
pub(crate) type LinkId = u32;

/// Network addresses tracked per link address, own and routed.
const STATIONS_MAX: usize = 4_096;
/// Public network addresses kept per link address: a router shows the whole Internet.
const PUBLIC_MAX: usize = 4;

/// One link address.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) mac: Mac,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) vlan: Option<u16>,
    /// Protocols the sender speaks, each once.
    pub(crate) protocols: Names,
    /// Packets and bytes already reported.
    pub(crate) reported: (u64, u64),
    public: u32,
    stations: u32,
    /// Facts reported about this link: a bound against floods.
    pub(crate) facts: u32,
}

impl Link {
    /// It shows many public addresses: a router, whose remote hosts are not devices here.
    pub(crate) const fn shows_internet(&self) -> bool {
        self.public as usize >= PUBLIC_MAX
    }

    #[inline]
    pub(crate) fn speaks(&mut self, protocol: NameId) {
        let [first, ..] = self.protocols.first;
        if protocol != 0 && protocol != first {
            self.protocols.insert(protocol);
        }
    }
}

/// Names in order of first use. Few link addresses speak more than four protocols, and a list of its own
/// costs each of them as much as all else that is known of it.
#[derive(Debug, Default)]
pub(crate) struct Names {
    first: [NameId; 4],
    #[expect(clippy::box_collection, reason = "one word instead of three in every link")]
    more: Option<Box<Vec<NameId>>>,
}

impl Names {
    fn insert(&mut self, name: NameId) {
        for slot in &mut self.first {
            if *slot == name {
                return;
            }
            if *slot == 0 {
                *slot = name;
                return;
            }
        }
        let more = self.more.get_or_insert_default();
        if !more.contains(&name) {
            more.push(name);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = NameId> {
        let first = self.first.iter().copied().take_while(|name| *name != 0);
        first.chain(self.more.iter().flat_map(|more| more.iter().copied()))
    }
}

/// A network address used with a link address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Station {
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) hop_limit: u8,
    /// Nothing was counted since it was reported.
    pub(crate) is_reported: bool,
}

impl Station {
    /// Nothing counted yet.
    pub(crate) const fn at(at: Timestamp) -> Self {
        Self { first: at, last: at, packets: 0, bytes: 0, hop_limit: 0, is_reported: false }
    }
}

/// The link table.
#[derive(Debug)]
pub(crate) struct Links {
    by_mac: FxHashMap<Mac, LinkId>,
    links: Vec<Link>,
    pub(crate) stations: FxHashMap<(LinkId, IpAddr), Station>,
    /// The two that sent last, the later one first: packets of a conversation alternate between them.
    last: [(Mac, LinkId); 2],
    /// Link addresses not tracked because the table is full.
    pub(crate) refused: u64,
}

impl Links {
    pub(crate) fn new() -> Self {
        let nobody = Link {
            mac: Mac::ZERO,
            packets: 0,
            bytes: 0,
            first: Timestamp::MAX,
            last: Timestamp::MIN,
            vlan: None,
            protocols: Names::default(),
            reported: (0, 0),
            public: 0,
            stations: 0,
            facts: 0,
        };
        Self {
            by_mac: FxHashMap::default(),
            links: vec![nobody],
            stations: FxHashMap::default(),
            last: [(Mac::ZERO, 0); 2],
            refused: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    #[inline]
    pub(crate) fn get(&self, id: LinkId) -> Option<&Link> {
        self.links.get(id as usize)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(id as usize)
    }

    /// Index of a link address that was seen as a sender; 0 if it was not.
    #[inline]
    pub(crate) fn find(&self, mac: Mac) -> LinkId {
        match self.last {
            [(last, id), _] | [_, (last, id)] if last == mac => id,
            _ => self.by_mac.get(&mac).copied().unwrap_or(0),
        }
    }

    /// Counts a packet for its sender. Always inline: it is called once, with every packet.
    #[inline(always)]
    pub(crate) fn sent(&mut self, packet: &Packet<'_>, at: Timestamp, bytes: u64) -> LinkId {
        if !packet.src.is_unicast() {
            return 0;
        }
        let id = self.sender(packet.src).unwrap_or_else(|| self.add(packet.src, at));
        self.count(id, packet.vlan, at, bytes);
        id
    }

    /// The sender of a packet, if it is known; `Some(0)` when there was no room for it a moment ago.
    #[inline(always)]
    pub(crate) fn sender(&mut self, mac: Mac) -> Option<LinkId> {
        let [last, before] = self.last;
        if last.0 == mac {
            return Some(last.1);
        }
        let id = if before.0 == mac { before.1 } else { self.by_mac.get(&mac).copied()? };
        self.last = [(mac, id), last];
        Some(id)
    }

    /// Counts a packet of a sender.
    #[inline(always)]
    pub(crate) fn count(&mut self, id: LinkId, vlan: Option<u16>, at: Timestamp, bytes: u64) {
        if let Some(link) = self.links.get_mut(id as usize).filter(|_| id != 0) {
            link.packets += 1;
            link.bytes += bytes;
            link.first = link.first.min(at);
            link.last = link.last.max(at);
            if vlan.is_some() {
                link.vlan = vlan;
            }
        }
    }

    #[cold]
    fn add(&mut self, mac: Mac, at: Timestamp) -> LinkId {
        let [last, _] = self.last;
        let id = LinkId::try_from(self.links.len()).unwrap_or(0);
        if self.links.len() >= LINKS_MAX || id == 0 {
            self.last = [(mac, 0), last];
            self.refused += 1;
            return 0;
        }
        self.links.push(Link {
            mac,
            packets: 0,
            bytes: 0,
            first: at,
            last: at,
            vlan: None,
            protocols: Names::default(),
            reported: (0, 0),
            public: 0,
            stations: 0,
            facts: 0,
        });
        self.by_mac.insert(mac, id);
        self.last = [(mac, id), last];
        id
    }

    /// Counts traffic of a network address behind a link address. Called for the first packet of
    /// a conversation and when one is retired, not for every packet.
    pub(crate) fn station(&mut self, link: LinkId, ip: IpAddr, seen: Station) {
        if let Some(station) = self.stations.get_mut(&(link, ip)) {
            station.first = station.first.min(seen.first);
            station.last = station.last.max(seen.last);
            station.packets += seen.packets;
            station.bytes += seen.bytes;
            station.hop_limit = station.hop_limit.max(seen.hop_limit);
            station.is_reported &= seen.packets == 0;
            return;
        }
        let Some(entry) = self.links.get_mut(link as usize).filter(|_| link != 0) else { return };
        let public = !is_private(ip);
        if entry.stations as usize >= STATIONS_MAX || (public && entry.shows_internet()) {
            return;
        }
        entry.stations += 1;
        entry.public += u32::from(public);
        self.stations.insert((link, ip), seen);
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (LinkId, &mut Link)> {
        (0..).zip(&mut self.links).skip(1)
    }
}
