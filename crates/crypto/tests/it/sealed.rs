//! Keys under a passphrase: ours read by openssl, openssl's read by us, and nothing without the passphrase.

use std::fs;

use crypto::sealed::{PASSPHRASE_BYTES_MAX, Passphrase, SealError, seal, unseal};
use crypto::{KeyError, PrivateKey};
use pki::{KeyKind, Pem};

use crate::peer::{Folder, need, openssl};

const KINDS: [KeyKind; 4] = [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519, KeyKind::Rsa(2_048)];
const WORDS: &str = "correct horse battery staple";

fn passphrase() -> Passphrase {
    Passphrase::chosen(WORDS.as_bytes()).unwrap()
}

#[test]
fn a_key_comes_back_and_only_with_its_passphrase() {
    let random = Passphrase::random().unwrap();
    for passphrase in [passphrase(), random.0, Passphrase::was_random(&random.1).unwrap()] {
        for kind in KINDS {
            let (key, pem) = PrivateKey::generate(kind).unwrap();
            let sealed = key.sealed(&passphrase).unwrap();
            assert!(sealed.contains("BEGIN ENCRYPTED PRIVATE KEY"));
            assert!(PrivateKey::is_sealed(sealed.as_bytes()));
            assert!(!PrivateKey::is_sealed(pem.as_bytes()));
            let back = PrivateKey::from_sealed(sealed.as_bytes(), &passphrase).unwrap();
            assert_eq!(back.public(), key.public());
            // One that is under none is read too.
            let plain = PrivateKey::from_sealed(pem.as_bytes(), &passphrase).unwrap();
            assert_eq!(plain.public(), key.public());
            assert_ne!(sealed, key.sealed(&passphrase).unwrap(), "no two are alike");

            let other = Passphrase::chosen(b"correct horse battery stable").unwrap();
            let wrong = PrivateKey::from_sealed(sealed.as_bytes(), &other).unwrap_err();
            assert_eq!(wrong, KeyError::Sealed(SealError::Passphrase));
            assert_eq!(PrivateKey::from_pem(sealed.as_bytes()).unwrap_err(), KeyError::Encrypted);
        }
    }
}

#[test]
fn whatever_is_damaged_opens_nothing() {
    let (passphrase, _) = Passphrase::random().unwrap();
    let (key, _) = PrivateKey::generate(KeyKind::P256).unwrap();
    let sealed = Pem::read_all(key.sealed(&passphrase).unwrap().as_bytes()).unwrap().remove(0).der;
    for at in 0..sealed.len() {
        let mut damaged = sealed.clone();
        damaged[at] ^= 1;
        let pem = Pem::write("ENCRYPTED PRIVATE KEY", &damaged).unwrap();
        // CBC has no tag: what opens nevertheless is another key, or no key, and never stops anything.
        if let Ok(read) = PrivateKey::from_sealed(pem.as_bytes(), &passphrase) {
            let _ = read.public();
        }
    }
}

#[test]
fn other_secrets_too() {
    let (passphrase, text) = Passphrase::random().unwrap();
    for size in [0, 1, 15, 16, 17, 32, 1_000] {
        let plain = vec![7; size];
        let sealed = seal("ENCRYPTED SECRET", &plain, &passphrase).unwrap();
        let der = Pem::read_all(sealed.as_bytes()).unwrap().remove(0).der;
        assert_eq!(unseal(&der, &Passphrase::was_random(&text).unwrap()), Ok(plain));
    }
    for size in [0, 11, PASSPHRASE_BYTES_MAX + 1] {
        assert_eq!(Passphrase::chosen(&vec![b'a'; size]).unwrap_err(), SealError::Length(size));
    }
}

#[test]
fn openssl_reads_what_we_write() {
    if !need("openssl_reads_what_we_write") {
        return;
    }
    let folder = Folder::new("sealed");
    let pass = format!("pass:{WORDS}");
    for kind in KINDS {
        let (key, _) = PrivateKey::generate(kind).unwrap();
        let file = folder.put("key.pem", key.sealed(&passphrase()).unwrap().as_bytes());
        let out = folder.0.join("public.der");
        let arguments = ["pkey", "-passin", &pass, "-pubout", "-outform", "DER"];
        openssl(&arguments, &[("-in", &file), ("-out", &out)]).unwrap();
        assert_eq!(fs::read(&out).unwrap(), key.public().write(), "{kind:?}");
        let arguments = ["pkey", "-passin", "pass:something else", "-noout"];
        assert!(openssl(&arguments, &[("-in", &file)]).is_err());
    }
}

#[test]
fn we_read_what_openssl_writes_and_say_what_we_do_not() {
    if !need("we_read_what_openssl_writes_and_say_what_we_do_not") {
        return;
    }
    let folder = Folder::new("foreign-sealed");
    let pass = format!("pass:{WORDS}");
    let ways: [(&[&str], Option<&str>); 9] = [
        (&[], None),
        (&["-v2", "aes-256-cbc"], None),
        (&["-v2", "aes-128-cbc"], None),
        (&["-v2prf", "hmacWithSHA1"], None),
        (&["-v2prf", "hmacWithSHA512"], None),
        (&["-iter", "100000"], None),
        (&["-scrypt"], Some("scrypt")),
        (&["-v2", "aes-192-cbc"], Some("AES-256")),
        (&["-v1", "PBE-SHA1-3DES"], Some("PBES2")),
    ];
    for kind in [KeyKind::P256, KeyKind::Rsa(2_048)] {
        let (key, pem) = PrivateKey::generate(kind).unwrap();
        let (plain, out) = (folder.put("plain.pem", pem.as_bytes()), folder.0.join("sealed.pem"));
        for (way, refused) in ways {
            let mut arguments = vec!["pkcs8", "-topk8", "-passout", &pass];
            arguments.extend(way);
            openssl(&arguments, &[("-in", &plain), ("-out", &out)]).unwrap();
            let read = PrivateKey::from_sealed(&fs::read(&out).unwrap(), &passphrase());
            match (read, refused) {
                (Ok(read), None) => assert_eq!(read.public(), key.public(), "{way:?}"),
                (Err(error), Some(why)) => assert!(error.to_string().contains(why), "{error}"),
                other => panic!("{way:?}: {other:?}"),
            }
        }
    }
}
