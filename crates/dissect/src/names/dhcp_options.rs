//! The option fields of a DHCPv4 message (RFC 2132), joined as RFC 3396 says.

use std::borrow::Cow;

use crate::{Malformed, Reader};

/// Overload (RFC 2132 §9.3): the file and sname fields hold options too.
const OVERLOAD: u8 = 52;

/// All options of a message in the order of their first appearance.
#[derive(Debug, Default)]
pub(super) struct Options<'a> {
    entries: Vec<(u8, Cow<'a, [u8]>)>,
}

impl<'a> Options<'a> {
    /// Reads the options field, then file and sname where option 52 says so. What a snap length
    /// cut off is missing, the rest counts.
    pub(super) fn read(options: &'a [u8], file: &'a [u8], sname: &'a [u8]) -> Self {
        let mut all = Self::default();
        let _ = all.field(options);
        let overload = all.u8(OVERLOAD).unwrap_or_default();
        if overload & 1 != 0 {
            let _ = all.field(file);
        }
        if overload & 2 != 0 {
            let _ = all.field(sname);
        }
        all
    }

    fn field(&mut self, bytes: &'a [u8]) -> Result<(), Malformed> {
        let mut r = Reader::new(bytes);
        while let Ok(code) = r.u8() {
            match code {
                0 => {}
                255 => break,
                _ => {
                    let length = usize::from(r.u8()?);
                    let value = r.take(length)?;
                    self.push(code, value);
                }
            }
        }
        Ok(())
    }

    /// RFC 3396 §7: several instances of one option are one value. Clients that merely repeat
    /// themselves exist; a repetition adds nothing.
    fn push(&mut self, code: u8, value: &'a [u8]) {
        match self.entries.iter_mut().find(|(c, _)| *c == code) {
            Some((_, known)) if known.as_ref() == value => {}
            Some((_, known)) => known.to_mut().extend_from_slice(value),
            None => self.entries.push((code, Cow::Borrowed(value))),
        }
    }

    /// Value of an option; empty when absent.
    pub(super) fn get(&self, code: u8) -> &[u8] {
        let entry = self.entries.iter().find(|(c, _)| *c == code);
        entry.map(|(_, v)| v.as_ref()).unwrap_or_default()
    }

    /// Value of an option of one byte.
    pub(super) fn u8(&self, code: u8) -> Option<u8> {
        self.get(code).first().copied()
    }

    /// Value of an option of one IPv4 address.
    pub(super) fn ipv4(&self, code: u8) -> Option<std::net::Ipv4Addr> {
        Reader::new(self.get(code)).array::<4>().ok().map(Into::into)
    }

    /// Codes in order of first appearance.
    pub(super) fn order(&self) -> impl Iterator<Item = u8> + '_ {
        self.entries.iter().map(|(c, _)| *c)
    }
}

/// Numbers as `1,3,6`; at most 120 of them.
pub(super) fn comma_list(numbers: impl Iterator<Item = u16>) -> String {
    let words: Vec<String> = numbers.take(120).map(|n| n.to_string()).collect();
    words.join(",")
}

/// Sub-options of one byte code and one byte length, as in options 43 and 82. `None` unless the
/// bytes are exactly such a list.
pub(super) fn sub_options(bytes: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut r = Reader::new(bytes);
    let mut list = Vec::new();
    while let Ok(code) = r.u8() {
        match code {
            0 => {}
            255 => break,
            _ => {
                let length = usize::from(r.u8().ok()?);
                list.push((code, r.take(length).ok()?));
            }
        }
    }
    (!list.is_empty()).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_and_overload_is_followed() {
        // 60 "ab" in options, "cd" in file, "ef" in sname; 52 = 3 (both).
        let options = [52, 1, 3, 60, 2, b'a', b'b', 255];
        let file = [60, 2, b'c', b'd', 255, 9];
        let sname = [0, 60, 2, b'e', b'f', 12, 9, b'x'];
        let o = Options::read(&options, &file, &sname);
        assert_eq!(o.get(60), b"abcdef");
        assert_eq!(o.get(12), b"", "cut off");
        assert_eq!(o.order().collect::<Vec<_>>(), [52, 60]);
        // Without option 52, file is a file name.
        assert_eq!(Options::read(&options[3..], &file, &sname).get(60), b"ab");
    }

    #[test]
    fn a_mere_repetition_is_not_joined() {
        let o = [12, 1, b'a', 12, 1, b'a', 255];
        assert_eq!(Options::read(&o, &[], &[]).get(12), b"a");
    }

    #[test]
    fn sub_options_must_fit_exactly() {
        assert_eq!(sub_options(&[1, 1, 7, 2, 0]).unwrap().len(), 2);
        assert!(sub_options(&[1, 9, 7]).is_none());
        assert!(sub_options(b"").is_none());
    }
}
