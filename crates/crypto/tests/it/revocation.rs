//! Lists of revoked certificates: ours judged by openssl, openssl's read by us, and nothing else.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use crypto::{PrivateKey, Provider};
use model::Timestamp;
use pki::crl::{
    Crl, Entry, NotApplied, NotIssued, Order, Reason, Refusal, difference, issue, read,
};
use pki::issue::Profile;
use pki::{Certificate, KeyKind, Number, Pem, Signer, Weak};
use proptest::prelude::*;

use crate::estate::{Authority, Member, at, days, now, subject};
use crate::maker::{self, der, oid};
use crate::peer::{Folder, need, openssl, openssl_says};

static ROOT: LazyLock<Authority> = LazyLock::new(|| Authority::root("acme.example", KeyKind::P256));
static ISSUING: LazyLock<Authority> = LazyLock::new(|| ROOT.issuing("acme.example", KeyKind::P256));

fn entry(serial: u64, reason: Reason) -> Entry {
    Entry { serial: Number::from(serial), revoked_at: days(now(), -3), reason }
}

fn order(number: u64, entries: &[Entry]) -> Order<'_> {
    Order {
        number: Number::from(number),
        base: None,
        this_update: days(now(), -1),
        next_update: days(now(), 1),
        freshest: None,
        entries,
    }
}

fn delta(number: u64, base: u64, entries: &[Entry]) -> Order<'_> {
    Order { base: Some(Number::from(base)), ..order(number, entries) }
}

fn list(by: &Authority, order: &Order<'_>) -> Vec<u8> {
    issue(order, &by.certificate, &by.key, &Provider).unwrap()
}

fn parse(bytes: &[u8]) -> Result<Crl, Refusal> {
    read(bytes, &ISSUING.certificate, now(), &Provider)
}

fn some() -> Vec<Entry> {
    let mut all: Vec<Entry> = (1_u64..)
        .zip(Reason::ALL)
        .filter(|(_, reason)| *reason != Reason::RemoveFromCrl)
        .map(|(n, reason)| entry(n * 0x1234_5678_9abc, reason))
        .collect();
    all.sort_by_key(|entry| entry.serial);
    all
}

#[test]
fn what_is_issued_is_read() {
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519, KeyKind::Rsa(2_048)] {
        let authority = ROOT.issuing("acme.example", kind);
        for entries in [vec![], some()] {
            let bytes = list(&authority, &order(7, &entries));
            let read =
                |bytes: &[u8]| read(bytes, &authority.certificate, now(), &Provider).unwrap();
            let crl = read(&bytes);
            assert_eq!(crl.entries(), entries);
            assert_eq!((crl.number(), crl.base()), (Number::from(7), None));
            assert_eq!(crl.this_update(), days(now(), -1));
            assert_eq!(crl.next_update(), days(now(), 1));
            assert_eq!(crl.issuer(), authority.certificate.subject());
            assert_eq!(read(Pem::write("X509 CRL", &bytes).unwrap().as_bytes()), crl);
            for entry in &entries {
                assert_eq!(crl.find(&entry.serial), Some(entry));
            }
            assert_eq!(crl.find(&Number::from(5)), None);
        }
    }
}

/// A leaf, one that is revoked, and lists that say so.
struct Revoked {
    folder: Folder,
    good: Member,
    bad: Member,
    held: Member,
}

impl Revoked {
    fn new(test: &str) -> Self {
        let member = |id: &str, n: u8| {
            let subject = subject("acme.example", id);
            ISSUING.member_with(Profile::Site, &subject, |order| order.serial = [n; 16])
        };
        let (good, bad, held) = (member("good", 0x11), member("bad", 0xfe), member("held", 0x22));
        Self { folder: Folder::new(test), good, bad, held }
    }

    /// What openssl makes of a member, given these lists.
    fn verify(&self, member: &Member, lists: &[&[u8]]) -> Result<String, String> {
        let seconds = (now().as_nanos() / 1_000_000_000).to_string();
        let leaf = self.folder.certificate("leaf.pem", &member.certificate);
        let root = self.folder.certificate("root.pem", &ROOT.certificate);
        let between = self.folder.certificate("between.pem", &ISSUING.certificate);
        let pem = |list: &&[u8]| Pem::write("X509 CRL", list).unwrap();
        let lists: String = lists.iter().map(pem).collect();
        let lists = self.folder.put("lists.pem", lists.as_bytes());
        let arguments =
            ["verify", "-crl_check", "-use_deltas", "-x509_strict", "-attime", &seconds];
        let leaf = leaf.to_str().unwrap();
        let paths = [("-CAfile", &root), ("-untrusted", &between), ("-CRLfile", &lists)];
        let mut all: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        paths.iter().for_each(|(option, path)| {
            all.extend([(*option).to_owned(), path.to_str().unwrap().to_owned()]);
        });
        all.push(leaf.to_owned());
        openssl(&all.iter().map(String::as_str).collect::<Vec<_>>(), &[])
    }
}

#[test]
fn openssl_believes_our_lists() {
    if !need("openssl_believes_our_lists") {
        return;
    }
    let folder = Folder::new("crl");
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519, KeyKind::Rsa(2_048)] {
        let authority = ROOT.issuing("acme.example", kind);
        let entries = some();
        let bytes =
            list(&authority, &Order { freshest: Some("http://x.example/d"), ..order(7, &entries) });
        let file = folder.put("l.der", &bytes);
        let issuer = folder.certificate("i.pem", &authority.certificate);
        let arguments = ["crl", "-inform", "DER", "-noout", "-text", "-verify"];
        let said = openssl_says(&arguments, &[("-in", &file), ("-CAfile", &issuer)]);
        for line in [
            "verify OK",
            "Version 2",
            "Issuer: O = acme.example, CN = issuing-1",
            "Last Update: May 31 12:00:00 2035 GMT",
            "Next Update: Jun  2 12:00:00 2035 GMT",
            "X509v3 CRL Number: \n                7\n",
            "X509v3 Authority Key Identifier",
            "X509v3 Freshest CRL: \n                Full Name:\n                  URI:http://x.example/d",
            "Serial Number: 123456789ABC\n        Revocation Date: May 29 12:00:00 2035 GMT\n    Serial",
            "Key Compromise",
            "CA Compromise",
            "Affiliation Changed",
            "Superseded",
            "Cessation Of Operation",
            "Certificate Hold",
            "Privilege Withdrawn",
            "AA Compromise",
        ] {
            assert!(said.contains(line), "{kind:?}: {line} in {said}");
        }
        let mut turned = bytes.clone();
        turned[60] ^= 1;
        let file = folder.put("t.der", &turned);
        let said = openssl_says(&arguments, &[("-in", &file), ("-CAfile", &issuer)]);
        assert!(!said.contains("verify OK"), "{said}");
    }
}

#[test]
fn openssl_refuses_what_our_lists_and_deltas_revoke() {
    if !need("openssl_refuses_what_our_lists_and_deltas_revoke") {
        return;
    }
    let revoked = Revoked::new("deltas");
    let Revoked { good, bad, held, .. } = &revoked;
    let of = |member: &Member, reason| Entry {
        serial: Number::of(&member.certificate).unwrap(),
        revoked_at: days(now(), -2),
        reason,
    };
    let then = [of(held, Reason::CertificateHold)];
    let after = [of(bad, Reason::KeyCompromise)];
    let complete = Order { freshest: Some("http://x.example/d"), ..order(1, &then) };
    let complete = list(&ISSUING, &complete);
    let changed = difference(&then, &after);
    let newer = list(&ISSUING, &delta(2, 1, &changed));
    let verify = |member, lists: &[&[u8]]| revoked.verify(member, lists);
    let refused = |member, lists: &[&[u8]]| {
        let said = verify(member, lists).unwrap_err();
        assert!(said.contains("certificate revoked"), "{said}");
    };
    verify(good, &[&complete]).unwrap();
    verify(bad, &[&complete]).unwrap();
    refused(held, &[&complete]);
    verify(good, &[&complete, &newer]).unwrap();
    refused(bad, &[&complete, &newer]);
    verify(held, &[&complete, &newer]).unwrap();
    // A delta to a list that is not there changes nothing.
    let later = list(&ISSUING, &delta(4, 3, &changed));
    verify(bad, &[&complete, &later]).unwrap();
    // We say the same.
    let [complete, newer, later] = [&complete, &newer, &later].map(|l| parse(l).unwrap());
    let applied = complete.apply(&newer).unwrap();
    assert_eq!(applied.entries(), after);
    let missing = NotApplied::Missing { base: Number::from(3), number: Number::from(1) };
    assert_eq!(complete.apply(&later), Err(missing));
    assert!(complete.find(&then[0].serial).is_some() && applied.find(&then[0].serial).is_none());
}

/// An authority's folder, as `openssl ca` has it.
fn gencrl(folder: &Folder, index: &str, extensions: &str, more: &[&str]) -> Vec<u8> {
    let path = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    let config = format!(
        "[ca]\ndefault_ca = c\n[c]\ndatabase = {}\ncrlnumber = {}\ndefault_md = sha256\n\
         crl_extensions = e\n[e]\n{extensions}",
        path("index.txt"),
        path("number"),
    );
    folder.put("index.txt", index.as_bytes());
    folder.put("number", b"0abc\n");
    let config = folder.put("c.cnf", config.as_bytes());
    let out = folder.0.join("theirs.pem");
    let mut arguments = vec!["ca", "-gencrl"];
    if !more.contains(&"-crlhours") {
        arguments.extend(["-crl_lastupdate", "20350601110000Z"]);
        arguments.extend(["-crl_nextupdate", "20350602110000Z"]);
    }
    arguments.extend(more);
    let (certificate, key) = (folder.0.join("i.pem"), folder.0.join("i.key"));
    let paths: [(&str, &Path); 4] =
        [("-config", &config), ("-cert", &certificate), ("-keyfile", &key), ("-out", &out)];
    openssl(&arguments, &paths).unwrap_or_else(|said| panic!("{extensions}: {said}"));
    fs::read(&out).unwrap()
}

#[test]
fn we_read_the_lists_of_openssl() {
    if !need("we_read_the_lists_of_openssl") {
        return;
    }
    let folder = Folder::new("gencrl");
    let issuing =
        ROOT.member_with(Profile::Issuing, &subject("acme.example", "other-1"), |order| {
            order.not_before = days(now(), -10);
        });
    folder.certificate("i.pem", &issuing.certificate);
    folder.put("i.key", issuing.pem.as_bytes());
    let line = |state: &str, revoked: &str, serial: &str| {
        format!("{state}\t400101000000Z\t{revoked}\t{serial}\tunknown\t/CN=x\n")
    };
    let index = [
        line("R", "350529120000Z,keyCompromise", "A5F0"),
        line("V", "", "11"),
        line("R", "350530120000Z", "7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"),
        line("R", "350531120000Z,certificateHold", "03"),
        // With holdInstructionCode and invalidityDate, which are not critical.
        line("R", "350531120000Z,holdInstruction,holdInstructionReject", "04"),
        line("R", "350531120000Z,keyTime,20350501120000Z", "05"),
    ]
    .concat();
    let key = "authorityKeyIdentifier = keyid:always\n";
    let parse = |bytes: &[u8]| read(bytes, &issuing.certificate, now(), &Provider);
    let crl = parse(&gencrl(&folder, &index, key, &[])).unwrap();
    assert_eq!((crl.number(), crl.base()), (Number::from(0xabc), None));
    assert_eq!(crl.next_update(), at("2035-06-02T11:00:00Z"));
    let of =
        |serial: &[u8]| crl.find(&Number::new(serial).unwrap()).map(|e| (e.reason, e.revoked_at));
    assert_eq!(of(&[0xa5, 0xf0]), Some((Reason::KeyCompromise, at("2035-05-29T12:00:00Z"))));
    let longest = [&[0x7f][..], &[0xff; 19]].concat();
    assert_eq!(of(&longest), Some((Reason::Unspecified, at("2035-05-30T12:00:00Z"))));
    assert_eq!(of(&[3]).unwrap().0, Reason::CertificateHold);
    assert_eq!(of(&[4]).unwrap().0, Reason::CertificateHold);
    assert_eq!(of(&[5]).unwrap().0, Reason::KeyCompromise);
    assert_eq!(of(&[0x11]), None);
    assert_eq!(crl.entries().len(), 5);
    let empty = parse(&gencrl(&folder, &line("V", "", "11"), key, &[])).unwrap();
    assert_eq!(empty.entries(), []);
    // A delta, and it is applied to ours.
    let indicator = format!("{key}2.5.29.27 = critical, ASN1:INTEGER:0xabb\n");
    let delta = parse(&gencrl(&folder, &index, &indicator, &[])).unwrap();
    assert_eq!(delta.base(), Some(Number::from(0xabb)));
    let signer = PrivateKey::from_pem(issuing.pem.as_bytes()).unwrap();
    let base = issue(&order(0xabb, &[]), &issuing.certificate, &signer, &Provider).unwrap();
    assert_eq!(parse(&base).unwrap().apply(&delta).unwrap().entries(), crl.entries());
    // What is not understood.
    let only = format!("{key}issuingDistributionPoint = critical, @p\n[p]\nonlyuser = TRUE\n");
    let scoped = parse(&gencrl(&folder, &index, &only, &[]));
    assert_eq!(scoped, Err(Refusal::Critical { oid: "2.5.29.28".to_owned() }));
    let loose = format!("{key}2.5.29.27 = ASN1:INTEGER:1\n");
    let loose = parse(&gencrl(&folder, &index, &loose, &[])).unwrap_err().to_string();
    assert!(loose.contains("not critical"), "{loose}");
    // One of today counts when today is.
    let today = gencrl(&folder, &index, key, &["-crlhours", "1"]);
    assert!(matches!(parse(&today), Err(Refusal::Stale { .. })));
    let weak = parse(&gencrl(&folder, &index, key, &["-md", "sha1"])).unwrap_err();
    assert!(matches!(weak, Refusal::Weak(Weak::TooWeak(_))), "{weak}");
}

#[test]
fn what_must_not_be_issued_is_refused() {
    let entries = some();
    let good = order(7, &entries);
    let tried = |order: &Order<'_>| {
        issue(order, &ISSUING.certificate, &ISSUING.key, &Provider).unwrap_err()
    };
    for next_update in [good.this_update, good.this_update.plus_nanos(999_999_999), Timestamp::MIN]
    {
        assert!(matches!(tried(&Order { next_update, ..good }), NotIssued::Validity { .. }));
    }
    let numbers = NotIssued::Numbers { base: Number::from(7), number: Number::from(7) };
    assert_eq!(tried(&Order { base: Some(Number::from(7)), ..good }), numbers);
    assert!(matches!(tried(&Order { freshest: Some("x"), ..delta(8, 7, &[]) }), NotIssued::Url(_)));
    for freshest in ["", "http://x.example/a b", "http://x.example/\u{e9}"] {
        assert!(matches!(tried(&Order { freshest: Some(freshest), ..good }), NotIssued::Url(_)));
    }
    let twice =
        [entry(3, Reason::Superseded), entry(4, Reason::Superseded), entry(3, Reason::Unspecified)];
    assert_eq!(tried(&order(7, &twice)), NotIssued::Twice(Number::from(3)));
    let removed = [entry(3, Reason::RemoveFromCrl)];
    assert!(matches!(tried(&order(7, &removed)), NotIssued::Entry { .. }));
    // Who may not.
    let by = |authority: &Certificate, key: &PrivateKey| {
        issue(&good, authority, key, &Provider).unwrap_err()
    };
    let may_not = |refusal: NotIssued, why: &str| {
        assert!(refusal.to_string().contains(why), "{why}: {refusal}");
    };
    may_not(by(&ROOT.certificate, &ISSUING.key), "not its key");
    let member = ISSUING.member(Profile::Site, &subject("acme.example", "shop-12"));
    may_not(by(&member.certificate, &member.key), "not say that it is an authority");
    let mut blank = maker::Blank::root();
    may_not(by(&blank.sign(&ROOT.key.public(), &ROOT.key), &ROOT.key), "lacks cRLSign");
    blank = maker::Blank::root();
    blank.extensions = vec![maker::authority(None), maker::key_usage(0x06)];
    may_not(by(&blank.sign(&ROOT.key.public(), &ROOT.key), &ROOT.key), "no identifier");
}

/// Signed by the right key, and still not what a list looks like.
struct Odd {
    version: Vec<u8>,
    algorithm: Vec<u8>,
    issuer: Vec<u8>,
    times: Vec<u8>,
    entries: Vec<u8>,
    extensions: Vec<u8>,
}

impl Odd {
    fn good() -> Self {
        Self {
            version: der(2, &[&[1]]),
            algorithm: der(0x30, &[&oid("1.2.840.10045.4.3.2")]),
            issuer: ISSUING.certificate.subject().to_vec(),
            times: [der(0x17, &[b"350601000000Z"]), der(0x17, &[b"350602000000Z"])].concat(),
            entries: Self::entries(&[&Self::entry(5, &[])]),
            extensions: Self::extensions(&[&maker::extension("2.5.29.20", false, &[2, 1, 7])]),
        }
    }

    fn entry(serial: u8, extensions: &[&[u8]]) -> Vec<u8> {
        let extensions = match extensions {
            [] => Vec::new(),
            some => der(0x30, some),
        };
        let at = der(0x17, &[b"350601000000Z"]);
        der(0x30, &[&der(2, &[&[serial]]), &at, &extensions])
    }

    fn entries(entries: &[&[u8]]) -> Vec<u8> {
        der(0x30, entries)
    }

    fn extensions(extensions: &[&[u8]]) -> Vec<u8> {
        der(0xa0, &[&der(0x30, extensions)])
    }

    fn sign(self) -> Vec<u8> {
        let outer = der(0x30, &[&oid("1.2.840.10045.4.3.2")]);
        let Self { version, algorithm, issuer, times, entries, extensions } = self;
        let body = [version, algorithm, issuer, times, entries, extensions].concat();
        let body = der(0x30, &[&body]);
        let signature = ISSUING.key.sign(&body).unwrap();
        der(0x30, &[&body, &outer, &der(3, &[&[0], &signature])])
    }
}

#[test]
fn odd_lists_are_refused() {
    assert_eq!(parse(&Odd::good().sign()).unwrap().entries().len(), 1);
    let number = maker::extension("2.5.29.20", false, &[2, 1, 7]);
    let reason = |code: u8| maker::extension("2.5.29.21", false, &[0x0a, 1, code]);
    let listed = |entries: &[&[u8]]| Odd { entries: Odd::entries(entries), ..Odd::good() };
    let with =
        |extensions: &[&[u8]]| Odd { extensions: Odd::extensions(extensions), ..Odd::good() };
    let times = |all: &[&[u8]]| Odd { times: all.concat(), ..Odd::good() };
    let from = der(0x17, &[b"350601000000Z"]);
    for (odd, why) in [
        (Odd { version: Vec::new(), ..Odd::good() }, "no version"),
        (Odd { version: der(2, &[&[0]]), ..Odd::good() }, "version is not 2"),
        (Odd { algorithm: der(0x30, &[&oid("1.3.101.112")]), ..Odd::good() }, "two algorithms"),
        (Odd { issuer: ROOT.certificate.subject().to_vec(), ..Odd::good() }, "is by"),
        (times(&[&from]), "when the next one is due"),
        (times(&[]), "since when"),
        (times(&[&from, &from]), "is old"),
        (times(&[&from, &der(0x17, &[b"350631000000Z"])]), "a time in it"),
        (
            times(&[&der(0x17, &[b"350602000000Z"]), &der(0x17, &[b"350603000000Z"])]),
            "not count before",
        ),
        (listed(&[]), "list of no entries"),
        (listed(&[&Odd::entry(0x80, &[])]), "below zero"),
        (listed(&[&Odd::entry(5, &[]), &Odd::entry(5, &[])]), "twice"),
        (listed(&[&Odd::entry(6, &[]), &Odd::entry(5, &[]), &Odd::entry(6, &[])]), "twice"),
        (listed(&[&Odd::entry(5, &[&reason(7)])]), "means nothing"),
        (listed(&[&Odd::entry(5, &[&reason(8)])]), "is no delta"),
        (listed(&[&Odd::entry(5, &[&reason(1), &reason(1)])]), "stands in it twice"),
        (
            listed(&[&Odd::entry(5, &[&maker::extension("2.5.29.29", true, &[0x30, 0])])]),
            "2.5.29.29",
        ),
        (listed(&[&[0x31, 0]]), "no entry"),
        (Odd { extensions: Vec::new(), ..Odd::good() }, "no extension"),
        (with(&[]), "no number"),
        (with(&[&number, &number]), "twice"),
        (with(&[&number, &maker::extension("1.2.3", true, &[])]), "1.2.3"),
        (with(&[&number, &maker::extension("2.5.29.27", true, &[2, 1, 7])]), "to the later list"),
        (with(&[&maker::extension("2.5.29.20", false, &[2, 2, 0, 7])]), "is none"),
        (
            with(&[&number, &maker::extension("2.5.29.35", false, &[0x30, 3, 0x80, 1, 9])]),
            "with another key",
        ),
    ] {
        let refusal = parse(&odd.sign()).unwrap_err().to_string();
        assert!(refusal.contains(why), "{why}: {refusal}");
    }
    // What is not critical is left alone, and entries may be in any order.
    let other = maker::extension("1.2.3", false, &[]);
    assert!(parse(&with(&[&number, &other]).sign()).is_ok());
    let unsorted = listed(&[&Odd::entry(6, &[&other]), &Odd::entry(5, &[&reason(0)])]);
    assert_eq!(
        parse(&unsorted.sign()).unwrap().find(&Number::from(5)).unwrap().reason,
        Reason::Unspecified
    );
}

#[test]
fn a_list_counts_for_a_while_and_for_its_authority() {
    let bytes = list(&ISSUING, &order(7, &some()));
    let crl = parse(&bytes).unwrap();
    let (from, to) = (crl.this_update(), crl.next_update());
    let when = |at| read(&bytes, &ISSUING.certificate, at, &Provider);
    assert_eq!(when(from.plus_nanos(-1)), Err(Refusal::NotYetValid { at: from }));
    assert!(when(from).is_ok() && when(to.plus_nanos(999_999_999)).is_ok());
    assert_eq!(when(to.plus_nanos(1_000_000_000)), Err(Refusal::Stale { at: to }));
    // Another key under the same name.
    let other = ROOT.issuing("acme.example", KeyKind::P256);
    let refusal = read(&bytes, &other.certificate, now(), &Provider).unwrap_err();
    assert!(matches!(refusal, Refusal::Signature { .. }), "{refusal}");
    let refusal = read(&bytes, &ROOT.certificate, now(), &Provider).unwrap_err();
    assert!(matches!(refusal, Refusal::OtherIssuer { .. }), "{refusal}");
    // Who signs certificates may still not sign lists.
    let mut blank = maker::Blank::root();
    blank.extensions = vec![maker::authority(None), maker::key_usage(0x04)];
    let narrow = blank.sign(&ROOT.key.public(), &ROOT.key);
    let issuer = Odd { issuer: narrow.subject().to_vec(), ..Odd::good() };
    let refusal = read(&issuer.sign(), &narrow, now(), &Provider).unwrap_err();
    assert!(refusal.to_string().contains("lacks cRLSign"), "{refusal}");
    for wrong in [&b""[..], b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", b"0"]
    {
        assert!(matches!(parse(wrong), Err(Refusal::Malformed(_))));
    }
}

#[test]
fn deltas_fit_their_base_or_are_refused() {
    let complete = |n, entries: &[Entry]| parse(&list(&ISSUING, &order(n, entries))).unwrap();
    let change =
        |n, base, entries: &[Entry]| parse(&list(&ISSUING, &delta(n, base, entries))).unwrap();
    let (one, two) = (entry(1, Reason::Superseded), entry(2, Reason::KeyCompromise));
    let base = complete(5, &[one]);
    let next = change(6, 5, &[two]);
    let applied = base.apply(&next).unwrap();
    assert_eq!((applied.number(), applied.base()), (Number::from(6), None));
    assert_eq!(applied.entries(), [one, two]);
    assert_eq!(applied.next_update(), next.next_update());
    // A later list than the base will do, and a chain of deltas.
    assert_eq!(complete(7, &[one]).apply(&change(8, 5, &[two])).unwrap().entries(), [one, two]);
    let gone = Entry { reason: Reason::RemoveFromCrl, ..one };
    assert_eq!(applied.apply(&change(7, 5, &[gone, two])).unwrap().entries(), [two]);
    let old = |delta: u64, number: u64| {
        Err(NotApplied::Old { delta: Number::from(delta), number: Number::from(number) })
    };
    assert_eq!(complete(6, &[]).apply(&next), old(6, 6));
    assert_eq!(complete(7, &[]).apply(&next), old(6, 7));
    assert!(matches!(complete(4, &[]).apply(&next), Err(NotApplied::Missing { .. })));
    assert_eq!(base.apply(&base), Err(NotApplied::Kinds));
    assert_eq!(next.apply(&next), Err(NotApplied::Kinds));
    let other = ROOT.issuing("acme.example", KeyKind::P256);
    let foreign = list(&other, &delta(6, 5, &[two]));
    let foreign = read(&foreign, &other.certificate, now(), &Provider).unwrap();
    assert!(matches!(base.apply(&foreign), Err(NotApplied::OtherIssuer { .. })));
}

/// As many as a large fleet loses, and more than one element's parts that are looked at.
#[test]
fn a_hundred_thousand_entries() {
    let entries: Vec<Entry> = (0..100_000_u64)
        .map(|n| {
            let mut serial = [0xa5; 16];
            serial[4..12].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            let revoked_at = now().plus_nanos(-1_000_000_000 * i64::try_from(n).unwrap());
            Entry { serial: Number::from(serial), revoked_at, reason: Reason::Superseded }
        })
        .collect();
    let bytes = list(&ISSUING, &order(7, &entries));
    let crl = parse(&bytes).unwrap();
    assert_eq!(crl.entries().len(), entries.len());
    assert!(entries.iter().all(|entry| crl.find(&entry.serial) == Some(entry)));
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let serial = prop_oneof![
        any::<u64>().prop_map(Number::from),
        (0_u64..20).prop_map(Number::from),
        any::<[u8; 16]>().prop_map(Number::from),
    ];
    let reasons: Vec<Reason> =
        Reason::ALL.into_iter().filter(|r| *r != Reason::RemoveFromCrl).collect();
    (serial, -2_000_000_000_i64..6_000_000_000, prop::sample::select(reasons)).prop_map(
        |(serial, secs, reason)| Entry {
            serial,
            revoked_at: Timestamp::from_secs(secs, 0),
            reason,
        },
    )
}

fn any_entries() -> impl Strategy<Value = Vec<Entry>> {
    prop::collection::vec(any_entry(), 0..40).prop_map(|mut entries| {
        entries.sort_by_key(|entry| entry.serial);
        entries.dedup_by_key(|entry| entry.serial);
        entries
    })
}

static ONE: LazyLock<Vec<u8>> = LazyLock::new(|| list(&ISSUING, &delta(7, 6, &some())));

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(
        entries in any_entries().prop_map(|e| e.into_iter().rev().collect::<Vec<_>>()),
        number in any::<u64>(),
        base in prop::option::of(any::<u64>()),
    ) {
        let base = base.map(|base| Number::from(base % number.max(1))).filter(|b| *b < Number::from(number));
        let order = Order { base, ..order(number, &entries) };
        let crl = parse(&list(&ISSUING, &order)).unwrap();
        let mut sorted = entries.clone();
        sorted.sort_by_key(|entry| entry.serial);
        prop_assert_eq!(crl.entries(), sorted);
        prop_assert_eq!((crl.number(), crl.base()), (Number::from(number), base));
    }

    /// A complete list and a delta are the next complete list.
    #[test]
    fn a_delta_says_what_changed(then in any_entries(), after in any_entries()) {
        let complete = parse(&list(&ISSUING, &order(1, &then))).unwrap();
        let changed = difference(&then, &after);
        let applied = complete.apply(&parse(&list(&ISSUING, &delta(2, 1, &changed))).unwrap());
        prop_assert_eq!(applied, Ok(parse(&list(&ISSUING, &order(2, &after))).unwrap()));
    }

    #[test]
    fn every_bit_and_cut_counts(
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = ONE.clone();
        let place = at.index(bytes.len());
        bytes[place] ^= 1 << bit;
        prop_assert!(parse(&bytes).is_err(), "byte {}", place);
        prop_assert!(parse(&ONE[..cut.index(ONE.len())]).is_err());
        prop_assert!(parse(&[&ONE[..], &[0]].concat()).is_err());
    }

    #[test]
    fn any_bytes_are_no_list(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(parse(&bytes).is_err());
    }

    /// With a provider that says yes to every signature, so that what is behind it is reached.
    #[test]
    fn nothing_behind_the_signature_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = ONE.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        pki::fuzzing::crl(&bytes);
    }
}
