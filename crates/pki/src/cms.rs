//! Detached signatures (CMS, RFC 5652 §5): a file and, beside it, who signed it.
//!
//! The signature is over attributes, which hold the digest of the file and the kind of its content.
//! All of them are checked: digest, content type, attributes, signature, the signer's certificate and
//! its path to an anchor, everything at the time that is given.

use model::Timestamp;
use x509_cert::spki::ObjectIdentifier as Oid;

use crate::certificate::name_text;
use crate::der::{self, Element, element, set_of, tag};
use crate::path::{self, Purpose, Refusal};
use crate::{Algorithm, Certificate, Digest, Malformed, Pem, Signer, Verifier, Weak};

mod oid {
    use super::Oid;

    pub(super) const DATA: Oid = Oid::new_unwrap("1.2.840.113549.1.7.1");
    pub(super) const SIGNED_DATA: Oid = Oid::new_unwrap("1.2.840.113549.1.7.2");
    /// id-ct-mudtype (RFC 8520 §17).
    pub(super) const MUD: Oid = Oid::new_unwrap("1.2.840.113549.1.9.16.1.41");
    pub(super) const CONTENT_TYPE: Oid = Oid::new_unwrap("1.2.840.113549.1.9.3");
    pub(super) const MESSAGE_DIGEST: Oid = Oid::new_unwrap("1.2.840.113549.1.9.4");
    pub(super) const SIGNING_TIME: Oid = Oid::new_unwrap("1.2.840.113549.1.9.5");
}

/// Bytes of a signature that is read at all.
const BYTES_MAX: usize = 1 << 20;
/// Certificates and signers in one.
const MANY: usize = 32;
/// What errors call it.
const WHAT: &str = "a signature (CMS signed data)";

/// What a signature says; nothing of it is true until [`Signed::verify`] says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    content_type: Oid,
    /// The content, when it is inside.
    content: Option<Vec<u8>>,
    certificates: Vec<Certificate>,
    signers: Vec<SignerInfo>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SignerInfo {
    who: SignerId,
    digest: Result<Digest, Weak>,
    algorithm: Result<Algorithm, Weak>,
    attributes: Option<Attributes>,
    signature: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum SignerId {
    /// Issuer in DER and serial number.
    Issued(Vec<u8>, Vec<u8>),
    /// Identifier of the key.
    Key(Vec<u8>),
}

/// Signed attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attributes {
    /// What is signed: the attributes as a SET OF (RFC 5652 §5.4).
    signed: Vec<u8>,
    content_type: Oid,
    digest: Vec<u8>,
    time: Option<Timestamp>,
}

/// A signature that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who signed.
    pub signer: String,
    /// The same in DER.
    pub signer_name: Vec<u8>,
    /// Who vouches for the signer, up to the trust anchor.
    pub issuers: Vec<String>,
    /// Algorithm for people: `ECDSA with SHA-256`.
    pub algorithm: String,
    /// When the signer says that it signed; nobody else vouches for that.
    pub signed_at: Option<Timestamp>,
    /// The whole path is valid up to and including this second.
    pub valid_until: Timestamp,
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The file is not what was signed.
    #[error("the file is not the one that was signed: its digest differs")]
    OtherFile,
    /// The signature itself is wrong.
    #[error("the signature was not made with the key of {signer}, or was changed")]
    Signature {
        /// Whose certificate was used.
        signer: String,
    },
    /// The attributes under the signature do not fit.
    #[error("the signed attributes do not fit: {0}")]
    Attributes(String),
    /// It signs something else than a MUD file.
    #[error("it signs content of another kind ({0})")]
    Content(String),
    /// The certificate of the signer is missing.
    #[error(
        "the certificate of the signer ({0}) is neither in the signature nor among the anchors"
    )]
    NoCertificate(String),
    /// The digest or the signature is of a kind that does not count.
    #[error("the signature uses an algorithm that does not count: {0}")]
    Weak(Weak),
    /// The certificate of the signer does not count.
    #[error(transparent)]
    Path(Refusal),
    /// Somebody else had to sign.
    #[error("{signer} signed, and {expected} had to")]
    OtherSigner {
        /// Who did.
        signer: String,
        /// Who had to.
        expected: String,
    },
}

/// What a signature has to satisfy.
#[derive(Clone, Copy)]
pub struct Demand<'a> {
    /// Trust anchors.
    pub anchors: &'a [Certificate],
    /// The moment at which everything must be valid.
    pub at: Timestamp,
    /// What the signer's certificate must be for.
    pub purpose: Purpose,
    /// Subject, in DER, of who must have signed; none for anybody an anchor vouches for.
    pub signer: Option<&'a [u8]>,
}

impl std::fmt::Debug for Demand<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Demand({} anchors, at {}, {:?})", self.anchors.len(), self.at, self.purpose)
    }
}

impl Signed {
    /// Reads a signature, DER or PEM.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > BYTES_MAX {
            let why = format!("{} bytes are more than {BYTES_MAX}", bytes.len());
            return Err(Malformed::new(WHAT, why));
        }
        if !Pem::looks_like(bytes) {
            return read(bytes).map_err(|why| Malformed::new(WHAT, why));
        }
        let objects = Pem::read_all(bytes)?;
        match objects.iter().find(|o| ["CMS", "PKCS7"].contains(&o.label.as_str())) {
            Some(object) => read(&object.der).map_err(|why| Malformed::new(WHAT, why)),
            None => Err(Malformed::new(WHAT, "there is no CMS or PKCS7 in the PEM file")),
        }
    }

    /// Checks it over `content`. One signer who satisfies all is enough; otherwise the first one's
    /// failure is told.
    pub fn verify(
        &self,
        content: &[u8],
        demand: &Demand<'_>,
        verifier: &dyn Verifier,
    ) -> Result<Verified, Invalid> {
        if ![oid::DATA, oid::MUD].contains(&self.content_type) {
            return Err(Invalid::Content(self.content_type.to_string()));
        }
        if self.content.as_ref().is_some_and(|inside| inside != content) {
            return Err(Invalid::OtherFile);
        }
        let mut first = None;
        for signer in &self.signers {
            match self.verify_one(signer, content, demand, verifier) {
                Ok(verified) => return Ok(verified),
                Err(why) => first = first.or(Some(why)),
            }
        }
        Err(first.unwrap_or_else(|| Invalid::Attributes("nobody signed".to_owned())))
    }

    fn verify_one(
        &self,
        signer: &SignerInfo,
        content: &[u8],
        demand: &Demand<'_>,
        verifier: &dyn Verifier,
    ) -> Result<Verified, Invalid> {
        let digest = signer.digest.clone().map_err(Invalid::Weak)?;
        let algorithm = signer.algorithm.clone().map_err(Invalid::Weak)?;
        if let Algorithm::RsaPkcs1(d) | Algorithm::RsaPss(d) | Algorithm::Ecdsa(d) = algorithm
            && d != digest
        {
            let why = format!("{} beside {}", digest.name(), algorithm.name());
            return Err(Invalid::Attributes(why));
        }
        let message = match &signer.attributes {
            Some(attributes) => {
                if attributes.content_type != self.content_type {
                    let why = "they name another kind of content".to_owned();
                    return Err(Invalid::Attributes(why));
                }
                if attributes.digest != verifier.digest(digest, content) {
                    return Err(Invalid::OtherFile);
                }
                attributes.signed.as_slice()
            }
            None if self.content_type == oid::DATA => content,
            None => {
                let why = "there are none, and this kind of content needs them".to_owned();
                return Err(Invalid::Attributes(why));
            }
        };
        let known = || self.certificates.iter().chain(demand.anchors);
        let certificate = known().find(|c| signer.who.is(c));
        let certificate =
            certificate.ok_or_else(|| Invalid::NoCertificate(signer.who.to_string()))?;
        let name = certificate.subject_text();
        let key = certificate
            .key()
            .map_err(|weak| Invalid::Path(Refusal::Weak { subject: name.clone(), weak }))?;
        if !algorithm.fits(key.kind)
            || !verifier.verify(algorithm, &key, message, &signer.signature)
        {
            return Err(Invalid::Signature { signer: name });
        }
        let (at, purpose) = (demand.at, demand.purpose);
        let found =
            path::find(certificate, &self.certificates, demand.anchors, at, purpose, verifier);
        let found = found.map_err(Invalid::Path)?;
        if let Some(expected) = demand.signer.filter(|expected| *expected != certificate.subject())
        {
            return Err(Invalid::OtherSigner { signer: name, expected: name_text(expected) });
        }
        let ends = found.iter().map(|c| c.not_after()).min();
        Ok(Verified {
            signer: name,
            signer_name: certificate.subject().to_vec(),
            issuers: found.iter().skip(1).map(|c| c.subject_text()).collect(),
            algorithm: algorithm.name(),
            signed_at: signer.attributes.as_ref().and_then(|a| a.time),
            valid_until: ends.unwrap_or(at),
        })
    }
}

impl SignerId {
    fn is(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Issued(issuer, serial) => {
                certificate.issuer() == issuer && certificate.serial() == serial
            }
            Self::Key(key) => certificate.subject_key() == Some(key),
        }
    }
}

impl std::fmt::Display for SignerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Issued(issuer, _) => write!(f, "issued by {}", name_text(issuer)),
            Self::Key(_) => write!(f, "named by its key"),
        }
    }
}

fn oid_of(element: Element<'_>) -> Result<Oid, String> {
    Oid::from_bytes(element.body).map_err(|e| format!("an object identifier is wrong: {e}"))
}

fn read(bytes: &[u8]) -> Result<Signed, String> {
    let mut info = Element::whole(bytes, tag::SEQUENCE)?.parts()?;
    let kind = oid_of(info.need(tag::OID, "content type")?)?;
    if kind != oid::SIGNED_DATA {
        return Err(format!("its content type is {kind}"));
    }
    let content = info.need(tag::context(0), "content")?;
    info.end()?;
    let mut data = Element::whole(content.body, tag::SEQUENCE)?.parts()?;
    data.need(tag::INTEGER, "version")?;
    data.need(tag::SET, "digest algorithms")?;
    let mut inside = data.need(tag::SEQUENCE, "content info")?.parts()?;
    let content_type = oid_of(inside.need(tag::OID, "content type")?)?;
    let content = match inside.optional(tag::context(0)) {
        Some(content) => Some(Element::whole(content.body, tag::OCTET_STRING)?.body.to_vec()),
        None => None,
    };
    inside.end()?;
    let mut certificates = Vec::new();
    if let Some(set) = data.optional(tag::context(0)) {
        // Other kinds of certificates ([1]…) are left alone: nobody can be trusted through them.
        for one in set.parts()?.filter(|e| e.tag == tag::SEQUENCE) {
            if certificates.len() == MANY {
                return Err(format!("more than {MANY} certificates"));
            }
            certificates.push(Certificate::from_der(one.raw).map_err(|m| m.to_string())?);
        }
    }
    let _revoked = data.optional(tag::context(1));
    let set = data.need(tag::SET, "signers")?;
    data.end()?;
    let mut signers = Vec::new();
    for one in set.parts()? {
        if signers.len() == MANY {
            return Err(format!("more than {MANY} signers"));
        }
        signers.push(signer(one)?);
    }
    if signers.is_empty() {
        return Err("nobody signed".to_owned());
    }
    Ok(Signed { content_type, content, certificates, signers })
}

fn signer(info: Element<'_>) -> Result<SignerInfo, String> {
    let mut parts = Element::whole(info.raw, tag::SEQUENCE)?.parts()?;
    parts.need(tag::INTEGER, "version")?;
    let who = match parts.next().ok_or("a signer without a name")? {
        id if id.tag == tag::SEQUENCE => {
            let mut id = id.parts()?;
            let issuer = id.need(tag::SEQUENCE, "issuer")?;
            let serial = id.need(tag::INTEGER, "serial number")?;
            id.end()?;
            SignerId::Issued(issuer.raw.to_vec(), serial.body.to_vec())
        }
        id if id.tag == 0x80 => SignerId::Key(id.body.to_vec()),
        id => return Err(format!("a signer is named by {:#04x}", id.tag)),
    };
    let digest = Digest::read(parts.need(tag::SEQUENCE, "digest algorithm")?.raw);
    let attributes = parts.optional(tag::context(0)).map(attributes).transpose()?;
    let beside = digest.clone().ok();
    let algorithm = Algorithm::read(parts.need(tag::SEQUENCE, "algorithm")?.raw, beside);
    let signature = parts.need(tag::OCTET_STRING, "signature")?.body.to_vec();
    let _unsigned = parts.optional(tag::context(1));
    parts.end()?;
    Ok(SignerInfo { who, digest, algorithm, attributes, signature })
}

fn attributes(set: Element<'_>) -> Result<Attributes, String> {
    let (mut content_type, mut digest, mut time) = (None, None, None);
    for attribute in set.parts()? {
        let mut parts = Element::whole(attribute.raw, tag::SEQUENCE)?.parts()?;
        let kind = oid_of(parts.need(tag::OID, "attribute's name")?)?;
        let mut values = parts.need(tag::SET, "attribute's values")?.parts()?;
        parts.end()?;
        let slot_taken = match kind {
            oid::CONTENT_TYPE => {
                let value = oid_of(values.need(tag::OID, "content type")?)?;
                content_type.replace(value).is_some()
            }
            oid::MESSAGE_DIGEST => {
                let value = values.need(tag::OCTET_STRING, "digest")?.body.to_vec();
                digest.replace(value).is_some()
            }
            oid::SIGNING_TIME => {
                let value = values.next().ok_or("a time is missing")?;
                time.replace(der::instant(value)?).is_some()
            }
            _ => continue,
        };
        if slot_taken || values.next().is_some() {
            return Err(format!("the attribute {kind} has several values"));
        }
    }
    let content_type = content_type.ok_or("no signed content type")?;
    let digest = digest.ok_or("no signed digest")?;
    // The tag is another one while it stands in the message (RFC 5652 §5.4).
    let signed = element(tag::SET, &[set.body]);
    Ok(Attributes { signed, content_type, digest, time })
}

/// Signs a MUD file: a detached signature in DER, with the signer's certificate and those that come
/// along. `at` is stated as the time of signing.
pub fn sign(
    content: &[u8],
    certificate: &Certificate,
    others: &[Certificate],
    at: Timestamp,
    signer: &dyn Signer,
    verifier: &dyn Verifier,
) -> Result<Vec<u8>, String> {
    let key = certificate.key().map_err(|weak| weak.to_string())?;
    if key.bytes != signer.public_key() {
        return Err("the key and the certificate do not belong together".to_owned());
    }
    let algorithm = signer.algorithm();
    let digest = algorithm.digest();
    let oid = |oid: Oid| element(tag::OID, &[oid.as_bytes()]);
    let attribute = |name: Oid, value: &[u8]| {
        element(tag::SEQUENCE, &[&oid(name), &element(tag::SET, &[value])])
    };
    let hash = element(tag::OCTET_STRING, &[&verifier.digest(digest, content)]);
    let attributes = vec![
        attribute(oid::CONTENT_TYPE, &oid(oid::MUD)),
        attribute(oid::SIGNING_TIME, &der::time(at)?),
        attribute(oid::MESSAGE_DIGEST, &hash),
    ];
    let signature = signer.sign(&set_of(tag::SET, attributes.clone()))?;
    let number = |n: u8| element(tag::INTEGER, &[&[n]]);
    let serial = element(tag::INTEGER, &[certificate.serial()]);
    let info = element(
        tag::SEQUENCE,
        &[
            &number(1),
            &element(tag::SEQUENCE, &[certificate.issuer(), &serial]),
            &digest.write(),
            &set_of(tag::context(0), attributes),
            &algorithm.write(),
            &element(tag::OCTET_STRING, &[&signature]),
        ],
    );
    let mut certificates: Vec<Vec<u8>> =
        std::iter::once(certificate).chain(others).map(|c| c.der().to_vec()).collect();
    certificates.sort();
    certificates.dedup();
    let data = element(
        tag::SEQUENCE,
        &[
            // Version 3, because the content is not plain data (RFC 5652 §5.1).
            &number(3),
            &element(tag::SET, &[&digest.write()]),
            &element(tag::SEQUENCE, &[&oid(oid::MUD)]),
            &set_of(tag::context(0), certificates),
            &element(tag::SET, &[&info]),
        ],
    );
    let content = element(tag::context(0), &[&data]);
    Ok(element(tag::SEQUENCE, &[&oid(oid::SIGNED_DATA), &content]))
}
