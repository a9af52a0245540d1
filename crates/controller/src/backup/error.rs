//! What keeps a backup from being made or put back, and what to do then.

use std::io;
use std::path::{Path, PathBuf};

use crate::blobs::BlobError;
use crate::hub::HubError;
use crate::state::StateError;

/// Why there is no backup, or why it is not put back. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no controller in the folder.
    #[error(
        "{} has no {needed}, so it is not the state folder of a controller; name it with --state",
        path.display()
    )]
    NoState {
        /// Which folder.
        path: PathBuf,
        /// What is missing.
        needed: &'static str,
    },
    /// There is something of that name.
    #[error("{} is there already; choose another name, or replace it with --force", .0.display())]
    Exists(PathBuf),
    /// A backup in what it is a backup of.
    #[error("{} would be a file of the state folder itself; keep backups elsewhere, on another disk", .0.display())]
    Inside(PathBuf),
    /// A folder that was left, or is being used.
    #[error(
        "{} is there: another backup or restore is under way, or one was killed; remove it when none is",
        .0.display()
    )]
    Left(PathBuf),
    /// A folder with something in it.
    #[error("{} is not empty, and nothing is overwritten; restore into a new folder", .0.display())]
    NotEmpty(PathBuf),
    /// People are changed all the time.
    #[error(
        "operators were changed during each of {0} tries, and a copy would not fit the journal; try again later"
    )]
    Restless(usize),
    /// The disk is full.
    #[error("the disk is full at {}; nothing is left there, free some space and try again", .0.display())]
    Full(PathBuf),
    /// The disk.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the state folder that cannot be in a backup.
    #[error("{path} cannot be in a backup: {why}; move it out of the state folder")]
    Unfit {
        /// Which file.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// It is something else, or the beginning of one.
    #[error(
        "{} is no backup of a controller, or its end is missing; copy it again, or take another one",
        .0.display()
    )]
    NoBackup(PathBuf),
    /// A byte of it is not as it was written.
    #[error("{} is damaged: {why}; copy it again, or take another one", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Of another time.
    #[error("{} is a `{schema}`, and this program knows `{known}`; use the program that made it", path.display(), known = super::SCHEMA)]
    Unknown {
        /// Which file.
        path: PathBuf,
        /// What it says that it is.
        schema: String,
    },
    /// What is in it is not what its manifest says.
    #[error("{what} is {found}, and {said} by the manifest; take another backup")]
    Other {
        /// What.
        what: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        said: String,
    },
    /// Entries that do not lead to their root.
    #[error(
        "the journal is damaged: its {entries} entries have the root {found}, and its tree says {said}; take another backup"
    )]
    Tree {
        /// How many.
        entries: u64,
        /// The root of the entries.
        found: Box<str>,
        /// The root of the tree.
        said: Box<str>,
    },
    /// The policy folder in force is not there.
    #[error(
        "the policy folder in force, {0}, is not in blobs/; apply it again, or take another backup"
    )]
    NoPolicy(String),
    /// A database.
    #[error("{}: {source}", path.display())]
    Store {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: Box<store::StoreError>,
    },
    /// The state folder.
    #[error(transparent)]
    State(#[from] Box<StateError>),
    /// The journal.
    #[error("the journal does not open: {0}")]
    Hub(#[from] Box<HubError>),
    /// Policy folders.
    #[error(transparent)]
    Blob(#[from] Box<BlobError>),
    /// Records of operators.
    #[error("people.db: {0}")]
    People(#[from] Box<store::side::SideError>),
}

impl BackupError {
    /// A stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoState { .. } => "ringfence::backup::not_found",
            Self::Exists(_) | Self::Inside(_) | Self::Left(_) => "ringfence::backup::exists",
            Self::NotEmpty(_) => "ringfence::backup::not_empty",
            Self::Restless(_) => "ringfence::backup::restless",
            Self::Full(_) => "ringfence::backup::disk_full",
            Self::Unfit { .. } => "ringfence::backup::unfit",
            Self::NoBackup(_) => "ringfence::backup::no_backup",
            Self::Unknown { .. } => "ringfence::backup::unknown_version",
            Self::Damaged { .. }
            | Self::Other { .. }
            | Self::Tree { .. }
            | Self::NoPolicy(_)
            | Self::Store { .. }
            | Self::State(_)
            | Self::Hub(_)
            | Self::Blob(_)
            | Self::People(_) => "ringfence::backup::damaged",
            Self::Io { .. } => "ringfence::backup::failed",
        }
    }

    /// Whether something is in the way that somebody else put there.
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Exists(_) | Self::Left(_) | Self::NotEmpty(_) | Self::Restless(_))
    }
}

/// A fault with its file.
pub(super) fn io_error(
    doing: &'static str,
    path: &Path,
) -> impl Fn(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            BackupError::Full(path.clone())
        }
        _ => BackupError::Io { doing, path: path.clone(), source },
    }
}
