//! The policies of a folder as values, with one printer.
//!
//! This is a subset of Cedar with Cedar's meaning (a policy whose condition errs does not apply;
//! any applying `forbid` wins; without a `permit` the answer is no). [`crate::cedar`] reads Cedar text
//! into it and is the oracle that tests compare it with; [`crate::decide`] compiles and runs it.

use std::collections::BTreeMap;
use std::fmt;

use model::ruleset::Mode;

use crate::text::{cedar_string, line};

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Name from `@id`; unique in the folder.
    pub id: String,
    /// What it does when it applies.
    pub effect: Effect,
    /// Annotations without `@id`: `mode`, `evidence`, `reason`, obligations.
    pub annotations: BTreeMap<String, String>,
    /// Which devices.
    pub principal: Scope,
    /// Which actions.
    pub action: Actions,
    /// Which services.
    pub resource: Scope,
    /// All must hold. Empty where the policy runs on Cedar.
    pub conditions: Vec<Condition>,
    /// The compiled form cannot say its conditions: it runs on Cedar's own authorizer.
    pub on_cedar: Option<OnCedar>,
    /// File it stands in.
    pub file: String,
    /// Line it starts at, 0 when it was not read from text.
    pub line: u32,
}

/// What is kept of a policy that runs on Cedar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnCedar {
    /// What the compiled form cannot say.
    pub why: String,
    /// The policy's own text.
    pub text: String,
    /// Entities that its conditions name.
    pub names: Vec<Entity>,
}

/// `permit` or `forbid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Grants.
    Permit,
    /// Denies, whatever else permits.
    Forbid,
}

/// An entity by type and id: `Zone::"main/cameras/10.0.1.0-24"`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    /// `Device`, `Service`, `Zone`, `Site`, `DeviceType`, `ServiceGroup`.
    pub kind: String,
    /// Its id.
    pub id: String,
}

/// Scope of a principal or resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Any.
    All,
    /// `is Type`.
    Is(String),
    /// `== entity`.
    Eq(Entity),
    /// `in entity`.
    In(Entity),
    /// `is Type in entity`.
    IsIn(String, Entity),
}

/// Scope of actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actions {
    /// Any.
    All,
    /// These.
    These(Vec<String>),
}

/// `when { … }` or `unless { … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// It is an `unless`.
    pub unless: bool,
    /// What must hold (or not).
    pub body: Expr,
}

/// Variables of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Var {
    /// The device.
    Principal,
    /// The service.
    Resource,
    /// Protocol and port.
    Context,
}

/// Operators with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `&&`
    And,
    /// `||`
    Or,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `in`
    In,
    /// `.contains`
    Contains,
    /// `.containsAll`
    ContainsAll,
    /// `.containsAny`
    ContainsAny,
}

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// `true`, `false`.
    Bool(bool),
    /// An integer.
    Long(i64),
    /// A string.
    Text(String),
    /// An entity.
    Entity(Entity),
    /// `[a, b]`.
    Set(Vec<Self>),
    /// `principal`, `resource`, `context`.
    Var(Var),
    /// `e.name`.
    Get(Box<Self>, String),
    /// `e has name`.
    Has(Box<Self>, String),
    /// `!e`.
    Not(Box<Self>),
    /// `a op b`.
    Binary(Binary, Box<Self>, Box<Self>),
    /// `if a then b else c`.
    If(Box<Self>, Box<Self>, Box<Self>),
    /// `e is Type`.
    Is(Box<Self>, String),
    /// `e like "a*b"`: the literal parts between the stars.
    Like(Box<Self>, Vec<String>),
}

impl Policy {
    /// Mode from `@mode`; enforced when it says nothing. A policy in shadow decides nothing yet.
    pub fn mode(&self) -> Mode {
        match self.annotations.get("mode").map(String::as_str) {
            Some("shadow") => Mode::Shadow,
            _ => Mode::Enforce,
        }
    }

    /// Percent of devices for which it is in force, from `@share`; the others see it in shadow.
    pub fn share(&self) -> Option<u8> {
        self.annotations.get("share").and_then(|text| crate::share::percent(text))
    }

    /// It is about an action.
    pub fn names_action(&self, action: &str) -> bool {
        match &self.action {
            Actions::All => true,
            Actions::These(these) => these.iter().any(|a| a == action),
        }
    }

    /// It is in force for an action, for all or some devices.
    pub fn concerns(&self, action: &str) -> bool {
        self.names_action(action) && self.mode() == Mode::Enforce
    }

    /// Every entity named anywhere in it.
    pub fn entities(&self) -> Vec<&Entity> {
        let mut found = Vec::new();
        for scope in [&self.principal, &self.resource] {
            match scope {
                Scope::All | Scope::Is(_) => {}
                Scope::Eq(e) | Scope::In(e) | Scope::IsIn(_, e) => found.push(e),
            }
        }
        for condition in &self.conditions {
            condition.body.visit(&mut |e| {
                if let Expr::Entity(entity) = e {
                    found.push(entity);
                }
            });
        }
        found.extend(self.on_cedar.iter().flat_map(|on_cedar| &on_cedar.names));
        found
    }
}

impl Expr {
    /// A variable's attribute.
    pub(crate) fn attr(var: Var, name: &str) -> Self {
        Self::Get(Box::new(Self::Var(var)), name.to_owned())
    }

    /// `a op b`.
    pub(crate) fn binary(op: Binary, a: Self, b: Self) -> Self {
        Self::Binary(op, Box::new(a), Box::new(b))
    }

    /// A string.
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub(crate) fn visit<'e>(&'e self, f: &mut impl FnMut(&'e Self)) {
        f(self);
        match self {
            Self::Bool(_) | Self::Long(_) | Self::Text(_) | Self::Entity(_) | Self::Var(_) => {}
            Self::Set(items) => items.iter().for_each(|e| e.visit(f)),
            Self::Get(e, _)
            | Self::Has(e, _)
            | Self::Not(e)
            | Self::Is(e, _)
            | Self::Like(e, _) => {
                e.visit(f);
            }
            Self::Binary(_, a, b) => {
                a.visit(f);
                b.visit(f);
            }
            Self::If(a, b, c) => {
                a.visit(f);
                b.visit(f);
                c.visit(f);
            }
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(on_cedar) = &self.on_cedar {
            return writeln!(f, "{}", on_cedar.text);
        }
        writeln!(f, "@id({})", cedar_string(&self.id))?;
        for (name, value) in &self.annotations {
            writeln!(f, "@{name}({})", cedar_string(value))?;
        }
        let effect = match self.effect {
            Effect::Permit => "permit",
            Effect::Forbid => "forbid",
        };
        writeln!(f, "{effect} (")?;
        writeln!(f, "  {},", scope("principal", &self.principal))?;
        let actions = |these: &[String]| {
            these
                .iter()
                .map(|a| format!("Action::{}", cedar_string(a)))
                .collect::<Vec<_>>()
                .join(", ")
        };
        match &self.action {
            Actions::All => writeln!(f, "  action,")?,
            Actions::These(these) if these.len() == 1 => {
                writeln!(f, "  action == {},", actions(these))?;
            }
            Actions::These(these) => writeln!(f, "  action in [{}],", actions(these))?,
        }
        write!(f, "  {}\n)", scope("resource", &self.resource))?;
        for condition in &self.conditions {
            let word = if condition.unless { "unless" } else { "when" };
            write!(f, " {word} {{ {} }}", condition.body)?;
        }
        writeln!(f, ";")
    }
}

/// A scope as a policy says it.
pub(crate) fn scope(var: &str, scope: &Scope) -> String {
    match scope {
        Scope::All => var.to_owned(),
        Scope::Is(kind) => format!("{var} is {kind}"),
        Scope::Eq(e) => format!("{var} == {e}"),
        Scope::In(e) => format!("{var} in {e}"),
        Scope::IsIn(kind, e) => format!("{var} is {kind} in {e}"),
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.kind, cedar_string(&self.id))
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(b) => write!(f, "{b}"),
            Self::Long(n) => write!(f, "{n}"),
            Self::Text(text) => f.write_str(&cedar_string(text)),
            Self::Entity(e) => write!(f, "{e}"),
            Self::Set(items) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Self::Var(Var::Principal) => f.write_str("principal"),
            Self::Var(Var::Resource) => f.write_str("resource"),
            Self::Var(Var::Context) => f.write_str("context"),
            Self::Get(e, name) => write!(f, "{}.{}", Inner(e), line(name)),
            Self::Has(e, name) => write!(f, "{} has {}", Inner(e), line(name)),
            Self::Not(e) => write!(f, "!{}", Inner(e)),
            Self::If(a, b, c) => write!(f, "if {a} then {b} else {c}"),
            Self::Is(e, kind) => write!(f, "{} is {kind}", Inner(e)),
            Self::Like(e, parts) => {
                let parts: Vec<String> =
                    parts.iter().map(|p| cedar_string(p).replace('*', "\\*")).collect();
                let joined =
                    parts.iter().map(|p| p.trim_matches('"')).collect::<Vec<_>>().join("*");
                write!(f, "{} like \"{joined}\"", Inner(e))
            }
            Self::Binary(Binary::And, a, b) => write!(f, "{} && {}", Conjunct(a), Conjunct(b)),
            Self::Binary(op, a, b) => match op.method() {
                Some(method) => write!(f, "{}.{method}({b})", Inner(a)),
                None => write!(f, "{} {} {}", Inner(a), op.sign(), Inner(b)),
            },
        }
    }
}

/// An operand, in parentheses unless it is a plain term.
struct Inner<'e>(&'e Expr);

impl fmt::Display for Inner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expr::Binary(op, ..) if op.method().is_some() => write!(f, "{}", self.0),
            Expr::Binary(..) | Expr::If(..) | Expr::Is(..) | Expr::Like(..) | Expr::Has(..) => {
                write!(f, "({})", self.0)
            }
            _ => write!(f, "{}", self.0),
        }
    }
}

/// An operand of `&&`: comparisons and further `&&` need no parentheses.
struct Conjunct<'e>(&'e Expr);

impl fmt::Display for Conjunct<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expr::Binary(Binary::Or, ..) | Expr::If(..) => write!(f, "({})", self.0),
            _ => write!(f, "{}", self.0),
        }
    }
}

impl Binary {
    fn sign(self) -> &'static str {
        match self {
            Self::And => "&&",
            Self::Or => "||",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::In => "in",
            Self::Contains | Self::ContainsAll | Self::ContainsAny => "",
        }
    }

    fn method(self) -> Option<&'static str> {
        match self {
            Self::Contains => Some("contains"),
            Self::ContainsAll => Some("containsAll"),
            Self::ContainsAny => Some("containsAny"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_with_the_parentheses_that_meaning_needs() {
        let yes = || Expr::Bool(true);
        let or = Expr::binary(Binary::Or, yes(), yes());
        let and = Expr::binary(Binary::And, or, Expr::Not(Box::new(yes())));
        assert_eq!(and.to_string(), "(true || true) && !true");
        let port = Expr::binary(Binary::Eq, Expr::attr(Var::Context, "port"), Expr::Long(23));
        let set = Expr::Set(vec![Expr::Long(21), Expr::Long(23)]);
        let any = Expr::binary(Binary::Contains, set, Expr::attr(Var::Context, "port"));
        assert_eq!(
            Expr::Not(Box::new(Expr::binary(Binary::Or, port, any))).to_string(),
            "!((context.port == 23) || [21, 23].contains(context.port))"
        );
    }
}
