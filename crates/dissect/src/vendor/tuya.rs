//! Tuya: devices broadcast their id and product key every few seconds, "encrypted" with a key
//! that is the same in every device and app.

use std::sync::LazyLock;

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};
use md5::{Digest as _, Md5};

use super::{own_id, own_ip};
use crate::scan::json;
use crate::{Ctx, Malformed, Outcome, Reader, Sink};

const HEAD_3: u32 = 0x0000_55aa;
const TAIL_3: u32 = 0x0000_aa55;
const HEAD_35: u32 = 0x0000_6699;
const PAYLOAD_BYTES_MAX: usize = 1500;

/// The well-known key of discovery broadcasts.
static CIPHER: LazyLock<Aes128> = LazyLock::new(|| {
    let key: [u8; 16] = Md5::digest(b"yGAdlopoPVldABfn").into();
    Aes128::new(&key.into())
});

/// A frame by its head and tail.
pub(super) fn probe(bytes: &[u8]) -> bool {
    framed(bytes).is_ok()
}

/// Reports the broadcast's sender. Apps broadcast too (to port 7000, with a `from`): not devices.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let Ok(frame) = framed(payload) else {
        // The oldest firmware sends bare JSON.
        return if payload.first() == Some(&b'{') {
            announce(payload, sink).map_err(|_| Malformed::NotMine)
        } else {
            Err(Malformed::NotMine)
        };
    };
    let (Frame::Plain(data) | Frame::Ecb(data) | Frame::Gcm { data, .. }) = frame;
    if data.len() > PAYLOAD_BYTES_MAX {
        return Err(Malformed::Limit);
    }
    match frame {
        Frame::Plain(data) => announce(data, sink),
        Frame::Ecb(data) => announce(&ecb(data)?, sink),
        Frame::Gcm { nonce, data } => {
            let text = counter_mode(nonce, data);
            // A return code of four bytes may come first.
            let start = if text.first() == Some(&b'{') { 0 } else { 4 };
            announce(text.get(start..).unwrap_or_default(), sink)
        }
    }
}

enum Frame<'a> {
    Plain(&'a [u8]),
    Ecb(&'a [u8]),
    Gcm { nonce: [u8; 12], data: &'a [u8] },
}

fn framed(bytes: &[u8]) -> Result<Frame<'_>, Malformed> {
    let mut r = Reader::new(bytes);
    match r.u32_be()? {
        HEAD_3 => {
            r.skip(8)?; // sequence, command
            let length = usize::try_from(r.u32_be()?).map_err(|_| Malformed::Limit)?;
            // The length counts an optional return code, the data, a checksum and the tail.
            let mut body = Reader::new(r.take(length)?);
            let data = body.take(length.checked_sub(8).ok_or(Malformed::Invalid)?)?;
            body.skip(4)?;
            if body.u32_be()? != TAIL_3 {
                return Err(Malformed::NotMine);
            }
            let data = data.strip_prefix(&[0; 4]).unwrap_or(data);
            Ok(if data.first() == Some(&b'{') { Frame::Plain(data) } else { Frame::Ecb(data) })
        }
        HEAD_35 => {
            r.skip(10)?; // reserved, sequence, command
            let length = usize::try_from(r.u32_be()?).map_err(|_| Malformed::Limit)?;
            let mut body = Reader::new(r.take(length)?);
            if r.u32_be()? != 0x0000_9966 {
                return Err(Malformed::NotMine);
            }
            let nonce = body.array()?;
            let data = body.take(body.len().checked_sub(16).ok_or(Malformed::Invalid)?)?;
            Ok(Frame::Gcm { nonce, data })
        }
        _ => Err(Malformed::NotMine),
    }
}

/// AES-128-ECB with PKCS #7 padding.
fn ecb(data: &[u8]) -> Result<Vec<u8>, Malformed> {
    if data.is_empty() || !data.len().is_multiple_of(16) {
        return Err(Malformed::Invalid);
    }
    let mut text = Vec::with_capacity(data.len());
    for chunk in data.chunks_exact(16) {
        let mut block = <[u8; 16]>::try_from(chunk).map_err(|_| Malformed::Invalid)?.into();
        CIPHER.decrypt_block(&mut block);
        text.extend_from_slice(&block);
    }
    let padding = text.last().copied().map_or(0, usize::from);
    if !(1..=16).contains(&padding) {
        return Err(Malformed::Invalid);
    }
    text.truncate(text.len() - padding);
    Ok(text)
}

/// The counter mode inside AES-GCM (NIST SP 800-38D §7.1). The tag is not verified: that the
/// result is JSON with the right keys is proof enough, and the key is public anyway.
fn counter_mode(nonce: [u8; 12], data: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(data.len());
    for (counter, chunk) in (2u32..).zip(data.chunks(16)) {
        let mut block = [0; 16];
        let (head, tail) = block.split_at_mut(12);
        head.copy_from_slice(&nonce);
        tail.copy_from_slice(&counter.to_be_bytes());
        let mut block = block.into();
        CIPHER.encrypt_block(&mut block);
        text.extend(chunk.iter().zip(block.iter()).map(|(a, b)| a ^ b));
    }
    text
}

fn announce(text: &[u8], sink: &mut dyn Sink) -> Outcome {
    let (mut id, mut key, mut version, mut ip) = <(String, String, String, String)>::default();
    let mut app = false;
    json::walk(text, &mut |path, value| match path {
        "gwId" => value.clone_into(&mut id),
        "productKey" => value.clone_into(&mut key),
        "version" => value.clone_into(&mut version),
        "ip" => value.clone_into(&mut ip),
        "from" => app = value == "app",
        _ => {}
    })?;
    if app {
        return Ok(());
    }
    if id.is_empty() {
        return Err(Malformed::NotMine);
    }
    own_id(sink, "tuya.gw_id", "tuya", &id);
    sink.says("tuya.product_key", key);
    sink.says("tuya.version", version);
    if let Ok(ip) = ip.parse() {
        own_ip(sink, ip);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unhex;
    use crate::vendor::tests::check;

    const JSON: &[u8] =
        br#"{"ip":"192.0.2.7","gwId":"01234567aabbccddeeff","productKey":"keyabcdefgh12345","version":"3.3"}"#;

    const EXPECT: &[&str] = &[
        "sender says tuya.gw_id = 01234567aabbccddeeff",
        "sender is VendorId tuya:01234567aabbccddeeff (tuya.gw_id)",
        "sender says tuya.product_key = keyabcdefgh12345",
        "sender says tuya.version = 3.3",
        "sender uses 192.0.2.7 (Stated)",
    ];

    fn frame_3(data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len() + 12).unwrap();
        let head = unhex("000055aa 00000000 00000013");
        [&head, &length.to_be_bytes()[..], &[0; 4], data, &unhex("00000000 0000aa55")].concat()
    }

    fn encrypted(text: &[u8]) -> Vec<u8> {
        let padding = 16 - text.len() % 16;
        let padded = [text, &vec![u8::try_from(padding).unwrap(); padding]].concat();
        let block = |chunk: &[u8]| {
            let mut block = <[u8; 16]>::try_from(chunk).unwrap().into();
            CIPHER.encrypt_block(&mut block);
            block.to_vec()
        };
        padded.chunks(16).flat_map(block).collect()
    }

    #[test]
    fn a_broadcast_names_its_sender_in_all_versions() {
        check(run, (6666, 6666), JSON, Ok(EXPECT));
        check(run, (6666, 6666), &frame_3(JSON), Ok(EXPECT));
        check(run, (6667, 6667), &frame_3(&encrypted(JSON)), Ok(EXPECT));
        let nonce = *b"0123456789ab";
        let length = u32::try_from(JSON.len() + 28).unwrap();
        let head = unhex("00006699 0000 00000000 00000013");
        let data = counter_mode(nonce, JSON);
        let tail = [&[0; 16], &unhex("00009966")[..]].concat();
        let frame = [&head, &length.to_be_bytes()[..], &nonce, &data, &tail].concat();
        check(run, (6667, 6667), &frame, Ok(EXPECT));
        assert!(probe(&frame));
    }

    #[test]
    fn an_app_is_no_device_and_foreign_bytes_are_refused() {
        let app = br#"{"from":"app","ip":"192.0.2.9"}"#;
        check(run, (50000, 7000), &frame_3(&encrypted(app)), Ok(&[]));
        check(run, (6667, 6667), &frame_3(&[0x41; 15]), Err(Malformed::Invalid));
        check(run, (6667, 6667), b"hello", Err(Malformed::NotMine));
        check(run, (6666, 6666), br#"{"a":1}"#, Err(Malformed::NotMine));
    }
}
