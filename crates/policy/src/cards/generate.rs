//! Controls as policies and obligations.

use std::collections::{BTreeMap, BTreeSet};

use model::ruleset::{ClassId, Ruleset};

use super::{CARDS_FILE, Capability, Card, Control, card_of};
use crate::folder::{Estate, Folder};
use crate::language::{Actions, Binary, Condition, Effect, Entity, Expr, Policy, Scope, Var};
use crate::text::slug;

/// Ports that carry TLS, DTLS or SSH from the first byte (IANA): SSH, HTTPS, SMTPS, syslog, LDAPS, DoT, IMAPS,
/// NETCONF, OPC UA over HTTPS, SIPS, CoAPS, MQTTS.
const ENCRYPTED: [u16; 13] = [22, 443, 465, 636, 830, 853, 993, 4843, 5061, 5684, 6514, 8443, 8883];

/// The policies that a folder's cards become.
pub(crate) fn policies(cards: &[Card], estate: &Estate) -> Vec<Policy> {
    cards.iter().flat_map(|card| of_card(card, cards, estate)).collect()
}

fn of_card(card: &Card, cards: &[Card], estate: &Estate) -> Vec<Policy> {
    let mut of_type = estate.devices.iter().filter(|device| device.kind == card.kind);
    if !card.model.is_empty() && !of_type.any(|device| device.name.contains(&card.model)) {
        return Vec::new(); // Nobody has this model yet.
    }
    // A control may stand in for several capabilities; it is one policy.
    let mut controls: BTreeMap<Control, Vec<Capability>> = BTreeMap::new();
    for (capability, control) in &card.controls {
        controls.entry(*control).or_default().push(*capability);
    }
    let mut name = slug(&card.kind);
    if !card.model.is_empty() {
        name = format!("{name}.{}", slug(&card.model));
    }
    controls
        .into_iter()
        .filter_map(|(control, lacks)| {
            let (principal, resource, conditions) = parts(card, cards, estate, control)?;
            let lacks: Vec<&str> = lacks.into_iter().map(Capability::word).collect();
            let reason = format!("stands in for missing {}", lacks.join(", "));
            Some(Policy {
                id: format!("card.{name}.{}", control.word()),
                effect: Effect::Forbid,
                annotations: BTreeMap::from([("reason".to_owned(), reason)]),
                principal,
                action: Actions::All,
                resource,
                conditions,
                file: CARDS_FILE.to_owned(),
                line: card.line,
                on_cedar: None,
            })
        })
        .collect()
}

/// Scope and conditions of a control; none for what is no policy.
fn parts(
    card: &Card,
    cards: &[Card],
    estate: &Estate,
    control: Control,
) -> Option<(Scope, Scope, Vec<Condition>)> {
    let principal = |name| Expr::attr(Var::Principal, name);
    let resource = |name| Expr::attr(Var::Resource, name);
    let has = |name: &str| Expr::Has(Box::new(Expr::Var(Var::Resource)), name.to_owned());
    let all = |a, b| Expr::binary(Binary::And, a, b);
    let any = |a, b| Expr::binary(Binary::Or, a, b);
    let eq = |a, b| Expr::binary(Binary::Eq, a, b);
    let not = |a| Expr::Not(Box::new(a));
    let when = |body| Condition { unless: false, body };
    let unless = |body| Condition { unless: true, body };
    let external = || eq(resource("scope"), Expr::text("external"));
    let same_site = || all(has("site"), eq(resource("site"), principal("site")));
    let from = |mut conditions: Vec<Condition>| {
        conditions.extend(this_model(card, cards, estate, Expr::Var(Var::Principal)).map(when));
        let kind = Entity { kind: "DeviceType".to_owned(), id: card.kind.clone() };
        (Scope::In(kind), Scope::All, conditions)
    };
    Some(match control {
        Control::NoSensitive => from(vec![when(resource("sensitive"))]),
        Control::SiteOnly => from(vec![
            when(any(external(), eq(resource("scope"), Expr::text("estate")))),
            unless(same_site()),
        ]),
        Control::GatewayTermination => {
            let ports = ENCRYPTED.iter().map(|port| Expr::Long(i64::from(*port))).collect();
            let encrypted =
                Expr::binary(Binary::Contains, Expr::Set(ports), Expr::attr(Var::Context, "port"));
            let away = any(external(), eq(resource("scope"), Expr::text("estate")));
            from(vec![when(away), unless(same_site()), unless(encrypted)])
        }
        Control::NoInbound => {
            let kind = Entity { kind: "DeviceType".to_owned(), id: card.kind.clone() };
            let host = || resource("device");
            let mine = Expr::binary(Binary::In, host(), Expr::Entity(kind));
            let mut conditions = vec![when(all(has("device"), mine))];
            if let Some(model) = this_model(card, cards, estate, host()) {
                conditions.push(when(all(has("device"), model)));
            }
            let owned = not(eq(principal("owner"), Expr::text("")));
            conditions.push(unless(all(same_site(), owned)));
            (Scope::All, Scope::All, conditions)
        }
        Control::PassiveMonitoring => return None,
    })
}

/// "It is of this card's model", or for a type's card "of none that has a card of its own"; none where the
/// type alone tells.
fn this_model(card: &Card, cards: &[Card], estate: &Estate, whom: Expr) -> Option<Expr> {
    if !cards.iter().any(|other| other.kind == card.kind && !other.model.is_empty()) {
        return None;
    }
    let of_type = estate.devices.iter().filter(|device| device.kind == card.kind);
    let (mine, others): (Vec<_>, Vec<_>) = of_type
        .partition(|device| card_of(cards, device).is_some_and(|found| found.model == card.model));
    let set = |devices: Vec<&crate::folder::Device>| {
        let entity = |d: &crate::folder::Device| {
            Expr::Entity(Entity { kind: "Device".to_owned(), id: d.id.to_string() })
        };
        Expr::Set(devices.into_iter().map(entity).collect())
    };
    // A new device of the type gets the type's card until its model is known.
    let is = |devices| Expr::binary(Binary::Contains, set(devices), whom.clone());
    match (card.model.is_empty(), others.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Expr::Not(Box::new(is(others)))),
        (false, _) => Some(is(mine)),
    }
}

/// Adds the obligations of cards to a ruleset: every new flow of a monitored device is logged.
pub(crate) fn oblige(ruleset: &mut Ruleset, folder: &Folder) {
    let monitored: BTreeSet<&str> = folder
        .estate
        .devices
        .iter()
        .filter(|device| {
            card_of(&folder.cards, device).is_some_and(|card| {
                card.controls.values().any(|c| *c == Control::PassiveMonitoring)
            })
        })
        .map(|device| device.id.as_str())
        .collect();
    if monitored.is_empty() {
        return;
    }
    let members = ruleset.members.iter().filter(|m| monitored.contains(m.device.as_str()));
    let classes: BTreeSet<ClassId> = members.map(|member| member.class).collect();
    for permit in ruleset.permits.iter_mut().filter(|p| classes.contains(&p.from)) {
        permit.terms.log = true;
    }
    for name in ruleset.names.iter_mut().filter(|n| classes.contains(&n.from)) {
        name.terms.log = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::SCHEMA;

    #[test]
    fn every_control_is_valid_cedar() {
        let text = "[[card]]\ntype = \"plc\"\n[card.controls]\nidentification = \"no-sensitive\"\nconfiguration = \"site-only\"\ndata_protection = \"gateway-termination\"\ninterface_access = \"no-inbound\"\nstate_awareness = \"passive-monitoring\"\n";
        let cards = super::super::read(CARDS_FILE, text).unwrap();
        let made = policies(&cards, &Estate::default());
        let ids: Vec<&str> = made.iter().map(|policy| policy.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "card.plc.no-sensitive",
                "card.plc.site-only",
                "card.plc.gateway-termination",
                "card.plc.no-inbound"
            ]
        );
        let printed: String = made.iter().map(|policy| format!("{policy}\n")).collect();
        crate::cedar::validate(SCHEMA, &[("policies/cards.cedar", &printed)])
            .unwrap_or_else(|faults| panic!("{faults:#?}\n{printed}"));
    }
}
