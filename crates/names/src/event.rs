//! What the resolver tells: questions as evidence, and what deserves a person's attention.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use model::ruleset::ClassId;

/// Told to whoever runs the resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A device asked. Every question is told, known name or not.
    Asked(Asked),
    /// Something is wrong.
    Finding(Finding),
}

/// One question and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Who asked.
    pub device: IpAddr,
    /// Its class.
    pub class: ClassId,
    /// For what: ASCII, lower case, without the last dot; other bytes as `\ddd`.
    pub name: String,
    /// Type: `A`, `AAAA`, `PTR`….
    pub kind: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Policy knows the name: the answer goes out once its addresses are in force.
    Permitted,
    /// Policy does not know it: answered, and no path opened.
    Unknown,
    /// Policy does not know it, and the zone refuses such questions.
    Refused,
    /// The device asks too much at once.
    Throttled,
}

/// What deserves attention. Each is told once a minute at most for one subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finding {
    /// No upstream answers.
    UpstreamsDown {
        /// The last one tried.
        last: SocketAddr,
        /// What happened.
        why: String,
    },
    /// An upstream answers again after all were down.
    UpstreamsBack {
        /// Which.
        upstream: SocketAddr,
    },
    /// An outside name answers with an address of this site or a private one.
    PointsInwards {
        /// Name.
        name: String,
        /// Address.
        address: IpAddr,
    },
    /// A name has more addresses than are kept in force.
    TooManyAddresses {
        /// Name.
        name: String,
        /// The bound.
        max: usize,
    },
    /// More names or paths are alive than are kept.
    TooManyNames {
        /// The bound.
        max: usize,
    },
    /// The enforcement point did not take the addresses; the answer was not released.
    NotInForce {
        /// Name.
        name: String,
        /// What it said.
        why: String,
    },
    /// A device asks more than it may.
    Flood {
        /// Device.
        device: IpAddr,
    },
    /// More questions are open than the resolver holds.
    Busy {
        /// The bound.
        max: usize,
    },
    /// Answers came that fit no question: somebody guesses, or a broken upstream.
    Guessed {
        /// Where the question had gone.
        upstream: SocketAddr,
        /// Name.
        name: String,
    },
    /// A name points to itself, or through too many aliases.
    AliasLoop {
        /// Name.
        name: String,
    },
    /// The file of live names cannot be written or read.
    StateFile {
        /// What happened.
        why: String,
    },
}

impl Finding {
    /// Stable word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UpstreamsDown { .. } => "dns-upstreams-down",
            Self::UpstreamsBack { .. } => "dns-upstreams-back",
            Self::PointsInwards { .. } => "dns-rebinding",
            Self::TooManyAddresses { .. } => "dns-too-many-addresses",
            Self::TooManyNames { .. } => "dns-too-many-names",
            Self::NotInForce { .. } => "dns-not-in-force",
            Self::Flood { .. } => "dns-flood",
            Self::Busy { .. } => "dns-busy",
            Self::Guessed { .. } => "dns-guessed-answers",
            Self::AliasLoop { .. } => "dns-alias-loop",
            Self::StateFile { .. } => "dns-state-file",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpstreamsDown { last, why } => write!(
                f,
                "no upstream resolver answers (last tried {last}: {why}); names that are not cached fail until one does: check the site's uplink"
            ),
            Self::UpstreamsBack { upstream } => {
                write!(f, "the upstream resolver {upstream} answers again")
            }
            Self::PointsInwards { name, address } => write!(
                f,
                "{name} answers with {address}, an address inside; it was not opened: if it is a service of this site, give that the address in estate.toml, beside its name"
            ),
            Self::TooManyAddresses { name, max } => write!(
                f,
                "{name} has more than {max} live addresses; the rest was left out of the answer: raise the cap or narrow the name"
            ),
            Self::TooManyNames { max } => write!(
                f,
                "more than {max} names or paths are alive; further ones are not opened: look for a device that asks for made-up names"
            ),
            Self::NotInForce { name, why } => write!(
                f,
                "the addresses of {name} could not be put in force ({why}); the device got a failure instead of an answer"
            ),
            Self::Flood { device } => {
                write!(f, "{device} asks more names than it may; the excess is refused")
            }
            Self::Busy { max } => {
                write!(f, "more than {max} questions are open; further ones fail at once")
            }
            Self::Guessed { upstream, name } => write!(
                f,
                "answers that fit no question arrived for {name} (asked of {upstream}); asking again over TCP"
            ),
            Self::AliasLoop { name } => {
                write!(f, "{name} is an alias that never ends; the device got a failure")
            }
            Self::StateFile { why } => write!(
                f,
                "the file of live names: {why}; after a restart and a new policy, devices may have to ask again"
            ),
        }
    }
}
