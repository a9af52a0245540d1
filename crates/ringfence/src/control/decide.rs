//! `ringfence decide`: what waits for a person, and the answer.

use hyper::Method;
use serde_json::Value;

use super::args::{Decide, Format, Kind};
use super::client::Client;
use super::columns::listing;
use super::fault::{Fault, Stop};
use super::sink::Sink;
use super::words::{at, instant, list, word};
use crate::{exit, out};

pub(super) fn run(args: &Decide) -> Result<u8, Stop> {
    if args.output == Format::Csv {
        return Err(Fault::usage("-o csv", "it is for lists of devices").into());
    }
    let mut client = super::open(&args.at)?;
    let Some(id) = &args.id else {
        return all(&mut client, args);
    };
    let question = found(&mut client, id)?;
    match &args.choice {
        None => shown(&question, args.output)?,
        Some(choice) => chosen(&mut client, id, &question, choice, args.reason.as_deref())?,
    }
    Ok(exit::FINE)
}

fn all(client: &mut Client, args: &Decide) -> Result<u8, Stop> {
    let kind = args.kind.iter().map(|kind| ("kind", kind.word().to_owned())).collect::<Vec<_>>();
    let listing = listing(Kind::Questions);
    let path = listing.path;
    let mut sink = Sink::new(listing, args.output, false);
    client.list(path, &kind, &mut |item| sink.take(&item))?;
    let count = sink.end()?;
    if count > 0 && matches!(args.output, Format::Table | Format::Wide) {
        eprintln!("`ringfence decide ID` shows what is known and what can be chosen");
    }
    Ok(exit::FINE)
}

fn found(client: &mut Client, id: &str) -> Result<Value, Fault> {
    let mut found = None;
    client.list("/v1/questions", &[("id", id.to_owned())], &mut |item| {
        found = Some(item);
        Ok(false)
    })?;
    found.ok_or_else(|| {
        let why = "nothing waits under this id: it may have been decided";
        Fault::new("not_found", id, why, "`ringfence decide` lists what waits")
            .exit(exit::NOT_FOUND)
    })
}

fn shown(question: &Value, output: Format) -> Result<(), Stop> {
    if !matches!(output, Format::Table | Format::Wide) {
        let mut sink = Sink::new(listing(Kind::Questions), output, true);
        sink.take(question)?;
        sink.end()?;
        return Ok(());
    }
    out::print(|out| {
        writeln!(out, "{}", at(question, "/what"))?;
        for (head, pointer) in [("waits since", "/since"), ("answerable", "/answerable")] {
            let text = match pointer {
                "/since" => instant(question, pointer),
                _ => at(question, pointer),
            };
            if !text.is_empty() {
                writeln!(out, "  {head}: {text}")?;
            }
        }
        for line in list(question, "/evidence") {
            writeln!(out, "  {}", word(line))?;
        }
        writeln!(out)?;
        for choice in list(question, "/choices") {
            writeln!(out, "  {}: {}", at(choice, "/choice"), at(choice, "/does"))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Sends the request that the controller named for the choice.
fn chosen(
    client: &mut Client,
    id: &str,
    question: &Value,
    choice: &str,
    reason: Option<&str>,
) -> Result<(), Fault> {
    let wrong = |why: String| Fault::usage(format!("{id} {choice}"), why);
    let found = list(question, "/choices").find(|known| at(known, "/choice") == choice);
    let Some(found) = found else {
        let known: Vec<String> = list(question, "/choices").map(|c| at(c, "/choice")).collect();
        return Err(wrong(format!("it is no choice; there are {}", known.join(", "))));
    };
    let request = found.get("request").filter(|request| !request.is_null());
    let Some(request) = request else {
        return Err(wrong(format!("it takes more than a word: {}", at(found, "/does"))));
    };
    let Some(reason) = reason else {
        return Err(wrong("say why, with --reason".to_owned()));
    };
    let (path, method) = (at(request, "/path"), at(request, "/method"));
    let method = [Method::POST, Method::PATCH, Method::PUT].into_iter().find(|m| *m == *method);
    let Some(method) = method.filter(|_| path.starts_with("/v1/")) else {
        let help = "use the program of the controller's version";
        return Err(Fault::new("answer", id, "the request for it is not understood", help));
    };
    let mut body = request.get("body").cloned().unwrap_or_default();
    if let Some(body) = body.as_object_mut() {
        body.insert("why".to_owned(), Value::from(reason));
    }
    client.ask(&method, &path, Some(&body), &[])?;
    eprintln!("{}", at(found, "/does"));
    Ok(())
}
