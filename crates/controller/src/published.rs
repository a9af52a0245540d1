//! What the estate's authority publishes for others: its certificates, lists of revoked ones, and answers about single ones (OCSP).
//!
//! A complete list is made when somebody asks and the last one is an hour old, or something was revoked since. All that changed since a
//! list of at most a day ago is in the delta. Nothing of it is kept over a restart: numbers of lists grow with the journal, and between
//! two entries with time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use estate::Estate;
use estate::identities::{self, Reason, Revoked, Serial};
use model::Timestamp;
use pki::crl::{self, Entry};
use pki::ocsp::{self, Failure, Times};
use pki::{Malformed, Number, Pem};

use crate::Hub;
use crate::authority::Authority;

const HOUR_NANOS: i64 = 3_600 * 1_000_000_000;
/// A complete list is followed by another one after this long, in nanoseconds.
const EVERY_NANOS: i64 = HOUR_NANOS;
/// It counts for this long, in nanoseconds: whoever cannot reach the controller for a night still knows what was.
const COUNTS_NANOS: i64 = 24 * HOUR_NANOS;
/// An answer counts for this long, in nanoseconds.
const FRESH_NANOS: i64 = HOUR_NANOS;
/// A delta counts for this long, in nanoseconds: the next one has come long before, also where it is pushed.
const DELTA_NANOS: i64 = 2 * HOUR_NANOS;
/// Deltas are to a list no older than this, in nanoseconds.
const BASE_NANOS: i64 = 24 * HOUR_NANOS;
/// Clocks differ: a list counts from this long before it was made, in nanoseconds.
const EARLIER_NANOS: i64 = 300 * 1_000_000_000;

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum NotPublished {
    /// The authority signs none.
    #[error("the list of revoked certificates cannot be signed: {0}")]
    List(#[from] crl::NotIssued),
    /// A certificate that cannot be written.
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

/// What the authority publishes.
pub struct Published {
    hub: Arc<Hub>,
    authority: Arc<Authority>,
    /// Where deltas are, for those who have a complete list.
    delta_url: Option<String>,
    kept: Mutex<Kept>,
}

/// What an authority has revoked, both ways.
#[derive(Clone, Debug)]
pub struct Lists {
    /// The authority's certificate, in DER.
    pub authority: Bytes,
    /// All of it.
    pub complete: List,
    /// What changed since a complete list of at most a day ago.
    pub delta: List,
}

/// A signed list.
#[derive(Clone, Debug)]
pub struct List {
    /// In DER.
    pub der: Bytes,
    /// Its number, in hex.
    pub number: Number,
    /// Of a delta, the number of the list that it is to.
    pub base: Option<Number>,
    made: Timestamp,
    /// Entries of the journal up to the last revocation in it.
    revised: u64,
}

#[derive(Default)]
struct Kept {
    complete: Option<List>,
    delta: Option<List>,
    base: Option<Base>,
    last: Stamp,
}

/// The list that deltas are to.
struct Base {
    number: Number,
    made: Timestamp,
    entries: Vec<Entry>,
}

/// What a number is made of: entries of the journal, then time.
type Stamp = (u64, u64);

impl std::fmt::Debug for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Published").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Published {
    /// Of an authority; deltas can be had at a URL.
    pub fn new(hub: Arc<Hub>, authority: Arc<Authority>, delta_url: Option<String>) -> Self {
        Self { hub, authority, delta_url, kept: Mutex::default() }
    }

    /// The authority.
    pub const fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// The root in PEM.
    pub fn root(&self) -> Result<String, NotPublished> {
        Ok(Pem::write("CERTIFICATE", self.authority.root().der())?)
    }

    /// The issuing authority in PEM.
    pub fn issuing(&self) -> Result<String, NotPublished> {
        Ok(Pem::write("CERTIFICATE", self.authority.issuing().der())?)
    }

    /// All that is revoked.
    pub fn complete(&self) -> Result<List, NotPublished> {
        Ok(self.fresh()?.0)
    }

    /// What was revoked since a complete list of at most a day ago.
    pub fn delta(&self) -> Result<List, NotPublished> {
        Ok(self.fresh()?.1)
    }

    /// Of every authority that has issued certificates which would count.
    pub fn lists(&self) -> Result<Vec<Lists>, NotPublished> {
        let (complete, delta) = self.fresh()?;
        let authority = Bytes::copy_from_slice(self.authority.issuing().der());
        Ok(vec![Lists { authority, complete, delta }])
    }

    fn fresh(&self) -> Result<(List, List), NotPublished> {
        let mut kept = self.kept();
        let now = self.hub.now();
        let revised = self.hub.read(|estate| estate.identities().revised());
        let good = |list: &&List| {
            let age = now.as_nanos().saturating_sub(list.made.as_nanos());
            list.revised == revised && (0..EVERY_NANOS).contains(&age)
        };
        if let Kept { complete: Some(complete), delta: Some(delta), .. } = &*kept
            && good(&complete)
        {
            return Ok((complete.clone(), delta.clone()));
        }
        self.renew(&mut kept, now)
    }

    fn renew(&self, kept: &mut Kept, now: Timestamp) -> Result<(List, List), NotPublished> {
        let (entries, size, revised) = self.hub.read(|estate| {
            (self.listed(estate, now), estate.size(), estate.identities().revised())
        });
        let is_old = |base: &Base| {
            let age = now.as_nanos().saturating_sub(base.made.as_nanos());
            !(0..BASE_NANOS).contains(&age)
        };
        // A list and its delta say the same, and have the same number (RFC 5280 §5.2.3). The delta to the first list is younger than it.
        let old = kept.base.take().filter(|base| !is_old(base));
        let number = kept.next(size, now);
        let complete = self.sign(number, None, now, &entries)?;
        let (delta_number, base) = match old {
            Some(base) => (number, base),
            None => (kept.next(size, now), Base { number, made: now, entries: entries.clone() }),
        };
        let changed = crl::difference(&base.entries, &entries);
        let delta = self.sign(delta_number, Some(base.number), now, &changed)?;
        let list =
            |der, number, base| List { der: Bytes::from(der), number, base, made: now, revised };
        let (complete, delta) =
            (list(complete, number, None), list(delta, delta_number, Some(base.number)));
        kept.base = Some(base);
        (kept.complete, kept.delta) = (Some(complete.clone()), Some(delta.clone()));
        Ok((complete, delta))
    }

    fn sign(
        &self,
        number: Number,
        base: Option<Number>,
        now: Timestamp,
        entries: &[Entry],
    ) -> Result<Vec<u8>, NotPublished> {
        let counts = if base.is_some() { DELTA_NANOS } else { COUNTS_NANOS };
        let order = crl::Order {
            number,
            base,
            this_update: now.plus_nanos(-EARLIER_NANOS),
            // The next one is there when it is asked for.
            next_update: now.plus_nanos(counts),
            freshest: self.delta_url.as_deref().filter(|_| base.is_none()),
            entries,
        };
        Ok(self.authority.list(&order)?)
    }

    /// What a list has, by serial number. One that is over stays for one list more (RFC 5280 §3.3).
    fn listed(&self, estate: &Estate, now: Timestamp) -> Vec<Entry> {
        let issuer = self.authority.issuing_sha256();
        let since = now.plus_nanos(-EVERY_NANOS.saturating_mul(2));
        let all = estate.identities().revoked(issuer, since);
        let mut all: Vec<Entry> = all.map(|(serial, revoked)| entry(serial, &revoked)).collect();
        all.sort_unstable_by_key(|entry| entry.serial);
        all
    }

    /// Answers a request in DER; what is no request, or about others, gets an answer that says so.
    pub fn answer(&self, request: &[u8]) -> Vec<u8> {
        let Ok(request) = ocsp::read(request) else { return ocsp::refuse(Failure::Malformed) };
        let now = whole_seconds(self.hub.now());
        let times =
            Times { produced_at: now, this_update: now, next_update: now.plus_nanos(FRESH_NANOS) };
        let issuer = self.authority.issuing_sha256();
        let status = |serial: &Number| {
            let Some(serial) = own(serial) else { return ocsp::Status::Unknown };
            self.hub.read(|estate| match estate.identities().status(issuer, &serial) {
                None => ocsp::Status::Unknown,
                Some(identities::Status::Good) => ocsp::Status::Good,
                Some(identities::Status::Revoked(revoked)) => {
                    ocsp::Status::of(Some(&entry(serial, &revoked)))
                }
            })
        };
        let answer = self.authority.answer(&request, &times, status);
        answer.unwrap_or_else(|error| ocsp::refuse(error.failure()))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl List {
    /// A list that nobody signed.
    pub(crate) const fn for_tests(der: Bytes, number: Number, base: Option<Number>) -> Self {
        Self { der, number, base, made: Timestamp::from_nanos(0), revised: 0 }
    }
}

impl Kept {
    /// A number that is higher than all before it, also when the clock was set back.
    fn next(&mut self, size: u64, now: Timestamp) -> Number {
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(0);
        let after = (self.last.0, self.last.1.saturating_add(1));
        self.last = (size, nanos).max(after);
        let (size, nanos) = self.last;
        Number::from((u128::from(size) << 64 | u128::from(nanos)).to_be_bytes())
    }
}

fn entry(serial: Serial, revoked: &Revoked) -> Entry {
    let reason = match revoked.reason {
        Reason::Unspecified => crl::Reason::Unspecified,
        Reason::KeyCompromise => crl::Reason::KeyCompromise,
        Reason::Superseded => crl::Reason::Superseded,
        Reason::CessationOfOperation => crl::Reason::CessationOfOperation,
        Reason::PrivilegeWithdrawn => crl::Reason::PrivilegeWithdrawn,
    };
    Entry { serial: Number::from(serial.0), revoked_at: whole_seconds(revoked.at), reason }
}

/// A serial number of ours; longer ones are somebody else's.
fn own(number: &Number) -> Option<Serial> {
    let (zeros, serial) = number.bytes().split_last_chunk::<16>()?;
    zeros.iter().all(|b| *b == 0).then_some(Serial(*serial))
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    at.plus_nanos(at.as_nanos().rem_euclid(1_000_000_000).saturating_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_with_the_journal_with_time_and_without_either() {
        let mut kept = Kept::default();
        let at = |secs: i64| Timestamp::from_secs(1_800_000_000 + secs, 0);
        let mut last = Number::from(0);
        for (size, secs) in [(7, 0), (7, 0), (7, 1), (7, -900), (8, -900), (8, -900), (6, 0)] {
            let next = kept.next(size, at(secs));
            assert!(next > last, "{size} {secs}: {next} after {last}");
            last = next;
        }
        // After a restart too, as long as one of the two grows.
        let next = Kept::default().next(9, at(-3_600));
        assert!(next > last);
    }

    #[test]
    fn serial_numbers_both_ways() {
        for serial in [[0; 16], [0xff; 16], [0xa5; 16]] {
            assert_eq!(own(&Number::from(serial)), Some(Serial(serial)));
        }
        assert_eq!(own(&Number::new(&[1; 17]).unwrap()), None);
    }
}
