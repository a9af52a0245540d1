//! PPPP, the peer-to-peer protocol of inexpensive cameras (CS2, Yunni, TNP): the camera's id.

use super::own_id;
use crate::{Ctx, Malformed, Outcome, Reader, Sink};

/// Port that cameras listen on for searches in the local network.
const LAN_PORT: u16 = 32108;

/// A message whose id has the right shape.
pub(super) fn probe(bytes: &[u8]) -> bool {
    message(bytes).is_ok_and(|(_, uid)| uid.is_some())
}

/// A message is the camera's own when it logs in (0x10) or announces itself (0x31), and when it
/// answers a search from the search port (0x41, 0x42). Apps send the id of the camera they want.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let (kind, uid) = message(payload)?;
    let own =
        matches!(kind, 0x10 | 0x31) || (matches!(kind, 0x41 | 0x42) && ctx.src.port == LAN_PORT);
    if let Some(uid) = uid.filter(|_| own) {
        sink.says("p2p.uid_prefix", uid.prefix.to_owned());
        let id = format!("{}-{:06}-{}", uid.prefix, uid.serial, uid.check);
        own_id(sink, "p2p.uid", "p2p", &id);
    }
    Ok(())
}

struct Uid<'a> {
    prefix: &'a str,
    serial: u32,
    check: &'a str,
}

/// Magic, type, length, body.
fn message(bytes: &[u8]) -> Result<(u8, Option<Uid<'_>>), Malformed> {
    let mut r = Reader::new(bytes);
    if bytes.len() < 4 || r.u8()? != 0xf1 {
        return Err(Malformed::NotMine);
    }
    let kind = r.u8()?;
    if usize::from(r.u16_be()?) != r.len() {
        return Err(Malformed::NotMine);
    }
    let has_uid = matches!(kind, 0x10 | 0x20 | 0x31 | 0x41 | 0x42);
    Ok((kind, if has_uid { uid(r) } else { None }))
}

/// Eight bytes of prefix, a number, eight bytes of check letters; letters end with NUL.
fn uid(mut r: Reader<'_>) -> Option<Uid<'_>> {
    let prefix = letters(r.take(8).ok()?)?;
    let serial = r.u32_be().ok()?;
    let check = letters(r.take(8).ok()?)?;
    Some(Uid { prefix, serial, check })
}

fn letters(field: &[u8]) -> Option<&str> {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    let (text, padding) = field.split_at_checked(end)?;
    let shaped = text.len() >= 3
        && text.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        && padding.iter().all(|b| *b == 0);
    std::str::from_utf8(text).ok().filter(|_| shaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unhex;
    use crate::vendor::tests::check;

    const UID: &str = "5445535450510000 000001c8 4142434445000000"; // TESTPQ-000456-ABCDE

    #[test]
    fn a_camera_announces_its_id_and_an_app_asks_for_it() {
        let expect = [
            "sender says p2p.uid_prefix = TESTPQ",
            "sender says p2p.uid = TESTPQ-000456-ABCDE",
            "sender is VendorId p2p:TESTPQ-000456-ABCDE (p2p.uid)",
        ];
        let notify = unhex(&format!("f1 31 0014 {UID}"));
        check(run, (25508, LAN_PORT), &notify, Ok(&expect));
        assert!(probe(&notify));
        let punch = unhex(&format!("f1 41 0014 {UID}"));
        check(run, (LAN_PORT, 40000), &punch, Ok(&expect));
        check(run, (40000, 40001), &punch, Ok(&[]));
        check(run, (40000, 32100), &unhex(&format!("f1 20 0014 {UID}")), Ok(&[]));
    }

    #[test]
    fn encrypted_and_foreign_messages_are_not_ids() {
        check(run, (40000, 32100), &unhex("f1 14 0004 01020304"), Ok(&[]));
        check(run, (40000, 32100), &unhex("f1 31 0040 00"), Err(Malformed::NotMine));
        check(run, (40000, 32100), b"hello", Err(Malformed::NotMine));
        assert!(!probe(&unhex("f1 31 0014 ffffffffffffffff 00000000 0000000000000000")));
    }
}
