//! The distinguished encoding (X.690 §10), read without copying and written.
//!
//! Signatures are over bytes as they were sent, so an element keeps its own.

use model::Timestamp;

/// Tags that are used here.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const NULL: u8 = 0x05;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    pub(crate) const PRINTABLE_STRING: u8 = 0x13;
    pub(crate) const IA5_STRING: u8 = 0x16;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;
    /// `[n]`, constructed.
    pub(crate) const fn context(n: u8) -> u8 {
        0xa0 | n
    }
}

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    /// Its contents.
    pub(crate) body: &'a [u8],
    /// The element itself, tag and length included.
    pub(crate) raw: &'a [u8],
}

impl<'a> Element<'a> {
    /// The element at the start of `bytes`, and what follows it.
    pub(crate) fn first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), &'static str> {
        let cut = "it ends too early";
        let (&tag, rest) = bytes.split_first().ok_or(cut)?;
        if tag & 0x1f == 0x1f {
            return Err("a tag of several bytes");
        }
        let (&short, rest) = rest.split_first().ok_or(cut)?;
        let (length, rest) = match short {
            0..=0x7f => (usize::from(short), rest),
            0x80 => return Err("an indefinite length; write DER, not BER"),
            0x81..=0x84 => {
                let (length, rest) = rest.split_at_checked(usize::from(short & 0x7f)).ok_or(cut)?;
                let number = length.iter().fold(0usize, |n, b| (n << 8) | usize::from(*b));
                if length.first() == Some(&0) || number < 0x80 {
                    return Err("a length that is longer than it needs to be");
                }
                (number, rest)
            }
            _ => return Err("a length of more than four bytes"),
        };
        let (body, rest) = rest.split_at_checked(length).ok_or(cut)?;
        let size = bytes.len().saturating_sub(rest.len());
        let raw = bytes.get(..size).ok_or(cut)?;
        Ok((Self { tag, body, raw }, rest))
    }

    /// The one element that `bytes` are.
    pub(crate) fn whole(bytes: &'a [u8], tag: u8) -> Result<Self, String> {
        let (element, rest) = Self::first(bytes).map_err(str::to_owned)?;
        match () {
            () if !rest.is_empty() => Err(format!("{} bytes follow it", rest.len())),
            () if element.tag != tag => {
                Err(format!("tag {:#04x} instead of {tag:#04x}", element.tag))
            }
            () => Ok(element),
        }
    }

    /// Its elements.
    pub(crate) fn parts(self) -> Result<Parts<'a>, String> {
        let mut parts = Vec::new();
        let mut rest = self.body;
        while !rest.is_empty() {
            if parts.len() == PARTS_MAX {
                return Err(format!("more than {PARTS_MAX} elements in one"));
            }
            let (part, after) = Self::first(rest).map_err(str::to_owned)?;
            parts.push(part);
            rest = after;
        }
        Ok(Parts { parts: parts.into_iter() })
    }

    /// A non-negative INTEGER without leading zero.
    pub(crate) fn unsigned(self) -> Option<&'a [u8]> {
        match (self.tag, self.body) {
            (tag::INTEGER, [0, rest @ ..]) if rest.first().is_some_and(|b| *b >= 0x80) => {
                Some(rest)
            }
            (tag::INTEGER, body @ [0..=0x7f, ..]) => Some(body),
            _ => None,
        }
    }

    /// A BIT STRING of whole bytes.
    pub(crate) fn bits(self) -> Option<&'a [u8]> {
        match (self.tag, self.body) {
            (tag::BIT_STRING, [0, bits @ ..]) => Some(bits),
            _ => None,
        }
    }
}

/// Elements in one that are looked at.
const PARTS_MAX: usize = 1_000;

/// Elements of a SEQUENCE, taken in order.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    parts: std::vec::IntoIter<Element<'a>>,
}

impl<'a> Parts<'a> {
    pub(crate) fn need(&mut self, tag: u8, what: &str) -> Result<Element<'a>, String> {
        self.optional(tag).ok_or_else(|| format!("it has no {what}"))
    }

    /// The next element, when it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        let next = self.parts.as_slice().first().filter(|e| e.tag == tag).copied()?;
        self.parts.next();
        Some(next)
    }

    pub(crate) fn end(mut self) -> Result<(), String> {
        match self.parts.next() {
            None => Ok(()),
            Some(more) => Err(format!("an element {:#04x} too many", more.tag)),
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        self.parts.next()
    }
}

/// An element around its parts.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = vec![tag];
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => bytes.push(short),
        _ => {
            let number = length.to_be_bytes();
            let zeros = number.iter().take_while(|b| **b == 0).count();
            let number = number.get(zeros..).unwrap_or_default();
            bytes.push(0x80 | u8::try_from(number.len()).unwrap_or_default());
            bytes.extend(number);
        }
    }
    parts.iter().for_each(|part| bytes.extend(*part));
    bytes
}

/// A SET OF, its elements in the order that the encoding asks for (X.690 §11.6).
pub(crate) fn set_of(tag: u8, mut elements: Vec<Vec<u8>>) -> Vec<u8> {
    elements.sort();
    let elements: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
    element(tag, &elements)
}

/// UTCTime up to 2049, then GeneralizedTime (RFC 5652 §11.3, RFC 5280 §4.1.2.5); whole seconds.
pub(crate) fn time(at: Timestamp) -> Result<Vec<u8>, String> {
    let text = at.to_string();
    let digits: String = text.chars().take(19).filter(char::is_ascii_digit).collect();
    let short = digits.get(2..).filter(|_| digits.len() == 14);
    let short = short.ok_or_else(|| format!("{text} is outside the years 1 to 9999"))?;
    Ok(match ("1950".."2050").contains(&digits.as_str()) {
        true => element(tag::UTC_TIME, &[short.as_bytes(), b"Z"]),
        false => element(tag::GENERALIZED_TIME, &[digits.as_bytes(), b"Z"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_both_ways() {
        for size in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let body = vec![7; size];
            let bytes = element(tag::OCTET_STRING, &[&body]);
            let read = Element::whole(&bytes, tag::OCTET_STRING).unwrap();
            assert_eq!((read.body, read.raw), (&body[..], &bytes[..]));
            for cut in [0, 1, bytes.len() - 1] {
                assert!(Element::whole(&bytes[..cut], tag::OCTET_STRING).is_err());
            }
        }
    }

    #[test]
    fn one_encoding_only() {
        for bytes in [
            &b"\x04\x81\x01x"[..],
            b"\x04\x82\x00\x80",
            b"\x30\x80\x00\x00",
            b"\x1f\x01\x00",
            b"\x04\x85\x00\x00\x00\x00\x00",
            b"\x04\x01xy",
        ] {
            assert!(Element::whole(bytes, bytes[0]).is_err(), "{bytes:x?}");
        }
        let number = |body: &[u8]| element(tag::INTEGER, &[body]);
        for (body, read) in
            [(&[5][..], Some(&[5][..])), (&[0, 0x80], Some(&[0x80])), (&[0x80], None), (&[], None)]
        {
            let bytes = number(body);
            assert_eq!(Element::whole(&bytes, tag::INTEGER).unwrap().unsigned(), read);
        }
    }

    #[test]
    fn sets_are_sorted() {
        let set = set_of(tag::SET, vec![vec![4, 1, 9], vec![4, 1, 3]]);
        assert_eq!(set, [0x31, 6, 4, 1, 3, 4, 1, 9]);
    }
}
