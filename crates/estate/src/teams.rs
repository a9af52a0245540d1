//! Teams: who is answerable for devices, how to reach them, and how long they have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Refusal, Sort};

/// Teams of one estate.
pub const TEAMS_MAX: usize = 10_000;

/// A team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// Short name used elsewhere.
    pub id: String,
    /// For people.
    pub name: String,
    /// How to reach the team (a mailbox, a channel: no person's).
    pub contact: String,
    /// Minutes that the team has before the next one is asked.
    pub escalate_after_min: u32,
    /// The next one.
    #[serde(default)]
    pub escalate_to: Option<String>,
}

/// What can be commanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// There is a team, or it changes.
    Set {
        /// All of it.
        team: Team,
    },
    /// It is no more.
    Remove {
        /// Which.
        id: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// There is a team, or it changed.
    Set {
        /// All of it.
        team: Team,
    },
    /// It is no more.
    Removed {
        /// Which.
        id: String,
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
}

/// All teams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Teams {
    all: BTreeMap<String, Known>,
}

/// A team, and what changed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The team.
    pub team: Team,
    /// Number of the entry that changed it last.
    pub changed_by: u64,
}

impl Teams {
    /// A team by its id.
    pub fn get(&self, id: &str) -> Option<&Known> {
        self.all.get(id)
    }

    /// All teams by id.
    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.all.values()
    }

    pub(crate) fn decide(&self, command: &Command) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Set { team } => {
                check(team)?;
                if let Some(to) = &team.escalate_to
                    && (to == &team.id || !self.all.contains_key(to))
                {
                    let why = format!("there is no other team `{to}` to escalate to");
                    return Err(Refusal::new(
                        Sort::Invalid,
                        "team.escalate-to",
                        format!("team {}", team.id),
                        why,
                    ));
                }
                if self.all.len() >= TEAMS_MAX && !self.all.contains_key(&team.id) {
                    let why = format!("there are {TEAMS_MAX} already");
                    return Err(Refusal::new(
                        Sort::Full,
                        "team.full",
                        format!("team {}", team.id),
                        why,
                    ));
                }
                let same = self.all.get(&team.id).is_some_and(|known| known.team == *team);
                Ok(if same { Vec::new() } else { vec![Event::Set { team: team.clone() }] })
            }
            Command::Remove { id } => {
                if !self.all.contains_key(id) {
                    return Err(unknown(id));
                }
                let before = self.all.values().find(|k| k.team.escalate_to.as_ref() == Some(id));
                if let Some(before) = before {
                    let why = format!("team {} escalates to it", before.team.id);
                    return Err(Refusal::new(
                        Sort::Conflict,
                        "team.needed",
                        format!("team {id}"),
                        why,
                    ));
                }
                Ok(vec![Event::Removed { id: id.clone() }])
            }
        }
    }

    pub(crate) fn apply(&mut self, event: &Event, entry: u64) {
        match event {
            Event::Set { team } => {
                let known = Known { team: team.clone(), changed_by: entry };
                self.all.insert(team.id.clone(), known);
            }
            Event::Removed { id } => {
                self.all.remove(id);
            }
        }
    }
}

/// There is no such team.
pub(crate) fn unknown(id: &str) -> Refusal {
    Refusal::new(Sort::Unknown, "team.unknown", format!("team {id}"), "there is none with this id")
        .help("`ringfence get teams` lists them")
}

fn check(team: &Team) -> Result<(), Refusal> {
    let wrong = |why: &str| {
        let id: String = team.id.chars().filter(|c| !c.is_control()).take(60).collect();
        Err(Refusal::new(Sort::Invalid, "team.malformed", format!("team `{id}`"), why))
    };
    let id = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if team.id.is_empty() || team.id.len() > 63 || !team.id.chars().all(id) {
        return wrong("an id is 1 to 63 of a-z 0-9 - _ .");
    }
    for (what, text) in [("name", &team.name), ("contact", &team.contact)] {
        if text.is_empty() || text.chars().count() > 200 || text.chars().any(char::is_control) {
            return wrong(&format!("its {what} is 1 to 200 characters without control characters"));
        }
    }
    if !(1..=43_200).contains(&team.escalate_after_min) {
        return wrong("escalate_after_min is 1 to 43200 (30 days)");
    }
    Ok(())
}
