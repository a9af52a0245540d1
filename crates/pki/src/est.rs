//! Bodies of EST (RFC 7030, with the corrections of RFC 8951): requests in, certificates and wishes out.
//!
//! Every body is base64 whatever its headers say (RFC 8951 §3.1). Read is text with line breaks or without; written is one
//! line, because some clients fail on breaks. Who asks, and whether he gets a certificate, is not decided here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_cert::spki::ObjectIdentifier as Oid;

use crate::der::{Element, element, set_of, tag};
use crate::request::{self, CHALLENGE_PASSWORD, EXTENSION_REQUEST, Request, attribute};
use crate::san::Names;
use crate::{Certificate, KeyKind, Malformed, issue};

/// Bytes of a request that is read, without its base64.
pub const REQUEST_MAX: usize = request::BYTES_MAX;
/// Bytes of certificates that are read, without their base64.
pub const CERTIFICATES_MAX: usize = 262_144;
/// Certificates in one answer.
pub const CERTIFICATES_COUNT_MAX: usize = 32;
/// Bytes of wishes that are read, without their base64.
pub const WISHES_MAX: usize = 16_384;

/// Label of the TLS exporter whose 32 bytes, with an empty context, stand for the channel where there is no tls-unique: TLS 1.3
/// has none, and RFC 9266 §2 puts these in its place.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing in it.
    #[error("the body is empty")]
    Empty,
    /// There is too much in it.
    #[error("the body is longer than {bytes_max} bytes in base64")]
    TooLong {
        /// Bytes that it may have, without its base64.
        bytes_max: usize,
    },
    /// It is text armour.
    #[error("the body is a PEM file; send what is between its BEGIN and END lines")]
    Armoured,
    /// It is not base64.
    #[error("the body is not base64 (RFC 4648 §4): {0}")]
    Base64(String),
    /// It is base64 of something else.
    #[error("the body is {0}")]
    Malformed(#[from] Malformed),
}

/// Bytes as a body: one line of base64.
pub fn body(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// User and password of an `Authorization` header that says `Basic` (RFC 7617), as clients show what they know (RFC 7030 §3.2.3). A user has no
/// colon in it.
pub fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, coded) = header.split_once(' ')?;
    let coded = scheme.eq_ignore_ascii_case("basic").then(|| coded.trim())?;
    let pair = String::from_utf8(STANDARD.decode(coded).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The bytes of a body.
fn bytes(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    // A third more for base64, and as much again for line breaks, however short the lines are.
    if body.len() > bytes_max.saturating_mul(2) {
        return Err(Refusal::TooLong { bytes_max });
    }
    let text: Vec<u8> = body.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    match () {
        () if text.is_empty() => return Err(Refusal::Empty),
        () if text.starts_with(b"-----BEGIN ") => return Err(Refusal::Armoured),
        () => {}
    }
    let bytes = STANDARD.decode(&text).map_err(|e| Refusal::Base64(e.to_string()))?;
    match bytes.len() <= bytes_max {
        true => Ok(bytes),
        false => Err(Refusal::TooLong { bytes_max }),
    }
}

/// The request in a body of `simpleenroll` or `simplereenroll` (RFC 7030 §4.2), in DER: for [`request::read_der`].
pub fn read_request(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let bytes = bytes(body, REQUEST_MAX)?;
    match Element::whole(&bytes, tag::SEQUENCE) {
        Ok(_) => Ok(bytes),
        Err(why) => Err(Malformed::new("a certificate request", why).into()),
    }
}

/// Whether a device may have a certificate of such a key. More bits of RSA cost small devices seconds, and us time for each of them.
pub const fn takes_key(kind: KeyKind) -> bool {
    match kind {
        KeyKind::Rsa(bits) => bits >= 2_048 && bits <= 4_096,
        KeyKind::P256 | KeyKind::P384 | KeyKind::Ed25519 => true,
    }
}

/// What a request says about the channel that it came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Nothing: whoever had the request could have sent it.
    Absent,
    /// It was made for this channel, by who holds its key.
    Holds,
    /// It was made for another channel, or its challengePassword is something else.
    Other,
}

/// Whether a request was made for this channel (RFC 7030 §3.5): its challengePassword is the base64 of tls-unique, or of the
/// exporter ([`EXPORTER_LABEL`]). The time it takes does not tell where they differ. An empty value is no channel's.
pub fn binding(request: &Request, channel: &[u8]) -> Binding {
    let Some(challenge) = &request.challenge else {
        return Binding::Absent;
    };
    let expected = STANDARD.encode(channel);
    match !channel.is_empty() && same(challenge.as_str().as_bytes(), expected.as_bytes()) {
        true => Binding::Holds,
        false => Binding::Other,
    }
}

/// The challengePassword of a request for this channel ([`request::Extras`]).
pub fn challenge_of(channel: &[u8]) -> String {
    STANDARD.encode(channel)
}

/// Looks at every byte, whatever the ones before were.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differing) == 0
}

mod oid {
    use super::Oid;

    pub(super) const DATA: Oid = Oid::new_unwrap("1.2.840.113549.1.7.1");
    pub(super) const SIGNED_DATA: Oid = Oid::new_unwrap("1.2.840.113549.1.7.2");
    pub(super) const EC_KEY: Oid = Oid::new_unwrap("1.2.840.10045.2.1");
    pub(super) const ECDSA_SHA256: Oid = Oid::new_unwrap("1.2.840.10045.4.3.2");
    pub(super) const P256: Oid = Oid::new_unwrap("1.2.840.10045.3.1.7");
}

/// Certificates as signed data that nobody signed (RFC 5652 §5, "certs-only" of RFC 5751 §3.6), in DER. Their order is the
/// encoding's.
pub fn certs_only(certificates: &[Certificate]) -> Vec<u8> {
    let name = |oid: Oid| element(tag::OID, &[oid.as_bytes()]);
    let mut all: Vec<Vec<u8>> = certificates.iter().map(|c| c.der().to_vec()).collect();
    all.sort();
    all.dedup();
    let data = element(
        tag::SEQUENCE,
        &[
            // Version 1: plain data and plain certificates (RFC 5652 §5.1).
            &element(tag::INTEGER, &[&[1]]),
            &element(tag::SET, &[]),
            &element(tag::SEQUENCE, &[&name(oid::DATA)]),
            &set_of(tag::context(0), all),
            &element(tag::SET, &[]),
        ],
    );
    element(tag::SEQUENCE, &[&name(oid::SIGNED_DATA), &element(tag::context(0), &[&data])])
}

/// The certificates in a body of `cacerts`, `simpleenroll` or `simplereenroll`, at least one. Anything beside certificates
/// refuses it: content, signatures, revocation lists. Nothing of the certificates is true yet: see [`crate::path`].
pub fn read_certs_only(body: &[u8]) -> Result<Vec<Certificate>, Refusal> {
    let bytes = bytes(body, CERTIFICATES_MAX)?;
    let wrong = |why: String| Malformed::new("certificates (CMS certs-only)", why);
    let elements = split(&bytes).map_err(wrong)?;
    let mut all: Vec<Certificate> = Vec::new();
    for certificate in elements {
        let certificate = Certificate::from_der(certificate.raw)?;
        if all.contains(&certificate) {
            return Err(wrong("a certificate stands in it twice".to_owned()).into());
        }
        all.push(certificate);
    }
    Ok(all)
}

fn split(bytes: &[u8]) -> Result<Vec<Element<'_>>, String> {
    let mut outer = Element::whole(bytes, tag::SEQUENCE)?.parts()?;
    if outer.need(tag::OID, "content type")?.body != oid::SIGNED_DATA.as_bytes() {
        return Err("it is not signed data".to_owned());
    }
    let data = outer.need(tag::context(0), "content")?;
    outer.end()?;
    let mut parts = Element::whole(data.body, tag::SEQUENCE)?.parts()?;
    if parts.need(tag::INTEGER, "version")?.body != [1] {
        return Err("its version is not 1".to_owned());
    }
    if !parts.need(tag::SET, "digest algorithms")?.body.is_empty() {
        return Err("it names digests, and nothing is signed".to_owned());
    }
    let mut content = parts.need(tag::SEQUENCE, "content")?.parts()?;
    if content.need(tag::OID, "type of content")?.body != oid::DATA.as_bytes() {
        return Err("it holds something else than data".to_owned());
    }
    content.end()?;
    let certificates: Vec<Element<'_>> =
        parts.need(tag::context(0), "certificates")?.parts()?.collect();
    if !parts.need(tag::SET, "signers")?.body.is_empty() {
        return Err("somebody signed it".to_owned());
    }
    parts.end()?;
    match certificates.len() {
        0 => Err("there is no certificate in it".to_owned()),
        1..=CERTIFICATES_COUNT_MAX => Ok(certificates),
        _ => Err(format!("more than {CERTIFICATES_COUNT_MAX} certificates")),
    }
}

/// What an authority wishes of requests, beside a key on P-256 and a signature with SHA-256.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// They are bound to their channel ([`binding`]).
    pub bound: bool,
    /// DNS names that they ask for.
    pub hosts: Vec<String>,
    /// URIs that they ask for.
    pub uris: Vec<String>,
}

/// CsrAttrs (RFC 7030 §4.5.2), in DER. Names stand in it as the extension that the request should have (RFC 9908 §3.2).
pub fn csrattrs(wishes: &Wishes) -> Vec<u8> {
    let name = |oid: Oid| element(tag::OID, &[oid.as_bytes()]);
    let mut all = Vec::new();
    if wishes.bound {
        all.push(name(CHALLENGE_PASSWORD));
    }
    if !wishes.hosts.is_empty() || !wishes.uris.is_empty() {
        let (dns, uris) = (wishes.hosts.clone(), wishes.uris.clone());
        let names = Names { dns, uris, addresses: Vec::new() }.write();
        let names = issue::extension(issue::oid::SUBJECT_ALT_NAME, false, &names);
        all.push(attribute(EXTENSION_REQUEST, &element(tag::SEQUENCE, &[&names])));
    }
    all.push(attribute(oid::EC_KEY, &name(oid::P256)));
    all.push(name(oid::ECDSA_SHA256));
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    element(tag::SEQUENCE, &all)
}

/// Reads a body of `csrattrs`. What is not understood is left alone (RFC 7030 §4.5.2): it is a wish.
pub fn read_csrattrs(body: &[u8]) -> Result<Wishes, Refusal> {
    let bytes = bytes(body, WISHES_MAX)?;
    wishes(&bytes).map_err(|why| Malformed::new("CSR attributes", why).into())
}

fn wishes(bytes: &[u8]) -> Result<Wishes, String> {
    let mut wishes = Wishes::default();
    for part in Element::whole(bytes, tag::SEQUENCE)?.parts()? {
        match part.tag {
            tag::OID => wishes.bound |= part.body == CHALLENGE_PASSWORD.as_bytes(),
            tag::SEQUENCE => {
                let mut attribute = part.parts()?;
                let kind = attribute.need(tag::OID, "type of an attribute")?;
                let values = attribute.need(tag::SET, "values of an attribute")?;
                attribute.end()?;
                // RFC 7030 had a bare name there in its own example; RFC 9908 §3.2 has extensions.
                let extensions = values.body.first() == Some(&tag::SEQUENCE);
                if kind.body == EXTENSION_REQUEST.as_bytes() && extensions {
                    let names = request::names(values)?;
                    wishes.hosts.extend(names.dns);
                    wishes.uris.extend(names.uris);
                }
            }
            other => return Err(format!("{other:#04x} is neither a name nor an attribute")),
        }
    }
    Ok(wishes)
}
