//! The plan: what changes between the policy that is enforced and the folder that is wanted.
//!
//! A plan is a value. It carries the ruleset and the folder it was made from, so applying it applies
//! exactly what was shown ([`Plan::fits`] compiles the folder again and compares), and it carries the digest
//! of what was enforced when it was made, so it is stale as soon as something else is. A plan that breaks a
//! test, a claim or a budget has no ruleset.

mod flows;
mod pairs;
mod state;

use std::collections::BTreeMap;

use model::inspect::{DeviceReach, ReachSummary, Report};
use model::ruleset::{Mode, Ruleset};
use model::{DeviceId, ServiceId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::compile::{CompileError, ruleset_of};
use crate::folder::{EXCEPTIONS_FILE, Folder, parse};
use crate::lower::{Lowered, lower};
use crate::reach::{analyse, summary};
use crate::{Fault, cards, check, excepted};

pub(crate) use flows::owner;
pub use flows::{BrokenFlow, Source};
pub use pairs::{Cause, PairGroup, Pairs, Place};
pub use state::{ENFORCED_FILE, ENFORCED_SCHEMA, Enforced, Stale, digest};

/// Schema of a saved plan.
pub const SCHEMA: &str = "ringfence.plan/v1";
/// Exceptions that end within this time are named.
pub const EXPIRING_DAYS: i64 = 14;

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The folder's files: relative path → text.
    pub files: &'a BTreeMap<String, String>,
    /// What is enforced; none for nothing yet.
    pub enforced: Option<&'a Enforced>,
    /// Recorded flows: name of the document and the document.
    pub flows: &'a [(String, Report)],
    /// The moment it is made.
    pub now: Timestamp,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// Number it is applied under.
    pub generation: u64,
    /// Generation it was made against.
    pub parent: Option<u64>,
    /// Digest of what was enforced then.
    pub parent_digest: Option<String>,
    /// Digest of the folder.
    pub folder_digest: String,
    /// Why it is refused; empty for a plan that may be applied.
    pub refused: Vec<Fault>,
    /// Paths that open.
    pub opened: Pairs,
    /// Paths that close.
    pub closed: Pairs,
    /// Zones whose mode or share changes.
    pub modes: Vec<ModeChange>,
    /// Recorded flows that would no longer be permitted.
    pub breaks: Vec<BrokenFlow>,
    /// Exceptions that start, end or are about to.
    pub exceptions: Vec<ExceptionChange>,
    /// How far devices get, before and after.
    pub reach: ReachChange,
    /// Capabilities that devices lack and nothing compensates.
    pub uncovered: Vec<String>,
    /// What the folder permits that an enforcement point cannot express, in words.
    pub limits: Vec<String>,
    /// The compiled ruleset differs from the one in force.
    pub changed: bool,
    /// The folder, as it was planned.
    pub files: BTreeMap<String, String>,
    /// What is applied; none when the plan is refused.
    pub ruleset: Option<Ruleset>,
}

/// A zone whose mode or share changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeChange {
    /// Zone.
    pub zone: String,
    /// Before; none for a new zone.
    pub before: Option<ModeShare>,
    /// After; none for one that goes.
    pub after: Option<ModeShare>,
    /// Devices in it now.
    pub devices: u64,
}

/// Mode and the percentage of devices it holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeShare {
    /// Shadow or enforce.
    pub mode: Mode,
    /// Percent.
    pub share: u8,
}

/// What happens to an exception.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExceptionChange {
    /// Its name.
    pub id: String,
    /// What happens to it.
    pub state: ExceptionState,
    /// Source.
    pub from: DeviceId,
    /// Destination.
    pub to: ServiceId,
    /// Who answers for it.
    pub owner: String,
    /// When it ends.
    pub expires: Timestamp,
    /// Line in `exceptions.toml`.
    pub line: u32,
}

/// What happens to an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExceptionState {
    /// It has ended: the plan leaves it out, and the line can go.
    Expired,
    /// It ends within [`EXPIRING_DAYS`].
    Expiring,
    /// It starts.
    New,
    /// It was in force and is no longer in the folder.
    Removed,
}

impl ExceptionState {
    /// A stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Expiring => "expiring",
            Self::New => "new",
            Self::Removed => "removed",
        }
    }
}

/// Reach before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReachChange {
    /// Totals of what is enforced; none when nothing is.
    pub before: Option<ReachSummary>,
    /// Totals of what is wanted.
    pub after: ReachSummary,
    /// The devices that reach most under the plan, and what they reach today.
    pub worst: Vec<WorstReach>,
}

/// One of the devices that reach most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorstReach {
    /// Services it reaches by hopping today; none when nothing is enforced or it is new.
    pub before: Option<u64>,
    /// Under the plan.
    pub after: DeviceReach,
}

impl Plan {
    /// It may be applied.
    pub fn is_refused(&self) -> bool {
        !self.refused.is_empty()
    }
}

/// Makes a plan. Faults of the folder (or of the enforced one) refuse it before there is one.
pub fn make(wanted: &Wanted<'_>) -> Result<Plan, Vec<Fault>> {
    let folder = parse(wanted.files)?;
    let before = match wanted.enforced {
        Some(enforced) => Some(Side::of(parse(&enforced.files).map_err(in_force)?)),
        None => None,
    };
    let after = Side::of(folder);
    let generation = next_generation(wanted.enforced);
    let parent = wanted.enforced.map(|e| e.generation);
    let (refused, ruleset) = after.outcome(wanted.now, generation, parent);
    let changed = match (&ruleset, wanted.enforced) {
        (Some(new), Some(enforced)) => !same(new, &enforced.ruleset),
        _ => true,
    };
    let (opened, closed) = pairs::difference(before.as_ref(), &after);
    Ok(Plan {
        schema: SCHEMA.to_owned(),
        made_at: wanted.now,
        generation,
        parent,
        parent_digest: wanted.enforced.map(Enforced::digest),
        folder_digest: digest(wanted.files),
        refused,
        opened,
        closed,
        modes: modes(before.as_ref().map(|side| &side.folder), &after.folder),
        breaks: flows::broken(before.as_ref(), &after, wanted.flows),
        exceptions: exceptions(before.as_ref().map(|s| &s.folder), &after.folder, wanted.now),
        reach: reach(before.as_ref(), &after),
        uncovered: cards::cover(&after.folder).uncovered_words(),
        limits: not_enforceable(&after.folder, &after.lowered),
        changed,
        files: wanted.files.clone(),
        ruleset,
    })
}

/// What one folder changes of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Why the new one may not be in force; empty where it may.
    pub refused: Vec<Fault>,
    /// Paths that open.
    pub opened: Pairs,
    /// Paths that close.
    pub closed: Pairs,
    /// Zones whose mode or share changes.
    pub modes: Vec<ModeChange>,
    /// Exceptions that start, end or are about to.
    pub exceptions: Vec<ExceptionChange>,
    /// How far devices get, before and after.
    pub reach: ReachChange,
}

/// Compares two folders over the same devices, without compiling what an enforcement point gets.
pub fn compare(before: Option<Folder>, after: Folder, now: Timestamp) -> Comparison {
    let lowered = |folder: Folder| {
        let lowered = lower(&folder);
        (folder, lowered)
    };
    compare_lowered(before.map(lowered), lowered(after), now)
}

/// The same with what both folders grant, which takes longest.
pub fn compare_lowered(
    before: Option<(Folder, Lowered)>,
    after: (Folder, Lowered),
    now: Timestamp,
) -> Comparison {
    let side = |(folder, lowered)| Side { folder, lowered };
    let (before, after) = (before.map(side), side(after));
    let (opened, closed) = pairs::difference(before.as_ref(), &after);
    Comparison {
        refused: check::run(&after.folder, &after.lowered),
        opened,
        closed,
        modes: modes(before.as_ref().map(|side| &side.folder), &after.folder),
        exceptions: exceptions(before.as_ref().map(|s| &s.folder), &after.folder, now),
        reach: reach(before.as_ref(), &after),
    }
}

/// A folder with what it grants.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) folder: Folder,
    pub(crate) lowered: Lowered,
}

impl Side {
    pub(crate) fn of(folder: Folder) -> Self {
        let lowered = lower(&folder);
        Self { folder, lowered }
    }

    /// Why it may not be applied, and the ruleset where nothing speaks against it.
    fn outcome(
        &self,
        now: Timestamp,
        generation: u64,
        parent: Option<u64>,
    ) -> (Vec<Fault>, Option<Ruleset>) {
        let mut refused = check::run(&self.folder, &self.lowered);
        refused.extend(excepted::broken(&self.folder, now));
        let ruleset = compiled(self, now, generation, parent)
            .map_err(|error| refused.push(fault_of(&error)))
            .ok()
            .filter(|_| refused.is_empty());
        (refused, ruleset)
    }
}

/// The number that a plan against `enforced` has.
fn next_generation(enforced: Option<&Enforced>) -> u64 {
    enforced.map_or(0, |e| e.generation).saturating_add(1)
}

/// Exceptions that have ended are left out: the kernel would refuse their timeout.
fn compiled(
    side: &Side,
    now: Timestamp,
    generation: u64,
    parent: Option<u64>,
) -> Result<Ruleset, CompileError> {
    if side.folder.expired(now).next().is_none() {
        return ruleset_of(&side.folder, &side.lowered, generation, parent);
    }
    let mut folder = side.folder.clone();
    folder.exceptions.retain(|exception| exception.expires > now);
    ruleset_of(&folder, &side.lowered, generation, parent)
}

/// The same but for its number.
fn same(new: &Ruleset, old: &Ruleset) -> bool {
    let renumbered = Ruleset { generation: old.generation, parent: old.parent, ..new.clone() };
    renumbered == *old
}

fn in_force(faults: Vec<Fault>) -> Vec<Fault> {
    let mark = |fault: Fault| Fault { file: format!("(in force) {}", fault.file), ..fault };
    faults.into_iter().map(mark).collect()
}

/// A reason not to compile, as a fault at its line.
pub fn fault_of(error: &CompileError) -> Fault {
    let why = error.to_string();
    match error {
        CompileError::ExceptionForbidden { exception, line, policy, file } => {
            let why =
                format!("`{policy}` ({file}) forbids the path, and no exception lifts a forbid");
            let what = format!("exception `{exception}` is refused");
            Fault::on_line(EXCEPTIONS_FILE, *line, &what, why)
                .help("change the policy or drop the exception")
        }
        CompileError::ExceptionWithoutAddress { exception, line, why } => {
            let what = format!("exception `{exception}` cannot be enforced");
            Fault::on_line(EXCEPTIONS_FILE, *line, &what, why.clone())
                .help("add addresses in estate.toml")
        }
        _ => Fault::of_file(crate::folder::ESTATE_FILE, "cannot be compiled", why),
    }
}

fn modes(before: Option<&Folder>, after: &Folder) -> Vec<ModeChange> {
    let of = |folder: &Folder| -> BTreeMap<String, ModeShare> {
        let zones = folder.estate.zones.iter().filter(|z| z.site.is_some());
        zones
            .map(|z| (z.id.clone(), ModeShare { mode: z.mode, share: z.share.unwrap_or(100) }))
            .collect()
    };
    let Some(before) = before.map(of) else {
        return Vec::new();
    };
    let after_of = of(after);
    let mut names: Vec<&String> = before.keys().chain(after_of.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|zone| before.get(*zone) != after_of.get(*zone))
        .map(|zone| ModeChange {
            zone: zone.clone(),
            before: before.get(zone).copied(),
            after: after_of.get(zone).copied(),
            devices: long(after.estate.devices.iter().filter(|d| d.zone == *zone).count()),
        })
        .collect()
}

fn exceptions(before: Option<&Folder>, after: &Folder, now: Timestamp) -> Vec<ExceptionChange> {
    let soon = now.plus_nanos(EXPIRING_DAYS.saturating_mul(86_400_000_000_000));
    let known = |id: &str| {
        before.is_some_and(|folder| folder.exceptions.iter().any(|other| other.id == id))
    };
    let change = |e: &crate::folder::Exception, state| ExceptionChange {
        id: e.id.clone(),
        state,
        from: e.from.clone(),
        to: e.to.clone(),
        owner: e.owner.clone(),
        expires: e.expires,
        line: e.line,
    };
    let mut changes = Vec::new();
    for exception in &after.exceptions {
        if exception.expires <= now {
            changes.push(change(exception, ExceptionState::Expired));
            continue;
        }
        if !known(&exception.id) {
            changes.push(change(exception, ExceptionState::New));
        }
        if exception.expires <= soon {
            changes.push(change(exception, ExceptionState::Expiring));
        }
    }
    let gone = before
        .into_iter()
        .flat_map(|folder| &folder.exceptions)
        .filter(|e| e.expires > now && !after.exceptions.iter().any(|other| other.id == e.id));
    changes.extend(gone.map(|e| change(e, ExceptionState::Removed)));
    changes
}

fn reach(before: Option<&Side>, after: &Side) -> ReachChange {
    let was = before.map(|side| (side, analyse(&side.folder, &side.lowered)));
    let numbers: BTreeMap<&str, usize> = before
        .iter()
        .flat_map(|side| side.folder.estate.devices.iter().enumerate())
        .map(|(i, d)| (d.id.as_str(), i))
        .collect();
    let now = summary(&after.folder, &analyse(&after.folder, &after.lowered), 0);
    let worst = now.worst.into_iter().map(|after| {
        let before = was.as_ref().and_then(|(_, analysis)| {
            let device = numbers.get(after.device.as_str())?;
            analysis.transitive_services.get(*device).copied()
        });
        WorstReach { before, after }
    });
    ReachChange {
        before: was.as_ref().map(|(side, analysis)| summary(&side.folder, analysis, 0).draft),
        worst: worst.collect(),
        after: now.draft,
    }
}

/// What an enforcement point cannot express of a folder, as sentences for people.
pub fn not_enforceable(folder: &Folder, lowered: &Lowered) -> Vec<String> {
    let mut limits = crate::draft::words::limits(folder, lowered);
    limits.extend(crate::treat::limits(folder));
    limits
}

pub(crate) fn long(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
