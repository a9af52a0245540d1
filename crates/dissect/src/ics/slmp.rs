//! Mitsubishi MELSEC / SLMP, 3E and 4E binary frames (SLMP Reference Manual, SH-080956ENG).

use model::observation::EventKind;

use super::wire::{cut, key, name, once_of, say_role};
use crate::fields::{Field, field};
use crate::{About, Ctx, Malformed, Outcome, Probe, Reader, Role, Sink, Step};

pub(super) const FIELDS: &[Field] = &[
    field("slmp.role", "`client` or `server`"),
    field("slmp.model", "name in the answer to Read Type Name, as `Q03UDVCPU`"),
    field("slmp.model_code", "model code in the same answer, four hex digits"),
];

pub(super) const PORTS: &[u16] = &[5006, 5007];

const MEMORY: u8 = b'l';
const READ_TYPE_NAME: u16 = 0x0101;
const ASKED: u64 = key(MEMORY, b'q', 0);

struct Frame {
    answer: bool,
    /// Bytes before the data length counts.
    head: usize,
    length: usize,
}

fn header(bytes: &[u8]) -> Result<Frame, Malformed> {
    let mut r = Reader::new(bytes);
    let (answer, four) = match r.u16_be()? {
        0x5000 => (false, false),
        0xd000 => (true, false),
        0x5400 => (false, true),
        0xd400 => (true, true),
        _ => return Err(Malformed::NotMine),
    };
    if four {
        r.skip(4)?;
    }
    // Network, station, module I/O number, multi-drop station.
    r.skip(5)?;
    let length = usize::from(r.u16_le()?);
    if !(2..=8_192).contains(&length) {
        return Err(Malformed::NotMine);
    }
    Ok(Frame { answer, head: if four { 13 } else { 9 }, length })
}

/// A sub-header and a length: believed on the port.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match header(bytes) {
        Ok(_) => Probe::Maybe,
        Err(Malformed::Truncated) if matches!(bytes.first(), Some(0x50 | 0x54 | 0xd0 | 0xd4)) => {
            Probe::Maybe
        }
        Err(_) => Probe::No,
    }
}

/// Reads one frame.
pub(super) fn run(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let frame = match header(bytes) {
        Ok(frame) => frame,
        Err(Malformed::Truncated) => return Step::NeedMore,
        Err(_) => return Step::Resync,
    };
    let (message, step) = match cut(bytes, frame.head + frame.length) {
        Ok(whole) => whole,
        Err(step) => return step,
    };
    let _ = read(&frame, message.get(frame.head..).unwrap_or_default(), sink);
    step
}

/// Reads one datagram.
pub(super) fn datagram(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let frame = header(bytes)?;
    if frame.head + frame.length != bytes.len() {
        return Err(Malformed::NotMine);
    }
    read(&frame, bytes.get(frame.head..).unwrap_or_default(), sink)
}

fn read(frame: &Frame, body: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(body);
    let role = if frame.answer { Role::Server } else { Role::Client };
    say_role(sink, "slmp.role", MEMORY, role);
    if !frame.answer {
        r.skip(2)?; // Monitoring timer.
        let command = r.u16_le()?;
        sink.remember(ASKED, u64::from(command));
        control(command, sink);
        return Ok(());
    }
    if r.u16_le()? == 0 && sink.recall(ASKED) == Some(u64::from(READ_TYPE_NAME)) && r.len() == 18 {
        sink.says("slmp.model", name(r.take(16)?));
        sink.says("slmp.model_code", format!("{:04x}", r.u16_le()?));
    }
    Ok(())
}

fn control(command: u16, sink: &mut dyn Sink) {
    let (which, what) = match command {
        0x1001 => (0, "SLMP remote run"),
        0x1002 => (1, "SLMP remote stop"),
        0x1003 => (2, "SLMP remote pause"),
        0x1005 => (3, "SLMP remote latch clear"),
        0x1006 => (4, "SLMP remote reset"),
        0x1827..=0x182a => (5, "SLMP file write"),
        _ => return,
    };
    if once_of(sink, key(MEMORY, b'e', 0), which) {
        sink.event(About::Receiver, EventKind::ControlWrite, what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ics::wire::tests::{datagrams, dialogue};

    const ASK: &str = "5000 00 ff ff03 00 0600 1000 0101 0000";
    const ANSWER: &str = "d000 00 ff ff03 00 1400 0000 51303355445643505520202020202020 6603";

    #[test]
    fn type_names_are_answers_to_their_question() {
        assert_eq!(
            dialogue(run, 5007, &[(Role::Client, ASK), (Role::Server, ANSWER)]),
            "sender says slmp.role = client\nsender says slmp.role = server\n\
             sender says slmp.model = Q03UDVCPU\nsender says slmp.model_code = 0366"
        );
        let facts = datagrams(datagram, 5007, &[(Role::Server, ANSWER)]);
        assert_eq!(facts, Ok("sender says slmp.role = server".to_owned()));
    }

    #[test]
    fn control_and_foreign_bytes() {
        let stop = dialogue(run, 5007, &[(Role::Client, "5000 00 ff ff03 00 0600 1000 0210 0000")]);
        assert!(stop.ends_with("receiver event ControlWrite: SLMP remote stop"));
        let foreign = datagrams(datagram, 5007, &[(Role::Client, "5001 00 ff ff03 00 0600")]);
        assert_eq!(foreign, Err(Malformed::NotMine));
        assert_eq!(probe(b"GET / HTTP"), Probe::No);
    }
}
