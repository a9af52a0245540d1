//! From a certificate to a trust anchor (RFC 5280 §6), at a given time.
//!
//! An anchor is trusted because somebody configured it; it is nevertheless checked for its validity
//! and its right to sign certificates, so that an expired authority does not go on for ever.

use model::Timestamp;
use x509_cert::spki::ObjectIdentifier as Oid;

use crate::certificate::name_text;
use crate::issue::oid;
use crate::{Certificate, Malformed, Verifier, Weak};

/// Certificates between the first and the anchor, both counted.
const LENGTH_MAX: usize = 8;
/// Signatures that are checked before the search is given up.
const CHECKS_MAX: usize = 64;

/// What the first certificate must be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Signing a MUD file (RFC 8520 §13.2): key usage must be there and have `digitalSignature`; an
    /// extended key usage must allow signing of messages, code or documents.
    MudFile,
    /// The client's side of TLS (RFC 5280 §4.2.1.12).
    Client,
    /// The server's side of TLS. Whether its name is the right one is not asked here.
    Server,
    /// The endorsement key of a TPM (TCG EK Credential Profile §3.2): key usage must be there and have `keyEncipherment` or
    /// `keyAgreement`, because such a key never signs.
    Endorsement,
    /// The identity that its maker gave a device (IEEE 802.1AR §8): what it says of its use, it may leave out; what it says has to allow
    /// TLS.
    Idevid,
}

impl Purpose {
    /// anyExtendedKeyUsage, emailProtection, codeSigning, documentSigning (RFC 9336).
    const SIGNING: &[Oid] = &[
        Oid::new_unwrap("2.5.29.37.0"),
        Oid::new_unwrap("1.3.6.1.5.5.7.3.4"),
        Oid::new_unwrap("1.3.6.1.5.5.7.3.3"),
        Oid::new_unwrap("1.3.6.1.5.5.7.3.36"),
    ];

    /// tcg-kp-EKCertificate.
    const TCG_EK: Oid = Oid::new_unwrap("2.23.133.8.1");

    /// One of these must be allowed.
    const fn extended(self) -> &'static [Oid] {
        match self {
            Self::MudFile => Self::SIGNING,
            Self::Client | Self::Idevid => &[oid::CLIENT_AUTH],
            Self::Server => &[oid::SERVER_AUTH],
            Self::Endorsement => &[Self::TCG_EK],
        }
    }
}

/// Why a certificate does not count. `subject` says which.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its validity is over.
    #[error("the certificate of {subject} expired at {at}")]
    Expired {
        /// Whose.
        subject: String,
        /// When.
        at: Timestamp,
    },
    /// Its validity has not begun.
    #[error("the certificate of {subject} is not valid before {at}")]
    NotYetValid {
        /// Whose.
        subject: String,
        /// When it begins.
        at: Timestamp,
    },
    /// It is for something else.
    #[error("the certificate of {subject} is for another purpose: {why}")]
    Purpose {
        /// Whose.
        subject: String,
        /// What is missing.
        why: String,
    },
    /// It may not issue certificates, and issued one.
    #[error("{subject} may not issue this certificate: {why}")]
    NotAnAuthority {
        /// Who.
        subject: String,
        /// What is missing.
        why: String,
    },
    /// Nobody who is trusted vouches for it.
    #[error(
        "nobody who is trusted vouches for {subject}: its issuer {issuer} is neither a trust anchor nor among the certificates"
    )]
    UnknownAnchor {
        /// The last certificate that was found.
        subject: String,
        /// Who issued it.
        issuer: String,
    },
    /// Its signature does not hold.
    #[error(
        "the signature on the certificate of {subject} is wrong: the certificate was changed, or another {issuer} made it"
    )]
    Signature {
        /// Whose.
        subject: String,
        /// Who issued it.
        issuer: String,
    },
    /// Its key or its signature is of a kind that does not count.
    #[error("the certificate of {subject}: {weak}")]
    Weak {
        /// Whose.
        subject: String,
        /// What.
        weak: Weak,
    },
    /// It demands something that is not understood.
    #[error(
        "the certificate of {subject} has the critical extension {oid}, which is not understood"
    )]
    Critical {
        /// Whose.
        subject: String,
        /// Which.
        oid: String,
    },
    /// It cannot be read to the end.
    #[error("the certificate of {subject} is {malformed}")]
    Malformed {
        /// Whose.
        subject: String,
        /// What is wrong.
        malformed: Malformed,
    },
    /// The search was given up.
    #[error("no path to a trust anchor within {LENGTH_MAX} certificates")]
    TooLong,
}

impl Refusal {
    /// How far the search came: the most telling of several refusals has the highest.
    const fn rank(&self) -> u8 {
        match self {
            Self::TooLong => 0,
            Self::UnknownAnchor { .. } => 1,
            Self::Signature { .. } => 2,
            _ => 3,
        }
    }
}

/// The certificates from `first` to an anchor, `first` included; only `first` when it is an anchor
/// itself. `others` are certificates that came along and are trusted for nothing.
pub fn find<'c>(
    first: &'c Certificate,
    others: &'c [Certificate],
    anchors: &'c [Certificate],
    at: Timestamp,
    purpose: Purpose,
    verifier: &dyn Verifier,
) -> Result<Vec<&'c Certificate>, Refusal> {
    usable(first, at)?;
    suits(first, purpose)?;
    let mut search = Search { others, anchors, at, verifier, checks: 0 };
    let mut path = vec![first];
    search.extend(&mut path)?;
    Ok(path)
}

struct Search<'c, 'v> {
    others: &'c [Certificate],
    anchors: &'c [Certificate],
    at: Timestamp,
    verifier: &'v dyn Verifier,
    checks: usize,
}

impl<'c> Search<'c, '_> {
    /// Extends the path from its last certificate to an anchor.
    fn extend(&mut self, path: &mut Vec<&'c Certificate>) -> Result<(), Refusal> {
        let Some(last) = path.last().copied() else {
            return Err(Refusal::TooLong);
        };
        if self.anchors.iter().any(|anchor| anchor.der() == last.der()) {
            return Ok(());
        }
        let mut refusal = Refusal::UnknownAnchor {
            subject: last.subject_text(),
            issuer: name_text(last.issuer()),
        };
        if path.len() == LENGTH_MAX {
            return Err(Refusal::TooLong);
        }
        for issuer in self.anchors.iter().chain(self.others) {
            let known = path.iter().any(|c| c.der() == issuer.der());
            let keys = (last.authority_key(), issuer.subject_key());
            let other_key = matches!(keys, (Some(a), Some(b)) if a != b);
            if known || other_key || issuer.subject() != last.issuer() {
                continue;
            }
            let below = path.len().saturating_sub(1);
            let step = self.issued(issuer, last, below).and_then(|()| {
                path.push(issuer);
                let rest = self.extend(path);
                if rest.is_err() {
                    path.pop();
                }
                rest
            });
            match step {
                Ok(()) => return Ok(()),
                Err(why) if why.rank() >= refusal.rank() => refusal = why,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    /// `issuer` may issue certificates, did issue `subject`, and is valid. `below` counts the
    /// authorities between it and the first certificate.
    fn issued(
        &mut self,
        issuer: &Certificate,
        subject: &Certificate,
        below: usize,
    ) -> Result<(), Refusal> {
        self.checks = self.checks.saturating_add(1);
        if self.checks > CHECKS_MAX {
            return Err(Refusal::TooLong);
        }
        verify(subject, issuer, self.verifier)?;
        usable(issuer, self.at)?;
        let refuse = |why: &str| Refusal::NotAnAuthority {
            subject: issuer.subject_text(),
            why: why.to_owned(),
        };
        let constraints = issuer.basic_constraints().map_err(|m| malformed(issuer, m))?;
        let Some(constraints) = constraints.filter(|c| c.ca) else {
            return Err(refuse("its basic constraints do not say that it is an authority"));
        };
        if constraints.path_len_constraint.is_some_and(|max| below > usize::from(max)) {
            return Err(refuse("there are more authorities below it than it allows"));
        }
        let usage = issuer.key_usage().map_err(|m| malformed(issuer, m))?;
        if usage.is_some_and(|usage| !usage.key_cert_sign()) {
            return Err(refuse("its key usage lacks keyCertSign"));
        }
        Ok(())
    }
}

/// The signature of `issuer` on `subject` holds.
fn verify(
    subject: &Certificate,
    issuer: &Certificate,
    verifier: &dyn Verifier,
) -> Result<(), Refusal> {
    let weak = |of: &Certificate, weak: Weak| Refusal::Weak { subject: of.subject_text(), weak };
    let (body, algorithm, signature) = subject.signed().map_err(|w| weak(subject, w))?;
    let key = issuer.key().map_err(|w| weak(issuer, w))?;
    let holds = algorithm.fits(key.kind) && verifier.verify(algorithm, &key, body, signature);
    if holds {
        return Ok(());
    }
    Err(Refusal::Signature { subject: subject.subject_text(), issuer: issuer.subject_text() })
}

/// What every certificate on a path must be.
fn usable(certificate: &Certificate, at: Timestamp) -> Result<(), Refusal> {
    let subject = || certificate.subject_text();
    let (begins, ends) = (certificate.not_before(), certificate.not_after());
    if at < begins {
        return Err(Refusal::NotYetValid { subject: subject(), at: begins });
    }
    // The last second belongs to the validity (RFC 5280 §4.1.2.5).
    if at.as_nanos().saturating_sub(ends.as_nanos()) >= 1_000_000_000 {
        return Err(Refusal::Expired { subject: subject(), at: ends });
    }
    if let Some(oid) = certificate.unknown_critical() {
        return Err(Refusal::Critical { subject: subject(), oid: oid.to_string() });
    }
    certificate.key().map_err(|weak| Refusal::Weak { subject: subject(), weak })?;
    Ok(())
}

fn suits(first: &Certificate, purpose: Purpose) -> Result<(), Refusal> {
    let refuse =
        |why: &str| Refusal::Purpose { subject: first.subject_text(), why: why.to_owned() };
    match first.key_usage().map_err(|m| malformed(first, m))? {
        Some(usage) if purpose == Purpose::Endorsement => {
            if !usage.key_encipherment() && !usage.key_agreement() {
                return Err(refuse("its key usage lacks keyEncipherment and keyAgreement"));
            }
        }
        None if purpose == Purpose::Endorsement => return Err(refuse("it has no key usage")),
        Some(usage) if usage.digital_signature() => {}
        Some(_) => return Err(refuse("its key usage lacks digitalSignature")),
        None if purpose == Purpose::Idevid => {}
        None => return Err(refuse("it has no key usage, and digitalSignature must be in it")),
    }
    let extended = first.extended_key_usage().map_err(|m| malformed(first, m))?;
    let one_of = purpose.extended();
    match extended {
        Some(usages) if !usages.iter().any(|u| one_of.contains(u)) => {
            let usages: Vec<String> = usages.iter().map(ToString::to_string).collect();
            Err(refuse(&format!("its extended key usage allows only {}", usages.join(", "))))
        }
        None if !matches!(purpose, Purpose::MudFile | Purpose::Idevid) => {
            Err(refuse("it has no extended key usage"))
        }
        _ => Ok(()),
    }
}

fn malformed(certificate: &Certificate, malformed: Malformed) -> Refusal {
    Refusal::Malformed { subject: certificate.subject_text(), malformed }
}
