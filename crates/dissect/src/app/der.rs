//! A bounded reader of DER (X.690): one element after the other, definite lengths only.

use crate::{Malformed, Reader};

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    /// Identifier octet; only low tag numbers are read.
    pub tag: u8,
    /// Contents.
    pub body: &'a [u8],
    /// The element as encoded, with tag and length.
    pub whole: &'a [u8],
}

/// Universal and context tags that certificates use.
pub(super) mod tag {
    pub(in super::super) const BOOLEAN: u8 = 0x01;
    pub(in super::super) const OCTETS: u8 = 0x04;
    pub(in super::super) const OID: u8 = 0x06;
    pub(in super::super) const UTC_TIME: u8 = 0x17;
    pub(in super::super) const GENERALIZED_TIME: u8 = 0x18;
    pub(in super::super) const BMP_STRING: u8 = 0x1e;
    pub(in super::super) const SEQUENCE: u8 = 0x30;
    pub(in super::super) const SET: u8 = 0x31;
}

/// The next element.
pub(super) fn next<'a>(r: &mut Reader<'a>) -> Result<Element<'a>, Malformed> {
    let start = r.rest();
    let tag = r.u8()?;
    if tag & 0x1f == 0x1f {
        return Err(Malformed::Invalid);
    }
    let length = match r.u8()? {
        short @ 0..=0x7f => usize::from(short),
        0x81 => usize::from(r.u8()?),
        0x82 => usize::from(r.u16_be()?),
        0x83 => usize::try_from(r.u24_be()?).map_err(|_| Malformed::Limit)?,
        _ => return Err(Malformed::Limit),
    };
    let body = r.take(length)?;
    let whole = start.get(..start.len() - r.len()).unwrap_or_default();
    Ok(Element { tag, body, whole })
}

/// The next element, which must have this tag.
pub(super) fn expect<'a>(r: &mut Reader<'a>, tag: u8) -> Result<Element<'a>, Malformed> {
    let element = next(r)?;
    if element.tag == tag { Ok(element) } else { Err(Malformed::Invalid) }
}

/// Elements of a constructed one, until its end or its first fault.
pub(super) fn children(body: &[u8]) -> impl Iterator<Item = Element<'_>> {
    let mut r = Reader::new(body);
    std::iter::from_fn(move || if r.is_empty() { None } else { next(&mut r).ok() }).take(256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unhex;

    fn check(hex: &str, expect: Result<(u8, usize), Malformed>) {
        let bytes = unhex(hex);
        let read = next(&mut Reader::new(&bytes)).map(|e| (e.tag, e.body.len()));
        assert_eq!(read, expect, "{hex}");
    }

    #[test]
    fn lengths() {
        check("04 02 aabb", Ok((4, 2)));
        check("04 81 02 aabb", Ok((4, 2)));
        check("30 82 0002 aabb", Ok((0x30, 2)));
        check("04 03 aabb", Err(Malformed::Truncated));
        check("04 80 aabb", Err(Malformed::Limit));
        check("04 85 0000000001 aa", Err(Malformed::Limit));
        check("1f 81 00 00", Err(Malformed::Invalid));
        check("", Err(Malformed::Truncated));
    }
}
