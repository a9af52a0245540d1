//! Devices at the door of EST: many certificates, a fleet that comes back at once, one that goes over to another root, and devices that are
//! revoked.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crypto::tls::rustls::ClientConfig;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use pki::Certificate;
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::fleet::{self, Device};
use super::openssl;
use crate::Stop;
use crate::controller_bench::hq::{Hq, Server};
use crate::controller_bench::{CORES, median, now, stop};
use crate::figures::{Bar, Figure};

/// Devices that ask for certificates, and how often each: no more than the controller gives one within an hour.
const ASKING: u32 = 2_000;
const EACH: u32 = 5;
/// Devices that come back.
const STORM: u32 = 100_000;
/// Of whom so many of a hundred renew.
const RENEWING: u32 = 10;
/// Connections that are being opened at one time.
const AT_ONCE: usize = 64;
/// Devices that are connected, and those of them that are revoked.
const CONNECTED: u32 = 2_000;
const REVOKED: u32 = 300;
/// Nothing takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// One device's connection.
struct Line(SendRequest<Full<Bytes>>);

impl Line {
    /// From one of many addresses, as devices have them.
    async fn open(n: u32, at: SocketAddr, tls: Arc<ClientConfig>) -> Result<Self, Stop> {
        let stream = shake(n, at, tls).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(stop)?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    async fn ask(
        &mut self,
        method: &str,
        operation: &str,
        body: String,
    ) -> Result<(u16, Bytes), Stop> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/.well-known/est/{operation}"))
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/pkcs10")
            .body(Full::new(Bytes::from(body)))
            .map_err(stop)?;
        self.0.ready().await.map_err(stop)?;
        let answer = self.0.send_request(request).await.map_err(stop)?;
        let status = answer.status().as_u16();
        Ok((status, answer.into_body().collect().await.map_err(stop)?.to_bytes()))
    }

    /// Asks what has to be answered.
    async fn must(&mut self, method: &str, operation: &str, body: String) -> Result<Bytes, Stop> {
        match self.ask(method, operation, body).await? {
            (200, answer) => Ok(answer),
            (status, _) => Err(Stop(format!("{operation} was answered with {status}"))),
        }
    }
}

async fn shake(
    n: u32,
    at: SocketAddr,
    tls: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, Stop> {
    let [_, _, high, low] = (n % 10_000).to_be_bytes();
    let socket = TcpSocket::new_v4().map_err(stop)?;
    socket.bind((Ipv4Addr::new(127, 1, high, low), 0).into()).map_err(stop)?;
    let stream = socket.connect(at).await.map_err(stop)?;
    stream.set_nodelay(true).map_err(stop)?;
    let name = "localhost".try_into().map_err(stop)?;
    TlsConnector::from(tls).connect(name, stream).await.map_err(stop)
}

/// A controller over a fleet that is prepared, and where it lets devices in.
async fn ready(here: &Path, count: u32) -> Result<(Hq, Vec<Device>, Vec<Certificate>), Stop> {
    let (fleet, anchors) = fleet::prepare(here, count)?;
    let hq = Hq::over(here).await?;
    Ok((hq, fleet, anchors))
}

/// Certificates in a second: each request is read, judged, signed, durable in the journal, and answered.
pub(super) async fn issue(here: PathBuf) -> Result<Vec<Figure>, Stop> {
    let (hq, fleet, anchors) = ready(&here, ASKING).await?;
    let at = hq.est()?;
    let mut lines = Vec::new();
    for (n, device) in (0..).zip(&fleet) {
        let line = Line::open(n, at, device.tls(&anchors)?).await?;
        lines.push((line, device.body()?));
    }
    let mut rounds = Vec::new();
    for _ in 0..EACH {
        rounds.push(round(&hq.server, &mut lines).await?);
    }
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    let per_cpu = CORES * of(|round| round.count / round.cpu_secs.max(0.01));
    let speed = openssl();
    // One verification of the request and one signature of the certificate are the least that it takes.
    let least = speed.map(|(sign, verify)| CORES / (1.0 / sign + 1.0 / verify));
    Ok(vec![
        Figure::new(
            "request in, durable certificate out, on two cores, beside openssl's P-256 alone",
            per_cpu,
            "certs/s",
        )
        .beside(least)
        .bar(Bar::AtLeast(5_000.0)),
        Figure::new(
            "the same, 2,000 devices on the same cores",
            of(|r| r.count / r.secs),
            "certs/s",
        ),
        Figure::new("until it is durable and answered, p99", of(|r| r.p99_ms), "ms"),
    ])
}

struct Round {
    count: f64,
    secs: f64,
    cpu_secs: f64,
    p99_ms: f64,
}

/// Every device asks once.
async fn round(server: &Server, lines: &mut Vec<(Line, String)>) -> Result<Round, Stop> {
    let before = server.cpu_secs()?;
    let begin = now();
    let mut asking = JoinSet::new();
    for (mut line, body) in lines.drain(..) {
        asking.spawn(async move {
            let begin = now();
            line.must("POST", "simplereenroll", body.clone()).await?;
            Ok::<_, Stop>((line, body, begin.elapsed()))
        });
    }
    let mut took = Vec::new();
    while let Some(done) = asking.join_next().await {
        let (line, body, time) = done.map_err(stop)??;
        lines.push((line, body));
        took.push(time);
    }
    let (secs, cpu_secs) = (begin.elapsed().as_secs_f64(), server.cpu_secs()? - before);
    let count = f64::from(u32::try_from(took.len()).unwrap_or(u32::MAX));
    Ok(Round { count, secs, cpu_secs, p99_ms: p99_ms(took) })
}

fn p99_ms(mut took: Vec<Duration>) -> f64 {
    took.sort_unstable();
    let at = took.len().saturating_sub(1) * 99 / 100;
    took.get(at).map_or(f64::NAN, |took| took.as_secs_f64() * 1_000.0)
}

/// What every device of a fleet did.
struct All {
    secs: f64,
    cpu_secs: f64,
    took: Vec<Duration>,
}

/// Every device does something, so many at a time; nobody may fail.
async fn every<F>(
    server: &Server,
    fleet: &[Device],
    mut act: impl FnMut(u32, &Device) -> Result<F, Stop>,
) -> Result<All, Stop>
where
    F: Future<Output = Result<(), Stop>> + Send + 'static,
{
    let before = server.cpu_secs()?;
    let begin = now();
    let (mut acting, mut took) = (JoinSet::new(), Vec::new());
    for (n, device) in (0..).zip(fleet) {
        let one = act(n, device)?;
        if acting.len() >= AT_ONCE
            && let Some(done) = acting.join_next().await
        {
            took.push(done.map_err(stop)??);
        }
        acting.spawn(async move {
            let begin = now();
            one.await.map_err(|Stop(why)| Stop(format!("device {n}: {why}")))?;
            Ok::<_, Stop>(begin.elapsed())
        });
    }
    while let Some(done) = acting.join_next().await {
        took.push(done.map_err(stop)??);
    }
    let (secs, cpu_secs) = (begin.elapsed().as_secs_f64(), server.cpu_secs()? - before);
    match took.len() == fleet.len() {
        true => Ok(All { secs, cpu_secs, took }),
        false => Err(Stop(format!("{} of {} devices were served", took.len(), fleet.len()))),
    }
}

/// All devices come back at once: each shakes hands anew, and some renew.
pub(super) async fn storm(here: PathBuf) -> Result<Vec<Figure>, Stop> {
    let (hq, fleet, anchors) = ready(&here, STORM).await?;
    let at = hq.est()?;
    let mut renewed = 0_u32;
    let all = every(&hq.server, &fleet, |n, device| {
        let tls = device.tls(&anchors)?;
        let body = (n % 100 < RENEWING).then(|| device.body()).transpose()?;
        renewed += u32::from(body.is_some());
        Ok(async move {
            let mut line = Line::open(n, at, tls).await?;
            match body {
                Some(body) => line.must("POST", "simplereenroll", body).await.map(drop),
                None => line.must("GET", "csrattrs", String::new()).await.map(drop),
            }
        })
    });
    let all = all.await?;
    // A handshake takes a signature and checks two, those of the device's certificate and of the handshake; a renewal signs one certificate and checks one request.
    let least = openssl().map(|(sign, verify)| {
        let (come, renew) = (f64::from(STORM), f64::from(renewed));
        (come + renew) / sign + (2.0 * come + renew) / verify
    });
    Ok(vec![
        Figure::new("100,000 devices come back, TLS 1.3 with certificates on both sides, a tenth renews: processor time, beside openssl's P-256 alone", all.cpu_secs, "s")
            .beside(least)
            .bar(Bar::AtMost(60.0)),
        Figure::new("the same, devices on the same cores", all.secs, "s"),
        Figure::new("of whom renewed", f64::from(renewed), "device"),
        Figure::new("one of them among 64, p99", p99_ms(all.took), "ms"),
        Figure::new("memory of the controller, with 100,000 identities", hq.server.resident_mb()?, "MB"),
    ])
}

/// The authority has another root: every device, which believes the one of before, learns of it, renews, and comes back believing the new one alone.
pub(super) async fn root(here: PathBuf) -> Result<Vec<Figure>, Stop> {
    let (fleet, anchors) = fleet::prepare(&here, STORM)?;
    let mut renew = Command::new(crate::ringfence()?);
    renew.args(["controller", "renew-root", "--state", "hq"]).current_dir(&here);
    let renewed = renew.output().map_err(stop)?;
    if !renewed.status.success() {
        return Err(Stop(String::from_utf8_lossy(&renewed.stderr).into_owned()));
    }
    let hq = Hq::over(&here).await?;
    let (at, old) = (hq.est()?, anchors.first().cloned());
    let all = every(&hq.server, &fleet, |n, device| {
        let (tls, body, old) = (device.tls(&anchors)?, device.body()?, old.clone());
        let mut device = device.clone();
        Ok(async move {
            let mut line = Line::open(n, at, tls).await?;
            let known = line.must("GET", "cacerts", String::new()).await?;
            let known = pki::est::read_certs_only(&known).map_err(stop)?;
            let mut roots = known.into_iter().filter(|known| known.subject() == known.issuer());
            let new = roots.find(|root| Some(root) != old.as_ref());
            let new = new.ok_or_else(|| Stop("there is no other root".to_owned()))?;
            let own = line.must("POST", "simplereenroll", body).await?;
            let own = pki::est::read_certs_only(&own).map_err(stop)?.into_iter().next();
            device.certificate = own.ok_or_else(|| Stop("there is no certificate".to_owned()))?;
            let mut line = Line::open(n, at, device.tls(&[new])?).await?;
            line.must("GET", "csrattrs", String::new()).await.map(drop)
        })
    });
    let all = all.await?;
    Ok(vec![
        Figure::new(
            "devices that went over to another root, none refused",
            f64::from(u32::try_from(all.took.len()).unwrap_or(0)),
            "device",
        )
        .bar(Bar::AtLeast(f64::from(STORM))),
        Figure::new(
            "two handshakes, a list of authorities and a certificate each: processor time",
            all.cpu_secs,
            "s",
        ),
        Figure::new("the same, devices on the same cores", all.secs, "s"),
    ])
}

/// Devices are revoked while they are connected: their connections end, and no new one begins.
pub(super) async fn revoke(here: PathBuf) -> Result<Vec<Figure>, Stop> {
    let (mut hq, fleet, anchors) = ready(&here, CONNECTED).await?;
    let at = hq.est()?;
    let mut open = Vec::new();
    for (n, device) in (0_u32..).zip(&fleet) {
        let tls = device.tls(&anchors)?;
        open.push((n, shake(n, at, Arc::clone(&tls)).await?, tls));
    }
    let mut ended = Vec::new();
    let (gone, staying): (Vec<_>, Vec<_>) = open.into_iter().partition(|(n, ..)| *n < REVOKED);
    for ((n, mut stream, tls), device) in gone.into_iter().zip(&fleet) {
        let begin = now();
        let order = json!({ "reason": "key-compromise", "why": "a bench" });
        let path = format!("/v1/devices/{}/identity/revoke", device.id);
        hq.must("POST", &path, Some(&order)).await?;
        until_closed(&mut stream).await?;
        ended.push(begin.elapsed());
        if is_let_in(n, at, tls).await? {
            return Err(Stop(format!("{} is let in although it is revoked", device.id)));
        }
    }
    let kept = staying.len();
    for (n, _, tls) in staying.into_iter().take(20) {
        if !is_let_in(n, at, tls).await? {
            return Err(Stop(format!("device {n} is not let in, and nobody revoked it")));
        }
    }
    Ok(vec![
        Figure::new("revoked among 2,000 connected devices", f64::from(REVOKED), "device"),
        Figure::new("until its connection has ended and no other begins, p99", p99_ms(ended), "ms")
            .bar(Bar::AtMost(1_000.0)),
        Figure::new(
            "connections of others that stay",
            f64::from(u32::try_from(kept).unwrap_or(0)),
            "connection",
        ),
    ])
}

async fn until_closed(stream: &mut TlsStream<TcpStream>) -> Result<(), Stop> {
    use tokio::io::AsyncReadExt as _;
    let mut byte = [0; 1];
    match tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await {
        Ok(Ok(0) | Err(_)) => Ok(()),
        Ok(Ok(_)) => Err(Stop("somebody said something unasked".to_owned())),
        Err(_) => Err(Stop("a revoked device stays connected".to_owned())),
    }
}

/// Whether a handshake is good, to its end: with TLS 1.3 a client believes so before the server does.
async fn is_let_in(n: u32, at: SocketAddr, tls: Arc<ClientConfig>) -> Result<bool, Stop> {
    let Ok(mut line) = Line::open(n, at, tls).await else { return Ok(false) };
    Ok(line.ask("GET", "csrattrs", String::new()).await.is_ok_and(|(status, _)| status == 200))
}
