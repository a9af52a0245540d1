//! DHCPv4 and BOOTP (RFC 951, RFC 2131, RFC 2132): what a client says about itself, and which
//! address it got.
//!
//! Everything a client says is about the owner of `chaddr`: a relay's link address is in front
//! of it. What a server says about a client (`dhcp.assigned_hostname`) is the server's idea.

use std::net::{IpAddr, Ipv4Addr};

use model::Mac;
use model::observation::{BindingSource, IdentifierKind};

use super::dhcp_options::{Options, comma_list, sub_options};
use super::duid::Duid;
use super::enterprise;
use crate::identity;
use crate::{About, Ctx, Fact, Malformed, Outcome, Reader, Sink, text};

/// Message types (RFC 2132 §9.6).
mod message {
    pub(super) const REQUEST: u8 = 3;
    pub(super) const ACK: u8 = 5;
    pub(super) const INFORM: u8 = 8;
}

const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
/// CableLabs and Broadband Forum enterprise numbers.
const CABLELABS: u32 = 4491;
const BROADBAND_FORUM: u32 = 3561;

/// Reads one message of either direction.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let message = Message::read(payload)?;
    match message.op {
        1 => client(&message, ctx, sink),
        _ => server(&message, ctx, sink),
    }
    Ok(())
}

/// A message (RFC 2131 §2).
struct Message<'a> {
    op: u8,
    ciaddr: Ipv4Addr,
    yiaddr: Ipv4Addr,
    giaddr: Ipv4Addr,
    client: Mac,
    file: &'a [u8],
    options: Options<'a>,
    /// DHCP message type; `None` is BOOTP.
    kind: Option<u8>,
}

impl<'a> Message<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(payload);
        let [op, hardware, address_length, hops] = r.array()?;
        if !matches!(op, 1 | 2) || hops > 16 || address_length > 16 {
            return Err(Malformed::NotMine);
        }
        r.skip(8)?; // xid, secs, flags
        let ciaddr = r.array::<4>()?.into();
        let yiaddr = r.array::<4>()?.into();
        r.skip(4)?; // siaddr: the next server to boot from, not the DHCP server
        let giaddr = r.array::<4>()?.into();
        let client = Mac(r.array()?);
        r.skip(10)?;
        let sname = r.take(64)?;
        let file = r.take(128)?;
        // IEEE 802 only, and an address that can stand for one device. Windows RRAS leases
        // addresses for its own clients under the made-up address "RAS ".
        let named = matches!((hardware, address_length), (1 | 6, 6)) && client.is_unicast();
        if !named || client.0.starts_with(b"RAS ") {
            return Err(Malformed::Invalid);
        }
        let is_dhcp = r.array::<4>() == Ok(MAGIC_COOKIE);
        let options = if is_dhcp { r.rest() } else { &[] };
        let options = Options::read(options, file, sname);
        let kind = options.u8(53);
        Ok(Self { op, ciaddr, yiaddr, giaddr, client, file, options, kind })
    }

    fn about(&self) -> About<'static> {
        About::Mac(self.client)
    }

    fn text(&self, code: u8) -> std::borrow::Cow<'_, str> {
        text::clean(self.options.get(code))
    }

    /// The client uses `ip`.
    fn bound(&self, ip: Ipv4Addr, sink: &mut dyn Sink) {
        identity::bound(sink, self.about(), IpAddr::V4(ip), BindingSource::Dhcp);
    }
}

fn client(m: &Message<'_>, ctx: &Ctx, sink: &mut dyn Sink) {
    let about = m.about();
    let o = &m.options;
    let order = comma_list(o.order().map(u16::from));
    let parameters = comma_list(o.get(55).iter().map(|n| u16::from(*n)));
    for (field, value) in [
        ("dhcp.hostname", m.text(12)),
        ("dhcp.vendor_class", m.text(60)),
        ("dhcp.parameters", parameters.into()),
        ("dhcp.option_order", order.into()),
        ("dhcp.user_class", user_class(o.get(77)).into()),
        ("dhcp.fqdn", fqdn(o.get(81)).into()),
        ("dhcp.mud_url", m.text(161)),
    ] {
        sink.about(about.clone(), field, value);
    }
    if let Ok(size) = Reader::new(o.get(57)).u16_be() {
        sink.about(about.clone(), "dhcp.max_size", size.to_string());
    }
    if let Ok(arch) = Reader::new(o.get(93)).u16_be() {
        sink.about(about.clone(), "dhcp.client_arch", arch.to_string());
    }
    if let Some(ip) = o.ipv4(50) {
        sink.about(about.clone(), "dhcp.requested_address", ip.to_string());
    }
    client_id(o.get(61), m.client, sink);
    // RFC 4578 §2.3: type 0 is the machine's UUID.
    if let Some((0, uuid)) = o.get(97).split_first().map(|(kind, rest)| (*kind, rest)) {
        let uuid = identity::uuid_bytes(uuid).unwrap_or_default();
        let field = "dhcp.client_uuid";
        sink.identifier(about.clone(), field, IdentifierKind::Uuid, uuid);
    }
    vendor_options(m, sink);
    enterprise_class(o.get(124), &about, sink);
    enterprise_options(o.get(125), &about, sink);
    relay_agent(m, ctx, sink);
    // With an address in `ciaddr` the client says that it uses it (RFC 2131 §4.3.2, §4.4.3).
    if matches!(m.kind, Some(message::REQUEST | message::INFORM)) {
        m.bound(m.ciaddr, sink);
    }
}

/// Client identifier (RFC 2132 §9.14, RFC 4361 §6.1). The link address alone adds nothing.
fn client_id(id: &[u8], client: Mac, sink: &mut dyn Sink) {
    let Some((kind, value)) = id.split_first() else {
        return;
    };
    let about = About::Mac(client);
    let field = "dhcp.client_id";
    if *kind == 255 {
        let Some(duid) = value.get(4..).and_then(Duid::read) else {
            return;
        };
        sink.about(about.clone(), "dhcp.duid_type", duid.kind);
        if let Some(number) = duid.enterprise {
            sink.about(about.clone(), "dhcp.duid_enterprise", number.to_string());
        }
        sink.about(about.clone(), field, duid.normal());
        sink.identifier(about, field, IdentifierKind::Duid, duid.normal());
        return;
    }
    let of_hardware = matches!(kind, 1 | 6) && value.len() == 6;
    // Some clients put their address there with a wrong type, or without one.
    let is_address = value == client.0 || id == client.0;
    if is_address || (of_hardware && !Mac(client_bytes(value)).is_unicast()) {
        return;
    }
    let as_text = text::clean(value);
    let shown =
        if *kind == 0 && text::is_name(&as_text) { as_text.into_owned() } else { text::hex(id) };
    sink.about(about.clone(), field, shown.clone());
    // A short or uniform value ("1", zeros) is a configuration default, not an identity.
    let first = value.first();
    if value.len() >= 6 && value.iter().any(|b| Some(b) != first) {
        sink.identifier(about, field, IdentifierKind::Duid, shown);
    }
}

/// Six bytes, or the zero address, which names nobody.
fn client_bytes(value: &[u8]) -> [u8; 6] {
    value.try_into().unwrap_or_default()
}

/// RFC 3004: length-prefixed instances; Microsoft and others send bare text.
fn user_class(bytes: &[u8]) -> String {
    let mut r = Reader::new(bytes);
    let mut classes = Vec::new();
    while let Ok(length) = r.u8() {
        match r.take(usize::from(length)) {
            Ok(class) if length > 0 => classes.push(text::clean(class).into_owned()),
            _ => return text::clean(bytes).into_owned(),
        }
    }
    classes.join(",")
}

/// RFC 4702 §2: flags, two obsolete bytes, the name; E flag: in DNS wire format, else text.
fn fqdn(bytes: &[u8]) -> String {
    let mut r = Reader::new(bytes);
    let (Ok(flags), Ok(())) = (r.u8(), r.skip(2)) else {
        return String::new();
    };
    if flags & 4 == 0 {
        return text::clean(r.rest()).into_owned();
    }
    dns_labels(r.rest())
}

/// Uncompressed DNS labels, joined by dots; DHCPv6 uses the same form (RFC 4704 §4.2).
pub(super) fn dns_labels(bytes: &[u8]) -> String {
    let mut r = Reader::new(bytes);
    let mut labels = Vec::new();
    while let Ok(length @ 1..=63) = r.u8() {
        let Ok(label) = r.take(usize::from(length)) else {
            break;
        };
        labels.push(text::clean(label).into_owned());
    }
    labels.join(".")
}

/// Option 43. Its meaning depends on option 60; CableLabs devices name themselves in it
/// (CL-SP-CANN-DHCP-Reg §5), others put readable text into sub-options.
fn vendor_options(m: &Message<'_>, sink: &mut dyn Sink) {
    let Some(list) = sub_options(m.options.get(43)) else {
        return;
    };
    let class = m.options.get(60);
    let cable = class.starts_with(b"docsis") || class.starts_with(b"pktc");
    for (code, value) in list.into_iter().take(32) {
        let value = text::clean(value);
        if !text::is_name(&value) || value.len() < 2 {
            continue;
        }
        match cable.then(|| cablelabs_field(u16::from(code))).flatten() {
            Some(field) => sink.about(m.about(), field, value),
            None => sink.fact(
                m.about(),
                Fact::SaysKeyed {
                    field: "dhcp.vendor_option",
                    key: code.to_string().into(),
                    value,
                },
            ),
        }
    }
}

/// Names of CableLabs sub-options, the same in DHCPv4 option 43 and DHCPv6 option 17.
pub(super) fn cablelabs_field(code: u16) -> Option<&'static str> {
    Some(match code {
        2 => "dhcp.device_type",
        4 => "dhcp.serial",
        5 => "dhcp.hardware",
        6 => "dhcp.firmware",
        9 => "dhcp.model",
        10 => "dhcp.manufacturer",
        _ => return None,
    })
}

/// Option 124 (RFC 3925 §3): enterprise number, then length-prefixed data; also the form of
/// DHCPv6 option 16 up to the width of the length.
fn enterprise_class(bytes: &[u8], about: &About<'_>, sink: &mut dyn Sink) {
    let mut r = Reader::new(bytes);
    while let (Ok(number), Ok(length)) = (r.u32_be(), r.u8()) {
        report_enterprise(number, about, sink);
        let data = r.take_up_to(usize::from(length));
        let mut items = Reader::new(data);
        while let Ok(item) = items.u8().and_then(|n| items.take(usize::from(n))) {
            sink.about(about.clone(), "dhcp.vendor_class_data", printable(item));
        }
    }
}

/// Option 125 (RFC 3925 §4): enterprise number, then sub-options.
fn enterprise_options(bytes: &[u8], about: &About<'_>, sink: &mut dyn Sink) {
    let mut r = Reader::new(bytes);
    while let (Ok(number), Ok(length)) = (r.u32_be(), r.u8()) {
        report_enterprise(number, about, sink);
        let list = sub_options(r.take_up_to(usize::from(length))).unwrap_or_default();
        for (code, value) in list.into_iter().take(32) {
            let value = printable(value);
            let field = match (number, code) {
                (CABLELABS, _) => cablelabs_field(u16::from(code)),
                // TR-069 Annex F: device identity towards its gateway.
                (BROADBAND_FORUM, 1 | 4) => Some("dhcp.tr069_oui"),
                (BROADBAND_FORUM, 2 | 5) => Some("dhcp.serial"),
                (BROADBAND_FORUM, 3 | 6) => Some("dhcp.model"),
                _ => None,
            };
            match field {
                Some(field) => sink.about(about.clone(), field, value),
                None if !value.is_empty() => sink.fact(
                    about.clone(),
                    Fact::SaysKeyed {
                        field: "dhcp.enterprise_option",
                        key: format!("{number}.{code}").into(),
                        value: value.into(),
                    },
                ),
                None => {}
            }
        }
    }
}

/// The enterprise number that qualifies vendor classes and options.
pub(super) fn report_enterprise(number: u32, about: &About<'_>, sink: &mut dyn Sink) {
    let field = "dhcp.vendor_class_enterprise";
    sink.about(about.clone(), field, number.to_string());
    let name = enterprise::name(number).unwrap_or_default();
    sink.about(about.clone(), "dhcp.vendor_class_enterprise_name", name);
}

/// Text, or nothing when it is binary.
pub(super) fn printable(bytes: &[u8]) -> String {
    let text = text::clean(bytes);
    if text::is_name(&text) { text.into_owned() } else { String::new() }
}

/// Option 82 (RFC 3046): the relay or access switch says at which of its ports the client is.
fn relay_agent(m: &Message<'_>, ctx: &Ctx, sink: &mut dyn Sink) {
    let list = sub_options(m.options.get(82)).unwrap_or_default();
    let sub = |code| list.iter().find(|(c, _)| *c == code).map(|(_, v)| *v);
    let Some(port) = sub(1).map(circuit).filter(|port| !port.is_empty()) else {
        return;
    };
    // A snooping switch has no `giaddr`; its own address is then its remote id (type 0, length 6).
    let relay = if m.giaddr.is_unspecified() {
        let id = sub(2).unwrap_or_default();
        let mac = Mac(client_bytes(id.strip_prefix(&[0, 6]).unwrap_or(id)));
        if !mac.is_unicast() {
            return;
        }
        About::Mac(mac)
    } else {
        identity::host(IpAddr::V4(m.giaddr), ctx)
    };
    sink.fact(relay, Fact::Located { client: m.client, port: port.into(), present: true });
}

/// Circuit id: text, or the widespread binary form 0, 4, VLAN (16 bits), module, port.
fn circuit(id: &[u8]) -> String {
    match id {
        [0, 4, v1, v2, module, port] => {
            let vlan = u16::from_be_bytes([*v1, *v2]);
            format!("{module}/{port} vlan {vlan}")
        }
        _ => match printable(id) {
            text if text.is_empty() => text::hex(id),
            text => text,
        },
    }
}

fn server(m: &Message<'_>, ctx: &Ctx, sink: &mut dyn Sink) {
    let about = m.about();
    // Only port 67 answers. Through a relay the sender is the relay; the server names itself.
    if ctx.src.port == 67
        && let Some(id) = m.options.ipv4(54)
        && identity::is_host(IpAddr::V4(id))
    {
        let server = identity::host(IpAddr::V4(id), ctx);
        sink.about(server.clone(), "dhcp.server", id.to_string());
        sink.about(server, "dhcp.server_domain", m.text(15));
    }
    sink.about(about.clone(), "dhcp.assigned_hostname", m.text(12));
    let overloaded = m.options.u8(52).unwrap_or_default() & 1 != 0;
    if !overloaded {
        sink.about(about.clone(), "dhcp.boot_file", text::c_string(m.file));
    }
    sink.about(about, "dhcp.boot_file", m.text(67));
    match m.kind {
        Some(message::ACK) | None if m.yiaddr.is_unspecified() => m.bound(m.ciaddr, sink),
        Some(message::ACK) | None => m.bound(m.yiaddr, sink),
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx, unhex};

    const CLIENT: &str = "001b1b358410";

    /// A message with these addresses and options (hex).
    fn message(
        op: u8,
        ciaddr: &str,
        yiaddr: &str,
        giaddr: &str,
        chaddr: &str,
        options: &str,
    ) -> Vec<u8> {
        let mut hex =
            format!("{op:02x} 01 06 00  3903f326 0000 0000 {ciaddr} {yiaddr} 00000000 {giaddr}");
        hex += &format!("{chaddr} 00000000000000000000");
        hex += &"00".repeat(64 + 128);
        hex += &format!("63825363 {options} ff");
        unhex(&hex)
    }

    const NONE: &str = "00000000";

    fn run_from(bytes: &[u8], src_port: u16) -> (Outcome, String) {
        let mut sink = Recorder::default();
        let outcome = run(bytes, &ctx(src_port, 67, Role::Unknown), &mut sink);
        (outcome, sink.text())
    }

    fn check_client(options: &str, expect: &[&str]) {
        let (outcome, text) = run_from(&message(1, NONE, NONE, NONE, CLIENT, options), 68);
        assert_eq!(outcome, Ok(()));
        for line in expect {
            let line = format!("00:1b:1b:35:84:10 {line}");
            assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        }
    }

    #[test]
    fn a_client_describes_itself() {
        check_client(
            "35 01 01  3d 07 01 001b1b358410  0c 04 706c7567  3c 07 756468637020 31  37 03 010306
             39 02 05dc  32 04 c0000209  4d 04 03 616263  51 08 00 0000 706c75672e",
            &[
                "says dhcp.hostname = plug",
                "says dhcp.vendor_class = udhcp 1",
                "says dhcp.parameters = 1,3,6",
                "says dhcp.option_order = 53,61,12,60,55,57,50,77,81",
                "says dhcp.user_class = abc",
                "says dhcp.fqdn = plug.",
                "says dhcp.max_size = 1500",
                "says dhcp.requested_address = 192.0.2.9",
            ],
        );
        // FQDN in wire format, user class as bare text, MUD URL.
        check_client(
            "51 0a 04 0000 0170 02696f 0000  4d 02 6869  a1 0a 68747470733a2f2f6d2f",
            &[
                "says dhcp.fqdn = p.io",
                "says dhcp.user_class = hi",
                "says dhcp.mud_url = https://m/",
            ],
        );
    }

    #[test]
    fn client_identifiers() {
        for own in ["3d 07 01 001b1b358410", "3d 07 00 001b1b358410", "3d 06 001b1b358410"] {
            let text = run_from(&message(1, NONE, NONE, NONE, CLIENT, own), 68).1;
            assert!(!text.contains("client_id"), "{text}");
        }
        // RFC 4361: IAID, then DUID-LL.
        check_client(
            "3d 0f ff 00000001 0003 0001 001b1b358411",
            &["is Duid 00030001001b1b358411 (dhcp.client_id)", "says dhcp.duid_type = ll"],
        );
        check_client(
            "3d 08 00 636973636f2d31", // "cisco-1"
            &["is Duid cisco-1 (dhcp.client_id)"],
        );
        let short = run_from(&message(1, NONE, NONE, NONE, CLIENT, "3d 02 00 31"), 68).1;
        assert!(short.contains("dhcp.client_id = 1") && !short.contains("Duid"), "{short}");
        let zero = run_from(&message(1, NONE, NONE, NONE, CLIENT, "3d 07 01 000000000000"), 68).1;
        assert!(!zero.contains("client_id"), "{zero}");
        check_client(
            "61 11 00 00112233445566778899aabbccddeeff",
            &["is Uuid 00112233-4455-6677-8899-aabbccddeeff (dhcp.client_uuid)"],
        );
    }

    #[test]
    fn vendors_name_their_devices_in_options() {
        check_client(
            "3c 06 646f63736973  2b 0c 02 02 434d  04 02 5331  09 02 4d31", // docsis; CM, S1, M1
            &["says dhcp.device_type = CM", "says dhcp.serial = S1", "says dhcp.model = M1"],
        );
        check_client(
            "2b 06 05 04 41423132", // AB12
            &["says dhcp.vendor_option.5 = AB12"],
        );
        check_client(
            "7d 11 00000de9 0c 01 06 303031423142 02 02 5337", // 001B1B, S7
            &[
                "says dhcp.vendor_class_enterprise_name = Broadband Forum",
                "says dhcp.tr069_oui = 001B1B",
                "says dhcp.serial = S7",
            ],
        );
        check_client(
            "7c 0a 00000009 05 04 50313030", // P100
            &["says dhcp.vendor_class_enterprise = 9", "says dhcp.vendor_class_data = P100"],
        );
    }

    #[test]
    fn relays_are_not_clients_and_say_where_the_client_is() {
        let options = "0c 01 61 52 12 01 06 000400640205 02 08 0006020000000099";
        let (_, relayed) = run_from(&message(1, NONE, NONE, "c0000263", CLIENT, options), 67);
        assert!(relayed.contains("00:1b:1b:35:84:10 says dhcp.hostname = a"));
        assert!(relayed.contains("192.0.2.99 sees 00:1b:1b:35:84:10 at 2/5 vlan 100"), "{relayed}");
        assert!(!relayed.contains("sender"));
        let (_, snooped) = run_from(&message(1, NONE, NONE, NONE, CLIENT, options), 68);
        assert!(snooped.contains("02:00:00:00:00:99 sees 00:1b:1b:35:84:10 at 2/5 vlan 100"));
    }

    #[test]
    fn a_server_binds_and_names() {
        let ack = message(2, NONE, "c0000209", NONE, CLIENT, "35 01 05 36 04 c0000201 0c 01 78");
        assert_eq!(
            run_from(&ack, 67).1,
            "sender says dhcp.server = 192.0.2.1\n\
             00:1b:1b:35:84:10 says dhcp.assigned_hostname = x\n\
             00:1b:1b:35:84:10 uses 192.0.2.9 (Dhcp)"
        );
        let offer = message(2, NONE, "c0000209", NONE, CLIENT, "35 01 02 36 04 c0000263");
        assert_eq!(run_from(&offer, 67).1, "192.0.2.99 says dhcp.server = 192.0.2.99");
        let renewal = message(1, "c0000209", NONE, NONE, CLIENT, "35 01 03");
        assert!(run_from(&renewal, 68).1.contains("uses 192.0.2.9 (Dhcp)"));
        let release = message(1, "c0000209", NONE, NONE, CLIENT, "35 01 07");
        assert!(!run_from(&release, 68).1.contains("uses"));
    }

    #[test]
    fn nobody_is_no_client() {
        for chaddr in ["000000000000", "ffffffffffff", "01005e000001", "524153200001"] {
            let (outcome, text) = run_from(&message(1, NONE, NONE, NONE, chaddr, "0c 01 61"), 68);
            assert_eq!((outcome, text.as_str()), (Err(Malformed::Invalid), ""), "{chaddr}");
        }
        assert_eq!(run_from(&unhex("07010600"), 68).0, Err(Malformed::NotMine));
        let whole = message(1, NONE, NONE, NONE, CLIENT, "0c 01 61 37 02 0103");
        for n in 0..236 {
            assert!(run_from(&whole[..n], 68).0.is_err(), "{n}");
        }
        assert!(run_from(&whole[..whole.len() - 2], 68).1.contains("hostname = a"));
    }
}
