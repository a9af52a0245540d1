//! A controller that counts, a disk that is sometimes full, and crashes at every moment.

use std::collections::BTreeMap;

use model::Timestamp;
use proptest::prelude::*;

use super::*;

fn event(n: u64) -> Happened {
    let at = Timestamp::from_secs(i64::try_from(n).unwrap(), 0);
    Happened { at, kind: "test".to_owned(), subject: String::new(), what: n.to_string() }
}

fn sighting(seen_s: i64, firmware: &str) -> Sighting {
    let attributes = BTreeMap::from([("firmware".to_owned(), (firmware.to_owned(), 0.9))]);
    let macs = vec!["02:00:00:00:00:01".to_owned()];
    let seen_at = Timestamp::from_secs(seen_s, 0);
    Sighting { macs, ips: Vec::new(), keys: Vec::new(), attributes, seen_at }
}

fn enter(outbox: &mut Outbox, n: u64) -> Entered {
    outbox.happened(event(n), None)
}

#[test]
fn a_batch_is_bounded_and_keeps_order() {
    let mut outbox = Outbox::new(Head::default(), Vec::new());
    for n in 0..2_500 {
        enter(&mut outbox, n);
    }
    for (number, expect) in [(1, 1_000), (2, 1_000), (3, 500)] {
        let (batch, new) = outbox.batch().unwrap();
        assert!(new);
        assert_eq!((batch.number, batch.events.len()), (number, expect));
        assert_eq!(batch.events[0], event((number - 1) * 1_000));
        assert_eq!(outbox.taken(number), Settled::Taken);
    }
    assert!(outbox.batch().is_none());
    let long = Happened { what: "ü".repeat(5_000), ..event(1) };
    for _ in 0..3_000 {
        outbox.happened(long.clone(), None);
    }
    while let Some((batch, _)) = outbox.batch() {
        let number = batch.number;
        assert!(serde_json::to_vec(batch).unwrap().len() < BATCH_BYTES_MAX);
        outbox.taken(number);
    }
}

#[test]
fn a_full_outbox_counts_what_it_does_not_take_and_says_so_in_order() {
    let mut outbox = Outbox::new(Head::default(), Vec::new());
    for n in 0..100_000 {
        assert!(matches!(enter(&mut outbox, n), Entered::Noted(_)));
    }
    assert_eq!(enter(&mut outbox, 100_000), Entered::Full);
    assert_eq!(outbox.happened(event(100_001), Some(7)), Entered::Full);
    assert_eq!(outbox.lost().0, 2);
    outbox.batch();
    outbox.taken(1);
    let Entered::Noted(noted) = enter(&mut outbox, 100_002) else {
        panic!("there is room");
    };
    let kinds: Vec<&str> = noted.iter().map(|noted| noted.happened.kind.as_str()).collect();
    assert_eq!(kinds, ["events-lost", "test"]);
    assert!(noted[0].happened.what.starts_with("2 events"));
    assert_eq!(outbox.lost().0, 0);
}

#[test]
fn a_line_of_the_journal_is_told_once() {
    let mut outbox = Outbox::new(Head::default(), Vec::new());
    outbox.begin_after(3);
    assert_eq!(outbox.happened(event(1), Some(3)), Entered::Known);
    assert!(matches!(outbox.happened(event(2), Some(4)), Entered::Noted(_)));
    assert_eq!(outbox.happened(event(2), Some(4)), Entered::Known);
    outbox.begin_after(9);
    let kept = outbox.events().cloned().collect();
    let mut again = Outbox::new(Head::default(), kept);
    assert_eq!(again.happened(event(2), Some(4)), Entered::Known);
    assert!(matches!(again.happened(event(3), Some(5)), Entered::Noted(_)));
}

#[test]
fn a_device_is_told_of_once_until_it_changes_or_time_passes() {
    let mut outbox = Outbox::new(Head::default(), Vec::new());
    let devices = |outbox: &mut Outbox| {
        let Some((batch, _)) = outbox.batch() else {
            return Vec::new();
        };
        let (number, devices) = (batch.number, batch.devices.clone());
        outbox.taken(number);
        devices
    };
    outbox.saw("a".to_owned(), sighting(1, "1"));
    outbox.saw("a".to_owned(), sighting(2, "2"));
    assert_eq!(outbox.ready(), Some(Ready::Seen));
    assert_eq!(devices(&mut outbox), [sighting(2, "2")]);
    outbox.saw("a".to_owned(), sighting(601, "2"));
    assert_eq!(devices(&mut outbox), []);
    outbox.saw("a".to_owned(), sighting(602, "2"));
    assert_eq!(devices(&mut outbox), [sighting(602, "2")]);
    outbox.saw("a".to_owned(), sighting(603, "3"));
    assert_eq!(devices(&mut outbox), [sighting(603, "3")]);
    for n in 0..=SIGHTINGS_MAX {
        outbox.saw(n.to_string(), sighting(1, "1"));
    }
    assert_eq!(outbox.lost(), (0, 1));
    assert_eq!(outbox.waiting(), SIGHTINGS_MAX);
}

#[test]
fn a_state_that_is_older_than_what_was_sent_goes_on_after_it() {
    let mut outbox = Outbox::new(Head::default(), Vec::new());
    enter(&mut outbox, 1);
    assert_eq!(outbox.batch().unwrap().0.number, 1);
    assert_eq!(outbox.taken(57), Settled::Renumbered);
    let (batch, new) = outbox.batch().unwrap();
    assert_eq!((batch.number, batch.events.len(), new), (58, 1, false));
    assert_eq!(outbox.taken(57), Settled::Other);
    assert_eq!(outbox.taken(58), Settled::Taken);
}

/// What may happen.
#[derive(Clone, Copy, Debug)]
enum Step {
    Happen { full_disk: bool },
    Send { full_disk: bool, arrives: bool, answered: bool },
    Crash,
    Rewrite,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(|full| Step::Happen { full_disk: full }),
        4 => any::<[bool; 3]>().prop_map(|[full_disk, arrives, answered]| Step::Send {
            full_disk,
            arrives,
            answered,
        }),
        1 => Just(Step::Crash),
        1 => Just(Step::Rewrite),
    ]
}

proptest! {
    #[test]
    fn no_event_is_lost_and_none_is_told_twice(steps in prop::collection::vec(step(), 1..80)) {
        // The disk, and the controller.
        let (mut head, mut file) = (Head::default(), Vec::<Noted>::new());
        let (mut have, mut told) = (0_u64, Vec::<Happened>::new());
        let mut outbox = Outbox::new(head.clone(), file.clone());
        let (mut durable, mut n) = (Vec::new(), 0);
        let mut send = |outbox: &mut Outbox, head: &mut Head, full_disk: bool, arrives: bool, answered: bool| {
            let Some((batch, new)) = outbox.batch() else {
                return false;
            };
            let batch = batch.clone();
            if new && full_disk {
                outbox.not_sent();
                return false;
            }
            if new {
                *head = outbox.head().clone();
            }
            if !arrives {
                return false;
            }
            if batch.number == have + 1 {
                have += 1;
                told.extend(batch.events.iter().filter(|event| event.kind == "test").cloned());
            }
            // A head that cannot be kept now is kept the next time: the batch is sent once more after a crash.
            if answered && outbox.taken(have) != Settled::Other && !full_disk {
                *head = outbox.head().clone();
            }
            answered
        };
        for step in steps {
            match step {
                Step::Happen { full_disk } => {
                    n += 1;
                    match outbox.happened(event(n), None) {
                        Entered::Noted(noted) if full_disk => outbox.not_kept(&noted),
                        Entered::Noted(noted) => {
                            durable.push(event(n));
                            file.extend(noted);
                        }
                        other => prop_assert!(false, "{other:?}"),
                    }
                }
                Step::Send { full_disk, arrives, answered } => {
                    send(&mut outbox, &mut head, full_disk, arrives, answered);
                }
                Step::Crash => outbox = Outbox::new(head.clone(), file.clone()),
                Step::Rewrite => {
                    // Only what is in no batch is kept, so the head that knows the batch has to be there first.
                    head = outbox.head().clone();
                    file = outbox.events().cloned().collect();
                }
            }
        }
        while send(&mut outbox, &mut head, false, true, true) {}
        prop_assert_eq!(told, durable);
    }
}
