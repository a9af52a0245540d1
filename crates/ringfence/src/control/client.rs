//! The other end of the line: one request after another over TLS, blocking, with a bound on time and size.
//!
//! HTTP/1.1 with hyper, on a runtime of the calling thread. A connection is kept for the next request; one that the other end
//! closed meanwhile is opened again. What changes something is sent again only under a key that makes it one request.

use std::sync::Arc;
use std::time::Duration;

use crypto::tls::rustls::ClientConfig;
use crypto::tls::rustls::pki_types::ServerName;
use crypto::tls::{self, SystemClock, WrongTime};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HeaderName;
use hyper::http;
use hyper::{Method, Request, Response, Uri, header};
use hyper_util::rt::TokioIo;
use pki::Certificate;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::context::Context;
use super::fault::Fault;

/// How long it may take until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take: a policy folder of a large estate is checked whole.
const ANSWER: Duration = Duration::from_secs(300);
/// Bytes of an answer.
const BODY_BYTES_MAX: usize = 256 << 20;
/// Header of a request that is done once, however often it is sent.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Header that names what a second person has approved.
pub(crate) const APPROVAL: HeaderName = HeaderName::from_static("ringfence-approval");
/// Things asked for at once.
const PAGE: usize = 1_000;

/// An answer that is no problem.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    /// The clock of the other end, as HTTP says it.
    pub(crate) date: Option<String>,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The document in it.
    pub(crate) fn json(&self) -> Result<Value, Fault> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            Fault::new("answer", "the answer is no JSON", error, "is this a Ringfence controller?")
        })
    }
}

/// A controller that can be asked.
pub(crate) struct Client {
    runtime: Runtime,
    place: Place,
    config: Arc<ClientConfig>,
    bearer: Option<String>,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Where it is.
#[derive(Clone, Debug)]
struct Place {
    server: String,
    host: String,
    port: u16,
    name: ServerName<'static>,
}

impl Place {
    fn of(server: &str) -> Result<Self, Fault> {
        let wrong = |why: &str| Fault::usage(format!("the server `{server}`"), why);
        let uri: Uri = server.parse().map_err(|_| wrong("write https://HOST:8443"))?;
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| wrong("it is neither a host name nor an address"))?;
        let port = uri.port_u16().unwrap_or(8443);
        Ok(Self { server: server.to_owned(), host: host.to_owned(), port, name })
    }
}

impl Client {
    /// The controller of a context.
    pub(crate) fn new(context: &Context) -> Result<Self, Fault> {
        let root = Certificate::read_all(context.root.as_bytes());
        let root = root.map_err(|error| {
            Fault::new("root", "the context's root certificate", error, "log in again with --ca")
        })?;
        let config = tls::client(root, None, Arc::new(SystemClock)).map_err(unusable)?;
        Self::with(&context.server, &config, context.credential.clone())
    }

    /// A controller of which only the SHA-256 of its root is known; the second is that root.
    pub(crate) fn first_contact(
        server: &str,
        root_sha256: [u8; 32],
    ) -> Result<(Self, Certificate), Fault> {
        let config = tls::client_pinned(root_sha256, Arc::new(SystemClock)).map_err(unusable)?;
        let mut client = Self::with(server, &config, None)?;
        let place = client.place.clone();
        let (open, shown) = client.runtime.block_on(connect(&place, &client.config))?;
        client.open = Some(open);
        let root = shown.iter().find(|der| crypto::sha256(der) == root_sha256);
        let root = root.and_then(|der| Certificate::from_der(der).ok()).ok_or_else(|| {
            let why = "the server does not show the root that --ca-sha256 names";
            Fault::new("root", server, why, "give the root certificate with --ca FILE")
        })?;
        Ok((client, root))
    }

    fn with(
        server: &str,
        config: &Arc<ClientConfig>,
        bearer: Option<String>,
    ) -> Result<Self, Fault> {
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Fault::new("runtime", "this process", error, ""))?;
        let place = Place::of(server)?;
        Ok(Self { runtime, place, config: Arc::new(config), bearer, open: None })
    }

    /// From now on as whom.
    pub(crate) fn speak_as(&mut self, credential: &str) {
        self.bearer = Some(credential.to_owned());
    }

    /// Opens a connection and tells what the other end shows of itself: its certificate first.
    pub(crate) fn reach(&mut self) -> Result<Vec<Certificate>, Fault> {
        let place = self.place.clone();
        let (open, shown) = self.runtime.block_on(connect(&place, &self.config))?;
        self.open = Some(open);
        Ok(shown.iter().filter_map(|der| Certificate::from_der(der).ok()).collect())
    }

    /// One thing.
    pub(crate) fn get(&mut self, path: &str) -> Result<Value, Fault> {
        self.ask(&Method::GET, path, None, &[])?.json()
    }

    /// Creates or commands something.
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Result<Value, Fault> {
        self.ask(&Method::POST, path, Some(body), &[])?.json()
    }

    /// All of a list, in pages; `each` says whether to go on. On a terminal it is told how far it is.
    pub(crate) fn list(
        &mut self,
        path: &str,
        query: &[(&str, String)],
        each: &mut dyn FnMut(Value) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        let mut bar = None;
        let mut page = None;
        let mut seen: u64 = 0;
        loop {
            let mut query = query.to_vec();
            query.push(("limit", PAGE.to_string()));
            query.extend(page.take().map(|page| ("page", page)));
            let mut answer = self.get(&with_query(path, &query))?;
            let Some(Value::Array(items)) = answer.get_mut("items").map(Value::take) else {
                return Err(Fault::new("answer", "the answer is no list", path, ""));
            };
            for item in items {
                seen = seen.saturating_add(1);
                if !each(item)? {
                    return Ok(());
                }
            }
            let Some(next) = answer.get("next").and_then(Value::as_str) else {
                return Ok(());
            };
            page = Some(next.to_owned());
            bar.get_or_insert_with(super::progress::counter).set_position(seen);
        }
    }

    /// Sends a request and waits for its answer; a problem is a fault.
    pub(crate) fn ask(
        &mut self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(HeaderName, &str)],
    ) -> Result<Answer, Fault> {
        let bytes = body.map(|value| Bytes::from(value.to_string())).unwrap_or_default();
        self.send_bytes(method, path, &bytes, headers)
    }

    /// The same with a body of any kind, which a header names.
    pub(crate) fn send_bytes(
        &mut self,
        method: &Method,
        path: &str,
        bytes: &Bytes,
        headers: &[(HeaderName, &str)],
    ) -> Result<Answer, Fault> {
        let Self { runtime, place, config, bearer, open } = self;
        runtime.block_on(async {
            let mut kept = open.take();
            // One that was closed meanwhile is not used again.
            if let Some(sender) = &mut kept
                && sender.ready().await.is_err()
            {
                kept = None;
            }
            let again = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => connect(place, config).await?.0,
            };
            let key = once(method, bearer.as_deref())?;
            let make = || {
                let key = key.as_deref().map(|key| (KEY, key));
                let headers = headers.iter().cloned().chain(key);
                request(place, method, path, bearer.as_deref(), bytes, headers)
            };
            let mut sent = send(&mut sender, make()?).await;
            let twice = *method == Method::GET || key.is_some();
            let lost = match &sent {
                Err(Lost::Unsent) => true,
                Err(Lost::NoAnswer(_)) => twice,
                Err(Lost::Late) | Ok(_) => false,
            };
            if lost && again {
                sender = connect(place, config).await?.0;
                sent = send(&mut sender, make()?).await;
            }
            let response = sent.map_err(|lost| lost.fault(place, method))?;
            let status = response.status();
            let text = |name| {
                let value = response.headers().get(name);
                value.and_then(|value| value.to_str().ok()).map(str::to_owned)
            };
            let (etag, date) = (text(header::ETAG), text(header::DATE));
            let body = timeout(ANSWER, Limited::new(response, BODY_BYTES_MAX).collect()).await;
            let body = match body {
                Ok(Ok(body)) => body.to_bytes(),
                Ok(Err(error)) => {
                    return Err(Lost::NoAnswer(error.to_string()).fault(place, method));
                }
                Err(_) => return Err(late(place)),
            };
            *open = Some(sender);
            match status.is_success() {
                true => Ok(Answer { status: status.as_u16(), etag, date, body }),
                false => Err(Fault::problem(status.as_u16(), &body)),
            }
        })
    }

    /// A stream that goes on, on a connection of its own.
    pub(crate) fn stream(&mut self, path: &str) -> Result<Incoming, Fault> {
        let Self { runtime, place, config, bearer, .. } = self;
        runtime.block_on(async {
            let (mut sender, _) = connect(place, config).await?;
            let request = request(
                place,
                &Method::GET,
                path,
                bearer.as_deref(),
                &Bytes::new(),
                std::iter::empty(),
            )?;
            let response = send(&mut sender, request).await;
            let response = response.map_err(|lost| lost.fault(place, &Method::GET))?;
            let status = response.status();
            if status.is_success() {
                // The connection lives as long as the body is read.
                return Ok(response.into_body());
            }
            let body = timeout(ANSWER, Limited::new(response, BODY_BYTES_MAX).collect()).await;
            let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes());
            Err(Fault::problem(status.as_u16(), &body.unwrap_or_default()))
        })
    }

    /// More of a stream within a time. `Ok(None)`: nothing came; no bytes: it ended.
    pub(crate) fn more(
        &self,
        stream: &mut Incoming,
        wait: Duration,
    ) -> Result<Option<Bytes>, Fault> {
        self.runtime.block_on(async {
            match timeout(wait, stream.frame()).await {
                Err(_) => Ok(None),
                Ok(None | Some(Err(_))) => Ok(Some(Bytes::new())),
                Ok(Some(Ok(frame))) => Ok(frame.into_data().ok().filter(|data| !data.is_empty())),
            }
        })
    }

    /// Waits, while kept connections go on.
    pub(crate) fn pause(&self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }
}

/// `/v1/devices/{id}`: an id as one segment of a path (RFC 3986 §2.1).
pub(crate) fn segment(id: &str) -> String {
    let mut text = String::new();
    for byte in id.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    // Alone they would mean another path.
    match text.as_str() {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => text,
    }
}

/// A path with a query.
pub(crate) fn with_query(path: &str, query: &[(&str, String)]) -> String {
    let parts: Vec<String> =
        query.iter().map(|(name, value)| format!("{name}={}", segment(value))).collect();
    match parts.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", parts.join("&")),
    }
}

fn unusable(error: tls::TlsError) -> Fault {
    Fault::new("root", "the root certificate", error, "log in again with --ca")
}

async fn connect(
    place: &Place,
    config: &Arc<ClientConfig>,
) -> Result<(SendRequest<Full<Bytes>>, Vec<Vec<u8>>), Fault> {
    let unreachable = |why: String| {
        let help = "is the controller running, and is this its address? `ringfence doctor` looks";
        Fault::new("unreachable", place.server.clone(), why, help)
    };
    let to = (place.host.as_str(), place.port);
    let stream = match timeout(CONNECT, TcpStream::connect(to)).await {
        Ok(stream) => stream.map_err(|error| unreachable(error.to_string()))?,
        Err(_) => return Err(unreachable(format!("no answer in {} s", CONNECT.as_secs()))),
    };
    // Small requests are not held back to fill a packet.
    let _ = stream.set_nodelay(true);
    let shake = TlsConnector::from(Arc::clone(config)).connect(place.name.clone(), stream);
    let stream = match timeout(CONNECT, shake).await {
        Ok(stream) => stream.map_err(|error| not_trusted(place, &error))?,
        Err(_) => return Err(unreachable("it does not speak TLS".to_owned())),
    };
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let shown = shown.iter().map(|der| der.to_vec()).collect();
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = opened.map_err(|error| unreachable(error.to_string()))?;
    tokio::spawn(async move {
        // How it ends is told by the request that was under way.
        let _ = connection.await;
    });
    Ok((sender, shown))
}

/// A handshake that failed.
fn not_trusted(place: &Place, error: &std::io::Error) -> Fault {
    let of_tls = error.get_ref().and_then(|e| e.downcast_ref::<tls::rustls::Error>());
    match of_tls {
        Some(error) => match WrongTime::of(error) {
            Some(time) => {
                Fault::new("tls_time", place.server.clone(), time, "set this machine's clock")
            }
            None => {
                let help = "this is another estate's controller, or something between here and it; \
                            after a new root log in again with --ca";
                let why = format!("its identity is not the one that is known: {error}");
                Fault::new("tls", place.server.clone(), why, help)
            }
        },
        None => {
            let help = "does the address lead to the controller's API (TLS, port 8443)?";
            Fault::new("tls", place.server.clone(), format!("no TLS is spoken: {error}"), help)
        }
    }
}

/// A name for one thing that is wanted done, so that it can be asked for again when its answer was lost.
fn once(method: &Method, bearer: Option<&str>) -> Result<Option<String>, Fault> {
    // Who is nobody is remembered by nobody.
    if *method != Method::POST || bearer.is_none() {
        return Ok(None);
    }
    let mut bytes = [0; 16];
    let random = crypto::random(&mut bytes);
    random.map_err(|error| Fault::new("random", "this machine", error, ""))?;
    Ok(Some(super::session::hex(&bytes)))
}

fn request<'a>(
    place: &Place,
    method: &Method,
    path: &str,
    bearer: Option<&str>,
    body: &Bytes,
    headers: impl Iterator<Item = (HeaderName, &'a str)>,
) -> Result<Request<Full<Bytes>>, Fault> {
    let host = place.server.trim_start_matches("https://");
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("ringfence/", env!("CARGO_PKG_VERSION")));
    if let Some(bearer) = bearer {
        let mut value = header::HeaderValue::from_str(&format!("Bearer {bearer}"))
            .map_err(|_| Fault::usage("the credential", "it is no token: log in again"))?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let has = |request: &http::request::Builder, name| {
        request.headers_ref().is_some_and(|headers| headers.contains_key(name))
    };
    if !has(&request, header::ACCEPT) {
        request = request.header(header::ACCEPT, "application/json, */*");
    }
    if !body.is_empty() && !has(&request, header::CONTENT_TYPE) {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let made = request.body(Full::new(body.clone()));
    made.map_err(|error| Fault::usage(format!("the request for {path}"), error))
}

/// A request without an answer.
enum Lost {
    /// It never left.
    Unsent,
    /// It may have been done.
    NoAnswer(String),
    Late,
}

impl Lost {
    fn fault(self, place: &Place, method: &Method) -> Fault {
        let server = place.server.clone();
        let done = match *method {
            Method::GET => "try again",
            _ => "it may have been done: look before you try again",
        };
        match self {
            Self::Unsent => Fault::new("lost", server, "the connection was closed", "try again"),
            Self::NoAnswer(why) => {
                Fault::new("lost", server, format!("no whole answer came: {why}"), done)
            }
            Self::Late => late(place),
        }
    }
}

fn late(place: &Place) -> Fault {
    let why = format!("no answer in {} s", ANSWER.as_secs());
    Fault::new("late", place.server.clone(), why, "look whether it was done, then try again")
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Lost> {
    match timeout(ANSWER, sender.send_request(request)).await {
        Err(_) => Err(Lost::Late),
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) if error.is_canceled() => Err(Lost::Unsent),
        Ok(Err(error)) => Err(Lost::NoAnswer(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write as _};
    use std::thread::JoinHandle;

    use controller::authority::Authority;
    use controller::state::StateFolder;

    use super::*;

    #[test]
    fn ids_are_one_segment() {
        assert_eq!(segment("cam-7_a.b~C"), "cam-7_a.b~C");
        assert_eq!(segment("Halle/7#a b"), "Halle%2F7%23a%20b");
        assert_eq!([segment("."), segment(".."), segment("ü")], ["%2E", "%2E%2E", "%C3%BC"]);
        let query = [("l", "type=plc,!owner".to_owned()), ("limit", "1".to_owned())];
        assert_eq!(
            with_query("/v1/devices", &query),
            "/v1/devices?l=type%3Dplc%2C%21owner&limit=1"
        );
    }

    /// A server that answers as it is told: connection by connection, request by request; `None`: it hangs up instead.
    fn serve(
        name: &str,
        script: Vec<Vec<Option<&'static str>>>,
    ) -> (Client, JoinHandle<Vec<String>>) {
        let at = std::env::temp_dir().join(format!("rf-client-{name}-{}", std::process::id()));
        let folder = StateFolder::open(&at).unwrap();
        let now = crate::folder::now();
        let authority = Authority::open(&folder, "acme.example", now).unwrap();
        let shown = authority.server(&["127.0.0.1".to_owned()], now).unwrap();
        let config = tls::server(&shown, tls::Clients::Anonymous, Arc::new(SystemClock)).unwrap();
        std::fs::remove_dir_all(at).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("https://{}", listener.local_addr().unwrap());
        let root = super::super::context::pem(authority.root()).unwrap();
        let credential = Some("rft_x".to_owned());
        let client =
            Client::new(&Context { server, root, credential, ..Context::default() }).unwrap();
        let serving = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for answers in script {
                let (stream, _) = listener.accept().unwrap();
                let tls = tls::rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = tls::rustls::StreamOwned::new(tls, stream);
                for answer in answers {
                    asked.push(head(&mut stream));
                    let Some(answer) = answer else { break };
                    let length = answer.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{answer}");
                    stream.write_all(answer.as_bytes()).unwrap();
                    stream.flush().unwrap();
                }
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
            asked
        });
        (client, serving)
    }

    /// The head of a request; its body is read too.
    fn head(stream: &mut impl Read) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            bytes.push(byte[0]);
        }
        let head = String::from_utf8(bytes).unwrap().to_lowercase();
        let length =
            head.split("content-length: ").nth(1).and_then(|t| t.lines().next()?.parse().ok());
        stream.read_exact(&mut vec![0; length.unwrap_or(0)]).unwrap();
        head
    }

    fn key(head: &str) -> &str {
        head.split("idempotency-key: ").nth(1).unwrap().lines().next().unwrap()
    }

    #[test]
    fn a_connection_that_was_closed_meanwhile_is_opened_again() {
        let (mut client, serving) =
            serve("closed", vec![vec![Some("{}")], vec![Some("[1]"), Some("2")]]);
        assert_eq!(client.get("/a").unwrap(), serde_json::json!({}));
        assert_eq!(client.get("/b").unwrap(), serde_json::json!([1]));
        assert_eq!(client.get("/c").unwrap(), serde_json::json!(2));
        assert_eq!(serving.join().unwrap().len(), 3);
    }

    #[test]
    fn a_command_whose_answer_was_lost_is_sent_again_under_the_same_key() {
        let (mut client, serving) =
            serve("lost", vec![vec![Some("{}"), None], vec![Some("7"), Some("8")]]);
        client.get("/a").unwrap();
        let body = serde_json::json!({ "why": "x" });
        assert_eq!(client.post("/do", &body).unwrap(), serde_json::json!(7));
        assert_eq!(client.post("/do", &body).unwrap(), serde_json::json!(8));
        let asked = serving.join().unwrap();
        assert_eq!(asked.len(), 4);
        assert_eq!(key(&asked[1]), key(&asked[2]));
        assert_ne!(key(&asked[2]), key(&asked[3]));
        assert!(asked.iter().all(|head| head.contains("authorization: bearer rft_x")));
    }

    #[test]
    fn a_change_without_a_key_is_not_sent_twice() {
        let (mut client, serving) = serve("once", vec![vec![Some("{}"), None]]);
        client.get("/a").unwrap();
        let body = serde_json::json!({ "why": "x" });
        let lost = client.ask(&Method::PATCH, "/thing", Some(&body), &[]).unwrap_err();
        assert!(lost.todo().contains("it may have been done"), "{lost}: {}", lost.todo());
        assert_eq!(serving.join().unwrap().len(), 2);
    }
}
