//! LIFX LAN protocol (UDP 56700): lights answer with product, label and firmware.

use model::Mac;

use crate::identity::own_mac;
use crate::{Ctx, Malformed, Outcome, Reader, Sink, text};

/// Frame, frame address and protocol header (LIFX LAN protocol, "Packet contents").
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if payload.len() < 36 {
        return Err(Malformed::NotMine);
    }
    let mut r = Reader::new(payload);
    let size = usize::from(r.u16_le()?);
    // Protocol 1024 with the addressable bit.
    if r.u16_le()? & 0x1fff != 0x1400 || size < 36 || size > payload.len() {
        return Err(Malformed::NotMine);
    }
    r.skip(4)?; // source
    let target = Mac(r.array()?);
    r.skip(2 + 6 + 2 + 8)?; // rest of the target, reserved, flags and sequence, reserved
    let kind = r.u16_le()?;
    r.skip(2)?;
    let mut body = Reader::new(r.take(size - 36)?);
    // State messages come from lights only; all others are from apps and name a light.
    match kind {
        3 | 15 | 19 | 25 | 33 | 50 | 53 | 107 => own_mac(sink, "lifx.mac", target),
        _ => return Ok(()),
    }
    match kind {
        15 => {
            body.skip(16)?; // build, reserved
            let (minor, major) = (body.u16_le()?, body.u16_le()?);
            sink.says("lifx.firmware", format!("{major}.{minor}"));
        }
        25 => sink.says("lifx.label", text::c_string(body.take(32)?)),
        33 => {
            let (vendor, id) = (body.u32_le()?, body.u32_le()?);
            sink.says("lifx.vendor_id", vendor.to_string());
            sink.says("lifx.product_id", id.to_string());
            sink.says("lifx.product", if vendor == 1 { product(id) } else { "" });
        }
        53 => {
            body.skip(16)?;
            sink.says("lifx.group", text::c_string(body.take(32)?));
        }
        107 => {
            body.skip(12)?; // colour, reserved, power
            sink.says("lifx.label", text::c_string(body.take(32)?));
        }
        _ => {}
    }
    Ok(())
}

/// Common products of vendor 1.
fn product(id: u32) -> &'static str {
    match id {
        1 => "LIFX Original 1000",
        3 => "LIFX Color 650",
        10 | 11 => "LIFX White 800",
        15 | 22 => "LIFX Color 1000",
        18 | 19 => "LIFX White 900 BR30",
        20 => "LIFX Color 1000 BR30",
        27 | 43 => "LIFX A19",
        28 | 44 => "LIFX BR30",
        29 | 45 => "LIFX A19 Night Vision",
        30 | 46 => "LIFX BR30 Night Vision",
        31 | 32 => "LIFX Z",
        36 | 37 => "LIFX Downlight",
        38 => "LIFX Beam",
        49 | 59 => "LIFX Mini Color",
        50 | 60 => "LIFX Mini White to Warm",
        51 | 61 => "LIFX Mini White",
        52 => "LIFX GU10",
        55 => "LIFX Tile",
        57 | 68 => "LIFX Candle",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unhex;
    use crate::vendor::tests::check;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let size = u8::try_from(36 + body.len()).unwrap();
        let head = unhex("0014 04030201 00005e005301 0000 000000000000 00 07 0000000000000000");
        [&[size, 0], &head[..], &[kind, 0, 0, 0], body].concat()
    }

    const MAC: [&str; 2] =
        ["sender says lifx.mac = 00:00:5e:00:53:01", "sender is Mac 00:00:5e:00:53:01 (lifx.mac)"];

    #[track_caller]
    fn answers(kind: u8, body: &[u8], lines: &[&str]) {
        check(run, (56700, 56700), &message(kind, body), Ok(&[&MAC[..], lines].concat()));
    }

    #[test]
    fn a_light_answers() {
        let version = unhex("01000000 1b000000 00000000");
        let lines = [
            "sender says lifx.vendor_id = 1",
            "sender says lifx.product_id = 27",
            "sender says lifx.product = LIFX A19",
        ];
        answers(33, &version, &lines);
        answers(
            15,
            &unhex("0000000000000000 0000000000000000 4600 0300"),
            &["sender says lifx.firmware = 3.70"],
        );
        let label = [b"Till lamp".to_vec(), vec![0; 23]].concat();
        answers(25, &label, &["sender says lifx.label = Till lamp"]);
    }

    #[test]
    fn an_apps_question_names_somebody_else() {
        check(run, (40000, 56700), &message(32, &[]), Ok(&[]));
        check(run, (40000, 56700), &[0x24, 0, 0, 0, 1], Err(Malformed::NotMine));
        check(run, (56700, 40000), &message(33, &[1]), Err(Malformed::Truncated));
    }
}
