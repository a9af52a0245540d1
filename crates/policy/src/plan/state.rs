//! What is enforced, as a document, and whether a plan still fits it.

use std::collections::BTreeMap;

use model::Timestamp;
use model::ruleset::Ruleset;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Plan, Side, next_generation};
use crate::folder::parse;

/// Schema of the state in force.
pub const ENFORCED_SCHEMA: &str = "ringfence.enforced/v1";

/// Name of the document in the folder where an enforcement point keeps its state.
pub const ENFORCED_FILE: &str = "enforced.json";

/// The policy in force at an enforcement point: what a plan is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    /// [`ENFORCED_SCHEMA`].
    pub schema: String,
    /// Generation in force.
    pub generation: u64,
    /// Since when.
    pub since: Timestamp,
    /// The folder it was compiled from.
    pub files: BTreeMap<String, String>,
    /// The ruleset.
    pub ruleset: Ruleset,
}

impl Enforced {
    /// What is in force once `plan` is applied; none for a refused plan.
    pub fn after(plan: &Plan, now: Timestamp) -> Option<Self> {
        Some(Self::of(plan.files.clone(), plan.ruleset.clone()?, now))
    }

    /// What is in force since a ruleset is that was compiled from `files`: whoever enforces one writes this
    /// document, and plans are made against it.
    pub fn of(files: BTreeMap<String, String>, ruleset: Ruleset, since: Timestamp) -> Self {
        let schema = ENFORCED_SCHEMA.to_owned();
        Self { schema, generation: ruleset.generation, since, files, ruleset }
    }

    /// Digest of generation and folder.
    pub fn digest(&self) -> String {
        let mut of = self.files.clone();
        of.insert(" generation".to_owned(), self.generation.to_string());
        digest(&of)
    }
}

/// Why a plan cannot be applied any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// Something else is in force than when it was made.
    #[error(
        "the plan was made against {planned}, and {found} is in force now{}; make a new plan",
        if changed.is_empty() { String::new() } else { format!(" (changed since: {})", changed.join(", ")) }
    )]
    Parent {
        /// Generation it was made against, in words.
        planned: String,
        /// Generation in force, in words.
        found: String,
        /// Files that differ between what is in force and the plan's folder.
        changed: Vec<String>,
    },
    /// The folder was edited after the plan was made.
    #[error("the folder changed after the plan was made ({}); make a new plan", changed.join(", "))]
    Folder {
        /// Files that were added, removed or edited.
        changed: Vec<String>,
    },
    /// The plan is not what its files give: they do not have its digest, or do not compile to its ruleset.
    #[error(
        "the plan is not what its folder gives: it was edited after it was made, or made by another version of this program; make a new plan"
    )]
    Edited,
}

impl Plan {
    /// Whether the plan is what its files give, and still fits what is in force and, where it is at hand,
    /// the folder it came from. The files are compiled again: a ruleset that they do not give is not applied.
    pub fn fits(
        &self,
        enforced: Option<&Enforced>,
        folder: Option<&BTreeMap<String, String>>,
    ) -> Result<(), Stale> {
        if digest(&self.files) != self.folder_digest || !self.is_what_its_files_give() {
            return Err(Stale::Edited);
        }
        if self.parent_digest != enforced.map(Enforced::digest) {
            let word = |generation: Option<u64>| match generation {
                Some(generation) => format!("generation {generation}"),
                None => "nothing".to_owned(),
            };
            let changed =
                enforced.map_or_else(Vec::new, |enforced| differing(&enforced.files, &self.files));
            let found = word(enforced.map(|e| e.generation));
            return Err(Stale::Parent { planned: word(self.parent), found, changed });
        }
        if self.generation != next_generation(enforced)
            || self.parent != enforced.map(|e| e.generation)
        {
            return Err(Stale::Edited);
        }
        match folder.map(|folder| differing(folder, &self.files)) {
            Some(changed) if !changed.is_empty() => Err(Stale::Folder { changed }),
            _ => Ok(()),
        }
    }
}

impl Plan {
    fn is_what_its_files_give(&self) -> bool {
        let Ok(folder) = parse(&self.files) else {
            return false;
        };
        let (refused, ruleset) =
            Side::of(folder).outcome(self.made_at, self.generation, self.parent);
        (refused, ruleset) == (self.refused.clone(), self.ruleset.clone())
    }
}

/// Names of files whose text differs.
fn differing(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Vec<String> {
    let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
    names.sort();
    names.dedup();
    names.into_iter().filter(|name| a.get(*name) != b.get(*name)).cloned().collect()
}

/// SHA-256 over names and texts, each with its length in front, as hexadecimal digits.
pub fn digest(files: &BTreeMap<String, String>) -> String {
    let mut sum = Sha256::new();
    for text in files.iter().flat_map(|(name, text)| [name, text]) {
        sum.update(super::long(text.len()).to_be_bytes());
        sum.update(text.as_bytes());
    }
    sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
