//! Sites, zones, devices and services of a report.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::inspect::{self, Report, Scope};
use model::{Assurance, DeviceId};

use super::DraftOptions;
use crate::class::{self, EXTERNAL, GROUPS};
use crate::folder::{Device, Estate, Observed, Service, Site, Zone};
use crate::text::{line, list, slug};

pub(super) struct Built {
    pub estate: Estate,
    pub remarks: Vec<String>,
}

/// Devices and services keep the order of the report, so that indexes agree.
pub(super) fn build(report: &Report, options: &DraftOptions, observed: Observed) -> Built {
    let (addresses, mut remarks) = own_addresses(report);
    let by_id: BTreeMap<&DeviceId, &inspect::Device> =
        report.devices.iter().map(|d| (&d.id, d)).collect();
    let mut zones: BTreeMap<String, Zone> = BTreeMap::new();
    let mut devices = Vec::with_capacity(report.devices.len());
    for (device, addresses) in report.devices.iter().zip(addresses) {
        let kind = kind(device);
        let class = class::of_type(&kind);
        let subnet = subnet(device, &by_id);
        let zone = zone_id(device.site.as_str(), class, &subnet);
        zones.entry(zone.clone()).or_insert_with(|| Zone {
            id: zone.clone(),
            site: Some(device.site.clone()),
            class: class.to_owned(),
            subnet,
            mode: options.mode,
            ..Zone::default()
        });
        devices.push(Device {
            id: device.id.clone(),
            name: name(device),
            kind,
            zone,
            macs: device.macs.clone(),
            addresses,
            behind: device.parent.clone().filter(|parent| by_id.contains_key(parent)),
            owner: String::new(),
            assurance: device.assurance,
            support: "unknown".to_owned(),
            exposure: "unknown".to_owned(),
            posture: "normal".to_owned(),
            mud_url: device.mud_url.as_ref().map(|url| line(&url.value)),
        });
    }
    let number: BTreeMap<&DeviceId, usize> =
        report.devices.iter().enumerate().map(|(i, d)| (&d.id, i)).collect();
    let mut services = Vec::with_capacity(report.services.len());
    for service in &report.services {
        let host =
            service.device.as_ref().and_then(|id| number.get(id)).and_then(|i| devices.get(*i));
        let built = service_of(service, host);
        if built.device.is_none() {
            if service.scope == Scope::Estate {
                remarks.push(format!(
                    "service `{}` is inside the estate but no device is known to offer it",
                    service.id
                ));
            }
            zones.entry(built.zone.clone()).or_insert_with(|| Zone {
                id: built.zone.clone(),
                class: built.zone.clone(),
                mode: options.mode,
                ..Zone::default()
            });
        }
        services.push(built);
    }
    let sites: BTreeSet<_> = report.devices.iter().map(|d| d.site.clone()).collect();
    let estate = Estate {
        observed: Some(observed),
        sites: sites.into_iter().map(|id| Site { id }).collect(),
        zones: zones.into_values().collect(),
        devices,
        services,
        ..Estate::default()
    };
    Built { estate, remarks }
}

/// The type as a slug; the role where no type is known; else `unknown`.
fn kind(device: &inspect::Device) -> String {
    let known = |text: &str| Some(slug(text)).filter(|t| !t.is_empty() && t != class::UNKNOWN);
    let kind = device.kind.as_ref().and_then(|k| known(&k.value));
    let role =
        || device.role.as_deref().and_then(known).filter(|r| class::of_type(r) != class::UNKNOWN);
    kind.or_else(role).unwrap_or_else(|| class::UNKNOWN.to_owned())
}

fn name(device: &inspect::Device) -> String {
    let value = |a: &Option<inspect::Attribute>| a.as_ref().map(|a| a.value.clone());
    let product = [value(&device.vendor), value(&device.model)].into_iter().flatten();
    let product = product.collect::<Vec<_>>().join(" ");
    let name = if product.is_empty() { device.hostnames.first().cloned() } else { Some(product) };
    line(&name.unwrap_or_default()).trim().to_owned()
}

fn zone_id(site: &str, class: &str, subnet: &str) -> String {
    format!("{site}/{class}/{}", subnet.replace('/', "-"))
}

/// The /24 or /64 of the device's first ordinary address, else that of the device it sits behind.
fn subnet(device: &inspect::Device, by_id: &BTreeMap<&DeviceId, &inspect::Device>) -> String {
    let mut at = device;
    for _ in 0..model::limits::DEPTH_MAX {
        if let Some(subnet) = own_subnet(&at.ips) {
            return subnet;
        }
        match at.parent.as_ref().and_then(|parent| by_id.get(parent)) {
            Some(parent) => at = parent,
            None => break,
        }
    }
    "no-address".to_owned()
}

fn own_subnet(ips: &[IpAddr]) -> Option<String> {
    let rank = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) if v4.is_link_local() => 2,
        IpAddr::V4(_) => 0,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => 3,
        IpAddr::V6(_) => 1,
    };
    let ip = ips.iter().filter(|ip| is_host(**ip)).min_by_key(|ip| rank(ip))?;
    Some(match ip {
        IpAddr::V4(v4) if v4.is_link_local() => "169.254.0.0/16".to_owned(),
        IpAddr::V4(v4) => format!("{}/24", Ipv4Addr::from_bits(v4.to_bits() & 0xffff_ff00)),
        IpAddr::V6(v6) => format!("{}/64", Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    })
}

fn is_host(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast() && !ip.is_loopback() && ip != Ipv4Addr::BROADCAST
}

/// Each address belongs to the device that was last seen among those that used it. The others keep the
/// rest of theirs.
fn own_addresses(report: &Report) -> (Vec<Vec<IpAddr>>, Vec<String>) {
    let mut users: BTreeMap<IpAddr, Vec<usize>> = BTreeMap::new();
    for (i, device) in report.devices.iter().enumerate() {
        for ip in device.ips.iter().filter(|ip| is_host(**ip)) {
            users.entry(*ip).or_default().push(i);
        }
    }
    let mut own: Vec<Vec<IpAddr>> = vec![Vec::new(); report.devices.len()];
    let mut remarks = Vec::new();
    for (ip, mut users) in users {
        users.dedup();
        let seen = |i: &usize| report.devices.get(*i).map(|d| (d.last_seen, std::cmp::Reverse(*i)));
        let Some(owner) = users.iter().copied().max_by_key(seen) else {
            continue;
        };
        if let Some(own) = own.get_mut(owner) {
            own.push(ip);
        }
        if users.len() > 1 {
            let id = |i: &usize| report.devices.get(*i).map(|d| d.id.to_string());
            let others = list(users.iter().filter(|i| **i != owner).filter_map(id), 5);
            let owner = id(&owner).unwrap_or_default();
            remarks.push(format!(
                "address {ip} was used by several devices; the draft gives it to `{owner}`, seen last, not to {others}"
            ));
        }
    }
    (own, remarks)
}

fn service_of(service: &inspect::Service, host: Option<&Device>) -> Service {
    let zone = match (host, service.scope) {
        (Some(host), _) => host.zone.clone(),
        (None, Scope::Group) => GROUPS.to_owned(),
        (None, Scope::External) => EXTERNAL.to_owned(),
        (None, Scope::Estate) => class::UNKNOWN.to_owned(),
    };
    let mut addresses = service.addresses.clone();
    addresses.sort_unstable();
    addresses.dedup();
    // "At its device's addresses" stays true when the device moves.
    let mut of_host = host.map(|h| h.addresses.clone()).unwrap_or_default();
    of_host.sort_unstable();
    if host.is_some() && addresses == of_host {
        addresses.clear();
    }
    let mut dns_names: Vec<String> = service.dns_names.iter().map(|n| line(n)).collect();
    dns_names.sort_unstable();
    dns_names.dedup();
    Service {
        id: service.id.clone(),
        name: line(&service.name),
        device: host.map(|h| h.id.clone()),
        scope: service.scope,
        zone,
        addresses,
        dns_names,
        transport: service.transport,
        port: service.port,
        application: service.protocol.clone().unwrap_or_default(),
        owner: String::new(),
        sensitive: false,
        assurance_min: Assurance::Observed,
    }
}
