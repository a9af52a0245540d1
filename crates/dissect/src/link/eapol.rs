//! EAP over LAN (IEEE 802.1X): who asks for access, and Wi-Fi key handshakes.

use crate::{Ctx, Malformed, Outcome, Reader, Sink, text};

/// 802.1X §11.3: version, type, length, body. Keys are never looked at.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    if !matches!(r.u8()?, 1..=3) {
        return Err(Malformed::NotMine);
    }
    let (kind, length) = (r.u8()?, r.u16_be()?);
    let word = match kind {
        0 => "eap",
        1 => "start",
        2 => "logoff",
        3 => "key",
        4 => "asf",
        5 => "mka",
        6 | 7 => "announcement",
        _ => return Err(Malformed::Invalid),
    };
    sink.says("eapol.type", word);
    if kind == 0 {
        eap(Reader::new(r.take_up_to(usize::from(length))), sink)?;
    }
    Ok(())
}

/// RFC 3748 §4: only responses speak about their sender.
fn eap(mut r: Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    const RESPONSE: u8 = 2;
    let code = r.u8()?;
    r.skip(1)?; // identifier
    let length = usize::from(r.u16_be()?).checked_sub(4).ok_or(Malformed::Invalid)?;
    if code != RESPONSE {
        return Ok(());
    }
    let mut data = Reader::new(r.take(length)?);
    let method = match data.u8()? {
        1 => {
            sink.says("eapol.identity", text::clean(data.rest()));
            ""
        }
        4 => "md5",
        13 => "tls",
        17 => "leap",
        18 => "sim",
        21 => "ttls",
        23 => "aka",
        25 => "peap",
        26 | 29 => "mschapv2",
        43 => "fast",
        50 => "aka-prime",
        52 => "pwd",
        55 => "teap",
        _ => "",
    };
    sink.says("eapol.method", method);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::tests::check;
    use crate::testing::unhex;

    #[test]
    fn a_supplicant_answers_with_its_identity_and_method() {
        let frame = unhex("01 00 000b 02 07 000b 01 74696c6c2d34");
        let expect = ["sender says eapol.type = eap", "sender says eapol.identity = till-4"];
        check(run, &frame, Ok(&expect));
        let frame = unhex("02 00 0006 02 08 0006 0d 00");
        let expect = ["sender says eapol.type = eap", "sender says eapol.method = tls"];
        check(run, &frame, Ok(&expect));
    }

    #[test]
    fn an_authenticators_request_names_nobody() {
        check(run, &unhex("01 00 0005 01 07 0005 01"), Ok(&["sender says eapol.type = eap"]));
        check(run, &unhex("02 03 005f 0200"), Ok(&["sender says eapol.type = key"]));
    }

    #[test]
    fn broken_frames_are_refused() {
        check(run, &unhex("09 00 0000"), Err(Malformed::NotMine));
        check(run, &unhex("01 44 0000"), Err(Malformed::Invalid));
        check(run, &unhex("01 00 0004 02 07 0002"), Err(Malformed::Invalid));
        check(run, &unhex("01 00 000b 02 07 00ff 01"), Err(Malformed::Truncated));
    }
}
