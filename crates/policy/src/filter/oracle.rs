//! The same question, asked of Cedar.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy,
    PolicySet, Request, RestrictedExpression,
};

use super::run::{macs, networks};
use super::{Subject, Text, millis};

pub(super) fn ask(policy: &Policy, device: &impl Subject, now: i64) -> Result<bool, String> {
    let wrong = |e: &dyn std::fmt::Display| e.to_string();
    let mut set = PolicySet::new();
    set.add(policy.clone()).map_err(|e| wrong(&e))?;
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let time = |at: i64| {
        let text = format!("datetime(\"1970-01-01\").offset(duration(\"{at}ms\"))");
        text.parse().map_err(|e: cedar_policy::RestrictedExpressionParseError| wrong(&e))
    };
    let ip = |address: IpAddr, bits: u8| RestrictedExpression::new_ip(format!("{address}/{bits}"));
    let own = |address: &IpAddr| ip(*address, if address.is_ipv4() { 32 } else { 128 });
    let all = |items: Vec<RestrictedExpression>| RestrictedExpression::new_set(items);
    let mut attributes = HashMap::new();
    for field in Text::ALL {
        attributes.insert(field.word().to_owned(), text(device.text(*field)));
    }
    let addresses = device.addresses();
    let within = addresses.iter().flat_map(|a| networks(*a)).map(|n| ip(n.address, n.bits));
    for (name, value) in [
        ("assurance", RestrictedExpression::new_long(device.assurance())),
        ("resurfaced", RestrictedExpression::new_bool(device.resurfaced())),
        ("confused", RestrictedExpression::new_bool(device.confused())),
        ("addresses", all(addresses.iter().map(own).collect())),
        ("networks", all(within.collect())),
        ("macs", all(macs(device).map(text).collect())),
        ("keys", all(device.keys().map(text).collect())),
        ("first_seen", time(millis(device.first_seen()))?),
        ("last_seen", time(millis(device.last_seen()))?),
    ] {
        attributes.insert(name.to_owned(), value);
    }
    let principal = uid("Device", device.text(Text::Id))?;
    let mut parents = HashSet::new();
    for (kind, of) in [("DeviceType", Text::Type), ("Zone", Text::Zone), ("Site", Text::Site)] {
        parents.insert(uid(kind, device.text(of))?);
    }
    let tags = labels(policy).into_iter().filter_map(|name| {
        let value = text(device.label(&name)?);
        Some((name, value))
    });
    let entity = Entity::new_with_tags(principal.clone(), attributes, parents, tags);
    let entity = entity.map_err(|e| wrong(&e))?;
    let entities = Entities::from_entities([entity], None).map_err(|e| wrong(&e))?;
    let context = Context::from_pairs([("now".to_owned(), time(now)?)]).map_err(|e| wrong(&e))?;
    let (action, resource) = (uid("Action", "select")?, uid("Estate", "")?);
    let request = Request::new(principal, action, resource, context, None);
    let request = request.map_err(|e| wrong(&e))?;
    let response = Authorizer::new().is_authorized(&request, &set, &entities);
    Ok(response.decision() == Decision::Allow)
}

/// Every text in a policy could be the name of a label.
fn labels(policy: &Policy) -> HashSet<String> {
    fn walk(json: &serde_json::Value, names: &mut HashSet<String>) {
        match json {
            serde_json::Value::String(text) => drop(names.insert(text.clone())),
            serde_json::Value::Array(items) => items.iter().for_each(|item| walk(item, names)),
            serde_json::Value::Object(map) => map.values().for_each(|item| walk(item, names)),
            _ => {}
        }
    }
    let mut names = HashSet::new();
    walk(&policy.to_json().unwrap_or_default(), &mut names);
    names
}

pub(super) fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind: EntityTypeName =
        kind.parse().map_err(|e: cedar_policy::ParseErrors| e.to_string())?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}
