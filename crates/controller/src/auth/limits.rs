//! How often somebody may try to log in: by login, by source address, and all together.
//!
//! A wrong guess costs a turn, and turns come back with time; nobody is locked out for good. A right password gives back the turns of its
//! login and its source, so that only wrong ones slow anybody down. Time is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

use model::Timestamp;

const SECOND: i64 = 1_000_000_000;
/// Of one login: ten at once, then one a minute.
const LOGIN: Rate = Rate { burst: 10, every_nanos: 60 * SECOND };
/// Of one source address, behind which there may be a whole office.
const SOURCE: Rate = Rate { burst: 30, every_nanos: 10 * SECOND };
/// Of everybody: what two cores can hash without anybody noticing.
const ALL: Rate = Rate { burst: 60, every_nanos: SECOND / 5 };
/// Entries of a table before those that have all their turns again are forgotten. [`ALL`] lets in fewer than that in the time in which
/// turns come back.
const FORGET_ABOVE: usize = 512;

/// Turns and how they come back.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: i64,
    every_nanos: i64,
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
struct Table<K> {
    rate: Rate,
    full_at: HashMap<K, Timestamp>,
}

impl<K: Copy + Eq + Hash> Table<K> {
    fn new(rate: Rate) -> Self {
        Self { rate, full_at: HashMap::new() }
    }

    fn wait(&self, key: &K, now: Timestamp) -> i64 {
        self.full_at.get(key).map_or(0, |full_at| self.rate.wait(*full_at, now))
    }

    fn take(&mut self, key: K, now: Timestamp) {
        if self.full_at.len() >= FORGET_ABOVE {
            let rate = self.rate;
            self.full_at.retain(|_, full_at| rate.full_at(*full_at, now) > now);
        }
        let full_at = self.full_at.entry(key).or_insert(now);
        *full_at = self.rate.full_at(*full_at, now).plus_nanos(self.rate.every_nanos);
    }

    fn give_back(&mut self, key: &K) {
        if let Some(full_at) = self.full_at.get_mut(key) {
            *full_at = full_at.plus_nanos(-self.rate.every_nanos);
        }
    }
}

/// All of it.
#[derive(Debug)]
pub(super) struct Limits {
    /// By the digest of the login: what people type by mistake is not kept.
    logins: Table<[u8; 32]>,
    sources: Table<Source>,
    all: Table<()>,
}

impl Limits {
    pub(super) fn new() -> Self {
        Self { logins: Table::new(LOGIN), sources: Table::new(SOURCE), all: Table::new(ALL) }
    }

    /// Takes a turn, or says in how many seconds there is one. A turn that is refused costs none.
    pub(super) fn admit(
        &mut self,
        login: [u8; 32],
        source: Source,
        now: Timestamp,
    ) -> Result<(), u32> {
        let waits = [
            self.logins.wait(&login, now),
            self.sources.wait(&source, now),
            self.all.wait(&(), now),
        ];
        let wait = waits.into_iter().max().unwrap_or(0);
        if wait > 0 {
            let seconds = wait.saturating_add(SECOND - 1) / SECOND;
            return Err(u32::try_from(seconds).unwrap_or(u32::MAX));
        }
        self.logins.take(login, now);
        self.sources.take(source, now);
        self.all.take((), now);
        Ok(())
    }

    /// The password was right.
    pub(super) fn was_right(&mut self, login: [u8; 32], source: Source) {
        self.logins.give_back(&login);
        self.sources.give_back(&source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000 + seconds, 0)
    }

    fn from(text: &str) -> Source {
        Source::from(Some(text.parse().unwrap()))
    }

    fn login(n: u32) -> [u8; 32] {
        crypto::sha256(&n.to_be_bytes())
    }

    fn source(n: u32) -> Source {
        Source::from(Some(IpAddr::V4(n.into())))
    }

    #[test]
    fn guesses_at_one_login_slow_down_wherever_they_come_from() {
        let mut limits = Limits::new();
        for n in 0..10 {
            assert_eq!(limits.admit(login(1), source(n), at(0)), Ok(()));
        }
        assert_eq!(limits.admit(login(1), source(99), at(0)), Err(60));
        assert_eq!(limits.admit(login(1), source(99), at(59)), Err(1));
        assert_eq!(limits.admit(login(2), source(99), at(0)), Ok(()), "others go on");
        assert_eq!(limits.admit(login(1), source(99), at(60)), Ok(()));
        assert_eq!(limits.admit(login(1), source(99), at(60)), Err(60), "one came back, not ten");
    }

    #[test]
    fn guesses_from_one_source_slow_down_whatever_the_login() {
        let mut limits = Limits::new();
        for n in 0..30 {
            assert_eq!(limits.admit(login(n), from("2001:db8::1"), at(0)), Ok(()));
        }
        // The same provider's customer with another address.
        assert_eq!(limits.admit(login(99), from("2001:db8::ffff:2"), at(0)), Err(10));
        assert_eq!(limits.admit(login(99), from("2001:db8:0:1::1"), at(0)), Ok(()));
        assert_eq!(from("::ffff:192.0.2.1"), from("192.0.2.1"));
    }

    #[test]
    fn all_together_are_bounded_and_so_is_what_is_remembered() {
        let mut limits = Limits::new();
        let mut let_in = 0;
        let mut most = 0;
        // Ten minutes of a thousand guesses a second, each with another login from another address.
        for n in 0..600_000_u32 {
            let now = at(0).plus_nanos(i64::from(n) * 1_000_000);
            let_in += u32::from(limits.admit(login(n), source(n), now).is_ok());
            most = most.max(limits.logins.full_at.len()).max(limits.sources.full_at.len());
        }
        assert_eq!(let_in, 60 + 600 * 5 - 1, "sixty at once, then five a second");
        assert!(most <= FORGET_ABOVE, "{most}");
    }

    #[test]
    fn a_right_password_costs_its_login_nothing() {
        let mut limits = Limits::new();
        for second in 0..1_000 {
            assert_eq!(limits.admit(login(1), source(1), at(second)), Ok(()));
            limits.was_right(login(1), source(1));
        }
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let mut limits = Limits::new();
        for _ in 0..10 {
            limits.admit(login(1), source(1), at(1_000_000)).unwrap();
        }
        assert_eq!(limits.admit(login(1), source(1), at(1_000_000 - 9)), Err(69), "a little");
        assert_eq!(limits.admit(login(1), source(1), at(0)), Ok(()), "far");
    }
}
