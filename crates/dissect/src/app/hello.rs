//! TLS ClientHello (RFC 8446 §4.1.2) wherever it travels: TLS, DTLS, QUIC.
//!
//! Fingerprints name the TLS stack, not the device: JA3 (BSD-3) and the client part of JA4
//! (BSD-3) only.

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

/// Protocols read of one ALPN list.
const PROTOCOLS_MAX: usize = 32;

/// What is read of a ClientHello. Lists stay as they stand in the message.
#[derive(Debug, Default)]
pub(super) struct ClientHello<'a> {
    version: u16,
    ciphers: &'a [u8],
    /// All extensions: kinds, lengths, bodies.
    extensions: &'a [u8],
    groups: &'a [u8],
    point_formats: &'a [u8],
    signatures: &'a [u8],
    versions: &'a [u8],
    alpn: &'a [u8],
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
    hello.ciphers = r.take(length)?;
    let compressions = usize::from(r.u8()?);
    r.skip(compressions)?;
    if r.is_empty() {
        hello.whole = true;
        return Ok(hello);
    }
    let length = usize::from(r.u16_be()?);
    let there = r.take_up_to(length);
    hello.extensions = there;
    hello.whole = hello.read_extensions().is_ok() && there.len() == length;
    Ok(hello)
}

impl<'a> ClientHello<'a> {
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
            if !sink.said(sni, &[name.as_bytes()]) {
                sink.says(sni, name.as_str());
            }
            sink.fact(About::Sender, Fact::ServerName { name: name.into() });
        }
        // One client has few ways to say hello, whomever it calls.
        if !self.whole
            || !sink.keeps_sender()
            || sink.said("hello", &[&self.digest(carrier).to_be_bytes()])
        {
            return;
        }
        let protocols: Vec<_> = protocols(self.alpn).take(8).map(|p| clean(p)).collect();
        sink.says(alpn, protocols.join(","));
        let ja4 = self.ja4(carrier);
        match carrier {
            Carrier::Quic => sink.says("quic.ja4", ja4),
            Carrier::Tls | Carrier::Dtls => {
                sink.says("tls.ja3", hex(&Md5::digest(self.ja3())));
                sink.says("tls.ja4", ja4);
            }
        }
    }

    /// Stands for all that fingerprints are made of.
    fn digest(&self, carrier: Carrier) -> u64 {
        let mut hasher = FxHasher::default();
        ("hello", carrier as u8, self.version, self.point_formats, self.alpn).hash(&mut hasher);
        for list in [self.ciphers, self.groups, self.signatures, self.versions] {
            plain(u16s(list)).for_each(|value| hasher.write_u16(value));
            hasher.write_u8(0xff);
        }
        plain(self.kinds()).for_each(|kind| hasher.write_u16(kind));
        hasher.finish()
    }

    /// Kinds of the extensions in order.
    fn kinds(&self) -> impl Iterator<Item = u16> + 'a {
        extensions(self.extensions).map_while(|e| e.ok().map(|(kind, _)| kind))
    }

    fn read_extensions(&mut self) -> Result<(), Malformed> {
        for extension in extensions(self.extensions) {
            let (kind, body) = extension?;
            match kind {
                0 => self.server_name = server_name(body).ok().or(self.server_name),
                10 => self.groups = body.get(2..).unwrap_or_default(),
                11 => self.point_formats = body.get(1..).unwrap_or_default(),
                13 => self.signatures = body.get(2..).unwrap_or_default(),
                16 => {
                    self.alpn = body.get(2..).ok_or(Malformed::Truncated)?;
                    let told: usize = protocols(self.alpn).map(|name| name.len() + 1).sum();
                    // The last name is cut.
                    if told < self.alpn.len() && protocols(self.alpn).count() < PROTOCOLS_MAX {
                        return Err(Malformed::Truncated);
                    }
                }
                43 => self.versions = body.get(1..).unwrap_or_default(),
                _ => {}
            }
        }
        Ok(())
    }

    /// The text whose MD5 is the JA3 fingerprint.
    fn ja3(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(512);
        push_decimal(&mut text, self.version);
        push_list(&mut text, plain(u16s(self.ciphers)));
        push_list(&mut text, plain(self.kinds()));
        push_list(&mut text, plain(u16s(self.groups)));
        push_list(&mut text, self.point_formats.iter().map(|f| u16::from(*f)));
        text
    }

    fn ja4(&self, carrier: Carrier) -> String {
        let letter = match carrier {
            Carrier::Tls => 't',
            Carrier::Dtls => 'd',
            Carrier::Quic => 'q',
        };
        let versions = plain(u16s(self.versions));
        let newest = match carrier {
            // DTLS versions count down.
            Carrier::Dtls => versions.min(),
            Carrier::Tls | Carrier::Quic => versions.max(),
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
        let named = if self.kinds().any(|kind| kind == 0) { 'd' } else { 'i' };
        let mut ciphers: Vec<u16> = plain(u16s(self.ciphers)).collect();
        let mut extensions: Vec<u16> = plain(self.kinds()).collect();
        let extension_count = extensions.len();
        extensions.retain(|e| !matches!(e, 0x0000 | 0x0010));
        ciphers.sort_unstable();
        extensions.sort_unstable();
        let mut listed = Vec::with_capacity(256);
        if !extensions.is_empty() {
            push_hex(&mut listed, extensions.iter().copied());
            if plain(u16s(self.signatures)).next().is_some() {
                listed.push(b'_');
                push_hex(&mut listed, plain(u16s(self.signatures)));
            }
        }
        let mut offered = Vec::with_capacity(256);
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
        let Some(([first, ..], [.., last])) =
            protocols(self.alpn).next().map(|value| (value, value))
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

/// Kinds and bodies of extensions.
fn extensions(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    let mut r = Reader::new(bytes);
    let mut next = move || {
        let kind = r.u16_be()?;
        let length = usize::from(r.u16_be()?);
        Ok((kind, r.take(length)?, r.is_empty()))
    };
    let mut more = !bytes.is_empty();
    std::iter::from_fn(move || {
        more.then(|| match next() {
            Ok((kind, body, last)) => {
                more = !last;
                Ok((kind, body))
            }
            Err(error) => {
                more = false;
                Err(error)
            }
        })
    })
    .take(256)
}

/// Names of protocols, each behind its length.
fn protocols(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut r = Reader::new(list);
    std::iter::from_fn(move || {
        let size = r.u8().ok()?;
        r.take(usize::from(size)).ok()
    })
    .take(PROTOCOLS_MAX)
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

fn plain(values: impl Iterator<Item = u16>) -> impl Iterator<Item = u16> {
    values.filter(|v| !is_grease(*v))
}

fn u16s(bytes: &[u8]) -> impl Iterator<Item = u16> {
    let number = |pair: &[u8]| pair.try_into().map(u16::from_be_bytes).unwrap_or_default();
    bytes.chunks_exact(2).take(512).map(number)
}

fn push_decimal(text: &mut Vec<u8>, number: u16) {
    let (mut digits, mut rest) = ([0u8; 5], number);
    let mut length = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        length += 1;
        if rest == 0 {
            break;
        }
    }
    text.extend_from_slice(digits.get(digits.len() - length..).unwrap_or_default());
}

/// A comma, then decimal numbers with hyphens between them.
fn push_list(text: &mut Vec<u8>, values: impl Iterator<Item = u16>) {
    text.push(b',');
    for (i, value) in values.enumerate() {
        if i > 0 {
            text.push(b'-');
        }
        push_decimal(text, value);
    }
}

/// Four hex digits each, with commas between them.
fn push_hex(text: &mut Vec<u8>, values: impl Iterator<Item = u16>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u16| DIGITS.get(usize::from(nibble & 15)).copied().unwrap_or_default();
    for (i, value) in values.enumerate() {
        if i > 0 {
            text.push(b',');
        }
        text.extend([value >> 12, value >> 8, value >> 4, value].map(digit));
    }
}

fn hash12(text: &[u8]) -> String {
    if text.is_empty() {
        return "000000000000".to_owned();
    }
    hex(Sha256::digest(text).get(..6).unwrap_or_default())
}
