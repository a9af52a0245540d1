//! Quotes of TPMs, checked in this process on one core.

use crypto::{PrivateKey, Provider};
use pki::tpm::{About, Attest, AttestationKey, Clock, Demand, Pcrs, Selection, binding, quote};
use pki::{Digest, Key, KeyKind, Signer as _};

use super::speed;
use crate::Stop;
use crate::controller_bench::{median, stop};
use crate::figures::{Bar, Figure};
use crate::reach::timed;

/// Rounds, of which the one in the middle counts, and quotes that are checked in each.
const ROUNDS: usize = 9;
const QUOTES: u32 = 5_000;
/// Different ones among them.
const KINDS: u8 = 64;

/// What a TPM that is played says of its registers: attestation and signature.
struct Said {
    nonce: [u8; 32],
    attest: Vec<u8>,
    signature: Vec<u8>,
}

pub(super) fn measure() -> Result<Vec<Figure>, Stop> {
    let (elliptic, rsa) = (speed("ecdsap256", "nistp256"), speed("rsa2048", "2048 bits"));
    Ok(vec![
        Figure::new(
            "quotes checked on one core, keys on P-256, beside openssl's verifications",
            per_second(KeyKind::P256)?,
            "quotes/s",
        )
        .beside(elliptic.map(|(_, verify)| verify))
        .bar(Bar::AtLeast(20_000.0)),
        Figure::new(
            "the same, RSA keys of 2,048 bits",
            per_second(KeyKind::Rsa(2_048))?,
            "quotes/s",
        )
        .beside(rsa.map(|(_, verify)| verify))
        .bar(Bar::AtLeast(20_000.0)),
    ])
}

/// How many quotes of a TPM whose attestation key is of this kind are checked in a second.
fn per_second(kind: KeyKind) -> Result<f64, Stop> {
    let (signer, _) = PrivateKey::generate(kind).map_err(stop)?;
    let key = AttestationKey::read(&public(&signer)?, &Provider).map_err(stop)?;
    let selection = Selection::of(Digest::Sha256, 0..8);
    let values: Vec<u8> = (0..=u8::MAX).collect();
    let pcrs = Pcrs::new(selection.clone(), &values).map_err(stop)?;
    let said: Vec<Said> =
        (0..KINDS).map(|n| say(n, &signer, &key, &pcrs)).collect::<Result<_, _>>()?;
    let reported = pcrs.write();
    let check = |said: &Said| {
        let pcrs = Pcrs::read(&reported).map_err(stop)?;
        let demand = Demand { nonce: &said.nonce, selection: &selection };
        quote(&said.attest, &said.signature, pcrs, &key, &demand, &Provider).map_err(stop)
    };
    let round = || {
        let some = said.iter().cycle().take(usize::try_from(QUOTES).unwrap_or(0));
        let (held, secs) = timed(|| some.map(check).collect::<Result<Vec<_>, Stop>>());
        match held?.len() == usize::try_from(QUOTES).map_err(stop)? {
            true => Ok(f64::from(QUOTES) / secs),
            false => Err(Stop("not every quote holds".to_owned())),
        }
    };
    let per_second = median((0..ROUNDS).map(|_| round()).collect::<Result<_, _>>()?);
    // None of it is without meaning: a quote for another nonce is refused.
    let other = Said { nonce: [9; 32], ..say(1, &signer, &key, &pcrs)? };
    if check(&other).is_ok() {
        return Err(Stop("a quote for another nonce holds".to_owned()));
    }
    Ok(per_second)
}

fn say(n: u8, signer: &PrivateKey, key: &AttestationKey, pcrs: &Pcrs) -> Result<Said, Stop> {
    let nonce = binding(&[n; 32], &[2; 32], &signer.public(), &Provider);
    let about = About::Quote(pcrs.selection().clone(), pcrs.digest(Digest::Sha256, &Provider));
    let clock = Clock { clock_ms: 7_000, resets: 3, restarts: 1, safe: true };
    let attest =
        Attest { signer: key.name().clone(), nonce: nonce.to_vec(), clock, firmware: 1, about };
    let attest = attest.write();
    let der = signer.sign(&attest).map_err(Stop)?;
    Ok(Said { nonce, signature: signature(&signer.public(), &der)?, attest })
}

/// A TPMT_PUBLIC (TPM 2.0 Part 2 §12.2.4): a restricted key that signs with SHA-256, ECDSA or RSASSA.
fn public(signer: &PrivateKey) -> Result<Vec<u8>, Stop> {
    let Key { kind, bytes } = signer.public();
    let part = |from: usize, to: usize| {
        bytes.get(from..to).ok_or_else(|| Stop("a key of another size".to_owned()))
    };
    let attributes = [0, 0x0b, 0, 5, 0, 0x72, 0, 0, 0, 0x10];
    Ok(match kind {
        // Modulus of 2,048 bits, behind the heads of an RSAPublicKey and its first INTEGER.
        KeyKind::Rsa(_) => {
            let scheme = [0, 0x14, 0, 0x0b, 8, 0, 0, 0, 0, 0, 1, 0];
            [&[0, 1][..], &attributes, &scheme, part(9, 265)?].concat()
        }
        _ => {
            let scheme = [0, 0x18, 0, 0x0b, 0, 3, 0, 0x10];
            let point = [&[0, 32][..], part(1, 33)?, &[0, 32], part(33, 65)?].concat();
            [&[0, 0x23][..], &attributes, &scheme, &point].concat()
        }
    })
}

/// A TPMT_SIGNATURE: of a number of 2,048 bits, or of a SEQUENCE of two short INTEGERs.
fn signature(key: &Key, signed: &[u8]) -> Result<Vec<u8>, Stop> {
    if let KeyKind::Rsa(_) = key.kind {
        return Ok([&[0, 0x14, 0, 0x0b, 1, 0][..], signed].concat());
    }
    let wrong = || Stop("a signature of another form".to_owned());
    let first = usize::from(*signed.get(3).ok_or_else(wrong)?);
    let (r, s) =
        (signed.get(4..4 + first).ok_or_else(wrong)?, signed.get(6 + first..).ok_or_else(wrong)?);
    let digits = |number: &[u8]| {
        let number: Vec<u8> = number.iter().copied().skip_while(|b| *b == 0).collect();
        [vec![0; 32_usize.saturating_sub(number.len())], number].concat()
    };
    Ok([&[0, 0x18, 0, 0x0b, 0, 32][..], &digits(r), &[0, 32], &digits(s)].concat())
}
