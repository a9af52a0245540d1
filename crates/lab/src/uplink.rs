//! A small site with an outside world: devices, the site's box, and behind it name servers and
//! servers at any number of addresses. For everything that has to do with names.
//!
//! ```text
//!   device 1..3 ── lan0 box wan0 ── eth0 world
//!   10.66.0.11…    .1       192.0.2.1     .53 dnsmasq, .54… hand-made name servers
//!   fd66::11…      ::1                    198.18.0.0/15 and 2001:db8:1::/48: servers, each address
//! ```
//!
//! The box forwards; what it lets through is up to whoever builds the fence.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use model::Mac;

use crate::build::{Directory, ip, settings, sweep};
use crate::privilege::{self, program};
use crate::slot::Slot;
use crate::{LabError, Netns, Process, wait};

/// The box's addresses on the device side.
pub const BOX: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 66, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, 1)),
];
/// The outside world's name server that is a real program.
pub const DNSMASQ: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
/// Another address of the outside world, for hand-made name servers.
pub const BY_HAND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 54);
/// An address of the outside world that a device may have burnt in as its resolver.
pub const BURNT_IN: Ipv4Addr = Ipv4Addr::new(198, 18, 8, 8);
/// Ports that every outside address serves; each answer is `HTTP/1.0 200 OK` with the address asked.
pub const PORTS: [u16; 2] = [8080, 8081];
/// Devices.
pub const DEVICES: u8 = 3;

/// The site and its world; taken away on drop.
#[derive(Debug)]
pub struct Uplink {
    site: Netns,
    world: Netns,
    devices: Vec<Netns>,
    stop: Arc<AtomicBool>,
    servers: Mutex<Vec<JoinHandle<Option<()>>>>,
    processes: Mutex<Vec<Process>>,
    dir: Directory,
    _slot: Slot,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Uplink {
    /// Builds it, with servers, without name servers and without a fence.
    pub fn new() -> Result<Self, LabError> {
        crate::interrupt::install();
        privilege::check()?;
        let slot = Slot::take()?;
        sweep();
        let tag = format!("{}-up{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let make = |name: &str| {
            let name = format!("rf-{tag}-{name}");
            Netns::new(&name).map_err(|e| LabError::failed(format!("make namespace {name}"), e))
        };
        let devices: Result<Vec<_>, _> =
            (1..=DEVICES).map(|n| make(&format!("device{n}"))).collect();
        let up = Self {
            site: make("box")?,
            world: make("world")?,
            devices: devices?,
            stop: Arc::default(),
            servers: Mutex::default(),
            processes: Mutex::default(),
            dir: Directory::new(&tag)?,
            _slot: slot,
        };
        up.wire()?;
        for port in PORTS {
            up.serve(port)?;
        }
        up.settle()?;
        Ok(up)
    }

    /// Waits until every device reaches the outside over both families: neighbours have to find each
    /// other first.
    fn settle(&self) -> Result<(), LabError> {
        let outside: [IpAddr; 2] = [
            IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)),
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1)),
        ];
        let end = wait::now() + Duration::from_secs(20);
        for device in &self.devices {
            for ip in outside {
                let to = SocketAddr::from((ip, PORTS[0]));
                let once = || fetch(to, Duration::from_millis(500)).is_ok();
                if !wait::until(end, || device.enter(once).unwrap_or(false))? {
                    let why = format!("{} does not reach {ip}", device.name());
                    return Err(LabError::failed("build a site with an uplink", why));
                }
            }
        }
        Ok(())
    }

    /// The site's box: runs the fence and the resolver.
    pub fn site(&self) -> &Netns {
        &self.site
    }

    /// The outside.
    pub fn world(&self) -> &Netns {
        &self.world
    }

    /// A device, counted from 1.
    pub fn device(&self, number: u8) -> Result<&Netns, LabError> {
        let index = usize::from(number).wrapping_sub(1);
        self.devices.get(index).ok_or_else(|| LabError::NoSuchDevice(format!("device {number}")))
    }

    /// Its addresses.
    pub fn addresses(number: u8) -> [IpAddr; 2] {
        let low = 10 + number;
        // The last group reads like the last number: ::11 and .11.
        let group = u16::from_str_radix(&low.to_string(), 16).unwrap_or_default();
        [
            IpAddr::V4(Ipv4Addr::new(10, 66, 0, low)),
            IpAddr::V6(Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, group)),
        ]
    }

    /// Its link address.
    pub fn mac(number: u8) -> Mac {
        Mac([2, 0, 0, 0x66, 0, number])
    }

    /// Where small files go.
    pub fn directory(&self) -> &Path {
        &self.dir.0
    }

    /// Starts dnsmasq with these names, each with its addresses, and this life in seconds.
    pub fn dnsmasq(&self, names: &[(String, Vec<IpAddr>)], ttl_s: u32) -> Result<(), LabError> {
        let mut hosts = String::new();
        for (name, addresses) in names {
            for address in addresses {
                hosts.push_str(&format!("{address} {name}\n"));
            }
        }
        self.dir.write("names", &hosts)?;
        let mut command = program("dnsmasq");
        command.args(["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]);
        command.args(["--bind-interfaces", "--user=root", "--pid-file", "--cache-size=0"]);
        command.args(["--dns-forward-max=1000", "--log-facility=-"]);
        command.arg(format!("--listen-address={DNSMASQ}"));
        command.arg(format!("--addn-hosts={}", self.dir.file("names").display()));
        command.arg(format!("--local-ttl={ttl_s}"));
        command.args(["--auth-ttl=1", "--local=/example/"]);
        let failed = |e: io::Error| LabError::failed("start dnsmasq", e);
        let log = std::fs::File::create(self.dir.file("dnsmasq.out")).map_err(failed)?;
        let err = log.try_clone().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(log).stderr(err);
        let process = self.world.spawn("dnsmasq", command).map_err(failed)?;
        if let Ok(mut processes) = self.processes.lock() {
            processes.push(process);
        }
        let first = names.first().map_or("none.example", |(name, _)| name.as_str());
        let server = SocketAddr::from((DNSMASQ, 53));
        let up = || self.world.enter(|| resolve(server, first, false)).is_ok_and(|r| r.is_ok());
        match wait::until(wait::now() + Duration::from_secs(30), up)? {
            true => Ok(()),
            false => {
                let said = std::fs::read_to_string(self.dir.file("dnsmasq.out"));
                Err(LabError::failed("start dnsmasq", said.unwrap_or_default()))
            }
        }
    }

    /// Ends dnsmasq.
    pub fn stop_dnsmasq(&self) {
        if let Ok(mut processes) = self.processes.lock() {
            processes.clear();
        }
    }

    /// A hand-made name server in the world, UDP and TCP: `answer` gets the message and whether it
    /// came over TCP; an empty answer is silence.
    pub fn name_server(
        &self,
        at: SocketAddr,
        answer: impl Fn(&[u8], bool) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<(), LabError> {
        let failed = |e: io::Error| LabError::failed(format!("serve names at {at}"), e);
        let answer = Arc::new(answer);
        let sockets = self.world.enter(|| -> io::Result<_> {
            let (udp, tcp) = (UdpSocket::bind(at)?, TcpListener::bind(at)?);
            udp.set_read_timeout(Some(Duration::from_millis(100)))?;
            tcp.set_nonblocking(true)?;
            Ok((udp, tcp))
        });
        let (udp, tcp) = sockets.and_then(|sockets| sockets).map_err(failed)?;
        let (stop, by_udp) = (Arc::clone(&self.stop), Arc::clone(&answer));
        let serving = self.world.thread("names-udp", move || {
            let mut buffer = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, peer)) = udp.recv_from(&mut buffer) else { continue };
                let reply = by_udp(buffer.get(..length).unwrap_or_default(), false);
                if !reply.is_empty() {
                    let _ = udp.send_to(&reply, peer);
                }
            }
        });
        self.keep(serving.map_err(failed)?);
        let stop = Arc::clone(&self.stop);
        let serving = self.world.thread("names-tcp", move || {
            accept(&tcp, &stop, |mut stream| {
                let mut length = [0; 2];
                stream.read_exact(&mut length)?;
                let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut message)?;
                let reply = answer(&message, true);
                let length = u16::try_from(reply.len()).unwrap_or_default().to_be_bytes();
                stream.write_all(&[&length[..], &reply].concat())
            });
        });
        self.keep(serving.map_err(failed)?);
        Ok(())
    }

    /// A real program in a device, with `resolver` in its `/etc/resolv.conf`: standard output, or
    /// what it complained about.
    pub fn run(
        &self,
        number: u8,
        resolver: IpAddr,
        argv: &[&str],
    ) -> Result<Result<String, String>, LabError> {
        let file = self.resolv_conf(resolver)?;
        let device = self.device(number)?;
        let failed = |e: io::Error| LabError::failed(format!("run {}", argv.join(" ")), e);
        let mut command = Command::new("unshare");
        // Shared mounts would carry the file to everybody.
        command.args(["--mount", "--propagation", "private", "sh", "-c"]);
        command.arg("mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"");
        command.arg(file).args(argv).stdin(Stdio::null());
        let output = device.enter(|| command.output()).and_then(|o| o).map_err(failed)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        })
    }

    fn resolv_conf(&self, resolver: IpAddr) -> Result<PathBuf, LabError> {
        let name = format!("resolv-{resolver}").replace(':', "_");
        let text = format!("nameserver {resolver}\noptions timeout:2 attempts:2\n");
        self.dir.write(&name, &text)?;
        Ok(self.dir.file(&name))
    }

    fn wire(&self) -> Result<(), LabError> {
        let [v4, v6] = BOX;
        let mut batch = format!(
            "link set lo up\nlink add lan0 type bridge\naddr add {v4}/24 dev lan0\n\
             addr add {v6}/64 dev lan0 nodad\nlink set lan0 up\n"
        );
        for (number, device) in (1u8..).zip(&self.devices) {
            batch += &format!(
                "link add v-{number} type veth peer name eth0 address {} netns {}\n\
                 link set v-{number} master lan0 up\n",
                Self::mac(number),
                device.path().display()
            );
        }
        batch += &format!(
            "link add wan0 type veth peer name eth0 netns {}\n\
             addr add 192.0.2.1/24 dev wan0\naddr add 2001:db8:53::1/64 dev wan0 nodad\n\
             link set wan0 up\nroute add 198.18.0.0/15 via {DNSMASQ}\n",
            self.world.path().display()
        );
        ip(&self.site, &batch)?;
        ip(
            &self.world,
            &format!(
                "link set lo up\nlink set eth0 up\naddr add {DNSMASQ}/24 dev eth0\n\
                 addr add {BY_HAND}/24 dev eth0\naddr add 2001:db8:53::53/64 dev eth0 nodad\n\
                 route add local 198.18.0.0/15 dev lo\n\
                 route add local 2001:db8:1::/48 dev lo\n\
                 route add 10.66.0.0/24 via 192.0.2.1\nroute add fd66::/64 via 2001:db8:53::1\n"
            ),
        )?;
        ip(&self.site, "route add 2001:db8:1::/48 via 2001:db8:53::53\n")?;
        settings(
            &self.site,
            &[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")],
        )?;
        for (number, device) in (1u8..).zip(&self.devices) {
            let [own4, own6] = Self::addresses(number);
            ip(
                device,
                &format!(
                    "link set lo up\nlink set eth0 up\naddr add {own4}/24 dev eth0\n\
                     addr add {own6}/64 dev eth0 nodad\nroute add default via {v4}\n\
                     route add default via {v6}\n"
                ),
            )?;
        }
        Ok(())
    }

    /// Every outside address answers on `port` with the address that was asked.
    fn serve(&self, port: u16) -> Result<(), LabError> {
        let failed = |e: io::Error| LabError::failed(format!("serve port {port}"), e);
        let bind = || -> io::Result<TcpListener> {
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = self.world.enter(bind).and_then(|bound| bound).map_err(failed)?;
        let stop = Arc::clone(&self.stop);
        let serving = self.world.thread("serve", move || {
            accept(&listener, &stop, |mut stream| {
                let asked = stream.local_addr()?.ip().to_canonical();
                let body = format!("HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n{asked}\n");
                stream.write_all(body.as_bytes())?;
                stream.shutdown(std::net::Shutdown::Write)?;
                // The client closes first: its unread bytes would make a reset of the answer.
                let mut rest = [0; 512];
                while stream.read(&mut rest)? > 0 {}
                Ok(())
            });
        });
        self.keep(serving.map_err(failed)?);
        Ok(())
    }

    fn keep(&self, server: JoinHandle<Option<()>>) {
        if let Ok(mut servers) = self.servers.lock() {
            servers.push(server);
        }
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.stop_dnsmasq();
        if let Ok(mut servers) = self.servers.lock() {
            for server in servers.drain(..) {
                let _ = server.join();
            }
        }
    }
}

/// Serves one connection after the other; each is short.
fn accept(listener: &TcpListener, stop: &AtomicBool, serve: impl Fn(TcpStream) -> io::Result<()>) {
    while !stop.load(Ordering::Relaxed) {
        let ready = crate::sys::readable(listener, Duration::from_millis(100));
        if !matches!(ready, Ok(true)) {
            continue;
        }
        let Ok((stream, _)) = listener.accept() else { continue };
        let limit = Some(Duration::from_secs(2));
        let set = stream.set_nonblocking(false);
        let set = set.and_then(|()| stream.set_read_timeout(limit));
        // A client that went away is its own business.
        let _ = set.and_then(|()| serve(stream));
    }
}

/// A client that asks for A (or AAAA) once over UDP and once more over TCP where the answer is cut:
/// the addresses, or an error that names the response code.
pub fn resolve(server: SocketAddr, name: &str, v6: bool) -> io::Result<Vec<IpAddr>> {
    let question = question(name, v6)?;
    let any = if server.is_ipv4() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.connect(server)?;
    socket.send(&question)?;
    let mut buffer = vec![0; 4096];
    let length = socket.recv(&mut buffer)?;
    buffer.truncate(length);
    if buffer.get(2).is_some_and(|flags| flags & 2 != 0) {
        let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let length = u16::try_from(question.len()).unwrap_or_default().to_be_bytes();
        stream.write_all(&[&length[..], &question].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        buffer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut buffer)?;
    }
    addresses(&buffer).ok_or_else(|| io::Error::other("a broken answer"))?
}

fn question(name: &str, v6: bool) -> io::Result<Vec<u8>> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length));
        message.push(length.ok_or_else(|| io::Error::other("no name"))?);
        message.extend(label.bytes());
    }
    message.extend([0, 0, if v6 { 28 } else { 1 }, 0, 1]);
    Ok(message)
}

/// Addresses in the answer section; aliases are passed over.
fn addresses(message: &[u8]) -> Option<io::Result<Vec<IpAddr>>> {
    let code = message.get(3)? & 0x0f;
    if code != 0 {
        return Some(Err(io::Error::other(format!("response code {code}"))));
    }
    let count = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    let (questions, answers) = (count(4)?, count(6)?);
    let mut at = 12;
    for _ in 0..questions {
        at = after_name(message, at)? + 4;
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        at = after_name(message, at)?;
        let (kind, length) = (count(at)?, usize::from(count(at + 8)?));
        let data = message.get(at + 10..at + 10 + length)?;
        match kind {
            1 => found.push(IpAddr::from(<[u8; 4]>::try_from(data).ok()?)),
            28 => found.push(IpAddr::from(<[u8; 16]>::try_from(data).ok()?)),
            _ => {}
        }
        at += 10 + length;
    }
    Some(Ok(found))
}

fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length >= 0xc0 => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}

/// Connects and reads what the other end says; how long it took until the connection stood.
pub fn fetch(to: SocketAddr, patience: Duration) -> io::Result<(Duration, String)> {
    let began = wait::now();
    let mut stream = TcpStream::connect_timeout(&to, patience)?;
    let took = wait::now().saturating_duration_since(began);
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok((took, said.lines().last().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_far_as_they_go() {
        let mut answer = question("a.example", false).unwrap();
        assert!(addresses(&answer).unwrap().unwrap().is_empty());
        answer[7] = 2;
        let record = |kind: u8, data: &[u8]| {
            let length = u8::try_from(data.len()).unwrap();
            [&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 9, 0, length], data].concat()
        };
        answer.extend(record(5, &[1, b'b', 0]));
        answer.extend(record(1, &[198, 18, 0, 1]));
        let expect: IpAddr = "198.18.0.1".parse().unwrap();
        assert_eq!(addresses(&answer).unwrap().unwrap(), [expect]);
        for length in 0..answer.len() {
            assert!(addresses(&answer[..length]).is_none(), "{length}");
        }
        answer[3] = 2;
        let why = addresses(&answer).unwrap().unwrap_err().to_string();
        assert_eq!(why, "response code 2");
        assert!(question("a..b", false).is_err());
    }
}
