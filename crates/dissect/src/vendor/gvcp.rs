//! GigE Vision control protocol (UDP 3956): industrial cameras answer a discovery with their
//! bootstrap registers.

use std::net::{IpAddr, Ipv4Addr};

use model::Mac;
use model::observation::IdentifierKind;

use super::own_ip;
use crate::identity::own_mac;
use crate::{About, Ctx, Malformed, Outcome, Reader, Sink, text};

/// A discovery acknowledgement: status, 0x0003, length 248, then the first registers (GigE Vision
/// 2.0 §16.2): addresses, maker, model, version, serial, the owner's name.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let is_command = payload.len() >= 8 && payload.first() == Some(&0x42);
    let is_answer = payload.len() >= 8 && ctx.src.port == 3956 && payload.get(2) == Some(&0);
    if !is_answer {
        return if is_command { Ok(()) } else { Err(Malformed::NotMine) };
    }
    if payload.get(..6) != Some(&[0, 0, 0, 3, 0, 248]) {
        return Ok(()); // register access
    }
    let mut r = Reader::new(payload);
    r.skip(8 + 10)?;
    own_mac(sink, "gvcp.mac", Mac(r.array()?));
    r.skip(20)?; // how it may and does get its address
    own_ip(sink, IpAddr::V4(Ipv4Addr::from(r.array::<4>()?)));
    r.skip(32)?; // mask, gateway
    let maker = text::c_string(r.take(32)?);
    sink.says("gvcp.manufacturer", maker.clone());
    sink.says("gvcp.model", text::c_string(r.take(32)?));
    sink.says("gvcp.version", text::c_string(r.take(32)?));
    r.skip(48)?;
    let serial = text::c_string(r.take(16)?);
    if serial.len() >= 4 && text::is_name(&serial) {
        let value = format!("{}/{serial}", maker.to_lowercase());
        sink.identifier(About::Sender, "gvcp.serial", IdentifierKind::Serial, value);
    }
    sink.says("gvcp.serial", serial);
    sink.says("gvcp.name", text::c_string(r.take(16)?));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unhex;
    use crate::vendor::tests::check;

    #[test]
    fn a_camera_answers_with_its_registers() {
        let mut answer = vec![0; 256];
        let mut put =
            |at: usize, bytes: &[u8]| answer[8 + at..][..bytes.len()].copy_from_slice(bytes);
        put(0x0a, &[0, 0, 0x5e, 0, 0x53, 1]);
        put(0x24, &[192, 0, 2, 30]);
        put(0x48, b"Acme Vision");
        put(0x68, b"AV-2040");
        put(0x88, b"1.4.2");
        put(0xd8, b"00123456");
        put(0xe8, b"gate 3");
        answer[..8].copy_from_slice(&[0, 0, 0, 3, 0, 248, 0, 1]);
        let expect = [
            "sender says gvcp.mac = 00:00:5e:00:53:01",
            "sender is Mac 00:00:5e:00:53:01 (gvcp.mac)",
            "sender uses 192.0.2.30 (Stated)",
            "sender says gvcp.manufacturer = Acme Vision",
            "sender says gvcp.model = AV-2040",
            "sender says gvcp.version = 1.4.2",
            "sender is Serial acme vision/00123456 (gvcp.serial)",
            "sender says gvcp.serial = 00123456",
            "sender says gvcp.name = gate 3",
        ];
        check(run, (3956, 40000), &answer, Ok(&expect));
        check(run, (40000, 3956), &unhex("42 01 0002 0000 0001"), Ok(&[]));
        check(run, (3956, 40000), &answer[..100], Err(Malformed::Truncated));
        check(run, (40000, 3956), b"hello", Err(Malformed::NotMine));
    }
}
