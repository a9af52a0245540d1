//! Answers about single certificates: openssl asks and believes, and nothing else is a request.

use std::fs;
use std::sync::LazyLock;

use crypto::{PrivateKey, Provider};
use model::Timestamp;
use pki::crl::{Entry, Reason};
use pki::issue::Profile;
use pki::ocsp::{
    ASKED_MAX, BYTES_MAX, Failure, NONCE_BYTES, NotAnswered, Request, Responder, Status, Times,
    read, refuse,
};
use pki::{Certificate, KeyKind, Number};
use proptest::prelude::*;

use crate::estate::{Authority, Member, at, now, subject};
use crate::maker::{der, extension, oid};
use crate::peer::{Folder, need, openssl, openssl_says};

/// Openssl judges the times of an answer by its own clock, whatever it is told.
fn times() -> Times {
    Times {
        produced_at: at("2020-01-01T00:00:00Z"),
        this_update: at("2020-01-01T00:00:00Z"),
        next_update: at("2199-01-01T00:00:00Z"),
    }
}

struct Estate {
    folder: Folder,
    root: Authority,
    issuing: Authority,
    responder: Responder,
    members: Vec<Member>,
}

impl Estate {
    fn new(test: &str, kind: KeyKind) -> Self {
        let root = Authority::root("acme.example", KeyKind::P256);
        let issuing = root.issuing("acme.example", kind);
        let members = (1..=3).map(|n| {
            let subject = subject("acme.example", &format!("shop-{n}"));
            issuing.member_with(Profile::Site, &subject, |order| order.serial = [0x11 * n; 16])
        });
        let members: Vec<Member> = members.collect();
        let folder = Folder::new(test);
        folder.certificate("root.pem", &root.certificate);
        folder.certificate("i.pem", &issuing.certificate);
        for (n, member) in (1..).zip(&members) {
            folder.certificate(&format!("{n}.pem"), &member.certificate);
        }
        let responder = Responder::new(&issuing.certificate, &Provider).unwrap();
        Self { folder, root, issuing, responder, members }
    }

    fn path(&self, name: &str) -> String {
        self.folder.0.join(name).to_str().unwrap().to_owned()
    }

    /// Openssl asks about all members.
    fn ask(&self, more: &[&str]) -> Vec<u8> {
        let (issuer, out) = (self.path("i.pem"), self.path("request.der"));
        let members: Vec<String> = (1..=3).map(|n| self.path(&format!("{n}.pem"))).collect();
        let mut arguments = vec!["ocsp"];
        arguments.extend(more);
        arguments.extend(["-issuer", &issuer]);
        members.iter().for_each(|member| arguments.extend(["-cert", member]));
        arguments.extend(["-reqout", &out]);
        openssl(&arguments, &[]).unwrap();
        fs::read(out).unwrap()
    }

    /// The first member is good, the second revoked, and the third was never heard of.
    fn status(&self, serial: &Number) -> Status {
        let of = |n: usize| Number::of(&self.members[n].certificate).unwrap();
        let entry = Entry {
            serial: of(1),
            revoked_at: at("2035-05-30T12:00:00Z"),
            reason: Reason::KeyCompromise,
        };
        match serial {
            serial if *serial == of(0) => Status::of(None),
            serial if *serial == of(1) => Status::of(Some(&entry)),
            _ => Status::Unknown,
        }
    }

    fn answer(&self, request: &Request) -> Result<Vec<u8>, NotAnswered> {
        let status = |serial: &Number| self.status(serial);
        self.responder.answer(request, &times(), status, &self.issuing.key, &Provider)
    }

    /// What openssl makes of an answer about all members.
    fn judge(&self, answer: &[u8], digest: &[&str]) -> String {
        let members: Vec<String> = (1..=3).map(|n| self.path(&format!("{n}.pem"))).collect();
        let mut arguments = [digest, &["-no_nonce", "-resp_text", "-issuer"]].concat();
        let issuer = self.path("i.pem");
        arguments.push(&issuer);
        members.iter().for_each(|member| arguments.extend(["-cert", member]));
        self.verify(answer, &arguments)
    }

    /// Whether it is the answer to this request: with certificates on its command line, it looks at no request.
    fn is_to(&self, request: &[u8], answer: &[u8]) -> bool {
        let request = self.folder.put("request.der", request).to_str().unwrap().to_owned();
        let said = self.verify(answer, &["-issuer", &self.path("i.pem"), "-reqin", &request]);
        let wrong = said.contains("Nonce Verify error");
        assert_ne!(wrong, said.contains("Response verify OK"), "{said}");
        !wrong && !said.contains("WARNING")
    }

    fn verify(&self, answer: &[u8], more: &[&str]) -> String {
        let seconds = (now().as_nanos() / 1_000_000_000).to_string();
        let answer = self.folder.put("answer.der", answer).to_str().unwrap().to_owned();
        let root = self.path("root.pem");
        let fixed = ["-CAfile", &root, "-attime", &seconds, "-respin", &answer];
        openssl_says(&[&["ocsp"][..], more, &fixed].concat(), &[])
    }
}

#[test]
fn openssl_asks_and_believes_our_answers() {
    if !need("openssl_asks_and_believes_our_answers") {
        return;
    }
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519, KeyKind::Rsa(2_048)] {
        let estate = Estate::new("ocsp", kind);
        for (digest, nonce) in
            [(&[][..], "-nonce"), (&["-sha1"], "-no_nonce"), (&["-sha256"], "-nonce")]
        {
            let asked = estate.ask(&[&[nonce], digest].concat());
            let request = read(&asked).unwrap();
            assert_eq!(request.asked.len(), 3);
            assert_eq!(request.asked[1].serial(), Number::from([0x22; 16]));
            assert!(request.asked.iter().all(|id| estate.responder.answers_for(id)));
            let answer = estate.answer(&request).unwrap();
            let said = estate.judge(&answer, digest);
            for line in [
                "Response verify OK",
                "1.pem: good\n",
                "2.pem: revoked\n",
                "Reason: keyCompromise\n",
                "Revocation Time: May 30 12:00:00 2035 GMT\n",
                "3.pem: unknown\n",
                "This Update: Jan  1 00:00:00 2020 GMT\n",
                "Next Update: Jan  1 00:00:00 2199 GMT\n",
                "Response Type: Basic OCSP Response",
            ] {
                assert!(said.contains(line), "{kind:?}: {line} in {said}");
            }
            assert_eq!(said.contains("OCSP Nonce"), nonce == "-nonce", "{said}");
            assert!(estate.is_to(&asked, &answer));
            // The answer to another request has another nonce.
            let other = estate.ask(&[&[nonce], digest].concat());
            assert_eq!(estate.is_to(&other, &answer), nonce == "-no_nonce");
            let mut turned = answer.clone();
            let last = turned.len() - 1;
            turned[last] ^= 1;
            let said = estate.judge(&turned, digest);
            assert!(!said.contains("Response verify OK"), "{said}");
        }
    }
}

#[test]
fn openssl_understands_that_there_is_no_answer() {
    if !need("openssl_understands_that_there_is_no_answer") {
        return;
    }
    let estate = Estate::new("ocsp-errors", KeyKind::P256);
    for (failure, said) in [
        (Failure::Malformed, "malformedrequest (1)"),
        (Failure::Internal, "internalerror (2)"),
        (Failure::TryLater, "trylater (3)"),
        (Failure::Unauthorized, "unauthorized (6)"),
    ] {
        let shown = estate.judge(&refuse(failure), &[]);
        assert!(shown.contains(said), "{said}: {shown}");
    }
}

#[test]
fn an_authority_answers_for_its_own() {
    if !need("an_authority_answers_for_its_own") {
        return;
    }
    let estate = Estate::new("ocsp-own", KeyKind::P256);
    let request = read(&estate.ask(&[])).unwrap();
    // A signature is left alone.
    let (key, pem) = PrivateKey::generate(KeyKind::P256).unwrap();
    let path = estate.folder.put("key.pem", pem.as_bytes());
    let who = crate::maker::Blank::root().sign(&key.public(), &key);
    let who = estate.folder.certificate("who.pem", &who);
    let (path, who) = (path.to_str().unwrap(), who.to_str().unwrap());
    let signed = read(&estate.ask(&["-signer", who, "-signkey", path])).unwrap();
    assert_eq!(signed.asked, request.asked);
    // Another hash names nobody, and neither does the name of a namesake with another key.
    let foreign = read(&estate.ask(&["-sha384"])).unwrap();
    assert_eq!(estate.answer(&foreign), Err(NotAnswered::NotOurs));
    assert_eq!(NotAnswered::NotOurs.failure(), Failure::Unauthorized);
    let namesake = estate.root.issuing("acme.example", KeyKind::P256);
    let responder = |authority: &Certificate| Responder::new(authority, &Provider).unwrap();
    for authority in [&namesake.certificate, &estate.root.certificate] {
        assert!(request.asked.iter().all(|id| !responder(authority).answers_for(id)));
    }
    let by = |key: &PrivateKey, times: Times| {
        estate.responder.answer(&request, &times, |_| Status::Good, key, &Provider)
    };
    assert_eq!(by(&namesake.key, times()), Err(NotAnswered::OtherKey));
    assert_eq!(NotAnswered::OtherKey.failure(), Failure::Internal);
    let early = Times { next_update: times().this_update, ..times() };
    let before = Times { produced_at: Timestamp::MIN, ..times() };
    for times in [early, before] {
        assert!(matches!(by(&estate.issuing.key, times), Err(NotAnswered::Times { .. })));
    }
}

#[test]
fn what_a_list_says_is_what_is_answered() {
    let entry = |reason| Entry { serial: Number::from(1), revoked_at: now(), reason };
    assert_eq!(Status::of(None), Status::Good);
    assert_eq!(Status::of(Some(&entry(Reason::RemoveFromCrl))), Status::Good);
    for reason in [Reason::Unspecified, Reason::CertificateHold, Reason::KeyCompromise] {
        assert_eq!(Status::of(Some(&entry(reason))), Status::Revoked { at: now(), reason });
    }
}

fn id(serial: &[u8]) -> Vec<u8> {
    let algorithm = der(0x30, &[&oid("1.3.14.3.2.26"), &der(5, &[])]);
    let (name, key) = (der(4, &[&[7; 20]]), der(4, &[&[9; 20]]));
    der(0x30, &[&algorithm, &name, &key, &der(2, &[serial])])
}

fn nonce(size: usize) -> Vec<u8> {
    extension("1.3.6.1.5.5.7.48.1.2", false, &der(4, &[&vec![5; size]]))
}

/// A request, with what stands before its list and after it.
fn request(before: &[u8], asked: &[&[u8]], extensions: &[&[u8]]) -> Vec<u8> {
    let asked: Vec<Vec<u8>> = asked.iter().map(|id| der(0x30, &[id])).collect();
    let list = der(0x30, &asked.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let extensions = match extensions {
        [] => Vec::new(),
        some => der(0xa2, &[&der(0x30, some)]),
    };
    der(0x30, &[&der(0x30, &[before, &list, &extensions])])
}

#[test]
fn bounds_hold_and_odd_requests_are_refused() {
    let one = id(&[5]);
    let many = |n| request(&[], &vec![one.as_slice(); n], &[]);
    assert_eq!(read(&many(ASKED_MAX)).unwrap().asked.len(), ASKED_MAX);
    for size in [*NONCE_BYTES.start(), *NONCE_BYTES.end()] {
        assert!(read(&request(&[], &[&one], &[&nonce(size)])).is_ok());
    }
    let of_one = |extension: &[u8]| [&one[..], &der(0xa0, &[&der(0x30, &[extension])])].concat();
    let named = der(0xa1, &[&[0x82, 1, b'x']]);
    assert!(read(&request(&named, &[&of_one(&extension("1.2.3", false, &[]))], &[])).is_ok());
    let other = extension("1.2.3", true, &[]);
    for (bytes, why) in [
        (many(0), "about nothing"),
        (many(ASKED_MAX + 1), "more than 32"),
        (request(&[], &[&one], &[&nonce(0)]), "1 to 128"),
        (request(&[], &[&one], &[&nonce(129)]), "1 to 128"),
        (request(&[], &[&one], &[&nonce(9), &nonce(9)]), "twice"),
        (request(&[], &[&one], &[&other]), "1.2.3"),
        (request(&[], &[&of_one(&other)], &[]), "1.2.3"),
        (request(&[], &[&id(&[0x80])], &[]), "below zero"),
        (request(&[], &[&id(&[1; 21])], &[]), "more than 20 bytes"),
        (request(&[0xa0, 3, 2, 1, 0], &[&one], &[]), "version"),
        (request(&[0xa3, 0], &[&one], &[]), "no list"),
        (request(&[], &[&[0x31, 0]], &[]), "no certificate"),
        ([many(1), vec![0]].concat(), "1 bytes follow"),
        (vec![0x30; BYTES_MAX + 1], "longer than"),
        (Vec::new(), "ends too early"),
    ] {
        let refusal = read(&bytes).unwrap_err().to_string();
        assert!(refusal.contains(why), "{why}: {refusal}");
    }
}

static ONE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (first, second) = (id(&[5]), id(&[0, 0x80, 1]));
    request(&[], &[&first, &second], &[&nonce(16)])
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_asked_is_read(
        serials in prop::collection::vec(any::<[u8; 16]>(), 1..=ASKED_MAX),
        size in prop::option::of(NONCE_BYTES),
    ) {
        let ids: Vec<Vec<u8>> = serials
            .iter()
            .map(|s| {
                let zeros = s.iter().take_while(|b| **b == 0).count().min(15);
                let sign: &[u8] = if s[zeros] >= 0x80 { &[0] } else { &[] };
                id(&[sign, &s[zeros..]].concat())
            })
            .collect();
        let extension = size.map(nonce);
        let extensions: Vec<&[u8]> = extension.iter().map(Vec::as_slice).collect();
        let bytes = request(&[], &ids.iter().map(Vec::as_slice).collect::<Vec<_>>(), &extensions);
        let read = read(&bytes).unwrap();
        let asked: Vec<Number> = read.asked.iter().map(|id| id.serial()).collect();
        prop_assert_eq!(asked, serials.into_iter().map(Number::from).collect::<Vec<_>>());
    }

    #[test]
    fn every_bit_and_cut_counts(
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
        cut in any::<prop::sample::Index>(),
    ) {
        let good = read(&ONE).unwrap();
        let mut bytes = ONE.clone();
        bytes[at.index(ONE.len())] ^= 1 << bit;
        prop_assert_ne!(read(&bytes).ok(), Some(good));
        prop_assert!(read(&ONE[..cut.index(ONE.len())]).is_err());
        pki::fuzzing::ocsp(&bytes);
    }

    #[test]
    fn any_bytes_are_no_request(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn nothing_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = ONE.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        pki::fuzzing::ocsp(&bytes);
    }
}
