//! Estates of any size for benches: shops with cameras, recorders, tills, sensors, PLCs and panels, and
//! the hardest case, where no two devices are alike.

use std::net::{IpAddr, Ipv4Addr};

use model::inspect::{
    Attribute, Conduit, Device, Direction, PathEvidence, Proposal, Report, SCHEMA, Scope, Service,
    Span, Status,
};
use model::observation::Transport;
use model::{Assurance, DeviceId, IdError, Mac, ServiceId, SiteId, Timestamp};
use policy::draft::{DraftOptions, draft};
use policy::folder::{self, Folder};
use policy::lower::{Grant, Lowered};

const SHOP: [(&str, u32); 6] =
    [("ip-camera", 40), ("nvr", 2), ("till", 20), ("sensor", 30), ("plc", 6), ("hmi", 2)];

/// Shops of a hundred devices each, with the paths they use; a ring of paths through all shops.
pub(crate) fn shops(devices: u32) -> Result<Report, IdError> {
    let at = Timestamp::from_secs(1_900_000_000, 0);
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        inputs: Vec::new(),
        span: Span { first: at, last: at },
        devices: Vec::new(),
        services: Vec::new(),
        conduits: Vec::new(),
        findings: Vec::new(),
        reach: None,
    };
    let (mut n, mut shop) = (0u32, 0u32);
    service(&mut report, None, "cloud", 443)?;
    service(&mut report, None, "bank", 443)?;
    while n < devices {
        let first = report.devices.len();
        for (kind, count) in SHOP {
            for _ in 0..count {
                if n < devices {
                    report.devices.push(device(n, shop, kind, at)?);
                    n = n.saturating_add(1);
                }
            }
        }
        let here: Vec<Device> = report.devices.iter().skip(first).cloned().collect();
        paths(&mut report, &here, shop, at)?;
        shop = shop.saturating_add(1);
    }
    Ok(report)
}

/// Every device reaches ten of the thousand before it, so that every device has another reach and hops go
/// through the whole estate.
pub(crate) fn chain(devices: u32) -> Result<(Folder, Lowered), IdError> {
    let mut report = shops(0)?;
    let at = Timestamp::from_secs(1_900_000_000, 0);
    for n in 0..devices {
        let device = device(n, 0, "x", at)?;
        service(&mut report, Some(&device), "x", 1)?;
        report.devices.push(device);
    }
    report.services.drain(..2);
    let folder = draft(&report, &DraftOptions::default()).folder;
    let before = |n: u32| {
        let mut of: Vec<u32> = (1..=10u32)
            .map(|k| n.wrapping_mul(2_654_435_761).wrapping_mul(k) >> 22)
            .filter_map(|back| n.checked_sub(back.saturating_add(1)))
            .collect();
        of.sort_unstable();
        of.dedup();
        of.into_iter().map(|service| Grant { service, policy: 0 }).collect()
    };
    let lowered = Lowered {
        profile_of: (0..devices).collect(),
        profiles: (0..devices).map(before).collect(),
        ..Lowered::default()
    };
    Ok((folder, lowered))
}

/// A folder of devices that each offer one service and are each granted ten others; no two are alike.
pub(crate) fn unlike(devices: u32) -> Result<(Folder, Lowered), IdError> {
    let at = |n: u32, k: u32| n.wrapping_add(k.wrapping_mul(0x9e37_79b1) >> 4) % devices.max(1);
    let mut estate = folder::Estate::default();
    for n in 0..devices {
        let id = DeviceId::new(&format!("d{n}"))?;
        estate.services.push(folder::Service {
            id: ServiceId::new(&format!("s{n}"))?,
            name: String::new(),
            device: Some(id.clone()),
            scope: Scope::Estate,
            zone: String::new(),
            addresses: Vec::new(),
            dns_names: Vec::new(),
            transport: Transport::Tcp,
            port: 1,
            application: String::new(),
            owner: String::new(),
            sensitive: false,
            assurance_min: Assurance::Observed,
        });
        estate.devices.push(folder::Device {
            id,
            name: String::new(),
            kind: String::new(),
            zone: String::new(),
            macs: Vec::new(),
            addresses: Vec::new(),
            behind: None,
            owner: String::new(),
            assurance: Assurance::Observed,
            support: String::new(),
            exposure: String::new(),
            posture: String::new(),
            meant: None,
            mud_url: None,
        });
    }
    let granted = |n: u32| {
        let mut of: Vec<u32> = (1..=10u32).map(|k| at(n.wrapping_mul(k), k)).collect();
        of.sort_unstable();
        of.dedup();
        of.into_iter().map(|service| Grant { service, policy: 0 }).collect()
    };
    let lowered = Lowered {
        profile_of: (0..devices).collect(),
        profiles: (0..devices).map(granted).collect(),
        ..Lowered::default()
    };
    let folder = Folder {
        schema: String::new(),
        estate,
        policies: Vec::new(),
        tests: folder::Tests::default(),
        claims: Vec::new(),
        exceptions: Vec::new(),
        cards: Vec::new(),
    };
    Ok((folder, lowered))
}

fn device(n: u32, shop: u32, kind: &str, at: Timestamp) -> Result<Device, IdError> {
    let kind = Attribute {
        value: kind.to_owned(),
        confidence: 1.0,
        evidence: Vec::new(),
        contradicted_by: Vec::new(),
    };
    let [a, b, c, d] = n.to_be_bytes();
    Ok(Device {
        id: DeviceId::new(&format!("d{n}"))?,
        aliases: Vec::new(),
        site: SiteId::new(&format!("shop-{shop}"))?,
        macs: vec![Mac([2, 0, a, b, c, d])],
        ips: vec![IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | (n / 200) << 8 | (n % 200 + 1)))],
        vlans: Vec::new(),
        hostnames: Vec::new(),
        vendor: None,
        model: None,
        kind: Some(kind),
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
        first_seen: at,
        last_seen: at,
        packets: 1,
        bytes: 1,
        packets_to_identity: None,
    })
}

fn service(
    report: &mut Report,
    host: Option<&Device>,
    name: &str,
    port: u16,
) -> Result<ServiceId, IdError> {
    let id = ServiceId::new(&format!("{}{name}/{port}", host.map_or("", |h| h.id.as_str())))?;
    let outside =
        Ipv4Addr::from_bits(0xcb00_7100 | u32::try_from(report.services.len() % 200).unwrap_or(1));
    report.services.push(Service {
        id: id.clone(),
        name: name.to_owned(),
        device: host.map(|h| h.id.clone()),
        scope: if host.is_some() { Scope::Estate } else { Scope::External },
        addresses: host.map_or_else(|| vec![outside.into()], |h| h.ips.clone()),
        dns_names: if host.is_some() { Vec::new() } else { vec![format!("{name}.example")] },
        transport: Transport::Tcp,
        port,
        protocol: None,
    });
    Ok(id)
}

fn paths(report: &mut Report, here: &[Device], shop: u32, at: Timestamp) -> Result<(), IdError> {
    let of = |kind: &'static str| {
        here.iter().filter(move |d| d.kind.as_ref().is_some_and(|k| k.value == kind))
    };
    let mut used: Vec<(DeviceId, ServiceId)> = Vec::new();
    let cloud = ServiceId::new("cloud/443")?;
    let bank = ServiceId::new("bank/443")?;
    for camera in of("ip-camera") {
        let rtsp = service(report, Some(camera), "rtsp", 554)?;
        used.extend(of("nvr").map(|nvr| (nvr.id.clone(), rtsp.clone())));
        used.push((camera.id.clone(), cloud.clone()));
    }
    for plc in of("plc") {
        let modbus = service(report, Some(plc), "modbus", 502)?;
        used.extend(of("hmi").map(|hmi| (hmi.id.clone(), modbus.clone())));
    }
    for hmi in of("hmi") {
        let web = service(report, Some(hmi), "web", 443)?;
        used.extend(of("plc").take(2).map(|plc| (plc.id.clone(), web.clone())));
    }
    for nvr in of("nvr") {
        let ingest = service(report, Some(nvr), "ingest", 8443)?;
        used.extend(of("sensor").step_by(7).map(|s| (s.id.clone(), ingest.clone())));
        used.extend(of("till").take(1).map(|t| (t.id.clone(), ingest.clone())));
    }
    used.extend(of("till").map(|till| (till.id.clone(), bank.clone())));
    // A ring through all shops: hopping goes a long way.
    if shop > 0 {
        let before = report.services.iter().rev().nth(60).map(|s| s.id.clone());
        used.extend(of("hmi").take(1).zip(before).map(|(hmi, service)| (hmi.id.clone(), service)));
    }
    for (from, to) in used {
        let port = to.as_str().rsplit('/').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        report.conduits.push(Conduit {
            from,
            to,
            transport: Transport::Tcp,
            port,
            protocol: None,
            direction: Direction::FromDevice,
            dns_name: None,
            first_seen: at,
            last_seen: at,
            flows: 1,
            packets: 2,
            bytes: 100,
            evidence: PathEvidence { input: "made".into(), packet: 1 },
            proposal: Proposal::Allow,
        });
    }
    Ok(())
}
