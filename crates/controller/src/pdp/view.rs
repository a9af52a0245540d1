//! The policy in force over the whole estate of a moment, for those who ask about reach.
//!
//! Making it takes a while in a large estate, so what is asked within a second of it is answered from the same one, which says how old it is.
//! Nothing is enforced from it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use estate::Estate;
use estate::leases::{self, Subject};
use model::{Assurance, DeviceId, SiteId, Timestamp};
use policy::folder::{Folder, Zone, zone_in_force};
use policy::lower::{self, Lowered};

use super::{Held, Pdp, PolicyError, exceptions};
use crate::Hub;
use crate::blobs::Files;

/// Nanoseconds for which a view is young enough although the estate has changed.
const YOUNG_NANOS: i64 = 1_000_000_000;

/// The policy over the estate of a moment.
#[derive(Debug)]
pub struct View {
    /// Entries of the journal that it has.
    pub entries: u64,
    /// Of when it is.
    pub at: Timestamp,
    /// SHA-256 of the policy folder's content.
    pub content: String,
    /// The folder, with the estate's devices.
    pub folder: Folder,
    /// Who is granted what.
    pub lowered: Lowered,
    /// Exceptions that have not ended and yet are not in force, and why.
    pub left_out: BTreeMap<String, String>,
    sites: Vec<SiteId>,
    numbers: HashMap<DeviceId, usize>,
}

impl View {
    /// Copies what is asked about while changes wait, and asks afterwards.
    fn of(held: &Held, hub: &Hub, at: Timestamp) -> Self {
        let (entries, folder, sites) = hub.read(|estate| {
            let mut folder = with_devices(&held.folder, estate);
            exceptions::put_in(&mut folder, estate, at);
            let site = |id| estate.devices().get(id).map(|device| device.site.clone());
            let sites = folder.estate.devices.iter().filter_map(|device| site(&device.id));
            let sites = sites.collect();
            (estate.size(), folder, sites)
        });
        let lowered = lower::lower(&folder);
        let devices = folder.estate.devices.iter().enumerate();
        Self {
            entries,
            at,
            content: held.content.clone(),
            sites,
            numbers: devices.map(|(number, device)| (device.id.clone(), number)).collect(),
            left_out: exceptions::left_out(&folder),
            lowered,
            folder,
        }
    }

    /// Where a device is, by its number in the folder.
    pub fn site(&self, device: usize) -> Option<&SiteId> {
        self.sites.get(device)
    }

    /// The number of a device in the folder; `None`: it is retired, or in no zone of the policy.
    pub fn number(&self, device: &DeviceId) -> Option<usize> {
        self.numbers.get(device).copied()
    }
}

/// A folder with the devices of an estate in place of its own.
fn with_devices(folder: &Folder, estate: &Estate) -> Folder {
    leases::overlay(folder, estate.devices().iter().map(|device| (Subject::of(device), device)))
}

/// The last one.
#[derive(Debug, Default)]
pub(super) struct Views(Mutex<Option<Arc<View>>>);

impl Pdp {
    /// Where a device is that is meant for a zone of the policy in force and stands so high; `None`: there is no such zone, or no policy.
    pub fn zone(&self, meant: &str, level: Assurance) -> Option<Zone> {
        let held = self.current().ok()??;
        let zones = &held.folder.estate.zones;
        let find = |id: &str| zones.iter().find(|zone| zone.id == id);
        Some(zone_in_force(find, find(meant)?, level).clone())
    }

    /// The policy in force over the estate as it is, or was at most a second ago; `None`: no policy is in force. Takes a while.
    pub fn view(&self) -> Result<Option<Arc<View>>, PolicyError> {
        let Some(held) = self.current()? else { return Ok(None) };
        let mut last = self.views.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.hub.now();
        let size = self.hub.read(Estate::size);
        let fresh = |view: &&Arc<View>| {
            let age = now.as_nanos().saturating_sub(view.at.as_nanos());
            view.content == held.content && (view.entries == size || age < YOUNG_NANOS)
        };
        if let Some(view) = last.as_ref().filter(fresh) {
            return Ok(Some(Arc::clone(view)));
        }
        let view = Arc::new(View::of(&held, &self.hub, now));
        *last = Some(Arc::clone(&view));
        Ok(Some(view))
    }

    /// What another folder would change of today's estate, and its faults; devices that it declares and the estate does not know are left out.
    pub fn compare(&self, files: &Files) -> Result<policy::plan::Comparison, PolicyError> {
        let wanted = policy::folder::parse(&super::with_always(files));
        let wanted = wanted.map_err(PolicyError::Faults)?;
        let held = self.current()?;
        let now = self.hub.now();
        let (before, after) = self.hub.read(|estate| {
            let with = |folder: &Folder| {
                let mut folder = with_devices(folder, estate);
                exceptions::put_in(&mut folder, estate, now);
                folder
            };
            (held.as_ref().map(|held| with(&held.folder)), with(&wanted))
        });
        Ok(policy::plan::compare(before, after, now))
    }
}
