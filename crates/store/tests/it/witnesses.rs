//! A log with witnesses: what is published, what waits, and what is never signed. The witnesses are real; the wire is not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crypto::{NoteKey, Provider};
use journal::checkpoint::SignedCheckpoint;
use journal::policy::Policy;
use journal::quorum::{Answer, Failure};
use journal::witness::{AddCheckpoint, Witness};
use journal::{KeyName, SignatureType, VerifierKey};
use store::{Disk, Expect, Log, LogError, Memory, Opened, Places, Sqlite, Wire, Witnesses};

use crate::{entry, folder, key, new_key, origin};

/// Witnesses `0`, `1`, … at `http://N/`.
#[derive(Default)]
struct Party {
    witnesses: Vec<Mutex<(KeyName, NoteKey, Witness)>>,
    away: Mutex<BTreeSet<usize>>,
    requests: AtomicU64,
}

impl Party {
    fn new(of: usize, pem: &str) -> Arc<Self> {
        let log = VerifierKey::of(origin(), SignatureType::Ed25519, &key(pem)).unwrap();
        let witness = |n: usize| {
            let name = KeyName::new(&format!("w{n}.example")).unwrap();
            Mutex::new((name, key(&new_key()), Witness::new([log.clone()])))
        };
        Arc::new(Self { witnesses: (0..of).map(witness).collect(), ..Self::default() })
    }

    fn policy(&self, quorum: usize, pem: &str) -> Policy {
        let log = VerifierKey::of(origin(), SignatureType::Ed25519, &key(pem)).unwrap();
        let mut text = format!("log {log}\n");
        let mut names = String::new();
        for (n, held) in self.witnesses.iter().enumerate() {
            let held = held.lock().unwrap();
            let vkey =
                VerifierKey::of(held.0.clone(), SignatureType::CosignatureV1, &held.1).unwrap();
            text.push_str(&format!("witness w{n} {vkey} http://{n}\n"));
            names.push_str(&format!(" w{n}"));
        }
        text.push_str(&format!("group q {quorum}{names}\nquorum q\n"));
        text.parse().unwrap()
    }

    fn set_away(&self, away: &[usize]) {
        *self.away.lock().unwrap() = away.iter().copied().collect();
    }
}

impl Wire for Party {
    fn post(&self, url: &str, body: String) -> Result<Answer, String> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let n = url.strip_prefix("http://").unwrap().strip_suffix("/add-checkpoint").unwrap();
        let n: usize = n.parse().unwrap();
        if self.away.lock().unwrap().contains(&n) {
            return Err("no route to it".to_owned());
        }
        let request = AddCheckpoint::decode(body.as_bytes()).unwrap();
        let mut held = self.witnesses[n].lock().unwrap();
        let (name, key, witness) = &mut *held;
        let outcome = witness.judge(&request, &Provider).and_then(|grant| witness.commit(grant));
        Ok(match outcome {
            Ok(committed) => {
                let line = committed.cosign(1_800_000_000, name, key).unwrap().line();
                Answer { status: 200, kind: None, body: line.into_bytes() }
            }
            Err(refusal) => {
                let kind = refusal.last_size().map(|_| "text/x.tlog.size".to_owned());
                let body = refusal.last_size().map_or(refusal.to_string(), |n| format!("{n}\n"));
                Answer { status: refusal.status(), kind, body: body.into_bytes() }
            }
        })
    }
}

fn witnesses(party: &Arc<Party>, quorum: usize, pem: &str, now: u64) -> Witnesses {
    let wire = Arc::clone(party) as Arc<dyn Wire>;
    let policy = party.policy(quorum, pem);
    Witnesses::new(policy, wire, Box::new(Provider), Box::new(move || now))
}

fn open(at: &Path, pem: &str, witnesses: Option<Witnesses>) -> Log<Sqlite, Disk> {
    let store = Sqlite::open(&at.join("journal.db")).unwrap();
    let places = Places { tiles: at.join("log"), signed: at.join("signed") };
    let opened = Log::open(store, Disk, places, origin(), Box::new(key(pem)), &Provider).unwrap();
    match witnesses {
        Some(witnesses) => opened.log.witnessed_by(witnesses),
        None => opened.log,
    }
}

fn append(log: &Log<Sqlite, Disk>, range: std::ops::Range<u64>, branch: &str) {
    let entries: Vec<_> = range.clone().map(|n| entry(n, branch)).collect();
    assert_eq!(log.append(Expect::At(range.start), &entries).unwrap(), range);
}

fn published(at: &Path) -> Option<SignedCheckpoint> {
    let note = fs::read(at.join("log/checkpoint")).ok()?;
    Some(SignedCheckpoint::decode(&note).unwrap())
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
    assert!(copied.unwrap().success());
}

#[test]
fn what_is_published_has_a_quorum() {
    let (at, pem) = (folder("witnessed"), new_key());
    let party = Party::new(3, &pem);
    let policy = party.policy(2, &pem);
    let (mut size, mut whole) = (0, 0);
    for away in [vec![], vec![2], vec![0], vec![]] {
        // A new process each time; the witnesses are at different places.
        let log = open(&at, &pem, Some(witnesses(&party, 2, &pem, 1)));
        party.set_away(&away);
        for add in [1, 300, 2] {
            append(&log, size..size + add, "a");
            size += add;
            let signed = log.publish().unwrap();
            assert_eq!(log.late(), None);
            let believed = policy.judge(&published(&at).unwrap(), &Provider).unwrap();
            // Whoever is late when there is a quorum is not waited for.
            let (cosigned, there) = (believed.cosigned.len(), 3 - away.len());
            assert!((2..=there).contains(&cosigned), "{cosigned} of {there}");
            whole += usize::from(cosigned == 3);
            assert_eq!(published(&at).unwrap(), signed);
            assert_eq!(fs::read_to_string(at.join("signed")).unwrap(), signed.encode());
        }
        // What is published is not asked for again.
        let before = party.requests.load(Ordering::SeqCst);
        log.publish().unwrap();
        assert_eq!(party.requests.load(Ordering::SeqCst), before);
    }
    assert!(whole > 0, "nobody beyond the quorum is ever waited for");
    // After a start the published head is there with its cosignatures.
    let log = open(&at, &pem, None);
    assert_eq!(log.signed().unwrap(), published(&at).unwrap());
}

#[test]
fn a_late_quorum_is_told_with_since_when_and_made_up_for() {
    let (at, pem) = (folder("witness-late"), new_key());
    let party = Party::new(3, &pem);
    let log = open(&at, &pem, Some(witnesses(&party, 2, &pem, 100)));
    append(&log, 0..5, "a");
    log.publish().unwrap();
    party.set_away(&[0, 2]);
    append(&log, 5..6, "a");
    let signed = log.publish().unwrap();
    assert_eq!(signed.checkpoint().size, 6);
    let late = log.late().unwrap();
    assert_eq!((late.since, late.signed, late.published, late.missing.len()), (100, 6, 5, 2));
    let said = late.to_string();
    assert!(said.contains("6 entries are signed and 5 published"), "{said}");
    assert!(said.contains("w2: it cannot be reached: no route to it"), "{said}");
    assert_eq!(published(&at).unwrap().checkpoint().size, 5);
    drop(log);
    // Another process, later: it has been late since then.
    let log = open(&at, &pem, Some(witnesses(&party, 2, &pem, 900)));
    append(&log, 6..8, "a");
    log.publish().unwrap();
    assert_eq!(log.late().unwrap().since, 100);
    party.set_away(&[1]);
    log.publish().unwrap();
    assert_eq!((log.late(), published(&at).unwrap().checkpoint().size), (None, 8));
    // The next time it is late anew.
    party.set_away(&[0, 1, 2]);
    append(&log, 8..9, "a");
    log.publish().unwrap();
    assert_eq!(log.late().unwrap().since, 900);
}

#[test]
fn a_restored_backup_hears_it_from_a_witness() {
    let (at, backup, pem) = (folder("witness-restored"), folder("witness-backup"), new_key());
    let party = Party::new(3, &pem);
    // All have to cosign: no witness is asked later than it is looked at.
    let log = open(&at, &pem, Some(witnesses(&party, 3, &pem, 1)));
    append(&log, 0..300, "a");
    log.publish().unwrap();
    drop(log);
    copy(&at, &backup);
    let log = open(&at, &pem, Some(witnesses(&party, 3, &pem, 1)));
    append(&log, 300..301, "a");
    log.publish().unwrap();
    drop(log);
    // Everything is put back, the record of what was signed too. One witness is enough to notice.
    party.set_away(&[0, 1]);
    let log = open(&backup, &pem, Some(witnesses(&party, 2, &pem, 1)));
    let record = fs::read(backup.join("signed")).unwrap();
    let refuse = |refused: LogError| {
        let ahead = Failure::Ahead { theirs: 301, ours: 300 };
        assert!(refused.to_string().contains("older copy"), "{refused}");
        assert_eq!(refused, LogError::Witness { name: "w2".to_owned(), failure: ahead });
    };
    refuse(log.ask_witnesses().unwrap_err());
    append(&log, 300..302, "b");
    refuse(log.publish().unwrap_err());
    refuse(log.publish().unwrap_err());
    assert_eq!(fs::read(backup.join("signed")).unwrap(), record, "nothing was signed");
    drop(log);
    // Nothing is left but the key: a new log of the same name.
    let nothing = folder("witness-nothing");
    let log = open(&nothing, &pem, Some(witnesses(&party, 2, &pem, 1)));
    append(&log, 0..2, "c");
    let refused = log.publish().unwrap_err();
    let ahead = Failure::Ahead { theirs: 301, ours: 0 };
    assert_eq!(refused, LogError::Witness { name: "w2".to_owned(), failure: ahead });
    assert!(!nothing.join("signed").exists() && !nothing.join("log").exists());
}

#[test]
fn a_history_that_grew_elsewhere_is_not_published() {
    let (at, other, pem) = (folder("witness-fork"), folder("witness-fork-other"), new_key());
    let party = Party::new(2, &pem);
    let log = open(&at, &pem, Some(witnesses(&party, 2, &pem, 1)));
    append(&log, 0..5, "a");
    log.publish().unwrap();
    drop(log);
    copy(&at, &other);
    let log = open(&at, &pem, Some(witnesses(&party, 2, &pem, 1)));
    append(&log, 5..7, "a");
    log.publish().unwrap();
    // The copy grew without witnesses, and signed.
    let forked = open(&other, &pem, None);
    append(&forked, 5..9, "b");
    forked.publish().unwrap();
    drop(forked);
    let forked = open(&other, &pem, Some(witnesses(&party, 1, &pem, 1)));
    append(&forked, 9..10, "b");
    let refused = forked.publish().unwrap_err();
    let disagrees =
        matches!(&refused, LogError::Witness { failure: Failure::Disagrees { ours: 9, .. }, .. });
    assert!(disagrees, "{refused:?}");
}

/// Two processes with one key that both began in good order: the slower one learns it from the answer to its head.
#[test]
fn of_two_writers_one_is_stopped() {
    let (at, other, pem) = (folder("witness-two"), folder("witness-two-other"), new_key());
    let party = Party::new(1, &pem);
    let log = open(&at, &pem, Some(witnesses(&party, 1, &pem, 1)));
    append(&log, 0..5, "a");
    log.publish().unwrap();
    drop(log);
    copy(&at, &other);
    let fast = open(&at, &pem, Some(witnesses(&party, 1, &pem, 1)));
    let slow = open(&other, &pem, Some(witnesses(&party, 1, &pem, 1)));
    fast.ask_witnesses().unwrap();
    slow.ask_witnesses().unwrap();
    append(&fast, 5..7, "a");
    fast.publish().unwrap();
    append(&slow, 5..6, "b");
    let failure = |refused: Result<_, LogError>| match refused {
        Err(LogError::Witness { failure, .. }) => failure,
        other => panic!("{other:?}"),
    };
    assert_eq!(failure(slow.publish()), Failure::Ahead { theirs: 7, ours: 6 });
    append(&slow, 6..8, "b");
    let disagrees = failure(slow.publish());
    assert!(matches!(disagrees, Failure::Disagrees { ours: 8, .. }), "{disagrees:?}");
    assert_eq!(published(&other).unwrap().checkpoint().size, 5);
    assert_eq!(published(&at).unwrap().checkpoint().size, 7);
}

#[test]
fn without_any_witness_nothing_is_signed() {
    let (at, pem) = (folder("witness-none"), new_key());
    let party = Party::new(2, &pem);
    party.set_away(&[0, 1]);
    let log = open(&at, &pem, Some(witnesses(&party, 1, &pem, 1)));
    append(&log, 0..2, "a");
    for _ in 0..2 {
        let refused = log.publish().unwrap_err();
        assert!(
            matches!(&refused, LogError::NoWitness(missing) if missing.len() == 2),
            "{refused:?}"
        );
        assert!(refused.to_string().contains("w1: it cannot be reached"), "{refused}");
        assert!(!at.join("signed").exists() && published(&at).is_none());
    }
    // One is back: that is enough to know, and here enough to publish.
    party.set_away(&[0]);
    log.publish().unwrap();
    assert_eq!(published(&at).unwrap().checkpoint().size, 2);
    // From then on the log may sign while all are away; what it signs waits.
    party.set_away(&[0, 1]);
    append(&log, 2..3, "a");
    assert_eq!(log.publish().unwrap().checkpoint().size, 3);
    assert_eq!(log.late().unwrap().signed, 3);
    assert_eq!(published(&at).unwrap().checkpoint().size, 2);
}

/// A witness that never answers holds up neither the log nor, with more and more requests, the machine.
#[test]
fn a_silent_witness_is_left_out() {
    struct Silent(Arc<Party>, Mutex<Vec<std::sync::mpsc::Sender<()>>>, AtomicU64);
    impl Wire for Silent {
        fn post(&self, url: &str, body: String) -> Result<Answer, String> {
            if !url.starts_with("http://1/") || self.2.fetch_add(1, Ordering::SeqCst) == 0 {
                return self.0.post(url, body);
            }
            let (keep, wait) = std::sync::mpsc::channel::<()>();
            self.1.lock().unwrap().push(keep);
            let _ = wait.recv();
            Err("at last".to_owned())
        }
    }
    let pem = new_key();
    let at = folder("witness-silent");
    let party = Party::new(3, &pem);
    let silent = Arc::new(Silent(Arc::clone(&party), Mutex::default(), AtomicU64::new(0)));
    let policy = party.policy(2, &pem);
    let wire = Arc::clone(&silent) as Arc<dyn Wire>;
    let witnesses = Witnesses::new(policy, wire, Box::new(Provider), Box::new(|| 1));
    let places = Places { tiles: at.join("log"), signed: at.join("signed") };
    let opened = Log::open(Memory::new(), Disk, places, origin(), Box::new(key(&pem)), &Provider);
    let Opened { log, .. } = opened.unwrap();
    let log = log.witnessed_by(witnesses);
    for n in 0..4 {
        log.append(Expect::At(n), &[entry(n, "a")]).unwrap();
        log.publish().unwrap();
        assert_eq!(log.late(), None);
    }
    assert_eq!(silent.1.lock().unwrap().len(), 1, "one request is on its way, not four");
    silent.1.lock().unwrap().clear();
}
