//! A table of devices: CSV in UTF-8, with or without a byte order mark, lines ending as they like, values between commas, semicolons or tabs.
//!
//! Columns are those that [`super::export`] writes, in any order; a column that is not known is refused by name, because nobody should believe that it
//! was read. An empty value says nothing.

use std::collections::BTreeMap;

use csv::{ReaderBuilder, StringRecord, Terminator};
use estate::devices::{ADDRESSES_MAX, Field, KEYS_MAX};
use model::{DeviceId, Mac, SiteId};

use super::{LIST_CONFIDENCE, Line, Lines, ROWS_MAX, Row};

/// Columns of one table.
const COLUMNS_MAX: usize = 128;
/// A label's column begins with this.
pub(super) const LABEL: &str = "label.";
/// Bytes of a name or a value that an answer repeats.
const SHOWN: usize = 60;

/// Why no row of a table is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SheetError {
    /// Not UTF-8.
    #[error("byte {0} is not UTF-8; save the table as `CSV UTF-8`")]
    Encoding(usize),
    /// UTF-16.
    #[error("it is UTF-16; save the table as `CSV UTF-8`")]
    Wide,
    /// No line of names.
    #[error("its first line names no columns: one of id, mac, keys, serial has to be there")]
    NoNames,
    /// A column that is not known.
    #[error("column `{0}` is not known; there are {known} and label.NAME", known = known().join(", "))]
    Column(String),
    /// A column twice.
    #[error("column `{0}` is there twice")]
    Twice(String),
    /// Many columns.
    #[error("it has more than {COLUMNS_MAX} columns")]
    Wider,
    /// Many rows.
    #[error("it has more than {ROWS_MAX} rows; send it in parts")]
    TooMany,
}

/// What a column is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Id,
    Mac,
    Keys,
    Addresses,
    FirstSeen,
    LastSeen,
    /// Written for people; nothing that a list decides.
    Shown,
    Field(Field),
    Label(String),
}

/// Columns with another name than their field.
const NAMED: [(&str, Column); 8] = [
    ("id", Column::Id),
    ("mac", Column::Mac),
    ("keys", Column::Keys),
    ("addresses", Column::Addresses),
    ("first-seen", Column::FirstSeen),
    ("last-seen", Column::LastSeen),
    ("state", Column::Shown),
    ("assurance", Column::Shown),
];
/// What others call them.
const ALIKE: [(&str, &str); 7] = [
    ("ip", "addresses"),
    ("address", "addresses"),
    ("ip-address", "addresses"),
    ("mac-address", "mac"),
    ("serial-number", "serial"),
    ("manufacturer", "vendor"),
    ("host", "hostname"),
];

fn known() -> Vec<&'static str> {
    let fields = Field::ALL.iter().filter(|field| **field != Field::Assurance);
    NAMED.iter().map(|(name, _)| *name).chain(fields.map(|field| field.word())).collect()
}

impl Column {
    fn of(name: &str) -> Option<Self> {
        if let Some(label) = name.strip_prefix(LABEL) {
            return Some(Self::Label(label.to_owned()));
        }
        let plain = name.to_lowercase().replace([' ', '_'], "-");
        let alike = ALIKE.iter().find(|(other, _)| *other == plain);
        let plain = alike.map_or(plain.as_str(), |(_, ours)| ours);
        let named = NAMED.iter().find(|(name, _)| *name == plain);
        named.map(|(_, column)| column.clone()).or_else(|| Field::of(plain).map(Self::Field))
    }

    const fn identifies(&self) -> bool {
        matches!(self, Self::Id | Self::Mac | Self::Keys | Self::Field(Field::Serial))
    }
}

/// Reads a table.
pub(super) fn read(bytes: &[u8]) -> Result<Lines, SheetError> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(SheetError::Wide);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| SheetError::Encoding(e.valid_up_to()))?;
    let separator = separator(text);
    let mut reader = ReaderBuilder::new()
        .delimiter(u8::try_from(separator).unwrap_or(b','))
        .has_headers(false)
        .flexible(true)
        .terminator(Terminator::CRLF)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let names = records.next().and_then(Result::ok).ok_or(SheetError::NoNames)?;
    let columns = columns(&names)?;
    let mut counted = Counted { bytes: text.as_bytes(), at: 0, line: 1 };
    let mut lines = Vec::new();
    for record in records {
        if lines.len() >= ROWS_MAX {
            return Err(SheetError::TooMany);
        }
        // Text that is UTF-8 has no other fault here.
        let Ok(record) = record else { continue };
        let line = counted.line_at(record.position().map_or(0, csv::Position::byte));
        if record.iter().all(|value| value.trim().is_empty()) {
            continue;
        }
        lines.push(match row(line, &record, &columns) {
            Ok(row) => Line::Row(row),
            Err(why) => Line::Refused { line, why },
        });
    }
    Ok(Lines { lines, separator: Some(separator) })
}

/// Counts lines as editors do: the reader of tables stands before what is left of a line's end.
struct Counted<'t> {
    bytes: &'t [u8],
    at: usize,
    line: u64,
}

impl Counted<'_> {
    /// The line of the record behind a byte; records come in order.
    fn line_at(&mut self, byte: u64) -> u64 {
        let from = usize::try_from(byte).unwrap_or(usize::MAX).max(self.at);
        let behind = self.bytes.get(from..).unwrap_or_default();
        let ends = behind.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let to = from.saturating_add(ends);
        let passed = self.bytes.get(self.at..to).unwrap_or_default();
        let passed = passed.iter().filter(|b| **b == b'\n').count();
        self.line = self.line.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
        self.at = to;
        self.line
    }
}

/// What stands between the names of the first line most often, outside quotes.
fn separator(text: &str) -> char {
    let mut counts = [(',', 0_usize), (';', 0), ('\t', 0)];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '\n' | '\r' if !quoted => break,
            c if !quoted => counts.iter_mut().filter(|(s, _)| *s == c).for_each(|(_, n)| *n += 1),
            _ => {}
        }
    }
    // The first of several that are as frequent.
    counts.iter().rev().max_by_key(|(_, count)| count).map_or(',', |(separator, _)| *separator)
}

fn columns(names: &StringRecord) -> Result<Vec<Column>, SheetError> {
    if names.len() > COLUMNS_MAX {
        return Err(SheetError::Wider);
    }
    let mut columns: Vec<Column> = Vec::new();
    for name in names {
        let name = name.trim();
        let column = Column::of(name).ok_or_else(|| SheetError::Column(clip(name)))?;
        if column != Column::Shown && columns.contains(&column) {
            return Err(SheetError::Twice(clip(name)));
        }
        columns.push(column);
    }
    match columns.iter().any(Column::identifies) {
        true => Ok(columns),
        false => Err(SheetError::NoNames),
    }
}

fn row(line: u64, record: &StringRecord, columns: &[Column]) -> Result<Row, String> {
    if record.len() != columns.len() {
        return Err(format!(
            "it has {} values, and there are {} columns",
            record.len(),
            columns.len()
        ));
    }
    let mut row = Row { line, confidence: LIST_CONFIDENCE, ..Row::default() };
    for (column, value) in columns.iter().zip(record) {
        let value = value.trim();
        if !value.is_empty() {
            take(&mut row, column, value)?;
        }
    }
    // The maker's number is an identity only together with the maker, and where nothing says what identifies the device.
    if !columns.contains(&Column::Keys)
        && let (Some(vendor), Some(serial)) =
            (row.said.get(&Field::Vendor), row.said.get(&Field::Serial))
    {
        row.keys.push(format!("serial/{vendor}/{serial}"));
    }
    match row.id.is_none() && row.keys.is_empty() {
        true => Err("nothing would recognise it: it has no id, no mac, no keys, and not both vendor and serial".to_owned()),
        false => Ok(row),
    }
}

fn take(row: &mut Row, column: &Column, value: &str) -> Result<(), String> {
    let key = |row: &mut Row, key: String| {
        if !row.keys.contains(&key) {
            row.keys.push(key);
        }
        match row.keys.len() > KEYS_MAX {
            true => Err(format!("it has more than {KEYS_MAX} identifiers")),
            false => Ok(()),
        }
    };
    let time = || {
        value
            .parse()
            .map(Some)
            .map_err(|_| format!("`{}` is no instant; write 2031-02-28T08:00:00Z", clip(value)))
    };
    match column {
        Column::Id => {
            let id = DeviceId::new(value).map_err(|e| format!("id `{}`: {e}", clip(value)))?;
            row.id = Some(id);
        }
        Column::Mac => {
            for mac in words(value) {
                let mac: Mac = mac.parse().map_err(|e| format!("{e}"))?;
                if !mac.is_unicast() {
                    return Err(format!("{mac} is nobody's link address"));
                }
                key(row, format!("mac/{mac}"))?;
            }
        }
        Column::Keys => {
            for word in words(value) {
                key(row, decoded(word))?;
            }
        }
        Column::Addresses => {
            let all: Result<Vec<_>, String> = words(value)
                .map(|word| {
                    word.parse().map_err(|_| format!("`{}` is no network address", clip(word)))
                })
                .collect();
            let mut all = all?;
            all.sort_unstable();
            all.dedup();
            if all.len() > ADDRESSES_MAX {
                return Err(format!("it has more than {ADDRESSES_MAX} addresses"));
            }
            row.addresses = Some(all);
        }
        Column::FirstSeen => row.first_seen = time()?,
        Column::LastSeen => row.last_seen = time()?,
        Column::Shown | Column::Field(Field::Assurance) => {}
        Column::Field(Field::Site) => {
            let site = SiteId::new(value).map_err(|e| format!("site `{}`: {e}", clip(value)))?;
            row.site = Some(site);
        }
        Column::Field(field) => {
            let values: &mut BTreeMap<_, _> = match field {
                Field::Name | Field::Owner | Field::Zone | Field::Criticality | Field::Posture => {
                    &mut row.decided
                }
                _ => &mut row.said,
            };
            values.insert(*field, value.to_owned());
        }
        Column::Label(name) => drop(row.labels.insert(name.clone(), value.to_owned())),
    }
    Ok(())
}

/// Several in one value.
fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split([' ', ',', ';', '\t', '\n', '\r']).filter(|word| !word.is_empty())
}

/// What separates words in a value.
const SEPARATES: [char; 4] = [' ', ',', ';', '%'];

/// An identifier as one word.
pub(super) fn encoded(key: &str) -> String {
    let mut word = String::new();
    for c in key.chars() {
        match SEPARATES.contains(&c) {
            true => word.push_str(&format!("%{:02X}", u32::from(c))),
            false => word.push(c),
        }
    }
    word
}

fn decoded(word: &str) -> String {
    SEPARATES.iter().fold(word.to_owned(), |word, c| {
        // The last of them is `%` itself.
        word.replace(&format!("%{:02X}", u32::from(*c)), &c.to_string())
    })
}

fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(text: &str) -> (char, Vec<Row>, Vec<(u64, String)>) {
        let read = read(text.as_bytes()).unwrap();
        let (mut rows, mut refused) = (Vec::new(), Vec::new());
        for line in read.lines {
            match line {
                Line::Row(row) => rows.push(row),
                Line::Refused { line, why } => refused.push((line, why)),
                Line::Ended { .. } => unreachable!("a table has no leases"),
            }
        }
        (read.separator.unwrap(), rows, refused)
    }

    #[test]
    fn a_table_of_an_office_program_is_read() {
        let text = "\u{feff}MAC Address;Vendor;Serial;IP;Name;label.Rack;last_seen\r\n\
                    00-80-F4-01-02-03;Schneider;17;10.0.0.5 fd00::5;\"Line 1; PLC\";B 12;2031-02-28T08:00:00Z\r\n\
                    ;;;;;;\r\n";
        let (separator, rows, refused) = rows(text);
        assert_eq!((separator, refused.len()), (';', 0));
        let [row] = rows.as_slice() else { unreachable!("{rows:?}") };
        assert_eq!(row.keys, ["mac/00:80:f4:01:02:03", "serial/Schneider/17"]);
        assert_eq!(row.decided[&Field::Name], "Line 1; PLC");
        assert_eq!(row.labels["Rack"], "B 12");
        assert_eq!(row.addresses.as_ref().unwrap().len(), 2);
        assert_eq!(row.line, 2);
    }

    #[test]
    fn rows_that_make_no_sense_are_refused_with_their_line() {
        let text = "id,mac,site,addresses\nx,zz,w1,\n,,w1,\na b,,w1,\n,01:00:5e:00:00:01,w1,\ny,,w1,10.0.0\nz,,w1\n\"q\nr\",,w1,\nok,,w1,\n";
        let (_, rows, refused) = rows(text);
        assert_eq!(rows.len(), 1, "{rows:?}");
        let lines: Vec<u64> = refused.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 7, 8], "{refused:?}");
        assert!(refused[5].1.contains("3 values, and there are 4 columns"));
    }

    #[test]
    fn a_table_that_cannot_be_read_says_why() {
        for (bytes, says) in [
            (&b"id,colour\n1,red\n"[..], "column `colour` is not known; there are id, mac, keys"),
            (b"id,ID\n", "twice"),
            (b"name,owner\n", "names no columns"),
            (b"", "names no columns"),
            (b"\xff\xfei\0d\0", "UTF-16"),
            (b"id\nK\xfcche\n", "byte 4 is not UTF-8"),
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let wide = vec!["id"; COLUMNS_MAX + 1].join(",");
        assert_eq!(read(wide.as_bytes()), Err(SheetError::Wider));
        let long = "id\n".to_owned() + &"a\n".repeat(ROWS_MAX + 1);
        assert_eq!(read(long.as_bytes()), Err(SheetError::TooMany));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(id|mac|keys|name|label\\.x|,|;|\t|\"|\n|\r\n|[a-z0-9:./%]){0,60}") {
            let _ = read(text.as_bytes());
        }

        #[test]
        fn an_identifier_is_one_word(key in "[^\\p{Cc}]{1,40}") {
            prop_assume!(!key.contains(char::is_whitespace) || key.contains(' '));
            let word = encoded(&key);
            prop_assert_eq!(words(&word).count(), 1);
            prop_assert_eq!(decoded(&word), key);
        }
    }
}
