//! Public areas of keys (TPMT_PUBLIC, TPM 2.0 Part 2 §12.2.4) and their names.
//!
//! Only kinds of keys that count are read: RSA of 2,048 to 4,096 bits, P-256 and P-384. A key that says of itself what it may
//! not be is refused where it is used ([`AttestationKey`](super::AttestationKey) and its neighbours).

use std::fmt;

use super::wire::{Cursor, digest_id, put_sized};
use crate::der::{Element, element, tag};
use crate::{Digest, Key, KeyKind, Malformed, Verifier};

/// What errors call it.
const WHAT: &str = "the public area of a TPM's key";
/// Bytes of the longest one: an RSA key of 4,096 bits, with a policy of SHA-512.
pub const PUBLIC_BYTES_MAX: usize = 640;

const RSA: u16 = 0x0001;
const AES: u16 = 0x0006;
const NULL: u16 = 0x0010;
const RSASSA: u16 = 0x0014;
const RSAPSS: u16 = 0x0016;
const ECDSA: u16 = 0x0018;
const ECC: u16 = 0x0023;
const CFB: u16 = 0x0043;
const P256: u16 = 0x0003;
const P384: u16 = 0x0004;

/// The public area of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    /// The digest of its name (`nameAlg`).
    pub digest: Digest,
    /// What it may be used for.
    pub attributes: Attributes,
    /// Digest of the policy that guards its use; empty for none.
    pub policy: Vec<u8>,
    /// Bits of the AES-CFB key that what it keeps is under; only a key that keeps others has one.
    pub symmetric_bits: Option<u16>,
    /// How it signs; `None` leaves that to whoever asks.
    pub scheme: Option<Scheme>,
    /// The public key.
    pub key: Key,
    /// RSA: the exponent as it is written, where 0 means 65,537.
    exponent: u32,
}

/// A way to sign (TPMT_SIG_SCHEME, Part 2 §11.2.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(Digest),
    /// RSASSA-PSS with a salt of the digest's length. TPMs of before revision 1.38 take a longer one, and are refused.
    RsaPss(Digest),
    /// ECDSA.
    Ecdsa(Digest),
}

/// TPMA_OBJECT (Part 2 §8.3): what a key may be used for, and whether its TPM made it and keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attributes(u32);

/// A name (Part 1 §16): the digest's algorithm, then the digest of the public area. Whoever knows it knows the key and its
/// attributes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Vec<u8>);

impl Attributes {
    /// Never leaves its TPM.
    pub const FIXED_TPM: Self = Self(1 << 1);
    /// Is gone after a restart.
    pub const ST_CLEAR: Self = Self(1 << 2);
    /// Stays below its parent.
    pub const FIXED_PARENT: Self = Self(1 << 4);
    /// Its TPM made it, and nobody else ever knew it.
    pub const SENSITIVE_DATA_ORIGIN: Self = Self(1 << 5);
    /// A password opens it.
    pub const USER_WITH_AUTH: Self = Self(1 << 6);
    /// Its policy guards what an administrator does.
    pub const ADMIN_WITH_POLICY: Self = Self(1 << 7);
    /// Wrong passwords do not lock it.
    pub const NO_DA: Self = Self(1 << 10);
    /// Leaves only encrypted.
    pub const ENCRYPTED_DUPLICATION: Self = Self(1 << 11);
    /// Works only on what its TPM made.
    pub const RESTRICTED: Self = Self(1 << 16);
    /// Decrypts.
    pub const DECRYPT: Self = Self(1 << 17);
    /// Signs.
    pub const SIGN: Self = Self(1 << 18);
    /// Signs parts of certificates that others make.
    pub const X509_SIGN: Self = Self(1 << 19);

    /// All that have a meaning here; another bit refuses the key.
    const KNOWN: u32 = 0x000f_0cf6;

    const NAMES: [(Self, &'static str); 12] = [
        (Self::FIXED_TPM, "fixedTPM"),
        (Self::ST_CLEAR, "stClear"),
        (Self::FIXED_PARENT, "fixedParent"),
        (Self::SENSITIVE_DATA_ORIGIN, "sensitiveDataOrigin"),
        (Self::USER_WITH_AUTH, "userWithAuth"),
        (Self::ADMIN_WITH_POLICY, "adminWithPolicy"),
        (Self::NO_DA, "noDA"),
        (Self::ENCRYPTED_DUPLICATION, "encryptedDuplication"),
        (Self::RESTRICTED, "restricted"),
        (Self::DECRYPT, "decrypt"),
        (Self::SIGN, "sign"),
        (Self::X509_SIGN, "x509sign"),
    ];

    /// From its bits; `None` where one of them is unknown.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        match bits & !Self::KNOWN {
            0 => Some(Self(bits)),
            _ => None,
        }
    }

    /// Its bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Both of them.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The first attribute of `wanted` that is missing here, by its name in the specification.
    pub fn missing(self, wanted: Self) -> Option<&'static str> {
        Self(wanted.0 & !self.0).first()
    }

    /// The first attribute of `unwanted` that is here.
    pub fn present(self, unwanted: Self) -> Option<&'static str> {
        Self(self.0 & unwanted.0).first()
    }

    fn first(self) -> Option<&'static str> {
        Self::NAMES.iter().find(|(a, _)| a.0 & self.0 != 0).map(|(_, name)| *name)
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::NAMES.iter().filter(|(a, _)| a.0 & self.0 != 0).map(|(_, name)| *name);
        f.write_str(&names.collect::<Vec<_>>().join("|"))
    }
}

impl Name {
    /// From its bytes: an algorithm that counts, and a digest of its length.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let read = Cursor::whole(bytes, |c| {
            let digest = c.digest()?;
            c.take(usize::from(digest.size_bytes()))
        });
        read.map_err(|why| Malformed::new("a TPM's name", why))?;
        Ok(Self(bytes.to_vec()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The qualified name (Part 1 §16.5) of the object that has this name, below a parent that has that qualified one:
    /// a digest over all that stand above it.
    #[must_use]
    pub fn below(&self, parent: &Self, verifier: &dyn Verifier) -> Self {
        self.qualified(&parent.0, verifier)
    }

    /// The qualified name of a primary object of the endorsement hierarchy (TPM_RH_ENDORSEMENT, Part 2 §7.4).
    #[must_use]
    pub fn below_endorsement(&self, verifier: &dyn Verifier) -> Self {
        self.qualified(&[0x40, 0x00, 0x00, 0x0b], verifier)
    }

    fn qualified(&self, parent: &[u8], verifier: &dyn Verifier) -> Self {
        // `read` and `of` are the only ways to a name, so there is a digest.
        let digest = Cursor::new(&self.0).digest().unwrap_or(Digest::Sha256);
        Self::of(digest, &[parent, &self.0].concat(), verifier)
    }

    fn of(digest: Digest, bytes: &[u8], verifier: &dyn Verifier) -> Self {
        let mut name = digest_id(digest).to_be_bytes().to_vec();
        name.extend(verifier.digest(digest, bytes));
        Self(name)
    }
}

/// Hexadecimal, as the tools print it.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Scheme {
    /// The digest it signs.
    pub const fn digest(self) -> Digest {
        match self {
            Self::RsaPkcs1(digest) | Self::RsaPss(digest) | Self::Ecdsa(digest) => digest,
        }
    }

    /// The algorithm that checks it.
    pub const fn algorithm(self) -> crate::Algorithm {
        match self {
            Self::RsaPkcs1(digest) => crate::Algorithm::RsaPkcs1(digest),
            Self::RsaPss(digest) => crate::Algorithm::RsaPss(digest),
            Self::Ecdsa(digest) => crate::Algorithm::Ecdsa(digest),
        }
    }

    /// From TPM_ALG_ID and digest; TPM_ALG_NULL is no scheme.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Option<Self>, String> {
        Ok(Some(match cursor.u16()? {
            NULL => return Ok(None),
            RSASSA => Self::RsaPkcs1(cursor.digest()?),
            RSAPSS => Self::RsaPss(cursor.digest()?),
            ECDSA => Self::Ecdsa(cursor.digest()?),
            other => return Err(format!("the scheme {other:#06x}, which is not supported")),
        }))
    }

    pub(super) fn write(scheme: Option<Self>, bytes: &mut Vec<u8>) {
        let Some(scheme) = scheme else {
            return bytes.extend(NULL.to_be_bytes());
        };
        let id = match scheme {
            Self::RsaPkcs1(_) => RSASSA,
            Self::RsaPss(_) => RSAPSS,
            Self::Ecdsa(_) => ECDSA,
        };
        bytes.extend(id.to_be_bytes());
        bytes.extend(digest_id(scheme.digest()).to_be_bytes());
    }
}

impl Public {
    /// From a TPMT_PUBLIC.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let bounded = match bytes.len() {
            0..=PUBLIC_BYTES_MAX => Cursor::whole(bytes, area),
            _ => Err(format!("it is longer than {PUBLIC_BYTES_MAX} bytes")),
        };
        bounded.map_err(|why| Malformed::new(WHAT, why))
    }

    /// From a TPM2B_PUBLIC, which has its length before it (Part 2 §12.2.5).
    pub fn read_sized(bytes: &[u8]) -> Result<Self, Malformed> {
        let inner = Cursor::whole(bytes, |c| c.sized(PUBLIC_BYTES_MAX, "a public area"));
        Self::read(inner.map_err(|why| Malformed::new(WHAT, why))?)
    }

    /// As a TPMT_PUBLIC.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PUBLIC_BYTES_MAX);
        let kind = if matches!(self.key.kind, KeyKind::Rsa(_)) { RSA } else { ECC };
        bytes.extend(kind.to_be_bytes());
        bytes.extend(digest_id(self.digest).to_be_bytes());
        bytes.extend(self.attributes.0.to_be_bytes());
        put_sized(&mut bytes, &self.policy);
        match self.symmetric_bits {
            None => bytes.extend(NULL.to_be_bytes()),
            Some(bits) => [AES, bits, CFB].iter().for_each(|n| bytes.extend(n.to_be_bytes())),
        }
        Scheme::write(self.scheme, &mut bytes);
        match self.key.kind {
            KeyKind::Rsa(bits) => {
                bytes.extend(u16::try_from(bits).unwrap_or_default().to_be_bytes());
                bytes.extend(self.exponent.to_be_bytes());
                put_sized(&mut bytes, modulus(&self.key.bytes).unwrap_or_default());
            }
            curve => {
                let id = if curve == KeyKind::P384 { P384 } else { P256 };
                bytes.extend(id.to_be_bytes());
                bytes.extend(NULL.to_be_bytes());
                let (x, y) = self.point().unwrap_or_default();
                put_sized(&mut bytes, x);
                put_sized(&mut bytes, y);
            }
        }
        bytes
    }

    /// Its name.
    pub fn name(&self, verifier: &dyn Verifier) -> Name {
        Name::of(self.digest, &self.write(), verifier)
    }

    /// Coordinates, where it is on a curve.
    pub(super) fn point(&self) -> Option<(&[u8], &[u8])> {
        match (self.key.kind, self.key.bytes.split_first()) {
            (KeyKind::P256 | KeyKind::P384, Some((4, point))) => {
                point.split_at_checked(point.len().div_ceil(2))
            }
            _ => None,
        }
    }
}

fn area(cursor: &mut Cursor<'_>) -> Result<Public, String> {
    let kind = cursor.u16()?;
    let digest = cursor.digest()?;
    let bits = cursor.u32()?;
    let attributes = Attributes::from_bits(bits)
        .ok_or_else(|| format!("attributes {bits:#010x}, which are not all known"))?;
    let policy = cursor.sized(64, "a policy")?.to_vec();
    if !policy.is_empty() && policy.len() != usize::from(digest.size_bytes()) {
        return Err(format!("a policy of {} bytes, which is no {}", policy.len(), digest.name()));
    }
    let symmetric_bits = symmetric(cursor)?;
    let scheme = Scheme::read(cursor)?;
    let (key, exponent) = match kind {
        RSA => rsa(cursor)?,
        ECC => (curve(cursor)?, 0),
        other => return Err(format!("a key of the type {other:#06x}, which is not supported")),
    };
    if scheme.is_some_and(|scheme| !scheme.algorithm().fits(key.kind)) {
        return Err("its scheme is for another kind of key".to_owned());
    }
    Ok(Public { digest, attributes, policy, symmetric_bits, scheme, key, exponent })
}

/// TPMT_SYM_DEF_OBJECT (Part 2 §11.1.7).
fn symmetric(cursor: &mut Cursor<'_>) -> Result<Option<u16>, String> {
    match cursor.u16()? {
        NULL => return Ok(None),
        AES => {}
        other => return Err(format!("the cipher {other:#06x}, which is not supported")),
    }
    match (cursor.u16()?, cursor.u16()?) {
        (bits @ (128 | 256), CFB) => Ok(Some(bits)),
        (bits, mode) => {
            Err(format!("AES of {bits} bits in mode {mode:#06x}, which does not count"))
        }
    }
}

/// The rest of TPMS_RSA_PARMS (Part 2 §12.2.3.5), and the modulus.
fn rsa(cursor: &mut Cursor<'_>) -> Result<(Key, u32), String> {
    let bits = usize::from(cursor.u16()?);
    if !matches!(bits, 2_048 | 3_072 | 4_096) {
        return Err(format!("an RSA key of {bits} bits, which does not count"));
    }
    let exponent = cursor.u32()?;
    if !matches!(exponent, 0 | 65_537) {
        return Err(format!("the exponent {exponent}, which does not count"));
    }
    let modulus = cursor.sized(512, "a modulus")?;
    let full = modulus.len().saturating_mul(8) == bits;
    if !full
        || modulus.first().is_none_or(|b| *b < 0x80)
        || modulus.last().is_none_or(|b| b & 1 == 0)
    {
        return Err(format!("it has no modulus of {bits} bits"));
    }
    let number = element(tag::INTEGER, &[&[0], modulus]);
    let bytes = element(tag::SEQUENCE, &[&number, &element(tag::INTEGER, &[&[1, 0, 1]])]);
    Ok((Key { kind: KeyKind::Rsa(bits), bytes }, exponent))
}

/// The modulus of an RSAPublicKey.
fn modulus(key: &[u8]) -> Option<&[u8]> {
    let mut parts = Element::whole(key, tag::SEQUENCE).ok()?.parts().ok()?;
    parts.next()?.unsigned()
}

/// The rest of TPMS_ECC_PARMS (Part 2 §12.2.3.6), and the point. Coordinates have the size of the field (Part 1 Annex C, ECC
/// point padding).
fn curve(cursor: &mut Cursor<'_>) -> Result<Key, String> {
    let (kind, size) = match cursor.u16()? {
        P256 => (KeyKind::P256, 32),
        P384 => (KeyKind::P384, 48),
        other => return Err(format!("the curve {other:#06x}, which is not supported")),
    };
    match cursor.u16()? {
        NULL => {}
        other => return Err(format!("the derivation {other:#06x}, which is not supported")),
    }
    let mut bytes = Vec::with_capacity(97);
    bytes.push(4);
    for _ in 0..2 {
        let coordinate = cursor.sized(size, "a coordinate")?;
        if coordinate.len() != size {
            return Err(format!("a coordinate of {} bytes instead of {size}", coordinate.len()));
        }
        bytes.extend(coordinate);
    }
    Ok(Key { kind, bytes })
}
