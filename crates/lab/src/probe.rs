//! Who reaches whom. "Arrived" is judged at the victim's own interface, by a witness that sees the
//! probe's packet there; never from the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use model::observation::Transport;

use crate::build::needed;
use crate::{Device, Lab, LabError, sys, wait};

/// One attempt to reach a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// Device that tries.
    pub from: String,
    /// Device, `gateway` or `payments`.
    pub to: String,
    /// TCP or UDP.
    pub transport: Transport,
    /// Port.
    pub port: u16,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It arrived and was answered.
    Reached,
    /// It arrived; the victim has nothing on that port and said so.
    Refused,
    /// It arrived; no answer came back.
    Arrived,
    /// It did not arrive, and nobody answered.
    Dropped,
    /// It did not arrive; something on the way answered.
    Rejected,
}

/// A probe and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The attempt.
    pub probe: Probe,
    /// Its end.
    pub outcome: Outcome,
}

/// How long a probe waits: past TCP's first repetition (1 s), so one lost packet is no verdict.
pub const TIMEOUT: Duration = Duration::from_millis(1_400);

impl Probe {
    /// TCP.
    pub fn tcp(from: &str, to: &str, port: u16) -> Self {
        Self { from: from.to_owned(), to: to.to_owned(), transport: Transport::Tcp, port }
    }

    /// UDP.
    pub fn udp(from: &str, to: &str, port: u16) -> Self {
        Self { from: from.to_owned(), to: to.to_owned(), transport: Transport::Udp, port }
    }

    /// The warehouse needs this path ([`crate::estate::NEEDS`]).
    pub fn is_needed(&self) -> bool {
        needed(&self.from, &self.to, self.transport, self.port)
    }
}

impl Outcome {
    /// The packet got through to the victim.
    pub fn passed(self) -> bool {
        matches!(self, Self::Reached | Self::Refused | Self::Arrived)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Probe { from, to, transport, port } = &self.probe;
        write!(f, "{from} → {to} {}/{port}: {:?}", transport.word(), self.outcome)
    }
}

/// Every device to every other machine: each TCP port anybody serves, and DNS and NTP.
pub fn everything(lab: &Lab) -> Vec<Probe> {
    let ports: BTreeSet<u16> = lab.devices().iter().flat_map(|d| d.serves).copied().collect();
    let mut out = Vec::new();
    for from in lab.devices().iter().filter(|device| device.fenced) {
        for to in lab.devices().iter().filter(|to| to.name != from.name) {
            out.extend(ports.iter().map(|port| Probe::tcp(from.name, to.name, *port)));
            out.extend([53, 123].map(|port| Probe::udp(from.name, to.name, port)));
        }
    }
    out
}

/// One TCP attempt.
pub fn tcp(lab: &Lab, from: &str, to: &str, port: u16) -> Result<Outcome, LabError> {
    one(lab, Probe::tcp(from, to, port))
}

/// One UDP attempt.
pub fn udp(lab: &Lab, from: &str, to: &str, port: u16) -> Result<Outcome, LabError> {
    one(lab, Probe::udp(from, to, port))
}

/// One frame that is not IP: did it arrive at the other's interface?
pub fn frame(lab: &Lab, from: &str, to: &str, ethertype: u16) -> Result<bool, LabError> {
    let (from, to) = (lab.device(from)?, lab.device(to)?);
    let mut frame = to.mac.0.to_vec();
    frame.extend(from.mac.0);
    frame.extend(ethertype.to_be_bytes());
    frame.resize(60, 0);
    let failed = |e: io::Error| LabError::failed("probe with a frame", e);
    let open = |device: &Device| {
        let interface = device.interface;
        let socket = device.netns.enter(|| sys::packet_socket(interface, false));
        socket.and_then(|socket| socket).map(std::fs::File::from).map_err(failed)
    };
    let mut victim = open(to)?;
    open(from)?.write_all(&frame).map_err(failed)?;
    let deadline = wait::now() + TIMEOUT;
    let mut seen = [0u8; 60];
    loop {
        let left = deadline.saturating_duration_since(wait::now());
        if !sys::readable(&victim, left).map_err(failed)? {
            return Ok(false);
        }
        let length = victim.read(&mut seen).map_err(failed)?;
        if seen.get(..length).is_some_and(|seen| seen == frame.as_slice()) {
            return Ok(true);
        }
    }
}

fn one(lab: &Lab, probe: Probe) -> Result<Outcome, LabError> {
    let verdicts = matrix(lab, &[probe])?;
    let missing = || LabError::failed("probe", "no verdict");
    verdicts.first().map(|verdict| verdict.outcome).ok_or_else(missing)
}

/// All `probes`, as many at once as files may be open; verdicts in the same order.
pub fn matrix(lab: &Lab, probes: &[Probe]) -> Result<Vec<Verdict>, LabError> {
    let mut out = Vec::with_capacity(probes.len());
    let files = usize::try_from(sys::open_files(4_096)).unwrap_or(1_024);
    let at_once = files.saturating_sub(FILES_RESERVED).clamp(100, PROBES_MAX);
    for chunk in probes.chunks(at_once) {
        out.extend(wave(lab, chunk)?);
        if crate::interrupt::interrupted() {
            return Err(LabError::Interrupted);
        }
    }
    Ok(out)
}

/// Tries again, twice, what was dropped though `expected` to pass: on a busy machine a lost packet
/// is not a closed path. What passes is never tried again.
pub fn confirm(
    lab: &Lab,
    verdicts: &mut [Verdict],
    expected: impl Fn(&Probe) -> bool,
) -> Result<(), LabError> {
    for _ in 0..2 {
        let doubtful = |v: &&mut Verdict| v.outcome == Outcome::Dropped && expected(&v.probe);
        let mut doubtful: Vec<_> = verdicts.iter_mut().filter(doubtful).collect();
        let probes: Vec<_> = doubtful.iter().map(|verdict| verdict.probe.clone()).collect();
        for (old, new) in doubtful.iter_mut().zip(matrix(lab, &probes)?) {
            **old = new;
        }
    }
    Ok(())
}

/// Open files that are not probes' sockets.
const FILES_RESERVED: usize = 300;
/// Probes at once.
const PROBES_MAX: usize = 2_000;

fn wave(lab: &Lab, probes: &[Probe]) -> Result<Vec<Verdict>, LabError> {
    let mut witnesses = BTreeMap::new();
    let mut by_source: BTreeMap<&str, Vec<(usize, Target)>> = BTreeMap::new();
    for (number, probe) in probes.iter().enumerate() {
        let victim = lab.device(&probe.to)?;
        if !witnesses.contains_key(victim.name) && victim.name != "gateway" {
            witnesses.insert(victim.name, Witness::start(victim)?);
        }
        let to = SocketAddrV4::new(victim.ip, probe.port);
        let target = Target { to, transport: probe.transport };
        by_source.entry(&probe.from).or_default().push((number, target));
    }
    let mut ends: Vec<Option<End>> = probes.iter().map(|_| None).collect();
    thread::scope(|scope| {
        let mut sources = Vec::new();
        for (name, targets) in by_source {
            let device = lab.device(name)?;
            sources.push(scope.spawn(move || device.netns.enter(|| attempt(&targets))));
        }
        for source in sources {
            let failed = |e: io::Error| LabError::failed("probe", e);
            let result =
                source.join().map_err(|_| LabError::failed("probe", "a thread panicked"))?;
            for (number, end) in result.map_err(failed)? {
                if let Some(slot) = ends.get_mut(number) {
                    *slot = Some(end);
                }
            }
        }
        Ok::<_, LabError>(())
    })?;
    let seen: BTreeMap<_, _> =
        witnesses.into_iter().map(|(name, witness)| (name, witness.stop())).collect();
    let verdict = |(probe, end): (&Probe, Option<End>)| {
        let end = end.unwrap_or(End { source: None, answer: Answer::None });
        let from = lab.device(&probe.from)?.ip;
        let arrived = seen.get(probe.to.as_str()).map(|seen| {
            let key = |port| (number(probe.transport), from, port, probe.port);
            end.source.is_some_and(|port| seen.contains(&key(port)))
        });
        Ok(Verdict { probe: probe.clone(), outcome: judge(arrived, end.answer) })
    };
    probes.iter().zip(ends).map(verdict).collect()
}

/// At the gateway itself a packet is seen before it is judged, so only answers count there.
fn judge(arrived: Option<bool>, answer: Answer) -> Outcome {
    match (arrived, answer) {
        (Some(true) | None, Answer::Yes) => Outcome::Reached,
        (Some(true) | None, Answer::Refused) => Outcome::Refused,
        (Some(true), Answer::None) => Outcome::Arrived,
        (None | Some(false), Answer::None) => Outcome::Dropped,
        (Some(false), Answer::Yes | Answer::Refused) => Outcome::Rejected,
    }
}

#[derive(Clone, Copy, Debug)]
struct Target {
    to: SocketAddrV4,
    transport: Transport,
}

#[derive(Clone, Copy, Debug)]
struct End {
    /// Source port, where a packet could be sent.
    source: Option<u16>,
    answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    Refused,
    None,
}

enum Attempt {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Attempt {
    fn start(target: Target) -> io::Result<Self> {
        if target.transport != Transport::Udp {
            return Ok(Self::Tcp(sys::connect_start(target.to)?));
        }
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(target.to)?;
        socket.set_nonblocking(true)?;
        socket.send(&payload(target.to.port()))?;
        Ok(Self::Udp(socket))
    }

    /// Repeats a datagram.
    fn again(&self) {
        if let Self::Udp(socket) = self
            && let Ok(to) = socket.peer_addr()
        {
            let _ = socket.send(&payload(to.port()));
        }
    }

    fn fd(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Udp(socket) => socket.as_raw_fd(),
        }
    }

    fn port(&self) -> Option<u16> {
        let address = match self {
            Self::Tcp(stream) => stream.local_addr(),
            Self::Udp(socket) => socket.local_addr(),
        };
        address.ok().map(|address| address.port())
    }

    /// Looks at a socket that has something to say.
    fn answer(&self) -> Answer {
        let refused = |error: &io::Error| match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Answer::Refused,
            _ => Answer::None,
        };
        match self {
            Self::Tcp(stream) => match stream.take_error() {
                Ok(None) => Answer::Yes,
                Ok(Some(error)) | Err(error) => refused(&error),
            },
            Self::Udp(socket) => match socket.recv(&mut [0; 512]) {
                Ok(_) => Answer::Yes,
                Err(error) => refused(&error),
            },
        }
    }
}

/// What a server of that port would answer.
fn payload(port: u16) -> Vec<u8> {
    match port {
        53 => {
            let mut query = vec![0x72, 0x66, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            query.extend(crate::mdns::name("plc.warehouse.example"));
            query.extend([0, 1, 0, 1]);
            query
        }
        123 => {
            let mut request = vec![0x23];
            request.resize(48, 0);
            request
        }
        _ => b"ringfence probe\r\n".to_vec(),
    }
}

/// All attempts of one source at once. They start in small bursts: thirteen ports repeat every
/// broadcast, and the kernel's queue for arriving packets holds a thousand.
fn attempt(targets: &[(usize, Target)]) -> Vec<(usize, End)> {
    let silent = End { source: None, answer: Answer::None };
    let mut ends = Vec::new();
    let mut open = Vec::new();
    for burst in targets.chunks(BURST) {
        for (number, target) in burst {
            match Attempt::start(*target) {
                Ok(attempt) => {
                    let end = End { source: attempt.port(), ..silent };
                    open.push((*number, attempt, end));
                }
                Err(_) => ends.push((*number, silent)),
            }
        }
        settle(&mut open, &mut ends, wait::now() + PACE);
    }
    // TCP repeats itself after a second; a datagram needs us.
    let half = TIMEOUT / 2;
    settle(&mut open, &mut ends, wait::now() + half);
    for (_, attempt, _) in &open {
        attempt.again();
    }
    settle(&mut open, &mut ends, wait::now() + half);
    ends.extend(open.into_iter().map(|(number, _, end)| (number, end)));
    ends
}

/// Attempts started together, and the time between bursts.
const BURST: usize = 12;
const PACE: Duration = Duration::from_millis(8);

/// Waits for answers until `deadline` and moves attempts that have one to `ends`.
fn settle(open: &mut Vec<(usize, Attempt, End)>, ends: &mut Vec<(usize, End)>, deadline: Instant) {
    loop {
        let left = deadline.saturating_duration_since(wait::now());
        let wish = |(_, a, _): &(usize, Attempt, End)| (a.fd(), matches!(a, Attempt::Tcp(_)));
        let wishes: Vec<_> = open.iter().map(wish).collect();
        let Ok(ready) = sys::poll(&wishes, left) else {
            return;
        };
        let mut ready = ready.into_iter();
        open.retain(|(number, attempt, end)| {
            let told = ready.next().unwrap_or(false);
            if told {
                ends.push((*number, End { answer: attempt.answer(), ..*end }));
            }
            !told
        });
        if left.is_zero() {
            return;
        }
    }
}

/// Which of `addresses` answer on TCP `port`, by accepting or refusing; from the calling thread's
/// namespace.
pub(crate) fn answering(addresses: impl Iterator<Item = Ipv4Addr>, port: u16) -> Vec<Ipv4Addr> {
    let addresses: Vec<_> = addresses.collect();
    let target =
        |ip: &Ipv4Addr| Target { to: SocketAddrV4::new(*ip, port), transport: Transport::Tcp };
    let targets: Vec<_> = addresses.iter().map(target).enumerate().collect();
    let ends = attempt(&targets).into_iter().filter(|(_, end)| end.answer != Answer::None);
    let mut found: Vec<_> = ends.filter_map(|(number, _)| addresses.get(number).copied()).collect();
    found.sort_unstable();
    found
}

/// Protocol, source address, source port, destination port.
pub(crate) type Seen = BTreeSet<(u8, Ipv4Addr, u16, u16)>;

fn number(transport: Transport) -> u8 {
    if transport == Transport::Udp { 17 } else { 6 }
}

/// Sees what arrives at a victim's interface.
pub(crate) struct Witness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Option<Seen>>,
}

impl Witness {
    pub(crate) fn start(victim: &Device) -> Result<Self, LabError> {
        let failed = |e: io::Error| LabError::failed(format!("watch {}", victim.name), e);
        let interface = victim.interface;
        let socket = victim.netns.enter(|| sys::packet_socket(interface, false));
        let mut socket = std::fs::File::from(socket.and_then(|s| s).map_err(failed)?);
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, ip) = (Arc::clone(&stop), victim.ip);
        let watch = move || {
            let mut seen = Seen::new();
            let mut frame = [0u8; 2048];
            loop {
                let last = flag.load(Ordering::SeqCst);
                let wait = Duration::from_millis(if last { 0 } else { 20 });
                while sys::readable(&socket, wait).unwrap_or(false) {
                    let length = socket.read(&mut frame).unwrap_or(0);
                    seen.extend(frame.get(..length).and_then(|frame| parse(frame, ip)));
                }
                if last {
                    return seen;
                }
            }
        };
        let thread = victim.netns.thread("witness", watch).map_err(failed)?;
        Ok(Self { stop, thread })
    }

    pub(crate) fn stop(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().ok().flatten().unwrap_or_default()
    }
}

/// TCP and UDP over IPv4 to `victim`.
fn parse(frame: &[u8], victim: Ipv4Addr) -> Option<(u8, Ipv4Addr, u16, u16)> {
    let packet = frame.get(12..)?.strip_prefix(&[8, 0])?;
    let header = usize::from(packet.first()? & 15) * 4;
    let ip = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    let port = |at: usize| {
        Some(u16::from_be_bytes(packet.get(header + at..header + at + 2)?.try_into().ok()?))
    };
    (ip(16)? == victim).then_some((*packet.get(9)?, ip(12)?, port(0)?, port(2)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_witness_outweighs_the_answer() {
        assert_eq!(judge(Some(true), Answer::Yes), Outcome::Reached);
        assert_eq!(judge(Some(true), Answer::None), Outcome::Arrived);
        assert_eq!(judge(Some(false), Answer::Yes), Outcome::Rejected);
        assert_eq!(judge(Some(false), Answer::None), Outcome::Dropped);
        assert_eq!(judge(None, Answer::Refused), Outcome::Refused);
        assert!(Outcome::Arrived.passed() && Outcome::Refused.passed());
        assert!(!Outcome::Dropped.passed() && !Outcome::Rejected.passed());
    }

    #[test]
    fn the_witness_reads_addresses_and_ports() {
        let mut frame = vec![0u8; 12];
        frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0x12, 0x34, 0, 53, 0, 8, 0, 0]);
        let to = Ipv4Addr::new(10, 0, 0, 2);
        assert_eq!(parse(&frame, to), Some((17, Ipv4Addr::new(10, 0, 0, 1), 0x1234, 53)));
        assert_eq!(parse(&frame, Ipv4Addr::LOCALHOST), None);
        for length in 0..frame.len() - 4 {
            assert_eq!(parse(&frame[..length], to), None, "{length}");
        }
    }
}
