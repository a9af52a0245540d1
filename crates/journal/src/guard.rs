//! What a log may sign: only a head that extends every head it is known to have signed (C2SP tlog-checkpoint,
//! Signatures).
//!
//! The last signed head is kept apart from the entries, and witnesses are asked for theirs: a restored backup or
//! an edited history is recognised here before it becomes a fork.

use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::tree::{Nodes, root};

/// Why a head is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WouldBreak<E> {
    /// The heads are of different logs.
    #[error("the last head is of {theirs}, this log is {ours}")]
    OtherLog {
        /// Origin here.
        ours: String,
        /// Origin of the head.
        theirs: String,
    },
    /// Entries are gone that were signed: a restored backup.
    #[error(
        "{signed} entries were signed, only {here} are here: the history was rolled back; \
         restore the missing entries from a newer copy"
    )]
    RolledBack {
        /// Entries of the head that was signed.
        signed: u64,
        /// Entries that are here.
        here: u64,
    },
    /// Entries differ from those that were signed.
    #[error(
        "the first {size} entries were signed with the root {signed}, here they have {here}: \
         the history was changed; restore the entries that were signed"
    )]
    Forked {
        /// Entries of the head that was signed.
        size: u64,
        /// Its root.
        signed: Hash,
        /// The root of as many entries here.
        here: Hash,
    },
    /// A hash cannot be had.
    #[error("{0}")]
    Nodes(E),
}

/// Whether a log with these entries extends a head that was signed before, its own or one that a witness holds.
pub fn extends<N: Nodes + ?Sized>(
    last: &Checkpoint,
    origin: &str,
    size: u64,
    nodes: &N,
) -> Result<(), WouldBreak<N::Error>> {
    if last.origin != origin {
        return Err(WouldBreak::OtherLog { ours: origin.to_owned(), theirs: last.origin.clone() });
    }
    if size < last.size {
        return Err(WouldBreak::RolledBack { signed: last.size, here: size });
    }
    let here = root(nodes, last.size).map_err(WouldBreak::Nodes)?;
    match here == last.root {
        true => Ok(()),
        false => Err(WouldBreak::Forked { size: last.size, signed: last.root, here }),
    }
}
