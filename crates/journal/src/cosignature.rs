//! Cosignatures of checkpoints (C2SP tlog-cosignature, Ed25519): a witness says that, at a time, this was
//! the largest consistent tree of the log it had seen.

use crate::key::{KeyName, SignatureType, VerifierKey};
use crate::note::NoteSignature;
use crate::{SIZE_MAX, Signer};

/// What is signed: two header lines and the text of the checkpoint (Ed25519 signed message).
pub fn message(text: &str, timestamp: u64) -> String {
    format!("cosignature/v1\ntime {timestamp}\n{text}")
}

/// Cosigns the text of a checkpoint at a time, in seconds since the epoch and after it. Only [`crate::witness`]
/// knows whether it may be.
pub(crate) fn cosign(
    text: &str,
    timestamp: u64,
    name: &KeyName,
    signer: &dyn Signer,
) -> Result<NoteSignature, String> {
    if timestamp == 0 || timestamp > TIMESTAMP_MAX {
        return Err(format!("{timestamp} is not a time that a cosignature can carry"));
    }
    let key = VerifierKey::of(name.clone(), SignatureType::CosignatureV1, signer)
        .map_err(|e| e.to_string())?;
    let signature = signer.sign(message(text, timestamp).as_bytes())?;
    let signature = [&timestamp.to_be_bytes()[..], &signature].concat();
    Ok(NoteSignature { name: name.clone(), id: key.id(), signature })
}

/// A `timestamped_signature`: eight bytes of time, big end first, and the signature.
pub(crate) fn parts(bytes: &[u8]) -> Result<(u64, &[u8]), String> {
    let (timestamp, signature) =
        bytes.split_first_chunk::<8>().ok_or("it has no timestamp and signature")?;
    let timestamp = u64::from_be_bytes(*timestamp);
    match timestamp <= TIMESTAMP_MAX {
        true => Ok((timestamp, signature)),
        false => Err("its timestamp is not below 2^63".to_owned()),
    }
}

const TIMESTAMP_MAX: u64 = SIZE_MAX;
