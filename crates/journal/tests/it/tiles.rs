//! Tiles and bundles (C2SP tlog-tiles).

use std::collections::BTreeMap;

use journal::Hash;
use journal::bundle;
use journal::proof::{consistency, inclusion};
use journal::tile::{Level, TileError, TileNodes, TilePath, Tiler};
use journal::tree::{Nodes, root};
use proptest::prelude::*;

use crate::reference::{self, data, mth};

type Files = BTreeMap<TilePath, Vec<u8>>;

/// Appends entries and stores what has to be stored, whenever `commits` says so.
fn store(d: &[Vec<u8>], commits: impl Fn(usize) -> bool) -> (Tiler, Files) {
    let mut tiler = Tiler::new();
    let mut files = Files::new();
    for (n, d) in d.iter().enumerate() {
        tiler.append(Hash::leaf(d)).unwrap();
        if commits(n) {
            files.extend(tiler.take().iter().map(|t| (t.path, t.to_bytes())));
        }
    }
    files.extend(tiler.take().iter().map(|t| (t.path, t.to_bytes())));
    (tiler, files)
}

fn n64(n: usize) -> u64 {
    u64::try_from(n).unwrap()
}

#[test]
fn paths_are_those_of_the_specification() {
    for (text, level, index, width) in [
        ("tile/0/x001/x234/067", Level::Hashes(0), 1_234_067, 256),
        ("tile/0/000", Level::Hashes(0), 0, 256),
        ("tile/63/999.p/1", Level::Hashes(63), 999, 1),
        ("tile/1/x001/000.p/255", Level::Hashes(1), 1_000, 255),
        ("tile/entries/x001/x000/000.p/12", Level::Entries, 1_000_000, 12),
        ("tile/entries/x009/x223/x372/x036/x854/x775/807", Level::Entries, (1 << 63) - 1, 256),
    ] {
        let path = TilePath::new(level, index, width).unwrap();
        assert_eq!(path.to_string(), text);
        assert_eq!(text.parse(), Ok(path));
    }
}

#[test]
fn other_spellings_of_paths_are_refused() {
    for text in [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/entry/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/x001/x002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p/1/",
        "tile/0/000/",
        "tile/0/00a",
        "tile/0/+01",
        "tile/0/x009/x223/x372/x036/x854/x775/808",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        let read = text.parse::<TilePath>();
        assert!(read.is_err(), "{text}: {read:?}");
    }
    assert!(TilePath::new(Level::Hashes(0), 0, 0).is_err());
    assert!(TilePath::new(Level::Hashes(0), 0, 257).is_err());
    assert!(TilePath::new(Level::Hashes(64), 0, 1).is_err());
    assert!(TilePath::new(Level::Entries, 1 << 63, 1).is_err());
}

/// "A tree of size 70,000 will be represented by 273 full level 0 tiles, one partial level 0 tile of width 112, one full level 1 tile,
/// one partial level 1 tile of width 17, and one partial level 2 tile of width 1" (tlog-tiles, Partial Tiles).
#[test]
fn a_tree_has_the_tiles_of_the_specification() {
    let count = |size: u64, level: u8| {
        let of_level = TilePath::all(size).filter(|p| p.level() == Level::Hashes(level));
        let (full, partial): (Vec<_>, Vec<_>) = of_level.partition(TilePath::is_full);
        (full.len(), partial.iter().map(TilePath::width).collect::<Vec<_>>())
    };
    assert_eq!(count(70_000, 0), (273, vec![112]));
    assert_eq!(count(70_000, 1), (1, vec![17]));
    assert_eq!(count(70_000, 2), (0, vec![1]));
    assert_eq!(count(70_000, 3), (0, vec![]));
    assert_eq!((count(256, 0), count(256, 1)), ((1, vec![]), (0, vec![1])));
    assert_eq!(TilePath::all(0).count(), 0);

    let d = data(70_000);
    let (tiler, files) = store(&d, |n| n % 999 == 0);
    assert_eq!(tiler.root(), root(&TileNodes::new(&files, 70_000), 70_000).unwrap());
    let wanted: Vec<_> = TilePath::all(70_000).filter(|p| p.level() != Level::Entries).collect();
    assert!(wanted.iter().all(|path| files.contains_key(path)), "every tile was handed out");
    // The one hash of level 2 is over the first 65,536 entries.
    let top = TilePath::of(Level::Hashes(2), 0, 70_000).unwrap();
    assert_eq!(files[&top], mth(&d[..65_536]).0);
}

#[test]
fn a_tree_goes_on_from_its_tiles() {
    let d = data(600);
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 513, 599] {
        let (before, files) = store(&d[..size], |n| n % 7 == 0);
        let mut after = Tiler::resume(&files, n64(size)).unwrap();
        assert_eq!(after, before, "size {size}");
        assert_eq!(after.take(), [], "nothing has to be stored again");
        for d in &d[size..] {
            after.append(Hash::leaf(d)).unwrap();
        }
        assert_eq!(after.root(), mth(&d));
    }
}

#[test]
fn partial_tiles_that_are_gone_are_read_from_full_ones() {
    let d = data(256);
    let (_, mut files) = store(&d, |n| n == 99);
    let partial = TilePath::of(Level::Hashes(0), 99, 100).unwrap();
    assert_eq!(partial.to_string(), "tile/0/000.p/100");
    assert!(files.remove(&partial).is_some());
    assert_eq!(root(&TileNodes::new(&files, 100), 100), Ok(mth(&d[..100])));
    files.remove(&partial.full());
    let missing = root(&TileNodes::new(&files, 100), 100);
    assert_eq!(missing, Err(TileError::Missing(partial)));
}

#[test]
fn tiles_of_another_length_are_refused() {
    let d = data(100);
    let (_, mut files) = store(&d, |_| false);
    let path = TilePath::of(Level::Hashes(0), 0, 100).unwrap();
    let good = files[&path].clone();
    for bytes in [&good[1..], &good[32..], &[&good[..], &[0; 32]].concat(), &[]] {
        files.insert(path, bytes.to_vec());
        let read = TileNodes::new(&files, 100).node(0, 3);
        assert_eq!(read, Err(TileError::Length { path, bytes: bytes.len() }));
    }
    files.insert(path, good);
    let nodes = TileNodes::new(&files, 100);
    assert!(nodes.node(0, 99).is_ok() && nodes.node(2, 24).is_ok());
    for (level, index) in [(0, 100), (2, 25), (7, 0), (8, 0), (63, 0), (255, 0), (1, u64::MAX)] {
        let outside = TileError::Outside { level, index, size: 100 };
        assert_eq!(nodes.node(level, index), Err(outside));
    }
}

#[test]
fn bundles_are_read_whole_or_not() {
    let entries: [&[u8]; 4] = [b"first", b"", &[7; 300], b"last"];
    let mut bytes = Vec::new();
    for entry in entries {
        bundle::push(&mut bytes, entry).unwrap();
    }
    assert_eq!(bytes[..7], *b"\x00\x05first");
    assert_eq!(bundle::read(&bytes, 4).unwrap(), entries);
    assert_eq!(bundle::read(&bytes, 3).unwrap_err().at, bytes.len() - 6);
    assert_eq!(bundle::read(&bytes, 5).unwrap_err().at, bytes.len());
    for cut in 0..bytes.len() {
        assert!(bundle::read(&bytes[..cut], 4).is_err(), "cut to {cut}");
    }
    let before = bytes.clone();
    bundle::push(&mut bytes, &[0; 65_535]).unwrap();
    let fault = bundle::push(&mut bytes, &[0; 65_536]).unwrap_err();
    assert_eq!((fault.at, bytes.len()), (before.len() + 2 + 65_535, before.len() + 2 + 65_535));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn tiles_hold_what_the_specification_says(size in 1_usize..1_100, commits in 1_usize..300) {
        let d = data(size);
        let (tiler, files) = store(&d, |n| n % commits == 0);
        prop_assert_eq!(tiler.root(), mth(&d));
        for path in TilePath::all(n64(size)) {
            let Level::Hashes(level) = path.level() else { continue };
            let wide = 256_usize.pow(level.into());
            let first = usize::try_from(path.index()).unwrap() * 256;
            // MTH(D[(n * 256 + i) * 256**l : (n * 256 + i + 1) * 256**l])
            let wanted: Vec<u8> = (first..first + usize::from(path.width()))
                .flat_map(|i| mth(&d[i * wide..(i + 1) * wide]).0)
                .collect();
            prop_assert_eq!(files.get(&path), Some(&wanted), "{}", path);
        }
    }

    #[test]
    fn proofs_from_tiles_are_as_defined(
        (size, old) in (1_usize..900).prop_flat_map(|size| (Just(size), 1..=size)),
    ) {
        let d = data(size);
        let (_, files) = store(&d, |_| false);
        let nodes = TileNodes::new(&files, n64(size));
        let proof = inclusion(&nodes, n64(old - 1), n64(size)).unwrap();
        prop_assert_eq!(proof, reference::path(old - 1, &d));
        let proof = consistency(&nodes, n64(old), n64(size)).unwrap();
        prop_assert_eq!(proof, reference::proof(old, &d));
    }

    #[test]
    fn paths_are_read_as_they_are_written(
        level in prop_oneof![Just(Level::Entries), (0_u8..64).prop_map(Level::Hashes)],
        index in 0_u64..(1 << 63),
        width in 1_u16..=256,
    ) {
        let path = TilePath::new(level, index, width).unwrap();
        prop_assert_eq!(path.to_string().parse(), Ok(path));
    }
}
