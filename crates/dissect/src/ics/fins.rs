//! Omron FINS (Communications Commands Reference Manual, W227) over UDP and TCP 9600.

use model::observation::EventKind;

use super::wire::{cut, key, name, once_of, say_role};
use crate::fields::{Field, field};
use crate::{About, Ctx, Malformed, Outcome, Probe, Reader, Role, Sink, Step};

pub(super) const FIELDS: &[Field] = &[
    field("fins.role", "`client` or `server`"),
    field("fins.model", "controller model in the answer to Controller Data Read, as `CJ2M-CPU33`"),
    field("fins.version", "controller version in the same answer"),
];

pub(super) const PORTS: &[u16] = &[9600];

const MEMORY: u8 = b'f';

/// Reads one datagram.
pub(super) fn datagram(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    frame(bytes, sink)
}

/// FINS/TCP begins with its name.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    if bytes.len() >= 4 && bytes.starts_with(b"FINS") { Probe::Yes } else { Probe::No }
}

/// Reads one FINS/TCP message.
pub(super) fn run(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let mut r = Reader::new(bytes);
    let (Ok(magic), Ok(length), Ok(command)) = (r.array::<4>(), r.u32_be(), r.u32_be()) else {
        return Step::NeedMore;
    };
    if &magic != b"FINS" || !(8..=4_096).contains(&length) {
        return Step::Resync;
    }
    let (message, step) = match cut(bytes, 8 + length as usize) {
        Ok(whole) => whole,
        Err(step) => return step,
    };
    // 2: a FINS frame, behind command and error code.
    if command == 2 {
        let _ = frame(message.get(16..).unwrap_or_default(), sink);
    }
    step
}

/// The FINS header (§3-2), command code, and for answers the end code.
fn frame(bytes: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(bytes);
    let icf = r.u8()?;
    let reserved = r.u8()?;
    let gateways = r.u8()?;
    r.skip(7)?;
    // Bits 5 to 1 are zero; 0xc0 answers, 0x80 asks; at most seven gateways.
    if icf & 0xbe != 0x80 || reserved != 0 || gateways > 7 {
        return Err(Malformed::NotMine);
    }
    let command = r.u16_be()?;
    if command == 0 || command >> 8 > 0x26 {
        return Err(Malformed::NotMine);
    }
    let answer = icf & 0x40 != 0;
    say_role(sink, "fins.role", MEMORY, if answer { Role::Server } else { Role::Client });
    if answer {
        // The upper bits of the end code are relay and CPU error flags.
        if command == 0x0501 && r.u16_be()? & 0x7f3f == 0 {
            sink.says("fins.model", name(r.take(20)?));
            sink.says("fins.version", name(r.take(20)?));
        }
        return Ok(());
    }
    let (which, what) = match command {
        0x0401 => (0, "FINS run"),
        0x0402 => (1, "FINS stop"),
        0x0307 => (2, "FINS program area write"),
        0x0308 => (3, "FINS program area clear"),
        0x2203 => (4, "FINS file write"),
        _ => return Ok(()),
    };
    if once_of(sink, key(MEMORY, b'e', 0), which) {
        sink.event(About::Receiver, EventKind::ControlWrite, what);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ics::wire::tests::{datagrams, dialogue};

    fn data() -> String {
        let text = |s: &str| -> String {
            let bytes = s.bytes().chain(std::iter::repeat(b' ')).take(20);
            bytes.map(|b| format!("{b:02x}")).collect()
        };
        format!("c00002000a0000010000 0501 0000 {} {}", text("CJ2M-CPU33"), text("02.01"))
    }

    #[test]
    fn controllers_name_themselves() {
        let ask = "800002000100000a0000 0501 00";
        let facts = datagrams(datagram, 9600, &[(Role::Client, ask), (Role::Server, &data())]);
        let expect = "sender says fins.role = client\nsender says fins.role = server\n\
            sender says fins.model = CJ2M-CPU33\nsender says fins.version = 02.01";
        assert_eq!(facts, Ok(expect.to_owned()));
        let tcp = format!("46494e53 0000003e 00000002 00000000 {}", data());
        assert_eq!(dialogue(run, 9600, &[(Role::Server, &tcp)]).lines().count(), 3);
        let stop = datagrams(datagram, 9600, &[(Role::Client, "800002000100000a0000 0402 ffff")]);
        assert!(stop.unwrap().ends_with("receiver event ControlWrite: FINS stop"));
    }

    #[test]
    fn foreign_bytes() {
        let run = |hex| datagrams(datagram, 9600, &[(Role::Client, hex)]);
        assert_eq!(run("474554202f20485454502f31"), Err(Malformed::NotMine));
        assert_eq!(run("80000200"), Err(Malformed::Truncated));
        assert_eq!(probe(b"FINS\0\0\0\x0c"), Probe::Yes);
        assert_eq!(probe(b"FIN"), Probe::No);
    }
}
