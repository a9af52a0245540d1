//! Greetings of other message systems: AMQP 0-9-1, XMPP (RFC 6120), STOMP.

use crate::text::{clean, find};
use crate::{About, Ctx, Fact, Malformed, Probe, Reader, Sink, Step};

use super::lines;

/// `AMQP`, protocol id and version.
pub(super) fn probe_amqp(bytes: &[u8]) -> Probe {
    match bytes {
        [b'A', b'M', b'Q', b'P', 0..=3, ..] => Probe::Yes,
        [1, 0, 0, _, _, _, _, 0, 10, 0, 10, ..] => Probe::Maybe,
        _ => Probe::No,
    }
}

/// Reads product and version out of the server's properties (Connection.Start, §1.4.2.1).
pub(super) fn amqp(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    if bytes.starts_with(b"AMQP") {
        let version = bytes.get(5..8).unwrap_or_default();
        if let [major, minor, revision] = version {
            sink.says("amqp.version", format!("{major}-{minor}-{revision}"));
            return Step::Consumed(8);
        }
        return Step::NeedMore;
    }
    match connection_start(bytes, sink) {
        Err(Malformed::Truncated) if bytes.len() < 4096 => Step::NeedMore,
        _ => Step::Done,
    }
}

fn connection_start(bytes: &[u8], sink: &mut dyn Sink) -> Result<(), Malformed> {
    let mut r = Reader::new(bytes);
    r.skip(3)?;
    let length = usize::try_from(r.u32_be()?).map_err(|_| Malformed::Limit)?;
    let mut r = Reader::new(r.take(length)?);
    // Class connection; method Start says the server's, StartOk the client's properties.
    if r.u16_be()? != 10 {
        return Err(Malformed::NotMine);
    }
    match r.u16_be()? {
        10 => r.skip(2)?,
        11 => {}
        _ => return Err(Malformed::NotMine),
    }
    let length = usize::try_from(r.u32_be()?).map_err(|_| Malformed::Limit)?;
    let mut table = Reader::new(r.take(length)?);
    for _ in 0..64 {
        if table.is_empty() {
            break;
        }
        let length = usize::from(table.u8()?);
        let name = table.take(length)?;
        let length = match table.u8()? {
            b't' | b'b' | b'B' => 1,
            b's' | b'u' | b'U' => 2,
            b'I' | b'i' | b'f' => 4,
            b'L' | b'l' | b'd' | b'T' => 8,
            b'V' => 0,
            b'S' | b'F' | b'A' | b'x' => {
                usize::try_from(table.u32_be()?).map_err(|_| Malformed::Limit)?
            }
            _ => return Err(Malformed::Invalid),
        };
        let value = table.take(length)?;
        match name {
            b"product" => sink.says("amqp.product", clean(value)),
            b"version" => sink.says("amqp.product_version", clean(value)),
            b"platform" => sink.says("amqp.platform", clean(value)),
            _ => {}
        }
    }
    Ok(())
}

/// A stream header.
pub(super) fn probe_xmpp(bytes: &[u8]) -> Probe {
    let head = bytes.get(..bytes.len().min(256)).unwrap_or(bytes);
    if bytes.first() == Some(&b'<') && find(head, b"<stream:stream").is_some() {
        Probe::Yes
    } else {
        Probe::No
    }
}

/// Reads whom a client asks for.
pub(super) fn xmpp(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let text = clean(bytes);
    let to = text.split_once(" to=").map(|(_, rest)| rest.trim_start_matches(['"', '\'']));
    let name = to.map(|to| lines::before(to, &['"', '\'', '>']));
    if let Some(name) = name.and_then(|name| lines::host_name(name.as_bytes())) {
        sink.says("xmpp.to", name.as_str());
        sink.fact(About::Sender, Fact::ServerName { name: name.into() });
    }
    Step::Done
}

/// A first frame of STOMP.
pub(super) fn probe_stomp(bytes: &[u8]) -> Probe {
    let frames = [&b"CONNECT\n"[..], b"CONNECT\r\n", b"STOMP\n", b"CONNECTED\n", b"CONNECTED\r\n"];
    if frames.iter().any(|frame| bytes.starts_with(frame)) { Probe::Yes } else { Probe::No }
}

/// Reads the server's header of the first frame.
pub(super) fn stomp(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    if lines::head_length(bytes).is_none() && bytes.len() < 4096 {
        return Step::NeedMore;
    }
    for (name, value) in lines::headers(bytes) {
        match name {
            "server" => sink.says("stomp.server", clean(value)),
            "host" => {
                if let Some(name) = lines::host_name(value) {
                    sink.fact(About::Sender, Fact::ServerName { name: name.into() });
                }
            }
            _ => {}
        }
    }
    Step::Done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of_stream, unhex};

    fn check(run: fn(&[u8], &Ctx, &mut dyn Sink) -> Step, bytes: &[u8], expect: &str) {
        assert_eq!(facts_of_stream(run, bytes, &ctx(1, 2, Role::Server)), expect);
    }

    #[test]
    fn greetings() {
        let start = unhex(
            "01 0000 0000002a 000a 000a 00 09 00000020
             07 70726f64756374 53 00000008 5261626269744d51  # product = RabbitMQ
             01 61 74 01                                     # a flag
             01 62 49 00000001                               # a number
             00000000",
        );
        check(amqp, &start, "sender says amqp.product = RabbitMQ");
        check(amqp, b"AMQP\0\0\x09\x01", "sender says amqp.version = 0-9-1");
        check(amqp, b"AMQP\0", "");
        let header =
            b"<?xml version='1.0'?><stream:stream to='chat.example' xmlns='jabber:client'>";
        assert_eq!(probe_xmpp(header), Probe::Yes);
        check(xmpp, header, "sender says xmpp.to = chat.example\nsender asks for chat.example");
        check(
            stomp,
            b"CONNECTED\nserver:ActiveMQ/5.15\n\n\0",
            "sender says stomp.server = ActiveMQ/5.15",
        );
        assert_eq!(probe_stomp(b"CONNECT / HTTP/1.1"), Probe::No);
    }
}
