//! A process that puts generations in force is killed at any moment, again and again.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use enforcer::netlink::Place;
use enforcer::verify::Drift;
use enforcer::{EnforceError, Fence};

use super::{ALWAYS, IN_TURN, NEVER, Road, options, ruleset};
use crate::{LabError, wait};

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kills {
    /// Processes killed.
    pub kills: usize,
    /// Of these, while more than one generation's objects were in the kernel: in the middle of an
    /// apply.
    pub in_the_middle: usize,
    /// Generations put in force.
    pub generations: u64,
    /// What was not as one whole generation wants it, in words.
    pub wrong: Vec<String>,
}

/// Puts one generation after the other in force until it is killed: what the process does that
/// [`kills`] starts.
pub fn apply_forever(netns: &Path, devices: usize) -> Result<(), EnforceError> {
    let fence = Fence::new(Place::netns(netns), "ringfence");
    let mut generation = fence.read()?.generation.unwrap_or(0);
    loop {
        generation += 1;
        fence.apply(&ruleset(generation, devices), &options())?;
    }
}

/// Starts `child` (it must end in [`apply_forever`] in the road's gateway with `devices`), kills
/// it within `up_to`, and looks what is in force; `count` times.
pub fn kills(
    road: &Road,
    count: usize,
    devices: usize,
    up_to: Duration,
    child: impl Fn() -> Command,
) -> Result<Kills, LabError> {
    let mut out = Kills::default();
    let reader = road.fence();
    // What stands before the first kill is a generation, too.
    road.fence().apply(&ruleset(1, devices), &options())?;
    let listeners = [IN_TURN[0], IN_TURN[1], ALWAYS, NEVER].map(|port| road.listen(port));
    let listeners: Result<Vec<_>, _> = listeners.into_iter().collect();
    let listeners = listeners?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..count {
        let mut command = child();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = command.spawn().map_err(|e| LabError::failed("start a process", e))?;
        // SplitMix64; any moment is as good as any other.
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let nanos = u64::try_from(up_to.as_nanos()).unwrap_or(u64::MAX).max(1);
        let _ = wait::until(wait::now() + Duration::from_nanos((state >> 11) % nanos), || false);
        let killed = running.kill().and_then(|()| running.wait());
        killed.map_err(|e| LabError::failed("kill a process", e))?;
        out.kills += 1;

        let Some(generation) = reader.read()?.generation else {
            out.wrong.push("no generation was in force".to_owned());
            continue;
        };
        out.generations = out.generations.max(generation);
        let told = reader.verify(&ruleset(generation, devices), &options())?;
        let differences = told.err().unwrap_or_default();
        // What the process built beside, or had not yet taken away, is not in force.
        let beside =
            |what: &Drift| matches!(what, Drift::Extra(object) if object.starts_with("the "));
        out.in_the_middle += usize::from(differences.iter().any(|d| beside(&d.what)));
        let wrong = differences.iter().filter(|d| !beside(&d.what));
        out.wrong.extend(wrong.map(|difference| format!("generation {generation}: {difference}")));
        for (listener, port) in listeners.iter().zip([IN_TURN[0], IN_TURN[1], ALWAYS, NEVER]) {
            let turn = IN_TURN.into_iter().nth(usize::from(generation % 2 == 1));
            let permitted = port == ALWAYS || Some(port) == turn;
            let _ = road.device(usize::from(port % 8), port)?.send(b"probe");
            let came = listener.recv(&mut [0; 16]).is_ok();
            if came != permitted {
                let word = if came { "arrived" } else { "did not arrive" };
                out.wrong.push(format!("generation {generation}: a packet to {port} {word}"));
            }
        }
    }
    Ok(out)
}
