//! What attestations rest on: a release, which may be withdrawn before they end.

use model::{DeviceId, Timestamp};

use super::{BATCH_MAX, Identities, Record, Standing};
use crate::At;

/// Which devices rest on which releases, by the journal entry that added these.
pub(crate) type Resting<D = DeviceId> = Vec<(D, u64)>;

impl Identities {
    /// How high a device stands without what it measured.
    pub(crate) fn standing_unattested(&self, device: &DeviceId, now: Timestamp) -> Standing {
        let mut record = self.records.get(device).cloned();
        if let Some(last) = record.as_mut().and_then(|record| record.attestation.as_mut()) {
            last.until = last.until.min(now);
        }
        self.standing_with(record.as_ref(), self.secrets.proved(device), now)
    }

    /// Whose attestation rests on a release, and counts.
    pub(crate) fn resting(&self, release: u64, now: Timestamp) -> impl Iterator<Item = &DeviceId> {
        let counts = move |record: &Record| {
            let counts = record.attestation.as_ref().is_some_and(|last| last.until > now);
            counts && record.release == Some(release)
        };
        self.records.iter().filter(move |(_, record)| counts(record)).map(|(id, _)| id)
    }

    /// Which devices were attested by which releases.
    pub(crate) fn all_resting(&self) -> Resting<&DeviceId> {
        self.records.iter().filter_map(|(id, record)| Some((id, record.release?))).collect()
    }

    /// A device was attested by a release.
    pub(crate) fn rest_on(&mut self, device: &DeviceId, release: Option<u64>) {
        if let Some(record) = self.records.get_mut(device) {
            record.release = release;
        }
    }

    /// A release is withdrawn. What it attested is attested by the next one, or ends now: of very many at moments of their own, one behind the other,
    /// because all that ends at one moment is looked at together.
    pub(crate) fn fall_with(&mut self, release: u64, next: Option<u64>, at: At<'_>) {
        let resting: Vec<DeviceId> = self.resting(release, at.time).cloned().collect();
        let mut end = self.lapsed.map_or(at.time, |lapsed| at.time.max(lapsed.plus_nanos(1)));
        for part in resting.chunks(BATCH_MAX) {
            for device in part {
                self.change(device, |record| match (next, &mut record.attestation) {
                    (Some(next), _) => record.release = Some(next),
                    (None, Some(last)) => last.until = last.until.min(end),
                    (None, None) => {}
                });
            }
            end = end.plus_nanos(1_000);
        }
    }
}
