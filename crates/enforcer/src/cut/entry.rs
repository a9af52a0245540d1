//! One entry of the kernel's connection table, read from bytes. Pure.

use std::fmt;
use std::net::IpAddr;

use model::observation::Transport;

use crate::netlink::{Attributes, Message};

/// `NFNL_SUBSYS_CTNETLINK`.
pub(super) const SUBSYSTEM: u8 = 1;
/// `IPCTNL_MSG_CT_NEW`: what an entry is told as.
const NEW: u8 = 0;

pub(super) const TUPLE_ORIG: u16 = 1;
pub(super) const TUPLE_REPLY: u16 = 2;
const MARK: u16 = 8;
pub(super) const ID: u16 = 12;
pub(super) const ZONE: u16 = 18;
pub(super) const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Sender.
    pub from: IpAddr,
    /// Receiver.
    pub to: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Sender's port, where there are ports.
    pub from_port: Option<u16>,
    /// Receiver's port; for ICMP the type of the message.
    pub to_port: Option<u16>,
}

/// An open flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As its first packet went.
    pub asked: Tuple,
    /// As answers go; differs from the inverse where addresses are translated.
    pub answered: Tuple,
    /// Connection mark: which generation permitted it.
    pub mark: u32,
    /// What the kernel deletes it by.
    pub(super) key: Key,
}

/// What names one entry, and not one that came later with the same addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) family: u8,
    /// `CTA_TUPLE_ORIG` as the kernel wrote it.
    pub(super) tuple: Vec<u8>,
    pub(super) zone: Option<u16>,
    pub(super) id: Option<u32>,
}

impl Entry {
    /// Reads one message of a listing; `None` for what is no entry.
    pub fn read(message: &Message<'_>) -> Option<Self> {
        if message.subsystem() != SUBSYSTEM || message.code() != NEW {
            return None;
        }
        let (family, _, attributes) = message.netfilter()?;
        let orig = attributes.get(TUPLE_ORIG)?;
        Some(Self {
            asked: tuple(orig.nested())?,
            answered: tuple(attributes.nested(TUPLE_REPLY))?,
            mark: attributes.get(MARK).and_then(|mark| mark.be32()).unwrap_or(0),
            key: Key {
                family,
                tuple: orig.payload.to_vec(),
                zone: attributes.get(ZONE).and_then(|zone| zone.be16()),
                id: attributes.get(ID).and_then(|id| id.be32()),
            },
        })
    }

    /// All addresses that appear in it.
    pub fn addresses(&self) -> [IpAddr; 4] {
        [self.asked.from, self.asked.to, self.answered.from, self.answered.to]
    }
}

impl Tuple {
    /// Transport and the number that policy knows the service by.
    pub fn service(&self) -> (Transport, u16) {
        let port = self.to_port.unwrap_or(0);
        match self.protocol {
            6 => (Transport::Tcp, port),
            17 => (Transport::Udp, port),
            1 | 58 => (Transport::Icmp, port),
            other => (Transport::Ip, u16::from(other)),
        }
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, port) = self.service();
        let word = transport.word();
        write!(f, "{} to {} {word}/{port}", self.from, self.to)
    }
}

fn tuple(attributes: Attributes<'_>) -> Option<Tuple> {
    let ip = attributes.nested(TUPLE_IP);
    let v4 = |kind| {
        let bytes: [u8; 4] = ip.get(kind)?.payload.try_into().ok()?;
        Some(IpAddr::from(bytes))
    };
    let v6 = |kind| {
        let bytes: [u8; 16] = ip.get(kind)?.payload.try_into().ok()?;
        Some(IpAddr::from(bytes))
    };
    let proto = attributes.nested(TUPLE_PROTO);
    // CTA_PROTO_NUM, _SRC_PORT, _DST_PORT, _ICMP_TYPE, _ICMPV6_TYPE.
    let port = |kind| proto.get(kind).and_then(|port| port.be16());
    let message = |kind| proto.get(kind).and_then(|t| t.u8()).map(u16::from);
    Some(Tuple {
        from: v4(1).or_else(|| v6(3))?,
        to: v4(2).or_else(|| v6(4))?,
        protocol: proto.get(1)?.u8()?,
        from_port: port(2),
        to_port: port(3).or_else(|| message(5)).or_else(|| message(8)),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::netlink::{Encoder, Messages};

    pub(crate) fn put_tuple(e: &mut Encoder, kind: u16, t: &Tuple) {
        e.nested(kind | 0x8000, |e| {
            e.nested(TUPLE_IP | 0x8000, |e| match (t.from, t.to) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    e.put(1, &from.octets());
                    e.put(2, &to.octets());
                }
                (from, to) => {
                    let octets = |ip| match ip {
                        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                        IpAddr::V6(v6) => v6.octets(),
                    };
                    e.put(3, &octets(from));
                    e.put(4, &octets(to));
                }
            });
            e.nested(TUPLE_PROTO | 0x8000, |e| {
                e.put_u8(1, t.protocol);
                match (t.from_port, t.to_port, t.protocol) {
                    (None, Some(kind), 58) => e.put_u8(8, u8::try_from(kind).unwrap()),
                    (None, Some(kind), _) => e.put_u8(5, u8::try_from(kind).unwrap()),
                    (Some(from), Some(to), _) => {
                        e.put_be16(2, from);
                        e.put_be16(3, to);
                    }
                    _ => {}
                }
            });
        });
    }

    /// A listing of one entry, laid out as `ctnetlink_fill_info` of the kernel does.
    pub(crate) fn listed(family: u8, asked: &Tuple, answered: &Tuple) -> Vec<u8> {
        let mut e = Encoder::new();
        e.message(u16::from_be_bytes([SUBSYSTEM, NEW]), 2, 9, |e| {
            e.netfilter(family, 0);
            put_tuple(e, TUPLE_ORIG, asked);
            put_tuple(e, TUPLE_REPLY, answered);
            e.put_be32(3, 0x18e);
            e.put_be32(MARK, 5);
            e.put_be32(ID, 0xdead_beef);
        });
        e.bytes().to_vec()
    }

    fn flow(from: &str, to: &str, protocol: u8, ports: (Option<u16>, Option<u16>)) -> Tuple {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        Tuple { from, to, protocol, from_port: ports.0, to_port: ports.1 }
    }

    #[test]
    fn entries_of_both_families_are_read() {
        let check = |family, asked: Tuple, answered: Tuple, said: &str| {
            let bytes = listed(family, &asked, &answered);
            let entry = Entry::read(&Messages::new(&bytes).next().unwrap()).unwrap();
            assert_eq!((entry.asked, entry.answered, entry.mark), (asked, answered, 5));
            assert_eq!((entry.key.family, entry.key.id), (family, Some(0xdead_beef)));
            assert_eq!(entry.asked.to_string(), said);
        };
        check(
            2,
            flow("10.0.0.1", "10.0.0.2", 6, (Some(40_000), Some(554))),
            flow("10.0.0.2", "192.0.2.1", 6, (Some(554), Some(1_024))),
            "10.0.0.1 to 10.0.0.2 tcp/554",
        );
        check(
            10,
            flow("fd00::1", "fd00::2", 58, (None, Some(128))),
            flow("fd00::2", "fd00::1", 58, (None, Some(129))),
            "fd00::1 to fd00::2 icmp/128",
        );
        check(
            2,
            flow("10.0.0.1", "10.0.0.2", 47, (None, None)),
            flow("10.0.0.2", "10.0.0.1", 47, (None, None)),
            "10.0.0.1 to 10.0.0.2 ip/47",
        );
    }

    #[test]
    fn what_is_cut_off_is_no_entry_and_no_panic() {
        let asked = flow("10.0.0.1", "10.0.0.2", 6, (Some(1), Some(2)));
        let whole = listed(2, &asked, &asked);
        for end in 0..whole.len() {
            let mut cut = whole[..end].to_vec();
            if let Some(length) = cut.get_mut(..4) {
                length.copy_from_slice(&u32::try_from(end).unwrap().to_ne_bytes());
            }
            for message in Messages::new(&cut) {
                let read = Entry::read(&message);
                assert!(read.is_none_or(|entry| entry.asked == asked), "{end}");
            }
        }
    }
}
