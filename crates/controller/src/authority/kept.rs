//! What an authority keeps in the state folder: certificates, and keys under its passphrase. A crash between two files loses nothing: keys are beside
//! before others take their place.

use crypto::PrivateKey;
use model::Timestamp;
use pki::{Certificate, Key, Pem, Signer};

use super::{
    AnySigner, AuthorityError, DAY_NANOS, EARLIER_NANOS, FORMER, ISSUING, ISSUING_KEY,
    ISSUING_TOKEN, Issuing, MEMBER_DAYS, ROOT_KEY, later, new_key,
};
use crate::blobs::hex;
use crate::state::{StateError, StateFolder};
use crate::token::TokenKey;

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

/// The file that names the key in a token of an issuing authority, today's or one of before.
fn token_of(issuing: &Certificate) -> String {
    format!("pki/issuing-{}.pkcs11", hex(issuing.serial()))
}

/// What signs for an issuing authority that is made now: a new key, or the one of a token.
pub(super) enum NewKey {
    File(PrivateKey),
    Token(TokenKey),
}

impl NewKey {
    pub(super) fn of(folder: &StateFolder) -> Result<Self, AuthorityError> {
        match token(folder, ISSUING_TOKEN)? {
            Some(key) => Ok(Self::Token(key)),
            None => Ok(Self::File(new_key()?)),
        }
    }

    pub(super) fn signer(&self) -> &dyn Signer {
        match self {
            Self::File(key) => key,
            Self::Token(key) => key,
        }
    }

    /// Keeps it with its certificate, in the place of those that there are.
    pub(super) fn kept(
        self,
        folder: &StateFolder,
        certificate: Certificate,
    ) -> Result<Issuing, AuthorityError> {
        let pem = armoured(&certificate)?;
        let signer: AnySigner = match self {
            Self::File(key) => {
                folder.write_key(ISSUING_KEY, &key)?;
                folder.write(ISSUING, pem.as_bytes(), 0o644)?;
                Box::new(key)
            }
            Self::Token(key) => {
                folder.write(ISSUING, pem.as_bytes(), 0o644)?;
                // The one of before has its key beside.
                folder.remove(ISSUING_KEY)?;
                Box::new(key)
            }
        };
        Ok(Issuing { certificate, signer })
    }
}

fn token(folder: &StateFolder, file: &str) -> Result<Option<TokenKey>, AuthorityError> {
    let Some(uri) = folder.read(file)? else { return Ok(None) };
    let key = TokenKey::open(&String::from_utf8_lossy(&uri));
    key.map(Some).map_err(|source| AuthorityError::Token { file: file.to_owned(), source })
}

/// What signs for the issuing authority: a token, where one is named, else a key of the folder.
pub(super) fn issuing_signer(folder: &StateFolder) -> Result<Option<AnySigner>, AuthorityError> {
    match token(folder, ISSUING_TOKEN)? {
        Some(key) => Ok(Some(Box::new(key))),
        None => Ok(signer(folder, ISSUING_KEY)?),
    }
}

/// Remembers which token an issuing authority has its key in: another one may be named later.
pub(super) fn keep_token(folder: &StateFolder, issuing: &Issuing) -> Result<(), AuthorityError> {
    let name = token_of(&issuing.certificate);
    match folder.read(ISSUING_TOKEN)? {
        Some(uri) if folder.read(&name)?.as_ref() != Some(&uri) => {
            Ok(folder.write(&name, &uri, 0o600)?)
        }
        _ => Ok(()),
    }
}

/// Keeps an issuing authority that is followed by another one, and its key.
pub(super) fn keep(folder: &StateFolder, issuing: &Certificate) -> Result<(), AuthorityError> {
    if let Some(key) = folder.key(ISSUING_KEY)?
        && belongs(issuing, &key)
    {
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
        let (name, named) = (former_key(one), token_of(one));
        let last = next.not_before().plus_nanos(EARLIER_NANOS);
        let end = later(last, MEMBER_DAYS).plus_nanos(DAY_NANOS).min(one.not_after());
        if now >= end {
            folder.remove(&name)?;
            folder.remove(&named)?;
            continue;
        }
        let signer = match signer(folder, &name)? {
            Some(signer) => Some(signer),
            None => token(folder, &named)?.map(|key| -> AnySigner { Box::new(key) }),
        };
        if let Some(signer) = signer.filter(|signer| belongs(one, &**signer)) {
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
