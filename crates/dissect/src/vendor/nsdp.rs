//! Netgear switch discovery protocol (UDP 63321 to 63324).

use std::net::{IpAddr, Ipv4Addr};

use model::Mac;
use model::observation::EventKind;

use super::own_ip;
use crate::identity::own_mac;
use crate::{About, Ctx, Malformed, Outcome, Reader, Sink, text};

const TLVS_MAX: usize = 128;

/// Version 1 and the letters NSDP.
pub(super) fn probe(bytes: &[u8]) -> bool {
    bytes.first() == Some(&1) && bytes.get(24..28) == Some(b"NSDP")
}

/// A header of 32 bytes with the addresses of manager and switch, then TLVs. Operation 2 answers
/// a read, 3 writes.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    const READ_ANSWER: u8 = 2;
    const WRITE: u8 = 3;
    if !probe(payload) {
        return Err(Malformed::NotMine);
    }
    let mut r = Reader::new(payload);
    r.skip(1)?;
    let operation = r.u8()?;
    r.skip(12)?; // result, reserved, manager
    let switch = Mac(r.array()?);
    r.skip(12)?; // reserved, sequence, signature, reserved
    if operation == READ_ANSWER {
        own_mac(sink, "nsdp.mac", switch);
    }
    for _ in 0..TLVS_MAX {
        if r.is_empty() {
            return Ok(());
        }
        let (kind, length) = (r.u16_be()?, r.u16_be()?);
        let body = Reader::new(r.take(usize::from(length))?);
        match (operation, kind) {
            (_, 0xffff) => return Ok(()),
            (READ_ANSWER, _) => describes(kind, body, sink)?,
            (WRITE, 0x000a) if switch.is_unicast() => {
                let detail = "switch password in NSDP, behind a fixed XOR at best";
                sink.event(About::Mac(switch), EventKind::CleartextCredential, detail);
            }
            _ => {}
        }
    }
    Err(Malformed::Limit)
}

fn describes(kind: u16, mut body: Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    match kind {
        0x0001 => sink.says("nsdp.model", text::c_string(body.rest())),
        0x0003 => sink.says("nsdp.name", text::c_string(body.rest())),
        0x0005 => sink.says("nsdp.location", text::c_string(body.rest())),
        0x0006 => own_ip(sink, IpAddr::V4(Ipv4Addr::from(body.array::<4>()?))),
        0x000d => sink.says("nsdp.firmware", text::c_string(body.rest())),
        0x7800 => {
            let serial = text::clean(body.rest());
            if text::is_name(&serial) {
                sink.says("nsdp.serial", serial);
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

    fn message(operation: &str, tlvs: &str) -> Vec<u8> {
        let head = "0000 00000000 0200000000ff 00005e005301 0000 0001 4e534450 00000000";
        unhex(&format!("01 {operation} {head} {tlvs}"))
    }

    #[test]
    fn a_switch_answers() {
        let tlvs = "0001 0006 475331303845 0003 0003 726163 0006 0004 c00002ef 000d 0004 312e3030 ffff 0000";
        let expect = [
            "sender says nsdp.mac = 00:00:5e:00:53:01",
            "sender is Mac 00:00:5e:00:53:01 (nsdp.mac)",
            "sender says nsdp.model = GS108E",
            "sender says nsdp.name = rac",
            "sender uses 192.0.2.239 (Stated)",
            "sender says nsdp.firmware = 1.00",
        ];
        check(run, (63322, 63321), &message("02", tlvs), Ok(&expect));
        check(run, (63321, 63322), &message("01", "0001 0000 ffff 0000"), Ok(&[]));
    }

    #[test]
    fn a_password_is_an_event_without_the_password() {
        let expect = ["00:00:5e:00:53:01 event CleartextCredential: \
                       switch password in NSDP, behind a fixed XOR at best"];
        check(run, (63321, 63322), &message("03", "000a 0004 70617373 ffff 0000"), Ok(&expect));
        check(run, (63321, 63322), b"hello", Err(Malformed::NotMine));
        check(run, (63322, 63321), &message("02", "0006 0004 c0"), Err(Malformed::Truncated));
    }
}
