//! Certifications: a key is in the same TPM as the attestation key (TPM2_Certify, TPM 2.0 Part 3 §18.2).

use super::attest::{About, Untrue, verify as verify_attest};
use super::key::{AttestationKey, RESIDENT, Unfit, check};
use super::public::{Attributes, Name, Public};
use crate::{Key, Verifier};

/// A key that is known to be in a TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// The public key.
    pub key: Key,
    /// Its name in the TPM.
    pub name: Name,
}

/// Why a certification does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCertified {
    /// It is not true.
    #[error(transparent)]
    Untrue(#[from] Untrue),
    /// It is another attestation.
    #[error("it is signed, but it certifies no key")]
    OtherKind,
    /// The public area that came along is that of another key.
    #[error("it certifies {certified}, and the public area that came with it is that of {shown}")]
    OtherName {
        /// The name under the signature.
        certified: Name,
        /// The name of the public area.
        shown: Name,
    },
    /// The key in the request is another one.
    #[error("it certifies another key than the one in the certificate request")]
    OtherKey,
    /// The key could be elsewhere, too, or cannot be used for TLS.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// Checks a certification (a TPMS_ATTEST and a TPMT_SIGNATURE): signature, kind, nonce, and that the key of the public area
/// (a TPMT_PUBLIC) is the one that is certified, the one in the certificate request (`requested`), and one that its TPM made
/// and never gives away, to sign what it is given.
pub fn certify(
    attest: &[u8],
    signature: &[u8],
    public: &[u8],
    requested: &Key,
    key: &AttestationKey,
    nonce: &[u8],
    verifier: &dyn Verifier,
) -> Result<Certified, NotCertified> {
    let attest = verify_attest(attest, signature, key, nonce, verifier)?;
    let About::Certify(certified, _) = attest.about else {
        return Err(NotCertified::OtherKind);
    };
    let public = Public::read(public).map_err(Unfit::Malformed)?;
    let shown = public.name(verifier);
    if shown != certified {
        return Err(NotCertified::OtherName { certified, shown });
    }
    let wanted = RESIDENT.and(Attributes::SIGN);
    check("key for TLS", public.attributes, wanted, Attributes::RESTRICTED)?;
    if public.key != *requested {
        return Err(NotCertified::OtherKey);
    }
    Ok(Certified { key: public.key, name: shown })
}
