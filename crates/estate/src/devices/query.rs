//! Selectors: `type=ip-camera,site=w1,owner!=,label.rack=7,state in (active,stale)`.
//!
//! Terms are joined by commas and all have to hold. `FIELD=VALUE`, `FIELD!=VALUE` (also true where there is no value),
//! `FIELD` (has one), `!FIELD` (has none), `FIELD in (A,B)`; `*` at the end of a value stands for any rest. Fields are
//! those of [`Field`], `id`, `state`, `address`, `mac`, and `label.NAME`.

use super::device::Device;
use super::{Field, State};

/// A selector that is understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    of: Of,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Of {
    Field(Field),
    Label(String),
    Id,
    State,
    Address,
    Mac,
    Site,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Any(Vec<String>),
    Not(String),
    Has,
    HasNot,
}

/// A selector that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("selector `{term}`: {why}")]
pub struct QueryError {
    /// The part that is wrong.
    pub term: String,
    /// What is wrong with it.
    pub why: String,
}

/// Terms of one selector.
const TERMS_MAX: usize = 32;

impl Query {
    /// Reads a selector; nothing selects everything.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut terms = Vec::new();
        for term in split(text) {
            if terms.len() >= TERMS_MAX {
                let why = format!("more than {TERMS_MAX} terms");
                return Err(QueryError { term: term.to_owned(), why });
            }
            terms.push(Term::parse(term)?);
        }
        Ok(Self(terms))
    }

    /// All terms hold for a device.
    pub fn selects(&self, device: &Device) -> bool {
        self.0.iter().all(|term| term.holds(device))
    }

    /// It selects everything.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }
}

impl Term {
    fn parse(term: &str) -> Result<Self, QueryError> {
        let wrong = |why: &str| QueryError { term: term.to_owned(), why: why.to_owned() };
        let (of, test) = if let Some((of, list)) = term.split_once(" in ") {
            let list = list.trim().strip_prefix('(').and_then(|l| l.strip_suffix(')'));
            let list =
                list.ok_or_else(|| wrong("a list stands in parentheses: `site in (w1,w2)`"))?;
            (of, Test::Any(list.split(',').map(|value| value.trim().to_owned()).collect()))
        } else if let Some((of, value)) = term.split_once("!=") {
            (of, if value.is_empty() { Test::Has } else { Test::Not(value.trim().to_owned()) })
        } else if let Some((of, value)) = term.split_once('=') {
            let value = value.trim().trim_start_matches('=');
            (of, if value.is_empty() { Test::HasNot } else { Test::Any(vec![value.to_owned()]) })
        } else if let Some(of) = term.strip_prefix('!') {
            (of, Test::HasNot)
        } else {
            (term, Test::Has)
        };
        let of = of.trim();
        let of = match of {
            "id" => Of::Id,
            "state" => Of::State,
            "address" | "ip" => Of::Address,
            "mac" => Of::Mac,
            "site" => Of::Site,
            _ => match (of.strip_prefix("label."), Field::of(of)) {
                (Some(name), _) if !name.is_empty() => Of::Label(name.to_owned()),
                (_, Some(field)) => Of::Field(field),
                _ => {
                    let fields: Vec<&str> = Field::ALL.iter().map(|f| f.word()).collect();
                    let why = format!(
                        "`{of}` is no field; there are id, state, address, mac, label.NAME, {}",
                        fields.join(", ")
                    );
                    return Err(wrong(&why));
                }
            },
        };
        if of == Of::State
            && let Test::Any(values) = &test
        {
            let states = [State::Active, State::Stale, State::Retired].map(State::word);
            if let Some(other) = values.iter().find(|v| !states.contains(&v.as_str())) {
                return Err(wrong(&format!(
                    "`{other}` is no state; there are {}",
                    states.join(", ")
                )));
            }
        }
        Ok(Self { of, test })
    }

    fn holds(&self, device: &Device) -> bool {
        let one = |value: Option<&str>| self.test.holds(value.into_iter());
        match &self.of {
            Of::Field(field) => one(device.value(*field)),
            Of::Label(name) => one(device.label(name)),
            Of::Id => one(Some(device.id.as_str())),
            Of::State => one(Some(device.state.word())),
            Of::Site => one(Some(device.site.as_str())),
            Of::Mac => {
                self.test.holds(device.keys.iter().filter_map(|key| key.strip_prefix("mac/")))
            }
            Of::Address => {
                let texts: Vec<String> = device.addresses.iter().map(ToString::to_string).collect();
                self.test.holds(texts.iter().map(String::as_str))
            }
        }
    }
}

impl Test {
    fn holds<'v>(&self, mut values: impl Iterator<Item = &'v str>) -> bool {
        match self {
            Self::Any(wanted) => values.any(|value| wanted.iter().any(|w| matches(w, value))),
            Self::Not(unwanted) => !values.any(|value| matches(unwanted, value)),
            Self::Has => values.next().is_some(),
            Self::HasNot => values.next().is_none(),
        }
    }
}

fn matches(pattern: &str, value: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => value.starts_with(start),
        None => pattern == value,
    }
}

/// Terms between commas that are not in parentheses.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |c: char| {
        match c {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|term| !term.is_empty())
}
