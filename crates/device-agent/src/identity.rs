//! The key that speaks TLS: in the TPM, or in a file.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crypto::PrivateKey;
use pki::tpm::{Public, Signature};
use pki::{Algorithm, Digest, Key, Malformed, Signer};

use crate::Keys;

/// A device's key.
#[derive(Clone)]
pub enum Identity {
    /// In a file.
    File(Arc<PrivateKey>),
    /// In the TPM.
    Tpm(Arc<InTpm>),
}

/// A key in the TPM, and the others that are there.
#[derive(Debug)]
pub struct InTpm {
    keys: Mutex<Keys>,
    key: Key,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File(_) => "Identity::File",
            Self::Tpm(_) => "Identity::Tpm",
        })
    }
}

impl InTpm {
    /// From the keys of a TPM.
    pub fn new(keys: Keys) -> Result<Self, Malformed> {
        let key = Public::read(&keys.stored().device.public)?.key;
        Ok(Self { keys: Mutex::new(keys), key })
    }

    /// One use of the TPM at a time.
    pub fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Identity {
    /// Its public half.
    pub fn public(&self) -> Key {
        match self {
            Self::File(key) => key.public(),
            Self::Tpm(tpm) => tpm.key.clone(),
        }
    }

    /// For TLS and requests.
    pub fn signer(&self) -> Arc<dyn Signer + Send + Sync> {
        match self {
            Self::File(key) => Arc::<PrivateKey>::clone(key),
            Self::Tpm(tpm) => Arc::<InTpm>::clone(tpm),
        }
    }
}

impl Signer for InTpm {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Ecdsa(Digest::Sha256)
    }

    fn public_key(&self) -> Vec<u8> {
        self.key.bytes.clone()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let signed = self.keys().sign(message).map_err(|error| error.to_string())?;
        let signature = Signature::read(&signed).map_err(|error| error.to_string())?;
        signature.standard(self.key.kind).ok_or_else(|| "the TPM signed in another way".to_owned())
    }
}
