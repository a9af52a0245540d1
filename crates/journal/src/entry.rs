//! Entries: one change of the estate each. Who commanded what and why, on which evidence, and what came of it.
//!
//! The encoding is an array in deterministic CBOR (RFC 8949 §4.2.1), the same for ever:
//!
//! ```text
//! entry   = [1, at, [kind, id], typed, why, [*evidence], [*typed]]
//! at      = int                      ; nanoseconds since 1970-01-01T00:00:00Z
//! kind    = name                     ; person, token, site, device, policy …
//! id      = tstr                     ; 1 to 256 bytes, no control characters
//! typed   = [name, uint, bstr]       ; type, version of the type below 2^32, payload
//! why     = tstr                     ; 1 to 4,096 bytes, no control characters but newline
//! evidence = bstr .size 32           ; SHA-256; up to 256, ascending
//! name    = tstr                     ; a-z, then up to 63 of a-z 0-9 . _ -
//! ```
//!
//! The first item is the version. A new version gets a new number and a new reader; the reader of an older one stays as it
//! is, with the fixtures that hold it (`tests/fixtures/entry-v1`). What commands and events mean is known to those who
//! apply them; here their payloads are bytes with a type.
//!
//! It must never know what a device is, or the time.

use std::collections::BTreeSet;
use std::fmt;

use model::Timestamp;

use crate::Malformed;
use crate::bundle::ENTRY_BYTES_MAX;
use crate::cbor::{Reader, Writer};
use crate::hash::Hash;

/// The version that is written.
pub const VERSION: u64 = 1;
/// Longest reason, in bytes of UTF-8.
pub const WHY_BYTES_MAX: usize = 4_096;
/// Longest id of an actor, in bytes of UTF-8.
pub const ID_BYTES_MAX: usize = 256;
/// Most digests of evidence.
pub const EVIDENCE_MAX: usize = 256;
/// Most events of one command.
pub const EVENTS_MAX: usize = 4_096;
/// Longest name of a type.
const NAME_BYTES_MAX: usize = 64;

const WHAT: &str = "an entry";

/// One change of the estate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was decided.
    pub at: Timestamp,
    /// Who commanded it.
    pub who: Actor,
    /// What was commanded.
    pub command: Typed,
    /// Why, in the words of whoever commanded it.
    pub why: String,
    /// SHA-256 of the evidence that it rests on.
    pub evidence: BTreeSet<Hash>,
    /// What came of it, in order.
    pub events: Vec<Typed>,
}

/// Who acts: a kind, and an id that is none of a person's data (an erasable store knows names).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Actor {
    /// `person`, `token`, `site`, `device`, `policy`…
    pub kind: Name,
    /// Which one.
    pub id: String,
}

/// A payload of a type, in a version of that type.
#[derive(Clone, PartialEq, Eq)]
pub struct Typed {
    /// Its type, such as `device.retired`.
    pub name: Name,
    /// The version of the type.
    pub version: u32,
    /// What only those understand who know the type.
    pub payload: Vec<u8>,
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/v{}({} bytes)", self.name, self.version, self.payload.len())
    }
}

/// The name of a type or kind: a letter, then up to 63 of `a-z 0-9 . _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Checks and takes the text.
    pub fn new(text: &str) -> Result<Self, Malformed> {
        check_name(text).map_err(|(at, why)| Malformed::new("a name", at, why))?;
        Ok(Self(text.to_owned()))
    }

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Entry {
    /// Its one byte string. What would not be read again is refused.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let mut w = Writer::default();
        w.array(7);
        w.unsigned(VERSION);
        w.integer(self.at.as_nanos());
        w.array(2);
        w.text(self.who.kind.as_str());
        w.text(&self.who.id);
        self.command.write(&mut w);
        w.text(&self.why);
        w.array(self.evidence.len());
        self.evidence.iter().for_each(|digest| w.bytes(&digest.0));
        w.array(self.events.len());
        for event in &self.events {
            // Long before memory is short.
            if w.len() > ENTRY_BYTES_MAX {
                break;
            }
            event.write(&mut w);
        }
        let bytes = w.into_bytes();
        // One place knows every bound: the reader.
        Self::decode(&bytes)?;
        Ok(bytes)
    }

    /// Reads an entry of any version there ever was.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(WHAT, bytes);
        if bytes.len() > ENTRY_BYTES_MAX {
            let why = format!("{} bytes are more than {ENTRY_BYTES_MAX}", bytes.len());
            return Err(r.wrong(ENTRY_BYTES_MAX, why));
        }
        // Whatever a version looks like, it is an array that begins with its number.
        let items = r.array("the entry", usize::MAX)?;
        let at = r.at();
        match r.unsigned("the version")? {
            1 => Self::decode_v1(r, items),
            other => Err(r.wrong(at, format!("its version is {other}; 1 is known"))),
        }
    }

    /// The hash of the entry in the tree.
    pub fn leaf(&self) -> Result<Hash, Malformed> {
        Ok(Hash::leaf(&self.encode()?))
    }

    fn decode_v1(mut r: Reader<'_>, items: usize) -> Result<Self, Malformed> {
        if items != 7 {
            return Err(r.wrong(0, format!("an entry of version 1 has 7 items, not {items}")));
        }
        let at = Timestamp::from_nanos(r.integer("the time")?);
        exactly(&mut r, 2, "the actor")?;
        let kind = read_name(&mut r, "the actor's kind")?;
        let id = read_text(&mut r, "the actor's id", ID_BYTES_MAX, |_| false)?;
        let command = Typed::read(&mut r, &COMMAND)?;
        let why = read_text(&mut r, "the reason", WHY_BYTES_MAX, |c| c == '\n')?;
        let mut evidence = BTreeSet::new();
        for _ in 0..r.array("the evidence", EVIDENCE_MAX)? {
            let at = r.at();
            let digest = r.bytes("a digest", 32)?;
            let length = digest.len();
            let digest = digest
                .try_into()
                .map(Hash)
                .map_err(|_| r.wrong(at, format!("a digest has {length} bytes instead of 32")))?;
            if evidence.last().is_some_and(|last| *last >= digest) {
                return Err(r.wrong(at, "digests are not in ascending order"));
            }
            evidence.insert(digest);
        }
        let mut events = Vec::new();
        for _ in 0..r.array("the events", EVENTS_MAX)? {
            events.push(Typed::read(&mut r, &EVENT)?);
        }
        r.end()?;
        Ok(Self { at, who: Actor { kind, id }, command, why, evidence, events })
    }
}

impl Typed {
    fn write(&self, w: &mut Writer) {
        w.array(3);
        w.text(self.name.as_str());
        w.unsigned(self.version.into());
        w.bytes(&self.payload);
    }

    fn read(r: &mut Reader<'_>, words: &Words) -> Result<Self, Malformed> {
        exactly(r, 3, words.whole)?;
        let name = read_name(r, words.name)?;
        let at = r.at();
        let version = u32::try_from(r.unsigned(words.version)?)
            .map_err(|_| r.wrong(at, format!("{} is not below 2^32", words.version)))?;
        let payload = r.bytes(words.payload, ENTRY_BYTES_MAX)?.to_vec();
        Ok(Self { name, version, payload })
    }
}

/// What the parts of a [`Typed`] are called when one is wrong.
struct Words {
    whole: &'static str,
    name: &'static str,
    version: &'static str,
    payload: &'static str,
}

const COMMAND: Words = Words {
    whole: "the command",
    name: "the type of the command",
    version: "the version of the command",
    payload: "the payload of the command",
};

const EVENT: Words = Words {
    whole: "an event",
    name: "the type of an event",
    version: "the version of an event",
    payload: "the payload of an event",
};

fn exactly(r: &mut Reader<'_>, items: usize, what: &str) -> Result<(), Malformed> {
    let at = r.at();
    match r.array(what, items)? {
        n if n == items => Ok(()),
        n => Err(r.wrong(at, format!("{what} has {items} items, not {n}"))),
    }
}

fn read_name(r: &mut Reader<'_>, what: &str) -> Result<Name, Malformed> {
    let text = r.text(what, NAME_BYTES_MAX)?;
    let begin = r.at() - text.len();
    check_name(text).map_err(|(at, why)| r.wrong(begin + at, format!("{what}: {why}")))?;
    Ok(Name(text.to_owned()))
}

fn read_text(
    r: &mut Reader<'_>,
    what: &str,
    bytes_max: usize,
    allowed: fn(char) -> bool,
) -> Result<String, Malformed> {
    let text = r.text(what, bytes_max)?;
    let begin = r.at() - text.len();
    if text.is_empty() {
        return Err(r.wrong(begin, format!("{what} is empty")));
    }
    match text.char_indices().find(|(_, c)| c.is_control() && !allowed(*c)) {
        Some((at, _)) => Err(r.wrong(begin + at, format!("{what} has a control character"))),
        None => Ok(text.to_owned()),
    }
}

/// Where a name is wrong, and why.
fn check_name(text: &str) -> Result<(), (usize, &'static str)> {
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err((0, "a name begins with a letter a-z"));
    }
    if text.len() > NAME_BYTES_MAX {
        return Err((NAME_BYTES_MAX, "a name has up to 64 characters"));
    }
    let wrong = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c));
    match text.find(wrong) {
        Some(at) => Err((at, "a name has only a-z 0-9 . _ -")),
        None => Ok(()),
    }
}
