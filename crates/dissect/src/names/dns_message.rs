//! Messages of the DNS family (RFC 1035 §4): DNS, mDNS, LLMNR and NetBIOS name service share it.

use std::net::IpAddr;

use model::limits::DEPTH_MAX;

use crate::{Malformed, Reader, text};

/// Questions and records read from one message.
const RECORDS_MAX: usize = 256;

/// Record types.
pub(super) mod kind {
    pub(in crate::names) const A: u16 = 1;
    pub(in crate::names) const CNAME: u16 = 5;
    pub(in crate::names) const PTR: u16 = 12;
    pub(in crate::names) const HINFO: u16 = 13;
    pub(in crate::names) const TXT: u16 = 16;
    pub(in crate::names) const AAAA: u16 = 28;
    pub(in crate::names) const NB: u16 = 32;
    pub(in crate::names) const SRV: u16 = 33;
    /// Node status of NetBIOS; the number is that of SRV, the class and port tell them apart.
    pub(in crate::names) const NBSTAT: u16 = 33;
    pub(in crate::names) const OPT: u16 = 41;
    pub(in crate::names) const ANY: u16 = 255;
}

/// Part of a message a record stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Answer,
    Authority,
    Additional,
}

/// A domain name: its labels as they stand in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub(super) labels: Labels<'a>,
}

/// Labels of a name. Most have few, and those need no memory of their own.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels<'a> {
    few: [&'a [u8]; 6],
    count: usize,
    /// All of them, where they are more.
    many: Vec<&'a [u8]>,
}

impl<'a> Labels<'a> {
    fn push(&mut self, label: &'a [u8]) {
        match self.few.get_mut(self.count) {
            Some(place) => *place = label,
            None if self.many.is_empty() => {
                self.many.extend(self.few);
                self.many.push(label);
            }
            None => self.many.push(label),
        }
        self.count += 1;
    }
}

impl<'a> std::ops::Deref for Labels<'a> {
    type Target = [&'a [u8]];

    fn deref(&self) -> &Self::Target {
        self.few.get(..self.count).unwrap_or(&self.many)
    }
}

impl PartialEq for Labels<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Labels<'_> {}

/// A question.
#[derive(Clone, Debug)]
pub(super) struct Question<'a> {
    pub(super) name: Name<'a>,
    pub(super) kind: u16,
    pub(super) class: u16,
}

/// A resource record.
#[derive(Clone, Debug)]
pub(super) struct Record<'a> {
    pub(super) section: Section,
    pub(super) name: Name<'a>,
    pub(super) kind: u16,
    pub(super) ttl: u32,
    pub(super) data: &'a [u8],
    /// Where `data` stands in the message, for compressed names inside it.
    data_at: usize,
}

/// A message, or what a snap length left of it.
#[derive(Clone, Debug)]
pub(super) struct Message<'a> {
    bytes: &'a [u8],
    flags: u16,
    pub(super) questions: Vec<Question<'a>>,
    pub(super) records: Vec<Record<'a>>,
}

impl<'a> Message<'a> {
    /// Reads as much as makes sense. Fails only when the header or the first question or record
    /// does not.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        r.skip(2)?;
        let flags = r.u16_be()?;
        let counts = [r.u16_be()?, r.u16_be()?, r.u16_be()?, r.u16_be()?];
        let mut message = Self { bytes, flags, questions: Vec::new(), records: Vec::new() };
        if counts.iter().all(|n| *n == 0) {
            return Err(Malformed::NotMine);
        }
        match message.read_sections(counts) {
            Err(e) if message.questions.is_empty() && message.records.is_empty() => Err(e),
            _ => Ok(message),
        }
    }

    fn read_sections(&mut self, counts: [u16; 4]) -> Result<(), Malformed> {
        let [questions, answers, authorities, additionals] = counts.map(usize::from);
        // A record has at least eleven bytes: what a message claims beyond that is not there.
        let there = (answers + authorities + additionals).min(self.bytes.len() / 11);
        self.records.reserve_exact(there.min(RECORDS_MAX));
        let mut at = 12;
        for _ in 0..questions.min(RECORDS_MAX) {
            let (name, end) = name(self.bytes, at)?;
            let mut r = Reader::new(self.bytes.get(end..).unwrap_or_default());
            let (kind, class) = (r.u16_be()?, r.u16_be()?);
            at = end + 4;
            self.questions.push(Question { name, kind, class });
        }
        for (section, count) in [
            (Section::Answer, answers),
            (Section::Authority, authorities),
            (Section::Additional, additionals),
        ] {
            for _ in 0..count {
                if self.records.len() >= RECORDS_MAX {
                    return Err(Malformed::Limit);
                }
                let (name, end) = name(self.bytes, at)?;
                let mut r = Reader::new(self.bytes.get(end..).unwrap_or_default());
                let (kind, _class, ttl) = (r.u16_be()?, r.u16_be()?, r.u32_be()?);
                let length = usize::from(r.u16_be()?);
                let data = r.take(length)?;
                let data_at = end + 10;
                at = data_at + length;
                self.records.push(Record { section, name, kind, ttl, data, data_at });
            }
        }
        Ok(())
    }

    /// QR bit.
    pub(super) fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    /// Kind of query.
    pub(super) fn opcode(&self) -> u16 {
        (self.flags >> 11) & 0xf
    }

    /// Response code.
    pub(super) fn rcode(&self) -> u16 {
        self.flags & 0xf
    }

    /// The name in a record's data, `skip` bytes into it (0 for PTR and CNAME, 6 for SRV).
    pub(super) fn name_in(&self, record: &Record<'a>, skip: usize) -> Option<Name<'a>> {
        if record.data.len() <= skip {
            return None;
        }
        name(self.bytes, record.data_at + skip).ok().map(|(n, _)| n)
    }
}

impl Record<'_> {
    /// Address in an A or AAAA record.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self.kind {
            kind::A => <[u8; 4]>::try_from(self.data).ok().map(IpAddr::from),
            kind::AAAA => <[u8; 16]>::try_from(self.data).ok().map(IpAddr::from),
            _ => None,
        }
    }
}

impl<'a> Name<'a> {
    /// For people: labels joined by dots, without the final one.
    pub(super) fn text(&self) -> String {
        join(&self.labels)
    }

    /// For comparison: as `text`, in lower case (RFC 4343).
    pub(super) fn lower(&self) -> String {
        let mut name = self.text();
        if name.is_ascii() {
            name.make_ascii_lowercase();
            return name;
        }
        name.to_lowercase()
    }

    /// The same name (RFC 4343).
    pub(super) fn is(&self, other: &Name<'_>) -> bool {
        self.labels.len() == other.labels.len()
            && self.labels.iter().zip(&*other.labels).all(|(a, b)| a.eq_ignore_ascii_case(b))
    }

    /// The part before `.local`, when the name ends so.
    pub(super) fn local(&self) -> Option<&[&'a [u8]]> {
        let (last, rest) = self.labels.split_last()?;
        last.eq_ignore_ascii_case(b"local").then_some(rest)
    }

    /// A reverse look-up.
    pub(super) fn is_reverse(&self) -> bool {
        self.labels.last().is_some_and(|l| l.eq_ignore_ascii_case(b"arpa"))
    }
}

/// Labels joined by dots, safe to print.
pub(super) fn join(labels: &[&[u8]]) -> String {
    let mut name = String::with_capacity(labels.iter().map(|label| label.len() + 1).sum());
    for (n, label) in labels.iter().enumerate() {
        if n > 0 {
            name.push('.');
        }
        name.push_str(&text::clean(label));
    }
    name
}

/// A name and where it ends. Compression pointers must point backwards, further each time, and
/// a bounded number of times, so that every name ends (RFC 1035 §4.1.4, RFC 9267).
pub(super) fn name(bytes: &[u8], at: usize) -> Result<(Name<'_>, usize), Malformed> {
    let mut labels = Labels::default();
    let (mut position, mut floor, mut length, mut jumps) = (at, at, 0usize, 0usize);
    let mut end = None;
    loop {
        let head = usize::from(*bytes.get(position).ok_or(Malformed::Truncated)?);
        match head & 0xc0 {
            0 if head == 0 => {
                let end = end.unwrap_or(position + 1);
                return Ok((Name { labels }, end));
            }
            0 => {
                let start = position + 1;
                position = start + head;
                length += head + 1;
                if length > 255 {
                    return Err(Malformed::Limit);
                }
                labels.push(bytes.get(start..position).ok_or(Malformed::Truncated)?);
            }
            0xc0 => {
                let low = *bytes.get(position + 1).ok_or(Malformed::Truncated)?;
                let target = ((head & 0x3f) << 8) | usize::from(low);
                end = end.or(Some(position + 2));
                jumps += 1;
                if target >= floor || jumps > DEPTH_MAX {
                    return Err(Malformed::Invalid);
                }
                (floor, position) = (target, target);
            }
            _ => return Err(Malformed::Invalid),
        }
    }
}

/// Builds messages for the tests of this family.
#[cfg(test)]
pub(super) mod build {
    /// A name on the wire; `\.` inside a label is not supported, a dot separates.
    pub(in crate::names) fn name(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for label in text.split('.').filter(|l| !l.is_empty()) {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes
    }

    /// A message: flags, questions, records of the three sections.
    pub(in crate::names) fn message(
        flags: u16,
        questions: &[Vec<u8>],
        sections: [&[Vec<u8>]; 3],
    ) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        bytes.extend(flags.to_be_bytes());
        for count in [questions.len(), sections[0].len(), sections[1].len(), sections[2].len()] {
            bytes.extend(u16::try_from(count).unwrap().to_be_bytes());
        }
        bytes.extend(questions.concat());
        bytes.extend(sections.map(<[Vec<u8>]>::concat).concat());
        bytes
    }

    /// A question of class IN.
    pub(in crate::names) fn question(of: &str, kind: u16) -> Vec<u8> {
        [name(of), kind.to_be_bytes().to_vec(), vec![0, 1]].concat()
    }

    /// A record of class IN with 120 s to live.
    pub(in crate::names) fn record(of: &str, kind: u16, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).unwrap();
        let mut bytes = name(of);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 120]);
        bytes.extend(length.to_be_bytes());
        bytes.extend(data);
        bytes
    }

    /// Data of a SRV record: priority, weight, port 80, target.
    pub(in crate::names) fn srv(target: &str) -> Vec<u8> {
        [vec![0, 0, 0, 0, 0, 80], name(target)].concat()
    }

    /// Data of a TXT record.
    pub(in crate::names) fn txt(items: &[&str]) -> Vec<u8> {
        let one = |item: &&str| {
            [vec![u8::try_from(item.len()).unwrap()], item.as_bytes().to_vec()].concat()
        };
        items.iter().map(one).collect::<Vec<_>>().concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unhex;

    #[test]
    fn names_compressed_looping_and_cut() {
        let check = |hex: &str, at: usize, expect: Result<(&str, usize), Malformed>| {
            let bytes = unhex(hex);
            let got = name(&bytes, at).map(|(n, end)| (n.text(), end));
            assert_eq!(got, expect.map(|(n, e)| (n.to_owned(), e)), "{hex}");
        };
        check("01 61 02 6263 00", 0, Ok(("a.bc", 6)));
        check("01 61 00 01 62 c000 ff", 3, Ok(("b.a", 7)));
        check("00", 0, Ok(("", 1)));
        check("01 61 c000", 0, Err(Malformed::Invalid)); // to itself
        check("c002 c000", 2, Err(Malformed::Invalid)); // to and fro
        check("c005 00 00 00 00", 0, Err(Malformed::Invalid)); // forwards
        check("40 61", 0, Err(Malformed::Invalid));
        check("05 61", 0, Err(Malformed::Truncated));
        check("c0", 0, Err(Malformed::Truncated));
        let long = "3f".to_owned() + &"61".repeat(63);
        check(&(long.repeat(5) + "00"), 0, Err(Malformed::Limit));
        // A ladder of pointers is followed only so far.
        let ladder: String =
            (0..40u16).map(|i| format!("c0{:02x}", i.saturating_sub(1) * 2)).collect();
        check(&format!("00 00 {ladder}"), 80, Err(Malformed::Invalid));
    }

    #[test]
    fn what_was_read_before_the_damage_counts() {
        let whole = build::message(
            0x8400,
            &[build::question("q.local", kind::A)],
            [&[build::record("h.local", kind::A, &[192, 0, 2, 1])], &[], &[]],
        );
        assert_eq!(
            Message::read(&whole).unwrap().records[0].address(),
            Some([192, 0, 2, 1].into())
        );
        for n in 0..whole.len() {
            if let Ok(m) = Message::read(&whole[..n]) {
                assert!(m.questions.len() == 1 && m.records.is_empty(), "{n}");
            }
        }
        assert_eq!(Message::read(&[0; 12]).unwrap_err(), Malformed::NotMine);
        // A count that promises more than there is costs nothing.
        let mut greedy = whole.clone();
        greedy[6] = 0xff;
        assert_eq!(Message::read(&greedy).unwrap().records.len(), 1);
    }
}
