//! Measures the fence, for `./x bench enforcer`: one line `NAME VALUE` per figure on standard output.
//!
//! `cargo run --release -p lab --example fence_figures -- [SHARE]`; a SHARE below 1 makes all
//! sizes smaller, for a first look. Needs root or user namespaces, and `nft` for the peer.

use std::collections::HashSet;
use std::error::Error;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use enforcer::cut::Connections;
use enforcer::netlink::Place;
use enforcer::{Change, Fence};
use lab::proof::{self, Road};
use lab::{Netns, privilege, wait};

type Done<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Done {
    privilege::reexec()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *words.as_slice() {
        ["load", devices] => load(devices.parse()?),
        ["apply", netns, devices] => Ok(proof::apply_forever(Path::new(netns), devices.parse()?)?),
        ["packets", devices] => packets(devices.parse()?),
        [] => all(1.0),
        [share] => all(share.parse()?),
        _ => Err("usage: fence_figures [SHARE]".into()),
    }
}

fn all(share: f64) -> Done {
    let of = |whole: u32| -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive size"
        )]
        let part = (f64::from(whole) * share).max(10.0) as usize;
        part
    };
    let devices = of(500_000);
    let own = std::env::current_exe()?;
    let loaded = Command::new(&own)
        .args(["load", &devices.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    if !loaded.status.success() {
        return Err("the load failed".into());
    }
    print!("{}", String::from_utf8_lossy(&loaded.stdout));
    peer(devices)?;
    packets(devices)?;
    quarantine(of(10_000))?;

    let road = Road::new()?;
    let pause = Duration::from_millis(20);
    let found = proof::swaps(&road, of(100), 1_000, 60_000, pause)?;
    say("swaps", to_f64(found.swaps));
    say("swaps_packets_per_s", found.rate);
    say("swaps_packets", to_f64(found.sent));
    say("swaps_wrong", to_f64(found.wrong_count));
    say("swaps_slowest_ms", found.slowest_ms);
    found.wrong.iter().for_each(|line| eprintln!("wrong: {line}"));

    let road = Road::new()?;
    let path = road.gateway.path();
    let child = || {
        let mut command = Command::new(&own);
        command.arg("apply").arg(&path).arg("2000");
        command
    };
    let found = proof::kills(&road, of(200), 2_000, Duration::from_millis(150), child)?;
    say("kills", to_f64(found.kills));
    say("kills_in_the_middle", to_f64(found.in_the_middle));
    say("kills_wrong", to_f64(found.wrong.len()));
    found.wrong.iter().take(5).for_each(|line| eprintln!("wrong: {line}"));
    Ok(())
}

/// Loads two elements per device in a process of its own, then changes single devices.
fn load(devices: usize) -> Done {
    let netns = Netns::new("rf-load")?;
    let fence = Fence::new(Place::netns(&netns.path()), "ringfence");
    let (mut ruleset, options) = (proof::ruleset(2, devices), proof::options());
    let begin = wait::now();
    let applied = fence.apply(&ruleset, &options)?;
    let load_s = since(begin);
    say("elements", to_f64(applied.elements));
    say("load_s", load_s);
    say("load_peak_mb", peak_mb(std::process::id()).unwrap_or(0.0));

    let begin = wait::now();
    let verified = fence.verify(&ruleset, &options)?.map_err(|d| format!("{d:?}"))?;
    say("verify_s", since(begin));
    say("verify_compared", to_f64(verified.compared));
    let begin = wait::now();
    let verified = fence.verify_all(&ruleset, &options)?.map_err(|d| format!("{d:?}"))?;
    say("verify_all_s", since(begin));
    say("verify_all_compared", to_f64(verified.compared));

    let mut times = Vec::new();
    for turn in 0..1_000 {
        let member = proof::member(turn * 7 % devices).ok_or("no such device")?;
        let generation = 3 + 2 * u64::try_from(turn)?;
        let away = Change { generation, remove: vec![member.clone()], add: Vec::new() };
        let back = Change { generation: generation + 1, add: vec![member], remove: Vec::new() };
        for change in [away, back] {
            let begin = wait::now();
            fence.update(&change)?.map_err(|d| format!("{d:?}"))?;
            times.push(since(begin) * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    say("change_p50_ms", percentile(&times, 0.5));
    say("change_p99_ms", percentile(&times, 0.99));
    // The same by comparing two whole rulesets.
    ruleset.generation = 10_000;
    ruleset.members.truncate(devices.saturating_sub(1));
    let begin = wait::now();
    let applied = fence.apply(&ruleset, &options)?;
    say("change_by_comparing_s", since(begin));
    say("change_by_comparing_sent", to_f64(applied.sent));
    Ok(())
}

/// `nft -f` on the same ruleset.
fn peer(devices: usize) -> Done {
    let netns = Netns::new("rf-peer")?;
    let file = std::env::temp_dir().join(format!("ringfence-figures-{}.nft", std::process::id()));
    fs::write(&file, enforcer::render(&proof::ruleset(2, devices), &proof::options())?)?;
    let _removed = Removed(file.clone());
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", netns.path().display())).args(["nft", "-f"]).arg(&file);
    command.env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin");
    let begin = wait::now();
    let mut child = command.spawn()?;
    let mut peak = 0.0_f64;
    let status = loop {
        peak = peak.max(peak_mb(child.id()).unwrap_or(0.0));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        wait::pass(Duration::from_millis(10))?;
    };
    if status.success() {
        say("nft_load_s", since(begin));
        say("nft_peak_mb", peak);
    }
    Ok(())
}

/// What a packet costs at two sizes, and where there is no fence; the same 1,000 devices send.
fn packets(devices: usize) -> Done {
    const ACTIVE: usize = 1_000;
    const ROUNDS: usize = 400;
    let few = devices.min(5_000);
    let mut roads = Vec::new();
    // Keeps each fence's owner alive.
    let mut fences = Vec::new();
    for size in [0, few, devices] {
        let road = Road::new()?;
        road.answers()?;
        if size > 0 {
            let fence = road.fence();
            fence.apply(&proof::ruleset(2, size), &proof::options())?;
            fences.push(fence);
        }
        let open = road.devices(ACTIVE, proof::ALWAYS)?;
        let denied = road.devices(ACTIVE, proof::NEVER)?;
        let listener = [road.listen(proof::ALWAYS)?, road.listen(proof::NEVER)?];
        roads.push((road, open, denied, listener));
    }
    let mut times = vec![(Vec::new(), Vec::new()); roads.len()];
    for round in 0..ROUNDS + 20 {
        for ((_, open, denied, listeners), (opens, denials)) in roads.iter().zip(&mut times) {
            let (one, other) = (proof::time(open), proof::time(denied));
            for listener in listeners {
                listener.set_nonblocking(true)?;
                while let Ok((_, sender)) = listener.recv_from(&mut [0; 32]) {
                    // The first rounds open the flows: one is open when it was answered.
                    if round < 20 {
                        listener.send_to(b"yes", sender)?;
                    }
                }
            }
            if round >= 20 {
                opens.push(one.as_secs_f64() * 1e9 / to_f64(ACTIVE));
                denials.push(other.as_secs_f64() * 1e9 / to_f64(ACTIVE));
            }
        }
    }
    for ((opens, denials), name) in times.iter_mut().zip(["none", "few", "many"]) {
        opens.sort_by(f64::total_cmp);
        denials.sort_by(f64::total_cmp);
        say(&format!("packet_open_{name}_ns"), percentile(opens, 0.1));
        say(&format!("packet_denied_{name}_ns"), percentile(denials, 0.1));
    }
    say("packet_few_elements", to_f64(2 * few));
    say("packet_many_elements", to_f64(2 * devices));
    Ok(())
}

/// Devices with open flows lose all rights and all flows.
fn quarantine(devices: usize) -> Done {
    let road = Road::new()?;
    let fence = road.fence();
    let ruleset = proof::ruleset(2, 2 * devices);
    fence.apply(&ruleset, &proof::options())?;
    let _listener = road.listen(proof::ALWAYS)?;
    for n in 0..devices {
        road.device(n, proof::ALWAYS)?.send(b"x")?;
    }
    let members = ruleset.members.get(..devices).unwrap_or_default();
    let addresses: HashSet<IpAddr> = members.iter().map(|member| member.ip).collect();
    let mut connections = Connections::open(&Place::netns(&road.gateway.path()))?;
    let before = connections.count()?;
    let begin = wait::now();
    let revoked = fence.revoke(members)?;
    let cut = connections.cut(&addresses)?;
    say("quarantine_s", since(begin));
    say("quarantine_devices", to_f64(revoked.sent / 2));
    say("quarantine_flows", f64::from(before.saturating_sub(connections.count()?)));
    if !cut.is_verified() {
        return Err(format!("the cut was not verified: {cut:?}").into());
    }
    Ok(())
}

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn say(name: &str, value: f64) {
    println!("{name} {value}");
}

fn since(begin: Instant) -> f64 {
    (wait::now() - begin).as_secs_f64()
}

/// Most memory a process has used, in megabytes of 1,000,000 bytes.
fn peak_mb(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1_024.0 / 1e6)
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let at = (to_f64(sorted.len()) * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn to_f64(n: usize) -> f64 {
    n as f64
}
