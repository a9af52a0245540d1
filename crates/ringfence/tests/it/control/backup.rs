//! A real controller is backed up while it is used, and put back elsewhere; an old backup signs nothing that a witness saw otherwise.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::hq::{Person, ran, sample};
use super::process::Process;
use crate::witness::{Serving, good, run};
use crate::{Ran, folder, own_address};

/// A controller with an operator and a policy folder.
fn used(here: &Path) -> (Process, Person) {
    // What is restored listens where this one did.
    let process = Process::start(here, &own_address());
    let server = format!("https://{}", process.api);
    fs::write(here.join("password"), "correct horse battery\n").unwrap();
    sample(&here.join("policy"));
    let anna = Person::new(here, "anna");
    anna.ok(&format!(
        "setup --server {server} --ca-sha256 {} --setup-token-file hq/setup-token --login anna \
         --password-file password --context hq",
        process.root_sha256
    ));
    anna.ok("apply -f policy --reason first");
    anna.ok("wait device camera --for lease=granted --timeout 60s");
    (process, anna)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn it_is_backed_up_while_it_is_used_and_goes_on_elsewhere() {
    let here = folder("control-backup");
    let (process, anna) = used(&here);
    let stop = Arc::new(AtomicBool::new(false));
    let writing = {
        let (stop, anna) = (Arc::clone(&stop), Person::new(&here, "anna"));
        std::thread::spawn(move || {
            let mut teams = 0;
            while !stop.load(Ordering::SeqCst) {
                anna.ok(&format!("teams set team-{teams} --contact t@example.com --reason grows"));
                teams += 1;
            }
            teams
        })
    };
    let told = good(&here, &["controller", "backup", "--state", "hq", "b.rfbk"]);
    for part in ["estate     acme.example", "1 operators", "private keys", "host-token, log/"] {
        assert!(told.contains(part), "no {part}: {told}");
    }
    stop.store(true, Ordering::SeqCst);
    let teams = writing.join().unwrap();
    assert!(teams > 0, "it was used meanwhile");
    let again = run(&here, &["controller", "backup", "--state", "hq", "b.rfbk"]);
    assert_eq!((again.code, again.err.contains("--force")), (4, true), "{}", again.err);
    let devices = anna.ok("get devices -o wide");
    let api = process.api.clone();
    let host = fs::read(here.join("hq/host-token")).unwrap();
    process.end();

    good(&here, &["controller", "restore", "b.rfbk", "--check"]);
    let json = good(&here, &["controller", "restore", "b.rfbk", "--state", "hq2", "-o", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["manifest"]["schema"], "ringfence.backup/v1");
    let taken = run(&here, &["controller", "restore", "b.rfbk", "--state", "hq2"]);
    assert_eq!((taken.code, taken.err.contains("is not empty")), (4, true), "{}", taken.err);

    let process = Process::start_in(&here, "hq2", &api, Stdio::inherit());
    assert_ne!(fs::read(here.join("hq2/host-token")).unwrap(), host);
    // The same authority, so the same context; the same password.
    anna.fails("get devices", 1, "ringfence login");
    anna.ok("login --password-file password");
    assert_eq!(anna.ok("get devices -o wide"), devices);
    assert!(anna.ok("explain camera --replay").contains("byte for byte"));
    let found = anna.ok("get teams -o name").lines().filter(|l| l.starts_with("team-")).count();
    assert!(found <= teams, "{found} of {teams}");
    anna.ok("teams set later --contact t@example.com --reason goes-on");
    process.end();
    good(&here, &["journal", "verify", "hq2"]);
    // What the first one published is the beginning of what the second one has.
    let signed = here.join("signed");
    let first = here.join("b-signed");
    let unpacked = Command::new(env!("CARGO_BIN_EXE_ringfence"))
        .args(["controller", "restore", "b.rfbk", "--state", "hq3"])
        .current_dir(&here)
        .status();
    assert!(unpacked.unwrap().success());
    fs::copy(here.join("hq3/signed"), &first).unwrap();
    good(&here, &["journal", "verify", "hq2", "--checkpoint", "b-signed"]);
    assert!(!signed.exists());
}

#[test]
fn an_old_backup_signs_nothing_that_a_witness_saw_otherwise_and_says_what_to_do() {
    let here = folder("control-backup-witness");
    let process = Process::start(&here, "127.0.0.1:0");
    process.end();
    good(&here, &["witness", "new", "w", "--name", "w.example/one"]);
    let witness = Serving::of(&here, "w", "hq/log.vkey");
    let log = fs::read_to_string(here.join("hq/log.vkey")).unwrap();
    let key = fs::read_to_string(here.join("w/witness.vkey")).unwrap();
    let policy =
        format!("log {log}witness w {} http://{}\nquorum w\n", key.trim_end(), witness.address);
    fs::write(here.join("hq/witnesses"), policy).unwrap();

    let (process, anna) = used(&here);
    let api = process.api.clone();
    let old = good(&here, &["controller", "backup", "--state", "hq", "old.rfbk", "-o", "json"]);
    let old: Value = serde_json::from_str(&old).unwrap();
    assert_eq!(old["holds"]["witnessed"], true);
    anna.ok("teams set later --contact t@example.com --reason after-the-backup");
    // What is durable is signed and cosigned when it ends.
    process.end();
    good(&here, &["journal", "verify", "hq", "--policy", "hq/witnesses"]);
    good(&here, &["controller", "backup", "--state", "hq", "new.rfbk"]);

    good(&here, &["controller", "restore", "old.rfbk", "--state", "old"]);
    let signed = fs::read(here.join("old/signed")).unwrap();
    let told = fs::File::create(here.join("told")).unwrap();
    let process = Process::start_in(&here, "old", &api, told.into());
    anna.ok("login --password-file password");
    anna.ok("teams set other --contact t@example.com --reason another-history");
    let says = |part: &str| {
        let mut told = String::new();
        for _ in 0..1_200 {
            told = fs::read_to_string(here.join("told")).unwrap();
            if told.contains(part) {
                return told;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        unreachable!("no `{part}` in {told}")
    };
    let told = says("this is an older copy of the log");
    assert!(
        told.contains("nothing is signed") && told.contains("restore the newest copy"),
        "{told}"
    );
    process.end();
    assert_eq!(fs::read(here.join("old/signed")).unwrap(), signed, "nothing was signed");
    assert!(!here.join("old/log/checkpoint").exists(), "nothing was published");

    // What it says to do works.
    good(&here, &["controller", "restore", "new.rfbk", "--state", "new"]);
    let process = Process::start_in(&here, "new", &api, Stdio::inherit());
    anna.ok("login --password-file password");
    anna.ok("teams set last --contact t@example.com --reason goes-on");
    process.end();
    good(&here, &["journal", "verify", "new", "--policy", "new/witnesses"]);
}

#[test]
fn a_write_that_fails_leaves_nothing() {
    let here = folder("control-backup-full");
    let (process, _) = used(&here);
    process.end();
    let before = names(&here);
    // No file may be longer than 16 blocks: what a disk does that is full.
    let limited = |arguments: &str| -> Ran {
        let script = format!("trap '' XFSZ; ulimit -f 16; exec \"$0\" {arguments}");
        let program = env!("CARGO_BIN_EXE_ringfence");
        let mut command = Command::new("sh");
        command.args(["-c", &script, program]).current_dir(&here).env("NO_COLOR", "1");
        ran(command.output().unwrap())
    };
    let failed = limited("controller backup --state hq b.rfbk");
    assert_eq!((failed.code, failed.out.as_str()), (1, ""), "{}", failed.err);
    assert_eq!(names(&here), before, "{}", failed.err);
    good(&here, &["controller", "backup", "--state", "hq", "b.rfbk"]);
    let failed = limited("controller restore b.rfbk --state hq2");
    assert_eq!((failed.code, failed.out.as_str()), (1, ""), "{}", failed.err);
    fs::remove_file(here.join("b.rfbk")).unwrap();
    assert_eq!(names(&here), before, "{}", failed.err);
}
