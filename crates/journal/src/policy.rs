//! Which logs are believed, and whose cosignatures it takes (C2SP tlog-policy): k of n witnesses of different parties.
//!
//! The text is UTF-8; keys are of the types that [`crate::SignatureType`] names.

use std::fmt;
use std::str::FromStr;

use crate::checkpoint::SignedCheckpoint;
use crate::key::{KeyId, KeyName, SignatureType, VerifierKey};
use crate::lines::{Lines, decimal};
use crate::note::NotSigned;
use crate::{Malformed, Verifier};

const WHAT: &str = "a log policy";
/// Longest policy that is read, in bytes.
const POLICY_BYTES_MAX: usize = 256 * 1024;
/// Most logs, most witnesses and most groups; C2SP asks for 32 each.
const ITEMS_MAX: usize = 256;

/// Known logs, known witnesses, and the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<KnownLog>,
    witnesses: Vec<KnownWitness>,
    groups: Vec<Group>,
    quorum: Option<Member>,
}

/// A log that is believed when it signs under its name, which is the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownLog {
    /// Its key.
    pub key: VerifierKey,
    /// Where it is, for those who ask it.
    pub url: Option<String>,
}

/// A witness that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownWitness {
    /// What this policy calls it.
    pub name: String,
    /// Its key, of type [`SignatureType::CosignatureV1`].
    pub key: VerifierKey,
    /// Where it is, for those who ask it.
    pub url: Option<String>,
}

/// Witnesses and groups, of which some have to cosign.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: String,
    threshold: usize,
    members: Vec<Member>,
}

/// By its place in the policy. A group has only members from before itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// Somebody whose witnesses count once, however many there are: a department, a vendor, an auditor.
#[derive(Clone, Debug)]
pub struct Party {
    /// What the policy calls it.
    pub name: String,
    /// Keys of its witnesses.
    pub witnesses: Vec<VerifierKey>,
}

/// A checkpoint that the policy believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Believed {
    /// Witnesses whose cosignatures are good, by the policy's names, and when they cosigned, in seconds since the epoch.
    pub cosigned: Vec<(String, u64)>,
    /// Signature lines by keys that the policy does not know: line, name, key id. They count for nothing.
    pub unknown: Vec<(usize, KeyName, KeyId)>,
}

/// Why a checkpoint is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Of no known log.
    #[error("the policy knows no log {origin}")]
    OtherLog {
        /// What the checkpoint says of its log.
        origin: String,
    },
    /// Its log did not sign it.
    #[error("its log {origin} did not sign it")]
    LogDidNotSign {
        /// The log.
        origin: String,
    },
    /// A signature of a known key is bad.
    #[error("{0}")]
    Signature(NotSigned),
    /// Too few witnesses cosigned it.
    #[error("{quorum} asks for {needed} of {of}; cosigned: {}", Names(.cosigned))]
    Quorum {
        /// The witness or group whose word is missing.
        quorum: String,
        /// How many members of it have to cosign.
        needed: usize,
        /// How many members it has.
        of: usize,
        /// Witnesses whose cosignatures are good.
        cosigned: Vec<String>,
    },
}

struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("nobody"),
            names => f.write_str(&names.join(", ")),
        }
    }
}

impl Policy {
    /// A policy that believes one log without witnesses.
    pub fn log_alone(key: VerifierKey) -> Self {
        let log = KnownLog { key, url: None };
        Self { logs: vec![log], witnesses: Vec::new(), groups: Vec::new(), quorum: None }
    }

    /// A policy that asks for cosignatures of `threshold` different parties.
    pub fn parties(
        log: VerifierKey,
        threshold: usize,
        parties: Vec<Party>,
    ) -> Result<Self, Malformed> {
        let mut policy = Self::log_alone(log);
        let mut members = Vec::new();
        for party in parties {
            let mut group = Vec::new();
            for (n, key) in party.witnesses.into_iter().enumerate() {
                let name = format!("{}-{}", party.name, n + 1);
                group.push(policy.add_witness(KnownWitness { name, key, url: None })?);
            }
            members.push(policy.add_group(Group {
                name: party.name,
                threshold: 1,
                members: group,
            })?);
        }
        let quorum = Group { name: "quorum".to_owned(), threshold, members };
        policy.quorum = Some(policy.add_group(quorum)?);
        // What is written is what can be read.
        policy.to_string().parse()
    }

    /// The logs.
    pub fn logs(&self) -> &[KnownLog] {
        &self.logs
    }

    /// The witnesses.
    pub fn witnesses(&self) -> &[KnownWitness] {
        &self.witnesses
    }

    /// Whether a checkpoint is signed by a known log of its origin and cosigned by a quorum.
    pub fn judge(
        &self,
        signed: &SignedCheckpoint,
        verifier: &dyn Verifier,
    ) -> Result<Believed, Distrust> {
        let origin = &signed.checkpoint().origin;
        let logs: Vec<&VerifierKey> =
            self.logs.iter().map(|l| &l.key).filter(|k| k.name().as_str() == origin).collect();
        if logs.is_empty() {
            return Err(Distrust::OtherLog { origin: origin.clone() });
        }
        let keys = || logs.iter().copied().chain(self.witnesses.iter().map(|w| &w.key));
        let good = match signed.note().verify(keys(), verifier) {
            Ok(good) => good,
            Err(NotSigned::Nobody) => Vec::new(),
            Err(bad) => return Err(Distrust::Signature(bad)),
        };
        if !good.iter().any(|s| logs.contains(&s.key)) {
            return Err(Distrust::LogDidNotSign { origin: origin.clone() });
        }
        let time =
            |w: &KnownWitness| good.iter().find(|s| *s.key == w.key).and_then(|s| s.timestamp);
        let times: Vec<Option<u64>> = self.witnesses.iter().map(time).collect();
        let cosigned: Vec<(String, u64)> = self
            .witnesses
            .iter()
            .zip(&times)
            .filter_map(|(w, t)| Some((w.name.clone(), (*t)?)))
            .collect();
        if let Some(quorum) = self.quorum
            && !self.is_met(quorum, &times)
        {
            let (quorum, needed, of) = self.describe(quorum);
            let cosigned = cosigned.into_iter().map(|(name, _)| name).collect();
            return Err(Distrust::Quorum { quorum, needed, of, cosigned });
        }
        let unknown = signed.note().unknown(keys());
        let unknown = unknown.into_iter().map(|(n, s)| (n, s.name.clone(), s.id)).collect();
        Ok(Believed { cosigned, unknown })
    }

    /// Groups refer to earlier ones only, so this ends.
    fn is_met(&self, member: Member, times: &[Option<u64>]) -> bool {
        match member {
            Member::Witness(n) => times.get(n).is_some_and(Option::is_some),
            Member::Group(n) => self.groups.get(n).is_some_and(|group| {
                let met = group.members.iter().filter(|m| self.is_met(**m, times)).count();
                met >= group.threshold
            }),
        }
    }

    fn describe(&self, member: Member) -> (String, usize, usize) {
        let name = self.name(member).to_owned();
        match member {
            Member::Witness(_) => (name, 1, 1),
            Member::Group(n) => {
                let group = self.groups.get(n);
                let of = group.map_or(0, |g| g.members.len());
                (name, group.map_or(0, |g| g.threshold), of)
            }
        }
    }

    fn name(&self, member: Member) -> &str {
        let name = match member {
            Member::Witness(n) => self.witnesses.get(n).map(|w| &w.name),
            Member::Group(n) => self.groups.get(n).map(|g| &g.name),
        };
        name.map_or("", String::as_str)
    }

    fn find(&self, name: &str) -> Option<Member> {
        let witness = self.witnesses.iter().position(|w| w.name == name).map(Member::Witness);
        witness.or_else(|| self.groups.iter().position(|g| g.name == name).map(Member::Group))
    }

    fn add_log(&mut self, log: KnownLog) -> Result<(), Malformed> {
        if self.logs.iter().any(|l| l.key.key() == log.key.key()) {
            return Err(fault(format!("the key of log {} is there twice", log.key.name())));
        }
        if self.logs.len() == ITEMS_MAX {
            return Err(fault(format!("more than {ITEMS_MAX} logs")));
        }
        self.logs.push(log);
        Ok(())
    }

    fn add_witness(&mut self, witness: KnownWitness) -> Result<Member, Malformed> {
        self.check_name(&witness.name)?;
        if witness.key.signs() != SignatureType::CosignatureV1 {
            return Err(fault(format!(
                "the key of {} is not for cosignatures (0x04)",
                witness.name
            )));
        }
        if self.witnesses.iter().any(|w| w.key.key() == witness.key.key()) {
            return Err(fault(format!("the key of witness {} is there twice", witness.name)));
        }
        if self.witnesses.len() == ITEMS_MAX {
            return Err(fault(format!("more than {ITEMS_MAX} witnesses")));
        }
        self.witnesses.push(witness);
        Ok(Member::Witness(self.witnesses.len() - 1))
    }

    fn add_group(&mut self, group: Group) -> Result<Member, Malformed> {
        self.check_name(&group.name)?;
        let wrong = |why: String| Err(fault(format!("group {}: {why}", group.name)));
        for member in &group.members {
            let uses = group.members.iter().filter(|m| *m == member).count();
            if uses > 1 || self.groups.iter().any(|g| g.members.contains(member)) {
                return wrong(format!("{} is a member of a group already", self.name(*member)));
            }
        }
        let members = group.members.len();
        if group.threshold < 1 || group.threshold > members {
            return wrong(format!("{} of {members} members cannot be asked for", group.threshold));
        }
        if self.groups.len() == ITEMS_MAX {
            return wrong(format!("it is one more than {ITEMS_MAX}"));
        }
        self.groups.push(group);
        Ok(Member::Group(self.groups.len() - 1))
    }

    fn check_name(&self, name: &str) -> Result<(), Malformed> {
        let wrong = |why| Err(fault(format!("`{name}` {why}")));
        if name.is_empty() || name == NONE || name.contains([' ', '\t', '\n']) {
            return wrong("is no name for a witness or group");
        }
        if self.find(name).is_some() {
            return wrong("is there twice");
        }
        Ok(())
    }

    /// One line of a policy; whether it was the quorum.
    fn read_line(&mut self, line: &str) -> Result<bool, Malformed> {
        let words: Vec<&str> = line.split([' ', '\t']).filter(|w| !w.is_empty()).collect();
        let known = |name: &str| {
            let why = || fault(format!("no witness or group `{name}` is defined above"));
            self.find(name).ok_or_else(why)
        };
        match *words.as_slice() {
            ["log", key, ref url @ ..] if url.len() <= 1 => {
                self.add_log(KnownLog {
                    key: key.parse()?,
                    url: url.first().map(|u| (*u).to_owned()),
                })?;
            }
            ["witness", name, key, ref url @ ..] if url.len() <= 1 => {
                let url = url.first().map(|u| (*u).to_owned());
                self.add_witness(KnownWitness { name: name.to_owned(), key: key.parse()?, url })?;
            }
            ["group", name, threshold, ref members @ ..] => {
                let members: Vec<Member> =
                    members.iter().map(|m| known(m)).collect::<Result<_, _>>()?;
                let threshold = match threshold {
                    "any" => 1,
                    "all" => members.len(),
                    number => decimal(number)
                        .and_then(|n| usize::try_from(n).ok())
                        .ok_or_else(|| fault(format!("`{number}` is not any, all or a number")))?,
                };
                self.add_group(Group { name: name.to_owned(), threshold, members })?;
            }
            ["quorum", NONE] => {
                self.quorum = None;
                return Ok(true);
            }
            ["quorum", name] => {
                self.quorum = Some(known(name)?);
                return Ok(true);
            }
            _ => {
                let why = "a line is `log`, `witness`, `group` or `quorum` with what belongs to it";
                return Err(fault(why));
            }
        }
        Ok(false)
    }
}

/// The name that stands for no quorum.
const NONE: &str = "none";

fn fault(why: impl Into<String>) -> Malformed {
    Malformed::new(WHAT, 0, why)
}

impl FromStr for Policy {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let spaced = text.replace('\t', " ");
        let mut lines = Lines::of_bytes(WHAT, spaced.as_bytes(), POLICY_BYTES_MAX)?;
        let mut policy =
            Self { logs: Vec::new(), witnesses: Vec::new(), groups: Vec::new(), quorum: None };
        let mut quorums = 0;
        while !lines.is_done() {
            let begin = lines.at();
            let line = lines.next("a line")?.trim_matches(' ');
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let is_quorum = policy.read_line(line).map_err(|e| {
                Malformed::new(WHAT, begin, if e.what == WHAT { e.why } else { e.to_string() })
            })?;
            quorums += usize::from(is_quorum);
            if quorums > 1 {
                return Err(Malformed::new(WHAT, begin, "a second quorum"));
            }
        }
        match quorums {
            1 => Ok(policy),
            _ => Err(Malformed::new(
                WHAT,
                text.len(),
                "it has no quorum; `quorum none` asks for none",
            )),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = |url: &Option<String>| url.as_ref().map(|u| format!(" {u}")).unwrap_or_default();
        for log in &self.logs {
            writeln!(f, "log {}{}", log.key, url(&log.url))?;
        }
        for witness in &self.witnesses {
            writeln!(f, "witness {} {}{}", witness.name, witness.key, url(&witness.url))?;
        }
        for group in &self.groups {
            let members: Vec<&str> = group.members.iter().map(|m| self.name(*m)).collect();
            writeln!(f, "group {} {} {}", group.name, group.threshold, members.join(" "))?;
        }
        writeln!(f, "quorum {}", self.quorum.map_or(NONE, |m| self.name(m)))
    }
}
