//! Tests on further facts of the same device.

use super::FactView;
use super::format::{Inline, Test, Text};
use super::pattern::{Pattern, ReadPattern};
use crate::vendors;

/// A field name, or all names with a prefix (`mdns.txt.*`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum FieldPattern {
    /// This field.
    Exact(String),
    /// Every field that begins so.
    Prefix(String),
}

impl FieldPattern {
    pub(super) fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }

    fn covers(&self, field: &str) -> bool {
        match self {
            Self::Exact(name) => name == field,
            Self::Prefix(prefix) => field.starts_with(prefix.as_str()),
        }
    }
}

/// One compiled test.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    fields: Vec<FieldPattern>,
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    Any,
    Regex(Pattern),
    Is(Vec<String>),
    Vendor(Vec<vendors::Wanted>),
}

impl Probe {
    /// Compiles a test; the error is fit for the author.
    pub(super) fn compile(test: &Inline, pattern: ReadPattern) -> Result<Self, String> {
        if test.field.0.is_empty() {
            return Err("a test without `field`".to_owned());
        }
        let how = match (&test.pattern, test.is.0.as_slice(), test.vendor.0.as_slice()) {
            (None, [], []) => How::Any,
            (Some(regex), [], []) => {
                How::Regex(pattern(regex).map_err(|why| format!("`{regex}`: {why}"))?)
            }
            (None, values, []) => How::Is(values.iter().map(|v| v.to_lowercase()).collect()),
            (None, [], names) => How::Vendor(names.iter().map(|n| vendors::wanted(n)).collect()),
            _ => return Err("a test with more than one of `match`, `is`, `vendor`".to_owned()),
        };
        let fields = test.field.0.iter().map(|f| FieldPattern::parse(f)).collect();
        Ok(Self { fields, how })
    }

    /// Whether a value passes.
    pub(super) fn accepts(&self, value: &str) -> bool {
        match &self.how {
            How::Any => true,
            How::Regex(regex) => regex.is_match(value),
            How::Is(values) => {
                let value = value.to_lowercase();
                values.contains(&value)
            }
            How::Vendor(wanted) => {
                let name = vendors::words(value);
                wanted.iter().any(|w| w.is(&name))
            }
        }
    }

    /// Whether it looks at a field and the value passes.
    pub(super) fn accepts_fact(&self, fact: FactView<'_>) -> bool {
        self.fields.iter().any(|f| f.covers(fact.field)) && self.accepts(fact.value)
    }
}

/// A test as a rule names it.
#[derive(Clone, Debug)]
pub(super) enum TestRef {
    Named(String),
    Inline(Inline, Probe),
}

impl TestRef {
    pub(super) fn compile(test: &Test, pattern: ReadPattern) -> Result<Self, String> {
        match test {
            Test::Named(name) => Ok(Self::Named(name.clone())),
            Test::Inline(inline) => {
                Ok(Self::Inline(inline.clone(), Probe::compile(inline, pattern)?))
            }
        }
    }
}

/// All fields that tests name.
pub(super) fn fields(tests: &[Test]) -> impl Iterator<Item = &str> {
    tests
        .iter()
        .flat_map(|test| match test {
            Test::Named(_) => [].iter(),
            Test::Inline(Inline { field: Text(names), .. }) => names.iter(),
        })
        .map(String::as_str)
}
