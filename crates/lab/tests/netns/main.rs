//! The lab and the fence with real packets. Needs root (or user namespaces) and the programs of
//! `lab::privilege::PROGRAMS`; where they are not there each test says so and is skipped.

mod estate;
mod fence;
mod kernel;
mod leftovers;

use std::time::{SystemTime, UNIX_EPOCH};

use lab::Lab;
use model::Timestamp;

fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the edge of the process")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_secs(since.as_secs().try_into().unwrap(), 0)
}

fn running() -> Lab {
    let lab = Lab::new(7).unwrap();
    lab.boot().unwrap();
    lab
}
