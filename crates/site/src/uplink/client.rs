//! One HTTP/2 connection to a controller, and what is asked on it.

use std::sync::Arc;
use std::time::Duration;

use crypto::tls::{WrongTime, rustls};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::{CertificateDer, ServerName};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(20);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// Bytes of an answer that is read whole.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Bytes that may be on their way: a whole bundle should not wait for acknowledgements.
const WINDOW_BYTES: u32 = 4 << 20;

/// Pings that notice a dead line.
#[derive(Clone, Copy, Debug)]
pub struct Pings {
    /// Between two.
    pub every: Duration,
    /// An answer that takes longer ends the connection.
    pub patience: Duration,
}

impl Default for Pings {
    fn default() -> Self {
        Self { every: Duration::from_secs(20), patience: Duration::from_secs(20) }
    }
}

/// What went wrong on the line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It cannot be dialled.
    #[error("`{0}` is no HOST:PORT; an IPv6 address stands in [ ]")]
    Address(String),
    /// TCP.
    #[error("cannot connect to {to}: {source}")]
    Connect {
        /// Where.
        to: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// TLS, because of the time.
    #[error("{0}; put the clock right")]
    Time(#[from] WrongTime),
    /// TLS.
    #[error("{to} is not believed: {why}")]
    Tls {
        /// Where.
        to: String,
        /// What is wrong.
        why: String,
    },
    /// No configuration.
    #[error(transparent)]
    Setup(#[from] crypto::tls::TlsError),
    /// It took too long.
    #[error("{0} did not answer in time")]
    Late(String),
    /// HTTP.
    #[error("the line broke: {0}")]
    Http(String),
    /// The controller refuses.
    #[error("the controller refuses ({status}): {why}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        why: String,
        /// Seconds after which to try again, where it said so.
        retry_after_s: Option<u64>,
    },
    /// An answer that is none.
    #[error("the controller's answer cannot be read: {0}")]
    Answer(String),
}

/// A connection that is up.
#[derive(Clone, Debug)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

/// A connection, what the other end showed, and its end.
#[derive(Debug)]
pub struct Up {
    /// To ask with.
    pub client: Client,
    /// Certificates that the other end presented; they were verified.
    pub presented: Vec<CertificateDer<'static>>,
    /// Ends with the connection, and says why.
    pub ended: tokio::task::JoinHandle<String>,
}

/// The two halves of `HOST:PORT`.
pub fn host_port(address: &str) -> Result<(&str, u16), LineError> {
    let wrong = || LineError::Address(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner {
        Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => Ok((inner, port)),
        None if !host.is_empty() && !host.contains(':') => Ok((host, port)),
        _ => Err(wrong()),
    }
}

/// Dials.
pub async fn connect(
    address: &str,
    tls: Arc<rustls::ClientConfig>,
    pings: Pings,
) -> Result<Up, LineError> {
    let up = tokio::time::timeout(CONNECT, dial(address, tls, pings)).await;
    up.map_err(|_| LineError::Late(address.to_owned()))?
}

async fn dial(
    address: &str,
    tls: Arc<rustls::ClientConfig>,
    pings: Pings,
) -> Result<Up, LineError> {
    let (host, port) = host_port(address)?;
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| LineError::Address(address.to_owned()))?;
    let to = address.to_owned();
    let tcp = TcpStream::connect((host, port)).await;
    let tcp = tcp.map_err(|source| LineError::Connect { to: to.clone(), source })?;
    let _ = tcp.set_nodelay(true); // Slower without it, and that is all.
    let tls =
        TlsConnector::from(tls).connect(name, tcp).await.map_err(|error| tls_error(&to, &error))?;
    let (_, session) = tls.get_ref();
    if session.alpn_protocol() != Some(b"h2") {
        let why = "it does not speak HTTP/2".to_owned();
        return Err(LineError::Tls { to, why });
    }
    let presented = session.peer_certificates().unwrap_or_default();
    let presented = presented.iter().map(|c| c.clone().into_owned()).collect();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(pings.every)
        .keep_alive_timeout(pings.patience)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    let made = builder.handshake(TokioIo::new(tls)).await;
    let (sender, connection) = made.map_err(|error| LineError::Http(said(&error)))?;
    let ended = tokio::spawn(async move {
        match connection.await {
            Ok(()) => "the controller ended it".to_owned(),
            Err(error) => said(&error),
        }
    });
    Ok(Up { client: Client { sender, authority: to }, presented, ended })
}

fn tls_error(to: &str, error: &std::io::Error) -> LineError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner.and_then(WrongTime::of) {
        Some(time) => LineError::Time(time),
        None => LineError::Tls { to: to.to_owned(), why: error.to_string() },
    }
}

/// An error with what is behind it.
fn said(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

impl Client {
    /// Posts, and reads the answer whole.
    pub async fn post(
        &mut self,
        path: &str,
        kind: &'static str,
        body: Vec<u8>,
    ) -> Result<Bytes, LineError> {
        let answer = async {
            let response = self.send(Method::POST, path, kind, body).await?;
            whole(response.into_body()).await
        };
        let answer = tokio::time::timeout(ANSWER, answer).await;
        answer.map_err(|_| LineError::Late("the controller".to_owned()))?
    }

    /// Asks for an answer that has no end.
    pub async fn get(&mut self, path: &str) -> Result<Incoming, LineError> {
        let answer = self.send(Method::GET, path, "", Vec::new());
        let answer = tokio::time::timeout(ANSWER, answer).await;
        let response = answer.map_err(|_| LineError::Late("the controller".to_owned()))??;
        Ok(response.into_body())
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, LineError> {
        let http = |error: hyper::Error| LineError::Http(said(&error));
        let uri = format!("https://{}{path}", self.authority);
        let mut request = Request::builder().method(method).uri(uri);
        if !kind.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| LineError::Http(error.to_string()))?;
        self.sender.ready().await.map_err(http)?;
        let response = self.sender.send_request(request).await.map_err(http)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retry_after_s = response.headers().get(header::RETRY_AFTER);
        let retry_after_s = retry_after_s.and_then(|value| value.to_str().ok()?.parse().ok());
        let body = whole(response.into_body()).await.unwrap_or_default();
        Err(LineError::Refused {
            status: status.as_u16(),
            why: problem(status, &body),
            retry_after_s,
        })
    }
}

async fn whole(body: Incoming) -> Result<Bytes, LineError> {
    let read = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    read.map(http_body_util::Collected::to_bytes)
        .map_err(|error| LineError::Http(error.to_string()))
}

/// What a refusal says for people (RFC 9457).
fn problem(status: StatusCode, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        #[serde(default)]
        title: String,
        #[serde(default)]
        detail: String,
    }
    let plain = || status.canonical_reason().unwrap_or("no reason given").to_owned();
    let text = match serde_json::from_slice(body) {
        Ok(Problem { title, detail }) if !detail.is_empty() && title.is_empty() => detail,
        Ok(Problem { title, detail }) if !detail.is_empty() => format!("{title}: {detail}"),
        Ok(Problem { title, .. }) if !title.is_empty() => title,
        _ => plain(),
    };
    // Text of another machine: shown to people, and nothing else.
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_two_halves() {
        let good = |text: &str, host: &str, port: u16| {
            assert_eq!(host_port(text).unwrap(), (host, port), "{text}");
        };
        good("hq.example:8443", "hq.example", 8443);
        good("192.0.2.1:1", "192.0.2.1", 1);
        good("[2001:db8::1]:443", "2001:db8::1", 443);
        for wrong in ["", "hq.example", ":443", "hq:", "hq:70000", "2001:db8::1:443", "[hq]:443"] {
            assert!(host_port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_refusal_is_read_as_text() {
        let told = |body: &str| problem(StatusCode::FORBIDDEN, body.as_bytes());
        assert_eq!(told(r#"{"title":"no","detail":"revoked\u001b[31m"}"#), "no: revoked[31m");
        assert_eq!(told("<html>"), "Forbidden");
    }
}
