//! Regular expressions of rules: bounded, and with the ASCII meaning of `\d`, `\w`, `\s`, `\b`.
//!
//! Values on the wire are ASCII where they mean something; the Unicode classes of the `regex`
//! crate would make each expression a hundred times larger.

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// Bound of one compiled expression, in bytes.
const SIZE_MAX: usize = 1 << 20;
/// Longest expression, in bytes.
const LENGTH_MAX: usize = 4096;
/// Bound of a set of expressions on one field, in bytes, compiled and as lazily built automaton.
const SET_SIZE_MAX: usize = 64 << 20;

/// Compiles one expression; the error is fit for the author.
pub(super) fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > LENGTH_MAX {
        return Err(format!("it is longer than {LENGTH_MAX} bytes"));
    }
    RegexBuilder::new(&ascii(pattern))
        .size_limit(SIZE_MAX)
        .dfa_size_limit(SIZE_MAX)
        .build()
        .map_err(|e| match e {
            regex::Error::CompiledTooBig(_) => "it grows too large; use smaller repeats".to_owned(),
            // The last line of the parser's message says what is wrong.
            e => e.to_string().lines().last().unwrap_or_default().trim().to_owned(),
        })
}

/// One automaton for many expressions, or `None` where that grows too large.
pub(super) fn set<'a>(patterns: impl Iterator<Item = &'a Regex>) -> Option<RegexSet> {
    RegexSetBuilder::new(patterns.map(Regex::as_str))
        .size_limit(SET_SIZE_MAX)
        .dfa_size_limit(SET_SIZE_MAX / 8)
        .build()
        .ok()
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
            let regex = compile(pattern).unwrap();
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
        assert!(compile("(").unwrap_err().contains("unclosed"));
        assert!(compile(r"(\w{1,1000}){1,1000}").unwrap_err().contains("too large"));
        assert!(compile(&"a".repeat(5000)).unwrap_err().contains("longer"));
        assert!(compile(r"(?=x)").unwrap_err().contains("look"));
    }
}
