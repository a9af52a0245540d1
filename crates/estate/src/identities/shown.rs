//! Which certificate of a device is in use. A device that has shown a newer one has no reason to show an older one: whoever does so has a copy of
//! its key, or it has gone back to an older state. Who of the two is who, a person says.

use std::collections::{BTreeMap, BTreeSet};

use model::{DeviceId, Timestamp};

use super::decide::{alive, bounded, clip};
use super::{Event, Identities, Record, Serial, Showing};
use crate::devices::Devices;
use crate::{Refusal, Sort};

const OLDER: &str = "identity.older-certificate";

/// The newest certificates that devices have shown.
pub(crate) type AllShown<D = DeviceId> = Vec<(D, Serial)>;

impl Record {
    /// The newer certificate that it has shown, which is good. One that never came to it was never shown: it may come again with the one of before.
    pub fn newer_shown(&self, serial: &Serial, now: Timestamp) -> Option<Serial> {
        self.newer(self.shown, serial, now)
    }

    fn newer(&self, shown: Option<Serial>, serial: &Serial, now: Timestamp) -> Option<Serial> {
        let own = &self.credentials;
        let newest = own.iter().position(|c| Some(c.serial) == shown && c.is_good(now))?;
        let this = own.iter().position(|c| c.serial == *serial)?;
        (this < newest).then_some(shown?)
    }

    /// Whether an older one than this is good.
    fn has_older(&self, serial: &Serial, now: Timestamp) -> bool {
        let this = self.credentials.iter().position(|c| c.serial == *serial);
        let mut older = self.credentials.iter().take(this.unwrap_or(0));
        older.any(|c| c.is_good(now))
    }
}

impl Identities {
    /// Devices have shown certificates, and their keys. Mostly there is nothing to tell.
    pub(super) fn show(
        &self,
        devices: &Devices,
        batch: &[Showing],
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        bounded(batch.len(), "the certificates")?;
        let (mut events, mut shown, mut found) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        for Showing { device, serial, from } in batch {
            // Whoever was retired meanwhile keeps nothing of others from being told.
            let Ok(device) = alive(devices, device).map(|device| &device.id) else { continue };
            let Some(record) = self.get(device) else { continue };
            let last = shown.get(device).copied().or(record.shown);
            if let Some(newer) = record.newer(last, serial, now) {
                let what = format!(
                    "{from} shows certificate {serial}, and {newer}, which is newer, was in use before: a copy of the key, or an older state of the device"
                );
                let (code, device) = (OLDER.to_owned(), device.clone());
                if found.insert(device.clone()) {
                    let what = clip(&what);
                    events.extend(self.unless_lately(Event::Found { code, device, what }, now));
                }
            } else if last != Some(*serial) && record.has_older(serial, now) {
                shown.insert(device.clone(), *serial);
                events.push(Event::Shown { device: device.clone(), serial: *serial });
            }
        }
        Ok(events)
    }

    /// What of it a snapshot has.
    pub(crate) fn all_shown(&self) -> AllShown<&DeviceId> {
        self.records.iter().filter_map(|(id, record)| Some((id, record.shown?))).collect()
    }

    pub(super) fn put_shown(&mut self, all: AllShown) {
        for (device, serial) in all {
            if let Some(record) = self.records.get_mut(&device) {
                record.shown = Some(serial);
            }
        }
    }
}

/// Whoever comes with an older certificate gets none.
pub(super) fn older(device: &DeviceId, newer: Serial) -> Refusal {
    let why = format!(
        "its certificate is older than {newer}, which was in use already: one of the two is a copy, or the device went back to an older state"
    );
    Refusal::new(Sort::Conflict, OLDER, format!("the enrolment of {device}"), why).help(format!(
        "look at the device; `ringfence identity revoke {device}` ends what the copy has, `ringfence identity token {device}` lets it begin anew"
    ))
}
