//! Literals of Python and JSON: what the tables of Home Assistant are written in.

use std::collections::BTreeMap;

use model::limits::DEPTH_MAX;

/// A literal.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Text(String),
    List(Vec<Self>),
    Table(BTreeMap<String, Self>),
    /// Numbers, truth values, nothing: not told apart.
    Other,
}

impl Literal {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn list(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn table(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }
}

/// The assignments of a Python module (`NAME: type = literal`), or a JSON document under the empty
/// name.
pub(super) fn assignments(text: &str) -> Result<BTreeMap<String, Literal>, String> {
    let mut found = BTreeMap::new();
    if matches!(text.trim_start().chars().next(), Some('{' | '[')) {
        found.insert(String::new(), Parser::new(text).document()?);
        return Ok(found);
    }
    let mut offset = 0usize;
    while let Some(line) = text.get(offset..).and_then(|rest| rest.split_inclusive('\n').next()) {
        let start = offset;
        offset += line.len();
        let name: String =
            line.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
        let Some(equals) = line.find(" = ").filter(|_| !name.is_empty()) else {
            continue;
        };
        let mut parser = Parser::new(text.get(start + equals + 3..).unwrap_or_default());
        let literal = parser.value(0)?;
        offset = start + equals + 3 + parser.at;
        found.insert(name, literal);
    }
    if found.is_empty() { Err("it has no assignment of a literal".to_owned()) } else { Ok(found) }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    fn document(&mut self) -> Result<Literal, String> {
        let value = self.value(0)?;
        self.blank();
        if self.at == self.text.len() { Ok(value) } else { Err(self.wrong("the end")) }
    }

    fn value(&mut self, depth: usize) -> Result<Literal, String> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("less depth"));
        }
        self.blank();
        match self.peek() {
            Some('{') => self.table(depth),
            Some('[') => self.list(']', depth),
            Some('(') => self.list(')', depth),
            Some('"' | '\'') => self.string().map(Literal::Text),
            Some(c) if c.is_alphanumeric() || c == '-' => {
                let word = |c: char| c.is_alphanumeric() || "+-._".contains(c);
                while self.peek().is_some_and(word) {
                    self.step();
                }
                Ok(Literal::Other)
            }
            _ => Err(self.wrong("a literal")),
        }
    }

    fn table(&mut self, depth: usize) -> Result<Literal, String> {
        self.step();
        let mut table = BTreeMap::new();
        loop {
            self.blank();
            if self.take('}') {
                return Ok(Literal::Table(table));
            }
            let key = self.string()?;
            self.blank();
            if !self.take(':') {
                return Err(self.wrong("`:`"));
            }
            table.insert(key, self.value(depth + 1)?);
            self.blank();
            if !self.take(',') && self.peek() != Some('}') {
                return Err(self.wrong("`,` or `}`"));
            }
        }
    }

    fn list(&mut self, end: char, depth: usize) -> Result<Literal, String> {
        self.step();
        let mut items = Vec::new();
        loop {
            self.blank();
            if self.take(end) {
                return Ok(Literal::List(items));
            }
            items.push(self.value(depth + 1)?);
            self.blank();
            if !self.take(',') && self.peek() != Some(end) {
                return Err(self.wrong("`,` or the end of the list"));
            }
        }
    }

    fn string(&mut self) -> Result<String, String> {
        let Some(quote @ ('"' | '\'')) = self.peek() else {
            return Err(self.wrong("a text"));
        };
        self.step();
        let mut text = String::new();
        loop {
            match self.step() {
                None | Some('\n') => return Err(self.wrong("the end of the text")),
                Some(c) if c == quote => return Ok(text),
                Some('\\') => match self.step() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('u') => {
                        let digits = self.text.get(self.at..self.at + 4);
                        let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
                        text.push(code.and_then(char::from_u32).unwrap_or('\u{fffd}'));
                        self.at = (self.at + digits.map_or(0, str::len)).min(self.text.len());
                    }
                    Some(c) => text.push(c),
                    None => return Err(self.wrong("the end of the text")),
                },
                Some(c) => text.push(c),
            }
        }
    }

    /// White space and Python comments.
    fn blank(&mut self) {
        while let Some(c) = self.peek() {
            if c == '#' {
                while self.peek().is_some_and(|c| c != '\n') {
                    self.step();
                }
            } else if c.is_whitespace() {
                self.step();
            } else {
                break;
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn step(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, c: char) -> bool {
        let is = self.peek() == Some(c);
        if is {
            self.step();
        }
        is
    }

    fn wrong(&self, expected: &str) -> String {
        let before = self.text.get(..self.at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("line {line} of the literal: expected {expected}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn python_and_json() {
        let python = "\"\"\"Doc.\"\"\"\nfrom x import y\n\nDHCP: Final[list] = [\n    {\"a\": 'b', \"c\": True},  # why\n    (\"d\",),\n]\nNEXT = {\n \"x\": \"y\\n\"\n}\n";
        let found = assignments(python).unwrap();
        assert_eq!(found["DHCP"].list().len(), 2);
        assert_eq!(found["DHCP"].list()[0].table().unwrap()["a"].text(), Some("b"));
        assert_eq!(found["NEXT"].table().unwrap()["x"].text(), Some("y\n"));
        let json = assignments("[{\"a\": null, \"b\": -1.5e3, \"c\": \"\\u0041\"}]").unwrap();
        assert_eq!(json[""].list()[0].table().unwrap()["c"].text(), Some("A"));
        for wrong in ["", "[", "{\"a\" 1}", "[1 2]", "X = {\"a\": ", "[\"a\n\"]", "[] x"] {
            assert!(assignments(wrong).is_err(), "{wrong}");
        }
        assert!(assignments(&"[".repeat(1000)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[\\[\\]{}(),:'\"a-zA-Z =\\\\u0-9#\n]{0,80}|\\PC{0,40}") {
            let _ = assignments(&text);
        }
    }
}
