//! Algorithms and public keys: which are good enough, and which are refused by name.

use x509_cert::spki::ObjectIdentifier as Oid;

use crate::der::{Element, element, tag};

/// A digest that is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// A signature algorithm that is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 (RFC 8017 §8.2).
    RsaPkcs1(Digest),
    /// RSASSA-PSS (RFC 8017 §8.1) with MGF1 of the same digest and a salt of its length.
    RsaPss(Digest),
    /// ECDSA (FIPS 186-5) with a signature in DER.
    Ecdsa(Digest),
    /// Ed25519 (RFC 8032).
    Ed25519,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Which.
    pub kind: KeyKind,
    /// RSA: `RSAPublicKey` in DER (RFC 8017 A.1.1). Curves: the uncompressed point. Ed25519: 32 bytes.
    pub bytes: Vec<u8>,
}

/// Kinds of public keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// RSA, with the bits of its modulus.
    Rsa(usize),
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

/// An algorithm or key that does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    /// Broken or too short.
    #[error("{0} is too weak")]
    TooWeak(String),
    /// Neither known as good nor as bad.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// Not an algorithm or a key.
    #[error("{0} is not understood")]
    Malformed(&'static str),
}

/// Bits of the shortest and of the longest RSA modulus that counts.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

mod oid {
    use super::Oid;

    pub(super) const SHA1: Oid = Oid::new_unwrap("1.3.14.3.2.26");
    pub(super) const SHA224: Oid = Oid::new_unwrap("2.16.840.1.101.3.4.2.4");
    pub(super) const SHA256: Oid = Oid::new_unwrap("2.16.840.1.101.3.4.2.1");
    pub(super) const SHA384: Oid = Oid::new_unwrap("2.16.840.1.101.3.4.2.2");
    pub(super) const SHA512: Oid = Oid::new_unwrap("2.16.840.1.101.3.4.2.3");
    pub(super) const MD5: Oid = Oid::new_unwrap("1.2.840.113549.2.5");
    pub(super) const RSA: Oid = Oid::new_unwrap("1.2.840.113549.1.1.1");
    pub(super) const MD5_RSA: Oid = Oid::new_unwrap("1.2.840.113549.1.1.4");
    pub(super) const SHA1_RSA: Oid = Oid::new_unwrap("1.2.840.113549.1.1.5");
    pub(super) const MGF1: Oid = Oid::new_unwrap("1.2.840.113549.1.1.8");
    pub(super) const PSS: Oid = Oid::new_unwrap("1.2.840.113549.1.1.10");
    pub(super) const SHA256_RSA: Oid = Oid::new_unwrap("1.2.840.113549.1.1.11");
    pub(super) const SHA384_RSA: Oid = Oid::new_unwrap("1.2.840.113549.1.1.12");
    pub(super) const SHA512_RSA: Oid = Oid::new_unwrap("1.2.840.113549.1.1.13");
    pub(super) const EC_KEY: Oid = Oid::new_unwrap("1.2.840.10045.2.1");
    pub(super) const P256: Oid = Oid::new_unwrap("1.2.840.10045.3.1.7");
    pub(super) const P384: Oid = Oid::new_unwrap("1.3.132.0.34");
    pub(super) const SHA1_ECDSA: Oid = Oid::new_unwrap("1.2.840.10045.4.1");
    pub(super) const SHA256_ECDSA: Oid = Oid::new_unwrap("1.2.840.10045.4.3.2");
    pub(super) const SHA384_ECDSA: Oid = Oid::new_unwrap("1.2.840.10045.4.3.3");
    pub(super) const SHA512_ECDSA: Oid = Oid::new_unwrap("1.2.840.10045.4.3.4");
    pub(super) const ED25519: Oid = Oid::new_unwrap("1.3.101.112");
    pub(super) const DSA: Oid = Oid::new_unwrap("1.2.840.10040.4.1");
    pub(super) const SHA1_DSA: Oid = Oid::new_unwrap("1.2.840.10040.4.3");
}

/// Names of what is refused, and of what is only supported elsewhere.
fn name(oid: &Oid) -> String {
    let name = match *oid {
        oid::SHA1 => "SHA-1",
        oid::SHA224 => "SHA-224",
        oid::MD5 => "MD5",
        oid::MD5_RSA => "RSA with MD5",
        oid::SHA1_RSA => "RSA with SHA-1",
        oid::SHA1_ECDSA => "ECDSA with SHA-1",
        oid::DSA | oid::SHA1_DSA => "DSA",
        oid::RSA => "RSA",
        oid::PSS => "RSA-PSS",
        oid::EC_KEY => "ECDSA",
        _ => return format!("the algorithm {oid}"),
    };
    name.to_owned()
}

fn refuse(oid: &Oid) -> Weak {
    match *oid {
        oid::SHA1
        | oid::MD5
        | oid::MD5_RSA
        | oid::SHA1_RSA
        | oid::SHA1_ECDSA
        | oid::DSA
        | oid::SHA1_DSA => Weak::TooWeak(name(oid)),
        _ => Weak::Unsupported(name(oid)),
    }
}

/// An AlgorithmIdentifier: the OID, and the parameters unless they are absent or NULL.
fn identifier(bytes: &[u8]) -> Result<(Oid, Option<Element<'_>>), Weak> {
    let wrong = Weak::Malformed("an algorithm identifier");
    let parse = || -> Result<_, String> {
        let mut parts = Element::whole(bytes, tag::SEQUENCE)?.parts()?;
        let oid = parts.need(tag::OID, "algorithm")?;
        let oid = Oid::from_bytes(oid.body).map_err(|e| e.to_string())?;
        let parameters = parts.next().filter(|p| p.tag != tag::NULL);
        parts.end()?;
        Ok((oid, parameters))
    };
    parse().map_err(|_| wrong)
}

impl Digest {
    /// From a DigestAlgorithmIdentifier.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Weak> {
        let (oid, _) = identifier(bytes)?;
        Ok(match oid {
            oid::SHA256 => Self::Sha256,
            oid::SHA384 => Self::Sha384,
            oid::SHA512 => Self::Sha512,
            _ => return Err(refuse(&oid)),
        })
    }

    const fn oid(self) -> Oid {
        match self {
            Self::Sha256 => oid::SHA256,
            Self::Sha384 => oid::SHA384,
            Self::Sha512 => oid::SHA512,
        }
    }

    /// Bytes of a digest.
    pub const fn size_bytes(self) -> u8 {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// As a DigestAlgorithmIdentifier, without parameters (RFC 5754 §2).
    pub(crate) fn write(self) -> Vec<u8> {
        element(tag::SEQUENCE, &[&element(tag::OID, &[self.oid().as_bytes()])])
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }
}

impl Algorithm {
    /// From a SignatureAlgorithmIdentifier. Where it names only a key type, as CMS allows, `beside` is
    /// the digest that stands beside it.
    pub(crate) fn read(bytes: &[u8], beside: Option<Digest>) -> Result<Self, Weak> {
        let (oid, parameters) = identifier(bytes)?;
        Ok(match (oid, beside) {
            (oid::SHA256_RSA, _) => Self::RsaPkcs1(Digest::Sha256),
            (oid::SHA384_RSA, _) => Self::RsaPkcs1(Digest::Sha384),
            (oid::SHA512_RSA, _) => Self::RsaPkcs1(Digest::Sha512),
            (oid::RSA, Some(digest)) => Self::RsaPkcs1(digest),
            (oid::PSS, _) => Self::RsaPss(pss(parameters)?),
            (oid::SHA256_ECDSA, _) => Self::Ecdsa(Digest::Sha256),
            (oid::SHA384_ECDSA, _) => Self::Ecdsa(Digest::Sha384),
            (oid::SHA512_ECDSA, _) => Self::Ecdsa(Digest::Sha512),
            (oid::EC_KEY, Some(digest)) => Self::Ecdsa(digest),
            (oid::ED25519, _) => Self::Ed25519,
            _ => return Err(refuse(&oid)),
        })
    }

    /// As a SignatureAlgorithmIdentifier.
    pub(crate) fn write(self) -> Vec<u8> {
        let oid = |oid: Oid| element(tag::OID, &[oid.as_bytes()]);
        let null = element(tag::NULL, &[]);
        match self {
            Self::RsaPkcs1(digest) => {
                let name = match digest {
                    Digest::Sha256 => oid::SHA256_RSA,
                    Digest::Sha384 => oid::SHA384_RSA,
                    Digest::Sha512 => oid::SHA512_RSA,
                };
                element(tag::SEQUENCE, &[&oid(name), &null])
            }
            Self::RsaPss(digest) => {
                let hash = element(tag::SEQUENCE, &[&oid(digest.oid()), &null]);
                let mask = element(tag::SEQUENCE, &[&oid(oid::MGF1), &hash]);
                let salt = element(tag::INTEGER, &[&[digest.size_bytes()]]);
                let parameters = element(
                    tag::SEQUENCE,
                    &[
                        &element(tag::context(0), &[&hash]),
                        &element(tag::context(1), &[&mask]),
                        &element(tag::context(2), &[&salt]),
                    ],
                );
                element(tag::SEQUENCE, &[&oid(oid::PSS), &parameters])
            }
            Self::Ecdsa(digest) => {
                let name = match digest {
                    Digest::Sha256 => oid::SHA256_ECDSA,
                    Digest::Sha384 => oid::SHA384_ECDSA,
                    Digest::Sha512 => oid::SHA512_ECDSA,
                };
                element(tag::SEQUENCE, &[&oid(name)])
            }
            Self::Ed25519 => element(tag::SEQUENCE, &[&oid(oid::ED25519)]),
        }
    }

    /// The digest that goes beside it in CMS; SHA-512 for Ed25519 (RFC 8419 §2.3).
    pub const fn digest(self) -> Digest {
        match self {
            Self::RsaPkcs1(digest) | Self::RsaPss(digest) | Self::Ecdsa(digest) => digest,
            Self::Ed25519 => Digest::Sha512,
        }
    }

    /// Works with keys of this kind.
    pub const fn fits(self, key: KeyKind) -> bool {
        match self {
            Self::RsaPkcs1(_) | Self::RsaPss(_) => matches!(key, KeyKind::Rsa(_)),
            Self::Ecdsa(_) => matches!(key, KeyKind::P256 | KeyKind::P384),
            Self::Ed25519 => matches!(key, KeyKind::Ed25519),
        }
    }

    /// Its name.
    pub fn name(self) -> String {
        match self {
            Self::RsaPkcs1(digest) => format!("RSA with {}", digest.name()),
            Self::RsaPss(digest) => format!("RSA-PSS with {}", digest.name()),
            Self::Ecdsa(digest) => format!("ECDSA with {}", digest.name()),
            Self::Ed25519 => "Ed25519".to_owned(),
        }
    }
}

/// RSASSA-PSS-params (RFC 4055 §3.1). Left out, they mean SHA-1.
fn pss(parameters: Option<Element<'_>>) -> Result<Digest, Weak> {
    let weak = || Weak::TooWeak("RSA-PSS with SHA-1".to_owned());
    let wrong = Weak::Malformed("the parameters of RSA-PSS");
    let parts = parameters.ok_or_else(weak)?.parts().map_err(|_| wrong.clone())?;
    let (mut hash, mut mask, mut salt) = (None, None, None);
    for part in parts {
        match part.tag {
            0xa0 => hash = Some(Digest::read(part.body)?),
            0xa1 => {
                let (oid, hash) = identifier(part.body)?;
                if oid != oid::MGF1 {
                    return Err(refuse(&oid));
                }
                mask = Some(Digest::read(hash.ok_or_else(weak)?.raw)?);
            }
            0xa2 => {
                let number = Element::whole(part.body, tag::INTEGER).map_err(|_| wrong.clone())?;
                salt = number.unsigned().filter(|n| n.len() == 1).and_then(|n| n.first()).copied();
            }
            // trailerField, which is always 1.
            0xa3 => {}
            _ => return Err(wrong),
        }
    }
    let digest = hash.ok_or_else(weak)?;
    if mask.ok_or_else(weak)? != digest || salt != Some(digest.size_bytes()) {
        let what = "RSA-PSS with another mask or salt than its digest's".to_owned();
        return Err(Weak::Unsupported(what));
    }
    Ok(digest)
}

impl Key {
    /// From a SubjectPublicKeyInfo. A key that is too weak is refused here.
    pub fn read(info: &[u8]) -> Result<Self, Weak> {
        let wrong = Weak::Malformed("a public key");
        let split = || -> Result<_, String> {
            let mut parts = Element::whole(info, tag::SEQUENCE)?.parts()?;
            let algorithm = parts.need(tag::SEQUENCE, "algorithm")?;
            let bits = parts.need(tag::BIT_STRING, "key")?.bits().ok_or("bits")?;
            parts.end()?;
            Ok((algorithm.raw, bits))
        };
        let (algorithm, bits) = split().map_err(|_| wrong.clone())?;
        let (oid, parameters) = identifier(algorithm)?;
        let kind = match oid {
            oid::RSA | oid::PSS => rsa(bits).map_err(|_| wrong.clone())?,
            oid::EC_KEY => {
                let curve = parameters.filter(|p| p.tag == tag::OID).ok_or(wrong.clone())?;
                match Oid::from_bytes(curve.body) {
                    Ok(oid::P256) if bits.len() == 65 => KeyKind::P256,
                    Ok(oid::P384) if bits.len() == 97 => KeyKind::P384,
                    Ok(oid::P256 | oid::P384) => {
                        return Err(Weak::Unsupported("a compressed point".to_owned()));
                    }
                    Ok(other) => return Err(Weak::Unsupported(format!("the curve {other}"))),
                    Err(_) => return Err(wrong),
                }
            }
            oid::ED25519 if bits.len() == 32 => KeyKind::Ed25519,
            oid::ED25519 => return Err(wrong),
            _ => return Err(refuse(&oid)),
        };
        if let KeyKind::Rsa(length) = kind
            && !RSA_BITS.contains(&length)
        {
            let key = format!("an RSA key of {length} bits");
            return Err(match length < *RSA_BITS.start() {
                true => Weak::TooWeak(key),
                false => Weak::Unsupported(key),
            });
        }
        Ok(Self { kind, bytes: bits.to_vec() })
    }

    /// As a SubjectPublicKeyInfo.
    pub fn write(&self) -> Vec<u8> {
        let oid = |oid: Oid| element(tag::OID, &[oid.as_bytes()]);
        let algorithm = match self.kind {
            KeyKind::Rsa(_) => element(tag::SEQUENCE, &[&oid(oid::RSA), &element(tag::NULL, &[])]),
            KeyKind::P256 => element(tag::SEQUENCE, &[&oid(oid::EC_KEY), &oid(oid::P256)]),
            KeyKind::P384 => element(tag::SEQUENCE, &[&oid(oid::EC_KEY), &oid(oid::P384)]),
            KeyKind::Ed25519 => element(tag::SEQUENCE, &[&oid(oid::ED25519)]),
        };
        let bits = element(tag::BIT_STRING, &[&[0], &self.bytes]);
        element(tag::SEQUENCE, &[&algorithm, &bits])
    }
}

/// The bits of an RSAPublicKey's modulus.
fn rsa(bits: &[u8]) -> Result<KeyKind, String> {
    let mut parts = Element::whole(bits, tag::SEQUENCE)?.parts()?;
    let modulus = parts.need(tag::INTEGER, "modulus")?.unsigned().ok_or("negative modulus")?;
    parts.need(tag::INTEGER, "exponent")?;
    parts.end()?;
    let first = modulus.first().map_or(0, |b| b.leading_zeros());
    let zeros = usize::try_from(first).unwrap_or_default();
    Ok(KeyKind::Rsa(modulus.len().saturating_mul(8).saturating_sub(zeros)))
}
