//! QUIC (RFC 9000, RFC 9001, RFC 9369) Initial packets: the ClientHello inside is protected with
//! keys that everybody can derive. Google's QUIC before it showed its hello in the clear.
//!
//! The authentication tag is not checked: a ClientHello that parses is check enough here, and
//! captures are often cut in front of the tag.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use sha2::{Digest as _, Sha256};

use crate::About;
use crate::text::{clean, find};
use crate::{Ctx, Fact, Malformed, Outcome, Reader, Role, Sink};

use super::hello::{self, Carrier};
use super::lines;

const CRYPTO_BYTES_MAX: usize = 16 * 1024;

/// A long header of a version that is read here.
pub(super) fn probe(bytes: &[u8]) -> bool {
    match bytes {
        [first, a, b, c, d, dcid, ..] if first & 0xc0 == 0xc0 => {
            Version::of(u32::from_be_bytes([*a, *b, *c, *d])).is_some() && *dcid <= 20
        }
        _ => google_hello(bytes).is_some(),
    }
}

/// Reads one datagram.
pub(super) fn run(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if let Some(hello) = google_hello(bytes) {
        return google(hello, sink);
    }
    let first = *bytes.first().ok_or(Malformed::Truncated)?;
    match first & 0xc0 {
        0xc0 => long(bytes, ctx, sink),
        // A short header has nothing to recognise it by but the port.
        0x40 if ctx.src.port == 443 || ctx.dst.port == 443 => Ok(()),
        _ => Err(Malformed::NotMine),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Draft,
    One,
    Two,
}

impl Version {
    const fn of(number: u32) -> Option<Self> {
        match number {
            0x0000_0001 => Some(Self::One),
            0x6b33_43cf => Some(Self::Two),
            0xff00_001d..=0xff00_0020 => Some(Self::Draft),
            _ => None,
        }
    }

    /// RFC 9001 §5.2, RFC 9369 §3.3.1, draft-ietf-quic-tls-29 §5.2.
    const fn salt(self) -> [u8; 20] {
        match self {
            Self::One => [
                0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8,
                0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a,
            ],
            Self::Two => [
                0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26,
                0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9,
            ],
            Self::Draft => [
                0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61,
                0x11, 0xe0, 0x43, 0x90, 0xa8, 0x99,
            ],
        }
    }

    /// Labels of key, iv and header protection.
    const fn labels(self) -> [&'static str; 3] {
        match self {
            Self::One | Self::Draft => ["quic key", "quic iv", "quic hp"],
            Self::Two => ["quicv2 key", "quicv2 iv", "quicv2 hp"],
        }
    }

    /// Packet type bits of an Initial.
    const fn initial(self) -> u8 {
        match self {
            Self::One | Self::Draft => 0,
            Self::Two => 1,
        }
    }
}

fn long(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(bytes);
    let first = r.u8()?;
    let number = r.u32_be()?;
    let length = usize::from(r.u8()?);
    let dcid = r.take(length)?;
    let length = usize::from(r.u8()?);
    r.skip(length)?;
    // Version negotiation (RFC 9000 §17.2.1) and versions to come.
    let Some(version) = Version::of(number) else {
        return if number == 0 && ctx.src.port == 443 { Ok(()) } else { Err(Malformed::NotMine) };
    };
    // On other ports only what can be read is believed.
    let expected = ctx.src.port == 443 || ctx.dst.port == 443;
    let initial = first >> 4 & 3 == version.initial();
    if !initial || ctx.role == Role::Server || ctx.src.port == 443 {
        if expected {
            sink.says("quic.version", version_name(version));
        }
        return if expected { Ok(()) } else { Err(Malformed::NotMine) };
    }
    let token = varint(&mut r)?;
    r.skip(token)?;
    let length = varint(&mut r)?;
    let header = bytes.len() - r.len();
    let protected = r.take_up_to(length);
    let payload = unprotect(bytes, header, protected, &Keys::of(version, dcid))?;
    match crypto(&payload) {
        Ok(crypto) => {
            sink.says("quic.version", version_name(version));
            report(&crypto, sink)
        }
        // Acknowledgements only.
        Err(_) if expected => Ok(()),
        Err(_) => Err(Malformed::NotMine),
    }
}

/// Reads the hello from the front, or, when this packet holds only its middle, the server's name
/// out of whatever piece has it.
fn report(crypto: &Crypto, sink: &mut dyn Sink) -> Outcome {
    if let [1, _, _, _, body @ ..] = crypto.front() {
        let hello = hello::parse(body, Carrier::Quic);
        if let Ok(hello) = hello
            && (hello.is_whole() || hello.names_server())
        {
            hello.report(Carrier::Quic, sink);
            return Ok(());
        }
    }
    let found = crypto.pieces.iter().find_map(|(_, piece)| stray_name(piece));
    if let Some(name) = found.and_then(lines::host_name) {
        sink.says("quic.sni", name.as_str());
        sink.fact(About::Sender, Fact::ServerName { name: name.into() });
    }
    Ok(())
}

/// A server_name extension anywhere in a piece of a hello: its four lengths must agree.
fn stray_name(piece: &[u8]) -> Option<&[u8]> {
    (0..piece.len().min(4096)).find_map(|at| {
        let [0, 0, a, b, c, d, 0, e, f, rest @ ..] = piece.get(at..)? else {
            return None;
        };
        let name = u16::from_be_bytes([*e, *f]);
        let agree = u16::from_be_bytes([*c, *d]) == name.checked_add(3)?
            && u16::from_be_bytes([*a, *b]) == name.checked_add(5)?;
        let name = rest.get(..usize::from(name))?;
        (agree && name.contains(&b'.') && lines::host_name(name).is_some()).then_some(name)
    })
}

struct Keys {
    key: [u8; 16],
    iv: [u8; 12],
    protection: [u8; 16],
}

impl Keys {
    /// Of the client's Initial packets.
    fn of(version: Version, dcid: &[u8]) -> Self {
        let initial = hmac(&version.salt(), &[dcid]);
        let client = expand(&initial, "client in", 32);
        let [key, iv, protection] = version.labels();
        let part = |label, length| expand(&client, label, length);
        Self {
            key: first(&part(key, 16)),
            iv: first(&part(iv, 12)),
            protection: first(&part(protection, 16)),
        }
    }
}

fn first<const N: usize>(bytes: &[u8; 32]) -> [u8; N] {
    bytes.first_chunk::<N>().copied().unwrap_or([0; N])
}

/// HKDF-Expand-Label (RFC 8446 §7.1) for at most one block of output.
fn expand(secret: &[u8; 32], label: &str, length: u8) -> [u8; 32] {
    let label_length = u8::try_from(label.len() + 6).unwrap_or_default();
    hmac(secret, &[&[0, length, label_length], b"tls13 ", label.as_bytes(), &[0], &[1]])
}

/// HMAC-SHA256 (RFC 2104) with a key of at most one block.
fn hmac(key: &[u8], message: &[&[u8]]) -> [u8; 32] {
    let pad = |fill: u8| -> [u8; 64] {
        let mut block = [fill; 64];
        block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
        block
    };
    let mut inner = Sha256::new();
    inner.update(pad(0x36));
    message.iter().for_each(|part| inner.update(part));
    let mut outer = Sha256::new();
    outer.update(pad(0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

fn block(cipher: &Aes128, input: [u8; 16]) -> [u8; 16] {
    let mut block = input.into();
    cipher.encrypt_block(&mut block);
    block.into()
}

/// Removes header protection (RFC 9001 §5.4) and the counter mode of AES-128-GCM.
fn unprotect(
    bytes: &[u8],
    header: usize,
    protected: &[u8],
    keys: &Keys,
) -> Result<Vec<u8>, Malformed> {
    let sample =
        protected.get(4..20).and_then(|s| s.try_into().ok()).ok_or(Malformed::Truncated)?;
    let [first_mask, masks @ ..] = block(&Aes128::new(&keys.protection.into()), sample);
    let first = *bytes.first().ok_or(Malformed::Truncated)? ^ first_mask & 0x0f;
    let number_length = usize::from(first & 3) + 1;
    debug_assert!(header <= bytes.len());
    let mut number = 0u32;
    for (byte, mask) in protected.iter().zip(masks).take(number_length) {
        number = number << 8 | u32::from(byte ^ mask);
    }
    let mut counter = [0u8; 16];
    let (nonce, tail) = counter.split_at_mut(12);
    nonce.copy_from_slice(&keys.iv);
    for (byte, digit) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
        *byte ^= digit;
    }
    tail.copy_from_slice(&[0, 0, 0, 1]);
    let cipher = Aes128::new(&keys.key.into());
    let mut plain = protected.get(number_length..).unwrap_or_default().to_vec();
    let mut count = u128::from_be_bytes(counter);
    for chunk in plain.chunks_mut(16) {
        count = count.wrapping_add(1);
        let stream = block(&cipher, count.to_be_bytes());
        chunk.iter_mut().zip(stream).for_each(|(byte, key)| *byte ^= key);
    }
    Ok(plain)
}

/// Pieces of the handshake stream that one packet carries.
#[derive(Debug, Default)]
struct Crypto {
    pieces: Vec<(usize, Vec<u8>)>,
    joined: Vec<u8>,
}

impl Crypto {
    /// What is there from the beginning without a gap.
    fn front(&self) -> &[u8] {
        &self.joined
    }

    fn join(&mut self) {
        self.pieces.sort_by_key(|(offset, _)| *offset);
        for (offset, piece) in &self.pieces {
            let Some(skip) = self.joined.len().checked_sub(*offset) else {
                break;
            };
            self.joined.extend_from_slice(piece.get(skip..).unwrap_or_default());
        }
    }
}

/// Collects CRYPTO frames (RFC 9000 §19.6); other frames of an Initial are passed over, anything
/// else means that the keys were wrong or that the tag and the capture's end are reached.
fn crypto(plain: &[u8]) -> Result<Crypto, Malformed> {
    let mut r = Reader::new(plain);
    let mut crypto = Crypto::default();
    for _ in 0..2048 {
        let Ok(kind) = r.u8() else { break };
        match kind {
            0 | 1 => {}
            2 | 3 => {
                let (_, _) = (varint(&mut r)?, varint(&mut r)?);
                let ranges = varint(&mut r)?;
                let _ = varint(&mut r)?;
                for _ in 0..ranges.min(64) * 2 {
                    let _ = varint(&mut r)?;
                }
            }
            6 => {
                let (offset, length) = (varint(&mut r)?, varint(&mut r)?);
                if offset > CRYPTO_BYTES_MAX {
                    return Err(Malformed::Limit);
                }
                crypto.pieces.push((offset, r.take_up_to(length).to_vec()));
            }
            _ => break,
        }
    }
    crypto.join();
    if crypto.pieces.is_empty() { Err(Malformed::Invalid) } else { Ok(crypto) }
}

/// RFC 9000 §16.
fn varint(r: &mut Reader<'_>) -> Result<usize, Malformed> {
    let first = r.u8()?;
    let mut value = u64::from(first & 0x3f);
    for _ in 1..1usize << (first >> 6) {
        value = value << 8 | u64::from(r.u8()?);
    }
    usize::try_from(value).map_err(|_| Malformed::Limit)
}

const fn version_name(version: Version) -> &'static str {
    match version {
        Version::One => "1",
        Version::Two => "2",
        Version::Draft => "draft",
    }
}

/// The tag table of a CHLO of Google QUIC up to Q046, which names server and program.
fn google_hello(bytes: &[u8]) -> Option<&[u8]> {
    let start = bytes.get(..bytes.len().min(96))?;
    let version = start
        .get(1..14)?
        .windows(4)
        .any(|w| matches!(w, [b'Q', b'0', a, b] if a.is_ascii_digit() && b.is_ascii_digit()));
    let at = version.then(|| find(start, b"CHLO"))??;
    bytes.get(at + 4..)
}

fn google(hello: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(hello);
    let count = usize::from(r.u16_le()?).min(64);
    r.skip(2)?;
    let mut table = Reader::new(r.take(count * 8)?);
    let values = r.rest();
    let mut begin = 0;
    for _ in 0..count {
        let tag = table.array::<4>()?;
        let end = usize::try_from(table.u32_le()?).map_err(|_| Malformed::Limit)?;
        let Some(value) = values.get(begin..end) else {
            return Ok(());
        };
        begin = end;
        match &tag {
            b"SNI\0" => {
                if let Some(name) = lines::host_name(value) {
                    sink.says("quic.sni", name.as_str());
                    sink.fact(About::Sender, Fact::ServerName { name: name.into() });
                }
            }
            b"UAID" => sink.says("quic.user_agent", clean(value)),
            b"VER\0" => sink.says("quic.version", clean(value)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
