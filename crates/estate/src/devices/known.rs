//! All devices with their indexes, and what events do to them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use model::{DeviceId, SiteId};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize, Serializer};

use super::command::{Event, Found, Timeouts, Told};
use super::device::{ASSURED_BY, Device, State, push};
use super::key;
use super::{Claim, Edit, Field, KEYS_MAX, LABELS_MAX};
use crate::At;

/// All devices.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Kept")]
pub struct Devices {
    all: Vec<Device>,
    by_id: BTreeMap<DeviceId, u32>,
    /// Ids from before merges.
    aliases: BTreeMap<DeviceId, u32>,
    /// Identifiers and subjects, as [`key`] makes them.
    by_key: FxHashMap<Arc<str>, u32>,
    texts: FxHashSet<Arc<str>>,
    timeouts: Timeouts,
    apart: Apart,
}

/// Pairs that people keep apart, each in the order of ids. In a snapshot they stand behind all else.
pub(crate) type Apart = BTreeSet<(DeviceId, DeviceId)>;

/// What a snapshot holds; indexes are made again.
#[derive(Deserialize)]
struct Kept {
    all: Vec<Device>,
    timeouts: Timeouts,
}

impl From<Kept> for Devices {
    fn from(kept: Kept) -> Self {
        let mut devices = Self { timeouts: kept.timeouts, ..Self::default() };
        devices.by_key.reserve(kept.all.len().saturating_mul(2));
        devices.all.reserve_exact(kept.all.len());
        for mut device in kept.all {
            for claim in &mut device.claims {
                claim.source = devices.text(&claim.source);
                if !claim.field.is_unique() {
                    claim.value = devices.text(&claim.value);
                }
            }
            for (name, value) in &mut device.labels {
                *name = devices.text(name);
                *value = devices.text(value);
            }
            devices.insert(device);
        }
        devices
    }
}

impl Serialize for Devices {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Kept<'d> {
            all: &'d [Device],
            timeouts: &'d Timeouts,
        }
        Kept { all: &self.all, timeouts: &self.timeouts }.serialize(serializer)
    }
}

impl PartialEq for Devices {
    /// Indexes follow from the rest.
    fn eq(&self, other: &Self) -> bool {
        (&self.all, &self.timeouts, &self.apart) == (&other.all, &other.timeouts, &other.apart)
    }
}

impl Eq for Devices {}

impl Devices {
    /// How many records there are, retired ones included.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The device of an id, also of one that it had before a merge.
    pub fn get(&self, id: &DeviceId) -> Option<&Device> {
        self.by_id.get(id).or_else(|| self.aliases.get(id)).and_then(|at| self.all.get(index(*at)))
    }

    /// Devices in the order of their ids, those after `after` only.
    pub fn after<'d>(
        &'d self,
        after: Option<&DeviceId>,
    ) -> impl Iterator<Item = &'d Device> + use<'d> {
        let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.clone()));
        self.by_id.range((from, Bound::Unbounded)).filter_map(|(_, at)| self.all.get(index(*at)))
    }

    /// The id that comes at a place in the order of ids, counted from 0; the last one where there are fewer. The index is walked from its
    /// nearer end, without a look at any device.
    pub fn id_at(&self, at: usize) -> Option<&DeviceId> {
        let last = self.by_id.len().checked_sub(1)?;
        let (at, mut ids) = (at.min(last), self.by_id.keys());
        match at > last / 2 {
            true => ids.nth_back(last.saturating_sub(at)),
            false => ids.nth(at),
        }
    }

    /// All devices, in the order in which they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Device> {
        self.all.iter()
    }

    /// Somebody has decided that two records are two devices.
    pub fn are_apart(&self, one: &DeviceId, other: &DeviceId) -> bool {
        self.apart.contains(&pair(one, other))
    }

    pub(crate) const fn apart(&self) -> &Apart {
        &self.apart
    }

    /// What a snapshot says of it.
    pub(crate) fn keep_apart(&mut self, apart: Apart) {
        self.apart = apart;
    }

    /// After how long devices are stale, and retired.
    pub const fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// The device that a source calls so.
    pub fn by_subject(&self, site: &SiteId, source: &str, subject: &str) -> Option<&Device> {
        self.by_index(&key::subject(site, source, subject))
    }

    /// The device of an identifier, looked up as at a site.
    pub fn by_key(&self, key: &str, site: &SiteId) -> Option<&Device> {
        self.by_index(&key::indexed(key, site)?)
    }

    /// Whether every index says what a walk over all devices says; the first difference, in words.
    #[doc(hidden)]
    pub fn check(&self) -> Result<(), String> {
        let mut led = 0_usize;
        for (at, device) in self.all.iter().enumerate() {
            let id = &device.id;
            let here = |found: Option<&u32>| found.is_some_and(|found| index(*found) == at);
            if !here(self.by_id.get(id)) {
                return Err(format!("{id} is not where its id leads"));
            }
            if let Some(alias) = device.aliases.iter().find(|a| !here(self.aliases.get(*a))) {
                return Err(format!("alias {alias} does not lead to {id}"));
            }
            let keys = device.keys.iter().filter_map(|key| key::indexed(key, &device.site));
            let keys: BTreeSet<String> =
                keys.chain(device.subjects.iter().map(ToString::to_string)).collect();
            if let Some(key) = keys.iter().find(|key| !here(self.by_key.get(key.as_str()))) {
                return Err(format!("`{key}` does not lead to {id}"));
            }
            led = led.saturating_add(keys.len());
        }
        match (self.by_id.len() == self.all.len(), self.by_key.len() == led) {
            (true, true) => Ok(()),
            (false, _) => Err("an id leads to no device".to_owned()),
            (_, false) => Err(format!("{} identifiers, {led} of devices", self.by_key.len())),
        }
    }

    pub(super) fn by_index(&self, indexed: &str) -> Option<&Device> {
        self.by_key.get(indexed).and_then(|at| self.all.get(index(*at)))
    }

    pub(crate) fn apply(&mut self, event: &Event, at: At<'_>) {
        match event {
            Event::Found(found) => self.found(found),
            Event::Told(told) => self.told(told),
            Event::Moved { id, to, .. } => self.put_at(id, to),
            Event::Seen { at: seen, ids } => self.each(ids, |device| {
                // A sighting is no change of a device, but its return to life is.
                let stale = device.state == State::Stale;
                device.sign(*seen);
                if stale && device.state == State::Active {
                    device.note(at.entry);
                }
            }),
            Event::Confused { id, others } => self.change(id, |device| {
                for other in others {
                    let full = device.confused_with.len() >= KEYS_MAX;
                    if !full && !device.confused_with.contains(other) {
                        push(&mut device.confused_with, other.clone());
                    }
                }
            }),
            Event::Edited { ids, edit } => self.edited(ids, edit, at),
            Event::Assured { id, level, limit } => {
                let (value, source) =
                    (self.text(level.word()), self.text(&format!("{ASSURED_BY}{limit}")));
                let (field, at) = (Field::Assurance, at.time.as_nanos());
                self.change(id, |device| {
                    device.forget(|claim| claim.field == field);
                    device.put(Claim { field, decided: false, confidence: 100, value, source, at });
                });
            }
            Event::Stale { ids } => self.each(ids, |device| device.state = State::Stale),
            Event::Retired { ids, .. } => self.each(ids, |device| {
                device.state = State::Retired;
                device.resurfaced = false;
            }),
            Event::Resurfaced { id } => self.change(id, |device| device.resurfaced = true),
            Event::Returned { id } => self.change(id, |device| {
                device.state = State::Active;
                device.resurfaced = false;
                // Whoever says that it is back has seen it: the next sweep does not retire it again.
                device.sign(at.time);
            }),
            Event::Merged { keep, other } => self.merged(keep, other),
            Event::KeptApart { ids: [one, other] } => {
                self.apart.insert(pair(one, other));
                for (id, other) in [(one, other), (other, one)] {
                    // Under ids from before merges too.
                    let names = |id: &DeviceId| self.get(id).map(|d| d.aliases.clone());
                    let names = names(other).unwrap_or_default();
                    self.change(id, |device| {
                        let mut with = std::mem::take(&mut device.confused_with).into_vec();
                        with.retain(|id| id != other && !names.contains(id));
                        device.confused_with = with.into_boxed_slice();
                    });
                }
            }
            Event::TimeoutsSet { timeouts } => self.timeouts = timeouts.clone(),
        }
        if !matches!(event, Event::Seen { .. }) {
            self.each(event.devices(), |device| device.note(at.entry));
        }
    }

    fn found(&mut self, found: &Found) {
        let facts = &found.facts;
        let mut device = Device {
            id: facts.id.clone(),
            site: found.site.clone(),
            state: State::Active,
            resurfaced: false,
            first_seen: facts.first_seen.as_nanos(),
            last_seen: facts.last_seen.as_nanos(),
            addresses: facts.addresses.clone().unwrap_or_default().into_boxed_slice(),
            keys: facts.keys.iter().map(|key| Arc::from(key.as_str())).collect(),
            subjects: Box::new([Arc::from(key::subject(
                &found.site,
                &found.source,
                &facts.subject,
            ))]),
            claims: Box::default(),
            labels: Box::default(),
            aliases: Box::default(),
            confused_with: Box::default(),
            history: Box::default(),
        };
        for said in &facts.said {
            if let Some(claim) = self.claim(said, &found.source) {
                device.put(claim);
            }
        }
        self.insert(device);
    }

    fn told(&mut self, told: &Told) {
        let claims: Vec<Claim> =
            told.said.iter().filter_map(|said| self.claim(said, &told.source)).collect();
        // What a source said before about these fields is replaced, wherever in it that stood.
        let gone: Vec<Field> = told.said.iter().map(|said| said.field).collect();
        let subject = (!told.subject.is_empty())
            .then(|| Arc::from(key::subject(&told.site, &told.source, &told.subject)));
        self.change(&told.id, |device| {
            device.forget(|c| gone.contains(&c.field) && source_of(&c.source) == told.source);
            claims.into_iter().for_each(|claim| device.put(claim));
            if let Some(addresses) = &told.addresses {
                device.addresses = addresses.clone().into_boxed_slice();
            }
            told.keys.iter().for_each(|key| push(&mut device.keys, Arc::from(key.as_str())));
            if let Some(subject) = subject {
                push(&mut device.subjects, subject);
            }
            device.sign(told.last_seen);
        });
        self.index_keys(&told.id);
    }

    /// What is said, as it is kept; `None`: it is no longer said.
    fn claim(&mut self, said: &super::Said, source: &str) -> Option<Claim> {
        let value = said.value.as_deref()?;
        let source = match said.detail.is_empty() {
            true => source.to_owned(),
            false => format!("{source}/{}", said.detail),
        };
        Some(Claim {
            field: said.field,
            decided: false,
            confidence: said.confidence,
            value: if said.field.is_unique() { Arc::from(value) } else { self.text(value) },
            source: self.text(&source),
            at: said.at.as_nanos(),
        })
    }

    fn edited(&mut self, ids: &[DeviceId], edit: &Edit, at: At<'_>) {
        let source = self.text(&format!("{}/{}", at.who.kind, at.who.id));
        let mut decided = Vec::new();
        for (field, value) in &edit.set {
            let value = value.as_deref().map(|value| self.text(value));
            decided.push((*field, value));
        }
        let mut labels = Vec::new();
        for (name, value) in &edit.labels {
            let value = value.as_deref().map(|value| self.text(value));
            labels.push((self.text(name), value));
        }
        self.each(ids, |device| {
            for (field, value) in &decided {
                device.forget(|c| c.decided && c.field == *field);
                if let Some(value) = value {
                    let (value, source) = (Arc::clone(value), Arc::clone(&source));
                    let (field, at) = (*field, at.time.as_nanos());
                    device.put(Claim { field, decided: true, confidence: 100, value, source, at });
                }
            }
            for (name, value) in &labels {
                let mut all = std::mem::take(&mut device.labels).into_vec();
                all.retain(|(n, _)| n != name);
                if let Some(value) = value {
                    let at = all.partition_point(|(n, _)| n < name);
                    all.insert(at, (Arc::clone(name), Arc::clone(value)));
                }
                device.labels = all.into_boxed_slice();
            }
        });
        if let Some(Some(site)) = edit.set.get(&Field::Site)
            && let Ok(site) = SiteId::new(site)
        {
            ids.iter().for_each(|id| self.put_at(id, &site));
        }
    }

    /// Puts a device at another site. What identifies it at the old one, and its addresses there, stay behind.
    fn put_at(&mut self, id: &DeviceId, site: &SiteId) {
        if self.place(id).is_none_or(|(_, device)| device.site == *site) {
            return;
        }
        self.unindex(id, key::is_local);
        self.change(id, |device| {
            device.site = site.clone();
            device.addresses = Box::default();
            let mut keys = std::mem::take(&mut device.keys).into_vec();
            keys.retain(|key| !key::is_local(key));
            device.keys = keys.into_boxed_slice();
        });
    }

    /// Makes some identifiers of a device lead to it no longer.
    fn unindex(&mut self, id: &DeviceId, which: impl Fn(&str) -> bool) {
        let Some((at, device)) = self.place(id) else {
            return;
        };
        let which = device.keys.iter().filter(|key| which(key));
        let gone: Vec<String> = which.filter_map(|key| key::indexed(key, &device.site)).collect();
        for key in gone {
            if self.by_key.get(key.as_str()) == Some(&at) {
                self.by_key.remove(key.as_str());
            }
        }
    }

    fn merged(&mut self, keep: &DeviceId, other: &DeviceId) {
        let place = |id| self.by_id.get(id).copied();
        let (Some(gone), Some(survivor)) = (place(other), place(keep)) else {
            return;
        };
        let Some(old) = self.all.get(index(gone)).cloned() else {
            return;
        };
        if gone == survivor {
            return;
        }
        self.unindex(other, |_| true);
        self.by_id.remove(other);
        self.change(keep, |device| {
            let here = device.site == old.site;
            for claim in old.claims {
                // What the survivor's people decided stays.
                let theirs = device.claims.iter().any(|c| c.decided && c.field == claim.field);
                if !(claim.decided && theirs)
                    && device.claim_of(claim.field, &claim.source).is_none()
                {
                    device.put(claim);
                }
            }
            old.keys.into_iter().for_each(|key| {
                let more = device.keys.len() < KEYS_MAX && !device.keys.contains(&key);
                if more && (here || !key::is_local(&key)) {
                    push(&mut device.keys, key);
                }
            });
            old.subjects.into_iter().for_each(|subject| push(&mut device.subjects, subject));
            for (name, value) in old.labels {
                if device.label(&name).is_none() && device.labels.len() < LABELS_MAX {
                    push(&mut device.labels, (name, value));
                }
            }
            device.labels.sort();
            push(&mut device.aliases, old.id.clone());
            old.aliases.into_iter().for_each(|alias| push(&mut device.aliases, alias));
            let with: Vec<_> = std::mem::take(&mut device.confused_with).into_vec();
            device.confused_with = with.into_iter().filter(|id| id != other).collect();
            device.first_seen = device.first_seen.min(old.first_seen);
            device.last_seen = device.last_seen.max(old.last_seen);
            if old.state == State::Active && device.state == State::Stale {
                device.state = State::Active;
            }
            let mut history: Vec<u64> =
                device.history.iter().chain(&old.history).copied().collect();
            history.sort_unstable();
            history.dedup();
            let from = history.len().saturating_sub(super::HISTORY_MAX);
            device.history = history.split_off(from).into_boxed_slice();
        });
        // Who is kept apart from the one that went is kept apart from the other.
        let (with, rest): (Apart, Apart) = std::mem::take(&mut self.apart)
            .into_iter()
            .partition(|(one, two)| one == other || two == other);
        self.apart = rest;
        for (one, two) in with {
            let third = if one == *other { two } else { one };
            if third != *keep {
                self.apart.insert(pair(keep, &third));
            }
        }
        // The last record takes the place of the one that went.
        let last = self.all.len().saturating_sub(1);
        self.all.swap_remove(index(gone));
        if let Some(moved) = self.all.get(index(gone)) {
            self.by_id.insert(moved.id.clone(), gone);
            let id = moved.id.clone();
            self.reindex(&id);
        }
        let survivor = if index(survivor) == last { gone } else { survivor };
        self.aliases.insert(other.clone(), survivor);
        self.reindex(keep);
        // Where a person put the one that went, the other is now.
        let decided = self.get(keep).and_then(|device| {
            let site = device.claims.iter().find(|c| c.decided && c.field == Field::Site)?;
            SiteId::new(&site.value).ok()
        });
        if let Some(site) = decided {
            self.put_at(keep, &site);
        }
    }

    fn insert(&mut self, device: Device) {
        let Ok(at) = u32::try_from(self.all.len()) else {
            return; // Refused long before: DEVICES_MAX.
        };
        let id = device.id.clone();
        self.by_id.insert(id.clone(), at);
        for alias in &device.aliases {
            self.aliases.insert(alias.clone(), at);
        }
        self.all.push(device);
        self.index_keys(&id);
    }

    /// Makes identifiers and subjects of a device lead to it, those that lead to nobody yet.
    fn index_keys(&mut self, id: &DeviceId) {
        let at = self.by_id.get(id).or_else(|| self.aliases.get(id)).copied();
        let Some((at, device)) = at.and_then(|at| Some((at, self.all.get(index(at))?))) else {
            return;
        };
        for key in &device.keys {
            if let Some(indexed) = key::indexed(key, &device.site)
                && !self.by_key.contains_key(indexed.as_str())
            {
                // What counts everywhere is its own index.
                let indexed = if *indexed == **key { Arc::clone(key) } else { Arc::from(indexed) };
                self.by_key.insert(indexed, at);
            }
        }
        for subject in &device.subjects {
            self.by_key.entry(Arc::clone(subject)).or_insert(at);
        }
    }

    /// Makes everything of a device lead to where it is now.
    fn reindex(&mut self, id: &DeviceId) {
        let Some((at, device)) = self.place(id) else {
            return;
        };
        let keys =
            device.keys.iter().filter_map(|key| key::indexed(key, &device.site)).map(Arc::from);
        let all: Vec<Arc<str>> = keys.chain(device.subjects.iter().cloned()).collect();
        for alias in device.aliases.clone() {
            self.aliases.insert(alias, at);
        }
        for key in all {
            self.by_key.insert(key, at);
        }
    }

    fn place(&self, id: &DeviceId) -> Option<(u32, &Device)> {
        let at = self.by_id.get(id).or_else(|| self.aliases.get(id)).copied()?;
        Some((at, self.all.get(index(at))?))
    }

    fn change(&mut self, id: &DeviceId, change: impl FnOnce(&mut Device)) {
        let at = self.by_id.get(id).or_else(|| self.aliases.get(id)).copied();
        if let Some(device) = at.and_then(|at| self.all.get_mut(index(at))) {
            change(device);
        }
    }

    fn each(&mut self, ids: &[DeviceId], mut change: impl FnMut(&mut Device)) {
        ids.iter().for_each(|id| self.change(id, &mut change));
    }

    /// One copy of a text that many devices share.
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(text);
        self.texts.insert(Arc::clone(&new));
        new
    }
}

/// Two ids in their order.
fn pair(one: &DeviceId, other: &DeviceId) -> (DeviceId, DeviceId) {
    let mut both = [one, other];
    both.sort_unstable();
    let [first, second] = both;
    (first.clone(), second.clone())
}

/// The source in front of the detail: `sensor` of `sensor/lldp.name`.
pub(super) fn source_of(source: &str) -> &str {
    match source.split_once('/') {
        // `import/FILE` and `leases/KEA` are sources of two words.
        Some((kind @ ("import" | "leases" | "gateway"), rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            source.get(..kind.len().saturating_add(1).saturating_add(end)).unwrap_or(source)
        }
        Some((kind, _)) => kind,
        None => source,
    }
}

fn index(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
