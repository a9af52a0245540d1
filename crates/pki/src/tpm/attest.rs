//! What a TPM says under a signature (TPMS_ATTEST, TPM 2.0 Part 2 §10.12.8), and the signature (TPMT_SIGNATURE, §11.3.4).
//!
//! Nothing that stands here is true before its signature holds: [`verify`] reads only then.

use super::key::AttestationKey;
use super::pcr::Selection;
use super::public::{Name, Scheme};
use super::wire::{Cursor, put_sized};
use crate::der::{element, tag};
use crate::{KeyKind, Malformed, Verifier};

/// Bytes of the longest attestation that is read.
pub const ATTEST_BYTES_MAX: usize = 512;
/// Bytes of the longest signature that is read: RSA of 4,096 bits.
pub const SIGNATURE_BYTES_MAX: usize = 518;
/// Bytes that can be asked to be signed with it: sizeof(TPMT_HA), with SHA-512 (TPM2B_DATA, Part 2 §10.4.3).
pub const NONCE_BYTES_MAX: usize = 66;

/// TPM_GENERATED_VALUE (Part 2 §6.2): a restricted key signs nothing from outside that begins like this.
const MAGIC: u32 = 0xff54_4347;
const CERTIFY: u16 = 0x8017;
const QUOTE: u16 = 0x8018;

/// One attestation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attest {
    /// Qualified name of the key that signed.
    pub signer: Name,
    /// What the verifier asked to be in it.
    pub nonce: Vec<u8>,
    /// When, as the TPM counts.
    pub clock: Clock,
    /// Version of the TPM's own firmware, as its manufacturer counts.
    pub firmware: u64,
    /// What it is about.
    pub about: About,
}

/// What is attested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Registers, and the digest of their values (TPMS_QUOTE_INFO).
    Quote(Selection, Vec<u8>),
    /// A key in the same TPM: its name and its qualified name (TPMS_CERTIFY_INFO).
    Certify(Name, Name),
}

/// TPMS_CLOCK_INFO (Part 2 §10.11.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clock {
    /// Milliseconds that the TPM was powered since it was cleared.
    pub clock_ms: u64,
    /// How often it was reset: boots of the machine.
    pub resets: u32,
    /// How often it was restarted or resumed since then: ends of hibernation and sleep.
    pub restarts: u32,
    /// No greater value of `clock_ms` was ever reported. After a loss of power it may have been.
    pub safe: bool,
}

/// A signature, as a TPM writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// How it was made.
    pub scheme: Scheme,
    parts: Parts,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Parts {
    Rsa(Vec<u8>),
    /// r and s.
    Ecdsa(Vec<u8>, Vec<u8>),
}

/// Why an attestation does not count, whatever it is about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrue {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It is signed in another way than the key signs.
    #[error("it is signed with {found}, and the attestation key signs with {expected}")]
    OtherScheme {
        /// What the signature says.
        found: String,
        /// What the key says.
        expected: String,
    },
    /// The signature is wrong.
    #[error("the attestation key did not sign it, or it was changed")]
    Signature,
    /// It answers another question.
    #[error(
        "it answers another question: the nonce in it is not the one that was sent, so it may be an old one, or another machine's"
    )]
    OtherNonce,
    /// The key that signed stands elsewhere than it stood.
    #[error(
        "the attestation key stands elsewhere in its TPM: its qualified name is {found}, and was {expected}"
    )]
    OtherSigner {
        /// What it says.
        found: Name,
        /// What was expected.
        expected: Name,
    },
}

/// The attestation, once it is known that `key` signed it in answer to `nonce`. The signature comes first: what is not
/// signed is not even read.
pub(super) fn verify(
    attest: &[u8],
    signature: &[u8],
    key: &AttestationKey,
    nonce: &[u8],
    verifier: &dyn Verifier,
) -> Result<Attest, Untrue> {
    let signature = Signature::read(signature)?;
    if signature.scheme != key.scheme() {
        let name = |scheme: Scheme| scheme.algorithm().name();
        let (found, expected) = (name(signature.scheme), name(key.scheme()));
        return Err(Untrue::OtherScheme { found, expected });
    }
    let holds = signature.standard(key.key().kind).is_some_and(|signature| {
        verifier.verify(key.scheme().algorithm(), key.key(), attest, &signature)
    });
    if !holds {
        return Err(Untrue::Signature);
    }
    let attest = Attest::read(attest)?;
    // An empty nonce would make every quote a fresh one.
    if nonce.is_empty() || attest.nonce != nonce {
        return Err(Untrue::OtherNonce);
    }
    match key.qualified() {
        Some(expected) if *expected != attest.signer => {
            Err(Untrue::OtherSigner { found: attest.signer, expected: expected.clone() })
        }
        _ => Ok(attest),
    }
}

impl Attest {
    /// From a TPMS_ATTEST: a quote or a certification; others are refused.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let bounded = match bytes.len() {
            0..=ATTEST_BYTES_MAX => Cursor::whole(bytes, Self::from_cursor),
            _ => Err(format!("it is longer than {ATTEST_BYTES_MAX} bytes")),
        };
        bounded.map_err(|why| Malformed::new("an attestation", why))
    }

    fn from_cursor(cursor: &mut Cursor<'_>) -> Result<Self, String> {
        let magic = cursor.u32()?;
        if magic != MAGIC {
            return Err(format!("it begins with {magic:#010x}, so no TPM made it"));
        }
        let kind = cursor.u16()?;
        if !matches!(kind, CERTIFY | QUOTE) {
            return Err(format!(
                "it is of the type {kind:#06x}, neither a quote nor a certification"
            ));
        }
        let signer = name(cursor)?;
        let nonce = cursor.sized(NONCE_BYTES_MAX, "a nonce")?.to_vec();
        let clock = Clock::read(cursor)?;
        let firmware = cursor.u64()?;
        let about = match kind {
            QUOTE => {
                let selection = Selection::from_cursor(cursor)?;
                About::Quote(selection, cursor.sized(64, "a digest")?.to_vec())
            }
            _ => About::Certify(name(cursor)?, name(cursor)?),
        };
        Ok(Self { signer, nonce, clock, firmware, about })
    }

    /// As a TPMS_ATTEST.
    pub fn write(&self) -> Vec<u8> {
        let kind = if matches!(self.about, About::Quote(..)) { QUOTE } else { CERTIFY };
        let mut bytes = Vec::with_capacity(256);
        bytes.extend(MAGIC.to_be_bytes());
        bytes.extend(kind.to_be_bytes());
        put_sized(&mut bytes, self.signer.as_bytes());
        put_sized(&mut bytes, &self.nonce);
        bytes.extend(self.clock.clock_ms.to_be_bytes());
        bytes.extend(self.clock.resets.to_be_bytes());
        bytes.extend(self.clock.restarts.to_be_bytes());
        bytes.push(u8::from(self.clock.safe));
        bytes.extend(self.firmware.to_be_bytes());
        match &self.about {
            About::Quote(selection, digest) => {
                bytes.extend(selection.write());
                put_sized(&mut bytes, digest);
            }
            About::Certify(name, qualified) => {
                put_sized(&mut bytes, name.as_bytes());
                put_sized(&mut bytes, qualified.as_bytes());
            }
        }
        bytes
    }
}

fn name(cursor: &mut Cursor<'_>) -> Result<Name, String> {
    Name::read(cursor.sized(66, "a name")?).map_err(|malformed| malformed.to_string())
}

impl Clock {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, String> {
        let (clock_ms, resets, restarts) = (cursor.u64()?, cursor.u32()?, cursor.u32()?);
        let safe = match cursor.u8()? {
            0 => false,
            1 => true,
            other => return Err(format!("{other} is neither yes nor no")),
        };
        Ok(Self { clock_ms, resets, restarts, safe })
    }
}

impl Signature {
    /// From a TPMT_SIGNATURE.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let bounded = match bytes.len() {
            0..=SIGNATURE_BYTES_MAX => Cursor::whole(bytes, Self::from_cursor),
            _ => Err(format!("it is longer than {SIGNATURE_BYTES_MAX} bytes")),
        };
        bounded.map_err(|why| Malformed::new("a TPM's signature", why))
    }

    fn from_cursor(cursor: &mut Cursor<'_>) -> Result<Self, String> {
        let scheme = Scheme::read(cursor)?.ok_or("it has no scheme")?;
        let parts = match scheme {
            Scheme::RsaPkcs1(_) | Scheme::RsaPss(_) => {
                Parts::Rsa(cursor.sized(512, "a signature")?.to_vec())
            }
            Scheme::Ecdsa(_) => {
                let r = cursor.sized(48, "a number")?.to_vec();
                Parts::Ecdsa(r, cursor.sized(48, "a number")?.to_vec())
            }
        };
        Ok(Self { scheme, parts })
    }

    /// As a TPMT_SIGNATURE.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SIGNATURE_BYTES_MAX);
        Scheme::write(Some(self.scheme), &mut bytes);
        match &self.parts {
            Parts::Rsa(number) => put_sized(&mut bytes, number),
            Parts::Ecdsa(r, s) => {
                put_sized(&mut bytes, r);
                put_sized(&mut bytes, s);
            }
        }
        bytes
    }

    /// As everybody else writes it: DER for ECDSA (RFC 3279 §2.2.3). `None` where it cannot be of such a key.
    pub fn standard(&self, kind: KeyKind) -> Option<Vec<u8>> {
        let size = match kind {
            KeyKind::Rsa(bits) => bits.div_ceil(8),
            KeyKind::P256 => 32,
            KeyKind::P384 => 48,
            KeyKind::Ed25519 => return None,
        };
        match &self.parts {
            Parts::Rsa(number) => (number.len() == size).then(|| number.clone()),
            Parts::Ecdsa(r, s) => {
                let (r, s) = (integer(r, size)?, integer(s, size)?);
                Some(element(tag::SEQUENCE, &[&r, &s]))
            }
        }
    }
}

/// A number of at most `size` bytes as an INTEGER. Some TPMs leave out zeros in front.
fn integer(number: &[u8], size: usize) -> Option<Vec<u8>> {
    let zeros = number.iter().take_while(|b| **b == 0).count();
    let digits = number.get(zeros..)?;
    let first = *digits.first()?;
    if number.len() > size {
        return None;
    }
    let sign: &[u8] = if first >= 0x80 { &[0] } else { &[] };
    Some(element(tag::INTEGER, &[sign, digits]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    /// Made by swtpm 0.7.1.
    const QUOTED: &str = "ff54434780180022000ba35a73999b745dd725f5a0df143871f9346498970e21c9da2bdc5e9fe44a5f9d\
        0004001122330000000000000685000000020000000001201910230016363600000001000b0387000000\
        2038723a2e5e8a17aa7950dc008209944e898f69a7bd10a23c839d341e935fd5ca";

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
        let byte = |two: &[char]| u8::from_str_radix(&String::from_iter(two), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn a_real_quote_both_ways() {
        let bytes = hex(QUOTED);
        let attest = Attest::read(&bytes).unwrap();
        assert_eq!(attest.write(), bytes);
        assert_eq!(attest.nonce, [0, 0x11, 0x22, 0x33]);
        assert_eq!(attest.clock, Clock { clock_ms: 0x685, resets: 2, restarts: 0, safe: true });
        assert_eq!(attest.firmware, 0x2019_1023_0016_3636);
        let About::Quote(selection, digest) = &attest.about else { panic!("{attest:?}") };
        assert_eq!(*selection, Selection::of(Digest::Sha256, [0, 1, 2, 7]));
        assert_eq!((digest.len(), digest[0]), (32, 0x38));
        for cut in 0..bytes.len() {
            assert!(Attest::read(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(Attest::read(&[&bytes[..], &[0]].concat()).is_err());
        for (at, to, why) in [
            (0, 0xfe, "it begins with 0xfe544347, so no TPM made it"),
            (5, 0x19, "it is of the type 0x8019, neither a quote nor a certification"),
            (9, 0x04, "the digest 0x0004, which does not count"),
            (64, 2, "2 is neither yes nor no"),
        ] {
            let mut other = bytes.clone();
            other[at] = to;
            let error = Attest::read(&other).unwrap_err();
            assert!(error.why.contains(why), "{error}");
        }
    }

    #[test]
    fn signatures_both_ways() {
        for bytes in [
            [&[0, 0x18, 0, 0x0b, 0, 2, 1, 2, 0, 1, 9][..]].concat(),
            [&[0, 0x14, 0, 0x0c, 0, 2, 1, 2][..]].concat(),
        ] {
            let signature = Signature::read(&bytes).unwrap();
            assert_eq!(signature.write(), bytes);
            for cut in 0..bytes.len() {
                assert!(Signature::read(&bytes[..cut]).is_err(), "{cut}");
            }
        }
        for wrong in [
            // No scheme, an HMAC, SHA-1.
            &[0, 0x10][..],
            &[0, 5, 0, 0x0b, 0, 0],
            &[0, 0x18, 0, 4, 0, 1, 1, 0, 1, 9],
        ] {
            assert!(Signature::read(wrong).is_err(), "{wrong:x?}");
        }
    }

    #[test]
    fn numbers_are_written_as_others_write_them() {
        assert_eq!(integer(&[0, 0, 0x80], 3), Some(vec![2, 2, 0, 0x80]));
        assert_eq!(integer(&[0x7f], 3), Some(vec![2, 1, 0x7f]));
        // 0 is no half of a signature.
        assert_eq!((integer(&[0, 0], 3), integer(&[], 3), integer(&[1; 4], 3)), (None, None, None));
    }
}
