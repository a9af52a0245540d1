//! Exceptions: what they open counts, what is forbidden stays closed, and one that cannot be in force keeps nothing else from it.

use std::collections::BTreeMap;

use policy::compile::{CompileError, leave_out_exceptions, ruleset};
use policy::excepted::{as_permits, broken, newly};
use policy::folder::{self, Folder};
use policy::lower::lower;

use crate::sample::at;

const ESTATE: &str = r#"
format = "ringfence.policy/v1"
[[owner]]
id = "team"
contact = "team@example.com"
[[site]]
id = "w1"
[[zone]]
id = "w1/cameras"
site = "w1"
class = "cameras"
[[zone]]
id = "w1/servers"
site = "w1"
class = "servers"
[[device]]
id = "camera"
type = "ip-camera"
zone = "w1/cameras"
macs = ["00:1b:1b:00:00:01"]
addresses = ["10.0.0.1"]
[[device]]
id = "bare"
type = "ip-camera"
zone = "w1/cameras"
[[device]]
id = "server"
type = "server"
zone = "w1/servers"
macs = ["00:1b:1b:00:00:02"]
addresses = ["10.0.0.2"]
[[service]]
id = "web"
name = "web"
device = "server"
scope = "estate"
zone = "w1/servers"
protocol = "tcp"
port = 443
[[service]]
id = "shell"
name = "shell"
device = "server"
scope = "estate"
zone = "w1/servers"
protocol = "tcp"
port = 22
"#;

const POLICIES: &str = "@id(\"no-shell\")\n@reason(\"x\")\nforbid (principal, action, resource == Service::\"shell\");\n";

fn exception(id: &str, from: &str, to: &str) -> String {
    format!(
        "[[exception]]\nid = \"{id}\"\nfrom = \"{from}\"\nto = \"{to}\"\nowner = \"team\"\nreason = \"repair\"\n\
         expires = \"{}\"\n",
        at(1_000)
    )
}

fn parsed(exceptions: &str, tests: &str, claims: &str) -> Folder {
    let files = [
        ("schema.cedarschema", folder::SCHEMA),
        ("estate.toml", ESTATE),
        ("policies/own.cedar", POLICIES),
        ("tests.toml", tests),
        ("claims.toml", claims),
        ("exceptions.toml", exceptions),
    ];
    let files: BTreeMap<String, String> =
        files.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
    folder::parse(&files).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

#[test]
fn what_an_exception_opens_is_granted_until_it_ends_and_a_forbid_wins() {
    let both = exception("a", "camera", "web") + &exception("b", "camera", "shell");
    let folder = parsed(&both, "", "");
    let granted = |now| {
        let with = as_permits(&folder, at(now));
        let lowered = lower(&with);
        let of = |grant: &policy::lower::Grant| {
            let policy = usize::try_from(grant.policy).unwrap();
            with.policies.get(policy).unwrap().id.clone()
        };
        lowered.grants(0).iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(granted(10), ["exception a"]);
    assert!(granted(1_000).is_empty(), "it has ended");
}

#[test]
fn a_claim_that_an_exception_breaks_is_told_and_a_test_is_about_policies() {
    let deny = "[[deny]]\nfrom = \"camera\"\nto = \"web\"\nbecause = \"x\"\n";
    let claim =
        "[[claim]]\nid = \"apart\"\nfrom = \"cameras\"\nnever = \"servers\"\nbecause = \"x\"\n";
    let folder = parsed(&exception("a", "camera", "web"), deny, claim);
    let faults = broken(&folder, at(10));
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults.first().unwrap().file, "claims.toml");
    assert!(broken(&folder, at(1_000)).is_empty(), "it has ended");
    let folder = parsed(&exception("a", "camera", "shell"), deny, claim);
    assert!(broken(&folder, at(10)).is_empty(), "it opens nothing");
    let folder = parsed(&exception("a", "camera", "web"), deny, "");
    assert!(broken(&folder, at(10)).is_empty());
    // What does not hold anyway is not the exception's doing.
    let (folder, lowered) = (as_permits(&folder, at(10)), lower(&as_permits(&folder, at(10))));
    let with = policy::check::run(&folder, &lowered);
    assert_eq!((with.len(), newly(&with, with.clone()).len(), newly(&[], with).len()), (1, 0, 1));
}

#[test]
fn an_exception_that_cannot_be_in_force_keeps_nothing_else_from_it() {
    let all = [("a", "camera", "web"), ("b", "camera", "shell"), ("c", "bare", "web")];
    let all: String = all.map(|(id, from, to)| exception(id, from, to)).concat();
    let mut folder = parsed(&all, "", "");
    assert!(matches!(ruleset(&folder, 1, None), Err(CompileError::ExceptionForbidden { .. })));
    let out = leave_out_exceptions(&mut folder);
    let why: Vec<(&str, String)> = out.iter().map(|(e, why)| (&*e.id, why.to_string())).collect();
    assert_eq!(why.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ["b", "c"]);
    assert!(why.iter().any(|(_, why)| why.contains("`no-shell` forbids the path")), "{why:?}");
    assert!(why.iter().any(|(_, why)| why.contains("has no address")), "{why:?}");
    let ruleset = ruleset(&folder, 1, None).unwrap();
    assert_eq!(ruleset.exceptions.iter().map(|e| &*e.name).collect::<Vec<_>>(), ["a"]);
    // A cut-off device's exception goes with it.
    if let Some(device) = folder.estate.devices.first_mut() {
        device.posture = "quarantined".to_owned();
    }
    let cut = "@id(\"cut\")\n@reason(\"x\")\nforbid (principal, action, resource) when { principal.posture == \"quarantined\" };\n";
    folder.policies.extend(policy::cedar::read_all(&[("policies/cut.cedar", cut)]).unwrap());
    assert_eq!(leave_out_exceptions(&mut folder).len(), 1);
    assert!(folder.exceptions.is_empty());
}
