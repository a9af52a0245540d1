//! The smallest estate: hosts, each on a wire of its own to one gateway that routes between them.
//! Rules are made by the nft program: what is tested here must not depend on our own rules.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use enforcer::Runner;
use enforcer::netlink::Place;
use lab::{Netns, wait};
use rustix::net::{AddressFamily, SocketType, ipproto};

pub(crate) struct Wires {
    pub(crate) gateway: Netns,
    hosts: Vec<Netns>,
}

impl Wires {
    pub(crate) fn new(name: &str, hosts: u8) -> Self {
        let gateway = Netns::new(&format!("{name}-gw")).unwrap();
        let made: Vec<_> =
            (1..=hosts).map(|n| Netns::new(&format!("{name}-{n}")).unwrap()).collect();
        let out = Self { gateway, hosts: made };
        out.set("net/ipv4/ip_forward", "1");
        out.set("net/ipv6/conf/all/forwarding", "1");
        for (n, host) in (1..).zip(&out.hosts) {
            let path = host.path();
            ip(
                &out.gateway,
                &format!(
                    "link set lo up\n\
                     link add w{n} type veth peer name eth0 netns {}\n\
                     address add 10.9.{n}.1/24 dev w{n}\n\
                     address add fd09:{n}::1/64 dev w{n} nodad\n\
                     link set w{n} up\n",
                    path.display()
                ),
            );
            ip(
                host,
                &format!(
                    "link set lo up\n\
                     address add 10.9.{n}.2/24 dev eth0\n\
                     address add fd09:{n}::2/64 dev eth0 nodad\n\
                     link set eth0 up\n\
                     route add default via 10.9.{n}.1\n\
                     route add default via fd09:{n}::1\n"
                ),
            );
        }
        out
    }

    /// Of host `n`, from 1.
    pub(crate) fn host(&self, n: usize) -> &Netns {
        &self.hosts[n - 1]
    }

    pub(crate) fn place(&self) -> Place {
        Place::netns(&self.gateway.path())
    }

    /// Runs a command line at the gateway.
    pub(crate) fn run(&self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        let output = self.gateway.run(&words, "").unwrap();
        assert_eq!(output.code, 0, "{line}: {}", output.stderr);
    }

    /// Changes a setting of the gateway.
    pub(crate) fn set(&self, file: &str, value: &str) {
        let written = self.gateway.enter(|| std::fs::write(format!("/proc/sys/{file}"), value));
        written.unwrap().unwrap();
    }

    /// Has the nft program put `rules` in force at the gateway.
    pub(crate) fn nft(&self, rules: &str) {
        self.try_nft(rules).unwrap_or_else(|said| panic!("{rules}: {said}"));
    }

    /// The same; what the program said where it failed.
    pub(crate) fn try_nft(&self, rules: &str) -> Result<(), String> {
        // Rules end with a line, which is easily forgotten in one-line tables.
        let output = self.gateway.run(&["nft", "-f", "-"], &rules.replace('}', "\n}")).unwrap();
        if output.code == 0 { Ok(()) } else { Err(output.stderr) }
    }

    /// A ping from host `n`, twenty times a second, until dropped.
    pub(crate) fn ping(&self, n: usize, to: IpAddr) -> Ping {
        let opened = self.host(n).enter(|| {
            let (inet, raw) = (AddressFamily::INET, SocketType::RAW);
            rustix::net::socket(inet, raw, Some(ipproto::ICMP)).map(UdpSocket::from)
        });
        let socket = opened.unwrap().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&stop);
        // A socket stays in the namespace it was opened in.
        let thread = std::thread::spawn(move || {
            // Echo request, its checksum, identifier 7, sequence 1: the same each time is one flow.
            let request = [8, 0, 0xf7, 0xf7, 0, 7, 0, 1];
            while !end.load(Ordering::Relaxed) {
                let _ = socket.send_to(&request, (to, 0));
                let _ = wait::pass(Duration::from_millis(50));
            }
        });
        Ping { stop, thread: Some(thread) }
    }
}

/// Asks until dropped.
pub(crate) struct Ping {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Ping {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

pub(crate) fn address(n: u8) -> IpAddr {
    IpAddr::from([10, 9, n, 2])
}

pub(crate) fn address6(n: u16) -> IpAddr {
    IpAddr::from([0xfd09, n, 0, 0, 0, 0, 0, 2])
}

fn ip(netns: &Netns, batch: &str) {
    let output = netns.run(&["ip", "-batch", "-"], batch).unwrap();
    assert_eq!(output.code, 0, "{batch}: {}", output.stderr);
}

/// A TCP connection that sends all the time; counts what arrives.
pub(crate) struct Stream {
    arrived: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Option<()>>>,
}

impl Stream {
    pub(crate) fn open(from: &Netns, to: &Netns, address: SocketAddr) -> Self {
        let (arrived, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let listener = to.enter(move || TcpListener::bind(address)).unwrap().unwrap();
        let (count, end) = (Arc::clone(&arrived), Arc::clone(&stop));
        let receiver = to.thread("stream-in", move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let mut bytes = [0; 4_096];
            while !end.load(Ordering::Relaxed) {
                if let Ok(n) = socket.read(&mut bytes) {
                    count.fetch_add(u64::try_from(n).unwrap(), Ordering::Relaxed);
                }
            }
        });
        let end = Arc::clone(&stop);
        let sender = from.thread("stream-out", move || {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
            while !end.load(Ordering::Relaxed) {
                let _ = socket.write(&[7; 512]);
                let _ = wait::pass(Duration::from_millis(2));
            }
        });
        let stream = Self { arrived, stop, threads: vec![receiver.unwrap(), sender.unwrap()] };
        assert!(stream.moves(Duration::from_secs(20)), "the stream never began");
        stream
    }

    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// Something arrives within `time`.
    pub(crate) fn moves(&self, time: Duration) -> bool {
        let before = self.arrived();
        wait::until(wait::now() + time, || self.arrived() > before).unwrap()
    }

    /// How long until nothing arrives any more: the last arrival before `quiet` of silence.
    pub(crate) fn silence(&self, quiet: Duration) -> Duration {
        let begin = wait::now();
        let (mut last, mut changed) = (self.arrived(), begin);
        loop {
            wait::pass(Duration::from_millis(2)).unwrap();
            let now = wait::now();
            if self.arrived() != last {
                (last, changed) = (self.arrived(), now);
            }
            if now - changed >= quiet {
                return changed - begin;
            }
            assert!(now - begin < Duration::from_secs(30), "the stream goes on");
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
