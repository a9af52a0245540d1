//! Payloads of events as version 1 wrote them. They stand in journals for ever: each is read, and written again byte for byte.
//!
//! A fixture never changes. A changed meaning is a new version of the type, with fixtures of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use estate::record::{self, Record};
use estate::{
    Command, Event, commitments, devices, exceptions, identities, leases, policies, releases,
    sites, teams, views,
};
use journal::entry::{Entry, Name, Typed};
use model::Timestamp;

use crate::world::person;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/v1")
}

/// Payloads by the name of their file: the event's word, and after `~` what is special.
fn fixtures() -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        (name, text.trim_end_matches('\n').as_bytes().to_vec())
    };
    files.map(read).collect()
}

fn entry(name: &str, version: u32, payload: Vec<u8>) -> Entry {
    let command = Command::Device(devices::Command::Sweep);
    let record = Record {
        at: Timestamp::from_secs(1_900_000_000, 0),
        who: person(),
        why: "a fixture".to_owned(),
        command,
        evidence: BTreeSet::new(),
        events: Vec::new(),
    };
    let mut entry = record.entries().unwrap().remove(0);
    entry.events = vec![Typed { name: Name::new(name).unwrap(), version, payload }];
    entry
}

/// Every event that has fixtures here; one that is added does not compile until it stands here too.
fn word(event: &Event) -> String {
    let (area, word) = match event {
        Event::Access(event) => ("access", event.word()),
        Event::Site(
            event @ (sites::Event::Created { .. }
            | sites::Event::TokenIssued { .. }
            | sites::Event::Enrolled { .. }
            | sites::Event::Revoked { .. }
            | sites::Event::Offered { .. }
            | sites::Event::Acknowledged { .. }
            | sites::Event::Settled { .. }
            | sites::Event::Told { .. }),
        ) => ("site", event.word()),
        Event::Team(event @ (teams::Event::Set { .. } | teams::Event::Removed { .. })) => {
            ("team", event.word())
        }
        Event::Device(
            event @ (devices::Event::Found(_)
            | devices::Event::Told(_)
            | devices::Event::Moved { .. }
            | devices::Event::Seen { .. }
            | devices::Event::Confused { .. }
            | devices::Event::Edited { .. }
            | devices::Event::Assured { .. }
            | devices::Event::Stale { .. }
            | devices::Event::Retired { .. }
            | devices::Event::Resurfaced { .. }
            | devices::Event::Returned { .. }
            | devices::Event::Merged { .. }
            | devices::Event::KeptApart { .. }
            | devices::Event::TimeoutsSet { .. }),
        ) => ("device", event.word()),
        Event::Policy(event @ policies::Event::Set { .. }) => ("policy", event.word()),
        Event::View(event @ (views::Event::Set { .. } | views::Event::Removed { .. })) => {
            ("view", event.word())
        }
        Event::Exception(
            event @ (exceptions::Event::Added { .. }
            | exceptions::Event::Ended { .. }
            | exceptions::Event::Closed { .. }),
        ) => ("exception", event.word()),
        Event::Lease(event @ leases::Event::Decided(_)) => ("lease", event.word()),
        Event::Commitment(
            event @ (commitments::Event::KeyRegistered { .. }
            | commitments::Event::KeyRevoked { .. }
            | commitments::Event::Committed { .. }
            | commitments::Event::Found { .. }),
        ) => ("commitment", event.word()),
        Event::Identity(
            event @ (identities::Event::TokenIssued { .. }
            | identities::Event::Issued { .. }
            | identities::Event::Refused { .. }
            | identities::Event::Shown { .. }
            | identities::Event::Revoked { .. }
            | identities::Event::Vouched { .. }
            | identities::Event::VoucherEnded { .. }
            | identities::Event::Attested { .. }
            | identities::Event::AttestationFailed { .. }
            | identities::Event::Asked { .. }
            | identities::Event::Answered { .. }
            | identities::Event::Expected { .. }
            | identities::Event::Lapsed { .. }
            | identities::Event::Found { .. }
            | identities::Event::SecretsAdded { .. }
            | identities::Event::SecretRotated { .. }
            | identities::Event::SecretEnded { .. }
            | identities::Event::SecretProved { .. }
            | identities::Event::SecretUnproved { .. }),
        ) => ("identity", event.word()),
        Event::Release(
            event @ (releases::Event::Added { .. }
            | releases::Event::Continued { .. }
            | releases::Event::Withdrawn { .. }),
        ) => ("release", event.word()),
    };
    format!("{area}.{word}")
}

#[test]
fn every_event_of_version_1_is_read_and_written_again() {
    let mut words = BTreeSet::new();
    for (file, payload) in fixtures() {
        let name = file.split('~').next().unwrap();
        let read = record::events(&entry(name, 1, payload.clone()));
        let events = read.unwrap_or_else(|error| panic!("{file}: {error}"));
        let [event] = events.as_slice() else { panic!("{file}: {events:?}") };
        assert_eq!(word(event), name, "{file}");
        words.insert(name.to_owned());
        let record = Record {
            at: Timestamp::from_secs(1_900_000_000, 0),
            who: person(),
            why: "again".to_owned(),
            command: Command::Device(devices::Command::Sweep),
            evidence: BTreeSet::new(),
            events,
        };
        let again = record.entries().unwrap().remove(0).events.remove(0);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(text(&again.payload), text(&payload), "{file}");
        assert_eq!((again.name.as_str(), again.version), (name, 1));
    }
    let all = [
        "commitment.committed",
        "commitment.found",
        "commitment.key-registered",
        "commitment.key-revoked",
        "device.assured",
        "device.confused",
        "device.edited",
        "device.found",
        "device.kept-apart",
        "device.merged",
        "device.moved",
        "device.resurfaced",
        "device.retired",
        "device.returned",
        "device.seen",
        "device.stale",
        "device.timeouts-set",
        "device.told",
        "exception.added",
        "exception.closed",
        "exception.ended",
        "identity.answered",
        "identity.asked",
        "identity.attestation-failed",
        "identity.attested",
        "identity.expected",
        "identity.found",
        "identity.issued",
        "identity.lapsed",
        "identity.refused",
        "identity.revoked",
        "identity.secret-ended",
        "identity.secret-proved",
        "identity.secret-rotated",
        "identity.secret-unproved",
        "identity.secrets-added",
        "identity.shown",
        "identity.token-issued",
        "identity.vouched",
        "identity.voucher-ended",
        "lease.decided",
        "policy.set",
        "release.added",
        "release.continued",
        "release.withdrawn",
        "site.acknowledged",
        "site.created",
        "site.enrolled",
        "site.offered",
        "site.revoked",
        "site.settled",
        "site.token-issued",
        "site.told",
        "team.removed",
        "team.set",
        "view.removed",
        "view.set",
    ];
    assert_eq!(words.iter().map(String::as_str).collect::<Vec<_>>(), all);
}

#[test]
fn what_is_no_event_of_version_1_is_refused() {
    let all = fixtures();
    let payload = all.get("device.resurfaced").unwrap();
    let refused = |name: &str, version, payload: &[u8]| {
        record::events(&entry(name, version, payload.to_vec())).unwrap_err().to_string()
    };
    assert!(refused("device.resurfaced", 2, payload).contains("newer than this program"));
    assert!(refused("planet.resurfaced", 1, payload).contains("no event of an estate"));
    assert!(refused("team.set", 1, payload).contains("team.set"));
    assert!(refused("device.resurfaced", 1, b"{").contains("device.resurfaced"));
    assert!(refused("device.resurfaced", 1, br#"{"event":"resurfaced"}"#).contains("id"));
    assert!(refused("device.told", 1, payload).contains("device.told"), "word and content differ");
}

#[test]
fn a_long_command_is_written_as_its_digest() {
    let long = "x".repeat(200);
    let all = (0..100).map(|n| crate::world::device(&format!("{n}"))).collect();
    let set = BTreeMap::from([(devices::Field::Name, Some(long))]);
    let edit = devices::Edit { set, ..devices::Edit::default() };
    let mut command = devices::Command::Edit { devices: all, edit };
    let payload = |command: &devices::Command| {
        let record = Record {
            at: Timestamp::from_secs(1_900_000_000, 0),
            who: person(),
            why: "long".to_owned(),
            command: Command::Device(command.clone()),
            evidence: BTreeSet::new(),
            events: Vec::new(),
        };
        let entry = record.entries().unwrap().remove(0);
        assert_eq!(entry.command.name.as_str(), "device");
        serde_json::from_slice::<serde_json::Value>(&entry.command.payload).unwrap()
    };
    assert_eq!(payload(&command)["do"], "edit");
    if let devices::Command::Edit { devices, .. } = &mut command {
        *devices = (0..1_000).map(|n| crate::world::device(&format!("{n}"))).collect();
    }
    let digest = payload(&command);
    assert_eq!(digest["do"], serde_json::Value::Null);
    assert_eq!(digest["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(digest["bytes"], serde_json::to_vec(&command).unwrap().len());
}
