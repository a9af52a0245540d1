//! IGMP (RFC 1112, RFC 2236, RFC 3376): groups a host listens to, and who asks for them.

use std::net::Ipv4Addr;

use crate::{Ctx, Malformed, Outcome, Reader, Sink};

const RECORDS_MAX: usize = 64;

/// Reports joined groups; leaving one is not a fact about a device.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    let kind = r.u8()?;
    r.skip(3)?; // maximum response time, checksum
    match kind {
        0x11 => sink.says("igmp.querier", "igmp"),
        0x12 | 0x16 => group(r.array()?, sink),
        0x17 => {}
        0x22 => {
            r.skip(2)?;
            let records = usize::from(r.u16_be()?);
            for _ in 0..records.min(RECORDS_MAX) {
                let (kind, auxiliary, sources) = (r.u8()?, r.u8()?, r.u16_be()?);
                let address = r.array()?;
                r.skip((usize::from(sources) + usize::from(auxiliary)) * 4)?;
                if joins(kind, sources) {
                    group(address, sink);
                }
            }
        }
        _ => return Err(Malformed::NotMine),
    }
    Ok(())
}

/// Whether a group record means listening (RFC 3376 §4.2.12): exclude modes, or include modes
/// and allowed sources with at least one source.
pub(super) fn joins(kind: u8, sources: u16) -> bool {
    matches!(kind, 2 | 4) || (matches!(kind, 1 | 3 | 5) && sources > 0)
}

fn group(address: [u8; 4], sink: &mut dyn Sink) {
    let address = Ipv4Addr::from(address);
    if address.is_multicast() {
        sink.says("igmp.group", address.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::tests::check;
    use crate::testing::unhex;

    #[test]
    fn joined_groups_are_named() {
        let v2 = unhex("16 00 0000 e00000fb");
        check(run, &v2, Ok(&["sender says igmp.group = 224.0.0.251"]));
        let v3 = unhex(
            "22 00 0000 0000 0003
             04 00 0000 effffffa            # exclude nothing: join
             03 00 0000 e00000fc            # include nothing: leave
             06 00 0001 e00000fb c0000201   # block a source",
        );
        check(run, &v3, Ok(&["sender says igmp.group = 239.255.255.250"]));
        check(run, &unhex("11 64 0000 00000000"), Ok(&["sender says igmp.querier = igmp"]));
        check(run, &unhex("17 00 0000 e00000fb"), Ok(&[]));
        check(run, &unhex("22 00 0000 0000 0001 04"), Err(Malformed::Truncated));
        check(run, &unhex("99 00 0000"), Err(Malformed::NotMine));
    }
}
