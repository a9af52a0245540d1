//! Printers' raw port (9100) with PJL, and LPD (RFC 1179).

use model::observation::EventKind;

use crate::text::{clean, find, is_name};
use crate::{About, Ctx, Probe, Role, Sink, Step};

use super::{direction, key, lines};

/// The universal exit with PJL behind it, or any PJL.
pub(super) fn probe_pjl(bytes: &[u8]) -> Probe {
    let head = bytes.get(..bytes.len().min(64)).unwrap_or(bytes);
    if matches!(bytes, [0x1b | b'@', ..]) && find(head, b"@PJL").is_some() {
        Probe::Yes
    } else if bytes.is_empty() {
        Probe::No
    } else {
        Probe::Maybe
    }
}

/// State per direction: which answer the next line belongs to.
const EXPECT: u64 = 0x50_4a_01;
const EXPECT_ID: u64 = 1;
const LINE_BYTES_MAX: usize = 1024;

/// Reads PJL line by line; a print job behind it ends the reading.
pub(super) fn pjl(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let Some((line, length)) = lines::line(bytes) else {
        let text = bytes.iter().take(64).all(|b| b.is_ascii() && *b != 0);
        return match bytes.len() {
            0..LINE_BYTES_MAX if text => Step::NeedMore,
            _ => Step::Done,
        };
    };
    let memory = key(EXPECT, direction(ctx));
    let expect = sink.recall(memory).unwrap_or_default();
    let text = clean(line);
    let text = text.trim_start_matches("[-12345X").trim_matches('\u{c}');
    let at = text.find("@PJL").and_then(|at| text.get(at..));
    if let Some(command) = at {
        let words = command.to_ascii_uppercase();
        let answer = ctx.role != Role::Client && words.starts_with("@PJL INFO ID");
        sink.remember(memory, u64::from(answer) * EXPECT_ID);
        if words.starts_with("@PJL UPGRADE") || words.contains("LANGUAGE=FWUPDATE") {
            let detail = "a firmware image is sent to the printer's raw port";
            sink.event(About::Receiver, EventKind::FirmwareTransfer, detail);
        }
        if words.contains("ENTER LANGUAGE") {
            return Step::Done;
        }
    } else if expect == EXPECT_ID && !text.is_empty() {
        sink.remember(memory, 0);
        sink.says("pjl.id", text.trim_matches('"'));
    } else if !text.is_empty() && !is_name(text) {
        return Step::Done;
    }
    Step::Consumed(length)
}

/// A daemon command with a queue's name (RFC 1179 §5).
pub(super) fn probe_lpd(bytes: &[u8]) -> Probe {
    match bytes {
        [1..=5, rest @ ..] if rest.contains(&b'\n') => Probe::Maybe,
        _ => Probe::No,
    }
}

/// Reads the queue a client asks for.
pub(super) fn lpd(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    if ctx.role != Role::Server
        && let Some((line, _)) = lines::line(bytes)
    {
        let queue = clean(line.get(1..).unwrap_or_default());
        sink.says("lpd.queue", lines::before(&queue, &[' ']));
    }
    Step::Done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recorder, ctx, facts_of_stream, run_stream};

    fn check(role: Role, bytes: &[u8], expect: &str) {
        assert_eq!(facts_of_stream(pjl, bytes, &ctx(9100, 4000, role)), expect);
    }

    #[test]
    fn identities_come_from_answers_only() {
        let answer = b"@PJL INFO ID\r\n\"Example LaserPrint 3000\"\r\n\x0c";
        check(Role::Server, answer, "sender says pjl.id = Example LaserPrint 3000");
        check(Role::Client, b"\x1b%-12345X@PJL INFO ID\r\n\"x\"\r\n", "");
        check(Role::Server, b"@PJL INFO STATUS\r\nCODE=10001\r\n", "");
    }

    #[test]
    fn firmware_and_jobs() {
        check(
            Role::Client,
            b"\x1b%-12345X@PJL UPGRADE SIZE=123\r\n\xff\xff",
            "receiver event FirmwareTransfer: a firmware image is sent to the printer's raw port",
        );
        let mut facts = Recorder::default();
        let job = b"\x1b%-12345X@PJL ENTER LANGUAGE=PCL\r\n\x1bE";
        let here = ctx(4000, 9100, Role::Client);
        assert_eq!(run_stream(pjl, job, &here, &mut facts), Step::Done);
        assert_eq!(lpd(b"\x02lp1\n", &here, &mut facts), Step::Done);
        assert_eq!(facts.text(), "sender says lpd.queue = lp1");
    }
}
