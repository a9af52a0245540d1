//! What the estate's authorities publish for others: their certificates, lists of revoked ones, and answers about single ones (OCSP).
//!
//! There is one list for each authority that issues, or did and has certificates that are not over. A complete list is made when somebody asks
//! and the last one is an hour old, or something was revoked since. All that changed since a list of at most a day ago is in the delta. No list
//! is kept over a restart: numbers of lists grow with the journal, then with starts, then one by one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use estate::Estate;
use estate::identities::{self, Reason, Revoked, Serial};
use estate::side::Digest;
use model::Timestamp;
use pki::crl::{self, Entry};
use pki::ocsp::{self, Failure, Times};
use pki::{Malformed, Number, Pem};

use crate::Hub;
use crate::authority::{Authority, Issuing};
use crate::state::{StateError, StateFolder};

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

/// File of the state folder that counts starts.
const STARTS: &str = "pki/starts";

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum NotPublished {
    /// The authority signs none.
    #[error("the list of revoked certificates cannot be signed: {0}")]
    List(#[from] crl::NotIssued),
    /// A certificate that cannot be written.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// Nobody of that name issues certificates, or did a short while ago.
    #[error("no authority with this SHA-256 has certificates that are not over")]
    Unknown,
}

/// What the authorities publish.
pub struct Published {
    hub: Arc<Hub>,
    authority: Arc<Authority>,
    /// Below which URL others find it: `https://hq.example.org:8443/pki`.
    base: Option<String>,
    /// The how manieth start this is.
    start: u32,
    /// By SHA-256 of the authority that issued.
    kept: Mutex<BTreeMap<Digest, Kept>>,
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

/// What a number is made of: entries of the journal, then the start, with a running number.
type Stamp = (u64, u64);

impl std::fmt::Debug for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Published").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Published {
    /// Of an authority; found by others below a URL.
    pub fn new(
        hub: Arc<Hub>,
        authority: Arc<Authority>,
        base: Option<String>,
        folder: &StateFolder,
    ) -> Result<Self, StateError> {
        let start = another_start(folder, hub.now())?;
        Ok(Self { hub, authority, base, start, kept: Mutex::default() })
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
        Ok(Pem::write("CERTIFICATE", self.authority.issuing().certificate().der())?)
    }

    /// All that have lists, in PEM: the one that issues today first.
    pub fn all_issuing(&self) -> Result<String, NotPublished> {
        let all = self.authority.all_issuing();
        let all = all.map(|one| Pem::write("CERTIFICATE", one.certificate().der()));
        Ok(all.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// All that is revoked of one authority's certificates; `None`: of the one that issues today.
    pub fn complete(&self, issuer: Option<Digest>) -> Result<List, NotPublished> {
        Ok(self.fresh(issuer)?.0)
    }

    /// What was revoked since a complete list of at most a day ago.
    pub fn delta(&self, issuer: Option<Digest>) -> Result<List, NotPublished> {
        Ok(self.fresh(issuer)?.1)
    }

    /// Of every authority that has issued certificates which would count.
    pub fn lists(&self) -> Result<Vec<Lists>, NotPublished> {
        let all = self.authority.all_issuing().map(|one| {
            let (complete, delta) = self.fresh(Some(one.sha256()))?;
            let authority = Bytes::copy_from_slice(one.certificate().der());
            Ok(Lists { authority, complete, delta })
        });
        all.collect()
    }

    fn fresh(&self, issuer: Option<Digest>) -> Result<(List, List), NotPublished> {
        let mut all = self.authority.all_issuing();
        let issuing = all.find(|one| issuer.is_none_or(|issuer| one.sha256() == issuer));
        let issuing = issuing.ok_or(NotPublished::Unknown)?;
        let mut kept = self.kept();
        let kept = kept.entry(issuing.sha256()).or_default();
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
        self.renew(issuing, kept, now)
    }

    fn renew(
        &self,
        issuing: &Issuing,
        kept: &mut Kept,
        now: Timestamp,
    ) -> Result<(List, List), NotPublished> {
        let (entries, size, revised) = self.hub.read(|estate| {
            let listed = listed(estate, issuing.sha256(), now);
            (listed, estate.size(), estate.identities().revised())
        });
        let is_old = |base: &Base| {
            let age = now.as_nanos().saturating_sub(base.made.as_nanos());
            !(0..BASE_NANOS).contains(&age)
        };
        // A list and its delta say the same, and have the same number (RFC 5280 §5.2.3). The delta to the first list is younger than it.
        let old = kept.base.take().filter(|base| !is_old(base));
        let number = kept.next(size, self.start);
        let complete = self.sign(issuing, number, None, now, &entries)?;
        let (delta_number, base) = match old {
            Some(base) => (number, base),
            None => {
                (kept.next(size, self.start), Base { number, made: now, entries: entries.clone() })
            }
        };
        let changed = crl::difference(&base.entries, &entries);
        let delta = self.sign(issuing, delta_number, Some(base.number), now, &changed)?;
        let list =
            |der, number, base| List { der: Bytes::from(der), number, base, made: now, revised };
        let (complete, delta) =
            (list(complete, number, None), list(delta, delta_number, Some(base.number)));
        kept.base = Some(base);
        (kept.complete, kept.delta) = (Some(complete.clone()), Some(delta.clone()));
        Ok((complete, delta))
    }

    /// Where the deltas of an authority are.
    fn delta_url(&self, issuing: &Issuing) -> Option<String> {
        let base = self.base.as_ref()?;
        let today = std::ptr::eq(issuing, self.authority.issuing());
        Some(match today {
            true => format!("{base}/issuing-delta.crl"),
            false => format!("{base}/issuers/{}-delta.crl", issuing.sha256()),
        })
    }

    fn sign(
        &self,
        issuing: &Issuing,
        number: Number,
        base: Option<Number>,
        now: Timestamp,
        entries: &[Entry],
    ) -> Result<Vec<u8>, NotPublished> {
        let counts = if base.is_some() { DELTA_NANOS } else { COUNTS_NANOS };
        let url = self.delta_url(issuing).filter(|_| base.is_none());
        let order = crl::Order {
            number,
            base,
            this_update: now.plus_nanos(-EARLIER_NANOS),
            // The next one is there when it is asked for.
            next_update: now.plus_nanos(counts),
            freshest: url.as_deref(),
            entries,
        };
        Ok(issuing.list(&order)?)
    }

    /// Answers a request in DER; what is no request, or about others, gets an answer that says so.
    pub fn answer(&self, request: &[u8]) -> Vec<u8> {
        let Ok(request) = ocsp::read(request) else { return ocsp::refuse(Failure::Malformed) };
        let now = whole_seconds(self.hub.now());
        let times =
            Times { produced_at: now, this_update: now, next_update: now.plus_nanos(FRESH_NANOS) };
        let mut others = ocsp::refuse(Failure::Unauthorized);
        for issuing in self.authority.all_issuing() {
            let issuer = issuing.sha256();
            match issuing.answer(&request, &times, |serial| self.status(issuer, serial)) {
                Ok(answer) => return answer,
                Err(ocsp::NotAnswered::NotOurs) => {}
                Err(error) => others = ocsp::refuse(error.failure()),
            }
        }
        others
    }

    fn status(&self, issuer: Digest, serial: &Number) -> ocsp::Status {
        let Some(serial) = own(serial) else { return ocsp::Status::Unknown };
        self.hub.read(|estate| match estate.identities().status(issuer, &serial) {
            None => ocsp::Status::Unknown,
            Some(identities::Status::Good) => ocsp::Status::Good,
            Some(identities::Status::Revoked(revoked)) => {
                ocsp::Status::of(Some(&entry(serial, &revoked)))
            }
        })
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<Digest, Kept>> {
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
    /// A number that is higher than all before it, whatever the clock says.
    fn next(&mut self, size: u64, start: u32) -> Number {
        let after = (self.last.0, self.last.1.saturating_add(1));
        self.last = (size, u64::from(start) << 32).max(after);
        let (size, running) = self.last;
        Number::from((u128::from(size) << 64 | u128::from(running)).to_be_bytes())
    }
}

/// Counts this start: one more than the last, and no less than the time in seconds.
fn another_start(folder: &StateFolder, now: Timestamp) -> Result<u32, StateError> {
    let last = folder.read(STARTS)?.unwrap_or_default();
    let last: u32 = String::from_utf8_lossy(&last).trim().parse().unwrap_or_default();
    let seconds = u32::try_from(now.as_nanos().div_euclid(1_000_000_000)).unwrap_or_default();
    let start = seconds.max(last.saturating_add(1));
    folder.write(STARTS, format!("{start}\n").as_bytes(), 0o644)?;
    Ok(start)
}

/// What a list has, by serial number. One that is over stays for one list more (RFC 5280 §3.3).
fn listed(estate: &Estate, issuer: Digest, now: Timestamp) -> Vec<Entry> {
    let since = now.plus_nanos(-EVERY_NANOS.saturating_mul(2));
    let all = estate.identities().revoked(issuer, since);
    let mut all: Vec<Entry> = all.map(|(serial, revoked)| entry(serial, &revoked)).collect();
    all.sort_unstable_by_key(|entry| entry.serial);
    all
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
pub(crate) fn own(number: &Number) -> Option<Serial> {
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
    fn numbers_grow_with_the_journal_with_starts_and_without_either() {
        let path = std::env::temp_dir().join(format!("rf-starts-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let folder = StateFolder::open(&path).unwrap();
        let at = |secs: i64| Timestamp::from_secs(1_800_000_000 + secs, 0);
        let mut last = Number::from(0);
        // The clock is set back over a restart, and far ahead before one.
        for secs in [0, 0, -900, 1_000, -86_400, -86_400] {
            let start = another_start(&folder, at(secs)).unwrap();
            let mut kept = Kept::default();
            for size in [7, 7, 7] {
                let next = kept.next(size, start);
                assert!(next > last, "{secs} {size}: {next} after {last}");
                last = next;
            }
        }
        let mut kept = Kept::default();
        for size in [8, 8, 9, 7] {
            let next = kept.next(size, 1);
            assert!(next > last);
            last = next;
        }
        drop(folder);
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn serial_numbers_both_ways() {
        for serial in [[0; 16], [0xff; 16], [0xa5; 16]] {
            assert_eq!(own(&Number::from(serial)), Some(Serial(serial)));
        }
        assert_eq!(own(&Number::new(&[1; 17]).unwrap()), None);
    }
}
