//! S7 communication of SIMATIC S7-300/400 and of compatible servers (not published by Siemens;
//! system status lists: SIMATIC System Software Reference Manual, A5E00739858).

use model::observation::{EventKind, IdentifierKind};

use super::cotp;
use super::wire::{key, name, once, once_of, say_role, word};
use crate::fields::{Field, field};
use crate::{About, Malformed, Outcome, Reader, Role, Sink, text};

pub(super) const FIELDS: &[Field] = &[
    field("s7.role", "`client` or `server`"),
    field("s7.function", "job function asked for or carried out, as `0x04 read variable`"),
    field("s7.rack_slot", "rack and slot the server was called by, as `0/2`"),
    field("s7.order_number", "SZL 0x0011 index 1, or S7comm-plus: order number (MLFB)"),
    field("s7.hardware", "SZL 0x0011 index 1: hardware version"),
    field("s7.firmware", "SZL 0x0011 index 7, or S7comm-plus: firmware, as `V3.2.6`"),
    field("s7.plc_name", "SZL 0x001C index 1: name of the automation system"),
    field("s7.module_name", "SZL 0x001C index 2: name of the module"),
    field("s7.plant_id", "SZL 0x001C index 3: plant identification"),
    field("s7.copyright", "SZL 0x001C index 4: copyright entry, tells clones"),
    field("s7.serial", "SZL 0x001C index 5: serial number of the module"),
    field("s7.module_type", "SZL 0x001C index 7: module type name, as `CPU 315-2 PN/DP`"),
    field("s7.memory_card_serial", "SZL 0x001C index 8: serial number of the memory card"),
    field("s7.location", "SZL 0x001C index 11: location designation"),
    field("s7.plus", "`yes` for a server of S7comm-plus (S7-1200, S7-1500)"),
];

const MEMORY: u8 = b's';

/// Parameter codes of jobs.
const FUNCTIONS: &[(u8, &str)] = &[
    (0x04, "read variable"),
    (0x05, "write variable"),
    (0x1a, "request download"),
    (0x1b, "download block"),
    (0x1c, "download ended"),
    (0x1d, "start upload"),
    (0x1e, "upload"),
    (0x1f, "end upload"),
    (0x28, "program invocation"),
    (0x29, "PLC stop"),
    (0xf0, "setup communication"),
];

const JOB: u8 = 1;
const ACKNOWLEDGED: u8 = 3;
const USERDATA: u8 = 7;

/// Reads one PDU.
pub(super) fn run(pdu: &[u8], role: Role, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(pdu);
    r.skip(1)?;
    let kind = r.u8()?;
    if !matches!(kind, JOB | 2 | ACKNOWLEDGED | USERDATA) || r.u16_be()? != 0 {
        return Err(Malformed::NotMine);
    }
    r.skip(2)?; // Reference.
    let parameters = usize::from(r.u16_be()?);
    let length = usize::from(r.u16_be()?);
    let mut error = 0;
    if matches!(kind, 2 | ACKNOWLEDGED) {
        error = r.u16_be()?;
    }
    let parameters = r.take_up_to(parameters);
    let data = r.take_up_to(length);
    say_role(sink, "s7.role", MEMORY, role);
    if role == Role::Server
        && matches!(kind, ACKNOWLEDGED | USERDATA)
        && once(sink, key(MEMORY, b'p', 0))
        && let Some(place) = cotp::rack_slot(sink)
    {
        sink.says("s7.rack_slot", place);
    }
    match (kind, role) {
        (JOB, Role::Client) => job(parameters, sink),
        (ACKNOWLEDGED, Role::Server) if error == 0 => {
            if let Some(function) = parameters.first() {
                say_function(*function, b's', sink);
            }
        }
        (USERDATA, _) => return userdata(parameters, data, sink),
        _ => {}
    }
    Ok(())
}

fn say_function(function: u8, side: u8, sink: &mut dyn Sink) {
    if let Some(name) = word(FUNCTIONS, function)
        && once_of(sink, key(MEMORY, side, u64::from(function >> 6)), function)
    {
        sink.says("s7.function", format!("{function:#04x} {name}"));
    }
}

fn job(parameters: &[u8], sink: &mut dyn Sink) {
    let Some(function) = parameters.first() else {
        return;
    };
    say_function(*function, b'c', sink);
    let named = |service: &[u8]| text::find(parameters, service).is_some();
    let (which, what) = match function {
        0x1a => (0, "S7 program download"),
        0x1d => (1, "S7 program upload"),
        0x28 if named(b"P_PROGRAM") => (2, "S7 PLC start"),
        0x28 if named(b"_DELE") => (3, "S7 block deletion"),
        0x28 if named(b"_INSE") => (4, "S7 block activation"),
        0x28 => (5, "S7 program invocation"),
        0x29 => (6, "S7 PLC stop"),
        _ => return,
    };
    if once_of(sink, key(MEMORY, b'e', 0), which) {
        sink.event(About::Receiver, EventKind::ControlWrite, what);
    }
}

/// Function group 4 (CPU services), sub-function 1: an answer to "read SZL", first part.
fn userdata(parameters: &[u8], data: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(parameters);
    r.skip(5)?; // Head 00 01 12, length, method.
    if r.u8()? != 0x84 || r.u8()? != 1 {
        return Ok(());
    }
    let mut r = Reader::new(data);
    if r.u8()? != 0xff {
        return Ok(());
    }
    r.skip(3)?; // Transport size and length.
    let list = r.u16_be()?;
    r.skip(2)?;
    let size = usize::from(r.u16_be()?);
    let count = r.u16_be()?.min(32);
    // The low byte is the list, the high byte selects a part of it.
    let read = match list & 0xff {
        0x11 => identification,
        0x1c => component,
        _ => return Ok(()),
    };
    for _ in 0..count {
        read(r.take(size)?, sink)?;
    }
    Ok(())
}

/// SZL 0x0011, module identification: index, order number, type, two version words.
fn identification(entry: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(entry);
    let index = r.u16_be()?;
    let order = name(r.take(20)?);
    r.skip(2)?;
    let [a, b, c, d] = r.array()?;
    match index {
        1 => {
            sink.says("s7.order_number", order);
            sink.says("s7.hardware", u16::from_be_bytes([a, b]).to_string());
        }
        7 if a == b'V' => sink.says("s7.firmware", format!("V{b}.{c}.{d}")),
        _ => {}
    }
    Ok(())
}

/// SZL 0x001C, component identification: index and 32 characters.
fn component(entry: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(entry);
    let index = r.u16_be()?;
    let value = name(r.take_up_to(32));
    let field = match index & 0xff {
        1 => "s7.plc_name",
        2 => "s7.module_name",
        3 => "s7.plant_id",
        4 => "s7.copyright",
        5 => {
            if value.len() >= 6 {
                let kind = IdentifierKind::Serial;
                sink.identifier(About::Sender, "s7.serial", kind, format!("siemens:{value}"));
            }
            "s7.serial"
        }
        7 => "s7.module_type",
        8 => "s7.memory_card_serial",
        11 => "s7.location",
        _ => return Ok(()),
    };
    sink.says(field, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ics::wire::tests::dialogue;
    use crate::testing::{hex, unhex};

    fn tpkt(s7: &str) -> String {
        let s7 = unhex(s7);
        format!("0300 {:04x} 02f080 {}", s7.len() + 7, hex(&s7))
    }

    /// An answer to "read SZL" with these entries.
    fn szl(list: u16, size: u16, entries: &[String]) -> String {
        let body = unhex(&entries.concat());
        let data = body.len() + 8;
        tpkt(&format!(
            "32 07 0000 0500 000c {:04x} 000112 08 12 84 01 01 00 00 0000
             ff 09 {data:04x} {list:04x} 0000 {size:04x} {:04x} {}",
            data + 4,
            entries.len(),
            hex(&body)
        ))
    }

    fn text(index: u16, value: &str, length: usize) -> String {
        let mut bytes = value.as_bytes().to_vec();
        bytes.resize(length, 0);
        format!("{index:04x}{}", hex(&bytes))
    }

    fn check(turns: &[(Role, String)], expect: &[&str]) {
        let turns: Vec<(Role, &str)> = turns.iter().map(|(r, h)| (*r, h.as_str())).collect();
        assert_eq!(dialogue(cotp::run, 102, &turns), expect.join("\n"));
    }

    #[test]
    fn module_identification() {
        let order =
            |index, tail: &str| format!("{} 00c0 {tail}", text(index, "6ES7 315-2EH14-0AB0 ", 20));
        let list = szl(0x11, 28, &[order(1, "0005 0001"), order(7, "5603 0206")]);
        let connect = "0300 0016 11 d0 0007 0003 00 c0010a c1020100 c2020102".to_owned();
        check(
            &[(Role::Server, connect), (Role::Server, list)],
            &[
                "sender says s7.role = server",
                "sender says s7.rack_slot = 0/2",
                "sender says s7.order_number = 6ES7 315-2EH14-0AB0",
                "sender says s7.hardware = 5",
                "sender says s7.firmware = V3.2.6",
            ],
        );
    }

    #[test]
    fn component_identification() {
        let entries = [
            text(1, "SNAP7-SERVER", 32),
            text(5, "S C-X4U421302009", 32),
            text(7, "CPU 315-2 PN/DP", 32),
        ];
        check(
            &[(Role::Server, szl(0x1c, 34, &entries))],
            &[
                "sender says s7.role = server",
                "sender says s7.plc_name = SNAP7-SERVER",
                "sender is Serial siemens:S C-X4U421302009 (s7.serial)",
                "sender says s7.serial = S C-X4U421302009",
                "sender says s7.module_type = CPU 315-2 PN/DP",
            ],
        );
    }

    #[test]
    fn jobs_and_control() {
        let stop = tpkt("32 01 0000 0100 0010 0000 29 0000000000 09 505f50524f4752414d");
        let start = tpkt("32 01 0000 0100 0014 0000 28 000000000000fd 0000 09 505f50524f4752414d");
        check(
            &[(Role::Client, stop.clone()), (Role::Client, start), (Role::Client, stop)],
            &[
                "sender says s7.role = client",
                "sender says s7.function = 0x29 PLC stop",
                "receiver event ControlWrite: S7 PLC stop",
                "sender says s7.function = 0x28 program invocation",
                "receiver event ControlWrite: S7 PLC start",
            ],
        );
    }

    #[test]
    fn a_failed_list_says_nothing_and_a_cut_one_what_it_has() {
        let failed = tpkt("32 07 0000 0500 000c 0004 000112 08 12 84 01 01 00 00 d401 0a 00 0000");
        check(&[(Role::Server, failed)], &["sender says s7.role = server"]);
        let mut outcome = crate::testing::Recorder::default();
        let whole = unhex(&szl(0x1c, 34, &[text(1, "A", 32), text(2, "B", 32)]));
        let cut = whole.get(7..whole.len() - 4).unwrap();
        assert_eq!(run(cut, Role::Server, &mut outcome), Err(Malformed::Truncated));
        assert!(outcome.text().contains("s7.plc_name = A"));
    }
}
