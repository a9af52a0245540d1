//! The part of CBOR (RFC 8949) that entries are written in: integers, byte and text strings, arrays, each in its
//! shortest form (§4.2.1). Everything else is refused, so that a value has one byte string.

use crate::Malformed;

/// Major types (RFC 8949 §3.1).
mod major {
    pub(super) const UNSIGNED: u8 = 0;
    pub(super) const NEGATIVE: u8 = 1;
    pub(super) const BYTES: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const ARRAY: u8 = 4;
}

/// Writes items one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn array(&mut self, items: usize) {
        self.head(major::ARRAY, as_u64(items));
    }

    pub(crate) fn unsigned(&mut self, n: u64) {
        self.head(major::UNSIGNED, n);
    }

    pub(crate) fn integer(&mut self, n: i64) {
        match u64::try_from(n) {
            Ok(n) => self.head(major::UNSIGNED, n),
            // −1 − n, which fits whatever n is.
            Err(_) => self.head(major::NEGATIVE, !n.cast_unsigned()),
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.head(major::BYTES, as_u64(bytes.len()));
        self.0.extend(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.head(major::TEXT, as_u64(text.len()));
        self.0.extend(text.as_bytes());
    }

    fn head(&mut self, major: u8, n: u64) {
        let major = major << 5;
        if let Ok(n) = u8::try_from(n) {
            match n {
                0..24 => self.0.push(major | n),
                _ => self.0.extend([major | 24, n]),
            }
        } else if let Ok(n) = u16::try_from(n) {
            self.0.push(major | 25);
            self.0.extend(n.to_be_bytes());
        } else if let Ok(n) = u32::try_from(n) {
            self.0.push(major | 26);
            self.0.extend(n.to_be_bytes());
        } else {
            self.0.push(major | 27);
            self.0.extend(n.to_be_bytes());
        }
    }
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Reads items one behind the other and knows where it is.
pub(crate) struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes, at: 0 }
    }

    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Something is wrong with what begins at `at`.
    pub(crate) fn wrong(&self, at: usize, why: impl Into<String>) -> Malformed {
        Malformed::new(self.what, at, why)
    }

    /// Nothing is behind the last item.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        let left = self.bytes.len() - self.at;
        match left {
            0 => Ok(()),
            _ => Err(self.wrong(self.at, format!("{left} bytes behind its end"))),
        }
    }

    pub(crate) fn array(&mut self, name: &str, items_max: usize) -> Result<usize, Malformed> {
        self.length(major::ARRAY, "an array", name, items_max)
    }

    pub(crate) fn unsigned(&mut self, name: &str) -> Result<u64, Malformed> {
        let at = self.at;
        match self.head(name)? {
            (major::UNSIGNED, n) => Ok(n),
            (other, _) => Err(self.other(at, name, "an unsigned integer", other)),
        }
    }

    pub(crate) fn integer(&mut self, name: &str) -> Result<i64, Malformed> {
        let at = self.at;
        let (negative, n) = match self.head(name)? {
            (major::UNSIGNED, n) => (false, n),
            (major::NEGATIVE, n) => (true, n),
            (other, _) => return Err(self.other(at, name, "an integer", other)),
        };
        let n = i64::try_from(n)
            .map_err(|_| self.wrong(at, format!("{name} is outside of 64 signed bits")))?;
        Ok(if negative { !n } else { n })
    }

    pub(crate) fn bytes(&mut self, name: &str, bytes_max: usize) -> Result<&'a [u8], Malformed> {
        let length = self.length(major::BYTES, "a byte string", name, bytes_max)?;
        self.take(name, length)
    }

    pub(crate) fn text(&mut self, name: &str, bytes_max: usize) -> Result<&'a str, Malformed> {
        let length = self.length(major::TEXT, "a text string", name, bytes_max)?;
        let at = self.at;
        let bytes = self.take(name, length)?;
        std::str::from_utf8(bytes)
            .map_err(|e| self.wrong(at + e.valid_up_to(), format!("{name} is not UTF-8")))
    }

    fn length(
        &mut self,
        major: u8,
        kind: &str,
        name: &str,
        max: usize,
    ) -> Result<usize, Malformed> {
        let at = self.at;
        let (found, n) = self.head(name)?;
        if found != major {
            return Err(self.other(at, name, kind, found));
        }
        let n = usize::try_from(n).ok().filter(|n| *n <= max);
        n.ok_or_else(|| self.wrong(at, format!("{name} is longer than {max}")))
    }

    fn take(&mut self, name: &str, length: usize) -> Result<&'a [u8], Malformed> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some((taken, _)) = rest.split_at_checked(length) else {
            return Err(self.cut(name));
        };
        self.at += length;
        Ok(taken)
    }

    /// Major type and argument, in the shortest form (RFC 8949 §4.2.1).
    fn head(&mut self, name: &str) -> Result<(u8, u64), Malformed> {
        let at = self.at;
        let first = *self.bytes.get(at).ok_or_else(|| self.cut(name))?;
        let (major, info) = (first >> 5, first & 0x1f);
        let length = match info {
            0..24 => 0,
            24..28 => 1_usize << (info - 24),
            31 => return Err(self.wrong(at, format!("{name} has no definite length"))),
            _ => return Err(self.wrong(at, format!("{name} begins with {first:#04x}"))),
        };
        self.at += 1;
        let argument = self.take(name, length)?;
        let n = match length {
            0 => u64::from(info),
            _ => argument.iter().fold(0, |n, b| n << 8 | u64::from(*b)),
        };
        // The smallest number that needs as many bytes.
        let least = match length {
            0 => 0,
            1 => 24,
            _ => 1_u64 << (4 * length),
        };
        if n < least {
            return Err(self.wrong(at, format!("{name} is not in its shortest form")));
        }
        Ok((major, n))
    }

    fn cut(&self, name: &str) -> Malformed {
        self.wrong(self.bytes.len(), format!("it is cut short in {name}"))
    }

    fn other(&self, at: usize, name: &str, expected: &str, major: u8) -> Malformed {
        self.wrong(at, format!("{name} is {expected}, not of major type {major}"))
    }
}
