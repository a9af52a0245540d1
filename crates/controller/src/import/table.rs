//! A table as text: CSV in UTF-8, with or without a byte order mark, lines ending as they like, values between commas, semicolons or tabs, in quotes where
//! they need them. What its columns mean is whoever reads it to say.

use csv::{ReaderBuilder, StringRecord, Terminator};

use super::ROWS_MAX;

/// Columns of one table.
pub(super) const COLUMNS_MAX: usize = 128;
/// Bytes of a name or a value that an answer repeats.
const SHOWN: usize = 60;

/// Why there is no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Not UTF-8.
    #[error("byte {0} is not UTF-8; save the table as `CSV UTF-8`")]
    Encoding(usize),
    /// UTF-16.
    #[error("it is UTF-16; save the table as `CSV UTF-8`")]
    Wide,
    /// No first line.
    #[error("it is empty; its first line names the columns")]
    Empty,
    /// Many columns.
    #[error("it has more than {COLUMNS_MAX} columns")]
    Wider,
    /// Many rows.
    #[error("it has more than {ROWS_MAX} rows; send it in parts")]
    TooMany,
}

/// All of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What the first line says.
    pub names: Vec<String>,
    /// The others, but for empty ones.
    pub rows: Vec<TableRow>,
    /// What stands between values.
    pub separator: char,
}

/// A line of a table; of several lines, where there is one in quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRow {
    /// Where it begins, from 1.
    pub line: u64,
    cells: StringRecord,
}

impl TableRow {
    /// Its values, without what is blank around them.
    pub fn cells(&self) -> impl Iterator<Item = &str> {
        self.cells.iter().map(str::trim)
    }

    /// The value of a column.
    pub fn cell(&self, at: usize) -> Option<&str> {
        self.cells.get(at).map(str::trim)
    }

    /// Why it does not fit, where it has more or fewer values than there are names.
    pub fn misfit(&self, table: &Table) -> Option<String> {
        let (has, names) = (self.cells.len(), table.names.len());
        (has != names).then(|| format!("it has {has} values, and there are {names} columns"))
    }
}

impl Table {
    /// Reads one.
    pub fn read(bytes: &[u8]) -> Result<Self, TableError> {
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Err(TableError::Wide);
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|e| TableError::Encoding(e.valid_up_to()))?;
        let separator = separator(text);
        let mut reader = ReaderBuilder::new()
            .delimiter(u8::try_from(separator).unwrap_or(b','))
            .has_headers(false)
            .flexible(true)
            .terminator(Terminator::CRLF)
            .from_reader(text.as_bytes());
        let mut records = reader.records();
        let names = records.next().and_then(Result::ok).ok_or(TableError::Empty)?;
        if names.len() > COLUMNS_MAX {
            return Err(TableError::Wider);
        }
        let names = names.iter().map(|name| name.trim().to_owned()).collect();
        let mut counted = Counted { bytes: text.as_bytes(), at: 0, line: 1 };
        let mut rows = Vec::new();
        for record in records {
            if rows.len() >= ROWS_MAX {
                return Err(TableError::TooMany);
            }
            // Text that is UTF-8 has no other fault here.
            let Ok(cells) = record else { continue };
            let line = counted.line_at(cells.position().map_or(0, csv::Position::byte));
            if !cells.iter().all(|value| value.trim().is_empty()) {
                rows.push(TableRow { line, cells });
            }
        }
        Ok(Self { names, rows, separator })
    }

    /// The column of this name, however it is written: `Rotate Days` is `rotate-days`.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|of| plain(of) == name)
    }
}

/// A name of a column as it is compared.
pub fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '_'], "-")
}

/// What an answer repeats of a file.
pub(super) fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_names_however_they_are_written() {
        for (text, separator) in [
            ("\u{feff}Rotate Days;\"Device\"\r\n90;\"a;b\"\r\n\r\n", ';'),
            ("rotate_days\tdevice\n90\ta;b\n", '\t'),
            ("\"ROTATE-DAYS\", device\n 90,\"a;b\" \n,\n", ','),
        ] {
            let table = Table::read(text.as_bytes()).unwrap();
            assert_eq!(table.separator, separator, "{text}");
            assert_eq!((table.column("rotate-days"), table.column("device")), (Some(0), Some(1)));
            let [row] = table.rows.as_slice() else { panic!("{table:?}") };
            assert_eq!(row.cells().collect::<Vec<_>>(), ["90", "a;b"], "{text}");
            assert_eq!((row.line, row.misfit(&table)), (2, None));
        }
    }
}
