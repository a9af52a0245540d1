//! `ringfence identity keys …`: keys and secrets as inventory.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use controller::import::{TableRow, plain as column_name};
use estate::identities::SECRETS_AT_ONCE_MAX;
use serde_json::{Value, json};

use super::args::{Format, IdentityKeys, KeyAdd, KeyCommands, KeyImport, KeyList, KeyOf};
use super::columns::{KEYRING, Listing};
use super::fault::{Fault, Stop};
use super::parts::{Judged, Sheet, Way};
use super::sink::Sink;
use super::words::{at, list, plain};

const PATH: &str = "/v1/keys";
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
    let body = json!({ "secrets": [told], "why": args.of.reason.reason });
    let done = super::open(&args.of.at)?.post(PATH, &body)?;
    found(&done);
    eprintln!("{}", if news(&done) == 0 { "it is known already" } else { "its digest is known" });
    Ok(())
}

/// How many were not known before.
fn news(done: &Value) -> u64 {
    done.pointer("/new").and_then(Value::as_u64).unwrap_or_default()
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

/// All of a table, or nothing. A secret is in no message.
fn import(args: &KeyImport) -> Result<(), Stop> {
    let sheet = Sheet::read(&args.file)?;
    let columns = Columns::of(&sheet)?;
    let why = args.reason.reason.as_str();
    let way = Way { path: PATH, field: "secrets", most: SECRETS_AT_ONCE_MAX, why: Some(why) };
    let (mut seen, mut new) = (BTreeMap::new(), 0_u64);
    let all = sheet.tell(
        || super::open(&args.at),
        &way,
        |row| columns.judge(row, &args.kind, &mut seen),
        |done| {
            found(done);
            new = new.saturating_add(news(done));
        },
    )?;
    let known = u64::try_from(all).unwrap_or(u64::MAX).saturating_sub(new);
    eprintln!("{all} secrets: {new} since now, {known} were known already");
    Ok(())
}

/// Where what is in a table of secrets.
struct Columns {
    device: usize,
    secret: usize,
    kind: Option<usize>,
    name: Option<usize>,
    since: Option<usize>,
    rotate_days: Option<usize>,
}

/// Names of secrets of a table: line, device and secret of each.
type Seen = BTreeMap<(String, String), (u64, String, String)>;

impl Columns {
    fn of(sheet: &Sheet) -> Result<Self, Fault> {
        let known = ["device", "psk", "secret", "kind", "name", "since", "rotate-days"];
        let other = sheet.names().iter().find(|name| !known.contains(&&*column_name(name)));
        if let Some(other) = other {
            let why = format!("the column `{}` is none of {}", plain(other), known.join(", "));
            return Err(sheet.fault(why));
        }
        let secret = sheet.optional("psk").or_else(|| sheet.optional("secret"));
        Ok(Self {
            device: sheet.column("device")?,
            secret: secret.ok_or_else(|| sheet.fault("it has no column `psk` or `secret`"))?,
            kind: sheet.optional("kind"),
            name: sheet.optional("name"),
            since: sheet.optional("since"),
            rotate_days: sheet.optional("rotate-days"),
        })
    }

    fn judge(&self, row: &TableRow, kind: &str, seen: &mut Seen) -> Judged {
        let cell = |at: usize| row.cell(at).filter(|cell| !cell.is_empty());
        let named = |at: Option<usize>| at.and_then(cell);
        let (Some(device), Some(secret)) = (cell(self.device), cell(self.secret)) else {
            return Err("its device or its secret is missing; write both".to_owned());
        };
        let days = named(self.rotate_days).map(|days| days.parse::<u16>());
        let days = days.transpose().map_err(|_| {
            "its rotate-days is no number of days; write 90, or leave it empty".to_owned()
        })?;
        let kind = named(self.kind).unwrap_or(kind);
        let name = named(self.name);
        // A PSK is found by its name alone, other secrets by device and name.
        let of = match kind {
            "psk" => String::new(),
            _ => format!("{device}\t"),
        };
        let of = (kind.to_owned(), of + name.unwrap_or(device));
        let here = (row.line, device.to_owned(), secret.to_owned());
        let (line, other, before) = &*seen.entry(of).or_insert(here);
        if (other.as_str(), before.as_str()) != (device, secret) {
            return Err(format!(
                "a {} of this name is in line {line} already, and is another one; take one of the two out",
                plain(kind)
            ));
        }
        Ok(json!({
            "device": device, "secret": secret, "kind": kind, "name": name,
            "since": named(self.since), "rotate_days": days,
        }))
    }
}
