//! LLDP (IEEE 802.1AB): what a switch, phone or field device says about itself to its neighbour,
//! with the extensions of LLDP-MED (ANSI/TIA-1057), PROFINET (IEC 61158-6-10) and MUD (RFC 8520).

use std::borrow::Cow;
use std::net::IpAddr;

use model::Mac;
use model::observation::{BindingSource, IdentifierKind};

use super::{profinet, words};
use crate::identity::{bound, own_mac};
use crate::{About, Ctx, Malformed, Outcome, Reader, Sink, text};

/// 802.1AB allows any number of TLVs; real frames have fewer than 40.
const TLVS_MAX: usize = 128;

const CAPABILITIES: &[&str] = &[
    "other",
    "repeater",
    "bridge",
    "wlan-ap",
    "router",
    "telephone",
    "docsis",
    "station",
    "c-vlan",
    "s-vlan",
    "tpmr",
];

/// Reports the sender; LLDP is not forwarded by bridges, so sender and speaker are one.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    // The chassis id comes first in every LLDPDU (802.1AB §8.2).
    if payload.first().is_some_and(|b| *b != 0x02) {
        return Err(Malformed::NotMine);
    }
    let mut context = Context::default();
    let outcome = tlvs(&mut r, &mut context, sink);
    context.conclude(sink);
    outcome
}

/// What several TLVs together mean.
#[derive(Default)]
struct Context<'a> {
    /// Chassis id of subtype "locally assigned".
    local_chassis: Option<Cow<'a, str>>,
    local_port: Option<Cow<'a, str>>,
    manufacturer: Option<Cow<'a, str>>,
    serial: Option<Cow<'a, str>>,
    profinet: bool,
}

impl Context<'_> {
    fn conclude(self, sink: &mut dyn Sink) {
        if self.profinet {
            // A PROFINET device without LLDP mode 2.3 or later has its name of station as chassis
            // id, a newer one appends it to the port: `port-001.name` (IEC 61158-6-10 §4.11).
            let port = self.local_port.as_deref().unwrap_or_default();
            let name = match port.split_once('.') {
                Some((port, station)) if port.starts_with("port-") => Some(station),
                _ => self.local_chassis.as_deref(),
            };
            if let Some(name) = name.filter(|name| profinet::is_station_name(name)) {
                profinet::says_station_name(name, sink);
            }
        }
        if let Some(serial) = self.serial.filter(|s| s.len() >= 4) {
            let maker = self.manufacturer.unwrap_or_default().to_lowercase();
            let value =
                if maker.is_empty() { serial.into_owned() } else { format!("{maker}/{serial}") };
            sink.identifier(About::Sender, "lldp.serial", IdentifierKind::Serial, value);
        }
    }
}

fn tlvs<'a>(r: &mut Reader<'a>, context: &mut Context<'a>, sink: &mut dyn Sink) -> Outcome {
    for _ in 0..TLVS_MAX {
        if r.is_empty() {
            return Ok(());
        }
        let header = r.u16_be()?;
        let body = r.take(usize::from(header & 0x01ff))?;
        match header >> 9 {
            0 => return Ok(()),
            1 => chassis(body, context, sink)?,
            2 => port(body, context, sink)?,
            4 => sink.says("lldp.port_description", text::clean(body)),
            5 => sink.says("lldp.system_name", text::clean(body)),
            6 => sink.says("lldp.system_description", text::clean(body)),
            7 => capabilities(body, sink)?,
            8 => management_address(body, sink)?,
            127 => organisation(body, context, sink)?,
            _ => {}
        }
    }
    Err(Malformed::Limit)
}

/// 802.1AB §8.5.2. Interface names and aliases are not unique and identify nobody.
fn chassis<'a>(body: &'a [u8], context: &mut Context<'a>, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(body);
    let subtype = r.u8()?;
    let (kind, value) = match subtype {
        4 => {
            let mac = Mac(r.array()?);
            own_mac(sink, "lldp.chassis_mac", mac);
            ("mac", Cow::Owned(mac.to_string()))
        }
        5 => {
            let ip = network_address(r.rest()).ok_or(Malformed::Invalid)?;
            bound(sink, About::Sender, ip, BindingSource::Stated);
            ("net", Cow::Owned(ip.to_string()))
        }
        1 => ("component", text::clean(r.rest())),
        7 => {
            let name = text::clean(r.rest());
            context.local_chassis = Some(name.clone());
            ("local", name)
        }
        2 | 3 | 6 => ("", text::clean(r.rest())),
        _ => return Err(Malformed::Invalid),
    };
    if !kind.is_empty() && !value.is_empty() && !profinet::is_factory_name(&value) {
        let id = format!("{kind}:{value}");
        sink.identifier(About::Sender, "lldp.chassis_id", IdentifierKind::Chassis, id);
    }
    sink.says("lldp.chassis_id", value);
    Ok(())
}

/// 802.1AB §8.5.3.
fn port<'a>(body: &'a [u8], context: &mut Context<'a>, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(body);
    match r.u8()? {
        3 => own_mac(sink, "lldp.port_mac", Mac(r.array()?)),
        4 => {
            let ip = network_address(r.rest()).ok_or(Malformed::Invalid)?;
            sink.says("lldp.port_id", ip.to_string());
        }
        subtype => {
            let name = text::clean(r.rest());
            sink.says("lldp.port_id", name.clone());
            if subtype == 7 {
                context.local_port = Some(name);
            }
        }
    }
    Ok(())
}

/// An IANA address family number and an address.
fn network_address(bytes: &[u8]) -> Option<IpAddr> {
    let mut r = Reader::new(bytes);
    match (r.u8().ok()?, r.len()) {
        (1, 4) => r.array::<4>().ok().map(IpAddr::from),
        (2, 16) => r.array::<16>().ok().map(IpAddr::from),
        _ => None,
    }
}

/// 802.1AB §8.5.8. Enabled ones count; some agents fill in only the supported ones.
fn capabilities(body: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(body);
    let (supported, enabled) = (r.u16_be()?, r.u16_be()?);
    let bits = if enabled == 0 { supported } else { enabled };
    sink.says("lldp.capabilities", words(u32::from(bits), CAPABILITIES));
    Ok(())
}

/// 802.1AB §8.5.9. The length counts the family and the address.
fn management_address(body: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(body);
    let length = r.u8()?;
    let address = r.take(usize::from(length))?;
    if let Some(ip) = network_address(address) {
        bound(sink, About::Sender, ip, BindingSource::Stated);
    } else if let [6, mac @ ..] = address
        && let Ok(mac) = <[u8; 6]>::try_from(mac)
    {
        own_mac(sink, "lldp.chassis_mac", Mac(mac));
    }
    Ok(())
}

/// Organisationally specific TLVs (802.1AB §8.6).
fn organisation<'a>(body: &'a [u8], context: &mut Context<'a>, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(body);
    let (oui, subtype) = (r.u24_be()?, r.u8()?);
    match (oui, subtype) {
        // IEEE 802.1 VLAN name (802.1Q §D.2.3).
        (0x00_80c2, 3) => {
            r.skip(2)?;
            let length = r.u8()?;
            sink.says("lldp.vlan_name", text::clean(r.take(usize::from(length))?));
        }
        (0x00_12bb, _) => med(subtype, r, context, sink)?,
        (0x00_0ecf, _) => {
            context.profinet = true;
            if subtype == 5 {
                let mac = Mac(r.array()?);
                own_mac(sink, "lldp.chassis_mac", mac);
                let id = format!("mac:{mac}");
                sink.identifier(About::Sender, "lldp.chassis_mac", IdentifierKind::Chassis, id);
            }
        }
        // RFC 8520 §11.
        (0x00_005e, 1) => sink.says("lldp.mud_url", text::clean(r.rest())),
        _ => {}
    }
    Ok(())
}

/// ANSI/TIA-1057 §10.2.
fn med<'a>(
    subtype: u8,
    mut r: Reader<'a>,
    context: &mut Context<'a>,
    sink: &mut dyn Sink,
) -> Outcome {
    let field = match subtype {
        1 => {
            r.skip(2)?;
            let class = match r.u8()? {
                1 => "endpoint-1",
                2 => "endpoint-2",
                3 => "endpoint-3",
                4 => "network-connectivity",
                _ => "",
            };
            sink.says("lldp.med_class", class);
            return Ok(());
        }
        5 => "lldp.hardware_revision",
        6 => "lldp.firmware_revision",
        7 => "lldp.software_revision",
        8 => "lldp.serial",
        9 => "lldp.manufacturer",
        10 => "lldp.model",
        11 => "lldp.asset_id",
        _ => return Ok(()),
    };
    let value = text::clean(r.rest());
    match subtype {
        8 => context.serial = Some(value.clone()),
        9 => context.manufacturer = Some(value.clone()),
        _ => {}
    }
    sink.says(field, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::run;
    use crate::Malformed;
    use crate::link::tests::check;

    fn tlv(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap();
        [&(u16::from(kind) << 9 | length).to_be_bytes(), body].concat()
    }

    fn org(oui: [u8; 3], subtype: u8, body: &[u8]) -> Vec<u8> {
        tlv(127, &[&oui[..], &[subtype], body].concat())
    }

    #[test]
    fn a_switch_names_chassis_port_and_management_address() {
        let frame = [
            tlv(1, b"\x04\x00\x00\x5e\x00\x53\x01"),
            tlv(2, b"\x05ge-0/0/1"),
            tlv(3, b"\x00\x78"),
            tlv(4, b"uplink"),
            tlv(5, b"core-1"),
            tlv(6, b"Example Switch X1, HW: 7, FW: V4.02"),
            tlv(7, b"\x00\x14\x00\x04"),
            tlv(8, b"\x05\x01\xc0\x00\x02\x0a\x02\x00\x00\x00\x01\x00"),
            org([0x00, 0x80, 0xc2], 3, b"\x00\x0a\x06office"),
            tlv(0, b""),
            vec![0; 10],
        ]
        .concat();
        check(
            run,
            &frame,
            Ok(&[
                "sender says lldp.chassis_mac = 00:00:5e:00:53:01",
                "sender is Mac 00:00:5e:00:53:01 (lldp.chassis_mac)",
                "sender is Chassis mac:00:00:5e:00:53:01 (lldp.chassis_id)",
                "sender says lldp.chassis_id = 00:00:5e:00:53:01",
                "sender says lldp.port_id = ge-0/0/1",
                "sender says lldp.port_description = uplink",
                "sender says lldp.system_name = core-1",
                "sender says lldp.system_description = Example Switch X1, HW: 7, FW: V4.02",
                "sender says lldp.capabilities = bridge",
                "sender uses 192.0.2.10 (Stated)",
                "sender says lldp.vlan_name = office",
            ]),
        );
    }

    #[test]
    fn a_phone_tells_its_inventory() {
        let frame = [
            tlv(1, b"\x05\x01\xc0\x00\x02\x17"),
            tlv(2, b"\x03\x00\x00\x5e\x00\x53\x17"),
            tlv(7, b"\x00\x24\x00\x00"),
            org([0x00, 0x12, 0xbb], 1, b"\x00\x33\x03"),
            org([0x00, 0x12, 0xbb], 5, b"1.2"),
            org([0x00, 0x12, 0xbb], 8, b"SN12345"),
            org([0x00, 0x12, 0xbb], 9, b"Acme"),
            org([0x00, 0x12, 0xbb], 10, b"P300"),
            org([0x00, 0x00, 0x5e], 1, b"https://mud.example.com/p300"),
        ]
        .concat();
        check(
            run,
            &frame,
            Ok(&[
                "sender uses 192.0.2.23 (Stated)",
                "sender is Chassis net:192.0.2.23 (lldp.chassis_id)",
                "sender says lldp.chassis_id = 192.0.2.23",
                "sender says lldp.port_mac = 00:00:5e:00:53:17",
                "sender is Mac 00:00:5e:00:53:17 (lldp.port_mac)",
                "sender says lldp.capabilities = bridge,telephone",
                "sender says lldp.med_class = endpoint-3",
                "sender says lldp.hardware_revision = 1.2",
                "sender says lldp.serial = SN12345",
                "sender says lldp.manufacturer = Acme",
                "sender says lldp.model = P300",
                "sender says lldp.mud_url = https://mud.example.com/p300",
                "sender is Serial acme/SN12345 (lldp.serial)",
            ]),
        );
    }

    #[test]
    fn a_profinet_port_belongs_to_its_station() {
        let profinet = org([0x00, 0x0e, 0xcf], 5, b"\x00\x00\x5e\x00\x53\x40");
        let mac_lines = [
            "sender says lldp.chassis_mac = 00:00:5e:00:53:40",
            "sender is Mac 00:00:5e:00:53:40 (lldp.chassis_mac)",
            "sender is Chassis mac:00:00:5e:00:53:40 (lldp.chassis_mac)",
            "sender is StationName conveyor-4 (pn.station_name)",
            "sender says pn.station_name = conveyor-4",
        ];
        let old = [tlv(1, b"\x07conveyor-4"), tlv(2, b"\x07port-001"), profinet.clone()].concat();
        let head = [
            "sender is Chassis local:conveyor-4 (lldp.chassis_id)",
            "sender says lldp.chassis_id = conveyor-4",
            "sender says lldp.port_id = port-001",
        ];
        check(run, &old, Ok(&[&head[..], &mac_lines].concat()));
        let new = [tlv(1, b"\x07X 1"), tlv(2, b"\x07port-001.conveyor-4"), profinet].concat();
        let head = [
            "sender is Chassis local:X 1 (lldp.chassis_id)",
            "sender says lldp.chassis_id = X 1",
            "sender says lldp.port_id = port-001.conveyor-4",
        ];
        check(run, &new, Ok(&[&head[..], &mac_lines].concat()));
    }

    #[test]
    fn interface_names_identify_nobody() {
        check(run, &tlv(1, b"\x06eth0"), Ok(&["sender says lldp.chassis_id = eth0"]));
    }

    #[test]
    fn broken_frames_are_refused() {
        check(run, b"\x04\x02\x05x", Err(Malformed::NotMine));
        check(run, &tlv(1, b"\x04\x00\x00"), Err(Malformed::Truncated));
        check(run, &tlv(1, b"\x09xyz"), Err(Malformed::Invalid));
        let endless = [tlv(1, b"\x06eth0"), tlv(9, b"").repeat(200)].concat();
        check(run, &endless, Err(Malformed::Limit));
    }
}
