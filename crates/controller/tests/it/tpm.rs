//! Devices with a TPM at the door: the real agent, a TPM in software, a real journal, real TLS on loopback; and hostile ones, by hand.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command as Program, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use controller::authority::Authority;
use controller::est::{Est, serve};
use crypto::Provider;
use crypto::tls::Credentials;
use device_agent::agent::{Agent, Place};
use device_agent::home::{self, Home};
use device_agent::http::{Answer, Connection};
use device_agent::identity::{Identity, InTpm};
use device_agent::{Keys, Tpm, cli, transport};
use estate::devices::{self, Facts, Field, Said};
use estate::identities::{self, Record};
use estate::{Command, sites};
use model::tpm::{Ask, Challenge, Nonce, PATH, Quote, Verdict};
use model::{Assurance, DeviceId, SiteId, Timestamp};
use pki::tpm::{EventKind, Selection, binding, write_log};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::est::{digest, need, runtime};
use crate::{Folder, Running, now, start_at};

/// Seconds that have passed at the controller beside those that did. Devices' clocks do not follow.
static PASSED: AtomicI64 = AtomicI64::new(0);
const NANOS: i64 = 1_000_000_000;

fn then() -> Timestamp {
    now().plus_nanos(PASSED.load(Ordering::SeqCst) * NANOS)
}

fn tools(test: &str) -> bool {
    need(test, "swtpm", "swtpm") && need(test, "swtpm_setup", "swtpm-tools")
}

/// A device: a TPM in software that a manufacturer made, and what its agent keeps.
pub(super) struct Machine {
    pub(super) folder: PathBuf,
    pub(super) running: Option<Child>,
}

impl Machine {
    fn new(folder: &Folder, name: &str) -> Self {
        let machine = Self { folder: folder.0.join("machines").join(name), running: None };
        machine.manufacture();
        let mut machine = machine;
        machine.power_on();
        machine
    }

    pub(super) fn at(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn manufacture(&self) {
        fs::create_dir_all(self.folder.join("state")).unwrap();
        fs::create_dir_all(self.folder.join("ca")).unwrap();
        let put = |name: &str, text: String| fs::write(self.folder.join(name), text).unwrap();
        let ca = self.at("ca");
        put(
            "ca.conf",
            format!(
                "statedir = {ca}\nsigningkey = {ca}/key.pem\nissuercert = {ca}/issuer.pem\ncertserial = {ca}/serial\n"
            ),
        );
        put("ca.options", "--platform-manufacturer Acme\n".to_owned());
        put(
            "setup.conf",
            format!(
                "create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = {}\ncreate_certs_tool_options = {}\nactive_pcr_banks = sha256\n",
                self.at("ca.conf"),
                self.at("ca.options")
            ),
        );
        let output = Program::new("swtpm_setup")
            .args(["--tpm2", "--create-ek-cert", "--lock-nvram", "--tpmstate", &self.at("state")])
            .args(["--config", &self.at("setup.conf"), "--logfile", &self.at("setup.log")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn power_on(&mut self) {
        let socket = self.at("s");
        let listens = format!("{socket}.pid");
        let _ = (fs::remove_file(&socket), fs::remove_file(&listens));
        let child = Program::new("swtpm")
            .args(["socket", "--tpm2", "--tpmstate", &format!("dir={}", self.at("state"))])
            .args(["--server", &format!("type=unixio,path={socket}")])
            .args(["--ctrl", &format!("type=unixio,path={socket}.ctrl")])
            .args(["--pid", &format!("file={listens}")])
            .args(["--flags", "not-need-init,startup-clear"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.running = Some(child);
        // It binds its socket first, then listens, and then writes this file.
        let waits = format!("until [ -s {listens} ]; do sleep 0.02; done");
        let waited = Program::new("timeout").args(["20", "sh", "-c", &waits]).status().unwrap();
        assert!(waited.success());
    }

    fn power_off(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn reboot(&mut self) {
        self.power_off();
        self.power_on();
    }

    /// Its TPM's state is put away, and back.
    fn copy_state(&self, from: &str, to: &str) {
        let _ = fs::remove_dir_all(self.folder.join(to));
        fs::create_dir_all(self.folder.join(to)).unwrap();
        for file in fs::read_dir(self.folder.join(from)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), self.folder.join(to).join(file.file_name())).unwrap();
        }
    }

    fn place(&self) -> String {
        format!("unix:{}", self.at("s"))
    }

    fn tpm(&self) -> Tpm {
        Tpm::new(transport::open(&self.place()).unwrap())
    }

    fn extend(&self, pcr: u8, digest: [u8; 32]) {
        self.tpm().extend(pcr, &[(pki::Digest::Sha256, &digest)]).unwrap();
    }

    fn values(&self, pcrs: &[u8]) -> serde_json::Value {
        let selection = Selection::of(pki::Digest::Sha256, pcrs.iter().copied());
        let read = self.tpm().read_pcrs(&selection).unwrap();
        let all = read.iter().map(|(_, pcr, value)| (pcr.to_string(), json!([hex(value)])));
        serde_json::Value::Object(all.collect())
    }

    pub(super) fn home(&self) -> Home {
        Home::new(&self.folder.join("agent"))
    }

    /// The agent, as its program runs it: what it prints and its exit code.
    fn run(&self, words: &[&str]) -> (u8, String) {
        self.run_in("agent", &self.place(), words)
    }

    pub(super) fn run_in(&self, folder: &str, place: &str, words: &[&str]) -> (u8, String) {
        let folder = self.at(folder);
        let before = ["--state", folder.as_str(), "--tpm", place];
        let words = before.iter().chain(words).map(ToString::to_string).collect::<Vec<_>>();
        let done = cli::run(&words, now());
        (done.code, done.out + &done.err)
    }

    fn must(&self, words: &[&str]) -> String {
        let (code, said) = self.run(words);
        assert_eq!(code, 0, "{words:?}: {said}");
        said
    }

    fn enrols(&self, hq: &Hq, token: &str) -> (u8, String) {
        let (server, chain) = (hq.server(), self.at("ca/issuer.pem"));
        let root = hq.authority.root_sha256();
        let trust = ["enrol", "--server", &server, "--root-sha256", &root];
        self.run(&[&trust[..], &["--token", token, "--ek-chain", &chain]].concat())
    }

    /// Speaks for the device by hand.
    fn hand(&self, hq: &Hq) -> Hand {
        let agent = Agent { home: self.home(), place: Place::At(self.place()) };
        let identity = Identity::Tpm(Arc::new(InTpm::new(agent.keys(false).unwrap()).unwrap()));
        let own = self.home().certificate(home::CERTIFICATE).unwrap().unwrap();
        let own = Credentials { chain: vec![own], key: identity.signer() };
        let connect = || Connection::open(&hq.server(), hq.authority.root(), Some(&own)).unwrap();
        Hand { connection: connect(), other: connect(), identity }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.power_off();
    }
}

/// Two connections of a device that has its own mind.
struct Hand {
    connection: Connection,
    other: Connection,
    identity: Identity,
}

impl Hand {
    fn nonce(&mut self) -> Nonce {
        let said = self.connection.ask("GET", &format!("{PATH}nonce"), &[], &[]).unwrap();
        assert_eq!(said.status, 200, "{}", said.line());
        serde_json::from_slice(&said.body).unwrap()
    }

    fn quote(&self, nonce: &Nonce, keys: &mut Keys) -> Quote {
        let bytes = |text: &str| STANDARD.decode(text).unwrap();
        let channel = self.connection.channel().unwrap();
        let key = self.identity.public();
        let bound = binding(&bytes(&nonce.nonce), &channel, &key, &Provider);
        let selection = Selection::read(&bytes(&nonce.pcrs)).unwrap();
        let answer = keys.quote(&bound, &selection).unwrap();
        Quote {
            attest: STANDARD.encode(answer.quote.attest),
            signature: STANDARD.encode(answer.quote.signature),
            pcrs: STANDARD.encode(answer.pcrs.write()),
            event_log: None,
        }
    }

    fn own(&self, nonce: &Nonce) -> Quote {
        let Identity::Tpm(tpm) = &self.identity else { panic!() };
        self.quote(nonce, &mut tpm.keys())
    }

    fn send(&mut self, quote: &Quote) -> Verdict {
        send(&mut self.connection, quote)
    }
}

fn post(connection: &mut Connection, word: &str, body: &[u8]) -> Answer {
    connection.ask("POST", &format!("{PATH}{word}"), &[], body).unwrap()
}

fn send(connection: &mut Connection, quote: &Quote) -> Verdict {
    let said = post(connection, "quote", &serde_json::to_vec(quote).unwrap());
    let verdict: Verdict =
        serde_json::from_slice(&said.body).unwrap_or_else(|_| panic!("{said:?}"));
    let refused = !verdict.attested && verdict.code.as_deref() != Some("no-reference");
    assert_eq!(said.status, if refused { 403 } else { 200 }, "{verdict:?}");
    verdict
}

/// A controller with a door for devices.
pub(super) struct Hq {
    pub(super) runtime: Runtime,
    pub(super) running: Running,
    pub(super) authority: Arc<Authority>,
    port: u16,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Hq {
    pub(super) fn open(folder: &Folder) -> Self {
        let runtime = runtime();
        let running = start_at(folder, then);
        let authority =
            Arc::new(Authority::open(&running.state, "ringfence.example", now()).unwrap());
        let hosts = vec!["127.0.0.1".to_owned()];
        let told: controller::shell::Told = Arc::new(|line: &str| eprintln!("told: {line}"));
        let (hub, at) = (Arc::clone(&running.hub), Arc::clone(&authority));
        let est = Est::new(hub, at, hosts, told, &running.state).unwrap();
        let (stop, stopping) = watch::channel(false);
        let (port, serving) = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            (port, tokio::spawn(serve(est, listener, stopping)))
        });
        Self { runtime, running, authority, port, stop, serving }
    }

    pub(super) fn new(folder: &Folder, ids: &[&str]) -> Self {
        let hq = Self::open(folder);
        let id = SiteId::new("shop").unwrap();
        hq.command(Command::Site(sites::Command::Create { id: id.clone(), name: "Shop".into() }));
        let said = |field, value: &str| Said {
            field,
            value: Some(value.to_owned()),
            detail: String::new(),
            confidence: 90,
            at: now(),
        };
        let facts = ids.iter().map(|name| Facts {
            id: DeviceId::new(name).unwrap(),
            subject: (*name).to_owned(),
            keys: vec![format!("serial/acme/{name}")],
            addresses: None,
            said: vec![
                said(Field::Vendor, "Acme"),
                said(Field::Model, "X1"),
                said(Field::Firmware, "2.4"),
            ],
            first_seen: now(),
            last_seen: now(),
        });
        let (source, devices) = ("sensor".to_owned(), facts.collect());
        hq.command(Command::Device(devices::Command::Report { site: id, source, devices }));
        hq
    }

    pub(super) fn close(self) {
        self.stop.send(true).unwrap();
        self.runtime.block_on(self.serving).unwrap();
    }

    pub(super) fn server(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn command(&self, command: Command) {
        let me = controller::hub::itself().unwrap();
        self.running.hub.command(&me, "a test", command, Default::default()).unwrap();
    }

    pub(super) fn token(&self, device: &str, secret: &str) {
        self.command(Command::Identity(identities::Command::IssueToken {
            device: DeviceId::new(device).unwrap(),
            secret: digest(secret),
            expires_at: then().plus_nanos(3_600 * NANOS),
        }));
    }

    /// Time passes, and what has ended is noticed.
    pub(super) fn pass(&self, seconds: i64) {
        PASSED.fetch_add(seconds, Ordering::SeqCst);
        self.command(Command::Identity(identities::Command::Lapse));
    }

    pub(super) fn level(&self, device: &str) -> Assurance {
        let id = DeviceId::new(device).unwrap();
        self.running.hub.read(|estate| estate.devices().get(&id).unwrap().assurance().0)
    }

    fn record(&self, device: &str) -> Record {
        let id = DeviceId::new(device).unwrap();
        self.running.hub.read(|estate| estate.identities().get(&id).unwrap().clone())
    }

    /// Codes and lines of what people should look at.
    pub(super) fn found(&self) -> Vec<(String, String)> {
        self.running.hub.read(|estate| {
            let found = estate.identities().found();
            found.map(|found| (found.code.clone(), found.what.clone())).collect()
        })
    }

    /// The manufacturer of a machine is trusted.
    fn trusts(&self, machine: &Machine) {
        let root = fs::read(machine.at("ca/swtpm-localca-rootca-cert.pem")).unwrap();
        self.running.state.write("pki/tpm-roots/acme.pem", &root, 0o644).unwrap();
        self.pass(11);
    }

    fn reference(&self, what: &str, of: serde_json::Value) {
        let document = json!({
            "schema": "ringfence.reference/v1",
            "vendor": "Acme", "model": "X1", "firmware": "2.4", what: of,
        });
        self.release(&document);
    }

    /// Adds a release, in the place of the one that there is.
    fn release(&self, document: &serde_json::Value) -> String {
        let bytes = document.to_string().into_bytes();
        let said = estate::releases::document::read(&bytes).unwrap();
        let of = |estate: &estate::Estate| {
            let current = estate.releases().current(&said.vendor, &said.model, &said.version);
            current.map(|release| release.id.clone())
        };
        let replaces = self.running.hub.read(of);
        let id = self.running.hub.id("rel").unwrap();
        let release = estate::releases::Release {
            id: id.clone(),
            digest: estate::side::Digest(crypto::sha256(&bytes)),
            reason: "a test".to_owned(),
            vendor: said.vendor,
            model: said.model,
            version: said.version,
            bank: said.bank,
            form: said.form,
            registers: said.registers,
        };
        self.command(Command::Release(estate::releases::Command::Add { release, replaces }));
        id
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn tpm_a_device_enrols_attests_falls_and_comes_back() {
    if !tools("a device attests") {
        return;
    }
    let folder = Folder::new();
    let hq = Hq::new(&folder, &["a", "b"]);
    let mut machine = Machine::new(&folder, "a");
    hq.trusts(&machine);
    hq.token("a", "secret");
    let (code, said) = machine.enrols(&hq, "secret");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("a key in the TPM"), "{said}");
    assert_eq!(hq.level("a"), Assurance::HardwareKey);
    let maker = hq.record("a").tpm.unwrap().maker.unwrap();
    assert!(maker.contains("swtpm") && maker.contains("swtpm-localca-rootca"), "{maker}");
    // Nobody has said what is good: the quote holds, and that is all.
    let (code, said) = machine.run(&["attest"]);
    assert!(code == 2 && said.contains("no-reference"), "{said}");
    assert_eq!((hq.level("a"), hq.found().len()), (Assurance::HardwareKey, 0));
    hq.reference("values", machine.values(&[0, 4, 7]));
    assert!(machine.must(&["attest"]).contains("attested until"));
    assert_eq!(hq.level("a"), Assurance::Attested);
    let first = hq.record("a").attestation.unwrap();
    // Renewed with the same key, it is what it was.
    assert!(machine.must(&["renew"]).contains("is renewed from"));
    machine.must(&["renew", "--now"]);
    assert_eq!(hq.level("a"), Assurance::Attested);
    // Something else was measured.
    machine.extend(7, [9; 32]);
    let (code, said) = machine.run(&["attest"]);
    assert!(code == 2 && said.contains("(pcr)") && said.contains("PCR 7"), "{said}");
    assert_eq!(hq.level("a"), Assurance::HardwareKey);
    assert!(
        hq.found()
            .iter()
            .any(|(code, what)| code == "identity.attestation" && what.contains("PCR 7"))
    );
    // Booted, it is good again; and the controller is another process by then.
    machine.reboot();
    hq.close();
    let hq = Hq::open(&folder);
    machine.home().write(home::SERVER, hq.server().as_bytes()).unwrap();
    assert!(machine.must(&["attest"]).contains("it was booted"));
    assert_eq!(hq.level("a"), Assurance::Attested);
    let second = hq.record("a").attestation.unwrap();
    assert_eq!(second.reset_count, first.reset_count + 1);
    // The verifier, or the device, is away: what was passed does not stand.
    hq.pass(3_601);
    assert_eq!(hq.level("a"), Assurance::HardwareKey);
    machine.must(&["attest"]);
    assert_eq!(hq.level("a"), Assurance::Attested);
    // An older state of its TPM is put back.
    machine.power_off();
    machine.copy_state("state", "old");
    machine.power_on();
    // It has started when it answers.
    machine.values(&[0]);
    machine.reboot();
    machine.must(&["attest"]);
    machine.power_off();
    machine.copy_state("old", "state");
    machine.power_on();
    let (code, said) = machine.run(&["attest"]);
    assert!(code == 2 && said.contains("(rollback)") && said.contains("was reset"), "{said}");
    assert_eq!(hq.level("a"), Assurance::HardwareKey);
    assert!(hq.found().iter().any(|(_, what)| what.contains("an older state of it was restored")));
    hq.close();
}

#[test]
fn tpm_a_quote_counts_once_on_its_connection_and_from_its_own_key() {
    if !tools("a quote counts once") {
        return;
    }
    let folder = Folder::new();
    let hq = Hq::new(&folder, &["a"]);
    let (machine, other) = (Machine::new(&folder, "a"), Machine::new(&folder, "other"));
    hq.reference("values", machine.values(&[0]));
    hq.token("a", "secret");
    assert_eq!(machine.enrols(&hq, "secret").0, 0);
    assert_eq!(hq.record("a").tpm.unwrap().maker, None, "nobody vouches for it but the token");
    let attested = |hq: &Hq| hq.level("a") == Assurance::Attested;
    let mut hand = machine.hand(&hq);
    let nonce = hand.nonce();
    let quote = hand.own(&nonce);
    assert!(hand.send(&quote).attested && attested(&hq));
    // Sent again; sent in answer to another nonce.
    for again in [false, true] {
        if again {
            hand.nonce();
        }
        let verdict = hand.send(&quote);
        assert_eq!(verdict.code.as_deref(), Some("replayed"), "{verdict:?}");
        assert!(!attested(&hq));
        hq.pass(61);
        let nonce = hand.nonce();
        let quote = hand.own(&nonce);
        assert!(hand.send(&quote).attested);
    }
    // Over another connection than the one it was made for.
    let nonce = hand.nonce();
    let quote = hand.own(&nonce);
    assert_eq!(send(&mut hand.other, &quote).code.as_deref(), Some("replayed"));
    // By the key of another TPM.
    let nonce = hand.nonce();
    let quote = hand.quote(&nonce, &mut Keys::make(other.tpm()).unwrap());
    assert_eq!(hand.send(&quote).code.as_deref(), Some("signature"));
    // With values that are not those in the TPM, and too late.
    hq.pass(61);
    let nonce = hand.nonce();
    let mut quote = hand.own(&nonce);
    let mut pcrs = STANDARD.decode(&quote.pcrs).unwrap();
    *pcrs.last_mut().unwrap() ^= 1;
    quote.pcrs = STANDARD.encode(pcrs);
    assert_eq!(hand.send(&quote).code.as_deref(), Some("registers"));
    let nonce = hand.nonce();
    let quote = hand.own(&nonce);
    hq.pass(61);
    assert_eq!(hand.send(&quote).code.as_deref(), Some("replayed"));
    assert_eq!(hq.level("a"), Assurance::HardwareKey);
    assert_eq!(hq.found().len(), 6, "{:?}", hq.found());
    // What is no quote at all is found once; a key asks only so often.
    for wrong in [&b"{}"[..], b"", br#"{"attest":"!","signature":"","pcrs":""}"#] {
        assert_eq!(post(&mut hand.connection, "quote", wrong).status, 400);
    }
    let unread = hq.found().into_iter().filter(|(code, _)| code == "identity.request").count();
    assert_eq!(unread, 1, "{:?}", hq.found());
    let size = hq.running.hub.read(estate::Estate::size);
    let mut asked = (0..30).map(|_| hand.connection.ask("GET", &format!("{PATH}nonce"), &[], &[]));
    let later = asked.find_map(|said| said.ok().filter(|said| said.status == 429)).unwrap();
    assert!(later.retry_after_s.is_some(), "{later:?}");
    assert_eq!(hq.running.hub.read(estate::Estate::size), size + 1, "that it came too often");
    drop(hand);
    // Nobody without a certificate gets a nonce.
    let mut nobody = Connection::open(&hq.server(), hq.authority.root(), None).unwrap();
    let said = nobody.ask("GET", &format!("{PATH}nonce"), &[], &[]).unwrap();
    assert_eq!(said.status, 403, "{}", said.line());
    hq.close();
}

#[test]
fn tpm_whose_keys_are_not_shown_gets_no_certificate() {
    if !tools("no certificate") {
        return;
    }
    let folder = Folder::new();
    let hq = Hq::new(&folder, &["a", "b"]);
    let (machine, other) = (Machine::new(&folder, "a"), Machine::new(&folder, "other"));
    // Only a's manufacturer is trusted.
    hq.trusts(&machine);
    hq.token("a", "for a");
    hq.token("b", "for b");
    let (code, said) = other.enrols(&hq, "for b");
    assert!(code == 2 && said.contains("refuses (403)"), "{said}");
    let (code, said) = machine.enrols(&hq, "unknown");
    assert!(code == 2 && said.contains("refuses (401)"), "{said}");
    assert_eq!(machine.enrols(&hq, "for a").0, 0);
    // The TPM of one device is not another's: a copy of the machine, with the other's token.
    let (server, chain) = (hq.server(), machine.at("ca/issuer.pem"));
    let root = machine.at("agent/root.pem");
    let words = ["enrol", "--server", &server, "--root", &root, "--token", "for b"];
    let words = [&words[..], &["--ek-chain", &chain]].concat();
    let (code, said) = machine.run_in("copy", &machine.place(), &words);
    assert!(code == 2 && said.contains("another device's"), "{said}");
    assert_eq!(hq.found().len(), 1, "{:?}", hq.found());
    // A token that one TPM used is not another's.
    let roots = hq.running.state.file("pki/tpm-roots");
    fs::remove_dir_all(roots).unwrap();
    hq.pass(11);
    let (code, said) = other.enrols(&hq, "for a");
    assert!(code == 2 && said.contains("refuses (401)"), "{said}");
    assert_eq!(hq.level("b"), Assurance::Observed);
    // The secret of a challenge has to be right, and is good once.
    let keys = Keys::make(other.tpm()).unwrap();
    let ask = Ask {
        ek_certificates: Vec::new(),
        ek_public: STANDARD.encode(&keys.endorsement().public),
        ak_public: STANDARD.encode(&keys.stored().attestation.public),
    };
    let mut nobody = Connection::open(&hq.server(), hq.authority.root(), None).unwrap();
    let said = post(&mut nobody, "challenge", &serde_json::to_vec(&ask).unwrap());
    assert_eq!(said.status, 200, "{}", said.line());
    let challenge: Challenge = serde_json::from_slice(&said.body).unwrap();
    let wrong = json!({
        "id": challenge.id, "secret": STANDARD.encode([0; 32]), "csr": "",
        "certify": { "attest": "", "signature": "", "public": "" },
    });
    for _ in 0..2 {
        let said = post(&mut nobody, "enrol", wrong.to_string().as_bytes());
        assert_eq!(said.status, 403, "{}", said.line());
    }
    // Strangers' tries have an end, and so have their bodies.
    let long = nobody.ask("POST", &format!("{PATH}enrol"), &[], &vec![b' '; 65_537]);
    let status = long.map_or(0, |said| said.status);
    assert!([0, 413, 429].contains(&status), "{status}");
    let mut tries = (0..30).map(|_| {
        let mut nobody = Connection::open(&hq.server(), hq.authority.root(), None).unwrap();
        post(&mut nobody, "challenge", b"{}").status
    });
    assert!(tries.any(|status| status == 429));
    hq.close();
}

#[test]
fn tpm_an_event_log_is_judged_event_by_event() {
    if !tools("an event log") {
        return;
    }
    let folder = Folder::new();
    let hq = Hq::new(&folder, &["a"]);
    let machine = Machine::new(&folder, "a");
    hq.token("a", "secret");
    assert_eq!(machine.enrols(&hq, "secret").0, 0);
    let (kernel, initrd) = (digest("kernel").0, digest("initrd").0);
    machine.extend(4, kernel);
    machine.extend(4, initrd);
    let log = machine.at("log");
    fs::write(&log, event_log(&["kernel", "initrd"])).unwrap();
    let attest = || machine.run(&["attest", "--event-log", &log]);
    hq.reference("events", json!({ "4": { "required": [hex(&kernel)] } }));
    let (code, said) = attest();
    assert!(code == 2 && said.contains("(pcr)") && said.contains("not in the reference"), "{said}");
    let all = json!({ "4": { "required": [hex(&kernel)], "allowed": [hex(&initrd)] } });
    hq.reference("events", all);
    let (code, said) = attest();
    assert_eq!(code, 0, "{said}");
    assert_eq!(hq.level("a"), Assurance::Attested);
    fs::write(&log, event_log(&["kernel"])).unwrap();
    let (code, said) = attest();
    assert!(code == 2 && said.contains("does not lead to PCR 4"), "{said}");
    let (code, said) = machine.run(&["attest", "--event-log", &machine.at("none")]);
    assert!(code == 2 && said.contains("(log)"), "{said}");
    hq.close();
}

#[test]
fn tpm_none_is_needed_for_a_key_in_a_file() {
    let folder = Folder::new();
    let hq = Hq::new(&folder, &["a"]);
    let machine = Machine { folder: folder.0.join("machines/a"), running: None };
    let run = |words: &[&str]| machine.run_in("agent", "none", words);
    let (server, root) = (hq.server(), hq.authority.root_sha256());
    let enrol = ["enrol", "--server", &server, "--root-sha256", &root];
    // Without a token a person looks at it first.
    let (code, said) = run(&enrol);
    assert!(code == 2 && said.contains("not yet"), "{said}");
    hq.token("a", "secret");
    let (code, said) = run(&[&enrol[..], &["--token", "secret"]].concat());
    assert!(code == 0 && said.contains("a key in a file"), "{said}");
    assert_eq!(hq.level("a"), Assurance::DeviceKey);
    assert_eq!(run(&["renew", "--now"]).0, 0);
    let (code, said) = run(&["attest"]);
    assert!(code == 0 && said.contains("nothing to attest"), "{said}");
    // A renewal that was interrupted goes on; what is no certificate of ours is taken away.
    let home = machine.home();
    let before = home.certificate(home::CERTIFICATE).unwrap().unwrap();
    home.keep(home::NEXT, &before).unwrap();
    assert_eq!(run(&["renew"]).0, 0);
    assert!(home.read(home::NEXT).unwrap().is_none());
    home.keep(home::NEXT, hq.authority.root()).unwrap();
    assert_eq!(run(&["renew"]).0, 0);
    assert!(home.read(home::NEXT).unwrap().is_none());
    assert_eq!(home.certificate(home::CERTIFICATE).unwrap().unwrap(), before);
    // Another root than the one it was told.
    let other = hex(&[7; 32]);
    let trust = ["enrol", "--server", &server, "--root-sha256", &other];
    assert_eq!(run(&trust).0, 1);
    // A network that fails takes nothing away: the next one may have been shown.
    home.keep(home::NEXT, &before).unwrap();
    hq.close();
    assert_eq!(run(&["renew"]).0, 1);
    assert!(home.read(home::NEXT).unwrap().is_some());
}

#[test]
fn tpm_who_is_attested_by_a_release_falls_with_it() {
    if !tools("a release is withdrawn") {
        return;
    }
    let folder = Folder::new();
    let hq = Hq::new(&folder, &["a"]);
    let machine = Machine::new(&folder, "a");
    hq.token("a", "secret");
    assert_eq!(machine.enrols(&hq, "secret").0, 0);
    let document = |firmware: &str, pcrs: &[u8]| {
        json!({
            "schema": "ringfence.reference/v1", "vendor": "Acme", "model": "X1",
            "firmware": firmware, "values": machine.values(pcrs),
        })
    };
    // Of another version, it says nothing about this one.
    hq.release(&document("2.5", &[0]));
    assert!(machine.run(&["attest"]).1.contains("no-reference"));
    let first = hq.release(&document("2.4", &[0]));
    machine.must(&["attest"]);
    assert_eq!(hq.level("a"), Assurance::Attested);
    let entry = hq.record("a").release.unwrap();
    let known = |id: &str| hq.running.hub.read(|estate| estate.releases().get(id).unwrap().entry);
    assert_eq!(entry, known(&first));
    let withdraw = |id: &str| {
        let (id, reason) = (id.to_owned(), "recalled".to_owned());
        hq.command(Command::Release(estate::releases::Command::Withdraw { id, reason }));
    };
    withdraw(&first);
    assert_eq!(hq.level("a"), Assurance::HardwareKey, "at once");
    let (code, said) = machine.run(&["attest"]);
    assert!(code == 2 && said.contains("no-reference"), "{said}");
    // Withdrawn between the question and the answer.
    let second = hq.release(&document("2.4", &[0]));
    let mut hand = machine.hand(&hq);
    let nonce = hand.nonce();
    let quote = hand.own(&nonce);
    withdraw(&second);
    let verdict = hand.send(&quote);
    assert_eq!(verdict.code.as_deref(), Some("no-reference"), "{verdict:?}");
    // It speaks with one at a time.
    drop(hand);
    assert_eq!((hq.level("a"), hq.found().len()), (Assurance::HardwareKey, 0));
    hq.release(&document("2.4", &[0]));
    machine.must(&["attest"]);
    assert_eq!(hq.level("a"), Assurance::Attested);
    hq.close();
}

/// A log that says that these were measured into register 4.
fn event_log(all: &[&str]) -> Vec<u8> {
    let events: Vec<_> =
        all.iter().map(|name| (4, EventKind(0x8000_0003), name.as_bytes())).collect();
    write_log(&[pki::Digest::Sha256], 0, &events, &Provider)
}
