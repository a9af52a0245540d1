//! What a controller and a site say to each other over the line: version 1.
//!
//! One HTTP/2 connection, TLS with certificates on both sides. The controller answers `GET /site/v1/bundles` with frames that never end;
//! everything else a site says is a request of its own on the same connection.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /site/v1/enrol` (no certificate yet) | [`Enrol`] | [`Chain`] |
//! | `GET /site/v1/bundles?held=GENERATION&content=HEX&lists=1` | – | 200, frames of [`Frame`]; without `lists=1` none of [`Frame::Revoked`] |
//! | `POST /site/v1/acks` | [`Ack`] | 204 |
//! | `POST /site/v1/observations` | zstd of [`Batch`] | 200 [`Taken`]; 429 with `Retry-After`: later |
//! | `POST /site/v1/traffic` | zstd of [`Traffic`] | 204; 429 with `Retry-After`: later |
//! | `POST /site/v1/renew` | [`Renew`] | [`Chain`] |
//!
//! What is refused is `application/problem+json` (RFC 9457). Documents are JSON; fields that a reader does not know are passed over, so that
//! one side may be newer than the other.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::observation::Transport;
use crate::{Mac, SiteId, Timestamp};

/// Bytes of the length in front of a frame, the highest first.
pub const HEAD_BYTES: usize = 4;
/// Largest frame, in bytes: a whole bundle of the largest site.
pub const FRAME_BYTES_MAX: u32 = 256 << 20;
/// Events of one batch.
pub const EVENTS_MAX: usize = 1_000;
/// Devices of one batch.
pub const DEVICES_MAX: usize = 1_000;
/// Flows of one report of traffic.
pub const FLOWS_MAX: usize = 1_000;
/// Bytes of a batch or of a report of traffic after decompression.
pub const BATCH_BYTES_MAX: usize = 8 << 20;

/// Relative path → text.
pub type Files = BTreeMap<String, String>;

/// A site that has a one-time token asks for its first certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    /// The secret of the token, as it was given.
    pub secret: String,
    /// Certificate request (PKCS #10, PEM).
    pub csr: String,
}

/// A site asks for its next certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// Certificate request (PKCS #10, PEM); the key may be a new one.
    pub csr: String,
}

/// What a site is from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Which site it is.
    pub site: SiteId,
    /// Its certificate, then those up to the root, which is the last (PEM, one after the other).
    pub pem: String,
    /// The present as the controller sees it: a site whose clock is far away says so.
    pub now: Timestamp,
}

/// What a controller says, in the order in which it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "kebab-case")]
pub enum Frame {
    /// What the site is meant to enforce.
    Bundle(Box<Bundle>),
    /// The leases of what it enforces hold until then. Sent again and again: it is also how each side knows that the other one is there.
    Lease {
        /// The generation that was offered last; 0: none.
        generation: u64,
        /// Until when.
        until: Timestamp,
        /// The present as the controller sees it.
        now: Timestamp,
    },
    /// Whose certificates do not count any more, as lists of all authorities that have issued some which would. Sent when somebody was revoked, and
    /// again before lists run out.
    Revoked {
        /// Roots and authorities below them whose certificates count (PEM, one after the other).
        authorities: String,
        /// One for each authority that issues, or did.
        lists: Vec<RevocationList>,
    },
}

/// What an authority has revoked (RFC 5280).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationList {
    /// The authority (certificate, PEM), which signed both lists.
    pub authority: String,
    /// The complete list (X509 CRL, PEM); none: the one that was sent before.
    pub complete: Option<String>,
    /// What changed since a complete list that is at most a day old (X509 CRL, PEM): since the one that was sent last, or one before it.
    pub delta: String,
}

/// One generation of what a site is meant to enforce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Its number at this site; only grows.
    pub generation: u64,
    /// SHA-256 over the files in force (names and texts, each with its length in front), in hex.
    pub content: String,
    /// The files while leases hold.
    pub held: Held,
    /// What changes in them when leases have ended and the controller is out of reach: only what is critical to availability goes on.
    pub expired: Delta,
    /// What changes in them when that has lasted for the staleness budget: nothing is granted.
    pub stale: Delta,
    /// Leases hold until then, unless a later [`Frame::Lease`] says more.
    pub lease_until: Timestamp,
    /// Seconds after the end of leases for which `expired` holds.
    pub stale_after_s: u32,
}

/// How the files come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "as", rename_all = "kebab-case")]
pub enum Held {
    /// All of them.
    Whole {
        /// The files.
        files: Files,
    },
    /// What changed since the content that the site said it holds.
    Since {
        /// That content.
        content: String,
        /// What changed.
        delta: Delta,
    },
}

/// The way from some files to others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// New, or with another text.
    pub set: Files,
    /// Not there any more.
    pub drop: Vec<String>,
}

impl Delta {
    /// From `a` to `b`.
    pub fn between(a: &Files, b: &Files) -> Self {
        let changed = |(path, text): &(&String, &String)| a.get(*path) != Some(*text);
        let set = b.iter().filter(changed).map(|(p, t)| (p.clone(), t.clone())).collect();
        Self { set, drop: a.keys().filter(|path| !b.contains_key(*path)).cloned().collect() }
    }

    /// What `files` become.
    pub fn over(&self, files: &Files) -> Files {
        let mut files = files.clone();
        self.drop.iter().for_each(|path| drop(files.remove(path)));
        files.extend(self.set.clone());
        files
    }
}

/// What a site says of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Which.
    pub generation: u64,
    /// How far it is.
    pub progress: Progress,
    /// Generation of the kernel's ruleset, which the site numbers by itself.
    pub kernel_generation: Option<u64>,
    /// Why it is no further; empty where it is.
    pub why: String,
}

/// How far something is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// The site refuses it, or its kernel does; what was there before stays.
    Refused,
    /// The kernel took it.
    Applied,
    /// It was read back.
    Verified,
}

/// What a site saw and did, in order. A batch that was sent twice counts once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Its number at this site, from 1, without gaps.
    pub number: u64,
    /// What happened, also while the line was cut.
    pub events: Vec<Happened>,
    /// Devices that were seen since the last batch.
    pub devices: Vec<Sighting>,
}

/// One thing that happened at a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// When, by the site's clock.
    pub at: Timestamp,
    /// Stable word: `leases-ended`, `break-glass`, `rules-changed-by-others`….
    pub kind: String,
    /// Whom or what it concerns.
    pub subject: String,
    /// One line.
    pub what: String,
}

/// A device as a site's sensor knows it now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sighting {
    /// Link addresses.
    pub macs: Vec<String>,
    /// Network addresses.
    pub ips: Vec<String>,
    /// `serial:…`, `duid:…`, `uuid:…`: what identifies it beyond addresses.
    pub keys: Vec<String>,
    /// Attribute → value and confidence (0 to 1): `vendor`, `model`, `type`, `firmware`, `hostname`….
    pub attributes: BTreeMap<String, (String, f32)>,
    /// When it was seen last.
    pub seen_at: Timestamp,
}

/// What crossed a site's wire since it told of that last. Telemetry: it is in no journal, and what a site had not told when it ended is lost.
/// A report that was sent twice counts once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// When the site's process began: numbers are of one run.
    pub run: Timestamp,
    /// Its number in this run, from 1; only grows.
    pub number: u64,
    /// Who talked to whom.
    pub flows: Vec<Flow>,
}

/// What went over one path within one hour, as far as it was not told of before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Who called.
    pub client: End,
    /// Who was called.
    pub server: End,
    /// Over what.
    pub transport: Transport,
    /// Port of the server, or the number of the protocol where there are none.
    pub port: u16,
    /// Application protocol, where its bytes were recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Name by which the client knew the server (DNS answer, TLS SNI, HTTP Host).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who called is known, and not only that both talked.
    pub certain: bool,
    /// First packet.
    pub first: Timestamp,
    /// Last packet; the hour it falls in is the one that all of this counts for.
    pub last: Timestamp,
    /// Connections or exchanges that began.
    pub flows: u64,
    /// Packets from the client, and from the server.
    pub packets: [u64; 2],
    /// Bytes from the client, and from the server, as on the wire.
    pub bytes: [u64; 2],
}

/// One end of a path, as it was on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct End {
    /// Link address; a router's, where the host is behind one.
    pub mac: Mac,
    /// Network address, where there is one.
    pub ip: Option<IpAddr>,
}

/// A batch that is durable at the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The highest number that is.
    pub number: u64,
}

/// More than is taken in one frame; nothing after it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {said} bytes is announced, and {max} is the most")]
pub struct TooLong {
    /// What was announced.
    pub said: u32,
    /// What is taken.
    pub max: u32,
}

/// Puts frames together from bytes that come in any pieces.
#[derive(Debug)]
pub struct FrameReader {
    max: u32,
    held: Vec<u8>,
    broken: Option<TooLong>,
}

impl FrameReader {
    /// A reader of frames of at most so many bytes.
    pub const fn new(max: u32) -> Self {
        Self { max, held: Vec::new(), broken: None }
    }

    /// Takes what came, and gives the frames that are whole with it. What is held never exceeds one frame.
    /// A frame that is too long is the answer in place of all that came with it, and the answer from then on.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let mut whole = Vec::new();
        loop {
            self.fill(HEAD_BYTES, &mut bytes);
            let Some((head, _)) = self.held.split_first_chunk::<HEAD_BYTES>() else {
                return Ok(whole);
            };
            let said = u32::from_be_bytes(*head);
            if said > self.max {
                let broken = TooLong { said, max: self.max };
                self.held = Vec::new();
                self.broken = Some(broken);
                return Err(broken);
            }
            let end = HEAD_BYTES.saturating_add(usize::try_from(said).unwrap_or(usize::MAX));
            self.fill(end, &mut bytes);
            if self.held.len() < end {
                return Ok(whole);
            }
            whole.push(self.held.split_off(HEAD_BYTES));
            self.held.clear();
        }
    }

    /// Moves bytes over until so many are held.
    fn fill(&mut self, until: usize, bytes: &mut &[u8]) {
        let missing = until.saturating_sub(self.held.len()).min(bytes.len());
        let (now, later) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        self.held.extend_from_slice(now);
        *bytes = later;
    }
}

/// A frame as it goes over the line; `None`: it is longer than [`FRAME_BYTES_MAX`].
pub fn framed(payload: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(payload.len()).ok().filter(|length| *length <= FRAME_BYTES_MAX)?;
    let mut frame = Vec::with_capacity(payload.len().saturating_add(HEAD_BYTES));
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(payload);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cut in 1_usize..50,
        ) {
            let sent: Vec<u8> = frames.iter().flat_map(|frame| framed(frame).unwrap()).collect();
            let mut reader = FrameReader::new(40);
            let mut got = Vec::new();
            for piece in sent.chunks(cut) {
                got.extend(reader.take(piece).unwrap());
            }
            prop_assert_eq!(got, frames);
        }

        #[test]
        fn hostile_bytes_hold_no_more_than_one_frame(
            pieces in prop::collection::vec(prop::collection::vec(0_u8..3, 0..30), 0..20),
        ) {
            let mut reader = FrameReader::new(600);
            for piece in pieces {
                let _ = reader.take(&piece);
                prop_assert!(reader.held.len() < 604);
            }
        }

        #[test]
        fn a_delta_leads_from_one_to_the_other(
            a in prop::collection::btree_map("[a-c]", "[x-z]", 0..4),
            b in prop::collection::btree_map("[a-c]", "[x-z]", 0..4),
        ) {
            let delta = Delta::between(&a, &b);
            prop_assert_eq!(delta.over(&a), b.clone());
            prop_assert_eq!(Delta::between(&b, &b), Delta::default());
        }
    }

    #[test]
    fn a_frame_too_long_is_refused_at_its_length_and_for_ever() {
        let mut reader = FrameReader::new(3);
        let broken = TooLong { said: 4, max: 3 };
        assert_eq!(reader.take(&[0, 0, 0, 4]), Err(broken));
        assert_eq!(reader.take(&[0, 0, 0, 1, 9]), Err(broken));
    }

    #[test]
    fn frames_have_one_form() {
        let until = Timestamp::from_secs(1_000, 0);
        let frame = Frame::Lease { generation: 7, until, now: Timestamp::from_secs(700, 0) };
        let text = r#"{"frame":"lease","generation":7,"until":"1970-01-01T00:16:40.000000Z","now":"1970-01-01T00:11:40.000000Z"}"#;
        assert_eq!(serde_json::to_string(&frame).unwrap(), text);
        let newer = text.replace("\"generation\"", "\"later\":1,\"generation\"");
        assert_eq!(serde_json::from_str::<Frame>(&newer).unwrap(), frame);
    }
}
