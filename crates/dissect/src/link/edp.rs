//! Extreme Networks' discovery protocol.

use model::Mac;

use crate::identity::own_mac;
use crate::{Ctx, Malformed, Outcome, Reader, Sink, text};

const TLVS_MAX: usize = 64;

/// Reports the switch: version 1, then marked TLVs until the null TLV.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    if r.u8()? != 1 {
        return Err(Malformed::NotMine);
    }
    r.skip(7)?; // reserved, length, checksum, sequence
    if r.u16_be()? == 0 {
        own_mac(sink, "edp.machine_mac", Mac(r.array()?));
    } else {
        r.skip(6)?;
    }
    for _ in 0..TLVS_MAX {
        if r.is_empty() {
            return Ok(());
        }
        if r.u8()? != 0x99 {
            return Err(Malformed::Invalid);
        }
        let kind = r.u8()?;
        let length = usize::from(r.u16_be()?).checked_sub(4).ok_or(Malformed::Invalid)?;
        let mut body = Reader::new(r.take(length)?);
        match kind {
            0 => return Ok(()),
            1 => sink.says("edp.display_name", text::c_string(body.rest())),
            2 => {
                let (slot, port) = (body.u16_be()?, body.u16_be()?);
                body.skip(8)?; // virtual chassis, reserved
                let [major, minor, fix, build] = body.array()?;
                let port = format!("{}/{}", u32::from(slot) + 1, u32::from(port) + 1);
                sink.says("edp.port", port);
                sink.says("edp.software_version", format!("{major}.{minor}.{fix}.{build}"));
            }
            _ => {}
        }
    }
    Err(Malformed::Limit)
}

#[cfg(test)]
mod tests {
    use super::run;
    use crate::Malformed;
    use crate::link::tests::check;
    use crate::testing::unhex;

    #[test]
    fn a_switch_says_name_port_and_version() {
        let frame = unhex(
            "01 00 003c 0000 0001 0000 00005e005301  # header, machine id
             99 02 0028 0000 0004 0000 000000000000 0c060201 ffffffff 00000000000000000000000000000000
             99 01 000b 73756d6d697400               # summit
             99 00 0004",
        );
        let expect = [
            "sender says edp.machine_mac = 00:00:5e:00:53:01",
            "sender is Mac 00:00:5e:00:53:01 (edp.machine_mac)",
            "sender says edp.port = 1/5",
            "sender says edp.software_version = 12.6.2.1",
            "sender says edp.display_name = summit",
        ];
        // Slot, port, virtual chassis and six reserved bytes precede the version.
        check(run, &frame, Ok(&expect));
        check(run, b"\x02", Err(Malformed::NotMine));
        check(run, &[&frame[..16], b"\x98"].concat(), Err(Malformed::Invalid));
    }
}
