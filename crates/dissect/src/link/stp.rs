//! Spanning tree (IEEE 802.1D, 802.1w, 802.1s, Cisco PVST+): ports of one bridge share a bridge id.

use model::Mac;
use model::observation::IdentifierKind;

use crate::{About, Ctx, Malformed, Outcome, Reader, Sink};

/// IEEE spanning tree behind LLC.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    bpdu(payload, None, sink)
}

/// Cisco's instance per VLAN behind SNAP: the same format.
pub(super) fn run_pvst(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    bpdu(payload, Some("pvst"), sink)
}

/// 802.1D §9.3. The *root* id travels through every bridge and says nothing about the sender; the
/// *bridge* id is the sender's own. In an MST BPDU the first bridge id is the regional root's, the
/// sender's own comes after the configuration digest (802.1Q §14.4).
fn bpdu(payload: &[u8], variant: Option<&'static str>, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    if r.u16_be()? != 0 {
        return Err(Malformed::NotMine);
    }
    let version = r.u8()?;
    match r.u8()? {
        0x80 => return Ok(()), // topology change notification: nothing inside
        0 | 2 => {}
        _ => return Err(Malformed::Invalid),
    }
    r.skip(1)?; // flags
    let root = r.u64_be()?;
    r.skip(4)?; // root path cost
    let mut bridge = r.u64_be()?;
    if version >= 3 {
        r.skip(10)?; // port, message age, maximum age, hello time, forward delay
        r.skip(3 + 51 + 4)?; // version 1 and 3 lengths, configuration, internal cost
        bridge = r.u64_be()?;
    }
    let [_, _, mac @ ..] = bridge.to_be_bytes();
    let mac = Mac(mac);
    if !mac.is_unicast() {
        return Err(Malformed::Invalid);
    }
    let name = match version {
        0 | 1 => "stp",
        2 => "rstp",
        _ => "mstp",
    };
    sink.says("stp.version", variant.unwrap_or(name));
    sink.identifier(About::Sender, "stp.bridge", IdentifierKind::Bridge, mac.to_string());
    sink.says("stp.bridge", mac.to_string());
    if root == bridge {
        sink.says("stp.is_root", "yes");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::tests::check;
    use crate::testing::unhex;

    #[test]
    fn the_bridge_id_is_the_senders_not_the_root_id() {
        let frame = unhex(
            "0000 02 02 3c
             8000 00005e005301  00000013   # root, cost
             8003 00005e005380  8001       # bridge, port
             0000 1400 0200 0f00 00",
        );
        let expect = |name: &'static str| {
            [
                format!("sender says stp.version = {name}"),
                "sender is Bridge 00:00:5e:00:53:80 (stp.bridge)".to_owned(),
                "sender says stp.bridge = 00:00:5e:00:53:80".to_owned(),
            ]
        };
        let lines = expect("rstp");
        check(run, &frame, Ok(&lines.each_ref().map(String::as_str)));
        let lines = expect("pvst");
        check(run_pvst, &frame, Ok(&lines.each_ref().map(String::as_str)));
    }

    #[test]
    fn a_multiple_spanning_tree_bridge_is_found_behind_the_digest() {
        let frame = [
            unhex(
                "0000 03 02 7c 8000 00005e005301 00000000 8000 00005e005301 8001 0000140002000f00",
            ),
            unhex("00 0040"),
            vec![0; 51],
            unhex("00000000 8000 00005e005399 14"),
        ]
        .concat();
        let expect = [
            "sender says stp.version = mstp",
            "sender is Bridge 00:00:5e:00:53:99 (stp.bridge)",
            "sender says stp.bridge = 00:00:5e:00:53:99",
        ];
        check(run, &frame, Ok(&expect));
    }

    #[test]
    fn the_root_says_so_and_notifications_say_nothing() {
        let frame = unhex("0000 00 00 00 8000 00005e005301 00000000 8000 00005e005301 8001");
        let expect = [
            "sender says stp.version = stp",
            "sender is Bridge 00:00:5e:00:53:01 (stp.bridge)",
            "sender says stp.bridge = 00:00:5e:00:53:01",
            "sender says stp.is_root = yes",
        ];
        check(run, &frame, Ok(&expect));
        check(run, &unhex("0000 00 80"), Ok(&[]));
        check(run, &unhex("0000 00 77"), Err(Malformed::Invalid));
        check(run, &unhex("0001 00 00"), Err(Malformed::NotMine));
    }
}
