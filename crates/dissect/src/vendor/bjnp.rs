//! Canon BJNP and MFNP (UDP 8610 to 8614): printers and scanners answer a search with their MAC
//! address and a request for identity with an IEEE 1284 device id.

use model::Mac;

use crate::identity::own_mac;
use crate::{Ctx, Malformed, Outcome, Reader, Sink, text};

/// The two names of the protocol.
pub(super) fn probe(bytes: &[u8]) -> bool {
    (bytes.starts_with(b"BJNP") || bytes.starts_with(b"MFNP")) && bytes.len() >= 16
}

/// Name, device type (0x80 in answers), command, sequence, session, length, payload.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    const DISCOVER: u8 = 0x01;
    const IDENTITY: u8 = 0x30;
    if !probe(payload) {
        return Err(Malformed::NotMine);
    }
    let mut r = Reader::new(payload);
    r.skip(4)?;
    let [device, command] = r.array()?;
    r.skip(10)?;
    match (device & 0x80 != 0, command) {
        (true, DISCOVER) => {
            r.skip(4)?;
            let [mac_length, _] = r.array()?;
            if mac_length == 6 {
                own_mac(sink, "bjnp.mac", Mac(r.array()?));
            }
        }
        (true, IDENTITY) => {
            r.skip(2)?; // its length
            let id = text::clean(r.rest());
            for part in id.split(';') {
                match part.split_once(':') {
                    Some(("MFG", maker)) => sink.says("bjnp.manufacturer", maker.trim()),
                    Some(("MDL", model)) => sink.says("bjnp.model", model.trim()),
                    _ => {}
                }
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unhex;
    use crate::vendor::tests::check;

    #[test]
    fn a_printer_answers() {
        let discovered = unhex(
            "424a4e50 81 01 0000 0001 0000 00000010
             00010800 06 04 00005e005301 c0000205",
        );
        let expect = [
            "sender says bjnp.mac = 00:00:5e:00:53:01",
            "sender is Mac 00:00:5e:00:53:01 (bjnp.mac)",
        ];
        check(run, (8611, 40000), &discovered, Ok(&expect));
        let head = unhex("424a4e50 81 30 0000 0001 0000 00000030");
        let identity =
            [&head[..], b"\0\x30MFG:Canon;CMD:BJL;MDL:MX000 series;CLS:PRINTER;"].concat();
        let expect =
            ["sender says bjnp.manufacturer = Canon", "sender says bjnp.model = MX000 series"];
        check(run, (8611, 40000), &identity, Ok(&expect));
    }

    #[test]
    fn questions_say_nothing() {
        let question = unhex("424a4e50 01 01 0000 0001 0000 00000000");
        check(run, (40000, 8611), &question, Ok(&[]));
        check(run, (40000, 8611), b"BJNP", Err(Malformed::NotMine));
    }
}
