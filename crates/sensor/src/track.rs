//! The sensor itself: every packet passes through here once.

mod known;
mod messages;
mod sums;

use std::net::IpAddr;

use dissect::frame::{self, Body, Ip, Packet, Tcp};
use dissect::registry::LinkKey;
use dissect::{Endpoint, Role};
use model::limits::DEPTH_MAX;
use model::observation::{self, EventKind, Observation, Subject, Transport};
use model::{Mac, SensorId, SiteId, Timestamp};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::dispatch::Dispatch;
use crate::flows::{End, FlowId, Flows, Key, New, Path, Summed};
use crate::fragments::Fragments;
use crate::links::{LinkId, Links, Station};
use crate::recent::Recent;
use crate::report::{Moment, Report, Side};
use crate::suspicion::Suspicion;

/// Messages already read that are remembered.
const REPEATS: usize = 1 << 14;
/// Hosts remembered to be alive because they answered ARP.
const ALIVE_MAX: usize = 65_536;

/// Who the sensor is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it stands.
    pub site: SiteId,
    /// Its name.
    pub sensor: SensorId,
}

/// One captured frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Number of the input, from [`Sensor::input`].
    pub input: u16,
    /// Number of the packet in its input, from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Link type (LINKTYPE registry).
    pub link: u32,
    /// Bytes on the wire, of which `data` may be a part.
    pub wire_len: u32,
    /// VLAN id where the kernel took the tag off.
    pub vlan: Option<u16>,
    /// The bytes captured.
    pub data: &'a [u8],
}

/// What the sensor counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets taken.
    pub packets: u64,
    /// Frames whose link or network layer made no sense.
    pub malformed: u64,
    /// Link addresses, conversations, facts and fragments not tracked because a table was full.
    pub refused: u64,
    /// First packet.
    pub first: Timestamp,
    /// Last packet.
    pub last: Timestamp,
}

/// Follows links, conversations and byte streams, and reports what they say.
#[derive(Debug)]
pub struct Sensor {
    dispatch: Dispatch,
    links: Links,
    flows: Flows,
    fragments: Fragments,
    suspicion: Suspicion,
    report: Report,
    paths: FxHashMap<Path, Summed>,
    repeats: Recent,
    alive: FxHashSet<IpAddr>,
    totals: Totals,
}

impl Sensor {
    /// A sensor that has seen nothing.
    pub fn new(config: Config) -> Self {
        Self {
            dispatch: Dispatch::new(),
            links: Links::new(),
            flows: Flows::new(),
            fragments: Fragments::default(),
            suspicion: Suspicion::default(),
            report: Report::new(config.site, config.sensor),
            paths: FxHashMap::default(),
            repeats: Recent::new(REPEATS),
            alive: FxHashSet::default(),
            totals: Totals { first: Timestamp::MAX, last: Timestamp::MIN, ..Totals::default() },
        }
    }

    /// Registers a file or interface by name; frames refer to it by the number returned.
    pub fn input(&mut self, name: &str) -> u16 {
        self.report.input(name)
    }

    /// Takes one frame.
    #[inline]
    pub fn frame(&mut self, frame: &Frame<'_>) {
        let moment = self.count(frame);
        if !self.goes_on(&moment, frame) {
            self.read(&moment, frame);
        }
    }

    #[inline]
    fn count(&mut self, frame: &Frame<'_>) -> Moment {
        self.totals.packets += 1;
        self.totals.first = self.totals.first.min(frame.at);
        self.totals.last = self.totals.last.max(frame.at);
        Moment { input: frame.input, packet: frame.number, at: frame.at }
    }

    /// Takes a frame, whatever it is.
    fn read(&mut self, moment: &Moment, frame: &Frame<'_>) {
        match &mut frame::parse(frame.link, frame.data) {
            Ok(packet) => {
                packet.vlan = packet.vlan.or(frame.vlan);
                self.packet(moment, packet, u64::from(frame.wire_len), 0);
            }
            Err(_) => self.broken(frame),
        }
        if self.flows.wants_sweep() {
            self.sweep(frame.at);
        }
    }

    /// Whether [`Self::drain`] has any: most packets are no news.
    #[inline]
    pub const fn has_news(&self) -> bool {
        !self.report.out.is_empty()
    }

    /// Observations made since the last call.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Observation> {
        self.report.out.drain(..)
    }

    /// Counts so far.
    pub const fn totals(&self) -> Totals {
        let mut totals = self.totals;
        totals.refused =
            self.links.refused + self.flows.refused + self.report.refused + self.fragments.dropped;
        totals
    }

    /// Reports the paths that were used since the last call, while their conversations go on: what a sensor that does not end tells of
    /// traffic. The first packet it names is that of the whole conversation.
    pub fn traffic(&mut self, take: &mut dyn FnMut(Observation)) {
        for part in self.flows.carried() {
            self.settle(part);
        }
        self.report_paths(take);
    }

    /// Ends all conversations and reports what is only known in sum: traffic, paths, floods. There
    /// is one such observation for every path and address, so they are handed over as they are made.
    pub fn finish(&mut self, take: &mut dyn FnMut(Observation)) {
        let mut flows = std::mem::replace(&mut self.flows, Flows::new());
        flows.end_all(&mut |part, course| self.conclude(part, course));
        self.flows = flows;
        self.report_paths(take);
        self.report_stations(take);
        self.report_links(take);
        self.report.out.drain(..).for_each(take);
    }

    /// A frame whose network layer makes no sense still shows who sent it.
    #[cold]
    fn broken(&mut self, frame: &Frame<'_>) {
        self.totals.malformed += 1;
        if frame.link == frame::link_type::ETHERNET
            && let Some((head, _)) = frame.data.split_first_chunk::<12>()
        {
            let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = *head;
            let packet = Packet {
                src: Mac([s0, s1, s2, s3, s4, s5]),
                dst: Mac([d0, d1, d2, d3, d4, d5]),
                vlan: frame.vlan,
                body: Body::Opaque,
            };
            self.links.sent(&packet, frame.at, u64::from(frame.wire_len));
        }
    }

    fn packet(&mut self, m: &Moment, packet: &Packet<'_>, bytes: u64, depth: usize) {
        let src = self.links.sent(packet, m.at, bytes);
        match &packet.body {
            Body::Ip(ip) => self.ip(m, packet, ip, src, bytes, depth),
            Body::Link { key, payload } => self.link(m, packet, src, *key, payload, bytes),
            Body::Opaque => {}
        }
    }

    #[inline]
    fn ip(
        &mut self,
        m: &Moment,
        packet: &Packet<'_>,
        ip: &Ip<'_>,
        src: LinkId,
        bytes: u64,
        depth: usize,
    ) {
        match ip.transport {
            frame::Transport::Tcp(tcp) => self.tcp(m, packet, ip, &tcp, src, bytes),
            frame::Transport::Udp { src: from, dst: to, payload } => {
                self.udp(m, packet, ip, (from, to, payload), src, bytes);
                if let Some(inner) = frame::tunnelled(ip) {
                    self.tunnel(m, packet, ip, inner, (src, bytes, depth));
                }
            }
            frame::Transport::Other { protocol, payload } => {
                if let Some(place) = ip.fragment {
                    let ends = (ip.src, ip.dst, protocol);
                    let Some(whole) = self.fragments.take(ends, place, payload, m.at) else {
                        return;
                    };
                    if depth < DEPTH_MAX {
                        let transport = frame::parse_transport(protocol, &whole);
                        let ip = Ip { fragment: None, transport, ..*ip };
                        self.ip(m, packet, &ip, src, bytes, depth + 1);
                    }
                    return;
                }
                self.other_ip(m, packet, ip, (protocol, payload), src, bytes);
                if let Some(inner) = frame::tunnelled(ip) {
                    self.tunnel(m, packet, ip, inner, (src, bytes, depth));
                }
            }
        }
    }

    /// Follows a frame carried inside a packet.
    #[cold]
    fn tunnel(
        &mut self,
        m: &Moment,
        packet: &Packet<'_>,
        ip: &Ip<'_>,
        inner: frame::Tunnelled<'_>,
        (src, bytes, depth): (LinkId, u64, usize),
    ) {
        if depth >= 4 {
            return;
        }
        let Ok(carried) = frame::parse(inner.link, inner.data) else { return };
        if inner.behind_sender && carried.src.is_unicast() && carried.src != packet.src {
            let parent = Subject::Link { mac: packet.src, ip: Some(ip.src) };
            if self.report.first_time((carried.src, src, inner.via)) {
                let via = self.report.intern(inner.via);
                let subject = Subject::Link { mac: carried.src, ip: None };
                let fact = observation::Fact::Behind { parent: Box::new(parent), via };
                self.report.push(*m, 1, subject, fact);
            }
        }
        self.packet(m, &carried, bytes, depth + 1);
    }

    /// A protocol directly on the link layer.
    fn link(
        &mut self,
        m: &Moment,
        packet: &Packet<'_>,
        src: LinkId,
        key: LinkKey,
        payload: &[u8],
        bytes: u64,
    ) {
        if key == LinkKey::EtherType(0x0806) {
            self.arp(m, packet, src, payload);
        }
        let mut application = 0;
        if let Some((name, dissector)) = self.dispatch.frame(key)
            && !self.repeated(m, src, 0, payload)
        {
            let ends = (
                side(src, packet.src, None, 0),
                side(self.links.find(packet.dst), packet.dst, None, 0),
            );
            let outcome =
                self.show(m, ends, Role::Unknown, &mut None, &mut Vec::new(), |ctx, desk| {
                    (dissector.run)(payload, ctx, desk)
                });
            if outcome.is_ok() {
                application = name;
            }
            self.speaks(src, application);
        }
        // Field buses on the link layer are paths; the housekeeping of links is not.
        if let LinkKey::EtherType(
            ethertype @ (0x8892 | 0x88b8..=0x88ba | 0x88a4 | 0x88ab | 0x88cd | 0x8988),
        ) = key
        {
            let path = Path {
                client: (src, None),
                server: (packet.dst.as_u64(), None),
                transport: Transport::Link,
                port: ethertype,
                established: true,
            };
            let flow = observation::Flow {
                server_mac: packet.dst,
                client_ip: None,
                server_ip: None,
                transport: Transport::Link,
                port: ethertype,
                application: None,
                server_name: None,
                first: m.at,
                last: m.at,
                flows: 1,
                packets_out: 1,
                packets_in: 0,
                bytes_out: bytes,
                bytes_in: 0,
                established: true,
                roles_certain: false,
            };
            self.sum(path, flow, application, m.input, m.packet);
        }
    }

    /// Who asks for many addresses that nobody owns.
    fn arp(&mut self, m: &Moment, packet: &Packet<'_>, src: LinkId, payload: &[u8]) {
        let address = |at: usize| {
            payload.get(at..at + 4).and_then(|b| <[u8; 4]>::try_from(b).ok()).map(IpAddr::from)
        };
        let (Some(sender), Some(target)) = (address(14), address(24)) else { return };
        if self.alive.len() < ALIVE_MAX {
            self.alive.insert(sender);
        }
        let request = payload.get(7) == Some(&1);
        if request && sender != target && !self.alive.contains(&target) {
            let said = self.suspicion.unanswered(src, (target, 0), m.at, "ARP requests");
            self.scan(m, packet.src, said);
        }
    }

    fn scan(&mut self, m: &Moment, mac: Mac, said: Option<String>) {
        if let Some(detail) = said {
            let fact = observation::Fact::Event { kind: EventKind::Scan, detail: detail.into() };
            self.report.push(*m, 0, Subject::Link { mac, ip: None }, fact);
        }
    }

    /// An IP protocol without ports.
    fn other_ip(
        &mut self,
        m: &Moment,
        packet: &Packet<'_>,
        ip: &Ip<'_>,
        (protocol, payload): (u8, &[u8]),
        src: LinkId,
        bytes: u64,
    ) {
        let mut application = 0;
        if let Some((name, dissector)) = self.dispatch.frame(LinkKey::IpProtocol(protocol))
            && !self.repeated(m, src, u32::from(protocol), payload)
        {
            let ends = (
                side(src, packet.src, Some(ip.src), 0),
                side(self.links.find(packet.dst), packet.dst, Some(ip.dst), 0),
            );
            let outcome =
                self.show(m, ends, Role::Unknown, &mut None, &mut Vec::new(), |ctx, desk| {
                    (dissector.run)(payload, ctx, desk)
                });
            if outcome.is_ok() {
                application = name;
            }
            self.speaks(src, application);
        }
        let seen = Station { packets: 1, bytes, hop_limit: ip.ttl, ..Station::at(m.at) };
        let kind = payload.first().copied().unwrap_or(0);
        let (transport, port) = match (protocol, kind) {
            (1, 0 | 8) => (Transport::Icmp, 8),
            (58, 128 | 129) => (Transport::Icmp, 128),
            // Group membership, neighbour discovery and error reports are not paths.
            (1 | 2 | 58, _) => return self.links.station(src, ip.src, seen),
            _ => (Transport::Ip, u16::from(protocol)),
        };
        let reply = matches!((protocol, kind), (1, 0) | (58, 129));
        let Some((id, _)) =
            self.conversation(m, packet, ip, (0, 0), transport, src, bytes, true, !reply)
        else {
            return;
        };
        if let Some(flow) = self.flows.get_mut(id) {
            flow.server.port = port;
            flow.application = application.max(flow.application);
        }
    }

    #[inline]
    fn udp(
        &mut self,
        m: &Moment,
        packet: &Packet<'_>,
        ip: &Ip<'_>,
        (from, to, payload): (u16, u16, &[u8]),
        src: LinkId,
        bytes: u64,
    ) {
        let (at_src, at_dst) =
            (self.dispatch.udp_port_known(from), self.dispatch.udp_port_known(to));
        let group = packet.dst.is_group() || is_group(ip.dst);
        // The registered port is the server's; where that does not tell, who speaks first calls.
        let certain = group || at_src != at_dst;
        let calls = group || !at_src || at_dst;
        let Some((id, from_client)) = self.conversation(
            m,
            packet,
            ip,
            (from, to),
            Transport::Udp,
            src,
            bytes,
            certain,
            calls,
        ) else {
            return;
        };
        let ends = Ends::of(packet, ip, (from, to));
        self.datagram(m, id, from_client, (&ends, payload), src);
    }

    #[inline]
    fn tcp(
        &mut self,
        m: &Moment,
        packet: &Packet<'_>,
        ip: &Ip<'_>,
        tcp: &Tcp<'_>,
        src: LinkId,
        bytes: u64,
    ) {
        let opening = tcp.has(Tcp::SYN);
        let answering = opening && tcp.has(Tcp::ACK);
        let (certain, calls) = if opening {
            (true, !answering)
        } else {
            let known =
                (self.dispatch.tcp_port_known(tcp.src), self.dispatch.tcp_port_known(tcp.dst));
            match known {
                (true, false) => (false, false),
                (false, true) => (false, true),
                _ => (false, tcp.dst <= tcp.src),
            }
        };
        let Some((id, from_client)) = self.conversation(
            m,
            packet,
            ip,
            (tcp.src, tcp.dst),
            Transport::Tcp,
            src,
            bytes,
            certain,
            calls,
        ) else {
            return;
        };
        let Some(flow) = self.flows.get_mut(id) else { return };
        flow.synack |= answering;
        flow.syn |= opening && !answering;
        flow.reset |= tcp.has(Tcp::RST) && !from_client;
        let sent = flow.sent(from_client);
        sent.data |= !tcp.payload.is_empty();
        sent.closed |= tcp.has(Tcp::FIN);
        if tcp.has(Tcp::RST) {
            flow.volume.iter_mut().for_each(|way| way.closed = true);
        }
        if flow.read {
            return;
        }
        if opening {
            let watch = flow.watch.get_or_insert_default();
            if let Some(half) = watch.halves.get_mut(usize::from(!from_client)) {
                half.start(tcp.seq.wrapping_add(1));
            }
        }
        if !tcp.payload.is_empty() {
            let ends = Ends::of(packet, ip, (tcp.src, tcp.dst));
            self.segment(m, id, from_client, (&ends, tcp), src);
        }
    }

    /// Counts a packet for its conversation, beginning one where needed. `calls` says whether a
    /// sender that begins one is its client. Returns whether the sender is the client.
    #[expect(clippy::too_many_arguments, reason = "one call per packet; a struct would be copied")]
    #[inline]
    fn conversation(
        &mut self,
        m: &Moment,
        packet: &Packet<'_>,
        ip: &Ip<'_>,
        (from, to): (u16, u16),
        transport: Transport,
        src: LinkId,
        bytes: u64,
        certain: bool,
        calls: bool,
    ) -> Option<(FlowId, bool)> {
        let protocol = match transport {
            Transport::Tcp => 6,
            Transport::Udp => 17,
            _ => 1,
        };
        let (key, forward) = Key::new((ip.src, from), (ip.dst, to), protocol);
        let mut id = self.flows.find(key);
        // The same ports again, opened anew or by another device that got the address since.
        if let Some(old) = id
            && let Some(flow) = self.flows.get_mut(old)
        {
            let from_client = Flows::from_client(flow, forward);
            let end = if from_client { &flow.client } else { &flow.server };
            let other_device = end.link != 0 && end.link != src && from_client;
            let opened_anew = transport == Transport::Tcp
                && certain
                && calls
                && (flow.synack || flow.volume.iter().any(|v| v.data));
            if other_device || opened_anew {
                self.end(old);
                id = None;
            }
        }
        let id = match id {
            Some(id) => id,
            None => {
                let group = packet.dst.is_group() || is_group(ip.dst);
                let sender = End { link: src, ip: ip.src, port: from, mac: packet.src };
                let receiver = End { link: 0, ip: ip.dst, port: to, mac: packet.dst };
                let (client, server) = if calls { (sender, receiver) } else { (receiver, sender) };
                let seen = Station { hop_limit: ip.ttl, ..Station::at(m.at) };
                self.links.station(src, ip.src, seen);
                self.flows.add(
                    key,
                    New {
                        transport,
                        client,
                        server,
                        client_first: calls == forward,
                        roles_certain: certain,
                        to_group: group,
                        at: m.at,
                        input: m.input,
                        packet: m.packet,
                    },
                )?
            }
        };
        let flow = self.flows.get_mut(id)?;
        let mut from_client = Flows::from_client(flow, forward);
        // A handshake corrects a guess made from the middle of another connection.
        if certain && !flow.roles_certain && transport == Transport::Tcp {
            if calls != from_client {
                flow.swap_roles();
                from_client = calls;
            }
            flow.roles_certain = true;
        }
        let end = if from_client { &mut flow.client } else { &mut flow.server };
        end.link = src;
        end.mac = packet.src;
        flow.count(from_client, m.at, bytes, ip.ttl);
        Some((id, from_client))
    }
}

/// Sender and receiver of a packet, as it names them.
#[derive(Clone, Copy, Debug)]
struct Ends {
    link: (Mac, Mac),
    ip: (IpAddr, IpAddr),
    ports: (u16, u16),
}

impl Ends {
    const fn of(packet: &Packet<'_>, ip: &Ip<'_>, ports: (u16, u16)) -> Self {
        Self { link: (packet.src, packet.dst), ip: (ip.src, ip.dst), ports }
    }
}

const fn side(link: LinkId, mac: Mac, ip: Option<IpAddr>, port: u16) -> Side {
    Side { link, end: Endpoint { mac, ip, port } }
}

/// A multicast or limited-broadcast address.
fn is_group(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast(),
    }
}
