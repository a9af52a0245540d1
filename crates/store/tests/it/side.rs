//! The side store: what is kept comes back, what is erased is in no file any more, whatever was cut off meanwhile.

use std::fs;
use std::path::{Path, PathBuf};

use journal::Hash;
use store::StoreError;
use store::side::{RECORD_BYTES_MAX, Record, Side, SideError, Verified, commitment};

use crate::folder;

const SALT: [u8; 32] = *b"~~~ the salt of Ada Lovelace ~~~";
const ADA: &[u8] = br#"{"login":"ada","name":"Ada Lovelace","contact":"ada@example.com"}"#;

fn at(test: &str) -> PathBuf {
    folder(&format!("side-{test}")).join("people.db")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Whether a piece of the salt or of the bytes is in any file of the store.
fn left(path: &Path) -> bool {
    ["", "-wal", "-shm", "-journal"].iter().any(|suffix| {
        let bytes = fs::read(beside(path, suffix)).unwrap_or_default();
        let has = |needle: &[u8]| bytes.windows(needle.len()).any(|w| w == needle);
        has(b"Lovelace ~~~") || has(b"Ada Lovelace") || has(b"ada@example.com")
    })
}

#[test]
fn a_record_comes_back_and_stays() {
    let path = at("stays");
    let side = Side::open(&path).unwrap();
    assert_eq!(side.get("a").unwrap(), Record::Unknown);
    let long = vec![0xff; RECORD_BYTES_MAX];
    for (id, bytes) in [("a", ADA), ("b", &[]), ("c", &long), ("'; DROP TABLE record; --", b"x")] {
        side.put(id, &SALT, bytes).unwrap();
        side.put(id, &SALT, bytes).unwrap();
        let kept = Record::Kept { salt: SALT, bytes: bytes.to_vec() };
        assert_eq!(side.get(id).unwrap(), kept);
    }
    drop(side);
    let side = Side::open(&path).unwrap();
    assert_eq!(side.ids().unwrap(), ["'; DROP TABLE record; --", "a", "b", "c"]);
    assert_eq!(side.get("c").unwrap(), Record::Kept { salt: SALT, bytes: long });
}

#[test]
fn an_id_has_one_record_for_ever() {
    let side = Side::open(&at("taken")).unwrap();
    side.put("a", &SALT, ADA).unwrap();
    let taken = Err(SideError::Taken("a".to_owned()));
    assert_eq!(side.put("a", &SALT, b"other"), taken);
    assert_eq!(side.put("a", &[0; 32], ADA), taken);
    assert_eq!(side.erase(&["a"]), Ok(1));
    assert_eq!(side.put("a", &SALT, ADA), taken);
    assert_eq!(side.get("a").unwrap(), Record::Erased);
}

#[test]
fn bounds_are_kept() {
    let side = Side::open(&at("bounds")).unwrap();
    let bounds = |result| assert!(matches!(result, Err(SideError::Bounds(_))), "{result:?}");
    bounds(side.put("", &SALT, ADA));
    bounds(side.put(&"x".repeat(129), &SALT, ADA));
    bounds(side.put("a", &SALT, &vec![0; RECORD_BYTES_MAX + 1]));
    assert!(side.erase(&["a", ""]).is_err());
    assert_eq!(side.get("a").unwrap(), Record::Unknown, "all or none are erased");
    side.put(&"x".repeat(128), &SALT, &vec![0; RECORD_BYTES_MAX]).unwrap();
}

#[test]
fn a_commitment_binds_salt_and_bytes() {
    let digest = commitment(&SALT, ADA);
    // SHA-256 of the domain, a zero byte, the salt and the bytes, as the documentation says.
    let whole = [b"ringfence/side/v1\0".as_slice(), &SALT, ADA].concat();
    assert_eq!(digest, Hash::of(&whole));
    assert_ne!(digest, commitment(&[0; 32], ADA));
    let path = at("verify");
    let side = Side::open(&path).unwrap();
    assert_eq!(side.verify("a", &digest).unwrap(), Verified::Unknown);
    side.put("a", &SALT, ADA).unwrap();
    assert_eq!(side.verify("a", &digest).unwrap(), Verified::Kept(ADA.to_vec()));
    assert_eq!(side.verify("a", &Hash([7; 32])).unwrap(), Verified::Altered);
    drop(side);
    for sql in ["UPDATE record SET bytes = x'00'", "UPDATE record SET salt = zeroblob(32)"] {
        let raw = rusqlite::Connection::open(&path).unwrap();
        raw.execute(sql, []).unwrap();
        drop(raw);
        let side = Side::open(&path).unwrap();
        assert_eq!(side.verify("a", &digest).unwrap(), Verified::Altered, "{sql}");
    }
    let side = Side::open(&path).unwrap();
    side.erase(&["a", "never-here"]).unwrap();
    assert_eq!(side.verify("a", &digest).unwrap(), Verified::Erased);
    assert_eq!(side.verify("never-here", &digest).unwrap(), Verified::Erased);
}

#[test]
fn what_is_erased_is_in_no_file_any_more() {
    let path = at("gone");
    let side = Side::open(&path).unwrap();
    // Long enough for pages of its own, with small ones beside it.
    let long = [ADA, &vec![b'.'; 20_000], ADA].concat();
    for n in 0..200 {
        side.put(&format!("other-{n}"), &[n; 32], b"somebody else").unwrap();
    }
    side.put("small", &SALT, ADA).unwrap();
    side.put("long", &SALT, &long).unwrap();
    assert!(left(&path), "the test looks in the right place");
    assert_eq!(side.erase(&["small", "long"]), Ok(2));
    assert!(!left(&path), "while it is open");
    assert_eq!(fs::metadata(beside(&path, "-wal")).map_or(0, |m| m.len()), 0);
    drop(side);
    assert!(!left(&path), "after it was closed");
    let side = Side::open(&path).unwrap();
    assert_eq!(side.ids().unwrap().len(), 200);
    assert_eq!(side.get("small").unwrap(), Record::Erased);
    assert_eq!(side.erase(&["small"]), Ok(0));
}

#[test]
fn somebody_who_reads_keeps_nothing_unnoticed() {
    let path = at("lingers");
    let side = Side::open(&path).unwrap();
    side.put("a", &SALT, ADA).unwrap();
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM record;").unwrap();
    assert_eq!(side.erase(&["a"]), Err(SideError::Lingers));
    assert!(left(&path));
    assert_eq!(side.get("a").unwrap(), Record::Erased);
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(side.erase(&["a"]), Ok(0));
    assert!(!left(&path));
}

/// The power goes while a record is written or erased: the log ends, or is garbage, at every 61st byte. The record is there whole or
/// not at all, one that is erased is in no file, and everything goes on.
#[test]
fn a_write_that_was_cut_off_is_whole_or_not_there() {
    let folder = folder("side-torn");
    let (path, torn) = (folder.join("people.db"), folder.join("torn.db"));
    drop(Side::open(&path).unwrap());
    let kept = Record::Kept { salt: SALT, bytes: ADA.to_vec() };
    let steps = [
        (
            "INSERT INTO record (id, salt, bytes) VALUES ('a', ?1, ?2)",
            Record::Unknown,
            kept.clone(),
        ),
        ("DELETE FROM record WHERE id = 'a' AND salt = ?1 AND bytes = ?2", kept, Record::Erased),
    ];
    for (sql, before, after) in steps {
        // As the store does it, but the log is left as it is.
        let raw = rusqlite::Connection::open(&path).unwrap();
        raw.execute_batch("PRAGMA journal_mode = WAL; PRAGMA secure_delete = ON; BEGIN").unwrap();
        assert_eq!(raw.execute(sql, rusqlite::params![SALT, ADA]), Ok(1));
        if after == Record::Erased {
            raw.execute("INSERT INTO erased (id) VALUES ('a')", []).unwrap();
        }
        raw.execute_batch("COMMIT").unwrap();
        let (main, wal) = (fs::read(&path).unwrap(), fs::read(beside(&path, "-wal")).unwrap());
        let (mut old, mut new) = (0, 0);
        for at in (0..wal.len()).step_by(61).chain([wal.len()]) {
            for garbage in [None, Some(0x5a)] {
                let mut log = wal[..at].to_vec();
                if let Some(byte) = garbage {
                    log.resize(wal.len(), byte);
                }
                fs::write(&torn, &main).unwrap();
                fs::write(beside(&torn, "-wal"), &log).unwrap();
                let _ = fs::remove_file(beside(&torn, "-shm"));
                let side = Side::open(&torn).unwrap();
                let found = side.get("a").unwrap();
                assert!(found == before || found == after, "{found:?} with {at} bytes");
                assert_eq!(left(&torn), matches!(found, Record::Kept { .. }), "{at} bytes");
                old += usize::from(found == before);
                new += usize::from(found == after);
                side.erase(&["a"]).unwrap();
                assert!(!left(&torn), "{at} bytes");
            }
        }
        assert!(old > 50 && new >= 2, "{old} {new}");
        drop(raw);
    }
}

/// SQLite makes an index of the log when it is opened, in a file of its own; of a log in which nothing is whole it once held what the
/// memory of the process had held before.
#[test]
fn an_index_of_nothing_holds_nothing() {
    let folder = folder("side-index");
    let (path, torn) = (folder.join("people.db"), folder.join("torn.db"));
    drop(Side::open(&path).unwrap());
    let raw = rusqlite::Connection::open(&path).unwrap();
    let sql = "INSERT INTO record (id, salt, bytes) VALUES ('a', ?1, ?2)";
    assert_eq!(raw.execute(sql, rusqlite::params![SALT, ADA]), Ok(1));
    let (main, wal) = (fs::read(&path).unwrap(), fs::read(beside(&path, "-wal")).unwrap());
    for at in (33..4_152).step_by(97) {
        fs::write(&torn, &main).unwrap();
        fs::write(beside(&torn, "-wal"), &wal[..at]).unwrap();
        let _ = fs::remove_file(beside(&torn, "-shm"));
        // Memory that is given back, and not all of it to the kernel.
        let (used, above) = (vec![ADA.repeat(600); 16], ADA.repeat(600));
        drop(used);
        let side = Side::open(&torn).unwrap();
        drop(above);
        assert_eq!(side.get("a").unwrap(), Record::Unknown);
        assert!(!left(&torn), "{at} bytes");
    }
}

#[test]
fn one_at_a_time_and_no_newer_format() {
    let path = at("formats");
    let side = Side::open(&path).unwrap();
    assert!(matches!(Side::open(&path), Err(SideError::Store(StoreError::Busy(_)))));
    drop(side);
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute("UPDATE format SET version = 2", []).unwrap();
    drop(raw);
    assert_eq!(Side::open(&path).unwrap_err(), SideError::Store(StoreError::Newer(2)));
    let foreign = path.with_file_name("foreign.db");
    fs::write(&foreign, [b'x'; 8_192]).unwrap();
    assert!(matches!(Side::open(&foreign), Err(SideError::Store(StoreError::Damaged(_)))));
}

#[test]
fn nothing_personal_is_in_what_is_logged() {
    let record = Record::Kept { salt: SALT, bytes: ADA.to_vec() };
    let text = format!("{record:?} {:?}", Verified::Kept(ADA.to_vec()));
    assert_eq!(text, "Kept(65 bytes) Kept(65 bytes)");
}
