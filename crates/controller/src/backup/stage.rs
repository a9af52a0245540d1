//! A copy of a state folder that fits together, although the controller goes on meanwhile.
//!
//! The order makes it so. What was signed last is copied before the journal, which can then only have more. What entries name (policy folders,
//! records of people) is written before them, and is copied after them. A password that is changed takes the old record away: people are copied before
//! the journal too, and all of it again when they were not the same afterwards.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::Progress;
use super::error::{BackupError, io_error};
use super::manifest;

/// What can be made again, or means nothing to a restored estate.
const DERIVED: &[&str] = &["log", "flows.db"];
/// Files that belong to a machine or a process, not to an estate.
const LOCAL: &[&str] = &["host-token", "setup-token", "lock", "signed.late"];
/// Files beside a database, a lock, or a write that has not ended.
const ENDINGS: &[&str] = &[".lock", "-wal", "-shm", "-journal", ".new"];
/// Tries to find people the same before and after.
const TRIES: usize = 20;

/// What was copied.
pub(super) struct Staged {
    /// Paths, in order.
    pub(super) files: Vec<String>,
    /// What was left out and means something to people.
    pub(super) left_out: Vec<String>,
}

/// Whether a path of a state folder is never in a backup.
pub(super) fn is_left_out(path: &str) -> bool {
    let (first, name) = (path.split('/').next(), path.rsplit('/').next());
    let name = name.unwrap_or(path);
    first.is_some_and(|first| DERIVED.contains(&first))
        || LOCAL.contains(&path)
        || name.starts_with('.')
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Copies a state folder into an empty one.
pub(super) fn stage(from: &Path, to: &Path, progress: Progress<'_>) -> Result<Staged, BackupError> {
    let copying = Copying { from, to };
    let mut files = Vec::new();
    progress("copying signed", 0, 0);
    copying.file("signed", &mut files)?;
    copying.journal_and_people(&mut files, progress)?;
    let mut left_out = Vec::new();
    let mut rest = Vec::new();
    walk(from, "", &mut rest, &mut left_out)?;
    for path in rest.iter().filter(|path| !files.contains(path)).collect::<Vec<_>>() {
        progress(&format!("copying {path}"), 0, 0);
        copying.file(path, &mut files)?;
    }
    files.sort();
    left_out.sort();
    Ok(Staged { files, left_out })
}

struct Copying<'a> {
    from: &'a Path,
    to: &'a Path,
}

impl Copying<'_> {
    fn journal_and_people(
        &self,
        files: &mut Vec<String>,
        progress: Progress<'_>,
    ) -> Result<(), BackupError> {
        const PEOPLE: &str = "people.db";
        const JOURNAL: &str = "journal.db";
        let before = self.to.join(".people-before");
        let there = self.from.join(PEOPLE).is_file();
        for _ in 0..TRIES {
            if there {
                copy_database(&self.from.join(PEOPLE), &before)?;
            }
            progress("copying journal.db", 0, 0);
            copy_database(&self.from.join(JOURNAL), &self.to.join(JOURNAL))?;
            if !there {
                files.push(JOURNAL.to_owned());
                return Ok(());
            }
            let after = self.to.join(PEOPLE);
            copy_database(&self.from.join(PEOPLE), &after)?;
            let read = |path: &Path| fs::read(path).map_err(io_error("read", path));
            let same = read(&before)? == read(&after)?;
            remove(&before)?;
            if same {
                files.extend([JOURNAL.to_owned(), PEOPLE.to_owned()]);
                return Ok(());
            }
            remove(&after)?;
            remove(&self.to.join(JOURNAL))?;
        }
        Err(BackupError::Restless(TRIES))
    }

    /// Copies a file, if it is there.
    fn file(&self, path: &str, files: &mut Vec<String>) -> Result<(), BackupError> {
        manifest::check(path).map_err(|why| BackupError::Unfit { path: path.to_owned(), why })?;
        let (from, to) = (self.from.join(path), self.to.join(path));
        if let Some(above) = to.parent() {
            fs::create_dir_all(above).map_err(io_error("make", above))?;
        }
        let is_database = match store::is_database(&from) {
            Ok(is_database) => is_database,
            // It was there, and was taken away: nothing that is kept is.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io_error("read", &from)(error)),
        };
        match is_database {
            true => copy_database(&from, &to)?,
            // With who may read it.
            false => fs::copy(&from, &to).map(drop).map_err(io_error("copy", &from))?,
        }
        files.push(path.to_owned());
        Ok(())
    }
}

/// Finds every file below a folder that is to be in a backup.
fn walk(
    root: &Path,
    below: &str,
    files: &mut Vec<String>,
    left_out: &mut Vec<String>,
) -> Result<(), BackupError> {
    let at = root.join(below);
    for entry in fs::read_dir(&at).map_err(io_error("look at", &at))? {
        let entry = entry.map_err(io_error("look at", &at))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            let path = entry.path().display().to_string();
            return Err(BackupError::Unfit { path, why: "its name is not UTF-8" });
        };
        let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        // What a link leads to is what the controller reads.
        let about = match fs::metadata(entry.path()) {
            Ok(about) => about,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io_error("look at", &entry.path())(error)),
        };
        if is_left_out(&path) {
            let means_something = |path: &str| {
                DERIVED.contains(&path) || (LOCAL.contains(&path) && path.ends_with("-token"))
            };
            if means_something(&path) {
                left_out.push(if about.is_dir() { format!("{path}/") } else { path });
            }
        } else if about.is_dir() {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                let why = "it leads to another folder, which has to be backed up by itself";
                return Err(BackupError::Unfit { path, why });
            }
            walk(root, &path, files, left_out)?;
        } else if about.is_file() {
            files.push(path);
        } else {
            left_out.push(path);
        }
    }
    Ok(())
}

fn copy_database(from: &Path, to: &Path) -> Result<(), BackupError> {
    store::copy_database(from, to).map_err(|source| match source {
        store::StoreError::Full => BackupError::Full(to.to_owned()),
        source => BackupError::Store { path: from.to_owned(), source: Box::new(source) },
    })?;
    // Whatever whoever made it was careless about.
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(to, mode).map_err(io_error("protect", to))
}

fn remove(path: &Path) -> Result<(), BackupError> {
    fs::remove_file(path).map_err(io_error("remove", path))
}

#[cfg(test)]
mod tests {
    use super::is_left_out;

    #[test]
    fn what_is_of_the_estate_is_in_it_and_what_is_of_a_machine_is_not() {
        for path in ["signed", "journal.db", "people.db", "blobs/ab", "pki/root.key.pem", "logs"] {
            assert!(!is_left_out(path), "{path}");
        }
        for path in
            ["log/checkpoint", "host-token", "lock", "journal.db-wal", "blobs/.ab", "signed.new"]
        {
            assert!(is_left_out(path), "{path}");
        }
    }
}
