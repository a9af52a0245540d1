//! One X.509 certificate.

use std::fmt;

use model::Timestamp;
use x509_cert::certificate::Certificate as Parsed;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use x509_cert::name::Name;
use x509_cert::spki::ObjectIdentifier as Oid;
use x509_cert::time::Time;

use crate::der::{Element, tag};
use crate::{Algorithm, Key, Malformed, Pem, Weak};

/// Extensions that are understood; another one that is critical refuses the certificate
/// (RFC 5280 §4.2).
pub(crate) mod oid {
    use super::Oid;

    pub(super) const SUBJECT_KEY: Oid = Oid::new_unwrap("2.5.29.14");
    pub(super) const KEY_USAGE: Oid = Oid::new_unwrap("2.5.29.15");
    pub(super) const SUBJECT_ALT_NAME: Oid = Oid::new_unwrap("2.5.29.17");
    pub(super) const BASIC_CONSTRAINTS: Oid = Oid::new_unwrap("2.5.29.19");
    pub(super) const AUTHORITY_KEY: Oid = Oid::new_unwrap("2.5.29.35");
    pub(super) const EXTENDED_KEY_USAGE: Oid = Oid::new_unwrap("2.5.29.37");
    /// RFC 8520 §11.
    pub(crate) const MUD_URL: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.1.25");
    pub(super) const MUD_SIGNER: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.1.30");
    pub(super) const KNOWN: &[Oid] = &[
        SUBJECT_KEY,
        KEY_USAGE,
        SUBJECT_ALT_NAME,
        BASIC_CONSTRAINTS,
        AUTHORITY_KEY,
        EXTENDED_KEY_USAGE,
        MUD_URL,
        MUD_SIGNER,
    ];
}

/// A certificate with its bytes. What it says is not yet true: see [`crate::path`].
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    parsed: Parsed,
    subject: Vec<u8>,
    issuer: Vec<u8>,
}

impl Certificate {
    /// From DER.
    pub fn from_der(bytes: &[u8]) -> Result<Self, Malformed> {
        let wrong = |why: String| Malformed::new("a certificate", why);
        let parsed = Parsed::from_der(bytes).map_err(|e| wrong(e.to_string()))?;
        // What is judged has to be what was signed.
        let again = parsed.to_der().map_err(|e| wrong(e.to_string()))?;
        if again != bytes {
            return Err(wrong("it is not in the distinguished encoding".to_owned()));
        }
        let name = |name: &Name| name.to_der().map_err(|e| wrong(e.to_string()));
        let subject = name(parsed.tbs_certificate().subject())?;
        let issuer = name(parsed.tbs_certificate().issuer())?;
        Ok(Self { der: bytes.to_vec(), parsed, subject, issuer })
    }

    /// Every certificate of a file, PEM or DER.
    pub fn read_all(bytes: &[u8]) -> Result<Vec<Self>, Malformed> {
        if !Pem::looks_like(bytes) {
            return Ok(vec![Self::from_der(bytes)?]);
        }
        let objects = Pem::read_all(bytes)?;
        let certificates = objects.iter().filter(|o| o.label.ends_with("CERTIFICATE"));
        let all = certificates.map(|o| Self::from_der(&o.der)).collect::<Result<Vec<_>, _>>()?;
        if all.is_empty() {
            let labels: Vec<&str> = objects.iter().map(|o| o.label.as_str()).collect();
            let why = format!("the file holds {}", labels.join(", "));
            return Err(Malformed::new("a certificate", why));
        }
        Ok(all)
    }

    /// Its bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Subject in DER.
    pub fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// Issuer in DER.
    pub fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// Subject for people: `O=Example,CN=signer`.
    pub fn subject_text(&self) -> String {
        clean(&self.parsed.tbs_certificate().subject().to_string())
    }

    /// Serial number, as its INTEGER's contents.
    pub fn serial(&self) -> &[u8] {
        self.parsed.tbs_certificate().serial_number().as_bytes()
    }

    /// First instant of its validity.
    pub fn not_before(&self) -> Timestamp {
        instant(self.parsed.tbs_certificate().validity().not_before)
    }

    /// Last instant of its validity.
    pub fn not_after(&self) -> Timestamp {
        instant(self.parsed.tbs_certificate().validity().not_after)
    }

    /// Its public key.
    pub fn key(&self) -> Result<Key, Weak> {
        let info = self.parsed.tbs_certificate().subject_public_key_info().to_der();
        Key::read(&info.map_err(|_| Weak::Malformed("a public key"))?)
    }

    /// What was signed, with which algorithm, and the signature.
    pub(crate) fn signed(&self) -> Result<(&[u8], Algorithm, &[u8]), Weak> {
        let wrong = || Weak::Malformed("a certificate's signature");
        let split = || -> Result<_, String> {
            let mut parts = Element::whole(&self.der, tag::SEQUENCE)?.parts()?;
            let tbs = parts.need(tag::SEQUENCE, "body")?;
            let algorithm = parts.need(tag::SEQUENCE, "algorithm")?;
            let bits = parts.need(tag::BIT_STRING, "signature")?.bits().ok_or("bits")?;
            Ok((tbs.raw, algorithm.raw, bits))
        };
        let (tbs, algorithm, signature) = split().map_err(|_| wrong())?;
        // Both must agree (RFC 5280 §4.1.1.2), or a substituted algorithm would go unnoticed.
        if self.parsed.tbs_certificate().signature() != self.parsed.signature_algorithm() {
            return Err(wrong());
        }
        Ok((tbs, Algorithm::read(algorithm, None)?, signature))
    }

    fn extension(&self, oid: Oid) -> Option<&Extension> {
        let extensions = self.parsed.tbs_certificate().extensions()?;
        extensions.iter().find(|e| e.extn_id == oid)
    }

    fn decoded<'a, T: Decode<'a>>(&'a self, oid: Oid) -> Result<Option<T>, Malformed> {
        let Some(extension) = self.extension(oid) else {
            return Ok(None);
        };
        let read = T::from_der(extension.extn_value.as_bytes());
        read.map(Some).map_err(|_| Malformed::new("a certificate", format!("extension {oid}")))
    }

    pub(crate) fn basic_constraints(&self) -> Result<Option<BasicConstraints>, Malformed> {
        self.decoded(oid::BASIC_CONSTRAINTS)
    }

    pub(crate) fn key_usage(&self) -> Result<Option<KeyUsage>, Malformed> {
        self.decoded(oid::KEY_USAGE)
    }

    /// `None` where it may be used for anything.
    pub(crate) fn extended_key_usage(&self) -> Result<Option<Vec<Oid>>, Malformed> {
        Ok(self.decoded::<ExtendedKeyUsage>(oid::EXTENDED_KEY_USAGE)?.map(|usage| usage.0))
    }

    /// A critical extension that is not understood, or one that stands twice.
    pub(crate) fn unknown_critical(&self) -> Option<Oid> {
        let extensions = self.parsed.tbs_certificate().extensions()?;
        let twice =
            |e: &Extension| extensions.iter().filter(|o| o.extn_id == e.extn_id).count() > 1;
        let bad = |e: &&Extension| e.critical && !oid::KNOWN.contains(&e.extn_id) || twice(e);
        extensions.iter().find(bad).map(|e| e.extn_id)
    }

    /// Identifier of the subject's key, where it has one.
    pub(crate) fn subject_key(&self) -> Option<&[u8]> {
        let value = self.extension(oid::SUBJECT_KEY)?.extn_value.as_bytes();
        Element::whole(value, tag::OCTET_STRING).ok().map(|e| e.body)
    }

    /// Identifier of the issuer's key, where it has one.
    pub(crate) fn authority_key(&self) -> Option<&[u8]> {
        let value = self.extension(oid::AUTHORITY_KEY)?.extn_value.as_bytes();
        let parts = Element::whole(value, tag::SEQUENCE).ok()?.parts().ok()?;
        parts.into_iter().find(|e| e.tag == 0x80).map(|e| e.body)
    }

    /// Its subject alternative names, as GeneralNames in DER.
    pub(crate) fn alternative_names(&self) -> Option<&[u8]> {
        self.extension(oid::SUBJECT_ALT_NAME).map(|e| e.extn_value.as_bytes())
    }

    /// The same, and whether they are critical.
    pub(crate) fn subject_names(&self) -> Option<(bool, &[u8])> {
        let extension = self.extension(oid::SUBJECT_ALT_NAME)?;
        Some((extension.critical, extension.extn_value.as_bytes()))
    }

    /// `id-pe-mud-url` (RFC 8520 §11): where the description of the device is.
    pub fn mud_url(&self) -> Option<String> {
        let value = self.extension(oid::MUD_URL)?.extn_value.as_bytes();
        let text = Element::whole(value, 0x16).ok()?.body;
        text.is_ascii().then(|| clean(&String::from_utf8_lossy(text)))
    }

    /// `id-pe-mudsigner` (RFC 8520 §11): subject, in DER, of who signs the description.
    pub fn mud_signer(&self) -> Option<&[u8]> {
        let value = self.extension(oid::MUD_SIGNER)?.extn_value.as_bytes();
        Element::whole(value, tag::SEQUENCE).ok().map(|e| e.raw)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.subject_text())
    }
}

fn instant(time: Time) -> Timestamp {
    let secs = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_secs(secs, 0)
}

impl Certificate {
    /// The serial number of the device in its subject (IEEE 802.1AR §8.6, X.520 serialNumber): there once, printable, 128 bytes at most.
    pub fn device_number(&self) -> Option<String> {
        let name = Name::from_der(self.subject()).ok()?;
        let all = name.iter();
        let mut numbers = all.filter(|pair| pair.oid == SERIAL_NUMBER);
        let (one, None) = (numbers.next()?, numbers.next()) else { return None };
        let text = std::str::from_utf8(one.value.value()).ok()?;
        let fits =
            (1..=128).contains(&text.len()) && text.bytes().all(|b| (0x20..0x7f).contains(&b));
        fits.then(|| text.to_owned())
    }
}

/// X.520 serialNumber.
const SERIAL_NUMBER: Oid = Oid::new_unwrap("2.5.4.5");

/// A name in DER for people.
pub(crate) fn name_text(der: &[u8]) -> String {
    Name::from_der(der).map_or_else(|_| "?".to_owned(), |name| clean(&name.to_string()))
}

/// Foreign text on one line.
fn clean(text: &str) -> String {
    let plain =
        |c: char| if c.is_control() || ('\u{200b}'..='\u{206f}').contains(&c) { ' ' } else { c };
    text.chars().take(300).map(plain).collect()
}
