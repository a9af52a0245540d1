//! Exceptions: owned, reasoned, ending; ended early; those of a folder too.

use estate::devices;
use estate::exceptions::{Command, Exception, LIFE_S_MAX, SHOWN_S};
use estate::{Command as Any, Refusal, teams};
use model::{ServiceId, Timestamp};

use crate::world::{World, device, facts, report};

fn world() -> World {
    let mut world = World::new();
    let now = world.now;
    world.command(&report("north", "sensor", vec![facts("cam-1", "a", &["mac/1"], now)])).unwrap();
    world
}

fn wanted(world: &World, id: &str, seconds: i64) -> Exception {
    Exception {
        id: id.to_owned(),
        from: device("cam-1"),
        to: ServiceId::new("nvr-web").unwrap(),
        owner: "it".to_owned(),
        reason: "the vendor looks at it".to_owned(),
        expires_at: world.now.plus_nanos(seconds.saturating_mul(1_000_000_000)),
    }
}

fn add(exception: Exception) -> Any {
    Any::Exception(Command::Add { exception })
}

fn end(id: &str) -> Any {
    Any::Exception(Command::End { id: id.to_owned() })
}

fn refused(world: &World, command: &Any) -> &'static str {
    let who = crate::world::person();
    let refused: Result<_, Refusal> = world.estate.decide(command, &who, world.now);
    refused.unwrap_err().code
}

fn open(world: &World) -> Vec<String> {
    world.estate.exceptions().open(world.now).map(|e| e.id.clone()).collect()
}

#[test]
fn one_without_an_owner_a_reason_or_an_end_in_time_is_refused() {
    let mut world = world();
    let good = wanted(&world, "exc-1", 3_600);
    let with = |change: fn(&mut Exception)| {
        let mut other = good.clone();
        change(&mut other);
        add(other)
    };
    for (command, code) in [
        (with(|e| e.id = "a b".to_owned()), "exception.malformed"),
        (with(|e| e.id.clear()), "exception.malformed"),
        (with(|e| e.owner.clear()), "team.unknown"),
        (with(|e| e.owner = "nobody".to_owned()), "team.unknown"),
        (with(|e| e.reason = " ".to_owned()), "exception.reason"),
        (with(|e| e.reason = "\u{1b}[1m".to_owned()), "exception.reason"),
        (with(|e| e.from = device("nobody")), "device.unknown"),
        (with(|e| e.expires_at = Timestamp::MAX), "exception.too-long"),
        (add(wanted(&world, "exc-1", LIFE_S_MAX + 1)), "exception.too-long"),
        (add(wanted(&world, "exc-1", 0)), "exception.over"),
        (add(wanted(&world, "exc-1", -1)), "exception.over"),
        (end("exc-1"), "exception.unknown"),
    ] {
        assert_eq!(refused(&world, &command), code, "{command:?}");
    }
    let before = world.estate.clone();
    world.command(&add(wanted(&world, "exc-1", LIFE_S_MAX))).unwrap();
    assert_ne!(world.estate, before);
    assert_eq!(refused(&world, &add(wanted(&world, "exc-2", 60))), "exception.exists");
    let retire = Any::Device(devices::Command::Retire { devices: vec![device("cam-1")] });
    world.command(&retire).unwrap();
    let mut other = wanted(&world, "exc-2", 60);
    other.to = ServiceId::new("other").unwrap();
    assert_eq!(refused(&world, &add(other)), "device.retired");
    assert_eq!(world.replayed(), world.estate);
}

#[test]
fn it_ends_by_itself_or_early_and_is_shown_for_a_while() {
    let mut world = world();
    world.command(&add(wanted(&world, "exc-1", 3_600))).unwrap();
    let remove = Any::Team(teams::Command::Remove { id: "it".to_owned() });
    assert_eq!(refused(&world, &remove), "team.owns");
    world.pass(3_599);
    assert_eq!(open(&world), ["exc-1"]);
    world.pass(1);
    assert!(open(&world).is_empty());
    assert!(world.command(&end("exc-1")).unwrap().is_empty(), "it is over already");
    world.command(&add(wanted(&world, "exc-2", 3_600))).unwrap();
    world.pass(10);
    assert_eq!(world.command(&end("exc-2")).unwrap().len(), 1);
    assert!(open(&world).is_empty());
    let known = world.estate.exceptions().get("exc-2").unwrap();
    assert_eq!(known.ended.as_ref().unwrap().at, world.now);
    assert!(world.command(&end("exc-2")).unwrap().is_empty());
    // The same path may be opened again, under another id.
    assert_eq!(refused(&world, &add(wanted(&world, "exc-2", 60))), "exception.exists");
    world.pass(SHOWN_S);
    world.command(&add(wanted(&world, "exc-3", 60))).unwrap();
    let shown: Vec<_> = world.estate.exceptions().iter().map(|k| k.exception.id.clone()).collect();
    assert_eq!(shown, ["exc-3"]);
    assert_eq!(world.replayed(), world.estate);
    let restored = estate::Estate::restore(&world.estate.snapshot().unwrap()).unwrap();
    assert_eq!(restored, world.estate);
    world.pass(60);
    world.command(&remove).unwrap();
}

#[test]
fn an_exception_of_a_folder_is_ended_until_its_line_is_another_one() {
    let mut world = world();
    let line = wanted(&world, "vendor-visit", 3_600);
    let close = |e: &Exception| {
        let (id, from, to) = (e.id.clone(), e.from.clone(), e.to.clone());
        Any::Exception(Command::Close { id, from, to, expires_at: e.expires_at })
    };
    let closed = |world: &World, e: &Exception| {
        world.estate.exceptions().closed(&e.id, &e.from, &e.to, e.expires_at).is_some()
    };
    assert!(!closed(&world, &line));
    assert_eq!(world.command(&close(&line)).unwrap().len(), 1);
    assert!(closed(&world, &line));
    assert!(world.command(&close(&line)).unwrap().is_empty());
    let longer = wanted(&world, "vendor-visit", 7_200);
    assert!(!closed(&world, &longer), "somebody decided anew");
    assert_eq!(world.command(&close(&longer)).unwrap().len(), 1);
    let over = wanted(&world, "over", -1);
    assert!(world.command(&close(&over)).unwrap().is_empty());
    let nameless = Exception { id: "x".repeat(201), ..line };
    assert_eq!(refused(&world, &close(&nameless)), "exception.unknown");
    assert_eq!(world.replayed(), world.estate);
}
