//! Issuing certificates (RFC 5280 §4): a profile says what a certificate is for and how long it may live.
//!
//! Time, serial number and keys come from the caller. What would make a certificate that an authority must not issue is
//! refused before anything is signed, and what was signed is read and verified again before it is handed out.

use std::net::IpAddr;

use model::Timestamp;
use x509_cert::spki::ObjectIdentifier as Oid;

use crate::der::{self, element, tag};
use crate::identity::{Estate, Identity, Kind, MemberId, check_host, estate_of};
use crate::san::{NAMES_MAX, Names};
use crate::{Algorithm, Certificate, Digest, Key, KeyKind, Malformed, Signer, Verifier, Weak};

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// The estate's root: signs issuing authorities, and stays offline.
    Root,
    /// Another root, as the root of before certifies it: whoever knows only that one believes in both.
    Cross,
    /// Signs members' certificates, and no authority.
    Issuing,
    /// A site: client of the controller, and server to what is at the site.
    Site,
    /// A server, with host names and addresses of its own.
    Server,
    /// A person, or what acts for one: only a client.
    Operator,
    /// A device (LDevID, IEEE 802.1AR): client, and server to what it offers itself.
    Device,
    /// A device that others speak to as to the estate, or that speaks for others: so that none of them takes just any device for it.
    Gateway,
}

/// Whose certificate it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The estate it belongs to.
    pub estate: Estate,
    /// Its id there; of an authority too (`root-2026`), so that a later one has another name.
    pub id: MemberId,
    /// Further host names; only of a [`Profile::Server`].
    pub hosts: Vec<String>,
    /// Addresses; only of a [`Profile::Server`].
    pub addresses: Vec<IpAddr>,
}

/// A certificate to be issued.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// What it is for.
    pub profile: Profile,
    /// Whose.
    pub subject: &'a Subject,
    /// Its public key. Whoever asks has proved to hold the private half ([`crate::request::read`]).
    pub key: &'a Key,
    /// 128 random bits, never used before.
    pub serial: [u8; 16],
    /// First second of its validity: a little in the past, because clocks differ.
    pub not_before: Timestamp,
    /// Last second of its validity.
    pub not_after: Timestamp,
}

/// Why no certificate is issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A serial number of nothing.
    #[error("the serial number is 0; it has to be random")]
    Serial,
    /// It would never be valid, or not in any calendar.
    #[error("a certificate cannot be valid from {from} to {to}")]
    Validity {
        /// First second.
        from: Timestamp,
        /// Last second.
        to: Timestamp,
    },
    /// It would live longer than its profile allows.
    #[error(
        "a certificate of the profile {profile:?} lives {days_max} days at most, from its first second, which may be in the past"
    )]
    Lifetime {
        /// The profile.
        profile: Profile,
        /// Its maximum.
        days_max: u16,
    },
    /// It would be valid when its issuer is not.
    #[error("its issuer is valid from {from} to {to}, and it would be valid outside of that")]
    OutsideIssuer {
        /// First second of the issuer.
        from: Timestamp,
        /// Last second of the issuer.
        to: Timestamp,
    },
    /// The issuer may not issue it.
    #[error("{issuer} may not issue it: {why}")]
    NotAnAuthority {
        /// Who.
        issuer: String,
        /// What is missing.
        why: String,
    },
    /// The issuer's key is another one.
    #[error("the key that would sign is not the key of {0}")]
    OtherKey(String),
    /// The authority is for another estate.
    #[error(
        "the authority is for the estate {authority}, and the certificate would be for {asked}"
    )]
    OtherEstate {
        /// Whose authority it is.
        authority: Estate,
        /// Which was asked for.
        asked: Estate,
    },
    /// A key that the profile does not take.
    #[error(
        "the profile {profile:?} does not take a key of the kind {kind:?}; P-256 is good for all"
    )]
    KeyKind {
        /// The profile.
        profile: Profile,
        /// What was offered.
        kind: KeyKind,
    },
    /// A key that does not count.
    #[error("{0}")]
    Weak(#[from] Weak),
    /// An authority never certifies its own key as somebody else's.
    #[error("the subject's key is the key of its issuer")]
    IssuersKey,
    /// A name that cannot be in it.
    #[error("`{name}` cannot be in it: {why}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// The key could not sign, or signed wrongly.
    #[error("it could not be signed: {0}")]
    Signing(String),
    /// What was made cannot be read.
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

/// Who signs.
#[derive(Clone, Copy, Debug)]
pub enum Issuer<'a> {
    /// The subject itself; only a [`Profile::Root`].
    Itself,
    /// An authority.
    Authority(&'a Certificate),
}

/// Issues a certificate.
pub fn issue(
    order: &Order<'_>,
    issuer: Issuer<'_>,
    signer: &dyn Signer,
    verifier: &dyn Verifier,
) -> Result<Certificate, Refusal> {
    let signing_key = Key::of(signer)?;
    check_order(order)?;
    let issuer_name = match issuer {
        Issuer::Itself => check_itself(order, &signing_key)?,
        Issuer::Authority(authority) => check_authority(order, authority, &signing_key)?,
    };
    let key_id = |key: &Key| identifier(key, verifier);
    let authority_id = match issuer {
        Issuer::Authority(authority) => authority.subject_key().map(<[u8]>::to_vec),
        Issuer::Itself => None,
    };
    let authority_id = authority_id.unwrap_or_else(|| key_id(&signing_key));
    let algorithm = signer.algorithm();
    let body = element(
        tag::SEQUENCE,
        &[
            &element(tag::context(0), &[&element(tag::INTEGER, &[&[2]])]),
            &serial(order.serial),
            &algorithm.write(),
            &issuer_name,
            &validity(order)?,
            &name(order.subject),
            &order.key.write(),
            &extensions(order, &key_id(order.key), &authority_id)?,
        ],
    );
    let signature = sign(&body, &signing_key, signer, verifier)?;
    let bits = element(tag::BIT_STRING, &[&[0], &signature]);
    let bytes = element(tag::SEQUENCE, &[&body, &algorithm.write(), &bits]);
    Ok(Certificate::from_der(&bytes)?)
}

/// Signs, and believes no key blindly: a fault while signing can betray the key.
pub(crate) fn sign(
    body: &[u8],
    key: &Key,
    signer: &dyn Signer,
    verifier: &dyn Verifier,
) -> Result<Vec<u8>, Refusal> {
    let signature = signer.sign(body).map_err(Refusal::Signing)?;
    match verifier.verify(signer.algorithm(), key, body, &signature) {
        true => Ok(signature),
        false => Err(Refusal::Signing("its own signature does not verify".to_owned())),
    }
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Root,
        Self::Cross,
        Self::Issuing,
        Self::Site,
        Self::Server,
        Self::Operator,
        Self::Device,
        Self::Gateway,
    ];

    /// Days that a certificate may live. A site may be without its controller for months; a person is not.
    pub const fn days_max(self) -> u16 {
        match self {
            Self::Root => 3_660,
            Self::Cross | Self::Issuing => 1_830,
            Self::Site | Self::Server => 398,
            Self::Operator => 31,
            Self::Device | Self::Gateway => 92,
        }
    }

    /// What a member with it is; `None` for authorities.
    pub const fn kind(self) -> Option<Kind> {
        match self {
            Self::Root | Self::Cross | Self::Issuing => None,
            Self::Site => Some(Kind::Site),
            Self::Server => Some(Kind::Server),
            Self::Operator => Some(Kind::Operator),
            Self::Device => Some(Kind::Device),
            Self::Gateway => Some(Kind::Gateway),
        }
    }

    /// Authorities that may be below it; `None` where it is no authority.
    const fn path_length(self) -> Option<u8> {
        match self {
            // The next root, and what issues below that.
            Self::Root => Some(2),
            Self::Cross => Some(1),
            Self::Issuing => Some(0),
            Self::Site | Self::Server | Self::Operator | Self::Device | Self::Gateway => None,
        }
    }

    /// Kinds of keys that it is for.
    const fn takes(self, kind: KeyKind) -> bool {
        match self {
            // Whatever a signer has.
            Self::Root | Self::Cross | Self::Issuing => true,
            // TLS stacks of browsers and FIPS modules know these two.
            Self::Site | Self::Server | Self::Operator => {
                matches!(kind, KeyKind::P256 | KeyKind::P384)
            }
            // What devices' hardware holds is not ours to choose. RSA of fewer than 2,048 bits is weak wherever it is read.
            Self::Device | Self::Gateway => {
                matches!(kind, KeyKind::P256 | KeyKind::P384 | KeyKind::Ed25519 | KeyKind::Rsa(_))
            }
        }
    }

    const fn purposes(self) -> &'static [Oid] {
        match self {
            Self::Root | Self::Cross | Self::Issuing => &[],
            Self::Site | Self::Device | Self::Gateway => &[oid::CLIENT_AUTH, oid::SERVER_AUTH],
            Self::Server => &[oid::SERVER_AUTH],
            Self::Operator => &[oid::CLIENT_AUTH],
        }
    }
}

pub(crate) mod oid {
    use super::Oid;

    pub(super) const COMMON_NAME: Oid = Oid::new_unwrap("2.5.4.3");
    pub(super) const ORGANISATION: Oid = Oid::new_unwrap("2.5.4.10");
    pub(super) const SUBJECT_KEY: Oid = Oid::new_unwrap("2.5.29.14");
    pub(super) const KEY_USAGE: Oid = Oid::new_unwrap("2.5.29.15");
    pub(crate) const SUBJECT_ALT_NAME: Oid = Oid::new_unwrap("2.5.29.17");
    pub(super) const BASIC_CONSTRAINTS: Oid = Oid::new_unwrap("2.5.29.19");
    pub(super) const AUTHORITY_KEY: Oid = Oid::new_unwrap("2.5.29.35");
    pub(super) const EXTENDED_KEY_USAGE: Oid = Oid::new_unwrap("2.5.29.37");
    pub(crate) const SERVER_AUTH: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.3.1");
    pub(crate) const CLIENT_AUTH: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.3.2");
}

fn check_order(order: &Order<'_>) -> Result<(), Refusal> {
    let (from, to) = (seconds(order.not_before), seconds(order.not_after));
    if order.serial == [0; 16] {
        return Err(Refusal::Serial);
    }
    if from < 0 || to <= from {
        return Err(Refusal::Validity { from: order.not_before, to: order.not_after });
    }
    let days_max = order.profile.days_max();
    // The last second belongs to the validity (RFC 5280 §4.1.2.5).
    if to.saturating_sub(from) >= i64::from(days_max) * 86_400 {
        return Err(Refusal::Lifetime { profile: order.profile, days_max });
    }
    // As it will be read from the certificate, and not weak.
    let same = Key::read(&order.key.write())?;
    if same != *order.key {
        return Err(Weak::Malformed("the subject's key").into());
    }
    let kind = order.key.kind;
    match order.profile.takes(kind) {
        true => Ok(()),
        false => Err(Refusal::KeyKind { profile: order.profile, kind }),
    }
}

/// The issuer's name.
fn check_itself(order: &Order<'_>, signing: &Key) -> Result<Vec<u8>, Refusal> {
    let own = name(order.subject);
    if order.profile != Profile::Root {
        let why = "only a root signs itself".to_owned();
        return Err(Refusal::NotAnAuthority { issuer: order.subject.id.to_string(), why });
    }
    match signing == order.key {
        true => Ok(own),
        false => Err(Refusal::OtherKey(order.subject.id.to_string())),
    }
}

/// The issuer's name, when it may issue what was ordered.
fn check_authority(
    order: &Order<'_>,
    authority: &Certificate,
    signing: &Key,
) -> Result<Vec<u8>, Refusal> {
    let issuer = authority.subject_text();
    let refuse =
        |why: &str| Err(Refusal::NotAnAuthority { issuer: issuer.clone(), why: why.to_owned() });
    if order.profile == Profile::Root {
        return refuse("a root is signed by nobody but itself");
    }
    let constraints = authority.basic_constraints()?.filter(|c| c.ca);
    let Some(constraints) = constraints else {
        return refuse("its basic constraints do not say that it is an authority");
    };
    if !authority.key_usage()?.is_some_and(|usage| usage.key_cert_sign()) {
        return refuse("its key usage lacks keyCertSign");
    }
    // An issuer that allows any depth allows ours.
    let below = order.profile.path_length();
    if below.is_some_and(|own| constraints.path_len_constraint.is_some_and(|max| max <= own)) {
        return refuse("it allows no authority below it");
    }
    if authority.key()? != *signing {
        return Err(Refusal::OtherKey(issuer));
    }
    if signing == order.key {
        return Err(Refusal::IssuersKey);
    }
    let (from, to) = (authority.not_before(), authority.not_after());
    if seconds(order.not_before) < seconds(from) || seconds(order.not_after) > seconds(to) {
        return Err(Refusal::OutsideIssuer { from, to });
    }
    match estate_of(authority) {
        Some(estate) if estate != order.subject.estate => {
            let asked = order.subject.estate.clone();
            Err(Refusal::OtherEstate { authority: estate, asked })
        }
        _ => Ok(authority.subject().to_vec()),
    }
}

const fn seconds(at: Timestamp) -> i64 {
    at.as_nanos().div_euclid(1_000_000_000)
}

/// A positive INTEGER (RFC 5280 §4.1.2.2).
fn serial(bytes: [u8; 16]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    let digits = bytes.get(zeros..).unwrap_or_default();
    let sign: &[u8] = if digits.first().is_none_or(|b| *b >= 0x80) { &[0] } else { &[] };
    element(tag::INTEGER, &[sign, digits])
}

fn validity(order: &Order<'_>) -> Result<Vec<u8>, Refusal> {
    let wrong = |_| Refusal::Validity { from: order.not_before, to: order.not_after };
    let from = der::time(order.not_before).map_err(wrong)?;
    let to = der::time(order.not_after).map_err(wrong)?;
    Ok(element(tag::SEQUENCE, &[&from, &to]))
}

/// `O=ESTATE, CN=ID`.
pub(crate) fn name(subject: &Subject) -> Vec<u8> {
    let part = |kind: Oid, text: &str| {
        let text = element(tag::UTF8_STRING, &[text.as_bytes()]);
        let pair = element(tag::SEQUENCE, &[&element(tag::OID, &[kind.as_bytes()]), &text]);
        element(tag::SET, &[&pair])
    };
    let organisation = part(oid::ORGANISATION, subject.estate.as_str());
    let common = part(oid::COMMON_NAME, subject.id.as_str());
    element(tag::SEQUENCE, &[&organisation, &common])
}

/// RFC 7093 §2, method 1: the leftmost 160 bits of the SHA-256 of the key.
fn identifier(key: &Key, verifier: &dyn Verifier) -> Vec<u8> {
    let mut digest = verifier.digest(Digest::Sha256, &key.bytes);
    digest.truncate(20);
    digest
}

/// What a certificate or a request with this profile names.
pub(crate) fn names(profile: Profile, subject: &Subject) -> Result<Names, Refusal> {
    let refuse = |name: String, why| Err(Refusal::Name { name, why });
    let estate = &subject.estate;
    let Some(kind) = profile.kind() else {
        return match subject.hosts.first() {
            Some(host) => refuse(host.clone(), "an authority has no host names"),
            None if !subject.addresses.is_empty() => {
                refuse("an address".to_owned(), "an authority has no addresses")
            }
            None => Ok(Names { uris: vec![estate.uri()], ..Names::default() }),
        };
    };
    let (hosts, addresses) = (&subject.hosts, &subject.addresses);
    if hosts.len().saturating_add(addresses.len()).saturating_add(2) > NAMES_MAX {
        return refuse(format!("{} hosts", hosts.len()), "these are more names than are read");
    }
    if profile != Profile::Server && (!hosts.is_empty() || !addresses.is_empty()) {
        let name = hosts.first().cloned().unwrap_or_else(|| "an address".to_owned());
        return refuse(name, "only a server has host names and addresses");
    }
    let reserved = Kind::ALL.map(|kind| format!("{}.{estate}", kind.as_str()));
    for host in hosts {
        if let Err(why) = check_host(host) {
            return refuse(host.clone(), why);
        }
        let under = |zone: &String| {
            host.strip_suffix(zone.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if reserved.iter().any(under) {
            return refuse(host.clone(), "names there belong to the identities of the estate");
        }
    }
    let identity = Identity { estate: estate.clone(), kind, id: subject.id.clone() };
    let mut dns = vec![identity.dns()];
    dns.extend(hosts.iter().cloned());
    Ok(Names { dns, uris: vec![identity.to_string()], addresses: addresses.clone() })
}

/// An Extension; `DEFAULT FALSE` is left out.
pub(crate) fn extension(kind: Oid, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[tag::BOOLEAN, 1, 0xff] } else { &[] };
    let kind = element(tag::OID, &[kind.as_bytes()]);
    element(tag::SEQUENCE, &[&kind, critical, &element(tag::OCTET_STRING, &[value])])
}

fn extensions(order: &Order<'_>, own: &[u8], authority: &[u8]) -> Result<Vec<u8>, Refusal> {
    let path_length = order.profile.path_length();
    let constraints = match path_length {
        Some(n) => vec![tag::BOOLEAN, 1, 0xff, tag::INTEGER, 1, n],
        None => Vec::new(),
    };
    let usage: [u8; 2] = match order.profile {
        // keyCertSign and cRLSign.
        Profile::Root | Profile::Cross => [1, 0x06],
        // And digitalSignature: it answers about its certificates itself (RFC 6960 §4.2.2.2).
        Profile::Issuing => [1, 0x86],
        Profile::Site
        | Profile::Server
        | Profile::Operator
        | Profile::Device
        | Profile::Gateway => [7, 0x80],
    };
    let mut all = vec![
        extension(oid::BASIC_CONSTRAINTS, true, &element(tag::SEQUENCE, &[&constraints])),
        extension(oid::KEY_USAGE, true, &element(tag::BIT_STRING, &[&usage])),
    ];
    let purposes = order.profile.purposes().iter().map(|p| element(tag::OID, &[p.as_bytes()]));
    let purposes: Vec<Vec<u8>> = purposes.collect();
    if !purposes.is_empty() {
        let purposes: Vec<&[u8]> = purposes.iter().map(Vec::as_slice).collect();
        let value = element(tag::SEQUENCE, &purposes);
        all.push(extension(oid::EXTENDED_KEY_USAGE, false, &value));
    }
    let own = element(tag::OCTET_STRING, &[own]);
    all.push(extension(oid::SUBJECT_KEY, false, &own));
    let authority = element(tag::SEQUENCE, &[&element(0x80, &[authority])]);
    all.push(extension(oid::AUTHORITY_KEY, false, &authority));
    let names = names(order.profile, order.subject)?.write();
    all.push(extension(oid::SUBJECT_ALT_NAME, false, &names));
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    Ok(element(tag::context(3), &[&element(tag::SEQUENCE, &all)]))
}

impl Key {
    /// The public half of somebody who signs.
    pub fn of(signer: &dyn Signer) -> Result<Self, Weak> {
        let bytes = signer.public_key();
        let kind = match (signer.algorithm(), bytes.len()) {
            (Algorithm::Ed25519, 32) => KeyKind::Ed25519,
            (Algorithm::Ecdsa(_), 65) => KeyKind::P256,
            (Algorithm::Ecdsa(_), 97) => KeyKind::P384,
            // The bits are counted when it is read.
            (Algorithm::RsaPkcs1(_) | Algorithm::RsaPss(_), _) => KeyKind::Rsa(0),
            _ => return Err(Weak::Malformed("the signer's key")),
        };
        Self::read(&Self { kind, bytes }.write())
    }
}
