//! Tiles (C2SP tlog-tiles, Merkle Tree): the tree in files of up to 256 hashes that never change once they are full.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use crate::hash::Hash;
use crate::lines::decimal;
use crate::tree::{CompactRange, Full, Nodes, root};
use crate::{Malformed, SIZE_MAX};

/// Hashes of a full tile, and entries of a full bundle.
pub const WIDTH: u16 = 256;
/// Levels of the tree in one tile.
const HEIGHT: u8 = 8;
/// Highest level of tiles that a tree of [`SIZE_MAX`] entries has.
const LEVEL_MAX: u8 = 7;

const WHAT: &str = "a tile path";

/// Which file: `tile/<L>/<N>[.p/<W>]`, or `tile/entries/<N>[.p/<W>]` for an entry bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    level: Level,
    index: u64,
    width: u16,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Entries themselves.
    Entries,
    /// Hashes of perfect subtrees of `256^level` entries each.
    Hashes(u8),
}

impl Level {
    /// How many hashes (or entries) of this level a tree has.
    fn count(self, size: u64) -> u64 {
        match self {
            Self::Entries => size,
            Self::Hashes(level) => {
                size.checked_shr(u32::from(HEIGHT) * u32::from(level)).unwrap_or(0)
            }
        }
    }
}

impl TilePath {
    /// From its parts: a level up to 63, a width of 1 to 256 (256: the tile is full).
    pub fn new(level: Level, index: u64, width: u16) -> Result<Self, Malformed> {
        let wrong = |why: String| Err(Malformed::new(WHAT, 0, why));
        match level {
            Level::Hashes(level) if level > 63 => wrong(format!("level {level} is above 63")),
            _ if width == 0 || width > WIDTH => wrong(format!("a width of {width}")),
            _ if index > SIZE_MAX => wrong(format!("index {index} is above {SIZE_MAX}")),
            _ => Ok(Self { level, index, width }),
        }
    }

    /// The file that holds hash (or entry) number `number` of a level in a tree of `size` entries; `None` when the tree has
    /// no such hash.
    pub fn of(level: Level, number: u64, size: u64) -> Option<Self> {
        let count = level.count(size);
        if number >= count {
            return None;
        }
        let index = number / u64::from(WIDTH);
        let width = (count - index * u64::from(WIDTH)).min(WIDTH.into());
        Some(Self { level, index, width: u16::try_from(width).unwrap_or(WIDTH) })
    }

    /// Every file that a tree of `size` entries has: bundles, then tiles from the leaves upwards.
    pub fn all(size: u64) -> impl Iterator<Item = Self> {
        let levels = [Level::Entries].into_iter().chain((0..=LEVEL_MAX).map(Level::Hashes));
        levels.flat_map(move |level| {
            let files = level.count(size).div_ceil(WIDTH.into());
            (0..files).filter_map(move |n| Self::of(level, n * u64::from(WIDTH), size))
        })
    }

    /// What it holds.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Its index within the level.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries it has.
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether it will never grow.
    pub const fn is_full(&self) -> bool {
        self.width == WIDTH
    }

    /// The same tile when it is full.
    pub const fn full(self) -> Self {
        Self { width: WIDTH, ..self }
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Level::Entries => f.write_str("tile/entries")?,
            Level::Hashes(level) => write!(f, "tile/{level}")?,
        }
        let mut groups = vec![self.index % 1_000];
        let mut rest = self.index / 1_000;
        while rest > 0 {
            groups.push(rest % 1_000);
            rest /= 1_000;
        }
        for (n, group) in groups.iter().enumerate().rev() {
            write!(f, "/{}{group:03}", if n > 0 { "x" } else { "" })?;
        }
        match self.is_full() {
            true => Ok(()),
            false => write!(f, ".p/{}", self.width),
        }
    }
}

impl FromStr for TilePath {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = |at: usize, why: &str| Malformed::new(WHAT, at, why);
        let rest = text.strip_prefix("tile/").ok_or_else(|| wrong(0, "it begins with tile/"))?;
        let (level, rest) = rest.split_once('/').ok_or_else(|| wrong(text.len(), "no index"))?;
        let level = match level {
            "entries" => Level::Entries,
            number => {
                let level = decimal(number).and_then(|n| u8::try_from(n).ok());
                Level::Hashes(level.ok_or_else(|| wrong(5, "a level is entries or 0 to 63"))?)
            }
        };
        let index_at = text.len() - rest.len();
        let (index, width) = match rest.split_once(".p/") {
            None => (rest, WIDTH),
            Some((index, width)) => {
                let width = decimal(width).and_then(|n| u16::try_from(n).ok());
                let partial = width.filter(|w| (1..WIDTH).contains(w));
                let at = index_at + index.len() + 3;
                (index, partial.ok_or_else(|| wrong(at, "a partial width is 1 to 255"))?)
            }
        };
        let why = "an index is in groups of three digits, all but the last with an x in front";
        let mut number: u64 = 0;
        let mut groups = index.split('/').peekable();
        while let Some(group) = groups.next() {
            let digits = match groups.peek() {
                Some(_) => group.strip_prefix('x').ok_or_else(|| wrong(index_at, why))?,
                None => group,
            };
            let good = digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit());
            let value: u64 = if good { digits.parse().ok() } else { None }
                .ok_or_else(|| wrong(index_at, why))?;
            let next = number.checked_mul(1_000).and_then(|n| n.checked_add(value));
            number = next.ok_or_else(|| wrong(index_at, "the index is too large"))?;
        }
        let path = Self::new(level, number, width)?;
        // A leading group of zeroes is another spelling.
        match path.to_string() == text {
            true => Ok(path),
            false => Err(wrong(index_at, "the index has leading zeroes")),
        }
    }
}

/// Hashes of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Which.
    pub path: TilePath,
    /// Its hashes, from left to right.
    pub hashes: Vec<Hash>,
}

impl Tile {
    /// Its bytes: the hashes one behind the other.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|h| h.0).collect()
    }
}

/// Makes tiles from entries as they are appended. What it holds is the partial tiles at the right edge, at most
/// 255 hashes a level.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Tiler {
    range: CompactRange,
    /// The partial tile of each level.
    edge: Vec<Edge>,
    full: Vec<Tile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Edge {
    hashes: Vec<Hash>,
    /// Whether it has grown since it was taken.
    grown: bool,
}

impl Tiler {
    /// A tree without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on where a tree of `size` entries was left, from its partial tiles. Whether they are right, the root tells.
    pub fn resume<S: TileSource + ?Sized>(
        tiles: &S,
        size: u64,
    ) -> Result<Self, TileError<S::Error>> {
        let reader = TileNodes::new(tiles, size);
        let range = crate::tree::compact_range(&reader, size)?;
        let mut edge = Vec::new();
        for level in 0..=LEVEL_MAX {
            let count = Level::Hashes(level).count(size);
            let hashes = match TilePath::of(Level::Hashes(level), count.saturating_sub(1), size) {
                Some(path) if !path.is_full() => reader.hashes(path)?,
                _ => Vec::new(),
            };
            if count > 0 {
                edge.push(Edge { hashes, grown: false });
            }
        }
        Ok(Self { range, edge, full: Vec::new() })
    }

    /// How many entries the tree has.
    pub const fn size(&self) -> u64 {
        self.range.size()
    }

    /// The Merkle Tree Hash of all entries.
    pub fn root(&self) -> Hash {
        self.range.root()
    }

    /// The right edge of the tree.
    pub const fn range(&self) -> &CompactRange {
        &self.range
    }

    /// Appends an entry by its hash.
    pub fn append(&mut self, leaf: Hash) -> Result<(), Full> {
        let Self { range, edge, full } = self;
        range.append_with(leaf, |level, index, hash| {
            if !level.is_multiple_of(HEIGHT) {
                return;
            }
            let row = usize::from(level / HEIGHT);
            if edge.len() <= row {
                edge.resize_with(row + 1, Edge::default);
            }
            let Some(partial) = edge.get_mut(row) else { return };
            partial.hashes.push(hash);
            partial.grown = true;
            if partial.hashes.len() == usize::from(WIDTH) {
                let level = Level::Hashes(level / HEIGHT);
                let path = TilePath { level, index: index / u64::from(WIDTH), width: WIDTH };
                full.push(Tile { path, hashes: std::mem::take(&mut partial.hashes) });
                partial.grown = false;
            }
        })
    }

    /// Tiles that a checkpoint of the present size needs and that were not taken yet: those that became full, and the partial
    /// ones that have grown.
    pub fn take(&mut self) -> Vec<Tile> {
        let mut tiles = std::mem::take(&mut self.full);
        for (level, partial) in (0..).zip(&mut self.edge) {
            if !std::mem::take(&mut partial.grown) {
                continue;
            }
            let hashes = partial.hashes.clone();
            let level = Level::Hashes(level);
            let last = level.count(self.range.size()).saturating_sub(1);
            tiles.extend(
                TilePath::of(level, last, self.range.size()).map(|path| Tile { path, hashes }),
            );
        }
        tiles
    }
}

/// Provides tiles, wherever they are kept.
pub trait TileSource {
    /// Why they cannot be had.
    type Error;
    /// The bytes of a tile; `None` when there is none.
    fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// Tiles at hand.
impl TileSource for BTreeMap<TilePath, Vec<u8>> {
    type Error = Infallible;

    fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.get(path).cloned())
    }
}

/// Why a hash cannot be had from tiles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError<E> {
    /// The tile is not there.
    #[error("{0} is missing")]
    Missing(TilePath),
    /// The tile has not the hashes that its path says.
    #[error("{path} has {bytes} bytes, not {}", u32::from(.path.width) * 32)]
    Length {
        /// Which.
        path: TilePath,
        /// How long it is.
        bytes: usize,
    },
    /// The tree has no such hash.
    #[error("a tree of {size} entries has no hash {index} of level {level}")]
    Outside {
        /// Level of the hash.
        level: u8,
        /// Its index there.
        index: u64,
        /// Size of the tree.
        size: u64,
    },
    /// Tiles cannot be had.
    #[error("{0}")]
    Source(E),
}

/// Hashes of a tree of a given size, read from tiles. It believes the tiles: what comes out is for proofs, which their receivers
/// verify.
#[derive(Debug)]
pub struct TileNodes<'a, S: ?Sized> {
    tiles: &'a S,
    size: u64,
}

impl<'a, S: TileSource + ?Sized> TileNodes<'a, S> {
    /// Of a tree of `size` entries.
    pub const fn new(tiles: &'a S, size: u64) -> Self {
        Self { tiles, size }
    }

    /// The hashes of a tile. A partial one that is gone is the beginning of the full one (tlog-tiles, Partial Tiles).
    pub fn hashes(&self, path: TilePath) -> Result<Vec<Hash>, TileError<S::Error>> {
        let get = |path: TilePath| -> Result<Option<Vec<Hash>>, TileError<S::Error>> {
            let Some(bytes) = self.tiles.tile(&path).map_err(TileError::Source)? else {
                return Ok(None);
            };
            let (hashes, rest) = bytes.as_chunks::<32>();
            if !rest.is_empty() || hashes.len() != usize::from(path.width) {
                return Err(TileError::Length { path, bytes: bytes.len() });
            }
            Ok(Some(hashes.iter().copied().map(Hash).collect()))
        };
        if let Some(hashes) = get(path)? {
            return Ok(hashes);
        }
        let full = if path.is_full() { None } else { get(path.full())? };
        let mut hashes = full.ok_or(TileError::Missing(path))?;
        hashes.truncate(path.width.into());
        Ok(hashes)
    }
}

impl<S: TileSource + ?Sized> Nodes for TileNodes<'_, S> {
    type Error = TileError<S::Error>;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        let outside = || TileError::Outside { level, index, size: self.size };
        let row = Level::Hashes(level / HEIGHT);
        let height = level % HEIGHT;
        // The hashes of the tile that stand below the node; they are all in one tile.
        let wide = 1_u64 << height;
        let first = index.checked_mul(wide).ok_or_else(outside)?;
        let last = first.checked_add(wide - 1).ok_or_else(outside)?;
        let path = TilePath::of(row, last, self.size).ok_or_else(outside)?;
        let hashes = self.hashes(path)?;
        let begin = usize::try_from(first % u64::from(WIDTH)).unwrap_or(usize::MAX);
        let hashes = hashes.get(begin..).unwrap_or_default();
        root(hashes, wide).map_err(|_| outside())
    }
}
