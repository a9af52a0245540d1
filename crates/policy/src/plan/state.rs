//! What is enforced, as a document, and whether a plan still fits it.

use std::collections::BTreeMap;

use model::Timestamp;
use model::ruleset::Ruleset;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Plan;

/// Schema of the state in force.
pub const ENFORCED_SCHEMA: &str = "ringfence.enforced/v1";

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
        Some(Self {
            schema: ENFORCED_SCHEMA.to_owned(),
            generation: plan.generation,
            since: now,
            files: plan.files.clone(),
            ruleset: plan.ruleset.clone()?,
        })
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
    /// The plan's own digest does not fit its files: it was edited.
    #[error(
        "the plan was edited after it was made: its files do not have its digest; make a new plan"
    )]
    Edited,
}

impl Plan {
    /// Whether the plan still fits what is in force and, where it is at hand, the folder it came from.
    pub fn fits(
        &self,
        enforced: Option<&Enforced>,
        folder: Option<&BTreeMap<String, String>>,
    ) -> Result<(), Stale> {
        if digest(&self.files) != self.folder_digest {
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
        match folder.map(|folder| differing(folder, &self.files)) {
            Some(changed) if !changed.is_empty() => Err(Stale::Folder { changed }),
            _ => Ok(()),
        }
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
