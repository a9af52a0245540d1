//! Certificate requests (PKCS #10, RFC 2986): made, and read from hostile bytes.
//!
//! A request proves that who asks holds the private key, and nothing else. Its names are wishes: who gets which name is decided
//! by whoever issues, from a token or a record.

use std::net::IpAddr;

use x509_cert::spki::ObjectIdentifier as Oid;

use crate::certificate::name_text;
use crate::der::{Element, element, tag};
use crate::identity::Identity;
use crate::issue::{self, Profile, Subject};
use crate::san::Names;
use crate::{Algorithm, Key, Malformed, Pem, Signer, Verifier, Weak};

/// Longest request that is read, in bytes.
pub const BYTES_MAX: usize = 16_384;

/// A request whose signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The public key to be certified.
    pub key: Key,
    /// Subject for people.
    pub subject: String,
    /// DNS names it wishes.
    pub hosts: Vec<String>,
    /// URIs it wishes.
    pub uris: Vec<String>,
    /// Addresses it wishes.
    pub addresses: Vec<IpAddr>,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is none.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// Its key or signature does not count.
    #[error("the certificate request: {0}")]
    Weak(#[from] Weak),
    /// Who made it has not the private key, or it was changed on its way.
    #[error("the certificate request is not signed with the key that it asks to certify")]
    Signature,
}

impl Request {
    /// The identity it wishes, when it wishes exactly one.
    pub fn identity(&self) -> Option<Identity> {
        match self.uris.as_slice() {
            [uri] => uri.parse().ok(),
            _ => None,
        }
    }
}

/// Makes a request for such a certificate, in DER.
pub fn make(
    profile: Profile,
    subject: &Subject,
    signer: &dyn Signer,
    verifier: &dyn Verifier,
) -> Result<Vec<u8>, issue::Refusal> {
    let key = Key::of(signer)?;
    let names = issue::names(profile, subject)?.write();
    let names = issue::extension(issue::oid::SUBJECT_ALT_NAME, false, &names);
    let wishes = element(tag::SET, &[&element(tag::SEQUENCE, &[&names])]);
    let kind = element(tag::OID, &[EXTENSION_REQUEST.as_bytes()]);
    let attribute = element(tag::SEQUENCE, &[&kind, &wishes]);
    let info = element(
        tag::SEQUENCE,
        &[
            &element(tag::INTEGER, &[&[0]]),
            &issue::name(subject),
            &key.write(),
            &element(tag::context(0), &[&attribute]),
        ],
    );
    let signature = issue::sign(&info, &key, signer, verifier)?;
    let bits = element(tag::BIT_STRING, &[&[0], &signature]);
    Ok(element(tag::SEQUENCE, &[&info, &signer.algorithm().write(), &bits]))
}

/// Reads a request, DER or PEM, and checks that it is signed with its own key.
pub fn read(bytes: &[u8], verifier: &dyn Verifier) -> Result<Request, Refusal> {
    let wrong = |why: String| Malformed::new("a certificate request", why);
    if bytes.len() > BYTES_MAX {
        return Err(wrong(format!("it is longer than {BYTES_MAX} bytes")).into());
    }
    if !Pem::looks_like(bytes) {
        return read_der(bytes, verifier);
    }
    let objects = Pem::read_all(bytes)?;
    match objects.as_slice() {
        [one]
            if ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"].contains(&one.label.as_str()) =>
        {
            read_der(&one.der, verifier)
        }
        _ => Err(wrong("the file does not hold one CERTIFICATE REQUEST".to_owned()).into()),
    }
}

/// PKCS #9 extensionRequest (RFC 2985 §5.4.2).
const EXTENSION_REQUEST: Oid = Oid::new_unwrap("1.2.840.113549.1.9.14");

fn read_der(bytes: &[u8], verifier: &dyn Verifier) -> Result<Request, Refusal> {
    let wrong = |why: String| Malformed::new("a certificate request", why);
    let parts = split(bytes).map_err(wrong)?;
    let key = Key::read(parts.key)?;
    let algorithm = Algorithm::read(parts.algorithm, None)?;
    // The identifier stands outside of what is signed, so it gets one way to be written.
    if algorithm.write() != parts.algorithm {
        return Err(wrong("its signature algorithm has odd parameters".to_owned()).into());
    }
    if !algorithm.fits(key.kind) || !verifier.verify(algorithm, &key, parts.info, parts.signature) {
        return Err(Refusal::Signature);
    }
    let names = wishes(parts.attributes).map_err(wrong)?;
    Ok(Request {
        key,
        subject: name_text(parts.subject),
        hosts: names.dns,
        uris: names.uris,
        addresses: names.addresses,
    })
}

struct Split<'a> {
    info: &'a [u8],
    subject: &'a [u8],
    key: &'a [u8],
    attributes: Option<Element<'a>>,
    algorithm: &'a [u8],
    signature: &'a [u8],
}

fn split(bytes: &[u8]) -> Result<Split<'_>, String> {
    let mut whole = Element::whole(bytes, tag::SEQUENCE)?.parts()?;
    let info = whole.need(tag::SEQUENCE, "body")?;
    let algorithm = whole.need(tag::SEQUENCE, "signature algorithm")?;
    let signature =
        whole.need(tag::BIT_STRING, "signature")?.bits().ok_or("a signature of odd bits")?;
    whole.end()?;
    let mut parts = info.parts()?;
    if parts.need(tag::INTEGER, "version")?.body != [0] {
        return Err("its version is not 1".to_owned());
    }
    let subject = parts.need(tag::SEQUENCE, "subject")?;
    let key = parts.need(tag::SEQUENCE, "key")?;
    // Some leave out what may not be left out.
    let attributes = parts.optional(tag::context(0));
    parts.end()?;
    let (info, subject, key) = (info.raw, subject.raw, key.raw);
    Ok(Split { info, subject, key, attributes, algorithm: algorithm.raw, signature })
}

/// The names among the attributes. Other attributes and extensions are left alone: the profile decides.
fn wishes(attributes: Option<Element<'_>>) -> Result<Names, String> {
    let mut names = None;
    for attribute in attributes.map(Element::parts).transpose()?.into_iter().flatten() {
        let mut attribute = Element::whole(attribute.raw, tag::SEQUENCE)?.parts()?;
        let kind = attribute.need(tag::OID, "type of an attribute")?;
        let values = attribute.need(tag::SET, "value of an attribute")?;
        attribute.end()?;
        if kind.body != EXTENSION_REQUEST.as_bytes() {
            continue;
        }
        let mut values = values.parts()?;
        let extensions = values.need(tag::SEQUENCE, "extension")?;
        values.end()?;
        for extension in extensions.parts()? {
            let mut extension = Element::whole(extension.raw, tag::SEQUENCE)?.parts()?;
            let kind = extension.need(tag::OID, "type of an extension")?;
            let _critical = extension.optional(tag::BOOLEAN);
            let value = extension.need(tag::OCTET_STRING, "value of an extension")?;
            extension.end()?;
            if kind.body != issue::oid::SUBJECT_ALT_NAME.as_bytes() {
                continue;
            }
            if names.replace(Names::read(value.body)?).is_some() {
                return Err("it has names twice".to_owned());
            }
        }
    }
    Ok(names.unwrap_or_default())
}
