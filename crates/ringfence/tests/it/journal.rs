//! `ringfence journal` from the outside: what it writes, finds, refuses and returns, and what is left of it after kills.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::{Ran, folder};

const ORIGIN: &str = "example.com/journal";

fn command(here: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.arg("journal").args(arguments).current_dir(here).env("NO_COLOR", "1");
    command
}

fn journal(here: &Path, arguments: &[&str]) -> Ran {
    let Output { status, stdout, stderr } = command(here, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

fn append<'a>(why: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["append", "j", "--command", "note.written", "--who", "person:p-17"];
    words.extend(["--why", why]);
    words.extend(more);
    words
}

/// A new journal `j` with some entries.
fn new(test: &str, entries: usize) -> PathBuf {
    let here = folder(test);
    let ran = journal(&here, &["new", "j", "--origin", ORIGIN]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for n in 0..entries {
        let ran = journal(&here, &append(&format!("try {n}"), &["--payload", "some text"]));
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        assert!(ran.out.starts_with(&format!("entry {n} is durable")), "{}", ran.out);
    }
    here
}

fn exported(here: &Path) -> Vec<serde_json::Value> {
    let ran = journal(here, &["export", "j"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn help_shows_examples() {
    let here = folder("journal-help");
    let mut all = journal(&here, &["--help"]).out;
    for command in ["new", "append", "verify", "prove", "export", "watch"] {
        let help = journal(&here, &[command, "--help"]);
        assert_eq!((help.code, help.err.as_str()), (0, ""));
        all.push_str(&format!("\n==> {command}\n\n{}", help.out));
    }
    insta::assert_snapshot!("journal-help", all);
}

#[test]
fn begun_appended_verified_proved_and_exported() {
    let here = new("journal-all", 2);
    let mode = fs::metadata(here.join("j/key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::write(here.join("advisory"), "ends in May").unwrap();
    let more =
        ["--payload", "@advisory", "--evidence", "advisory", "--event", "device.retired=cam-3"];
    let ran = journal(&here, &append("support ended", &[&more[..], &["-o", "json"]].concat()));
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&said["number"], &said["size"]), (&2.into(), &3.into()));
    let ran = journal(&here, &["verify", "j"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("j: intact\n  entries  3, of which 3 are proven\n"), "{}", ran.out);
    assert!(ran.err.contains("the key is the one in the folder"), "{}", ran.err);
    let lines = exported(&here);
    assert_eq!(lines.len(), 3);
    let last = &lines[2];
    assert_eq!((&last["why"], &last["leaf"]), (&"support ended".into(), &said["leaf"]));
    assert_eq!(last["command"]["text"], "ends in May");
    assert_eq!(last["events"][0]["type"], "device.retired");
    assert_eq!(last["evidence"].as_array().unwrap().len(), 1);
    // What a web server has is enough, with a key from elsewhere.
    fs::rename(here.join("j/log"), here.join("served")).unwrap();
    let ran = journal(&here, &["verify", "served", "--key", "j/log.vkey"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(journal(&here, &["verify", "served"]).code, 64);
    assert_eq!(journal(&here, &["prove", "served", "1"]).out, "1.tlog-proof\n1.entry\n");
    let key = fs::read_to_string(here.join("j/log.vkey")).unwrap();
    let ran = journal(&here, &["verify", "1.tlog-proof", "--key", key.trim()]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("entry 1 of example.com/journal is proven"), "{}", ran.out);
    assert!(ran.out.contains("why      try 1"), "{}", ran.out);
    // A changed entry is not proven by it.
    let mut entry = fs::read(here.join("1.entry")).unwrap();
    *entry.last_mut().unwrap() ^= 1;
    fs::write(here.join("1.entry"), entry).unwrap();
    let ran = journal(&here, &["verify", "1.tlog-proof", "--key", key.trim()]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("proves nothing: entry 1 is not in the tree"), "{}", ran.out);
}

/// Every byte of what is published, with each bit turned in turn.
#[test]
fn a_turned_bit_anywhere_is_found_and_named() {
    let here = new("journal-bit", 3);
    let files = [
        ("checkpoint", "checkpoint j/log/checkpoint"),
        ("tile/0/000.p/3", "tile/0/000.p/3 was changed: byte"),
        ("tile/entries/000.p/3", "entry "),
    ];
    for (file, says) in files {
        let path = here.join("j/log").join(file);
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(3) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at / 3 % 8);
            fs::write(&path, &bad).unwrap();
            let ran = journal(&here, &["verify", "j"]);
            assert_eq!(ran.code, 1, "{file}, byte {at}: {}", ran.out);
            let fault = ran.out.lines().find(|l| l.contains("fault"));
            let fault = fault.unwrap_or_else(|| panic!("{file}, byte {at}: {}", ran.out));
            assert!(fault.contains(says), "{file}, byte {at}: {fault}");
        }
        fs::write(&path, &good).unwrap();
    }
    assert_eq!(journal(&here, &["verify", "j"]).code, 0);
}

#[test]
fn what_is_gone_is_found() {
    let here = new("journal-gone", 3);
    let tile = here.join("j/log/tile/0/000.p/3");
    let good = fs::read(&tile).unwrap();
    fs::remove_file(&tile).unwrap();
    let ran = journal(&here, &["verify", "j"]);
    assert!(ran.code == 1 && ran.out.contains("tile/0/000.p/3: it is missing"), "{}", ran.out);
    fs::write(&tile, good).unwrap();
    fs::remove_file(here.join("j/log/tile/entries/000.p/3")).unwrap();
    let ran = journal(&here, &["verify", "j", "-o", "json"]);
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &said["missing"]), (1, &"tile/entries/000.p/3".into()));
    assert_eq!(said["findings"][0]["code"], "entries-missing");
    // An older folder of tiles, beside the record of what was signed.
    let here = new("journal-older", 1);
    let copy = |from: &str, to: &str| {
        let copied = Command::new("cp").arg("-a").args([here.join(from), here.join(to)]).status();
        assert!(copied.unwrap().success());
    };
    copy("j/log", "older");
    assert_eq!(journal(&here, &append("one more", &[])).code, 0);
    fs::rename(here.join("j/log"), here.join("newer")).unwrap();
    copy("older", "j/log");
    let ran = journal(&here, &["verify", "j"]);
    assert!(ran.code == 1 && ran.out.contains("rolled back"), "{}", ran.out);
    // With the tiles of what was signed, nothing is gone: it was signed, and not published yet.
    fs::remove_dir_all(here.join("j/log")).unwrap();
    fs::rename(here.join("newer"), here.join("j/log")).unwrap();
    fs::copy(here.join("older/checkpoint"), here.join("j/log/checkpoint")).unwrap();
    let ran = journal(&here, &["verify", "j"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
}

#[test]
fn what_cannot_be_done_has_its_exit_code() {
    let here = new("journal-codes", 1);
    let cases: &[(&[&str], u8, &str)] = &[
        (&["new", "j", "--origin", ORIGIN], 4, "not empty"),
        (&["new", "k", "--origin", "with space"], 1, "a space"),
        (&["new", "k"], 64, "--origin"),
        (&["verify", "nowhere"], 3, "is not there"),
        (&["verify", "."], 3, "no journal"),
        (&["prove", "j", "1"], 3, "there is no entry 1"),
        (&["prove", "j", "one"], 64, "invalid"),
        (&["export", "nowhere"], 3, "no journal"),
        (
            &append("x", &["--expect", "0"]),
            4,
            "entry 0 was expected to be the next, but there are 1",
        ),
        (&append("x", &["--payload", "@nothing"]), 3, "nothing is not there"),
        (&append("", &[]), 1, "the reason is empty"),
        (&append("x", &["--event", "No Name"]), 1, "a name begins with a letter"),
    ];
    for (arguments, code, says) in cases {
        let ran = journal(&here, arguments);
        let said = ran.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(ran.code, i32::from(*code), "{arguments:?}: {said}");
        // Long lines are wrapped at bars.
        assert!(said.replace(" │", "").contains(says), "{arguments:?}: {said}");
    }
    let mut words = append("x", &[]);
    words[1] = "nowhere";
    assert_eq!(journal(&here, &words).code, 3);
    assert_eq!(exported(&here).len(), 1);
}

#[test]
fn a_restored_backup_signs_nothing() {
    let here = new("journal-restored", 2);
    fs::copy(here.join("j/journal.db"), here.join("backup")).unwrap();
    assert_eq!(journal(&here, &append("the third", &[])).code, 0);
    let signed = fs::read(here.join("j/log/checkpoint")).unwrap();
    fs::copy(here.join("backup"), here.join("j/journal.db")).unwrap();
    let ran = journal(&here, &append("another third", &[]));
    assert_eq!(ran.code, 5, "{}", ran.err);
    assert!(ran.err.contains("3 entries were signed, only 2 are here"), "{}", ran.err);
    assert_eq!(fs::read(here.join("j/log/checkpoint")).unwrap(), signed);
    assert_eq!(journal(&here, &["verify", "j"]).code, 0);
    // Without the record of what was signed it is refused as well.
    fs::remove_file(here.join("j/signed")).unwrap();
    let ran = journal(&here, &append("another third", &[]));
    assert!(ran.code == 5 && ran.err.contains("is missing"), "{}", ran.err);
}

#[test]
fn of_two_who_append_one_waits_for_the_other() {
    let here = new("journal-two", 0);
    let lock = fs::OpenOptions::new().write(true).open(here.join("j/journal.db.lock")).unwrap();
    lock.lock().unwrap();
    let ran = journal(&here, &append("busy", &[]));
    assert!(ran.code == 4 && ran.err.contains("another process"), "{}", ran.err);
    drop(lock);
    assert_eq!(journal(&here, &append("free", &[])).code, 0);
}

/// Kills at moments spread over the life of an `append`. Whatever said that it is durable is there, in order, and what is published is
/// proven each time.
#[test]
fn killed_at_any_moment_it_loses_nothing_that_it_acknowledged() {
    let here = new("journal-kill", 1);
    let mut acknowledged = vec![(0, "try 0".to_owned())];
    let (mut killed, kills) = (0, 50);
    for n in 0..kills {
        let why = format!("kill {n}");
        let mut child = command(&here, &append(&why, &[]))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Steps of a fraction of a millisecond: from before its first instruction to behind its last.
        std::thread::park_timeout(Duration::from_micros(400 * n));
        child.kill().unwrap();
        killed += usize::from(child.wait().unwrap().signal() == Some(9));
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        if let Some(rest) = said.strip_prefix("entry ") {
            let (number, _) = rest.split_once(' ').unwrap();
            acknowledged.push((number.parse::<usize>().unwrap(), why));
        }
        let ran = journal(&here, &["verify", "j"]);
        assert_eq!(ran.code, 0, "kill {n}: {}{}", ran.out, ran.err);
    }
    // The first one dies before it has begun.
    assert!(killed > 0);
    let ran = journal(&here, &append("the end", &[]));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let entries = exported(&here);
    for (number, why) in &acknowledged {
        assert_eq!(entries[*number]["why"], why.as_str());
    }
    assert_eq!(entries.last().unwrap()["why"], "the end");
    let ran = journal(&here, &["verify", "j"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    println!("{killed} of {kills} were killed, {} acknowledged", acknowledged.len());
}
