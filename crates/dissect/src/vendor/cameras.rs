//! Discovery of the two largest camera makers, whose cameras carry many other names: Hikvision
//! SADP (UDP 37020, XML) and Dahua (UDP 37810, JSON).

use std::net::IpAddr;

use model::observation::IdentifierKind;

use super::own_ip;
use crate::identity::own_mac_text;
use crate::scan::{json, xml};
use crate::{About, Ctx, Malformed, Outcome, Reader, Sink, text};

/// `<ProbeMatch>` answers a `<Probe>`.
pub(super) fn run_sadp(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    match xml::root(payload) {
        Some(b"Probe") => return Ok(()),
        Some(b"ProbeMatch") => {}
        _ => return Err(Malformed::NotMine),
    }
    let of = |tag| xml::text_of(payload, tag).unwrap_or_default();
    let fields = [
        ("sadp.model", "DeviceDescription"),
        ("sadp.type", "DeviceType"),
        ("sadp.serial", "DeviceSN"),
        ("sadp.software_version", "SoftwareVersion"),
        ("sadp.activated", "Activated"),
    ];
    for (field, tag) in fields {
        sink.says(field, of(tag));
    }
    serial("sadp.serial", "hikvision", &of("DeviceSN"), sink);
    own_mac_text(sink, "sadp.mac", &of("MAC"));
    for tag in ["IPv4Address", "IPv6Address"] {
        if let Ok(ip) = of(tag).parse() {
            own_ip(sink, ip);
        }
    }
    Ok(())
}

fn serial(field: &'static str, vendor: &str, serial: &str, sink: &mut dyn Sink) {
    let serial = serial.trim();
    if serial.len() >= 6 && text::is_name(serial) {
        let value = format!("{vendor}/{serial}");
        sink.identifier(About::Sender, field, IdentifierKind::Serial, value);
    }
}

/// The header of Dahua's protocol: its length and the letters DHIP.
pub(super) fn probe_dahua(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x20\0\0\0DHIP")
}

/// A header of 32 bytes, then JSON. `client.notifyDevInfo` is the answer to a search.
pub(super) fn run_dahua(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if !probe_dahua(payload) {
        return Err(Malformed::NotMine);
    }
    let mut r = Reader::new(payload);
    r.skip(32)?;
    let mut lines: Vec<(&str, String)> = Vec::new();
    let (mut mac, mut number, mut answer) = (String::new(), String::new(), false);
    let mut ips: Vec<IpAddr> = Vec::new();
    json::walk(r.rest(), &mut |path, value| {
        let field = match path {
            "method" => return answer = value == "client.notifyDevInfo",
            "mac" => return value.clone_into(&mut mac),
            "params.deviceInfo.IPv4Address.IPAddress" => {
                return ips.extend(value.parse::<IpAddr>());
            }
            "params.deviceInfo.SerialNo" => {
                value.clone_into(&mut number);
                "dahua.serial"
            }
            "params.deviceInfo.DeviceType" => "dahua.model",
            "params.deviceInfo.DeviceClass" => "dahua.class",
            "params.deviceInfo.MachineName" => "dahua.name",
            "params.deviceInfo.Vendor" => "dahua.vendor",
            "params.deviceInfo.Version" => "dahua.version",
            _ => return,
        };
        lines.push((field, value.to_owned()));
    })?;
    if !answer {
        return Ok(());
    }
    for (field, value) in lines {
        sink.says(field, value);
    }
    serial("dahua.serial", "dahua", &number, sink);
    own_mac_text(sink, "dahua.mac", &mac);
    ips.into_iter().for_each(|ip| own_ip(sink, ip));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::tests::check;

    #[test]
    fn a_hikvision_camera_answers() {
        let answer = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<ProbeMatch><Uuid>A-1</Uuid>\
            <Types>inquiry</Types><DeviceType>3089</DeviceType>\
            <DeviceDescription>DS-2CD0000-I</DeviceDescription>\
            <DeviceSN>DS-2CD0000-I20200101AAWR123456789</DeviceSN><MAC>00-00-5e-00-53-01</MAC>\
            <IPv4Address>192.0.2.64</IPv4Address><IPv6Address>::</IPv6Address>\
            <SoftwareVersion>V5.4.5build 170124</SoftwareVersion><Activated>true</Activated>\
            </ProbeMatch>";
        let expect = [
            "sender says sadp.model = DS-2CD0000-I",
            "sender says sadp.type = 3089",
            "sender says sadp.serial = DS-2CD0000-I20200101AAWR123456789",
            "sender says sadp.software_version = V5.4.5build 170124",
            "sender says sadp.activated = true",
            "sender is Serial hikvision/DS-2CD0000-I20200101AAWR123456789 (sadp.serial)",
            "sender says sadp.mac = 00:00:5e:00:53:01",
            "sender is Mac 00:00:5e:00:53:01 (sadp.mac)",
            "sender uses 192.0.2.64 (Stated)",
        ];
        check(run_sadp, (37020, 37020), answer, Ok(&expect));
        let question = b"<?xml version=\"1.0\"?><Probe><Uuid>A-1</Uuid></Probe>";
        check(run_sadp, (37020, 37020), question, Ok(&[]));
        check(run_sadp, (37020, 37020), b"hello", Err(Malformed::NotMine));
    }

    fn dahua(json: &str) -> Vec<u8> {
        [&b"\x20\0\0\0DHIP"[..], &[0; 24], json.as_bytes(), b"\n\0"].concat()
    }

    #[test]
    fn a_dahua_camera_answers() {
        let answer = dahua(
            r#"{"mac":"00:00:5e:00:53:02","method":"client.notifyDevInfo","params":{"deviceInfo":{
            "DeviceClass":"IPC","DeviceType":"IPC-HDW0000","IPv4Address":{"IPAddress":"192.0.2.108"},
            "SerialNo":"1F00000PAX00001","Vendor":"Dahua","Version":"2.400.0.8","Port":37777}}}"#,
        );
        let expect = [
            "sender says dahua.class = IPC",
            "sender says dahua.model = IPC-HDW0000",
            "sender says dahua.serial = 1F00000PAX00001",
            "sender says dahua.vendor = Dahua",
            "sender says dahua.version = 2.400.0.8",
            "sender is Serial dahua/1F00000PAX00001 (dahua.serial)",
            "sender says dahua.mac = 00:00:5e:00:53:02",
            "sender is Mac 00:00:5e:00:53:02 (dahua.mac)",
            "sender uses 192.0.2.108 (Stated)",
        ];
        check(run_dahua, (37810, 40000), &answer, Ok(&expect));
        let question = dahua(r#"{"method":"DHDiscover.search","params":{"mac":"","uni":1}}"#);
        check(run_dahua, (40000, 37810), &question, Ok(&[]));
        check(run_dahua, (37810, 40000), b"hello", Err(Malformed::NotMine));
        check(run_dahua, (37810, 40000), &dahua("{"), Err(Malformed::Invalid));
    }
}
