//! A site with a fence made by hand and a resolver in front of it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use enforcer::runner::{Output, Runner};
use lab::uplink::{self, BOX, DEVICES, DNSMASQ, Uplink};
use lab::{LabError, Netns, wait};
use model::DeviceId;
use model::observation::Transport;
use model::ruleset::{Class, ClassId, Member, Mode, NamePermit, Ruleset, Terms};
use names::{Config, Event, Finding, Grant, Policy, Running, Settings, Sink};

/// Long enough for a loaded machine, too long for a packet that was dropped and sent again.
pub(crate) const PATIENCE: Duration = Duration::from_millis(900);

/// The smallest fence that a grant can open: written as text, so that it shares nothing with what it
/// stands in for.
#[derive(Clone, Debug)]
pub(crate) struct Wall(Netns);

impl Wall {
    pub(crate) fn build(site: &Netns) -> Self {
        let class = |v6: bool| {
            let own = |n: u8| Uplink::addresses(n)[usize::from(v6)];
            (1..=DEVICES)
                .map(|n| format!("{} : {}", own(n), class_of(n).0))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let wall = Self(site.clone());
        wall.nft(&format!(
            "table inet wall {{
               map class4 {{ type ipv4_addr : mark; elements = {{ {} }} }}
               map class6 {{ type ipv6_addr : mark; elements = {{ {} }} }}
               map names4 {{ type mark . ipv4_addr . inet_proto . inet_service : verdict; flags timeout; }}
               map names6 {{ type mark . ipv6_addr . inet_proto . inet_service : verdict; flags timeout; }}
               counter denied {{ }}
               chain forward {{
                 type filter hook forward priority 0; policy accept;
                 ct state established,related accept
                 icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
                 meta mark set ip saddr map @class4
                 meta mark set ip6 saddr map @class6
                 meta mark . ip daddr . meta l4proto . th dport vmap @names4
                 meta mark . ip6 daddr . meta l4proto . th dport vmap @names6
                 tcp flags & (syn | ack) == syn counter name denied drop
                 meta l4proto udp counter name denied drop
                 drop
               }}
             }}",
            class(false),
            class(true)
        ))
        .unwrap();
        wall
    }

    /// Takes all open paths away, as somebody's `nft flush` would.
    pub(crate) fn flush(&self) {
        self.nft("flush map inet wall names4\nflush map inet wall names6").unwrap();
    }

    /// First packets that were dropped.
    pub(crate) fn denied(&self) -> u64 {
        let output = self.run(&["nft", "list", "counter", "inet", "wall", "denied"], "").unwrap();
        let mut words = output.stdout.split_whitespace().skip_while(|word| *word != "packets");
        words.nth(1).unwrap().parse().unwrap()
    }

    /// Paths that are open.
    pub(crate) fn open(&self) -> usize {
        ["names4", "names6"]
            .iter()
            .map(|map| {
                let listed = self.run(&["nft", "list", "map", "inet", "wall", map], "").unwrap();
                listed.stdout.matches(": accept").count()
            })
            .sum()
    }

    fn nft(&self, text: &str) -> Result<(), String> {
        let output = self.run(&["nft", "-f", "-"], text).map_err(|e| e.to_string())?;
        if output.code == 0 { Ok(()) } else { Err(output.stderr) }
    }

    fn run(&self, argv: &[&str], stdin: &str) -> std::io::Result<Output> {
        self.0.run(argv, stdin)
    }
}

impl Sink for Wall {
    fn put_in_force(&mut self, grant: &Grant) -> Result<(), String> {
        let mut text = String::new();
        for opening in &grant.openings {
            let map = if opening.address.is_ipv4() { "names4" } else { "names6" };
            let protocol = if opening.permit.transport == Transport::Udp { "udp" } else { "tcp" };
            let (class, port) = (grant.class.0, opening.permit.first_port);
            let key = format!("{class} . {} . {protocol} . {port}", opening.address);
            // Deleted and added anew in one transaction: that sets its time on every kernel.
            let element = format!("{{ {key} timeout {}s : accept }}", opening.timeout_s);
            text += &format!("add element inet wall {map} {element}\n");
            text += &format!("delete element inet wall {map} {{ {key} }}\n");
            text += &format!("add element inet wall {map} {element}\n");
        }
        self.nft(&text)
    }
}

/// Devices 1 and 3 are alike, 2 is another class.
pub(crate) fn class_of(device: u8) -> ClassId {
    ClassId(if device == 2 { 2 } else { 1 })
}

/// Devices of the site, and permits: class, name, port.
pub(crate) fn ruleset(permits: &[(u32, &str, u16)]) -> Ruleset {
    let class = |n: u32| (ClassId(n), Class { name: format!("zone/{n}"), mode: Mode::Enforce });
    let members = (1..=DEVICES).flat_map(|n| {
        Uplink::addresses(n).map(|ip| Member {
            device: DeviceId::new(&format!("device-{n}")).unwrap(),
            mac: Uplink::mac(n),
            ip,
            class: class_of(n),
        })
    });
    let names = permits.iter().map(|(from, name, port)| NamePermit {
        from: ClassId(*from),
        name: (*name).to_owned(),
        transport: Transport::Tcp,
        first_port: *port,
        last_port: *port,
        rule: format!("to-{name}"),
        terms: Terms::default(),
    });
    Ruleset {
        generation: 1,
        parent: None,
        classes: [class(1), class(2)].into(),
        members: members.collect(),
        peers: Vec::new(),
        permits: Vec::new(),
        exceptions: Vec::new(),
        names: names.collect(),
        proposed: Vec::new(),
    }
}

pub(crate) fn policy(permits: &[(u32, &str, u16)]) -> Policy {
    Policy::of(&ruleset(permits), BTreeSet::new())
}

/// What the resolver told.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<Event>>>);

impl Told {
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let events = self.0.lock().unwrap();
        let findings = events.iter().filter_map(|event| match event {
            Event::Finding(finding) => Some(finding.clone()),
            Event::Asked(_) => None,
        });
        findings.collect()
    }

    pub(crate) fn asked(&self, name: &str) -> Vec<names::Asked> {
        let events = self.0.lock().unwrap();
        let asked = events.iter().filter_map(|event| match event {
            Event::Asked(asked) if asked.name == name => Some(asked.clone()),
            _ => None,
        });
        asked.collect()
    }

    /// Waits for a finding.
    pub(crate) fn finding(&self, kind: &str) {
        let there = || self.findings().iter().any(|finding| finding.kind() == kind);
        let end = wait::now() + Duration::from_secs(20);
        assert!(wait::until(end, there).unwrap(), "no {kind}: {:?}", self.findings());
    }
}

/// Starts a resolver on the box, at the addresses devices know.
pub(crate) fn resolver(
    up: &Uplink,
    wall: &Wall,
    permits: &[(u32, &str, u16)],
    change: impl FnOnce(&mut Config),
) -> (Running, Told) {
    let told = Told::default();
    let events = Arc::clone(&told.0);
    let mut settings = Settings::new(vec![SocketAddr::from((DNSMASQ, 53))]);
    settings.rate_per_s = 10_000;
    let mut config = Config {
        settings,
        policy: policy(permits),
        state_file: None,
        sink: Box::new(wall.clone()),
        observer: Box::new(move |event| events.lock().unwrap().push(event)),
    };
    change(&mut config);
    let listen = BOX.map(|ip| SocketAddr::from((ip, 53)));
    let start = || names::bind(&listen).and_then(|sockets| names::start(sockets, config));
    let running = up.site().enter(start).unwrap().unwrap();
    (running, told)
}

/// A device asks the site's resolver and connects to the first address at once: what it is told
/// there, or why not.
pub(crate) fn visit(
    up: &Uplink,
    device: u8,
    name: &str,
    v6: bool,
    port: u16,
) -> Result<IpAddr, String> {
    let server = SocketAddr::from((BOX[usize::from(v6)], 53));
    let inside = up.device(device).unwrap().enter(|| {
        let found = uplink::resolve(server, name, v6).map_err(|e| format!("resolve: {e}"))?;
        let ip = *found.first().ok_or("no address")?;
        let (_, said) =
            uplink::fetch((ip, port).into(), PATIENCE).map_err(|e| format!("connect: {e}"))?;
        let met: IpAddr = said.parse().map_err(|_| format!("{said:?} is no address"))?;
        if met == ip { Ok(ip) } else { Err(format!("asked {ip}, met {met}")) }
    });
    inside.unwrap()
}

/// A device connects without asking.
pub(crate) fn reaches(up: &Uplink, device: u8, to: IpAddr, port: u16) -> bool {
    let connect = || uplink::fetch((to, port).into(), PATIENCE).is_ok();
    up.device(device).unwrap().enter(connect).unwrap()
}

/// The site, where it can be built here.
pub(crate) fn site(test: &str) -> Option<(Uplink, Wall)> {
    if !lab::need(test) {
        return None;
    }
    let built: Result<Uplink, LabError> = Uplink::new();
    let up = built.unwrap();
    let wall = Wall::build(up.site());
    Some((up, wall))
}

/// Names of the world: `host-N.fresh.example` at one address of each family.
pub(crate) fn fresh(count: u16) -> Vec<(String, Vec<IpAddr>)> {
    let address = |n: u16| {
        let [high, low] = n.to_be_bytes();
        let v6 = format!("2001:db8:1::{n:x}").parse().unwrap();
        vec![IpAddr::from([198, 18, 100 + high, low]), v6]
    };
    (1..=count).map(|n| (format!("host-{n}.fresh.example"), address(n))).collect()
}
