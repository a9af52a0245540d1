//! Documents that commands are given beside a policy folder.

use std::path::{Path, PathBuf};
use std::{fs, io};

use miette::Result;
use model::inspect::Report;
use policy::plan::{ENFORCED_FILE, ENFORCED_SCHEMA, Enforced};

use crate::folder::document;

/// What is enforced: a document, or a folder that holds one. Where there is none, nothing is enforced yet,
/// and that is said.
pub(super) fn enforced(path: Option<&Path>) -> Result<Option<Enforced>> {
    let Some(path) = path else {
        return Ok(None);
    };
    let file = if path.is_dir() { path.join(ENFORCED_FILE) } else { path.to_owned() };
    // What may not be looked at is there, and an error.
    if fs::metadata(&file).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        eprintln!("nothing is enforced yet: there is no {}", file.display());
        return Ok(None);
    }
    Ok(Some(document(&file, ENFORCED_SCHEMA)?))
}

/// Recorded flows, by document.
pub(super) fn flows(paths: &[PathBuf]) -> Result<Vec<(String, Report)>> {
    let read = |path: &PathBuf| {
        let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Ok((name, document(path, model::inspect::SCHEMA)?))
    };
    paths.iter().map(read).collect()
}
