//! Sessions: who is logged in, in memory only. Their secrets are not here, only digests of them; a restart forgets all.
//!
//! A session ends at logout, after [`LIFE_NANOS`], and when nothing came of it for [`IDLE_NANOS`]. That it also ends with its operator and
//! with the password it began with, is looked at whenever it is used: see `Auth::bearer`. Time is an argument.

use std::collections::HashMap;

use estate::access::OperatorId;
use estate::side::RecordId;
use model::Timestamp;

const MINUTE: i64 = 60 * 1_000_000_000;
/// How long a session lives at most.
pub(super) const LIFE_NANOS: i64 = 12 * 60 * MINUTE;
/// How long it lives unused.
pub(super) const IDLE_NANOS: i64 = 30 * MINUTE;
/// A clock that was set back further than this ends what began after it: how long that has lived cannot be told any more.
const BACK_NANOS: i64 = 5 * MINUTE;
/// Sessions of one operator; the least recently used one ends when there is one more.
const OF_OPERATOR_MAX: usize = 20;
/// Sessions of all.
const MAX: usize = 20_000;

/// Somebody who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// Who.
    pub(super) operator: OperatorId,
    /// The password that the operator had when it began.
    pub(super) password: Option<RecordId>,
    began_at: Timestamp,
    used_at: Timestamp,
}

impl Session {
    fn is_over(&self, now: Timestamp) -> bool {
        let since = |at: Timestamp| now.as_nanos().saturating_sub(at.as_nanos());
        since(self.began_at) >= LIFE_NANOS
            || since(self.used_at) >= IDLE_NANOS
            || since(self.used_at) < -BACK_NANOS
    }
}

/// All of them, by the SHA-256 of their secret.
#[derive(Debug, Default)]
pub(super) struct Sessions(HashMap<[u8; 32], Session>);

impl Sessions {
    /// Begins one; says until when it can live.
    pub(super) fn begin(
        &mut self,
        secret: [u8; 32],
        operator: OperatorId,
        password: Option<RecordId>,
        now: Timestamp,
    ) -> Timestamp {
        if self.0.len() >= MAX {
            self.0.retain(|_, session| !session.is_over(now));
        }
        let own = self.0.values().filter(|session| session.operator == operator).count();
        if own >= OF_OPERATOR_MAX {
            self.end_oldest(|session| session.operator == operator);
        } else if self.0.len() >= MAX {
            self.end_oldest(|_| true);
        }
        self.0.insert(secret, Session { operator, password, began_at: now, used_at: now });
        now.plus_nanos(LIFE_NANOS)
    }

    /// The session of a secret, which is not used by that.
    pub(super) fn get(&self, secret: &[u8; 32], now: Timestamp) -> Option<&Session> {
        self.0.get(secret).filter(|session| !session.is_over(now))
    }

    /// The session of a secret, which is used now.
    pub(super) fn used(&mut self, secret: &[u8; 32], now: Timestamp) -> Option<Session> {
        let session = self.0.get_mut(secret)?;
        if session.is_over(now) {
            self.0.remove(secret);
            return None;
        }
        session.used_at = session.used_at.max(now);
        Some(session.clone())
    }

    /// Ends one; whether it was there.
    pub(super) fn end(&mut self, secret: &[u8; 32]) -> bool {
        self.0.remove(secret).is_some()
    }

    /// Ends all of an operator.
    pub(super) fn end_all(&mut self, operator: &OperatorId) {
        self.0.retain(|_, session| session.operator != *operator);
    }

    /// Forgets those that are over.
    pub(super) fn forget(&mut self, now: Timestamp) {
        self.0.retain(|_, session| !session.is_over(now));
    }

    fn end_oldest(&mut self, which: impl Fn(&Session) -> bool) {
        let some = self.0.iter().filter(|(_, session)| which(session));
        let oldest = some.min_by_key(|(secret, session)| (session.used_at, **secret));
        if let Some(secret) = oldest.map(|(secret, _)| *secret) {
            self.0.remove(&secret);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000, 0).plus_nanos(minutes * MINUTE)
    }

    fn who(n: usize) -> OperatorId {
        OperatorId::new(&format!("op-{n}")).unwrap()
    }

    fn secret(n: usize) -> [u8; 32] {
        crypto::sha256(&n.to_be_bytes())
    }

    #[test]
    fn a_session_ends_unused_and_after_its_life() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.begin(secret(1), who(1), None, at(0)), at(12 * 60));
        sessions.begin(secret(2), who(1), None, at(0));
        assert!(sessions.get(&secret(2), at(29)).is_some(), "looking at it is no use");
        assert!(sessions.get(&secret(2), at(30)).is_none());
        for minute in (0..12 * 60).step_by(29) {
            assert!(sessions.used(&secret(1), at(minute)).is_some(), "{minute}");
        }
        assert_eq!(sessions.used(&secret(1), at(12 * 60)), None, "its life is over");
        assert_eq!(sessions.used(&secret(2), at(30)), None, "unused");
        assert_eq!(sessions.used(&secret(2), at(1)), None, "and what is over stays over");
    }

    #[test]
    fn a_clock_that_is_set_back_prolongs_no_session() {
        let mut sessions = Sessions::default();
        sessions.begin(secret(1), who(1), None, at(100));
        assert!(sessions.used(&secret(1), at(96)).is_some(), "corrections are small");
        assert!(sessions.used(&secret(1), at(50)).is_none());
    }

    #[test]
    fn sessions_are_bounded_for_one_and_for_all() {
        let mut sessions = Sessions::default();
        for n in 0..=OF_OPERATOR_MAX {
            sessions.begin(secret(n), who(1), None, at(0).plus_nanos(i64::try_from(n).unwrap()));
        }
        assert_eq!(sessions.0.len(), OF_OPERATOR_MAX);
        assert_eq!(sessions.used(&secret(0), at(1)), None, "the oldest made room");
        for n in 100..100 + MAX {
            let (operator, at) = (who(n), at(2));
            let session = Session { operator, password: None, began_at: at, used_at: at };
            sessions.0.insert(secret(n), session);
        }
        sessions.0.retain(|_, session| session.operator != who(1));
        sessions.begin(secret(0), who(0), None, at(3));
        assert_eq!(sessions.0.len(), MAX);
        assert!(sessions.used(&secret(0), at(3)).is_some(), "another one made room");
        sessions.end_all(&who(0));
        assert_eq!(sessions.0.len(), MAX - 1);
        sessions.forget(at(40));
        assert_eq!(sessions.0.len(), 0);
    }
}
