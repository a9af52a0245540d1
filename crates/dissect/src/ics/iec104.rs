//! IEC 60870-5-104: telecontrol over TCP.

use model::observation::EventKind;

use super::wire::{key, next_message, once, once_of, say_role, side, word};
use crate::fields::{Field, field};
use crate::{About, Ctx, Malformed, Outcome, Probe, Reader, Role, Sink, Step};

pub(super) const FIELDS: &[Field] = &[
    field("iec104.role", "`client` (controlling) or `server` (controlled station)"),
    field("iec104.common_address", "common address of ASDU of the controlled station"),
    field("iec104.command", "command the controlling station sent, as `45 single command`"),
];

pub(super) const PORTS: &[u16] = &[2404];

const MEMORY: u8 = b'4';

/// Process commands (IEC 60870-5-101, Table 9).
const COMMANDS: &[(u8, &str)] = &[
    (45, "single command"),
    (46, "double command"),
    (47, "regulating step command"),
    (48, "set point, normalised"),
    (49, "set point, scaled"),
    (50, "set point, short float"),
    (51, "bit string command"),
    (58, "single command with time"),
    (59, "double command with time"),
    (60, "regulating step command with time"),
    (61, "set point, normalised, with time"),
    (62, "set point, scaled, with time"),
    (63, "set point, short float, with time"),
    (64, "bit string command with time"),
];

/// Total length when these are an APCI's first bytes (clause 5).
fn length(bytes: &[u8]) -> Result<usize, Malformed> {
    let mut r = Reader::new(bytes);
    if r.u8()? != 0x68 {
        return Err(Malformed::NotMine);
    }
    let length = usize::from(r.u8()?);
    let [first, second, third, fourth] = r.array()?;
    let fits = match first & 3 {
        3 => {
            // U: exactly one function, nothing else.
            let functions = [0x07, 0x0b, 0x13, 0x23, 0x43, 0x83];
            length == 4 && functions.contains(&first) && [second, third, fourth] == [0; 3]
        }
        1 => length == 4 && first == 1 && second == 0 && third & 1 == 0,
        _ => (10..=253).contains(&length) && third & 1 == 0,
    };
    if fits { Ok(length + 2) } else { Err(Malformed::NotMine) }
}

/// A U frame is a signature; others are believed on the port.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match length(bytes) {
        Ok(6) if bytes.get(2).is_some_and(|b| b & 3 == 3) => Probe::Yes,
        Ok(_) => Probe::Maybe,
        Err(Malformed::Truncated) if bytes.first() == Some(&0x68) => Probe::Maybe,
        Err(_) => Probe::No,
    }
}

/// Reads one APDU.
pub(super) fn run(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let (message, step) = match next_message(bytes, length(bytes)) {
        Ok(whole) => whole,
        Err(step) => return step,
    };
    let role = side(ctx, PORTS);
    say_role(sink, "iec104.role", MEMORY, role);
    if message.len() > 6 {
        let _ = asdu(message.get(6..).unwrap_or_default(), role, sink);
    }
    step
}

fn asdu(bytes: &[u8], role: Role, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(bytes);
    let kind = r.u8()?;
    r.skip(3)?; // Qualifier, cause, originator.
    let address = r.u16_le()?;
    match role {
        Role::Server => {
            if once(sink, key(MEMORY, b'a', u64::from(address))) {
                sink.says("iec104.common_address", address.to_string());
            }
        }
        Role::Client => {
            if let Some(name) = word(COMMANDS, kind)
                && once_of(sink, key(MEMORY, b'c', 0), kind)
            {
                sink.says("iec104.command", format!("{kind} {name}"));
            }
            let what = match kind {
                105 => "IEC 104 reset of the process",
                110..=113 => "IEC 104 parameter change",
                120..=126 => "IEC 104 file transfer",
                _ => return Ok(()),
            };
            if once_of(sink, key(MEMORY, b'e', 0), kind) {
                sink.event(About::Receiver, EventKind::ControlWrite, what);
            }
        }
        Role::Unknown => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ics::wire::tests::dialogue;
    use crate::testing::{Recorder, ctx, unhex};

    #[test]
    fn stations_and_commands() {
        let measured = "680e 0000 0000 01 01 0300 0a00 0b0000 01";
        let command = "680e 0000 0000 2d 01 0600 0a00 0b0000 81";
        let reset = "680e 0000 0000 69 01 0600 0a00 000000 01";
        let facts = dialogue(
            run,
            2404,
            &[
                (Role::Client, "6804 07000000"),
                (Role::Server, &format!("6804 0b000000 {measured} {measured}")),
                (Role::Client, &format!("{command}{command}{reset}")),
            ],
        );
        let expect = [
            "sender says iec104.role = client",
            "sender says iec104.role = server",
            "sender says iec104.common_address = 10",
            "sender says iec104.command = 45 single command",
            "receiver event ControlWrite: IEC 104 reset of the process",
        ];
        assert_eq!(facts, expect.join("\n"));
    }

    #[test]
    fn foreign_and_short_bytes() {
        let step = |hex| run(&unhex(hex), &ctx(1, 2404, Role::Client), &mut Recorder::default());
        assert_eq!(step("6804 0700"), Step::NeedMore);
        assert_eq!(step("680e 0000 0000 01"), Step::NeedMore);
        assert_eq!(step("6804 08000000"), Step::Resync);
        assert_eq!(step("6805 07000000 00"), Step::Resync);
        assert_eq!(probe(&unhex("6804 43000000")), Probe::Yes);
        assert_eq!(probe(b"GET /"), Probe::No);
    }
}
