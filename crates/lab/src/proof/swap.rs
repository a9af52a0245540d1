//! Generations are switched under traffic, and every packet's verdict is checked.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{ALWAYS, IN_TURN, NEVER, Road, options, ruleset};
use crate::{LabError, wait};

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Swaps {
    /// Generations that were put in force and read back.
    pub swaps: usize,
    /// Packets sent, and how many a second.
    pub sent: usize,
    /// Packets a second.
    pub rate: f64,
    /// Packets that arrived.
    pub arrived: usize,
    /// Verdicts that no generation in force at that time gives: one line each, at most a few.
    pub wrong: Vec<String>,
    /// How many those are.
    pub wrong_count: usize,
    /// Longest time from the begin of an apply to the end of its read-back, milliseconds.
    pub slowest_ms: f64,
}

/// Ports in the order in which packets are sent to them.
const PORTS: [u16; 4] = [IN_TURN[0], IN_TURN[1], ALWAYS, NEVER];
/// Flows per port.
const FLOWS: usize = 16;
/// A packet that did not arrive was judged at most so long after it was sent: the road is a few
/// function calls, but a busy machine may stop in between.
const JUDGED_WITHIN: Duration = Duration::from_millis(250);

/// When a generation may have been in force: from the begin of its apply to the end of the
/// read-back of the next; and when nothing else was.
#[derive(Clone, Copy, Debug)]
struct Reign {
    generation: u64,
    begin: Instant,
    verified: Instant,
}

/// Switches `count` times between generations of `devices` devices, at least `pause` apart, while
/// packets are sent at up to `rate` a second.
pub fn swaps(
    road: &Road,
    count: usize,
    devices: usize,
    rate: usize,
    pause: Duration,
) -> Result<Swaps, LabError> {
    let fence = road.fence();
    let mut reigns = vec![reign(&fence, 2, devices)?];
    let stop = Arc::new(AtomicBool::new(false));
    let mut listeners = Vec::new();
    for port in PORTS {
        let socket = road.listen(port)?;
        let stop = Arc::clone(&stop);
        listeners.push(std::thread::spawn(move || hear(&socket, &stop)));
    }
    let mut sockets = Vec::new();
    for n in 0..FLOWS {
        for port in PORTS {
            sockets.push(road.device(n, port)?);
        }
    }
    let sending = Arc::clone(&stop);
    let sender = std::thread::spawn(move || send(&sockets, rate, &sending));
    let mut failed = None;
    for generation in 3..=u64::try_from(count).unwrap_or(u64::MAX).saturating_add(2) {
        let passed = wait::pass(pause);
        match passed.and_then(|()| reign(&fence, generation, devices)) {
            Ok(reign) => reigns.push(reign),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let _ = wait::pass(pause);
    stop.store(true, Ordering::SeqCst);
    let panicked = || LabError::failed("send or receive", "a thread panicked");
    let sent = sender.join().map_err(|_| panicked())?;
    let mut arrived = vec![None; sent.len()];
    for listener in listeners {
        for (number, at) in listener.join().map_err(|_| panicked())? {
            if let Some(place) = arrived.get_mut(number) {
                *place = Some(at);
            }
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(judge(&reigns, &sent, &arrived)),
    }
}

fn reign(fence: &enforcer::Fence, generation: u64, devices: usize) -> Result<Reign, LabError> {
    let (ruleset, options) = (ruleset(generation, devices), options());
    let begin = wait::now();
    fence.apply(&ruleset, &options)?;
    let told = fence.verify(&ruleset, &options)?;
    told.map_err(|differences| {
        let told: Vec<_> = differences.iter().take(3).map(ToString::to_string).collect();
        LabError::failed("verify a generation", told.join("; "))
    })?;
    Ok(Reign { generation, begin, verified: wait::now() })
}

/// Packet `n` goes to port `n % 4`; when each was sent.
fn send(sockets: &[UdpSocket], rate: usize, stop: &AtomicBool) -> Vec<Instant> {
    let mut sent = Vec::with_capacity(1 << 20);
    let begin = wait::now();
    while !stop.load(Ordering::Relaxed) {
        let due = wait::now().duration_since(begin).as_secs_f64() * to_f64(rate);
        if to_f64(sent.len()) > due {
            std::hint::spin_loop();
            continue;
        }
        for socket in sockets {
            let number = u64::try_from(sent.len()).unwrap_or(0);
            sent.push(wait::now());
            let _ = socket.send(&number.to_be_bytes());
        }
    }
    sent
}

fn hear(socket: &UdpSocket, stop: &AtomicBool) -> Vec<(usize, Instant)> {
    let mut heard = Vec::with_capacity(1 << 18);
    let mut packet = [0; 64];
    loop {
        match socket.recv(&mut packet) {
            Ok(_) => {
                let number = packet.first_chunk().copied().map_or(0, u64::from_be_bytes);
                heard.push((usize::try_from(number).unwrap_or(usize::MAX), wait::now()));
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if stop.load(Ordering::SeqCst) {
                    return heard;
                }
            }
            Err(_) => return heard,
        }
    }
}

fn judge(reigns: &[Reign], sent: &[Instant], arrived: &[Option<Instant>]) -> Swaps {
    let mut out =
        Swaps { swaps: reigns.len().saturating_sub(1), sent: sent.len(), ..Swaps::default() };
    let lasted = sent.first().zip(sent.last()).map_or(0.0, |(a, b)| (*b - *a).as_secs_f64());
    out.rate = if lasted > 0.0 { to_f64(sent.len()) / lasted } else { 0.0 };
    let slowest = reigns.iter().map(|reign| reign.verified - reign.begin).max();
    out.slowest_ms = slowest.unwrap_or_default().as_secs_f64() * 1e3;
    for (number, (at, came)) in sent.iter().zip(arrived).enumerate() {
        out.arrived += usize::from(came.is_some());
        let port = PORTS.into_iter().nth(number % PORTS.len()).unwrap_or(NEVER);
        let until = came.unwrap_or(*at + JUDGED_WITHIN);
        let ends = |index: usize| reigns.get(index + 1).map(|next| next.verified);
        let possible = reigns.iter().enumerate().filter(|(index, reign)| {
            reign.begin <= until && ends(*index).is_none_or(|end| *at <= end)
        });
        let mut possible = possible.map(|(_, reign)| permits(reign.generation, port));
        if !possible.any(|permitted| permitted == came.is_some()) {
            out.wrong_count += 1;
            if out.wrong.len() < 5 {
                let word = if came.is_some() { "arrived" } else { "did not arrive" };
                out.wrong.push(format!("packet {number} to port {port} {word}"));
            }
        }
    }
    out
}

fn permits(generation: u64, port: u16) -> bool {
    port == ALWAYS
        || (port != NEVER
            && port == IN_TURN.into_iter().nth(usize::from(generation % 2 == 1)).unwrap_or(0))
}

#[expect(clippy::cast_precision_loss, reason = "rates for people")]
fn to_f64(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_verdict_is_found() {
        let zero = wait::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        let reign = |generation, begin, verified| Reign {
            generation,
            begin: at(begin),
            verified: at(verified),
        };
        let reigns = [reign(2, 0, 1), reign(3, 1_000, 1_010)];
        let check = |number: usize, sent: u64, came: Option<u64>, wrong: usize| {
            let mut times = vec![at(0); number];
            times.push(at(sent));
            // Earlier packets get the verdict that is due to them.
            let due = |n: usize| permits(2, PORTS[n % 4]).then(|| at(0));
            let mut arrived: Vec<_> = (0..number).map(due).collect();
            arrived.push(came.map(at));
            let found = judge(&reigns, &times, &arrived);
            assert_eq!(found.wrong_count, wrong, "{number} {sent} {came:?}: {:?}", found.wrong);
        };
        // Port 7000 is even generations', 7001 odd ones'.
        check(0, 500, Some(501), 0);
        check(0, 500, None, 1);
        check(1, 500, Some(501), 1);
        check(1, 1_005, Some(1_006), 0);
        check(1, 1_005, None, 0);
        check(1, 1_020, None, 1);
        check(0, 1_020, Some(1_021), 1);
        check(2, 1_005, None, 1);
        check(3, 1_005, Some(1_006), 1);
    }
}
