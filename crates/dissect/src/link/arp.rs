//! ARP (RFC 826): who owns which IPv4 address.

use std::net::{IpAddr, Ipv4Addr};

use model::Mac;
use model::observation::BindingSource;

use crate::{About, Ctx, Fact, Malformed, Outcome, Reader, Sink};

/// Reports the sender's binding. Probes (sender 0.0.0.0, RFC 5227) claim nothing yet.
///
/// A sender field that is not the frame's own sender is a spoofed or a damaged packet: no claim.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    // Ethernet hardware, IPv4 protocol, lengths 6 and 4; requests and replies only.
    if r.u16_be()? != 1 || r.u16_be()? != 0x0800 || r.u16_be()? != 0x0604 {
        return Err(Malformed::NotMine);
    }
    if !matches!(r.u16_be()?, 1 | 2) {
        return Err(Malformed::Invalid);
    }
    let mac = Mac(r.array()?);
    let ip = Ipv4Addr::from(r.array::<4>()?);
    if mac == ctx.src.mac
        && mac.is_unicast()
        && !ip.is_unspecified()
        && !ip.is_broadcast()
        && !ip.is_multicast()
    {
        let how = BindingSource::Arp;
        sink.fact(About::Mac(mac), Fact::Bound { ip: IpAddr::V4(ip), how });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{ctx, facts_of, unhex};
    use crate::{Malformed, Role};

    fn check(hex: &str, expect: Result<&str, Malformed>) {
        assert_eq!(
            facts_of(super::run, &unhex(hex), &ctx(0, 0, Role::Unknown)),
            expect.map(str::to_owned)
        );
    }

    #[test]
    fn a_reply_binds_its_sender() {
        check(
            "0001 0800 06 04 0002  020000000001 c0a80a05  020000000002 c0a80a01",
            Ok("02:00:00:00:00:01 uses 192.168.10.5 (Arp)"),
        );
    }

    #[test]
    fn a_sender_field_that_is_not_the_sender_binds_nobody() {
        check("0001 0800 06 04 0002  001b1b358410 c0a80a05  020000000002 c0a80a01", Ok(""));
    }

    #[test]
    fn a_probe_binds_nobody() {
        check("0001 0800 06 04 0001  020000000001 00000000  000000000000 c0a80a05", Ok(""));
    }

    #[test]
    fn short_and_foreign_frames_are_refused() {
        check("0001 0800 06 04 0002 001b1b", Err(Malformed::Truncated));
        check("0006 0800 06 04 0002 001b1b358410 c0a80a05", Err(Malformed::NotMine));
        check("0001 0800 06 04 0099 001b1b358410 c0a80a05", Err(Malformed::Invalid));
    }
}
