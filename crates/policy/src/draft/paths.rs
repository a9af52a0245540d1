//! Which recorded paths a draft may learn, and which not.

use std::collections::{BTreeMap, BTreeSet};

use model::inspect::{Direction, Proposal, Report, Scope};
use model::observation::Transport;
use model::{DeviceId, Timestamp};

use rustc_hash::FxHashMap;

use super::{DraftOptions, Reason, ReasonKind, Refused};
use crate::class;
use crate::decide::{Decider, View};
use crate::folder::{Device, Estate, Folder, Service};
use crate::language::Policy;
use crate::lower::ask_of;
use crate::moment::Moment;
use crate::text::{count, line};

/// One device's use of one service.
#[derive(Clone, Debug)]
pub(super) struct Path {
    /// Index of the device.
    pub from: usize,
    /// Index of the service.
    pub to: usize,
    /// Indexes into the report.
    pub conduits: Vec<usize>,
    pub flows: u64,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    /// `input#packet`.
    pub evidence: Vec<String>,
}

/// Sorts the report's paths into learnt and refused ones; the folder's policies are forbids only.
pub(super) fn sort(
    report: &Report,
    folder: &Folder,
    options: &DraftOptions,
) -> (Vec<Path>, Vec<Refused>) {
    let estate = &folder.estate;
    let forbids = Decider::new(folder, View::Today);
    let paths = collect(report, estate);
    let scene = Scene::of(report, estate, &paths);
    let (mut allowed, mut refused) = (Vec::new(), Vec::new());
    for path in paths {
        let ask = ask_of(folder, path.from, path.to, Moment::default());
        let forbid = ask.and_then(|ask| forbids.forbidding(&ask));
        let forbid = forbid.and_then(|policy| folder.policies.get(policy));
        let reasons = scene.reasons(report, &path, forbid, options);
        let ends = (estate.devices.get(path.from), estate.services.get(path.to));
        match ends {
            (Some(device), Some(service)) if !reasons.is_empty() => refused.push(Refused {
                from: device.id.clone(),
                to: service.id.clone(),
                transport: service.transport,
                port: service.port,
                reasons,
                evidence: path.evidence,
                first_seen: path.first_seen,
                last_seen: path.last_seen,
                flows: path.flows,
                conduits: path.conduits,
            }),
            _ => allowed.push(path),
        }
    }
    (allowed, refused)
}

/// Conduits by (device, service), in that order; a device's own services and unknown ends left out.
fn collect(report: &Report, estate: &Estate) -> Vec<Path> {
    let devices: FxHashMap<&str, usize> =
        estate.devices.iter().enumerate().map(|(i, d)| (d.id.as_str(), i)).collect();
    let services: FxHashMap<&str, usize> =
        estate.services.iter().enumerate().map(|(i, s)| (s.id.as_str(), i)).collect();
    let mut paths: BTreeMap<(usize, usize), Path> = BTreeMap::new();
    for (number, conduit) in report.conduits.iter().enumerate() {
        let from = devices.get(conduit.from.as_str()).copied();
        let to = services.get(conduit.to.as_str()).copied();
        let (Some(from), Some(to)) = (from, to) else {
            continue;
        };
        let own = estate.services.get(to).and_then(|s| s.device.as_ref()) == Some(&conduit.from);
        if own {
            continue;
        }
        let path = paths.entry((from, to)).or_insert_with(|| Path {
            from,
            to,
            conduits: Vec::new(),
            flows: 0,
            first_seen: conduit.first_seen,
            last_seen: conduit.last_seen,
            evidence: Vec::new(),
        });
        path.conduits.push(number);
        path.flows = path.flows.saturating_add(conduit.flows);
        path.first_seen = path.first_seen.min(conduit.first_seen);
        path.last_seen = path.last_seen.max(conduit.last_seen);
        path.evidence.push(format!(
            "{}#{}",
            line(&conduit.evidence.input),
            conduit.evidence.packet
        ));
    }
    paths.into_values().collect()
}

/// What peers do.
struct Scene<'a> {
    estate: &'a Estate,
    sites: FxHashMap<&'a str, &'a str>,
    classes: FxHashMap<&'a str, &'a str>,
    hosts: FxHashMap<&'a str, &'a Device>,
    /// Devices that probe or flood, with the words of the finding.
    scanners: BTreeMap<usize, String>,
    /// Devices that use a path of a kind, scanners left out.
    users: FxHashMap<Kind, BTreeSet<usize>>,
    /// Devices by type and zone, and by type and site.
    peers: FxHashMap<(&'a str, &'a str), Vec<usize>>,
    /// Findings of clear-text administration: (device, protocol).
    cleartext: BTreeSet<(&'a DeviceId, &'a str)>,
}

/// What makes two paths of different devices the same kind of path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// To a device of a zone, at a port.
    Zone(String, Transport, u16),
    /// To a DNS name (numbers in it ignored: `time1`, `time2`), at a port.
    Name(String, Transport, u16),
    /// To this service.
    Service(usize),
}

impl<'a> Scene<'a> {
    fn of(report: &'a Report, estate: &'a Estate, paths: &[Path]) -> Self {
        let numbers: FxHashMap<&str, usize> =
            estate.devices.iter().enumerate().map(|(i, d)| (d.id.as_str(), i)).collect();
        let probing = |kind: &str| matches!(kind, "scan" | "flood");
        let scanners = report
            .findings
            .iter()
            .filter(|f| probing(&f.kind))
            .filter_map(|f| Some((*numbers.get(f.device.as_ref()?.as_str())?, line(&f.title))))
            .collect();
        let cleartext = report
            .findings
            .iter()
            .filter(|f| f.kind == "cleartext-admin")
            .flat_map(|f| {
                let device = f.device.as_ref();
                f.evidence.iter().filter_map(move |e| Some((device?, e.protocol.as_ref())))
            })
            .collect();
        let zones = estate.zones.iter();
        let sites = zones.clone().filter_map(|z| Some((z.id.as_str(), z.site.as_ref()?.as_str())));
        let sites: FxHashMap<&str, &str> = sites.collect();
        let mut peers: FxHashMap<(&str, &str), Vec<usize>> = FxHashMap::default();
        for (i, device) in estate.devices.iter().enumerate() {
            peers.entry((&device.kind, &device.zone)).or_default().push(i);
            if let Some(site) = sites.get(device.zone.as_str()) {
                peers.entry((&device.kind, site)).or_default().push(i);
            }
        }
        let mut scene = Self {
            estate,
            sites,
            classes: zones.map(|z| (z.id.as_str(), z.class.as_str())).collect(),
            hosts: estate.devices.iter().map(|d| (d.id.as_str(), d)).collect(),
            scanners,
            users: FxHashMap::default(),
            peers,
            cleartext,
        };
        for path in paths.iter().filter(|p| !scene.scanners.contains_key(&p.from)) {
            for kind in scene.kinds(path) {
                scene.users.entry(kind).or_default().insert(path.from);
            }
        }
        scene
    }

    fn kinds(&self, path: &Path) -> Vec<Kind> {
        let mut kinds = vec![Kind::Service(path.to)];
        let Some(service) = self.estate.services.get(path.to) else {
            return kinds;
        };
        let (transport, port) = (service.transport, service.port);
        let host = service.device.as_ref().and_then(|d| self.hosts.get(d.as_str()));
        match host {
            // Unknown devices are not alike, so a path to one says nothing about a path to another.
            Some(host) if self.class_of(&host.zone) != class::UNKNOWN => {
                kinds.push(Kind::Zone(host.zone.clone(), transport, port));
            }
            Some(_) => {}
            None => {
                let name = |n: &String| Kind::Name(without_numbers(n), transport, port);
                kinds.extend(service.dns_names.iter().map(name));
            }
        }
        kinds
    }

    fn class_of(&self, zone: &str) -> &str {
        self.classes.get(zone).copied().unwrap_or(class::UNKNOWN)
    }

    fn reasons(
        &self,
        report: &Report,
        path: &Path,
        forbid: Option<&Policy>,
        options: &DraftOptions,
    ) -> Vec<Reason> {
        let (Some(device), Some(service)) =
            (self.estate.devices.get(path.from), self.estate.services.get(path.to))
        else {
            return Vec::new();
        };
        let conduits: Vec<_> =
            path.conduits.iter().filter_map(|i| report.conduits.get(*i)).collect();
        let mut reasons = Vec::new();
        let mut because = |kind, text| reasons.push(Reason { kind, text });
        for conduit in &conduits {
            if let Proposal::NotAllowed(why) = &conduit.proposal {
                because(ReasonKind::Inventory, line(why));
            }
        }
        if let Some(why) = self.scanner(path, device, service) {
            because(ReasonKind::Scanner, why);
        } else if let Some(why) = self.rare(path, device, service, options) {
            because(ReasonKind::RareDestination, why);
        }
        let protocols = conduits.iter().filter_map(|c| c.protocol.as_deref());
        if let Some(forbid) = forbid {
            let why = forbid.annotations.get("reason").map_or("", String::as_str);
            because(ReasonKind::Forbidden, format!("{}: {why}", forbid.id));
        } else if let Some(why) = self.cleartext_admin(device, service, protocols) {
            because(ReasonKind::CleartextAdmin, why);
        }
        if !conduits.is_empty() && conduits.iter().all(|c| c.direction == Direction::Either) {
            let why = "only the middle of the conversation was seen, so who opens it is not known";
            because(ReasonKind::DirectionUnknown, why.to_owned());
        }
        reasons.sort();
        reasons.dedup();
        reasons
    }

    /// Users of the same kinds of path other than the path's own device; may repeat one.
    fn other_users(&self, path: &Path) -> impl Iterator<Item = usize> + '_ {
        let (kinds, from) = (self.kinds(path), path.from);
        let users = kinds.into_iter().filter_map(|kind| self.users.get(&kind)).flatten();
        users.copied().filter(move |user| *user != from)
    }

    /// Where a device's peers for a service are: in its zone for a service inside, at its site else.
    fn place(&self, device: &'a Device, service: &Service) -> &'a str {
        match service.device {
            Some(_) => &device.zone,
            None => self.sites.get(device.zone.as_str()).copied().unwrap_or(""),
        }
    }

    fn scanner(&self, path: &Path, device: &Device, service: &Service) -> Option<String> {
        let finding = self.scanners.get(&path.from)?;
        let alike =
            |user: usize| self.estate.devices.get(user).is_some_and(|u| u.kind == device.kind);
        let mut others = self.other_users(path);
        let shared = if is_infrastructure(service) {
            others.next().is_some()
        } else {
            device.kind != class::UNKNOWN && others.any(alike)
        };
        (!shared).then(|| {
            format!("the device probes the network ({finding}) and no peer uses this path")
        })
    }

    fn rare(
        &self,
        path: &Path,
        device: &'a Device,
        service: &Service,
        options: &DraftOptions,
    ) -> Option<String> {
        let class = self.class_of(&device.zone);
        if service.scope == Scope::Group || device.kind == class::UNKNOWN || class::is_mixed(class)
        {
            return None;
        }
        if is_infrastructure(service) {
            let used = service.device.is_some() || self.other_users(path).next().is_some();
            if used {
                return None;
            }
        }
        let place = self.place(device, service);
        let peers = self.peers.get(&(device.kind.as_str(), place)).map_or(&[][..], Vec::as_slice);
        let others = peers.len().saturating_sub(1);
        if others < options.rare_peers_min.max(1) || self.a_peer_uses(path, device, place, peers) {
            return None;
        }
        let (n, verb) = (count(others, "other device"), if others == 1 { "does" } else { "do" });
        Some(format!("only this device uses it; the {n} of type {} {verb} not use it", device.kind))
    }

    /// Looks through the peers or through the users, whichever are fewer: either may be the whole estate.
    fn a_peer_uses(&self, path: &Path, device: &Device, place: &str, peers: &[usize]) -> bool {
        let kinds = self.kinds(path);
        let sets: Vec<&BTreeSet<usize>> =
            kinds.iter().filter_map(|kind| self.users.get(kind)).collect();
        if sets.iter().map(|users| users.len()).sum::<usize>() > peers.len() {
            return peers
                .iter()
                .any(|p| *p != path.from && sets.iter().any(|users| users.contains(p)));
        }
        self.other_users(path).any(|user| {
            self.estate.devices.get(user).is_some_and(|u| {
                let here = u.zone == place || self.sites.get(u.zone.as_str()) == Some(&place);
                u.kind == device.kind && here
            })
        })
    }

    fn cleartext_admin<'p>(
        &self,
        device: &Device,
        service: &Service,
        mut protocols: impl Iterator<Item = &'p str>,
    ) -> Option<String> {
        let ends = [Some(&device.id), service.device.as_ref()];
        protocols.find_map(|protocol| {
            let known = matches!(protocol, "telnet" | "ftp" | "rlogin" | "rsh" | "rexec");
            let found = ends.iter().flatten().any(|end| self.cleartext.contains(&(*end, protocol)));
            (known || found).then(|| format!("{protocol} carries administration in clear text"))
        })
    }
}

/// DHCP, DNS, NTP, and what is below IP: every device needs it, but a short capture sees few use it.
fn is_infrastructure(service: &Service) -> bool {
    match service.transport {
        Transport::Udp => matches!(service.port, 53 | 67 | 68 | 123 | 546 | 547),
        Transport::Tcp => service.port == 53,
        Transport::Link => true,
        Transport::Icmp | Transport::Ip => false,
    }
}

/// `time2.example.net` → `time#.example.net`.
fn without_numbers(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if !c.is_ascii_digit() {
            out.push(c.to_ascii_lowercase());
        } else if !out.ends_with('#') {
            out.push('#');
        }
    }
    out
}
