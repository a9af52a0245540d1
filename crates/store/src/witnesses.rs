//! The witnesses of a log that is written: all are asked at once, and a head is published when enough of them cosigned it.
//!
//! What the answers mean, [`journal::quorum`] knows; here are threads and time-outs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use journal::Verifier;
use journal::checkpoint::SignedCheckpoint;
use journal::policy::{Distrust, Policy};
use journal::quorum::{Answer, Ask, CannotAsk, Failure, Gathering};
use journal::tree::Nodes;

use crate::Wire;

/// How long an answer may still take when there is a quorum without it: who is slow shall not hold up the log, and who is quick shall
/// not be left out.
const GRACE: Duration = Duration::from_millis(200);
/// Longest wait for any answer, whatever the wire promises.
const PATIENCE: Duration = Duration::from_secs(60);

/// Witnesses, and how they are reached.
pub struct Witnesses {
    policy: Policy,
    wire: Arc<dyn Wire>,
    verifier: Box<dyn Verifier + Send + Sync>,
    /// Seconds since the epoch.
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Where each of them is, as far as is known.
    sizes: Vec<u64>,
    /// Set while a request to it is on its way.
    busy: Vec<Arc<AtomicBool>>,
}

/// A head that too few witnesses cosigned so far. It is signed, and not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// Since when a head has been waiting, in seconds since the epoch.
    pub since: u64,
    /// Entries of the head that waits.
    pub signed: u64,
    /// Entries that are published.
    pub published: u64,
    /// What is missing.
    pub why: Distrust,
    /// Witnesses that did not cosign, and why.
    pub missing: Vec<(String, Failure)>,
}

impl std::fmt::Display for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { signed, published, why, missing, .. } = self;
        write!(f, "{signed} entries are signed and {published} published: {why}")?;
        for (name, failure) in missing {
            write!(f, "; {name}: {failure}")?;
        }
        Ok(())
    }
}

/// How long is waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until everybody has answered.
    All,
    /// Until there is a quorum, and a little longer.
    Quorum,
}

/// What came of asking.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// The head with the cosignatures that came.
    pub(crate) head: SignedCheckpoint,
    /// How many of them.
    pub(crate) cosigned: usize,
    /// Whether they are a quorum.
    pub(crate) quorum: Result<(), Distrust>,
    /// Who did not, and why.
    pub(crate) missing: Vec<(String, Failure)>,
}

impl Witnesses {
    /// The witnesses of a policy. `clock` tells seconds since the epoch.
    pub fn new(
        policy: Policy,
        wire: Arc<dyn Wire>,
        verifier: Box<dyn Verifier + Send + Sync>,
        clock: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> Self {
        let busy = policy.witnesses().iter().map(|_| Arc::default()).collect();
        Self { policy, wire, verifier, clock, sizes: Vec::new(), busy }
    }

    /// Whom they are of.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }

    /// Asks for cosignatures of a head.
    pub(crate) fn gather<N: Nodes + ?Sized>(
        &mut self,
        head: SignedCheckpoint,
        nodes: &N,
        wait: Wait,
    ) -> Result<Gathered, CannotAsk<N::Error>> {
        let Self { policy, wire, verifier, sizes, busy, .. } = self;
        let verifier: &dyn Verifier = &**verifier;
        let mut gathering = Gathering::new(policy, head, sizes);
        let (answers, answered) = channel();
        let mut waiting = BTreeSet::new();
        loop {
            for ask in gathering.requests(nodes)? {
                let witness = ask.witness;
                match send(wire, ask, busy.get(witness), &answers) {
                    Ok(()) => {
                        waiting.insert(witness);
                    }
                    Err(failure) => gathering.failed(witness, failure),
                }
            }
            if waiting.is_empty() {
                break;
            }
            let enough = wait == Wait::Quorum && gathering.believed(verifier).is_ok();
            match answered.recv_timeout(if enough { GRACE } else { PATIENCE }) {
                Ok((witness, Ok(answer))) => {
                    waiting.remove(&witness);
                    gathering.answered(witness, &answer, verifier);
                }
                Ok((witness, Err(why))) => {
                    waiting.remove(&witness);
                    gathering.failed(witness, Failure::Unreachable(why));
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        for witness in waiting {
            gathering.failed(witness, Failure::Busy);
        }
        let gathered = Gathered {
            head: gathering.head().clone(),
            cosigned: gathering.cosigned(),
            quorum: gathering.believed(verifier).map(|_| ()),
            missing: gathering.failures().map(|(n, f)| (n.to_owned(), f.clone())).collect(),
        };
        let now = gathering.sizes();
        *sizes = now;
        Ok(gathered)
    }
}

/// Sends a request from a thread of its own: at most one is on its way to each witness.
fn send(
    wire: &Arc<dyn Wire>,
    ask: Ask,
    busy: Option<&Arc<AtomicBool>>,
    answers: &Sender<(usize, Result<Answer, String>)>,
) -> Result<(), Failure> {
    let Some(busy) = busy.cloned() else { return Err(Failure::NoAddress) };
    if busy.swap(true, Ordering::AcqRel) {
        return Err(Failure::Busy);
    }
    let (wire, answers, held) = (Arc::clone(wire), answers.clone(), Free(Arc::clone(&busy)));
    let run = move || {
        let Ask { witness, url, body } = ask;
        let answer = wire.post(&url, body);
        drop(held);
        // Nobody waits any more when there was a quorum without it.
        let _ = answers.send((witness, answer));
    };
    let thread = thread::Builder::new().name("witness".to_owned()).spawn(run);
    // A thread that did not start has dropped what it held.
    thread.map(drop).map_err(|e| Failure::Unreachable(e.to_string()))
}

/// Frees a witness for the next request, however the last one ends.
struct Free(Arc<AtomicBool>);

impl Drop for Free {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl std::fmt::Debug for Witnesses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witnesses").field("sizes", &self.sizes).finish_non_exhaustive()
    }
}
