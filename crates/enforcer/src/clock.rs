//! How long things took. Nothing is decided by it.

use std::time::Instant;

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "measures how long the kernel took; decides nothing")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
