//! TP-Link smart home: JSON behind a fixed XOR (port 9999), and the discovery of newer Kasa and
//! Tapo devices (port 20002).

use model::observation::EventKind;

use super::{own_id, own_ip};
use crate::identity::own_mac_text;
use crate::scan::json;
use crate::text::find;
use crate::{About, Ctx, Malformed, Outcome, Probe, Reader, Sink, Step};

/// The first key byte; each byte's key is the cipher byte before it.
const FIRST_KEY: u8 = 171;
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// `{"` behind the XOR.
const SIGNATURE: [u8; 2] = [FIRST_KEY ^ b'{', FIRST_KEY ^ b'{' ^ b'"'];

/// Starts with `{"` and ends with `}` behind the XOR.
pub(super) fn probe_datagram(bytes: &[u8]) -> bool {
    let closes = matches!(bytes, [.., key, last] if key ^ last == b'}');
    bytes.starts_with(&SIGNATURE) && closes && decode(bytes).is_ascii()
}

/// One message without a length.
pub(super) fn run_datagram(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if !payload.starts_with(&SIGNATURE) {
        return Err(Malformed::NotMine);
    }
    message(payload, sink)
}

/// A length of four bytes, then `{"` behind the XOR.
pub(super) fn probe_stream(bytes: &[u8]) -> Probe {
    let mut r = Reader::new(bytes);
    match (r.u32_be(), r.array()) {
        (Ok(length), Ok(SIGNATURE)) if (2..=0x4000).contains(&length) => Probe::Yes,
        (Ok(_), Ok(_)) => Probe::No,
        _ => Probe::Maybe,
    }
}

/// Messages behind their lengths.
pub(super) fn run_stream(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let mut r = Reader::new(bytes);
    let Ok(length) = r.u32_be() else {
        return Step::NeedMore;
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if !(2..=MESSAGE_BYTES_MAX).contains(&length)
        || !(r.is_empty() || r.peek() == Some(SIGNATURE[0]))
    {
        return Step::Resync;
    }
    let Ok(body) = r.take(length) else {
        return Step::NeedMore;
    };
    match message(body, sink) {
        Ok(()) => Step::Consumed(length + 4),
        Err(_) => Step::Resync,
    }
}

fn decode(bytes: &[u8]) -> Vec<u8> {
    let keys = std::iter::once(&FIRST_KEY).chain(bytes);
    bytes.iter().zip(keys).map(|(byte, key)| byte ^ key).collect()
}

#[derive(Default)]
struct Found {
    info: Vec<(&'static str, String)>,
    mac: String,
    device_id: String,
    answered: bool,
    credential: bool,
}

fn message(bytes: &[u8], sink: &mut dyn Sink) -> Outcome {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(Malformed::Limit);
    }
    let text = decode(bytes);
    let mut found = Found::default();
    json::walk(&text, &mut |path, value| found.take(path, value))?;
    if found.credential {
        let detail = "Wi-Fi password crosses behind TP-Link's fixed XOR";
        sink.event(About::Receiver, EventKind::CleartextCredential, detail);
    }
    if found.answered {
        for (field, value) in found.info {
            sink.says(field, value);
        }
        own_mac_text(sink, "tplink.mac", &found.mac);
        own_id(sink, "tplink.device_id", "tplink", &found.device_id);
    } else if find(&text, b"\"get_sysinfo\"").is_some() && find(&text, b"\"err_code\"").is_none() {
        sink.says("tplink.client", "get_sysinfo");
    }
    Ok(())
}

impl Found {
    fn take(&mut self, path: &str, value: &str) {
        if path.ends_with("set_stainfo.password") {
            self.credential = true;
        }
        let Some(key) = path.strip_prefix("system.get_sysinfo.") else {
            return;
        };
        // Questions carry `{}` or `null` here, so that any of these is an answer.
        let field = match key {
            "model" => "tplink.model",
            "dev_name" | "description" => "tplink.dev_name",
            "alias" => "tplink.alias",
            "type" | "mic_type" => "tplink.type",
            "hw_ver" => "tplink.hardware_version",
            "sw_ver" => "tplink.software_version",
            "mac" | "mic_mac" => return value.clone_into(&mut self.mac),
            "deviceId" => return value.clone_into(&mut self.device_id),
            _ => return,
        };
        self.answered = true;
        self.info.push((field, value.to_owned()));
    }
}

/// Newer devices: a header of 16 bytes (version 2), then JSON in the answer.
pub(super) fn run_tdp(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if payload.len() < 16 || payload.first() != Some(&2) {
        return Err(Malformed::NotMine);
    }
    let mut r = Reader::new(payload);
    r.skip(16)?;
    if ctx.src.port != 20002 || r.peek() != Some(b'{') {
        return Ok(()); // the question carries a public key, or nothing
    }
    let mut lines: Vec<(&str, String)> = Vec::new();
    let (mut mac, mut id, mut ip) = <(String, String, String)>::default();
    json::walk(r.rest(), &mut |path, value| match path {
        "result.device_model" => lines.push(("tplink.model", value.to_owned())),
        "result.device_name" => lines.push(("tplink.dev_name", value.to_owned())),
        "result.device_type" => lines.push(("tplink.type", value.to_owned())),
        "result.hw_ver" => lines.push(("tplink.hardware_version", value.to_owned())),
        "result.firmware_version" => lines.push(("tplink.software_version", value.to_owned())),
        "result.mac" => value.clone_into(&mut mac),
        "result.device_id" => value.clone_into(&mut id),
        "result.ip" => value.clone_into(&mut ip),
        _ => {}
    })?;
    for (field, value) in lines {
        sink.says(field, value);
    }
    own_mac_text(sink, "tplink.mac", &mac);
    own_id(sink, "tplink.device_id", "tplink", &id);
    if let Ok(ip) = ip.parse() {
        own_ip(sink, ip);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx};
    use crate::vendor::tests::check;

    const ANSWER: &str = r#"{"system":{"get_sysinfo":{"sw_ver":"1.2.5 Build 1","hw_ver":"1.0",
        "type":"IOT.SMARTPLUGSWITCH","model":"HS100(EU)","mac":"00:00:5E:00:53:01",
        "deviceId":"8006E0FF","alias":"kettle","dev_name":"Smart Plug","err_code":0}}}"#;

    fn encode(text: &str) -> Vec<u8> {
        let mut key = FIRST_KEY;
        let cipher = |b: &u8| {
            key ^= b;
            key
        };
        text.as_bytes().iter().map(cipher).collect()
    }

    fn facts() -> Vec<&'static str> {
        vec![
            "sender says tplink.software_version = 1.2.5 Build 1",
            "sender says tplink.hardware_version = 1.0",
            "sender says tplink.type = IOT.SMARTPLUGSWITCH",
            "sender says tplink.model = HS100(EU)",
            "sender says tplink.alias = kettle",
            "sender says tplink.dev_name = Smart Plug",
            "sender says tplink.mac = 00:00:5e:00:53:01",
            "sender is Mac 00:00:5e:00:53:01 (tplink.mac)",
            "sender says tplink.device_id = 8006E0FF",
            "sender is VendorId tplink:8006E0FF (tplink.device_id)",
        ]
    }

    #[test]
    fn only_an_answer_makes_a_plug() {
        check(run_datagram, (9999, 40000), &encode(ANSWER), Ok(&facts()));
        let question = encode(r#"{"system":{"get_sysinfo":{}}}"#);
        let expect = ["sender says tplink.client = get_sysinfo"];
        check(run_datagram, (9999, 9999), &question, Ok(&expect));
        assert!(probe_datagram(&question));
        check(run_datagram, (9999, 9999), b"hello", Err(Malformed::NotMine));
    }

    #[test]
    fn a_wifi_password_is_an_event_without_the_password() {
        let set = encode(r#"{"netif":{"set_stainfo":{"ssid":"a","password":"hunter22"}}}"#);
        let expect = ["receiver event CleartextCredential: \
                       Wi-Fi password crosses behind TP-Link's fixed XOR"];
        check(run_datagram, (40000, 9999), &set, Ok(&expect));
    }

    #[test]
    fn streams_have_a_length_in_front() {
        let body = encode(ANSWER);
        let length = u32::try_from(body.len()).unwrap();
        let message = [&length.to_be_bytes()[..], &body].concat();
        let ctx = ctx(9999, 40000, Role::Server);
        let mut sink = Recorder::default();
        assert_eq!(probe_stream(&message), Probe::Yes);
        assert_eq!(run_stream(&message, &ctx, &mut sink), Step::Consumed(message.len()));
        assert_eq!(sink.lines, facts());
        for cut in 0..message.len() {
            assert_eq!(run_stream(&message[..cut], &ctx, &mut sink), Step::NeedMore, "{cut}");
        }
        assert_eq!(run_stream(b"GET / HTTP/1.1", &ctx, &mut sink), Step::Resync);
        assert_eq!(probe_stream(b"GET / HTTP/1.1"), Probe::No);
    }

    #[test]
    fn newer_devices_answer_in_the_clear() {
        let json = br#"{"result":{"device_id":"aa11bb22","device_type":"SMART.TAPOPLUG",
            "device_model":"P100","ip":"192.0.2.8","mac":"00-00-5E-00-53-08"},"error_code":0}"#;
        let answer = [&[2, 0, 0, 1][..], &[0; 12], json].concat();
        let expect = [
            "sender says tplink.type = SMART.TAPOPLUG",
            "sender says tplink.model = P100",
            "sender says tplink.mac = 00:00:5e:00:53:08",
            "sender is Mac 00:00:5e:00:53:08 (tplink.mac)",
            "sender says tplink.device_id = aa11bb22",
            "sender is VendorId tplink:aa11bb22 (tplink.device_id)",
            "sender uses 192.0.2.8 (Stated)",
        ];
        check(run_tdp, (20002, 40000), &answer, Ok(&expect));
        check(run_tdp, (40000, 20002), &answer, Ok(&[]));
        check(run_tdp, (20002, 40000), b"\x01", Err(Malformed::NotMine));
    }
}
