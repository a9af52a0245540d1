//! Which forbid stands against a path, asked of the folder itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::folder::Folder;
use crate::language::{Actions, Effect, Policy, Scope};
use crate::lower::lower;

/// Pairs (device, service, by index) that a `forbid` closes, with the index of the first one. A forbid in
/// shadow counts too: what somebody is about to close is not opened meanwhile.
pub(super) fn find(
    folder: &Folder,
    pairs: &BTreeSet<(usize, usize)>,
) -> BTreeMap<(usize, usize), usize> {
    let mut found = BTreeMap::new();
    if pairs.is_empty() {
        return found;
    }
    let small = Small::of(folder, pairs);
    for (number, policy) in folder.policies.iter().enumerate() {
        if policy.effect != Effect::Forbid {
            continue;
        }
        let mut forbid = policy.clone();
        forbid.annotations.remove("mode");
        let asked = Folder { policies: vec![permit_all(), forbid], ..small.folder.clone() };
        let lowered = lower(&asked);
        for pair @ (device, service) in pairs {
            let (Some(d), Some(s)) = (small.devices.get(device), small.services.get(service))
            else {
                continue;
            };
            if lowered.grant(*d, *s).is_none() {
                found.entry(*pair).or_insert(number);
            }
        }
    }
    found
}

/// The part of the estate that the pairs are about: everything else costs time and decides nothing.
struct Small {
    folder: Folder,
    devices: HashMap<usize, usize>,
    services: HashMap<usize, usize>,
}

impl Small {
    fn of(folder: &Folder, pairs: &BTreeSet<(usize, usize)>) -> Self {
        let estate = &folder.estate;
        let services: BTreeSet<usize> = pairs.iter().map(|(_, s)| *s).collect();
        let hosts: BTreeSet<&str> = services
            .iter()
            .filter_map(|s| Some(estate.services.get(*s)?.device.as_ref()?.as_str()))
            .collect();
        // A policy may look at the device behind a service.
        let hosts =
            estate.devices.iter().enumerate().filter(|(_, d)| hosts.contains(d.id.as_str()));
        let devices: BTreeSet<usize> =
            pairs.iter().map(|(d, _)| *d).chain(hosts.map(|(i, _)| i)).collect();
        let mut small = folder.clone();
        small.estate.devices =
            devices.iter().filter_map(|d| estate.devices.get(*d).cloned()).collect();
        small.estate.services =
            services.iter().filter_map(|s| estate.services.get(*s).cloned()).collect();
        let place = |of: BTreeSet<usize>| of.into_iter().enumerate().map(|(n, i)| (i, n)).collect();
        Self { folder: small, devices: place(devices), services: place(services) }
    }
}

fn permit_all() -> Policy {
    Policy {
        id: "anything".to_owned(),
        effect: Effect::Permit,
        annotations: BTreeMap::new(),
        principal: Scope::All,
        action: Actions::All,
        resource: Scope::All,
        conditions: Vec::new(),
        on_cedar: None,
        file: String::new(),
        line: 0,
    }
}
