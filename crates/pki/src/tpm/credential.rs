//! A secret that only one TPM can read, and only when it has one certain key (TPM2_MakeCredential; TPM 2.0 Part 1 §24, Annex
//! B.10.3 and C.7).
//!
//! It is how an attestation key is tied to an endorsement key: whoever answers with the secret has both in one TPM.

use super::key::EndorsementKey;
use super::public::Name;
use super::wire::put_sized;
use crate::{Digest, Key, KeyKind, Verifier};

/// Computes what a challenge needs: with a public key, and with fresh randomness.
pub trait Sealer: Verifier {
    /// A fresh secret of the digest's size, and the same under RSA-OAEP (RFC 8017 §7.1) with that digest for the label and in
    /// MGF1. `None` where the key is none, or there is no randomness.
    fn wrap(&self, digest: Digest, key: &Key, label: &[u8]) -> Option<(Vec<u8>, Vec<u8>)>;

    /// The x-coordinate that a fresh key on the curve of `key` has in common with it (ECDH, SP 800-56A §5.7.1.2), and the fresh
    /// public key as an uncompressed point. `None` where the key is none, or there is no randomness.
    fn agree(&self, key: &Key) -> Option<(Vec<u8>, Vec<u8>)>;

    /// HMAC (FIPS 198-1) over all parts, one after the other.
    fn hmac(&self, digest: Digest, key: &[u8], parts: &[&[u8]]) -> Vec<u8>;

    /// Encrypts in place with AES in CFB mode (SP 800-38A, segments of 128 bits) from an IV of zeros. `None` where the key has
    /// neither 16 nor 32 bytes.
    fn encrypt_cfb(&self, key: &[u8], bytes: &mut [u8]) -> Option<()>;
}

/// A challenge: what TPM2_ActivateCredential takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The secret under the seed (TPM2B_ID_OBJECT, Part 2 §12.4.3), its length before it.
    pub blob: Vec<u8>,
    /// The seed under the endorsement key (TPM2B_ENCRYPTED_SECRET, Part 2 §11.4.3), its length before it.
    pub seed: Vec<u8>,
}

/// Why there is no challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoChallenge {
    /// The secret does not fit.
    #[error("a secret of {size} bytes was to be sealed, and it has 16 to {max}")]
    Secret {
        /// Its bytes.
        size: usize,
        /// The digest of the endorsement key's name.
        max: u8,
    },
    /// The provider did not compute.
    #[error("the endorsement key is none, or there are no random bytes to be had")]
    Provider,
}

/// Seals `secret`, so that only the TPM with this endorsement key opens it, and only while the object with this name is loaded
/// in it. The secret is random, of 16 bytes to the size of the endorsement key's digest (Part 3 §12.6), and used once.
pub fn challenge(
    endorsement: &EndorsementKey,
    name: &Name,
    secret: &[u8],
    sealer: &dyn Sealer,
) -> Result<Challenge, NoChallenge> {
    let digest = endorsement.public().digest;
    let max = digest.size_bytes();
    if secret.len() < 16 || secret.len() > usize::from(max) {
        return Err(NoChallenge::Secret { size: secret.len(), max });
    }
    let (seed, wrapped) = seal(endorsement, sealer).ok_or(NoChallenge::Provider)?;
    let derive = |label: &[u8], context: &[u8], bits: u16| {
        derive(digest, &seed, label, context, bits, sealer).ok_or(NoChallenge::Provider)
    };
    let cipher = derive(b"STORAGE", name.as_bytes(), endorsement.cipher_bits())?;
    let mut sealed = Vec::with_capacity(66);
    put_sized(&mut sealed, secret);
    sealer.encrypt_cfb(&cipher, &mut sealed).ok_or(NoChallenge::Provider)?;
    let key = derive(b"INTEGRITY", &[], u16::from(max).saturating_mul(8))?;
    let integrity = sealer.hmac(digest, &key, &[&sealed, name.as_bytes()]);
    let mut object = Vec::with_capacity(132);
    put_sized(&mut object, &integrity);
    object.extend(sealed);
    let (mut blob, mut seed) = (Vec::with_capacity(134), Vec::with_capacity(514));
    put_sized(&mut blob, &object);
    put_sized(&mut seed, &wrapped);
    Ok(Challenge { blob, seed })
}

/// A seed of the digest's size, and what the endorsement key makes it of again.
fn seal(endorsement: &EndorsementKey, sealer: &dyn Sealer) -> Option<(Vec<u8>, Vec<u8>)> {
    let public = endorsement.public();
    if matches!(public.key.kind, KeyKind::Rsa(_)) {
        return sealer.wrap(public.digest, &public.key, b"IDENTITY\0");
    }
    let (shared, point) = sealer.agree(&public.key)?;
    let (_, coordinates) = point.split_first()?;
    let (x, y) = coordinates.split_at_checked(coordinates.len().div_ceil(2))?;
    let (own, _) = public.point()?;
    // KDFe (Part 1 §11.4.10.3); the digest is not shorter than the seed, so there is one round.
    let hashed = [&1u32.to_be_bytes(), shared.as_slice(), b"IDENTITY\0", x, own].concat();
    let mut wrapped = Vec::with_capacity(100);
    put_sized(&mut wrapped, x);
    put_sized(&mut wrapped, y);
    Some((sealer.digest(public.digest, &hashed), wrapped))
}

/// KDFa (Part 1 §11.4.10.2) with one context. All that is derived here is not longer than the digest, so there is one round.
fn derive(
    digest: Digest,
    seed: &[u8],
    label: &[u8],
    context: &[u8],
    bits: u16,
    sealer: &dyn Sealer,
) -> Option<Vec<u8>> {
    let (counter, bits_asked) = (1u32.to_be_bytes(), u32::from(bits).to_be_bytes());
    let mut key = sealer.hmac(digest, seed, &[&counter, label, &[0], context, &bits_asked]);
    let size = usize::from(bits / 8);
    key.truncate(size);
    (key.len() == size).then_some(key)
}
