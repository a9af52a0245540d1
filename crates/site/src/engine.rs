//! What the loop works on: carries out what [`crate::life`] decides, and tells it what came of it.

mod flight;
mod line;
mod standing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::time::Duration;

use enforcer::Options;
use enforcer::contain::Method;
use enforcer::drift::{Finding, Guard};
use enforcer::plan::{DENIALS_MAX, SEEN_MAX};
use enforcer::runner::Runner;
use model::ruleset::Ruleset;
use model::{Mac, SiteId, Timestamp};
use policy::plan::{ENFORCED_FILE, Enforced};

use self::flight::Flight;
use self::line::Link;

use crate::canary::{self, Canary};
use crate::compile::{Compiled, compile, same};
use crate::config::Settings;
use crate::folder::{self, Accepted, FolderError};
use crate::gate::Sample;
use crate::journal::Journal;
use crate::life::{Action, Control, Durable, Event, Life, Order, Refusal};
use crate::point::Point;
use crate::prepare::{self, Survey};
use crate::record::Recorder;
use crate::resolve::{self, Resolver};
use crate::sense::{self, Seen};
use crate::shell::{now, settings_of};
use crate::status::Notes;
use crate::store::Store;
use crate::used::{self, Earlier, Meter, Recorded};

/// A running site.
pub(crate) struct Engine {
    store: Store,
    journal: Journal,
    life: Life,
    options: Options,
    survey: Survey,
    site: SiteId,
    all_shadow: bool,
    started: Timestamp,
    utc_offset_min: i32,
    pub(crate) contain: Option<Method>,
    /// Answers names; told of every ruleset.
    pub(crate) resolver: Option<Resolver>,
    /// Writes down what the kernel logs; told of every ruleset before it is in force.
    pub(crate) recorder: Option<Recorder>,
    /// Hears who else changes the kernel's rules.
    pub(crate) guard: Option<Guard>,
    /// The line to a controller; told of what happens.
    link: Option<Link>,
    /// The folder that was offered last.
    offered: Option<Accepted>,
    /// The folder of the order in force.
    accepted: Option<Accepted>,
    compiled: Option<Compiled>,
    /// Options of the last apply: what is verified is what was applied.
    applied: Options,
    recorded: Recorded,
    earlier: Earlier,
    meter: Meter,
    hits: BTreeMap<String, u64>,
    canaries: Vec<Canary>,
    flight: Option<Flight>,
    perched: bool,
    notes: Notes,
    seen: Seen,
    faults: Vec<String>,
    /// The last refused or accepted state of the folder on disk.
    on_disk: String,
    unsupported: Vec<String>,
    /// Generation that the document of what is enforced tells of.
    documented: Option<u64>,
    recompile: Timestamp,
    verify: Timestamp,
}

/// Nanoseconds between two full read-backs.
const VERIFY_NANOS: i64 = 10_000_000_000;
/// Steps of one event: more would be a loop.
const STEPS_MAX: usize = 64;

impl Engine {
    #[expect(clippy::too_many_arguments, reason = "called once, with what a site is made of")]
    pub(crate) fn new(
        store: Store,
        journal: Journal,
        durable: Durable,
        settings: Settings,
        all_shadow: bool,
        options: Options,
        survey: Survey,
        site: SiteId,
    ) -> Self {
        Self {
            store,
            journal,
            life: Life::new(durable, settings.limits(), all_shadow),
            applied: options.clone(),
            options,
            survey,
            site,
            all_shadow,
            started: now(),
            utc_offset_min: settings.utc_offset_min,
            contain: None,
            resolver: None,
            recorder: None,
            guard: None,
            link: None,
            offered: None,
            accepted: None,
            compiled: None,
            recorded: Recorded::default(),
            earlier: Earlier::default(),
            meter: Meter::default(),
            hits: BTreeMap::new(),
            canaries: Vec::new(),
            flight: None,
            perched: false,
            notes: Notes::default(),
            seen: Seen::default(),
            faults: Vec::new(),
            on_disk: String::new(),
            unsupported: Vec::new(),
            documented: None,
            recompile: Timestamp::MAX,
            verify: Timestamp::MIN,
        }
    }

    /// One line about how it stands.
    pub(crate) fn line(&self) -> String {
        let (state, why) = self.life.rules();
        let generation = self.life.order().map_or(0, |order| order.generation);
        let why = why.map_or(String::new(), |why| format!(": {why}"));
        format!("generation {generation} {}{why}", word(state))
    }

    /// Tells the state machine, and does what it says, and so on until nothing is left to do.
    pub(crate) fn handle(
        &mut self,
        event: Event,
        runner: &dyn Runner,
        point: &dyn Point,
        told: &mut dyn FnMut(&str),
    ) {
        let actions = self.life.handle(now(), event);
        self.perform(actions, runner, point, told);
    }

    /// A request of a person; gives back why it is refused.
    pub(crate) fn ask(
        &mut self,
        runner: &dyn Runner,
        point: &dyn Point,
        told: &mut dyn FnMut(&str),
        request: impl FnOnce(&mut Life, Timestamp) -> Result<Vec<Action>, Refusal>,
    ) -> Option<String> {
        match request(&mut self.life, now()) {
            Ok(actions) => {
                self.perform(actions, runner, point, told);
                None
            }
            Err(refusal) => Some(refusal.to_string()),
        }
    }

    /// Reads the folder again; gives back its faults.
    pub(crate) fn reload(
        &mut self,
        policy: &Path,
        asked: bool,
        confirm_within_s: Option<u32>,
        runner: &dyn Runner,
        point: &dyn Point,
        told: &mut dyn FnMut(&str),
    ) -> Vec<String> {
        let read = folder::read(policy);
        if let (Ok(files), false) = (&read, asked) {
            let content = folder::name(files);
            if content == self.on_disk {
                return Vec::new();
            }
            self.on_disk = content;
        }
        match read.and_then(folder::accept) {
            Ok(accepted) => self.offer(accepted, asked, confirm_within_s, runner, point, told),
            Err(error) => {
                self.refused(&error, told);
                self.faults.clone()
            }
        }
    }

    /// Offers a folder without faults, if it can be compiled.
    pub(crate) fn offer(
        &mut self,
        accepted: Accepted,
        asked: bool,
        confirm_within_s: Option<u32>,
        runner: &dyn Runner,
        point: &dyn Point,
        told: &mut dyn FnMut(&str),
    ) -> Vec<String> {
        if let Err(why) = self.fit(&accepted) {
            self.refused(&FolderError::Compile(why), told);
            return self.faults.clone();
        }
        self.faults.clear();
        self.on_disk.clone_from(&accepted.content);
        let content = accepted.content.clone();
        self.offered = Some(accepted);
        self.handle(Event::Offered { content, asked, confirm_within_s }, runner, point, told);
        Vec::new()
    }

    /// A folder was refused: what is enforced stays.
    pub(crate) fn refused(&mut self, error: &FolderError, told: &mut dyn FnMut(&str)) {
        self.faults = match error {
            FolderError::Faults { faults, .. } => faults.iter().map(ToString::to_string).collect(),
            other => vec![other.to_string()],
        };
        for fault in &self.faults {
            told(&format!("refused: {fault}"));
        }
        let first = self.faults.first().cloned().unwrap_or_default();
        self.note("folder-refused", "policy", &format!("{first}; what is enforced stays"), told);
    }

    fn perform(
        &mut self,
        actions: Vec<Action>,
        runner: &dyn Runner,
        point: &dyn Point,
        told: &mut dyn FnMut(&str),
    ) {
        let mut left: VecDeque<Action> = actions.into();
        for _ in 0..STEPS_MAX {
            let Some(action) = left.pop_front() else {
                return;
            };
            let events = match action {
                Action::Save => {
                    let saved = self.keep().and_then(|()| self.store.save(self.life.durable()));
                    if let Err(error) = saved {
                        // Nothing that rests on it may happen.
                        let generation = self.life.order().map_or(0, |order| order.generation);
                        left.clear();
                        vec![Event::Failed { generation, why: error.to_string() }]
                    } else {
                        Vec::new()
                    }
                }
                Action::Journal(entry) => match self.write_down(&entry) {
                    Ok(()) => Vec::new(),
                    Err(error) => {
                        let generation = self.life.order().map_or(0, |order| order.generation);
                        left.clear();
                        vec![Event::Failed { generation, why: error.to_string() }]
                    }
                },
                Action::Enforce(order) => vec![self.enforce(&order, runner, point, told)],
                Action::ReadBack { generation } => vec![self.read_back(generation, point, told)],
                Action::Canaries { generation, zones } => {
                    self.launch(generation, zones, runner, point)
                }
                Action::Find { kind, subject, what } => {
                    self.note(kind, &subject, &what, told);
                    Vec::new()
                }
            };
            for event in events {
                left.extend(self.life.handle(now(), event));
            }
        }
    }

    /// Keeps the content that the order is made of, before the order is saved.
    fn keep(&self) -> Result<(), crate::store::StoreError> {
        let durable = self.life.durable();
        let Some(order) = &durable.order else {
            return Ok(());
        };
        let offered = self.offered.iter().chain(&self.accepted);
        let Some(accepted) = offered.into_iter().find(|a| a.content == order.content) else {
            return Ok(());
        };
        let mut wanted = vec![order.content.as_str()];
        if let Some(pending) = &durable.pending {
            wanted.push(&pending.content);
            wanted.extend(pending.previous.as_deref());
        }
        self.store.keep(&order.content, &accepted.files, &wanted)
    }

    /// The folder of a content: offered, in force, or kept from before.
    fn folder(&self, content: &str) -> Result<Accepted, String> {
        let known = self.offered.iter().chain(&self.accepted).find(|a| a.content == content);
        if let Some(accepted) = known {
            return Ok(accepted.clone());
        }
        let files = self.store.content(content).map_err(|e| e.to_string())?;
        let files = files.ok_or("the folder it is made of was not kept")?;
        folder::accept(files).map_err(|e| e.to_string())
    }

    fn options(&self, now: Timestamp, accepted: &Accepted) -> Options {
        let zones = accepted.folder.estate.zones.iter();
        let subnets = zones.filter_map(|zone| {
            let (ip, prefix) = zone.subnet.split_once('/')?;
            Some((ip.parse().ok()?, prefix.parse().ok()?))
        });
        let mut site: Vec<_> = subnets.chain(self.survey.addresses.iter().copied()).collect();
        site.sort_unstable();
        site.dedup();
        let ports = self.survey.ports.iter().filter(|port| *port != canary::PORT).cloned();
        Options { now, site, ports: ports.collect(), ..self.options.clone() }
    }

    fn enforce(
        &mut self,
        order: &Order,
        runner: &dyn Runner,
        point: &dyn Point,
        told: &mut dyn FnMut(&str),
    ) -> Event {
        let generation = order.generation;
        let failed = |why: String| Event::Failed { generation, why };
        let accepted = match self.folder(&order.content) {
            Ok(accepted) => accepted,
            Err(why) => return failed(why),
        };
        let settings = match settings_of(&accepted.files) {
            Ok(settings) => settings,
            Err(error) => return failed(error.to_string()),
        };
        let at = now();
        let compiled = match compile(&accepted.folder, order, at, self.utc_offset_min) {
            Ok(compiled) => compiled,
            Err(why) => return failed(why),
        };
        if let Ok(survey) = prepare::survey(runner, &self.survey.interface) {
            self.survey = survey;
        }
        let mut options = self.options(at, &accepted);
        if let Some(recorder) = &self.recorder {
            recorder.name_by(&compiled.ruleset);
        }
        let applied = point.apply(&compiled.ruleset, &options).or_else(|error| {
            // A kernel that cannot log can still keep the fence.
            let silent = Options { log_group: None, ..options.clone() };
            let applied = point.apply(&compiled.ruleset, &silent).map_err(|_| error)?;
            options = silent;
            Ok::<_, enforcer::EnforceError>(applied)
        });
        let applied = match applied {
            Ok(applied) => applied,
            Err(error) => {
                if let (Some(recorder), Some(before)) = (&self.recorder, &self.compiled) {
                    recorder.name_by(&before.ruleset);
                }
                return failed(error.to_string());
            }
        };
        if options.log_group.is_none() {
            let what = "the kernel does not log here: denials are counted, and not told one by one";
            self.note("verdicts-not-heard", "kernel", what, told);
        }
        let before = self.compiled.take().map(|before| before.ruleset);
        self.cut(before.as_ref(), &compiled.ruleset, &options, point, told);
        if let Some(before) = before.filter(|before| before.generation != generation) {
            self.earlier.push(before, &std::mem::take(&mut self.hits));
        }
        if applied.sent >= applied.elements {
            self.meter = Meter::default(); // Built anew: totals begin at 0.
        }
        told(&format!(
            "generation {generation} applied ({}): {} elements",
            order.why, applied.elements
        ));
        self.unsupported = applied.unsupported;
        match &mut self.resolver {
            Some(resolver) => {
                let refuse = &settings.resolver.refuse;
                let policy = resolve::policy(&compiled.ruleset, &accepted.folder, refuse);
                resolver.set_policy(policy);
            }
            None if !compiled.ruleset.names.is_empty() => self.unsupported.push(format!(
                "{} permits by DNS name: closed; needs the site's resolver (--resolver-upstream)",
                compiled.ruleset.names.len()
            )),
            None => {}
        }
        self.recorded = Recorded::of(&accepted.folder);
        self.recompile = next_look(&accepted, at);
        self.verify = at.plus_nanos(VERIFY_NANOS);
        self.life
            .set_zones(compiled.zones.iter().map(|(zone, mode)| (zone.clone(), *mode)).collect());
        (self.compiled, self.accepted, self.applied) = (Some(compiled), Some(accepted), options);
        Event::Applied { generation }
    }

    /// Open flows of what is not permitted any more end. The kernel drops their packets anyway; what
    /// is left of them in its table is a finding, not a hole.
    fn cut(
        &mut self,
        before: Option<&Ruleset>,
        ruleset: &Ruleset,
        options: &Options,
        point: &dyn Point,
        told: &mut dyn FnMut(&str),
    ) {
        let generation = ruleset.generation;
        match point.cut(before, ruleset, options) {
            Ok(cut) if !cut.is_verified() => {
                let left: Vec<String> = cut.left.iter().map(ToString::to_string).collect();
                self.note("flows-left", "cut", &left.join(", "), told);
            }
            Ok(cut) if cut.deleted > 0 => told(&format!(
                "generation {generation}: {} open flows ended that it does not permit",
                cut.deleted
            )),
            Ok(_) => {}
            Err(error) => self.note("flows-left", "cut", &error.to_string(), told),
        }
    }

    fn read_back(
        &mut self,
        generation: u64,
        point: &dyn Point,
        told: &mut dyn FnMut(&str),
    ) -> Event {
        let Some(compiled) = &self.compiled else {
            return Event::ReadBack { generation, differences: vec!["nothing was applied".into()] };
        };
        let differences = match point.verify(&compiled.ruleset, &self.applied) {
            Ok(Ok(_)) => {
                self.document(told);
                Vec::new()
            }
            Ok(Err(differences)) => differences.iter().map(ToString::to_string).collect(),
            Err(error) => vec![format!("it cannot be read back: {error}")],
        };
        Event::ReadBack { generation, differences }
    }

    /// Writes what is verified to be in force, which plans are made against; once for a generation.
    fn document(&mut self, told: &mut dyn FnMut(&str)) {
        let (Some(compiled), Some(accepted)) = (&self.compiled, &self.accepted) else {
            return;
        };
        let generation = compiled.ruleset.generation;
        if self.documented == Some(generation) {
            return;
        }
        let enforced = Enforced::of(accepted.files.clone(), compiled.ruleset.clone(), now());
        let known = self.store.read::<Enforced>(ENFORCED_FILE).ok().flatten();
        // After a restart the same is in force since before.
        let same = known.is_some_and(|k| Enforced { since: enforced.since, ..k } == enforced);
        let written = if same { Ok(()) } else { self.store.write(ENFORCED_FILE, &enforced) };
        match written {
            Ok(()) => self.documented = Some(generation),
            Err(error) => self.note("document-not-written", "state", &error.to_string(), told),
        }
    }

    /// Everything that is looked at from time to time.
    pub(crate) fn look(
        &mut self,
        runner: &dyn Runner,
        point: &dyn Point,
        told: &mut dyn FnMut(&str),
    ) {
        let at = now();
        self.count(runner, point, told);
        let resolver = self.resolver.as_mut();
        if resolver.is_some_and(|resolver| resolver.look(&self.survey.addresses)) {
            told("the resolver listens now");
        }
        if at >= self.recompile {
            self.moment(at, runner, point, told);
        }
        if at >= self.verify {
            self.verify = at.plus_nanos(VERIFY_NANOS);
            self.ports(runner, point, told);
            if let (Some(compiled), (Control::Verified | Control::Applied, _)) =
                (&self.compiled, self.life.rules())
            {
                let generation = compiled.ruleset.generation;
                let event = self.read_back(generation, point, told);
                self.handle(event, runner, point, told);
            }
        }
    }

    /// Changes by others are undone and told at once.
    pub(crate) fn guard(&mut self, point: &dyn Point, told: &mut dyn FnMut(&str)) {
        let Some(mut guard) = self.guard.take() else {
            return;
        };
        let mut restore = || {
            let Some(compiled) = &self.compiled else {
                return Ok(());
            };
            point.apply(&compiled.ruleset, &self.applied)?;
            match point.verify(&compiled.ruleset, &self.applied)? {
                Ok(_) => Ok(()),
                Err(differences) => Err(enforcer::EnforceError::Io {
                    doing: "restore the rules".to_owned(),
                    source: std::io::Error::other(
                        differences.first().map_or(String::new(), ToString::to_string),
                    ),
                }),
            }
        };
        match guard.step(Duration::ZERO, &mut restore) {
            Ok(findings) => {
                for finding in findings {
                    let kind = match &finding {
                        Finding::Changed { .. } => "drift",
                        Finding::Bypass { .. } | Finding::MoreBypasses => "bypass",
                        Finding::Overrun { .. } => "drift-events-lost",
                        Finding::Setting { .. } => "setting",
                    };
                    let what = finding.to_string();
                    self.note(kind, &what, &what, told);
                }
                self.guard = Some(guard);
            }
            Err(error) => {
                let what = format!("{error}; changes by others are found by reading back only");
                self.note("drift-not-heard", "rules", &what, told);
            }
        }
    }

    /// Ports that came or went since the containment.
    fn ports(&mut self, runner: &dyn Runner, point: &dyn Point, told: &mut dyn FnMut(&str)) {
        let Ok(survey) = prepare::survey(runner, &self.survey.interface) else {
            let what = format!("interface {} is gone", self.survey.interface);
            self.note("containment", "interface", &what, told);
            return;
        };
        let ports = |survey: &Survey| -> BTreeSet<String> {
            survey.ports.iter().filter(|port| *port != canary::PORT).cloned().collect()
        };
        let changed = ports(&survey) != ports(&self.survey);
        self.survey = survey;
        if let Some(method) = self.contain {
            let open = prepare::changes(&self.survey, method);
            let open: Vec<&String> =
                open.iter().filter(|change| !change.ends_with(canary::PORT)).collect();
            if !open.is_empty() {
                let words = open.iter().map(|c| c.as_str()).collect::<Vec<_>>().join(", ");
                match prepare::contain(runner, &self.survey, method) {
                    Ok(_) => self.note(
                        "containment",
                        "repaired",
                        &format!("was undone from outside, is in force again: {words}"),
                        told,
                    ),
                    Err(error) => self.note("containment", "open", &error.to_string(), told),
                }
            }
        }
        if changed {
            let why = "the bridge's ports changed".to_owned();
            self.handle(Event::Moment { why }, runner, point, told);
        }
    }

    /// Time alone may change what is granted.
    fn moment(
        &mut self,
        at: Timestamp,
        runner: &dyn Runner,
        point: &dyn Point,
        told: &mut dyn FnMut(&str),
    ) {
        let (Some(accepted), Some(order), Some(compiled)) =
            (&self.accepted, self.life.order(), &self.compiled)
        else {
            return;
        };
        self.recompile = next_look(accepted, at);
        let differs = compile(&accepted.folder, order, at, self.utc_offset_min)
            .is_ok_and(|fresh| !same(&fresh.ruleset, &compiled.ruleset));
        if differs {
            let why = "the time changed what is granted".to_owned();
            self.handle(Event::Moment { why }, runner, point, told);
        }
    }

    fn count(&mut self, runner: &dyn Runner, point: &dyn Point, told: &mut dyn FnMut(&str)) {
        let (Some(compiled), Ok(read)) = (&self.compiled, point.read()) else {
            return;
        };
        let mut fresh = self.meter.take(&read);
        // What canaries did says nothing about the devices they stand for.
        fresh.denials.retain(|denial| {
            self.canaries.iter().all(|canary| canary.counted(std::slice::from_ref(denial)) == 0)
        });
        for (rule, packets) in &fresh.hits {
            let total = self.hits.entry(rule.clone()).or_default();
            *total = total.saturating_add(*packets);
        }
        let incomplete = read.full.iter().any(|set| set.starts_with("denied"));
        let samples: BTreeMap<String, Sample> =
            used::samples(&fresh, &compiled.ruleset, &self.recorded, &self.earlier, &self.applied);
        for set in &read.full {
            let (kind, what) = match set.starts_with("denied") {
                true => (
                    "denials-not-remembered",
                    format!(
                        "{DENIALS_MAX} denied flows are remembered in an hour, and there are more ({set}): they are counted, no gate opens meanwhile; look at `ringfence observe` for who it is"
                    ),
                ),
                false => (
                    "flows-not-logged",
                    format!(
                        "{SEEN_MAX} flows are logged in a minute, and there are more ({set}): they are counted and not told one by one"
                    ),
                ),
            };
            self.note(kind, set, &what, told);
        }
        let watched = !samples.is_empty();
        // A zone nobody used is watched too: its days count.
        let shadows = self.life.shadow_zones();
        for zone in shadows.into_iter().chain(samples.keys().cloned()).collect::<BTreeSet<_>>() {
            let sample = samples.get(&zone).cloned().unwrap_or_default();
            let sample = Sample { incomplete, ..sample };
            self.handle(Event::Counted { zone, sample }, runner, point, told);
        }
        if watched && let Err(error) = self.store.save(self.life.durable()) {
            self.note("counts-not-saved", "state", &error.to_string(), told);
        }
    }

    /// The sensor reports.
    pub(crate) fn seen(&mut self, seen: Seen, told: &mut dyn FnMut(&str)) {
        let known = self.known();
        let own = crate::shell::own(&self.survey);
        for unknown in sense::unknown(&seen, &known, &own) {
            let mac = unknown.macs.first().map_or(String::new(), ToString::to_string);
            let addresses: Vec<String> =
                unknown.addresses.iter().map(ToString::to_string).collect();
            let what = format!(
                "a device that the policy folder does not have: {mac} {} {}; nothing is permitted to it",
                addresses.join(" "),
                unknown.what
            );
            self.note("unknown-device", &mac, what.trim(), told);
        }
        for fault in &seen.faults {
            self.note("sensor", "capture", fault, told);
        }
        if seen.dropped > self.seen.dropped {
            let what = format!("{} packets were lost before they were read", seen.dropped);
            self.note("sensor-lost-packets", "capture", &what, told);
        }
        self.tell_seen(&seen);
        self.seen = seen;
    }

    fn known(&self) -> BTreeSet<Mac> {
        let devices = self.accepted.iter().flat_map(|a| &a.folder.estate.devices);
        devices.flat_map(|device| device.macs.iter().copied()).collect()
    }

    pub(crate) fn note(
        &mut self,
        kind: &str,
        subject: &str,
        what: &str,
        told: &mut dyn FnMut(&str),
    ) {
        if let Some(new) = self.notes.add(now(), kind, subject, what) {
            told(&format!("finding: {kind}: {what}"));
            self.tell_finding(kind, subject, what);
            if let Err(error) = self.store.lines("findings.jsonl", &[new]) {
                told(&format!("finding not written: {error}"));
            }
        }
    }

    /// The process ends; the fence stays.
    pub(crate) fn end(&mut self, runner: &dyn Runner, told: &mut dyn FnMut(&str)) {
        if self.perched {
            canary::fly_away(runner);
        }
        if let Err(error) = self.store.save(self.life.durable()) {
            told(&error.to_string());
        }
        told("stopped; the fence stays up, and the kernel ends exceptions by itself");
    }

    /// The survey without our own port, which nobody is behind.
    fn contained(&self) -> Survey {
        let mut survey = self.survey.clone();
        survey.ports.retain(|port| port != canary::PORT);
        survey
    }
}

/// The word people read.
fn word(state: Control) -> &'static str {
    match state {
        Control::Intended => "intended",
        Control::Applied => "applied",
        Control::Verified => "verified",
    }
}

/// When time alone may change what a folder grants: the next full hour, or the end of an exception.
fn next_look(accepted: &Accepted, at: Timestamp) -> Timestamp {
    const HOUR: i64 = 3_600_000_000_000;
    let into = at.as_nanos().rem_euclid(HOUR);
    let hour = at.plus_nanos(HOUR.saturating_sub(into));
    let ends = accepted.folder.exceptions.iter().map(|exception| exception.expires);
    ends.filter(|end| *end > at).chain([hour]).min().unwrap_or(hour)
}
