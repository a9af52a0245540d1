//! Where things are in the folder of a journal, and how they are read without opening it.

use std::fs;
use std::path::{Path, PathBuf};

use journal::VerifierKey;
use journal::checkpoint::SignedCheckpoint;
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
