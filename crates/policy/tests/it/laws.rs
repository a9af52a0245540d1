//! What must hold for any estate.

use std::collections::BTreeSet;

use model::inspect::Report;
use model::observation::Transport;
use policy::cedar::Oracle;
use policy::compile::{Limit, limits, ruleset};
use policy::draft::{DraftOptions, draft};
use policy::evaluate::Evaluator;
use policy::folder::{self, Folder};
use policy::lower::{Lowered, lower};
use policy::reach::{analyse, closure};
use policy::{cedar, check};
use proptest::prelude::*;

use crate::sample::{Sample, TCP, estates};

/// Cedar, the lowered form and the ruleset give one answer for every device and service.
fn agree(folder: &Folder) -> Result<(), TestCaseError> {
    let lowered = lower(folder);
    let oracle = Oracle::new(folder).map_err(|f| TestCaseError::fail(f.to_string()))?;
    let compiled = ruleset(folder, 1, None).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let evaluator = Evaluator::new(&compiled);
    for (d, device) in folder.estate.devices.iter().enumerate() {
        let sources: Vec<_> = compiled.members.iter().filter(|m| m.device == device.id).collect();
        for (s, service) in folder.estate.services.iter().enumerate() {
            let lowered = lowered.grant(d, s).is_some();
            let cedar = oracle.allows(d, s).map_err(TestCaseError::fail)?;
            prop_assert_eq!(cedar, lowered, "{} -> {}", &device.id, &service.id);
            if service.transport == Transport::Link {
                continue;
            }
            let host =
                folder.estate.devices.iter().find(|d| Some(&d.id) == service.device.as_ref());
            for source in &sources {
                for to in folder.estate.addresses(service, host) {
                    let verdict = evaluator.evaluate(
                        (source.mac, source.ip),
                        *to,
                        service.transport,
                        service.port,
                    );
                    prop_assert_eq!(
                        verdict.allowed,
                        cedar,
                        "{} -> {}: {}",
                        &device.id,
                        &service.id,
                        verdict
                    );
                }
            }
        }
    }
    Ok(())
}

/// The obvious way: hop until nothing new is found.
fn naive(folder: &Folder, lowered: &Lowered, start: usize) -> (u64, u64) {
    let (mut devices, mut services) = (BTreeSet::from([start]), BTreeSet::new());
    loop {
        let before = (devices.len(), services.len());
        for device in devices.clone() {
            for s in 0..folder.estate.services.len() {
                if lowered.grant(device, s).is_some() {
                    services.insert(s);
                    let host = folder.estate.services[s].device.as_ref();
                    devices.extend(folder.estate.devices.iter().position(|d| Some(&d.id) == host));
                }
            }
        }
        if (devices.len(), services.len()) == before {
            break;
        }
    }
    devices.remove(&start);
    let own = Some(&folder.estate.devices[start].id);
    services.retain(|s| folder.estate.services[*s].device.as_ref() != own);
    (services.len() as u64, devices.len() as u64)
}

fn draft_laws(report: &Report) -> Result<(), TestCaseError> {
    let draft = draft(report, &DraftOptions::default());
    let lowered = lower(&draft.folder);

    // The text is valid in strict mode and means the same.
    let read = folder::parse(&draft.files).map_err(|f| {
        TestCaseError::fail(f.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    prop_assert_eq!(ruleset(&read, 7, Some(6)), ruleset(&draft.folder, 7, Some(6)));
    prop_assert_eq!(&read.estate, &draft.folder.estate);
    prop_assert_eq!(read.files(), folder::parse(&read.files()).unwrap().files());

    // Its own tests and claims hold.
    prop_assert_eq!(check::run(&read, &lower(&read)), vec![]);

    // Every recorded path is permitted or listed with a reason, and none is both.
    let index =
        |id: &str| draft.folder.estate.devices.iter().position(|d| d.id.as_str() == id).unwrap();
    let service =
        |id: &str| draft.folder.estate.services.iter().position(|s| s.id.as_str() == id).unwrap();
    let refused: BTreeSet<usize> = draft.refused.iter().flat_map(|r| r.conduits.clone()).collect();
    for (i, conduit) in report.conduits.iter().enumerate() {
        let (d, s) = (index(conduit.from.as_str()), service(conduit.to.as_str()));
        if draft.folder.estate.services[s].device.as_ref() != Some(&conduit.from) {
            let granted = lowered.grant(d, s).is_some();
            prop_assert_eq!(granted, !refused.contains(&i), "{} -> {}", &conduit.from, &conduit.to);
        }
    }
    prop_assert!(draft.refused.iter().all(|r| !r.reasons.is_empty()));
    let shared =
        limits(&draft.folder, &lowered).iter().any(|l| matches!(l, Limit::SharedAddress { .. }));
    prop_assert!(!shared);

    let analysis = analyse(&draft.folder, &lowered);
    for d in 0..draft.folder.estate.devices.len() {
        let expect = naive(&draft.folder, &lowered, d);
        let got = (analysis.transitive_services[d], analysis.transitive_devices[d]);
        prop_assert_eq!(got, expect, "device {}", d);
        let (devices, services) = closure(&draft.folder, &lowered, &[d]);
        prop_assert_eq!(devices.len() as u64, expect.1 + 1);
        prop_assert!(services.len() as u64 >= expect.0);
    }
    agree(&draft.folder)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn drafts(report in estates()) {
        draft_laws(&report)?;
    }

    #[test]
    fn the_same_report_gives_the_same_text(report in estates()) {
        let options = DraftOptions::default();
        prop_assert_eq!(draft(&report, &options).files, draft(&report, &options).files);
    }

    /// Policies a person might write, over drafted estates.
    #[test]
    fn any_policy_means_what_cedar_says(
        report in estates(),
        policies in prop::collection::vec((any::<bool>(), 0usize..8, 0usize..7, 0usize..CONDITIONS.len(), 0usize..14), 1..8),
        owned in prop::collection::vec(0usize..14, 0..4),
    ) {
        let mut folder = draft(&report, &DraftOptions::default()).folder;
        for owned in owned {
            let devices = &mut folder.estate.devices;
            let i = owned % devices.len();
            devices[i].owner = "it".to_owned();
            devices[i].assurance = model::Assurance::DeviceKey;
            let services = &mut folder.estate.services;
            if let Some(service) = services.get_mut(owned) {
                service.sensitive = true;
                service.assurance_min = model::Assurance::Vouched;
            }
        }
        let text: String = policies.iter().enumerate().map(|(n, p)| written(&folder, n, *p)).collect();
        let files = [("policies/z.cedar", text.as_str())];
        prop_assert_eq!(cedar::validate(&folder.schema, &files), Ok(()), "{}", text);
        folder.policies.extend(cedar::read_all(&files).unwrap());
        agree(&folder)?;
    }
}

/// Conditions over every attribute and operator; `{d}` a device, `{z}` a zone.
const CONDITIONS: [&str; 17] = [
    "",
    " when { principal.owner == \"it\" }",
    " unless { principal.assurance >= resource.assurance_min }",
    " when { resource.sensitive || resource.port > 400 }",
    " when { principal.zone == resource.zone }",
    " when { resource has device && resource.device == principal }",
    " unless { resource has device && resource.device.assurance < 3 }",
    " when { resource has site && principal.site == resource.site }",
    " when { principal.type == DeviceType::\"plc\" } unless { context.port == 502 }",
    " when { context.protocol like \"*p\" && !(context.port <= 67) }",
    " when { [443, 502].contains(context.port) }",
    " when { principal in [Zone::\"{z}\", Zone::\"external\"] }",
    " when { if resource.scope == \"estate\" then principal.posture != \"quarantined\" else false }",
    " when { principal.zone.class == \"cameras\" || resource.zone.class == \"tills\" }",
    " when { principal is Device in Zone::\"{z}\" }",
    " when { [principal.owner, \"a\"].containsAll([\"it\"]) || [1, 2].containsAny([context.port]) }",
    " unless { principal == Device::\"{d}\" }",
];

fn written(
    folder: &Folder,
    n: usize,
    (permit, principal, resource, condition, pick): (bool, usize, usize, usize, usize),
) -> String {
    let estate = &folder.estate;
    let device = &estate.devices[pick % estate.devices.len()];
    let zone = &estate.zones[pick % estate.zones.len()].id;
    let service = estate.services.get(pick % estate.services.len().max(1));
    let effect = if permit { "permit" } else { "forbid" };
    let principal = match principal {
        0 => format!("principal == Device::\"{}\"", device.id),
        1 => format!("principal in Zone::\"{}\"", device.zone),
        2 => format!("principal in DeviceType::\"{}\"", device.kind),
        3 => "principal in Site::\"main\"".to_owned(),
        4 => format!("principal is Device in Zone::\"{}\"", device.zone),
        5 => format!("principal in Device::\"{}\"", device.id),
        6 => "principal is Device".to_owned(),
        _ => "principal".to_owned(),
    };
    let resource = match (resource, service) {
        (0 | 1, Some(service)) => format!("resource == Service::\"{}\"", service.id),
        (2, _) => format!("resource in Zone::\"{zone}\""),
        (3, _) => "resource in Site::\"main\"".to_owned(),
        (4, _) => "resource is Service".to_owned(),
        (5, _) => format!("resource is Service in Zone::\"{zone}\""),
        _ => "resource".to_owned(),
    };
    let condition =
        CONDITIONS[condition].replace("{d}", device.id.as_str()).replace("{z}", &device.zone);
    format!(
        "@id(\"z{n}\")\n{effect} ({principal}, action == Action::\"connect\", {resource}){condition};\n"
    )
}

/// Devices that differ only in what they offer are told apart where a policy looks at the host.
#[test]
fn a_policy_may_look_at_the_host() {
    let mut s = Sample::new(60);
    for n in 1..=3u8 {
        let (camera, ip) = (format!("cam-{n}"), format!("10.0.0.{n}"));
        s.device(&camera, "ip-camera", &[&ip]);
        s.service(&camera, "", &[&ip], TCP, 554, "rtsp");
    }
    for condition in ["resource.device == principal", "!(principal in [resource.device])"] {
        let mut folder = draft(&s.0, &DraftOptions::default()).folder;
        let text = format!(
            "@id(\"host\") permit (principal, action, resource) when {{ resource has device && {condition} }};"
        );
        folder.policies.extend(cedar::read_all(&[("policies/z.cedar", &text)]).unwrap());
        let counts: Vec<usize> = (0..3).map(|d| lower(&folder).grants(d).len()).collect();
        assert_eq!(counts, if condition.starts_with('!') { [2, 2, 2] } else { [1, 1, 1] });
        agree(&folder).unwrap();
    }
}
