//! Foreign fingerprints as rules: hints of lower strength than our own packs.
//!
//! The files are the user's; none of them is part of this repository. What cannot be expressed is
//! skipped and listed, never guessed.

use crate::rules::format::Rule;

pub mod home_assistant;
mod literal;
pub mod recog;

/// Rules that were read, and what was left out.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// For [`crate::rules::RulePack::from_rules`].
    pub rules: Vec<Rule>,
    /// Entries that could not be expressed.
    pub skipped: Vec<Skipped>,
}

/// An entry that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Which.
    pub what: String,
    /// Why.
    pub why: String,
}

impl Imported {
    fn skip(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.skipped.push(Skipped { what: what.into(), why: why.into() });
    }
}

/// Why a file could not be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Not the format.
    #[error("not {format}: {why}; give the file as its project publishes it")]
    Format {
        /// What was expected.
        format: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Larger than any published file.
    #[error("the file is larger than {BYTES_MAX} bytes; is it the right one?")]
    TooLarge,
}

/// Largest file that is read, in bytes.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;
