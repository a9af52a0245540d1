//! Cedar's own authorizer over an estate.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityId, EntityTypeName, EntityUid, PolicyId,
    PolicySet, Request, RestrictedExpression, Schema,
};
use model::ruleset::Mode;
use serde_json::{Value as Json, json};

use super::schema;
use crate::Fault;
use crate::decide::Ask;
use crate::folder::{Folder, Service};
use crate::language::Policy;
use crate::moment::Moment;

/// Asks Cedar what the compiled form decides. Slow (microseconds for each policy), and the last word.
#[derive(Debug)]
pub struct Oracle<'f> {
    folder: &'f Folder,
    /// Policies in force for the devices of a pattern of shares.
    policies: Vec<PolicySet>,
    set_of_device: Vec<usize>,
    entities: Entities,
    schema: Schema,
}

impl<'f> Oracle<'f> {
    /// Hands the policies in force and the estate to Cedar; both are checked against the schema.
    pub fn new(folder: &'f Folder) -> Result<Self, Fault> {
        let in_force: Vec<&Policy> =
            folder.policies.iter().filter(|p| p.mode() == Mode::Enforce).collect();
        let mut known: BTreeMap<Vec<bool>, usize> = BTreeMap::new();
        let (mut policies, mut set_of_device) = (Vec::new(), Vec::new());
        for device in &folder.estate.devices {
            let held = |p: &&Policy| {
                p.share().is_none_or(|share| crate::share::holds(device.id.as_str(), share))
            };
            let pattern: Vec<bool> = in_force.iter().map(held).collect();
            let set = match known.get(&pattern) {
                Some(set) => *set,
                None => {
                    let these = in_force.iter().zip(&pattern).filter(|(_, held)| **held);
                    policies.push(policy_set(these.map(|(p, _)| *p))?);
                    let set = policies.len().saturating_sub(1);
                    known.insert(pattern, set);
                    set
                }
            };
            set_of_device.push(set);
        }
        let schema = schema(&folder.schema)?;
        let entities = estate(folder, Some(&schema))?;
        Ok(Self { folder, policies, set_of_device, entities, schema })
    }

    /// Cedar's answer; an error of the request is a denial with a reason.
    pub fn decide(&self, ask: &Ask) -> Result<bool, String> {
        let site = site_of_device(self.folder, ask.device);
        let maintenance = ask.moment.maintenance(&self.folder.estate.maintenance, site);
        let request = request(self.folder, ask, maintenance, Some(&self.schema))?;
        let nobody = || "no such device".to_owned();
        let set = self.set_of_device.get(ask.device).ok_or_else(nobody)?;
        let policies = self.policies.get(*set).ok_or_else(nobody)?;
        let response = Authorizer::new().is_authorized(&request, policies, &self.entities);
        Ok(response.decision() == Decision::Allow)
    }

    /// Cedar's answer for opening the path of a service (both by index), at no particular moment.
    pub fn allows(&self, device: usize, service: usize) -> Result<bool, String> {
        let ask = crate::lower::ask_of(self.folder, device, service, Moment::default());
        self.decide(&ask.ok_or_else(|| "no such service".to_owned())?)
    }
}

/// Single policies whose conditions only Cedar can evaluate.
#[derive(Debug)]
pub(crate) struct Aside {
    entities: Entities,
    sets: HashMap<usize, PolicySet>,
}

impl Aside {
    /// For these policies, by index. One that does not parse is left out: it cannot be asked.
    pub(crate) fn new(folder: &Folder, policies: impl Iterator<Item = usize>) -> Option<Self> {
        let set = |number: usize| {
            let policy = folder.policies.get(number)?;
            Some((number, policy_set(std::iter::once(policy)).ok()?))
        };
        let sets = policies.filter_map(set).collect();
        Some(Self { entities: estate(folder, None).ok()?, sets })
    }

    /// The policy's scope and conditions hold; `None` where Cedar cannot be asked.
    pub(crate) fn applies(
        &self,
        folder: &Folder,
        policy: usize,
        ask: &Ask,
        maintenance: Option<bool>,
    ) -> Option<bool> {
        let set = self.sets.get(&policy)?;
        let request = request(folder, ask, maintenance, None).ok()?;
        let response = Authorizer::new().is_authorized(&request, set, &self.entities);
        Some(response.diagnostics().reason().next().is_some())
    }
}

fn policy_set<'p>(policies: impl Iterator<Item = &'p Policy>) -> Result<PolicySet, Fault> {
    let mut set = PolicySet::new();
    for policy in policies {
        let wrong = |why: String| Fault::on_line(&policy.file, policy.line, "not accepted", why);
        let id = PolicyId::new(&policy.id);
        let parsed = cedar_policy::Policy::parse(Some(id), policy.to_string())
            .map_err(|e| wrong(e.to_string()))?;
        set.add(parsed).map_err(|e| wrong(e.to_string()))?;
    }
    Ok(set)
}

fn request(
    folder: &Folder,
    ask: &Ask,
    maintenance: Option<bool>,
    schema: Option<&Schema>,
) -> Result<Request, String> {
    let device = folder.estate.devices.get(ask.device).ok_or("no such device")?;
    let service = folder.estate.services.get(ask.service).ok_or("no such service")?;
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let long = |n: u16| RestrictedExpression::new_long(i64::from(n));
    let mut context = vec![
        ("protocol".to_owned(), text(ask.transport.word())),
        ("port".to_owned(), long(ask.port)),
    ];
    context.extend(ask.moment.hour.map(|hour| ("hour".to_owned(), long(u16::from(hour)))));
    context.extend(ask.moment.weekday.map(|day| ("weekday".to_owned(), text(day.word()))));
    context.extend(
        maintenance.map(|open| ("maintenance".to_owned(), RestrictedExpression::new_bool(open))),
    );
    let context = Context::from_pairs(context).map_err(|e| e.to_string())?;
    let ends = (uid("Device", device.id.as_str())?, uid("Service", service.id.as_str())?);
    let action = uid("Action", ask.action.word())?;
    Request::new(ends.0, action, ends.1, context, schema).map_err(|e| e.to_string())
}

fn site_of_device(folder: &Folder, device: usize) -> &str {
    let zone = folder.estate.devices.get(device).map_or("", |d| d.zone.as_str());
    let zone = folder.estate.zones.iter().find(|z| z.id == zone);
    zone.and_then(|z| z.site.as_ref()).map_or("", |s| s.as_str())
}

fn estate(folder: &Folder, schema: Option<&Schema>) -> Result<Entities, Fault> {
    Entities::from_json_value(entities(folder), schema)
        .map_err(|e| Fault::of_file(crate::folder::ESTATE_FILE, "not accepted", format!("{e:?}")))
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind = EntityTypeName::from_str(kind).map_err(|e| e.to_string())?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

/// The estate as Cedar's JSON entities.
fn entities(folder: &Folder) -> Json {
    let estate = &folder.estate;
    // Written out, because without a schema `{"type", "id"}` would be a record.
    let uid = |kind: &str, id: &str| json!({"__entity": {"type": kind, "id": id}});
    let zone_of = |id: &str| estate.zones.iter().find(|zone| zone.id == id);
    let mut all = Vec::new();
    for site in &estate.sites {
        all.push(json!({"uid": uid("Site", site.id.as_str()), "attrs": {}, "parents": []}));
    }
    for zone in &estate.zones {
        let parents: Vec<Json> = zone.site.iter().map(|s| uid("Site", s.as_str())).collect();
        let mut attrs = json!({"class": zone.class});
        if let (Some(level), Some(attrs)) = (zone.security_level, attrs.as_object_mut()) {
            attrs.insert("security_level".to_owned(), json!(level));
        }
        all.push(json!({"uid": uid("Zone", &zone.id), "attrs": attrs, "parents": parents}));
    }
    let kinds: std::collections::BTreeSet<&str> =
        estate.devices.iter().map(|d| d.kind.as_str()).collect();
    for kind in kinds {
        all.push(json!({"uid": uid("DeviceType", kind), "attrs": {}, "parents": []}));
    }
    for group in &estate.groups {
        all.push(json!({"uid": uid("ServiceGroup", &group.id), "attrs": {}, "parents": []}));
    }
    for device in &estate.devices {
        let zone = zone_of(&device.zone);
        let site = zone.and_then(|z| z.site.as_ref()).map_or("", |s| s.as_str());
        let owner = match zone {
            Some(zone) if device.owner.is_empty() => &zone.owner,
            _ => &device.owner,
        };
        all.push(json!({
            "uid": uid("Device", device.id.as_str()),
            "attrs": {
                "type": uid("DeviceType", &device.kind), "zone": uid("Zone", &device.zone),
                "site": uid("Site", site), "owner": owner, "assurance": device.assurance.rank(),
                "support": device.support, "exposure": device.exposure, "posture": device.posture,
            },
            "parents": [uid("DeviceType", &device.kind), uid("Zone", &device.zone), uid("Site", site)],
        }));
    }
    for service in &estate.services {
        all.push(service_entity(folder, service));
    }
    Json::Array(all)
}

fn service_entity(folder: &Folder, service: &Service) -> Json {
    let estate = &folder.estate;
    // Written out, because without a schema `{"type", "id"}` would be a record.
    let uid = |kind: &str, id: &str| json!({"__entity": {"type": kind, "id": id}});
    let site = estate.zones.iter().find(|z| z.id == service.zone).and_then(|z| z.site.as_ref());
    let mut attrs = json!({
        "zone": uid("Zone", &service.zone), "scope": crate::folder::write::scope_word(service.scope),
        "protocol": service.transport.word(), "port": service.port,
        "application": service.application, "owner": service.owner,
        "sensitive": service.sensitive, "assurance_min": service.assurance_min.rank(),
    });
    let mut parents = vec![uid("Zone", &service.zone)];
    if let Some(attrs) = attrs.as_object_mut() {
        if let Some(site) = site {
            attrs.insert("site".to_owned(), uid("Site", site.as_str()));
            parents.push(uid("Site", site.as_str()));
        }
        if let Some(device) = &service.device {
            attrs.insert("device".to_owned(), uid("Device", device.as_str()));
        }
    }
    let groups = estate.groups.iter().filter(|g| g.services.contains(&service.id));
    parents.extend(groups.map(|g| uid("ServiceGroup", &g.id)));
    json!({"uid": uid("Service", service.id.as_str()), "attrs": attrs, "parents": parents})
}
