//! Passwords: argon2id, on threads that may compute, a few at a time.
//!
//! Memory is bounded: each one that is computed takes [`MEMORY_KIB`], and no more than [`AT_ONCE`] are; further ones wait in a short queue.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use tokio::sync::Semaphore;

use super::{AuthError, Secret};

/// Memory of one computation: with two passes, what OWASP recommends where 64 MiB (RFC 9106, second choice) are too many.
const MEMORY_KIB: u32 = 19_456;
/// Passes over it.
const PASSES: u32 = 2;
/// Lanes.
const LANES: u32 = 1;
/// Computations at one time.
const AT_ONCE: usize = 2;
/// Further ones that wait; who comes after these is asked to come again.
const WAITING_MAX: usize = 64;
/// Bytes of a salt (RFC 9106, section 3.1).
const SALT_BYTES: usize = 16;
/// Fewest characters of a password.
pub(super) const CHARS_MIN: usize = 12;
/// Most bytes of a password.
pub(super) const BYTES_MAX: usize = 1_024;

/// Computes hashes of passwords.
#[derive(Debug)]
pub(super) struct Hasher {
    slots: Arc<Semaphore>,
    waiting: Semaphore,
    /// The hash of what nobody knows: computed for those who have none, so that their answer takes as long.
    decoy: String,
}

impl Hasher {
    pub(super) fn new() -> Result<Self, AuthError> {
        let mut unknown = [0; 32];
        crypto::random(&mut unknown)?;
        Ok(Self {
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Semaphore::new(WAITING_MAX),
            decoy: hash(&unknown)?,
        })
    }

    /// The hash of a password, in the text form of the Password Hashing Competition.
    pub(super) async fn hash(&self, password: Secret) -> Result<String, AuthError> {
        self.compute(move || hash(password.expose().as_bytes())).await?
    }

    /// Whether a password is the one of a hash; without a hash it is not, and that takes as long.
    pub(super) async fn verify(
        &self,
        password: Secret,
        known: Option<String>,
    ) -> Result<bool, AuthError> {
        let has_one = known.is_some();
        let known = known.unwrap_or_else(|| self.decoy.clone());
        let right = self.compute(move || verify(password.expose().as_bytes(), &known)).await?;
        Ok(right && has_one)
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AuthError> {
        let _place = self.waiting.try_acquire().map_err(|_| AuthError::Busy)?;
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| AuthError::Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            // Held until it is computed, also when nobody waits for it any more.
            let _slot = slot;
            work()
        });
        done.await.map_err(|_| AuthError::Busy)
    }
}

/// Whether a password can be one: long enough, and not what everybody knows of its owner.
pub(super) fn check(password: &Secret, login: &str) -> Result<(), AuthError> {
    let text = password.expose();
    let why = match text.chars().count() {
        n if n < CHARS_MIN => format!("it has {n} characters, and {CHARS_MIN} are the fewest"),
        _ if text.len() > BYTES_MAX => format!("it is longer than {BYTES_MAX} bytes"),
        _ if text.eq_ignore_ascii_case(login) => "it is the login".to_owned(),
        _ if text.chars().all(|c| text.starts_with(c)) => {
            "it is one character again and again".to_owned()
        }
        _ => return Ok(()),
    };
    Err(AuthError::Password(why))
}

fn argon() -> Result<Argon2<'static>, AuthError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None);
    let params = params.map_err(|error| AuthError::Hash(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &[u8]) -> Result<String, AuthError> {
    let mut salt = [0; SALT_BYTES];
    crypto::random(&mut salt)?;
    let hash = argon()?.hash_password_with_salt(password, &salt);
    Ok(hash.map_err(|error| AuthError::Hash(error.to_string()))?.to_string())
}

fn verify(password: &[u8], known: &str) -> bool {
    let known = PasswordHash::new(known);
    known.is_ok_and(|known| argon().is_ok_and(|a| a.verify_password(password, &known).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_says_how_it_was_made_and_knows_its_password() {
        let text = hash(b"correct horse battery").unwrap();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        assert_ne!(text, hash(b"correct horse battery").unwrap(), "each has its own salt");
        assert!(verify(b"correct horse battery", &text));
        assert!(!verify(b"correct horse batterz", &text));
        assert!(!verify(b"correct horse battery", "not a hash"));
        // Whatever an older or newer program wrote is read with its own parameters.
        let other = argon2::Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(64, 1, 1, None).unwrap(),
        );
        let other = other.hash_password_with_salt(b"correct horse battery", &[7; 16]).unwrap();
        assert!(verify(b"correct horse battery", &other.to_string()));
    }

    #[test]
    fn short_long_and_obvious_passwords_are_refused() {
        let check = |text: &str| check(&Secret::from(text.to_owned()), "ada.lovelace@example");
        for wrong in [
            "",
            "short",
            "elevenchars",
            "Ada.Lovelace@example",
            "aaaaaaaaaaaaaa",
            &"xy".repeat(513),
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        for right in ["twelve chars", "zwölf Zeichen", &"xy".repeat(512)] {
            check(right).unwrap();
        }
    }

    #[tokio::test]
    async fn who_has_no_hash_costs_as_much_and_never_gets_in() {
        let hasher = Hasher::new().unwrap();
        let parameters = |text: &str| text.rsplitn(3, '$').last().unwrap().to_owned();
        assert_eq!(parameters(&hasher.decoy), parameters(&hash(b"any").unwrap()));
        let hasher = Hasher { decoy: hash(b"correct horse battery").unwrap(), ..hasher };
        let right = Secret::from("correct horse battery".to_owned());
        assert!(!hasher.verify(right.clone(), None).await.unwrap());
        assert!(hasher.verify(right, Some(hasher.decoy.clone())).await.unwrap());
    }

    #[tokio::test]
    async fn no_more_wait_than_there_are_places() {
        let hasher = Hasher::new().unwrap();
        let all = Arc::clone(&hasher.slots).acquire_many_owned(2).await.unwrap();
        let _places = hasher.waiting.try_acquire_many(64).unwrap();
        let busy = hasher.verify(Secret::default(), None).await;
        assert!(matches!(busy, Err(AuthError::Busy)), "{busy:?}");
        drop((_places, all));
        assert!(!hasher.verify(Secret::default(), None).await.unwrap());
    }
}
