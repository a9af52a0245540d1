//! From claims to attributes: strengths add up, contradictions lower confidence and stay visible.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Timestamp;
use model::inspect::{Attribute as Believed, Claim as Losing, Evidence, Version};
use model::limits::EVIDENCE_PER_VALUE_MAX;

use crate::graph::Said;
use crate::rules::{Attribute, Claim};
use crate::vendors;

/// A value believed less than this is no answer.
const CONFIDENCE_MIN: f64 = 0.15;
/// How much a full contradiction takes from the confidence in the winner.
const CONTRADICTION_WEIGHT: f64 = 0.5;
/// An update takes at least this long; versions said closer together belong to different parts.
const VERSION_CHANGE_SECONDS_MIN: f64 = 30.0;
/// Wire text kept with a piece of evidence, in bytes.
const EVIDENCE_TEXT_MAX: usize = 120;

/// One value with what speaks for it.
#[derive(Debug)]
struct Candidate<'a> {
    value: String,
    claims: Vec<&'a Claim>,
    score: f64,
}

/// What the claims about one device amount to.
#[derive(Debug, Default)]
pub(crate) struct Beliefs {
    by_attribute: BTreeMap<Attribute, (Believed, u64)>,
    pub(crate) firmware_history: Vec<Version>,
}

impl Beliefs {
    /// The value believed for an attribute.
    pub(crate) fn take(&mut self, attribute: Attribute) -> Option<Believed> {
        self.by_attribute.remove(&attribute).map(|(believed, _)| believed)
    }

    /// Packets the device had sent when this attribute was first known.
    pub(crate) fn packets_until(&self, attribute: Attribute) -> Option<u64> {
        self.by_attribute.get(&attribute).map(|(_, nth)| *nth).filter(|nth| *nth > 0)
    }

    /// The value believed, as text.
    pub(crate) fn value(&self, attribute: Attribute) -> Option<&str> {
        self.by_attribute.get(&attribute).map(|(believed, _)| believed.value.as_str())
    }

    pub(crate) fn of(claims: &[Claim], facts: &[&Said]) -> Self {
        let mut beliefs = Self::default();
        for attribute in Attribute::ALL {
            let about: Vec<&Claim> = claims.iter().filter(|c| c.attribute == attribute).collect();
            if about.is_empty() {
                continue;
            }
            let about = if attribute == Attribute::Firmware {
                beliefs.newest_versions(about, facts)
            } else {
                about
            };
            if let Some(found) = believe(attribute, &about, facts) {
                beliefs.by_attribute.insert(attribute, found);
            }
        }
        beliefs
    }

    /// Firmware changes over time: of several versions that one rule read from one field, the
    /// newest is current and the others are history.
    fn newest_versions<'a>(&mut self, claims: Vec<&'a Claim>, facts: &[&Said]) -> Vec<&'a Claim> {
        let mut by_origin: BTreeMap<(&str, &str), Vec<&Claim>> = BTreeMap::new();
        for claim in claims {
            let field = facts.get(claim.fact).map_or("", |f| &*f.field);
            by_origin.entry((&claim.rule, field)).or_default().push(claim);
        }
        let when = |c: &Claim| facts.get(c.fact).map_or(Timestamp::MIN, |f| f.source.at);
        let mut current = Vec::new();
        for mut versions in by_origin.into_values() {
            versions.sort_by_key(|c| when(c));
            let span = |c: Option<&&Claim>| c.map_or(Timestamp::MIN, |c| when(c));
            let (first, last) = (span(versions.first()), span(versions.last()));
            // Said in one breath: versions of several parts, not of several times.
            if last.seconds_since(first) < VERSION_CHANGE_SECONDS_MIN {
                current.append(&mut versions);
                continue;
            }
            let mut history: Vec<Version> = Vec::new();
            for claim in &versions {
                if history.iter().all(|v| v.value != claim.value) {
                    history.push(Version { value: claim.value.clone(), since: when(claim) });
                }
            }
            if history.len() > self.firmware_history.len() {
                self.firmware_history = history;
            }
            current.extend(versions.last().copied());
        }
        current
    }
}

fn believe(attribute: Attribute, claims: &[&Claim], facts: &[&Said]) -> Option<(Believed, u64)> {
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for claim in claims {
        match candidates.iter_mut().find(|c| same(attribute, &c.value, &claim.value)) {
            Some(candidate) => candidate.claims.push(claim),
            None => candidates.push(Candidate {
                value: claim.value.clone(),
                claims: vec![claim],
                score: 0.0,
            }),
        }
    }
    for candidate in &mut candidates {
        candidate.claims.sort_by(|a, b| b.strength.total_cmp(&a.strength));
        candidate.score = score(&candidate.claims, facts);
        if let Some(strongest) = candidate.claims.first() {
            candidate.value.clone_from(&strongest.value);
        }
    }
    refine(attribute, &mut candidates, facts);
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.value.cmp(&b.value)));
    let mut candidates = candidates.into_iter();
    let winner = candidates.next().filter(|c| c.score >= CONFIDENCE_MIN)?;
    let losers: Vec<Candidate<'_>> = candidates.collect();
    let against = losers
        .iter()
        .filter(|c| !agrees(attribute, &c.value, &winner.value))
        .map(|c| c.score)
        .fold(0.0, f64::max);
    let nth = winner.claims.iter().filter_map(|c| facts.get(c.fact)).map(|f| f.source.nth).min();
    let confidence = winner.score * (1.0 - CONTRADICTION_WEIGHT * against);
    let believed = Believed {
        value: winner.value,
        confidence: (confidence * 100.0).round() / 100.0,
        evidence: evidence(&winner.claims, facts),
        contradicted_by: losers
            .iter()
            .take(EVIDENCE_PER_VALUE_MAX)
            .map(|c| Losing { value: c.value.clone(), evidence: evidence(&c.claims, facts) })
            .collect(),
    };
    Some((believed, nth.unwrap_or(0)))
}

/// Independent evidence adds up: one field counts once, with its strongest claim.
fn score(claims: &[&Claim], facts: &[&Said]) -> f64 {
    let mut by_field: BTreeMap<&str, f64> = BTreeMap::new();
    for claim in claims {
        let field = facts.get(claim.fact).map_or("", |f| &*f.field);
        let strongest = by_field.entry(field).or_insert(0.0);
        *strongest = strongest.max(claim.strength);
    }
    1.0 - by_field.values().map(|s| 1.0 - s.clamp(0.0, 1.0)).product::<f64>()
}

/// A vaguer value supports a more exact one that contains it (`Insight` and `WeMo Insight`).
fn refine<'a>(attribute: Attribute, candidates: &mut Vec<Candidate<'a>>, facts: &[&Said]) {
    if !matches!(attribute, Attribute::Model | Attribute::Os | Attribute::Vendor) {
        return;
    }
    let mut i = 0;
    while i < candidates.len() {
        let exact = candidates.iter().enumerate().position(|(j, other)| {
            j != i
                && candidates.get(i).is_some_and(|vague| {
                    contains(&other.value, &vague.value) && other.score >= vague.score * 0.5
                })
        });
        match exact {
            Some(j) => {
                let vague = candidates.remove(i);
                if let Some(exact) = candidates.get_mut(if j > i { j - 1 } else { j }) {
                    exact.claims.extend(vague.claims);
                    exact.score = score(&exact.claims, facts);
                }
                i = 0;
            }
            None => i += 1,
        }
    }
}

fn same(attribute: Attribute, a: &str, b: &str) -> bool {
    match attribute {
        Attribute::Vendor => a == b || vendors::normalise(a) == vendors::normalise(b),
        _ => a.eq_ignore_ascii_case(b),
    }
}

fn agrees(attribute: Attribute, a: &str, b: &str) -> bool {
    match attribute {
        Attribute::Vendor | Attribute::ChipVendor => vendors::agree(a, b),
        _ => contains(a, b) || contains(b, a),
    }
}

/// Every word of `part` stands in `whole`, which has more.
fn contains(whole: &str, part: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric())
            .filter(|w| !w.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let (whole, part) = (words(whole), words(part));
    whole.len() > part.len() && !part.is_empty() && part.iter().all(|w| whole.contains(w))
}

fn evidence(claims: &[&Claim], facts: &[&Said]) -> Vec<Evidence> {
    claims
        .iter()
        .filter_map(|claim| {
            let fact = facts.get(claim.fact)?;
            Some(cite(fact, &claim.rule))
        })
        .take(EVIDENCE_PER_VALUE_MAX)
        .collect()
}

/// A fact as evidence for a rule's conclusion.
pub(crate) fn cite(fact: &Said, rule: &Arc<str>) -> Evidence {
    let cut = fact.value.floor_char_boundary(EVIDENCE_TEXT_MAX);
    Evidence {
        input: Arc::clone(&fact.source.input),
        packet: fact.source.packet,
        protocol: Arc::from(fact.field.split('.').next().unwrap_or_default()),
        field: Arc::clone(&fact.field),
        value: if cut == fact.value.len() {
            Arc::clone(&fact.value)
        } else {
            Arc::from(fact.value.get(..cut).unwrap_or_default())
        },
        rule: Arc::clone(rule),
        observed_at: fact.source.at,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::Source;

    fn said(field: &str, at: i64) -> Said {
        Said {
            field: Arc::from(field),
            value: Arc::from("text"),
            ip: None,
            source: Source {
                input: Arc::from("f"),
                packet: 1,
                at: Timestamp::from_secs(at, 0),
                nth: 3,
            },
        }
    }

    fn claim(attribute: Attribute, value: &str, strength: f64, fact: usize) -> Claim {
        Claim { attribute, value: value.to_owned(), strength, rule: Arc::from("r"), fact }
    }

    fn check(claims: &[Claim], attribute: Attribute, expect: &str) {
        let facts = [said("a.a", 1), said("b.b", 2), said("c.c", 3)];
        let facts: Vec<&Said> = facts.iter().collect();
        let mut beliefs = Beliefs::of(claims, &facts);
        let shown = beliefs.take(attribute).map_or_else(
            || "nothing".to_owned(),
            |b| format!("{} {:.2} -{}", b.value, b.confidence, b.contradicted_by.len()),
        );
        assert_eq!(shown, expect);
    }

    #[test]
    fn evidence_adds_up_and_contradiction_lowers() {
        use Attribute::{Model, Vendor};
        check(&[claim(Vendor, "Acme", 0.4, 0)], Vendor, "Acme 0.40 -0");
        check(
            &[claim(Vendor, "Acme", 0.4, 0), claim(Vendor, "ACME Inc.", 0.5, 1)],
            Vendor,
            "ACME Inc. 0.70 -0",
        );
        // The same field twice is one piece of evidence.
        check(
            &[claim(Vendor, "Acme", 0.4, 0), claim(Vendor, "Acme", 0.4, 0)],
            Vendor,
            "Acme 0.40 -0",
        );
        check(
            &[claim(Vendor, "Aruba", 0.5, 0), claim(Vendor, "VMware", 0.4, 1)],
            Vendor,
            "Aruba 0.40 -1",
        );
        check(
            &[claim(Model, "Insight", 0.8, 0), claim(Model, "WeMo Insight", 0.6, 1)],
            Model,
            "WeMo Insight 0.92 -0",
        );
        check(&[claim(Model, "x", 0.1, 0)], Model, "nothing");
    }

    #[test]
    fn versions_said_in_one_breath_are_no_history() {
        let facts = [said("ads.version", 20), said("ads.version", 10)];
        let facts: Vec<&Said> = facts.iter().collect();
        let claims =
            [claim(Attribute::Firmware, "4.7", 0.9, 0), claim(Attribute::Firmware, "4.3", 0.9, 1)];
        assert!(Beliefs::of(&claims, &facts).firmware_history.is_empty());
    }

    #[test]
    fn the_newest_firmware_is_current() {
        let facts = [said("cip.revision", 200), said("cip.revision", 10)];
        let facts: Vec<&Said> = facts.iter().collect();
        let claims =
            [claim(Attribute::Firmware, "4.7", 0.9, 0), claim(Attribute::Firmware, "4.3", 0.9, 1)];
        let mut beliefs = Beliefs::of(&claims, &facts);
        let history: Vec<_> = beliefs.firmware_history.iter().map(|v| v.value.clone()).collect();
        assert_eq!(history, ["4.3", "4.7"]);
        assert_eq!(beliefs.take(Attribute::Firmware).unwrap().value, "4.7");
    }

    proptest! {
        /// Confidence is a probability, and the order of claims does not matter.
        #[test]
        fn order_does_not_matter(list in proptest::collection::vec((0usize..3, 0.0f64..1.0, "[ab]{1,2}"), 1..8)) {
            let facts = [said("a.a", 1), said("b.b", 2), said("c.c", 3)];
            let facts: Vec<&Said> = facts.iter().collect();
            let claims: Vec<Claim> =
                list.iter().map(|(f, s, v)| claim(Attribute::Type, v, *s, *f)).collect();
            let mut reversed = claims.clone();
            reversed.reverse();
            let a = Beliefs::of(&claims, &facts).take(Attribute::Type);
            let b = Beliefs::of(&reversed, &facts).take(Attribute::Type);
            prop_assert_eq!(a.as_ref().map(|b| (&b.value, b.confidence)), b.as_ref().map(|b| (&b.value, b.confidence)));
            if let Some(a) = a {
                prop_assert!((0.0..=1.0).contains(&a.confidence));
            }
        }
    }
}
