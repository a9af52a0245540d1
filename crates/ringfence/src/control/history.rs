//! `ringfence history`: what changed a device.

use std::io::{self, Write};

use serde_json::Value;

use super::args::{History, Lines};
use super::client::{Client, segment, with_query};
use super::fault::{Fault, Stop};
use super::words::{self, at, instant, list};
use crate::terminal::table;
use crate::{exit, out};

/// Changes, and whether there are more.
#[derive(Debug)]
pub(super) struct Changes {
    id: String,
    pub(super) items: Vec<Value>,
    pub(super) more: bool,
}

pub(super) fn run(args: &History) -> Result<u8, Stop> {
    let mut client = super::open(&args.at)?;
    let limit = if args.all { usize::MAX } else { args.limit };
    let changes = read(&mut client, &args.id, limit)?;
    match args.output {
        Lines::Jsonl => {
            out::print(|out| {
                changes.items.iter().try_for_each(|change| writeln!(out, "{}", words::json(change)))
            })?;
        }
        Lines::Table => out::print(|out| print(out, &changes))?,
    }
    Ok(exit::FINE)
}

/// The latest changes of a device.
pub(super) fn read(client: &mut Client, id: &str, limit: usize) -> Result<Changes, Fault> {
    let path = format!("/v1/devices/{}/history", segment(id));
    let mut items = Vec::new();
    if limit < 1_000 {
        // One more tells whether there are more.
        let page =
            client.get(&with_query(&path, &[("limit", limit.saturating_add(1).to_string())]))?;
        items.extend(list(&page, "/items").cloned());
    } else {
        client.list(&path, &[], &mut |item| {
            items.push(item);
            Ok(items.len() <= limit)
        })?;
    }
    let more = items.len() > limit;
    items.truncate(limit);
    Ok(Changes { id: id.to_owned(), items, more })
}

/// Changes as a table, the newest first.
pub(super) fn print(out: &mut dyn Write, changes: &Changes) -> io::Result<()> {
    let mut rows = table(&["WHEN", "ENTRY", "WHO", "WHAT", "WHY"]);
    for change in &changes.items {
        let what: Vec<String> = list(change, "/events").map(words::event).collect();
        rows.add_row([
            instant(change, "/at"),
            at(change, "/entry"),
            at(change, "/who"),
            what.join("; "),
            at(change, "/why"),
        ]);
    }
    writeln!(out, "{rows}")?;
    if changes.more {
        writeln!(
            out,
            "… and earlier ones: ringfence history device {} --all",
            words::plain(&changes.id)
        )?;
    }
    Ok(())
}
