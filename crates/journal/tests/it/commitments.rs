//! Commitments: one byte string for ever, and random histories judged beside a model.

use std::collections::BTreeSet;

use journal::commitment::{
    Class, Commitment, Key, Last, MESSAGES_MAX, NOTHING, Refusal, Signed, Speaker, Verifier,
    accept, prove, root,
};
use journal::proof::{CannotProve, Invalid};
use journal::{Hash, SIZE_MAX};
use proptest::prelude::*;

use crate::entries::hex;

const KEY: Key = Key::Ed25519([
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a,
    0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
]);
const OTHER_KEY: Key = Key::P256([4; 65]);

/// Signatures by a hash: nobody but the tests can make them, and every bit counts.
struct Toy;

fn toy_sign(key: &Key, message: &[u8]) -> [u8; 64] {
    let half = Hash::of(&[&key.id().0, message].concat()).0;
    let other = Hash::of(&[&half[..], message].concat()).0;
    [half, other].concat().try_into().unwrap()
}

impl Verifier for Toy {
    fn verify_commitment(&self, key: &Key, message: &[u8], signature: &[u8; 64]) -> bool {
        toy_sign(key, message) == *signature
    }
}

fn sign(commitment: Commitment, key: &Key) -> Signed {
    let signature = toy_sign(key, &commitment.message().unwrap());
    Signed { commitment, signature }
}

fn speaker(class: Class, epoch: u64) -> Speaker<'static> {
    Speaker { class, key: &KEY, device: "cam-118", epoch }
}

/// The first batch of an epoch: three messages.
fn first() -> Commitment {
    Commitment {
        class: Class::Device,
        key: KEY.id(),
        device: "cam-118".to_owned(),
        epoch: 0,
        first: 0,
        last: 2,
        previous: NOTHING,
        root: root(&["21.5", "", "21.7"]),
    }
}

#[test]
fn commitments_of_version_1_are_read_for_ever() {
    let begin = first();
    let second = Commitment {
        first: 3,
        last: 3,
        previous: begin.hash().unwrap(),
        root: root(&["21.8"]),
        ..begin.clone()
    };
    let gateway = Commitment {
        class: Class::Gateway,
        device: "plc:hall-2/7".to_owned(),
        epoch: 1 << 32,
        first: SIZE_MAX - 65_535,
        last: SIZE_MAX,
        previous: Hash([0xff; 32]),
        root: Hash(std::array::from_fn(|i| u8::try_from(i).unwrap())),
        ..begin.clone()
    };
    for (name, text, expected) in [
        ("first", include_str!("../fixtures/commitment-v1/first.hex"), begin),
        ("second", include_str!("../fixtures/commitment-v1/second.hex"), second),
        ("gateway", include_str!("../fixtures/commitment-v1/gateway.hex"), gateway),
    ] {
        let bytes = hex(text);
        let signed = Signed::decode(&bytes).unwrap();
        assert_eq!(signed.commitment, expected, "{name}");
        assert_eq!(signed.encode(), Ok(bytes.clone()), "{name}");
        for cut in 0..bytes.len() {
            let fault = Signed::decode(&bytes[..cut]).unwrap_err();
            assert!(fault.at <= cut, "{name}: {fault}");
        }
        assert!(Signed::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn what_would_not_be_read_is_not_written() {
    let tried = |change: &dyn Fn(&mut Commitment)| {
        let mut commitment = first();
        change(&mut commitment);
        let encoded = commitment.encode();
        assert_eq!(encoded.is_ok(), Signed { commitment, signature: [0; 64] }.encode().is_ok());
        encoded.is_ok()
    };
    assert!(tried(&|_| ()));
    assert!(tried(&|c| c.last = MESSAGES_MAX - 1));
    assert!(!tried(&|c| c.last = MESSAGES_MAX));
    assert!(!tried(&|c| c.first = 3));
    assert!(!tried(&|c| (c.first, c.last) = (SIZE_MAX + 1, SIZE_MAX + 1)));
    assert!(!tried(&|c| (c.first, c.last) = (u64::MAX, u64::MAX)));
    assert!(tried(&|c| c.device = "x".repeat(128)));
    for device in ["", "a b", "ü", "a\n", &"x".repeat(129)] {
        assert!(!tried(&|c| c.device = device.to_owned()), "{device}");
    }
    let good = first().encode().unwrap();
    for (at, byte, why) in [(1, 2, "its version is 2"), (2, 0, "class 0"), (2, 3, "class 3")] {
        let mut bytes = [&[0x82], &good[..], &[0x58, 64], &[0; 64]].concat();
        assert!(Signed::decode(&bytes).is_ok());
        bytes[at + 1] = byte;
        let fault = Signed::decode(&bytes).unwrap_err();
        assert!(fault.why.contains(why) && fault.at == at + 1, "{fault}");
    }
    assert!(Signed::decode(&[0x82; 600]).unwrap_err().why.contains("longer than"));
}

/// A gateway's word never counts as a device's, whoever signed it.
#[test]
fn classes_are_never_mixed() {
    for (said, registered) in [(Class::Gateway, Class::Device), (Class::Device, Class::Gateway)] {
        let signed = sign(Commitment { class: said, ..first() }, &KEY);
        assert!(accept(&signed, &speaker(said, 0), None, &Toy).is_ok());
        let refusal = accept(&signed, &speaker(registered, 0), None, &Toy).unwrap_err();
        assert_eq!(refusal, Refusal::Class { got: said, registered });
        assert!(!refusal.is_finding());
        // The label is in what is signed.
        let relabelled = Commitment { class: registered, ..signed.commitment.clone() };
        let relabelled = Signed { commitment: relabelled, ..signed.clone() };
        let refusal = accept(&relabelled, &speaker(registered, 0), None, &Toy).unwrap_err();
        assert_eq!(refusal, Refusal::Signature);
        // Neither goes on with the other's chain.
        let last = accept(&signed, &speaker(said, 0), None, &Toy).unwrap().last();
        let next =
            Commitment { class: registered, first: 3, last: 3, previous: last.hash, ..first() };
        let refusal = accept(&sign(next, &KEY), &speaker(registered, 0), Some(&last), &Toy);
        assert_eq!(refusal, Err(Refusal::OtherChain));
    }
}

#[test]
fn only_the_registered_key_speaks_for_its_device() {
    let signed = sign(first(), &KEY);
    let as_of = |speaker: Speaker<'_>| accept(&signed, &speaker, None, &Toy).unwrap_err();
    let refusal = as_of(Speaker { key: &OTHER_KEY, ..speaker(Class::Device, 0) });
    assert_eq!(refusal, Refusal::Key(KEY.id()));
    let refusal = as_of(Speaker { device: "cam-119", ..speaker(Class::Device, 0) });
    assert!(matches!(refusal, Refusal::Device { .. }), "{refusal}");
    let forged = sign(first(), &OTHER_KEY);
    let refusal = accept(&forged, &speaker(Class::Device, 0), None, &Toy).unwrap_err();
    assert_eq!(refusal, Refusal::Signature);
    // A key for which everybody can sign.
    let mut weak = [0; 32];
    weak[0] = 1;
    let weak = Key::Ed25519(weak);
    let signed = sign(Commitment { key: weak.id(), ..first() }, &weak);
    let by = Speaker { key: &weak, ..speaker(Class::Device, 0) };
    assert_eq!(accept(&signed, &by, None, &Toy), Err(Refusal::Signature));
    // The same bytes as another kind of key have another id.
    assert_ne!(Key::Ed25519([4; 32]).id(), OTHER_KEY.id());
}

#[test]
fn a_message_is_proven_within_its_batch() {
    let messages: Vec<Vec<u8>> = (0_u8..13).map(|n| vec![n; usize::from(n)]).collect();
    let begin = Commitment { first: 0, last: 12, root: root(&messages), ..first() };
    let accepted = accept(&sign(begin, &KEY), &speaker(Class::Device, 0), None, &Toy).unwrap();
    for (index, message) in (0..).zip(&messages) {
        let proof = prove(&messages, index).unwrap();
        assert_eq!(accepted.verify(index, message, &proof), Ok(()));
        let other = accepted.verify(index, b"other", &proof).unwrap_err();
        assert!(matches!(other, Invalid::Root { .. }), "{other}");
        assert!(accepted.verify((index + 1) % 13, message, &proof).is_err());
        assert!(accepted.verify(index, message, &proof[1..]).is_err());
    }
    assert!(accepted.verify(13, b"", &[]).is_err());
    assert!(accepted.verify(u64::MAX, b"", &[]).is_err());
    assert!(matches!(prove(&messages, 13), Err(CannotProve::Nothing(_))));
    assert!(matches!(prove::<Vec<u8>>(&[], 0), Err(CannotProve::Nothing(_))));
    // Numbers go on from batch to batch.
    let last = accepted.last();
    let next =
        Commitment { first: 13, last: 14, previous: last.hash, root: root(&["a", "b"]), ..first() };
    let next = accept(&sign(next, &KEY), &speaker(Class::Device, 0), Some(&last), &Toy).unwrap();
    let proof = prove(&["a", "b"], 1).unwrap();
    assert_eq!(next.verify(14, b"b", &proof), Ok(()));
    assert!(next.verify(1, b"b", &proof).is_err());
    assert!(next.verify(12, b"b", &proof).is_err());
}

/// What happens to the next batch of a device on its way.
#[derive(Clone, Copy, Debug)]
enum Step {
    Arrives,
    Lost,
    /// One of those that were made is delivered again, or late.
    Again(prop::sample::Index),
    /// The device's storage went back, and it makes another batch of the same length at the place of its last one.
    Forked,
    /// The numbers fit, and the chain does not.
    Unchained,
    /// One bit of the encoded commitment is turned.
    Turned(prop::sample::Index, u8),
    /// As of another epoch.
    OtherEpoch(u8),
    /// The device was reset, and its new epoch is registered.
    Reset,
    /// The registry forgets a reset.
    EpochBack,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Arrives),
        1 => Just(Step::Lost),
        2 => any::<prop::sample::Index>().prop_map(Step::Again),
        1 => Just(Step::Forked),
        1 => Just(Step::Unchained),
        2 => (any::<prop::sample::Index>(), 0_u8..8).prop_map(|(at, bit)| Step::Turned(at, bit)),
        1 => (1_u8..4).prop_map(Step::OtherEpoch),
        1 => Just(Step::Reset),
        1 => Just(Step::EpochBack),
    ]
}

/// What is known without any of the code that is tested.
#[derive(Default)]
struct Model {
    epoch: u64,
    /// Sequence number that the controller waits for, and what was last accepted in this epoch.
    expected: u64,
    chain: Option<Signed>,
    accepted: Vec<Signed>,
}

impl Model {
    /// What has to be said about a commitment of this epoch with a good signature.
    fn verdict(&self, signed: &Signed) -> Result<(), &'static str> {
        let commitment = &signed.commitment;
        let before = self.chain.as_ref().map(|s| &s.commitment);
        match () {
            () if commitment.epoch != self.epoch => Err("epoch"),
            () if before == Some(commitment) => Err("replay"),
            () if before.is_some_and(|b| b.last == commitment.last) => Err("fork"),
            () if commitment.first < self.expected => Err("reordered"),
            () if commitment.first > self.expected => Err("gap"),
            () if commitment.previous != before.map_or(NOTHING, |b| b.hash().unwrap()) => {
                Err("previous")
            }
            () => Ok(()),
        }
    }
}

fn word(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Replay { .. } => "replay",
        Refusal::Reordered { .. } => "reordered",
        Refusal::Fork { .. } => "fork",
        Refusal::Gap { .. } => "gap",
        Refusal::Previous { .. } => "previous",
        Refusal::Epoch { .. } => "epoch",
        Refusal::EpochBack { .. } => "epoch back",
        _ => "no finding",
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn histories_are_judged_as_the_model_says(
        history in prop::collection::vec((steps(), 1_u64..6), 1..60),
        class in prop::sample::select(vec![Class::Device, Class::Gateway]),
    ) {
        let mut model = Model::default();
        let mut last: Option<Last> = None;
        // The device's own state, which goes on whether or not anything arrives.
        let (mut next, mut previous) = (0, NOTHING);
        let mut made: Vec<Signed> = Vec::new();
        for (n, (step, length)) in history.into_iter().enumerate() {
            let fresh = |first: u64, previous| Commitment {
                class,
                epoch: model.epoch,
                first,
                last: first + length - 1,
                previous,
                root: root(&vec![n.to_be_bytes(); usize::try_from(length).unwrap()]),
                ..first_of(class)
            };
            let signed = match step {
                Step::Arrives | Step::Lost => {
                    let signed = sign(fresh(next, previous), &KEY);
                    next += length;
                    previous = signed.commitment.hash().unwrap();
                    made.push(signed.clone());
                    signed
                }
                Step::Again(which) if !made.is_empty() => which.get(&made).clone(),
                Step::Forked => match &model.chain {
                    Some(chain) => {
                        let root = root(&[n.to_be_bytes()]);
                        sign(Commitment { root, ..chain.commitment.clone() }, &KEY)
                    }
                    None => continue,
                },
                Step::Unchained => sign(fresh(model.expected, Hash::of(b"nothing")), &KEY),
                Step::OtherEpoch(more) => {
                    let epoch = model.epoch + u64::from(more);
                    sign(Commitment { epoch, ..fresh(0, NOTHING) }, &KEY)
                }
                Step::Reset => {
                    model = Model { epoch: model.epoch + 1, accepted: model.accepted, ..Model::default() };
                    (next, previous) = (0, NOTHING);
                    continue;
                }
                Step::EpochBack => {
                    let Some(known) = last.as_ref().filter(|l| l.epoch > 0) else { continue };
                    let epoch = known.epoch - 1;
                    let signed = sign(Commitment { epoch, ..fresh(0, NOTHING) }, &KEY);
                    let refusal = accept(&signed, &speaker(class, epoch), last.as_ref(), &Toy).unwrap_err();
                    prop_assert_eq!(word(&refusal), "epoch back");
                    continue;
                }
                Step::Turned(at, bit) => {
                    let good = sign(fresh(model.expected, previous), &KEY);
                    let mut bytes = good.encode().unwrap();
                    let at = at.index(bytes.len());
                    bytes[at] ^= 1 << bit;
                    if let Ok(turned) = Signed::decode(&bytes) {
                        let refusal = accept(&turned, &speaker(class, model.epoch), last.as_ref(), &Toy).unwrap_err();
                        prop_assert!(!refusal.is_finding(), "a forgery says nothing of the device: {}", refusal);
                    }
                    continue;
                }
                Step::Again(_) => continue,
            };
            if matches!(step, Step::Lost) {
                continue;
            }
            let judged = accept(&signed, &speaker(class, model.epoch), last.as_ref(), &Toy);
            let expected = model.verdict(&signed);
            prop_assert_eq!(judged.as_ref().map(|_| ()).map_err(word), expected, "{:?} {:?}", step, judged);
            match judged {
                Ok(accepted) => {
                    prop_assert_eq!(accepted.commitment(), &signed.commitment);
                    last = Some(accepted.last());
                    model.expected = signed.commitment.last + 1;
                    model.chain = Some(signed.clone());
                    model.accepted.push(signed);
                }
                Err(refusal) => prop_assert!(refusal.is_finding()),
            }
        }
        // Whatever happened: every message number of an epoch counts once, without holes.
        let mut seen = BTreeSet::new();
        for Commitment { epoch, first, last, .. } in model.accepted.iter().map(|s| &s.commitment) {
            for number in *first..=*last {
                prop_assert!(seen.insert((*epoch, number)));
                prop_assert!(number == 0 || seen.contains(&(*epoch, number - 1)));
            }
        }
    }

    #[test]
    fn a_turned_bit_is_never_the_same(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let good = sign(first(), &KEY);
        let mut bytes = good.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(turned) = Signed::decode(&bytes) {
            prop_assert_eq!(turned.encode(), Ok(bytes));
            prop_assert_ne!(&turned, &good);
            prop_assert!(accept(&turned, &speaker(Class::Device, 0), None, &Toy).is_err());
        }
    }

    #[test]
    fn any_bytes_are_read_strictly(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(signed) = Signed::decode(&bytes) {
            prop_assert_eq!(signed.encode(), Ok(bytes));
        }
    }
}

fn first_of(class: Class) -> Commitment {
    Commitment { class, ..first() }
}
