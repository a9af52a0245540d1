//! Bodies of HTTP messages: where they end, and which are worth reading.

use std::borrow::Cow;

use model::observation::EventKind;

use crate::scan::{json, xml};
use crate::text::{clean, find};
use crate::{About, Ctx, Sink, Step};

use super::super::{ipp, lines};
use super::{api, soap};

/// Bytes of a body that are waited for; of longer bodies the beginning is read. With its framing
/// this stays under the bound of a stream's buffer.
const BODY_BYTES_MAX: usize = 24 * 1024;
/// A page says its title early or never.
const TITLE_BYTES_MAX: usize = 4 * 1024;

/// How a body's end is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// So many bytes are still to come.
    Fixed(u64),
    /// So many bytes of the current chunk, with the line end behind it, are still to come.
    Chunked(u64),
    /// The connection ends it.
    UntilClose,
}

/// What is done with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Skip,
    Text,
    Ipp,
    IppQueue,
    Form,
}

/// A body being read, small enough to be remembered as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Body {
    length: Length,
    kind: Kind,
}

/// The header lines that tell where a body ends and what it is.
pub(super) struct Framing<'a> {
    coding: Option<&'a [u8]>,
    length: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    encoding: Option<&'a [u8]>,
    server: Option<&'a [u8]>,
}

impl<'a> Framing<'a> {
    pub(super) fn of(head: &'a [u8]) -> Self {
        let names =
            ["transfer-encoding", "content-length", "content-type", "content-encoding", "server"];
        let [coding, length, kind, encoding, server] = lines::pick(head, names);
        Self { coding, length, kind, encoding, server }
    }

    pub(super) fn length(&self, otherwise: Length) -> Length {
        if self.coding.is_some_and(|c| find(&c.to_ascii_lowercase(), b"chunked").is_some()) {
            return Length::Chunked(0);
        }
        self.length
            .and_then(|text| std::str::from_utf8(text).ok()?.trim().parse().ok())
            .map_or(otherwise, |size: u64| Length::Fixed(size.min(COUNT_MASK)))
    }

    fn content_type(&self) -> String {
        let value = self.kind.map(clean).unwrap_or_default();
        lines::before(&value, &[';']).trim().to_ascii_lowercase()
    }
}

const COUNT_MASK: u64 = (1 << 56) - 1;

impl Body {
    /// The body that follows a request; `None` when there is none.
    pub(super) fn of_request(head: &Framing<'_>, length: Length) -> Option<Self> {
        if length == Length::Fixed(0) {
            return None;
        }
        let form = head.content_type().starts_with("application/x-www-form-urlencoded");
        let kind = if form { Kind::Form } else { Kind::Skip };
        Some(Self { length, kind })
    }

    /// The body that follows a response; `None` when there is none. Nobody waits for a body that would
    /// tell nothing (`worth`).
    pub(super) fn of_response(head: &Framing<'_>, length: Length, worth: bool) -> Option<Self> {
        if length == Length::Fixed(0) {
            return None;
        }
        let encoded = head.encoding.is_some_and(|c| c != b"identity");
        if encoded || !worth {
            return Some(Self { length, kind: Kind::Skip });
        }
        let cups = head.server.is_some_and(|server| find(server, b"CUPS").is_some());
        let content_type = head.content_type();
        let readable = ["json", "xml", "html", "soap", "text/plain"]
            .iter()
            .any(|kind| content_type.contains(kind));
        let kind = match content_type.as_str() {
            "application/ipp" if cups => Kind::IppQueue,
            "application/ipp" => Kind::Ipp,
            "" => Kind::Text,
            _ if readable => Kind::Text,
            _ => Kind::Skip,
        };
        Some(Self { length, kind })
    }

    pub(super) const fn pack(self) -> u64 {
        let (mode, count) = match self.length {
            Length::Fixed(count) => (1, count),
            Length::Chunked(count) => (2, count),
            Length::UntilClose => (3, 0),
        };
        (mode << 60) | ((self.kind as u64) << 56) | (count & COUNT_MASK)
    }

    pub(super) const fn unpack(state: u64) -> Option<Self> {
        let count = state & COUNT_MASK;
        let length = match state >> 60 {
            1 => Length::Fixed(count),
            2 => Length::Chunked(count),
            3 => Length::UntilClose,
            _ => return None,
        };
        let kind = match state >> 56 & 0xf {
            1 => Kind::Text,
            2 => Kind::Ipp,
            3 => Kind::IppQueue,
            4 => Kind::Form,
            _ => Kind::Skip,
        };
        Some(Self { length, kind })
    }

    /// Reads or passes over what is there; gives what is left of the body.
    pub(super) fn read(self, bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> (Step, Option<Self>) {
        if self.kind == Kind::Skip {
            return self.skip(bytes);
        }
        let (content, ends) = self.content(bytes);
        let full = ends || content.len() >= BODY_BYTES_MAX || bytes.len() >= BODY_BYTES_MAX + 4096;
        if !full && !self.kind.is_ready(&content) {
            return (Step::NeedMore, Some(self));
        }
        self.kind.inspect(&content, ctx, sink);
        Self { kind: Kind::Skip, ..self }.skip(bytes)
    }

    /// The content without its framing, and whether that is all of it.
    fn content<'a>(&self, bytes: &'a [u8]) -> (Cow<'a, [u8]>, bool) {
        match self.length {
            Length::UntilClose => (Cow::Borrowed(bytes), false),
            Length::Fixed(count) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                (Cow::Borrowed(bytes.get(..count).unwrap_or(bytes)), bytes.len() >= count)
            }
            Length::Chunked(_) => {
                let mut content = Vec::new();
                let mut rest = bytes;
                while let Some((size, behind)) = chunk_size(rest) {
                    if size == 0 {
                        return (Cow::Owned(content), true);
                    }
                    let size = usize::try_from(size).unwrap_or(usize::MAX);
                    content.extend_from_slice(behind.get(..size).unwrap_or(behind));
                    rest = size.checked_add(2).and_then(|n| behind.get(n..)).unwrap_or_default();
                }
                (Cow::Owned(content), false)
            }
        }
    }

    fn skip(self, bytes: &[u8]) -> (Step, Option<Self>) {
        let pass = |left: u64| usize::try_from(left).map_or(bytes.len(), |n| n.min(bytes.len()));
        let left_of = |left: u64, passed: usize| left - u64::try_from(passed).unwrap_or(left);
        match self.length {
            Length::UntilClose => (Step::Consumed(bytes.len()), Some(self)),
            Length::Fixed(left) => {
                let passed = pass(left);
                let left = left_of(left, passed);
                let rest = (left > 0).then_some(Self { length: Length::Fixed(left), ..self });
                (Step::Consumed(passed), rest)
            }
            Length::Chunked(0) => match (chunk_size(bytes), lines::line(bytes)) {
                (Some((0, _)), Some((_, length))) => (Step::Consumed(length), None),
                (Some((size, _)), Some((_, length))) => {
                    let length_left = Length::Chunked((size + 2) & COUNT_MASK);
                    (Step::Consumed(length), Some(Self { length: length_left, ..self }))
                }
                (None, None) if bytes.len() < 64 => (Step::NeedMore, Some(self)),
                _ => (Step::Resync, None),
            },
            Length::Chunked(left) => {
                let passed = pass(left);
                let length = Length::Chunked(left_of(left, passed));
                (Step::Consumed(passed), Some(Self { length, ..self }))
            }
        }
    }
}

impl Kind {
    /// Enough is there although the body goes on.
    fn is_ready(self, content: &[u8]) -> bool {
        if self != Self::Text {
            return false;
        }
        let content = content.trim_ascii();
        match content.first() {
            None => false,
            Some(b'<') if is_html(content) => {
                title(content).is_some() || content.len() >= TITLE_BYTES_MAX
            }
            Some(b'<') => content.ends_with(b"</root>") || content.ends_with(b"Envelope>"),
            Some(b'{' | b'[') => content.ends_with(b"}") && json::is_whole(content),
            Some(_) => content.len() >= TITLE_BYTES_MAX,
        }
    }

    fn inspect(self, content: &[u8], ctx: &Ctx, sink: &mut dyn Sink) {
        // The same page, answer or description again.
        if sink.said("http.body", &[&[self as u8], content]) {
            return;
        }
        match self {
            Self::Skip => {}
            Self::Ipp => ipp::response(content, sink),
            Self::IppQueue => ipp::queue(content, sink),
            Self::Form => form(content, sink),
            Self::Text => text(content, ctx, sink),
        }
    }
}

/// Text of any kind: the first byte tells more than the content type does.
fn text(content: &[u8], ctx: &Ctx, sink: &mut dyn Sink) {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content).trim_ascii();
    match content.first() {
        Some(b'{' | b'[') => api::json(content, ctx, sink),
        Some(b'<') if is_html(content) => {
            if let Some(title) = title(content) {
                sink.says("http.title", xml::decode(title));
            }
        }
        Some(b'<') => soap::document(content, ctx, sink),
        _ => api::lines(content, ctx, sink),
    }
}

fn form(content: &[u8], sink: &mut dyn Sink) {
    let content = clean(content);
    if lines::pairs(&content)
        .any(|(name, value)| lines::is_password_name(name) && !value.is_empty())
    {
        let detail = "an HTTP form carries a password in clear text";
        sink.event(About::Sender, EventKind::CleartextCredential, detail);
    }
}

fn is_html(content: &[u8]) -> bool {
    let start = content.get(..content.len().min(1024)).unwrap_or(content).to_ascii_lowercase();
    [&b"<!doctype html"[..], b"<html", b"<head", b"<title", b"<body"]
        .iter()
        .any(|tag| find(&start, tag).is_some())
}

fn title(content: &[u8]) -> Option<&[u8]> {
    let start = content.get(..content.len().min(TITLE_BYTES_MAX)).unwrap_or(content);
    let lower = start.to_ascii_lowercase();
    let open = find(&lower, b"<title")?;
    let begin = open + lower.get(open..)?.iter().position(|b| *b == b'>')? + 1;
    let end = begin + find(lower.get(begin..)?, b"</title")?;
    start.get(begin..end).map(<[u8]>::trim_ascii)
}

/// Size in the chunk header at the front, and what is behind that line.
fn chunk_size(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (line, length) = lines::line(bytes)?;
    let digits = line.split(|b| *b == b';').next()?.trim_ascii();
    let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (size <= COUNT_MASK / 2).then_some((size, bytes.get(length..)?))
}
