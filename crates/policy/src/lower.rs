//! From policies over an estate to "this device is granted these services, by these policies".
//!
//! Devices that no policy can tell apart are decided together, so the cost follows the number of
//! different devices, not of all. The answer is exact for today's estate and equals Cedar's.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::folder::{Device, Folder, Service, Zone, write::scope_word};
use crate::language::{Effect, Entity, Facts, Policy, Request, Scope, Value};

/// One granted service and the policy that grants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Index into `estate.services`.
    pub service: u32,
    /// Index into `folder.policies`.
    pub policy: u32,
}

/// Who is granted what, with devices of equal grants sharing one list.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// Index into `profiles`, by device.
    pub profile_of: Vec<u32>,
    /// Distinct lists of grants, each sorted by service.
    pub profiles: Vec<Vec<Grant>>,
}

impl Lowered {
    /// Grants of a device by its index.
    pub fn grants(&self, device: usize) -> &[Grant] {
        let profile = self.profile_of.get(device).and_then(|p| self.profiles.get(index(*p)));
        profile.map_or(&[], Vec::as_slice)
    }

    /// The policy that grants a service to a device, by their indexes.
    pub fn grant(&self, device: usize, service: usize) -> Option<Grant> {
        let grants = self.grants(device);
        let at = grants.binary_search_by_key(&service, |g| index(g.service)).ok()?;
        grants.get(at).copied()
    }
}

/// Evaluates a folder's enforced policies for the action `connect`.
pub fn lower(folder: &Folder) -> Lowered {
    let world = World::of(folder);
    let groups = alike(folder, &world);
    let of = |effect: Effect| {
        folder
            .policies
            .iter()
            .enumerate()
            .filter(move |(_, p)| p.effect == effect && p.concerns("connect"))
    };
    let candidates = Candidates::of(folder, &groups);
    let mut granted: Vec<Vec<Grant>> = vec![Vec::new(); groups.len()];
    for (number, policy) in of(Effect::Permit) {
        let services = world.services_in(&policy.resource, folder, &candidates);
        let by_device = policy.looks_at_principal();
        let devices = candidates.groups(&policy.principal);
        let first = devices.first().and_then(|g| groups.get(*g)).and_then(|g| g.first());
        let services: Vec<usize> = match (by_device, first) {
            // The condition is about the service alone: one evaluation does for all devices.
            (false, Some(first)) => services
                .into_iter()
                .filter(|service| world.applies(folder, policy, *first, *service))
                .collect(),
            _ => services,
        };
        for group in devices {
            let Some(device) = groups.get(group).and_then(|g| g.first()) else {
                continue;
            };
            let Some(grants) = granted.get_mut(group) else {
                continue;
            };
            for service in &services {
                if !by_device || world.applies(folder, policy, *device, *service) {
                    grants.push(Grant { service: small(*service), policy: small(number) });
                }
            }
        }
    }
    let forbids: Vec<&Policy> = of(Effect::Forbid).map(|(_, p)| p).collect();
    let mut profiles: Vec<Vec<Grant>> = Vec::new();
    let mut known: HashMap<Vec<Grant>, u32> = HashMap::new();
    let mut profile_of = vec![0; folder.estate.devices.len()];
    for (members, mut grants) in groups.iter().zip(granted) {
        grants.sort_unstable();
        grants.dedup_by_key(|grant| grant.service);
        if let Some(device) = members.first() {
            grants
                .retain(|grant| !world.forbidden(folder, &forbids, *device, index(grant.service)));
        }
        let profile = *known.entry(grants).or_insert_with_key(|grants| {
            profiles.push(grants.clone());
            small(profiles.len().saturating_sub(1))
        });
        for member in members {
            if let Some(slot) = profile_of.get_mut(*member) {
                *slot = profile;
            }
        }
    }
    Lowered { profile_of, profiles }
}

/// Policies that forbid a device (by index) a service (by index): what no exception may lift.
pub(crate) fn forbidding(folder: &Folder, device: usize, service: usize) -> Option<&Policy> {
    let world = World::of(folder);
    folder
        .policies
        .iter()
        .filter(|p| p.effect == Effect::Forbid && p.concerns("connect"))
        .find(|p| world.forbidden(folder, &[p], device, service))
}

pub(crate) fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

pub(crate) fn index(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// The estate by name, as policies ask about it.
struct World<'f> {
    devices: HashMap<&'f str, (usize, &'f Device)>,
    services: HashMap<&'f str, (usize, &'f Service)>,
    zones: HashMap<&'f str, &'f Zone>,
    groups_of: HashMap<&'f str, Vec<&'f str>>,
}

impl<'f> World<'f> {
    fn of(folder: &'f Folder) -> Self {
        let estate = &folder.estate;
        let mut groups_of: HashMap<&str, Vec<&str>> = HashMap::new();
        for group in &estate.groups {
            for service in &group.services {
                groups_of.entry(service.as_str()).or_default().push(&group.id);
            }
        }
        Self {
            devices: estate
                .devices
                .iter()
                .enumerate()
                .map(|(i, d)| (d.id.as_str(), (i, d)))
                .collect(),
            services: estate
                .services
                .iter()
                .enumerate()
                .map(|(i, s)| (s.id.as_str(), (i, s)))
                .collect(),
            zones: estate.zones.iter().map(|z| (z.id.as_str(), z)).collect(),
            groups_of,
        }
    }

    fn site_of(&self, zone: &str) -> Option<&'f str> {
        self.zones.get(zone).and_then(|z| z.site.as_ref()).map(|s| s.as_str())
    }

    /// Conditions of a policy hold for a device and a service, by index.
    fn applies(
        &self,
        folder: &'f Folder,
        policy: &'f Policy,
        device: usize,
        service: usize,
    ) -> bool {
        let estate = &folder.estate;
        let (Some(device), Some(service)) =
            (estate.devices.get(device), estate.services.get(service))
        else {
            return false;
        };
        policy.applies(&Request {
            device: device.id.as_str(),
            service: service.id.as_str(),
            protocol: service.transport.word(),
            port: service.port,
            facts: self,
        })
    }

    fn forbidden(
        &self,
        folder: &'f Folder,
        forbids: &[&'f Policy],
        device: usize,
        service: usize,
    ) -> bool {
        let estate = &folder.estate;
        let (Some(d), Some(s)) = (estate.devices.get(device), estate.services.get(service)) else {
            return true;
        };
        forbids.iter().any(|policy| {
            self.in_scope(&policy.principal, ("Device", d.id.as_str()))
                && self.in_scope(&policy.resource, ("Service", s.id.as_str()))
                && self.applies(folder, policy, device, service)
        })
    }

    fn in_scope(&self, scope: &Scope, entity: (&str, &str)) -> bool {
        let within = |e: &Entity| self.is_in(entity, (&e.kind, &e.id));
        match scope {
            Scope::All => true,
            Scope::Is(kind) => entity.0 == kind,
            Scope::Eq(e) => entity == (e.kind.as_str(), e.id.as_str()),
            Scope::In(e) => within(e),
            Scope::IsIn(kind, e) => entity.0 == kind && within(e),
        }
    }

    fn services_in(
        &self,
        scope: &Scope,
        folder: &Folder,
        candidates: &Candidates<'_>,
    ) -> Vec<usize> {
        let all = || (0..folder.estate.services.len()).collect::<Vec<_>>();
        match scope {
            Scope::All => all(),
            Scope::Is(kind) => {
                if kind == "Service" {
                    all()
                } else {
                    Vec::new()
                }
            }
            Scope::IsIn(kind, _) if kind != "Service" => Vec::new(),
            Scope::Eq(e) | Scope::In(e) | Scope::IsIn(_, e) if e.kind == "Service" => {
                self.services.get(e.id.as_str()).map(|(i, _)| *i).into_iter().collect()
            }
            Scope::Eq(_) => Vec::new(),
            Scope::In(e) | Scope::IsIn(_, e) => candidates
                .services
                .get(&(e.kind.as_str(), e.id.as_str()))
                .cloned()
                .unwrap_or_default(),
        }
    }
}

impl<'f> Facts<'f> for World<'f> {
    fn attribute(&self, kind: &str, id: &str, name: &str) -> Option<Value<'f>> {
        let long = |rank: u8| Value::Long(i64::from(rank));
        match kind {
            "Zone" => {
                let zone = *self.zones.get(id)?;
                (name == "class").then_some(Value::Text(&zone.class))
            }
            "Device" => {
                let (_, device) = *self.devices.get(id)?;
                Some(match name {
                    "type" => Value::Entity("DeviceType", &device.kind),
                    "zone" => Value::Entity("Zone", &device.zone),
                    "site" => Value::Entity("Site", self.site_of(&device.zone).unwrap_or("")),
                    "owner" => Value::Text(self.owner(device)),
                    "assurance" => long(device.assurance.rank()),
                    "support" => Value::Text(&device.support),
                    "exposure" => Value::Text(&device.exposure),
                    "posture" => Value::Text(&device.posture),
                    _ => return None,
                })
            }
            "Service" => {
                let (_, service) = *self.services.get(id)?;
                Some(match name {
                    "zone" => Value::Entity("Zone", &service.zone),
                    "site" => Value::Entity("Site", self.site_of(&service.zone)?),
                    "device" => Value::Entity("Device", service.device.as_ref()?.as_str()),
                    "scope" => Value::Text(scope_word(service.scope)),
                    "protocol" => Value::Text(service.transport.word()),
                    "port" => Value::Long(i64::from(service.port)),
                    "application" => Value::Text(&service.application),
                    "owner" => Value::Text(&service.owner),
                    "sensitive" => Value::Bool(service.sensitive),
                    "assurance_min" => long(service.assurance_min.rank()),
                    _ => return None,
                })
            }
            _ => None,
        }
    }

    fn is_in(&self, entity: (&str, &str), other: (&str, &str)) -> bool {
        if entity == other {
            return true;
        }
        let (kind, id) = entity;
        match (kind, other.0) {
            ("Zone", "Site") => self.site_of(id) == Some(other.1),
            ("Device", _) => self.devices.get(id).is_some_and(|(_, d)| match other.0 {
                "DeviceType" => d.kind == other.1,
                "Zone" => d.zone == other.1,
                "Site" => self.site_of(&d.zone) == Some(other.1),
                _ => false,
            }),
            ("Service", _) => self.services.get(id).is_some_and(|(_, s)| match other.0 {
                "ServiceGroup" => self.groups_of.get(id).is_some_and(|g| g.contains(&other.1)),
                "Zone" => s.zone == other.1,
                "Site" => self.site_of(&s.zone) == Some(other.1),
                _ => false,
            }),
            _ => false,
        }
    }
}

impl<'f> World<'f> {
    /// The device's owner, else its zone's.
    fn owner(&self, device: &'f Device) -> &'f str {
        match self.zones.get(device.zone.as_str()) {
            Some(zone) if device.owner.is_empty() => &zone.owner,
            _ => &device.owner,
        }
    }
}

/// Groups of devices (by index) that no policy can tell apart, in order of their first device.
fn alike(folder: &Folder, world: &World<'_>) -> Vec<Vec<usize>> {
    let named: BTreeSet<&str> = folder
        .policies
        .iter()
        .flat_map(Policy::entities)
        .filter(|e| e.kind == "Device")
        .map(|e| e.id.as_str())
        .collect();
    // `principal == resource.device` tells every host from its peers.
    let hosts_matter = folder.policies.iter().any(|policy| {
        let mut matter = false;
        for condition in &policy.conditions {
            condition.body.visit(&mut |e| {
                matter |= matches!(e, crate::language::Expr::Get(_, name) if name == "device");
            });
        }
        matter
    });
    let hosts: BTreeSet<&str> = folder
        .estate
        .services
        .iter()
        .filter_map(|s| s.device.as_ref())
        .map(|d| d.as_str())
        .filter(|_| hosts_matter)
        .collect();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<_, usize> = HashMap::new();
    for (i, device) in folder.estate.devices.iter().enumerate() {
        let id = device.id.as_str();
        let alone = (named.contains(id) || hosts.contains(id)).then_some(id);
        let key = (
            device.zone.as_str(),
            device.kind.as_str(),
            world.owner(device),
            device.assurance.rank(),
            device.support.as_str(),
            device.exposure.as_str(),
            device.posture.as_str(),
            alone,
        );
        let group = *known.entry(key).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len().saturating_sub(1)
        });
        if let Some(members) = groups.get_mut(group) {
            members.push(i);
        }
    }
    groups
}

/// What a scope can select, by entity.
struct Candidates<'f> {
    all: Vec<usize>,
    groups: HashMap<(&'f str, &'f str), Vec<usize>>,
    services: BTreeMap<(&'f str, &'f str), Vec<usize>>,
}

impl<'f> Candidates<'f> {
    fn of(folder: &'f Folder, alike: &[Vec<usize>]) -> Self {
        let estate = &folder.estate;
        let sites: HashMap<&str, &str> = estate
            .zones
            .iter()
            .filter_map(|z| Some((z.id.as_str(), z.site.as_ref()?.as_str())))
            .collect();
        let mut groups: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        for (i, members) in alike.iter().enumerate() {
            let Some(device) = members.first().and_then(|d| estate.devices.get(*d)) else {
                continue;
            };
            groups.entry(("DeviceType", &device.kind)).or_default().push(i);
            groups.entry(("Zone", &device.zone)).or_default().push(i);
            if let Some(site) = sites.get(device.zone.as_str()) {
                groups.entry(("Site", site)).or_default().push(i);
            }
            // Only a group of one can be meant by a device's own name.
            if let [_] = members.as_slice() {
                groups.entry(("Device", device.id.as_str())).or_default().push(i);
            }
        }
        let numbers: HashMap<&str, usize> =
            estate.services.iter().enumerate().map(|(i, s)| (s.id.as_str(), i)).collect();
        let mut services: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (i, service) in estate.services.iter().enumerate() {
            services.entry(("Zone", &service.zone)).or_default().push(i);
            if let Some(site) = sites.get(service.zone.as_str()) {
                services.entry(("Site", site)).or_default().push(i);
            }
        }
        for group in &estate.groups {
            let members = group.services.iter().filter_map(|s| numbers.get(s.as_str()).copied());
            services.entry(("ServiceGroup", &group.id)).or_default().extend(members);
        }
        Self { all: (0..alike.len()).collect(), groups, services }
    }

    /// Groups of devices that a principal scope selects.
    fn groups(&self, scope: &Scope) -> Vec<usize> {
        let of = |e: &Entity| {
            self.groups.get(&(e.kind.as_str(), e.id.as_str())).cloned().unwrap_or_default()
        };
        match scope {
            Scope::All => self.all.clone(),
            Scope::Is(kind) => {
                if kind == "Device" {
                    self.all.clone()
                } else {
                    Vec::new()
                }
            }
            Scope::Eq(e) => {
                if e.kind == "Device" {
                    of(e)
                } else {
                    Vec::new()
                }
            }
            Scope::In(e) => of(e),
            Scope::IsIn(kind, e) => {
                if kind == "Device" {
                    of(e)
                } else {
                    Vec::new()
                }
            }
        }
    }
}
