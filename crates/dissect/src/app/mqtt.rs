//! MQTT 3.1, 3.1.1 and 5: client ids, topics, and what devices publish about themselves.

use model::Mac;
use model::observation::{EventKind, IdentifierKind};

use crate::scan::json;
use crate::text::{clean, is_name};
use crate::{About, Ctx, Malformed, Probe, Reader, Role, Sink, Step};

use super::identity::{is_sibling, mac_of};
use super::{direction, key, pass_over};

/// A CONNECT with the protocol's name, or packets whose header and length fit (§2.1).
pub(super) fn probe(bytes: &[u8]) -> Probe {
    let mut r = Reader::new(bytes);
    match header(&mut r) {
        Ok((0x10, _)) => {
            let name = r.u16_be().and_then(|n| r.take(usize::from(n)));
            if matches!(name, Ok(b"MQTT" | b"MQIsdp")) { Probe::Yes } else { Probe::No }
        }
        // A pair of bytes that nothing else is made of.
        Ok((0xc0 | 0xd0, 0)) if r.is_empty() => Probe::Yes,
        Ok(_) => Probe::Maybe,
        Err(Malformed::Truncated) if !bytes.is_empty() => Probe::Maybe,
        Err(_) => Probe::No,
    }
}

/// State per direction: 1 when its sender is the client, 2 when it is the server.
const SIDE: u64 = 0x4d_51_01;
/// State per conversation: the protocol level.
const LEVEL: u64 = 0x4d_51_02;
/// State per direction: bytes of a long payload to pass over.
const SKIP: u64 = 0x4d_51_03;
const CLIENT: u64 = 1;
const SERVER: u64 = 2;
/// Longest packet that is waited for.
const PACKET_BYTES_MAX: usize = 16 * 1024;
const TOPICS_PER_PACKET_MAX: usize = 32;

/// Reads packets.
pub(super) fn run(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let skip_key = key(SKIP, direction(ctx));
    if let Some(step) = pass_over(bytes, skip_key, sink) {
        return step;
    }
    let mut r = Reader::new(bytes);
    let (first, length) = match header(&mut r) {
        Ok(header) => header,
        Err(Malformed::Truncated) => return Step::NeedMore,
        Err(_) => return Step::Resync,
    };
    let body = match r.take(length) {
        Ok(body) => body,
        Err(_) if length <= PACKET_BYTES_MAX => return Step::NeedMore,
        // A long payload: its topic is in front, the rest is passed over.
        Err(_) if r.len() < 512 => return Step::NeedMore,
        Err(_) => {
            let body = r.take_up_to(length);
            sink.remember(skip_key, u64::try_from(length - body.len()).unwrap_or_default());
            body
        }
    };
    let _ = packet(first, body, ctx, sink);
    Step::Consumed(bytes.len() - r.len())
}

/// First byte and remaining length; flags are fixed but for PUBLISH (§2.1.3).
fn header(r: &mut Reader<'_>) -> Result<(u8, usize), Malformed> {
    let first = r.u8()?;
    let flags = first & 0x0f;
    let legal = match first >> 4 {
        0 => false,
        3 => flags & 0x06 != 0x06,
        6 | 8 | 10 => flags == 2 || flags & 0x06 == 0x02,
        _ => flags == 0,
    };
    if !legal {
        return Err(Malformed::NotMine);
    }
    let mut length = 0usize;
    for position in 0..4 {
        let byte = r.u8()?;
        length |= usize::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            let plausible = match first >> 4 {
                1 => length >= 12,
                2 | 3 | 8 | 9 | 10 => length >= 2,
                4..=7 | 11 => (2..4096).contains(&length),
                12 | 13 => length == 0,
                _ => length < 4096,
            };
            return if plausible { Ok((first, length)) } else { Err(Malformed::NotMine) };
        }
    }
    Err(Malformed::NotMine)
}

fn packet(first: u8, body: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Result<(), Malformed> {
    let kind = first >> 4;
    let side = side(kind, ctx, sink);
    let level = sink.recall(key(LEVEL, 0)).unwrap_or(4);
    let mut r = Reader::new(body);
    match kind {
        1 => connect(&mut r, sink),
        2 => {
            let version = if level == 5 {
                "5"
            } else if level == 3 {
                "3.1"
            } else {
                "3.1.1"
            };
            sink.says("mqtt.server", format!("accepts MQTT {version}"));
            Ok(())
        }
        3 if side == CLIENT => {
            let topic = string(&mut r)?;
            if first & 0x06 != 0 {
                r.skip(2)?;
            }
            if level == 5 {
                let properties = varint(&mut r)?;
                r.skip(properties)?;
            }
            sink.says("mqtt.publish", clean(topic));
            announcement(&clean(topic), r.rest(), ctx, sink);
            Ok(())
        }
        8 => {
            r.skip(2)?;
            if level == 5 {
                let properties = varint(&mut r)?;
                r.skip(properties)?;
            }
            for _ in 0..TOPICS_PER_PACKET_MAX {
                if r.is_empty() {
                    break;
                }
                sink.says("mqtt.subscribe", clean(string(&mut r)?));
                r.skip(1)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Who sends in this direction: some packets only one side sends, the rest remember.
fn side(kind: u8, ctx: &Ctx, sink: &mut dyn Sink) -> u64 {
    let memory = key(SIDE, direction(ctx));
    let told = match kind {
        1 | 8 | 10 | 12 => CLIENT,
        2 | 9 | 11 | 13 => SERVER,
        _ => 0,
    };
    let known = sink.recall(memory).unwrap_or_default();
    match (told, known, ctx.role) {
        (0, 0, Role::Client) => CLIENT,
        (0, 0, Role::Server) => SERVER,
        (0, 0, Role::Unknown) if matches!(ctx.dst.port, 1883 | 8883) => CLIENT,
        (0, known, _) => known,
        (told, known, _) => {
            if told != known {
                sink.remember(memory, told);
            }
            told
        }
    }
}

/// CONNECT (3.1.1 §3.1, 5 §3.1).
fn connect(r: &mut Reader<'_>, sink: &mut dyn Sink) -> Result<(), Malformed> {
    const WILL: u8 = 0x04;
    const PASSWORD: u8 = 0x40;
    const USER: u8 = 0x80;
    string(r)?;
    let level = r.u8()? & 0x7f;
    let flags = r.u8()?;
    r.skip(2)?;
    sink.remember(key(LEVEL, 0), u64::from(level));
    let version = match level {
        3 => "3.1",
        4 => "3.1.1",
        5 => "5",
        _ => return Err(Malformed::Invalid),
    };
    sink.says("mqtt.version", version);
    if level == 5 {
        let length = varint(r)?;
        properties(r.take(length)?, sink);
    }
    sink.says("mqtt.client_id", clean(string(r)?));
    if flags & WILL != 0 {
        if level == 5 {
            let length = varint(r)?;
            r.skip(length)?;
        }
        sink.says("mqtt.will_topic", clean(string(r)?));
        string(r)?;
    }
    if flags & USER != 0 {
        sink.says("mqtt.username", clean(string(r)?));
    }
    if flags & PASSWORD != 0 && !string(r)?.is_empty() {
        let detail = "an MQTT password crosses in clear text";
        sink.event(About::Sender, EventKind::CleartextCredential, detail);
    }
    Ok(())
}

/// User properties of version 5 (§3.1.2.11.8) that stand before anything longer.
fn properties(bytes: &[u8], sink: &mut dyn Sink) {
    let mut r = Reader::new(bytes);
    for _ in 0..32 {
        let skipped = match r.u8() {
            Ok(0x11 | 0x27) => r.skip(4),
            Ok(0x21 | 0x22) => r.skip(2),
            Ok(0x17 | 0x19) => r.skip(1),
            Ok(0x15 | 0x16) => string(&mut r).map(|_| ()),
            Ok(0x26) => match (string(&mut r), string(&mut r)) {
                (Ok(name), Ok(value)) => {
                    let name = clean(name);
                    if !super::lines::is_secret_name(&name) {
                        sink.says("mqtt.user_property", format!("{name}={}", clean(value)));
                    }
                    Ok(())
                }
                _ => return,
            },
            _ => return,
        };
        if skipped.is_err() {
            return;
        }
    }
}

/// Devices announce themselves to home automation in JSON under well-known topics.
fn announcement(topic: &str, payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) {
    let ends = |start: &str, end: &str| topic.starts_with(start) && topic.ends_with(end);
    let flat = match topic {
        _ if topic.len() > 256 => return,
        "shellies/announce" => json::flatten(payload),
        _ if ends("tasmota/discovery/", "/config") => json::flatten(payload),
        _ if ends("homeassistant/", "/config") => json::flatten(payload),
        _ => return,
    };
    let entries = flat.entries();
    let of = |path: &str| json::get(&entries, path).unwrap_or_default();
    let pairs: &[(&'static str, &str)] = if topic.starts_with("shellies/") {
        &[("shelly.id", "id"), ("shelly.type", "model"), ("shelly.firmware", "fw_ver")]
    } else if topic.starts_with("tasmota/") {
        &[
            ("tasmota.name", "dn"),
            ("tasmota.module", "md"),
            ("tasmota.version", "sw"),
            ("tasmota.hostname", "hn"),
        ]
    } else {
        let names = ["name", "model", "mdl", "manufacturer", "mf"];
        let root = ["device", "dev"]
            .into_iter()
            .find(|root| names.iter().any(|leaf| !of(&format!("{root}.{leaf}")).is_empty()));
        return root.map_or((), |root| described(root, &entries, sink));
    };
    // A bridge between brokers repeats announcements of others.
    let Ok(mac) = of("mac").parse::<Mac>() else {
        return;
    };
    let mac_text = mac.to_string();
    let about = || match is_sibling(mac, ctx.src.mac) {
        true => About::Sender,
        false => About::Child { via: "mqtt", key: mac_text.as_str().into() },
    };
    for (field, leaf) in pairs {
        sink.about(about(), field, of(leaf));
    }
    let field = if topic.starts_with("shellies/") { "shelly.mac" } else { "tasmota.mac" };
    mac_of(about(), field, &mac_text, sink);
}

/// The device of a Home Assistant discovery message: one client may announce many (a Zigbee
/// bridge), so each is a child until the inventory knows better.
fn described(root: &str, entries: &[json::Entry], sink: &mut dyn Sink) {
    let first = |leaves: &[&str]| {
        let value = |leaf: &&str| json::get(entries, &format!("{root}.{leaf}"));
        leaves.iter().find_map(value).unwrap_or_default().to_owned()
    };
    let id = first(&["identifiers.0", "ids.0", "identifiers", "ids", "connections.0.1", "cns.0.1"]);
    if !is_name(&id) {
        return;
    }
    let child = || About::Child { via: "mqtt", key: id.as_str().into() };
    sink.identifier(child(), "mqtt.device_id", IdentifierKind::VendorId, id.as_str());
    sink.about(child(), "mqtt.device_name", first(&["name"]));
    sink.about(child(), "mqtt.device_model", first(&["model", "mdl"]));
    sink.about(child(), "mqtt.device_vendor", first(&["manufacturer", "mf"]));
    sink.about(child(), "mqtt.device_firmware", first(&["sw_version", "sw"]));
    sink.about(child(), "mqtt.device_hardware", first(&["hw_version", "hw"]));
}

fn string<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let length = usize::from(r.u16_be()?);
    r.take(length)
}

fn varint(r: &mut Reader<'_>) -> Result<usize, Malformed> {
    let mut value = 0usize;
    for position in 0..4 {
        let byte = r.u8()?;
        value |= usize::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recorder, ctx, facts_of_stream};

    fn text(value: &str) -> Vec<u8> {
        [&u16::try_from(value.len()).unwrap().to_be_bytes()[..], value.as_bytes()].concat()
    }

    fn packet_of(first: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        let mut bytes = vec![first];
        let mut length = body.len();
        while length >= 0x80 {
            bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        bytes.push(length.try_into().unwrap());
        [bytes, body].concat()
    }

    fn check(role: Role, bytes: &[u8], expect: &str) {
        assert_eq!(facts_of_stream(run, bytes, &ctx(4000, 1900, role)), expect);
    }

    #[test]
    fn a_client_connects_publishes_and_subscribes() {
        let connect = packet_of(
            0x10,
            &[
                &text("MQTT"),
                &[4, 0xc6, 0, 60],
                &text("meter-7"),
                &text("meters/7/gone"),
                &text("bye"),
                &text("site1"),
                &text("geheim"),
            ],
        );
        assert_eq!(probe(&connect), Probe::Yes);
        let publish = packet_of(0x32, &[&text("meters/7/kwh"), &[0, 1], b"17"]);
        let subscribe = packet_of(0x82, &[&[0, 2], &text("cmd/7"), &[1], &text("cmd/all"), &[0]]);
        check(
            Role::Unknown,
            &[connect, publish, subscribe].concat(),
            "sender says mqtt.version = 3.1.1\n\
             sender says mqtt.client_id = meter-7\n\
             sender says mqtt.will_topic = meters/7/gone\n\
             sender says mqtt.username = site1\n\
             sender event CleartextCredential: an MQTT password crosses in clear text\n\
             sender says mqtt.publish = meters/7/kwh\n\
             sender says mqtt.subscribe = cmd/7\n\
             sender says mqtt.subscribe = cmd/all",
        );
    }

    #[test]
    fn version_5_and_the_server() {
        let properties = [&[0x21, 0, 9, 0x26][..], &text("fw"), &text("1.2")].concat();
        let length = [u8::try_from(properties.len()).unwrap()];
        let connect =
            packet_of(0x10, &[&text("MQTT"), &[5, 2, 0, 60], &length, &properties, &text("id5")]);
        let publish = packet_of(0x30, &[&text("a/b"), &[0], b"x"]);
        check(
            Role::Client,
            &[connect, publish].concat(),
            "sender says mqtt.version = 5\nsender says mqtt.user_property = fw=1.2\n\
             sender says mqtt.client_id = id5\nsender says mqtt.publish = a/b",
        );
        let relayed = packet_of(0x30, &[&text("a/b"), b"x"]);
        check(
            Role::Server,
            &[packet_of(0x20, &[&[0, 0]]), relayed].concat(),
            "sender says mqtt.server = accepts MQTT 3.1.1",
        );
    }

    #[test]
    fn announcements() {
        let publish = |topic: &str, json: &str| packet_of(0x30, &[&text(topic), json.as_bytes()]);
        check(
            Role::Client,
            &publish(
                "shellies/announce",
                r#"{"id":"shelly1-B929CC","model":"SHSW-1","mac":"020000000001","fw_ver":"v1.9"}"#,
            ),
            "sender says mqtt.publish = shellies/announce\n\
             sender says shelly.id = shelly1-B929CC\nsender says shelly.type = SHSW-1\n\
             sender says shelly.firmware = v1.9\nsender is Mac 02:00:00:00:00:01 (shelly.mac)",
        );
        check(
            Role::Client,
            &publish("tasmota/discovery/A/config", r#"{"md":"Plug","mac":"98F4ABB929CC"}"#),
            "sender says mqtt.publish = tasmota/discovery/A/config\n\
             sender/mqtt[98:f4:ab:b9:29:cc] says tasmota.module = Plug\n\
             sender/mqtt[98:f4:ab:b9:29:cc] is Mac 98:f4:ab:b9:29:cc (tasmota.mac)",
        );
        check(
            Role::Client,
            &publish(
                "homeassistant/sensor/x/config",
                r#"{"dev":{"ids":["0x0015"],"mdl":"Door","mf":"Acme","sw":"3"}}"#,
            ),
            "sender says mqtt.publish = homeassistant/sensor/x/config\n\
             sender/mqtt[0x0015] is VendorId 0x0015 (mqtt.device_id)\n\
             sender/mqtt[0x0015] says mqtt.device_model = Door\n\
             sender/mqtt[0x0015] says mqtt.device_vendor = Acme\n\
             sender/mqtt[0x0015] says mqtt.device_firmware = 3",
        );
    }

    #[test]
    fn long_payloads_and_nonsense() {
        let long = packet_of(0x30, &[&text("big"), &vec![b'x'; 40_000]]);
        let ping = packet_of(0xc0, &[]);
        let mut facts = Recorder::default();
        let here = ctx(4000, 1883, Role::Client);
        let first = run(&long[..20_000], &here, &mut facts);
        assert_eq!(first, Step::Consumed(20_000));
        let second = run(&long[20_000..], &here, &mut facts);
        assert_eq!(second, Step::Consumed(long.len() - 20_000));
        assert_eq!(run(&ping, &here, &mut facts), Step::Consumed(2));
        assert_eq!(facts.text(), "sender says mqtt.publish = big");
        assert_eq!(probe(b"\x10\x0eGET / HTTP/1.1"), Probe::No);
        assert_eq!(probe(b"GET / HTTP/1.1"), Probe::No);
        assert_eq!(probe(b"\xc0\0"), Probe::Yes);
        check(Role::Client, b"\x10\xff\xff\xff\xff", "");
        check(Role::Client, b"\x10\x0c\0\x04MQTT", "");
    }
}
