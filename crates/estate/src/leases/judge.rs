//! The policy, asked about devices of the estate.

use std::collections::BTreeMap;

use model::{Assurance, DeviceId, Timestamp};
use policy::folder::{self, Folder};
use policy::lower::{self, Lowered};
use policy::moment::Moment;
use sha2::{Digest as _, Sha256};

use super::{Decision, Ground, NAMED_MAX, Subject, Verdict};
use crate::Estate;
use crate::devices::{Device, Field, State};

/// What policies look at.
const ASKED: [Field; 8] = [
    Field::Type,
    Field::Zone,
    Field::Owner,
    Field::Assurance,
    Field::Support,
    Field::Exposure,
    Field::Posture,
    Field::Name,
];

/// A folder with the devices of the estate in it, and what it grants them.
#[derive(Debug)]
pub struct Judged {
    /// The folder; its devices are those of the estate that have a zone in it.
    pub folder: Folder,
    lowered: Lowered,
    index: BTreeMap<DeviceId, usize>,
    /// Verdicts of profiles, made once each.
    profiles: Vec<Verdict>,
}

/// Asks a policy folder about the devices of an estate.
pub fn judge(folder: &Folder, estate: &Estate) -> Judged {
    let devices = estate.devices().iter();
    Judged::new(overlay(folder, devices.map(Subject::of_with_addresses)))
}

/// Decisions that differ from those in force. `id` makes ids; at most `max` of them.
pub(super) fn differing(
    judged: &Judged,
    estate: &Estate,
    policy: &str,
    because: &str,
    max: usize,
    id: &mut dyn FnMut() -> String,
) -> Vec<Decision> {
    let mut decisions = Vec::new();
    for device in estate.devices().iter() {
        let last = estate.leases().get(&device.id);
        let subject = Subject::of(device);
        let verdict = judged.verdict(&subject);
        // Nothing was ever granted and nothing is: silence is no decision.
        if last.is_none()
            && matches!(verdict, Verdict::Refused { .. })
            && device.value(Field::Zone).is_none()
        {
            continue;
        }
        let mut decision = Decision {
            id: String::new(),
            policy: policy.to_owned(),
            grounds: grounds(device),
            subject,
            verdict,
            because: because.to_owned(),
            previous: last.map(|lease| lease.decision.clone()),
        };
        if last.is_some_and(|lease| lease.fingerprint == decision.fingerprint()) {
            continue;
        }
        decision.id = id();
        decisions.push(decision);
        if decisions.len() >= max {
            break;
        }
    }
    decisions
}

/// The verdict that a decision's policy gives on its subject, again.
pub fn replay(decision: &Decision, folder: &Folder) -> Verdict {
    let subject = decision.subject.clone();
    let id = subject.device.clone();
    let others = folder.estate.devices.iter().filter(|d| d.id != id).cloned();
    let mut folder = folder.clone();
    folder.estate.devices = others.chain(subject.as_device(&folder, &[], &[])).collect();
    Judged::new(folder).verdict(&decision.subject)
}

/// A folder with these devices in place of its own; those without a zone of the folder stay out.
pub fn overlay<'d>(
    folder: &Folder,
    devices: impl Iterator<Item = (Subject, &'d Device)>,
) -> Folder {
    let mut with = folder.clone();
    with.estate.devices = devices
        .filter(|(subject, _)| subject.state != State::Retired.word())
        .filter_map(|(subject, device)| {
            let macs: Vec<_> = device
                .keys
                .iter()
                .filter_map(|key| key.strip_prefix("mac/")?.parse().ok())
                .collect();
            subject.as_device(folder, &macs, &device.addresses)
        })
        .collect();
    with
}

impl Judged {
    fn new(folder: Folder) -> Self {
        let lowered = lower::lower_at(&folder, Moment::default());
        let index =
            folder.estate.devices.iter().enumerate().map(|(at, d)| (d.id.clone(), at)).collect();
        let profiles = lowered.profiles.iter().map(|grants| verdict(&folder, grants)).collect();
        Self { folder, lowered, index, profiles }
    }

    /// What the policy says about a device.
    pub fn verdict(&self, subject: &Subject) -> Verdict {
        let refused = |why: &str| Verdict::Refused { why: why.to_owned() };
        if subject.state == State::Retired.word() {
            return refused("it is retired");
        }
        let Some(at) = self.index.get(&subject.device) else {
            return match subject.values.get(Field::Zone.word()) {
                None => refused("it has no zone"),
                Some(zone) => refused(&format!("the policy has no zone `{zone}`")),
            };
        };
        let profile = self.lowered.profile_of.get(*at).and_then(|p| usize::try_from(*p).ok());
        match profile.and_then(|p| self.profiles.get(p)) {
            Some(verdict) => verdict.clone(),
            None => refused("the policy grants it nothing"),
        }
    }

    /// Decisions that differ from those in force; ids are asked of `id`.
    pub fn differing(
        &self,
        estate: &Estate,
        policy: &str,
        because: &str,
        max: usize,
        id: &mut dyn FnMut() -> String,
    ) -> Vec<Decision> {
        differing(self, estate, policy, because, max, id)
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
            |field: Field| device.value(field).map(|v| (field.word().to_owned(), v.to_owned()));
        Self {
            device: device.id.clone(),
            site: device.site.clone(),
            state: device.state.word().to_owned(),
            values: ASKED.into_iter().filter_map(value).collect(),
        }
    }

    fn of_with_addresses(device: &Device) -> (Self, &Device) {
        (Self::of(device), device)
    }

    /// As the policy folder has devices; `None`: its zone is not there.
    fn as_device(
        &self,
        folder: &Folder,
        macs: &[model::Mac],
        addresses: &[std::net::IpAddr],
    ) -> Option<folder::Device> {
        let value = |field: Field| self.values.get(field.word()).map(String::as_str);
        let zone = value(Field::Zone)?;
        folder.estate.zones.iter().find(|z| z.id == zone)?;
        let word = |field: Field, otherwise: &str| value(field).unwrap_or(otherwise).to_owned();
        let level = value(Field::Assurance);
        let assurance = Assurance::ALL.into_iter().find(|a| Some(a.word()) == level);
        Some(folder::Device {
            id: self.device.clone(),
            name: word(Field::Name, self.device.as_str()),
            kind: word(Field::Type, "unknown"),
            zone: zone.to_owned(),
            macs: macs.to_vec(),
            addresses: addresses.to_vec(),
            behind: None,
            owner: word(Field::Owner, ""),
            assurance: assurance.unwrap_or_default(),
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
        let mut hash = Sha256::new();
        let grounds: Vec<[&str; 3]> =
            self.grounds.iter().map(|g| [g.field.as_str(), &g.value, &g.source]).collect();
        // Maps and lists of text: JSON has one form for them.
        let text =
            serde_json::to_string(&(&self.subject, grounds, &self.verdict)).unwrap_or_default();
        hash.update(text.as_bytes());
        let digest: [u8; 32] = hash.finalize().into();
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
            value: claim.value.to_string(),
            source: claim.source.to_string(),
            at: Timestamp::from_nanos(claim.at),
        })
    };
    ASKED.into_iter().filter_map(ground).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
