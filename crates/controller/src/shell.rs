//! The process of a controller: everything of this crate, started in order, and stopped in order.
//!
//! The journal first, then who may ask, then decisions, then the doors: nobody is answered before what they would be told is true.
//! Losing a witness, the disk or the line to a site stops only what needs it.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crypto::tls::{self, Clients, SystemClock, TlsError};
use estate::identities;
use model::Timestamp;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::api::{Api, router};
use crate::auth::{Auth, AuthError};
use crate::authority::{Authority, AuthorityError, NextRoot};
use crate::blobs::{BlobError, Blobs};
use crate::est::{self, Est};
use crate::front::{self, Shown};
use crate::hub::{Hub, HubError};
use crate::keys::Keeper;
use crate::line::{self, Line, LineError, Timing};
use crate::pdp::{Pdp, PolicyError};
use crate::published::Published;
use crate::releases;
use crate::state::{StateError, StateFolder};

/// The name of an estate that nobody named.
pub const NAME: &str = "estate.internal";
/// File of the state folder with the name.
const NAME_FILE: &str = "name";
/// Between two looks at whether something is to be signed.
const PUBLISH: Duration = Duration::from_millis(500);
/// Nanoseconds after which the server shows a new certificate: a month.
const CERTIFICATE_NANOS: i64 = 30 * 86_400 * 1_000_000_000;

/// Nanoseconds between two looks at sessions and the set-up secret: a minute.
const UPKEEP_NANOS: i64 = 60 * 1_000_000_000;

/// How a controller is run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The state folder.
    pub state: PathBuf,
    /// Who keeps the passphrase of its private keys.
    pub keeper: Keeper,
    /// The estate's name, like a host name; none: the one it has, or [`NAME`]. It cannot change.
    pub name: Option<String>,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where sites connect.
    pub line: SocketAddr,
    /// Where devices enrol; `None`: nowhere.
    pub est: Option<SocketAddr>,
    /// Host names and addresses that the certificate has, besides those of this machine.
    pub hosts: Vec<String>,
    /// How often sites hear that their leases hold, and for how long.
    pub timing: Timing,
}

/// Where a running controller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Up {
    /// The estate's name.
    pub name: String,
    /// The API.
    pub api: SocketAddr,
    /// The line to sites.
    pub line: SocketAddr,
    /// Where devices enrol.
    pub est: Option<SocketAddr>,
    /// SHA-256 of the root certificate, in hex.
    pub root_sha256: String,
    /// Entries of the journal.
    pub entries: u64,
}

/// Why a controller does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// The journal.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Policy folders.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The policy folder in force.
    #[error("the policy folder in force cannot be read: {0}")]
    Policy(#[from] PolicyError),
    /// Who is who.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The line to sites.
    #[error(transparent)]
    Line(#[from] LineError),
    /// Another name than before.
    #[error("this estate is called {has}, and that cannot change: leave --name {asked} out")]
    Name {
        /// The name it has.
        has: String,
        /// The one that was asked for.
        asked: String,
    },
    /// A socket or a thread.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Takes what people should know, a line each, from any thread.
pub type Told = Arc<dyn Fn(&str) + Send + Sync>;

/// A controller that runs until it is stopped.
pub struct Running {
    /// Where it is.
    pub up: Up,
    hub: Arc<Hub>,
    told: Told,
    stop: Arc<AtomicBool>,
    doors: watch::Sender<bool>,
    served: Vec<tokio::task::JoinHandle<()>>,
    threads: Vec<JoinHandle<()>>,
    runtime: Runtime,
    _folder: Arc<StateFolder>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("up", &self.up).finish_non_exhaustive()
    }
}

/// Starts a controller.
pub fn start(config: &Config, clock: fn() -> Timestamp, told: Told) -> Result<Running, RunError> {
    let folder = Arc::new(StateFolder::open_with(&config.state, &config.keeper)?);
    let name = name(&folder, config.name.as_deref())?;
    // Refused before a journal begins that could never be used.
    let authority = Arc::new(Authority::open(&folder, &name, clock())?);
    let mut tell = |line: &str| told(line);
    let hub = Arc::new(Hub::open(&folder, &format!("{name}/journal"), clock, &mut tell)?);
    // Before a device asks: it is attested by what was good before.
    releases::import(&hub, &folder, &mut tell)?;
    let auth = Auth::open(Arc::clone(&hub), &folder, &mut tell)?;
    let pdp = Pdp::open(Arc::clone(&hub), Blobs::open(&folder.file("blobs"))?)?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("door")
        .build()
        .map_err(|source| RunError::Io { doing: "start threads".to_owned(), source })?;
    let (people, api) = listen(&runtime, config.listen)?;
    let (sites, line_at) = listen(&runtime, config.line)?;
    let devices = config.est.map(|at| listen(&runtime, at)).transpose()?;
    let hosts = hosts(config);
    let published = {
        let base = url(config, api, "pki");
        Arc::new(Published::new(Arc::clone(&hub), Arc::clone(&authority), Some(base), &folder)?)
    };
    let line = {
        let (hub, pdp, told) = (Arc::clone(&hub), Arc::clone(&pdp), Arc::clone(&told));
        Line::new(hub, pdp, Arc::clone(&published), hosts.clone(), config.timing, told)?
    };
    let est = {
        let (hub, authority, told) = (Arc::clone(&hub), Arc::clone(&authority), Arc::clone(&told));
        Est::new(hub, authority, hosts.clone(), told, &folder)?
    };
    let shown: Shown = Arc::new(RwLock::new(certificate(&authority, &hosts, hub.now())?));

    let stop = Arc::new(AtomicBool::new(false));
    let (doors, closing) = watch::channel(false);
    let up = Up {
        name,
        api,
        line: line_at,
        est: devices.as_ref().map(|(_, at)| *at),
        root_sha256: authority.root_sha256(),
        entries: hub.read(estate::Estate::size),
    };
    let mut threads = Vec::new();
    threads.push(thread("decisions", {
        let (pdp, stop, told) = (Arc::clone(&pdp), Arc::clone(&stop), Arc::clone(&told));
        move || pdp.run(&stop, &*told)
    })?);
    threads.push(thread("journal", {
        let (hub, stop, told) = (Arc::clone(&hub), Arc::clone(&stop), Arc::clone(&told));
        let (shown, auth, folder) = (Arc::clone(&shown), Arc::clone(&auth), Arc::clone(&folder));
        move || Keep { hub, auth, authority, hosts, shown, folder, told }.run(&stop)
    })?);
    let mut api = Api::new(Arc::clone(&hub), pdp, auth);
    api.line = Some(Arc::clone(&line));
    api.est = Some(Arc::clone(&est));
    api.est_url = up.est.map(|at| Arc::from(url(config, at, ".well-known/est")));
    api.published = Some(published);
    api.digests = Some(Arc::clone(est.digests()));
    let mut served = vec![
        runtime.spawn(front::serve(people, shown, router(api), closing.clone())),
        runtime.spawn(line::serve(line, sites, closing.clone())),
    ];
    if let Some((listener, _)) = devices {
        served.push(runtime.spawn(est::serve(est, listener, closing)));
    }
    Ok(Running { up, hub, told, stop, doors, served, threads, runtime, _folder: folder })
}

/// Puts another root in the place of a controller's, which does not run.
pub fn renew_root(
    state: &std::path::Path,
    keeper: &Keeper,
    now: Timestamp,
) -> Result<NextRoot, RunError> {
    let folder = StateFolder::open_with(state, keeper)?;
    let name = name(&folder, None)?;
    Ok(Authority::next_root(&folder, &name, now)?)
}

impl Running {
    /// Ends it: no new request, what is under way ends, what is durable is signed, and the state is kept for the next start.
    pub fn stop(self) -> Result<(), RunError> {
        let Self { hub, told, stop, doors, served, threads, runtime, .. } = self;
        // Nobody may be listening any more.
        let _ = doors.send(true);
        for served in served {
            let _ = runtime.block_on(served);
        }
        stop.store(true, Ordering::SeqCst);
        for thread in threads {
            thread.thread().unpark();
            if thread.join().is_err() {
                told("a thread of the controller broke off");
            }
        }
        runtime.shutdown_timeout(Duration::from_secs(1));
        // Without a witness nothing is signed; the next start does it.
        if let Err(error) = hub.publish() {
            told(&format!("not signed: {error}"));
        }
        Ok(hub.snapshot()?)
    }
}

/// What is done now and then.
struct Keep {
    hub: Arc<Hub>,
    auth: Arc<Auth>,
    authority: Arc<Authority>,
    hosts: Vec<String>,
    shown: Shown,
    folder: Arc<StateFolder>,
    told: Told,
}

impl Keep {
    /// Signs what is new, tells once of each trouble, renews what the server shows, and forgets who has gone.
    fn run(self, stop: &AtomicBool) {
        let mut trouble = String::new();
        let mut renewed = self.hub.now();
        let mut kept = renewed;
        let past = |since: Timestamp, now: Timestamp, nanos: i64| {
            now.as_nanos().saturating_sub(since.as_nanos()) >= nanos
        };
        while !stop.load(Ordering::SeqCst) {
            let found = self.publish();
            if found != trouble {
                (self.told)(if found.is_empty() { "signing goes on" } else { &found });
                trouble = found;
            }
            let now = self.hub.now();
            if let Err(error) = self.lapse(now) {
                (self.told)(&format!("identities: {error}"));
            }
            if past(renewed, now, CERTIFICATE_NANOS) {
                renewed = now;
                match certificate(&self.authority, &self.hosts, now) {
                    Ok(config) => {
                        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = config;
                    }
                    Err(error) => {
                        (self.told)(&format!("the server's certificate is not renewed: {error}"));
                    }
                }
            }
            if past(kept, now, UPKEEP_NANOS) {
                kept = now;
                let upkeep = self.auth.upkeep(&self.folder, &mut |line| (self.told)(line));
                if let Err(error) = upkeep {
                    (self.told)(&format!("operators: {error}"));
                }
            }
            thread::park_timeout(PUBLISH);
        }
    }

    /// What evidence shows ends with it.
    fn lapse(&self, now: Timestamp) -> Result<(), HubError> {
        let over =
            |estate: &estate::Estate| estate.identities().next_end().is_some_and(|end| end <= now);
        while self.hub.read(over) {
            let command = estate::Command::Identity(identities::Command::Lapse);
            let why = "evidence of identity has ended";
            self.hub.command(&crate::hub::itself()?, why, command, BTreeSet::new())?;
        }
        Ok(())
    }

    /// What keeps the journal from being signed and published; empty: nothing.
    fn publish(&self) -> String {
        match self.hub.publish() {
            Ok(()) => {
                let late = self.hub.log().late();
                late.map_or_else(String::new, |late| format!("witnesses are late: {late}"))
            }
            Err(error) => format!("not signed: {error}"),
        }
    }
}

/// Where something can be had, as people can write it down.
fn url(config: &Config, at: SocketAddr, path: &str) -> String {
    let port = at.port();
    match (config.hosts.first(), at.ip()) {
        (Some(host), _) => format!("https://{host}:{port}/{path}"),
        (None, ip) if ip.is_unspecified() => format!("https://localhost:{port}/{path}"),
        (None, _) => format!("https://{at}/{path}"),
    }
}

fn listen(runtime: &Runtime, at: SocketAddr) -> Result<(TcpListener, SocketAddr), RunError> {
    let failed = |source| RunError::Io { doing: format!("listen on {at}"), source };
    let listener = runtime.block_on(TcpListener::bind(at)).map_err(failed)?;
    let here = listener.local_addr().map_err(failed)?;
    Ok((listener, here))
}

/// What the server shows.
fn certificate(
    authority: &Authority,
    hosts: &[String],
    now: Timestamp,
) -> Result<Arc<tls::rustls::ServerConfig>, RunError> {
    let credentials = authority.server(hosts, now)?;
    Ok(tls::server(&credentials, Clients::Anonymous, Arc::new(SystemClock))?)
}

/// The estate's name: the one it has, or the one it gets now.
fn name(folder: &StateFolder, asked: Option<&str>) -> Result<String, RunError> {
    let kept = folder.read(NAME_FILE)?;
    let kept = kept.map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned());
    match (kept, asked) {
        (Some(has), Some(asked)) if has != asked => {
            Err(RunError::Name { has, asked: asked.to_owned() })
        }
        (Some(has), _) => Ok(has),
        (None, asked) => {
            let name = asked.unwrap_or(NAME);
            pki::identity::Estate::new(name).map_err(AuthorityError::from)?;
            folder.write(NAME_FILE, format!("{name}\n").as_bytes(), 0o644)?;
            Ok(name.to_owned())
        }
    }
}

/// Names and addresses under which this machine can be asked.
fn hosts(config: &Config) -> Vec<String> {
    let mut hosts = config.hosts.clone();
    hosts.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    let ip: IpAddr = config.listen.ip();
    if !ip.is_unspecified() {
        hosts.push(ip.to_string());
    }
    let node = rustix::system::uname();
    let node = node.nodename().to_string_lossy().to_lowercase();
    // A machine may be called anything; a certificate takes host names only.
    if pki::identity::Estate::new(&node).is_ok() {
        hosts.push(node);
    }
    hosts.sort();
    hosts.dedup();
    hosts
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, RunError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|source| RunError::Io { doing: format!("start the thread {name}"), source })
}
