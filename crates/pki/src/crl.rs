//! Lists of revoked certificates (RFC 5280 §5), complete and as deltas: issued, read, searched.
//!
//! A list says what its authority had revoked when it was made, and counts until the next one is due. A delta says what changed
//! since a complete list; applied to it, it is the next complete one. Lists for some certificates only, and lists of somebody else's
//! certificates, are not understood and refused.

mod read;
mod write;

use model::Timestamp;
use x509_cert::spki::ObjectIdentifier as Oid;

pub(crate) use read::unjudged;
pub use read::{Refusal, read};
pub use write::{NotIssued, Order, issue};

use crate::Number;
use crate::certificate::name_text;

/// Bytes of a list that is read at all.
pub const BYTES_MAX: usize = 64 << 20;
/// Entries of a list that is read or issued.
pub const ENTRIES_MAX: usize = 1_000_000;

/// Why a certificate is revoked (RFC 5280 §5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Nobody said.
    Unspecified,
    /// Somebody else may have its key.
    KeyCompromise,
    /// Somebody else may have its authority's key.
    CaCompromise,
    /// What it says about its subject is no longer so.
    AffiliationChanged,
    /// There is another one in its place.
    Superseded,
    /// It is no longer needed.
    CessationOfOperation,
    /// For now; it may come back.
    CertificateHold,
    /// It is revoked no longer, or over; only in a delta.
    RemoveFromCrl,
    /// What it was allowed to it is no longer.
    PrivilegeWithdrawn,
    /// Somebody else may have the key of its attribute authority.
    AaCompromise,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::RemoveFromCrl,
        Self::PrivilegeWithdrawn,
        Self::AaCompromise,
    ];

    /// Its CRLReason; 7 means nothing.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::CertificateHold => 6,
            Self::RemoveFromCrl => 8,
            Self::PrivilegeWithdrawn => 9,
            Self::AaCompromise => 10,
        }
    }
}

/// A certificate that is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its serial number.
    pub serial: Number,
    /// Since when; whole seconds.
    pub revoked_at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// A list that its authority signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Crl {
    issuer: Vec<u8>,
    authority_key: Option<Vec<u8>>,
    number: Number,
    base: Option<Number>,
    this_update: Timestamp,
    next_update: Timestamp,
    /// In the order of their serial numbers, each of them once.
    entries: Vec<Entry>,
}

/// Why a delta cannot be applied (RFC 5280 §5.2.4).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotApplied {
    /// The one is no delta, or the other one is not complete.
    #[error("a delta is applied to a complete list, and these are not one of each")]
    Kinds,
    /// Somebody else's.
    #[error("the list is by {complete} and the delta by {delta}, or with another key")]
    OtherIssuer {
        /// Who issued the list.
        complete: String,
        /// Who issued the delta.
        delta: String,
    },
    /// Between the two something is missing.
    #[error("the delta is to list {base}, and this is the older list {number}; get a complete one")]
    Missing {
        /// Which list the delta is to.
        base: Number,
        /// Which one is there.
        number: Number,
    },
    /// The list has all of it.
    #[error("the delta {delta} is not newer than the list {number}")]
    Old {
        /// The delta's number.
        delta: Number,
        /// The list's number.
        number: Number,
    },
}

impl Crl {
    /// Its number: a later list has a higher one.
    pub const fn number(&self) -> Number {
        self.number
    }

    /// Of a delta, the number of the list that it is to.
    pub const fn base(&self) -> Option<Number> {
        self.base
    }

    /// Since when it counts.
    pub const fn this_update(&self) -> Timestamp {
        self.this_update
    }

    /// When the next one is due; this one counts up to and including that second.
    pub const fn next_update(&self) -> Timestamp {
        self.next_update
    }

    /// Who issued it, as a name in DER.
    pub fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// Its entries, by their serial numbers.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of a certificate of its issuer. In a delta, none means that nothing changed, and not that it is good.
    pub fn find(&self, serial: &Number) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|entry| entry.serial.cmp(serial)).ok()?;
        self.entries.get(at)
    }

    /// Whether it counts at this moment.
    pub fn check(&self, at: Timestamp) -> Result<(), Refusal> {
        if at < self.this_update {
            return Err(Refusal::NotYetValid { at: self.this_update });
        }
        match at.as_nanos().saturating_sub(self.next_update.as_nanos()) >= 1_000_000_000 {
            true => Err(Refusal::Stale { at: self.next_update }),
            false => Ok(()),
        }
    }

    /// The complete list that a delta makes of this one.
    pub fn apply(&self, delta: &Self) -> Result<Self, NotApplied> {
        let (None, Some(base)) = (self.base, delta.base) else {
            return Err(NotApplied::Kinds);
        };
        if self.issuer != delta.issuer || self.authority_key != delta.authority_key {
            let (complete, delta) = (name_text(&self.issuer), name_text(&delta.issuer));
            return Err(NotApplied::OtherIssuer { complete, delta });
        }
        if self.number < base {
            return Err(NotApplied::Missing { base, number: self.number });
        }
        if delta.number <= self.number {
            return Err(NotApplied::Old { delta: delta.number, number: self.number });
        }
        let entries = merge(&self.entries, &delta.entries);
        Ok(Self { base: None, entries, ..delta.clone() })
    }
}

/// Entries of a delta that makes `now` of `then`: what is new or says something else, and what is no longer there. Both are in the
/// order of their serial numbers, as [`Crl::entries`] are.
pub fn difference(then: &[Entry], now: &[Entry]) -> Vec<Entry> {
    let mut changed = Vec::new();
    walk(then, now, |pair| match pair {
        (Some(old), Some(new)) if old == new => {}
        (_, Some(new)) => changed.push(*new),
        (Some(old), None) => changed.push(Entry { reason: Reason::RemoveFromCrl, ..*old }),
        (None, None) => {}
    });
    changed
}

fn merge(complete: &[Entry], delta: &[Entry]) -> Vec<Entry> {
    let mut merged = Vec::with_capacity(complete.len().saturating_add(delta.len()));
    walk(complete, delta, |pair| match pair {
        (_, Some(new)) if new.reason == Reason::RemoveFromCrl => {}
        (_, Some(entry)) | (Some(entry), None) => merged.push(*entry),
        (None, None) => {}
    });
    merged
}

/// Both in step, by serial numbers.
fn walk<'e>(
    mut left: &'e [Entry],
    mut right: &'e [Entry],
    mut visit: impl FnMut((Option<&'e Entry>, Option<&'e Entry>)),
) {
    loop {
        let pair = match (left.first(), right.first()) {
            (None, None) => return,
            (Some(l), Some(r)) if l.serial < r.serial => (Some(l), None),
            (Some(l), Some(r)) if l.serial > r.serial => (None, Some(r)),
            both => both,
        };
        left = left.get(usize::from(pair.0.is_some())..).unwrap_or_default();
        right = right.get(usize::from(pair.1.is_some())..).unwrap_or_default();
        visit(pair);
    }
}

impl std::fmt::Debug for Crl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crl({}", self.number)?;
        if let Some(base) = self.base {
            write!(f, " to {base}")?;
        }
        write!(f, ", {} entries)", self.entries.len())
    }
}

mod oid {
    use super::Oid;

    pub(super) const NUMBER: Oid = Oid::new_unwrap("2.5.29.20");
    pub(super) const REASON: Oid = Oid::new_unwrap("2.5.29.21");
    pub(super) const DELTA: Oid = Oid::new_unwrap("2.5.29.27");
    pub(super) const AUTHORITY_KEY: Oid = Oid::new_unwrap("2.5.29.35");
    pub(super) const FRESHEST: Oid = Oid::new_unwrap("2.5.29.46");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(serial: u64, reason: Reason) -> Entry {
        Entry { serial: Number::from(serial), revoked_at: Timestamp::EPOCH, reason }
    }

    #[test]
    fn a_difference_makes_the_one_of_the_other() {
        let held = entry(2, Reason::CertificateHold);
        let then = [entry(1, Reason::Unspecified), held, entry(4, Reason::Superseded)];
        let now = [
            entry(1, Reason::Unspecified),
            entry(3, Reason::KeyCompromise),
            entry(4, Reason::Unspecified),
        ];
        let changed = difference(&then, &now);
        let removed = Entry { reason: Reason::RemoveFromCrl, ..held };
        assert_eq!(changed, [removed, now[1], now[2]]);
        assert_eq!(merge(&then, &changed), now);
        assert_eq!(merge(&[], &[removed]), []);
        assert_eq!(difference(&now, &now), []);
        assert_eq!(merge(&then, &[]), then);
    }
}
