//! TLS ClientHello (RFC 8446 §4.1.2) wherever it travels: TLS, DTLS, QUIC.
//!
//! Fingerprints name the TLS stack, not the device: JA3 (BSD-3) and the client part of JA4
//! (BSD-3) only.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use md5::Md5;
use rustc_hash::FxHasher;
use sha2::{Digest, Sha256};

use crate::text::{clean, hex};
use crate::{About, Fact, Malformed, Reader, Sink};

use super::lines;

/// The carrier, as JA4 writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Tls,
    Dtls,
    Quic,
}

/// What is read of a ClientHello.
#[derive(Debug, Default)]
pub(super) struct ClientHello<'a> {
    version: u16,
    ciphers: Vec<u16>,
    extensions: Vec<u16>,
    groups: Vec<u16>,
    point_formats: Vec<u8>,
    signatures: Vec<u16>,
    versions: Vec<u16>,
    alpn: Vec<&'a [u8]>,
    server_name: Option<&'a [u8]>,
    /// All of it was there.
    whole: bool,
}

/// Reads the body of a ClientHello; of a cut one, what is there.
pub(super) fn parse(body: &[u8], carrier: Carrier) -> Result<ClientHello<'_>, Malformed> {
    let mut r = Reader::new(body);
    let mut hello = ClientHello { version: r.u16_be()?, ..ClientHello::default() };
    let known = match carrier {
        Carrier::Dtls => matches!(hello.version, 0xfeff | 0xfefd | 0xfefc),
        Carrier::Tls | Carrier::Quic => matches!(hello.version, 0x0300..=0x0304),
    };
    if !known {
        return Err(Malformed::NotMine);
    }
    r.skip(32)?;
    let session = usize::from(r.u8()?);
    if session > 32 {
        return Err(Malformed::Invalid);
    }
    r.skip(session)?;
    if carrier == Carrier::Dtls {
        let cookie = usize::from(r.u8()?);
        r.skip(cookie)?;
    }
    let length = usize::from(r.u16_be()?);
    if length % 2 != 0 || length == 0 {
        return Err(Malformed::Invalid);
    }
    hello.ciphers = u16s(r.take(length)?);
    let compressions = usize::from(r.u8()?);
    r.skip(compressions)?;
    if r.is_empty() {
        hello.whole = true;
        return Ok(hello);
    }
    let length = usize::from(r.u16_be()?);
    let there = r.take_up_to(length);
    hello.whole = extensions(there, &mut hello).is_ok() && there.len() == length;
    Ok(hello)
}

impl ClientHello<'_> {
    /// The server's name is there; a cut hello is worth reporting for it.
    pub(super) const fn names_server(&self) -> bool {
        self.server_name.is_some()
    }

    pub(super) const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Reports about the client, who is the sender.
    pub(super) fn report(&self, carrier: Carrier, sink: &mut dyn Sink) {
        let (sni, alpn) = match carrier {
            Carrier::Quic => ("quic.sni", "quic.alpn"),
            Carrier::Tls | Carrier::Dtls => ("tls.sni", "tls.alpn"),
        };
        if let Some(name) = self.server_name.and_then(lines::host_name) {
            if !sink.told(sni, &[name.as_bytes()]) {
                sink.says(sni, name.as_str());
            }
            sink.fact(About::Sender, Fact::ServerName { name: name.into() });
        }
        if !self.whole {
            return;
        }
        if sink.told_digest(self.digest(carrier)) {
            return;
        }
        let protocols: Vec<_> = self.alpn.iter().take(8).map(|p| clean(p)).collect();
        sink.says(alpn, protocols.join(","));
        let ja4 = self.ja4(carrier);
        match carrier {
            Carrier::Quic => sink.says("quic.ja4", ja4),
            Carrier::Tls | Carrier::Dtls => {
                sink.says("tls.ja3", hex(&Md5::digest(self.ja3().as_bytes())));
                sink.says("tls.ja4", ja4);
            }
        }
    }

    /// Stands for all that fingerprints are made of.
    fn digest(&self, carrier: Carrier) -> u64 {
        let mut hasher = FxHasher::default();
        ("hello", carrier as u8, self.version).hash(&mut hasher);
        (&self.ciphers, &self.extensions, &self.groups).hash(&mut hasher);
        (&self.point_formats, &self.signatures, &self.versions, &self.alpn).hash(&mut hasher);
        hasher.finish()
    }

    /// The text whose MD5 is the JA3 fingerprint.
    fn ja3(&self) -> String {
        let mut text = String::with_capacity(512);
        let _ = write!(text, "{}", self.version);
        let mut list = |values: &mut dyn Iterator<Item = u16>| {
            text.push(',');
            for (i, value) in values.enumerate() {
                let dash = if i == 0 { "" } else { "-" };
                let _ = write!(text, "{dash}{value}");
            }
        };
        list(&mut plain(&self.ciphers));
        list(&mut plain(&self.extensions));
        list(&mut plain(&self.groups));
        list(&mut self.point_formats.iter().map(|f| u16::from(*f)));
        text
    }

    fn ja4(&self, carrier: Carrier) -> String {
        let letter = match carrier {
            Carrier::Tls => 't',
            Carrier::Dtls => 'd',
            Carrier::Quic => 'q',
        };
        let newest = match carrier {
            // DTLS versions count down.
            Carrier::Dtls => plain(&self.versions).min(),
            Carrier::Tls | Carrier::Quic => plain(&self.versions).max(),
        };
        let version = match newest.unwrap_or(self.version) {
            0x0304 => "13",
            0x0303 => "12",
            0x0302 => "11",
            0x0301 => "10",
            0x0300 => "s3",
            0x0002 => "s2",
            0xfeff => "d1",
            0xfefd => "d2",
            0xfefc => "d3",
            _ => "00",
        };
        let named = if self.extensions.contains(&0) { 'd' } else { 'i' };
        let mut ciphers: Vec<u16> = plain(&self.ciphers).collect();
        let extension_count = plain(&self.extensions).count();
        let mut extensions: Vec<u16> =
            plain(&self.extensions).filter(|e| !matches!(e, 0x0000 | 0x0010)).collect();
        ciphers.sort_unstable();
        extensions.sort_unstable();
        let mut listed = String::new();
        if !extensions.is_empty() {
            push_hex(&mut listed, extensions.iter().copied());
            if plain(&self.signatures).next().is_some() {
                listed.push('_');
                push_hex(&mut listed, plain(&self.signatures));
            }
        }
        let mut offered = String::new();
        push_hex(&mut offered, ciphers.iter().copied());
        format!(
            "{letter}{version}{named}{:02}{:02}{}_{}_{}",
            ciphers.len().min(99),
            extension_count.min(99),
            self.ja4_alpn(),
            hash12(&offered),
            hash12(&listed),
        )
    }

    /// First and last character of the first ALPN value, or of its hex form.
    fn ja4_alpn(&self) -> String {
        let Some(([first, ..], [.., last])) = self.alpn.first().map(|value| (*value, *value))
        else {
            return "00".to_owned();
        };
        if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
            [char::from(*first), char::from(*last)].iter().collect()
        } else {
            format!("{:x}{:x}", first >> 4, last & 0xf)
        }
    }
}

fn extensions<'a>(bytes: &'a [u8], hello: &mut ClientHello<'a>) -> Result<(), Malformed> {
    let mut r = Reader::new(bytes);
    while !r.is_empty() && hello.extensions.len() < 256 {
        let kind = r.u16_be()?;
        let length = usize::from(r.u16_be()?);
        let body = r.take(length)?;
        hello.extensions.push(kind);
        let mut e = Reader::new(body);
        match kind {
            0 => hello.server_name = server_name(body).ok().or(hello.server_name),
            10 => hello.groups = u16s(body.get(2..).unwrap_or_default()),
            11 => hello.point_formats = body.get(1..).unwrap_or_default().to_vec(),
            13 => hello.signatures = u16s(body.get(2..).unwrap_or_default()),
            16 => {
                e.skip(2)?;
                while let Some(size) = e.u8().ok().filter(|_| hello.alpn.len() < 32) {
                    hello.alpn.push(e.take(usize::from(size))?);
                }
            }
            43 => hello.versions = u16s(body.get(1..).unwrap_or_default()),
            _ => {}
        }
    }
    Ok(())
}

/// The host name in a server_name extension (RFC 6066 §3).
pub(super) fn server_name(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut r = Reader::new(body);
    r.skip(2)?;
    if r.u8()? != 0 {
        return Err(Malformed::Invalid);
    }
    let length = usize::from(r.u16_be()?);
    r.take(length)
}

/// GREASE values (RFC 8701) are noise on purpose.
const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

fn plain(values: &[u16]) -> impl Iterator<Item = u16> {
    values.iter().copied().filter(|v| !is_grease(*v))
}

fn u16s(bytes: &[u8]) -> Vec<u16> {
    let number = |pair: &[u8]| pair.try_into().map(u16::from_be_bytes).unwrap_or_default();
    bytes.chunks_exact(2).take(512).map(number).collect()
}

/// Four hex digits each, with commas between them.
fn push_hex(text: &mut String, values: impl Iterator<Item = u16>) {
    for (i, value) in values.enumerate() {
        if i > 0 {
            text.push(',');
        }
        let nibbles = [value >> 12, value >> 8 & 15, value >> 4 & 15, value & 15];
        text.extend(nibbles.iter().filter_map(|n| char::from_digit(u32::from(*n), 16)));
    }
}

fn hash12(text: &str) -> String {
    if text.is_empty() {
        return "000000000000".to_owned();
    }
    let mut digits = hex(&Sha256::digest(text.as_bytes()));
    digits.truncate(12);
    digits
}
