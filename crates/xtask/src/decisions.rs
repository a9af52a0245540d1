//! `bench policy`: decisions, and whole matrices of them, beside Cedar's own authorizer.
//!
//! The estate has 50,000 devices of 500 zones and 500 services. Policies come in ten shapes, from a zone
//! and a group with a port to conditions that compare both ends; a few forbids cut across. Requests are random.
//! Answers are compared with Cedar's one by one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use model::inspect::Scope;
use model::observation::Transport;
use model::{Assurance, DeviceId, IdError, ServiceId, SiteId};
use policy::cedar::{self, Oracle};
use policy::decide::{Action, Ask, Decider, View};
use policy::folder::{self, Device, Folder, Group, Owner, SCHEMA, Service, Site, Zone};
use policy::moment::Moment;

use crate::figures::{self, Bar, Figure};
use crate::reach::timed;
use crate::{Options, Stop};

pub(crate) const DEVICES: u32 = 50_000;
const SERVICES: u32 = 500;
const ZONES: u32 = 500;
const CLASSES: [&str; 10] = [
    "cameras",
    "recorders",
    "plcs",
    "hmi-scada",
    "printers",
    "tills",
    "scanners",
    "sensors",
    "media",
    "servers",
];
const PORTS: [(Transport, u16); 8] = [
    (Transport::Tcp, 443),
    (Transport::Tcp, 554),
    (Transport::Tcp, 502),
    (Transport::Tcp, 9100),
    (Transport::Udp, 53),
    (Transport::Udp, 123),
    (Transport::Tcp, 1883),
    (Transport::Tcp, 23),
];
/// Decisions that are timed.
const TIMED: usize = 4_000_000;

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<bool, Stop> {
    let mut figures = Vec::new();
    for (count, per_decision_us, compared) in [(50, 0.2, 1_000_000), (5_000, 1.0, 20_000)] {
        let folder = estate(count, DEVICES)?;
        let (decider, compile_secs) = timed(|| Decider::new(&folder, View::Today));
        let asks = asks(TIMED);
        let warm = asks.iter().filter(|ask| decider.decide(ask).allowed).count();
        let (allowed, secs) = timed(|| asks.iter().filter(|a| decider.decide(a).allowed).count());
        if warm != allowed || allowed == 0 || allowed == TIMED {
            return Err(Stop(format!("{allowed} of {TIMED} requests are allowed: no fair mix")));
        }
        let oracle = Oracle::new(&folder).map_err(|f| Stop(f.to_string()))?;
        let sample = asks.get(..compared).unwrap_or(&asks);
        let (wrong, cedar_secs) = timed(|| differ(sample, &oracle, &decider));
        let (matrix, matrix_secs) =
            timed(|| decider.matrix(Action::Connect, &PORTS, Moment::default()));
        let sampled = asks.iter().take(100_000).filter(|ask| {
            let path = PORTS.iter().position(|p| *p == (ask.transport, ask.port)).unwrap_or(0);
            matrix.allows(ask.device, ask.service, path) != decider.decide(ask).allowed
        });
        let matrix_wrong = sampled.count();
        let name = |what: &str| format!("{count} policies: {what}");
        figures.extend([
            Figure::new(name("compiled"), compile_secs, "CPU s"),
            Figure::new(name("share allowed"), share(allowed, TIMED), "of requests"),
            Figure::new(name("one decision, beside Cedar"), micros(secs, TIMED), "CPU µs")
                .beside(Some(micros(cedar_secs, compared)))
                .bar(Bar::AtMost(per_decision_us)),
            Figure::new(name("requests compared with Cedar"), float(compared), "request"),
            Figure::new(name("disagreements"), float(wrong), "request").bar(Bar::AtMost(0.0)),
            Figure::new(name("matrix cells allowed"), share_of(&matrix), "of 200 million"),
            Figure::new(name("matrix of 50,000 × 500 × 8"), matrix_secs, "CPU s")
                .bar(Bar::AtMost(2.0)),
            Figure::new(
                name("matrix cells that differ from decisions"),
                float(matrix_wrong),
                "cell",
            )
            .bar(Bar::AtMost(0.0)),
        ]);
    }
    figures::print("bench policy", &figures, options)
}

/// Requests that Cedar answers otherwise. On all processors, since Cedar takes minutes.
fn differ(asks: &[Ask], oracle: &Oracle<'_>, decider: &Decider<'_>) -> usize {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let count = |part: &[Ask]| {
        part.iter().filter(|ask| oracle.decide(ask) != Ok(decider.decide(ask).allowed)).count()
    };
    std::thread::scope(|scope| {
        let parts = asks.chunks(asks.len().div_ceil(threads).max(1));
        let all: Vec<_> = parts.map(|part| scope.spawn(move || count(part))).collect();
        // A thread that panicked compared nothing: everything counts as wrong.
        all.into_iter().map(|thread| thread.join().unwrap_or(asks.len())).sum()
    })
}

fn share_of(matrix: &policy::decide::Matrix) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    let share = matrix.allowed() as f64 / matrix.cells().max(1) as f64;
    share
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn float(n: usize) -> f64 {
    n as f64
}

fn share(part: usize, of: usize) -> f64 {
    float(part) / float(of)
}

fn micros(secs: f64, times: usize) -> f64 {
    secs * 1e6 / float(times)
}

/// A random sequence that is the same in every run (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or(0);
        high % n.max(1)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let n = u32::try_from(from.len()).unwrap_or(u32::MAX);
        from.get(usize::try_from(self.below(n)).unwrap_or(0))
    }
}

fn asks(count: usize) -> Vec<Ask> {
    let mut random = Random(42);
    let number = |n: u32| usize::try_from(n).unwrap_or(0);
    let one = |_| {
        let (transport, port) = random.pick(&PORTS).copied().unwrap_or((Transport::Tcp, 443));
        Ask {
            device: number(random.below(DEVICES)),
            service: number(random.below(SERVICES)),
            action: Action::Connect,
            transport,
            port,
            moment: Moment::default(),
        }
    };
    (0..count).map(one).collect()
}

pub(crate) fn class_of(zone: u32) -> &'static str {
    CLASSES.get(usize::try_from(zone % 10).unwrap_or(0)).copied().unwrap_or("servers")
}

pub(crate) fn estate(policies: u32, devices: u32) -> Result<Folder, Stop> {
    let wrong = |e: IdError| Stop(format!("the estate cannot be made: {e}"));
    let mut folder = Folder {
        schema: SCHEMA.to_owned(),
        estate: folder::Estate::default(),
        policies: Vec::new(),
        tests: folder::Tests::default(),
        claims: Vec::new(),
        exceptions: Vec::new(),
        cards: Vec::new(),
    };
    let mut random = Random(7);
    let estate = &mut folder.estate;
    for n in 0..ZONES / 10 {
        estate.sites.push(Site { id: SiteId::new(&format!("shop-{n}")).map_err(wrong)? });
    }
    for n in 0..ZONES {
        estate.zones.push(Zone {
            id: format!("z{n}"),
            site: Some(SiteId::new(&format!("shop-{}", n / 10)).map_err(wrong)?),
            class: class_of(n).to_owned(),
            ..Zone::default()
        });
    }
    let outside = "external".to_owned();
    estate.zones.push(Zone { id: outside.clone(), class: outside, ..Zone::default() });
    let owners = ["", "it", "logistics", "facilities"];
    for owner in owners.into_iter().skip(1) {
        let contact = format!("{owner}@acme.example");
        estate.owners.push(Owner { id: owner.to_owned(), contact });
    }
    for n in 0..devices {
        let zone = n % ZONES;
        estate.devices.push(Device {
            id: DeviceId::new(&format!("d{n}")).map_err(wrong)?,
            name: String::new(),
            kind: format!("{}-{}", class_of(zone), random.below(3)),
            zone: format!("z{zone}"),
            macs: Vec::new(),
            addresses: vec![Ipv4Addr::from_bits(0x0a00_0000 | n).into()],
            behind: None,
            owner: random.pick(&owners).copied().unwrap_or("").to_owned(),
            assurance: random
                .pick(&[Assurance::Observed, Assurance::Vouched, Assurance::DeviceKey])
                .copied()
                .unwrap_or(Assurance::Observed),
            support: if random.below(8) == 0 { "ended" } else { "supported" }.to_owned(),
            exposure: "none".to_owned(),
            posture: if random.below(200) == 0 { "quarantined" } else { "normal" }.to_owned(),
            meant: None,
            mud_url: None,
        });
    }
    let mut groups: BTreeMap<u32, Vec<ServiceId>> = BTreeMap::new();
    for n in 0..SERVICES {
        let id = ServiceId::new(&format!("s{n}")).map_err(wrong)?;
        let (transport, port) = random.pick(&PORTS).copied().unwrap_or((Transport::Tcp, 443));
        let outside = n % 10 == 0;
        groups.entry(n / 5).or_default().push(id.clone());
        let host = DeviceId::new(&format!("d{}", random.below(devices))).map_err(wrong)?;
        let zone = format!(
            "z{}",
            host.as_str().trim_start_matches('d').parse::<u32>().unwrap_or(0) % ZONES
        );
        estate.services.push(Service {
            id,
            name: String::new(),
            device: (!outside).then_some(host),
            scope: if outside { Scope::External } else { Scope::Estate },
            zone: if outside { "external".to_owned() } else { zone },
            addresses: if outside {
                vec![Ipv4Addr::from_bits(0xcb00_7100 | (n % 256)).into()]
            } else {
                Vec::new()
            },
            dns_names: Vec::new(),
            transport,
            port,
            application: if port == 443 { "https" } else { "" }.to_owned(),
            owner: random.pick(&owners).copied().unwrap_or("").to_owned(),
            sensitive: random.below(6) == 0,
            assurance_min: if random.below(5) == 0 {
                Assurance::Vouched
            } else {
                Assurance::Observed
            },
        });
    }
    for (number, services) in groups {
        estate.groups.push(Group { id: format!("g{number}"), services });
    }
    let text = text(policies, devices, &mut random);
    let files = [("policies/bench.cedar", text.as_str())];
    folder.policies = cedar::read_all(&files)
        .map_err(|f| Stop(f.first().map_or(String::new(), ToString::to_string)))?;
    Ok(folder)
}

/// So many policies, as a person would write them. Few policies speak of wide scopes, many of narrow ones.
fn text(count: u32, devices: u32, random: &mut Random) -> String {
    let mut text = String::new();
    let wide = count <= 100;
    for n in 0..count {
        let zone = random.below(ZONES);
        let site = format!("Site::\"shop-{}\"", random.below(ZONES / 10));
        let kind = format!("DeviceType::\"{}-{}\"", class_of(random.below(10)), random.below(3));
        let zone = if wide { site.clone() } else { format!("Zone::\"z{zone}\"") };
        let group = format!("ServiceGroup::\"g{}\"", random.below(SERVICES / 5));
        let service = format!("Service::\"s{}\"", random.below(SERVICES));
        let device = format!("Device::\"d{}\"", random.below(devices));
        let port = random.pick(&PORTS).map_or(443, |p| p.1);
        let (effect, principal, resource, when) = match n % 10 {
            0 => ("permit", format!("principal in {zone}"), format!("resource in {group}"), format!("when {{ context.protocol == \"tcp\" && context.port == {port} }}")),
            1 => ("permit", format!("principal is Device in {kind}"), format!("resource == {service}"), String::new()),
            2 => ("permit", format!("principal in {kind}"), "resource".to_owned(), "when { resource has site && principal.site == resource.site }".to_owned()),
            3 => ("permit", format!("principal in {kind}"), format!("resource in {group}"), "when { principal.owner == resource.owner && principal.owner != \"\" }".to_owned()),
            4 => ("permit", format!("principal == {device}"), format!("resource == {service}"), String::new()),
            5 => ("permit", format!("principal in {zone}"), "resource is Service".to_owned(), format!("when {{ context.port == {port} }} unless {{ resource.sensitive }}")),
            6 => ("permit", format!("principal in {kind}"), "resource".to_owned(), "when { resource.scope == \"external\" && resource.application == \"https\" }".to_owned()),
            7 => ("forbid", format!("principal in {kind}"), format!("resource in {group}"), "when { [21, 23].contains(context.port) }".to_owned()),
            8 => ("permit", format!("principal in {zone}"), format!("resource in {group}"), "when { principal.support != \"ended\" } unless { principal.assurance < resource.assurance_min }".to_owned()),
            _ => ("forbid", "principal".to_owned(), format!("resource == {service}"), format!("unless {{ principal.zone.class == \"{}\" || principal.owner == resource.owner }}", class_of(random.below(10)))),
        };
        let _ = writeln!(
            text,
            "@id(\"p{n}\")\n{effect} ({principal}, action == Action::\"connect\", {resource}) {when};"
        );
    }
    text.push_str(
        "@id(\"ceiling\")\nforbid (principal, action, resource) unless { principal.assurance >= resource.assurance_min };\n\
         @id(\"quarantine\")\nforbid (principal, action, resource) when { principal.posture == \"quarantined\" };\n\
         @id(\"owner\")\nforbid (principal, action, resource) when { principal.owner == \"\" && resource.sensitive };\n",
    );
    text
}
