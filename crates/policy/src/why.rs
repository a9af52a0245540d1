//! Why a device may open a service, or may not: the rule and its line, or for a default deny the nearest
//! rule and the fields that differ.

mod facts;

use std::collections::BTreeMap;

use model::observation::Transport;
use model::ruleset::Mode;
use model::{DeviceId, ServiceId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::decide::{Decider, View};
use crate::folder::{Device, Folder, Service};
use crate::language::{Binary, Effect, Entity, Expr, Policy, Scope, Var};
use crate::lower::{Lowered, ask_of, index};
use crate::moment::Moment;
use crate::plan::Place;
use facts::{Request, Value, World};

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
        /// Line in `exceptions.toml`.
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
    world: World<'f>,
    decider: Decider<'f>,
}

impl<'f> Judge<'f> {
    pub(crate) fn of(folder: &'f Folder) -> Self {
        let decider = Decider::new(folder, View::Today);
        Self { folder, world: World::of(folder), decider }
    }

    fn pair(&self, device: usize, service: usize) -> Option<(&'f Device, &'f Service)> {
        let estate = &self.folder.estate;
        Some((estate.devices.get(device)?, estate.services.get(service)?))
    }

    /// The first enforced policy that forbids a path.
    pub(crate) fn forbidding(&self, device: usize, service: usize) -> Option<&'f Policy> {
        let ask = ask_of(self.folder, device, service, Moment::default())?;
        self.folder.policies.get(self.decider.forbidding(&ask)?)
    }

    fn applying<'a>(
        &'a self,
        effect: Effect,
        mode: Mode,
        device: &'f Device,
        service: &'f Service,
    ) -> impl Iterator<Item = &'f Policy> + 'a {
        self.folder.policies.iter().filter(move |policy| {
            policy.effect == effect
                && policy.mode() == mode
                && policy.names_action("connect")
                && self.differences(policy, device, service).is_empty()
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
        let places = |effect, mode| -> Vec<Place> {
            self.applying(effect, mode, device, service).map(Place::of).collect()
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
                Decided::Default => self.nearest(device, service),
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
    fn nearest(&self, device: &'f Device, service: &'f Service) -> Option<Nearest> {
        let permits = self.folder.policies.iter().filter(|policy| {
            policy.effect == Effect::Permit
                && policy.mode() == Mode::Enforce
                && policy.names_action("connect")
        });
        let ranked = permits.map(|policy| (policy, self.differences(policy, device, service)));
        let (policy, differs) = ranked.min_by_key(|(_, differs)| {
            (differs.len(), differs.iter().any(|d| d.field == "destination"))
        })?;
        Some(Nearest { rule: Place::of(policy), differs })
    }

    /// In what a policy does not fit a pair; empty when it applies.
    fn differences(
        &self,
        policy: &'f Policy,
        device: &'f Device,
        service: &'f Service,
    ) -> Vec<Difference> {
        let mut differs = Vec::new();
        let scope =
            |scope: &Scope, kind: &'static str, id: &str| self.world.in_scope(scope, (kind, id));
        if !scope(&policy.principal, "Device", device.id.as_str()) {
            let has = match entity(&policy.principal).map(|e| e.kind.as_str()) {
                Some("Zone") => format!("in Zone::\"{}\"", device.zone),
                Some("DeviceType") => format!("of DeviceType::\"{}\"", device.kind),
                Some("Site") => {
                    format!("at Site::\"{}\"", self.world.site_of(&device.zone).unwrap_or(""))
                }
                _ => format!("Device::\"{}\"", device.id),
            };
            differs.push(Difference {
                field: "source".to_owned(),
                wants: words(&policy.principal),
                has,
            });
        }
        if !scope(&policy.resource, "Service", service.id.as_str()) {
            let has = match entity(&policy.resource).map(|e| e.kind.as_str()) {
                Some("Zone") => format!("in Zone::\"{}\"", service.zone),
                Some("Site") => match self.world.site_of(&service.zone) {
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
        if policy.on_cedar.is_some() {
            differs.push(Difference {
                field: "condition".to_owned(),
                wants: "what Cedar's own authorizer decides".to_owned(),
                has: "not explained further".to_owned(),
            });
        }
        let request = self.world.request(device, service);
        for condition in &policy.conditions {
            // All parts of `when` must hold, no part of an `unless` may.
            let op = if condition.unless { Binary::Or } else { Binary::And };
            for part in parts(&condition.body, op) {
                if part.eval(&request) != Some(Value::Bool(!condition.unless)) {
                    let (field, has) = looked_at(part, &request);
                    let not = if condition.unless { "not " } else { "" };
                    differs.push(Difference { field, wants: format!("{not}{part}"), has });
                }
            }
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

/// The operands of a chain of one operator.
fn parts(body: &Expr, op: Binary) -> Vec<&Expr> {
    match body {
        Expr::Binary(found, a, b) if *found == op => {
            let mut all = parts(a, op);
            all.extend(parts(b, op));
            all
        }
        other => vec![other],
    }
}

/// The first attribute an expression looks at, and its value.
fn looked_at<'a>(part: &'a Expr, request: &Request<'a>) -> (String, String) {
    let mut found: Option<&'a Expr> = None;
    part.visit(&mut |e| {
        let direct =
            matches!(e, Expr::Get(of, _) | Expr::Has(of, _) if matches!(**of, Expr::Var(_)));
        if direct && found.is_none() {
            found = Some(e);
        }
    });
    match found {
        Some(e @ Expr::Get(..)) => {
            let value = e.eval(request).map_or("absent".to_owned(), |value| shown(&value));
            (plain(e), value)
        }
        Some(Expr::Has(of, name)) => (format!("{}.{name}", plain(of)), "absent".to_owned()),
        _ => {
            let value = part.eval(request).map_or("an error".to_owned(), |value| shown(&value));
            ("condition".to_owned(), value)
        }
    }
}

fn plain(e: &Expr) -> String {
    match e {
        Expr::Var(Var::Principal) => "source".to_owned(),
        Expr::Var(Var::Resource) => "destination".to_owned(),
        Expr::Var(Var::Context) => "path".to_owned(),
        Expr::Get(of, name) => format!("{}.{name}", plain(of)),
        other => other.to_string(),
    }
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Bool(b) => b.to_string(),
        Value::Long(n) => n.to_string(),
        Value::Text(text) => format!("\"{text}\""),
        Value::Entity(kind, id) => format!("{kind}::\"{id}\""),
        Value::Set(items) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Value::Context => "the path".to_owned(),
    }
}
