//! Signatures of certificates that were found good, remembered: an authority that stands between a root and a thousand devices comes with
//! every handshake, and its signature is a third of those that a handshake has to check.
//!
//! What is remembered is what cannot change: that this signature over these bytes is by this key. Paths, validity, names and revocation
//! are judged anew every time.

use std::collections::HashSet;
use std::fmt;
use std::mem;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{
    AlgorithmIdentifier, FipsStatus, InvalidSignature, SignatureVerificationAlgorithm,
};

/// Signatures of one age; two ages are kept. 32 bytes each.
const AGE_MAX: usize = 4_096;

/// `provider` for the paths of certificates alone. Handshakes are signed anew each time and go to the provider itself.
pub(super) fn remembering(provider: &CryptoProvider) -> Arc<CryptoProvider> {
    // Once for all listeners: rustls takes algorithms that live as long as the process.
    static ALL: LazyLock<&'static [&'static dyn SignatureVerificationAlgorithm]> =
        LazyLock::new(|| {
            let all = super::provider().signature_verification_algorithms.all;
            let all = all.iter().map(|inner| {
                let remembered: &'static Remembered = Box::leak(Box::new(Remembered::new(*inner)));
                remembered as &'static dyn SignatureVerificationAlgorithm
            });
            Vec::leak(all.collect())
        });
    let mapping = provider.signature_verification_algorithms.mapping;
    Arc::new(CryptoProvider {
        signature_verification_algorithms: WebPkiSupportedAlgorithms { all: *ALL, mapping },
        ..provider.clone()
    })
}

/// An algorithm that does not check again what it found good.
struct Remembered {
    inner: &'static dyn SignatureVerificationAlgorithm,
    good: Mutex<Ages>,
}

/// What is asked for again goes over to the younger age, so that it outlives any number of others that are seen once.
#[derive(Default)]
struct Ages {
    young: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
}

impl Ages {
    fn knows(&mut self, digest: [u8; 32]) -> bool {
        if self.young.contains(&digest) {
            return true;
        }
        let old = self.old.contains(&digest);
        if old {
            self.insert(digest);
        }
        old
    }

    fn insert(&mut self, digest: [u8; 32]) {
        if self.young.len() >= AGE_MAX {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(digest);
    }
}

impl Remembered {
    fn new(inner: &'static dyn SignatureVerificationAlgorithm) -> Self {
        Self { inner, good: Mutex::default() }
    }
}

/// Of all three, each with its length, so that none runs into the next.
fn digest(parts: [&[u8]; 3]) -> [u8; 32] {
    let mut all = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        all.extend((part.len() as u64).to_be_bytes());
        all.extend(part);
    }
    crate::sha256(&all)
}

impl SignatureVerificationAlgorithm for Remembered {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let digest = digest([public_key, message, signature]);
        let good = || self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if good().knows(digest) {
            return Ok(());
        }
        self.inner.verify_signature(public_key, message, signature)?;
        good().insert(digest);
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.signature_alg_id()
    }

    fn fips_status(&self) -> FipsStatus {
        self.inner.fips_status()
    }

    fn fips(&self) -> bool {
        self.inner.fips()
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remembered").field(&self.inner).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use proptest::prelude::*;
    use rustls::pki_types::alg_id;

    use super::*;

    /// Good is a signature that is the sum of all other bytes.
    #[derive(Debug, Default)]
    struct Sum(AtomicU32);

    fn sum(key: &[u8], message: &[u8]) -> u8 {
        key.iter().chain(message).fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    impl SignatureVerificationAlgorithm for Sum {
        fn verify_signature(
            &self,
            key: &[u8],
            message: &[u8],
            signature: &[u8],
        ) -> Result<(), InvalidSignature> {
            self.0.fetch_add(1, Ordering::Relaxed);
            match signature {
                [only] if *only == sum(key, message) => Ok(()),
                _ => Err(InvalidSignature),
            }
        }

        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            alg_id::ED25519
        }

        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            alg_id::ED25519
        }
    }

    fn counted() -> (&'static Sum, Remembered) {
        let sum: &'static Sum = Box::leak(Box::default());
        (sum, Remembered::new(sum))
    }

    proptest! {
        /// Whatever was asked before, the answer is the algorithm's own.
        #[test]
        fn the_answer_is_that_of_the_algorithm(
            asked in prop::collection::vec((prop::collection::vec(0u8..3, 0..3), prop::collection::vec(0u8..3, 0..3), prop::collection::vec(0u8..9, 0..2)), 0..200),
        ) {
            let (inner, remembered) = counted();
            for (key, message, signature) in asked {
                prop_assert_eq!(
                    remembered.verify_signature(&key, &message, &signature).is_ok(),
                    inner.verify_signature(&key, &message, &signature).is_ok()
                );
            }
        }
    }

    #[test]
    fn an_authority_is_checked_once_beside_any_number_of_devices() {
        let (inner, remembered) = counted();
        let devices = u32::try_from(AGE_MAX * 5).unwrap();
        for device in 0..devices {
            let message = device.to_be_bytes();
            remembered
                .verify_signature(b"root", b"authority", &[sum(b"root", b"authority")])
                .unwrap();
            remembered
                .verify_signature(b"authority", &message, &[sum(b"authority", &message)])
                .unwrap();
        }
        assert_eq!(inner.0.load(Ordering::Relaxed), devices + 1);
        let Ages { young, old } = &*remembered.good.lock().unwrap();
        assert!(young.len() <= AGE_MAX && old.len() <= AGE_MAX, "{} {}", young.len(), old.len());
    }

    #[test]
    fn what_was_bad_is_bad_again() {
        let (inner, remembered) = counted();
        for _ in 0..3 {
            remembered.verify_signature(b"key", b"message", b"?").unwrap_err();
        }
        assert_eq!(inner.0.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn every_algorithm_of_the_provider_is_there() {
        let provider = super::super::provider();
        let ids = |provider: &CryptoProvider| {
            let all = provider.signature_verification_algorithms.all.iter();
            all.map(|a| (a.public_key_alg_id(), a.signature_alg_id())).collect::<Vec<_>>()
        };
        assert_eq!(ids(&remembering(&provider)), ids(&provider));
    }
}
