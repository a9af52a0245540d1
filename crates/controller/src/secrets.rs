//! Secrets that devices share with somebody, as far as the controller knows them: a digest under a key of the estate, which is made once and lies in
//! the state folder under its passphrase. Whoever has the journal alone cannot try out passwords.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto::PrivateKey;
use estate::side::Digest;
use pki::{KeyKind, Signer as _};

use crate::state::{StateError, StateFolder};

/// The file with the key.
const KEY: &str = "pki/secrets.key.pem";
/// What the key is made of: a signature of this. Ed25519 signs the same bytes the same way (RFC 8032 §5.1.6).
const WHAT: &[u8] = b"ringfence digests of secrets v1";
/// Bytes of a key that is shared, at least: 128 bits.
pub const KEY_BYTES_MIN: usize = 16;
/// Bytes of a secret at most.
pub const SECRET_BYTES_MAX: usize = 256;

/// Makes digests.
pub struct Digests([u8; 32]);

impl Digests {
    /// Of a state folder; the first time makes the key.
    pub fn open(folder: &StateFolder) -> Result<Self, StateError> {
        let wrong = |why: String| StateError::Key { path: folder.file(KEY), why };
        let key = match folder.key(KEY)? {
            Some(key) => key,
            None => {
                let (key, _) =
                    PrivateKey::generate(KeyKind::Ed25519).map_err(|e| wrong(e.to_string()))?;
                folder.write_key(KEY, &key)?;
                key
            }
        };
        match key.public().kind {
            KeyKind::Ed25519 => Ok(Self(crypto::sha256(&key.sign(WHAT).map_err(wrong)?))),
            other => Err(wrong(format!("it is {other:?}, and Ed25519 was made"))),
        }
    }

    /// The digest of a secret.
    pub fn of(&self, secret: &[u8]) -> Digest {
        Digest(crypto::hmac_sha256(&self.0, secret))
    }
}

impl std::fmt::Debug for Digests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digests")
    }
}

/// A key as text: pairs of hexadecimal digits, in either case, or else base64 (RFC 4648 §4). One text means one key, on both sides.
pub fn key_of(text: &str) -> Option<Vec<u8>> {
    let hex = text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let bytes = match hex {
        true => text.to_ascii_lowercase().parse::<estate::identities::Octets>().ok()?.0,
        false => STANDARD.decode(text).ok()?,
    };
    (KEY_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_at_least_128_bits_in_hex_or_base64() {
        let bytes: Vec<u8> = (0..16).collect();
        for text in [
            "000102030405060708090a0b0c0d0e0f",
            "000102030405060708090A0B0C0D0E0F",
            "AAECAwQFBgcICQoLDA0ODw==",
        ] {
            assert_eq!(key_of(text), Some(bytes.clone()), "{text}");
        }
        let long = "00".repeat(SECRET_BYTES_MAX + 1);
        for wrong in
            ["", "hunter2", "000102030405060708090a0b0c0d0e", "AAECAwQFBgcICQoLDA0O", &long]
        {
            assert_eq!(key_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn digests_are_the_same_after_a_restart_and_others_elsewhere() {
        let place = |name: &str| {
            let path = std::env::temp_dir().join(format!("rf-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            path
        };
        let (here, there) = (place("digests"), place("digests-elsewhere"));
        let of = |path: &std::path::Path| {
            let folder = StateFolder::open(path).unwrap();
            let digest = Digests::open(&folder).unwrap().of(b"hunter2");
            let file = std::fs::read(folder.file(KEY)).unwrap();
            assert!(PrivateKey::is_sealed(&file));
            digest
        };
        let first = of(&here);
        assert_eq!(of(&here), first);
        assert_ne!(of(&there), first);
        assert_ne!(first, Digest(crypto::sha256(b"hunter2")));
        for path in [here, there] {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
}
