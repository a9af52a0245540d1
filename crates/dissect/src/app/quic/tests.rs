use super::*;
use crate::app::tls::tests::{client_hello, message, sni};
use crate::testing::{Recorder, ctx, unhex};
use crate::text::hex;

/// RFC 9001 appendix A.
const DCID: &str = "8394c8f03e515708";

#[test]
fn keys_of_the_rfcs() {
    let check = |version, key: &str, iv: &str, protection: &str| {
        let keys = Keys::of(version, &unhex(DCID));
        assert_eq!(hex(&keys.key), key);
        assert_eq!(hex(&keys.iv), iv);
        assert_eq!(hex(&keys.protection), protection);
    };
    check(
        Version::One,
        "1f369613dd76d5467730efcbe3b1a22d",
        "fa044b2f42a3fd3b46fb255c",
        "9f50449e04a0e810283a1e9933adedd2",
    );
    // RFC 9369 appendix A.1.
    check(
        Version::Two,
        "8b1a0bc121284290a29e0971b5cd045d",
        "91f73e2351d8fa91660e909f",
        "45b95e15235d6f45a6b19cbcb0294ba9",
    );
    // RFC 9001 appendix A.2: the header protection mask.
    let keys = Keys::of(Version::One, &unhex(DCID));
    let sample = unhex("d1b1c98dd7689fb8ec11d242b123dc9b").try_into().unwrap();
    let mask = block(&Aes128::new(&keys.protection.into()), sample);
    assert_eq!(hex(&mask[..5]), "437b9aec36");
}

/// Protects a payload as a client would, with packet number 2 in four bytes and a tag of zeros.
fn protect(version: Version, number: u32, payload: &[u8]) -> Vec<u8> {
    let dcid = unhex(DCID);
    let keys = Keys::of(version, &dcid);
    let mut header = vec![0xc3 | version.initial() << 4];
    header.extend(number.to_be_bytes());
    header.push(8);
    header.extend(&dcid);
    header.extend([0, 0]);
    let length = u16::try_from(payload.len() + 4 + 16).unwrap() | 0x4000;
    header.extend(length.to_be_bytes());
    // Counter mode is its own inverse: protect by unprotecting, with the number in the clear.
    let cipher = Aes128::new(&keys.key.into());
    let mut nonce = keys.iv;
    nonce[11] ^= 2;
    let mut sealed = Vec::new();
    for (index, chunk) in payload.chunks(16).enumerate() {
        let mut counter = [0u8; 16];
        counter[..12].copy_from_slice(&nonce);
        counter[12..].copy_from_slice(&(u32::try_from(index).unwrap() + 2).to_be_bytes());
        let stream = block(&cipher, counter);
        sealed.extend(chunk.iter().zip(stream).map(|(a, b)| a ^ b));
    }
    sealed.extend([0; 16]);
    let sample: [u8; 16] = sealed[..16].try_into().unwrap();
    let mask = block(&Aes128::new(&keys.protection.into()), sample);
    header[0] ^= mask[0] & 0x0f;
    let masked = [0, 0, 0, 2].iter().zip(&mask[1..]).map(|(a, b)| a ^ b);
    [header, masked.collect(), sealed].concat()
}

fn crypto_frame(offset: u16, piece: &[u8]) -> Vec<u8> {
    let length = u16::try_from(piece.len()).unwrap() | 0x4000;
    let frame = [&[6][..], &(offset | 0x4000).to_be_bytes(), &length.to_be_bytes(), piece];
    frame.concat()
}

fn check(bytes: &[u8], expect: Result<&str, Malformed>) {
    let mut facts = Recorder::default();
    let outcome = run(bytes, &ctx(40_000, 443, Role::Client), &mut facts);
    assert_eq!(outcome.map(|()| facts.text()), expect.map(str::to_owned));
}

#[test]
fn a_hello_in_shuffled_frames() {
    let hello = message(1, &client_hello(0x0303, &[0x1301], &sni("quic.example")));
    let (a, b) = hello.split_at(30);
    let payload = [vec![1], crypto_frame(30, b), vec![0; 3], crypto_frame(0, a), vec![0; 900]];
    for (version, number, name) in [
        (Version::One, 1, "1"),
        (Version::Two, 0x6b33_43cf, "2"),
        (Version::Draft, 0xff00_001d, "draft"),
    ] {
        let packet = protect(version, number, &payload.concat());
        assert!(probe(&packet));
        let mut facts = Recorder::default();
        run(&packet, &ctx(40_000, 443, Role::Client), &mut facts).unwrap();
        let text = facts.text();
        assert!(
            text.starts_with(&format!(
                "sender says quic.version = {name}\nsender says quic.sni = quic.example\n\
             sender asks for quic.example\nsender says quic.ja4 = q12d010100_"
            )),
            "{text}"
        );
    }
}

#[test]
fn a_name_in_the_middle_of_a_long_hello() {
    let hello = message(1, &client_hello(0x0303, &[0x1301], &sni("quic.example")));
    let payload = [crypto_frame(1030, &hello[30..]), vec![0; 900]].concat();
    check(
        &protect(Version::One, 1, &payload),
        Ok(
            "sender says quic.version = 1\nsender says quic.sni = quic.example\nsender asks for quic.example",
        ),
    );
}

#[test]
fn googles_own() {
    let hello = [
        &unhex("0d 0102030405060708")[..],
        b"Q043\x01",
        &[0; 12],
        &unhex("a0 01 0004"),
        b"CHLO\x03\0\0\0SNI\0\x0b\0\0\0VER\0\x0f\0\0\0UAID\x18\0\0\0www.x.exampQ043Chrome/66",
    ]
    .concat();
    assert!(probe(&hello));
    check(
        &hello,
        Ok("sender says quic.sni = www.x.examp\nsender asks for www.x.examp\n\
            sender says quic.version = Q043\nsender says quic.user_agent = Chrome/66"),
    );
}

#[test]
fn others_and_cuts() {
    check(b"", Err(Malformed::Truncated));
    check(b"\x16\xfe\xfd", Err(Malformed::NotMine));
    check(b"\x40short header", Ok(""));
    check(&unhex("c0 abababab 00 00"), Err(Malformed::NotMine));
    let packet = protect(Version::One, 1, &crypto_frame(0, b"\x01nonsense that is no hello"));
    for end in 0..packet.len() {
        let mut facts = Recorder::default();
        let _ = run(&packet[..end], &ctx(40_000, 443, Role::Client), &mut facts);
        assert!(!facts.text().contains("sni"));
    }
}
