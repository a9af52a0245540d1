//! ICMP (RFC 792): presence, and routers that send hosts elsewhere.

use std::net::Ipv4Addr;

use crate::{Ctx, Malformed, Outcome, Reader, Sink};

/// Types 0 to 18 and 40 to 43 are in use (IANA); a redirect is the only one that tells something.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    let kind = r.u8()?;
    r.skip(3)?; // code, checksum
    match kind {
        5 => {
            let gateway = Ipv4Addr::from(r.array::<4>()?);
            if gateway.is_unspecified() || gateway.is_multicast() || gateway.is_broadcast() {
                return Err(Malformed::Invalid);
            }
            sink.says("icmp.redirect", gateway.to_string());
            Ok(())
        }
        0..=18 | 40..=43 => Ok(()),
        _ => Err(Malformed::NotMine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::tests::check;
    use crate::testing::unhex;

    #[test]
    fn a_redirect_names_the_other_router() {
        let redirect = unhex("05 01 0000 c00002fe 45000054");
        check(run, &redirect, Ok(&["sender says icmp.redirect = 192.0.2.254"]));
        check(run, &unhex("08 00 f7ff 0000 0000"), Ok(&[]));
        check(run, &unhex("05 01 0000 e0000001"), Err(Malformed::Invalid));
        check(run, &unhex("ff 00 0000"), Err(Malformed::NotMine));
    }
}
