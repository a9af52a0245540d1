//! Certificates of endorsement keys: a manufacturer says that a key is in a TPM that it made (TCG EK Credential Profile for
//! TPM 2.0, §3.2).

use model::Timestamp;
use x509_cert::spki::ObjectIdentifier as Oid;

use super::key::EndorsementKey;
use crate::der::{Element, tag};
use crate::path::{self, Purpose};
use crate::{Certificate, Verifier, Weak};

/// Attributes of the directory name (§3.1.2).
const MANUFACTURER: Oid = Oid::new_unwrap("2.23.133.2.1");
const MODEL: Oid = Oid::new_unwrap("2.23.133.2.2");
const VERSION: Oid = Oid::new_unwrap("2.23.133.2.3");
/// Characters of one of them.
const TEXT_MAX: usize = 64;

/// What a manufacturer says of a TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its vendor id: `id:` and eight hexadecimal digits, four letters (TCG Vendor ID Registry).
    pub manufacturer: String,
    /// Part number.
    pub model: String,
    /// Firmware when it was made.
    pub version: String,
}

/// An endorsement key that a manufacturer vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endorsed {
    /// The key.
    pub key: EndorsementKey,
    /// The TPM.
    pub model: Model,
    /// Who vouches for it, up to the trust anchor.
    pub issuers: Vec<String>,
}

/// Why a certificate of an endorsement key does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotEndorsed {
    /// No manufacturer that is trusted vouches for it.
    #[error(transparent)]
    Path(#[from] path::Refusal),
    /// Its key does not count.
    #[error("the key in the certificate: {0}")]
    Weak(#[from] Weak),
    /// It is the certificate of another key.
    #[error("the certificate is for another key than the TPM's endorsement key")]
    OtherKey,
    /// It does not name the TPM.
    #[error("the certificate does not say which TPM it is for: {0}")]
    Unnamed(&'static str),
}

/// The endorsement key, once a manufacturer's certificate says that it is one. `others` came along and are trusted for
/// nothing; `manufacturers` are trusted roots.
pub fn endorsed(
    key: EndorsementKey,
    certificate: &Certificate,
    others: &[Certificate],
    manufacturers: &[Certificate],
    at: Timestamp,
    verifier: &dyn Verifier,
) -> Result<Endorsed, NotEndorsed> {
    let purpose = Purpose::Endorsement;
    let path = path::find(certificate, others, manufacturers, at, purpose, verifier)?;
    if certificate.key()? != key.public().key {
        return Err(NotEndorsed::OtherKey);
    }
    let model = model(certificate).map_err(NotEndorsed::Unnamed)?;
    let issuers = path.iter().skip(1).map(|c| c.subject_text()).collect();
    Ok(Endorsed { key, model, issuers })
}

/// The TPM that the certificate names as its subject.
fn model(certificate: &Certificate) -> Result<Model, &'static str> {
    let (critical, names) =
        certificate.subject_names().ok_or("it has no subject alternative name")?;
    // RFC 5280 §4.2.1.6: without a subject, the names are all there is.
    if !critical && certificate.subject() == [tag::SEQUENCE, 0] {
        return Err("it has no subject, and its alternative name is not critical");
    }
    read(names).map_err(|_| "its subject alternative name cannot be read")?.ok_or(
        "its subject alternative name lacks manufacturer, model or version of a TPM, or has one of them twice",
    )
}

/// From GeneralNames. Every name and every attribute is looked at: manufacturers put them in one set or in several.
fn read(names: &[u8]) -> Result<Option<Model>, String> {
    let mut found: [Vec<String>; 3] = Default::default();
    let directories = Element::whole(names, tag::SEQUENCE)?.parts()?;
    for directory in directories.filter(|name| name.tag == tag::context(4)) {
        for set in Element::whole(directory.body, tag::SEQUENCE)?.parts()? {
            for attribute in Element::whole(set.raw, tag::SET)?.parts()? {
                let mut parts = Element::whole(attribute.raw, tag::SEQUENCE)?.parts()?;
                let kind = parts.need(tag::OID, "type")?;
                let value = parts.next().ok_or("no value")?;
                parts.end()?;
                let place = [MANUFACTURER, MODEL, VERSION].map(|oid| oid.as_bytes() == kind.body);
                for (texts, _) in found.iter_mut().zip(place).filter(|(_, here)| *here) {
                    texts.push(text(value)?);
                }
            }
        }
    }
    Ok(match found.map(|texts| <[String; 1]>::try_from(texts).ok()) {
        [Some([manufacturer]), Some([model]), Some([version])] => {
            Some(Model { manufacturer, model, version })
        }
        _ => None,
    })
}

/// UTF8String or PrintableString, of printable ASCII.
fn text(value: Element<'_>) -> Result<String, String> {
    let printable = |b: &u8| b.is_ascii_graphic() || *b == b' ';
    let fits = (1..=TEXT_MAX).contains(&value.body.len()) && value.body.iter().all(printable);
    match value.tag {
        tag::UTF8_STRING | PRINTABLE_STRING if fits => {
            Ok(String::from_utf8_lossy(value.body).into_owned())
        }
        _ => Err("it is no short text of printable ASCII".to_owned()),
    }
}

const PRINTABLE_STRING: u8 = 0x13;

/// What the fuzz target reads, without a path.
pub(crate) fn named(certificate: &Certificate) -> bool {
    model(certificate).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der::{element, set_of};

    fn attribute(oid: Oid, kind: u8, text: &str) -> Vec<u8> {
        let oid = element(tag::OID, &[oid.as_bytes()]);
        element(tag::SEQUENCE, &[&oid, &element(kind, &[text.as_bytes()])])
    }

    fn names(sets: Vec<Vec<Vec<u8>>>) -> Vec<u8> {
        let sets: Vec<_> = sets.into_iter().map(|set| set_of(tag::SET, set)).collect();
        let name = element(tag::SEQUENCE, &sets.iter().map(Vec::as_slice).collect::<Vec<_>>());
        element(tag::SEQUENCE, &[&element(tag::context(4), &[&name])])
    }

    #[test]
    fn a_model_in_one_set_or_in_three() {
        let all = || {
            vec![
                attribute(MANUFACTURER, tag::UTF8_STRING, "id:494E5443"),
                attribute(MODEL, PRINTABLE_STRING, "SLB 9670"),
                attribute(VERSION, tag::UTF8_STRING, "id:00070055"),
            ]
        };
        let expected = Model {
            manufacturer: "id:494E5443".to_owned(),
            model: "SLB 9670".to_owned(),
            version: "id:00070055".to_owned(),
        };
        let three = names(all().into_iter().map(|one| vec![one]).collect());
        for bytes in [names(vec![all()]), three] {
            assert_eq!(read(&bytes), Ok(Some(expected.clone())));
            assert!((0..bytes.len()).all(|cut| read(&bytes[..cut]).is_err()));
        }
        assert_eq!(read(&names(vec![all(), all()])), Ok(None), "twice");
        assert_eq!(read(&names(vec![all()[1..].to_vec()])), Ok(None), "one is missing");
        assert_eq!(read(&element(tag::SEQUENCE, &[])), Ok(None));
        let odd = |text: &str| names(vec![vec![attribute(MODEL, tag::UTF8_STRING, text)]]);
        for wrong in ["", "a\0b", "\u{202e}", &"x".repeat(TEXT_MAX + 1)] {
            assert!(read(&odd(wrong)).is_err(), "{wrong:?}");
        }
    }
}
