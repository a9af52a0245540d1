//! Sites on the line: real TLS on loopback, a real journal, a client that may be hostile.
//!
//! Nothing here waits for time: what is waited for is an answer, a frame, or the end of a connection.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use controller::api::{Api, router};
use controller::authority::{Authority, key_sha256};
use controller::blobs::{Files, digest};
use controller::line::{Line, Timing, serve};
use controller::published::Published;
use controller::state::StateFolder;
use crypto::tls::{self, Credentials, SystemClock, rustls};
use crypto::{PrivateKey, Provider};
use estate::access::Principal;
use estate::{Command, sites};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::line::{
    Ack, Batch, Bundle, Chain, Enrol, Frame, FrameReader, Happened, Held, Progress, Renew,
    RevocationList, Sighting, Taken,
};
use model::{SiteId, Timestamp};
use pki::identity::{Estate, MemberId};
use pki::issue::{Profile, Subject};
use pki::{Certificate, Key, KeyKind, Number, Pem, Signer, crl, request};
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::identities::world;
use crate::published::{certified, revoke};
use crate::{Folder, Running, now, sample, start};

/// Far longer than any of it takes; only a hang ends by it.
const PATIENCE: Duration = Duration::from_secs(60);
const YEAR_NANOS: i64 = 365 * 86_400 * 1_000_000_000;

/// A controller with its line.
pub(super) struct Hq {
    pub(super) running: Running,
    line: Arc<Line>,
    authority: Arc<Authority>,
    port: u16,
    notes: Arc<Mutex<Vec<String>>>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Hq {
    pub(super) async fn new(folder: &Folder, timing: Timing) -> Self {
        let running = start(folder);
        let authority = Authority::open(&running.state, "ringfence.example", now()).unwrap();
        Self::with(running, authority, timing).await
    }

    async fn with(running: Running, authority: Authority, timing: Timing) -> Self {
        let authority = Arc::new(authority);
        let notes = Arc::new(Mutex::new(Vec::new()));
        let told = {
            let notes = Arc::clone(&notes);
            Arc::new(move |line: &str| notes.lock().unwrap().push(line.to_owned()))
        };
        let (hub, pdp) = (Arc::clone(&running.hub), Arc::clone(&running.pdp));
        let hosts = vec!["127.0.0.1".to_owned()];
        let published =
            Published::new(Arc::clone(&hub), Arc::clone(&authority), None, &running.state).unwrap();
        let line = Line::new(hub, pdp, Arc::new(published), hosts, timing, told).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopping) = watch::channel(false);
        let serving = tokio::spawn(serve(Arc::clone(&line), listener, stopping));
        Self { running, line, authority, port, notes, stop, serving }
    }

    fn command(&self, command: sites::Command) {
        let who = Principal::host("test");
        self.running
            .hub
            .command(&who, "a test", Command::Site(command), Default::default())
            .unwrap();
    }

    pub(super) fn site(&self, id: &str) -> SiteId {
        let id = SiteId::new(id).unwrap();
        self.command(sites::Command::Create { id: id.clone(), name: id.to_string() });
        id
    }

    fn token(&self, id: &SiteId, secret: &str) {
        self.command(sites::Command::IssueToken {
            id: id.clone(),
            secret_sha256: hex(&crypto::sha256(secret.as_bytes())),
            expires_at: now().plus_nanos(3_600_000_000_000),
        });
    }

    async fn apply(&self) {
        let body = json!({ "files": sample(), "origin": "sample", "why": "the first folder" });
        let set = self.running.ask("policy-admin", "PUT", "/v1/policy", Some(body)).await;
        assert_eq!(set.status, 200, "{}", set.body);
        self.settle();
    }

    fn settle(&self) {
        self.running.pdp.settle("device", self.running.hub.now()).unwrap();
    }

    /// Puts a device of a site into quarantine, or takes it out again.
    async fn posture(&self, device: &str, posture: &str) {
        let path = format!("/v1/devices/{device}");
        let before = self.running.ask("operator", "GET", &path, None).await;
        let body = json!({ "set": { "posture": posture }, "why": "a test" });
        let headers = [("If-Match", before.etag.as_str())];
        let done =
            self.running.ask_with("security-admin", "PATCH", &path, Some(body), &headers).await;
        assert_eq!(done.status, 200, "{}", done.body);
        self.settle();
    }

    /// A device with a lease, and its site.
    async fn leased(&self) -> (String, SiteId) {
        let leases =
            self.running.ask("viewer", "GET", "/v1/leases?granted=true", None).await.json();
        let of = |name: &str| leases["items"][0][name].as_str().unwrap().to_owned();
        (of("device"), SiteId::new(&of("site")).unwrap())
    }

    pub(super) async fn dial(&self, config: Arc<ClientConfig>) -> Client {
        self.dial_with(config, 1 << 20).await
    }

    async fn dial_with(&self, config: Arc<ClientConfig>, window: u32) -> Client {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = "127.0.0.1".try_into().unwrap();
        let stream = TlsConnector::from(config).connect(name, tcp).await.unwrap();
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.initial_stream_window_size(window);
        let (sender, connection) = http.handshake(TokioIo::new(stream)).await.unwrap();
        Client { sender, ended: tokio::spawn(async move { drop(connection.await) }) }
    }

    pub(super) fn pinned(&self) -> Arc<ClientConfig> {
        let root = crypto::sha256(self.authority.root().der());
        tls::client_pinned(root, Arc::new(SystemClock)).unwrap()
    }

    pub(super) fn with_credentials(&self, credentials: &Credentials) -> Arc<ClientConfig> {
        let roots = vec![self.authority.root().clone()];
        tls::client(roots, Some(credentials), Arc::new(SystemClock)).unwrap()
    }

    /// Enrols a site with a key, and gives what it shows from then on.
    pub(super) async fn enrolled(&self, id: &SiteId) -> Credentials {
        self.token(id, "secret");
        let key = key();
        let answer = self.enrol("secret", &csr(&key)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        credentials(&answer.of::<Chain>(), key)
    }

    async fn enrol(&self, secret: &str, csr: &str) -> Answer {
        let enrol = Enrol { secret: secret.to_owned(), csr: csr.to_owned() };
        let mut client = self.dial(self.pinned()).await;
        client.post("/site/v1/enrol", serde_json::to_vec(&enrol).unwrap()).await.unwrap()
    }

    fn noted(&self, text: &str) -> bool {
        self.notes.lock().unwrap().iter().any(|note| note.contains(text))
    }
}

pub(super) struct Client {
    sender: SendRequest<Full<Bytes>>,
    ended: JoinHandle<()>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    retry_after: Option<u32>,
    body: Bytes,
}

impl Answer {
    pub(super) fn of<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn code(&self) -> (u16, String) {
        let problem: Value = self.of();
        (self.status, problem["code"].as_str().unwrap().to_owned())
    }
}

impl Client {
    async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let uri = format!("https://127.0.0.1{path}");
        let kind = if path.ends_with("commitments") { "application/cbor-seq" } else { "any/thing" };
        let request = Request::builder().method(method).uri(uri).header("content-type", kind);
        let request = request.body(Full::from(body)).unwrap();
        self.sender.ready().await?;
        tokio::time::timeout(PATIENCE, self.sender.send_request(request)).await.unwrap()
    }

    pub(super) async fn post(&mut self, path: &str, body: Vec<u8>) -> Result<Answer, hyper::Error> {
        let response = self.send("POST", path, body).await?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.map(|value| value.to_str().unwrap().parse().unwrap());
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Answer { status, retry_after, body })
    }

    async fn say(&mut self, path: &str, body: &impl serde::Serialize) -> Answer {
        self.post(path, serde_json::to_vec(body).unwrap()).await.unwrap()
    }

    async fn tell(&mut self, batch: &Batch) -> Answer {
        let packed = zstd::encode_all(&*serde_json::to_vec(batch).unwrap(), 3).unwrap();
        self.post("/site/v1/observations", packed).await.unwrap()
    }

    async fn bundles(&mut self, query: &str) -> Frames {
        let response = self.send("GET", &format!("/site/v1/bundles{query}"), Vec::new()).await;
        let response = response.unwrap();
        assert_eq!(response.status(), 200);
        Frames { body: response.into_body(), reader: FrameReader::new(64 << 20), came: Vec::new() }
    }

    /// Nothing else ends this than the other end.
    async fn seen_cut(self) {
        tokio::time::timeout(PATIENCE, self.ended).await.unwrap().unwrap();
    }
}

struct Frames {
    body: Incoming,
    reader: FrameReader,
    came: Vec<Frame>,
}

impl Frames {
    /// The next frame; `None`: the stream has ended.
    async fn next(&mut self) -> Option<Frame> {
        while self.came.is_empty() {
            let piece = tokio::time::timeout(PATIENCE, self.body.frame()).await.unwrap()?.ok()?;
            for frame in self.reader.take(&piece.into_data().unwrap()).unwrap() {
                self.came.push(serde_json::from_slice(&frame).unwrap());
            }
        }
        Some(self.came.remove(0))
    }

    /// The next list of revoked certificates; there is one authority.
    async fn lists(&mut self) -> RevocationList {
        loop {
            if let Frame::Revoked { lists, .. } = self.next().await.unwrap() {
                return <[_; 1]>::try_from(lists).unwrap().into_iter().next().unwrap();
            }
        }
    }

    async fn bundle(&mut self) -> Bundle {
        loop {
            if let Frame::Bundle(bundle) = self.next().await.unwrap() {
                return *bundle;
            }
        }
    }
}

fn key() -> PrivateKey {
    PrivateKey::generate(KeyKind::P256).unwrap().0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn csr(key: &dyn Signer) -> String {
    let subject = Subject {
        estate: Estate::new("ringfence.example").unwrap(),
        id: MemberId::new("whoever").unwrap(),
        hosts: Vec::new(),
        addresses: Vec::new(),
    };
    let der = request::make(Profile::Site, &subject, key, &Provider).unwrap();
    Pem::write("CERTIFICATE REQUEST", &der).unwrap()
}

fn credentials(chain: &Chain, key: PrivateKey) -> Credentials {
    let chain = Certificate::read_all(chain.pem.as_bytes()).unwrap();
    Credentials { chain, key: Arc::new(key) }
}

fn request_of(key: &PrivateKey) -> request::Request {
    request::read(csr(key).as_bytes(), &Provider).unwrap()
}

fn batch(number: u64, events: usize) -> Batch {
    let event = |n| Happened {
        at: now(),
        kind: "leases-ended".to_owned(),
        subject: format!("{n}"),
        what: "the line was cut".to_owned(),
    };
    Batch { number, events: (0..events).map(event).collect(), devices: Vec::new() }
}

#[tokio::test]
async fn a_token_makes_one_site_and_the_same_key_gets_its_answer_again() {
    let folder = Folder::new();
    let hq = Hq::new(&folder, Timing::default()).await;
    let north = hq.site("Halle/7");
    hq.token(&north, "secret");
    assert_eq!(hq.enrol("guess", &csr(&key())).await.code(), (403, "site.enrol".to_owned()));
    let broken = csr(&key()).replace('A', "B");
    assert_eq!(hq.enrol("secret", &broken).await.status, 400);

    let mine = key();
    let first = hq.enrol("secret", &csr(&mine)).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let chain: Chain = first.of();
    assert_eq!(chain.site, north);
    let leaf = Certificate::read_all(chain.pem.as_bytes()).unwrap().remove(0);
    let identity = hq.running.hub.read(|e| e.sites().get(&north).unwrap().identity.clone());
    let identity = identity.unwrap();
    assert_eq!(identity.serial, hex(leaf.serial()), "the journal has what was given");
    assert_eq!(identity.key_sha256, key_sha256(&Key::of(&mine).unwrap()));

    // The answer was lost.
    assert_eq!(hq.enrol("secret", &csr(&mine)).await.of::<Chain>().site, north);
    let other = hq.enrol("secret", &csr(&key())).await;
    assert_eq!(other.code(), (403, "site.enrol".to_owned()), "a token is for one");

    // Who goes on guessing waits, also with the right one; who was good before does not count.
    let mut last = None;
    for _ in 0..20 {
        last = Some(hq.enrol("guess", &csr(&mine)).await);
        if last.as_ref().unwrap().status == 429 {
            break;
        }
    }
    let last = last.unwrap();
    assert_eq!(last.status, 429, "{}", last.text());
    assert!((1..=61).contains(&last.retry_after.unwrap()));
    assert_eq!(hq.enrol("secret", &csr(&mine)).await.status, 429);
}

#[tokio::test]
async fn a_token_that_a_person_carries_leads_to_this_controller_and_enrols() {
    let folder = Folder::new();
    let mut hq = Hq::new(&folder, Timing::default()).await;
    let north = hq.site("north");
    let ask = json!({ "why": "a new box", "hours": 2 });
    let path = "/v1/sites/north/token";
    let none = hq.running.ask("security-admin", "POST", path, Some(ask.clone())).await;
    assert_eq!(none.problem(), (503, "site.line".to_owned()), "without a line no token");
    let root = hq.authority.root_sha256();
    let Running { hub, pdp, auth, .. } = &hq.running;
    let mut api = Api::new(Arc::clone(hub), Arc::clone(pdp), Arc::clone(auth));
    api.line = Some(Arc::clone(&hq.line));
    hq.running.router = router(api);
    for (hours, status) in [(0, 400), (169, 400), (168, 201)] {
        let ask = json!({ "why": "a new box", "hours": hours });
        let answer = hq.running.ask("security-admin", "POST", path, Some(ask)).await;
        assert_eq!(answer.status, status, "{hours} hours");
    }
    let elsewhere = "/v1/sites/south/token";
    let unknown = hq.running.ask("security-admin", "POST", elsewhere, Some(ask.clone())).await;
    assert_eq!(unknown.problem(), (404, "site.unknown".to_owned()));
    let made = hq.running.ask("security-admin", "POST", path, Some(ask)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let (pinned, secret) = token.strip_prefix("rfj_").unwrap().split_once('_').unwrap();
    assert_eq!((pinned, secret.len()), (root.as_str(), 64));
    let until = hq.running.hub.read(|e| e.sites().get(&north).unwrap().token_until(now()));
    assert_eq!(made.json()["expires_at"], json!(until.unwrap().to_string()));
    assert_eq!(hq.enrol(secret, &csr(&key())).await.of::<Chain>().site, north);
    // The journal and the estate have its digest only.
    let size = hq.running.hub.read(estate::Estate::size);
    for number in 0..size {
        let entry = hq.running.hub.entry(number).unwrap().unwrap();
        assert!(!String::from_utf8_lossy(&entry.encode().unwrap()).contains(secret));
    }
}

#[tokio::test]
async fn two_keys_at_once_with_one_token_make_one_site() {
    let folder = Folder::new();
    let hq = Hq::new(&folder, Timing::default()).await;
    let north = hq.site("north");
    hq.token(&north, "secret");
    let (a, b) = (csr(&key()), csr(&key()));
    let (a, b) = tokio::join!(hq.enrol("secret", &a), hq.enrol("secret", &b));
    let mut both = [a.status, b.status];
    both.sort_unstable();
    assert_eq!(both, [200, 403]);
}

#[tokio::test]
async fn who_is_not_believed_is_told_nothing() {
    let folder = Folder::new();
    // An authority that is older than its certificates live.
    let then = now().plus_nanos(-3 * YEAR_NANOS);
    let state = StateFolder::open(&folder.0).unwrap();
    drop(Authority::open(&state, "ringfence.example", then).unwrap());
    drop(state);
    let running = start(&folder);
    let authority = Authority::open(&running.state, "ringfence.example", now()).unwrap();
    let hq = Hq::with(running, authority, Timing::default()).await;
    let north = hq.site("north");

    // Without a certificate.
    let mut nobody = hq.dial(hq.pinned()).await;
    for path in ["/site/v1/acks", "/site/v1/renew", "/site/v1/observations", "/elsewhere"] {
        let answer = nobody.post(path, b"{}".to_vec()).await.unwrap();
        assert_eq!(answer.code(), (403, "line.certificate".to_owned()), "{path}");
    }
    // With one of ours that the estate does not know of.
    let mine = key();
    let issued = hq.authority.site(&north, &request_of(&mine), now()).unwrap();
    let shown = Credentials { chain: issued.chain, key: Arc::new(mine) };
    let mut unknown = hq.dial(hq.with_credentials(&shown)).await;
    assert!(unknown.post("/site/v1/acks", b"{}".to_vec()).await.is_err());
    unknown.seen_cut().await;
    // With one of another estate.
    let other = Folder::new();
    let elsewhere = StateFolder::open(&other.0).unwrap();
    let foreign = Authority::open(&elsewhere, "other.example", now()).unwrap();
    let mine = key();
    let chain = foreign.site(&north, &request_of(&mine), now()).unwrap().chain;
    let shown = Credentials { chain, key: Arc::new(mine) };
    let mut stranger = hq.dial(hq.with_credentials(&shown)).await;
    assert!(stranger.post("/site/v1/acks", b"{}".to_vec()).await.is_err());
    stranger.seen_cut().await;
    // With one that ended by our clock: the log says so in words.
    let mine = key();
    let chain = hq.authority.site(&north, &request_of(&mine), then.plus_nanos(YEAR_NANOS / 2));
    let shown = Credentials { chain: chain.unwrap().chain, key: Arc::new(mine) };
    let mut late = hq.dial(hq.with_credentials(&shown)).await;
    assert!(late.post("/site/v1/acks", b"{}".to_vec()).await.is_err());
    late.seen_cut().await;
    assert!(hq.noted("and the clock here says"), "{:?}", hq.notes);
    assert_eq!(hq.line.metrics.handshakes_failed.count(), 3);
    assert_eq!(hq.line.connected(), []);
}

#[tokio::test]
async fn a_revoked_site_is_cut_while_it_is_connected_and_does_not_come_back() {
    let folder = Folder::new();
    let hq = Hq::new(&folder, Timing::default()).await;
    let (north, south) = (hq.site("north"), hq.site("south"));
    let shown = hq.enrolled(&north).await;
    let mut cut = hq.dial(hq.with_credentials(&shown)).await;
    let mut frames = cut.bundles("").await;
    assert!(matches!(frames.next().await, Some(Frame::Lease { generation: 0, .. })));
    let other = hq.enrolled(&south).await;
    let mut stays = hq.dial(hq.with_credentials(&other)).await;
    let mut others = stays.bundles("").await;
    others.next().await.unwrap();
    assert_eq!(hq.line.connected(), [north.clone(), south.clone()]);

    let revoke = json!({ "why": "stolen" });
    let done =
        hq.running.ask("security-admin", "POST", "/v1/sites/north/revoke", Some(revoke)).await;
    assert_eq!(done.status, 200, "{}", done.body);
    cut.seen_cut().await;
    assert_eq!(frames.next().await, None);
    assert_eq!(hq.line.metrics.cut.count(), 1);
    let mut again = hq.dial(hq.with_credentials(&shown)).await;
    assert!(again.post("/site/v1/acks", b"{}".to_vec()).await.is_err());
    assert_eq!(stays.post("/site/v1/acks", b"{}".to_vec()).await.unwrap().status, 400);
}

#[tokio::test]
async fn sites_that_ask_are_told_at_once_who_is_revoked() {
    let folder = Folder::new();
    // Nothing comes by itself while this test runs: what comes was pushed.
    let hq = Hq::new(&folder, Timing { lease_every_s: 3_600, ..Timing::default() }).await;
    world(&hq.running).await;
    let site = hq.site("north");
    let shown = hq.enrolled(&site).await;
    let (cam, _) = certified(&hq.running, "cam", 30);
    let mut client = hq.dial(hq.with_credentials(&shown)).await;
    let mut frames = client.bundles("?lists=1").await;
    let first = frames.lists().await;
    assert!(first.complete.is_some());
    let read = |pem: &str| {
        let authority = hq.authority.issuing().certificate();
        crl::read(pem.as_bytes(), authority, now(), &Provider).unwrap()
    };
    assert_eq!(read(&first.delta).entries(), []);
    revoke(&hq.running, "cam", "key-compromise").await;
    let second = frames.lists().await;
    for list in [second.complete.as_deref().unwrap(), &second.delta] {
        let list = read(list);
        assert_eq!(list.entries().len(), 1);
        assert!(list.find(&Number::from(cam.0)).is_some());
    }
    let authority = Pem::read_all(second.authority.as_bytes()).unwrap();
    assert_eq!(authority[0].der, hq.authority.issuing().certificate().der());
    // One of before does not ask, and hears of it as of everything: by what it is meant to enforce.
    let mut old = hq.dial(hq.with_credentials(&shown)).await;
    let mut frames = old.bundles("").await;
    assert!(matches!(frames.next().await, Some(Frame::Lease { .. })));
    let _ = certified(&hq.running, "lamp", 30);
    revoke(&hq.running, "lamp", "superseded").await;
    assert!(matches!(frames.next().await, Some(Frame::Lease { .. })));
}

#[tokio::test]
async fn bundles_come_whole_then_as_what_changed_and_never_older() {
    let folder = Folder::new();
    let hq = Hq::new(&folder, Timing::default()).await;
    hq.apply().await;
    let (device, site) = hq.leased().await;
    let shown = hq.enrolled(&site).await;
    let mut client = hq.dial(hq.with_credentials(&shown)).await;
    let mut frames = client.bundles("").await;
    let first = frames.bundle().await;
    let Held::Whole { files } = first.held else { panic!("{:?}", first.held) };
    assert_eq!((first.generation, digest(&files)), (1, first.content.clone()));
    assert!(first.lease_until > now());
    // Nothing is granted at the end of it all, and what comes of the files is a folder.
    for later in [&first.expired, &first.stale] {
        controller::pdp::check(&later.over(&files), crate::now()).unwrap();
    }
    let quarantined = |files: &Files| files["estate.toml"].matches("\"quarantined\"").count();
    let all = files["estate.toml"].matches("[[device]]").count();
    assert!(all > 0);
    assert_eq!(quarantined(&first.stale.over(&files)), all);
    assert!(quarantined(&files) < all);

    hq.posture(&device, "quarantined").await;
    let second = frames.bundle().await;
    let Held::Since { content, delta } = second.held else { panic!("{:?}", second.held) };
    assert_eq!(content, first.content);
    let files = delta.over(&files);
    assert_eq!((second.generation, digest(&files)), (2, second.content.clone()));
    assert!(delta.set.len() < files.len());
    drop((frames, client));

    // It was away for a moment: what changed meanwhile comes as a change.
    hq.posture(&device, "normal").await;
    let mut client = hq.dial(hq.with_credentials(&shown)).await;
    let query = format!("?held=2&content={}", second.content);
    let third = client.bundles(&query).await.bundle().await;
    let Held::Since { delta, .. } = third.held else { panic!("{:?}", third.held) };
    assert_eq!((third.generation, digest(&delta.over(&files))), (3, third.content.clone()));
    // It has content that is not known here: all of it comes.
    let query = format!("?held=2&content={}", "0".repeat(64));
    let whole = client.bundles(&query).await.bundle().await;
    assert!(matches!(whole.held, Held::Whole { .. }));
    // It has all of it: nothing changes.
    let query = format!("?held=3&content={}", third.content);
    let same = client.bundles(&query).await.bundle().await;
    let Held::Since { delta, .. } = same.held else { panic!("{:?}", same.held) };
    assert_eq!((same.generation, delta.set.len(), delta.drop.len()), (3, 0, 0));
    assert_eq!(client.send("GET", "/site/v1/bundles?held=x", vec![]).await.unwrap().status(), 400);

    let ack = |generation| Ack {
        generation,
        progress: Progress::Verified,
        kernel_generation: Some(8),
        why: String::new(),
    };
    assert_eq!(client.say("/site/v1/acks", &ack(3)).await.status, 204);
    let verified = hq.running.hub.read(|e| e.sites().get(&site).unwrap().verified);
    assert_eq!(verified, Some(3));
    assert_eq!(client.say("/site/v1/acks", &ack(4)).await.code().1, "site.ack");
}

#[tokio::test]
async fn a_site_that_is_ahead_of_a_restored_controller_never_goes_back() {
    let folder = Folder::new();
    let hq = Hq::new(&folder, Timing::default()).await;
    hq.apply().await;
    let (_, site) = hq.leased().await;
    let shown = hq.enrolled(&site).await;
    let mut client = hq.dial(hq.with_credentials(&shown)).await;
    let query = format!("?held=9&content={}", "a".repeat(64));
    let mut frames = client.bundles(&query).await;
    assert_eq!(frames.bundle().await.generation, 10);
    assert!(hq.noted("restored from a backup"));
    let intended = hq.running.hub.read(|e| e.sites().get(&site).unwrap().intended.clone());
    assert_eq!(intended.unwrap().generation, 10);
}

#[tokio::test]
async fn a_slow_site_gets_the_newest_and_not_what_it_did_not_wait_for() {
    let folder = Folder::new();
    let hq = Hq::new(&folder, Timing::default()).await;
    hq.apply().await;
    let (device, site) = hq.leased().await;
    let shown = hq.enrolled(&site).await;
    // A bundle does not fit what it takes ahead of reading, so the stream stands.
    let mut client = hq.dial_with(hq.with_credentials(&shown), 1_024).await;
    let mut frames = client.bundles("").await;
    for _ in 0..10 {
        hq.posture(&device, "quarantined").await;
        hq.posture(&device, "normal").await;
    }
    let mut generations = Vec::new();
    while generations.last() != Some(&21) {
        generations.push(frames.bundle().await.generation);
    }
    assert!(generations.is_sorted_by(|a, b| a < b), "{generations:?}");
    // One on its way and one behind it, however many there were.
    assert!(generations.len() <= 3, "{generations:?}");
}

#[tokio::test]
async fn leases_are_said_again_and_again() {
    let folder = Folder::new();
    let timing = Timing { lease_every_s: 0, lease_term_s: 300, ..Timing::default() };
    let hq = Hq::new(&folder, timing).await;
    let north = hq.site("north");
    let shown = hq.enrolled(&north).await;
    let mut client = hq.dial(hq.with_credentials(&shown)).await;
    let mut frames = client.bundles("").await;
    let mut last = Timestamp::MIN;
    for _ in 0..5 {
        let Some(Frame::Lease { generation: 0, until, now }) = frames.next().await else {
            panic!()
        };
        assert_eq!(until, now.plus_nanos(300_000_000_000));
        assert!(until >= last);
        last = until;
    }
}

#[tokio::test]
async fn a_batch_counts_once_and_without_gaps_and_what_it_says_is_in_the_journal() {
    let folder = Folder::new();
    let hq = Hq::new(&folder, Timing::default()).await;
    let north = hq.site("north");
    let shown = hq.enrolled(&north).await;
    let mut client = hq.dial(hq.with_credentials(&shown)).await;

    let gap = client.tell(&batch(2, 1)).await;
    assert_eq!(gap.code(), (409, "site.gap".to_owned()));
    assert_eq!(gap.of::<Value>()["wanted"], json!(1));
    let mut first = batch(1, 3);
    let sighting = |mac: &str| Sighting {
        macs: vec![mac.to_owned()],
        ips: vec!["10.0.0.9".to_owned()],
        keys: vec!["serial:ACME/17".to_owned()],
        attributes: [
            ("type".to_owned(), ("plc".to_owned(), 0.9)),
            ("zone".to_owned(), ("office".to_owned(), 1.0)),
        ]
        .into(),
        seen_at: now(),
    };
    let nothing = Sighting { ips: Vec::new(), keys: Vec::new(), ..sighting("nonsense") };
    first.devices = vec![sighting("00:80:f4:00:00:01"), nothing];
    for _ in 0..2 {
        assert_eq!(client.tell(&first).await.of::<Taken>(), Taken { number: 1 });
    }
    let size = hq.running.hub.read(estate::Estate::size);
    assert_eq!(client.tell(&first).await.of::<Taken>(), Taken { number: 1 });
    assert_eq!(hq.running.hub.read(estate::Estate::size), size, "it counts once");
    hq.running.hub.read(|estate| {
        let site = estate.sites().get(&north).unwrap();
        assert_eq!((site.told, site.happened.len()), (1, 3));
        let device = estate.devices().iter().next().unwrap();
        assert_eq!(device.value(estate::devices::Field::Type), Some("plc"));
        assert_eq!(device.value(estate::devices::Field::Zone), None, "a site decides nothing");
        assert_eq!((estate.devices().len(), &device.site), (1, &north));
    });
    let entry = hq.running.hub.entry(size - 1).unwrap().unwrap();
    assert_eq!((entry.who.kind.as_str(), entry.who.id.as_str()), ("site", "north"));
    assert_eq!(client.tell(&batch(2, 0)).await.of::<Taken>(), Taken { number: 2 });
    let (metrics, line) = (&hq.line.metrics, &hq.line);
    assert_eq!((metrics.batches.count(), metrics.batches_again.count()), (2, 2));
    assert_eq!(metrics.devices_refused.count(), 1, "nothing says which device it is");
    assert_eq!(line.connected(), [north]);
}

#[tokio::test]
async fn hostile_bodies_are_refused_at_their_bounds_and_the_line_goes_on() {
    let folder = Folder::new();
    let hq = Hq::new(&folder, Timing::default()).await;
    let north = hq.site("north");
    let shown = hq.enrolled(&north).await;
    let mut client = hq.dial(hq.with_credentials(&shown)).await;
    let bomb = zstd::encode_all(std::io::Read::take(std::io::repeat(b' '), 64 << 20), 19).unwrap();
    assert!(bomb.len() < 100 << 10);
    let bomb = client.post("/site/v1/observations", bomb).await.unwrap();
    assert_eq!(bomb.status, 400);
    assert!(bomb.text().contains("longer than"), "{}", bomb.text());
    for (path, body, status) in [
        ("/site/v1/observations", vec![0; 100], 400),
        ("/site/v1/observations", vec![0; (8 << 20) + 1], 413),
        ("/site/v1/acks", vec![b' '; 64 << 10], 413),
        ("/site/v1/acks", b"[1]".to_vec(), 400),
        ("/site/v1/renew", b"{\"csr\":\"-----BEGIN\"}".to_vec(), 400),
        ("/site/v1/enrol", vec![b'['; 30_000], 400),
        ("/site/v1/nowhere", Vec::new(), 404),
    ] {
        let answer = client.post(path, body).await.unwrap();
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    // A site that talks without end is asked to wait; the journal grows no further meanwhile.
    let mut said = 0_u64;
    let later = loop {
        let answer = client.tell(&batch(said + 1, 1_000)).await;
        if answer.status == 429 {
            break answer;
        }
        assert_eq!(answer.of::<Taken>(), Taken { number: said + 1 });
        said += 1;
        assert!(said < 1_000);
    };
    assert!(later.retry_after.unwrap() > 0);
    assert_eq!(hq.running.hub.read(|e| e.sites().get(&north).unwrap().told), said);
}

#[tokio::test]
async fn a_renewal_whose_answer_is_lost_locks_nobody_out() {
    let folder = Folder::new();
    let hq = Hq::new(&folder, Timing::default()).await;
    let north = hq.site("north");
    let old = hq.enrolled(&north).await;
    let mut first = hq.dial(hq.with_credentials(&old)).await;
    let renew = |key: &PrivateKey| Renew { csr: csr(key) };
    let lost = first.say("/site/v1/renew", &renew(&key())).await;
    assert_eq!(lost.status, 200, "{}", lost.text());
    // It never saw that answer: it comes again as it was, and asks again.
    let mut again = hq.dial(hq.with_credentials(&old)).await;
    let mine = key();
    let answer = again.say("/site/v1/renew", &renew(&mine)).await;
    let new = credentials(&answer.of(), mine);
    let unused = hq.running.hub.read(|e| e.sites().get(&north).unwrap().clone());
    assert!(unused.believes(&key_sha256(&old.chain[0].key().unwrap()), now()));

    // The first use of the new key ends the old one, and what is open with it.
    let mut newer = hq.dial(hq.with_credentials(&new)).await;
    newer.bundles("").await.next().await.unwrap();
    first.seen_cut().await;
    again.seen_cut().await;
    let mut late = hq.dial(hq.with_credentials(&old)).await;
    assert!(late.post("/site/v1/acks", b"{}".to_vec()).await.is_err());
    // The same key again: nothing is cut.
    let answer = newer.say("/site/v1/renew", &Renew { csr: csr(&*new.key) }).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(newer.tell(&batch(1, 1)).await.status, 200);
}

#[tokio::test]
async fn who_speaks_something_else_is_let_go_and_the_end_cuts_everybody() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let folder = Folder::new();
    let hq = Hq::new(&folder, Timing::default()).await;
    let north = hq.site("north");
    let mut plain = TcpStream::connect(("127.0.0.1", hq.port)).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, plain.read_to_end(&mut rest)).await.unwrap();
    let mut old = (*hq.pinned()).clone();
    old.alpn_protocols = vec![b"http/1.1".to_vec()];
    let tcp = TcpStream::connect(("127.0.0.1", hq.port)).await.unwrap();
    let name = "127.0.0.1".try_into().unwrap();
    let mut stream = TlsConnector::from(Arc::new(old)).connect(name, tcp).await.unwrap();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    // Frames that are none.
    let tcp = TcpStream::connect(("127.0.0.1", hq.port)).await.unwrap();
    let name = "127.0.0.1".try_into().unwrap();
    let mut stream = TlsConnector::from(hq.pinned()).connect(name, tcp).await.unwrap();
    stream.write_all(&[b'!'; 4_096]).await.unwrap();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();

    let shown = hq.enrolled(&north).await;
    let mut client = hq.dial(hq.with_credentials(&shown)).await;
    client.bundles("").await.next().await.unwrap();
    hq.stop.send(true).unwrap();
    tokio::time::timeout(PATIENCE, hq.serving).await.unwrap().unwrap();
    client.seen_cut().await;
}
