//! Why a command is refused.

use serde::{Deserialize, Serialize};

/// A command that changes nothing, with a reason for whoever gave it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{what}: {why}")]
pub struct Refusal {
    /// Of which sort it is.
    pub sort: Sort,
    /// Stable word for programs: `device.unknown`.
    pub code: &'static str,
    /// What is refused.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do; empty where nothing can be done.
    pub help: String,
}

/// Sorts of refusals; a boundary maps each to its own code once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    /// The command makes no sense: malformed, out of its bounds.
    Invalid,
    /// What it names is not there.
    Unknown,
    /// It does not fit what is there by now: exists already, changed meanwhile.
    Conflict,
    /// A rule forbids it.
    Forbidden,
    /// A bound of the estate is reached.
    Full,
}

impl Refusal {
    /// A refusal without advice.
    pub fn new(
        sort: Sort,
        code: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self { sort, code, what: what.into(), why: why.into(), help: String::new() }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}
