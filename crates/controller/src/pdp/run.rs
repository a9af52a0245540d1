//! Hearing of changes: one thread decides, another one makes what sites are sent from it.
//!
//! Deciding about one device takes a millisecond; bundles of many sites take a second when a device that many may reach has changed. What is
//! decided next does not wait for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use estate::Event;
use model::Timestamp;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;

use super::Pdp;
use super::scope::Scope;
use crate::hub::Told;

/// Between two sweeps.
const SWEEP_NANOS: i64 = 300_000_000_000;
/// A full disk does not empty by asking again at once.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// What is decided, on its way to sites.
struct Decided {
    /// Whom it concerns; `None`: nobody.
    concerned: Option<Scope>,
    /// Since when it is wanted.
    since: Timestamp,
    /// Entries of the journal that are decided about.
    to: u64,
}

impl Decided {
    /// Both at once, where something waits already.
    fn behind(self, waiting: Option<Self>) -> Self {
        let later = self;
        let Some(before) = waiting else { return later };
        let since = match (&before.concerned, &later.concerned) {
            (Some(_), Some(_)) => before.since.min(later.since),
            (None, Some(_)) => later.since,
            (_, None) => before.since,
        };
        let concerned = match (before.concerned, later.concerned) {
            (Some(a), Some(b)) => Some(a.and(b)),
            (a, b) => a.or(b),
        };
        Self { concerned, since, to: later.to }
    }
}

/// What was heard of and is not decided about yet.
#[derive(Default)]
struct Heard {
    /// About what, why, and since when.
    next: Option<(Scope, &'static str, Timestamp)>,
    /// Entries of the journal up to which all was heard of.
    to: u64,
    /// Anything was heard of.
    any: bool,
    /// Nobody can tell of changes any more.
    over: bool,
}

impl Heard {
    /// Those that came together are decided together.
    fn add(&mut self, (scope, because, since): (Scope, &'static str, Timestamp)) {
        self.any = true;
        self.next = Some(match self.next.take() {
            Some((a, other, at)) => (a.and(scope), because.max(other), since.min(at)),
            None => (scope, because, since),
        });
    }

    /// Hears of all that has come. What nobody hears of is kept for us, and too much of it is lost.
    fn take(&mut self, pdp: &Pdp, changes: &mut broadcast::Receiver<Arc<Told>>) {
        loop {
            match changes.try_recv() {
                Ok(change) => {
                    (self.any, self.to) = (true, change.entries.end);
                    if let Some(scope) = Scope::of(&change.events) {
                        self.add((scope, concerns(&change.events), change.at));
                    }
                }
                Err(TryRecvError::Lagged(_)) => {
                    self.to = pdp.hub.read(estate::Estate::size);
                    self.add((Scope::All, "sweep", pdp.hub.now()));
                }
                Err(TryRecvError::Closed) => {
                    self.over = true;
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }
}

impl Pdp {
    /// Hears of changes until it is told to stop. Runs on two threads: the caller's, and one of its own.
    pub fn run(&self, stop: &AtomicBool, told: &(dyn Fn(&str) + Sync)) {
        let (sender, decided) = channel();
        std::thread::scope(|threads| {
            threads.spawn(move || self.offering(stop, &decided, told));
            self.deciding(stop, &sender, told);
            // The other one ends when nothing more can come.
            drop(sender);
        });
    }

    fn deciding(&self, stop: &AtomicBool, decided: &Sender<Decided>, told: &dyn Fn(&str)) {
        let mut changes = self.hub.watch();
        let mut swept = self.hub.now();
        // What changed while nobody was here.
        let mut heard = Heard { to: self.hub.read(estate::Estate::size), ..Heard::default() };
        heard.add((Scope::All, "start", self.hub.now()));
        while !stop.load(Ordering::SeqCst) {
            // What is heard of while something is decided about is decided about after it.
            let (to, any) = (heard.to, std::mem::take(&mut heard.any));
            let tell = |concerned, since| decided.send(Decided { concerned, since, to });
            let taken = match heard.next.take() {
                Some((scope, because, since)) => {
                    let mut between = || heard.take(self, &mut changes);
                    match self.decide_about(scope.clone(), because, since, &mut between) {
                        Ok((_, concerned)) => tell(concerned, since),
                        Err(error) => {
                            told(&format!("decisions: {error}"));
                            std::thread::park_timeout(AGAIN);
                            heard.add((scope, because, since));
                            continue;
                        }
                    }
                }
                None if any => tell(None, self.hub.now()),
                None => Ok(()),
            };
            if taken.is_err() {
                told(
                    "decisions: nobody makes bundles of them any more; start the controller again",
                );
                return;
            }
            let now = self.hub.now();
            if now.as_nanos().saturating_sub(swept.as_nanos()) >= SWEEP_NANOS {
                swept = now;
                match self.sweep() {
                    Ok(0) => {}
                    Ok(found) => told(&format!(
                        "decisions: the sweep found {found} that were not made when they should have been"
                    )),
                    Err(error) => told(&format!("decisions: {error}")),
                }
                // Looked at again with the next change, should nobody be there.
                let _ = tell(Some(Scope::All), now);
            }
            heard.take(self, &mut changes);
            if heard.over {
                return;
            }
            // A site lets go of an exception by itself; that of one whose clock is behind ends here.
            if self.has_ended(now) {
                let next = heard.next.take();
                heard.next =
                    Some(next.map_or((Scope::All, "exception", now), |(_, because, since)| {
                        (Scope::All, because, since)
                    }));
            } else if !heard.any {
                std::thread::park_timeout(Duration::from_millis(1));
            }
        }
    }

    fn offering(&self, stop: &AtomicBool, decided: &Receiver<Decided>, told: &dyn Fn(&str)) {
        let mut next: Option<Decided> = None;
        while !stop.load(Ordering::SeqCst) {
            match decided.recv_timeout(LOOK) {
                Ok(one) => next = Some(one.behind(next)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // Those that came together are offered together.
            while let Ok(one) = decided.try_recv() {
                next = Some(one.behind(next));
            }
            let Some(Decided { concerned, since, to }) = next.take() else { continue };
            let offered = concerned.as_ref().map_or(Ok(()), |c| self.offer_to(c, since));
            match offered {
                Ok(()) => self.rests_on.store(to, Ordering::Release),
                Err(error) => {
                    told(&format!("bundles: {error}"));
                    std::thread::park_timeout(AGAIN);
                    next = Some(Decided { concerned, since, to });
                }
            }
        }
    }
}

/// What set decisions off.
fn concerns(events: &[Event]) -> &'static str {
    match events.iter().any(|event| matches!(event, Event::Policy(_))) {
        true => "policy",
        false => "device",
    }
}
