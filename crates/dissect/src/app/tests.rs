//! Laws that hold for every dissector of this group.

use proptest::prelude::*;

use super::*;
use crate::testing::{Recorder, ctx, run_stream};
use crate::{Outcome, Role};

/// Messages that reach deep into their dissectors.
const SEEDS: &[&[u8]] = &[
    b"GET /api/config?pwd=x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Basic eA==\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
      1a\r\n{\"model\":\"X\",\"fw\":\"1.0.0\"}\r\n0\r\n\r\n",
    b"HTTP/1.0 401 No\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: 30\r\n\r\n<html><title>",
    b"\x16\x03\x01\0\x30\x01\0\0\x2c\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\0\0\x02\x13\x01\x01\0\0\x01",
    b"SSH-2.0-x\r\n\0\0\0\x0c\x06\x14abcdefghij",
    b"\0\0\0\x24\xfeSMB@\0\0\0\0\0\0\0\x01\0\x01\0\x01\0\0\0NTLMSSP\0\x02\0\0\0",
    b"\x10\x11\0\x04MQTT\x04\xc6\0<\0\x05Bus41",
    b"REGISTER sip:x.example SIP/2.0\r\nVia: a\r\nContact: <sip:x>;+sip.instance=\"<urn:uuid:00\r\n\r\n",
    b"\xff\xfd\x18\xff\xfb\x01\x1b[2Jlogin: ",
    b"CNXN\0\0\0\x01\0\0\x10\0\x08\0\0\0\0\0\0\0\xbc\xb1\xa7\xb1device::",
    b"\x51\x01\x30\x39t\xbb.well-known\x04core\xff<a>;rt=b",
    b"\xc3\0\0\0\x01\x08abcdefgh\0\0\x40\x40aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    b"\x0dabcdefghQ043\x01aaaaaaaaaaaa\xa0\x01\0\0CHLO\x02\0\0\0SNI\0\x05\0\0\0UAID\x09\0\0\0a.comChro",
    b"\x12\x01\0\x1b\0\0\x01\0\0\0\x06\0\x06\xff\x0a\x32\x06\x40\0\0\0\0",
];

fn everything(bytes: &[u8], role: Role) -> Recorder {
    let mut facts = Recorder::default();
    for s in STREAMS {
        let _ = (s.probe)(bytes);
        let here = ctx(*s.ports.first().unwrap(), 40_000, role);
        let _ = run_stream(s.run, bytes, &here, &mut facts);
        // Again with what the first pass remembered, as behind a gap.
        let _ = run_stream(s.run, bytes, &here, &mut facts);
    }
    for d in DATAGRAMS {
        let _ = d.probe.is_some_and(|probe| probe(bytes));
        let _: Outcome = (d.run)(bytes, &ctx(40_000, d.ports[0], role), &mut facts);
    }
    facts
}

#[test]
fn streams_move_on_and_stay_inside() {
    for seed in SEEDS {
        for end in 0..=seed.len() {
            for s in STREAMS {
                let mut facts = Recorder::default();
                let bytes = &seed[..end];
                if let Step::Consumed(n) = (s.run)(bytes, &ctx(1, 2, Role::Unknown), &mut facts) {
                    assert!(n >= 1 && n <= bytes.len().max(1), "{} {n} of {end}", s.name);
                }
            }
        }
    }
}

#[test]
fn reported_fields_are_in_the_catalogue() {
    for seed in SEEDS {
        for role in [Role::Client, Role::Server, Role::Unknown] {
            for line in everything(seed, role).lines {
                if let Some((_, said)) = line.split_once(" says ") {
                    let name = said.split(' ').next().unwrap();
                    assert!(crate::fields::exists(name), "{name} is not listed");
                }
            }
        }
    }
}

#[test]
fn signatures_belong_to_one_protocol() {
    for seed in SEEDS {
        let sure: Vec<&str> =
            STREAMS.iter().filter(|s| (s.probe)(seed) == Probe::Yes).map(|s| s.name).collect();
        assert!(sure.len() <= 1, "{sure:?}");
    }
}

/// Shows a stream in pieces, as segments arrive.
fn in_pieces(run: StreamRun, bytes: &[u8], cuts: &[usize]) -> String {
    let mut facts = Recorder::default();
    let here = ctx(40_000, 50_000, Role::Unknown);
    let mut pending = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([bytes.len()]) {
        let to = to.clamp(from, bytes.len());
        pending.extend_from_slice(&bytes[from..to]);
        from = to;
        while !pending.is_empty() {
            match run(&pending, &here, &mut facts) {
                Step::Consumed(n) => drop(pending.drain(..n)),
                Step::NeedMore => break,
                Step::Resync | Step::Done => return facts.text(),
            }
        }
    }
    facts.text()
}

/// Streams of whole messages.
const STREAM_SEEDS: &[(StreamRun, &[u8])] = &[
    (http::run, b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Type: text/html\r\nTransfer-Encoding: \
        chunked\r\n\r\n7\r\n<title>\r\n9\r\nt</title>\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nServer: t\r\n\
        Content-Length: 3\r\n\r\nGETHTTP/1.1 404 x\r\nServer: u\r\nContent-Length: 0\r\n\r\n"),
    (http::run, b"POST /a?b=c HTTP/1.1\r\nHost: h.example\r\nUser-Agent: ua 1\r\nContent-Length: 5\r\n\
        \r\nHTTP/GET / HTTP/1.1\r\nUser-Agent: ua 2\r\n\r\n"),
    (mqtt::run, b"\x10\x11\0\x04MQTT\x04\x02\0<\0\x05Bus41\x30\x05\0\x01ax!\xc0\0\x82\x06\0\x01\0\x01b\0"),
    (ssh::run, b"SSH-2.0-x_1\r\n\0\0\0\x0c\x06\x14abcdefghij"),
    (smb::run, b"\x82\0\0\0\0\0\0\x48\xfeSMB@\0\0\0\0\0\0\0\x01\0\x01\0\x01\0\0\0xxxxxxxxxxxxxxxxxxxx\
        xxxxxxxxxxxxxxxxxxxxxxxxNTLMSSP\0"),
    (sip::run_stream, b"REGISTER sip:x.example SIP/2.0\r\nVia: a\r\nUser-Agent: p\r\n\r\nSIP/2.0 200 OK\r\n\r\n"),
    (skinny::run, b"\x04\0\0\0\0\0\0\0\0\0\0\0\x0c\0\0\0\0\0\0\0\x20\0\0\0\0\0\0\0Load"),
    (mail::smtp, b"220 a ESMTP\r\nEHLO b\r\nAUTH PLAIN\r\n"),
    (ftp::run, b"220 a FTP\r\nUSER b\r\nPASS c\r\n"),
    (rtsp::run, b"RTSP/1.0 200 OK\r\nServer: s\r\nContent-Length: 3\r\n\r\nabc$\0\0\x02xyRTSP/1.0 200 OK\r\nServer: t\r\n\r\n"),
    (tds::run, b"\x12\x01\0\x15\0\0\x01\0\0\0\x06\0\x06\xff\x0a\x32\x06\x40\0\0\0\x01\x01\0\x09\0\0\x01\0x"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = everything(&bytes, Role::Unknown);
    }

    #[test]
    fn cuts_and_flips_are_survived(
        seed in 0..SEEDS.len(),
        cut in 0usize..300,
        flips in proptest::collection::vec((0usize..300, any::<u8>()), 0..6),
        server in any::<bool>(),
    ) {
        let mut bytes = SEEDS[seed][..cut.min(SEEDS[seed].len())].to_vec();
        for (at, value) in flips {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let _ = everything(&bytes, if server { Role::Server } else { Role::Client });
    }

    #[test]
    fn segments_do_not_matter(
        seed in 0..STREAM_SEEDS.len(),
        mut cuts in proptest::collection::vec(0usize..260, 0..12),
    ) {
        cuts.sort_unstable();
        let (run, bytes) = STREAM_SEEDS[seed];
        let whole = in_pieces(run, bytes, &[]);
        prop_assert!(!whole.is_empty() || seed == 4 || seed == 6);
        prop_assert_eq!(in_pieces(run, bytes, &cuts), whole);
    }
}
