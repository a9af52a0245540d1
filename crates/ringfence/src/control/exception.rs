//! `ringfence exception …`: paths that are open for a while.

use hyper::{Method, header};
use serde_json::{Value, json};

use super::args::{ExceptionAdd, ExceptionEnd, ExceptionList, Exceptions, Format};
use super::change::{WAITS, waits};
use super::client::{APPROVAL, segment};
use super::columns::{EXCEPTIONS, Listing};
use super::fault::{Fault, Stop};
use super::progress::waiting;
use super::sink::Sink;
use super::words::{at, instant, list, word};
use crate::{exit, out};

const PATH: &str = "/v1/exceptions";

pub(super) fn run(command: &Exceptions) -> Result<u8, Stop> {
    match command {
        Exceptions::List(args) => listed(args),
        Exceptions::Add(args) => add(args),
        Exceptions::End(args) => end(args),
    }
}

fn listing() -> Listing {
    Listing { path: PATH, id: "/id", columns: EXCEPTIONS, chosen: Vec::new() }
}

fn no_table(output: Format) -> Result<(), Fault> {
    match output {
        Format::Csv => Err(Fault::usage("-o csv", "it is for lists of devices")),
        _ => Ok(()),
    }
}

fn listed(args: &ExceptionList) -> Result<u8, Stop> {
    no_table(args.output)?;
    let query: Vec<(&str, String)> = [
        ("state", &args.state),
        ("owner", &args.owner),
        ("l", &args.selector),
        ("where", &args.expression),
        ("q", &args.search),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.clone()?)))
    .collect();
    let mut sink = Sink::new(listing(), args.output, false);
    super::open(&args.at)?.list(PATH, &query, &mut |item| sink.take(&item))?;
    sink.end()?;
    Ok(exit::FINE)
}

fn add(args: &ExceptionAdd) -> Result<u8, Stop> {
    no_table(args.output)?;
    let body = json!({
        "from": args.device, "to": args.service, "owner": args.owner, "until": args.until,
        "for_s": args.lasts.map(|time| time.as_secs()), "dry_run": args.dry_run, "why": args.reason.reason,
    });
    let approved: Vec<_> =
        args.approval.approval.iter().map(|id| (APPROVAL, id.as_str())).collect();
    let mut client = super::open(&args.at)?;
    let bar = waiting("the controller works out what it opens");
    let answer = client.ask(&Method::POST, PATH, Some(&body), &approved);
    bar.finish_and_clear();
    let answer = answer.map_err(refused)?;
    let opened = answer.json()?;
    if answer.status == WAITS {
        return Ok(waits(&opened));
    }
    if args.dry_run {
        return would(args, &opened);
    }
    let made = opened.get("exception").cloned().unwrap_or_default();
    match args.output {
        Format::Table | Format::Wide => out::print(|out| writeln!(out, "{}", at(&made, "/id")))?,
        output => {
            let mut sink = Sink::new(listing(), output, true);
            sink.take(&made)?;
            sink.end()?;
        }
    }
    eprintln!(
        "{} may open {} until {}; the site gets it now",
        at(&made, "/from"),
        at(&made, "/to"),
        instant(&made, "/expires_at")
    );
    Ok(exit::FINE)
}

/// Policy refuses: that has an exit code of its own.
fn refused(fault: Fault) -> Fault {
    match fault.word() {
        "exception.refused" => fault.exit(exit::REFUSED),
        _ => fault,
    }
}

/// What an exception would open, or why it may not be.
fn would(args: &ExceptionAdd, opened: &Value) -> Result<u8, Stop> {
    let faults: Vec<&Value> = list(opened, "/plan/refused").collect();
    match args.output {
        Format::Table | Format::Wide => out::print(|out| {
            let (device, service) = (&args.device, &args.service);
            for fault in &faults {
                // What no line of the folder says is about the exception itself.
                let place = match at(fault, "/line").as_str() {
                    "0" => String::new(),
                    line => format!("{}:{line}: ", at(fault, "/file")),
                };
                writeln!(out, "refused: {place}{}: {}", at(fault, "/what"), at(fault, "/why"))?;
            }
            if !faults.is_empty() {
                return Ok(());
            }
            let until = instant(opened, "/expires_at");
            match at(opened, "/plan/opened/pairs").as_str() {
                "0" => writeln!(out, "opens nothing that is not open already, until {until}")?,
                _ => writeln!(out, "opens {device} → {service} until {until}")?,
            }
            let more = at(opened, "/devices");
            writeln!(out, "  whoever takes {device} over would reach {more} more device(s)")?;
            for test in list(opened, "/against") {
                writeln!(out, "  against a test: {}", word(test))?;
            }
            if at(opened, "/second_person") == "yes" {
                writeln!(out, "  it takes a second person")?;
            }
            Ok(())
        })?,
        output => {
            let mut sink = Sink::new(listing(), output, true);
            sink.take(opened)?;
            sink.end()?;
        }
    }
    eprintln!("nothing was changed");
    Ok(if faults.is_empty() { exit::FINE } else { exit::REFUSED })
}

fn end(args: &ExceptionEnd) -> Result<u8, Stop> {
    let mut client = super::open(&args.at)?;
    for id in &args.ids {
        let path = format!("{PATH}/{}", segment(id));
        let seen = client.ask(&Method::GET, &path, None, &[])?;
        let before = seen.json()?;
        let over = ["ended", "expired"].contains(&&*at(&before, "/state"));
        let as_seen: Vec<_> =
            seen.etag.iter().map(|tag| (header::IF_MATCH, tag.as_str())).collect();
        let body = json!({ "why": args.reason.reason });
        client.ask(&Method::POST, &format!("{path}/end"), Some(&body), &as_seen)?;
        eprintln!("{id} {}", if over { "was over already" } else { "is ended" });
    }
    Ok(exit::FINE)
}
