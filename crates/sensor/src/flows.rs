//! Conversations: who talks to whom, at which port, and who called.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use dissect::Role;
use model::limits::FLOWS_MAX;
use model::observation::{self, Transport};
use model::{Mac, Timestamp};
use rustc_hash::FxHashMap;

use crate::dispatch::NameId;
use crate::links::LinkId;
use crate::streams::Watch;

/// Index of a flow in [`Flows`].
pub(crate) type FlowId = u32;

/// A TCP connection without packets for this long is over.
const TCP_IDLE_NANOS: i64 = 3_600_000_000_000;
/// A datagram exchange without packets for this long is over.
const UDP_IDLE_NANOS: i64 = 120_000_000_000;
/// The table is swept when it has grown past this, and past twice what the last sweep left.
const SWEEP_AT_MIN: usize = 65_536;

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
            let end = |ip: Ipv4Addr, port: u16| u64::from(u32::from(ip)) << 16 | u64::from(port);
            let (s, d) = (end(s, from), end(d, to));
            return (Self([s.min(d), s.max(d), u64::from(protocol), 0, 0]), s <= d);
        }
        let (s, d) = (bits(src.0), bits(dst.0));
        let forward = (s, src.1) <= (d, dst.1);
        let (a, b, ports) = if forward { (s, d, (src.1, dst.1)) } else { (d, s, (dst.1, src.1)) };
        let tail = u64::from(ports.0) << 32 | u64::from(ports.1) << 16 | u64::from(protocol);
        (Self([a.0, a.1, tail | LONG, b.0, b.1]), forward)
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

    /// Swaps the ends: the other side turned out to be the server.
    pub(crate) const fn swap_roles(&mut self) {
        std::mem::swap(&mut self.client, &mut self.server);
        let [a, b] = self.volume;
        self.volume = [b, a];
        self.client_first = !self.client_first;
    }

    /// What it carried since it was told of last; `None`: nothing.
    pub(crate) fn part(&mut self) -> Option<Part> {
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

/// The flow table.
#[derive(Debug)]
pub(crate) struct Flows {
    by_key: FxHashMap<Key, FlowId>,
    slots: Vec<Option<Flow>>,
    free: Vec<FlowId>,
    sweep_at: usize,
    last: Option<(Key, FlowId)>,
    /// Conversations not tracked because the table is full of live ones.
    pub(crate) refused: u64,
}

impl Flows {
    pub(crate) fn new() -> Self {
        Self {
            by_key: FxHashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            sweep_at: SWEEP_AT_MIN,
            last: None,
            refused: 0,
        }
    }

    #[inline]
    pub(crate) fn find(&self, key: Key) -> Option<FlowId> {
        match self.last {
            Some((last, id)) if last == key => Some(id),
            _ => self.by_key.get(&key).copied(),
        }
    }

    /// Remembers the flow of the packet at hand: the next packet is often of the same one.
    #[inline]
    pub(crate) const fn touch(&mut self, key: Key, id: FlowId) {
        self.last = Some((key, id));
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
        let flow = Flow {
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
        };
        let id = match self.free.pop() {
            Some(id) => {
                *self.slots.get_mut(id as usize)? = Some(flow);
                id
            }
            None => {
                self.slots.push(Some(flow));
                FlowId::try_from(self.slots.len() - 1).ok()?
            }
        };
        self.by_key.insert(key, id);
        self.last = Some((key, id));
        Some(id)
    }

    /// What established conversations carried since they were told of last; they go on.
    pub(crate) fn carried(&mut self) -> Vec<Part> {
        let open = self.slots.iter_mut().flatten();
        open.filter(|flow| flow.established()).filter_map(Flow::part).collect()
    }

    /// Takes a conversation out of the table.
    pub(crate) fn remove(&mut self, id: FlowId) -> Option<Flow> {
        let flow = self.slots.get_mut(id as usize)?.take()?;
        self.by_key.remove(&flow.key);
        self.free.push(id);
        self.last = None;
        Some(flow)
    }

    /// Whether it is time to look for conversations that are over.
    #[inline]
    pub(crate) fn wants_sweep(&self) -> bool {
        self.by_key.len() >= self.sweep_at
    }

    /// The conversations that are over at `now`; all of them at [`Timestamp::MAX`].
    pub(crate) fn over(&self, now: Timestamp) -> Vec<FlowId> {
        let over = |flow: &Flow| {
            let idle = match flow.transport {
                Transport::Tcp => TCP_IDLE_NANOS,
                _ => UDP_IDLE_NANOS,
            };
            now.as_nanos().saturating_sub(flow.last.as_nanos()) > idle
        };
        let gone: Vec<FlowId> = (0..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.as_ref().is_some_and(|f| now == Timestamp::MAX || over(f)))
            .map(|(id, _)| id)
            .collect();
        if now == Timestamp::MAX || self.by_key.len() - gone.len() < FLOWS_MAX / 2 {
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

    /// Says when to sweep next, once those that are over were taken out.
    pub(crate) fn swept(&mut self) {
        if self.by_key.is_empty() {
            *self = Self { refused: self.refused, ..Self::new() };
        }
        self.sweep_at = (self.by_key.len() * 2).max(SWEEP_AT_MIN);
    }

    /// Whether the sender of a packet is the flow's client.
    #[inline]
    pub(crate) const fn from_client(flow: &Flow, forward: bool) -> bool {
        flow.client_first == forward
    }
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
