//! `bench names`: devices that ask for a name they never asked for, and connect at once, behind the
//! real fence in network namespaces; dnsmasq is the upstream. Beside it a resolver that does not wait.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use enforcer::netlink::Place;
use enforcer::{Fence, Options};
use lab::uplink::{self, BOX, DEVICES, DNSMASQ, Uplink};
use model::observation::Transport;
use model::ruleset::{Class, ClassId, Member, Mode, NamePermit, Ruleset, Terms};
use model::{DeviceId, Timestamp};
use names::{Config, Grant, Policy, Running, Settings, Sink};
use site::resolve::Opener;

use crate::figures::{Bar, Figure, print};
use crate::{Options as Show, Stop};

/// Names of the bench.
const NAMES: usize = 10_000;
/// Names of the resolver that does not wait.
const PEER: usize = 1_000;
/// Clients at once.
const CLIENTS: usize = 4;
/// A first packet that is dropped is sent again after a second.
const LOST: Duration = Duration::from_millis(950);
const PORT: u16 = 8080;

/// The fence, told while the answer is on its way.
struct Later(mpsc::Sender<Grant>);

impl Sink for Later {
    fn put_in_force(&mut self, grant: &Grant) -> Result<(), String> {
        self.0.send(grant.clone()).map_err(|e| e.to_string())
    }
}

pub(crate) fn run(show: &Show) -> Result<bool, Stop> {
    let stop = |what: &str, e: &dyn std::fmt::Display| Stop(format!("cannot {what}: {e}"));
    let up = Uplink::new().map_err(|e| stop("build the site", &e))?;
    let names = names_of_the_world();
    up.dnsmasq(&names, 300).map_err(|e| stop("start dnsmasq", &e))?;
    let ruleset = ruleset();
    let options =
        Options { input: false, ..Options::new("lan0", Timestamp::from_secs(1_700_000_000, 0)) };
    let fence = Fence::new(Place::netns(&up.site().path()), "ringfence");
    fence.apply(&ruleset, &options).map_err(|e| stop("apply the fence", &e))?;
    let kernel = Opener(fence.clone());

    let (begin, rest) = names.split_at(PEER.min(names.len()));
    let (sender, grants) = mpsc::channel();
    let mut late = kernel.clone();
    let later = thread::spawn(move || grants.iter().for_each(|g| drop(late.put_in_force(&g))));
    let running = resolver(&up, &ruleset, Box::new(Later(sender)))?;
    let peer = visits(&up, begin)?;
    drop(running);
    let _ = later.join();

    let running = resolver(&up, &ruleset, Box::new(kernel))?;
    let before = denied(&fence)?;
    let mut seen = visits(&up, rest)?;
    let dropped = denied(&fence)?.saturating_sub(before);
    let counts = running.counts().ok_or_else(|| Stop("the resolver ended".to_owned()))?;
    seen.took_ms.sort_by(f64::total_cmp);
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index below ten thousand"
        )]
        let index = (seen.took_ms.len() as f64 * share) as usize;
        seen.took_ms.get(index).copied().unwrap_or(f64::NAN)
    };
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
    let number = |n: usize| n as f64;
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
    let figures = [
        Figure::new("fresh names, answer and connection at once", number(rest.len()), "names")
            .bar(Bar::AtLeast(number(NAMES))),
        Figure::new("first connections lost", number(seen.lost), "").bar(Bar::AtMost(0.0)),
        Figure::new("first packets the fence dropped", dropped as f64, "").bar(Bar::AtMost(0.0)),
        Figure::new("answers withheld", counts.withheld as f64, "").bar(Bar::AtMost(0.0)),
        Figure::new(
            format!("lost of {PEER} by a resolver that does not wait"),
            number(peer.lost),
            "",
        ),
        Figure::new("name to answer, p50", at(0.5), "ms"),
        Figure::new("name to answer, p99", at(0.99), "ms"),
    ];
    for why in seen.why.iter().take(5) {
        eprintln!("xtask: lost: {why}");
    }
    print("names", &figures, show)
}

#[derive(Debug, Default)]
struct Seen {
    lost: usize,
    why: Vec<String>,
    took_ms: Vec<f64>,
}

/// Every name once, by several devices at a time.
fn visits(up: &Uplink, names: &[(String, Vec<IpAddr>)]) -> Result<Seen, Stop> {
    let next = AtomicUsize::new(0);
    let seen = Mutex::new(Seen::default());
    let server = SocketAddr::from((BOX[0], 53));
    let visit = |name: &str, expect: &[IpAddr]| -> Result<f64, String> {
        let began = lab::wait::now();
        let found = uplink::resolve(server, name, false).map_err(|e| format!("resolve: {e}"))?;
        let took = lab::wait::now().saturating_duration_since(began).as_secs_f64() * 1_000.0;
        let ip = *found.first().filter(|ip| expect.contains(ip)).ok_or("another address")?;
        let (_, said) =
            uplink::fetch((ip, PORT).into(), LOST).map_err(|e| format!("connect: {e}"))?;
        if said == ip.to_string() { Ok(took) } else { Err(format!("met {said}")) }
    };
    let work = || {
        while let Some((name, addresses)) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = visit(name, addresses);
            let Ok(mut seen) = seen.lock() else { return };
            match result {
                Ok(took) => seen.took_ms.push(took),
                Err(why) => {
                    seen.lost += 1;
                    seen.why.push(format!("{name}: {why}"));
                }
            }
        }
    };
    let entered: Result<Vec<()>, _> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let device = if n % 2 == 0 { 1 } else { 3 };
                scope.spawn(move || {
                    let device = up.device(device).map_err(|e| Stop(e.to_string()))?;
                    device.enter(work).map_err(|e| Stop(format!("cannot enter a device: {e}")))
                })
            })
            .collect();
        let ended = clients.into_iter().map(|client| {
            client.join().unwrap_or_else(|_| Err(Stop("a client stopped".to_owned())))
        });
        ended.collect()
    });
    entered?;
    seen.into_inner().map_err(|_| Stop("a client stopped".to_owned()))
}

fn resolver(up: &Uplink, ruleset: &Ruleset, sink: Box<dyn Sink>) -> Result<Running, Stop> {
    let mut settings = Settings::new(vec![SocketAddr::from((DNSMASQ, 53))]);
    (settings.rate_per_s, settings.burst) = (100_000, 100_000);
    let config = Config {
        settings,
        policy: Policy::of(ruleset, BTreeSet::new()),
        state_file: None,
        sink,
        observer: Box::new(|event| {
            if let names::Event::Finding(finding) = event {
                eprintln!("xtask: {finding}");
            }
        }),
    };
    let listen = [SocketAddr::from((BOX[0], 53))];
    let started =
        up.site().enter(|| names::bind(&listen).and_then(|sockets| names::start(sockets, config)));
    started
        .map_err(|e| Stop(format!("cannot enter the box: {e}")))?
        .map_err(|e| Stop(e.to_string()))
}

/// Packets of the devices' class that nothing permitted.
fn denied(fence: &Fence) -> Result<u64, Stop> {
    let read = fence.read().map_err(|e| Stop(format!("cannot read the fence: {e}")))?;
    Ok(read.denials.iter().filter(|d| d.protocol == 6).map(|d| d.packets).sum())
}

fn names_of_the_world() -> Vec<(String, Vec<IpAddr>)> {
    let address = |n: usize| {
        let n = u32::try_from(n).unwrap_or_default() + 0x0100;
        IpAddr::from((u32::from_be_bytes([198, 18, 0, 0]) + n).to_be_bytes())
    };
    (0..NAMES + PEER).map(|n| (format!("n{n}.fresh.example"), vec![address(n)])).collect()
}

fn ruleset() -> Ruleset {
    let members = (1..=DEVICES).flat_map(|n| {
        Uplink::addresses(n).into_iter().filter_map(move |ip| {
            let device = DeviceId::new(&format!("device-{n}")).ok()?;
            Some(Member { device, mac: Uplink::mac(n), ip, class: ClassId(1) })
        })
    });
    let class = Class { name: "zone/devices".to_owned(), mode: Mode::Enforce };
    let permit = NamePermit {
        from: ClassId(1),
        name: "*.fresh.example".to_owned(),
        transport: Transport::Tcp,
        first_port: PORT,
        last_port: PORT,
        rule: "devices-to-fresh".to_owned(),
        terms: Terms::default(),
    };
    Ruleset {
        generation: 1,
        parent: None,
        classes: [(ClassId(1), class)].into(),
        members: members.collect(),
        peers: Vec::new(),
        permits: Vec::new(),
        exceptions: Vec::new(),
        names: vec![permit],
        proposed: Vec::new(),
    }
}
