//! The controller through its API, on a real journal in a real folder.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod access;
mod approvals;
mod backup;
mod commitments;
mod decisions;
mod early;
mod est;
mod exceptions;
mod flows;
mod found;
mod identities;
mod imports;
mod inventory;
mod journal;
mod keyring;
mod life;
mod line;
mod login;
mod operators;
mod psk;
mod published;
mod questions;
mod reach;
mod refusals;
mod releases;
mod report;
mod tpm;
mod views;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, header};
use controller::Hub;
use controller::api::{Api, router};
use controller::auth::Auth;
use controller::authority::Authority;
use controller::blobs::{Blobs, Files};
use controller::pdp::Pdp;
use controller::published::Published;
use controller::secrets::Digests;
use controller::state::StateFolder;
use estate::access::{OperatorId, Role};
use http_body_util::BodyExt as _;
use model::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "ringfence-controller-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        // Numbers of processes come again, and one that was killed leaves its folder.
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running controller.
struct Running {
    hub: Arc<Hub>,
    pdp: Arc<Pdp>,
    auth: Arc<Auth>,
    authority: Arc<Authority>,
    published: Arc<Published>,
    router: Router,
    /// What it told when it started.
    notes: Vec<String>,
    /// Sessions that tests have, by `ROLE` or `ROLE@SITE`.
    sessions: Mutex<BTreeMap<String, String>>,
    state: StateFolder,
}

/// The real time.
fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    Timestamp::from_secs(i64::try_from(since.as_secs()).unwrap(), since.subsec_nanos().into())
}

fn start(folder: &Folder) -> Running {
    start_at(folder, now)
}

fn start_at(folder: &Folder, clock: fn() -> Timestamp) -> Running {
    let state = StateFolder::open(&folder.0).unwrap();
    let mut notes = Vec::new();
    let mut told = |note: &str| notes.push(note.to_owned());
    let hub = Hub::open(&state, "ringfence.example/test", clock, &mut told);
    let hub = Arc::new(hub.unwrap());
    let auth = Auth::open(Arc::clone(&hub), &state, &mut told).unwrap();
    let blobs = Blobs::open(&state.file("blobs")).unwrap();
    let pdp = Pdp::open(Arc::clone(&hub), blobs).unwrap();
    let mut api = Api::new(Arc::clone(&hub), Arc::clone(&pdp), Arc::clone(&auth));
    let authority = Authority::open(&state, "ringfence.example", hub.now()).unwrap();
    let (authority, base) = (Arc::new(authority), "https://hq/pki".to_owned());
    let published = Published::new(Arc::clone(&hub), Arc::clone(&authority), Some(base), &state);
    let published = Arc::new(published.unwrap());
    api.published = Some(Arc::clone(&published));
    api.digests = Some(Arc::new(Digests::open(&state).unwrap()));
    let router = router(api);
    let sessions = Mutex::default();
    Running { hub, pdp, auth, authority, published, router, notes, sessions, state }
}

/// An answer: status, headers of note, body.
#[derive(Debug)]
struct Answer {
    status: u16,
    etag: String,
    kind: String,
    retry_after: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// Status and code of a problem.
    fn problem(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

impl Running {
    async fn ask(&self, who: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.ask_with(who, method, path, body, &[]).await
    }

    /// `who`: nobody, `ROLE`, `ROLE@SITE`, or a bearer token.
    async fn ask_with(
        &self,
        who: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let bearer = self.bearer(who).await;
        self.send(&bearer, method, path, body, headers, None).await
    }

    /// From an address.
    async fn ask_from(&self, from: [u8; 4], path: &str, body: Value) -> Answer {
        self.send("", "POST", path, Some(body), &[], Some(from)).await
    }

    async fn send(
        &self,
        bearer: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
        from: Option<[u8; 4]>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !bearer.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(from) = from {
            request = request.extension(ConnectInfo(SocketAddr::from((from, 50_000))));
        }
        let body = match body {
            Some(value) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(value.to_string())
            }
            None => Body::empty(),
        };
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let of = |name: header::HeaderName| {
            let value = response.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
            value.unwrap_or_default()
        };
        let (status, etag, kind, retry_after) = (
            response.status().as_u16(),
            of(header::ETAG),
            of(header::CONTENT_TYPE),
            of(header::RETRY_AFTER),
        );
        // A stream of changes has no end.
        let body = match kind.starts_with("text/event-stream") {
            true => String::new(),
            false => {
                let bytes = response.into_body().collect().await.unwrap().to_bytes();
                // What is no text is asked for as bytes.
                String::from_utf8(bytes.to_vec()).unwrap_or_default()
            }
        };
        Answer { status, etag, kind, retry_after, body }
    }

    /// The bytes of an answer, or the status of a refusal.
    async fn bytes(&self, who: &str, path: &str) -> Result<Vec<u8>, u16> {
        let bearer = self.bearer(who).await;
        let request = Request::builder().uri(path);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        if status.is_success() { Ok(bytes.to_vec()) } else { Err(status.as_u16()) }
    }

    /// This machine's token.
    fn host(&self) -> String {
        self.text("host-token")
    }

    /// A small file of the state folder.
    fn text(&self, name: &str) -> String {
        String::from_utf8(self.state.read(name).unwrap().unwrap()).unwrap().trim_end().to_owned()
    }

    /// A session of an operator with that role, who is made when there is none.
    async fn bearer(&self, who: &str) -> String {
        let (role, site) = who.split_once('@').map_or((who, None), |(r, s)| (r, Some(s)));
        if Role::ALL.into_iter().all(|known| known.word() != role) {
            return who.to_owned();
        }
        if let Some(token) = self.sessions.lock().unwrap().get(who) {
            return token.clone();
        }
        let login = who.replace('@', "-");
        let id = match self.operator(&login).await {
            Some(id) => id,
            None => {
                let body = json!({
                    "login": login, "name": who, "roles": [role],
                    "sites": site.map(|site| [site]), "why": "a test",
                });
                let made =
                    self.send(&self.host(), "POST", "/v1/operators", Some(body), &[], None).await;
                assert_eq!(made.status, 201, "{}", made.body);
                made.json()["id"].as_str().unwrap().to_owned()
            }
        };
        let begun = self.auth.begin(&OperatorId::new(&id).unwrap()).unwrap();
        let token = begun.token.expose().to_owned();
        self.sessions.lock().unwrap().insert(who.to_owned(), token.clone());
        token
    }

    /// Id of the operator with a login.
    async fn operator(&self, login: &str) -> Option<String> {
        let all = self.send(&self.host(), "GET", "/v1/operators?limit=1000", None, &[], None).await;
        let all = all.json();
        let mut all = all["items"].as_array().unwrap().iter();
        let found = all.find(|operator| operator["login"] == login)?;
        Some(found["id"].as_str().unwrap().to_owned())
    }
}

/// The warehouse pack's sample estate.
fn sample() -> Files {
    fn walk(at: &Path, prefix: &str, files: &mut Files) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                walk(&path, &format!("{name}/"), files);
            } else {
                files.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/warehouse/sample");
    let mut files =
        Files::from([("schema.cedarschema".to_owned(), policy::folder::SCHEMA.to_owned())]);
    walk(&root, "", &mut files);
    files
}
