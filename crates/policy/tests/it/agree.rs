//! The compiled form and Cedar's authorizer, over random estates, policies and moments.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use policy::cedar::{self, Oracle};
use policy::decide::{Action, Ask, Decider, View};
use policy::folder::{self, Folder, SCHEMA, Weekday};
use policy::moment::Moment;
use proptest::prelude::*;

use crate::sample::{TCP, UDP};

/// Every operator over every attribute; with and without `has`; with what only Cedar can say; and with
/// conditions that err.
const ATOMS: [&str; 56] = [
    "true",
    "resource.sensitive",
    "principal is Device",
    "resource is Device",
    "principal == resource",
    "principal.owner == \"it\"",
    "principal.owner == resource.owner",
    "principal.owner == 1",
    "principal.owner < 1",
    "principal.owner",
    "principal has nose",
    "principal.nose == 1",
    "principal.assurance >= resource.assurance_min",
    "3 < principal.assurance",
    "principal.type == DeviceType::\"plc\"",
    "principal.type in [DeviceType::\"plc\", DeviceType::\"hmi\"]",
    "principal.support like \"*nd*d\"",
    "resource.application like \"mod*\"",
    "principal.zone == resource.zone",
    "principal.zone.class == \"plcs\"",
    "principal.zone has security_level",
    "principal.zone has security_level && principal.zone.security_level >= 2",
    "principal.zone.security_level < resource.zone.security_level",
    "resource.zone.security_level != 2",
    "resource has site && principal.site == resource.site",
    "resource.site == Site::\"s1\"",
    "resource has device",
    "resource has device && resource.device == principal",
    "resource.device.assurance > 2",
    "resource.device.zone.class != \"plcs\"",
    "resource.device in principal.zone",
    "principal in resource.device",
    "principal in [Zone::\"z1\", Zone::\"z2\"]",
    "if resource.sensitive then principal in [Zone::\"z1\"] else principal in [Zone::\"z2\", Site::\"s1\"]",
    "principal in [principal.zone, resource.zone]",
    "resource in [ServiceGroup::\"g1\", Zone::\"z3\"]",
    "resource in ServiceGroup::\"g2\"",
    "principal.zone in Site::\"s2\"",
    "[1, 443, 502].contains(context.port)",
    "[principal.owner, \"it\"].containsAll([resource.owner])",
    "[principal.assurance, 3].containsAny([resource.assurance_min, 5])",
    "[[1, 2], [context.port]].contains([443])",
    "[principal.zone, Zone::\"z1\"].contains(resource.zone)",
    "[].containsAll([1])",
    "context.protocol == \"tcp\"",
    "context.port == resource.port",
    "context has hour && context.hour >= 8 && context.hour < 18",
    "context.hour < 12",
    "context has weekday && [\"sat\", \"sun\"].contains(context.weekday)",
    "context.weekday != \"mon\"",
    "context has maintenance && context.maintenance",
    "context.maintenance",
    "context.port + 1 == 444",
    "principal.assurance * 9223372036854775807 > 1",
    "ip(\"10.0.0.1\").isInRange(ip(\"10.0.0.0/8\"))",
    "decimal(\"1.5\").lessThan(decimal(\"1.25\"))",
];

fn condition() -> impl Strategy<Value = String> {
    let atom = prop::sample::select(&ATOMS[..]).prop_map(|atom| format!("({atom})"));
    atom.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("(!{a})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")),
        ]
    })
}

fn one_of(all: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(all)
}

/// Text of policies without their names.
fn policy() -> impl Strategy<Value = String> {
    let principal = one_of(&[
        "principal",
        "principal is Device",
        "principal in Zone::\"z1\"",
        "principal is Device in Site::\"s1\"",
        "principal in DeviceType::\"plc\"",
        "principal == Device::\"d1\"",
        "principal in Device::\"d2\"",
    ]);
    let action = one_of(&[
        "action",
        "action == Action::\"connect\"",
        "action in [Action::\"read\", Action::\"connect\"]",
        "action == Action::\"update\"",
    ]);
    let resource = one_of(&[
        "resource",
        "resource is Service",
        "resource in Zone::\"z2\"",
        "resource in ServiceGroup::\"g1\"",
        "resource is Service in Site::\"s2\"",
        "resource == Service::\"v1\"",
    ]);
    let head = one_of(&["", "", "", "@mode(\"shadow\")", "@share(\"40%\")", "@share(\"0%\")"]);
    let clause = (prop::bool::ANY, condition())
        .prop_map(|(when, c)| format!("{} {{ {c} }}", if when { "when" } else { "unless" }));
    let clauses = prop::collection::vec(clause, 0..3);
    (head, prop::bool::weighted(0.65), principal, action, resource, clauses).prop_map(
        |(head, permit, principal, action, resource, clauses)| {
            let effect = if permit { "permit" } else { "forbid" };
            format!("{head} {effect} ({principal}, {action}, {resource}) {};\n", clauses.join(" "))
        },
    )
}

/// Devices, services and what they are, picked by numbers.
fn estate() -> impl Strategy<Value = String> {
    let device = (0usize..4, 0usize..3, 0usize..3, 0usize..6, 0usize..3, 0usize..2);
    let service =
        ((0usize..5, 0usize..8, 0usize..3, 0usize..3), (0usize..3, any::<bool>(), 0usize..6));
    let levels = prop::collection::vec(prop::option::of(0u8..5), 5);
    (
        prop::collection::vec(device, 1..7),
        prop::collection::vec(service, 1..7),
        levels,
        prop::collection::vec((0usize..6, any::<bool>()), 0..5),
    )
        .prop_map(|(devices, services, levels, groups)| {
            let mut text = "format = \"ringfence.policy/v1\"\n".to_owned();
            for owner in ["it", "ot"] {
                let _ = writeln!(text, "[[owner]]\nid = \"{owner}\"");
            }
            for site in ["s1", "s2"] {
                let _ = writeln!(text, "[[site]]\nid = \"{site}\"");
            }
            for (n, level) in levels.iter().enumerate() {
                let class = ["plcs", "tills", "external"][n % 3];
                let site = if n < 4 { format!("site = \"s{}\"\n", n % 2 + 1) } else { String::new() };
                let level = level.map_or(String::new(), |n| format!("security_level = {n}\n"));
                let owner = if n == 1 { "owner = \"ot\"\n" } else { "" };
                let _ = writeln!(text, "[[zone]]\nid = \"z{n}\"\nclass = \"{class}\"\n{site}{level}{owner}");
            }
            let ladder =
                ["observed", "vouched", "shared-secret", "device-key", "hardware-key", "attested"];
            for (n, (zone, kind, owner, rung, support, posture)) in devices.iter().enumerate() {
                let _ = writeln!(
                    text,
                    "[[device]]\nid = \"d{n}\"\nzone = \"z{zone}\"\ntype = \"{}\"\nowner = \"{}\"\nassurance = \"{}\"\nsupport = \"{}\"\nposture = \"{}\"",
                    ["plc", "hmi", "unknown"][*kind],
                    ["", "it", "ot"][*owner],
                    ladder[*rung],
                    ["supported", "ended", "ending"][*support],
                    ["normal", "quarantined"][*posture],
                );
            }
            for (n, ((zone, host, port, app), (owner, sensitive, rung))) in services.iter().enumerate() {
                let place = match devices.get(*host) {
                    Some(_) => format!("device = \"d{host}\""),
                    None => "addresses = [\"203.0.113.9\"]".to_owned(),
                };
                let _ = writeln!(
                    text,
                    "[[service]]\nid = \"v{n}\"\nscope = \"estate\"\nzone = \"z{zone}\"\n{place}\nprotocol = \"{}\"\nport = {}\napplication = \"{}\"\nowner = \"{}\"\nsensitive = {sensitive}\nassurance_min = \"{}\"",
                    ["tcp", "udp"][n % 2],
                    [443, 502, 53][*port],
                    ["", "modbus", "tls"][*app],
                    ["", "it", "ot"][*owner],
                    ladder[*rung],
                );
            }
            for name in ["g1", "g2"] {
                let members = groups.iter().filter(|(n, first)| *n < services.len() && *first == (name == "g1"));
                let mut members: Vec<String> = members.map(|(n, _)| format!("\"v{n}\"")).collect();
                members.sort();
                members.dedup();
                let _ = writeln!(text, "[[group]]\nid = \"{name}\"\nservices = [{}]", members.join(", "));
            }
            text.push_str("[[maintenance]]\nsite = \"s1\"\ndays = [\"sat\"]\nfrom = 22\nto = 4\n");
            text
        })
}

fn moment() -> impl Strategy<Value = Moment> {
    (prop::option::of(0u8..24), prop::option::of(prop::sample::select(&Weekday::ALL[..])))
        .prop_map(|(hour, weekday)| Moment { hour, weekday })
}

fn read(estate: &str, policies: &str) -> Folder {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let files: BTreeMap<String, String> = [
        file("schema.cedarschema", SCHEMA),
        file("estate.toml", estate),
        file("tests.toml", ""),
        file("claims.toml", ""),
        file("exceptions.toml", ""),
    ]
    .into();
    let mut folder = folder::parse(&files).unwrap_or_else(|f| panic!("{f:#?}\n{estate}"));
    // Not validated: what errs when it is asked must err alike.
    let read = cedar::read_all(&[("policies/x.cedar", policies)]);
    folder.policies = read.unwrap_or_else(|f| panic!("{f:#?}\n{policies}"));
    folder
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn any_decision_is_cedars(
        estate in estate(),
        policies in prop::collection::vec(policy(), 1..10),
        moments in prop::collection::vec(moment(), 3),
        action in prop::sample::select(&[Action::Connect, Action::Read, Action::Update][..]),
    ) {
        let named = policies.iter().enumerate().map(|(n, text)| format!("@id(\"p{n}\") {text}"));
        let text: String = named.collect();
        let folder = read(&estate, &text);
        let (decider, oracle) = (Decider::new(&folder, View::Today), Oracle::new(&folder).unwrap());
        for device in 0..folder.estate.devices.len() {
            for service in 0..folder.estate.services.len() {
                for (n, moment) in moments.iter().enumerate() {
                    let (transport, port) = [(TCP, 443), (UDP, 502), (TCP, 502)][n % 3];
                    let ask = Ask { device, service, action, transport, port, moment: *moment };
                    let cedar = oracle.decide(&ask).map_err(TestCaseError::fail)?;
                    let decision = decider.decide(&ask);
                    prop_assert_eq!(decision.allowed, cedar, "{:?}\n{}\n{}", ask, text, estate);
                    // What decided is a policy of the right kind.
                    let effect = decision.policy.map(|p| folder.policies[p].effect);
                    let permit = effect == Some(policy::language::Effect::Permit);
                    prop_assert_eq!(permit, decision.allowed);
                }
            }
        }
    }
}

#[test]
fn every_atom_is_understood() {
    let policies: String = ATOMS
        .iter()
        .enumerate()
        .map(|(n, atom)| {
            format!("@id(\"a{n}\") permit (principal, action, resource) when {{ {atom} }};\n")
        })
        .collect();
    let estate = "format = \"ringfence.policy/v1\"\n[[site]]\nid = \"s1\"\n[[zone]]\nid = \"z1\"\nsite = \"s1\"\nclass = \"plcs\"\n";
    let folder = read(estate, &policies);
    let on_cedar: Vec<String> =
        Decider::new(&folder, View::Today).on_cedar().into_iter().map(|o| o.policy).collect();
    // Arithmetic and extension functions run on Cedar; the others are compiled or listed with a reason.
    for n in 52..56 {
        assert!(on_cedar.contains(&format!("a{n}")), "{on_cedar:?}");
    }
    assert!(on_cedar.len() <= 6, "{on_cedar:?}");
}
