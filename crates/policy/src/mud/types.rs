//! What each device type was granted, as a MUD file per type.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use model::Timestamp;
use model::inspect::{Report, Scope};
use model::observation::Transport;

use super::{
    Ace, Acl, Family, Forwarding, Icmp, Initiated, Ip, Matches, Mud, Network, PortMatch, Ports, Who,
};
use crate::class;
use crate::folder::{Device, Folder, Service};
use crate::lower::{Lowered, index, lower};
use crate::text::line;

/// `systeminfo` is at most 60 characters (RFC 8520 §3.13).
const SYSTEMINFO_CHARS_MAX: usize = 60;

/// What each type of a folder is granted, as a MUD file per type. `report` adds makers and models, and
/// with them the abstraction `same-manufacturer`; `updated` becomes `last-update`, and URLs begin with
/// `base`.
pub fn export(
    folder: &Folder,
    report: Option<&Report>,
    updated: Timestamp,
    base: &str,
) -> BTreeMap<String, Mud> {
    of_types(report, folder, &lower(folder), updated, base)
}

/// MUD files by device type; unknown devices have none in common.
pub(crate) fn of_types(
    report: Option<&Report>,
    folder: &Folder,
    lowered: &Lowered,
    updated: Timestamp,
    base: &str,
) -> BTreeMap<String, Mud> {
    let estate = &folder.estate;
    let scene = Scene::of(report, folder);
    let mut flows: BTreeMap<&str, BTreeSet<Flow>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (i, device) in estate.devices.iter().enumerate() {
        // Devices of one type and profile say the same; their peers' zones differ only by profile.
        if !seen.insert((&device.kind, &device.zone, lowered.profile_of.get(i))) {
            continue;
        }
        for grant in lowered.grants(i) {
            let Some(service) = estate.services.get(index(grant.service)) else {
                continue;
            };
            let host = scene.host(service);
            flows.entry(&device.kind).or_default().extend(scene.outgoing(device, service, host));
            if let Some(host) = host {
                flows.entry(&host.kind).or_default().extend(scene.incoming(device, service, host));
            }
        }
    }
    flows.remove(class::UNKNOWN);
    let file = |(kind, flows): (&str, BTreeSet<Flow>)| {
        (kind.to_owned(), scene.file(kind, &flows, updated, base))
    };
    flows.into_iter().map(file).collect()
}

/// One direction-less line of a type's description.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flow {
    /// The device of the type offers the service.
    incoming: bool,
    v6: bool,
    transport: Transport,
    port: u16,
    other: Other,
}

/// The other end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Other {
    Controller(&'static str),
    MyController,
    SameManufacturer,
    LocalNetworks,
    Name(String),
    Address(IpAddr),
}

struct Scene<'f> {
    devices: HashMap<&'f str, &'f Device>,
    vendors: HashMap<&'f str, String>,
    models: HashMap<&'f str, String>,
    classes: HashMap<&'f str, &'f str>,
    kinds: HashMap<&'f str, Vec<&'f Device>>,
}

impl<'f> Scene<'f> {
    fn of(report: Option<&'f Report>, folder: &'f Folder) -> Self {
        let value = |a: &Option<model::inspect::Attribute>| a.as_ref().map(|a| line(&a.value));
        let devices = report.into_iter().flat_map(|report| &report.devices);
        let vendors = devices.clone().filter_map(|d| Some((d.id.as_str(), value(&d.vendor)?)));
        let models = devices.filter_map(|d| Some((d.id.as_str(), value(&d.model)?)));
        let estate = &folder.estate;
        let mut kinds: HashMap<&str, Vec<&Device>> = HashMap::new();
        for device in &estate.devices {
            kinds.entry(&device.kind).or_default().push(device);
        }
        Self {
            devices: estate.devices.iter().map(|d| (d.id.as_str(), d)).collect(),
            vendors: vendors.collect(),
            models: models.collect(),
            classes: estate.zones.iter().map(|z| (z.id.as_str(), z.class.as_str())).collect(),
            kinds,
        }
    }

    fn host(&self, service: &Service) -> Option<&'f Device> {
        service.device.as_ref().and_then(|d| self.devices.get(d.as_str())).copied()
    }

    fn vendor(&self, device: &Device) -> Option<&str> {
        self.vendors.get(device.id.as_str()).map(String::as_str)
    }

    fn is_controller(&self, device: &Device) -> bool {
        self.classes.get(device.zone.as_str()).is_some_and(|class| class::is_controller(class))
    }

    fn outgoing(&self, device: &Device, service: &Service, host: Option<&Device>) -> Vec<Flow> {
        let well_known = match (service.transport, service.port) {
            (Transport::Udp | Transport::Tcp, 53) => Some("urn:ietf:params:mud:dns"),
            (Transport::Udp, 123) => Some("urn:ietf:params:mud:ntp"),
            _ => None,
        };
        let others: Vec<Other> = match (host, well_known) {
            (Some(_), Some(urn)) => vec![Other::Controller(urn)],
            (Some(host), None) => vec![self.other(device, host, self.is_controller(host))],
            (None, Some(urn)) if service.dns_names.is_empty() && service.scope != Scope::Group => {
                vec![Other::Controller(urn)]
            }
            (None, _) if service.scope == Scope::External && !service.dns_names.is_empty() => {
                service.dns_names.iter().cloned().map(Other::Name).collect()
            }
            (None, _) => service.addresses.iter().copied().map(Other::Address).collect(),
        };
        let families = self.families(service, host);
        flows(false, service, &others, &families)
    }

    fn incoming(&self, device: &Device, service: &Service, host: &Device) -> Vec<Flow> {
        let others = [self.other(host, device, self.is_controller(device))];
        flows(true, service, &others, &self.families(service, Some(host)))
    }

    /// How `device`'s description calls `other`.
    fn other(&self, device: &Device, other: &Device, is_controller: bool) -> Other {
        let same = self.vendor(device).is_some() && self.vendor(device) == self.vendor(other);
        match (same, is_controller) {
            (true, _) => Other::SameManufacturer,
            (false, true) => Other::MyController,
            (false, false) => Other::LocalNetworks,
        }
    }

    /// IP versions in which the service was seen: v4 unless all its addresses are v6.
    fn families(&self, service: &Service, host: Option<&Device>) -> Vec<bool> {
        let addresses = match host {
            Some(host) if service.addresses.is_empty() => &host.addresses,
            _ => &service.addresses,
        };
        let v6 = addresses.iter().any(IpAddr::is_ipv6);
        let v4 = addresses.iter().any(IpAddr::is_ipv4) || !v6;
        [(v4, false), (v6, true)].into_iter().filter(|(seen, _)| *seen).map(|(_, v6)| v6).collect()
    }

    fn file(&self, kind: &str, flows: &BTreeSet<Flow>, updated: Timestamp, base: &str) -> Mud {
        let of_kind = self.kinds.get(kind).map_or(&[][..], Vec::as_slice);
        let common = |values: &HashMap<&str, String>| {
            let all: BTreeSet<Option<&String>> =
                of_kind.iter().map(|d| values.get(d.id.as_str())).collect();
            let one = if all.len() == 1 { all.into_iter().next().flatten() } else { None };
            one.cloned()
        };
        let systeminfo = format!("{kind}, as observed on {} of it", of_kind.len());
        let mut mud = Mud {
            version: 1,
            url: format!("{base}{kind}.json"),
            // As precise as RFC 3339 asks for, so that every reader takes it.
            last_update: seconds(&updated.to_string()),
            cache_validity_hours: 48,
            is_supported: true,
            systeminfo: Some(systeminfo.chars().take(SYSTEMINFO_CHARS_MAX).collect()),
            mfg_name: common(&self.vendors),
            model_name: common(&self.models),
            ..Mud::default()
        };
        for (v6, short) in [(false, "v4"), (true, "v6")] {
            for (from_device, suffix) in [(true, "fr"), (false, "to")] {
                let lines = flows.iter().filter(|flow| flow.v6 == v6).enumerate();
                let mut aces: Vec<Ace> = Vec::new();
                for (i, flow) in lines {
                    let ace = ace(i, flow, from_device);
                    // Answers of several groups are one entry: any member of the local networks.
                    if !aces.iter().any(|other| other.matches == ace.matches) {
                        aces.push(ace);
                    }
                }
                if aces.is_empty() {
                    continue;
                }
                let name = format!("mud-{kind}-{short}{suffix}");
                let family = if v6 { Family::V6 } else { Family::V4 };
                let policy = if from_device { &mut mud.from_device } else { &mut mud.to_device };
                policy.push(name.clone());
                mud.acls.push(Acl { name, family, aces, other: Vec::new() });
            }
        }
        mud
    }
}

/// `…:09.123456Z` → `…:09Z`.
fn seconds(instant: &str) -> String {
    match instant.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => instant.to_owned(),
    }
}

fn flows(incoming: bool, service: &Service, others: &[Other], families: &[bool]) -> Vec<Flow> {
    if service.transport == Transport::Link {
        return Vec::new();
    }
    let mut all = Vec::new();
    for other in others {
        for v6 in families {
            let fits = match other {
                Other::Address(ip) => ip.is_ipv6() == *v6,
                _ => true,
            };
            if fits {
                let (transport, port) = (service.transport, service.port);
                all.push(Flow { incoming, v6: *v6, transport, port, other: other.clone() });
            }
        }
    }
    all
}

/// The entry of a flow in the list of one direction. Ports of the service's end are known, those of the
/// client's are not.
fn ace(number: usize, flow: &Flow, from_device: bool) -> Ace {
    let to_service = flow.incoming != from_device;
    let (word, suffix) = match &flow.other {
        Other::Controller(_) => ("ent", from_device),
        Other::MyController => ("myctl", from_device),
        Other::SameManufacturer => ("myman", from_device),
        Other::LocalNetworks => ("loc", from_device),
        Other::Name(_) | Other::Address(_) => ("cl", from_device),
    };
    let is_group = |ip: &IpAddr| ip.is_multicast() || *ip == std::net::Ipv4Addr::BROADCAST;
    let who = match &flow.other {
        // A group answers from its members' own addresses, never from the group's.
        Other::Address(ip) if is_group(ip) && !from_device => Some(Who::LocalNetworks),
        Other::Controller(urn) => Some(Who::Controller((*urn).to_owned())),
        Other::MyController => Some(Who::MyController),
        Other::SameManufacturer => Some(Who::SameManufacturer),
        Other::LocalNetworks => Some(Who::LocalNetworks),
        Other::Name(_) | Other::Address(_) => None,
    };
    let protocol = match flow.transport {
        Transport::Tcp => Some(6),
        Transport::Udp => Some(17),
        Transport::Icmp => Some(if flow.v6 { 58 } else { 1 }),
        Transport::Ip | Transport::Link => u8::try_from(flow.port).ok(),
    };
    let mut ip = Ip { v6: flow.v6, protocol, ..Ip::default() };
    match &flow.other {
        Other::Name(name) if from_device => ip.destination_name = Some(name.clone()),
        Other::Name(name) => ip.source_name = Some(name.clone()),
        Other::Address(address) => {
            let network =
                Some(Network { ip: *address, prefix: if address.is_ipv4() { 32 } else { 128 } });
            if from_device {
                ip.destination = network;
            } else if !is_group(address) {
                ip.source = network;
            }
        }
        _ => {}
    }
    let port = Some(PortMatch::Equal(flow.port));
    let (source, destination) = if to_service { (None, port) } else { (port, None) };
    let initiated = match (flow.transport, flow.incoming) {
        (Transport::Tcp, false) => Some(Initiated::FromDevice),
        (Transport::Tcp, true) => Some(Initiated::ToDevice),
        _ => None,
    };
    let tcp = flow.transport == Transport::Tcp;
    let ports = matches!(flow.transport, Transport::Tcp | Transport::Udp).then_some(Ports {
        tcp,
        source,
        destination,
        initiated,
    });
    let icmp = (flow.transport == Transport::Icmp && to_service)
        .then(|| Icmp { kind: u8::try_from(flow.port).ok(), code: None });
    Ace {
        name: format!("{word}{number}-{}", if suffix { "frdev" } else { "todev" }),
        matches: Matches {
            who: who.into_iter().collect(),
            ip: Some(ip),
            ports,
            icmp,
            ..Matches::default()
        },
        forwarding: Forwarding::Accept,
        log: false,
        other: Vec::new(),
    }
}
