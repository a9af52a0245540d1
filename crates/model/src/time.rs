//! Instants as every document carries them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nanoseconds since 1970-01-01T00:00:00Z. Serialised as RFC 3339 in UTC with microseconds.
///
/// Captures carry absurd clocks, so any `i64` is a valid value; those outside what a calendar can
/// print (years −9999..9999) are clamped when shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The epoch, also what an input without a clock carries.
    pub const EPOCH: Self = Self(0);
    /// The earliest value, for folds that look for a maximum.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest value, for folds that look for a minimum.
    pub const MAX: Self = Self(i64::MAX);

    /// From nanoseconds since the epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From seconds and a sub-second part in nanoseconds, saturating.
    pub const fn from_secs(secs: i64, nanos: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Seconds from `earlier` to `self`; negative when `self` comes first.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a duration in seconds for people; nanosecond precision is not kept"
        )]
        {
            self.0.saturating_sub(earlier.0) as f64 / 1e9
        }
    }

    /// `self` plus a number of nanoseconds, saturating.
    pub const fn plus_nanos(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.div_euclid(1_000);
        match jiff::Timestamp::from_microsecond(micros) {
            Ok(t) => write!(f, "{t:.6}"),
            Err(_) => write!(f, "{}ns", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed: jiff::Timestamp = text
            .parse()
            .map_err(|error| format!("`{text}` is not an RFC 3339 instant: {error}"))?;
        i64::try_from(parsed.as_nanosecond())
            .map(Self)
            .map_err(|_| format!("`{text}` is outside the years 1677 to 2262"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads_back_with_microseconds() {
        let t = Timestamp::from_secs(1_220_372_730, 123_456_789);
        assert_eq!(t.to_string(), "2008-09-02T16:25:30.123456Z");
        assert_eq!(
            t.to_string().parse::<Timestamp>().unwrap(),
            Timestamp::from_secs(1_220_372_730, 123_456_000)
        );
    }

    #[test]
    fn absurd_clocks_do_not_panic() {
        for t in [Timestamp::MIN, Timestamp::MAX, Timestamp::from_secs(i64::MAX, 1)] {
            assert!(!t.to_string().is_empty());
        }
        assert!("yesterday".parse::<Timestamp>().is_err());
    }
}
