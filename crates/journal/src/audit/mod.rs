//! The offline audit: entries, tiles and checkpoints of a log, from a backup or an export, checked against each other
//! and against keys that the auditor brings.
//!
//! Only signed heads prove anything. Entries are hashed as they come. Where they lead to a signed head, they are proven,
//! and whatever a tile says otherwise is a fault of the tile. Where they do not, but the leaf hashes in the tiles do,
//! those are proven, and name the entries that were changed. Heads from elsewhere, such as what a witness cosigned or
//! a device kept, belong among the checkpoints: they show a fork or a rollback.

mod finding;

use std::fmt::Display;

use crate::checkpoint::SignedCheckpoint;
use crate::entry::Entry;
use crate::flip::{self, Flip};
use crate::hash::Hash;
use crate::policy::{Believed, Distrust, Policy};
use crate::tile::{Level, TileError, TileNodes, TilePath, TileSource, WIDTH};
use crate::tree::{CompactRange, root};
use crate::{Malformed, Verifier, bundle};

pub use finding::{Finding, Head, Place, Report};

/// Most findings that are listed; the rest is counted.
pub const FINDINGS_MAX: usize = 256;
/// Most entries that are searched for the byte that differs: where more are changed, it was no medium.
const SEARCHES_MAX: u32 = 16;
/// Checkpoints up to this length, in bytes, are searched for the bit that turned.
const SEARCHED_BYTES_MAX: usize = 4_096;

/// Audits entries against checkpoints (names, which findings use, and notes): the log's own first, then those that were
/// kept elsewhere.
pub fn audit<S>(
    entries: impl IntoIterator<Item = impl AsRef<[u8]>>,
    checkpoints: &[(&str, &[u8])],
    tiles: Option<&S>,
    policy: &Policy,
    verifier: &dyn Verifier,
) -> Report
where
    S: TileSource<Error: Display> + ?Sized,
{
    let mut auditor = Auditor::new(checkpoints, tiles, policy, verifier);
    for entry in entries {
        auditor.entry(entry.as_ref());
    }
    auditor.finish()
}

/// An audit that is fed: entries or bundles in order, from the first.
#[derive(Debug)]
pub struct Auditor<'a, S: ?Sized> {
    tiles: Option<&'a S>,
    /// Heads that count, by size, and how many of them were passed.
    heads: Vec<Head>,
    passed: usize,
    /// Size of the log's own head, if it counts.
    own: Option<u64>,
    /// Entries so far.
    count: u64,
    proven: u64,
    /// The tree that the entries make; `None` once some of them are lost for good.
    entries: Option<CompactRange>,
    /// The tree that the leaf hashes in tiles make, while it is another one.
    leaves: Option<CompactRange>,
    /// What disagrees since the last proven head.
    pending: Vec<Pending>,
    /// Heads that were passed and not met since then: their place, and the root here.
    unmet: Vec<(usize, Option<Hash>)>,
    /// The tile of each level that was read last; no hashes when it is damaged.
    open: Vec<Option<(TilePath, Vec<Hash>)>>,
    /// Changed entries that are still searched for the byte that differs.
    searches: u32,
    findings: Vec<Finding>,
    more: u64,
}

/// Two hashes that should be one.
#[derive(Debug)]
enum Pending {
    Leaf { number: u64, place: Option<Place>, bytes: Vec<u8>, is: Hash, stored: Hash },
    Node { level: u8, number: u64, stored: Hash, of_entries: Hash, of_leaves: Hash },
}

/// Which of two disagreeing trees was signed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Truth {
    Entries,
    Leaves,
}

impl<'a, S> Auditor<'a, S>
where
    S: TileSource<Error: Display> + ?Sized,
{
    /// Begins with the checkpoints, the log's own first, and with the tiles if there are any. Tiles are those of the log's own
    /// checkpoint; should it not count, of the largest one that does.
    pub fn new(
        checkpoints: &[(&str, &[u8])],
        tiles: Option<&'a S>,
        policy: &Policy,
        verifier: &dyn Verifier,
    ) -> Self {
        let mut auditor = Self {
            tiles,
            heads: Vec::new(),
            passed: 0,
            own: None,
            count: 0,
            proven: 0,
            entries: Some(CompactRange::new()),
            leaves: None,
            pending: Vec::new(),
            unmet: Vec::new(),
            open: Vec::new(),
            searches: SEARCHES_MAX,
            findings: Vec::new(),
            more: 0,
        };
        for (n, (name, note)) in checkpoints.iter().enumerate() {
            match believe(note, policy, verifier) {
                Ok((checkpoint, believed)) => {
                    let (size, root) = (checkpoint.size, checkpoint.root);
                    if n == 0 {
                        auditor.own = Some(size);
                    }
                    auditor.heads.push(Head { name: (*name).to_owned(), size, root, believed });
                }
                Err(why) => {
                    let name = (*name).to_owned();
                    let flip = turned_bit(note, policy, verifier);
                    auditor.find(match why {
                        Unbelieved::Malformed(fault) => {
                            Finding::CheckpointMalformed { name, fault, flip }
                        }
                        Unbelieved::Distrusted(why) => {
                            Finding::CheckpointDistrusted { name, why, flip }
                        }
                    });
                }
            }
        }
        if auditor.heads.is_empty() {
            auditor.find(Finding::NothingSigned);
        }
        auditor.heads.sort_by_key(|h| h.size);
        auditor.pass_heads();
        auditor
    }

    /// The next entry.
    pub fn entry(&mut self, bytes: &[u8]) {
        let stored = self.stored(0, self.count);
        self.check_entry(bytes, None, stored);
    }

    /// The next bundle: 256 entries, or fewer in the last one.
    pub fn bundle(&mut self, bytes: &[u8]) {
        self.end_bundle();
        let number = self.count;
        let end = number + u64::from(WIDTH);
        let signed = self.tree_size().clamp(number, end);
        let Some(path) = TilePath::of(Level::Entries, number, signed.max(number + 1)) else {
            return;
        };
        let mut rest = bytes;
        while self.count < end && !rest.is_empty() {
            let place = Place { path, offset: bytes.len() - rest.len() };
            let stored = self.stored(0, self.count);
            let stated = bundle::first(rest);
            let fits = |(entry, _): &(&[u8], &[u8])| stored.is_none_or(|s| Hash::leaf(entry) == s);
            let (entry, behind) = if let Some(stated) = stated.filter(fits) {
                stated
            } else if let Some((entry, behind, flip)) = stored.and_then(|s| find_length(rest, &s)) {
                let flip = Flip { offset: place.offset + flip.offset, ..flip };
                self.find(Finding::LengthChanged { entry: self.count, place, flip });
                (entry, behind)
            } else if let Some(stated) = stated {
                stated
            } else {
                let why = format!("{} bytes are left, which are no entry", rest.len());
                self.find(Finding::BundleDamaged { entry: self.count, place, why });
                self.lose(signed);
                return;
            };
            rest = behind;
            self.check_entry(entry, Some(place), stored);
        }
        if !rest.is_empty() {
            let place = Place { path, offset: bytes.len() - rest.len() };
            let why = format!("{} bytes behind the last entry", rest.len());
            self.find(Finding::BundleDamaged { entry: self.count, place, why });
        }
    }

    /// The bundle before had fewer entries than a bundle with another one behind it has.
    fn end_bundle(&mut self) {
        let over = self.count % u64::from(WIDTH);
        if over > 0 {
            let to = self.count - over + u64::from(WIDTH);
            self.find(Finding::EntriesMissing { from: self.count, to });
            self.lose(to);
        }
    }

    /// Goes on without entries that cannot be read: with their hashes, where there are tiles.
    fn lose(&mut self, to: u64) {
        while self.count < to {
            let stored = self.stored(0, self.count);
            self.append(stored, stored);
        }
    }

    /// Everything was fed.
    pub fn finish(mut self) -> Report {
        let same = self.proven;
        for (head, here) in std::mem::take(&mut self.unmet) {
            let Some(head) = self.heads.get(head) else { continue };
            let rival = self.heads.iter().find(|h| h.size == head.size && h.root != head.root);
            let (name, size, signed) = (head.name.clone(), head.size, head.root);
            let finding = match rival {
                Some(rival) => Finding::Forked { name, size, signed, here: rival.root, same },
                None => Finding::EntriesAltered { name, from: same, to: size, signed, here },
            };
            self.find(finding);
        }
        for pending in std::mem::take(&mut self.pending) {
            let (level, number, place) = match pending {
                Pending::Leaf { number, place, .. } => (0, number, place),
                Pending::Node { level, number, .. } => (level, number, None),
            };
            if let Some(path) = self.tile_path(level, number) {
                let entry = first_below(level, number);
                self.find(Finding::Disagreement { entry, place, path });
            }
        }
        let missing: Vec<Head> = self.heads.iter().skip(self.passed).cloned().collect();
        let mut told = self.count;
        for head in missing {
            if self.leads_to(&head) {
                if told < head.size {
                    self.find(Finding::EntriesMissing { from: told, to: head.size });
                    told = head.size;
                }
            } else {
                let (name, signed, here) = (head.name, head.size, self.count);
                self.find(Finding::RolledBack { name, signed, here });
            }
        }
        self.findings.sort_by_key(|f| f.entry().map_or(0, |n| n.saturating_add(1)));
        let Self { count, proven, heads, findings, more, .. } = self;
        Report { entries: count, proven, heads, findings, more }
    }

    /// Whether tiles alone lead to a head, although entries are missing.
    fn leads_to(&self, head: &Head) -> bool {
        let tiles = self.tiles.map(|tiles| TileNodes::new(tiles, self.tree_size()));
        tiles.is_some_and(|t| root(&t, head.size).is_ok_and(|root| root == head.root))
    }

    fn check_entry(&mut self, bytes: &[u8], place: Option<Place>, stored: Option<Hash>) {
        let (number, is) = (self.count, Hash::leaf(bytes));
        match stored.filter(|stored| *stored != is) {
            Some(stored) => {
                let bytes = bytes.to_vec();
                self.suspect(Pending::Leaf { number, place, bytes, is, stored });
            }
            None => {
                if let Err(fault) = Entry::decode(bytes) {
                    self.find(Finding::EntryMalformed { entry: number, place, fault });
                }
            }
        }
        self.append(Some(is), stored);
    }

    /// Appends to both trees: the hash of the entry, and the hash in its tile, each in place of the other where that is not
    /// there. With neither, both trees end here.
    fn append(&mut self, entry: Option<Hash>, stored: Option<Hash>) {
        let (of_entry, of_leaf) = (entry.or(stored), stored.or(entry));
        if of_entry != of_leaf && self.leaves.is_none() {
            self.leaves.clone_from(&self.entries);
        }
        let of_entries = append(&mut self.entries, of_entry);
        let of_leaves = append(&mut self.leaves, of_leaf);
        self.count += 1;
        for (n, (level, number, of_entries)) in of_entries.into_iter().enumerate() {
            let of_leaves = of_leaves.get(n).map_or(of_entries, |(_, _, hash)| *hash);
            if let Some(stored) = self.stored(level, number)
                && (stored != of_entries || stored != of_leaves)
            {
                self.suspect(Pending::Node { level, number, stored, of_entries, of_leaves });
            }
        }
        self.pass_heads();
    }

    /// Compares with the heads of this size.
    fn pass_heads(&mut self) {
        let here = self.entries.as_ref().map(CompactRange::root);
        let leaves = self.leaves.as_ref().map(CompactRange::root);
        let mut truth = None;
        while let Some(head) = self.heads.get(self.passed).filter(|h| h.size == self.count) {
            if here == Some(head.root) {
                truth = Some(Truth::Entries);
            } else if leaves == Some(head.root) {
                truth = Some(Truth::Leaves);
            } else {
                self.unmet.push((self.passed, here));
            }
            self.passed += 1;
        }
        if let Some(truth) = truth {
            self.prove(truth);
        }
    }

    /// Everything so far is what was signed, according to entries or leaf hashes.
    fn prove(&mut self, truth: Truth) {
        match truth {
            Truth::Entries => self.leaves = None,
            Truth::Leaves => self.entries = self.leaves.take(),
        }
        for pending in std::mem::take(&mut self.pending) {
            self.resolve(pending, truth);
        }
        let same = std::mem::replace(&mut self.proven, self.count);
        for (head, here) in std::mem::take(&mut self.unmet) {
            let Some(head) = self.heads.get(head) else { continue };
            let (name, size, signed) = (head.name.clone(), head.size, head.root);
            let here = here.unwrap_or(signed);
            self.find(Finding::Forked { name, size, signed, here, same });
        }
    }

    fn resolve(&mut self, pending: Pending, truth: Truth) {
        match (pending, truth) {
            (Pending::Leaf { number, place, bytes, is, stored }, Truth::Leaves) => {
                let flip = match self.searches.checked_sub(1) {
                    Some(left) => {
                        self.searches = left;
                        flip::in_entry(&bytes, &stored)
                    }
                    None => None,
                };
                let fault = Entry::decode(&bytes).err();
                let entry = number;
                self.find(Finding::EntryChanged { entry, place, flip, fault, is, signed: stored });
            }
            (Pending::Leaf { number, is, stored, .. }, Truth::Entries) => {
                self.tile_changed(0, number, &stored, &is);
            }
            (Pending::Node { level, number, stored, of_entries, of_leaves }, truth) => {
                let proven = if truth == Truth::Entries { of_entries } else { of_leaves };
                self.tile_changed(level, number, &stored, &proven);
            }
        }
    }

    fn tile_changed(&mut self, level: u8, number: u64, stored: &Hash, proven: &Hash) {
        let (Some(path), Some(flip)) =
            (self.tile_path(level, number), Flip::between(&stored.0, &proven.0))
        else {
            return;
        };
        let before = usize::try_from(number % u64::from(WIDTH)).unwrap_or_default() * 32;
        let flip = Flip { offset: before + flip.offset, ..flip };
        let entry = first_below(level, number);
        self.find(Finding::TileChanged { path, flip, entry });
    }

    /// A hash of a tile, if it can be had. What cannot is a finding, once.
    fn stored(&mut self, level: u8, number: u64) -> Option<Hash> {
        let tiles = self.tiles?;
        let path = self.tile_path(level, number)?;
        let row = usize::from(level);
        if self.open.len() <= row {
            self.open.resize_with(row + 1, || None);
        }
        if !matches!(self.open.get(row), Some(Some((open, _))) if *open == path) {
            let hashes = TileNodes::new(tiles, self.tree_size()).hashes(path).unwrap_or_else(|e| {
                let why = match e {
                    TileError::Missing(_) => "it is missing".to_owned(),
                    other => other.to_string(),
                };
                let entry = first_below(level, number);
                self.find(Finding::TileDamaged { path, entry, why });
                Vec::new()
            });
            if let Some(open) = self.open.get_mut(row) {
                *open = Some((path, hashes));
            }
        }
        let (_, hashes) = self.open.get(row)?.as_ref()?;
        hashes.get(usize::try_from(number % u64::from(WIDTH)).ok()?).copied()
    }

    fn tile_path(&self, level: u8, number: u64) -> Option<TilePath> {
        TilePath::of(Level::Hashes(level), number, self.tree_size())
    }

    /// The size that the tiles are of.
    fn tree_size(&self) -> u64 {
        self.own.unwrap_or_else(|| self.heads.last().map_or(0, |h| h.size))
    }

    fn suspect(&mut self, pending: Pending) {
        if self.pending.len() < FINDINGS_MAX {
            self.pending.push(pending);
        } else {
            self.more += 1;
        }
    }

    fn find(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }
}

/// Appends a leaf, and returns the hashes of full tiles' levels that it completes: level, number, hash. A tree that cannot
/// go on is gone.
fn append(tree: &mut Option<CompactRange>, leaf: Option<Hash>) -> Vec<(u8, u64, Hash)> {
    let mut rows = Vec::new();
    let told = |level: u8, number, hash| {
        if level > 0 && level.is_multiple_of(8) {
            rows.push((level / 8, number, hash));
        }
    };
    let done = match (tree.as_mut(), leaf) {
        (Some(range), Some(leaf)) => range.append_with(leaf, told).is_ok(),
        _ => false,
    };
    if !done {
        *tree = None;
    }
    rows
}

/// The first entry below a hash of a tile.
fn first_below(level: u8, number: u64) -> u64 {
    number.checked_shl(u32::from(level) * 8).unwrap_or(u64::MAX)
}

enum Unbelieved {
    Malformed(Malformed),
    Distrusted(Distrust),
}

fn believe(
    note: &[u8],
    policy: &Policy,
    verifier: &dyn Verifier,
) -> Result<(crate::checkpoint::Checkpoint, Believed), Unbelieved> {
    let signed = SignedCheckpoint::decode(note).map_err(Unbelieved::Malformed)?;
    let believed = policy.judge(&signed, verifier).map_err(Unbelieved::Distrusted)?;
    Ok((signed.checkpoint().clone(), believed))
}

/// The bit of a checkpoint that has to turn for it to count.
fn turned_bit(note: &[u8], policy: &Policy, verifier: &dyn Verifier) -> Option<Flip> {
    if note.len() > SEARCHED_BYTES_MAX {
        return None;
    }
    flip::bit_in(note, |note| believe(note, policy, verifier).is_ok())
}

/// An entry whose length differs in one byte from what is written in front of it: entry, what is behind it, and the byte.
fn find_length<'b>(bundle: &'b [u8], leaf: &Hash) -> Option<(&'b [u8], &'b [u8], Flip)> {
    let (is, content) = bundle.split_first_chunk::<{ bundle::PREFIX }>()?;
    let [high, low] = *is;
    let highs = (0..=u8::MAX).map(|byte| [byte, low]);
    let lengths = highs.chain((0..=u8::MAX).map(|byte| [high, byte]));
    let mut found = lengths.filter(|was| was != is).filter_map(|was| {
        let (entry, behind) = content.split_at_checked(u16::from_be_bytes(was).into())?;
        (Hash::leaf(entry) == *leaf).then_some((entry, behind, Flip::between(is, &was)?))
    });
    found.next()
}
