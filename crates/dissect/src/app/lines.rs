//! Messages made of a start line and header lines: HTTP/1 (RFC 9112 §2), RTSP (RFC 2326 §4) and
//! SIP (RFC 3261 §7) share this shape, and what may be said about their parts.

use memchr::{memchr, memrchr};

/// Longest head that is waited for.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 128;

/// The first line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start<'a> {
    /// Method and target.
    Request(&'a str, &'a [u8]),
    /// Status code.
    Response(u16),
}

/// The first line without its end, and its length with it; `None` while the end is missing.
pub(super) fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr(b'\n', bytes)?;
    let line = bytes.get(..end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}

/// The beginning of the first line in capitals, for probes: nothing when it is not text.
pub(super) fn opening(bytes: &[u8]) -> Vec<u8> {
    const OPENING_BYTES_MAX: usize = 256;
    if !bytes.first().is_some_and(u8::is_ascii_graphic) {
        return Vec::new();
    }
    let start = bytes.get(..OPENING_BYTES_MAX).unwrap_or(bytes);
    let end = memchr(b'\n', start).unwrap_or(start.len());
    start.get(..end).unwrap_or(start).to_ascii_uppercase()
}

/// Length of the head with its blank line; `None` while that is missing.
pub(super) fn head_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some((text, length)) = line(bytes.get(at..)?) {
        at += length;
        if text.is_empty() {
            return Some(at);
        }
    }
    None
}

/// Reads a start line of the protocol whose version text begins with `version` (`HTTP/1.`).
pub(super) fn start<'a>(line: &'a [u8], version: &str) -> Option<Start<'a>> {
    if line.starts_with(version.as_bytes()) {
        let mut words = line.split(|b| *b == b' ').skip(1).filter(|w| !w.is_empty());
        let code = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
        return (100..1000).contains(&code).then_some(Start::Response(code));
    }
    let first = memchr(b' ', line)?;
    let last = memrchr(b' ', line)?;
    let target = line.get(first + 1..last)?;
    let tail = line.get(last + 1..)?;
    let method = std::str::from_utf8(line.get(..first)?).ok()?;
    let named = (2..=18).contains(&method.len())
        && method.bytes().all(|b| b.is_ascii_uppercase() || matches!(b, b'-' | b'_'));
    (named && tail.starts_with(version.as_bytes())).then_some(Start::Request(method, target))
}

/// Lines of a head, without their newlines.
fn lines_of(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(head);
    let next = move || {
        let all = rest?;
        let (line, behind) = match memchr(b'\n', all) {
            Some(end) => (all.get(..end)?, Some(all.get(end + 1..)?)),
            None => (all, None),
        };
        rest = behind;
        Some(line)
    };
    std::iter::from_fn(next).take(HEADERS_MAX)
}

/// Header fields: name as written, value trimmed. Lines that are not fields are passed over.
pub(super) fn headers(head: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    headers_beginning(head, |_| true)
}

/// The header fields whose names begin with a byte that `may` tell something: most are passed over unread.
pub(super) fn headers_beginning(
    head: &[u8],
    may: impl Fn(u8) -> bool,
) -> impl Iterator<Item = (&str, &[u8])> {
    lines_of(head).filter(move |line| line.first().is_some_and(|b| may(*b))).filter_map(|line| {
        let colon = memchr(b':', line)?;
        let name = std::str::from_utf8(line.get(..colon)?).ok()?.trim_end();
        let token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        (!name.is_empty() && name.bytes().all(token))
            .then(|| (name, line.get(colon + 1..).unwrap_or_default().trim_ascii()))
    })
}

/// The value of one header field.
pub(super) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    lines_of(head).find_map(|line| value_of(line, name))
}

/// The values of several header fields, named in lower case, in one pass; the first of a name counts.
pub(super) fn pick<'a, const N: usize>(head: &'a [u8], names: [&str; N]) -> [Option<&'a [u8]>; N] {
    let mut found = [None; N];
    for line in lines_of(head) {
        let Some(first) = line.first().map(u8::to_ascii_lowercase) else { continue };
        for (value, name) in found.iter_mut().zip(names) {
            if value.is_none() && name.as_bytes().first() == Some(&first) {
                *value = value_of(line, name);
            }
        }
    }
    found
}

/// The value of the header field in this line, when it has this name.
fn value_of<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (own, rest) = line.split_at_checked(name.len())?;
    let rest = rest.trim_ascii_start().strip_prefix(b":")?;
    own.eq_ignore_ascii_case(name.as_bytes()).then(|| rest.trim_ascii())
}

/// Name of a host in `host[:port]`, in lower case: `None` for addresses, which name nobody.
pub(super) fn host_name(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if text.starts_with('[') {
        return None;
    }
    let name = text.split(':').next()?.trim_end_matches('.').to_ascii_lowercase();
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let label = name.bytes().any(|b| b.is_ascii_alphabetic());
    ((1..=253).contains(&name.len()) && label && name.bytes().all(legal)).then_some(name)
}

/// The quoted or bare value of a parameter (`realm="x"`, RFC 9110 §11.2).
pub(super) fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let lower = value.to_ascii_lowercase();
    let mut from = 0;
    while let Some(at) = lower.get(from..)?.find(name) {
        let begin = from + at;
        let before = lower.get(..begin)?.chars().next_back();
        let rest = value.get(begin + name.len()..)?.trim_start();
        if let (None | Some(' ' | ',' | ';' | '\t'), Some(rest)) = (before, rest.strip_prefix('='))
        {
            let rest = rest.trim_start();
            return match rest.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next(),
                None => rest.split([',', ';', ' ']).next(),
            };
        }
        from = begin + name.len();
    }
    None
}

/// A name that stands for a secret in queries, forms and headers.
pub(super) fn is_secret_name(name: &str) -> bool {
    has_word(
        name,
        &[
            "pass", "pwd", "psw", "token", "key", "auth", "secret", "session", "sid", "sign",
            "hash", "cred", "login", "user", "ticket", "nonce", "email", "account",
        ],
    ) || name.eq_ignore_ascii_case("code")
}

/// A name that stands for a password: seeing it with a value in clear text is a finding.
pub(super) fn is_password_name(name: &str) -> bool {
    has_word(name, &["passw", "pwd", "passphrase", "psw"]) || name.eq_ignore_ascii_case("pass")
}

/// Whether one of some words of lower-case letters stands somewhere in a name. Names are short and there are
/// many of them: comparing in place is cheaper than preparing a search.
fn has_word(name: &str, words: &[&str]) -> bool {
    let begins = |rest: &[u8], word: &str| {
        rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
    };
    let name = name.as_bytes();
    (0..name.len()).any(|at| {
        let rest = name.get(at..).unwrap_or_default();
        let first = rest.first().map_or(0, u8::to_ascii_lowercase);
        let mut words = words.iter();
        words.any(|word| word.as_bytes().first() == Some(&first) && begins(rest, word))
    })
}

/// Name/value pairs of a query or form.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split(['&', ';']).take(64).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// A request target without secrets: no user information, no values of secret names, no opaque
/// values, no opaque path segment behind `/api/`; at most `limit` bytes.
pub(super) fn redact(target: &str, limit: usize) -> String {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut text = String::with_capacity(target.len());
    let mut previous = "";
    for (i, segment) in path.split('/').take(64).enumerate() {
        if i > 0 {
            text.push('/');
        }
        let opaque = previous.eq_ignore_ascii_case("api")
            && segment.len() >= 16
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let segment_shown = if opaque { "*" } else { segment.split('@').next_back().unwrap_or("") };
        text.push_str(segment_shown);
        previous = segment;
    }
    for (i, (name, value)) in query.into_iter().flat_map(pairs).enumerate() {
        text.push(if i == 0 { '?' } else { '&' });
        text.push_str(name);
        if !value.is_empty() {
            text.push('=');
            text.push_str(if is_secret_name(name) || is_opaque(value) { "*" } else { value });
        }
    }
    let end = text.floor_char_boundary(limit);
    text.truncate(end);
    text
}

/// A long run of what keys and cipher texts are written with. Names of products have separators.
fn is_opaque(value: &str) -> bool {
    let of_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '%' | '+' | '/' | '=');
    value.split(|c| !of_key(c)).any(|run| run.len() >= 28)
}

/// Text in front of the first of `ends`.
pub(super) fn before<'a>(text: &'a str, ends: &[char]) -> &'a str {
    text.split(ends).next().unwrap_or(text)
}

/// The name ends as firmware images do, or its path says so.
pub(super) fn is_firmware_path(path: &str) -> bool {
    const SUFFIXES: &[&str] = &[
        ".bin", ".img", ".fw", ".swu", ".ota", ".rom", ".pkg", ".upd", ".chk", ".trx", ".dav",
        ".rfu", ".hex", ".dfu", ".ipk", ".pat", ".rfb",
    ];
    let path = before(path, &['?', '#']).to_ascii_lowercase();
    SUFFIXES.iter().any(|suffix| path.ends_with(suffix))
        || ["/firmware/", "/fota/", "/ota/"].iter().any(|folder| path.contains(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_lines() {
        let check = |text: &str, expect| assert_eq!(start(text.as_bytes(), "HTTP/1."), expect);
        check("GET /a b HTTP/1.1", Some(Start::Request("GET", b"/a b")));
        check("HTTP/1.1 404 Not Found", Some(Start::Response(404)));
        check("HTTP/1.1 99", None);
        check("HTTP/1.1 abc", None);
        check("get / HTTP/1.1", None);
        check("OPTIONS rtsp://x RTSP/1.0", None);
        check("GET ", None);
        check("GET /", None);
    }

    #[test]
    fn heads_end_at_the_blank_line() {
        assert_eq!(head_length(b"A\r\nB: 1\r\n\r\nbody"), Some(11));
        assert_eq!(head_length(b"A\nB: 1\n\nbody"), Some(8));
        assert_eq!(head_length(b"A\r\nB: 1\r\n"), None);
        assert_eq!(header(b"A\r\nserver :  x \r\n\r\n", "Server"), Some(&b"x"[..]));
        let head = b"Host: a\r\nHOST: b\r\nhostile: c\r\nAge : 1\r\n\r\n";
        assert_eq!(pick(head, ["host", "age", "via"]), [Some(&b"a"[..]), Some(b"1"), None]);
    }

    #[test]
    fn secrets_do_not_survive() {
        let check = |target: &str, expect: &str| assert_eq!(redact(target, 60), expect);
        check("/q?model=DCH_FW_0120", "/q?model=DCH_FW_0120");
        check("/cgi?user=admin&pwd=geheim&x", "/cgi?user=*&pwd=*&x");
        check("/api/157510d26ae0c17b6187dd1c4dd151/config", "/api/*/config");
        check("/u?sso=91c2b44e0cc2e21ed49576ab6732c15b5c8a86e5&v=1", "/u?sso=*&v=1");
        check("/api/config", "/api/config");
        check("rtsp://admin:12345@cam/ch1", "rtsp://cam/ch1");
        check(&"/".repeat(100), &"/".repeat(60));
        assert!(is_password_name("loginPassword") && !is_password_name("passenger"));
    }

    #[test]
    fn host_names_are_not_addresses() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(host_name(text.as_bytes()).as_deref(), expect, "{text}");
        };
        check("Cloud.Example.com:8080", Some("cloud.example.com"));
        check("10.0.0.1", None);
        check("[fe80::1]:80", None);
        check("bad host", None);
        check("", None);
    }

    #[test]
    fn parameters_and_encodings() {
        assert_eq!(parameter(r#"Digest qop="a", realm="IP Cam""#, "realm"), Some("IP Cam"));
        assert_eq!(parameter("Basic realm=x", "realm"), Some("x"));
        assert_eq!(parameter("Basic xrealm=x", "realm"), None);
    }
}
