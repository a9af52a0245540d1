//! IEC 61850-8-1 GOOSE and IEC 61850-9-2 sampled values: substation devices by control block.

use crate::scan::ber::{Element, element, unsigned};
use crate::{Ctx, Malformed, Outcome, Reader, Sink, text};

const ELEMENTS_MAX: usize = 32;
const ASDUS_MAX: usize = 16;

/// GOOSE (IEC 61850-8-1 annex A): APPID, length, two reserved words, then one BER sequence.
pub(super) fn run_goose(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let (app_id, mut pdu) = pdu(payload, 0x61)?;
    sink.says("goose.app_id", format!("{app_id:#06x}"));
    for _ in 0..ELEMENTS_MAX {
        if pdu.is_empty() {
            break;
        }
        let Element { tag, body: value } = element(&mut pdu)?;
        match tag {
            0x80 => sink.says("goose.gocb_ref", text::clean(value)),
            0x82 => sink.says("goose.dat_set", text::clean(value)),
            0x83 => sink.says("goose.go_id", text::clean(value)),
            0x87 if value != [0] => sink.says("goose.simulation", "yes"),
            0x88 => sink.says("goose.conf_rev", number(value)?.to_string()),
            0xab => break, // the values themselves come last
            _ => {}
        }
    }
    Ok(())
}

/// Sampled values (IEC 61850-9-2 §8.5): the same header, a sequence of ASDUs.
pub(super) fn run_sv(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let (app_id, mut pdu) = pdu(payload, 0x60)?;
    sink.says("sv.app_id", format!("{app_id:#06x}"));
    for _ in 0..ELEMENTS_MAX {
        if pdu.is_empty() {
            break;
        }
        let Element { tag, body: value } = element(&mut pdu)?;
        if tag == 0xa2 {
            asdus(Reader::new(value), sink)?;
        }
    }
    Ok(())
}

fn asdus(mut sequence: Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    for _ in 0..ASDUS_MAX {
        if sequence.is_empty() {
            break;
        }
        let Element { tag, body: value } = element(&mut sequence)?;
        if tag != 0x30 {
            return Err(Malformed::Invalid);
        }
        let mut asdu = Reader::new(value);
        for _ in 0..ELEMENTS_MAX {
            if asdu.is_empty() {
                break;
            }
            let Element { tag, body: value } = element(&mut asdu)?;
            match tag {
                0x80 => sink.says("sv.sv_id", text::clean(value)),
                0x81 => sink.says("sv.dat_set", text::clean(value)),
                0x83 => sink.says("sv.conf_rev", number(value)?.to_string()),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The common header; the outer sequence may be cut by a snap length.
fn pdu(payload: &[u8], tag: u32) -> Result<(u16, Reader<'_>), Malformed> {
    let mut r = Reader::new(payload);
    let app_id = r.u16_be()?;
    r.skip(6)?; // length, reserved
    if r.peek().map(u32::from) != Some(tag) {
        return Err(if r.is_empty() { Malformed::Truncated } else { Malformed::NotMine });
    }
    Ok((app_id, Reader::new(element(&mut r)?.body)))
}

fn number(body: &[u8]) -> Result<u64, Malformed> {
    unsigned(body).ok_or(Malformed::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::tests::check;
    use crate::testing::unhex;

    #[test]
    fn a_goose_message_names_its_control_block() {
        let frame = unhex(
            "0003 0049 0000 0000 61 2b
             80 07 494544312f4c4c      # IED1/LL
             81 02 07d0
             82 04 44533a31            # DS:1
             83 03 673031              # g01
             84 00 85 01 01 86 01 00 87 01 01
             88 02 0081 89 01 00",
        );
        let expect = [
            "sender says goose.app_id = 0x0003",
            "sender says goose.gocb_ref = IED1/LL",
            "sender says goose.dat_set = DS:1",
            "sender says goose.go_id = g01",
            "sender says goose.simulation = yes",
            "sender says goose.conf_rev = 129",
        ];
        check(run_goose, &frame, Ok(&expect));
    }

    #[test]
    fn sampled_values_name_their_stream() {
        let frame = unhex(
            "4000 0030 0000 0000 60 14
             80 01 01 a2 0f 30 0d 80 04 4d553031 82 02 0001 83 01 01",
        );
        let expect = [
            "sender says sv.app_id = 0x4000",
            "sender says sv.sv_id = MU01",
            "sender says sv.conf_rev = 1",
        ];
        check(run_sv, &frame, Ok(&expect));
    }

    #[test]
    fn broken_frames_are_refused() {
        check(run_goose, &unhex("0003 0049 0000 0000 60 00"), Err(Malformed::NotMine));
        check(run_goose, &unhex("0003 0049 0000 0000 61 85"), Err(Malformed::Invalid));
        check(run_goose, &unhex("0003 0049 0000 0000 61 02 80 09"), Err(Malformed::Truncated));
    }
}
