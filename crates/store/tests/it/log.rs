//! A log on the machine's disk: what it writes is what a verifier reads, and an older copy signs nothing.

use std::fs;
use std::path::Path;

use crypto::Provider;
use journal::audit::{Finding, audit};
use journal::guard::WouldBreak;
use journal::tile::{Level, TilePath};
use journal::{bundle, checkpoint::SignedCheckpoint};
use store::{Disk, Expect, Log, LogError, Notice, Opened, Places, Sqlite, Store as _, TileFolder};

use crate::{entry, folder, key, new_key, origin, policy};

fn open(at: &Path, pem: &str) -> Result<Opened<Sqlite, Disk>, LogError> {
    let store = Sqlite::open(&at.join("journal.db"))?;
    let places = Places { tiles: at.join("log"), signed: at.join("signed") };
    Log::open(store, Disk, places, origin(), Box::new(key(pem)), &Provider)
}

fn append(log: &Log<Sqlite, Disk>, range: std::ops::Range<u64>, branch: &str) {
    let entries: Vec<_> = range.clone().map(|n| entry(n, branch)).collect();
    assert_eq!(log.append(Expect::At(range.start), &entries).unwrap(), range);
}

/// The auditor's findings in the folder of tiles, and how many entries are proven.
fn audited(at: &Path, pem: &str) -> (Vec<Finding>, u64) {
    let tiles = TileFolder::new(Disk, &at.join("log"));
    let note = tiles.checkpoint().unwrap().unwrap();
    let size = SignedCheckpoint::decode(&note).unwrap().checkpoint().size;
    let mut entries = Vec::new();
    for path in TilePath::all(size).filter(|p| p.level() == Level::Entries) {
        let bytes = tiles.entries(path).unwrap().unwrap();
        entries.extend(bundle::read(&bytes, path.width()).unwrap().into_iter().map(<[u8]>::to_vec));
    }
    let notes: [(&str, &[u8]); 1] = [("checkpoint", &note)];
    let report = audit(&entries, &notes, Some(&tiles), &policy(pem), &Provider);
    (report.findings, report.proven)
}

#[test]
fn what_is_published_is_what_an_auditor_proves() {
    let (at, pem) = (folder("published"), new_key());
    let mut size = 0;
    // With and without an end of the process between two heads.
    for (n, add) in [0, 1, 1, 253, 1, 1, 255, 1, 70_000, 3].into_iter().enumerate() {
        let opened = open(&at, &pem).unwrap();
        assert_eq!(opened.notices, []);
        append(&opened.log, size..size + add, "a");
        size += add;
        let signed = opened.log.publish().unwrap();
        assert_eq!(signed.checkpoint().size, size);
        assert_eq!(opened.log.publish().unwrap(), signed);
        if n % 2 == 0 {
            append(&opened.log, size..size + 2, "a");
            size += 2;
            opened.log.publish().unwrap();
        }
        assert_eq!(audited(&at, &pem), (vec![], size));
    }
    // Partial tiles that became full are gone; the last ones are there.
    assert!(!at.join("log/tile/0/000.p").exists() && !at.join("log/tile/1/000.p").exists());
    assert!(at.join("log/tile/0/000").exists() && at.join("log/tile/1/001.p").exists());
    assert!(at.join("log/tile/entries/275.p").exists());
}

#[test]
fn a_restored_backup_of_the_database_signs_no_fork() {
    let (at, pem) = (folder("restored"), new_key());
    let backup = folder("restored-backup");
    let database = |at: &Path| ["journal.db", "journal.db-wal"].map(|name| at.join(name));
    let log = open(&at, &pem).unwrap().log;
    append(&log, 0..300, "a");
    log.publish().unwrap();
    for (from, to) in database(&at).iter().zip(database(&backup)) {
        fs::copy(from, to).unwrap();
    }
    append(&log, 300..400, "a");
    let signed = log.publish().unwrap();
    drop(log);
    // The older copy comes back.
    let restore = || {
        for (from, to) in database(&backup).iter().zip(database(&at)) {
            fs::copy(from, to).unwrap();
        }
        let _ = fs::remove_file(at.join("journal.db-shm"));
    };
    restore();
    let refused = open(&at, &pem).unwrap_err();
    let LogError::WouldBreak(WouldBreak::RolledBack { signed: 400, here: 300 }) = refused else {
        panic!("{refused:?}");
    };
    assert!(refused.to_string().contains("rolled back"), "{refused}");
    // It was used without its record, and grew beyond what was signed: another history.
    let record = fs::read(at.join("signed")).unwrap();
    let store = Sqlite::open(&at.join("journal.db")).unwrap();
    let other = (300..500).map(|n| entry(n, "b").encode().unwrap()).collect();
    store.append(Expect::At(300), other).unwrap();
    drop(store);
    let refused = open(&at, &pem).unwrap_err();
    let fork = matches!(refused, LogError::WouldBreak(WouldBreak::Forked { size: 400, .. }));
    assert!(fork, "{refused:?}");
    // Nothing was signed meanwhile, and what is published is as it was.
    assert_eq!(fs::read(at.join("signed")).unwrap(), record);
    assert_eq!(fs::read_to_string(at.join("log/checkpoint")).unwrap(), signed.encode());
    assert_eq!(audited(&at, &pem), (vec![], 400));
    // With the entries that were signed it goes on.
    restore();
    let store = Sqlite::open(&at.join("journal.db")).unwrap();
    let same = (300..400).map(|n| entry(n, "a").encode().unwrap()).collect();
    store.append(Expect::At(300), same).unwrap();
    drop(store);
    let log = open(&at, &pem).unwrap().log;
    append(&log, 400..401, "a");
    assert_eq!(log.publish().unwrap().checkpoint().size, 401);
}

#[test]
fn a_backup_that_is_swapped_under_an_open_log_signs_nothing() {
    // The record alone is newer: as if it were put back from a witness.
    let (at, pem) = (folder("swapped"), new_key());
    let log = open(&at, &pem).unwrap().log;
    append(&log, 0..3, "a");
    log.publish().unwrap();
    drop(log);
    let (elsewhere, log) = (folder("swapped-elsewhere"), ());
    let () = log;
    let other = open(&elsewhere, &pem).unwrap().log;
    append(&other, 0..2, "a");
    append(&other, 2..4, "b");
    other.publish().unwrap();
    fs::copy(elsewhere.join("signed"), at.join("signed")).unwrap();
    let refused = open(&at, &pem).unwrap_err();
    let rolled =
        matches!(refused, LogError::WouldBreak(WouldBreak::RolledBack { signed: 4, here: 3 }));
    assert!(rolled, "{refused:?}");
}

#[test]
fn without_the_record_nothing_is_signed() {
    let (at, pem) = (folder("no-record"), new_key());
    let log = open(&at, &pem).unwrap().log;
    append(&log, 0..3, "a");
    let signed = log.publish().unwrap();
    drop(log);
    fs::remove_file(at.join("signed")).unwrap();
    assert!(matches!(open(&at, &pem), Err(LogError::NoRecord(_))));
    // The folder of tiles lost as well: the database still knows.
    fs::remove_dir_all(at.join("log")).unwrap();
    let refused = open(&at, &pem).unwrap_err();
    assert!(refused.to_string().contains("put the newest checkpoint"), "{refused}");
    // As it says.
    fs::write(at.join("signed"), signed.encode()).unwrap();
    let opened = open(&at, &pem).unwrap();
    assert_eq!(opened.notices, [Notice::Unpublished { published: 0, signed: 3 }]);
    opened.log.publish().unwrap();
    assert_eq!(audited(&at, &pem), (vec![], 3));
}

#[test]
fn a_record_that_somebody_else_signed_does_not_count() {
    let (at, pem) = (folder("foreign-record"), new_key());
    let log = open(&at, &pem).unwrap().log;
    append(&log, 0..1, "a");
    log.publish().unwrap();
    drop(log);
    let refused = open(&at, &new_key()).unwrap_err();
    assert!(matches!(refused, LogError::Record { .. }), "{refused:?}");
    let note = fs::read_to_string(at.join("signed")).unwrap();
    fs::write(at.join("signed"), &note[..note.len() / 2]).unwrap();
    assert!(matches!(open(&at, &pem), Err(LogError::Record { .. })));
}

#[test]
fn a_published_checkpoint_that_was_spoilt_is_written_anew() {
    let (at, pem) = (folder("spoilt"), new_key());
    let log = open(&at, &pem).unwrap().log;
    append(&log, 0..300, "a");
    log.publish().unwrap();
    drop(log);
    fs::write(at.join("log/checkpoint"), b"").unwrap();
    fs::write(at.join("log/tile/0/000"), b"rubbish").unwrap();
    let opened = open(&at, &pem).unwrap();
    assert!(matches!(opened.notices[..], [Notice::Republished { .. }, Notice::Unpublished { .. }]));
    opened.log.publish().unwrap();
    assert_eq!(audited(&at, &pem), (vec![], 300));
}
