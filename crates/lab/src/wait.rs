//! Waiting: for a condition, with a deadline, and not past Ctrl-C. The only place that sleeps.

use std::time::{Duration, Instant};

use crate::{LabError, interrupt};

/// Now; the lab is an edge of the process, so it may read the clock.
#[expect(clippy::disallowed_methods, reason = "the one place of the lab that reads this clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits until `condition` holds: `true`, or until `deadline`: `false`.
pub fn until(deadline: Instant, mut condition: impl FnMut() -> bool) -> Result<bool, LabError> {
    loop {
        if condition() {
            return Ok(true);
        }
        if interrupt::interrupted() {
            return Err(LabError::Interrupted);
        }
        let left = deadline.saturating_duration_since(now());
        if left.is_zero() {
            return Ok(false);
        }
        pause(left.min(Duration::from_millis(20)));
    }
}

/// Lets `time` pass, unless interrupted.
pub fn pass(time: Duration) -> Result<(), LabError> {
    until(now() + time, || false).map(|_| ())
}

#[expect(clippy::disallowed_methods, reason = "the bounded step of a wait with a deadline")]
fn pause(step: Duration) {
    std::thread::sleep(step);
}
