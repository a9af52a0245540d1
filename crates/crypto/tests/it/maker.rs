//! Certificates made by hand, so that every part of them can be wrong.

use crypto::PrivateKey;
use pki::{Certificate, Key, KeyKind, Signer};

pub(crate) fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = vec![tag];
    match body.len() {
        short @ 0..=0x7f => bytes.push(short.try_into().unwrap()),
        long @ 0x80..=0xff => bytes.extend([0x81, long.try_into().unwrap()]),
        long => {
            bytes.push(0x82);
            bytes.extend(u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    bytes.extend(body);
    bytes
}

pub(crate) fn oid(text: &str) -> Vec<u8> {
    let arcs: Vec<u64> = text.split('.').map(|a| a.parse().unwrap()).collect();
    let mut body = vec![u8::try_from(arcs[0] * 40 + arcs[1]).unwrap()];
    for arc in &arcs[2..] {
        let mut groups = vec![u8::try_from(arc & 0x7f).unwrap()];
        let mut rest = arc >> 7;
        while rest > 0 {
            groups.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        groups.reverse();
        body.extend(groups);
    }
    der(6, &[&body])
}

/// `O=Example, CN=…`.
pub(crate) fn name(common: &str) -> Vec<u8> {
    let rdn = |kind: &str, text: &str| {
        der(0x31, &[&der(0x30, &[&oid(kind), &der(0x0c, &[text.as_bytes()])])])
    };
    der(0x30, &[&rdn("2.5.4.10", "Example"), &rdn("2.5.4.3", common)])
}

/// An extension.
pub(crate) fn extension(kind: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { der(1, &[&[0xff]]) } else { Vec::new() };
    der(0x30, &[&oid(kind), &critical, &der(4, &[value])])
}

/// Key usage by its bits, the first one highest.
pub(crate) fn key_usage(bits: u8) -> Vec<u8> {
    let unused = u8::try_from(bits.trailing_zeros().min(7)).unwrap();
    extension("2.5.29.15", true, &der(3, &[&[unused, bits]]))
}

pub(crate) const DIGITAL_SIGNATURE: u8 = 0x80;
pub(crate) const KEY_CERT_SIGN: u8 = 0x04;

pub(crate) fn authority(path_length: Option<u8>) -> Vec<u8> {
    let length = path_length.map(|n| der(2, &[&[n]])).unwrap_or_default();
    extension("2.5.29.19", true, &der(0x30, &[&der(1, &[&[0xff]]), &length]))
}

pub(crate) fn extended(usage: &str) -> Vec<u8> {
    extension("2.5.29.37", false, &der(0x30, &[&oid(usage)]))
}

/// A certificate to be made.
pub(crate) struct Blank {
    pub(crate) subject: &'static str,
    pub(crate) issuer: &'static str,
    pub(crate) serial: u8,
    pub(crate) begins: &'static str,
    pub(crate) ends: &'static str,
    pub(crate) extensions: Vec<Vec<u8>>,
    /// Instead of what the issuer's key signs with.
    pub(crate) algorithm: Option<Vec<u8>>,
    /// Instead of the subject's key.
    pub(crate) key_info: Option<Vec<u8>>,
}

impl Blank {
    pub(crate) fn root() -> Self {
        Self {
            subject: "Root",
            issuer: "Root",
            serial: 1,
            begins: "300101000000Z",
            ends: "400101000000Z",
            extensions: vec![authority(None), key_usage(KEY_CERT_SIGN)],
            algorithm: None,
            key_info: None,
        }
    }

    pub(crate) fn between() -> Self {
        Self { subject: "Between", serial: 2, ..Self::root() }
    }

    pub(crate) fn signer() -> Self {
        let extensions = vec![key_usage(DIGITAL_SIGNATURE)];
        Self { subject: "Signer", issuer: "Between", serial: 3, extensions, ..Self::root() }
    }

    pub(crate) fn sign(self, key: &Key, issuer: &PrivateKey) -> Certificate {
        Certificate::from_der(&self.bytes(key, issuer)).unwrap()
    }

    pub(crate) fn bytes(self, key: &Key, issuer: &PrivateKey) -> Vec<u8> {
        let algorithm = self.algorithm.unwrap_or_else(|| algorithm(issuer.public().kind));
        let version = der(0xa0, &[&der(2, &[&[2]])]);
        let times = [self.begins, self.ends].map(|t| der(0x17, &[t.as_bytes()]));
        let extensions: Vec<&[u8]> = self.extensions.iter().map(Vec::as_slice).collect();
        let extensions = match extensions.is_empty() {
            true => Vec::new(),
            false => der(0xa3, &[&der(0x30, &extensions)]),
        };
        let tbs = der(
            0x30,
            &[
                &version,
                &der(2, &[&[self.serial]]),
                &algorithm,
                &name(self.issuer),
                &der(0x30, &[&times[0], &times[1]]),
                &name(self.subject),
                &self.key_info.unwrap_or_else(|| key.write()),
                &extensions,
            ],
        );
        let signature = issuer.sign(&tbs).unwrap();
        der(0x30, &[&tbs, &algorithm, &der(3, &[&[0], &signature])])
    }
}

/// What a private key of this kind signs with.
fn algorithm(kind: KeyKind) -> Vec<u8> {
    match kind {
        KeyKind::Rsa(_) => der(0x30, &[&oid("1.2.840.113549.1.1.11"), &der(5, &[])]),
        KeyKind::P256 => der(0x30, &[&oid("1.2.840.10045.4.3.2")]),
        KeyKind::P384 => der(0x30, &[&oid("1.2.840.10045.4.3.3")]),
        KeyKind::Ed25519 => der(0x30, &[&oid("1.3.101.112")]),
    }
}

/// A root, an authority below it and a signer, with their keys.
pub(crate) struct Chain {
    pub(crate) root: Certificate,
    pub(crate) between: Certificate,
    pub(crate) signer: Certificate,
    pub(crate) root_key: PrivateKey,
    pub(crate) between_key: PrivateKey,
    pub(crate) signer_key: PrivateKey,
    /// The signer's key in PEM.
    pub(crate) signer_pem: String,
}

impl Chain {
    pub(crate) fn new(kind: KeyKind) -> Self {
        Self::of(kind, Blank::root(), Blank::between(), Blank::signer())
    }

    pub(crate) fn of(kind: KeyKind, root: Blank, between: Blank, signer: Blank) -> Self {
        let make = |kind| PrivateKey::generate(kind).unwrap();
        let (root_key, between_key) = (make(KeyKind::P256).0, make(KeyKind::P384).0);
        let (signer_key, signer_pem) = make(kind);
        Self {
            root: root.sign(&root_key.public(), &root_key),
            between: between.sign(&between_key.public(), &root_key),
            signer: signer.sign(&signer_key.public(), &between_key),
            root_key,
            between_key,
            signer_key,
            signer_pem,
        }
    }
}
