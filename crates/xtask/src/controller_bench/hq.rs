//! A controller as its own process, connections to it, and what its processor time was.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crypto::tls::rustls::ClientConfig;
use crypto::tls::{self, SystemClock};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use pki::Certificate;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{NAME, stop};
use crate::Stop;

/// Clock ticks of a second in `/proc` (`sysconf(_SC_CLK_TCK)`, 100 on every Linux that Rust runs on).
const TICKS: f64 = 100.0;
const JSON: &str = "application/json";
const LOGIN: &str = "anna";
const PASSWORD: &str = "correct horse battery";
const ROLES: [&str; 5] = ["viewer", "operator", "policy-admin", "security-admin", "admin"];

/// A process that serves, until this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) at: SocketAddr,
}

impl Server {
    /// Starts a program; a line of its output that begins with `mark` has the address.
    pub(crate) fn start(command: Command, mark: &str) -> Result<Self, Stop> {
        Ok(Self::start_with(command, mark, mark)?.0)
    }

    /// The same; the line that begins with `last` has another address.
    pub(crate) fn start_with(
        mut command: Command,
        mark: &str,
        last: &str,
    ) -> Result<(Self, Option<SocketAddr>), Stop> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().map_err(|e| Stop(format!("{command:?}: {e}")))?;
        let mut server = Self { child, at: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let out = server.child.stdout.take();
        let out = out.ok_or_else(|| Stop(format!("{command:?} has no output")))?;
        for line in BufReader::new(out).lines() {
            let line = line.map_err(stop)?;
            let line = line.trim_start();
            if line.starts_with(mark) {
                server.at = address(line)?;
            }
            if line.starts_with(last) {
                let other = address(line)?;
                return Ok((server, Some(other)));
            }
        }
        Err(Stop(format!("{command:?} ended before it served")))
    }

    /// Megabytes that it holds in memory.
    pub(crate) fn resident_mb(&self) -> Result<f64, Stop> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).map_err(stop)?;
        let kilobytes = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes =
            kilobytes.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kilobytes.ok_or_else(|| Stop("no memory is told of".to_owned()))? * 1_024.0 / 1e6)
    }

    /// Seconds of processor time so far, of user and system.
    pub(crate) fn cpu_secs(&self) -> Result<f64, Stop> {
        let path = format!("/proc/{}/stat", self.child.id());
        let text = std::fs::read_to_string(path).map_err(stop)?;
        // The name, in parentheses, may have blanks; what is looked for are fields 14 and 15 (proc_pid_stat(5)).
        let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
        let ticks: Vec<u32> = ticks.collect::<Result<_, _>>().map_err(stop)?;
        Ok(ticks.into_iter().map(f64::from).sum::<f64>() / TICKS)
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn end(mut self) -> Result<(), Stop> {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().map_err(stop)?;
        if !asked.success() {
            return Err(Stop("the server cannot be ended".to_owned()));
        }
        self.child.wait().map_err(stop)?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in a line.
fn address(line: &str) -> Result<SocketAddr, Stop> {
    let word = line.split_whitespace().find_map(|word| word.split_once("://"));
    let address = word.map(|(_, address)| address.split('/').next().unwrap_or(address));
    let address = address.and_then(|address| address.parse().ok());
    address.ok_or_else(|| Stop(format!("no address: {line}")))
}

/// A controller, and its first operator.
pub(crate) struct Hq {
    pub(crate) server: Server,
    pub(crate) here: PathBuf,
    tls: Arc<ClientConfig>,
    connection: Connection,
    token: String,
    est: Option<SocketAddr>,
}

impl Hq {
    /// Starts one on an empty folder.
    pub(crate) async fn new(here: &Path) -> Result<Self, Stop> {
        let _ = std::fs::remove_dir_all(here);
        std::fs::create_dir_all(here).map_err(stop)?;
        Self::over(here).await
    }

    /// Starts one that nobody has ever logged in to, on what is in its state folder already.
    pub(crate) async fn over(here: &Path) -> Result<Self, Stop> {
        let mut hq = Self::start(here).await?;
        let secret = std::fs::read_to_string(here.join("hq/setup-token")).map_err(stop)?;
        let first = json!({ "secret": secret.trim(), "login": LOGIN, "name": "Anna", "password": PASSWORD });
        let begun = hq.must("POST", "/v1/setup", Some(&first)).await?;
        hq.token = text(&begun, "token")?;
        Ok(hq)
    }

    /// Ends it as people do, and starts it again: its service levels begin anew, and it starts from its snapshot. With the seconds of the start.
    pub(crate) async fn again(self) -> Result<(Self, f64), Stop> {
        let Self { server, here, .. } = self;
        server.end()?;
        let begin = super::now();
        let mut hq = Self::start(&here).await?;
        let secs = begin.elapsed().as_secs_f64();
        let known = json!({ "login": LOGIN, "password": PASSWORD });
        hq.token = text(&hq.must("POST", "/v1/login", Some(&known)).await?, "token")?;
        Ok((hq, secs))
    }

    async fn start(here: &Path) -> Result<Self, Stop> {
        let mut command = Command::new(crate::ringfence()?);
        command.args(["controller", "run", "--state", "hq", "--name", NAME]);
        command.args(["--listen", "127.0.0.1:0", "--line-listen", "127.0.0.1:0"]);
        command.args(["--est-listen", "127.0.0.1:0"]);
        command.current_dir(here);
        let (server, est) = Server::start_with(command, "API", "devices")?;
        let tls = trust(here)?;
        let connection = Connection::open(server.at, &tls).await?;
        Ok(Self { server, here: here.to_owned(), tls, connection, token: String::new(), est })
    }

    /// Where devices enrol.
    pub(crate) fn est(&self) -> Result<SocketAddr, Stop> {
        self.est.ok_or_else(|| Stop("the controller lets no devices in".to_owned()))
    }

    /// One more connection.
    pub(crate) async fn connect(&self) -> Result<Connection, Stop> {
        Connection::open(self.server.at, &self.tls).await
    }

    /// Asks what has to work, as the first operator.
    pub(crate) async fn must(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Stop> {
        let request = request(method, path, &self.token, body)?;
        self.answered(request).await
    }

    /// The same for what takes a second person: somebody else looks at it and says yes.
    pub(crate) async fn must_by_two(
        &mut self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<Value, Stop> {
        // Who was not there when it was asked may not say yes.
        let bob = self.somebody_else().await?;
        let id = text(&self.must(method, path, Some(body)).await?, "id")?;
        let yes = json!({ "approve": true, "why": "a bench" });
        self.answered(request("POST", &format!("/v1/approvals/{id}"), &bob, Some(&yes))?).await?;
        let mut request = request(method, path, &self.token, Some(body))?;
        request.headers_mut().insert("ringfence-approval", id.parse().map_err(stop)?);
        self.answered(request).await
    }

    /// A session of a second operator, whose password is its own.
    async fn somebody_else(&mut self) -> Result<String, Stop> {
        let (given, own) = ("correct horse saddle", "correct horse bridle");
        let bob = json!({ "login": "bob", "name": "Bob", "password": given, "roles": ROLES, "why": "a bench" });
        self.must("POST", "/v1/operators", Some(&bob)).await?;
        let login = |password| json!({ "login": "bob", "password": password });
        let first = self.must("POST", "/v1/login", Some(&login(given))).await?;
        let change = json!({ "old": given, "new": own });
        let first = text(&first, "token")?;
        self.answered(request("POST", "/v1/password", &first, Some(&change))?).await?;
        text(&self.must("POST", "/v1/login", Some(&login(own))).await?, "token")
    }

    async fn answered(&mut self, request: Request<Full<Bytes>>) -> Result<Value, Stop> {
        let what = format!("{} {}", request.method(), request.uri());
        // A connection that is silent for long is closed.
        if self.connection.0.is_closed() {
            self.connection = self.connect().await?;
        }
        let (status, answer) = self.connection.ask(request).await?;
        if !(200..300).contains(&status) {
            let answer = String::from_utf8_lossy(&answer);
            return Err(Stop(format!("{what}: {status} {answer}")));
        }
        if answer.is_empty() {
            Ok(Value::Null)
        } else {
            serde_json::from_slice(&answer).map_err(stop)
        }
    }

    /// So many tokens that may do what the first operator may: each has a pace of its own.
    pub(crate) async fn tokens(&mut self, count: usize) -> Result<Vec<String>, Stop> {
        let mut tokens = Vec::new();
        for n in 0..count {
            let label = format!("bench {n}");
            let order = json!({ "label": label, "roles": ROLES, "why": "a bench" });
            tokens.push(text(&self.must("POST", "/v1/tokens", Some(&order)).await?, "token")?);
        }
        Ok(tokens)
    }

    /// A service level: how many measurements, and their 99th percentile in milliseconds.
    pub(crate) async fn level(&mut self, name: &str) -> Result<(u64, f64), Stop> {
        let standing = self.must("GET", "/v1/slo", None).await?;
        let levels = standing["levels"].as_array().cloned().unwrap_or_default();
        let level = levels.iter().find(|level| level["name"] == name);
        let level = level.ok_or_else(|| Stop(format!("there is no level `{name}`")))?;
        let p99_us = level["p99_us"].as_f64().unwrap_or(f64::NAN);
        Ok((level["count"].as_u64().unwrap_or(0), p99_us / 1_000.0))
    }
}

/// Believes in the root of a state folder below `here`, and in nothing else.
pub(crate) fn trust(here: &Path) -> Result<Arc<ClientConfig>, Stop> {
    let root = std::fs::read(here.join("hq/pki/root.pem")).map_err(stop)?;
    let roots = Certificate::read_all(&root).map_err(stop)?;
    let config = tls::client(roots, None, Arc::new(SystemClock)).map_err(stop)?;
    let mut config = ClientConfig::clone(&config);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A connection over TLS that asks one thing after the other (HTTP/1.1).
pub(crate) struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    pub(crate) async fn open(at: SocketAddr, tls: &Arc<ClientConfig>) -> Result<Self, Stop> {
        let stream = TcpStream::connect(at).await.map_err(stop)?;
        stream.set_nodelay(true).map_err(stop)?;
        let name = "localhost".try_into().map_err(stop)?;
        let stream =
            TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.map_err(stop)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(stop)?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Status and body.
    pub(crate) async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(u16, Bytes), Stop> {
        self.0.ready().await.map_err(stop)?;
        let answer = self.0.send_request(request).await.map_err(stop)?;
        let status = answer.status().as_u16();
        Ok((status, answer.into_body().collect().await.map_err(stop)?.to_bytes()))
    }
}

/// A request of a program.
pub(crate) fn request(
    method: &str,
    path: &str,
    token: &str,
    body: Option<&Value>,
) -> Result<Request<Full<Bytes>>, Stop> {
    let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    request_of(method, path, token, JSON, bytes)
}

/// The same, with any body.
pub(crate) fn request_of(
    method: &str,
    path: &str,
    token: &str,
    kind: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Stop> {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    request.body(Full::new(body)).map_err(stop)
}

/// A field of an answer.
pub(crate) fn text(of: &Value, field: &str) -> Result<String, Stop> {
    let found = of[field].as_str().map(str::to_owned);
    found.ok_or_else(|| Stop(format!("the answer has no {field}: {of}")))
}
