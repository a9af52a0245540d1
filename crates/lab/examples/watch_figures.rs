//! Measures what watches the fence, for `./x bench enforcer`: one line `NAME VALUE` per figure on
//! standard output.
//!
//! `cargo run --release -p lab --example watch_figures`. Needs root or user namespaces, and `nft`
//! as the vandal.

use std::error::Error;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use enforcer::cut::quarantine;
use enforcer::drift::{Expected, Finding, Guard};
use enforcer::netlink::Place;
use enforcer::verdict::Log;
use enforcer::{Options, Ownership, Runner as _};
use lab::proof::{self, Road};
use lab::{privilege, wait};

type Done<T = ()> = Result<T, Box<dyn Error>>;

const TRIALS: usize = 20;
const RECORDS: u64 = 300_000;

fn main() -> Done {
    privilege::reexec()?;
    cut()?;
    drift()?;
    log()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn tell(name: &str, value: f64) {
    println!("{name} {value}");
}

/// Median and worst.
fn tell_all(name: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let at = |n: usize| times.get(n).copied().unwrap_or(f64::NAN);
    tell(&format!("{name}_p50_ms"), at(times.len() / 2));
    tell(&format!("{name}_max_ms"), at(times.len().saturating_sub(1)));
}

/// From the call that revokes a device to the last packet of its open flow at the victim.
fn cut() -> Done {
    let road = Road::new()?;
    let (fence, options) = (road.fence(), proof::options());
    let ruleset = proof::ruleset(2, TRIALS + 10);
    fence.apply(&ruleset, &options)?;
    let place = Place::netns(&road.gateway.path());
    let mut times = Vec::new();
    for member in ruleset.members.iter().take(TRIALS) {
        let n = times.len();
        let socket = road.device(n, proof::ALWAYS)?;
        let victim = road.listen(proof::ALWAYS)?;
        let stop = AtomicBool::new(false);
        let took = thread::scope(|scope| -> Done<Duration> {
            scope.spawn(|| send(&socket, &stop));
            let took = last_arrival(&victim, || {
                let revoked = quarantine(&fence, &place, std::slice::from_ref(member))?;
                if revoked.cut.is_verified() { Ok(()) } else { Err("flows are left".into()) }
            });
            stop.store(true, Ordering::Relaxed);
            took
        })?;
        times.push(milliseconds(took));
    }
    tell_all("cut", times);
    Ok(())
}

fn send(socket: &UdpSocket, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let _ = socket.send(&[0; 16]);
        let _ = wait::pass(Duration::from_micros(200));
    }
}

/// Runs `act` while packets arrive; the time from its beginning to the last packet before a second
/// of silence.
fn last_arrival(victim: &UdpSocket, act: impl FnOnce() -> Done) -> Done<Duration> {
    let arrives = || victim.recv(&mut [0; 64]).is_ok();
    let deadline = wait::now() + Duration::from_secs(10);
    while !arrives() {
        if wait::now() > deadline {
            return Err("the flow never began".into());
        }
    }
    let begin = wait::now();
    act()?;
    let mut last = begin;
    while wait::now() - last < Duration::from_secs(1) {
        if arrives() {
            last = wait::now();
        }
        if wait::now() - begin > Duration::from_secs(10) {
            return Err("the flow goes on".into());
        }
    }
    Ok(last - begin)
}

/// From the end of the vandal's program to the fence put back and read back.
fn drift() -> Done {
    let road = Road::new()?;
    let fence = road.fence();
    let options = Options { ownership: Ownership::Open, ..proof::options() };
    let ruleset = proof::ruleset(3, 10_000);
    fence.apply(&ruleset, &options)?;
    let place = Place::netns(&road.gateway.path());
    let mut guard = Guard::open(&place, "ringfence", 0, Expected::default())?;
    guard.watch().is_own_port(fence.port()?);
    let mut restore = || {
        fence.apply(&ruleset, &options)?;
        let _ = fence.verify(&ruleset, &options)?;
        Ok(())
    };
    guard.step(Duration::ZERO, &mut restore)?;
    let mut times = Vec::new();
    for _ in 0..TRIALS {
        let vandal = road.gateway.run(&["nft", "insert rule inet ringfence forward accept"], "")?;
        if vandal.code != 0 {
            return Err(vandal.stderr.into());
        }
        let begin = wait::now();
        undone(&mut guard, &mut restore, begin)?;
        times.push(milliseconds(wait::now() - begin));
    }
    if fence.verify(&ruleset, &options)?.is_err() {
        return Err("the fence is not what it was".into());
    }
    fence.remove()?;
    tell("drift_devices", 10_000.0);
    tell_all("drift", times);
    Ok(())
}

fn undone(
    guard: &mut Guard,
    restore: &mut dyn FnMut() -> Result<(), enforcer::EnforceError>,
    begin: Instant,
) -> Done {
    while wait::now() - begin < Duration::from_secs(20) {
        let told = guard.step(Duration::from_millis(200), restore)?;
        if told.iter().any(|f| matches!(f, Finding::Changed { restored: true, .. })) {
            return Ok(());
        }
    }
    Err("the change was not noticed".into())
}

/// Every packet logged, as fast as one sender sends: what is read, and what is missing.
fn log() -> Done {
    let road = Road::new()?;
    let rules = "table inet flood {\n chain f {\n type filter hook forward priority -10\n \
                 log prefix \"rf:d:1:1:0\" group 12\n }\n}\n";
    let made = road.gateway.run(&["nft", "-f", "-"], rules)?;
    if made.code != 0 {
        return Err(made.stderr.into());
    }
    let mut log = Log::open(&Place::netns(&road.gateway.path()), 12)?;
    let socket = road.device(1, proof::ALWAYS)?;
    let sent = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let (read, lost, took) = thread::scope(|scope| -> Done<(u64, u64, Duration)> {
        scope.spawn(|| {
            while sent.load(Ordering::Relaxed) < RECORDS {
                // A full queue further on is nobody's failure: the packet was logged before.
                let _ = socket.send(&[0; 16]);
                sent.fetch_add(1, Ordering::Relaxed);
            }
            over.store(true, Ordering::Relaxed);
        });
        let begin = wait::now();
        let (mut read, mut lost, mut last) = (0, 0, begin);
        loop {
            let before = read;
            let gap = log.read(Duration::from_millis(300), |_, _| read += 1)?;
            lost += gap.map_or(0, |gap| gap.records.max(1));
            if read > before {
                last = wait::now();
            } else if over.load(Ordering::Relaxed) {
                return Ok((read, lost, last - begin));
            }
        }
    })?;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (read, lost) = (read as f64, lost as f64);
    tell("log_records", read);
    tell("log_records_per_s", read / took.as_secs_f64());
    tell("log_lost", lost);
    Ok(())
}
