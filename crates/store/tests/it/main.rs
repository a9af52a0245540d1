//! Stores and logs from the outside.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on says where"
)]

mod conformance;
mod crash;
mod full;
mod log;
mod side;
mod sqlite;
mod witnesses;

use std::path::{Path, PathBuf};

use crypto::{NoteKey, PrivateKey};
use journal::KeyName;
use journal::entry::{Actor, Entry, Name, Typed};
use journal::policy::Policy;
use journal::{SignatureType, VerifierKey};
use model::Timestamp;

/// An empty folder named after the test.
fn folder(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("the build folder is writable");
    path
}

fn origin() -> KeyName {
    KeyName::new("example.com/journal").unwrap()
}

/// The text of a new key.
fn new_key() -> String {
    PrivateKey::generate(pki::KeyKind::Ed25519).unwrap().1
}

fn key(pem: &str) -> NoteKey {
    NoteKey::try_from(PrivateKey::from_pem(pem.as_bytes()).unwrap()).unwrap()
}

/// Who believes the log of a key.
fn policy(pem: &str) -> Policy {
    let key = VerifierKey::of(origin(), SignatureType::Ed25519, &key(pem)).unwrap();
    Policy::log_alone(key)
}

/// An entry that differs from others by `n` and `branch`.
fn entry(n: u64, branch: &str) -> Entry {
    Entry {
        at: Timestamp::from_nanos(i64::try_from(n).unwrap()),
        who: Actor { kind: Name::new("person").unwrap(), id: "p-1".to_owned() },
        command: Typed {
            name: Name::new("device.retire").unwrap(),
            version: 1,
            payload: format!("{branch}/{n}").into_bytes(),
        },
        why: "it is old".to_owned(),
        evidence: [].into(),
        events: Vec::new(),
    }
}

fn bytes(n: u64, branch: &str) -> Vec<u8> {
    entry(n, branch).encode().unwrap()
}
