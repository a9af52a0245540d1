//! What time it is at the controller, as far as a site can know it, and so which leases hold.
//!
//! Leases end by the controller's clock. A site knows that clock from the last frame, and counts on from there by the time that passes
//! on its own machine, which nobody can set. Its own wall clock counts only after a start, before the first frame: then it is what says
//! how long the machine was off. A wall clock that is behind what was seen before says nothing, and time goes on from what was known.
//!
//! | wall clock | leases count by |
//! |---|---|
//! | any, after a frame was heard by this process | running time since the frame |
//! | as expected or later, before that | itself, corrected by how far it was from the controller's |
//! | behind the last time seen, before that | running time since the process began; finding `clock-wrong` |

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// One look at this machine's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// What people set.
    pub wall: Timestamp,
    /// Nanoseconds since some moment of this boot; never goes back, and goes on while the machine sleeps.
    pub running_nanos: i64,
}

/// What survives a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The latest time that the wall clock should have shown.
    pub seen: Timestamp,
    /// The controller's time at that moment.
    pub there: Timestamp,
    /// How far the wall clock was ahead of the controller's, in nanoseconds, where both were about right.
    pub ahead_nanos: i64,
    /// Until when leases hold, by the controller's clock; none: it never said.
    pub until: Option<Timestamp>,
}

/// Which of a bundle's files are to be enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Leases hold.
    Held,
    /// They have ended, and the controller is out of reach: only what is critical to availability goes on.
    Expired,
    /// That lasted for the staleness budget: nothing is granted.
    Stale,
}

impl Variant {
    /// The word people read.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Expired => "expired",
            Self::Stale => "stale",
        }
    }
}

/// The wall clock may be off the controller's by this before it is a finding, in nanoseconds.
pub const DIFFERS_NANOS: i64 = 120 * SECOND_NANOS;
/// The wall clock may be set by this without being wrong, in nanoseconds: time servers do that.
pub const STEP_NANOS: i64 = 10 * SECOND_NANOS;

const SECOND_NANOS: i64 = 1_000_000_000;

/// The reckoning.
#[derive(Clone, Debug)]
pub struct Reckoning {
    kept: Kept,
    /// The running time at which `kept` was true.
    at_nanos: i64,
    /// A frame was heard by this process.
    heard: bool,
    wrong: bool,
    /// By the last frame that told the controller's time; in nanoseconds, ours minus theirs.
    differs: Option<i64>,
}

impl Reckoning {
    /// Goes on from what was kept.
    pub fn new(kept: Option<Kept>, look: Look) -> Self {
        let first = Kept { seen: look.wall, there: look.wall, ahead_nanos: 0, until: None };
        let kept = kept.unwrap_or(first);
        let at_nanos = look.running_nanos;
        let mut new = Self { kept, at_nanos, heard: false, wrong: false, differs: None };
        new.look(look);
        new
    }

    /// Time has passed.
    pub fn look(&mut self, look: Look) {
        let passed = look.running_nanos.saturating_sub(self.at_nanos).max(0);
        let expected = self.kept.seen.plus_nanos(passed);
        let by_running = self.kept.there.plus_nanos(passed);
        let off = look.wall.as_nanos().saturating_sub(expected.as_nanos());
        let behind = off < STEP_NANOS.saturating_neg();
        self.at_nanos = self.at_nanos.max(look.running_nanos);
        if self.heard {
            self.wrong = behind || off > STEP_NANOS;
            (self.kept.seen, self.kept.there) = (expected, by_running);
            return;
        }
        self.wrong = behind;
        self.kept.seen = expected.max(look.wall);
        let by_wall = look.wall.plus_nanos(self.kept.ahead_nanos.saturating_neg());
        self.kept.there = if behind { by_running } else { by_running.max(by_wall) };
    }

    /// The controller says until when leases hold, and what time it is there. Its last word counts.
    pub fn lease(&mut self, look: Look, until: Timestamp, now: Timestamp) {
        self.look(look);
        let ahead = look.wall.as_nanos().saturating_sub(now.as_nanos());
        let right = ahead.saturating_abs() <= DIFFERS_NANOS;
        self.differs = (!right).then_some(ahead);
        self.kept = Kept {
            // A clock that is far off is expected to be put right, not to stay as it is.
            seen: if right { look.wall } else { now },
            there: now,
            ahead_nanos: if right { ahead } else { 0 },
            until: Some(until),
        };
        self.heard = true;
        self.wrong = false;
    }

    /// A bundle that comes over the line has leases that hold now: only a clock that is wrong can say that they ended before.
    pub fn bundle(&mut self, look: Look, until: Timestamp) {
        self.look(look);
        self.kept.until = self.kept.until.max(Some(until));
        if !self.heard && self.kept.there >= until {
            self.kept.there = until.plus_nanos(SECOND_NANOS.saturating_neg());
            self.heard = true;
        }
    }

    /// What a bundle with this staleness budget is enforced as.
    pub fn variant(&self, stale_after_s: u32) -> Variant {
        let until = self.kept.until.unwrap_or(Timestamp::MIN);
        let budget = i64::from(stale_after_s).saturating_mul(SECOND_NANOS);
        match self.kept.there {
            there if there < until => Variant::Held,
            there if there < until.plus_nanos(budget) => Variant::Expired,
            _ => Variant::Stale,
        }
    }

    /// What survives.
    pub const fn kept(&self) -> Kept {
        self.kept
    }

    /// The time there.
    pub const fn there(&self) -> Timestamp {
        self.kept.there
    }

    /// A time that certificates can be judged by: the wall clock, or what is known where it is behind that.
    pub fn here(&self, wall: Timestamp) -> Timestamp {
        wall.max(self.kept.seen.plus_nanos(STEP_NANOS.saturating_neg()))
    }

    /// Why the wall clock cannot be believed.
    pub fn wrong(&self, wall: Timestamp) -> Option<String> {
        let seen = self.kept.seen;
        // What the controller says about it is told by another word.
        (self.wrong && self.differs.is_none()).then(|| {
            format!(
                "the clock says {wall}, and it should say {seen}: leases count by the time this machine runs until the controller is heard; put the clock right"
            )
        })
    }

    /// Why the wall clock is not the controller's.
    pub fn differs(&self) -> Option<String> {
        let seconds = self.differs?.checked_div(SECOND_NANOS)?;
        let way = if seconds > 0 { "ahead of" } else { "behind" };
        let seconds = seconds.unsigned_abs();
        Some(format!(
            "the clock here is {seconds} s {way} the controller's: hours and windows of policies are kept by the clock here; put it right"
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY_S: i64 = 86_400;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds, 0)
    }

    fn look(wall_s: i64, running_s: i64) -> Look {
        Look { wall: at(wall_s), running_nanos: running_s * SECOND_NANOS }
    }

    /// Heard at wall 1,000 and running 50: leases until 1,300.
    fn heard() -> Reckoning {
        let mut reckoning = Reckoning::new(None, look(1_000, 50));
        reckoning.lease(look(1_000, 50), at(1_300), at(1_000));
        reckoning
    }

    #[test]
    fn leases_end_by_the_controllers_clock_and_then_the_budget_runs() {
        let mut reckoning = heard();
        for (running, expect) in [
            (50, Variant::Held),
            (349, Variant::Held),
            (350, Variant::Expired),
            (949, Variant::Expired),
            (950, Variant::Stale),
        ] {
            reckoning.look(look(1_000 + running - 50, running));
            assert_eq!(reckoning.variant(600), expect, "{running}");
        }
        // The controller is back.
        reckoning.lease(look(1_950, 1_000), at(2_250), at(1_950));
        assert_eq!(reckoning.variant(600), Variant::Held);
        assert_eq!(reckoning.wrong(at(1_950)), None);
    }

    #[test]
    fn a_clock_that_jumps_either_way_changes_no_lease_and_is_told() {
        for jump in [-10 * DAY_S, -60, 60, 10 * DAY_S] {
            let mut reckoning = heard();
            reckoning.look(look(1_100 + jump, 150));
            assert_eq!(reckoning.variant(600), Variant::Held);
            assert!(reckoning.wrong(at(1_100 + jump)).is_some(), "{jump}");
            reckoning.look(look(1_300 + jump, 350));
            assert_eq!(reckoning.variant(600), Variant::Expired);
            // Put right, and it is.
            reckoning.look(look(1_310, 360));
            assert_eq!(reckoning.wrong(at(1_310)), None);
        }
        let mut reckoning = heard();
        reckoning.look(look(1_105, 150));
        assert_eq!(reckoning.wrong(at(1_105)), None, "a time server may do that");
    }

    #[test]
    fn after_a_restart_the_clock_says_how_long_it_was_off() {
        let kept = heard().kept();
        let after = |wall| Reckoning::new(Some(kept), look(wall, 5));
        assert_eq!(after(1_299).variant(600), Variant::Held);
        assert_eq!(after(1_300).variant(600), Variant::Expired);
        assert_eq!(after(1_900).variant(600), Variant::Stale);
        // A little ahead of the controller then, so it is now.
        let mut ahead = Reckoning::new(None, look(1_100, 50));
        ahead.lease(look(1_100, 50), at(1_300), at(1_000));
        assert_eq!(ahead.differs(), None);
        assert_eq!(Reckoning::new(Some(ahead.kept()), look(1_399, 5)).variant(600), Variant::Held);
    }

    #[test]
    fn after_a_restart_without_a_clock_time_goes_on_from_what_was_seen() {
        let kept = heard().kept();
        let mut reckoning = Reckoning::new(Some(kept), look(0, 5));
        assert!(reckoning.wrong(at(0)).is_some());
        assert_eq!(reckoning.variant(600), Variant::Held);
        assert_eq!(reckoning.here(at(0)), at(990));
        reckoning.look(look(299, 304));
        assert_eq!(reckoning.variant(600), Variant::Held);
        reckoning.look(look(300, 305));
        assert_eq!(reckoning.variant(600), Variant::Expired);
        // And what was counted is not counted again after the next one.
        let mut again = Reckoning::new(Some(reckoning.kept()), look(0, 5));
        assert_eq!(again.variant(600), Variant::Expired);
        again.look(look(600, 605));
        assert_eq!(again.variant(600), Variant::Stale);
        // A time server comes: the clock counts again.
        let mut reckoning = Reckoning::new(Some(kept), look(0, 5));
        reckoning.look(look(1_250, 6));
        assert_eq!(reckoning.wrong(at(1_250)), None);
        assert_eq!(reckoning.variant(600), Variant::Held);
        reckoning.look(look(1_300, 56));
        assert_eq!(reckoning.variant(600), Variant::Expired);
    }

    #[test]
    fn a_clock_far_from_the_controllers_is_told_until_it_is_right() {
        let mut reckoning = Reckoning::new(None, look(DAY_S, 5));
        reckoning.lease(look(DAY_S, 5), at(1_300), at(1_000));
        assert!(reckoning.differs().unwrap().contains("85400 s ahead of"));
        assert_eq!(reckoning.variant(600), Variant::Held);
        assert_eq!(reckoning.wrong(at(DAY_S)), None, "told once, by one word");
        // It was put right, and the site starts again, cut off.
        let restarted = Reckoning::new(Some(reckoning.kept()), look(1_200, 1));
        assert_eq!(restarted.variant(600), Variant::Held);
        // It was not, and it does: what it says is more than was seen, and closes.
        let restarted = Reckoning::new(Some(reckoning.kept()), look(DAY_S, 1));
        assert_eq!(restarted.variant(600), Variant::Stale);
        reckoning.lease(look(1_010, 15), at(1_310), at(1_010));
        assert_eq!(reckoning.differs(), None);
    }

    #[test]
    fn a_bundle_that_comes_has_leases_that_hold() {
        let mut reckoning = Reckoning::new(None, look(DAY_S, 5));
        reckoning.bundle(look(DAY_S, 5), at(1_300));
        assert_eq!(reckoning.variant(600), Variant::Held);
        reckoning.look(look(DAY_S + 1, 6));
        assert_eq!(reckoning.variant(600), Variant::Expired);
        // A frame is more exact than that.
        reckoning.lease(look(DAY_S + 1, 6), at(1_300), at(1_000));
        assert_eq!(reckoning.variant(600), Variant::Held);
        // Once the time there is known, a late bundle is late.
        reckoning.look(look(DAY_S + 400, 406));
        reckoning.bundle(look(DAY_S + 400, 406), at(1_300));
        assert_eq!(reckoning.variant(600), Variant::Expired);
    }

    proptest! {
        /// Whatever the wall clock does: once a frame was heard, running time alone decides.
        #[test]
        fn nobody_lengthens_a_lease_by_setting_a_clock(
            walls in prop::collection::vec((any::<i32>(), 0_i64..200), 1..12),
        ) {
            let mut reckoning = heard();
            let mut running = 50;
            for (wall, passed) in walls {
                running += passed;
                reckoning.look(look(i64::from(wall), running));
                let expect = match running - 50 {
                    ..300 => Variant::Held,
                    300..900 => Variant::Expired,
                    _ => Variant::Stale,
                };
                prop_assert_eq!(reckoning.variant(600), expect);
            }
        }

        /// Before one is heard, no wall clock brings a lease back that had ended, nor one that holds longer than it runs.
        #[test]
        fn after_a_restart_time_goes_one_way(
            walls in prop::collection::vec((-10_000_i64..10_000, 0_i64..200), 1..12),
        ) {
            let mut reckoning = Reckoning::new(Some(heard().kept()), look(1_000, 5));
            let mut running = 5;
            let mut before = Variant::Held;
            for (wall, passed) in walls {
                running += passed;
                reckoning.look(look(wall, running));
                let now = reckoning.variant(600);
                prop_assert!(now >= before);
                prop_assert!(now >= Variant::Expired || running - 5 < 300);
                before = now;
            }
        }
    }
}
