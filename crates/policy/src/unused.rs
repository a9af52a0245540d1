//! Rules that nothing has used: candidates for taking out.

use std::collections::BTreeMap;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::folder::Folder;
use crate::language::Effect;
use crate::lower::{Lowered, index};
use crate::plan::Place;

/// Schema of a tally of hits.
pub const SCHEMA: &str = "ringfence.hits/v1";

/// How often rules were used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hits {
    /// [`SCHEMA`].
    pub schema: String,
    /// Since when it is counted.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Flows by rule; a rule that is not here was not counted.
    pub rules: BTreeMap<String, u64>,
}

/// A permit that was never used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unused {
    /// Where it stands.
    pub rule: Place,
    /// What is known of it.
    pub state: State,
    /// Days for which it was counted; none when it was not.
    pub days: Option<u64>,
    /// Last recorded use in `estate.toml`, from before it was enforced.
    pub recorded: Option<Timestamp>,
}

/// Why a rule counts as unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It was in force and nothing used it.
    NeverHit,
    /// It grants nothing to anybody today.
    GrantsNothing,
    /// It was not in force while hits were counted.
    NotCounted,
}

impl State {
    /// A stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NeverHit => "never hit",
            Self::GrantsNothing => "grants nothing",
            Self::NotCounted => "not counted",
        }
    }
}

/// Enforced permits that were never used.
pub fn unused(folder: &Folder, lowered: &Lowered, hits: &Hits) -> Vec<Unused> {
    let mut grants = vec![false; folder.policies.len()];
    for grant in lowered.profiles.iter().flatten() {
        if let Some(grants) = grants.get_mut(index(grant.policy)) {
            *grants = true;
        }
    }
    let days = hits.until.seconds_since(hits.since).max(0.0) / 86_400.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole days for people; a negative span was cut to none"
    )]
    let days = days as u64;
    let mut unused = Vec::new();
    for (policy, grants) in folder.policies.iter().zip(grants) {
        if policy.effect != Effect::Permit || !policy.concerns("connect") {
            continue;
        }
        let state = match hits.rules.get(&policy.id) {
            Some(0) => State::NeverHit,
            Some(_) => continue,
            None if !grants => State::GrantsNothing,
            None => State::NotCounted,
        };
        let recorded = folder.estate.conduits.iter().filter(|c| c.rule == policy.id);
        unused.push(Unused {
            rule: Place::of(policy),
            state,
            days: (state == State::NeverHit).then_some(days),
            recorded: recorded.map(|c| c.last_seen).max(),
        });
    }
    unused
}
