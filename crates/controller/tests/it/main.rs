//! The controller through its API, on a real journal in a real folder.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod life;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use controller::Hub;
use controller::api::{Api, Authenticate, Problem, router};
use controller::blobs::{Blobs, Files};
use controller::pdp::Pdp;
use controller::state::StateFolder;
use estate::access::{Grant, Principal, Role, Sites, Via};
use http_body_util::BodyExt as _;
use model::{SiteId, Timestamp};
use serde_json::Value;
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
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Believes `ROLE` or `ROLE@SITE`.
struct ByName;

impl Authenticate for ByName {
    fn bearer(&self, token: &str, _: Timestamp) -> Result<Principal, Problem> {
        let (role, site) = token.split_once('@').map_or((token, None), |(r, s)| (r, Some(s)));
        let role = Role::ALL.into_iter().find(|r| r.word() == role);
        let role = role.ok_or_else(|| {
            Problem::new(
                StatusCode::UNAUTHORIZED,
                "auth.unknown",
                "who asks",
                "nobody has this token",
            )
        })?;
        let sites =
            site.map_or(Sites::All, |s| Sites::Only(BTreeSet::from([SiteId::new(s).unwrap()])));
        Ok(Principal {
            actor: Principal::host("test"),
            operator: None,
            grant: Grant { roles: BTreeSet::from([role]), sites },
            via: Via::Session,
            password_temporary: false,
        })
    }
}

/// A running controller.
struct Running {
    hub: Arc<Hub>,
    pdp: Arc<Pdp>,
    router: Router,
    _state: StateFolder,
}

fn start(folder: &Folder) -> Running {
    let state = StateFolder::open(&folder.0).unwrap();
    let mut notes = Vec::new();
    let now = || {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap();
        Timestamp::from_secs(i64::try_from(since.as_secs()).unwrap(), since.subsec_nanos().into())
    };
    let hub =
        Hub::open(&state, "ringfence.example/test", now, &mut |note| notes.push(note.to_owned()));
    let hub = Arc::new(hub.unwrap());
    let blobs = Blobs::open(&state.file("blobs")).unwrap();
    let pdp = Pdp::open(Arc::clone(&hub), blobs).unwrap();
    let started = hub.now();
    let api = Api { hub: Arc::clone(&hub), pdp: Arc::clone(&pdp), who: Arc::new(ByName), started };
    Running { hub, pdp, router: router(api), _state: state }
}

/// An answer: status, headers of note, body.
struct Answer {
    status: u16,
    etag: String,
    kind: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

impl Running {
    async fn ask(&self, who: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.ask_with(who, method, path, body, None).await
    }

    async fn ask_with(
        &self,
        who: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
        if_match: Option<&str>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !who.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {who}"));
        }
        if let Some(tag) = if_match {
            request = request.header(header::IF_MATCH, tag);
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
        let (status, etag, kind) =
            (response.status().as_u16(), of(header::ETAG), of(header::CONTENT_TYPE));
        // A stream of changes has no end.
        let body = match kind.starts_with("text/event-stream") {
            true => String::new(),
            false => {
                String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec())
                    .unwrap()
            }
        };
        Answer { status, etag, kind, body }
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
