//! An estate's certificates, made for a test.

use std::sync::Arc;

use crypto::tls::{Credentials, Trust};
use crypto::{PrivateKey, Provider};
use model::Timestamp;
use model::line::RevocationList;
use pki::crl::{self, Entry, Reason};
use pki::identity::{Estate, MemberId};
use pki::issue::{self, Issuer, Order, Profile, Subject};
use pki::{Certificate, Key, KeyKind, Number, Pem, request};

const DAY_S: i64 = 86_400;

pub(crate) struct Authority {
    root: Certificate,
    issuing: Certificate,
    key: PrivateKey,
}

fn new_key() -> PrivateKey {
    PrivateKey::generate(KeyKind::P256).unwrap().0
}

fn subject(id: &str, addresses: &[&str]) -> Subject {
    Subject {
        estate: Estate::new("acme.example").unwrap(),
        id: MemberId::new(id).unwrap(),
        hosts: Vec::new(),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

fn later(days: i64) -> Timestamp {
    site::shell::now().plus_nanos(days * DAY_S * 1_000_000_000)
}

fn issue(
    profile: Profile,
    subject: &Subject,
    key: &Key,
    days: (i64, i64),
    by: Issuer<'_>,
    with: &PrivateKey,
) -> Certificate {
    let mut serial = [0; 16];
    crypto::random(&mut serial).unwrap();
    let (not_before, not_after) = (later(days.0), later(days.1));
    let order = Order { profile, subject, key, serial, not_before, not_after };
    issue::issue(&order, by, with, &Provider).unwrap()
}

impl Authority {
    pub(crate) fn new() -> Self {
        let (root_key, key) = (new_key(), new_key());
        let public = root_key.public();
        let root = issue(
            Profile::Root,
            &subject("root", &[]),
            &public,
            (-400, 400),
            Issuer::Itself,
            &root_key,
        );
        let by = Issuer::Authority(&root);
        let public = key.public();
        let issuing =
            issue(Profile::Issuing, &subject("issuing", &[]), &public, (-399, 399), by, &root_key);
        Self { root, issuing, key }
    }

    pub(crate) fn root_sha256(&self) -> String {
        crypto::sha256(self.root.der()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What a server at 127.0.0.1 shows.
    pub(crate) fn server(&self) -> Credentials {
        let key = new_key();
        let by = Issuer::Authority(&self.issuing);
        let subject = subject("controller", &["127.0.0.1"]);
        let leaf = issue(Profile::Server, &subject, &key.public(), (-1, 30), by, &self.key);
        let chain = vec![leaf, self.issuing.clone(), self.root.clone()];
        Credentials { chain, key: Arc::new(key) }
    }

    pub(crate) fn root_pem(&self) -> String {
        Pem::write("CERTIFICATE", self.root.der()).unwrap()
    }

    /// A list of so many revoked certificates, as the controller sends it: whole or only the change since list 1.
    pub(crate) fn revoked(&self, number: u128, count: u128, is_whole: bool) -> RevocationList {
        let of = |n: u128| Number::from(n.to_be_bytes());
        let revoked_at = Timestamp::from_secs(1_800_000_000, 0);
        let one = |n| Entry { serial: of(n), revoked_at, reason: Reason::KeyCompromise };
        let entries: Vec<Entry> = (1..=count).map(one).collect();
        let list = |base: Option<u128>| {
            let order = crl::Order {
                number: of(number),
                base: base.map(of),
                this_update: later(-1),
                next_update: later(1),
                freshest: None,
                entries: &entries,
            };
            let der = crl::issue(&order, &self.issuing, &self.key, &Provider).unwrap();
            Pem::write("X509 CRL", &der).unwrap()
        };
        RevocationList {
            authority: Pem::write("CERTIFICATE", self.issuing.der()).unwrap(),
            complete: is_whole.then(|| list(None)),
            delta: list(Some(1)),
        }
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust { roots: vec![self.root.clone()], revoked: Arc::new(|_: &Certificate| false) }
    }

    /// A site's certificate for a request, from and to so many days from now: the key it is for, and the chain.
    pub(crate) fn site(&self, csr: &str, days: (i64, i64)) -> (Key, String) {
        let request = request::read(csr.as_bytes(), &Provider).unwrap();
        let by = Issuer::Authority(&self.issuing);
        let leaf = issue(Profile::Site, &subject("shop-1", &[]), &request.key, days, by, &self.key);
        let chain = [&leaf, &self.issuing, &self.root];
        let pem = chain.map(|c| Pem::write("CERTIFICATE", c.der()).unwrap());
        (request.key, pem.concat())
    }
}
