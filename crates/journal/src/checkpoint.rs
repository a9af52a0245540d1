//! Checkpoints (C2SP tlog-checkpoint): the signed head of a log at a size.

use crate::hash::Hash;
use crate::key::{KeyName, NAME_BYTES_MAX, VerifierKey};
use crate::lines::{Lines, decimal};
use crate::note::{Note, NoteSignature};
use crate::{Malformed, SIZE_MAX, Signer};

const WHAT: &str = "a checkpoint";
/// Most extension lines that are read; none are written.
const EXTENSIONS_MAX: usize = 16;

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: a name for ever, such as `example.com/journal`.
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The Merkle Tree Hash over them.
    pub root: Hash,
    /// Lines that are not understood; part of what is signed.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// A head without extension lines.
    pub fn new(origin: &KeyName, size: u64, root: Hash) -> Self {
        Self { origin: origin.as_str().to_owned(), size, root, extensions: Vec::new() }
    }

    /// The text of its note.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, self.root);
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Reads the text of a note.
    pub fn from_text(text: &str) -> Result<Self, Malformed> {
        let mut lines = Lines::of_bytes(WHAT, text.as_bytes(), crate::note::NOTE_BYTES_MAX)?;
        let origin = lines.next("the origin")?;
        if origin.is_empty() || origin.len() > NAME_BYTES_MAX {
            return Err(lines.wrong(0, "the origin has 1 to 255 bytes"));
        }
        let size = lines.next("the tree size")?;
        let size = lines.size(size)?;
        let root = lines.next("the root hash")?;
        let root = lines.hash(root)?;
        let mut extensions = Vec::new();
        while !lines.is_done() {
            let line = lines.next("an extension line")?;
            if line.is_empty() {
                return Err(lines.wrong(0, "an extension line is empty"));
            }
            if extensions.len() == EXTENSIONS_MAX {
                return Err(lines.wrong(0, format!("more than {EXTENSIONS_MAX} extension lines")));
            }
            extensions.push(line.to_owned());
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions })
    }
}

/// A checkpoint with the signatures of its log and of witnesses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

impl SignedCheckpoint {
    /// Signs a head under the name of its origin; whether the log may, [`crate::guard`] knows. `Err` says why it cannot.
    pub fn sign(checkpoint: Checkpoint, signer: &dyn Signer) -> Result<Self, String> {
        let name = KeyName::new(&checkpoint.origin).map_err(|e| e.to_string())?;
        let text = checkpoint.to_text();
        // What is signed is what will be read.
        let checkpoint = Checkpoint::from_text(&text).map_err(|e| e.to_string())?;
        let mut note = Note::new(text).map_err(|e| e.to_string())?;
        note.sign(&name, signer)?;
        Ok(Self { checkpoint, note })
    }

    /// Reads a signed note whose text is a checkpoint.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let note = Note::decode(bytes).map_err(|e| e.within(WHAT, 0))?;
        let checkpoint = Checkpoint::from_text(note.text())?;
        Ok(Self { checkpoint, note })
    }

    /// The note as it is stored and sent.
    pub fn encode(&self) -> String {
        self.note.encode()
    }

    /// What it says.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Text and signatures.
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// Drops signature lines of all other keys.
    pub(crate) fn keep_signatures_of(&mut self, keys: &[VerifierKey]) {
        self.note.keep_signatures_of(keys);
    }

    /// Adds a signature line, such as a witness answered.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), Malformed> {
        self.note.add(signature)
    }
}

/// A size as C2SP tlog-witness sends it: decimal digits and a newline.
pub fn read_size(body: &str) -> Result<u64, Malformed> {
    let digits = body.strip_suffix('\n').and_then(decimal).filter(|n| *n <= SIZE_MAX);
    digits.ok_or_else(|| {
        Malformed::new("a tree size", 0, "a decimal number and a newline are expected")
    })
}
