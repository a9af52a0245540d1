//! What stops a command, with what to do, and its exit code.

use std::path::{Path, PathBuf};

use miette::Diagnostic;
use store::{LogError, StoreError};

use crate::exit;

#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum Fault {
    #[error("{} is not empty", .0.display())]
    #[diagnostic(code(ringfence::journal::not_empty), help("name a new folder"))]
    NotEmpty(PathBuf),
    #[error("there is no journal in {}", .0.display())]
    #[diagnostic(
        code(ringfence::journal::no_journal),
        help("`ringfence journal new DIR --origin NAME` begins one")
    )]
    NoJournal(PathBuf),
    #[error("{} is not there", .0.display())]
    #[diagnostic(code(ringfence::journal::not_found))]
    NoFile(PathBuf),
    #[error("there is no entry {entry}: the checkpoint is over {size}, counted from 0")]
    #[diagnostic(code(ringfence::journal::no_entry))]
    NoEntry { entry: u64, size: u64 },
    #[error("no commitment that counts covers message {sequence} of device {device}")]
    #[diagnostic(
        code(ringfence::journal::no_commitment),
        help(
            "`ringfence keys chains DEVICE` says how far it has committed; commitments name a device as it was called then"
        )
    )]
    NoCommitment { device: String, sequence: u64 },
    #[error("{}: {why}", .path.display())]
    #[diagnostic(code(ringfence::journal::file))]
    File { path: PathBuf, why: String },
    #[error("{what}: {why}")]
    #[diagnostic(code(ringfence::journal::malformed))]
    Malformed { what: String, why: String },
    #[error("{} is about another log than {origin}", .path.display())]
    #[diagnostic(
        code(ringfence::journal::other_log),
        help("name the log's verifier key there: `log KEY`, as log.vkey has it")
    )]
    OtherLog { path: PathBuf, origin: String },
    #[error("{what} {why}")]
    #[diagnostic(code(ringfence::journal::broken), help("{help}"))]
    Broken { what: String, why: String, help: String },
    #[error("no key is given to verify {} with", .0.display())]
    #[diagnostic(
        code(ringfence::journal::no_key),
        help("give the log's verifier key with --key, or a policy with --policy")
    )]
    NoKey(PathBuf),
    #[error(transparent)]
    #[diagnostic(code(ringfence::journal::log))]
    Log(#[from] LogError),
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
            Self::NoJournal(_)
            | Self::NoFile(_)
            | Self::NoEntry { .. }
            | Self::NoCommitment { .. } => exit::NOT_FOUND,
            Self::NotEmpty(_)
            | Self::Log(LogError::Store(StoreError::Conflict { .. } | StoreError::Busy(_))) => {
                exit::CONFLICT
            }
            Self::Log(
                LogError::WouldBreak(_)
                | LogError::Witness { .. }
                | LogError::Record { .. }
                | LogError::NoRecord(_),
            ) => exit::REFUSED,
            Self::NoKey(_) => exit::USAGE,
            _ => exit::FAILED,
        }
    }
}
