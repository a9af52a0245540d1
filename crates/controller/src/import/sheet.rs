//! A table of devices.
//!
//! Columns are those that [`super::export`] writes, in any order; a column that is not known is refused by name, because nobody should believe that it
//! was read. An empty value says nothing.

use std::collections::BTreeMap;

use estate::devices::{ADDRESSES_MAX, Field, KEYS_MAX};
use model::{DeviceId, Mac, SiteId};

use super::table::{Table, TableError, TableRow, clip, plain};
use super::{LIST_CONFIDENCE, Line, Lines, Row};

/// A label's column begins with this.
pub(super) const LABEL: &str = "label.";

/// Why no row of a table is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SheetError {
    /// No table.
    #[error(transparent)]
    Table(TableError),
    /// No line of names.
    #[error("its first line names no columns: one of id, mac, keys, serial has to be there")]
    NoNames,
    /// A column that is not known.
    #[error("column `{0}` is not known; there are {known} and label.NAME", known = known().join(", "))]
    Column(String),
    /// A column twice.
    #[error("column `{0}` is there twice")]
    Twice(String),
}

impl From<TableError> for SheetError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Empty => Self::NoNames,
            other => Self::Table(other),
        }
    }
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
        let plain = plain(name);
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
    let table = Table::read(bytes)?;
    let columns = columns(&table.names)?;
    let lines = table.rows.iter().map(|of| {
        let row = match of.misfit(&table) {
            Some(why) => Err(why),
            None => row(of, &columns),
        };
        row.map_or_else(|why| Line::Refused { line: of.line, why }, Line::Row)
    });
    Ok(Lines { lines: lines.collect(), separator: Some(table.separator) })
}

fn columns(names: &[String]) -> Result<Vec<Column>, SheetError> {
    let mut columns: Vec<Column> = Vec::new();
    for name in names {
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

fn row(of: &TableRow, columns: &[Column]) -> Result<Row, String> {
    let mut row = Row { line: of.line, confidence: LIST_CONFIDENCE, ..Row::default() };
    for (column, value) in columns.iter().zip(of.cells()) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ROWS_MAX;
    use super::super::table::COLUMNS_MAX;
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
        assert_eq!(read(wide.as_bytes()), Err(TableError::Wider.into()));
        let long = "id\n".to_owned() + &"a\n".repeat(ROWS_MAX + 1);
        assert_eq!(read(long.as_bytes()), Err(TableError::TooMany.into()));
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
