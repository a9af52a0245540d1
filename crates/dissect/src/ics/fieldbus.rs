//! Real-time Ethernet below IP: EtherCAT (IEC 61158-4-12) and Ethernet POWERLINK (EPSG DS 301).

use model::observation::IdentifierKind;

use super::wire::{key, name, once};
use crate::fields::{Field, field};
use crate::{About, Ctx, Malformed, Outcome, Reader, Sink};

pub(super) const FIELDS: &[Field] = &[
    field("ethercat.present", "`yes` for a sender of EtherCAT frames"),
    field("powerlink.node", "node id of the sender; 240 is the managing node"),
    field("powerlink.vendor_id", "vendor id of an identification answer, eight hex digits"),
    field("powerlink.product_code", "product code of an identification answer, eight hex digits"),
    field("powerlink.revision", "revision of an identification answer, eight hex digits"),
    field("powerlink.serial", "serial number of an identification answer, eight hex digits"),
    field("powerlink.hostname", "host name of an identification answer"),
];

const MEMORY: u8 = b'F';

/// EtherCAT: a header whose type is 1 (commands) and whose length is sensible.
pub(super) fn ethercat(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    let header = r.u16_le()?;
    let (length, kind) = (header & 0x07ff, header >> 12);
    if !matches!(kind, 1 | 4 | 5) || length == 0 {
        return Err(Malformed::NotMine);
    }
    if once(sink, key(MEMORY, b'e', 0)) {
        sink.says("ethercat.present", "yes");
    }
    Ok(())
}

/// POWERLINK: message type, destination and source node; ASnd frames carry identifications.
pub(super) fn powerlink(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    let kind = r.u8()? & 0x7f;
    r.skip(1)?;
    let source = r.u8()?;
    // SoC, PReq, PRes, SoA, ASnd, AMNI, AInv.
    if !matches!(kind, 1 | 3..=7 | 0x0d) || source == 0 {
        return Err(Malformed::NotMine);
    }
    if once(sink, key(MEMORY, b'p', u64::from(source))) {
        sink.says("powerlink.node", source.to_string());
    }
    // ASnd with service 1: IdentResponse.
    if kind == 6 && r.u8()? == 1 {
        return ident_response(&mut r, sink);
    }
    Ok(())
}

/// IdentResponse (DS 301, §7.3.3.2).
fn ident_response(r: &mut Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    // Flags, state, version, features, MTU, sizes, response time, device type.
    r.skip(2 + 1 + 1 + 1 + 1 + 4 + 2 + 2 + 2 + 4 + 2 + 4)?;
    let vendor = r.u32_le()?;
    let product = r.u32_le()?;
    let revision = r.u32_le()?;
    let serial = r.u32_le()?;
    sink.says("powerlink.vendor_id", format!("{vendor:08x}"));
    sink.says("powerlink.product_code", format!("{product:08x}"));
    sink.says("powerlink.revision", format!("{revision:08x}"));
    if serial != 0 {
        sink.says("powerlink.serial", format!("{serial:08x}"));
        let kind = IdentifierKind::Serial;
        let value = format!("powerlink:{vendor:08x}:{serial:08x}");
        sink.identifier(About::Sender, "powerlink.serial", kind, value);
    }
    // Extension, configuration and application dates and times, three addresses.
    r.skip(8 + 8 + 8 + 12)?;
    sink.says("powerlink.hostname", name(r.take_up_to(32)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of, unhex};

    fn check(
        run: fn(&[u8], &Ctx, &mut dyn Sink) -> Outcome,
        hex: &str,
        expect: Result<&[&str], Malformed>,
    ) {
        let facts = facts_of(run, &unhex(hex), &ctx(0, 0, Role::Unknown));
        assert_eq!(facts, expect.map(|lines| lines.join("\n")));
    }

    #[test]
    fn ethercat_frames() {
        check(ethercat, "0e10 0800 0000", Ok(&["sender says ethercat.present = yes"]));
        check(ethercat, "0e20 0800 0000", Err(Malformed::NotMine));
        check(ethercat, "0e", Err(Malformed::Truncated));
    }

    #[test]
    fn powerlink_identification() {
        let answer = format!(
            "06 f0 07 01 {} 5a000000 01000000 02000000 39300000 {} 506c6337",
            "00".repeat(26),
            "00".repeat(36)
        );
        check(
            powerlink,
            &answer,
            Ok(&[
                "sender says powerlink.node = 7",
                "sender says powerlink.vendor_id = 0000005a",
                "sender says powerlink.product_code = 00000001",
                "sender says powerlink.revision = 00000002",
                "sender says powerlink.serial = 00003039",
                "sender is Serial powerlink:0000005a:00003039 (powerlink.serial)",
                "sender says powerlink.hostname = Plc7",
            ]),
        );
        check(powerlink, "01 ff f0", Ok(&["sender says powerlink.node = 240"]));
        check(powerlink, "0b ff f0", Err(Malformed::NotMine));
    }
}
