//! eQ-3: MAX! cubes (UDP 23272) and HomeMatic central units and gateways (UDP 43439) answer a
//! search with type, serial number and firmware.

use model::observation::IdentifierKind;

use crate::{About, Ctx, Malformed, Outcome, Reader, Sink, text};

/// 26 bytes: name, serial of ten letters, request id and `I`, radio address, firmware in BCD. A
/// question is shorter and has another name.
pub(super) fn run_max(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let Some(answer) = payload.strip_prefix(b"eQ3MaxAp") else {
        let question = payload.starts_with(b"eQ3Max*");
        return if question { Ok(()) } else { Err(Malformed::NotMine) };
    };
    let mut r = Reader::new(answer);
    let serial = text::clean(r.take(10)?);
    r.skip(6)?;
    let [high, low] = r.array()?;
    sink.says("eq3.type", "eQ3MaxAp");
    says_serial(&serial, sink);
    let digits = [high >> 4, high & 15, low >> 4, low & 15];
    let version: Vec<String> = digits.iter().skip_while(|d| **d == 0).map(u8::to_string).collect();
    sink.says("eq3.firmware", version.join("."));
    Ok(())
}

/// Version, sender, counter, type and serial as C strings. An answer goes on with `>`, the
/// question's code and a result; to the question `I` it is the firmware.
pub(super) fn run_homematic(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let Some(rest) = payload.get(5..).filter(|rest| rest.starts_with(b"eQ3-")) else {
        return Err(Malformed::NotMine);
    };
    let mut parts = rest.splitn(3, |b| *b == 0);
    let (Some(kind), Some(serial), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Malformed::Truncated);
    };
    let Some(firmware) = rest.strip_prefix(b">I\0") else {
        return Ok(());
    };
    sink.says("eq3.type", text::clean(kind));
    says_serial(&text::clean(serial), sink);
    sink.says("eq3.firmware", text::c_string(firmware));
    Ok(())
}

fn says_serial(serial: &str, sink: &mut dyn Sink) {
    if serial.len() >= 6 && serial.bytes().all(|b| b.is_ascii_alphanumeric()) {
        let value = format!("eq-3/{serial}");
        sink.identifier(About::Sender, "eq3.serial", IdentifierKind::Serial, value);
        sink.says("eq3.serial", serial.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::tests::check;

    #[test]
    fn a_cube_answers() {
        let answer = b"eQ3MaxApKEQ0000001>I\0\x01\x02\x03\x01\x13";
        let expect = [
            "sender says eq3.type = eQ3MaxAp",
            "sender is Serial eq-3/KEQ0000001 (eq3.serial)",
            "sender says eq3.serial = KEQ0000001",
            "sender says eq3.firmware = 1.1.3",
        ];
        check(run_max, (23272, 23272), answer, Ok(&expect));
        check(run_max, (40000, 23272), b"eQ3Max*\0**********I", Ok(&[]));
        check(run_max, (23272, 40000), b"eQ3MaxApKEQ", Err(Malformed::Truncated));
        check(run_max, (23272, 40000), b"hello", Err(Malformed::NotMine));
    }

    #[test]
    fn a_gateway_answers() {
        let answer = b"\x02\x8f\x91\xc0\x01eQ3-HM-LGW\0KEQ0000002\0>I\x001.1.5\0";
        let expect = [
            "sender says eq3.type = eQ3-HM-LGW",
            "sender is Serial eq-3/KEQ0000002 (eq3.serial)",
            "sender says eq3.serial = KEQ0000002",
            "sender says eq3.firmware = 1.1.5",
        ];
        check(run_homematic, (43439, 40000), answer, Ok(&expect));
        let question = b"\x02\x8f\x91\xc0\x01eQ3-*\0*\0I";
        check(run_homematic, (40000, 43439), question, Ok(&[]));
        check(run_homematic, (40000, 43439), b"\0\0\0\0\0eQ3-*", Err(Malformed::Truncated));
        check(run_homematic, (40000, 43439), b"hello", Err(Malformed::NotMine));
    }
}
