//! What every store promises: one suite, run on each. A test gets what makes a store; those of one test name are one store, opened
//! again.

use journal::Hash;
use journal::tree::CompactRange;
use store::{Expect, Memory, SNAPSHOTS_MAX, Snapshot, Sqlite, Store, StoreError, StoreTiles};

use crate::{bytes, folder};

/// Makes the suite for one kind of store.
macro_rules! conformance {
    ($store:ident: $open:expr; $($test:ident),+ $(,)?) => {
        mod $store {
            $(
                #[test]
                fn $test() {
                    super::$test(&$open(concat!(stringify!($store), "-", stringify!($test))));
                }
            )+
        }
    };
}

macro_rules! suites {
    ($($tests:tt)+) => {
        conformance!(memory: |_| store::Memory::new(); $($tests)+);
        conformance!(
            sqlite: |test| store::Sqlite::open(&crate::folder(test).join("journal.db")).unwrap();
            $($tests)+
        );
    };
}

suites!(
    entries_come_back_as_they_were,
    numbers_are_given_in_order,
    an_append_on_an_older_state_is_refused,
    a_refused_append_leaves_nothing,
    many_on_the_way_are_in_order,
    of_many_at_the_same_time_one_is_first,
    what_is_too_long_is_refused,
    the_tree_is_that_of_the_entries,
    a_read_is_bounded,
    a_checkpoint_is_kept_and_is_never_ahead,
    the_newest_snapshots_are_kept,
);

fn some(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(|n| bytes(n, "a")).collect()
}

fn entries_come_back_as_they_were(store: &impl Store) {
    let odd = vec![vec![], vec![0], vec![0xff; 65_535], b"'; DROP TABLE entry; --".to_vec()];
    store.append(Expect::At(0), odd.clone()).unwrap();
    assert_eq!(store.read(0, 4).unwrap(), odd);
    assert_eq!(store.read(1, 3).unwrap(), odd[1..3]);
    assert_eq!(store.read(3, 3).unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(store.read(4, 9).unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(store.read(3, u64::MAX).unwrap(), odd[3..]);
}

fn numbers_are_given_in_order(store: &impl Store) {
    assert_eq!(store.append(Expect::At(0), some(0..3)).unwrap(), 0..3);
    assert_eq!(store.append(Expect::Next, some(3..4)).unwrap(), 3..4);
    assert_eq!(store.append(Expect::Next, vec![]).unwrap(), 4..4);
    assert_eq!(store.append(Expect::At(4), some(4..5)).unwrap(), 4..5);
    assert_eq!(store.head().size(), 5);
}

fn an_append_on_an_older_state_is_refused(store: &impl Store) {
    store.append(Expect::At(0), some(0..2)).unwrap();
    for expected in [0, 1, 3, u64::MAX] {
        let refused = store.append(Expect::At(expected), some(9..10));
        assert_eq!(refused, Err(StoreError::Conflict { expected, size: 2 }));
    }
    assert_eq!(store.read(0, 9).unwrap(), some(0..2));
}

fn a_refused_append_leaves_nothing(store: &impl Store) {
    let mut entries = some(0..2);
    entries.push(vec![0; 65_536]);
    assert_eq!(store.append(Expect::At(0), entries), Err(StoreError::TooLong(65_536)));
    assert_eq!(store.head(), CompactRange::new());
    assert_eq!(store.append(Expect::At(0), some(0..1)).unwrap(), 0..1);
    assert_eq!(store.read(0, 9).unwrap(), some(0..1));
}

fn many_on_the_way_are_in_order(store: &impl Store) {
    let tickets: Vec<_> =
        (0..500).map(|n| store.submit(Expect::At(n), vec![bytes(n, "a")])).collect();
    for (n, ticket) in (0..).zip(tickets) {
        assert_eq!(ticket.wait().unwrap(), n..n + 1);
    }
    assert_eq!(store.read(0, 500).unwrap(), some(0..500));
}

fn of_many_at_the_same_time_one_is_first(store: &impl Store) {
    let rounds = 50;
    for round in 0..rounds {
        let won: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = ["a", "b", "c", "d"]
                .map(|branch| {
                    scope.spawn(move || store.append(Expect::At(round), vec![bytes(round, branch)]))
                })
                .into();
            let outcomes = threads.into_iter().map(|t| t.join().unwrap());
            outcomes
                .filter(|outcome| match outcome {
                    Ok(range) => *range == (round..round + 1),
                    Err(e) => {
                        let size = round + 1;
                        assert_eq!(*e, StoreError::Conflict { expected: round, size });
                        false
                    }
                })
                .count()
        });
        assert_eq!(won, 1);
    }
    assert_eq!(store.head().size(), rounds);
}

fn what_is_too_long_is_refused(store: &impl Store) {
    let long = vec![vec![7; 65_536]];
    let refused = store.append(Expect::Next, long).unwrap_err();
    assert_eq!(refused, StoreError::TooLong(65_536));
    assert!(refused.to_string().contains("65535 is the most"), "{refused}");
}

fn the_tree_is_that_of_the_entries(store: &impl Store) {
    let mut plain = CompactRange::new();
    let mut size = 0;
    // Sizes around those at which tiles fill up.
    for add in [1, 1, 253, 1, 1, 300, 2_000, 63_000, 2_000] {
        store.append(Expect::At(size), some(size..size + add)).unwrap();
        (size..size + add).for_each(|n| plain.append(Hash::leaf(&bytes(n, "a"))).unwrap());
        size += add;
        assert_eq!(store.head(), plain);
        let tiles = StoreTiles::new(store);
        let nodes = journal::tile::TileNodes::new(&tiles, size);
        assert_eq!(journal::tree::root(&nodes, size).unwrap(), plain.root());
    }
    assert!(store.tile(2, 0).unwrap().is_some() && store.tile(3, 0).unwrap().is_none());
}

fn a_read_is_bounded(store: &impl Store) {
    let long: Vec<Vec<u8>> = (0..600).map(|_| vec![1; 60_000]).collect();
    store.append(Expect::At(0), long).unwrap();
    let first = store.read(0, 600).unwrap().len();
    assert!((200..400).contains(&first), "{first}");
}

fn a_checkpoint_is_kept_and_is_never_ahead(store: &impl Store) {
    assert_eq!(store.checkpoint().unwrap(), None);
    store.append(Expect::At(0), some(0..2)).unwrap();
    let ahead = store.save_checkpoint(3, b"three");
    assert_eq!(ahead, Err(StoreError::Ahead { size: 3, durable: 2 }));
    assert_eq!(store.checkpoint().unwrap(), None);
    store.save_checkpoint(1, b"one").unwrap();
    store.save_checkpoint(2, b"two").unwrap();
    assert_eq!(store.checkpoint().unwrap(), Some(b"two".to_vec()));
}

fn the_newest_snapshots_are_kept(store: &impl Store) {
    assert_eq!(store.snapshot().unwrap(), None);
    store.append(Expect::At(0), some(0..9)).unwrap();
    let of = |size, blob: &[u8]| Snapshot { size, blob: blob.to_vec() };
    let ahead = store.save_snapshot(of(10, b"x"));
    assert_eq!(ahead, Err(StoreError::Ahead { size: 10, durable: 9 }));
    for size in [0, 4, 9, 7] {
        store.save_snapshot(of(size, &[u8::try_from(size).unwrap(); 3])).unwrap();
    }
    assert_eq!(store.snapshot().unwrap(), Some(of(9, &[9; 3])));
    store.save_snapshot(of(9, b"again")).unwrap();
    assert_eq!(store.snapshot().unwrap(), Some(of(9, b"again")));
    assert_eq!(SNAPSHOTS_MAX, 2);
}

#[test]
fn both_kinds_of_store_have_the_same_tree_and_bytes() {
    let sqlite = Sqlite::open(&folder("same").join("journal.db")).unwrap();
    let memory = Memory::new();
    for size in 0..400 {
        for store in [&sqlite as &dyn Store, &memory] {
            store.append(Expect::At(size), vec![bytes(size, "a")]).unwrap();
        }
    }
    assert_eq!(sqlite.head(), memory.head());
    assert_eq!(sqlite.read(0, 400), memory.read(0, 400));
    assert_eq!(sqlite.tile(0, 1), memory.tile(0, 1));
}
