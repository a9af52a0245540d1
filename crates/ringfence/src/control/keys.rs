//! `ringfence keys …`: which key signs for a device, and how far it has committed to what it sent.

use std::io::Read as _;
use std::path::Path;

use hyper::Method;
use serde_json::{Value, json};

use super::args::{Format, Keys, KeysOf};
use super::client::{Client, segment, with_query};
use super::columns::{CHAINS, Listing, SIGNATURE_KEYS};
use super::fault::{Fault, Stop};
use super::sink::Sink;
use super::words::{at, list, plain};
use crate::exit;

/// Bytes of a file with a public key.
const KEY_BYTES_MAX: u64 = 16 << 10;

pub(super) fn run(command: &Keys) -> Result<u8, Stop> {
    match command {
        Keys::List(args) => {
            show(
                args,
                "keys",
                Listing { path: "", id: "/id", columns: SIGNATURE_KEYS, chosen: Vec::new() },
            )?;
        }
        Keys::Chains(args) => {
            show(
                args,
                "commitments",
                Listing { path: "", id: "/device", columns: CHAINS, chosen: Vec::new() },
            )?;
        }
        Keys::Register(args) => {
            let body = json!({
                "key": public_key(&args.key)?,
                "gateway": args.gateway,
                "epoch": args.epoch,
                "why": args.reason.reason,
            });
            let path = of(&args.device, "keys");
            let made = super::open(&args.at)?.post(&path, &body)?;
            // What the device has to write into its commitments.
            eprintln!(
                "key {} signs for device {} in epoch {}",
                at(&made, "/id"),
                at(&made, "/device"),
                at(&made, "/epoch")
            );
        }
        Keys::Revoke(args) => {
            let mut client = super::open(&args.at)?;
            let key = whole(&mut client, &args.device, &args.key)?;
            let path = format!("{}/{}", of(&args.device, "keys"), segment(&key));
            let path = with_query(&path, &[("why", args.reason.reason.clone())]);
            client.ask(&Method::DELETE, &path, None, &[])?;
            eprintln!("key {key} signs for nobody any more");
        }
    }
    Ok(exit::FINE)
}

fn of(device: &str, what: &str) -> String {
    format!("/v1/devices/{}/{what}", segment(device))
}

fn show(args: &KeysOf, what: &str, listing: Listing) -> Result<(), Stop> {
    if args.output == Format::Csv {
        return Err(Fault::usage("-o csv", "it is for lists of devices").into());
    }
    let all = super::open(&args.at)?.get(&of(&args.device, what))?;
    let mut sink = Sink::new(listing, args.output, false);
    for item in list(&all, "/items") {
        if !sink.take(item)? {
            break;
        }
    }
    sink.end()?;
    Ok(())
}

/// The one key of a device that begins so.
fn whole(client: &mut Client, device: &str, beginning: &str) -> Result<String, Fault> {
    let all = client.get(&of(device, "keys"))?;
    let ids = list(&all, "/items").filter_map(|key| key.pointer("/id").and_then(Value::as_str));
    let mut ids = ids.filter(|id| id.starts_with(beginning)).map(plain);
    match (ids.next(), ids.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(Fault::usage(beginning, "several keys begin so")),
        (None, _) => {
            let why = format!("device {} has no such key", plain(device));
            let help = format!("`ringfence keys list {}` shows them", plain(device));
            Err(Fault::new("key.unknown", beginning, why, help).exit(exit::NOT_FOUND))
        }
    }
}

/// A small file, as text; the controller says whether it is a key.
fn public_key(path: &Path) -> Result<String, Fault> {
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().take(KEY_BYTES_MAX).read_to_string(&mut text),
        false => std::fs::File::open(path)
            .and_then(|file| file.take(KEY_BYTES_MAX).read_to_string(&mut text)),
    };
    read.map_err(|error| Fault::file(path, error, "a public key in PEM is expected"))?;
    if text.contains("PRIVATE KEY") {
        let why = "that is a private key: it never leaves its device";
        let help = "`openssl pkey -in KEY -pubout` writes the public half";
        return Err(Fault::file(path, why, help).exit(exit::USAGE));
    }
    Ok(text)
}
