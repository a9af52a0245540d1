//! The keys of a device: what its manufacturer put into the TPM, what attests, and the device's own.
//!
//! Nothing is kept in the TPM. The endorsement key and the parent of the others are derived from seeds at every time; the
//! others are kept outside, encrypted by the TPM, and are of no use to any other.

use crypto::Provider;
use pki::tpm::{About, Attest, Challenge, Pcrs, Public, Selection};
use pki::{Digest, Malformed};

use crate::command::TpmError;
use crate::tpm::{Auth, Created, ENDORSEMENT, Handle, OWNER, Signed, Tpm, public};

/// Times that a quote is asked for again because a register changed meanwhile.
const ATTEMPTS: usize = 5;

/// Why there are no keys, or no answer.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The TPM did not do it.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// What was kept cannot be read.
    #[error("{0}; take the file away, and enrol again")]
    Malformed(#[from] Malformed),
    /// Registers change faster than they are read.
    #[error("the PCRs keep changing while they are quoted")]
    Changing,
}

/// An endorsement key, with what its manufacturer says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endorsement {
    /// The certificate, in DER; `None` where the TPM has none that can be read.
    pub certificate: Option<Vec<u8>>,
    /// The key's TPMT_PUBLIC.
    pub public: Vec<u8>,
    template: Vec<u8>,
}

/// Keys that are kept outside of the TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Below the endorsement key: what attests.
    pub attestation: Created,
    /// Below the owner's: what speaks TLS.
    pub device: Created,
}

/// An answer to a verifier that asks what was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The quote.
    pub quote: Signed,
    /// What is in the registers.
    pub pcrs: Pcrs,
}

/// A device's keys in its TPM.
pub struct Keys {
    tpm: Tpm,
    endorsement: Endorsement,
    stored: Stored,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("endorsement", &self.endorsement).finish_non_exhaustive()
    }
}

impl Keys {
    /// New keys. Slow where the TPM makes an RSA key.
    pub fn make(mut tpm: Tpm) -> Result<Self, KeysError> {
        let endorsement = Endorsement::find(&mut tpm)?;
        let attestation = endorsement.under(&mut tpm, |tpm, parent, auth| {
            tpm.create(parent, auth, &signing(SIGNS_ITS_OWN))
        })?;
        let (parent, _) = tpm.create_primary(OWNER, &storage())?;
        let device =
            tpm.using(parent, |tpm| tpm.create(parent, Auth::Empty, &signing(SIGNS_ANYTHING)))?;
        Ok(Self { tpm, endorsement, stored: Stored { attestation, device } })
    }

    /// Keys that were made before.
    pub fn open(mut tpm: Tpm, stored: Stored) -> Result<Self, KeysError> {
        let endorsement = Endorsement::find(&mut tpm)?;
        Ok(Self { tpm, endorsement, stored })
    }

    /// The endorsement key.
    pub const fn endorsement(&self) -> &Endorsement {
        &self.endorsement
    }

    /// What to keep.
    pub const fn stored(&self) -> &Stored {
        &self.stored
    }

    /// The secret in a challenge.
    pub fn activate(&mut self, challenge: &Challenge) -> Result<Vec<u8>, KeysError> {
        let attestation = self.load_attestation()?;
        self.tpm.using(attestation, |tpm| {
            self.endorsement
                .under(tpm, |tpm, key, auth| tpm.activate(attestation, key, auth, challenge))
        })
    }

    /// Answers `nonce`, as [`pki::tpm::binding`] makes it, with these registers.
    pub fn quote(&mut self, nonce: &[u8], selection: &Selection) -> Result<Answer, KeysError> {
        let key = self.load_attestation()?;
        self.tpm.using(key, |tpm| {
            for _ in 0..ATTEMPTS {
                let pcrs = tpm.read_pcrs(selection)?;
                let quote = tpm.quote(key, nonce, selection)?;
                if is_of(&quote.attest, &pcrs)? {
                    return Ok(Answer { quote, pcrs });
                }
            }
            Err(KeysError::Changing)
        })
    }

    /// Answers `nonce`: the device's key is in the same TPM as the attestation key.
    pub fn certify(&mut self, nonce: &[u8]) -> Result<Signed, KeysError> {
        let key = self.load_attestation()?;
        let (tpm, stored) = (&mut self.tpm, &self.stored);
        tpm.using(key, |tpm| {
            let device = load_device(tpm, stored)?;
            Ok(tpm.using(device, |tpm| tpm.certify(device, key, nonce))?)
        })
    }

    /// Signs a message with the device's key: a TPMT_SIGNATURE, ECDSA with SHA-256.
    pub fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, KeysError> {
        let digest = crypto::sha256(message);
        let device = load_device(&mut self.tpm, &self.stored)?;
        Ok(self.tpm.using(device, |tpm| tpm.sign(device, &digest))?)
    }

    /// The TPM again.
    pub fn into_tpm(self) -> Tpm {
        self.tpm
    }

    fn load_attestation(&mut self) -> Result<Handle, KeysError> {
        let key = &self.stored.attestation;
        self.endorsement.under(&mut self.tpm, |tpm, parent, auth| tpm.load(parent, auth, key))
    }
}

fn load_device(tpm: &mut Tpm, stored: &Stored) -> Result<Handle, KeysError> {
    let (parent, _) = tpm.create_primary(OWNER, &storage())?;
    Ok(tpm.using(parent, |tpm| tpm.load(parent, Auth::Empty, &stored.device))?)
}

/// Whether a quote is about these values.
fn is_of(attest: &[u8], pcrs: &Pcrs) -> Result<bool, KeysError> {
    match Attest::read(attest)?.about {
        About::Quote(_, digest) => Ok(pcrs.digest(Digest::Sha256, &Provider) == digest),
        About::Certify(..) => Ok(false),
    }
}

impl Endorsement {
    /// The first one that has a certificate: a key on a curve before one of RSA, because it is made quickly. Where none has, it is the
    /// first, and whoever asks has to believe something else.
    fn find(tpm: &mut Tpm) -> Result<Self, KeysError> {
        for (index, template) in [
            (0x01c0_000a, endorsement_p256()),
            (0x01c0_0016, endorsement_p384()),
            (0x01c0_0002, endorsement_rsa()),
        ] {
            let Some(bytes) = tpm.read_nv(index)? else {
                continue;
            };
            if let Some(certificate) = certificate(&bytes) {
                return Self::of(tpm, Some(certificate), template);
            }
        }
        Self::of(tpm, None, endorsement_p256())
    }

    fn of(
        tpm: &mut Tpm,
        certificate: Option<Vec<u8>>,
        template: Vec<u8>,
    ) -> Result<Self, KeysError> {
        let (key, public) = tpm.create_primary(ENDORSEMENT, &template)?;
        tpm.using(key, |_| Ok::<_, TpmError>(()))?;
        Ok(Self { certificate, public, template })
    }

    /// Uses the key as its policy asks.
    fn under<T>(
        &self,
        tpm: &mut Tpm,
        work: impl FnOnce(&mut Tpm, Handle, Auth) -> Result<T, TpmError>,
    ) -> Result<T, KeysError> {
        let (key, _) = tpm.create_primary(ENDORSEMENT, &self.template)?;
        let with_password = public("CreatePrimary", &self.public)?
            .attributes
            .missing(pki::tpm::Attributes::USER_WITH_AUTH)
            .is_none();
        Ok(tpm.using(key, |tpm| {
            let auth = match with_password {
                true => Auth::Empty,
                false => tpm.endorsement_session()?,
            };
            work(tpm, key, auth)
        })?)
    }
}

/// A certificate at the start of what an index holds; some indices are longer than it.
fn certificate(bytes: &[u8]) -> Option<Vec<u8>> {
    let [0x30, 0x82, high, low, ..] = bytes else {
        return None;
    };
    let size = usize::from(u16::from_be_bytes([*high, *low])).checked_add(4)?;
    bytes.get(..size).map(<[u8]>::to_vec)
}

impl Stored {
    /// As a file: four buffers, each behind its length in two bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in [
            &self.attestation.public,
            &self.attestation.private,
            &self.device.public,
            &self.device.private,
        ] {
            bytes.extend(u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend(part);
        }
        bytes
    }

    /// What [`Self::write`] wrote.
    pub fn read(bytes: &[u8]) -> Result<Self, KeysError> {
        let wrong = |why: &str| Malformed { what: "a file of keys", why: why.to_owned() };
        let mut rest = bytes;
        let mut part = || -> Option<Vec<u8>> {
            let (size, after) = rest.split_first_chunk()?;
            let (part, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
            rest = after;
            Some(part.to_vec())
        };
        let mut created = || Some(Created { public: part()?, private: part()? });
        let both = created().zip(created());
        let (attestation, device) = both.ok_or_else(|| wrong("it ends too early"))?;
        if !rest.is_empty() {
            return Err(wrong("something follows it").into());
        }
        Public::read(&attestation.public)?;
        Public::read(&device.public)?;
        Ok(Self { attestation, device })
    }
}

/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, sign; restricted to what the TPM made.
const SIGNS_ITS_OWN: u32 = 0x0005_0472;
/// The same, but for anything.
const SIGNS_ANYTHING: u32 = 0x0004_0472;

/// A P-256 key that signs with ECDSA and SHA-256, without a policy.
fn signing(attributes: u32) -> Vec<u8> {
    let parameters = [0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10, 0, 0, 0, 0];
    [&[0, 0x23, 0, 0x0b][..], &attributes.to_be_bytes(), &[0, 0], &parameters].concat()
}

/// A P-256 key that keeps others (TCG TPM v2.0 Provisioning Guidance, Storage Root Key).
fn storage() -> Vec<u8> {
    let parameters = [0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10, 0, 32];
    let head = [&[0, 0x23, 0, 0x0b, 0, 3, 4, 0x72, 0, 0][..], &parameters].concat();
    [&head[..], &[0; 32], &[0, 32], &[0; 32]].concat()
}

/// Template L-1 (TCG EK Credential Profile, Annex B).
fn endorsement_rsa() -> Vec<u8> {
    let head = [0, 1, 0, 0x0b, 0, 3, 0, 0xb2, 0, 32];
    let parameters = [0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 8, 0, 0, 0, 0, 0, 1, 0];
    [&head[..], &POLICY_A, &parameters, &[0; 256]].concat()
}

/// Template L-2.
fn endorsement_p256() -> Vec<u8> {
    let head = [0, 0x23, 0, 0x0b, 0, 3, 0, 0xb2, 0, 32];
    let parameters = [0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10, 0, 32];
    [&head[..], &POLICY_A, &parameters, &[0; 32], &[0, 32], &[0; 32]].concat()
}

/// Template H-3.
fn endorsement_p384() -> Vec<u8> {
    let head = [0, 0x23, 0, 0x0c, 0, 3, 0, 0xf2, 0, 48];
    let parameters = [0, 6, 1, 0, 0, 0x43, 0, 0x10, 0, 4, 0, 0x10, 0, 0, 0, 0];
    [&head[..], &POLICY_B_SHA384, &parameters].concat()
}

const POLICY_A: [u8; 32] = pki::tpm::EK_POLICY_A_SHA256;
const POLICY_B_SHA384: [u8; 48] = pki::tpm::EK_POLICY_B_SHA384;
