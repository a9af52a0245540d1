//! Reports made by hand and at random.

use std::net::IpAddr;

use model::inspect::{
    Attribute, Conduit, Device, Direction, Evidence, Finding, Input, PathEvidence, Proposal,
    Report, SCHEMA, Scope, Service, Severity, Span, Status,
};
use model::observation::Transport;
use model::{Assurance, DeviceId, Mac, ServiceId, SiteId, Timestamp};
use proptest::prelude::*;

pub(crate) const TCP: Transport = Transport::Tcp;
pub(crate) const UDP: Transport = Transport::Udp;

/// Seconds after an arbitrary first packet.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(1_900_000_000 + seconds, 0)
}

/// A report under construction.
pub(crate) struct Sample(pub(crate) Report);

impl Sample {
    pub(crate) fn new(seconds: i64) -> Self {
        Self(Report {
            schema: SCHEMA.to_owned(),
            inputs: vec![Input {
                name: "lab.pcap".to_owned(),
                packets: 1000,
                bytes: 100_000,
                errors: Vec::new(),
                truncated: false,
                dropped: 0,
            }],
            span: Span { first: at(0), last: at(seconds) },
            devices: Vec::new(),
            services: Vec::new(),
            conduits: Vec::new(),
            findings: Vec::new(),
            reach: None,
        })
    }

    /// A device with one link address made from its position.
    pub(crate) fn device(&mut self, id: &str, kind: &str, ips: &[&str]) -> &mut Device {
        let n = u8::try_from(self.0.devices.len()).unwrap();
        let attribute = |value: &str| Attribute {
            value: value.to_owned(),
            confidence: 0.9,
            evidence: Vec::new(),
            contradicted_by: Vec::new(),
        };
        self.0.devices.push(Device {
            id: DeviceId::new(id).unwrap(),
            aliases: Vec::new(),
            site: SiteId::new("main").unwrap(),
            macs: vec![Mac([2, 0, 0, 0, 0, n])],
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
            vlans: Vec::new(),
            hostnames: Vec::new(),
            vendor: None,
            model: None,
            kind: (!kind.is_empty()).then(|| attribute(kind)),
            firmware: None,
            hardware: None,
            serial: None,
            os: None,
            chip_vendor: None,
            role: None,
            status: Status::Confirmed,
            assurance: Assurance::Observed,
            parent: None,
            children: Vec::new(),
            via: None,
            identifiers: Vec::new(),
            firmware_history: Vec::new(),
            mud_url: None,
            located_at: Vec::new(),
            clients: Vec::new(),
            merge_suggestions: Vec::new(),
            protocols: Vec::new(),
            first_seen: at(0),
            last_seen: at(100),
            packets: 1,
            bytes: 100,
            packets_to_identity: None,
        });
        self.0.devices.last_mut().unwrap()
    }

    /// A service; `host` is a device id, or empty for one outside (with a name) or a group.
    pub(crate) fn service(
        &mut self,
        host: &str,
        name: &str,
        ips: &[&str],
        transport: Transport,
        port: u16,
        protocol: &str,
    ) -> String {
        let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        let group = transport == Transport::Link
            || ips.first().is_some_and(IpAddr::is_multicast)
            || ips.iter().any(|ip| *ip == IpAddr::from([255, 255, 255, 255]));
        let scope = match (host.is_empty(), group) {
            (false, _) => Scope::Estate,
            (true, true) => Scope::Group,
            (true, false) => Scope::External,
        };
        let end = if host.is_empty() { name } else { host };
        let id = format!("svc:{end}/{}/{port}", transport.word());
        self.0.services.push(Service {
            id: ServiceId::new(&id).unwrap(),
            name: end.to_owned(),
            device: (!host.is_empty()).then(|| DeviceId::new(host).unwrap()),
            scope,
            addresses: ips,
            dns_names: if scope == Scope::External { vec![name.to_owned()] } else { Vec::new() },
            transport,
            port,
            protocol: (!protocol.is_empty()).then(|| protocol.to_owned()),
        });
        id
    }

    /// A used path.
    pub(crate) fn path(&mut self, from: &str, to: &str) -> &mut Conduit {
        let service = self.0.services.iter().find(|s| s.id.as_str() == to).unwrap();
        let packet = 10 + u64::try_from(self.0.conduits.len()).unwrap();
        let seen = i64::try_from(packet).unwrap();
        self.0.conduits.push(Conduit {
            from: DeviceId::new(from).unwrap(),
            to: service.id.clone(),
            transport: service.transport,
            port: service.port,
            protocol: service.protocol.clone(),
            direction: Direction::FromDevice,
            dns_name: service.dns_names.first().cloned(),
            first_seen: at(seen),
            last_seen: at(seen + 50),
            flows: 3,
            packets: 30,
            bytes: 3_000,
            evidence: PathEvidence { input: "lab.pcap".into(), packet },
            proposal: Proposal::Allow,
        });
        self.0.conduits.last_mut().unwrap()
    }

    pub(crate) fn finding(&mut self, kind: &str, device: &str, protocol: &str) {
        self.0.findings.push(Finding {
            kind: kind.to_owned(),
            severity: Severity::High,
            device: Some(DeviceId::new(device).unwrap()),
            title: format!("{kind} by {device}"),
            detail: String::new(),
            at: at(5),
            evidence: vec![Evidence {
                input: "lab.pcap".into(),
                packet: 5,
                protocol: protocol.into(),
                field: "".into(),
                value: "".into(),
                rule: "".into(),
                observed_at: at(5),
            }],
            count: 1,
        });
    }
}

/// A small warehouse, observed for an hour, with a camera that has been taken over.
pub(crate) fn warehouse() -> Report {
    let mut s = Sample::new(3600);
    let dhcp = {
        s.device("gw", "gateway", &["10.0.1.1", "10.0.2.1", "10.0.3.1"]);
        s.service("gw", "", &["10.0.1.1", "10.0.2.1", "10.0.3.1"], UDP, 67, "dhcp")
    };
    let dns = s.service("gw", "", &["10.0.1.1"], UDP, 53, "dns");
    let cameras = ["cam-1", "cam-2", "cam-3", "cam-4"];
    for (i, cam) in cameras.iter().enumerate() {
        s.device(cam, "ip-camera", &[&format!("10.0.1.{}", 11 + i)]).vendor = Some(Attribute {
            value: "Acme".to_owned(),
            confidence: 1.0,
            evidence: Vec::new(),
            contradicted_by: Vec::new(),
        });
    }
    s.device("nvr", "nvr", &["10.0.1.20", "fd00:1::20"]);
    for plc in [("plc-1", "10.0.2.11"), ("plc-2", "10.0.2.12")] {
        s.device(plc.0, "plc", &[plc.1]);
    }
    s.device("hmi", "hmi", &["10.0.2.50"]);
    let module = s.device("plc-1-slot-3", "plc-module", &[]);
    module.parent = Some(DeviceId::new("plc-1").unwrap());
    module.macs.clear();
    for till in [("till-1", "10.0.3.11"), ("till-2", "10.0.3.12")] {
        s.device(till.0, "till", &[till.1]);
    }
    s.device("pay", "payment-server", &["10.0.3.100"]);
    s.device("files", "file-server", &["10.0.3.101"]);
    s.device("broker", "mqtt-broker", &["10.0.3.102"]);
    for sensor in [("sensor-1", "10.0.3.21"), ("sensor-2", "10.0.3.22"), ("sensor-3", "10.0.3.23")]
    {
        s.device(sensor.0, "sensor", &[sensor.1]);
    }
    s.device("mystery", "", &["10.0.3.99"]);

    let rtsp: Vec<String> = cameras
        .iter()
        .enumerate()
        .map(|(i, c)| s.service(c, "", &[&format!("10.0.1.{}", 11 + i)], TCP, 554, "rtsp"))
        .collect();
    let ntp1 = s.service("", "time1.example.org", &["203.0.113.1"], UDP, 123, "ntp");
    let ntp2 = s.service("", "time2.example.org", &["203.0.113.2"], UDP, 123, "ntp");
    let cloud =
        s.service("", "cloud.acme.example", &["203.0.113.7", "2001:db8::7"], TCP, 443, "tls");
    let mdns = s.service("", "mdns", &["224.0.0.251"], UDP, 5353, "mdns");
    let modbus = [("plc-1", "10.0.2.11"), ("plc-2", "10.0.2.12")]
        .map(|(plc, ip)| s.service(plc, "", &[ip], TCP, 502, "modbus"));
    let goose = s.service("", "goose", &[], Transport::Link, 0x88b8, "goose");
    let pay = s.service("pay", "", &["10.0.3.100"], TCP, 443, "tls");
    let till_web = s.service("till-1", "", &["10.0.3.11"], TCP, 443, "tls");
    let smb = s.service("files", "", &["10.0.3.101"], TCP, 445, "smb");
    let telnet = s.service("files", "", &["10.0.3.101"], TCP, 23, "telnet");
    let web = s.service("files", "", &["10.0.3.101"], TCP, 80, "http");
    let mqtt = s.service("broker", "", &["10.0.3.102"], TCP, 1883, "mqtt");
    let ping = s.service("nvr", "", &["10.0.1.20"], Transport::Icmp, 8, "icmp");

    for rtsp in &rtsp {
        s.path("nvr", rtsp);
    }
    for cam in cameras {
        s.path(cam, &dns);
        s.path(cam, &cloud);
        s.path(cam, &ping);
    }
    s.path("cam-1", &dhcp);
    s.path("cam-1", &ntp1);
    s.path("cam-4", &ntp2);
    s.path("cam-2", &till_web);
    s.path("cam-2", &smb);
    s.path("cam-3", &telnet);
    s.path("hmi", &modbus[0]);
    s.path("hmi", &modbus[1]);
    s.path("plc-1", &goose);
    for till in ["till-1", "till-2"] {
        s.path(till, &pay);
    }
    s.path("till-1", &mdns);
    s.path("till-2", &smb).direction = Direction::Either;
    for sensor in ["sensor-1", "sensor-2", "sensor-3"] {
        s.path(sensor, &mqtt);
    }
    s.path("mystery", &mqtt);
    s.path("hmi", &web);
    s.path("pay", &cloud).proposal = Proposal::NotAllowed("one answer only".to_owned());
    s.finding("scan", "cam-2", "tcp");
    s.finding("cleartext-admin", "files", "http");
    s.0
}

/// Small estates with everything that drafts and compilation must cope with.
pub(crate) fn estates() -> impl Strategy<Value = Report> {
    let device = (0usize..6, 0u8..3, 0u8..8);
    let service = (0usize..40, 0u16..4, 0usize..5);
    let path = (0usize..40, 0usize..40, 0u8..12);
    (
        prop::collection::vec(device, 1..14),
        prop::collection::vec(service, 0..14),
        prop::collection::vec(path, 0..50),
        prop::collection::vec(0usize..14, 0..2),
    )
        .prop_map(|(devices, services, paths, scanners)| {
            random(&devices, &services, &paths, &scanners)
        })
}

fn random(
    devices: &[(usize, u8, u8)],
    services: &[(usize, u16, usize)],
    paths: &[(usize, usize, u8)],
    scanners: &[usize],
) -> Report {
    let kinds = ["ip-camera", "plc", "till", "", "file-server", "payment-terminal"];
    let mut s = Sample::new(3600);
    for (i, (kind, subnet, oddity)) in devices.iter().enumerate() {
        let v4 = format!("10.0.{subnet}.{}", i + 1);
        let v6 = format!("fd00:{subnet}::{:x}", i + 1);
        let second = format!("10.9.{subnet}.{}", i + 1);
        let ips: &[&str] = match oddity {
            0 => &[&v4, &v6],
            1 => &[&v4, &second],
            2 => &[],
            3 => &[&v6],
            _ => &[&v4],
        };
        let device = s.device(&format!("d{i}"), kinds[*kind], ips);
        match oddity {
            4 => device.macs.push(Mac([2, 0, 0, 1, 0, u8::try_from(i).unwrap()])),
            5 if i > 0 => {
                device.macs.clear();
                device.parent = Some(DeviceId::new(&format!("d{}", i - 1)).unwrap());
            }
            6 => device.site = SiteId::new("other").unwrap(),
            _ => {}
        }
    }
    let ports =
        [(TCP, 443), (UDP, 67), (Transport::Icmp, 8), (TCP, 502), (Transport::Link, 0x88b8)];
    let mut ids: Vec<String> = Vec::new();
    for (i, (host, flavour, port)) in services.iter().enumerate() {
        let (transport, port) = ports[*port];
        let device = s.0.devices.get(*host % (devices.len() * 2)).cloned();
        let ips: Vec<String> = match (&device, flavour) {
            (Some(d), 0) => d.ips.iter().take(1).map(ToString::to_string).collect(),
            (Some(d), _) => d.ips.iter().map(ToString::to_string).collect(),
            (None, 1) => vec![format!("239.0.0.{}", i + 1)],
            (None, _) => vec![format!("203.0.113.{}", i + 1)],
        };
        let ips: Vec<&str> = ips.iter().map(String::as_str).collect();
        let (host, name) = match &device {
            Some(d) => (d.id.to_string(), String::new()),
            None => (String::new(), format!("x{i}.example.org")),
        };
        if !ids.contains(&format!("svc:{host}{name}/{}/{port}", transport.word())) {
            ids.push(s.service(&host, &name, &ips, transport, port, ""));
        }
    }
    for (from, to, oddity) in paths {
        let from = format!("d{}", from % devices.len());
        let Some(to) = ids.get(to % ids.len().max(1)).cloned() else {
            continue;
        };
        let conduit = s.path(&from, &to);
        match oddity {
            0 => conduit.direction = Direction::Either,
            1 => conduit.proposal = Proposal::NotAllowed("odd".to_owned()),
            _ => {}
        }
    }
    for scanner in scanners {
        s.finding("scan", &format!("d{}", scanner % devices.len()), "tcp");
    }
    s.0
}
