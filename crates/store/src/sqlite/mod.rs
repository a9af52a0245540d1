//! A store in one SQLite file: one thread writes, with group commit; readers go on beside it.
//!
//! The file is in WAL mode with `synchronous = FULL`: a commit returns when its bytes are on the disk. What was half written
//! when the power went is left out by SQLite, and told by [`Sqlite::unfinished`].

mod copy;
mod wal;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use journal::tile::{Tiler, WIDTH};
use journal::tree::CompactRange;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use crate::{Expect, READ_BYTES_MAX, Snapshot, Store, StoreError, StoreTiles, Ticket};

use self::writer::{Job, Writer};

pub use self::copy::{copy_database, is_database};
pub use self::wal::Unfinished;

/// The format of the database that is written.
pub(crate) const FORMAT: i64 = 1;
const SCHEMA: &str = include_str!("schema.sql");
/// Jobs that wait for the writer before callers have to wait.
const WAITING_MAX: usize = 16_384;

/// A store in one file.
#[derive(Debug)]
pub struct Sqlite {
    /// `None` while it ends.
    jobs: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
    head: Arc<Mutex<CompactRange>>,
    reader: Mutex<Connection>,
    unfinished: Option<Unfinished>,
    /// Held for as long as this writes.
    _lock: File,
}

impl Sqlite {
    /// Opens the database, or makes one. Nobody else can write it meanwhile.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let unfinished = wal::unfinished(path).map_err(|e| io(path, &e))?;
        let mut connection = connect(path)?;
        prepare(&mut connection, Some(path), SCHEMA, FORMAT)?;
        let reader = connect(path)?;
        reader.pragma_update(None, "query_only", true).map_err(|e| fault(&e))?;
        let reader = Mutex::new(reader);
        let tiler = resume(&reader)?;
        let head = Arc::new(Mutex::new(tiler.range().clone()));
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let writer = Writer::new(connection, tiler, Arc::clone(&head));
        let writer = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(|e| io(path, &e))?;
        Ok(Self { jobs: Some(jobs), writer: Some(writer), head, reader, unfinished, _lock: lock })
    }

    /// What was half written when the last process ended, and is not here because nobody was told that it is.
    pub const fn unfinished(&self) -> Option<&Unfinished> {
        self.unfinished.as_ref()
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        let ended = || StoreError::Stopped("its writer has ended".to_owned());
        self.jobs.as_ref().ok_or_else(ended)?.send(job).map_err(|_| ended())
    }

    /// Sends a job that is about the first `size` entries, and waits for it.
    fn ask(&self, size: u64, job: impl FnOnce(crate::Answer) -> Job) -> Result<(), StoreError> {
        let (answer, ticket) = Ticket::new();
        let durable = self.head().size();
        if size > durable {
            return Err(StoreError::Ahead { size, durable });
        }
        self.send(job(answer))?;
        ticket.wait().map(drop)
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // The writer ends when all jobs are done, and the lock is given back after that.
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Store for Sqlite {
    fn submit(&self, expect: Expect, entries: Vec<Vec<u8>>) -> Ticket {
        let (answer, ticket) = Ticket::new();
        match self.send(Job::Append { expect, entries, answer }) {
            Ok(()) => ticket,
            Err(error) => Ticket::answered(Err(error)),
        }
    }

    fn head(&self) -> CompactRange {
        self.head.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn read(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        // What is committed and not yet acknowledged is nobody's business.
        let to = to.min(self.head().size());
        let reader = guard(&self.reader);
        let mut entries = Vec::new();
        let mut bytes = 0;
        let sql = "SELECT seq, body FROM entry WHERE seq >= $1 AND seq < $2 ORDER BY seq";
        let mut statement = reader.prepare(sql).map_err(|e| fault(&e))?;
        let mut rows = statement.query(params![signed(from), signed(to)]).map_err(|e| fault(&e))?;
        let mut next = from;
        while bytes < READ_BYTES_MAX
            && next < to
            && let Some(row) = rows.next().map_err(|e| fault(&e))?
        {
            let (seq, body) = (row.get(0), row.get(1));
            let (seq, body): (i64, Vec<u8>) =
                (seq.map_err(|e| fault(&e))?, body.map_err(|e| fault(&e))?);
            if seq != signed(next) {
                break;
            }
            bytes += body.len();
            next += 1;
            entries.push(body);
        }
        match bytes < READ_BYTES_MAX && next < to {
            true => Err(StoreError::Damaged(format!("entry {next} is missing"))),
            false => Ok(entries),
        }
    }

    fn tile(&self, level: u8, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        tile(&guard(&self.reader), level, index)
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let reader = guard(&self.reader);
        let sql = "SELECT note FROM signed WHERE id = 1";
        reader.query_row(sql, [], |row| row.get(0)).optional().map_err(|e| fault(&e))
    }

    fn save_checkpoint(&self, size: u64, note: &[u8]) -> Result<(), StoreError> {
        self.ask(size, |answer| Job::Checkpoint { size, note: note.to_vec(), answer })
    }

    fn snapshot(&self) -> Result<Option<Snapshot>, StoreError> {
        let reader = guard(&self.reader);
        let sql = "SELECT size, blob FROM snapshot ORDER BY size DESC LIMIT 1";
        let newest: Option<(i64, Vec<u8>)> = reader
            .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(|e| fault(&e))?;
        newest.map(|(size, blob)| Ok(Snapshot { size: unsigned(size)?, blob })).transpose()
    }

    fn save_snapshot(&self, snapshot: Snapshot) -> Result<(), StoreError> {
        self.ask(snapshot.size, |answer| Job::Snapshot { snapshot, answer })
    }
}

pub(crate) fn lock(path: &Path) -> Result<File, StoreError> {
    let path = beside(path, ".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|e| io(&path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Busy(path)),
        Err(TryLockError::Error(e)) => Err(io(&path, &e)),
    }
}

/// The file with something behind its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| fault(&e))?;
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;
             PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
        )
        .map_err(|e| fault(&e))?;
    Ok(connection)
}

/// Makes the tables of a new database; `format` is required of an old one. With its `path` the names of a new database and of its log are
/// durable, too.
pub(crate) fn prepare(
    connection: &mut Connection,
    path: Option<&Path>,
    schema: &str,
    format: i64,
) -> Result<(), StoreError> {
    let sql = "SELECT name FROM sqlite_master WHERE name = 'format'";
    let has: Option<String> =
        connection.query_row(sql, [], |row| row.get(0)).optional().map_err(|e| fault(&e))?;
    if has.is_none() {
        let tx = connection.transaction().map_err(|e| fault(&e))?;
        tx.execute_batch(schema).map_err(|e| fault(&e))?;
        tx.commit().map_err(|e| fault(&e))?;
        if let Some(folder) = path.and_then(Path::parent) {
            crate::Files::sync_folder(&crate::Disk, folder).map_err(|e| io(folder, &e))?;
        }
    }
    let sql = "SELECT version FROM format WHERE id = 1";
    match connection.query_row(sql, [], |row| row.get(0)).map_err(|e| fault(&e))? {
        known if known == format => Ok(()),
        other if other > format => Err(StoreError::Newer(other)),
        other => Err(StoreError::Damaged(format!("it says that its format is {other}"))),
    }
}

/// Goes on where the tree was left. Entries, tiles and edge have to agree at the right end.
fn resume(reader: &Mutex<Connection>) -> Result<Tiler, StoreError> {
    let damaged = |why: String| StoreError::Damaged(why);
    let edge: Option<(i64, Vec<u8>)> = guard(reader)
        .query_row("SELECT size, edge FROM head WHERE id = 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()
        .map_err(|e| fault(&e))?;
    let last: Option<i64> = guard(reader)
        .query_row("SELECT MAX(seq) FROM entry", [], |row| row.get(0))
        .map_err(|e| fault(&e))?;
    let entries = last.map_or(Ok(0), |n| unsigned(n).map(|n| n + 1))?;
    let range = match edge {
        Some((_, edge)) => CompactRange::from_bytes(&edge).map_err(|e| damaged(e.to_string()))?,
        None => CompactRange::new(),
    };
    if range.size() != entries {
        return Err(damaged(format!("it has {entries} entries, and a tree of {}", range.size())));
    }
    let tiles = StoreTiles::new(reader);
    let tiler = Tiler::resume(&tiles, entries).map_err(|e| damaged(e.to_string()))?;
    match *tiler.range() == range {
        true => Ok(tiler),
        false => Err(damaged("the edge of its tree is not that of its tiles".to_owned())),
    }
}

impl crate::tiles::Rows for Mutex<Connection> {
    fn row(&self, level: u8, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        tile(&guard(self), level, index)
    }
}

fn tile(reader: &Connection, level: u8, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT hashes FROM tile WHERE level = $1 AND number = $2";
    let mut statement = reader.prepare(sql).map_err(|e| fault(&e))?;
    let row = statement.query_row(params![level, signed(index)], |row| row.get(0)).optional();
    let hashes: Option<Vec<u8>> = row.map_err(|e| fault(&e))?;
    match hashes {
        Some(h) if h.len() > usize::from(WIDTH) * 32 || !h.len().is_multiple_of(32) => {
            Err(StoreError::Damaged(format!("tile {level}/{index} has {} bytes", h.len())))
        }
        hashes => Ok(hashes),
    }
}

fn guard(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// No number of an entry is above [`journal::SIZE_MAX`].
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(n: i64) -> Result<u64, StoreError> {
    u64::try_from(n).map_err(|_| StoreError::Damaged(format!("it has the number {n}")))
}

pub(crate) fn io(path: &Path, error: &std::io::Error) -> StoreError {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Io(format!("{}: {error}", path.display())),
    }
}

pub(crate) fn fault(error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode as Code;
    match error.sqlite_error_code() {
        Some(Code::DiskFull) => StoreError::Full,
        Some(Code::DatabaseCorrupt | Code::NotADatabase) => StoreError::Damaged(error.to_string()),
        _ => StoreError::Io(error.to_string()),
    }
}
