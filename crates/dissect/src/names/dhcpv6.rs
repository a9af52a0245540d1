//! DHCPv6 (RFC 8415): what clients and servers say about themselves, relays looked through.

use std::net::{IpAddr, Ipv6Addr};

use model::Mac;
use model::limits::DEPTH_MAX;
use model::observation::{BindingSource, IdentifierKind};

use super::dhcp::{cablelabs_field, dns_labels, printable, report_enterprise};
use super::dhcp_options::comma_list;
use super::duid::Duid;
use crate::identity;
use crate::{About, Ctx, Malformed, Outcome, Reader, Sink, text};

/// Option codes.
mod option {
    pub(super) const CLIENT_ID: u16 = 1;
    pub(super) const SERVER_ID: u16 = 2;
    pub(super) const IA_NA: u16 = 3;
    pub(super) const IA_TA: u16 = 4;
    pub(super) const IA_ADDRESS: u16 = 5;
    pub(super) const OPTION_REQUEST: u16 = 6;
    pub(super) const RELAY_MESSAGE: u16 = 9;
    pub(super) const USER_CLASS: u16 = 15;
    pub(super) const VENDOR_CLASS: u16 = 16;
    pub(super) const VENDOR_OPTIONS: u16 = 17;
    pub(super) const FQDN: u16 = 39;
    pub(super) const CLIENT_LINK_ADDRESS: u16 = 79;
    pub(super) const MUD_URL: u16 = 112;
}

/// Options looked at in one message.
const OPTIONS_MAX: usize = 128;

/// Reads one message of either direction.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let relayed = unwrap_relays(payload)?;
    let mut r = Reader::new(relayed.message);
    let kind = r.u8()?;
    r.skip(3)?; // transaction id
    let options = options(r.rest());
    match kind {
        1 | 3..=6 | 8 | 9 | 11 => client(kind, &options, &relayed, sink),
        2 | 7 | 10 => server(kind, &options, &relayed, ctx, sink),
        _ => return Err(Malformed::NotMine),
    }
    Ok(())
}

/// A message and what the relays said of its client.
struct Relayed<'a> {
    message: &'a [u8],
    /// Link address the first relay saw (RFC 6939).
    link: Option<Mac>,
    /// Address the first relay saw.
    peer: Option<Ipv6Addr>,
}

fn unwrap_relays(payload: &[u8]) -> Result<Relayed<'_>, Malformed> {
    let mut relayed = Relayed { message: payload, link: None, peer: None };
    for _ in 0..DEPTH_MAX {
        let mut r = Reader::new(relayed.message);
        let kind = r.u8()?;
        if !matches!(kind, 12 | 13) {
            return Ok(relayed);
        }
        r.skip(1 + 16)?; // hop count, link-address
        relayed.peer = Some(Ipv6Addr::from(r.array::<16>()?));
        let list = options(r.rest());
        relayed.link = find(&list, option::CLIENT_LINK_ADDRESS)
            .and_then(|v| v.strip_prefix(&[0, 1]))
            .and_then(|v| Some(Mac(v.try_into().ok()?)))
            .filter(|mac| mac.is_unicast());
        relayed.message = find(&list, option::RELAY_MESSAGE).ok_or(Malformed::Truncated)?;
    }
    Err(Malformed::Limit)
}

type Options<'a> = Vec<(u16, &'a [u8])>;

fn options(bytes: &[u8]) -> Options<'_> {
    let mut r = Reader::new(bytes);
    let mut list = Vec::new();
    while let (Ok(code), Ok(length)) = (r.u16_be(), r.u16_be()) {
        let Ok(value) = r.take(usize::from(length)) else {
            break;
        };
        list.push((code, value));
        if list.len() >= OPTIONS_MAX {
            break;
        }
    }
    list
}

fn find<'a>(list: &Options<'a>, code: u16) -> Option<&'a [u8]> {
    list.iter().find(|(c, _)| *c == code).map(|(_, v)| *v)
}

/// Who the client is: the sender, or through relays the link address that a relay or the DUID
/// tells, or a routable peer address.
fn subject(duid: Option<&Duid<'_>>, relayed: &Relayed<'_>) -> Option<About<'static>> {
    let Some(peer) = relayed.peer else {
        return Some(About::Sender);
    };
    let mac = relayed.link.or(duid.and_then(|d| d.mac));
    let host = About::Host(IpAddr::V6(peer));
    let is_routable = !peer.is_unicast_link_local();
    mac.map(About::Mac).or(is_routable.then_some(host))
}

fn client(kind: u8, list: &Options<'_>, relayed: &Relayed<'_>, sink: &mut dyn Sink) {
    let duid = find(list, option::CLIENT_ID).and_then(Duid::read);
    let Some(about) = subject(duid.as_ref(), relayed) else {
        return;
    };
    report_duid(duid.as_ref(), "dhcpv6.client_id", &about, sink);
    let order = comma_list(list.iter().map(|(code, _)| *code));
    sink.about(about.clone(), "dhcpv6.option_order", order);
    for (code, value) in list {
        match *code {
            option::OPTION_REQUEST => {
                let pairs = value.chunks_exact(2);
                let codes = pairs.map(|p| p.iter().fold(0u16, |n, b| (n << 8) | u16::from(*b)));
                sink.about(about.clone(), "dhcpv6.parameters", comma_list(codes));
            }
            option::USER_CLASS => {
                let mut items = Reader::new(value);
                while let Ok(item) = items.u16_be().and_then(|n| items.take(usize::from(n))) {
                    sink.about(about.clone(), "dhcpv6.user_class", text::clean(item));
                }
            }
            option::VENDOR_CLASS => {
                let mut r = Reader::new(value);
                let Ok(number) = r.u32_be() else { continue };
                report_enterprise(number, &about, sink);
                while let Ok(item) = r.u16_be().and_then(|n| r.take(usize::from(n))) {
                    sink.about(about.clone(), "dhcpv6.vendor_class", text::clean(item));
                }
            }
            option::VENDOR_OPTIONS => vendor_options(value, &about, sink),
            option::FQDN => {
                let name = dns_labels(value.get(1..).unwrap_or_default());
                sink.about(about.clone(), "dhcpv6.fqdn", name);
            }
            option::MUD_URL => sink.about(about.clone(), "dhcpv6.mud_url", text::clean(value)),
            // Renew: the client uses these addresses (RFC 8415 §18.2.4).
            option::IA_NA if kind == 5 => bound(value, 12, &about, sink),
            option::IA_TA if kind == 5 => bound(value, 4, &about, sink),
            _ => {}
        }
    }
}

fn server(kind: u8, list: &Options<'_>, relayed: &Relayed<'_>, ctx: &Ctx, sink: &mut dyn Sink) {
    let duid = find(list, option::CLIENT_ID).and_then(Duid::read);
    if relayed.peer.is_none() && ctx.src.port == 547 {
        let own = find(list, option::SERVER_ID).and_then(Duid::read);
        sink.says("dhcpv6.server", own.map(|d| d.normal()).unwrap_or_default());
        report_duid(own.as_ref(), "dhcpv6.server_id", &About::Sender, sink);
    }
    let client = match relayed.peer {
        Some(_) => subject(duid.as_ref(), relayed),
        None => matches!(ctx.dst.ip, Some(ip) if identity::is_host(ip)).then_some(About::Receiver),
    };
    let Some(about) = client.filter(|_| kind == 7) else {
        return;
    };
    for (code, value) in list {
        match *code {
            option::IA_NA => bound(value, 12, &about, sink),
            option::IA_TA => bound(value, 4, &about, sink),
            _ => {}
        }
    }
}

/// Addresses of an identity association; `head` bytes stand before its options.
fn bound(association: &[u8], head: usize, about: &About<'_>, sink: &mut dyn Sink) {
    for (code, value) in options(association.get(head..).unwrap_or_default()) {
        let mut r = Reader::new(value);
        let (Ok(address), Ok(_preferred), Ok(valid)) = (r.array::<16>(), r.u32_be(), r.u32_be())
        else {
            continue;
        };
        let ip = IpAddr::V6(address.into());
        if code == option::IA_ADDRESS && valid > 0 {
            identity::bound(sink, about.clone(), ip, BindingSource::Dhcp);
        }
    }
}

fn report_duid(
    duid: Option<&Duid<'_>>,
    field: &'static str,
    about: &About<'_>,
    sink: &mut dyn Sink,
) {
    let Some(duid) = duid else { return };
    sink.about(about.clone(), "dhcpv6.duid_type", duid.kind);
    if let Some(number) = duid.enterprise {
        sink.about(about.clone(), "dhcpv6.duid_enterprise", number.to_string());
    }
    sink.identifier(about.clone(), field, IdentifierKind::Duid, duid.normal());
}

/// Option 17: enterprise number, then sub-options in the form of options.
fn vendor_options(value: &[u8], about: &About<'_>, sink: &mut dyn Sink) {
    let mut r = Reader::new(value);
    let Ok(number) = r.u32_be() else { return };
    report_enterprise(number, about, sink);
    for (code, value) in options(r.rest()) {
        // CableLabs uses the numbers of DHCPv4 option 43 here (CL-SP-CANN-DHCP-Reg §7).
        if let Some(field) = cablelabs_field(code).filter(|_| number == 4491) {
            sink.about(about.clone(), field, printable(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of, unhex};

    fn check(hex: &str, src_port: u16, expect: Result<&str, Malformed>) {
        assert_eq!(
            facts_of(run, &unhex(hex), &ctx(src_port, 547, Role::Unknown)),
            expect.map(str::to_owned)
        );
    }

    const SOLICIT: &str = "01 102030
        0001 000a 0003 0001 001b1b358410    # client id: DUID-LL
        0006 0004 0017 0018                 # option request
        0010 000a 00000137 0004 4d534654    # vendor class 311, MSFT
        0027 0006 00 036b7734 00            # FQDN kw4
        0070 0004 68747470                  # MUD URL
        ";

    const FACTS: &str = "is Duid 00030001001b1b358410 (dhcpv6.client_id)
says dhcpv6.option_order = 1,6,16,39,112
says dhcpv6.parameters = 23,24
says dhcp.vendor_class_enterprise = 311
says dhcp.vendor_class_enterprise_name = Microsoft
says dhcpv6.vendor_class = MSFT
says dhcpv6.fqdn = kw4
says dhcpv6.mud_url = http";

    fn said_by(who: &str) -> String {
        let facts = format!("says dhcpv6.duid_type = ll\n{FACTS}");
        let lines: Vec<_> = facts.lines().map(|l| format!("{who} {l}")).collect();
        lines.join("\n")
    }

    fn relay(inner: &str, extra: &str, depth: usize) -> String {
        let mut bytes = unhex(inner);
        for _ in 0..depth {
            let mut outer = unhex(&format!("0c 00 {:032x} fe80 {:028x} {extra}", 1, 2));
            outer.extend([0, 9]);
            outer.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
            outer.extend(bytes);
            bytes = outer;
        }
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn a_client_describes_itself() {
        check(SOLICIT, 546, Ok(&said_by("sender")));
    }

    #[test]
    fn relays_are_looked_through() {
        check(&relay(SOLICIT, "", 1), 547, Ok(&said_by("00:1b:1b:35:84:10")));
        let link = "004f 0008 0001 0200000000aa";
        check(&relay(SOLICIT, link, 3), 547, Ok(&said_by("02:00:00:00:00:aa")));
        check(&relay(SOLICIT, "", 40), 547, Err(Malformed::Limit));
        // No link address anywhere, peer is link-local: nobody can be named.
        let nameless = "01 102030 0001 000a 0004 0123456789abcdef 0006 0002 0017";
        check(&relay(nameless, "", 1), 547, Ok(""));
    }

    #[test]
    fn addresses_in_replies_and_renewals() {
        let ia = "0003 0028 00000001 00000e10 00001518
                  0005 0018 20010db8000000000000000000000042 00000e10 00001518";
        let reply = format!("07 102030 {ia} 0002 000a 0003 0001 001b1b358499");
        check(
            &reply,
            547,
            Ok("sender says dhcpv6.server = 00030001001b1b358499\n\
                sender says dhcpv6.duid_type = ll\n\
                sender is Duid 00030001001b1b358499 (dhcpv6.server_id)\n\
                receiver uses 2001:db8::42 (Dhcp)"),
        );
        check(
            &format!("05 102030 {ia}"),
            546,
            Ok("sender says dhcpv6.option_order = 3\nsender uses 2001:db8::42 (Dhcp)"),
        );
        check(&format!("01 102030 {ia}"), 546, Ok("sender says dhcpv6.option_order = 3"));
    }

    #[test]
    fn damage() {
        check("", 546, Err(Malformed::Truncated));
        check("63 102030", 546, Err(Malformed::NotMine));
        check("01 1020", 546, Err(Malformed::Truncated));
        check("0c 00 0000", 547, Err(Malformed::Truncated));
        check("01 102030 0027 ffff 00", 546, Ok(""));
    }
}
