//! Trees and proofs against their recursive definitions.

use journal::proof::{
    CannotProve, Invalid, OutOfRange, consistency, inclusion, subtree_consistency,
    subtree_inclusion, verify_consistency, verify_inclusion, verify_subtree_consistency,
    verify_subtree_inclusion,
};
use journal::tree::{CompactRange, compact_range, is_subtree, root};
use journal::{Hash, SIZE_MAX};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::reference::{self, Grid, Uniform, data, mth};

fn n64(n: usize) -> u64 {
    u64::try_from(n).unwrap()
}

#[test]
fn the_root_is_as_defined_at_every_size() {
    let d = data(300);
    let mut range = CompactRange::new();
    for n in 0..=d.len() {
        assert_eq!((range.size(), range.root()), (n64(n), mth(&d[..n])), "size {n}");
        let leaves: Vec<Hash> = d[..n].iter().map(|d| Hash::leaf(d)).collect();
        assert_eq!(compact_range(leaves.as_slice(), n64(n)), Ok(range.clone()));
        if n < d.len() {
            range.append(Hash::leaf(&d[n])).unwrap();
        }
    }
    // SHA-256 of nothing (RFC 6962 §2.1).
    assert_eq!(Hash::empty().to_string(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
}

#[test]
fn the_right_edge_is_all_that_is_kept() {
    let mut range = CompactRange::new();
    for d in data(1_000) {
        range.append(Hash::leaf(&d)).unwrap();
        let bytes = range.to_bytes();
        assert_eq!(bytes.len(), 8 + 32 * range.size().count_ones() as usize);
        assert_eq!(CompactRange::from_bytes(&bytes).as_ref(), Ok(&range));
    }
    let bytes = range.to_bytes();
    for cut in 0..bytes.len() {
        assert!(CompactRange::from_bytes(&bytes[..cut]).is_err(), "cut to {cut}");
    }
    assert!(CompactRange::from_bytes(&[&bytes[..], &[0; 32]].concat()).is_err());
    // A size that no log has.
    let full = [&u64::MAX.to_be_bytes()[..], &[7; 64 * 32]].concat();
    assert!(CompactRange::from_bytes(&full).is_err());
    let full = [&SIZE_MAX.to_be_bytes()[..], &[7; 63 * 32]].concat();
    let mut full = CompactRange::from_bytes(&full).unwrap();
    assert!(full.append(Hash::empty()).is_err());
    assert_eq!(full.size(), SIZE_MAX);
}

#[test]
fn completed_subtrees_are_told_once_each() {
    let d = data(77);
    let mut range = CompactRange::new();
    let mut told = Vec::new();
    for d in &d {
        range
            .append_with(Hash::leaf(d), |level, index, hash| told.push((level, index, hash)))
            .unwrap();
    }
    for (level, index, hash) in &told {
        let width = 1_usize << level;
        let start = usize::try_from(*index).unwrap() * width;
        assert_eq!(*hash, mth(&d[start..start + width]));
    }
    let places: std::collections::BTreeSet<_> = told.iter().map(|t| (t.0, t.1)).collect();
    assert_eq!(places.len(), told.len());
    assert_eq!(told.len(), (0..7).map(|level| 77 >> level).sum::<usize>());
}

#[test]
fn inclusion_proofs_are_as_defined() {
    let d = data(70);
    for size in 1..=d.len() {
        let (nodes, root) = (Grid::new(&d[..size]), mth(&d[..size]));
        for index in 0..size {
            let proof = inclusion(&nodes, n64(index), n64(size)).unwrap();
            assert_eq!(proof, reference::path(index, &d[..size]), "{index} of {size}");
            let leaf = Hash::leaf(&d[index]);
            verify_inclusion(&leaf, n64(index), n64(size), &proof, &root).unwrap();
            // Not anywhere else, and no other entry.
            for other in (0..=size + 1).filter(|o| *o != index) {
                let moved = verify_inclusion(&leaf, n64(other), n64(size), &proof, &root);
                assert!(moved.is_err(), "{index} of {size} as {other}");
            }
            assert!(
                verify_inclusion(&root, n64(index), n64(size), &proof, &root).is_err() || size == 1
            );
        }
    }
}

#[test]
fn consistency_proofs_are_as_defined() {
    let d = data(70);
    for new in 1..=d.len() {
        let (nodes, new_root) = (Grid::new(&d[..new]), mth(&d[..new]));
        for old in 1..=new {
            let proof = consistency(&nodes, n64(old), n64(new)).unwrap();
            assert_eq!(proof, reference::proof(old, &d[..new]), "{old} of {new}");
            let old_root = mth(&d[..old]);
            verify_consistency(n64(old), &old_root, n64(new), &new_root, &proof).unwrap();
            let other = Hash::of(b"other");
            for (a, b) in [(&other, &new_root), (&old_root, &other), (&new_root, &old_root)] {
                let verified = verify_consistency(n64(old), a, n64(new), b, &proof);
                assert!(verified.is_err() || a == b || (a, b) == (&old_root, &new_root));
            }
        }
    }
}

#[test]
fn subtree_proofs_are_as_defined() {
    let d = data(40);
    for size in 0..=d.len() {
        let (nodes, root) = (Grid::new(&d[..size]), mth(&d[..size]));
        for end in 0..=size {
            for start in (0..=end).filter(|s| is_subtree(n64(*s), n64(end))) {
                let (from, to) = (n64(start), n64(end));
                let subtree = mth(&d[start..end]);
                let proof = subtree_consistency(&nodes, from, to, n64(size)).unwrap();
                if start < end {
                    assert_eq!(proof, reference::subtree_proof(start, end, &d[..size]));
                }
                verify_subtree_consistency((from, to), &subtree, n64(size), &root, &proof).unwrap();
                let other = Hash::of(b"other");
                let changed =
                    verify_subtree_consistency((from, to), &other, n64(size), &root, &proof);
                assert!(changed.is_err(), "[{start}, {end}) of {size}");
                for index in start..end {
                    let proof = subtree_inclusion(&nodes, n64(index), from, to).unwrap();
                    assert_eq!(proof, reference::path(index - start, &d[start..end]));
                    let leaf = Hash::leaf(&d[index]);
                    verify_subtree_inclusion(&leaf, n64(index), from, to, &proof, &subtree)
                        .unwrap();
                }
            }
        }
    }
}

/// The appendix of draft-ietf-plants-merkle-tree-certs folds all proofs of a tree of 130 entries, 0x00, 0x01 and so on, into
/// one hash each.
#[test]
fn subtree_proofs_are_those_of_the_draft() {
    let d: Vec<Vec<u8>> = (0..130).map(|i| vec![i]).collect();
    let nodes = Grid::new(&d);
    let (mut hashes, mut inclusions, mut consistencies) =
        (Sha256::new(), Sha256::new(), Sha256::new());
    let hex = |hash: &Hash| hash.0.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let proof = |proof: Vec<Hash>| proof.iter().map(|h| format!(" {}", hex(h))).collect::<String>();
    let subtrees = |size: u64| {
        let ends = 0..=size;
        ends.flat_map(|end| (0..=end).map(move |start| (start, end)))
            .filter(|(s, e)| is_subtree(*s, *e))
    };
    for (start, end) in subtrees(130) {
        let part = &d[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()];
        hashes.update(format!("[{start}, {end}) {}\n", hex(&mth(part))));
        for index in start..end {
            let path = subtree_inclusion(&nodes, index, start, end).unwrap();
            inclusions.update(format!("{index} [{start}, {end}){}\n", proof(path)));
        }
    }
    for size in 0..=130 {
        for (start, end) in subtrees(size) {
            let path = subtree_consistency(&nodes, start, end, size).unwrap();
            consistencies.update(format!("[{start}, {end}) {size}{}\n", proof(path)));
        }
    }
    let got = [hashes, inclusions, consistencies].map(|state| hex(&Hash(state.finalize().into())));
    assert_eq!(
        got,
        [
            "b82806ad4265bb151c1119c0f4db437bb4d1a1f887b3a7fba1cd4ebf552e3e81",
            "ac2a8f989e44d99e399db448050ff5f19757df53cfb716aa81015d3955d8163f",
            "10fa99b37bf9bf9ffa26b412fbd98bd75363256d0b75d61bc4538b9c9c5a0a74",
        ]
    );
}

#[test]
fn what_does_not_exist_cannot_be_proved() {
    let d = data(5);
    let nodes = Grid::new(&d);
    let nothing = |o| Err(CannotProve::Nothing(o));
    assert_eq!(inclusion(&nodes, 5, 5), nothing(OutOfRange::Index { index: 5, start: 0, end: 5 }));
    assert_eq!(inclusion(&nodes, 0, 0), nothing(OutOfRange::Index { index: 0, start: 0, end: 0 }));
    assert_eq!(consistency(&nodes, 0, 5), nothing(OutOfRange::Empty));
    assert_eq!(consistency(&nodes, 6, 5), nothing(OutOfRange::Sizes { old: 6, new: 5 }));
    let crooked = OutOfRange::Subtree { start: 1, end: 3 };
    assert_eq!(subtree_inclusion(&nodes, 1, 1, 3), nothing(crooked));
    assert_eq!(subtree_consistency(&nodes, 1, 3, 5), nothing(crooked));
    let root = mth(&d);
    let verify = |old, new| verify_consistency(old, &root, new, &root, &[]);
    assert_eq!(verify(0, 5), Err(Invalid::OutOfRange(OutOfRange::Empty)));
    assert_eq!(verify(0, 0), Err(Invalid::OutOfRange(OutOfRange::Empty)));
    assert!(!is_subtree(1, u64::MAX) && !is_subtree(2, 1));
    assert!(is_subtree(0, u64::MAX) && is_subtree(3, 3));
}

#[test]
fn a_billion_entries_take_thirty_hashes() {
    let leaf = Hash::leaf(b"entry");
    let nodes = Uniform::new(leaf);
    for size in [1_000_000_000, 1_000_000_007, SIZE_MAX] {
        let head = root(&nodes, size).unwrap();
        let most = u64::BITS - (size - 1).leading_zeros();
        for index in [0, 1, size / 3, size - 2, size - 1] {
            let proof = inclusion(&nodes, index, size).unwrap();
            assert!(proof.len() <= most as usize, "{} hashes", proof.len());
            verify_inclusion(&leaf, index, size, &proof, &head).unwrap();
        }
        for old in [1, 255, 256, size / 2 + 1, size - 1, size] {
            let proof = consistency(&nodes, old, size).unwrap();
            assert!(proof.len() <= most as usize + 1, "{} hashes", proof.len());
            let old_head = root(&nodes, old).unwrap();
            verify_consistency(old, &old_head, size, &head, &proof).unwrap();
        }
    }
}

/// A change of a proof: which hash, and what becomes of it.
#[derive(Clone, Debug)]
enum Change {
    Flip(prop::sample::Index, u8),
    Drop(prop::sample::Index),
    Insert(prop::sample::Index, [u8; 32]),
    Twice(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
}

fn changes() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), 0_u8..=255).prop_map(|(i, bit)| Change::Flip(i, bit)),
        index().prop_map(Change::Drop),
        (index(), any::<[u8; 32]>()).prop_map(|(i, hash)| Change::Insert(i, hash)),
        index().prop_map(Change::Twice),
        (index(), index()).prop_map(|(i, j)| Change::Swap(i, j)),
    ]
}

fn change(proof: &mut Vec<Hash>, change: &Change) {
    let n = proof.len();
    match change {
        Change::Insert(i, hash) => proof.insert(i.index(n + 1), Hash(*hash)),
        _ if n == 0 => {}
        Change::Flip(i, bit) => proof[i.index(n)].0[usize::from(bit / 8)] ^= 1 << (bit % 8),
        Change::Drop(i) => drop(proof.remove(i.index(n))),
        Change::Twice(i) => proof.insert(i.index(n), proof[i.index(n)]),
        Change::Swap(i, j) => proof.swap(i.index(n), j.index(n)),
    }
}

proptest! {
    #[test]
    fn a_changed_proof_is_refused(
        (size, old) in (1_usize..200).prop_flat_map(|size| (Just(size), 1..=size)),
        what in changes(),
    ) {
        let d = data(size);
        let (nodes, head, old_head) = (Grid::new(&d), mth(&d), mth(&d[..old]));
        let leaf = Hash::leaf(&d[old - 1]);
        let (size, old, index) = (n64(size), n64(old), n64(old - 1));

        let good = inclusion(&nodes, index, size).unwrap();
        let mut proof = good.clone();
        change(&mut proof, &what);
        let verified = verify_inclusion(&leaf, index, size, &proof, &head);
        prop_assert_eq!(verified.is_ok(), proof == good);

        let good = consistency(&nodes, old, size).unwrap();
        let mut proof = good.clone();
        change(&mut proof, &what);
        let verified = verify_consistency(old, &old_head, size, &head, &proof);
        prop_assert_eq!(verified.is_ok(), proof == good);
    }

    #[test]
    fn any_sizes_and_hashes_are_judged(
        numbers in any::<[u64; 3]>(),
        hashes in any::<[[u8; 32]; 2]>(),
        proof in prop::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let [a, b, c] = numbers;
        let [x, y] = hashes.map(Hash);
        let proof: Vec<Hash> = proof.into_iter().map(Hash).collect();
        // Chance finds no proof; what matters is that nothing overflows.
        prop_assert!(verify_inclusion(&x, a, b, &proof, &y).is_err());
        prop_assert!(verify_subtree_inclusion(&x, a, b, c, &proof, &y).is_err());
        prop_assert!(verify_consistency(a, &x, b, &y, &proof).is_err());
        prop_assert!(verify_subtree_consistency((a, b), &x, c, &y, &proof).is_err());
    }

    #[test]
    fn two_histories_never_prove_each_other(
        (common, left, right) in (0_usize..50, 1_usize..30, 1_usize..30),
    ) {
        let mut a = data(common);
        let mut b = a.clone();
        a.extend((0..left).map(|i| format!("a{i}").into_bytes()));
        b.extend((0..right).map(|i| format!("b{i}").into_bytes()));
        let (old, new) = if a.len() <= b.len() { (&a, &b) } else { (&b, &a) };
        let proof = consistency(&Grid::new(new), n64(old.len()), n64(new.len())).unwrap();
        let verified =
            verify_consistency(n64(old.len()), &mth(old), n64(new.len()), &mth(new), &proof);
        prop_assert!(verified.is_err());
    }
}
