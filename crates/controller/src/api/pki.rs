//! What the estate's authority publishes: for everybody, because whoever verifies a certificate is nobody here. It says nothing but serial
//! numbers.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use estate::side::Digest;

use super::{Api, Path, Problem};
use crate::published::{List, NotPublished, Published};

const PEM: &str = "application/x-pem-file";
const CRL: &str = "application/pkix-crl";
const REQUEST: &str = "application/ocsp-request";
const RESPONSE: &str = "application/ocsp-response";
/// How long others may keep what they fetched.
const CACHED: &str = "public, max-age=60";

/// The certificate of the estate's root.
#[utoipa::path(get, path = "/pki/root.pem", tag = "pki", security(()),
    responses((status = 200, body = String, content_type = "application/x-pem-file"), (status = "default", body = Problem)))]
pub async fn root(State(api): State<Api>) -> Result<Response, Problem> {
    Ok(told(PEM, published(&api)?.root()?))
}

/// The certificate of the authority that issues.
#[utoipa::path(get, path = "/pki/issuing.pem", tag = "pki", security(()),
    responses((status = 200, body = String, content_type = "application/x-pem-file"), (status = "default", body = Problem)))]
pub async fn issuing(State(api): State<Api>) -> Result<Response, Problem> {
    Ok(told(PEM, published(&api)?.issuing()?))
}

/// The certificates of all authorities that have lists: the one that issues first, then those before it whose certificates are not all over.
#[utoipa::path(get, path = "/pki/issuers.pem", tag = "pki", security(()),
    responses((status = 200, body = String, content_type = "application/x-pem-file"), (status = "default", body = Problem)))]
pub async fn issuers(State(api): State<Api>) -> Result<Response, Problem> {
    Ok(told(PEM, published(&api)?.all_issuing()?))
}

/// The list of one of these, `SHA256.crl`, or what changed in it, `SHA256-delta.crl`; by the SHA-256 of its certificate in hex.
#[utoipa::path(get, path = "/pki/issuers/{list}", tag = "pki", security(()), params(("list" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/pkix-crl"), (status = 304), (status = "default", body = Problem)))]
pub async fn of_issuer(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let stem = name.strip_suffix(".crl").unwrap_or_default();
    let (of, which): (_, Which) = match stem.strip_suffix("-delta") {
        Some(of) => (of, Published::delta),
        None => (stem, Published::complete),
    };
    let Ok(issuer) = of.parse::<Digest>() else { return Err(NotPublished::Unknown.into()) };
    list(&api, &headers, Some(issuer), which).await
}

/// All of its certificates of devices that are revoked and not over (RFC 5280).
#[utoipa::path(get, path = "/pki/issuing.crl", tag = "pki", security(()),
    responses((status = 200, body = Vec<u8>, content_type = "application/pkix-crl"), (status = 304), (status = "default", body = Problem)))]
pub async fn complete(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    list(&api, &headers, None, Published::complete).await
}

/// What changed in that list since one of at most a day ago.
#[utoipa::path(get, path = "/pki/issuing-delta.crl", tag = "pki", security(()),
    responses((status = 200, body = Vec<u8>, content_type = "application/pkix-crl"), (status = 304), (status = "default", body = Problem)))]
pub async fn delta(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    list(&api, &headers, None, Published::delta).await
}

/// Whether single certificates are revoked (OCSP, RFC 6960).
#[utoipa::path(post, path = "/pki/ocsp", tag = "pki", security(()),
    request_body(content = Vec<u8>, content_type = "application/ocsp-request"),
    responses((status = 200, body = Vec<u8>, content_type = "application/ocsp-response"), (status = "default", body = Problem)))]
pub async fn ask(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(REQUEST)) {
        let why = format!("its Content-Type is not {REQUEST}");
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Problem::new(status, "request.media", "the body", why));
    }
    let mut answer = told(RESPONSE, published(&api)?.answer(&body));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// The same for those who can only GET: a request in base64 (RFC 6960 §A.1).
#[utoipa::path(get, path = "/pki/ocsp/{request}", tag = "pki", security(()), params(("request" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/ocsp-response"), (status = "default", body = Problem)))]
pub async fn ask_by_path(
    State(api): State<Api>,
    Path(request): Path<String>,
) -> Result<Response, Problem> {
    // What is no base64 is no request either.
    let request = STANDARD.decode(request).unwrap_or_default();
    Ok(told(RESPONSE, published(&api)?.answer(&request)))
}

pub(super) fn published(api: &Api) -> Result<&Arc<Published>, Problem> {
    api.published.as_ref().ok_or_else(|| {
        let why = "this controller issues no certificates";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Problem::new(status, "identity.authority", "the estate's authority", why)
    })
}

type Which = fn(&Published, Option<Digest>) -> Result<List, NotPublished>;

async fn list(
    api: &Api,
    headers: &HeaderMap,
    issuer: Option<Digest>,
    which: Which,
) -> Result<Response, Problem> {
    let published = Arc::clone(published(api)?);
    // A very long one takes a second.
    let made = tokio::task::spawn_blocking(move || which(&published, issuer)).await;
    let made = made.map_err(|error| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "internal", "the request was given up", error.to_string())
    })??;
    let tag = format!("\"{}\"", made.number);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let mut answer = match known.is_some_and(|tags| tags.split(',').any(|k| k.trim() == tag)) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => told(CRL, made.der),
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    Ok(answer)
}

fn told(kind: &'static str, body: impl IntoResponse) -> Response {
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, CACHED)];
    (headers, body).into_response()
}

impl From<NotPublished> for Problem {
    fn from(error: NotPublished) -> Self {
        let status = match error {
            NotPublished::Unknown => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, "identity.published", "what the authority publishes", error.to_string())
    }
}
