//! Exceptions: paths that somebody opens for a while, with an owner, a reason and an end.
//!
//! A policy folder may have exceptions of its own (`exceptions.toml`). These here are made at the controller, for any device of the estate, and
//! stay when another folder is set. Ending one is for both: an end that was said of a folder's exception holds although the same line is set
//! again, and is about that line only: with another expiry it is another decision.
//!
//! None lifts a forbid. Whether one is in force follows from the policy of the moment; here is what people decided.

use std::collections::BTreeMap;

use model::{DeviceId, ServiceId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::access::By;
use crate::{At, Refusal, Sort};

/// How long an exception lasts at most: 90 days. What is needed for longer is a policy.
pub const LIFE_S_MAX: i64 = 90 * 86_400;
/// Exceptions that have not ended.
pub const OPEN_MAX: usize = 10_000;
/// How long one that is over is shown.
pub const SHOWN_S: i64 = 90 * 86_400;

const REASON_BYTES_MAX: usize = 4_096;
const ID_CHARS_MAX: usize = 200;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// Its id.
    pub id: String,
    /// Device that may.
    pub from: DeviceId,
    /// What it may open.
    pub to: ServiceId,
    /// Team that answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// It ends by itself then.
    pub expires_at: Timestamp,
}

/// What can be commanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// A path opens for a while.
    Add {
        /// All of it.
        exception: Exception,
    },
    /// One that was made here ends now.
    End {
        /// Which.
        id: String,
    },
    /// One of the policy folder ends now.
    Close {
        /// Its name in the folder.
        id: String,
        /// Device that might.
        from: DeviceId,
        /// What it might open.
        to: ServiceId,
        /// When it would have ended.
        expires_at: Timestamp,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A path opens for a while.
    Added {
        /// All of it.
        exception: Exception,
    },
    /// One that was made here ended.
    Ended {
        /// Which.
        id: String,
        /// Device that might.
        from: DeviceId,
    },
    /// One of the policy folder ended.
    Closed {
        /// Its name in the folder.
        id: String,
        /// Device that might.
        from: DeviceId,
        /// What it might open.
        to: ServiceId,
        /// When it would have ended.
        expires_at: Timestamp,
    },
}

impl Event {
    /// Its word in the journal.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Added { .. } => "added",
            Self::Ended { .. } => "ended",
            Self::Closed { .. } => "closed",
        }
    }

    /// Name of the exception.
    pub fn id(&self) -> &str {
        match self {
            Self::Added { exception } => &exception.id,
            Self::Ended { id, .. } | Self::Closed { id, .. } => id,
        }
    }

    /// Device that it is about.
    pub const fn device(&self) -> &DeviceId {
        match self {
            Self::Added { exception } => &exception.from,
            Self::Ended { from, .. } | Self::Closed { from, .. } => from,
        }
    }
}

/// An exception that was made here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// What was asked for.
    pub exception: Exception,
    /// Who made it.
    pub by: By,
    /// When.
    pub at: Timestamp,
    /// Who ended it before its time, and when.
    pub ended: Option<Ended>,
    /// Number of the entry that changed it last.
    pub changed_by: u64,
}

/// An end before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Who said so.
    pub by: By,
    /// When.
    pub at: Timestamp,
}

/// An exception of a folder that somebody ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Closed {
    from: DeviceId,
    to: ServiceId,
    expires_at: Timestamp,
    ended: Ended,
}

impl Known {
    /// Whether it opens something now, as far as people decided.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.ended.is_none() && self.exception.expires_at > now
    }

    fn over_at(&self) -> Timestamp {
        self.ended.as_ref().map_or(self.exception.expires_at, |ended| ended.at)
    }
}

/// All exceptions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exceptions {
    made: BTreeMap<String, Known>,
    closed: BTreeMap<String, Closed>,
}

impl Exceptions {
    /// One that was made here.
    pub fn get(&self, id: &str) -> Option<&Known> {
        self.made.get(id)
    }

    /// Those that were made here, by id; what is over is here for [`SHOWN_S`].
    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.made.values()
    }

    /// Those that are open.
    pub fn open(&self, now: Timestamp) -> impl Iterator<Item = &Exception> {
        self.iter().filter(move |known| known.is_open(now)).map(|known| &known.exception)
    }

    /// Whether somebody ended this exception of a folder, and who.
    pub fn closed(
        &self,
        id: &str,
        from: &DeviceId,
        to: &ServiceId,
        expires_at: Timestamp,
    ) -> Option<&Ended> {
        let closed = self.closed.get(id)?;
        let same = (&closed.from, &closed.to, closed.expires_at) == (from, to, micros(expires_at));
        same.then_some(&closed.ended)
    }

    pub(crate) fn decide(&self, command: &Command, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Add { exception } => self.add(exception, now),
            Command::End { id } => {
                let known = self.made.get(id).ok_or_else(|| unknown(id))?;
                let from = known.exception.from.clone();
                let event = Event::Ended { id: id.clone(), from };
                Ok(if known.is_open(now) { vec![event] } else { Vec::new() })
            }
            Command::Close { id, from, to, expires_at } => {
                if id.is_empty() || id.chars().count() > ID_CHARS_MAX {
                    return Err(unknown(id));
                }
                let over = *expires_at <= now || self.closed(id, from, to, *expires_at).is_some();
                if !over && self.closed.len() >= OPEN_MAX {
                    let why = format!("{OPEN_MAX} of the folder are ended already");
                    return Err(Refusal::new(Sort::Full, "exception.full", title(id), why)
                        .help("take them out of `exceptions.toml`, and apply the folder"));
                }
                let (id, expires_at) = (id.clone(), micros(*expires_at));
                let event = Event::Closed { id, from: from.clone(), to: to.clone(), expires_at };
                Ok(if over { Vec::new() } else { vec![event] })
            }
        }
    }

    fn add(&self, wanted: &Exception, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        let what = || format!("{} to {}", wanted.from, wanted.to);
        let wrong = |code, why: String| Err(Refusal::new(Sort::Invalid, code, what(), why));
        let id = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if wanted.id.is_empty() || wanted.id.len() > 63 || !wanted.id.chars().all(id) {
            return wrong("exception.malformed", "its id is 1 to 63 of a-z A-Z 0-9 -".to_owned());
        }
        let fits = |c: char| !c.is_control() || c == '\n';
        let reason = &wanted.reason;
        if reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX || !reason.chars().all(fits)
        {
            let why = "an exception without a reason cannot be judged";
            return wrong("exception.reason", why.to_owned());
        }
        if wanted.expires_at <= now {
            let why = format!("it would have ended at {}, before it begins", wanted.expires_at);
            return wrong("exception.over", why);
        }
        if wanted.expires_at > later(now, LIFE_S_MAX) {
            let why = format!(
                "an exception ends within {} days, and this one at {}",
                LIFE_S_MAX / 86_400,
                wanted.expires_at
            );
            return Err(Refusal::new(Sort::Invalid, "exception.too-long", what(), why).help(
                "what is needed for longer is a policy: write a permit, and apply the folder",
            ));
        }
        if self.made.contains_key(&wanted.id) {
            let why = "there is one with this id";
            return Err(Refusal::new(Sort::Conflict, "exception.exists", title(&wanted.id), why));
        }
        let open: Vec<&Exception> = self.open(now).collect();
        if let Some(same) = open.iter().find(|e| e.from == wanted.from && e.to == wanted.to) {
            let why = format!("{} opens it until {}", same.id, same.expires_at);
            return Err(Refusal::new(Sort::Conflict, "exception.exists", what(), why).help(
                format!(
                    "to change its end: `ringfence exception end {}`, then add it anew",
                    same.id
                ),
            ));
        }
        if open.len() >= OPEN_MAX {
            let why = format!("there are {OPEN_MAX} that have not ended");
            return Err(Refusal::new(Sort::Full, "exception.full", what(), why)
                .help("end those that nobody needs: `ringfence exception list`"));
        }
        let expires_at = micros(wanted.expires_at);
        Ok(vec![Event::Added { exception: Exception { expires_at, ..wanted.clone() } }])
    }

    pub(crate) fn apply(&mut self, event: &Event, at: At<'_>) {
        let ended = || Ended { by: By::from(at.who), at: at.time };
        match event {
            Event::Added { exception } => {
                self.made.retain(|_, known| later(known.over_at(), SHOWN_S) > at.time);
                let known = Known {
                    exception: exception.clone(),
                    by: By::from(at.who),
                    at: at.time,
                    ended: None,
                    changed_by: at.entry,
                };
                self.made.insert(exception.id.clone(), known);
            }
            Event::Ended { id, .. } => {
                if let Some(known) = self.made.get_mut(id) {
                    (known.ended, known.changed_by) = (Some(ended()), at.entry);
                }
            }
            Event::Closed { id, from, to, expires_at } => {
                self.closed.retain(|_, closed| closed.expires_at > at.time);
                let (from, to) = (from.clone(), to.clone());
                let closed = Closed { from, to, expires_at: *expires_at, ended: ended() };
                self.closed.insert(id.clone(), closed);
            }
        }
    }
}

/// There is no such exception.
pub fn unknown(id: &str) -> Refusal {
    Refusal::new(Sort::Unknown, "exception.unknown", title(id), "there is none with this id")
        .help("`ringfence exception list` lists them")
}

fn title(id: &str) -> String {
    let id: String = id.chars().filter(|c| !c.is_control()).take(60).collect();
    format!("exception {id}")
}

fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.plus_nanos(seconds.saturating_mul(1_000_000_000))
}

/// A time as documents carry it.
fn micros(at: Timestamp) -> Timestamp {
    Timestamp::from_nanos(at.as_nanos() / 1_000 * 1_000)
}
