//! How often somebody may try to log in: by login, by source address, and all together.
//!
//! A wrong guess costs a turn, and turns come back with time; nobody is locked out for good. A right password gives back the turns of its
//! login and its source, so that only wrong ones slow anybody down. Time is an argument.

use model::Timestamp;

use crate::turns::{Rate, SECOND, Table, seconds};

pub use crate::turns::Source;

/// Of one login: ten at once, then one a minute.
const LOGIN: Rate = Rate { burst: 10, every_nanos: 60 * SECOND };
/// Of one source address, behind which there may be a whole office.
const SOURCE: Rate = Rate { burst: 30, every_nanos: 10 * SECOND };
/// Of everybody: what two cores can hash without anybody noticing. It lets in fewer than are remembered, in the time in which turns come back.
const ALL: Rate = Rate { burst: 60, every_nanos: SECOND / 5 };

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
            return Err(seconds(wait));
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
    use std::net::IpAddr;

    use super::*;
    use crate::turns::FORGET_ABOVE;

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
            most = most.max(limits.logins.len()).max(limits.sources.len());
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
