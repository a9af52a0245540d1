//! Conversations: who talks to whom, at which port, and who called.

use std::hash::{BuildHasher as _, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use dissect::Role;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use model::limits::FLOWS_MAX;
use model::observation::{self, Transport};
use model::{Mac, Timestamp};

use crate::dispatch::NameId;
use crate::links::LinkId;
use crate::streams::Watch;

/// Index of a flow in [`Flows`].
pub(crate) type FlowId = u32;

/// A TCP connection without packets for this long is over.
const TCP_IDLE_NANOS: i64 = 3_600_000_000_000;
/// A TCP connection that both ends closed, or one reset, is over this long after its last packet: the time that late ones take (RFC 9293, 3.4.2).
const CLOSED_IDLE_NANOS: i64 = 120_000_000_000;
/// A datagram exchange without packets for this long is over.
const UDP_IDLE_NANOS: i64 = 120_000_000_000;
/// The table is swept when it has grown past this, and past twice what the last sweep left.
const SWEEP_AT_MIN: usize = 256;

/// Both ends of a conversation, in an order that does not depend on who sends.
///
/// Hashed and compared word by word: once per packet, so not through slices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key([u64; 5]);

/// Marks keys of more than three words in the third.
const LONG: u64 = 1 << 63;

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let ([a, b, c, d, e], [v, w, x, y, z]) = (self.0, other.0);
        (a ^ v) | (b ^ w) | (c ^ x) | (d ^ y) | (e ^ z) == 0
    }
}

impl Eq for Key {}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, tail, rest @ ..] = self.0;
        [a, b, tail].into_iter().for_each(|word| state.write_u64(word));
        if tail & LONG != 0 {
            rest.into_iter().for_each(|word| state.write_u64(word));
        }
    }
}

impl Key {
    /// The key, and whether `src` is its first end.
    #[inline]
    pub(crate) fn new(src: (IpAddr, u16), dst: (IpAddr, u16), protocol: u8) -> (Self, bool) {
        // Both ends of IPv4 have room in a word each.
        if let ((IpAddr::V4(s), from), (IpAddr::V4(d), to)) = (src, dst) {
            return Self::v4((s, from), (d, to), protocol);
        }
        let (s, d) = (bits(src.0), bits(dst.0));
        let forward = (s, src.1) <= (d, dst.1);
        let (a, b, ports) = if forward { (s, d, (src.1, dst.1)) } else { (d, s, (dst.1, src.1)) };
        let tail = u64::from(ports.0) << 32 | u64::from(ports.1) << 16 | u64::from(protocol);
        (Self([a.0, a.1, tail | LONG, b.0, b.1]), forward)
    }

    /// The same, of IPv4.
    #[inline]
    pub(crate) fn v4(src: (Ipv4Addr, u16), dst: (Ipv4Addr, u16), protocol: u8) -> (Self, bool) {
        let end = |(ip, port): (Ipv4Addr, u16)| u64::from(u32::from(ip)) << 16 | u64::from(port);
        let (s, d) = (end(src), end(dst));
        (Self([s.min(d), s.max(d), u64::from(protocol), 0, 0]), s <= d)
    }
}

#[inline]
fn bits(ip: IpAddr) -> (u64, u64) {
    match ip {
        IpAddr::V4(v4) => (0, u64::from(u32::from(v4))),
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.segments().map(u64::from);
            (a << 48 | b << 32 | c << 16 | d, e << 48 | f << 32 | g << 16 | h)
        }
    }
}

/// One end of a conversation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) link: LinkId,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    pub(crate) mac: Mac,
}

/// Packets and bytes of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Volume {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) hop_limit: u8,
    pub(crate) data: bool,
    /// Nothing more comes, says TCP.
    pub(crate) closed: bool,
}

/// Numbers kept for dissectors: a list that most conversations do not have.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "one word instead of three in every conversation")]
pub(crate) struct Memory(Option<Box<Vec<(u64, u64)>>>);

impl Memory {
    pub(crate) fn take(&mut self) -> Vec<(u64, u64)> {
        self.0.as_deref_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn put(&mut self, list: Vec<(u64, u64)>) {
        match &mut self.0 {
            Some(place) => **place = list,
            None if list.is_empty() => {}
            None => self.0 = Some(Box::new(list)),
        }
    }
}

/// One conversation.
#[derive(Debug)]
pub(crate) struct Flow {
    key: Key,
    pub(crate) transport: Transport,
    pub(crate) client: End,
    pub(crate) server: End,
    /// The client is the first end of the key.
    client_first: bool,
    pub(crate) roles_certain: bool,
    pub(crate) to_group: bool,
    pub(crate) synack: bool,
    pub(crate) syn: bool,
    pub(crate) reset: bool,
    /// It was told of while it went on: `volume` is what came after that.
    told: bool,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// From the client, from the server.
    pub(crate) volume: [Volume; 2],
    pub(crate) application: NameId,
    /// Dissections of this conversation that found nothing.
    pub(crate) misses: u8,
    pub(crate) server_name: Option<Arc<str>>,
    /// Byte streams being read, if any.
    pub(crate) watch: Option<Box<Watch>>,
    /// Nothing more will be read from its byte streams.
    pub(crate) read: bool,
    /// Numbers kept for dissectors.
    pub(crate) memory: Memory,
    pub(crate) input: u16,
    pub(crate) packet: u64,
}

impl Flow {
    pub(crate) const fn role(&self, from_client: bool) -> Role {
        if !self.roles_certain {
            Role::Unknown
        } else if from_client {
            Role::Client
        } else {
            Role::Server
        }
    }

    /// Counts a packet of one of the ends.
    #[inline(always)]
    pub(crate) fn count(&mut self, from_client: bool, at: Timestamp, bytes: u64, hop_limit: u8) {
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        let volume = self.sent(from_client);
        volume.packets += 1;
        volume.bytes += bytes;
        volume.hop_limit = volume.hop_limit.max(hop_limit);
    }

    /// What one of the ends sent.
    #[inline(always)]
    pub(crate) const fn sent(&mut self, from_client: bool) -> &mut Volume {
        let [out, back] = &mut self.volume;
        if from_client { out } else { back }
    }

    /// Swaps the ends: the other side turned out to be the server.
    pub(crate) const fn swap_roles(&mut self) {
        std::mem::swap(&mut self.client, &mut self.server);
        let [a, b] = self.volume;
        self.volume = [b, a];
        self.client_first = !self.client_first;
    }

    /// What is left to tell of it, once it is over.
    fn end(&mut self) -> Option<(Part, Course)> {
        let course = if self.established() {
            Course::Established
        } else {
            let [out, back] = self.volume;
            let attempt = match self.transport {
                Transport::Tcp => self.syn && !out.data,
                Transport::Udp | Transport::Icmp => out.packets <= 3 && back.packets == 0,
                _ => false,
            };
            if attempt { Course::Attempted } else { Course::OneSided }
        };
        self.part().map(|part| (part, course))
    }

    /// What it carried since it was told of last; `None`: nothing.
    fn part(&mut self) -> Option<Part> {
        let volume = self.volume;
        if volume.iter().all(|way| way.packets == 0) {
            return None;
        }
        for way in &mut self.volume {
            (way.packets, way.bytes) = (0, 0);
        }
        let flows = u64::from(!std::mem::replace(&mut self.told, true));
        Some(Part {
            transport: self.transport,
            client: self.client,
            server: self.server,
            roles_certain: self.roles_certain,
            first: self.first,
            last: self.last,
            flows,
            volume,
            application: self.application,
            server_name: self.server_name.clone(),
            input: self.input,
            packet: self.packet,
        })
    }

    /// The server accepted or answered.
    pub(crate) const fn established(&self) -> bool {
        let [out, back] = self.volume;
        if self.to_group || self.told {
            return true;
        }
        match self.transport {
            // A handshake alone may be a port scan; without one, data must have flowed.
            Transport::Tcp if self.syn => {
                self.synack && out.packets > 1 && !(self.reset && !out.data && !back.data)
            }
            Transport::Tcp => out.packets > 0 && back.packets > 0 && (out.data || back.data),
            _ => out.packets > 0 && back.packets > 0,
        }
    }
}

/// Where a conversation is, with half the digest of its key. The key itself stands in the conversation, which is looked at in any case: a table
/// of small places stays in the processor's cache far longer.
#[derive(Clone, Copy, Debug)]
struct Place {
    tag: u32,
    id: FlowId,
}

impl Place {
    /// What the table goes by. Its upper bits and its lower ones are both looked at.
    #[inline]
    fn digest(tag: u32) -> u64 {
        u64::from(tag) << 32 | u64::from(tag)
    }
}

/// The flow table.
#[derive(Debug)]
pub(crate) struct Flows {
    by_key: HashTable<Place>,
    /// Other digests in each process: who sends does not know which addresses and ports fall together.
    hasher: RandomState,
    slots: Vec<Option<Flow>>,
    free: Vec<FlowId>,
    sweep_at: usize,
    /// The conversation of the packet before: the next packet is often of the same one.
    last: FlowId,
    /// Conversations not tracked because the table is full of live ones.
    pub(crate) refused: u64,
}

impl Flows {
    pub(crate) fn new() -> Self {
        Self {
            by_key: HashTable::new(),
            hasher: RandomState::default(),
            slots: Vec::new(),
            free: Vec::new(),
            sweep_at: SWEEP_AT_MIN,
            last: FlowId::MAX,
            refused: 0,
        }
    }

    #[inline]
    pub(crate) fn find(&mut self, key: Key) -> Option<FlowId> {
        if !self.has(self.last, key) {
            let tag = self.tag(key);
            let is_it = |place: &Place| place.tag == tag && self.has(place.id, key);
            self.last = self.by_key.find(Place::digest(tag), is_it)?.id;
        }
        Some(self.last)
    }

    #[inline]
    fn tag(&self, key: Key) -> u32 {
        let digest = self.hasher.hash_one(key);
        #[expect(clippy::cast_possible_truncation, reason = "both halves are in it")]
        let tag = (digest ^ digest >> 32) as u32;
        tag
    }

    #[inline]
    fn has(&self, id: FlowId, key: Key) -> bool {
        let flow = self.slots.get(id as usize).and_then(Option::as_ref);
        flow.is_some_and(|flow| flow.key == key)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.slots.get_mut(id as usize)?.as_mut()
    }

    /// Adds a conversation opened by `client`; `None` when the table is full.
    pub(crate) fn add(&mut self, key: Key, new: New) -> Option<FlowId> {
        if self.by_key.len() >= FLOWS_MAX {
            self.refused += 1;
            return None;
        }
        let id = self.free.pop().map_or_else(
            || {
                self.slots.push(None);
                FlowId::try_from(self.slots.len() - 1)
            },
            Ok,
        );
        let id = id.ok()?;
        *self.slots.get_mut(id as usize)? = Some(Flow {
            key,
            transport: new.transport,
            client: new.client,
            server: new.server,
            client_first: new.client_first,
            roles_certain: new.roles_certain,
            to_group: new.to_group,
            synack: false,
            syn: false,
            reset: false,
            told: false,
            first: new.at,
            last: new.at,
            volume: [Volume::default(); 2],
            application: 0,
            misses: 0,
            server_name: None,
            watch: None,
            read: false,
            memory: Memory::default(),
            input: new.input,
            packet: new.packet,
        });
        let tag = self.tag(key);
        let digest = |place: &Place| Place::digest(place.tag);
        self.by_key.insert_unique(digest(&Place { tag, id }), Place { tag, id }, digest);
        self.last = id;
        Some(id)
    }

    /// What established conversations carried since they were told of last; they go on.
    pub(crate) fn carried(&mut self) -> Vec<Part> {
        let open = self.slots.iter_mut().flatten();
        open.filter(|flow| flow.established()).filter_map(Flow::part).collect()
    }

    /// Takes a conversation that is over out of the table; says what is left to tell of it.
    pub(crate) fn end(&mut self, id: FlowId) -> Option<(Part, Course)> {
        let slot = self.slots.get_mut(id as usize)?;
        let flow = slot.as_mut()?;
        let (key, told) = (flow.key, flow.end());
        *slot = None;
        let tag = self.tag(key);
        if let Ok(place) = self.by_key.find_entry(Place::digest(tag), |place| place.id == id) {
            place.remove();
        }
        self.free.push(id);
        told
    }

    /// Whether it is time to look for conversations that are over.
    #[inline]
    pub(crate) fn wants_sweep(&self) -> bool {
        self.by_key.len() >= self.sweep_at
    }

    /// The conversations that are over at `now`.
    pub(crate) fn over(&self, now: Timestamp) -> Vec<FlowId> {
        let over = |flow: &Flow| {
            let idle = match flow.transport {
                Transport::Tcp if flow.volume.iter().all(|way| way.closed) => CLOSED_IDLE_NANOS,
                Transport::Tcp => TCP_IDLE_NANOS,
                _ => UDP_IDLE_NANOS,
            };
            now.as_nanos().saturating_sub(flow.last.as_nanos()) > idle
        };
        let gone: Vec<FlowId> = (0..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.as_ref().is_some_and(over))
            .map(|(id, _)| id)
            .collect();
        if self.by_key.len() - gone.len() < FLOWS_MAX / 2 {
            return gone;
        }
        // Still too full of conversations that may live: the older half goes.
        let mut ages: Vec<(Timestamp, FlowId)> = (0..)
            .zip(&self.slots)
            .filter_map(|(id, slot)| slot.as_ref().map(|f| (f.last, id)))
            .collect();
        let half = ages.len() / 2;
        ages.select_nth_unstable(half);
        ages.into_iter().take(half).map(|(_, id)| id).collect()
    }

    /// Ends all conversations; hands over what is left to tell of them.
    pub(crate) fn end_all(&mut self, take: &mut dyn FnMut(Part, Course)) {
        for (part, course) in self.slots.iter_mut().flatten().filter_map(Flow::end) {
            take(part, course);
        }
        *self = Self { refused: self.refused, ..Self::new() };
    }

    /// Says when to sweep next, once those that are over were taken out.
    pub(crate) fn swept(&mut self) {
        let used = self.slots.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.slots.truncate(used);
        self.free.retain(|id| (*id as usize) < used);
        if self.slots.capacity() / 4 > used {
            self.slots.shrink_to(used * 2);
        }
        let open = self.by_key.len().max(SWEEP_AT_MIN);
        if self.by_key.capacity() / 8 > open {
            self.by_key.shrink_to(open * 2, |place| Place::digest(place.tag));
        }
        // A sweep looks at all places, also at those that a flood left behind: not more than eight for each conversation that began.
        self.sweep_at = (self.by_key.len() * 2).max(used / 8).max(SWEEP_AT_MIN);
    }

    /// Whether the sender of a packet is the flow's client.
    #[inline]
    pub(crate) const fn from_client(flow: &Flow, forward: bool) -> bool {
        flow.client_first == forward
    }
}

/// How a conversation went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// The server accepted or answered.
    Established,
    /// The client asked, and that was all.
    Attempted,
    /// Something else that is no path: the middle of a connection of which one side is seen, a refusal.
    OneSided,
}

/// What a conversation carried in some time.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) transport: Transport,
    pub(crate) client: End,
    pub(crate) server: End,
    pub(crate) roles_certain: bool,
    /// First packet of the whole conversation.
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// 1 when nothing was told of the conversation before, else 0.
    pub(crate) flows: u64,
    pub(crate) volume: [Volume; 2],
    pub(crate) application: NameId,
    pub(crate) server_name: Option<Arc<str>>,
    pub(crate) input: u16,
    pub(crate) packet: u64,
}

/// What a new conversation starts with.
#[derive(Debug)]
pub(crate) struct New {
    pub(crate) transport: Transport,
    pub(crate) client: End,
    pub(crate) server: End,
    pub(crate) client_first: bool,
    pub(crate) roles_certain: bool,
    pub(crate) to_group: bool,
    pub(crate) at: Timestamp,
    pub(crate) input: u16,
    pub(crate) packet: u64,
}

/// What conversations are summed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Path {
    pub(crate) client: (LinkId, Option<IpAddr>),
    pub(crate) server: (u64, Option<IpAddr>),
    pub(crate) transport: Transport,
    pub(crate) port: u16,
    pub(crate) established: bool,
}

/// A sum of conversations, with where the first was seen.
#[derive(Debug)]
pub(crate) struct Summed {
    pub(crate) flow: observation::Flow,
    pub(crate) input: u16,
    pub(crate) packet: u64,
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn key(number: u32) -> Key {
        let [a, b, c, d] = number.to_be_bytes();
        let port = u16::from_be_bytes([c, d]);
        Key::new(([10, 0, a, b].into(), port), ([10, 9, 9, 9].into(), 502), 6).0
    }

    fn new(number: u32) -> New {
        let end =
            |link| End { link, ip: [10, 0, 0, 1].into(), port: 1, mac: Mac([0, 0, 0, 0, 0, 1]) };
        New {
            transport: Transport::Tcp,
            client: end(1),
            server: end(2),
            client_first: true,
            roles_certain: true,
            to_group: false,
            at: Timestamp::EPOCH,
            input: 0,
            packet: u64::from(number),
        }
    }

    /// Adds a conversation of one packet.
    fn add(flows: &mut Flows, number: u32) -> FlowId {
        let id = flows.add(key(number), new(number)).unwrap();
        flows.get_mut(id).unwrap().count(true, Timestamp::EPOCH, 60, 64);
        id
    }

    /// Ends a conversation; the number that it was added with.
    fn ended(flows: &mut Flows, id: FlowId) -> Option<u64> {
        flows.end(id).map(|(part, _)| part.packet)
    }

    /// The number that a conversation was added with.
    fn number(flows: &mut Flows, number: u32) -> Option<u64> {
        let id = flows.find(key(number))?;
        flows.get_mut(id).map(|flow| flow.packet)
    }

    #[test]
    fn two_keys_with_one_tag_are_two_conversations() {
        let mut flows = Flows::new();
        let mut tags: HashMap<u32, u32> = HashMap::new();
        let tag = |n| flows.tag(key(n));
        let mut alike = (0..=u32::MAX).filter_map(|n| Some((tags.insert(tag(n), n)?, n)));
        let (one, other) = alike.next().unwrap();
        let id = add(&mut flows, one);
        assert_eq!(number(&mut flows, other), None);
        add(&mut flows, other);
        for n in [one, other, one] {
            assert_eq!(number(&mut flows, n), Some(u64::from(n)));
        }
        assert_eq!(ended(&mut flows, id), Some(u64::from(one)));
        assert_eq!(number(&mut flows, one), None);
        assert_eq!(number(&mut flows, other), Some(u64::from(other)));
    }

    #[test]
    fn a_flood_that_is_over_leaves_no_room_behind() {
        let mut flows = Flows::new();
        let ids: Vec<FlowId> = (0..20_000).map(|n| add(&mut flows, n)).collect();
        assert!(flows.wants_sweep());
        let [kept, last] = [ids[3], ids[19_999]];
        for id in ids.into_iter().filter(|id| ![kept, last].contains(id)) {
            flows.end(id);
        }
        flows.swept();
        assert_eq!(flows.sweep_at, 20_000 / 8, "places are looked at, also where nothing is");
        flows.end(last);
        flows.swept();
        assert_eq!((flows.slots.len(), flows.sweep_at), (4, SWEEP_AT_MIN));
        assert!(flows.slots.capacity() < 100);
        assert!(flows.by_key.capacity() < 1_000);
        assert_eq!(number(&mut flows, 3), Some(3));
        let again = [7, 8, 9, 10].map(|n| add(&mut flows, n));
        assert_eq!(again.map(|id| id as usize).into_iter().max(), Some(4));
        assert_eq!([3, 7, 8, 9, 10].map(|n| number(&mut flows, n)), [3, 7, 8, 9, 10].map(Some));
    }

    #[test]
    fn a_closed_connection_is_over_sooner() {
        let mut flows = Flows::new();
        let ids = [add(&mut flows, 1), add(&mut flows, 2), add(&mut flows, 3)];
        let [open, half, closed] = ids;
        flows.get_mut(half).unwrap().volume[0].closed = true;
        flows.get_mut(closed).unwrap().volume.iter_mut().for_each(|way| way.closed = true);
        let over = |secs| flows.over(Timestamp::from_secs(secs, 0));
        assert_eq!(over(120), []);
        assert_eq!(over(121), [closed]);
        assert_eq!(over(3_600), [closed]);
        assert_eq!(over(3_601), [open, half, closed]);
    }

    proptest! {
        #[test]
        fn the_table_holds_what_was_added_and_not_removed(
            steps in prop::collection::vec((0..3_u8, 0..40_u32), 0..400),
        ) {
            let (mut flows, mut held) = (Flows::new(), HashMap::new());
            for (step, n) in steps {
                match (step, held.get(&n)) {
                    (0, None) => {
                        held.insert(n, add(&mut flows, n));
                    }
                    (1, Some(id)) => {
                        prop_assert_eq!(ended(&mut flows, *id), Some(u64::from(n)));
                        held.remove(&n);
                    }
                    (_, id) => prop_assert_eq!(flows.find(key(n)), id.copied()),
                }
            }
            let mut all = Vec::new();
            flows.end_all(&mut |part, _| all.push(part.packet));
            all.sort_unstable();
            let mut expected: Vec<u64> = held.into_keys().map(u64::from).collect();
            expected.sort_unstable();
            prop_assert_eq!(all, expected);
            prop_assert_eq!(flows.find(key(0)), None);
        }
    }
}
