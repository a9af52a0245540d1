//! Basic Encoding Rules (ITU-T X.690), as much as SNMP and LDAP need: definite lengths, low tags.


use crate::{Malformed, Reader};

/// Universal INTEGER.
pub(crate) const INTEGER: u8 = 0x02;
/// Universal OCTET STRING.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// Universal OBJECT IDENTIFIER.
pub(crate) const OID: u8 = 0x06;
/// Universal SEQUENCE.
pub(crate) const SEQUENCE: u8 = 0x30;

/// Arcs of one object identifier (SMIv2 allows 128, RFC 2578 §3.5).
const ARCS_MAX: usize = 128;

/// One element: identifier octet and contents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tlv<'a> {
    /// Identifier octet, with class and constructed bit.
    pub(crate) tag: u8,
    /// Contents octets.
    pub(crate) body: &'a [u8],
}

/// The next element, complete.
pub(crate) fn tlv<'a>(r: &mut Reader<'a>) -> Result<Tlv<'a>, Malformed> {
    let (tag, length) = header(r)?;
    let body = r.take(length)?;
    Ok(Tlv { tag, body })
}

/// The next element, which must have this tag.
pub(crate) fn expect<'a>(r: &mut Reader<'a>, tag: u8) -> Result<&'a [u8], Malformed> {
    let element = tlv(r)?;
    if element.tag == tag { Ok(element.body) } else { Err(Malformed::Invalid) }
}

/// The contents of a container, or what a snap length left of them.
pub(crate) fn container<'a>(r: &mut Reader<'a>) -> Result<Tlv<'a>, Malformed> {
    let (tag, length) = header(r)?;
    let body = r.take_up_to(length);
    Ok(Tlv { tag, body })
}

fn header(r: &mut Reader<'_>) -> Result<(u8, usize), Malformed> {
    let tag = r.u8()?;
    if tag & 0x1f == 0x1f {
        return Err(Malformed::Limit);
    }
    let first = r.u8()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        0x81..=0x84 => {
            let octets = r.take(usize::from(first & 0x7f))?;
            octets.iter().fold(0, |n, b| (n << 8) | usize::from(*b))
        }
        _ => return Err(Malformed::Invalid),
    };
    Ok((tag, length))
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
    let mut text = String::with_capacity(arcs.len() * 3);
    for (i, arc) in arcs.iter().enumerate() {
        if i > 0 {
            text.push('.');
        }
        push_decimal(&mut text, *arc);
    }
    text
}

/// Traps repeat object identifiers by the dozen; formatting each arc would be half of their cost.
fn push_decimal(text: &mut String, n: u32) {
    if n >= 10 {
        push_decimal(text, n / 10);
    }
    text.extend(char::from_digit(n % 10, 10));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unhex;

    #[test]
    fn lengths_short_long_cut_and_forbidden() {
        let check = |hex: &str, expect: Result<(u8, usize), Malformed>| {
            let bytes = unhex(hex);
            let got = tlv(&mut Reader::new(&bytes)).map(|t| (t.tag, t.body.len()));
            assert_eq!(got, expect, "{hex}");
        };
        check("02 01 05", Ok((2, 1)));
        check("04 81 02 aa bb", Ok((4, 2)));
        check("04 83 000001 aa", Ok((4, 1)));
        check("04 82 0100 aa", Err(Malformed::Truncated));
        check("30 80 0000", Err(Malformed::Invalid)); // indefinite
        check("04 85 0000000001 aa", Err(Malformed::Invalid));
        check("1f 81 01 00", Err(Malformed::Limit)); // high tag number
        check("04", Err(Malformed::Truncated));
        let cut = unhex("30 82 0100 aabb");
        assert_eq!(container(&mut Reader::new(&cut)).unwrap().body.len(), 2);
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
