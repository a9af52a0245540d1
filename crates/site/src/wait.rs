//! Waiting for a condition with a deadline: the only place of this crate that sleeps.

use std::time::{Duration, Instant};

/// Waits until `condition` holds (`true`) or `time` is over (`false`).
pub(crate) fn until(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = instant();
    loop {
        if condition() {
            return true;
        }
        let left = time.saturating_sub(instant().duration_since(start));
        if left.is_zero() {
            return false;
        }
        pause(left.min(Duration::from_millis(50)));
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge of the process")]
fn instant() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the bounded step of a wait with a deadline")]
pub(crate) fn pause(step: Duration) {
    std::thread::sleep(step);
}
