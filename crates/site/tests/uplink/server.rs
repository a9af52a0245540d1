//! A controller's end of the line that can be told to misbehave: real TLS, real HTTP/2, on loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use crypto::tls::{self, Clients, SystemClock};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame as Piece, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::SiteId;
use model::line::{Ack, Batch, Chain, Enrol, Frame, Renew, Taken, framed};
use pki::Key;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use crate::estate::Authority;

/// How batches are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Take,
    /// It is taken, and the connection breaks before the answer.
    Lose,
    /// 429, with so many seconds.
    Later(u64),
}

/// What it was asked, and what it does.
pub(crate) struct Told {
    pub(crate) answer: Answer,
    /// Enrolments and bundles are refused.
    pub(crate) refuses: bool,
    pub(crate) loses_enrolment: bool,
    /// Validity of certificates, in days from now.
    pub(crate) days: (i64, i64),
    /// Sent on each connection.
    pub(crate) first: Vec<Frame>,
    pub(crate) enrolled: Vec<Key>,
    pub(crate) renewed: Vec<Key>,
    /// Queries of `bundles`, one for each line.
    pub(crate) lines: Vec<String>,
    pub(crate) acks: Vec<Ack>,
    /// Every batch that came, also one that came before.
    pub(crate) batches: Vec<Batch>,
    /// Those that count.
    pub(crate) counted: Vec<Batch>,
    open: Vec<AbortHandle>,
    streams: Vec<mpsc::UnboundedSender<Bytes>>,
}

struct Shared {
    told: Mutex<Told>,
    changed: Condvar,
    authority: Authority,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

/// Longest wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

impl Server {
    pub(crate) fn start() -> Self {
        let told = Told {
            answer: Answer::Take,
            refuses: false,
            loses_enrolment: false,
            days: (-1, 100),
            first: Vec::new(),
            enrolled: Vec::new(),
            renewed: Vec::new(),
            lines: Vec::new(),
            acks: Vec::new(),
            batches: Vec::new(),
            counted: Vec::new(),
            open: Vec::new(),
            streams: Vec::new(),
        };
        let authority = Authority::new();
        let clients = Clients::Optional(authority.trust());
        let config = tls::server(&authority.server(), clients, Arc::new(SystemClock)).unwrap();
        let shared =
            Arc::new(Shared { told: Mutex::new(told), changed: Condvar::new(), authority });
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let all = Arc::clone(&shared);
        runtime.spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (one, acceptor) = (Arc::clone(&all), TlsAcceptor::from(Arc::clone(&config)));
                let task = tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else {
                        return; // It does not believe us, or shows what we do not believe.
                    };
                    let known = tls.get_ref().1.peer_certificates().is_some();
                    let service =
                        service_fn(move |request| answer(Arc::clone(&one), known, request));
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(tls), service).await;
                });
                all.told.lock().unwrap().open.push(task.abort_handle());
            }
        });
        Self { address, shared, _runtime: runtime }
    }

    /// The estate's authority.
    pub(crate) fn authority(&self) -> &Authority {
        &self.shared.authority
    }

    pub(crate) fn token(&self) -> String {
        format!("rfj_{}_{}", self.shared.authority.root_sha256(), "5e".repeat(32))
    }

    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.shared.told.lock().unwrap()
    }

    /// Waits for something that has to come.
    pub(crate) fn until(&self, what: &str, done: impl Fn(&Told) -> bool) -> MutexGuard<'_, Told> {
        let told = self.shared.told.lock().unwrap();
        let waited = self.shared.changed.wait_timeout_while(told, PATIENCE, |told| !done(told));
        let (told, late) = waited.unwrap();
        assert!(!late.timed_out(), "{what} did not come: {:?} {:?}", told.acks, told.batches);
        told
    }

    /// Says something on every line.
    pub(crate) fn say(&self, frame: &Frame) {
        let bytes = bytes(frame);
        self.told().streams.retain(|stream| stream.send(bytes.clone()).is_ok());
    }

    /// Breaks every connection.
    pub(crate) fn cut(&self) {
        let mut told = self.told();
        told.open.drain(..).for_each(|open| open.abort());
        told.streams.clear();
    }
}

fn bytes(frame: &Frame) -> Bytes {
    framed(&serde_json::to_vec(frame).unwrap()).unwrap().into()
}

/// An answer at once, or one without an end.
enum Out {
    Whole(Option<Bytes>),
    Frames(mpsc::UnboundedReceiver<Bytes>),
}

impl Body for Out {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Frames(frames) => frames.poll_recv(context),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Piece::data(bytes))))
    }
}

fn whole(status: u16, bytes: Vec<u8>) -> Result<Response<Out>, Infallible> {
    let response = Response::builder().status(status);
    Ok(response.body(Out::Whole(Some(bytes.into()))).unwrap())
}

async fn answer(
    shared: Arc<Shared>,
    known: bool,
    request: Request<Incoming>,
) -> Result<Response<Out>, Infallible> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let Ok(body) = request.into_body().collect().await else {
        return whole(400, Vec::new());
    };
    let body = body.to_bytes();
    let mut told = shared.told.lock().unwrap();
    let chain = |csr: &str, days| {
        let (key, pem) = shared.authority.site(csr, days);
        let site = SiteId::new("Shop/1").unwrap();
        let chain = Chain { site, pem, now: site::shell::now() };
        (key, serde_json::to_vec(&chain).unwrap())
    };
    let refused = br#"{"title":"not known","detail":"this site is revoked"}"#;
    let is_open = path == "/site/v1/enrol";
    let response = match path.as_str() {
        _ if told.refuses || (!known && !is_open) => whole(403, refused.to_vec()),
        "/site/v1/enrol" => {
            let enrol: Enrol = serde_json::from_slice(&body).unwrap();
            assert_eq!(enrol.secret, "5e".repeat(32));
            let (key, chain) = chain(&enrol.csr, told.days);
            told.enrolled.push(key);
            if told.loses_enrolment {
                told.open.drain(..).for_each(|open| open.abort());
            }
            whole(200, chain)
        }
        "/site/v1/renew" => {
            let renew: Renew = serde_json::from_slice(&body).unwrap();
            let (key, chain) = chain(&renew.csr, (-1, 100));
            told.renewed.push(key);
            whole(200, chain)
        }
        "/site/v1/bundles" => {
            told.lines.push(query);
            let (stream, frames) = mpsc::unbounded_channel();
            told.first.iter().for_each(|frame| stream.send(bytes(frame)).unwrap());
            told.streams.push(stream);
            Ok(Response::new(Out::Frames(frames)))
        }
        "/site/v1/acks" => {
            told.acks.push(serde_json::from_slice(&body).unwrap());
            whole(204, Vec::new())
        }
        "/site/v1/observations" => {
            let batch = zstd::decode_all(body.as_ref()).unwrap();
            let batch: Batch = serde_json::from_slice(&batch).unwrap();
            told.batches.push(batch.clone());
            let have = told.counted.last().map_or(0, |batch| batch.number);
            match told.answer {
                Answer::Later(seconds) => {
                    let response = Response::builder().status(429).header("retry-after", seconds);
                    Ok(response.body(Out::Whole(None)).unwrap())
                }
                answer => {
                    assert!(batch.number <= have + 1, "no gap");
                    if batch.number > have {
                        told.counted.push(batch);
                    }
                    if answer == Answer::Lose {
                        told.open.drain(..).for_each(|open| open.abort());
                        told.streams.clear();
                    }
                    let number = told.counted.last().map_or(0, |batch| batch.number);
                    whole(200, serde_json::to_vec(&Taken { number }).unwrap())
                }
            }
        }
        other => panic!("{other}"),
    };
    drop(told);
    shared.changed.notify_all();
    response
}
