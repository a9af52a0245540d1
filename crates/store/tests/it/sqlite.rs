//! The database: opened again, opened twice, half written, damaged.

use std::fs;
use std::path::Path;

use store::{Expect, Snapshot, Sqlite, Store, StoreError};

use crate::{bytes, folder};

#[test]
fn everything_is_there_after_opening_again() {
    let path = folder("again").join("journal.db");
    let mut size = 0;
    for add in [1, 254, 1, 1, 700] {
        let store = Sqlite::open(&path).unwrap();
        assert_eq!((store.head().size(), store.unfinished()), (size, None));
        store
            .append(Expect::At(size), (size..size + add).map(|n| bytes(n, "a")).collect())
            .unwrap();
        size += add;
        store.save_checkpoint(size, b"note").unwrap();
        store.save_snapshot(Snapshot { size, blob: vec![1, 2] }).unwrap();
    }
    let store = Sqlite::open(&path).unwrap();
    assert_eq!(store.read(0, size).unwrap(), (0..size).map(|n| bytes(n, "a")).collect::<Vec<_>>());
    assert_eq!(store.checkpoint().unwrap(), Some(b"note".to_vec()));
    assert_eq!(store.snapshot().unwrap(), Some(Snapshot { size, blob: vec![1, 2] }));
}

#[test]
fn two_cannot_write_the_same_database() {
    let path = folder("twice").join("journal.db");
    let first = Sqlite::open(&path).unwrap();
    assert!(matches!(Sqlite::open(&path), Err(StoreError::Busy(_))));
    drop(first);
    Sqlite::open(&path).unwrap();
}

#[test]
fn a_database_of_a_newer_program_is_refused() {
    let path = folder("newer").join("journal.db");
    drop(Sqlite::open(&path).unwrap());
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute("UPDATE format SET version = 2", []).unwrap();
    drop(raw);
    assert_eq!(Sqlite::open(&path).unwrap_err(), StoreError::Newer(2));
}

/// Copies a database with its log while it is open: what a disk has when the power goes.
fn copy(from: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let name = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            std::path::PathBuf::from(name)
        };
        fs::copy(name(from), name(to)).unwrap();
    }
}

/// The log of one append is cut, and overwritten, at every 97th byte. What was acknowledged before is always there, the
/// append is there whole or not at all, and what is left out is said.
#[test]
fn a_half_written_append_is_left_out_and_said() {
    let folder = folder("torn");
    let (path, torn) = (folder.join("journal.db"), folder.join("torn.db"));
    let wal = |path: &Path| path.with_extension("db-wal");
    let store = Sqlite::open(&path).unwrap();
    store.append(Expect::At(0), (0..300).map(|n| bytes(n, "a")).collect()).unwrap();
    copy(&path, &torn);
    let before = fs::read(wal(&path)).unwrap();
    let main = fs::read(&path).unwrap();
    store.append(Expect::At(300), (300..310).map(|n| bytes(n, "a")).collect()).unwrap();
    let after = fs::read(wal(&path)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), main, "the log was not moved into the database");
    assert!(after.len() > before.len() + 4_096 && after.starts_with(&before));
    let (mut said, mut whole, mut points) = (0, 0, 0);
    for at in (before.len()..=after.len()).step_by(97).chain([after.len()]) {
        for garbage in [None, Some(0), Some(0x5a)] {
            let mut log = after[..at].to_vec();
            if let Some(byte) = garbage {
                log.resize(after.len(), byte);
            }
            fs::write(&torn, &main).unwrap();
            fs::write(wal(&torn), &log).unwrap();
            let _ = fs::remove_file(torn.with_extension("db-shm"));
            let reopened = Sqlite::open(&torn).unwrap();
            let size = reopened.head().size();
            assert!(size == 300 || size == 310, "{size} entries with {at} bytes");
            let entries: Vec<_> = (0..size).map(|n| bytes(n, "a")).collect();
            assert_eq!(reopened.read(0, size).unwrap(), entries);
            points += 1;
            whole += usize::from(size == 310);
            if let Some(unfinished) = reopened.unfinished() {
                said += 1;
                assert_eq!(size, 300);
                assert!(unfinished.to_string().contains("left out"), "{unfinished}");
            }
            // It goes on.
            reopened.append(Expect::At(size), vec![bytes(size, "b")]).unwrap();
        }
    }
    // Only a frame of which not even the salts were written cannot be told from nothing.
    assert!(points > 300 && whole >= 3 && said + whole + 9 > points, "{points} {whole} {said}");
}

#[test]
fn a_database_that_contradicts_itself_is_not_written() {
    let damage = [
        ("DELETE FROM entry WHERE seq = 299", "it has 299 entries, and a tree of 300"),
        ("UPDATE tile SET hashes = zeroblob(1408) WHERE level = 0 AND number = 1", "edge"),
        ("DELETE FROM tile WHERE level = 0 AND number = 1", "missing"),
        ("UPDATE head SET edge = x'00'", "a compact range"),
    ];
    for (n, (sql, why)) in damage.into_iter().enumerate() {
        let path = folder(&format!("contradicts-{n}")).join("journal.db");
        let store = Sqlite::open(&path).unwrap();
        store.append(Expect::At(0), (0..300).map(|n| bytes(n, "a")).collect()).unwrap();
        drop(store);
        let raw = rusqlite::Connection::open(&path).unwrap();
        raw.execute(sql, []).unwrap();
        drop(raw);
        match Sqlite::open(&path) {
            Err(StoreError::Damaged(said)) => assert!(said.contains(why), "{sql}: {said}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

#[test]
fn an_entry_that_is_gone_from_the_middle_is_not_skipped() {
    let path = folder("gap").join("journal.db");
    let store = Sqlite::open(&path).unwrap();
    store.append(Expect::At(0), (0..20).map(|n| bytes(n, "a")).collect()).unwrap();
    drop(store);
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute("DELETE FROM entry WHERE seq = 7", []).unwrap();
    drop(raw);
    let store = Sqlite::open(&path).unwrap();
    assert_eq!(store.read(0, 7).unwrap().len(), 7);
    assert_eq!(store.read(0, 20), Err(StoreError::Damaged("entry 7 is missing".to_owned())));
}

#[test]
fn what_is_no_database_is_said() {
    let path = folder("foreign").join("journal.db");
    fs::write(&path, [b'x'; 8_192]).unwrap();
    assert!(matches!(Sqlite::open(&path), Err(StoreError::Damaged(_))));
}
