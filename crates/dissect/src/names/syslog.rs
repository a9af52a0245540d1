//! Syslog (RFC 3164, RFC 5424, over TCP RFC 6587): which host and program write, and the model and
//! serial number that some appliances put into every line. The message text itself is not
//! identity and is not reported.

use std::net::IpAddr;

use model::limits::STREAM_BUFFER_BYTES_MAX;

use crate::identity;
use crate::{About, Ctx, Malformed, Outcome, Probe, Sink, Step, text};

/// Keys that appliances write as `key=value` or `key="value"`, with the field they are.
const KEYS: &[(&str, &str)] = &[
    ("devname", "syslog.device_name"),     // Fortinet
    ("devid", "syslog.device_id"),         // Fortinet
    ("device_name", "syslog.device_name"), // Sophos
    ("device_model", "syslog.model"),
    ("device_id", "syslog.device_id"),
    ("device_serial_id", "syslog.device_id"),
    ("sn", "syslog.device_id"), // SonicWall
];

/// Reads one message.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let (priority, rest) = priority(payload).ok_or(Malformed::NotMine)?;
    let line = text::clean(rest);
    let head = match line.strip_prefix("1 ") {
        Some(rest) => rfc5424(rest),
        None => rfc3164(&line),
    };
    let about = whose(head.host, ctx);
    sink.about(about.clone(), "syslog.hostname", head.host);
    sink.about(about.clone(), "syslog.app", head.app);
    sink.about(about.clone(), "syslog.facility", (priority / 8).to_string());
    appliance(&line, &about, sink);
    Ok(())
}

/// A priority in angle brackets, or its length in digits before it.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    let framed = bytes.splitn(2, |b| *b == b' ').nth(1);
    let counted = bytes.first().is_some_and(u8::is_ascii_digit);
    let line = if counted { framed } else { Some(bytes) };
    if line.is_some_and(|l| priority(l).is_some()) { Probe::Maybe } else { Probe::No }
}

/// Reads messages counted in octets or ended by a line feed.
pub(super) fn stream(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let digits = bytes.iter().take(6).take_while(|b| b.is_ascii_digit()).count();
    let (start, end, next) = if digits > 0 {
        let count = bytes.get(..digits).and_then(|d| std::str::from_utf8(d).ok());
        let Some(count) = count.and_then(|d| d.parse::<usize>().ok()) else {
            return Step::Resync;
        };
        let start = digits + 1;
        (start, start + count, start + count)
    } else {
        match bytes.iter().position(|b| *b == b'\n') {
            Some(at) => (0, at, at + 1),
            None => (0, usize::MAX, usize::MAX),
        }
    };
    match bytes.get(start..end) {
        Some(line) => match run(line, ctx, sink) {
            Ok(()) => Step::Consumed(next.max(1)),
            Err(_) => Step::Resync,
        },
        None if bytes.len() >= STREAM_BUFFER_BYTES_MAX => Step::Resync,
        None => Step::NeedMore,
    }
}

/// `<PRI>` with 0 to 191, and what follows.
fn priority(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let rest = bytes.strip_prefix(b"<")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = std::str::from_utf8(rest.get(..digits)?).ok()?;
    let number: u8 = number.parse().ok().filter(|n| *n <= 191)?;
    Some((number, rest.get(digits..)?.strip_prefix(b">")?))
}

/// Host and program of a message; empty where it has none.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head<'a> {
    host: &'a str,
    app: &'a str,
}

/// TIMESTAMP HOSTNAME APP-NAME PROCID MSGID…; `-` stands for nothing.
fn rfc5424(rest: &str) -> Head<'_> {
    let mut words = rest.split(' ').skip(1);
    let mut word = || words.next().filter(|w| *w != "-").unwrap_or_default();
    Head { host: word(), app: word() }
}

/// `Mmm dd hh:mm:ss HOSTNAME TAG: …`; many devices leave the host name, or everything, out.
fn rfc3164(line: &str) -> Head<'_> {
    let Some(rest) = after_timestamp(line) else {
        // Cisco: `123: *Mar  1 00:00:00.000: %LINK-3-UPDOWN: …`
        let mnemonic = line.find('%').and_then(|at| line.get(at..)).map(tag);
        let app = mnemonic.filter(|m| is_cisco_mnemonic(m)).unwrap_or_default();
        return Head { host: "", app };
    };
    let (first, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    // A word that ends in a colon or has a process number is the tag already.
    if first.ends_with(':') || first.contains('[') || first.contains('=') {
        let app = if first.contains('=') { "" } else { tag(first) };
        return Head { host: "", app };
    }
    let second = rest.trim_start().split(' ').next().unwrap_or_default();
    let is_tag = second.ends_with(':') || second.contains('[');
    let app = if is_tag { tag(second) } else { "" };
    Head { host: first, app }
}

/// The rest behind `Mmm dd hh:mm:ss `, which may have a year or zone as some devices write it.
fn after_timestamp(line: &str) -> Option<&str> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = line.get(..3).filter(|m| MONTHS.contains(*m))?;
    let rest = line.get(month.len()..)?.trim_start();
    let (day, rest) = rest.split_once(' ')?;
    day.parse::<u8>().ok()?;
    let rest = rest.trim_start();
    let (mut time, mut rest) = rest.split_once(' ')?;
    if time.len() == 4 && time.parse::<u16>().is_ok() {
        (time, rest) = rest.trim_start().split_once(' ')?;
    }
    let is_time = time.get(2..3) == Some(":") && time.get(5..6) == Some(":");
    is_time.then(|| rest.trim_start())
}

/// Program name of a tag: `sshd[42]:` → `sshd`.
fn tag(word: &str) -> &str {
    word.split(['[', ':', ' ', '(']).next().unwrap_or_default()
}

/// `%FACILITY-SEVERITY-MNEMONIC`.
fn is_cisco_mnemonic(tag: &str) -> bool {
    let mut parts = tag.trim_start_matches('%').rsplitn(3, '-');
    let word = |p: Option<&str>| {
        p.is_some_and(|p| {
            !p.is_empty()
                && p.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        })
    };
    let (mnemonic, severity) = (parts.next(), parts.next());
    word(mnemonic) && severity.is_some_and(|s| s.len() == 1) && word(parts.next().map(tag_facility))
}

fn tag_facility(facility: &str) -> &str {
    facility.split('-').next().unwrap_or_default()
}

/// A host name that is an address names the origin of a relayed message.
fn whose(host: &str, ctx: &Ctx) -> About<'static> {
    match host.parse::<IpAddr>().ok().filter(|ip| identity::is_host(*ip)) {
        Some(ip) => identity::host(ip, ctx),
        None => About::Sender,
    }
}

fn appliance(line: &str, about: &About<'_>, sink: &mut dyn Sink) {
    for (key, field) in KEYS {
        if let Some(value) = key_value(line, key) {
            sink.about(about.clone(), field, text::clean_str(value));
        }
    }
    // Palo Alto Networks: `1,2024/01/01 00:00:00,007051000012345,TRAFFIC,…` behind the header.
    let mut fields = line.split(',');
    if let (Some(_), Some(_), Some(serial), Some(kind)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
        && matches!(
            kind,
            "TRAFFIC" | "THREAT" | "SYSTEM" | "CONFIG" | "GLOBALPROTECT" | "HIP-MATCH"
        )
        && (10..=16).contains(&serial.len())
        && serial.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        sink.about(about.clone(), "syslog.device_id", serial);
        sink.about(about.clone(), "syslog.app", "pan-os");
    }
}

/// Value of `key=value` or `key="value"` where the key stands at the beginning of a word.
fn key_value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let mut from = 0;
    loop {
        let rest = line.get(from..)?;
        let at = rest.find(key)?;
        let starts_word = at == 0 || rest.get(..at).is_some_and(|b| b.ends_with([' ', '\t', ',']));
        let value = rest.get(at + key.len()..).and_then(|v| v.strip_prefix('='));
        match value.filter(|_| starts_word) {
            Some(quoted) if quoted.starts_with('"') => return quoted.get(1..)?.split('"').next(),
            Some(plain) => return plain.split([' ', ',', ';']).next(),
            None => from += at + key.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx, run_stream};

    fn check(line: &str, expect: Result<&[&str], Malformed>) {
        let mut sink = Recorder::default();
        let outcome = run(line.as_bytes(), &ctx(514, 514, Role::Unknown), &mut sink);
        let mut lines = sink.lines;
        lines.retain(|l| !l.contains("facility"));
        let expect = expect.map(|l| l.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(outcome.map(|()| lines), expect, "{line}");
    }

    #[test]
    fn both_formats_and_what_devices_make_of_them() {
        check(
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - 'su root' failed",
            Ok(&[
                "sender says syslog.hostname = mymachine.example.com",
                "sender says syslog.app = su",
            ]),
        );
        check("<165>1 - - - - - -", Ok(&[]));
        check(
            "<13>Feb  5 17:32:18 plug1 sshd[42]: hello",
            Ok(&["sender says syslog.hostname = plug1", "sender says syslog.app = sshd"]),
        );
        check(
            "<13>Feb  5 17:32:18 dropbear[9]: no host",
            Ok(&["sender says syslog.app = dropbear"]),
        );
        check(
            "<13>Feb  5 17:32:18 192.0.2.77 httpd: relayed",
            Ok(&[
                "192.0.2.77 says syslog.hostname = 192.0.2.77",
                "192.0.2.77 says syslog.app = httpd",
            ]),
        );
        check(
            "<187>77: *Mar  1 00:00:12.345: %LINK-3-UPDOWN: Interface Gi1/0/1, changed state",
            Ok(&["sender says syslog.app = %LINK-3-UPDOWN"]),
        );
        check("<13>just text, 100% load", Ok(&[]));
    }

    #[test]
    fn appliances_say_what_they_are() {
        check(
            r#"<189>date=2024-01-01 time=00:00:00 devname="FG-1" devid="FGT60E0000000001" logid="1""#,
            Ok(&[
                "sender says syslog.device_name = FG-1",
                "sender says syslog.device_id = FGT60E0000000001",
            ]),
        );
        check(
            "<134>id=firewall sn=0017C5000001 time=x fw=192.0.2.1",
            Ok(&["sender says syslog.device_id = 0017C5000001"]),
        );
        check(
            "<14>Jan  1 00:00:00 PA-1 1,2024/01/01 00:00:00,007051000012345,TRAFFIC,end",
            Ok(&[
                "sender says syslog.hostname = PA-1",
                "sender says syslog.device_id = 007051000012345",
                "sender says syslog.app = pan-os",
            ]),
        );
    }

    #[test]
    fn other_text_is_refused() {
        for line in ["", "<", "<999>x", "<13", "hello", "<>x"] {
            check(line, Err(Malformed::NotMine));
        }
    }

    #[test]
    fn streams_are_counted_or_lines() {
        let feed = |bytes: &[u8]| {
            let mut sink = Recorder::default();
            let end = run_stream(stream, bytes, &ctx(40000, 514, Role::Client), &mut sink);
            (end, sink.lines.iter().filter(|l| l.contains("hostname")).count())
        };
        let line = b"<13>Feb  5 17:32:18 a x: y";
        let counted = [b"26 ".as_slice(), line, b"26 ", line].concat();
        assert_eq!(feed(&counted), (Step::Consumed(29), 2));
        let lines = [line.as_slice(), b"\n", line, b"\n<13>Feb"].concat();
        assert_eq!(feed(&lines), (Step::NeedMore, 2));
        assert_eq!(feed(b"hello\nworld\n"), (Step::Resync, 0));
        assert_eq!(probe(line), Probe::Maybe);
        assert_eq!(probe(&counted), Probe::Maybe);
        assert_eq!(probe(b"220 ready"), Probe::No);
    }
}
