//! A device's TPM at the door: a certificate for a key that it holds, and quotes of what was measured. What is said is in [`model::tpm`], what counts
//! in [`pki::tpm`].
//!
//! ```text
//!  challenge: whose TPM? ─▶ secret, sealed ─▶ enrol: both keys in it, and the request's ─▶ desk ─▶ journal ─▶ certificate
//!  nonce ─▶ quote: the same TPM, now, later than last time ─▶ as its release says? ─▶ attested for an hour, or not and told
//! ```
//!
//! Nothing that is asked survives a restart; what was shown does, in the estate. Whatever is refused of a quote is a finding and ends the last one.

mod attest;
mod enrol;
mod kept;
mod references;

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use estate::side::Digest;
use model::Timestamp;
use pki::Certificate;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::Est;
use super::door::Caller;
use super::wire::No;
use crate::line::pace::Later;
use crate::state::StateFolder;
use references::Files;

/// Quotes with an event log that are read at one time.
const LOGS_AT_ONCE: usize = 64;

/// What the door knows about TPMs.
pub(super) struct Tpms {
    challenges: kept::Challenges,
    nonces: kept::Nonces,
    roots: Files<Result<Vec<Certificate>, String>>,
    /// Who sends what is long waits for one of these.
    logs: Semaphore,
}

impl Tpms {
    pub(super) fn new(folder: &StateFolder) -> Self {
        Self {
            challenges: kept::Challenges::default(),
            nonces: kept::Nonces::default(),
            roots: Files::new(folder.file(references::ROOTS)),
            logs: Semaphore::new(LOGS_AT_ONCE),
        }
    }

    /// A key asks for something that may become an entry of the journal.
    pub(super) fn pace(&self, key: Digest, now: Timestamp) -> Result<(), Later> {
        self.nonces.pace(key, now)
    }
}

/// One request below [`model::tpm::PATH`].
pub(super) async fn answer(
    est: &Arc<Est>,
    caller: &Caller,
    head: &Parts,
    word: &str,
    body: Body,
) -> Result<Response, No> {
    let (get, post) = (head.method == Method::GET, head.method == Method::POST);
    match word {
        "challenge" if post => enrol::challenge(est, caller, head, body).await,
        "enrol" if post => enrol::enrol(est, caller, head, body).await,
        "nonce" if get => attest::nonce(est, caller).await,
        "quote" if post => attest::quote(est, caller, head, body).await,
        "challenge" | "enrol" | "nonce" | "quote" => Err(No::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "nonce takes GET; challenge, enrol and quote take POST",
        )),
        _ => Err(No::new(StatusCode::NOT_FOUND, "here are challenge, enrol, nonce and quote")),
    }
}

/// A document from a body.
pub(super) fn document<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, No> {
    serde_json::from_slice(bytes).map_err(|error| {
        No::new(StatusCode::BAD_REQUEST, format!("its body is not what is expected: {error}"))
    })
}

/// The bytes of a field.
fn field(name: &str, text: &str) -> Result<Vec<u8>, No> {
    STANDARD.decode(text).map_err(|error| {
        No::new(StatusCode::BAD_REQUEST, format!("{name} is not base64 (RFC 4648 §4): {error}"))
    })
}

pub(super) fn json(document: &impl Serialize) -> Result<Response, No> {
    let text = serde_json::to_vec(document)
        .map_err(|error| No::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let kind = [(axum::http::header::CONTENT_TYPE, "application/json")];
    Ok((kind, text).into_response())
}

pub(super) fn nobody() -> No {
    No::new(StatusCode::FORBIDDEN, "a certificate of this estate has to be shown")
}

fn random() -> Result<[u8; 32], No> {
    let mut bytes = [0; 32];
    crypto::random(&mut bytes)
        .map_err(|error| No::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(bytes)
}

/// Work that takes a processor for a while, or the disk.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, No> + Send + 'static,
) -> Result<T, No> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(super::enrol::busy(crate::desk::given_up(&error))),
    }
}

/// Answers depend on the connection: one without a name for itself has none.
fn channel(caller: &Caller) -> Result<&[u8], No> {
    match caller.channel.as_slice() {
        [] => Err(No::new(StatusCode::BAD_REQUEST, "this connection exports no key: use TLS 1.3")),
        channel => Ok(channel),
    }
}
