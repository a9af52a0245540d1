//! `ringfence get`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;

use hyper::{Method, header};
use serde_json::Value;

use super::args::{Format, Get, Kind};
use super::client::{Client, segment, with_query};
use super::columns::{Listing, listing};
use super::fault::{Fault, Stop};
use super::follow::Follow;
use super::sink::{Sink, cells, heads};
use super::words;
use crate::{exit, out};

/// Things looked up one by one after a change; where more changed, all are read again.
const ONE_BY_ONE: usize = 50;
/// How long one look at the stream waits.
const WAIT: Duration = Duration::from_secs(60);

pub(super) fn run(args: &Get) -> Result<u8, Stop> {
    let of_devices = [
        ("-l", &args.selector),
        ("--where", &args.expression),
        ("--search", &args.search),
        ("--sort", &args.sort),
        ("--view", &args.view),
    ];
    if let Some((option, _)) = of_devices.iter().find(|(_, given)| given.is_some())
        && args.kind != Kind::Devices
    {
        return Err(Fault::usage(*option, "it is for devices").into());
    }
    if args.watch && !matches!(args.kind, Kind::Devices | Kind::Sites) {
        return Err(Fault::usage("--watch", "only devices and sites are watched").into());
    }
    if args.kind == Kind::Flows && args.ids.is_empty() {
        return Err(Fault::usage("flows", "they are of devices: name one, or several").into());
    }
    let is_table = args.output == Format::Csv;
    let by_id = !args.watch && args.ids.is_empty() && args.sort.is_none();
    if is_table && (args.kind != Kind::Devices || !by_id) {
        let why = "it is for lists of devices, by id; select them with -l or --where";
        return Err(Fault::usage("-o csv", why).into());
    }
    let mut client = super::open(&args.at)?;
    let mut listed = listing(args.kind);
    let viewed;
    let args = match &args.view {
        None => args,
        Some(name) => {
            viewed = through(&mut client, args, name, &mut listed.chosen)?;
            &viewed
        }
    };
    if is_table {
        return csv(&mut client, args);
    }
    if args.watch {
        return watch(&mut client, args);
    }
    match args.kind {
        Kind::Policy => {
            let policy = client.get("/v1/policy")?;
            let mut sink = Sink::new(listing(args.kind), args.output, true);
            sink.take(&policy)?;
            sink.end()?;
        }
        Kind::Slo => slo(&mut client, args)?,
        Kind::Reach if args.ids.is_empty() => worst(&mut client, args)?,
        _ => {
            let one = args.ids.len() == 1 && !matches!(args.kind, Kind::Leases | Kind::Flows);
            let mut sink = Sink::new(listed, args.output, one);
            each(&mut client, args, &mut |item| sink.take(&item))?;
            sink.end()?;
        }
    }
    Ok(exit::FINE)
}

/// The table that the controller writes, as it is.
fn csv(client: &mut Client, args: &Get) -> Result<u8, Stop> {
    let mut query = chosen(args);
    // A view may have an order; a table has its own.
    query.retain(|(name, _)| *name != "sort");
    let path = with_query("/v1/devices", &query);
    let table = [(header::ACCEPT, "text/csv")];
    let answer = client.ask(&Method::GET, &path, None, &table)?;
    out::print(|out| out.write_all(&answer.body))?;
    Ok(exit::FINE)
}

/// The same through a view: what is typed besides has to hold too; words and an order that are typed replace those of the view.
fn through(
    client: &mut Client,
    args: &Get,
    name: &str,
    columns: &mut Vec<String>,
) -> Result<Get, Fault> {
    let view = client.get(&format!("/v1/views/{}", segment(name)))?;
    let text = |pointer: &str| {
        let text = view.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let both = |a: Option<String>, b: &Option<String>, join: fn(&str, &str) -> String| match (a, b)
    {
        (Some(a), Some(b)) => Some(join(&a, b)),
        (a, b) => a.or_else(|| b.clone()),
    };
    columns.extend(words::list(&view, "/columns").filter_map(|c| c.as_str().map(str::to_owned)));
    Ok(Get {
        kind: args.kind,
        ids: Vec::new(),
        selector: both(text("/l"), &args.selector, |a, b| format!("{a},{b}")),
        // Each on lines of its own: a comment in one does not swallow the other.
        expression: both(text("/where"), &args.expression, |a, b| {
            format!("(\n{a}\n) && (\n{b}\n)")
        }),
        search: args.search.clone().or_else(|| text("/q")),
        sort: args.sort.clone().or_else(|| text("/sort")),
        view: None,
        output: args.output,
        watch: false,
        at: args.at.clone(),
    })
}

/// Reads what is asked for.
fn each(
    client: &mut Client,
    args: &Get,
    take: &mut dyn FnMut(Value) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let listing = listing(args.kind);
    if args.ids.is_empty() {
        return client.list(listing.path, &chosen(args), take);
    }
    for id in &args.ids {
        if args.kind == Kind::Leases {
            let mut any = false;
            client.list(listing.path, &[("device", id.clone())], &mut |item| {
                any = true;
                take(item)
            })?;
            if !any {
                // There is no such device, or nothing was decided about it.
                client.get(&format!("/v1/devices/{}", segment(id)))?;
                eprintln!("nothing was decided about {id} yet");
            }
            continue;
        }
        if args.kind == Kind::Flows {
            client.list(&format!("{}/{}/flows", listing.path, segment(id)), &[], take)?;
            continue;
        }
        let item = match args.kind {
            // These are listed only.
            Kind::Tokens | Kind::Approvals | Kind::Questions => found(client, &listing, id)?,
            _ => client.get(&format!("{}/{}", listing.path, segment(id)))?,
        };
        if !take(item)? {
            break;
        }
    }
    Ok(())
}

/// Which devices, as a query.
fn chosen(args: &Get) -> Vec<(&'static str, String)> {
    let all = [
        ("l", &args.selector),
        ("where", &args.expression),
        ("q", &args.search),
        ("sort", &args.sort),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
}

/// One of a list.
fn found(client: &mut Client, listing: &Listing, id: &str) -> Result<Value, Fault> {
    let mut found = None;
    client.list(listing.path, &[], &mut |item| {
        if item.pointer(listing.id).and_then(Value::as_str) == Some(id) {
            found = Some(item);
        }
        Ok(found.is_none())
    })?;
    found.ok_or_else(|| {
        Fault::new("not_found", id, "there is none with this id", "").exit(exit::NOT_FOUND)
    })
}

/// From where somebody gets furthest: one document, whose devices people see as a table.
fn worst(client: &mut Client, args: &Get) -> Result<(), Fault> {
    let worst = client.get("/v1/reach/worst")?;
    let people = matches!(args.output, Format::Table | Format::Wide | Format::Name);
    let mut sink = Sink::new(listing(Kind::Reach), args.output, !people);
    if people {
        for device in words::list(&worst, "/devices") {
            sink.take(device)?;
        }
    } else {
        sink.take(&worst)?;
    }
    sink.end()?;
    Ok(())
}

/// Levels have a few words around them.
fn slo(client: &mut Client, args: &Get) -> Result<(), Fault> {
    let standing = client.get("/v1/slo")?;
    let people = matches!(args.output, Format::Table | Format::Wide | Format::Name);
    if !people {
        let mut sink = Sink::new(listing(Kind::Slo), args.output, true);
        sink.take(&standing)?;
        sink.end()?;
        return Ok(());
    }
    let mut sink = Sink::new(listing(Kind::Slo), args.output, false);
    for level in words::list(&standing, "/levels") {
        sink.take(level)?;
    }
    sink.end()?;
    eprintln!(
        "since {}; {} sweeps over all decisions found {} missing",
        words::instant(&standing, "/since"),
        words::at(&standing, "/sweeps"),
        words::at(&standing, "/missed")
    );
    Ok(())
}

/// Shows everything, then what changes.
fn watch(client: &mut Client, args: &Get) -> Result<u8, Stop> {
    let mut shown = Shown::new(args);
    // Before the list, so that nothing falls between the two.
    let mut follow = Follow::open(client)?;
    let mut all = Vec::new();
    each(client, args, &mut |item| {
        all.push(item);
        Ok(true)
    })?;
    if !shown.begin(&all)? {
        return Ok(exit::FINE);
    }
    let area = if args.kind == Kind::Devices { "device" } else { "site" };
    loop {
        let Some(message) = follow.next(client, WAIT)? else { continue };
        let changed = match message.event.as_str() {
            "change" => changed(&message.data, area),
            // Something was missed: everything is read again.
            _ => None,
        };
        let items = match changed {
            Some(ids) if ids.len() <= ONE_BY_ONE => look(client, args, &ids)?,
            _ => {
                let mut all = BTreeMap::new();
                each(client, args, &mut |item| {
                    all.insert(words::at(&item, "/id"), item);
                    Ok(true)
                })?;
                all
            }
        };
        for item in items.values() {
            if !shown.again(item)? {
                return Ok(exit::FINE);
            }
        }
    }
}

/// Ids of an area that a change names; `None`: it is not understood.
fn changed(data: &str, area: &str) -> Option<BTreeSet<String>> {
    let change: Value = serde_json::from_str(data).ok()?;
    let of_area = words::list(&change, "/events").filter(|event| words::at(event, "/area") == area);
    Some(of_area.filter_map(|event| event.get("event")).flat_map(words::ids).collect())
}

/// Looks single things up; what is not selected (any more) is left out.
fn look(
    client: &mut Client,
    args: &Get,
    ids: &BTreeSet<String>,
) -> Result<BTreeMap<String, Value>, Fault> {
    let mut items = BTreeMap::new();
    for id in ids {
        if !args.ids.is_empty() && !args.ids.contains(id) {
            continue;
        }
        let mut query = chosen(args);
        let found = match query.is_empty() {
            false => {
                query.retain(|(name, _)| *name != "l");
                let selector = args.selector.as_deref().unwrap_or_default();
                query.push(("l", format!("{selector},id={id}")));
                query.push(("limit", "1".to_owned()));
                let page = client.get(&with_query("/v1/devices", &query))?;
                words::list(&page, "/items").next().cloned()
            }
            true => {
                let path = format!("{}/{}", listing(args.kind).path, segment(id));
                match client.get(&path) {
                    Ok(item) => Some(item),
                    Err(fault) if fault.code_of_exit() == exit::NOT_FOUND => None,
                    Err(fault) => return Err(fault),
                }
            }
        };
        items.extend(found.map(|item| (id.clone(), item)));
    }
    Ok(items)
}

/// Rows that come one by one, under heads that stand.
struct Shown<'a> {
    args: &'a Get,
    listing: Listing,
    widths: Vec<usize>,
    last: BTreeMap<String, Value>,
}

impl<'a> Shown<'a> {
    fn new(args: &'a Get) -> Self {
        Self { args, listing: listing(args.kind), widths: Vec::new(), last: BTreeMap::new() }
    }

    fn begin(&mut self, items: &[Value]) -> Result<bool, Fault> {
        if matches!(self.args.output, Format::Table | Format::Wide) {
            let heads = heads(&self.listing, self.args.output);
            self.widths = heads.iter().map(|head| head.chars().count()).collect();
            for item in items {
                let cells = cells(&self.listing, self.args.output, item);
                for (width, cell) in self.widths.iter_mut().zip(&cells) {
                    *width = (*width).max(cell.chars().count());
                }
            }
            if !self.line(&self.padded(&heads))? {
                return Ok(false);
            }
        }
        for item in items {
            if !self.again(item)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Shows a thing, unless it is as it was.
    fn again(&mut self, item: &Value) -> Result<bool, Fault> {
        let id = words::at(item, self.listing.id);
        if self.last.get(&id) == Some(item) {
            return Ok(true);
        }
        self.last.insert(id.clone(), item.clone());
        let text = match self.args.output {
            Format::Table | Format::Wide => {
                self.padded(&cells(&self.listing, self.args.output, item))
            }
            Format::Name => id,
            // A table is no stream.
            Format::Json | Format::Jsonl | Format::Csv => words::json(item),
            Format::Yaml => {
                let mut text = b"---\n".to_vec();
                // Into memory nothing fails.
                let _ = super::yaml::write(&mut text, item);
                String::from_utf8_lossy(&text).trim_end().to_owned()
            }
        };
        self.line(&text)
    }

    fn padded(&self, cells: &[String]) -> String {
        let cell = |(cell, width): (&String, &usize)| format!("{cell:width$}");
        let line = cells.iter().zip(&self.widths).map(cell).collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned()
    }

    fn line(&self, text: &str) -> Result<bool, Fault> {
        let mut out = io::stdout().lock();
        match writeln!(out, "{text}").and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Fault::new("output", "standard output", error, "")),
        }
    }
}
