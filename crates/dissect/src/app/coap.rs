//! CoAP (RFC 7252): resources, LwM2M registrations (OMA), Shelly CoIoT.

use model::observation::IdentifierKind;

use crate::text::clean;
use crate::{About, Ctx, Fact, Malformed, Outcome, Reader, Sink};

use super::identity::own_mac;
use super::{key, lines};

/// A request by path whose options all parse: strict enough for any port.
pub(super) fn probe(bytes: &[u8]) -> bool {
    let Ok(message) = parse(bytes) else {
        return false;
    };
    let printable = message.path.bytes().all(|b| b.is_ascii_graphic());
    let asks = matches!(message.code, 1..=7) && message.path.len() > 1 && printable;
    let publishes = message.code == COIOT_PUBLISH && message.coiot.is_some();
    asks || publishes
}

/// Reads one datagram.
pub(super) fn run(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let message = parse(bytes)?;
    if let Some(device) = message.coiot {
        coiot(device, sink);
    }
    match message.code {
        0 => {}
        1..=7 => request(&message, sink),
        COIOT_PUBLISH => {}
        _ => response(&message, sink),
    }
    Ok(())
}

/// 0.30, a method of Shelly's own.
const COIOT_PUBLISH: u8 = 30;
/// Shelly's `GLOBAL_DEVID`.
const COIOT_DEVICE: u16 = 3332;
const LINK_FORMAT: u32 = 40;
const LWM2M_TLV: u32 = 11_542;
const OPTIONS_MAX: usize = 64;
const LINKS_MAX: usize = 64;
/// State per exchange: which path was asked for, by token.
const ASKED: u64 = 0x43_4f_01;

#[derive(Debug, Default)]
struct Message<'a> {
    code: u8,
    token: u64,
    path: String,
    queries: Vec<&'a [u8]>,
    host: Option<&'a [u8]>,
    format: Option<u32>,
    coiot: Option<&'a [u8]>,
    payload: &'a [u8],
}

fn parse(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut r = Reader::new(bytes);
    let first = r.u8()?;
    let token_length = usize::from(first & 0x0f);
    let code = r.u8()?;
    // Version 1, classes 0, 2, 4 and 5 (§3).
    if first >> 6 != 1 || token_length > 8 || !matches!(code >> 5, 0 | 2 | 4 | 5) {
        return Err(Malformed::NotMine);
    }
    if code >> 5 == 0 && code > 7 && code != COIOT_PUBLISH {
        return Err(Malformed::NotMine);
    }
    r.skip(2)?;
    let mut message = Message { code, ..Message::default() };
    for byte in r.take(token_length)? {
        message.token = message.token << 8 | u64::from(*byte);
    }
    // An empty message is four bytes (§4.1).
    if code == 0 {
        return if r.is_empty() && token_length == 0 {
            Ok(message)
        } else {
            Err(Malformed::NotMine)
        };
    }
    let mut number = 0u16;
    for _ in 0..OPTIONS_MAX {
        let Ok(head) = r.u8() else { break };
        if head == 0xff {
            if r.is_empty() {
                return Err(Malformed::Invalid);
            }
            message.payload = r.rest();
            break;
        }
        let delta = extended(head >> 4, &mut r)?;
        let length = extended(head & 0x0f, &mut r)?;
        number = number.checked_add(delta).ok_or(Malformed::Invalid)?;
        option(number, r.take(usize::from(length))?, &mut message)?;
    }
    Ok(message)
}

/// §3.1: 13 and 14 announce one and two more bytes.
fn extended(nibble: u8, r: &mut Reader<'_>) -> Result<u16, Malformed> {
    match nibble {
        13 => Ok(u16::from(r.u8()?) + 13),
        14 => r.u16_be()?.checked_add(269).ok_or(Malformed::Invalid),
        15 => Err(Malformed::Invalid),
        small => Ok(u16::from(small)),
    }
}

/// §5.10.
fn option<'a>(number: u16, value: &'a [u8], message: &mut Message<'a>) -> Result<(), Malformed> {
    match number {
        3 => message.host = Some(value),
        11 if value.len() <= 255 && message.path.len() < 512 => {
            if message.path.is_empty() {
                message.path.reserve(64);
            }
            message.path.push('/');
            message.path.push_str(&clean(value));
        }
        11 => return Err(Malformed::Invalid),
        12 if value.len() <= 2 => {
            let format = value.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
            message.format = Some(format);
        }
        12 => return Err(Malformed::Invalid),
        15 => message.queries.push(value),
        COIOT_DEVICE => message.coiot = Some(value),
        _ => {}
    }
    Ok(())
}

fn request(message: &Message<'_>, sink: &mut dyn Sink) {
    let method = match message.code {
        1 => "GET",
        2 => "POST",
        3 => "PUT",
        4 => "DELETE",
        5 => "FETCH",
        _ => "PATCH",
    };
    if !message.path.is_empty() {
        sink.says("coap.path", [method, " ", &lines::redact(&message.path, 200)].concat());
    }
    if let Some(name) = message.host.and_then(lines::host_name) {
        sink.fact(About::Sender, Fact::ServerName { name: name.into() });
    }
    if message.code == 2 && (message.path == "/rd" || message.path.starts_with("/rd/")) {
        registration(message, sink);
    }
    let asked = ASKED_PATHS.iter().position(|(path, _)| *path == message.path);
    if let Some(number) = asked.and_then(|position| u64::try_from(position + 1).ok()) {
        sink.remember(key(ASKED, message.token & 0xffff_ffff), number);
    }
}

/// Registration with a resource directory or LwM2M server (RFC 9176 §5; OMA LwM2M §6.2.1).
fn registration(message: &Message<'_>, sink: &mut dyn Sink) {
    for query in message.queries.iter().take(16) {
        let query = clean(query);
        match query.split_once('=') {
            Some(("ep", name)) => {
                sink.says("coap.lwm2m_endpoint", name);
                let kind = IdentifierKind::VendorId;
                sink.identifier(About::Sender, "coap.lwm2m_endpoint", kind, name);
            }
            Some(("lwm2m", version)) => sink.says("coap.lwm2m_version", version),
            Some(("et", kind)) => sink.says("coap.endpoint_type", kind),
            _ => {}
        }
    }
    if message.format == Some(LINK_FORMAT) {
        links(message.payload, sink);
    }
}

/// Resources of the LwM2M Device object (OMA LwM2M appendix E.4) and what they hold.
const ASKED_PATHS: &[(&str, &str)] = &[
    ("/3/0", ""),
    ("/3/0/0", "coap.lwm2m_manufacturer"),
    ("/3/0/1", "coap.lwm2m_model"),
    ("/3/0/2", "coap.lwm2m_serial"),
    ("/3/0/3", "coap.lwm2m_firmware"),
    ("/3/0/17", "coap.lwm2m_type"),
    ("/3/0/18", "coap.lwm2m_hardware"),
    ("/3/0/19", "coap.lwm2m_software"),
];

fn response(message: &Message<'_>, sink: &mut dyn Sink) {
    if message.code != 0x45 {
        return;
    }
    if message.format == Some(LINK_FORMAT) {
        return links(message.payload, sink);
    }
    let asked = sink.recall(key(ASKED, message.token & 0xffff_ffff)).unwrap_or_default();
    let asked = usize::try_from(asked).ok().and_then(|n| ASKED_PATHS.get(n.checked_sub(1)?));
    match asked {
        Some((_, "")) if message.format == Some(LWM2M_TLV) => {
            let _ = device_object(message.payload, sink);
        }
        Some((_, field)) if !field.is_empty() && matches!(message.format, None | Some(0)) => {
            sink.says(field, clean(message.payload));
        }
        _ => {}
    }
}

/// OMA TLV (LwM2M §6.4.3): resources with text.
fn device_object(payload: &[u8], sink: &mut dyn Sink) -> Result<(), Malformed> {
    let mut r = Reader::new(payload);
    for _ in 0..64 {
        if r.is_empty() {
            break;
        }
        let head = r.u8()?;
        let id = if head & 0x20 == 0 { u16::from(r.u8()?) } else { r.u16_be()? };
        let length = match head >> 3 & 3 {
            0 => usize::from(head & 7),
            1 => usize::from(r.u8()?),
            2 => usize::from(r.u16_be()?),
            _ => usize::try_from(r.u24_be()?).map_err(|_| Malformed::Limit)?,
        };
        let value = r.take(length)?;
        let path = format!("/3/0/{id}");
        let field = ASKED_PATHS.iter().find(|(p, _)| *p == path).map(|(_, field)| *field);
        if let (0xc0, Some(field)) = (head & 0xc0, field) {
            sink.says(field, clean(value));
        }
    }
    Ok(())
}

/// Web links (RFC 6690): `</sensors/temp>;rt="temperature";if="sensor"`.
fn links(payload: &[u8], sink: &mut dyn Sink) {
    let mut rest = payload;
    for _ in 0..LINKS_MAX {
        let Some(open) = rest.iter().position(|b| *b == b'<') else {
            return;
        };
        rest = rest.get(open + 1..).unwrap_or_default();
        let Some(close) = rest.iter().position(|b| *b == b'>') else {
            return;
        };
        let (path, behind) = rest.split_at_checked(close).unwrap_or_default();
        let mut quoted = false;
        let end = behind.iter().position(|b| {
            quoted ^= *b == b'"';
            *b == b',' && !quoted
        });
        let (attributes, tail) =
            behind.split_at_checked(end.unwrap_or(behind.len())).unwrap_or_default();
        rest = tail;
        let attributes = clean(attributes);
        let mut text = clean(path).into_owned();
        for name in ["rt", "if", "title"] {
            if let Some(value) = lines::parameter(&attributes, name) {
                text.push_str(&format!(" {name}={value}"));
            }
        }
        sink.says("coap.resource", text);
    }
}

/// `SHSW-25#B929CC#1`: type, id (often the MAC address), version of the protocol.
fn coiot(device: &[u8], sink: &mut dyn Sink) {
    let text = clean(device);
    let mut parts = text.split('#');
    let (Some(kind), Some(id)) = (parts.next(), parts.next()) else {
        return;
    };
    sink.says("coap.coiot_device", &*text);
    sink.says("coap.coiot_type", kind);
    if id.len() == 12 {
        own_mac("coap.coiot_device", id, sink);
    }
    let id = format!("{kind}#{id}").to_ascii_lowercase();
    sink.identifier(About::Sender, "coap.coiot_device", IdentifierKind::VendorId, id);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx, unhex};

    fn check(messages: &[&[u8]], expect: &str) {
        let mut facts = Recorder::default();
        for message in messages {
            let _ = run(message, &ctx(5683, 5683, Role::Unknown), &mut facts);
        }
        assert_eq!(facts.text(), expect);
    }

    #[test]
    fn discovery() {
        // GET /.well-known/core, then its answer in link format.
        let ask = [&unhex("41 01 0001 aa bb")[..], b".well-known\x04core"].concat();
        assert!(probe(&ask));
        let links = b"</t>;rt=\"temperature\";if=\"sensor\",</x>;title=\"a,b\",</cut";
        let answer = [&unhex("61 45 0001 aa c1 28 ff")[..], links].concat();
        check(
            &[&ask, &answer],
            "sender says coap.path = GET /.well-known/core\n\
             sender says coap.resource = /t rt=temperature if=sensor\n\
             sender says coap.resource = /x title=a,b",
        );
    }

    #[test]
    fn lwm2m() {
        // POST /rd?ep=node-7&lwm2m=1.0
        let register =
            [&unhex("40 02 0001 b2")[..], b"rd", &[0x49], b"ep=node-7", &[0x09], b"lwm2m=1.0"];
        let ask = [&unhex("41 01 0002 07 b1")[..], b"3", &[0x01], b"0", &[0x01], b"3"].concat();
        let answer = [&unhex("61 45 0002 07 ff")[..], b"2.1.0"].concat();
        let object = [&unhex("41 01 0003 08 b1")[..], b"3", &[0x01], b"0"].concat();
        let values =
            [&unhex("61 45 0003 08 c2 2d16 ff c8 00 09")[..], b"Open Node", &[0xc1, 1, b'M']];
        check(
            &[&register.concat(), &ask, &answer, &object, &values.concat()],
            "sender says coap.path = POST /rd\n\
             sender says coap.lwm2m_endpoint = node-7\n\
             sender is VendorId node-7 (coap.lwm2m_endpoint)\n\
             sender says coap.lwm2m_version = 1.0\n\
             sender says coap.path = GET /3/0/3\n\
             sender says coap.lwm2m_firmware = 2.1.0\n\
             sender says coap.path = GET /3/0\n\
             sender says coap.lwm2m_manufacturer = Open Node\n\
             sender says coap.lwm2m_model = M",
        );
    }

    #[test]
    fn coiot_devices() {
        // Option 3332 = 269 + 3063, 22 bytes: 13 + 9.
        let publish = [&unhex("50 1e 0001 ed 0bf7 09")[..], b"SHSW-25#98F4ABB929CC#1"].concat();
        assert!(probe(&publish));
        check(
            &[&publish],
            "sender says coap.coiot_device = SHSW-25#98F4ABB929CC#1\n\
             sender says coap.coiot_type = SHSW-25\n\
             sender is Mac 98:f4:ab:b9:29:cc (coap.coiot_device)\n\
             sender is VendorId shsw-25#98f4abb929cc (coap.coiot_device)",
        );
    }

    #[test]
    fn others() {
        let outcome =
            |bytes: &[u8]| run(bytes, &ctx(1, 2, Role::Unknown), &mut Recorder::default());
        assert_eq!(outcome(b""), Err(Malformed::Truncated));
        assert_eq!(outcome(b"\x60\0\0\x01"), Ok(()));
        assert_eq!(outcome(b"\x60\0\0\x01x"), Err(Malformed::NotMine));
        assert_eq!(outcome(b"\xff\xff\0\0"), Err(Malformed::NotMine));
        assert_eq!(outcome(b"\x40\x01\0\x01\xf0"), Err(Malformed::Invalid));
        assert_eq!(outcome(b"\x40\x01\0\x01\xff"), Err(Malformed::Invalid));
        assert!(!probe(b"HTTP/1.1 200 OK\r\n") && !probe(b"\x40\x01\0\x01"));
    }
}
