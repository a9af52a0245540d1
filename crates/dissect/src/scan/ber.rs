//! ASN.1 in Basic Encoding Rules (ITU-T X.690), which include the distinguished ones: definite
//! lengths only.
//!
//! A constructed element that a snap length cut is given as far as it goes, so that the whole
//! elements inside can be read; a primitive one must be whole.

use std::fmt::Write as _;

use crate::{Malformed, Reader};

/// Identifier octets of universal types.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u32 = 0x01;
    pub(crate) const INTEGER: u32 = 0x02;
    pub(crate) const OCTET_STRING: u32 = 0x04;
    pub(crate) const OID: u32 = 0x06;
    pub(crate) const UTC_TIME: u32 = 0x17;
    pub(crate) const GENERALIZED_TIME: u32 = 0x18;
    pub(crate) const VISIBLE_STRING: u32 = 0x1a;
    pub(crate) const BMP_STRING: u32 = 0x1e;
    pub(crate) const SEQUENCE: u32 = 0x30;
    pub(crate) const SET: u32 = 0x31;
}

/// Arcs of one object identifier (SMIv2 allows 128, RFC 2578 §3.5).
const ARCS_MAX: usize = 128;
/// Elements looked at beside each other.
const SIBLINGS_MAX: usize = 256;

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// Identifier octets as a number, with class and constructed bit: `0x30`, `0xbf4d` for two.
    pub(crate) tag: u32,
    /// Contents octets.
    pub(crate) body: &'a [u8],
}

/// The next element.
pub(crate) fn element<'a>(r: &mut Reader<'a>) -> Result<Element<'a>, Malformed> {
    let Header { tag, constructed, length } = header(r)?;
    let body = if constructed { r.take_up_to(length) } else { r.take(length)? };
    Ok(Element { tag, body })
}

/// The contents of the next element, which must be whole and have this tag.
pub(crate) fn expect<'a>(r: &mut Reader<'a>, tag: u32) -> Result<&'a [u8], Malformed> {
    let header = header(r)?;
    let body = r.take(header.length)?;
    if header.tag == tag { Ok(body) } else { Err(Malformed::Invalid) }
}

/// The elements in `body`, up to the first that does not parse.
pub(crate) fn children(body: &[u8]) -> impl Iterator<Item = Element<'_>> {
    let mut r = Reader::new(body);
    std::iter::from_fn(move || if r.is_empty() { None } else { element(&mut r).ok() })
        .take(SIBLINGS_MAX)
}

/// The contents of the first element in `body` with this tag.
pub(crate) fn find(body: &[u8], tag: u32) -> Option<&[u8]> {
    children(body).find(|e| e.tag == tag).map(|e| e.body)
}

struct Header {
    tag: u32,
    constructed: bool,
    length: usize,
}

fn header(r: &mut Reader<'_>) -> Result<Header, Malformed> {
    let first = r.u8()?;
    let mut tag = u32::from(first);
    if first & 0x1f == 0x1f {
        // High tag numbers (X.690 §8.1.2.4): MMS needs one more octet, two are accepted.
        for further in 0.. {
            let next = r.u8()?;
            tag = tag << 8 | u32::from(next);
            match (next & 0x80, further) {
                (0, _) => break,
                (_, 0) => {}
                _ => return Err(Malformed::Limit),
            }
        }
    }
    let length = match r.u8()? {
        short @ 0..=0x7f => usize::from(short),
        long @ 0x81..=0x84 => {
            let octets = r.take(usize::from(long & 0x7f))?;
            octets.iter().fold(0, |n, b| n << 8 | usize::from(*b))
        }
        _ => return Err(Malformed::Invalid),
    };
    Ok(Header { tag, constructed: first & 0x20 != 0, length })
}

/// Value of a non-negative integer of up to 64 bits.
pub(crate) fn unsigned(body: &[u8]) -> Option<u64> {
    let significant = body.len() - body.iter().take_while(|b| **b == 0).count();
    (!body.is_empty() && significant <= 8).then(|| {
        body.iter().skip(body.len() - significant).fold(0, |n, b| (n << 8) | u64::from(*b))
    })
}

/// Arcs of an object identifier (X.690 §8.19).
pub(crate) fn oid(body: &[u8]) -> Result<Vec<u32>, Malformed> {
    let mut arcs = Vec::with_capacity(body.len().min(ARCS_MAX) + 1);
    let mut arc = 0u32;
    let mut open = false;
    for byte in body {
        if arc >> 25 != 0 || arcs.len() >= ARCS_MAX {
            return Err(Malformed::Limit);
        }
        arc = (arc << 7) | u32::from(byte & 0x7f);
        open = byte & 0x80 != 0;
        if !open {
            if arcs.is_empty() {
                let root = (arc / 40).min(2);
                arcs.push(root);
                arc -= root * 40;
            }
            arcs.push(arc);
            arc = 0;
        }
    }
    if open { Err(Malformed::Truncated) } else { Ok(arcs) }
}

/// An object identifier as people write it: `1.3.6.1`.
pub(crate) fn dotted(arcs: &[u32]) -> String {
    let mut text = String::with_capacity(arcs.len() * 4);
    for (i, arc) in arcs.iter().enumerate() {
        if i > 0 {
            text.push('.');
        }
        // Most arcs have one digit.
        match char::from_digit(*arc, 10) {
            Some(digit) => text.push(digit),
            None => {
                let _ = write!(text, "{arc}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unhex;

    #[test]
    fn lengths_and_tags() {
        let check = |hex: &str, expect: Result<(u32, usize), Malformed>| {
            let bytes = unhex(hex);
            let got = element(&mut Reader::new(&bytes)).map(|e| (e.tag, e.body.len()));
            assert_eq!(got, expect, "{hex}");
        };
        check("02 01 05", Ok((2, 1)));
        check("04 81 02 aabb", Ok((4, 2)));
        check("30 82 0002 aabb", Ok((0x30, 2)));
        check("04 83 000001 aa", Ok((4, 1)));
        check("bf4d 00", Ok((0xbf4d, 0)));
        check("1f8101 00", Ok((0x1f_8101, 0)));
        // Cut by a snap length.
        check("30 05 01", Ok((0x30, 1)));
        check("04 82 0100 aa", Err(Malformed::Truncated));
        check("30 80 0000", Err(Malformed::Invalid)); // indefinite
        check("04 85 0000000001 aa", Err(Malformed::Invalid));
        check("1f 818101 00", Err(Malformed::Limit));
        check("30", Err(Malformed::Truncated));
        check("", Err(Malformed::Truncated));
        let cut = unhex("30 05 01");
        assert_eq!(expect(&mut Reader::new(&cut), tag::SEQUENCE), Err(Malformed::Truncated));
    }

    #[test]
    fn siblings() {
        assert_eq!(find(&[2, 1, 7, 4, 1, 8], 4), Some(&[8u8][..]));
        assert_eq!(children(&[2, 1, 7, 4, 9, 8]).count(), 1);
        assert_eq!(children(&[5, 0].repeat(1000)).count(), SIBLINGS_MAX);
    }

    #[test]
    fn object_identifiers() {
        let check = |hex: &str, expect: Result<&str, Malformed>| {
            let got = oid(&unhex(hex)).map(|arcs| dotted(&arcs));
            assert_eq!(got, expect.map(str::to_owned), "{hex}");
        };
        check("2b 06 01 04 01 bf08 03 02 0a", Ok("1.3.6.1.4.1.8072.3.2.10"));
        check("28 c462 01", Ok("1.0.8802.1"));
        check("88 37 03", Ok("2.999.3"));
        check("", Ok(""));
        check("2b 86", Err(Malformed::Truncated));
        check("2b ffffffffff7f", Err(Malformed::Limit));
    }

    #[test]
    fn integers() {
        assert_eq!(unsigned(&unhex("00ff")), Some(255));
        assert_eq!(unsigned(&unhex("00 ffffffffffffffff")), Some(u64::MAX));
        assert_eq!(unsigned(&unhex("01 ffffffffffffffff")), None);
        assert_eq!(unsigned(&[]), None);
    }
}
