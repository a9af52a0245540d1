//! Answers about single certificates (OCSP, RFC 6960): requests read, answers of the issuing authority itself signed.
//!
//! A request proves nothing about who asks. Which certificates are revoked the caller says; that the answer is about the
//! certificate that was asked about, and fresh where a nonce was sent, is seen to here.

use model::Timestamp;
use x509_cert::spki::ObjectIdentifier as Oid;

use crate::crl::{Entry, Reason};
use crate::der::{Each, Element, Extension, element, general_time, tag};
use crate::issue::{extension, sign};
use crate::{Certificate, Digest, Key, Malformed, Number, Signer, Verifier, Weak};

/// Bytes of a request that is read at all.
pub const BYTES_MAX: usize = 16_384;
/// Certificates that one request may ask about.
pub const ASKED_MAX: usize = 32;
/// Bytes of a nonce (RFC 9654 §2.1, which has RFC 8954's 32 longer).
pub const NONCE_BYTES: std::ops::RangeInclusive<usize> = 1..=128;

/// A provider that can also compute SHA-1.
///
/// Requests name an issuer by the SHA-1 of its name and key, and an answer its signer: many clients know nothing else (RFC 5019
/// §2.1.1). Nothing is believed because of it, since the answer is signed over the name it was asked under. So it is no
/// [`Digest`], which signatures are made over.
pub trait NameHash: Verifier {
    /// The SHA-1 of some bytes.
    fn sha1(&self, bytes: &[u8]) -> [u8; 20];
}

/// What somebody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The certificates it asks about, at least one.
    pub asked: Vec<CertId>,
    nonce: Option<Vec<u8>>,
}

/// A certificate, by the hashes of its issuer and its serial number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertId {
    /// As it was sent: an answer says it again.
    raw: Vec<u8>,
    hash: Option<Hash>,
    issuer_name: Vec<u8>,
    issuer_key: Vec<u8>,
    serial: Number,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha256,
}

impl CertId {
    /// The serial number; of which authority's certificate is for [`Responder::answers_for`] to say.
    pub const fn serial(&self) -> Number {
        self.serial
    }
}

/// What errors call it.
const WHAT: &str = "an OCSP request";

/// Reads a request in DER. A signature on it is neither asked for nor looked at (RFC 6960 §4.1.2): everybody may ask.
pub fn read(bytes: &[u8]) -> Result<Request, Malformed> {
    let wrong = |why: String| Malformed::new(WHAT, why);
    match bytes.len() <= BYTES_MAX {
        true => parse(bytes).map_err(wrong),
        false => Err(wrong(format!("it is longer than {BYTES_MAX} bytes"))),
    }
}

fn parse(bytes: &[u8]) -> Result<Request, String> {
    let mut whole = Each::of(Element::whole(bytes, tag::SEQUENCE)?);
    let mut body = Each::of(whole.need(tag::SEQUENCE, "body")?);
    let _signature = whole.optional(tag::context(0))?;
    whole.end()?;
    // Version 1 is the default, and a default is left out (X.690 §11.5).
    if body.optional(tag::context(0))?.is_some() {
        return Err("its version is not 1".to_owned());
    }
    let _name = body.optional(tag::context(1))?;
    let mut list = Each::of(body.need(tag::SEQUENCE, "list of certificates")?);
    let extensions = body.optional(tag::context(2))?;
    body.end()?;
    let mut asked = Vec::new();
    while !list.is_empty() {
        if asked.len() == ASKED_MAX {
            return Err(format!("it asks about more than {ASKED_MAX} certificates"));
        }
        let mut one = Each::of(list.need(tag::SEQUENCE, "certificate")?);
        asked.push(CertId::read(one.need(tag::SEQUENCE, "certificate")?)?);
        if let Some(extensions) = one.optional(tag::context(0))? {
            nonce(extensions)?;
        }
        one.end()?;
    }
    if asked.is_empty() {
        return Err("it asks about nothing".to_owned());
    }
    let nonce = extensions.map(nonce).transpose()?.flatten();
    Ok(Request { asked, nonce })
}

impl CertId {
    fn read(element: Element<'_>) -> Result<Self, String> {
        let mut parts = Each::of(element);
        let mut algorithm = Each::of(parts.need(tag::SEQUENCE, "hash algorithm")?);
        let hash = match algorithm.need(tag::OID, "hash algorithm")?.body {
            name if name == oid::SHA1.as_bytes() => Some(Hash::Sha1),
            name if name == oid::SHA256.as_bytes() => Some(Hash::Sha256),
            // Of an issuer under another hash nobody here is known.
            _ => None,
        };
        algorithm.optional(tag::NULL)?;
        algorithm.end()?;
        let issuer_name = parts.need(tag::OCTET_STRING, "hash of a name")?.body.to_vec();
        let issuer_key = parts.need(tag::OCTET_STRING, "hash of a key")?.body.to_vec();
        let serial = Number::read(parts.need(tag::INTEGER, "serial number")?)?;
        parts.end()?;
        Ok(Self { raw: element.raw.to_vec(), hash, issuer_name, issuer_key, serial })
    }
}

/// The nonce among Extensions (RFC 9654 §2.1).
fn nonce(extensions: Element<'_>) -> Result<Option<Vec<u8>>, String> {
    let mut outer = Each::of(extensions);
    let all = Extension::all(outer.need(tag::SEQUENCE, "extension")?)?;
    outer.end()?;
    let mut nonce = None;
    for extension in all {
        if extension.kind == oid::NONCE.as_bytes() {
            let value = Element::whole(extension.value, tag::OCTET_STRING)?.body;
            if !NONCE_BYTES.contains(&value.len()) {
                return Err("its nonce has to have 1 to 128 bytes".to_owned());
            }
            nonce = Some(value.to_vec());
        } else if extension.critical {
            let name = extension.name();
            return Err(format!("it has the critical extension {name}, which is not understood"));
        }
    }
    Ok(nonce)
}

/// What is known about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is not revoked.
    Good,
    /// It is revoked.
    Revoked {
        /// Since when; whole seconds.
        at: Timestamp,
        /// Why.
        reason: Reason,
    },
    /// It was never issued, or nobody knows.
    Unknown,
}

impl Status {
    /// Of a certificate that was issued, by its entry in a complete list ([`crate::crl::Crl::find`]).
    pub const fn of(entry: Option<&Entry>) -> Self {
        match entry {
            Some(Entry { revoked_at, reason, .. }) if !matches!(reason, Reason::RemoveFromCrl) => {
                Self::Revoked { at: *revoked_at, reason: *reason }
            }
            _ => Self::Good,
        }
    }
}

/// An authority that answers for the certificates it issued, with its own key (RFC 6960 §4.2.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Responder {
    key: Key,
    sha1: [Vec<u8>; 2],
    sha256: [Vec<u8>; 2],
}

/// Times of an answer, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When it is made.
    pub produced_at: Timestamp,
    /// Since when what it says is known to be so.
    pub this_update: Timestamp,
    /// When something newer will be known; nobody keeps the answer longer.
    pub next_update: Timestamp,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnswered {
    /// No certificate that is asked about is the authority's.
    #[error("it asks about certificates of other authorities")]
    NotOurs,
    /// The key that would sign is another one.
    #[error("the key that would sign is not the authority's")]
    OtherKey,
    /// The key does not count.
    #[error("{0}")]
    Weak(#[from] Weak),
    /// It would never count, or not in any calendar.
    #[error("an answer cannot count from {from} to {to}")]
    Times {
        /// Since when.
        from: Timestamp,
        /// Until when.
        to: Timestamp,
    },
    /// The key could not sign, or signed wrongly.
    #[error("{0}")]
    Signing(String),
}

impl NotAnswered {
    /// What who asked is told.
    pub const fn failure(&self) -> Failure {
        match self {
            Self::NotOurs => Failure::Unauthorized,
            _ => Failure::Internal,
        }
    }
}

/// Answers that are none, and are not signed (RFC 6960 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request was not understood.
    Malformed,
    /// The responder cannot answer.
    Internal,
    /// Later it may.
    TryLater,
    /// It is not the one to ask (RFC 5019 §2.2.3).
    Unauthorized,
}

/// An answer that is none, in DER.
pub fn refuse(failure: Failure) -> Vec<u8> {
    let code = match failure {
        Failure::Malformed => 1,
        Failure::Internal => 2,
        Failure::TryLater => 3,
        Failure::Unauthorized => 6,
    };
    element(tag::SEQUENCE, &[&element(tag::ENUMERATED, &[&[code]])])
}

impl Responder {
    /// For an authority.
    pub fn new(authority: &Certificate, provider: &dyn NameHash) -> Result<Self, Weak> {
        let key = authority.key()?;
        let parts = [authority.subject(), &key.bytes];
        let sha1 = parts.map(|part| provider.sha1(part).to_vec());
        let sha256 = parts.map(|part| provider.digest(Digest::Sha256, part));
        Ok(Self { key, sha1, sha256 })
    }

    /// Whether this is a certificate of the authority, if there is one with such a serial number.
    pub fn answers_for(&self, id: &CertId) -> bool {
        let [name, key] = match id.hash {
            Some(Hash::Sha1) => &self.sha1,
            Some(Hash::Sha256) => &self.sha256,
            None => return false,
        };
        id.issuer_name == *name && id.issuer_key == *key
    }

    /// Answers a request, in DER. `status` is asked about the authority's own certificates; others among them are unknown.
    pub fn answer(
        &self,
        request: &Request,
        times: &Times,
        mut status: impl FnMut(&Number) -> Status,
        signer: &dyn Signer,
        verifier: &dyn Verifier,
    ) -> Result<Vec<u8>, NotAnswered> {
        if Key::of(signer)? != self.key {
            return Err(NotAnswered::OtherKey);
        }
        if !request.asked.iter().any(|id| self.answers_for(id)) {
            return Err(NotAnswered::NotOurs);
        }
        let (from, to) = (times.this_update, times.next_update);
        let wrong = |_| NotAnswered::Times { from, to };
        if to <= from || times.produced_at < from {
            return Err(wrong(String::new()));
        }
        let mut answers = Vec::new();
        for id in &request.asked {
            let status = match self.answers_for(id) {
                true => status(&id.serial),
                false => Status::Unknown,
            };
            answers.extend(single(id, status, times).map_err(wrong)?);
        }
        let [_, key_hash] = &self.sha1;
        let body = element(
            tag::SEQUENCE,
            &[
                // byKey (RFC 6960 §4.2.1): whoever has the authority's certificate finds the key.
                &element(tag::context(2), &[&element(tag::OCTET_STRING, &[key_hash])]),
                &general_time(times.produced_at).map_err(wrong)?,
                &element(tag::SEQUENCE, &[&answers]),
                &response_extensions(request),
            ],
        );
        let signature = sign(&body, &self.key, signer, verifier)
            .map_err(|refusal| NotAnswered::Signing(refusal.to_string()))?;
        let bits = element(tag::BIT_STRING, &[&[0], &signature]);
        let basic = element(tag::SEQUENCE, &[&body, &signer.algorithm().write(), &bits]);
        Ok(successful(&basic))
    }
}

/// An OCSPResponse with a BasicOCSPResponse in it.
fn successful(basic: &[u8]) -> Vec<u8> {
    let kind = element(tag::OID, &[oid::BASIC.as_bytes()]);
    let basic = element(tag::OCTET_STRING, &[basic]);
    let bytes = element(tag::context(0), &[&element(tag::SEQUENCE, &[&kind, &basic])]);
    element(tag::SEQUENCE, &[&element(tag::ENUMERATED, &[&[0]]), &bytes])
}

/// A SingleResponse.
fn single(id: &CertId, status: Status, times: &Times) -> Result<Vec<u8>, String> {
    let status = match status {
        Status::Good => element(0x80, &[]),
        Status::Revoked { at, reason } => {
            let code = element(tag::ENUMERATED, &[&[reason.code()]]);
            let reason = match reason {
                Reason::Unspecified => Vec::new(),
                _ => element(tag::context(0), &[&code]),
            };
            element(tag::context(1), &[&general_time(at)?, &reason])
        }
        Status::Unknown => element(0x82, &[]),
    };
    let next = element(tag::context(0), &[&general_time(times.next_update)?]);
    Ok(element(tag::SEQUENCE, &[&id.raw, &status, &general_time(times.this_update)?, &next]))
}

/// The nonce, again.
fn response_extensions(request: &Request) -> Vec<u8> {
    let Some(nonce) = &request.nonce else {
        return Vec::new();
    };
    let nonce = extension(oid::NONCE, false, &element(tag::OCTET_STRING, &[nonce]));
    element(tag::context(1), &[&element(tag::SEQUENCE, &[&nonce])])
}

mod oid {
    use super::Oid;

    pub(super) const SHA1: Oid = Oid::new_unwrap("1.3.14.3.2.26");
    pub(super) const SHA256: Oid = Oid::new_unwrap("2.16.840.1.101.3.4.2.1");
    pub(super) const BASIC: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.48.1.1");
    pub(super) const NONCE: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.48.1.2");
}
