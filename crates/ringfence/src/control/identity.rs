//! `ringfence identity …`: what devices have shown, and how they come to a certificate.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;

use controller::import::TableRow;
use estate::identities::EXPECT_MAX;
use hyper::Method;
use model::DeviceId;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::{Value, json};

use super::args::{
    Format, Identity, IdentityExpect, IdentityList, IdentityRevoke, IdentityShow, IdentityToken,
    IdentityVouch, Output, Reason,
};
use super::change::{WAITS, waits};
use super::client::{APPROVAL, Client, segment, with_query};
use super::columns::{Column, EXPECTED, FINDINGS, Listing, REQUESTS, STANDINGS};
use super::describe::pairs;
use super::fault::{Fault, Stop};
use super::parts::{Sheet, Way};
use super::sink::Sink;
use super::words::{at, instant, list, plain};
use crate::terminal::table;
use crate::{exit, out};

const EXPECTED_PATH: &str = "/v1/identities/expected";
const REQUESTS_PATH: &str = "/v1/identities/requests";

pub(super) fn run(command: &Identity) -> Result<u8, Stop> {
    match command {
        Identity::List(args) => standings(args)?,
        Identity::Show(args) => show(args)?,
        Identity::Token(args) => token(args)?,
        Identity::Revoke(args) => revoke(args)?,
        Identity::Vouch(args) => return vouch(args),
        Identity::Requests(args) => {
            let state = [("state", args.state.clone())];
            let listing = listing(REQUESTS_PATH, "/id", REQUESTS);
            listed(&mut super::open(&args.at)?, listing, &state, args.output)?;
        }
        Identity::Approve(args) => {
            let said = json!({ "approve": args.device });
            let done = answer(&mut super::open(&args.at)?, &args.request, said, &args.reason)?;
            let device = at(&done, "/device");
            eprintln!("it is {device}, which gets its certificate when it asks again");
        }
        Identity::Reject(args) => {
            let said = json!({ "reject": true });
            answer(&mut super::open(&args.at)?, &args.request, said, &args.reason)?;
            eprintln!("it gets no certificate");
        }
        Identity::Expect(args) => match &args.file {
            Some(file) => expect(args, file)?,
            None => {
                let listing = listing(EXPECTED_PATH, "/device", EXPECTED);
                listed(&mut super::open(&args.at)?, listing, &[], args.output)?;
            }
        },
        Identity::Keys(args) => super::keyring::run(args)?,
        Identity::Findings(args) => {
            let listing = listing("/v1/identities/findings", "/entry", FINDINGS);
            listed(&mut super::open(&args.at)?, listing, &[], args.output)?;
        }
    }
    Ok(exit::FINE)
}

/// Sends a list of what was bought: all of it, or nothing. A purchase order may have other columns too.
fn expect(args: &IdentityExpect, file: &Path) -> Result<(), Stop> {
    let sheet = Sheet::read(file)?;
    let [maker, number, device] = ["maker", "number", "device"].map(|name| sheet.column(name));
    let (maker, number, device) = (maker?, number?, device?);
    let why = args.reason.as_deref();
    let way = Way { path: EXPECTED_PATH, field: "expected", most: EXPECT_MAX, why };
    let mut seen = BTreeMap::new();
    let mut new = 0_u64;
    let judge = |row: &TableRow| {
        let told = |at, name: &str, what: &str| match row.cell(at) {
            Some(value) if !value.is_empty() => Ok(value.to_owned()),
            _ => Err(format!("its {name} is missing; write {what}")),
        };
        let maker = told(maker, "maker", "the name of a file in the controller's pki/makers")?;
        let number = told(number, "number", "the one in the maker's certificate")?;
        let device = told(device, "device", "the id of one of the inventory")?;
        DeviceId::new(&device).map_err(|error| {
            format!("its device is no id ({error}); `ringfence get devices` lists them")
        })?;
        let before = seen.entry((maker.clone(), number.clone()));
        let (line, other) = &*before.or_insert_with(|| (row.line, device.clone()));
        if *other != device {
            return Err(format!(
                "number {} of {} is {} in line {line}; take one of the two out",
                plain(&number),
                plain(&maker),
                plain(other)
            ));
        }
        Ok(json!({ "maker": maker, "number": number, "device": device }))
    };
    let all = sheet.tell(
        || super::open(&args.at),
        &way,
        judge,
        |done| {
            let more = done.pointer("/new").and_then(Value::as_u64).unwrap_or_default();
            new = new.saturating_add(more);
        },
    )?;
    let all = u64::try_from(all).unwrap_or(u64::MAX);
    let known = all.saturating_sub(new);
    eprintln!("{all} devices are expected: {new} since now, {known} were already");
    Ok(())
}

fn listing(path: &'static str, id: &'static str, columns: &'static [Column]) -> Listing {
    Listing { path, id, columns, chosen: Vec::new() }
}

fn of(device: &str, what: &str) -> String {
    format!("/v1/devices/{}/identity{what}", segment(device))
}

fn listed(
    client: &mut Client,
    listing: Listing,
    query: &[(&str, String)],
    output: Format,
) -> Result<(), Stop> {
    if output == Format::Csv {
        return Err(Fault::usage("-o csv", "it is for lists of devices").into());
    }
    let path = listing.path;
    let mut sink = Sink::new(listing, output, false);
    client.list(path, query, &mut |item| sink.take(&item))?;
    sink.end()?;
    Ok(())
}

fn standings(args: &IdentityList) -> Result<(), Stop> {
    let query: Vec<(&str, String)> =
        [("level", &args.level), ("below", &args.below), ("ends_before", &args.ends_before)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)))
            .collect();
    let listing = listing("/v1/identities", "/device", STANDINGS);
    listed(&mut super::open(&args.at)?, listing, &query, args.output)
}

/// Where a device stands, in one line.
pub(super) fn standing(identity: &Value) -> String {
    let (level, because) = (at(identity, "/level"), at(identity, "/because"));
    match instant(identity, "/until") {
        until if until.is_empty() => format!("{level}: {because}"),
        until => format!("{level} until {until}: {because}"),
    }
}

fn show(args: &IdentityShow) -> Result<(), Stop> {
    let shown = super::open(&args.at)?.get(&of(&args.device, ""))?;
    if args.output == Output::Json {
        return Ok(out::document(&shown)?);
    }
    out::print(|out| {
        writeln!(out, "Device {}", at(&shown, "/device"))?;
        pairs(
            out,
            &[
                ("stands at", standing(&shown)),
                ("site", at(&shown, "/site")),
                ("zone", zone(&shown)),
                ("owner", at(&shown, "/owner")),
                ("voucher", voucher(&shown)),
                ("attested until", instant(&shown, "/attestation/until")),
                ("attested as", attested_as(&shown)),
                ("TPM (SHA-256)", at(&shown, "/tpm/ek_sha256")),
            ],
        )?;
        certificates(out, &shown)
    })?;
    Ok(())
}

fn zone(shown: &Value) -> String {
    let (meant, there) = (at(shown, "/zone/meant"), at(shown, "/zone/in_force"));
    let vlan = match at(shown, "/zone/vlan") {
        vlan if vlan.is_empty() => vlan,
        vlan => format!(" (VLAN {vlan})"),
    };
    match meant == there {
        true => format!("{there}{vlan}"),
        false => format!("{there}{vlan}; it stands too low for {meant}"),
    }
}

/// The release that attested it, and whether something else is believed to run by now.
fn attested_as(shown: &Value) -> String {
    let release = |part: &str| at(shown, &format!("/attestation/release/{part}"));
    let (id, version) = (release("id"), release("version"));
    if id.is_empty() {
        return id;
    }
    let withdrawn = match release("state") == "withdrawn" {
        true => ", which was withdrawn",
        false => "",
    };
    let name = format!("{} {} {version} ({id}){withdrawn}", release("vendor"), release("model"));
    match at(shown, "/firmware") {
        firmware if firmware.is_empty() || firmware == version => name,
        other => format!("{name}; {other} is believed to run by now"),
    }
}

fn voucher(shown: &Value) -> String {
    let until = instant(shown, "/voucher/until");
    let over = if at(shown, "/voucher/counts") == "no" { " (over)" } else { "" };
    match at(shown, "/voucher/kind").as_str() {
        "people" => {
            let (first, second) = (at(shown, "/voucher/first"), at(shown, "/voucher/second"));
            format!("{first} and {second} until {until}{over}")
        }
        "gateway" => format!("gateway {} until {until}{over}", at(shown, "/voucher/gateway")),
        _ => String::new(),
    }
}

fn certificates(out: &mut dyn Write, shown: &Value) -> io::Result<()> {
    let heads = ["SERIAL NUMBER", "STATE", "LEVEL", "PROOF", "AGE", "UNTIL", "ENTRY"];
    let mut rows = table(&heads);
    for one in list(shown, "/credentials") {
        let state = match at(one, "/revoked_reason") {
            none if none.is_empty() => at(one, "/state"),
            reason => format!("revoked: {reason}"),
        };
        rows.add_row([
            at(one, "/serial"),
            state,
            at(one, "/level"),
            at(one, "/proof"),
            format!("{} d", at(one, "/age_days")),
            instant(one, "/until"),
            at(one, "/entry"),
        ]);
    }
    match rows.is_empty() {
        true => Ok(()),
        false => writeln!(out, "\n{rows}"),
    }
}

fn token(args: &IdentityToken) -> Result<(), Stop> {
    let mut body = json!({ "why": args.reason.reason });
    if let (Some(lasts), Some(map)) = (args.lasts, body.as_object_mut()) {
        map.insert("for_s".to_owned(), lasts.as_secs().into());
    }
    let made = super::open(&args.at)?.post(&of(&args.device, "/token"), &body)?;
    if args.output == Output::Json {
        return Ok(out::document(&made)?);
    }
    let token = at(&made, "/token");
    let drawn = (args.qr || io::stdout().is_terminal()).then(|| drawn(&token)).flatten();
    out::print(|out| {
        writeln!(out, "{token}")?;
        drawn.iter().try_for_each(|drawn| writeln!(out, "\n{drawn}"))
    })?;
    eprintln!("good until {}; it is not shown again", instant(&made, "/expires_at"));
    eprintln!("the root's SHA-256 is {}", at(&made, "/root_sha256"));
    match at(&made, "/est") {
        none if none.is_empty() => {
            eprintln!("this controller does not listen for devices: `ringfence controller --est`");
        }
        _ => eprintln!("by hand, for example:\n  {}", at(&made, "/hint")),
    }
    Ok(())
}

/// A QR code in half blocks, light on a dark ground as terminals are; scanners read it the other way round too.
fn drawn(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let (dark, light) = (Dense1x2::Light, Dense1x2::Dark);
    Some(code.render::<Dense1x2>().dark_color(dark).light_color(light).build())
}

fn revoke(args: &IdentityRevoke) -> Result<(), Stop> {
    let body = json!({
        "serials": args.serials, "reason": args.because, "why": args.reason.reason,
    });
    let now = super::open(&args.at)?.post(&of(&args.device, "/revoke"), &body)?;
    eprintln!("{} stands at {}", at(&now, "/device"), standing(&now));
    Ok(())
}

fn vouch(args: &IdentityVouch) -> Result<u8, Stop> {
    let mut client = super::open(&args.at)?;
    let path = of(&args.device, "/voucher");
    let Some(lasts) = args.lasts else {
        let path = with_query(&path, &[("why", args.reason.reason.clone())]);
        client.ask(&Method::DELETE, &path, None, &[])?;
        eprintln!("nobody vouches for {} any more", plain(&args.device));
        return Ok(exit::FINE);
    };
    let body = json!({
        "gateway": args.gateway, "for_s": lasts.as_secs(), "why": args.reason.reason,
    });
    let approved: Vec<_> =
        args.approval.approval.iter().map(|id| (APPROVAL, id.as_str())).collect();
    let answer = client.ask(&Method::POST, &path, Some(&body), &approved)?;
    let now = answer.json()?;
    if answer.status == WAITS {
        return Ok(waits(&now));
    }
    eprintln!("{} stands at {}", at(&now, "/device"), standing(&now));
    Ok(exit::FINE)
}

fn answer(
    client: &mut Client,
    request: &str,
    mut said: Value,
    reason: &Reason,
) -> Result<Value, Fault> {
    let id = whole(client, request)?;
    if let Some(map) = said.as_object_mut() {
        map.insert("why".to_owned(), Value::from(reason.reason.as_str()));
    }
    client.post(&format!("{REQUESTS_PATH}/{}", segment(&id)), &said)
}

/// The one request that begins so.
fn whole(client: &mut Client, beginning: &str) -> Result<String, Fault> {
    let mut found = Vec::new();
    client.list(REQUESTS_PATH, &[("state", "all".to_owned())], &mut |item| {
        let id = at(&item, "/id");
        if id.starts_with(beginning) {
            found.push(id);
        }
        Ok(found.len() < 2)
    })?;
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => {
            let why = "no request begins so, or it is too old";
            let help = "`ringfence identity requests` lists them";
            Err(Fault::new("identity.request", beginning, why, help).exit(exit::NOT_FOUND))
        }
        _ => Err(Fault::usage(beginning, "several requests begin so")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_on_a_terminal() {
        let drawn = drawn(&format!("est-{}", "0f".repeat(16))).unwrap();
        let width = drawn.lines().map(|line| line.chars().count()).max();
        // 29 modules of version 3, and four around on each side.
        assert_eq!((width, drawn.lines().count()), (Some(37), 19));
        assert!(drawn.chars().all(|c| matches!(c, ' ' | '█' | '▀' | '▄' | '\n')), "{drawn}");
    }
}
