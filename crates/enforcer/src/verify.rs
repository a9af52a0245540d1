//! Compares what the kernel holds with what was intended: generation, chains, rules by their
//! expressions, definitions and counts of sets, elements by key.

use std::collections::BTreeMap;
use std::fmt;

use crate::EnforceError;
use crate::fence::marker;
use crate::netlink::{Attributes, Encoder, Socket};
use crate::nft::expression::{self, GOTO};
use crate::nft::held::{self, Element as Held, Key};
use crate::nft::write;
use crate::plan::elements::{Element, Value};
use crate::plan::key::key_text;
use crate::plan::rule::Rule;
use crate::plan::{Chain, GENERATION, Marker, Plan, Set, Table, Tag, rule};

/// Sets with more elements are not listed whole: the kernel's listing takes time with the square
/// of the size. Their count is compared, and elements by key.
pub const LISTED_MAX: usize = 10_000;
/// Elements of a larger set that are compared by key, evenly spread over its keys.
pub const SAMPLE: usize = 4_096;
/// Keys asked for at once.
pub(crate) const KEYS_AT_ONCE: usize = 100;

/// The kernel holds what was intended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Generation that was compared.
    pub generation: u64,
    /// Elements that were intended.
    pub elements: usize,
    /// Elements that were read back and compared; fewer than `elements` where large sets were
    /// sampled.
    pub compared: usize,
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

/// Compares all of `plan`, with at most `sample` elements of each large set. Takes the names of
/// the build that is in force.
pub(crate) fn compare(
    socket: &mut Socket,
    plan: &mut Plan,
    sample: usize,
) -> Result<Result<Verified, Vec<Difference>>, EnforceError> {
    let mut differences = Vec::new();
    let mut verified = Verified { generation: plan.generation, elements: 0, compared: 0, rules: 0 };
    let tables: Vec<_> =
        plan.tables.iter().map(|table| (table.family, table.name.clone())).collect();
    for (family, name) in tables {
        let chains = held::chains(socket, family, &name)?;
        if held::table(socket, family, &name)?.is_none() {
            let place = format!("{family} {name}");
            differences.push(Difference { place, what: Drift::Missing("the table".to_owned()) });
            continue;
        }
        if let Some(marker) = marker(chains.keys()) {
            plan.retag(marker.tag);
        }
        let Some(table) = plan.tables.iter().find(|table| table.family == family) else {
            continue;
        };
        let mut check = Check {
            socket: &mut *socket,
            table,
            tag: plan.tag,
            sample,
            differences: &mut differences,
            verified: &mut verified,
        };
        check.chains(&chains)?;
        check.counters()?;
        check.sets()?;
    }
    Ok(if differences.is_empty() { Ok(verified) } else { Err(differences) })
}

struct Check<'a> {
    socket: &'a mut Socket,
    table: &'a Table,
    tag: Tag,
    sample: usize,
    differences: &'a mut Vec<Difference>,
    verified: &'a mut Verified,
}

impl Check<'_> {
    fn tell(&mut self, name: &str, what: Drift) {
        let place = format!("{} {name}", self.table.family);
        self.differences.push(Difference { place, what });
    }

    /// What people call an object: its name without this build's tag.
    fn short<'n>(&self, full: &'n str) -> &'n str {
        Tag::split(full).filter(|(_, tag)| *tag == self.tag).map_or(full, |(name, _)| name)
    }

    fn chains(&mut self, held: &BTreeMap<String, held::Chain>) -> Result<(), EnforceError> {
        let table = self.table;
        let rules = held::rules(self.socket, table.family, &table.name)?;
        let none = Vec::new();
        for chain in &table.chains {
            let full = chain.full_name(&self.tag);
            let name = &chain.name;
            let Some(known) = held.get(&full) else {
                self.tell(name, Drift::Missing("the chain".to_owned()));
                continue;
            };
            let wanted = wanted_chain(chain, table.family);
            let marks = chain.name.starts_with(GENERATION);
            let known = held::Chain {
                comment: if marks { String::new() } else { known.comment.clone() },
                ..known.clone()
            };
            if known != wanted {
                self.tell(name, changed("chain", &format!("{wanted:?}"), &format!("{known:?}")));
            }
            self.verified.rules += chain.rules.len();
            self.rules(chain, rules.get(&full).unwrap_or(&none));
        }
        for full in held.keys() {
            let known = table.chains.iter().any(|chain| chain.full_name(&self.tag) == *full);
            if !known {
                self.tell(self.short(full), Drift::Extra("the chain".to_owned()));
            }
        }
        Ok(())
    }

    /// Order matters, so rules are compared from both ends; what is left between differs.
    fn rules(&mut self, chain: &Chain, held: &[Vec<u8>]) {
        let bridge = self.table.family == "bridge";
        let same = |rule: &Rule, held: &Vec<u8>| {
            let mut wanted = Encoder::new();
            expression::encode(&mut wanted, rule, &self.tag, bridge);
            expression::same(Attributes::new(wanted.bytes()), Attributes::new(held))
        };
        let want = &chain.rules;
        let head = want.iter().zip(held).take_while(|(rule, held)| same(rule, held)).count();
        let (want, held) = (want.get(head..).unwrap_or(&[]), held.get(head..).unwrap_or(&[]));
        let tail = want.iter().rev().zip(held.iter().rev());
        let tail = tail.take_while(|(rule, held)| same(rule, held)).count();
        let mut held = held.iter().take(held.len().saturating_sub(tail));
        let want = want.iter().take(want.len().saturating_sub(tail));
        for (rule, number) in want.zip(head + 1..) {
            let text = rule::text(rule, &self.tag);
            let what = match held.next() {
                Some(other) => {
                    let other = expression::words(Attributes::new(other));
                    changed(&format!("rule {number}"), &text, &other)
                }
                None => Drift::Missing(format!("rule {number}: {text}")),
            };
            self.tell(&chain.name, what);
        }
        for other in held {
            let what = Drift::Extra(expression::words(Attributes::new(other)));
            self.tell(&chain.name, what);
        }
    }

    fn counters(&mut self) -> Result<(), EnforceError> {
        let table = self.table;
        let held = held::counters(self.socket, table.family, &table.name)?;
        for (name, _) in &table.counters {
            if !held.contains_key(&self.tag.name(name)) {
                self.tell(name, Drift::Missing("the counter".to_owned()));
            }
        }
        for full in held.keys() {
            let short = self.short(full);
            if !table.counters.iter().any(|(name, _)| self.tag.name(name) == *full) {
                self.tell(short, Drift::Extra("the counter".to_owned()));
            }
        }
        Ok(())
    }

    fn sets(&mut self) -> Result<(), EnforceError> {
        let table = self.table;
        let held = held::sets(self.socket, table.family, &table.name)?;
        for full in held.keys() {
            let known = table.sets.iter().any(|set| self.tag.name(&set.name) == *full);
            // Sets without a name of their own belong to a rule, which differs as well.
            if !known && !full.starts_with("__") {
                self.tell(self.short(full), Drift::Extra("the set".to_owned()));
            }
        }
        for set in &table.sets {
            let Some(known) = held.get(&self.tag.name(&set.name)) else {
                self.tell(&set.name, Drift::Missing("the set".to_owned()));
                continue;
            };
            let mut wanted = Encoder::new();
            write::definition(&mut wanted, set);
            let wanted = held::definition(Attributes::new(wanted.bytes()));
            if wanted != known.definition {
                let what = changed(
                    "definition",
                    &format!("{wanted:02x?}"),
                    &format!("{:02x?}", known.definition),
                );
                self.tell(&set.name, what);
            }
            if set.dynamic.is_none() && !set.learned {
                // Others: the kernel, or the resolver, writes these.
                self.verified.elements += set.elements.len();
                self.elements(set, known.count)?;
            }
        }
        Ok(())
    }

    fn elements(&mut self, set: &Set, count: Option<u32>) -> Result<(), EnforceError> {
        let full = self.tag.name(&set.name);
        let (family, table) = (self.table.family, self.table.name.as_str());
        let held_count = count.and_then(|count| usize::try_from(count).ok());
        let large = set.elements.len().max(held_count.unwrap_or(0)) > LISTED_MAX;
        if !large || set.interval || held_count.is_none() {
            let mut held = held::elements(self.socket, family, table, &full)?;
            self.verified.compared += set.elements.len();
            if !set.interval {
                // The kernel's listing passes by elements of a hash table that is growing.
                let absent = |key: &&[u8]| !held.contains_key(&(key.to_vec(), false));
                let keys: Vec<&[u8]> = set.elements.iter().map(|e| e.key).filter(absent).collect();
                for some in keys.chunks(KEYS_AT_ONCE) {
                    held.extend(held::lookup(self.socket, family, table, &full, some)?);
                }
            }
            self.compare_listed(set, held);
            return Ok(());
        }
        if let Some(count) = held_count.filter(|count| *count != set.elements.len() && !set.timeout)
        {
            self.tell(&set.name, changed("number of elements", &set.elements.len(), &count));
        }
        let step = set.elements.len().div_ceil(self.sample.max(1)).max(1);
        let mut numbers = (0..set.elements.len()).step_by(step).peekable();
        while numbers.peek().is_some() {
            let some = numbers.by_ref().take(KEYS_AT_ONCE);
            let wanted: Vec<Element<'_>> = some.filter_map(|n| set.elements.nth(n)).collect();
            let keys: Vec<&[u8]> = wanted.iter().map(|element| element.key).collect();
            let held = held::lookup(self.socket, family, table, &full, &keys)?;
            self.verified.compared += wanted.len();
            for element in wanted {
                let known = held.get(&(element.key.to_vec(), false));
                let drift = difference(set, &element, known, &self.tag);
                drift.into_iter().for_each(|drift| self.tell(&set.name, drift));
            }
        }
        Ok(())
    }

    fn compare_listed(&mut self, set: &Set, mut held: BTreeMap<Key, Held>) {
        for element in set.elements.iter() {
            let known = held.remove(&(element.key.to_vec(), false));
            let mut drift = difference(set, &element, known.as_ref(), &self.tag);
            // The end of a range of a lone part is an element of its own.
            let after = element.end.filter(|_| set.key.len() == 1).and_then(write::successor);
            if let Some(after) = after {
                let ends = held.remove(&(after, true)).is_some();
                if !ends && drift.is_none() {
                    let key = key_text(set.key, element.key, element.end, true);
                    drift = Some(Drift::Missing(format!("end of {key}")));
                }
            }
            drift.into_iter().for_each(|drift| self.tell(&set.name, drift));
        }
        // nft begins its ranges with an end that ends nothing.
        held.retain(|(key, ends), _| !(*ends && key.iter().all(|byte| *byte == 0)));
        for ((key, _), element) in held {
            let key = key_text(set.key, &key, element.end.as_deref(), set.interval);
            self.tell(&set.name, Drift::Extra(key));
        }
    }
}

/// Reads single elements back: what a change says is there, or is not.
pub(crate) fn changed_elements(
    socket: &mut Socket,
    plan: &Plan,
    after: Marker,
    places: &[(&'static str, &str, &[u8], Option<Element<'_>>)],
) -> Result<Result<Verified, Vec<Difference>>, EnforceError> {
    let mut differences = Vec::new();
    for table in &plan.tables {
        let held = marker(held::chains(socket, table.family, &table.name)?.keys());
        if held != Some(after) {
            let place = format!("{} {}", table.family, table.name);
            let held = held.map_or("none".to_owned(), |held| held.to_string());
            differences.push(Difference { place, what: changed("generation", &after, &held) });
        }
    }
    for (family, name, key, wanted) in places {
        let table = plan.tables.iter().find(|table| table.family == *family);
        let set = table.and_then(|table| table.sets.iter().find(|set| set.name == *name));
        let Some((table, set)) = table.zip(set) else {
            continue;
        };
        let full = after.tag.name(name);
        let held = held::lookup(socket, family, &table.name, &full, &[key])?;
        let held = held.get(&(key.to_vec(), false));
        let what = match wanted {
            Some(wanted) => difference(set, wanted, held, &after.tag),
            None => held.map(|_| Drift::Extra(key_text(set.key, key, None, false))),
        };
        let place = format!("{family} {name}");
        differences.extend(what.map(|what| Difference { place, what }));
    }
    let compared = places.len();
    let verified =
        Verified { generation: after.generation, elements: compared, compared, rules: 0 };
    Ok(if differences.is_empty() { Ok(verified) } else { Err(differences) })
}

fn wanted_chain(chain: &Chain, family: &str) -> held::Chain {
    let hook = chain.hook.map(|hook| (write::hook_number(hook), write::priority(family)));
    let comment = chain.comment.clone();
    // Who planned a generation against which one is for people, and changes with every plan.
    let comment = if chain.name.starts_with(GENERATION) { String::new() } else { comment };
    held::Chain { comment, hook, policy: chain.hook.map(|_| 1) }
}

fn changed(key: &str, intended: &dyn fmt::Display, held: &dyn fmt::Display) -> Drift {
    Drift::Changed { key: key.to_owned(), intended: intended.to_string(), held: held.to_string() }
}

/// How an element differs from what was intended.
fn difference(set: &Set, wanted: &Element<'_>, held: Option<&Held>, tag: &Tag) -> Option<Drift> {
    let key = key_text(set.key, wanted.key, wanted.end, set.interval);
    let Some(held) = held else {
        // An exception may have ended since it was planned; the kernel removes it by itself.
        return wanted.timeout_s.is_none().then_some(Drift::Missing(key));
    };
    let words = |value: &Value<'_>| match value {
        Value::None => String::new(),
        Value::Mark(mark) => mark.to_string(),
        Value::Goto(chain) => format!("goto {chain}"),
    };
    let intended = words(&wanted.value);
    let is = match (&held.verdict, held.mark) {
        (Some((GOTO, chain)), _) => {
            let short = Tag::split(chain).filter(|(_, its)| its == tag).map(|(name, _)| name);
            format!("goto {}", short.unwrap_or(chain))
        }
        (Some((code, chain)), _) => format!("verdict {code} {chain}"),
        (None, Some(mark)) => mark.to_string(),
        (None, None) => String::new(),
    };
    if is != intended {
        return Some(changed(&key, &intended, &is));
    }
    let last =
        |end: Option<&[u8]>| key_text(set.key, end.unwrap_or(wanted.key), None, set.interval);
    let (end, its_end) = (last(wanted.end), last(held.end.as_deref()));
    if set.key.len() > 1 && set.interval && end != its_end {
        return Some(changed(&key, &end, &its_end));
    }
    if held.comment != wanted.comment {
        return Some(changed(&key, &wanted.comment, &held.comment));
    }
    let word = |ends| if ends { "ends by itself" } else { "never ends" };
    let (ends, its_ends) = (wanted.timeout_s.is_some(), held.has_timeout);
    (ends != its_ends).then(|| changed(&key, &word(ends), &word(its_ends)))
}
