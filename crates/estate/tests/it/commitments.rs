//! Which keys speak for whom, and random histories of signed commitments beside a model.

use std::collections::BTreeSet;

use estate::commitments::{Command, Event, FOUND_MAX, KeyState, Outcome, PublicKey, RECENT_MAX};
use estate::{Command as Any, Estate, Event as AnyEvent, devices};
use journal::Hash;
use journal::commitment::{
    Class, Commitment, Key, NOTHING, Signed, Verified, Verifier, check, root,
};
use model::DeviceId;
use proptest::prelude::*;

use crate::world::{World, device, facts, report};

/// Signatures by a hash; real ones are checked in `crypto` and `controller`.
struct Toy;

fn toy(key: &Key, message: &[u8]) -> [u8; 64] {
    let half = Hash::of(&[&key.id().0, message].concat()).0;
    [half, half].concat().try_into().unwrap()
}

impl Verifier for Toy {
    fn verify_commitment(&self, key: &Key, message: &[u8], signature: &[u8; 64]) -> bool {
        toy(key, message) == *signature
    }
}

/// No point of the curve, and nobody asks here.
fn point(n: u8) -> PublicKey {
    let mut bytes = [n; 65];
    bytes[0] = 4;
    PublicKey(Key::P256(bytes))
}

fn world() -> World {
    let mut world = World::new();
    let now = world.now;
    let devices = ["cam-1", "cam-2", "plc-1", "gate-1"]
        .iter()
        .map(|id| facts(id, id, &[&format!("serial/ACME/{id}")], now))
        .collect();
    world.command(&report("north", "sensor", devices)).unwrap();
    world
}

fn register(of: &str, gateway: Option<&str>, key: PublicKey, epoch: u64) -> Any {
    let gateway = gateway.map(device);
    Any::Commitment(Command::RegisterKey { device: device(of), gateway, key, epoch })
}

fn revoke(of: &str, key: PublicKey) -> Any {
    Any::Commitment(Command::RevokeKey { device: device(of), key: key.id() })
}

/// What a device would send: messages of one word.
fn sent(
    key: PublicKey,
    class: Class,
    of: &str,
    epoch: u64,
    first: u64,
    previous: Hash,
    word: &str,
) -> Verified {
    let commitment = Commitment {
        class,
        key: key.0.id(),
        device: of.to_owned(),
        epoch,
        first,
        last: first,
        previous,
        root: root(&[word]),
    };
    let signature = toy(&key.0, &commitment.message().unwrap());
    check(&Signed { commitment, signature }, &key.0, &Toy).unwrap()
}

fn own(key: PublicKey, first: u64, previous: Hash, word: &str) -> Verified {
    sent(key, Class::Device, "cam-1", 0, first, previous, word)
}

/// Commits, and tells what became of each by its code.
fn commit(world: &mut World, batch: &[Verified]) -> Vec<&'static str> {
    let (expected, outcomes) = world.estate.commit(batch, world.now).unwrap();
    let command = Any::Commitment(Command::Commit { batch: batch.to_vec() });
    let events = world.command(&command).unwrap();
    assert_eq!(events, expected, "the command does what was told");
    let word = |outcome: &Outcome| match outcome {
        Outcome::Accepted => "accepted",
        Outcome::Again => "again",
        Outcome::Refused { code, .. } => code.strip_prefix("commitment.").unwrap(),
    };
    outcomes.iter().map(word).collect()
}

fn refused(world: &World, command: &Any) -> &'static str {
    world.estate.decide(command, &crate::world::person(), world.now).unwrap_err().code
}

#[test]
fn a_key_belongs_to_one_device_or_to_one_gateway() {
    let mut world = world();
    let weak = PublicKey(Key::Ed25519([0; 32]));
    let (a, b) = (point(1), point(2));
    assert_eq!(refused(&world, &register("cam-1", None, weak, 0)), "key.weak");
    assert_eq!(refused(&world, &register("nobody", None, a, 0)), "device.unknown");
    assert_eq!(refused(&world, &register("cam-1", Some("nobody"), a, 0)), "device.unknown");
    assert_eq!(refused(&world, &register("cam-1", Some("cam-1"), a, 0)), "key.gateway");
    world.command(&register("cam-1", None, a, 0)).unwrap();
    assert_eq!(world.command(&register("cam-1", None, a, 0)).unwrap(), [], "it is so already");
    // The same key on two devices is one device, or a copy.
    let taken = world
        .estate
        .decide(&register("cam-2", None, a, 0), &crate::world::person(), world.now)
        .unwrap_err();
    assert_eq!((taken.code, &*taken.why), ("key.taken", "it is the key of device cam-1"));
    // And no class passes for the other.
    assert_eq!(refused(&world, &register("plc-1", Some("cam-1"), a, 0)), "key.taken");
    // A gateway has one key for all devices that it sees.
    world.command(&register("plc-1", Some("gate-1"), b, 0)).unwrap();
    world.command(&register("cam-1", Some("gate-1"), b, 0)).unwrap();
    assert_eq!(refused(&world, &register("cam-1", Some("cam-2"), b, 0)), "key.taken");
    assert_eq!(refused(&world, &register("gate-1", None, b, 0)), "key.taken");
    // Every key and every new beginning has an epoch of its own.
    assert_eq!(refused(&world, &register("cam-1", None, point(3), 0)), "key.epoch");
    world.command(&register("cam-1", None, point(3), 1)).unwrap();
    assert_eq!(refused(&world, &register("cam-1", None, a, 1)), "key.epoch");
    let states = |world: &World| -> Vec<KeyState> {
        let id = device("cam-1");
        let keys = world.estate.commitments().keys(&id);
        keys.filter(|(_, k)| k.gateway.is_none()).map(|(_, k)| k.state).collect()
    };
    assert_eq!(states(&world).iter().filter(|s| **s == KeyState::Current).count(), 1);
    world.command(&revoke("cam-1", point(3))).unwrap();
    assert_eq!(world.command(&revoke("cam-1", point(3))).unwrap(), []);
    assert_eq!(refused(&world, &register("cam-1", None, point(3), 7)), "key.revoked");
    assert_eq!(refused(&world, &revoke("cam-1", point(9))), "key.unknown");
    assert_eq!(refused(&world, &revoke("plc-1", point(3))), "key.unknown");
    assert!(!states(&world).contains(&KeyState::Current));
    world
        .command(&Any::Device(devices::Command::Retire { devices: vec![device("cam-2")] }))
        .unwrap();
    assert_eq!(refused(&world, &register("cam-2", None, point(4), 0)), "key.device-retired");
    let merge = devices::Command::Merge { keep: device("plc-1"), other: device("gate-1") };
    world.command(&Any::Device(merge)).unwrap();
    assert_eq!(refused(&world, &register("gate-1", None, point(5), 0)), "key.alias");
    assert_eq!(world.replayed(), world.estate);
}

#[test]
fn what_is_signed_and_cannot_be_true_is_a_finding_with_its_evidence() {
    let mut world = world();
    let (a, b) = (point(1), point(2));
    world.command(&register("cam-1", None, a, 0)).unwrap();
    world.command(&register("cam-1", Some("gate-1"), b, 0)).unwrap();
    let one = own(a, 0, NOTHING, "x");
    let two = own(a, 1, one.hash(), "y");
    let fork = own(a, 1, one.hash(), "z");
    let late = own(a, 0, NOTHING, "other");
    let gap = own(a, 5, two.hash(), "x");
    let astray = own(a, 2, one.hash(), "x");
    let seen = sent(b, Class::Gateway, "cam-1", 0, 0, NOTHING, "x");
    let later = sent(a, Class::Device, "cam-1", 1, 0, NOTHING, "x");
    let foreign = sent(a, Class::Device, "cam-2", 0, 0, NOTHING, "x");
    let dressed_up = sent(b, Class::Device, "cam-1", 0, 2, two.hash(), "x");
    let batch =
        [&one, &one, &two, &fork, &late, &gap, &astray, &seen, &later, &foreign, &dressed_up];
    let batch: Vec<Verified> = batch.into_iter().cloned().collect();
    let came = commit(&mut world, &batch);
    let expected = [
        "accepted",
        "again",
        "accepted",
        "fork",
        "reordered",
        "gap",
        "previous",
        "accepted",
        "epoch",
        "key-unknown",
        "key-unknown",
    ];
    assert_eq!(came, expected);
    let id = device("cam-1");
    let chains: Vec<_> = world.estate.commitments().chains(&id).collect();
    assert_eq!(chains.len(), 2, "each class has a chain of its own");
    let (gateway, chain) = chains[0];
    assert_eq!((gateway, chain.commitments, chain.messages, chain.found), (&None, 2, 2, 5));
    let words: Vec<&str> = chain.findings.iter().map(|f| &*f.finding).collect();
    assert_eq!(words, ["fork", "reordered", "gap", "previous", "epoch"]);
    assert_eq!(chain.findings[0].hash, fork.hash().into());
    assert_eq!(chain.tip.as_ref().unwrap().entry, world.estate.size() - 1);
    // The evidence is in the journal, byte for byte, and holds without the estate.
    let entry = journal::entry::Entry::decode(world.journal.last().unwrap()).unwrap();
    let evidence =
        estate::record::events(&entry).unwrap().into_iter().find_map(|event| match event {
            AnyEvent::Commitment(Event::Found { finding, commitment, .. }) if finding == "fork" => {
                Some(commitment.0)
            }
            _ => None,
        });
    assert_eq!(evidence.unwrap().encode(), fork.signed().encode());
    // The same evidence once more is no news.
    let size = world.estate.size();
    assert_eq!(commit(&mut world, &[fork, gap]), ["fork", "gap"]);
    assert_eq!(world.estate.size(), size);
}

#[test]
fn a_key_that_is_over_and_a_device_that_is_gone_say_nothing_that_counts() {
    let mut world = world();
    let (a, b) = (point(1), point(2));
    world.command(&register("cam-1", None, a, 0)).unwrap();
    let one = own(a, 0, NOTHING, "x");
    assert_eq!(commit(&mut world, std::slice::from_ref(&one)), ["accepted"]);
    world.command(&register("cam-1", None, b, 4)).unwrap();
    let two = own(a, 1, one.hash(), "y");
    assert_eq!(commit(&mut world, &[two.clone(), one]), ["key-superseded", "again"]);
    let new = sent(b, Class::Device, "cam-1", 4, 0, NOTHING, "x");
    assert_eq!(commit(&mut world, std::slice::from_ref(&new)), ["accepted"]);
    world.command(&revoke("cam-1", b)).unwrap();
    let next = sent(b, Class::Device, "cam-1", 4, 1, new.hash(), "y");
    assert_eq!(commit(&mut world, &[next]), ["key-revoked"]);
    world.command(&register("cam-1", None, point(3), 5)).unwrap();
    world
        .command(&Any::Device(devices::Command::Retire { devices: vec![device("cam-1")] }))
        .unwrap();
    let gone = sent(point(3), Class::Device, "cam-1", 5, 0, NOTHING, "x");
    assert_eq!(commit(&mut world, &[gone]), ["device-retired"]);
    assert_eq!(world.replayed(), world.estate);
}

#[test]
fn a_long_batch_that_comes_again_is_known_and_the_journal_is_not_filled() {
    let mut world = world();
    let a = point(1);
    world.command(&register("cam-1", None, a, 0)).unwrap();
    let mut batch: Vec<Verified> = Vec::new();
    for n in 0..u64::try_from(RECENT_MAX * 10).unwrap() {
        let previous = batch.last().map_or(NOTHING, Verified::hash);
        batch.push(own(a, n, previous, "x"));
    }
    assert!(commit(&mut world, &batch).iter().all(|word| *word == "accepted"));
    let size = world.estate.size();
    assert!(commit(&mut world, &batch).iter().all(|word| *word == "again"));
    assert_eq!(world.estate.size(), size);
    let tip = batch.last().unwrap().hash();
    let many: Vec<Verified> =
        (0..u64::from(FOUND_MAX) * 2).map(|n| own(a, 500 + n, tip, "gap")).collect();
    assert!(commit(&mut world, &many).iter().all(|word| *word == "gap"));
    let id = device("cam-1");
    let found = |world: &World| world.estate.commitments().chains(&id).next().unwrap().1.found;
    assert_eq!(found(&world), u64::from(FOUND_MAX), "the rest of the day is only counted");
    world.pass(86_400);
    commit(&mut world, &many[..3]);
    assert_eq!(found(&world), u64::from(FOUND_MAX) + 3);
    assert_eq!(world.replayed(), world.estate);
    let none = Any::Commitment(Command::Commit { batch: vec![many[0].clone(); 4_097] });
    assert_eq!(refused(&world, &none), "commitment.batch");
}

/// A snapshot from before there were commitments is read: nothing is lost by a new version of the program.
#[test]
fn a_snapshot_of_the_version_before_is_read() {
    let world = world();
    let mut bytes = world.estate.snapshot().unwrap();
    // Version 9 brought which certificates are in use, and what was found at the door: two pieces of nothing.
    assert_eq!(bytes.split_off(bytes.len() - 2), [0, 0]);
    bytes[11] = 8;
    assert_eq!(Estate::restore(&bytes).as_ref(), Ok(&world.estate), "version 8");
    // Version 8 brought releases, and what rests on them: two pieces of nothing.
    assert_eq!(bytes.split_off(bytes.len() - 2), [0, 0]);
    bytes[11] = 7;
    assert_eq!(Estate::restore(&bytes).as_ref(), Ok(&world.estate), "version 7");
    // Version 7 brought secrets, one piece of nothing.
    assert_eq!(bytes.split_off(bytes.len() - 1), [0]);
    bytes[11] = 6;
    assert_eq!(Estate::restore(&bytes).as_ref(), Ok(&world.estate), "version 6");
    // Version 6 brought what is known of identities, nine pieces of nothing.
    assert_eq!(bytes.split_off(bytes.len() - 9), [0; 9]);
    bytes[11] = 5;
    assert_eq!(Estate::restore(&bytes).as_ref(), Ok(&world.estate), "version 5");
    // Version 5 brought the two maps of exceptions, version 4 views and what is kept apart, version 3 the two maps of commitments: there is nothing in them.
    for version in [4, 3, 2] {
        assert_eq!(bytes.split_off(bytes.len() - 2), [0, 0]);
        bytes[11] = version;
        assert_eq!(Estate::restore(&bytes).as_ref(), Ok(&world.estate), "version {version}");
    }
    bytes[11] = 1;
    assert!(Estate::restore(&bytes).is_err());
}

#[derive(Clone, Debug)]
enum Step {
    /// The device goes on, with so many, and maybe sends what is earlier once more.
    Send {
        device: usize,
        count: usize,
        again: usize,
    },
    /// Somebody else with the same key writes another history from some place.
    Forge {
        device: usize,
        back: usize,
    },
    /// Some are lost on the way.
    Lose {
        device: usize,
    },
    /// The registered key begins anew.
    Renew {
        device: usize,
        new_key: bool,
    },
    Revoke {
        device: usize,
    },
    Pass {
        seconds: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let device = || 0..2_usize;
    prop_oneof![
        6 => (device(), 1..30_usize, 0..40_usize)
            .prop_map(|(device, count, again)| Step::Send { device, count, again }),
        3 => (device(), 0..5_usize).prop_map(|(device, back)| Step::Forge { device, back }),
        1 => device().prop_map(|device| Step::Lose { device }),
        2 => (device(), any::<bool>()).prop_map(|(device, new_key)| Step::Renew { device, new_key }),
        1 => device().prop_map(|device| Step::Revoke { device }),
        1 => (0..100_000_i64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// A device as it knows itself, and what counts of it.
struct Sender {
    id: &'static str,
    key: PublicKey,
    epoch: u64,
    registered: bool,
    /// Of this epoch, in order; nothing else ever counts.
    history: Vec<Verified>,
    counted: u64,
}

impl Sender {
    fn next(&self, at: usize, word: &str) -> Verified {
        let previous = match at {
            0 => NOTHING,
            n => self.history[n - 1].hash(),
        };
        let first = u64::try_from(at).unwrap();
        sent(self.key, Class::Device, self.id, self.epoch, first, previous, word)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is sent, what counts is one history that nobody forked, nothing honest is ever a finding, and nothing is lost by a restart.
    #[test]
    fn one_history_counts(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = world();
        let mut senders: Vec<Sender> = [("cam-1", 1), ("cam-2", 2)]
            .map(|(id, n)| Sender {
                id,
                key: point(n),
                epoch: 0,
                registered: true,
                history: Vec::new(),
                counted: 0,
            })
            .into();
        let mut keys = 2;
        for sender in &senders {
            world.command(&register(sender.id, None, sender.key, 0)).unwrap();
        }
        for step in steps {
            match step {
                Step::Send { device, count, again } => {
                    let sender = &mut senders[device];
                    let begin = sender.history.len();
                    for n in begin..begin + count {
                        let next = sender.next(n, "good");
                        sender.history.push(next);
                    }
                    let batch = &sender.history[begin.saturating_sub(again)..];
                    let came = commit(&mut world, batch);
                    if sender.registered {
                        let old = batch.len() - count;
                        prop_assert!(came[..old].iter().all(|word| *word == "again"), "{came:?}");
                        prop_assert!(came[old..].iter().all(|word| *word == "accepted"), "{came:?}");
                        sender.counted += u64::try_from(count).unwrap();
                    } else {
                        prop_assert!(!came.contains(&"accepted"));
                        sender.history.truncate(begin);
                    }
                }
                Step::Forge { device, back } => {
                    let sender = &senders[device];
                    let at = sender.history.len().saturating_sub(back);
                    if at < sender.history.len() {
                        let came = commit(&mut world, &[sender.next(at, "forged")]);
                        prop_assert!(!["accepted", "again"].contains(&came[0]), "{came:?}");
                    }
                }
                Step::Lose { device } => {
                    let sender = &senders[device];
                    let first = u64::try_from(sender.history.len()).unwrap() + 1;
                    let gap = sent(
                        sender.key, Class::Device, sender.id, sender.epoch, first, NOTHING, "gap",
                    );
                    let came = commit(&mut world, &[gap]);
                    prop_assert!(!["accepted", "again"].contains(&came[0]), "{came:?}");
                }
                Step::Renew { device, new_key } => {
                    let sender = &mut senders[device];
                    if new_key || !sender.registered {
                        keys += 1;
                        sender.key = point(keys);
                    }
                    if keys > 60 { break; }
                    sender.epoch += 1;
                    sender.history.clear();
                    sender.registered = true;
                    let command = register(sender.id, None, sender.key, sender.epoch);
                    world.command(&command).unwrap();
                }
                Step::Revoke { device } => {
                    let sender = &mut senders[device];
                    world.command(&revoke(sender.id, sender.key)).unwrap();
                    sender.registered = false;
                }
                Step::Pass { seconds } => world.pass(seconds),
            }
            for sender in &senders {
                let id: DeviceId = crate::world::device(sender.id);
                let (_, chain) = world.estate.commitments().chains(&id).next().unwrap();
                prop_assert_eq!(chain.commitments, sender.counted);
                if let Some(last) = sender.history.last() {
                    let tip = chain.tip.as_ref().unwrap();
                    prop_assert_eq!(Hash::from(tip.hash), last.hash());
                }
            }
        }
        prop_assert_eq!(&world.replayed(), &world.estate);
        let restored = Estate::restore(&world.estate.snapshot().unwrap()).unwrap();
        prop_assert_eq!(&restored, &world.estate);
        // All that counts is in the journal, once.
        let mut all = BTreeSet::new();
        for bytes in &world.journal {
            let entry = journal::entry::Entry::decode(bytes).unwrap();
            for event in estate::record::events(&entry).unwrap() {
                if let AnyEvent::Commitment(Event::Committed { commitments }) = event {
                    for sent in commitments {
                        prop_assert!(all.insert(sent.0.commitment.hash().unwrap().0));
                    }
                }
            }
        }
        let counted: u64 = senders.iter().map(|sender| sender.counted).sum();
        prop_assert_eq!(u64::try_from(all.len()).unwrap(), counted);
    }
}
