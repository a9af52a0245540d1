//! Sites, zones, devices and services of a report.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use model::inspect::{self, Report, Scope};
use model::{Assurance, DeviceId, Mac, SiteId, Timestamp};
use rustc_hash::FxHashMap;

use super::DraftOptions;
use crate::class::{self, EXTERNAL, GROUPS};
use crate::folder::{Device, Estate, Observed, Service, Site, Zone};
use crate::text::{line, list, slug};

pub(super) struct Built {
    pub estate: Estate,
    pub remarks: Vec<String>,
}

/// What a draft needs to know of the devices of a report, in their order. Their documents are many times
/// as large, and need not be kept.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    devices: Vec<Entry>,
    /// Texts that many devices have in common.
    texts: BTreeSet<Arc<str>>,
}

#[derive(Clone, Debug)]
struct Entry {
    id: DeviceId,
    site: SiteId,
    name: Arc<str>,
    kind: Arc<str>,
    mud_url: Option<Arc<str>>,
    macs: Box<[Mac]>,
    /// Its ordinary addresses, sorted.
    ips: Box<[IpAddr]>,
    /// The one of them that tells its subnet.
    main_ip: Option<IpAddr>,
    parent: Option<DeviceId>,
    assurance: Assurance,
    last_seen: Timestamp,
}

impl Roster {
    /// All devices of a report.
    pub fn of(report: &Report) -> Self {
        let mut roster = Self::default();
        report.devices.iter().for_each(|device| roster.add(device));
        roster
    }

    /// Adds the next device.
    pub fn add(&mut self, device: &inspect::Device) {
        let mut ips: Vec<IpAddr> = device.ips.iter().copied().filter(|ip| is_host(*ip)).collect();
        ips.sort_unstable();
        ips.dedup();
        let entry = Entry {
            id: device.id.clone(),
            site: device.site.clone(),
            name: self.text(name(device)),
            kind: self.text(kind(device)),
            mud_url: device.mud_url.as_ref().map(|url| self.text(line(&url.value))),
            macs: device.macs.as_slice().into(),
            ips: ips.into(),
            main_ip: main_address(&device.ips),
            parent: device.parent.clone(),
            assurance: device.assurance,
            last_seen: device.last_seen,
        };
        self.devices.push(entry);
    }

    fn text(&mut self, text: String) -> Arc<str> {
        if let Some(known) = self.texts.get(text.as_str()) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text));
        text
    }

    /// Numbers of the devices, sorted by id.
    fn by_id(&self) -> Vec<usize> {
        let mut by_id: Vec<usize> = (0..self.devices.len()).collect();
        by_id.sort_by_key(|i| self.devices.get(*i).map(|d| &d.id));
        by_id
    }
}

/// Finds a device in a list of numbers that is sorted by id.
fn find<'d, T>(
    by_id: &[usize],
    id: &DeviceId,
    devices: &'d [T],
    of: fn(&T) -> &DeviceId,
) -> Option<&'d T> {
    let after = by_id.partition_point(|i| devices.get(*i).is_some_and(|d| of(d) <= id));
    let last = after.checked_sub(1).and_then(|at| by_id.get(at)).and_then(|i| devices.get(*i));
    last.filter(|device| of(device) == id)
}

/// Devices and services keep the order of the report, so that indexes agree.
pub(super) fn build(
    roster: Roster,
    services_seen: &[inspect::Service],
    options: &DraftOptions,
    observed: Observed,
) -> Built {
    let by_id = roster.by_id();
    let (lost, mut remarks) = lost_addresses(&roster);
    let sites: BTreeSet<SiteId> = roster.devices.iter().map(|d| d.site.clone()).collect();
    let mut zones: BTreeMap<String, Zone> = BTreeMap::new();
    // Devices of one type in one subnet are in one zone: its name is made once.
    let mut known_zones: FxHashMap<(&SiteId, &str, Option<IpAddr>), String> = FxHashMap::default();
    let zone_of: Vec<String> = roster
        .devices
        .iter()
        .map(|device| {
            let subnet = subnet(device, &by_id, &roster.devices);
            let zone =
                known_zones.entry((&device.site, &*device.kind, subnet)).or_insert_with(|| {
                    let class = class::of_type(&device.kind);
                    let subnet = subnet.map_or_else(|| "no-address".to_owned(), subnet_text);
                    let zone = zone_id(device.site.as_str(), class, &subnet);
                    zones.entry(zone.clone()).or_insert_with(|| Zone {
                        id: zone.clone(),
                        site: Some(device.site.clone()),
                        class: class.to_owned(),
                        subnet,
                        mode: options.mode,
                        ..Zone::default()
                    });
                    zone
                });
            zone.clone()
        })
        .collect();
    let known = |id: &DeviceId| find(&by_id, id, &roster.devices, |d| &d.id).is_some();
    let stray_parents: BTreeSet<DeviceId> =
        roster.devices.iter().filter_map(|d| d.parent.clone()).filter(|p| !known(p)).collect();
    let mut devices = Vec::with_capacity(roster.devices.len());
    for ((i, entry), zone) in roster.devices.into_iter().enumerate().zip(zone_of) {
        let mut addresses = entry.ips.into_vec();
        if !lost.is_empty() {
            addresses.retain(|ip| !lost.contains(&(i, *ip)));
        }
        devices.push(Device {
            id: entry.id,
            name: entry.name.to_string(),
            kind: entry.kind.to_string(),
            zone,
            macs: entry.macs.into_vec(),
            addresses,
            behind: entry.parent.filter(|parent| !stray_parents.contains(parent)),
            owner: String::new(),
            assurance: entry.assurance,
            support: "unknown".to_owned(),
            exposure: "unknown".to_owned(),
            posture: "normal".to_owned(),
            meant: None,
            mud_url: entry.mud_url.map(|url| url.to_string()),
        });
    }
    let mut services = Vec::with_capacity(services_seen.len());
    for service in services_seen {
        let host = service.device.as_ref().and_then(|id| find(&by_id, id, &devices, |d| &d.id));
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

/// Where the /24 or /64 of the device's first ordinary address begins, else that of the device it sits
/// behind.
fn subnet(device: &Entry, by_id: &[usize], devices: &[Entry]) -> Option<IpAddr> {
    let mut at = device;
    for _ in 0..model::limits::DEPTH_MAX {
        if let Some(ip) = at.main_ip {
            return Some(subnet_of(ip));
        }
        match at.parent.as_ref().and_then(|parent| find(by_id, parent, devices, |d| &d.id)) {
            Some(parent) => at = parent,
            None => break,
        }
    }
    None
}

fn main_address(ips: &[IpAddr]) -> Option<IpAddr> {
    let rank = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) if v4.is_link_local() => 2,
        IpAddr::V4(_) => 0,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => 3,
        IpAddr::V6(_) => 1,
    };
    ips.iter().copied().filter(|ip| is_host(*ip)).min_by_key(rank)
}

fn subnet_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) if v4.is_link_local() => {
            Ipv4Addr::from_bits(v4.to_bits() & 0xffff_0000).into()
        }
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & 0xffff_ff00).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

fn subnet_text(subnet: IpAddr) -> String {
    match subnet {
        IpAddr::V4(v4) if v4.is_link_local() => format!("{v4}/16"),
        IpAddr::V4(v4) => format!("{v4}/24"),
        IpAddr::V6(v6) => format!("{v6}/64"),
    }
}

fn is_host(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast() && !ip.is_loopback() && ip != Ipv4Addr::BROADCAST
}

/// Each address belongs to the device that was last seen among those that used it. The others, by their
/// numbers, lose it and keep the rest of theirs.
fn lost_addresses(roster: &Roster) -> (BTreeSet<(usize, IpAddr)>, Vec<String>) {
    let mut users: Vec<(IpAddr, usize)> = roster
        .devices
        .iter()
        .enumerate()
        .flat_map(|(i, device)| device.ips.iter().map(move |ip| (*ip, i)))
        .collect();
    users.sort_unstable();
    let mut lost = BTreeSet::new();
    let mut remarks = Vec::new();
    for users in users.chunk_by(|a, b| a.0 == b.0).filter(|users| users.len() > 1) {
        let seen = |(_, i): &&(IpAddr, usize)| {
            roster.devices.get(*i).map(|d| (d.last_seen, std::cmp::Reverse(*i)))
        };
        let Some((ip, owner)) = users.iter().max_by_key(seen) else { continue };
        let others = || users.iter().map(|(_, i)| i).filter(|i| *i != owner);
        lost.extend(others().map(|i| (*i, *ip)));
        let id = |i: &usize| roster.devices.get(*i).map(|d| d.id.to_string());
        let others = list(others().filter_map(id), 5);
        let owner = id(owner).unwrap_or_default();
        remarks.push(format!(
            "address {ip} was used by several devices; the draft gives it to `{owner}`, seen last, not to {others}"
        ));
    }
    (lost, remarks)
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
