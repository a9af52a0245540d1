//! `ringfence release …`: firmware that somebody answers for, and what a device that runs it may measure.

use std::path::Path;

use hyper::{Method, header};
use serde_json::{Value, json};

use super::args::{Format, ReleaseAdd, ReleaseList, ReleaseShow, ReleaseWithdraw, Releases};
use super::client::segment;
use super::columns::{Listing, RELEASES};
use super::describe::pairs;
use super::fault::{Fault, Stop};
use super::sink::Sink;
use super::words::{at, instant, list};
use crate::{exit, out};

const PATH: &str = "/v1/releases";
/// Bytes of a file.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// What a controller answers that has added something.
const ADDED: u16 = 201;

pub(super) fn run(command: &Releases) -> Result<u8, Stop> {
    match command {
        Releases::List(args) => listed(args)?,
        Releases::Show(args) => show(args)?,
        Releases::Add(args) => add(args)?,
        Releases::Withdraw(args) => withdraw(args)?,
    }
    Ok(exit::FINE)
}

fn listing() -> Listing {
    Listing { path: PATH, id: "/id", columns: RELEASES, chosen: Vec::new() }
}

fn no_table(output: Format) -> Result<(), Fault> {
    match output {
        Format::Csv => Err(Fault::usage("-o csv", "it is for lists of devices")),
        _ => Ok(()),
    }
}

fn listed(args: &ReleaseList) -> Result<(), Stop> {
    no_table(args.output)?;
    let query: Vec<(&str, String)> =
        [("state", &args.state), ("vendor", &args.vendor), ("model", &args.model)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)))
            .collect();
    let mut sink = Sink::new(listing(), args.output, false);
    super::open(&args.at)?.list(PATH, &query, &mut |item| sink.take(&item))?;
    sink.end()?;
    Ok(())
}

fn show(args: &ReleaseShow) -> Result<(), Stop> {
    no_table(args.output)?;
    let shown = super::open(&args.at)?.get(&format!("{PATH}/{}", segment(&args.id)))?;
    if !matches!(args.output, Format::Table | Format::Wide) {
        return one(args.output, &shown);
    }
    out::print(|out| {
        writeln!(out, "Release {}", at(&shown, "/id"))?;
        pairs(
            out,
            &[
                ("for", name(&shown)),
                ("state", at(&shown, "/state")),
                ("document (SHA-256)", at(&shown, "/document_sha256")),
                ("compared", format!("{} of {}", at(&shown, "/form"), at(&shown, "/bank"))),
                ("values", at(&shown, "/values")),
                ("added by", at(&shown, "/added_by")),
                ("added at", instant(&shown, "/added_at")),
                ("because", at(&shown, "/reason")),
                ("withdrawn by", at(&shown, "/withdrawn_by")),
                ("withdrawn at", instant(&shown, "/withdrawn_at")),
                ("withdrawn because", at(&shown, "/withdrawn_because")),
                ("replaced by", at(&shown, "/replaced_by")),
                ("journal entry", at(&shown, "/entry")),
            ],
        )?;
        let registers = shown.pointer("/registers").and_then(Value::as_object);
        for (pcr, register) in registers.into_iter().flatten() {
            let count = |of| list(register, of).count();
            let (allowed, required) = (count("/allowed"), count("/required"));
            writeln!(out, "  PCR {pcr}: {allowed} allowed, {required} required")?;
        }
        Ok(())
    })?;
    Ok(())
}

fn add(args: &ReleaseAdd) -> Result<(), Stop> {
    no_table(args.output)?;
    let document = text(&args.file)?;
    let body = json!({ "document": document, "replaces": args.replace, "why": args.reason.reason });
    let mut client = super::open(&args.at)?;
    let answer = client.ask(&Method::POST, PATH, Some(&body), &[])?;
    let is = answer.json()?;
    match args.output {
        Format::Table | Format::Wide => out::print(|out| writeln!(out, "{}", at(&is, "/id")))?,
        output => one(output, &is)?,
    }
    let name = name(&is);
    match answer.status == ADDED {
        true => eprintln!("devices that are {name} are attested by it from now on"),
        false => eprintln!("there is this release for {name} already; nothing was changed"),
    }
    Ok(())
}

fn withdraw(args: &ReleaseWithdraw) -> Result<(), Stop> {
    let mut client = super::open(&args.at)?;
    for id in &args.ids {
        let path = format!("{PATH}/{}", segment(id));
        let seen = client.ask(&Method::GET, &path, None, &[])?;
        let over = at(&seen.json()?, "/state") == "withdrawn";
        let as_seen: Vec<_> =
            seen.etag.iter().map(|tag| (header::IF_MATCH, tag.as_str())).collect();
        let body = json!({ "why": args.reason.reason });
        client.ask(&Method::POST, &format!("{path}/withdraw"), Some(&body), &as_seen)?;
        eprintln!("{id} {}", if over { "was withdrawn already" } else { "is withdrawn" });
    }
    Ok(())
}

fn one(output: Format, release: &Value) -> Result<(), Stop> {
    let mut sink = Sink::new(listing(), output, true);
    sink.take(release)?;
    sink.end()?;
    Ok(())
}

/// For which devices it is.
fn name(release: &Value) -> String {
    let [vendor, model, version] = ["/vendor", "/model", "/version"].map(|of| at(release, of));
    format!("{vendor} {model} {version}")
}

/// A file as it is: what is sent is what sha256sum says of it.
fn text(path: &Path) -> Result<String, Fault> {
    let help = "docs/identity-tpm.md has the form of such a file";
    let wrong = |why: &dyn std::fmt::Display| Fault::file(path, why, help);
    let size = std::fs::metadata(path).map_err(|error| wrong(&error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(wrong(&format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| wrong(&error))
}
