//! What we write, checked by programs that others wrote: Go's `sumdb`, and `aics-tlog` and `aics-witness`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::witness::{ORIGIN, Serving, append, copy, good, http, post, run};
use crate::{folder, own_address};

/// Whether a foreign program is there. When nothing may be skipped, its absence is a failure.
pub(crate) fn there(test: &str, program: &Path, how: &str) -> bool {
    if Command::new(program).arg("--version").output().is_ok()
        || Command::new(program).arg("version").output().is_ok()
    {
        return true;
    }
    let why = format!("{} is not there; {how}", program.display());
    let strict = std::env::var_os("RINGFENCE_STRICT").is_some_and(|value| value == "1");
    assert!(!strict, "{test}: {why}");
    eprintln!("SKIPPED {test}: {why}");
    false
}

fn output(command: &mut Command) -> (bool, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = [stdout, stderr].concat();
    (status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn journal(test: &str, entries: usize) -> PathBuf {
    let here = folder(test);
    good(&here, &["journal", "new", "j", "--origin", ORIGIN]);
    for n in 0..entries {
        assert_eq!(append(&here, "j", &format!("try {n}"), &[]).code, 0);
    }
    here
}

fn key(here: &Path) -> String {
    fs::read_to_string(here.join("j/log.vkey")).unwrap().trim_end().to_owned()
}

/// `program` of the environment that `./x setup` makes.
pub(crate) fn python(program: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("peers/bin").join(program)
}

fn turned(path: &Path) -> Vec<u8> {
    let good = fs::read(path).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    *bad.get_mut(middle).unwrap() ^= 4;
    fs::write(path, bad).unwrap();
    good
}

#[test]
fn go_sumdb_proves_every_entry() {
    if !there(
        "go_sumdb_proves_every_entry",
        "go".as_ref(),
        "apt-get install golang-go golang-golang-x-mod-dev",
    ) {
        return;
    }
    let here = journal("peer-go", 7);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/sumdb.go");
    let program = here.join("sumdb");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(&source).current_dir(&here);
    build.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOFLAGS", "");
    build.env("GOCACHE", here.join("cache")).env("GOPROXY", "off");
    let (built, said) = output(&mut build);
    assert!(built, "{said}");
    let sumdb = |key: &str| output(Command::new(&program).arg("j/log").arg(key).current_dir(&here));
    let (fine, said) = sumdb(&key(&here));
    assert!(fine && said.contains("example.com/journal: 7 entries proven"), "{said}");
    for (file, says) in
        [("tile/entries/000.p/7", "entry "), ("tile/0/000.p/7", "prove entry"), ("checkpoint", "")]
    {
        let path = here.join("j/log").join(file);
        let good = turned(&path);
        let (fine, said) = sumdb(&key(&here));
        assert!(!fine && said.contains(says), "{file}: {said}");
        fs::write(&path, good).unwrap();
    }
    good(&here, &["journal", "new", "other", "--origin", ORIGIN]);
    let other = fs::read_to_string(here.join("other/log.vkey")).unwrap();
    assert!(!sumdb(other.trim_end()).0, "another key is believed");
    assert!(sumdb(&key(&here)).0);
}

#[test]
fn aics_tlog_proves_what_we_prove() {
    let tlog = python("aics-tlog");
    if !there("aics_tlog_proves_what_we_prove", &tlog, "`./x setup` installs it") {
        return;
    }
    let here = journal("peer-aics", 3);
    copy(&here, "j/log/checkpoint", "before");
    for n in 3..6 {
        assert_eq!(append(&here, "j", &format!("try {n}"), &[]).code, 0);
    }
    let key = key(&here);
    let check = |words: &[&str]| {
        let more = ["--tiles", "j/log", "--log-key", &key, "--origin", ORIGIN];
        output(Command::new(&tlog).args(words).args(more).current_dir(&here))
    };
    let consistent = ["verify-consistency", "--old-checkpoint", "before"];
    for words in [
        &["verify-checkpoint"][..],
        &["verify-inclusion", "--index", "0", "--leaf", "4.entry"],
        &["verify-inclusion", "--index", "4", "--leaf", "4.entry"],
        &consistent,
    ] {
        good(&here, &["journal", "prove", "j", "4"]);
        let (fine, said) = check(words);
        // Entry 4 is not entry 0.
        assert_eq!(fine, words.get(2) != Some(&"0"), "{words:?}: {said}");
    }
    let tile = here.join("j/log/tile/0/000.p/6");
    turned(&tile);
    assert!(!check(&["verify-inclusion", "--index", "4", "--leaf", "4.entry"]).0);
    assert!(!check(&consistent).0);
}

#[test]
fn aics_witness_cosigns_growth_and_refuses_forks_and_rollbacks() {
    let aics = python("aics-witness");
    if !there("aics_witness_cosigns_growth", &aics, "`./x setup` installs it") {
        return;
    }
    let here = journal("peer-witness", 1);
    let config = here.join("witness.json");
    let witness = |words: &[&str]| {
        let mut command = Command::new(&aics);
        command.args(words).arg("--config").arg(&config).current_dir(&here);
        output(&mut command)
    };
    let (fine, said) = witness(&["init", "--name", "w.example/foreign"]);
    assert!(fine, "{said}");
    let vkey = said.split_whitespace().find(|w| w.starts_with("w.example/foreign+")).unwrap();
    let vkey = vkey.to_owned();
    let (fine, said) = witness(&["add-log", "--origin", ORIGIN, "--vkey", &key(&here)]);
    assert!(fine, "{said}");
    let free = own_address();
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!(
        "echo at http://{free}; exec '{}' serve --listen {free} --config '{}' 2>serve.log >&2",
        aics.display(),
        config.display()
    ));
    command.current_dir(&here);
    let serving = Serving::spawn(command);
    let deadline = (0..600).any(|_| {
        std::thread::park_timeout(std::time::Duration::from_millis(50));
        std::net::TcpStream::connect(&serving.address).is_ok()
    });
    assert!(deadline, "it does not listen: {:?}", fs::read_to_string(here.join("serve.log")));
    let text =
        format!("log {}\nwitness w {vkey} http://{}\nquorum w\n", key(&here), serving.address);
    fs::write(here.join("trust"), text).unwrap();

    copy(&here, "j", "old");
    for n in 1..4 {
        let ran = append(&here, "j", &format!("try {n}"), &["--witnesses", "trust"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    good(&here, &["journal", "verify", "j", "--policy", "trust"]);
    // Rolled back, and forked, by itself and by our own program.
    let old = fs::read_to_string(here.join("old/log/checkpoint")).unwrap();
    let (head, body) = post(&serving.address, 1, &old);
    assert!(head.starts_with("http/1.1 409") && body == "4\n", "{head}: {body}");
    let ran = append(&here, "old", "another", &["--witnesses", "trust"]);
    assert!(ran.code == 5 && ran.err.contains("has cosigned 4 entries"), "{}", ran.err);
    for n in 1..4 {
        assert_eq!(append(&here, "old", &format!("fork {n}"), &[]).code, 0);
    }
    let forked = fs::read_to_string(here.join("old/log/checkpoint")).unwrap();
    let (head, _) = post(&serving.address, 4, &forked);
    assert!(head.starts_with("http/1.1 422"), "{head}");
    let ran = run(
        &here,
        &[
            "journal",
            "append",
            "old",
            "--witnesses",
            "trust",
            "--command",
            "a.b",
            "--who",
            "person:p-1",
            "--why",
            "more",
        ],
    );
    assert!(ran.code == 5 && ran.err.contains("another history"), "{}", ran.err);
    let (fine, said) = witness(&["evidence"]);
    assert!(fine && said.contains(ORIGIN), "{said}");
    let (head, _) = http(&serving.address, "GET /healthz", "");
    assert!(head.starts_with("http/1.1 200"), "{head}");
}
