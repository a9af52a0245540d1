//! What a backup says of itself: whose it is, of when, how far its journal goes, and every file with its digest.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crypto::Sha256;
use model::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::{BackupError, io_error};
use super::examine::Facts;
use super::stage;
use crate::blobs::hex;

/// The format that is written, and the only one that is read.
pub const SCHEMA: &str = "ringfence.backup/v1";
/// Name of the manifest in the archive.
pub(super) const NAME: &str = "manifest.json";
/// Most bytes of a manifest: some hundred thousand files.
pub(super) const BYTES_MAX: u64 = 64 << 20;
/// Longest name of a file, in bytes: what a tar header carries without extensions.
const NAME_BYTES_MAX: usize = 100;

/// The manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the program that made it.
    pub program: String,
    /// The estate's name.
    pub estate: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// How far the journal goes.
    pub journal: Journal,
    /// Every file, in the order of its name.
    pub files: Vec<Kept>,
}

/// How far a journal goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Its name.
    pub origin: String,
    /// Entries.
    pub entries: u64,
    /// Root of their tree, in base64 as in a checkpoint.
    pub root: String,
    /// Entries under the head that was signed last; none: nothing was signed.
    pub signed: Option<u64>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Its path in the state folder.
    pub path: String,
    /// Its bytes.
    pub size_bytes: u64,
    /// SHA-256 of them, in hex.
    pub sha256: String,
    /// Others may read it.
    pub public: bool,
}

impl Manifest {
    /// Bytes of all files.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size_bytes))
    }

    /// Whether what was unpacked is what this says.
    pub(super) fn agrees(&self, facts: &Facts) -> Result<(), BackupError> {
        let Journal { origin, entries, root, signed } = &self.journal;
        let up_to = |n: &Option<u64>| n.map_or_else(|| "nothing".to_owned(), |n| n.to_string());
        for (what, found, said) in [
            ("the estate's name", facts.estate.clone(), self.estate.clone()),
            ("the journal's name", facts.origin.clone(), origin.clone()),
            ("the number of its entries", facts.entries.to_string(), entries.to_string()),
            ("the root of its entries", facts.root.clone(), root.clone()),
            ("how much of it was signed", up_to(&facts.signed), up_to(signed)),
        ] {
            if found != said {
                return Err(BackupError::Other { what, found, said });
            }
        }
        Ok(())
    }
}

/// Reads a manifest: its version first, so that a newer one is told from a broken one.
pub(super) fn read(bytes: &[u8], backup: &Path) -> Result<Manifest, BackupError> {
    #[derive(Deserialize)]
    struct Version {
        schema: String,
    }
    let path = || backup.to_owned();
    let wrong = |why: String| BackupError::Damaged { path: path(), why };
    let unreadable = |e: serde_json::Error| wrong(format!("its manifest cannot be read: {e}"));
    let Version { schema } = serde_json::from_slice(bytes).map_err(unreadable)?;
    if schema != SCHEMA {
        let schema = schema.chars().filter(|c| !c.is_control()).take(64).collect();
        return Err(BackupError::Unknown { path: path(), schema });
    }
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(unreadable)?;
    let mut last = "";
    for Kept { path, .. } in &manifest.files {
        if let Err(why) = check(path) {
            let name = path.escape_debug().take(NAME_BYTES_MAX).collect::<String>();
            return Err(wrong(format!("it names a file `{name}`: {why}")));
        }
        if path.as_str() <= last {
            return Err(wrong("its manifest is out of order".to_owned()));
        }
        last = path;
    }
    Ok(manifest)
}

/// Whether a path may be a file of a backup: below the folder, plain, and none that is never in one.
pub(super) fn check(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > NAME_BYTES_MAX {
        return Err("a path has 1 to 100 bytes");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err("a path has no control characters and no backslash");
    }
    // Nothing before, between or behind slashes is nothing or dots.
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err("it does not lead to a place in the folder");
    }
    match stage::is_left_out(path) || path == NAME {
        true => Err("no backup has a file of that name"),
        false => Ok(()),
    }
}

/// The manifest of files in a folder.
pub(super) fn of(
    folder: &Path,
    files: &[String],
    facts: &Facts,
    made_at: Timestamp,
) -> Result<Manifest, BackupError> {
    let kept = files.iter().map(|path| {
        let at = folder.join(path);
        let about = fs::metadata(&at).map_err(io_error("look at", &at))?;
        let mut file = File::open(&at).map_err(io_error("read", &at))?;
        let (size_bytes, sha256) = digest(&mut file).map_err(io_error("read", &at))?;
        let public = about.permissions().mode() & 0o044 != 0;
        Ok(Kept { path: path.clone(), size_bytes, sha256, public })
    });
    Ok(Manifest {
        schema: SCHEMA.to_owned(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        estate: facts.estate.clone(),
        // Documents carry no more than microseconds.
        made_at: Timestamp::from_nanos(made_at.as_nanos().div_euclid(1_000).saturating_mul(1_000)),
        journal: Journal {
            origin: facts.origin.clone(),
            entries: facts.entries,
            root: facts.root.clone(),
            signed: facts.signed,
        },
        files: kept.collect::<Result<_, BackupError>>()?,
    })
}

/// Bytes and their SHA-256 in hex.
fn digest(from: &mut impl Read) -> std::io::Result<(u64, String)> {
    let (mut digest, mut size) = (Sha256::new(), 0_u64);
    let mut piece = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut piece)?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        digest.update(bytes);
        size = size.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
    Ok((size, hex(&digest.finish())))
}
