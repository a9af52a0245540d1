//! A bounded reader of JSON (RFC 8259) that visits scalar values by path and builds nothing.

use std::borrow::Cow;

use model::limits::DEPTH_MAX;

use crate::{Malformed, Reader};

const VALUES_MAX: usize = 1024;
const KEY_BYTES_MAX: usize = 128;

/// Calls `visit` with the path (`result.device.mac`; elements of a list have the path of the
/// list) and text of every string, number and boolean. The whole input must be one JSON text;
/// white space, NUL and newline may follow.
pub(super) fn walk(bytes: &[u8], visit: &mut dyn FnMut(&str, &str)) -> Result<(), Malformed> {
    let mut walker = Walker { r: Reader::new(bytes), path: String::new(), values: 0, visit };
    walker.value(0)?;
    let rest = walker.r.rest();
    let blank = |b: &u8| b.is_ascii_whitespace() || *b == 0;
    if rest.iter().all(blank) { Ok(()) } else { Err(Malformed::Invalid) }
}

struct Walker<'a, 'v> {
    r: Reader<'a>,
    path: String,
    values: usize,
    visit: &'v mut dyn FnMut(&str, &str),
}

impl Walker<'_, '_> {
    fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        self.values += 1;
        if depth > DEPTH_MAX || self.values > VALUES_MAX {
            return Err(Malformed::Limit);
        }
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => {
                let text = self.string()?;
                (self.visit)(&self.path, &text);
                Ok(())
            }
            _ => self.bare(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Malformed> {
        self.r.skip(1)?;
        if self.peek()? == b'}' {
            return self.r.skip(1);
        }
        loop {
            if self.peek()? != b'"' {
                return Err(Malformed::Invalid);
            }
            let key = self.string()?;
            if key.len() > KEY_BYTES_MAX {
                return Err(Malformed::Limit);
            }
            let parent = self.path.len();
            if !self.path.is_empty() {
                self.path.push('.');
            }
            self.path.push_str(&key);
            self.expect(b':')?;
            self.value(depth + 1)?;
            self.path.truncate(parent);
            if self.ends(b'}')? {
                return Ok(());
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Malformed> {
        self.r.skip(1)?;
        if self.peek()? == b']' {
            return self.r.skip(1);
        }
        loop {
            self.value(depth + 1)?;
            if self.ends(b']')? {
                return Ok(());
            }
        }
    }

    /// After a member: a comma, or the end.
    fn ends(&mut self, close: u8) -> Result<bool, Malformed> {
        let found = self.peek()?;
        self.r.skip(1)?;
        match found {
            b',' => Ok(false),
            other if other == close => Ok(true),
            _ => Err(Malformed::Invalid),
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek()? != byte {
            return Err(Malformed::Invalid);
        }
        self.r.skip(1)
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Result<u8, Malformed> {
        loop {
            match self.r.peek() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.r.skip(1)?,
                Some(byte) => return Ok(byte),
                None => return Err(Malformed::Truncated),
            }
        }
    }

    /// A number or a literal; `null` is no value.
    fn bare(&mut self) -> Result<(), Malformed> {
        let rest = self.r.rest();
        let in_word = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
        let length = rest.iter().position(|b| !in_word(b)).unwrap_or(rest.len());
        let word = std::str::from_utf8(self.r.take(length)?).map_err(|_| Malformed::Invalid)?;
        let number = word.parse::<f64>().is_ok()
            && word.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        if number || matches!(word, "true" | "false") {
            (self.visit)(&self.path, word);
        } else if word != "null" {
            return Err(Malformed::Invalid);
        }
        Ok(())
    }

    /// A string, unescaped.
    fn string(&mut self) -> Result<Cow<'static, str>, Malformed> {
        self.r.skip(1)?;
        let mut bytes = Vec::new();
        loop {
            match self.r.u8()? {
                b'"' => break,
                b'\\' => match self.r.u8()? {
                    b'n' | b'r' | b't' | b'b' | b'f' => bytes.push(b' '),
                    b'u' => {
                        let c = self.escape()?;
                        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    other @ (b'"' | b'\\' | b'/') => bytes.push(other),
                    _ => return Err(Malformed::Invalid),
                },
                other => bytes.push(other),
            }
        }
        Ok(Cow::Owned(crate::text::clean(&bytes).into_owned()))
    }

    /// `\uXXXX`, with a second half where it is one of a surrogate pair.
    fn escape(&mut self) -> Result<char, Malformed> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        if self.r.array()? != *b"\\u" {
            return Err(Malformed::Invalid);
        }
        let second = self.hex4()?;
        let code = 0x1_0000 + ((first - 0xd800) << 10) + (second & 0x3ff);
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&mut self) -> Result<u32, Malformed> {
        let digits: [u8; 4] = self.r.array()?;
        digits.iter().try_fold(0, |n, d| {
            let digit = char::from(*d).to_digit(16).ok_or(Malformed::Invalid)?;
            Ok(n << 4 | digit)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn visited(text: &str) -> Result<String, Malformed> {
        let mut lines = String::new();
        walk(text.as_bytes(), &mut |path, value| {
            lines += &format!("{path}={value};");
        })?;
        Ok(lines)
    }

    #[test]
    fn scalars_are_visited_by_path() {
        let text =
            r#" {"a":{"b":"x\u00e9\"y","n":-1.5e3},"l":[1,{"c":true}],"z":null,"e":{},"f":[]} "#;
        assert_eq!(visited(text).unwrap(), r#"a.b=xé"y;a.n=-1.5e3;l=1;l.c=true;"#);
        assert_eq!(visited("\"\\ud83d\\ude00\"\n\0").unwrap(), "=😀;");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["{", "{\"a\"}", "{\"a\":1,}", "[1 2]", "{} x", "nul", "\"\\x\"", "inf", "NaN", "{a:1}"]
        {
            assert!(visited(text).is_err(), "{text}");
        }
        assert_eq!(visited(&"[".repeat(100)), Err(Malformed::Limit));
        assert_eq!(visited(&format!("[{}1]", "1,".repeat(2000))), Err(Malformed::Limit));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\\[\\]{}\":,\\\\u0-9a-f \\-]{0,64}") {
            let _ = visited(&text);
        }
    }
}
