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
    let enrol = |world: &World, secret: &str| sites::Command::Enrol {
        id: site("north"),
        secret_sha256: secret.to_owned(),
        identity: identity(world, &key),
    };
    let renew = |world: &World| sites::Command::Renew {
        id: site("north"),
        key_sha256: key.clone(),
        identity: identity(world, &key),
    };
    for wrong in [0, -1, sites::TOKEN_S_MAX + 1] {
        let command = token(&world, wrong);
        assert_eq!(code(&mut world, command), Err("site.token-life"));
    }
    let command = renew(&world);
    assert_eq!(code(&mut world, command), Err("site.enrol"), "it never enrolled");
    let command = token(&world, 60);
    assert_eq!(code(&mut world, command), Ok(1));
    assert_eq!(
        world.estate.sites().of_token(SECRET, world.now).map(|s| &s.id),
        Some(&site("north"))
    );
    let command = enrol(&world, &"d".repeat(64));
    assert_eq!(code(&mut world, command), Err("site.enrol"), "another secret");
    world.pass(60);
    let command = enrol(&world, SECRET);
    assert_eq!(code(&mut world, command), Err("site.enrol"), "too late");
    let command = token(&world, 60);
    assert_eq!(code(&mut world, command), Ok(1));
    let command = enrol(&world, SECRET);
    assert_eq!(code(&mut world, command), Ok(1));
    let other = sites::Command::Enrol {
        id: site("north"),
        secret_sha256: SECRET.to_owned(),
        identity: identity(&world, &"e".repeat(64)),
    };
    assert_eq!(code(&mut world, other), Err("site.enrol"), "used up");
    let believed =
        |world: &World| world.estate.sites().get(&site("north")).unwrap().believes(&key, world.now);
    assert!(believed(&world));
    world.pass(3_599);
    let command = renew(&world);
    assert_eq!(code(&mut world, command), Ok(1), "it renews");
    world.pass(3_600);
    assert!(!believed(&world), "its certificate has ended");
    let command = renew(&world);
    assert_eq!(code(&mut world, command), Err("site.enrol"), "what has ended does not renew");
    let command = token(&world, 60);
    assert_eq!(code(&mut world, command), Ok(1));
    let command = enrol(&world, SECRET);
    assert_eq!(code(&mut world, command), Ok(1));
    assert!(believed(&world));
    let revoke = sites::Command::Revoke { id: site("north") };
    assert_eq!(code(&mut world, revoke.clone()), Ok(1));
    assert_eq!(code(&mut world, revoke), Ok(0));
    assert!(!believed(&world));
    let command = renew(&world);
    assert_eq!(code(&mut world, command), Err("site.enrol"), "who is revoked does not renew");
    let command = enrol(&world, SECRET);
    assert_eq!(code(&mut world, command), Err("site.enrol"), "nor enrols again");
    assert_eq!(world.replayed(), world.estate);
}

#[test]
fn who_lost_the_answer_enrols_again_with_the_same_key_for_as_long_as_the_token_was_open() {
    let mut world = World::new();
    let token = sites::Command::IssueToken {
        id: site("north"),
        secret_sha256: SECRET.to_owned(),
        expires_at: later(&world, 60),
    };
    let enrol = |world: &World, at: &str, key: &str| sites::Command::Enrol {
        id: site(at),
        secret_sha256: SECRET.to_owned(),
        identity: identity(world, &key.repeat(64)),
    };
    code(&mut world, token.clone()).unwrap();
    for wanted in [Ok(1), Ok(1), Ok(1)] {
        let command = enrol(&world, "north", "a");
        assert_eq!(code(&mut world, command), wanted);
    }
    let command = enrol(&world, "north", "b");
    assert_eq!(code(&mut world, command), Err("site.enrol"));
    let command = enrol(&world, "south", "a");
    assert_eq!(code(&mut world, command), Err("site.key"), "the key of another site");
    let sites = world.estate.sites();
    assert!(sites.enrolling(SECRET, &"a".repeat(64), world.now).is_some());
    assert!(sites.enrolling(SECRET, &"b".repeat(64), world.now).is_none());
    let mut later_world = world.clone();
    later_world.pass(60);
    let command = enrol(&later_world, "north", "a");
    assert_eq!(code(&mut later_world, command), Err("site.enrol"), "the token would be over");
    // A new token means another machine: the one before it is over.
    let mut newer = token;
    if let sites::Command::IssueToken { secret_sha256, .. } = &mut newer {
        *secret_sha256 = "d".repeat(64);
    }
    code(&mut world, newer).unwrap();
    let command = enrol(&world, "north", "a");
    assert_eq!(code(&mut world, command), Err("site.enrol"));
    assert_eq!(world.replayed(), world.estate);
}

#[test]
fn a_renewal_whose_answer_was_lost_locks_nobody_out() {
    let mut world = World::new();
    let token = sites::Command::IssueToken {
        id: site("north"),
        secret_sha256: SECRET.to_owned(),
        expires_at: later(&world, 60),
    };
    code(&mut world, token).unwrap();
    let identity = |world: &World, key: &str| Identity {
        not_after: later(world, 400 * 86_400),
        ..identity(world, &key.repeat(64))
    };
    let enrol = sites::Command::Enrol {
        id: site("north"),
        secret_sha256: SECRET.to_owned(),
        identity: identity(&world, "a"),
    };
    code(&mut world, enrol).unwrap();
    let renew = |world: &World, with: &str, to: &str| sites::Command::Renew {
        id: site("north"),
        key_sha256: with.repeat(64),
        identity: identity(world, to),
    };
    let believed = |world: &World| -> String {
        let north = world.estate.sites().get(&site("north")).unwrap();
        ["a", "b", "c", "d"]
            .into_iter()
            .filter(|key| north.believes(&key.repeat(64), world.now))
            .collect()
    };
    let command = renew(&world, "a", "b");
    assert_eq!(code(&mut world, command), Ok(1));
    assert_eq!(believed(&world), "ab");
    // `b` never arrived. The site asks again, with another key.
    let command = renew(&world, "a", "c");
    assert_eq!(code(&mut world, command), Ok(1));
    assert_eq!(believed(&world), "ac", "what was never used is over");
    let settle =
        |key: &str| sites::Command::Settle { id: site("north"), key_sha256: key.repeat(64) };
    assert_eq!(code(&mut world, settle("a")), Ok(0), "the one before settles nothing");
    assert_eq!(code(&mut world, settle("c")), Ok(1));
    assert_eq!(code(&mut world, settle("c")), Ok(0));
    assert_eq!(believed(&world), "c");
    let command = renew(&world, "a", "d");
    assert_eq!(code(&mut world, command), Err("site.enrol"));
    // Asking with the new key is using it.
    let command = renew(&world, "c", "d");
    code(&mut world, command).unwrap();
    let command = renew(&world, "d", "a");
    assert_eq!(code(&mut world, command), Ok(2));
    assert_eq!(believed(&world), "ad");
    world.pass(sites::BEFORE_S);
    assert_eq!(believed(&world), "a", "the key before is over after a day");
    let command = renew(&world, "a", "a");
    assert_eq!(code(&mut world, command), Ok(2));
    assert_eq!(believed(&world), "a", "the same key again is nothing new");
    let command = renew(&world, "a", "b");
    code(&mut world, command).unwrap();
    code(&mut world, sites::Command::Revoke { id: site("north") }).unwrap();
    assert_eq!(believed(&world), "", "revoked is revoked, with every key");
    assert_eq!(world.replayed(), world.estate);
}

#[test]
fn what_happened_at_a_site_counts_once_and_without_gaps() {
    let mut world = World::new();
    let happened = |n: usize, what: &str| sites::Happened {
        at: Timestamp::from_secs(1_900_000_000, 0),
        kind: "leases-ended".to_owned(),
        subject: format!("{n}"),
        what: what.to_owned(),
    };
    let tell = |number, happened: Vec<sites::Happened>| sites::Command::Tell {
        id: site("north"),
        number,
        happened,
    };
    assert_eq!(code(&mut world, tell(0, Vec::new())), Ok(0), "there is no batch 0");
    assert_eq!(code(&mut world, tell(2, Vec::new())), Err("site.gap"));
    let refusal = world.command(&Command::Site(tell(2, Vec::new()))).unwrap_err();
    assert!(refusal.why.contains("batch 1 is wanted"), "{refusal}");
    assert_eq!(code(&mut world, tell(1, vec![happened(0, "cut")])), Ok(1));
    assert_eq!(code(&mut world, tell(1, vec![happened(0, "cut")])), Ok(0), "the same again");
    let many = |count| (0..count).map(|n| happened(n, "x")).collect();
    assert_eq!(code(&mut world, tell(2, many(sites::TELL_MAX + 1))), Err("site.batch"));
    // The longest batch goes into the journal in parts that fit, whatever is in it.
    let long = "\u{7}\"ü".repeat(10_000);
    let worst = |n| sites::Happened { kind: long.clone(), what: long.clone(), ..happened(n, "") };
    let parts = code(&mut world, tell(2, (0..sites::TELL_MAX).map(worst).collect())).unwrap();
    assert!(parts > 20, "{parts} parts");
    let north = world.estate.sites().get(&site("north")).unwrap();
    assert_eq!(north.told, 2);
    assert_eq!(north.happened.len(), sites::HAPPENED_MAX);
    let last = north.happened.back().unwrap();
    assert_eq!((last.subject.as_str(), last.what.chars().count()), ("999", 512));
    assert_eq!(world.replayed(), world.estate);
}

fn identity(world: &World, key: &str) -> Identity {
    Identity { key_sha256: key.to_owned(), serial: "01".to_owned(), not_after: later(world, 3_600) }
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
    assert_eq!(code(&mut world, offer(5, 'a')), Ok(0));
    assert_eq!(code(&mut world, offer(4, 'a')), Ok(0), "the same under a number that is over");
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
    assert_eq!(
        code(&mut world, offer(9, 'b')),
        Ok(1),
        "a site was ahead: the same under a higher one"
    );
    let north = world.estate.sites().get(&site("north")).unwrap();
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
