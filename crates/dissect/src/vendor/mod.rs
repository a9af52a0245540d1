//! Makers' own discovery and control protocols.
//!
//! Most of them are a question by an app and an answer by a device. Only answers and
//! announcements say who the sender is: a loudspeaker that looks for plugs is not a plug.

mod bjnp;
mod broadlink;
mod bulbs;
mod cameras;
mod dropbox;
mod edimax;
mod eq3;
mod gvcp;
mod hf;
mod lifx;
mod miio;
mod mndp;
mod nsdp;
mod p2p;
mod serial_servers;
mod slp;
mod tplink;
mod tuya;
mod ubiquiti;

use std::net::IpAddr;

use model::observation::{BindingSource, IdentifierKind};

use crate::fields::{Field, field};
use crate::identity::bound;
use crate::registry::{Datagram, Stream};
use crate::{About, Ctx, Outcome, Sink};

/// Field names of this group.
pub(crate) const FIELDS: &[Field] = &[
    field("tuya.gw_id", "Tuya device id"),
    field("tuya.product_key", "Tuya product key: one per product"),
    field("tuya.version", "Tuya local protocol version"),
    field("tplink.model", "TP-Link model, with the market in brackets"),
    field("tplink.dev_name", "TP-Link product name"),
    field("tplink.alias", "name the owner gave a TP-Link device"),
    field("tplink.type", "TP-Link device type"),
    field("tplink.hardware_version", "TP-Link hardware version"),
    field("tplink.software_version", "TP-Link firmware version"),
    field("tplink.mac", "MAC address a TP-Link device states"),
    field("tplink.device_id", "TP-Link device id"),
    field("tplink.client", "TP-Link request the sender makes: it is an app or hub, not a plug"),
    field("ubnt.mac", "MAC address of a Ubiquiti device"),
    field("ubnt.firmware", "Ubiquiti firmware string, with platform and build"),
    field("ubnt.hostname", "Ubiquiti host name"),
    field("ubnt.platform", "Ubiquiti short model"),
    field("ubnt.model", "Ubiquiti model"),
    field("ubnt.essid", "wireless network of a Ubiquiti device"),
    field("ubnt.version", "Ubiquiti short version"),
    field("mndp.identity", "MikroTik system identity"),
    field("mndp.version", "RouterOS version"),
    field("mndp.platform", "platform: `MikroTik`"),
    field("mndp.board", "MikroTik board: the model"),
    field("mndp.software_id", "RouterOS software id"),
    field("mndp.interface", "interface a MikroTik device announces from"),
    field("mndp.mac", "MAC address of a MikroTik device"),
    field("roomba.hostname", "iRobot host name: product and BLID"),
    field("roomba.name", "name the owner gave an iRobot device"),
    field("roomba.software", "iRobot software version"),
    field("roomba.sku", "iRobot stock keeping unit: the model"),
    field("roomba.mac", "MAC address an iRobot device states"),
    field("lifx.vendor_id", "LIFX vendor number"),
    field("lifx.product_id", "LIFX product number"),
    field("lifx.product", "LIFX product of that number"),
    field("lifx.label", "name the owner gave a LIFX device"),
    field("lifx.group", "group the owner put a LIFX device in"),
    field("lifx.firmware", "LIFX host firmware version"),
    field("lifx.mac", "LIFX target: the device's MAC address"),
    field("miio.did", "Xiaomi miIO device id"),
    field("edimax.model", "Edimax model"),
    field("edimax.type", "Edimax device type"),
    field("edimax.alias", "name the owner gave an Edimax device"),
    field("edimax.firmware", "Edimax firmware version"),
    field("edimax.product_id", "Edimax product id: maker, model and versions"),
    field("edimax.mac", "MAC address an Edimax device states"),
    field("eq3.type", "eQ-3 device type"),
    field("eq3.serial", "eQ-3 serial number"),
    field("eq3.firmware", "eQ-3 firmware version"),
    field("p2p.uid", "camera's id in the PPPP peer-to-peer protocol"),
    field("p2p.uid_prefix", "prefix of that id: one per camera brand or product line"),
    field("dropbox.lansync", "version of Dropbox LAN sync a computer announces"),
    field("hf.mac", "MAC address of a Hi-Flying Wi-Fi module"),
    field("hf.module", "name of a Hi-Flying Wi-Fi module"),
    field("broadlink.type", "BroadLink device type, as 0x2737"),
    field("broadlink.name", "BroadLink device name"),
    field("broadlink.mac", "MAC address a BroadLink device states"),
    field("sadp.model", "Hikvision device description: the model"),
    field("sadp.type", "Hikvision device type number"),
    field("sadp.serial", "Hikvision serial number, with the model in front"),
    field("sadp.software_version", "Hikvision firmware version and build"),
    field("sadp.mac", "MAC address a Hikvision device states"),
    field("sadp.activated", "`false`: the Hikvision device still waits for its first password"),
    field("dahua.model", "Dahua device type: the model"),
    field("dahua.class", "Dahua device class: IPC, NVR, VTO…"),
    field("dahua.name", "Dahua machine name"),
    field("dahua.vendor", "vendor a Dahua (or rebadged) device states"),
    field("dahua.serial", "Dahua serial number"),
    field("dahua.version", "Dahua firmware version"),
    field("dahua.mac", "MAC address a Dahua device states"),
    field("lantronix.mac", "MAC address a Lantronix device server states"),
    field("moxa.model_id", "Moxa hardware id, as 0x5110"),
    field("moxa.mac", "MAC address a Moxa device server states"),
    field("moxa.name", "name of a Moxa device server"),
    field("addp.mac", "MAC address a Digi device states"),
    field("addp.name", "Digi network name"),
    field("addp.device_name", "Digi device name: the model"),
    field("addp.hardware_type", "Digi hardware type number"),
    field("addp.hardware_revision", "Digi hardware revision"),
    field("addp.firmware", "Digi firmware"),
    field("wiz.module", "WiZ module name"),
    field("wiz.firmware", "WiZ firmware version"),
    field("wiz.mac", "MAC address a WiZ light states"),
    field("yeelight.model", "Yeelight model"),
    field("yeelight.firmware", "Yeelight firmware version"),
    field("yeelight.name", "name the owner gave a Yeelight"),
    field("yeelight.id", "Yeelight device id"),
    field("nsdp.model", "Netgear switch model"),
    field("nsdp.name", "Netgear switch name"),
    field("nsdp.location", "Netgear switch location"),
    field("nsdp.firmware", "Netgear switch firmware version"),
    field("nsdp.serial", "Netgear switch serial number"),
    field("nsdp.mac", "MAC address of a Netgear switch"),
    field("slp.url", "service URL answered to service location (RFC 2608 §8.2)"),
    field("slp.attr.*", "attribute of a service (RFC 2608 §10.4), by its tag"),
    field("gvcp.manufacturer", "GigE Vision manufacturer name"),
    field("gvcp.model", "GigE Vision model name"),
    field("gvcp.version", "GigE Vision device version"),
    field("gvcp.serial", "GigE Vision serial number"),
    field("gvcp.name", "name the owner gave a GigE Vision camera"),
    field("gvcp.mac", "MAC address a GigE Vision camera states"),
    field("bjnp.manufacturer", "maker in the IEEE 1284 device id of a Canon printer"),
    field("bjnp.model", "model in the IEEE 1284 device id of a Canon printer"),
    field("bjnp.mac", "MAC address a Canon printer states"),
];

const fn datagram(
    name: &'static str,
    ports: &'static [u16],
    probe: Option<fn(&[u8]) -> bool>,
    run: fn(&[u8], &Ctx, &mut dyn Sink) -> Outcome,
) -> Datagram {
    Datagram { name, ports, probe, run }
}

/// Datagram protocols of this group.
pub(crate) const DATAGRAMS: &[Datagram] = &[
    datagram("tuya", &[6666, 6667, 7000], Some(tuya::probe), tuya::run),
    datagram("tplink-shp", &[9999], Some(tplink::probe_datagram), tplink::run_datagram),
    datagram("tplink-tdp", &[20002], None, tplink::run_tdp),
    datagram("ubiquiti", &[10001], None, ubiquiti::run),
    datagram("irobot", &[5678], None, mndp::run_irobot),
    datagram("mndp", &[5678], None, mndp::run),
    datagram("lifx", &[56700], None, lifx::run),
    datagram("miio", &[54321], Some(miio::probe), miio::run),
    datagram("edimax", &[20560], Some(edimax::probe), edimax::run),
    datagram("edimax-cloud", &[8765], Some(edimax::probe_cloud), edimax::run_cloud),
    datagram("pppp", &[32100, 32108], Some(p2p::probe), p2p::run),
    datagram("dropbox-lansync", &[17500], Some(dropbox::probe), dropbox::run),
    datagram("eq3-max", &[23272], None, eq3::run_max),
    datagram("eq3-homematic", &[43439], None, eq3::run_homematic),
    datagram("hf-assist", &[48899, 49999], None, hf::run),
    datagram("broadlink", &[80], None, broadlink::run),
    datagram("sadp", &[37020], None, cameras::run_sadp),
    datagram("dahua-dhip", &[37810], Some(cameras::probe_dahua), cameras::run_dahua),
    datagram("lantronix", &[30718], None, serial_servers::run_lantronix),
    datagram("moxa", &[4800], None, serial_servers::run_moxa),
    datagram("addp", &[2362], Some(serial_servers::probe_addp), serial_servers::run_addp),
    datagram("wiz", &[38899, 38900], None, bulbs::run_wiz),
    datagram("yeelight", &[1982], None, bulbs::run_yeelight),
    datagram("nsdp", &[63321, 63322, 63323, 63324], Some(nsdp::probe), nsdp::run),
    datagram("slp", &[427], None, slp::run),
    datagram("gvcp", &[3956], None, gvcp::run),
    datagram("bjnp", &[8610, 8611, 8612, 8613, 8614], Some(bjnp::probe), bjnp::run),
];

/// Stream protocols of this group.
pub(crate) const STREAMS: &[Stream] = &[Stream {
    name: "tplink-shp",
    ports: &[9999],
    probe: tplink::probe_stream,
    run: tplink::run_stream,
}];

/// An address the sender says is its own.
fn own_ip(sink: &mut dyn Sink, ip: IpAddr) {
    bound(sink, About::Sender, ip, BindingSource::Stated);
}

/// A vendor's own device id, with the vendor in front so that ids of two vendors cannot meet.
fn own_id(sink: &mut dyn Sink, field: &'static str, vendor: &str, id: &str) {
    let id = id.trim();
    if (4..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) {
        sink.says(field, id.to_owned());
        sink.identifier(About::Sender, field, IdentifierKind::VendorId, format!("{vendor}:{id}"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::testing::{Recorder, ctx, facts_of};
    use crate::{Ctx, Malformed, Outcome, Role, Sink};

    /// What `run` makes of a datagram between two ports.
    #[track_caller]
    pub(super) fn check(
        run: fn(&[u8], &Ctx, &mut dyn Sink) -> Outcome,
        ports: (u16, u16),
        bytes: &[u8],
        expect: Result<&[&str], Malformed>,
    ) {
        let facts = facts_of(run, bytes, &ctx(ports.0, ports.1, Role::Unknown));
        assert_eq!(facts, expect.map(|lines| lines.join("\n")));
    }

    proptest! {
        #[test]
        fn no_datagram_panics_on_anything(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for d in super::DATAGRAMS {
                for ports in [(d.ports[0], 40000), (40000, d.ports[0])] {
                    let ctx = ctx(ports.0, ports.1, Role::Unknown);
                    let _ = (d.run)(&bytes, &ctx, &mut Recorder::default());
                }
                let _ = d.probe.map(|probe| probe(&bytes));
            }
        }

        #[test]
        fn probes_do_not_take_random_bytes(bytes in proptest::collection::vec(any::<u8>(), 64)) {
            for d in super::DATAGRAMS {
                prop_assert!(!d.probe.is_some_and(|probe| probe(&bytes)), "{}", d.name);
            }
        }
    }
}
