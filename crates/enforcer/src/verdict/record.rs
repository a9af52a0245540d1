//! One record of the kernel's log, read from bytes. Pure.

use std::net::{IpAddr, Ipv4Addr};

use dissect::Reader;
use dissect::frame::{Body, Transport as Layer, link_type, parse};
use model::observation::Transport;
use model::{Mac, Timestamp};

use crate::netlink::Message;
use crate::plan::Prefix;

/// `NFNL_SUBSYS_ULOG`.
pub(super) const SUBSYSTEM: u8 = 4;
/// `NFULNL_MSG_PACKET`.
const PACKET: u8 = 0;

const HEADER: u16 = 1;
const TIME: u16 = 3;
const IN: u16 = 4;
const OUT: u16 = 5;
const PHYSICAL_IN: u16 = 6;
const PHYSICAL_OUT: u16 = 7;
const SENDER: u16 = 8;
const PAYLOAD: u16 = 9;
const PREFIX: u16 = 10;
const NUMBER: u16 = 12;
const LINK_HEADER: u16 = 16;

const ARP: u16 = 0x0806;

/// What the kernel says about one packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Number among the records of this group, wrapping.
    pub number: Option<u32>,
    /// When, where the kernel says.
    pub at: Option<Timestamp>,
    /// Which rule logged it; `None` for rules that are not ours.
    pub prefix: Option<Prefix>,
    /// Interface it came in by: the port, for a bridge.
    pub interface_in: Option<u32>,
    /// Interface it would leave by: the port, for a bridge.
    pub interface_out: Option<u32>,
    /// Sender on the link.
    pub sender: Option<Mac>,
    /// Receiver on the link.
    pub receiver: Option<Mac>,
    /// EtherType.
    pub kind: u16,
    /// What its first bytes say; `None` when they make no sense.
    pub packet: Option<Packet>,
}

/// Addresses, ports and protocol of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Sender; `None` for frames that are not IP (except ARP, whose sender is the one it claims).
    pub from: Option<IpAddr>,
    /// Receiver.
    pub to: Option<IpAddr>,
    /// Transport.
    pub transport: Transport,
    /// IP protocol number; 0 for frames that are not IP.
    pub protocol: u8,
    /// Sender's port, where there are ports.
    pub from_port: Option<u16>,
    /// The number that policy knows the service by: port, ICMP type, IP protocol, EtherType.
    /// `None` where it was cut off, and in later fragments.
    pub port: Option<u16>,
}

impl Seen {
    /// Reads one message; `None` for what is no record.
    pub fn read(message: &Message<'_>) -> Option<Self> {
        if message.subsystem() != SUBSYSTEM || message.code() != PACKET {
            return None;
        }
        let (_, _, attributes) = message.netfilter()?;
        let number = |kind| attributes.get(kind).and_then(|a| a.be32());
        let link = |kind| number(kind).filter(|index| *index != 0);
        let kind = attributes.get(HEADER).and_then(|a| a.be16()).unwrap_or(0);
        let header = attributes.get(LINK_HEADER).map(|a| a.payload).and_then(link_header);
        let sender = attributes.get(SENDER).map(|a| a.payload).and_then(sender);
        let payload = attributes.get(PAYLOAD).map_or(&[][..], |a| a.payload);
        Some(Self {
            number: number(NUMBER),
            at: attributes.get(TIME).map(|a| a.payload).and_then(time),
            prefix: attributes.text(PREFIX).and_then(|text| text.parse().ok()),
            interface_in: link(PHYSICAL_IN).or_else(|| link(IN)),
            interface_out: link(PHYSICAL_OUT).or_else(|| link(OUT)),
            sender: sender.or(header.map(|(_, from)| from)),
            receiver: header.map(|(to, _)| to),
            kind,
            packet: packet(kind, payload),
        })
    }
}

/// `struct nfulnl_msg_packet_timestamp`: seconds and microseconds, big-endian.
fn time(payload: &[u8]) -> Option<Timestamp> {
    let mut r = Reader::new(payload);
    let seconds = i64::try_from(r.u64_be().ok()?).ok()?;
    let micros = i64::try_from(r.u64_be().ok()?).ok().filter(|us| *us < 1_000_000)?;
    Some(Timestamp::from_secs(seconds, micros * 1_000))
}

/// `struct nfulnl_msg_packet_hw`: length of the address, padding, eight bytes.
fn sender(payload: &[u8]) -> Option<Mac> {
    let mut r = Reader::new(payload);
    let length = r.u16_be().ok()?;
    r.skip(2).ok()?;
    (length == 6).then(|| r.array().ok().map(Mac)).flatten()
}

/// The Ethernet header, where the kernel kept one: receiver, sender.
fn link_header(payload: &[u8]) -> Option<(Mac, Mac)> {
    let mut r = Reader::new(payload);
    let (to, from) = (Mac(r.array().ok()?), Mac(r.array().ok()?));
    // Two bytes of EtherType make it Ethernet; other links have other lengths.
    (r.len() >= 2).then_some((to, from))
}

fn packet(kind: u16, payload: &[u8]) -> Option<Packet> {
    let link = Packet {
        from: None,
        to: None,
        transport: Transport::Link,
        protocol: 0,
        from_port: None,
        port: Some(kind),
    };
    match kind {
        0x0800 | 0x86dd => ip(payload),
        ARP => Some(arp(payload).map_or(link, |(from, to)| Packet {
            from: Some(IpAddr::V4(from)),
            to: Some(IpAddr::V4(to)),
            ..link
        })),
        0 => None,
        _ => Some(link),
    }
}

fn ip(payload: &[u8]) -> Option<Packet> {
    let [raw, ..] = link_type::RAW;
    let Body::Ip(ip) = parse(raw, payload).ok()?.body else {
        return None;
    };
    let whole = ip.fragment.is_none_or(|fragment| fragment.offset == 0);
    let (transport, protocol, from_port, port) = match ip.transport {
        Layer::Tcp(tcp) => (Transport::Tcp, 6, Some(tcp.src), Some(tcp.dst)),
        Layer::Udp { src, dst, .. } => (Transport::Udp, 17, Some(src), Some(dst)),
        // A first fragment has its ports; also a header that was cut short begins with them.
        Layer::Other { protocol: protocol @ (6 | 17), payload } => {
            let transport = if protocol == 6 { Transport::Tcp } else { Transport::Udp };
            let mut r = Reader::new(payload);
            let ports =
                if whole { r.u16_be().and_then(|from| Ok((from, r.u16_be()?))).ok() } else { None };
            (transport, protocol, ports.map(|(from, _)| from), ports.map(|(_, to)| to))
        }
        Layer::Other { protocol: protocol @ (1 | 58), payload } => {
            let message = if whole { payload.first().copied().map(u16::from) } else { None };
            (Transport::Icmp, protocol, None, message)
        }
        Layer::Other { protocol, .. } => (Transport::Ip, protocol, None, Some(u16::from(protocol))),
    };
    Some(Packet { from: Some(ip.src), to: Some(ip.dst), transport, protocol, from_port, port })
}

/// ARP for IPv4 on Ethernet: who claims to ask or answer, and about whom.
fn arp(payload: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let mut r = Reader::new(payload);
    if r.u16_be().ok()? != 1 || r.u16_be().ok()? != 0x0800 || r.u16_be().ok()? != 0x0604 {
        return None;
    }
    r.skip(2 + 6).ok()?;
    let from = Ipv4Addr::from(r.array::<4>().ok()?);
    r.skip(6).ok()?;
    Some((from, Ipv4Addr::from(r.array::<4>().ok()?)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::netlink::{Encoder, Messages};

    /// A record laid out as `__build_packet_message` of the kernel does.
    pub(crate) fn logged(prefix: &str, kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut e = Encoder::new();
        e.message(u16::from_be_bytes([SUBSYSTEM, PACKET]), 0, 0, |e| {
            e.netfilter(2, 5);
            let [high, low] = kind.to_be_bytes();
            e.put(HEADER, &[high, low, 2, 0]);
            e.put_str(PREFIX, prefix);
            e.put_be32(IN, 3);
            e.put_be32(PHYSICAL_IN, 7);
            e.put_be32(OUT, 4);
            e.put(SENDER, &[0, 6, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0]);
            e.put(LINK_HEADER, &[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, high, low]);
            let mut time = 1_700_000_000_u64.to_be_bytes().to_vec();
            time.extend(250_000_u64.to_be_bytes());
            e.put(TIME, &time);
            e.put_be32(NUMBER, 41);
            e.put(PAYLOAD, payload);
        });
        e.bytes().to_vec()
    }

    pub(crate) fn seen(prefix: &str, kind: u16, payload: &[u8]) -> Seen {
        let bytes = logged(prefix, kind, payload);
        Seen::read(&Messages::new(&bytes).next().unwrap()).unwrap()
    }

    /// An IPv4 packet from 10.0.0.1 to 10.0.0.2.
    pub(crate) fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
        let [f0, f1] = fragment.to_be_bytes();
        let head = [0x45, 0, length[0], length[1], 0, 9, f0, f1, 64, protocol, 0, 0];
        [&head[..], &[10, 0, 0, 1, 10, 0, 0, 2], payload].concat()
    }

    /// A UDP header.
    pub(crate) fn udp(from: u16, to: u16) -> Vec<u8> {
        [from.to_be_bytes(), to.to_be_bytes(), [0, 8], [0, 0]].concat()
    }

    #[test]
    fn a_record_says_who_when_where() {
        let seen = seen("rf:d:5:1:0", 0x0800, &ipv4(17, 0, &udp(40_000, 123)));
        assert_eq!(seen.number, Some(41));
        assert_eq!(seen.at.unwrap().to_string(), "2023-11-14T22:13:20.250000Z");
        assert_eq!(seen.prefix.unwrap().generation, 5);
        // The port of the bridge, not the bridge.
        assert_eq!((seen.interface_in, seen.interface_out), (Some(7), Some(4)));
        assert_eq!(seen.sender, Some(Mac([2, 0, 0, 0, 0, 1])));
        assert_eq!(seen.receiver, Some(Mac([2, 0, 0, 0, 0, 9])));
    }

    #[test]
    fn packets_of_every_kind() {
        let check = |kind, payload: &[u8], expect: &str| {
            let seen = seen("x", kind, payload);
            assert_eq!(seen.prefix, None);
            let told = seen.packet.map_or("none".to_owned(), |p| {
                let end = |ip: Option<IpAddr>| ip.map_or("-".to_owned(), |ip| ip.to_string());
                let (from, to, word) = (end(p.from), end(p.to), p.transport.word());
                format!("{from} {to} {word} {} {:?} {:?}", p.protocol, p.from_port, p.port)
            });
            assert_eq!(told, expect);
        };
        let tcp = [&[0x9c, 0x40, 0, 80][..], &[0; 8], &[0x50, 2], &[0; 6]].concat();
        check(0x0800, &ipv4(6, 0, &tcp), "10.0.0.1 10.0.0.2 tcp 6 Some(40000) Some(80)");
        check(0x0800, &ipv4(6, 0, &tcp[..4]), "10.0.0.1 10.0.0.2 tcp 6 Some(40000) Some(80)");
        check(0x0800, &ipv4(6, 0, &tcp[..3]), "10.0.0.1 10.0.0.2 tcp 6 None None");
        check(0x0800, &ipv4(17, 0x2000, &udp(5, 6)), "10.0.0.1 10.0.0.2 udp 17 Some(5) Some(6)");
        check(0x0800, &ipv4(17, 0x2009, &udp(5, 6)), "10.0.0.1 10.0.0.2 udp 17 None None");
        check(0x0800, &ipv4(1, 0, &[8, 0]), "10.0.0.1 10.0.0.2 icmp 1 None Some(8)");
        check(0x0800, &ipv4(47, 0, &[]), "10.0.0.1 10.0.0.2 ip 47 None Some(47)");
        check(0x0800, &[0x45, 0, 0], "none");
        check(0x88b8, &[1, 2, 3], "- - link 0 None Some(35000)");
        let question = [
            &[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1][..],
            &[0, 0, 0, 0, 0, 0, 10, 0, 0, 9],
        ];
        check(0x0806, &question.concat(), "10.0.0.1 10.0.0.9 link 0 None Some(2054)");
        check(0x0806, &question[0][..9], "- - link 0 None Some(2054)");
        let mut six = vec![0x60, 0, 0, 0, 0, 4, 58, 255];
        six.extend("fe80::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
        six.extend("ff02::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
        six.extend([133, 0, 0, 0]);
        check(0x86dd, &six, "fe80::1 ff02::2 icmp 58 None Some(133)");
        check(0, &[], "none");
    }

    #[test]
    fn any_truncation_is_read_without_a_panic() {
        let whole = logged("rf:d:5:1:0", 0x0800, &ipv4(17, 0, &udp(1, 2)));
        for end in 16..whole.len() {
            let mut cut = whole[..end].to_vec();
            cut[..4].copy_from_slice(&u32::try_from(end).unwrap().to_ne_bytes());
            for message in Messages::new(&cut) {
                let _ = Seen::read(&message);
            }
        }
    }
}
