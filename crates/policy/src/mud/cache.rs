//! How long a file may be used before its server is asked again (RFC 8520 §3.5).

use model::Timestamp;

use super::Mud;

/// Nanoseconds in an hour.
const HOUR: i64 = 3_600_000_000_000;

/// Whether a fetched file may still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Not before this instant is the server asked again.
    Until(Timestamp),
    /// The server is to be asked again, since this instant. The old file stays in use meanwhile.
    DueSince(Timestamp),
}

/// A file fetched at `fetched`, seen at `now`. A validity outside 1 to 168 hours counts as the nearest
/// bound, and a fetch in the future (a clock that was set back) is due at once.
pub fn freshness(mud: &Mud, fetched: Timestamp, now: Timestamp) -> Freshness {
    let hours = i64::from(mud.cache_validity_hours.clamp(1, 168));
    let ends = fetched.plus_nanos(hours.saturating_mul(HOUR));
    match () {
        () if fetched > now => Freshness::DueSince(now),
        () if ends <= now => Freshness::DueSince(ends),
        () => Freshness::Until(ends),
    }
}

impl Mud {
    /// `last-update` as an instant; `None` where it is none.
    pub fn updated(&self) -> Option<Timestamp> {
        let text = self.last_update.trim();
        // Written before the RFC: no zone, or one letter of white space instead of `T`.
        let zoned = || format!("{}Z", text.replacen(' ', "T", 1));
        text.parse().or_else(|_| zoned().parse()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mud(hours: u16) -> Mud {
        Mud { cache_validity_hours: hours, ..Mud::default() }
    }

    #[test]
    fn due_at_the_hour_and_within_the_bounds() {
        let at = |hours: i64| Timestamp::from_secs(1_900_000_000 + hours * 3_600, 0);
        for (validity, hours) in [(48, 48), (1, 1), (0, 1), (168, 168), (9_999, 168)] {
            let mud = mud(validity);
            assert_eq!(freshness(&mud, at(0), at(hours - 1)), Freshness::Until(at(hours)));
            assert_eq!(freshness(&mud, at(0), at(hours)), Freshness::DueSince(at(hours)));
        }
        assert_eq!(freshness(&mud(48), at(5), at(0)), Freshness::DueSince(at(0)));
    }

    #[test]
    fn instants_with_and_without_a_zone() {
        for (text, read) in [
            ("2031-03-14T18:00:00Z", true),
            ("2031-03-14T18:00:00+00:00", true),
            ("2031-03-14T18:00:00", true),
            ("2031-03-14 18:00:00", true),
            ("yesterday", false),
            ("", false),
        ] {
            let mud = Mud { last_update: text.to_owned(), ..Mud::default() };
            assert_eq!(mud.updated().is_some(), read, "{text}");
        }
    }
}
