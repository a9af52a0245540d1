//! The policy, asked about devices of the estate.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Assurance, DeviceId, Timestamp};
use policy::folder::{self, Folder, Zone};
use policy::lower;
use policy::moment::Moment;
use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};

use super::{Decision, Ground, NAMED_MAX, Subject, Verdict};
use crate::Estate;
use crate::devices::{Device, Field, State};

/// What policies look at, in the order of their words.
const ASKED: [Field; 8] = [
    Field::Assurance,
    Field::Exposure,
    Field::Name,
    Field::Owner,
    Field::Posture,
    Field::Support,
    Field::Type,
    Field::Zone,
];

/// A policy folder that is ready to be asked about devices of the estate, all or few, again and again.
#[derive(Debug)]
pub struct Judge {
    /// Without devices, but while it is asked about some.
    folder: Folder,
    zones: Arc<Zones>,
    /// Devices that answers about others may rest on.
    seen: BTreeSet<DeviceId>,
}

/// What a policy folder grants devices.
#[derive(Debug)]
pub struct Judged {
    /// Answers may rest on values of other devices.
    sees_others: bool,
    zones: Arc<Zones>,
    profile_of: FxHashMap<DeviceId, u32>,
    /// Verdicts of profiles, made once each.
    profiles: Vec<Verdict>,
}

/// Asks a policy folder about the devices of an estate.
pub fn judge(folder: &Folder, estate: &Estate) -> Judged {
    Judge::new(folder).all(estate)
}

/// The verdict that a decision's policy gives on its subject, again; `then` is the estate as [`Decision::beside`] says, and looked at only
/// where it says something.
pub fn replay(decision: &Decision, folder: &Folder, then: &Estate) -> Verdict {
    let subject = &decision.subject;
    let mut judge = Judge::new(folder);
    let own = subject.as_device(&judge.zones, &[], &[]);
    let others = judge.seen.iter().filter(|id| **id != subject.device);
    let others = others.filter_map(|id| then.devices().get(id));
    let others = others.filter_map(|d| as_asked(&Subject::of(d), d, &judge.zones));
    let devices = others.chain(own).collect();
    judge.ask(devices).verdict(subject)
}

/// A folder with these devices in place of its own; those without a zone of the folder stay out.
pub fn overlay<'d>(
    folder: &Folder,
    devices: impl Iterator<Item = (Subject, &'d Device)>,
) -> Folder {
    let zones = zones(folder);
    let mut with = without_devices(folder);
    with.estate.devices =
        devices.filter_map(|(subject, device)| as_asked(&subject, device, &zones)).collect();
    with
}

/// Zones of a folder by id.
type Zones = BTreeMap<String, Zone>;

fn zones(folder: &Folder) -> Zones {
    folder.estate.zones.iter().map(|zone| (zone.id.clone(), zone.clone())).collect()
}

fn without_devices(folder: &Folder) -> Folder {
    let estate = folder::Estate {
        packs: folder.estate.packs.clone(),
        observed: folder.estate.observed.clone(),
        owners: folder.estate.owners.clone(),
        sites: folder.estate.sites.clone(),
        zones: folder.estate.zones.clone(),
        devices: Vec::new(),
        services: folder.estate.services.clone(),
        groups: folder.estate.groups.clone(),
        controllers: folder.estate.controllers.clone(),
        conduits: folder.estate.conduits.clone(),
        maintenance: folder.estate.maintenance.clone(),
    };
    Folder {
        schema: folder.schema.clone(),
        estate,
        policies: folder.policies.clone(),
        tests: folder.tests.clone(),
        claims: folder.claims.clone(),
        exceptions: folder.exceptions.clone(),
        cards: folder.cards.clone(),
    }
}

/// A device as the policy is asked about it; `None`: it is retired, or its zone is not there.
fn as_asked(subject: &Subject, device: &Device, zones: &Zones) -> Option<folder::Device> {
    if subject.state == State::Retired.word() {
        return None;
    }
    let macs: Vec<_> =
        device.keys.iter().filter_map(|key| key.strip_prefix("mac/")?.parse().ok()).collect();
    subject.as_device(zones, &macs, &device.addresses)
}

impl Judge {
    /// Makes a folder ready.
    pub fn new(folder: &Folder) -> Self {
        let seen = policy::decide::seen_by_others(folder);
        Self { zones: Arc::new(zones(folder)), seen, folder: without_devices(folder) }
    }

    /// Whether answers about other devices may rest on one of these.
    pub fn reaches_others<'d>(&self, mut devices: impl Iterator<Item = &'d DeviceId>) -> bool {
        devices.any(|id| self.seen.contains(id))
    }

    /// Asks about every device of an estate.
    pub fn all(&mut self, estate: &Estate) -> Judged {
        let devices = estate.devices().iter();
        let devices = devices.filter_map(|d| as_asked(&Subject::of(d), d, &self.zones)).collect();
        self.ask(devices)
    }

    /// Asks about some devices of an estate: the same verdicts as [`Self::all`], in time that follows their number and that of
    /// services and policies, not the size of the estate. About which others more has to be asked, [`Self::reaches_others`] says.
    pub fn some(&mut self, estate: &Estate, ids: &[DeviceId]) -> Judged {
        let all = estate.devices();
        let mut asked = BTreeSet::new();
        let devices = ids.iter().chain(&self.seen).filter_map(|id| all.get(id));
        let devices = devices.filter(|device| asked.insert(device.id.clone()));
        let devices = devices.filter_map(|d| as_asked(&Subject::of(d), d, &self.zones)).collect();
        self.ask(devices)
    }

    fn ask(&mut self, devices: Vec<folder::Device>) -> Judged {
        self.folder.estate.devices = devices;
        let folder = &self.folder;
        let lowered = lower::lower_at(folder, Moment::default());
        let ids = folder.estate.devices.iter().map(|device| device.id.clone());
        let judged = Judged {
            sees_others: !self.seen.is_empty(),
            zones: Arc::clone(&self.zones),
            profile_of: ids.zip(lowered.profile_of.iter().copied()).collect(),
            profiles: lowered.profiles.iter().map(|grants| verdict(folder, grants)).collect(),
        };
        self.folder.estate.devices = Vec::new();
        judged
    }
}

impl Judged {
    /// What the policy says about a device, of those that it was asked about.
    pub fn verdict(&self, subject: &Subject) -> Verdict {
        let zone = subject.values.get(Field::Zone.word()).map(String::as_str);
        self.says(&subject.device, &subject.state, zone).into_owned()
    }

    fn says(&self, device: &DeviceId, state: &str, zone: Option<&str>) -> Cow<'_, Verdict> {
        let refused = |why: &str| Cow::Owned(Verdict::Refused { why: why.to_owned() });
        if state == State::Retired.word() {
            return refused("it is retired");
        }
        match zone {
            None => return refused("it has no zone"),
            Some(zone) if !self.zones.contains_key(zone) => {
                return refused(&format!("the policy has no zone `{zone}`"));
            }
            Some(_) => {}
        }
        let profile = self.profile_of.get(device).and_then(|p| usize::try_from(*p).ok());
        match profile.and_then(|p| self.profiles.get(p)) {
            Some(verdict) => Cow::Borrowed(verdict),
            None => refused("the policy grants it nothing"),
        }
    }

    /// Decisions about all devices that differ from those in force, of which `id` makes ids; at most `max`.
    pub fn differing(
        &self,
        estate: &Estate,
        policy: &str,
        because: &str,
        max: usize,
        id: &mut dyn FnMut() -> String,
    ) -> Vec<Decision> {
        let decisions = estate
            .devices()
            .iter()
            .filter_map(|device| self.differs(estate, device, policy, because, &mut *id));
        decisions.take(max).collect()
    }

    /// The same about some devices: those that [`Judge::some`] was asked about.
    pub fn differing_of(
        &self,
        estate: &Estate,
        ids: &[DeviceId],
        policy: &str,
        because: &str,
        id: &mut dyn FnMut() -> String,
    ) -> Vec<Decision> {
        let mut asked = BTreeSet::new();
        let devices = ids.iter().filter_map(|id| estate.devices().get(id));
        let devices = devices.filter(|device| asked.insert(&device.id));
        devices.filter_map(|d| self.differs(estate, d, policy, because, &mut *id)).collect()
    }

    fn differs(
        &self,
        estate: &Estate,
        device: &Device,
        policy: &str,
        because: &str,
        id: &mut dyn FnMut() -> String,
    ) -> Option<Decision> {
        let last = estate.leases().get(&device.id);
        let zone = device.value(Field::Zone);
        // Nothing was ever granted and nothing is: silence is no decision.
        if last.is_none() && zone.is_none() {
            return None;
        }
        let verdict = self.says(&device.id, device.state.word(), zone);
        if last.is_some_and(|lease| lease.fingerprint == fingerprint(device, &verdict)) {
            return None;
        }
        Some(Decision {
            id: id(),
            policy: policy.to_owned(),
            grounds: grounds(device),
            subject: Subject::of(device),
            verdict: verdict.into_owned(),
            because: because.to_owned(),
            previous: last.map(|lease| lease.decision.clone()),
            beside: self.sees_others.then(|| estate.size()),
        })
    }
}

fn verdict(folder: &Folder, grants: &[lower::Grant]) -> Verdict {
    let at = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let text = |grant: &lower::Grant| {
        let service = folder.estate.services.get(at(grant.service)).map_or("?", |s| s.id.as_str());
        let policy = folder.policies.get(at(grant.policy)).map_or("?", |p| p.id.as_str());
        format!("{service} by {policy}")
    };
    if grants.is_empty() {
        return Verdict::Refused { why: "the policy grants it nothing".to_owned() };
    }
    let mut hash = Sha256::new();
    let mut named = Vec::new();
    for grant in grants {
        let text = text(grant);
        hash.update(text.as_bytes());
        hash.update([b'\n']);
        if named.len() < NAMED_MAX {
            named.push(text);
        }
    }
    let services = u32::try_from(grants.len()).unwrap_or(u32::MAX);
    Verdict::Granted { services, named, sha256: hex(&hash.finalize()) }
}

impl Subject {
    /// A device as policies see it.
    pub fn of(device: &Device) -> Self {
        let value =
            |field: Field| device.asked(field).map(|v| (field.word().to_owned(), v.to_owned()));
        Self {
            device: device.id.clone(),
            site: device.site.clone(),
            state: device.state.word().to_owned(),
            values: ASKED.into_iter().filter_map(value).collect(),
        }
    }

    /// As the policy folder has devices; `None`: its zone is not there.
    fn as_device(
        &self,
        zones: &Zones,
        macs: &[model::Mac],
        addresses: &[std::net::IpAddr],
    ) -> Option<folder::Device> {
        let value = |field: Field| self.values.get(field.word()).map(String::as_str);
        let meant = zones.get(value(Field::Zone)?)?;
        let word = |field: Field, otherwise: &str| value(field).unwrap_or(otherwise).to_owned();
        let level = value(Field::Assurance);
        let assurance = Assurance::ALL.into_iter().find(|a| Some(a.word()) == level);
        let assurance = assurance.unwrap_or_default();
        let zone = folder::zone_in_force(|id| zones.get(id), meant, assurance);
        Some(folder::Device {
            id: self.device.clone(),
            name: word(Field::Name, self.device.as_str()),
            kind: word(Field::Type, "unknown"),
            zone: zone.id.clone(),
            meant: (zone.id != meant.id).then(|| meant.id.clone()),
            macs: macs.to_vec(),
            addresses: addresses.to_vec(),
            behind: None,
            owner: word(Field::Owner, ""),
            assurance,
            support: word(Field::Support, "unknown"),
            exposure: word(Field::Exposure, "unknown"),
            posture: word(Field::Posture, "normal"),
            mud_url: None,
        })
    }
}

impl Decision {
    /// Tells decisions with different policies' verdicts, subjects or grounds apart: a new policy that says the same about a device
    /// makes no new decision.
    pub fn fingerprint(&self) -> [u8; 16] {
        let mut print =
            Print::of(&self.subject.device, self.subject.site.as_str(), &self.subject.state);
        for (field, value) in &self.subject.values {
            let ground = self.grounds.iter().find(|ground| ground.field == *field);
            print.value(field, value, ground.map_or("", |ground| &ground.source));
        }
        print.end(&self.verdict)
    }
}

/// That of the decision that a verdict on a device would be.
fn fingerprint(device: &Device, verdict: &Verdict) -> [u8; 16] {
    let mut print = Print::of(&device.id, device.site.as_str(), device.state.word());
    for field in ASKED {
        if let (Some(value), Some(claim)) = (device.asked(field), device.believed(field)) {
            print.value(field.word(), value, &claim.source);
        }
    }
    print.end(verdict)
}

/// A fingerprint in the making: texts, each behind its length.
struct Print(Sha256);

impl Print {
    fn of(device: &DeviceId, site: &str, state: &str) -> Self {
        let mut print = Self(Sha256::new());
        [device.as_str(), site, state].into_iter().for_each(|text| print.text(text));
        print
    }

    fn text(&mut self, text: &str) {
        self.0.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(text.as_bytes());
    }

    fn value(&mut self, field: &str, value: &str, source: &str) {
        [field, value, source].into_iter().for_each(|text| self.text(text));
    }

    fn end(mut self, verdict: &Verdict) -> [u8; 16] {
        match verdict {
            Verdict::Granted { sha256, .. } => self.value("granted", sha256, ""),
            Verdict::Refused { why } => self.value("refused", why, ""),
        }
        let digest: [u8; 32] = self.0.finalize().into();
        let mut short = [0; 16];
        short.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        short
    }
}

/// What the values that policies look at rest on.
fn grounds(device: &Device) -> Vec<Ground> {
    let ground = |field: Field| {
        device.believed(field).map(|claim| Ground {
            field: field.word().to_owned(),
            value: device.asked(field).unwrap_or_default().to_owned(),
            source: claim.source.to_string(),
            at: Timestamp::from_nanos(claim.at),
        })
    };
    ASKED.into_iter().filter_map(ground).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
