//! Where things go that were asked for: a table for people, documents for programs, as they come.

use std::io::{self, BufWriter, Stdout, Write};

use serde_json::Value;

use super::args::Format;
use super::columns::{Column, Listing, of_view};
use super::fault::Fault;
use super::{words, yaml};
use crate::terminal::table;

/// Takes things one by one.
pub(super) struct Sink {
    format: Format,
    listing: Listing,
    /// A document is one thing, not a list of one.
    one: bool,
    out: BufWriter<Stdout>,
    rows: Vec<Vec<String>>,
    count: u64,
    /// Nobody reads any more.
    closed: bool,
}

impl Sink {
    pub(super) fn new(listing: Listing, format: Format, one: bool) -> Self {
        let (out, rows) = (BufWriter::new(io::stdout()), Vec::new());
        Self { format, listing, one, out, rows, count: 0, closed: false }
    }

    /// Takes one; `false`: nobody reads any more.
    pub(super) fn take(&mut self, item: &Value) -> Result<bool, Fault> {
        let first = self.count == 0;
        self.count = self.count.saturating_add(1);
        let written = match self.format {
            Format::Table | Format::Wide => {
                self.rows.push(cells(&self.listing, self.format, item));
                Ok(())
            }
            Format::Name => writeln!(self.out, "{}", words::at(item, self.listing.id)),
            // A table comes from the controller.
            Format::Jsonl | Format::Csv => writeln!(self.out, "{}", words::json(item)),
            Format::Json if self.one => write!(self.out, "{}", words::pretty(item)),
            Format::Json => {
                let before = if first { "[\n  " } else { ",\n  " };
                write!(self.out, "{before}{}", words::json(item))
            }
            Format::Yaml if self.one => yaml::write(&mut self.out, item),
            Format::Yaml => yaml::write(&mut self.out, &Value::Array(vec![item.clone()])),
        };
        self.is_open(written)
    }

    /// Writes what is left. Returns how many there were.
    pub(super) fn end(mut self) -> Result<u64, Fault> {
        let written = match self.format {
            Format::Table | Format::Wide if self.count == 0 => {
                eprintln!("none");
                Ok(())
            }
            Format::Table | Format::Wide => {
                let heads = heads(&self.listing, self.format);
                let mut table = table(&heads.iter().map(String::as_str).collect::<Vec<_>>());
                for row in std::mem::take(&mut self.rows) {
                    table.add_row(row);
                }
                writeln!(self.out, "{table}")
            }
            Format::Json if self.one => writeln!(self.out),
            Format::Json if self.count == 0 => writeln!(self.out, "[]"),
            Format::Json => writeln!(self.out, "\n]"),
            Format::Yaml if self.count == 0 && !self.one => writeln!(self.out, "[]"),
            Format::Yaml | Format::Jsonl | Format::Name | Format::Csv => Ok(()),
        };
        let written = written.and_then(|()| self.out.flush());
        self.is_open(written)?;
        Ok(self.count)
    }

    fn is_open(&mut self, written: io::Result<()>) -> Result<bool, Fault> {
        match written {
            Ok(()) => {}
            // A reader that has seen enough is no error.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.closed = true,
            Err(error) => return Err(Fault::new("output", "standard output", error, "")),
        }
        Ok(!self.closed)
    }
}

/// The columns that a format has.
fn columns(listing: &Listing, format: Format) -> impl Iterator<Item = &'static Column> {
    listing.columns.iter().filter(move |column| !column.wide || format == Format::Wide)
}

/// Their heads.
pub(super) fn heads(listing: &Listing, format: Format) -> Vec<String> {
    match listing.chosen.is_empty() {
        true => columns(listing, format).map(|column| column.head.to_owned()).collect(),
        false => listing.chosen.iter().map(|name| name.to_uppercase().replace('_', " ")).collect(),
    }
}

/// The cells of a row.
pub(super) fn cells(listing: &Listing, format: Format, item: &Value) -> Vec<String> {
    match listing.chosen.is_empty() {
        true => columns(listing, format).map(|column| (column.cell)(item)).collect(),
        false => listing.chosen.iter().map(|name| of_view(item, name)).collect(),
    }
}
