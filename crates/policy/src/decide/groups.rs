//! Devices, or services, that no policy can tell apart, decided together.

use std::collections::BTreeSet;
use std::hash::Hash;

use model::DeviceId;

use rustc_hash::FxHashMap;

use super::columns::{Columns, Kind};
use crate::folder::Folder;
use crate::language::{Entity, Expr, Policy, Scope};
use crate::lower::{index, small};

/// Groups of items, in order of their first item.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    /// Group of each item.
    pub(crate) of: Vec<u32>,
    /// Items of each group.
    members: Vec<Vec<u32>>,
    /// Groups below an entity.
    below: FxHashMap<(Kind, u32), Vec<u32>>,
}

impl Groups {
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// The first item of a group.
    pub(crate) fn first(&self, group: u32) -> Option<usize> {
        self.members.get(index(group)).and_then(|m| m.first()).map(|m| index(*m))
    }

    /// The items of a group.
    pub(crate) fn members(&self, group: u32) -> &[u32] {
        self.members.get(index(group)).map_or(&[], Vec::as_slice)
    }

    /// Groups that a scope over entities of type `kind` selects.
    pub(super) fn matching(&self, scope: &Scope, kind: &str, columns: &mut Columns) -> Vec<u32> {
        let all = || (0..small(self.members.len())).collect();
        let mut below = |e: &Entity| {
            let entity = columns.entity(&e.kind, &e.id);
            self.below.get(&entity).cloned().unwrap_or_default()
        };
        match scope {
            Scope::All => all(),
            Scope::Is(is) if is == kind => all(),
            Scope::Eq(e) if e.kind == kind => below(e),
            Scope::In(e) => below(e),
            Scope::IsIn(is, e) if is == kind => below(e),
            Scope::Is(_) | Scope::Eq(_) | Scope::IsIn(..) => Vec::new(),
        }
    }

    fn gather<K: Hash + Eq>(keys: impl Iterator<Item = K>) -> Self {
        let mut groups = Self::default();
        let mut known: FxHashMap<K, u32> = FxHashMap::default();
        for (item, key) in keys.enumerate() {
            let next = small(known.len());
            let group = *known.entry(key).or_insert(next);
            if group == next && index(group) == groups.members.len() {
                groups.members.push(Vec::new());
            }
            if let Some(members) = groups.members.get_mut(index(group)) {
                members.push(small(item));
            }
            groups.of.push(group);
        }
        groups
    }
}

/// Entities of a type that policies name: they are groups of their own.
fn named<'f>(folder: &'f Folder, kind: &str) -> BTreeSet<&'f str> {
    let entities = folder.policies.iter().flat_map(Policy::entities);
    entities.filter(|e| e.kind == kind).map(|e| e.id.as_str()).collect()
}

/// A condition looks at the device that offers a service: hosts differ from their peers.
fn hosts_matter(folder: &Folder) -> bool {
    folder.policies.iter().any(|policy| {
        let mut matter = policy.on_cedar.is_some();
        for condition in &policy.conditions {
            condition.body.visit(&mut |e| {
                matter |= matches!(e, Expr::Get(_, name) | Expr::Has(_, name) if name == "device");
            });
        }
        matter
    })
}

/// Devices whose values answers about other devices may rest on: what a condition sees through a service, or names. Empty for most
/// folders: then an answer about a device rests on that device alone.
pub fn seen_by_others(folder: &Folder) -> BTreeSet<DeviceId> {
    let mut seen = BTreeSet::new();
    if hosts_matter(folder) {
        seen.extend(folder.estate.services.iter().filter_map(|s| s.device.clone()));
    }
    let mut note = |entity: &Entity| {
        if entity.kind == "Device" {
            seen.extend(DeviceId::new(&entity.id));
        }
    };
    for policy in &folder.policies {
        for condition in &policy.conditions {
            condition.body.visit(&mut |e| {
                if let Expr::Entity(entity) = e {
                    note(entity);
                }
            });
        }
        policy.on_cedar.iter().flat_map(|on_cedar| &on_cedar.names).for_each(&mut note);
    }
    seen
}

pub(super) fn devices(folder: &Folder, columns: &Columns, shares: &[u8]) -> Groups {
    let estate = &folder.estate;
    let named = named(folder, "Device");
    let hosts: BTreeSet<&str> = match hosts_matter(folder) {
        true => {
            estate.services.iter().filter_map(|s| s.device.as_ref()).map(|d| d.as_str()).collect()
        }
        false => BTreeSet::new(),
    };
    let keys = estate.devices.iter().zip(&columns.devices).map(|(device, row)| {
        let id = device.id.as_str();
        let alone = (named.contains(id) || hosts.contains(id)).then_some(id);
        let shares: Vec<bool> = shares.iter().map(|s| crate::share::holds(id, *s)).collect();
        (*row, alone, shares)
    });
    let mut groups = Groups::gather(keys);
    for group in 0..small(groups.members.len()) {
        let Some(first) = groups.first(group) else {
            continue;
        };
        if let Some(row) = columns.devices.get(first) {
            let above =
                [(Kind::DeviceType, row.kind), (Kind::Zone, row.zone), (Kind::Site, row.site)];
            for entity in above {
                groups.below.entry(entity).or_default().push(group);
            }
        }
        // Only a group of one can be meant by a device's own name.
        if groups.members(group).len() == 1 {
            groups.below.entry((Kind::Device, small(first))).or_default().push(group);
        }
    }
    groups
}

pub(super) fn services(folder: &Folder, columns: &Columns) -> Groups {
    let estate = &folder.estate;
    let named = named(folder, "Service");
    let hosts = hosts_matter(folder);
    let aside = folder.policies.iter().any(|p| p.on_cedar.is_some());
    let keys = estate.services.iter().zip(&columns.services).map(|(service, row)| {
        let id = service.id.as_str();
        let alone = (aside || named.contains(id)).then_some(id);
        let device = if hosts { row.device } else { None };
        let attributes = (row.zone, row.scope, row.protocol, row.port, row.application);
        let more = (row.owner, row.sensitive, row.assurance_min, &row.groups);
        (attributes, more, device, row.device.is_some(), service.transport, alone)
    });
    let mut groups = Groups::gather(keys);
    for group in 0..small(groups.members.len()) {
        let Some(first) = groups.first(group) else {
            continue;
        };
        if let Some(row) = columns.services.get(first) {
            let mut above = vec![(Kind::Zone, row.zone)];
            above.extend(row.site.map(|site| (Kind::Site, site)));
            above.extend(row.groups.iter().map(|g| (Kind::ServiceGroup, *g)));
            for entity in above {
                groups.below.entry(entity).or_default().push(group);
            }
        }
        if groups.members(group).len() == 1 {
            groups.below.entry((Kind::Service, small(first))).or_default().push(group);
        }
    }
    groups
}
