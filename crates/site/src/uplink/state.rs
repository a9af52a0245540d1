//! What a site knows of its controller, and what it should enforce now because of it. Pure: clocks are looked at by the caller, and
//! sockets and files are the caller's.
//!
//! ```text
//! Bundle ─▶ Save ─▶ Offer (judge) ─▶ Judged ─▶ current
//!                                       │ refused: what was current stays, and goes on ageing
//! Lease, time ─▶ variant of current ─▶ Offer
//! ```
//!
//! Rules that hold whatever happens (the tests generate histories and check them):
//!
//! * a bundle is durable before any of it is offered, and none is offered that is older than one that was taken;
//! * files that are not what their digest says are never offered;
//! * held, expired or stale follows from the frames and from time, and from nothing else ([`super::reckon`]);
//! * after any history, one line on which the newest bundle and a lease come leads to that bundle, held.

use std::collections::BTreeMap;

use model::Timestamp;
use model::line::{Ack, Bundle, Delta, Files, Frame, Held, Progress, RevocationList};
use serde::{Deserialize, Serialize};

use super::reckon::{Kept, Look, Reckoning, Variant};
use super::words::{Standing, short};
use crate::folder;
use crate::life::Control;

/// One bundle, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Its number.
    pub generation: u64,
    /// SHA-256 over its files while leases hold, in hex.
    pub content: String,
    /// Those files.
    pub files: Files,
    /// What changes in them when leases have ended.
    pub expired: Delta,
    /// What changes in them when the staleness budget is used up too.
    pub stale: Delta,
    /// That budget, in seconds.
    pub stale_after_s: u32,
}

impl Taken {
    /// The files of a variant.
    pub fn variant(&self, variant: Variant) -> Files {
        match variant {
            Variant::Held => self.files.clone(),
            Variant::Expired => self.expired.over(&self.files),
            Variant::Stale => self.stale.over(&self.files),
        }
    }
}

/// What survives a restart, in a file of its own because it is large.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundles {
    /// The newest that can be enforced.
    pub current: Option<Taken>,
    /// A newer one that was not judged yet, or was refused.
    pub next: Option<Taken>,
}

/// What survives a restart and changes often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The reckoning of time.
    pub kept: Kept,
    /// The variant that was last ordered, where there was one.
    pub variant: Option<Variant>,
}

/// What is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The process is up.
    Started,
    /// The line is up.
    Connected,
    /// The line is down.
    Cut {
        /// Why.
        why: String,
    },
    /// The controller said this.
    Frame(Frame),
    /// An offer was looked at whole.
    Judged {
        /// Of which bundle.
        generation: u64,
        /// Why it cannot be enforced; none: it can.
        refused: Option<String>,
    },
    /// How far what is enforced has come.
    Stands(Standing),
    /// An acknowledgement reached the controller.
    Acked(Ack),
    /// [`Action::Save`] did not work, and nothing after it was done.
    Unsaved,
    /// Time has passed.
    Tick,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make [`State::bundles`] durable. What follows does not happen unless that worked.
    Save,
    /// Make [`State::mark`] durable.
    Mark,
    /// What is enforced changes because leases ended, or hold again: for the journal.
    Turned {
        /// To what.
        to: Variant,
    },
    /// Enforce this.
    Offer(Offer),
    /// Cut the line, and ask for a whole bundle on the next one.
    AskWhole,
    /// Keep these lists of revoked certificates.
    Lists {
        /// Roots and authorities (PEM).
        authorities: String,
        /// By authority.
        lists: Vec<RevocationList>,
    },
    /// Tell people.
    Find {
        /// Stable word.
        kind: &'static str,
        /// Whom it concerns.
        subject: String,
        /// One line.
        what: String,
    },
    /// What was told by this word is over.
    Over {
        /// Stable word.
        kind: &'static str,
    },
}

/// Files that are to be enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The bundle they are of.
    pub generation: u64,
    /// As what.
    pub variant: Variant,
    /// The files.
    pub files: Files,
    /// Its other variants, where none was judged yet: all have to be without fault, or the bundle is refused.
    pub others: Vec<Files>,
}

/// The state machine.
#[derive(Clone, Debug)]
pub struct State {
    bundles: Bundles,
    /// Contents of current's variants.
    contents: [String; 3],
    reckoning: Reckoning,
    ordered: Option<Variant>,
    /// What was offered last in this process.
    offered: Option<(u64, Variant)>,
    /// A bundle that is being judged.
    judging: Option<u64>,
    /// Why the next one is refused.
    refused: Option<String>,
    /// Why the current one cannot be enforced any more.
    failed: Option<String>,
    standing: Option<Standing>,
    connected: bool,
    /// Since when it is up or down, and why it is down.
    since: Timestamp,
    why_cut: String,
    whole: bool,
    acked: BTreeMap<u64, Ack>,
    wrong: bool,
    differs: bool,
    marked_nanos: i64,
}

/// Nanoseconds between two marks while nothing happens.
pub const MARK_NANOS: i64 = 30_000_000_000;
/// A content that no bundle has: who names it gets a whole one.
const NO_CONTENT: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl State {
    /// Goes on from what was saved.
    pub fn new(bundles: Bundles, mark: Option<Mark>, look: Look) -> Self {
        let contents = bundles.current.as_ref().map(contents).unwrap_or_default();
        // A mark that was lost says nothing of leases: they have ended now, and the budget begins.
        let unknown =
            Kept { seen: look.wall, there: look.wall, ahead_nanos: 0, until: Some(look.wall) };
        let kept = mark.map(|mark| mark.kept).or(bundles.current.is_some().then_some(unknown));
        Self {
            contents,
            bundles,
            reckoning: Reckoning::new(kept, look),
            ordered: mark.and_then(|mark| mark.variant),
            offered: None,
            judging: None,
            refused: None,
            failed: None,
            standing: None,
            connected: false,
            since: look.wall,
            why_cut: "not connected yet".to_owned(),
            whole: false,
            acked: BTreeMap::new(),
            wrong: false,
            differs: false,
            marked_nanos: look.running_nanos,
        }
    }

    /// What must survive, the large part.
    pub const fn bundles(&self) -> &Bundles {
        &self.bundles
    }

    /// What must survive, the small part.
    pub const fn mark(&self) -> Mark {
        Mark { kept: self.reckoning.kept(), variant: self.ordered }
    }

    /// The reckoning of time.
    pub const fn reckoning(&self) -> &Reckoning {
        &self.reckoning
    }

    /// What to ask the controller with: the generation that is current (so one that was refused comes again, and is refused again), and the
    /// content that changes can be said against.
    pub fn held(&self) -> (u64, &str) {
        let current = self.bundles.current.as_ref();
        let held = current.map_or((0, NO_CONTENT), |b| (b.generation, b.content.as_str()));
        if self.whole { (held.0, NO_CONTENT) } else { held }
    }

    /// What the site should enforce now.
    pub fn variant(&self) -> Option<(u64, Variant)> {
        let current = self.bundles.current.as_ref()?;
        Some((current.generation, self.reckoning.variant(current.stale_after_s)))
    }

    /// Whether the line is up, since when it is or is not, and why it is not.
    pub fn connected(&self) -> (bool, Timestamp, &str) {
        (self.connected, self.since, &self.why_cut)
    }

    /// The highest generation taken; 0: none.
    pub fn floor(&self) -> u64 {
        let next = self.bundles.next.iter().chain(&self.bundles.current);
        next.map(|bundle| bundle.generation).max().unwrap_or(0)
    }

    /// How far the bundle taken last has come, and why it is no further.
    pub fn progress(&self) -> Option<Ack> {
        self.acks().into_iter().next_back()
    }

    /// Acknowledgements that the controller does not have.
    pub fn acks_due(&self) -> Vec<Ack> {
        let due = |ack: &Ack| self.connected && self.acked.get(&ack.generation) != Some(ack);
        self.acks().into_iter().filter(due).collect()
    }

    /// Takes what happened and says what to do.
    pub fn handle(&mut self, look: Look, input: Input) -> Vec<Action> {
        let until = self.reckoning.kept().until;
        let mut actions = match input {
            Input::Started | Input::Tick => {
                self.reckoning.look(look);
                Vec::new()
            }
            Input::Connected => {
                (self.connected, self.since, self.whole) = (true, look.wall, false);
                self.acked.clear();
                Vec::new()
            }
            Input::Cut { why } => {
                if self.connected {
                    (self.connected, self.since) = (false, look.wall);
                }
                self.why_cut = why;
                Vec::new()
            }
            Input::Frame(Frame::Lease { until, now, .. }) => {
                self.reckoning.lease(look, until, now);
                Vec::new()
            }
            Input::Frame(Frame::Bundle(bundle)) => self.bundle(look, *bundle),
            Input::Frame(Frame::Revoked { authorities, lists }) => {
                vec![Action::Lists { authorities, lists }]
            }
            Input::Judged { generation, refused } => self.judged(generation, refused),
            Input::Stands(standing) => {
                self.standing = Some(standing);
                Vec::new()
            }
            Input::Acked(ack) => {
                self.acked.insert(ack.generation, ack);
                Vec::new()
            }
            Input::Unsaved => {
                // Nobody has heard of it; the controller is asked again.
                (self.bundles.next, self.judging, self.offered) = (None, None, None);
                vec![Action::AskWhole]
            }
        };
        self.clocks(look, &mut actions);
        let turned = self.decide(&mut actions);
        let quiet = look.running_nanos.saturating_sub(self.marked_nanos) < MARK_NANOS;
        if turned || until != self.reckoning.kept().until || !quiet {
            self.marked_nanos = look.running_nanos;
            // Before an offer: after a restart the same must come out.
            actions.insert(0, Action::Mark);
        }
        actions
    }

    fn bundle(&mut self, look: Look, bundle: Bundle) -> Vec<Action> {
        let generation = bundle.generation;
        let find = |kind, what| {
            vec![Action::Find { kind, subject: format!("generation {generation}"), what }]
        };
        let floor = self.floor();
        if generation < floor || generation == 0 {
            let what = format!(
                "the controller offers generation {generation}, and generation {floor} was taken: refused; was the controller put back to an older state?"
            );
            return find("older-bundle", what);
        }
        let until = bundle.lease_until;
        let taken = match self.whole(bundle) {
            Ok(taken) => taken,
            Err(why) => {
                self.whole = true;
                let mut actions = find("damaged-bundle", why);
                actions.push(Action::AskWhole);
                return actions;
            }
        };
        let same = self.bundles.next.iter().chain(&self.bundles.current);
        if let Some(known) = same.into_iter().find(|known| known.generation == generation) {
            if known.content != taken.content {
                let what = format!(
                    "the controller offers another content as generation {generation}, which was taken as {}: refused",
                    short(&known.content)
                );
                return find("older-bundle", what);
            }
            self.reckoning.bundle(look, until);
            if *known == taken {
                return Vec::new();
            }
        } else {
            self.reckoning.bundle(look, until);
        }
        self.bundles.next = Some(taken);
        (self.refused, self.judging) = (None, None);
        vec![Action::Save]
    }

    fn whole(&self, bundle: Bundle) -> Result<Taken, String> {
        let files = match bundle.held {
            Held::Whole { files } => files,
            Held::Since { content, delta } => {
                let known = self.bundles.current.iter().chain(&self.bundles.next);
                let base = known.into_iter().find(|known| known.content == content);
                let base = base.ok_or_else(|| {
                    format!("it says what changed since {}, which is not here", short(&content))
                })?;
                delta.over(&base.files)
            }
        };
        let content = folder::name(&files);
        if content != bundle.content {
            return Err(format!(
                "its files are {}, and it says {}: refused, and asked for again",
                short(&content),
                short(&bundle.content)
            ));
        }
        Ok(Taken {
            generation: bundle.generation,
            content,
            files,
            expired: bundle.expired,
            stale: bundle.stale,
            stale_after_s: bundle.stale_after_s,
        })
    }

    fn judged(&mut self, generation: u64, refused: Option<String>) -> Vec<Action> {
        let next = self.bundles.next.as_ref().is_some_and(|next| next.generation == generation);
        if next && self.judging == Some(generation) {
            self.judging = None;
            if refused.is_some() {
                self.refused = refused;
                return Vec::new();
            }
            self.bundles.current = self.bundles.next.take();
            self.contents = self.bundles.current.as_ref().map(contents).unwrap_or_default();
            self.failed = None;
            return vec![Action::Save];
        }
        let current = self.bundles.current.as_ref();
        if current.is_some_and(|current| current.generation == generation) {
            self.failed = refused;
        }
        Vec::new()
    }

    /// Orders what should be enforced, where that is not what was ordered last; says whether the variant changed.
    fn decide(&mut self, actions: &mut Vec<Action>) -> bool {
        if self.judging.is_some() {
            return false;
        }
        if let (Some(next), None) = (&self.bundles.next, &self.refused) {
            let generation = next.generation;
            let variant = self.reckoning.variant(next.stale_after_s);
            let others = [Variant::Held, Variant::Expired, Variant::Stale];
            let others = others.into_iter().filter(|other| *other != variant);
            let others = others.map(|other| next.variant(other)).collect();
            let offer = Offer { generation, variant, files: next.variant(variant), others };
            self.judging = Some(generation);
            self.offered = Some((generation, variant));
            actions.push(Action::Offer(offer));
            // It is in force only once it was judged.
            return false;
        }
        let Some((generation, variant)) = self.variant() else {
            return false;
        };
        let turned = self.ordered != Some(variant);
        if turned && (self.ordered.is_some() || variant != Variant::Held) {
            actions.push(Action::Turned { to: variant });
        }
        self.ordered = Some(variant);
        if self.offered != Some((generation, variant))
            && let Some(current) = &self.bundles.current
        {
            let files = current.variant(variant);
            actions.push(Action::Offer(Offer { generation, variant, files, others: Vec::new() }));
            self.offered = Some((generation, variant));
        }
        turned
    }

    fn clocks(&mut self, look: Look, actions: &mut Vec<Action>) {
        let wrong = self.reckoning.wrong(look.wall);
        let differs = self.reckoning.differs();
        let words = [
            ("clock-wrong", wrong, &mut self.wrong),
            ("clock-differs", differs, &mut self.differs),
        ];
        for (kind, what, told) in words {
            if what.is_some() == *told {
                continue;
            }
            *told = what.is_some();
            actions.push(match what {
                Some(what) => Action::Find { kind, subject: "clock".to_owned(), what },
                None => Action::Over { kind },
            });
        }
    }

    /// The state of each bundle that is known, the newest last.
    fn acks(&self) -> Vec<Ack> {
        let current = self.bundles.current.as_ref().and_then(|current| {
            let generation = current.generation;
            if let Some(why) = &self.failed {
                return Some(refused(generation, why));
            }
            let standing = self.standing.as_ref()?;
            if !self.contents.contains(&standing.content) {
                return None;
            }
            let why = standing.why.clone().unwrap_or_default();
            let progress = match standing.control {
                Control::Intended if why.is_empty() => return None,
                Control::Intended => Progress::Refused,
                Control::Applied => Progress::Applied,
                Control::Verified => Progress::Verified,
            };
            let kernel_generation = Some(standing.generation);
            Some(Ack { generation, progress, kernel_generation, why })
        });
        let next = self.bundles.next.as_ref().zip(self.refused.as_ref());
        let next = next.map(|(next, why)| refused(next.generation, why));
        // Of one generation with other deltas the later word counts.
        let newer = next.as_ref().map(|next| next.generation);
        let current = current.filter(|current| Some(current.generation) != newer);
        current.into_iter().chain(next).collect()
    }
}

fn refused(generation: u64, why: &str) -> Ack {
    let why = why.to_owned();
    Ack { generation, progress: Progress::Refused, kernel_generation: None, why }
}

fn contents(bundle: &Taken) -> [String; 3] {
    [Variant::Held, Variant::Expired, Variant::Stale]
        .map(|variant| folder::name(&bundle.variant(variant)))
}

#[cfg(test)]
mod tests;
