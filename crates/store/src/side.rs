//! The erasable side store: personal data, apart from the journal, in a SQLite file of its own.
//!
//! An entry of the journal names a record and commits to it with [`commitment`]. The record can be erased; the entry stays and proves
//! nothing any more, because the salt is gone too. An erased record leaves its id behind, so that what was erased on purpose is told
//! from what was lost.
//!
//! Erased means gone from the files: freed pages are overwritten (`secure_delete`), and the write-ahead log is moved into the database and
//! emptied before [`Side::erase`] returns. What the disk below keeps of old blocks, and what copies were made, is not in its hands.
//!
//! It must never know what a record says.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use journal::Hash;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};

use crate::StoreError;
use crate::sqlite::{fault, lock, prepare};

/// The format of the database that is written.
const FORMAT: i64 = 1;
const SCHEMA: &str = include_str!("side.sql");
/// In front of salt and bytes, so that a commitment is the digest of nothing else.
const DOMAIN: &[u8] = b"ringfence/side/v1\0";
/// Bytes of a salt.
pub const SALT_BYTES: usize = 32;
/// Longest id of a record, in bytes.
pub const RECORD_ID_BYTES_MAX: usize = 128;
/// Most bytes of a record.
pub const RECORD_BYTES_MAX: usize = 64 << 10;

/// What an entry of the journal says instead of some bytes: SHA-256 of a domain, the salt and the bytes. The salt is random and of one
/// record only; without it nobody can try out what the bytes were.
pub fn commitment(salt: &[u8; SALT_BYTES], bytes: &[u8]) -> Hash {
    let mut whole = Vec::with_capacity(DOMAIN.len() + SALT_BYTES + bytes.len());
    whole.extend_from_slice(DOMAIN);
    whole.extend_from_slice(salt);
    whole.extend_from_slice(bytes);
    Hash::of(&whole)
}

/// What is known of a record.
#[derive(Clone, PartialEq, Eq)]
pub enum Record {
    /// It is here.
    Kept {
        /// Its salt.
        salt: [u8; SALT_BYTES],
        /// What it says.
        bytes: Vec<u8>,
    },
    /// It was here, and was erased on purpose. Everything that names it goes on without it.
    Erased,
    /// Nothing: it was never here, or the file is older than whatever names it.
    Unknown,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // Logs are not erasable.
            Self::Kept { bytes, .. } => write!(f, "Kept({} bytes)", bytes.len()),
            Self::Erased => f.write_str("Erased"),
            Self::Unknown => f.write_str("Unknown"),
        }
    }
}

/// A record compared with what an entry of the journal says of it.
#[derive(Clone, PartialEq, Eq)]
pub enum Verified {
    /// It is what was committed to.
    Kept(Vec<u8>),
    /// It was erased on purpose.
    Erased,
    /// It is not here, and was not erased.
    Unknown,
    /// It is not what was committed to: somebody changed this file.
    Altered,
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kept(bytes) => write!(f, "Kept({} bytes)", bytes.len()),
            Self::Erased => f.write_str("Erased"),
            Self::Unknown => f.write_str("Unknown"),
            Self::Altered => f.write_str("Altered"),
        }
    }
}

/// Why the side store refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SideError {
    /// An id has one record for ever.
    #[error("record {0} is there already, or was: make a new id")]
    Taken(String),
    /// The id or the bytes are out of their bounds.
    #[error(
        "record {0} is out of bounds: an id has 1 to {RECORD_ID_BYTES_MAX} bytes, a record up to {RECORD_BYTES_MAX}"
    )]
    Bounds(String),
    /// The record is gone from the database, and still in its log, because somebody else is reading. It is gone when the store is opened
    /// again, or the next record is erased.
    #[error(
        "what was erased is still in the log of the database, because another program reads it; end that one and erase again"
    )]
    Lingers,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The side store.
#[derive(Debug)]
pub struct Side {
    connection: Mutex<Connection>,
    /// Held for as long as this is open.
    _lock: std::fs::File,
}

impl Side {
    /// Opens the file, or makes one. Nobody else can have it open meanwhile. What an erasure left in the log when the power went is
    /// removed first.
    pub fn open(path: &Path) -> Result<Self, SideError> {
        let lock = lock(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(|e| fault(&e))?;
        connection
            .execute_batch(
                "PRAGMA secure_delete = ON; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
            )
            .map_err(|e| fault(&e))?;
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        prepare(&mut connection, Some(path), SCHEMA, FORMAT)?;
        // Where nothing in the log was whole, SQLite has filled the index of it (`-shm`) with what its memory held before: perhaps what was
        // erased. A page that is written to the log clears it. This one stays as it is, and is written all the same.
        connection.execute_batch("PRAGMA user_version = 0").map_err(|e| fault(&e))?;
        empty_log(&connection)?;
        Ok(Self { connection: Mutex::new(connection), _lock: lock })
    }

    /// Keeps a record under a new id. Returns when it is durable. The same record again is no error.
    pub fn put(&self, id: &str, salt: &[u8; SALT_BYTES], bytes: &[u8]) -> Result<(), SideError> {
        let id_fits = (1..=RECORD_ID_BYTES_MAX).contains(&id.len());
        if !id_fits || bytes.len() > RECORD_BYTES_MAX {
            return Err(SideError::Bounds(id.chars().take(RECORD_ID_BYTES_MAX).collect()));
        }
        let mut connection = self.guard();
        let tx = connection.transaction().map_err(|e| fault(&e))?;
        match record(&tx, id)? {
            Record::Unknown => {
                let sql = "INSERT INTO record (id, salt, bytes) VALUES ($1, $2, $3)";
                tx.execute(sql, params![id, salt, bytes]).map_err(|e| fault(&e))?;
                tx.commit().map_err(|e| fault(&e))?;
                Ok(())
            }
            Record::Kept { salt: old, bytes: same } if old == *salt && same == bytes => Ok(()),
            Record::Kept { .. } | Record::Erased => Err(SideError::Taken(id.to_owned())),
        }
    }

    /// The record of an id.
    pub fn get(&self, id: &str) -> Result<Record, SideError> {
        record(&self.guard(), id)
    }

    /// The record of an id, if it is what an entry committed to.
    pub fn verify(&self, id: &str, digest: &Hash) -> Result<Verified, SideError> {
        Ok(match self.get(id)? {
            Record::Kept { salt, bytes } if commitment(&salt, &bytes) == *digest => {
                Verified::Kept(bytes)
            }
            Record::Kept { .. } => Verified::Altered,
            Record::Erased => Verified::Erased,
            Record::Unknown => Verified::Unknown,
        })
    }

    /// Erases the salt and bytes of records, and returns when they are in none of its files any more. Ids that are not here count as
    /// erased from now on. Returns how many were there.
    pub fn erase(&self, ids: &[&str]) -> Result<usize, SideError> {
        if let Some(id) = ids.iter().find(|id| !(1..=RECORD_ID_BYTES_MAX).contains(&id.len())) {
            return Err(SideError::Bounds(id.chars().take(RECORD_ID_BYTES_MAX).collect()));
        }
        let mut connection = self.guard();
        let tx = connection.transaction().map_err(|e| fault(&e))?;
        let mut there = 0;
        for id in ids {
            let deleted = tx.execute("DELETE FROM record WHERE id = $1", params![id]);
            there += deleted.map_err(|e| fault(&e))?;
            let sql = "INSERT INTO erased (id) VALUES ($1) ON CONFLICT (id) DO NOTHING";
            tx.execute(sql, params![id]).map_err(|e| fault(&e))?;
        }
        tx.commit().map_err(|e| fault(&e))?;
        empty_log(&connection)?;
        Ok(there)
    }

    /// Ids of all records that are here, in order. For looking for those that nothing names.
    pub fn ids(&self) -> Result<Vec<String>, SideError> {
        let connection = self.guard();
        let mut statement =
            connection.prepare("SELECT id FROM record ORDER BY id").map_err(|e| fault(&e))?;
        let rows = statement.query_map([], |row| row.get(0)).map_err(|e| fault(&e))?;
        Ok(rows.collect::<Result<_, _>>().map_err(|e| fault(&e))?)
    }

    fn guard(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn record(connection: &Connection, id: &str) -> Result<Record, SideError> {
    let sql = "SELECT salt, bytes FROM record WHERE id = $1";
    let kept: Option<(Vec<u8>, Vec<u8>)> = connection
        .query_row(sql, params![id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(|e| fault(&e))?;
    if let Some((salt, bytes)) = kept {
        let salt = salt.try_into();
        let damaged = |_| StoreError::Damaged(format!("the salt of record {id} is not one"));
        return Ok(Record::Kept { salt: salt.map_err(damaged)?, bytes });
    }
    let sql = "SELECT id FROM erased WHERE id = $1";
    let erased: Option<String> = connection
        .query_row(sql, params![id], |row| row.get(0))
        .optional()
        .map_err(|e| fault(&e))?;
    Ok(erased.map_or(Record::Unknown, |_| Record::Erased))
}

/// Moves the log into the database and cuts it to nothing: no older version of a page is anywhere.
fn empty_log(connection: &Connection) -> Result<(), SideError> {
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy: i64 = connection.query_row(sql, [], |row| row.get(0)).map_err(|e| fault(&e))?;
    match busy {
        0 => Ok(()),
        _ => Err(SideError::Lingers),
    }
}
