//! Views: ways to look at the devices that people keep under a name.
//!
//! A view is what somebody types to see a list, so that it can be seen again: which devices, which columns, in which order. It grants
//! nothing: whoever opens it sees of it what they may.

use std::collections::BTreeMap;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::devices::{Field, Order, Selection};
use crate::{Refusal, Sort};

/// Views of one estate.
pub const VIEWS_MAX: usize = 1_000;
/// Columns of one view.
pub const COLUMNS_MAX: usize = 32;

/// Bytes of a selector.
const SELECTOR_BYTES_MAX: usize = 4_096;

/// Columns besides the fields of devices and `label.NAME`.
const COLUMNS: [&str; 8] =
    ["id", "site", "state", "address", "mac", "labels", "first_seen", "last_seen"];

/// A view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// Its name.
    pub name: String,
    /// A selector; nothing selects everything.
    #[serde(default)]
    pub l: String,
    /// An expression that has to hold too.
    #[serde(default, rename = "where")]
    pub expression: String,
    /// Words to look for.
    #[serde(default)]
    pub q: String,
    /// Columns, in order; none: those that are shown without a view.
    #[serde(default)]
    pub columns: Vec<String>,
    /// An order; nothing: by id.
    #[serde(default)]
    pub sort: String,
}

/// What can be commanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// There is a view, or it changes.
    Set {
        /// All of it.
        view: View,
    },
    /// It is no more.
    Remove {
        /// Which.
        name: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// There is a view, or it changed.
    Set {
        /// All of it.
        view: View,
    },
    /// It is no more.
    Removed {
        /// Which.
        name: String,
    },
}

impl Event {
    /// Its word in the journal.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Set { .. } => "set",
            Self::Removed { .. } => "removed",
        }
    }

    /// Name of the view.
    pub fn name(&self) -> &str {
        match self {
            Self::Set { view } => &view.name,
            Self::Removed { name } => name,
        }
    }
}

/// All views.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Views {
    all: BTreeMap<String, Known>,
}

/// A view, and what changed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The view.
    pub view: View,
    /// Number of the entry that changed it last.
    pub changed_by: u64,
}

impl Views {
    /// A view by its name.
    pub fn get(&self, name: &str) -> Option<&Known> {
        self.all.get(name)
    }

    /// All views by name.
    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.all.values()
    }

    pub(crate) fn decide(&self, command: &Command) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Set { view } => {
                check(view)?;
                let known = self.all.get(&view.name);
                if known.is_none() && self.all.len() >= VIEWS_MAX {
                    let (what, why) = (title(&view.name), format!("there are {VIEWS_MAX} already"));
                    return Err(Refusal::new(Sort::Full, "view.full", what, why));
                }
                let same = known.is_some_and(|known| known.view == *view);
                Ok(if same { Vec::new() } else { vec![Event::Set { view: view.clone() }] })
            }
            Command::Remove { name } if self.all.contains_key(name) => {
                Ok(vec![Event::Removed { name: name.clone() }])
            }
            Command::Remove { name } => {
                let why = "there is none with this name";
                let refusal = Refusal::new(Sort::Unknown, "view.unknown", title(name), why);
                Err(refusal.help("`ringfence get views` lists them"))
            }
        }
    }

    pub(crate) fn apply(&mut self, event: &Event, entry: u64) {
        match event {
            Event::Set { view } => {
                let known = Known { view: view.clone(), changed_by: entry };
                self.all.insert(view.name.clone(), known);
            }
            Event::Removed { name } => drop(self.all.remove(name)),
        }
    }
}

fn title(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
    format!("view `{name}`")
}

/// A view that could not be opened is not kept.
fn check(view: &View) -> Result<(), Refusal> {
    let wrong =
        |why: String| Err(Refusal::new(Sort::Invalid, "view.malformed", title(&view.name), why));
    let id = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if view.name.is_empty() || view.name.len() > 63 || !view.name.chars().all(id) {
        return wrong("a name is 1 to 63 of a-z 0-9 - _ .".to_owned());
    }
    if view.l.len() > SELECTOR_BYTES_MAX {
        return wrong(format!("its selector is longer than {SELECTOR_BYTES_MAX} bytes"));
    }
    let (l, expression, q) = (Some(&*view.l), Some(&*view.expression), Some(&*view.q));
    if let Err(error) = Selection::parse(l, expression, q, Timestamp::EPOCH) {
        return wrong(error.to_string());
    }
    if !view.sort.is_empty()
        && let Err(error) = Order::parse(&view.sort)
    {
        return wrong(error.to_string());
    }
    if view.columns.len() > COLUMNS_MAX {
        return wrong(format!("it has more than {COLUMNS_MAX} columns"));
    }
    let known = |column: &str| {
        let label = column.strip_prefix("label.").is_some_and(|l| !l.is_empty() && l.len() <= 63);
        COLUMNS.contains(&column) || Field::of(column).is_some() || label
    };
    match view.columns.iter().find(|column| !known(column)) {
        Some(column) => {
            let column: String = column.chars().filter(|c| !c.is_control()).take(60).collect();
            wrong(format!(
                "`{column}` is no column; there are {}, the fields, and label.NAME",
                COLUMNS.join(", ")
            ))
        }
        None => Ok(()),
    }
}
