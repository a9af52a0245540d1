//! A scanner for the flat XML of discovery protocols: elements and text, nothing else.
//!
//! Not a validating parser. Comments, declarations and attributes are passed over, name-space
//! prefixes are dropped, entities other than the five predefined and numeric ones stay as they
//! are (so there is nothing to expand without bound). Damage ends the scan; what was read counts.

use std::borrow::Cow;

use model::limits::DEPTH_MAX;

use crate::text;

/// Elements opened in one document.
const ELEMENTS_MAX: usize = 4096;

/// One element with nothing but text inside, reported when it ends.
#[derive(Debug)]
pub(crate) struct Leaf<'p, 'a> {
    /// Local names from the root to this element.
    pub(crate) path: &'p [&'a [u8]],
    /// Its text as it stands in the document; see [`decode`].
    pub(crate) raw: &'a [u8],
}

impl<'a> Leaf<'_, 'a> {
    /// Local name of the element.
    pub(crate) fn name(&self) -> &'a [u8] {
        self.path.last().copied().unwrap_or_default()
    }

    /// Its text for people: entities decoded, white space collapsed at the ends.
    pub(crate) fn text(&self) -> Cow<'a, str> {
        decode(self.raw)
    }

    /// The path ends in these names.
    pub(crate) fn ends(&self, names: &[&str]) -> bool {
        self.path.len() >= names.len()
            && (self.path.iter().rev()).zip(names.iter().rev()).all(|(a, b)| *a == b.as_bytes())
    }
}

/// What the scanner sees.
#[derive(Debug)]
pub(crate) enum Node<'p, 'a> {
    /// An element begins; `path` includes it.
    Open(&'p [&'a [u8]]),
    /// An element without child elements ended.
    Leaf(Leaf<'p, 'a>),
}

/// Reads a document and shows every element. Elements deeper than the bound are passed over.
pub(crate) fn scan<'a>(xml: &'a [u8], mut see: impl FnMut(Node<'_, 'a>)) {
    let mut path: Vec<&'a [u8]> = Vec::with_capacity(DEPTH_MAX);
    let mut too_deep = 0usize;
    let mut text: &'a [u8] = &[];
    let mut is_leaf = false;
    let mut opened = 0usize;
    let mut rest = xml;
    while let Some((before, tag, after)) = next_tag(rest) {
        rest = after;
        if let Some(cdata) = tag.strip_prefix(b"![CDATA[") {
            text = cdata;
            continue;
        }
        if !before.trim_ascii().is_empty() {
            text = before;
        }
        match tag.first() {
            Some(b'!' | b'?') => {}
            Some(b'/') if too_deep > 0 => too_deep -= 1,
            Some(b'/') => {
                if is_leaf {
                    let (path, raw) = (&path, text);
                    see(Node::Leaf(Leaf { path, raw }));
                }
                is_leaf = false;
                path.pop();
            }
            _ => {
                opened += 1;
                if opened > ELEMENTS_MAX {
                    return;
                }
                let empty = tag.ends_with(b"/");
                if path.len() >= DEPTH_MAX || too_deep > 0 {
                    too_deep += usize::from(!empty);
                    continue;
                }
                text = &[];
                path.push(local_name(tag));
                see(Node::Open(&path));
                is_leaf = !empty;
                if empty {
                    path.pop();
                }
            }
        }
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

    fn leaves(xml: &str) -> Vec<String> {
        let mut out = Vec::new();
        scan(xml.as_bytes(), |node| {
            if let Node::Leaf(leaf) = node {
                let path: Vec<_> = leaf.path.iter().map(|p| String::from_utf8_lossy(p)).collect();
                out.push(format!("{}={}", path.join("/"), leaf.text()));
            }
        });
        out
    }

    #[test]
    fn elements_text_and_noise() {
        let check = |xml: &str, expect: &[&str]| assert_eq!(leaves(xml), expect, "{xml}");
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
        assert_eq!(leaves(&deep), Vec::<String>::new());
        let inside = "<a>".repeat(20) + "<x>lost</x>" + &"</a>".repeat(20) + "<b>found</b>";
        assert_eq!(leaves(&inside).last().unwrap(), "b=found");
        assert!(leaves(&"<a>x</a>".repeat(10_000)).len() <= ELEMENTS_MAX);
    }
}
