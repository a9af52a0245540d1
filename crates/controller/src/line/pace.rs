//! Who asks how often: addresses that try to enrol, and sites whose every word is an entry of the journal. Time is an argument.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use model::{SiteId, Timestamp, network};

/// Attempts of one address in a minute.
const TRIES_OF_ONE: u32 = 10;
/// Attempts of all addresses in a minute.
const TRIES_OF_ALL: u32 = 300;
/// Addresses that are counted one by one; more of them share what is left of the minute.
const ADDRESSES_MAX: usize = 4_096;
/// What a site may spend at once.
pub(super) const PURSE: i64 = 240;
/// What it gets back in a second.
const PURSE_PER_S: i64 = 4;
const MINUTE_NANOS: i64 = 60 * NANOS;
const NANOS: i64 = 1_000_000_000;

/// It is too early; seconds until it is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Later(pub(crate) u32);

/// Attempts to enrol that failed or are under way, in this minute.
#[derive(Debug, Default)]
pub(crate) struct Tries(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    began: i64,
    all: u32,
    by: BTreeMap<IpAddr, u32>,
}

impl Tries {
    /// An attempt begins. It counts unless it turns out to be good.
    pub(crate) fn begin(&self, from: IpAddr, now: Timestamp) -> Result<(), Later> {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now.as_nanos();
        let since = now.saturating_sub(minute.began);
        // A clock that was put back does not lock anybody out.
        if !(0..MINUTE_NANOS).contains(&since) {
            *minute = Minute { began: now, ..Minute::default() };
        }
        let over = minute.began.saturating_add(MINUTE_NANOS).saturating_sub(now);
        let later = Later(u32::try_from(over / NANOS).unwrap_or(60).saturating_add(1));
        let from = network(from);
        let new = !minute.by.contains_key(&from);
        if minute.all >= TRIES_OF_ALL || (new && minute.by.len() >= ADDRESSES_MAX) {
            return Err(later);
        }
        let tries = minute.by.entry(from).or_default();
        if *tries >= TRIES_OF_ONE {
            return Err(later);
        }
        *tries = tries.saturating_add(1);
        minute.all = minute.all.saturating_add(1);
        Ok(())
    }

    /// It was good.
    pub(crate) fn good(&self, from: IpAddr) {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        minute.all = minute.all.saturating_sub(1);
        if let Some(tries) = minute.by.get_mut(&network(from)) {
            *tries = tries.saturating_sub(1);
        }
    }
}

/// What sites may spend: a site that talks without end fills no journal.
#[derive(Debug, Default)]
pub(super) struct Purses(Mutex<BTreeMap<SiteId, Purse>>);

#[derive(Clone, Copy, Debug)]
struct Purse {
    /// In nanoseconds of its income.
    left: i64,
    at: i64,
}

impl Purses {
    /// Spends some of it, or says when there will be enough. Only sites that exist have one.
    pub(super) fn spend(&self, site: &SiteId, cost: i64, now: Timestamp) -> Result<(), Later> {
        let full = PURSE.saturating_mul(NANOS);
        let now = now.as_nanos();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let purse = all.entry(site.clone()).or_insert(Purse { left: full, at: now });
        let since = now.saturating_sub(purse.at).max(0);
        purse.left = purse.left.saturating_add(since.saturating_mul(PURSE_PER_S)).min(full);
        purse.at = now;
        let cost = cost.saturating_mul(NANOS);
        let missing = cost.saturating_sub(purse.left);
        if missing > 0 {
            let seconds = missing / NANOS / PURSE_PER_S;
            return Err(Later(u32::try_from(seconds).unwrap_or(60).saturating_add(1)));
        }
        purse.left = purse.left.saturating_sub(cost);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_900_000_000 + seconds, 0)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_tries_so_often_in_a_minute_and_what_was_good_does_not_count() {
        let tries = Tries::default();
        for _ in 0..100 {
            tries.begin(ip("192.0.2.1"), at(0)).unwrap();
            tries.good(ip("192.0.2.1"));
        }
        for _ in 0..TRIES_OF_ONE {
            tries.begin(ip("192.0.2.1"), at(10)).unwrap();
        }
        assert_eq!(tries.begin(ip("192.0.2.1"), at(20)), Err(Later(41)));
        assert_eq!(tries.begin(ip("::ffff:192.0.2.1"), at(20)), Err(Later(41)));
        tries.begin(ip("192.0.2.2"), at(20)).unwrap();
        tries.begin(ip("192.0.2.1"), at(60)).unwrap();
        tries.begin(ip("192.0.2.1"), at(-1_000)).unwrap();
    }

    #[test]
    fn many_addresses_share_a_bound_and_a_network_of_ipv6_is_one() {
        let tries = Tries::default();
        for n in 0..TRIES_OF_ONE {
            tries.begin(ip(&format!("2001:db8::{n}")), at(0)).unwrap();
        }
        assert!(tries.begin(ip("2001:db8::ffff"), at(0)).is_err());
        for n in TRIES_OF_ONE..TRIES_OF_ALL {
            tries
                .begin(
                    IpAddr::from([10, 0, u8::try_from(n / 256).unwrap(), (n % 256) as u8]),
                    at(0),
                )
                .unwrap();
        }
        assert!(tries.begin(ip("192.0.2.1"), at(1)).is_err());
        assert!(tries.0.lock().unwrap().by.len() <= ADDRESSES_MAX);
    }

    #[test]
    fn a_site_spends_what_it_has_and_gets_it_back_with_time() {
        let (purses, north) = (Purses::default(), SiteId::new("north").unwrap());
        for _ in 0..PURSE {
            purses.spend(&north, 1, at(0)).unwrap();
        }
        assert_eq!(purses.spend(&north, 1, at(0)), Err(Later(1)));
        assert_eq!(purses.spend(&north, 40, at(0)), Err(Later(11)));
        purses.spend(&SiteId::new("south").unwrap(), 1, at(0)).unwrap();
        purses.spend(&north, PURSE_PER_S, at(1)).unwrap();
        assert!(purses.spend(&north, 1, at(1)).is_err());
        assert!(purses.spend(&north, 1, at(-500)).is_err(), "a clock that was put back");
        purses.spend(&north, PURSE, at(1_000)).unwrap();
        assert!(purses.spend(&north, 1, at(1_000)).is_err(), "no more than a purse holds");
    }
}
