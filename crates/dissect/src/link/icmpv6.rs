//! ICMPv6: neighbour discovery (RFC 4861) ties addresses to link addresses and names routers;
//! multicast listener reports (RFC 2710, RFC 3810) name groups.

use std::net::{IpAddr, Ipv6Addr};

use model::Mac;
use model::observation::BindingSource::NeighbourDiscovery;

use crate::identity::bound;
use crate::{About, Ctx, Malformed, Outcome, Reader, Sink};

const OPTIONS_MAX: usize = 32;
const RECORDS_MAX: usize = 64;

/// Reports what the sender claims for itself.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    let kind = r.u8()?;
    r.skip(3)?; // code, checksum
    match kind {
        131 => {
            r.skip(4)?;
            group(Ipv6Addr::from(r.array::<16>()?), sink);
            Ok(())
        }
        130 => {
            sink.says("igmp.querier", "mld");
            Ok(())
        }
        133 => {
            r.skip(4)?;
            let link = options(r, sink)?.source;
            own_address(link, ctx, sink);
            Ok(())
        }
        134 => router_advertisement(r, ctx, sink),
        135 => neighbour_solicitation(r, ctx, sink),
        136 => neighbour_advertisement(r, ctx, sink),
        137 => {
            r.skip(4)?;
            sink.says("icmp.redirect", Ipv6Addr::from(r.array::<16>()?).to_string());
            Ok(())
        }
        143 => multicast_report(r, sink),
        1..=4 | 128 | 129 | 132 | 138..=161 => Ok(()),
        _ => Err(Malformed::NotMine),
    }
}

/// RFC 4861 §4.2.
fn router_advertisement(mut r: Reader<'_>, ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    r.skip(2)?; // hop limit, flags
    let lifetime = r.u16_be()?;
    r.skip(8)?; // reachable time, retransmission timer
    sink.says("ndp.router", if lifetime > 0 { "default" } else { "advertising" });
    let link = options(r, sink)?.source;
    own_address(link, ctx, sink);
    Ok(())
}

/// RFC 4861 §4.3. From the unspecified address it is duplicate address detection: the sender is
/// about to take the target (RFC 4862 §5.4.2).
fn neighbour_solicitation(mut r: Reader<'_>, ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    r.skip(4)?;
    let target = IpAddr::from(r.array::<16>()?);
    let link = options(r, sink)?.source;
    if ctx.src.ip.is_some_and(|ip| ip.is_unspecified()) {
        bound(sink, About::Mac(ctx.src.mac), target, NeighbourDiscovery);
    } else {
        own_address(link, ctx, sink);
    }
    Ok(())
}

/// RFC 4861 §4.4. The target link address may be left out when the answer is unicast.
fn neighbour_advertisement(mut r: Reader<'_>, ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    r.skip(4)?;
    let target = IpAddr::from(r.array::<16>()?);
    let link = match options(r, sink)?.target {
        Some(link) => link,
        None if ctx.src.ip == Some(target) => ctx.src.mac,
        None => return Ok(()),
    };
    if link.is_unicast() {
        bound(sink, About::Mac(link), target, NeighbourDiscovery);
    }
    Ok(())
}

/// The source link address option ties the packet's source address to a link address.
fn own_address(link: Option<Mac>, ctx: &Ctx, sink: &mut dyn Sink) {
    if let (Some(link), Some(ip)) = (link, ctx.src.ip)
        && link.is_unicast()
    {
        bound(sink, About::Mac(link), ip, NeighbourDiscovery);
    }
}

#[derive(Default)]
struct LinkAddresses {
    source: Option<Mac>,
    target: Option<Mac>,
}

/// RFC 4861 §4.6; lengths count eight bytes. Prefixes are reported on the way.
fn options(mut r: Reader<'_>, sink: &mut dyn Sink) -> Result<LinkAddresses, Malformed> {
    let mut found = LinkAddresses::default();
    for _ in 0..OPTIONS_MAX {
        if r.is_empty() {
            return Ok(found);
        }
        let kind = r.u8()?;
        let length = usize::from(r.u8()?) * 8;
        let mut body = Reader::new(r.take(length.checked_sub(2).ok_or(Malformed::Invalid)?)?);
        match kind {
            1 => found.source = Some(Mac(body.array()?)),
            2 => found.target = Some(Mac(body.array()?)),
            3 => {
                let bits = body.u8()?;
                body.skip(13)?; // flags, lifetimes, reserved
                let prefix = Ipv6Addr::from(body.array::<16>()?);
                sink.says("ndp.prefix", format!("{prefix}/{bits}"));
            }
            _ => {}
        }
    }
    Err(Malformed::Limit)
}

/// RFC 3810 §5.2.
fn multicast_report(mut r: Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    r.skip(2)?;
    let records = usize::from(r.u16_be()?);
    for _ in 0..records.min(RECORDS_MAX) {
        let (kind, auxiliary, sources) = (r.u8()?, r.u8()?, r.u16_be()?);
        let address = Ipv6Addr::from(r.array::<16>()?);
        r.skip(usize::from(sources) * 16 + usize::from(auxiliary) * 4)?;
        if super::igmp::joins(kind, sources) {
            group(address, sink);
        }
    }
    Ok(())
}

/// Solicited-node groups (RFC 4291 §2.7.1) repeat the host's own address and are left out.
fn group(address: Ipv6Addr, sink: &mut dyn Sink) {
    let [a, .., f, g, _] = address.segments();
    let solicited_node = a == 0xff02 && f == 1 && g >> 8 == 0xff;
    if address.is_multicast() && !solicited_node {
        sink.says("igmp.group", address.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of, unhex};

    const TARGET: &str = "20010db8000000000000000000000005";

    fn from(ip: &str, message: &str) -> Result<String, Malformed> {
        let mut ctx = ctx(0, 0, Role::Unknown);
        ctx.src.ip = Some(ip.parse::<IpAddr>().unwrap());
        let bytes = unhex(message);
        facts_of(run, &bytes, &ctx)
    }

    #[track_caller]
    fn check(ip: &str, message: &str, expect: &[&str]) {
        assert_eq!(from(ip, message).unwrap(), expect.join("\n"));
    }

    #[test]
    fn an_advertisement_binds_its_target() {
        let bound = "00:00:5e:00:53:05 uses 2001:db8::5 (NeighbourDiscovery)";
        let message = format!("88 00 0000 60000000 {TARGET} 02 01 00005e005305");
        check("2001:db8::5", &message, &[bound]);
        let bare = format!("88 00 0000 60000000 {TARGET}");
        let bound = "02:00:00:00:00:01 uses 2001:db8::5 (NeighbourDiscovery)";
        check("2001:db8::5", &bare, &[bound]);
        // Somebody else's address without a link address: not certain.
        check("2001:db8::9", &bare, &[]);
    }

    #[test]
    fn a_solicitation_binds_its_sender_and_not_its_target() {
        let message = format!("87 00 0000 00000000 {TARGET} 01 01 00005e005309");
        let bound = "00:00:5e:00:53:09 uses 2001:db8::9 (NeighbourDiscovery)";
        check("2001:db8::9", &message, &[bound]);
        let probe = format!("87 00 0000 00000000 {TARGET}");
        let bound = "02:00:00:00:00:01 uses 2001:db8::5 (NeighbourDiscovery)";
        check("::", &probe, &[bound]);
    }

    #[test]
    fn a_router_advertises_itself_and_its_prefix() {
        let message = "86 00 0000 40 00 0708 00000000 00000000
            03 04 40 c0 00278d00 00093a80 00000000 20010db8000000000000000000000000
            01 01 00005e005301";
        let expect = [
            "sender says ndp.router = default",
            "sender says ndp.prefix = 2001:db8::/64",
            "00:00:5e:00:53:01 uses fe80::1 (NeighbourDiscovery)",
        ];
        check("fe80::1", message, &expect);
    }

    #[test]
    fn listeners_name_groups_but_not_their_own_address() {
        let message = "8f 00 0000 0000 0002
            04 00 0000 ff0200000000000000000000000000fb
            04 00 0000 ff0200000000000000000001ff000005";
        check("fe80::5", message, &["sender says igmp.group = ff02::fb"]);
    }

    #[test]
    fn broken_messages_are_refused() {
        let zero_option = format!("88 00 0000 60000000 {TARGET} 02 00");
        assert_eq!(from("fe80::1", &zero_option), Err(Malformed::Invalid));
        assert_eq!(from("fe80::1", "88 00 0000 6000"), Err(Malformed::Truncated));
        assert_eq!(from("fe80::1", "c8 00 0000"), Err(Malformed::NotMine));
    }
}
