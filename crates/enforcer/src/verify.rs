//! Compares what the kernel holds with what was intended.
//!
//! Elements are compared with the plan, one by one. Rules cannot be: nft prints them in its own
//! words, which change between versions. So the frame of the plan is loaded into an empty network
//! namespace that lives for one command, and read back from there: the same program and kernel
//! put both into words.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::EnforceError;
use crate::json::{self, Listing};
use crate::plan::{Plan, Set};
use crate::render::{Elements, text};
use crate::runner::{Runner, must};

/// The kernel holds what was intended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Generation that was compared.
    pub generation: u64,
    /// Elements that were compared.
    pub elements: usize,
    /// Rules that were compared.
    pub rules: usize,
}

/// One way in which the kernel differs from what was intended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where: `inet exact_3`.
    pub place: String,
    /// What is wrong there.
    pub what: Drift,
}

/// A kind of difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drift {
    /// Intended, not held.
    Missing(String),
    /// Held, not intended.
    Extra(String),
    /// Held otherwise than intended.
    Changed {
        /// Which element, rule or definition.
        key: String,
        /// As intended.
        intended: String,
        /// As held.
        held: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, what } = self;
        match what {
            Drift::Missing(key) => write!(f, "{place}: `{key}` is missing"),
            Drift::Extra(key) => write!(f, "{place}: `{key}` is there and was not intended"),
            Drift::Changed { key, intended, held } => {
                write!(f, "{place}: `{key}` is `{held}` and should be `{intended}`")
            }
        }
    }
}

/// Reads the frame of `plan` back from an empty network namespace.
pub(crate) fn reference(
    runner: &dyn Runner,
    plan: &Plan,
) -> Result<BTreeMap<String, Listing>, EnforceError> {
    let argv = ["unshare", "--net", "--", "sh", "-c", "nft -f - && nft -j -n list ruleset"];
    let answer = must(runner, &argv, &text(plan, Elements::Structural))?;
    json::listing(&answer).map_err(|why| EnforceError::Unreadable { command: argv.join(" "), why })
}

pub(crate) fn compare(
    plan: &Plan,
    reference: &BTreeMap<String, Listing>,
    held: &BTreeMap<String, Listing>,
) -> Result<Verified, Vec<Difference>> {
    let mut differences = Vec::new();
    let mut verified = Verified { generation: plan.generation, elements: 0, rules: 0 };
    for table in &plan.tables {
        let family = table.family;
        let place = format!("{family} {}", table.name);
        let (Some(intended), Some(held)) = (reference.get(family), held.get(family)) else {
            differences.push(Difference { place, what: Drift::Missing("the table".to_owned()) });
            continue;
        };
        let mut tell = |name: &str, what| {
            differences.push(Difference { place: format!("{family} {name}"), what });
        };
        verified.rules += compare_chains(intended, held, &mut tell);
        for name in held.sets.keys().filter(|name| !intended.sets.contains_key(*name)) {
            tell(name, Drift::Extra("the set".to_owned()));
        }
        for set in &table.sets {
            let (Some(want), Some(have)) = (intended.sets.get(&set.name), held.sets.get(&set.name))
            else {
                tell(&set.name, Drift::Missing("the set".to_owned()));
                continue;
            };
            if want.definition != have.definition {
                let what = changed("definition", &want.definition, &have.definition);
                tell(&set.name, what);
            }
            verified.elements += compare_elements(set, &have.elements, &mut tell);
        }
    }
    if differences.is_empty() { Ok(verified) } else { Err(differences) }
}

fn changed(key: &str, intended: &dyn fmt::Display, held: &dyn fmt::Display) -> Drift {
    Drift::Changed { key: key.to_owned(), intended: intended.to_string(), held: held.to_string() }
}

fn compare_chains(intended: &Listing, held: &Listing, tell: &mut dyn FnMut(&str, Drift)) -> usize {
    let mut compared = 0;
    for (name, chain) in &intended.chains {
        match held.chains.get(name) {
            None => {
                tell(name, Drift::Missing("the chain".to_owned()));
                continue;
            }
            Some(other) if other != chain => tell(name, changed("chain", chain, other)),
            Some(_) => {}
        }
        let none = Vec::new();
        let want = intended.rules.get(name).unwrap_or(&none);
        let have = held.rules.get(name).unwrap_or(&none);
        compared += want.len();
        compare_rules(name, want, have, tell);
    }
    for name in held.chains.keys().filter(|name| !intended.chains.contains_key(*name)) {
        tell(name, Drift::Extra("the chain".to_owned()));
    }
    compared
}

/// Order matters, so rules are compared from both ends; what is left between differs.
fn compare_rules(name: &str, want: &[Value], have: &[Value], tell: &mut dyn FnMut(&str, Drift)) {
    let same = |(want, have): &(&Value, &Value)| want == have;
    let head = want.iter().zip(have).take_while(same).count();
    let (want, have) = (want.get(head..).unwrap_or(&[]), have.get(head..).unwrap_or(&[]));
    let tail = want.iter().rev().zip(have.iter().rev()).take_while(same).count();
    let mut have = have.iter().take(have.len().saturating_sub(tail));
    for (rule, number) in want.iter().take(want.len().saturating_sub(tail)).zip(head + 1..) {
        match have.next() {
            Some(other) => tell(name, changed(&format!("rule {number}"), rule, other)),
            None => tell(name, Drift::Missing(format!("rule {number}: {rule}"))),
        }
    }
    have.for_each(|other| tell(name, Drift::Extra(other.to_string())));
}

fn compare_elements(
    set: &Set,
    held: &BTreeMap<String, json::ListedElement>,
    tell: &mut dyn FnMut(&str, Drift),
) -> usize {
    if set.flags.contains("dynamic") {
        return 0; // The kernel writes these itself.
    }
    for (key, element) in &set.elements {
        match held.get(key) {
            // An exception may have ended since it was planned; the kernel removes it by itself.
            None if element.timeout_s.is_some() => {}
            None => tell(&set.name, Drift::Missing(key.clone())),
            Some(other) if other.value != element.value => {
                tell(&set.name, changed(key, &element.value, &other.value));
            }
            Some(other) if other.comment != element.comment => {
                tell(&set.name, changed(key, &element.comment, &other.comment));
            }
            Some(other) if other.has_timeout != element.timeout_s.is_some() => {
                let word = |ends| if ends { "ends by itself" } else { "never ends" };
                let what =
                    changed(key, &word(element.timeout_s.is_some()), &word(other.has_timeout));
                tell(&set.name, what);
            }
            Some(_) => {}
        }
    }
    for key in held.keys().filter(|key| !set.elements.contains_key(*key)) {
        tell(&set.name, Drift::Extra(key.clone()));
    }
    set.elements.len()
}
