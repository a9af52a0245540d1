//! HTTP/1 (RFC 9112): who serves what, with which software, and what interfaces say.
//!
//! This file is the framing: heads, bodies, keep-alive, pipelining. Captures lose segments and
//! begin in the middle, so a head is recognised wherever it begins a segment, whatever was expected
//! there, and complete header lines count before their head is complete.

mod api;
mod body;
mod head;
mod soap;

use crate::{Ctx, Probe, Sink, Step};

use super::lines::{self, Start};
use super::{direction, key};
use body::{Body, Framing, Length};

/// First bytes of a request or response of HTTP/1.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match look(bytes) {
        Look::Head => Probe::Yes,
        Look::Perhaps => Probe::Maybe,
        Look::Other => Probe::No,
    }
}

/// Reads one direction.
pub(super) fn run(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    match look(bytes) {
        Look::Head => return message(bytes, ctx, sink),
        Look::Perhaps | Look::Other => {}
    }
    if let Some(state) = recall(BODY, ctx, sink)
        && let Some(state) = Body::unpack(state)
    {
        let (step, next) = state.read(bytes, ctx, sink);
        remember(BODY, ctx, sink, next.map_or(0, Body::pack));
        return step;
    }
    let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    match look(bytes) {
        _ if blank > 0 => Step::Consumed(blank),
        Look::Perhaps => Step::NeedMore,
        _ => Step::Resync,
    }
}

/// State kept per direction: the body being read.
const BODY: u64 = 0x48_54_01;
/// State kept per direction: how much of an incomplete head was reported.
const PARTIAL: u64 = 0x48_54_02;
/// State kept per conversation: requests that wait for their response.
const WAITING: u64 = 0x48_54_03;

enum Look {
    Head,
    Perhaps,
    Other,
}

const METHODS: &[&str] = &[
    "GET ",
    "POST ",
    "HEAD ",
    "PUT ",
    "DELETE ",
    "OPTIONS ",
    "PATCH ",
    "CONNECT ",
    "NOTIFY ",
    "SUBSCRIBE ",
    "UNSUBSCRIBE ",
    "PROPFIND ",
    "M-SEARCH ",
    "TRACE ",
    "REPORT ",
];

fn look(bytes: &[u8]) -> Look {
    const VERSION: &[u8] = b"HTTP/1.";
    let begins = |word: &[u8]| {
        let shared = word.len().min(bytes.len());
        word.first() == bytes.first() && word.get(..shared) == bytes.get(..shared)
    };
    if begins(VERSION) {
        return if bytes.len() > VERSION.len() { Look::Head } else { Look::Perhaps };
    }
    let Some(method) = METHODS.iter().find(|method| begins(method.as_bytes())) else {
        return Look::Other;
    };
    match (lines::line(bytes), bytes.get(method.len()..)) {
        (Some((first, _)), _) if lines::start(first, "HTTP/1.").is_some() => Look::Head,
        (Some(_), _) => Look::Other,
        // OPTIONS and NOTIFY are also methods of RTSP and SIP: their targets tell.
        (None, Some([b'/', ..])) => Look::Head,
        (None, Some(target)) if target.starts_with(b"rtsp") || target.starts_with(b"sip") => {
            Look::Other
        }
        (None, _) => Look::Perhaps,
    }
}

fn message(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let Some((first, first_length)) = lines::line(bytes) else {
        return wait_or_drop(bytes);
    };
    let Some(start) = lines::start(first, "HTTP/1.") else {
        return Step::Resync;
    };
    remember(BODY, ctx, sink, 0);
    let length = lines::head_length(bytes);
    // Report complete lines once, even when their head never gets complete.
    let mark = fingerprint(first);
    let seen = recall(PARTIAL, ctx, sink).filter(|p| p >> 16 == mark).map_or(0, |p| p & 0xffff);
    let seen = usize::try_from(seen).unwrap_or_default();
    let complete = length.unwrap_or_else(|| {
        bytes.iter().rposition(|b| *b == b'\n').map_or(first_length, |newline| newline + 1)
    });
    if seen == 0 {
        head::start_line(start, bytes.get(..complete).unwrap_or_default(), sink);
    }
    let fresh = bytes.get(seen.max(first_length)..complete).unwrap_or_default();
    head::header_lines(start, fresh, sink);
    let Some(length) = length else {
        let reported = u64::try_from(complete.min(0xffff)).unwrap_or_default();
        remember(PARTIAL, ctx, sink, mark << 16 | reported);
        return wait_or_drop(bytes);
    };
    remember(PARTIAL, ctx, sink, 0);
    let head = bytes.get(first_length..length).unwrap_or_default();
    match start {
        Start::Request(method, target) => request(method, target, head, ctx, sink),
        Start::Response(status) => {
            if !response(status, head, ctx, sink) {
                return Step::Done;
            }
        }
    }
    Step::Consumed(length)
}

fn request(method: &str, target: &[u8], head: &[u8], ctx: &Ctx, sink: &mut dyn Sink) {
    let expectation = Expectation {
        no_body: method == "HEAD",
        tunnel: method == "CONNECT",
        firmware: method == "GET" && lines::is_firmware_path(&crate::text::clean(target)),
    };
    let waiting = sink.recall(key(WAITING, 0)).unwrap_or_default();
    sink.remember(key(WAITING, 0), push(waiting, expectation));
    let framing = Framing::of(head);
    let length = framing.length(Length::Fixed(0));
    head::upload(method, target, head, length, sink);
    let body = Body::of_request(&framing, length);
    remember(BODY, ctx, sink, body.map_or(0, Body::pack));
}

/// Reads a response's framing; `false` when no HTTP follows in this direction.
fn response(status: u16, head: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> bool {
    if status == 101 {
        return false;
    }
    if status < 200 {
        return true;
    }
    let waiting = sink.recall(key(WAITING, 0)).unwrap_or_default();
    let (expected, waiting) = pop(waiting);
    sink.remember(key(WAITING, 0), waiting);
    if expected.tunnel && status < 300 {
        return false;
    }
    if expected.no_body || matches!(status, 204 | 304) {
        return true;
    }
    let framing = Framing::of(head);
    let length = framing.length(Length::UntilClose);
    head::download(status, expected.firmware, head, length, sink);
    let body = Body::of_response(&framing, length, sink.keeps_sender());
    remember(BODY, ctx, sink, body.map_or(0, Body::pack));
    true
}

/// What a request lets us expect of its response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Expectation {
    no_body: bool,
    tunnel: bool,
    firmware: bool,
}

/// Requests that wait: their count in the low 8 bits, then 4 bits each, the oldest lowest. More
/// than 14 in flight are counted but not described.
fn push(waiting: u64, e: Expectation) -> u64 {
    let count = waiting & 0xff;
    let bits = u64::from(e.no_body) | u64::from(e.tunnel) << 1 | u64::from(e.firmware) << 2;
    let entry = if count < 14 { bits << (8 + 4 * count) } else { 0 };
    (waiting & !0xff | entry) + (count + 1).min(0xff)
}

fn pop(waiting: u64) -> (Expectation, u64) {
    let count = waiting & 0xff;
    let entry = waiting >> 8;
    let expectation =
        Expectation { no_body: entry & 1 != 0, tunnel: entry & 2 != 0, firmware: entry & 4 != 0 };
    (expectation, entry >> 4 << 8 | count.saturating_sub(1))
}

fn wait_or_drop(bytes: &[u8]) -> Step {
    if bytes.len() < lines::HEAD_BYTES_MAX { Step::NeedMore } else { Step::Resync }
}

/// 48 bits that tell start lines apart (FNV-1a).
fn fingerprint(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash >> 16
}

fn recall(tag: u64, ctx: &Ctx, sink: &mut dyn Sink) -> Option<u64> {
    sink.recall(key(tag, direction(ctx))).filter(|state| *state != 0)
}

/// Writes state only when it changes: most messages have none.
fn remember(tag: u64, ctx: &Ctx, sink: &mut dyn Sink, state: u64) {
    let key = key(tag, direction(ctx));
    if sink.recall(key).unwrap_or_default() != state {
        sink.remember(key, state);
    }
}

#[cfg(test)]
mod tests;
