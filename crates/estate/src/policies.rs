//! Which policy folder is meant to be in force, and which were before.
//!
//! A folder is named by the SHA-256 of its content; its files are kept beside the journal. Whoever sets a new one names the one
//! that it replaces: two people who edit the same folder do not overwrite each other unseen.

use std::collections::VecDeque;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Refusal, Sort};

/// Earlier folders that are remembered.
pub const EARLIER_MAX: usize = 64;

/// What can be commanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// Another folder is meant to be in force.
    Set {
        /// SHA-256 of its content, in hex.
        content: String,
        /// The one that it replaces; `None`: there was none.
        parent: Option<String>,
        /// Where it comes from: a commit, a file name. For people.
        origin: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Another folder is meant to be in force.
    Set {
        /// Its number; only grows.
        number: u64,
        /// SHA-256 of its content, in hex.
        content: String,
        /// Where it comes from.
        origin: String,
    },
}

impl Event {
    /// Its word in the journal.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Set { .. } => "set",
        }
    }
}

/// A folder that is or was meant to be in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number.
    pub number: u64,
    /// SHA-256 of its content, in hex.
    pub content: String,
    /// Where it comes from.
    pub origin: String,
    /// Since when.
    pub at: Timestamp,
    /// Number of its journal entry.
    pub entry: u64,
}

/// The folder in force, and earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policies {
    current: Option<Version>,
    earlier: VecDeque<Version>,
}

impl Policies {
    /// The one that is meant to be in force.
    pub const fn current(&self) -> Option<&Version> {
        self.current.as_ref()
    }

    /// Earlier ones, the newest first.
    pub fn earlier(&self) -> impl Iterator<Item = &Version> {
        self.earlier.iter()
    }

    pub(crate) fn decide(&self, command: &Command) -> Result<Vec<Event>, Refusal> {
        let Command::Set { content, parent, origin } = command;
        let now = self.current.as_ref().map(|version| &version.content);
        if now == Some(content) {
            return Ok(Vec::new());
        }
        if now != parent.as_ref() {
            let what = "the policy folder";
            let why = match now {
                Some(now) => format!("{now} is in force, not the one that this was made from"),
                None => "none is in force yet".to_owned(),
            };
            return Err(Refusal::new(Sort::Conflict, "policy.parent", what, why)
                .help("`ringfence get policy` shows it; take its changes in and apply again"));
        }
        if origin.chars().count() > 256 || origin.chars().any(char::is_control) {
            let why = "its origin is at most 256 characters without control characters";
            return Err(Refusal::new(Sort::Invalid, "policy.origin", "the policy folder", why));
        }
        let number = self.current.as_ref().map_or(1, |version| version.number.saturating_add(1));
        Ok(vec![Event::Set { number, content: content.clone(), origin: origin.clone() }])
    }

    pub(crate) fn apply(&mut self, event: &Event, entry: u64, at: Timestamp) {
        let Event::Set { number, content, origin } = event;
        let version = Version {
            number: *number,
            content: content.clone(),
            origin: origin.clone(),
            at,
            entry,
        };
        if let Some(before) = self.current.replace(version) {
            self.earlier.push_front(before);
            self.earlier.truncate(EARLIER_MAX);
        }
    }
}
