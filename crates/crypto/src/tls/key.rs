//! Any signer as a key of TLS handshakes, so that a key in a file and one in hardware are the same here.

use std::sync::Arc;

use pki::{Algorithm, Digest, Key, Signer};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer as TlsSigner, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

pub(super) struct HandshakeKey {
    signer: Arc<dyn Signer + Send + Sync>,
    public: Key,
    scheme: SignatureScheme,
}

impl HandshakeKey {
    /// `None` for keys that sign no TLS 1.3 handshakes.
    pub(super) fn new(signer: Arc<dyn Signer + Send + Sync>) -> Option<Self> {
        let scheme = match signer.algorithm() {
            Algorithm::Ecdsa(Digest::Sha256) => SignatureScheme::ECDSA_NISTP256_SHA256,
            Algorithm::Ecdsa(Digest::Sha384) => SignatureScheme::ECDSA_NISTP384_SHA384,
            Algorithm::Ed25519 => SignatureScheme::ED25519,
            _ => return None,
        };
        let public = Key::of(&*signer).ok()?;
        Some(Self { signer, public, scheme })
    }

    pub(super) const fn public(&self) -> &Key {
        &self.public
    }
}

impl std::fmt::Debug for HandshakeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HandshakeKey({:?})", self.public.kind)
    }
}

impl SigningKey for HandshakeKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn TlsSigner>> {
        let (signer, scheme) = (self.signer.clone(), self.scheme);
        offered.contains(&scheme).then(|| Box::new(Handshake { signer, scheme }) as _)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.public.write().into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.scheme {
            SignatureScheme::ED25519 => SignatureAlgorithm::ED25519,
            _ => SignatureAlgorithm::ECDSA,
        }
    }
}

struct Handshake {
    signer: Arc<dyn Signer + Send + Sync>,
    scheme: SignatureScheme,
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handshake({:?})", self.scheme)
    }
}

impl TlsSigner for Handshake {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.signer.sign(message).map_err(rustls::Error::General)
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
