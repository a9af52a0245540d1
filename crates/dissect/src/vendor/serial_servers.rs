//! Serial device servers: Lantronix (UDP 30718), Moxa (UDP 4800), Digi ADDP (UDP 2362).

use std::net::{IpAddr, Ipv4Addr};

use model::Mac;
use model::observation::EventKind;

use super::own_ip;
use crate::identity::own_mac;
use crate::{About, Ctx, Malformed, Outcome, Reader, Sink, text};

const TLVS_MAX: usize = 64;

/// Lantronix' 0x77fe protocol: three zeros and a command. 0xf7 answers 0xf6 in 30 bytes that end
/// with the MAC address; 0xf9 answers 0xf8 with setup record 0.
pub(super) fn run_lantronix(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if payload.len() < 4 || !payload.starts_with(&[0, 0, 0]) {
        return Err(Malformed::NotMine);
    }
    let mut r = Reader::new(payload);
    r.skip(3)?;
    match (r.u8()?, ctx.src.port) {
        (0xf7, 30718) if payload.len() == 30 => {
            r.skip(20)?;
            own_mac(sink, "lantronix.mac", Mac(r.array()?));
            Ok(())
        }
        (0xf9, 30718) => {
            // The console password, where one is set, is in bytes 12 to 15.
            r.skip(8)?;
            if r.array()? != [0; 4] {
                let detail = "console password in a Lantronix setup record";
                sink.event(About::Sender, EventKind::CleartextCredential, detail);
            }
            Ok(())
        }
        (0xfa, _) => {
            let detail = "Lantronix setup record written";
            sink.event(About::Receiver, EventKind::ControlWrite, detail);
            Ok(())
        }
        (0xf4..=0xff, _) => Ok(()),
        _ => Err(Malformed::NotMine),
    }
}

/// Moxa: direction and request, status, length, transaction, and in all answers a device id:
/// application id, hardware id, MAC address.
pub(super) fn run_moxa(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if payload.len() < 8 {
        return Err(Malformed::NotMine);
    }
    let mut r = Reader::new(payload);
    let (request, status) = (r.u8()?, r.u8()?);
    if usize::from(r.u16_be()?) != payload.len() {
        return Err(Malformed::NotMine);
    }
    r.skip(4)?;
    if request & 0x80 == 0 || ctx.src.port != 4800 || status != 0 || r.is_empty() {
        return Ok(());
    }
    r.skip(4)?;
    let model = r.u16_le()?;
    let mac = Mac(r.array()?);
    own_mac(sink, "moxa.mac", mac);
    sink.says("moxa.model_id", format!("{model:#06x}"));
    match request {
        0x81 | 0xa1 => own_ip(sink, IpAddr::V4(Ipv4Addr::from(r.array::<4>()?))),
        0x90 => sink.says("moxa.name", text::c_string(r.rest())),
        _ => {}
    }
    Ok(())
}

/// `DIGI` and a known command.
pub(super) fn probe_addp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"DIGI\0") && matches!(bytes.get(5), Some(1..=16))
}

/// ADDP: magic, command, length, TLVs of one-byte type and length. Command 2 answers a search.
pub(super) fn run_addp(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    const SEARCH_ANSWER: u16 = 2;
    if payload.len() < 8 {
        return Err(Malformed::NotMine);
    }
    let mut r = Reader::new(payload);
    if !matches!(&r.array()?, b"DIGI" | b"DVKT" | b"DGDP") {
        return Err(Malformed::NotMine);
    }
    let (command, length) = (r.u16_be()?, r.u16_be()?);
    if command != SEARCH_ANSWER {
        return Ok(());
    }
    let mut tlvs = Reader::new(r.take_up_to(usize::from(length)));
    for _ in 0..TLVS_MAX {
        if tlvs.is_empty() {
            return Ok(());
        }
        let (kind, length) = (tlvs.u8()?, tlvs.u8()?);
        let mut body = Reader::new(tlvs.take(usize::from(length))?);
        match kind {
            0x01 => own_mac(sink, "addp.mac", Mac(body.array()?)),
            0x02 => own_ip(sink, IpAddr::V4(Ipv4Addr::from(body.array::<4>()?))),
            0x04 => sink.says("addp.name", text::c_string(body.rest())),
            0x06 => sink.says("addp.hardware_type", body.u8()?.to_string()),
            0x07 => sink.says("addp.hardware_revision", body.u8()?.to_string()),
            0x08 => sink.says("addp.firmware", text::c_string(body.rest())),
            0x0d => sink.says("addp.device_name", text::c_string(body.rest())),
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
    fn lantronix_answers_with_its_mac_and_leaks_its_password() {
        let answer = [unhex("000000f7"), vec![7; 20], unhex("00005e005301")].concat();
        let expect = [
            "sender says lantronix.mac = 00:00:5e:00:53:01",
            "sender is Mac 00:00:5e:00:53:01 (lantronix.mac)",
        ];
        check(run_lantronix, (30718, 40000), &answer, Ok(&expect));
        check(run_lantronix, (40000, 30718), &unhex("000000f6"), Ok(&[]));
        let record = |password: &[u8]| {
            [&unhex("000000f9 c0000209 0000 0000")[..], password, &[0; 100]].concat()
        };
        let expect =
            ["sender event CleartextCredential: console password in a Lantronix setup record"];
        check(run_lantronix, (30718, 40000), &record(b"abcd"), Ok(&expect));
        check(run_lantronix, (30718, 40000), &record(&[0; 4]), Ok(&[]));
        check(run_lantronix, (30718, 40000), b"hello", Err(Malformed::NotMine));
    }

    #[test]
    fn moxa_answers_with_model_and_address() {
        let answer = unhex("81 00 0018 00000000 00555555 1a51 0090e8000001 c00002fe");
        let identity = [
            "sender says moxa.mac = 00:90:e8:00:00:01",
            "sender is Mac 00:90:e8:00:00:01 (moxa.mac)",
            "sender says moxa.model_id = 0x511a",
        ];
        let expect = [&identity[..], &["sender uses 192.0.2.254 (Stated)"]].concat();
        check(run_moxa, (4800, 40000), &answer, Ok(&expect));
        let name = unhex("90 00 0018 00000000 00555555 1a51 0090e8000001 6e703100");
        let expect = [&identity[..], &["sender says moxa.name = np1"]].concat();
        check(run_moxa, (4800, 40000), &name, Ok(&expect));
        check(run_moxa, (40000, 4800), &unhex("0100000800000000"), Ok(&[]));
        check(run_moxa, (4800, 40000), b"hello", Err(Malformed::NotMine));
    }

    #[test]
    fn digi_answers_a_search() {
        let answer = unhex(
            "44494749 0002 0020
             01 06 00005e005301
             02 04 c0000230
             0d 05 5053313a34          # PS1:4
             08 05 56312e3061
             10 00",
        );
        let expect = [
            "sender says addp.mac = 00:00:5e:00:53:01",
            "sender is Mac 00:00:5e:00:53:01 (addp.mac)",
            "sender uses 192.0.2.48 (Stated)",
            "sender says addp.device_name = PS1:4",
            "sender says addp.firmware = V1.0a",
        ];
        check(run_addp, (2362, 40000), &answer, Ok(&expect));
        let question = unhex("44494749 0001 0006 ffffffffffff");
        check(run_addp, (40000, 2362), &question, Ok(&[]));
        assert!(probe_addp(&question));
        check(run_addp, (2362, 40000), b"hello", Err(Malformed::NotMine));
    }
}
