//! Modbus/TCP (Modbus Messaging on TCP/IP Implementation Guide V1.0b; Application Protocol V1.1b3).
//!
//! Unit identifiers are devices of their own only when a gateway answers device identification
//! for several with different answers: many servers answer alike for every unit.

use std::borrow::Cow;

use super::umas;
use super::wire::{digest, key, next_message, once_of, runs, say_role, side, word};
use crate::fields::{Field, field};
use crate::{About, Ctx, Malformed, Outcome, Probe, Reader, Role, Sink, Step, text};

pub(super) const FIELDS: &[Field] = &[
    field("modbus.role", "`client` or `server`"),
    field(
        "modbus.function",
        "function the client asked for or the server carried out, as `3 read holding registers`",
    ),
    field("modbus.vendor", "device identification object 0, VendorName"),
    field("modbus.product_code", "device identification object 1, ProductCode"),
    field("modbus.revision", "device identification object 2, MajorMinorRevision"),
    field("modbus.vendor_url", "device identification object 3, VendorUrl"),
    field("modbus.product_name", "device identification object 4, ProductName"),
    field("modbus.model_name", "device identification object 5, ModelName"),
    field("modbus.user_application", "device identification object 6, UserApplicationName"),
    field("modbus.server_id", "text in the answer to function 17, Report Server ID"),
];

pub(super) const PORTS: &[u16] = &[502];

const MEMORY: u8 = b'm';

/// Function codes in use (Application Protocol V1.1b3 §5.1, and Schneider's 90).
const FUNCTIONS: &[(u8, &str)] = &[
    (1, "read coils"),
    (2, "read discrete inputs"),
    (3, "read holding registers"),
    (4, "read input registers"),
    (5, "write single coil"),
    (6, "write single register"),
    (7, "read exception status"),
    (8, "diagnostics"),
    (11, "get comm event counter"),
    (12, "get comm event log"),
    (15, "write multiple coils"),
    (16, "write multiple registers"),
    (17, "report server id"),
    (20, "read file record"),
    (21, "write file record"),
    (22, "mask write register"),
    (23, "read/write multiple registers"),
    (24, "read fifo queue"),
    (43, "encapsulated interface transport"),
    (90, "umas"),
];

/// The MBAP header and the PDU behind it.
struct Adu<'a> {
    transaction: u16,
    unit: u8,
    function: u8,
    data: &'a [u8],
}

/// Length of the whole ADU when the header makes sense.
fn length(bytes: &[u8]) -> Result<usize, Malformed> {
    let mut r = Reader::new(bytes);
    r.skip(2)?;
    let protocol = r.u16_be()?;
    let length = r.u16_be()?;
    r.skip(1)?;
    let function = r.u8()?;
    // 253 bytes of PDU and the unit; UMAS goes beyond on newer controllers.
    let most = if function == umas::FUNCTION { 2_048 } else { 256 };
    let known = function & 0x7f != 0;
    if protocol == 0 && (2..=most).contains(&length) && known {
        Ok(6 + usize::from(length))
    } else {
        Err(Malformed::NotMine)
    }
}

/// No signature: two zero bytes and a fitting length.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match length(bytes) {
        Ok(_) => Probe::Maybe,
        Err(_) => Probe::No,
    }
}

/// Reads one ADU.
pub(super) fn run(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let (message, step) = match next_message(bytes, length(bytes)) {
        Ok(whole) => whole,
        Err(step) => return step,
    };
    read(message, ctx, sink);
    step
}

/// Reads one ADU in a datagram: not in the standard, but spoken by some.
pub(super) fn datagram(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if length(bytes)? != bytes.len() {
        return Err(Malformed::NotMine);
    }
    read(bytes, ctx, sink);
    Ok(())
}

fn read(message: &[u8], ctx: &Ctx, sink: &mut dyn Sink) {
    if let [t0, t1, _, _, _, _, unit, function, data @ ..] = message {
        let adu = Adu {
            transaction: u16::from_be_bytes([*t0, *t1]),
            unit: *unit,
            function: *function,
            data,
        };
        match side(ctx, PORTS) {
            Role::Client => request(&adu, sink),
            Role::Server => answer(&adu, sink),
            Role::Unknown => {}
        }
    }
}

fn request(adu: &Adu<'_>, sink: &mut dyn Sink) {
    say_role(sink, "modbus.role", MEMORY, Role::Client);
    say_function(adu.function, Role::Client, sink);
    if adu.function == umas::FUNCTION {
        umas::request(adu.transaction, adu.data, sink);
    }
}

fn answer(adu: &Adu<'_>, sink: &mut dyn Sink) {
    say_role(sink, "modbus.role", MEMORY, Role::Server);
    if adu.function & 0x80 != 0 {
        return; // An exception: it does not carry the function out.
    }
    say_function(adu.function, Role::Server, sink);
    match adu.function {
        17 => server_id(adu, sink),
        43 => {
            // A shortened answer keeps what it said: the error is of no use here.
            let _ = identification(adu, sink);
        }
        umas::FUNCTION => umas::answer(adu.transaction, adu.data, sink),
        _ => {}
    }
}

fn say_function(function: u8, role: Role, sink: &mut dyn Sink) {
    let kind = if role == Role::Client { b'c' } else { b's' };
    let Some(name) = word(FUNCTIONS, function) else {
        return;
    };
    // 64 codes share a memory entry.
    if once_of(sink, key(MEMORY, kind, u64::from(function >> 6)), function) {
        sink.says("modbus.function", format!("{function} {name}"));
    }
}

/// Who answers: the sender, or a unit behind it once answers for two units differ.
fn subject(unit: u8, answer: &[u8], sink: &mut dyn Sink) -> About<'static> {
    let first = key(MEMORY, b'u', 0);
    let said = digest(answer);
    match sink.recall(first) {
        // 0 and 255 mean the server itself (Implementation Guide §4.4.2.2).
        _ if matches!(unit, 0 | 0xff) => About::Sender,
        None => {
            sink.remember(first, said);
            About::Sender
        }
        Some(same) if same == said => About::Sender,
        Some(_) => About::Child { via: "modbus-unit", key: Cow::Owned(unit.to_string()) },
    }
}

/// MODBUS Encapsulated Interface 14, Read Device Identification (§6.21).
fn identification(adu: &Adu<'_>, sink: &mut dyn Sink) -> Result<(), Malformed> {
    let mut r = Reader::new(adu.data);
    if r.u8()? != 14 {
        return Ok(());
    }
    let _code = r.u8()?;
    let _conformity = r.u8()?;
    r.skip(2)?; // More follows, next object id.
    let count = r.u8()?;
    let about = subject(adu.unit, r.rest(), sink);
    for _ in 0..count {
        let id = r.u8()?;
        let length = r.u8()?;
        let value = text::clean(r.take(usize::from(length))?);
        let name = match id {
            0 => "modbus.vendor",
            1 => "modbus.product_code",
            2 => "modbus.revision",
            3 => "modbus.vendor_url",
            4 => "modbus.product_name",
            5 => "modbus.model_name",
            6 => "modbus.user_application",
            _ => continue,
        };
        sink.about(about.clone(), name, value);
    }
    Ok(())
}

/// The layout is the device's own (§6.13): report what is text in it.
fn server_id(adu: &Adu<'_>, sink: &mut dyn Sink) {
    let Some((count, rest)) = adu.data.split_first() else {
        return;
    };
    let said = rest.get(..usize::from(*count)).unwrap_or(rest);
    let about = subject(adu.unit, said, sink);
    for run in runs(said, 4).take(4) {
        sink.about(about.clone(), "modbus.server_id", text::clean_str(run));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ics::wire::tests::dialogue;
    use crate::testing::{Recorder, ctx, unhex};

    fn check(turns: &[(Role, &str)], expect: &[&str]) {
        assert_eq!(dialogue(run, 502, turns), expect.join("\n"));
    }

    const IDENTITY: &str = "0001 0000 001b 01  2b 0e 01 01 00 00 03
        00 04 41434d45 01 04 504c4331 02 05 56312e3032";

    #[test]
    fn device_identification_is_the_answering_device() {
        check(
            &[(Role::Client, "0001 0000 0005 01 2b 0e 01 00"), (Role::Server, IDENTITY)],
            &[
                "sender says modbus.role = client",
                "sender says modbus.function = 43 encapsulated interface transport",
                "sender says modbus.role = server",
                "sender says modbus.function = 43 encapsulated interface transport",
                "sender says modbus.vendor = ACME",
                "sender says modbus.product_code = PLC1",
                "sender says modbus.revision = V1.02",
            ],
        );
    }

    #[test]
    fn units_are_children_only_when_they_answer_differently() {
        let other = |unit: &str, name: &str| {
            format!("0002 0000 000e {unit} 2b 0e 01 01 00 00 01 01 04 {name}")
        };
        let (a, b, c) = (other("01", "41414141"), other("02", "41414141"), other("03", "42424242"));
        let facts =
            dialogue(run, 502, &[(Role::Server, &a), (Role::Server, &b), (Role::Server, &c)]);
        let codes: Vec<&str> = facts.lines().filter(|l| l.contains("product_code")).collect();
        assert_eq!(
            codes,
            [
                "sender says modbus.product_code = AAAA",
                "sender says modbus.product_code = AAAA",
                "sender/modbus-unit[3] says modbus.product_code = BBBB",
            ]
        );
    }

    #[test]
    fn several_messages_in_one_segment_are_said_once() {
        let read = "0001 0000 0006 01 03 0000 0001";
        check(
            &[(Role::Client, &format!("{read}{read} 0002 0000 0006 01 06 0000 0001"))],
            &[
                "sender says modbus.role = client",
                "sender says modbus.function = 3 read holding registers",
                "sender says modbus.function = 6 write single register",
            ],
        );
    }

    #[test]
    fn exceptions_and_server_ids() {
        check(
            &[
                (Role::Server, "0001 0000 0003 01 83 02"),
                (Role::Server, "0002 0000 000b 01 11 08 01 ff 504d35353030"),
            ],
            &[
                "sender says modbus.role = server",
                "sender says modbus.function = 17 report server id",
                "sender says modbus.server_id = PM5500",
            ],
        );
    }

    #[test]
    fn datagrams_are_whole() {
        let read = "0001 0000 0006 01 03 0000 0001";
        let facts = crate::ics::wire::tests::datagrams(datagram, 502, &[(Role::Client, read)]);
        assert_eq!(facts.map(|f| f.lines().count()), Ok(2));
        let longer = format!("{read} 00");
        let facts = crate::ics::wire::tests::datagrams(datagram, 502, &[(Role::Client, &longer)]);
        assert_eq!(facts, Err(Malformed::NotMine));
    }

    #[test]
    fn foreign_and_short_bytes() {
        let step = |hex| run(&unhex(hex), &ctx(1, 502, Role::Client), &mut Recorder::default());
        assert_eq!(step("0001 0000 0006 01"), Step::NeedMore);
        assert_eq!(step("0001 0000 0006 01 03"), Step::NeedMore);
        assert_eq!(step("4745 5420 2f20 4854"), Step::Resync);
        assert_eq!(step("0001 0000 0001 01 03"), Step::Resync);
        assert_eq!(probe(&unhex("0001 0000 0006 01 03 0000 0001")), Probe::Maybe);
        assert_eq!(probe(b"GET / HTTP/1.1"), Probe::No);
    }
}
