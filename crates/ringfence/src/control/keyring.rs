//! `ringfence identity keys …`: keys and secrets as inventory.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};

use super::args::{Format, IdentityKeys, KeyAdd, KeyCommands, KeyImport, KeyList, KeyOf};
use super::client::Client;
use super::columns::{KEYRING, Listing};
use super::fault::{Fault, Stop};
use super::sink::Sink;
use super::words::{at, list, plain};

const PATH: &str = "/v1/keys";
/// Secrets that are sent at once.
const PART: usize = 1_000;
/// Bytes of a file with one secret.
const SECRET_BYTES_MAX: u64 = 4_096;

pub(super) fn run(keys: &IdentityKeys) -> Result<(), Stop> {
    match &keys.command {
        None => printed(&keys.list),
        Some(KeyCommands::Add(args)) => add(args),
        Some(KeyCommands::Rotate(args)) => {
            let told = told(args)?;
            let body = json!({ "secret": told, "why": args.of.reason.reason });
            let done = super::open(&args.of.at)?.post(&format!("{PATH}/rotate"), &body)?;
            found(&done);
            eprintln!("{} has another one", plain(&args.of.device));
            Ok(())
        }
        Some(KeyCommands::Import(args)) => import(args),
        Some(KeyCommands::End(args)) => {
            let KeyOf { device, kind, name, reason, at } = &args.of;
            let body = json!({
                "device": device, "kind": kind, "name": name, "why": reason.reason,
            });
            super::open(at)?.post(&format!("{PATH}/end"), &body)?;
            eprintln!("it shows nothing of {} any more", plain(device));
            Ok(())
        }
    }
}

fn printed(args: &KeyList) -> Result<(), Stop> {
    if args.output == Format::Csv {
        return Err(Fault::usage("-o csv", "it is for lists of devices").into());
    }
    let mut query: Vec<(&str, String)> =
        [("kind", &args.kind), ("owner", &args.owner), ("device", &args.device)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)))
            .collect();
    if args.overdue {
        query.push(("overdue", "true".to_owned()));
    }
    let listing = Listing { path: PATH, id: "/name", columns: KEYRING, chosen: Vec::new() };
    let mut client = super::open(&args.at)?;
    let mut sink = Sink::new(listing, args.output, false);
    client.list(PATH, &query, &mut |item| sink.take(&item))?;
    sink.end()?;
    Ok(())
}

fn add(args: &KeyAdd) -> Result<(), Stop> {
    let told = told(args)?;
    let mut client = super::open(&args.of.at)?;
    let new = send(&mut client, &[told], &args.of.reason.reason)?;
    eprintln!("{}", if new == 0 { "it is known already" } else { "its digest is known" });
    Ok(())
}

/// Tells some, and what should be looked at; how many of them are new.
fn send(client: &mut Client, told: &[Value], why: &str) -> Result<u64, Stop> {
    let done = client.post(PATH, &json!({ "secrets": told, "why": why }))?;
    found(&done);
    Ok(done.pointer("/new").and_then(Value::as_u64).unwrap_or_default())
}

fn found(done: &Value) {
    for what in list(done, "/findings") {
        eprintln!("finding: {}", at(what, ""));
    }
}

fn told(args: &KeyAdd) -> Result<Value, Stop> {
    let KeyOf { device, kind, name, .. } = &args.of;
    Ok(json!({
        "device": device, "kind": kind, "name": name, "secret": secret(&args.secret_file)?,
        "since": args.since, "rotate_days": args.rotate_days,
    }))
}

fn secret(file: &Path) -> Result<String, Fault> {
    let shown = file.display().to_string();
    let mut text = String::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().take(SECRET_BYTES_MAX).read_to_string(&mut text),
        false => std::fs::File::open(file)
            .and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text)),
    };
    read.map_err(|error| Fault::usage(shown.as_str(), error.to_string()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line.is_empty() {
        true => Err(Fault::usage(shown, "there is no secret in it")),
        false => Ok(line.to_owned()),
    }
}

fn import(args: &KeyImport) -> Result<(), Stop> {
    let shown = args.file.display().to_string();
    let text = std::fs::read_to_string(&args.file);
    let text = text.map_err(|error| Fault::usage(shown.as_str(), error.to_string()))?;
    let told = rows(&shown, &text, &args.kind)?;
    let mut client = super::open(&args.at)?;
    let mut new = 0_u64;
    for part in told.chunks(PART) {
        new = new.saturating_add(send(&mut client, part, &args.reason.reason)?);
    }
    eprintln!("{} secrets, {new} of them since now", told.len());
    Ok(())
}

/// Every line, or which one is wrong. A secret is in no message.
fn rows(shown: &str, text: &str, kind: &str) -> Result<Vec<Value>, Fault> {
    let words = |line: &str| line.split(',').map(|w| w.trim().to_owned()).collect::<Vec<_>>();
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let header = lines.next().map(|(_, line)| words(line)).unwrap_or_default();
    let known = ["device", "psk", "secret", "kind", "name", "since", "rotate_days"];
    if let Some(other) = header.iter().find(|column| !known.contains(&column.as_str())) {
        let why = format!("the column `{}` is none of {}", plain(other), known.join(", "));
        return Err(Fault::usage(shown, why));
    }
    let column = |name: &str| header.iter().position(|column| column == name);
    let device = column("device");
    let device = device.ok_or_else(|| Fault::usage(shown, "it has no column `device`"))?;
    let secret = column("psk").or_else(|| column("secret"));
    let secret = secret.ok_or_else(|| Fault::usage(shown, "it has no column `psk` or `secret`"))?;
    let mut told = Vec::new();
    for (number, line) in lines {
        let cells = words(line);
        let wrong = |why: &str| {
            Fault::usage(format!("{shown}, line {}", number.saturating_add(1)), why.to_owned())
        };
        if cells.len() > header.len() {
            return Err(wrong(
                "it has more cells than the header; a secret with a comma goes with `add`",
            ));
        }
        let cell = |at: usize| cells.get(at).filter(|cell| !cell.is_empty());
        let named = |name: &str| column(name).and_then(cell);
        let (Some(device), Some(secret)) = (cell(device), cell(secret)) else {
            return Err(wrong("its device or its secret is missing"));
        };
        let days = named("rotate_days").map(|days| days.parse::<u16>());
        let days = days.transpose().map_err(|_| wrong("rotate_days is no number of days"))?;
        told.push(json!({
            "device": device, "secret": secret, "kind": named("kind").map_or(kind, String::as_str),
            "name": named("name"), "since": named("since"), "rotate_days": days,
        }));
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_secret_in_each_line() {
        let text = "device, psk ,rotate_days\nmeter-1,00ff,90\n\nmeter-2,11ee,\n";
        let told = rows("f.csv", text, "psk").unwrap();
        assert_eq!(told.len(), 2);
        assert_eq!((&told[0]["device"], &told[0]["secret"]), (&json!("meter-1"), &json!("00ff")));
        assert_eq!((&told[0]["rotate_days"], &told[1]["rotate_days"]), (&json!(90), &Value::Null));
        assert_eq!(told[1]["kind"], "psk");
        let other = rows("f.csv", "device,secret,kind\na,b,oscore", "psk").unwrap();
        assert_eq!(other[0]["kind"], "oscore");
        for (text, why) in [
            ("", "no column `device`"),
            ("device", "no column `psk`"),
            ("device,pks\n", "the column `pks`"),
            ("device,psk\nmeter-1", "line 2"),
            ("device,psk\nmeter-1,hush,more", "line 2"),
            ("device,psk,rotate_days\nmeter-1,hush,often", "rotate_days"),
        ] {
            let error = format!("{:?}", rows("f.csv", text, "psk").unwrap_err());
            assert!(error.contains(why) && !error.contains("hush"), "{error}");
        }
    }
}
