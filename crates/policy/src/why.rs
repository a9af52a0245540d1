//! Why a device may open a service, or may not: the rule and its line, or for a default deny the nearest
//! rule and the fields that differ.

use std::collections::BTreeMap;

use model::observation::Transport;
use model::ruleset::Mode;
use model::{DeviceId, ServiceId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::decide::{Ask, Parts, plain};
use crate::folder::{Device, Folder, Service};
use crate::language::{Effect, Entity, Policy, Scope};
use crate::lower::{Lowered, ask_of, index};
use crate::moment::Moment;
use crate::plan::Place;

/// Why a path is open or closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Source.
    pub device: DeviceId,
    /// Destination.
    pub service: ServiceId,
    /// Transport asked about.
    pub transport: Transport,
    /// Port asked about.
    pub port: u16,
    /// The path is permitted.
    pub allowed: bool,
    /// What decided.
    pub decided: Decided,
    /// Permit that comes nearest, where none decided.
    pub nearest: Option<Nearest>,
    /// What comes with the permission: annotations of the permit.
    pub terms: BTreeMap<String, String>,
    /// Policies in shadow that would close the path.
    pub would_close: Vec<Place>,
    /// Policies in shadow that would open it.
    pub would_open: Vec<Place>,
    /// Mode of the device's zone: in shadow a denied packet passes and is counted.
    pub mode: Mode,
}

/// What decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Decided {
    /// This policy permits it.
    Permit(Place),
    /// This policy forbids it, whatever permits it.
    Forbid(Place),
    /// This exception grants it.
    Exception {
        /// Name.
        id: String,
        /// Who answers for it.
        owner: String,
        /// When it ends.
        expires: Timestamp,
        /// Line in `exceptions.toml`; 0: it was made at the controller.
        line: u32,
    },
    /// No policy permits it.
    Default,
    /// The device offers nothing at this transport and port.
    NoService,
}

/// The permit that comes nearest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nearest {
    /// Where it stands.
    pub rule: Place,
    /// In what it differs, at least one.
    pub differs: Vec<Difference>,
}

/// One field in which a permit does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `source`, `destination`, or the attribute a condition looks at: `context.port`.
    pub field: String,
    /// What the policy asks for.
    pub wants: String,
    /// What is there.
    pub has: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: the rule wants {}, this is {}", self.field, self.wants, self.has)
    }
}

/// Explains a path to a service (devices and services by their index in the estate); with another transport
/// or port, to what its host offers there.
pub fn explain(
    folder: &Folder,
    lowered: &Lowered,
    device: usize,
    service: usize,
    at: Option<(Transport, u16)>,
    now: Timestamp,
) -> Option<Explanation> {
    let judge = Judge::of(folder);
    let estate = &folder.estate;
    let asked = estate.services.get(service)?;
    let (transport, port) = at.unwrap_or((asked.transport, asked.port));
    let same = (transport, port) == (asked.transport, asked.port);
    let other = || {
        let here = |s: &Service| {
            (s.transport, s.port) == (transport, port)
                && match (&s.device, &asked.device) {
                    (None, None) => s.addresses.iter().any(|ip| asked.addresses.contains(ip)),
                    (a, b) => a == b,
                }
        };
        estate.services.iter().position(here)
    };
    match if same { Some(service) } else { other() } {
        Some(service) => judge.explain(lowered, device, service, now),
        None => {
            let mut explanation = judge.explain(lowered, device, service, now)?;
            let rule = match explanation.decided {
                Decided::Permit(place) => Some(place),
                _ => explanation.nearest.take().map(|nearest| nearest.rule),
            };
            let has = |transport: Transport, port: u16| format!("{} {port}", transport.word());
            let differs = vec![Difference {
                field: "port".to_owned(),
                wants: has(asked.transport, asked.port),
                has: has(transport, port),
            }];
            Some(Explanation {
                transport,
                port,
                allowed: false,
                decided: Decided::NoService,
                nearest: rule.map(|rule| Nearest { rule, differs }),
                terms: BTreeMap::new(),
                would_close: Vec::new(),
                would_open: Vec::new(),
                ..explanation
            })
        }
    }
}

/// A folder ready for questions about single pairs.
#[derive(Debug)]
pub(crate) struct Judge<'f> {
    folder: &'f Folder,
    parts: Parts<'f>,
}

impl<'f> Judge<'f> {
    pub(crate) fn of(folder: &'f Folder) -> Self {
        Self { folder, parts: Parts::of(folder) }
    }

    fn pair(&self, device: usize, service: usize) -> Option<(&'f Device, &'f Service)> {
        let estate = &self.folder.estate;
        Some((estate.devices.get(device)?, estate.services.get(service)?))
    }

    /// The first enforced policy that forbids a path.
    pub(crate) fn forbidding(&self, device: usize, service: usize) -> Option<&'f Policy> {
        let ask = ask_of(self.folder, device, service, Moment::default())?;
        self.applying(Effect::Forbid, Mode::Enforce, ask).next()
    }

    fn applying<'a>(
        &'a self,
        effect: Effect,
        mode: Mode,
        ask: Ask,
    ) -> impl Iterator<Item = &'f Policy> + 'a {
        let these = self.connecting(effect, mode, ask.device);
        these.filter(move |(number, _)| self.differences(*number, &ask).is_empty()).map(|(_, p)| p)
    }

    /// Policies about opening a path that are in a mode for a device, with their index.
    fn connecting<'a>(
        &'a self,
        effect: Effect,
        mode: Mode,
        device: usize,
    ) -> impl Iterator<Item = (usize, &'f Policy)> + 'a {
        let id = self.folder.estate.devices.get(device).map_or("", |d| d.id.as_str());
        self.folder.policies.iter().enumerate().filter(move |(_, policy)| {
            let inside = policy.share().is_none_or(|share| crate::share::holds(id, share));
            let in_mode = if inside { policy.mode() } else { Mode::Shadow };
            policy.effect == effect && in_mode == mode && policy.names_action("connect")
        })
    }

    /// Why a path is not granted, in a few words.
    pub(crate) fn reason(&self, lowered: &Lowered, device: usize, service: usize) -> String {
        match self.explain(lowered, device, service, Timestamp::MAX) {
            Some(explanation) => explanation.reason(),
            None => "unknown device or service".to_owned(),
        }
    }

    pub(crate) fn explain(
        &self,
        lowered: &Lowered,
        device_index: usize,
        service_index: usize,
        now: Timestamp,
    ) -> Option<Explanation> {
        let (device, service) = self.pair(device_index, service_index)?;
        let ask = ask_of(self.folder, device_index, service_index, Moment::default())?;
        let places = |effect, mode| -> Vec<Place> {
            self.applying(effect, mode, ask).map(Place::of).collect()
        };
        let grant = lowered.grant(device_index, service_index);
        let granting = grant.and_then(|grant| self.folder.policies.get(index(grant.policy)));
        let exception = self
            .folder
            .exceptions
            .iter()
            .find(|e| e.from == device.id && e.to == service.id && e.expires > now);
        let forbid = self.forbidding(device_index, service_index);
        let decided = match (granting, forbid, exception) {
            (Some(policy), ..) => Decided::Permit(Place::of(policy)),
            (_, Some(policy), _) => Decided::Forbid(Place::of(policy)),
            (_, _, Some(e)) => Decided::Exception {
                id: e.id.clone(),
                owner: e.owner.clone(),
                expires: e.expires,
                line: e.line,
            },
            _ => Decided::Default,
        };
        let allowed = matches!(decided, Decided::Permit(_) | Decided::Exception { .. });
        let zone = self.folder.estate.zones.iter().find(|zone| zone.id == device.zone);
        let terms = granting.map_or_else(BTreeMap::new, |policy| {
            let mut terms = policy.annotations.clone();
            terms.remove("mode");
            terms
        });
        Some(Explanation {
            device: device.id.clone(),
            service: service.id.clone(),
            transport: service.transport,
            port: service.port,
            allowed,
            nearest: match decided {
                Decided::Default => self.nearest(&ask),
                _ => None,
            },
            decided,
            terms,
            would_close: if allowed { places(Effect::Forbid, Mode::Shadow) } else { Vec::new() },
            would_open: if allowed { Vec::new() } else { places(Effect::Permit, Mode::Shadow) },
            mode: zone.map(|zone| zone.mode).unwrap_or_default(),
        })
    }

    /// The enforced permit with the fewest differences; of equals one that means this destination.
    fn nearest(&self, ask: &Ask) -> Option<Nearest> {
        let permits = self.connecting(Effect::Permit, Mode::Enforce, ask.device);
        let ranked = permits.map(|(number, policy)| (policy, self.differences(number, ask)));
        let (policy, differs) = ranked.min_by_key(|(_, differs)| {
            (differs.len(), differs.iter().any(|d| d.field == "destination"))
        })?;
        Some(Nearest { rule: Place::of(policy), differs })
    }

    /// In what a policy does not fit a pair; empty when it applies.
    fn differences(&self, number: usize, ask: &Ask) -> Vec<Difference> {
        let (Some(policy), Some((device, service))) =
            (self.folder.policies.get(number), self.pair(ask.device, ask.service))
        else {
            return Vec::new();
        };
        let site_of = |zone: &str| {
            let zone = self.folder.estate.zones.iter().find(|z| z.id == zone);
            zone.and_then(|z| z.site.as_ref()).map(|s| s.as_str())
        };
        let (source, destination) = self.parts.in_scope(number, ask);
        let mut differs = Vec::new();
        if !source {
            let has = match entity(&policy.principal).map(|e| e.kind.as_str()) {
                Some("Zone") => format!("in Zone::\"{}\"", device.zone),
                Some("DeviceType") => format!("of DeviceType::\"{}\"", device.kind),
                Some("Site") => {
                    format!("at Site::\"{}\"", site_of(&device.zone).unwrap_or(""))
                }
                _ => format!("Device::\"{}\"", device.id),
            };
            differs.push(Difference {
                field: "source".to_owned(),
                wants: words(&policy.principal),
                has,
            });
        }
        if !destination {
            let has = match entity(&policy.resource).map(|e| e.kind.as_str()) {
                Some("Zone") => format!("in Zone::\"{}\"", service.zone),
                Some("Site") => match site_of(&service.zone) {
                    Some(site) => format!("at Site::\"{site}\""),
                    None => "outside every site".to_owned(),
                },
                _ => format!("Service::\"{}\"", service.id),
            };
            differs.push(Difference {
                field: "destination".to_owned(),
                wants: words(&policy.resource),
                has,
            });
        }
        for part in self.parts.unlike(number, ask) {
            let not = if part.want { "" } else { "not " };
            differs.push(Difference {
                field: part.first.map_or("condition".to_owned(), plain),
                wants: format!("{not}{}", part.expr),
                has: part.has.unwrap_or_else(|| "absent".to_owned()),
            });
        }
        if let Some(why) = self.parts.unlike_on_cedar(number, ask).filter(|_| source && destination)
        {
            differs.push(Difference {
                field: "condition".to_owned(),
                wants: format!("what Cedar evaluates ({why})"),
                has: "not so".to_owned(),
            });
        }
        differs
    }
}

impl Explanation {
    /// The reason in a few words, with rule and line.
    pub fn reason(&self) -> String {
        match &self.decided {
            Decided::Permit(place) => format!("permitted by {place}"),
            Decided::Forbid(place) => format!("forbidden by {place}"),
            Decided::Exception { id, line: 0, .. } => {
                format!("granted by exception `{id}`, made at the controller")
            }
            Decided::Exception { id, line, .. } => {
                format!("granted by exception `{id}` (exceptions.toml:{line})")
            }
            Decided::NoService => match &self.nearest {
                Some(nearest) => format!(
                    "nothing is offered there; nearest rule is {}: {}",
                    nearest.rule,
                    join(&nearest.differs)
                ),
                None => "nothing is offered there".to_owned(),
            },
            Decided::Default => match &self.nearest {
                Some(nearest) => format!(
                    "no policy permits it; nearest is {}: {}",
                    nearest.rule,
                    join(&nearest.differs)
                ),
                None => "no policy permits anything".to_owned(),
            },
        }
    }
}

fn join(differs: &[Difference]) -> String {
    differs.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn entity(scope: &Scope) -> Option<&Entity> {
    match scope {
        Scope::All | Scope::Is(_) => None,
        Scope::Eq(e) | Scope::In(e) | Scope::IsIn(_, e) => Some(e),
    }
}

fn words(scope: &Scope) -> String {
    match scope {
        Scope::All => "any".to_owned(),
        Scope::Is(kind) => format!("a {kind}"),
        Scope::Eq(e) => e.to_string(),
        Scope::In(e) | Scope::IsIn(_, e) => format!("in {e}"),
    }
}
