//! `ringfence witness`: a small process that cosigns the heads of logs (C2SP tlog-witness).
//!
//! What is cosigned, [`journal::witness`] decides; [`keep`] makes it durable, [`serve`] speaks HTTP.

pub(crate) mod args;
mod fault;
mod keep;
mod serve;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crypto::{NoteKey, PrivateKey};
use journal::policy::Policy;
use journal::{KeyName, SignatureType, VerifierKey};
use miette::{Report, Result};
use pki::KeyKind;

use self::args::{New, Serve, Witness};
use self::fault::Fault;
use self::keep::{Keeper, Place};
use crate::{exit, out};

/// Runs a command.
pub(crate) fn run(command: &Witness) -> Result<u8> {
    let outcome = match command {
        Witness::New(args) => new(args).map(Some),
        Witness::Serve(args) => serve(args).map(|()| None),
    };
    match outcome {
        Ok(Some(vkey)) => {
            out::print(|out| {
                writeln!(out, "A witness begins. Policies name it by this key:")?;
                writeln!(out, "  {vkey}")
            })?;
            Ok(exit::FINE)
        }
        Ok(None) => Ok(exit::FINE),
        Err(fault) => {
            let code = fault.code();
            eprintln!("{:?}", Report::from(fault));
            Ok(code)
        }
    }
}

fn new(args: &New) -> Result<VerifierKey, Fault> {
    let folder = &args.folder;
    let name = KeyName::new(&args.name).map_err(Fault::malformed("--name"))?;
    fs::create_dir_all(folder).map_err(Fault::io(folder))?;
    if fs::read_dir(folder).map_err(Fault::io(folder))?.next().is_some() {
        return Err(Fault::NotEmpty(folder.clone()));
    }
    let new = Fault::malformed("a new key");
    let (key, pem) = PrivateKey::generate(KeyKind::Ed25519).map_err(new)?;
    let key = NoteKey::try_from(key).map_err(Fault::malformed("a new key"))?;
    let vkey = VerifierKey::of(name, SignatureType::CosignatureV1, &key)
        .map_err(Fault::malformed("a new key"))?;
    let place = Place::new(folder);
    for below in [place.state(), place.evidence()] {
        fs::create_dir(&below).map_err(Fault::io(&below))?;
    }
    create(&place.key(), pem.as_bytes(), 0o600)?;
    create(&place.logs(), b"", 0o644)?;
    // Last: with it the witness is whole.
    create(&place.verifier_key(), format!("{vkey}\n").as_bytes(), 0o644)?;
    store::Files::sync_folder(&store::Disk, folder).map_err(Fault::io(folder))?;
    Ok(vkey)
}

/// Makes a file that must not be there, readable by whom the mode says from its first moment.
fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Fault> {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(Fault::io(path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Fault::io(path))
}

fn serve(args: &Serve) -> Result<(), Fault> {
    let place = Place::new(&args.folder);
    if !place.verifier_key().is_file() {
        return Err(Fault::NoWitness(args.folder.clone()));
    }
    let mut logs = match place.logs().exists() {
        true => read_logs(&place.logs())?,
        false => Vec::new(),
    };
    for log in &args.logs {
        // A key has two plus signs; what has none is a file.
        match log.contains('+') && !Path::new(log).exists() {
            true => logs.push(log.parse().map_err(Fault::malformed("--log"))?),
            false => logs.extend(read_logs(log.as_ref())?),
        }
    }
    if logs.is_empty() {
        return Err(Fault::NoLog);
    }
    let keeper = Keeper::open(&args.folder, logs)?;
    serve::run(keeper, args.listen)
}

/// Verifier keys of logs: one a line, or the logs of a policy.
fn read_logs(path: &Path) -> Result<Vec<VerifierKey>, Fault> {
    let text = fs::read_to_string(path).map_err(Fault::io(path))?;
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let lines: Vec<&str> = lines.collect();
    let what = || path.display().to_string();
    if lines.iter().any(|line| line.contains(char::is_whitespace)) {
        let policy: Policy = text.parse().map_err(Fault::malformed(what()))?;
        return Ok(policy.logs().iter().map(|log| log.key.clone()).collect());
    }
    lines.iter().map(|line| line.parse().map_err(Fault::malformed(what()))).collect()
}
