//! An estate of our own: a root, an issuing authority and members, issued by `pki`.

use crypto::{PrivateKey, Provider};
use model::Timestamp;
use pki::identity::{Estate, MemberId};
use pki::issue::{Issuer, Order, Profile, Refusal, Subject, issue};
use pki::{Certificate, Key, KeyKind};

const DAY: i64 = 86_400_000_000_000;

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The middle of everything that is valid.
pub(crate) fn now() -> Timestamp {
    at("2035-06-01T12:00:00Z")
}

pub(crate) fn days(at: Timestamp, days: i64) -> Timestamp {
    at.plus_nanos(days * DAY)
}

pub(crate) fn subject(estate: &str, id: &str) -> Subject {
    Subject {
        estate: Estate::new(estate).unwrap(),
        id: MemberId::new(id).unwrap(),
        hosts: Vec::new(),
        addresses: Vec::new(),
    }
}

/// What the controller of the tests is called.
pub(crate) fn server_subject(estate: &str) -> Subject {
    Subject {
        hosts: vec!["localhost".to_owned(), "controller.acme.example".to_owned()],
        addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
        ..subject(estate, "hq-1")
    }
}

pub(crate) fn order<'a>(profile: Profile, subject: &'a Subject, key: &'a Key) -> Order<'a> {
    let (before, after) = match profile {
        Profile::Root => (-400, 3_000),
        Profile::Cross => (-350, 2_000),
        Profile::Issuing => (-300, 1_000),
        Profile::Site | Profile::Server => (-1, 90),
        Profile::Operator => (-1, 7),
        Profile::Device | Profile::Gateway => (-1, 30),
    };
    Order {
        profile,
        subject,
        key,
        serial: [0xa5; 16],
        not_before: days(now(), before),
        not_after: days(now(), after),
    }
}

pub(crate) struct Authority {
    pub(crate) certificate: Certificate,
    pub(crate) key: PrivateKey,
}

/// A key that has a certificate, and its PKCS #8.
pub(crate) struct Member {
    pub(crate) certificate: Certificate,
    pub(crate) key: PrivateKey,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn root(estate: &str, kind: KeyKind) -> Self {
        let (key, _) = PrivateKey::generate(kind).unwrap();
        let (subject, public) = (subject(estate, "root-1"), key.public());
        let order = order(Profile::Root, &subject, &public);
        let certificate = issue(&order, Issuer::Itself, &key, &Provider).unwrap();
        Self { certificate, key }
    }

    pub(crate) fn issue(&self, order: &Order<'_>) -> Result<Certificate, Refusal> {
        issue(order, Issuer::Authority(&self.certificate), &self.key, &Provider)
    }

    pub(crate) fn issuing(&self, estate: &str, kind: KeyKind) -> Self {
        let (key, _) = PrivateKey::generate(kind).unwrap();
        let (subject, public) = (subject(estate, "issuing-1"), key.public());
        let certificate = self.issue(&order(Profile::Issuing, &subject, &public)).unwrap();
        Self { certificate, key }
    }

    pub(crate) fn member(&self, profile: Profile, subject: &Subject) -> Member {
        self.member_with(profile, subject, |_| ())
    }

    pub(crate) fn member_with(
        &self,
        profile: Profile,
        subject: &Subject,
        change: impl FnOnce(&mut Order<'_>),
    ) -> Member {
        let (key, pem) = PrivateKey::generate(KeyKind::P256).unwrap();
        let public = key.public();
        let mut order = order(profile, subject, &public);
        change(&mut order);
        Member { certificate: self.issue(&order).unwrap(), key, pem }
    }
}
