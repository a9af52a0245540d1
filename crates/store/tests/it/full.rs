//! A disk that fills: a file system of one megabyte, in a mount namespace of its own.
//!
//! The test starts itself anew inside the namespace. Without the right to make one it is skipped by name, and fails under
//! `RINGFENCE_STRICT`.

use std::process::Command;

use store::{Disk, Expect, LogError, Places, Sqlite, Store, StoreError};

use crate::{bytes, entry, folder, key, new_key, origin};

const INSIDE: &str = "RINGFENCE_TEST_SMALL_DISK";

#[test]
fn netns_a_full_disk_stops_writes_and_leaves_reads() {
    if let Some(small) = std::env::var_os(INSIDE) {
        return inside(small.as_ref());
    }
    let small = folder("small-disk");
    let script = "mount -t tmpfs -o size=1m none \"$1\" && shift && exec \"$@\"";
    let unshare = |program: &std::path::Path| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(&small).arg(program);
        command
    };
    let can = unshare("true".as_ref()).output();
    if !can.as_ref().is_ok_and(|can| can.status.success()) {
        assert!(std::env::var_os("RINGFENCE_STRICT").is_none(), "no mount namespace: {can:?}");
        println!("skipped: a full disk needs a mount namespace: {can:?}");
        return;
    }
    let ran = unshare(&std::env::current_exe().unwrap())
        .args(["--exact", "full::netns_a_full_disk_stops_writes_and_leaves_reads", "--nocapture"])
        .env(INSIDE, &small)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains("1 passed") && said.contains("the disk was full"), "{said}");
}

fn inside(disk: &std::path::Path) {
    std::fs::write(disk.join("filler"), vec![1; 400_000]).unwrap();
    let pem = new_key();
    let store = Sqlite::open(&disk.join("journal.db")).unwrap();
    let places = Places { tiles: disk.join("log"), signed: disk.join("signed") };
    let opened =
        store::Log::open(store, Disk, places, origin(), Box::new(key(&pem)), &crypto::Provider);
    let log = opened.unwrap().log;
    log.append(Expect::At(0), &[entry(0, "a")]).unwrap();
    let signed = log.publish().unwrap();
    // Until it is full.
    let full = (1..100_000).find_map(|n| log.append(Expect::At(n), &[entry(n, "a")]).err());
    assert_eq!(full, Some(LogError::Store(StoreError::Full)));
    println!("the disk was full");
    let size = log.store().head().size();
    assert!(size > 20, "{size}");
    // Reads go on: all that was acknowledged, and nothing else.
    assert_eq!(log.store().read(0, u64::MAX).unwrap().len() as u64, size);
    assert_eq!(log.store().read(size - 1, size).unwrap(), [bytes(size - 1, "a")]);
    // Nothing that is not durable is signed.
    match log.publish() {
        Ok(head) => assert_eq!(head.checkpoint().size, size),
        Err(error) => {
            assert_eq!(error, LogError::Store(StoreError::Full));
            let still = log.signed().unwrap().checkpoint().size;
            assert!(still == signed.checkpoint().size || still == size, "{still}");
        }
    }
    // Writes are refused, each of them, and the reason is the same.
    for _ in 0..3 {
        let big = vec![vec![3; 60_000]; 20];
        assert_eq!(log.store().append(Expect::At(size), big), Err(StoreError::Full));
        let refused = log.append(Expect::At(size), &[entry(size, "a")]);
        assert_eq!(refused, Err(LogError::Store(StoreError::Full)));
    }
    // With some space it goes on, and signs.
    std::fs::remove_file(disk.join("filler")).unwrap();
    assert_eq!(log.append(Expect::At(size), &[entry(size, "a")]).unwrap(), size..size + 1);
    assert_eq!(log.publish().unwrap().checkpoint().size, size + 1);
}
