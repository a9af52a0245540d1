//! Keeps the journal: entries with their tree in a database, tiles and signed heads in files.
//!
//! * [`Store`]: what a database of entries promises. [`Memory`] and [`Sqlite`] keep the promise; one suite of tests
//!   (`tests/it/conformance.rs`) runs on both.
//! * [`Log`]: a store, a folder of tiles that any web server can serve (C2SP tlog-tiles), and the key. It signs only heads
//!   whose bytes are durable and which extend what was signed last.
//! * [`Witnesses`]: who cosigns its heads, asked over [`Http`]. One that holds something else stops the log.
//! * [`Files`]: the few operations on files that it needs, so that tests can take the power away between any two.
//!
//! Beside the journal: [`side`], which can erase, and [`flows`], which is telemetry.
//!
//! It must never know what an entry means.

mod disk;
mod error;
mod files;
pub mod flows;
mod http;
mod log;
mod memory;
pub mod side;
mod sqlite;
mod tiles;
mod witnesses;

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use journal::tree::CompactRange;

pub use disk::Disk;
pub use error::{LogError, StoreError};
pub use files::{Files, replace};
pub use http::{Http, WebTiles, Wire};
pub use log::{Log, Notice, Opened, Places};
pub use memory::Memory;
pub use sqlite::{Sqlite, Unfinished, copy_database, is_database};
pub use tiles::{StoreTiles, TileFolder};
pub use witnesses::{Late, Witnesses};

/// Which number the first of the appended entries has to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// This one: whoever decided on the state after as many entries, and on no other.
    At(u64),
    /// The next one, whatever it is: facts that hold beside any others.
    Next,
}

/// State at some number of entries, as bytes that only its maker understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The state after this many entries.
    pub size: u64,
    /// The bytes.
    pub blob: Vec<u8>,
}

/// How many snapshots are kept: the newest, and one to fall back on.
pub const SNAPSHOTS_MAX: usize = 2;
/// Most bytes that one [`Store::read`] returns, but for the last entry.
pub const READ_BYTES_MAX: usize = 16 << 20;

/// A database of entries, with the Merkle tree over them.
pub trait Store: Send + Sync {
    /// Hands entries over to be appended, all or none. The ticket is answered when they are durable, so that one caller can have many on
    /// the way; they are appended in the order of handing over.
    fn submit(&self, expect: Expect, entries: Vec<Vec<u8>>) -> Ticket;

    /// Appends entries and waits until they are durable. Returns their numbers.
    fn append(&self, expect: Expect, entries: Vec<Vec<u8>>) -> Result<Range<u64>, StoreError> {
        self.submit(expect, entries).wait()
    }

    /// The tree over everything that is durable.
    fn head(&self) -> CompactRange;

    /// Entries from number `from` to before `to`: at least one where there is one, and about [`READ_BYTES_MAX`] at most.
    fn read(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, StoreError>;

    /// The hashes of a tile as far as there are any: up to 256 of 32 bytes.
    fn tile(&self, level: u8, index: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// The checkpoint that was saved last.
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Saves a signed checkpoint of a tree of `size` entries in place of the last one. Refused when that many are not durable.
    fn save_checkpoint(&self, size: u64, note: &[u8]) -> Result<(), StoreError>;

    /// The newest snapshot.
    fn snapshot(&self) -> Result<Option<Snapshot>, StoreError>;

    /// Saves a snapshot and forgets all but the newest [`SNAPSHOTS_MAX`]. Refused when that many entries are not durable.
    fn save_snapshot(&self, snapshot: Snapshot) -> Result<(), StoreError>;
}

/// What a caller waits on.
#[derive(Debug)]
pub struct Ticket(Receiver<Result<Range<u64>, StoreError>>);

/// Who answers a [`Ticket`].
type Answer = SyncSender<Result<Range<u64>, StoreError>>;

impl Ticket {
    fn new() -> (Answer, Self) {
        let (answer, ticket) = sync_channel(1);
        (answer, Self(ticket))
    }

    fn answered(with: Result<Range<u64>, StoreError>) -> Self {
        let (answer, ticket) = Self::new();
        // There is room for one.
        let _ = answer.send(with);
        ticket
    }

    /// Waits until the entries are durable. Returns their numbers.
    pub fn wait(self) -> Result<Range<u64>, StoreError> {
        let gone = |_| StoreError::Stopped("its writer has ended".to_owned());
        self.0.recv().map_err(gone)?
    }
}

/// Whether entries may be appended to a tree of `size`.
fn check(expect: Expect, size: u64, entries: &[Vec<u8>]) -> Result<(), StoreError> {
    match expect {
        Expect::At(expected) if expected != size => {
            return Err(StoreError::Conflict { expected, size });
        }
        Expect::At(_) | Expect::Next => (),
    }
    let longest = entries.iter().map(Vec::len).max().unwrap_or(0);
    match longest > journal::bundle::ENTRY_BYTES_MAX {
        true => Err(StoreError::TooLong(longest)),
        false => Ok(()),
    }
}
