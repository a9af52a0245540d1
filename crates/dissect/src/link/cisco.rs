//! Small protocols of Cisco switches: UDLD (RFC 5171), DTP and VTP.

use model::observation::IdentifierKind;

use crate::{About, Ctx, Malformed, Outcome, Reader, Sink, text};

const TLVS_MAX: usize = 32;

/// Unidirectional link detection (RFC 5171 §4): version and opcode, flags, checksum, TLVs.
pub(super) fn run_udld(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    if r.u8()? >> 5 != 1 {
        return Err(Malformed::NotMine);
    }
    r.skip(3)?;
    tlvs(r, sink, |kind, body, sink| match kind {
        1 => {
            let id = text::clean(body);
            let value = format!("udld:{id}");
            if id.len() >= 4 {
                sink.identifier(About::Sender, "udld.device_id", IdentifierKind::Chassis, value);
            }
            sink.says("udld.device_id", id);
        }
        2 => sink.says("udld.port", text::clean(body)),
        6 => sink.says("udld.device_name", text::clean(body)),
        _ => {}
    })
}

/// Dynamic trunking protocol: version 1, TLVs.
pub(super) fn run_dtp(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    if r.u8()? != 1 {
        return Err(Malformed::NotMine);
    }
    tlvs(r, sink, |kind, body, sink| {
        if kind == 1 {
            sink.says("dtp.domain", text::c_string(body));
        }
    })
}

/// VLAN trunking protocol: version, code, a byte of the code's own, domain of 32 bytes.
pub(super) fn run_vtp(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    if !matches!((r.u8()?, r.u8()?), (1..=3, 1..=4)) {
        return Err(Malformed::NotMine);
    }
    r.skip(1)?;
    let length = usize::from(r.u8()?);
    if length > 32 {
        return Err(Malformed::Invalid);
    }
    sink.says("vtp.domain", text::c_string(r.take(length)?));
    Ok(())
}

/// Type and length of two bytes each; the length counts both.
fn tlvs(
    mut r: Reader<'_>,
    sink: &mut dyn Sink,
    mut each: impl FnMut(u16, &[u8], &mut dyn Sink),
) -> Outcome {
    for _ in 0..TLVS_MAX {
        // Frames are padded with zeros to the minimum of Ethernet.
        if r.len() < 4 || r.rest().iter().all(|b| *b == 0) {
            return Ok(());
        }
        let kind = r.u16_be()?;
        let length = usize::from(r.u16_be()?).checked_sub(4).ok_or(Malformed::Invalid)?;
        each(kind, r.take(length)?, sink);
    }
    Err(Malformed::Limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::tests::check;
    use crate::testing::unhex;

    #[test]
    fn udld_names_chassis_and_port() {
        let frame = unhex(
            "21 01 ebfd                       # version 1, probe
             0001 000c 4142433132333435       # device id ABC12345
             0002 0007 476931                 # port Gi1
             0003 0008 00000000               # echo
             0006 0007 737731                 # device name sw1
             0000 0000",
        );
        let expect = [
            "sender is Chassis udld:ABC12345 (udld.device_id)",
            "sender says udld.device_id = ABC12345",
            "sender says udld.port = Gi1",
            "sender says udld.device_name = sw1",
        ];
        check(run_udld, &frame, Ok(&expect));
        check(run_udld, b"\x00\0\0\0", Err(Malformed::NotMine));
    }

    #[test]
    fn dtp_and_vtp_name_the_domain() {
        let dtp = unhex("01 0001 0009 706c616e74 0002 0005 04");
        check(run_dtp, &dtp, Ok(&["sender says dtp.domain = plant"]));
        check(run_dtp, &unhex("01 0001 0002"), Err(Malformed::Invalid));
        let vtp = [b"\x01\x01\x00\x05plant".to_vec(), vec![0; 27]].concat();
        check(run_vtp, &vtp, Ok(&["sender says vtp.domain = plant"]));
        check(run_vtp, b"\x01\x01\x00\x40", Err(Malformed::Invalid));
        check(run_vtp, b"\x09\x01\x00\x40", Err(Malformed::NotMine));
    }
}
