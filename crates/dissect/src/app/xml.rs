//! Just enough XML to take values out of answers: elements by local name, entities decoded.
//!
//! No tree is built and nothing is fetched; a cut document gives what stands before the cut.

/// Elements looked at in one document.
const ELEMENTS_MAX: usize = 2048;

/// The text of the first element with this local name (`Model` finds `<tds:Model>`).
pub(super) fn text<'a>(xml: &'a [u8], local_name: &str) -> Option<&'a [u8]> {
    leaves(xml).find(|(name, _)| *name == local_name.as_bytes()).map(|(_, text)| text)
}

/// All elements that hold text only: local name and trimmed text.
pub(super) fn leaves(xml: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    tags(xml).filter_map(|(name, behind)| {
        let end = behind.iter().position(|b| *b == b'<')?;
        let text = behind.get(..end)?.trim_ascii();
        let closing = behind.get(end + 1..)?.strip_prefix(b"/")?;
        let closed = closing.get(..closing.iter().position(|b| *b == b'>')?)?;
        (local(closed.trim_ascii()) == name && !text.is_empty()).then_some((name, text))
    })
}

/// Local name of the outermost element.
pub(super) fn root(xml: &[u8]) -> Option<&[u8]> {
    tags(xml).next().map(|(name, _)| name)
}

/// The five predefined entities (XML 1.0 §4.6), the rest as written.
pub(super) fn decoded(text: &[u8]) -> String {
    let text = crate::text::clean(text).into_owned();
    if !text.contains('&') {
        return text;
    }
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")]
        .into_iter()
        .fold(text, |text, (entity, plain)| text.replace(entity, plain))
}

/// Opening tags: local name, and everything behind the tag.
fn tags(xml: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = xml;
    std::iter::from_fn(move || {
        let at = rest.iter().position(|b| *b == b'<')?;
        rest = rest.get(at + 1..)?;
        let end = rest.iter().position(|b| *b == b'>')?;
        let (inside, behind) = (rest.get(..end)?, rest.get(end + 1..)?);
        Some((inside, behind))
    })
    .take(ELEMENTS_MAX)
    .filter_map(|(inside, behind)| {
        let opening =
            !matches!(inside.first()?, b'/' | b'?' | b'!') && inside.last() != Some(&b'/');
        let name = inside.split(u8::is_ascii_whitespace).next()?;
        opening.then_some((local(name), behind))
    })
}

fn local(name: &[u8]) -> &[u8] {
    name.rsplit(|b| *b == b':').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_by_local_name() {
        let xml = b"<?xml?><s:E><tds:Model a='1'> X&amp;Y </tds:Model><Empty/><Cut>abc";
        assert_eq!(text(xml, "Model").map(decoded).as_deref(), Some("X&Y"));
        assert_eq!(root(xml), Some(&b"E"[..]));
        for missing in ["E", "Empty", "Cut", "Nothing"] {
            assert_eq!(text(xml, missing), None, "{missing}");
        }
        assert_eq!(root(b"no tag"), None);
        assert_eq!(leaves(b"<<<<>>><a></b>").count(), 0);
    }
}
