//! The power goes between any two operations. Every write, sync and rename of a log is recorded; for each prefix, disks are made on which what
//! was not synced is there, lost, torn or out of order. On each the log is opened again: it never signs a fork, and
//! no acknowledged entry is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crypto::Provider;
use journal::audit::audit;
use journal::checkpoint::{Checkpoint, SignedCheckpoint};
use journal::tile::{Level, TileNodes, TilePath};
use journal::{bundle, guard};
use store::{Expect, Files, Log, Memory, Opened, Places, Store as _, StoreTiles, TileFolder};

use crate::{entry, key, new_key, origin, policy};

/// What was done, in order.
#[derive(Clone, Debug)]
enum Op {
    Write(PathBuf, Vec<u8>),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    SyncFolder(PathBuf),
    Remove(PathBuf),
    /// So many entries are durable in the store, and acknowledged.
    Acked(u64),
    /// Somebody has seen this head.
    Seen(Checkpoint),
}

/// A disk as a process sees it, and the record of how it came to be so.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<(Seen, Vec<Op>)>>);

/// Files as a process sees them.
type Seen = BTreeMap<PathBuf, Vec<u8>>;

impl Recorder {
    fn with(disk: Seen) -> Self {
        Self(Arc::new(Mutex::new((disk, Vec::new()))))
    }
    fn record(&self, op: Op) {
        let (disk, ops) = &mut *self.0.lock().unwrap();
        apply(disk, &op);
        ops.push(op);
    }
    fn ops(&self) -> Vec<Op> {
        self.0.lock().unwrap().1.clone()
    }
}

fn apply(disk: &mut Seen, op: &Op) {
    match op {
        Op::Write(path, bytes) => {
            disk.insert(path.clone(), bytes.clone());
        }
        Op::Rename(from, to) => {
            if let Some(bytes) = disk.remove(from) {
                disk.insert(to.clone(), bytes);
            }
        }
        Op::Remove(folder) => disk.retain(|path, _| !path.starts_with(folder)),
        _ => (),
    }
}

impl Files for Recorder {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().0.get(path).cloned())
    }
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.record(Op::Write(path.to_owned(), bytes.to_vec()));
        Ok(())
    }
    fn sync(&self, path: &Path) -> io::Result<()> {
        self.record(Op::Sync(path.to_owned()));
        Ok(())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.record(Op::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        // Whether a folder is durable, the syncs of those above it tell.
        Ok(())
    }
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.record(Op::SyncFolder(path.to_owned()));
        Ok(())
    }
    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.record(Op::Remove(path.to_owned()));
        Ok(())
    }
}

/// A disk under the cache: files by their number, and the names that are durable.
#[derive(Clone, Debug, Default)]
struct Platter {
    content: BTreeMap<usize, Vec<u8>>,
    names: BTreeMap<PathBuf, usize>,
}

/// What happens to all that was not synced.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Lost,
    Kept,
    /// Each change by itself: there, torn or lost.
    Random(u64),
}

/// A generator of numbers that is good enough, and always the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// What a disk has when the power goes after these operations. A file's bytes are safe when it was synced, its name when its folder was.
/// Until then bytes may be there, torn, or lost, and names may be the new ones or the old ones, each by itself.
fn crash(ops: &[Op], fate: Fate) -> Seen {
    let mut dice = Dice(if let Fate::Random(seed) = fate { seed } else { 0 });
    let mut platter = Platter::default();
    let mut names: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut dirty: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let mut folders: BTreeSet<PathBuf> = [PathBuf::from("")].into();
    let mut count = 0;
    for op in ops {
        match op {
            Op::Write(path, bytes) => {
                // A file that is there keeps its number: it is written over.
                let file = *names.entry(path.clone()).or_insert_with(|| {
                    count += 1;
                    count
                });
                dirty.insert(file, bytes.clone());
            }
            Op::Sync(path) => {
                if let Some((file, bytes)) = names.get(path).and_then(|n| dirty.remove_entry(n)) {
                    platter.content.insert(file, bytes);
                }
            }
            Op::Rename(from, to) => {
                let file = names.remove(from).unwrap();
                names.insert(to.clone(), file);
            }
            Op::Remove(folder) => names.retain(|path, _| !path.starts_with(folder)),
            Op::SyncFolder(folder) => {
                folders.insert(folder.clone());
                let here = |path: &PathBuf| path.parent() == Some(folder);
                platter.names.retain(|path, _| !here(path));
                platter
                    .names
                    .extend(names.iter().filter(|(p, _)| here(p)).map(|(p, n)| (p.clone(), *n)));
            }
            Op::Acked(_) | Op::Seen(_) => (),
        }
    }
    let keep = |dice: &mut Dice, often: u64| match fate {
        Fate::Lost => false,
        Fate::Kept => true,
        Fate::Random(_) => dice.roll(often) == 0,
    };
    // Names: each difference between what is durable and what a process saw.
    let paths: BTreeSet<PathBuf> = names.keys().chain(platter.names.keys()).cloned().collect();
    let mut after = BTreeMap::new();
    for path in paths {
        let of = if keep(&mut dice, 2) { names.get(&path) } else { platter.names.get(&path) };
        // A folder that was lost has nothing in it: its own name was synced in the one above.
        let reachable = match fate {
            Fate::Lost => path.parent().is_none_or(|p| folders.contains(p)),
            _ => true,
        };
        if let Some(file) = of.filter(|_| reachable) {
            after.insert(path, *file);
        }
    }
    let mut disk = BTreeMap::new();
    for (path, file) in after {
        let synced = platter.content.get(&file);
        let bytes = match dirty.get(&file) {
            Some(new) if keep(&mut dice, 3) => new.clone(),
            Some(new) => {
                let mut torn = synced.cloned().unwrap_or_default();
                if let Fate::Random(_) = fate {
                    let cut = usize::try_from(dice.roll(new.len() as u64 + 1)).unwrap();
                    torn = new[..cut].to_vec();
                    // Blocks that were allocated and never written.
                    torn.resize(if dice.roll(2) == 0 { cut } else { new.len() }, 0);
                }
                torn
            }
            None => synced.cloned().unwrap_or_default(),
        };
        disk.insert(path, bytes);
    }
    disk
}

fn places() -> Places {
    Places { tiles: "j/log".into(), signed: "j/signed".into() }
}

fn open(store: Memory, disk: Recorder, pem: &str) -> Opened<Memory, Recorder> {
    Log::open(store, disk, places(), origin(), Box::new(key(pem)), &Provider)
        .expect("a log can be opened after a crash")
}

/// Heads that may have been seen after some operations: those in the published checkpoint, from the moment it has its name.
fn published(op: &Op) -> Option<Checkpoint> {
    let Op::Write(path, bytes) = op else { return None };
    let signed = path.ends_with("checkpoint.new").then(|| SignedCheckpoint::decode(bytes));
    Some(signed?.unwrap().checkpoint().clone())
}

#[test]
fn after_a_crash_at_any_moment_nothing_is_forked_and_nothing_acknowledged_is_lost() {
    let pem = new_key();
    let disk = Recorder::default();
    let log = open(Memory::new(), disk.clone(), &pem).log;
    let mut stores = vec![log.store().copy()];
    let mut size = 0;
    for (n, add) in [1, 2, 250, 5, 1, 300, 1, 1].into_iter().enumerate() {
        let entries: Vec<_> = (size..size + add).map(|n| entry(n, "a")).collect();
        log.append(Expect::At(size), &entries).unwrap();
        size += add;
        stores.push(log.store().copy());
        disk.record(Op::Acked(size));
        if n != 4 {
            let signed = log.publish().unwrap();
            disk.record(Op::Seen(signed.checkpoint().clone()));
        }
    }
    let ops = disk.ops();
    let mut points = 0;
    for at in 0..=ops.len() {
        let past = &ops[..at];
        let acked =
            past.iter().rev().find_map(|op| if let Op::Acked(n) = op { Some(*n) } else { None });
        let acked = acked.unwrap_or(0);
        let seen: Vec<Checkpoint> = past
            .iter()
            .filter_map(
                |op| if let Op::Seen(head) = op { Some(head.clone()) } else { published(op) },
            )
            .collect();
        // The store has what it acknowledged, or also what it was about to.
        let exactly = stores.iter().find(|s| s.head().size() == acked).unwrap();
        let more = exactly.copy();
        let coming = (acked..acked + 3).map(|n| entry(n, "a").encode().unwrap()).collect();
        more.append(Expect::Next, coming).unwrap();
        let fates = (0..4).map(|n| Fate::Random(n * 7_919 + at as u64));
        for fate in [Fate::Lost, Fate::Kept].into_iter().chain(fates) {
            let what = format!("operation {at} of {}, {fate:?}", ops.len());
            let disk = crash(past, fate);
            for store in [exactly, &more] {
                after_crash(disk.clone(), store.copy(), &seen, acked, &pem, &what);
                points += 1;
            }
        }
    }
    println!("{points} crashes");
    assert!(points >= 1_000, "{points}");
}

fn after_crash(disk: Seen, store: Memory, seen: &[Checkpoint], acked: u64, pem: &str, what: &str) {
    let disk = Recorder::with(disk);
    // What is published is never more than what can be proven by it.
    check_folder(&disk, pem, what);
    let log = open(store, disk.clone(), pem).log;
    let size = log.store().head().size();
    assert!(size >= acked, "{what}");
    // Somebody else appends something else: only now a fork would be one.
    log.append(Expect::At(size), &[entry(size, "after")]).unwrap();
    let signed = log.publish().unwrap();
    assert_eq!(signed.checkpoint().size, size + 1, "{what}");
    let size = size + 1;
    let tiles = StoreTiles::new(log.store());
    for head in seen {
        guard::extends(head, origin().as_str(), size, &TileNodes::new(&tiles, size))
            .unwrap_or_else(|e| panic!("{what}: {e}"));
    }
    let kept = log.store().read(0, acked).unwrap();
    let all = (0..acked).map(|n| entry(n, "a").encode().unwrap());
    assert!(kept.iter().cloned().eq(all), "{what}");
    assert_eq!(check_folder(&disk, pem, what), Some(size), "{what}");
}

/// Audits what is published, and says how many entries that is.
fn check_folder(disk: &Recorder, pem: &str, what: &str) -> Option<u64> {
    let folder = TileFolder::new(disk.clone(), &places().tiles);
    let note = folder.checkpoint().unwrap()?;
    let head = SignedCheckpoint::decode(&note).unwrap_or_else(|e| panic!("{what}: {e}"));
    let size = head.checkpoint().size;
    let mut entries = Vec::new();
    for path in TilePath::all(size).filter(|p| p.level() == Level::Entries) {
        let bytes = folder.entries(path).unwrap().unwrap_or_else(|| panic!("{what}: no {path}"));
        let all = bundle::read(&bytes, path.width()).unwrap_or_else(|e| panic!("{what}: {e}"));
        entries.extend(all.into_iter().map(<[u8]>::to_vec));
    }
    let notes: [(&str, &[u8]); 1] = [("checkpoint", &note)];
    let report = audit(&entries, &notes, Some(&folder), &policy(pem), &Provider);
    assert_eq!((report.findings, report.proven), (vec![], size), "{what}");
    Some(size)
}
