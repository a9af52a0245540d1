//! The only place of this crate that sleeps.

use std::time::Duration;

#[expect(
    clippy::disallowed_methods,
    reason = "the bounded step of a thread that has nothing else to do"
)]
pub(crate) fn pause(step: Duration) {
    std::thread::sleep(step);
}
