//! Recorded flows that the wanted policy would no longer permit.

use std::collections::{BTreeMap, HashMap};

use model::inspect::{Conduit as Used, Proposal, Report};
use model::observation::Transport;
use model::ruleset::Mode;
use model::{DeviceId, Mac, Timestamp};
use serde::{Deserialize, Serialize};

use super::Side;
use crate::folder::{Conduit, Device, Folder, Service};
use crate::why::Judge;

/// Where a flow was recorded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// As use behind a permit, in `estate.toml`.
    Conduit(String),
    /// In an `inspect` document of this name.
    Document(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Conduit(rule) => write!(f, "use behind {rule}"),
            Self::Document(name) => f.write_str(name),
        }
    }
}

/// A recorded flow that is not permitted by the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenFlow {
    /// Where it was recorded.
    pub source: Source,
    /// Source: a device, or in words.
    pub from: String,
    /// Destination: a service, or in words.
    pub to: String,
    /// Transport and port, where one service is meant.
    pub path: Option<(Transport, u16)>,
    /// Who answers for the source; "" when nobody does.
    pub owner: String,
    /// Devices that used it.
    pub devices: u64,
    /// Connections or exchanges.
    pub flows: u64,
    /// Last use.
    pub last_seen: Timestamp,
    /// Mode of the source: in shadow it is counted, and passes.
    pub mode: Mode,
    /// It was permitted by what is in force.
    pub permitted_before: bool,
    /// Why it is not permitted.
    pub why: String,
}

/// Recorded flows that `after` does not permit, enforced ones first, then those seen last.
pub(super) fn broken(
    before: Option<&Side>,
    after: &Side,
    documents: &[(String, Report)],
) -> Vec<BrokenFlow> {
    let judge = Judge::of(&after.folder);
    let mut broken = Vec::new();
    for (name, report) in documents {
        broken.extend(recorded(name, report, before, after, &judge));
    }
    broken.extend(behind_permits(before, after));
    broken.sort_by(|a, b| {
        let key = |f: &BrokenFlow| {
            (f.mode == Mode::Shadow, !f.permitted_before, std::cmp::Reverse(f.last_seen))
        };
        key(a).cmp(&key(b)).then_with(|| (&a.from, &a.to).cmp(&(&b.from, &b.to)))
    });
    broken
}

fn recorded(
    name: &str,
    report: &Report,
    before: Option<&Side>,
    after: &Side,
    judge: &Judge<'_>,
) -> Vec<BrokenFlow> {
    let now = Known::of(&after.folder);
    let was = before.map(|side| Known::of(&side.folder));
    let macs: HashMap<&str, &[Mac]> =
        report.devices.iter().map(|d| (d.id.as_str(), d.macs.as_slice())).collect();
    let mut found = Vec::new();
    for used in &report.conduits {
        let macs = macs.get(used.from.as_str()).copied().unwrap_or_default();
        let device = now.device(&used.from, macs);
        let service = now.service(used);
        let permitted =
            device.zip(service).is_some_and(|(d, s)| after.lowered.grant(d, s).is_some());
        if permitted {
            continue;
        }
        let permitted_before = before.zip(was.as_ref()).is_some_and(|(side, known)| {
            let pair = known.device(&used.from, macs).zip(known.service(used));
            pair.is_some_and(|(d, s)| side.lowered.grant(d, s).is_some())
        });
        let why = match (device, service) {
            (None, _) => "the device is not in the estate".to_owned(),
            (_, None) => "the service is not in the estate".to_owned(),
            (Some(d), Some(s)) => judge.reason(&after.lowered, d, s),
        };
        let why = match &used.proposal {
            Proposal::NotAllowed(reason) => format!("{why}; not proposed: {reason}"),
            Proposal::Allow => why,
        };
        let of = device.and_then(|d| after.folder.estate.devices.get(d));
        found.push(BrokenFlow {
            source: Source::Document(name.to_owned()),
            from: of.map_or(used.from.to_string(), |d| d.id.to_string()),
            to: used.to.to_string(),
            path: Some((used.transport, used.port)),
            owner: of.map_or(String::new(), |d| owner(&after.folder, d)),
            devices: 1,
            flows: used.flows,
            last_seen: used.last_seen,
            mode: of.map_or(Mode::Enforce, |d| mode(&after.folder, d)),
            permitted_before,
            why,
        });
    }
    found
}

/// Use behind permits: what the enforced policy granted under a rule with recorded use, and the plan does not.
fn behind_permits(before: Option<&Side>, after: &Side) -> Vec<BrokenFlow> {
    let mut conduits: BTreeMap<(&str, &str, &str), &Conduit> = BTreeMap::new();
    let old = before.into_iter().flat_map(|side| &side.folder.estate.conduits);
    for conduit in old.chain(&after.folder.estate.conduits) {
        let known = conduits.entry((&conduit.rule, &conduit.from, &conduit.to)).or_insert(conduit);
        if known.last_seen < conduit.last_seen {
            *known = conduit;
        }
    }
    let home = before.unwrap_or(after);
    let known = Known::of(&after.folder);
    let judge = Judge::of(&after.folder);
    let device_now = |d: usize| {
        let device = home.folder.estate.devices.get(d)?;
        known.devices.get(device.id.as_str()).copied()
    };
    let service_now = |s: usize| {
        let service = home.folder.estate.services.get(s)?;
        known.services.get(service.id.as_str()).copied()
    };
    let mut found = Vec::new();
    for conduit in conduits.into_values() {
        let (devices, services) =
            (members(&home.folder, &conduit.from), ends(&home.folder, &conduit.to));
        let (mut open, mut lost, mut granted) = (0usize, 0usize, 0usize);
        let mut first = None;
        for d in &devices {
            for s in &services {
                let had = before.is_none() || home.lowered.grant(*d, *s).is_some();
                if !had {
                    continue;
                }
                granted = granted.saturating_add(1);
                let pair = device_now(*d).zip(service_now(*s));
                if pair.is_some_and(|(d, s)| after.lowered.grant(d, s).is_some()) {
                    open = open.saturating_add(1);
                } else {
                    lost = lost.saturating_add(1);
                    first = first.or(Some((*d, *s, pair)));
                }
            }
        }
        let Some((d, s, pair)) = first else {
            continue;
        };
        // Which of its pairs were used is not recorded: where nothing was in force, only a permit that grants
        // none of them is sure to break its use.
        if lost == 0 || (before.is_none() && open > 0) {
            continue;
        }
        let Some(device) = home.folder.estate.devices.get(d) else {
            continue;
        };
        let service = home.folder.estate.services.get(s);
        let why = match pair {
            Some((d, s)) => judge.reason(&after.lowered, d, s),
            None => "the device or service is not in the estate any more".to_owned(),
        };
        let why = match service {
            Some(service) if granted > 1 => {
                format!(
                    "{lost} of {granted} pairs close, such as {} to {}: {why}",
                    device.id, service.id
                )
            }
            _ => why,
        };
        found.push(BrokenFlow {
            source: Source::Conduit(conduit.rule.clone()),
            from: conduit.from.clone(),
            to: conduit.to.clone(),
            path: None,
            owner: owner(&home.folder, device),
            devices: conduit.devices,
            flows: conduit.flows,
            last_seen: conduit.last_seen,
            mode: mode(&after.folder, device),
            permitted_before: before.is_some(),
            why,
        });
    }
    found
}

/// Kind and id of an end in words: `zone main/cameras/10.0.1.0-24`.
fn end(text: &str) -> Option<(&str, &str)> {
    text.split_once(' ')
}

fn members(folder: &Folder, text: &str) -> Vec<usize> {
    let estate = &folder.estate;
    let Some((kind, id)) = end(text) else {
        return Vec::new();
    };
    let site = |d: &Device| {
        let zone = estate.zones.iter().find(|z| z.id == d.zone);
        zone.and_then(|z| z.site.as_ref()).is_some_and(|s| s.as_str() == id)
    };
    let is = |d: &Device| match kind {
        "device" => d.id.as_str() == id,
        "zone" => d.zone == id,
        "type" => d.kind == id,
        "site" => site(d),
        _ => false,
    };
    (0..estate.devices.len()).filter(|i| estate.devices.get(*i).is_some_and(is)).collect()
}

fn ends(folder: &Folder, text: &str) -> Vec<usize> {
    let estate = &folder.estate;
    let Some((kind, id)) = end(text) else {
        return Vec::new();
    };
    let group = estate.groups.iter().find(|g| kind == "group" && g.id == id);
    let is = |s: &Service| match kind {
        "service" => s.id.as_str() == id,
        "zone" => s.zone == id,
        "group" => group.is_some_and(|g| g.services.contains(&s.id)),
        _ => false,
    };
    (0..estate.services.len()).filter(|i| estate.services.get(*i).is_some_and(is)).collect()
}

/// Devices and services of a folder by what recordings know of them.
struct Known<'f> {
    devices: HashMap<&'f str, usize>,
    macs: HashMap<Mac, usize>,
    services: HashMap<&'f str, usize>,
    folder: &'f Folder,
}

impl<'f> Known<'f> {
    fn of(folder: &'f Folder) -> Self {
        let estate = &folder.estate;
        let numbered = || estate.devices.iter().enumerate();
        Self {
            devices: numbered().map(|(i, d)| (d.id.as_str(), i)).collect(),
            macs: numbered().flat_map(|(i, d)| d.macs.iter().map(move |mac| (*mac, i))).collect(),
            services: estate.services.iter().enumerate().map(|(i, s)| (s.id.as_str(), i)).collect(),
            folder,
        }
    }

    fn device(&self, id: &DeviceId, macs: &[Mac]) -> Option<usize> {
        let by_mac = || macs.iter().find_map(|mac| self.macs.get(mac));
        self.devices.get(id.as_str()).or_else(by_mac).copied()
    }

    fn service(&self, used: &Used) -> Option<usize> {
        let at = self.services.get(used.to.as_str()).copied()?;
        let service = self.folder.estate.services.get(at)?;
        (service.transport == used.transport && service.port == used.port).then_some(at)
    }
}

/// The device's owner, else its zone's.
pub(crate) fn owner(folder: &Folder, device: &Device) -> String {
    if !device.owner.is_empty() {
        return device.owner.clone();
    }
    let zone = folder.estate.zones.iter().find(|zone| zone.id == device.zone);
    zone.map_or(String::new(), |zone| zone.owner.clone())
}

fn mode(folder: &Folder, device: &Device) -> Mode {
    let zone = folder.estate.zones.iter().find(|zone| zone.id == device.zone);
    zone.map(|zone| zone.mode).unwrap_or_default()
}
