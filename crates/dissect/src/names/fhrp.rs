//! First-hop redundancy: VRRP (RFC 5798, RFC 3768) and HSRP (RFC 2281). The routers of a group
//! share one address; who sends is one of them.

use std::net::Ipv4Addr;

use crate::{Ctx, Malformed, Outcome, Reader, Sink};

/// VRRP advertisement, directly on IP.
pub(super) fn vrrp(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    let first = r.u8()?;
    let (group, priority, count) = (r.u8()?, r.u8()?, r.u8()?);
    // CARP uses the same number; it has no list of addresses and another header length.
    if !matches!(first, 0x21 | 0x31) || group == 0 || count == 0 || count > 32 {
        return Err(Malformed::NotMine);
    }
    r.skip(4)?;
    sink.says("vrrp.group", group.to_string());
    sink.says("vrrp.priority", priority.to_string());
    if ctx.src.ip.is_some_and(|ip| ip.is_ipv4()) {
        for _ in 0..count {
            sink.says("vrrp.virtual_address", Ipv4Addr::from(r.array::<4>()?).to_string());
        }
    }
    Ok(())
}

/// HSRP hello of either version. Its eight bytes of authentication are a password.
pub(super) fn hsrp(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    match payload {
        [0, 0..=2, rest @ ..] => version_0(rest, sink),
        [1, 40, ..] => version_2(payload, sink),
        _ => Err(Malformed::NotMine),
    }
}

fn version_0(body: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(body);
    let state = r.u8()?;
    r.skip(2)?; // timers
    let (priority, group) = (r.u8()?, r.u8()?);
    r.skip(9)?; // reserved, authentication
    let address = Ipv4Addr::from(r.array::<4>()?);
    let state = match state {
        0 => "initial",
        1 => "learn",
        2 => "listen",
        4 => "speak",
        8 => "standby",
        16 => "active",
        _ => return Err(Malformed::Invalid),
    };
    report(state, u16::from(group), u32::from(priority), address, sink);
    Ok(())
}

/// Group state TLV: version, operation, state, IP version, group, identifier, priority, timers,
/// address.
fn version_2(payload: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    r.skip(2)?;
    let (version, _operation, state, family) = (r.u8()?, r.u8()?, r.u8()?, r.u8()?);
    if version != 2 || family != 4 {
        return Ok(());
    }
    let group = r.u16_be()?;
    r.skip(6)?; // identifier
    let priority = r.u32_be()?;
    r.skip(8)?; // timers
    let address = Ipv4Addr::from(r.array::<4>()?);
    let state = match state {
        1 => "initial",
        2 => "learn",
        3 => "listen",
        4 => "speak",
        5 => "standby",
        6 => "active",
        _ => return Err(Malformed::Invalid),
    };
    report(state, group, priority, address, sink);
    Ok(())
}

fn report(state: &str, group: u16, priority: u32, address: Ipv4Addr, sink: &mut dyn Sink) {
    sink.says("hsrp.state", state.to_owned());
    sink.says("hsrp.group", group.to_string());
    sink.says("hsrp.priority", priority.to_string());
    if !address.is_unspecified() {
        sink.says("hsrp.virtual_address", address.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of, unhex};

    fn check(
        run: fn(&[u8], &Ctx, &mut dyn Sink) -> Outcome,
        hex: &str,
        expect: Result<&str, Malformed>,
    ) {
        assert_eq!(
            facts_of(run, &unhex(hex), &ctx(1985, 1985, Role::Unknown)),
            expect.map(str::to_owned),
            "{hex}"
        );
    }

    #[test]
    fn advertisements() {
        let facts = "sender says vrrp.group = 10\nsender says vrrp.priority = 255\n\
                     sender says vrrp.virtual_address = 192.0.2.254";
        check(vrrp, "21 0a ff 01 0001 0000 c00002fe 0000000000000000", Ok(facts));
        check(vrrp, "31 0a ff 01 0064 0000 c00002fe", Ok(facts));
        check(vrrp, "21 0a ff 01 0001 0000 c000", Err(Malformed::Truncated));
        check(vrrp, "21 0a ff 00 0001", Err(Malformed::NotMine)); // CARP
        check(vrrp, "", Err(Malformed::Truncated));
    }

    #[test]
    fn hellos_of_both_versions_without_the_password() {
        let facts = "sender says hsrp.state = active\nsender says hsrp.group = 1\n\
                     sender says hsrp.priority = 110\nsender says hsrp.virtual_address = 192.0.2.254";
        check(hsrp, "00 00 10 03 0a 6e 01 00 636973636f000000 c00002fe", Ok(facts));
        check(
            hsrp,
            "01 28 02 00 06 04 0001 001b1b358410 0000006e 00000bb8 00002710 c00002fe 000000000000000000000000",
            Ok(facts),
        );
        check(hsrp, "00 00 07 03 0a 6e 01 00 636973636f000000 c00002fe", Err(Malformed::Invalid));
        check(hsrp, "00 00 10", Err(Malformed::Truncated));
        check(hsrp, "ff 00", Err(Malformed::NotMine));
    }
}
