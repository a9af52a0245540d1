//! Plans, explanations, reach of single devices, cards and proofs on the warehouse.

use std::collections::BTreeMap;

use model::ruleset::Mode;
use model::{DeviceId, Timestamp};
use policy::cards::{Answer, Capability, cover};
use policy::draft::{DraftOptions, draft};
use policy::folder::{self, Folder, Treatment};
use policy::lower::lower;
use policy::plan::{Cause, Enforced, ExceptionState, Plan, Source, Stale, Wanted, make};
use policy::prove::{Answer as Said, Example, Question, Solver, Standing, prove};
use policy::unused::{Hits, State, unused};
use policy::why::{Decided, Explanation, explain};
use policy::{impact, reach};
use proptest::prelude::*;

use crate::sample::{at, estates, warehouse};

type Files = BTreeMap<String, String>;

fn files() -> Files {
    draft(&warehouse(), &DraftOptions::default()).files
}

fn with(file: &str, text: &str) -> Files {
    let mut files = files();
    files.entry(file.to_owned()).or_default().push_str(text);
    files
}

fn parsed(files: &Files) -> Folder {
    folder::parse(files).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn planned(files: &Files, enforced: Option<&Enforced>) -> Plan {
    let flows = [("monday.json".to_owned(), warehouse())];
    make(&Wanted { files, enforced, flows: &flows, now: at(100) }).unwrap()
}

fn in_force(files: &Files) -> Enforced {
    Enforced::after(&planned(files, None), at(50)).unwrap()
}

#[test]
fn the_first_plan_opens_and_the_second_changes_nothing() {
    let files = files();
    let first = planned(&files, None);
    assert_eq!((first.generation, first.parent, first.closed.pairs), (1, None, 0));
    let lowered = lower(&parsed(&files));
    let reach = reach::analyse(&parsed(&files), &lowered);
    assert_eq!(first.opened.pairs, reach.direct_services.iter().sum::<u64>());
    assert!(first.changed && first.ruleset.is_some() && first.refused.is_empty());
    // What the draft refused to learn is named, and nothing else.
    assert!(first.breaks.iter().all(|flow| !flow.permitted_before));
    let telnet = first.breaks.iter().find(|flow| flow.to == "svc:files/tcp/23").unwrap();
    assert!(telnet.why.contains("base.cleartext-admin (pack:base/cleartext.cedar:"), "{telnet:?}");

    let enforced = Enforced::after(&first, at(50)).unwrap();
    let again = planned(&files, Some(&enforced));
    assert_eq!((again.generation, again.parent), (2, Some(1)));
    assert_eq!((again.opened.pairs, again.closed.pairs, again.changed), (0, 0, false));
    assert_eq!(again.reach.before, Some(again.reach.after));
}

#[test]
fn what_closes_is_named_with_its_cause_and_its_users() {
    let enforced = in_force(&files());
    let forbid = "\n@id(\"stop\")\nforbid (principal == Device::\"hmi\", action, resource);\n";
    let mut wanted = with("policies/plcs.cedar", forbid);
    wanted.get_mut("estate.toml").unwrap().push_str("[[owner]]\nid = \"plant\"\n");
    let estate = wanted.get_mut("estate.toml").unwrap();
    *estate = estate.replacen("id = \"hmi\"\n", "id = \"hmi\"\nowner = \"plant\"\n", 1);
    wanted.insert("tests.toml".to_owned(), String::new());
    let plan = planned(&wanted, Some(&enforced));
    assert!(!plan.is_refused(), "{:#?}", plan.refused);
    let group = plan.closed.groups.iter().find(|g| g.service.as_str() == "svc:plc-1/tcp/502");
    match &group.unwrap().cause {
        Cause::Forbidden(place) => {
            assert_eq!((place.rule.as_str(), place.file.as_str()), ("stop", "policies/plcs.cedar"));
            assert!(place.line > 1);
        }
        other => panic!("{other:?}"),
    }
    let recorded = plan
        .breaks
        .iter()
        .find(|flow| flow.from == "hmi" && flow.to == "svc:plc-1/tcp/502" && flow.permitted_before);
    let recorded = recorded.unwrap();
    assert_eq!((recorded.owner.as_str(), recorded.mode), ("plant", Mode::Enforce));
    assert_eq!(recorded.source, Source::Document("monday.json".to_owned()));
    assert!(
        plan.breaks
            .iter()
            .any(|flow| matches!(&flow.source, Source::Conduit(rule) if rule.contains("hmi")))
    );
}

#[test]
fn a_removed_permit_a_moved_service_and_a_gone_device_close() {
    let enforced = in_force(&files());
    let cause_of = |wanted: &Files, service: &str| {
        let mut wanted = wanted.clone();
        wanted.insert("tests.toml".to_owned(), String::new());
        let plan = planned(&wanted, Some(&enforced));
        let group = plan.closed.groups.into_iter().find(|g| g.service.as_str() == service);
        group.map(|group| group.cause)
    };
    let mut removed = files();
    let text = removed.get_mut("policies/tills.cedar").unwrap();
    *text = text.replace("permit (", "forbid (");
    assert!(matches!(cause_of(&removed, "svc:pay/tcp/443"), Some(Cause::Forbidden(_))));
    let mut moved = files();
    let text = moved.get_mut("estate.toml").unwrap();
    let service = text.find("id = \"svc:pay/tcp/443\"").unwrap();
    let port = service + text.get(service..).unwrap().find("port = 443").unwrap();
    text.replace_range(port..port + 10, "port = 444");
    assert_eq!(cause_of(&moved, "svc:pay/tcp/443"), Some(Cause::ServiceGone));
}

#[test]
fn a_plan_that_breaks_a_test_has_no_ruleset() {
    let oops = "@id(\"oops\") permit (principal in DeviceType::\"ip-camera\", action, resource == Service::\"svc:till-1/tcp/443\");";
    let plan = planned(&with("policies/tills.cedar", oops), None);
    assert!(plan.is_refused() && plan.ruleset.is_none());
    assert!(Enforced::after(&plan, at(1)).is_none());
    let all: String = plan.refused.iter().map(|fault| format!("{fault}\n")).collect();
    assert!(
        all.contains("claims.toml:") && all.contains("`oops` grants it (policies/tills.cedar:"),
        "{all}"
    );
}

#[test]
fn reach_budgets_hold_for_zones_classes_and_sites() {
    let check = |budget: &str, expect: &[&str]| {
        let mut files = files();
        files.insert("tests.toml".to_owned(), format!("\n[[reach]]\n{budget}\n"));
        let plan = planned(&files, None);
        let all: String = plan.refused.iter().map(|fault| format!("{fault}\n")).collect();
        assert_eq!(plan.is_refused(), !expect.is_empty(), "{budget}: {all}");
        for expect in expect {
            assert!(all.contains(expect), "{budget}: {expect}: {all}");
        }
    };
    check("class = \"cameras\"\nservices_max = 1000", &[]);
    check(
        "class = \"cameras\"\nservices_max = 0",
        &["tests.toml:3", "class cameras must reach at most 0", "come from one rule: `"],
    );
    check("site = \"main\"\ndevices_max = 0", &["site main must reach at most 0 devices"]);
    let faults = |budget: &str| {
        let mut files = files();
        files.insert("tests.toml".to_owned(), format!("[[reach]]\n{budget}\n"));
        folder::parse(&files).unwrap_err()[0].to_string()
    };
    assert!(faults("services_max = 1").contains("one `zone`, `class` or `site`"));
    assert!(faults("site = \"mars\"").contains("unknown site `mars`"));
}

#[test]
fn a_plan_is_applied_as_it_was_or_not_at_all() {
    let files = files();
    let enforced = in_force(&files);
    let plan = planned(&files, Some(&enforced));
    assert_eq!(plan.fits(Some(&enforced), Some(&files)), Ok(()));
    assert_eq!(plan.fits(Some(&enforced), None), Ok(()));
    assert!(matches!(plan.fits(None, None), Err(Stale::Parent { .. })));
    let next = Enforced { generation: 9, ..enforced.clone() };
    let stale = plan.fits(Some(&next), None).unwrap_err().to_string();
    assert!(stale.contains("generation 1, and generation 9 is in force now"), "{stale}");
    let edited = with("policies/tills.cedar", "// a comment\n");
    let stale = plan.fits(Some(&enforced), Some(&edited)).unwrap_err().to_string();
    assert!(stale.contains("policies/tills.cedar"), "{stale}");
    let mut forged = plan.clone();
    forged.files.insert("policies/x.cedar".to_owned(), String::new());
    assert_eq!(forged.fits(Some(&enforced), None), Err(Stale::Edited));
    // Nor may anything that is applied be another's than the folder's.
    let check = |edit: &dyn Fn(&mut Plan)| {
        let mut forged = plan.clone();
        edit(&mut forged);
        assert_ne!(forged, plan);
        assert_eq!(forged.fits(Some(&enforced), Some(&files)), Err(Stale::Edited));
    };
    check(&|plan| drop(plan.ruleset.as_mut().unwrap().permits.pop()));
    check(&|plan| plan.ruleset.as_mut().unwrap().permits[0].last_port = u16::MAX);
    check(&|plan| plan.ruleset = None);
    check(&|plan| {
        plan.generation = 7;
        plan.ruleset.as_mut().unwrap().generation = 7;
    });
    let oops = "@id(\"oops\") permit (principal in DeviceType::\"ip-camera\", action, resource == Service::\"svc:till-1/tcp/443\");";
    let broken = with("policies/tills.cedar", oops);
    check(&|plan| {
        // What a refused folder would give, with a digest to match.
        plan.folder_digest = policy::plan::digest(&broken);
        plan.files.clone_from(&broken);
        let ruleset = policy::compile::ruleset(&parsed(&broken), 2, Some(1)).unwrap();
        plan.ruleset = Some(ruleset);
    });
    let saved = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&saved).unwrap(), plan);
}

#[test]
fn a_folder_has_one_ruleset_with_what_zones_declare_and_cards_oblige_to() {
    let mut files = files();
    let card = "[[card]]\ntype = \"hmi\"\nstate_awareness = \"no\"\n[card.controls]\nstate_awareness = \"passive-monitoring\"\n";
    files.insert("cards.toml".to_owned(), card.to_owned());
    let mut folder = parsed(&files);
    for zone in &mut folder.estate.zones {
        zone.treatment.mdns = Some(Treatment::Permit);
        zone.treatment.goose = Some(Treatment::WithinZone);
    }
    let files = folder.files();
    let plan = planned(&files, None);
    let of_plan = plan.ruleset.unwrap();
    assert_eq!(policy::compile::ruleset(&parsed(&files), 1, None).unwrap(), of_plan);
    let member = of_plan.members.iter().find(|member| member.device.as_str() == "hmi").unwrap();
    let own: Vec<_> = of_plan.permits.iter().filter(|p| p.from == member.class).collect();
    // What a zone declares is logged too where a card says so.
    assert!(own.iter().any(|p| p.rule.ends_with(": mdns permit")), "{own:#?}");
    assert!(own.iter().all(|p| p.terms.log), "{own:#?}");
    assert!(plan.limits.iter().any(|limit| limit.starts_with("goose = within-zone")));
}

#[test]
fn exceptions_start_end_and_expire() {
    let exception = |id: &str, until: Timestamp| {
        format!(
            "[[exception]]\nid = \"{id}\"\nfrom = \"cam-2\"\nto = \"svc:files/tcp/445\"\nowner = \"it\"\nreason = \"r\"\nexpires = \"{until}\"\n"
        )
    };
    let mut first = with("estate.toml", "[[owner]]\nid = \"it\"\n");
    first.get_mut("exceptions.toml").unwrap().push_str(&exception("long", at(9_000_000)));
    let enforced = in_force(&first);
    let mut second = with("estate.toml", "[[owner]]\nid = \"it\"\n");
    let text = second.get_mut("exceptions.toml").unwrap();
    text.push_str(&exception("over", at(99)));
    text.push_str(&exception("soon", at(5_000)));
    let plan = planned(&second, Some(&enforced));
    let states: Vec<(&str, ExceptionState)> =
        plan.exceptions.iter().map(|e| (e.id.as_str(), e.state)).collect();
    use ExceptionState::{Expired, Expiring, New, Removed};
    assert_eq!(states, [("over", Expired), ("soon", New), ("soon", Expiring), ("long", Removed)]);
    let ruleset = plan.ruleset.unwrap();
    assert!(ruleset.exceptions.iter().all(|e| e.name == "soon") && !ruleset.exceptions.is_empty());
}

fn why(files: &Files, from: &str, to: &str) -> Explanation {
    let folder = parsed(files);
    let device = folder.estate.devices.iter().position(|d| d.id.as_str() == from).unwrap();
    let service = folder.estate.services.iter().position(|s| s.id.as_str() == to).unwrap();
    explain(&folder, &lower(&folder), device, service, None, at(0)).unwrap()
}

#[test]
fn every_verdict_names_its_rule_or_the_nearest_and_what_differs() {
    let files = files();
    let open = why(&files, "nvr", "svc:cam-1/tcp/554");
    assert!(open.allowed && matches!(&open.decided, Decided::Permit(p) if p.line > 0), "{open:?}");
    assert!(open.terms.contains_key("evidence"), "{open:?}");
    let telnet = why(&files, "cam-3", "svc:files/tcp/23");
    assert!(matches!(&telnet.decided, Decided::Forbid(p) if p.rule == "base.cleartext-admin"));
    let nearest = |from: &str, to: &str| {
        let why = why(&files, from, to);
        assert_eq!(why.decided, Decided::Default);
        why.nearest.unwrap()
    };
    let other = nearest("plc-2", "svc:pay/tcp/443");
    let fields: Vec<&str> = other.differs.iter().map(|d| d.field.as_str()).collect();
    assert_eq!(fields, ["source", "source.type"]);
    let shadowed = with(
        "policies/tills.cedar",
        "@id(\"later\") @mode(\"shadow\") permit (principal == Device::\"plc-2\", action, resource == Service::\"svc:pay/tcp/443\");",
    );
    assert_eq!(why_rules(&why(&shadowed, "plc-2", "svc:pay/tcp/443")), ["later"]);
    let closing = with(
        "policies/tills.cedar",
        "@id(\"later\") @mode(\"shadow\") forbid (principal == Device::\"nvr\", action, resource);",
    );
    let open = why(&closing, "nvr", "svc:cam-1/tcp/554");
    assert_eq!((open.allowed, open.would_close[0].rule.as_str()), (true, "later"));
}

fn why_rules(why: &Explanation) -> Vec<&str> {
    why.would_open.iter().map(|place| place.rule.as_str()).collect()
}

#[test]
fn conditions_that_differ_are_named_with_both_values() {
    let rule = "@id(\"only\") permit (principal, action, resource == Service::\"svc:pay/tcp/443\") when { context.port == 444 && principal.assurance >= 2 } unless { principal.owner == \"\" };";
    let mut files = files();
    for (name, text) in &mut files {
        if name.starts_with("policies/") {
            text.clear();
        }
    }
    files.insert("policies/only.cedar".to_owned(), rule.to_owned());
    files.insert("tests.toml".to_owned(), String::new());
    let estate = files.get_mut("estate.toml").unwrap();
    *estate = estate.split("\n[[conduit]]").next().unwrap().to_owned();
    let nearest = why(&files, "plc-2", "svc:pay/tcp/443").nearest.unwrap();
    let all: Vec<String> = nearest.differs.iter().map(ToString::to_string).collect();
    assert_eq!(
        all,
        [
            "path.port: the rule wants context.port == 444, this is 443",
            "source.assurance: the rule wants principal.assurance >= 2, this is 0",
            "source.owner: the rule wants not principal.owner == \"\", this is \"\"",
        ]
    );
}

#[test]
fn another_port_is_another_service_or_none() {
    let folder = parsed(&files());
    let lowered = lower(&folder);
    let device = folder.estate.devices.iter().position(|d| d.id.as_str() == "nvr").unwrap();
    let service = folder.estate.services.iter().position(|s| s.id.as_str() == "svc:cam-1/tcp/554");
    let ask = |port| {
        let at_port = Some((model::observation::Transport::Tcp, port));
        explain(&folder, &lowered, device, service.unwrap(), at_port, at(0)).unwrap()
    };
    assert!(ask(554).allowed);
    let none = ask(80);
    assert_eq!((none.allowed, none.decided.clone()), (false, Decided::NoService));
    assert!(
        none.reason().contains("port: the rule wants tcp 554, this is tcp 80"),
        "{}",
        none.reason()
    );
}

#[test]
fn a_taken_over_device_is_followed_and_a_cut_one_missed() {
    let folder = parsed(&files());
    let lowered = lower(&folder);
    let index = |id: &str| folder.estate.devices.iter().position(|d| d.id.as_str() == id).unwrap();
    let takeover = impact::takeover(&folder, &lowered, index("hmi")).unwrap();
    let to = DeviceId::new("plc-1").unwrap();
    let path = takeover.path(&to);
    assert_eq!((path.len(), path[0].from.as_str(), path[0].hops), (1, "hmi", 1));
    assert_eq!(path[0].through.as_str(), "svc:plc-1/tcp/502");
    assert!(path[0].rule.line > 0);
    assert!(takeover.path(&DeviceId::new("till-1").unwrap()).is_empty());
    let flows = [("monday.json".to_owned(), warehouse())];
    let cut = impact::cut_off(&folder, &lowered, index("pay"), &flows).unwrap();
    let lost = cut.offers.iter().find(|o| o.service.as_str() == "svc:pay/tcp/443").unwrap();
    assert_eq!(lost.clients, BTreeMap::from([(String::new(), 2)]));
    assert!(cut.flows.iter().any(|flow| flow.from.as_str() == "till-2"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// The flat graph counts and follows exactly what the bit matrix and the plain closure do.
    #[test]
    fn the_graph_agrees_with_the_analysis(report in estates()) {
        let folder = draft(&report, &DraftOptions::default()).folder;
        let lowered = lower(&folder);
        let analysis = reach::analyse(&folder, &lowered);
        let graph = impact::Graph::of(&folder, &lowered);
        let direct = graph.direct();
        prop_assert_eq!(direct.len(), folder.estate.devices.len());
        for (device, direct) in direct.iter().enumerate() {
            prop_assert_eq!(u64::from(direct.services), analysis.direct_services[device]);
            prop_assert_eq!(u64::from(direct.devices), analysis.direct_devices[device]);
            let closure = graph.closure(u32::try_from(device).unwrap());
            prop_assert_eq!(closure.devices.len() as u64, analysis.transitive_devices[device]);
            prop_assert_eq!(closure.services.len() as u64, analysis.transitive_services[device]);
        }
    }

    /// A plan against the same folder changes nothing; against nothing it opens what is granted.
    #[test]
    fn plans_count_what_is_granted(report in estates()) {
        let drafted = draft(&report, &DraftOptions::default());
        let mut files = drafted.files.clone();
        files.insert("tests.toml".to_owned(), String::new());
        files.insert("claims.toml".to_owned(), String::new());
        let wanted = |enforced| Wanted { files: &files, enforced, flows: &[], now: at(0) };
        let first = make(&wanted(None)).unwrap();
        let folder = folder::parse(&files).unwrap();
        let granted: u64 = reach::analyse(&folder, &lower(&folder)).direct_services.iter().sum();
        prop_assert_eq!(first.opened.pairs, granted);
        if let Some(enforced) = Enforced::after(&first, at(0)) {
            let again = make(&wanted(Some(&enforced))).unwrap();
            prop_assert!(!again.changed && again.opened.pairs == 0 && again.closed.pairs == 0);
        }
    }
}

#[test]
fn a_missing_capability_is_compensated_or_uncovered() {
    let folder = parsed(&files());
    assert!(
        cover(&folder)
            .uncovered_words()
            .iter()
            .any(|w| w.contains("type plc: lacks") && w.contains("shipped card"))
    );
    let card = "[[card]]\ntype = \"hmi\"\nidentification = \"no\"\nconfiguration = \"yes\"\ndata_protection = \"no\"\ninterface_access = \"yes\"\nsoftware_update = \"unknown\"\nstate_awareness = \"no\"\n[card.controls]\nidentification = \"no-sensitive\"\nstate_awareness = \"passive-monitoring\"\n";
    let mut files = files();
    files.insert("cards.toml".to_owned(), card.to_owned());
    let estate = files.get_mut("estate.toml").unwrap();
    *estate = estate.replacen(
        "id = \"svc:plc-1/tcp/502\"\n",
        "id = \"svc:plc-1/tcp/502\"\nsensitive = true\n",
        1,
    );
    estate.push_str("[[owner]]\nid = \"plant\"\n");
    *estate = estate.replacen("id = \"hmi\"\n", "id = \"hmi\"\nowner = \"plant\"\n", 1);
    let denied = why(&files, "hmi", "svc:plc-1/tcp/502");
    match &denied.decided {
        Decided::Forbid(place) => {
            assert_eq!(
                (place.rule.as_str(), place.file.as_str(), place.line),
                ("card.hmi.no-sensitive", "cards.toml", 2)
            );
        }
        other => panic!("{other:?}"),
    }
    let folder = parsed(&files);
    let rows = cover(&folder).rows;
    let row =
        |capability| rows.iter().find(|r| r.kind == "hmi" && r.capability == capability).unwrap();
    assert!(!row(Capability::Identification).is_uncovered());
    assert_eq!(row(Capability::DataProtection).answer, Answer::No);
    assert!(row(Capability::DataProtection).is_uncovered());
    // The obligation: what the HMI may still open is logged.
    files.insert("tests.toml".to_owned(), String::new());
    let ruleset = planned(&files, None).ruleset.unwrap();
    let hmi = ruleset.members.iter().find(|m| m.device.as_str() == "hmi").unwrap().class;
    let logged: Vec<bool> =
        ruleset.permits.iter().filter(|p| p.from == hmi).map(|p| p.terms.log).collect();
    assert!(!logged.is_empty() && logged.iter().all(|log| *log));
    // Written and read again it says the same.
    assert_eq!(parsed(&folder.files()).cards.len(), 1);
}

#[test]
fn faults_in_cards() {
    let check = |text: &str, expect: &str| {
        let mut files = files();
        files.insert("cards.toml".to_owned(), text.to_owned());
        let faults = folder::parse(&files).unwrap_err();
        assert!(
            faults
                .iter()
                .any(|f| f.file == "cards.toml" && f.line > 0 && f.to_string().contains(expect)),
            "{faults:#?}"
        );
    };
    check("[[card]]\ntype = \"\"\n", "a card is about a device type");
    check("[[card]]\ntype = \"plc\"\nidentification = \"maybe\"\n", "unknown variant");
    check("[[card]]\ntype = \"plc\"\nspeed = \"yes\"\n", "unknown field");
    check(
        "[[card]]\ntype = \"plc\"\n[card.controls]\nidentification = \"no-inbound\"\n",
        "does not stand in for identification; no-sensitive does",
    );
    check(
        "[[card]]\ntype = \"plc\"\nidentification = \"yes\"\n[card.controls]\nidentification = \"no-sensitive\"\n",
        "needless control",
    );
    check("[[card]]\ntype = \"plc\"\n[[card]]\ntype = \"plc\"\n", "duplicate card for type `plc`");
}

/// A solver that answers from a list and checks that every question is valid Cedar.
struct Scripted<'a> {
    reach: &'a [(&'a str, &'a str)],
}

impl Solver for Scripted<'_> {
    fn ask(&mut self, question: &Question<'_>) -> Said {
        let files: Vec<(&str, &str)> = vec![("probe", question.probe)];
        if let Err(faults) = policy::cedar::validate(question.schema, &files) {
            panic!("{faults:#?}\n{}", question.probe);
        }
        let between = |(from, to): &&(&str, &str)| {
            question.probe.contains(&format!(
                "principal.zone.class == \"{from}\" && resource.zone.class == \"{to}\""
            ))
        };
        match self.reach.iter().find(between) {
            Some(_) => Said::Example(Example { device: "d".to_owned(), service: "s".to_owned() }),
            None => Said::Never,
        }
    }
}

#[test]
fn claims_are_proved_refuted_or_labelled() {
    let folder = parsed(&files());
    let lowered = lower(&folder);
    let claim = folder.claims.iter().find(|c| c.id == "cameras-never-tills" && c.hops).unwrap();
    let ask = |reach: &[(&str, &str)]| {
        let mut solver = Scripted { reach };
        prove(&folder, &lowered, claim, Some(&mut solver)).standing
    };
    assert_eq!(ask(&[]), Standing::Proved);
    assert!(
        matches!(ask(&[("cameras", "tills")]), Standing::HoldsToday { way, .. } if way == ["cameras"])
    );
    match ask(&[("cameras", "recorders"), ("recorders", "tills")]) {
        Standing::HoldsToday { way, .. } => assert_eq!(way, ["cameras", "recorders"]),
        other => panic!("{other:?}"),
    }
    assert!(matches!(prove(&folder, &lowered, claim, None).standing, Standing::Exhaustive { .. }));
    let oops = "@id(\"oops\") permit (principal in DeviceType::\"ip-camera\", action, resource == Service::\"svc:till-1/tcp/443\");";
    let broken = parsed(&with("policies/tills.cedar", oops));
    let mut solver = Scripted { reach: &[] };
    match prove(&broken, &lower(&broken), claim, Some(&mut solver)).standing {
        Standing::Broken(fault) => {
            assert!(fault.why.contains("cam-1 reaches svc:till-1/tcp/443"), "{fault}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn permits_that_nothing_used_are_named_with_their_age() {
    let folder = parsed(&files());
    let rule = |n: usize| {
        folder
            .policies
            .iter()
            .filter(|p| p.effect == policy::language::Effect::Permit)
            .nth(n)
            .unwrap()
            .id
            .clone()
    };
    let hits = Hits {
        schema: policy::unused::SCHEMA.to_owned(),
        since: at(0),
        until: at(3 * 86_400),
        rules: BTreeMap::from([(rule(0), 0), (rule(1), 7)]),
    };
    let found = unused(&folder, &lower(&folder), &hits);
    let state = |id: &str| found.iter().find(|u| u.rule.rule == id).map(|u| (u.state, u.days));
    assert_eq!(state(&rule(0)), Some((State::NeverHit, Some(3))));
    assert_eq!(state(&rule(1)), None);
    assert_eq!(state(&rule(2)), Some((State::NotCounted, None)));
}

#[test]
fn zones_and_conduits_are_judged() {
    use policy::iec62443::{Kind, assess};
    let mut files = files();
    let estate = files.get_mut("estate.toml").unwrap();
    *estate = estate.replacen("class = \"plcs\"", "class = \"plcs\"\nsecurity_level = 3", 1);
    *estate =
        estate.replacen("class = \"hmi-scada\"", "class = \"hmi-scada\"\nsecurity_level = 1", 1);
    let folder = parsed(&files);
    let assessment = assess(&folder, &lower(&folder));
    let has = |kind, subject: &str| {
        assessment.remarks.iter().any(|r| r.kind == kind && r.subject.contains(subject))
    };
    assert!(has(Kind::LevelDrop, "hmi-scada"), "{:#?}", assessment.remarks);
    assert!(has(Kind::NoLevel, "cameras"));
    let conduit = assessment.conduits.iter().find(|c| c.to.contains("plcs")).unwrap();
    assert_eq!(conduit.level, Some(3));
    assert!(conduit.permitted <= conduit.possible);
}
