//! The agent on a Linux device, and its own way to speak with a TPM 2.0: commands are written and answers read here, over the
//! kernel's resource manager or a socket of swtpm. There is no C library, and no provider of cryptography: keys and signatures
//! are the TPM's, and digests are all that is computed here.
//!
//! * [`transport`]: bytes to a TPM and back.
//! * [`Tpm`]: the commands that are used.
//! * [`Keys`]: the keys of a device: endorsement, attestation, and its own.
//!
//! It must never know what a good measurement is, who judges it, or what it is good for.

mod command;
mod keys;
mod tpm;
pub mod transport;

use pki::{Algorithm, Digest, Key, Verifier};
use sha2::Digest as _;

pub use command::TpmError;
pub use keys::{Answer, Endorsement, Keys, KeysError, Stored};
pub use tpm::{Auth, Created, Handle, Signed, Tpm};

/// Digests, and nothing else: what is signed is judged elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Digests;

impl Verifier for Digests {
    fn digest(&self, digest: Digest, bytes: &[u8]) -> Vec<u8> {
        match digest {
            Digest::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
            Digest::Sha384 => sha2::Sha384::digest(bytes).to_vec(),
            Digest::Sha512 => sha2::Sha512::digest(bytes).to_vec(),
        }
    }

    /// Nothing holds here.
    fn verify(&self, _: Algorithm, _: &Key, _: &[u8], _: &[u8]) -> bool {
        false
    }
}
