//! IPv4 (RFC 791), IPv6 (RFC 8200), TCP and UDP heads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Fragment, Ip, Tcp, Transport};
use crate::{Malformed, Reader};

/// IPv6 extension headers walked before giving up.
const EXTENSIONS_MAX: usize = 8;

/// Always inline: the result is large, and would be copied on the way of every packet.
#[inline(always)]
pub(super) fn v4(data: &[u8]) -> Result<Ip<'_>, Malformed> {
    let (head, _) = data.split_first_chunk::<20>().ok_or(Malformed::Truncated)?;
    let [vihl, _, l0, l1, i0, i1, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
        *head;
    let header = usize::from(vihl & 0x0f) * 4;
    if vihl >> 4 != 4 || header < 20 {
        return Err(Malformed::Invalid);
    }
    let payload = payload(data, header, [l0, l1]).ok_or(Malformed::Truncated)?;
    let flags_offset = u16::from_be_bytes([f0, f1]);
    let offset = u32::from(flags_offset & 0x1fff) * 8;
    let more = flags_offset & 0x2000 != 0;
    let fragment = (more || offset != 0).then(|| Fragment {
        id: u32::from(u16::from_be_bytes([i0, i1])),
        offset,
        more,
    });
    Ok(Ip {
        src: IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3)),
        dst: IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3)),
        ttl,
        fragment,
        transport: transport_of(protocol, payload, fragment),
    })
}

/// What follows the head of an IPv4 packet of a stated length. Length 0 is what segmentation offload leaves; the capture's end counts then. A snap
/// length may cut the packet before its stated end.
#[inline(always)]
pub(super) fn payload(packet: &[u8], header: usize, stated: [u8; 2]) -> Option<&[u8]> {
    let total = match usize::from(u16::from_be_bytes(stated)) {
        0 => packet.len(),
        n => n.min(packet.len()),
    };
    packet.get(header..total)
}

pub(super) fn v6(data: &[u8]) -> Result<Ip<'_>, Malformed> {
    let mut r = Reader::new(data);
    if r.u32_be()? >> 28 != 6 {
        return Err(Malformed::Invalid);
    }
    let length = usize::from(r.u16_be()?);
    let mut next = r.u8()?;
    let ttl = r.u8()?;
    let src = IpAddr::V6(Ipv6Addr::from(r.array::<16>()?));
    let dst = IpAddr::V6(Ipv6Addr::from(r.array::<16>()?));
    let mut r = Reader::new(if length == 0 { r.rest() } else { r.take_up_to(length) });
    let mut fragment = None;
    for _ in 0..EXTENSIONS_MAX {
        match next {
            // Hop-by-hop, routing, destination options, mobility: length in 8-byte units.
            0 | 43 | 60 | 135 => {
                next = r.u8()?;
                let units = usize::from(r.u8()?);
                r.skip(6 + units * 8)?;
            }
            // Fragment header.
            44 => {
                next = r.u8()?;
                r.skip(1)?;
                let offset_more = r.u16_be()?;
                let id = r.u32_be()?;
                let place = Fragment {
                    id,
                    offset: u32::from(offset_more & 0xfff8),
                    more: offset_more & 1 != 0,
                };
                // An atomic fragment (RFC 6946) is a whole packet.
                if place.more || place.offset != 0 {
                    fragment = Some(place);
                    break;
                }
            }
            // Authentication header: length in 4-byte units, less two.
            51 => {
                next = r.u8()?;
                let units = usize::from(r.u8()?);
                r.skip(units * 4 + 6)?;
            }
            _ => break,
        }
    }
    let transport = transport_of(next, r.rest(), fragment);
    Ok(Ip { src, dst, ttl, fragment, transport })
}

#[inline(always)]
fn transport_of(protocol: u8, payload: &[u8], fragment: Option<Fragment>) -> Transport<'_> {
    if fragment.is_some() {
        return Transport::Other { protocol, payload };
    }
    parse_transport(protocol, payload)
}

/// Reads a transport header; what is no sound TCP or UDP is [`Transport::Other`]. Also used on
/// reassembled packets.
#[inline(always)]
pub fn parse_transport(protocol: u8, payload: &[u8]) -> Transport<'_> {
    match protocol {
        6 => tcp(payload).map(Transport::Tcp),
        17 => udp(payload),
        _ => None,
    }
    .unwrap_or(Transport::Other { protocol, payload })
}

#[inline(always)]
fn tcp(segment: &[u8]) -> Option<Tcp<'_>> {
    let (head, _) = segment.split_first_chunk::<20>()?;
    let [s0, s1, d0, d1, q0, q1, q2, q3, _, _, _, _, offset, flags, ..] = *head;
    let header = usize::from(offset >> 4) * 4;
    if header < 20 {
        return None;
    }
    Some(Tcp {
        src: u16::from_be_bytes([s0, s1]),
        dst: u16::from_be_bytes([d0, d1]),
        seq: u32::from_be_bytes([q0, q1, q2, q3]),
        flags,
        // Options cut by a snap length leave no data.
        payload: segment.get(header..).unwrap_or_default(),
    })
}

#[inline(always)]
fn udp(datagram: &[u8]) -> Option<Transport<'_>> {
    let (head, rest) = datagram.split_first_chunk::<8>()?;
    let [s0, s1, d0, d1, l0, l1, _, _] = *head;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let payload = match length.checked_sub(8) {
        // Length 0: a jumbogram or offload; the IP length counts.
        None if length == 0 => rest,
        None => return None,
        Some(n) => rest.get(..n).unwrap_or(rest),
    };
    Some(Transport::Udp {
        src: u16::from_be_bytes([s0, s1]),
        dst: u16::from_be_bytes([d0, d1]),
        payload,
    })
}
