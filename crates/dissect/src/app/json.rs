//! A bounded reader of JSON (RFC 8259): flat pairs of path and scalar, nothing else.
//!
//! Bodies may be cut by the capture; what was read before the cut counts.

use std::borrow::Cow;

use model::limits::{DEPTH_MAX, FACT_VALUE_BYTES_MAX};

/// Scalars one document may give.
const VALUES_MAX: usize = 2048;

/// One scalar and where it stands: keys and array positions, joined with dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// `config.swversion`, `lights.1.modelid`.
    pub path: String,
    /// Text without quotes, or a number, `true`, `false`, `null` as written.
    pub value: String,
}

/// All scalars of a document in order, up to the first fault, and whether the document ended.
pub(crate) fn flatten(bytes: &[u8]) -> (Vec<Entry>, bool) {
    let mut parser = Parser { rest: bytes, path: String::new(), entries: Vec::new() };
    let whole = parser.value(0).is_some();
    (parser.entries, whole)
}

/// The value at `path`, if it is there.
pub(crate) fn get<'a>(entries: &'a [Entry], path: &str) -> Option<&'a str> {
    entries.iter().find(|e| e.path == path).map(|e| e.value.as_str()).filter(|v| !v.is_empty())
}

struct Parser<'a> {
    rest: &'a [u8],
    path: String,
    entries: Vec<Entry>,
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'{' if depth < DEPTH_MAX => self.members(depth, b'}'),
            b'[' if depth < DEPTH_MAX => self.members(depth, b']'),
            b'"' => {
                let text = self.string()?;
                self.push(&text)
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
                let length = self.rest.iter().take_while(|b| word(b)).count();
                let (text, rest) = self.rest.split_at_checked(length)?;
                // Without a byte behind it a number may go on in bytes that are missing.
                self.rest = rest;
                if rest.is_empty() && depth > 0 {
                    return None;
                }
                self.push(std::str::from_utf8(text).ok()?)
            }
            _ => None,
        }
    }

    fn members(&mut self, depth: usize, close: u8) -> Option<()> {
        self.bump()?;
        let parent = self.path.len();
        let mut position = 0usize;
        if self.peek()? == close {
            return self.bump();
        }
        loop {
            let key: Cow<'a, str> = if close == b'}' {
                self.peek().filter(|b| *b == b'"')?;
                let key = self.string()?;
                self.peek().filter(|b| *b == b':')?;
                self.bump()?;
                key
            } else {
                Cow::Owned(position.to_string())
            };
            if parent > 0 {
                self.path.push('.');
            }
            self.path.push_str(key.get(..key.floor_char_boundary(64))?);
            self.value(depth + 1)?;
            self.path.truncate(parent);
            position += 1;
            match self.peek()? {
                b',' => self.bump()?,
                other => return if other == close { self.bump() } else { None },
            }
        }
    }

    /// A string, unescaped; its kept part is bounded.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.bump()?;
        let end = self.rest.iter().position(|b| matches!(b, b'"' | b'\\'))?;
        let (plain, rest) = self.rest.split_at_checked(end)?;
        if rest.first() == Some(&b'"') {
            self.rest = rest.get(1..)?;
            let plain = plain.get(..plain.len().min(FACT_VALUE_BYTES_MAX))?;
            return Some(String::from_utf8_lossy(plain));
        }
        let mut text = plain.to_vec();
        self.rest = rest;
        loop {
            let byte = *self.rest.first()?;
            self.rest = self.rest.get(1..)?;
            let kept = match byte {
                b'"' => break,
                b'\\' => {
                    let escape = *self.rest.first()?;
                    self.rest = self.rest.get(1..)?;
                    self.escape(escape, &mut text)?;
                    continue;
                }
                other => other,
            };
            if text.len() < FACT_VALUE_BYTES_MAX {
                text.push(kept);
            }
        }
        Some(Cow::Owned(String::from_utf8_lossy(&text).into_owned()))
    }

    fn escape(&mut self, escape: u8, text: &mut Vec<u8>) -> Option<()> {
        let plain = match escape {
            b'u' => {
                let (digits, rest) = self.rest.split_at_checked(4)?;
                let code = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
                self.rest = rest;
                // Surrogate pairs are rare in identities: one replacement each is enough.
                let shown = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                if text.len() < FACT_VALUE_BYTES_MAX {
                    text.extend_from_slice(shown.encode_utf8(&mut [0; 4]).as_bytes());
                }
                return Some(());
            }
            b'n' | b'r' | b't' | b'b' | b'f' => b' ',
            other => other,
        };
        if text.len() < FACT_VALUE_BYTES_MAX {
            text.push(plain);
        }
        Some(())
    }

    fn push(&mut self, value: &str) -> Option<()> {
        if self.entries.len() >= VALUES_MAX {
            return None;
        }
        let value = value.to_owned();
        self.entries.push(Entry { path: self.path.clone(), value });
        Some(())
    }

    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    fn bump(&mut self) -> Option<()> {
        self.rest = self.rest.get(1..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expect: &str, ends: bool) {
        let (entries, whole) = flatten(text.as_bytes());
        let shown: Vec<String> =
            entries.iter().map(|e| format!("{}={}", e.path, e.value)).collect();
        assert_eq!((shown.join(" "), whole), (expect.to_owned(), ends), "{text}");
    }

    #[test]
    fn paths_and_scalars() {
        check(r#"{"a":{"b":[1,{"c":"x"}]}, "d" : true}"#, "a.b.0=1 a.b.1.c=x d=true", true);
        check(r#" [] "#, "", true);
        check(r#"{"a":"q\"\u00e9\n\/"}"#, "a=q\"é /", true);
        check("17", "=17", true);
    }

    #[test]
    fn faults_end_the_reading() {
        check(r#"{"a":"1","b":"2"#, "a=1", false);
        check(r#"{"a":12"#, "", false);
        check(r#"{"a" "b"}"#, "", false);
        check(r#"{"a":1,]"#, "a=1", false);
        check("<html>", "", false);
        check("", "", false);
        check(r#"{"a":"\u12"#, "", false);
        let deep = "[".repeat(100_000);
        check(&deep, "", false);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (entries, _) = flatten(&bytes);
            prop_assert!(entries.len() <= VALUES_MAX);
        }
    }
}
