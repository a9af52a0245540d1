//! Files that the commands read and write, each with a bound.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, Result};
use model::inspect::Report;
use pki::Certificate;
use policy::Fault;
use policy::folder::Folder;
use policy::mud::Mud;

/// Largest file that is read, in bytes.
const SIZE_BYTES_MAX: u64 = 1 << 30;
/// Files of a policy folder.
const FILES_MAX: usize = 10_000;
/// Faults that are printed; the rest is counted.
const FAULTS_SHOWN: usize = 20;

#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum Unusable {
    #[error("{} cannot be read: {why}", path.display())]
    #[diagnostic(code(ringfence::mud::unreadable))]
    File { path: PathBuf, why: String },
    #[error("{} cannot be written: {why}", path.display())]
    #[diagnostic(code(ringfence::mud::unwritable))]
    Write { path: PathBuf, why: String },
    #[error("{} is no policy folder: it has no estate.toml", .0.display())]
    #[diagnostic(
        code(ringfence::mud::no_folder),
        help("name a folder that `ringfence inspect --policy DIR` wrote")
    )]
    NoFolder(PathBuf),
    #[error("{} has {count} fault(s) and is refused whole", path.display())]
    #[diagnostic(code(ringfence::mud::faults), help("the messages above say where and why"))]
    Faults { path: PathBuf, count: usize },
    #[error("{} is {why}", path.display())]
    #[diagnostic(
        code(ringfence::mud::certificate),
        help("PEM and DER are read; `openssl x509 -in FILE -text` shows what is inside")
    )]
    Certificate { path: PathBuf, why: pki::Malformed },
    #[error("{} is no document of `ringfence inspect -o json`: {why}", path.display())]
    #[diagnostic(code(ringfence::mud::document))]
    Document { path: PathBuf, why: String },
}

/// A file's bytes.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, Unusable> {
    let wrong = |why: String| Unusable::File { path: path.to_owned(), why };
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(SIZE_BYTES_MAX.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(error.to_string()))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > SIZE_BYTES_MAX {
        return Err(wrong("it is larger than 1 GiB".to_owned()));
    }
    Ok(bytes)
}

fn text(path: &Path) -> Result<String, Unusable> {
    String::from_utf8(bytes(path)?)
        .map_err(|_| Unusable::File { path: path.to_owned(), why: "it is not text".to_owned() })
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Unusable> {
    fs::write(path, bytes)
        .map_err(|error| Unusable::Write { path: path.to_owned(), why: error.to_string() })
}

/// A MUD file, from the bytes that a signature is about.
pub(super) fn mud(path: &Path, bytes: &[u8]) -> Result<Mud> {
    let name = path.display().to_string();
    let text = String::from_utf8_lossy(bytes);
    Ok(policy::mud::parse(&name, &text).map_err(|faults| refuse(path, &faults))?)
}

pub(super) fn certificates(path: &Path) -> Result<Vec<Certificate>, Unusable> {
    Certificate::read_all(&bytes(path)?)
        .map_err(|why| Unusable::Certificate { path: path.to_owned(), why })
}

pub(super) fn report(path: &Path) -> Result<Report, Unusable> {
    serde_json::from_slice(&bytes(path)?)
        .map_err(|error| Unusable::Document { path: path.to_owned(), why: error.to_string() })
}

/// A policy folder; any fault refuses it whole.
pub(super) fn folder(path: &Path) -> Result<Folder> {
    let mut files = BTreeMap::new();
    collect(path, "", &mut files)?;
    if !files.contains_key(policy::folder::ESTATE_FILE) {
        return Err(Unusable::NoFolder(path.to_owned()).into());
    }
    Ok(policy::folder::parse(&files).map_err(|faults| refuse(path, &faults))?)
}

fn collect(
    path: &Path,
    inside: &str,
    files: &mut BTreeMap<String, String>,
) -> Result<(), Unusable> {
    let wrong = |why: String| Unusable::File { path: path.to_owned(), why };
    for entry in fs::read_dir(path).map_err(|error| wrong(error.to_string()))? {
        let entry = entry.map_err(|error| wrong(error.to_string()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let place = entry.path();
        let is_policy = place
            .extension()
            .is_some_and(|e| ["cedar", "cedarschema", "toml"].iter().any(|known| e == *known));
        // Policies stand in one level of folders; MUD files are no part of what is decided.
        if place.is_dir() && inside.is_empty() && name == "policies" {
            collect(&place, "policies/", files)?;
        } else if is_policy && place.is_file() {
            files.insert(format!("{inside}{name}"), text(&place)?);
        }
        if files.len() > FILES_MAX {
            return Err(wrong(format!("it holds more than {FILES_MAX} files")));
        }
    }
    Ok(())
}

fn refuse(path: &Path, faults: &[Fault]) -> Unusable {
    for fault in faults.iter().take(FAULTS_SHOWN) {
        eprintln!("{fault}");
    }
    if faults.len() > FAULTS_SHOWN {
        eprintln!("and {} more", faults.len().saturating_sub(FAULTS_SHOWN));
    }
    Unusable::Faults { path: path.to_owned(), count: faults.len() }
}
