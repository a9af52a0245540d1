//! Frames inside packets.

use super::{Ip, Transport, link_type};
use crate::{Malformed, Reader};

/// Port of VXLAN (RFC 7348).
const VXLAN: u16 = 4789;
/// Port of its early deployments.
const VXLAN_EARLY: u16 = 8472;
/// Port of CAPWAP's data channel (RFC 5415).
const CAPWAP: u16 = 5247;

/// A frame carried inside a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnelled<'a> {
    /// How: `gre`, `erspan`, `vxlan`, `capwap`, `ipip`.
    pub via: &'static str,
    /// Link type to parse it with.
    pub link: u32,
    /// The inner frame.
    pub data: &'a [u8],
    /// The inner sender sits behind the outer one (a wireless client behind its access point);
    /// otherwise the tunnel is a mirror or an overlay and says nothing about the ends.
    pub behind_sender: bool,
}

/// The frame inside a packet, if it is a tunnel that is known.
#[inline]
pub fn tunnelled<'a>(ip: &Ip<'a>) -> Option<Tunnelled<'a>> {
    match ip.transport {
        Transport::Udp { src, dst, payload } => match (src, dst) {
            (_, VXLAN | VXLAN_EARLY) => vxlan(payload),
            // To and from the controller.
            (CAPWAP, _) | (_, CAPWAP) => capwap(payload, dst == CAPWAP).ok().flatten(),
            _ => None,
        },
        Transport::Other { protocol, payload } if ip.fragment.is_none() => match protocol {
            4 | 41 => Some(inner("ipip", link_type::IPV4, payload)),
            47 => gre(payload).ok().flatten(),
            _ => None,
        },
        Transport::Other { .. } | Transport::Tcp(_) => None,
    }
}

/// Whether a datagram is at a port of tunnels.
#[inline]
pub(super) const fn may_be(transport: &Transport<'_>) -> bool {
    matches!(
        transport,
        Transport::Udp { dst: VXLAN | VXLAN_EARLY | CAPWAP, .. }
            | Transport::Udp { src: CAPWAP, .. }
    )
}

const fn inner<'a>(via: &'static str, link: u32, data: &'a [u8]) -> Tunnelled<'a> {
    Tunnelled { via, link, data, behind_sender: false }
}

fn vxlan(payload: &[u8]) -> Option<Tunnelled<'_>> {
    let (head, data) = payload.split_first_chunk::<8>()?;
    // The I flag must be set.
    (head.first()? & 0x08 != 0).then(|| inner("vxlan", link_type::ETHERNET, data))
}

/// GRE (RFC 2784, RFC 2890) with Ethernet, IP or ERSPAN inside.
fn gre(payload: &[u8]) -> Result<Option<Tunnelled<'_>>, Malformed> {
    let mut r = Reader::new(payload);
    let flags = r.u16_be()?;
    let protocol = r.u16_be()?;
    if flags & 7 != 0 {
        return Ok(None);
    }
    // Checksum (with reserved), key and sequence are optional words.
    for bit in [0x8000, 0x2000, 0x1000] {
        if flags & bit != 0 {
            r.skip(4)?;
        }
    }
    Ok(match protocol {
        0x6558 => Some(inner("gre", link_type::ETHERNET, r.rest())),
        0x0800 | 0x86dd => Some(inner("gre", link_type::IPV4, r.rest())),
        // ERSPAN II has an 8-byte header when a sequence number is present; type I has none.
        0x88be => {
            if flags & 0x1000 != 0 {
                r.skip(8)?;
            }
            Some(inner("erspan", link_type::ETHERNET, r.rest()))
        }
        // ERSPAN III: 12 bytes, and 8 more when its last bit says so.
        0x22eb => {
            r.skip(11)?;
            if r.u8()? & 1 != 0 {
                r.skip(8)?;
            }
            Some(inner("erspan", link_type::ETHERNET, r.rest()))
        }
        _ => None,
    })
}

/// CAPWAP data (RFC 5415 §4.3): an 802.3 or 802.11 frame of a wireless client. What an access point
/// or its controller sends as itself belongs to nobody behind it.
fn capwap(payload: &[u8], from_access_point: bool) -> Result<Option<Tunnelled<'_>>, Malformed> {
    let mut r = Reader::new(payload);
    // Preamble: version 0, type 0 (not DTLS).
    if r.u8()? != 0 {
        return Ok(None);
    }
    let flags = r.u24_be()?;
    let header = usize::try_from(flags >> 19).map_err(|_| Malformed::Invalid)? * 4;
    let native = flags & 0x0000_0100 != 0;
    let fragment = flags & 0x0000_0080 != 0;
    let keep_alive = flags & 0x0000_0008 != 0;
    if fragment || keep_alive || header < 8 {
        return Ok(None);
    }
    let data = payload.get(header..).ok_or(Malformed::Truncated)?;
    if native && super::wlan::is_access_points_own(data) {
        return Ok(None);
    }
    let link = if native { link_type::WLAN } else { link_type::ETHERNET };
    Ok(Some(Tunnelled { via: "capwap", link, data, behind_sender: from_access_point }))
}
