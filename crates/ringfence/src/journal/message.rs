//! `ringfence journal prove --device`: a proof that a device sent one message, and what it proves to whoever is shown it.
//!
//! The device, or whoever holds its batch, brings the messages or the path; the journal has the signed commitment to the batch and the entry that
//! registered the key.

use std::fs;
use std::path::Path;

use crypto::Provider;
use estate::commitments::proof::{Disproved, MessageProof, Placed, Proven, registering};
use estate::commitments::{Event as Of, Sent};
use estate::{Event, record};
use journal::checkpoint::SignedCheckpoint;
use journal::commitment::{self, Class, Commitment, Signed};
use journal::entry::Entry;
use journal::tile::{Level, TileNodes, TilePath, WIDTH};
use journal::{Hash, proof};
use store::{Disk, TileFolder};

use super::args::{Output, Prove, Verify};
use super::fault::Fault;
use super::place::{self, Place};
use super::{Stop, entries, one, print};
use crate::{exit, out};

/// Bytes in front of each message of a batch: its length, big end first.
const LENGTH: usize = 4;

pub(super) fn prove(args: &Prove, device: &str, sequence: u64) -> Result<u8, Stop> {
    let tiles = place::tiles(&args.folder)?;
    let checkpoint = place::checkpoint(&tiles)?;
    let found = find(&tiles, &checkpoint, args, device, sequence)?;
    let Commitment { first, .. } = found.signed.commitment;
    let index = sequence.saturating_sub(first);
    let (message, path) = match (&args.batch, &args.message, &args.path) {
        (Some(batch), ..) => of_batch(batch, args.lines, &found.signed.commitment, index)?,
        (None, Some(message), Some(path)) => {
            (fs::read(message).map_err(Fault::io(message))?, given(path)?)
        }
        _ => {
            let (what, why) = ("--batch".to_owned(), "or --message and --path are expected".into());
            return Err(Fault::Malformed { what, why }.into());
        }
    };
    let commitment = found.signed.commitment.hash().map_err(Fault::malformed("the commitment"))?;
    let whole = MessageProof {
        sequence,
        commitment,
        message,
        path,
        committed: placed(&tiles, &checkpoint, found.committed)?,
        registered: placed(&tiles, &checkpoint, found.registered)?,
        checkpoint,
    };
    let text = whole.encode().map_err(Fault::malformed("the proof"))?;
    // Nobody is given a proof that proves nothing, as far as that can be seen here.
    if Place::new(&args.folder).verifier_key().exists() {
        let policy = place::believed(Some(&args.folder), &args.folder, None, None)?;
        let read = MessageProof::decode(text.as_bytes()).map_err(Fault::malformed("the proof"))?;
        read.verify(&policy, &Provider, &Provider).map_err(|why| Fault::Malformed {
            what: format!("message {sequence} of {device}"),
            why: format!("the proof would fail at the step {why}"),
        })?;
    }
    let here = args.to == Path::new(".");
    let folder = if here { Path::new("") } else { &args.to };
    let path = folder.join(format!("{}-{sequence}.message-proof", found.committed));
    fs::write(&path, text).map_err(Fault::io(&path))?;
    out::print(|out| writeln!(out, "{}", path.display())).map_err(Stop::Out)?;
    Ok(exit::FINE)
}

/// The commitment to a message, and the entries that it takes.
struct Found {
    signed: Signed,
    committed: u64,
    registered: u64,
}

fn find(
    tiles: &TileFolder<Disk>,
    checkpoint: &SignedCheckpoint,
    args: &Prove,
    device: &str,
    sequence: u64,
) -> Result<Found, Fault> {
    let size = checkpoint.checkpoint().size;
    let covers = |c: &Commitment| {
        c.device == device
            && (c.first..=c.last).contains(&sequence)
            && args.epoch.is_none_or(|epoch| c.epoch == epoch)
            && (!args.gateway || c.class == Class::Gateway)
    };
    let mut keys: Vec<(u64, Vec<Event>)> = Vec::new();
    let mut all: Vec<(u64, Signed)> = Vec::new();
    let mut number = 0;
    while number < size {
        let Some(path) = TilePath::of(Level::Entries, number, size) else { break };
        for (n, bytes) in (number..).zip(entries(tiles, path)?) {
            // What is not understood is another program's.
            let Some(events) = Entry::decode(&bytes).ok().and_then(|e| record::events(&e).ok())
            else {
                continue;
            };
            for event in events {
                match event {
                    Event::Commitment(Of::Committed { commitments }) => {
                        let fits = commitments.into_iter().map(|Sent(signed)| signed);
                        let fits = fits.filter(|signed| covers(&signed.commitment));
                        all.extend(fits.map(|signed| (n, signed)));
                    }
                    Event::Commitment(Of::KeyRegistered { device: ref of, .. })
                        if of.as_str() == device =>
                    {
                        keys.push((n, vec![event]));
                    }
                    _ => {}
                }
            }
        }
        number = (path.index() * u64::from(WIDTH)).saturating_add(u64::from(path.width()));
    }
    // Its own word before a gateway's: that one does not bind it.
    let own: Vec<_> = all.iter().filter(|(_, s)| s.commitment.class == Class::Device).collect();
    let chosen = if own.is_empty() { all.iter().collect() } else { own };
    let (committed, signed) = match chosen.as_slice() {
        [one] => (one.0, one.1.clone()),
        [] => {
            let device = device.escape_debug().to_string();
            return Err(Fault::NoCommitment { device, sequence });
        }
        several => {
            let epochs: Vec<String> =
                several.iter().map(|(_, s)| s.commitment.epoch.to_string()).collect();
            return Err(Fault::Malformed {
                what: format!("message {sequence} of {}", device.escape_debug()),
                why: format!(
                    "{} commitments have one of that number, of the epochs {}; say which with --epoch",
                    several.len(),
                    epochs.join(", ")
                ),
            });
        }
    };
    let fits = |(n, events): &&(u64, Vec<Event>)| {
        *n < committed && registering(events, &signed.commitment).is_some()
    };
    let registered = keys.iter().rev().find(fits).map(|(n, _)| *n);
    let registered = registered.ok_or_else(|| Fault::Malformed {
        what: format!("entry {committed}"),
        why: "no entry before it registers the key of the commitment".to_owned(),
    })?;
    Ok(Found { signed, committed, registered })
}

fn placed(
    tiles: &TileFolder<Disk>,
    checkpoint: &SignedCheckpoint,
    index: u64,
) -> Result<Placed, Fault> {
    let size = checkpoint.checkpoint().size;
    let hashes = proof::inclusion(&TileNodes::new(tiles, size), index, size);
    let hashes = hashes.map_err(Fault::malformed("the tiles"))?;
    Ok(Placed { index, entry: one(tiles, index, size)?, hashes })
}

/// The message of a batch, and its path.
fn of_batch(
    file: &Path,
    lines: bool,
    commitment: &Commitment,
    index: u64,
) -> Result<(Vec<u8>, Vec<Hash>), Fault> {
    let bytes = fs::read(file).map_err(Fault::io(file))?;
    let messages = if lines { of_lines(&bytes) } else { with_lengths(file, &bytes)? };
    let count = u64::try_from(messages.len()).unwrap_or(u64::MAX);
    let Commitment { first, last, root, .. } = commitment;
    let wrong = |why: String| Fault::Malformed { what: file.display().to_string(), why };
    let size = last.saturating_sub(*first).saturating_add(1);
    if count != size {
        let why = format!("it has {count} messages, and the batch has {size}: {first} to {last}");
        return Err(wrong(why));
    }
    let is = commitment::root(&messages);
    if is != *root {
        let why = format!(
            "its messages are not those of the batch: their root is {is}, and {root} was signed"
        );
        return Err(wrong(why));
    }
    let path = commitment::prove(&messages, index).map_err(|error| wrong(error.to_string()))?;
    let message = usize::try_from(index).ok().and_then(|n| messages.get(n));
    Ok((message.map(|message| message.to_vec()).unwrap_or_default(), path))
}

/// One message a line; the end of the last line may be missing.
fn of_lines(bytes: &[u8]) -> Vec<&[u8]> {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if bytes.is_empty() { Vec::new() } else { body.split(|byte| *byte == b'\n').collect() }
}

/// Each message behind its length.
fn with_lengths<'b>(file: &Path, bytes: &'b [u8]) -> Result<Vec<&'b [u8]>, Fault> {
    let mut messages = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let next = rest.split_first_chunk::<LENGTH>().and_then(|(length, behind)| {
            behind.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
        });
        let Some((message, behind)) = next else {
            let at = bytes.len().saturating_sub(rest.len());
            return Err(Fault::Malformed {
                what: file.display().to_string(),
                why: format!(
                    "message {} at byte {at} is cut short; each is behind its length in four bytes, big end first (or one a line, with --lines)",
                    messages.len()
                ),
            });
        };
        messages.push(message);
        rest = behind;
    }
    Ok(messages)
}

/// A path: hashes in base64, one a line.
fn given(file: &Path) -> Result<Vec<Hash>, Fault> {
    let text = fs::read_to_string(file).map_err(Fault::io(file))?;
    let name = || file.display().to_string();
    text.lines().map(|line| Hash::from_base64(line).map_err(Fault::malformed(name()))).collect()
}

/// Whether a file is a proof of a message, by its name or its beginning: one in which a byte was changed has one of both.
pub(super) fn is_proof(path: &Path, bytes: &[u8]) -> bool {
    path.extension().is_some_and(|kind| kind == "message-proof") || MessageProof::looks_like(bytes)
}

pub(super) fn verify(path: &Path, bytes: &[u8], args: &Verify) -> Result<bool, Stop> {
    let policy = place::believed(None, path, args.key.as_deref(), args.policy.as_deref())?;
    let judged = judge(bytes, &policy);
    let name = path.display().to_string();
    match args.output {
        Output::Table => out::print(|out| print::message(out, &name, judged.as_ref())),
        Output::Json => out::document(&print::message_document(&name, judged.as_ref())),
    }
    .map_err(Stop::Out)?;
    Ok(judged.is_ok())
}

fn judge(
    bytes: &[u8],
    policy: &journal::policy::Policy,
) -> Result<(MessageProof, Proven), Disproved> {
    let read = MessageProof::decode(bytes).map_err(Disproved::form)?;
    let proven = read.verify(policy, &Provider, &Provider)?;
    Ok((read.proof, proven))
}
