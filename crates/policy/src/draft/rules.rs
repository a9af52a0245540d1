//! From paths of single devices to permits: for a type in a zone where several peers share the path,
//! for a type everywhere where all its zones do, else for the device. A permit never covers a refused
//! path.

use std::collections::{BTreeMap, BTreeSet};

use model::Timestamp;
use model::inspect::Scope as Place;
use model::observation::Transport;

use rustc_hash::FxHashMap;

use super::paths::Path;
use super::{DraftOptions, Refused};
use crate::class;
use crate::folder::{Conduit, Device, Estate, Group, Service};
use crate::language::{Actions, Binary, Condition, Effect, Entity, Expr, Policy, Scope, Var};
use crate::text::{count, line, list, slug};

/// Evidence items that a policy names.
const EVIDENCE_MAX: usize = 5;

pub(super) struct Rules {
    pub policies: Vec<Policy>,
    pub groups: Vec<Group>,
    pub conduits: Vec<Conduit>,
    /// One recorded (device, service) per policy, for the derived tests.
    pub samples: Vec<(usize, usize, String)>,
}

/// Whom a permit is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// All devices of a type, in every zone.
    Kind(String),
    /// All devices of a type in a zone.
    Cell(String, String),
    /// One device.
    Device(usize),
}

/// What a permit is to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// Services of one port in a zone.
    Group(String),
    /// One service.
    Service(usize),
}

/// Services of one zone, transport and port.
type GroupKey = (String, Transport, u16);

struct Work<'a> {
    estate: &'a Estate,
    options: &'a DraftOptions,
    /// Devices by (zone, type).
    cells: BTreeMap<(String, String), Vec<usize>>,
    /// Zones of each type.
    zones_of: BTreeMap<String, BTreeSet<String>>,
    /// Number of types in each zone.
    kinds_in: BTreeMap<String, usize>,
    refused: BTreeSet<(usize, usize)>,
    groups: BTreeMap<GroupKey, Vec<usize>>,
    classes: FxHashMap<&'a str, &'a str>,
    hosts: Vec<Option<usize>>,
}

pub(super) fn generalise(
    estate: &Estate,
    allowed: &[Path],
    refused: &[Refused],
    options: &DraftOptions,
) -> Rules {
    let work = Work::of(estate, refused, options);
    let mut services: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for path in allowed {
        services.entry(path.to).or_default().push(path.from);
    }
    let mut granted: BTreeMap<Subject, BTreeSet<usize>> = BTreeMap::new();
    for (service, users) in &services {
        for subject in work.subjects(*service, users) {
            granted.entry(subject).or_default().insert(*service);
        }
    }
    let mut grants: Vec<(Subject, Target, Vec<usize>)> = Vec::new();
    for (subject, services) in granted {
        for (target, services) in work.targets(&subject, services) {
            grants.push((subject.clone(), target, services));
        }
    }
    work.write(grants, allowed)
}

impl<'a> Work<'a> {
    fn of(estate: &'a Estate, refused: &[Refused], options: &'a DraftOptions) -> Self {
        let devices: FxHashMap<&str, usize> =
            estate.devices.iter().enumerate().map(|(i, d)| (d.id.as_str(), i)).collect();
        let services: FxHashMap<&str, usize> =
            estate.services.iter().enumerate().map(|(i, s)| (s.id.as_str(), i)).collect();
        let ends =
            |r: &Refused| Some((*devices.get(r.from.as_str())?, *services.get(r.to.as_str())?));
        let mut cells: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
        for (i, device) in estate.devices.iter().enumerate() {
            cells.entry((device.zone.clone(), device.kind.clone())).or_default().push(i);
        }
        let mut zones_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut kinds_in: BTreeMap<String, usize> = BTreeMap::new();
        for (zone, kind) in cells.keys() {
            zones_of.entry(kind.clone()).or_default().insert(zone.clone());
            *kinds_in.entry(zone.clone()).or_default() += 1;
        }
        let classes: FxHashMap<&str, &str> =
            estate.zones.iter().map(|z| (z.id.as_str(), z.class.as_str())).collect();
        let mut groups: BTreeMap<GroupKey, Vec<usize>> = BTreeMap::new();
        for (i, service) in estate.services.iter().enumerate() {
            let known = classes.get(service.zone.as_str()).is_some_and(|c| *c != class::UNKNOWN);
            if known && service.device.is_some() && service.scope == Place::Estate {
                let key = (service.zone.clone(), service.transport, service.port);
                groups.entry(key).or_default().push(i);
            }
        }
        groups.retain(|_, members| members.len() > 1);
        Self {
            estate,
            options,
            cells,
            zones_of,
            kinds_in,
            refused: refused.iter().filter_map(ends).collect(),
            groups,
            classes,
            hosts: estate
                .services
                .iter()
                .map(|s| s.device.as_ref().and_then(|d| devices.get(d.as_str()).copied()))
                .collect(),
        }
    }

    fn host(&self, service: usize) -> Option<usize> {
        self.hosts.get(service).copied().flatten()
    }

    fn enough(&self, users: usize, of: usize) -> bool {
        users.saturating_mul(100) >= self.options.shared_percent_min.saturating_mul(of)
    }

    /// No device among `devices` was refused the service.
    fn clean(&self, devices: &[usize], service: usize) -> bool {
        devices.iter().all(|device| !self.refused.contains(&(*device, service)))
    }

    /// Subjects that cover the users of a service.
    fn subjects(&self, service: usize, users: &[usize]) -> Vec<Subject> {
        let mut by_cell: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
        for user in users {
            let Some(device) = self.estate.devices.get(*user) else {
                continue;
            };
            by_cell.entry((device.zone.clone(), device.kind.clone())).or_default().push(*user);
        }
        let mut subjects = Vec::new();
        let kinds: BTreeSet<&String> = by_cell.keys().map(|(_, kind)| kind).collect();
        for kind in kinds {
            if self.everywhere(kind, service, &by_cell) {
                subjects.push(Subject::Kind(kind.clone()));
                continue;
            }
            for (cell, users) in by_cell.iter().filter(|((_, k), _)| k == kind) {
                let all = self.cells.get(cell).map_or(&[][..], Vec::as_slice);
                let others = all.iter().filter(|d| Some(**d) != self.host(service)).count();
                let several = users.len() >= self.options.shared_by_min.max(2)
                    && self.enough(users.len(), others);
                let shared = (several || self.is_dhcp(service))
                    && self.alike(cell)
                    && self.clean(all, service);
                if shared {
                    subjects.push(Subject::Cell(cell.0.clone(), cell.1.clone()));
                } else {
                    subjects.extend(users.iter().map(|user| Subject::Device(*user)));
                }
            }
        }
        subjects
    }

    /// Leases are renewed seldom: a short capture sees one device ask, and the others need it as much.
    fn is_dhcp(&self, service: usize) -> bool {
        let service = self.estate.services.get(service);
        service.is_some_and(|s| s.transport == Transport::Udp && matches!(s.port, 67 | 547))
    }

    /// Devices of the cell do the same job, so that what several do may be granted to all.
    fn alike(&self, (zone, kind): &(String, String)) -> bool {
        let class = self.classes.get(zone.as_str()).copied().unwrap_or(class::UNKNOWN);
        kind != class::UNKNOWN && !class::is_mixed(class)
    }

    /// The type has several zones, and in each of them enough devices use the service.
    fn everywhere(
        &self,
        kind: &str,
        service: usize,
        by_cell: &BTreeMap<(String, String), Vec<usize>>,
    ) -> bool {
        let zones = self.zones_of.get(kind).map_or(0, BTreeSet::len);
        if by_cell.keys().filter(|(_, k)| k == kind).count() < zones {
            return false;
        }
        let cells = self.cells_of(kind);
        let users: usize =
            by_cell.iter().filter(|((_, k), _)| k == kind).map(|(_, u)| u.len()).sum();
        cells.len() > 1
            && users >= self.options.shared_by_min.max(2)
            && cells.iter().all(|cell| {
                let all = self.cells.get(cell).map_or(&[][..], Vec::as_slice);
                let used = by_cell.get(cell).map_or(0, Vec::len);
                let others = all.iter().filter(|d| Some(**d) != self.host(service)).count();
                used > 0
                    && self.enough(used, others)
                    && self.alike(cell)
                    && self.clean(all, service)
            })
    }

    fn cells_of(&self, kind: &str) -> Vec<(String, String)> {
        let zones = self.zones_of.get(kind).into_iter().flatten();
        zones.map(|zone| (zone.clone(), kind.to_owned())).collect()
    }

    fn devices(&self, subject: &Subject) -> Vec<usize> {
        match subject {
            Subject::Device(device) => vec![*device],
            Subject::Cell(zone, kind) => {
                self.cells.get(&(zone.clone(), kind.clone())).cloned().unwrap_or_default()
            }
            Subject::Kind(kind) => {
                let cells = self.cells_of(kind);
                cells.iter().filter_map(|cell| self.cells.get(cell)).flatten().copied().collect()
            }
        }
    }

    /// Joins services into groups where most of the group is used.
    fn targets(&self, subject: &Subject, services: BTreeSet<usize>) -> Vec<(Target, Vec<usize>)> {
        let devices = self.devices(subject);
        let mut by_group: BTreeMap<GroupKey, Vec<usize>> = BTreeMap::new();
        let mut targets = Vec::new();
        for service in services {
            let key =
                self.estate.services.get(service).map(|s| (s.zone.clone(), s.transport, s.port));
            match key.filter(|key| self.groups.contains_key(key)) {
                Some(key) => by_group.entry(key).or_default().push(service),
                None => targets.push((Target::Service(service), vec![service])),
            }
        }
        for (key, used) in by_group {
            let all = self.groups.get(&key).map_or(&[][..], Vec::as_slice);
            let others = match devices.as_slice() {
                [one] => all.iter().filter(|s| self.host(**s) != Some(*one)).count(),
                _ => all.len(),
            };
            let join = used.len() > 1
                && self.enough(used.len(), others)
                && all.iter().all(|service| self.clean(&devices, *service));
            if join {
                targets.push((Target::Group(group_id(&key)), used));
            } else {
                targets.extend(
                    used.into_iter().map(|service| (Target::Service(service), vec![service])),
                );
            }
        }
        targets
    }

    fn write(&self, grants: Vec<(Subject, Target, Vec<usize>)>, allowed: &[Path]) -> Rules {
        let mut by_service: BTreeMap<usize, Vec<&Path>> = BTreeMap::new();
        for path in allowed {
            by_service.entry(path.to).or_default().push(path);
        }
        let mut rules = Rules {
            policies: Vec::new(),
            groups: Vec::new(),
            conduits: Vec::new(),
            samples: Vec::new(),
        };
        let mut used_groups = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for (subject, target, services) in grants {
            if let Target::Group(id) = &target {
                used_groups.insert(id.clone());
            }
            let devices: BTreeSet<usize> = self.devices(&subject).into_iter().collect();
            let paths: Vec<&Path> = services
                .iter()
                .filter_map(|service| by_service.get(service))
                .flatten()
                .filter(|path| devices.contains(&path.from))
                .copied()
                .collect();
            let (Some(first), Some(service)) = (
                paths.iter().min_by_key(|p| (p.first_seen, p.from, p.to)),
                services.first().and_then(|s| self.estate.services.get(*s)),
            ) else {
                continue;
            };
            let id = unique(&mut ids, self.rule_id(&subject, &target, service));
            rules.samples.push((first.from, first.to, id.clone()));
            rules.conduits.push(self.conduit(&id, &subject, &target, &paths));
            let policy = self.policy(id, &subject, &target, service, &paths, devices.len());
            rules.policies.push(policy);
        }
        rules.groups = self
            .groups
            .iter()
            .map(|(key, members)| (group_id(key), members))
            .filter(|(id, _)| used_groups.contains(id))
            .map(|(id, members)| {
                let ids = members
                    .iter()
                    .filter_map(|s| self.estate.services.get(*s))
                    .map(|s| s.id.clone());
                Group { id, services: ids.collect() }
            })
            .collect();
        rules.policies.sort_by(|a, b| a.file.cmp(&b.file));
        rules
    }

    fn rule_id(&self, subject: &Subject, target: &Target, service: &Service) -> String {
        let from = match subject {
            Subject::Kind(kind) => format!("all-{kind}"),
            Subject::Cell(zone, kind) if self.one_kind(zone) => slug(zone),
            Subject::Cell(zone, kind) => format!("{}-{kind}", slug(zone)),
            Subject::Device(device) => {
                self.estate.devices.get(*device).map_or(String::new(), |d| slug(d.id.as_str()))
            }
        };
        let to = match target {
            Target::Group(_) => slug(&service.zone),
            Target::Service(_) => self.service_slug(service),
        };
        format!("{from}-to-{to}-{}-{}", service.transport.word(), service.port)
    }

    /// A readable name of a service: its host's and the rest of its own, or its id.
    fn service_slug(&self, service: &Service) -> String {
        let name = slug(&service.name);
        if name.is_empty() { slug(service.id.as_str()) } else { name }
    }

    fn one_kind(&self, zone: &str) -> bool {
        self.kinds_in.get(zone) == Some(&1)
    }

    fn class_of(&self, subject: &Subject) -> &str {
        match subject {
            Subject::Kind(kind) => class::of_type(kind),
            Subject::Cell(zone, _) => {
                self.classes.get(zone.as_str()).copied().unwrap_or(class::UNKNOWN)
            }
            Subject::Device(device) => self
                .estate
                .devices
                .get(*device)
                .and_then(|d| self.classes.get(d.zone.as_str()))
                .copied()
                .unwrap_or(class::UNKNOWN),
        }
    }

    fn policy(
        &self,
        id: String,
        subject: &Subject,
        target: &Target,
        service: &Service,
        paths: &[&Path],
        of: usize,
    ) -> Policy {
        let users: BTreeSet<usize> = paths.iter().map(|p| p.from).collect();
        let evidence = paths.iter().flat_map(|p| p.evidence.iter().cloned());
        let annotations = BTreeMap::from([
            ("mode".to_owned(), "enforce".to_owned()),
            ("evidence".to_owned(), list(evidence, EVIDENCE_MAX)),
            ("reason".to_owned(), self.reason(subject, target, service, paths, users.len(), of)),
        ]);
        let entity = |kind: &str, id: &str| Entity { kind: kind.to_owned(), id: id.to_owned() };
        let mut conditions = Vec::new();
        let principal = match subject {
            Subject::Kind(kind) => Scope::In(entity("DeviceType", kind)),
            Subject::Cell(zone, kind) => {
                if !self.one_kind(zone) {
                    let kind = Expr::Entity(entity("DeviceType", kind));
                    conditions.push(Expr::binary(
                        Binary::Eq,
                        Expr::attr(Var::Principal, "type"),
                        kind,
                    ));
                }
                Scope::In(entity("Zone", zone))
            }
            Subject::Device(device) => Scope::Eq(entity(
                "Device",
                self.estate.devices.get(*device).map_or("", |d| d.id.as_str()),
            )),
        };
        let resource = match target {
            Target::Group(id) => Scope::In(entity("ServiceGroup", id)),
            Target::Service(_) => Scope::Eq(entity("Service", service.id.as_str())),
        };
        let is = |name: &str, value: Expr| {
            Expr::binary(Binary::Eq, Expr::attr(Var::Context, name), value)
        };
        conditions.push(is("protocol", Expr::text(service.transport.word())));
        conditions.push(is("port", Expr::Long(i64::from(service.port))));
        let body = conditions.into_iter().reduce(|a, b| Expr::binary(Binary::And, a, b));
        Policy {
            id,
            on_cedar: None,
            effect: Effect::Permit,
            annotations,
            principal,
            action: Actions::These(vec!["connect".to_owned()]),
            resource,
            conditions: body.into_iter().map(|body| Condition { unless: false, body }).collect(),
            file: format!("policies/{}.cedar", self.class_of(subject)),
            line: 0,
        }
    }

    fn reason(
        &self,
        subject: &Subject,
        target: &Target,
        service: &Service,
        paths: &[&Path],
        users: usize,
        of: usize,
    ) -> String {
        let who = match subject {
            Subject::Kind(kind) => {
                format!("used by {users} of {of} devices of type {kind}, in all zones")
            }
            Subject::Cell(_, kind) => {
                format!("used by {users} of {of} devices of type {kind} in the zone")
            }
            Subject::Device(device) => {
                let kind = self.estate.devices.get(*device).map_or("", |d| d.kind.as_str());
                format!(
                    "used by this {} device",
                    if kind == class::UNKNOWN { "unidentified" } else { kind }
                )
            }
        };
        let what = match target {
            Target::Group(_) => {
                let used: BTreeSet<usize> = paths.iter().map(|p| p.to).collect();
                let all = self.groups.get(&(service.zone.clone(), service.transport, service.port));
                format!("to {} of {} services", used.len(), all.map_or(0, Vec::len))
            }
            Target::Service(_) if service.application.is_empty() => {
                "protocol not confirmed".to_owned()
            }
            Target::Service(_) => line(&service.application),
        };
        let flows = paths.iter().fold(0u64, |sum, p| sum.saturating_add(p.flows));
        let names = list(service.dns_names.iter().map(|n| line(n)), 2);
        let names = if names.is_empty() { names } else { format!("; as {names}") };
        let flows = count(usize::try_from(flows).unwrap_or(usize::MAX), "flow");
        let (first, last) = span(paths);
        format!("{who}; {what}; {flows} from {first} to {last}{names}")
    }

    fn conduit(&self, id: &str, subject: &Subject, target: &Target, paths: &[&Path]) -> Conduit {
        let device = |i: &usize| self.estate.devices.get(*i).map(|d: &Device| d.id.to_string());
        let service = |i: &usize| self.estate.services.get(*i).map(|s| s.id.to_string());
        let (first_seen, last_seen) = span(paths);
        let users: BTreeSet<usize> = paths.iter().map(|p| p.from).collect();
        Conduit {
            rule: id.to_owned(),
            from: match subject {
                Subject::Kind(kind) => format!("type {kind}"),
                Subject::Cell(zone, _) => format!("zone {zone}"),
                Subject::Device(i) => format!("device {}", device(i).unwrap_or_default()),
            },
            to: match target {
                Target::Group(id) => format!("group {id}"),
                Target::Service(i) => format!("service {}", service(i).unwrap_or_default()),
            },
            devices: u64::try_from(users.len()).unwrap_or(u64::MAX),
            flows: paths.iter().fold(0, |sum, p| sum.saturating_add(p.flows)),
            first_seen,
            last_seen,
        }
    }
}

fn span(paths: &[&Path]) -> (Timestamp, Timestamp) {
    let first = paths.iter().map(|p| p.first_seen).min().unwrap_or_default();
    let last = paths.iter().map(|p| p.last_seen).max().unwrap_or_default();
    (first, last)
}

fn group_id((zone, transport, port): &GroupKey) -> String {
    format!("{zone}:{}/{port}", transport.word())
}

fn unique(used: &mut BTreeSet<String>, base: String) -> String {
    let mut id = base.clone();
    let mut n = 1u32;
    while !used.insert(id.clone()) {
        n = n.saturating_add(1);
        id = format!("{base}-{n}");
    }
    id
}
