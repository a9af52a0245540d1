//! What comes of commands about keys and commitments.

use std::collections::{BTreeMap, BTreeSet};

use journal::Hash;
use journal::commitment::{Class, Key, Refusal as Rule, Speaker, Verified, judge};
use model::{DeviceId, Timestamp};

use super::{
    BATCH_MAX, Chain, Command, Commitments, EVENT_MAX, Event, FOUND_MAX, Finding, KEYS_MAX,
    KeyState, Owner, PublicKey, Registered, Sent, class, owner,
};
use crate::devices::{Devices, State};
use crate::side::Digest;
use crate::{Refusal, Sort};

/// What became of one commitment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It counts.
    Accepted,
    /// It counted before.
    Again,
    /// It does not count.
    Refused {
        /// Stable word for programs: `commitment.gap`.
        code: &'static str,
        /// Why.
        why: String,
        /// It is written down as a finding.
        found: bool,
    },
}

impl Commitments {
    pub(crate) fn decide(
        &self,
        command: &Command,
        devices: &Devices,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::RegisterKey { device, gateway, key, epoch } => {
                self.decide_key(devices, device, gateway.as_ref(), key, *epoch)
            }
            Command::RevokeKey { device, key } => self.decide_revoke(device, key),
            Command::Commit { batch } => Ok(self.commit(batch, devices, now)?.0),
        }
    }

    /// What comes of commitments, and what became of each: in the order in which they came.
    pub(crate) fn commit(
        &self,
        batch: &[Verified],
        devices: &Devices,
        now: Timestamp,
    ) -> Result<(Vec<Event>, Vec<Outcome>), Refusal> {
        if batch.len() > BATCH_MAX {
            let why = format!("{} of them; {BATCH_MAX} at most", batch.len());
            return Err(Refusal::new(Sort::Invalid, "commitment.batch", "the commitments", why));
        }
        let mut course =
            Course { of: self, devices, now, known: BTreeSet::new(), now_at: BTreeMap::new() };
        course.look_back(batch);
        let mut events = Vec::new();
        let mut outcomes = Vec::new();
        for verified in batch {
            let (outcome, event) = course.judge(verified);
            outcomes.push(outcome);
            match (event, events.last_mut()) {
                (
                    Some(Event::Committed { commitments: mut more }),
                    Some(Event::Committed { commitments }),
                ) if commitments.len() < EVENT_MAX => {
                    commitments.append(&mut more);
                }
                (Some(event), _) => events.push(event),
                (None, _) => {}
            }
        }
        Ok((events, outcomes))
    }

    fn decide_key(
        &self,
        devices: &Devices,
        device: &DeviceId,
        gateway: Option<&DeviceId>,
        key: &PublicKey,
        epoch: u64,
    ) -> Result<Vec<Event>, Refusal> {
        let what = || format!("the key {}", key.id());
        for id in std::iter::once(device).chain(gateway) {
            let known = devices.get(id).ok_or_else(|| {
                let why = "there is none with this id";
                Refusal::new(Sort::Unknown, "device.unknown", format!("device {id}"), why)
            })?;
            if known.id != *id {
                let why = format!("that is an earlier name of {}", known.id);
                return Err(Refusal::new(Sort::Conflict, "key.alias", format!("device {id}"), why)
                    .help(
                        "commitments name the device as it is registered: use its name of today",
                    ));
            }
            if known.state == State::Retired {
                let why = "it is retired";
                let what = format!("device {id}");
                return Err(Refusal::new(Sort::Conflict, "key.device-retired", what, why));
            }
        }
        if gateway == Some(device) {
            let why = "a device that signs is no gateway of itself";
            return Err(Refusal::new(Sort::Invalid, "key.gateway", what(), why));
        }
        if key.0.is_weak() {
            let why = "everybody can make signatures that it verifies";
            return Err(Refusal::new(Sort::Invalid, "key.weak", what(), why)
                .help("let the device make another key"));
        }
        let id = key.id();
        if let Some(has) = self.owners.get(&id).filter(|has| **has != owner(device, gateway)) {
            let why = match has {
                Owner::Device(other) => format!("it is the key of device {other}"),
                Owner::Gateway(other) => format!("it is the key of gateway {other}"),
            };
            return Err(Refusal::new(Sort::Conflict, "key.taken", what(), why)
                .help("each device makes a key of its own; two that have the same one are one device, or one was copied"));
        }
        let of = self.devices.get(device);
        let has = of.and_then(|of| of.keys.get(&id));
        match has.map(|has| (has.state, has.epoch)) {
            Some((KeyState::Revoked, _)) => {
                let why = "it was revoked";
                return Err(Refusal::new(Sort::Conflict, "key.revoked", what(), why)
                    .help("let the device make another key"));
            }
            Some((KeyState::Current, now)) if now == epoch => return Ok(Vec::new()),
            _ => {}
        }
        if has.is_none() && of.is_some_and(|of| of.keys.len() >= KEYS_MAX) {
            let why = format!("device {device} has had {KEYS_MAX} keys");
            return Err(Refusal::new(Sort::Full, "key.full", what(), why));
        }
        let gateway = gateway.cloned();
        let chain = of.and_then(|of| of.chains.get(&gateway));
        if let Some(chain) = chain.filter(|chain| chain.epoch >= epoch) {
            let why = format!("epoch {epoch} is not above {}, which was registered", chain.epoch);
            return Err(Refusal::new(Sort::Conflict, "key.epoch", what(), why)
                .help("every key has an epoch of its own, and so has every new beginning: take the next one"));
        }
        Ok(vec![Event::KeyRegistered { device: device.clone(), gateway, key: *key, epoch }])
    }

    fn decide_revoke(&self, device: &DeviceId, key: &Digest) -> Result<Vec<Event>, Refusal> {
        let of = self.devices.get(device).and_then(|of| of.keys.get(key));
        match of.map(|registered| registered.state) {
            None => {
                let why = format!("device {device} has no such key");
                Err(Refusal::new(Sort::Unknown, "key.unknown", format!("the key {key}"), why)
                    .help(format!("`ringfence keys list {device}` shows them")))
            }
            Some(KeyState::Revoked) => Ok(Vec::new()),
            Some(KeyState::Current | KeyState::Superseded) => {
                Ok(vec![Event::KeyRevoked { device: device.clone(), key: *key }])
            }
        }
    }
}

/// Commitments one after the other, each judged by what those before it changed.
struct Course<'c> {
    of: &'c Commitments,
    devices: &'c Devices,
    now: Timestamp,
    /// Hashes that something follows which was accepted before.
    known: BTreeSet<Hash>,
    /// Chains as they are by now.
    now_at: BTreeMap<(DeviceId, Option<DeviceId>), Chain>,
}

impl Course<'_> {
    /// Who sends a long batch again sends more than a chain remembers. What it remembers names what is before.
    fn look_back(&mut self, batch: &[Verified]) {
        for verified in batch.iter().rev() {
            let chain = |of: &Commitments| {
                let registered = of.registered(verified.commitment())?;
                let device = DeviceId::new(&verified.commitment().device).ok()?;
                let chain = of.devices.get(&device)?.chains.get(&registered.gateway)?;
                Some(chain.knows(verified))
            };
            if chain(self.of) == Some(true) || self.known.contains(&verified.hash()) {
                self.known.insert(verified.hash());
                self.known.insert(verified.commitment().previous);
            }
        }
    }

    fn judge(&mut self, verified: &Verified) -> (Outcome, Option<Event>) {
        let commitment = verified.commitment();
        let Some(registered) = self.of.registered(commitment) else {
            let why = "no such key is registered for this device and class".to_owned();
            return (Outcome::Refused { code: "commitment.key-unknown", why, found: false }, None);
        };
        let Ok(device) = DeviceId::new(&commitment.device) else {
            let why = "there is no such device".to_owned();
            return (Outcome::Refused { code: "commitment.device", why, found: false }, None);
        };
        let gateway = &registered.gateway;
        let chain = self.now_at.entry((device.clone(), gateway.clone())).or_insert_with(|| {
            let of = self.of.devices.get(&device);
            of.and_then(|of| of.chains.get(gateway)).cloned().unwrap_or_default()
        });
        if self.known.contains(&verified.hash()) || chain.knows(verified) {
            return (Outcome::Again, None);
        }
        let (word, code, why) = match fault(registered, &device, self.devices, chain, verified) {
            Ok(()) => {
                // Which entry it will be is not known yet, and is not asked.
                chain.take(commitment, verified.hash(), u64::MAX, self.now);
                let commitments = vec![Sent(verified.signed().clone())];
                return (Outcome::Accepted, Some(Event::Committed { commitments }));
            }
            Err(fault) => fault,
        };
        let refused = |found| Outcome::Refused { code, why: why.clone(), found };
        let Some(word) = word else { return (refused(false), None) };
        let hash = Digest::from(verified.hash());
        if chain.findings.iter().any(|old| old.hash == hash && old.finding == word) {
            return (refused(true), None);
        }
        let today = chain.today(self.now).map_or(0, |(_, count)| count);
        if today >= FOUND_MAX {
            return (refused(false), None);
        }
        let finding = word.to_owned();
        let event = Event::Found {
            finding: finding.clone(),
            what: why.clone(),
            commitment: Sent(verified.signed().clone()),
            last_of_day: today.saturating_add(1) == FOUND_MAX,
        };
        chain.find(Finding { finding, what: why.clone(), hash, entry: u64::MAX, at: self.now });
        (refused(true), Some(event))
    }
}

/// The word of the finding, if it is one; the code; and why.
type Fault = (Option<&'static str>, &'static str, String);

/// What is wrong with a commitment whose signature holds.
fn fault(
    registered: &Registered,
    device: &DeviceId,
    devices: &Devices,
    chain: &Chain,
    verified: &Verified,
) -> Result<(), Fault> {
    let found = |word, code, why: &str| Err((Some(word), code, why.to_owned()));
    match registered.state {
        KeyState::Current => {}
        KeyState::Revoked => {
            let why = "it is signed with a key that was revoked";
            return found("key-revoked", "commitment.key-revoked", why);
        }
        KeyState::Superseded => {
            let why = "it is signed with a key in whose place there is another one";
            return found("key-superseded", "commitment.key-superseded", why);
        }
    }
    if devices.get(device).is_none_or(|known| known.state == State::Retired) {
        let why = "the device is retired";
        return found("device-retired", "commitment.device-retired", why);
    }
    let key: &Key = &registered.key.0;
    let class: Class = class(registered.gateway.as_ref());
    let speaker = Speaker { class, key, device: device.as_str(), epoch: registered.epoch };
    let last = chain.last(device, registered.gateway.as_ref());
    judge(verified, &speaker, last.as_ref()).map(drop).map_err(|rule| {
        let (word, code) = words(&rule);
        (rule.is_finding().then_some(word), code, rule.to_string())
    })
}

/// The word of a rule, and the code for programs.
const fn words(rule: &Rule) -> (&'static str, &'static str) {
    match rule {
        Rule::Class { .. } => ("class", "commitment.class"),
        Rule::Key(_) => ("key", "commitment.key-unknown"),
        Rule::Device { .. } => ("device", "commitment.device"),
        Rule::OtherChain => ("other-chain", "commitment.other-chain"),
        Rule::Signature => ("signature", "commitment.signature"),
        Rule::Malformed(_) => ("malformed", "commitment.malformed"),
        Rule::Replay { .. } => ("replay", "commitment.replay"),
        Rule::Reordered { .. } => ("reordered", "commitment.reordered"),
        Rule::Fork { .. } => ("fork", "commitment.fork"),
        Rule::Gap { .. } => ("gap", "commitment.gap"),
        Rule::Previous { .. } => ("previous", "commitment.previous"),
        Rule::Epoch { .. } => ("epoch", "commitment.epoch"),
        Rule::EpochBack { .. } => ("epoch-back", "commitment.epoch-back"),
    }
}
