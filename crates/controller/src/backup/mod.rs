//! A controller in one file, and back: made while it runs, and put back only when everything in it fits together.
//!
//! The file is a tar archive in a zstd frame: a manifest first, then the files it names, in its order. A second, skippable frame behind it has the
//! SHA-256 of all before ([`seal`]), so that one wrong byte anywhere is found before anything is believed. `zstd -d | tar x` reads it too.
//!
//! What is put in is a copy of the state folder that was opened as a controller opens it ([`examine`]); what is put back is opened the same way
//! before it gets its name. Secrets of the machine (`host-token`, `setup-token`) and what can be made again (`log/`) are not in it.

mod archive;
mod error;
mod examine;
mod manifest;
mod seal;
mod stage;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use model::Timestamp;

pub use self::error::BackupError;
pub use self::examine::Facts;
pub use self::manifest::{Journal, Kept, Manifest, SCHEMA};

use self::error::io_error;

/// Hears how far it is: what is being done, bytes that are done, and of how many (0: it is not known).
pub type Progress<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its manifest.
    pub manifest: Manifest,
    /// What the journal in it says.
    pub facts: Facts,
    /// Files of the state folder that are not in it on purpose; empty for one that was read.
    pub left_out: Vec<String>,
    /// Bytes of the backup itself.
    pub size_bytes: u64,
}

/// Makes a backup of a state folder, which may be in use. The file is whole or not there, and only its owner reads it.
pub fn make(
    state: &Path,
    file: &Path,
    force: bool,
    clock: fn() -> Timestamp,
    progress: Progress<'_>,
) -> Result<Held, BackupError> {
    for needed in ["journal.db", "key.pem", "log.vkey", "name"] {
        if !state.join(needed).is_file() {
            return Err(BackupError::NoState { path: state.to_owned(), needed });
        }
    }
    if !force && file.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(file.to_owned()));
    }
    let above = parent(file);
    let (here, there) = (state.canonicalize(), above.canonicalize());
    let here = here.map_err(io_error("find", state))?;
    if there.map_err(io_error("find", above))?.starts_with(here) {
        return Err(BackupError::Inside(file.to_owned()));
    }
    let aside = Aside::new(beside(file, ".making"))?;
    let staged = stage::stage(state, &aside.path, progress)?;
    progress("opening the copy", 0, 0);
    let facts = examine::examine(&aside.path, clock)?;
    let manifest = manifest::of(&aside.path, &staged.files, &facts, clock())?;

    let new = Unfinished(beside(file, ".new"));
    let _ = fs::remove_file(&new.0); // Of an earlier run that was killed.
    let written = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new.0);
    let written = written.map_err(io_error("write", &new.0))?;
    archive::write(&written, &new.0, &manifest, &aside.path, progress)?;
    written.sync_all().map_err(io_error("write", &new.0))?;
    let size_bytes = written.metadata().map_err(io_error("look at", &new.0))?.len();
    fs::rename(&new.0, file).map_err(io_error("name", file))?;
    sync(above)?;
    Ok(Held { manifest, facts, left_out: staged.left_out, size_bytes })
}

/// Puts a backup back into a folder that is not there, or is empty. It gets its name when all is in it and fits together; otherwise nothing is
/// left behind.
pub fn restore(
    file: &Path,
    state: &Path,
    clock: fn() -> Timestamp,
    progress: Progress<'_>,
) -> Result<Held, BackupError> {
    match fs::read_dir(state).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(BackupError::NotEmpty(state.to_owned())),
        Ok(false) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error("look at", state)(error)),
    }
    let aside = Aside::new(beside(state, ".restoring"))?;
    let held = unpack(file, &aside.path, clock, progress)?;
    sync_all(&aside.path)?;
    // An empty folder is replaced (rename(2)).
    fs::rename(&aside.path, state).map_err(io_error("name", state))?;
    sync(parent(state))?;
    Ok(held)
}

/// Does all that [`restore`] does in a folder that is gone afterwards; `aside` must not be there.
pub fn check(
    file: &Path,
    aside: &Path,
    clock: fn() -> Timestamp,
    progress: Progress<'_>,
) -> Result<Held, BackupError> {
    let aside = Aside::new(aside.to_owned())?;
    unpack(file, &aside.path, clock, progress)
}

/// Unpacks a backup and opens what is in it.
fn unpack(
    file: &Path,
    to: &Path,
    clock: fn() -> Timestamp,
    progress: Progress<'_>,
) -> Result<Held, BackupError> {
    let sealed = seal::open(file, progress)?;
    let size_bytes = sealed.size_bytes();
    let manifest = archive::read(sealed, file, to, progress)?;
    progress("opening it", 0, 0);
    let facts = examine::examine(to, clock)?;
    manifest.agrees(&facts)?;
    Ok(Held { manifest, facts, left_out: Vec::new(), size_bytes })
}

/// A folder that is gone when it is not needed any more, unless it got another name.
struct Aside {
    path: PathBuf,
}

impl Aside {
    fn new(path: PathBuf) -> Result<Self, BackupError> {
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Self { path }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(BackupError::Left(path))
            }
            Err(error) => Err(io_error("make", &path)(error)),
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A file that is gone unless it got another name.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The path with something behind its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    // A slash at its end is no part of a name.
    let mut name = path.components().as_path().as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn parent(path: &Path) -> &Path {
    match path.components().as_path().parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    }
}

/// Makes the names in a folder durable.
fn sync(folder: &Path) -> Result<(), BackupError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(io_error("keep", folder))
}

/// Makes the names in a folder and in those below it durable.
fn sync_all(folder: &Path) -> Result<(), BackupError> {
    for entry in fs::read_dir(folder).map_err(io_error("look at", folder))? {
        let path = entry.map_err(io_error("look at", folder))?.path();
        if path.is_dir() {
            sync_all(&path)?;
        }
    }
    sync(folder)
}
