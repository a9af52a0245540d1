//! The policy decision point: the folder in force, asked about every change of the estate.
//!
//! One thread hears of changes, lets those that came together be decided together, and writes decisions that differ as entries of the
//! journal. From the same answer it makes what each site is meant to enforce. A sweep now and then asks about everything: it must
//! find nothing, and what it finds is counted as a defect.

mod exceptions;
mod import;
mod levels;
mod offer;
mod run;
mod scope;
mod view;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use estate::devices;
use estate::leases::{self, Decision, Verdict};
use estate::{Command, Estate, Event, Refusal, Sort, policies};
use journal::entry::Actor;
use model::{DeviceId, Timestamp};
use policy::compile::CompileError;
use policy::folder::Folder;
use policy::lower;

use crate::blobs::{BlobError, Blobs, Files};
use crate::hub::itself;
use crate::{Hub, HubError};

use offer::Bundles;
use scope::Scope;
use view::Views;

pub use exceptions::{Known, Proposal};
pub use levels::{Level, Levels};
pub use offer::Bundle;
pub use view::View;

/// Decisions of one command.
const BATCH: usize = 256;
/// Devices that are decided about at one time: what they are asked with takes kilobytes of each.
const PART: usize = 4_096;

/// Why a folder is not set.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The folder has faults; none of it is taken.
    #[error("the policy folder has {} fault(s)", .0.len())]
    Faults(Vec<policy::Fault>),
    /// The estate refuses.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Its files cannot be kept.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl From<Refusal> for PolicyError {
    fn from(refusal: Refusal) -> Self {
        Self::Hub(refusal.into())
    }
}

/// What holds whatever a folder says: cutting a device off must not depend on which packs it takes in.
const ALWAYS: (&str, &str) = (
    "policies/controller.cedar",
    "@id(\"controller.quarantined\")\n@reason(\"a quarantined device opens nothing\")\nforbid (principal, action, resource)\n\
     when { principal.posture == \"quarantined\" };\n",
);

/// The folder in force.
struct Held {
    content: String,
    /// As they were set.
    files: Files,
    /// With what always holds.
    folder: Folder,
    /// The folder, ready to be asked.
    judge: Mutex<leases::Judge>,
    /// Devices that the folder itself names: every site is told of them.
    named: BTreeSet<String>,
}

impl Held {
    fn new(content: String, files: Files, folder: Folder) -> Self {
        let (judge, named) = (Mutex::new(leases::Judge::new(&folder)), named(&folder, &files));
        Self { content, files, folder, judge, named }
    }

    /// About whom is decided when these have changed.
    fn asked<'s>(&self, scope: &'s Scope) -> &'s Scope {
        let judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
        match scope {
            Scope::Some { devices, .. } if judge.reaches_others(devices.iter()) => &Scope::All,
            scope => scope,
        }
    }

    /// Whose bundles are made when these have changed.
    fn concerned(&self, scope: Scope) -> Scope {
        match &scope {
            Scope::Some { devices, .. }
                if devices.iter().any(|id| self.named.contains(id.as_str())) =>
            {
                Scope::All
            }
            _ => scope,
        }
    }
}

/// The policy decision point.
pub struct Pdp {
    hub: Arc<Hub>,
    blobs: Blobs,
    me: Actor,
    held: RwLock<Option<Arc<Held>>>,
    /// Made ready before it is set, so that decisions need not wait for it to be read again.
    ready: Mutex<Option<Arc<Held>>>,
    bundles: Bundles,
    views: Views,
    /// Entries of the journal that decisions and bundles rest on.
    rests_on: AtomicU64,
    /// How quickly, measured.
    pub levels: Levels,
}

impl std::fmt::Debug for Pdp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pdp").finish_non_exhaustive()
    }
}

impl Pdp {
    /// Loads the folder that is meant to be in force.
    pub fn open(hub: Arc<Hub>, blobs: Blobs) -> Result<Arc<Self>, PolicyError> {
        let me = itself().map_err(HubError::from)?;
        let pdp = Self {
            hub,
            blobs,
            me,
            held: RwLock::new(None),
            ready: Mutex::new(None),
            bundles: Bundles::default(),
            views: Views::default(),
            rests_on: AtomicU64::new(0),
            levels: Levels::default(),
        };
        let current = pdp.hub.read(|estate| estate.policies().current().map(|v| v.content.clone()));
        if let Some(content) = current {
            pdp.hold(&content)?;
        }
        Ok(Arc::new(pdp))
    }

    /// Decides about everything, and offers what sites are meant to enforce.
    pub fn settle(&self, because: &str, since: Timestamp) -> Result<usize, PolicyError> {
        let (made, concerned) = self.decide_about(Scope::All, because, since, &mut || {})?;
        if let Some(concerned) = concerned {
            self.offer_to(&concerned, since)?;
        }
        Ok(made)
    }

    /// Decides; how much was, and whom it may concern. Nobody, where no folder is in force. `between` is called after each part.
    fn decide_about(
        &self,
        scope: Scope,
        because: &str,
        since: Timestamp,
        between: &mut dyn FnMut(),
    ) -> Result<(usize, Option<Scope>), PolicyError> {
        let Some(held) = self.current()? else {
            return Ok((0, None));
        };
        let made = self.decide(&held, held.asked(&scope), because, between)?;
        if made > 0 {
            let now = self.hub.now();
            self.levels.decided(now.as_nanos().saturating_sub(since.as_nanos()));
        }
        Ok((made, Some(held.concerned(scope))))
    }

    /// Offers sites what follows from the folder in force and what was decided.
    fn offer_to(&self, concerned: &Scope, since: Timestamp) -> Result<(), PolicyError> {
        match self.current()? {
            Some(held) => self.offer(&held, concerned, since),
            None => Ok(()),
        }
    }

    /// Sets another folder: checked whole, its files kept, what it declares made part of the estate, then it is in force. Should another folder
    /// come between, this one is refused, and what it declared stays declared.
    pub fn set(
        &self,
        who: &Actor,
        why: &str,
        files: Files,
        parent: Option<String>,
        origin: String,
    ) -> Result<policies::Version, PolicyError> {
        let folder = check(&files, self.hub.now()).map_err(PolicyError::Faults)?;
        let content = self.blobs.put(&files)?;
        let command = policies::Command::Set { content: content.clone(), parent, origin };
        // Refused before anything is imported.
        let now = self.hub.now();
        self.hub.read(|estate| estate.decide(&Command::Policy(command.clone()), who, now))?;
        import::import(&self.hub, who, why, &folder)?;
        let held = Arc::new(Held::new(content, files, folder));
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        let done = self.hub.command(who, why, Command::Policy(command), BTreeSet::new());
        if done.is_err() {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        done?;
        self.current()?;
        let version = self.hub.read(|estate| estate.policies().current().cloned());
        version.ok_or_else(|| {
            Refusal::new(
                Sort::Conflict,
                "policy.gone",
                "the policy folder",
                "another one came between",
            )
            .into()
        })
    }

    /// Entries of the journal that decisions and what sites are meant to enforce rest on.
    pub fn rests_on(&self) -> u64 {
        self.rests_on.load(Ordering::Acquire)
    }

    /// The files of the folder in force, and its content.
    pub fn files(&self) -> Option<(String, Files)> {
        self.held().map(|held| (held.content.clone(), held.files.clone()))
    }

    /// The decision of an id.
    pub fn decision(&self, id: &str) -> Result<Option<Decision>, HubError> {
        let Some(number) = self.hub.read(|estate| estate.leases().entry_of(id)) else {
            return Ok(None);
        };
        let Some(entry) = self.hub.entry(number)? else {
            return Ok(None);
        };
        let events = estate::record::events(&entry)?;
        // A command's events may go on in the next entries, but each decision names its own.
        Ok(events.into_iter().find_map(|event| match event {
            Event::Lease(leases::Event::Decided(decision)) if decision.id == id => Some(decision),
            _ => None,
        }))
    }

    /// The verdict of a decision, made again from what it was made from; `None`: its policy folder is not kept.
    pub fn replay(&self, decision: &Decision) -> Result<Option<Verdict>, PolicyError> {
        let Some(files) = self.blobs.get(&decision.policy)? else {
            return Ok(None);
        };
        let folder = policy::folder::parse(&with_always(&files)).map_err(PolicyError::Faults)?;
        let then = match decision.beside {
            Some(size) => self.hub.then(size)?,
            None => Estate::default(),
        };
        Ok(Some(leases::replay(decision, &folder, &then)))
    }

    /// Decisions that should have been made already: none.
    fn sweep(&self) -> Result<usize, PolicyError> {
        self.hub.command(
            &self.me,
            "time has passed",
            Command::Device(devices::Command::Sweep),
            BTreeSet::new(),
        )?;
        let Some(held) = self.held() else {
            return Ok(0);
        };
        // All of it as it is at one moment: what changes meanwhile is decided about when it is heard of, and is no defect.
        let found: Result<_, HubError> = self.hub.read(|estate| {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let ids = next(estate, after.as_ref());
                let Some(last) = ids.last() else { return Ok(found) };
                after = Some(last.clone());
                found.extend(self.differing(&held, estate, &ids, "sweep")?);
            }
        });
        let found = self.write(found?, "sweep")?;
        self.levels.swept(found);
        Ok(found)
    }

    /// Decides about a part of the devices after the other, each as the estate is then.
    fn decide(
        &self,
        held: &Held,
        scope: &Scope,
        because: &str,
        between: &mut dyn FnMut(),
    ) -> Result<usize, PolicyError> {
        if let Scope::Some { devices, .. } = scope {
            let ids: Vec<_> = devices.iter().cloned().collect();
            let made = self.hub.read(|estate| self.differing(held, estate, &ids, because))?;
            return self.write(made, because);
        }
        let (mut made, mut after) = (0_usize, None);
        loop {
            let (ids, part) = self.hub.read(|estate| {
                let ids = next(estate, after.as_ref());
                let part = self.differing(held, estate, &ids, because);
                (ids, part)
            });
            let Some(last) = ids.last() else { return Ok(made) };
            after = Some(last.clone());
            made = made.saturating_add(self.write(part?, because)?);
            between();
        }
    }

    /// Decisions about some devices that differ from those in force.
    fn differing(
        &self,
        held: &Held,
        estate: &Estate,
        ids: &[DeviceId],
        because: &str,
    ) -> Result<Vec<Decision>, HubError> {
        // An id takes randomness, which may fail.
        let mut broken = None;
        let mut id = || {
            self.hub.id("dec").unwrap_or_else(|error| {
                broken = Some(error);
                String::new()
            })
        };
        let mut judge = held.judge.lock().unwrap_or_else(PoisonError::into_inner);
        let judged = judge.some(estate, ids);
        let made = judged.differing_of(estate, ids, &held.content, because, &mut id);
        broken.map_or(Ok(made), Err)
    }

    fn write(&self, decisions: Vec<Decision>, because: &str) -> Result<usize, PolicyError> {
        let why = format!("what is granted follows from policy and evidence ({because})");
        let made = decisions.len();
        let mut left = decisions.into_iter();
        loop {
            let decisions: Vec<_> = left.by_ref().take(BATCH).collect();
            if decisions.is_empty() {
                return Ok(made);
            }
            let command = leases::Command::Decide { decisions };
            self.hub.command(&self.me, &why, Command::Lease(command), BTreeSet::new())?;
        }
    }

    fn hold(&self, content: &str) -> Result<(), PolicyError> {
        // Whoever comes second finds what the first has put there.
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if self.held().is_some_and(|held| held.content == content) {
            return Ok(());
        }
        let held = match ready.take().filter(|held| held.content == content) {
            Some(held) => held,
            None => Arc::new(self.load(content)?),
        };
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(held);
        Ok(())
    }

    fn load(&self, content: &str) -> Result<Held, PolicyError> {
        let files = self.blobs.get(content)?.ok_or_else(|| {
            let why = format!("its files ({content}) are not in the state folder");
            Refusal::new(Sort::Unknown, "policy.files", "the policy folder", why)
                .help("restore `blobs` from a backup, or apply the folder again")
        })?;
        let folder = policy::folder::parse(&with_always(&files)).map_err(PolicyError::Faults)?;
        Ok(Held::new(content.to_owned(), files, folder))
    }

    /// The folder that the estate says is in force. Who hears of a new one may come here before who has set it.
    fn current(&self) -> Result<Option<Arc<Held>>, PolicyError> {
        let content = |estate: &estate::Estate| {
            estate.policies().current().map(|version| version.content.clone())
        };
        let Some(content) = self.hub.read(content) else {
            return Ok(None);
        };
        if self.held().is_none_or(|held| held.content != content) {
            self.hold(&content)?;
        }
        Ok(self.held())
    }

    fn held(&self) -> Option<Arc<Held>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The devices that are decided about next.
fn next(estate: &Estate, after: Option<&DeviceId>) -> Vec<DeviceId> {
    estate.devices().after(after).take(PART).map(|device| device.id.clone()).collect()
}

/// A folder's files, and what holds whatever they say.
fn with_always(files: &Files) -> Files {
    let mut files = files.clone();
    files.insert(ALWAYS.0.to_owned(), ALWAYS.1.to_owned());
    files
}

/// A folder without faults whose tests and claims hold, with its exceptions too, and none of these opens what is forbidden.
pub fn check(files: &Files, now: Timestamp) -> Result<Folder, Vec<policy::Fault>> {
    let folder = policy::folder::parse(&with_always(files))?;
    let mut broken = policy::check::run(&folder, &lower::lower(&folder));
    broken.extend(policy::excepted::broken(&folder, now));
    // That one has no address yet is no fault: sensors find it.
    let left_out = policy::compile::exceptions_left_out(&folder).into_iter();
    let forbidden = left_out.filter(|(e, why)| {
        e.expires > now && matches!(why, CompileError::ExceptionForbidden { .. })
    });
    broken.extend(forbidden.map(|(_, why)| policy::plan::fault_of(&why)));
    if broken.is_empty() { Ok(folder) } else { Err(broken) }
}

/// Devices that the folder itself names: who offers a service, and who is in a policy.
fn named(folder: &Folder, files: &Files) -> BTreeSet<String> {
    let offering = folder.estate.services.iter().filter_map(|s| s.device.as_ref());
    let mut named: BTreeSet<String> = offering.map(ToString::to_string).collect();
    let policies = files.iter().filter(|(path, _)| path.ends_with(".cedar"));
    for (_, text) in policies {
        for (_, rest) in text
            .match_indices("Device::\"")
            .map(|(at, m)| (at, text.get(at.saturating_add(m.len())..)))
        {
            if let Some((id, _)) = rest.and_then(|rest| rest.split_once('"')) {
                named.insert(id.to_owned());
            }
        }
    }
    named
}
