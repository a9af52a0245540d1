//! What DHCP servers write down: who has which address, and until when. Bytes in, leases out; nothing is decided about devices here.
//!
//! | format | file | what it says of time |
//! |---|---|---|
//! | [`Format::Dnsmasq`] | `dnsmasq.leases` | when a lease ends; not when it began |
//! | [`Format::Isc`] | `dhcpd.leases` | when it began, was last asked for (`cltt`), ends |
//! | [`Format::Kea`] | `kea-leases4.csv`, `kea-leases6.csv` | when it ends, and how long it is |
//!
//! The last two are written by appending: of one address the last record counts. A host name is what a client says of itself.

mod dnsmasq;
mod isc;
mod kea;

use std::collections::HashMap;
use std::net::IpAddr;

use model::Mac;

/// A file that some server writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// dnsmasq.
    Dnsmasq,
    /// ISC dhcpd, IPv4.
    Isc,
    /// Kea's memfile, IPv4 or IPv6.
    Kea,
}

/// One address that somebody has or had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The line where it begins, from 1.
    pub line: u64,
    /// The client's link address.
    pub mac: Option<Mac>,
    /// The client's DUID, in hex.
    pub duid: Option<String>,
    /// The address.
    pub address: IpAddr,
    /// What the client calls itself.
    pub hostname: Option<String>,
    /// Until when.
    pub until: Until,
    /// When the client was last heard, in seconds since the epoch; `None`: the file does not say.
    pub heard_s: Option<i64>,
}

/// Until when an address is somebody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Without end.
    Never,
    /// Seconds since the epoch.
    At(i64),
    /// It was given back or taken away.
    Ended,
}

impl Lease {
    /// Whether it still holds.
    pub const fn holds(&self, now_s: i64) -> bool {
        match self.until {
            Until::Never => true,
            Until::At(end) => end > now_s,
            Until::Ended => false,
        }
    }
}

/// A line that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// In the order of their lines.
    pub leases: Vec<Lease>,
    /// Lines that were not understood, at most [`REFUSED_MAX`].
    pub refused: Vec<Refused>,
    /// All lines that were not understood.
    pub refused_count: usize,
    /// Where the newest record of an address is.
    by_address: HashMap<IpAddr, usize>,
}

/// Leases of one file; what is beyond is refused, and said.
pub const LEASES_MAX: usize = 500_000;
/// Refused lines that are told one by one.
pub const REFUSED_MAX: usize = 10_000;
/// Bytes of a line, a word, a string.
const WORD_BYTES_MAX: usize = 4_096;

impl Leases {
    /// Reads a file.
    pub fn read(format: Format, bytes: &[u8]) -> Self {
        let mut leases = Self::default();
        match format {
            Format::Dnsmasq => dnsmasq::read(bytes, &mut leases),
            Format::Isc => isc::read(bytes, &mut leases),
            Format::Kea => kea::read(bytes, &mut leases),
        }
        leases.leases.sort_by_key(|lease| lease.line);
        leases
    }

    /// Takes a record; a later one of an address replaces an earlier one.
    fn take(&mut self, lease: Lease) {
        if lease.mac.is_none() && lease.duid.is_none() {
            return self
                .refuse(lease.line, "it names no client: neither a link address nor a DUID");
        }
        let full = self.leases.len() >= LEASES_MAX;
        match self.by_address.get(&lease.address).copied() {
            Some(at) => {
                if let Some(earlier) = self.leases.get_mut(at) {
                    *earlier = lease;
                }
            }
            None if full => {
                self.refuse(lease.line, format!("more than {LEASES_MAX} leases in one file"));
            }
            None => {
                self.by_address.insert(lease.address, self.leases.len());
                self.leases.push(lease);
            }
        }
    }

    fn refuse(&mut self, line: u64, why: impl Into<String>) {
        self.refused_count = self.refused_count.saturating_add(1);
        if self.refused.len() < REFUSED_MAX {
            self.refused.push(Refused { line, why: why.into() });
        }
    }
}

/// The format that a file seems to have; `None`: none of these.
pub fn guess(bytes: &[u8]) -> Option<Format> {
    let mut lines = lines(bytes).map(|(_, line)| line);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    let isc = bytes.starts_with(b"# The format of this file is documented in the dhcpd.leases");
    let Some(first) = first else { return isc.then_some(Format::Isc) };
    let mut words = first.split_whitespace();
    let (one, two) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if first.starts_with("address,") {
        Some(Format::Kea)
    } else if isc
        || ["authoring-byte-order", "server-duid"].contains(&one)
        || (one == "lease" && two.parse::<IpAddr>().is_ok())
    {
        Some(Format::Isc)
    } else if (one == "duid" && !two.is_empty())
        || (one.bytes().all(|b| b.is_ascii_digit())
            && words.next().is_some()
            && !first.contains(','))
    {
        Some(Format::Dnsmasq)
    } else {
        None
    }
}

/// Lines with their numbers, without what ends them.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (u64, std::borrow::Cow<'_, str>)> {
    let lines = bytes.split(|byte| *byte == b'\n');
    (1_u64..).zip(lines).map(|(number, line)| (number, String::from_utf8_lossy(line.trim_ascii())))
}

/// A link address that may be one device's. The hardware type in front of other links (`06-`) is no Ethernet, and not read.
fn mac(text: &str) -> Option<Mac> {
    text.parse().ok().filter(|mac: &Mac| mac.is_unicast())
}

/// Hex, with or without colons, as one word in lower case.
fn hex(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let fits = !digits.is_empty() && digits.len() <= 260 && digits.len().is_multiple_of(2);
    let is_hex = digits.chars().all(|c| c.is_ascii_hexdigit());
    (fits && is_hex).then(|| digits.to_ascii_lowercase())
}

/// A name that a client may have.
fn name(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches('.');
    let fits = !text.is_empty() && text.chars().count() <= 255;
    (fits && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// Seconds since the epoch of a day and time in UTC (days from civil, H. Hinnant).
fn epoch_s(date: [i64; 3], time: [i64; 3]) -> Option<i64> {
    let ([year, month, day], [hour, minute, second]) = (date, time);
    let is_time = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..61).contains(&second);
    if !(1970..10_000).contains(&year)
        || !(1..13).contains(&month)
        || !(1..32).contains(&day)
        || !is_time
    {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// What the fuzz target calls.
pub mod fuzzing {
    use super::{Format, Leases, guess};

    /// Reads any bytes as each format. What is read is in order, one record of an address, and names a client.
    pub fn leases(bytes: &[u8]) {
        let _ = guess(bytes);
        for format in [Format::Dnsmasq, Format::Isc, Format::Kea] {
            let read = Leases::read(format, bytes);
            assert!(read.refused.len() <= read.refused_count, "all that is told is counted");
            let mut seen = std::collections::HashSet::new();
            for lease in &read.leases {
                assert!(lease.mac.is_some() || lease.duid.is_some(), "{lease:?}");
                assert!(seen.insert(lease.address), "{lease:?}");
            }
            assert!(read.leases.is_sorted_by_key(|lease| lease.line), "in the order of lines");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (date, days) in [
            ([1970, 1, 1], 0),
            ([2000, 2, 29], 11_016),
            ([2000, 3, 1], 11_017),
            ([2024, 5, 2], 19_845),
            ([2100, 3, 1], 47_541),
        ] {
            assert_eq!(epoch_s(date, [0, 0, 0]), Some(days * 86_400), "{date:?}");
        }
        assert_eq!(epoch_s([2024, 5, 2], [10, 0, 1]), Some(1_714_644_001));
        assert_eq!(epoch_s([2024, 13, 2], [10, 0, 1]), None);
        assert_eq!(epoch_s([2024, 1, 2], [24, 0, 1]), None);
    }

    #[test]
    fn a_file_tells_what_it_is() {
        let dnsmasq = "1714644001 02:00:00:00:00:01 10.0.0.5 cam-3 01:02\n";
        let isc = "# some words\nauthoring-byte-order little-endian;\n";
        let kea = "address,hwaddr,client_id,valid_lifetime,expire\n";
        let csv = "id,mac,name\n1,2,3\n";
        for (text, format) in [
            (dnsmasq, Some(Format::Dnsmasq)),
            ("duid 00:01:00\n", Some(Format::Dnsmasq)),
            (isc, Some(Format::Isc)),
            ("lease 10.0.0.5 {\n", Some(Format::Isc)),
            (kea, Some(Format::Kea)),
            (csv, None),
            ("17,a,b\n", None),
            ("", None),
        ] {
            assert_eq!(guess(text.as_bytes()), format, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            fuzzing::leases(&bytes);
        }

        #[test]
        fn text_that_looks_like_leases_is_too(text in "((lease|ia-na|ends|hardware ethernet|uid|\\{|\\}|;|\"|[0-9a-f:]{1,17}|10\\.0\\.0\\.[0-9]|never|\\n| |,|address|state)[ ;\n]?){0,40}") {
            fuzzing::leases(text.as_bytes());
        }
    }
}
