//! Unicast DNS (RFC 1035): what a client asks, and which name leads to which address.
//!
//! The question is the client's; the answer names destinations. Neither says who the server is,
//! except for the version that some resolvers tell (`version.bind`).

use model::limits::{DEPTH_MAX, STREAM_BUFFER_BYTES_MAX};

use super::dns_message::{Message, Name, Section, kind};
use crate::identity;
use crate::{About, Ctx, Fact, Malformed, Outcome, Probe, Reader, Sink, Step, text};

const PORT: u16 = 53;
const OPCODE_QUERY: u16 = 0;
const OPCODE_UPDATE: u16 = 5;
const CLASS_CHAOS: u16 = 3;
/// Questions of one message that are reported; real messages have one.
const QUESTIONS_MAX: usize = 4;

/// Reads one datagram.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let message = Message::read(payload)?;
    match (message.opcode(), message.is_response()) {
        (OPCODE_QUERY, false) if ctx.dst.port == PORT => query(&message, sink),
        (OPCODE_QUERY, true) if ctx.src.port == PORT => answer(&message, sink),
        (OPCODE_UPDATE, false) => update(&message, ctx, sink),
        (0..=6, _) => {}
        _ => return Err(Malformed::NotMine),
    }
    Ok(())
}

/// A message with its length in front (RFC 7766 §8).
pub(super) fn probe(bytes: &[u8]) -> Probe {
    let mut r = Reader::new(bytes);
    let (Ok(length), Ok(_id), Ok(flags)) = (r.u16_be(), r.u16_be(), r.u16_be()) else {
        return Probe::No;
    };
    let questions = r.u16_be().unwrap_or_default();
    if length >= 12 && flags & 0x7040 == 0 && questions == 1 { Probe::Maybe } else { Probe::No }
}

/// Reads messages from a connection.
pub(super) fn stream(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let mut r = Reader::new(bytes);
    let Ok(length) = r.u16_be().map(usize::from) else {
        return Step::NeedMore;
    };
    // A longer message (a zone transfer) would not fit the buffer and names no destination.
    if length < 12 || length + 2 > STREAM_BUFFER_BYTES_MAX {
        return Step::Resync;
    }
    match r.take(length) {
        Ok(message) => match run(message, ctx, sink) {
            Ok(()) => Step::Consumed(length + 2),
            Err(_) => Step::Resync,
        },
        Err(_) => Step::NeedMore,
    }
}

fn query(message: &Message<'_>, sink: &mut dyn Sink) {
    for question in message.questions.iter().take(QUESTIONS_MAX) {
        let name = question.name.lower();
        if text::is_name(&name) && !question.name.is_reverse() {
            sink.says("dns.query", name);
        }
    }
}

/// The queried name leads to every address at the end of its CNAME chain.
fn answer(message: &Message<'_>, sink: &mut dyn Sink) {
    if message.rcode() != 0 {
        return;
    }
    let answers = || message.records.iter().filter(|r| r.section == Section::Answer);
    let aliases: Vec<(&Name<'_>, Name<'_>)> = answers()
        .filter(|r| r.kind == kind::CNAME)
        .filter_map(|r| Some((&r.name, message.name_in(r, 0)?)))
        .collect();
    // The last of equal names counts.
    let alias =
        |of: &Name<'_>| aliases.iter().rev().find(|(name, _)| name.is(of)).map(|(_, to)| to);
    for question in message.questions.iter().take(QUESTIONS_MAX) {
        if question.class == CLASS_CHAOS {
            server_version(message, &question.name, sink);
            continue;
        }
        let name = question.name.lower();
        if !text::is_name(&name) || question.name.is_reverse() {
            continue;
        }
        let mut chain = vec![&question.name];
        while let Some(next) = chain.last().and_then(|name| alias(name)) {
            if chain.len() > DEPTH_MAX || chain.iter().any(|name| name.is(next)) {
                break;
            }
            chain.push(next);
        }
        for record in answers() {
            let Some(ip) = record.address().filter(|ip| identity::is_host(*ip)) else {
                continue;
            };
            if chain.iter().any(|name| name.is(&record.name)) {
                // About the one who asked: it will connect to this address by this name.
                let name = name.as_str().into();
                sink.fact(About::Receiver, Fact::Resolved { name, ip });
            }
        }
    }
}

/// `version.bind TXT CH`: the resolver's program and version.
fn server_version(message: &Message<'_>, asked: &Name<'_>, sink: &mut dyn Sink) {
    if !matches!(asked.lower().as_str(), "version.bind" | "version.server") {
        return;
    }
    for record in message.records.iter().filter(|r| r.kind == kind::TXT) {
        let mut r = Reader::new(record.data);
        if let Ok(version) = r.u8().and_then(|n| r.take(usize::from(n))) {
            sink.says("dns.server_version", text::clean(version));
        }
    }
}

/// Dynamic update (RFC 2136): a host that registers its own address says its name.
fn update(message: &Message<'_>, ctx: &Ctx, sink: &mut dyn Sink) {
    let updates = message.records.iter().filter(|r| r.section == Section::Authority);
    for record in updates {
        let name = record.name.text();
        if record.address().is_some_and(|ip| ctx.src.ip == Some(ip)) && text::is_name(&name) {
            sink.says("dns.update_name", name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dns_message::build::{message, name, question, record, txt};
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx, facts_of, run_stream};

    fn check(bytes: &[u8], ports: (u16, u16), expect: Result<&str, Malformed>) {
        assert_eq!(
            facts_of(run, bytes, &ctx(ports.0, ports.1, Role::Unknown)),
            expect.map(str::to_owned)
        );
    }

    #[test]
    fn a_query_is_the_clients() {
        let q = message(0x0100, &[question("Api.Example.COM", kind::A)], [&[], &[], &[]]);
        check(&q, (40000, 53), Ok("sender says dns.query = api.example.com"));
        check(&q, (53, 40000), Ok(""));
        let reverse = message(0, &[question("1.2.0.192.in-addr.arpa", kind::PTR)], [&[], &[], &[]]);
        check(&reverse, (40000, 53), Ok(""));
    }

    #[test]
    fn answers_follow_aliases_from_the_question() {
        let a = message(
            0x8180,
            &[question("api.example.com", kind::A)],
            [
                &[
                    record("api.example.com", kind::CNAME, &name("edge.cdn.net")),
                    record("edge.cdn.net", kind::CNAME, &name("n1.cdn.net")),
                    record("n1.cdn.net", kind::A, &[198, 51, 100, 7]),
                    record("N1.cdn.net", kind::A, &[198, 51, 100, 8]),
                    record("other.net", kind::A, &[198, 51, 100, 9]),
                ],
                &[],
                &[record("ns.cdn.net", kind::A, &[198, 51, 100, 1])],
            ],
        );
        check(
            &a,
            (53, 40000),
            Ok("receiver resolves api.example.com = 198.51.100.7\n\
                receiver resolves api.example.com = 198.51.100.8"),
        );
        check(&a, (40000, 53), Ok(""));
    }

    #[test]
    fn alias_loops_blocked_names_and_errors_lead_nowhere() {
        let loops = [
            record("a.x", kind::CNAME, &name("b.x")),
            record("b.x", kind::CNAME, &name("a.x")),
            record("c.x", kind::A, &[198, 51, 100, 7]),
        ];
        check(&message(0x8180, &[question("a.x", kind::A)], [&loops, &[], &[]]), (53, 9), Ok(""));
        let blocked = [record("a.x", kind::A, &[0, 0, 0, 0])];
        check(&message(0x8180, &[question("a.x", kind::A)], [&blocked, &[], &[]]), (53, 9), Ok(""));
        check(&message(0x8183, &[question("a.x", kind::A)], [&loops, &[], &[]]), (53, 9), Ok(""));
        check(
            &message(0x7800, &[question("a.x", kind::A)], [&[], &[], &[]]),
            (53, 9),
            Err(Malformed::NotMine),
        );
    }

    #[test]
    fn updates_and_versions() {
        let own = [record("pc1.corp.example", kind::A, &[192, 0, 2, 1])];
        let zone = [question("corp.example", 6)];
        check(
            &message(0x2800, &zone, [&[], &own, &[]]),
            (40000, 53),
            Ok("sender says dns.update_name = pc1.corp.example"),
        );
        let other = [record("pc2.corp.example", kind::A, &[192, 0, 2, 77])];
        check(&message(0x2800, &zone, [&[], &other, &[]]), (40000, 53), Ok(""));
        let mut chaos = question("version.bind", kind::TXT);
        *chaos.last_mut().unwrap() = 3;
        let version = [record("version.bind", kind::TXT, &txt(&["dnsmasq-2.89"]))];
        check(
            &message(0x8500, &[chaos], [&version, &[], &[]]),
            (53, 40000),
            Ok("sender says dns.server_version = dnsmasq-2.89"),
        );
    }

    #[test]
    fn streams_carry_a_length() {
        let q = message(0x0100, &[question("a.example", kind::A)], [&[], &[], &[]]);
        let mut framed = u16::try_from(q.len()).unwrap().to_be_bytes().to_vec();
        framed.extend(&q);
        assert_eq!(probe(&framed), Probe::Maybe);
        assert_eq!(probe(b"GET / HTTP/1.1\r\n"), Probe::No);
        framed.extend(framed.clone());
        let mut sink = Recorder::default();
        let ctx = ctx(40000, 53, Role::Client);
        let end = run_stream(stream, &framed[..framed.len() - 1], &ctx, &mut sink);
        assert_eq!((end, sink.lines.len()), (Step::NeedMore, 1));
        assert_eq!(stream(&[0xff, 0xff, 0, 0], &ctx, &mut sink), Step::Resync);
    }
}
