//! `ringfence import`: a list of devices, what it would change, row by row, and the change itself.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use hyper::body::Bytes;
use hyper::{Method, header};
use serde_json::Value;

use super::args::{Import, ListFormat, Output};
use super::change::{WAITS, waits};
use super::client::{APPROVAL, with_query};
use super::fault::{Fault, Stop};
use super::words::{at, list, plain};
use crate::terminal::table;
use crate::{exit, out};

/// Largest list that a controller takes.
const BYTES_MAX: u64 = 64 << 20;
/// Rows that a table shows unless all are asked for.
const SHOWN: usize = 200;
/// Characters of a value in a table.
const WIDE: usize = 60;

/// `ringfence import`.
pub(super) fn run(args: &Import) -> Result<u8, Stop> {
    let bytes = read(&args.file)?;
    let mut query = vec![
        ("format", args.format.word().to_owned()),
        ("dry_run", args.dry_run.to_string()),
        ("all_or_nothing", args.all_or_nothing.to_string()),
    ];
    query.extend(args.site.iter().map(|site| ("site", site.clone())));
    query.extend(args.source.iter().map(|source| ("source", source.clone())));
    query.extend(args.reason.iter().map(|why| ("why", why.clone())));
    let path = with_query("/v1/devices/import", &query);
    let mut headers = vec![(header::CONTENT_TYPE, "text/csv")];
    headers.extend(args.approval.approval.iter().map(|id| (APPROVAL, id.as_str())));
    let waiting = super::progress::waiting("comparing with the estate");
    let answer = super::open(&args.at)?.send_bytes(&Method::POST, &path, &bytes, &headers);
    waiting.finish_and_clear();
    let answer = answer?;
    let document = answer.json()?;
    if answer.status == WAITS {
        return Ok(waits(&document));
    }
    match args.output {
        Output::Json => out::document(&document)?,
        Output::Table => show(&document, args.all)?,
    }
    let count = |what: &str| {
        document.pointer(&format!("/counts/{what}")).and_then(Value::as_u64).unwrap_or(0)
    };
    Ok(if count("refused") > 0 {
        exit::FAILED
    } else if args.detailed_exitcode && count("new").saturating_add(count("changed")) > 0 {
        exit::FINDINGS
    } else {
        exit::FINE
    })
}

/// What is in a file, or comes from standard input (`-`).
pub(super) fn read(path: &Path) -> Result<Bytes, Fault> {
    let shown = path.display().to_string();
    let failed = |error: io::Error| Fault::new("file", shown.clone(), error, "");
    let mut bytes = Vec::new();
    let taken = match path.as_os_str() == "-" {
        true => io::stdin().lock().take(BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes),
        false => fs::File::open(path)
            .and_then(|file| file.take(BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes)),
    };
    let size = u64::try_from(taken.map_err(failed)?).unwrap_or(u64::MAX);
    match size > BYTES_MAX {
        true => Err(Fault::usage(shown, "it has more than 64 MiB; send it in parts")),
        false => Ok(bytes.into()),
    }
}

/// What differs, as a table; and how many rows come to what.
fn show(document: &Value, all: bool) -> Result<(), Stop> {
    let mut shown = table(&["LINE", "ROW", "DEVICE", "FIELD", "BEFORE", "AFTER", ""]);
    let told = |row: &&Value| all || at(row, "/outcome") != "same";
    let rows: Vec<&Value> = list(document, "/rows").filter(told).collect();
    let limit = if all { usize::MAX } else { SHOWN };
    for row in rows.iter().take(limit) {
        let line = match at(row, "/line").as_str() {
            "0" => String::new(),
            line => line.to_owned(),
        };
        let first = [line, at(row, "/outcome"), at(row, "/device")];
        let mut changes = list(row, "/changes").peekable();
        if changes.peek().is_none() {
            let why = at(row, "/why");
            shown.add_row(cells(&first, ["", "", "", &why]));
        }
        let mut names = first;
        for change in changes {
            let note = match (change.get("beaten_by"), at(change, "/decided").as_str()) {
                (Some(surer), _) => {
                    format!("not believed: {}", plain(surer.as_str().unwrap_or_default()))
                }
                (None, "yes") => "decided".to_owned(),
                _ => String::new(),
            };
            let (field, before, after) =
                (at(change, "/field"), at(change, "/before"), at(change, "/after"));
            shown.add_row(cells(&names, [&field, &before, &after, &note]));
            names = [String::new(), String::new(), String::new()];
        }
    }
    let count = |what: &str| at(document, &format!("/counts/{what}"));
    out::print(|out| {
        if !rows.is_empty() {
            writeln!(out, "{shown}")?;
        }
        if rows.len() > limit {
            writeln!(
                out,
                "… and {} more rows (--all shows them)",
                rows.len().saturating_sub(limit)
            )?;
        }
        let format = match at(document, "/separator").as_str() {
            "" => at(document, "/format"),
            "\t" | " " => "table, tabs between values".to_owned(),
            separator => format!("table, `{separator}` between values"),
        };
        writeln!(out, "{} as {} ({format})", count_words(document), at(document, "/source"))?;
        let (decided, seen) = (count("decided"), count("seen"));
        writeln!(out, "{decided} devices decided about, {seen} newer signs of life")?;
        match at(document, "/applied").as_str() {
            "yes" => Ok(()),
            _ => writeln!(out, "nothing was changed: this was a dry run"),
        }
    })?;
    Ok(())
}

fn count_words(document: &Value) -> String {
    let count = |what: &str| format!("{} {what}", at(document, &format!("/counts/{what}")));
    ["new", "changed", "same", "refused", "ended"].map(count).join(", ")
}

fn cells(first: &[String; 3], rest: [&str; 4]) -> Vec<String> {
    let clip = |text: &str| match text.chars().count() > WIDE {
        true => format!("{}…", text.chars().take(WIDE).collect::<String>()),
        false => text.to_owned(),
    };
    let [field, before, after, note] = rest;
    let mut cells = first.to_vec();
    cells.extend([field.to_owned(), clip(before), clip(after), note.to_owned()]);
    cells
}

impl ListFormat {
    /// As the controller calls it.
    const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Csv => "csv",
            Self::Dnsmasq => "dnsmasq",
            Self::Isc => "isc",
            Self::Kea => "kea",
        }
    }
}
