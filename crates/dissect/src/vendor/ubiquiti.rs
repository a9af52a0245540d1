//! Ubiquiti discovery (UDP 10001), versions 1 and 2.

use std::net::{IpAddr, Ipv4Addr};

use model::Mac;

use super::own_ip;
use crate::identity::own_mac;
use crate::{Ctx, Malformed, Outcome, Reader, Sink, text};

const TLVS_MAX: usize = 64;

/// Version, command, length, TLVs. A question is an empty version 1 message or command 8 of
/// version 2; answers and announcements carry their sender's own data.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if payload.len() < 4 {
        return Err(Malformed::NotMine);
    }
    let mut r = Reader::new(payload);
    let [version, command] = r.array()?;
    let length = usize::from(r.u16_be()?);
    match (version, command) {
        (1, 0) if r.len() >= length => {}
        (2, 6 | 9 | 11) if r.len() >= length => {}
        (2, 8 | 10) | (1, 1..) => return Ok(()),
        _ => return Err(Malformed::NotMine),
    }
    let mut tlvs = Reader::new(r.take(length)?);
    for _ in 0..TLVS_MAX {
        if tlvs.is_empty() {
            return Ok(());
        }
        let kind = tlvs.u8()?;
        let length = tlvs.u16_be()?;
        let mut body = Reader::new(tlvs.take(usize::from(length))?);
        match kind {
            0x01 => own_mac(sink, "ubnt.mac", Mac(body.array()?)),
            0x02 => {
                own_mac(sink, "ubnt.mac", Mac(body.array()?));
                own_ip(sink, IpAddr::V4(Ipv4Addr::from(body.array::<4>()?)));
            }
            0x03 => sink.says("ubnt.firmware", text::c_string(body.rest())),
            0x0b => sink.says("ubnt.hostname", text::c_string(body.rest())),
            0x0c => sink.says("ubnt.platform", text::c_string(body.rest())),
            0x0d => sink.says("ubnt.essid", text::c_string(body.rest())),
            0x13 => own_mac(sink, "ubnt.mac", Mac(body.array()?)),
            0x14 | 0x15 => sink.says("ubnt.model", text::c_string(body.rest())),
            0x16 => sink.says("ubnt.version", text::c_string(body.rest())),
            _ => {}
        }
    }
    Err(Malformed::Limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unhex;
    use crate::vendor::tests::check;

    #[test]
    fn only_answers_name_the_sender() {
        let answer = unhex(
            "01 00 0038
             02 000a 00005e005301 c0000214
             03 0009 58572e76362e312e30      # XW.v6.1.0
             0b 0005 6c6f626279              # lobby
             0c 0003 4e4235                  # NB5
             0d 0004 73686f70
             14 0007 4e616e6f424541",
        );
        let expect = [
            "sender says ubnt.mac = 00:00:5e:00:53:01",
            "sender is Mac 00:00:5e:00:53:01 (ubnt.mac)",
            "sender uses 192.0.2.20 (Stated)",
            "sender says ubnt.firmware = XW.v6.1.0",
            "sender says ubnt.hostname = lobby",
            "sender says ubnt.platform = NB5",
            "sender says ubnt.essid = shop",
            "sender says ubnt.model = NanoBEA",
        ];
        check(run, (10001, 40000), &answer, Ok(&expect));
        check(run, (40000, 10001), &unhex("01000000"), Ok(&[]));
        check(run, (40000, 10001), &unhex("02080000"), Ok(&[]));
        let v2 = unhex("02 06 000d 15 0005 555352414d 16 0002 3530");
        let expect = ["sender says ubnt.model = USRAM", "sender says ubnt.version = 50"];
        check(run, (10001, 40000), &v2, Ok(&expect));
    }

    #[test]
    fn foreign_and_short_messages_are_refused() {
        check(run, (10001, 1), b"GET / HTTP", Err(Malformed::NotMine));
        check(run, (10001, 1), &unhex("01000005 03 0009 41 41"), Err(Malformed::Truncated));
    }
}
