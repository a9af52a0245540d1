//! The policy folder that names devices and services.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, Result};
use policy::folder::{Folder, parse};

/// Files of one folder, and levels of folders in it.
const FILES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 8;
/// Faults that are told; more are counted.
const FAULTS_TOLD: usize = 5;

#[derive(Debug, thiserror::Error, Diagnostic)]
enum Unreadable {
    #[error("{} cannot be read: {why}", path.display())]
    #[diagnostic(
        code(ringfence::observe::policy),
        help("name a policy folder, as `ringfence inspect --policy DIR` writes one")
    )]
    File { path: PathBuf, why: String },
    #[error("the policy folder has faults: {0}")]
    #[diagnostic(code(ringfence::observe::faults))]
    Faults(String),
}

/// Reads and parses a folder.
pub(super) fn read(path: &Path) -> Result<Folder> {
    let mut files = BTreeMap::new();
    collect(path, "", 0, &mut files)?;
    Ok(parse(&files).map_err(|faults| {
        let told: Vec<_> = faults.iter().take(FAULTS_TOLD).map(ToString::to_string).collect();
        let more = faults.len().saturating_sub(told.len());
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        Unreadable::Faults(told.join("; ") + &more)
    })?)
}

fn collect(
    path: &Path,
    inside: &str,
    depth: usize,
    files: &mut BTreeMap<String, String>,
) -> Result<(), Unreadable> {
    let failed = |path: &Path, why: String| Unreadable::File { path: path.to_owned(), why };
    let entries = std::fs::read_dir(path).map_err(|e| failed(path, e.to_string()))?;
    for entry in entries {
        let path = entry.map_err(|e| failed(path, e.to_string()))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let name = format!("{inside}{name}");
        let known = ["cedar", "toml", "json"];
        if path.is_dir() && depth < DEPTH_MAX {
            collect(&path, &format!("{name}/"), depth + 1, files)?;
        } else if known.iter().any(|ending| path.extension().is_some_and(|e| e == *ending)) {
            if files.len() >= FILES_MAX {
                return Err(failed(&path, format!("there are more than {FILES_MAX} files")));
            }
            let text = std::fs::read_to_string(&path).map_err(|e| failed(&path, e.to_string()))?;
            files.insert(name, text);
        }
    }
    Ok(())
}
