//! `ringfence journal`: begin a journal, append to it, and check, prove, export and watch it without it being opened.

pub(crate) mod args;
mod fault;
mod message;
mod place;
mod print;
mod verify;
mod watch;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use crypto::{NoteKey, PrivateKey, Provider};
use journal::entry::{Actor, Entry, Name, Typed};
use journal::tile::{Level, TileNodes, TilePath, WIDTH};
use journal::tlog_proof::TlogProof;
use journal::{Hash, KeyName, SignatureType, VerifierKey, bundle, proof};
use miette::{Report, Result};
use model::Timestamp;
use pki::KeyKind;
use store::{Disk, Expect, Http, Log, Opened, Places, Sqlite, StoreError, TileFolder, Witnesses};

use self::args::{Append, Export, Journal, New, Output, Prove};
use self::fault::Fault;
use self::place::Place;
use crate::folder::now;
use crate::{exit, out};

/// Runs a command.
pub(crate) fn run(command: &Journal) -> Result<u8> {
    let outcome = match command {
        Journal::New(args) => new(args),
        Journal::Append(args) => append(args),
        Journal::Verify(args) => verify::run(args),
        Journal::Prove(args) => prove(args),
        Journal::Export(args) => export(args),
        Journal::Watch(args) => watch::run(args),
    };
    outcome.or_else(|stop| match stop {
        Stop::Fault(fault) => {
            let code = fault.code();
            eprintln!("{:?}", Report::from(fault));
            Ok(code)
        }
        Stop::Out(report) => Err(report),
    })
}

/// What ends a command early: a fault, or an output that cannot be written.
enum Stop {
    Fault(Fault),
    Out(Report),
}

impl<E: Into<Fault>> From<E> for Stop {
    fn from(fault: E) -> Self {
        Self::Fault(fault.into())
    }
}

fn new(args: &New) -> Result<u8, Stop> {
    let folder = &args.folder;
    let origin = KeyName::new(&args.origin).map_err(Fault::malformed("--origin"))?;
    fs::create_dir_all(folder).map_err(Fault::io(folder))?;
    if fs::read_dir(folder).map_err(Fault::io(folder))?.next().is_some() {
        return Err(Fault::NotEmpty(folder.clone()).into());
    }
    let (key, pem) =
        PrivateKey::generate(KeyKind::Ed25519).map_err(Fault::malformed("a new key"))?;
    let key = NoteKey::try_from(key).map_err(Fault::malformed("a new key"))?;
    let vkey = VerifierKey::of(origin.clone(), SignatureType::Ed25519, &key)
        .map_err(Fault::malformed("a new key"))?;
    let place = Place::new(folder);
    create(&place.key(), pem.as_bytes(), 0o600)?;
    create(&place.verifier_key(), format!("{vkey}\n").as_bytes(), 0o644)?;
    // The names of both are durable before anything is signed.
    store::Files::sync_folder(&Disk, folder).map_err(Fault::io(folder))?;
    let signed = open(&place, origin, key)?.publish().map_err(Fault::Log)?;
    out::print(|out| {
        writeln!(out, "A journal begins in {}: {}.", folder.display(), signed.checkpoint().origin)?;
        writeln!(
            out,
            "Whoever wants to verify it needs this key, from you and not from the folder:"
        )?;
        writeln!(out, "  {vkey}")
    })
    .map_err(Stop::Out)?;
    Ok(exit::FINE)
}

/// Makes a file that must not be there, readable by whom the mode says from its first moment.
fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Fault> {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(Fault::io(path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Fault::io(path))
}

fn open(place: &Place, origin: KeyName, key: NoteKey) -> Result<Log<Sqlite, Disk>, Fault> {
    let store = Sqlite::open(&place.database()).map_err(|e| Fault::Log(e.into()))?;
    if let Some(unfinished) = store.unfinished() {
        eprintln!("ringfence: {unfinished}");
    }
    let places = Places { tiles: place.tiles(), signed: place.signed() };
    let Opened { log, notices } = Log::open(store, Disk, places, origin, Box::new(key), &Provider)?;
    for notice in notices {
        eprintln!("ringfence: {notice}");
    }
    Ok(log)
}

fn append(args: &Append) -> Result<u8, Stop> {
    let entry = entry(args)?;
    let place = Place::new(&args.folder);
    if !place.database().is_file() {
        return Err(Fault::NoJournal(args.folder.clone()).into());
    }
    let pem = fs::read(place.key()).map_err(Fault::io(&place.key()))?;
    let key = PrivateKey::from_pem(&pem).and_then(NoteKey::try_from);
    let key = key.map_err(Fault::malformed(place.key().display().to_string()))?;
    let vkey = place::verifier_key(&place.verifier_key())?;
    let mut log = open(&place, vkey.name().clone(), key)?;
    if let Some(witnesses) = witnesses(args, &place, &vkey)? {
        log = log.witnessed_by(witnesses);
        // An older copy of the journal gets no new entry.
        log.ask_witnesses().map_err(Fault::Log)?;
    }
    let expect = args.expect.map_or(Expect::Next, Expect::At);
    let number = log.append(expect, std::slice::from_ref(&entry)).map_err(Fault::Log)?.start;
    // From here on the entry is safe, whatever becomes of its checkpoint.
    let signed = log.publish().inspect_err(|_| {
        eprintln!("ringfence: entry {number} is durable, and no checkpoint is over it yet");
    });
    let signed = signed.map_err(Fault::Log)?;
    let (head, leaf) = (signed.checkpoint(), entry.leaf().map_err(Fault::malformed("the entry"))?);
    let late = log.late();
    match args.output {
        Output::Table => out::print(|out| {
            writeln!(out, "entry {number} is durable; {} are signed, root {}", head.size, head.root)
        }),
        Output::Json => out::document(&print::appended(number, &leaf, &signed, late.as_ref())),
    }
    .map_err(Stop::Out)?;
    let Some(late) = late else { return Ok(exit::FINE) };
    let since = Timestamp::from_secs(i64::try_from(late.since).unwrap_or(i64::MAX), 0);
    eprintln!("ringfence: the quorum of witnesses is late since {since}: {late}");
    Ok(exit::FAILED)
}

/// The witnesses that the command line or the folder names.
fn witnesses(args: &Append, place: &Place, vkey: &VerifierKey) -> Result<Option<Witnesses>, Fault> {
    let beside = Some(place.witnesses()).filter(|path| path.exists());
    let Some(path) = args.witnesses.clone().or(beside) else { return Ok(None) };
    let policy = place::policy(&path)?;
    if !policy.logs().iter().any(|log| log.key == *vkey) {
        return Err(Fault::OtherLog { path, origin: vkey.name().to_string() });
    }
    let seconds = || u64::try_from(now().as_nanos() / 1_000_000_000).unwrap_or(0);
    let wire = Arc::new(Http::new(args.timeout));
    Ok(Some(Witnesses::new(policy, wire, Box::new(Provider), Box::new(seconds))))
}

/// The entry that a command line says.
fn entry(args: &Append) -> Result<Entry, Fault> {
    let name = |option: &'static str, text: &str| {
        Name::new(text).map_err(Fault::malformed(format!("{option} {text}")))
    };
    let wrong = |what: &str| Fault::Malformed {
        what: what.to_owned(),
        why: "a kind and an id are expected, such as person:p-17".to_owned(),
    };
    let (kind, id) = args.who.split_once(':').ok_or_else(|| wrong("--who"))?;
    let payload = match args.payload.strip_prefix('@') {
        Some(path) => fs::read(path).map_err(Fault::io(path.as_ref()))?,
        None => args.payload.clone().into_bytes(),
    };
    let mut evidence = std::collections::BTreeSet::new();
    for path in &args.evidence {
        evidence.insert(Hash::of(&fs::read(path).map_err(Fault::io(path))?));
    }
    let mut events = Vec::new();
    for event in &args.events {
        let (kind, says) = event.split_once('=').unwrap_or((event, ""));
        let payload = says.as_bytes().to_vec();
        events.push(Typed { name: name("--event", kind)?, version: 1, payload });
    }
    let entry = Entry {
        at: now(),
        who: Actor { kind: name("--who", kind)?, id: id.to_owned() },
        command: Typed { name: name("--command", &args.command)?, version: 1, payload },
        why: args.why.clone(),
        evidence,
        events,
    };
    // Every bound is known to the encoder.
    entry.encode().map_err(Fault::malformed("the entry"))?;
    Ok(entry)
}

fn prove(args: &Prove) -> Result<u8, Stop> {
    let entry = match (args.entry, &args.device, args.sequence) {
        (None, Some(device), Some(sequence)) => return message::prove(args, device, sequence),
        (entry, ..) => entry.unwrap_or_default(),
    };
    let tiles = place::tiles(&args.folder)?;
    let signed = place::checkpoint(&tiles)?;
    let size = signed.checkpoint().size;
    if entry >= size {
        return Err(Fault::NoEntry { entry, size }.into());
    }
    let hashes = proof::inclusion(&TileNodes::new(&tiles, size), entry, size);
    let hashes = hashes.map_err(Fault::malformed("the tiles"))?;
    let bytes = one(&tiles, entry, size)?;
    let head = signed.checkpoint();
    proof::verify_inclusion(&Hash::leaf(&bytes), entry, size, &hashes, &head.root).map_err(
        |why| Fault::Malformed {
            what: format!("entry {entry}"),
            why: format!("{why}; `ringfence journal verify` says what was changed"),
        },
    )?;
    let proof = TlogProof { extra: None, index: entry, hashes, checkpoint: signed };
    let text = proof.encode().map_err(Fault::malformed("the proof"))?;
    let mut names = Vec::new();
    for (kind, bytes) in [("tlog-proof", text.as_bytes()), ("entry", &bytes)] {
        let here = args.to == Path::new(".");
        let folder = if here { Path::new("") } else { &args.to };
        let path = folder.join(format!("{entry}.{kind}"));
        fs::write(&path, bytes).map_err(Fault::io(&path))?;
        names.push(path.display().to_string());
    }
    out::print(|out| writeln!(out, "{}", names.join("\n"))).map_err(Stop::Out)?;
    Ok(exit::FINE)
}

/// The bytes of one entry.
fn one(tiles: &TileFolder<Disk>, entry: u64, size: u64) -> Result<Vec<u8>, Fault> {
    let path = TilePath::of(Level::Entries, entry, size).ok_or(Fault::NoEntry { entry, size })?;
    let entries = entries(tiles, path)?;
    let at = usize::try_from(entry % u64::from(WIDTH)).unwrap_or(usize::MAX);
    entries.into_iter().nth(at).ok_or(Fault::NoEntry { entry, size })
}

/// The entries of a bundle.
fn entries(tiles: &TileFolder<Disk>, path: TilePath) -> Result<Vec<Vec<u8>>, Fault> {
    let name = path.to_string();
    let bytes = tiles.entries(path).map_err(Fault::io(name.as_ref()))?;
    let bytes = bytes.ok_or_else(|| Fault::NoFile(name.clone().into()))?;
    let entries = bundle::read(&bytes, path.width()).map_err(Fault::malformed(name))?;
    Ok(entries.into_iter().map(<[u8]>::to_vec).collect())
}

fn export(args: &Export) -> Result<u8, Stop> {
    let tiles = place::tiles(&args.folder)?;
    let size = place::checkpoint(&tiles)?.checkpoint().size;
    let mut code = exit::FINE;
    let mut number = args.from;
    while number < size {
        let Some(path) = TilePath::of(Level::Entries, number, size) else { break };
        let begin = path.index() * u64::from(WIDTH);
        let mut lines = Vec::new();
        for (n, bytes) in (begin..).zip(entries(&tiles, path)?).filter(|(n, _)| *n >= number) {
            match Entry::decode(&bytes) {
                Ok(entry) => lines.push(print::entry(n, &Hash::leaf(&bytes), &entry)),
                Err(why) => {
                    eprintln!("ringfence: entry {n}: {why}");
                    code = exit::FAILED;
                }
            }
        }
        out::print(|out| lines.iter().try_for_each(|line| writeln!(out, "{line}")))
            .map_err(Stop::Out)?;
        number = begin + u64::from(path.width());
    }
    Ok(code)
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Log(error.into())
    }
}
