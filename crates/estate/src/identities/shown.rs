//! Which certificate of a device is in use. A device that has shown a newer one has no reason to show an older one: whoever does so has a copy of
//! its key, or it has gone back to an older state. Who of the two is who, a person says.

use std::net::IpAddr;

use model::{DeviceId, Timestamp};

use super::decide::{alive, clip};
use super::{Event, Identities, Record, Serial};
use crate::devices::Devices;
use crate::{Refusal, Sort};

const OLDER: &str = "identity.older-certificate";

/// The newest certificates that devices have shown.
pub(crate) type AllShown<D = DeviceId> = Vec<(D, Serial)>;

impl Record {
    /// The newer certificate that it has shown, which is good. One that never came to it was never shown: it may come again with the one of before.
    pub fn newer_shown(&self, serial: &Serial, now: Timestamp) -> Option<Serial> {
        let own = &self.credentials;
        let newest = own.iter().position(|c| Some(c.serial) == self.shown && c.is_good(now))?;
        let this = own.iter().position(|c| c.serial == *serial)?;
        (this < newest).then_some(self.shown?)
    }

    /// Whether it is worth knowing that it has shown this one.
    fn begins(&self, serial: &Serial, now: Timestamp) -> bool {
        let this = self.credentials.iter().position(|c| c.serial == *serial);
        let mut older = self.credentials.iter().take(this.unwrap_or(0));
        self.shown != Some(*serial) && older.any(|c| c.is_good(now))
    }
}

impl Identities {
    /// A device has shown a certificate, and its key.
    pub(super) fn show(
        &self,
        devices: &Devices,
        device: &DeviceId,
        serial: &Serial,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let device = alive(devices, device)?.id.clone();
        let Some(record) = self.get(&device) else { return Ok(Vec::new()) };
        if let Some(newer) = record.newer_shown(serial, now) {
            let what = format!(
                "{from} shows certificate {serial}, and {newer}, which is newer, was in use before: a copy of the key, or an older state of the device"
            );
            let found = Event::Found { code: OLDER.to_owned(), device, what: clip(&what) };
            return Ok(self.unless_lately(found, now).into_iter().collect());
        }
        let begins = record.begins(serial, now);
        Ok(begins.then_some(Event::Shown { device, serial: *serial }).into_iter().collect())
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
