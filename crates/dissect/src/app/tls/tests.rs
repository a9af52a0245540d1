use super::*;
use crate::Role;
use crate::app::x509;
use crate::testing::{Recorder, ctx, run_stream};

/// A length-prefixed vector.
fn vector<const N: usize>(bytes: &[u8]) -> Vec<u8> {
    let length = u64::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length[8 - N..], bytes].concat()
}

fn u16s(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_be_bytes()).collect()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), vector::<2>(body)].concat()
}

/// Body of a ClientHello.
pub(in super::super) fn client_hello(version: u16, ciphers: &[u16], extensions: &[u8]) -> Vec<u8> {
    [
        version.to_be_bytes().to_vec(),
        vec![7; 32],
        vector::<1>(&[]),
        vector::<2>(&u16s(ciphers)),
        vector::<1>(&[0]),
        vector::<2>(extensions),
    ]
    .concat()
}

pub(in super::super) fn sni(name: &str) -> Vec<u8> {
    extension(0, &vector::<2>(&[&[0][..], &vector::<2>(name.as_bytes())].concat()))
}

pub(in super::super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind], vector::<3>(body)].concat()
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind, 3, 1], vector::<2>(body)].concat()
}

fn check(role: Role, bytes: &[u8], expect: (&str, Step)) {
    let mut facts = Recorder::default();
    let step = run_stream(run, bytes, &ctx(443, 40_000, role), &mut facts);
    assert_eq!((facts.text().as_str(), step), expect);
}

#[test]
fn ja3_of_its_own_documentation() {
    let extensions = [
        sni("www.example.com"),
        extension(10, &vector::<2>(&u16s(&[23, 24, 25]))),
        extension(11, &vector::<1>(&[0])),
    ]
    .concat();
    let ciphers = [47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4];
    let mut facts = Recorder::default();
    let body = client_hello(0x0301, &ciphers, &extensions);
    hello::parse(&body, Carrier::Tls).unwrap().report(Carrier::Tls, &mut facts);
    let text = facts.text();
    assert!(text.contains("tls.ja3 = ada70206e40642a3e4461f35503241d5"), "{text}");
    assert!(text.contains("sender asks for www.example.com"), "{text}");
}

/// The example of the JA4 specification: t13d1516h2_8daaf6152771_e5627efa2ab1.
fn ja4_example() -> Vec<u8> {
    let ciphers = [
        0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
        0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
    ];
    let signatures = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];
    let plain = |kind: u16| extension(kind, &[]);
    let extensions = [
        plain(0x1a1a),
        plain(0x001b),
        sni("a.example"),
        plain(0x0033),
        extension(0x0010, &vector::<2>(&[vector::<1>(b"h2"), vector::<1>(b"http/1.1")].concat())),
        plain(0x4469),
        plain(0x0017),
        plain(0x002d),
        extension(0x000d, &vector::<2>(&u16s(&signatures))),
        plain(0x0005),
        plain(0x0023),
        plain(0x0012),
        extension(0x002b, &vector::<1>(&u16s(&[0x6a6a, 0x0304, 0x0303]))),
        plain(0xff01),
        plain(0x000b),
        plain(0x000a),
        plain(0x0015),
    ]
    .concat();
    client_hello(0x0303, &ciphers, &extensions)
}

#[test]
fn ja4_of_its_own_documentation() {
    let mut facts = Recorder::default();
    hello::parse(&ja4_example(), Carrier::Tls).unwrap().report(Carrier::Tls, &mut facts);
    let text = facts.text();
    assert!(text.contains("tls.ja4 = t13d1516h2_8daaf6152771_e5627efa2ab1"), "{text}");
    assert!(text.contains("tls.alpn = h2,http/1.1"), "{text}");
}

#[test]
fn fragments_over_records_and_segments() {
    let hello = message(1, &ja4_example());
    let (a, b) = hello.split_at(100);
    let stream = [record(22, a), record(22, b)].concat();
    let mut facts = Recorder::default();
    let here = ctx(40_000, 443, Role::Client);
    for end in 0..stream.len() {
        assert_eq!(run(&stream[..end], &here, &mut facts), Step::NeedMore, "{end}");
    }
    assert_eq!(run(&stream, &here, &mut facts), Step::Consumed(stream.len()));
    let hellos = facts.lines.iter().filter(|line| line.contains("tls.ja4")).count();
    assert_eq!(hellos, 1, "{}", facts.text());
}

#[test]
fn certificates_of_a_server() {
    let server_hello = [&[3, 3][..], &[9; 32], &[0], &[0xc0, 0x2f], &[0]].concat();
    let certificate = x509::tests::sample();
    let list = vector::<3>(&vector::<3>(&certificate));
    let flight = [message(2, &server_hello), message(11, &list), message(14, &[])].concat();
    // Two records that cut the certificate; the first segment ends inside the second.
    let (a, b) = flight.split_at(150);
    let stream = [record(22, a), record(22, b)].concat();
    let mut facts = Recorder::default();
    let here = ctx(443, 40_000, Role::Server);
    assert_eq!(run(&stream[..200], &here, &mut facts), Step::NeedMore);
    assert_eq!(run(&stream, &here, &mut facts), Step::Done);
    let text = facts.text();
    assert_eq!(text.matches("tls.version = TLS 1.2").count(), 1, "{text}");
    assert!(text.contains("tls.cert.san = URI:urn:example:model:20.3"), "{text}");
}

#[test]
fn the_dark_and_the_alien() {
    let tls13 =
        [&[3, 3][..], &[9; 32], &[0], &[0x13, 1], &[0], &[0, 6, 0, 43, 0, 2, 3, 4]].concat();
    check(
        Role::Server,
        &record(22, &message(2, &tls13)),
        ("sender says tls.version = TLS 1.3", Step::Done),
    );
    check(Role::Client, &record(23, b"dark"), ("", Step::Done));
    check(Role::Client, &record(20, &[1]), ("", Step::Done));
    check(Role::Client, b"GET / HTTP/1.1", ("", Step::Resync));
    check(Role::Client, &record(22, &message(1, b"short")), ("", Step::Consumed(14)));
    assert_eq!(probe(&record(22, &message(1, &[0; 40]))), Probe::Yes);
    assert_eq!(probe(&record(23, b"x")), Probe::Maybe);
    assert_eq!(probe(b"SSH-2.0"), Probe::No);
}

#[test]
fn a_cut_hello_still_names_its_server() {
    let stream = record(22, &message(1, &ja4_example()));
    let cut = &stream[..stream.len() - 10];
    let mut facts = Recorder::default();
    let here = ctx(40_000, 443, Role::Client);
    for _ in 0..2 {
        assert_eq!(run(cut, &here, &mut facts), Step::NeedMore);
    }
    assert_eq!(facts.text(), "sender says tls.sni = a.example\nsender asks for a.example");
}
