//! SSDP (UPnP Device Architecture 2.0 §1): devices announce themselves and answer searches.

use std::borrow::Cow;

use memchr::memchr;

use crate::identity;
use crate::{About, Ctx, Fact, Malformed, Outcome, Sink, text};

/// Header lines of one message; real ones have about ten.
const HEADERS_MAX: usize = 64;

/// Headers that every message has or that say nothing about the device. All others are reported
/// as `ssdp.header.*`.
const COMMON: &[&str] = &[
    "host",
    "cache-control",
    "date",
    "ext",
    "nts",
    "man",
    "mx",
    "opt",
    "01-nls",
    "content-length",
    "content-type",
    "bootid.upnp.org",
    "nextbootid.upnp.org",
    "configid.upnp.org",
    "searchport.upnp.org",
    "nt",
    "st",
    "usn",
    "location",
    "al",
    "server",
    "user-agent",
    "connection",
];

/// Recognises the three kinds of message on any port.
pub(super) fn probe(bytes: &[u8]) -> bool {
    kind(bytes).is_some_and(|kind| match kind {
        Kind::Answer => bytes.windows(4).take(2048).any(|w| w.eq_ignore_ascii_case(b"USN:")),
        Kind::Notify | Kind::Search => true,
    })
}

/// Reads one datagram.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let kind = kind(payload).ok_or(Malformed::NotMine)?;
    // Answers to searches go to many ports.
    if sink.said("ssdp", &[payload]) {
        return Ok(());
    }
    let headers = headers(payload);
    match kind {
        Kind::Notify | Kind::Answer => announcement(&headers, ctx, sink),
        Kind::Search => search(&headers, sink),
    }
    Ok(())
}

enum Kind {
    Notify,
    Answer,
    Search,
}

fn kind(bytes: &[u8]) -> Option<Kind> {
    let starts =
        |text: &[u8]| bytes.get(..text.len()).is_some_and(|b| b.eq_ignore_ascii_case(text));
    if starts(b"NOTIFY * HTTP/1.") {
        Some(Kind::Notify)
    } else if starts(b"M-SEARCH * HTTP/1.") {
        Some(Kind::Search)
    } else if starts(b"HTTP/1.1 200") || starts(b"HTTP/1.0 200") {
        Some(Kind::Answer)
    } else {
        None
    }
}

/// A name in lower case with its cleaned value.
type Header<'a> = (String, Cow<'a, str>);

fn headers(payload: &[u8]) -> Vec<Header<'_>> {
    let lines = payload.split(|b| *b == b'\n').skip(1);
    let parsed = lines.filter_map(|line| {
        let at = memchr(b':', line)?;
        let name = text::clean(line.get(..at)?);
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        ((1..=40).contains(&name.len()) && name.bytes().all(word))
            .then(|| Some((name.to_ascii_lowercase(), text::clean(line.get(at + 1..)?))))?
    });
    parsed.take(HEADERS_MAX).collect()
}

fn announcement(headers: &[Header<'_>], ctx: &Ctx, sink: &mut dyn Sink) {
    for (name, value) in headers {
        let field = match name.as_str() {
            "server" => "ssdp.server",
            "usn" => "ssdp.usn",
            "st" => "ssdp.st",
            "nt" => "ssdp.nt",
            "location" => "ssdp.location",
            name if COMMON.contains(&name) => continue,
            _ => {
                extra(name, value, sink);
                continue;
            }
        };
        // A device announces each of its services under one UUID: the part behind it is NT or ST,
        // and NT is the bare UUID once.
        let value = match field {
            "ssdp.usn" => value.split("::").next().unwrap_or_default(),
            _ => value,
        };
        let is_uuid = (value.get(..5)).is_some_and(|p| p.eq_ignore_ascii_case("uuid:"));
        if field == "ssdp.usn" || !is_uuid {
            sink.says(field, value);
        }
        if field == "ssdp.usn" && is_uuid {
            identity::report_uuid(&About::Sender, field, value, ctx, sink);
        }
    }
}

fn search(headers: &[Header<'_>], sink: &mut dyn Sink) {
    for (name, value) in headers {
        match name.as_str() {
            "st" => sink.says("ssdp.search", &**value),
            "user-agent" => sink.says("ssdp.user_agent", &**value),
            // The friendly name of a control point (UPnP DA 2.0 §1.3.2).
            "cpfn.upnp.org" => extra(name, value, sink),
            _ => {}
        }
    }
}

fn extra(name: &str, value: &str, sink: &mut dyn Sink) {
    if !value.is_empty() {
        sink.fact(
            About::Sender,
            Fact::SaysKeyed { field: "ssdp.header", key: name.into(), value: value.into() },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of};

    fn check(bytes: &[u8], expect: Result<&str, Malformed>) {
        assert_eq!(
            facts_of(run, bytes, &ctx(1900, 1900, Role::Unknown)),
            expect.map(str::to_owned)
        );
    }

    #[test]
    fn devices_announce_and_answer() {
        let notify = b"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=100\r\n\
            LOCATION: http://192.0.2.1:80/description.xml\r\nSERVER: Linux/3.14 UPnP/1.0 IpBridge/1.9.0\r\n\
            NTS: ssdp:alive\r\nhue-bridgeid: 001788FFFE2476FF\r\nNT: upnp:rootdevice\r\n\
            USN: uuid:2f402f80-da50-11e1-9b23-0017882476ff::upnp:rootdevice\r\n\r\n";
        assert!(probe(notify));
        check(
            notify,
            Ok("sender says ssdp.location = http://192.0.2.1:80/description.xml\n\
                sender says ssdp.server = Linux/3.14 UPnP/1.0 IpBridge/1.9.0\n\
                sender says ssdp.header.hue-bridgeid = 001788FFFE2476FF\n\
                sender says ssdp.nt = upnp:rootdevice\n\
                sender says ssdp.usn = uuid:2f402f80-da50-11e1-9b23-0017882476ff\n\
                sender is Uuid 2f402f80-da50-11e1-9b23-0017882476ff (ssdp.usn)"),
        );
        let answer = b"HTTP/1.1 200 OK\nST:roku:ecp\nUSN: uuid:roku:ecp:P0A070000007\nServer:\n";
        assert!(probe(answer));
        check(
            answer,
            Ok("sender says ssdp.st = roku:ecp\n\
                sender says ssdp.usn = uuid:roku:ecp:P0A070000007\n\
                sender is Uuid roku:ecp:P0A070000007 (ssdp.usn)"),
        );
    }

    #[test]
    fn a_search_is_a_clients() {
        check(
            b"M-SEARCH * HTTP/1.1\r\nST: urn:dial-multiscreen-org:service:dial:1\r\nMX: 1\r\n\
              USER-AGENT: Google Chrome/113 Windows\r\nX-Other: no\r\n\r\n",
            Ok("sender says ssdp.search = urn:dial-multiscreen-org:service:dial:1\n\
                sender says ssdp.user_agent = Google Chrome/113 Windows"),
        );
    }

    #[test]
    fn foreign_and_damaged_text() {
        check(b"GET / HTTP/1.1\r\n", Err(Malformed::NotMine));
        check(b"", Err(Malformed::NotMine));
        assert!(!probe(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"));
        check(b"NOTIFY * HTTP/1.1\r\nSERVER: cut of", Ok("sender says ssdp.server = cut of"));
        check(b"NOTIFY * HTTP/1.1\r\n: none\r\nb\x1bd: x\r\n\xff\xfe: y\r\n", Ok(""));
    }
}
