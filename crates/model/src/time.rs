//! Instants as every document carries them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nanoseconds since 1970-01-01T00:00:00Z. Serialised as RFC 3339 in UTC with microseconds.
///
/// Captures carry absurd clocks, so any `i64` is a valid value: the years 1677 to 2262.
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

impl Timestamp {
    /// RFC 3339 in UTC with microseconds. By hand, because documents are full of instants: a calendar
    /// library takes ten times as long.
    fn text(self) -> [u8; 27] {
        const DAY: i64 = 86_400_000_000;
        let micros = self.0.div_euclid(1_000);
        let (days, micros) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
        // Howard Hinnant's `civil_from_days`: years begin in March, eras of 400 years are alike. All
        // that 64 bits of nanoseconds can say lies in the years 1677 to 2262.
        let days = days + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era * 400 + i64::from(month <= 2);
        let [y0, y1, y2, y3] = digits(year);
        let ([m0, m1], [d0, d1]) = (digits(month), digits(day));
        let [h0, h1] = digits(micros / 3_600_000_000);
        let [i0, i1] = digits(micros / 60_000_000 % 60);
        let [s0, s1] = digits(micros / 1_000_000 % 60);
        let [f0, f1, f2, f3, f4, f5] = digits(micros % 1_000_000);
        [
            y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', i0, i1, b':', s0, s1,
            b'.', f0, f1, f2, f3, f4, f5, b'Z',
        ]
    }
}

/// The last decimal digits of a number that is not negative.
fn digits<const N: usize>(mut number: i64) -> [u8; N] {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit += u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
    text
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
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
        serializer.serialize_str(std::str::from_utf8(&self.text()).unwrap_or_default())
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
    use proptest::prelude::*;

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

    proptest! {
        /// The calendar is that of the library that reads it.
        #[test]
        fn prints_what_the_calendar_says(nanos in any::<i64>()) {
            let says = jiff::Timestamp::from_microsecond(nanos.div_euclid(1_000)).unwrap();
            prop_assert_eq!(Timestamp::from_nanos(nanos).to_string(), format!("{says:.6}"));
        }
    }

    #[test]
    fn the_ends_of_years_and_months() {
        for text in [
            "1677-09-21T00:12:43.145225Z",
            "1970-01-01T00:00:00.000000Z",
            "1999-12-31T23:59:59.999999Z",
            "2000-02-29T00:00:00.000000Z",
            "2100-02-28T23:59:59.000001Z",
            "2100-03-01T00:00:00.000000Z",
            "2262-04-11T23:47:16.854775Z",
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn absurd_clocks_do_not_panic() {
        for t in [Timestamp::MIN, Timestamp::MAX, Timestamp::from_secs(i64::MAX, 1)] {
            assert!(!t.to_string().is_empty());
        }
        assert!("yesterday".parse::<Timestamp>().is_err());
    }
}
