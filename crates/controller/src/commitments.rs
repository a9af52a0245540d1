//! Signed commitments on their way into the journal: bytes, signatures, and one durable write for all that wait.
//!
//! ```text
//!  bytes ─▶ decode ─▶ which key? ─▶ signatures, on all cores ─▶ waits ─┐
//!  bytes ─▶ decode ─▶ …                                        waits ─┼─▶ hub: decided, durable, told ─▶ an answer for each
//! ```
//!
//! They wait at a [`desk`], by sender.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;
use estate::commitments::{BATCH_MAX, Outcome};
use journal::commitment::{BYTES_MAX, SEQUENCE_MAX, Signed, Verified, check};
use journal::entry::Actor;
use model::{DeviceId, SiteId};
use serde::Serialize;
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use crate::Hub;
use crate::api::Problem;
use crate::desk::{self, given_up};

/// Bytes of one request.
pub(crate) const BODY_BYTES_MAX: usize = SEQUENCE_MAX * BYTES_MAX;
/// The media type of a sequence (RFC 8742).
pub(crate) const MEDIA: &str = "application/cbor-seq";
/// Signatures that are worth a thread.
const PART: usize = 16;
/// Signatures that are checked without one: less than a millisecond.
const FEW: usize = 4;

/// What became of a commitment, for whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CommitmentTaken)]
pub struct Item {
    /// `accepted`, `again`, or why not: `commitment.gap`….
    pub result: &'static str,
    /// The same in words; absent where it counts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// What became of commitments, in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CommitmentsTaken)]
pub struct Taken {
    /// Each of them.
    pub items: Vec<Item>,
}

/// Requests that wait to be written.
const WAITING_MAX: usize = 1_024;

/// Where they wait, and what has been counted.
#[derive(Debug)]
pub(crate) struct Desk {
    waiting: desk::Desk<Actor, Verified, Outcome>,
    /// Threads that check signatures.
    checking: Semaphore,
    accepted: AtomicU64,
    again: AtomicU64,
    found: AtomicU64,
    refused: AtomicU64,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            waiting: desk::Desk::new(BATCH_MAX, WAITING_MAX, "commitment.busy"),
            checking: Semaphore::new(cores()),
            accepted: AtomicU64::new(0),
            again: AtomicU64::new(0),
            found: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }
}

impl Desk {
    /// Commitments since the start, by what became of them.
    pub(crate) fn counted(&self) -> [(&'static str, u64); 4] {
        let Self { accepted, again, found, refused, .. } = self;
        [("accepted", accepted), ("again", again), ("found", found), ("refused", refused)]
            .map(|(word, count)| (word, count.load(Ordering::Relaxed)))
    }

    fn count(&self, outcome: Option<&Outcome>) {
        let count = match outcome {
            Some(Outcome::Accepted) => &self.accepted,
            Some(Outcome::Again) => &self.again,
            Some(Outcome::Refused { found: true, .. }) => &self.found,
            Some(Outcome::Refused { found: false, .. }) | None => &self.refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// A sequence of commitments, as bytes that may be anything.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Signed>, Problem> {
    Signed::decode_sequence(bytes).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "commitment.malformed",
            "the commitments",
            error.to_string(),
        )
        .help("none of them is taken; docs/site-line.md has the form")
    })
}

/// Takes what `who` sends. Only for devices at sites that `admits` says yes to.
pub(crate) async fn take(
    hub: &Arc<Hub>,
    who: Actor,
    signed: Vec<Signed>,
    admits: &(dyn Fn(&SiteId) -> bool + Sync),
) -> Result<Taken, Problem> {
    let checked = signatures(hub, signed, admits).await?;
    let batch: Vec<Verified> =
        checked.iter().filter_map(|item| item.as_ref().ok()).cloned().collect();
    let outcomes = match batch.is_empty() {
        true => Vec::new(),
        false => write(hub, who, batch).await?,
    };
    let mut outcomes = outcomes.into_iter();
    let items = checked.into_iter().map(|checked| match checked {
        Ok(_) => {
            let outcome = outcomes.next();
            hub.desk().count(outcome.as_ref());
            match outcome {
                Some(Outcome::Accepted) => Item { result: "accepted", why: String::new() },
                Some(Outcome::Again) => Item { result: "again", why: String::new() },
                Some(Outcome::Refused { code, why, .. }) => Item { result: code, why },
                None => Item { result: "internal", why: "it was lost on its way".to_owned() },
            }
        }
        Err(item) => {
            hub.desk().count(None);
            item
        }
    });
    Ok(Taken { items: items.collect() })
}

/// Checks signatures under the keys that are registered now. What is decided later is decided with the keys of then.
async fn signatures(
    hub: &Arc<Hub>,
    signed: Vec<Signed>,
    admits: &(dyn Fn(&SiteId) -> bool + Sync),
) -> Result<Vec<Result<Verified, Item>>, Problem> {
    let keys: Vec<_> = hub.read(|estate| {
        let key = |signed: &Signed| {
            let id = DeviceId::new(&signed.commitment.device).ok()?;
            estate.devices().get(&id).filter(|device| admits(&device.site))?;
            estate.commitments().key_of(&signed.commitment).copied()
        };
        signed.iter().map(key).collect()
    });
    let mut work: Vec<_> = signed.into_iter().zip(keys).collect();
    // Handing a few to another thread costs more than checking them.
    if work.len() <= FEW {
        return Ok(work.into_iter().map(verify).collect());
    }
    let each = work.len().div_ceil(cores()).max(PART);
    let mut parts = Vec::new();
    while !work.is_empty() {
        let rest = work.split_off(each.min(work.len()));
        let part = std::mem::replace(&mut work, rest);
        parts.push(part);
    }
    let mut under_way = Vec::new();
    for part in parts {
        let hub = Arc::clone(hub);
        under_way.push(tokio::spawn(async move {
            // Never closed.
            let _thread = hub.desk().checking.acquire().await;
            tokio::task::spawn_blocking(move || part.into_iter().map(verify).collect::<Vec<_>>())
                .await
        }));
    }
    let mut checked = Vec::new();
    for part in under_way {
        let part = part.await.and_then(|part| part).map_err(|error| given_up(&error))?;
        checked.extend(part);
    }
    Ok(checked)
}

fn verify(
    (signed, key): (Signed, Option<estate::commitments::PublicKey>),
) -> Result<Verified, Item> {
    let refused = |result, why: &str| Item { result, why: why.to_owned() };
    let Some(key) = key else {
        let why = "no such key is registered for this device and class";
        return Err(refused("commitment.key-unknown", why));
    };
    check(&signed, &key.0, &crypto::Provider)
        .map_err(|_| refused("commitment.signature", "its signature does not hold"))
}

/// Waits until it is durable, together with what the same sender brought meanwhile.
async fn write(hub: &Arc<Hub>, who: Actor, batch: Vec<Verified>) -> Result<Vec<Outcome>, Problem> {
    let at = Arc::clone(hub);
    let settle =
        move |who: &Actor, batch| at.commit(who, "they are signed", batch).map_err(Problem::from);
    hub.desk().waiting.write(who, batch, settle).await
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}
