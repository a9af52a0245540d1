//! Greetings of other databases: MySQL and MariaDB, PostgreSQL, Redis.

use model::observation::EventKind;

use crate::text::{c_string, clean, find};
use crate::{About, Ctx, Malformed, Probe, Reader, Role, Sink, Step};

use super::{key, tls};

/// MySQL's first packet: length, sequence 0, protocol 10, version text.
pub(super) fn probe_mysql(bytes: &[u8]) -> Probe {
    match bytes {
        [low, 0, 0, 0, 10, b'1'..=b'9', rest @ ..]
            if *low >= 40 && rest.iter().take(10).any(|b| *b == b'.') =>
        {
            Probe::Yes
        }
        [_, _, 0, 0..=1, ..] => Probe::Maybe,
        _ => Probe::No,
    }
}

/// Reads the greeting (Protocol::HandshakeV10).
pub(super) fn mysql(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    if tls::begins(bytes) {
        return tls::run(bytes, ctx, sink);
    }
    match bytes {
        [_, _, _, 0, 10, rest @ ..] => {
            if !rest.contains(&0) {
                return if rest.len() < 128 { Step::NeedMore } else { Step::Done };
            }
            let version = c_string(rest);
            sink.says("mysql.version", version.strip_prefix("5.5.5-").unwrap_or(&version));
            Step::Done
        }
        // The client's SSLRequest is 32 bytes long; TLS follows.
        [32, 0, 0, 1, ..] if bytes.len() >= 36 => Step::Consumed(36),
        _ => Step::Done,
    }
}

/// PostgreSQL's startup or SSL request, which has no type byte.
pub(super) fn probe_postgres(bytes: &[u8]) -> Probe {
    match bytes {
        [0, 0, _, _, 0, 3, 0, 0, b'a'..=b'z', ..] => Probe::Yes,
        [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f] => Probe::Yes,
        [b'R', 0, 0, 0, ..] | [b'S' | b'N'] => Probe::Maybe,
        _ => Probe::No,
    }
}

/// State per conversation: the server asked for the password itself.
const ASKED: u64 = 0x50_47_01;

/// Reads the startup of both sides (PostgreSQL message formats).
pub(super) fn postgres(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    if tls::begins(bytes) {
        return tls::run(bytes, ctx, sink);
    }
    match bytes {
        [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f, ..] => return Step::Consumed(8),
        [b'S' | b'N'] if ctx.role != Role::Client => return Step::Consumed(1),
        _ => {}
    }
    let startup = bytes.first() == Some(&0);
    let mut r = Reader::new(bytes);
    let kind = if startup { 0 } else { r.u8().unwrap_or_default() };
    let body = r.u32_be().and_then(|length| {
        let length = usize::try_from(length).map_err(|_| Malformed::Limit)?;
        match length.checked_sub(4) {
            Some(length) if length <= 8192 => r.take(length),
            _ => Err(Malformed::NotMine),
        }
    });
    let body = match body {
        Ok(body) => body,
        Err(Malformed::Truncated) => return Step::NeedMore,
        Err(_) => return Step::Done,
    };
    match (kind, body) {
        (0, [0, 3, 0, 0, pairs @ ..]) => {
            let words: Vec<_> = pairs.split(|b| *b == 0).take(32).map(clean).collect();
            let value = words
                .chunks_exact(2)
                .find(|pair| matches!(pair, [n, _] if n == "application_name"));
            if let Some([_, value]) = value {
                sink.says("postgres.application", value.as_ref());
            }
        }
        (b'R', [0, 0, 0, 3, ..]) => sink.remember(key(ASKED, 0), 1),
        (b'p', _) if sink.recall(key(ASKED, 0)) == Some(1) => {
            let detail = "a PostgreSQL password crosses in clear text";
            sink.event(About::Sender, EventKind::CleartextCredential, detail);
            return Step::Done;
        }
        (b'S', pair) => {
            let mut words = pair.split(|b| *b == 0);
            if words.next() == Some(b"server_version") {
                sink.says("postgres.version", clean(words.next().unwrap_or_default()));
            }
        }
        // ReadyForQuery, or the first query.
        (b'Z' | b'Q' | b'P', _) => return Step::Done,
        _ => {}
    }
    Step::Consumed(bytes.len() - r.len())
}

/// RESP arrays and simple replies.
pub(super) fn probe_redis(bytes: &[u8]) -> Probe {
    match bytes {
        [b'*', b'1'..=b'9', b'\r', b'\n', b'$', ..] | [b'+' | b'$' | b':' | b'-', ..] => {
            Probe::Maybe
        }
        _ => Probe::No,
    }
}

/// Reads versions out of INFO and HELLO answers, and notes passwords of AUTH.
pub(super) fn redis(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let shown = bytes.get(..bytes.len().min(4096)).unwrap_or(bytes);
    let upper = shown.get(..shown.len().min(64)).unwrap_or_default().to_ascii_uppercase();
    if bytes.first() == Some(&b'*') && find(&upper, b"\r\nAUTH\r\n").is_some() {
        let detail = "a Redis password crosses in clear text";
        sink.event(About::Sender, EventKind::CleartextCredential, detail);
    }
    for line in shown.split(|b| *b == b'\n') {
        if let Some(version) = line.strip_prefix(b"redis_version:") {
            sink.says("redis.version", clean(version));
        }
    }
    Step::Consumed(bytes.len().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ctx, facts_of_stream, unhex};

    fn check(run: fn(&[u8], &Ctx, &mut dyn Sink) -> Step, bytes: &[u8], expect: &str) {
        assert_eq!(facts_of_stream(run, bytes, &ctx(1, 2, Role::Unknown)), expect);
    }

    #[test]
    fn versions() {
        let greeting = [&[74, 0, 0, 0, 10][..], b"5.5.5-10.3.39-MariaDB\0\x01\0\0\0"].concat();
        assert_eq!(probe_mysql(&greeting), Probe::Yes);
        check(mysql, &greeting, "sender says mysql.version = 10.3.39-MariaDB");
        check(mysql, &greeting[..9], "");
        check(
            postgres,
            &[&unhex("53 00000018")[..], b"server_version\x0013.4\0"].concat(),
            "sender says postgres.version = 13.4",
        );
        check(
            redis,
            b"$90\r\n# Server\r\nredis_version:6.0.16\r\n",
            "sender says redis.version = 6.0.16",
        );
    }

    #[test]
    fn clients_and_passwords() {
        let start = b"\0\0\0\x24\0\x03\0\0user\0u\0application_name\0HMI\0\0";
        assert_eq!(probe_postgres(start), Probe::Yes);
        check(postgres, start, "sender says postgres.application = HMI");
        check(
            postgres,
            &unhex("52 00000008 00000003  70 00000006 7800"),
            "sender event CleartextCredential: a PostgreSQL password crosses in clear text",
        );
        check(
            redis,
            b"*2\r\n$4\r\nAUTH\r\n$6\r\ngeheim\r\n",
            "sender event CleartextCredential: a Redis password crosses in clear text",
        );
        check(postgres, b"Rxxxxxxxx", "");
        check(postgres, b"R\0\0", "");
    }
}
