//! Keys that a TPM has for a purpose: what attests, and what identifies the TPM itself.

use super::public::{Attributes, Name, Public, Scheme};
use crate::{Digest, Key, KeyKind, Malformed, Verifier};

/// A key that signs only what its TPM says: its public area says so.
///
/// That a TPM has it is another question, which a challenge answers ([`super::credential`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationKey {
    key: Key,
    scheme: Scheme,
    name: Name,
    qualified: Option<Name>,
}

/// The key by which a TPM is known. What makes it one is a certificate ([`super::ek`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndorsementKey {
    public: Public,
    cipher_bits: u16,
    name: Name,
}

/// Why a key is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It may not do what it has to do, or is not as safe as it has to be.
    #[error("it is no {what}: it lacks the attribute {attribute}")]
    Lacks {
        /// What it should be.
        what: &'static str,
        /// Which attribute.
        attribute: &'static str,
    },
    /// It may do more than it should.
    #[error("it is no {what}: it has the attribute {attribute}")]
    Has {
        /// What it should be.
        what: &'static str,
        /// Which attribute.
        attribute: &'static str,
    },
    /// Its name is made with another digest.
    #[error("its name is made with {}, and SHA-256 is asked for", .0.name())]
    NameDigest(Digest),
    /// It lets whoever asks choose how it signs.
    #[error("it signs in no fixed way")]
    NoScheme,
    /// It is not made after a template of the profile.
    #[error("it is made after no template for endorsement keys: {0}")]
    Template(&'static str),
}

impl AttestationKey {
    /// From a TPMT_PUBLIC. It never leaves its TPM, was made there, and signs nothing but what the TPM made, and in one way.
    pub fn read(bytes: &[u8], verifier: &dyn Verifier) -> Result<Self, Unfit> {
        Self::new(&Public::read(bytes)?, verifier)
    }

    /// The same from a public area.
    pub fn new(public: &Public, verifier: &dyn Verifier) -> Result<Self, Unfit> {
        let wanted = RESIDENT.and(Attributes::RESTRICTED).and(Attributes::SIGN);
        let unwanted = Attributes::DECRYPT.and(Attributes::X509_SIGN);
        check("attestation key", public.attributes, wanted, unwanted)?;
        if public.digest != Digest::Sha256 {
            return Err(Unfit::NameDigest(public.digest));
        }
        let scheme = public.scheme.ok_or(Unfit::NoScheme)?;
        let name = public.name(verifier);
        Ok(Self { key: public.key.clone(), scheme, name, qualified: None })
    }

    /// The same key, known to be a child of this endorsement key (TPM 2.0 Part 1 §16.5): from now on its attestations have to
    /// say so. A key elsewhere counts resets with an offset that nobody knows (Part 1, Timing Components).
    #[must_use]
    pub fn below(mut self, endorsement: &EndorsementKey, verifier: &dyn Verifier) -> Self {
        let parent = endorsement.name.below_endorsement(verifier);
        self.qualified = Some(self.name.below(&parent, verifier));
        self
    }

    /// The same key, known to have this qualified name: what [`Self::below`] found, where the endorsement key is not at hand.
    #[must_use]
    pub fn qualified_as(mut self, name: Name) -> Self {
        self.qualified = Some(name);
        self
    }

    /// The public key.
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// How it signs.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its name: what identifies it.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Its qualified name, where it is known.
    pub const fn qualified(&self) -> Option<&Name> {
        self.qualified.as_ref()
    }
}

impl EndorsementKey {
    /// From a TPMT_PUBLIC, made after one of the templates L-1, L-2, H-1 to H-3, H-6 and H-7 (TCG EK Credential Profile 2.5,
    /// Annex B).
    pub fn read(bytes: &[u8], verifier: &dyn Verifier) -> Result<Self, Unfit> {
        Self::new(Public::read(bytes)?, verifier)
    }

    /// The same from a public area.
    pub fn new(public: Public, verifier: &dyn Verifier) -> Result<Self, Unfit> {
        let wanted = RESIDENT
            .and(Attributes::ADMIN_WITH_POLICY)
            .and(Attributes::RESTRICTED)
            .and(Attributes::DECRYPT);
        let known = wanted.and(Attributes::USER_WITH_AUTH);
        let unwanted = Attributes::from_bits(!known.bits() & ALL.bits()).unwrap_or(ALL);
        check("endorsement key", public.attributes, wanted, unwanted)?;
        let strong = matches!(public.key.kind, KeyKind::P384 | KeyKind::Rsa(3_072..));
        let (digest, bits) = if strong { (Digest::Sha384, 256) } else { (Digest::Sha256, 128) };
        let low = public.attributes.missing(Attributes::USER_WITH_AUTH).is_some();
        let policy: &[u8] = match (low, strong) {
            (true, false) => &EK_POLICY_A_SHA256,
            (false, false) => &POLICY_B_SHA256,
            (false, true) => &EK_POLICY_B_SHA384,
            (true, true) => return Err(Unfit::Template("it lacks userWithAuth")),
        };
        match () {
            () if public.digest != digest => Err(Unfit::Template("its name is of another digest")),
            () if public.policy != policy => Err(Unfit::Template("its policy is another one")),
            () if public.symmetric_bits != Some(bits) => {
                Err(Unfit::Template("its cipher is of another size"))
            }
            () if public.scheme.is_some() => Err(Unfit::Template("it has a scheme")),
            () => {
                let name = public.name(verifier);
                Ok(Self { public, cipher_bits: bits, name })
            }
        }
    }

    /// Its public area.
    pub const fn public(&self) -> &Public {
        &self.public
    }

    /// Its name.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Bits of its cipher: 128 or 256.
    pub(super) const fn cipher_bits(&self) -> u16 {
        self.cipher_bits
    }
}

/// Made in its TPM, and never out of it.
pub(super) const RESIDENT: Attributes =
    Attributes::FIXED_TPM.and(Attributes::FIXED_PARENT).and(Attributes::SENSITIVE_DATA_ORIGIN);

const ALL: Attributes = RESIDENT
    .and(Attributes::ST_CLEAR)
    .and(Attributes::USER_WITH_AUTH)
    .and(Attributes::ADMIN_WITH_POLICY)
    .and(Attributes::NO_DA)
    .and(Attributes::ENCRYPTED_DUPLICATION)
    .and(Attributes::RESTRICTED)
    .and(Attributes::DECRYPT)
    .and(Attributes::SIGN)
    .and(Attributes::X509_SIGN);

pub(super) fn check(
    what: &'static str,
    attributes: Attributes,
    wanted: Attributes,
    unwanted: Attributes,
) -> Result<(), Unfit> {
    if let Some(attribute) = attributes.missing(wanted) {
        return Err(Unfit::Lacks { what, attribute });
    }
    match attributes.present(unwanted) {
        Some(attribute) => Err(Unfit::Has { what, attribute }),
        None => Ok(()),
    }
}

/// The policy of endorsement keys of the low range: PolicySecret(TPM_RH_ENDORSEMENT) (EK Credential Profile, PolicyA).
pub const EK_POLICY_A_SHA256: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// PolicyA, or what the owner's policy in an NV index says (PolicyB).
const POLICY_B_SHA256: [u8; 32] = [
    0xca, 0x3d, 0x0a, 0x99, 0xa2, 0xb9, 0x39, 0x06, 0xf7, 0xa3, 0x34, 0x24, 0x14, 0xef, 0xcf, 0xb3,
    0xa3, 0x85, 0xd4, 0x4c, 0xd1, 0xfd, 0x45, 0x90, 0x89, 0xd1, 0x9b, 0x50, 0x71, 0xc0, 0xb7, 0xa0,
];
/// The same for keys whose names are of SHA-384.
pub const EK_POLICY_B_SHA384: [u8; 48] = [
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a,
    0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca,
    0xcb, 0x47, 0xba, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
];
