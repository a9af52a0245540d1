//! Secrets that devices share with somebody: inventory, findings, and what a proved one shows for how long.

use estate::devices;
use estate::identities::{
    Command, Event, How, Limit, NewSecret, PROVED_S_MAX, SECRETS_AT_ONCE_MAX, SECRETS_OF_ONE_MAX,
    SecretKind, SecretName,
};
use model::Assurance::{DeviceKey, Observed, SharedSecret};

use crate::identities::{DAY, Drill, digest, psk};
use crate::world::device;

fn add(drill: &mut Drill, id: &str, secret: &str) -> Result<Vec<estate::Event>, &'static str> {
    let secret = psk(drill, id, secret);
    tell(drill, secret)
}

fn tell(drill: &mut Drill, secret: NewSecret) -> Result<Vec<estate::Event>, &'static str> {
    drill.run(Command::AddSecrets { secrets: vec![secret] })
}

fn prove(drill: &mut Drill, id: &str, secret: &str, seconds: i64) -> Result<usize, &'static str> {
    let (name, secret, until) = (id.to_owned(), digest(secret), drill.after(seconds));
    drill.run(Command::ProveSecret { name, secret, until }).map(|events| events.len())
}

fn found(drill: &Drill) -> Vec<(&str, &str)> {
    let found = drill.world.estate.identities().found();
    found.map(|found| (found.code.as_str(), found.device.as_str())).collect()
}

#[test]
fn a_proved_secret_puts_a_device_there_until_it_ends() {
    let mut drill = Drill::new();
    add(&mut drill, "a", "s").unwrap();
    assert_eq!(drill.level("a"), (Observed, Limit::Evidence), "to be told is no proof");
    assert_eq!(prove(&mut drill, "a", "other", DAY), Err("identity.psk"));
    assert_eq!(prove(&mut drill, "b", "s", DAY), Err("identity.psk"));
    assert_eq!(prove(&mut drill, "a", "s", PROVED_S_MAX + 1), Err("identity.psk-life"));
    assert_eq!(prove(&mut drill, "a", "s", 0), Err("identity.psk-life"));
    assert_eq!(prove(&mut drill, "a", "s", DAY), Ok(2));
    assert_eq!(drill.level("a"), (SharedSecret, Limit::Credential));
    drill.audit();
    // Again and again is no news; a while later it is.
    drill.pass(60);
    assert_eq!(prove(&mut drill, "a", "s", DAY), Ok(0));
    drill.pass(7_200);
    assert_eq!(prove(&mut drill, "a", "s", DAY), Ok(1));
    drill.pass(DAY - 1);
    assert_eq!(drill.level("a"), (SharedSecret, Limit::Credential));
    drill.pass(1);
    assert_eq!(drill.level("a"), (Observed, Limit::Freshness));
    assert_eq!(prove(&mut drill, "a", "s", DAY), Ok(2));
    drill.audit();
}

#[test]
fn it_falls_with_its_secret_and_with_the_device() {
    for way in 0..3 {
        let mut drill = Drill::new();
        let secret = psk(&drill, "a", "s");
        tell(&mut drill, secret.clone()).unwrap();
        prove(&mut drill, "a", "s", DAY).unwrap();
        match way {
            0 => {
                let new = NewSecret { digest: digest("s2"), ..secret.clone() };
                drill.run(Command::RotateSecret { secret: new }).unwrap();
                let secrets = drill.world.estate.identities().secrets().of(&device("a"));
                assert_eq!((secrets.len(), secrets[0].digest), (1, digest("s2")));
            }
            1 => drop(drill.run(Command::EndSecret { of: secret.of.clone() }).unwrap()),
            _ => {
                let retire = devices::Command::Retire { devices: vec![device("a")] };
                drill.world.command(&estate::Command::Device(retire)).unwrap();
                assert_eq!(prove(&mut drill, "a", "s", DAY), Err("device.retired"));
            }
        }
        // Who is retired has no level at all.
        assert!(way == 2 || drill.level("a").0 == Observed, "{way}");
        assert!(prove(&mut drill, "a", "s", DAY).is_err());
        drill.audit();
    }
}

#[test]
fn one_secret_on_two_devices_is_found_and_shows_nothing() {
    let mut drill = Drill::new();
    add(&mut drill, "a", "s").unwrap();
    prove(&mut drill, "a", "s", DAY).unwrap();
    add(&mut drill, "b", "s").unwrap();
    assert_eq!(found(&drill), [("identity.secret-shared", "b")]);
    assert_eq!(drill.level("a").0, Observed, "what it proved could be b's");
    assert_eq!(prove(&mut drill, "a", "s", DAY), Err("identity.psk-shared"));
    let how = |name: &str| How::Psk { name: name.to_owned(), secret: digest("s") };
    assert_eq!(drill.enrol("a", "k", 30, how("a")), Err("identity.psk-shared"));
    drill.audit();
    // A password that is a key of another device, in one list with others.
    let of = |id: &str, name: &str| SecretName {
        device: device(id),
        kind: SecretKind::MqttPassword,
        name: name.to_owned(),
    };
    let secrets = ["a", "b", "gw"].map(|id| NewSecret {
        of: of(id, "fleet"),
        digest: digest("hunter2"),
        ..psk(&drill, id, "")
    });
    drill.run(Command::AddSecrets { secrets: secrets.to_vec() }).unwrap();
    let all = [
        ("identity.secret-shared", "b"),
        ("identity.psk-shared", "a"),
        ("identity.secret-shared", "gw"),
    ];
    assert_eq!(found(&drill), all, "one finding, whatever the devices");
    // Each has its own again.
    let new = NewSecret { digest: digest("s2"), ..psk(&drill, "b", "") };
    drill.run(Command::RotateSecret { secret: new }).unwrap();
    assert_eq!(prove(&mut drill, "a", "s", DAY), Ok(2));
    drill.audit();
}

#[test]
fn a_secret_is_told_once_and_has_bounds() {
    let mut drill = Drill::new();
    let one = psk(&drill, "a", "s");
    let with = |change: &dyn Fn(&mut NewSecret)| {
        let mut secret = one.clone();
        change(&mut secret);
        secret
    };
    let later = drill.after(DAY);
    for (wrong, code) in [
        (with(&|s| s.rotate_days = 0), "identity.secret"),
        (with(&|s| s.rotate_days = 3_651), "identity.secret"),
        (with(&|s| s.since = later), "identity.secret"),
        (with(&|s| s.of.name.clear()), "identity.secret"),
        (with(&|s| s.of.name = "a:b".to_owned()), "identity.secret"),
        (with(&|s| s.of.name = "x".repeat(129)), "identity.secret"),
        (with(&|s| s.of.device = device("nobody")), "device.unknown"),
    ] {
        assert_eq!(tell(&mut drill, wrong).unwrap_err(), code);
    }
    assert_eq!(tell(&mut drill, one.clone()).unwrap().len(), 1);
    assert_eq!(tell(&mut drill, one.clone()).unwrap(), [], "it was so already");
    assert_eq!(tell(&mut drill, with(&|s| s.digest = digest("t"))), Err("identity.secret"));
    assert_eq!(tell(&mut drill, with(&|s| s.of.device = device("b"))), Err("identity.secret"));
    let same = Command::RotateSecret { secret: one.clone() };
    assert_eq!(drill.run(same), Err("identity.secret-same"));
    let none = SecretName { kind: SecretKind::Oscore, ..one.of.clone() };
    assert_eq!(drill.run(Command::EndSecret { of: none }), Err("identity.secret-unknown"));

    let many = |count: usize| -> Vec<NewSecret> {
        let named = |n: usize| {
            with(&|s| {
                s.of.kind = SecretKind::Oscore;
                s.of.name = n.to_string();
                s.digest = digest(&n.to_string());
            })
        };
        (0..count).map(named).collect()
    };
    let full = Command::AddSecrets { secrets: many(SECRETS_OF_ONE_MAX) };
    assert_eq!(drill.run(full), Err("identity.secrets"));
    let long = Command::AddSecrets { secrets: many(SECRETS_AT_ONCE_MAX + 1) };
    assert_eq!(drill.run(long), Err("identity.secrets"));
    let fits = Command::AddSecrets { secrets: many(SECRETS_OF_ONE_MAX - 1) };
    drill.run(fits).unwrap();
    assert_eq!(drill.world.estate.identities().secrets().len(), SECRETS_OF_ONE_MAX);
    drill.audit();
}

#[test]
fn a_certificate_for_whoever_knows_the_secret_and_a_finding_for_a_second_key() {
    let mut drill = Drill::new();
    add(&mut drill, "a", "s").unwrap();
    let how = |secret: &str| How::Psk { name: "a".to_owned(), secret: digest(secret) };
    assert_eq!(drill.enrol("a", "k1", 30, how("t")), Err("identity.psk"));
    assert_eq!(drill.enrol("b", "k1", 30, how("s")), Err("identity.psk"), "it is a's");
    assert_eq!(drill.enrol("a", "k1", 30, how("s")), Ok(()));
    assert_eq!(drill.level("a"), (DeviceKey, Limit::Credential));
    assert_eq!(drill.enrol("a", "k1", 30, how("s")), Ok(()), "the answer was lost");
    let wrong = [("identity.psk", "a"), ("identity.psk", "b")];
    assert_eq!(found(&drill), wrong);
    assert_eq!(drill.enrol("a", "k2", 30, how("s")), Ok(()));
    assert_eq!(found(&drill)[2..], [("identity.psk-again", "a")]);
    drill.audit();
}

#[test]
fn a_wrong_secret_is_written_down_and_found_once_an_hour() {
    let mut drill = Drill::new();
    add(&mut drill, "a", "s").unwrap();
    let from = "192.0.2.7".parse().unwrap();
    let fail = |drill: &mut Drill, name: &str| {
        drill.run(Command::FailSecret { name: name.to_owned(), from }).unwrap().len()
    };
    assert_eq!(fail(&mut drill, "nobody"), 1, "there is no device that it concerns");
    assert_eq!(fail(&mut drill, "a"), 2);
    assert_eq!(fail(&mut drill, "a"), 1);
    drill.pass(3_601);
    assert_eq!(fail(&mut drill, "a"), 2);
    assert_eq!(found(&drill), [("identity.psk", "a"); 2]);
    let last = drill.world.estate.identities().found().last().unwrap();
    assert!(last.what.contains("192.0.2.7"), "{}", last.what);
    drill.audit();
}

#[test]
fn two_records_that_are_one_device_share_no_secret() {
    let mut drill = Drill::new();
    for id in ["a", "b"] {
        add(&mut drill, id, "s").unwrap();
    }
    let merge = devices::Command::Merge { keep: device("a"), other: device("b") };
    drill.world.command(&estate::Command::Device(merge)).unwrap();
    let secrets = drill.world.estate.identities().secrets();
    assert_eq!(secrets.of(&device("a")).len(), 2);
    assert!(!secrets.is_shared(&digest("s")));
    assert_eq!(prove(&mut drill, "b", "s", DAY), Ok(2));
    assert_eq!(drill.level("a").0, SharedSecret);
    let gone = |event: &Event| matches!(event, Event::SecretsAdded { .. });
    let again = add(&mut drill, "b", "s").unwrap();
    assert!(!again.iter().any(|e| matches!(e, estate::Event::Identity(e) if gone(e))));
    drill.audit();
}
