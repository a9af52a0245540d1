//! Answers that are still alive. Bounded by number and by size; the one that ends first makes room.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::Record;

use crate::message::Key;

/// An answer as it came, without what does not belong to it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) code: ResponseCode,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    /// When it came, in milliseconds of the shell's clock.
    pub(crate) at_ms: u64,
    /// Until when it may be given out again.
    pub(crate) until_ms: u64,
    /// Its size on the wire, for the bound.
    pub(crate) size_bytes: usize,
}

impl Answer {
    /// A record with the life it has left at `now_ms`. A record that has none left lives one more
    /// second only: what is given out was alive when the question came.
    pub(crate) fn aged(&self, record: &Record, now_ms: u64) -> Record {
        let age_s = u32::try_from(now_ms.saturating_sub(self.at_ms) / 1_000).unwrap_or(u32::MAX);
        let mut record = record.clone();
        if record.ttl > 0 {
            record.ttl = record.ttl.saturating_sub(age_s).max(1);
        }
        record
    }
}

#[derive(Debug, Default)]
pub(crate) struct Cache {
    answers: HashMap<Key, (u64, Arc<Answer>)>,
    /// By end of life; the number tells apart what ends together.
    ends: BTreeSet<(u64, u64, Key)>,
    count: u64,
    size_bytes: usize,
    max: usize,
    bytes_max: usize,
    /// Answers dropped to make room.
    pub(crate) evicted: u64,
}

impl Cache {
    pub(crate) fn new(max: usize, bytes_max: usize) -> Self {
        Self { max, bytes_max, ..Self::default() }
    }

    pub(crate) fn get(&self, key: &Key, now_ms: u64) -> Option<Arc<Answer>> {
        let (_, answer) = self.answers.get(key)?;
        (answer.until_ms > now_ms).then(|| Arc::clone(answer))
    }

    pub(crate) fn put(&mut self, key: Key, answer: Arc<Answer>, now_ms: u64) {
        self.remove(&key);
        if answer.until_ms <= now_ms || answer.size_bytes > self.bytes_max || self.max == 0 {
            return;
        }
        self.expire(now_ms);
        while self.answers.len() >= self.max
            || self.size_bytes.saturating_add(answer.size_bytes) > self.bytes_max
        {
            let Some((_, _, first)) = self.ends.first().cloned() else { break };
            self.remove(&first);
            self.evicted = self.evicted.saturating_add(1);
        }
        self.count = self.count.saturating_add(1);
        self.size_bytes = self.size_bytes.saturating_add(answer.size_bytes);
        self.ends.insert((answer.until_ms, self.count, key.clone()));
        self.answers.insert(key, (self.count, answer));
    }

    pub(crate) fn expire(&mut self, now_ms: u64) {
        while let Some((until, _, key)) = self.ends.first().cloned() {
            if until > now_ms {
                break;
            }
            self.remove(&key);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.answers.len()
    }

    fn remove(&mut self, key: &Key) {
        if let Some((number, answer)) = self.answers.remove(key) {
            self.size_bytes = self.size_bytes.saturating_sub(answer.size_bytes);
            self.ends.remove(&(answer.until_ms, number, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hickory_proto::rr::Name;
    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> Key {
        let name = Name::from_ascii(format!("n{n}.example.")).unwrap();
        Key { name, kind: 1, dnssec_ok: false, checking_disabled: false }
    }

    fn answer(until_ms: u64, size_bytes: usize) -> Arc<Answer> {
        let code = ResponseCode::NoError;
        let (answers, authorities) = (Vec::new(), Vec::new());
        Arc::new(Answer { code, answers, authorities, at_ms: 0, until_ms, size_bytes })
    }

    proptest! {
        /// Beside a map that forgets nothing: what the cache gives is the last put and alive, it
        /// keeps its bounds, and forgets only what it counts as evicted.
        #[test]
        fn gives_only_the_last_and_living(
            steps in proptest::collection::vec((0u8..12, 0u64..40, 1usize..60, 0u64..6), 0..200),
        ) {
            let mut cache = Cache::new(6, 150);
            let mut model: BTreeMap<u8, (u64, usize)> = BTreeMap::new();
            let mut now = 0;
            for (n, life, size, later) in steps {
                now += later;
                let until = now + life;
                cache.put(key(n), answer(until, size), now);
                if life > 0 { model.insert(n, (until, size)); } else { model.remove(&n); }
                prop_assert!(cache.len() <= 6 && cache.size_bytes <= 150);
                prop_assert_eq!(cache.ends.len(), cache.answers.len());
                let sizes: usize = cache.answers.values().map(|(_, a)| a.size_bytes).sum();
                prop_assert_eq!(sizes, cache.size_bytes);
                let mut lost = 0;
                for k in 0..12 {
                    let living = model.get(&k).filter(|(until, _)| *until > now);
                    match cache.get(&key(k), now) {
                        Some(got) => {
                            prop_assert_eq!(Some(&(got.until_ms, got.size_bytes)), living);
                        }
                        None => lost += u64::from(living.is_some()),
                    }
                }
                prop_assert!(lost <= cache.evicted);
                // The newest is there, whatever had to go for it.
                prop_assert!(life == 0 || cache.get(&key(n), now).is_some());
            }
        }
    }

    #[test]
    fn what_lives_no_longer_makes_no_room_necessary() {
        let mut cache = Cache::new(2, 1_000);
        cache.put(key(1), answer(10, 1), 0);
        cache.put(key(2), answer(99, 1), 0);
        cache.put(key(3), answer(99, 1), 10);
        assert!(cache.get(&key(2), 10).is_some() && cache.get(&key(3), 10).is_some());
        assert_eq!(cache.evicted, 0);
        cache.put(key(4), answer(99, 1), 11);
        assert_eq!((cache.len(), cache.evicted), (2, 1));
        cache.put(key(5), answer(99, 2_000), 11);
        assert!(cache.get(&key(5), 11).is_none(), "larger than the whole cache");
    }
}
