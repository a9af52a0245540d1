//! PROFINET IO connection management (IEC 61158-6-10) over connectionless DCE/RPC (C706): who
//! controls, I&M0 records, and what the endpoint mapper says of devices.

use std::borrow::Cow;

use model::observation::{EventKind, IdentifierKind};

use super::wire::{key, name, once};
use crate::fields::{Field, field};
use crate::link::pn_vendors;
use crate::{About, Ctx, Malformed, Outcome, Reader, Sink};

pub(super) const FIELDS: &[Field] = &[
    field("pn_im.role", "`controller` or `device`, from the connect request and its answer"),
    field("pn_im.station_name", "CMInitiatorStationName or the device's own in the answer"),
    field("pn_im.vendor_id", "I&M0 vendor id, four hex digits"),
    field("pn_im.vendor", "name of the vendor, from its number"),
    field("pn_im.order_id", "I&M0 order id, or that of the endpoint mapper's annotation"),
    field("pn_im.serial", "I&M0 serial number"),
    field("pn_im.hardware_revision", "I&M0 hardware revision"),
    field("pn_im.software_revision", "I&M0 software revision, as `V3.1.0`"),
    field("pn_im.device_type", "device type in the endpoint mapper's annotation"),
    field("pn_im.tag_function", "I&M1 tag function"),
    field("pn_im.tag_location", "I&M1 tag location"),
    field("pn_im.descriptor", "I&M3 descriptor"),
];

pub(super) const PORTS: &[u16] = &[34964];

const MEMORY: u8 = b'p';
const BLOCKS_MAX: usize = 64;

/// Interface UUIDs without their first field: IO device, controller and supervisor share them.
const PNIO: [u8; 12] = [0x6c, 0x97, 0x11, 0xd1, 0x82, 0x71, 0x00, 0xa0, 0x24, 0x42, 0xdf, 0x7d];
const ENDPOINT_MAPPER: [u8; 16] = [
    0xe1, 0xaf, 0x83, 0x08, 0x5d, 0x1f, 0x11, 0xc9, 0x91, 0xa4, 0x08, 0x00, 0x2b, 0x14, 0xa0, 0xfa,
];

struct Rpc<'a> {
    answer: bool,
    little: bool,
    interface: [u8; 16],
    operation: u16,
    body: &'a [u8],
}

impl Rpc<'_> {
    fn u32(&self, r: &mut Reader<'_>) -> Result<u32, Malformed> {
        if self.little { r.u32_le() } else { r.u32_be() }
    }

    fn u16(&self, r: &mut Reader<'_>) -> Result<u16, Malformed> {
        if self.little { r.u16_le() } else { r.u16_be() }
    }
}

fn rpc(bytes: &[u8]) -> Result<Option<Rpc<'_>>, Malformed> {
    let mut r = Reader::new(bytes);
    if r.u8()? != 4 {
        return Err(Malformed::NotMine);
    }
    let kind = r.u8()? & 0x1f;
    r.skip(2)?;
    let little = r.u8()? & 0x10 != 0;
    r.skip(3 + 16)?;
    let mut interface: [u8; 16] = r.array()?;
    if little && let [a, b, c, d, e, f, g, h, ..] = &mut interface {
        std::mem::swap(a, d);
        std::mem::swap(b, c);
        std::mem::swap(e, f);
        std::mem::swap(g, h);
    }
    if !interface.ends_with(&PNIO) && interface != ENDPOINT_MAPPER {
        return Err(Malformed::NotMine);
    }
    r.skip(16 + 12)?;
    let mut rpc = Rpc { answer: kind == 2, little, interface, operation: 0, body: &[] };
    rpc.operation = rpc.u16(&mut r)?;
    r.skip(4)?;
    let length = rpc.u16(&mut r)?;
    let fragment = rpc.u16(&mut r)?;
    r.skip(2)?;
    rpc.body = r.take_up_to(usize::from(length));
    // Only requests and answers, and of these the first fragment, begin with what is read here.
    Ok((matches!(kind, 0 | 2) && fragment == 0).then_some(rpc))
}

/// The interface's UUID is signature enough.
pub(super) fn probe(bytes: &[u8]) -> bool {
    matches!(rpc(bytes), Ok(Some(found)) if found.interface.ends_with(&PNIO))
}

/// Reads one PDU.
pub(super) fn datagram(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let Some(rpc) = rpc(bytes)? else {
        return Ok(());
    };
    if rpc.interface == ENDPOINT_MAPPER {
        return if rpc.answer { endpoints(&rpc, sink) } else { Ok(()) };
    }
    let mut r = Reader::new(rpc.body);
    // Maximum or status, length, and the array's maximum, offset and count.
    let first = rpc.u32(&mut r)?;
    r.skip(16)?;
    if rpc.answer && first != 0 {
        return Ok(());
    }
    blocks(&mut r, &rpc, sink)
}

/// PROFINET blocks: type, length with version, version, contents; always big-endian.
fn blocks(r: &mut Reader<'_>, rpc: &Rpc<'_>, sink: &mut dyn Sink) -> Outcome {
    let mut module = None;
    for _ in 0..BLOCKS_MAX {
        if r.len() < 6 {
            break;
        }
        let kind = r.u16_be()?;
        let length = usize::from(r.u16_be()?);
        r.skip(2)?;
        // Records of a user's own layout are no blocks: what follows a header may be anything.
        let Some(length) = length.checked_sub(2) else {
            break;
        };
        let mut body = Reader::new(r.take_up_to(length));
        match kind {
            0x0101 if !rpc.answer => connect_request(&mut body, sink)?,
            0x8101 if rpc.answer => sink.says("pn_im.role", "device"),
            // ARServerBlock: the device's own name.
            0x8106 => {
                let length = body.u16_be()?;
                sink.says("pn_im.station_name", name(body.take(usize::from(length))?));
            }
            0x0008 if !rpc.answer => return write_request(&mut body, sink),
            // The header of a read answer says which slot; the record follows as a block.
            0x8009 => {
                body.skip(2 + 16 + 4)?;
                module = Some((body.u16_be()?, body.u16_be()?));
            }
            0x0020 => im0(&mut body, &about(module), sink)?,
            0x0021 => {
                let about = about(module);
                sink.about(about.clone(), "pn_im.tag_function", name(body.take(32)?));
                sink.about(about, "pn_im.tag_location", name(body.take_up_to(22)));
            }
            0x0023 => sink.about(about(module), "pn_im.descriptor", name(body.take_up_to(54))),
            _ => {}
        }
    }
    Ok(())
}

/// Slot 0 is the interface module, the device itself; others sit in it.
fn about(module: Option<(u16, u16)>) -> About<'static> {
    match module {
        None | Some((0, _)) => About::Sender,
        Some((slot, _)) => About::Child { via: "pn-slot", key: Cow::Owned(format!("slot {slot}")) },
    }
}

/// ARBlockReq: the controller names itself.
fn connect_request(body: &mut Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    // Type, AR UUID, session key, MAC, object UUID, properties, time-out, port.
    body.skip(2 + 16 + 2 + 6 + 16 + 4 + 2 + 2)?;
    let length = body.u16_be()?;
    sink.says("pn_im.role", "controller");
    sink.says("pn_im.station_name", name(body.take(usize::from(length))?));
    Ok(())
}

/// IODWriteReq: records that rename a device or set its address are control.
fn write_request(body: &mut Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    body.skip(2 + 16 + 4 + 2 + 2 + 2)?;
    let index = body.u16_be()?;
    // I&M1 to I&M4 and factory reset are written by engineering tools, not by controllers.
    if (0xaff1..=0xaff4).contains(&index) && once(sink, key(MEMORY, b'e', 0)) {
        sink.event(About::Receiver, EventKind::ControlWrite, "PROFINET I&M record write");
    }
    Ok(())
}

/// I&M0 (IEC 61158-6-10, §5.2.3): identification.
fn im0(body: &mut Reader<'_>, about: &About<'static>, sink: &mut dyn Sink) -> Outcome {
    let vendor = body.u16_be()?;
    let order = name(body.take(20)?);
    let serial = name(body.take(16)?);
    let hardware = body.u16_be()?;
    let [prefix, major, minor, patch] = body.array()?;
    sink.about(about.clone(), "pn_im.vendor_id", format!("{vendor:04x}"));
    let maker = pn_vendors::name(vendor).unwrap_or_default();
    sink.about(about.clone(), "pn_im.vendor", maker);
    sink.about(about.clone(), "pn_im.order_id", order);
    sink.about(about.clone(), "pn_im.hardware_revision", hardware.to_string());
    if prefix.is_ascii_alphabetic() {
        let version = format!("{}{major}.{minor}.{patch}", char::from(prefix));
        sink.about(about.clone(), "pn_im.software_revision", version);
    }
    if serial.len() >= 6 && serial.bytes().any(|b| b != b'0' && b != b' ') {
        // As S7 says it, so that one device found by both is one.
        let scope =
            if vendor == 0x002a { "siemens".to_owned() } else { format!("pn:{vendor:04x}") };
        sink.about(about.clone(), "pn_im.serial", serial.as_ref());
        let value = format!("{scope}:{serial}");
        sink.identifier(about.clone(), "pn_im.serial", IdentifierKind::Serial, value);
    }
    Ok(())
}

/// The endpoint mapper's lookup answer: an annotation of 64 characters (IEC 61158-6-10, §4.10.3):
/// device type, order id, hardware revision, software revision in fixed columns.
fn endpoints(rpc: &Rpc<'_>, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(rpc.body);
    r.skip(20)?; // Handle.
    let count = rpc.u32(&mut r)?;
    r.skip(12)?; // The array's maximum, offset and count.
    if count == 0 {
        return Ok(());
    }
    r.skip(16 + 4 + 4)?; // Object, tower, annotation's offset.
    if rpc.u32(&mut r)? > 64 {
        return Err(Malformed::Invalid);
    }
    let annotation = r.take_up_to(64);
    let column = |from: usize, to: usize| name(annotation.get(from..to).unwrap_or_default());
    sink.says("pn_im.device_type", column(0, 25));
    sink.says("pn_im.order_id", column(26, 46));
    sink.says("pn_im.hardware_revision", column(47, 52));
    let numbers = [(54, 57), (57, 60), (60, 63)].map(|(from, to)| column(from, to));
    let prefix = column(53, 54);
    let digits = |n: &Cow<'_, str>| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    if numbers.iter().all(digits) && prefix.len() == 1 {
        sink.says("pn_im.software_revision", format!("{prefix}{}", numbers.join(".")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::ics::wire::tests::datagrams;
    use crate::testing::{hex, unhex};

    fn padded(value: &str, length: usize) -> String {
        let mut bytes = value.as_bytes().to_vec();
        bytes.resize(length, b' ');
        hex(&bytes)
    }

    /// A big-endian request (0) or answer (2).
    fn pdu(kind: u8, interface: &str, body: &str) -> String {
        let body = unhex(body);
        format!(
            "04 {kind:02x} 2000 000000 00 {} {interface} {} 00000000 00000001 00000000 0002 ffff ffff {:04x} 0000 00 00 {}",
            "00".repeat(16),
            "11".repeat(16),
            body.len(),
            hex(&body)
        )
    }

    const DEVICE: &str = "dea00001 6c97 11d1 8271 00a02442df7d";

    #[test]
    fn im0_is_the_module_in_its_slot() {
        let record = |slot: u8| {
            format!(
                "00000000 {} 8009 003c 0100 0001 {} 00000000 00{slot:02x} 0001 0000 aff0 0000003c {}
                 0020 0038 0100 002a {} {} 0003 56 03 01 00 0000 0000 0000 0101 000e",
                "00".repeat(16),
                "22".repeat(16),
                "00".repeat(24),
                padded("6ES7 155-6AU01-0BN0", 20),
                padded("S C-K5AF12345", 16),
            )
        };
        let facts = datagrams(datagram, 34964, &[(Role::Server, &pdu(2, DEVICE, &record(0)))]);
        let expect = [
            "sender says pn_im.vendor_id = 002a",
            "sender says pn_im.vendor = Siemens",
            "sender says pn_im.order_id = 6ES7 155-6AU01-0BN0",
            "sender says pn_im.hardware_revision = 3",
            "sender says pn_im.software_revision = V3.1.0",
            "sender says pn_im.serial = S C-K5AF12345",
            "sender is Serial siemens:S C-K5AF12345 (pn_im.serial)",
        ];
        assert_eq!(facts, Ok(expect.join("\n")));
        let facts = datagrams(datagram, 34964, &[(Role::Server, &pdu(2, DEVICE, &record(4)))]);
        assert!(facts.unwrap().lines().all(|l| l.starts_with("sender/pn-slot[slot 4]")));
    }

    #[test]
    fn a_connect_request_names_the_controller() {
        let body = format!(
            "{} 0101 0039 0100 0001 {} 0001 020000000001 {} 00000000 0258 8892 0003 706c63",
            "00".repeat(20),
            "33".repeat(16),
            "44".repeat(16),
        );
        let facts = datagrams(datagram, 34964, &[(Role::Client, &pdu(0, DEVICE, &body))]);
        let expect = "sender says pn_im.role = controller\nsender says pn_im.station_name = plc";
        assert_eq!(facts, Ok(expect.to_owned()));
    }

    #[test]
    fn the_endpoint_mapper_says_type_order_and_firmware() {
        let annotation = format!(
            "{} {} {} {} {}",
            padded("S7-1200", 26),
            padded("6ES7 212-1BE40-0XB0", 21),
            padded("    1", 6),
            padded("V", 1),
            padded("  4  2  3 ", 10)
        );
        let body = format!(
            "{} 00000001 00000001 00000000 00000001 {} 00000003 00000000 00000040 {annotation}",
            "00".repeat(20),
            "00".repeat(16)
        );
        let mapper = "e1af8308 5d1f 11c9 91a4 08002b14a0fa";
        let facts = datagrams(datagram, 34964, &[(Role::Server, &pdu(2, mapper, &body))]);
        let expect = [
            "sender says pn_im.device_type = S7-1200",
            "sender says pn_im.order_id = 6ES7 212-1BE40-0XB0",
            "sender says pn_im.hardware_revision = 1",
            "sender says pn_im.software_revision = V4.2.3",
        ];
        assert_eq!(facts, Ok(expect.join("\n")));
    }

    #[test]
    fn foreign_and_short_bytes() {
        let run = |hex: &str| datagrams(datagram, 34964, &[(Role::Server, hex)]);
        assert_eq!(run("05000b03"), Err(Malformed::NotMine));
        assert_eq!(run("0400"), Err(Malformed::Truncated));
        let other = pdu(0, "00000000 0000 0000 0000 000000000000", "");
        assert_eq!(run(&other), Err(Malformed::NotMine));
    }
}
