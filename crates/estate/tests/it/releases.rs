//! Releases: what somebody answers for, and what falls when nobody does any more.

use estate::identities::{self, Attestation, How, Limit, Octets, Tpm};
use estate::releases::{
    Bank, Command, Event, Form, RELEASES_MAX, Register, Release, VALUES_MAX, VALUES_OF_ONE_MAX,
    WITHDRAWN_MAX,
};
use estate::side::Digest;
use estate::{Command as Any, Estate, Event as AnyEvent, devices};
use model::Assurance::{Attested, HardwareKey};
use proptest::prelude::*;

use crate::identities::{Drill, digest};
use crate::world::{World, device, facts, report};

fn octets(n: u64) -> Octets {
    let mut bytes = vec![0; 24];
    bytes.extend(n.to_be_bytes());
    Octets(bytes)
}

fn register(pcr: u8, allowed: &[u64]) -> Register {
    let allowed = allowed.iter().map(|n| octets(*n)).collect();
    Register { pcr, allowed, required: Vec::new() }
}

pub(crate) fn release(id: &str, version: &str) -> Release {
    Release {
        id: id.to_owned(),
        vendor: "Acme".to_owned(),
        model: "X1".to_owned(),
        version: version.to_owned(),
        digest: Digest::of(id.as_bytes()),
        reason: "order 4711".to_owned(),
        bank: Bank::Sha256,
        form: Form::Values,
        registers: vec![register(0, &[1, 2]), register(7, &[3])],
    }
}

fn adding(release: Release, replaces: Option<&str>) -> Any {
    Any::Release(Command::Add { release, replaces: replaces.map(str::to_owned) })
}

fn withdrawing(id: &str) -> Any {
    Any::Release(Command::Withdraw { id: id.to_owned(), reason: "recalled".to_owned() })
}

/// A release that devices can be attested by.
pub(crate) fn add(world: &mut World, id: &str, version: &str) {
    world.command(&adding(release(id, version), None)).unwrap();
}

fn refused(world: &World, command: &Any) -> &'static str {
    world.estate.decide(command, &crate::world::person(), world.now).unwrap_err().code
}

fn audit(world: &World) {
    assert!(world.replayed() == world.estate, "a replay differs");
    let restored = Estate::restore(&world.estate.snapshot().unwrap()).unwrap();
    assert!(restored == world.estate, "a snapshot differs");
}

#[test]
fn what_is_no_release_is_refused() {
    let mut world = World::new();
    let with = |change: &dyn Fn(&mut Release)| {
        let mut other = release("rel-1", "2.4");
        change(&mut other);
        adding(other, None)
    };
    let long: Vec<u64> = (0..=u64::try_from(VALUES_OF_ONE_MAX).unwrap()).collect();
    for (command, code) in [
        (with(&|r| r.id = "a b".to_owned()), "release.malformed"),
        (with(&|r| r.id.clear()), "release.malformed"),
        (with(&|r| r.vendor.clear()), "release.malformed"),
        (with(&|r| r.model = " ".to_owned()), "release.malformed"),
        (with(&|r| r.version = "2.4\u{1b}[1m".to_owned()), "release.malformed"),
        (with(&|r| r.version = "v".repeat(257)), "release.malformed"),
        (with(&|r| r.reason = "\n".to_owned()), "release.reason"),
        (with(&|r| r.reason = "r".repeat(4_097)), "release.reason"),
        (with(&|r| r.registers.clear()), "release.register"),
        (with(&|r| r.registers[0].allowed.clear()), "release.register"),
        (with(&|r| r.registers[0].pcr = 24), "release.register"),
        (with(&|r| r.registers[1].pcr = 0), "release.register"),
        (with(&|r| r.registers[0].required = vec![octets(9)]), "release.register"),
        (with(&|r| r.registers[0].allowed = vec![Octets(vec![0; 31])]), "release.digest"),
        (with(&|r| r.bank = Bank::Sha384), "release.digest"),
        (with(&|r| r.registers[0] = register(0, &long)), "release.long"),
        (adding(release("rel-1", "2.4"), Some("rel-0")), "release.replaces"),
        (withdrawing("rel-1"), "release.unknown"),
    ] {
        assert_eq!(refused(&world, &command), code, "{command:?}");
    }
    add(&mut world, "rel-1", "2.4");
    let empty = Command::Withdraw { id: "rel-1".to_owned(), reason: String::new() };
    assert_eq!(refused(&world, &Any::Release(empty)), "release.reason");
    assert_eq!(refused(&world, &adding(release("rel-1", "2.5"), None)), "release.id");
    audit(&world);
}

#[test]
fn what_a_release_says_is_changed_by_another_one_in_its_place() {
    let mut world = World::new();
    add(&mut world, "rel-1", "2.4");
    // The same, in another order and twice, is the same.
    let mut same = release("rel-2", "2.4");
    same.registers.reverse();
    same.registers[0].allowed.push(octets(3));
    assert_eq!(world.command(&adding(same.clone(), None)), Ok(Vec::new()));
    same.registers[0].allowed.push(octets(4));
    assert_eq!(refused(&world, &adding(same.clone(), None)), "release.exists");
    assert_eq!(refused(&world, &adding(same.clone(), Some("rel-9"))), "release.replaces");
    let events = world.command(&adding(same, Some("rel-1"))).unwrap();
    let [AnyEvent::Release(Event::Added { .. }), AnyEvent::Release(over)] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    let Event::Withdrawn { id, replaced_by, carried: true, .. } = over else { panic!("{over:?}") };
    assert_eq!((id.as_str(), replaced_by.as_deref()), ("rel-1", Some("rel-2")));
    let releases = world.estate.releases();
    assert_eq!(releases.current("Acme", "X1", "2.4").unwrap().id, "rel-2");
    assert_eq!(releases.get("rel-1").unwrap().values, 3);
    assert!(releases.get("rel-1").unwrap().release.registers.is_empty());
    audit(&world);
    // Withdrawn, and withdrawn once more; then something else may be said of that version.
    assert_eq!(world.command(&withdrawing("rel-2")).unwrap().len(), 1);
    assert_eq!(world.command(&withdrawing("rel-2")), Ok(Vec::new()));
    assert!(world.estate.releases().current("Acme", "X1", "2.4").is_none());
    let mut other = release("rel-3", "2.4");
    other.registers[0].allowed = vec![octets(77)];
    world.command(&adding(other, None)).unwrap();
    assert!(world.estate.releases().has_document(&Digest::of(b"rel-1")), "it is not forgotten");
    audit(&world);
}

#[test]
fn a_long_release_is_several_entries_and_one_release() {
    let mut world = World::new();
    let mut long = release("rel-1", &"\"".repeat(256));
    (long.vendor, long.model) = ("\"".repeat(256), "\"".repeat(256));
    (long.bank, long.form) = (Bank::Sha512, Form::Events);
    let wide = |n: u64| Octets([vec![0; 56], n.to_be_bytes().to_vec()].concat());
    let most = u64::try_from(VALUES_OF_ONE_MAX).unwrap();
    long.registers = vec![
        Register { pcr: 4, allowed: (0..100).map(wide).collect(), required: vec![wide(7)] },
        Register { pcr: 5, allowed: Vec::new(), required: (102..=most).map(wide).collect() },
    ];
    let before = world.journal.len();
    long.reason = "\"".repeat(4_096);
    world.command(&adding(long, None)).unwrap();
    assert!(world.journal.len() > before + 10);
    let known = world.estate.releases().get("rel-1").unwrap();
    // What has to be there is good anyhow, and stands in one of the lists.
    assert_eq!(known.release.values(), VALUES_OF_ONE_MAX - 1);
    assert_eq!(known.release.registers[0].required, [wide(7)]);
    assert_eq!(usize::try_from(known.values).unwrap(), known.release.values());
    audit(&world);
}

#[test]
fn the_catalogue_has_bounds() {
    let mut world = World::new();
    let now = world.now;
    let who = crate::world::person();
    // Folded without a journal: there are many.
    let mut entry = 100;
    let mut fold = |estate: &mut Estate, command: &Any| {
        let events = estate.decide(command, &who, now)?;
        entry += 1;
        estate.apply(&events, estate::At { entry, time: now, who: &who });
        Ok::<_, estate::Refusal>(())
    };
    let mut big = release("big", "0");
    big.registers = vec![register(0, &(0..16_384).collect::<Vec<_>>())];
    for n in 0..VALUES_MAX / VALUES_OF_ONE_MAX {
        let (id, version) = (format!("big-{n}"), format!("{n}"));
        fold(&mut world.estate, &adding(Release { id, version, ..big.clone() }, None)).unwrap();
    }
    let one_more = adding(release("rel-1", "more"), None);
    let full = fold(&mut world.estate, &one_more).unwrap_err();
    assert_eq!(full.code, "release.full", "{full}");
    // In the place of another one there is room.
    let small = Release { id: "small".to_owned(), ..release("small", "0") };
    fold(&mut world.estate, &adding(small, Some("big-0"))).unwrap();
    fold(&mut world.estate, &one_more).unwrap();
    for n in 1..VALUES_MAX / VALUES_OF_ONE_MAX {
        fold(&mut world.estate, &withdrawing(&format!("big-{n}"))).unwrap();
    }
    for n in 2..RELEASES_MAX {
        let added = adding(release(&format!("r{n}"), &format!("v{n}")), None);
        fold(&mut world.estate, &added).unwrap();
    }
    let full = fold(&mut world.estate, &adding(release("last", "last"), None)).unwrap_err();
    assert_eq!(full.code, "release.full");
    // Those that are withdrawn are remembered, the oldest for the shortest time.
    for n in 2..RELEASES_MAX {
        fold(&mut world.estate, &withdrawing(&format!("r{n}"))).unwrap();
    }
    assert!(world.estate.releases().get("big-0").is_none(), "the first that went");
    let past = world.estate.releases().iter().filter(|known| known.withdrawn.is_some()).count();
    assert_eq!(past, WITHDRAWN_MAX);
    let restored = Estate::restore(&world.estate.snapshot().unwrap()).unwrap();
    assert!(restored == world.estate, "a snapshot differs");
}

/// What a file attested, before there were releases, is read; and nothing of it is withdrawn.
#[test]
fn an_attestation_from_before_there_were_releases_ends_by_itself() {
    let mut drill = Drill::new();
    with_tpms(&mut drill, &["a"]);
    let identities::Command::Attest { device, attestation, .. } =
        attestation(&drill, "a", "rel-1", "q")
    else {
        panic!();
    };
    let old = identities::Event::Attested { device: device.clone(), attestation, release: None };
    let level = devices::Event::Assured {
        id: device,
        level: Attested,
        limit: Limit::Credential.word().to_owned(),
    };
    let (who, now) = (crate::world::person(), drill.world.now);
    let at = estate::At { entry: drill.world.estate.size(), time: now, who: &who };
    drill.world.estate.apply(&[AnyEvent::Identity(old), AnyEvent::Device(level)], at);
    // A snapshot of the version before has all of it, and nothing behind it.
    let mut bytes = drill.world.estate.snapshot().unwrap();
    assert_eq!(bytes.split_off(bytes.len() - 2), [0, 0]);
    bytes[11] = 7;
    assert!(Estate::restore(&bytes).as_ref() == Ok(&drill.world.estate));
    add(&mut drill.world, "rel-1", "2.4");
    drill.world.command(&withdrawing("rel-1")).unwrap();
    assert_eq!(drill.level("a").0, Attested);
    drill.pass(3_600);
    assert_eq!(drill.level("a"), (HardwareKey, Limit::Freshness));
    let restored = Estate::restore(&drill.world.estate.snapshot().unwrap()).unwrap();
    assert!(restored == drill.world.estate);
}

fn attestation(drill: &Drill, id: &str, release: &str, quote: &str) -> identities::Command {
    identities::Command::Attest {
        device: device(id),
        release: release.to_owned(),
        attestation: Attestation {
            key: digest(&format!("key of {id}")),
            quote: digest(&format!("{id} {quote}")),
            ak: digest(&format!("ak of {id}")),
            reset_count: 1,
            restart_count: 0,
            clock_ms: 1,
            firmware: Octets(vec![0; 8]),
            until: drill.after(3_600),
        },
    }
}

/// Devices whose keys are in their TPMs.
fn with_tpms(drill: &mut Drill, ids: &[&str]) {
    for id in ids {
        drill.token(id, &format!("token of {id}"));
        let (ek, ak) = (digest(&format!("ek of {id}")), digest(&format!("ak of {id}")));
        let (public, name) = (Octets(vec![1; 90]), Octets(vec![0; 34]));
        let tpm = Box::new(Tpm { ek, ak, public, name, maker: None });
        let token = Some(digest(&format!("token of {id}")));
        drill.enrol(id, &format!("key of {id}"), 30, How::Tpm { tpm, token }).unwrap();
    }
}

#[test]
fn who_is_attested_by_a_release_falls_with_it() {
    let mut drill = Drill::new();
    with_tpms(&mut drill, &["a", "b"]);
    add(&mut drill.world, "rel-1", "2.4");
    add(&mut drill.world, "rel-2", "2.5");
    let unknown = attestation(&drill, "a", "rel-9", "q");
    assert_eq!(drill.run(unknown), Err("identity.attestation-release"));
    for (id, release) in [("a", "rel-1"), ("b", "rel-2")] {
        let good = attestation(&drill, id, release, "q");
        drill.run(good).unwrap();
        assert_eq!(drill.level(id), (Attested, Limit::Credential));
    }
    drill.audit();
    let events = drill.world.command(&withdrawing("rel-1")).unwrap();
    assert_eq!(events.len(), 2, "it, and a's level: {events:?}");
    assert_eq!(drill.level("a"), (HardwareKey, Limit::Freshness));
    assert_eq!(drill.level("b"), (Attested, Limit::Credential), "another release");
    drill.audit();
    // Nothing brings it back but another release.
    let again = attestation(&drill, "a", "rel-1", "r");
    assert_eq!(drill.run(again), Err("identity.attestation-release"));
    drill.pass(1);
    assert_eq!(drill.level("a"), (HardwareKey, Limit::Freshness));
    add(&mut drill.world, "rel-3", "2.4");
    let again = attestation(&drill, "a", "rel-3", "r");
    drill.run(again).unwrap();
    assert_eq!(drill.level("a").0, Attested);
    drill.audit();
}

#[test]
fn what_takes_all_that_the_one_before_took_carries_what_that_attested() {
    let mut drill = Drill::new();
    with_tpms(&mut drill, &["a"]);
    add(&mut drill.world, "rel-1", "2.4");
    let good = attestation(&drill, "a", "rel-1", "q");
    drill.run(good).unwrap();
    let mut wider = release("rel-2", "2.4");
    wider.registers[0].allowed.push(octets(99));
    drill.world.command(&adding(wider, Some("rel-1"))).unwrap();
    assert_eq!(drill.level("a"), (Attested, Limit::Credential));
    drill.audit();
    // What takes less does not: nobody knows which of its values the device had.
    let narrower = Release {
        registers: vec![register(0, &[1, 99]), register(7, &[3])],
        ..release("rel-3", "2.4")
    };
    drill.world.command(&adding(narrower, Some("rel-2"))).unwrap();
    assert_eq!(drill.level("a"), (HardwareKey, Limit::Freshness));
    drill.audit();
    // Nor what looks at another register, or has something required.
    for (at, change) in [
        (0, &(|r: &mut Release| r.registers[1].pcr = 5) as &dyn Fn(&mut Release)),
        (1, &|r| r.registers.push(register(9, &[5]))),
        (2, &|r| {
            let required = vec![octets(1)];
            r.form = Form::Events;
            r.registers[0] = Register { pcr: 0, allowed: vec![octets(2)], required };
        }),
    ] {
        let (id, next) = (format!("old-{at}"), format!("new-{at}"));
        let version = format!("v{at}");
        add(&mut drill.world, &id, &version);
        let good = attestation(&drill, "a", &id, &id);
        drill.run(good).unwrap();
        let mut other = release(&next, &version);
        change(&mut other);
        drill.world.command(&adding(other, Some(&id))).unwrap();
        assert_eq!(drill.level("a"), (HardwareKey, Limit::Freshness), "{at}");
        drill.pass(1);
    }
    drill.audit();
}

#[test]
fn of_very_many_none_is_forgotten() {
    let mut drill = Drill::new();
    let ids: Vec<String> = (0..identities::BATCH_MAX + 500).map(|n| format!("d{n}")).collect();
    let now = drill.world.now;
    for part in ids.chunks(1_000) {
        let all = part.iter().map(|id| facts(id, id, &[], now)).collect();
        drill.world.command(&report("north", "sensor", all)).unwrap();
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    with_tpms(&mut drill, &ids);
    add(&mut drill.world, "rel-1", "2.4");
    for id in &ids {
        let good = attestation(&drill, id, "rel-1", "q");
        drill.run(good).unwrap();
    }
    let events = drill.world.command(&withdrawing("rel-1")).unwrap();
    assert_eq!(events.len(), identities::BATCH_MAX + 1);
    // Noticed within the second; and each by evidence at once.
    drill.world.pass(1);
    for left in [500, 0] {
        drill.run(identities::Command::Lapse).unwrap();
        let high = ids.iter().filter(|id| drill.level(id).0 == Attested).count();
        assert!(high <= left, "{high}");
    }
    assert!(ids.iter().all(|id| drill.level(id) == (HardwareKey, Limit::Freshness)));
    drill.audit();
}

#[test]
fn what_a_device_says_of_itself_raises_nothing() {
    let mut drill = Drill::new();
    with_tpms(&mut drill, &["a"]);
    let level = drill.level("a");
    let word = |field, value: &str, detail: &str| devices::OwnWord {
        field,
        value: value.to_owned(),
        detail: detail.to_owned(),
    };
    let says = |id: &str, said: Vec<devices::OwnWord>| {
        Any::Device(devices::Command::SelfReport { device: device(id), said })
    };
    use devices::Field::{Assurance, Firmware, Model, Os, Zone};
    for (said, code) in [
        (vec![word(Assurance, "attested", "")], "device.own-word"),
        (vec![word(Zone, "cameras", "")], "device.own-word"),
        (vec![word(Os, "a", ""), word(Os, "b", "")], "device.own-word"),
        (vec![word(Firmware, "", "")], "device.value"),
        (vec![word(Firmware, &"v".repeat(257), "")], "device.value"),
        (vec![word(Firmware, "2\u{7}", "")], "device.value"),
        (vec![word(Firmware, "2", "a\nb")], "device.own-word"),
    ] {
        assert_eq!(refused(&drill.world, &says("a", said.clone())), code, "{said:?}");
    }
    assert_eq!(refused(&drill.world, &says("nobody", Vec::new())), "device.unknown");
    // Nobody else is that source.
    let other = report("north", devices::OWN_WORD, vec![facts("x", "a", &[], drill.world.now)]);
    assert_eq!(refused(&drill.world, &other), "device.source");
    let all = vec![word(Firmware, "2.4", "sha256.ab"), word(Model, "X1", "")];
    assert_eq!(drill.world.command(&says("a", all.clone())).unwrap().len(), 1);
    drill.world.pass(60);
    assert_eq!(drill.world.command(&says("a", all.clone())), Ok(Vec::new()), "no news");
    // Whoever is surer is believed, and both are there.
    let mut seen = facts("a", "a", &[], drill.world.now);
    seen.said = vec![crate::world::said(Firmware, "2.3", 20, drill.world.now)];
    drill.world.command(&report("north", "sensor", vec![seen])).unwrap();
    let known = drill.world.device("a");
    assert_eq!((known.value(Firmware), known.value(Model)), (Some("2.3"), Some("X1")));
    let claims: Vec<_> = known.claims().iter().filter(|c| c.field == Firmware).collect();
    assert_eq!(claims.len(), 2, "{claims:?}");
    assert_eq!(&*claims[0].source, "agent/sha256.ab");
    // Another image under the same name is news, and so is what is not said any more.
    let other = vec![word(Firmware, "2.4", "sha256.cd")];
    assert_eq!(drill.world.command(&says("a", other)).unwrap().len(), 1);
    assert_eq!(drill.world.device("a").value(Model), None);
    assert_eq!(drill.level("a"), level);
    let retire = devices::Command::Retire { devices: vec![device("a")] };
    drill.world.command(&Any::Device(retire)).unwrap();
    assert_eq!(refused(&drill.world, &says("a", all)), "device.retired");
    drill.audit();
}

#[derive(Clone, Debug)]
enum Step {
    Add { version: u8, values: Vec<(u8, u64)>, replace: bool },
    Withdraw { at: usize },
    Attest { device: usize, version: u8 },
    Say { device: usize, version: u8 },
    Pass { seconds: i64 },
    Merge,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_u8, prop::collection::vec((0..3_u8, 0..3_u64), 1..5), any::<bool>())
            .prop_map(|(version, values, replace)| Step::Add { version, values, replace }),
        1 => (0..8_usize).prop_map(|at| Step::Withdraw { at }),
        4 => (0..3_usize, 0..3_u8).prop_map(|(device, version)| Step::Attest { device, version }),
        1 => (0..3_usize, 0..3_u8).prop_map(|(device, version)| Step::Say { device, version }),
        2 => (0..2_500_i64).prop_map(|seconds| Step::Pass { seconds }),
        1 => Just(Step::Merge),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever is attested is so by a release that counts; a replay and a snapshot say the same.
    #[test]
    fn nobody_is_attested_by_what_does_not_count(steps in prop::collection::vec(step(), 1..40)) {
        let mut drill = Drill::new();
        let ids = ["a", "b", "gw"];
        with_tpms(&mut drill, &ids);
        for (number, step) in steps.iter().enumerate() {
            let before: Vec<_> = ids.iter().map(|id| drill.level(id).0).collect();
            match step {
                Step::Add { version, values, replace } => {
                    let mut by: std::collections::BTreeMap<u8, Vec<u64>> = Default::default();
                    for (pcr, value) in values {
                        by.entry(*pcr).or_default().push(*value);
                    }
                    let registers = by.iter().map(|(pcr, values)| register(*pcr, values)).collect();
                    let (id, version) = (format!("rel-{number:03}"), format!("{version}"));
                    let has = drill.world.estate.releases().current("Acme", "X1", &version);
                    let replaces = has.map(|has| has.id.clone()).filter(|_| *replace);
                    let new = Release { registers, ..release(&id, &version) };
                    let _ = drill.world.command(&adding(new, replaces.as_deref()));
                }
                Step::Withdraw { at } => {
                    let all: Vec<_> = drill.world.estate.releases().iter().collect();
                    let id = all.get(at % all.len().max(1)).map(|k| k.release.id.clone());
                    if let Some(id) = id {
                        drill.world.command(&withdrawing(&id)).unwrap();
                    }
                }
                Step::Attest { device, version } => {
                    let current = drill.world.estate.releases();
                    let current = current.current("Acme", "X1", &version.to_string());
                    if let Some(id) = current.map(|release| release.id.clone()) {
                        let command = attestation(&drill, ids[*device], &id, &number.to_string());
                        // One of two that are one device has the other one's TPM.
                        let _ = drill.run(command);
                    }
                }
                Step::Say { device: at, version } => {
                    let word = devices::OwnWord {
                        field: devices::Field::Firmware,
                        value: version.to_string(),
                        detail: String::new(),
                    };
                    let says = devices::Command::SelfReport { device: device(ids[*at]), said: vec![word] };
                    drill.world.command(&Any::Device(says)).unwrap();
                    let after: Vec<_> = ids.iter().map(|id| drill.level(id).0).collect();
                    prop_assert_eq!(&before, &after, "its word raises nothing");
                }
                Step::Pass { seconds } => drill.pass(*seconds),
                Step::Merge => {
                    let merge = devices::Command::Merge { keep: device("a"), other: device("b") };
                    let _ = drill.world.command(&Any::Device(merge));
                }
            }
            let (estate, now) = (&drill.world.estate, drill.world.now);
            for id in ids {
                let id = &drill.world.device(id).id;
                let Some(record) = estate.identities().get(id) else { continue };
                if record.attestation.as_ref().is_some_and(|last| last.until > now) {
                    let by = record.release.and_then(|entry| estate.releases().of_entry(entry));
                    prop_assert!(by.is_some_and(|by| by.withdrawn.is_none()), "{:?}", by);
                }
            }
        }
        drill.audit();
    }
}
