//! From policies over an estate to "this device is granted these services, by these policies".
//!
//! Devices that no policy can tell apart are decided together, and so are services, so the cost follows
//! the number of different ones, not of all. The answer is exact for today's estate and equals Cedar's.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::decide::{Action, Ask, Decider, View};
use crate::folder::Folder;
use crate::moment::Moment;

/// One granted service and the policy that grants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Index into `estate.services`.
    pub service: u32,
    /// Index into `folder.policies`.
    pub policy: u32,
}

/// What policies in shadow would change about one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shadow {
    /// Index into `estate.services`.
    pub service: u32,
    /// Index into `folder.policies`: the one in shadow.
    pub policy: u32,
    /// What it would do.
    pub change: Change,
}

/// What a policy in shadow would do to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// Close one that is granted.
    Close,
    /// Open one that is denied.
    Open,
}

/// Who is granted what, with devices of equal grants sharing one list.
#[derive(Clone, Debug, Default)]
pub struct Lowered {
    /// Index into `profiles`, by device.
    pub profile_of: Vec<u32>,
    /// Distinct lists of grants, each sorted by service.
    pub profiles: Vec<Vec<Grant>>,
    /// For each profile what policies in shadow would change, sorted by service. A missing list is empty.
    pub shadows: Vec<Vec<Shadow>>,
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

    /// What policies in shadow would change for a profile.
    pub fn shadows(&self, profile: u32) -> &[Shadow] {
        self.shadows.get(index(profile)).map_or(&[], Vec::as_slice)
    }

    /// Both grant every device the same, by the same policies.
    pub fn same(&self, other: &Self) -> bool {
        let mut pairs: Vec<(u32, u32)> =
            self.profile_of.iter().copied().zip(other.profile_of.iter().copied()).collect();
        pairs.sort_unstable();
        pairs.dedup();
        self.profile_of.len() == other.profile_of.len()
            && pairs.into_iter().all(|(a, b)| {
                self.profiles.get(index(a)) == other.profiles.get(index(b))
                    && self.shadows(a) == other.shadows(b)
            })
    }
}

/// Evaluates a folder's policies for the action `connect`, at no particular moment: what holds only at
/// some hours, or only during maintenance, is not granted.
pub fn lower(folder: &Folder) -> Lowered {
    lower_at(folder, Moment::default())
}

/// [`lower`] for a moment.
pub fn lower_at(folder: &Folder, moment: Moment) -> Lowered {
    let decider = Decider::new(folder, View::Today);
    let today = granted(folder, &decider, moment);
    let shadowed = |p: &crate::language::Policy| {
        p.mode() == model::ruleset::Mode::Shadow || p.share().is_some_and(|share| share < 100)
    };
    if folder.policies.iter().any(shadowed) {
        let decider = Decider::new(folder, View::Candidate);
        let candidate = granted(folder, &decider, moment);
        return with_shadows(folder, today, &candidate, &decider, moment);
    }
    today
}

fn granted(folder: &Folder, decider: &Decider<'_>, moment: Moment) -> Lowered {
    let estate = &folder.estate;
    let ask = |devices: u32, services: u32| {
        let (device, service) =
            (decider.devices.first(devices)?, decider.services.first(services)?);
        ask_of(folder, device, service, moment)
    };
    // By group of devices: group of services and policy.
    let mut granted: Vec<Vec<(u32, u32)>> = vec![Vec::new(); decider.devices.len()];
    for (policy, devices, services, plain) in decider.permits(Action::Connect) {
        for group in devices {
            let Some(grants) = granted.get_mut(index(*group)) else {
                continue;
            };
            for service in services {
                let holds =
                    plain || ask(*group, *service).is_some_and(|ask| decider.applies(policy, &ask));
                if holds {
                    grants.push((*service, small(policy)));
                }
            }
        }
    }
    let mut lowered = Lowered { profile_of: vec![0; estate.devices.len()], ..Lowered::default() };
    let mut known: FxHashMap<Vec<(u32, u32)>, u32> = FxHashMap::default();
    for (group, mut grants) in granted.into_iter().enumerate() {
        let group = small(group);
        grants.sort_unstable();
        grants.dedup_by_key(|(service, _)| *service);
        grants.retain(|(service, _)| {
            let forbidden = |ask: Ask| decider.forbidding(&ask).is_some();
            !ask(group, *service).is_none_or(forbidden)
        });
        let profile = *known.entry(grants).or_insert_with_key(|grants| {
            let mut profile: Vec<Grant> = grants
                .iter()
                .flat_map(|(services, policy)| {
                    let members = decider.services.members(*services).iter();
                    members.map(|service| Grant { service: *service, policy: *policy })
                })
                .collect();
            profile.sort_unstable();
            lowered.profiles.push(profile);
            small(lowered.profiles.len().saturating_sub(1))
        });
        for device in decider.devices.members(group) {
            if let Some(slot) = lowered.profile_of.get_mut(index(*device)) {
                *slot = profile;
            }
        }
    }
    lowered
}

/// May a device open the path of a service? By their indexes.
pub(crate) fn ask_of(
    folder: &Folder,
    device: usize,
    service: usize,
    moment: Moment,
) -> Option<Ask> {
    let end = folder.estate.services.get(service)?;
    let (transport, port) = (end.transport, end.port);
    Some(Ask { device, service, action: Action::Connect, transport, port, moment })
}

/// Joins what holds today with what would if nothing were in shadow.
fn with_shadows(
    folder: &Folder,
    today: Lowered,
    candidate: &Lowered,
    decider: &Decider<'_>,
    moment: Moment,
) -> Lowered {
    let mut joined = Lowered::default();
    // Two devices of equal grants may lose them to different policies: groups are kept apart.
    let mut known: BTreeMap<(u32, u32, u32), u32> = BTreeMap::new();
    let mut alike: FxHashMap<(Vec<Grant>, Vec<Shadow>), u32> = FxHashMap::default();
    for (device, (now, then)) in today.profile_of.iter().zip(&candidate.profile_of).enumerate() {
        let group = decider.devices.of.get(device).copied().unwrap_or_default();
        let profile = *known.entry((*now, *then, group)).or_insert_with(|| {
            let grants = today.profiles.get(index(*now)).cloned().unwrap_or_default();
            let wanted = candidate.profiles.get(index(*then)).map_or(&[][..], Vec::as_slice);
            let has = |list: &[Grant], service| {
                list.binary_search_by_key(&service, |g: &Grant| g.service).is_ok()
            };
            let close = grants.iter().filter(|g| !has(wanted, g.service)).filter_map(|g| {
                let ask = ask_of(folder, device, index(g.service), moment)?;
                let policy = small(decider.forbidding(&ask)?);
                Some(Shadow { service: g.service, policy, change: Change::Close })
            });
            let open = wanted.iter().filter(|g| !has(&grants, g.service)).map(|g| Shadow {
                service: g.service,
                policy: g.policy,
                change: Change::Open,
            });
            let mut shadows: Vec<Shadow> = close.chain(open).collect();
            shadows.sort_unstable();
            *alike.entry((grants, shadows)).or_insert_with_key(|(grants, shadows)| {
                joined.profiles.push(grants.clone());
                joined.shadows.push(shadows.clone());
                small(joined.profiles.len().saturating_sub(1))
            })
        });
        joined.profile_of.push(profile);
    }
    joined
}

pub(crate) fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

pub(crate) fn index(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
