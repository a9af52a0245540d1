//! `bench live`: is anything lost when 300,000 frames a second arrive?
//!
//! The sender is a process of its own in a second network namespace; both ends of the virtual cable
//! are real interfaces of this kernel. First the ring alone is measured, then the whole inventory.

#![expect(unsafe_code, reason = "namespaces and sendmmsg are C; each block says why it is sound")]
#![expect(clippy::disallowed_methods, reason = "a bench sends at a rate of real time")]

use std::ffi::CStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::mem::size_of;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use model::inspect::Report;
use sensor::capture::Source;
use sensor::capture::ring::{Options as RingOptions, Ring, Wait};

use crate::figures::{self, Bar, Figure};
use crate::{Options, Stop};

const RATE_PER_SEC: u64 = 300_000;
const SECONDS: u64 = 5;

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<bool, Stop> {
    unshare()?;
    ip("link set lo up")?;
    let mut figures = Vec::new();
    capture_alone(&mut figures)?;
    let full = full_inventory(&mut figures);
    let met = figures::print("bench live", &figures, options)?;
    full.map(|()| met)
}

fn capture_alone(figures: &mut Vec<Figure>) -> Result<(), Stop> {
    let mut sender = Sender::start("far-a")?;
    let stop = Arc::new(AtomicBool::new(false));
    let ring_options = RingOptions { stop: Arc::clone(&stop), ..RingOptions::default() };
    let mut ring = Ring::open("far-a", &ring_options).map_err(|e| Stop(e.to_string()))?;
    sender.go()?;
    let mut received = 0_u64;
    let mut idle = 0;
    // The end: nothing for a second after the sender has begun.
    while idle < 10 {
        match ring.wait(Duration::from_millis(100)) {
            Wait::Packet(_) => {
                received += u64::from(ring.current().is_some_and(|p| p.data.len() == FRAME_BYTES));
                idle = 0;
            }
            Wait::Idle => idle += 1,
            Wait::Over => break,
        }
    }
    stop.store(true, Ordering::Relaxed);
    let (sent, secs) = sender.end()?;
    report(figures, "capture alone", sent, secs, received, ring.status().dropped);
    Ok(())
}

fn full_inventory(figures: &mut Vec<Figure>) -> Result<(), Stop> {
    let ringfence = crate::ringfence()?;
    // The first cable goes with its sender, some time later.
    let mut sender = Sender::start("far-b")?;
    let inspect = Command::new(&ringfence)
        .args(["inspect", "-i", "far-b", "--for", &format!("{}s", SECONDS + 3), "-o", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| Stop(format!("{} cannot be run: {e}", ringfence.display())))?;
    wait_for_a_packet_socket()?;
    sender.go()?;
    let (sent, secs) = sender.end()?;
    let output = inspect.wait_with_output().map_err(|e| Stop(format!("inspect is lost: {e}")))?;
    let document: Report = serde_json::from_slice(&output.stdout)
        .map_err(|e| Stop(format!("the report is not understood: {e}")))?;
    let received = document.inputs.iter().map(|i| i.packets).sum();
    let dropped = document.inputs.iter().map(|i| i.dropped).sum();
    report(figures, "full inventory", sent, secs, received, dropped);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(
    figures: &mut Vec<Figure>,
    name: &str,
    sent: u64,
    secs: f64,
    received: u64,
    dropped: u64,
) {
    let (sent, received, dropped) = (sent as f64, received as f64, dropped as f64);
    let rate = RATE_PER_SEC as f64;
    figures.extend([
        // A sender that shares two cores with the receiver may be a little late.
        Figure::new(format!("{name}: sent"), sent / secs, "frame/s").bar(Bar::AtLeast(rate * 0.99)),
        Figure::new(format!("{name}: lost"), (sent - received).max(0.0), "frame")
            .bar(Bar::AtMost(0.0)),
        Figure::new(format!("{name}: dropped by the kernel"), dropped, "frame")
            .bar(Bar::AtMost(0.0)),
    ]);
}

const FRAME_BYTES: usize = 230;

/// The other end of the cable.
struct Sender {
    child: Child,
    told: BufReader<std::process::ChildStdout>,
}

impl Sender {
    /// Starts the sender in its own namespace and gives it one end of a new cable.
    fn start(far: &str) -> Result<Self, Stop> {
        let program = std::env::current_exe().map_err(|e| Stop(format!("who am I: {e}")))?;
        let mut child = Command::new(program)
            .args(["bench", "live-sender", &SECONDS.to_string(), &RATE_PER_SEC.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| Stop(format!("the sender cannot be started: {e}")))?;
        let stdout = child.stdout.take().ok_or_else(|| Stop("no pipe".to_owned()))?;
        let mut sender = Self { child, told: BufReader::new(stdout) };
        sender.line()?;
        ip(&format!("link add {far} type veth peer name near"))?;
        ip(&format!("link set near netns {}", sender.child.id()))?;
        quiet(far);
        ip(&format!("link set {far} up"))?;
        Ok(sender)
    }

    fn go(&mut self) -> Result<(), Stop> {
        drop(self.child.stdin.take());
        self.line().map(drop)
    }

    /// Frames sent and the seconds it took.
    fn end(&mut self) -> Result<(u64, f64), Stop> {
        let line = self.line()?;
        let mut numbers = line.split_whitespace();
        let bad = || Stop(format!("the sender said `{line}`"));
        let sent = numbers.next().and_then(|n| n.parse().ok()).ok_or_else(bad)?;
        let secs = numbers.next().and_then(|n| n.parse().ok()).ok_or_else(bad)?;
        Ok((sent, secs))
    }

    fn line(&mut self) -> Result<String, Stop> {
        let mut line = String::new();
        match self.told.read_line(&mut line) {
            Ok(n) if n > 0 => Ok(line.trim().to_owned()),
            _ => Err(Stop("the sender ended early".to_owned())),
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // Its own end; both calls fail harmlessly when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sender's process.
pub(crate) fn send(seconds: &str, rate: &str) -> Result<bool, Stop> {
    let number = |text: &str| text.parse::<u64>().map_err(|e| Stop(format!("`{text}`: {e}")));
    let (seconds, rate) = (number(seconds)?, number(rate)?);
    unshare()?;
    say("ready");
    // Standard input closes when the cable is there and the receiver listens.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    quiet("near");
    ip("link set near up")?;
    let socket = socket(c"near")?;
    say("sending");
    let frames: Vec<Vec<u8>> = (0..=255).map(frame).collect();
    let begin = Instant::now();
    let (mut sent, total) = (0_u64, seconds * rate);
    while sent < total {
        let due = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX) * rate / 1_000_000;
        let due = due.min(total);
        if due <= sent {
            std::hint::spin_loop();
            continue;
        }
        let batch = usize::try_from(due - sent).unwrap_or(BATCH).min(BATCH);
        sent += send_batch(socket, &frames, sent, batch)?;
    }
    say(&format!("{sent} {}", begin.elapsed().as_secs_f64()));
    // The cable goes with this process; the other side ends it when it has read everything.
    std::thread::sleep(Duration::from_secs(60));
    Ok(true)
}

const BATCH: usize = 64;

fn send_batch(socket: i32, frames: &[Vec<u8>], from: u64, batch: usize) -> Result<u64, Stop> {
    let mut pieces: Vec<libc::iovec> = (0..batch as u64)
        .filter_map(|n| {
            let index = usize::try_from((from + n) % frames.len() as u64).ok()?;
            let frame = frames.get(index)?;
            Some(libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() })
        })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = pieces
        .iter_mut()
        .map(|piece| {
            // SAFETY: a message header is made of integers and pointers; zeros are a value.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = piece;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let count = u32::try_from(messages.len()).unwrap_or(0);
    // SAFETY: `messages` and all it points to live through the call, which only reads the frames.
    let done = unsafe { libc::sendmmsg(socket, messages.as_mut_ptr(), count, 0) };
    match u64::try_from(done) {
        Ok(sent) => Ok(sent),
        Err(_) => {
            let error = std::io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR) => Ok(0),
                _ => Err(Stop(format!("sending failed: {error}"))),
            }
        }
    }
}

/// A UDP datagram of one of 256 devices.
fn frame(n: u8) -> Vec<u8> {
    let mut frame = [
        &[0x02, 0, 0, 0, 1, 1, 0x02, 0, 0, 0, 0, n][..],
        &[8, 0, 0x45, 0, 0, 216, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, n, 10, 0, 1, 1],
        &[0xc0, n, 0x4e, 0x20, 0, 196, 0, 0],
    ]
    .concat();
    frame.resize(FRAME_BYTES, n);
    frame
}

fn socket(interface: &CStr) -> Result<i32, Stop> {
    // SAFETY: no memory is involved; the process ends with the socket.
    let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
    // SAFETY: a C string that lives through the call.
    let index = unsafe { libc::if_nametoindex(interface.as_ptr()) };
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: pointer and length describe `address`, which is only read.
    let bound = unsafe { libc::bind(socket, (&raw const address).cast(), len) };
    if bound == 0 {
        Ok(socket)
    } else {
        Err(Stop(format!("the sender's socket: {}", std::io::Error::last_os_error())))
    }
}

fn unshare() -> Result<(), Stop> {
    // SAFETY: no memory is involved; the process has one thread.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 {
        Ok(())
    } else {
        let error = std::io::Error::last_os_error();
        Err(Stop(format!("a network namespace needs root: {error}")))
    }
}

fn ip(arguments: &str) -> Result<(), Stop> {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Stop(format!("`ip {arguments}` failed"))),
        Err(error) => Err(Stop(format!("`ip` cannot be run: {error}; install iproute2"))),
    }
}

/// Keeps the kernel's own neighbour discovery off the cable, so that counts are exact.
fn quiet(interface: &str) {
    let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "1");
}

/// A packet socket runs in this namespace once the program under test listens: it is there before its ring is, and misses what comes until it is bound.
fn wait_for_a_packet_socket() -> Result<(), Stop> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let sockets = std::fs::read_to_string("/proc/self/net/packet").unwrap_or_default();
        // Its address, its references, type, protocol, interface, and whether it runs.
        let runs = |socket: &str| socket.split_whitespace().nth(5) == Some("1");
        if sockets.lines().skip(1).any(runs) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(Stop("`ringfence inspect -i` did not begin to listen within 10 s".to_owned()))
}

fn say(line: &str) {
    println!("{line}");
    let _ = std::io::stdout().flush();
}
