//! Attempts that led nowhere: who probes many addresses or ports.

use std::net::IpAddr;

use model::Timestamp;
use rustc_hash::FxHashMap;

use crate::links::LinkId;

/// Distinct unanswered addresses within the window that make a scan.
const ADDRESSES_MIN: usize = 24;
/// Distinct unanswered (address, port) pairs within the window that make a scan.
const TARGETS_MIN: usize = 60;
/// Attempts older than this are forgotten.
const WINDOW_NANOS: i64 = 600_000_000_000;
/// Sources watched at once.
const SOURCES_MAX: usize = 65_536;

#[derive(Debug)]
struct Attempts {
    since: Timestamp,
    /// Sorted, each once, fewer than make a scan; none: the scan was told of. Most sources have one, and there are many sources.
    targets: Option<Box<[(IpAddr, u16)]>>,
}

/// Unanswered attempts by source.
#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    by_source: FxHashMap<LinkId, Attempts>,
}

impl Suspicion {
    /// Notes an attempt that nobody answered; returns a sentence when it makes a scan.
    pub(crate) fn unanswered(
        &mut self,
        source: LinkId,
        target: (IpAddr, u16),
        at: Timestamp,
        what: &str,
    ) -> Option<String> {
        if source == 0
            || (self.by_source.len() >= SOURCES_MAX && !self.by_source.contains_key(&source))
        {
            return None;
        }
        let new = || Attempts { since: at, targets: Some(Box::default()) };
        let attempts = self.by_source.entry(source).or_insert_with(new);
        let mut all = attempts.targets.take()?.into_vec();
        if at.as_nanos().saturating_sub(attempts.since.as_nanos()) > WINDOW_NANOS {
            attempts.since = at;
            all.clear();
        }
        if let Err(at) = all.binary_search(&target) {
            all.reserve_exact(1);
            all.insert(at, target);
        }
        let targets = all.len();
        let addresses = all.chunk_by(|a, b| a.0 == b.0).count();
        if addresses < ADDRESSES_MIN && targets < TARGETS_MIN {
            attempts.targets = Some(all.into_boxed_slice());
            return None;
        }
        Some(format!(
            "{what} to {addresses} addresses and {targets} address-port pairs within ten minutes \
             without an answer"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    #[test]
    fn many_addresses_quickly_are_a_scan_once() {
        let mut s = Suspicion::default();
        let said: Vec<bool> = (0..60u8)
            .map(|n| s.unanswered(1, (ip(n), 80), Timestamp::EPOCH, "connections").is_some())
            .collect();
        assert_eq!(said.iter().filter(|b| **b).count(), 1);
        assert_eq!(said.iter().position(|b| *b), Some(ADDRESSES_MIN - 1));
    }

    #[test]
    fn the_same_number_over_a_day_is_not() {
        let mut s = Suspicion::default();
        for n in 0..60u8 {
            let at = Timestamp::from_secs(i64::from(n) * 1500, 0);
            assert_eq!(s.unanswered(1, (ip(n), 80), at, "connections"), None);
        }
    }

    #[test]
    fn many_ports_of_one_host_are_a_scan() {
        let mut s = Suspicion::default();
        let scans = (0..100)
            .filter_map(|port| s.unanswered(1, (ip(1), port), Timestamp::EPOCH, "connections"));
        assert_eq!(scans.count(), 1);
    }
}
