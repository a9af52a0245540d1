//! Signed notes (C2SP signed-note): a text, and one or more lines by those who signed it.

use crate::cosignature;
use crate::hash::base64;
use crate::key::{KeyId, KeyName, SignatureType, VerifierKey};
use crate::lines::Lines;
use crate::{Malformed, Signer, Verifier};

/// Longest note, in bytes: 64 signatures, with room for large ones of other types.
pub const NOTE_BYTES_MAX: usize = 256 * 1024;
/// Most signatures of a note; C2SP asks for at least 16.
pub const SIGNATURES_MAX: usize = 64;

const WHAT: &str = "a signed note";
/// Em dash and space begin a signature line.
const DASH: &str = "\u{2014} ";

/// A text with signatures. Nothing in it counts before [`Note::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: KeyName,
    /// Id of the key.
    pub id: KeyId,
    /// What the key made of the text; the form is its type's.
    pub signature: Vec<u8>,
}

/// A signature of a key that is known, and good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// The key.
    pub key: &'a VerifierKey,
    /// When, in seconds since the epoch, where the type says so.
    pub timestamp: Option<u64>,
}

/// Why a note does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// A known key's signature is bad, so the whole note is (C2SP signed-note, Signatures).
    #[error("the signature of {name} (line {line}) is not over this text: {why}")]
    Bad {
        /// Name of the key.
        name: KeyName,
        /// Line of the note, counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody known signed.
    #[error("no known key signed it")]
    Nobody,
}

impl Note {
    /// A note that nobody signed yet. Its text ends in a newline and has no other control characters.
    pub fn new(text: String) -> Result<Self, Malformed> {
        Lines::of_bytes(WHAT, text.as_bytes(), NOTE_BYTES_MAX)?;
        match text.ends_with('\n') {
            true => Ok(Self { text, signatures: Vec::new() }),
            false => Err(Malformed::new(WHAT, text.len(), "the text does not end in a newline")),
        }
    }

    /// The text, with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines in order.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The note as it is stored and sent.
    pub fn encode(&self) -> String {
        let lines: String = self.signatures.iter().map(NoteSignature::line).collect();
        format!("{}\n{lines}", self.text)
    }

    /// Reads a note; without a signature it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let whole = Lines::of_bytes(WHAT, bytes, NOTE_BYTES_MAX)?.rest();
        // The last empty line parts text and signatures.
        let Some((text, signatures)) = whole.rsplit_once("\n\n") else {
            return Err(Malformed::new(WHAT, whole.len(), "no empty line before signatures"));
        };
        let begin = whole.len() - signatures.len();
        let text = whole.get(..begin.saturating_sub(1)).unwrap_or(text).to_owned();
        let signatures =
            NoteSignature::decode_lines(signatures).map_err(|e| e.within(WHAT, begin))?;
        if signatures.is_empty() {
            return Err(Malformed::new(WHAT, begin, "it has no signature"));
        }
        Ok(Self { text, signatures })
    }

    /// Adds a signature; one that is there already is not added again.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), Malformed> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        if self.signatures.len() >= SIGNATURES_MAX {
            return Err(Malformed::new(WHAT, 0, format!("more than {SIGNATURES_MAX} signatures")));
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Signs the text with type `0x01`; `Err` says why the signer cannot.
    pub fn sign(&mut self, name: &KeyName, signer: &dyn Signer) -> Result<(), String> {
        let key = VerifierKey::of(name.clone(), SignatureType::Ed25519, signer)
            .map_err(|e| e.to_string())?;
        let signature = signer.sign(self.text.as_bytes())?.to_vec();
        let line = NoteSignature { name: name.clone(), id: key.id(), signature };
        self.add(line).map_err(|e| e.to_string())
    }

    /// The signatures of known keys, each one checked. Those of unknown keys are ignored; one bad signature of a
    /// known key spoils the note. A key that signed twice is told once.
    pub fn verify<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a VerifierKey>,
        verifier: &dyn Verifier,
    ) -> Result<Vec<Signed<'a>>, NotSigned> {
        let keys: Vec<(KeyId, &VerifierKey)> = keys.into_iter().map(|k| (k.id(), k)).collect();
        let mut signed: Vec<Signed<'a>> = Vec::new();
        let first_line = self.text.lines().count() + 2;
        for (n, line) in self.signatures.iter().enumerate() {
            let matching =
                |(id, key): &&(KeyId, &VerifierKey)| *id == line.id && key.name() == &line.name;
            let Some((_, key)) = keys.iter().find(matching) else { continue };
            let good = line.check(key, &self.text, verifier).map_err(|why| NotSigned::Bad {
                name: line.name.clone(),
                line: first_line + n,
                why,
            })?;
            if !signed.iter().any(|s| s.key == good.key) {
                signed.push(good);
            }
        }
        if signed.is_empty() { Err(NotSigned::Nobody) } else { Ok(signed) }
    }

    /// Drops signature lines of all other keys.
    pub(crate) fn keep_signatures_of(&mut self, keys: &[VerifierKey]) {
        let keys: Vec<_> = keys.iter().map(|k| (k.id(), k.name())).collect();
        self.signatures.retain(|s| keys.contains(&(s.id, &s.name)));
    }

    /// Signature lines of keys that are not among these, with their line numbers.
    pub fn unknown<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a VerifierKey>,
    ) -> Vec<(usize, &NoteSignature)> {
        let keys: Vec<_> = keys.into_iter().map(|k| (k.id(), k.name())).collect();
        let first_line = self.text.lines().count() + 2;
        let lines = self.signatures.iter().enumerate();
        lines
            .filter(|(_, s)| !keys.contains(&(s.id, &s.name)))
            .map(|(n, s)| (first_line + n, s))
            .collect()
    }
}

impl NoteSignature {
    /// `— NAME BASE64(key id || signature)` and a newline.
    pub fn line(&self) -> String {
        let bytes = [&self.id.0[..], &self.signature].concat();
        format!("{DASH}{} {}\n", self.name, base64(&bytes))
    }

    /// Reads signature lines alone, as a witness answers with them (C2SP tlog-witness, add-checkpoint).
    pub fn decode_lines(text: &str) -> Result<Vec<Self>, Malformed> {
        const WHAT: &str = "signature lines";
        let mut lines = Lines::new(WHAT, text);
        let mut signatures = Vec::new();
        while !lines.is_done() {
            let line = lines.next("a signature line")?;
            if signatures.len() == SIGNATURES_MAX {
                return Err(lines.wrong(0, format!("more than {SIGNATURES_MAX} signatures")));
            }
            let Some(line) = line.strip_prefix(DASH) else {
                return Err(lines.wrong(0, "a signature line begins with an em dash and a space"));
            };
            let Some((name, encoded)) = line.split_once(' ') else {
                return Err(lines.wrong(DASH.len() + line.len(), "there is no signature"));
            };
            let name = KeyName::new(name)
                .map_err(|e| lines.wrong(DASH.len() + e.at, format!("no key name: {}", e.why)))?;
            let begin = DASH.len() + name.as_str().len() + 1;
            let bytes = lines.base64(encoded).map_err(|mut e| {
                e.at += begin;
                e
            })?;
            let Some((id, signature)) =
                bytes.split_first_chunk::<4>().filter(|(_, s)| !s.is_empty())
            else {
                return Err(lines.wrong(begin, "the signature is shorter than five bytes"));
            };
            signatures.push(Self { name, id: KeyId(*id), signature: signature.to_vec() });
        }
        Ok(signatures)
    }

    /// Whether a key made this signature of a text.
    fn check<'a>(
        &self,
        key: &'a VerifierKey,
        text: &str,
        verifier: &dyn Verifier,
    ) -> Result<Signed<'a>, String> {
        let (timestamp, signature, message) = match key.signs() {
            SignatureType::Ed25519 => (None, self.signature.as_slice(), text.to_owned()),
            SignatureType::CosignatureV1 => {
                let (timestamp, signature) = cosignature::parts(&self.signature)?;
                (Some(timestamp), signature, cosignature::message(text, timestamp))
            }
        };
        let signature: &[u8; 64] =
            signature.try_into().map_err(|_| "it is not 64 bytes long".to_owned())?;
        match verifier.verify(key.key(), message.as_bytes(), signature) {
            true => Ok(Signed { key, timestamp }),
            false => Err("it does not verify".to_owned()),
        }
    }
}
