//! Builds the estate and takes it away.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use enforcer::contain::{self, Isolated, Method};
use enforcer::netlink::Place;
use enforcer::runner::Runner;
use enforcer::{Fence, Options};
use model::observation::Transport;
use model::ruleset::{Class, ClassId, Member, Mode, Peer, Permit, Ruleset, Terms};
use model::{DeviceId, Mac, Timestamp};

use crate::estate::{self, DEVICES, DOMAIN, GATEWAY, NEEDS, PAYMENTS, SUBNET, Spec};
use crate::privilege::program;
use crate::serve::modbus::Registers;
use crate::serve::{self, Log, http};
use crate::slot::Slot;
use crate::{LabError, Netns, Process, interrupt, privilege, sys, traffic, wait};

/// A warehouse in network namespaces; taken away on drop.
#[derive(Debug)]
pub struct Lab {
    seed: u64,
    devices: Vec<Device>,
    stop: Arc<AtomicBool>,
    servers: Vec<JoinHandle<Option<()>>>,
    processes: Mutex<Vec<Process>>,
    dir: Directory,
    _slot: Slot,
    pub(crate) log: Log,
    pub(crate) registers: Arc<Registers>,
}

/// One machine of the lab.
#[derive(Clone, Debug)]
pub struct Device {
    /// Name in the lab: `camera`; also `gateway` and `payments`.
    pub name: &'static str,
    /// What it is: `camera`, `gateway`, `service`.
    pub role: &'static str,
    /// What it would be in the real world.
    pub product: &'static str,
    /// Link address.
    pub mac: Mac,
    /// Network address.
    pub ip: Ipv4Addr,
    /// Its namespace.
    pub netns: Netns,
    /// Its interface there.
    pub interface: &'static str,
    /// TCP ports it serves.
    pub serves: &'static [u16],
    /// It is a device on the site's bridge, behind the fence.
    pub fenced: bool,
}

/// The site's bridge, in the gateway's namespace: where a sensor captures.
pub(crate) const BRIDGE: &str = "br0";
/// Begin of the names of the bridge's ports.
const PORT: &str = "v-";

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Lab {
    /// Builds gateway, links and servers. Devices have no addresses yet: start the sensor, then
    /// [`Lab::boot`], so that it hears them introduce themselves.
    ///
    /// `seed` decides the schedule of all traffic.
    pub fn new(seed: u64) -> Result<Self, LabError> {
        interrupt::install();
        privilege::check()?;
        let slot = Slot::take()?;
        sweep();
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let tag = format!("{}-{number}", std::process::id());
        let make = |name: &str| {
            let name = format!("rf-{tag}-{name}");
            Netns::new(&name).map_err(|e| LabError::failed(format!("make namespace {name}"), e))
        };
        let mut devices = vec![gateway(make("gateway")?), payments(make("payments")?)];
        for spec in &DEVICES {
            devices.push(device(spec, make(spec.name)?));
        }
        let dir = Directory::new(&tag)?;
        let mut lab = Self {
            seed,
            devices,
            stop: Arc::default(),
            servers: Vec::new(),
            processes: Mutex::default(),
            dir,
            _slot: slot,
            log: Log::default(),
            registers: Registers::new(),
        };
        lab.wire()?;
        lab.serve()?;
        lab.start_dnsmasq()?;
        lab.start_broker()?;
        Ok(lab)
    }

    /// Devices come up: those that ask get their address by DHCP.
    pub fn boot(&self) -> Result<(), LabError> {
        let script = self.dir.file("lease.sh");
        thread::scope(|scope| {
            let clients: Vec<_> = DEVICES
                .iter()
                .map(|spec| (spec, scope.spawn(|| self.address(spec, &script))))
                .collect();
            clients.into_iter().try_for_each(|(spec, client)| match client.join() {
                Ok(result) => result,
                Err(_) => {
                    Err(LabError::failed(format!("boot {}", spec.name), "the thread panicked"))
                }
            })
        })
    }

    /// What decides the schedule.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// All machines, the gateway first.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// The machine of that name.
    pub fn device(&self, name: &str) -> Result<&Device, LabError> {
        let found = self.devices.iter().find(|device| device.name == name);
        found.ok_or_else(|| LabError::NoSuchDevice(name.to_owned()))
    }

    /// The gateway's namespace: the bridge, the fence and the sensor are there.
    pub fn gateway(&self) -> &Netns {
        // Built first, always there; an empty lab cannot be made.
        #[expect(clippy::indexing_slicing, reason = "`new` puts the gateway first")]
        &self.devices[0].netns
    }

    /// The interface to capture on, in the gateway's namespace.
    pub fn bridge_interface(&self) -> &'static str {
        BRIDGE
    }

    /// The gateway's enforcement point.
    pub fn fence(&self) -> Fence {
        Fence::new(Place::netns(&self.gateway().path()), "ringfence")
    }

    /// Options for [`Lab::fence`].
    pub fn options(&self, now: Timestamp) -> Options {
        Options {
            ports: vec![format!("{PORT}*")],
            site: vec![(IpAddr::V4(SUBNET.0), SUBNET.1)],
            ..Options::new(BRIDGE, now)
        }
    }

    /// Puts traffic between neighbours under the fence too.
    pub fn isolate(&self, method: Method) -> Result<Isolated, LabError> {
        Ok(contain::isolate(self.gateway(), BRIDGE, method)?)
    }

    /// Undoes [`Lab::isolate`].
    pub fn release(&self, isolated: &Isolated) -> Result<(), LabError> {
        Ok(contain::release(self.gateway(), isolated)?)
    }

    /// A ruleset made by hand that permits exactly [`NEEDS`]: one class per machine.
    pub fn ruleset(&self, generation: u64, mode: Mode) -> Ruleset {
        let class = |name: &str| {
            let at = self.devices.iter().position(|device| device.name == name).unwrap_or(0);
            ClassId(u32::try_from(at + 1).unwrap_or(u32::MAX))
        };
        let classes = self.devices.iter().map(|device| {
            (class(device.name), Class { name: format!("device/{}", device.name), mode })
        });
        let member = |device: &Device| {
            let (mac, ip, class) = (device.mac, IpAddr::V4(device.ip), class(device.name));
            DeviceId::new(device.name).ok().map(|device| Member { device, mac, ip, class })
        };
        let peer = |device: &Device| Peer {
            ip: IpAddr::V4(device.ip),
            prefix: 32,
            class: class(device.name),
        };
        let permit = |need: &estate::Need| Permit {
            from: class(need.from),
            to: class(need.to),
            transport: need.transport,
            first_port: need.port,
            last_port: need.port,
            rule: format!("{}-to-{}-{}-{}", need.from, need.to, need.transport.word(), need.port),
            terms: Terms::default(),
        };
        Ruleset {
            generation,
            parent: generation.checked_sub(1),
            classes: classes.collect(),
            members: self.devices.iter().filter(|d| d.fenced).filter_map(member).collect(),
            peers: self.devices.iter().filter(|d| !d.fenced).map(peer).collect(),
            permits: NEEDS.iter().map(permit).collect(),
            exceptions: Vec::new(),
            names: Vec::new(),
            proposed: Vec::new(),
        }
    }

    /// Process ids of the programs that run for this lab.
    pub fn processes(&self) -> Vec<u32> {
        let processes = self.processes.lock();
        processes.map(|all| all.iter().map(Process::id).collect()).unwrap_or_default()
    }

    /// Where the lab keeps its small files.
    pub fn directory(&self) -> &Path {
        &self.dir.0
    }

    /// Readings that the operator panel was told by the broker so far.
    pub fn messages(&self) -> usize {
        self.said(traffic::SUBSCRIBER).lines().count()
    }

    pub(crate) fn keep(&self, process: Process) {
        if let Ok(mut processes) = self.processes.lock() {
            processes.push(process);
        }
    }

    pub(crate) fn has_process(&self, name: &str) -> bool {
        let Ok(mut processes) = self.processes.lock() else {
            return false;
        };
        processes.iter_mut().any(|process| process.name() == name && process.runs())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.file(name)
    }

    /// Bridge, links, addresses of gateway and outside.
    fn wire(&self) -> Result<(), LabError> {
        let mac = estate::GATEWAY_MAC;
        let mut batch = format!(
            "link set lo up\nlink add {BRIDGE} address {mac} type bridge\n\
             addr add {GATEWAY}/{} dev {BRIDGE}\nlink set {BRIDGE} up\n",
            SUBNET.1
        );
        for device in self.devices.iter().filter(|device| device.fenced) {
            let (name, mac, path) = (device.name, device.mac, device.netns.path());
            let path = path.display();
            batch += &format!(
                "link add {PORT}{name} type veth peer name eth0 address {mac} netns {path}\n\
                 link set {PORT}{name} master {BRIDGE} up\n"
            );
        }
        let outside = self.device("payments")?;
        let path = outside.netns.path();
        batch += &format!(
            "link add wan0 type veth peer name eth0 address {} netns {}\n\
             addr add {}/24 dev wan0\nlink set wan0 up\n",
            outside.mac,
            path.display(),
            estate::GATEWAY_WAN
        );
        ip(self.gateway(), &batch)?;
        settings(
            self.gateway(),
            &[
                ("net/ipv4/ip_forward", "1"),
                ("net/ipv4/conf/all/send_redirects", "0"),
                ("net/ipv4/conf/default/send_redirects", "0"),
                // A flat network to start with: bridged frames are nobody's business.
                ("net/bridge/bridge-nf-call-iptables", "0"),
                ("net/bridge/bridge-nf-call-ip6tables", "0"),
            ],
        )?;
        for device in self.devices.iter().filter(|device| device.name != "gateway") {
            let mut batch = "link set lo up\nlink set eth0 up\n".to_owned();
            if device.name == "payments" {
                batch += &format!(
                    "addr add {PAYMENTS}/24 dev eth0\nroute add {}/{} via {}\n",
                    SUBNET.0,
                    SUBNET.1,
                    estate::GATEWAY_WAN
                );
            }
            ip(&device.netns, &batch)?;
        }
        Ok(())
    }

    fn serve(&mut self) -> Result<(), LabError> {
        let registers = Arc::clone(&self.registers);
        let tcp = [
            ("camera", 80, http::handler(&http::CAMERA)),
            ("camera", 554, serve::rtsp::handler()),
            ("printer", 80, http::handler(&http::PRINTER)),
            ("printer", 9100, serve::printer::handler()),
            ("nvr", 5000, http::handler(&http::NVR)),
            ("files", 8080, http::handler(&http::FILES)),
            ("till", 5015, http::handler(&http::TILL)),
            ("payments", 8080, http::handler(&http::PAYMENTS)),
            ("plc", 502, serve::modbus::handler(registers)),
        ];
        for (name, port, handler) in tcp {
            let netns = self.device(name)?.netns.clone();
            let server = serve::tcp(&netns, name, port, &self.stop, &self.log, handler);
            let server = server.map_err(|e| LabError::failed(format!("serve {name}:{port}"), e))?;
            self.servers.push(server);
        }
        let clock = serve::udp(self.gateway(), "ntp", 123, &self.stop, serve::ntp::answer);
        self.servers.push(clock.map_err(|e| LabError::failed("serve NTP", e))?);
        Ok(())
    }

    /// DHCP and DNS at the gateway.
    fn start_dnsmasq(&self) -> Result<(), LabError> {
        let mut command = program("dnsmasq");
        command.args(["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]);
        command.args(["--bind-interfaces", "--no-ping", "--dhcp-authoritative", "--expand-hosts"]);
        command.arg(format!("--interface={BRIDGE}")).arg(format!("--domain={DOMAIN}"));
        command.arg(format!("--local=/{DOMAIN}/"));
        command.arg("--dhcp-range=10.77.0.100,10.77.0.200,255.255.255.0,12h");
        command.arg(format!("--dhcp-option=option:ntp-server,{GATEWAY}"));
        command.arg(format!("--dhcp-leasefile={}", self.file("leases").display()));
        command.arg(format!("--host-record=plc.{DOMAIN},10.77.0.30"));
        command.arg(format!("--host-record={},{PAYMENTS}", estate::PAYMENTS_NAME));
        for spec in DEVICES.iter().filter(|spec| spec.hostname.is_some()) {
            command.arg(format!("--dhcp-host={},{},12h", spec.mac, spec.ip()));
        }
        self.start(self.gateway(), "dnsmasq", command)
    }

    fn start_broker(&self) -> Result<(), LabError> {
        let config = "listener 1883 0.0.0.0\nallow_anonymous true\nuser root\n\
                      persistence false\nlog_type none\n";
        self.dir.write("mosquitto.conf", config)?;
        let mut command = program("mosquitto");
        command.arg("-c").arg(self.file("mosquitto.conf"));
        let netns = self.device("broker")?.netns.clone();
        self.start(&netns, "mosquitto", command)?;
        let listens = || netns.enter(|| table_has_listener(1883)).unwrap_or(false);
        match wait::until(wait::now() + Duration::from_secs(5), listens)? {
            true => Ok(()),
            false => Err(LabError::failed("start mosquitto", self.said("mosquitto"))),
        }
    }

    /// Starts a program whose output goes to a file in our directory.
    pub(crate) fn start(
        &self,
        netns: &Netns,
        name: &str,
        mut command: Command,
    ) -> Result<(), LabError> {
        let failed = |e: io::Error| LabError::failed(format!("start {name}"), e);
        let out = fs::File::create(self.file(&format!("{name}.out"))).map_err(failed)?;
        let err = out.try_clone().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        self.keep(netns.spawn(name, command).map_err(failed)?);
        Ok(())
    }

    /// What a program that [`Lab::start`] started has printed.
    pub(crate) fn said(&self, name: &str) -> String {
        fs::read_to_string(self.file(&format!("{name}.out"))).unwrap_or_default()
    }

    fn address(&self, spec: &Spec, script: &Path) -> Result<(), LabError> {
        let netns = &self.device(spec.name)?.netns;
        let Some(hostname) = spec.hostname else {
            let (ip_, prefix) = (spec.ip(), SUBNET.1);
            let batch = format!(
                "addr replace {ip_}/{prefix} dev eth0\nroute replace default via {GATEWAY}\n"
            );
            return ip(netns, &batch);
        };
        let mut command = program("udhcpc");
        // Foreground, one lease, then quit; ten requests at most, one a second.
        command.args(["-f", "-q", "-n", "-t", "10", "-T", "1", "-i", "eth0"]);
        command.arg("-s").arg(script).args(["-V", spec.vendor_class]);
        command.args(["-x", &format!("hostname:{hostname}")]);
        if let Some(url) = spec.mud_url {
            let hex: String = url.bytes().map(|byte| format!("{byte:02x}")).collect();
            command.args(["-x", &format!("0xa1:{hex}")]);
        }
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        command.env("PATH", path).stdin(Stdio::null());
        sys::die_with_parent(&mut command);
        let failed =
            |why: String| LabError::failed(format!("lease an address for {}", spec.name), why);
        let output = netns
            .enter(|| command.output())
            .and_then(|output| output)
            .map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(failed(format!("{said}; dnsmasq: {}", self.said("dnsmasq"))))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Ok(mut processes) = self.processes.lock() {
            processes.clear(); // Killed and reaped.
        }
        for server in self.servers.drain(..) {
            let _ = server.join();
        }
    }
}

fn gateway(netns: Netns) -> Device {
    Device {
        name: "gateway",
        role: "gateway",
        product: "site gateway: DHCP, DNS, NTP, fence",
        mac: estate::GATEWAY_MAC,
        ip: GATEWAY,
        netns,
        interface: BRIDGE,
        serves: &[53],
        fenced: false,
    }
}

fn payments(netns: Netns) -> Device {
    Device {
        name: "payments",
        role: "service",
        product: "payment service, outside",
        mac: Mac([0x00, 0x1c, 0x73, 0x00, 0x71, 0x10]),
        ip: PAYMENTS,
        netns,
        interface: "eth0",
        serves: &[8080],
        fenced: false,
    }
}

fn device(spec: &Spec, netns: Netns) -> Device {
    Device {
        name: spec.name,
        role: spec.role,
        product: spec.product,
        mac: spec.mac,
        ip: spec.ip(),
        netns,
        interface: "eth0",
        serves: spec.serves,
        fenced: true,
    }
}

pub(crate) fn ip(netns: &Netns, batch: &str) -> Result<(), LabError> {
    let doing = || format!("set up links of {}", netns.name());
    let output = netns.run(&["ip", "-batch", "-"], batch);
    let output = output.map_err(|error| LabError::failed(doing(), error))?;
    if output.code == 0 { Ok(()) } else { Err(LabError::failed(doing(), output.stderr)) }
}

/// Settings belong to the namespace of the thread that opens the file.
pub(crate) fn settings(netns: &Netns, settings: &[(&str, &str)]) -> Result<(), LabError> {
    let write = |(key, value): &(&str, &str)| {
        let path = format!("/proc/sys/{key}");
        let result = netns.enter(|| fs::write(&path, value)).and_then(|result| result);
        match result {
            // A kernel without the bridge filter has nothing to switch off.
            Err(error)
                if key.starts_with("net/bridge") && error.kind() == io::ErrorKind::NotFound =>
            {
                Ok(())
            }
            other => other.map_err(|error| LabError::failed(format!("write {path}"), error)),
        }
    };
    settings.iter().try_for_each(write)
}

/// The calling thread's namespace has a listener on TCP `port`.
fn table_has_listener(port: u16) -> bool {
    let table = fs::read_to_string("/proc/thread-self/net/tcp").unwrap_or_default();
    // Local address in hex, then remote, then state 0A: listen.
    table.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        let local = words.next().is_some_and(|word| word.ends_with(&format!(":{port:04X}")));
        local && words.nth(1) == Some("0A")
    })
}

/// Our small files; removed on drop.
#[derive(Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

const PREFIX: &str = "ringfence-lab-";

impl Directory {
    pub(crate) fn new(tag: &str) -> Result<Self, LabError> {
        let path = std::env::temp_dir().join(format!("{PREFIX}{tag}"));
        let failed = |e: io::Error| LabError::failed(format!("make {}", path.display()), e);
        // A leftover of an earlier process with our number would be a stranger's: start clean.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).map_err(failed)?;
        let directory = Self(path);
        let script = "#!/bin/sh\n# Called by udhcpc with the lease in the environment.\n\
            case \"$1\" in bound|renew) ;; *) exit 0 ;; esac\n\
            ip addr replace \"$ip/${mask:-24}\" dev \"$interface\"\n\
            ip route replace default via \"${router%% *}\" dev \"$interface\"\n";
        directory.write("lease.sh", script)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        let set = fs::set_permissions(directory.file("lease.sh"), mode);
        set.map_err(|e| LabError::failed("make the lease script executable", e))?;
        Ok(directory)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), LabError> {
        let path = self.file(name);
        fs::write(&path, text).map_err(|e| LabError::failed(format!("write {}", path.display()), e))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes directories of labs whose process is gone (it was killed).
pub(crate) fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|n| n.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The probes that [`NEEDS`] promises; what is left over is forbidden.
pub(crate) fn needed(from: &str, to: &str, transport: Transport, port: u16) -> bool {
    NEEDS.iter().any(|n| n.from == from && n.to == to && n.transport == transport && n.port == port)
}
