//! The prefix of logged packets: what is known about a packet where a rule logs it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use model::ruleset::{ClassId, Ruleset};

/// Prefix of a record in the NFLOG group: `rf:<kind>:<generation>:<class>:<rule>`.
///
/// `generation` is the one that built the rules that log; where later ones changed elements only,
/// it is older than the one in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// What was decided.
    pub kind: Kind,
    /// Generation whose rules logged the packet.
    pub generation: u64,
    /// Source class; 0 where the source is no member's.
    pub class: ClassId,
    /// Position in [`rule_names`], 1 for the first; 0 where no rule decided.
    pub rule: u32,
}

/// What was decided about a logged packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `d`: no permit names it; dropped.
    Denied,
    /// `w`: no permit names it; passed, because its class is in shadow.
    WouldDeny,
    /// `c`: permitted, and a policy in shadow would close it; passed. The rule is that policy.
    Closing,
    /// `p`: no permit names it, and a policy in shadow would open it. The rule is that policy.
    /// What happens to it is what happens to all that no permit names.
    WouldAllow,
    /// `l`: permitted by a rule that logs.
    Logged,
    /// `r`: permitted, and beyond the rule's rate; dropped.
    TooMany,
    /// `e`: permitted by an exception.
    Granted,
    /// `s`: the source pair (link address, network address) is no member's.
    Stranger,
}

const LETTERS: [(Kind, &str); 8] = [
    (Kind::Denied, "d"),
    (Kind::WouldDeny, "w"),
    (Kind::Closing, "c"),
    (Kind::WouldAllow, "p"),
    (Kind::Logged, "l"),
    (Kind::TooMany, "r"),
    (Kind::Granted, "e"),
    (Kind::Stranger, "s"),
];

/// Names of rules by the number that log prefixes carry: number 1 is the first.
pub fn rule_names(ruleset: &Ruleset) -> Vec<&str> {
    let permits = ruleset.permits.iter().chain(&ruleset.proposed);
    let permits = permits.map(|permit| (&permit.rule, &permit.terms));
    let names = ruleset.names.iter().map(|permit| (&permit.rule, &permit.terms));
    let all = permits.chain(names);
    let names: BTreeSet<&str> = all
        .flat_map(|(rule, terms)| [Some(rule.as_str()), terms.closing.as_deref()])
        .flatten()
        .collect();
    names.into_iter().collect()
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = LETTERS.iter().find(|(kind, _)| *kind == self.kind).map_or("d", |(_, l)| l);
        write!(f, "rf:{letter}:{}:{}:{}", self.generation, self.class.0, self.rule)
    }
}

impl FromStr for Prefix {
    type Err = ();

    /// Reads a prefix back; one that is not ours is an error.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.trim_end().split(':');
        let mut next = || parts.next().ok_or(());
        if next()? != "rf" {
            return Err(());
        }
        let letter = next()?;
        let kind = LETTERS.iter().find(|(_, known)| *known == letter).ok_or(())?.0;
        let generation = next()?.parse().map_err(drop)?;
        let class = ClassId(next()?.parse().map_err(drop)?);
        let rule = next()?.parse().map_err(drop)?;
        if parts.next().is_some() {
            return Err(());
        }
        Ok(Self { kind, generation, class, rule })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_read_back_and_foreign_ones_refused() {
        for (kind, letter) in LETTERS {
            let prefix = Prefix { kind, generation: u64::MAX, class: ClassId(3), rule: 12 };
            let text = prefix.to_string();
            assert_eq!(text, format!("rf:{letter}:18446744073709551615:3:12"));
            assert_eq!(text.parse(), Ok(prefix));
            // The kernel's room for a prefix, with the zero byte.
            assert!(text.len() < 128);
        }
        for foreign in ["", "rf", "rf:d:1:2", "rf:x:1:2:3", "rf:d:1:2:3:4", "rf:d:-1:2:3", "DROP "]
        {
            assert_eq!(foreign.parse::<Prefix>(), Err(()), "{foreign}");
        }
    }
}
