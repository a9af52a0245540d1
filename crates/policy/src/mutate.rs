//! Policies with one mistake in them: does anybody notice?
//!
//! A rule that can be deleted, turned around or widened without any test failing is a rule that nobody would
//! miss. [`mutants`] lists such changes. [`Own`] judges them by the folder's own tests, claims and reach
//! budgets, [`Generated`] by requests made from the policies; [`survivors`] are those that the former let through.

mod judge;

use std::fmt;

use crate::folder::Folder;
use crate::language::{Actions, Binary, Expr, Policy, Scope, scope};

pub use judge::{Changed, Fate, Generated, Own, Unjudged};

/// Characters of a condition that [`Mutant::says`] shows.
const SHOWN_MAX: usize = 80;

/// One change to one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Index of the policy.
    pub policy: usize,
    /// What is done to it.
    pub mutation: Mutation,
}

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutation {
    /// The policy is gone.
    Deleted,
    /// A `when` became an `unless`, or the other way round; the nth from 0.
    Turned(usize),
    /// One comparison inside a condition is negated: the nth from 0 of the nth condition from 0.
    Negated(usize, usize),
    /// Every device.
    AnyPrincipal,
    /// Every action.
    AnyAction,
    /// Every service.
    AnyResource,
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleted => f.write_str("deleted"),
            Self::Turned(n) => {
                write!(f, "condition {} turned around", n.saturating_add(1))
            }
            Self::Negated(condition, n) => write!(
                f,
                "comparison {} of condition {} negated",
                n.saturating_add(1),
                condition.saturating_add(1)
            ),
            Self::AnyPrincipal => f.write_str("widened to every device"),
            Self::AnyAction => f.write_str("widened to every action"),
            Self::AnyResource => f.write_str("widened to every service"),
        }
    }
}

impl Mutant {
    /// What is done, with the words of the policy that it is done to.
    pub fn says(&self, policies: &[Policy]) -> String {
        let Some(policy) = policies.get(self.policy) else {
            return self.mutation.to_string();
        };
        let condition = |n: usize| policy.conditions.get(n);
        let what = match self.mutation {
            Mutation::Deleted => None,
            Mutation::Turned(n) => condition(n).map(|condition| {
                let [is, becomes] =
                    if condition.unless { ["unless", "when"] } else { ["when", "unless"] };
                format!("`{is} {{ {} }}` turned to `{becomes}`", short(&condition.body))
            }),
            Mutation::Negated(n, comparison) => condition(n).and_then(|condition| {
                let mut left = comparison;
                let part = nth(&condition.body, &mut left)?;
                Some(format!("`{}` negated", short(part)))
            }),
            Mutation::AnyPrincipal => {
                Some(format!("`{}` widened to every device", scope("principal", &policy.principal)))
            }
            Mutation::AnyAction => match &policy.action {
                Actions::All => None,
                Actions::These(these) => {
                    Some(format!("`{}` widened to every action", these.join(", ")))
                }
            },
            Mutation::AnyResource => {
                Some(format!("`{}` widened to every service", scope("resource", &policy.resource)))
            }
        };
        what.unwrap_or_else(|| self.mutation.to_string())
    }

    /// The policies with this change.
    pub fn apply(&self, policies: &[Policy]) -> Vec<Policy> {
        let mut changed = policies.to_vec();
        if self.mutation == Mutation::Deleted {
            if self.policy < changed.len() {
                changed.remove(self.policy);
            }
            return changed;
        }
        let Some(policy) = changed.get_mut(self.policy) else {
            return changed;
        };
        match self.mutation {
            Mutation::Deleted => {}
            Mutation::Turned(n) => {
                if let Some(condition) = policy.conditions.get_mut(n) {
                    condition.unless = !condition.unless;
                }
            }
            Mutation::Negated(n, comparison) => {
                if let Some(condition) = policy.conditions.get_mut(n) {
                    let mut left = comparison;
                    condition.body = negated(&condition.body, &mut left);
                }
            }
            Mutation::AnyPrincipal => policy.principal = Scope::All,
            Mutation::AnyAction => policy.action = Actions::All,
            Mutation::AnyResource => policy.resource = Scope::All,
        }
        changed
    }
}

/// Every rule deletion, condition negation and scope widening. Widenings that mean the same (`is Device` to all)
/// are left out. Of policies that run on Cedar, whose text is kept as it is, only the deletion.
pub fn mutants(policies: &[Policy]) -> Vec<Mutant> {
    let mut all = Vec::new();
    for (policy, rule) in policies.iter().enumerate() {
        let mut push = |mutation| all.push(Mutant { policy, mutation });
        push(Mutation::Deleted);
        if rule.on_cedar.is_some() {
            continue;
        }
        for (n, condition) in rule.conditions.iter().enumerate() {
            push(Mutation::Turned(n));
            let comparisons = comparisons(&condition.body);
            // The only one negated is the condition turned around.
            if comparisons > 1 {
                (0..comparisons).for_each(|c| push(Mutation::Negated(n, c)));
            }
        }
        let narrow = |scope: &Scope| !matches!(scope, Scope::All | Scope::Is(_));
        if narrow(&rule.principal) {
            push(Mutation::AnyPrincipal);
        }
        if rule.action != Actions::All {
            push(Mutation::AnyAction);
        }
        if narrow(&rule.resource) {
            push(Mutation::AnyResource);
        }
    }
    all
}

/// An expression, cut where it is long.
fn short(expr: &Expr) -> String {
    let text = expr.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// Parts of a condition that are joined by `&&`, `||`, `!` and `if`.
fn comparisons(expr: &Expr) -> usize {
    match expr {
        Expr::Binary(Binary::And | Binary::Or, a, b) => {
            comparisons(a).saturating_add(comparisons(b))
        }
        Expr::Not(e) => comparisons(e),
        Expr::If(a, b, c) => {
            comparisons(a).saturating_add(comparisons(b)).saturating_add(comparisons(c))
        }
        _ => 1,
    }
}

/// The comparison that `left` others come before.
fn nth<'e>(expr: &'e Expr, left: &mut usize) -> Option<&'e Expr> {
    match expr {
        Expr::Binary(Binary::And | Binary::Or, a, b) => nth(a, left).or_else(|| nth(b, left)),
        Expr::Not(e) => nth(e, left),
        Expr::If(a, b, c) => nth(a, left).or_else(|| nth(b, left)).or_else(|| nth(c, left)),
        other => {
            let this = *left == 0;
            *left = left.wrapping_sub(1);
            this.then_some(other)
        }
    }
}

/// The expression with the comparison negated that `left` others come before.
fn negated(expr: &Expr, left: &mut usize) -> Expr {
    let boxed = |e: &Expr, left: &mut usize| Box::new(negated(e, left));
    match expr {
        Expr::Binary(op @ (Binary::And | Binary::Or), a, b) => {
            let a = boxed(a, left);
            Expr::Binary(*op, a, boxed(b, left))
        }
        Expr::Not(e) => Expr::Not(boxed(e, left)),
        Expr::If(a, b, c) => {
            let (a, b) = (boxed(a, left), boxed(b, left));
            Expr::If(a, b, boxed(c, left))
        }
        other => {
            let this = *left == 0;
            *left = left.wrapping_sub(1);
            if this { Expr::Not(Box::new(other.clone())) } else { other.clone() }
        }
    }
}

/// A change that a folder's tests, claims and reach tests do not notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// Policy id.
    pub policy: String,
    /// Its file; `pack:…` for one of a pack.
    pub file: String,
    /// Its line, 0 when it was not read from text.
    pub line: u32,
    /// What was done to it.
    pub mutation: Mutation,
    /// Devices would be granted other services than today; else the change matters for a future estate only.
    pub changes_grants: bool,
}

/// Changes that none of the folder's own tests, claims and reach tests notices, in order of the policies.
///
/// What [`Own`] cannot judge because of the hour counts as unnoticed; what it cannot judge because of the action
/// or of shadow is left out.
pub fn survivors(folder: &Folder) -> Vec<Survivor> {
    let mut own = Own::of(folder);
    let survived = |mutant: &Mutant| {
        let changes_grants = match own.judge(mutant) {
            Fate::Survived(_) => true,
            Fate::NoEffect | Fate::NotJudged(Unjudged::Moment) => false,
            Fate::Caught(_) | Fate::NotJudged(_) => return None,
        };
        let policy = folder.policies.get(mutant.policy)?;
        Some(Survivor {
            policy: policy.id.clone(),
            file: policy.file.clone(),
            line: policy.line,
            mutation: mutant.mutation,
            changes_grants,
        })
    };
    mutants(&folder.policies).iter().filter_map(survived).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cedar::read_all;

    fn policies(text: &str) -> Vec<Policy> {
        read_all(&[("policies/x.cedar", text)]).unwrap()
    }

    /// Every mutant, as its mutation and the text of what is left.
    fn all(text: &str) -> Vec<(String, String)> {
        let policies = policies(text);
        let text = |m: &Mutant| {
            let left: String = m.apply(&policies).iter().map(ToString::to_string).collect();
            (m.mutation.to_string(), left.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        mutants(&policies).iter().map(text).collect()
    }

    #[test]
    fn every_part_is_changed_once() {
        let text = "@id(\"a\") permit (principal in Zone::\"z\", action == Action::\"read\", resource is Service) when { resource.sensitive && !(context.port == 1 || context.port == 2) } unless { principal.owner == \"\" };";
        let head = "@id(\"a\") permit ( principal in Zone::\"z\", action == Action::\"read\", resource is Service )";
        let when = "when { resource.sensitive && !((context.port == 1) || (context.port == 2)) }";
        let unless = "unless { principal.owner == \"\" }";
        let expect = [
            ("deleted", String::new()),
            (
                "condition 1 turned around",
                format!("{head} {} {unless};", when.replace("when", "unless")),
            ),
            (
                "comparison 1 of condition 1 negated",
                format!("{head} {} {unless};", when.replace("resource.s", "!resource.s")),
            ),
            (
                "comparison 2 of condition 1 negated",
                format!(
                    "{head} {} {unless};",
                    when.replace("(context.port == 1)", "!(context.port == 1)")
                ),
            ),
            (
                "comparison 3 of condition 1 negated",
                format!(
                    "{head} {} {unless};",
                    when.replace("(context.port == 2)", "!(context.port == 2)")
                ),
            ),
            (
                "condition 2 turned around",
                format!("{head} {when} {};", unless.replace("unless", "when")),
            ),
            (
                "widened to every device",
                format!("{} {when} {unless};", head.replace(" in Zone::\"z\"", "")),
            ),
            (
                "widened to every action",
                format!("{} {when} {unless};", head.replace(" == Action::\"read\"", "")),
            ),
        ];
        let expect: Vec<_> = expect.map(|(m, text)| (m.to_owned(), text)).into();
        assert_eq!(all(text), expect);
    }

    #[test]
    fn what_means_the_same_is_no_mutant() {
        let kinds = |text: &str| -> Vec<String> { all(text).into_iter().map(|(m, _)| m).collect() };
        assert_eq!(
            kinds("@id(\"a\") permit (principal is Device, action, resource);"),
            ["deleted"]
        );
        let on_cedar = "@id(\"a\") permit (principal in Zone::\"z\", action, resource) when { context.port + 1 == 3 };";
        assert_eq!(kinds(on_cedar), ["deleted"]);
    }
}
