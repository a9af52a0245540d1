//! Proofs that a device sent a message: made from a batch or a path, shown to somebody who believes a key only, and every flipped byte found.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crypto::{PrivateKey, Provider};
use estate::commitments::proof::{Disproved, MessageProof, Step};
use estate::commitments::{Event, PublicKey, Sent};
use journal::Hash;
use journal::checkpoint::SignedCheckpoint;
use journal::commitment::{Class, Commitment, Key, NOTHING, Signed, prove, root};
use journal::policy::Policy;
use model::DeviceId;
use pki::{KeyKind, Signer as _};

use crate::{Ran, folder};

fn journal(here: &Path, arguments: &str) -> Ran {
    with(here, &arguments.split_whitespace().collect::<Vec<_>>())
}

fn with(here: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.arg("journal").args(arguments).current_dir(here).env("NO_COLOR", "1");
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

fn id(text: &str) -> DeviceId {
    DeviceId::new(text).unwrap()
}

/// A device with its key.
struct Device {
    name: &'static str,
    key: PrivateKey,
}

impl Device {
    fn new(name: &'static str) -> Self {
        Self { name, key: PrivateKey::generate(KeyKind::Ed25519).unwrap().0 }
    }

    fn public(&self) -> PublicKey {
        PublicKey(Key::Ed25519(self.key.public().bytes.try_into().unwrap()))
    }

    fn registers(&self, gateway: Option<&str>) -> Event {
        let (device, gateway) = (id(self.name), gateway.map(id));
        Event::KeyRegistered { device, gateway, key: self.public(), epoch: 0 }
    }

    fn commits(&self, class: Class, first: u64, messages: &[Vec<u8>]) -> Signed {
        let commitment = Commitment {
            class,
            key: self.public().0.id(),
            device: self.name.to_owned(),
            epoch: 0,
            first,
            last: first + u64::try_from(messages.len()).unwrap() - 1,
            previous: NOTHING,
            root: root(messages),
        };
        let signature = self.key.sign(&commitment.message().unwrap()).unwrap().try_into().unwrap();
        Signed { commitment, signature }
    }
}

fn append(here: &Path, event: &Event) {
    let says = format!("commitment.{}={}", event.word(), serde_json::to_string(event).unwrap());
    let words =
        ["append", "j", "--command", "commitment", "--who", "site:w1", "--why", "x", "--event"];
    let ran = with(here, &[&words[..], &[&says]].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

fn committed(all: &[&Signed]) -> Event {
    Event::Committed { commitments: all.iter().map(|signed| Sent((*signed).clone())).collect() }
}

fn messages() -> Vec<Vec<u8>> {
    (0..7).map(|n| format!("{{\"weight\":{n}}}").into_bytes()).collect()
}

/// Two devices and a gateway that commit in one entry, behind and before others.
fn world(test: &str) -> (PathBuf, Device) {
    let here = folder(test);
    assert_eq!(journal(&here, "new j --origin example.com/journal").code, 0);
    let (scale, pump, seen) = (Device::new("scale-2"), Device::new("pump"), Device::new("old-plc"));
    append(&here, &pump.registers(None));
    append(&here, &scale.registers(None));
    append(&here, &seen.registers(Some("gate-1")));
    // The same messages, so that nothing but the commitment tells them apart.
    let batch = messages();
    let [one, two] = [&scale, &pump].map(|device| device.commits(Class::Device, 10, &batch));
    let three = seen.commits(Class::Gateway, 10, &batch);
    append(&here, &committed(&[&two, &one, &three]));
    append(&here, &pump.registers(None));
    let long: Vec<u8> = batch
        .iter()
        .flat_map(|m| [&u32::try_from(m.len()).unwrap().to_be_bytes(), m.as_slice()].concat())
        .collect();
    fs::write(here.join("batch.bin"), &long).unwrap();
    fs::write(here.join("batch.txt"), [batch.join(&b'\n'), b"\n".to_vec()].concat()).unwrap();
    (here, scale)
}

#[test]
fn a_message_is_proved_from_its_batch_or_its_path_and_shown_to_somebody_else() {
    let (here, _) = world("message-proof");
    let ran = journal(&here, "prove j --device scale-2 --sequence 13 --batch batch.bin");
    assert_eq!((ran.code, ran.out.as_str()), (0, "3-13.message-proof\n"), "{}", ran.err);
    let proof = fs::read(here.join("3-13.message-proof")).unwrap();
    let ran = journal(&here, "prove j --device scale-2 --sequence 13 --batch batch.txt --lines");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(fs::read(here.join("3-13.message-proof")).unwrap(), proof);
    // Who holds only the message and its path.
    let path: String =
        prove(&messages(), 3).unwrap().iter().map(|h| format!("{}\n", h.to_base64())).collect();
    fs::write(here.join("path"), path).unwrap();
    fs::write(here.join("message"), &messages()[3]).unwrap();
    fs::create_dir(here.join("shown")).unwrap();
    let given = "prove j --device scale-2 --sequence 13 --message message --path path --to shown";
    assert_eq!(journal(&here, given).code, 0);
    assert_eq!(fs::read(here.join("shown/3-13.message-proof")).unwrap(), proof);

    // Somebody else has the proof and the log's key, and nothing more.
    fs::copy(here.join("j/log.vkey"), here.join("shown/key")).unwrap();
    let shown = here.join("shown");
    let ran = journal(&shown, "verify 3-13.message-proof --key key");
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let lines: Vec<String> = ran.out.lines().map(same).collect();
    insta::assert_snapshot!("message-proof", lines.join("\n"));
    let ran = journal(&shown, "verify 3-13.message-proof --key key -o json");
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&said["proven"], &said["class"]), (&true.into(), &"device".into()));
    assert_eq!((&said["entry"], &said["registered"]["entry"]), (&3.into(), &1.into()));
    let ran = journal(&shown, "verify 3-13.message-proof");
    assert_eq!(ran.code, 64, "{}", ran.err);

    // What a gateway saw binds the gateway, and that is what is said.
    let ran = journal(&here, "prove j --device old-plc --sequence 10 --batch batch.bin --gateway");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ran = journal(&here, "verify 3-10.message-proof --key j/log.vkey");
    assert!(
        ran.out.contains("gateway gate-1 says that device old-plc sent message 10"),
        "{}",
        ran.out
    );
}

/// A line without what is other at every run.
fn same(line: &str) -> String {
    let hash = |word: &str| word.len() >= 43 && !word.contains(['-', ':']);
    let words = line.split(' ').map(|word| match word {
        _ if hash(word) => "HASH".to_owned(),
        _ if word.starts_with("20") && word.contains('T') => "TIME".to_owned(),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_cannot_be_proved_is_refused_with_why() {
    let (here, _) = world("message-proof-refused");
    let refused = |arguments: &str, code, says: &str| {
        let ran = journal(&here, arguments);
        assert_eq!(ran.code, code, "{arguments}: {}{}", ran.out, ran.err);
        let err = ran.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(err.contains(says), "{arguments}: {err}");
        assert!(!here.join("3-13.message-proof").exists(), "{arguments}");
    };
    let of = "prove j --device scale-2";
    refused(of, 64, "--sequence");
    refused(&format!("{of} --sequence 13"), 64, "--batch");
    refused("prove j", 64, "ENTRY");
    refused("prove j 3 --device scale-2 --sequence 1 --batch batch.bin", 64, "cannot be used");
    refused(&format!("{of} --sequence 13 --message batch.txt"), 64, "--path");
    refused(&format!("{of} --sequence 9 --batch batch.bin"), 3, "covers message 9");
    refused(&format!("{of} --sequence 17 --batch batch.bin"), 3, "covers message 17");
    refused(&format!("{of} --sequence 13 --epoch 1 --batch batch.bin"), 3, "covers message 13");
    refused("prove j --device nobody --sequence 13 --batch batch.bin", 3, "device nobody");
    refused("prove j --device pump --sequence 13 --gateway --batch batch.bin", 3, "device pump");
    refused(&format!("{of} --sequence 13 --batch nothing"), 3, "nothing is not there");
    refused(&format!("{of} --sequence 13 --batch batch.txt"), 1, "big end first");
    refused(&format!("{of} --sequence 13 --batch batch.bin --lines"), 1, "the batch has 7");
    let mut other = messages();
    other[0] = b"{\"weight\":99}".to_vec();
    fs::write(here.join("other.txt"), other.join(&b'\n')).unwrap();
    refused(&format!("{of} --sequence 13 --batch other.txt --lines"), 1, "not those of the batch");
    // A path that leads elsewhere makes no proof.
    fs::write(here.join("path"), format!("{}\n", Hash::of(b"x").to_base64())).unwrap();
    fs::write(here.join("message"), &messages()[3]).unwrap();
    let given = format!("{of} --sequence 13 --message message --path path");
    refused(&given, 1, "would fail at the step message");
    fs::write(here.join("path"), "x\n").unwrap();
    refused(&given, 1, "path");
}

#[test]
fn every_flipped_byte_is_found_and_its_step_is_named() {
    let (here, _) = world("message-proof-flips");
    assert_eq!(journal(&here, "prove j --device scale-2 --sequence 13 --batch batch.bin").code, 0);
    let file = here.join("3-13.message-proof");
    let good = fs::read(&file).unwrap();
    let vkey = fs::read_to_string(here.join("j/log.vkey")).unwrap();
    let policy = Policy::log_alone(vkey.trim_end().parse().unwrap());
    let judge = |bytes: &[u8]| {
        let read = MessageProof::decode(bytes).map_err(Disproved::form)?;
        read.verify(&policy, &Provider, &Provider)
    };
    judge(&good).unwrap();
    let mut steps = BTreeSet::new();
    for at in 0..good.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            match judge(&bad) {
                Err(disproved) => drop(steps.insert(disproved.step)),
                Ok(_) => panic!("byte {at} with {flip:#x} is not found"),
            }
        }
    }
    // What a flip can hit; others take somebody who writes a whole proof.
    use Step::{Checkpoint, Commitment, Entry, Form, Message, Registration, Seal};
    for step in [Form, Checkpoint, Entry, Commitment, Registration, Message, Seal] {
        assert!(steps.contains(&step), "{step:?} is not among {steps:?}");
    }
    // A line by a witness that nobody knows proves nothing, and cannot be changed unseen all the same.
    let mut cosigned = MessageProof::decode(&good).unwrap().proof;
    let note = cosigned.checkpoint.encode();
    let line = note.lines().last().unwrap().replace("example.com/journal", "w.example/w");
    let note = format!("{note}{line}\n");
    cosigned.checkpoint = SignedCheckpoint::decode(note.as_bytes()).unwrap();
    let cosigned = cosigned.encode().unwrap().into_bytes();
    assert_eq!(judge(&cosigned).unwrap().believed.unknown.len(), 1);
    for at in cosigned.len() - line.len() - 1..cosigned.len() {
        let mut bad = cosigned.clone();
        bad[at] ^= 0x01;
        assert!(judge(&bad).is_err(), "byte {at} is not found");
    }
    for cut in 0..good.len() {
        assert!(judge(&good[..cut]).is_err(), "{cut} bytes");
    }
    assert!(judge(&[&good[..], b"\n"].concat()).is_err());
    // The command says it, and where.
    let text = String::from_utf8(good.clone()).unwrap();
    for (from, to, step) in [
        ("sequence 13", "sequence 12", "message"),
        ("sequence 13", "sequence 99", "message"),
        ("sequence 13", "sequence 013", "form"),
        ("index 3", "index 2", "entry"),
        ("index 1", "index 0", "registration"),
        ("index 1\n", "index 4\n", "registration"),
        ("ringfence message", "ringfence massage", "form"),
        ("\nexample.com", "\nexample.org", "checkpoint"),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        let ran = journal(&here, "verify 3-13.message-proof --key j/log.vkey");
        assert_eq!(ran.code, 1, "{from} {to}: {}", ran.out);
        assert!(ran.out.contains(&format!("the step `{step}` fails")), "{from} {to}: {}", ran.out);
    }
    fs::write(&file, text.replacen("sequence 13", "sequence 12", 1)).unwrap();
    let ran = journal(&here, "verify 3-13.message-proof --key j/log.vkey -o json");
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&said["proven"], &said["step"]), (&false.into(), &"message".into()));
}

#[test]
fn a_proof_that_somebody_writes_anew_fails_where_it_lies() {
    let (here, scale) = world("message-proof-forged");
    assert_eq!(journal(&here, "prove j --device scale-2 --sequence 13 --batch batch.bin").code, 0);
    let good = fs::read(here.join("3-13.message-proof")).unwrap();
    let vkey = fs::read_to_string(here.join("j/log.vkey")).unwrap();
    let policy = Policy::log_alone(vkey.trim_end().parse().unwrap());
    let good = MessageProof::decode(&good).unwrap().proof;
    let judge = |proof: &MessageProof| {
        let text = proof.encode().unwrap();
        let read = MessageProof::decode(text.as_bytes()).unwrap();
        read.verify(&policy, &Provider, &Provider).unwrap_err().step
    };
    let mut lie = good.clone();
    lie.message = b"{\"weight\":1000}".to_vec();
    assert_eq!(judge(&lie), Step::Message);
    // Another device's commitment to the same messages, under the key of this one.
    let pump = journal(&here, "prove j --device pump --sequence 13 --batch batch.bin");
    assert_eq!(pump.code, 0, "{}", pump.err);
    let pump = fs::read(here.join("3-13.message-proof")).unwrap();
    let pump = MessageProof::decode(&pump).unwrap().proof;
    let mut lie = good.clone();
    lie.commitment = pump.commitment;
    assert_eq!(judge(&lie), Step::Key);
    let mut lie = good.clone();
    lie.commitment = scale.commits(Class::Device, 10, &[b"x".to_vec()]).commitment.hash().unwrap();
    assert_eq!(judge(&lie), Step::Commitment);
    let mut lie = good.clone();
    lie.registered = lie.committed.clone();
    assert_eq!(judge(&lie), Step::Registration);
    let mut lie = good.clone();
    lie.registered = pump.registered;
    assert_eq!(judge(&lie), Step::Key);

    // A log that takes a commitment with a bad signature proves what the log did, and nothing about the device.
    let mut bad = scale.commits(Class::Device, 20, &messages());
    bad.signature[7] ^= 1;
    append(&here, &committed(&[&bad]));
    let ran = journal(&here, "prove j --device scale-2 --sequence 21 --batch batch.bin");
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.err.contains("signature"), "{}", ran.err);
    // Nor one that registers the key after what it signed.
    let late = Device::new("late");
    append(&here, &committed(&[&late.commits(Class::Device, 0, &messages())]));
    append(&here, &late.registers(None));
    let ran = journal(&here, "prove j --device late --sequence 1 --batch batch.bin");
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.err.contains("no entry before it registers"), "{}", ran.err);
}
