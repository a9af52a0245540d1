//! A store in memory: for tests, for demonstrations, and as the plainest reading of what a store promises.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use journal::Hash;
use journal::tile::{Level, Tiler};
use journal::tree::CompactRange;

use crate::{Expect, READ_BYTES_MAX, SNAPSHOTS_MAX, Snapshot, Store, StoreError, Ticket, check};

/// A store that lasts as long as its process.
#[derive(Debug, Default)]
pub struct Memory(Mutex<State>);

#[derive(Clone, Debug, Default)]
struct State {
    entries: Vec<Vec<u8>>,
    tiler: Tiler,
    tiles: BTreeMap<(u8, u64), Vec<u8>>,
    checkpoint: Option<Vec<u8>>,
    snapshots: BTreeMap<u64, Vec<u8>>,
}

impl Memory {
    /// Without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that is in it now, as a store of its own.
    pub fn copy(&self) -> Self {
        Self(Mutex::new(self.state().clone()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A change is made when nothing can fail any more.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, expect: Expect, entries: Vec<Vec<u8>>) -> Result<Range<u64>, StoreError> {
        let first = self.tiler.range().size();
        check(expect, first, &entries)?;
        let mut tiler = self.tiler.clone();
        for entry in &entries {
            tiler.append(Hash::leaf(entry)).map_err(|e| StoreError::Io(e.to_string()))?;
        }
        for tile in tiler.take() {
            if let Level::Hashes(level) = tile.path.level() {
                self.tiles.insert((level, tile.path.index()), tile.to_bytes());
            }
        }
        self.entries.extend(entries);
        self.tiler = tiler;
        Ok(first..self.tiler.range().size())
    }

    fn durable(&self, size: u64) -> Result<(), StoreError> {
        match self.tiler.range().size() {
            durable if size > durable => Err(StoreError::Ahead { size, durable }),
            _ => Ok(()),
        }
    }
}

impl Store for Memory {
    fn submit(&self, expect: Expect, entries: Vec<Vec<u8>>) -> Ticket {
        Ticket::answered(self.state().append(expect, entries))
    }

    fn head(&self) -> CompactRange {
        self.state().tiler.range().clone()
    }

    fn read(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let state = self.state();
        let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(state.entries.len());
        let mut bytes = 0;
        let room = |entry: &&Vec<u8>| {
            let fits = bytes < READ_BYTES_MAX;
            bytes += entry.len();
            fits
        };
        let range = state.entries.get(at(from)..at(to)).unwrap_or_default();
        Ok(range.iter().take_while(room).cloned().collect())
    }

    fn tile(&self, level: u8, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().tiles.get(&(level, index)).cloned())
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().checkpoint.clone())
    }

    fn save_checkpoint(&self, size: u64, note: &[u8]) -> Result<(), StoreError> {
        let mut state = self.state();
        state.durable(size)?;
        state.checkpoint = Some(note.to_vec());
        Ok(())
    }

    fn snapshot(&self) -> Result<Option<Snapshot>, StoreError> {
        let newest = self.state().snapshots.last_key_value().map(|(n, blob)| (*n, blob.clone()));
        Ok(newest.map(|(size, blob)| Snapshot { size, blob }))
    }

    fn save_snapshot(&self, snapshot: Snapshot) -> Result<(), StoreError> {
        let mut state = self.state();
        state.durable(snapshot.size)?;
        state.snapshots.insert(snapshot.size, snapshot.blob);
        while state.snapshots.len() > SNAPSHOTS_MAX {
            state.snapshots.pop_first();
        }
        Ok(())
    }
}
