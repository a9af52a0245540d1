//! What is asked and not answered yet: challenges, and nonces of quotes. In memory, good once, for a short time, and few.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use estate::identities::Tpm;
use estate::side::Digest;
use model::{Timestamp, network};
use pki::tpm::{AttestationKey, Selection};

use super::references::Values;
use crate::line::pace::Later;

const NANOS: i64 = 1_000_000_000;
/// How long a challenge is good, in nanoseconds. Some TPMs need a minute for an RSA key.
const CHALLENGE_NANOS: i64 = 300 * NANOS;
/// Challenges at one time.
const CHALLENGES_MAX: usize = 1_024;
/// Challenges of one network at one time.
const CHALLENGES_OF_ONE_MAX: usize = 32;
/// How long a nonce is good, in seconds.
pub(super) const NONCE_S: u32 = 60;
/// Nonces, quotes and challenges of one key in a minute: each may be an entry of the journal.
const ASKED_OF_ONE: u32 = 8;
/// Keys that asked in the last minute.
const KEYS_MAX: usize = 131_072;
const MINUTE_NANOS: i64 = 60 * NANOS;

/// A challenge that nobody has answered.
#[derive(Clone, Debug)]
pub(super) struct Challenge {
    pub(super) secret: [u8; 32],
    pub(super) tpm: Tpm,
    pub(super) key: AttestationKey,
}

/// Challenges by what they are called.
#[derive(Debug, Default)]
pub(super) struct Challenges(Mutex<BTreeMap<[u8; 32], (Timestamp, IpAddr, Challenge)>>);

impl Challenges {
    /// Keeps one for a while.
    pub(super) fn put(
        &self,
        id: [u8; 32],
        from: IpAddr,
        challenge: Challenge,
        now: Timestamp,
    ) -> Result<(), Later> {
        let from = network(from);
        let mut all = locked(&self.0);
        all.retain(|_, (at, ..)| fresh(*at, now, CHALLENGE_NANOS));
        let of_one = all.values().filter(|(_, by, _)| *by == from).count();
        if all.len() >= CHALLENGES_MAX || of_one >= CHALLENGES_OF_ONE_MAX {
            return Err(Later(60));
        }
        all.insert(id, (now, from, challenge));
        Ok(())
    }

    /// Takes one away, right or wrong answer.
    pub(super) fn take(&self, id: &[u8; 32], now: Timestamp) -> Option<Challenge> {
        let (at, _, challenge) = locked(&self.0).remove(id)?;
        fresh(at, now, CHALLENGE_NANOS).then_some(challenge)
    }
}

/// What a quote has to answer.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) nonce: [u8; 32],
    pub(super) selection: Selection,
    /// What is good; `None`: nobody has said.
    pub(super) values: Option<Arc<Values>>,
}

#[derive(Debug)]
struct Asking {
    /// Of the minute that is counted.
    began: Timestamp,
    count: u32,
    open: Option<(Timestamp, Asked)>,
}

/// Nonces by the key that asked: one is open at a time.
#[derive(Debug, Default)]
pub(super) struct Nonces(Mutex<BTreeMap<Digest, Asking>>);

impl Nonces {
    /// A key asks for something that may become an entry of the journal.
    pub(super) fn pace(&self, key: Digest, now: Timestamp) -> Result<(), Later> {
        let mut all = locked(&self.0);
        if all.len() >= KEYS_MAX && !all.contains_key(&key) {
            all.retain(|_, asking| fresh(asking.began, now, MINUTE_NANOS));
        }
        if all.len() >= KEYS_MAX && !all.contains_key(&key) {
            return Err(Later(60));
        }
        let new = || Asking { began: now, count: 0, open: None };
        let asking = all.entry(key).or_insert_with(new);
        if !fresh(asking.began, now, MINUTE_NANOS) {
            (asking.began, asking.count) = (now, 0);
        }
        if asking.count >= ASKED_OF_ONE {
            return Err(Later(60));
        }
        asking.count = asking.count.saturating_add(1);
        Ok(())
    }

    /// Opens one in place of what was open; the key was let through by [`Self::pace`].
    pub(super) fn open(&self, key: Digest, asked: Asked, now: Timestamp) {
        if let Some(asking) = locked(&self.0).get_mut(&key) {
            asking.open = Some((now, asked));
        }
    }

    /// Takes it away, right or wrong answer.
    pub(super) fn take(&self, key: &Digest, now: Timestamp) -> Option<Asked> {
        let (at, asked) = locked(&self.0).get_mut(key)?.open.take()?;
        fresh(at, now, i64::from(NONCE_S).saturating_mul(NANOS)).then_some(asked)
    }
}

/// A clock that was put back makes nothing good for longer.
fn fresh(at: Timestamp, now: Timestamp, nanos: i64) -> bool {
    (0..nanos).contains(&now.as_nanos().saturating_sub(at.as_nanos()))
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use estate::identities::Octets;
    use pki::tpm::Public;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_900_000_000 + seconds, 0)
    }

    fn challenge() -> Challenge {
        let digest = Digest([1; 32]);
        // As device-agent makes them: P-256, restricted, signing with ECDSA and SHA-256; the curve's base point.
        let head =
            [0, 0x23, 0, 0x0b, 0, 5, 4, 0x72, 0, 0, 0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10];
        let public = [&head[..], &[0, 32], &[7; 32], &[0, 32], &[9; 32]].concat();
        let public = Public::read(&public).unwrap();
        let key = AttestationKey::new(&public, &crypto::Provider).unwrap();
        let (public, name) = (Octets(Vec::new()), Octets(Vec::new()));
        let tpm = Tpm { ek: digest, ak: digest, public, name, maker: None };
        Challenge { secret: [7; 32], tpm, key }
    }

    fn ip(n: u16) -> IpAddr {
        let [high, low] = n.to_be_bytes();
        [10, high, low, 1].into()
    }

    #[test]
    fn a_challenge_is_good_once_and_for_five_minutes() {
        let challenges = Challenges::default();
        for (id, late, good) in [(1, 299, true), (2, 300, false), (3, -1, false)] {
            challenges.put([id; 32], ip(1), challenge(), at(0)).unwrap();
            assert_eq!(challenges.take(&[id; 32], at(late)).is_some(), good, "{late}");
            assert!(challenges.take(&[id; 32], at(0)).is_none(), "twice");
        }
    }

    #[test]
    fn challenges_have_bounds() {
        let challenges = Challenges::default();
        let put = |n: u16, from, now| {
            let [high, low] = n.to_be_bytes();
            let mut id = [0; 32];
            (id[0], id[1]) = (high, low);
            challenges.put(id, ip(from), challenge(), at(now))
        };
        for n in 0..32 {
            put(n, 1, 0).unwrap();
        }
        assert!(put(32, 1, 0).is_err());
        for n in 32..1_024 {
            put(n, n, 0).unwrap();
        }
        assert!(put(1_024, 2_000, 0).is_err());
        put(1_024, 1, 300).unwrap();
        assert_eq!(locked(&challenges.0).len(), 1);
    }

    #[test]
    fn a_key_has_one_nonce_and_asks_so_often_in_a_minute() {
        let (nonces, key) = (Nonces::default(), Digest([1; 32]));
        let asked = |n| Asked { nonce: [n; 32], selection: Selection::default(), values: None };
        assert!(nonces.take(&key, at(0)).is_none());
        nonces.pace(key, at(0)).unwrap();
        nonces.open(key, asked(1), at(0));
        nonces.open(key, asked(2), at(0));
        assert_eq!(nonces.take(&key, at(59)).unwrap().nonce, [2; 32]);
        assert!(nonces.take(&key, at(59)).is_none(), "twice");
        nonces.open(key, asked(3), at(0));
        assert!(nonces.take(&key, at(60)).is_none(), "too late");
        for _ in 1..ASKED_OF_ONE {
            nonces.pace(key, at(59)).unwrap();
        }
        assert!(nonces.pace(key, at(59)).is_err());
        nonces.pace(Digest([2; 32]), at(59)).unwrap();
        nonces.pace(key, at(60)).unwrap();
    }
}
