//! DNP3 (IEEE 1815): outstations, masters, device attributes (object group 0).

use model::observation::EventKind;

use super::wire::{key, name, next_message, once, once_of, say_role};
use crate::fields::{Field, field};
use crate::{About, Ctx, Malformed, Outcome, Probe, Reader, Role, Sink, Step};

pub(super) const FIELDS: &[Field] = &[
    field("dnp3.role", "`client` (master) or `server` (outstation), from the DIR bit"),
    field("dnp3.address", "data link address of the sender"),
    field("dnp3.manufacturer", "device attribute 252"),
    field("dnp3.product", "device attribute 250: product name and model"),
    field("dnp3.serial", "device attribute 248"),
    field("dnp3.hardware_version", "device attribute 243"),
    field("dnp3.software_version", "device attribute 242"),
    field("dnp3.location", "device attribute 245"),
    field("dnp3.device_id", "device attribute 246: id code assigned by the user"),
    field("dnp3.device_name", "device attribute 247"),
];

pub(super) const PORTS: &[u16] = &[20000];

const MEMORY: u8 = b'd';

/// Total length of a link frame: a header of ten, then blocks of sixteen with their CRCs.
fn length(bytes: &[u8]) -> Result<usize, Malformed> {
    let mut r = Reader::new(bytes);
    if r.u16_be()? != 0x0564 {
        return Err(Malformed::NotMine);
    }
    let user = usize::from(r.u8()?).checked_sub(5).ok_or(Malformed::Invalid)?;
    Ok(10 + user + user.div_ceil(16) * 2)
}

/// The start bytes and a right header CRC.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match (length(bytes), bytes.get(..8), bytes.get(8..10)) {
        (Ok(_), Some(head), Some(sum)) if crc(head).to_le_bytes() == *sum => Probe::Yes,
        (Ok(_), ..) => Probe::Maybe,
        (Err(Malformed::Truncated), ..) if bytes.first() == Some(&5) => Probe::Maybe,
        _ => Probe::No,
    }
}

/// As [`probe`], for datagrams.
pub(super) fn probe_datagram(bytes: &[u8]) -> bool {
    probe(bytes) == Probe::Yes
}

/// CRC-16/DNP (clause 9.2.4.3).
fn crc(bytes: &[u8]) -> u16 {
    !bytes.iter().fold(0u16, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte),
            |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0xa6bc } else { crc >> 1 }
            },
        )
    })
}

/// Reads one link frame of a stream.
pub(super) fn run(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let (message, step) = match next_message(bytes, length(bytes)) {
        Ok(whole) => whole,
        Err(step) => return step,
    };
    if link(message, sink).is_err() { Step::Resync } else { step }
}

/// Reads the link frames of a datagram.
pub(super) fn datagram(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(bytes);
    for _ in 0..8 {
        if r.is_empty() {
            break;
        }
        let total = length(r.rest())?;
        link(r.take_up_to(total), sink)?;
    }
    Ok(())
}

fn link(frame: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(frame);
    let head = r.take(8)?;
    if r.u16_le()? != crc(head) {
        return Err(Malformed::NotMine);
    }
    let mut h = Reader::new(head);
    h.skip(3)?;
    let control = h.u8()?;
    h.skip(2)?;
    let source = h.u16_le()?;
    let role = if control & 0x80 != 0 { Role::Client } else { Role::Server };
    say_role(sink, "dnp3.role", MEMORY, role);
    // 0xfff0 and above: broadcast, self address, reserved.
    if source < 0xfff0 && once(sink, key(MEMORY, b'a', u64::from(source))) {
        sink.says("dnp3.address", source.to_string());
    }
    // At most 250 bytes of user data: the length field is one byte.
    let mut user = [0u8; 256];
    let mut filled = 0;
    while !r.is_empty() {
        let block = r.take_up_to(16);
        r.take_up_to(2);
        let room = user.get_mut(filled..filled + block.len());
        room.ok_or(Malformed::Limit)?.copy_from_slice(block);
        filled += block.len();
    }
    application(user.get(..filled).unwrap_or_default(), sink)
}

/// One application fragment's first transport segment: later ones do not begin with a header.
fn application(user: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(user);
    if r.is_empty() || r.u8()? & 0x40 == 0 {
        return Ok(());
    }
    r.skip(1)?;
    match r.u8()? {
        129 | 130 => {
            r.skip(2)?; // Internal indications.
            attributes(&mut r, sink)
        }
        function => {
            let what = match function {
                13 => "DNP3 cold restart",
                14 => "DNP3 warm restart",
                16 | 17 => "DNP3 application start",
                18 => "DNP3 application stop",
                25..=30 => "DNP3 file operation",
                31 => "DNP3 configuration activation",
                _ => return Ok(()),
            };
            if once_of(sink, key(MEMORY, b'e', 0), function) {
                sink.event(About::Receiver, EventKind::ControlWrite, what);
            }
            Ok(())
        }
    }
}

/// Object group 0 (Annex A.2): header, then a type, a length and a value each.
fn attributes(r: &mut Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    for _ in 0..32 {
        if r.is_empty() {
            break;
        }
        let group = r.u8()?;
        let variation = r.u8()?;
        if group != 0 {
            return Ok(());
        }
        match r.u8()? {
            0 => r.skip(2)?,        // Start and stop, one byte each.
            0x17 => r.skip(1 + 1)?, // Count, index.
            _ => return Ok(()),
        }
        let kind = r.u8()?;
        let length = r.u8()?;
        let value = r.take_up_to(usize::from(length));
        let field = match variation {
            242 => "dnp3.software_version",
            243 => "dnp3.hardware_version",
            245 => "dnp3.location",
            246 => "dnp3.device_id",
            247 => "dnp3.device_name",
            248 => "dnp3.serial",
            250 => "dnp3.product",
            252 => "dnp3.manufacturer",
            _ => continue,
        };
        // 1: visible characters.
        if kind == 1 {
            sink.says(field, name(value));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ics::wire::tests::dialogue;
    use crate::testing::unhex;

    /// A link frame around user data.
    fn frame(control: u8, user: &str) -> String {
        let user = unhex(user);
        let mut bytes = vec![5, 0x64, user.len() as u8 + 5, control, 1, 0, 10, 0];
        bytes.extend(crc(&bytes).to_le_bytes());
        for block in user.chunks(16) {
            bytes.extend(block);
            bytes.extend(crc(block).to_le_bytes());
        }
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // CRC-16/DNP check value.
        assert_eq!(crc(b"123456789"), 0xea82);
    }

    #[test]
    fn attributes_of_an_outstation() {
        let answer = frame(
            0x44,
            "c0 c0 81 0000 00fc000000 01 04 41434d45 00fa000000 01 05 5254552d31 00f2000000 01 03 332e31",
        );
        let restart = frame(0xc4, "c1 c1 0d");
        let facts = dialogue(run, 20000, &[(Role::Client, &restart), (Role::Server, &answer)]);
        let expect = [
            "sender says dnp3.role = client",
            "sender says dnp3.address = 10",
            "receiver event ControlWrite: DNP3 cold restart",
            "sender says dnp3.role = server",
            "sender says dnp3.manufacturer = ACME",
            "sender says dnp3.product = RTU-1",
            "sender says dnp3.software_version = 3.1",
        ];
        assert_eq!(facts, expect.join("\n"));
        assert_eq!(probe(&unhex(&answer)), Probe::Yes);
    }

    #[test]
    fn a_wrong_checksum_is_another_protocol() {
        let facts = dialogue(run, 20000, &[(Role::Server, "0564 05c9 0000 0004 0000")]);
        assert_eq!(facts, "");
        assert_eq!(probe(&unhex("0564 05c9 0000 0004 0000")), Probe::Maybe);
        assert_eq!(probe(b"GET /"), Probe::No);
    }
}
