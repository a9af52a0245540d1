//! Pairs of device and service that open or close, in groups that a person can read.
//!
//! Devices of one type and zone that have the same grants before and the same after are compared once,
//! so the cost follows the number of different devices.

use std::collections::{BTreeMap, HashMap};

use model::observation::Transport;
use model::ruleset::Mode;
use model::{DeviceId, ServiceId};
use serde::{Deserialize, Serialize};

use super::{Side, long};
use crate::folder::{Device, Folder, Service};
use crate::language::Policy;
use crate::lower::{Grant, index};
use crate::why::Judge;

/// Groups that a plan names; more are counted.
const GROUPS_MAX: usize = 2_000;
/// Groups whose cause is looked for: each costs an evaluation of all policies.
const CAUSES_MAX: usize = 500;
/// Devices named in a group.
const EXAMPLES: usize = 3;

/// Pairs that open, or that close.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pairs {
    /// How many (device, service) pairs.
    pub pairs: u64,
    /// By type, zone and service; most devices first.
    pub groups: Vec<PairGroup>,
    /// Groups that are not listed.
    pub more_groups: u64,
}

/// Devices of one type and zone, and one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairGroup {
    /// Type of the devices.
    #[serde(rename = "type")]
    pub kind: String,
    /// Their zone.
    pub zone: String,
    /// Mode of the zone.
    pub mode: Mode,
    /// How many.
    pub devices: u64,
    /// Some of them.
    pub examples: Vec<DeviceId>,
    /// Service.
    pub service: ServiceId,
    /// Transport.
    pub transport: Transport,
    /// Port.
    pub port: u16,
    /// What opens or closes it.
    pub cause: Cause,
}

/// A policy and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Policy.
    pub rule: String,
    /// File in the folder.
    pub file: String,
    /// Line.
    pub line: u32,
}

impl Place {
    pub(crate) fn of(policy: &Policy) -> Self {
        Self { rule: policy.id.clone(), file: policy.file.clone(), line: policy.line }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}:{})", self.rule, self.file, self.line)
    }
}

/// Why a group opens or closes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Cause {
    /// This policy grants it.
    Granted(Place),
    /// This policy forbids it now.
    Forbidden(Place),
    /// This policy granted it and is gone or narrower.
    NoLonger(Place),
    /// The devices are no longer in the estate.
    DeviceGone,
    /// The service is no longer in the estate, or moved to another port.
    ServiceGone,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Granted(place) => write!(f, "{place}"),
            Self::Forbidden(place) => write!(f, "forbidden by {place}"),
            Self::NoLonger(place) => write!(f, "no longer granted by {place}"),
            Self::DeviceGone => f.write_str("the device is gone"),
            Self::ServiceGone => f.write_str("the service is gone or has moved"),
        }
    }
}

/// What devices share that are alike on both sides: profile before, profile after, type, zone.
type Alike<'a> = (Option<u32>, Option<u32>, &'a str, &'a str);

/// What opens and what closes from one side to the other.
pub(super) fn difference(before: Option<&Side>, after: &Side) -> (Pairs, Pairs) {
    let services = before.map(|before| same_services(&before.folder, &after.folder));
    let now: HashMap<&str, usize> = by_id(&after.folder);
    let was: HashMap<&str, usize> = before.map_or_else(HashMap::new, |side| by_id(&side.folder));
    let mut opened = Gathered::default();
    let mut closed = Gathered::default();
    let mut alike: BTreeMap<Alike<'_>, Vec<usize>> = BTreeMap::new();
    for (i, device) in after.folder.estate.devices.iter().enumerate() {
        let old = was.get(device.id.as_str());
        let old = old.and_then(|i| before?.lowered.profile_of.get(*i).copied());
        let new = after.lowered.profile_of.get(i).copied();
        alike.entry((old, new, &device.kind, &device.zone)).or_default().push(i);
    }
    let no_services = Vec::new();
    let renamed = services.as_ref().unwrap_or(&no_services);
    for ((old, new, ..), devices) in &alike {
        let old = old.and_then(|p| before?.lowered.profiles.get(index(p)));
        let new = new.and_then(|p| after.lowered.profiles.get(index(p)));
        let old = old.map_or(&[][..], Vec::as_slice);
        let new = new.map_or(&[][..], Vec::as_slice);
        let kept: BTreeMap<usize, Grant> = old
            .iter()
            .filter_map(|g| Some((renamed.get(index(g.service)).copied().flatten()?, *g)))
            .collect();
        for grant in new.iter().filter(|g| !kept.contains_key(&index(g.service))) {
            opened.add(&after.folder, devices, &after.folder, *grant, Kind::Opened);
        }
        let stays =
            |service: usize| new.binary_search_by_key(&service, |g| index(g.service)).is_ok();
        for grant in old {
            let Some(side) = before else {
                continue;
            };
            match renamed.get(index(grant.service)).copied().flatten() {
                Some(service) if stays(service) => {}
                Some(service) => {
                    closed.add(&after.folder, devices, &side.folder, *grant, Kind::Closed(service));
                }
                None => closed.add(&after.folder, devices, &side.folder, *grant, Kind::ServiceGone),
            }
        }
    }
    if let Some(side) = before {
        let mut gone: BTreeMap<(Option<u32>, &str, &str), Vec<usize>> = BTreeMap::new();
        for (i, device) in side.folder.estate.devices.iter().enumerate() {
            if !now.contains_key(device.id.as_str()) {
                let profile = side.lowered.profile_of.get(i).copied();
                gone.entry((profile, &device.kind, &device.zone)).or_default().push(i);
            }
        }
        for ((profile, ..), devices) in &gone {
            let grants = profile.and_then(|p| side.lowered.profiles.get(index(p)));
            for grant in grants.into_iter().flatten() {
                closed.add(&side.folder, devices, &side.folder, *grant, Kind::DeviceGone);
            }
        }
    }
    (opened.finish(None, after), closed.finish(before, after))
}

fn by_id(folder: &Folder) -> HashMap<&str, usize> {
    folder.estate.devices.iter().enumerate().map(|(i, d)| (d.id.as_str(), i)).collect()
}

/// For each service before, the same one after: same id, transport and port.
fn same_services(before: &Folder, after: &Folder) -> Vec<Option<usize>> {
    let numbers: HashMap<&str, usize> =
        after.estate.services.iter().enumerate().map(|(i, s)| (s.id.as_str(), i)).collect();
    let same = |s: &Service| {
        let at = *numbers.get(s.id.as_str())?;
        let other = after.estate.services.get(at)?;
        (other.transport == s.transport && other.port == s.port).then_some(at)
    };
    before.estate.services.iter().map(same).collect()
}

#[derive(Clone, Copy)]
enum Kind {
    Opened,
    /// With the service's number after.
    Closed(usize),
    ServiceGone,
    DeviceGone,
}

/// A group under construction.
struct Group {
    kind: Kind,
    /// Number of its first device, in the folder the devices are numbered in.
    device: usize,
    policy: u32,
    of: PairGroup,
}

#[derive(Default)]
struct Gathered {
    pairs: u64,
    groups: BTreeMap<(String, String, String, u16, u32), Group>,
}

impl Gathered {
    /// Adds one grant of alike devices, numbered in `home`; the grant's service and policy are numbered in `granted_in`.
    fn add(
        &mut self,
        home: &Folder,
        devices: &[usize],
        granted_in: &Folder,
        grant: Grant,
        kind: Kind,
    ) {
        let service = granted_in.estate.services.get(index(grant.service));
        let first = devices.first().and_then(|d| home.estate.devices.get(*d));
        let (Some(service), Some(first), Some(number)) = (service, first, devices.first()) else {
            return;
        };
        // A device is no peer of its own services.
        let others = |d: &usize| {
            let device = home.estate.devices.get(*d);
            device.filter(|device| service.device.as_ref() != Some(&device.id))
        };
        let count = long(devices.len()).saturating_sub(u64::from(
            service.device.is_some() && devices.iter().any(|d| others(d).is_none()),
        ));
        if count == 0 {
            return;
        }
        self.pairs = self.pairs.saturating_add(count);
        let key = (
            first.kind.clone(),
            first.zone.clone(),
            service.id.to_string(),
            service.port,
            grant.policy,
        );
        let group = self.groups.entry(key).or_insert_with(|| Group {
            kind,
            device: *number,
            policy: grant.policy,
            of: group(home, first, service),
        });
        group.of.devices = group.of.devices.saturating_add(count);
        let room = EXAMPLES.saturating_sub(group.of.examples.len());
        let named = devices.iter().filter_map(others).take(room).map(|d: &Device| d.id.clone());
        group.of.examples.extend(named);
    }

    fn finish(self, before: Option<&Side>, after: &Side) -> Pairs {
        let mut groups: Vec<Group> = self.groups.into_values().collect();
        groups.sort_by_key(|g| std::cmp::Reverse(g.of.devices));
        let more_groups = long(groups.len().saturating_sub(GROUPS_MAX));
        groups.truncate(GROUPS_MAX);
        let judge = Judge::of(&after.folder);
        let place = |folder: &Folder, policy: u32| {
            folder.policies.get(index(policy)).map(Place::of).unwrap_or(Place {
                rule: String::new(),
                file: String::new(),
                line: 0,
            })
        };
        let cause = |i: usize, group: &Group| match group.kind {
            Kind::Opened => Cause::Granted(place(&after.folder, group.policy)),
            Kind::ServiceGone => Cause::ServiceGone,
            Kind::DeviceGone => Cause::DeviceGone,
            Kind::Closed(service) => {
                let forbid = (i < CAUSES_MAX)
                    .then(|| judge.forbidding(group.device, service))
                    .flatten()
                    .map(|policy| Cause::Forbidden(Place::of(policy)));
                let folder = before.map_or(&after.folder, |side| &side.folder);
                forbid.unwrap_or_else(|| Cause::NoLonger(place(folder, group.policy)))
            }
        };
        let groups = groups
            .into_iter()
            .enumerate()
            .map(|(i, group)| PairGroup { cause: cause(i, &group), ..group.of })
            .collect();
        Pairs { pairs: self.pairs, groups, more_groups }
    }
}

fn group(home: &Folder, device: &Device, service: &Service) -> PairGroup {
    let zone = home.estate.zones.iter().find(|zone| zone.id == device.zone);
    PairGroup {
        kind: device.kind.clone(),
        zone: device.zone.clone(),
        mode: zone.map(|zone| zone.mode).unwrap_or_default(),
        devices: 0,
        examples: Vec::new(),
        service: service.id.clone(),
        transport: service.transport,
        port: service.port,
        cause: Cause::ServiceGone,
    }
}
