//! Link and network layers, and the tunnels around them. Runs for every packet: no allocation.
//!
//! [`parse`] reads one captured frame of a given link type; [`tunnelled`] finds a frame carried
//! inside another packet (GRE, ERSPAN, VXLAN, CAPWAP, IP in IP), which is parsed the same way. [`plain`] reads
//! the most frequent shape only.

mod ip;
mod plain;
mod tunnel;
mod wlan;

use std::net::IpAddr;

use model::Mac;

pub use ip::parse_transport;
pub use plain::{Plain, plain};
pub use tunnel::{Tunnelled, tunnelled};

use crate::registry::LinkKey;
use crate::{Malformed, Reader};

/// Link types as capture files number them (tcpdump.org LINKTYPE registry).
pub mod link_type {
    /// BSD loopback: 4-byte family in the writer's byte order.
    pub const NULL: u32 = 0;
    /// Ethernet.
    pub const ETHERNET: u32 = 1;
    /// Raw IP (several numbers are in use).
    pub const RAW: [u32; 3] = [101, 12, 14];
    /// IEEE 802.11 without a prefix.
    pub const WLAN: u32 = 105;
    /// OpenBSD loopback: 4-byte family in network byte order.
    pub const LOOP: u32 = 108;
    /// Linux cooked capture.
    pub const LINUX_SLL: u32 = 113;
    /// IEEE 802.11 behind a Prism header.
    pub const PRISM: u32 = 119;
    /// IEEE 802.11 behind a radiotap header.
    pub const RADIOTAP: u32 = 127;
    /// IEEE 802.11 behind an AVS header.
    pub const AVS: u32 = 163;
    /// Raw IPv4 and raw IPv6.
    pub const IPV4: u32 = 228;
    /// Raw IPv6.
    pub const IPV6: u32 = 229;
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: u32 = 276;
}

/// One frame, as far as its network layer.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Sender on the link; [`Mac::ZERO`] where the capture has no link layer.
    pub src: Mac,
    /// Receiver on the link; [`Mac::ZERO`] where the capture does not say.
    pub dst: Mac,
    /// Innermost VLAN id, where tagged.
    pub vlan: Option<u16>,
    /// What the frame carries.
    pub body: Body<'a>,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// An IP packet.
    Ip(Ip<'a>),
    /// Another protocol on the link.
    Link {
        /// What selects it.
        key: LinkKey,
        /// Its bytes.
        payload: &'a [u8],
    },
    /// Nothing to read: encrypted or a control frame.
    Opaque,
}

/// An IP packet.
#[derive(Clone, Copy, Debug)]
pub struct Ip<'a> {
    /// Sender.
    pub src: IpAddr,
    /// Receiver.
    pub dst: IpAddr,
    /// Hop limit left.
    pub ttl: u8,
    /// Set on every fragment of a fragmented packet; `transport` is then [`Transport::Other`].
    pub fragment: Option<Fragment>,
    /// What it carries.
    pub transport: Transport<'a>,
}

/// Place of a fragment in its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Identification shared by the fragments.
    pub id: u32,
    /// Offset of this one, in bytes.
    pub offset: u32,
    /// More follow.
    pub more: bool,
}

/// Transport layer.
#[derive(Clone, Copy, Debug)]
pub enum Transport<'a> {
    /// TCP.
    Tcp(Tcp<'a>),
    /// UDP.
    Udp {
        /// Sender's port.
        src: u16,
        /// Receiver's port.
        dst: u16,
        /// The datagram.
        payload: &'a [u8],
    },
    /// Any other IP protocol, and fragments.
    Other {
        /// IP protocol number.
        protocol: u8,
        /// Bytes behind the IP header.
        payload: &'a [u8],
    },
}

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    /// Sender's port.
    pub src: u16,
    /// Receiver's port.
    pub dst: u16,
    /// Sequence number of the first byte.
    pub seq: u32,
    /// Flag bits, FIN lowest.
    pub flags: u8,
    /// The data.
    pub payload: &'a [u8],
}

impl Tcp<'_> {
    /// FIN.
    pub const FIN: u8 = 1;
    /// SYN.
    pub const SYN: u8 = 2;
    /// RST.
    pub const RST: u8 = 4;
    /// ACK.
    pub const ACK: u8 = 16;

    /// All of these flags are set.
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }
}

/// Reads one frame of a link type.
///
/// # Errors
/// [`Malformed::NotMine`] for a link type that is not known, others for frames that make no sense.
#[inline]
pub fn parse(link: u32, data: &[u8]) -> Result<Packet<'_>, Malformed> {
    use link_type as lt;
    match link {
        lt::ETHERNET => ethernet(data),
        lt::NULL | lt::LOOP => {
            let mut r = Reader::new(data);
            r.skip(4)?;
            raw_ip(r.rest())
        }
        lt::IPV4 | lt::IPV6 => raw_ip(data),
        lt::LINUX_SLL => cooked(data),
        lt::LINUX_SLL2 => cooked2(data),
        lt::WLAN => wlan::data(data),
        lt::RADIOTAP => wlan::behind_header(data, |r| {
            r.skip(2)?;
            Ok(usize::from(r.u16_le()?))
        }),
        lt::PRISM => wlan::behind_header(data, |r| {
            r.skip(4)?;
            usize::try_from(r.u32_le()?).map_err(|_| Malformed::Invalid)
        }),
        lt::AVS => wlan::behind_header(data, |r| {
            r.skip(4)?;
            usize::try_from(r.u32_be()?).map_err(|_| Malformed::Invalid)
        }),
        _ if lt::RAW.contains(&link) => raw_ip(data),
        _ => Err(Malformed::NotMine),
    }
}

/// Ethernet II and IEEE 802.3.
#[inline]
pub(crate) fn ethernet(data: &[u8]) -> Result<Packet<'_>, Malformed> {
    // Each address in one piece: as it is stored, so it is read.
    let cut = Malformed::Truncated;
    let (dst, rest) = data.split_first_chunk::<6>().ok_or(cut)?;
    let (src, rest) = rest.split_first_chunk::<6>().ok_or(cut)?;
    let ([t0, t1], rest) = rest.split_first_chunk::<2>().ok_or(cut)?;
    let (src, dst, t0, t1) = (Mac(*src), Mac(*dst), *t0, *t1);
    // Nearly every frame, without a detour through what may be in front.
    if [t0, t1] == [8, 0] {
        return Ok(Packet { src, dst, vlan: None, body: Body::Ip(ip::v4(rest)?) });
    }
    let (vlan, body) = typed(u16::from_be_bytes([t0, t1]), rest)?;
    Ok(Packet { src, dst, vlan, body })
}

fn raw_ip(data: &[u8]) -> Result<Packet<'_>, Malformed> {
    let body = match data.first().map(|b| b >> 4) {
        Some(4) => Body::Ip(ip::v4(data)?),
        Some(6) => Body::Ip(ip::v6(data)?),
        Some(_) => return Err(Malformed::NotMine),
        None => return Err(Malformed::Truncated),
    };
    Ok(Packet { src: Mac::ZERO, dst: Mac::ZERO, vlan: None, body })
}

/// Linux cooked capture (LINKTYPE_LINUX_SLL).
fn cooked(data: &[u8]) -> Result<Packet<'_>, Malformed> {
    let mut r = Reader::new(data);
    let kind = r.u16_be()?;
    r.skip(2)?;
    let length = r.u16_be()?;
    let address = r.array::<8>()?;
    let ethertype = r.u16_be()?;
    cooked_packet(kind, u32::from(length), address, ethertype, r.rest())
}

/// Linux cooked capture version 2 (LINKTYPE_LINUX_SLL2).
fn cooked2(data: &[u8]) -> Result<Packet<'_>, Malformed> {
    let mut r = Reader::new(data);
    let ethertype = r.u16_be()?;
    r.skip(2 + 4 + 2)?;
    let kind = r.u8()?;
    let length = r.u8()?;
    let address = r.array::<8>()?;
    cooked_packet(u16::from(kind), u32::from(length), address, ethertype, r.rest())
}

fn cooked_packet(
    kind: u16,
    length: u32,
    address: [u8; 8],
    ethertype: u16,
    rest: &[u8],
) -> Result<Packet<'_>, Malformed> {
    let [a, b, c, d, e, f, ..] = address;
    let src = if length == 6 { Mac([a, b, c, d, e, f]) } else { Mac::ZERO };
    let (vlan, body) = typed(ethertype, rest)?;
    // Packet type 1 is broadcast; the receiver's address is otherwise not recorded.
    let dst = if kind == 1 { Mac::BROADCAST } else { Mac::ZERO };
    Ok(Packet { src, dst, vlan, body })
}

/// What follows an EtherType or an 802.3 length, VLAN tags included.
#[inline]
fn typed(mut ethertype: u16, mut rest: &[u8]) -> Result<(Option<u16>, Body<'_>), Malformed> {
    let mut vlan = None;
    for _ in 0..4 {
        match ethertype {
            0x0800 => return Ok((vlan, Body::Ip(ip::v4(rest)?))),
            0x86dd => return Ok((vlan, Body::Ip(ip::v6(rest)?))),
            // 802.1Q, 802.1ad and the older QinQ types.
            0x8100 | 0x88a8 | 0x9100 | 0x9200 => {
                let mut r = Reader::new(rest);
                vlan = Some(r.u16_be()? & 0x0fff).filter(|id| *id != 0).or(vlan);
                ethertype = r.u16_be()?;
                rest = r.rest();
            }
            // HSR tag (IEC 62439-3): path and size, sequence number, then the real type.
            0x892f => {
                let mut r = Reader::new(rest);
                r.skip(4)?;
                ethertype = r.u16_be()?;
                rest = r.rest();
            }
            // PPPoE session (RFC 2516): version, code, session, length, then a PPP protocol.
            0x8864 => {
                let mut r = Reader::new(rest);
                r.skip(6)?;
                ethertype = match r.u16_be()? {
                    0x0021 => 0x0800,
                    0x0057 => 0x86dd,
                    _ => return Ok((vlan, link(LinkKey::EtherType(0x8864), rest))),
                };
                rest = r.rest();
            }
            0..=0x05dc => return Ok((vlan, llc(usize::from(ethertype), rest)?)),
            _ => return Ok((vlan, link(LinkKey::EtherType(ethertype), rest))),
        }
    }
    Err(Malformed::Limit)
}

const fn link(key: LinkKey, payload: &[u8]) -> Body<'_> {
    Body::Link { key, payload }
}

/// IEEE 802.2 logical link control, with SNAP; `length` cuts Ethernet padding.
fn llc(length: usize, rest: &[u8]) -> Result<Body<'_>, Malformed> {
    let mut r = Reader::new(rest.get(..length).unwrap_or(rest));
    let dsap = r.u8()?;
    let ssap = r.u8()?;
    // IPX directly on 802.3 starts with a checksum of ff ff.
    if dsap == 0xff && ssap == 0xff {
        return Ok(link(LinkKey::Llc(0xff), r.rest()));
    }
    let control = r.u8()?;
    // Information and supervisory frames have a second control byte.
    if control & 3 != 3 {
        r.skip(1)?;
    }
    if dsap != 0xaa || ssap != 0xaa {
        return Ok(link(LinkKey::Llc(dsap), r.rest()));
    }
    let organisation = r.u24_be()?;
    let protocol = r.u16_be()?;
    match (organisation, protocol) {
        (0 | 0x0000_00f8, 0x0800) => Ok(Body::Ip(ip::v4(r.rest())?)),
        (0 | 0x0000_00f8, 0x86dd) => Ok(Body::Ip(ip::v6(r.rest())?)),
        (0 | 0x0000_00f8, _) => Ok(link(LinkKey::EtherType(protocol), r.rest())),
        _ => Ok(link(LinkKey::Snap(organisation, protocol), r.rest())),
    }
}

#[cfg(test)]
mod tests;
