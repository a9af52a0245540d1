//! The least that answers over TLS: the same library, certificates and bytes as a controller, and nothing behind them. What a controller costs more
//! is its own.

use std::convert::Infallible;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use controller::authority::Authority;
use controller::state::StateFolder;
use crypto::tls::{self, Clients, SystemClock};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Response, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::hq::Server;
use super::{NAME, stop};
use crate::Stop;

/// File with what it answers.
const ANSWER: &str = "answer.json";

/// Starts one below `here`, as a process of its own.
pub(super) fn start(here: &Path, answer: &[u8]) -> Result<Server, Stop> {
    std::fs::create_dir_all(here).map_err(stop)?;
    std::fs::write(here.join(ANSWER), answer).map_err(stop)?;
    let mut command = Command::new(std::env::current_exe().map_err(stop)?);
    command.args(["bench", "controller-bare"]).arg(here);
    Server::start(command, "bare")
}

/// Serves until it is killed.
pub(super) fn serve(here: &Path) -> Result<(), Stop> {
    let answer = Bytes::from(std::fs::read(here.join(ANSWER)).map_err(stop)?);
    let folder = StateFolder::open(&here.join("hq")).map_err(stop)?;
    let clock =
        tls::Clock::now(&SystemClock).ok_or_else(|| Stop("there is no clock".to_owned()))?;
    let authority = Authority::open(&folder, NAME, clock).map_err(stop)?;
    let credentials = authority.server(&["localhost".to_owned()], clock).map_err(stop)?;
    let config =
        tls::server(&credentials, Clients::Anonymous, Arc::new(SystemClock)).map_err(stop)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(stop)?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(stop)?;
        println!("bare https://{}", listener.local_addr().map_err(stop)?);
        loop {
            let (stream, _) = listener.accept().await.map_err(stop)?;
            stream.set_nodelay(true).map_err(stop)?;
            let (tls, answer) = (TlsAcceptor::from(Arc::clone(&config)), answer.clone());
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                let service = service_fn(move |_| {
                    let answer = Response::builder()
                        .header(header::CONTENT_TYPE, "application/json")
                        .body(Full::new(answer.clone()));
                    async { Ok::<_, Infallible>(answer.unwrap_or_default()) }
                });
                let http = auto::Builder::new(TokioExecutor::new());
                // How a connection ends is the client's affair.
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}
