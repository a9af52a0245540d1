//! How often somebody may do something: so often at once, and then as turns come back with time (the generic cell rate algorithm). Time is an
//! argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

use model::Timestamp;

/// Nanoseconds of a second.
pub(crate) const SECOND: i64 = 1_000_000_000;
/// Entries of a table before those that have all their turns again are forgotten.
pub(crate) const FORGET_ABOVE: usize = 512;

/// Turns and how they come back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Turns at once.
    pub(crate) burst: i64,
    /// Nanoseconds until one comes back.
    pub(crate) every_nanos: i64,
}

impl Rate {
    /// The time in which all turns come back.
    const fn all_nanos(self) -> i64 {
        self.every_nanos.saturating_mul(self.burst)
    }

    /// When all turns are back. What lies far further ahead than that can be was counted before the clock was set back, and says nothing any
    /// more.
    fn full_at(self, full_at: Timestamp, now: Timestamp) -> Timestamp {
        let furthest = now.plus_nanos(self.all_nanos().saturating_mul(2));
        match full_at > now && full_at <= furthest {
            true => full_at,
            false => now,
        }
    }

    /// Nanoseconds until there is a turn.
    fn wait(self, full_at: Timestamp, now: Timestamp) -> i64 {
        let missing = self.full_at(full_at, now).as_nanos().saturating_sub(now.as_nanos());
        missing.saturating_sub(self.every_nanos.saturating_mul(self.burst - 1))
    }
}

/// Where somebody comes from: an address, or the half of an IPv6 address that its provider gives out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Source(Option<IpAddr>);

impl From<Option<IpAddr>> for Source {
    fn from(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 => v4,
        }))
    }
}

/// Turns of each of many.
#[derive(Debug)]
pub(crate) struct Table<K> {
    rate: Rate,
    full_at: HashMap<K, Timestamp>,
}

impl<K: Copy + Eq + Hash> Table<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, full_at: HashMap::new() }
    }

    /// Nanoseconds until somebody has a turn.
    pub(crate) fn wait(&self, key: &K, now: Timestamp) -> i64 {
        self.full_at.get(key).map_or(0, |full_at| self.rate.wait(*full_at, now))
    }

    /// Takes a turn, whether there is one or not.
    pub(crate) fn take(&mut self, key: K, now: Timestamp) {
        if self.full_at.len() >= FORGET_ABOVE {
            let rate = self.rate;
            self.full_at.retain(|_, full_at| rate.full_at(*full_at, now) > now);
        }
        let full_at = self.full_at.entry(key).or_insert(now);
        *full_at = self.rate.full_at(*full_at, now).plus_nanos(self.rate.every_nanos);
    }

    /// Gives one back.
    pub(crate) fn give_back(&mut self, key: &K) {
        if let Some(full_at) = self.full_at.get_mut(key) {
            *full_at = full_at.plus_nanos(-self.rate.every_nanos);
        }
    }

    /// Takes a turn, or says in how many seconds there is one; a refusal costs none.
    pub(crate) fn turn(&mut self, key: K, now: Timestamp) -> Result<(), u32> {
        match self.wait(&key, now) {
            wait if wait > 0 => Err(seconds(wait)),
            _ => {
                self.take(key, now);
                Ok(())
            }
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.full_at.len()
    }
}

/// Whole seconds in which so many nanoseconds have passed.
pub(crate) fn seconds(nanos: i64) -> u32 {
    u32::try_from(nanos.saturating_add(SECOND - 1) / SECOND).unwrap_or(u32::MAX)
}
