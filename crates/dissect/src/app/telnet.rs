//! Telnet (RFC 854): what a device prints before it asks for a name, and that it asks at all.

use model::observation::EventKind;

use crate::text::{clean, find};
use crate::{About, Ctx, Probe, Role, Sink, Step};

use super::{direction, key};

/// Option negotiation.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match bytes {
        [0xff, 0xfb..=0xfe, option, 0xff, 0xfa..=0xfe, ..] if *option < 50 => Probe::Yes,
        [] | [0x16, 0x03, ..] => Probe::No,
        _ => Probe::Maybe,
    }
}

/// State per conversation: what was asked for and reported.
const ASKED: u64 = 0x54_45_01;
/// State per direction: printed lines so far.
const LINES: u64 = 0x54_45_02;
const LINES_MAX: u64 = 8;
const ADMIN: u64 = 1;
const PASSWORD: u64 = 2;
const REPORTED: u64 = 4;

/// Reads whatever is there: terminals have no messages.
pub(super) fn run(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let text = without_commands(bytes);
    let asked = sink.recall(key(ASKED, 0)).unwrap_or_default();
    let from_server = match ctx.role {
        Role::Server => true,
        Role::Client => false,
        Role::Unknown => ctx.src.port == 23,
    };
    let asked = if from_server {
        print(&text, asked, ctx, sink)
    } else {
        let typed = text.iter().any(u8::is_ascii_graphic);
        if typed && asked & (PASSWORD | REPORTED) == PASSWORD {
            let detail = "a Telnet password crosses in clear text";
            sink.event(About::Sender, EventKind::CleartextCredential, detail);
            asked | REPORTED
        } else {
            asked
        }
    };
    sink.remember(key(ASKED, 0), asked);
    Step::Consumed(bytes.len().max(1))
}

fn print(text: &[u8], mut asked: u64, ctx: &Ctx, sink: &mut dyn Sink) -> u64 {
    let lower = text.to_ascii_lowercase();
    let has = |word: &[u8]| find(&lower, word).is_some();
    let prompt = has(b"login:") || has(b"username:") || has(b"user name") || has(b"password:");
    let memory = key(LINES, direction(ctx));
    let mut printed = sink.recall(memory).unwrap_or_default();
    // After the prompt come other people's screens.
    if asked & ADMIN == 0 {
        for line in text.split(|b| matches!(b, b'\n' | b'\r')) {
            let line = clean(line);
            if line.bytes().filter(u8::is_ascii_alphanumeric).count() >= 3 && printed < LINES_MAX {
                printed += 1;
                sink.says("telnet.banner", line);
            }
        }
        sink.remember(memory, printed);
    }
    if prompt && asked & ADMIN == 0 {
        asked |= ADMIN;
        let detail = "asks for a login over Telnet";
        sink.event(About::Sender, EventKind::CleartextAdmin, detail);
    }
    if has(b"password:") { asked | PASSWORD } else { asked }
}

/// Text without IAC commands and terminal escapes (RFC 854, RFC 855; ECMA-48).
fn without_commands(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        rest = match rest {
            [] => return text,
            [0xff, 0xfa, tail @ ..] => {
                let end = tail.windows(2).position(|pair| pair == [0xff, 0xf0]);
                end.and_then(|end| tail.get(end + 2..)).unwrap_or_default()
            }
            [0xff, 0xfb..=0xfe, _, tail @ ..] | [0xff, _, tail @ ..] => tail,
            [0x1b, b'[', tail @ ..] => {
                let end = tail.iter().position(|b| (0x40..0x7f).contains(b));
                end.and_then(|end| tail.get(end + 1..)).unwrap_or_default()
            }
            [byte, tail @ ..] => {
                text.push(*byte);
                tail
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recorder, ctx};

    #[test]
    fn a_login() {
        let mut facts = Recorder::default();
        let server = ctx(23, 4000, Role::Server);
        let client = ctx(4000, 23, Role::Client);
        let _ = run(b"\xff\xfd\x18\xff\xfb\x01\x1b[2J", &server, &mut facts);
        let _ = run(b"\r\nEX-2000 Router v1.2\r\nlogin: ", &server, &mut facts);
        let _ = run(b"admin\r\n", &client, &mut facts);
        let _ = run(b"Password: ", &server, &mut facts);
        let _ = run(b"geheim\r\n", &client, &mut facts);
        let _ = run(b"geheim\r\n", &client, &mut facts);
        assert_eq!(
            facts.text(),
            "sender says telnet.banner = EX-2000 Router v1.2\n\
             sender says telnet.banner = login:\n\
             sender event CleartextAdmin: asks for a login over Telnet\n\
             sender event CleartextCredential: a Telnet password crosses in clear text"
        );
    }

    #[test]
    fn commands_are_not_text() {
        assert_eq!(without_commands(b"\xff\xfa\x18\x00x\xff\xf0a\xff"), b"a\xff");
        assert_eq!(without_commands(b"\xff\xfa\x18\x00x"), b"");
        assert_eq!(probe(b"\xff\xfd\x18\xff\xfb\x01"), Probe::Yes);
        assert_eq!(probe(b""), Probe::No);
    }
}
