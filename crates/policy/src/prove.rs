//! Standing claims for *every* estate under the schema, not only today's.
//!
//! A claim becomes questions of one form: can the enforced policies and a probe ever allow the same
//! request? A [`Solver`] (see crate `prove`) answers them; this module only asks. What is assumed about
//! estates is written into the probe:
//!
//! * zones that policies name keep their class; a device is in a zone, type and site exactly when it says so;
//! * services, groups and devices that policies name stay in their zones;
//! * a service is in the zone of the device that offers it, and is asked for at its own protocol and port.
//!
//! Everything else may be anything: how many devices there are, their types, owners, identities, states.
//!
//! A claim about hopping is proved class by class: a class is reachable when a direct path to a device in it
//! cannot be excluded. Without a solver, claims are checked exhaustively on today's estate, and labelled so.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::Fault;
use crate::check::Claims;
use crate::class::{EXTERNAL, GROUPS};
use crate::folder::{Claim, Folder};
use crate::language::Policy;
use crate::lower::Lowered;
use crate::text::cedar_string;

/// Questions that one claim may cost; a claim that needs more stays open, and says so.
const QUESTIONS_MAX: u32 = 400;

/// "Do these policies and this probe ever allow the same request?"
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question<'q> {
    /// Schema text.
    pub schema: &'q str,
    /// Enforced policies: id and Cedar text.
    pub policies: &'q [(String, String)],
    /// One `permit` that says what must never happen.
    pub probe: &'q str,
}

/// What a solver says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Never: proved.
    Never,
    /// A request that both allow, in words.
    Example(Example),
    /// It did not find out; why.
    Unknown(String),
}

/// A request from an estate that could exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The device, in words.
    pub device: String,
    /// The service, in words.
    pub service: String,
}

/// Decides questions. Implemented above this crate.
pub trait Solver {
    /// Decides one question.
    fn ask(&mut self, question: &Question<'_>) -> Answer;
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "standing")]
pub enum Standing {
    /// Proved for every estate under the schema.
    Proved,
    /// Broken today, by a real device and service.
    Broken(Fault),
    /// Holds today, and another estate would break it.
    HoldsToday {
        /// Such an estate, in words.
        example: Example,
        /// Classes on the way, for a claim about hopping.
        way: Vec<String>,
    },
    /// Checked on every pair of today's estate; nothing is known of others.
    Exhaustive {
        /// Why no more: no solver, out of time.
        because: String,
    },
}

/// A claim and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Claim.
    pub claim: String,
    /// Line in `claims.toml`.
    pub line: u32,
    /// What became of it.
    #[serde(flatten)]
    pub standing: Standing,
    /// Questions that were asked.
    pub questions: u32,
}

/// Proves one claim. Today's estate is asked first: a broken claim needs no solver.
pub fn prove(
    folder: &Folder,
    lowered: &Lowered,
    claim: &Claim,
    solver: Option<&mut dyn Solver>,
) -> Proof {
    let proof = |standing, questions| Proof {
        claim: claim.id.clone(),
        line: claim.line,
        standing,
        questions,
    };
    if let Some(fault) = Claims::over(folder, lowered).broken(claim) {
        return proof(Standing::Broken(fault), 0);
    }
    let Some(solver) = solver else {
        return proof(Standing::Exhaustive { because: "there is no solver".to_owned() }, 0);
    };
    let mut asking = Asking::over(folder, solver);
    let standing = if claim.hops { asking.hops(claim) } else { asking.direct(claim) };
    proof(standing, asking.questions)
}

/// A device class as a condition: one of today's, or none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class<'f> {
    Named(&'f str),
    /// Any class that no zone has today.
    Other,
}

impl std::fmt::Display for Class<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Other => f.write_str("a class that no zone has today"),
        }
    }
}

struct Asking<'f, 's> {
    folder: &'f Folder,
    solver: &'s mut dyn Solver,
    policies: Vec<(String, String)>,
    assumed: String,
    classes: Vec<&'f str>,
    questions: u32,
}

impl<'f, 's> Asking<'f, 's> {
    fn over(folder: &'f Folder, solver: &'s mut dyn Solver) -> Self {
        let enforced: Vec<&Policy> =
            folder.policies.iter().filter(|p| p.concerns("connect")).collect();
        let classes: BTreeSet<&str> = folder
            .estate
            .zones
            .iter()
            .map(|zone| zone.class.as_str())
            .filter(|class| *class != EXTERNAL && *class != GROUPS)
            .collect();
        Self {
            folder,
            solver,
            assumed: assumptions(folder, &enforced),
            policies: enforced.iter().map(|p| (p.id.clone(), p.to_string())).collect(),
            classes: classes.into_iter().collect(),
            questions: 0,
        }
    }

    fn direct(&mut self, claim: &Claim) -> Standing {
        match self.ask(Class::Named(&claim.from), Class::Named(&claim.never), false) {
            Answer::Never => Standing::Proved,
            Answer::Example(example) => Standing::HoldsToday { example, way: Vec::new() },
            Answer::Unknown(because) => Standing::Exhaustive { because },
        }
    }

    /// Breadth first over classes that cannot be excluded.
    fn hops(&mut self, claim: &Claim) -> Standing {
        let start = Class::Named(claim.from.as_str());
        let mut from: BTreeMap<Class<'_>, Class<'_>> = BTreeMap::new();
        let mut todo = std::collections::VecDeque::from([start]);
        let mut met = BTreeSet::from([start]);
        let classes: Vec<&'f str> = self.classes.clone();
        while let Some(class) = todo.pop_front() {
            match self.ask(class, Class::Named(&claim.never), false) {
                Answer::Never => {}
                Answer::Example(example) => {
                    let mut way = vec![class.to_string()];
                    let mut at = class;
                    while let Some(before) = from.get(&at) {
                        way.push(before.to_string());
                        at = *before;
                    }
                    way.reverse();
                    return Standing::HoldsToday { example, way };
                }
                Answer::Unknown(because) => return Standing::Exhaustive { because },
            }
            let all = classes.iter().map(|name| Class::Named(name)).chain([Class::Other]);
            for next in all {
                // The class itself is the one that must not be reached: asked above.
                if met.contains(&next) || next == Class::Named(&claim.never) {
                    continue;
                }
                match self.ask(class, next, true) {
                    Answer::Never => {}
                    Answer::Example(_) => {
                        met.insert(next);
                        from.insert(next, class);
                        todo.push_back(next);
                    }
                    Answer::Unknown(because) => return Standing::Exhaustive { because },
                }
            }
        }
        Standing::Proved
    }

    /// Can a device of one class open a service of another? `hosted`: one that a device offers.
    fn ask(&mut self, from: Class<'_>, to: Class<'_>, hosted: bool) -> Answer {
        if self.questions >= QUESTIONS_MAX {
            return Answer::Unknown(format!("it would take more than {QUESTIONS_MAX} questions"));
        }
        self.questions = self.questions.saturating_add(1);
        let is = |whom: &str, class: Class<'_>| match class {
            Class::Named(name) => format!("{whom}.zone.class == {}", cedar_string(name)),
            Class::Other => {
                let names: Vec<String> = self.classes.iter().map(|c| cedar_string(c)).collect();
                format!("!([{}].contains({whom}.zone.class))", names.join(", "))
            }
        };
        let hosted = if hosted { " && resource has device" } else { "" };
        let probe = format!(
            "permit (principal is Device, action == Action::\"connect\", resource is Service)\nwhen {{ {} && {}{hosted} }}\n{}",
            is("principal", from),
            is("resource", to),
            self.assumed,
        );
        self.solver.ask(&Question {
            schema: &self.folder.schema,
            policies: &self.policies,
            probe: &probe,
        })
    }
}

/// What is assumed of every estate, as conditions.
fn assumptions(folder: &Folder, policies: &[&Policy]) -> String {
    let mut named: BTreeSet<(&str, &str)> = BTreeSet::new();
    for policy in policies {
        for entity in policy.entities() {
            named.insert((&entity.kind, &entity.id));
        }
    }
    let estate = &folder.estate;
    let entity = |kind: &str, id: &str| format!("{kind}::{}", cedar_string(id));
    let mut lines = vec![
        "if resource has device then resource.device != principal else true".to_owned(),
        "if resource has device then resource.device.zone == resource.zone else true".to_owned(),
        "context.port == resource.port && context.protocol == resource.protocol".to_owned(),
    ];
    let mut zones: BTreeSet<&str> = BTreeSet::new();
    for (kind, id) in &named {
        let it = entity(kind, id);
        match *kind {
            "Zone" => {
                zones.insert(id);
                lines.push(format!("(principal in {it}) == (principal.zone == {it})"));
                lines.push(format!("(resource in {it}) == (resource.zone == {it})"));
            }
            "DeviceType" => lines.push(format!("(principal in {it}) == (principal.type == {it})")),
            "Site" => {
                lines.push(format!("(principal in {it}) == (principal.site == {it})"));
                lines.push(format!(
                    "(resource in {it}) == (resource has site && resource.site == {it})"
                ));
            }
            "ServiceGroup" => {
                let members =
                    estate.groups.iter().filter(|g| g.id == *id).flat_map(|g| &g.services);
                let in_zones: BTreeSet<&str> = members
                    .filter_map(|m| estate.services.iter().find(|s| s.id == *m))
                    .map(|s| s.zone.as_str())
                    .collect();
                if !in_zones.is_empty() {
                    let any: Vec<String> = in_zones
                        .iter()
                        .map(|zone| format!("resource.zone == {}", entity("Zone", zone)))
                        .collect();
                    lines.push(format!("!(resource in {it}) || ({})", any.join(" || ")));
                    zones.extend(in_zones);
                }
            }
            "Device" => {
                if let Some(device) = estate.devices.iter().find(|d| d.id.as_str() == *id) {
                    let zone = entity("Zone", &device.zone);
                    lines.push(format!("principal != {it} || principal.zone == {zone}"));
                    lines.push(format!(
                        "!(resource has device && resource.device == {it}) || resource.zone == {zone}"
                    ));
                    zones.insert(&device.zone);
                }
            }
            "Service" => {
                if let Some(service) = estate.services.iter().find(|s| s.id.as_str() == *id) {
                    let zone = entity("Zone", &service.zone);
                    lines.push(format!("resource != {it} || resource.zone == {zone}"));
                    zones.insert(&service.zone);
                }
            }
            _ => {}
        }
    }
    for zone in estate.zones.iter().filter(|zone| zones.contains(zone.id.as_str())) {
        let it = entity("Zone", &zone.id);
        lines.push(format!("{it}.class == {}", cedar_string(&zone.class)));
    }
    let mut text: String = lines.iter().map(|line| format!("when {{ {line} }}\n")).collect();
    text.truncate(text.trim_end().len());
    text.push(';');
    text
}
