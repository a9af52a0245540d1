//! From the text of a pack to rules that can be evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::condition::{self, FieldPattern, Probe, TestRef};
use super::format::{self, Common, Example, PACK_BYTES_MAX, Row, RuleError, Test};
use super::pattern::{Pattern, ReadPattern};
use super::template::Template;
use super::{Attribute, Attributes, strength};
use crate::vendors;

/// A pack of rules that passed all checks that need no other pack.
#[derive(Clone, Debug)]
pub struct RulePack {
    pub(super) name: String,
    pub(super) disable: Vec<String>,
    pub(super) conditions: Vec<Named>,
    pub(super) rules: Vec<Compiled>,
}

/// A condition other rules refer to.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) at: At,
    pub(super) any: Vec<TestRef>,
}

/// Where a rule stands.
#[derive(Clone, Debug)]
pub(super) struct At {
    pub(super) pack: String,
    pub(super) line: usize,
    pub(super) id: Arc<str>,
}

impl At {
    pub(super) fn error(&self, what: &str, why: impl Into<String>, help: &str) -> RuleError {
        RuleError {
            pack: self.pack.as_str().into(),
            rule: (*self.id).into(),
            line: self.line,
            what: what.into(),
            why: why.into().into(),
            help: help.into(),
        }
    }
}

/// One rule, ready to be tried.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) at: At,
    pub(super) fields: Vec<FieldPattern>,
    pub(super) how: How,
    pub(super) except: Vec<Except>,
    pub(super) when: Vec<TestRef>,
    pub(super) unless: Vec<TestRef>,
    pub(super) strength: Option<f64>,
    pub(super) strengths: BTreeMap<Attribute, f64>,
    pub(super) tells: Vec<Tell>,
    pub(super) yes: Vec<Example>,
    pub(super) no: Vec<Example>,
    pub(super) first_field: String,
}

/// How a rule looks at a value.
#[derive(Clone, Debug)]
pub(super) enum How {
    /// Any value.
    Any,
    /// Values that match.
    Regex(Pattern),
    /// Values found in a table.
    Table(Table),
}

/// A table of values.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) key: Option<Pattern>,
    pub(super) vendors: bool,
    pub(super) rows: FxHashMap<String, TableRow>,
}

impl Table {
    /// How keys are compared: without case, or as vendor names.
    pub(super) fn fold(&self, key: &str) -> String {
        fold(self.vendors, key)
    }
}

fn fold(vendors: bool, key: &str) -> String {
    if vendors { vendors::normalise(key).to_lowercase() } else { key.trim().to_lowercase() }
}

/// What a row of a table tells.
#[derive(Clone, Debug, Default)]
pub(super) struct TableRow {
    pub(super) entry: Option<String>,
    pub(super) tells: Vec<Tell>,
}

/// One attribute and the text for it.
#[derive(Clone, Debug)]
pub(super) struct Tell {
    pub(super) attribute: Attribute,
    pub(super) template: Template,
}

/// Values that do not count.
#[derive(Clone, Debug)]
pub(super) enum Except {
    Regex(Pattern),
    Condition(String),
}

/// What is asked of a pack's text.
#[derive(Clone, Copy)]
struct Reader<'a> {
    /// Whether dissectors report a field.
    exists: &'a dyn Fn(&str) -> bool,
    pattern: ReadPattern,
    /// Its examples were tried before, and are not there.
    is_tried: bool,
}

impl RulePack {
    /// Reads a pack. `field_exists` knows the catalogue of the dissectors; it is asked for each
    /// field name, patterns like `mdns.txt.*` included.
    ///
    /// # Errors
    /// The first thing that is not understood, with its line.
    pub fn parse(
        name: &str,
        text: &str,
        field_exists: &dyn Fn(&str) -> bool,
    ) -> Result<Self, RuleError> {
        Self::read(
            name,
            text,
            Reader { exists: field_exists, pattern: Pattern::parse, is_tried: false },
        )
    }

    /// Reads the shipped packs. Their expressions are taken as they are, and they come without examples: tests have checked the
    /// ones and tried the others.
    ///
    /// # Errors
    /// As [`RulePack::parse`], apart from expressions and examples.
    pub fn shipped(field_exists: &dyn Fn(&str) -> bool) -> Result<Vec<Self>, RuleError> {
        let reader = Reader { exists: field_exists, pattern: Pattern::trusted, is_tried: true };
        super::shipped::SHIPPED.iter().map(|(name, text)| Self::read(name, text, reader)).collect()
    }

    fn read(name: &str, text: &str, reader: Reader<'_>) -> Result<Self, RuleError> {
        if text.len() > PACK_BYTES_MAX {
            let at = At { pack: name.to_owned(), line: 0, id: Arc::from("") };
            return Err(at.error("the pack is too large", "4 MiB is the limit", "split it"));
        }
        let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let line_of = |offset: usize| ends.partition_point(|end| *end < offset) + 1;
        let pack: format::Pack = toml::from_str(text).map_err(|e| RuleError {
            pack: name.into(),
            rule: "".into(),
            line: e.span().map_or(0, |span| line_of(span.start)),
            what: "not a rule pack".into(),
            why: e.message().into(),
            help: "see rules/README.md for the form".into(),
        })?;
        let at = |id: &str, span: std::ops::Range<usize>| At {
            pack: name.to_owned(),
            line: line_of(span.start),
            id: Arc::from(id),
        };
        let mut rules = Vec::new();
        for rule in &pack.rule {
            let at = at(&rule.get_ref().id, rule.span());
            has_examples(&at, &rule.get_ref().common, reader)?;
            rules.push(compile_rule(at, rule.get_ref(), reader)?);
        }
        for map in &pack.map {
            let at = at(&map.get_ref().id, map.span());
            has_examples(&at, &map.get_ref().common, reader)?;
            rules.push(compile_map(at, map.get_ref(), reader)?);
        }
        let mut conditions = Vec::new();
        for condition in &pack.condition {
            let (at, any) =
                (at(&condition.get_ref().id, condition.span()), &condition.get_ref().any);
            known_fields(&at, condition::fields(any), reader.exists)?;
            conditions.push(Named { any: tests(&at, any, reader)?, at });
        }
        Ok(Self { name: name.to_owned(), disable: pack.disable, conditions, rules })
    }

    /// A pack of rules that were not written as text (importers). Examples are not required.
    ///
    /// # Errors
    /// As [`RulePack::parse`].
    pub fn from_rules(
        name: &str,
        rules: &[format::Rule],
        field_exists: &dyn Fn(&str) -> bool,
    ) -> Result<Self, RuleError> {
        let at = |rule: &format::Rule| At {
            pack: name.to_owned(),
            line: 0,
            id: Arc::from(rule.id.as_str()),
        };
        let reader = Reader { exists: field_exists, pattern: Pattern::parse, is_tried: false };
        let rules = rules.iter().map(|rule| compile_rule(at(rule), rule, reader));
        Ok(Self {
            name: name.to_owned(),
            disable: Vec::new(),
            conditions: Vec::new(),
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many rules and maps it holds.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// It holds none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

fn has_examples(at: &At, common: &Common, reader: Reader<'_>) -> Result<(), RuleError> {
    let missing = match (common.yes.is_empty(), common.no.is_empty()) {
        _ if reader.is_tried => return Ok(()),
        (true, _) => "`yes`",
        (_, true) => "`no`",
        _ => return Ok(()),
    };
    Err(at.error(
        &format!("no {missing} example"),
        "a rule without both kinds of example cannot be tested",
        "add one value that matches to `yes` and one similar value that must not match to `no`",
    ))
}

fn compile_rule(at: At, rule: &format::Rule, reader: Reader<'_>) -> Result<Compiled, RuleError> {
    let how = match &rule.pattern {
        None => How::Any,
        Some(text) => How::Regex(regex(&at, text, reader)?),
    };
    let groups = match &how {
        How::Regex(regex) => regex.names().collect(),
        _ => Vec::new(),
    };
    let count = match &how {
        How::Regex(regex) => regex.groups_len(),
        _ => 1,
    };
    let mut places: BTreeSet<String> = groups.iter().map(|g| (*g).to_owned()).collect();
    places.insert("value".to_owned());
    places.extend((1..count).map(|n| n.to_string()));
    let mut tells = compile_tells(&at, &rule.common.tells, &places)?;
    let mut used: BTreeSet<&str> = tells.iter().flat_map(|t| t.template.names()).collect();
    for group in &groups {
        match group.parse::<Attribute>() {
            Ok(attribute) if !rule.common.tells.contains_key(&attribute) => {
                used.insert(group);
            }
            _ if used.contains(group) => {}
            _ => {
                return Err(at.error(
                    &format!("group `{group}` is not used"),
                    "it is no attribute, or a constant of that name hides it, and no template has it",
                    "rename it, use it in a template as {name}, or write (?:…)",
                ));
            }
        }
    }
    let from_groups: Vec<Tell> = groups
        .iter()
        .filter_map(|group| group.parse::<Attribute>().ok().map(|a| (a, group)))
        .filter(|(attribute, _)| !rule.common.tells.contains_key(attribute))
        .map(|(attribute, group)| Tell { attribute, template: Template::place(group) })
        .collect();
    tells.extend(from_groups);
    if tells.is_empty() {
        return Err(at.error(
            "tells nothing",
            "it has neither an attribute nor a group named like one",
            "add for example `type = \"printer\"` or a group (?<model>…)",
        ));
    }
    finish(at, &rule.field.0, how, tells, &rule.common, reader)
}

fn compile_map(at: At, map: &format::Map, reader: Reader<'_>) -> Result<Compiled, RuleError> {
    let key = map.pattern.as_deref().map(|text| regex(&at, text, reader)).transpose()?;
    let mut places: BTreeSet<String> =
        ["value", "key", "entry"].iter().map(|p| (*p).to_owned()).collect();
    if let Some(key) = &key {
        let groups: Vec<&str> = key.names().collect();
        if !groups.contains(&"key") {
            return Err(at.error(
                "`match` of a map has no group `key`",
                "the group says which part is looked up in the table",
                "write it as (?<key>…), or leave `match` away",
            ));
        }
        places.extend(groups.iter().map(|g| (*g).to_owned()));
    }
    let tells = compile_tells(&at, &map.common.tells, &places)?;
    let uses_entry = tells.iter().any(|t| t.template.names().any(|n| n == "entry"));
    let mut rows = FxHashMap::default();
    for (key, row) in &map.values {
        let row = match row {
            Row::Entry(_) if !uses_entry => {
                return Err(at.error(
                    &format!("the entry of `{key}` is not used"),
                    "no attribute of the map has {entry} in its template",
                    "add for example `model = \"{entry}\"`, or write { model = \"…\" }",
                ));
            }
            Row::Entry(entry) => TableRow { entry: Some(entry.clone()), tells: Vec::new() },
            Row::Tells(tells) => {
                TableRow { entry: None, tells: compile_tells(&at, tells, &places)? }
            }
        };
        if rows.insert(fold(map.vendors, key), row).is_some() {
            return Err(at.error(
                &format!("`{key}` is in the table twice"),
                "keys are compared without regard to case",
                "keep one of them",
            ));
        }
    }
    let how = How::Table(Table { key, vendors: map.vendors, rows });
    finish(at, &map.field.0, how, tells, &map.common, reader)
}

fn compile_tells(
    at: &At,
    tells: &Attributes,
    places: &BTreeSet<String>,
) -> Result<Vec<Tell>, RuleError> {
    let compile = |(attribute, text): (&Attribute, &String)| {
        let template = Template::parse(text).map_err(|why| {
            at.error(&format!("`{attribute}`"), why, "write places as {group} or {group|upper}")
        })?;
        let unknown = template.names().find(|name| !places.contains(*name)).map(str::to_owned);
        match unknown {
            Some(name) => Err(at.error(
                &format!("`{attribute}` has a place {{{name}}}"),
                "nothing of that name is matched",
                "use {value}, {1} or the name of a group in `match`",
            )),
            None => Ok(Tell { attribute: *attribute, template }),
        }
    };
    tells.iter().map(compile).collect()
}

fn finish(
    at: At,
    fields: &[String],
    how: How,
    tells: Vec<Tell>,
    common: &Common,
    reader: Reader<'_>,
) -> Result<Compiled, RuleError> {
    if at.id.is_empty() || fields.is_empty() {
        return Err(at.error("no id or no field", "both are needed", "add `id` and `field`"));
    }
    known_fields(&at, fields.iter().map(String::as_str), reader.exists)?;
    known_fields(&at, condition::fields(&common.when), reader.exists)?;
    known_fields(&at, condition::fields(&common.unless), reader.exists)?;
    for strength in common.strength.iter().chain(common.strengths.values()) {
        if !(*strength > 0.0 && *strength <= 1.0) {
            return Err(at.error(
                &format!("strength {strength}"),
                "it says how much a match alone proves, from nothing to certain",
                "write a number above 0 and at most 1",
            ));
        }
    }
    let except = common.except.0.iter().map(|text| match text.strip_prefix('@') {
        Some(name) => Ok(Except::Condition(name.to_owned())),
        None => Ok(Except::Regex(regex(&at, text, reader)?)),
    });
    Ok(Compiled {
        except: except.collect::<Result<_, RuleError>>()?,
        when: tests(&at, &common.when, reader)?,
        unless: tests(&at, &common.unless, reader)?,
        strength: common.strength,
        strengths: common.strengths.clone(),
        fields: fields.iter().map(|f| FieldPattern::parse(f)).collect(),
        first_field: fields.first().cloned().unwrap_or_default(),
        how,
        tells,
        yes: common.yes.clone(),
        no: common.no.clone(),
        at,
    })
}

impl Compiled {
    /// Strength of a claim from a match on `field`.
    pub(super) fn strength_of(&self, attribute: Attribute, field: &str) -> f64 {
        let own = self.strengths.get(&attribute).copied().or(self.strength);
        own.unwrap_or_else(|| strength::of_field(field))
    }
}

fn regex(at: &At, text: &str, reader: Reader<'_>) -> Result<Pattern, RuleError> {
    (reader.pattern)(text).map_err(|why| {
        at.error(
            &format!("`{text}` is not a regular expression"),
            why,
            "see the syntax at rules/README.md; look-around and back references do not exist",
        )
    })
}

fn tests(at: &At, tests: &[Test], reader: Reader<'_>) -> Result<Vec<TestRef>, RuleError> {
    let compile = |test| {
        TestRef::compile(test, reader.pattern).map_err(|why| {
            at.error(
                "a test is wrong",
                why,
                "write { field = \"…\", match = '…' } or a condition's id",
            )
        })
    };
    tests.iter().map(compile).collect()
}

fn known_fields<'a>(
    at: &At,
    mut names: impl Iterator<Item = &'a str>,
    exists: &dyn Fn(&str) -> bool,
) -> Result<(), RuleError> {
    match names.find(|name| !exists(name)) {
        None => Ok(()),
        Some(name) => Err(at.error(
            &format!("unknown field `{name}`"),
            "no dissector reports it, so the rule could never match",
            "list the fields with `ringfence fields`",
        )),
    }
}

/// A condition's tests with the conditions it refers to, as one list.
pub(super) fn flatten<'a>(
    tests: &'a [TestRef],
    named: &'a BTreeMap<&str, &Named>,
    seen: &mut BTreeSet<&'a str>,
) -> Result<Vec<Probe>, String> {
    let mut probes = Vec::new();
    for test in tests {
        match test {
            TestRef::Inline(_, probe) => probes.push(probe.clone()),
            TestRef::Named(name) if seen.insert(name) => match named.get(name.as_str()) {
                Some(condition) => probes.extend(flatten(&condition.any, named, seen)?),
                None => return Err(name.clone()),
            },
            TestRef::Named(_) => {} // already in the list: a condition that names itself adds nothing
        }
    }
    Ok(probes)
}
