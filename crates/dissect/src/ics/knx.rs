//! KNXnet/IP (ISO 22510; KNX 3/8): self description of routers and interfaces, their presence.

use model::Mac;
use model::observation::{EventKind, IdentifierKind};

use super::wire::{key, lookup, next_message, once, once_of};
use crate::fields::{Field, field};
use crate::identity::own_mac;
use crate::{About, Ctx, Malformed, Outcome, Probe, Reader, Sink, Step, text};

pub(super) const FIELDS: &[Field] = &[
    field("knx.role", "`client` or `server`, from requests and answers"),
    field("knx.address", "individual address of the device, as `1.1.0`"),
    field("knx.serial", "KNX serial number, 12 hex digits"),
    field("knx.manufacturer_id", "first two bytes of the serial number, as four hex digits"),
    field("knx.manufacturer", "name of the manufacturer, from its number"),
    field("knx.name", "friendly name"),
    field("knx.mac", "link address in the device information"),
    field("knx.routing_source", "individual address of the bus device a router passed on"),
];

pub(super) const PORTS: &[u16] = &[3671];

const MEMORY: u8 = b'k';
/// DIBs of one description: the standard defines seven.
const BLOCKS_MAX: usize = 16;

/// Manufacturers that are common in the field (KNX Association's list), sorted.
pub(super) const MANUFACTURERS: &[(u16, &str)] = &[
    (0x0001, "Siemens"),
    (0x0002, "ABB"),
    (0x0004, "Albrecht Jung"),
    (0x0007, "Busch-Jaeger"),
    (0x0008, "Gira"),
    (0x0009, "Hager"),
    (0x0083, "MDT"),
    (0x00a6, "Enertex"),
    (0x00c5, "Weinzierl"),
];

/// Length of the message when the header makes sense.
fn length(bytes: &[u8]) -> Result<usize, Malformed> {
    let mut r = Reader::new(bytes);
    if r.u16_be()? != 0x0610 {
        return Err(Malformed::NotMine);
    }
    let service = r.u16_be()?;
    let length = usize::from(r.u16_be()?);
    let known = matches!(service >> 8, 0x02 | 0x03 | 0x04 | 0x05 | 0x07 | 0x09);
    if known && length >= 6 { Ok(length) } else { Err(Malformed::NotMine) }
}

/// The header's two first bytes are fixed.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match length(bytes) {
        Ok(_) => Probe::Yes,
        Err(Malformed::Truncated) if b"\x06\x10".starts_with(bytes.get(..2).unwrap_or(bytes)) => {
            Probe::Maybe
        }
        Err(_) => Probe::No,
    }
}

/// As [`probe`], for datagrams.
pub(super) fn probe_datagram(bytes: &[u8]) -> bool {
    length(bytes) == Ok(bytes.len())
}

/// Reads one message of a TCP connection.
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
    length(bytes)?;
    read(bytes, sink)
}

fn read(message: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(message);
    r.skip(2)?;
    let service = r.u16_be()?;
    r.skip(2)?;
    match service {
        // Searches, description and connect requests; feature get and set.
        0x0201 | 0x0203 | 0x0205 | 0x020b | 0x0422 | 0x0424 => say_role(0, sink),
        // Search responses: the control endpoint, then blocks; description: blocks.
        0x0202 | 0x020c => {
            say_role(1, sink);
            r.skip(8)?;
            return description(&mut r, sink);
        }
        0x0204 => {
            say_role(1, sink);
            return description(&mut r, sink);
        }
        0x0206 | 0x0423 | 0x0425 => say_role(1, sink),
        0x0310 => return management(&mut r, sink),
        0x0530 => return routing(&mut r, sink),
        _ => {}
    }
    Ok(())
}

/// Device configuration: a connection header, then cEMI (KNX 3/6/3, §4.1.7).
fn management(r: &mut Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    r.skip(4)?;
    let code = r.u8()?;
    let what = match code {
        0xf1 => "KNX device reset",
        0xf6 => "KNX property write",
        _ => return Ok(()),
    };
    if once(sink, key(MEMORY, b'e', u64::from(code))) {
        sink.event(About::Receiver, EventKind::ControlWrite, what);
    }
    Ok(())
}

fn say_role(which: u8, sink: &mut dyn Sink) {
    if once_of(sink, key(MEMORY, b'r', 0), which) {
        sink.says("knx.role", if which == 0 { "client" } else { "server" });
    }
}

/// Description information blocks (§7.5.4): the one with type 1 is the device.
fn description(r: &mut Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    for _ in 0..BLOCKS_MAX {
        if r.is_empty() {
            break;
        }
        let length = usize::from(r.u8()?);
        let kind = r.u8()?;
        let block = r.take(length.checked_sub(2).ok_or(Malformed::Invalid)?)?;
        if kind == 1 {
            device(block, sink)?;
        }
    }
    Ok(())
}

fn device(block: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(block);
    r.skip(2)?; // Medium, status.
    let address = r.u16_be()?;
    r.skip(2)?; // Project.
    let serial: [u8; 6] = r.array()?;
    r.skip(4)?; // Routing multicast address.
    let mac = Mac(r.array()?);
    let name = text::c_string(r.take_up_to(30));
    sink.says("knx.address", individual(address));
    if serial != [0; 6] {
        let [high, low, ..] = serial;
        let maker = u16::from_be_bytes([high, low]);
        sink.says("knx.serial", text::hex(&serial));
        sink.says("knx.manufacturer_id", format!("{maker:04x}"));
        sink.says("knx.manufacturer", lookup(MANUFACTURERS, maker).unwrap_or_default());
        let kind = IdentifierKind::Serial;
        sink.identifier(About::Sender, "knx.serial", kind, format!("knx:{}", text::hex(&serial)));
    }
    own_mac(sink, "knx.mac", mac);
    sink.says("knx.name", name);
    Ok(())
}

fn individual(address: u16) -> String {
    format!("{}.{}.{}", address >> 12, address >> 8 & 15, address & 255)
}

/// A routing indication: a cEMI frame (KNX 3/6/3) with the bus device that sent it.
fn routing(r: &mut Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    if r.u8()? != 0x29 {
        return Ok(());
    }
    let additional = r.u8()?;
    r.skip(usize::from(additional) + 2)?;
    let source = r.u16_be()?;
    // Sixteen lines of sixteen areas; the line is enough to bound what is remembered.
    if source != 0 && once(sink, key(MEMORY, b's', u64::from(source >> 4))) {
        sink.says("knx.routing_source", individual(source));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::ics::wire::tests::{datagrams, dialogue};
    use crate::testing::{Recorder, ctx, unhex};

    #[test]
    fn a_search_answer_describes_its_sender() {
        let name: String = "KNX IP Router".bytes().map(|b| format!("{b:02x}")).collect();
        let answer = format!(
            "0610 0202 004e 0801c00002010e57
             36 01 02 00 1101 0000 00c5 01020304 e000170c 00c500000001 {name}{}
             0a 02 0201 0301 0401 0501",
            "00".repeat(17)
        );
        let facts = datagrams(datagram, 3671, &[(Role::Server, &answer)]);
        let expect = [
            "sender says knx.role = server",
            "sender says knx.address = 1.1.1",
            "sender says knx.serial = 00c501020304",
            "sender says knx.manufacturer_id = 00c5",
            "sender says knx.manufacturer = Weinzierl",
            "sender is Serial knx:00c501020304 (knx.serial)",
            "sender says knx.mac = 00:c5:00:00:00:01",
            "sender is Mac 00:c5:00:00:00:01 (knx.mac)",
            "sender says knx.name = KNX IP Router",
        ];
        assert_eq!(facts, Ok(expect.join("\n")));
        let cut = answer.get(..80).unwrap();
        assert_eq!(datagrams(datagram, 3671, &[(Role::Server, cut)]), Err(Malformed::Truncated));
    }

    #[test]
    fn routing_and_tcp() {
        let routing = "0610 0530 0011 29 00 bce0 1105 0901 01 00 81";
        let facts = datagrams(datagram, 3671, &[(Role::Unknown, routing)]);
        assert_eq!(facts, Ok("sender says knx.routing_source = 1.1.5".to_owned()));
        let features = "0610 0423 000e 04010200 06001087 0610 0425 000e 04010300 06001087";
        assert_eq!(
            dialogue(run, 3671, &[(Role::Server, features)]),
            "sender says knx.role = server"
        );
    }

    #[test]
    fn property_writes_are_control() {
        let message = |code: &str| format!("0610 0310 0011 04010000 {code} 000b0134 10010007");
        let (read, write) = (message("fc"), message("f6"));
        let turns = [(Role::Client, read.as_str()), (Role::Client, &write), (Role::Client, &write)];
        let expect = "receiver event ControlWrite: KNX property write";
        assert_eq!(datagrams(datagram, 3671, &turns), Ok(expect.to_owned()));
    }

    #[test]
    fn foreign_and_short_bytes() {
        let step = |hex| run(&unhex(hex), &ctx(1, 3671, Role::Client), &mut Recorder::default());
        assert_eq!(step("0610 0423"), Step::NeedMore);
        assert_eq!(step("0610 0423 000e 04"), Step::NeedMore);
        assert_eq!(step("0610 ff23 000e 04"), Step::Resync);
        assert!(probe_datagram(&unhex("0610 0201 000e 0801c00002010e57")));
        assert!(!probe_datagram(&unhex("0611 0201 000e 0801c00002010e57")));
    }
}
