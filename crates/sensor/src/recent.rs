//! What was met a short while ago: a table of fixed size that forgets.

use std::hash::{BuildHasher as _, Hash};

use foldhash::fast::RandomState;

/// Remembers things until others take their places. It is asked for most packets, so it is kept small: half a digest each, which leaves one
/// chance in four thousand million that something new is taken for known.
#[derive(Debug)]
pub(crate) struct Recent {
    slots: Vec<u32>,
    /// Other digests in each process: who sends does not know what would be taken for what.
    hasher: RandomState,
}

impl Recent {
    /// Room for so many; a power of two.
    pub(crate) fn new(room: usize) -> Self {
        debug_assert!(room.is_power_of_two());
        Self { slots: vec![0; room], hasher: RandomState::default() }
    }

    /// Whether this is remembered; from now on it is.
    #[inline]
    pub(crate) fn again(&mut self, what: impl Hash) -> bool {
        let digest = self.hasher.hash_one(what);
        self.has(digest)
    }

    #[inline]
    fn has(&mut self, digest: u64) -> bool {
        #[expect(clippy::cast_possible_truncation, reason = "one half says where, the other what")]
        let (place, tag) = (digest as u32 as usize, (digest >> 32) as u32);
        let mask = self.slots.len() - 1;
        let slot = self.slots.get_mut(place & mask);
        slot.is_some_and(|slot| std::mem::replace(slot, tag) == tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_until_another_takes_the_place() {
        let mut recent = Recent::new(4);
        let (one, other) = (7 << 32 | 0b10, 8 << 32 | 0b110);
        assert!(!recent.has(one));
        assert!(recent.has(one));
        // The same place, something else.
        assert!(!recent.has(other));
        assert!(recent.has(other));
        assert!(!recent.has(one), "it forgets");
        // Another place leaves it alone.
        assert!(!recent.has(9 << 32 | 0b11));
        assert!(recent.has(one));
    }

    #[test]
    fn what_is_taken_for_what_is_not_known_outside() {
        let mut tables = [Recent::new(64), Recent::new(64)];
        let forgotten = tables.each_mut().map(|recent| {
            (0..64u32).filter(|n| recent.again(n)).for_each(drop);
            (0..64u32).filter(|n| !recent.again(n)).collect::<Vec<_>>()
        });
        let [one, other] = forgotten;
        assert_ne!(one, other, "places depend on the process");
    }
}
