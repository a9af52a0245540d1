//! Slow protocols (IEEE 802.3 annex 57A): link aggregation.

use model::Mac;

use crate::{Ctx, Malformed, Outcome, Reader, Sink};

/// LACP's actor; OAM and the rest are presence only. The system MAC is not reported as an
/// identifier: two chassis of a multi-chassis group use the same one.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    match r.u8()? {
        1 => {}
        2..=10 => return Ok(()),
        _ => return Err(Malformed::NotMine),
    }
    // 802.1AX §6.4.2.3: version, actor TLV of 20 bytes.
    r.skip(1)?;
    if r.array()? != [1, 20] {
        return Err(Malformed::Invalid);
    }
    r.skip(2)?; // system priority
    let mac = Mac(r.array()?);
    if mac.is_unicast() {
        sink.says("lacp.system", mac.to_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::tests::check;
    use crate::testing::unhex;

    #[test]
    fn the_actor_is_the_sender() {
        let frame = unhex("01 01 01 14 8000 00005e005301 0001 8000 0001 3d 000000");
        check(run, &frame, Ok(&["sender says lacp.system = 00:00:5e:00:53:01"]));
        check(run, &unhex("03 0050 00"), Ok(&[]));
        check(run, &unhex("01 01 02 14"), Err(Malformed::Invalid));
        check(run, &unhex("77"), Err(Malformed::NotMine));
    }
}
