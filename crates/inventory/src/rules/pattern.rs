//! Regular expressions of rules: bounded, and with the ASCII meaning of `\d`, `\w`, `\s`, `\b`.
//!
//! Values on the wire are ASCII where they mean something; the Unicode classes of the `regex`
//! crate would make each expression a hundred times larger.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex_automata::meta::{self, Regex};
use regex_automata::util::captures::Captures;
use regex_automata::util::syntax;
use regex_syntax::ast::{self, Ast, RepetitionKind, RepetitionRange};
use regex_syntax::hir::{Class, Hir, HirKind};

/// Longest expression, in bytes.
const LENGTH_MAX: usize = 4096;
/// Bound of the parts an expression has when its repeats are written out.
const PARTS_MAX: usize = 20_000;
/// Bound of one compiled expression, in bytes: never reached within [`PARTS_MAX`].
const SIZE_MAX: usize = 16 << 20;
/// Alternatives of which one must be found, at most.
const NEEDED_MAX: usize = 64;

/// A checked expression, compiled when it is first needed: most packs are for devices that are
/// not there.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    groups: Vec<Option<String>>,
    /// For values in ASCII, which nearly all are: a character is a byte then, and the matcher smaller.
    ascii: OnceLock<Option<Regex>>,
    /// For all others, and where the expression asks for characters that are more than a byte.
    any: OnceLock<Option<Regex>>,
}

/// How expressions are read: checked, or trusted. The error is fit for the author.
pub(super) type ReadPattern = fn(&str) -> Result<Pattern, String>;

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
        Ok(Self::new(text, groups))
    }

    /// The same for an expression of a shipped pack: a test has checked it, and each run of the program
    /// need not.
    pub(super) fn trusted(pattern: &str) -> Result<Self, String> {
        let text = ascii(pattern);
        let groups = read_groups(&text);
        Ok(Self::new(text, groups))
    }

    fn new(text: String, groups: Vec<Option<String>>) -> Self {
        Self { text, groups, ascii: OnceLock::new(), any: OnceLock::new() }
    }

    /// Texts of which one stands in every value that matches, whatever the case of its ASCII letters;
    /// `None` where the expression asks for none.
    fn needed(&self) -> Option<Vec<String>> {
        // Its tree is enough, and is made sooner than what it means.
        let tree = ast::parse::Parser::new().parse(&self.text).ok()?;
        needed(&tree, ignores_case(&self.text))
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
        self.regex(value).is_some_and(|regex| regex.is_match(value))
    }

    pub(super) fn groups<'v>(&self, value: &'v str) -> Option<Groups<'v>> {
        groups(self.regex(value)?, value)
    }

    /// What matches this value. `None` cannot happen: what was parsed within bounds compiles.
    fn regex(&self, value: &str) -> Option<&Regex> {
        let ascii = value.is_ascii().then(|| self.ascii.get_or_init(|| self.compile(false)));
        let any = || self.any.get_or_init(|| self.compile(true)).as_ref();
        ascii.and_then(Option::as_ref).or_else(any)
    }

    fn compile(&self, unicode: bool) -> Option<Regex> {
        // Values are short and each is shown once: what makes long searches fast, and an automaton
        // that finds where a match begins, cost more to build than they save.
        let config = meta::Config::new()
            .auto_prefilter(false)
            .hybrid(false)
            .dfa(false)
            .onepass(false)
            .nfa_size_limit(Some(SIZE_MAX));
        let syntax = syntax::Config::new().unicode(unicode).utf8(unicode);
        meta::Builder::new().configure(config).syntax(syntax).build(&self.text).ok()
    }

    #[cfg(test)]
    pub(super) fn compiles(&self) -> bool {
        self.compile(true).is_some()
    }

    #[cfg(test)]
    pub(super) fn is_as_trusted(&self) -> bool {
        read_groups(&self.text) == self.groups
    }
}

fn groups<'v>(regex: &Regex, value: &'v str) -> Option<Groups<'v>> {
    let mut found = regex.create_captures();
    regex.captures(value, &mut found);
    found.is_match().then_some(Groups { found, value })
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

/// Tells which of many expressions may match, by the texts that they need. One automaton for all of
/// them would tell which do, but takes longer to build than a capture takes to ask it.
#[derive(Debug)]
pub(super) struct Sieve {
    texts: AhoCorasick,
    /// The expression that needs each text.
    of: Vec<usize>,
    /// Expressions that need none.
    always: Vec<usize>,
}

impl Sieve {
    /// A sieve for expressions, or `None` where it grows too large.
    pub(super) fn of<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> Option<Self> {
        let (mut texts, mut of, mut always) = (Vec::new(), Vec::new(), Vec::new());
        for (number, pattern) in patterns.enumerate() {
            match pattern.needed() {
                Some(needed) => {
                    of.extend(needed.iter().map(|_| number));
                    texts.extend(needed);
                }
                None => always.push(number),
            }
        }
        // The form that is built fastest, which searches half as fast.
        let texts = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::NoncontiguousNFA))
            .prefilter(false)
            .build(texts)
            .ok()?;
        Some(Self { texts, of, always })
    }

    /// Numbers of those that may match, in their order.
    pub(super) fn candidates(&self, value: &str) -> Vec<usize> {
        let mut found = self.always.clone();
        let texts = self.texts.find_overlapping_iter(value);
        found.extend(texts.filter_map(|text| self.of.get(text.pattern().as_usize())));
        found.sort_unstable();
        found.dedup();
        found
    }
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

/// Texts of which one stands in every match. Only ASCII counts, in lower case.
fn needed(tree: &Ast, ignores_case: bool) -> Option<Vec<String>> {
    let exact = |tree: &Ast| match tree {
        // The sign for kelvin and the long s are forms of these letters too.
        Ast::Literal(literal) if ignores_case && matches!(literal.c, 'k' | 'K' | 's' | 'S') => None,
        Ast::Literal(literal) => literal.c.is_ascii().then(|| literal.c.to_ascii_lowercase()),
        _ => None,
    };
    match tree {
        Ast::Group(group) => needed(&group.ast, ignores_case),
        Ast::Repetition(repetition) => {
            let min = match repetition.op.kind {
                RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore => 0,
                RepetitionKind::OneOrMore => 1,
                RepetitionKind::Range(
                    RepetitionRange::Exactly(min)
                    | RepetitionRange::AtLeast(min)
                    | RepetitionRange::Bounded(min, _),
                ) => min,
            };
            (min > 0).then(|| needed(&repetition.ast, ignores_case))?
        }
        Ast::Concat(concat) => {
            let (mut best, mut run) = (None, String::new());
            // The end of the parts ends a run too.
            for part in concat.asts.iter().map(Some).chain([None]) {
                if let Some(letter) = part.and_then(exact) {
                    run.push(letter);
                    continue;
                }
                let run = Some(std::mem::take(&mut run)).filter(|run| !run.is_empty());
                best = longer(best, run.map(|run| vec![run]));
                best = longer(best, part.and_then(|part| needed(part, ignores_case)));
            }
            best
        }
        Ast::Alternation(alternation) => {
            let branches = alternation.asts.iter().map(|branch| needed(branch, ignores_case));
            let all: Option<Vec<_>> = branches.collect();
            all.map(|all| all.concat()).filter(|all| all.len() <= NEEDED_MAX)
        }
        _ => exact(tree).map(|letter| vec![letter.to_string()]),
    }
}

/// Whether the case of some letters may not count: a group of flags has an `i`.
fn ignores_case(text: &str) -> bool {
    let mut groups = text.match_indices("(?").filter_map(|(at, open)| text.get(at + open.len()..));
    groups.any(|flags| flags.chars().take_while(char::is_ascii_lowercase).any(|flag| flag == 'i'))
}

/// The list that is found less often: its shortest text is the longer one.
fn longer(a: Option<Vec<String>>, b: Option<Vec<String>>) -> Option<Vec<String>> {
    let shortest =
        |list: &Option<Vec<String>>| list.iter().flatten().map(String::len).min().unwrap_or(0);
    if shortest(&b) > shortest(&a) { b } else { a }
}

/// The names of groups in the order of their numbers, read off the text of an expression that is known
/// to be right.
fn read_groups(text: &str) -> Vec<Option<String>> {
    let (mut groups, mut in_class) = (vec![None], 0usize);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '[' => in_class += 1,
            ']' => in_class = in_class.saturating_sub(1),
            '(' if in_class == 0 => match chars.as_str().strip_prefix('?') {
                None => groups.push(None),
                Some(rest) => {
                    let name = rest.strip_prefix("P<").or_else(|| rest.strip_prefix('<'));
                    let name = name.and_then(|name| name.split_once('>'));
                    groups.extend(name.map(|(name, _)| Some(name.to_owned())));
                }
            },
            _ => {}
        }
    }
    groups
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
    use proptest::prelude::*;

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
    fn what_a_match_needs() {
        let check = |pattern: &str, expect: &[&str]| {
            let needed = Pattern::parse(pattern).unwrap().needed().unwrap_or_default();
            assert_eq!(needed, expect, "{pattern}");
        };
        check("^AXIS (?<model>[A-Z]+)", &["axis "]);
        check(r"(?i)^\[TV\] samsung (\w+)", &["[tv] "]);
        check("(?i)hue|tradfri", &["hue", "tradfri"]);
        check("a(?:bc|de)?f(?:ghi)+", &["ghi"]);
        // The sign for kelvin and the long s are letters of these words too.
        check("(?i)kamera", &["amera"]);
        check("(?:abc|x*)", &[]);
        check("é", &[]);
        check(r"^\d+$", &[]);
    }

    proptest! {
        /// Whatever matches is let through.
        #[test]
        fn a_sieve_keeps_what_matches(value in "[abcKſs.é ]{0,12}") {
            let patterns: Vec<Pattern> = ["(?i)ab", "b.c|a{2,}", "(?i)k|s", "^c*$", "(a|b)c", "é"]
                .map(|p| Pattern::parse(p).unwrap())
                .into();
            let candidates = Sieve::of(patterns.iter()).unwrap().candidates(&value);
            for (number, pattern) in patterns.iter().enumerate() {
                prop_assert!(!pattern.is_match(&value) || candidates.contains(&number));
            }
        }
    }

    proptest! {
        /// What is built for bytes finds in ASCII what is built for characters.
        #[test]
        fn bytes_are_characters_in_ascii(value in "[ -~\\t\\n]{0,16}|[kKsS\\[\\]a-c0-9. _-]{0,12}") {
            for pattern in [
                r"^(?<a>[^ ,;]+)[ ,;](?<b>.*?)\d*$", "(?i)(k+|s)(?<x>[^a-c]?)", r"\b(\w+)\b", r"(.{2,6}?)[\[\]]",
                "é|(a)", "[é-ü]|b", r"\p{L}(\d)",
            ] {
                let pattern = Pattern::parse(pattern).unwrap();
                let spans = |regex: &Regex| {
                    let groups = groups(regex, &value)?;
                    Some((0..pattern.groups_len()).map(|n| groups.get(n).map(str::to_owned)).collect::<Vec<_>>())
                };
                prop_assert_eq!(spans(pattern.regex(&value).unwrap()), spans(&pattern.compile(true).unwrap()));
            }
        }
    }

    #[test]
    fn groups_are_counted_as_the_matcher_counts_them() {
        let pattern = Pattern::parse(r"(?<a>x)|(y(?<b>z)?){2,3}").unwrap();
        assert_eq!(pattern.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(pattern.groups_len(), 4);
    }
}
