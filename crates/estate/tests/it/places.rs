//! Sites, teams, policy folders and selectors.

use estate::devices::{Field, Query};
use estate::sites::{self, Ack, Bundle, Identity, Progress};
use estate::{Command, SnapshotError, policies, teams};
use model::Timestamp;

use crate::world::{World, device, edit, facts, report, said, site};

const SECRET: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn later(world: &World, seconds: i64) -> Timestamp {
    Timestamp::from_nanos(world.now.as_nanos() + seconds * 1_000_000_000)
}

fn code(world: &mut World, command: sites::Command) -> Result<usize, &'static str> {
    world.command(&Command::Site(command)).map(|events| events.len()).map_err(|r| r.code)
}

#[test]
fn a_token_enrols_once_and_in_time_and_a_revoked_site_is_not_believed() {
    let mut world = World::new();
    let key = "c".repeat(64);
    let token = |world: &World, seconds| sites::Command::IssueToken {
        id: site("north"),
        secret_sha256: SECRET.to_owned(),
        expires_at: later(world, seconds),
    };
    let enrol = |world: &World, secret: Option<&str>| sites::Command::Enrol {
        id: site("north"),
        secret_sha256: secret.map(str::to_owned),
        identity: Identity {
            key_sha256: key.clone(),
            serial: "01".to_owned(),
            not_after: later(world, 3_600),
        },
    };
    for wrong in [0, -1, sites::TOKEN_S_MAX + 1] {
        let command = token(&world, wrong);
        assert_eq!(code(&mut world, command), Err("site.token-life"));
    }
    let command = enrol(&world, None);
    assert_eq!(code(&mut world, command), Err("site.enrol"), "it never enrolled");
    let command = token(&world, 60);
    assert_eq!(code(&mut world, command), Ok(1));
    assert_eq!(
        world.estate.sites().of_token(SECRET, world.now).map(|s| &s.id),
        Some(&site("north"))
    );
    let command = enrol(&world, Some(&"d".repeat(64)));
    assert_eq!(code(&mut world, command), Err("site.enrol"), "another secret");
    world.pass(60);
    let command = enrol(&world, Some(SECRET));
    assert_eq!(code(&mut world, command), Err("site.enrol"), "too late");
    let command = token(&world, 60);
    assert_eq!(code(&mut world, command), Ok(1));
    let command = enrol(&world, Some(SECRET));
    assert_eq!(code(&mut world, command.clone()), Ok(1));
    assert_eq!(code(&mut world, command), Err("site.enrol"), "used up");
    let believed =
        |world: &World| world.estate.sites().get(&site("north")).unwrap().believes(&key, world.now);
    assert!(believed(&world));
    world.pass(3_600);
    assert!(!believed(&world), "its certificate has ended");
    let command = enrol(&world, None);
    assert_eq!(code(&mut world, command), Ok(1), "it renews");
    assert!(believed(&world));
    let revoke = sites::Command::Revoke { id: site("north") };
    assert_eq!(code(&mut world, revoke.clone()), Ok(1));
    assert_eq!(code(&mut world, revoke), Ok(0));
    assert!(!believed(&world));
    let command = enrol(&world, None);
    assert_eq!(code(&mut world, command), Err("site.enrol"), "who is revoked does not renew");
    assert_eq!(world.replayed(), world.estate);
}

#[test]
fn generations_grow_and_only_what_was_offered_is_acknowledged() {
    let mut world = World::new();
    let offer = |generation, content: char| sites::Command::Offer {
        id: site("north"),
        bundle: Bundle { generation, content: content.to_string().repeat(64) },
    };
    let ack = |generation, progress, why: &str| sites::Command::Acknowledge {
        id: site("north"),
        ack: Ack { generation, progress, kernel_generation: Some(1), why: why.to_owned() },
    };
    assert_eq!(code(&mut world, ack(1, Progress::Applied, "")), Err("site.ack"));
    assert_eq!(code(&mut world, offer(5, 'a')), Ok(1));
    assert_eq!(code(&mut world, offer(5, 'b')), Err("site.generation"));
    assert_eq!(code(&mut world, offer(6, 'a')), Ok(0), "the same under another number");
    assert_eq!(code(&mut world, ack(5, Progress::Verified, "")), Ok(1));
    assert_eq!(code(&mut world, ack(5, Progress::Verified, "")), Ok(0));
    assert_eq!(code(&mut world, offer(6, 'b')), Ok(1));
    assert_eq!(code(&mut world, ack(6, Progress::Applied, "")), Ok(1));
    // What a site says at length is cut, and saying it again is nothing new.
    let long = ack(6, Progress::Refused, &format!("no\u{7}{}", "ü".repeat(100_000)));
    assert_eq!(code(&mut world, long.clone()), Ok(1));
    assert_eq!(code(&mut world, long), Ok(0));
    let north = world.estate.sites().get(&site("north")).unwrap();
    assert_eq!((north.applied, north.verified), (Some(6), Some(5)));
    assert_eq!(north.ack.as_ref().unwrap().why.chars().count(), 1_000);
    assert_eq!(world.replayed(), world.estate);
}

#[test]
fn a_team_that_is_needed_stays() {
    let mut world = World::new();
    let mut team = world.estate.teams().get("it").unwrap().team.clone();
    team.escalate_to = Some("it".to_owned());
    let set = |team: &teams::Team| Command::Team(teams::Command::Set { team: team.clone() });
    let remove = |id: &str| Command::Team(teams::Command::Remove { id: id.to_owned() });
    assert_eq!(world.command(&set(&team)).unwrap_err().code, "team.escalate-to");
    team.escalate_to = Some("ot".to_owned());
    world.command(&set(&team)).unwrap();
    assert_eq!(world.command(&remove("ot")).unwrap_err().code, "team.needed");
    world.command(&report("north", "sensor", vec![facts("d1", "a", &[], world.now)])).unwrap();
    world.command(&edit(&["d1"], &[(Field::Owner, Some("it"))])).unwrap();
    assert_eq!(world.command(&remove("it")).unwrap_err().code, "team.owns");
    world.command(&edit(&["d1"], &[(Field::Owner, None)])).unwrap();
    world.command(&remove("it")).unwrap();
    let gone = edit(&["d1"], &[(Field::Owner, Some("it"))]);
    assert_eq!(world.command(&gone).unwrap_err().code, "team.unknown");
}

#[test]
fn two_people_who_change_the_policy_do_not_overwrite_each_other() {
    let mut world = World::new();
    let set = |content: &str, parent: Option<&str>| {
        Command::Policy(policies::Command::Set {
            content: content.repeat(64),
            parent: parent.map(|parent| parent.repeat(64)),
            origin: "a commit".to_owned(),
        })
    };
    assert_eq!(world.command(&set("b", Some("a"))).unwrap_err().code, "policy.parent");
    world.command(&set("a", None)).unwrap();
    world.command(&set("b", Some("a"))).unwrap();
    assert_eq!(world.command(&set("c", Some("a"))).unwrap_err().code, "policy.parent");
    assert_eq!(world.command(&set("b", Some("a"))), Ok(Vec::new()));
    for n in 0..policies::EARLIER_MAX {
        let (now, next) = if n % 2 == 0 { ("b", "c") } else { ("c", "b") };
        world.command(&set(next, Some(now))).unwrap();
    }
    let policies = world.estate.policies();
    assert_eq!(policies.earlier().count(), policies::EARLIER_MAX);
    assert_eq!(policies.current().unwrap().number, 66);
}

#[test]
fn selectors_select_what_they_say() {
    let mut world = World::new();
    let keys = ["mac/00:80:f4:00:00:01"];
    let mut one = facts("cam-1", "a", &keys, world.now);
    one.addresses = Some(vec!["10.0.0.1".parse().unwrap()]);
    one.said = vec![said(Field::Type, "ip-camera", 90, world.now)];
    world.command(&report("north", "sensor", vec![one])).unwrap();
    world.command(&report("south", "sensor", vec![facts("plc-1", "b", &[], world.now)])).unwrap();
    world.command(&edit(&["plc-1"], &[(Field::Owner, Some("ot"))])).unwrap();
    let selects = |text: &str| {
        let query = Query::parse(text).unwrap();
        let all = world.estate.devices().iter().filter(|d| query.selects(d));
        all.map(|d| d.id.to_string()).collect::<Vec<_>>()
    };
    let (camera, plc, both) = (["cam-1"], ["plc-1"], ["cam-1", "plc-1"]);
    for text in [
        "type=ip-camera",
        "site=north",
        "!owner",
        "owner=",
        "mac=00:80:f4:*",
        "ip=10.0.*",
        "id=cam-1",
    ] {
        assert_eq!(selects(text), camera, "{text}");
    }
    for text in ["owner=ot", "owner!=", "owner", "type!=ip-camera", "site in (south, west)", "!mac"]
    {
        assert_eq!(selects(text), plc, "{text}");
    }
    for text in ["", "state=active", "site in (north,south),state!=stale", "id=*"] {
        assert_eq!(selects(text), both, "{text}");
    }
    for text in ["colour=red", "state=happy", "site in north", "label.=1"] {
        assert!(Query::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_damaged_snapshot_is_told_apart_from_an_older_one() {
    let mut world = World::new();
    world.command(&report("north", "sensor", vec![facts("d1", "a", &[], world.now)])).unwrap();
    let bytes = world.estate.snapshot().unwrap();
    assert!(world.estate.devices().get(&device("d1")).is_some());
    for cut in 0..bytes.len() {
        assert!(estate::Estate::restore(bytes.get(..cut).unwrap()).is_err(), "{cut} bytes");
    }
    let mut newer = bytes.clone();
    newer[11] += 1;
    assert_eq!(estate::Estate::restore(&newer), Err(SnapshotError::Version));
    assert!(matches!(estate::Estate::restore(&bytes[..40]), Err(SnapshotError::Damaged(_))));
}
