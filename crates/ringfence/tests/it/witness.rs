//! `ringfence witness` and a journal that it cosigns, as two processes; and `ringfence journal watch`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::{Ran, folder};

pub(crate) const ORIGIN: &str = "example.com/journal";

pub(crate) fn run(here: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.args(arguments).current_dir(here).env("NO_COLOR", "1");
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

pub(crate) fn good(here: &Path, arguments: &[&str]) -> String {
    let ran = run(here, arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
    ran.out
}

pub(crate) fn append(here: &Path, journal: &str, why: &str, more: &[&str]) -> Ran {
    let words = ["journal", "append", journal, "--command", "note.written", "--who", "person:p-1"];
    run(here, &[&words[..], &["--why", why], more].concat())
}

/// A process that listens; killed when it is dropped.
pub(crate) struct Serving {
    child: Child,
    pub(crate) address: String,
}

impl Serving {
    fn start(here: &Path, witness: &str) -> Self {
        Self::of(here, witness, "j/log.vkey")
    }

    /// A witness of a log.
    pub(crate) fn of(here: &Path, witness: &str, log: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        let words = ["witness", "serve", witness, "--listen", "127.0.0.1:0", "--log", log];
        command.args(words).current_dir(here).stdout(Stdio::piped());
        Self::spawn(command)
    }

    /// Starts a program whose first line ends in the address it listens on.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().rsplit_once("http://").map(|(_, address)| address.to_owned());
        Self { child, address: address.expect("its first line ends in its address") }
    }

    /// Asks it to end, and returns its exit code.
    fn end(mut self) -> Option<i32> {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request by hand: status line and headers, and body.
pub(crate) fn http(address: &str, request: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // It may have answered already, and closed.
    let _ = stream.write_all(body.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer.as_str(), ""));
    (head.to_ascii_lowercase(), body.to_owned())
}

pub(crate) fn post(address: &str, old: u64, checkpoint: &str) -> (String, String) {
    http(address, "POST /add-checkpoint", &format!("old {old}\n\n{checkpoint}"))
}

pub(crate) fn copy(here: &Path, from: &str, to: &str) {
    let copied = Command::new("cp").arg("-a").args([here.join(from), here.join(to)]).status();
    assert!(copied.unwrap().success());
}

/// A journal `j`, a witness `w` that serves, and a policy `trust` that names both.
fn witnessed(test: &str) -> (PathBuf, Serving) {
    let here = folder(test);
    good(&here, &["journal", "new", "j", "--origin", ORIGIN]);
    good(&here, &["witness", "new", "w", "--name", "w.example/one"]);
    let serving = Serving::start(&here, "w");
    trust(&here, &serving.address);
    (here, serving)
}

fn trust(here: &Path, address: &str) {
    let log = fs::read_to_string(here.join("j/log.vkey")).unwrap();
    let witness = fs::read_to_string(here.join("w/witness.vkey")).unwrap();
    let text = format!("log {log}witness w {} http://{address}\nquorum w\n", witness.trim_end());
    fs::write(here.join("trust"), text).unwrap();
}

#[test]
fn forks_and_rollbacks_are_refused_by_another_process() {
    let (here, serving) = witnessed("witness-all");
    for n in 0..2 {
        let ran = append(&here, "j", &format!("try {n}"), &["--witnesses", "trust", "-o", "json"]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
        let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(said["cosignatures"], 1);
        if n == 0 {
            copy(&here, "j", "old");
        }
    }
    let verified = good(&here, &["journal", "verify", "j", "--policy", "trust"]);
    assert!(verified.contains("1 witness"), "{verified}");
    let published = fs::read_to_string(here.join("j/log/checkpoint")).unwrap();

    // Rolled back: the whole folder is an older copy, the record of what was signed too.
    let ran = append(&here, "old", "another second", &["--witnesses", "trust"]);
    assert_eq!(ran.code, 5, "{}", ran.err);
    assert!(ran.err.contains("has cosigned 2 entries"), "{}", ran.err);
    let old = fs::read_to_string(here.join("old/log/checkpoint")).unwrap();
    let (head, body) = post(&serving.address, 1, &old);
    assert!(head.starts_with("http/1.1 409") && head.contains("text/x.tlog.size"), "{head}");
    assert_eq!(body, "2\n");
    // Forked: the copy signs another second entry, and whoever has its head sends it.
    assert_eq!(append(&here, "old", "another second", &[]).code, 0);
    let forked = fs::read_to_string(here.join("old/log/checkpoint")).unwrap();
    let (head, body) = post(&serving.address, 2, &forked);
    assert!(head.starts_with("http/1.1 422") && body.contains("was forked"), "{head}: {body}");
    assert_eq!(append(&here, "old", "a third", &["--witnesses", "trust"]).code, 5);
    assert_eq!(append(&here, "old", "a third", &[]).code, 0);
    let longer = fs::read_to_string(here.join("old/log/checkpoint")).unwrap();
    assert!(post(&serving.address, 2, &longer).0.starts_with("http/1.1 422"));
    let mut kept: Vec<String> = fs::read_dir(here.join("w/evidence"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    kept.sort();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept[0].starts_with("fork-2-") && kept[1].starts_with("proof-3-"), "{kept:?}");
    let evidence = fs::read_to_string(here.join("w/evidence").join(&kept[0])).unwrap();
    assert!(evidence.contains(&forked), "{evidence}");

    // Everything else has its status.
    let stranger = published.replacen(ORIGIN, "example.com/other", 1);
    let thief = published.replacen("\n2\n", "\n7\n", 1);
    let long = "x".repeat(400_000);
    for (body, status) in [
        (String::new(), "400"),
        (format!("old 3\n\n{published}"), "400"),
        (format!("old 2\n\n{stranger}"), "404"),
        (format!("old 2\n\n{thief}"), "403"),
        (long, "413"),
    ] {
        let (head, _) = http(&serving.address, "POST /add-checkpoint", &body);
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{status}: {head}");
    }
    assert!(http(&serving.address, "GET /add-checkpoint", "").0.starts_with("http/1.1 405"));
    assert!(http(&serving.address, "GET /w/key.pem/checkpoint", "").0.starts_with("http/1.1 404"));

    // The monitoring interface serves what was cosigned.
    let log = "GET /8f40d1d25bd49d46bc0d5d5a2c3ff02d04a8b1bd0e3ff0cb3b0bdc0b5d9c3d5d/checkpoint";
    assert!(http(&serving.address, log, "").0.starts_with("http/1.1 404"));
    let state = fs::read_dir(here.join("w/state")).unwrap();
    let names = state.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let hash = names.into_iter().find(|name| name.len() == 64).unwrap();
    let (head, served) = http(&serving.address, &format!("GET /{hash}/checkpoint"), "");
    assert!(head.starts_with("http/1.1 200") && served == published, "{head}: {served}");

    // Nobody else may serve it meanwhile; told to end it ends; started again it knows all of it.
    let words = ["witness", "serve", "w", "--listen", "127.0.0.1:0", "--log", "j/log.vkey"];
    assert_eq!(run(&here, &words).code, 4);
    assert_eq!(serving.end(), Some(0));
    let ran = append(&here, "j", "nobody is there", &["--witnesses", "trust"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("no witness can be asked"), "{}", ran.err);
    let serving = Serving::start(&here, "w");
    assert!(post(&serving.address, 2, &forked).0.starts_with("http/1.1 422"));
    assert_eq!(post(&serving.address, 0, &old).1, "2\n");
    trust(&here, &serving.address);
    assert_eq!(append(&here, "j", "the third", &["--witnesses", "trust"]).code, 0);
    // A state that was changed is not taken up.
    assert_eq!(serving.end(), Some(0));
    let record = here.join("w/state").join(&hash);
    let text = fs::read_to_string(&record).unwrap().replacen("\n3\n", "\n1\n", 1);
    fs::write(&record, text).unwrap();
    let ran = run(&here, &words);
    assert!(ran.code == 1 && ran.err.contains("is no head that this witness"), "{}", ran.err);
}

#[test]
fn a_late_quorum_is_an_alarm() {
    let (here, serving) = witnessed("witness-late");
    let trust = fs::read_to_string(here.join("trust")).unwrap();
    good(&here, &["witness", "new", "w2", "--name", "w.example/two"]);
    let other = fs::read_to_string(here.join("w2/witness.vkey")).unwrap();
    let both = trust.replace("quorum w\n", "");
    // Nobody listens on port 1.
    let both = format!(
        "{both}witness w2 {} http://127.0.0.1:1\ngroup q all w w2\nquorum q\n",
        other.trim_end()
    );
    // Beside the journal it counts without being named.
    fs::write(here.join("j/witnesses"), both).unwrap();
    let ran = append(&here, "j", "one of two", &[]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.out.contains("entry 0 is durable"), "{}", ran.out);
    let said = ran.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("the quorum of witnesses is late since 20"), "{said}");
    assert!(said.contains("1 entries are signed and 0 published"), "{said}");
    fs::write(here.join("j/witnesses"), trust).unwrap();
    assert_eq!(append(&here, "j", "one of one", &[]).code, 0);
    good(&here, &["journal", "verify", "j", "--policy", "j/witnesses"]);
    drop(serving);
}

#[test]
fn a_watcher_tells_growth_and_keeps_evidence_of_forks_and_rollbacks() {
    let here = folder("watch");
    good(&here, &["journal", "new", "j", "--origin", ORIGIN]);
    let watch = |more: &[&str]| {
        let words = ["journal", "watch", "j", "--once", "--last", "seen", "--key", "j/log.vkey"];
        run(&here, &[&words[..], &["--evidence", "kept"], more].concat())
    };
    assert_eq!(watch(&[]).out.split(", root").next(), Some("example.com/journal: 0 entries"));
    for n in 0..3 {
        assert_eq!(append(&here, "j", &format!("try {n}"), &[]).code, 0);
        if n == 1 {
            copy(&here, "j", "old");
        }
    }
    let ran = watch(&["-o", "json"]);
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&said["size"], &said["extends"]), (&3.into(), &0.into()));
    assert_eq!((watch(&[]).code, watch(&[]).out.as_str()), (0, ""));
    // Rolled back, then forked, then grown as a fork.
    copy(&here, "j", "good");
    let back = || {
        fs::remove_dir_all(here.join("j")).unwrap();
        copy(&here, "old", "j");
    };
    back();
    let ran = watch(&[]);
    assert!(ran.code == 1 && ran.err.contains("rolled back"), "{}", ran.err);
    for says in ["forked", "forked"] {
        assert_eq!(append(&here, "old", "another third", &[]).code, 0);
        back();
        let ran = watch(&[]);
        assert!(ran.code == 1 && ran.err.contains(says), "{}", ran.err);
    }
    assert_eq!(fs::read_dir(here.join("kept")).unwrap().count(), 6);
    // What it saw is as it was, and with the good journal it goes on; over HTTP too.
    fs::remove_dir_all(here.join("j")).unwrap();
    copy(&here, "good", "j");
    assert_eq!(append(&here, "j", "the fourth", &[]).code, 0);
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/log", server.local_addr().unwrap());
    let root = here.join("j");
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            lines.read_line(&mut line).unwrap();
            let path = line.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
            while lines.read_line(&mut line).unwrap() > 2 {}
            let (status, body) = match fs::read(root.join(path)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        }
    });
    let words = ["journal", "watch", &url, "--once", "--last", "seen", "--key", "j/log.vkey"];
    let said = good(&here, &words);
    assert!(said.contains("4 entries, extends 3 by 1"), "{said}");
    let tile = here.join("j/log/tile/0/000.p/4");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[40] ^= 1;
    fs::write(&tile, bytes).unwrap();
    fs::remove_file(here.join("seen")).unwrap();
    let ran = run(&here, &words);
    // Where lines break depends on the hashes in them.
    let told = ran.err.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(ran.code == 1 && told.contains("damaged, or hide a fork"), "{}", ran.err);
    assert_eq!(
        run(&here, &["journal", "watch", "http://127.0.0.1:1", "--once", "--key", "j/log.vkey"])
            .code,
        1
    );
}

#[test]
fn a_witness_says_what_it_lacks() {
    let here = folder("witness-codes");
    good(&here, &["witness", "new", "w", "--name", "w.example"]);
    for (words, code, says) in [
        (&["witness", "new", "w", "--name", "x"][..], 4, "not empty"),
        (&["witness", "new", "v", "--name", "a b"], 1, "a space"),
        (&["witness", "serve", "nowhere"], 3, "no witness"),
        (&["witness", "serve", "w"], 64, "no log is followed"),
        (&["witness", "serve", "w", "--log", "nothing"], 3, "nothing is not there"),
        (&["witness", "serve", "w", "--log", "a+b+c"], 1, "--log"),
    ] {
        let ran = run(&here, words);
        assert!(ran.code == code && ran.err.contains(says), "{words:?}: {} {}", ran.code, ran.err);
    }
}
