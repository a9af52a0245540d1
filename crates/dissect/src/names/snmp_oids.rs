//! Objects of agents' answers that identify them, their interfaces, or where clients are.

use std::net::{IpAddr, Ipv4Addr};

use model::Mac;
use model::observation::{BindingSource, IdentifierKind};

use super::enterprise;
use super::snmp::Variable;
use crate::identity;
use crate::scan::ber;
use crate::{About, Fact, Sink, text};

/// A scalar or column of text with the field it is reported as.
struct Text {
    oid: &'static [u32],
    field: &'static str,
    /// A table over parts of the device (modules, processors…): the first row is the whole.
    is_column: bool,
}

const fn scalar(oid: &'static [u32], field: &'static str) -> Text {
    Text { oid, field, is_column: false }
}

const fn column(oid: &'static [u32], field: &'static str) -> Text {
    Text { oid, field, is_column: true }
}

#[rustfmt::skip]
const TEXTS: &[Text] = &[
    // SNMPv2-MIB (RFC 3418), system group
    scalar(&[1, 3, 6, 1, 2, 1, 1, 1], "snmp.sys_descr"),
    scalar(&[1, 3, 6, 1, 2, 1, 1, 4], "snmp.sys_contact"),
    scalar(&[1, 3, 6, 1, 2, 1, 1, 5], "snmp.sys_name"),
    scalar(&[1, 3, 6, 1, 2, 1, 1, 6], "snmp.sys_location"),
    // ENTITY-MIB (RFC 6933), entPhysicalTable
    column(&[1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1, 2], "snmp.ent_descr"),
    column(&[1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1, 8], "snmp.ent_hardware"),
    column(&[1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1, 9], "snmp.ent_firmware"),
    column(&[1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1, 10], "snmp.ent_software"),
    column(&[1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1, 11], "snmp.ent_serial"),
    column(&[1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1, 12], "snmp.ent_manufacturer"),
    column(&[1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1, 13], "snmp.ent_model"),
    // HOST-RESOURCES-MIB (RFC 2790), Printer-MIB (RFC 3805), PWG port monitor
    column(&[1, 3, 6, 1, 2, 1, 25, 3, 2, 1, 3], "snmp.hr_device_descr"),
    column(&[1, 3, 6, 1, 2, 1, 43, 5, 1, 1, 16], "snmp.printer_name"),
    column(&[1, 3, 6, 1, 2, 1, 43, 5, 1, 1, 17], "snmp.printer_serial"),
    column(&[1, 3, 6, 1, 4, 1, 2699, 1, 2, 1, 2, 1, 1, 3], "snmp.ieee1284_id"),
    scalar(&[1, 3, 6, 1, 4, 1, 11, 2, 3, 9, 1, 1, 7], "snmp.ieee1284_id"),
    scalar(&[1, 3, 6, 1, 4, 1, 2435, 2, 3, 9, 1, 1, 7], "snmp.ieee1284_id"),
    // UPS-MIB (RFC 1628)
    scalar(&[1, 3, 6, 1, 2, 1, 33, 1, 1, 1], "snmp.manufacturer"),
    scalar(&[1, 3, 6, 1, 2, 1, 33, 1, 1, 2], "snmp.model"),
    scalar(&[1, 3, 6, 1, 2, 1, 33, 1, 1, 3], "snmp.firmware"),
    // LLDP-MIB (IEEE 802.1AB), what the agent tells its neighbours
    scalar(&[1, 0, 8802, 1, 1, 2, 1, 3, 3], "snmp.sys_name"),
    scalar(&[1, 0, 8802, 1, 1, 2, 1, 3, 4], "snmp.sys_descr"),
    // makers: Cisco chassis id, APC UPS and PDU, MikroTik, Synology, Fortinet, Axis
    scalar(&[1, 3, 6, 1, 4, 1, 9, 3, 6, 3], "snmp.serial"),
    scalar(&[1, 3, 6, 1, 4, 1, 318, 1, 1, 1, 1, 1, 1], "snmp.model"),
    scalar(&[1, 3, 6, 1, 4, 1, 318, 1, 1, 1, 1, 2, 1], "snmp.firmware"),
    scalar(&[1, 3, 6, 1, 4, 1, 318, 1, 1, 1, 1, 2, 3], "snmp.serial"),
    scalar(&[1, 3, 6, 1, 4, 1, 318, 1, 1, 12, 1, 5], "snmp.model"),
    scalar(&[1, 3, 6, 1, 4, 1, 318, 1, 1, 12, 1, 6], "snmp.serial"),
    scalar(&[1, 3, 6, 1, 4, 1, 14988, 1, 1, 7, 3], "snmp.serial"),
    scalar(&[1, 3, 6, 1, 4, 1, 14988, 1, 1, 7, 4], "snmp.firmware"),
    scalar(&[1, 3, 6, 1, 4, 1, 6574, 1, 5, 1], "snmp.model"),
    scalar(&[1, 3, 6, 1, 4, 1, 6574, 1, 5, 2], "snmp.serial"),
    scalar(&[1, 3, 6, 1, 4, 1, 6574, 1, 5, 3], "snmp.firmware"),
    scalar(&[1, 3, 6, 1, 4, 1, 12356, 100, 1, 1, 1], "snmp.serial"),
    scalar(&[1, 3, 6, 1, 4, 1, 12356, 101, 4, 1, 1], "snmp.firmware"),
];

const SYS_OBJECT_ID: &[u32] = &[1, 3, 6, 1, 2, 1, 1, 2, 0];
const IF_PHYS_ADDRESS: &[u32] = &[1, 3, 6, 1, 2, 1, 2, 2, 1, 6];
const IP_AD_ENT_ADDR: &[u32] = &[1, 3, 6, 1, 2, 1, 4, 20, 1, 1];
const BRIDGE_ADDRESS: &[u32] = &[1, 3, 6, 1, 2, 1, 17, 1, 1];
/// dot1dTpFdbPort: index is the address, value the bridge port (RFC 4188).
const FDB_PORT: &[u32] = &[1, 3, 6, 1, 2, 1, 17, 4, 3, 1, 2];
/// dot1qTpFdbPort: index is filtering database and address (RFC 4363).
const VLAN_FDB_PORT: &[u32] = &[1, 3, 6, 1, 2, 1, 17, 7, 1, 2, 2, 1, 2];

/// Reports the variables of an agent's answer.
pub(super) fn report(variables: &[Variable<'_>], sink: &mut dyn Sink) {
    for variable in variables {
        if let Some(octets) = variable.octets() {
            texts(variable, octets, sink);
            own_address(variable, octets, sink);
        } else if let Some(oid) = variable.identifier() {
            if variable.oid == SYS_OBJECT_ID {
                object_id(&oid, &About::Sender, sink);
            }
        } else if let (Some([_, _, _, _]), Some(ip)) =
            (variable.under(IP_AD_ENT_ADDR), variable.address())
        {
            if identity::is_host(ip) && ip != IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
                let how = BindingSource::Stated;
                sink.fact(About::Sender, Fact::Bound { ip, how });
            }
        } else if let Some(port) = variable.number() {
            client_at_port(variable, port, sink);
        }
    }
}

/// sysObjectID: the maker's own number for the product.
pub(super) fn object_id(oid: &[u32], about: &About<'_>, sink: &mut dyn Sink) {
    sink.about(about.clone(), "snmp.sys_object_id", ber::dotted(oid));
    if let Some(number) = enterprise::number(oid) {
        sink.about(about.clone(), "snmp.enterprise_number", number.to_string());
        let name = enterprise::name(number).unwrap_or_default();
        sink.about(about.clone(), "snmp.enterprise", name);
    }
}

fn texts(variable: &Variable<'_>, octets: &[u8], sink: &mut dyn Sink) {
    for (number, text) in (0u64..).zip(TEXTS) {
        let Some([index @ .., last]) = variable.under(text.oid) else {
            continue;
        };
        // A walk meets the rows in order, and the first is the whole device; later rows are
        // parts. Which was first is remembered for the conversation.
        let row = (u64::from(index.first().copied().unwrap_or_default()) << 32) | u64::from(*last);
        let key = 0x534e_4d50_0000_0000 | number; // "SNMP" keeps the keys of dissectors apart
        let is_whole = !text.is_column || sink.recall(key).is_none_or(|first| row <= first);
        if is_whole && index.len() <= 1 {
            if text.is_column {
                sink.remember(key, row);
            }
            sink.says(text.field, text::clean(octets));
        }
        return;
    }
}

/// Interface and bridge addresses. Locally administered ones belong to virtual interfaces and
/// repeat from host to host; 00-00-5e-00-01 is shared by a group of routers.
fn own_address(variable: &Variable<'_>, octets: &[u8], sink: &mut dyn Sink) {
    let is_interface = variable.under(IF_PHYS_ADDRESS).is_some();
    if !is_interface && variable.under(BRIDGE_ADDRESS).is_none() {
        return;
    }
    let Ok(mac) = octets.try_into().map(Mac) else {
        return;
    };
    if mac.is_unicast() && !mac.is_local() && !mac.0.starts_with(&[0, 0, 0x5e, 0, 1]) {
        let (field, kind) = ("snmp.if_phys_address", IdentifierKind::Mac);
        sink.identifier(About::Sender, field, kind, mac.to_string());
    }
}

fn client_at_port(variable: &Variable<'_>, port: u64, sink: &mut dyn Sink) {
    let tables = (variable.under(FDB_PORT), variable.under(VLAN_FDB_PORT));
    let ((Some(address), _) | (_, Some([_, address @ ..]))) = tables else {
        return;
    };
    // Port 0: learnt, but not on one of the bridge's ports.
    if let Some(client) = mac_of_index(address).filter(|_| port != 0) {
        let port = port.to_string().into();
        let present = true;
        sink.fact(About::Sender, Fact::Located { client, port, present });
    }
}

fn mac_of_index(arcs: &[u32]) -> Option<Mac> {
    let bytes: Vec<u8> = arcs.iter().filter_map(|a| u8::try_from(*a).ok()).collect();
    let mac = Mac(bytes.try_into().ok()?);
    mac.is_unicast().then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::super::snmp;
    use super::super::snmp::build::{message, variable};
    use crate::Role;
    use crate::testing::{Recorder, ctx};

    fn answer(sink: &mut Recorder, variables: &[Vec<u8>]) {
        sink.lines.clear();
        let bytes = message(0xa2, variables);
        snmp::run(&bytes, &ctx(161, 40000, Role::Server), sink).unwrap();
        sink.lines.remove(0); // the version
    }

    fn check(variables: &[Vec<u8>], expect: &str) {
        let mut sink = Recorder::default();
        answer(&mut sink, variables);
        assert_eq!(sink.text(), expect);
    }

    #[test]
    fn the_system_group() {
        check(
            &[
                variable("1.3.6.1.2.1.1.1.0", 4, b"RouterOS RB750Gr3"),
                variable("1.3.6.1.2.1.1.2.0", 6, b"1.3.6.1.4.1.14988.1"),
                variable("1.3.6.1.2.1.1.3.0", 0x43, &[9]),
                variable("1.3.6.1.2.1.1.6.0", 4, b""),
                variable("1.3.6.1.4.1.14988.1.1.7.3.0", 4, b"ABC123"),
            ],
            "sender says snmp.sys_descr = RouterOS RB750Gr3\n\
             sender says snmp.sys_object_id = 1.3.6.1.4.1.14988.1\n\
             sender says snmp.enterprise_number = 14988\n\
             sender says snmp.enterprise = MikroTik\n\
             sender says snmp.serial = ABC123",
        );
    }

    #[test]
    fn the_first_row_is_the_whole_device() {
        let mut sink = Recorder::default();
        let model = |row: u32, text: &str| {
            variable(&format!("1.3.6.1.2.1.47.1.1.1.1.13.{row}"), 4, text.as_bytes())
        };
        answer(&mut sink, &[model(1001, "C9300-48P"), model(1012, "PWR-C1-715WAC")]);
        assert_eq!(sink.text(), "sender says snmp.ent_model = C9300-48P");
        answer(&mut sink, &[model(1040, "C9300-NM-8X")]);
        assert_eq!(sink.text(), "", "remembered in the conversation");
        check(
            &[variable("1.3.6.1.2.1.43.5.1.1.17.1", 4, b"VNB3K12345")],
            "sender says snmp.printer_serial = VNB3K12345",
        );
    }

    #[test]
    fn own_addresses_but_not_shared_or_virtual_ones() {
        let address = |i: u32, mac: &[u8]| variable(&format!("1.3.6.1.2.1.2.2.1.6.{i}"), 4, mac);
        check(
            &[
                address(1, b""),
                address(2, &[0, 0x1b, 0x1b, 0x35, 0x84, 0x10]),
                address(3, &[0x02, 0x42, 0xac, 0x11, 0, 2]),
                address(4, &[0, 0, 0x5e, 0, 1, 7]),
                variable("1.3.6.1.2.1.4.20.1.1.192.0.2.9", 0x40, &[192, 0, 2, 9]),
                variable("1.3.6.1.2.1.4.20.1.1.127.0.0.1", 0x40, &[127, 0, 0, 1]),
            ],
            "sender is Mac 00:1b:1b:35:84:10 (snmp.if_phys_address)\nsender uses 192.0.2.9 (Stated)",
        );
    }

    #[test]
    fn forwarding_tables_locate_clients() {
        check(
            &[
                variable("1.3.6.1.2.1.17.4.3.1.2.0.27.27.53.132.16", 2, &[7]),
                variable("1.3.6.1.2.1.17.7.1.2.2.1.2.100.0.27.27.53.132.17", 2, &[8]),
                variable("1.3.6.1.2.1.17.4.3.1.2.0.27.27.53.132.18", 2, &[0]),
                variable("1.3.6.1.2.1.17.4.3.1.2.0.27.300.53.132.16", 2, &[7]),
            ],
            "sender sees 00:1b:1b:35:84:10 at 7\nsender sees 00:1b:1b:35:84:11 at 8",
        );
    }
}
