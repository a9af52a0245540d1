//! A controller in one file and back: the same estate, or an error that says what is wrong, and nothing left behind.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use controller::backup::{self, BackupError, Held, Manifest};
use crypto::Sha256;
use serde_json::{Value, json};
use store::Store as _;
use tar::{Builder, EntryType, Header};

use crate::{Folder, Running, now, sample, start};

/// A controller with a policy folder in force, an operator, and signed entries.
async fn used(folder: &Folder) -> Running {
    let running = start(folder);
    running.state.write("name", b"ringfence.example\n", 0o644).unwrap();
    let body = json!({ "files": sample(), "origin": "sample", "why": "the first folder" });
    let set = running.ask("policy-admin", "PUT", "/v1/policy", Some(body)).await;
    assert_eq!(set.status, 200, "{}", set.body);
    running.pdp.settle("policy", running.hub.now()).unwrap();
    running.hub.publish().unwrap();
    running
}

fn made(folder: &Folder, file: &Path) -> Held {
    backup::make(&folder.0, file, false, now, &mut |_, _, _| {}).unwrap()
}

fn restored(file: &Path, to: &Path) -> Result<Held, BackupError> {
    backup::restore(file, to, now, &mut |_, _, _| {})
}

/// A folder for backups, and what is put back.
fn desk() -> Folder {
    let desk = Folder::new();
    fs::create_dir_all(&desk.0).unwrap();
    desk
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_is_put_back_is_the_estate_with_its_tiles_made_again_and_new_secrets_of_the_machine() {
    let (folder, desk) = (Folder::new(), desk());
    let running = used(&folder).await;
    let file = desk.0.join("b.rfbk");
    let held = made(&folder, &file);
    assert_eq!(held.left_out, ["flows.db", "host-token", "log/", "setup-token"]);
    assert_eq!(held.facts.operators, 1);
    assert_eq!(held.facts.operators_lost, 0);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(&desk.0), ["b.rfbk"], "nothing is left beside it");
    // Every file of the folder is in it, or is one that is meant not to be.
    let of = |path: &str| held.manifest.files.iter().any(|file| file.path == path);
    for name in names(&folder.0) {
        let inside = of(&name)
            || held.manifest.files.iter().any(|f| f.path.starts_with(&format!("{name}/")));
        let meant = ["host-token", "setup-token", "log", "lock", "flows.db"]
            .contains(&name.as_str())
            || [".lock", "-wal", "-shm"].iter().any(|end| name.ends_with(end));
        assert!(inside != meant, "{name}");
    }

    let before = running.hub.read(Clone::clone);
    let (signed, host) = (running.hub.log().signed().unwrap(), running.host());
    let checkpoint = fs::read(folder.0.join("log/checkpoint")).unwrap();
    assert_eq!(running.hub.log().store().head().root().to_base64(), held.manifest.journal.root);
    drop(running);
    let again = Folder(desk.0.join("again/"));
    let put_back = restored(&file, &again.0).unwrap();
    assert_eq!((&put_back.manifest, &put_back.facts), (&held.manifest, &held.facts));
    assert_eq!(fs::metadata(&again.0).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(!again.0.join("log").exists());

    let running = start(&again);
    assert!(running.hub.read(|estate| *estate == before), "it is the same estate");
    assert_ne!(running.host(), host, "this machine's secret is a new one");
    assert_eq!(running.hub.log().signed().unwrap(), signed);
    assert!(
        running.notes.iter().any(|note| note.contains("published next")),
        "{:?}",
        running.notes
    );
    running.hub.publish().unwrap();
    let after = fs::read(again.0.join("log/checkpoint")).unwrap();
    // As many entries at least, and the same ones: it is one log.
    assert!(running.hub.log().signed().unwrap().checkpoint().size >= signed.checkpoint().size);
    assert!(after.len() > 100 && checkpoint.len() > 100);
    for tile in ["tile/0", "tile/entries"] {
        assert!(again.0.join("log").join(tile).is_dir(), "{tile}");
    }
    // And it goes on.
    let team = json!({ "name": "Night", "contact": "n@example.com", "escalate_after_min": 30, "why": "shifts" });
    assert_eq!(running.ask("operator", "PUT", "/v1/teams/night", Some(team)).await.status, 200);
    running.hub.publish().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_fits_together_while_operators_and_the_journal_change() {
    let (folder, desk) = (Folder::new(), desk());
    let running = Arc::new(used(&folder).await);
    running.bearer("operator").await;
    let stop = Arc::new(AtomicBool::new(false));
    let id = running.operator("operator").await.unwrap();
    let changed = Arc::new(AtomicU32::new(0));
    let changing = {
        let (running, stop) = (Arc::clone(&running), Arc::clone(&stop));
        let changed = Arc::clone(&changed);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap();
            while !stop.load(Ordering::SeqCst) {
                let n = changed.fetch_add(1, Ordering::SeqCst);
                let change = json!({ "contact": format!("desk {n}"), "why": "it moves" });
                let (path, host) = (format!("/v1/operators/{id}"), running.host());
                let done = running.send(&host, "PATCH", &path, Some(change), &[], None);
                let done = runtime.block_on(done);
                assert_eq!(done.status, 200, "{}", done.body);
                std::thread::park_timeout(std::time::Duration::from_millis(20));
            }
        })
    };
    let mut n = 0;
    // Some while it changes, however fast they are.
    while n < 5 || (changed.load(Ordering::SeqCst) < 6 && n < 500) {
        n += 1;
        let (file, to) = (desk.0.join(format!("{n}.rfbk")), desk.0.join(format!("{n}")));
        let state = folder.0.clone();
        let held = tokio::task::spawn_blocking(move || {
            backup::make(&state, &file, false, now, &mut |_, _, _| {}).unwrap();
            restored(&file, &to).unwrap()
        });
        let held = held.await.unwrap();
        assert_eq!((held.facts.operators, held.facts.operators_lost), (2, 0));
        assert!(held.facts.signed.unwrap() <= held.facts.entries);
    }
    stop.store(true, Ordering::SeqCst);
    changing.join().unwrap();
    assert!(changed.load(Ordering::SeqCst) > 5, "they did change");
}

#[tokio::test]
async fn a_wrong_byte_anywhere_and_a_missing_end_are_found_and_nothing_is_left() {
    let (folder, desk) = (Folder::new(), desk());
    drop(used(&folder).await);
    let file = desk.0.join("b.rfbk");
    made(&folder, &file);
    let good = fs::read(&file).unwrap();
    let (bad, to) = (desk.0.join("bad"), desk.0.join("to"));
    let last = good.len() - 1;
    let places = (0..64).chain((64..good.len()).step_by(211)).chain(last - 60..=last);
    for at in places {
        let mut bytes = good.clone();
        bytes[at] ^= 0x20;
        fs::write(&bad, bytes).unwrap();
        let error = restored(&bad, &to).unwrap_err();
        let found = matches!(error, BackupError::Damaged { .. } | BackupError::NoBackup(_));
        assert!(found, "{at}: {error}");
    }
    for length in [0, 1, 47, 48, 60, good.len() / 2, last] {
        fs::write(&bad, &good[..length]).unwrap();
        let error = restored(&bad, &to).unwrap_err();
        assert!(error.to_string().contains("take another one"), "{length}: {error}");
    }
    let mut longer = good.clone();
    longer.push(0);
    fs::write(&bad, longer).unwrap();
    restored(&bad, &to).unwrap_err();
    assert_eq!(names(&desk.0), ["b.rfbk", "bad"], "nothing is left behind");
    // A check leaves nothing either, and says the same.
    let aside = desk.0.join("aside");
    backup::check(&file, &aside, now, &mut |_, _, _| {}).unwrap();
    backup::check(&bad, &aside, now, &mut |_, _, _| {}).unwrap_err();
    assert_eq!(names(&desk.0), ["b.rfbk", "bad"]);
}

/// The files of a backup, as they can be made into another one.
fn unpacked(file: &Path) -> (Manifest, Vec<(String, Vec<u8>)>) {
    let mut archive = tar::Archive::new(zstd::Decoder::new(fs::File::open(file).unwrap()).unwrap());
    let mut files = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().to_vec()).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.push((name, bytes));
    }
    let manifest = serde_json::from_slice(&files.remove(0).1).unwrap();
    (manifest, files)
}

/// A sealed archive of whatever it is told.
fn packed(to: &Path, manifest: &Value, files: &[(String, Vec<u8>, EntryType)]) {
    let mut tar = Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    let mut put = |name: &str, bytes: &[u8], kind| {
        let mut head = Header::new_ustar();
        // Not by `set_path`, which is careful.
        head.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        head.set_size(u64::try_from(bytes.len()).unwrap());
        head.set_mode(0o600);
        head.set_entry_type(kind);
        head.set_cksum();
        tar.append(&head, bytes).unwrap();
    };
    put("manifest.json", manifest.to_string().as_bytes(), EntryType::Regular);
    for (name, bytes, kind) in files {
        put(name, bytes, *kind);
    }
    let mut bytes = tar.into_inner().unwrap().finish().unwrap();
    let mut digest = Sha256::new();
    digest.update(&bytes);
    bytes.write_all(b"\x50\x2a\x4d\x18\x28\0\0\0rfbackup").unwrap();
    bytes.write_all(&digest.finish()).unwrap();
    fs::write(to, bytes).unwrap();
}

#[tokio::test]
async fn a_backup_that_somebody_made_up_writes_nothing_outside_and_is_refused() {
    let (folder, desk) = (Folder::new(), desk());
    drop(used(&folder).await);
    let file = desk.0.join("b.rfbk");
    made(&folder, &file);
    let (manifest, files) = unpacked(&file);
    let (bad, to) = (desk.0.join("bad"), desk.0.join("to"));
    type Files = Vec<(String, Vec<u8>, EntryType)>;
    let refuse = |what: &str, change: &dyn Fn(&mut Value, &mut Files), says: &str| {
        let mut manifest = serde_json::to_value(&manifest).unwrap();
        let mut files: Files =
            files.iter().map(|(n, b)| (n.clone(), b.clone(), EntryType::Regular)).collect();
        change(&mut manifest, &mut files);
        packed(&bad, &manifest, &files);
        let error = restored(&bad, &to).unwrap_err().to_string();
        assert!(error.contains(says), "{what}: {error}");
        assert_eq!(names(&desk.0), ["b.rfbk", "bad"], "{what} leaves nothing");
    };
    // What is not changed is good: the packing here is no reason.
    packed(
        &bad,
        &serde_json::to_value(&manifest).unwrap(),
        &files.iter().map(|(n, b)| (n.clone(), b.clone(), EntryType::Regular)).collect::<Vec<_>>(),
    );
    let fine = desk.0.join("fine");
    restored(&bad, &fine).unwrap();
    fs::remove_dir_all(fine).unwrap();

    refuse(
        "a newer one",
        &|m, _| m["schema"] = json!("ringfence.backup/v9"),
        "use the program that made it",
    );
    refuse("no manifest", &|m, _| *m = json!([]), "its manifest cannot be read");
    refuse("an unknown field", &|m, _| m["more"] = json!(1), "its manifest cannot be read");
    for name in [
        "../evil",
        "/evil",
        "a/../../evil",
        "a//b",
        "./a",
        ".hidden",
        "host-token",
        "log/x",
        "a\\b",
        "",
    ] {
        let change = |m: &mut Value, f: &mut Files| {
            m["files"][0]["path"] = json!(name);
            f[0].0 = name.to_owned();
        };
        refuse(name, &change, "it names a file");
    }
    // The manifest is fine, and the archive is not what it says.
    refuse("another name", &|_, f| f[0].0 = "../evil".to_owned(), "stands where the file");
    refuse("a link", &|_, f| f[0].2 = EntryType::Symlink, "stands where the file");
    refuse("a long name", &|_, f| f[0].2 = EntryType::GNULongName, "stands where the file");
    refuse("one less", &|_, f| drop(f.pop()), "is missing");
    refuse("one more", &|_, f| f.push(("x".to_owned(), vec![1], EntryType::Regular)), "more files");
    refuse("other bytes", &|_, f| f[0].1[0] ^= 1, "is not what its manifest says");
    refuse("more bytes", &|_, f| f[0].1.push(1), "is not what its manifest says");
    refuse(
        "twice",
        &|m, f| {
            let (again, file) = (m["files"][0].clone(), f[0].clone());
            m["files"].as_array_mut().unwrap().insert(0, again);
            f.insert(0, file);
        },
        "out of order",
    );
    // All bytes are as the manifest says, and the state is not one.
    let drop_file = |name: &'static str| {
        move |m: &mut Value, f: &mut Files| {
            m["files"].as_array_mut().unwrap().retain(|file| file["path"] != name);
            f.retain(|(n, ..)| n != name);
        }
    };
    for name in ["key.pem", "log.vkey", "journal.db", "name"] {
        refuse(name, &drop_file(name), &format!("has no {name}"));
    }
    refuse("no record", &drop_file("signed"), "does not open");
    let blob = manifest.files.iter().find(|f| f.path.starts_with("blobs/")).unwrap().path.clone();
    let blob: &'static str = blob.leak();
    refuse("no folder in force", &drop_file(blob), "is not in blobs/");
    refuse("fewer entries", &|m, _| m["journal"]["entries"] = json!(1), "by the manifest");
    refuse("another root", &|m, _| m["journal"]["root"] = json!("AAAA"), "by the manifest");
    refuse(
        "another name of the estate",
        &|m, _| m["estate"] = json!("b.example"),
        "by the manifest",
    );
}

#[tokio::test]
async fn nothing_is_overwritten_or_mixed() {
    let (folder, desk) = (Folder::new(), desk());
    drop(used(&folder).await);
    let file = desk.0.join("b.rfbk");
    made(&folder, &file);
    let make = |state: &Path, file: &Path, force| {
        backup::make(state, file, force, now, &mut |_, _, _| {}).map_err(|error| error.to_string())
    };
    assert!(make(&folder.0, &file, false).unwrap_err().contains("--force"));
    make(&folder.0, &file, true).unwrap();
    let inside = folder.0.join("b.rfbk");
    assert!(make(&folder.0, &inside, false).unwrap_err().contains("keep backups elsewhere"));
    assert!(!inside.exists());
    let nowhere = desk.0.join("nowhere");
    assert!(make(&nowhere, &desk.0.join("c"), false).unwrap_err().contains("has no journal.db"));
    assert!(!nowhere.exists(), "it is not made by looking");
    fs::create_dir(desk.0.join("c.making")).unwrap();
    assert!(
        make(&folder.0, &desk.0.join("c"), false).unwrap_err().contains("remove it when none is")
    );
    assert!(desk.0.join("c.making").is_dir(), "it may be somebody's");

    let full = desk.0.join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine"), "mine").unwrap();
    assert!(restored(&file, &full).unwrap_err().to_string().contains("is not empty"));
    assert_eq!(names(&full), ["mine"]);
    let empty: PathBuf = desk.0.join("empty");
    fs::create_dir(&empty).unwrap();
    restored(&file, &empty).unwrap();
    // A part of the folder that cannot be in a backup is no reason for half of one.
    std::os::unix::fs::symlink(&desk.0, folder.0.join("elsewhere")).unwrap();
    let odd = make(&folder.0, &desk.0.join("d"), false).unwrap_err();
    assert!(odd.contains("elsewhere") && !desk.0.join("d").exists(), "{odd}");
}

#[tokio::test]
async fn a_damaged_state_is_not_called_a_backup() {
    let (folder, desk) = (Folder::new(), desk());
    drop(used(&folder).await);
    let file = desk.0.join("b.rfbk");
    let blob = fs::read_dir(folder.0.join("blobs")).unwrap().next().unwrap().unwrap().path();
    fs::write(&blob, "{}").unwrap();
    let refused = backup::make(&folder.0, &file, false, now, &mut |_, _, _| {}).unwrap_err();
    assert!(refused.to_string().contains("is not what its name says"), "{refused}");
    assert_eq!(names(&desk.0), Vec::<String>::new());
}
