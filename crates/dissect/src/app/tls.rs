//! TLS (RFC 8446, RFC 5246): hellos and, up to version 1.2, the certificates of both sides.

use std::borrow::Cow;

use crate::{Ctx, Malformed, Probe, Reader, Sink, Step};

use super::hello::{self, Carrier};
use super::{direction, key, x509};

/// Record header of a handshake with a hello inside, or any record on a TLS port.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match bytes {
        [22, 3, 0..=4, high, _, message, ..] if *high <= 0x48 => match message {
            1 | 2 => Probe::Yes,
            _ => Probe::Maybe,
        },
        [20 | 21 | 23, 3, 0..=4, high, ..] if *high <= 0x48 => Probe::Maybe,
        [22, 3] | [22, 3, 0..=4, ..] => Probe::Maybe,
        _ => Probe::No,
    }
}

/// A TLS handshake begins here: for protocols that switch to TLS.
pub(super) fn begins(bytes: &[u8]) -> bool {
    probe(bytes) == Probe::Yes
}

/// State per direction: handshake messages handled in records that are not consumed yet.
const HANDLED: u64 = 0x54_4c_01;
/// State per direction: a server name was reported from a cut hello.
const NAMED: u64 = 0x54_4c_02;
const HANDSHAKE_BYTES_MAX: usize = 32 * 1024;

/// Reads records of one direction until its certificate, or until it goes dark.
pub(super) fn run(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let (data, records, end) = records(bytes);
    let memory = key(HANDLED, direction(ctx));
    let handled = sink.recall(memory).unwrap_or_default();
    let mut done = 0u64;
    let mut r = Reader::new(&data);
    loop {
        let before = r;
        let Some((kind, body)) = message(&mut r) else {
            r = before;
            break;
        };
        done += 1;
        if done > handled && handshake(kind, body, ctx, sink) == Progress::Finished {
            return Step::Done;
        }
    }
    match end {
        End::Dark => return Step::Done,
        End::Alien => {
            sink.remember(memory, 0);
            return Step::Resync;
        }
        End::Limit | End::Open => {}
    }
    if r.is_empty() && records > 0 {
        if handled != 0 {
            sink.remember(memory, 0);
        }
        return Step::Consumed(records);
    }
    cut_hello(bytes, r, ctx, sink);
    if done != handled {
        sink.remember(memory, done);
    }
    if end == End::Limit { Step::Done } else { Step::NeedMore }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More may come.
    Open,
    /// A record that is not a handshake: what follows is encrypted or an alert.
    Dark,
    /// No record at all.
    Alien,
    /// More than is kept.
    Limit,
}

/// Handshake bytes of the complete records, the length of those, and why they end.
fn records(bytes: &[u8]) -> (Cow<'_, [u8]>, usize, End) {
    let mut data = Cow::Borrowed(&[][..]);
    let mut r = Reader::new(bytes);
    loop {
        let consumed = bytes.len() - r.len();
        let Ok([kind, major, minor, high, low]) = r.array::<5>() else {
            let alien = r.peek().is_some_and(|kind| !matches!(kind, 20..=23));
            return (data, consumed, if alien { End::Alien } else { End::Open });
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let end = match (kind, major, minor) {
            // 2^14 + 2048 (RFC 5246 §6.2.3).
            _ if length > 0x4800 => End::Alien,
            (22, 3, 0..=4) if data.len() > HANDSHAKE_BYTES_MAX => End::Limit,
            (22, 3, 0..=4) => match r.take(length) {
                Ok(body) => {
                    // Mostly there is only one.
                    if data.is_empty() {
                        data = Cow::Borrowed(body);
                    } else {
                        data.to_mut().extend_from_slice(body);
                    }
                    continue;
                }
                Err(_) => End::Open,
            },
            (20 | 21 | 23, 3, 0..=4) => End::Dark,
            _ => End::Alien,
        };
        return (data, consumed, end);
    }
}

/// The next complete handshake message.
fn message<'a>(r: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let kind = r.u8().ok()?;
    let length = usize::try_from(r.u24_be().ok()?).ok()?;
    Some((kind, r.take(length).ok()?))
}

#[derive(PartialEq, Eq)]
enum Progress {
    More,
    Finished,
}

fn handshake(kind: u8, body: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Progress {
    match kind {
        1 => {
            if let Ok(hello) = hello::parse(body, Carrier::Tls) {
                hello.report(Carrier::Tls, sink);
            }
            Progress::More
        }
        2 => match server_hello(body) {
            // Certificates of hosts that nothing is kept of need not be waited for.
            Ok(_) if !sink.keeps_sender() => Progress::Finished,
            Ok(version) => {
                sink.says("tls.version", version_name(version));
                if version == 0x0304 { Progress::Finished } else { Progress::More }
            }
            Err(_) => Progress::More,
        },
        11 => {
            let _ = certificates(body, ctx, sink);
            Progress::Finished
        }
        // ServerHelloDone or ClientKeyExchange: no certificate in this direction.
        14 | 16 => Progress::Finished,
        _ => Progress::More,
    }
}

/// The version a server chose: in the extension since 1.3 (RFC 8446 §4.2.1).
pub(super) fn server_hello(body: &[u8]) -> Result<u16, Malformed> {
    let mut r = Reader::new(body);
    let version = r.u16_be()?;
    r.skip(32)?;
    let session = usize::from(r.u8()?);
    r.skip(session + 3)?;
    let Ok(length) = r.u16_be() else {
        return Ok(version);
    };
    let mut r = Reader::new(r.take_up_to(usize::from(length)));
    while let Ok(kind) = r.u16_be() {
        let length = usize::from(r.u16_be()?);
        let body = r.take(length)?;
        if let (43, Ok(chosen)) = (kind, Reader::new(body).u16_be()) {
            return Ok(chosen);
        }
    }
    Ok(version)
}

/// The sender's own certificate comes first (RFC 5246 §7.4.2).
pub(super) fn certificates(body: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Result<(), Malformed> {
    let mut r = Reader::new(body);
    r.skip(3)?;
    let length = usize::try_from(r.u24_be()?).map_err(|_| Malformed::Limit)?;
    x509::report(r.take(length)?, ctx, sink)
}

/// Name of a protocol version.
pub(super) fn version_name(version: u16) -> Cow<'static, str> {
    Cow::Borrowed(match version {
        0x0304 => "TLS 1.3",
        0x0303 => "TLS 1.2",
        0x0302 => "TLS 1.1",
        0x0301 => "TLS 1.0",
        0x0300 => "SSL 3.0",
        0xfeff => "DTLS 1.0",
        0xfefd => "DTLS 1.2",
        0xfefc => "DTLS 1.3",
        other => return Cow::Owned(format!("{other:#06x}")),
    })
}

/// A hello that the capture may have cut still names its server, once.
fn cut_hello(bytes: &[u8], rest: Reader<'_>, ctx: &Ctx, sink: &mut dyn Sink) {
    let partial = if rest.is_empty() { bytes.get(5..).unwrap_or_default() } else { rest.rest() };
    if let [1, _, _, _, body @ ..] = partial
        && let Ok(hello) = hello::parse(body, Carrier::Tls)
        && hello.names_server()
        && !hello.is_whole()
        && sink.recall(key(NAMED, direction(ctx))).is_none()
    {
        sink.remember(key(NAMED, direction(ctx)), 1);
        hello.report(Carrier::Tls, sink);
    }
}

#[cfg(test)]
pub(super) mod tests;
