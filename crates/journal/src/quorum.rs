//! Gathers the cosignatures of a head: the log's side of C2SP tlog-witness, for all witnesses of a policy at once.
//!
//! A state machine without network and clock. Whoever runs it sends what [`Gathering::requests`] gives, and tells what came
//! back ([`Gathering::answered`], [`Gathering::failed`]), until the policy believes the head ([`Gathering::believed`]) or
//! there is nothing to send and nothing to wait for ([`Gathering::is_done`]).
//!
//! A witness that holds more entries than the head, or others, says that this log is an older copy or a fork of one that was
//! cosigned ([`Failure::is_alarm`]): then nothing may be signed.

use crate::checkpoint::{SignedCheckpoint, read_size};
use crate::policy::{Believed, Distrust, Policy};
use crate::proof::{CannotProve, consistency};
use crate::tree::Nodes;
use crate::witness::{AddCheckpoint, BadAnswer, accept};
use crate::{Malformed, Verifier};

/// How often one witness is asked about one head: from where it is believed to be, from where it says it is, and again when
/// another request moved it meanwhile.
const TRIES_MAX: u8 = 4;
/// The type of a 409's body.
const SIZE_TYPE: &str = "text/x.tlog.size";
/// Longest text of a foreign refusal that is kept, in characters.
const SAID_MAX: usize = 200;

/// One head on its way to the witnesses of a policy.
#[derive(Clone, Debug)]
pub struct Gathering<'a> {
    policy: &'a Policy,
    head: SignedCheckpoint,
    asked: Vec<Asked>,
}

#[derive(Clone, Debug)]
struct Asked {
    /// Size of the last head that it cosigned, as far as is known.
    old: u64,
    tries: u8,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    ToAsk,
    Waiting,
    Cosigned,
    Failed(Failure),
}

/// A request to be sent: a POST of `body` to `url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which witness of the policy.
    pub witness: usize,
    /// Where to.
    pub url: String,
    /// The body.
    pub body: String,
}

/// What came back over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The `Content-Type`, if there is one.
    pub kind: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why a witness has not cosigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The policy does not say where it is.
    #[error("the policy has no address of it")]
    NoAddress,
    /// There is no answer.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It has not answered the last request yet.
    #[error("it has not answered what was sent before")]
    Busy,
    /// It cosigned more entries than the head has.
    #[error(
        "it has cosigned {theirs} entries and {ours} were signed here: this is an older copy of the log, \
         or somebody else signs with its key; restore the newest copy"
    )]
    Ahead {
        /// Entries that it cosigned.
        theirs: u64,
        /// Entries of the head.
        ours: u64,
    },
    /// It does not find that the head extends what it cosigned, and the proof was good here.
    #[error("it has cosigned another history than the {ours} entries here: {said}")]
    Disagrees {
        /// Entries of the head.
        ours: u64,
        /// Its words.
        said: String,
    },
    /// It refuses for another reason.
    #[error("it refuses with {status}: {said}")]
    Refused {
        /// The status.
        status: u16,
        /// Its words.
        said: String,
    },
    /// It moves on with every request.
    #[error("it names another size each time it is asked")]
    Restless,
    /// What it answers is no cosignature of this head.
    #[error("its answer is of no use: {0}")]
    Useless(BadAnswer),
}

impl Failure {
    /// Whether it says that the log was rolled back or forked, rather than that a witness is away.
    pub const fn is_alarm(&self) -> bool {
        matches!(self, Self::Ahead { .. } | Self::Disagrees { .. })
    }
}

impl<'a> Gathering<'a> {
    /// Begins with a head that the log signed. `sizes` are the sizes of the heads that each witness of the policy is believed to have
    /// cosigned last; a wrong one costs a request.
    pub fn new(policy: &'a Policy, head: SignedCheckpoint, sizes: &[u64]) -> Self {
        let size = head.checkpoint().size;
        let ask = |(n, witness): (usize, &crate::policy::KnownWitness)| Asked {
            old: sizes.get(n).copied().unwrap_or(size).min(size),
            tries: 0,
            state: match witness.url {
                Some(_) => State::ToAsk,
                None => State::Failed(Failure::NoAddress),
            },
        };
        let asked = policy.witnesses().iter().enumerate().map(ask).collect();
        Self { policy, head, asked }
    }

    /// What is to be sent now. Each request is given once; `nodes` are of this log, with at least the entries of the head.
    pub fn requests<N: Nodes + ?Sized>(
        &mut self,
        nodes: &N,
    ) -> Result<Vec<Ask>, CannotAsk<N::Error>> {
        let size = self.head.checkpoint().size;
        let mut requests = Vec::new();
        for (n, (asked, witness)) in self.asked.iter_mut().zip(self.policy.witnesses()).enumerate()
        {
            let (State::ToAsk, Some(url)) = (&asked.state, &witness.url) else { continue };
            let proof = match asked.old {
                0 => Vec::new(),
                old => consistency(nodes, old, size).map_err(CannotAsk::Proof)?,
            };
            let request = AddCheckpoint { old: asked.old, proof, checkpoint: self.head.clone() };
            let body = request.encode().map_err(CannotAsk::Request)?;
            asked.tries += 1;
            asked.state = State::Waiting;
            let url = format!("{}/add-checkpoint", url.trim_end_matches('/'));
            requests.push(Ask { witness: n, url, body });
        }
        Ok(requests)
    }

    /// A witness answered.
    pub fn answered(&mut self, witness: usize, answer: &Answer, verifier: &dyn Verifier) {
        let ours = self.head.checkpoint().size;
        let Some(known) = self.policy.witnesses().get(witness) else { return };
        let Some(asked) = self.asked.get_mut(witness) else { return };
        if !matches!(asked.state, State::Waiting) {
            return;
        }
        let text = String::from_utf8_lossy(&answer.body);
        let said = || text.trim_end().chars().take(SAID_MAX).collect::<String>();
        asked.state = match answer.status {
            200 => {
                match accept(&mut self.head, &text, std::slice::from_ref(&known.key), verifier) {
                    Ok(_) => {
                        asked.old = ours;
                        State::Cosigned
                    }
                    Err(bad) => State::Failed(Failure::Useless(bad)),
                }
            }
            409 if answer.kind.as_deref().is_some_and(is_size) => match read_size(&text) {
                Ok(theirs) if theirs > ours => State::Failed(Failure::Ahead { theirs, ours }),
                // So tlog-witness before v1.1 answered to another root of the same size.
                Ok(theirs) if theirs == asked.old && theirs == ours => {
                    State::Failed(Failure::Disagrees { ours, said: "the same size".to_owned() })
                }
                Ok(theirs) if theirs != asked.old && asked.tries < TRIES_MAX => {
                    asked.old = theirs;
                    State::ToAsk
                }
                Ok(_) => State::Failed(Failure::Restless),
                Err(bad) => State::Failed(Failure::Useless(bad.into())),
            },
            422 => State::Failed(Failure::Disagrees { ours, said: said() }),
            status => State::Failed(Failure::Refused { status, said: said() }),
        };
    }

    /// A request could not be sent, or its answer did not come.
    pub fn failed(&mut self, witness: usize, failure: Failure) {
        if let Some(asked) = self.asked.get_mut(witness)
            && matches!(asked.state, State::Waiting)
        {
            asked.state = State::Failed(failure);
        }
    }

    /// Whether the policy believes the head, with the cosignatures that are there.
    pub fn believed(&self, verifier: &dyn Verifier) -> Result<Believed, Distrust> {
        self.policy.judge(&self.head, verifier)
    }

    /// Whether nothing is to be sent and nothing is on its way.
    pub fn is_done(&self) -> bool {
        !self.asked.iter().any(|a| matches!(a.state, State::ToAsk | State::Waiting))
    }

    /// The head with the cosignatures that came.
    pub const fn head(&self) -> &SignedCheckpoint {
        &self.head
    }

    /// How many witnesses cosigned it.
    pub fn cosigned(&self) -> usize {
        self.asked.iter().filter(|a| matches!(a.state, State::Cosigned)).count()
    }

    /// Witnesses that did not cosign, by the policy's names, and why; who was not waited for is not among them.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &Failure)> {
        let named = self.policy.witnesses().iter().zip(&self.asked);
        named.filter_map(|(witness, asked)| match &asked.state {
            State::Failed(failure) => Some((witness.name.as_str(), failure)),
            _ => None,
        })
    }

    /// Sizes of the heads that each witness cosigned last, as far as is known now: for the next [`Self::new`].
    pub fn sizes(&self) -> Vec<u64> {
        self.asked.iter().map(|a| a.old).collect()
    }
}

/// `text/x.tlog.size`, whatever parameters it has.
fn is_size(kind: &str) -> bool {
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(SIZE_TYPE))
}

/// Why nothing can be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotAsk<E> {
    /// There is no proof from where a witness is.
    #[error("no proof for a witness: {0}")]
    Proof(CannotProve<E>),
    /// The request would not be one.
    #[error("{0}")]
    Request(Malformed),
}
