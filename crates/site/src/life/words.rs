//! The words of a site's life: its state file, its journal, and what it answers.

use std::collections::BTreeMap;

use model::Timestamp;
use model::ruleset::Mode;
use serde::{Deserialize, Serialize};

use super::{GRANTS_MAX, REASON_MAX};
use crate::gate::Watched;

/// Name of a folder's content: the hash of its files.
pub type Content = String;

/// What survives a restart. Saved whole, before anything that depends on it happens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Durable {
    /// Highest generation number ever given out.
    pub generation: u64,
    /// What the last order was made of.
    pub order: Option<Order>,
    /// An applied change that nobody has confirmed yet.
    pub pending: Option<Pending>,
    /// Content that was rolled back: not taken again by itself.
    pub rolled_back: Option<Content>,
    /// Modes that differ from the folder's.
    pub modes: BTreeMap<String, Override>,
    /// Emergency grants that have not ended.
    pub grants: Vec<Grant>,
    /// What was seen in each zone, for the promotion gate.
    pub watched: BTreeMap<String, Watched>,
}

/// What is to be enforced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Its number.
    pub generation: u64,
    /// The number before it.
    pub parent: Option<u64>,
    /// The folder's content.
    pub content: Content,
    /// Everything passes and is counted.
    pub all_shadow: bool,
    /// Modes that differ from the folder's.
    pub modes: BTreeMap<String, Mode>,
    /// Emergency grants in force.
    pub grants: Vec<Grant>,
    /// Why it was made.
    pub why: String,
}

/// An applied change that nobody has confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// The new content.
    pub content: Content,
    /// What was enforced before; none: nothing was, and a rollback puts the new content in shadow.
    pub previous: Option<Content>,
    /// When it is rolled back.
    pub until: Timestamp,
}

/// A mode that the site decided, in place of the folder's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The mode.
    pub mode: Mode,
    /// Since when.
    pub since: Timestamp,
    /// Why, and on whose word.
    pub why: String,
}

/// An emergency grant: paths from and to a zone, for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Its name, also in the kernel: `break-glass-7`.
    pub id: String,
    /// The zone.
    pub zone: String,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub by: String,
    /// Since when.
    pub from: Timestamp,
    /// When the kernel ends it.
    pub until: Timestamp,
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Stable word: `break-glass`, `rolled-back`….
    pub event: String,
    /// Who, where a person asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// The zone, where it is about one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The generation it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

impl Entry {
    /// An entry with nothing but its word and who asked.
    pub fn new(event: &str, by: &str) -> Self {
        Self {
            event: event.to_owned(),
            by: by.to_owned(),
            zone: String::new(),
            reason: String::new(),
            until: None,
            generation: None,
        }
    }
}

/// What came of a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flown {
    /// The kernel has counted it.
    Counted,
    /// It was not counted, or could not fly; it may another time.
    Missed(String),
    /// None can ever fly for this zone.
    NotProvable(String),
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is enforced yet.
    #[error("nothing is enforced yet: no policy folder was accepted")]
    NothingInForce,
    /// There is nothing to confirm.
    #[error("nothing waits for a confirmation")]
    NothingPending,
    /// The zone does not exist.
    #[error("there is no zone `{zone}`; the zones are: {known}")]
    NoSuchZone {
        /// As asked.
        zone: String,
        /// What there is.
        known: String,
    },
    /// No reason.
    #[error("a reason is needed: it is read when the emergency is over")]
    NoReason,
    /// Reason too long.
    #[error("the reason is longer than {REASON_MAX} characters")]
    LongReason,
    /// No time, or too much.
    #[error(
        "break-glass lasts from 1 second to {max_s} seconds here, and {asked_s} were asked for; ask again when it ends"
    )]
    Duration {
        /// Asked.
        asked_s: u64,
        /// Longest (`break_glass.max_s` in `site.toml`).
        max_s: u64,
    },
    /// Too many at once.
    #[error("{GRANTS_MAX} break-glass grants are open already; end one first")]
    TooMany,
    /// No grant for the zone.
    #[error("no break-glass is open for zone `{0}`")]
    NoGrant(String),
    /// The zone is enforced already.
    #[error("zone `{0}` is enforced already")]
    Enforced(String),
    /// The promotion gate is closed.
    #[error("zone `{zone}` stays in shadow: {}", reasons.join("; "))]
    GateClosed {
        /// The zone.
        zone: String,
        /// What is missing.
        reasons: Vec<String>,
    },
}
