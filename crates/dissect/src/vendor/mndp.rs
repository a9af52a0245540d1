//! UDP 5678: MikroTik's neighbour discovery, and iRobot's discovery that uses the same port.

use std::net::IpAddr;

use model::Mac;

use super::own_ip;
use crate::identity::{own_mac, own_mac_text};
use crate::scan::json;
use crate::{Ctx, Malformed, Outcome, Reader, Sink, text};

const TLVS_MAX: usize = 32;

/// MNDP: two reserved bytes, a sequence number, TLVs. A question is all zeros.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if payload.iter().all(|b| *b == 0) {
        return if (4..=9).contains(&payload.len()) { Ok(()) } else { Err(Malformed::NotMine) };
    }
    // Every announcement begins with the MAC address.
    if payload.get(4..8) != Some(&[0, 1, 0, 6]) {
        return Err(Malformed::NotMine);
    }
    let mut r = Reader::new(payload);
    r.skip(4)?;
    for _ in 0..TLVS_MAX {
        if r.is_empty() {
            return Ok(());
        }
        let (kind, length) = (r.u16_be()?, r.u16_be()?);
        let mut body = Reader::new(r.take(usize::from(length))?);
        match kind {
            1 => own_mac(sink, "mndp.mac", Mac(body.array()?)),
            5 => sink.says("mndp.identity", text::clean(body.rest())),
            7 => sink.says("mndp.version", text::clean(body.rest())),
            8 => sink.says("mndp.platform", text::clean(body.rest())),
            11 => sink.says("mndp.software_id", text::clean(body.rest())),
            12 => sink.says("mndp.board", text::clean(body.rest())),
            15 => own_ip(sink, IpAddr::from(body.array::<16>()?)),
            16 => sink.says("mndp.interface", text::clean(body.rest())),
            17 => own_ip(sink, IpAddr::from(body.array::<4>()?)),
            _ => {}
        }
    }
    Err(Malformed::Limit)
}

/// iRobot: the word `irobotmcs` asks, JSON with the robot's own data answers.
pub(super) fn run_irobot(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if payload == b"irobotmcs" {
        return Ok(());
    }
    if payload.first() != Some(&b'{') {
        return Err(Malformed::NotMine);
    }
    let mut lines: Vec<(&str, String)> = Vec::new();
    let (mut mac, mut ip, mut robot) = (String::new(), String::new(), false);
    json::walk(payload, &mut |path, value| match path {
        "hostname" => {
            robot = value.starts_with("Roomba-") || value.starts_with("iRobot-");
            lines.push(("roomba.hostname", value.to_owned()));
        }
        "robotname" => lines.push(("roomba.name", value.to_owned())),
        "sw" => lines.push(("roomba.software", value.to_owned())),
        "sku" => lines.push(("roomba.sku", value.to_owned())),
        "mac" => value.clone_into(&mut mac),
        "ip" => value.clone_into(&mut ip),
        _ => {}
    })
    .map_err(|_| Malformed::NotMine)?;
    if !robot {
        return Err(Malformed::NotMine);
    }
    for (field, value) in lines {
        sink.says(field, value);
    }
    own_mac_text(sink, "roomba.mac", &mac);
    if let Ok(ip) = ip.parse() {
        own_ip(sink, ip);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unhex;
    use crate::vendor::tests::check;

    #[test]
    fn a_router_announces_itself() {
        let message = unhex(
            "0000 1234
             0001 0006 00005e005301
             0005 0004 65646765              # edge
             0007 0006 362e34382e36          # 6.48.6
             0008 0008 4d696b726f54696b
             000a 0004 01000000              # uptime
             000b 0009 414243442d45464748    # ABCD-EFGH
             000c 0005 5242393630
             000f 0010 fe800000000000000000000000000001
             0010 0006 657468657231
             0011 0004 c0000201",
        );
        let expect = [
            "sender says mndp.mac = 00:00:5e:00:53:01",
            "sender is Mac 00:00:5e:00:53:01 (mndp.mac)",
            "sender says mndp.identity = edge",
            "sender says mndp.version = 6.48.6",
            "sender says mndp.platform = MikroTik",
            "sender says mndp.software_id = ABCD-EFGH",
            "sender says mndp.board = RB960",
            "sender uses fe80::1 (Stated)",
            "sender says mndp.interface = ether1",
            "sender uses 192.0.2.1 (Stated)",
        ];
        check(run, (5678, 5678), &message, Ok(&expect));
        check(run, (5678, 5678), &[0; 4], Ok(&[]));
        check(run, (5678, 5678), b"irobotmcs", Err(Malformed::NotMine));
    }

    #[test]
    fn a_robot_answers() {
        let answer = br#"{"ver":"3","hostname":"Roomba-3193C60011223344","robotname":"Dusty",
            "ip":"192.0.2.40","mac":"00:00:5E:00:53:40","sw":"v2.4.8-44","sku":"R980040","nc":0}"#;
        let expect = [
            "sender says roomba.hostname = Roomba-3193C60011223344",
            "sender says roomba.name = Dusty",
            "sender says roomba.software = v2.4.8-44",
            "sender says roomba.sku = R980040",
            "sender says roomba.mac = 00:00:5e:00:53:40",
            "sender is Mac 00:00:5e:00:53:40 (roomba.mac)",
            "sender uses 192.0.2.40 (Stated)",
        ];
        check(run_irobot, (5678, 40000), answer, Ok(&expect));
        check(run_irobot, (40000, 5678), b"irobotmcs", Ok(&[]));
        check(run_irobot, (5678, 40000), br#"{"hostname":"x"}"#, Err(Malformed::NotMine));
    }
}
