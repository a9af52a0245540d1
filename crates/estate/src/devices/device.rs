//! One device as the estate holds it: small, because there are a million.

use std::net::IpAddr;
use std::sync::Arc;

use model::{Assurance, DeviceId, SiteId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{CLAIMS_MAX, Claim, Field, HISTORY_MAX};
use crate::identities::Limit;
use crate::identities::ladder::healthy;

/// What the source of an assurance begins with; what follows is a word of [`Limit`].
pub(super) const ASSURED_BY: &str = "identity/";

/// How alive a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// There are signs of life.
    Active,
    /// None for longer than its type's timeout.
    Stale,
    /// Gone for good; its id and identifiers stay taken.
    Retired,
}

impl State {
    /// Its word in documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Stale => "stale",
            Self::Retired => "retired",
        }
    }
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its id, for ever.
    pub id: DeviceId,
    /// Where it is.
    pub site: SiteId,
    /// How alive it is.
    pub state: State,
    /// It was seen after it was retired.
    pub resurfaced: bool,
    /// First sign of life, in nanoseconds since the epoch.
    pub(super) first_seen: i64,
    /// Last one that was worth an event.
    pub(super) last_seen: i64,
    /// Its network addresses, where its site saw it last.
    pub addresses: Box<[IpAddr]>,
    /// What identifies it, as sources say it.
    pub keys: Box<[Arc<str>]>,
    /// What sources call it, as the index has it.
    pub(super) subjects: Box<[Arc<str>]>,
    /// Everything that is said about it, by field.
    pub(super) claims: Box<[Claim]>,
    /// Labels of people, by name.
    pub labels: Box<[(Arc<str>, Arc<str>)]>,
    /// Ids it had before merges.
    pub aliases: Box<[DeviceId]>,
    /// Others that have an identifier of it too.
    pub confused_with: Box<[DeviceId]>,
    /// Numbers of the entries that changed it, oldest first.
    pub(super) history: Box<[u64]>,
}

impl Device {
    /// First sign of life.
    pub const fn first_seen(&self) -> Timestamp {
        Timestamp::from_nanos(self.first_seen)
    }

    /// Last sign of life; exact to [`super::SEEN_EVERY_S`].
    pub const fn last_seen(&self) -> Timestamp {
        Timestamp::from_nanos(self.last_seen)
    }

    /// Everything that is said about it, by field.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// What is believed about a field: what a person decided, else the surest, else the newest.
    pub fn believed(&self, field: Field) -> Option<&Claim> {
        self.claims.iter().filter(|c| c.field == field).max_by(|a, b| a.weight().cmp(&b.weight()))
    }

    /// The believed value.
    pub fn value(&self, field: Field) -> Option<&str> {
        self.believed(field).map(|claim| &*claim.value)
    }

    /// Where it stands on the ladder, and why no higher: by its evidence, and by how it behaves.
    pub fn assurance(&self) -> (Assurance, Limit) {
        let (level, limit) = self.shown();
        match healthy(level, self.value(Field::Posture)) {
            lower if lower < level => (lower, Limit::Health),
            _ => (level, limit),
        }
    }

    /// The same by its evidence alone.
    pub(crate) fn shown(&self) -> (Assurance, Limit) {
        let claim = self.believed(Field::Assurance);
        let level = claim.and_then(|c| Assurance::ALL.into_iter().find(|a| a.word() == &*c.value));
        let limit = claim.and_then(|c| Limit::of(c.source.strip_prefix(ASSURED_BY)?));
        (level.unwrap_or_default(), limit.unwrap_or(Limit::Evidence))
    }

    /// The believed value as policies see it; evidence of identity counts as far as health lets it.
    pub fn asked(&self, field: Field) -> Option<&str> {
        let value = self.value(field)?;
        match field {
            Field::Assurance => Some(self.assurance().0.word()),
            _ => Some(value),
        }
    }

    /// Value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(n, _)| &**n == name).map(|(_, value)| &**value)
    }

    /// Numbers of the journal entries that changed it, oldest first, at most [`HISTORY_MAX`].
    pub fn history(&self) -> &[u64] {
        &self.history
    }

    /// The entry that changed it last: what an ETag says.
    pub fn changed_by(&self) -> u64 {
        self.history.last().copied().unwrap_or(0)
    }

    /// What one source says about a field.
    pub(super) fn claim_of(&self, field: Field, source: &str) -> Option<&Claim> {
        self.claims.iter().find(|c| c.field == field && &*c.source == source)
    }

    /// Puts a claim in place of what its source said about the field before.
    pub(super) fn put(&mut self, claim: Claim) {
        let mut claims = std::mem::take(&mut self.claims).into_vec();
        claims.retain(|c| (c.field, &c.source) != (claim.field, &claim.source));
        if claims.len() >= CLAIMS_MAX {
            // What loses against everything else says the least.
            let weakest =
                claims.iter().enumerate().min_by(|(_, a), (_, b)| a.weight().cmp(&b.weight()));
            if let Some((at, _)) = weakest {
                claims.remove(at);
            }
        }
        let at = claims.partition_point(|c| (c.field, &c.source) < (claim.field, &claim.source));
        claims.insert(at, claim);
        self.claims = claims.into_boxed_slice();
    }

    /// Forgets what one source, or every decision, said about a field.
    pub(super) fn forget(&mut self, gone: impl Fn(&Claim) -> bool) {
        if self.claims.iter().any(&gone) {
            let mut claims = std::mem::take(&mut self.claims).into_vec();
            claims.retain(|c| !gone(c));
            self.claims = claims.into_boxed_slice();
        }
    }

    /// A sign of life. An old one revives nobody.
    pub(super) fn sign(&mut self, at: Timestamp) {
        if at.as_nanos() > self.last_seen {
            self.last_seen = at.as_nanos();
            if self.state == State::Stale {
                self.state = State::Active;
            }
        }
    }

    pub(super) fn note(&mut self, entry: u64) {
        if self.history.last() == Some(&entry) {
            return;
        }
        let mut history = std::mem::take(&mut self.history).into_vec();
        if history.len() >= HISTORY_MAX {
            history.remove(0);
        }
        history.push(entry);
        self.history = history.into_boxed_slice();
    }
}

/// Adds to a list that is short and rarely grows.
pub(super) fn push<T>(list: &mut Box<[T]>, value: T) {
    let mut all = std::mem::take(list).into_vec();
    all.push(value);
    *list = all.into_boxed_slice();
}
