//! Exceptions at the command line: what is wrong first, then made, shown, ended.

use std::fs;

use serde_json::Value;

use super::hq::{Hq, Person, sample, without_numbers};

/// The sample with addresses; only what cameras need is open.
fn estate(test: &str) -> (Hq, Person) {
    let hq = Hq::start(test);
    let anna = hq.anna();
    let folder = hq.here.join("policy");
    sample(&folder);
    let estate = folder.join("estate.toml");
    let mut text = fs::read_to_string(&estate).unwrap();
    for (n, id) in ["camera", "wms", "label", "handheld"].into_iter().enumerate() {
        let line = format!("[[device]]\nid = \"{id}\"\n");
        let with = format!("{line}addresses = [\"10.0.0.{n}\"]\n");
        text = text.replace(&line, &with);
    }
    fs::write(estate, text).unwrap();
    let permit = "@id(\"own\")\n@reason(\"x\")\npermit (principal in Zone::\"w1/cameras\", action, resource == Service::\"nvr-web\");\n";
    fs::write(folder.join("policies/local.cedar"), permit).unwrap();
    fs::write(folder.join("tests.toml"), "").unwrap();
    fs::write(folder.join("claims.toml"), "").unwrap();
    let line = "[[exception]]\nid = \"fair\"\nfrom = \"handheld\"\nto = \"label-print\"\nowner = \"team\"\nreason = \"the fair\"\nexpires = \"2199-03-14T18:00:00Z\"\n";
    fs::write(folder.join("exceptions.toml"), line).unwrap();
    anna.ok("apply -f policy --reason first");
    (hq, anna)
}

#[test]
fn an_exception_is_made_shown_and_ended_and_what_is_wrong_is_said() {
    let (hq, anna) = estate("control-exceptions");
    let add = "exception add handheld wms-web --owner team --reason inventory";
    anna.fails(add, 64, "--for");
    anna.fails(&format!("{add} --for 1h --until 2031-01-01T00:00:00Z"), 64, "cannot be used");
    anna.fails("exception add handheld wms-web --for 1h --reason x", 64, "--owner");
    anna.fails("exception add handheld wms-web --for 1h --owner team", 64, "--reason");
    anna.fails(&format!("{add} --for 91d"), 1, "ends within 90 days");
    anna.fails(&format!("{add} --until 2001-01-01T00:00:00Z"), 1, "before it begins");
    anna.fails(&format!("{add} --until never"), 64, "not an RFC 3339 instant");
    anna.fails(&format!("{add} --for 1h -o csv"), 64, "devices");
    anna.fails("exception list -o csv", 64, "devices");
    anna.fails("exception list --state forever", 64, "possible values");
    anna.fails("exception list -l colour=red", 64, "`colour` is no field");
    anna.fails("exception end exc-nothing --reason x", 3, "exception list");
    let other = |from: &str, to: &str, owner: &str| {
        format!("exception add {from} {to} --owner {owner} --reason x --for 1h")
    };
    anna.fails(&other("nobody", "wms-web", "team"), 3, "nobody");
    anna.fails(&other("handheld", "nothing", "team"), 3, "services are those");
    anna.fails(&other("handheld", "wms-web", "strangers"), 3, "strangers");
    anna.fails(&other("camera", "label-print", "team"), 5, "no exception");
    let refused = anna.run(&format!("{} --dry-run", other("camera", "label-print", "team")));
    assert_eq!(refused.code, 5, "{}", refused.err);
    insta::assert_snapshot!("dry-run-refused", without_numbers(&refused.out));

    let dry = anna.run(&format!("{add} --for 10d --dry-run"));
    assert_eq!((dry.code, dry.err.as_str()), (0, "nothing was changed\n"), "{}", dry.out);
    insta::assert_snapshot!("dry-run", without_numbers(&dry.out));
    let plan: Value =
        serde_json::from_str(&anna.ok(&format!("{add} --for 10d --dry-run -o json"))).unwrap();
    assert_eq!(plan["plan"]["opened"]["pairs"], 1);
    assert_eq!(anna.ok("exception list -o name"), "fair\n");

    let made = anna.run(&format!("{add} --for 10d"));
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(made.err.contains("handheld may open wms-web until "), "{}", made.err);
    let id = made.out.trim().to_owned();
    assert!(id.starts_with("exc-"), "{id}");
    anna.fails(&format!("{add} --for 1h"), 4, &id);
    insta::assert_snapshot!("list", without_numbers(&hq.same(&anna.ok("exception list"))));
    let wide = anna.ok("exception list --state expiring -o wide");
    insta::assert_snapshot!("list-wide", without_numbers(&hq.same(&wide)));
    let json: Value = serde_json::from_str(&anna.ok("exception list -o json")).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);
    assert!(anna.ok("exception list -o yaml").contains(&format!("id: {id}\n")));
    assert_eq!(
        anna.ok("exception list -l type=barcode-scanner --owner team -o name").lines().count(),
        2
    );
    assert_eq!(anna.ok("exception list -l type=plc -o name"), "");

    let ended = anna.run(&format!("exception end {id} fair --reason done"));
    assert_eq!((ended.code, ended.err), (0, format!("{id} is ended\nfair is ended\n")));
    let again = anna.run(&format!("exception end {id} --reason done"));
    assert_eq!((again.code, again.err), (0, format!("{id} was over already\n")));
    assert_eq!(anna.ok("exception list --state ended -o name").lines().count(), 2);
    // The same folder opens nothing again.
    let estate = hq.here.join("policy/estate.toml");
    fs::write(&estate, format!("# again\n{}", fs::read_to_string(&estate).unwrap())).unwrap();
    anna.ok("apply -f policy --reason again");
    assert_eq!(anna.ok("exception list --state ended -o name").lines().count(), 2);
    let yaml = anna.ok(&format!("{add} --for 2h -o yaml"));
    assert!(yaml.contains("from: handheld\n"), "{yaml}");
}
