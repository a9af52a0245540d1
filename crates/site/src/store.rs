//! The state directory: what survives a restart, and who may use it.
//!
//! ```text
//! lock            held by the running site
//! state.json      life::Durable, replaced whole
//! contents/HASH   accepted policy folders, so that one can be enforced again when the folder changed
//! enforced.json   what is verified to be in force, a document `ringfence.enforced/v1`
//! journal.jsonl   see `journal`
//! findings.jsonl  what deserved attention, once each
//! verdicts.jsonl  what the kernel logged, see `record`
//! uplink/         the line to a controller, see `uplink::keep`
//! control.sock    see `control`
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::folder::Files;
use crate::journal::{Journal, JournalError};
use crate::life::Durable;

/// An open state directory; nobody else has it open.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// Its lock goes with the process, however that ends.
    _lock: File,
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else has it.
    #[error("another site uses the state directory {}; stop it (`ringfence site stop`) or name another with --state", .0.display())]
    InUse(PathBuf),
    /// A file in it is damaged.
    #[error("{} is damaged: {why}; move it away: the site then continues from the generation the kernel holds", path.display())]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Accepted contents kept: what is in force, what is confirmed, what was before.
const CONTENTS_MAX: usize = 8;
/// A file of lines is begun anew at this size; the one before it is kept.
const LINES_BYTES_MAX: u64 = 64 << 20;

impl Store {
    /// Opens `path`, making it where it is not there, and takes it for this process.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = take(path)?;
        let contents = path.join("contents");
        let io = |source| StoreError::Io { doing: "make", path: contents.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&contents).map_err(io)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What was saved last.
    pub fn load(&self) -> Result<Durable, StoreError> {
        Ok(self.read("state.json")?.unwrap_or_default())
    }

    /// Makes `durable` durable.
    pub fn save(&self, durable: &Durable) -> Result<(), StoreError> {
        self.write("state.json", durable)
    }

    /// The journal.
    pub fn journal(&self) -> Result<Journal, StoreError> {
        Ok(Journal::open(&self.file("journal.jsonl"))?)
    }

    /// Keeps an accepted folder; the oldest beyond a handful go, except `wanted`.
    pub fn keep(&self, content: &str, files: &Files, wanted: &[&str]) -> Result<(), StoreError> {
        let name = format!("contents/{content}");
        if !self.file(&name).exists() {
            self.write(&name, files)?;
        }
        let mut others: Vec<(std::time::SystemTime, PathBuf)> = fs::read_dir(self.file("contents"))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| !wanted.iter().any(|name| entry.file_name() == *name))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        others.sort();
        let surplus = others.len().saturating_sub(CONTENTS_MAX);
        for (_, path) in others.into_iter().take(surplus) {
            let _ = fs::remove_file(path); // Tried again the next time.
        }
        Ok(())
    }

    /// A folder that was kept.
    pub fn content(&self, content: &str) -> Result<Option<Files>, StoreError> {
        self.read(&format!("contents/{content}"))
    }

    /// Reads a JSON file of the directory; none where it is not there.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        read(&self.file(name))
    }

    /// Replaces a JSON file whole: after a crash either the old or the new one is there.
    pub fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StoreError> {
        write(&self.file(name), value)
    }

    /// Removes a file of the directory; that it is not there is fine.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.file(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::Io { doing: "remove", path, source })
            }
            _ => Ok(()),
        }
    }

    /// Adds lines to a file of lines.
    pub fn lines<T: Serialize>(&self, name: &str, lines: &[T]) -> Result<(), StoreError> {
        append(&self.file(name), lines)
    }
}

/// Reads a JSON file; none where it is not there.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let Some(text) = bytes(path)? else {
        return Ok(None);
    };
    let damaged = |why: String| StoreError::Damaged { path: path.to_owned(), why };
    serde_json::from_slice(&text).map(Some).map_err(|error| damaged(error.to_string()))
}

/// Reads a file; none where it is not there.
pub(crate) fn bytes(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Io { doing: "read", path: path.to_owned(), source }),
    }
}

/// Replaces a JSON file whole.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), StoreError> {
    let io = |source| StoreError::Io { doing: "write", path: path.to_owned(), source };
    let text = serde_json::to_vec_pretty(value).map_err(|e| io(io::Error::other(e)))?;
    replace(path, &text)
}

/// Replaces a file whole: after a crash either the old or the new one is there. Only its owner reads it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let io = |source| StoreError::Io { doing: "write", path: path.to_owned(), source };
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut file = owned().create(true).truncate(true).open(&new).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io)?;
    fs::rename(&new, path).map_err(io)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

/// Makes a directory that only its owner uses, and takes it for this process.
pub(crate) fn take(path: &Path) -> Result<File, StoreError> {
    let io = |doing, at: &Path| {
        let path = at.to_owned();
        move |source| StoreError::Io { doing, path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("make", path))?;
    let lock_path = path.join("lock");
    let lock = owned().create(true).open(&lock_path).map_err(io("open", &lock_path))?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => StoreError::InUse(path.to_owned()),
        TryLockError::Error(source) => io("lock", &lock_path)(source),
    })?;
    Ok(lock)
}

/// Adds lines to a file of lines; one that has grown large is put aside as `FILE.old` before.
pub(crate) fn append<T: Serialize>(path: &Path, lines: &[T]) -> Result<(), StoreError> {
    if lines.is_empty() {
        return Ok(());
    }
    let io = |source| StoreError::Io { doing: "write", path: path.to_owned(), source };
    if fs::metadata(path).is_ok_and(|file| file.len() > LINES_BYTES_MAX) {
        let mut old = path.as_os_str().to_owned();
        old.push(".old");
        fs::rename(path, old).map_err(io)?;
    }
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line).map_err(|e| io(io::Error::other(e)))?;
        text.push(b'\n');
    }
    let mut file =
        OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(io)?;
    file.write_all(&text).map_err(io)
}

fn owned() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}
