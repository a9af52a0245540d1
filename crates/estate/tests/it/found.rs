//! What is found: certificates that are older than the one in use, and who was refused at the door.

use std::net::IpAddr;

use estate::identities::{
    AtDoor, BATCH_MAX, Command, DOOR_MAX, FOUND_MAX, How, Reason, Serial, Showing,
};
use estate::{Event as Any, devices};
use proptest::prelude::*;

use crate::identities::{DAY, Drill, digest, psk};
use crate::world::{device, facts, report};

const OLDER: &str = "identity.older-certificate";

/// The certificate that a device got last.
fn last(drill: &Drill, id: &str) -> Serial {
    let record = drill.world.estate.identities().get(&device(id)).unwrap();
    record.credentials.last().unwrap().serial
}

/// A device shows a certificate: the word of what comes of it.
fn show(drill: &mut Drill, id: &str, serial: Serial) -> Vec<&'static str> {
    shows(drill, &[(id, serial)])
}

fn shows(drill: &mut Drill, all: &[(&str, Serial)]) -> Vec<&'static str> {
    let from = ip("192.0.2.7");
    let one = |(id, serial): &(&str, Serial)| Showing { device: device(id), serial: *serial, from };
    let events = drill.run(Command::Show { batch: all.iter().map(one).collect() }).unwrap();
    let word = |event: &Any| match event {
        Any::Identity(event) => event.word(),
        _ => "another",
    };
    events.iter().map(word).collect()
}

/// It renews with one, for a key.
fn renew(drill: &mut Drill, id: &str, keys: [&str; 2], shown: Serial) -> Result<(), &'static str> {
    let how = How::Renewal { key: digest(keys[0]), shown: Some(shown) };
    drill.enrol(id, keys[1], 30, how)
}

#[test]
fn whoever_shows_an_older_certificate_than_the_one_in_use_is_found_and_renews_no_more() {
    let mut drill = Drill::new();
    drill.with_token("a", "k", 30);
    let first = last(&drill, "a");
    assert_eq!(show(&mut drill, "a", first), [""; 0], "there is no other");
    drill.pass(20 * DAY);
    // The answer is lost, again and again: what came never was shown.
    for _ in 0..2 {
        assert_eq!(renew(&mut drill, "a", ["k", "k"], first), Ok(()));
        assert_eq!(show(&mut drill, "a", first), [""; 0]);
    }
    let lost = drill.world.estate.identities().get(&device("a")).unwrap().credentials[1].serial;
    let third = last(&drill, "a");
    assert_eq!(show(&mut drill, "a", third), ["shown"]);
    assert_eq!(show(&mut drill, "a", third), [""; 0], "once");
    let level = drill.level("a");
    for older in [first, lost] {
        assert_eq!(renew(&mut drill, "a", ["k", "k"], older), Err(OLDER));
    }
    assert_eq!(drill.found(), [(device("a"), OLDER.to_owned())]);
    assert_eq!(show(&mut drill, "a", first), [""; 0], "it was found within the hour");
    drill.pass(3_601);
    assert_eq!(show(&mut drill, "a", first), ["found"]);
    let found = drill.world.estate.identities().found().last().unwrap();
    let what = [
        &format!("192.0.2.7 shows certificate {first}, and {third}"),
        "an older state of the device",
    ];
    assert!(what.iter().all(|part| found.what.contains(*part)), "{}", found.what);
    // Nothing else is taken from it.
    assert_eq!(drill.level("a"), level);
    assert_eq!(renew(&mut drill, "a", ["k", "k"], third), Ok(()));
    assert_eq!(show(&mut drill, "b", third), [""; 0], "another device's is nobody's");
    // Many at once, each as if it came behind those before it; who is not there any more is left out.
    let fourth = last(&drill, "a");
    drill.pass(3_601);
    let all = [("x", first), ("a", fourth), ("a", fourth), ("a", third), ("a", lost)];
    assert_eq!(shows(&mut drill, &all), ["shown", "found"]);
    let many = vec![("a", fourth); BATCH_MAX + 1];
    let from = ip("192.0.2.7");
    let many = many.into_iter().map(|(id, serial)| Showing { device: device(id), serial, from });
    assert_eq!(drill.run(Command::Show { batch: many.collect() }), Err("identity.batch"));
    drill.audit();
}

#[test]
fn an_older_key_does_not_come_back_by_itself_until_a_person_ends_the_newer_one() {
    let mut drill = Drill::new();
    drill.with_token("a", "old", 30);
    let first = last(&drill, "a");
    assert_eq!(renew(&mut drill, "a", ["old", "new"], first), Ok(()));
    let second = last(&drill, "a");
    assert_eq!(drill.enrol("a", "old", 30, How::Grace), Ok(()), "the new one was not shown");
    let grace = last(&drill, "a");
    assert_eq!(show(&mut drill, "a", second), ["shown"]);
    assert_eq!(renew(&mut drill, "a", ["new", "new"], second), Ok(()));
    let third = last(&drill, "a");
    assert_eq!(show(&mut drill, "a", third), ["shown"]);
    assert_eq!(drill.enrol("a", "old", 30, How::Grace), Err(OLDER));
    assert_eq!(renew(&mut drill, "a", ["old", "old"], grace), Err(OLDER));
    drill.audit();
    // It was the thief who had the newer ones.
    let serials = vec![second, third];
    let reason = Reason::KeyCompromise;
    drill.run(Command::Revoke { device: device("a"), serials, reason }).unwrap();
    assert_eq!(show(&mut drill, "a", grace), ["shown"]);
    assert_eq!(renew(&mut drill, "a", ["old", "old"], grace), Ok(()));
    // Two records that are one have the newest of both in use.
    drill.with_token("b", "b", 30);
    let merge = devices::Command::Merge { keep: device("b"), other: device("a") };
    drill.world.command(&estate::Command::Device(merge)).unwrap();
    assert_eq!(show(&mut drill, "b", first), ["found"]);
    drill.audit();
}

#[test]
fn what_is_told_by_the_door_is_found_once_in_an_hour_of_each_device() {
    let mut drill = Drill::new();
    let mut find = |id: &str, seconds: i64| {
        drill.pass(seconds);
        let code = "identity.key-at-two-places".to_owned();
        let found = Command::Find { code, device: device(id), what: "a\ntest".to_owned() };
        drill.run(found).map(|events| events.len())
    };
    let told = [find("a", 0), find("a", 3_599), find("b", 0), find("a", 2), find("x", 0)];
    assert_eq!(told, [Ok(1), Ok(0), Ok(1), Ok(1), Err("device.unknown")]);
    assert_eq!(drill.world.estate.identities().found().next().unwrap().what, "atest");
    drill.audit();
}

fn door(drill: &Drill) -> Vec<(Option<IpAddr>, String, u64)> {
    let all = drill.world.estate.identities().at_door();
    all.map(|one| (one.from, one.code.clone(), one.times)).collect()
}

fn refuse(drill: &mut Drill, code: &str, from: Option<IpAddr>, times: u64) {
    let (code, why) = (format!("identity.{code}"), format!("refused {times}"));
    drill.run(Command::Refuse { code, why, device: None, key: None, from, times }).unwrap();
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_stranger_who_is_refused_is_found_at_the_door_by_network_and_reason() {
    let mut drill = Drill::new();
    let began = drill.world.now;
    refuse(&mut drill, "request", Some(ip("2001:db8::7")), 1);
    refuse(&mut drill, "token", Some(ip("2001:db8::7")), 1);
    refuse(&mut drill, "more-refused", None, 30);
    drill.pass(60);
    refuse(&mut drill, "request", Some(ip("2001:db8::8")), 1);
    refuse(&mut drill, "more-refused", None, 12);
    let (network, code) = (Some(ip("2001:db8::")), |code: &str| format!("identity.{code}"));
    assert_eq!(
        door(&drill),
        [
            (network, code("token"), 1),
            (network, code("request"), 2),
            (None, code("more-refused"), 42)
        ]
    );
    let entry = u64::try_from(drill.world.journal.len()).unwrap() - 2;
    let expected = AtDoor {
        from: network,
        code: code("request"),
        times: 2,
        first: began,
        last: drill.world.now,
        what: "refused 1".to_owned(),
        entry,
    };
    assert_eq!(drill.world.estate.identities().at_door().nth(1), Some(&expected));
    assert_eq!(drill.found(), [], "it is no device's");
    // A wrong secret: of an identity that there is, and of none.
    let secrets = vec![psk(&drill, "a", "s")];
    drill.run(Command::AddSecrets { secrets }).unwrap();
    for name in ["a", "nobody"] {
        let fail = Command::FailSecret { name: name.to_owned(), from: ip("192.0.2.7") };
        drill.run(fail).unwrap();
    }
    assert_eq!(drill.found(), [(device("a"), code("psk"))]);
    assert_eq!(door(&drill)[3], (Some(ip("192.0.2.7")), code("psk"), 1));
    drill.audit();
}

#[test]
fn a_flood_at_the_door_pushes_out_its_own_kind_and_nothing_about_devices() {
    let mut drill = Drill::new();
    let code = "identity.key-taken".to_owned();
    drill.run(Command::Find { code, device: device("a"), what: "a copy".to_owned() }).unwrap();
    refuse(&mut drill, "certificate", Some(ip("192.0.2.7")), 1);
    for n in 0..u32::try_from(DOOR_MAX).unwrap() + 5 {
        refuse(&mut drill, "request", Some(IpAddr::from((0x0a00_0000 + n).to_be_bytes())), 1);
    }
    let all = door(&drill);
    assert_eq!(all.len(), DOOR_MAX);
    assert_eq!(all[0].1, "identity.certificate", "few of a kind stay");
    assert_eq!(all[1].0, Some(ip("10.0.0.6")), "the oldest of the many are gone");
    // Whoever is known already pushes out nobody.
    refuse(&mut drill, "request", Some(ip("10.0.0.6")), 1);
    assert_eq!((door(&drill).len(), door(&drill)[DOOR_MAX - 1].2), (DOOR_MAX, 2));
    assert_eq!(drill.found().len(), 1);
    // A fleet that goes to and fro pushes out no copied key either.
    let now = drill.world.now;
    let ids: Vec<String> = (0..=FOUND_MAX).map(|n| format!("d{n}")).collect();
    for part in ids.chunks(500) {
        let all = part.iter().map(|id| facts(id, id, &[&format!("serial/x/{id}")], now));
        drill.world.command(&report("north", "sensor", all.collect())).unwrap();
    }
    for id in &ids {
        let code = "identity.key-at-two-places".to_owned();
        let find = Command::Find { code, device: device(id), what: "twice".to_owned() };
        assert_eq!(drill.run(find).unwrap().len(), 1);
    }
    let found = drill.found();
    assert_eq!((found.len(), found[0].1.as_str()), (FOUND_MAX, "identity.key-taken"));
    drill.audit();
}

#[derive(Clone, Debug)]
enum Step {
    /// It renews with one of its certificates, for the same key.
    Renew(usize),
    Show(usize),
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..8_usize).prop_map(Step::Renew),
        3 => (0..8_usize).prop_map(Step::Show),
        1 => (3_601..5 * DAY).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is older than a good one that was shown is refused and found, and nothing else is.
    #[test]
    fn only_what_is_older_than_what_was_shown_is_refused(steps in prop::collection::vec(step(), 1..40)) {
        let mut drill = Drill::new();
        drill.with_token("a", "k", 30);
        let mut shown: Vec<Serial> = Vec::new();
        for step in steps {
            let record = drill.world.estate.identities().get(&device("a")).unwrap();
            let (own, now) = (record.credentials.clone(), drill.world.now);
            let older = |n: usize| own[n + 1..].iter().any(|c| c.is_good(now) && shown.contains(&c.serial));
            match step {
                Step::Renew(n) if n < own.len() => {
                    let done = renew(&mut drill, "a", ["k", "k"], own[n].serial);
                    let good = own.iter().any(|c| c.is_good(now));
                    match done {
                        Ok(()) => prop_assert!(!older(n) && good),
                        Err(OLDER) => prop_assert!(older(n)),
                        Err(other) => prop_assert!(other == "identity.pace" || !good, "{other}"),
                    }
                }
                // Nobody is let in with one that is over.
                Step::Show(n) if n < own.len() && own[n].is_good(now) => {
                    let words = show(&mut drill, "a", own[n].serial);
                    prop_assert!(!words.contains(&"found") || older(n));
                    prop_assert!(!words.contains(&"shown") || !older(n));
                    shown.push(own[n].serial);
                }
                Step::Renew(_) | Step::Show(_) => {}
                Step::Pass(seconds) => drill.pass(seconds),
            }
        }
        let all = drill.world.estate.identities().found().all(|found| found.code == OLDER || found.code == "identity.pace");
        prop_assert!(all);
        drill.audit();
    }
}
