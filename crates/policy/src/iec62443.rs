//! Zones and conduits as IEC 62443-3-2 asks: one security requirement per zone, conduits no wider than their
//! use, and a target security level that means something.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::folder::{Folder, Zone};
use crate::lower::{Lowered, index};
use crate::plan::{Place, long};
use crate::text::list;

/// What the judgement is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Remark {
    /// Which requirement.
    pub kind: Kind,
    /// What it is about: a zone or `ZONE to ZONE`.
    pub subject: String,
    /// In words.
    pub text: String,
    /// Where to change it, if a policy is responsible.
    pub rule: Option<Place>,
}

/// Kinds of remarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A zone without a target level (ZCR 5.6: SL-T per zone).
    NoLevel,
    /// Services or devices of one zone ask for different protection (ZCR 3.1: grouping by requirement).
    MixedLevels,
    /// A zone is reached from one whose level is lower by two or more.
    LevelDrop,
    /// A conduit permits more than was used.
    WiderThanUse,
    /// A conduit permits everything its ends offer.
    AnyToAny,
}

impl Kind {
    /// A stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoLevel => "no-level",
            Self::MixedLevels => "mixed-levels",
            Self::LevelDrop => "level-drop",
            Self::WiderThanUse => "wider-than-use",
            Self::AnyToAny => "any-to-any",
        }
    }
}

/// A conduit between two zones: what is granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneConduit {
    /// Source zone.
    pub from: String,
    /// Destination zone.
    pub to: String,
    /// (device, service) pairs that are permitted.
    pub permitted: u64,
    /// Pairs there are between the two.
    pub possible: u64,
    /// The higher target level of the two (a conduit takes the higher one).
    pub level: Option<u8>,
    /// Policies that grant it.
    pub rules: Vec<Place>,
}

/// Conduits between zones, and remarks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// Conduits, by source and destination.
    pub conduits: Vec<ZoneConduit>,
    /// Remarks, by kind.
    pub remarks: Vec<Remark>,
}

/// Judges a folder.
pub fn assess(folder: &Folder, lowered: &Lowered) -> Assessment {
    let estate = &folder.estate;
    let zones: BTreeMap<&str, &Zone> = estate.zones.iter().map(|z| (z.id.as_str(), z)).collect();
    let level = |zone: &str| zones.get(zone).and_then(|zone| zone.security_level);
    let mut devices_in: BTreeMap<&str, u64> = BTreeMap::new();
    let mut services_in: BTreeMap<&str, u64> = BTreeMap::new();
    for device in &estate.devices {
        *devices_in.entry(&device.zone).or_default() += 1;
    }
    for service in &estate.services {
        *services_in.entry(&service.zone).or_default() += 1;
    }
    let mut between: BTreeMap<(&str, &str), (u64, BTreeSet<u32>)> = BTreeMap::new();
    let mut alike: BTreeMap<(&str, u32), u64> = BTreeMap::new();
    for (device, profile) in estate.devices.iter().zip(&lowered.profile_of) {
        *alike.entry((&device.zone, *profile)).or_default() += 1;
    }
    for ((from, profile), devices) in alike {
        for grant in lowered.profiles.get(index(profile)).into_iter().flatten() {
            if let Some(service) = estate.services.get(index(grant.service)) {
                let of = between.entry((from, &service.zone)).or_default();
                of.0 = of.0.saturating_add(devices);
                of.1.insert(grant.policy);
            }
        }
    }
    let place = |policy: &u32| folder.policies.get(index(*policy)).map(Place::of);
    let mut assessment = Assessment::default();
    for ((from, to), (permitted, policies)) in &between {
        let count = |of: &BTreeMap<&str, u64>, zone: &str| of.get(zone).copied().unwrap_or(0);
        let possible = count(&devices_in, from).saturating_mul(count(&services_in, to));
        let conduit = ZoneConduit {
            from: (*from).to_owned(),
            to: (*to).to_owned(),
            permitted: *permitted,
            possible,
            level: level(from).max(level(to)),
            rules: policies.iter().filter_map(place).collect(),
        };
        assessment.remarks.extend(of_conduit(folder, &conduit, &level));
        assessment.conduits.push(conduit);
    }
    assessment.remarks.extend(of_zones(folder, &devices_in));
    assessment.remarks.extend(of_use(folder, lowered));
    assessment.remarks.sort();
    assessment
}

fn of_conduit(
    folder: &Folder,
    conduit: &ZoneConduit,
    level: &impl Fn(&str) -> Option<u8>,
) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let subject = format!("{} to {}", conduit.from, conduit.to);
    let is_site = folder.estate.zones.iter().any(|z| z.id == conduit.to && z.site.is_some());
    if is_site
        && conduit.from != conduit.to
        && conduit.possible >= 4
        && conduit.permitted == conduit.possible
    {
        remarks.push(Remark {
            kind: Kind::AnyToAny,
            subject: subject.clone(),
            text: format!(
                "every device reaches every service ({} pairs): this is one zone, or the conduit is too wide",
                conduit.possible
            ),
            rule: conduit.rules.first().cloned(),
        });
    }
    if let (Some(from), Some(to)) = (level(&conduit.from), level(&conduit.to))
        && to.saturating_sub(from) >= 2
    {
        remarks.push(Remark {
            kind: Kind::LevelDrop,
            subject,
            text: format!(
                "SL-T {from} opens paths to SL-T {to}: the conduit must provide SL-T {to} by itself, for example through a gateway"
            ),
            rule: conduit.rules.first().cloned(),
        });
    }
    remarks
}

fn of_zones(folder: &Folder, devices_in: &BTreeMap<&str, u64>) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for zone in folder.estate.zones.iter().filter(|zone| zone.site.is_some()) {
        let remark = |kind, text| Remark { kind, subject: zone.id.clone(), text, rule: None };
        if zone.security_level.is_none() && devices_in.contains_key(zone.id.as_str()) {
            remarks.push(remark(
                Kind::NoLevel,
                "no target security level: write `security_level` in estate.toml".to_owned(),
            ));
        }
        let services = folder.estate.services.iter().filter(|s| s.zone == zone.id);
        let (sensitive, plain): (Vec<_>, Vec<_>) = services.partition(|s| s.sensitive);
        if let (Some(_), Some(_)) = (sensitive.first(), plain.first()) {
            let names = list(sensitive.iter().map(|s| s.id.to_string()), 3);
            remarks.push(remark(
                Kind::MixedLevels,
                format!(
                    "sensitive services ({names}) beside {} that are not: split the zone",
                    plain.len()
                ),
            ));
        }
        let types: BTreeSet<&str> = folder
            .estate
            .devices
            .iter()
            .filter(|d| d.zone == zone.id)
            .map(|d| crate::class::of_type(&d.kind))
            .filter(|class| *class != crate::class::UNKNOWN)
            .collect();
        let control = types.contains("plcs") || types.contains("hmi-scada");
        let other: Vec<&&str> = types
            .iter()
            .filter(|class| !matches!(**class, "plcs" | "hmi-scada" | "network"))
            .collect();
        if control && !other.is_empty() {
            let names = list(other.iter().map(|class| (**class).to_owned()), 3);
            remarks.push(remark(
                Kind::MixedLevels,
                format!("control equipment beside {names}: split the zone"),
            ));
        }
    }
    remarks
}

/// Permits that grant more than twice what their recorded use touched.
fn of_use(folder: &Folder, lowered: &Lowered) -> Vec<Remark> {
    let mut granted: BTreeMap<u32, BTreeSet<usize>> = BTreeMap::new();
    for (device, profile) in lowered.profile_of.iter().enumerate() {
        for grant in lowered.profiles.get(index(*profile)).into_iter().flatten() {
            granted.entry(grant.policy).or_default().insert(device);
        }
    }
    let mut used: BTreeMap<&str, u64> = BTreeMap::new();
    for conduit in &folder.estate.conduits {
        let of = used.entry(&conduit.rule).or_default();
        *of = (*of).max(conduit.devices);
    }
    let mut remarks = Vec::new();
    for (policy, devices) in granted {
        let Some(policy) = folder.policies.get(index(policy)) else {
            continue;
        };
        let Some(used) = used.get(policy.id.as_str()) else {
            continue;
        };
        let devices = long(devices.len());
        if devices > used.saturating_mul(2) {
            remarks.push(Remark {
                kind: Kind::WiderThanUse,
                subject: policy.id.clone(),
                text: format!("granted to {devices} devices, used by {used}"),
                rule: Some(Place::of(policy)),
            });
        }
    }
    remarks
}
