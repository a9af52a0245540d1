//! Notifications of agents (RFC 1157 §4.1.6, RFC 3416 §4.2.6): which product speaks, and at which
//! of its ports a client came or went.

use std::net::IpAddr;

use model::Mac;

use super::snmp::{IP_ADDRESS, Variable, variables};
use super::{enterprise, snmp_oids};
use crate::identity;
use crate::scan::ber::{self, tag};
use crate::{About, Ctx, Fact, Outcome, Reader, Sink};

/// snmpTrapOID.0 and snmpTrapAddress.0 (RFC 3418, RFC 3584 §3.1).
const TRAP_OID: &[u32] = &[1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0];
const TRAP_ADDRESS: &[u32] = &[1, 3, 6, 1, 6, 3, 18, 1, 3, 0];
/// The standard traps coldStart… are snmpTraps.(generic + 1).
const SNMP_TRAPS: &[u32] = &[1, 3, 6, 1, 6, 3, 1, 1, 5];
const ENTERPRISE_SPECIFIC: u64 = 6;

/// cmnHistMacChangedMsg of CISCO-MAC-NOTIFICATION-MIB.
const CISCO_MAC_CHANGED: &[u32] = &[1, 3, 6, 1, 4, 1, 9, 9, 215, 1, 1, 8, 1, 2];
/// s5SbsViolationStatusEntry of S5-SWITCH-BAYSECURE-MIB: board, port and address of a client that
/// the switch does not allow there.
const BAYSECURE_VIOLATION: &[u32] = &[1, 3, 6, 1, 4, 1, 45, 1, 6, 5, 3, 12, 1];
/// lldpRemEntry of LLDP-MIB, indexed by time mark, local port and neighbour.
const LLDP_REMOTE: &[u32] = &[1, 0, 8802, 1, 1, 2, 1, 4, 1, 1];
/// lldpXMedTopologyChangeDetected: an endpoint came or went.
const LLDP_MED_NOTIFICATION: &[u32] = &[1, 0, 8802, 1, 1, 2, 1, 5, 4795];

/// Trap of version 1: enterprise, agent address, generic and specific code, time, variables.
pub(super) fn version_1(r: &mut Reader<'_>, ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let oid = ber::expect(r, tag::OID)?;
    let agent = ber::expect(r, IP_ADDRESS)?;
    let generic = ber::unsigned(ber::expect(r, tag::INTEGER)?).unwrap_or(ENTERPRISE_SPECIFIC);
    let specific = ber::unsigned(ber::expect(r, tag::INTEGER)?).unwrap_or_default();
    ber::element(r)?; // time stamp
    // Agents repeat their notifications; only the time differs.
    let codes = [generic.to_be_bytes(), specific.to_be_bytes()];
    if sink.told("snmp.trap", &[oid, agent, codes.as_flattened(), r.rest()]) {
        return Ok(());
    }
    let source = ber::oid(oid)?;
    let agent = <[u8; 4]>::try_from(agent).map(IpAddr::from).ok();
    let about = whose(agent, ctx);
    let mut trap = Vec::with_capacity(source.len().max(SNMP_TRAPS.len()) + 2);
    if generic == ENTERPRISE_SPECIFIC {
        // RFC 3584 §3.1: the notification is enterprise.0.specific.
        trap.extend_from_slice(&source);
        trap.extend([0, u32::try_from(specific).unwrap_or(u32::MAX)]);
    } else {
        trap.extend_from_slice(SNMP_TRAPS);
        trap.push(u32::try_from(generic).unwrap_or(u32::MAX).saturating_add(1));
        // With a generic trap the enterprise is sysObjectID (RFC 1157 §4.1.6), unless a proxy
        // translated it from version 2.
        if enterprise::number(&source).is_some() {
            snmp_oids::object_id(&source, &about, sink);
        }
    }
    report(&trap, &variables(r), &about, sink);
    Ok(())
}

/// Trap or inform of version 2.
pub(super) fn version_2(list: &[Variable<'_>], ctx: &Ctx, sink: &mut dyn Sink) {
    let find = |oid: &[u32]| list.iter().find(|v| v.oid == oid);
    let agent = find(TRAP_ADDRESS).and_then(Variable::address);
    if let Some(trap) = find(TRAP_OID).and_then(Variable::identifier) {
        report(&trap, list, &whose(agent, ctx), sink);
    }
}

/// The agent is the sender unless the notification was forwarded for another.
fn whose(agent: Option<IpAddr>, ctx: &Ctx) -> About<'static> {
    match agent.filter(|ip| identity::is_host(*ip)) {
        Some(ip) => identity::host(ip, ctx),
        None => About::Sender,
    }
}

fn report(trap: &[u32], list: &[Variable<'_>], about: &About<'_>, sink: &mut dyn Sink) {
    sink.about(about.clone(), "snmp.trap", ber::dotted(trap));
    if let Some(number) = enterprise::number(trap) {
        let name = enterprise::name(number).map_or_else(|| number.to_string(), str::to_owned);
        sink.about(about.clone(), "snmp.trap_enterprise", name);
    }
    let mut located = |client: Mac, port: String, present: bool| {
        if client.is_unicast() && !port.is_empty() {
            let port = port.into();
            sink.fact(about.clone(), Fact::Located { client, port, present });
        }
    };
    for variable in list.iter().filter(|v| v.under(CISCO_MAC_CHANGED).is_some()) {
        let _ = cisco_changes(variable.octets().unwrap_or_default(), &mut located);
    }
    baysecure(list, &mut located);
    if trap.starts_with(LLDP_MED_NOTIFICATION) {
        lldp_neighbour(list, &mut located);
    }
}

/// Records of operation (1 learnt, 2 removed, 0 end), VLAN, address and bridge port.
fn cisco_changes(octets: &[u8], located: &mut impl FnMut(Mac, String, bool)) -> Outcome {
    let mut r = Reader::new(octets);
    while let operation @ 1..=2 = r.u8()? {
        r.skip(2)?;
        let client = Mac(r.array()?);
        let port = r.u16_be()?;
        located(client, port.to_string(), operation == 1);
    }
    Ok(())
}

fn baysecure(list: &[Variable<'_>], located: &mut impl FnMut(Mac, String, bool)) {
    let column = |n: u32| {
        let of =
            |v: &&Variable<'_>| v.under(BAYSECURE_VIOLATION).is_some_and(|i| i.first() == Some(&n));
        list.iter().find(of)
    };
    let number = |n| column(n).and_then(Variable::number);
    let (Some(board), Some(port)) = (number(1), number(2)) else {
        return;
    };
    let octets = column(3).and_then(Variable::octets).unwrap_or_default();
    if let Ok(mac) = octets.try_into() {
        located(Mac(mac), format!("{board}/{port}"), true);
    }
}

/// Chassis (columns 4 and 5) or port identifier (6 and 7) that is a link address, with the local
/// port from the index. Some agents leave the index out: then the port is not known.
fn lldp_neighbour(list: &[Variable<'_>], located: &mut impl FnMut(Mac, String, bool)) {
    let column = |n: u32| {
        list.iter().find_map(|v| match v.under(LLDP_REMOTE) {
            Some([first, index @ ..]) if *first == n => Some((v, index)),
            _ => None,
        })
    };
    // Subtype numbers of a link address: 4 for a chassis, 3 for a port (IEEE 802.1AB §8.5).
    for (subtype_column, is_address) in [(4, 4), (6, 3)] {
        let subtype = column(subtype_column).and_then(|(v, _)| v.number());
        let Some((id, index)) = column(subtype_column + 1).filter(|_| subtype == Some(is_address))
        else {
            continue;
        };
        let Some(Ok(mac)) = id.octets().map(<[u8; 6]>::try_from) else {
            continue;
        };
        let port = match index {
            [_, port, _] => port.to_string(),
            _ => "unknown".to_owned(),
        };
        located(Mac(mac), port, true);
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::super::snmp;
    use super::super::snmp::build::{message, trap_v1, variable};
    use crate::Role;
    use crate::testing::{Recorder, ctx, unhex};

    fn check(bytes: &[u8], expect: &[&str]) {
        let mut sink = Recorder::default();
        snmp::run(bytes, &ctx(1024, 162, Role::Unknown), &mut sink).unwrap();
        assert_eq!(sink.lines[1..], *expect);
    }

    const OWN: [u8; 4] = [192, 0, 2, 1];

    #[test]
    fn generic_traps_name_the_product() {
        check(
            &trap_v1("1.3.6.1.4.1.45.3.61.1", OWN, [0, 0], &[]),
            &[
                "sender says snmp.sys_object_id = 1.3.6.1.4.1.45.3.61.1",
                "sender says snmp.enterprise_number = 45",
                "sender says snmp.enterprise = Nortel/Avaya",
                "sender says snmp.trap = 1.3.6.1.6.3.1.1.5.1",
            ],
        );
    }

    #[test]
    fn a_forwarded_trap_is_about_the_agent() {
        check(
            &trap_v1("1.3.6.1.4.1.45.5.2.2", [192, 0, 2, 77], [6, 1], &[]),
            &[
                "192.0.2.77 says snmp.trap = 1.3.6.1.4.1.45.5.2.2.0.1",
                "192.0.2.77 says snmp.trap_enterprise = Nortel/Avaya",
            ],
        );
        check(
            &message(
                0xa7,
                &[
                    variable("1.3.6.1.6.3.1.1.4.1.0", 6, b"1.3.6.1.4.1.171.10.73.11.0.13"),
                    variable("1.3.6.1.6.3.18.1.3.0", 0x40, &[192, 0, 2, 77]),
                ],
            ),
            &[
                "192.0.2.77 says snmp.trap = 1.3.6.1.4.1.171.10.73.11.0.13",
                "192.0.2.77 says snmp.trap_enterprise = D-Link",
            ],
        );
    }

    #[test]
    fn clients_come_and_go_at_ports() {
        let changes = unhex("01 0064 001b1b358410 0007  02 0064 001b1b358411 0008  00");
        check(
            &message(
                0xa7,
                &[
                    variable("1.3.6.1.6.3.1.1.4.1.0", 6, b"1.3.6.1.4.1.9.9.215.2.0.1"),
                    variable("1.3.6.1.4.1.9.9.215.1.1.8.1.2.1", 4, &changes),
                ],
            )[..],
            &[
                "sender says snmp.trap = 1.3.6.1.4.1.9.9.215.2.0.1",
                "sender says snmp.trap_enterprise = Cisco",
                "sender sees 00:1b:1b:35:84:10 at 7",
                "sender lost 00:1b:1b:35:84:11 at 8",
            ],
        );
        let violation = |n: u8, tag: u32, value: &[u8]| {
            variable(&format!("1.3.6.1.4.1.45.1.6.5.3.12.1.{n}.1.5"), tag, value)
        };
        check(
            &trap_v1(
                "1.3.6.1.4.1.45.1.6.2.1",
                OWN,
                [6, 5],
                &[
                    violation(1, 2, &[1]),
                    violation(2, 2, &[5]),
                    violation(3, 4, &[0, 0x1b, 0x1b, 0x35, 0x84, 0x10]),
                ],
            ),
            &[
                "sender says snmp.trap = 1.3.6.1.4.1.45.1.6.2.1.0.5",
                "sender says snmp.trap_enterprise = Nortel/Avaya",
                "sender sees 00:1b:1b:35:84:10 at 1/5",
            ],
        );
    }

    #[test]
    fn neighbours_with_and_without_index() {
        let trap = |index: &str, subtype: u8, id: &[u8]| {
            let list = [
                variable(&format!("1.0.8802.1.1.2.1.4.1.1.4{index}"), 2, &[subtype]),
                variable(&format!("1.0.8802.1.1.2.1.4.1.1.5{index}"), 4, id),
            ];
            trap_v1("1.0.8802.1.1.2.1.5.4795", OWN, [6, 1], &list)
        };
        let named = "sender says snmp.trap = 1.0.8802.1.1.2.1.5.4795.0.1";
        let mac = [0, 0x1b, 0x1b, 0x35, 0x84, 0x10];
        check(&trap(".640191333.30.399", 4, &mac), &[named, "sender sees 00:1b:1b:35:84:10 at 30"]);
        check(&trap("", 4, &mac), &[named, "sender sees 00:1b:1b:35:84:10 at unknown"]);
        check(&trap("", 5, &[1, 10, 177, 56, 16]), &[named]);
    }
}
