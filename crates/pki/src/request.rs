//! Certificate requests (PKCS #10, RFC 2986): made, and read from hostile bytes.
//!
//! A request proves that who asks holds the private key, and nothing else. Its names are wishes: who gets which name is decided
//! by whoever issues, from a token or a record. What the profile of a certificate does not take is read all the same: refusing
//! a key or a name is for whoever issues.

use std::fmt;
use std::net::IpAddr;

use x509_cert::spki::ObjectIdentifier as Oid;

use crate::certificate::name_text;
use crate::certificate::oid::MUD_URL;
use crate::der::{Element, element, set_of, tag};
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
    /// Where it says that its device is described (RFC 8520 §11): printable ASCII.
    pub mud_url: Option<String>,
    /// Its challengePassword (RFC 2985 §5.4.1).
    pub challenge: Option<Challenge>,
}

/// A challengePassword: what binds a request to a channel ([`crate::est::binding`]), or a secret that is good once.
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge(String);

impl Challenge {
    /// Its text, of at most [`CHALLENGE_MAX`] bytes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Without the text, which may be a secret.
impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Challenge")
    }
}

/// What a request may say beside its names.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Extras<'a> {
    /// Its challengePassword, of at most [`CHALLENGE_MAX`] bytes.
    pub challenge: Option<&'a str>,
    /// Where its device is described.
    pub mud_url: Option<&'a str>,
}

/// Without the challengePassword, which may be a secret.
impl fmt::Debug for Extras<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extras({:?})", self.mud_url)
    }
}

/// Longest challengePassword, in characters of a DirectoryString (RFC 2985 appendix A, pkcs-9-ub-challengePassword).
pub const CHALLENGE_MAX: usize = 255;

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
    make_with(profile, subject, Extras::default(), signer, verifier)
}

/// Makes a request that says more than its names, in DER.
pub fn make_with(
    profile: Profile,
    subject: &Subject,
    extras: Extras<'_>,
    signer: &dyn Signer,
    verifier: &dyn Verifier,
) -> Result<Vec<u8>, issue::Refusal> {
    let key = Key::of(signer)?;
    let names = issue::names(profile, subject)?.write();
    let mut wishes = vec![issue::extension(issue::oid::SUBJECT_ALT_NAME, false, &names)];
    if let Some(url) = extras.mud_url {
        check_url(url).map_err(|why| issue::Refusal::Name { name: url.to_owned(), why })?;
        let value = element(tag::IA5_STRING, &[url.as_bytes()]);
        wishes.push(issue::extension(MUD_URL, false, &value));
    }
    let wishes: Vec<&[u8]> = wishes.iter().map(Vec::as_slice).collect();
    let mut attributes = vec![attribute(EXTENSION_REQUEST, &element(tag::SEQUENCE, &wishes))];
    if let Some(text) = extras.challenge {
        if text.is_empty() || text.len() > CHALLENGE_MAX {
            let why = "it has to have 1 to 255 bytes";
            return Err(Malformed::new("a challengePassword", why).into());
        }
        let value = element(tag::UTF8_STRING, &[text.as_bytes()]);
        attributes.push(attribute(CHALLENGE_PASSWORD, &value));
    }
    let info = element(
        tag::SEQUENCE,
        &[
            &element(tag::INTEGER, &[&[0]]),
            &issue::name(subject),
            &key.write(),
            &set_of(tag::context(0), attributes),
        ],
    );
    let signature = issue::sign(&info, &key, signer, verifier)?;
    let bits = element(tag::BIT_STRING, &[&[0], &signature]);
    Ok(element(tag::SEQUENCE, &[&info, &signer.algorithm().write(), &bits]))
}

/// An Attribute of one value.
pub(crate) fn attribute(kind: Oid, value: &[u8]) -> Vec<u8> {
    let kind = element(tag::OID, &[kind.as_bytes()]);
    element(tag::SEQUENCE, &[&kind, &element(tag::SET, &[value])])
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
pub(crate) const EXTENSION_REQUEST: Oid = Oid::new_unwrap("1.2.840.113549.1.9.14");
/// PKCS #9 challengePassword (RFC 2985 §5.4.1).
pub(crate) const CHALLENGE_PASSWORD: Oid = Oid::new_unwrap("1.2.840.113549.1.9.7");
/// Longest URL of a description, in bytes, as in a DHCP option (RFC 8520 §10).
const URL_MAX: usize = 255;

/// Reads a request in DER, and checks that it is signed with its own key.
pub fn read_der(bytes: &[u8], verifier: &dyn Verifier) -> Result<Request, Refusal> {
    let wrong = |why: String| Malformed::new("a certificate request", why);
    if bytes.len() > BYTES_MAX {
        return Err(wrong(format!("it is longer than {BYTES_MAX} bytes")).into());
    }
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
    let wishes = Wishes::read(parts.attributes).map_err(wrong)?;
    let names = wishes.names.unwrap_or_default();
    Ok(Request {
        key,
        subject: name_text(parts.subject),
        hosts: names.dns,
        uris: names.uris,
        addresses: names.addresses,
        mud_url: wishes.mud_url,
        challenge: wishes.challenge,
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

/// What counts among the attributes. Other attributes and extensions are left alone: the profile decides.
#[derive(Default)]
struct Wishes {
    names: Option<Names>,
    mud_url: Option<String>,
    challenge: Option<Challenge>,
}

impl Wishes {
    fn read(attributes: Option<Element<'_>>) -> Result<Self, String> {
        let mut wishes = Self::default();
        for attribute in attributes.map(Element::parts).transpose()?.into_iter().flatten() {
            let mut attribute = Element::whole(attribute.raw, tag::SEQUENCE)?.parts()?;
            let kind = attribute.need(tag::OID, "type of an attribute")?;
            let values = attribute.need(tag::SET, "value of an attribute")?;
            attribute.end()?;
            if kind.body == EXTENSION_REQUEST.as_bytes() {
                wishes.extensions(values)?;
            }
            if kind.body == CHALLENGE_PASSWORD.as_bytes()
                && wishes.challenge.replace(challenge(values)?).is_some()
            {
                return Err("it has a challengePassword twice".to_owned());
            }
        }
        Ok(wishes)
    }

    fn extensions(&mut self, values: Element<'_>) -> Result<(), String> {
        let mut values = values.parts()?;
        let extensions = values.need(tag::SEQUENCE, "extension")?;
        values.end()?;
        for extension in extensions.parts()? {
            let mut extension = Element::whole(extension.raw, tag::SEQUENCE)?.parts()?;
            let kind = extension.need(tag::OID, "type of an extension")?;
            let _critical = extension.optional(tag::BOOLEAN);
            let value = extension.need(tag::OCTET_STRING, "value of an extension")?;
            extension.end()?;
            if kind.body == issue::oid::SUBJECT_ALT_NAME.as_bytes()
                && self.names.replace(Names::read(value.body)?).is_some()
            {
                return Err("it has names twice".to_owned());
            }
            if kind.body == MUD_URL.as_bytes()
                && self.mud_url.replace(mud_url(value.body)?).is_some()
            {
                return Err("it has a MUD URL twice".to_owned());
            }
        }
        Ok(())
    }
}

/// The names in the values of an extensionRequest.
pub(crate) fn names(values: Element<'_>) -> Result<Names, String> {
    let mut wishes = Wishes::default();
    wishes.extensions(values)?;
    Ok(wishes.names.unwrap_or_default())
}

/// A DirectoryString, which has one value (RFC 2985 §5.4.1). Some write an IA5String, because base64 is one.
fn challenge(values: Element<'_>) -> Result<Challenge, String> {
    let mut values = values.parts()?;
    let value = values.next().ok_or("its challengePassword has no value")?;
    values.end()?;
    let known = [tag::UTF8_STRING, tag::PRINTABLE_STRING, tag::IA5_STRING];
    // One that is not understood must not pass for one that is not there.
    if !known.contains(&value.tag) {
        return Err("its challengePassword is neither UTF-8 nor ASCII text".to_owned());
    }
    if value.body.len() > CHALLENGE_MAX {
        return Err(format!("its challengePassword is longer than {CHALLENGE_MAX} bytes"));
    }
    match std::str::from_utf8(value.body) {
        Ok(text) if value.tag == tag::UTF8_STRING || text.is_ascii() => {
            Ok(Challenge(text.to_owned()))
        }
        _ => Err("its challengePassword is not the text it says it is".to_owned()),
    }
}

fn mud_url(value: &[u8]) -> Result<String, String> {
    let text = Element::whole(value, tag::IA5_STRING)?.body;
    let text = std::str::from_utf8(text).map_err(|_| "its MUD URL is not ASCII")?;
    check_url(text).map_err(|why| format!("its MUD URL is none: {why}"))?;
    Ok(text.to_owned())
}

fn check_url(text: &str) -> Result<(), &'static str> {
    match () {
        () if text.is_empty() || text.len() > URL_MAX => Err("it has to have 1 to 255 bytes"),
        () if !text.bytes().all(|b| b.is_ascii_graphic()) => Err("only printable ASCII is in one"),
        () => Ok(()),
    }
}
