//! The shape of most packets of most networks, read at fixed places.

use std::net::Ipv4Addr;

use model::Mac;

use super::{Transport, ip, link_type, tunnel};

/// TCP or UDP where it nearly always is: in IPv4 without options, not a fragment, on Ethernet with at most one VLAN tag. No tunnel.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    /// Sender and receiver on the link.
    pub link: (Mac, Mac),
    /// VLAN id, where tagged.
    pub vlan: Option<u16>,
    /// Sender and receiver.
    pub ip: (Ipv4Addr, Ipv4Addr),
    /// Hop limit left.
    pub ttl: u8,
    /// What it carries: TCP or UDP.
    pub transport: Transport<'a>,
}

/// Reads a frame of the most frequent shape; `None`: [`super::parse`] tells what it is, and says the same of one that has it.
///
/// Always inline: the result is large, and would be copied on the way of every packet.
#[inline(always)]
pub fn plain(link: u32, data: &[u8]) -> Option<Plain<'_>> {
    let (ethernet, rest) = data.split_first_chunk::<14>()?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *ethernet;
    let (vlan, packet) = match [t0, t1] {
        _ if link != link_type::ETHERNET => return None,
        [0x08, 0x00] => (None, rest),
        [0x81, 0x00] => {
            let ([i0, i1, 0x08, 0x00], rest) = rest.split_first_chunk::<4>()? else { return None };
            (Some(u16::from_be_bytes([*i0, *i1]) & 0x0fff).filter(|id| *id != 0), rest)
        }
        _ => return None,
    };
    // A head of five words; flags and offset say that it is no part of a larger packet.
    let (head, _) = packet.split_first_chunk::<20>()?;
    let [0x45, _, l0, l1, _, _, f0, f1, ttl, protocol, _, _, a0, a1, a2, a3, b0, b1, b2, b3] =
        *head
    else {
        return None;
    };
    if u16::from_be_bytes([f0, f1]) & 0x3fff != 0 {
        return None;
    }
    let transport = ip::parse_transport(protocol, ip::payload(packet, head.len(), [l0, l1])?);
    if matches!(transport, Transport::Other { .. }) || tunnel::may_be(&transport) {
        return None;
    }
    Some(Plain {
        link: (Mac([s0, s1, s2, s3, s4, s5]), Mac([d0, d1, d2, d3, d4, d5])),
        vlan,
        ip: (Ipv4Addr::new(a0, a1, a2, a3), Ipv4Addr::new(b0, b1, b2, b3)),
        ttl,
        transport,
    })
}
