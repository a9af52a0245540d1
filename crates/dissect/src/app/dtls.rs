//! DTLS (RFC 6347, RFC 9147): the hellos and certificates of CoAPS and others over UDP.
//!
//! Handshake messages that span datagrams are not put together again.

use crate::{Ctx, Malformed, Outcome, Reader, Sink};

use super::hello::{self, Carrier};
use super::tls;

/// A handshake record with a message that can begin a conversation.
pub(super) fn probe(bytes: &[u8]) -> bool {
    let [22, 0xfe, 0xfd | 0xff, 0, 0, rest @ ..] = bytes else {
        return false;
    };
    let length = rest.get(6..8).and_then(|b| b.try_into().ok()).map(u16::from_be_bytes);
    // ClientHello, ServerHello or HelloVerifyRequest with an own header inside the record.
    length.is_some_and(|n| (12..0x4000).contains(&n)) && matches!(rest.get(8), Some(1..=3))
}

/// Reads the records of one datagram.
pub(super) fn run(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(bytes);
    let mut records = 0;
    while !r.is_empty() && records < 16 {
        let [kind, major, minor] = r.array()?;
        if !matches!((kind, major, minor), (20..=23, 0xfe, 0xfd | 0xff)) {
            return if records == 0 { Err(Malformed::NotMine) } else { Ok(()) };
        }
        let epoch = r.u16_be()?;
        r.skip(6)?;
        let length = usize::from(r.u16_be()?);
        let body = r.take_up_to(length);
        if kind == 22 && epoch == 0 {
            handshake(body, ctx, sink)?;
        }
        records += 1;
    }
    Ok(())
}

fn handshake(record: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(record);
    let kind = r.u8()?;
    let length = r.u24_be()?;
    r.skip(2)?;
    let offset = r.u24_be()?;
    let part = r.u24_be()?;
    if offset != 0 {
        return Ok(());
    }
    let body = r.take_up_to(usize::try_from(part).unwrap_or(usize::MAX));
    match kind {
        1 => hello::parse(body, Carrier::Dtls)?.report(Carrier::Dtls, sink),
        2 => sink.says("tls.version", tls::version_name(tls::server_hello(body)?)),
        11 if part == length => tls::certificates(body, ctx, sink)?,
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx, unhex};

    /// ClientHello with a cookie and one cipher suite (RFC 6347 §4.2.2).
    const HELLO: &str = "16 fefd 0000 000000000000 0044  # handshake, epoch 0
        01 000038 0000 000000 000038             # ClientHello, one fragment
        fefd
        000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
        00                                       # session id
        02 aabb                                  # cookie
        0002 c0a8                                # PSK with AES-128-CCM-8
        01 00
        000a 0000 0006 0004 00 0001 78           # server name `x`";

    #[test]
    fn a_client_hello() {
        let bytes = unhex(HELLO);
        assert!(probe(&bytes));
        let mut facts = Recorder::default();
        run(&bytes, &ctx(5000, 5684, Role::Client), &mut facts).unwrap();
        assert!(facts.text().contains("sender says tls.sni = x"), "{}", facts.text());
        assert!(facts.text().contains("tls.ja4 = dd2d010100_"), "{}", facts.text());
    }

    #[test]
    fn others_and_cuts() {
        assert!(!probe(b"\x16\x03\x01\0\0"));
        let outcome =
            |bytes: &[u8]| run(bytes, &ctx(5000, 5684, Role::Client), &mut Recorder::default());
        assert_eq!(outcome(b"GET / HTTP"), Err(Malformed::NotMine));
        let bytes = unhex(HELLO);
        for end in 1..20 {
            assert!(outcome(&bytes[..end]).is_err(), "{end}");
        }
        for end in 20..bytes.len() {
            let _ = outcome(&bytes[..end]);
        }
    }
}
