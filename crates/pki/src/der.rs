//! The distinguished encoding (X.690 §10), read without copying and written.
//!
//! Signatures are over bytes as they were sent, so an element keeps its own.

use model::Timestamp;
use x509_cert::spki::ObjectIdentifier as Oid;

/// Tags that are used here.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const NULL: u8 = 0x05;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const ENUMERATED: u8 = 0x0a;
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

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.as_slice().is_empty()
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

/// Bytes of a tag and a length.
const HEAD_MAX: usize = 10;

/// An element around its parts.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(length.saturating_add(HEAD_MAX));
    bytes.push(tag);
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

/// Elements taken one after the other, however many there are. [`Parts`] has a bound, and this has what the caller sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Each<'a> {
    rest: &'a [u8],
}

impl<'a> Each<'a> {
    pub(crate) const fn of(element: Element<'a>) -> Self {
        Self { rest: element.body }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, when it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, String> {
        if self.rest.first() != Some(&tag) {
            return Ok(None);
        }
        let (element, rest) = Element::first(self.rest).map_err(str::to_owned)?;
        self.rest = rest;
        Ok(Some(element))
    }

    pub(crate) fn need(&mut self, tag: u8, what: &str) -> Result<Element<'a>, String> {
        self.optional(tag)?.ok_or_else(|| format!("it has no {what}"))
    }

    pub(crate) fn end(self) -> Result<(), String> {
        match self.rest.first() {
            None => Ok(()),
            Some(tag) => Err(format!("an element {tag:#04x} too many")),
        }
    }
}

/// One Extension (RFC 5280 §4.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extension<'a> {
    /// Contents of its name.
    pub(crate) kind: &'a [u8],
    pub(crate) critical: bool,
    /// What is in its OCTET STRING.
    pub(crate) value: &'a [u8],
}

impl<'a> Extension<'a> {
    /// Every one of Extensions. None stands twice (RFC 5280 §4.2).
    pub(crate) fn all(extensions: Element<'a>) -> Result<Vec<Self>, String> {
        let mut all: Vec<Self> = Vec::new();
        let mut each = Each::of(extensions);
        while !each.is_empty() {
            let one = Self::read(each.need(tag::SEQUENCE, "extension")?)?;
            if all.iter().any(|other| other.kind == one.kind) {
                return Err("an extension stands in it twice".to_owned());
            }
            if all.len() == EXTENSIONS_MAX {
                return Err(format!("more than {EXTENSIONS_MAX} extensions"));
            }
            all.push(one);
        }
        Ok(all)
    }

    fn read(element: Element<'a>) -> Result<Self, String> {
        let mut parts = Each::of(element);
        let kind = parts.need(tag::OID, "name of an extension")?.body;
        let critical = match parts.optional(tag::BOOLEAN)?.map(|e| e.body) {
            None => false,
            Some([0xff]) => true,
            // `DEFAULT FALSE` is left out (X.690 §11.5).
            Some(_) => return Err("an extension is neither critical nor not".to_owned()),
        };
        let value = parts.need(tag::OCTET_STRING, "value of an extension")?.body;
        parts.end()?;
        Ok(Self { kind, critical, value })
    }

    /// Its name for people.
    pub(crate) fn name(&self) -> String {
        Oid::from_bytes(self.kind).map_or_else(|_| "?".to_owned(), |oid| oid.to_string())
    }
}

/// Extensions of one thing that are looked at.
const EXTENSIONS_MAX: usize = 64;

/// UTCTime up to 2049, then GeneralizedTime (RFC 5652 §11.3, RFC 5280 §4.1.2.5); whole seconds.
pub(crate) fn time(at: Timestamp) -> Result<Vec<u8>, String> {
    let digits = digits(at)?;
    Ok(match (b"1950".as_slice()..b"2050").contains(&digits.get(..4).unwrap_or_default()) {
        true => element(tag::UTC_TIME, &[digits.get(2..).unwrap_or_default(), b"Z"]),
        false => element(tag::GENERALIZED_TIME, &[&digits, b"Z"]),
    })
}

/// GeneralizedTime, whatever the year; whole seconds.
pub(crate) fn general_time(at: Timestamp) -> Result<Vec<u8>, String> {
    Ok(element(tag::GENERALIZED_TIME, &[&digits(at)?, b"Z"]))
}

/// `YYYYMMDDHHMMSS`. Lists of revoked certificates have one for every entry, so no formatter is asked.
fn digits(at: Timestamp) -> Result<[u8; 14], String> {
    let seconds = at.as_nanos().div_euclid(1_000_000_000);
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, date) = civil(day);
    let pairs =
        [year / 100, year % 100, month, date, second / 3_600, second / 60 % 60, second % 60];
    let mut digits = [0; 14];
    for (two, pair) in digits.chunks_exact_mut(2).zip(pairs) {
        let wrong = || format!("{at} is outside the years 0 to 9999");
        let pair = u8::try_from(pair).ok().filter(|n| *n < 100).ok_or_else(wrong)?;
        two.copy_from_slice(&[b'0' + pair / 10, b'0' + pair % 10]);
    }
    Ok(digits)
}

/// Days since 1970-01-01 as year, month and day of the Gregorian calendar. Years begin in March here, so that a leap day is the
/// last one; 400 of them have 146,097 days.
const fn civil(day: i64) -> (i64, i64, i64) {
    let since = day.saturating_add(719_468);
    let (era, day) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + 400 * era + next, month, date)
}

/// The other way round.
const fn days(year: i64, month: i64, date: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day = (153 * month + 2) / 5 + date - 1;
    146_097 * era + 365 * year + year / 4 - year / 100 + day - 719_468
}

/// From UTCTime or GeneralizedTime in whole seconds of UTC (RFC 5280 §4.1.2.5). Years after 2261 are the latest instant there is.
pub(crate) fn instant(value: Element<'_>) -> Result<Timestamp, String> {
    let wrong = || "a time in it is not understood".to_owned();
    let (century, rest) = match (value.tag, value.body) {
        // 50 and above are the last century.
        (tag::UTC_TIME, rest @ [b'5'..=b'9', ..]) => (19, rest),
        (tag::UTC_TIME, rest) => (20, rest),
        (tag::GENERALIZED_TIME, [a @ b'0'..=b'9', b @ b'0'..=b'9', rest @ ..]) => {
            (i64::from(a - b'0') * 10 + i64::from(b - b'0'), rest)
        }
        _ => return Err(wrong()),
    };
    let Some(pairs) = rest.strip_suffix(b"Z").filter(|pairs| pairs.len() == 12) else {
        return Err(wrong());
    };
    let mut numbers = [0; 6];
    for (number, two) in numbers.iter_mut().zip(pairs.chunks_exact(2)) {
        let [a @ b'0'..=b'9', b @ b'0'..=b'9'] = two else {
            return Err(wrong());
        };
        *number = i64::from(a - b'0') * 10 + i64::from(b - b'0');
    }
    let [year, month, date, hour, minute, second] = numbers;
    let day = days(100 * century + year, month, date);
    // A date that is none comes back as another one.
    let same = (1..=12).contains(&month) && civil(day) == (100 * century + year, month, date);
    match same && hour < 24 && minute < 60 && second < 60 {
        true => Ok(Timestamp::from_secs(day * 86_400 + hour * 3_600 + minute * 60 + second, 0)),
        false => Err(wrong()),
    }
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
    fn times_both_ways() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (text, der) in [
            ("1970-01-01T00:00:00Z", "700101000000Z"),
            ("1950-01-01T00:00:00Z", "500101000000Z"),
            ("2000-02-29T23:59:59Z", "000229235959Z"),
            ("2049-12-31T23:59:59Z", "491231235959Z"),
            ("2050-01-01T00:00:00Z", "20500101000000Z"),
            ("1949-12-31T23:59:59Z", "19491231235959Z"),
            ("1700-03-01T01:02:03Z", "17000301010203Z"),
            ("2261-12-31T12:00:00Z", "22611231120000Z"),
        ] {
            let bytes = time(at(text)).unwrap();
            assert_eq!(&bytes[2..], der.as_bytes());
            let read = Element::first(&bytes).unwrap().0;
            assert_eq!(instant(read), Ok(at(text)));
            let general = general_time(at(text)).unwrap();
            assert_eq!(instant(Element::first(&general).unwrap().0), Ok(at(text)), "{text}");
        }
        // Every day of four hundred years and more, against another calendar.
        for day in -100_000..105_000 {
            let at = Timestamp::from_secs(day * 86_400 + 86_399, 0);
            let text: String = at.to_string().chars().filter(char::is_ascii_digit).collect();
            assert_eq!(&digits(at).unwrap()[..], &text.as_bytes()[..14]);
            let bytes = general_time(at).unwrap();
            assert_eq!(instant(Element::first(&bytes).unwrap().0), Ok(at));
        }
        let latest = element(tag::GENERALIZED_TIME, &[b"99991231235959Z"]);
        assert_eq!(instant(Element::first(&latest).unwrap().0), Ok(Timestamp::MAX));
        for wrong in [
            "260229000000Z",
            "261301000000Z",
            "260001000000Z",
            "260100000000Z",
            "260101240000Z",
            "260101006000Z",
            "260101000060Z",
            "2601010000Z",
            "260101000000",
            "260101000000+0000",
            "2601010000.0Z",
            "26 101000000Z",
            "",
            "Z",
        ] {
            let bytes = element(tag::UTC_TIME, &[wrong.as_bytes()]);
            assert!(instant(Element::first(&bytes).unwrap().0).is_err(), "{wrong}");
        }
    }

    #[test]
    fn extensions_have_one_form() {
        let name = [tag::OID, 1, 0x2a];
        let value = [tag::OCTET_STRING, 1, 7];
        let read = |parts: &[&[u8]]| {
            let one = element(tag::SEQUENCE, parts);
            let all = element(tag::SEQUENCE, &[&one]);
            let all = Element::whole(&all, tag::SEQUENCE)?;
            Extension::all(all)
                .map(|e| e.iter().map(|e| (e.critical, e.value[0])).collect::<Vec<_>>())
        };
        assert_eq!(read(&[&name, &value]), Ok(vec![(false, 7)]));
        assert_eq!(read(&[&name, &[1, 1, 0xff], &value]), Ok(vec![(true, 7)]));
        for wrong in [
            &[&name[..]][..],
            &[&value],
            &[&name, &[1, 1, 0], &value],
            &[&name, &[1, 1, 1], &value],
            &[&name, &[1, 0], &value],
            &[&name, &value, &value],
        ] {
            assert!(read(wrong).is_err(), "{wrong:x?}");
        }
        let one = element(tag::SEQUENCE, &[&name, &value]);
        let twice = element(tag::SEQUENCE, &[&one, &one]);
        assert!(Extension::all(Element::whole(&twice, tag::SEQUENCE).unwrap()).is_err());
        let many = |n: u8| {
            let one = |k| element(tag::SEQUENCE, &[&[tag::OID, 1, k], &value]);
            let all: Vec<Vec<u8>> = (0..n).map(one).collect();
            let all = element(tag::SEQUENCE, &all.iter().map(Vec::as_slice).collect::<Vec<_>>());
            Extension::all(Element::whole(&all, tag::SEQUENCE).unwrap()).map(|all| all.len())
        };
        assert_eq!(many(64), Ok(EXTENSIONS_MAX));
        assert!(many(65).is_err());
    }

    #[test]
    fn sets_are_sorted() {
        let set = set_of(tag::SET, vec![vec![4, 1, 9], vec![4, 1, 3]]);
        assert_eq!(set, [0x31, 6, 4, 1, 3, 4, 1, 9]);
    }
}
