//! Where things are in the folder of a journal, and how they are read without opening it.

use std::fs;
use std::path::{Path, PathBuf};

use journal::VerifierKey;
use journal::checkpoint::SignedCheckpoint;
use journal::policy::Policy;
use store::{Disk, TileFolder};

use super::fault::Fault;

/// The folder of a journal.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a Path);

impl<'a> Place<'a> {
    pub(super) const fn new(folder: &'a Path) -> Self {
        Self(folder)
    }

    pub(super) fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }

    pub(super) fn verifier_key(&self) -> PathBuf {
        self.0.join("log.vkey")
    }

    pub(super) fn database(&self) -> PathBuf {
        self.0.join("journal.db")
    }

    pub(super) fn signed(&self) -> PathBuf {
        self.0.join("signed")
    }

    pub(super) fn tiles(&self) -> PathBuf {
        self.0.join("log")
    }

    pub(super) fn witnesses(&self) -> PathBuf {
        self.0.join("witnesses")
    }
}

/// The tiles of a journal's folder, or of a folder that is nothing else.
pub(super) fn tiles(folder: &Path) -> Result<TileFolder<Disk>, Fault> {
    for root in [Place::new(folder).tiles(), folder.to_owned()] {
        let tiles = TileFolder::new(Disk, &root);
        if tiles.checkpoint_path().exists() {
            return Ok(tiles);
        }
    }
    Err(Fault::NoJournal(folder.to_owned()))
}

/// The published checkpoint, whoever signed it.
pub(super) fn checkpoint(tiles: &TileFolder<Disk>) -> Result<SignedCheckpoint, Fault> {
    let path = tiles.checkpoint_path();
    let note = tiles.checkpoint().map_err(Fault::io(&path))?;
    let note = note.ok_or_else(|| Fault::NoFile(path.clone()))?;
    SignedCheckpoint::decode(&note).map_err(Fault::malformed(path.display().to_string()))
}

/// The verifier key in a file.
pub(super) fn verifier_key(path: &Path) -> Result<VerifierKey, Fault> {
    let text = fs::read_to_string(path).map_err(Fault::io(path))?;
    text.trim_end().parse().map_err(Fault::malformed(path.display().to_string()))
}

/// A policy in a file.
pub(super) fn policy(path: &Path) -> Result<Policy, Fault> {
    let text = fs::read_to_string(path).map_err(Fault::io(path))?;
    text.parse().map_err(Fault::malformed(path.display().to_string()))
}

/// Whom to believe of what is in `folder`, if it is in one: as it was said, or the key beside it.
pub(super) fn believed(
    folder: Option<&Path>,
    what: &Path,
    key: Option<&str>,
    policy_file: Option<&Path>,
) -> Result<Policy, Fault> {
    if let Some(path) = policy_file {
        return policy(path);
    }
    if let Some(key) = key {
        // A key has two plus signs; what has none is a file.
        let key = match key.contains('+') && !Path::new(key).exists() {
            true => key.parse().map_err(Fault::malformed("--key"))?,
            false => verifier_key(key.as_ref())?,
        };
        return Ok(Policy::log_alone(key));
    }
    let path = folder.map(|folder| Place::new(folder).verifier_key()).filter(|p| p.exists());
    let path = path.ok_or_else(|| Fault::NoKey(what.to_owned()))?;
    eprintln!(
        "ringfence: the key is the one in the folder; whoever changed the folder may have changed it too (--key)"
    );
    Ok(Policy::log_alone(verifier_key(&path)?))
}
