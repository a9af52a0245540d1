//! Which upstream is asked next.

use std::net::SocketAddr;

/// Failures in a row after which an upstream is left alone for a while.
const FAILURES: u32 = 2;
/// First and longest pause, in milliseconds.
const PAUSE_MS: (u64, u64) = (2_000, 30_000);

#[derive(Debug)]
pub(crate) struct Upstreams {
    all: Vec<Upstream>,
    /// All were down, and that was told.
    pub(crate) told_down: bool,
}

#[derive(Debug)]
struct Upstream {
    address: SocketAddr,
    failures: u32,
    paused_until_ms: u64,
}

impl Upstreams {
    pub(crate) fn new(addresses: &[SocketAddr]) -> Self {
        let upstream =
            |address: &SocketAddr| Upstream { address: *address, failures: 0, paused_until_ms: 0 };
        Self { all: addresses.iter().map(upstream).collect(), told_down: false }
    }

    pub(crate) fn address(&self, index: usize) -> Option<SocketAddr> {
        self.all.get(index).map(|upstream| upstream.address)
    }

    /// The next to ask: the first that is well and was asked least; when none is well, the one whose
    /// pause ends first, so that a question always probes.
    pub(crate) fn next(&self, now_ms: u64, tried: &[usize]) -> Option<usize> {
        let count = |index: usize| tried.iter().filter(|t| **t == index).count();
        let order = self.all.iter().enumerate();
        let order = order.filter(|(index, _)| count(*index) < 2);
        let best = order.min_by_key(|(index, upstream)| {
            let paused = upstream.paused_until_ms.saturating_sub(now_ms);
            (count(*index), paused, *index)
        });
        best.map(|(index, _)| index)
    }

    /// It answered; whether that ends an outage of all.
    pub(crate) fn well(&mut self, index: usize) -> bool {
        if let Some(upstream) = self.all.get_mut(index) {
            upstream.failures = 0;
            upstream.paused_until_ms = 0;
        }
        std::mem::take(&mut self.told_down)
    }

    pub(crate) fn failed(&mut self, index: usize, now_ms: u64) {
        let Some(upstream) = self.all.get_mut(index) else { return };
        upstream.failures = upstream.failures.saturating_add(1);
        if let Some(more) = upstream.failures.checked_sub(FAILURES) {
            let pause = PAUSE_MS.0.saturating_mul(1 << more.min(10)).min(PAUSE_MS.1);
            upstream.paused_until_ms = now_ms.saturating_add(pause);
        }
    }

    /// None is well.
    pub(crate) fn all_down(&self, now_ms: u64) -> bool {
        self.all
            .iter()
            .all(|u| u.failures > 0 && (u.paused_until_ms > now_ms || self.all.len() == 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_is_asked_until_it_fails_and_again_after_a_pause() {
        let address = |n: u8| SocketAddr::from(([192, 0, 2, n], 53));
        let mut upstreams = Upstreams::new(&[address(1), address(2)]);
        assert_eq!(upstreams.next(0, &[]), Some(0));
        assert_eq!(upstreams.next(0, &[0]), Some(1));
        assert_eq!(upstreams.next(0, &[0, 1]), Some(0));
        assert_eq!(upstreams.next(0, &[0, 1, 0, 1]), None);
        upstreams.failed(0, 0);
        assert_eq!(upstreams.next(0, &[]), Some(0), "one lost packet is no outage");
        upstreams.failed(0, 0);
        assert_eq!(upstreams.next(1_999, &[]), Some(1));
        assert_eq!(upstreams.next(2_000, &[]), Some(0));
        upstreams.failed(0, 2_000);
        assert_eq!(upstreams.next(5_999, &[]), Some(1), "the pause doubles");
        assert!(!upstreams.all_down(5_999));
        upstreams.failed(1, 5_999);
        upstreams.failed(1, 5_999);
        assert!(upstreams.all_down(5_999));
        assert_eq!(upstreams.next(5_999, &[]), Some(0), "the first that may be well again");
        upstreams.told_down = true;
        assert!(upstreams.well(0) && !upstreams.well(0));
        assert_eq!(upstreams.next(5_999, &[]), Some(0));
        assert_eq!(Upstreams::new(&[]).next(0, &[]), None);
    }
}
