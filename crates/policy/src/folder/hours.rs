//! Announced maintenance windows: when `context.maintenance` is true at a site.

use model::SiteId;
use serde::{Deserialize, Serialize};

/// A weekly window at a site, in the site's own time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// Where.
    pub site: SiteId,
    /// Days on which it starts, at least one.
    pub days: Vec<Weekday>,
    /// First hour, 0 to 23.
    pub from: u8,
    /// Hour at which it is over, 1 to 24. Not above `from`: it runs past midnight.
    pub to: u8,
    /// Line in `estate.toml`, 0 when not read from text.
    pub line: u32,
}

impl Maintenance {
    /// The window is open in this hour (0 to 23) of this day.
    pub fn covers(&self, day: Weekday, hour: u8) -> bool {
        let today = self.days.contains(&day);
        if self.from < self.to {
            return today && (self.from..self.to).contains(&hour);
        }
        (today && hour >= self.from) || (self.days.contains(&day.before()) && hour < self.to)
    }
}

/// Day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Weekday {
    /// Monday.
    #[serde(rename = "mon")]
    Monday,
    /// Tuesday.
    #[serde(rename = "tue")]
    Tuesday,
    /// Wednesday.
    #[serde(rename = "wed")]
    Wednesday,
    /// Thursday.
    #[serde(rename = "thu")]
    Thursday,
    /// Friday.
    #[serde(rename = "fri")]
    Friday,
    /// Saturday.
    #[serde(rename = "sat")]
    Saturday,
    /// Sunday.
    #[serde(rename = "sun")]
    Sunday,
}

impl Weekday {
    /// Monday to Sunday.
    pub const ALL: [Self; 7] = [
        Self::Monday,
        Self::Tuesday,
        Self::Wednesday,
        Self::Thursday,
        Self::Friday,
        Self::Saturday,
        Self::Sunday,
    ];

    /// Its word in `estate.toml`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Monday => "mon",
            Self::Tuesday => "tue",
            Self::Wednesday => "wed",
            Self::Thursday => "thu",
            Self::Friday => "fri",
            Self::Saturday => "sat",
            Self::Sunday => "sun",
        }
    }

    /// The day before.
    #[must_use]
    pub const fn before(self) -> Self {
        match self {
            Self::Monday => Self::Sunday,
            Self::Tuesday => Self::Monday,
            Self::Wednesday => Self::Tuesday,
            Self::Thursday => Self::Wednesday,
            Self::Friday => Self::Thursday,
            Self::Saturday => Self::Friday,
            Self::Sunday => Self::Saturday,
        }
    }
}

impl std::fmt::Display for Weekday {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_run_past_midnight() {
        let window = |from, to| Maintenance {
            site: SiteId::new("main").unwrap(),
            days: vec![Weekday::Saturday],
            from,
            to,
            line: 0,
        };
        let check = |window: &Maintenance, day, hour, expect| {
            assert_eq!(window.covers(day, hour), expect, "{window:?} {day} {hour}");
        };
        let night = window(22, 4);
        check(&night, Weekday::Saturday, 21, false);
        check(&night, Weekday::Saturday, 22, true);
        check(&night, Weekday::Saturday, 3, false);
        check(&night, Weekday::Sunday, 3, true);
        check(&night, Weekday::Sunday, 4, false);
        let whole = window(0, 24);
        check(&whole, Weekday::Saturday, 0, true);
        check(&whole, Weekday::Saturday, 23, true);
        check(&whole, Weekday::Sunday, 0, false);
        let morning = window(6, 8);
        check(&morning, Weekday::Saturday, 7, true);
        check(&morning, Weekday::Saturday, 8, false);
    }
}
