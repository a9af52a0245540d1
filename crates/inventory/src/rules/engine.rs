//! All rules in force, and what they make of one fact.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use rustc_hash::FxHashMap;

use super::compile::{self, Compiled, Except, How, Named, Tell};
use super::condition::{FieldPattern, Probe, TestRef};
use super::format::{Inline, RuleError};
use super::judge::Judge;
use super::pattern::{Groups, Pattern, Sieve};
use super::{Attribute, Claim, FactView, RulePack};
use crate::vendors;

/// Longest value claimed, in characters.
const VALUE_CHARS_MAX: usize = 160;

/// All rules that are in force, indexed by field.
#[derive(Debug)]
pub struct Rules {
    pub(super) rules: Vec<Ready>,
    pub(super) conditions: Vec<Vec<Probe>>,
    exact: FxHashMap<String, Bucket>,
    prefixes: FxHashMap<String, Bucket>,
}

/// A rule with its conditions resolved.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) rule: Compiled,
    except: Vec<usize>,
    pub(super) when: Vec<usize>,
    pub(super) unless: Vec<usize>,
    /// What it tells needs the groups of its expression.
    groups: bool,
}

/// A rule that a fact meets, its conditions on other facts aside.
#[derive(Debug)]
pub(super) struct Hit {
    /// Index of the rule.
    pub(super) rule: usize,
    /// Attribute, value, strength.
    pub(super) tells: Vec<(Attribute, String, f64)>,
}

/// The rules of one field.
#[derive(Debug, Default)]
struct Bucket {
    /// Tried on every value: tables, and rules without an expression.
    always: Vec<usize>,
    /// Tried where the sieve lets the value through.
    matching: Vec<usize>,
    sieve: OnceLock<Option<Sieve>>,
}

/// A matched value, for templates.
struct Match<'v> {
    value: &'v str,
    key: Option<&'v str>,
    entry: Option<&'v str>,
    groups: Option<Groups<'v>>,
}

impl Rules {
    /// Puts packs together.
    ///
    /// # Errors
    /// An id that is used twice, or a condition that nobody defines.
    pub fn new(packs: Vec<RulePack>) -> Result<Self, RuleError> {
        let off: BTreeSet<String> = packs.iter().flat_map(|p| p.disable.iter().cloned()).collect();
        let (mut named, mut compiled) = (Vec::new(), Vec::new());
        for pack in packs {
            named.extend(pack.conditions);
            compiled.extend(pack.rules.into_iter().filter(|r| !off.contains(&*r.at.id)));
        }
        unique_ids(&named, &compiled)?;
        let mut rules = Self {
            rules: Vec::with_capacity(compiled.len()),
            conditions: Vec::new(),
            exact: FxHashMap::default(),
            prefixes: FxHashMap::default(),
        };
        let mut resolver = Resolver {
            named: named.iter().map(|n| (&*n.at.id, n)).collect(),
            by_name: BTreeMap::new(),
            by_test: BTreeMap::new(),
        };
        for rule in compiled {
            let excepted = rule.except.iter().filter_map(|e| match e {
                Except::Condition(name) => Some(TestRef::Named(name.clone())),
                Except::Regex(_) => None,
            });
            let excepted: Vec<TestRef> = excepted.collect();
            let mut resolve = |tests| resolver.resolve(tests, &rule, &mut rules.conditions);
            let (except, when, unless) =
                (resolve(&excepted)?, resolve(&rule.when)?, resolve(&rule.unless)?);
            let index = rules.rules.len();
            for field in &rule.fields {
                let bucket = match field {
                    FieldPattern::Exact(name) => rules.exact.entry(name.clone()),
                    FieldPattern::Prefix(name) => rules.prefixes.entry(name.clone()),
                };
                bucket.or_default().add(index, &rule.how);
            }
            let groups = needs_groups(&rule);
            rules.rules.push(Ready { rule, except, when, unless, groups });
        }
        Ok(rules)
    }

    /// How many rules and maps are in force.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// None are in force.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Evaluates for one device after the other.
    pub fn judge(&self) -> Judge<'_> {
        Judge::of(self)
    }

    /// Adds what the rules conclude from all that one device said. The order of `facts` does not
    /// change what is claimed, only the order of the claims.
    ///
    /// For many devices, keep one [`Judge`]: it remembers what the rules make of each fact.
    pub fn evaluate(&self, facts: &[FactView<'_>], out: &mut Vec<Claim>) {
        Judge::of(self).evaluate(facts, out);
    }

    /// The rules that a fact meets, in the order in which they are tried.
    pub(super) fn hits(&self, fact: FactView<'_>) -> Vec<Hit> {
        let mut hits = Vec::new();
        if let Some(bucket) = self.exact.get(fact.field) {
            self.try_bucket(bucket, fact, &mut hits);
        }
        for (dot, _) in fact.field.match_indices('.') {
            let prefix = fact.field.get(..=dot).unwrap_or_default();
            if let Some(bucket) = self.prefixes.get(prefix) {
                self.try_bucket(bucket, fact, &mut hits);
            }
        }
        hits
    }

    fn try_bucket(&self, bucket: &Bucket, fact: FactView<'_>, hits: &mut Vec<Hit>) {
        let mut attempt = |rule: usize| {
            if let Some(ready) = self.rules.get(rule) {
                hits.extend(self.attempt(rule, ready, fact));
            }
        };
        bucket.always.iter().for_each(|rule| attempt(*rule));
        match bucket.sieve(&self.rules) {
            Some(sieve) => {
                let candidates = sieve.candidates(fact.value);
                let rules = candidates.into_iter().filter_map(|n| bucket.matching.get(n));
                rules.for_each(|rule| attempt(*rule));
            }
            None => bucket.matching.iter().for_each(|rule| attempt(*rule)),
        }
    }

    fn attempt(&self, number: usize, ready: &Ready, fact: FactView<'_>) -> Option<Hit> {
        let rule = &ready.rule;
        let (found, row) = look_up(ready, fact.value)?;
        if self.excepted(ready, fact) {
            return None;
        }
        let mut tells = Vec::new();
        let from_rule =
            rule.tells.iter().filter(|tell| row.iter().all(|own| own.attribute != tell.attribute));
        for tell in row.iter().chain(from_rule) {
            let Some(text) = tell.template.fill(|name| found.get(name)) else {
                continue;
            };
            let from_wire = tell.template.names().next().is_some();
            if let Some(value) = tidy(tell.attribute, &text, from_wire) {
                let strength = rule.strength_of(tell.attribute, fact.field);
                tells.push((tell.attribute, value, strength));
            }
        }
        Some(Hit { rule: number, tells })
    }

    fn excepted(&self, ready: &Ready, fact: FactView<'_>) -> bool {
        ready.rule.except.iter().any(|except| match except {
            Except::Regex(regex) => regex.is_match(fact.value),
            Except::Condition(_) => false,
        }) || ready
            .except
            .iter()
            .filter_map(|c| self.conditions.get(*c))
            .any(|probes| probes.iter().any(|probe| probe.accepts_fact(fact)))
    }
}

impl Bucket {
    fn add(&mut self, rule: usize, how: &How) {
        match how {
            How::Regex(_) => self.matching.push(rule),
            How::Any | How::Table(_) => self.always.push(rule),
        }
    }

    /// The sieve, made when the field is first seen; `None` where it does not pay or grows too large.
    fn sieve(&self, rules: &[Ready]) -> Option<&Sieve> {
        let build = || {
            let expression = |rule: &usize| match &rules.get(*rule)?.rule.how {
                How::Regex(regex) => Some(regex),
                _ => None,
            };
            let all: Vec<&Pattern> = self.matching.iter().filter_map(expression).collect();
            (all.len() == self.matching.len() && all.len() > 2)
                .then(|| Sieve::of(all.into_iter()))
                .flatten()
        };
        self.sieve.get_or_init(build).as_ref()
    }
}

/// Gives conditions their numbers; equal tests share one.
struct Resolver<'n> {
    named: BTreeMap<&'n str, &'n Named>,
    by_name: BTreeMap<String, usize>,
    by_test: BTreeMap<Inline, usize>,
}

impl Resolver<'_> {
    fn resolve(
        &mut self,
        tests: &[TestRef],
        rule: &Compiled,
        conditions: &mut Vec<Vec<Probe>>,
    ) -> Result<Vec<usize>, RuleError> {
        let mut add = |probes: Vec<Probe>| {
            conditions.push(probes);
            conditions.len() - 1
        };
        let mut numbers = Vec::with_capacity(tests.len());
        for test in tests {
            let known = match test {
                TestRef::Named(name) => self.by_name.get(name),
                TestRef::Inline(inline, _) => self.by_test.get(inline),
            };
            if let Some(number) = known {
                numbers.push(*number);
                continue;
            }
            let one = std::slice::from_ref(test);
            let probes = compile::flatten(one, &self.named, &mut BTreeSet::new());
            let probes = probes.map_err(|name| {
                rule.at.error(
                    &format!("unknown condition `{name}`"),
                    "no pack defines it",
                    "define it with [[condition]], or correct the name",
                )
            })?;
            let number = add(probes);
            match test {
                TestRef::Named(name) => self.by_name.insert(name.clone(), number),
                TestRef::Inline(inline, _) => self.by_test.insert(inline.clone(), number),
            };
            numbers.push(number);
        }
        Ok(numbers)
    }
}

fn unique_ids(named: &[Named], rules: &[Compiled]) -> Result<(), RuleError> {
    let mut seen = BTreeMap::new();
    for at in named.iter().map(|n| &n.at).chain(rules.iter().map(|r| &r.at)) {
        if let Some(first) = seen.insert(&at.id, at) {
            return Err(at.error(
                "the id is used twice",
                format!("{}:{} has it too", first.pack, first.line),
                "give it another id; to replace a shipped rule, list it under `disable`",
            ));
        }
    }
    Ok(())
}

/// Whether anything that a rule tells comes from a group of its expression.
fn needs_groups(rule: &Compiled) -> bool {
    let from_group = |name: &str| !matches!(name, "value" | "key" | "entry");
    rule.tells.iter().any(|tell| tell.template.names().any(from_group))
}

/// The match of a rule on a value, with what the row of its table tells.
fn look_up<'v>(ready: &'v Ready, value: &'v str) -> Option<(Match<'v>, &'v [Tell])> {
    let mut found = Match { value, key: None, entry: None, groups: None };
    match &ready.rule.how {
        // A rule without an expression takes what is said, and a placeholder says nothing.
        How::Any => (!vendors::is_placeholder(value)).then_some((found, &[])),
        How::Regex(regex) if !ready.groups => regex.is_match(value).then_some((found, &[])),
        How::Regex(regex) => {
            found.groups = Some(regex.groups(value)?);
            Some((found, &[]))
        }
        How::Table(table) => {
            found.groups = match &table.key {
                Some(regex) => Some(regex.groups(value)?),
                None => None,
            };
            let key = found.groups.as_ref().and_then(|groups| groups.name("key"));
            let key = key.unwrap_or(value);
            let row = table.rows.get(&table.fold(key))?;
            found.key = Some(key);
            found.entry = row.entry.as_deref();
            Some((found, &row.tells))
        }
    }
}

impl<'v> Match<'v> {
    fn get(&self, name: &str) -> Option<&'v str> {
        match name {
            "value" => Some(self.value),
            "key" => self.key,
            "entry" => self.entry,
            name => {
                let groups = self.groups.as_ref()?;
                let group = match name.parse::<usize>() {
                    Ok(number) => groups.get(number),
                    Err(_) => groups.name(name),
                };
                group.filter(|text| !text.is_empty())
            }
        }
    }
}

/// White space in order, bounded, vendors normalised; `None` for what says nothing.
fn tidy(attribute: Attribute, text: &str, from_wire: bool) -> Option<String> {
    let mut value = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !value.is_empty() {
            value.push(' ');
        }
        value.push_str(word);
    }
    if let Some((end, _)) = value.char_indices().nth(VALUE_CHARS_MAX) {
        value.truncate(end);
    }
    if from_wire && vendors::is_placeholder(&value) {
        return None;
    }
    if matches!(attribute, Attribute::Vendor | Attribute::ChipVendor) {
        value = vendors::normalise(&value);
    }
    (!value.is_empty()).then_some(value)
}
