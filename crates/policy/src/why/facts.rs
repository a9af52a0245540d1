//! Values behind a verdict: a plain evaluator that says what is there, where the compiled policies only say
//! whether a condition holds. It explains; it never decides.

use std::collections::HashMap;
use std::fmt;

use crate::folder::{Device, Folder, Service, Zone, write::scope_word};
use crate::language::{Binary, Entity, Expr, Scope, Var};

/// The estate by name, as policies ask about it.
#[derive(Debug)]
pub(super) struct World<'f> {
    devices: HashMap<&'f str, (usize, &'f Device)>,
    services: HashMap<&'f str, (usize, &'f Service)>,
    zones: HashMap<&'f str, &'f Zone>,
    groups_of: HashMap<&'f str, Vec<&'f str>>,
}

impl<'f> World<'f> {
    pub(super) fn of(folder: &'f Folder) -> Self {
        let estate = &folder.estate;
        let mut groups_of: HashMap<&str, Vec<&str>> = HashMap::new();
        for group in &estate.groups {
            for service in &group.services {
                groups_of.entry(service.as_str()).or_default().push(&group.id);
            }
        }
        Self {
            devices: estate
                .devices
                .iter()
                .enumerate()
                .map(|(i, d)| (d.id.as_str(), (i, d)))
                .collect(),
            services: estate
                .services
                .iter()
                .enumerate()
                .map(|(i, s)| (s.id.as_str(), (i, s)))
                .collect(),
            zones: estate.zones.iter().map(|z| (z.id.as_str(), z)).collect(),
            groups_of,
        }
    }

    pub(super) fn site_of(&self, zone: &str) -> Option<&'f str> {
        self.zones.get(zone).and_then(|z| z.site.as_ref()).map(|s| s.as_str())
    }

    /// The question whether a device may open a service.
    pub(super) fn request<'a>(&'a self, device: &'a Device, service: &'a Service) -> Request<'a>
    where
        'f: 'a,
    {
        Request {
            device: device.id.as_str(),
            service: service.id.as_str(),
            protocol: service.transport.word(),
            port: service.port,
            facts: self,
        }
    }

    pub(super) fn in_scope(&self, scope: &Scope, entity: (&str, &str)) -> bool {
        let within = |e: &Entity| self.is_in(entity, (&e.kind, &e.id));
        match scope {
            Scope::All => true,
            Scope::Is(kind) => entity.0 == kind,
            Scope::Eq(e) => entity == (e.kind.as_str(), e.id.as_str()),
            Scope::In(e) => within(e),
            Scope::IsIn(kind, e) => entity.0 == kind && within(e),
        }
    }
}

impl<'f> Facts<'f> for World<'f> {
    fn attribute(&self, kind: &str, id: &str, name: &str) -> Option<Value<'f>> {
        let long = |rank: u8| Value::Long(i64::from(rank));
        match kind {
            "Zone" => {
                let zone = *self.zones.get(id)?;
                (name == "class").then_some(Value::Text(&zone.class))
            }
            "Device" => {
                let (_, device) = *self.devices.get(id)?;
                Some(match name {
                    "type" => Value::Entity("DeviceType", &device.kind),
                    "zone" => Value::Entity("Zone", &device.zone),
                    "site" => Value::Entity("Site", self.site_of(&device.zone).unwrap_or("")),
                    "owner" => Value::Text(self.owner(device)),
                    "assurance" => long(device.assurance.rank()),
                    "support" => Value::Text(&device.support),
                    "exposure" => Value::Text(&device.exposure),
                    "posture" => Value::Text(&device.posture),
                    _ => return None,
                })
            }
            "Service" => {
                let (_, service) = *self.services.get(id)?;
                Some(match name {
                    "zone" => Value::Entity("Zone", &service.zone),
                    "site" => Value::Entity("Site", self.site_of(&service.zone)?),
                    "device" => Value::Entity("Device", service.device.as_ref()?.as_str()),
                    "scope" => Value::Text(scope_word(service.scope)),
                    "protocol" => Value::Text(service.transport.word()),
                    "port" => Value::Long(i64::from(service.port)),
                    "application" => Value::Text(&service.application),
                    "owner" => Value::Text(&service.owner),
                    "sensitive" => Value::Bool(service.sensitive),
                    "assurance_min" => long(service.assurance_min.rank()),
                    _ => return None,
                })
            }
            _ => None,
        }
    }

    fn is_in(&self, entity: (&str, &str), other: (&str, &str)) -> bool {
        if entity == other {
            return true;
        }
        let (kind, id) = entity;
        match (kind, other.0) {
            ("Zone", "Site") => self.site_of(id) == Some(other.1),
            ("Device", _) => self.devices.get(id).is_some_and(|(_, d)| match other.0 {
                "DeviceType" => d.kind == other.1,
                "Zone" => d.zone == other.1,
                "Site" => self.site_of(&d.zone) == Some(other.1),
                _ => false,
            }),
            ("Service", _) => self.services.get(id).is_some_and(|(_, s)| match other.0 {
                "ServiceGroup" => self.groups_of.get(id).is_some_and(|g| g.contains(&other.1)),
                "Zone" => s.zone == other.1,
                "Site" => self.site_of(&s.zone) == Some(other.1),
                _ => false,
            }),
            _ => false,
        }
    }
}

impl<'f> World<'f> {
    /// The device's owner, else its zone's.
    pub(super) fn owner(&self, device: &'f Device) -> &'f str {
        match self.zones.get(device.zone.as_str()) {
            Some(zone) if device.owner.is_empty() => &zone.owner,
            _ => &device.owner,
        }
    }
}

/// A value while evaluating; borrows from policies and the estate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Boolean.
    Bool(bool),
    /// Integer.
    Long(i64),
    /// String.
    Text(&'a str),
    /// Entity: type and id.
    Entity(&'a str, &'a str),
    /// Set.
    Set(Vec<Self>),
    /// The context record.
    Context,
}

/// What an evaluation can ask of the estate.
pub(super) trait Facts<'a> {
    /// Attribute of an entity; `None` where it has none.
    fn attribute(&self, kind: &str, id: &str, name: &str) -> Option<Value<'a>>;
    /// The entity is the other or below it.
    fn is_in(&self, entity: (&str, &str), other: (&str, &str)) -> bool;
}

/// May this device open this path to this service?
pub(super) struct Request<'a> {
    /// Device id.
    pub(super) device: &'a str,
    /// Service id.
    pub(super) service: &'a str,
    /// Transport word.
    pub(super) protocol: &'a str,
    /// Port.
    pub(super) port: u16,
    /// The estate.
    pub(super) facts: &'a dyn Facts<'a>,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} {}/{}", self.device, self.service, self.protocol, self.port)
    }
}

impl Expr {
    /// `None` is an evaluation error.
    pub(super) fn eval<'a>(&'a self, request: &Request<'a>) -> Option<Value<'a>> {
        Some(match self {
            Self::Bool(b) => Value::Bool(*b),
            Self::Long(n) => Value::Long(*n),
            Self::Text(text) => Value::Text(text),
            Self::Entity(e) => Value::Entity(&e.kind, &e.id),
            Self::Set(items) => {
                Value::Set(items.iter().map(|e| e.eval(request)).collect::<Option<_>>()?)
            }
            Self::Var(Var::Principal) => Value::Entity("Device", request.device),
            Self::Var(Var::Resource) => Value::Entity("Service", request.service),
            Self::Var(Var::Context) => Value::Context,
            Self::Get(e, name) => attribute(&e.eval(request)?, name, request)?,
            Self::Has(e, name) => {
                Value::Bool(attribute(&e.eval(request)?, name, request).is_some())
            }
            Self::Not(e) => Value::Bool(!e.truth(request)?),
            Self::If(a, b, c) => {
                if a.truth(request)? {
                    b.eval(request)?
                } else {
                    c.eval(request)?
                }
            }
            Self::Is(e, kind) => match e.eval(request)? {
                Value::Entity(k, _) => Value::Bool(k == kind),
                _ => return None,
            },
            Self::Like(e, parts) => match e.eval(request)? {
                Value::Text(text) => Value::Bool(like(text, parts)),
                _ => return None,
            },
            Self::Binary(op, a, b) => binary(*op, a, b, request)?,
        })
    }

    fn truth<'a>(&'a self, request: &Request<'a>) -> Option<bool> {
        match self.eval(request)? {
            Value::Bool(b) => Some(b),
            _ => None,
        }
    }
}

fn attribute<'a>(of: &Value<'a>, name: &str, request: &Request<'a>) -> Option<Value<'a>> {
    match of {
        Value::Context => match name {
            "protocol" => Some(Value::Text(request.protocol)),
            "port" => Some(Value::Long(i64::from(request.port))),
            _ => None,
        },
        Value::Entity(kind, id) => request.facts.attribute(kind, id, name),
        _ => None,
    }
}

fn binary<'a>(op: Binary, a: &'a Expr, b: &'a Expr, request: &Request<'a>) -> Option<Value<'a>> {
    match op {
        Binary::And => return Some(Value::Bool(a.truth(request)? && b.truth(request)?)),
        Binary::Or => return Some(Value::Bool(a.truth(request)? || b.truth(request)?)),
        _ => {}
    }
    let (a, b) = (a.eval(request)?, b.eval(request)?);
    let holds = match (op, &a, &b) {
        (Binary::Eq, ..) => a == b,
        (Binary::Ne, ..) => a != b,
        (Binary::Lt, Value::Long(a), Value::Long(b)) => a < b,
        (Binary::Le, Value::Long(a), Value::Long(b)) => a <= b,
        (Binary::Gt, Value::Long(a), Value::Long(b)) => a > b,
        (Binary::Ge, Value::Long(a), Value::Long(b)) => a >= b,
        (Binary::In, Value::Entity(k, i), Value::Entity(k2, i2)) => {
            request.facts.is_in((k, i), (k2, i2))
        }
        (Binary::In, Value::Entity(k, i), Value::Set(of)) => {
            // Cedar errs on a set with anything but entities, found or not.
            let inside: Option<Vec<bool>> = of
                .iter()
                .map(|e| match e {
                    Value::Entity(k2, i2) => Some(request.facts.is_in((k, i), (k2, i2))),
                    _ => None,
                })
                .collect();
            inside?.contains(&true)
        }
        (Binary::Contains, Value::Set(set), item) => set.contains(item),
        (Binary::ContainsAll, Value::Set(set), Value::Set(of)) => {
            of.iter().all(|e| set.contains(e))
        }
        (Binary::ContainsAny, Value::Set(set), Value::Set(of)) => {
            of.iter().any(|e| set.contains(e))
        }
        _ => return None,
    };
    Some(Value::Bool(holds))
}

/// Glob with the literal parts between stars: the first is anchored at the start, the last at the end.
fn like(text: &str, parts: &[String]) -> bool {
    let Some((first, rest)) = parts.split_first() else {
        return text.is_empty();
    };
    let Some(mut left) = text.strip_prefix(first.as_str()) else {
        return false;
    };
    let Some((last, middle)) = rest.split_last() else {
        return left.is_empty();
    };
    for part in middle {
        let Some((_, after)) = left.split_once(part.as_str()) else {
            return false;
        };
        left = after;
    }
    left.ends_with(last.as_str())
}
