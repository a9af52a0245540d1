//! Regular expressions of rules: bounded, and with the ASCII meaning of `\d`, `\w`, `\s`, `\b`.
//!
//! Values on the wire are ASCII where they mean something; the Unicode classes of the `regex`
//! crate would make each expression a hundred times larger.

use std::sync::OnceLock;

use regex_automata::meta::{self, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::captures::Captures;
use regex_automata::{Input, MatchKind, PatternSet};
use regex_syntax::hir::{Class, Hir, HirKind};

/// Longest expression, in bytes.
const LENGTH_MAX: usize = 4096;
/// Bound of the parts an expression has when its repeats are written out.
const PARTS_MAX: usize = 20_000;
/// Bound of one compiled expression, in bytes: never reached within [`PARTS_MAX`].
const SIZE_MAX: usize = 16 << 20;
/// Bound of a set of expressions on one field, in bytes, compiled and as lazily built automaton.
const SET_SIZE_MAX: usize = 64 << 20;

/// A checked expression, compiled when it is first needed: most packs are for devices that are
/// not there.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    groups: Vec<Option<String>>,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// Checks one expression; the error is fit for the author.
    pub(super) fn parse(pattern: &str) -> Result<Self, String> {
        if pattern.len() > LENGTH_MAX {
            return Err(format!("it is longer than {LENGTH_MAX} bytes"));
        }
        let text = ascii(pattern);
        let hir = regex_syntax::Parser::new().parse(&text).map_err(|e| {
            // The last line of the parser's message says what is wrong.
            e.to_string().lines().last().unwrap_or_default().trim().to_owned()
        })?;
        if parts(&hir) > PARTS_MAX {
            return Err("it grows too large; use smaller repeats".to_owned());
        }
        let mut groups = vec![None];
        name_groups(&hir, &mut groups);
        Ok(Self { text, groups, compiled: OnceLock::new() })
    }

    /// Names of its named groups.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().filter_map(Option::as_deref)
    }

    /// Number of groups, the whole match included.
    pub(super) fn groups_len(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn is_match(&self, value: &str) -> bool {
        self.regex().is_some_and(|regex| regex.is_match(value))
    }

    pub(super) fn groups<'v>(&self, value: &'v str) -> Option<Groups<'v>> {
        let regex = self.regex()?;
        let mut found = regex.create_captures();
        regex.captures(value, &mut found);
        found.is_match().then_some(Groups { found, value })
    }

    /// `None` cannot happen: what was parsed within bounds compiles.
    fn regex(&self) -> Option<&Regex> {
        let build = || {
            let config = config().nfa_size_limit(Some(SIZE_MAX));
            meta::Builder::new().configure(config).build(&self.text).ok()
        };
        self.compiled.get_or_init(build).as_ref()
    }

    #[cfg(test)]
    pub(super) fn compiles(&self) -> bool {
        self.regex().is_some()
    }
}

/// Values are short and each is shown once: what makes long searches fast does not pay here.
fn config() -> meta::Config {
    meta::Config::new().auto_prefilter(false)
}

/// What the groups of an expression matched.
#[derive(Debug)]
pub(super) struct Groups<'v> {
    found: Captures,
    value: &'v str,
}

impl<'v> Groups<'v> {
    /// A group by its number; 0 is the whole match.
    pub(super) fn get(&self, number: usize) -> Option<&'v str> {
        self.value.get(self.found.get_group(number)?.range())
    }

    /// A group by its name.
    pub(super) fn name(&self, name: &str) -> Option<&'v str> {
        self.value.get(self.found.get_group_by_name(name)?.range())
    }
}

/// One automaton for many expressions.
#[derive(Debug)]
pub(super) struct Set(meta::Regex);

impl Set {
    /// Which of them match, in their order.
    pub(super) fn matches(&self, value: &str) -> PatternSet {
        let mut found = PatternSet::new(self.0.pattern_len());
        self.0.which_overlapping_matches(&Input::new(value), &mut found);
        found
    }
}

/// One automaton for many expressions, or `None` where that grows too large.
pub(super) fn set<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> Option<Set> {
    let patterns: Vec<&str> = patterns.map(|p| p.text.as_str()).collect();
    let config = config()
        .match_kind(MatchKind::All)
        .which_captures(WhichCaptures::None)
        .nfa_size_limit(Some(SET_SIZE_MAX))
        .hybrid_cache_capacity(SET_SIZE_MAX / 8);
    meta::Builder::new().configure(config).build_many(&patterns).ok().map(Set)
}

/// How large an expression is with its repeats written out. The parser bounds the depth.
fn parts(hir: &Hir) -> usize {
    let sum = |all: &[Hir]| all.iter().fold(0usize, |n, hir| n.saturating_add(parts(hir)));
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(Class::Unicode(class)) => class.ranges().len().saturating_mul(2),
        HirKind::Class(Class::Bytes(class)) => class.ranges().len(),
        HirKind::Repetition(r) => {
            let times = r.max.unwrap_or(r.min).max(1);
            parts(&r.sub).saturating_mul(usize::try_from(times).unwrap_or(usize::MAX))
        }
        HirKind::Capture(capture) => parts(&capture.sub).saturating_add(2),
        HirKind::Concat(all) | HirKind::Alternation(all) => sum(all),
    }
}

/// The names of groups in the order of their numbers.
fn name_groups(hir: &Hir, groups: &mut Vec<Option<String>>) {
    match hir.kind() {
        HirKind::Capture(capture) => {
            groups.push(capture.name.as_deref().map(str::to_owned));
            name_groups(&capture.sub, groups);
        }
        HirKind::Repetition(r) => name_groups(&r.sub, groups),
        HirKind::Concat(all) | HirKind::Alternation(all) => {
            all.iter().for_each(|hir| name_groups(hir, groups));
        }
        _ => {}
    }
}

/// Replaces the Perl classes by their ASCII members.
fn ascii(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut in_class = 0usize;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let Some(next) = chars.next() else {
                    out.push('\\');
                    break;
                };
                let members = match next {
                    'd' | 'D' => "0-9",
                    'w' | 'W' => "0-9A-Za-z_",
                    's' | 'S' => r" \t\r\n",
                    _ => "",
                };
                match (next, in_class) {
                    ('d' | 'w' | 's', 0) => out.extend(["[", members, "]"]),
                    ('D' | 'W' | 'S', _) => out.extend(["[^", members, "]"]),
                    ('d' | 'w' | 's', _) => out.push_str(members),
                    ('b', 0) => out.push_str(r"(?-u:\b)"),
                    (other, _) => out.extend(['\\', other]),
                }
                continue;
            }
            '[' => in_class += 1,
            ']' => in_class = in_class.saturating_sub(1),
            _ => {}
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ascii() {
        let check = |pattern: &str, yes: &str, no: &str| {
            let regex = Pattern::parse(pattern).unwrap();
            assert!(regex.is_match(yes), "{pattern} must match {yes}");
            assert!(!regex.is_match(no), "{pattern} must not match {no}");
        };
        check(r"^\d+$", "123", "١٢٣");
        check(r"^[\w.-]+$", "a_b.c-d", "é");
        check(r"^\S+\s\D$", "ab c", "ab 1");
        check(r"\bcam\b", "ip cam 1", "camera");
        check(r"^\[\d\]\\$", r"[1]\", "1");
        check(r"^[^\s]+$", "ab", "a b");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |pattern: &str, expect: &str| {
            let why = Pattern::parse(pattern).unwrap_err();
            assert!(why.contains(expect), "{pattern}: {why}");
        };
        check("(", "unclosed");
        check(r"(\w{1,1000}){1,1000}", "too large");
        check(&"a".repeat(5000), "longer");
        check(r"(?=x)", "look");
        check(r"(a)\1", "backreferences");
    }

    #[test]
    fn the_largest_that_is_allowed_compiles() {
        for pattern in
            [r"(\w{1,40}){1,50}", r"(?i)\p{L}{10}", "(?i)(longword){300}", r"(.{5}\d){700}"]
        {
            let parsed = Pattern::parse(pattern);
            assert!(parsed.as_ref().is_ok_and(Pattern::compiles), "{pattern}: {parsed:?}");
        }
    }

    #[test]
    fn groups_are_counted_as_the_matcher_counts_them() {
        let pattern = Pattern::parse(r"(?<a>x)|(y(?<b>z)?){2,3}").unwrap();
        assert_eq!(pattern.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(pattern.groups_len(), 4);
    }
}
