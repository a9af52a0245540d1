//! Runs the examples that rules carry.

use std::fmt;

use super::format::Example;
use super::{Attribute, Claim, FactView, Rules};
use crate::vendors;

/// An example that does not come out as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Name of the pack.
    pub pack: String,
    /// Line of the rule in it.
    pub line: usize,
    /// Id of the rule.
    pub rule: String,
    /// The example's value.
    pub example: String,
    /// What came out instead.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pack, line, rule, example, what } = self;
        write!(f, "{pack}:{line}: rule `{rule}`: example `{example}`: {what}")
    }
}

impl Rules {
    /// Runs the examples of all rules.
    pub fn failing_examples(&self) -> Vec<Failure> {
        let mut failures = Vec::new();
        for ready in &self.rules {
            let rule = &ready.rule;
            let mut fail = |example: &Example, what: String| {
                failures.push(Failure {
                    pack: rule.at.pack.clone(),
                    line: rule.at.line,
                    rule: rule.at.id.to_string(),
                    example: example.value.clone(),
                    what,
                });
            };
            for example in &rule.yes {
                let claims = self.claims_of(&rule.at.id, &rule.first_field, example);
                if claims.is_empty() {
                    fail(example, "does not match, but is under `yes`".to_owned());
                }
                for (attribute, expected) in &example.tells {
                    if let Some(what) = differs(&claims, *attribute, expected) {
                        fail(example, what);
                    }
                }
            }
            for example in &rule.no {
                let claims = self.claims_of(&rule.at.id, &rule.first_field, example);
                if let Some(claim) = claims.first() {
                    let what =
                        format!("is under `no`, but tells {} `{}`", claim.attribute, claim.value);
                    fail(example, what);
                }
            }
        }
        failures
    }

    /// How many examples there are.
    pub fn count_examples(&self) -> usize {
        self.rules.iter().map(|r| r.rule.yes.len() + r.rule.no.len()).sum()
    }

    fn claims_of(&self, rule: &str, field: &str, example: &Example) -> Vec<Claim> {
        let field = example.field.as_deref().unwrap_or(field);
        let mut facts = vec![FactView { field, value: &example.value }];
        for (field, values) in &example.with {
            facts.extend(values.0.iter().map(|value| FactView { field, value }));
        }
        let mut claims = Vec::new();
        self.evaluate(&facts, &mut claims);
        claims.retain(|claim| &*claim.rule == rule && claim.fact == 0);
        claims
    }
}

fn differs(claims: &[Claim], attribute: Attribute, expected: &str) -> Option<String> {
    let told: Vec<&str> =
        claims.iter().filter(|c| c.attribute == attribute).map(|c| c.value.as_str()).collect();
    let normal = match attribute {
        Attribute::Vendor | Attribute::ChipVendor => vendors::normalise(expected),
        _ => expected.to_owned(),
    };
    match told.as_slice() {
        [] => Some(format!("tells no {attribute}, expected `{expected}`")),
        [value] if *value == normal => None,
        values => Some(format!("tells {attribute} `{}`, expected `{normal}`", values.join("`, `"))),
    }
}
