//! Protocols of which only the presence is worth knowing.

use crate::{Ctx, Malformed, Outcome, Sink};

/// Reports nothing: that the sender speaks it is counted by the sensor.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, _sink: &mut dyn Sink) -> Outcome {
    if payload.is_empty() {
        return Err(Malformed::Truncated);
    }
    Ok(())
}
