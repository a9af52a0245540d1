//! What comes of a command.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use model::{DeviceId, SiteId, Timestamp};

use super::command::{Command, Edit, Event, Facts, Found, OwnWord, Said, Timeouts, Told};
use super::device::{Device, State};
use super::known::source_of;
use super::{
    ADDRESSES_MAX, BATCH_MAX, DEVICES_MAX, Devices, Field, KEYS_MAX, LABELS_MAX, OWN_WORD,
    OWN_WORD_CONFIDENCE, OWN_WORD_FIELDS, SEEN_EVERY_S, VALUE_CHARS_MAX, key,
};
use crate::{Refusal, Sort};

const NANOS: i64 = 1_000_000_000;
/// Devices of one event: with ids of 128 characters it still fits an entry.
const EVENT_DEVICES_MAX: usize = 256;
/// Bytes of one event as JSON: with its command, its reason and its evidence it fits an entry.
const EVENT_BYTES_MAX: usize = 40_000;
/// Bytes of texts that fit whatever is in them.
const FACTS_BYTES_SURE: usize = 8_000;
/// Bytes of an edit as JSON: the ids of its devices are beside it.
const EDIT_BYTES_MAX: usize = 8_000;

impl Devices {
    /// What comes of a command at a time; nothing when all of it is known already.
    pub fn decide(&self, command: &Command, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Report { site, source, devices } => self.report(site, source, devices, now),
            Command::SelfReport { device, said } => self.self_report(device, said, now),
            Command::Edit { devices, edit } => self.edit(devices, edit),
            Command::EditEach { edits } => self.edit_each(edits),
            Command::Retire { devices } => {
                let ids = self.known(devices)?;
                // One that was seen again stays retired, and that is decided.
                let ids = ids.into_iter().filter(|d| d.state != State::Retired || d.resurfaced);
                let ids: Vec<DeviceId> = ids.map(|d| d.id.clone()).collect();
                Ok(some(ids, |ids| Event::Retired { ids, timed_out: false }))
            }
            Command::Return { device } => match self.one(device)? {
                known if known.state == State::Retired => {
                    Ok(vec![Event::Returned { id: known.id.clone() }])
                }
                known => Err(Refusal::new(
                    Sort::Conflict,
                    "device.not-retired",
                    format!("return of {}", known.id),
                    format!("it is {}, not retired", known.state.word()),
                )),
            },
            Command::Merge { keep, other } => self.merge(keep, other),
            Command::KeepApart { device, other } => {
                let (device, other) = (self.one(device)?, self.one(other)?);
                if device.id == other.id {
                    let (what, why) =
                        (format!("{} apart from itself", device.id), "they are one device already");
                    return Err(Refusal::new(Sort::Conflict, "device.merged", what, why));
                }
                let ids = [device.id.clone(), other.id.clone()];
                let confused = [(device, other), (other, device)].iter().any(|(a, b)| {
                    let mut with = a.confused_with.iter();
                    with.any(|id| self.get(id).is_some_and(|known| known.id == b.id))
                });
                let same = self.are_apart(&device.id, &other.id) && !confused;
                Ok(if same { Vec::new() } else { vec![Event::KeptApart { ids }] })
            }
            Command::SetTimeouts { timeouts } => self.set_timeouts(timeouts),
            Command::Sweep => Ok(self.sweep(now)),
        }
    }

    fn report(
        &self,
        site: &SiteId,
        source: &str,
        devices: &[Facts],
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        batch(devices.len())?;
        if source_of(source) != source || text(source).is_err() || source.contains('|') {
            let why = "a source is a word, or `import/FILE`, `leases/SERVER`, `gateway/NAME`";
            return Err(invalid("device.source", format!("source `{source}`"), why));
        }
        if source_of(source) == OWN_WORD {
            let why = "only a device itself, which shows its certificate, is this source";
            return Err(invalid("device.source", format!("source `{source}`"), why));
        }
        let mut new = Batch {
            known: self,
            site,
            source,
            events: Vec::new(),
            seen: Vec::new(),
            keys: HashMap::new(),
            done: HashSet::new(),
            count: self.len(),
        };
        for facts in devices {
            check(facts)?;
            new.take(facts, now)?;
        }
        let mut events = new.events;
        // Those of one minute share an event; a minute is exact enough.
        let mut minutes: BTreeMap<i64, (Timestamp, Vec<DeviceId>)> = BTreeMap::new();
        for (at, id) in new.seen {
            let minute = at.as_nanos().div_euclid(NANOS.saturating_mul(60));
            let (latest, ids) = minutes.entry(minute).or_insert_with(|| (at, Vec::new()));
            *latest = (*latest).max(at);
            ids.push(id);
        }
        for (at, ids) in minutes.into_values() {
            events.extend(some(ids, |ids| Event::Seen { at, ids }));
        }
        Ok(events)
    }

    /// A device says what runs on it. What it said before and does not say now it says no longer; what it said before all the same is no news.
    fn self_report(
        &self,
        device: &DeviceId,
        said: &[OwnWord],
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let device = self.one(device)?;
        if device.state == State::Retired {
            let (what, why) = (format!("device {}", device.id), "it is retired");
            return Err(Refusal::new(Sort::Conflict, "device.retired", what, why));
        }
        let wrong = |why: &str| invalid("device.own-word", "what a device says of itself", why);
        let mut fields = BTreeSet::new();
        for OwnWord { field, value, detail } in said {
            if !OWN_WORD_FIELDS.contains(field) {
                return Err(wrong(&format!("{} is not for a device to say", field.word())));
            }
            if !fields.insert(*field) {
                return Err(wrong(&format!("{} is there twice", field.word())));
            }
            fits(*field, value)?;
            if !detail.is_empty() {
                text(detail).map_err(wrong)?;
            }
        }
        let own = |claim: &&super::Claim| !claim.decided && source_of(&claim.source) == OWN_WORD;
        let before: Vec<&super::Claim> = device.claims().iter().filter(own).collect();
        let known = |word: &&OwnWord| {
            before.iter().any(|claim| {
                let detail = claim.source.strip_prefix(OWN_WORD).unwrap_or_default();
                let detail = detail.strip_prefix('/').unwrap_or_default();
                (claim.field, &*claim.value, detail) == (word.field, &*word.value, &*word.detail)
            })
        };
        let new = said.iter().filter(|word| !known(word)).map(|word| Said {
            field: word.field,
            value: Some(word.value.clone()),
            detail: word.detail.clone(),
            confidence: OWN_WORD_CONFIDENCE,
            at: now,
        });
        let gone = before.iter().filter(|claim| !fields.contains(&claim.field)).map(|claim| Said {
            field: claim.field,
            value: None,
            detail: String::new(),
            confidence: OWN_WORD_CONFIDENCE,
            at: now,
        });
        let said: Vec<Said> = new.chain(gone).collect();
        Ok(match said.is_empty() {
            true => Vec::new(),
            false => vec![Event::Told(Told {
                id: device.id.clone(),
                site: device.site.clone(),
                source: OWN_WORD.to_owned(),
                subject: String::new(),
                keys: Vec::new(),
                addresses: None,
                said,
                last_seen: now,
            })],
        })
    }

    fn edit(&self, devices: &[DeviceId], edit: &Edit) -> Result<Vec<Event>, Refusal> {
        edit.check()?;
        let mut ids = Vec::new();
        for device in self.known(devices)? {
            let set = |(field, value): (&Field, &Option<String>)| {
                let decided = device.claims().iter().find(|c| c.decided && c.field == *field);
                decided.map(|c| &*c.value) != value.as_deref()
            };
            let labelled =
                |(name, value): (&String, &Option<String>)| device.label(name) != value.as_deref();
            let added =
                edit.labels.iter().filter(|(n, v)| v.is_some() && device.label(n).is_none());
            if device.labels.len().saturating_add(added.count()) > LABELS_MAX {
                let why = format!("it would have more than {LABELS_MAX}");
                return Err(Refusal::new(
                    Sort::Full,
                    "device.labels",
                    format!("labels of {}", device.id),
                    why,
                ));
            }
            if edit.set.iter().any(set) || edit.labels.iter().any(labelled) {
                ids.push(device.id.clone());
            }
        }
        Ok(some(ids, |ids| Event::Edited { ids, edit: edit.clone() }))
    }

    fn edit_each(&self, edits: &[(DeviceId, Edit)]) -> Result<Vec<Event>, Refusal> {
        batch(edits.len())?;
        let mut seen = BTreeSet::new();
        let mut events = Vec::new();
        for (id, edit) in edits {
            if !seen.insert(&self.one(id)?.id) {
                let why = "it is decided about twice in one command";
                return Err(invalid("device.twice", format!("device {id}"), why));
            }
            events.extend(self.edit(std::slice::from_ref(id), edit)?);
        }
        Ok(events)
    }

    fn merge(&self, keep: &DeviceId, other: &DeviceId) -> Result<Vec<Event>, Refusal> {
        let (keep, other) = (self.one(keep)?, self.one(other)?);
        if keep.id == other.id {
            let why = "they are one device already";
            return Err(Refusal::new(
                Sort::Conflict,
                "device.merged",
                format!("merge into {}", keep.id),
                why,
            ));
        }
        if keep.state == State::Retired {
            let why = "it is retired; return it first, or keep the other one";
            return Err(Refusal::new(
                Sort::Conflict,
                "device.retired",
                format!("merge into {}", keep.id),
                why,
            ));
        }
        Ok(vec![Event::Merged { keep: keep.id.clone(), other: other.id.clone() }])
    }

    fn set_timeouts(&self, timeouts: &Timeouts) -> Result<Vec<Event>, Refusal> {
        if timeouts.types.len() > 1_000 {
            return Err(invalid("device.timeouts", "the timeouts", "more than 1,000 types"));
        }
        let bytes = json_bytes(timeouts);
        if bytes > EVENT_BYTES_MAX {
            let why = format!("{bytes} bytes as JSON, more than {EVENT_BYTES_MAX}");
            return Err(invalid("device.timeouts", "the timeouts", why));
        }
        for (of, wait) in std::iter::once(("other", &timeouts.other))
            .chain(timeouts.types.iter().map(|(name, wait)| (name.as_str(), wait)))
        {
            if wait.stale_s < 60 || wait.retired_s <= wait.stale_s {
                let why = "stale_s is at least 60, and retired_s is larger than stale_s";
                return Err(invalid("device.timeouts", format!("the timeouts of {of}"), why));
            }
        }
        let same = timeouts == self.timeouts();
        Ok(if same { Vec::new() } else { vec![Event::TimeoutsSet { timeouts: timeouts.clone() }] })
    }

    /// Who is silent for too long, a batch at a time.
    fn sweep(&self, now: Timestamp) -> Vec<Event> {
        let (mut stale, mut retired) = (Vec::new(), Vec::new());
        for device in self.iter().filter(|d| d.state != State::Retired) {
            let wait = device.value(Field::Type).and_then(|kind| self.timeouts().types.get(kind));
            let wait = wait.unwrap_or(&self.timeouts().other);
            let silent = now.as_nanos().saturating_sub(device.last_seen().as_nanos()) / NANOS;
            if silent >= i64::from(wait.retired_s) {
                retired.push(device.id.clone());
            } else if silent >= i64::from(wait.stale_s) && device.state == State::Active {
                stale.push(device.id.clone());
            }
        }
        stale.truncate(BATCH_MAX);
        retired.truncate(BATCH_MAX);
        let mut events = some(stale, |ids| Event::Stale { ids });
        events.extend(some(retired, |ids| Event::Retired { ids, timed_out: true }));
        events
    }

    fn one(&self, id: &DeviceId) -> Result<&Device, Refusal> {
        self.get(id).ok_or_else(|| {
            Refusal::new(
                Sort::Unknown,
                "device.unknown",
                format!("device {id}"),
                "there is none with this id",
            )
            .help("`ringfence get devices` lists them")
        })
    }

    fn known(&self, ids: &[DeviceId]) -> Result<Vec<&Device>, Refusal> {
        batch(ids.len())?;
        let mut seen = BTreeSet::new();
        let devices: Result<Vec<&Device>, Refusal> = ids.iter().map(|id| self.one(id)).collect();
        Ok(devices?.into_iter().filter(|device| seen.insert(device.id.clone())).collect())
    }
}

impl Edit {
    /// Whether it can be decided about a device at all.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.set.is_empty() && self.labels.is_empty() {
            let why = "it sets no field and no label";
            return Err(invalid("device.edit", "the edit", why));
        }
        let bytes = json_bytes(self);
        if bytes > EDIT_BYTES_MAX {
            let why = format!("{bytes} bytes as JSON, more than {EDIT_BYTES_MAX}");
            return Err(invalid("device.edit", "the edit", why));
        }
        for (field, value) in &self.set {
            if *field == Field::Assurance {
                let why = "raising it takes a cryptographic proof, or two people (`vouched`)";
                return Err(Refusal::new(Sort::Forbidden, "device.assurance", "assurance", why));
            }
            if let Some(value) = value {
                fits(*field, value)?;
            }
        }
        for (name, value) in &self.labels {
            let good = !name.is_empty()
                && name.len() <= 63
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
            if !good {
                let why = "a label's name is 1 to 63 of a-z A-Z 0-9 - _ . /";
                return Err(invalid("device.label", format!("label `{name}`"), why));
            }
            if let Some(value) = value {
                text(value).map_err(|why| invalid("device.label", format!("label {name}"), why))?;
            }
        }
        Ok(())
    }
}

/// One report on its way to events. Later devices of it see what earlier ones brought.
struct Batch<'d> {
    known: &'d Devices,
    site: &'d SiteId,
    source: &'d str,
    events: Vec<Event>,
    seen: Vec<(Timestamp, DeviceId)>,
    /// Identifiers that this report brought, and whose they are now.
    keys: HashMap<String, DeviceId>,
    /// Devices that it spoke of.
    done: HashSet<DeviceId>,
    count: usize,
}

impl Batch<'_> {
    fn take(&mut self, facts: &Facts, now: Timestamp) -> Result<(), Refusal> {
        let facts = &tidy(facts, now);
        let subject = key::subject(self.site, self.source, &facts.subject);
        let indexed: Vec<String> =
            facts.keys.iter().filter_map(|key| key::indexed(key, self.site)).collect();
        // A list of people that calls a device by our id means that one; a source knows its own; then identifiers; each device once, in this order.
        let by_id = (self.source.starts_with("import/") && facts.subject == facts.id.as_str())
            .then(|| self.known.get(&facts.id))
            .flatten();
        let mut who: Vec<DeviceId> = by_id.map(|device| device.id.clone()).into_iter().collect();
        for key in std::iter::once(&subject).chain(&indexed) {
            if let Some(id) = self.owner(key)
                && !who.contains(id)
            {
                who.push(id.clone());
            }
        }
        let Some(id) = who.first().cloned() else {
            return self.found(facts, subject, indexed);
        };
        for key in std::iter::once(subject.clone()).chain(indexed) {
            if self.owner(&key).is_none() {
                self.keys.insert(key, id.clone());
            }
        }
        // Twice in one report: what the first of them said holds.
        if self.done.insert(id.clone())
            && let Some(device) = self.known.get(&id)
        {
            self.told(device, facts, &subject, who.split_off(1));
        }
        Ok(())
    }

    /// Whose an identifier or subject is, with what this report brought so far.
    fn owner(&self, key: &str) -> Option<&DeviceId> {
        self.known.by_index(key).map(|device| &device.id).or_else(|| self.keys.get(key))
    }

    fn found(&mut self, facts: &Facts, subject: String, keys: Vec<String>) -> Result<(), Refusal> {
        if self.count >= DEVICES_MAX {
            let why = format!("the estate holds {DEVICES_MAX} devices, retired ones included");
            return Err(Refusal::new(Sort::Full, "device.full", "a new device", why));
        }
        if self.known.get(&facts.id).is_some() || !self.done.insert(facts.id.clone()) {
            let why = "another device has this id";
            return Err(Refusal::new(
                Sort::Conflict,
                "device.id",
                format!("device {}", facts.id),
                why,
            ));
        }
        self.count = self.count.saturating_add(1);
        for key in std::iter::once(subject).chain(keys) {
            self.keys.entry(key).or_insert_with(|| facts.id.clone());
        }
        let (site, source) = (self.site.clone(), self.source.to_owned());
        self.events.push(Event::Found(Found { site, source, facts: facts.clone() }));
        Ok(())
    }

    fn told(&mut self, device: &Device, facts: &Facts, subject: &str, others: Vec<DeviceId>) {
        if device.state == State::Retired {
            let new = !device.resurfaced && facts.last_seen > device.last_seen();
            self.events.extend(new.then(|| Event::Resurfaced { id: device.id.clone() }));
            return;
        }
        let room = KEYS_MAX.saturating_sub(device.confused_with.len());
        let new = |id: &DeviceId| {
            !device.confused_with.contains(id) && !self.known.are_apart(&device.id, id)
        };
        let others: Vec<DeviceId> = others.into_iter().filter(new).take(room).collect();
        if !others.is_empty() {
            self.events.push(Event::Confused { id: device.id.clone(), others });
        }
        // Where a person put it stays where it is.
        let pinned = device.claims().iter().any(|c| c.decided && c.field == Field::Site);
        let moves = device.site != *self.site && facts.last_seen > device.last_seen() && !pinned;
        if moves {
            let (from, to) = (device.site.clone(), self.site.clone());
            self.events.push(Event::Moved { id: device.id.clone(), from, to });
        }
        // Where it was before, its addresses are history.
        let here = device.site == *self.site || moves;
        let before: &[IpAddr] = if moves { &[] } else { &device.addresses };
        let addresses = facts.addresses.clone().filter(|a| here && **a != *before);
        // A device that makes up identifiers without end gets no more of them, and its site's report is taken all the same.
        let room = KEYS_MAX.saturating_sub(device.keys.len());
        let new = facts.keys.iter().filter(|key| self.is_given(device, key, here));
        let keys: Vec<String> = new.take(room).cloned().collect();
        let said: Vec<Said> =
            facts.said.iter().filter(|said| self.is_new(device, said)).cloned().collect();
        let new_subject = device.subjects.len() < KEYS_MAX
            && self.known.by_index(subject).is_none()
            && !device.subjects.iter().any(|own| **own == *subject);
        if moves || addresses.is_some() || !keys.is_empty() || !said.is_empty() || new_subject {
            self.events.push(Event::Told(Told {
                id: device.id.clone(),
                site: self.site.clone(),
                source: self.source.to_owned(),
                subject: if new_subject { facts.subject.clone() } else { String::new() },
                keys,
                addresses,
                said,
                last_seen: facts.last_seen,
            }));
            return;
        }
        let seen = facts.last_seen;
        let after = seen.as_nanos().saturating_sub(device.last_seen().as_nanos());
        if after >= SEEN_EVERY_S.saturating_mul(NANOS)
            || (after > 0 && device.state == State::Stale)
        {
            self.seen.push((seen, device.id.clone()));
        }
    }

    /// Whether an identifier is a new one of a device. What is another's stays there, and what counts at one site only says
    /// nothing about a device at another.
    fn is_given(&self, device: &Device, key: &str, here: bool) -> bool {
        match key::indexed(key, self.site) {
            _ if !here && key::is_local(key) => false,
            Some(indexed) => {
                self.known.by_index(&indexed).is_none()
                    && self.keys.get(&indexed) == Some(&device.id)
            }
            None => !device.keys.iter().any(|own| **own == *key),
        }
    }

    /// Whether the source did not say so before. Its time alone is nothing new.
    fn is_new(&self, device: &Device, said: &Said) -> bool {
        let of_source = device
            .claims()
            .iter()
            .filter(|c| !c.decided && c.field == said.field && source_of(&c.source) == self.source);
        match &said.value {
            None => of_source.count() > 0,
            Some(value) => !of_source
                .into_iter()
                .any(|c| *c.value == **value && c.confidence == said.confidence),
        }
    }
}

/// The same without what is there twice, and nothing of it from the future. What is said of a field last holds.
fn tidy(facts: &Facts, now: Timestamp) -> Facts {
    let mut tidy = facts.clone();
    let mut keys: Vec<String> = Vec::new();
    for key in std::mem::take(&mut tidy.keys) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    tidy.keys = keys;
    if let Some(addresses) = &mut tidy.addresses {
        addresses.sort_unstable();
        addresses.dedup();
    }
    let mut all: Vec<Said> = Vec::new();
    for mut said in std::mem::take(&mut tidy.said) {
        said.at = said.at.min(now);
        all.retain(|other| other.field != said.field);
        all.push(said);
    }
    tidy.said = all;
    tidy.last_seen = tidy.last_seen.min(now);
    tidy.first_seen = tidy.first_seen.min(now);
    tidy
}

/// How long something is in the journal.
fn json_bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |text| text.len())
}

fn check(facts: &Facts) -> Result<(), Refusal> {
    let wrong = |what: &str, why: String| {
        invalid("device.facts", format!("{what} of `{}`", clip(&facts.subject)), why)
    };
    text(&facts.subject).map_err(|why| wrong("the subject", why.to_owned()))?;
    if facts.keys.len() > KEYS_MAX {
        return Err(wrong("identifiers", format!("more than {KEYS_MAX}")));
    }
    for key in &facts.keys {
        text(key).map_err(|why| wrong("an identifier", why.to_owned()))?;
        if !key.split_once('/').is_some_and(|(kind, value)| !kind.is_empty() && !value.is_empty()) {
            return Err(wrong("an identifier", format!("`{key}` is not KIND/VALUE")));
        }
    }
    if facts.addresses.as_ref().is_some_and(|a| a.len() > ADDRESSES_MAX) {
        return Err(wrong("addresses", format!("more than {ADDRESSES_MAX}")));
    }
    if facts.said.len() > Field::ALL.len() {
        return Err(wrong("what is said", format!("more than {} values", Field::ALL.len())));
    }
    let said =
        facts.said.iter().flat_map(|said| [said.value.as_deref().unwrap_or(""), &said.detail]);
    let bytes: usize = facts.keys.iter().map(String::as_str).chain(said).map(str::len).sum();
    // Quotes count twice in JSON: only what is long is written to be measured.
    let bytes = if bytes > FACTS_BYTES_SURE { json_bytes(facts) } else { bytes };
    if bytes > EVENT_BYTES_MAX {
        let why = format!("{bytes} bytes as JSON, more than {EVENT_BYTES_MAX}");
        return Err(wrong("what is said", why));
    }
    if facts.last_seen < facts.first_seen {
        return Err(wrong("times", "last seen is before first seen".to_owned()));
    }
    for said in &facts.said {
        if said.field.is_decided_only() {
            let why = format!("{} is decided by people and proofs, not told", said.field.word());
            return Err(wrong("what is said", why));
        }
        if said.confidence > 100 {
            return Err(wrong(said.field.word(), "confidence is 0 to 100 percent".to_owned()));
        }
        if let Some(value) = &said.value {
            fits(said.field, value)?;
        }
        if !said.detail.is_empty() {
            text(&said.detail).map_err(|why| wrong("a detail", why.to_owned()))?;
        }
    }
    Ok(())
}

/// Whether a field may have a value.
fn fits(field: Field, value: &str) -> Result<(), Refusal> {
    let wrong =
        |why: String| invalid("device.value", format!("{} `{}`", field.word(), clip(value)), why);
    text(value).map_err(|why| wrong(why.to_owned()))?;
    match field.words() {
        Some(words) if !words.contains(&value) => {
            Err(wrong(format!("it is one of: {}", words.join(", "))))
        }
        _ if field == Field::Site => {
            SiteId::new(value).map(drop).map_err(|error| wrong(error.to_string()))
        }
        _ => Ok(()),
    }
}

fn text(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.chars().count() > VALUE_CHARS_MAX {
        return Err("it is longer than 256 characters");
    }
    if text.chars().any(char::is_control) {
        return Err("it has a control character");
    }
    Ok(())
}

fn batch(count: usize) -> Result<(), Refusal> {
    match count {
        0 => Err(invalid("device.none", "the command", "it names no device")),
        1..=BATCH_MAX => Ok(()),
        _ => Err(invalid(
            "device.batch",
            "the command",
            format!("it names {count} devices; {BATCH_MAX} at most"),
        )
        .help("send several")),
    }
}

fn invalid(code: &'static str, what: impl Into<String>, why: impl Into<String>) -> Refusal {
    Refusal::new(Sort::Invalid, code, what, why)
}

fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// Events about many devices, in parts that fit an entry of the journal.
fn some(ids: Vec<DeviceId>, event: impl Fn(Vec<DeviceId>) -> Event) -> Vec<Event> {
    ids.chunks(EVENT_DEVICES_MAX).map(|part| event(part.to_vec())).collect()
}
