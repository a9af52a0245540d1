//! The life of what a site enforces: which generation comes next, when it is rolled back, opened in
//! an emergency, promoted or stepped back. Pure: time is an argument, the kernel is told and asked
//! by the shell around it ([`crate::shell`]).
//!
//! ```text
//! Offered ─▶ Save, Enforce(generation N) ─▶ Applied ─▶ ReadBack ─▶ verified ─▶ canaries of shadow zones
//!                 │ unconfirmed until the deadline: Enforce(N + 1) with what was there before
//! ```
//!
//! Rules that hold whatever happens (the tests generate histories and check them):
//!
//! * a generation number is saved before it is used, and never used for two different contents;
//! * numbers only grow: past what was saved and past what the kernel holds;
//! * nothing is *verified* that was not read back after it was last applied;
//! * an unconfirmed change ends at its deadline, also across a restart;
//! * a grant that has ended is in no order.

mod words;

use std::collections::BTreeMap;

use model::Timestamp;
use model::ruleset::Mode;
use serde::{Deserialize, Serialize};

use crate::gate::{Gate, Spike, Spiked, Thresholds, Watched};

pub use words::{Content, Durable, Entry, Flown, Grant, Order, Override, Pending, Refusal};

/// What the shell tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The process is up; the kernel holds this generation.
    Started {
        /// Read from the kernel.
        kernel: Option<u64>,
    },
    /// A folder was read, checked, and can be compiled.
    Offered {
        /// Its content.
        content: Content,
        /// A person asked; else the folder changed by itself.
        asked: bool,
        /// Roll back unless confirmed within this many seconds.
        confirm_within_s: Option<u32>,
    },
    /// The ruleset of the present moment differs from the one in force: an hour, a window, an end.
    Moment {
        /// What changed.
        why: String,
    },
    /// The kernel took the order.
    Applied {
        /// Its number.
        generation: u64,
    },
    /// The kernel did not take it; what was in force stays.
    Failed {
        /// Its number.
        generation: u64,
        /// What was said.
        why: String,
    },
    /// The kernel was read back.
    ReadBack {
        /// The number that was compared.
        generation: u64,
        /// How it differs; nothing: it does not.
        differences: Vec<String>,
    },
    /// The canary of a shadow zone was counted, or not.
    Canary {
        /// The generation it flew in.
        generation: u64,
        /// The zone.
        zone: String,
        /// What came of it.
        flown: Flown,
    },
    /// What was counted in a zone since the last time.
    Counted {
        /// The zone.
        zone: String,
        /// Counts.
        sample: crate::gate::Sample,
    },
    /// Time has passed.
    Tick,
}

/// What the shell does, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make [`Life::durable`] durable. What follows does not happen unless that worked.
    Save,
    /// Write to the journal, durably. What follows does not happen unless that worked.
    Journal(Entry),
    /// Compile and apply.
    Enforce(Order),
    /// Read back and compare.
    ReadBack {
        /// What should be there.
        generation: u64,
    },
    /// Fly canaries through these zones.
    Canaries {
        /// In this generation.
        generation: u64,
        /// Zones in shadow.
        zones: Vec<String>,
    },
    /// Tell people.
    Find {
        /// Stable word.
        kind: &'static str,
        /// Whom it concerns.
        subject: String,
        /// One line.
        what: String,
    },
}

/// Grants at once.
pub const GRANTS_MAX: usize = 32;
/// Characters of a reason.
pub const REASON_MAX: usize = 500;
/// Seconds between tries after the kernel refused.
pub const RETRY_S: i64 = 10;
/// A canary that was not heard of for this long has failed.
pub const CANARY_S: i64 = 60;
/// Seconds after which one that failed flies again.
pub const CANARY_AGAIN_S: i64 = 300;

/// How far the order in force has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Progress {
    applied: Option<u64>,
    verified: bool,
    failure: Option<String>,
    /// When to try again.
    retry: Option<Timestamp>,
    differences: Vec<String>,
}

/// A shadow zone's proof.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Proof {
    Waiting(Timestamp),
    Counted,
    /// Why, and when the next one flies.
    Failed(String, Timestamp),
    NotProvable(String),
}

/// The state of one control, in words everybody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// Wanted.
    Intended,
    /// The kernel took it.
    Applied,
    /// It was read back, or a probe proved it.
    Verified,
}

/// Limits that `site.toml` sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Longest break-glass, in seconds.
    pub break_glass_max_s: u64,
    /// Promotion gate and step back.
    pub thresholds: Thresholds,
}

/// The state machine.
#[derive(Clone, Debug)]
pub struct Life {
    durable: Durable,
    limits: Limits,
    all_shadow: bool,
    progress: Progress,
    /// Zones of the content in force with the folder's mode.
    zones: BTreeMap<String, Mode>,
    canaries: BTreeMap<String, Proof>,
    spikes: BTreeMap<String, Spike>,
}

impl Life {
    /// Continues from what was saved. `all_shadow`: whatever the folder says, everything passes.
    pub fn new(durable: Durable, limits: Limits, all_shadow: bool) -> Self {
        Self {
            durable,
            limits,
            all_shadow,
            progress: Progress::default(),
            zones: BTreeMap::new(),
            canaries: BTreeMap::new(),
            spikes: BTreeMap::new(),
        }
    }

    /// Other limits hold from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// What must survive.
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// The order in force or on its way.
    pub fn order(&self) -> Option<&Order> {
        self.durable.order.as_ref()
    }

    /// The zones of the content in force, with the folder's modes. The shell tells them after it
    /// compiled an order.
    pub fn set_zones(&mut self, zones: BTreeMap<String, Mode>) {
        self.durable.watched.retain(|zone, _| zones.contains_key(zone));
        self.zones = zones;
    }

    /// The mode a zone has, all things considered.
    pub fn mode(&self, zone: &str) -> Mode {
        let own = || self.zones.get(zone).copied().unwrap_or_default();
        match self.durable.order.as_ref() {
            Some(order) if order.all_shadow => Mode::Shadow,
            Some(order) => order.modes.get(zone).copied().unwrap_or_else(own),
            None => own(),
        }
    }

    /// Zones in shadow.
    pub fn shadow_zones(&self) -> Vec<String> {
        self.zones.keys().filter(|zone| self.mode(zone) == Mode::Shadow).cloned().collect()
    }

    /// How far the rules are.
    pub fn rules(&self) -> (Control, Option<&str>) {
        let failure = self.progress.failure.as_deref();
        match self.order().map(|order| order.generation) {
            Some(generation) if self.progress.applied == Some(generation) => {
                match self.progress.verified {
                    true => (Control::Verified, failure),
                    false => (Control::Applied, failure),
                }
            }
            _ => (Control::Intended, failure),
        }
    }

    /// How far the shadow of a zone is: verified once its canary was counted.
    pub fn shadow(&self, zone: &str) -> (Control, Option<&str>) {
        let (rules, failure) = self.rules();
        match self.canaries.get(zone) {
            Some(Proof::Counted) => (rules, failure),
            Some(Proof::Failed(why, _) | Proof::NotProvable(why)) => {
                (rules.min(Control::Applied), Some(why))
            }
            _ => (rules.min(Control::Applied), failure),
        }
    }

    /// The promotion gate of a zone as of now.
    pub fn gate(&self, zone: &str, now: Timestamp) -> Gate {
        let proof = match self.canaries.get(zone) {
            Some(Proof::Counted) => Ok(()),
            Some(Proof::Failed(why, _)) => Err(format!("{UNPROVED}: {why}")),
            Some(Proof::NotProvable(why)) => Err(format!(
                "its shadow is {why}; write mode = \"enforce\" into estate.toml when you are content"
            )),
            Some(Proof::Waiting(_)) | None => Err(UNPROVED.to_owned()),
        };
        self.limits.thresholds.gate(self.durable.watched.get(zone), proof, now)
    }

    /// When something happens by itself next.
    pub fn wake(&self) -> Option<Timestamp> {
        let grants = self.durable.grants.iter().map(|grant| grant.until);
        let canaries = self.canaries.values().filter_map(|proof| match proof {
            Proof::Waiting(at) | Proof::Failed(_, at) => Some(*at),
            Proof::Counted | Proof::NotProvable(_) => None,
        });
        let pending = self.durable.pending.as_ref().map(|pending| pending.until);
        grants.chain(canaries).chain(pending).chain(self.progress.retry).min()
    }

    /// Takes what happened and says what to do.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        match event {
            Event::Started { kernel } => self.started(now, kernel),
            Event::Offered { content, asked, confirm_within_s } => {
                self.offered(now, content, asked, confirm_within_s)
            }
            Event::Moment { why } => match self.content() {
                Some(content) => self.next(now, content, &why, Vec::new()),
                None => Vec::new(),
            },
            Event::Applied { generation } if self.is_current(generation) => {
                self.progress = Progress { applied: Some(generation), ..Progress::default() };
                vec![Action::ReadBack { generation }]
            }
            Event::Failed { generation, why } if self.is_current(generation) => {
                self.failed(now, &why)
            }
            Event::ReadBack { generation, differences } if self.is_current(generation) => {
                self.read_back(now, generation, differences)
            }
            Event::Canary { generation, zone, flown } if self.is_current(generation) => {
                self.canary(now, zone, flown)
            }
            Event::Counted { zone, sample } => self.counted(now, &zone, &sample),
            Event::Tick => self.tick(now),
            // Late news about an order that was replaced meanwhile.
            Event::Applied { .. }
            | Event::Failed { .. }
            | Event::ReadBack { .. }
            | Event::Canary { .. } => Vec::new(),
        }
    }

    /// Keeps what waits for a confirmation.
    pub fn confirm(&mut self, by: &str) -> Result<Vec<Action>, Refusal> {
        let pending = self.durable.pending.take().ok_or(Refusal::NothingPending)?;
        let generation = self.order().map(|order| order.generation);
        let reason = format!("content {} stays", short(&pending.content));
        let entry = Entry { generation, reason, ..Entry::new("confirmed", by) };
        Ok(vec![Action::Journal(entry), Action::Save])
    }

    /// Opens the paths from and to a zone for `seconds`.
    pub fn break_glass(
        &mut self,
        now: Timestamp,
        zone: &str,
        seconds: u64,
        reason: &str,
        by: &str,
    ) -> Result<Vec<Action>, Refusal> {
        let content = self.content().ok_or(Refusal::NothingInForce)?;
        self.known(zone)?;
        let reason = reason.trim();
        if reason.is_empty() {
            return Err(Refusal::NoReason);
        }
        if reason.chars().count() > REASON_MAX {
            return Err(Refusal::LongReason);
        }
        let max_s = self.limits.break_glass_max_s;
        let nanos = i64::try_from(seconds).ok().and_then(|s| s.checked_mul(SECOND));
        let nanos = nanos.filter(|_| (1..=max_s).contains(&seconds));
        let nanos = nanos.ok_or(Refusal::Duration { asked_s: seconds, max_s })?;
        let others = self.durable.grants.iter().filter(|grant| grant.until > now).count();
        if others >= GRANTS_MAX {
            return Err(Refusal::TooMany);
        }
        let until = now.plus_nanos(nanos);
        let grant = Grant {
            id: format!("break-glass-{}", self.durable.generation.saturating_add(1)),
            zone: zone.to_owned(),
            reason: reason.to_owned(),
            by: by.to_owned(),
            from: now,
            until,
        };
        self.durable.grants.push(grant);
        let entry = Entry {
            zone: zone.to_owned(),
            reason: reason.to_owned(),
            until: Some(until),
            ..Entry::new("break-glass", by)
        };
        Ok(self.next(now, content, &format!("break-glass for {zone}"), vec![entry]))
    }

    /// Ends the grants of a zone early.
    pub fn end_break_glass(
        &mut self,
        now: Timestamp,
        zone: &str,
        by: &str,
    ) -> Result<Vec<Action>, Refusal> {
        let before = self.durable.grants.len();
        self.durable.grants.retain(|grant| grant.zone != zone);
        let content = self.content().ok_or(Refusal::NothingInForce)?;
        if self.durable.grants.len() == before {
            return Err(Refusal::NoGrant(zone.to_owned()));
        }
        let entry = Entry { zone: zone.to_owned(), ..Entry::new("break-glass-ended", by) };
        Ok(self.next(now, content, &format!("break-glass for {zone} ended"), vec![entry]))
    }

    /// From shadow to enforce, where the gate is open.
    pub fn promote(
        &mut self,
        now: Timestamp,
        zone: &str,
        by: &str,
    ) -> Result<Vec<Action>, Refusal> {
        let content = self.content().ok_or(Refusal::NothingInForce)?;
        self.known(zone)?;
        if self.mode(zone) == Mode::Enforce {
            return Err(Refusal::Enforced(zone.to_owned()));
        }
        let gate = self.gate(zone, now);
        if !gate.open {
            return Err(Refusal::GateClosed { zone: zone.to_owned(), reasons: gate.reasons });
        }
        if self.all_shadow {
            let reasons = vec!["this site was started with --shadow".to_owned()];
            return Err(Refusal::GateClosed { zone: zone.to_owned(), reasons });
        }
        let why = format!("promoted by {by}");
        self.decide(zone, Mode::Enforce, now, &why);
        let entry = Entry { zone: zone.to_owned(), ..Entry::new("promoted", by) };
        Ok(self.next(now, content, &format!("{zone}: {why}"), vec![entry]))
    }

    /// Back to shadow.
    pub fn step_back(
        &mut self,
        now: Timestamp,
        zone: &str,
        reason: &str,
        by: &str,
    ) -> Result<Vec<Action>, Refusal> {
        let content = self.content().ok_or(Refusal::NothingInForce)?;
        self.known(zone)?;
        self.decide(zone, Mode::Shadow, now, reason);
        let entry = Entry {
            zone: zone.to_owned(),
            reason: reason.to_owned(),
            ..Entry::new("stepped-back", by)
        };
        Ok(self.next(now, content, &format!("{zone}: back to shadow"), vec![entry]))
    }

    fn known(&self, zone: &str) -> Result<(), Refusal> {
        if self.zones.contains_key(zone) {
            return Ok(());
        }
        let known: Vec<&str> = self.zones.keys().map(String::as_str).collect();
        Err(Refusal::NoSuchZone { zone: zone.to_owned(), known: known.join(", ") })
    }

    fn decide(&mut self, zone: &str, mode: Mode, since: Timestamp, why: &str) {
        let why = why.to_owned();
        self.durable.modes.insert(zone.to_owned(), Override { mode, since, why });
        self.durable.watched.remove(zone);
        self.spikes.remove(zone);
    }

    fn content(&self) -> Option<Content> {
        self.order().map(|order| order.content.clone())
    }

    fn is_current(&self, generation: u64) -> bool {
        self.order().is_some_and(|order| order.generation == generation)
    }

    fn started(&mut self, now: Timestamp, kernel: Option<u64>) -> Vec<Action> {
        let saved = self.durable.generation;
        self.durable.generation = saved.max(kernel.unwrap_or(0));
        self.durable.grants.retain(|grant| grant.until > now);
        let mut actions = Vec::new();
        if kernel.is_some_and(|kernel| kernel > saved) {
            actions.push(Action::Find {
                kind: "state-behind-kernel",
                subject: "state".to_owned(),
                what: format!(
                    "the kernel enforces generation {}, the state directory knows of {saved}: \
                     numbering continues from the kernel's",
                    kernel.unwrap_or(0)
                ),
            });
        }
        let order = self.durable.order.clone();
        if let Some(pending) = self.durable.pending.clone().filter(|p| p.until <= now) {
            actions.extend(self.roll_back(now, &pending));
        } else if let Some(order) = order {
            let kept = self.durable.rolled_back.as_ref() == Some(&order.content);
            let same = order.generation == self.durable.generation
                && order.all_shadow == (self.all_shadow || kept)
                && order.grants == self.durable.grants;
            if same {
                // Claims again what is in force: same number, same content, no gap.
                actions.push(Action::Save);
                actions.push(Action::Enforce(order));
            } else {
                actions.extend(self.next(now, order.content, "restart", Vec::new()));
            }
        }
        actions
    }

    fn offered(
        &mut self,
        now: Timestamp,
        content: Content,
        asked: bool,
        confirm_within_s: Option<u32>,
    ) -> Vec<Action> {
        let current = self.content();
        if current.as_deref() == Some(content.as_str()) && self.durable.pending.is_none() {
            return Vec::new();
        }
        if !asked && self.durable.rolled_back.as_deref() == Some(content.as_str()) {
            return Vec::new();
        }
        if self.durable.pending.as_ref().is_some_and(|p| p.content == content) {
            return Vec::new();
        }
        let pending = self.durable.pending.take();
        let previous = match pending {
            // Not confirmed, so it is nothing to go back to.
            Some(pending) => pending.previous,
            None => current,
        };
        self.durable.rolled_back = None;
        self.durable.pending = confirm_within_s.map(|seconds| Pending {
            content: content.clone(),
            previous,
            until: now.plus_nanos(i64::from(seconds).saturating_mul(SECOND)),
        });
        let until = self.durable.pending.as_ref().map(|pending| pending.until);
        let reason = format!("content {}", short(&content));
        let entry = Entry { reason, until, ..Entry::new("folder-accepted", "") };
        self.next(now, content, "the folder changed", vec![entry])
    }

    fn roll_back(&mut self, now: Timestamp, pending: &Pending) -> Vec<Action> {
        self.durable.pending = None;
        self.durable.rolled_back = Some(pending.content.clone());
        let why = format!("content {} was not confirmed in time", short(&pending.content));
        let entry = Entry { reason: why.clone(), ..Entry::new("rolled-back", "") };
        let found = Action::Find {
            kind: "rolled-back",
            subject: pending.content.clone(),
            what: format!("{why}; what was enforced before is enforced again"),
        };
        let mut actions = match &pending.previous {
            Some(previous) => self.next(now, previous.clone(), "not confirmed", vec![entry]),
            // There was no fence before: the same content, counting instead of dropping.
            None => self.make(now, pending.content.clone(), true, "not confirmed", vec![entry]),
        };
        actions.push(found);
        actions
    }

    /// A new generation of `content` under today's modes and grants.
    fn next(
        &mut self,
        now: Timestamp,
        content: Content,
        why: &str,
        entries: Vec<Entry>,
    ) -> Vec<Action> {
        // A first content that was rolled back stays in shadow until another one comes.
        let kept = self.durable.rolled_back.as_ref() == Some(&content);
        let all_shadow = self.all_shadow || kept;
        self.make(now, content, all_shadow, why, entries)
    }

    fn make(
        &mut self,
        now: Timestamp,
        content: Content,
        all_shadow: bool,
        why: &str,
        entries: Vec<Entry>,
    ) -> Vec<Action> {
        self.durable.grants.retain(|grant| grant.until > now);
        let parent = self.order().map(|order| order.generation);
        let generation = self.durable.generation.saturating_add(1);
        self.durable.generation = generation;
        let order = Order {
            generation,
            parent,
            content,
            all_shadow,
            modes: self.durable.modes.iter().map(|(zone, o)| (zone.clone(), o.mode)).collect(),
            grants: self.durable.grants.clone(),
            why: why.to_owned(),
        };
        self.durable.order = Some(order.clone());
        self.progress = Progress::default();
        self.canaries.clear();
        let entries = entries.into_iter().map(|mut entry| {
            entry.generation = Some(generation);
            Action::Journal(entry)
        });
        entries.chain([Action::Save, Action::Enforce(order)]).collect()
    }

    fn failed(&mut self, now: Timestamp, why: &str) -> Vec<Action> {
        self.progress.retry = Some(now.plus_nanos(RETRY_S.saturating_mul(SECOND)));
        let told = self.progress.failure.replace(why.to_owned());
        if told.as_deref() == Some(why) {
            return Vec::new();
        }
        vec![Action::Find {
            kind: "not-applied",
            subject: "rules".to_owned(),
            what: format!("{why}; what was enforced before stays"),
        }]
    }

    fn read_back(
        &mut self,
        now: Timestamp,
        generation: u64,
        differences: Vec<String>,
    ) -> Vec<Action> {
        if differences.is_empty() {
            let first = !self.progress.verified;
            self.progress.verified = true;
            self.progress.differences.clear();
            let zones = self.shadow_zones();
            if !first || zones.is_empty() {
                return Vec::new();
            }
            return vec![self.launch(now, generation, zones)];
        }
        self.progress.verified = false;
        let shown: Vec<&str> = differences.iter().take(3).map(String::as_str).collect();
        let more = differences.len().saturating_sub(shown.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let what =
            format!("the kernel differs from generation {generation}: {}{more}", shown.join("; "));
        let again = self.progress.differences == differences;
        self.progress.differences = differences;
        let mut actions = vec![Action::Find { kind: "drift", subject: "rules".to_owned(), what }];
        match self.order().cloned() {
            // The same difference twice in a row is not repaired in a loop without a pause.
            Some(order) if !again => actions.push(Action::Enforce(order)),
            _ => self.progress.retry = Some(now.plus_nanos(RETRY_S.saturating_mul(SECOND))),
        }
        actions
    }

    fn launch(&mut self, now: Timestamp, generation: u64, zones: Vec<String>) -> Action {
        let until = now.plus_nanos(CANARY_S.saturating_mul(SECOND));
        for zone in &zones {
            self.canaries.insert(zone.clone(), Proof::Waiting(until));
        }
        Action::Canaries { generation, zones }
    }

    fn canary(&mut self, now: Timestamp, zone: String, flown: Flown) -> Vec<Action> {
        let proof = match flown {
            Flown::Counted => Proof::Counted,
            Flown::NotProvable(why) => Proof::NotProvable(format!("not provable: {why}")),
            Flown::Missed(why) => {
                let what = format!("the shadow of zone {zone} is not proved: {why}");
                let again = now.plus_nanos(CANARY_AGAIN_S.saturating_mul(SECOND));
                self.canaries.insert(zone.clone(), Proof::Failed(why, again));
                return vec![Action::Find { kind: "canary-not-counted", subject: zone, what }];
            }
        };
        self.canaries.insert(zone, proof);
        Vec::new()
    }

    fn counted(&mut self, now: Timestamp, zone: &str, sample: &crate::gate::Sample) -> Vec<Action> {
        match self.mode(zone) {
            Mode::Shadow => {
                let watched = self.durable.watched.entry(zone.to_owned());
                watched.or_insert_with(|| Watched::since(now)).add(now, sample);
                // Losing some seconds of counts in a crash is fine: the gate only gets stricter.
                Vec::new()
            }
            Mode::Enforce => {
                let since = self.durable.modes.get(zone).map(|decided| decided.since);
                let spike = self.spikes.entry(zone.to_owned()).or_default();
                let spiked = spike.add(now, since, sample, &self.limits.thresholds);
                let reason = spike.to_string();
                let subject = zone.to_owned();
                if spiked == Spiked::Tell {
                    // The next finding needs a spike of its own.
                    *spike = Spike::default();
                    let what = format!("zone {zone} is enforced and stays so: {reason}");
                    return vec![Action::Find { kind: "used-paths-denied", subject, what }];
                }
                if spiked == Spiked::No {
                    return Vec::new();
                }
                let what = format!("zone {zone} went back to shadow: {reason}");
                let mut actions = self.step_back(now, zone, &reason, "").unwrap_or_default();
                actions.push(Action::Find { kind: "stepped-back", subject, what });
                actions
            }
        }
    }

    fn tick(&mut self, now: Timestamp) -> Vec<Action> {
        if let Some(pending) = self.durable.pending.clone().filter(|p| p.until <= now) {
            return self.roll_back(now, &pending);
        }
        if self.durable.grants.iter().any(|grant| grant.until <= now) {
            let ended: Vec<Entry> =
                self.durable.grants.iter().filter(|g| g.until <= now).map(ended).collect();
            if let Some(content) = self.content() {
                return self.next(now, content, "break-glass ended by itself", ended);
            }
        }
        let mut actions = Vec::new();
        let late = |proof: &Proof| matches!(proof, Proof::Waiting(until) if *until <= now);
        let late: Vec<String> =
            self.canaries.iter().filter(|(_, p)| late(p)).map(|(zone, _)| zone.clone()).collect();
        for zone in late {
            let why = format!("nothing came back in {CANARY_S} s");
            actions.extend(self.canary(now, zone, Flown::Missed(why)));
        }
        let again = |proof: &Proof| matches!(proof, Proof::Failed(_, at) if *at <= now);
        let again: Vec<String> =
            self.canaries.iter().filter(|(_, p)| again(p)).map(|(zone, _)| zone.clone()).collect();
        let order = self.order().map(|order| order.generation);
        if let (Some(generation), false, true) = (order, again.is_empty(), self.progress.verified) {
            actions.push(self.launch(now, generation, again));
        }
        if self.progress.retry.is_some_and(|retry| retry <= now) {
            self.progress.retry = None;
            self.progress.differences.clear();
            actions.extend(self.order().cloned().map(Action::Enforce));
        }
        actions
    }
}

const SECOND: i64 = 1_000_000_000;
const UNPROVED: &str = "no canary has proved that the shadow counts";

fn ended(grant: &Grant) -> Entry {
    Entry {
        zone: grant.zone.clone(),
        reason: "its time is over".to_owned(),
        ..Entry::new("break-glass-ended", "")
    }
}

/// The first characters of a content's name, for people.
pub fn short(content: &str) -> &str {
    content.get(..12).unwrap_or(content)
}
