//! HART-IP (FieldComm Group TS20085) and the HART commands in it (TS20099, TS20127, TS20151).
//!
//! The gateway or device that answers on the connection is the sender; answers from other long
//! addresses, and the sub-devices it lists, are devices behind it.

use std::borrow::Cow;

use model::observation::{EventKind, IdentifierKind};

use super::wire::{key, lookup, next_message, once_of, say_role};
use crate::fields::{Field, field};
use crate::{About, Ctx, Malformed, Outcome, Probe, Reader, Role, Sink, Step, text};

pub(super) const FIELDS: &[Field] = &[
    field("hart.role", "`client` or `server` of a HART-IP session"),
    field("hart.manufacturer_id", "manufacturer of command 0, as four hex digits"),
    field("hart.manufacturer", "name of the manufacturer, from its number"),
    field("hart.device_type", "expanded device type of command 0, as four hex digits"),
    field("hart.device_id", "device number of command 0, six hex digits"),
    field("hart.device_revision", "device revision of command 0"),
    field("hart.software_revision", "software revision of command 0"),
    field("hart.hardware_revision", "hardware revision of command 0"),
    field("hart.universal_revision", "major revision of the HART protocol"),
    field("hart.long_tag", "long tag, command 20 or 22"),
    field("hart.tag", "short tag, command 13"),
    field("hart.descriptor", "descriptor, command 13"),
];

pub(super) const PORTS: &[u16] = &[5094];

const MEMORY: u8 = b'h';
/// Unique id of the device that answered on the connection.
const OWN: u64 = key(MEMORY, b'o', 0);

/// Manufacturers that are common in the field (TS20183, Table 8), sorted.
pub(super) const MANUFACTURERS: &[(u16, &str)] = &[
    (0x0011, "Endress+Hauser"),
    (0x0013, "Fisher Controls"),
    (0x0017, "Honeywell"),
    (0x0018, "ITT Barton"),
    (0x001a, "ABB"),
    (0x0026, "Rosemount"),
    (0x0029, "Micro Motion"),
    (0x002a, "Siemens"),
    (0x002b, "Toshiba"),
    (0x0037, "Yokogawa"),
    (0x003e, "Vega"),
    (0x0042, "Samson"),
    (0x0045, "Krohne"),
    (0x0056, "Magnetrol"),
    (0x005d, "Pepperl+Fuchs"),
];

/// Length of the message when the header makes sense.
fn length(bytes: &[u8]) -> Result<usize, Malformed> {
    let mut r = Reader::new(bytes);
    let (version, kind, id, _status) = (r.u8()?, r.u8()?, r.u8()?, r.u8()?);
    r.skip(2)?;
    let length = usize::from(r.u16_be()?);
    if (1..=2).contains(&version) && kind & 0x0f <= 3 && id <= 5 && (8..=1_500).contains(&length) {
        Ok(length)
    } else {
        Err(Malformed::NotMine)
    }
}

/// Weak: small numbers and a length.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match length(bytes) {
        Ok(_) | Err(Malformed::Truncated) if matches!(bytes.first(), Some(1 | 2)) => Probe::Maybe,
        _ => Probe::No,
    }
}

/// Reads one message of a TCP session.
pub(super) fn run(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let (message, step) = match next_message(bytes, length(bytes)) {
        Ok(whole) => whole,
        Err(step) => return step,
    };
    let _ = read(message, sink);
    step
}

/// Reads one datagram.
pub(super) fn datagram(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if length(bytes)? != bytes.len() {
        return Err(Malformed::NotMine);
    }
    read(bytes, sink)
}

fn read(message: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(message);
    r.skip(1)?;
    let kind = r.u8()? & 0x0f;
    let id = r.u8()?;
    let status = r.u8()?;
    r.skip(4)?;
    let role = match kind {
        0 => Role::Client,
        1 | 2 => Role::Server,
        _ => return Ok(()),
    };
    say_role(sink, "hart.role", MEMORY, role);
    // 3: a HART frame inside.
    if id == 3 && status == 0 {
        return frame(r.rest(), sink);
    }
    Ok(())
}

/// A token-passing data-link frame (TS20081): delimiter, address, command, count, data.
fn frame(bytes: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(bytes);
    let delimiter = r.u8()?;
    let kind = delimiter & 0x07;
    let long = delimiter & 0x80 != 0;
    let address: &[u8] = r.take(if long { 5 } else { 1 })?;
    r.skip(usize::from(delimiter >> 5 & 3))?;
    let command = r.u8()?;
    let count = r.u8()?;
    let data = r.take_up_to(usize::from(count));
    match kind {
        2 => {
            control(command, sink);
            Ok(())
        }
        // An acknowledgement; its data begin with response code and device status.
        6 => answer(long.then_some(address), command, data, sink),
        _ => Ok(()),
    }
}

/// Reset, self test and a change of the polling address.
fn control(command: u8, sink: &mut dyn Sink) {
    let what = match command {
        42 => "HART device reset",
        41 => "HART self test",
        6 => "HART polling address change",
        _ => return,
    };
    if once_of(sink, key(MEMORY, b'e', 0), command) {
        sink.event(About::Receiver, EventKind::ControlWrite, what);
    }
}

fn answer(address: Option<&[u8]>, command: u8, data: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(data);
    // Bit 7: a communication error; codes of 1 to 7 are errors, from 8 on warnings or errors.
    let code = r.u8()?;
    r.skip(1)?;
    if code != 0 {
        return Ok(());
    }
    let about = subject(address, sink);
    match command {
        0 | 11 | 21 | 75 => identity(&mut r, about, address.is_none(), sink),
        13 => {
            sink.about(about.clone(), "hart.tag", packed(r.take(6)?));
            sink.about(about, "hart.descriptor", packed(r.take(12)?));
            Ok(())
        }
        20 | 22 => {
            sink.about(about, "hart.long_tag", text::c_string(r.take_up_to(32)));
            Ok(())
        }
        84 => sub_device(&mut r, sink),
        _ => Ok(()),
    }
}

/// Whose answer it is: the first device heard on the connection is the connection's own.
fn subject(address: Option<&[u8]>, sink: &mut dyn Sink) -> About<'static> {
    let Some(address) = address else {
        return About::Sender;
    };
    // The two upper bits of a long address are the master's and the burst mode's.
    let id = address.iter().fold(0u64, |n, b| n << 8 | u64::from(*b)) & 0x3f_ffff_ffff;
    match sink.recall(OWN) {
        Some(own) if own == id => About::Sender,
        Some(_) => behind(&format!("{id:010x}")),
        None => {
            sink.remember(OWN, id);
            About::Sender
        }
    }
}

fn behind(key: &str) -> About<'static> {
    About::Child { via: "hart", key: Cow::Owned(key.to_owned()) }
}

/// Identity commands: the layout of command 0.
fn identity(r: &mut Reader<'_>, about: About<'static>, own: bool, sink: &mut dyn Sink) -> Outcome {
    if r.u8()? != 254 {
        return Err(Malformed::Invalid);
    }
    let device_type: [u8; 2] = r.array()?;
    r.skip(1)?; // Preambles.
    let universal = r.u8()?;
    let (device, software, hardware) = (r.u8()?, r.u8()?, r.u8()?);
    r.skip(1)?; // Flags.
    let id: [u8; 3] = r.array()?;
    // From HART 7 on the manufacturer is a field of its own; before, half of the device type.
    let manufacturer =
        if universal >= 7 && r.skip(5).is_ok() { r.u16_be()? } else { u16::from(device_type[0]) };
    if own {
        let [a, b] = device_type;
        let [c, d, e] = id;
        let unique = [a & 0x3f, b, c, d, e];
        sink.remember(OWN, unique.iter().fold(0, |n, b| n << 8 | u64::from(*b)));
    }
    say_maker(manufacturer, device_type, id, &about, sink);
    sink.about(about.clone(), "hart.universal_revision", universal.to_string());
    sink.about(about.clone(), "hart.device_revision", device.to_string());
    sink.about(about.clone(), "hart.software_revision", software.to_string());
    sink.about(about, "hart.hardware_revision", (hardware >> 3).to_string());
    Ok(())
}

fn say_maker(
    manufacturer: u16,
    device_type: [u8; 2],
    id: [u8; 3],
    about: &About<'static>,
    sink: &mut dyn Sink,
) {
    sink.about(about.clone(), "hart.manufacturer_id", format!("{manufacturer:04x}"));
    let maker = lookup(MANUFACTURERS, manufacturer).unwrap_or_default();
    sink.about(about.clone(), "hart.manufacturer", maker);
    let device_type = text::hex(&device_type);
    let id = text::hex(&id);
    sink.about(about.clone(), "hart.device_type", device_type.as_str());
    sink.about(about.clone(), "hart.device_id", id.as_str());
    if id != "000000" {
        // Type and number together are unique (TS20081 §9.1).
        let kind = IdentifierKind::Serial;
        let value = format!("hart:{device_type}{id}");
        sink.identifier(about.clone(), "hart.device_id", kind, value);
    }
}

/// Command 84, Read Sub-Device Identity Summary: devices behind an I/O system or gateway.
fn sub_device(r: &mut Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    r.skip(4)?; // Index, card, channel.
    let manufacturer = r.u16_be()?;
    let device_type: [u8; 2] = r.array()?;
    let id: [u8; 3] = r.array()?;
    r.skip(1)?;
    let about = behind(&text::hex(&[&[device_type[0] & 0x3f, device_type[1]][..], &id].concat()));
    say_maker(manufacturer, device_type, id, &about, sink);
    sink.about(about, "hart.long_tag", text::c_string(r.take_up_to(32)));
    Ok(())
}

/// Packed ASCII (TS20099 §6.1): four characters of six bits in three bytes.
fn packed(bytes: &[u8]) -> String {
    let characters = bytes.chunks_exact(3).flat_map(|three| {
        let n = three.iter().fold(0u32, |n, b| n << 8 | u32::from(*b));
        [18, 12, 6, 0].map(|shift| {
            let six = (n >> shift & 0x3f) as u8;
            // Bit 6 is the inverse of bit 5.
            char::from(six | (!six & 0x20) << 1)
        })
    });
    let value: String = characters.collect();
    // A tag never written is all zeros: `@`.
    text::clean_str(value.trim_matches('@')).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ics::wire::tests::{datagrams, dialogue};
    use crate::testing::{Recorder, ctx, unhex};

    /// A token-passing answer.
    fn answer(frame: &str) -> String {
        format!("01 01 03 00 0001 {:04x} {frame}", unhex(frame).len() + 8)
    }

    const IDENTITY: &str = "06 00 00 18 00 00
        fe 11a0 05 07 03 02 09 00 00000c 05 02 0001 00 0011 0011 01 ff";

    #[test]
    fn command_0_names_the_sender_and_others_are_behind_it() {
        let tag = |long: &str, value: &str| {
            let mut value = value.as_bytes().to_vec();
            value.resize(32, 0);
            let value: String = value.iter().map(|b| format!("{b:02x}")).collect();
            answer(&format!("86 {long} 14 22 00 00 {value} 00"))
        };
        let facts = dialogue(
            run,
            5094,
            &[
                (Role::Client, "01 00 03 00 0001 000d 0200000002"),
                (Role::Server, &answer(IDENTITY)),
                (Role::Server, &tag("91a000000c", "gateway-1")),
                (Role::Server, &tag("26000000ff", "PT-101")),
            ],
        );
        let expect = [
            "sender says hart.role = client",
            "sender says hart.role = server",
            "sender says hart.manufacturer_id = 0011",
            "sender says hart.manufacturer = Endress+Hauser",
            "sender says hart.device_type = 11a0",
            "sender says hart.device_id = 00000c",
            "sender is Serial hart:11a000000c (hart.device_id)",
            "sender says hart.universal_revision = 7",
            "sender says hart.device_revision = 3",
            "sender says hart.software_revision = 2",
            "sender says hart.hardware_revision = 1",
            "sender says hart.long_tag = gateway-1",
            "sender/hart[26000000ff] says hart.long_tag = PT-101",
        ];
        assert_eq!(facts, expect.join("\n"));
    }

    #[test]
    fn packed_ascii() {
        // "ABCD" is 000001 000010 000011 000100; a digit keeps its code.
        assert_eq!(packed(&[0x04, 0x20, 0xc4]), "ABCD");
        assert_eq!(packed(&[0xc7, 0x2c, 0xf4]), "1234");
        assert_eq!(packed(&[0; 6]), "");
    }

    #[test]
    fn errors_say_nothing() {
        let facts = datagrams(datagram, 5094, &[(Role::Server, &answer("06 00 00 02 40 00 00"))]);
        assert_eq!(facts, Ok("sender says hart.role = server".to_owned()));
        let foreign = datagrams(datagram, 5094, &[(Role::Server, "0101030000010009 00 00")]);
        assert_eq!(foreign, Err(Malformed::NotMine));
        let step = |hex| run(&unhex(hex), &ctx(1, 5094, Role::Client), &mut Recorder::default());
        assert_eq!(step("01 00 03 00 0001 000d 02"), Step::NeedMore);
        assert_eq!(step("47 45 54 20 2f 20 48 54"), Step::Resync);
    }
}
