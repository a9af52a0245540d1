//! What MUD files would open, and what stands against them.

use std::collections::{BTreeMap, BTreeSet};

use model::DeviceId;
use model::inspect::Report;
use policy::draft::{DraftOptions, draft};
use policy::folder::{self, Folder};
use policy::lower::lower;
use policy::mud::propose::{Outcome, Proposal, Refused, Subject, propose};
use policy::mud::{Mud, parse};
use proptest::prelude::*;

use crate::sample::{estates, warehouse};

/// A file whose entries are `(name, from the device, matches, forwarding)`.
fn mud(entries: &[(&str, bool, &str, &str)]) -> Mud {
    let list = |from: bool| {
        let aces = entries.iter().filter(|e| e.1 == from).map(|(name, _, matches, forwarding)| {
            format!(
                r#"{{"name": "{name}", "matches": {matches}, "actions": {{"forwarding": "{forwarding}"}}}}"#
            )
        });
        aces.collect::<Vec<_>>().join(",")
    };
    let text = format!(
        r#"{{"ietf-mud:mud": {{"mud-url": "https://acme.example/cam.json", "last-update": "2031-01-01T00:00:00Z",
           "from-device-policy": {{"access-lists": {{"access-list": [{{"name": "fr"}}]}}}},
           "to-device-policy": {{"access-lists": {{"access-list": [{{"name": "to"}}]}}}}}},
           "ietf-access-control-list:acls": {{"acl": [
             {{"name": "fr", "aces": {{"ace": [{}]}}}}, {{"name": "to", "aces": {{"ace": [{}]}}}}]}}}}"#,
        list(true),
        list(false)
    );
    parse("cam.json", &text).unwrap_or_else(|f| panic!("{}\n{text}", f[0]))
}

fn tcp_to(whom: &str, port: u16) -> String {
    format!(
        r#"{{"ietf-mud:mud": {{{whom}}}, "tcp": {{"ietf-mud:direction-initiated": "from-device",
           "destination-port": {{"operator": "eq", "port": {port}}}}}}}"#
    )
}

fn named(name: &str, port: u16) -> String {
    format!(
        r#"{{"ipv4": {{"protocol": 6, "ietf-acldns:dst-dnsname": "{name}"}},
           "tcp": {{"destination-port": {{"operator": "eq", "port": {port}}}}}}}"#
    )
}

/// The warehouse's draft, with what a person adds.
fn estate() -> Folder {
    let mut folder = draft(&warehouse(), &DraftOptions::default()).folder;
    for device in &mut folder.estate.devices {
        device.mud_url = match device.id.as_str() {
            "cam-1" | "cam-2" | "cam-3" | "cam-4" => {
                Some("https://acme.example/cam.json".to_owned())
            }
            "nvr" => Some("https://acme.example/nvr.json".to_owned()),
            "plc-1" => Some("https://other.example/plc.json".to_owned()),
            _ => None,
        };
    }
    folder
}

fn cameras() -> Subject {
    Subject::Kind("ip-camera".to_owned())
}

fn weigh(folder: &Folder, mud: &Mud) -> Proposal {
    propose(folder, mud, &cameras(), None).unwrap()
}

fn pairs(paths: &[policy::mud::propose::Path]) -> BTreeSet<(String, String)> {
    paths.iter().map(|p| (p.from.to_string(), p.to.to_string())).collect()
}

fn targets(proposal: &Proposal) -> Vec<String> {
    let all: BTreeSet<String> = proposal.opens.iter().map(|p| p.to.to_string()).collect();
    all.into_iter().collect()
}

#[test]
fn every_abstraction_over_an_estate() {
    let mut folder = estate();
    for (whom, ports, expect) in [
        (r#""manufacturer": "other.example""#, 502, &["svc:plc-1/tcp/502"][..]),
        (r#""model": "https://other.example/plc.json""#, 502, &["svc:plc-1/tcp/502"]),
        (
            r#""same-manufacturer": [null]"#,
            554,
            &["svc:cam-1/tcp/554", "svc:cam-2/tcp/554", "svc:cam-3/tcp/554", "svc:cam-4/tcp/554"],
        ),
        (r#""local-networks": [null]"#, 1883, &["svc:broker/tcp/1883"]),
        (
            r#""local-networks": [null], "manufacturer": "other.example""#,
            502,
            &["svc:plc-1/tcp/502"],
        ),
    ] {
        let proposal = weigh(&folder, &mud(&[("e", true, &tcp_to(whom, ports), "accept")]));
        assert_eq!(targets(&proposal), expect, "{whom}");
        assert_eq!(proposal.entries[0].outcome, Outcome::Describes);
    }
    // Controllers mean nothing until somebody says who they are.
    for (whom, key) in [
        (r#""controller": "urn:example:lights""#, "urn:example:lights"),
        (r#""my-controller": [null]"#, "my-controller"),
    ] {
        let file = mud(&[("e", true, &tcp_to(whom, 1883), "accept")]);
        let proposal = weigh(&folder, &file);
        assert_eq!(
            (targets(&proposal).len(), proposal.entries[0].outcome),
            (0, Outcome::Unresolved)
        );
        assert!(
            proposal.unresolved[0].contains(&format!("\"{key}\" = [")),
            "{:?}",
            proposal.unresolved
        );
        for value in ["broker", "svc:broker/tcp/1883"] {
            folder.estate.controllers.insert(key.to_owned(), vec![value.to_owned()]);
            assert_eq!(targets(&weigh(&folder, &file)), ["svc:broker/tcp/1883"]);
        }
    }
    // The file's own URL says it for these devices alone.
    let file = mud(&[("e", true, &tcp_to(r#""my-controller": [null]"#, 445), "accept")]);
    let key = "https://acme.example/cam.json".to_owned();
    folder.estate.controllers.insert(key, vec!["files".to_owned()]);
    assert_eq!(targets(&weigh(&folder, &file)), ["svc:files/tcp/445"]);
}

#[test]
fn names_addresses_and_services_that_are_new() {
    let folder = estate();
    let file = mud(&[
        ("known", true, &named("cloud.acme.example", 443), "accept"),
        ("new", true, &named("updates.acme.example", 8443), "accept"),
        (
            "literal",
            true,
            r#"{"ipv4": {"protocol": 17, "destination-ipv4-network": "198.51.100.7"},
           "udp": {"destination-port": {"operator": "eq", "port": 123}}}"#,
            "accept",
        ),
        (
            "inside",
            true,
            r#"{"ipv4": {"protocol": 6, "destination-ipv4-network": "10.0.9.9/32"},
           "tcp": {"destination-port": {"operator": "eq", "port": 80}}}"#,
            "accept",
        ),
        (
            "range",
            true,
            r#"{"ipv4": {"protocol": 6, "ietf-acldns:dst-dnsname": "r.acme.example"},
           "tcp": {"destination-port": {"lower-port": 100, "upper-port": 200}}}"#,
            "accept",
        ),
        (
            "outside-in",
            false,
            r#"{"ipv4": {"protocol": 6, "ietf-acldns:src-dnsname": "in.acme.example"},
           "tcp": {"ietf-mud:direction-initiated": "to-device",
             "destination-port": {"operator": "eq", "port": 443}}}"#,
            "accept",
        ),
        (
            "answer",
            false,
            r#"{"ipv4": {"protocol": 6, "ietf-acldns:src-dnsname": "cloud.acme.example"},
           "tcp": {"ietf-mud:direction-initiated": "from-device",
             "source-port": {"operator": "eq", "port": 443}}}"#,
            "accept",
        ),
    ]);
    let proposal = weigh(&folder, &file);
    assert_eq!(proposal.already, 4, "the cloud is granted to all four");
    assert_eq!(
        targets(&proposal),
        ["svc:198.51.100.7/udp/123", "svc:updates.acme.example/tcp/8443"]
    );
    let new: Vec<&str> = proposal.services.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(new, ["svc:updates.acme.example/tcp/8443", "svc:198.51.100.7/udp/123"]);
    let told = proposal.unresolved.join("\n");
    for part in [
        "fr inside: tcp/80 with 10.0.9.9/32 is an address of the site",
        "fr range: tcp/100-200 with r.acme.example names no single port",
        "to outside-in: tcp/443 from in.acme.example opens connections from outside",
    ] {
        assert!(told.contains(part), "{part} is missing in\n{told}");
    }
    let outcome = |name: &str| proposal.entries.iter().find(|e| e.name == name).unwrap().outcome;
    assert_eq!(outcome("answer"), Outcome::Answers);
    assert_eq!(outcome("range"), Outcome::Nothing);
}

#[test]
fn what_local_policy_forbids_stays_closed_and_is_named() {
    let folder = estate();
    let mut files = folder.files();
    let forbid = "@id(\"no-cameras-at-the-broker\")\n\nforbid (\n  principal in DeviceType::\"ip-camera\",\n  action,\n  resource == Service::\"svc:broker/tcp/1883\"\n);\n";
    files.insert("policies/local.cedar".to_owned(), forbid.to_owned());
    for mode in ["enforce", "shadow"] {
        let text = forbid.replace("\n\nforbid", &format!("\n@mode(\"{mode}\")\nforbid"));
        files.insert("policies/local.cedar".to_owned(), text);
        let folder = folder::parse(&files).unwrap();
        let entry = tcp_to(r#""local-networks": [null]"#, 1883);
        let proposal = weigh(&folder, &mud(&[("e", true, &entry, "accept")]));
        assert_eq!(proposal.opens, [], "{mode}");
        assert_eq!(proposal.cedar, "", "{mode}");
        let conflict = &proposal.conflicts[0];
        assert_eq!(proposal.conflicts.len(), 4);
        assert_eq!(
            (conflict.policy.as_str(), conflict.file.as_str(), conflict.line),
            ("no-cameras-at-the-broker", "policies/local.cedar", 1)
        );
        assert_eq!(conflict.path.entry, "fr e");
        assert!(proposal.findings.iter().any(|f| f.kind == "mud-conflict" && f.count == 4));
    }
}

#[test]
fn the_first_entry_that_speaks_decides() {
    let folder = estate();
    let local = |port| tcp_to(r#""local-networks": [null]"#, port);
    let (mqtt, smb) = (local(1883), local(445));
    for forwarding in ["drop", "reject"] {
        let before = mud(&[("no", true, &mqtt, forwarding), ("yes", true, &mqtt, "accept")]);
        assert_eq!(targets(&weigh(&folder, &before)), Vec::<String>::new());
        let after = mud(&[("yes", true, &mqtt, "accept"), ("no", true, &mqtt, forwarding)]);
        assert_eq!(targets(&weigh(&folder, &after)), ["svc:broker/tcp/1883"]);
    }
    // An unclear refusal closes all it may mean; an unclear acceptance opens nothing.
    let unclear = mqtt.replacen('{', "{\"vendor:at-night\": [null], ", 1);
    let closing = mud(&[("no", true, &unclear, "drop"), ("yes", true, &mqtt, "accept")]);
    assert_eq!(targets(&weigh(&folder, &closing)), Vec::<String>::new());
    let opening = mud(&[("maybe", true, &unclear, "accept"), ("yes", true, &smb, "accept")]);
    let proposal = weigh(&folder, &opening);
    assert_eq!(targets(&proposal), ["svc:files/tcp/445"]);
    assert_eq!(proposal.entries[0].outcome, Outcome::Withheld);
}

#[test]
fn the_unused_and_the_undescribed() {
    let (folder, report) = (estate(), warehouse());
    let file = mud(&[
        ("cloud", true, &named("cloud.acme.example", 443), "accept"),
        ("spare", true, &named("spare.acme.example", 443), "accept"),
        (
            "rtsp",
            false,
            r#"{"ietf-mud:mud": {"local-networks": [null]}, "tcp":
           {"ietf-mud:direction-initiated": "to-device",
            "destination-port": {"operator": "eq", "port": 554}}}"#,
            "accept",
        ),
    ]);
    let seen = propose(&folder, &file, &cameras(), Some(&report)).unwrap();
    let unused: Vec<&str> =
        seen.entries.iter().filter(|e| e.unused).map(|e| e.name.as_str()).collect();
    assert_eq!(unused, ["spare"]);
    let undescribed = pairs(&seen.undescribed);
    let has = |from: &str, to: &str| undescribed.contains(&(from.to_owned(), to.to_owned()));
    // What the taken-over camera did was recorded, though never granted.
    assert!(has("cam-2", "svc:files/tcp/445") && has("cam-1", "svc:gw/udp/67"));
    assert!(!has("cam-1", "svc:cloud.acme.example/tcp/443") && !has("nvr", "svc:cam-1/tcp/554"));
    assert!(seen.compared_with_traffic);
    assert!(seen.findings.iter().any(|f| f.kind == "mud-undescribed"));
    // Without traffic, what policy grants stands in.
    let granted = weigh(&folder, &file);
    let granted = pairs(&granted.undescribed);
    assert!(!granted.contains(&("cam-2".to_owned(), "svc:files/tcp/445".to_owned())));
    assert!(granted.contains(&("cam-1".to_owned(), "svc:gw/udp/53".to_owned())));
}

#[test]
fn one_device_and_unknown_ones() {
    let folder = estate();
    let entry = tcp_to(r#""local-networks": [null]"#, 1883);
    let file = mud(&[("e", true, &entry, "accept")]);
    let one = Subject::Device(DeviceId::new("cam-3").unwrap());
    let proposal = propose(&folder, &file, &one, None).unwrap();
    assert_eq!(pairs(&proposal.opens).len(), 1);
    assert!(proposal.cedar.contains("principal == Device::\"cam-3\""), "{}", proposal.cedar);
    assert_eq!(proposal.policy_file, "policies/mud-cam-3.cedar");
    for unknown in [Subject::Kind("toaster".into()), Subject::Device(DeviceId::new("x").unwrap())] {
        let why = propose(&folder, &file, &unknown, None).unwrap_err();
        assert_eq!(why, Refused::Unknown(unknown));
    }
}

#[test]
fn a_question_that_would_take_too_long_is_refused() {
    let mut folder = estate();
    let device = folder.estate.devices[1].clone();
    for i in 0..30_000 {
        let mut more = device.clone();
        more.id = DeviceId::new(&format!("more-{i}")).unwrap();
        folder.estate.devices.push(more);
    }
    let entry = tcp_to(r#""local-networks": [null]"#, 1883);
    let many: Vec<(&str, bool, &str, &str)> =
        std::iter::repeat_n(("e", true, entry.as_str(), "accept"), 2_000).collect();
    let why = propose(&folder, &mud(&many), &cameras(), None).unwrap_err();
    assert!(matches!(why, Refused::TooMuch { .. }), "{why}");
}

#[test]
fn controllers_in_the_estate_file() {
    let folder = estate();
    let mut files = folder.files();
    let estate = files.get_mut("estate.toml").unwrap();
    estate.push_str("\n[controllers]\n\"urn:ietf:params:mud:dns\" = [\"svc:gw/udp/53\"]\n");
    let read = folder::parse(&files).unwrap();
    let expect = [("urn:ietf:params:mud:dns".to_owned(), vec!["svc:gw/udp/53".to_owned()])];
    assert_eq!(read.estate.controllers, BTreeMap::from(expect));
    assert_eq!(read.estate.devices[1].mud_url.as_deref(), Some("https://acme.example/cam.json"));
    assert_eq!(folder::parse(&read.files()).unwrap(), read);
    let estate = files.get_mut("estate.toml").unwrap();
    *estate = estate.replace("[\"svc:gw/udp/53\"]", "[\"nobody\"]");
    let lines = u32::try_from(estate.lines().count()).unwrap();
    let fault = folder::parse(&files).unwrap_err().swap_remove(0);
    assert_eq!((fault.file.as_str(), fault.line), ("estate.toml", lines));
    assert!(fault.what.contains("unknown controller `nobody`"), "{fault}");
}

#[test]
fn a_new_service_takes_no_name_of_another() {
    let mut folder = estate();
    let file = mud(&[("new", true, &named("updates.acme.example", 8443), "accept")]);
    let mut other = weigh(&folder, &file).services.swap_remove(0);
    other.dns_names = vec!["elsewhere.example".to_owned()];
    folder.estate.services.push(other);
    let proposal = weigh(&folder, &file);
    assert!(proposal.services.is_empty() && proposal.opens.is_empty());
    let told = "would be the service `svc:updates.acme.example/tcp/8443`, and the estate calls something else that";
    assert!(proposal.unresolved[0].contains(told), "{:?}", proposal.unresolved);
}

/// The folder as it would be when somebody took the whole proposal and enforced it.
fn promoted(folder: &Folder, proposal: &Proposal) -> Folder {
    let mut folder = folder.clone();
    for service in &proposal.services {
        if folder.estate.zones.iter().all(|z| z.id != service.zone) {
            let zone = folder::Zone {
                id: service.zone.clone(),
                class: service.zone.clone(),
                ..folder::Zone::default()
            };
            folder.estate.zones.push(zone);
        }
    }
    folder.estate.services.extend(proposal.services.iter().cloned());
    let mut files = folder.files();
    let cedar = proposal.cedar.replace("@mode(\"shadow\")\n", "");
    files.insert(proposal.policy_file.clone(), cedar);
    folder::parse(&files).unwrap_or_else(|f| panic!("{}\n{}", f[0], proposal.cedar))
}

fn grants(folder: &Folder) -> BTreeSet<(String, String)> {
    let lowered = lower(folder);
    let estate = &folder.estate;
    let mut all = BTreeSet::new();
    for (d, device) in estate.devices.iter().enumerate() {
        for (s, service) in estate.services.iter().enumerate() {
            if lowered.grant(d, s).is_some() && service.device.as_ref() != Some(&device.id) {
                all.insert((device.id.to_string(), service.id.to_string()));
            }
        }
    }
    all
}

/// What is proposed is exactly what would be opened: no more, no less, and nothing that is forbidden.
fn holds(report: &Report, file: &Mud) -> Result<(), TestCaseError> {
    let mut folder = draft(report, &DraftOptions::default()).folder;
    let hosts = ["https://acme.example/cam.json", "https://other.example/x"];
    for (i, device) in folder.estate.devices.iter_mut().enumerate() {
        device.mud_url = hosts.get(i % 3).map(|url| (*url).to_owned());
    }
    let first = folder.estate.devices.first().map(|d| d.id.to_string());
    folder.estate.controllers.insert("my-controller".to_owned(), first.into_iter().collect());
    let kinds: BTreeSet<String> = folder.estate.devices.iter().map(|d| d.kind.clone()).collect();
    for kind in kinds {
        let proposal = propose(&folder, file, &Subject::Kind(kind.clone()), Some(report)).unwrap();
        let after = promoted(&folder, &proposal);
        let opened: BTreeSet<_> = grants(&after).difference(&grants(&folder)).cloned().collect();
        prop_assert_eq!(&opened, &pairs(&proposal.opens), "{} {}", kind, &proposal.cedar);
        for conflict in &proposal.conflicts {
            let pair = (conflict.path.from.to_string(), conflict.path.to.to_string());
            prop_assert!(!grants(&after).contains(&pair));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_proposal_opens_what_it_says(
        report in estates(),
        picks in prop::collection::vec((0usize..10, any::<bool>(), 0u8..5), 1..7),
    ) {
        let matches = [
            tcp_to(r#""local-networks": [null]"#, 443),
            tcp_to(r#""same-manufacturer": [null]"#, 443),
            tcp_to(r#""my-controller": [null]"#, 502),
            tcp_to(r#""manufacturer": "other.example""#, 443),
            named("x3.example.org", 443),
            named("new.example.org", 8443),
            r#"{"ietf-mud:mud": {"local-networks": [null]}}"#.to_owned(),
            r#"{"ipv6": {}, "ietf-mud:mud": {"local-networks": [null]}}"#.to_owned(),
            r#"{"ipv4": {"source-ipv4-network": "10.0.0.0/24"}}"#.to_owned(),
            "{}".to_owned(),
        ];
        let entries: Vec<(String, bool, &str, &str)> = picks
            .iter()
            .enumerate()
            .map(|(i, (pick, from, forwarding))| {
                let word = if *forwarding == 0 { "drop" } else { "accept" };
                (format!("e{i}"), *from, matches[*pick].as_str(), word)
            })
            .collect();
        let entries: Vec<(&str, bool, &str, &str)> =
            entries.iter().map(|(n, f, m, w)| (n.as_str(), *f, *m, *w)).collect();
        let file = mud(&entries);
        holds(&report, &file)?;
    }
}
