//! Protocols directly on the link layer: neighbours, switches, field buses on Ethernet.

mod arp;
mod cdp;
mod cisco;
mod eapol;
mod edp;
mod goose;
mod icmp;
mod icmpv6;
mod ieee1905;
mod igmp;
mod lldp;
pub(crate) mod pn_vendors;
mod presence;
mod profinet;
mod slow;
mod stp;

use crate::fields::{Field, field};
use crate::registry::LinkKey::{EtherType, IpProtocol, Llc, Snap};
use crate::registry::{Datagram, Frame, LinkKey};
use crate::{Ctx, Outcome, Sink};

/// Field names of this group.
pub(crate) const FIELDS: &[Field] = &[
    // LLDP: IEEE 802.1AB-2016 §8.5
    field("lldp.chassis_id", "chassis id as text (802.1AB §8.5.2)"),
    field("lldp.chassis_mac", "chassis id of subtype MAC, or PROFINET's chassis MAC"),
    field("lldp.port_id", "name of the sending port (802.1AB §8.5.3)"),
    field("lldp.port_mac", "MAC address of the sending port"),
    field("lldp.port_description", "description of the sending port (802.1AB §8.5.5)"),
    field("lldp.system_name", "administrative name (802.1AB §8.5.6)"),
    field("lldp.system_description", "make, model, versions as free text (802.1AB §8.5.7)"),
    field(
        "lldp.capabilities",
        "enabled capabilities as words: bridge, router, wlan-ap, telephone…",
    ),
    field("lldp.vlan_name", "name of a VLAN at the port (802.1Q annex D)"),
    field("lldp.med_class", "LLDP-MED device class (ANSI/TIA-1057 §10.2.2)"),
    field("lldp.hardware_revision", "LLDP-MED inventory (ANSI/TIA-1057 §10.2.6)"),
    field("lldp.firmware_revision", "LLDP-MED inventory (ANSI/TIA-1057 §10.2.6)"),
    field("lldp.software_revision", "LLDP-MED inventory (ANSI/TIA-1057 §10.2.6)"),
    field("lldp.serial", "LLDP-MED serial number (ANSI/TIA-1057 §10.2.6)"),
    field("lldp.manufacturer", "LLDP-MED manufacturer name (ANSI/TIA-1057 §10.2.6)"),
    field("lldp.model", "LLDP-MED model name (ANSI/TIA-1057 §10.2.6)"),
    field("lldp.asset_id", "LLDP-MED asset id (ANSI/TIA-1057 §10.2.6)"),
    field("lldp.mud_url", "URL of the manufacturer usage description (RFC 8520 §11)"),
    // CDP, FDP, EDP
    field("cdp.device_id", "CDP device id: host name or serial number"),
    field("cdp.system_name", "CDP system name"),
    field("cdp.platform", "CDP platform: the hardware model"),
    field("cdp.software_version", "CDP software version, all lines"),
    field("cdp.capabilities", "CDP capabilities as words: router, switch, host, phone…"),
    field("cdp.port", "CDP name of the sending port"),
    field("cdp.vtp_domain", "CDP VTP management domain"),
    field("cdp.native_vlan", "CDP native VLAN of the port"),
    field("cdp.location", "CDP location"),
    field("fdp.device_id", "Foundry discovery: device id"),
    field("fdp.platform", "Foundry discovery: hardware model"),
    field("fdp.software_version", "Foundry discovery: software version"),
    field("fdp.capabilities", "Foundry discovery: capabilities as words"),
    field("fdp.port", "Foundry discovery: name of the sending port"),
    field("edp.machine_mac", "Extreme discovery: MAC address of the machine"),
    field("edp.display_name", "Extreme discovery: name of the switch"),
    field("edp.port", "Extreme discovery: sending slot and port, from 1"),
    field("edp.software_version", "Extreme discovery: software version"),
    field("udld.device_id", "UDLD device id, often the chassis serial number (RFC 5171)"),
    field("udld.device_name", "UDLD device name (RFC 5171)"),
    field("udld.port", "UDLD name of the sending port (RFC 5171)"),
    field("dtp.domain", "VTP domain in Cisco's dynamic trunking protocol"),
    field("vtp.domain", "VTP management domain"),
    // Bridges and authentication
    field("ieee1905.al_mac", "one address of a mesh access point for all its ports"),
    field("stp.bridge", "MAC address in the sender's bridge id (802.1D §9.2.5)"),
    field("stp.version", "spanning tree variant: stp, rstp, mstp, pvst"),
    field("stp.is_root", "`yes` when the sender is the root bridge"),
    field("lacp.system", "actor system MAC; two chassis may share it (802.1AX §6.4.2)"),
    field("eapol.type", "802.1X packet type as a word"),
    field("eapol.identity", "identity answered to EAP (RFC 3748 §5.1)"),
    field("eapol.method", "EAP method the supplicant uses"),
    // IP's own helpers
    field("ndp.router", "`default` or `advertising`: it sends IPv6 router advertisements"),
    field("ndp.prefix", "on-link prefix a router advertises (RFC 4861 §4.6.2)"),
    field("icmp.redirect", "better next hop a router told a host (RFC 792, RFC 4861 §4.5)"),
    field("igmp.group", "multicast group joined (IGMP, MLD)"),
    field("igmp.querier", "protocol it queries groups with: igmp or mld"),
    // PROFINET: IEC 61158-6-10
    field("pn.station_name", "PROFINET name of station"),
    field("pn.type_of_station", "PROFINET type of station (manufacturer specific)"),
    field("pn.vendor_id", "PROFINET vendor id, as 0x002a"),
    field("pn.vendor", "vendor of that id"),
    field("pn.device_id", "PROFINET device id, as 0x0a01"),
    field("pn.role", "PROFINET role: device, controller, multidevice, supervisor"),
    field("pn.alias", "PROFINET alias: port and neighbour"),
    field("pn.mac", "MAC address in a DCP answer"),
    field("pn.oem_id", "vendor and device id of the original maker, as 0x002a:0x0a01"),
    field("pn.seeks", "station name it asked for: another device's, or its own at start-up"),
    // IEC 61850
    field("goose.gocb_ref", "GOOSE control block reference: begins with the IED's name"),
    field("goose.dat_set", "GOOSE data set reference"),
    field("goose.go_id", "GOOSE id"),
    field("goose.app_id", "APPID of GOOSE, as 0x0001"),
    field("goose.conf_rev", "GOOSE configuration revision"),
    field("goose.simulation", "`yes` when the message says it is a simulation"),
    field("sv.sv_id", "sampled values: stream id"),
    field("sv.dat_set", "sampled values: data set"),
    field("sv.app_id", "APPID of sampled values, as 0x4000"),
    field("sv.conf_rev", "sampled values: configuration revision"),
];

const fn frame(
    name: &'static str,
    key: &'static [LinkKey],
    run: fn(&[u8], &Ctx, &mut dyn Sink) -> Outcome,
) -> Frame {
    Frame { name, key, run }
}

/// Link-layer protocols of this group.
pub(crate) const FRAMES: &[Frame] = &[
    frame("arp", &[EtherType(0x0806)], arp::run),
    frame("lldp", &[EtherType(0x88cc)], lldp::run),
    frame("cdp", &[Snap(0x00_000c, 0x2000)], cdp::run_cdp),
    frame("fdp", &[Snap(0x00_e052, 0x2000)], cdp::run_fdp),
    frame("edp", &[Snap(0x00_e02b, 0x00bb)], edp::run),
    frame("udld", &[Snap(0x00_000c, 0x0111)], cisco::run_udld),
    frame("dtp", &[Snap(0x00_000c, 0x2004)], cisco::run_dtp),
    frame("vtp", &[Snap(0x00_000c, 0x2003)], cisco::run_vtp),
    frame("stp", &[Llc(0x42)], stp::run),
    frame("pvst", &[Snap(0x00_000c, 0x010b)], stp::run_pvst),
    frame("slow", &[EtherType(0x8809)], slow::run),
    frame("eapol", &[EtherType(0x888e)], eapol::run),
    frame("icmp", &[IpProtocol(1)], icmp::run),
    frame("igmp", &[IpProtocol(2)], igmp::run),
    frame("icmpv6", &[IpProtocol(58)], icmpv6::run),
    frame("profinet", &[EtherType(0x8892)], profinet::run),
    frame("goose", &[EtherType(0x88b8)], goose::run_goose),
    frame("sv", &[EtherType(0x88ba)], goose::run_sv),
    frame("ieee1905", &[EtherType(0x893a)], ieee1905::run),
    // Protocols whose presence is all there is to learn.
    frame("mrp", &[EtherType(0x88e3)], presence::run),
    frame("ptp", &[EtherType(0x88f7)], presence::run),
    frame("pagp", &[Snap(0x00_000c, 0x0104)], presence::run),
    frame("wlccp", &[EtherType(0x872d), Snap(0x00_4096, 0x0000)], presence::run),
    frame("loopback", &[EtherType(0x9000)], presence::run),
    frame("homeplug-av", &[EtherType(0x88e1)], presence::run),
    frame("homeplug", &[EtherType(0x887b)], presence::run),
    frame("pppoe-discovery", &[EtherType(0x8863)], presence::run),
    frame("pppoe-session", &[EtherType(0x8864)], presence::run),
    frame("macsec", &[EtherType(0x88e5)], presence::run),
    frame("prp", &[EtherType(0x88fb)], presence::run),
    frame("sercos", &[EtherType(0x88cd)], presence::run),
    frame("rrcp", &[EtherType(0x8899)], presence::run),
    frame("tdls", &[EtherType(0x890d)], presence::run),
];

/// Datagram protocols of this group.
pub(crate) const DATAGRAMS: &[Datagram] = &[];

/// Names of the set bits, lowest first, separated by commas.
fn words(bits: u32, names: &[&str]) -> String {
    let set = names.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::testing::{Recorder, ctx, facts_of};
    use crate::{Ctx, Outcome, Role, Sink};

    /// What `run` makes of `bytes`.
    #[track_caller]
    pub(super) fn check(
        run: fn(&[u8], &Ctx, &mut dyn Sink) -> Outcome,
        bytes: &[u8],
        expect: Result<&[&str], crate::Malformed>,
    ) {
        let facts = facts_of(run, bytes, &ctx(0, 0, Role::Unknown));
        assert_eq!(facts, expect.map(|lines| lines.join("\n")));
    }

    proptest! {
        #[test]
        fn no_frame_panics_on_anything(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for frame in super::FRAMES {
                let _ = (frame.run)(&bytes, &ctx(0, 0, Role::Unknown), &mut Recorder::default());
            }
        }
    }
}
