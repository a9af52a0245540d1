//! The text form of rule packs, as written in `rules/README.md`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Attribute, Attributes};

/// Longest pack that is read, in bytes.
pub const PACK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a pack is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pack}:{line}: {}{what}: {why}; {help}", RuleName(rule))]
pub struct RuleError {
    /// Name of the pack, usually its file.
    pub pack: Box<str>,
    /// Id of the rule; empty where the text is wrong as a whole.
    pub rule: Box<str>,
    /// Line in the pack, from 1; 0 for rules that did not come from text.
    pub line: usize,
    /// What is wrong.
    pub what: Box<str>,
    /// Why that is wrong.
    pub why: Box<str>,
    /// What to do.
    pub help: Box<str>,
}

struct RuleName<'a>(&'a str);

impl fmt::Display for RuleName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "rule `{}`: ", self.0) }
    }
}

/// A whole pack.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pack {
    /// Ids of rules in other packs that are switched off.
    #[serde(default)]
    pub(super) disable: Vec<String>,
    #[serde(default)]
    pub(super) condition: Vec<toml::Spanned<Condition>>,
    #[serde(default)]
    pub(super) rule: Vec<toml::Spanned<Rule>>,
    #[serde(default)]
    pub(super) map: Vec<toml::Spanned<Map>>,
}

/// A named set of tests that other rules refer to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Name, unique over all packs.
    pub id: String,
    /// Holds when one of these does.
    pub any: Vec<Test>,
}

/// One rule.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Rule {
    /// Unique over all packs.
    pub id: String,
    /// Fields it looks at.
    pub field: Text,
    /// Regular expression the value must match; any value without one.
    #[serde(rename = "match")]
    pub pattern: Option<String>,
    /// What does not depend on how the value is matched.
    #[serde(flatten)]
    pub common: Common,
}

/// A table of exact values.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Map {
    /// Unique over all packs.
    pub id: String,
    /// Fields it looks at.
    pub field: Text,
    /// Takes the key out of the value with a group `key`; the whole value without one.
    #[serde(rename = "match")]
    pub pattern: Option<String>,
    /// Compare keys as vendor names.
    #[serde(default)]
    pub vendors: bool,
    /// Key to what it means.
    pub values: BTreeMap<String, Row>,
    /// What does not depend on how the value is matched.
    #[serde(flatten)]
    pub common: Common,
}

/// What rules and maps share.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// How much a match alone proves; the field's default without one.
    pub strength: Option<f64>,
    /// The same for single attributes.
    pub strengths: BTreeMap<Attribute, f64>,
    /// Values that do not count: regular expressions, or `@condition`.
    pub except: Text,
    /// Further facts of the same device, all needed.
    pub when: Vec<Test>,
    /// Facts of the same device none of which may be there.
    pub unless: Vec<Test>,
    /// What a match tells: constants or templates.
    pub tells: Attributes,
    /// Values that match.
    pub yes: Vec<Example>,
    /// Values that do not.
    pub no: Vec<Example>,
    /// For readers.
    pub note: Option<String>,
}

/// A row of a map.
#[derive(Clone, Debug)]
pub enum Row {
    /// Text for the template `{entry}`.
    Entry(String),
    /// Attributes.
    Tells(Attributes),
}

/// A test on another fact of the same device.
#[derive(Clone, Debug)]
pub enum Test {
    /// A condition by name.
    Named(String),
    /// A test written here.
    Inline(Inline),
}

/// A test on the values of fields.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
pub struct Inline {
    /// Fields it looks at.
    pub field: Text,
    /// Regular expression.
    #[serde(rename = "match")]
    pub pattern: Option<String>,
    /// Values, without regard to case.
    #[serde(default)]
    pub is: Text,
    /// Vendors, compared as vendor names.
    #[serde(default)]
    pub vendor: Text,
}

/// One example.
#[derive(Clone, Debug, Default)]
pub struct Example {
    /// The field; the rule's first one without.
    pub field: Option<String>,
    /// The value.
    pub value: String,
    /// Other facts of the device.
    pub with: BTreeMap<String, Text>,
    /// What must be claimed.
    pub tells: Attributes,
}

/// One text or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(pub Vec<String>);

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(vec![text.to_owned()])
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text::from(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = seq.next_element()? {
                    texts.push(text);
                }
                Ok(Text(texts))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

/// Reads `text` or `{ table }`, so that the errors of the table stay readable.
macro_rules! text_or_table {
    ($name:ident, $what:literal, $text:expr, |$map:ident| $table:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;
                impl<'de> Visitor<'de> for Either {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        Ok($text(text.to_owned()))
                    }

                    fn visit_map<A: MapAccess<'de>>(self, $map: A) -> Result<$name, A::Error> {
                        $table
                    }
                }
                deserializer.deserialize_any(Either)
            }
        }
    };
}

text_or_table!(Row, "a text or a table of attributes", Row::Entry, |map| {
    Attributes::deserialize(de::value::MapAccessDeserializer::new(map)).map(Row::Tells)
});
text_or_table!(Test, "a condition's name or a table with `field`", Test::Named, |map| {
    Inline::deserialize(de::value::MapAccessDeserializer::new(map)).map(Test::Inline)
});
text_or_table!(
    Example,
    "a value or a table with `value`",
    |value| Example { value, ..Example::default() },
    |map| {
        let mut map = map;
        let mut example = Example::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "value" => example.value = map.next_value()?,
                "field" => example.field = Some(map.next_value()?),
                "with" => example.with = map.next_value()?,
                _ => {
                    let attribute = key.parse().map_err(de::Error::custom)?;
                    example.tells.insert(attribute, map.next_value()?);
                }
            }
        }
        Ok(example)
    }
);

/// By hand, because a flattened struct cannot refuse unknown keys.
impl<'de> Deserialize<'de> for Common {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Common;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the keys of a rule")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Common, A::Error> {
                let mut common = Common::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "strength" => common.strength = Some(map.next_value()?),
                        "strengths" => common.strengths = map.next_value()?,
                        "except" => common.except = map.next_value()?,
                        "when" => common.when = map.next_value()?,
                        "unless" => common.unless = map.next_value()?,
                        "yes" => common.yes = map.next_value()?,
                        "no" => common.no = map.next_value()?,
                        "note" => common.note = Some(map.next_value()?),
                        _ => {
                            let attribute = key.parse().map_err(de::Error::custom)?;
                            common.tells.insert(attribute, map.next_value()?);
                        }
                    }
                }
                Ok(common)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}
