//! What comes with a permission: rates, logs, and the paths that policies in shadow would change.

use model::ruleset::{ClassId, Mode, NamePermit, Permit, Ruleset, Terms};

use super::rule::{ACCEPT, DROP, Field, NEW, Part, Rule, goto};
use super::{Chain, FAMILIES, Kind, Options, Prefix, rule_names};

/// Chains that permits with terms, and permits that are only proposed, go through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Detours {
    /// Distinct (source class, terms, rule); its place is the number of its chain `terms_K`.
    terms: Vec<(ClassId, Terms, String)>,
    /// Distinct (source class, rule) of proposed permits: `maybe_K`.
    proposed: Vec<(ClassId, String)>,
}

impl Detours {
    /// The chain that a flow permitted by `rule` under `terms` goes to.
    pub(crate) fn of_permit(&self, from: ClassId, terms: &Terms, rule: &str) -> Option<String> {
        let terms = enforceable(terms);
        if terms == Terms::default() {
            return Some("allowed".to_owned());
        }
        let same = |known: &(ClassId, Terms, String)| {
            known.0 == from && known.1 == terms && known.2 == rule
        };
        self.terms.iter().position(same).map(|k| format!("terms_{k}"))
    }

    /// The same for a permit to a DNS name.
    pub(crate) fn of_name(&self, permit: &NamePermit) -> Option<String> {
        self.of_permit(permit.from, &permit.terms, &permit.rule)
    }

    pub(super) fn add_permits(&mut self, from: ClassId, permits: &[&Permit]) -> String {
        let terms = permits.iter().map(|permit| enforceable(&permit.terms));
        let terms = terms.reduce(lenient).unwrap_or_default();
        let rule = permits.first().map_or("", |permit| permit.rule.as_str());
        self.add(from, terms, rule)
    }

    pub(super) fn add_name(&mut self, permit: &NamePermit) {
        self.add(permit.from, enforceable(&permit.terms), &permit.rule);
    }

    pub(super) fn add_proposed(&mut self, from: ClassId, rule: &str) -> String {
        let same = |known: &(ClassId, String)| known.0 == from && known.1 == rule;
        let k = self.proposed.iter().position(same).unwrap_or_else(|| {
            self.proposed.push((from, rule.to_owned()));
            self.proposed.len() - 1
        });
        format!("maybe_{k}")
    }

    fn add(&mut self, from: ClassId, terms: Terms, rule: &str) -> String {
        self.of_permit(from, &terms, rule).unwrap_or_else(|| {
            self.terms.push((from, terms, rule.to_owned()));
            format!("terms_{}", self.terms.len() - 1)
        })
    }

    /// Named counters of these chains and what they count: the rule or policy, for reading back.
    pub(super) fn counters(&self) -> Vec<(String, String)> {
        let mut out = Vec::new();
        for (k, (_, terms, rule)) in self.terms.iter().enumerate() {
            if let Some(policy) = &terms.closing {
                out.push((format!("closing_{k}"), super::comment_text(policy)));
            }
            if terms.rate_per_second.is_some() {
                out.push((format!("beyond_{k}"), super::comment_text(rule)));
            }
        }
        for (k, (_, rule)) in self.proposed.iter().enumerate() {
            out.push((format!("maybe_{k}"), super::comment_text(rule)));
        }
        out
    }

    pub(super) fn chains(&self, ruleset: &Ruleset, options: &Options) -> Vec<Chain> {
        let names = rule_names(ruleset);
        let log = |kind, class, rule: &str| {
            let place = names.iter().position(|name| *name == rule).map_or(0, |n| n + 1);
            let rule = u32::try_from(place).unwrap_or(0);
            log(options, Prefix { kind, generation: ruleset.generation, class, rule })
        };
        let mut out = Vec::new();
        for (k, (class, terms, rule)) in self.terms.iter().enumerate() {
            let mut rules: Vec<Rule> = Vec::new();
            if let Some(rate) = terms.rate_per_second {
                // A flow that was let in once is not counted again when a generation changes.
                rules.push(vec![Part::State(NEW), Part::Beyond(rate), goto(format!("beyond_{k}"))]);
                let shadow = ruleset.classes.get(class).is_some_and(|c| c.mode == Mode::Shadow);
                let mut beyond = log(Kind::TooMany, *class, rule);
                let end = if shadow { ACCEPT } else { DROP };
                beyond.push(vec![Part::Count(format!("beyond_{k}")), end]);
                out.push(Chain::new(format!("beyond_{k}"), &format!("too many: {rule}"), beyond));
            }
            if let Some(policy) = &terms.closing {
                rules.push(original(vec![Part::Count(format!("closing_{k}"))]));
                rules.extend(log(Kind::Closing, *class, policy).into_iter().map(original));
            }
            if terms.log {
                rules.extend(log(Kind::Logged, *class, rule).into_iter().map(original));
            }
            rules.push(vec![goto("allowed")]);
            out.push(Chain::new(format!("terms_{k}"), rule, rules));
        }
        for (k, (class, rule)) in self.proposed.iter().enumerate() {
            let mut rules = vec![vec![Part::Count(format!("maybe_{k}"))]];
            rules.extend(log(Kind::WouldAllow, *class, rule));
            rules.push(vec![goto(format!("refuse_{}", class.0))]);
            out.push(Chain::new(format!("maybe_{k}"), &format!("would open: {rule}"), rules));
        }
        out
    }
}

/// The rule, for the asking side of a flow only.
pub(super) fn original(mut rule: Rule) -> Rule {
    rule.insert(0, Part::Is(Field::Direction, vec![0]));
    rule
}

/// Rules that log with `prefix`: each flow once while its pair is remembered.
pub(super) fn log(options: &Options, prefix: Prefix) -> Vec<Rule> {
    let Some(group) = options.log_group else {
        return Vec::new();
    };
    let mut rules = Vec::new();
    for family in &FAMILIES {
        for ports in [true, false] {
            let (fields, set) = family.flow("seen", ports);
            rules.push(vec![
                with_ports(ports),
                Part::NotIn(fields.clone(), set.clone()),
                Part::Remember(fields, set, false),
                Part::Log(group, prefix),
            ]);
        }
    }
    rules
}

/// The protocol has ports, or has not.
pub(super) fn with_ports(ports: bool) -> Part {
    let (fields, set) = (vec![Field::Protocol], "with_ports".to_owned());
    if ports { Part::In(fields, set) } else { Part::NotIn(fields, set) }
}

/// What packets alone can keep of `terms`.
fn enforceable(terms: &Terms) -> Terms {
    Terms { application: std::collections::BTreeMap::new(), ..terms.clone() }
}

/// Two permits for the same flow: what either allows is allowed, what either logs is logged.
fn lenient(one: Terms, other: Terms) -> Terms {
    Terms {
        closing: one.closing.zip(other.closing).map(|(one, _)| one),
        rate_per_second: one.rate_per_second.zip(other.rate_per_second).map(|(a, b)| a.max(b)),
        log: one.log || other.log,
        application: one.application,
    }
}
