//! The door to the API: TLS on a socket, and bounds on everything that comes through it before anybody is known.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::Request;
use crypto::tls::rustls::ServerConfig;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::gate::{Came, Gate};
use crate::unread;

/// Connections at one time; further ones wait to be taken.
const CONNECTIONS_MAX: usize = 4_096;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the head of a request may take, also of the next one on the same connection.
const HEAD: Duration = Duration::from_secs(30);
/// Streams of one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// Silence of an HTTP/2 connection after which it is asked whether it is there.
const ALIVE: Duration = Duration::from_secs(30);
/// How long requests that are under way have when the process ends.
const GRACE: Duration = Duration::from_secs(5);

/// What the server shows of itself; another one is taken up by the next connection.
pub(crate) type Shown = Arc<RwLock<Arc<ServerConfig>>>;

/// Serves until it is told to stop, then lets what is under way end.
pub(crate) async fn serve(
    listener: TcpListener,
    shown: Shown,
    router: Router,
    stop: watch::Receiver<bool>,
) {
    let mut gate = Gate::new(listener, CONNECTIONS_MAX, stop);
    let graceful = GracefulShutdown::new();
    while let Some(Came { stream, from, slot }) = gate.next().await {
        let config = Arc::clone(&shown.read().unwrap_or_else(PoisonError::into_inner));
        let (router, watcher) = (router.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _slot = slot;
            connection(stream, from, config, router, watcher).await;
        });
    }
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
}

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    config: Arc<ServerConfig>,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let shake = TlsAcceptor::from(config).accept(stream);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, shake).await else {
        return;
    };
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(from));
        let router = router.clone();
        async move {
            let respond = async |request| match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            Ok::<_, Infallible>(unread::answer(request, respond).await)
        }
    });
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(ALIVE)
        .keep_alive_timeout(ALIVE);
    let served = http.serve_connection(TokioIo::new(stream), service);
    // How a connection ends is the client's affair.
    let _ = watcher.watch(served).await;
}
