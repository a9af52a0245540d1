//! What can go wrong, and what to do then.

use std::path::PathBuf;

use journal::guard::WouldBreak;
use journal::quorum::{CannotAsk, Failure};
use journal::tile::TileError;

/// Why a database of entries refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another entry came first.
    #[error(
        "entry {expected} was expected to be the next, but there are {size}: decide again on what is there now"
    )]
    Conflict {
        /// The number that the caller expected to get.
        expected: u64,
        /// How many entries there are.
        size: u64,
    },
    /// An entry is too long.
    #[error(
        "an entry has {0} bytes, and {max} is the most: keep what it says elsewhere, and its digest in the entry",
        max = journal::bundle::ENTRY_BYTES_MAX
    )]
    TooLong(usize),
    /// Something is said of entries that are not durable.
    #[error("it is about {size} entries, and {durable} are durable")]
    Ahead {
        /// What it is about.
        size: u64,
        /// How many there are.
        durable: u64,
    },
    /// There is no space left.
    #[error(
        "the disk is full: nothing was written, reading goes on; \
         free some space, and writing goes on too"
    )]
    Full,
    /// It cannot be known what became of the last write.
    #[error("writing has stopped: {0}; what was acknowledged is safe, open the journal again")]
    Stopped(String),
    /// Somebody else writes.
    #[error("{} is written by another process; wait until it has ended", .0.display())]
    Busy(PathBuf),
    /// It was written by a newer program.
    #[error("the database has format {0}, and this program knows up to {known}: use a newer one", known = crate::sqlite::FORMAT)]
    Newer(i64),
    /// It contradicts itself.
    #[error("the database is damaged: {0}; restore the newest copy of it")]
    Damaged(String),
    /// Whatever the machine says.
    #[error("{0}")]
    Io(String),
}

/// Why a log does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Signing would fork or roll back what was signed.
    #[error("nothing is signed: {0}")]
    WouldBreak(#[from] WouldBreak<TileError<StoreError>>),
    /// A head that was signed cannot be believed.
    #[error("{} is no head that this log signed: {why}; {RECORD}", .path.display())]
    Record {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It is not known what was signed last.
    #[error("{} is missing, although something was signed before; {RECORD}", .0.display())]
    NoRecord(PathBuf),
    /// A witness holds something else, so this is an older copy of the log, or a fork.
    #[error("nothing is signed: witness {name}: {failure}")]
    Witness {
        /// What the policy calls it.
        name: String,
        /// What it said.
        failure: Failure,
    },
    /// No witness could be asked, so it is not known whether this is the newest copy.
    #[error("nothing is signed, because no witness can be asked{}", Failures(.0))]
    NoWitness(Vec<(String, Failure)>),
    /// There is no proof for a witness.
    #[error(transparent)]
    CannotAsk(#[from] CannotAsk<TileError<StoreError>>),
    /// Key and origin cannot sign.
    #[error("the head cannot be signed: {0}")]
    Sign(String),
    /// An entry cannot be written.
    #[error(transparent)]
    Entry(#[from] journal::Malformed),
    /// A file cannot be read or written.
    #[error("{}: {why}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

const RECORD: &str = "put the newest checkpoint that you, a device or a witness hold there";

struct Failures<'a>(&'a [(String, Failure)]);

impl std::fmt::Display for Failures<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|(name, failure)| write!(f, "; {name}: {failure}"))
    }
}
