//! SIP (RFC 3261) over UDP and TCP: phones name model, firmware and often their MAC address.

use model::observation::{EventKind, IdentifierKind};

use crate::text::clean;
use crate::{About, Ctx, Fact, Malformed, Outcome, Probe, Sink, Step, identity};

use super::lines::{self, Start};
use super::{keyed, text_is_mac};

/// A start line of SIP.
pub(super) fn probe(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"SIP/2.0 ") {
        return true;
    }
    // Datagrams of every kind come through here: most are told by their first byte.
    if !bytes.first().is_some_and(u8::is_ascii_uppercase) {
        return false;
    }
    lines::line(bytes).is_some_and(|(line, _)| {
        line.ends_with(b" SIP/2.0") && lines::start(line, "SIP/2.0").is_some()
    })
}

/// The same for streams.
pub(super) fn probe_stream(bytes: &[u8]) -> Probe {
    if probe(bytes) { Probe::Yes } else { Probe::No }
}

/// Reads one datagram.
pub(super) fn run(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    // Keep-alives (RFC 5626 §3.5.1).
    if bytes.len() <= 4 && bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Ok(());
    }
    let (line, length) = lines::line(bytes).ok_or(Malformed::NotMine)?;
    let start = lines::start(line, "SIP/2.0").ok_or(Malformed::NotMine)?;
    let end = lines::head_length(bytes).unwrap_or(bytes.len());
    report(start, bytes.get(length..end).unwrap_or_default(), sink);
    Ok(())
}

/// Reads messages of a connection.
pub(super) fn run_stream(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    if blank > 0 {
        return Step::Consumed(blank);
    }
    let wait = if bytes.len() < lines::HEAD_BYTES_MAX { Step::NeedMore } else { Step::Resync };
    let Some((line, first)) = lines::line(bytes) else {
        return wait;
    };
    let Some(start) = lines::start(line, "SIP/2.0") else {
        return Step::Resync;
    };
    let Some(length) = lines::head_length(bytes) else {
        return wait;
    };
    let head = bytes.get(first..length).unwrap_or_default();
    let body = lines::header(head, "content-length")
        .or_else(|| lines::header(head, "l"))
        .and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok())
        .unwrap_or_default();
    if bytes.len() - length < body.min(lines::HEAD_BYTES_MAX) {
        return Step::NeedMore;
    }
    report(start, head, sink);
    Step::Consumed((length.saturating_add(body)).min(bytes.len()))
}

/// Proxies forward what others said: only a message with one Via comes from its author, and only
/// answers to REGISTER and OPTIONS surely come from the one who was asked.
fn report(start: Start<'_>, head: &[u8], sink: &mut dyn Sink) {
    let vias = lines::headers(head)
        .filter(|(name, _)| name.eq_ignore_ascii_case("via") || name.eq_ignore_ascii_case("v"))
        .map(|(_, value)| value.split(|b| *b == b',').count())
        .sum::<usize>();
    let sequence = clean(lines::header(head, "cseq").unwrap_or_default());
    let own = match start {
        Start::Request(method, target) => {
            if method == "REGISTER" {
                registrar(target, sink);
            }
            vias == 1
        }
        Start::Response(_) => {
            vias == 1 && (sequence.ends_with("REGISTER") || sequence.ends_with("OPTIONS"))
        }
    };
    if !own {
        return;
    }
    let asking = matches!(start, Start::Request(..));
    let registering = matches!(start, Start::Request("REGISTER", _));
    for (name, value) in lines::headers(head) {
        match name.to_ascii_lowercase().as_str() {
            "user-agent" => user_agent(&clean(value), sink),
            "server" => sink.says("sip.server", clean(value)),
            "organization" => sink.says("sip.organization", clean(value)),
            "contact" | "m" if asking => contact(&clean(value), registering, sink),
            "from" | "f" if registering => {
                let text = clean(value);
                if let Some((_, uri)) = text.split_once("sip:") {
                    sink.says("sip.address", lines::before(uri, &['>', ';', '?', ' ']));
                }
            }
            "www-authenticate" | "proxy-authenticate" => {
                let text = clean(value);
                sink.says("sip.realm", lines::parameter(&text, "realm").unwrap_or_default());
            }
            "authorization" if value.to_ascii_lowercase().starts_with(b"basic") => {
                let detail = "SIP Basic credentials cross in clear text";
                sink.event(About::Sender, EventKind::CleartextCredential, detail);
            }
            "mac" | "x-mac" | "x-mac-address" | "x-serialnumber" | "x-model" => {
                keyed(sink, About::Sender, "sip.header", name, &clean(value));
                own_mac("sip.header.mac", &clean(value), sink);
            }
            _ => {}
        }
    }
}

fn registrar(target: &[u8], sink: &mut dyn Sink) {
    let target = clean(target);
    let host = target.split_once("sip:").map_or("", |(_, rest)| rest);
    let host = host.split('@').next_back().unwrap_or(host);
    if let Some(name) = lines::host_name(lines::before(host, &[';', '?']).as_bytes()) {
        sink.fact(About::Sender, Fact::ServerName { name: name.into() });
    }
}

/// `Grandstream GXP2160 1.0.9.69`, `Yealink SIP-T46S 66.85.0.5 001565aabbcc`.
fn user_agent(text: &str, sink: &mut dyn Sink) {
    sink.says("sip.user_agent", text);
    let word = text.split(' ').find(|word| text_is_mac(word));
    own_mac("sip.user_agent", word.unwrap_or_default(), sink);
}

/// The instance id of a phone is a UUID that often ends in its MAC address (RFC 5626 §4.1).
fn contact(text: &str, registering: bool, sink: &mut dyn Sink) {
    if !registering {
        return;
    }
    let lower = text.to_ascii_lowercase();
    if let Some((_, uuid)) = lower.split_once("urn:uuid:") {
        let uuid = lines::before(uuid, &['>', '"', ';', ' ']);
        if let Some(uuid) = identity::uuid(uuid).filter(|uuid| uuid.len() == 36) {
            sink.identifier(About::Sender, "sip.instance", IdentifierKind::Uuid, uuid);
        }
        if uuid.starts_with("00000000-0000-") {
            own_mac("sip.instance", uuid.rsplit('-').next().unwrap_or_default(), sink);
        }
    }
    if let Some((_, model)) = lower.split_once("+u.sip!model.ccm.cisco.com=\"") {
        sink.says("sip.cisco_model", lines::before(model, &['"']));
    }
    if let Some((_, name)) = text.split_once("+u.sip!devicename.ccm.cisco.com=\"") {
        sink.says("sip.cisco_device", lines::before(name, &['"']));
    }
}

fn own_mac(field: &'static str, text: &str, sink: &mut dyn Sink) {
    if text_is_mac(text) {
        super::identity::own_mac(field, text, sink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx};

    const REGISTER: &str = "REGISTER sip:pbx.example;transport=udp SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK1\r\n\
        From: <sip:204@pbx.example>;tag=1\r\nCSeq: 1 REGISTER\r\n\
        Contact: <sip:204@10.0.0.7>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-001565aabbcc>\"\r\n\
        User-Agent: Yealink SIP-T46S 66.85.0.5 001565aabbcc\r\nContent-Length: 0\r\n\r\n";

    fn facts(text: &str) -> String {
        let mut facts = Recorder::default();
        let _ = run(text.as_bytes(), &ctx(5060, 5060, Role::Unknown), &mut facts);
        facts.text()
    }

    #[test]
    fn a_phone_registers() {
        let expect = "sender asks for pbx.example\n\
            sender says sip.address = 204@pbx.example\n\
            sender is Uuid 00000000-0000-1000-8000-001565aabbcc (sip.instance)\n\
            sender is Mac 00:15:65:aa:bb:cc (sip.instance)\n\
            sender says sip.user_agent = Yealink SIP-T46S 66.85.0.5 001565aabbcc\n\
            sender is Mac 00:15:65:aa:bb:cc (sip.user_agent)";
        assert_eq!(facts(REGISTER), expect);
        let mut stream = Recorder::default();
        let step = run_stream(REGISTER.as_bytes(), &ctx(5060, 5060, Role::Client), &mut stream);
        assert_eq!((stream.text().as_str(), step), (expect, Step::Consumed(REGISTER.len())));
    }

    #[test]
    fn what_a_proxy_forwards_is_not_its_own() {
        let forwarded = REGISTER.replace("Via:", "Via: SIP/2.0/UDP 10.0.0.1\r\nVia:");
        assert_eq!(facts(&forwarded), "sender asks for pbx.example");
        let answer = "SIP/2.0 200 OK\r\nVia: x\r\nCSeq: 1 INVITE\r\nServer: PBX 1\r\n\r\n";
        assert_eq!(facts(answer), "");
        assert_eq!(facts(&answer.replace("INVITE", "OPTIONS")), "sender says sip.server = PBX 1");
    }

    #[test]
    fn others() {
        let outcome = |bytes| run(bytes, &ctx(5060, 5060, Role::Unknown), &mut Recorder::default());
        assert_eq!(outcome(b"HTTP/1.1 200 OK\r\n\r\n"), Err(Malformed::NotMine));
        assert_eq!(outcome(b"\r\n\r\n"), Ok(()));
        assert_eq!(outcome(b"\0\0\0\0\0"), Err(Malformed::NotMine));
        assert!(probe(b"OPTIONS sip:x SIP/2.0\r\n") && !probe(b"OPTIONS * HTTP/1.1\r\n"));
    }
}
