//! The witness (C2SP tlog-witness): what is cosigned, what is refused, and as what.

use journal::checkpoint::{Checkpoint, SignedCheckpoint, read_size};
use journal::note::NoteSignature;
use journal::proof::consistency;
use journal::witness::{AddCheckpoint, BadAnswer, Refusal, Witness, accept};
use journal::{Hash, Signer};
use proptest::prelude::*;

use crate::reference::{Grid, Toy, Toys, data, mth};

fn n64(n: usize) -> u64 {
    u64::try_from(n).unwrap()
}

/// A request for all entries, from the first `old` of them.
fn request(log: &Toy, old: usize, d: &[Vec<u8>]) -> AddCheckpoint {
    let head = Checkpoint::new(&log.name, n64(d.len()), mth(d));
    let proof = match (1..=d.len()).contains(&old) {
        true => consistency(&Grid::new(d), n64(old), n64(d.len())).unwrap(),
        false => Vec::new(),
    };
    let checkpoint = SignedCheckpoint::sign(head, log).unwrap();
    AddCheckpoint { old: n64(old), proof, checkpoint }
}

fn cosign(witness: &mut Witness, request: &AddCheckpoint) -> Result<NoteSignature, Refusal> {
    let grant = witness.judge(request, &Toys)?;
    let toy = Toy::new("w.example");
    Ok(witness.commit(grant)?.cosign(1_700_000_000, &toy.name, &toy).unwrap())
}

#[test]
fn a_growing_log_is_cosigned() {
    let (log, witness_key) = (Toy::new("log.example"), Toy::new("w.example"));
    let mut witness = Witness::new([log.log()]);
    let d = data(100);
    let mut last = 0;
    for size in [0, 1, 1, 2, 50, 64, 64, 100] {
        let mut request = request(&log, last, &d[..size]);
        let body = request.encode().unwrap();
        assert_eq!(AddCheckpoint::decode(body.as_bytes()), Ok(request.clone()));
        let line = cosign(&mut witness, &request).unwrap();
        let accepted =
            accept(&mut request.checkpoint, &line.line(), &[witness_key.witness()], &Toys);
        assert_eq!(accepted, Ok(1_700_000_000));
        assert_eq!(request.checkpoint.note().signatures().len(), 2);
        last = size;
        assert_eq!(witness.last("log.example").unwrap().checkpoint().size, n64(size));
    }
}

#[test]
fn everything_else_is_refused_by_name() {
    let [log, other, thief] = ["log.example", "other.example", "thief.example"].map(Toy::new);
    let d = data(60);
    let mut forked = d[..30].to_vec();
    forked.extend((0..30).map(|i| format!("other {i}").into_bytes()));
    let mut witness = Witness::new([log.log()]);
    let early = request(&log, 40, &d);
    assert_eq!(cosign(&mut witness, &early), Err(Refusal::Stale { last: 0, old: 40, new: 60 }));
    cosign(&mut witness, &request(&log, 0, &d[..40])).unwrap();

    let check = |request: &AddCheckpoint, status: u16| {
        let refusal = witness.judge(request, &Toys).unwrap_err();
        assert_eq!(refusal.status(), status, "{refusal}");
        refusal
    };
    let unknown = check(&request(&other, 40, &d), 404);
    assert_eq!(unknown, Refusal::UnknownLog { origin: "other.example".to_owned() });
    let head = Checkpoint::new(&log.name, 60, mth(&d));
    let forged = SignedCheckpoint::sign(head, &thief).unwrap();
    let forged = AddCheckpoint { checkpoint: forged, ..request(&log, 40, &d) };
    assert!(matches!(check(&forged, 403), Refusal::NotSigned(_)));

    let reversed = check(&request(&log, 50, &d[..45]), 400);
    assert_eq!(reversed, Refusal::Reversed { old: 50, new: 45 });
    // The log missed an answer, or forgot what it had.
    let stale = check(&request(&log, 20, &d), 409);
    assert_eq!(stale, Refusal::Stale { last: 40, old: 20, new: 60 });
    assert_eq!(stale.last_size(), Some(40));
    assert!(!stale.is_evidence());
    // Rolled back: it grows anew from a backup of 20 entries.
    let rolled_back = check(&request(&log, 20, &d[..30]), 409);
    assert_eq!(
        rolled_back.to_string(),
        "40 entries were cosigned last, not 20; the checkpoint has 30"
    );

    // Forked, at the same size and with more entries.
    let fork = check(&AddCheckpoint { proof: Vec::new(), ..request(&log, 40, &forked[..40]) }, 422);
    let (cosigned, offered) = (mth(&d[..40]), mth(&forked[..40]));
    assert_eq!(fork, Refusal::Fork { size: 40, cosigned, offered });
    assert!(fork.is_evidence());
    let fork = check(&request(&log, 40, &forked), 422);
    assert!(matches!(fork, Refusal::Proof { old: 40, new: 60, .. }) && fork.is_evidence());

    // Proofs that are too short, too long, of something else.
    let good = request(&log, 40, &d);
    for change in [
        |proof: &mut Vec<Hash>| proof.truncate(proof.len() - 1),
        |proof: &mut Vec<Hash>| proof.push(Hash::empty()),
        |proof: &mut Vec<Hash>| proof.clear(),
        |proof: &mut Vec<Hash>| proof.reverse(),
    ] {
        let mut bad = good.clone();
        change(&mut bad.proof);
        assert!(matches!(check(&bad, 422), Refusal::Proof { .. }));
    }
    let mut same = request(&log, 40, &d[..40]);
    same.proof.push(Hash::empty());
    assert!(matches!(check(&same, 422), Refusal::Proof { .. }));

    let fresh = Witness::new([log.log()]);
    let mut first = request(&log, 0, &d);
    first.proof.push(Hash::empty());
    assert_eq!(fresh.judge(&first, &Toys).unwrap_err().status(), 422);
    let nothing = Checkpoint::new(&log.name, 0, Hash::of(b"something"));
    let checkpoint = SignedCheckpoint::sign(nothing, &log).unwrap();
    let nothing = AddCheckpoint { old: 0, proof: Vec::new(), checkpoint };
    let refusal = fresh.judge(&nothing, &Toys).unwrap_err();
    assert_eq!((refusal.status(), refusal), (422, Refusal::EmptyRoot(Hash::of(b"something"))));
    assert!(witness.judge(&good, &Toys).is_ok(), "nothing of this changed anything");
}

/// The race of C2SP tlog-witness, add-checkpoint: two requests were judged before one was recorded.
#[test]
fn of_two_grants_one_is_committed() {
    let log = Toy::new("log.example");
    let d = data(30);
    let mut witness = Witness::new([log.log()]);
    cosign(&mut witness, &request(&log, 0, &d[..10])).unwrap();
    let slow = witness.judge(&request(&log, 10, &d[..20]), &Toys).unwrap();
    let fast = witness.judge(&request(&log, 10, &d), &Toys).unwrap();
    assert_eq!(fast.record().checkpoint().size, 30);
    let _cosignable = witness.commit(fast).unwrap();
    assert_eq!(witness.commit(slow), Err(Refusal::Stale { last: 30, old: 10, new: 20 }));
    assert_eq!(witness.last("log.example").unwrap().checkpoint().size, 30);
}

#[test]
fn a_witness_goes_on_where_it_was() {
    let log = Toy::new("log.example");
    let d = data(30);
    let mut before = Witness::new([log.log()]);
    let mut records = Vec::new();
    for (old, size) in [(0, 10), (10, 30)] {
        let mut request = request(&log, old, &d[..size]);
        // What others signed is not recorded.
        let line = NoteSignature {
            name: Toy::new("x").name,
            ..request.checkpoint.note().signatures()[0].clone()
        };
        request.checkpoint.add(line).unwrap();
        let grant = before.judge(&request, &Toys).unwrap();
        assert_eq!(grant.record().note().signatures().len(), 1);
        records.push(grant.record().clone());
        let _cosignable = before.commit(grant).unwrap();
    }
    let mut after = Witness::new([log.log()]);
    for record in records.iter().rev() {
        after.restore(record.clone(), &Toys).unwrap();
    }
    assert_eq!(after.last("log.example"), before.last("log.example"));
    assert!(after.judge(&request(&log, 10, &d), &Toys).is_err());
    let mut stranger = Witness::new([Toy::new("other.example").log()]);
    assert!(stranger.restore(records[0].clone(), &Toys).is_err());
}

#[test]
fn malformed_requests_are_refused_with_their_place() {
    let log = Toy::new("l");
    let good = request(&log, 3, &data(7)).encode().unwrap();
    let note = good.find("\n\n").unwrap() + 2;
    for (body, at) in [
        (String::new(), 0),
        (good.replacen("old 3", "old", 1), 0),
        (good.replacen("old 3", "old 03", 1), 4),
        (good.replacen("old 3", "old  3", 1), 4),
        (good.replacen("old 3", "old -3", 1), 4),
        (good.replacen("old 3\n", "old 3\n\n", 1), 7 + 45),
        (
            good.replacen(
                "old 3\n",
                &format!("old 3\n{}", format!("{}\n", Hash::empty()).repeat(64)),
                1,
            ),
            6 + 63 * 45,
        ),
        (good[..note].to_owned(), note),
        (good.replacen("\nl\n7\n", "\nl\n07\n", 1), note + 2),
    ] {
        let fault = AddCheckpoint::decode(body.as_bytes()).unwrap_err();
        assert_eq!((fault.what, fault.at), ("an add-checkpoint request", at), "{body:?}: {fault}");
    }
    let mut long = AddCheckpoint::decode(good.as_bytes()).unwrap();
    long.proof = vec![Hash::empty(); 64];
    assert!(long.encode().is_err());
    assert_eq!(read_size("40\n"), Ok(40));
    for size in ["", "40", "040\n", "40\n\n", "-1\n", "9223372036854775808\n", "x\n"] {
        assert!(read_size(size).is_err(), "{size:?}");
    }
}

#[test]
fn only_good_cosignatures_are_accepted() {
    let [log, witness, other] = ["log.example", "w.example", "other.example"].map(Toy::new);
    let d = data(5);
    let mut here = Witness::new([log.log()]);
    let request = request(&log, 0, &d);
    let line = cosign(&mut here, &request).unwrap();
    let keys = [witness.witness()];
    let try_accept = |answer: &str| {
        let mut checkpoint = request.checkpoint.clone();
        let accepted = accept(&mut checkpoint, answer, &keys, &Toys);
        assert_eq!(accepted.is_ok(), checkpoint != request.checkpoint);
        accepted
    };
    assert!(try_accept(&line.line()).is_ok());
    let stranger = NoteSignature { name: other.name.clone(), ..line.clone() };
    assert!(try_accept(&(stranger.line() + &line.line())).is_ok());
    assert!(matches!(try_accept(&stranger.line()), Err(BadAnswer::NotSigned(_))));
    assert!(matches!(try_accept(""), Err(BadAnswer::NotSigned(_))));
    assert!(matches!(try_accept("40\n"), Err(BadAnswer::Malformed(_))));
    for at in 0..line.signature.len() {
        let mut bad = line.clone();
        bad.signature[at] ^= 1;
        assert!(matches!(try_accept(&bad.line()), Err(BadAnswer::NotSigned(_))), "byte {at}");
    }
    // A signer that says why it cannot.
    struct Locked;
    impl Signer for Locked {
        fn public_key(&self) -> [u8; 32] {
            [7; 32]
        }
        fn sign(&self, _: &[u8]) -> Result<[u8; 64], String> {
            Err("the token is locked".to_owned())
        }
    }
    let mut fresh = Witness::new([log.log()]);
    let committed = fresh.judge(&request, &Toys).and_then(|grant| fresh.commit(grant)).unwrap();
    let failed = committed.cosign(1, &witness.name, &Locked);
    assert_eq!(failed, Err("the token is locked".to_owned()));
    assert!(committed.cosign(0, &witness.name, &witness).is_err(), "a cosignature has a time");
    assert!(committed.cosign(u64::MAX, &witness.name, &witness).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever logs ask for, honest or not: the heads cosigned are heads of one growing history.
    #[test]
    fn cosigned_heads_are_one_history(
        requests in prop::collection::vec((0_usize..20, 1_usize..20, any::<bool>(), any::<bool>()), 1..30),
    ) {
        let log = Toy::new("log.example");
        let honest = data(20);
        let mut forked = honest[..5].to_vec();
        forked.extend((0..15).map(|i| format!("other {i}").into_bytes()));
        let mut witness = Witness::new([log.log()]);
        let mut cosigned: Vec<&[Vec<u8>]> = vec![&[]];
        for (old, size, fork, knows) in requests {
            let history = if fork { &forked[..size] } else { &honest[..size] };
            let last = cosigned.last().unwrap();
            // Some ask from the right size, others from anywhere.
            let old = if knows { last.len() } else { old };
            let may = old == last.len() && history.starts_with(last);
            let outcome = cosign(&mut witness, &request(&log, old, history));
            prop_assert_eq!(outcome.is_ok(), may, "{:?}", outcome);
            if may {
                cosigned.push(history);
            }
        }
        let last = witness.last("log.example").map(|l| l.checkpoint().root);
        prop_assert_eq!(last.unwrap_or_else(Hash::empty), mth(cosigned.last().unwrap()));
    }
}
