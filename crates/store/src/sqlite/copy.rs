//! A copy of a database that others write meanwhile: as it was at one moment, in one file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, params};

use super::{fault, io};
use crate::StoreError;

/// What every database of SQLite begins with (its file format, §1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Whether a file is a database.
pub fn is_database(path: &Path) -> std::io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(16).read_to_end(&mut head)?;
    Ok(head == MAGIC)
}

/// Copies a database into a file that must not be there. Who writes it goes on meanwhile; what is in its write-ahead log is in the copy, and what
/// was erased from it is not. The copy is durable when its owner says so.
pub fn copy_database(from: &Path, to: &Path) -> Result<(), StoreError> {
    // Not read-only: a log that nobody has open any more is read by whoever may put it in order.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(from, flags).map_err(|e| fault(&e))?;
    connection.execute_batch("PRAGMA trusted_schema = OFF").map_err(|e| fault(&e))?;
    let Some(name) = to.to_str() else {
        let why = std::io::Error::other("its name is not UTF-8");
        return Err(io(to, &why));
    };
    connection.execute("VACUUM INTO $1", params![name]).map_err(|e| fault(&e))?;
    Ok(())
}
