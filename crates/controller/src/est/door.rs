//! The door: TLS, who is at the other end, and bounds on everything that comes through before anybody is known.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use crypto::tls::{Peer, WrongTime, rustls};
use estate::identities::Serial;
use estate::side::Digest;
use estate::{Event, devices, identities};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use pki::est::EXPORTER_LABEL;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::makers::Idevid;
use super::{Est, enrol, key_of, places, up};
use crate::gate::{Came, Gate};
use crate::{sessions, unread};

/// Connections at one time; further ones wait to be taken.
const CONNECTIONS_MAX: usize = 16_384;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// How long somebody who shows no certificate stays.
const STRANGER: Duration = Duration::from_secs(30);
/// How long a device stays.
const STAY: Duration = Duration::from_secs(600);
/// Between two looks at what is to be written.
const TELL: Duration = Duration::from_secs(2);
/// Requests of one connection at one time.
const STREAMS_MAX: u32 = 8;

/// Who is at the other end.
pub(super) struct Caller {
    pub(super) from: SocketAddr,
    /// The key of the certificate that was shown, and is believed.
    pub(super) key: Option<Digest>,
    /// The serial number of that certificate.
    pub(super) serial: Option<Serial>,
    /// The key, whole.
    pub(super) public: Option<pki::Key>,
    /// What it has shown of its maker, where it has no certificate of ours.
    pub(super) idevid: Option<Idevid>,
    /// What stands for this channel and no other (RFC 9266).
    pub(super) channel: Vec<u8>,
    /// TLS 1.3.
    pub(super) modern: bool,
}

/// Serves until it is told to stop.
pub async fn serve(est: Arc<Est>, listener: TcpListener, stop: watch::Receiver<bool>) {
    let mut gate = Gate::new(listener, CONNECTIONS_MAX, stop.clone());
    let mut open = tokio::task::JoinSet::new();
    open.spawn(cutter(Arc::clone(&est)));
    let teller = tokio::spawn(teller(Arc::clone(&est), stop));
    while let Some(Came { stream, from, slot }) = gate.next().await {
        // What has ended is let go.
        while open.try_join_next().is_some() {}
        let est = Arc::clone(&est);
        open.spawn(async move {
            let _slot = slot;
            connection(&est, stream, from).await;
        });
    }
    open.shutdown().await;
    // It ends when it has written what it took.
    let _ = teller.await;
    enrol::tell_unsaid(&est, true).await;
}

/// Writes down now and then what was refused beside what is written at once.
async fn teller(est: Arc<Est>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(TELL) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        enrol::tell_unsaid(&est, false).await;
    }
}

/// Cuts connections as soon as their key is not believed any more.
async fn cutter(est: Arc<Est>) {
    let mut changes = est.hub.watch();
    loop {
        let cut = match changes.recv().await {
            Ok(told) => {
                let keys: Vec<Digest> = told.events.iter().flat_map(|e| keys(&est, e)).collect();
                match keys.is_empty() {
                    true => 0,
                    false => est.sessions.recheck(Some(&keys), |key, ()| est.believes(key)),
                }
            }
            Err(RecvError::Lagged(_)) => est.sessions.recheck(None, |key, ()| est.believes(key)),
            Err(RecvError::Closed) => return,
        };
        let cut = u64::try_from(cut).unwrap_or(u64::MAX);
        est.counts.cut.fetch_add(cut, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Keys that an event may have ended.
fn keys(est: &Est, event: &Event) -> Vec<Digest> {
    let devices = match event {
        Event::Identity(event @ identities::Event::Revoked { .. }) => event.devices(),
        Event::Device(event @ devices::Event::Retired { .. }) => event.devices(),
        _ => return Vec::new(),
    };
    est.hub.read(|estate| {
        let records = devices.iter().filter_map(|id| estate.identities().get(id));
        records.flat_map(|record| &record.credentials).map(|credential| credential.key).collect()
    })
}

/// A connection of whoever showed a device's certificate.
type Session = sessions::Session<Digest, ()>;

async fn connection(est: &Arc<Est>, stream: TcpStream, from: SocketAddr) {
    let stranger = est.strangers.come(from.ip());
    let unknown = async {
        let (stream, caller, session) = shake(est, stream, from).await?;
        match session {
            Some(session) => Some((stream, caller, session)),
            None => {
                talk(est, stream, caller, STRANGER).await;
                None
            }
        }
    };
    let known = tokio::select! {
        known = unknown => known,
        () = stranger.cut() => {
            up(&est.counts.too_early);
            est.unsaid.add("identity.crowded", from.ip(), est.hub.now());
            None
        }
    };
    drop(stranger);
    let Some((stream, caller, session)) = known else { return };
    // Whoever was revoked between handshake and registration was not cut.
    if !est.believes(&session.who) {
        up(&est.counts.refused);
        let why = "its certificate was revoked just now";
        let (from, key) = (from.ip(), Some(session.who));
        enrol::turned_away(est, "identity.certificate", from, key, why, true).await;
        return;
    }
    tokio::select! {
        () = talk(est, stream, caller, STAY) => {}
        () = session.cut() => {}
    }
}

/// A connection over TLS, who is at its other end, and his place where he is known.
async fn shake(
    est: &Arc<Est>,
    stream: TcpStream,
    from: SocketAddr,
) -> Option<(TlsStream<TcpStream>, Caller, Option<Session>)> {
    let shake = TlsAcceptor::from(est.shown()).accept(stream);
    match tokio::time::timeout(HANDSHAKE, shake).await {
        Ok(Ok(stream)) => {
            let (caller, session) = who(est, &stream, from);
            places::came(est, &caller).await;
            Some((stream, caller, session))
        }
        Ok(Err(error)) => {
            up(&est.counts.handshakes_failed);
            note(est, from, &error).await;
            None
        }
        Err(_) => {
            up(&est.counts.handshakes_failed);
            None
        }
    }
}

fn who(est: &Est, stream: &TlsStream<TcpStream>, from: SocketAddr) -> (Caller, Option<Session>) {
    let tls = stream.get_ref().1;
    let peer = Peer::of(tls.peer_certificates());
    let key = peer.as_ref().and_then(|peer| key_of(&est.authority, &peer.certificate));
    let serial = peer.as_ref().and_then(|peer| places::serial_of(&peer.certificate));
    let serial = serial.filter(|_| key.is_some());
    let public = peer.and_then(|peer| peer.certificate.key().ok()).filter(|_| key.is_some());
    let session = key.map(|key| est.sessions.open(key, ()));
    let channel = tls.export_keying_material([0; 32], EXPORTER_LABEL, Some(&[]));
    let channel = channel.map_or_else(|_| Vec::new(), |bytes: [u8; 32]| bytes.to_vec());
    let modern = tls.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
    let idevid = match key {
        Some(_) => None,
        None => est.makers.shown(tls.peer_certificates(), est.hub.now()),
    };
    (Caller { from, key, serial, public, idevid, channel, modern }, session)
}

async fn talk(est: &Arc<Est>, stream: TlsStream<TcpStream>, caller: Caller, stay: Duration) {
    let (from, key) = (caller.from.ip(), caller.key);
    let caller = Arc::new(caller);
    let service = service_fn(move |request: Request<Incoming>| {
        let (est, caller) = (Arc::clone(est), Arc::clone(&caller));
        async move {
            let respond = async |request| enrol::answer(&est, &caller, request).await;
            Ok::<_, Infallible>(unread::answer(request, respond).await)
        }
    });
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    http.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
    let served = http.serve_connection(TokioIo::new(stream), service);
    let Ok(Err(error)) = tokio::time::timeout(stay, served).await else { return };
    // How a connection ends is the device's affair; what is no HTTP was answered as such (400, 431).
    if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
        up(&est.counts.refused);
        let why = format!("what it says is no HTTP that is understood ({error})");
        enrol::turned_away(est, "identity.request", from, key, &why, true).await;
    }
}

/// Writes down why a handshake failed; whoever says nothing, or goes away, was not refused and is counted only.
async fn note(est: &Arc<Est>, from: SocketAddr, error: &std::io::Error) {
    let Some(tls) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) else {
        return;
    };
    let (code, why) = match (WrongTime::of(tls), tls) {
        (Some(wrong), _) => ("identity.certificate", wrong.to_string()),
        (None, rustls::Error::InvalidCertificate(why)) => {
            ("identity.certificate", format!("its certificate is refused ({why:?})"))
        }
        (None, rustls::Error::AlertReceived(why)) => {
            ("identity.handshake", format!("it ends the handshake itself ({why:?})"))
        }
        (None, other) => ("identity.handshake", format!("the handshake fails: {other}")),
    };
    if enrol::turned_away(est, code, from.ip(), None, &why, true).await {
        (est.told)(&format!("est: {from} is not let in: {why}"));
    }
}
