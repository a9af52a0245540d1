//! HTTP for a witness (C2SP tlog-witness): `POST /add-checkpoint` and `GET /<hash of the origin>/checkpoint`, within bounds.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use axum::serve::Listener;
use journal::witness::REQUEST_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use super::fault::Fault;
use super::keep::{Denied, Keeper};
use crate::folder::now;

/// Connections at one time; further ones wait to be taken.
const CONNECTIONS_MAX: usize = 64;
/// Requests whose bodies are read at one time.
const REQUESTS_MAX: usize = 64;
/// Longest life of a connection. A log keeps one open between checkpoints and opens another one when this is over.
const LIFE: Duration = Duration::from_secs(60);
/// Longest silence within it.
const SILENCE: Duration = Duration::from_secs(10);

/// Serves until a signal says that it is enough.
pub(super) fn run(keeper: Keeper, address: SocketAddr) -> Result<(), Fault> {
    let listen = |e: io::Error| Fault::Listen { address, why: e.to_string() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(listen)?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        // Before anybody is told where it listens: whoever knows may end it.
        let mut terminate = signal(SignalKind::terminate()).map_err(listen)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(listen)?;
        let here = listener.local_addr().map_err(listen)?;
        // Whoever started it may have gone away.
        let _ = writeln!(io::stdout(), "witness {} listens on http://{here}", keeper.name());
        let served =
            Served { keeper: Arc::new(keeper), requests: Arc::new(Semaphore::new(REQUESTS_MAX)) };
        let router = Router::new()
            .route("/add-checkpoint", post(add))
            .route("/{log}/checkpoint", get(checkpoint))
            .with_state(served);
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        axum::serve(Bounded { listener, slots }, router)
            .with_graceful_shutdown(async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            })
            .await
            .map_err(listen)
    })
}

#[derive(Clone, Debug)]
struct Served {
    keeper: Arc<Keeper>,
    requests: Arc<Semaphore>,
}

const TEXT: &str = "text/plain; charset=utf-8";

async fn add(State(served): State<Served>, body: Body) -> Response<Body> {
    // It is never closed.
    let Ok(_permit) = served.requests.acquire().await else {
        return answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "it ends\n");
    };
    let Ok(body) = to_bytes(body, REQUEST_BYTES_MAX).await else {
        return answer(
            StatusCode::PAYLOAD_TOO_LARGE,
            TEXT,
            "the request is too long, or broke off\n",
        );
    };
    let keeper = served.keeper;
    let seconds = u64::try_from(now().as_nanos() / 1_000_000_000).unwrap_or(0);
    let outcome = tokio::task::spawn_blocking(move || keeper.add(&body, seconds)).await;
    match outcome {
        Ok(Ok(line)) => answer(StatusCode::OK, TEXT, line),
        Ok(Err(Denied::Malformed(why))) => {
            answer(StatusCode::BAD_REQUEST, TEXT, format!("{why}\n"))
        }
        Ok(Err(Denied::Refused(refusal))) => {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::FORBIDDEN);
            match refusal.last_size() {
                Some(size) => answer(status, "text/x.tlog.size", format!("{size}\n")),
                None => answer(status, TEXT, format!("{refusal}\n")),
            }
        }
        Ok(Err(Denied::Failed(why))) => {
            eprintln!("ringfence: nothing is cosigned: {why}");
            answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "it cannot be recorded\n")
        }
        Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "it broke off\n"),
    }
}

async fn checkpoint(State(served): State<Served>, Path(log): Path<String>) -> Response<Body> {
    let keeper = served.keeper;
    match tokio::task::spawn_blocking(move || keeper.checkpoint(&log)).await {
        Ok(Some(note)) => answer(StatusCode::OK, TEXT, note),
        _ => answer(StatusCode::NOT_FOUND, TEXT, "no head of it was cosigned here\n"),
    }
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let kind = axum::http::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Takes a connection when there is room for it.
struct Bounded {
    listener: TcpListener,
    slots: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        // Retries by itself when the process has no descriptors left.
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let (life, silence) = (Box::pin(sleep(LIFE)), Box::pin(sleep(SILENCE)));
        (Connection { stream, life, silence, _slot: slot }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when nothing comes, or after its time.
struct Connection {
    stream: TcpStream,
    life: Pin<Box<Sleep>>,
    silence: Pin<Box<Sleep>>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.life.as_mut().poll(cx).is_ready() || self.silence.as_mut().poll(cx).is_ready()
    }

    fn heard(&mut self) {
        self.silence.as_mut().reset(tokio::time::Instant::now() + SILENCE);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(done) => {
                self.heard();
                Poll::Ready(done)
            }
            Poll::Pending if self.is_over(cx) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(done) => {
                self.heard();
                Poll::Ready(done)
            }
            Poll::Pending if self.is_over(cx) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
