//! The one provider of cryptography (docs/adr/0016): aws-lc-rs, behind the traits of [`pki`] and [`journal`].
//!
//! No other crate names it. What is chosen here is chosen for signatures, certificates and TLS.

mod key;
pub mod sealed;
pub mod tls;
mod tpm;

use aws_lc_rs::signature::{self as sig, UnparsedPublicKey, VerificationAlgorithm};
use aws_lc_rs::{constant_time, digest, hmac, rand};
use pki::{Algorithm, Digest, Key, KeyKind, Verifier};

pub use key::{KeyError, NoteKey, PrivateKey};

/// Computes digests and checks signatures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Provider;

impl Verifier for Provider {
    fn digest(&self, kind: Digest, bytes: &[u8]) -> Vec<u8> {
        let kind = match kind {
            Digest::Sha256 => &digest::SHA256,
            Digest::Sha384 => &digest::SHA384,
            Digest::Sha512 => &digest::SHA512,
        };
        digest::digest(kind, bytes).as_ref().to_vec()
    }

    fn verify(&self, algorithm: Algorithm, key: &Key, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match (algorithm, key.kind) {
            (Algorithm::RsaPkcs1(Digest::Sha256), KeyKind::Rsa(_)) => {
                &sig::RSA_PKCS1_2048_8192_SHA256
            }
            (Algorithm::RsaPkcs1(Digest::Sha384), KeyKind::Rsa(_)) => {
                &sig::RSA_PKCS1_2048_8192_SHA384
            }
            (Algorithm::RsaPkcs1(Digest::Sha512), KeyKind::Rsa(_)) => {
                &sig::RSA_PKCS1_2048_8192_SHA512
            }
            (Algorithm::RsaPss(Digest::Sha256), KeyKind::Rsa(_)) => &sig::RSA_PSS_2048_8192_SHA256,
            (Algorithm::RsaPss(Digest::Sha384), KeyKind::Rsa(_)) => &sig::RSA_PSS_2048_8192_SHA384,
            (Algorithm::RsaPss(Digest::Sha512), KeyKind::Rsa(_)) => &sig::RSA_PSS_2048_8192_SHA512,
            (Algorithm::Ecdsa(Digest::Sha256), KeyKind::P256) => &sig::ECDSA_P256_SHA256_ASN1,
            (Algorithm::Ecdsa(Digest::Sha384), KeyKind::P256) => &sig::ECDSA_P256_SHA384_ASN1,
            (Algorithm::Ecdsa(Digest::Sha512), KeyKind::P256) => &sig::ECDSA_P256_SHA512_ASN1,
            (Algorithm::Ecdsa(Digest::Sha256), KeyKind::P384) => &sig::ECDSA_P384_SHA256_ASN1,
            (Algorithm::Ecdsa(Digest::Sha384), KeyKind::P384) => &sig::ECDSA_P384_SHA384_ASN1,
            (Algorithm::Ecdsa(Digest::Sha512), KeyKind::P384) => &sig::ECDSA_P384_SHA512_ASN1,
            (Algorithm::Ed25519, KeyKind::Ed25519) => &sig::ED25519,
            _ => return false,
        };
        UnparsedPublicKey::new(algorithm, &key.bytes).verify(message, signature).is_ok()
    }
}

impl pki::ocsp::NameHash for Provider {
    fn sha1(&self, bytes: &[u8]) -> [u8; 20] {
        // It has no other length (FIPS 180-4).
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
        digest.as_ref().try_into().unwrap_or_default()
    }
}

impl journal::Verifier for Provider {
    fn verify(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&sig::ED25519, key).verify(message, signature).is_ok()
    }
}

impl journal::commitment::Verifier for Provider {
    fn verify_commitment(
        &self,
        key: &journal::commitment::Key,
        message: &[u8],
        signature: &[u8; 64],
    ) -> bool {
        use journal::commitment::Key::{Ed25519, P256};
        let holds = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
        };
        match key {
            Ed25519(key) => holds(&sig::ED25519, key),
            P256(key) => holds(&sig::ECDSA_P256_SHA256_FIXED, key),
        }
    }
}

/// Whether a key that signs commitments is a point of its curve: under what is none no signature ever holds.
pub fn is_public_key(key: &journal::commitment::Key) -> bool {
    use journal::commitment::Key::{Ed25519, P256};
    match key {
        Ed25519(key) => sig::ParsedPublicKey::new(&sig::ED25519, key).is_ok(),
        P256(key) => sig::ParsedPublicKey::new(&sig::ECDSA_P256_SHA256_FIXED, key).is_ok(),
    }
}

/// Whether two secrets are equal, in a time that does not tell where they differ.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// HMAC with SHA-256 under a key.
pub fn hmac_sha256(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    // It has no other length (RFC 2104).
    hmac::sign(&key, bytes).as_ref().try_into().unwrap_or_default()
}

/// SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    // It has no other length (FIPS 180-4).
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().unwrap_or_default()
}

/// SHA-256 of bytes that come in pieces.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces.
    pub fn finish(self) -> [u8; 32] {
        // It has no other length (FIPS 180-4).
        self.0.finish().as_ref().try_into().unwrap_or_default()
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256")
    }
}

/// Fills a buffer with random bytes that nobody can guess.
pub fn random(buffer: &mut [u8]) -> Result<(), NoRandom> {
    rand::fill(buffer).map_err(|_| NoRandom)
}

/// The provider has no randomness to give. Nothing may be made that needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are no random bytes to be had")]
pub struct NoRandom;
