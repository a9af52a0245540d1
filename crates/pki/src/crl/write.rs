//! Issuing lists.

use model::Timestamp;

use super::{ENTRIES_MAX, Entry, Reason, oid};
use crate::der::{element, tag, time};
use crate::issue::{extension, sign};
use crate::{Certificate, Key, Malformed, Number, Signer, Verifier, Weak};

/// A list to be issued.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Higher than that of every list before; a delta and a complete list that say the same have the same one (RFC 5280 §5.2.3).
    pub number: Number,
    /// For a delta: the number of the complete list that it is to.
    pub base: Option<Number>,
    /// Since when it counts: a little in the past, because clocks differ.
    pub this_update: Timestamp,
    /// When the next one will be there at the latest.
    pub next_update: Timestamp,
    /// URL of the deltas, in a complete list for those who fetch them.
    pub freshest: Option<&'a str>,
    /// What it lists, in any order.
    pub entries: &'a [Entry],
}

/// Why no list is issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotIssued {
    /// It would never count, or not in any calendar.
    #[error("a list cannot count from {from} to {to}")]
    Validity {
        /// Since when.
        from: Timestamp,
        /// Until when.
        to: Timestamp,
    },
    /// A delta to itself, or to a later list.
    #[error(
        "a delta has a higher number than the list {base} that it is to, and this one has {number}"
    )]
    Numbers {
        /// The list's.
        base: Number,
        /// The delta's.
        number: Number,
    },
    /// One certificate twice.
    #[error("the certificate {0} is listed twice")]
    Twice(Number),
    /// An entry that is no time's or no complete list's.
    #[error("the certificate {serial} cannot be listed: {why}")]
    Entry {
        /// Whose.
        serial: Number,
        /// What is wrong.
        why: String,
    },
    /// Too long for whoever reads it.
    #[error("{0} entries are more than {ENTRIES_MAX}")]
    TooMany(usize),
    /// A URL that cannot be in it.
    #[error("the URL of the deltas cannot be in it: {0}")]
    Url(&'static str),
    /// The authority may not.
    #[error("{issuer} may not issue it: {why}")]
    NotAnAuthority {
        /// Who.
        issuer: String,
        /// What is missing.
        why: &'static str,
    },
    /// The key does not count.
    #[error("{0}")]
    Weak(#[from] Weak),
    /// The authority cannot be read to the end.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// The key could not sign, or signed wrongly.
    #[error("{0}")]
    Signing(String),
}

/// Issues a list of certificates that the authority issued, in DER.
pub fn issue(
    order: &Order<'_>,
    authority: &Certificate,
    signer: &dyn Signer,
    verifier: &dyn Verifier,
) -> Result<Vec<u8>, NotIssued> {
    let key = Key::of(signer)?;
    check_authority(authority, &key)?;
    check_order(order)?;
    let validity = |_| NotIssued::Validity { from: order.this_update, to: order.next_update };
    let algorithm = signer.algorithm().write();
    let body = element(
        tag::SEQUENCE,
        &[
            // Version 2, because there are extensions (RFC 5280 §5.1.2.1).
            &element(tag::INTEGER, &[&[1]]),
            &algorithm,
            authority.subject(),
            &time(order.this_update).map_err(validity)?,
            &time(order.next_update).map_err(validity)?,
            &entries(order)?,
            &extensions(order, authority)?,
        ],
    );
    let signature = sign(&body, &key, signer, verifier);
    let signature = signature.map_err(|refusal| NotIssued::Signing(refusal.to_string()))?;
    let bits = element(tag::BIT_STRING, &[&[0], &signature]);
    Ok(element(tag::SEQUENCE, &[&body, &algorithm, &bits]))
}

fn check_authority(authority: &Certificate, key: &Key) -> Result<(), NotIssued> {
    let refuse = |why| Err(NotIssued::NotAnAuthority { issuer: authority.subject_text(), why });
    match () {
        () if authority.key()? != *key => refuse("the key that would sign is not its key"),
        () if !authority.basic_constraints()?.is_some_and(|c| c.ca) => {
            refuse("its basic constraints do not say that it is an authority")
        }
        () if !authority.key_usage()?.is_some_and(|usage| usage.crl_sign()) => {
            refuse("its key usage lacks cRLSign")
        }
        // Others find the key of a list by it (RFC 5280 §5.2.1).
        () if authority.subject_key().is_none() => refuse("its key has no identifier"),
        () => Ok(()),
    }
}

fn check_order(order: &Order<'_>) -> Result<(), NotIssued> {
    let (from, to) = (order.this_update, order.next_update);
    if to.as_nanos().saturating_sub(from.as_nanos()) < 1_000_000_000 {
        return Err(NotIssued::Validity { from, to });
    }
    if order.entries.len() > ENTRIES_MAX {
        return Err(NotIssued::TooMany(order.entries.len()));
    }
    match order.base {
        Some(base) if base >= order.number => {
            Err(NotIssued::Numbers { base, number: order.number })
        }
        Some(_) if order.freshest.is_some() => {
            Err(NotIssued::Url("a delta has none (RFC 5280 §5.2.6)"))
        }
        _ => Ok(()),
    }
}

/// revokedCertificates, which is left out when there are none (RFC 5280 §5.1.2.6).
fn entries(order: &Order<'_>) -> Result<Vec<u8>, NotIssued> {
    let mut sorted = order.entries.to_vec();
    sorted.sort_unstable_by_key(|entry| entry.serial);
    let twice = sorted.windows(2).find_map(|pair| match pair {
        [a, b] if a.serial == b.serial => Some(a.serial),
        _ => None,
    });
    if let Some(serial) = twice {
        return Err(NotIssued::Twice(serial));
    }
    let mut bytes = Vec::with_capacity(sorted.len().saturating_mul(ENTRY_BYTES));
    for entry in &sorted {
        let wrong = |why: String| NotIssued::Entry { serial: entry.serial, why };
        if entry.reason == Reason::RemoveFromCrl && order.base.is_none() {
            return Err(wrong("only a delta takes something away".to_owned()));
        }
        let at = time(entry.revoked_at).map_err(wrong)?;
        write_entry(&mut bytes, entry, &at);
    }
    Ok(match bytes.is_empty() {
        true => bytes,
        false => element(tag::SEQUENCE, &[&bytes]),
    })
}

/// By hand, because there may be a million. Nothing in an entry is longer than one byte of length says.
fn write_entry(bytes: &mut Vec<u8>, entry: &Entry, at: &[u8]) {
    let serial = entry.serial.contents();
    let reason = reason(entry.reason);
    // Unspecified is not written (RFC 5280 §5.3.1).
    let reason: &[u8] = if entry.reason == Reason::Unspecified { &[] } else { &reason };
    let length = |parts: &[&[u8]]| {
        let sum: usize = parts.iter().map(|part| part.len()).sum();
        u8::try_from(sum).unwrap_or_default()
    };
    let head = [tag::INTEGER, length(&[serial])];
    bytes.extend([tag::SEQUENCE, length(&[&head, serial, at, reason])]);
    [&head, serial, at, reason].into_iter().for_each(|part| bytes.extend_from_slice(part));
}

/// Bytes of an entry with a serial number of 128 bits and a reason.
const ENTRY_BYTES: usize = 50;

/// crlEntryExtensions with a reasonCode, which is always of this size.
const fn reason(reason: Reason) -> [u8; 14] {
    let name = [0x06, 3, 0x55, 0x1d, 0x15];
    let [a, b, c, d, e] = name;
    [0x30, 12, 0x30, 10, a, b, c, d, e, tag::OCTET_STRING, 3, tag::ENUMERATED, 1, reason.code()]
}

fn extensions(order: &Order<'_>, authority: &Certificate) -> Result<Vec<u8>, NotIssued> {
    let key = element(0x80, &[authority.subject_key().unwrap_or_default()]);
    let mut all = vec![
        extension(oid::AUTHORITY_KEY, false, &element(tag::SEQUENCE, &[&key])),
        extension(oid::NUMBER, false, &order.number.write()),
    ];
    if let Some(base) = order.base {
        // Who does not know deltas must not take it for a complete list.
        all.push(extension(oid::DELTA, true, &base.write()));
    }
    if let Some(url) = order.freshest {
        if url.is_empty() || !url.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(NotIssued::Url("only printable ASCII is in one"));
        }
        let name = element(tag::context(0), &[&element(0x86, &[url.as_bytes()])]);
        let point = element(tag::SEQUENCE, &[&element(tag::context(0), &[&name])]);
        all.push(extension(oid::FRESHEST, false, &element(tag::SEQUENCE, &[&point])));
    }
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    Ok(element(tag::context(0), &[&element(tag::SEQUENCE, &all)]))
}
