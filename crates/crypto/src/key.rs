//! Private keys: read from files, made, signing.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self as sig, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use pki::{Algorithm, Digest, Key, KeyKind, Pem, Signer};

use crate::sealed::{Passphrase, SealError, seal, unseal};

/// Label of a private key under a passphrase (RFC 7468 §11).
const SEALED: &str = "ENCRYPTED PRIVATE KEY";

/// Why a file is no private key that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is under a passphrase.
    #[error("the key is under a passphrase; `openssl pkey -in FILE -out PLAIN` takes it off")]
    Encrypted,
    /// It is under a passphrase that was not given, or that cannot be used.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// There is none.
    #[error("there is no private key in it; a PEM file with PRIVATE KEY (PKCS #8) is expected")]
    None,
    /// It is of a kind that is not supported.
    #[error("its key is not RSA of 2,048 to 8,192 bits, P-256, P-384 or Ed25519, or it is damaged")]
    Unsupported,
    /// It signs no notes.
    #[error(
        "its key is {0:?}, and notes are signed with Ed25519; `openssl genpkey -algorithm ed25519` makes one"
    )]
    NotEd25519(KeyKind),
}

/// A private key.
pub struct PrivateKey(Kind);

enum Kind {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// From a PEM file: PKCS #8, or the older forms for RSA and elliptic curves.
    pub fn from_pem(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::read(bytes, None)
    }

    /// The same, and one that is under a passphrase; where none is, it is not asked for.
    pub fn from_sealed(bytes: &[u8], passphrase: &Passphrase) -> Result<Self, KeyError> {
        Self::read(bytes, Some(passphrase))
    }

    /// Whether a PEM file has a private key under a passphrase.
    pub fn is_sealed(bytes: &[u8]) -> bool {
        let objects = Pem::read_all(bytes).unwrap_or_default();
        objects.iter().find(|o| is_private(o)).is_some_and(|o| o.label == SEALED)
    }

    /// In PEM, under a passphrase: PKCS #8 as OpenSSL reads it.
    pub fn sealed(&self, passphrase: &Passphrase) -> Result<String, KeyError> {
        let der = self.pkcs8().ok_or(KeyError::Unsupported)?;
        Ok(seal(SEALED, &der, passphrase)?)
    }

    fn pkcs8(&self) -> Option<Vec<u8>> {
        match &self.0 {
            Kind::Rsa(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der().ok()?;
                Some(der.as_ref().to_vec())
            }
            Kind::P256(pair) | Kind::P384(pair) => Some(pair.to_pkcs8v1().ok()?.as_ref().to_vec()),
            // OpenSSL 3.0 does not read the form with the public key in it (RFC 5958 §2).
            Kind::Ed25519(pair) => Some(pair.to_pkcs8v1().ok()?.as_ref().to_vec()),
        }
    }

    fn read(bytes: &[u8], passphrase: Option<&Passphrase>) -> Result<Self, KeyError> {
        let objects = Pem::read_all(bytes).map_err(|_| KeyError::None)?;
        let object = objects.iter().find(|o| is_private(o)).ok_or(KeyError::None)?;
        let der = object.der.as_slice();
        let curve = |der: &[u8]| {
            let p256 = EcdsaKeyPair::from_private_key_der(P256, der).map(Kind::P256);
            p256.or_else(|_| EcdsaKeyPair::from_private_key_der(P384, der).map(Kind::P384))
        };
        let kind = match object.label.as_str() {
            SEALED => {
                let passphrase = passphrase.ok_or(KeyError::Encrypted)?;
                // What it opens by chance is no key.
                let kind = pkcs8(&unseal(der, passphrase)?);
                Some(kind.ok_or(SealError::Passphrase)?)
            }
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(der).map(Kind::Rsa).ok(),
            "EC PRIVATE KEY" => curve(der).ok(),
            _ => pkcs8(der),
        };
        let key = Self(kind.ok_or(KeyError::Unsupported)?);
        // Text armour of the old kind says there that it is under a passphrase.
        match key.usable() {
            true => Ok(key),
            false => Err(KeyError::Unsupported),
        }
    }

    /// A new key, and its PKCS #8 in PEM.
    pub fn generate(kind: KeyKind) -> Result<(Self, String), KeyError> {
        let random = SystemRandom::new();
        let der = match kind {
            KeyKind::P256 => {
                EcdsaKeyPair::generate_pkcs8(P256, &random).map(|d| d.as_ref().to_vec())
            }
            KeyKind::P384 => {
                EcdsaKeyPair::generate_pkcs8(P384, &random).map(|d| d.as_ref().to_vec())
            }
            KeyKind::Ed25519 => {
                Ed25519KeyPair::generate_pkcs8(&random).map(|d| d.as_ref().to_vec())
            }
            KeyKind::Rsa(bits) => {
                let size = match bits {
                    2_048 => KeySize::Rsa2048,
                    3_072 => KeySize::Rsa3072,
                    4_096 => KeySize::Rsa4096,
                    _ => return Err(KeyError::Unsupported),
                };
                AsDer::<Pkcs8V1Der<'_>>::as_der(
                    &RsaKeyPair::generate(size).map_err(|_| KeyError::Unsupported)?,
                )
                .map(|d| d.as_ref().to_vec())
            }
        };
        let der = der.map_err(|_| KeyError::Unsupported)?;
        let pem = Pem::write("PRIVATE KEY", &der).map_err(|_| KeyError::Unsupported)?;
        Ok((Self(pkcs8(&der).ok_or(KeyError::Unsupported)?), pem))
    }

    /// Its public half.
    pub fn public(&self) -> Key {
        let kind = match &self.0 {
            Kind::Rsa(pair) => KeyKind::Rsa(pair.public_modulus_len().saturating_mul(8)),
            Kind::P256(_) => KeyKind::P256,
            Kind::P384(_) => KeyKind::P384,
            Kind::Ed25519(_) => KeyKind::Ed25519,
        };
        Key { kind, bytes: self.public_key() }
    }

    fn usable(&self) -> bool {
        match &self.0 {
            Kind::Rsa(pair) => (256..=1_024).contains(&pair.public_modulus_len()),
            _ => true,
        }
    }
}

fn is_private(object: &Pem) -> bool {
    object.label.ends_with("PRIVATE KEY")
}

const P256: &EcdsaSigningAlgorithm = &sig::ECDSA_P256_SHA256_ASN1_SIGNING;
const P384: &EcdsaSigningAlgorithm = &sig::ECDSA_P384_SHA384_ASN1_SIGNING;

/// The key says itself what it is, so at most one of these accepts it.
fn pkcs8(der: &[u8]) -> Option<Kind> {
    let p256 = || EcdsaKeyPair::from_pkcs8(P256, der).map(Kind::P256).ok();
    let p384 = || EcdsaKeyPair::from_pkcs8(P384, der).map(Kind::P384).ok();
    let ed25519 = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Kind::Ed25519).ok();
    let rsa = || RsaKeyPair::from_pkcs8(der).map(Kind::Rsa).ok();
    p256().or_else(p384).or_else(ed25519).or_else(rsa)
}

impl Signer for PrivateKey {
    fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Kind::Rsa(_) => Algorithm::RsaPkcs1(Digest::Sha256),
            Kind::P256(_) => Algorithm::Ecdsa(Digest::Sha256),
            Kind::P384(_) => Algorithm::Ecdsa(Digest::Sha384),
            Kind::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    fn public_key(&self) -> Vec<u8> {
        match &self.0 {
            Kind::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Kind::P256(pair) | Kind::P384(pair) => pair.public_key().as_ref().to_vec(),
            Kind::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let failed = |_| "the provider could not sign".to_owned();
        let random = SystemRandom::new();
        match &self.0 {
            Kind::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&sig::RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            Kind::P256(pair) | Kind::P384(pair) => {
                Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec())
            }
            Kind::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

/// A private key that signs checkpoints, cosignatures and other notes.
pub struct NoteKey(Ed25519KeyPair);

impl TryFrom<PrivateKey> for NoteKey {
    type Error = KeyError;

    fn try_from(key: PrivateKey) -> Result<Self, KeyError> {
        match key.0 {
            Kind::Ed25519(pair) => Ok(Self(pair)),
            _ => Err(KeyError::NotEd25519(key.public().kind)),
        }
    }
}

impl journal::Signer for NoteKey {
    fn public_key(&self) -> [u8; 32] {
        // An Ed25519 key has no other length (RFC 8032 §5.1.5).
        self.0.public_key().as_ref().try_into().unwrap_or_default()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let signature = self.0.sign(message);
        signature.as_ref().try_into().map_err(|_| "the provider could not sign".to_owned())
    }
}

impl std::fmt::Debug for NoteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NoteKey")
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({:?})", self.public().kind)
    }
}
