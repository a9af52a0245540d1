//! A bounded reader of JSON (RFC 8259) that visits scalar values by path and builds nothing.
//!
//! Small devices write what is nearly JSON (`nan`, `\x`), and captures cut bodies: the reader
//! passes over the first and gives what stands before the second, and tells of both at the end.

use std::borrow::Cow;

use model::limits::{DEPTH_MAX, FACT_VALUE_BYTES_MAX};

use crate::{Malformed, Reader, text};

/// Scalars one document may give.
const VALUES_MAX: usize = 2048;
/// Longer keys are cut.
const KEY_BYTES_MAX: usize = 128;

/// Calls `visit` with the path and the text of every string, number and boolean: keys and
/// positions in lists, joined with dots (`result.device.mac`, `lights.1.modelid`). The whole
/// input must be one JSON text; white space and NUL may follow.
pub(crate) fn walk(bytes: &[u8], visit: &mut dyn FnMut(&str, &str)) -> Result<(), Malformed> {
    let rest = document(bytes, visit)?;
    let blank = |b: &u8| b.is_ascii_whitespace() || *b == 0;
    if rest.iter().all(blank) { Ok(()) } else { Err(Malformed::Invalid) }
}

/// One scalar and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// As [`walk`] gives it.
    pub(crate) path: &'a str,
    /// Text without quotes, or a number, `true` or `false` as written.
    pub(crate) value: &'a str,
}

/// All scalars of a document in order, up to the first fault, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Flat {
    text: String,
    /// Where each path and each value ends.
    ends: Vec<(usize, usize)>,
}

impl Flat {
    /// The scalars.
    pub(crate) fn entries(&self) -> Vec<Entry<'_>> {
        let mut at = 0;
        let mut part = |end: usize| self.text.get(std::mem::replace(&mut at, end)..end);
        let mut entry = |&(path, value): &(usize, usize)| {
            Some(Entry { path: part(path)?, value: part(value)? })
        };
        self.ends.iter().filter_map(&mut entry).collect()
    }
}

/// Reads all scalars of a document.
pub(crate) fn flatten(bytes: &[u8]) -> Flat {
    let (mut text, mut ends) = (String::with_capacity(bytes.len()), Vec::with_capacity(32));
    // What stands before a fault counts.
    let _ = document(bytes, &mut |path, value| {
        text.push_str(path);
        let path_end = text.len();
        text.push_str(value);
        ends.push((path_end, text.len()));
    });
    Flat { text, ends }
}

/// Whether an object or a list ends just here. A stream is asked with every segment, so nothing is read but brackets.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    let (mut open, mut in_string, mut escaped) = (0usize, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => open += 1,
            b'}' | b']' if open <= 1 => return open == 1 && at + 1 == bytes.len(),
            b'}' | b']' => open -= 1,
            _ => {}
        }
    }
    false
}

/// The value at `path`, if it is there.
pub(crate) fn get<'a>(entries: &[Entry<'a>], path: &str) -> Option<&'a str> {
    entries.iter().find(|e| e.path == path).map(|e| e.value).filter(|v| !v.is_empty())
}

/// Reads one value; what is behind it.
fn document<'a>(bytes: &'a [u8], visit: &mut dyn FnMut(&str, &str)) -> Result<&'a [u8], Malformed> {
    let r = Reader::new(bytes);
    let mut walker = Walker { r, path: String::new(), values: 0, strict: true, visit };
    walker.value(0)?;
    if walker.strict { Ok(walker.r.rest()) } else { Err(Malformed::Invalid) }
}

struct Walker<'a, 'v> {
    r: Reader<'a>,
    path: String,
    values: usize,
    /// Nothing was passed over that is not JSON.
    strict: bool,
    visit: &'v mut dyn FnMut(&str, &str),
}

impl<'a> Walker<'a, '_> {
    fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        match self.peek()? {
            b'{' | b'[' if depth >= DEPTH_MAX => Err(Malformed::Limit),
            b'{' => self.members(depth, b'}'),
            b'[' => self.members(depth, b']'),
            b'"' => {
                let text = self.string()?;
                self.scalar(&text)
            }
            _ => self.bare(depth),
        }
    }

    /// An object or a list, up to its closing bracket.
    fn members(&mut self, depth: usize, close: u8) -> Result<(), Malformed> {
        self.r.skip(1)?;
        if self.peek()? == close {
            return self.r.skip(1);
        }
        let parent = self.path.len();
        for position in 0usize.. {
            let key = if close == b'}' { self.key()? } else { position.to_string().into() };
            if parent > 0 {
                self.path.push('.');
            }
            let end = key.floor_char_boundary(KEY_BYTES_MAX);
            self.path.push_str(key.get(..end).unwrap_or_default());
            self.value(depth + 1)?;
            self.path.truncate(parent);
            let found = self.peek()?;
            if found != b',' && found != close {
                return Err(Malformed::Invalid);
            }
            self.r.skip(1)?;
            if found == close {
                return Ok(());
            }
        }
        Err(Malformed::Limit)
    }

    /// A key and the colon behind it.
    fn key(&mut self) -> Result<Cow<'a, str>, Malformed> {
        if self.peek()? != b'"' {
            return Err(Malformed::Invalid);
        }
        let key = self.string()?;
        if self.peek()? != b':' {
            return Err(Malformed::Invalid);
        }
        self.r.skip(1)?;
        Ok(key)
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Result<u8, Malformed> {
        self.r = Reader::new(self.r.rest().trim_ascii_start());
        self.r.peek().ok_or(Malformed::Truncated)
    }

    fn scalar(&mut self, value: &str) -> Result<(), Malformed> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(Malformed::Limit);
        }
        (self.visit)(&self.path, value);
        Ok(())
    }

    /// A number or a literal; `null` is no value.
    fn bare(&mut self, depth: usize) -> Result<(), Malformed> {
        let in_word = |b: &&u8| b.is_ascii_alphanumeric() || b"+-.".contains(*b);
        let length = self.r.rest().iter().take_while(in_word).count();
        let word = std::str::from_utf8(self.r.take(length)?).map_err(|_| Malformed::Invalid)?;
        // Without a byte behind it, a number may go on in bytes that are missing.
        if self.r.is_empty() && depth > 0 {
            return Err(Malformed::Truncated);
        }
        let number = word.parse::<f64>().is_ok()
            && word.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        match word {
            "" => Err(Malformed::Invalid),
            "null" => Ok(()),
            "true" | "false" => self.scalar(word),
            _ if number => self.scalar(word),
            _ => {
                self.strict = false;
                Ok(())
            }
        }
    }

    /// A string, unescaped and cleaned; its kept part is bounded.
    fn string(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.r.skip(1)?;
        let special = |b: &u8| matches!(b, b'"' | b'\\');
        let end = self.r.rest().iter().position(special).ok_or(Malformed::Truncated)?;
        let plain = self.r.take(end)?;
        if self.r.peek() == Some(b'"') {
            self.r.skip(1)?;
            return Ok(text::clean(plain));
        }
        let mut bytes = plain.to_vec();
        loop {
            // Above the bound by any character, so that cleaning sees that it must cut.
            bytes.truncate(FACT_VALUE_BYTES_MAX + 4);
            match self.r.u8()? {
                b'"' => return Ok(Cow::Owned(text::clean(&bytes).into_owned())),
                b'\\' => match self.r.u8()? {
                    b'n' | b'r' | b't' | b'b' | b'f' => bytes.push(b' '),
                    b'u' => {
                        let c = self.escape()?;
                        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    other => {
                        self.strict &= matches!(other, b'"' | b'\\' | b'/');
                        bytes.push(other);
                    }
                },
                other => bytes.push(other),
            }
        }
    }

    /// Behind `\u`: four digits, and a second half where they are one of a surrogate pair.
    fn escape(&mut self) -> Result<char, Malformed> {
        let first = hex4(&mut self.r)?;
        let mut behind = self.r;
        if (0xd800..0xdc00).contains(&first)
            && behind.array() == Ok(*b"\\u")
            && let second @ 0xdc00..0xe000 = hex4(&mut behind)?
        {
            self.r = behind;
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }
}

fn hex4(r: &mut Reader<'_>) -> Result<u32, Malformed> {
    let digits: [u8; 4] = r.array()?;
    digits.iter().try_fold(0, |n, d| {
        let digit = char::from(*d).to_digit(16).ok_or(Malformed::Invalid)?;
        Ok(n << 4 | digit)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expect: &str, ends: Result<(), Malformed>) {
        let mut shown = Vec::new();
        let end = walk(text.as_bytes(), &mut |path, value| shown.push(format!("{path}={value}")));
        assert_eq!((shown.join(" ").as_str(), end), (expect, ends), "{text}");
    }

    #[test]
    fn scalars_are_visited_by_path() {
        check(
            r#" {"a":{"b":"x\u00e9\"y","n":-1.5e3},"l":[1,{"c":true}],"z":null,"e":{},"f":[]} "#,
            "a.b=xé\"y a.n=-1.5e3 l.0=1 l.1.c=true",
            Ok(()),
        );
        check(r#"{"a":{"b":[1,{"c":"x"}]}, "d" : true}"#, "a.b.0=1 a.b.1.c=x d=true", Ok(()));
        check(r#"{"a":"q\"\u00e9\n\/"}"#, "a=q\"é /", Ok(()));
        check("\"\\ud83d\\ude00\"\n\0", "=😀", Ok(()));
        check(r#"["\ud83dx","\ud83d\u0041"]"#, "0=\u{fffd}x 1=\u{fffd}A", Ok(()));
        check(" [] ", "", Ok(()));
        check("17", "=17", Ok(()));
        check(r#"["\u001b[2J","a\u0007b"]"#, "0=[2J 1=a b", Ok(()));
    }

    #[test]
    fn faults_end_the_reading() {
        use Malformed::{Invalid, Limit, Truncated};
        check(r#"{"a":"1","b":"2"#, "a=1", Err(Truncated));
        check(r#"{"a":12"#, "", Err(Truncated));
        check(r#"{"a" "b"}"#, "", Err(Invalid));
        check(r#"{"a":1,]"#, "a=1", Err(Invalid));
        check(r#"{"a":1,}"#, "a=1", Err(Invalid));
        check(r#"{"a":"\u12"#, "", Err(Truncated));
        for text in ["{\"a\"}", "[1 2]", "{a:1}", "<html>"] {
            check(text, if text == "[1 2]" { "0=1" } else { "" }, Err(Invalid));
        }
        check("{} x", "", Err(Invalid));
        assert!(flatten(b"{} x").entries().is_empty());
        check("", "", Err(Truncated));
        check(&"[".repeat(100_000), "", Err(Limit));
        let many = format!("[{}1]", "1,".repeat(VALUES_MAX));
        assert_eq!(walk(many.as_bytes(), &mut |_, _| {}), Err(Limit));
        assert_eq!(flatten(many.as_bytes()).entries().len(), VALUES_MAX);
    }

    #[test]
    fn what_is_nearly_json_is_passed_over_and_told() {
        check(r#"{"t":nan,"model":"X"}"#, "model=X", Err(Malformed::Invalid));
        check(r#"{"a":"\x41","b":1}"#, "a=x41 b=1", Err(Malformed::Invalid));
        for text in ["nul", "inf", "NaN"] {
            check(text, "", Err(Malformed::Invalid));
        }
    }

    #[test]
    fn lengths_are_bounded() {
        let long = "k".repeat(2000);
        for text in [format!(r#"{{"{long}":"{long}"}}"#), format!(r#"{{"{long}":"\n{long}"}}"#)] {
            let flat = flatten(text.as_bytes());
            let entries = flat.entries();
            assert_eq!(entries[0].path.len(), KEY_BYTES_MAX);
            assert!(
                (FACT_VALUE_BYTES_MAX - 1..=FACT_VALUE_BYTES_MAX).contains(&entries[0].value.len())
            );
        }
    }

    #[test]
    fn a_document_is_whole_when_its_bracket_closes() {
        let whole = br#"{"a":[1,{"b":"}]\"{"}],"c":"\\"}"#;
        assert!(is_whole(whole));
        for cut in 0..whole.len() {
            assert!(!is_whole(&whole[..cut]), "{cut}");
        }
        assert!(is_whole(b"[]"));
        for other in [&b"{} "[..], b"}", b"x", b"{}{}", b"\"{}\""] {
            assert!(!is_whole(other), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(flatten(&bytes).entries().len() <= VALUES_MAX);
        }

        #[test]
        fn any_json_like_text_is_survived(text in "[\\[\\]{}\":,\\\\u0-9a-f \\-]{0,64}") {
            let _ = walk(text.as_bytes(), &mut |_, _| {});
        }
    }
}
