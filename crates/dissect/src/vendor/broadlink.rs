//! BroadLink discovery (UDP 80).

use model::Mac;

use crate::identity::own_mac;
use crate::{Ctx, Malformed, Outcome, Reader, Sink, text};

/// Fixed layout: checksum at 0x20, command at 0x26 (6 asks, 7 answers), device type at 0x34, MAC
/// address from its last byte at 0x3a, name at 0x40.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if payload.len() < 0x80 || ctx.src.port != 80 {
        return Err(Malformed::NotMine);
    }
    let mut r = Reader::new(payload);
    r.skip(0x20)?;
    let checksum = r.u16_le()?;
    r.skip(4)?;
    let command = r.u8()?;
    r.skip(0x34 - 0x27)?;
    let device_type = r.u16_le()?;
    r.skip(4)?;
    let [a, b, c, d, e, f] = r.array()?;
    let mac = Mac([f, e, d, c, b, a]);
    // Port 80 is anybody's: the checksum must be right or the MAC address the sender's.
    let proven = sum(payload) == checksum || mac == ctx.src.mac;
    if command != 7 || !proven {
        return Err(Malformed::NotMine);
    }
    own_mac(sink, "broadlink.mac", mac);
    sink.says("broadlink.type", format!("{device_type:#06x}"));
    sink.says("broadlink.name", text::c_string(r.rest()));
    Ok(())
}

/// The sum of all bytes but the checksum's own, from 0xbeaf.
fn sum(bytes: &[u8]) -> u16 {
    let own = |i: &usize| (0x20..0x22).contains(i);
    let counted = bytes.iter().enumerate().filter(|(i, _)| !own(i));
    counted.fold(0xbeaf, |sum: u16, (_, b)| sum.wrapping_add(u16::from(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::tests::check;

    fn answer() -> Vec<u8> {
        let mut bytes = vec![0; 0x80];
        bytes[0x26] = 7;
        bytes[0x34..0x36].copy_from_slice(&[0x37, 0x27]);
        bytes[0x3a..0x40].copy_from_slice(&[1, 0x53, 0, 0x5e, 0, 0]);
        bytes[0x40..0x46].copy_from_slice(b"remote");
        let checksum = sum(&bytes).to_le_bytes();
        bytes[0x20..0x22].copy_from_slice(&checksum);
        bytes
    }

    #[test]
    fn an_answer_with_the_right_checksum_counts() {
        let expect = [
            "sender says broadlink.mac = 00:00:5e:00:53:01",
            "sender is Mac 00:00:5e:00:53:01 (broadlink.mac)",
            "sender says broadlink.type = 0x2737",
            "sender says broadlink.name = remote",
        ];
        check(run, (80, 40000), &answer(), Ok(&expect));
        check(run, (40000, 80), &answer(), Err(Malformed::NotMine));
        let mut wrong = answer();
        wrong[0x20] ^= 1;
        check(run, (80, 40000), &wrong, Err(Malformed::NotMine));
    }
}
