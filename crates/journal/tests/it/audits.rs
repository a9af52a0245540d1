//! The offline audit: every changed byte is found and named, a fork and a rollback are told apart.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use journal::audit::{Auditor, FINDINGS_MAX, Finding, Report, audit};
use journal::policy::{Party, Policy};
use journal::tile::{Level, TilePath, Tiler};
use journal::{Hash, bundle};
use proptest::prelude::*;

use crate::entries::sample;
use crate::notes::signed;
use crate::reference::{Toy, Toys, mth};

type Files = BTreeMap<TilePath, Vec<u8>>;

/// A log on disk.
#[derive(Clone)]
struct Disk {
    entries: Vec<Vec<u8>>,
    bundles: Vec<Vec<u8>>,
    tiles: Files,
}

fn disk(entries: Vec<Vec<u8>>) -> Disk {
    let mut tiler = Tiler::new();
    let mut bundles = Vec::new();
    for chunk in entries.chunks(256) {
        let mut bytes = Vec::new();
        for entry in chunk {
            bundle::push(&mut bytes, entry).unwrap();
            tiler.append(Hash::leaf(entry)).unwrap();
        }
        bundles.push(bytes);
    }
    let tiles = tiler.take().iter().map(|t| (t.path, t.to_bytes())).collect();
    Disk { entries, bundles, tiles }
}

fn entries(n: usize) -> Vec<Vec<u8>> {
    (0..n).map(|n| sample(n).encode().unwrap()).collect()
}

static LOG: LazyLock<Toy> = LazyLock::new(|| Toy::new("log.example/journal"));
static WITNESS: LazyLock<Toy> = LazyLock::new(|| Toy::new("auditor.example/w"));

fn policy() -> Policy {
    let party = Party { name: "auditor".to_owned(), witnesses: vec![WITNESS.witness()] };
    Policy::parties(LOG.log(), 1, vec![party]).unwrap()
}

/// The cosigned head of some entries.
fn head(entries: &[Vec<u8>]) -> Vec<u8> {
    let size = u64::try_from(entries.len()).unwrap();
    signed(&LOG, size, mth(entries), &[&WITNESS]).encode().into_bytes()
}

fn check(disk: &Disk, with_tiles: bool, heads: &[(&str, &[u8])]) -> Report {
    let policy = policy();
    let mut auditor = Auditor::new(heads, with_tiles.then_some(&disk.tiles), &policy, &Toys);
    for bytes in &disk.bundles {
        auditor.bundle(bytes);
    }
    auditor.finish()
}

fn codes(report: &Report) -> Vec<&str> {
    report.findings.iter().map(Finding::code).collect()
}

#[test]
fn an_intact_log_is_proven() {
    for n in [0, 1, 2, 255, 256, 257, 600] {
        let disk = disk(entries(n));
        let (half, whole) = (head(&disk.entries[..n / 2]), head(&disk.entries));
        let heads: [(&str, &[u8]); 2] = [("whole", &whole), ("half", &half)];
        for with_tiles in [false, true] {
            let report = check(&disk, with_tiles, &heads);
            assert_eq!(report.findings, [], "{n} entries");
            assert!(report.is_intact() && report.knows_every_signature());
            let n = u64::try_from(n).unwrap();
            assert_eq!((report.entries, report.proven), (n, n));
            assert_eq!(report.heads[1].believed.cosigned[0].0, "auditor-1");
        }
        // The same from entries instead of bundles.
        let report = audit(&disk.entries, &heads, Some(&disk.tiles), &policy(), &Toys);
        assert!(report.is_intact());
    }
}

/// In which entry a byte of the first bundle is: its number, where it begins, and where the byte is in it (the first two are its
/// length).
fn locate(disk: &Disk, at: usize) -> (u64, usize, usize) {
    let mut begin = 0;
    for (n, entry) in (0..).zip(&disk.entries) {
        let end = begin + 2 + entry.len();
        if at < end {
            return (n, begin, at - begin);
        }
        begin = end;
    }
    panic!("byte {at} is not in the bundle");
}

#[test]
fn every_changed_byte_of_an_entry_is_named() {
    let good = disk(entries(5));
    let whole = head(&good.entries);
    for at in 0..good.bundles[0].len() {
        // Turned bits are quick to find; other bytes are looked for with every value.
        let masks: &[u8] = if at % 16 == 0 { &[0x01, 0x80, 0xff] } else { &[0x01, 0x80] };
        for mask in masks {
            let mut bad = good.clone();
            bad.bundles[0][at] ^= mask;
            let (is, was) = (bad.bundles[0][at], good.bundles[0][at]);
            let report = check(&bad, true, &[("head", &whole)]);
            let (number, begin, within) = locate(&good, at);
            let [finding] = report.findings.as_slice() else {
                panic!("byte {at}: {:?}", report.findings);
            };
            match finding {
                Finding::LengthChanged { entry, place, flip } if within < 2 => {
                    assert_eq!((*entry, place.offset, flip.offset), (number, begin, at));
                    assert_eq!((flip.is, flip.was), (is, was));
                }
                Finding::EntryChanged { entry, place, flip, signed, .. } if within >= 2 => {
                    let flip = flip.unwrap();
                    assert_eq!((*entry, place.unwrap().offset), (number, begin));
                    assert_eq!((flip.offset, flip.is, flip.was), (within - 2, is, was));
                    assert_eq!(
                        *signed,
                        Hash::leaf(&good.entries[usize::try_from(number).unwrap()])
                    );
                }
                other => panic!("byte {at}: {other}"),
            }
            assert!(
                !report.is_intact() && finding.to_string().contains(&format!("entry {number}"))
            );
            assert_eq!(report.proven, 5, "the tiles prove what was there");

            // Without tiles the change is found, and where it can be.
            let report = check(&bad, false, &[("head", &whole)]);
            assert!(!report.is_intact() && report.proven == 0, "byte {at}");
            let first = report.findings[0].entry().unwrap();
            assert!(first <= number, "byte {at}: {:?}", report.findings);
        }
    }
}

#[test]
fn every_changed_byte_of_a_tile_is_named() {
    let good = disk(entries(600));
    let whole = head(&good.entries);
    for (path, bytes) in &good.tiles {
        for at in (0..bytes.len()).step_by(if bytes.len() > 64 { 97 } else { 1 }) {
            let mut bad = good.clone();
            bad.tiles.get_mut(path).unwrap()[at] ^= 0x10;
            let report = check(&bad, true, &[("head", &whole)]);
            let [Finding::TileChanged { path: named, flip, entry }] = report.findings.as_slice()
            else {
                panic!("{path} byte {at}: {:?}", report.findings);
            };
            assert_eq!((named, flip.offset, flip.was), (path, at, bytes[at]));
            let Level::Hashes(level) = path.level() else { panic!("{path}") };
            let hash = path.index() * 256 + u64::try_from(at / 32).unwrap();
            assert_eq!(*entry, hash * 256_u64.pow(level.into()));
            assert_eq!(report.proven, 600);
        }
        // Cut, longer, and gone.
        for change in [Some(&bytes[..bytes.len() - 1]), Some(&[&bytes[..], &[0]].concat()), None] {
            let mut bad = good.clone();
            bad.tiles.remove(path);
            bad.tiles.extend(change.map(|bytes| (*path, bytes.to_vec())));
            let report = check(&bad, true, &[("head", &whole)]);
            let [Finding::TileDamaged { path: named, .. }] = report.findings.as_slice() else {
                panic!("{path}: {:?}", report.findings);
            };
            assert_eq!(named, path);
        }
    }
}

#[test]
fn every_changed_byte_of_a_checkpoint_is_named() {
    let disk = disk(entries(3));
    let good = head(&disk.entries);
    for at in 0..good.len() {
        for mask in [1_u8 << (at % 8), 0xff].into_iter().take(if at % 32 == 0 { 2 } else { 1 }) {
            let mut bad = good.clone();
            bad[at] ^= mask;
            let report = check(&disk, true, &[("latest", &bad)]);
            assert_eq!(report.findings.len(), 2, "byte {at}: {:?}", report.findings);
            let (name, flip) = match &report.findings[0] {
                Finding::CheckpointMalformed { name, flip, .. }
                | Finding::CheckpointDistrusted { name, flip, .. } => (name, flip),
                other => panic!("byte {at}: {other}"),
            };
            assert_eq!(name, "latest");
            if mask.count_ones() == 1 {
                let flip = flip.unwrap();
                assert_eq!((flip.offset, flip.is, flip.was), (at, bad[at], good[at]));
            }
            assert_eq!(report.findings[1], Finding::NothingSigned);
        }
    }
}

#[test]
fn a_surplus_signature_whose_name_changed_shows() {
    let disk = disk(entries(3));
    let [second, size] = [Toy::new("second.example/w"), Toy::new("unused")];
    let cosigned = signed(&LOG, 3, mth(&disk.entries), &[&WITNESS, &second]).encode();
    let parties = [&*WITNESS, &second, &size]
        .map(|t| Party { name: t.name.to_string(), witnesses: vec![t.witness()] });
    let policy = Policy::parties(LOG.log(), 1, parties.into()).unwrap();
    let run = |note: &str| {
        let heads: [(&str, &[u8]); 1] = [("latest", note.as_bytes())];
        audit(&disk.entries, &heads, None::<&Files>, &policy, &Toys)
    };
    assert!(run(&cosigned).knows_every_signature());
    let report = run(&cosigned.replace("second.example", "zecond.example"));
    assert!(report.is_intact() && !report.knows_every_signature());
    let (line, name, _) = &report.heads[0].believed.unknown[0];
    assert_eq!((*line, name.as_str()), (7, "zecond.example/w"));
}

#[test]
fn changed_entries_are_told_apart_from_changed_tiles() {
    let good = disk(entries(600));
    let (early, whole) = (head(&good.entries[..300]), head(&good.entries));
    let mut bad = good.clone();
    // An entry before the first head, a tile behind it; and an entry that is replaced, not damaged.
    let leaf_tile = TilePath::of(Level::Hashes(0), 256, 600).unwrap();
    bad.tiles.get_mut(&leaf_tile).unwrap()[32 * 100 + 5] ^= 1;
    bad.entries[17] = sample(1_017).encode().unwrap();
    bad.entries[18][9] ^= 4;
    let report = audit(
        &bad.entries,
        &[("whole", &whole), ("early", &early)],
        Some(&bad.tiles),
        &policy(),
        &Toys,
    );
    assert_eq!(codes(&report), ["entry-changed", "entry-changed", "tile-changed"]);
    assert_eq!(
        report.findings.iter().map(|f| f.entry().unwrap()).collect::<Vec<_>>(),
        [17, 18, 356]
    );
    assert!(matches!(&report.findings[0], Finding::EntryChanged { flip: None, fault: None, .. }));
    assert!(matches!(&report.findings[1], Finding::EntryChanged { flip: Some(_), .. }));
    assert_eq!(report.proven, 600);

    // Entry and tile both: nothing that is signed tells, and both are named.
    let mut bad = good.clone();
    let tile = TilePath::of(Level::Hashes(0), 0, 600).unwrap();
    bad.tiles.get_mut(&tile).unwrap()[32 * 40] ^= 1;
    bad.entries[20][9] ^= 4;
    let heads: [(&str, &[u8]); 1] = [("whole", &whole)];
    let report = audit(&bad.entries, &heads, Some(&bad.tiles), &policy(), &Toys);
    let named: Vec<_> = report.findings.iter().map(|f| (f.code(), f.entry().unwrap())).collect();
    assert_eq!(
        named,
        [("entries-altered", 0), ("disagreement", 0), ("disagreement", 20), ("disagreement", 40)]
    );
    assert_eq!(report.proven, 0);
}

#[test]
fn a_fork_and_a_rollback_are_told_apart() {
    let honest = entries(40);
    let mut other = honest[..25].to_vec();
    other.extend((0..20).map(|n| sample(5_000 + n).encode().unwrap()));
    let kept = head(&honest[..30]);
    let kept: (&str, &[u8]) = ("kept by a device", &kept);

    // The log went on and is whole.
    let latest = head(&honest);
    let report = check(&disk(honest.clone()), true, &[("latest", &latest), kept]);
    assert!(report.is_intact());

    // Another history, signed and cosigned.
    let common = head(&other[..20]);
    let latest = head(&other);
    for with_tiles in [true, false] {
        let heads = [("latest", &latest[..]), kept, ("common", &common[..])];
        let report = check(&disk(other.clone()), with_tiles, &heads);
        let [Finding::Forked { name, size, signed, here, same }] = report.findings.as_slice()
        else {
            panic!("{:?}", report.findings);
        };
        assert_eq!((name.as_str(), *size, *same), ("kept by a device", 30, 20));
        assert_eq!((*signed, *here), (mth(&honest[..30]), mth(&other[..30])));
    }
    // Two heads of one size.
    let rival = head(&other[..30]);
    let report = check(&disk(honest[..30].to_vec()), true, &[("rival", &rival), kept]);
    assert_eq!(codes(&report), ["forked"]);
    let neither = entries(100)[70..].to_vec();
    let report = check(&disk(neither), false, &[kept, ("rival", &rival)]);
    assert_eq!(codes(&report), ["forked", "forked"], "even when the entries are those of neither");

    // An older copy, whole in itself.
    let older = head(&honest[..20]);
    for (heads, proven) in [(vec![("older", &older[..]), kept], 20), (vec![kept], 0)] {
        for with_tiles in [true, false] {
            let report = check(&disk(honest[..20].to_vec()), with_tiles, &heads);
            let expected = Finding::RolledBack { name: kept.0.to_owned(), signed: 30, here: 20 };
            let mut findings = report.findings.clone();
            if with_tiles && proven == 0 {
                // There are only the tiles of 20 entries.
                assert_eq!(findings.remove(0).code(), "tile-damaged");
            }
            assert_eq!(findings, [expected]);
            assert_eq!(report.proven, proven);
        }
    }
    // Entries are gone, and their hashes are still there.
    let mut cut = disk(honest[..30].to_vec());
    cut.bundles[0] = disk(honest[..22].to_vec()).bundles[0].clone();
    let report = check(&cut, true, &[kept]);
    assert_eq!(report.findings, [Finding::EntriesMissing { from: 22, to: 30 }]);
    let report = audit(&honest[..22], &[kept], Some(&cut.tiles), &policy(), &Toys);
    assert_eq!(report.findings, [Finding::EntriesMissing { from: 22, to: 30 }]);
    let report = audit(&honest[..22], &[kept], None::<&Files>, &policy(), &Toys);
    assert_eq!(codes(&report), ["rolled-back"]);
    // Entries that were never signed are no fault; they are just not proven.
    let report = check(&disk(honest), false, &[kept]);
    assert!(report.is_intact());
    assert_eq!((report.entries, report.proven), (40, 30));
}

#[test]
fn what_is_logged_has_to_be_an_entry() {
    let mut all = entries(5);
    all[3] = b"no entry".to_vec();
    let whole = head(&all);
    for with_tiles in [true, false] {
        let report = check(&disk(all.clone()), with_tiles, &[("head", &whole)]);
        let [Finding::EntryMalformed { entry: 3, place: Some(place), fault }] =
            report.findings.as_slice()
        else {
            panic!("{:?}", report.findings);
        };
        assert_eq!(place.offset, all[..3].iter().map(|e| 2 + e.len()).sum::<usize>());
        assert_eq!(fault.at, 0);
        assert_eq!(report.proven, 5);
    }
}

#[test]
fn damage_without_end_is_counted() {
    let good = disk(entries(600));
    let whole = head(&good.entries);
    let shifted = [&good.entries[1..], &good.entries[..1]].concat();
    let heads: [(&str, &[u8]); 1] = [("whole", &whole)];
    let report = audit(&shifted, &heads, Some(&good.tiles), &policy(), &Toys);
    assert_eq!(report.findings.len(), FINDINGS_MAX);
    assert_eq!(report.findings[0].entry(), Some(0));
    assert!(report.more >= 600 - u64::try_from(FINDINGS_MAX).unwrap());
    let report = audit(&good.entries, &[], Some(&good.tiles), &policy(), &Toys);
    assert_eq!(report.findings, [Finding::NothingSigned]);
    assert!(!report.is_intact());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// One byte anywhere, in entries, tiles or the checkpoint: it is found, and the file and the byte are named.
    #[test]
    fn one_byte_anywhere(
        n in 1_usize..700,
        file in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let good = disk(entries(n));
        let whole = head(&good.entries);
        let mut bad = good.clone();
        let mut note = whole.clone();
        let paths: Vec<TilePath> = good.tiles.keys().copied().collect();
        let files = good.bundles.len() + paths.len() + 1;
        let pick = file.index(files);
        let (changed, number) = if pick < good.bundles.len() {
            (&mut bad.bundles[pick], Some(pick))
        } else if let Some(path) = paths.get(pick - good.bundles.len()) {
            (bad.tiles.get_mut(path).unwrap(), None)
        } else {
            (&mut note, None)
        };
        let at = byte.index(changed.len());
        changed[at] ^= 1 << bit;
        let report = check(&bad, true, &[("head", &note)]);
        let first = report.findings.first();
        prop_assert!(!report.is_intact());
        match (first, number) {
            (Some(Finding::EntryChanged { place: Some(place), flip: Some(flip), .. }), Some(pick)) => {
                prop_assert_eq!(place.path.index(), u64::try_from(pick).unwrap());
                prop_assert_eq!(place.offset + 2 + flip.offset, at);
            }
            (Some(Finding::LengthChanged { place, flip, .. }), Some(pick)) => {
                prop_assert_eq!(place.path.index(), u64::try_from(pick).unwrap());
                prop_assert_eq!(flip.offset, at);
            }
            (Some(Finding::TileChanged { path, flip, .. }), None) => {
                prop_assert_eq!(Some(path), paths.get(pick - good.bundles.len()));
                prop_assert_eq!(flip.offset, at);
            }
            (
                Some(
                    Finding::CheckpointMalformed { flip: Some(flip), .. }
                    | Finding::CheckpointDistrusted { flip: Some(flip), .. },
                ),
                None,
            ) => prop_assert_eq!((pick, flip.offset), (files - 1, at)),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// Any bytes in place of a bundle, and any tiles: nothing is proven by them, and nothing breaks.
    #[test]
    fn foreign_bytes_prove_nothing(
        bundles in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..3),
        tile in prop::collection::vec(any::<u8>(), 0..100),
        n in 1_usize..20,
    ) {
        let whole = head(&entries(n));
        let path = TilePath::of(Level::Hashes(0), 0, u64::try_from(n).unwrap()).unwrap();
        let bad = Disk { entries: Vec::new(), bundles, tiles: [(path, tile)].into() };
        for with_tiles in [true, false] {
            let report = check(&bad, with_tiles, &[("head", &whole)]);
            prop_assert!(!report.is_intact());
            prop_assert_eq!(report.proven, 0);
        }
    }
}
