//! Private keys and other secrets at rest, under a passphrase: PBES2 with PBKDF2-HMAC-SHA256 and AES-256 in CBC mode (RFC 8018), which
//! OpenSSL reads and writes.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::cipher::{
    AES_128, AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use pki::sealed::{Cipher, Prf, Sealed};
use pki::{Digest, Malformed, Pem};

use crate::{NoRandom, random};

/// Bytes of a passphrase that people choose, at least.
pub const PASSPHRASE_BYTES_MIN: usize = 12;
/// Bytes of a passphrase at most.
pub const PASSPHRASE_BYTES_MAX: usize = 1_024;
/// Rounds for a passphrase that somebody chose: about 60 ms.
const ROUNDS: u32 = 600_000;
/// Rounds for one of 256 random bits, which nobody tries out however quick a try is.
const ROUNDS_RANDOM: u32 = 1_000;
/// Bytes of a salt.
const SALT_BYTES: usize = 16;

/// Why something under a passphrase cannot be had, or nothing put under it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too short or too long.
    #[error(
        "a passphrase of {0} bytes; {PASSPHRASE_BYTES_MIN} to {PASSPHRASE_BYTES_MAX} bytes are good"
    )]
    Length(usize),
    /// It is another passphrase, or the contents are damaged: nothing tells the two apart.
    #[error("the passphrase does not open it")]
    Passphrase,
    /// What is there cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Nothing can be put under a passphrase.
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// The provider refuses.
    #[error("the provider cannot encrypt")]
    Provider,
}

/// What secrets at rest are under.
#[derive(Clone)]
pub struct Passphrase {
    bytes: Vec<u8>,
    rounds: u32,
    /// The key that was made of it last: what is sealed in one place has one salt, so that it is made once.
    made: Arc<Mutex<Option<Made>>>,
}

/// A key, and what it was made with besides the passphrase.
#[derive(Clone)]
struct Made {
    prf: Prf,
    salt: Vec<u8>,
    rounds: u32,
    key: Vec<u8>,
}

impl Passphrase {
    /// One that somebody chose, or another program keeps.
    pub fn chosen(bytes: &[u8]) -> Result<Self, SealError> {
        match bytes.len() {
            PASSPHRASE_BYTES_MIN..=PASSPHRASE_BYTES_MAX => {
                Ok(Self { bytes: bytes.to_vec(), rounds: ROUNDS, made: Arc::default() })
            }
            other => Err(SealError::Length(other)),
        }
    }

    /// A new one of 256 random bits, and its text.
    pub fn random() -> Result<(Self, String), SealError> {
        let mut bytes = [0; 32];
        random(&mut bytes)?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let bytes = text.clone().into_bytes();
        Ok((Self { bytes, rounds: ROUNDS_RANDOM, made: Arc::default() }, text))
    }

    /// One that [`Passphrase::random`] made, by its text.
    pub fn was_random(text: &str) -> Result<Self, SealError> {
        let chosen = Self::chosen(text.as_bytes())?;
        let made = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        Ok(Self { rounds: if made { ROUNDS_RANDOM } else { ROUNDS }, ..chosen })
    }

    /// A salt of ours that a key was made with already.
    fn salt(&self) -> Option<Vec<u8>> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = |made: &&Made| {
            let written = Prf::Hmac(Digest::Sha256);
            made.prf == written && made.rounds == self.rounds && made.salt.len() == SALT_BYTES
        };
        made.as_ref().filter(ours).map(|made| made.salt.clone())
    }

    /// The key of something that is sealed.
    fn key(&self, sealed: &Sealed) -> Vec<u8> {
        let mut kept = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let size = sealed.cipher.key_bytes();
        if let Some(made) = &*kept
            && (made.prf, made.rounds, made.key.len()) == (sealed.prf, sealed.rounds, size)
            && made.salt == sealed.salt
        {
            return made.key.clone();
        }
        let algorithm = match sealed.prf {
            Prf::HmacSha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Prf::Hmac(Digest::Sha256) => pbkdf2::PBKDF2_HMAC_SHA256,
            Prf::Hmac(Digest::Sha384) => pbkdf2::PBKDF2_HMAC_SHA384,
            Prf::Hmac(Digest::Sha512) => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let rounds = NonZeroU32::new(sealed.rounds).unwrap_or(NonZeroU32::MIN);
        let mut key = vec![0; size];
        pbkdf2::derive(algorithm, rounds, &sealed.salt, &self.bytes, &mut key);
        let (prf, salt, rounds) = (sealed.prf, sealed.salt.clone(), sealed.rounds);
        *kept = Some(Made { prf, salt, rounds, key: key.clone() });
        key
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase")
    }
}

/// Puts bytes under a passphrase; in PEM with a label.
pub fn seal(
    label: &'static str,
    bytes: &[u8],
    passphrase: &Passphrase,
) -> Result<String, SealError> {
    let (mut salt, mut iv) = (vec![0; SALT_BYTES], [0; 16]);
    random(&mut iv)?;
    match passphrase.salt() {
        Some(known) => salt = known,
        None => random(&mut salt)?,
    }
    let mut sealed = Sealed {
        prf: Prf::Hmac(Digest::Sha256),
        salt,
        rounds: passphrase.rounds,
        cipher: Cipher::Aes256,
        iv,
        bytes: bytes.to_vec(),
    };
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(key(&sealed, passphrase)?);
    key.and_then(|key| {
        let iv = EncryptionContext::Iv128(FixedLength::from(iv));
        key.less_safe_encrypt(&mut sealed.bytes, iv)
    })
    .map_err(|_| SealError::Provider)?;
    Ok(Pem::write(label, &sealed.write())?)
}

/// The bytes under a passphrase, from DER.
pub fn unseal(der: &[u8], passphrase: &Passphrase) -> Result<Vec<u8>, SealError> {
    let mut sealed = Sealed::read(der)?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key(&sealed, passphrase)?);
    let key = key.map_err(|_| SealError::Provider)?;
    let iv = DecryptionContext::Iv128(FixedLength::from(sealed.iv));
    let plain = key.decrypt(&mut sealed.bytes, iv).map_err(|_| SealError::Passphrase)?;
    Ok(plain.to_vec())
}

fn key(sealed: &Sealed, passphrase: &Passphrase) -> Result<UnboundCipherKey, SealError> {
    let cipher = match sealed.cipher {
        Cipher::Aes128 => &AES_128,
        Cipher::Aes256 => &AES_256,
    };
    UnboundCipherKey::new(cipher, &passphrase.key(sealed)).map_err(|_| SealError::Provider)
}
