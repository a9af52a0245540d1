//! IEEE 1905.1: access points of a mesh and their Ethernet, Wi-Fi and power-line ports.

use model::Mac;

use crate::identity::own_mac;
use crate::{Ctx, Malformed, Outcome, Reader, Sink};

const TLVS_MAX: usize = 64;

/// Topology discovery (§6.3.1) is never relayed, so that its abstraction layer address is the
/// sender's own: one address for all its ports. Other messages may be somebody else's.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    const TOPOLOGY_DISCOVERY: u16 = 0;
    let mut r = Reader::new(payload);
    if r.array()? != [0, 0] {
        return Err(Malformed::NotMine);
    }
    let kind = r.u16_be()?;
    r.skip(4)?; // message id, fragment, flags
    if kind != TOPOLOGY_DISCOVERY {
        return Ok(());
    }
    for _ in 0..TLVS_MAX {
        if r.is_empty() {
            return Ok(());
        }
        let (kind, length) = (r.u8()?, r.u16_be()?);
        let mut body = Reader::new(r.take(usize::from(length))?);
        match kind {
            0 => return Ok(()),
            1 => own_mac(sink, "ieee1905.al_mac", Mac(body.array()?)),
            _ => {}
        }
    }
    Err(Malformed::Limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::tests::check;
    use crate::testing::unhex;

    #[test]
    fn only_a_discovery_is_certainly_the_senders() {
        let tlvs = "01 0006 00005e005301 02 0006 00005e005302 00 0000";
        let expect = [
            "sender says ieee1905.al_mac = 00:00:5e:00:53:01",
            "sender is Mac 00:00:5e:00:53:01 (ieee1905.al_mac)",
        ];
        check(run, &unhex(&format!("00 00 0000 0001 00 80 {tlvs}")), Ok(&expect));
        check(run, &unhex(&format!("00 00 0001 0001 00 80 {tlvs}")), Ok(&[]));
        check(run, &unhex("01 00"), Err(Malformed::NotMine));
    }
}
