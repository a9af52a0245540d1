//! What stops a witness, with what to do, and its exit code.

use std::path::{Path, PathBuf};

use miette::Diagnostic;

use crate::exit;

#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum Fault {
    #[error("{} is not empty", .0.display())]
    #[diagnostic(code(ringfence::witness::not_empty), help("name a new folder"))]
    NotEmpty(PathBuf),
    #[error("there is no witness in {}", .0.display())]
    #[diagnostic(
        code(ringfence::witness::no_witness),
        help("`ringfence witness new DIR --name NAME` begins one")
    )]
    NoWitness(PathBuf),
    #[error("{} is not there", .0.display())]
    #[diagnostic(code(ringfence::witness::not_found))]
    NoFile(PathBuf),
    #[error("{}: {why}", .path.display())]
    #[diagnostic(code(ringfence::witness::file))]
    File { path: PathBuf, why: String },
    #[error("{what}: {why}")]
    #[diagnostic(code(ringfence::witness::malformed))]
    Malformed { what: String, why: String },
    #[error("{} is no head that this witness cosigned: {why}", .path.display())]
    #[diagnostic(
        code(ringfence::witness::state),
        help(
            "put the newest checkpoint there that carries its cosignature; without one, begin a new witness with a new key"
        )
    )]
    State { path: PathBuf, why: String },
    #[error("{} is served by another process", .0.display())]
    #[diagnostic(code(ringfence::witness::busy), help("two would cosign two histories"))]
    Busy(PathBuf),
    #[error("no log is followed")]
    #[diagnostic(
        code(ringfence::witness::no_log),
        help("give verifier keys with --log, or one a line in the folder's file `logs`")
    )]
    NoLog,
    #[error("it cannot listen on {address}: {why}")]
    #[diagnostic(code(ringfence::witness::listen))]
    Listen { address: std::net::SocketAddr, why: String },
}

impl Fault {
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |error| match error.kind() {
            std::io::ErrorKind::NotFound => Self::NoFile(path.to_owned()),
            _ => Self::File { path: path.to_owned(), why: error.to_string() },
        }
    }

    pub(super) fn malformed<E: std::fmt::Display>(
        what: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        |why| Self::Malformed { what: what.into(), why: why.to_string() }
    }

    pub(super) const fn code(&self) -> u8 {
        match self {
            Self::NoWitness(_) | Self::NoFile(_) => exit::NOT_FOUND,
            Self::NotEmpty(_) | Self::Busy(_) => exit::CONFLICT,
            Self::NoLog => exit::USAGE,
            _ => exit::FAILED,
        }
    }
}
