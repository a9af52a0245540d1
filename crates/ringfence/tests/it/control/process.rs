//! One day with a real controller process: set up, used by people and programs, ended, started again.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crypto::tls::rustls::{ClientConnection, StreamOwned};
use crypto::tls::{self, SystemClock};
use serde_json::{Value, json};

use super::hq::{Person, sample};
use crate::{folder, own_address};

/// A process that is ended with the test.
pub(super) struct Process {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub(super) api: String,
    pub(super) root_sha256: String,
}

impl Process {
    pub(super) fn start(here: &Path, listen: &str) -> Self {
        Self::start_in(here, "hq", listen, Stdio::inherit())
    }

    /// In another folder, with what it tells somewhere else.
    pub(super) fn start_in(here: &Path, state: &str, listen: &str, told: Stdio) -> Self {
        Self::start_with(here, state, listen, told, &[])
    }

    /// With more in its environment.
    pub(super) fn start_with(
        here: &Path,
        state: &str,
        listen: &str,
        told: Stdio,
        more: &[(&str, &Path)],
    ) -> Self {
        let arguments = format!(
            "controller run --state {state} --name acme.example --listen {listen} --line-listen 127.0.0.1:0"
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.args(arguments.split(' ')).current_dir(here).stdin(Stdio::null()).stderr(told);
        command.envs(more.iter().copied());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut says = |word: &str| {
            let mut lines = lines.by_ref().map(Result::unwrap);
            let line = lines.find(|line| line.trim_start().starts_with(word)).unwrap();
            line.split_whitespace().last().unwrap().to_owned()
        };
        let api = says("API").trim_start_matches("https://").to_owned();
        let root_sha256 = says("root");
        Self { child, api, root_sha256 }
    }

    /// As a service manager ends it.
    pub(super) fn end(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program of somebody else sends: plain HTTP over TLS.
fn post(at: &str, root: &Path, token: &str, path: &str, body: &Value) -> u16 {
    let roots = pki::Certificate::read_all(&fs::read(root).unwrap()).unwrap();
    let config = tls::client(roots, None, Arc::new(SystemClock)).unwrap();
    let mut config = tls::rustls::ClientConfig::clone(&config);
    config.alpn_protocols.clear();
    let name = "127.0.0.1".try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(at).unwrap());
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {at}\r\nauthorization: Bearer {token}\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_controller_is_set_up_used_and_started_again() {
    let here = folder("control-process");
    let process = Process::start(&here, &own_address());
    let server = format!("https://{}", process.api);
    fs::write(here.join("password"), "correct horse battery\n").unwrap();
    sample(&here.join("policy"));
    let anna = Person::new(&here, "anna");
    anna.ok(&format!(
        "setup --server {server} --ca-sha256 {} --setup-token-file hq/setup-token --login anna \
         --password-file password --context hq",
        process.root_sha256
    ));
    assert!(anna.ok("whoami").contains("admin"));
    anna.ok("sites create w1 --reason new");
    anna.ok("apply -f policy --reason first");

    // A program tells of a device.
    let token = anna.ok("tokens create --label import --role operator --for 1h --reason import");
    let report = json!({
        "site": "w1", "source": "import/list", "why": "delivered",
        "devices": [{
            "id": "dome-9", "subject": "17", "keys": ["mac/02:00:00:00:00:09"], "addresses": ["10.0.9.9"],
            "said": [{ "field": "type", "value": "ip-camera", "confidence": 80, "at": "2031-01-01T00:00:00Z" }],
            "first_seen": "2031-01-01T00:00:00Z", "last_seen": "2031-01-01T00:00:00Z",
        }],
    });
    let root = here.join("hq/pki/root.pem");
    let told = post(&process.api, &root, token.trim(), "/v1/devices/report", &report);
    assert_eq!(told, 200);
    assert_eq!(post(&process.api, &root, "rft_no", "/v1/devices/report", &report), 401);
    assert_eq!(anna.ok("get devices -l mac=02:00:00:00:00:09 -o name"), "dome-9\n");

    anna.ok("teams set shop --contact shop@example.com --reason new");
    anna.ok("edit device dome-9 --set name=Dock --reason walk-through");
    anna.ok("owner dome-9 shop --reason walk-through");
    // Without a zone nothing is granted, and nothing is decided.
    assert!(anna.ok("describe device dome-9").contains("nothing was granted yet"));
    anna.ok("edit device dome-9 --set zone=w1/cameras --reason walk-through");
    anna.ok("wait device dome-9 --for lease=granted --timeout 60s");
    anna.ok("quarantine dome-9 --reason it-scans");
    anna.ok("wait device dome-9 --for lease=refused --timeout 60s");
    let described = anna.ok("describe device dome-9");
    for part in ["Dock", "shop", "quarantined", "refused: ringfence explain dec-", "it-scans"] {
        assert!(described.contains(part), "no {part}: {described}");
    }
    anna.ok("wait device camera --for lease=granted --timeout 60s");
    assert!(anna.ok("explain camera --replay").contains("byte for byte"));
    assert!(anna.ok("get slo").contains("change to decision"));
    let doctor: Value = serde_json::from_str(&anna.run("doctor -o json").out).unwrap();
    // How quick this machine is today is no matter here.
    let known = |look: &Value| look["check"] == "sites" || look["check"] == "levels";
    let wrong = |look: &&Value| look["state"] == "wrong" && !known(look);
    assert_eq!(doctor.as_array().unwrap().iter().find(wrong), None);

    let before = anna.ok("get devices -o wide");
    let api = process.api.clone();
    process.end();
    anna.fails("get devices", 1, "ringfence doctor");
    let process = Process::start(&here, &api);
    // This machine's own token works whatever sessions there were.
    let host = Person::new(&here, "host");
    host.ok(&format!("login --state hq --server {server}"));
    assert_eq!(host.ok("get devices -o wide"), before);
    anna.ok("login --password-file password");
    assert_eq!(anna.ok("get devices -o wide"), before);
    anna.ok("logout");
    anna.fails("get devices", 1, "nobody is logged in");
    process.end();
}

/// The passphrase of its keys moves out of the folder; without it, and with a wrong one, nothing starts, and people hear why.
#[test]
fn keys_are_under_a_passphrase_that_somebody_keeps() {
    let here = folder("control-passphrase");
    let keys = ["hq/key.pem", "hq/pki/root.key.pem", "hq/pki/issuing.key.pem"];
    let sealed = || {
        let sealed =
            |file: &&str| crypto::PrivateKey::is_sealed(&fs::read(here.join(file)).unwrap());
        assert!(keys.iter().all(sealed));
    };
    let first = Process::start(&here, "127.0.0.1:0");
    let root = first.root_sha256.clone();
    first.end();
    sealed();
    let own = here.join("hq/passphrase");
    assert!(own.exists());

    fs::write(here.join("mine"), "correct horse battery staple\n").unwrap();
    fs::write(here.join("other"), "another horse altogether\n").unwrap();
    let run = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.args(arguments.split(' ')).current_dir(&here).env_remove("CREDENTIALS_DIRECTORY");
        let done = command.output().unwrap();
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).split_whitespace().collect::<Vec<_>>().join(" ")
        };
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    let (code, out, err) = run("controller renew-root --state hq --passphrase-file mine");
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(!own.exists() && !out.contains(&format!("root sha256 {root}")), "{out}");
    sealed();
    for (arguments, why) in [
        ("controller renew-root --state hq", "--passphrase-file"),
        ("controller renew-root --state hq --passphrase-file other", "does not open"),
        ("controller renew-root --state hq --passphrase-file gone", "gone"),
    ] {
        let (code, _, err) = run(arguments);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(why), "{err}");
    }
    // A backup needs none, and holds none.
    let (code, out, err) = run("controller backup --state hq copy.rfbk");
    assert_eq!(code, Some(0), "{out}{err}");
    let (code, out, err) = run("controller restore copy.rfbk --state again");
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(!here.join("again/passphrase").exists());
    let (code, _, err) = run("controller renew-root --state again");
    assert!(code == Some(1) && err.contains("--passphrase-file"), "{err}");

    // Another one takes its place, while the one of before is there.
    let other = "controller renew-root --state again --passphrase-file other";
    let (code, out, err) = run(&format!("{other} --old-passphrase-file mine"));
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(run(other).0, Some(0));

    // As a service manager gives it.
    fs::create_dir(here.join("credentials")).unwrap();
    fs::copy(here.join("other"), here.join("credentials/ringfence-passphrase")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.args(["controller", "renew-root", "--state", "again"]).current_dir(&here);
    let done = command.env("CREDENTIALS_DIRECTORY", here.join("credentials")).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
