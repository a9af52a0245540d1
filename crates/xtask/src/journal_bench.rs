//! `bench journal`: durable appends a second beside a plain file, and what a proof costs.
//!
//! Both sides get the same entries from the same kind of caller: one thread that keeps a bounded number on the way and notes for each
//! how long it took from handing over to durable. The plain file is the least that can be durable: whatever waits is
//! one `write` and one `fdatasync`, without a tree, a table or a reader. Rounds alternate; the median counts.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crypto::{NoteKey, PrivateKey, Provider};
use journal::checkpoint::{Checkpoint, SignedCheckpoint};
use journal::entry::{Actor, Entry, Name, Typed};
use journal::policy::{Party, Policy};
use journal::proof::{Invalid, verify_inclusion};
use journal::tlog_proof::TlogProof;
use journal::witness::{AddCheckpoint, Witness};
use journal::{Hash, KeyName, SignatureType, VerifierKey};
use model::Timestamp;
use pki::KeyKind;
use store::{Disk, Expect, Log, Places, Sqlite, Ticket};

use crate::figures::{self, Bar, Figure};
use crate::{Options, Stop};

/// How long one side of one round takes.
const ROUND: Duration = Duration::from_secs(3);
const ROUNDS: usize = 5;
/// Entries on the way.
const WINDOW: usize = 4_096;

/// Measures, and prints the figures.
pub(crate) fn run(options: &Options) -> Result<bool, Stop> {
    // Not a file system in memory: something has to be synced.
    let folder = crate::root().join("target/journal-bench");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|e| Stop(format!("{}: {e}", folder.display())))?;
    let measured = measure(&folder);
    let _ = fs::remove_dir_all(&folder);
    let mut figures = measured?;
    figures.extend(proofs()?);
    figures::print("bench journal", &figures, options)
}

fn measure(folder: &Path) -> Result<Vec<Figure>, Stop> {
    let (mut ours, mut plain, mut published) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let at = folder.join(round.to_string());
        fs::create_dir_all(&at).map_err(|e| Stop(e.to_string()))?;
        plain.push(plain_file(&at.join("plain"))?);
        let log = log(&at)?;
        ours.push(drive(|entry| submit(&log, entry), Ticket::wait)?);
        published.push(while_publishing(&log)?);
        drop(log);
        let _ = fs::remove_dir_all(&at);
    }
    let size = entry(0)?.encode().map_err(stop)?.len();
    let (rate, late) = median(&ours);
    let (plain_rate, plain_late) = median(&plain);
    let (published_rate, published_late) = median(&published);
    let per_second = "entries/s";
    Ok(vec![
        Figure::new("size of an entry", precise(size), "bytes"),
        Figure::new("durable appends", rate, per_second)
            .beside(Some(plain_rate))
            .bar(Bar::AtLeast(50_000.0)),
        Figure::new("until durable, p99", late, "ms")
            .beside(Some(plain_late))
            .bar(Bar::AtMost(100.0)),
        Figure::new(
            "durable appends, tiles and heads published all the time",
            published_rate,
            per_second,
        )
        .beside(Some(plain_rate)),
        Figure::new("until durable, p99, publishing all the time", published_late, "ms")
            .beside(Some(plain_late)),
    ])
}

fn log(at: &Path) -> Result<Log<Sqlite, Disk>, Stop> {
    let key = new_key()?;
    let store = Sqlite::open(&at.join("journal.db")).map_err(stop)?;
    let places = Places { tiles: at.join("log"), signed: at.join("signed") };
    let opened = Log::open(store, Disk, places, origin()?, Box::new(key), &Provider);
    Ok(opened.map_err(stop)?.log)
}

fn submit(log: &Log<Sqlite, Disk>, entry: &Entry) -> Result<Ticket, Stop> {
    log.submit(Expect::Next, std::slice::from_ref(entry)).map_err(stop)
}

/// The same, with tiles written and heads signed as fast as that goes.
fn while_publishing(log: &Log<Sqlite, Disk>) -> Result<(f64, f64), Stop> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| -> Result<(), Stop> {
            while !done.load(Ordering::Relaxed) {
                log.publish().map_err(stop)?;
            }
            Ok(())
        });
        let measured = drive(|entry| submit(log, entry), Ticket::wait);
        done.store(true, Ordering::Relaxed);
        publisher.join().map_err(|_| Stop("the publisher panicked".to_owned()))??;
        measured
    })
}

/// Hands entries over for a round. Entries a second, and the 99th percentile of milliseconds until one is durable.
fn drive<T, R, E: std::fmt::Display>(
    submit: impl Fn(&Entry) -> Result<T, Stop>,
    wait: impl Fn(T) -> Result<R, E>,
) -> Result<(f64, f64), Stop> {
    let mut entry = entry(0)?;
    let mut on_the_way = VecDeque::with_capacity(WINDOW);
    let mut took = Vec::new();
    let begin = Instant::now();
    let mut n: u32 = 0;
    while begin.elapsed() < ROUND {
        if on_the_way.len() == WINDOW
            && let Some((since, ticket)) = on_the_way.pop_front()
        {
            wait(ticket).map_err(stop)?;
            took.push(Instant::elapsed(&since));
        }
        n = n.wrapping_add(1);
        entry.at = Timestamp::from_nanos(n.into());
        on_the_way.push_back((Instant::now(), submit(&entry)?));
    }
    for (since, ticket) in on_the_way {
        wait(ticket).map_err(stop)?;
        took.push(since.elapsed());
    }
    let seconds = begin.elapsed().as_secs_f64();
    took.sort_unstable();
    let late = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
    Ok((precise(took.len()) / seconds, late.as_secs_f64() * 1_000.0))
}

/// Group commit with nothing else: what waits is written and synced at once.
fn plain_file(path: &Path) -> Result<(f64, f64), Stop> {
    type Waiting = (Vec<u8>, SyncSender<()>);
    let (entries, waiting): (SyncSender<Waiting>, Receiver<Waiting>) = sync_channel(WINDOW * 4);
    let file = File::create(path).map_err(stop)?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || -> std::io::Result<()> {
            let (mut file, mut bytes, mut answers) = (file, Vec::new(), Vec::new());
            while let Ok((entry, answer)) = waiting.recv() {
                let mut next = Some((entry, answer));
                while let Some((entry, answer)) = next {
                    bytes.extend(entry);
                    answers.push(answer);
                    next = if answers.len() < 8_192 { waiting.try_recv().ok() } else { None };
                }
                file.write_all(&bytes)?;
                file.sync_data()?;
                bytes.clear();
                for answer in answers.drain(..) {
                    let _ = answer.send(());
                }
            }
            Ok(())
        });
        let submit = |entry: &Entry| {
            let (answer, ticket) = sync_channel(1);
            entries.send((entry.encode().map_err(stop)?, answer)).map_err(stop)?;
            Ok(ticket)
        };
        let measured = drive(submit, |ticket: Receiver<()>| ticket.recv());
        drop(entries);
        writer.join().map_err(|_| Stop("the writer panicked".to_owned()))?.map_err(stop)?;
        measured
    })
}

/// Entries of a log of a thousand million: how long a proof is, and how long checking one takes.
fn proofs() -> Result<Vec<Figure>, Stop> {
    const SIZE: u64 = 1_000_000_000;
    let index = SIZE / 3;
    let bytes = entry(1)?.encode().map_err(stop)?;
    let leaf = Hash::leaf(&bytes);
    // As many neighbours as there are levels, and the root to which they lead.
    let mut hashes = Vec::new();
    let root = loop {
        match verify_inclusion(&leaf, index, SIZE, &hashes, &leaf) {
            Err(Invalid::Length { more: false, .. }) => {
                hashes.push(Hash::of(&hashes.len().to_be_bytes()));
            }
            Err(Invalid::Root { computed, .. }) => break computed,
            other => return Err(Stop(format!("a proof cannot be made: {other:?}"))),
        }
    };
    let log = new_key()?;
    let checkpoint = Checkpoint::new(&origin()?, SIZE, root);
    let mut signed = SignedCheckpoint::sign(checkpoint, &log).map_err(Stop)?;
    let own = VerifierKey::of(origin()?, SignatureType::Ed25519, &log).map_err(stop)?;
    let mut parties = Vec::new();
    for party in ["it", "ot", "auditor"] {
        let key = new_key()?;
        let name = KeyName::new(&format!("{party}.example.com/witness")).map_err(stop)?;
        let witness_key = VerifierKey::of(name.clone(), SignatureType::CosignatureV1, &key);
        let mut witness = Witness::new([own.clone()]);
        let request = AddCheckpoint { old: 0, proof: Vec::new(), checkpoint: signed.clone() };
        let grant = witness.judge(&request, &Provider).map_err(stop)?;
        let committed = witness.commit(grant).map_err(stop)?;
        signed.add(committed.cosign(1_800_000_000, &name, &key).map_err(Stop)?).map_err(stop)?;
        let witnesses = vec![witness_key.map_err(stop)?];
        parties.push(Party { name: party.to_owned(), witnesses });
    }
    let policy = Policy::parties(own, 2, parties).map_err(stop)?;
    let levels = hashes.len();
    let proof = TlogProof { extra: None, index, hashes, checkpoint: signed };
    let text = proof.encode().map_err(stop)?;
    let checks: u32 = 2_000;
    let begin = Instant::now();
    for _ in 0..checks {
        let proof = TlogProof::decode(text.as_bytes()).map_err(stop)?;
        proof.verify(&Hash::leaf(&bytes), &policy, &Provider).map_err(stop)?;
    }
    let each = begin.elapsed().as_secs_f64() * 1_000.0 / f64::from(checks);
    Ok(vec![
        Figure::new("hashes of a proof, 10⁹ entries", precise(levels), "count"),
        Figure::new("proof with three cosignatures, 10⁹ entries", precise(text.len()), "bytes")
            .bar(Bar::AtMost(2_000.0)),
        Figure::new("checking it: path, log and 3 witnesses", each, "ms").bar(Bar::AtMost(1.0)),
    ])
}

fn new_key() -> Result<NoteKey, Stop> {
    let (key, _) = PrivateKey::generate(KeyKind::Ed25519).map_err(stop)?;
    NoteKey::try_from(key).map_err(stop)
}

fn origin() -> Result<KeyName, Stop> {
    KeyName::new("example.com/journal").map_err(stop)
}

/// A change as they are: a command, who, why, a digest, an event.
fn entry(n: i64) -> Result<Entry, Stop> {
    let name = |text| Name::new(text).map_err(stop);
    let payload = br#"{"device":"01981f5e-7d2c-7b3a-9a55-2f6a3c1d9e10","site":"main"}"#.to_vec();
    Ok(Entry {
        at: Timestamp::from_nanos(n),
        who: Actor { kind: name("person")?, id: "01981f5e-7d2c-7b3a".to_owned() },
        command: Typed { name: name("device.retire")?, version: 1, payload: payload.clone() },
        why: "the maker's support has ended".to_owned(),
        evidence: [Hash::of(b"advisory")].into(),
        events: vec![Typed { name: name("device.retired")?, version: 1, payload }],
    })
}

/// The median of each column.
fn median(rounds: &[(f64, f64)]) -> (f64, f64) {
    let of = |mut column: Vec<f64>| {
        column.sort_by(f64::total_cmp);
        column.get(column.len() / 2).copied().unwrap_or(f64::NAN)
    };
    (of(rounds.iter().map(|r| r.0).collect()), of(rounds.iter().map(|r| r.1).collect()))
}

fn precise(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::INFINITY, f64::from)
}

fn stop(error: impl std::fmt::Display) -> Stop {
    Stop(error.to_string())
}
