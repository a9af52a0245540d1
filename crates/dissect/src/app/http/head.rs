//! What the head of an HTTP message tells about its sender.

use model::observation::EventKind;

use crate::text::{base64_decoded, clean, is_name};
use crate::{About, Fact, Sink};

use super::super::lines::{self, Start};
use super::super::{keyed, ntlm};
use super::body::Length;

/// Smallest body that is worth calling a firmware image.
const FIRMWARE_BYTES_MIN: u64 = 64 * 1024;
const REQUEST_SHOWN_BYTES_MAX: usize = 200;

/// The start line; `head` is what is there of the head, for the events that need a header too.
pub(super) fn start_line(start: Start<'_>, head: &[u8], sink: &mut dyn Sink) {
    let Start::Request(method, target) = start else {
        return;
    };
    if !sink.said("http.request", &[method.as_bytes(), target]) {
        request_line(method, target, sink);
    }
    if sink.keeps_sender()
        && let Some(value) = lines::header(head, "authorization")
    {
        authorization(value, sink);
    }
}

fn request_line(method: &str, target: &[u8], sink: &mut dyn Sink) {
    let target = clean(target);
    let shown = lines::redact(&target, REQUEST_SHOWN_BYTES_MAX.saturating_sub(method.len() + 1));
    sink.says("http.request", format!("{method} {shown}"));
    let query = target.split_once('?').map_or("", |(_, query)| query);
    if lines::pairs(query).any(|(name, value)| lines::is_password_name(name) && !value.is_empty()) {
        let path = lines::redact(lines::before(&target, &['?']), 80);
        let detail = format!("HTTP {method} {path} carries a password in its query");
        sink.event(About::Sender, EventKind::CleartextCredential, detail);
    }
}

/// Header lines of one message.
pub(super) fn header_lines(start: Start<'_>, head: &[u8], sink: &mut dyn Sink) {
    let asking = matches!(start, Start::Request(..));
    let status = match start {
        Start::Request(..) => 0,
        Start::Response(status) => status,
    };
    if sink.said("http.head", &[&status.to_be_bytes(), head]) {
        if asking && let Some(name) = lines::header(head, "host").and_then(lines::host_name) {
            sink.fact(About::Sender, Fact::ServerName { name: name.into() });
        }
        return;
    }
    for (name, value) in lines::headers_beginning(head, may_tell) {
        let Some(name) = telling(name) else { continue };
        match (&*name, asking) {
            ("user-agent", true) => sink.says("http.user_agent", clean(value)),
            ("host", true) => {
                if let Some(name) = lines::host_name(value) {
                    sink.fact(About::Sender, Fact::ServerName { name: name.into() });
                }
            }
            ("server", false) => sink.says("http.server", clean(value)),
            ("x-powered-by", false) => sink.says("http.powered_by", clean(value)),
            ("www-authenticate", false) => challenge(start, value, sink),
            ("authorization", true) if value.starts_with(b"NTLM ") => ntlm_token(value, sink),
            ("location", false) => redirect(value, sink),
            ("set-cookie", false) => cookie(value, sink),
            ("upgrade", _) => sink.says("http.upgrade", clean(value)),
            _ if is_product_header(&name, value) => {
                keyed(sink, About::Sender, "http.header", &name, &clean(value));
            }
            _ => {}
        }
    }
}

/// The name in lower case, where a header of this name may tell something: most do not.
fn telling(name: &str) -> Option<String> {
    const PLAIN: &[&str] = &[
        "user-agent",
        "host",
        "server",
        "www-authenticate",
        "authorization",
        "location",
        "set-cookie",
        "upgrade",
        "application-url",
    ];
    let known =
        name.starts_with(['x', 'X']) || PLAIN.iter().any(|plain| name.eq_ignore_ascii_case(plain));
    known.then(|| name.to_ascii_lowercase())
}

/// A header of a telling name may begin so.
const fn may_tell(first: u8) -> bool {
    matches!(first | 0x20, b'x' | b'u' | b'h' | b's' | b'w' | b'a' | b'l')
}

/// A large body from a path that names a firmware image, on its way to the client.
pub(super) fn download(
    status: u16,
    asked_for_firmware: bool,
    head: &[u8],
    length: Length,
    sink: &mut dyn Sink,
) {
    if !matches!((status, length), (200 | 206, Length::Fixed(FIRMWARE_BYTES_MIN..))) {
        return;
    }
    let disposition = lines::header(head, "content-disposition").map(clean).unwrap_or_default();
    let file = lines::parameter(&disposition, "filename").unwrap_or_default();
    let web = lines::header(head, "content-type").is_some_and(|kind| {
        [&b"text/"[..], b"image/", b"video/", b"audio/", b"application/json"]
            .iter()
            .any(|prefix| kind.starts_with(prefix))
    });
    let named = asked_for_firmware || lines::is_firmware_path(file);
    if let (200 | 206, true, false, Length::Fixed(size)) = (status, named, web, length)
        && size >= FIRMWARE_BYTES_MIN
    {
        let name = if file.is_empty() { "an image" } else { file };
        let detail = format!("HTTP download of {name}, {size} bytes");
        sink.event(About::Receiver, EventKind::FirmwareTransfer, detail);
    }
}

/// A large body sent to a path that upgrades a device.
pub(super) fn upload(
    method: &str,
    target: &[u8],
    head: &[u8],
    length: Length,
    sink: &mut dyn Sink,
) {
    if !matches!((method, length), ("POST" | "PUT", Length::Fixed(FIRMWARE_BYTES_MIN..))) {
        return;
    }
    let path = clean(target).to_ascii_lowercase();
    let upgrades = ["firmware", "upgrade", "fwupdate", "fw_update", "sysupgrade", "/ota"]
        .iter()
        .any(|word| path.contains(word));
    let binary = lines::header(head, "content-type").is_none_or(|kind| {
        kind.starts_with(b"multipart/form-data") || kind.starts_with(b"application/octet-stream")
    });
    if let ("POST" | "PUT", true, true, Length::Fixed(size)) = (method, upgrades, binary, length)
        && size >= FIRMWARE_BYTES_MIN
    {
        let detail = format!("HTTP upload of {size} bytes to {}", lines::redact(&path, 80));
        sink.event(About::Receiver, EventKind::FirmwareTransfer, detail);
    }
}

fn authorization(value: &[u8], sink: &mut dyn Sink) {
    let scheme = value.split(|b| *b == b' ').next().unwrap_or_default();
    let scheme = match scheme.to_ascii_lowercase().as_slice() {
        b"basic" => "HTTP Basic credentials cross in clear text",
        b"bearer" => "an HTTP bearer token crosses in clear text",
        _ => return,
    };
    sink.event(About::Sender, EventKind::CleartextCredential, scheme);
}

fn challenge(start: Start<'_>, value: &[u8], sink: &mut dyn Sink) {
    if value.starts_with(b"NTLM ") {
        return ntlm_token(value, sink);
    }
    let text = clean(value);
    let realm = lines::parameter(&text, "realm").unwrap_or_default();
    sink.says("http.realm", realm);
    let basic = text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"));
    if basic && start == Start::Response(401) {
        let detail = format!("asks for a password over HTTP Basic without TLS, realm `{realm}`");
        sink.event(About::Sender, EventKind::CleartextAdmin, detail);
    }
}

fn ntlm_token(value: &[u8], sink: &mut dyn Sink) {
    let token = value.get(5..).unwrap_or_default();
    ntlm::find(&base64_decoded(token.trim_ascii()), sink);
}

fn redirect(value: &[u8], sink: &mut dyn Sink) {
    let text = clean(value);
    if let Some((_, rest)) = text.split_once("://") {
        let host = lines::before(rest, &['/', '?', '#']);
        let host = host.split('@').next_back().unwrap_or(host);
        sink.says("http.redirect", host);
    }
}

/// Names of session cookies are chosen by the product (`AIROS_SESSIONID`); values are secrets.
fn cookie(value: &[u8], sink: &mut dyn Sink) {
    let name = clean(value.split(|b| *b == b'=').next().unwrap_or_default());
    if is_name(&name) && name.len() <= 40 {
        sink.says("http.cookie", name);
    }
}

/// `x-` and vendor headers whose value looks like a product or version, never ids or tokens.
fn is_product_header(name: &str, value: &[u8]) -> bool {
    const VENDORS: &[&str] = &[
        "x-plex-",
        "x-roku-",
        "x-sonos-",
        "x-hue-",
        "x-axis-",
        "x-ubnt-",
        "x-av-client-info",
        "x-user-agent",
        "x-device",
        "x-model",
        "x-product",
        "x-firmware",
        "application-url",
        "x-jenkins",
        "x-influxdb-version",
        "x-ha-",
        "x-shelly-",
        "x-synology-",
        "x-qnap-",
    ];
    const NOISE: &[&str] = &[
        "forwarded",
        "frame",
        "xss",
        "content-type",
        "cache",
        "request",
        "amz",
        "trace",
        "time",
        "date",
        "csrf",
        "real-ip",
        "robots",
        "runtime",
        "served",
        "goog",
        "cloud",
        "served-by",
        "cdn",
        "edge",
        "download",
        "permitted",
        "dns",
        "ua-compatible",
        "varnish",
        "client-ip",
    ];
    let vendor = VENDORS.iter().any(|prefix| name.starts_with(prefix));
    if !vendor && !name.starts_with("x-") {
        return false;
    }
    let text = clean(value);
    let digits = text.bytes().any(|b| b.is_ascii_digit());
    let letters = text.bytes().any(|b| b.is_ascii_alphabetic());
    let like_product = digits && (letters || text.contains('.'));
    // What is cheap to see is asked first.
    (vendor || like_product)
        && is_name(&text)
        && longest_word(&text) < 24
        && !name.contains("-id")
        && (vendor || !NOISE.iter().any(|word| name.contains(word)))
        && !lines::is_secret_name(name)
}

fn longest_word(text: &str) -> usize {
    text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::len).max().unwrap_or_default()
}
