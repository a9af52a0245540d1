//! The line to the sites: one HTTP/2 connection from each, TLS with certificates on both sides. What is said on it is in [`model::line`].
//!
//! Whoever connects is judged at the handshake and again whenever something about its site changes: a certificate alone opens nothing, the
//! estate has to believe in its key. Who shows no certificate can enrol, and nothing else.
//!
//! Everything that a site can make grow has a bound: connections of a network, connections of a site, bytes of a request, what batches come
//! to, entries of the journal. A site that is slow costs one frame of memory.

mod batch;
mod bundles;
mod enrol;
mod metrics;
pub(crate) mod pace;
mod revoked;
mod sessions;
mod signed;
mod tell;
mod traffic;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use crypto::tls::rustls::{self, ServerConfig};
use crypto::tls::{self, Clients, Clock, Peer, TlsError, Trust, WrongTime};
use estate::sites;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use journal::entry::{Actor, Name};
use model::{SiteId, Timestamp};
use pki::Certificate;
use pki::identity::Kind;
use serde::de::DeserializeOwned;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::api::Problem;
use crate::authority::{Authority, AuthorityError, key_sha256, member_of};
use crate::gate::{Came, Gate};
use crate::pdp::Pdp;
use crate::published::Published;
use crate::sessions::Strangers;
use crate::{Hub, HubError};

use pace::{Later, Purses, Tries};
use sessions::{Session, Sessions, believed};

pub use metrics::{Counter, Metrics};

/// Connections at one time; further ones wait to be taken.
const CONNECTIONS_MAX: usize = 16_384;
/// Handshakes at one time: each computes signatures.
const HANDSHAKES_MAX: usize = 256;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long somebody who shows no certificate stays.
const UNKNOWN: Duration = Duration::from_secs(30);
/// How long the body of a request may take.
const BODY: Duration = Duration::from_secs(60);
/// Requests of one connection at one time.
const STREAMS_MAX: u32 = 8;
/// Bytes that a connection may send ahead of being read.
const WINDOW_BYTES: u32 = 256 << 10;
/// Silence after which the other end is asked whether it is there.
const ALIVE: Duration = Duration::from_secs(30);
/// Batches that are worked on at one time; each may have [`model::line::BATCH_BYTES_MAX`].
const BATCHES_MAX: usize = 16;
/// Requests with commitments that are worked on at one time; each may have half a megabyte.
const SIGNED_MAX: usize = 256;
/// Bytes of a request that is no batch.
const REQUEST_BYTES_MAX: usize = 32 << 10;
/// Lines in a minute about what goes wrong: whoever knocks at the port fills no log.
const NOTES_MAX: u32 = 60;
/// A server's certificate that ends sooner is followed by another one, in nanoseconds: 30 days.
const RENEW_NANOS: i64 = 30 * 86_400 * 1_000_000_000;
/// When it failed, it is tried again after this long, in nanoseconds.
const RETRY_NANOS: i64 = 3_600 * 1_000_000_000;

/// How often and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Seconds between two lease frames.
    pub lease_every_s: u32,
    /// Seconds that leases hold from each.
    pub lease_term_s: u32,
    /// Seconds after the end of leases for which what is critical to availability goes on.
    pub stale_after_s: u32,
}

impl Default for Timing {
    /// Every minute, for five, and a week.
    fn default() -> Self {
        let lease_term_s = u32::try_from(estate::leases::TERM_S).unwrap_or(300);
        Self { lease_every_s: 60, lease_term_s, stale_after_s: 7 * 86_400 }
    }
}

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// No certificate for this server.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Takes what people should know, a line each, from any thread.
pub type Told = crate::shell::Told;

/// The controller's end of the line.
pub struct Line {
    hub: Arc<Hub>,
    pdp: Arc<Pdp>,
    authority: Arc<Authority>,
    published: Arc<Published>,
    /// Entries of the journal up to the last revocation.
    revised: watch::Sender<u64>,
    /// Names and addresses that sites dial.
    hosts: Vec<String>,
    timing: Timing,
    told: Told,
    /// What has been counted.
    pub metrics: Metrics,
    sessions: Arc<Sessions>,
    strangers: Strangers,
    tries: Tries,
    purses: Purses,
    batches: Semaphore,
    /// Requests with commitments that are worked on.
    signed: Semaphore,
    /// What sites may spend on commitments.
    signed_purses: Purses,
    shaking: Semaphore,
    /// What the server shows, and until when.
    shown: Mutex<(Arc<ServerConfig>, Timestamp)>,
    /// When the minute began, lines in it, and lines that were left out.
    notes: Mutex<(i64, u32, u32)>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("timing", &self.timing).finish_non_exhaustive()
    }
}

impl Clock for Hub {
    fn now(&self) -> Option<Timestamp> {
        Some(Self::now(self))
    }
}

impl Line {
    /// A line on which this server is known by these names and addresses.
    pub fn new(
        hub: Arc<Hub>,
        pdp: Arc<Pdp>,
        published: Arc<Published>,
        hosts: Vec<String>,
        timing: Timing,
        told: Told,
    ) -> Result<Arc<Self>, LineError> {
        let authority = Arc::clone(published.authority());
        let revised = watch::Sender::new(hub.read(|estate| estate.identities().revised()));
        let shown = Mutex::new(shown(&hub, &authority, &hosts)?);
        Ok(Arc::new(Self {
            hub,
            pdp,
            authority,
            published,
            revised,
            hosts,
            timing,
            told,
            metrics: Metrics::default(),
            sessions: Arc::default(),
            strangers: Strangers::default(),
            tries: Tries::default(),
            purses: Purses::default(),
            batches: Semaphore::new(BATCHES_MAX),
            signed: Semaphore::new(SIGNED_MAX),
            signed_purses: Purses::default(),
            shaking: Semaphore::new(HANDSHAKES_MAX),
            shown,
            notes: Mutex::default(),
        }))
    }

    /// SHA-256 of the root that sites pin, in hex.
    pub fn root_sha256(&self) -> String {
        self.authority.root_sha256()
    }

    /// Whether a site is connected now.
    pub fn is_connected(&self, site: &SiteId) -> bool {
        self.sessions.has(site)
    }

    /// Sites that are connected now.
    pub fn connected(&self) -> Vec<SiteId> {
        self.sessions.who()
    }

    /// What the server shows; another one in time.
    fn shown(&self) -> Arc<ServerConfig> {
        let mut kept = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.hub.now();
        if now >= kept.1 {
            match shown(&self.hub, &self.authority, &self.hosts) {
                Ok(new) => *kept = new,
                Err(error) => {
                    kept.1 = now.plus_nanos(RETRY_NANOS);
                    self.note(&format!("the certificate of this server is not renewed: {error}"));
                }
            }
        }
        Arc::clone(&kept.0)
    }

    /// Until when leases hold.
    fn until(&self, now: Timestamp) -> Timestamp {
        now.plus_nanos(i64::from(self.timing.lease_term_s).saturating_mul(1_000_000_000))
    }

    /// Spends what a site may spend.
    fn spend(&self, site: &SiteId, cost: i64) -> Result<(), Problem> {
        self.purses.spend(site, cost, self.hub.now()).map_err(|later| {
            self.metrics.too_early.up();
            too_early(later, "this site", "it says more than the journal takes of one site")
        })
    }

    /// Sites hear of what was revoked.
    fn revise(&self) {
        let revised = self.hub.read(|estate| estate.identities().revised());
        self.revised.send_if_modified(|known| {
            let is_new = *known != revised;
            *known = revised;
            is_new
        });
    }

    /// Cuts who is not believed any more.
    fn recheck(&self, of: Option<&SiteId>) {
        let now = self.hub.now();
        let of = of.map(std::slice::from_ref);
        let believes = |site: &SiteId, key: &String| believed(&self.hub, site, key, now);
        self.metrics.cut.more(self.sessions.recheck(of, believes));
    }

    /// Tells people, but not without end.
    fn note(&self, line: &str) {
        let now = self.hub.now().as_nanos();
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, count, left_out) = *notes;
        if !(0..60_000_000_000).contains(&now.saturating_sub(began)) {
            if left_out > 0 {
                (self.told)(&format!("line: {left_out} more like the lines before"));
            }
            *notes = (now, 0, 0);
        } else if count >= NOTES_MAX {
            notes.2 = left_out.saturating_add(1);
            return;
        }
        notes.1 = notes.1.saturating_add(1);
        drop(notes);
        (self.told)(&format!("line: {line}"));
    }
}

/// Serves until it is told to stop; then every connection is cut: sites come back by themselves.
pub async fn serve(line: Arc<Line>, listener: TcpListener, stop: watch::Receiver<bool>) {
    let mut gate = Gate::new(listener, CONNECTIONS_MAX, stop);
    let mut open = tokio::task::JoinSet::new();
    open.spawn(cutter(Arc::clone(&line)));
    while let Some(Came { stream, from, slot }) = gate.next().await {
        // What has ended is let go.
        while open.try_join_next().is_some() {}
        let line = Arc::clone(&line);
        open.spawn(async move {
            let _slot = slot;
            connection(&line, stream, from).await;
        });
    }
    line.sessions.close();
    open.shutdown().await;
}

/// Cuts connections of sites as soon as they are not believed any more, and tells the others of revoked devices.
async fn cutter(line: Arc<Line>) {
    let mut changes = line.hub.watch();
    loop {
        match changes.recv().await {
            Ok(told) => {
                line.revise();
                for event in &told.events {
                    if let estate::Event::Site(
                        event @ (sites::Event::Revoked { .. }
                        | sites::Event::Enrolled { .. }
                        | sites::Event::Settled { .. }),
                    ) = event
                    {
                        line.recheck(Some(event.site()));
                    }
                }
            }
            Err(RecvError::Lagged(_)) => {
                line.revise();
                line.recheck(None);
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Who is at the other end.
enum Caller {
    /// A site that is believed.
    Site(Arc<Session>),
    /// Somebody without a certificate.
    Unknown,
}

async fn connection(line: &Arc<Line>, stream: TcpStream, from: SocketAddr) {
    let stranger = line.strangers.come(from.ip());
    let unknown = async {
        let Some(stream) = shake(line, stream, from).await else {
            line.metrics.handshakes_failed.up();
            return None;
        };
        line.metrics.connections.up();
        let Some(peer) = Peer::of(stream.get_ref().1.peer_certificates()) else {
            let served = talk(line, stream, from, Caller::Unknown);
            let _ = tokio::time::timeout(UNKNOWN, served).await;
            return None;
        };
        let session = admit(line, &peer, from).await;
        if session.is_none() {
            line.metrics.refused.up();
        }
        Some((stream, session?))
    };
    let known = tokio::select! {
        known = unknown => known,
        () = stranger.cut() => {
            line.metrics.refused.up();
            None
        }
    };
    drop(stranger);
    let Some((stream, session)) = known else { return };
    // Whom we cut sees the end of the stream.
    tokio::select! {
        () = talk(line, stream, from, Caller::Site(Arc::clone(&session))) => {}
        () = session.cut() => {}
    }
}

/// A connection over TLS that speaks HTTP/2.
async fn shake(
    line: &Arc<Line>,
    stream: TcpStream,
    from: SocketAddr,
) -> Option<TlsStream<TcpStream>> {
    let shaking = async {
        let _permit = line.shaking.acquire().await;
        TlsAcceptor::from(line.shown()).accept(stream).await
    };
    // Who is too slow, or nobody of ours, is no news: it is counted.
    let shaken = tokio::time::timeout(HANDSHAKE, shaking).await.ok()?;
    match shaken {
        Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2".as_slice()) => Some(stream),
        Ok(_) => None,
        Err(error) => {
            let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
            match tls.and_then(WrongTime::of) {
                Some(wrong) => line.note(&format!(
                    "{from} is not let in: {wrong}. One of the two clocks is wrong, or the site was away for longer than its certificate lives: `ringfence sites token SITE` makes a new token"
                )),
                None => {
                    if let Some(rustls::Error::InvalidCertificate(why)) = tls {
                        line.note(&format!("{from} is not let in: its certificate is refused ({why:?})"));
                    }
                }
            }
            None
        }
    }
}

/// A session of the site whose certificate was shown.
async fn admit(line: &Arc<Line>, peer: &Peer, from: SocketAddr) -> Option<Arc<Session>> {
    let (site, key) = site_of(&line.hub, &line.authority, &peer.certificate)?;
    let session = Arc::new(Session::open(&line.sessions, site, key));
    // Who was revoked between handshake and registration was not cut.
    if !session.is_believed(&line.hub) {
        return None;
    }
    let new = line.hub.read(|estate| {
        let site = estate.sites().get(session.site());
        site.is_some_and(|site| site.unsettled(session.key_sha256()))
    });
    if new {
        let (at, of) = (Arc::clone(line), Arc::clone(&session));
        let settled = blocking(move || {
            let (id, key_sha256) = (of.site().clone(), of.key_sha256().to_owned());
            let who = actor(of.site()).map_err(HubError::from)?;
            let command = estate::Command::Site(sites::Command::Settle { id, key_sha256 });
            let why = format!("it was here with its new key, from {from}");
            at.hub.command(&who, &why, command, std::collections::BTreeSet::new())?;
            Ok(())
        });
        // The key before goes on until its time is over; the site is not turned away for it.
        if let Err(problem) = settled.await {
            line.note(&format!("site {}: {}", session.site(), problem.detail));
        }
    }
    Some(session)
}

/// Which site a certificate speaks for now, and the SHA-256 of its key.
fn site_of(hub: &Hub, authority: &Authority, shown: &Certificate) -> Option<(SiteId, String)> {
    let identity = pki::identity_of(shown)?;
    if identity.kind != Kind::Site || identity.estate != *authority.estate() {
        return None;
    }
    let key = key_sha256(&shown.key().ok()?);
    let now = hub.now();
    let site = hub.read(|estate| estate.sites().of_key(&key, now).map(|site| site.id.clone()))?;
    (member_of(&site).ok()? == identity.id).then_some((site, key))
}

async fn talk(line: &Arc<Line>, stream: TlsStream<TcpStream>, from: SocketAddr, caller: Caller) {
    let (line, caller) = (Arc::clone(line), Arc::new(caller));
    let service = service_fn(move |request: Request<Incoming>| {
        let (line, caller) = (Arc::clone(&line), Arc::clone(&caller));
        async move { Ok::<_, Infallible>(answer(&line, &caller, from, request).await) }
    });
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_header_list_size(16 << 10)
        .keep_alive_interval(ALIVE)
        .keep_alive_timeout(ALIVE)
        .serve_connection(TokioIo::new(stream), service);
    // How a connection ends is the site's affair.
    let _ = served.await;
}

async fn answer(
    line: &Arc<Line>,
    caller: &Caller,
    from: SocketAddr,
    request: Request<Incoming>,
) -> Response {
    match route(line, caller, from, request).await {
        Ok(response) => response,
        Err(problem) => {
            line.metrics.refused.up();
            problem.into_response()
        }
    }
}

async fn route(
    line: &Arc<Line>,
    caller: &Caller,
    from: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if (&head.method, path) == (&Method::POST, "/site/v1/enrol") {
        let body = json(&head.headers, body).await?;
        return enrol::enrol(line, from.ip(), body).await;
    }
    let session = match caller {
        Caller::Site(session) if session.is_believed(&line.hub) => session,
        _ => {
            let why = "it takes the certificate of a site that is enrolled";
            return Err(Problem::new(StatusCode::FORBIDDEN, "line.certificate", "who asks", why)
                .help("`POST /site/v1/enrol` with a one-time token gives one"));
        }
    };
    match (&head.method, path) {
        (&Method::GET, "/site/v1/bundles") => {
            let has = bundles::Has::read(head.uri.query().unwrap_or_default())?;
            Ok(bundles::answer(line, session, has))
        }
        (&Method::POST, "/site/v1/acks") => {
            tell::ack(line, session, json(&head.headers, body).await?).await
        }
        (&Method::POST, "/site/v1/renew") => {
            enrol::renew(line, session, json(&head.headers, body).await?).await
        }
        (&Method::POST, "/site/v1/commitments") => {
            signed::commitments(line, session, &head.headers, body).await
        }
        (&Method::POST, "/site/v1/observations") => {
            // Before it is read: what waits takes memory.
            let (Ok(_one), Ok(_all)) = (session.batch(), line.batches.try_acquire()) else {
                line.metrics.too_early.up();
                return Err(too_early(Later(2), "this batch", "others are being worked on"));
            };
            let bytes = whole(&head.headers, body, model::line::BATCH_BYTES_MAX).await?;
            tell::observations(line, session, bytes).await
        }
        (&Method::POST, "/site/v1/traffic") => {
            let Ok(_one) = line.batches.try_acquire() else {
                line.metrics.too_early.up();
                return Err(too_early(Later(2), "this report", "others are being worked on"));
            };
            let bytes = whole(&head.headers, body, model::line::BATCH_BYTES_MAX).await?;
            traffic::traffic(line, session, bytes).await
        }
        _ => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "request.nowhere",
            "the path",
            "there is nothing at this path, or not for this method",
        )),
    }
}

/// A small JSON body.
async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Incoming) -> Result<T, Problem> {
    let bytes = whole(headers, body, REQUEST_BYTES_MAX).await?;
    serde_json::from_slice(&bytes).map_err(|error| Problem::invalid("the body", error.to_string()))
}

/// A body of at most so many bytes, in time.
async fn whole(headers: &HeaderMap, body: Incoming, max: usize) -> Result<Bytes, Problem> {
    let too_long = || {
        let why = format!("it is longer than {max} bytes, or was cut");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "request.too-large", "the body", why)
    };
    let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if said.and_then(|said| said.parse::<usize>().ok()).is_some_and(|said| said > max) {
        return Err(too_long());
    }
    match tokio::time::timeout(BODY, axum::body::to_bytes(Body::new(body), max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(too_long()),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "request.slow",
            "the body",
            format!("it did not come within {} seconds", BODY.as_secs()),
        )),
    }
}

/// Does something on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the request was given up",
            error.to_string(),
        )),
    }
}

fn too_early(later: Later, what: &str, why: &str) -> Problem {
    let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "line.pace", what, why);
    problem.retry_after_s = Some(later.0);
    problem
}

/// A site, as an actor.
fn actor(site: &SiteId) -> Result<Actor, journal::Malformed> {
    Ok(Actor { kind: Name::new("site")?, id: site.to_string() })
}

fn shown(
    hub: &Arc<Hub>,
    authority: &Arc<Authority>,
    hosts: &[String],
) -> Result<(Arc<ServerConfig>, Timestamp), LineError> {
    let now = hub.now();
    let credentials = authority.server(hosts, now)?;
    let end = credentials.chain.first().map_or(now, Certificate::not_after);
    let revoked = {
        let (hub, authority) = (Arc::clone(hub), Arc::clone(authority));
        move |shown: &Certificate| {
            // Authorities are judged by the path; whom they vouch for, by the estate.
            pki::identity::estate_of(shown).is_none() && site_of(&hub, &authority, shown).is_none()
        }
    };
    let trust = Trust { roots: authority.roots(), revoked: Arc::new(revoked) };
    let clock: Arc<dyn Clock> = Arc::<Hub>::clone(hub);
    let config = tls::server(&credentials, Clients::Optional(trust), clock)?;
    Ok((config, end.plus_nanos(-RENEW_NANOS).max(now.plus_nanos(RETRY_NANOS))))
}
