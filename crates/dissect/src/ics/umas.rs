//! UMAS: Schneider Electric's controller protocol inside Modbus function 90.
//!
//! Not published; layouts as the Apache PLC4X project describes them. A request is
//! `session, function, data`, an answer `session, 0xfe (or 0xfd), data` without the function, so
//! answers are read in the light of the request with the same transaction number.

use model::observation::EventKind;

use super::wire::{key, name, once_of, runs, word};
use crate::fields::{Field, field};
use crate::{About, Malformed, Reader, Sink, text};

pub(super) const FIELDS: &[Field] = &[
    field("umas.model", "hardware name in the answer to ReadID, as `140 CPU 311 10`"),
    field("umas.firmware", "communication version in the answer to ReadID, as `2.70`"),
    field("umas.hardware", "hardware version in the answer to ReadID, hex"),
    field("umas.controller_name", "name of the controller in the answer to InitComms"),
    field("umas.project", "name of the project loaded, from ReadProjectInfo"),
    field("umas.memory_card", "text in the answer to ReadCardInfo"),
];

/// Modbus function code.
pub(super) const FUNCTION: u8 = 90;

const MEMORY: u8 = b'q';
const INIT: u8 = 0x01;
const READ_ID: u8 = 0x02;
const READ_PROJECT_INFO: u8 = 0x03;
const READ_CARD_INFO: u8 = 0x06;

/// Functions that change what a controller does.
const CONTROL: &[(u8, &str)] = &[
    (0x10, "reservation taken"),
    (0x30, "program upload started"),
    (0x33, "program download started"),
    (0x40, "CPU start"),
    (0x41, "CPU stop"),
];

pub(super) fn request(transaction: u16, data: &[u8], sink: &mut dyn Sink) {
    let [_session, function, ..] = data else {
        return;
    };
    if matches!(*function, INIT | READ_ID | READ_PROJECT_INFO | READ_CARD_INFO) {
        sink.remember(key(MEMORY, b't', u64::from(transaction)), u64::from(*function));
    }
    if let Some(what) = word(CONTROL, *function)
        && once_of(sink, key(MEMORY, b'e', u64::from(function >> 6)), *function)
    {
        sink.event(About::Receiver, EventKind::ControlWrite, format!("UMAS {what}"));
    }
}

pub(super) fn answer(transaction: u16, data: &[u8], sink: &mut dyn Sink) {
    let [_session, 0xfe, rest @ ..] = data else {
        return;
    };
    let asked = sink.recall(key(MEMORY, b't', u64::from(transaction)));
    let asked = asked.and_then(|function| u8::try_from(function).ok());
    match asked {
        Some(INIT) => {
            let _ = controller_name(rest, sink);
        }
        Some(READ_ID) => {
            let _ = identity(rest, sink);
        }
        Some(READ_PROJECT_INFO) => project(rest, sink),
        Some(READ_CARD_INFO) => {
            for run in runs(rest, 4).take(2) {
                sink.says("umas.memory_card", text::clean_str(run));
            }
        }
        _ => {}
    }
}

fn controller_name(data: &[u8], sink: &mut dyn Sink) -> Result<(), Malformed> {
    let mut r = Reader::new(data);
    r.skip(2 + 2 + 4 + 4)?; // Largest frame, version, unknown, internal code.
    let length = r.u8()?;
    sink.says("umas.controller_name", name(r.take(usize::from(length))?));
    Ok(())
}

fn identity(data: &[u8], sink: &mut dyn Sink) -> Result<(), Malformed> {
    let mut r = Reader::new(data);
    r.skip(2 + 4 + 2)?; // Range, ident, model.
    let version = r.u16_le()?;
    r.skip(2 + 2)?; // Patch, internal version.
    let hardware = r.u16_le()?;
    r.skip(4 + 2)?; // Crash code, unknown.
    let length = r.u8()?;
    let model = name(r.take(usize::from(length))?);
    if model.is_empty() {
        return Err(Malformed::Invalid);
    }
    sink.says("umas.model", model);
    sink.says("umas.firmware", format!("{:x}.{:02x}", version >> 8, version & 0xff));
    sink.says("umas.hardware", format!("{hardware:04x}"));
    Ok(())
}

/// The name is the last field: a length and a string with its NUL.
fn project(data: &[u8], sink: &mut dyn Sink) {
    let Some((0, text)) = data.split_last() else {
        return;
    };
    let Some(start) = text.iter().rposition(|b| !(0x20..0x7f).contains(b)) else {
        return;
    };
    let (Some(length), Some(value)) = (text.get(start), text.get(start + 1..)) else {
        return;
    };
    if usize::from(*length) == value.len() + 1 {
        sink.says("umas.project", name(value));
    }
}

#[cfg(test)]
mod tests {
    use crate::Role;
    use crate::ics::modbus;
    use crate::ics::wire::tests::dialogue;

    fn check(turns: &[(Role, &str)], expect: &[&str]) {
        let facts = dialogue(modbus::run, 502, turns);
        let umas: Vec<&str> =
            facts.lines().filter(|l| l.contains("umas.") || l.contains("event")).collect();
        assert_eq!(umas, expect);
    }

    #[test]
    fn an_answer_is_read_in_the_light_of_its_request() {
        let identity = "0007 0000 0025 00 5a 00 fe
            1000 01020304 0000 7002 0000 2700 0900 08000000 0000  0a 424d5850333432303230";
        check(&[(Role::Server, identity)], &[]);
        check(
            &[(Role::Client, "0007 0000 0004 00 5a 00 02"), (Role::Server, identity)],
            &[
                "sender says umas.model = BMXP342020",
                "sender says umas.firmware = 2.70",
                "sender says umas.hardware = 0009",
            ],
        );
    }

    #[test]
    fn project_names_and_control() {
        check(
            &[
                (Role::Client, "0001 0000 0005 00 5a 00 03 00"),
                (Role::Server, "0001 0000 0010 00 5a 00 fe 0205 00 08 50756d706e6f31 00"),
                (Role::Client, "0004 0000 0005 00 5a 00 01 00"),
                (
                    Role::Server,
                    "0004 0000 0015 00 5a 00 fe fd00 1003 00000000 00000000 04 4d353830",
                ),
                (Role::Client, "0002 0000 0005 00 5a 01 41 ff"),
                (Role::Client, "0003 0000 0005 00 5a 01 41 ff"),
            ],
            &[
                "sender says umas.project = Pumpno1",
                "sender says umas.controller_name = M580",
                "receiver event ControlWrite: UMAS CPU stop",
            ],
        );
    }
}
