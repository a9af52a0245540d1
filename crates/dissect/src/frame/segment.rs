//! The shape of most packets of most networks, read at fixed places.

use std::net::Ipv4Addr;

use model::Mac;

use super::link_type;

/// A TCP segment whose head is where it nearly always is: IPv4 without options, not a fragment, on Ethernet with at most one VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Sender on the link.
    pub link_src: Mac,
    /// VLAN id, where tagged.
    pub vlan: Option<u16>,
    /// Sender and its port.
    pub src: (Ipv4Addr, u16),
    /// Receiver and its port.
    pub dst: (Ipv4Addr, u16),
    /// Hop limit left.
    pub ttl: u8,
    /// Flag bits, FIN lowest.
    pub flags: u8,
    /// It carries data.
    pub carries: bool,
}

/// Reads a frame that is nothing but a segment; `None`: [`super::parse`] tells what it is, and would say the same of one that is.
#[inline(always)]
pub fn segment(link: u32, data: &[u8]) -> Option<Segment> {
    let (ethernet, rest) = data.split_first_chunk::<14>()?;
    let [_, _, _, _, _, _, s0, s1, s2, s3, s4, s5, t0, t1] = *ethernet;
    let (vlan, packet) = match [t0, t1] {
        _ if link != link_type::ETHERNET => return None,
        [0x08, 0x00] => (None, rest),
        [0x81, 0x00] => {
            let ([i0, i1, 0x08, 0x00], rest) = rest.split_first_chunk::<4>()? else { return None };
            (Some(u16::from_be_bytes([*i0, *i1]) & 0x0fff).filter(|id| *id != 0), rest)
        }
        _ => return None,
    };
    // IP of five words, TCP, and no place in a larger packet.
    let (ip, rest) = packet.split_first_chunk::<20>()?;
    let [0x45, _, l0, l1, _, _, f0, f1, ttl, 6, _, _, a0, a1, a2, a3, b0, b1, b2, b3] = *ip else {
        return None;
    };
    let (tcp, _) = rest.split_first_chunk::<20>()?;
    let [p0, p1, q0, q1, _, _, _, _, _, _, _, _, offset, flags, ..] = *tcp;
    let length = match usize::from(u16::from_be_bytes([l0, l1])) {
        0 => packet.len(),
        stated => stated.min(packet.len()),
    };
    let head = usize::from(offset >> 4) * 4;
    if u16::from_be_bytes([f0, f1]) & 0x3fff != 0 || length < 40 || head < 20 {
        return None;
    }
    Some(Segment {
        link_src: Mac([s0, s1, s2, s3, s4, s5]),
        vlan,
        src: (Ipv4Addr::new(a0, a1, a2, a3), u16::from_be_bytes([p0, p1])),
        dst: (Ipv4Addr::new(b0, b1, b2, b3), u16::from_be_bytes([q0, q1])),
        ttl,
        flags,
        carries: length > 20 + head,
    })
}
