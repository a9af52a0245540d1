//! What tests begin with.

use std::time::{SystemTime, UNIX_EPOCH};

use lab::Lab;
use lab::probe::{self, Probe, Verdict};
use model::Timestamp;

/// The present, in whole seconds.
pub(crate) fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the edge of the process")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_secs(since.as_secs().try_into().unwrap(), 0)
}

/// A lab whose devices are up.
pub(crate) fn running() -> Lab {
    let lab = Lab::new(7).unwrap();
    lab.boot().unwrap();
    lab
}

/// Every device to every other, with second tries where `expected` to pass.
pub(crate) fn probe_all(lab: &Lab, expected: impl Fn(&Probe) -> bool) -> Vec<Verdict> {
    let mut verdicts = probe::matrix(lab, &probe::everything(lab)).unwrap();
    probe::confirm(lab, &mut verdicts, expected).unwrap();
    verdicts
}
