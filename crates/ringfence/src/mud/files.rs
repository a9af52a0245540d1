//! Files that only these commands read and write: MUD files, certificates.

use std::fs;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, Result, Severity};
use model::inspect::{Report, SCHEMA};
use pki::Certificate;
use policy::mud::Mud;

use crate::folder;

#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum Unusable {
    #[error("{} cannot be written: {why}", path.display())]
    #[diagnostic(code(ringfence::mud::unwritable))]
    Write { path: PathBuf, why: String },
    #[error("{} has {count} fault(s) and is refused whole", path.display())]
    #[diagnostic(code(ringfence::mud::faults), help("the messages above say where and why"))]
    Faults { path: PathBuf, count: usize },
    #[error("{} is {why}", path.display())]
    #[diagnostic(
        code(ringfence::mud::certificate),
        help("PEM and DER are read; `openssl x509 -in FILE -text` shows what is inside")
    )]
    Certificate { path: PathBuf, why: pki::Malformed },
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Unusable> {
    fs::write(path, bytes)
        .map_err(|error| Unusable::Write { path: path.to_owned(), why: error.to_string() })
}

/// A MUD file, from the bytes that a signature is about.
pub(super) fn mud(path: &Path, bytes: &[u8]) -> Result<Mud> {
    let name = path.display().to_string();
    let text = String::from_utf8_lossy(bytes);
    Ok(policy::mud::parse(&name, &text).map_err(|faults| {
        let files = [(name, text.into_owned())].into();
        folder::show(Path::new(""), &files, &faults, Severity::Error);
        Unusable::Faults { path: path.to_owned(), count: faults.len() }
    })?)
}

pub(super) fn certificates(path: &Path) -> Result<Vec<Certificate>> {
    Ok(Certificate::read_all(&folder::bytes(path)?)
        .map_err(|why| Unusable::Certificate { path: path.to_owned(), why })?)
}

/// Recorded traffic: a document of `ringfence inspect -o json`.
pub(super) fn report(path: &Path) -> Result<Report> {
    Ok(folder::document(path, SCHEMA)?)
}
