//! What holds after any history.

use std::collections::BTreeMap;
use std::net::IpAddr;

use estate::devices::{self, Edit, Facts, Field, Said, State, Timeouts, Wait};
use estate::{Command, Estate, Event, policies, sites, teams};
use model::{DeviceId, Timestamp};
use proptest::prelude::*;

use crate::world::{SITES, TEAMS, World, device, edit, facts, person, report, said, site};

/// Identifiers that count everywhere, at a site, not at all, and one address in two spellings.
const KEYS: [&str; 12] = [
    "mac/00:80:f4:00:00:01",
    "mac/00-80-F4-00-00-01",
    "mac/00:80:f4:00:00:02",
    "mac/00:80:f4:00:00:03",
    "mac/02:00:00:00:00:01",
    "mac/02:00:00:00:00:02",
    "mac/00:00:00:00:00:00",
    "serial/ACME/1",
    "serial/ACME/2",
    "station-name/plc-1",
    "bridge/1",
    "colour/red",
];
const SOURCES: [&str; 3] = ["sensor", "import/a.csv", "leases/kea"];
const TOLD: [Field; 5] =
    [Field::Type, Field::Vendor, Field::Firmware, Field::Hostname, Field::Posture];
const DECIDED: [Field; 5] =
    [Field::Type, Field::Vendor, Field::Zone, Field::Owner, Field::Criticality];

#[derive(Clone, Debug)]
enum Step {
    Report { site: usize, source: usize, devices: Vec<Seen> },
    Edit { devices: Vec<usize>, field: usize, value: Option<usize> },
    Put { device: usize, site: Option<usize> },
    Label { device: usize, name: usize, value: Option<usize> },
    Retire { devices: Vec<usize> },
    Return { device: usize },
    Merge { keep: usize, other: usize },
    Apart { device: usize, other: usize },
    Timeouts { stale_s: u32, kind: usize },
    Sweep,
    Offer { site: usize, generation: u64 },
    Team { team: usize, minutes: u32 },
    Policy { content: usize },
    Pass { seconds: i64 },
}

#[derive(Clone, Debug)]
struct Seen {
    subject: usize,
    keys: Vec<usize>,
    addresses: Option<Vec<u8>>,
    said: Vec<(usize, Option<usize>, u8)>,
    /// Seconds before now; less than nothing: a clock that is ahead.
    ago: i64,
}

fn seen() -> impl Strategy<Value = Seen> {
    let said =
        prop::collection::vec((0..TOLD.len(), prop::option::of(0..3_usize), 0..101_u8), 0..4);
    let addresses = prop::option::of(prop::collection::vec(1..5_u8, 0..3));
    (0..6_usize, prop::collection::vec(0..KEYS.len(), 0..4), addresses, said, -100..9_000_i64)
        .prop_map(|(subject, keys, addresses, said, ago)| Seen {
            subject,
            keys,
            addresses,
            said,
            ago,
        })
}

fn step() -> impl Strategy<Value = Step> {
    let some = || prop::collection::vec(0..12_usize, 1..4);
    let site = || 0..SITES.len();
    prop_oneof![
        8 => (site(), 0..SOURCES.len(), prop::collection::vec(seen(), 1..5))
            .prop_map(|(site, source, devices)| Step::Report { site, source, devices }),
        3 => (some(), 0..DECIDED.len(), prop::option::of(0..2_usize))
            .prop_map(|(devices, field, value)| Step::Edit { devices, field, value }),
        1 => (0..12_usize, prop::option::of(site()))
            .prop_map(|(device, site)| Step::Put { device, site }),
        1 => (0..12_usize, 0..3_usize, prop::option::of(0..2_usize))
            .prop_map(|(device, name, value)| Step::Label { device, name, value }),
        1 => some().prop_map(|devices| Step::Retire { devices }),
        1 => (0..12_usize).prop_map(|device| Step::Return { device }),
        2 => (0..12_usize, 0..12_usize).prop_map(|(keep, other)| Step::Merge { keep, other }),
        2 => (0..12_usize, 0..12_usize).prop_map(|(device, other)| Step::Apart { device, other }),
        1 => (60..20_000_u32, 0..3_usize)
            .prop_map(|(stale_s, kind)| Step::Timeouts { stale_s, kind }),
        2 => Just(Step::Sweep),
        1 => (site(), 0..5_u64).prop_map(|(site, generation)| Step::Offer { site, generation }),
        1 => (0..TEAMS.len(), 0..4_u32).prop_map(|(team, minutes)| Step::Team { team, minutes }),
        1 => (0..3_usize).prop_map(|content| Step::Policy { content }),
        4 => (0..8_000_i64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// Ids are as new as the world is old.
fn command(world: &World, step: &Step, number: usize) -> Option<Command> {
    let ids: Vec<DeviceId> = world
        .estate
        .devices()
        .iter()
        .flat_map(|d| std::iter::once(d.id.clone()).chain(d.aliases.iter().cloned()))
        .collect();
    let one = |at: &usize| ids.get(at % ids.len().max(1)).cloned().unwrap_or(device("nobody"));
    let many = |all: &[usize]| all.iter().map(one).collect::<Vec<_>>();
    let command = match step {
        Step::Pass { .. } => return None,
        Step::Report { site: at, source, devices } => {
            let facts = devices.iter().enumerate().map(|(n, seen)| {
                let at = |ago: i64| {
                    let nanos = ago.saturating_mul(1_000_000_000);
                    Timestamp::from_nanos(world.now.as_nanos().saturating_sub(nanos))
                };
                Facts {
                    addresses: seen.addresses.as_ref().map(|all| {
                        all.iter().map(|last| IpAddr::from([10, 0, 0, *last])).collect()
                    }),
                    said: seen
                        .said
                        .iter()
                        .map(|(f, v, c)| told(*f, *v, *c, at(seen.ago)))
                        .collect(),
                    ..facts(
                        &format!("d{number}-{n}"),
                        &format!("subject-{}", seen.subject),
                        &seen.keys.iter().map(|key| KEYS[*key]).collect::<Vec<_>>(),
                        at(seen.ago),
                    )
                }
            });
            return Some(report(SITES[*at], SOURCES[*source], facts.collect()));
        }
        Step::Edit { devices, field, value } => {
            let field = DECIDED[*field];
            let words = match field {
                Field::Owner => TEAMS,
                Field::Criticality => ["low", "safety"],
                _ => ["decided-a", "decided-b"],
            };
            let set = BTreeMap::from([(field, value.map(|v| words[v].to_owned()))]);
            devices::Command::Edit { devices: many(devices), edit: Edit { set, ..Edit::default() } }
        }
        Step::Put { device, site } => {
            let set = BTreeMap::from([(Field::Site, site.map(|at| SITES[at].to_owned()))]);
            devices::Command::Edit {
                devices: vec![one(device)],
                edit: Edit { set, ..Edit::default() },
            }
        }
        Step::Label { device, name, value } => {
            let value = value.map(|v| ["one", "two"][v].to_owned());
            let labels = BTreeMap::from([(["rack", "floor", "line"][*name].to_owned(), value)]);
            devices::Command::Edit {
                devices: vec![one(device)],
                edit: Edit { labels, ..Edit::default() },
            }
        }
        Step::Retire { devices } => devices::Command::Retire { devices: many(devices) },
        Step::Return { device } => devices::Command::Return { device: one(device) },
        Step::Merge { keep, other } => {
            devices::Command::Merge { keep: one(keep), other: one(other) }
        }
        Step::Apart { device, other } => {
            devices::Command::KeepApart { device: one(device), other: one(other) }
        }
        Step::Timeouts { stale_s, kind } => {
            let wait = Wait { stale_s: *stale_s, retired_s: stale_s.saturating_mul(4) };
            let types = BTreeMap::from([(format!("told-{kind}"), wait)]);
            devices::Command::SetTimeouts { timeouts: Timeouts { types, ..Timeouts::default() } }
        }
        Step::Sweep => devices::Command::Sweep,
        Step::Offer { site: at, generation } => {
            let content = format!("{generation:064x}");
            let bundle = sites::Bundle { generation: *generation, content };
            return Some(Command::Site(sites::Command::Offer { id: site(SITES[*at]), bundle }));
        }
        Step::Team { team, minutes } => {
            let team = teams::Team {
                id: TEAMS[*team].to_owned(),
                name: "a team".to_owned(),
                contact: "desk".to_owned(),
                escalate_after_min: *minutes,
                escalate_to: None,
            };
            return Some(Command::Team(teams::Command::Set { team }));
        }
        Step::Policy { content } => {
            let parent = world.estate.policies().current().map(|version| version.content.clone());
            let (content, origin) = (format!("{content:064x}"), "a commit".to_owned());
            return Some(Command::Policy(policies::Command::Set { content, parent, origin }));
        }
    };
    Some(Command::Device(command))
}

fn told(field: usize, value: Option<usize>, confidence: u8, at: Timestamp) -> Said {
    let field = TOLD[field];
    let value = value.map(|v| match field {
        Field::Posture => ["normal", "watched", "quarantined"][v].to_owned(),
        _ => format!("told-{v}"),
    });
    Said { field, value, detail: String::new(), confidence, at }
}

/// What people decided, by device and field.
fn decisions(estate: &Estate) -> BTreeMap<(DeviceId, Field), String> {
    let of = |d: &devices::Device| {
        let decided = d.claims().iter().filter(|c| c.decided);
        decided.map(|c| ((d.id.clone(), c.field), c.value.to_string())).collect::<Vec<_>>()
    };
    estate.devices().iter().flat_map(of).collect()
}

fn twice_is_once(command: &Command) -> bool {
    !matches!(
        command,
        Command::Device(devices::Command::Merge { .. } | devices::Command::Return { .. })
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_history_keeps_the_laws(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for (number, step) in steps.iter().enumerate() {
            if let Step::Pass { seconds } = step {
                world.pass(*seconds);
            }
            let Some(command) = command(&world, step, number) else { continue };
            let restored = Estate::restore(&world.estate.snapshot().unwrap()).unwrap();
            prop_assert_eq!(&restored, &world.estate, "a snapshot is the estate");
            prop_assert_eq!(restored.devices().check(), Ok(()));
            let decided = world.estate.decide(&command, &person(), world.now);
            prop_assert_eq!(
                &restored.decide(&command, &person(), world.now), &decided,
                "a restored estate decides the same"
            );
            let before = decisions(&world.estate);
            prop_assert_eq!(&world.command(&command), &decided);
            if matches!(command, Command::Device(devices::Command::Report { .. })) {
                prop_assert_eq!(&decisions(&world.estate), &before, "no report touches a decision");
                for ((id, field), value) in &before {
                    let device = world.estate.devices().get(id).unwrap();
                    prop_assert_eq!(device.value(*field), Some(value.as_str()));
                }
            }
            if decided.is_ok() && twice_is_once(&command) {
                let again = world.estate.decide(&command, &person(), world.now);
                prop_assert_eq!(again, Ok(Vec::new()), "twice is once: {:?}", command);
            }
            prop_assert_eq!(world.estate.devices().check(), Ok(()), "after {:?}", command);
            let ids: Vec<_> = world.estate.devices().after(None).map(|device| &device.id).collect();
            for at in 0..=ids.len() {
                let here = ids.get(at).or(ids.last()).copied();
                prop_assert_eq!(world.estate.devices().id_at(at), here);
            }
            for device in world.estate.devices().iter() {
                let everywhere =
                    device.keys.iter().filter(|key| ["mac/00", "serial"].iter().any(|k| key.starts_with(k)));
                for key in everywhere.filter(|key| !key.ends_with("00:00:00:00:00:00")) {
                    for at in SITES {
                        let found = world.estate.devices().by_key(key, &site(at)).map(|d| &d.id);
                        prop_assert_eq!(found, Some(&device.id), "{} at {}", key, at);
                    }
                }
            }
        }
        prop_assert_eq!(world.replayed(), world.estate, "the journal says the same");
    }

    /// A world in which people decide and take it all back is the one in which they never did.
    #[test]
    fn a_decision_covers_and_never_replaces(steps in prop::collection::vec(step(), 1..40)) {
        let (mut with, mut without) = (World::new(), World::new());
        for (number, step) in steps.iter().enumerate() {
            match step {
                Step::Pass { seconds } => {
                    with.pass(*seconds);
                    without.pass(*seconds);
                }
                // What people decide of types and places changes on purpose what is done with devices.
                Step::Put { .. } | Step::Timeouts { .. } => {}
                Step::Edit { .. } => {
                    if let Some(command) = command(&with, step, number) {
                        let _ = with.command(&command);
                    }
                }
                _ => {
                    if let Some(command) = command(&with, step, number) {
                        prop_assert_eq!(
                            with.command(&command).is_ok(), without.command(&command).is_ok()
                        );
                    }
                }
            }
        }
        let ids: Vec<DeviceId> = with.estate.devices().iter().map(|d| d.id.clone()).collect();
        if !ids.is_empty() {
            let set = DECIDED.into_iter().map(|field| (field, None)).collect();
            let edit = Edit { set, ..Edit::default() };
            let back = devices::Command::Edit { devices: ids.clone(), edit };
            with.command(&Command::Device(back)).unwrap();
        }
        prop_assert_eq!(with.estate.devices().len(), without.estate.devices().len());
        for id in &ids {
            let (with, without) = (with.estate.devices().get(id).unwrap(), without.estate.devices().get(id).unwrap());
            prop_assert_eq!(with.claims(), without.claims());
            prop_assert_eq!((&with.site, with.state, &with.keys), (&without.site, without.state, &without.keys));
        }
    }
}

#[test]
fn an_edit_of_many_devices_is_several_entries_and_one_change() {
    let mut world = World::new();
    let count = devices::BATCH_MAX;
    let now = world.now;
    let many = (0..count).map(|n| {
        let (id, key) = (format!("{}{n}", "d".repeat(60)), format!("serial/ACME/{n}"));
        facts(&id, &format!("s{n}"), &[&key], now)
    });
    world.command(&report("north", "sensor", many.collect())).unwrap();
    assert_eq!(world.estate.devices().len(), count);
    let before = world.journal.len();
    let devices: Vec<DeviceId> = world.estate.devices().iter().map(|d| d.id.clone()).collect();
    let set = BTreeMap::from([(Field::Zone, Some("paint-shop".to_owned()))]);
    let edit = Edit { set, ..Edit::default() };
    world.command(&Command::Device(devices::Command::Edit { devices, edit })).unwrap();
    assert!(world.journal.len() > before + 10, "{} entries", world.journal.len() - before);
    assert!(world.estate.devices().iter().all(|d| d.value(Field::Zone) == Some("paint-shop")));
    assert_eq!(world.replayed(), world.estate);
}

#[test]
fn what_is_as_long_as_may_be_still_fits_an_entry() {
    let mut world = World::new();
    let long = "\"".repeat(devices::VALUE_CHARS_MAX);
    let fields =
        [Field::Name, Field::Vendor, Field::Model, Field::Firmware, Field::Hardware, Field::Os];
    let all = fields.map(|field| said(field, &long, 50, world.now));
    let mut one = facts("d1", &long, &[], world.now);
    one.keys = (0..devices::KEYS_MAX).map(|n| format!("serial/{n}/{}", "𐀀".repeat(240))).collect();
    one.said = all.to_vec();
    let decided = world.command(&report("north", "sensor", vec![one.clone()]));
    assert_eq!(
        decided.map_err(|r| r.code).unwrap_err(),
        "device.facts",
        "64 keys of a thousand bytes"
    );
    one.keys.truncate(32);
    world.command(&report("north", "sensor", vec![one])).unwrap();

    let set = |fields: &[Field]| {
        fields.iter().map(|field| (*field, Some(long.as_str()))).collect::<Vec<_>>()
    };
    world.command(&edit(&["d1"], &set(&fields))).unwrap();
    let labels = (0..1_000).map(|n| (format!("label-{n}"), None)).collect();
    let long_edit = Edit { labels, ..Edit::default() };
    let command = devices::Command::Edit { devices: vec![device("d1")], edit: long_edit };
    assert_eq!(world.command(&Command::Device(command)).unwrap_err().code, "device.edit");

    let wait = Wait { stale_s: 60, retired_s: 61 };
    let types = (0..900).map(|n| (format!("{n}-{}", "x".repeat(60)), wait)).collect();
    let timeouts = Timeouts { types, ..Timeouts::default() };
    let command = Command::Device(devices::Command::SetTimeouts { timeouts });
    assert_eq!(world.command(&command).unwrap_err().code, "device.timeouts");
}

#[test]
fn an_identifier_is_of_one_device_and_who_shows_it_too_is_confused() {
    let mut world = World::new();
    let key = "serial/ACME/1";
    let told = |subject, id, keys: &[&str], world: &World| {
        report("north", "sensor", vec![facts(id, subject, keys, world.now)])
    };
    world.command(&told("a", "d1", &[key], &world.clone())).unwrap();
    world.command(&told("b", "d2", &["serial/ACME/2"], &world.clone())).unwrap();
    let both = told("b", "d3", &["serial/ACME/2", key], &world);
    let events = world.command(&both).unwrap();
    let [Event::Device(devices::Event::Confused { id, others })] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!((id, others.as_slice()), (&device("d2"), &[device("d1")][..]));
    assert!(world.device("d2").keys.iter().all(|k| &**k != key), "it stays d1's");
    assert_eq!(world.command(&both), Ok(Vec::new()));

    // They were one device: from then on it has both.
    let merge = devices::Command::Merge { keep: device("d1"), other: device("d2") };
    world.command(&Command::Device(merge)).unwrap();
    assert_eq!(world.device("d2").id, device("d1"));
    for key in [key, "serial/ACME/2"] {
        let found = world.estate.devices().by_key(key, &site("west")).unwrap();
        assert_eq!(found.id, device("d1"));
    }
    assert_eq!(world.estate.devices().check(), Ok(()));
}

#[test]
fn identifiers_without_end_fill_their_device_and_hold_nobody_up() {
    let mut world = World::new();
    for n in 0..200 {
        world.pass(1);
        let key = format!("mac/02:00:00:00:00:{n:02x}");
        let other = format!("serial/ACME/{n}");
        let all = vec![
            facts(&format!("a{n}"), "roamer", &[&key], world.now),
            facts(&format!("b{n}"), &format!("other-{n}"), &[&other], world.now),
        ];
        world.command(&report("north", "sensor", all)).unwrap();
    }
    assert_eq!(world.device("a0").keys.len(), devices::KEYS_MAX);
    assert_eq!(world.estate.devices().len(), 201);
}

#[test]
fn sightings_are_no_history_and_the_future_is_not_believed() {
    let mut world = World::new();
    let mut ahead = facts("d1", "a", &[], world.now);
    ahead.last_seen = Timestamp::from_nanos(i64::MAX);
    ahead.said = vec![said(Field::Vendor, "ahead", 50, Timestamp::from_nanos(i64::MAX))];
    world.command(&report("north", "sensor", vec![ahead])).unwrap();
    assert_eq!(world.device("d1").last_seen(), world.now);
    let changed = world.device("d1").changed_by();
    for _ in 0..20 {
        world.pass(7_200);
        let again = report("north", "sensor", vec![facts("x", "a", &[], world.now)]);
        assert_eq!(world.command(&again).unwrap().len(), 1);
        assert_eq!(world.device("d1").last_seen(), world.now);
    }
    assert_eq!((world.device("d1").changed_by(), world.device("d1").history().len()), (changed, 1));
    let mut later = facts("x", "a", &[], world.now);
    later.said = vec![said(Field::Vendor, "behind", 50, world.now)];
    world.command(&report("north", "sensor", vec![later])).unwrap();
    assert_eq!(world.device("d1").value(Field::Vendor), Some("behind"));
}

#[test]
fn who_is_returned_is_not_swept_away_again() {
    let mut world = World::new();
    world.command(&report("north", "sensor", vec![facts("d1", "a", &[], world.now)])).unwrap();
    let sweep = Command::Device(devices::Command::Sweep);
    world.pass(181 * 86_400);
    assert_eq!(world.command(&sweep).unwrap().len(), 1);
    assert_eq!(world.device("d1").state, State::Retired);
    let back = devices::Command::Return { device: device("d1") };
    world.command(&Command::Device(back)).unwrap();
    assert_eq!(world.command(&sweep), Ok(Vec::new()));
    assert_eq!(world.device("d1").state, State::Active);

    // What is old revives nobody.
    let seen = world.now;
    world.pass(8 * 86_400);
    world.command(&sweep).unwrap();
    let mut old = facts("x", "a", &[], seen);
    old.said = vec![said(Field::Vendor, "ACME", 50, seen)];
    world.command(&report("north", "sensor", vec![old])).unwrap();
    assert_eq!(world.device("d1").state, State::Stale);
}
