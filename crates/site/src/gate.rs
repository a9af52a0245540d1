//! When a zone may go from shadow to enforce, and when it goes back by itself. Pure.
//!
//! The gate opens after enough days without a would-be denial of a path that was used before, with
//! nearly all flows explained by a rule, and a canary that proves the shadow counts at all (a shadow
//! that counts nothing looks exactly like one that finds nothing).
//!
//! The way back is guarded: only for some hours after a zone was promoted do denials of formerly
//! used paths put it back. Later they are a finding; else anybody who knows such a path could open
//! the zone by knocking on it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// Thresholds of `site.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Days a zone must have been observed in shadow.
    pub days_min: f64,
    /// Share (0 to 1) of its flows that rules must explain.
    pub explained_min: f64,
    /// Flows it must have opened meanwhile: a zone nobody used proves nothing.
    pub flows_min: u64,
    /// Formerly used paths that may have been (would-be) denied.
    pub used_denied_max: u64,
    /// Denied packets of formerly used paths that put a zone back to shadow…
    pub back_denials: u64,
    /// …within this many seconds…
    pub back_window_s: u32,
    /// …and this many hours after its promotion.
    pub back_guard_hours: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            days_min: 7.0,
            explained_min: 0.99,
            flows_min: 10,
            used_denied_max: 0,
            back_denials: 10,
            back_window_s: 300,
            back_guard_hours: 24.0,
        }
    }
}

/// What was counted in one zone since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Packets that opened a permitted flow.
    pub explained: u64,
    /// Packets that no rule permits.
    pub denied: u64,
    /// Of these, the ones on formerly used paths: packets by path in words.
    pub used: BTreeMap<String, u64>,
    /// More was denied than the kernel remembers: what the rest was is not known.
    pub incomplete: bool,
}

/// What was seen of a zone in shadow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watched {
    /// Since when.
    pub since: Timestamp,
    /// Packets that opened a permitted flow.
    pub explained: u64,
    /// Packets that would have been denied.
    pub denied: u64,
    /// Formerly used paths that would have been denied, with packets; the first ones.
    pub used: BTreeMap<String, u64>,
    /// The last sample was incomplete.
    #[serde(default)]
    pub incomplete: bool,
}

/// Formerly used paths remembered by name.
const USED_MAX: usize = 64;

impl Watched {
    /// Nothing yet.
    pub fn since(since: Timestamp) -> Self {
        Self { since, explained: 0, denied: 0, used: BTreeMap::new(), incomplete: false }
    }

    /// Adds what was counted until now. An incomplete sample is worth nothing, and what was seen before
    /// it neither: observation begins anew; only the paths it showed are kept.
    pub fn add(&mut self, now: Timestamp, sample: &Sample) {
        self.incomplete = sample.incomplete;
        if self.incomplete {
            (self.since, self.explained, self.denied) = (now, 0, 0);
        }
        self.explained = self.explained.saturating_add(sample.explained);
        self.denied = self.denied.saturating_add(sample.denied);
        for (path, packets) in &sample.used {
            let full = self.used.len() >= USED_MAX && !self.used.contains_key(path);
            // The last place counts the rest, so that a full table never looks like a short list.
            let path = if full { "further paths" } else { path.as_str() };
            let count = self.used.entry(path.to_owned()).or_default();
            *count = count.saturating_add(*packets);
        }
    }

    /// Share of flows that rules explain; 0 when there were none.
    pub fn share(&self) -> f64 {
        let all = self.explained.saturating_add(self.denied);
        #[expect(clippy::cast_precision_loss, reason = "a share for people and a threshold")]
        if all == 0 { 0.0 } else { self.explained as f64 / all as f64 }
    }
}

/// The promotion gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// The zone may be enforced.
    pub open: bool,
    /// What is missing; empty when open.
    pub reasons: Vec<String>,
}

impl Thresholds {
    /// Values that make sense, or why not.
    pub fn check(&self) -> Result<(), String> {
        let number = |name: &str, value: f64, max: f64| {
            let fine = value.is_finite() && (0.0..=max).contains(&value);
            if fine { Ok(()) } else { Err(format!("{name} = {value}: use 0 to {max}")) }
        };
        number("days_min", self.days_min, 3_660.0)?;
        number("explained_min", self.explained_min, 1.0)?;
        number("back_guard_hours", self.back_guard_hours, 87_840.0)?;
        if self.back_denials == 0 || self.back_window_s == 0 {
            return Err("back_denials and back_window_s must be more than 0".to_owned());
        }
        Ok(())
    }

    /// The gate for what was seen of a zone; `proof`: that its shadow counts, or why that is not known.
    pub fn gate(
        &self,
        watched: Option<&Watched>,
        proof: Result<(), String>,
        now: Timestamp,
    ) -> Gate {
        let mut reasons: Vec<String> = proof.err().into_iter().collect();
        match watched {
            None => reasons.push("nothing was observed in shadow yet".to_owned()),
            Some(watched) => self.observed(watched, now, &mut reasons),
        }
        Gate { open: reasons.is_empty(), reasons }
    }

    fn observed(&self, watched: &Watched, now: Timestamp, reasons: &mut Vec<String>) {
        if watched.incomplete {
            let why = "more would be denied than can be remembered, so what it is is not known; observation begins anew when that ends";
            reasons.push(why.to_owned());
        }
        let days = now.seconds_since(watched.since) / 86_400.0;
        if days < self.days_min {
            reasons.push(format!("observed for {days:.1} of {} days", self.days_min));
        }
        let flows = watched.explained.saturating_add(watched.denied);
        if flows < self.flows_min {
            reasons.push(format!("{flows} of {} flows observed", self.flows_min));
        }
        let share = watched.share();
        if flows > 0 && share < self.explained_min {
            reasons.push(format!(
                "{:.2} % of flows are explained by a rule, {:.2} % are needed",
                share * 100.0,
                self.explained_min * 100.0
            ));
        }
        let used = u64::try_from(watched.used.len()).unwrap_or(u64::MAX);
        if used > self.used_denied_max {
            let shown: Vec<String> = watched
                .used
                .iter()
                .take(3)
                .map(|(path, n)| format!("{path} ({n} packets)"))
                .collect();
            let more = watched.used.len().saturating_sub(shown.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            reasons.push(format!(
                "{used} formerly used paths would be denied: {}{more}",
                shown.join(", ")
            ));
        }
    }
}

/// What denials of formerly used paths amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spiked {
    /// Nothing.
    No,
    /// Too much, so soon after the promotion: the zone goes back.
    StepBack,
    /// Too much for chance, and the zone stays enforced: people are told.
    Tell,
}

/// Denials of formerly used paths in a zone that is enforced, within the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spike {
    recent: VecDeque<(Timestamp, u64)>,
    paths: BTreeMap<String, u64>,
}

/// Samples kept of one window.
const SAMPLES_MAX: usize = 4_096;

impl Spike {
    /// Adds what was counted; `since`: when the site promoted the zone, if it did.
    pub fn add(
        &mut self,
        now: Timestamp,
        since: Option<Timestamp>,
        sample: &Sample,
        thresholds: &Thresholds,
    ) -> Spiked {
        let window = f64::from(thresholds.back_window_s);
        while self.recent.front().is_some_and(|(at, _)| now.seconds_since(*at) > window) {
            self.recent.pop_front();
        }
        if self.recent.is_empty() {
            self.paths.clear();
        }
        let packets = sample.used.values().copied().fold(0, u64::saturating_add);
        if packets > 0 {
            if self.recent.len() >= SAMPLES_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back((now, packets));
            for (path, packets) in sample.used.iter().take(USED_MAX) {
                let count = self.paths.entry(path.clone()).or_default();
                *count = count.saturating_add(*packets);
            }
        }
        let all = self.recent.iter().map(|(_, n)| *n).fold(0, u64::saturating_add);
        let guarded = since
            .is_some_and(|since| now.seconds_since(since) <= thresholds.back_guard_hours * 3_600.0);
        match all >= thresholds.back_denials {
            false => Spiked::No,
            true if guarded => Spiked::StepBack,
            true => Spiked::Tell,
        }
    }
}

impl fmt::Display for Spike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.recent.iter().map(|(_, n)| *n).fold(0, u64::saturating_add);
        write!(f, "{all} packets of formerly used paths were denied")?;
        let mut worst: Vec<_> = self.paths.iter().collect();
        worst.sort_by_key(|(path, n)| (std::cmp::Reverse(**n), *path));
        for (n, (path, _)) in worst.into_iter().take(3).enumerate() {
            write!(f, "{}{path}", if n == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds, 0)
    }

    fn sample(explained: u64, denied: u64, used: &[(&str, u64)]) -> Sample {
        let used = used.iter().map(|(path, n)| ((*path).to_owned(), *n)).collect();
        Sample { explained, denied, used, incomplete: false }
    }

    fn check(watched: Option<&Watched>, canary: bool, day: i64, expect: &[&str]) {
        let proof = if canary { Ok(()) } else { Err("no canary".to_owned()) };
        let gate = Thresholds::default().gate(watched, proof, at(day * DAY));
        assert_eq!(gate.open, expect.is_empty(), "{gate:?}");
        assert_eq!(gate.reasons.len(), expect.len(), "{gate:?}");
        for (reason, part) in gate.reasons.iter().zip(expect) {
            assert!(reason.contains(part), "{reason}: {part}");
        }
    }

    #[test]
    fn the_gate_says_what_is_missing() {
        check(None, false, 9, &["canary", "nothing was observed"]);
        let mut watched = Watched::since(at(0));
        check(Some(&watched), true, 9, &["0 of 10 flows"]);
        watched.add(at(0), &sample(990, 10, &[]));
        check(Some(&watched), true, 3, &["3.0 of 7 days"]);
        check(Some(&watched), true, 7, &[]);
        check(Some(&watched), false, 7, &["canary"]);
        watched.add(at(0), &sample(0, 40, &[]));
        check(Some(&watched), true, 7, &["95.19 % of flows"]);
        watched.add(at(0), &sample(90_000, 2, &[("hmi → plc tcp/502", 2)]));
        check(Some(&watched), true, 7, &["1 formerly used paths would be denied: hmi → plc"]);
    }

    #[test]
    fn a_full_table_of_paths_still_counts() {
        let mut watched = Watched::since(at(0));
        for n in 0..200 {
            watched.add(at(0), &sample(0, 1, &[(&format!("path {n:03}"), 1)]));
        }
        assert_eq!(watched.used.len(), USED_MAX + 1);
        assert_eq!(watched.used["further paths"], 136);
    }

    #[test]
    fn a_spike_counts_within_its_window_and_its_guard() {
        let thresholds = Thresholds::default();
        let used = sample(0, 4, &[("hmi → plc tcp/502", 4)]);
        let mut spike = Spike::default();
        let mut add = |seconds, since| spike.add(at(seconds), since, &used, &thresholds);
        assert_eq!([10, 20].map(|s| add(s, Some(at(0)))), [Spiked::No; 2]);
        // The first two have left the window.
        assert_eq!([400, 410].map(|s| add(s, Some(at(0)))), [Spiked::No; 2]);
        assert_eq!(add(420, Some(at(0))), Spiked::StepBack);
        // A zone that the folder enforces, and one that was promoted long ago, stay enforced; the same
        // spike is told.
        assert_eq!(add(421, None), Spiked::Tell);
        let later = [0, 1, 2].map(|s| add(2 * DAY + s, Some(at(0))));
        assert_eq!(later, [Spiked::No, Spiked::No, Spiked::Tell]);
    }

    #[test]
    fn an_incomplete_sample_shuts_the_gate_and_begins_the_days_anew() {
        let mut watched = Watched::since(at(0));
        watched.add(at(0), &sample(990, 0, &[]));
        check(Some(&watched), true, 8, &[]);
        let full = Sample { incomplete: true, ..sample(5, 4_096, &[("hmi → plc tcp/502", 1)]) };
        watched.add(at(8 * DAY), &full);
        let used = "1 formerly used paths";
        check(
            Some(&watched),
            true,
            30,
            &["more would be denied than can be remembered", "of flows", used],
        );
        watched.used.clear();
        watched.add(at(9 * DAY), &sample(900_000, 0, &[]));
        check(Some(&watched), true, 10, &["2.0 of 7 days"]);
        check(Some(&watched), true, 15, &[]);
    }

    #[test]
    fn thresholds_make_sense() {
        assert_eq!(Thresholds::default().check(), Ok(()));
        for wrong in [
            Thresholds { explained_min: 1.5, ..Thresholds::default() },
            Thresholds { days_min: f64::NAN, ..Thresholds::default() },
            Thresholds { back_denials: 0, ..Thresholds::default() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
