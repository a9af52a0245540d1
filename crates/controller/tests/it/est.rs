//! Devices at the door of EST, as they come: curl with openssl, strongSwan, and hostile ones. A real journal, real TLS on loopback.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use controller::authority::Authority;
use controller::est::{Est, serve};
use estate::devices::{self, Facts, Field, Said};
use estate::identities::{self, Answer, Reason};
use estate::side::Digest;
use estate::{Command, sites};
use model::{Assurance, DeviceId, SiteId};
use pki::Certificate;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Folder, Running, now, start};

/// A device at the address that all come from.
const HERE: &str = "here";
/// Far longer than any of it takes; only a hang ends by it.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a program is there; a missing one is a failure under `RINGFENCE_STRICT=1`.
pub(super) fn need(test: &str, program: &str, package: &str) -> bool {
    if Program::new(program).arg("--help").output().is_ok() {
        return true;
    }
    let strict = std::env::var_os("RINGFENCE_STRICT").is_some_and(|value| value == "1");
    assert!(!strict, "{test}: the program {program} is missing (Debian package {package})");
    eprintln!("SKIPPED {test}: the program {program} is missing");
    false
}

/// A controller with a door for devices, and a folder for what devices have.
pub(super) struct Door {
    pub(super) running: Running,
    pub(super) est: Arc<Est>,
    pub(super) authority: Arc<Authority>,
    pub(super) port: u16,
    files: PathBuf,
    notes: Arc<Mutex<Vec<String>>>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Door {
    pub(super) async fn new(folder: &Folder, devices: &[&str]) -> Self {
        Self::with(folder, devices, None).await
    }

    /// One that believes in a maker's root.
    pub(super) async fn with(
        folder: &Folder,
        devices: &[&str],
        maker: Option<(&str, &Path)>,
    ) -> Self {
        let running = start(folder);
        if let Some((name, pem)) = maker {
            fs::create_dir_all(folder.0.join("pki/makers")).unwrap();
            fs::copy(pem, folder.0.join("pki/makers").join(format!("{name}.pem"))).unwrap();
        }
        let authority =
            Arc::new(Authority::open(&running.state, "ringfence.example", now()).unwrap());
        let notes = Arc::new(Mutex::new(Vec::new()));
        let told = {
            let notes = Arc::clone(&notes);
            Arc::new(move |line: &str| notes.lock().unwrap().push(line.to_owned()))
        };
        let hosts = vec!["127.0.0.1".to_owned()];
        let (hub, ours) = (Arc::clone(&running.hub), Arc::clone(&authority));
        let est = Est::new(hub, ours, hosts, told, &running.state).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopping) = watch::channel(false);
        let serving = tokio::spawn(serve(Arc::clone(&est), listener, stopping));
        let files = folder.0.join("device");
        fs::create_dir_all(&files).unwrap();
        let door = Self { running, est, authority, port, files, notes, stop, serving };
        let root = pki::Pem::write("CERTIFICATE", door.authority.root().der()).unwrap();
        fs::write(door.files.join("root.pem"), root).unwrap();
        fs::write(door.files.join("root.der"), door.authority.root().der()).unwrap();
        door.add(devices);
        door
    }

    /// The same folder, once more.
    pub(super) async fn again(folder: &Folder) -> Self {
        Self::with(folder, &[], None).await
    }

    fn add(&self, devices: &[&str]) {
        if devices.is_empty() {
            return;
        }
        let id = SiteId::new("shop").unwrap();
        self.command(Command::Site(sites::Command::Create { id: id.clone(), name: "Shop".into() }));
        let facts = devices.iter().map(|name| Facts {
            id: DeviceId::new(name).unwrap(),
            subject: (*name).to_owned(),
            keys: vec![format!("serial/acme/{name}")],
            // Whoever comes without a name is the one with this address.
            addresses: (*name == HERE).then(|| vec![Ipv4Addr::LOCALHOST.into()]),
            said: Vec::new(),
            first_seen: now(),
            last_seen: now(),
        });
        let report = devices::Command::Report {
            site: id,
            source: "sensor".to_owned(),
            devices: facts.collect(),
        };
        self.command(Command::Device(report));
    }

    pub(super) fn command(&self, command: Command) {
        let me = controller::hub::itself().unwrap();
        self.running.hub.command(&me, "a test", command, Default::default()).unwrap();
    }

    pub(super) fn token(&self, device: &str, secret: &str) {
        self.command(Command::Identity(identities::Command::IssueToken {
            device: DeviceId::new(device).unwrap(),
            secret: digest(secret),
            expires_at: now().plus_nanos(3_600_000_000_000),
        }));
    }

    fn mud_url(&self, device: &str) -> Option<String> {
        let id = DeviceId::new(device).unwrap();
        self.running.hub.read(|estate| {
            estate.devices().get(&id).unwrap().value(Field::MudUrl).map(str::to_owned)
        })
    }

    /// What people are to look at, about a device.
    pub(super) fn found(&self, device: &str) -> Vec<String> {
        self.running.hub.read(|estate| {
            let found = estate.identities().found();
            found.filter(|f| f.device.as_str() == device).map(|f| f.code.clone()).collect()
        })
    }

    fn url(&self, operation: &str) -> String {
        format!("https://127.0.0.1:{}/.well-known/est/{operation}", self.port)
    }

    pub(super) fn level(&self, device: &str) -> Assurance {
        let id = DeviceId::new(device).unwrap();
        self.running.hub.read(|estate| estate.devices().get(&id).unwrap().assurance().0)
    }

    pub(super) fn file(&self, name: &str) -> String {
        self.files.join(name).to_str().unwrap().to_owned()
    }

    /// Runs a program in the folder of devices.
    pub(super) async fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Program::new(program);
        command.args(arguments).current_dir(&self.files).env("LC_ALL", "C");
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn must(&self, program: &str, arguments: &[&str]) -> Vec<u8> {
        let done = self.run(program, arguments).await;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{program} {arguments:?}: {said}");
        done.stdout
    }

    /// A key and a request in files, by openssl.
    pub(super) async fn request(&self, name: &str, kind: &[&str]) {
        let (key, csr) = (format!("{name}.key"), format!("{name}.csr"));
        let subject = format!("/CN={name}");
        let mut arguments = vec!["req", "-new", "-nodes", "-newkey"];
        arguments.extend(kind);
        arguments.extend(["-subj", &subject, "-keyout", &key, "-out", &csr, "-outform", "DER"]);
        self.must("openssl", &arguments).await;
        self.must("openssl", &["base64", "-in", &csr, "-out", &format!("{name}.b64")]).await;
    }

    /// What curl gets: status, headers of note, body.
    pub(super) async fn curl(&self, operation: &str, more: &[&str]) -> Got {
        let url = self.url(operation);
        let mut arguments = vec!["-sS", "--cacert", "root.pem", "-D", "head", "-o", "body"];
        arguments.extend(more);
        arguments.extend(["-w", "%{http_code}", &url]);
        let _ = fs::remove_file(self.files.join("body"));
        let done = self.run("curl", &arguments).await;
        let status = String::from_utf8_lossy(&done.stdout).parse().unwrap_or(0);
        let body = fs::read(self.files.join("body")).unwrap_or_default();
        let head = fs::read_to_string(self.files.join("head")).unwrap_or_default();
        Got {
            status,
            head: head.to_lowercase(),
            body,
            said: String::from_utf8_lossy(&done.stderr).into(),
        }
    }

    pub(super) async fn enrol(&self, operation: &str, name: &str, more: &[&str]) -> Got {
        let data = format!("@{name}.b64");
        let mut arguments = vec!["-H", "Content-Type: application/pkcs10", "--data-binary", &data];
        arguments.extend(more);
        self.curl(operation, &arguments).await
    }

    /// The certificate of an answer, in a file too.
    pub(super) fn keep(&self, name: &str, got: &Got) -> Certificate {
        assert_eq!(got.status, 200, "{}", got.text());
        let all = pki::est::read_certs_only(&got.body).unwrap();
        let [one] = all.as_slice() else { panic!("{} certificates", all.len()) };
        let pem = pki::Pem::write("CERTIFICATE", one.der()).unwrap();
        fs::write(self.files.join(format!("{name}.pem")), pem).unwrap();
        one.clone()
    }

    pub(super) async fn close(self) {
        self.stop.send(true).unwrap();
        tokio::time::timeout(PATIENCE, self.serving).await.unwrap().unwrap();
    }
}

pub(super) struct Got {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    said: String,
}

impl Got {
    pub(super) fn text(&self) -> String {
        format!("{} {} {}", self.status, String::from_utf8_lossy(&self.body), self.said)
    }
}

/// Waits for what the door does once a connection is over.
pub(super) async fn soon(done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

pub(super) fn digest(text: &str) -> Digest {
    Digest(crypto::sha256(text.as_bytes()))
}

pub(super) const P256: [&str; 3] = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
const THREADS: usize = 4;

pub(super) fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(THREADS).enable_all().build().unwrap()
}

#[test]
fn curl_enrols_with_a_token_renews_with_its_certificate_and_is_cut_off_when_it_is_revoked() {
    if !need("curl enrols", "curl", "curl") {
        return;
    }
    runtime().block_on(async {
        let folder = Folder::new();
        let door = Door::new(&folder, &["cam-1", "cam-2"]).await;
        let authorities = door.curl("cacerts", &[]).await;
        assert!(authorities.head.contains("application/pkcs7-mime; smime-type=certs-only"));
        let authorities = pki::est::read_certs_only(&authorities.body).unwrap();
        assert!(authorities.contains(door.authority.root()) && authorities.len() == 2);
        // With a label it is the same authority.
        assert_eq!(door.curl("shops/cacerts", &[]).await.status, 200);

        door.request("cam-1", &P256).await;
        door.token("cam-1", "est-secret");
        let wrong = door.enrol("simpleenroll", "cam-1", &["-u", "cam-1:other"]).await;
        assert_eq!(wrong.status, 401, "{}", wrong.text());
        assert!(wrong.head.contains("www-authenticate: basic"), "{}", wrong.head);
        let first = door.enrol("simpleenroll", "cam-1", &["-u", "cam-1:est-secret"]).await;
        let first = door.keep("cam-1", &first);
        let identity = pki::identity_of(&first).unwrap();
        assert_eq!(identity.to_string(), "spiffe://ringfence.example/device/cam-1");
        assert_eq!(door.level("cam-1"), Assurance::DeviceKey);
        // The journal has it, whole, and openssl believes it.
        let issuing = pki::Pem::write("CERTIFICATE", door.authority.anchors()[1].der()).unwrap();
        fs::write(door.file("issuing.pem"), issuing).unwrap();
        door.must(
            "openssl",
            &[
                "verify",
                "-x509_strict",
                "-CAfile",
                "root.pem",
                "-untrusted",
                "issuing.pem",
                "cam-1.pem",
            ],
        )
        .await;

        // Another key with the same token is refused; the same key got lost on its way, and comes again.
        door.request("cam-2", &P256).await;
        let used = door.enrol("simpleenroll", "cam-2", &["-u", "x:est-secret"]).await;
        assert_eq!(used.status, 401, "{}", used.text());
        let again = door.enrol("simpleenroll", "cam-1", &["-u", "cam-1:est-secret"]).await;
        door.keep("cam-1", &again);
        // A copy of the key on another device is found.
        door.token("cam-2", "est-other");
        let copy = door.enrol("simpleenroll", "cam-1", &["-u", "x:est-other"]).await;
        assert_eq!(copy.status, 409, "{}", copy.text());
        assert_eq!(door.found("cam-1"), ["identity.token"]);
        assert_eq!(door.found("cam-2"), ["identity.key-taken"]);

        let own = ["--cert", "cam-1.pem", "--key", "cam-1.key"];
        for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            let renewed =
                door.enrol("simplereenroll", "cam-1", &[&own[..], version].concat()).await;
            door.keep("cam-1", &renewed);
        }
        // To another key, with the old one.
        let rekeyed = door.enrol("simplereenroll", "cam-2", &own).await;
        assert_eq!(pki::identity_of(&door.keep("new", &rekeyed)).unwrap(), identity);

        let (device, reason) = (DeviceId::new("cam-1").unwrap(), Reason::KeyCompromise);
        let revoke = identities::Command::Revoke { device, serials: Vec::new(), reason };
        door.command(Command::Identity(revoke));
        let refused = door.enrol("simplereenroll", "cam-1", &own).await;
        assert_eq!(refused.status, 0, "no handshake: {}", refused.text());
        assert_eq!(door.level("cam-1"), Assurance::Observed);
        // Not without its certificate either: its key is spent.
        let bare = door.enrol("simpleenroll", "cam-1", &[]).await;
        assert_eq!(bare.status, 403, "{}", bare.text());
        assert!(door.est.counts.all().contains(&("issued", 5)), "{:?}", door.est.counts.all());
        // People are told of a refused certificate, once it is in the journal; the device hears of it before.
        soon(|| !door.notes.lock().unwrap().is_empty()).await;
        door.close().await;
    });
}

#[test]
fn bad_requests_are_told_what_is_wrong_with_them_and_nothing_is_issued() {
    if !need("bad requests", "curl", "curl") {
        return;
    }
    runtime().block_on(async {
        let folder = Folder::new();
        let door = Door::new(&folder, &["cam-1", HERE]).await;
        door.token("cam-1", "est-secret");
        let with = ["-u", "x:est-secret"];
        let file = |name: &str, bytes: &[u8]| fs::write(door.file(name), bytes).unwrap();
        door.request("weak", &["rsa:1024"]).await;
        door.request("curve", &["ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"]).await;
        door.request("good", &P256).await;
        let der = fs::read(door.file("good.csr")).unwrap();
        let forged = der.iter().enumerate().map(|(n, b)| if n + 3 == der.len() { b ^ 1 } else { *b });
        file("forged.b64", pki::est::body(&forged.collect::<Vec<_>>()).as_bytes());
        file("cut.b64", pki::est::body(&der[..der.len() - 1]).as_bytes());
        file("empty.b64", b"");
        file("text.b64", b"this is no request");
        file("long.b64", "QUFB".repeat(20_000).as_bytes());
        for (name, status, says) in [
            ("weak", 400, "too weak"),
            ("curve", 400, "the curve"),
            ("forged", 400, "sign"),
            ("cut", 400, ""),
            ("empty", 400, "empty"),
            ("text", 400, "base64"),
            ("long", 413, "longer"),
        ] {
            let got = door.enrol("simpleenroll", name, &with).await;
            assert_eq!(got.status, status, "{name}: {}", got.text());
            assert!(got.text().contains(says), "{name}: {}", got.text());
        }
        // Bound to another channel.
        let config = "[req]\ndistinguished_name=dn\nattributes=at\nprompt=no\n[dn]\nCN=x\n[at]\nchallengePassword=c29tZXRoaW5nIGVsc2U=\n";
        file("bound.cnf", config.as_bytes());
        let bound = ["req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-config", "bound.cnf", "-keyout", "bound.key", "-out", "bound.csr", "-outform", "DER"];
        door.must("openssl", &bound).await;
        door.must("openssl", &["base64", "-in", "bound.csr", "-out", "bound.b64"]).await;
        let got = door.enrol("simpleenroll", "bound", &with).await;
        assert_eq!(got.status, 400, "{}", got.text());
        assert!(got.text().contains("another one"), "{}", got.text());
        // What is not offered says so.
        for (operation, arguments, status) in [
            ("serverkeygen", &["-d", "x"][..], 501),
            ("fullcmc", &["-d", "x"], 501),
            ("simpleenroll", &[], 405),
            ("cacerts", &["-d", "x"], 405),
            ("anything", &[], 404),
        ] {
            let got = door.curl(operation, arguments).await;
            assert_eq!(got.status, status, "{operation}: {}", got.text());
        }
        let wishes = door.curl("csrattrs", &["--tlsv1.3"]).await;
        assert!(pki::est::read_csrattrs(&wishes.body).unwrap().bound, "{}", wishes.text());
        let older = door.curl("csrattrs", &["--tls-max", "1.2"]).await;
        assert!(!pki::est::read_csrattrs(&older.body).unwrap().bound, "{}", older.text());
        let issued = door.running.hub.read(|estate| estate.identities().iter().count());
        assert_eq!(issued, 0);
        assert_eq!(door.found(HERE), ["identity.request"], "once in an hour");
        // After ten failures in a minute an address waits; nobody's token is tried out.
        let mut tried = 0;
        while door.enrol("simpleenroll", "good", &["-u", "x:guess"]).await.status != 429 {
            tried += 1;
            assert!(tried < 30, "it may go on guessing");
        }
        assert_eq!(door.found(HERE), ["identity.request", "identity.token"]);
        door.close().await;
    });
}

#[test]
fn a_device_that_a_person_calls_a_gateway_has_a_gateways_name() {
    if !need("a gateway", "curl", "curl") {
        return;
    }
    runtime().block_on(async {
        let folder = Folder::new();
        let door = Door::new(&folder, &["gate", "liar"]).await;
        let set = [(Field::Type, Some("gateway".to_owned()))].into();
        let edit = devices::Edit { set, labels: Default::default() };
        let devices = vec![DeviceId::new("gate").unwrap()];
        door.command(Command::Device(devices::Command::Edit { devices, edit }));
        // What a device says of itself is worth nothing here.
        let said = Said {
            field: Field::Type,
            value: Some("gateway".to_owned()),
            detail: String::new(),
            confidence: 100,
            at: now(),
        };
        let liar = Facts {
            id: DeviceId::new("liar").unwrap(),
            subject: "liar".to_owned(),
            keys: vec!["serial/acme/liar".to_owned()],
            addresses: None,
            said: vec![said],
            first_seen: now(),
            last_seen: now(),
        };
        let (site, source) = (SiteId::new("shop").unwrap(), "sensor".to_owned());
        let report = devices::Command::Report { site, source, devices: vec![liar] };
        door.command(Command::Device(report));
        for (id, kind) in [("gate", "gateway"), ("liar", "device")] {
            door.token(id, id);
            let url = format!("1.3.6.1.5.5.7.1.25=ASN1:IA5STRING:https://mud.example/{id}");
            let named = [&P256[..], &["-addext", &url]].concat();
            door.request(id, &named).await;
            let got = door.enrol("simpleenroll", id, &["-u", &format!("x:{id}")]).await;
            let name = pki::identity_of(&door.keep(id, &got)).unwrap().to_string();
            assert_eq!(name, format!("spiffe://ringfence.example/{kind}/{id}"));
            // It is known by it, and renews.
            let own = ["--cert", &format!("{id}.pem"), "--key", &format!("{id}.key")];
            let size = door.running.hub.read(estate::Estate::size);
            assert_eq!(door.mud_url(id), Some(format!("https://mud.example/{id}")));
            let renewed = door.enrol("simplereenroll", id, &own).await;
            door.keep(id, &renewed);
            let grown = door.running.hub.read(estate::Estate::size) - size;
            assert!((1..=3).contains(&grown), "the URL is told once: {grown}");
        }
        door.close().await;
    });
}

#[test]
fn strongswan_enrols_renews_and_waits_for_a_person() {
    if !need("strongswan enrols", "pki", "strongswan-pki") {
        return;
    }
    runtime().block_on(async {
        let folder = Folder::new();
        let door = Door::new(&folder, &["plc-1", "plc-2"]).await;
        let url = format!("https://127.0.0.1:{}", door.port);
        let pki = async |words: &str| {
            let words: Vec<&str> = words.split(' ').collect();
            door.must("pki", &words).await
        };
        let est = format!("--est --url {url} --cacert root.der --outform pem");
        // `--estca` writes the authorities, one file each.
        pki(&format!("--estca --url {url} --cacert root.der --caout est-ca.pem --outform pem"))
            .await;
        assert!(
            fs::read_dir(&door.files)
                .unwrap()
                .any(|file| { file.unwrap().file_name().to_str().unwrap().starts_with("est-ca") })
        );
        let key = pki("--gen --type ecdsa --size 256 --outform pem").await;
        fs::write(door.file("plc.key"), key).unwrap();
        let csr = pki("--req --in plc.key --type ecdsa --dn CN=plc-1").await;
        fs::write(door.file("plc.csr"), csr).unwrap();
        door.token("plc-1", "est-plc");
        let first = pki(&format!("{est} --in plc.csr --userpass plc-1:est-plc")).await;
        fs::write(door.file("plc.pem"), &first).unwrap();
        assert_eq!(door.level("plc-1"), Assurance::DeviceKey);
        let next = pki(&format!("{est} --in plc.csr --cert plc.pem --key plc.key")).await;
        assert_ne!(next, first);

        // Nobody knows it: it asks again every now and then, until a person has looked.
        let key = pki("--gen --type ecdsa --size 256 --outform pem").await;
        fs::write(door.file("new.key"), key).unwrap();
        let csr = pki("--req --in new.key --type ecdsa --dn CN=axis-7").await;
        fs::write(door.file("new.csr"), &csr).unwrap();
        let waits = format!("{est} --in new.csr --interval 1 --maxpolltime 60");
        let waits: Vec<&str> = waits.split(' ').collect();
        let polling = door.run("pki", &waits);
        let deciding = async {
            let request = loop {
                let first = door.running.hub.read(|estate| {
                    estate
                        .identities()
                        .waiting()
                        .next()
                        .map(|(digest, w)| (*digest, w.wanted.names.clone()))
                });
                match first {
                    Some((digest, names)) => {
                        assert_eq!(names, ["CN=axis-7"]);
                        break digest;
                    }
                    None => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            };
            let answer = Answer::Approved { device: DeviceId::new("plc-2").unwrap() };
            door.command(Command::Identity(identities::Command::Answer { request, answer }));
        };
        let (done, ()) =
            tokio::time::timeout(2 * PATIENCE, async { tokio::join!(polling, deciding) })
                .await
                .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let certificate = Certificate::read_all(&done.stdout).unwrap().remove(0);
        let identity = pki::identity_of(&certificate).unwrap();
        assert_eq!(identity.to_string(), "spiffe://ringfence.example/device/plc-2");
        assert_eq!(door.level("plc-2"), Assurance::DeviceKey);
        door.close().await;
    });
}

/// A maker: a root, an authority below it, and devices with keys of theirs, by openssl.
pub(super) struct Maker(Folder);

impl Maker {
    pub(super) fn new() -> Self {
        let folder = Folder::new();
        fs::create_dir_all(&folder.0).unwrap();
        let maker = Self(folder);
        let ca = "[ca]\nbasicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n\
            [device]\nkeyUsage=critical,digitalSignature\n\
            1.3.6.1.5.5.7.1.25=ASN1:IA5STRING:https://mud.axis.example/q6135\n";
        fs::write(maker.at("ca.cnf"), ca).unwrap();
        for (name, subject) in [("root", "/O=Axis/CN=root"), ("other", "/O=Else/CN=root")] {
            let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
            let mut own = vec!["req", "-x509", "-nodes", "-newkey"];
            own.extend(P256);
            own.extend(["-days", "365", "-subj", subject, "-keyout", &key, "-out", &pem]);
            maker.openssl(&own);
        }
        maker.signed("sub", "/O=Axis/CN=devices", "root", "20000", "ca");
        maker
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.0.0.join(name)
    }

    pub(super) fn openssl(&self, arguments: &[&str]) {
        let done = Program::new("openssl").args(arguments).current_dir(&self.0.0).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn signed(&self, name: &str, subject: &str, by: &str, days: &str, section: &str) {
        let (key, csr, pem) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        let mut request = vec!["req", "-new", "-nodes", "-newkey"];
        request.extend(P256);
        request.extend(["-subj", subject, "-keyout", &key, "-out", &csr]);
        self.openssl(&request);
        let (ca, ca_key) = (format!("{by}.pem"), format!("{by}.key"));
        let mut sign = vec![
            "x509", "-req", "-in", &csr, "-CA", &ca, "-CAkey", &ca_key, "-days", days, "-out", &pem,
        ];
        sign.extend(["-extfile", "ca.cnf", "-extensions", section]);
        self.openssl(&sign);
    }

    /// A device as it leaves the factory: its chain and its key.
    pub(super) fn device(&self, number: &str, by: &str, days: &str) -> [String; 4] {
        let name = format!("d-{number}-{by}-{}", days.replace('-', "m"));
        let subject = format!("/O=Axis/serialNumber={number}/CN=camera");
        self.signed(&name, &subject, by, days, "device");
        let chain = format!("{name}-chain.pem");
        let mut all = fs::read(self.at(&format!("{name}.pem"))).unwrap();
        if by == "sub" {
            all.extend(fs::read(self.at("sub.pem")).unwrap());
        }
        fs::write(self.at(&chain), all).unwrap();
        let path = |name: String| self.at(&name).to_str().unwrap().to_owned();
        ["--cert".to_owned(), path(chain), "--key".to_owned(), path(format!("{name}.key"))]
    }
}

#[test]
fn a_device_with_its_makers_certificate_gets_ours_when_it_was_bought() {
    if !need("a maker's device", "curl", "curl") {
        return;
    }
    runtime().block_on(async {
        let (folder, maker) = (Folder::new(), Maker::new());
        let root = maker.at("root.pem");
        let door = Door::with(&folder, &["cam-1", "cam-2", HERE], Some(("axis", &root))).await;
        door.request("cam", &P256).await;
        fn words(own: &[String; 4]) -> Vec<&str> {
            own.iter().map(String::as_str).collect()
        }
        // Far beyond what a certificate of ours may live: makers' certificates do not end.
        let own = maker.device("ACCC8E000001", "sub", "19000");
        let early = door.enrol("simpleenroll", "cam", &words(&own)).await;
        assert_eq!(early.status, 403, "{}", early.text());
        assert!(early.text().contains("not expected"), "{}", early.text());
        let expected = |number: &str, id: &str| identities::Expected {
            maker: "axis".to_owned(),
            number: number.to_owned(),
            device: DeviceId::new(id).unwrap(),
        };
        let all = vec![expected("ACCC8E000001", "cam-1"), expected("ACCC8E000002", "cam-2")];
        door.command(Command::Identity(identities::Command::Expect { expected: all }));
        let first = door.enrol("simpleenroll", "cam", &words(&own)).await;
        let identity = pki::identity_of(&door.keep("cam", &first)).unwrap();
        assert_eq!(identity.to_string(), "spiffe://ringfence.example/device/cam-1");
        assert_eq!(door.level("cam-1"), Assurance::DeviceKey);
        assert_eq!(door.mud_url("cam-1").as_deref(), Some("https://mud.axis.example/q6135"));
        // The same key again; another key with the maker's certificate of the first is a copy, unless a token says otherwise.
        let again = door.enrol("simpleenroll", "cam", &words(&own)).await;
        door.keep("cam", &again);
        door.request("anew", &P256).await;
        let anew = door.enrol("simpleenroll", "anew", &words(&own)).await;
        assert_eq!(anew.status, 409, "{}", anew.text());
        assert!(anew.text().contains("somebody else has its maker's key"), "{}", anew.text());
        assert_eq!(door.found("cam-1"), ["identity.idevid-again"]);
        assert!(door.est.counts.all().contains(&("issued", 2)), "{:?}", door.est.counts.all());
        door.token("cam-1", "est-anew");
        for (said, status) in [("x:est-guess", 401), ("x:est-anew", 200)] {
            let with = [&words(&own)[..], &["-u", said]].concat();
            let got = door.enrol("simpleenroll", "anew", &with).await;
            assert_eq!(got.status, status, "{said}: {}", got.text());
        }
        // Another key with the same number, an expired one, somebody else's root, and none with a number.
        let copy = maker.device("ACCC8E000001", "root", "300");
        let got = door.enrol("simpleenroll", "cam", &words(&copy)).await;
        assert_eq!(got.status, 409, "{}", got.text());
        let found = ["identity.idevid-again", "identity.token", "identity.key-taken"];
        assert_eq!(door.found("cam-1"), found);
        let over = maker.device("ACCC8E000002", "sub", "-1");
        let foreign = maker.device("ACCC8E000002", "other", "300");
        for bad in [&over, &foreign] {
            let got = door.enrol("simpleenroll", "cam", &words(bad)).await;
            assert_eq!(got.status, 0, "no handshake: {}", got.text());
        }
        assert_eq!(door.level("cam-2"), Assurance::Observed);
        soon(|| door.found(HERE).iter().any(|code| code == "identity.certificate")).await;
        // What it renews with is ours.
        let own = ["--cert", "cam.pem", "--key", "cam.key"];
        let renewed = door.enrol("simplereenroll", "cam", &own).await;
        door.keep("cam", &renewed);
        door.close().await;
    });
}

#[test]
fn another_root_cuts_no_device_off() {
    if !need("another root", "curl", "curl") {
        return;
    }
    runtime().block_on(async {
        let folder = Folder::new();
        let door = Door::new(&folder, &["cam-1", "cam-2"]).await;
        for (name, token) in [("cam-1", "est-1"), ("cam-2", "est-2")] {
            door.request(name, &P256).await;
            door.token(name, token);
            let user = format!("x:{token}");
            let first = door.enrol("simpleenroll", name, &["-u", &user]).await;
            door.keep(name, &first);
        }
        let before = fs::read(door.file("root.pem")).unwrap();
        let issuer = door.authority.issuing().sha256();
        door.close().await;
        let state = controller::state::StateFolder::open(&folder.0).unwrap();
        Authority::next_root(&state, "ringfence.example", now()).unwrap();
        drop(state);

        let door = Door::again(&folder).await;
        assert_ne!(door.authority.issuing().sha256(), issuer);
        let after = fs::read(door.file("root.pem")).unwrap();
        assert_ne!(after, before);
        // Who has not heard of it believes in the root of before, and shows what that one vouched for.
        fs::write(door.file("root.pem"), &before).unwrap();
        let own = ["--cert", "cam-1.pem", "--key", "cam-1.key"];
        for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            let renewed =
                door.enrol("simplereenroll", "cam-1", &[&own[..], version].concat()).await;
            door.keep("cam-1", &renewed);
        }
        // It hears of both, and what it has now is good under either.
        let all = pki::est::read_certs_only(&door.curl("cacerts", &own).await.body).unwrap();
        assert_eq!(all.len(), 5, "two roots, two that issue, and a cross");
        for root in [&before, &after] {
            fs::write(door.file("root.pem"), root).unwrap();
            let renewed = door.enrol("simplereenroll", "cam-1", &own).await;
            door.keep("cam-1", &renewed);
            // One that shows its old certificate is let in by both too.
            let other = ["--cert", "cam-2.pem", "--key", "cam-2.key"];
            assert_eq!(door.curl("csrattrs", &other).await.status, 200);
        }
        door.close().await;
    });
}
