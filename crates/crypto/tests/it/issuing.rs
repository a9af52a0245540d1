//! Certificates of our own: what is issued, what is refused, and what others make of it.

use crypto::{PrivateKey, Provider};
use pki::identity::{Estate, MemberId, estate_of};
use pki::issue::{Issuer, Order, Profile, Refusal, Subject, issue};
use pki::path::{Purpose, find};
use pki::{Algorithm, Certificate, Key, KeyKind, Signer, identity_of};
use proptest::prelude::*;

use crate::estate::{Authority, Member, at, days, now, order, server_subject, subject};
use crate::maker;
use crate::peer::{Folder, need, openssl};

const CURVES: [KeyKind; 2] = [KeyKind::P256, KeyKind::P384];

fn members(issuing: &Authority) -> Vec<(Profile, Member)> {
    let site = issuing.member(Profile::Site, &subject("acme.example", "shop-12"));
    let server = issuing.member(Profile::Server, &server_subject("acme.example"));
    let operator = issuing.member(Profile::Operator, &subject("acme.example", "kim"));
    vec![(Profile::Site, site), (Profile::Server, server), (Profile::Operator, operator)]
}

#[test]
fn openssl_accepts_and_shows_what_is_issued() {
    if !need("openssl_accepts_and_shows_what_is_issued") {
        return;
    }
    let folder = Folder::new("issued");
    let seconds = (now().as_nanos() / 1_000_000_000).to_string();
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519, KeyKind::Rsa(2_048)] {
        let root = Authority::root("acme.example", kind);
        let issuing = root.issuing("acme.example", kind);
        let anchor = folder.certificate("root.pem", &root.certificate);
        let between = folder.certificate("issuing.pem", &issuing.certificate);
        let verify = |purpose: &str, more: &[&str], leaf: &std::path::Path| {
            let mut arguments = vec!["verify", "-x509_strict", "-attime", &seconds];
            arguments.extend(["-purpose", purpose]);
            arguments.extend(more);
            let leaf = leaf.to_str().unwrap().to_owned();
            let paths = [("-CAfile", anchor.as_path()), ("-untrusted", between.as_path())];
            let mut all: Vec<String> = arguments.iter().map(ToString::to_string).collect();
            paths.iter().for_each(|(option, path)| {
                all.extend([(*option).to_owned(), path.to_str().unwrap().to_owned()]);
            });
            all.push(leaf);
            openssl(&all.iter().map(String::as_str).collect::<Vec<_>>(), &[])
        };
        for (profile, member) in members(&issuing) {
            let leaf = folder.certificate("leaf.pem", &member.certificate);
            let client = profile != Profile::Server;
            let server = profile != Profile::Operator;
            assert_eq!(verify("sslclient", &[], &leaf).is_ok(), client, "{kind:?} {profile:?}");
            assert_eq!(verify("sslserver", &[], &leaf).is_ok(), server, "{kind:?} {profile:?}");
            let identity = identity_of(&member.certificate).unwrap();
            let named = ["-verify_hostname", &identity.dns()];
            verify("any", &named, &leaf).unwrap_or_else(|said| panic!("{profile:?}: {said}"));
            assert!(verify("any", &["-verify_hostname", "other.example"], &leaf).is_err());
            if profile == Profile::Server {
                verify("sslserver", &["-verify_ip", "127.0.0.1"], &leaf).unwrap();
                verify("sslserver", &["-verify_hostname", "localhost"], &leaf).unwrap();
                assert!(verify("sslserver", &["-verify_ip", "127.0.0.2"], &leaf).is_err());
            }
            let later = days(now(), 91).as_nanos() / 1_000_000_000;
            let expired = verify("any", &["-attime", &later.to_string()], &leaf).unwrap_err();
            assert!(expired.contains("certificate has expired"), "{expired}");
            let key = PrivateKey::from_pem(member.pem.as_bytes()).unwrap();
            assert_eq!(member.certificate.key(), Ok(key.public()));
        }
        let leaf = folder.certificate("leaf.pem", &members(&issuing)[0].1.certificate);
        let shown = openssl(&["x509", "-noout", "-text"], &[("-in", &leaf)]).unwrap();
        for line in [
            "Subject: O = acme.example, CN = shop-12",
            "Issuer: O = acme.example, CN = issuing-1",
            "X509v3 Basic Constraints: critical\n                CA:FALSE",
            "X509v3 Key Usage: critical\n                Digital Signature\n",
            "TLS Web Client Authentication, TLS Web Server Authentication",
            "DNS:shop-12.site.acme.example, URI:spiffe://acme.example/site/shop-12",
            "Not Before: May 31 12:00:00 2035 GMT",
            "Not After : Aug 30 12:00:00 2035 GMT",
            "a5:a5:a5:a5:a5:a5:a5:a5:a5:a5:a5:a5:a5:a5:a5:a5",
            "X509v3 Subject Key Identifier",
            "X509v3 Authority Key Identifier",
        ] {
            assert!(shown.contains(line), "{line} in {shown}");
        }
        // The one answers about its certificates (OCSP), the other one does not.
        for (file, constraint, usage) in [
            (&anchor, "CA:TRUE, pathlen:2", "Certificate Sign, CRL Sign"),
            (&between, "CA:TRUE, pathlen:0", "Digital Signature, Certificate Sign, CRL Sign"),
        ] {
            let shown = openssl(&["x509", "-noout", "-text"], &[("-in", file)]).unwrap();
            assert!(shown.contains(constraint), "{shown}");
            let usage = format!("X509v3 Key Usage: critical\n                {usage}\n");
            assert!(shown.contains(&usage), "{shown}");
            assert!(shown.contains("URI:spiffe://acme.example\n"), "{shown}");
        }
    }
}

#[test]
fn members_are_who_they_are() {
    let root = Authority::root("acme.example", KeyKind::P256);
    let issuing = root.issuing("acme.example", KeyKind::P256);
    for (profile, member) in members(&issuing) {
        let identity = identity_of(&member.certificate).unwrap();
        assert_eq!(Some(identity.kind), profile.kind());
        assert_eq!(identity.estate.as_str(), "acme.example");
        assert_eq!(estate_of(&member.certificate), None, "a member is no authority");
    }
    for authority in [&root, &issuing] {
        assert_eq!(identity_of(&authority.certificate), None, "an authority is no member");
        assert_eq!(estate_of(&authority.certificate).unwrap().as_str(), "acme.example");
    }
    // Made by somebody who is not careful.
    let key = PrivateKey::generate(KeyKind::P256).unwrap().0;
    let with = |uris: &[&str], more: &[&[u8]]| {
        let mut names: Vec<Vec<u8>> =
            uris.iter().map(|uri| maker::der(0x86, &[uri.as_bytes()])).collect();
        names.extend(more.iter().map(|name| name.to_vec()));
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let mut blank = maker::Blank::signer();
        blank.extensions.push(maker::extension("2.5.29.17", false, &maker::der(0x30, &names)));
        identity_of(&blank.sign(&key.public(), &key)).map(|i| i.to_string())
    };
    let (one, other) = ("spiffe://acme/site/a", "spiffe://acme/site/b");
    assert_eq!(with(&[one], &[]), Some(one.to_owned()));
    assert_eq!(with(&[one], &[&[0x82, 1, b'x']]), Some(one.to_owned()));
    assert_eq!(with(&[one, other], &[]), None, "two names are none");
    assert_eq!(with(&[one, one], &[]), None);
    assert_eq!(with(&[one, "https://acme/"], &[]), None);
    assert_eq!(with(&[], &[]), None);
    assert_eq!(with(&["spiffe://acme"], &[]), None);
    assert_eq!(with(&["spiffe://acme/site/a\0.evil"], &[]), None);
    assert_eq!(with(&[one], &[&[0x87, 3, 1, 2, 3]]), None, "a damaged name spoils all");
    let plain = maker::Blank::signer().sign(&key.public(), &key);
    assert_eq!(identity_of(&plain), None);
}

/// Every refusal, by what was changed about an order that is good.
#[test]
fn what_an_authority_must_not_issue_is_refused() {
    let root = Authority::root("acme.example", KeyKind::P256);
    let issuing = root.issuing("acme.example", KeyKind::P256);
    let (site, key) = (subject("acme.example", "shop-12"), PrivateKey::generate(KeyKind::P256));
    let (key, _) = key.unwrap();
    let public = key.public();
    let good = order(Profile::Site, &site, &public);
    assert!(issuing.issue(&good).is_ok());
    let tried = |change: &dyn Fn(&mut Order<'_>)| {
        let mut order = good.clone();
        change(&mut order);
        issuing.issue(&order).unwrap_err()
    };
    assert_eq!(tried(&|o| o.serial = [0; 16]), Refusal::Serial);
    for change in [
        &(|o: &mut Order<'_>| o.not_after = o.not_before) as &dyn Fn(&mut Order<'_>),
        &|o| o.not_after = o.not_before.plus_nanos(999_999_999),
        &|o| o.not_after = o.not_before.plus_nanos(-1_000_000_000),
        &|o| o.not_before = at("1969-12-31T23:59:59Z"),
    ] {
        assert!(matches!(tried(change), Refusal::Validity { .. }));
    }
    let (from, to) = (issuing.certificate.not_before(), issuing.certificate.not_after());
    let outside = Refusal::OutsideIssuer { from, to };
    let second = 1_000_000_000;
    assert_eq!(
        tried(&|o| {
            o.not_before = from.plus_nanos(-1);
            o.not_after = days(from, 90);
        }),
        outside
    );
    assert_eq!(
        tried(&|o| {
            o.not_before = days(to, -90);
            o.not_after = to.plus_nanos(second);
        }),
        outside
    );
    // The edges themselves are good, and a fraction of the last second is cut off.
    for (not_before, not_after) in
        [(from, days(from, 90)), (days(to, -90), to.plus_nanos(second - 1))]
    {
        let order = Order { not_before, not_after, ..good.clone() };
        let issued = issuing.issue(&order).unwrap();
        assert!(issued.not_before() >= from && issued.not_after() <= to);
    }
    for profile in Profile::ALL {
        let limit = i64::from(profile.days_max());
        let authority = Authority::root("acme.example", KeyKind::P256);
        let by = |end| match profile {
            Profile::Root => {
                let own = authority.key.public();
                let begin = days(now(), -400);
                let order =
                    Order { not_before: begin, not_after: end, ..order(profile, &site, &own) };
                issue(&order, Issuer::Itself, &authority.key, &Provider)
            }
            _ => authority.issue(&Order {
                not_after: end,
                not_before: days(now(), -400),
                ..order(profile, &site, &public)
            }),
        };
        let end = days(days(now(), -400), limit);
        let refusal = Refusal::Lifetime { profile, days_max: profile.days_max() };
        assert_eq!(by(end), Err(refusal), "{profile:?}");
        assert!(by(end.plus_nanos(-second)).is_ok(), "{profile:?}");
    }
    let other = subject("other.example", "shop-12");
    let refused = Order { subject: &other, ..good.clone() };
    assert!(matches!(issuing.issue(&refused), Err(Refusal::OtherEstate { .. })));
    for kind in [KeyKind::Ed25519, KeyKind::Rsa(2_048)] {
        let foreign = PrivateKey::generate(kind).unwrap().0.public();
        for profile in [Profile::Site, Profile::Server, Profile::Operator] {
            let refused = Order { key: &foreign, ..order(profile, &site, &public) };
            assert_eq!(issuing.issue(&refused), Err(Refusal::KeyKind { profile, kind }));
        }
    }
    let own = issuing.key.public();
    assert_eq!(issuing.issue(&Order { key: &own, ..good.clone() }), Err(Refusal::IssuersKey));
    let short = Key { kind: KeyKind::P256, bytes: vec![4; 64] };
    assert!(matches!(issuing.issue(&Order { key: &short, ..good.clone() }), Err(Refusal::Weak(_))));
    let weak = Key {
        kind: KeyKind::Rsa(4_096),
        bytes: maker::der(0x30, &[&maker::der(2, &[&[0x7f; 64]]), &maker::der(2, &[&[3]])]),
    };
    assert!(matches!(
        root.issue(&Order { key: &weak, ..order(Profile::Issuing, &site, &public) }),
        Err(Refusal::Weak(_))
    ));
}

#[test]
fn only_an_authority_issues() {
    let root = Authority::root("acme.example", KeyKind::P256);
    let issuing = root.issuing("acme.example", KeyKind::P256);
    let site = subject("acme.example", "shop-12");
    let member = issuing.member(Profile::Site, &site);
    let key = PrivateKey::generate(KeyKind::P256).unwrap().0.public();
    let not = |result: Result<Certificate, Refusal>| {
        matches!(result, Err(Refusal::NotAnAuthority { .. }))
    };
    let good = order(Profile::Site, &site, &key);
    // A member, with its own key.
    let by = Issuer::Authority(&member.certificate);
    assert!(not(issue(&good, by, &member.key, &Provider)));
    // An authority below the last one, and a root that somebody else signs.
    assert!(not(issuing.issue(&order(Profile::Issuing, &site, &key))));
    assert!(not(root.issue(&order(Profile::Root, &site, &key))));
    // Nothing but a root signs itself.
    let (own, public) = (&member.key, member.key.public());
    for profile in [Profile::Issuing, Profile::Site, Profile::Server, Profile::Operator] {
        assert!(not(issue(&order(profile, &site, &public), Issuer::Itself, own, &Provider)));
    }
    let refused = issue(&order(Profile::Root, &site, &key), Issuer::Itself, own, &Provider);
    assert_eq!(refused, Err(Refusal::OtherKey("shop-12".to_owned())));
    // The certificate of one, the key of another.
    let refused = issue(&good, Issuer::Authority(&issuing.certificate), &root.key, &Provider);
    assert!(matches!(refused, Err(Refusal::OtherKey(_))));
    // An authority without the right to sign, by its key usage.
    let mut blank = maker::Blank::root();
    blank.extensions = vec![maker::authority(None), maker::key_usage(maker::DIGITAL_SIGNATURE)];
    let bad = blank.sign(&issuing.key.public(), &issuing.key);
    assert!(not(issue(&good, Issuer::Authority(&bad), &issuing.key, &Provider)));
    // An authority of nobody's estate, such as a company's own root, may issue for any.
    let foreign = maker::Blank::root().sign(&issuing.key.public(), &issuing.key);
    assert!(issue(&good, Issuer::Authority(&foreign), &issuing.key, &Provider).is_ok());
}

#[test]
fn names_that_lie_are_refused() {
    let root = Authority::root("acme.example", KeyKind::P256);
    let issuing = root.issuing("acme.example", KeyKind::P256);
    let key = PrivateKey::generate(KeyKind::P256).unwrap().0.public();
    let server = |hosts: &[&str]| {
        let hosts = hosts.iter().map(ToString::to_string).collect();
        let subject = Subject { hosts, ..subject("acme.example", "hq") };
        issuing.issue(&order(Profile::Server, &subject, &key)).map(|_| ())
    };
    assert_eq!(server(&["controller.acme.example", "acme.example"]), Ok(()));
    assert_eq!(server(&["mysite.acme.example"]), Ok(()));
    for wrong in [
        "",
        "*.acme.example",
        "Controller.acme.example",
        "controller.acme.example.",
        "a..b",
        "a b",
        "a\0b",
        "127.0.0.1",
        "-a.example",
        "shop-12.site.acme.example",
        "a.shop-12.site.acme.example",
        "site.acme.example",
        "kim.operator.acme.example",
        "hq-2.server.acme.example",
    ] {
        assert!(matches!(server(&[wrong]), Err(Refusal::Name { .. })), "{wrong}");
    }
    let many: Vec<String> = (0..99).map(|n| format!("h{n}.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(server(&many[..98]), Ok(()));
    assert!(matches!(server(&many), Err(Refusal::Name { .. })));
    for profile in [Profile::Issuing, Profile::Site, Profile::Operator] {
        let hosts = server_subject("acme.example");
        let by = if profile == Profile::Issuing { &root } else { &issuing };
        for subject in [
            Subject { hosts: Vec::new(), ..hosts.clone() },
            Subject { addresses: Vec::new(), ..hosts.clone() },
        ] {
            let refused = by.issue(&order(profile, &subject, &key));
            assert!(matches!(refused, Err(Refusal::Name { .. })), "{profile:?}");
        }
    }
}

/// A key that signs wrongly: a fault, or somebody in between.
#[derive(Debug)]
struct Faulty<'k>(&'k PrivateKey);

impl Signer for Faulty<'_> {
    fn algorithm(&self) -> Algorithm {
        self.0.algorithm()
    }

    fn public_key(&self) -> Vec<u8> {
        self.0.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        self.0.sign(&[message, b"x"].concat())
    }
}

#[test]
fn a_wrong_signature_is_never_handed_out() {
    let root = Authority::root("acme.example", KeyKind::P256);
    let (site, key) =
        (subject("acme.example", "s"), PrivateKey::generate(KeyKind::P256).unwrap().0);
    let public = key.public();
    let by = Issuer::Authority(&root.certificate);
    let refused = issue(&order(Profile::Site, &site, &public), by, &Faulty(&root.key), &Provider);
    assert!(matches!(refused, Err(Refusal::Signing(_))), "{refused:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What is issued is found again by a search that knows nothing of how it was made, and says what was ordered.
    #[test]
    fn what_is_issued_is_believed(
        curves in any::<[bool; 3]>(),
        serial in any::<[u8; 16]>(),
        estate in "[a-z][a-z0-9]{0,20}(\\.[a-z]{1,20}){0,2}",
        id in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        profile in prop::sample::select(vec![Profile::Site, Profile::Server, Profile::Operator]),
        begin in 0_i64..40,
        length in 1_i64..2_678_400,
        nanos in 0_i64..1_000_000_000,
    ) {
        prop_assume!(serial != [0; 16]);
        let [a, b, c] = curves.map(|first| CURVES[usize::from(first)]);
        let root = Authority::root(&estate, a);
        let issuing = root.issuing(&estate, b);
        let key = PrivateKey::generate(c).unwrap().0.public();
        let subject = Subject {
            estate: Estate::new(&estate).unwrap(),
            id: MemberId::new(&id).unwrap(),
            hosts: Vec::new(),
            addresses: Vec::new(),
        };
        let not_before = days(now(), -begin).plus_nanos(nanos);
        let not_after = not_before.plus_nanos(length * 1_000_000_000);
        let order = Order { profile, subject: &subject, key: &key, serial, not_before, not_after };
        prop_assume!(length < i64::from(profile.days_max()) * 86_400);
        let issued = issuing.issue(&order).unwrap();
        let mut number = issued.serial().to_vec();
        if number[0] == 0 {
            number.remove(0);
        }
        let zeros = serial.iter().take_while(|b| **b == 0).count();
        prop_assert_eq!(number.as_slice(), &serial[zeros..]);
        prop_assert_eq!(issued.key(), Ok(key.clone()));
        let identity = identity_of(&issued).unwrap();
        prop_assert_eq!((&identity.estate, &identity.id), (&subject.estate, &subject.id));
        prop_assert_eq!(Some(identity.kind), profile.kind());
        let others = [issuing.certificate.clone()];
        let anchors = [root.certificate.clone()];
        let as_of = |at, purpose| find(&issued, &others, &anchors, at, purpose, &Provider).map(|path| path.len());
        let (good, other) = match profile {
            Profile::Server => (Purpose::Server, Purpose::Client),
            _ => (Purpose::Client, Purpose::MudFile),
        };
        prop_assert_eq!(as_of(not_before, good), Ok(3));
        prop_assert_eq!(as_of(not_after, good), Ok(3));
        prop_assert!(as_of(not_before.plus_nanos(-1_000_000_000), good).is_err());
        prop_assert!(as_of(not_after.plus_nanos(1_000_000_000), good).is_err());
        prop_assert!(as_of(not_before, other).is_err());
        // Another root of the same name.
        let strangers = [Authority::root(&estate, a).certificate];
        prop_assert!(find(&issued, &others, &strangers, not_before, good, &Provider).is_err());
    }
}
