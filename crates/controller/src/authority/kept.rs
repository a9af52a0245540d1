//! What an authority keeps in the state folder: certificates, and keys under its passphrase. A crash between two files loses nothing: keys are beside
//! before others take their place.

use crypto::PrivateKey;
use model::Timestamp;
use pki::{Certificate, Key, Pem, Signer};

use super::{
    AnySigner, AuthorityError, DAY_NANOS, EARLIER_NANOS, FORMER, ISSUING_KEY, Issuing, MEMBER_DAYS,
    ROOT_KEY, later,
};
use crate::blobs::hex;
use crate::state::{StateError, StateFolder};

/// Authorities of before.
pub(super) fn former(folder: &StateFolder) -> Result<Vec<Certificate>, AuthorityError> {
    let Some(bytes) = folder.read(FORMER)? else { return Ok(Vec::new()) };
    let wrong = |why: String| AuthorityError::File { file: FORMER, why };
    Certificate::read_all(&bytes).map_err(|error| wrong(error.to_string()))
}

/// Adds to them.
pub(super) fn remember(folder: &StateFolder, more: &[Certificate]) -> Result<(), AuthorityError> {
    if more.is_empty() {
        return Ok(());
    }
    let mut all = former(folder)?;
    all.extend(more.iter().filter(|one| !all.contains(one)).cloned().collect::<Vec<_>>());
    let text: Result<Vec<String>, AuthorityError> = all.iter().map(armoured).collect();
    Ok(folder.write(FORMER, text?.concat().as_bytes(), 0o644)?)
}

/// The key's file of a root that was followed by another one.
pub(super) fn former_root_key(root: &Certificate) -> String {
    format!("pki/root-{}.key.pem", hex(root.serial()))
}

/// The root's key, if it is here: beside, when a crash left the next root's key in its place.
pub(super) fn root_key(
    folder: &StateFolder,
    root: &Certificate,
) -> Result<Option<PrivateKey>, AuthorityError> {
    for name in [ROOT_KEY, &former_root_key(root)] {
        if let Some(key) = folder.key(name)?
            && belongs(root, &key)
        {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// The key's file of an issuing authority that was followed by another one.
pub(super) fn former_key(issuing: &Certificate) -> String {
    format!("pki/issuing-{}.key.pem", hex(issuing.serial()))
}

/// Keeps an issuing authority that is followed by another one, and its key.
pub(super) fn keep(folder: &StateFolder, issuing: &Certificate) -> Result<(), AuthorityError> {
    if let Some(key) = folder.key(ISSUING_KEY)? {
        folder.write_key(&former_key(issuing), &key)?;
    }
    remember(folder, std::slice::from_ref(issuing))
}

/// Issuing authorities before the one of today whose certificates are not all over, the latest first. The keys of others go.
pub(super) fn earlier(
    folder: &StateFolder,
    former: &[Certificate],
    root: &Certificate,
    today: &Certificate,
    now: Timestamp,
) -> Result<Vec<Issuing>, AuthorityError> {
    let is_root = |one: &&Certificate| one.subject() == one.issuer();
    let roots: Vec<&Certificate> = former.iter().filter(is_root).chain([root]).collect();
    // The others are roots as those before them certify them.
    let issues = |one: &&Certificate| roots.iter().all(|root| root.subject() != one.subject());
    // Those of one second are in the order in which they came.
    let mut all: Vec<&Certificate> =
        [today].into_iter().chain(former.iter().rev().filter(issues)).collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.not_before()));
    let mut earlier = Vec::new();
    for (next, one) in all.iter().zip(all.iter().skip(1)) {
        let name = former_key(one);
        let last = next.not_before().plus_nanos(EARLIER_NANOS);
        let end = later(last, MEMBER_DAYS).plus_nanos(DAY_NANOS).min(one.not_after());
        if now >= end {
            folder.remove(&name)?;
        } else if let Some(signer) = signer(folder, &name)?
            && belongs(one, &*signer)
        {
            earlier.push(Issuing { certificate: (*one).clone(), signer });
        }
    }
    Ok(earlier)
}

pub(super) fn belongs(issuing: &Certificate, signer: &dyn Signer) -> bool {
    issuing.key().is_ok_and(|of| Key::of(signer).is_ok_and(|key| of == key))
}

pub(super) fn armoured(certificate: &Certificate) -> Result<String, AuthorityError> {
    Ok(Pem::write("CERTIFICATE", certificate.der())?)
}

pub(super) fn certificate(
    folder: &StateFolder,
    file: &'static str,
) -> Result<Option<Certificate>, AuthorityError> {
    let Some(bytes) = folder.read(file)? else {
        return Ok(None);
    };
    let wrong = |why: String| AuthorityError::File { file, why };
    let all = Certificate::read_all(&bytes).map_err(|error| wrong(error.to_string()))?;
    match all.into_iter().next() {
        Some(first) => Ok(Some(first)),
        None => Err(wrong("there is no certificate in it".to_owned())),
    }
}

pub(super) fn signer(folder: &StateFolder, file: &str) -> Result<Option<AnySigner>, StateError> {
    Ok(folder.key(file)?.map(|key| -> AnySigner { Box::new(key) }))
}
