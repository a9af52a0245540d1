//! What a challenge for a TPM needs (TPM 2.0 Part 1, Annexes B and C).

use aws_lc_rs::agreement::{
    ECDH_P256, ECDH_P384, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral,
};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512,
    OaepPublicEncryptingKey, PublicEncryptingKey,
};
use pki::tpm::Sealer;
use pki::{Digest, Key, KeyKind};

use crate::Provider;

impl Sealer for Provider {
    fn wrap(&self, digest: Digest, key: &Key, label: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let algorithm = match digest {
            Digest::Sha256 => &OAEP_SHA256_MGF1SHA256,
            Digest::Sha384 => &OAEP_SHA384_MGF1SHA384,
            Digest::Sha512 => &OAEP_SHA512_MGF1SHA512,
        };
        if !matches!(key.kind, KeyKind::Rsa(_)) {
            return None;
        }
        let key =
            OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&key.write()).ok()?).ok()?;
        let mut secret = vec![0; usize::from(digest.size_bytes())];
        crate::random(&mut secret).ok()?;
        let mut wrapped = vec![0; key.ciphertext_size()];
        let size = key.encrypt(algorithm, &secret, &mut wrapped, Some(label)).ok()?.len();
        (size == wrapped.len()).then_some((secret, wrapped))
    }

    fn agree(&self, key: &Key) -> Option<(Vec<u8>, Vec<u8>)> {
        let algorithm = match key.kind {
            KeyKind::P256 => &ECDH_P256,
            KeyKind::P384 => &ECDH_P384,
            KeyKind::Rsa(_) | KeyKind::Ed25519 => return None,
        };
        let own = EphemeralPrivateKey::generate(algorithm, &SystemRandom::new()).ok()?;
        let point = own.compute_public_key().ok()?.as_ref().to_vec();
        let other = UnparsedPublicKey::new(algorithm, &key.bytes);
        let shared = agree_ephemeral(own, other, (), |shared| Ok(shared.to_vec())).ok()?;
        Some((shared, point))
    }

    fn hmac(&self, digest: Digest, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        let algorithm = match digest {
            Digest::Sha256 => hmac::HMAC_SHA256,
            Digest::Sha384 => hmac::HMAC_SHA384,
            Digest::Sha512 => hmac::HMAC_SHA512,
        };
        let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
        parts.iter().for_each(|part| context.update(part));
        context.sign().as_ref().to_vec()
    }

    fn encrypt_cfb(&self, key: &[u8], bytes: &mut [u8]) -> Option<()> {
        let algorithm = match key.len() {
            16 => &AES_128,
            32 => &AES_256,
            _ => return None,
        };
        let key = EncryptingKey::cfb128(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
        // The key is fresh, so the IV may be fixed (TPM 2.0 Part 1 §24.4).
        let zeros = EncryptionContext::Iv128(FixedLength::from([0; 16]));
        key.less_safe_encrypt(bytes, zeros).ok()?;
        Some(())
    }
}
