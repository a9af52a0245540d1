//! The parts of a policy one by one: for saying in which of them a pair differs.

use std::ops::Range;

use super::columns::Kind;
use super::{Ask, Decider, View, split};
use crate::folder::Folder;
use crate::language::{Entity, Expr, Policy, Scope, Var};

/// A folder's policies, taken apart. For questions about single pairs.
#[derive(Debug)]
pub(crate) struct Parts<'f> {
    decider: Decider<'f>,
    policies: Vec<OfPolicy<'f>>,
}

#[derive(Debug)]
struct OfPolicy<'f> {
    principal: Option<(Kind, u32)>,
    resource: Option<(Kind, u32)>,
    conditions: Vec<Part<'f>>,
}

#[derive(Debug)]
struct Part<'f> {
    expr: &'f Expr,
    want: bool,
    at: Option<Range<u32>>,
    /// The first attribute it looks at.
    first: Option<(&'f Expr, Option<Range<u32>>)>,
}

/// A part of a condition that is not as the policy wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unlike<'f> {
    /// The part, and what the policy wants it to be.
    pub(crate) expr: &'f Expr,
    pub(crate) want: bool,
    /// The first attribute it looks at.
    pub(crate) first: Option<&'f Expr>,
    /// Its value, or that of the whole part where it looks at none; `None` where it is absent.
    pub(crate) has: Option<String>,
}

impl<'f> Parts<'f> {
    pub(crate) fn of(folder: &'f Folder) -> Self {
        let mut decider = Decider::new(folder, View::Candidate);
        let policies = folder.policies.iter().map(|policy| take_apart(&mut decider, policy));
        let policies = policies.collect();
        Self { decider, policies }
    }

    /// The device is in the policy's principal scope, and the service in its resource scope.
    pub(crate) fn in_scope(&self, policy: usize, ask: &Ask) -> (bool, bool) {
        let Some((parts, of)) = self.policies.get(policy).zip(self.policy(policy)) else {
            return (false, false);
        };
        let entity = |kind, number: usize| (kind, crate::lower::small(number));
        let inside = |scope: &Scope, kind: &str, named: Option<(Kind, u32)>, entity| match scope {
            Scope::All => true,
            Scope::Is(is) => is == kind,
            Scope::Eq(_) => named == Some(entity),
            Scope::In(_) => named.is_some_and(|n| self.decider.columns.is_in(entity, n)),
            Scope::IsIn(is, _) => {
                is == kind && named.is_some_and(|n| self.decider.columns.is_in(entity, n))
            }
        };
        (
            inside(&of.principal, "Device", parts.principal, entity(Kind::Device, ask.device)),
            inside(&of.resource, "Service", parts.resource, entity(Kind::Service, ask.service)),
        )
    }

    /// Parts of a policy's conditions that are not as it wants them.
    pub(crate) fn unlike(&self, policy: usize, ask: &Ask) -> Vec<Unlike<'f>> {
        let frame = self.decider.frame(ask);
        let value = |at: &Option<Range<u32>>| {
            let value = self.decider.code.value(at.as_ref()?, &frame)?;
            Some(self.decider.columns.words(value, self.decider.folder))
        };
        let parts = self.policies.get(policy).map_or(&[][..], |p| p.conditions.as_slice());
        let differs = parts.iter().filter(|part| {
            let holds = part.at.as_ref().and_then(|at| self.decider.code.run(at, &frame));
            holds != Some(part.want)
        });
        let told = |part: &Part<'f>| Unlike {
            expr: part.expr,
            want: part.want,
            first: part.first.as_ref().map(|(e, _)| *e),
            has: match &part.first {
                Some((_, at)) => value(at),
                None => value(&part.at),
            },
        };
        differs.map(told).collect()
    }

    /// Why a policy runs on Cedar, where it does and does not hold there.
    pub(crate) fn unlike_on_cedar(&self, policy: usize, ask: &Ask) -> Option<&'f str> {
        let why = self.policy(policy)?.on_cedar.as_ref()?;
        (!self.decider.applies(policy, ask)).then_some(why.why.as_str())
    }

    fn policy(&self, number: usize) -> Option<&'f Policy> {
        self.decider.folder.policies.get(number)
    }
}

fn take_apart<'f>(decider: &mut Decider<'f>, policy: &'f Policy) -> OfPolicy<'f> {
    let mut named = |scope: &Scope| match scope {
        Scope::All | Scope::Is(_) => None,
        Scope::Eq(Entity { kind, id })
        | Scope::In(Entity { kind, id })
        | Scope::IsIn(_, Entity { kind, id }) => Some(decider.columns.entity(kind, id)),
    };
    let (principal, resource) = (named(&policy.principal), named(&policy.resource));
    let mut found = Vec::new();
    for condition in &policy.conditions {
        split(&condition.body, !condition.unless, &mut found);
    }
    let mut conditions = Vec::new();
    for (expr, want) in found {
        let at = decider.code.add(expr, &mut decider.columns).ok();
        let mut first: Option<&'f Expr> = None;
        expr.visit(&mut |e| {
            let direct =
                matches!(e, Expr::Get(of, _) | Expr::Has(of, _) if matches!(**of, Expr::Var(_)));
            if direct && first.is_none() {
                first = Some(e);
            }
        });
        let first = first.map(|e| match e {
            Expr::Get(..) => (e, decider.code.add(e, &mut decider.columns).ok()),
            _ => (e, None),
        });
        conditions.push(Part { expr, want, at, first });
    }
    OfPolicy { principal, resource, conditions }
}

/// A variable or attribute in words.
pub(crate) fn plain(e: &Expr) -> String {
    match e {
        Expr::Var(Var::Principal) => "source".to_owned(),
        Expr::Var(Var::Resource) => "destination".to_owned(),
        Expr::Var(Var::Context) => "path".to_owned(),
        Expr::Get(of, name) | Expr::Has(of, name) => format!("{}.{name}", plain(of)),
        other => other.to_string(),
    }
}
