//! The one thread that writes: whatever waits is one transaction, and everybody is answered when that is durable.

use std::ops::Range;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use journal::Hash;
use journal::tile::{Level, Tiler};
use journal::tree::CompactRange;
use rusqlite::{Connection, Statement, Transaction, TransactionBehavior, params};

use super::{fault, signed};
use crate::{Answer, Expect, SNAPSHOTS_MAX, Snapshot, StoreError, check};

/// Most jobs, and about most bytes, of one transaction: what waits behind it waits for no longer than writing that takes.
const JOBS_MAX: usize = 8_192;
const BYTES_MAX: usize = 8 << 20;

/// What is to be written.
#[derive(Debug)]
pub(super) enum Job {
    Append { expect: Expect, entries: Vec<Vec<u8>>, answer: Answer },
    Checkpoint { size: u64, note: Vec<u8>, answer: Answer },
    Snapshot { snapshot: Snapshot, answer: Answer },
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Append { entries, .. } => entries.iter().map(Vec::len).sum(),
            Self::Checkpoint { note, .. } => note.len(),
            Self::Snapshot { snapshot, .. } => snapshot.blob.len(),
        }
    }
}

type Outcome = Result<Range<u64>, StoreError>;

#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    /// The tree over what is committed.
    tiler: Tiler,
    /// The same for everybody.
    head: Arc<Mutex<CompactRange>>,
    /// Why nothing is written any more.
    stopped: Option<StoreError>,
}

impl Writer {
    pub(super) fn new(
        mut connection: Connection,
        tiler: Tiler,
        head: Arc<Mutex<CompactRange>>,
    ) -> Self {
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        Self { connection, tiler, head, stopped: None }
    }

    /// Until nobody can hand over any more.
    pub(super) fn run(mut self, waiting: &Receiver<Job>) {
        let mut jobs = Vec::new();
        while let Ok(first) = waiting.recv() {
            let mut bytes = first.bytes();
            jobs.push(first);
            while jobs.len() < JOBS_MAX
                && bytes < BYTES_MAX
                && let Ok(next) = waiting.try_recv()
            {
                bytes += next.bytes();
                jobs.push(next);
            }
            self.commit(&mut jobs);
        }
    }

    fn commit(&mut self, jobs: &mut Vec<Job>) {
        let mut answers = Vec::with_capacity(jobs.len());
        let mut written = Vec::with_capacity(jobs.len());
        let done = match &self.stopped {
            Some(error) => Err(error.clone()),
            None => write(&mut self.connection, &self.tiler, jobs, &mut written),
        };
        answers.extend(jobs.drain(..).map(|job| match job {
            Job::Append { answer, .. }
            | Job::Checkpoint { answer, .. }
            | Job::Snapshot { answer, .. } => answer,
        }));
        match done {
            Ok(tiler) => {
                *self.head.lock().unwrap_or_else(PoisonError::into_inner) = tiler.range().clone();
                self.tiler = tiler;
            }
            Err(error) => {
                // Out of space is known before anything counts. After any other error nobody knows what the disk has.
                if self.stopped.is_none() && error != StoreError::Full {
                    self.stopped = Some(StoreError::Stopped(error.to_string()));
                }
                written.clear();
                written.resize(answers.len(), Err(error));
            }
        }
        for (answer, outcome) in answers.into_iter().zip(written) {
            // Whoever asked may have gone.
            let _ = answer.send(outcome);
        }
    }
}

/// Writes all jobs in one transaction. Returns the tree when it is durable; what came of each job is in `written`.
fn write(
    connection: &mut Connection,
    tiler: &Tiler,
    jobs: &[Job],
    written: &mut Vec<Outcome>,
) -> Result<Tiler, StoreError> {
    let mut tiler = tiler.clone();
    let before = tiler.size();
    let tx = connection.transaction().map_err(|e| fault(&e))?;
    let sql = "INSERT INTO entry (seq, body) VALUES ($1, $2)";
    let mut insert = tx.prepare(sql).map_err(|e| fault(&e))?;
    for job in jobs {
        written.push(match job {
            Job::Append { expect, entries, .. } => match check(*expect, tiler.size(), entries) {
                Ok(()) => Ok(append(&mut insert, &mut tiler, entries)?),
                Err(refused) => Err(refused),
            },
            Job::Checkpoint { size, note, .. } => {
                let sql = "INSERT INTO signed (id, size, note) VALUES (1, $1, $2)
                    ON CONFLICT (id) DO UPDATE SET size = excluded.size, note = excluded.note";
                tx.execute(sql, params![signed(*size), note]).map_err(|e| fault(&e))?;
                Ok(0..*size)
            }
            Job::Snapshot { snapshot, .. } => {
                save(&tx, snapshot)?;
                Ok(0..snapshot.size)
            }
        });
    }
    drop(insert);
    if tiler.size() > before {
        save_tree(&tx, &mut tiler)?;
    }
    tx.commit().map_err(|e| fault(&e))?;
    Ok(tiler)
}

fn append(
    insert: &mut Statement<'_>,
    tiler: &mut Tiler,
    entries: &[Vec<u8>],
) -> Result<Range<u64>, StoreError> {
    let first = tiler.size();
    for entry in entries {
        insert.execute(params![signed(tiler.size()), entry]).map_err(|e| fault(&e))?;
        tiler.append(Hash::leaf(entry)).map_err(|e| StoreError::Io(e.to_string()))?;
    }
    Ok(first..tiler.size())
}

fn save_tree(tx: &Transaction<'_>, tiler: &mut Tiler) -> Result<(), StoreError> {
    let sql = "INSERT INTO tile (level, number, hashes) VALUES ($1, $2, $3)
        ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes";
    let mut insert = tx.prepare(sql).map_err(|e| fault(&e))?;
    for tile in tiler.take() {
        if let Level::Hashes(level) = tile.path.level() {
            let number = signed(tile.path.index());
            insert.execute(params![level, number, tile.to_bytes()]).map_err(|e| fault(&e))?;
        }
    }
    let sql = "INSERT INTO head (id, size, edge) VALUES (1, $1, $2)
        ON CONFLICT (id) DO UPDATE SET size = excluded.size, edge = excluded.edge";
    let mut head = tx.prepare(sql).map_err(|e| fault(&e))?;
    head.execute(params![signed(tiler.size()), tiler.range().to_bytes()]).map_err(|e| fault(&e))?;
    Ok(())
}

fn save(tx: &Transaction<'_>, snapshot: &Snapshot) -> Result<(), StoreError> {
    let sql = "INSERT INTO snapshot (size, blob) VALUES ($1, $2)
        ON CONFLICT (size) DO UPDATE SET blob = excluded.blob";
    tx.execute(sql, params![signed(snapshot.size), snapshot.blob]).map_err(|e| fault(&e))?;
    let sql = "DELETE FROM snapshot WHERE size NOT IN
        (SELECT size FROM snapshot ORDER BY size DESC LIMIT $1)";
    let kept = i64::try_from(SNAPSHOTS_MAX).unwrap_or(i64::MAX);
    tx.execute(sql, params![kept]).map_err(|e| fault(&e))?;
    Ok(())
}
