//! What is in the warehouse: a table of devices, and of the paths they need.

use std::net::Ipv4Addr;

use model::Mac;
use model::observation::Transport;

/// Domain that DHCP and DNS hand out.
pub const DOMAIN: &str = "warehouse.example";
/// The site's subnet: 10.77.0.0/24.
pub const SUBNET: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 77, 0, 0), 24);
/// The gateway on it.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The gateway's link address (PC Engines).
pub const GATEWAY_MAC: Mac = Mac([0x00, 0x0d, 0xb9, 0x4a, 0x10, 0x01]);
/// The gateway's address towards the outside.
pub const GATEWAY_WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The payment service outside.
pub const PAYMENTS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// Its name.
pub const PAYMENTS_NAME: &str = "api.payments.example";

/// A device as it is built.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Name in the lab: `camera`.
    pub name: &'static str,
    /// What it is, in a zone's word: `camera`, `plc`.
    pub role: &'static str,
    /// Link address; the first half is the maker's.
    pub mac: Mac,
    /// Last byte of its address in the subnet.
    pub host: u8,
    /// Name it gives itself in DHCP; `None`: its address is set by hand.
    pub hostname: Option<&'static str>,
    /// DHCP option 60.
    pub vendor_class: &'static str,
    /// DHCP option 161 (RFC 8520 §10).
    pub mud_url: Option<&'static str>,
    /// TCP ports it serves.
    pub serves: &'static [u16],
    /// What it is in the real world, for tables and for comparing with an inventory.
    pub product: &'static str,
}

impl Spec {
    /// Its network address.
    pub const fn ip(&self) -> Ipv4Addr {
        let [a, b, c, _] = SUBNET.0.octets();
        Ipv4Addr::new(a, b, c, self.host)
    }
}

const LINUX: &str = "dhcpcd-9.4.1:Linux-5.10.0-28-amd64:x86_64:GenuineIntel";

/// All devices on the bridge.
pub const DEVICES: [Spec; 12] = [
    Spec {
        name: "broker",
        role: "broker",
        mac: Mac([0x0c, 0xc4, 0x7a, 0x10, 0x77, 0x10]), // Super Micro
        host: 10,
        hostname: Some("mqtt01"),
        vendor_class: LINUX,
        mud_url: None,
        serves: &[1883],
        product: "Supermicro server, Mosquitto",
    },
    Spec {
        name: "sensor-cold",
        role: "sensor",
        mac: Mac([0xb8, 0x27, 0xeb, 0x4f, 0x10, 0x21]), // Raspberry Pi
        host: 21,
        hostname: Some("coldroom-1"),
        vendor_class: "dhcpcd-9.4.1:Linux-6.1.21-v7+:armv7l:BCM2835",
        mud_url: Some("https://mud.sensors.example/coldroom-v2.json"),
        serves: &[],
        product: "Raspberry Pi cold-room sensor",
    },
    Spec {
        name: "sensor-dock",
        role: "sensor",
        mac: Mac([0x24, 0x0a, 0xc4, 0x8a, 0x55, 0x22]), // Espressif
        host: 22,
        hostname: Some("shellyht-8A5522"),
        vendor_class: "udhcp 1.24.1",
        mud_url: None,
        serves: &[],
        product: "Shelly H&T dock sensor",
    },
    Spec {
        name: "plc",
        role: "plc",
        mac: Mac([0x00, 0x80, 0xf4, 0x12, 0x34, 0x30]), // Telemecanique / Schneider Electric
        host: 30,
        hostname: None,
        vendor_class: "",
        mud_url: None,
        serves: &[502],
        product: "Schneider Electric BMX P34 2020",
    },
    Spec {
        name: "hmi",
        role: "hmi",
        mac: Mac([0x00, 0xd0, 0xc9, 0xab, 0x12, 0x31]), // Advantech
        host: 31,
        hostname: Some("hmi-packing-1"),
        vendor_class: "MSFT 5.0",
        mud_url: None,
        serves: &[],
        product: "Advantech operator panel",
    },
    Spec {
        name: "camera",
        role: "camera",
        mac: Mac([0xac, 0xcc, 0x8e, 0x12, 0x34, 0x40]), // Axis
        host: 40,
        hostname: Some("axis-accc8e123440"),
        vendor_class: "AXIS,Network Camera,M3045-V,9.80.3.8",
        mud_url: None,
        serves: &[80, 554],
        product: "Axis M3045-V",
    },
    Spec {
        name: "nvr",
        role: "nvr",
        mac: Mac([0x00, 0x11, 0x32, 0xaa, 0xbb, 0x41]), // Synology
        host: 41,
        hostname: Some("nvr-dock"),
        vendor_class: "synology-ds220plus",
        mud_url: None,
        serves: &[5000],
        product: "Synology DS220+ video recorder",
    },
    Spec {
        name: "printer",
        role: "printer",
        mac: Mac([0x00, 0x07, 0x4d, 0x6a, 0x10, 0x50]), // Zebra
        host: 50,
        hostname: Some("ZBR6A1050"),
        vendor_class: "Zebra ZT410",
        mud_url: None,
        serves: &[80, 9100],
        product: "Zebra ZT410 label printer",
    },
    Spec {
        name: "scanner",
        role: "scanner",
        mac: Mac([0x00, 0x10, 0x20, 0x51, 0x00, 0x51]), // Hand Held Products (Honeywell)
        host: 51,
        hostname: Some("CT40-0051"),
        vendor_class: "android-dhcp-11",
        mud_url: None,
        serves: &[],
        product: "Honeywell CT40 hand scanner",
    },
    Spec {
        name: "till",
        role: "till",
        mac: Mac([0x00, 0x0b, 0x4f, 0x60, 0x00, 0x60]), // Verifone
        host: 60,
        hostname: Some("till-1"),
        vendor_class: "Verifone Carbon",
        mud_url: None,
        serves: &[5015],
        product: "Verifone till",
    },
    Spec {
        name: "files",
        role: "file-server",
        mac: Mac([0x24, 0x5e, 0xbe, 0x00, 0x77, 0x70]), // QNAP
        host: 70,
        hostname: Some("nas-office"),
        vendor_class: LINUX,
        mud_url: None,
        serves: &[8080],
        product: "QNAP TS-453D file server",
    },
    Spec {
        name: "laptop",
        role: "engineering",
        mac: Mac([0xf8, 0xbc, 0x12, 0x80, 0x00, 0x80]), // Dell
        host: 80,
        hostname: Some("ENG-LAPTOP-7"),
        vendor_class: "MSFT 5.0",
        mud_url: None,
        serves: &[],
        product: "Dell engineering laptop",
    },
];

/// A path the warehouse needs to work. The truth that a draft policy is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// Client.
    pub from: &'static str,
    /// Server: a device, `gateway` or `payments`.
    pub to: &'static str,
    /// Transport.
    pub transport: Transport,
    /// Server port.
    pub port: u16,
}

const fn tcp(from: &'static str, to: &'static str, port: u16) -> Need {
    Need { from, to, transport: Transport::Tcp, port }
}

const fn udp(from: &'static str, to: &'static str, port: u16) -> Need {
    Need { from, to, transport: Transport::Udp, port }
}

/// All of them; DHCP aside, which the gateway always answers.
pub const NEEDS: [Need; 21] = [
    tcp("sensor-cold", "broker", 1883),
    tcp("sensor-dock", "broker", 1883),
    tcp("hmi", "broker", 1883),
    tcp("hmi", "plc", 502),
    tcp("laptop", "plc", 502),
    tcp("laptop", "camera", 80),
    tcp("laptop", "files", 8080),
    tcp("nvr", "camera", 554),
    tcp("nvr", "camera", 80),
    tcp("scanner", "printer", 9100),
    tcp("scanner", "files", 8080),
    tcp("till", "payments", 8080),
    udp("sensor-cold", "gateway", 53),
    udp("sensor-dock", "gateway", 53),
    udp("hmi", "gateway", 53),
    udp("nvr", "gateway", 53),
    udp("scanner", "gateway", 53),
    udp("till", "gateway", 53),
    udp("laptop", "gateway", 53),
    udp("camera", "gateway", 123),
    udp("nvr", "gateway", 123),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_consistent() {
        let names: BTreeSet<_> = DEVICES.iter().map(|spec| spec.name).collect();
        let hosts: BTreeSet<_> = DEVICES.iter().map(|spec| spec.host).collect();
        let macs: BTreeSet<_> = DEVICES.iter().map(|spec| spec.mac).collect();
        assert_eq!([names.len(), hosts.len(), macs.len()], [DEVICES.len(); 3]);
        assert!(DEVICES.iter().all(|spec| spec.mac.is_unicast() && !spec.mac.is_local()));
        for need in NEEDS {
            assert!(names.contains(need.from), "{need:?}");
            match need.to {
                "gateway" | "payments" => {}
                name => {
                    let spec = DEVICES.iter().find(|spec| spec.name == name).unwrap();
                    assert!(spec.serves.contains(&need.port), "{need:?}");
                }
            }
        }
        assert_eq!(BTreeSet::from(NEEDS).len(), NEEDS.len());
    }
}
