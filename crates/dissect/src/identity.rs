//! What tells devices apart: UUIDs, link and network addresses, normalised, checked and reported.

use std::net::IpAddr;

use model::Mac;
use model::observation::{BindingSource, IdentifierKind};

use crate::{About, Ctx, Fact, Sink};

/// A UUID from `uuid:…`, `urn:uuid:…`, `{…}` or plain text. Hexadecimal ones come out in lower
/// case with hyphens, makers' own forms (`Insight-1_0-221542K1200339`) as they are. Placeholders
/// that many devices share are no identity.
pub(crate) fn uuid(text: &str) -> Option<String> {
    let text = text.trim().trim_matches(['{', '}']);
    let text = strip_prefix_ignore_case(text, "urn:").unwrap_or(text);
    let text = strip_prefix_ignore_case(text, "uuid:").unwrap_or(text);
    let text = text.split("::").next().unwrap_or_default().trim();
    if !crate::text::is_name(text) || text.len() < 8 {
        return None;
    }
    let hex: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
    if hex.len() != 32 || !hex.iter().all(u8::is_ascii_hexdigit) {
        return Some(text.to_owned());
    }
    let hex = String::from_utf8(hex).ok()?.to_ascii_lowercase();
    let first = hex.bytes().next();
    let trivial = hex.bytes().all(|b| Some(b) == first)
        || hex.starts_with("0123456789")
        || hex.starts_with("123456781234123412341234");
    let part = |range| hex.get(range).unwrap_or_default();
    (!trivial).then(|| {
        let parts = [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)];
        parts.join("-")
    })
}

/// A UUID in binary (RFC 9562 byte order).
pub(crate) fn uuid_bytes(bytes: &[u8]) -> Option<String> {
    (bytes.len() == 16).then(|| uuid(&crate::text::hex(bytes))).flatten()
}

/// Reports a UUID of `about`, and the link address in its tail when that is certain: makers put
/// their own address there, but so do random and time-based UUIDs made on other machines; it is
/// believed when it comes from the same address block as the sender's.
pub(crate) fn report_uuid(
    about: &About<'_>,
    field: &'static str,
    text: &str,
    ctx: &Ctx,
    sink: &mut dyn Sink,
) {
    let Some(uuid) = uuid(text) else { return };
    let tail: Option<Mac> = uuid.get(24..36).and_then(|tail| tail.parse().ok());
    let [a, b, c, ..] = ctx.src.mac.0;
    let own = tail.filter(|m| m.is_unicast() && m.0.starts_with(&[a, b, c]));
    sink.identifier(about.clone(), field, IdentifierKind::Uuid, uuid);
    if let (Some(mac), About::Sender) = (own, about) {
        sink.identifier(About::Sender, field, IdentifierKind::Mac, mac.to_string());
    }
}

/// A link address that can stand for one device, from text in a usual spelling.
pub(crate) fn mac(text: &str) -> Option<Mac> {
    let text = text.trim();
    let well_formed = match text.len() {
        12 => text.bytes().all(|b| b.is_ascii_hexdigit()),
        14 => text.split('.').count() == 3,
        17 => text.split(['-', ':']).count() == 6,
        _ => false,
    };
    let mac: Mac = well_formed.then(|| text.parse().ok()).flatten()?;
    mac.is_unicast().then_some(mac)
}

/// Reports a link address the sender says is its own.
pub(crate) fn own_mac(sink: &mut dyn Sink, field: &'static str, mac: Mac) {
    if mac.is_unicast() {
        sink.says(field, mac.to_string());
        sink.identifier(About::Sender, field, IdentifierKind::Mac, mac.to_string());
    }
}

/// As [`own_mac`], from text.
pub(crate) fn own_mac_text(sink: &mut dyn Sink, field: &'static str, text: &str) {
    if let Some(mac) = mac(text) {
        own_mac(sink, field, mac);
    }
}

/// Reports a network address that somebody uses, unless it cannot be a host's own.
pub(crate) fn bound(sink: &mut dyn Sink, about: About<'_>, ip: IpAddr, how: BindingSource) {
    if is_host(ip) {
        sink.fact(about, Fact::Bound { ip, how });
    }
}

/// The sender when the address is its own, otherwise the host at that address.
pub(crate) fn host(ip: IpAddr, ctx: &Ctx) -> About<'static> {
    if ctx.src.ip == Some(ip) { About::Sender } else { About::Host(ip) }
}

/// An address that can stand for one host.
pub(crate) fn is_host(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !ip.is_unspecified() && !ip.is_multicast() && !ip.is_loopback() && !broadcast
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx};

    #[test]
    fn uuids_are_normalised_and_placeholders_refused() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(uuid(text).as_deref(), expect, "{text}");
        };
        let hue = Some("2f402f80-da50-11e1-9b23-0017882476ff");
        check("uuid:2F402F80-DA50-11E1-9B23-0017882476FF::upnp:rootdevice", hue);
        check("urn:uuid:2f402f80-da50-11e1-9b23-0017882476ff", hue);
        check("{2f402f80da5011e19b230017882476ff}", hue);
        check("uuid:Socket-1_0-221519K1100F55", Some("Socket-1_0-221519K1100F55"));
        check("00000000-0000-0000-0000-000000000000", None);
        check("12345678-1234-1234-1234-123456789abc", None);
        check("uuid:x", None);
        check("", None);
    }

    #[test]
    fn an_address_in_a_uuid_needs_the_senders_block() {
        let check = |text: &str, expect: &str| {
            let mut sink = Recorder::default();
            let ctx = ctx(1900, 1900, Role::Unknown);
            report_uuid(&About::Sender, "ssdp.usn", text, &ctx, &mut sink);
            assert_eq!(sink.text(), expect);
        };
        check(
            "uuid:4d454930-0000-1000-8000-0200000000aa",
            "sender is Uuid 4d454930-0000-1000-8000-0200000000aa (ssdp.usn)\n\
             sender is Mac 02:00:00:00:00:aa (ssdp.usn)",
        );
        check(
            "uuid:4d454930-0000-1000-8000-0a00000000aa",
            "sender is Uuid 4d454930-0000-1000-8000-0a00000000aa (ssdp.usn)",
        );
    }

    #[test]
    fn link_addresses_in_text() {
        assert!(mac("00:1b:1b:35:84:10").is_some() && mac("001B1B358410").is_some());
        for text in ["", "ff:ff:ff:ff:ff:ff", "000000000000", "00:1b", "2021-01-01T00:00Z"] {
            assert!(mac(text).is_none(), "{text}");
        }
    }
}
