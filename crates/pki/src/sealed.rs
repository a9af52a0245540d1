//! Keys under a passphrase: `EncryptedPrivateKeyInfo` (RFC 5958 §3) with PBES2, PBKDF2 and AES in CBC mode (RFC 8018), as OpenSSL has
//! written and read them for twenty years. Whoever computes is elsewhere.

use x509_cert::spki::ObjectIdentifier as Oid;

use crate::der::{Element, Parts, element, tag};
use crate::{Digest, Malformed};

/// Rounds that are computed for a file that somebody else wrote: about ten seconds.
pub const ROUNDS_MAX: u32 = 20_000_000;
/// Bytes of a salt that are read.
const SALT_BYTES_MAX: usize = 1_024;

const PBES2: Oid = Oid::new_unwrap("1.2.840.113549.1.5.13");
const PBKDF2: Oid = Oid::new_unwrap("1.2.840.113549.1.5.12");
const SCRYPT: Oid = Oid::new_unwrap("1.3.6.1.4.1.11591.4.11");
const HMAC_SHA1: Oid = Oid::new_unwrap("1.2.840.113549.2.7");
const HMAC_SHA256: Oid = Oid::new_unwrap("1.2.840.113549.2.9");
const HMAC_SHA384: Oid = Oid::new_unwrap("1.2.840.113549.2.10");
const HMAC_SHA512: Oid = Oid::new_unwrap("1.2.840.113549.2.11");
const AES_128_CBC: Oid = Oid::new_unwrap("2.16.840.1.101.3.4.1.2");
const AES_256_CBC: Oid = Oid::new_unwrap("2.16.840.1.101.3.4.1.42");

/// With what a key is made of a passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prf {
    /// HMAC with SHA-1: the default of the standard, and what old files have. Nothing is written with it.
    HmacSha1,
    /// HMAC with one of these.
    Hmac(Digest),
}

/// With what the contents are encrypted, in CBC mode with padding (RFC 8018 §B.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// AES with a key of 16 bytes.
    Aes128,
    /// AES with a key of 32 bytes.
    Aes256,
}

impl Cipher {
    /// Bytes of its key.
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }
}

/// Something under a passphrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// How the key is made.
    pub prf: Prf,
    /// Salt of that.
    pub salt: Vec<u8>,
    /// Rounds of that: 1 to [`ROUNDS_MAX`].
    pub rounds: u32,
    /// How the contents are encrypted.
    pub cipher: Cipher,
    /// What the first block is combined with.
    pub iv: [u8; 16],
    /// The contents, encrypted.
    pub bytes: Vec<u8>,
}

impl Sealed {
    /// Reads one.
    pub fn read(der: &[u8]) -> Result<Self, Malformed> {
        read(der).map_err(|why| Malformed::new("a key under a passphrase", why))
    }

    /// In DER.
    pub fn write(&self) -> Vec<u8> {
        let named = |name: Oid, more: &[u8]| {
            let name = element(tag::OID, &[name.as_bytes()]);
            element(tag::SEQUENCE, &[&name, more])
        };
        let prf = named(prf_name(self.prf), &element(tag::NULL, &[]));
        let salt = element(tag::OCTET_STRING, &[&self.salt]);
        let rounds = self.rounds.to_be_bytes();
        let zeros = rounds.iter().take_while(|b| **b == 0).count().min(3);
        let rounds = rounds.get(zeros..).unwrap_or_default();
        let sign: &[u8] = if rounds.first().is_some_and(|b| *b >= 0x80) { &[0] } else { &[] };
        let rounds = element(tag::INTEGER, &[sign, rounds]);
        let derivation = element(tag::SEQUENCE, &[&salt, &rounds, &prf]);
        let cipher = match self.cipher {
            Cipher::Aes128 => AES_128_CBC,
            Cipher::Aes256 => AES_256_CBC,
        };
        let cipher = named(cipher, &element(tag::OCTET_STRING, &[&self.iv]));
        let scheme = element(tag::SEQUENCE, &[&named(PBKDF2, &derivation), &cipher]);
        let contents = element(tag::OCTET_STRING, &[&self.bytes]);
        element(tag::SEQUENCE, &[&named(PBES2, &scheme), &contents])
    }
}

const fn prf_name(prf: Prf) -> Oid {
    match prf {
        Prf::HmacSha1 => HMAC_SHA1,
        Prf::Hmac(Digest::Sha256) => HMAC_SHA256,
        Prf::Hmac(Digest::Sha384) => HMAC_SHA384,
        Prf::Hmac(Digest::Sha512) => HMAC_SHA512,
    }
}

fn read(der: &[u8]) -> Result<Sealed, String> {
    let mut whole = Element::whole(der, tag::SEQUENCE)?.parts()?;
    let (scheme, mut parameters) = algorithm(&mut whole, "the encryption")?;
    let bytes = whole.need(tag::OCTET_STRING, "contents")?.body.to_vec();
    whole.end()?;
    if scheme != PBES2 {
        return Err(format!("it is encrypted with {scheme}; PBES2 (RFC 8018) is read"));
    }
    let mut parameters = parameters.need(tag::SEQUENCE, "parameters of PBES2")?.parts()?;
    let (derivation, mut of_derivation) = algorithm(&mut parameters, "a key derivation")?;
    let (cipher, mut of_cipher) = algorithm(&mut parameters, "a cipher")?;
    parameters.end()?;

    let cipher = match cipher {
        AES_128_CBC => Cipher::Aes128,
        AES_256_CBC => Cipher::Aes256,
        other => return Err(format!("its cipher is {other}; AES-128 and AES-256 in CBC are read")),
    };
    let iv = of_cipher.need(tag::OCTET_STRING, "initialisation vector")?.body;
    let iv: [u8; 16] = iv.try_into().map_err(|_| "its initialisation vector is not 16 bytes")?;
    of_cipher.end()?;

    match derivation {
        PBKDF2 => {}
        SCRYPT => return Err("its key is derived with scrypt; PBKDF2 is read".to_owned()),
        other => return Err(format!("its key is derived with {other}; PBKDF2 is read")),
    }
    let mut derivation = of_derivation.need(tag::SEQUENCE, "parameters of PBKDF2")?.parts()?;
    of_derivation.end()?;
    let salt = derivation.need(tag::OCTET_STRING, "salt")?.body;
    if salt.len() > SALT_BYTES_MAX {
        return Err(format!("its salt is longer than {SALT_BYTES_MAX} bytes"));
    }
    let rounds = number(derivation.need(tag::INTEGER, "number of rounds")?);
    let rounds = rounds.filter(|rounds| (1..=ROUNDS_MAX).contains(rounds));
    let rounds = rounds.ok_or_else(|| format!("its rounds are not 1 to {ROUNDS_MAX}"))?;
    let length = derivation.optional(tag::INTEGER).map(number);
    if length.is_some_and(|n| n.map(usize::try_from) != Some(Ok(cipher.key_bytes()))) {
        return Err("the length of its key is not its cipher's".to_owned());
    }
    let prf = match derivation.is_empty() {
        true => Prf::HmacSha1,
        false => {
            let (name, mut nothing) = algorithm(&mut derivation, "a function")?;
            nothing.optional(tag::NULL);
            nothing.end()?;
            match name {
                HMAC_SHA1 => Prf::HmacSha1,
                HMAC_SHA256 => Prf::Hmac(Digest::Sha256),
                HMAC_SHA384 => Prf::Hmac(Digest::Sha384),
                HMAC_SHA512 => Prf::Hmac(Digest::Sha512),
                other => return Err(format!("its key is derived with the function {other}")),
            }
        }
    };
    derivation.end()?;
    Ok(Sealed { prf, salt: salt.to_vec(), rounds, cipher, iv, bytes })
}

/// The name of an AlgorithmIdentifier, and what follows it.
fn algorithm<'a>(parts: &mut Parts<'a>, what: &str) -> Result<(Oid, Parts<'a>), String> {
    let mut parts = parts.need(tag::SEQUENCE, what)?.parts()?;
    let name = parts.need(tag::OID, "name of an algorithm")?.body;
    let name = Oid::from_bytes(name).map_err(|_| "the name of an algorithm is no OID")?;
    Ok((name, parts))
}

fn number(element: Element<'_>) -> Option<u32> {
    let bytes = element.unsigned().filter(|bytes| bytes.len() <= 4)?;
    Some(bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Sealed {
        Sealed {
            prf: Prf::Hmac(Digest::Sha256),
            salt: vec![7; 16],
            rounds: 2_048,
            cipher: Cipher::Aes256,
            iv: [9; 16],
            bytes: vec![1; 48],
        }
    }

    #[test]
    fn both_ways() {
        for rounds in [1, 127, 128, 255, 256, 65_535, 65_536, ROUNDS_MAX] {
            for prf in [Digest::Sha256, Digest::Sha384, Digest::Sha512].map(Prf::Hmac) {
                for cipher in [Cipher::Aes128, Cipher::Aes256] {
                    let sealed = Sealed { rounds, prf, cipher, ..sealed() };
                    assert_eq!(Sealed::read(&sealed.write()), Ok(sealed));
                }
            }
        }
    }

    #[test]
    fn what_would_take_for_ever_or_is_not_known_is_refused_with_a_reason() {
        for (rounds, why) in [(0, "rounds"), (ROUNDS_MAX + 1, "rounds"), (u32::MAX, "rounds")] {
            let error = Sealed::read(&Sealed { rounds, ..sealed() }.write()).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        let long = Sealed { salt: vec![0; SALT_BYTES_MAX + 1], ..sealed() };
        assert!(Sealed::read(&long.write()).unwrap_err().to_string().contains("salt"));
        let swapped = |from: Oid, to: Oid| {
            let der = sealed().write();
            let (from, to) = (from.as_bytes(), to.as_bytes());
            assert_eq!(from.len(), to.len());
            let at = der.windows(from.len()).position(|w| w == from).unwrap();
            let mut der = der;
            der[at..at + to.len()].copy_from_slice(to);
            Sealed::read(&der).unwrap_err().to_string()
        };
        // AES-192, PBES1 with MD5 and DES, SHA-224.
        assert!(swapped(AES_256_CBC, Oid::new_unwrap("2.16.840.1.101.3.4.1.22")).contains("AES"));
        assert!(swapped(PBES2, Oid::new_unwrap("1.2.840.113549.1.5.3")).contains("PBES2"));
        assert!(swapped(HMAC_SHA256, Oid::new_unwrap("1.2.840.113549.2.8")).contains("function"));
    }

    #[test]
    fn cuts_are_refused() {
        let der = sealed().write();
        for cut in 0..der.len() {
            assert!(Sealed::read(&der[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_changed_byte_stops_nothing() {
        let der = sealed().write();
        for at in 0..der.len() {
            for to in [0, 1, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = der.clone();
                changed[at] = to;
                if let Ok(read) = Sealed::read(&changed) {
                    assert!((1..=ROUNDS_MAX).contains(&read.rounds));
                }
            }
        }
    }
}
