//! Reading lists, and believing them.

use model::Timestamp;

use super::{BYTES_MAX, Crl, ENTRIES_MAX, Entry, Reason, oid};
use crate::certificate::name_text;
use crate::der::{Each, Element, Extension, instant, tag};
use crate::{Algorithm, Certificate, Malformed, Number, Pem, Verifier, Weak};

/// Why a list does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is none.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// Somebody else's.
    #[error("the revocation list is by {issuer}, and not by {authority}, or with another key")]
    OtherIssuer {
        /// Who issued it.
        issuer: String,
        /// Who had to.
        authority: String,
    },
    /// Its issuer may not issue it.
    #[error("{authority} may not issue revocation lists: {why}")]
    NotAnAuthority {
        /// Who.
        authority: String,
        /// What is missing.
        why: &'static str,
    },
    /// Its key or its signature is of a kind that does not count.
    #[error("the revocation list: {0}")]
    Weak(#[from] Weak),
    /// Its signature does not hold.
    #[error("the revocation list was not signed with the key of {authority}, or was changed")]
    Signature {
        /// Whose key it had to be.
        authority: String,
    },
    /// It demands something that is not understood.
    #[error("the revocation list has the critical extension {oid}, which is not understood")]
    Critical {
        /// Which.
        oid: String,
    },
    /// It does not count yet.
    #[error("the revocation list does not count before {at}")]
    NotYetValid {
        /// Since when it does.
        at: Timestamp,
    },
    /// A newer one had to be there.
    #[error("the revocation list is old: the next one was due at {at}")]
    Stale {
        /// When.
        at: Timestamp,
    },
}

/// What errors call it.
const WHAT: &str = "a revocation list (CRL)";

/// Reads a list, DER or PEM, and believes it: the authority signed it, and it counts at this moment. Whether the authority itself
/// is to be believed is for [`crate::path`] to say.
pub fn read(
    bytes: &[u8],
    authority: &Certificate,
    at: Timestamp,
    verifier: &dyn Verifier,
) -> Result<Crl, Refusal> {
    if bytes.len() > BYTES_MAX {
        return Err(Malformed::new(WHAT, format!("it is longer than {BYTES_MAX} bytes")).into());
    }
    // DER begins with the tag of a SEQUENCE; looking for words in megabytes of it takes a while.
    if bytes.first() == Some(&tag::SEQUENCE) || !Pem::looks_like(bytes) {
        return read_der(bytes, authority, at, verifier);
    }
    match Pem::read_all(bytes)?.as_slice() {
        [one] if one.label == "X509 CRL" => read_der(&one.der, authority, at, verifier),
        _ => Err(Malformed::new(WHAT, "the file does not hold one X509 CRL").into()),
    }
}

fn read_der(
    bytes: &[u8],
    authority: &Certificate,
    at: Timestamp,
    verifier: &dyn Verifier,
) -> Result<Crl, Refusal> {
    let wrong = |why: String| Malformed::new(WHAT, why);
    let split = Split::of(bytes).map_err(wrong)?;
    check_authority(&split, authority)?;
    let key = authority.key()?;
    let algorithm = Algorithm::read(split.algorithm, None)?;
    if !algorithm.fits(key.kind) || !verifier.verify(algorithm, &key, split.body, split.signature) {
        return Err(Refusal::Signature { authority: authority.subject_text() });
    }
    // Nobody but the authority makes us look at a million entries.
    let crl = crl(&split)?;
    let own = authority.subject_key();
    if matches!((&crl.authority_key, own), (Some(a), Some(b)) if a != b) {
        return Err(other_issuer(&split, authority));
    }
    crl.check(at)?;
    Ok(crl)
}

/// What the bytes say, whoever signed them; for the fuzz target.
pub(crate) fn unjudged(bytes: &[u8]) -> Result<Crl, Refusal> {
    crl(&Split::of(bytes).map_err(|why| Malformed::new(WHAT, why))?)
}

fn crl(split: &Split<'_>) -> Result<Crl, Refusal> {
    let extensions = Extensions::read(split.extensions)?;
    let entries = entries(split.entries, extensions.base.is_some())?;
    Ok(Crl {
        issuer: split.issuer.to_vec(),
        authority_key: extensions.authority_key,
        number: extensions.number,
        base: extensions.base,
        this_update: split.this_update,
        next_update: split.next_update,
        entries,
    })
}

fn other_issuer(split: &Split<'_>, authority: &Certificate) -> Refusal {
    let (issuer, authority) = (name_text(split.issuer), authority.subject_text());
    Refusal::OtherIssuer { issuer, authority }
}

fn check_authority(split: &Split<'_>, authority: &Certificate) -> Result<(), Refusal> {
    if split.issuer != authority.subject() {
        return Err(other_issuer(split, authority));
    }
    let refuse = |why| Err(Refusal::NotAnAuthority { authority: authority.subject_text(), why });
    if !authority.basic_constraints()?.is_some_and(|c| c.ca) {
        return refuse("its basic constraints do not say that it is an authority");
    }
    // RFC 5280 §6.3.3 (f).
    match authority.key_usage()?.is_none_or(|usage| usage.crl_sign()) {
        true => Ok(()),
        false => refuse("its key usage lacks cRLSign"),
    }
}

struct Split<'a> {
    body: &'a [u8],
    issuer: &'a [u8],
    this_update: Timestamp,
    next_update: Timestamp,
    entries: Option<Element<'a>>,
    extensions: Element<'a>,
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Split<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, String> {
        let mut whole = Each::of(Element::whole(bytes, tag::SEQUENCE)?);
        let body = whole.need(tag::SEQUENCE, "body")?;
        let algorithm = whole.need(tag::SEQUENCE, "signature algorithm")?.raw;
        let bits = whole.need(tag::BIT_STRING, "signature")?.bits();
        whole.end()?;
        let mut parts = Each::of(body);
        // Version 2 (RFC 5280 §5.1.2.1).
        if parts.need(tag::INTEGER, "version")?.body != [1] {
            return Err("its version is not 2".to_owned());
        }
        // Both must agree (RFC 5280 §5.1.1.2), or a substituted algorithm would go unnoticed.
        if parts.need(tag::SEQUENCE, "algorithm")?.raw != algorithm {
            return Err("it names two algorithms".to_owned());
        }
        let issuer = parts.need(tag::SEQUENCE, "issuer")?.raw;
        let this_update = moment(&mut parts)?.ok_or("it does not say since when it counts")?;
        // Always there (RFC 5280 §5.1.2.5); one without would count for ever.
        let next_update = moment(&mut parts)?.ok_or("it does not say when the next one is due")?;
        let entries = parts.optional(tag::SEQUENCE)?;
        let mut outer = Each::of(parts.need(tag::context(0), "extension")?);
        parts.end()?;
        let extensions = outer.need(tag::SEQUENCE, "extension")?;
        outer.end()?;
        let signature = bits.ok_or("a signature of odd bits")?;
        let body = body.raw;
        Ok(Self {
            body,
            issuer,
            this_update,
            next_update,
            entries,
            extensions,
            algorithm,
            signature,
        })
    }
}

/// A Time, when there is one next.
fn moment(parts: &mut Each<'_>) -> Result<Option<Timestamp>, String> {
    let short = parts.optional(tag::UTC_TIME)?;
    let time = match short {
        Some(time) => Some(time),
        None => parts.optional(tag::GENERALIZED_TIME)?,
    };
    time.map(instant).transpose()
}

struct Extensions {
    number: Number,
    base: Option<Number>,
    authority_key: Option<Vec<u8>>,
}

impl Extensions {
    fn read(extensions: Element<'_>) -> Result<Self, Refusal> {
        let wrong = |why: String| Malformed::new(WHAT, why);
        let (mut number, mut base, mut authority_key) = (None, None, None);
        for extension in Extension::all(extensions).map_err(wrong)? {
            let integer = || {
                Number::read(Element::whole(extension.value, tag::INTEGER).map_err(wrong)?)
                    .map_err(wrong)
            };
            match extension.kind {
                kind if kind == oid::NUMBER.as_bytes() => number = Some(integer()?),
                kind if kind == oid::DELTA.as_bytes() => {
                    // RFC 5280 §5.2.4. Who does not critically say so is not believed to mean it.
                    if !extension.critical {
                        return Err(wrong("it is a delta, and that is not critical".into()).into());
                    }
                    base = Some(integer()?);
                }
                kind if kind == oid::AUTHORITY_KEY.as_bytes() => {
                    authority_key = key_id(extension.value).map_err(wrong)?;
                }
                _ if extension.critical => {
                    return Err(Refusal::Critical { oid: extension.name() });
                }
                _ => {}
            }
        }
        let number = number.ok_or_else(|| wrong("it has no number".to_owned()))?;
        match base {
            Some(base) if base >= number => {
                Err(wrong(format!("it is a delta {number} to the later list {base}")).into())
            }
            _ => Ok(Self { number, base, authority_key }),
        }
    }
}

/// keyIdentifier of an AuthorityKeyIdentifier (RFC 5280 §4.2.1.1).
fn key_id(value: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let parts = Element::whole(value, tag::SEQUENCE)?.parts()?;
    Ok(parts.into_iter().find(|part| part.tag == 0x80).map(|part| part.body.to_vec()))
}

fn entries(listed: Option<Element<'_>>, is_delta: bool) -> Result<Vec<Entry>, Refusal> {
    let wrong = |why: String| Malformed::new(WHAT, why);
    let Some(listed) = listed else {
        return Ok(Vec::new());
    };
    let mut each = Each::of(listed);
    let mut entries = Vec::with_capacity((listed.body.len() / ENTRY_BYTES_MIN).min(ENTRIES_MAX));
    while !each.is_empty() {
        if entries.len() == ENTRIES_MAX {
            return Err(wrong(format!("more than {ENTRIES_MAX} entries")).into());
        }
        let one = each.need(tag::SEQUENCE, "entry").map_err(wrong)?;
        let entry = entry(one)?;
        if entry.reason == Reason::RemoveFromCrl && !is_delta {
            let why = format!("it takes {} away, and is no delta", entry.serial);
            return Err(wrong(why).into());
        }
        entries.push(entry);
    }
    if entries.is_empty() {
        return Err(wrong("it has a list of no entries".to_owned()).into());
    }
    if !entries.is_sorted_by_key(|entry| entry.serial) {
        entries.sort_unstable_by_key(|entry| entry.serial);
    }
    let twice = |pair: &[Entry]| matches!(pair, [a, b] if a.serial == b.serial);
    match entries.windows(2).any(twice) {
        true => Err(wrong("a certificate stands in it twice".to_owned()).into()),
        false => Ok(entries),
    }
}

/// Bytes of the shortest entry.
const ENTRY_BYTES_MIN: usize = 20;

fn entry(one: Element<'_>) -> Result<Entry, Refusal> {
    let wrong = |why: String| Malformed::new(WHAT, why);
    let split = || -> Result<_, String> {
        let mut parts = Each::of(one);
        let serial = Number::read(parts.need(tag::INTEGER, "serial number")?)?;
        let at = moment(&mut parts)?.ok_or("an entry has no time")?;
        let extensions = parts.optional(tag::SEQUENCE)?;
        parts.end()?;
        Ok((serial, at, extensions))
    };
    let (serial, revoked_at, extensions) = split().map_err(wrong)?;
    let mut reason = Reason::Unspecified;
    let extensions = extensions.map(Extension::all).transpose().map_err(wrong)?;
    for extension in extensions.into_iter().flatten() {
        match extension.kind {
            kind if kind == oid::REASON.as_bytes() => {
                reason = read_reason(extension.value).map_err(wrong)?;
            }
            // certificateIssuer is one: the entry is then of somebody else's certificate.
            _ if extension.critical => return Err(Refusal::Critical { oid: extension.name() }),
            _ => {}
        }
    }
    Ok(Entry { serial, revoked_at, reason })
}

fn read_reason(value: &[u8]) -> Result<Reason, String> {
    let code = Element::whole(value, tag::ENUMERATED)?.body;
    let known = Reason::ALL.into_iter().find(|reason| code == [reason.code()]);
    known.ok_or_else(|| "an entry has a reason that means nothing".to_owned())
}
