//! What devices asked the site's resolver, counted: how much of it policy knows, and which names it
//! does not know. Bounded: a device can make up names without end.

use std::collections::HashMap;
use std::net::IpAddr;

use names::{Asked, Outcome};
use serde::{Deserialize, Serialize};

/// Questions since the process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Questions {
    /// For names in policy.
    pub permitted: u64,
    /// For other names: answered, and no path opened.
    pub unknown: u64,
    /// For other names, refused: `resolver.refuse` in `site.toml`.
    pub refused: u64,
    /// Refused because the device asks too much.
    pub throttled: u64,
    /// Names that policy does not know, the most asked first.
    pub unknown_names: Vec<Unknown>,
    /// Questions for such names that are not listed, because the list was full.
    pub not_listed: u64,
}

/// A name that policy does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unknown {
    /// Who asked.
    pub device: IpAddr,
    /// For what.
    pub name: String,
    /// How many times.
    pub count: u64,
}

/// Devices and names that are listed.
pub const LISTED_MAX: usize = 256;

/// Counts questions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    counts: Questions,
    unknown: HashMap<(IpAddr, String), u64>,
}

impl Tally {
    pub(crate) fn add(&mut self, asked: Asked) {
        let counts = &mut self.counts;
        let of = match asked.outcome {
            Outcome::Permitted => &mut counts.permitted,
            Outcome::Unknown => &mut counts.unknown,
            Outcome::Refused => &mut counts.refused,
            Outcome::Throttled => &mut counts.throttled,
        };
        *of = of.saturating_add(1);
        if !matches!(asked.outcome, Outcome::Unknown | Outcome::Refused) {
            return;
        }
        let full = self.unknown.len() >= LISTED_MAX;
        let key = (asked.device, asked.name);
        let of = match self.unknown.get_mut(&key) {
            Some(count) => count,
            None if full => &mut counts.not_listed,
            None => self.unknown.entry(key).or_default(),
        };
        *of = of.saturating_add(1);
    }

    pub(crate) fn questions(&self) -> Questions {
        let unknown = self.unknown.iter().map(|((device, name), count)| Unknown {
            device: *device,
            name: name.clone(),
            count: *count,
        });
        let mut unknown_names: Vec<Unknown> = unknown.collect();
        unknown_names
            .sort_by(|a, b| (b.count, a.device, &a.name).cmp(&(a.count, b.device, &b.name)));
        Questions { unknown_names, ..self.counts.clone() }
    }
}

#[cfg(test)]
mod tests {
    use model::ruleset::ClassId;

    use super::*;

    fn asked(name: &str, outcome: Outcome) -> Asked {
        let (device, name) = ("10.0.0.1".parse().unwrap(), name.to_owned());
        Asked { device, class: ClassId(1), name, kind: "A".to_owned(), outcome }
    }

    #[test]
    fn every_question_is_counted_and_names_outside_policy_are_listed() {
        let mut tally = Tally::default();
        tally.add(asked("api.cloud.example", Outcome::Permitted));
        tally.add(asked("a.example", Outcome::Unknown));
        for _ in 0..2 {
            tally.add(asked("b.example", Outcome::Refused));
        }
        tally.add(asked("c.example", Outcome::Throttled));
        let told = tally.questions();
        let counts = (told.permitted, told.unknown, told.refused, told.throttled);
        assert_eq!(counts, (1, 1, 2, 1));
        let names: Vec<(&str, u64)> =
            told.unknown_names.iter().map(|u| (u.name.as_str(), u.count)).collect();
        assert_eq!(names, [("b.example", 2), ("a.example", 1)]);
    }

    #[test]
    fn made_up_names_fill_the_list_and_no_more() {
        let mut tally = Tally::default();
        for n in 0..LISTED_MAX + 7 {
            tally.add(asked(&format!("{n}.tunnel.example"), Outcome::Unknown));
        }
        tally.add(asked("0.tunnel.example", Outcome::Unknown));
        let told = tally.questions();
        assert_eq!((told.unknown_names.len(), told.not_listed), (LISTED_MAX, 7));
        assert_eq!(told.unknown_names[0].count, 2);
        assert_eq!(told.unknown, u64::try_from(LISTED_MAX + 8).unwrap());
    }
}
