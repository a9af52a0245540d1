//! Numbers that are too long to count with: serial numbers of certificates, numbers of revocation lists.

use std::fmt;

use crate::der::{Element, element, tag};
use crate::{Certificate, Malformed};

/// A non-negative INTEGER of at most 20 bytes, its sign included (RFC 5280 §4.1.2.2 and §5.2.3). Compared as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number([u8; BYTES]);

const BYTES: usize = 20;

impl Number {
    /// From bytes, the highest first, with zeros before them or without.
    pub fn new(bytes: &[u8]) -> Result<Self, Malformed> {
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        let digits = bytes.get(zeros..).unwrap_or_default();
        let mut all = [0; BYTES];
        let start = BYTES.checked_sub(digits.len());
        if let Some(place) = start.and_then(|start| all.get_mut(start..)) {
            place.copy_from_slice(digits);
        }
        // The highest bit is the sign's.
        match start.is_some() && all.first().is_some_and(|b| *b < 0x80) {
            true => Ok(Self(all)),
            false => Err(Malformed::new("a serial number", "it has more than 20 bytes")),
        }
    }

    /// The serial number of a certificate.
    pub fn of(certificate: &Certificate) -> Result<Self, Malformed> {
        match certificate.serial() {
            [0x80..=0xff, ..] | [] => Err(Malformed::new("a serial number", "it is below zero")),
            serial => Self::new(serial),
        }
    }

    /// Its 20 bytes, the highest first.
    pub const fn bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    pub(crate) fn read(element: Element<'_>) -> Result<Self, String> {
        let body = element.body;
        // One number has one text: no zeros that it does not need (X.690 §8.3.2).
        let padded = matches!(body, [0, 0..=0x7f, ..]);
        match body {
            _ if element.tag != tag::INTEGER || padded => Err("a number in it is none".to_owned()),
            [] | [0x80..=0xff, ..] => Err("a number in it is below zero, or nothing".to_owned()),
            _ => Self::new(body).map_err(|_| "a number in it has more than 20 bytes".to_owned()),
        }
    }

    /// As an INTEGER.
    pub(crate) fn write(&self) -> Vec<u8> {
        element(tag::INTEGER, &[self.contents()])
    }

    /// Contents of its INTEGER.
    pub(crate) fn contents(&self) -> &[u8] {
        let zeros = self.0.iter().take_while(|b| **b == 0).count().min(BYTES - 1);
        let sign = self.0.get(zeros).is_some_and(|b| *b >= 0x80);
        self.0.get(zeros.saturating_sub(usize::from(sign))..).unwrap_or_default()
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        let mut all = [0; BYTES];
        let bytes = number.to_be_bytes();
        all.iter_mut().rev().zip(bytes.iter().rev()).for_each(|(to, from)| *to = *from);
        Self(all)
    }
}

impl From<[u8; 16]> for Number {
    fn from(bytes: [u8; 16]) -> Self {
        let mut all = [0; BYTES];
        all.iter_mut().rev().zip(bytes.iter().rev()).for_each(|(to, from)| *to = *from);
        Self(all)
    }
}

/// In hexadecimal, without zeros before it: `a5f0`.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits: String = self.0.iter().map(|b| format!("{b:02x}")).collect();
        let digits = digits.trim_start_matches('0');
        f.write_str(if digits.is_empty() { "0" } else { digits })
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_both_ways() {
        let longest = [&[0x7f][..], &[0xff; 19]].concat();
        for (bytes, contents, text) in [
            (&[][..], &[0][..], "0"),
            (&[0, 0], &[0], "0"),
            (&[5], &[5], "5"),
            (&[0, 0, 5], &[5], "5"),
            (&[0x80], &[0, 0x80], "80"),
            (&[1, 0], &[1, 0], "100"),
            (&longest, &longest, "7fffffffffffffffffffffffffffffffffffffff"),
        ] {
            let number = Number::new(bytes).unwrap();
            let written = number.write();
            assert_eq!(written[2..], *contents);
            assert_eq!(Number::read(Element::first(&written).unwrap().0), Ok(number));
            assert_eq!(number.to_string(), text);
        }
        for wrong in [&[0x80; 20][..], &[1; 21]] {
            assert!(Number::new(wrong).is_err());
        }
        for wrong in [&[0, 5][..], &[0, 0], &[], &[0x80], &[1; 21], &[0xff; 20]] {
            let bytes = element(tag::INTEGER, &[wrong]);
            assert!(Number::read(Element::first(&bytes).unwrap().0).is_err(), "{wrong:x?}");
        }
        assert!(Number::read(Element::first(&[4, 1, 5]).unwrap().0).is_err());
        assert_eq!(Number::from(0xa5f0_u64), Number::new(&[0xa5, 0xf0]).unwrap());
        assert_eq!(Number::from([0xff; 16]), Number::new(&[0xff; 16]).unwrap());
        assert!(Number::from(255) < Number::from(256) && Number::from(256) < Number::from([1; 16]));
    }
}
