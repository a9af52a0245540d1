//! The moment that policies are asked about, in the site's own time. Handed in; nothing here knows a clock.

use std::collections::BTreeSet;

use crate::folder::{Folder, Maintenance, Weekday};
use crate::language::{Expr, Policy, Var};

/// Hour and day at a site. What is not known is absent from `context`, and `context has hour` is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Moment {
    /// Hour of the day, 0 to 23.
    pub hour: Option<u8>,
    /// Day of the week.
    pub weekday: Option<Weekday>,
}

impl Moment {
    /// An hour (0 to 23) of a day.
    pub fn at(weekday: Weekday, hour: u8) -> Self {
        Self { hour: Some(hour), weekday: Some(weekday) }
    }

    /// A maintenance window of `site` is open; `None` where the time is not known.
    pub(crate) fn maintenance(self, windows: &[Maintenance], site: &str) -> Option<bool> {
        let (hour, day) = (self.hour?, self.weekday?);
        Some(windows.iter().any(|w| w.site.as_str() == site && w.covers(day, hour)))
    }

    fn next(self) -> Self {
        let day = self.weekday.map(|day| {
            let all = Weekday::ALL;
            let after = all.iter().find(|d| d.before() == day).copied();
            after.unwrap_or(day)
        });
        match self.hour {
            Some(hour) if hour < 23 => Self { hour: Some(hour.saturating_add(1)), ..self },
            Some(_) => Self { hour: Some(0), weekday: day },
            None => self,
        }
    }
}

/// In how many hours (1 to 168) what the folder grants may change by time alone; `None`: never. Exact to the
/// hour: before that, compiling again gives the same.
pub fn next_change(folder: &Folder, now: Moment) -> Option<u16> {
    let edges = edges(folder)?;
    if now.hour.is_none() || now.weekday.is_none() {
        return None;
    }
    let today = crate::lower::lower_at(folder, now);
    let mut at = now;
    for hours in 1..=168u16 {
        at = at.next();
        let edge = at.hour.is_some_and(|hour| edges.contains(&i64::from(hour)));
        if edge && !today.same(&crate::lower::lower_at(folder, at)) {
            return Some(hours);
        }
    }
    None
}

/// Hours of the day at which what policies say may change; `None` where none looks at the time.
fn edges(folder: &Folder) -> Option<BTreeSet<i64>> {
    let mut edges = BTreeSet::new();
    let (mut timed, mut any) = (false, false);
    for policy in &folder.policies {
        let mut looks = policy.on_cedar.is_some();
        let mut constants = Vec::new();
        any |= looks;
        for condition in &policy.conditions {
            condition.body.visit(&mut |e| match e {
                Expr::Get(of, name) | Expr::Has(of, name) => {
                    let context = matches!(**of, Expr::Var(Var::Context));
                    looks |= context && matches!(name.as_str(), "hour" | "weekday" | "maintenance");
                }
                Expr::Long(n) => constants.push(*n),
                _ => {}
            });
        }
        if looks {
            timed = true;
            // `>= n` and `> n` change at `n` and one later; other numbers may be compared with attributes.
            edges.extend(constants.iter().flat_map(|n| [*n, n.saturating_add(1)]));
            any |= looks_at_numbers(policy);
        }
    }
    edges.insert(0);
    for window in &folder.estate.maintenance {
        edges.extend([i64::from(window.from), i64::from(window.to) % 24]);
    }
    if any {
        edges.extend(0..24);
    }
    timed.then_some(edges)
}

/// Its conditions hold numbers of the estate, with which the hour may be compared.
fn looks_at_numbers(policy: &Policy) -> bool {
    let mut looks = false;
    for condition in &policy.conditions {
        condition.body.visit(&mut |e| {
            let number = |name: &str| {
                matches!(name, "assurance" | "assurance_min" | "port" | "security_level")
            };
            looks |= matches!(e, Expr::Get(_, name) if number(name));
        });
    }
    looks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_run_into_days() {
        let at = Moment::at(Weekday::Sunday, 23).next();
        assert_eq!(at, Moment::at(Weekday::Monday, 0));
        assert_eq!(Moment::at(Weekday::Friday, 7).next(), Moment::at(Weekday::Friday, 8));
    }
}
