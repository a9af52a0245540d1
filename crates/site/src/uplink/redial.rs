//! When to try again: exponentially later, with full jitter, so that a thousand sites do not come back in one moment.

/// Longest pause, in nanoseconds.
pub const LONGEST_NANOS: i64 = 60 * SECOND_NANOS;
/// A line that held for this long was a good one: the next pause is short again. In nanoseconds.
pub const GOOD_NANOS: i64 = 60 * SECOND_NANOS;
/// Shortest pause, in nanoseconds.
pub const SHORTEST_NANOS: i64 = SECOND_NANOS / 10;

const SECOND_NANOS: i64 = 1_000_000_000;

/// What was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redial {
    failures: u32,
    /// Running time since which the line holds.
    since_nanos: Option<i64>,
}

impl Redial {
    /// The line is up.
    pub fn up(&mut self, running_nanos: i64) {
        self.since_nanos = Some(running_nanos);
    }

    /// It is not, or not any more: so long to wait, in nanoseconds. `random`: any number, all equally likely.
    pub fn down(&mut self, running_nanos: i64, random: u64) -> i64 {
        let held = self.since_nanos.take();
        if held.is_some_and(|since| running_nanos.saturating_sub(since) >= GOOD_NANOS) {
            self.failures = 0;
        }
        let most = 1_i64
            .checked_shl(self.failures.min(6))
            .unwrap_or(i64::MAX)
            .saturating_mul(SECOND_NANOS)
            .min(LONGEST_NANOS);
        self.failures = self.failures.saturating_add(1);
        let share = i128::from(random).saturating_mul(i128::from(most)) >> 64;
        i64::try_from(share).unwrap_or(most).max(SHORTEST_NANOS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_a_good_minute_makes_them_short_again() {
        let mut redial = Redial::default();
        let seconds: Vec<i64> =
            (0..8).map(|_| redial.down(0, u64::MAX) / SECOND_NANOS + 1).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        redial.up(0);
        assert!(redial.down(GOOD_NANOS - 1, u64::MAX) > 59 * SECOND_NANOS);
        redial.up(0);
        assert!(redial.down(GOOD_NANOS, u64::MAX) <= SECOND_NANOS);
    }

    proptest! {
        #[test]
        fn a_pause_is_anywhere_up_to_its_most(random: u64, tries in 0_u32..70) {
            let mut redial = Redial::default();
            for _ in 0..tries {
                redial.down(0, 0);
            }
            let most = (1_i64 << tries.min(6)).min(60) * SECOND_NANOS;
            let share = (random as f64) / 2_f64.powi(64);
            let pause = redial.down(0, random);
            prop_assert!((SHORTEST_NANOS..=most).contains(&pause));
            let wanted = (share * most as f64).max(SHORTEST_NANOS as f64);
            prop_assert!((pause as f64 - wanted).abs() < 1e6, "{} {}", pause, wanted);
        }
    }
}
