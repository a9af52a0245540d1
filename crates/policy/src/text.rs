//! Text that goes into files: quoting, slugs, cleaning of names that came from the wire.

/// A TOML basic string, quoted.
pub(crate) fn toml_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A TOML array of strings on one line.
pub(crate) fn toml_array<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|i| toml_string(&i.to_string())).collect();
    format!("[{}]", items.join(", "))
}

/// A Cedar string literal, quoted.
pub(crate) fn cedar_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// One line of foreign text for comments, lists and tables: no control characters, no Markdown or
/// table syntax, at most 200 characters.
pub(crate) fn line(text: &str) -> String {
    text.chars()
        .take(200)
        .map(|c| match c {
            '|' => '/',
            '`' | '<' | '>' => '\'',
            '[' => '(',
            ']' => ')',
            c if c.is_control() || is_invisible(c) => ' ',
            c => c,
        })
        .collect()
}

/// Bidirectional and zero-width marks: they would let a name pose as another one.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Lower-case letters, digits and dots joined by single dashes; for rule ids and file names.
pub(crate) fn slug(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || c == '.' {
            out.push(c.to_ascii_lowercase());
        } else if !out.ends_with('-') && !out.is_empty() {
            out.push('-');
        }
    }
    out.trim_matches(|c| c == '-' || c == '.').to_owned()
}

/// `n thing` or `n things`.
pub(crate) fn count(n: usize, thing: &str) -> String {
    let plural = match thing.strip_suffix('y') {
        _ if n == 1 => thing.to_owned(),
        Some(stem) => format!("{stem}ies"),
        None => format!("{thing}s"),
    };
    format!("{n} {plural}")
}

/// At most `max` items, the rest as a number.
pub(crate) fn list(items: impl IntoIterator<Item = String>, max: usize) -> String {
    let mut items: Vec<String> = items.into_iter().collect();
    let more = items.len().saturating_sub(max);
    items.truncate(max);
    let text = items.join(", ");
    if more == 0 { text } else { format!("{text} and {more} more") }
}

/// The word that `text` is nearest to, where it may be a slip: at most a third of its letters differ, and
/// one may always.
pub(crate) fn nearest<'w>(text: &str, words: &[&'w str]) -> Option<&'w str> {
    let most = text.chars().count().div_ceil(3);
    let word = words.iter().min_by_key(|word| distance(text, word))?;
    (distance(text, word) <= most).then_some(*word)
}

/// Letters to change, add or take away (Levenshtein), looking at no more than 64 of each.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut next = vec![i.saturating_add(1)];
        for ((y, pair), corner) in b.iter().zip(row.windows(2)).zip(&row) {
            let above = pair.last().copied().unwrap_or(0).saturating_add(1);
            let left = next.last().copied().unwrap_or(0).saturating_add(1);
            next.push(above.min(left).min(corner.saturating_add(usize::from(x != *y))));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// Glob with the literal parts between stars: the first is anchored at the start, the last at the end.
pub(crate) fn like(text: &str, parts: &[String]) -> bool {
    let Some((first, rest)) = parts.split_first() else {
        return text.is_empty();
    };
    let Some(mut left) = text.strip_prefix(first.as_str()) else {
        return false;
    };
    let Some((last, middle)) = rest.split_last() else {
        return left.is_empty();
    };
    for part in middle {
        let Some((_, after)) = left.split_once(part.as_str()) else {
            return false;
        };
        left = after;
    }
    left.ends_with(last.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_cannot_be_escaped_from() {
        assert_eq!(toml_string("a\"b\\c\n"), r#""a\"b\\c\u000A""#);
        assert_eq!(cedar_string("a\"b\\c\n"), r#""a\"b\\c\u{a}""#);
        assert_eq!(line("x\n// permit | `a` \u{202e}"), "x // permit / 'a'  ");
    }

    #[test]
    fn slugs() {
        for (text, slug_) in [
            ("Main/Cameras/10.0.1.0-24", "main-cameras-10.0.1.0-24"),
            ("  ümlaut  ", "mlaut"),
            ("..", ""),
            ("a::b", "a-b"),
        ] {
            assert_eq!(slug(text), slug_);
        }
    }

    #[test]
    fn counting() {
        assert_eq!(count(1, "device"), "1 device");
        assert_eq!(count(0, "path"), "0 paths");
        assert_eq!(count(2, "policy"), "2 policies");
        assert_eq!(list(["a".into(), "b".into(), "c".into()], 2), "a, b and 1 more");
    }
    #[test]
    fn slips() {
        let words = ["normal", "watched", "quarantined"];
        for (text, word) in [
            ("quarantine", Some("quarantined")),
            ("Quarantined", Some("quarantined")),
            ("nromal", Some("normal")),
            ("ok", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, &words), word, "{text}");
        }
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
    }

    #[test]
    fn globs() {
        let check = |text, parts: &[&str], expect| {
            let parts: Vec<String> = parts.iter().map(|p| (*p).to_owned()).collect();
            assert_eq!(like(text, &parts), expect, "{text} {parts:?}");
        };
        check("abc", &["abc"], true);
        check("abcd", &["abc"], false);
        check("abcd", &["ab", ""], true);
        check("abcd", &["", "cd"], true);
        check("abcd", &["a", "c", ""], true);
        check("abab", &["ab", "ab", "ab"], false);
        check("aa", &["aa", "a"], false);
        check("", &[], true);
    }
}
