//! One request over plain HTTP, with a bound on its time and its answer: to witnesses, and for tiles that a web server has.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use journal::quorum::Answer;
use journal::tile::{TilePath, TileSource};
use tokio::net::TcpStream;

/// Longest answer that is read, in bytes: a checkpoint or 64 signature lines are shorter.
const ANSWER_BYTES_MAX: usize = 512 * 1024;

/// Sends a request and waits for its answer.
pub trait Wire: Send + Sync {
    /// A POST; `Err` says why there is no answer.
    fn post(&self, url: &str, body: String) -> Result<Answer, String>;
}

/// Plain HTTP/1.1, one connection a request. Redirects are not followed.
#[derive(Clone, Copy, Debug)]
pub struct Http {
    timeout: Duration,
}

impl Http {
    /// Gives up after `timeout`, from the look-up of the name to the last byte.
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout }
    }

    /// A GET; `Err` says why there is no answer.
    pub fn get(&self, url: &str) -> Result<Answer, String> {
        self.exchange(Method::GET, url, String::new())
    }

    fn exchange(&self, method: Method, url: &str, body: String) -> Result<Answer, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| e.to_string())?;
        let limit = self.timeout;
        let answer = runtime.block_on(async {
            tokio::time::timeout(limit, exchange(method, url, body))
                .await
                .unwrap_or_else(|_| Err(format!("no answer within {:.1} s", limit.as_secs_f32())))
        });
        // A name that is still looked up is not waited for.
        runtime.shutdown_background();
        answer
    }
}

impl Wire for Http {
    fn post(&self, url: &str, body: String) -> Result<Answer, String> {
        self.exchange(Method::POST, url, body)
    }
}

async fn exchange(method: Method, url: &str, body: String) -> Result<Answer, String> {
    let uri: Uri = url.parse().map_err(|e| format!("`{url}` is no address: {e}"))?;
    if uri.scheme_str() != Some("http") {
        return Err(format!("`{url}` does not begin with http://; TLS ends in front of it"));
    }
    let authority = uri.authority().ok_or_else(|| format!("`{url}` names no host"))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = authority.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await.map_err(|e| e.to_string())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = HeaderValue::from_str(authority.as_str()).map_err(|e| e.to_string())?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host)
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| e.to_string())?;
    let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let (head, body) = answer.into_parts();
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.map(str::to_owned);
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|e| e.to_string())?;
    connection.abort();
    Ok(Answer { status: head.status.as_u16(), kind, body: body.to_bytes().to_vec() })
}

/// A log that a web server has (C2SP tlog-tiles): checkpoint and tiles below a prefix.
#[derive(Clone, Debug)]
pub struct WebTiles {
    http: Http,
    prefix: String,
}

impl WebTiles {
    /// The log at a prefix such as `http://example.com/journal`.
    pub fn new(http: Http, prefix: &str) -> Self {
        Self { http, prefix: prefix.trim_end_matches('/').to_owned() }
    }

    /// Its checkpoint; `None` when there is none.
    pub fn checkpoint(&self) -> Result<Option<Vec<u8>>, String> {
        self.read("checkpoint")
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let url = format!("{}/{path}", self.prefix);
        let answer = self.http.get(&url).map_err(|e| format!("{url}: {e}"))?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 | 410 => Ok(None),
            status => Err(format!("{url}: the server answers with {status}")),
        }
    }
}

impl TileSource for WebTiles {
    type Error = String;

    fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, String> {
        self.read(&path.to_string())
    }
}
