//! Exceptions in the policy of the moment: those of the folder and those that were made here, and what another one would open.

use std::collections::{BTreeMap, BTreeSet};

use estate::Estate;
use model::Timestamp;
use policy::compile::{CompileError, exceptions_left_out};
use policy::excepted::{as_permits, newly};
use policy::folder::{EXCEPTIONS_FILE, Exception, Folder, Owner, TESTS_FILE};
use policy::plan::{Comparison, compare_lowered};
use policy::{check, impact, lower};

use super::{Pdp, PolicyError};

/// What an exception would open.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Whether its device and its service are there to be opened; else nothing below says anything.
    pub known: Known,
    /// What changes, and why it may not be.
    pub plan: Comparison,
    /// Tests of the folder that hold without it and not with it.
    pub against: Vec<policy::Fault>,
    /// Devices that somebody who takes its device over would reach besides.
    pub devices: usize,
}

/// What the policy in force knows of an exception's ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Both.
    Both,
    /// The device is in no zone of it.
    NoDevice,
    /// It has no such service.
    NoService,
}

/// Makes a folder with the estate's devices have the exceptions of `now`: what is over is out, and what was made here is in.
pub(super) fn put_in(folder: &mut Folder, estate: &Estate, now: Timestamp) {
    let all = estate.exceptions();
    folder
        .exceptions
        .retain(|e| e.expires > now && all.closed(&e.id, &e.from, &e.to, e.expires).is_none());
    // Two records that became one are looked for under one id.
    let one = |id: &model::DeviceId| estate.devices().get(id).map(|device| device.id.clone());
    for exception in &mut folder.exceptions {
        if let Some(id) = one(&exception.from) {
            exception.from = id;
        }
    }
    let taken: BTreeSet<String> = folder.exceptions.iter().map(|e| e.id.clone()).collect();
    for made in all.open(now) {
        let Some(from) = one(&made.from) else { continue };
        // Names stand once in a folder; a folder's own came first.
        let id = match taken.contains(&made.id) {
            true => format!("{} (controller)", made.id),
            false => made.id.clone(),
        };
        folder.exceptions.push(Exception {
            id,
            from,
            to: made.to.clone(),
            owner: made.owner.clone(),
            reason: made.reason.clone(),
            expires: made.expires_at,
            line: 0,
        });
    }
}

/// Makes a folder name every team that its devices and exceptions do: the estate has teams that no folder declares, and whoever reads
/// the folder refuses a name that is not in it.
pub(super) fn name_owners(folder: &mut Folder, estate: &Estate) {
    let known: BTreeSet<&str> = folder.estate.owners.iter().map(|o| o.id.as_str()).collect();
    let of_devices = folder.estate.devices.iter().map(|device| &device.owner);
    let named = of_devices.chain(folder.exceptions.iter().map(|e| &e.owner));
    let missing = named.filter(|id| !id.is_empty() && !known.contains(id.as_str()));
    let missing: BTreeSet<String> = missing.cloned().collect();
    folder.estate.owners.extend(missing.into_iter().map(|id| {
        let contact = estate.teams().get(&id).map(|known| known.team.contact.clone());
        Owner { contact: contact.unwrap_or_default(), id }
    }));
}

/// Why exceptions are not in force although they have not ended, by their ids.
pub(super) fn left_out(folder: &Folder) -> BTreeMap<String, String> {
    let why = |error: CompileError| match error {
        CompileError::ExceptionForbidden { policy, file, .. } => {
            format!("`{policy}` ({file}) forbids the path, and no exception lifts a forbid")
        }
        CompileError::ExceptionWithoutAddress { why, .. } => why,
        other => other.to_string(),
    };
    exceptions_left_out(folder).into_iter().map(|(e, error)| (e.id, why(error))).collect()
}

impl Pdp {
    /// The exceptions of the folder in force, as they stand there.
    pub fn folder_exceptions(&self) -> Vec<Exception> {
        self.held().map(|held| held.folder.exceptions.clone()).unwrap_or_default()
    }

    /// What an exception would open of today's estate; `None`: no policy is in force. Takes a while.
    pub fn propose(&self, exception: &Exception) -> Result<Option<Proposal>, PolicyError> {
        let Some(view) = self.view()? else { return Ok(None) };
        let now = self.hub.now();
        let device = view.number(&exception.from);
        let service = view.folder.estate.services.iter().any(|s| s.id == exception.to);
        let known = match (device, service) {
            (None, _) => Known::NoDevice,
            (_, false) => Known::NoService,
            _ => Known::Both,
        };
        let mut wanted = view.folder.clone();
        wanted.exceptions = vec![exception.clone()];
        let mut refused: Vec<_> = left_out(&wanted)
            .into_values()
            .map(|why| policy::Fault {
                file: EXCEPTIONS_FILE.to_owned(),
                line: 0,
                column: 0,
                what: format!("{} to {}", exception.from, exception.to),
                why,
                help: String::new(),
            })
            .collect();
        wanted.exceptions = view.folder.exceptions.clone();
        wanted.exceptions.push(exception.clone());
        let sides = [&view.folder, &wanted].map(|folder| {
            let folder = as_permits(folder, now);
            let lowered = lower::lower(&folder);
            (folder, lowered)
        });
        let [before, after] = sides;
        let reached = |(folder, lowered): &(Folder, lower::Lowered)| {
            let taken = impact::takeover(folder, lowered, device?)?;
            Some(taken.devices.len())
        };
        let devices = reached(&after).zip(reached(&before));
        let devices = devices.map_or(0, |(after, before)| after.saturating_sub(before));
        let broken = check::run(&before.0, &before.1);
        let mut plan = compare_lowered(Some(before), after, now);
        // What does not hold anyway is not its doing.
        let newly = newly(&broken, std::mem::take(&mut plan.refused));
        let (against, claims): (Vec<_>, Vec<_>) =
            newly.into_iter().partition(|fault| fault.file == TESTS_FILE);
        refused.extend(claims);
        plan.refused = refused;
        plan.exceptions.retain(|change| change.id == exception.id);
        Ok(Some(Proposal { known, plan, against, devices }))
    }
}
