//! `ringfence journal verify`: the offline audit of a folder of tiles, and of single proofs.

use std::fs;
use std::path::Path;

use crypto::Provider;
use journal::Hash;
use journal::audit::Auditor;
use journal::checkpoint::SignedCheckpoint;
use journal::entry::Entry;
use journal::policy::Policy;
use journal::tile::{Level, TilePath, WIDTH};
use journal::tlog_proof::TlogProof;
use store::{Disk, TileFolder};

use super::args::{Output, Verify};
use super::fault::Fault;
use super::place::{self, Place};
use super::{Stop, message, print};
use crate::{exit, out};

pub(super) fn run(args: &Verify) -> Result<u8, Stop> {
    let mut code = exit::FINE;
    for what in &args.what {
        let good = match fs::metadata(what).map_err(Fault::io(what))?.is_dir() {
            true => folder(what, args)?,
            false => proof(what, args)?,
        };
        if !good {
            code = exit::FAILED;
        }
    }
    Ok(code)
}

/// Whom to believe: as it was said, or the key beside the journal.
fn policy(beside: Option<&Path>, what: &Path, args: &Verify) -> Result<Policy, Fault> {
    place::believed(beside, what, args.key.as_deref(), args.policy.as_deref())
}

fn folder(folder: &Path, args: &Verify) -> Result<bool, Stop> {
    let tiles = place::tiles(folder)?;
    let policy = policy(Some(folder), folder, args)?;
    let at = tiles.checkpoint_path();
    let own = fs::read(&at).map_err(Fault::io(&at))?;
    let mut notes = vec![(at.display().to_string(), own)];
    let record = Place::new(folder).signed();
    let record_name = record.display().to_string();
    for path in [record].iter().filter(|p| p.exists()).chain(&args.checkpoints) {
        notes.push((path.display().to_string(), fs::read(path).map_err(Fault::io(path))?));
    }
    // A process that ended between signing and publishing leaves a head that only the record has, and its
    // tiles: they were durable before it was signed. The next entry publishes it.
    if let [published, record, ..] = notes.as_slice()
        && record.0 == record_name
        && size(&record.1) > size(&published.1)
        && tiles_are_there(&tiles, size(&record.1).unwrap_or(0))?
    {
        notes.swap(0, 1);
    }
    let named: Vec<(&str, &[u8])> =
        notes.iter().map(|(name, note)| (name.as_str(), note.as_slice())).collect();
    // How many entries there are to read is only a hint: what is proven the audit decides.
    let size = notes.iter().find_map(|(_, note)| size(note));
    let mut auditor = Auditor::new(&named, Some(&tiles), &policy, &Provider);
    let mut gone = None;
    for index in 0..size.unwrap_or(0).div_ceil(WIDTH.into()) {
        let Some(path) = TilePath::of(Level::Entries, index * u64::from(WIDTH), size.unwrap_or(0))
        else {
            break;
        };
        match bundle(&tiles, path)? {
            Some(bytes) => auditor.bundle(&bytes),
            None => {
                gone = Some(path);
                break;
            }
        }
    }
    let report = auditor.finish();
    let intact = report.is_intact() && gone.is_none();
    match args.output {
        Output::Table => out::print(|out| print::report(out, folder, &report, gone)),
        Output::Json => out::document(&print::verified(folder, &report, gone)),
    }
    .map_err(Stop::Out)?;
    Ok(intact)
}

/// Entries that a note signs.
fn size(note: &[u8]) -> Option<u64> {
    SignedCheckpoint::decode(note).ok().map(|head| head.checkpoint().size)
}

/// The last entries of a log of this size are there.
fn tiles_are_there(tiles: &TileFolder<Disk>, size: u64) -> Result<bool, Fault> {
    let last = size.saturating_sub(1) / u64::from(WIDTH) * u64::from(WIDTH);
    match TilePath::of(Level::Entries, last, size) {
        Some(path) => Ok(bundle(tiles, path)?.is_some()),
        None => Ok(false),
    }
}

fn bundle(tiles: &TileFolder<Disk>, path: TilePath) -> Result<Option<Vec<u8>>, Fault> {
    tiles.entries(path).map_err(Fault::io(path.to_string().as_ref()))
}

fn proof(path: &Path, args: &Verify) -> Result<bool, Stop> {
    let name = path.display().to_string();
    let bytes = fs::read(path).map_err(Fault::io(path))?;
    if message::is_proof(path, &bytes) {
        return message::verify(path, &bytes, args);
    }
    let policy = policy(None, path, args)?;
    let beside = path.with_extension("entry");
    let entry = fs::read(&beside).map_err(Fault::io(&beside))?;
    let judged = TlogProof::decode(&bytes).map_err(|e| e.to_string()).and_then(|proof| {
        let believed = proof.verify(&Hash::leaf(&entry), &policy, &Provider);
        believed.map(|believed| (proof, believed)).map_err(|e| e.to_string())
    });
    let decoded = Entry::decode(&entry).map_err(|e| e.to_string());
    let judged = judged.and_then(|(proof, believed)| Ok((proof, believed, decoded?)));
    match (args.output, &judged) {
        (Output::Table, Ok((proof, believed, entry))) => {
            out::print(|out| print::proven(out, &name, proof, believed, entry))
        }
        (Output::Table, Err(why)) => {
            out::print(|out| writeln!(out, "{name}: proves nothing: {why}"))
        }
        (Output::Json, judged) => {
            let judged = judged.as_ref().map(|(proof, _, entry)| (proof, entry));
            out::document(&print::proof(&name, judged))
        }
    }
    .map_err(Stop::Out)?;
    Ok(judged.is_ok())
}
