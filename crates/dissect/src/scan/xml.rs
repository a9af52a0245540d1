//! A scanner for the flat XML of discovery protocols and answers: elements and text, nothing else.
//!
//! Not a validating parser. Comments, declarations and attributes are passed over, name-space
//! prefixes are dropped, entities other than the five predefined and numeric ones stay as they
//! are (so there is nothing to expand without bound). Damage ends the scan; what was read counts.

use std::borrow::Cow;

use model::limits::DEPTH_MAX;

use crate::text;

/// Elements opened in one document.
const ELEMENTS_MAX: usize = 4096;

/// One element with nothing but text inside, given when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf<'a> {
    /// Local name of the element.
    pub(crate) name: &'a [u8],
    /// Its text as it stands in the document; see [`decode`].
    pub(crate) raw: &'a [u8],
}

impl<'a> Leaf<'a> {
    /// Its text for people: entities decoded, white space trimmed at the ends.
    pub(crate) fn text(&self) -> Cow<'a, str> {
        decode(self.raw)
    }
}

/// What the scanner sees, with the local names from the root to the element.
#[derive(Debug)]
pub(crate) enum Node<'p, 'a> {
    /// An element begins.
    Open(&'p [&'a [u8]]),
    /// An element without child elements ended.
    Leaf(&'p [&'a [u8]], Leaf<'a>),
}

/// Reads a document and shows every element. Elements deeper than the bound are passed over.
pub(crate) fn scan<'a>(xml: &'a [u8], mut see: impl FnMut(Node<'_, 'a>)) {
    let mut scanner = Scanner::new(xml);
    while let Some(leaf) = scanner.step() {
        see(match leaf {
            Some(leaf) => Node::Leaf(&scanner.path, leaf),
            None => Node::Open(&scanner.path),
        });
    }
}

/// Elements that hold text, wherever they stand.
pub(crate) fn leaves(xml: &[u8]) -> impl Iterator<Item = Leaf<'_>> {
    let mut scanner = Scanner::new(xml);
    std::iter::from_fn(move || scanner.step())
        .flatten()
        .filter(|leaf| !leaf.raw.trim_ascii().is_empty())
}

/// The text of the first of [`leaves`] with this local name (`Model` finds `<tds:Model>`).
pub(crate) fn text_of<'a>(xml: &'a [u8], name: &str) -> Option<Cow<'a, str>> {
    leaves(xml).find(|leaf| leaf.name == name.as_bytes()).map(|leaf| leaf.text())
}

/// Local name of the outermost element.
pub(crate) fn root(xml: &[u8]) -> Option<&[u8]> {
    let mut scanner = Scanner::new(xml);
    scanner.step()?;
    scanner.path.first().copied()
}

struct Scanner<'a> {
    rest: &'a [u8],
    /// Local names of the open elements, with the one that was given last.
    path: Vec<&'a [u8]>,
    /// The last of `path` is closed.
    closed: bool,
    /// Open elements below the bound.
    too_deep: usize,
    text: &'a [u8],
    is_leaf: bool,
    opened: usize,
}

impl<'a> Scanner<'a> {
    fn new(rest: &'a [u8]) -> Self {
        let path = Vec::with_capacity(DEPTH_MAX);
        Self { rest, path, closed: false, too_deep: 0, text: &[], is_leaf: false, opened: 0 }
    }

    /// Goes to the next beginning of an element, or to the end of a leaf.
    fn step(&mut self) -> Option<Option<Leaf<'a>>> {
        loop {
            if std::mem::take(&mut self.closed) {
                self.path.pop();
            }
            let (before, tag, after) = next_tag(self.rest)?;
            self.rest = after;
            if let Some(cdata) = tag.strip_prefix(b"![CDATA[") {
                self.text = cdata;
                continue;
            }
            if !before.trim_ascii().is_empty() {
                self.text = before;
            }
            match tag.first() {
                Some(b'!' | b'?') => {}
                Some(b'/') if self.too_deep > 0 => self.too_deep -= 1,
                Some(b'/') => {
                    self.closed = true;
                    if let (true, Some(name)) =
                        (std::mem::take(&mut self.is_leaf), self.path.last().copied())
                    {
                        return Some(Some(Leaf { name, raw: self.text }));
                    }
                }
                _ => {
                    self.opened += 1;
                    if self.opened > ELEMENTS_MAX {
                        self.rest = &[];
                        return None;
                    }
                    if self.open(tag) {
                        return Some(None);
                    }
                }
            }
        }
    }

    /// Whether the element is above the bound.
    fn open(&mut self, tag: &'a [u8]) -> bool {
        let empty = tag.ends_with(b"/");
        if self.path.len() >= DEPTH_MAX || self.too_deep > 0 {
            self.too_deep += usize::from(!empty);
            return false;
        }
        self.text = &[];
        self.path.push(local_name(tag));
        self.is_leaf = !empty;
        self.closed = empty;
        true
    }
}

/// Text before the next tag, the tag without its brackets, and what follows.
fn next_tag(xml: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let at = xml.iter().position(|b| *b == b'<')?;
    let (before, tail) = xml.split_at_checked(at)?;
    let tail = tail.get(1..)?;
    let until = |end: &[u8]| {
        let at = tail.windows(end.len()).position(|w| w == end)?;
        Some((before, tail.get(..at)?, tail.get(at + end.len()..)?))
    };
    if tail.starts_with(b"!--") {
        return until(b"-->");
    }
    if tail.starts_with(b"![CDATA[") {
        return until(b"]]>");
    }
    // A `>` inside a quoted attribute value does not end the tag.
    let mut quote = None;
    let end = tail.iter().position(|b| match (quote, *b) {
        (None, b'>') => true,
        (None, q @ (b'"' | b'\'')) => {
            quote = Some(q);
            false
        }
        (Some(q), b) => {
            if q == b {
                quote = None;
            }
            false
        }
        _ => false,
    })?;
    Some((before, tail.get(..end)?, tail.get(end + 1..)?))
}

fn local_name(tag: &[u8]) -> &[u8] {
    let end = |b: &u8| b.is_ascii_whitespace() || *b == b'/';
    let name = tag.split(end).next().unwrap_or_default();
    name.rsplit(|b| *b == b':').next().unwrap_or_default()
}

/// Text content with predefined and numeric entities decoded, made safe by [`text::clean`].
pub(crate) fn decode(raw: &[u8]) -> Cow<'_, str> {
    let plain = text::clean(raw);
    if !plain.contains('&') {
        return plain;
    }
    let mut out = String::with_capacity(plain.len());
    let mut rest: &str = &plain;
    while let Some((before, tail)) = rest.split_once('&') {
        out.push_str(before);
        let entity = tail.split_once(';').filter(|(name, _)| name.len() <= 8);
        match entity.and_then(|(name, after)| Some((entity_char(name)?, after))) {
            Some((c, after)) => {
                out.push(c);
                rest = after;
            }
            None => {
                out.push('&');
                rest = tail;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(text::clean_str(&out).into_owned())
}

fn entity_char(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(xml: &str) -> Vec<String> {
        let mut out = Vec::new();
        scan(xml.as_bytes(), |node| {
            if let Node::Leaf(path, leaf) = node {
                let path: Vec<_> = path.iter().map(|p| String::from_utf8_lossy(p)).collect();
                out.push(format!("{}={}", path.join("/"), leaf.text()));
            }
        });
        out
    }

    #[test]
    fn elements_text_and_noise() {
        let check = |xml: &str, expect: &[&str]| assert_eq!(scanned(xml), expect, "{xml}");
        check(
            "<?xml version='1.0'?><!-- <no/> --><r a='>'><x:b>1</x:b><c/><d> two </d></r>",
            &["r/b=1", "r/d=two"],
        );
        check("<r><a>Black &amp; White &#x41;&nbsp;</a></r>", &["r/a=Black & White A&nbsp;"]);
        check("<r><a><![CDATA[1 < 2]]></a></r>", &["r/a=1 < 2"]);
        // Damage ends the scan, what came before counts.
        check("<r><a>1</a><b>2</b", &["r/a=1"]);
        check("</r></r><a>1</a>", &["a=1"]);
        check("no tags", &[]);
    }

    #[test]
    fn depth_and_count_are_bounded() {
        let deep = "<a>".repeat(5000) + "x";
        assert_eq!(scanned(&deep), Vec::<String>::new());
        let inside = "<a>".repeat(20) + "<x>lost</x>" + &"</a>".repeat(20) + "<b>found</b>";
        assert_eq!(scanned(&inside).last().unwrap(), "b=found");
        assert!(scanned(&"<a>x</a>".repeat(10_000)).len() <= ELEMENTS_MAX);
    }

    #[test]
    fn values_by_local_name() {
        let xml =
            b"<?xml?><s:E><tds:Model a='1'> X&amp;Y </tds:Model><Model>2</Model><Empty/><Cut>abc";
        assert_eq!(text_of(xml, "Model").as_deref(), Some("X&Y"));
        assert_eq!(root(xml), Some(&b"E"[..]));
        for missing in ["E", "Empty", "Cut", "Nothing"] {
            assert_eq!(text_of(xml, missing), None, "{missing}");
        }
        assert_eq!(root(b"no tag"), None);
        assert_eq!(leaves(b"<<<<>>><a></b>").count(), 0);
    }
}
