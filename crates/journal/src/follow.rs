//! Follows a log from outside: each head that is seen has to extend the one before.
//!
//! What a monitor keeps is the last head. Tiles come from whoever serves the log and are believed in nothing: the proof that is
//! made of them either leads from the last head to the new one, or it does not.

use crate::Verifier;
use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::hash::Hash;
use crate::policy::{Believed, Distrust, Policy};
use crate::proof::{consistency, verify_consistency};
use crate::tree::{Nodes, root};

/// A log that is followed.
#[derive(Clone, Debug)]
pub struct Follower {
    policy: Policy,
    last: Option<SignedCheckpoint>,
}

/// A head that was seen and is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What changed.
    pub step: Step,
    /// Who vouches for it.
    pub believed: Believed,
}

/// What a good head is beside the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There was none; its tiles lead to it.
    First,
    /// It is the same.
    Same,
    /// It extends the last one.
    Grown {
        /// Entries of the last one.
        from: u64,
    },
}

/// Why a head is not good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken<E> {
    /// The policy does not believe it.
    #[error("the head does not count: {0}")]
    Distrusted(#[from] Distrust),
    /// It is of another log.
    #[error("the last head is of {seen}, this one of {offered}")]
    OtherLog {
        /// Origin of the last one.
        seen: String,
        /// Origin of this one.
        offered: String,
    },
    /// It has fewer entries.
    #[error("the log was rolled back: {seen} entries were signed and published, now {offered}")]
    RolledBack {
        /// Entries of the last one.
        seen: u64,
        /// Entries of this one.
        offered: u64,
    },
    /// Its entries are others: both heads, signed by the log, prove it.
    #[error(
        "the log was forked: its first {size} entries had the root {seen}, now they have {offered}"
    )]
    Forked {
        /// Entries of the last one.
        size: u64,
        /// Its root.
        seen: Hash,
        /// The root of as many entries now.
        offered: Hash,
    },
    /// The tiles do not lead to the head, so nothing shows that it extends the last one.
    #[error(
        "its tiles lead to the root {here}, not to {signed} of its {size} entries: they are damaged, or hide a fork"
    )]
    Damaged {
        /// Entries of the head.
        size: u64,
        /// Its root.
        signed: Hash,
        /// Where the tiles lead.
        here: Hash,
    },
    /// Its tiles contradict each other.
    #[error(
        "its tiles contradict each other: nothing shows that {size} entries extend the {last} before"
    )]
    Unproven {
        /// Entries of the last one.
        last: u64,
        /// Entries of the head.
        size: u64,
    },
    /// A hash cannot be had.
    #[error("{0}")]
    Nodes(E),
}

impl Follower {
    /// Begins with the last head that was seen, where there is one.
    pub const fn new(policy: Policy, last: Option<SignedCheckpoint>) -> Self {
        Self { policy, last }
    }

    /// The last good head.
    pub const fn last(&self) -> Option<&SignedCheckpoint> {
        self.last.as_ref()
    }

    /// Judges a head that the log published, with hashes that whoever serves it has. A good one is the last one from now on.
    pub fn see<N: Nodes + ?Sized>(
        &mut self,
        head: SignedCheckpoint,
        nodes: &N,
        verifier: &dyn Verifier,
    ) -> Result<Seen, Broken<N::Error>> {
        let believed = self.policy.judge(&head, verifier)?;
        let step = match &self.last {
            None => {
                leads_to(nodes, head.checkpoint())?;
                Step::First
            }
            Some(last) => step(last.checkpoint(), head.checkpoint(), nodes)?,
        };
        self.last = Some(head);
        Ok(Seen { step, believed })
    }
}

fn step<N: Nodes + ?Sized>(
    last: &Checkpoint,
    head: &Checkpoint,
    nodes: &N,
) -> Result<Step, Broken<N::Error>> {
    if last.origin != head.origin {
        let (seen, offered) = (last.origin.clone(), head.origin.clone());
        return Err(Broken::OtherLog { seen, offered });
    }
    if head.size < last.size {
        return Err(Broken::RolledBack { seen: last.size, offered: head.size });
    }
    if head.size == last.size {
        return match head.root == last.root {
            true => Ok(Step::Same),
            false => Err(Broken::Forked { size: last.size, seen: last.root, offered: head.root }),
        };
    }
    let grown = Step::Grown { from: last.size };
    if last.size == 0 {
        leads_to(nodes, head)?;
        return Ok(grown);
    }
    let proof = match consistency(nodes, last.size, head.size) {
        Ok(proof) => proof,
        Err(crate::proof::CannotProve::Nodes(e)) => return Err(Broken::Nodes(e)),
        Err(crate::proof::CannotProve::Nothing(_)) => Vec::new(),
    };
    if verify_consistency(last.size, &last.root, head.size, &head.root, &proof).is_ok() {
        return Ok(grown);
    }
    // Whose fault is it? Who serves the tiles can spoil them; a fork is only what another root is proven for.
    leads_to(nodes, head)?;
    let here = root(nodes, last.size).map_err(Broken::Nodes)?;
    let proven = verify_consistency(last.size, &here, head.size, &head.root, &proof).is_ok();
    match proven && here != last.root {
        true => Err(Broken::Forked { size: last.size, seen: last.root, offered: here }),
        false => Err(Broken::Unproven { last: last.size, size: head.size }),
    }
}

fn leads_to<N: Nodes + ?Sized>(nodes: &N, head: &Checkpoint) -> Result<(), Broken<N::Error>> {
    let here = root(nodes, head.size).map_err(Broken::Nodes)?;
    match here == head.root {
        true => Ok(()),
        false => Err(Broken::Damaged { size: head.size, signed: head.root, here }),
    }
}
