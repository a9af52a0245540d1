//! Entries: one byte string each, for ever.

use std::collections::BTreeSet;

use journal::Hash;
use journal::entry::{Actor, EVENTS_MAX, EVIDENCE_MAX, Entry, Name, Typed};
use model::Timestamp;
use proptest::prelude::*;

/// An entry of a few dozen bytes, a different one for every number.
pub(crate) fn sample(n: usize) -> Entry {
    Entry {
        at: Timestamp::from_secs(1_795_350_896, i64::try_from(n).unwrap()),
        who: Actor { kind: name("person"), id: format!("p-{}", n % 7) },
        command: typed("device.own", 1, &n.to_be_bytes()),
        why: format!("ticket {n}"),
        evidence: (0..n % 3).map(|i| Hash::of(&[u8::try_from(i).unwrap()])).collect(),
        events: vec![typed("device.owned", 1, format!("{n:b}").as_bytes())],
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn typed(text: &str, version: u32, payload: &[u8]) -> Typed {
    Typed { name: name(text), version, payload: payload.to_vec() }
}

/// Hexadecimal with `;` comments.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let code = text.lines().map(|l| l.split(';').next().unwrap_or_default());
    let digits: Vec<u32> = code
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).unwrap_or_else(|| panic!("{c} is not hexadecimal")))
        .collect();
    digits.chunks(2).map(|d| u8::try_from(d[0] * 16 + d[1]).unwrap()).collect()
}

#[test]
fn entries_of_version_1_are_read_for_ever() {
    let least = Entry {
        at: Timestamp::EPOCH,
        who: Actor { kind: name("p"), id: "x".to_owned() },
        command: typed("c", 0, b""),
        why: "w".to_owned(),
        evidence: BTreeSet::new(),
        events: Vec::new(),
    };
    let mut digest: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
    let first = Hash(digest);
    digest[31] = 0x20;
    let retire = Entry {
        at: "2026-11-22T12:34:56.123456789Z".parse().unwrap(),
        who: Actor { kind: name("person"), id: "per-7f3".to_owned() },
        command: typed("device.retire", 1, b"\x00\x7f\x80\xff"),
        why: "Lens broken; cam-118 replaces it.".to_owned(),
        evidence: [Hash(digest), first].into(),
        events: vec![typed("device.retired", 2, b""), typed("lease.withdrawn", 23, b"*")],
    };
    let event = |version| typed("e", version, b"");
    let edges = Entry {
        at: Timestamp::MIN,
        who: Actor { kind: name("policy"), id: "ceiling/unowned".to_owned() },
        command: typed("a0._-z", u32::MAX, &[0; 24]),
        why: "Überprüft:\nin Ordnung — 確認".to_owned(),
        evidence: BTreeSet::new(),
        events: vec![event(24), event(256), event(65_536)],
    };
    for (file, text, entry) in [
        ("least", include_str!("../fixtures/entry-v1/least.hex"), least),
        ("retire", include_str!("../fixtures/entry-v1/retire.hex"), retire),
        ("edges", include_str!("../fixtures/entry-v1/edges.hex"), edges),
    ] {
        let bytes = hex(text);
        assert_eq!(Entry::decode(&bytes), Ok(entry.clone()), "{file}");
        assert_eq!(entry.encode(), Ok(bytes.clone()), "{file}");
        assert_eq!(entry.leaf(), Ok(Hash::leaf(&bytes)), "{file}");
    }
}

/// Every way to write the least entry differently, with the place that is named.
#[test]
fn anything_else_is_refused_with_its_place() {
    for (text, at, why) in [
        ("", 0, "cut short"),
        ("87", 1, "cut short in the version"),
        ("87 02 00", 1, "its version is 2; 1 is known"),
        ("82 02 00", 1, "its version is 2; 1 is known"),
        ("87 00", 1, "its version is 0; 1 is known"),
        ("86 01 00 82 6170 6178 83 6163 00 40 6177 80", 0, "has 7 items, not 6"),
        ("80", 1, "cut short in the version"),
        ("01", 0, "is an array, not of major type 0"),
        ("a1 01 01", 0, "is an array, not of major type 5"),
        ("c0 87 01", 0, "is an array, not of major type 6"),
        ("98 07 01", 0, "not in its shortest form"),
        ("9f 01", 0, "no definite length"),
        ("9c 01", 0, "begins with 0x9c"),
        ("87 18 01", 1, "not in its shortest form"),
        ("87 f9 3c00", 1, "an unsigned integer, not of major type 7"),
        ("87 01 18 17", 2, "not in its shortest form"),
        ("87 01 19 00ff", 2, "not in its shortest form"),
        ("87 01 1a 0000ffff", 2, "not in its shortest form"),
        ("87 01 1b 00000000ffffffff", 2, "not in its shortest form"),
        ("87 01 1b 8000000000000000", 2, "outside of 64 signed bits"),
        ("87 01 3b 8000000000000000", 2, "outside of 64 signed bits"),
        ("87 01 f6", 2, "an integer, not of major type 7"),
        ("87 01 1b 00", 4, "cut short in the time"),
        ("87 01 00 81 6170", 3, "has 2 items, not 1"),
        ("87 01 00 83 6170 6178 6178", 3, "longer than 2"),
        ("87 01 00 82 60", 5, "begins with a letter"),
        ("87 01 00 82 6150", 5, "begins with a letter"),
        ("87 01 00 82 6130", 5, "begins with a letter"),
        ("87 01 00 82 627020", 6, "only a-z 0-9"),
        ("87 01 00 82 4170", 4, "a text string, not of major type 2"),
        ("87 01 00 82 7f 6170 ff", 4, "no definite length"),
        ("87 01 00 82 6170 60", 7, "is empty"),
        ("87 01 00 82 6170 6300ff00", 8, "not UTF-8"),
        ("87 01 00 82 6170 62780a", 8, "control character"),
        ("87 01 00 82 6170 64780041c2", 10, "UTF-8"),
        ("87 01 00 82 6170 6378c285", 8, "control character"),
        ("87 01 00 82 6170 6178 82 6163 00", 8, "has 3 items, not 2"),
        ("87 01 00 82 6170 6178 83 6163 20", 11, "an unsigned integer, not of major type 1"),
        ("87 01 00 82 6170 6178 83 6163 1b0000000100000000", 11, "not below 2^32"),
        ("87 01 00 82 6170 6178 83 6163 00 60", 12, "a byte string, not of major type 3"),
        ("87 01 00 82 6170 6178 83 6163 00 5f 40 ff", 12, "no definite length"),
        ("87 01 00 82 6170 6178 83 6163 00 5a00010000", 12, "longer than 65535"),
        ("87 01 00 82 6170 6178 83 6163 00 4200", 14, "cut short in the payload of the command"),
        ("87 01 00 82 6170 6178 83 6163 00 40 60", 14, "the reason is empty"),
        ("87 01 00 82 6170 6178 83 6163 00 40 6109", 14, "control character"),
        ("87 01 00 82 6170 6178 83 6163 00 40 6177 81 4100", 16, "1 bytes instead of 32"),
        ("87 01 00 82 6170 6178 83 6163 00 40 6177 80", 16, "cut short in the events"),
        ("87 01 00 82 6170 6178 83 6163 00 40 6177 80 80 00", 17, "1 bytes behind its end"),
        ("87 01 00 82 6170 6178 83 6163 00 40 6177 80 81 82 6165 00", 17, "has 3 items, not 2"),
    ] {
        let fault = Entry::decode(&hex(text)).unwrap_err();
        assert_eq!((fault.at, fault.what), (at, "an entry"), "{text}: {fault}");
        assert!(fault.why.contains(why), "{text}: {fault}");
    }
    let begin = hex("87 01 00 82 6170 6178 83 6163 00 40 6177");
    let digests = |digests: &[u8]| {
        let mut bytes = begin.clone();
        bytes.push(0x80 + u8::try_from(digests.len()).unwrap());
        digests.iter().for_each(|d| bytes.extend([&[0x58, 0x20][..], &[*d; 32]].concat()));
        bytes.push(0x80);
        Entry::decode(&bytes).map(|e| e.evidence.len()).map_err(|e| e.at)
    };
    assert_eq!(digests(&[1, 2, 3]), Ok(3));
    assert_eq!(digests(&[2, 1]), Err(begin.len() + 1 + 34));
    assert_eq!(digests(&[1, 1]), Err(begin.len() + 1 + 34));
}

#[test]
fn every_length_has_a_bound() {
    let with = |change: &dyn Fn(&mut Entry)| {
        let mut entry = sample(1);
        change(&mut entry);
        entry.encode().map(|bytes| assert_eq!(Entry::decode(&bytes), Ok(entry)))
    };
    let evidence = |n: u16| (0..n).map(|i| Hash::of(&i.to_be_bytes())).collect();
    let (evidence_max, events_max) = (256, 4_096);
    let long = Entry { command: typed("device.own", 1, &[0; 1_000]), ..sample(1) };
    let around = long.encode().unwrap().len() - 1_000;
    assert_eq!((usize::from(evidence_max), events_max), (EVIDENCE_MAX, EVENTS_MAX));
    for (good, bad) in [
        (
            &(|e: &mut Entry| e.who.id = "x".repeat(256)) as &dyn Fn(&mut Entry),
            &(|e: &mut Entry| e.who.id = "x".repeat(257)) as &dyn Fn(&mut Entry),
        ),
        (&|e| e.why = "ü".repeat(2_048), &|e| e.why = "ü".repeat(2_048) + "x"),
        (&|e| e.evidence = evidence(evidence_max), &|e| e.evidence = evidence(evidence_max + 1)),
        (&|e| e.events = vec![typed("e", 0, b""); events_max], &|e| {
            e.events = vec![typed("e", 0, b""); events_max + 1];
        }),
        // The whole.
        (&|e| e.command.payload = vec![0; 65_535 - around], &|e| {
            e.command.payload = vec![0; 65_536 - around];
        }),
        (&|e| e.who.id = "—".to_owned(), &|e| e.who.id = String::new()),
        (&|e| e.why = "a\nb".to_owned(), &|e| e.why = "a\rb".to_owned()),
    ] {
        with(good).unwrap();
        with(bad).unwrap_err();
    }
    // Far beyond any bound.
    with(&|e| e.events = vec![typed("e", 0, &[0; 60_000]); 4_000]).unwrap_err();
    assert!(Name::new(&"n".repeat(64)).is_ok());
    assert!(Name::new(&"n".repeat(65)).is_err());
}

#[test]
fn a_cut_entry_is_none() {
    let bytes = sample(2).encode().unwrap();
    for cut in 0..bytes.len() {
        let fault = Entry::decode(&bytes[..cut]).unwrap_err();
        assert!(fault.at <= cut, "{fault}");
    }
}

fn names() -> impl Strategy<Value = Name> {
    "[a-z][a-z0-9._-]{0,63}".prop_map(|text| name(&text))
}

fn typeds() -> impl Strategy<Value = Typed> {
    let payload = prop::collection::vec(any::<u8>(), 0..300);
    (names(), any::<u32>(), payload).prop_map(|(name, version, payload)| Typed {
        name,
        version,
        payload,
    })
}

pub(crate) fn entries() -> impl Strategy<Value = Entry> {
    let evidence = prop::collection::btree_set(any::<[u8; 32]>().prop_map(Hash), 0..5);
    let events = prop::collection::vec(typeds(), 0..5);
    let who = (names(), "\\PC{1,40}").prop_map(|(kind, id)| Actor { kind, id });
    (any::<i64>(), who, typeds(), "[\\PC\n]{1,100}", evidence, events).prop_map(
        |(at, who, command, why, evidence, events)| Entry {
            at: Timestamp::from_nanos(at),
            who,
            command,
            why,
            evidence,
            events,
        },
    )
}

proptest! {
    #[test]
    fn an_entry_is_read_as_it_is_written(entry in entries()) {
        prop_assert_eq!(Entry::decode(&entry.encode().unwrap()), Ok(entry));
    }

    #[test]
    fn a_changed_byte_never_says_the_same(
        entry in entries(),
        at in any::<prop::sample::Index>(),
        mask in 1_u8..=255,
    ) {
        let mut bytes = entry.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        match Entry::decode(&bytes) {
            Ok(other) => {
                prop_assert_ne!(&other, &entry);
                prop_assert_eq!(other.encode(), Ok(bytes));
            }
            Err(fault) => prop_assert!(fault.at <= bytes.len()),
        }
    }

    #[test]
    fn whatever_is_read_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(entry.encode(), Ok(bytes));
        }
    }
}
