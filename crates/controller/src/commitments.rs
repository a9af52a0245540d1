//! Signed commitments on their way into the journal: bytes, signatures, and one durable write for all that wait.
//!
//! ```text
//!  bytes ─▶ decode ─▶ which key? ─▶ signatures, on all cores ─▶ waits ─┐
//!  bytes ─▶ decode ─▶ …                                        waits ─┼─▶ hub: decided, durable, told ─▶ an answer for each
//! ```
//!
//! Whoever finds nobody writing takes along what others of the same sender brought meanwhile: a gateway that sends each commitment by itself waits
//! for the disk as often as one that gathers them. What became of each is known when it is durable, and not before.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use estate::commitments::{BATCH_MAX, Outcome};
use journal::commitment::{BYTES_MAX, SEQUENCE_MAX, Signed, Verified, check};
use journal::entry::Actor;
use model::{DeviceId, SiteId};
use serde::Serialize;
use tokio::sync::{Semaphore, oneshot};
use utoipa::ToSchema;

use crate::Hub;
use crate::api::Problem;

/// Bytes of one request.
pub(crate) const BODY_BYTES_MAX: usize = SEQUENCE_MAX * BYTES_MAX;
/// The media type of a sequence (RFC 8742).
pub(crate) const MEDIA: &str = "application/cbor-seq";
/// Signatures that are worth a thread.
const PART: usize = 16;
/// Signatures that are checked without one: less than a millisecond.
const FEW: usize = 4;
/// Requests that wait to be written.
const WAITING_MAX: usize = 1_024;

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

/// Where they wait, and what has been counted.
#[derive(Debug)]
pub(crate) struct Desk {
    /// Held by whoever writes.
    turn: Arc<tokio::sync::Mutex<()>>,
    waiting: Mutex<VecDeque<Waiting>>,
    /// Threads that check signatures.
    checking: Semaphore,
    accepted: AtomicU64,
    again: AtomicU64,
    found: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    who: Actor,
    batch: Vec<Verified>,
    answer: oneshot::Sender<Result<Vec<Outcome>, Problem>>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            turn: Arc::default(),
            waiting: Mutex::default(),
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

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first that waits, and all others of the same sender, as many as one command takes.
    fn group(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let Some(who) = waiting.front().map(|first| first.who.clone()) else {
            return Vec::new();
        };
        let (mut group, mut rest, mut size) = (Vec::new(), VecDeque::new(), 0_usize);
        for one in waiting.drain(..) {
            let with = size.saturating_add(one.batch.len());
            // What is behind one that does not fit stays behind it.
            if one.who == who && with <= BATCH_MAX {
                size = with;
                group.push(one);
            } else {
                if one.who == who {
                    size = BATCH_MAX;
                }
                rest.push_back(one);
            }
        }
        *waiting = rest;
        group
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

/// Waits until it is durable, together with what else waits.
async fn write(hub: &Arc<Hub>, who: Actor, batch: Vec<Verified>) -> Result<Vec<Outcome>, Problem> {
    let (answer, mut mine) = oneshot::channel();
    {
        let mut waiting = hub.desk().waiting();
        if waiting.len() >= WAITING_MAX {
            let why = "too many wait to be written";
            let mut problem = Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "commitment.busy",
                "the journal",
                why,
            );
            problem.retry_after_s = Some(1);
            return Err(problem);
        }
        waiting.push_back(Waiting { who, batch, answer });
    }
    loop {
        let turn = tokio::select! {
            biased;
            done = &mut mine => return done.unwrap_or_else(|error| Err(given_up(&error))),
            turn = Arc::clone(&hub.desk().turn).lock_owned() => turn,
        };
        let group = hub.desk().group();
        let at = Arc::clone(hub);
        // It goes on when whoever asked goes away: others wait for it too.
        let written = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            settle(&at, group);
        });
        written.await.map_err(|error| given_up(&error))?;
    }
}

fn settle(hub: &Hub, group: Vec<Waiting>) {
    let Some(who) = group.first().map(|first| first.who.clone()) else { return };
    let mut batch = Vec::new();
    let mut answers = Vec::new();
    for Waiting { batch: mut more, answer, .. } in group {
        answers.push((more.len(), answer));
        batch.append(&mut more);
    }
    let done = hub.commit(&who, "they are signed", batch).map_err(Problem::from);
    match done {
        Ok(outcomes) => {
            let mut outcomes = outcomes.into_iter();
            for (count, answer) in answers {
                // Whoever asked may have gone away.
                let _ = answer.send(Ok(outcomes.by_ref().take(count).collect()));
            }
        }
        Err(problem) => {
            for (_, answer) in answers {
                let _ = answer.send(Err(problem.clone()));
            }
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

fn given_up(error: &dyn std::fmt::Display) -> Problem {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Problem::new(status, "internal", "the request was given up", error.to_string())
}
