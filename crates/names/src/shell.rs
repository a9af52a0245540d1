//! Sockets, clock and files around [`Core`]: one thread with an event loop, and one that speaks to the
//! enforcement point. Nothing is decided here.
//!
//! An event loop and not a thread per question: a device that asks for names whose servers are silent
//! keeps hundreds of questions open for seconds.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc as blocking};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use model::Timestamp;
use rand::TryRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::core::{Action, Core, Counts, Return};
use crate::event::{Event, Finding};
use crate::ledger::{Grant, Live};
use crate::policy::Policy;
use crate::settings::Settings;
use crate::state;

/// Messages on their way to the core; senders wait when it is full.
const INBOX: usize = 4_096;
/// Connections of devices, all together and per device.
const CONNECTIONS: (usize, usize) = (512, 8);
/// A connection that says nothing for so long is closed (RFC 7766 §6.2.3).
const IDLE: Duration = Duration::from_secs(10);
/// Largest message.
const MESSAGE: usize = 65_535;
/// The file of live names is written at most this often.
const SAVE: Duration = Duration::from_secs(2);

/// The enforcement point, as the resolver sees it.
pub trait Sink: Send {
    /// Opens the paths of `grant` for their time, or lets those that are open last at least so long.
    ///
    /// Returns once they are in force: the answer goes out right after. An error is told to people,
    /// and the device gets a failure instead of an answer.
    fn put_in_force(&mut self, grant: &Grant) -> Result<(), String>;
}

/// Addresses that are listened on, UDP and TCP each; nobody answers yet.
#[derive(Debug)]
pub struct Sockets(Vec<(std::net::UdpSocket, std::net::TcpListener)>);

/// Binds the addresses that devices ask, in the network namespace of the calling thread; port 0 for
/// any free one, the same for both transports.
///
/// Apart from [`start`], because a low port needs a privilege that the resolver's threads do not.
pub fn bind(addresses: &[SocketAddr]) -> Result<Sockets, StartError> {
    if addresses.is_empty() {
        return Err(StartError::NoAddress);
    }
    let listen = |address: &SocketAddr| {
        bind_one(*address).map_err(|source| StartError::Listen { address: *address, source })
    };
    addresses.iter().map(listen).collect::<Result<_, _>>().map(Sockets)
}

/// What to run.
pub struct Config {
    /// Bounds, times, upstreams.
    pub settings: Settings,
    /// What policy says.
    pub policy: Policy,
    /// Where live names are kept over a restart.
    pub state_file: Option<PathBuf>,
    /// The enforcement point.
    pub sink: Box<dyn Sink>,
    /// Is told what happens; must not block.
    pub observer: Box<dyn FnMut(Event) + Send>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why the resolver does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; {}", hint(source))]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// No upstream.
    #[error("no upstream resolver is set; name at least one address")]
    NoUpstream,
    /// No address to listen on.
    #[error("no address to listen on is set; name the site's device-facing addresses")]
    NoAddress,
    /// The machine refuses.
    #[error("the resolver cannot start: {0}")]
    System(#[from] io::Error),
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "a port below 1024 needs the capability CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrInUse => "another resolver runs on it: stop that one",
        _ => "is it an address of this machine?",
    }
}

/// A running resolver; it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    inbox: mpsc::Sender<Input>,
    addresses: Vec<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts the resolver in the network namespace of the calling thread, with its privileges.
pub fn start(sockets: Sockets, config: Config) -> Result<Running, StartError> {
    let Config { settings, policy, state_file, sink, mut observer } = config;
    let Sockets(sockets) = sockets;
    if settings.upstreams.is_empty() {
        return Err(StartError::NoUpstream);
    }
    let addresses = sockets.iter().filter_map(|(udp, _)| udp.local_addr().ok()).collect();
    let mut seed = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    let restored = match state_file.as_deref().map(load).transpose() {
        Ok(live) => live.unwrap_or_default(),
        Err(why) => {
            observer(Event::Finding(Finding::StateFile { why }));
            Vec::new()
        }
    };
    let (inbox, inputs) = mpsc::channel(INBOX);
    let (jobs, todo) = blocking::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let acknowledge = inbox.clone();
    let enforcing = thread::Builder::new()
        .name("names-enforce".to_owned())
        .spawn(move || enforce(sink, &todo, &acknowledge))?;
    let core = Core::new(settings, Arc::new(policy), seed);
    let to_self = inbox.clone();
    let resolving = thread::Builder::new().name("names".to_owned()).spawn(move || {
        let shell = Shell {
            core,
            inbox: to_self,
            jobs,
            observer,
            udp: Vec::new(),
            connections: HashMap::new(),
            asks: HashMap::new(),
            began: None,
            state_file,
            saved: String::new(),
        };
        runtime.block_on(shell.run(sockets, inputs, restored));
    })?;
    Ok(Running { inbox, addresses, threads: vec![resolving, enforcing] })
}

impl Running {
    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Another policy holds from now on; returns once what is alive was handed to the enforcement
    /// point under it.
    pub fn set_policy(&self, policy: Policy) {
        let (done, wait) = oneshot::channel();
        if self.inbox.blocking_send(Input::Policy(Arc::new(policy), done)).is_ok() {
            let _ = wait.blocking_recv();
        }
    }

    /// What it has done; none once it has ended.
    pub fn counts(&self) -> Option<Counts> {
        let (answer, wait) = oneshot::channel();
        self.inbox.blocking_send(Input::Counts(answer)).ok()?;
        wait.blocking_recv().ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.inbox.blocking_send(Input::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// UDP and TCP on one address; where any port will do, on the same one.
fn bind_one(address: SocketAddr) -> io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    let mut tries = 8;
    loop {
        let udp = std::net::UdpSocket::bind(address)?;
        match std::net::TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => {
                udp.set_nonblocking(true)?;
                tcp.set_nonblocking(true)?;
                return Ok((udp, tcp));
            }
            Err(_) if address.port() == 0 && tries > 0 => tries -= 1,
            Err(error) => return Err(error),
        }
    }
}

#[derive(Debug)]
enum Input {
    Question { to: Return, bytes: Vec<u8> },
    Connected { socket: u64, replies: mpsc::Sender<Vec<u8>> },
    Disconnected { socket: u64 },
    Heard { ask: u64, bytes: Vec<u8> },
    Unreachable { ask: u64, why: String },
    Acknowledged { release: Option<u64>, name: String, result: Result<(), String> },
    Policy(Arc<Policy>, oneshot::Sender<()>),
    Counts(oneshot::Sender<Counts>),
    StateFile { why: String },
    Stop,
}

enum Job {
    PutInForce { release: Option<u64>, grant: Grant },
    Save { path: PathBuf, text: String },
    Reached(oneshot::Sender<()>),
}

/// The thread of the enforcement point: one grant after the other.
fn enforce(mut sink: Box<dyn Sink>, todo: &blocking::Receiver<Job>, inbox: &mpsc::Sender<Input>) {
    for job in todo {
        let told = match job {
            Job::PutInForce { release, grant } => {
                let result = sink.put_in_force(&grant);
                if release.is_none() && result.is_ok() {
                    continue;
                }
                inbox.blocking_send(Input::Acknowledged { release, name: grant.name, result })
            }
            Job::Save { path, text } => match save(&path, &text) {
                Ok(()) => continue,
                Err(why) => inbox.blocking_send(Input::StateFile { why }),
            },
            Job::Reached(done) => {
                let _ = done.send(());
                continue;
            }
        };
        // The resolver has ended; what is still to be written is written.
        drop(told);
    }
}

fn load(path: &Path) -> Result<Vec<Live>, String> {
    let said = |e: io::Error| format!("{} cannot be read: {e}", path.display());
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(said(error)),
        Ok(about) if about.len() > state::SIZE_BYTES_MAX => {
            return Err(format!("{} is too large", path.display()));
        }
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(path).map_err(said)?;
    state::read(&text, wall_clock()).map_err(|why| format!("{}: {why}", path.display()))
}

/// The old file stays until the new one is whole.
fn save(path: &Path, text: &str) -> Result<(), String> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    std::fs::write(&fresh, text)
        .and_then(|()| std::fs::rename(&fresh, path))
        .map_err(|e| format!("{} cannot be written: {e}", path.display()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge that reads the wall clock for the state file"
)]
fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        since.subsec_nanos().into(),
    )
}

struct Shell {
    core: Core,
    inbox: mpsc::Sender<Input>,
    jobs: blocking::Sender<Job>,
    observer: Box<dyn FnMut(Event) + Send>,
    udp: Vec<Arc<UdpSocket>>,
    connections: HashMap<u64, mpsc::Sender<Vec<u8>>>,
    asks: HashMap<u64, AbortHandle>,
    began: Option<Instant>,
    state_file: Option<PathBuf>,
    saved: String,
}

impl Shell {
    async fn run(
        mut self,
        sockets: Vec<(std::net::UdpSocket, std::net::TcpListener)>,
        mut inputs: mpsc::Receiver<Input>,
        restored: Vec<Live>,
    ) {
        self.began = Some(Instant::now());
        let mut out = Vec::new();
        let now = self.now_ms();
        self.core.restore(now, restored, &mut out);
        self.act(&mut out).await;
        let connections = Arc::new(Mutex::new(BTreeMap::new()));
        for (number, (udp, tcp)) in (0u64..).zip(sockets) {
            let (Ok(udp), Ok(tcp)) = (UdpSocket::from_std(udp), TcpListener::from_std(tcp)) else {
                continue; // No event loop: the thread ends with it.
            };
            let udp = Arc::new(udp);
            self.udp.push(Arc::clone(&udp));
            tokio::spawn(listen_udp(number, udp, self.inbox.clone()));
            let first = (number + 1) << 32;
            let connections = Arc::clone(&connections);
            tokio::spawn(listen_tcp(first, tcp, self.inbox.clone(), connections));
        }
        let mut save_at = Instant::now() + SAVE;
        loop {
            let due = self
                .core
                .next_ms()
                .and_then(|ms| self.began.map(|began| began + Duration::from_millis(ms)));
            let due = due.map_or(save_at, |due| due.min(save_at));
            match timeout(due.saturating_duration_since(Instant::now()), inputs.recv()).await {
                Ok(None | Some(Input::Stop)) => break,
                Ok(Some(input)) => self.take(input, &mut out),
                Err(_) => {}
            }
            let now = self.now_ms();
            self.core.tick(now, &mut out);
            self.act(&mut out).await;
            if Instant::now() >= save_at {
                self.save();
                save_at = Instant::now() + SAVE;
            }
        }
        self.save();
    }

    fn now_ms(&self) -> u64 {
        let since = self.began.map(|began| began.elapsed()).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn take(&mut self, input: Input, out: &mut Vec<Action>) {
        let now = self.now_ms();
        match input {
            Input::Question { to, bytes } => self.core.question(now, to, &bytes, out),
            Input::Connected { socket, replies } => drop(self.connections.insert(socket, replies)),
            Input::Disconnected { socket } => drop(self.connections.remove(&socket)),
            Input::Heard { ask, bytes } => self.core.heard(now, ask, &bytes, out),
            Input::Unreachable { ask, why } => self.core.unreachable(now, ask, &why, out),
            Input::Acknowledged { release: Some(release), result, .. } => {
                self.core.acknowledged(now, release, result, out);
            }
            Input::Acknowledged { release: None, name, result } => {
                if let Err(why) = result {
                    out.push(Action::Tell(Event::Finding(Finding::NotInForce { name, why })));
                }
            }
            Input::Policy(policy, done) => {
                self.core.set_policy(now, policy, out);
                for grant in take_grants(out) {
                    let _ = self.jobs.send(grant);
                }
                let _ = self.jobs.send(Job::Reached(done));
            }
            Input::Counts(answer) => drop(answer.send(self.core.counts())),
            Input::StateFile { why } => {
                out.push(Action::Tell(Event::Finding(Finding::StateFile { why })));
            }
            Input::Stop => {}
        }
    }

    async fn act(&mut self, out: &mut Vec<Action>) {
        for action in out.drain(..) {
            match action {
                Action::Reply { to, bytes } if to.tcp => {
                    // A full queue is a device that does not read: its own loss.
                    if let Some(replies) = self.connections.get(&to.socket) {
                        let _ = replies.try_send(bytes);
                    }
                }
                Action::Reply { to, bytes } => {
                    let udp = usize::try_from(to.socket).ok().and_then(|n| self.udp.get(n));
                    if let Some(udp) = udp {
                        let _ = udp.send_to(&bytes, to.peer).await;
                    }
                }
                Action::Ask { ask, upstream, tcp, bytes } => {
                    let inbox = self.inbox.clone();
                    let task = if tcp {
                        tokio::spawn(ask_tcp(ask, upstream, bytes, inbox))
                    } else {
                        tokio::spawn(ask_udp(ask, upstream, bytes, inbox))
                    };
                    if let Some(former) = self.asks.insert(ask, task.abort_handle()) {
                        former.abort();
                    }
                }
                Action::Close { ask } => {
                    if let Some(task) = self.asks.remove(&ask) {
                        task.abort();
                    }
                }
                Action::PutInForce { release, grant } => {
                    let _ = self.jobs.send(Job::PutInForce { release, grant });
                }
                Action::Tell(event) => (self.observer)(event),
            }
        }
    }

    fn save(&mut self) {
        let Some(path) = self.state_file.clone() else { return };
        match state::write(&self.core.live(self.now_ms()), wall_clock()) {
            Ok(text) if text != self.saved => {
                self.saved.clone_from(&text);
                let _ = self.jobs.send(Job::Save { path, text });
            }
            Ok(_) => {}
            Err(why) => (self.observer)(Event::Finding(Finding::StateFile { why })),
        }
    }
}

/// Takes the grants out of a list of actions.
fn take_grants(out: &mut Vec<Action>) -> Vec<Job> {
    let mut grants = Vec::new();
    let mut rest = Vec::new();
    for action in out.drain(..) {
        match action {
            Action::PutInForce { release, grant } => {
                grants.push(Job::PutInForce { release, grant });
            }
            other => rest.push(other),
        }
    }
    *out = rest;
    grants
}

async fn listen_udp(socket: u64, udp: Arc<UdpSocket>, inbox: mpsc::Sender<Input>) {
    let mut buffer = vec![0; MESSAGE];
    loop {
        // An error here is one peer's (a port that closed), not the socket's.
        let Ok((length, peer)) = udp.recv_from(&mut buffer).await else { continue };
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        let to = Return { peer, socket, tcp: false };
        if inbox.send(Input::Question { to, bytes }).await.is_err() {
            return;
        }
    }
}

type PerDevice = Arc<Mutex<BTreeMap<IpAddr, usize>>>;

async fn listen_tcp(
    mut socket: u64,
    tcp: TcpListener,
    inbox: mpsc::Sender<Input>,
    connections: PerDevice,
) {
    loop {
        let Ok((stream, peer)) = tcp.accept().await else {
            // Out of descriptors, most likely: the next one may be better off a moment later.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Some(place) = Place::take(&connections, peer.ip()) else { continue };
        socket = socket.wrapping_add(1);
        let inbox = inbox.clone();
        tokio::spawn(async move {
            let _place = place;
            serve(socket, stream, peer, &inbox).await;
            let _ = inbox.send(Input::Disconnected { socket }).await;
        });
    }
}

/// A connection's place among those that are allowed; given back on drop.
struct Place(PerDevice, IpAddr);

impl Place {
    fn take(connections: &PerDevice, device: IpAddr) -> Option<Self> {
        let mut of = connections.lock().ok()?;
        let all: usize = of.values().sum();
        let own = of.entry(device).or_default();
        if all >= CONNECTIONS.0 || *own >= CONNECTIONS.1 {
            if *own == 0 {
                of.remove(&device);
            }
            return None;
        }
        *own += 1;
        Some(Self(Arc::clone(connections), device))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Ok(mut of) = self.0.lock() else { return };
        let left = of.get(&self.1).copied().unwrap_or_default().saturating_sub(1);
        match left {
            0 => of.remove(&self.1),
            left => of.insert(self.1, left),
        };
    }
}

/// One connection of a device: questions in, answers out in the order they are ready (RFC 7766 §7).
async fn serve(socket: u64, stream: TcpStream, peer: SocketAddr, inbox: &mpsc::Sender<Input>) {
    let (mut read, mut write) = stream.into_split();
    let (replies, mut ready) = mpsc::channel::<Vec<u8>>(64);
    if inbox.send(Input::Connected { socket, replies }).await.is_err() {
        return;
    }
    let writing = tokio::spawn(async move {
        while let Some(bytes) = ready.recv().await {
            let framed = framed(&bytes);
            if !matches!(timeout(IDLE, write.write_all(&framed)).await, Ok(Ok(()))) {
                return;
            }
        }
    });
    while let Ok(Ok(bytes)) = timeout(IDLE, read_message(&mut read)).await {
        let to = Return { peer, socket, tcp: true };
        if inbox.send(Input::Question { to, bytes }).await.is_err() {
            break;
        }
    }
    writing.abort();
}

async fn ask_udp(ask: u64, upstream: SocketAddr, bytes: Vec<u8>, inbox: mpsc::Sender<Input>) {
    let asking = async {
        // A fresh socket has a random port, which a guess would have to hit as well (RFC 5452 §9.2).
        let any = match upstream {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(upstream).await?;
        socket.send(&bytes).await?;
        let mut buffer = vec![0; MESSAGE];
        loop {
            let length = socket.recv(&mut buffer).await?;
            let bytes = buffer.get(..length).unwrap_or_default().to_vec();
            if inbox.send(Input::Heard { ask, bytes }).await.is_err() {
                return Ok::<(), io::Error>(());
            }
        }
    };
    if let Err(error) = asking.await {
        let _ = inbox.send(Input::Unreachable { ask, why: error.to_string() }).await;
    }
}

async fn ask_tcp(ask: u64, upstream: SocketAddr, bytes: Vec<u8>, inbox: mpsc::Sender<Input>) {
    let asking = async {
        let mut stream = TcpStream::connect(upstream).await?;
        stream.write_all(&framed(&bytes)).await?;
        read_message(&mut stream).await
    };
    let input = match asking.await {
        Ok(bytes) => Input::Heard { ask, bytes },
        Err(error) => Input::Unreachable { ask, why: error.to_string() },
    };
    let _ = inbox.send(input).await;
}

/// A message with its length in front (RFC 1035 §4.2.2).
fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let body = bytes.get(..usize::from(length)).unwrap_or_default();
    [&length.to_be_bytes(), body].concat()
}

async fn read_message(from: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Vec<u8>> {
    let length = from.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    from.read_exact(&mut bytes).await?;
    Ok(bytes)
}
