//! Releases at the command line: what is wrong first, then added, shown, replaced, withdrawn.

use std::fs;

use serde_json::{Value, json};

use super::hq::{Hq, without_numbers};

#[test]
fn a_release_is_added_shown_and_withdrawn_and_what_is_wrong_is_said() {
    let hq = Hq::start("control-releases");
    let anna = hq.anna();
    let write = |name: &str, firmware: &str, digits: &str| {
        let document = json!({
            "schema": "ringfence.reference/v1", "vendor": "Acme", "model": "X1",
            "firmware": firmware, "events": { "4": { "required": [digits.repeat(32)] } },
        });
        fs::write(hq.here.join(name), document.to_string()).unwrap();
    };
    write("x1.json", "2.4", "ab");
    write("other.json", "2.4", "cd");
    write("next.json", "2.5", "ab");
    fs::write(hq.here.join("broken.json"), "{").unwrap();
    fs::write(hq.here.join("long.json"), " ".repeat((4 << 20) + 1)).unwrap();
    anna.fails("release add x1.json", 64, "--reason");
    anna.fails("release add --reason x", 64, "FILE");
    anna.fails("release add nothing.json --reason x", 1, "nothing.json");
    anna.fails("release add long.json --reason x", 1, "longer than");
    anna.fails("release add broken.json --reason x", 64, "the document");
    anna.fails("release add x1.json --replace rel-nothing --reason x", 4, "nothing counts for it");
    anna.fails("release add x1.json --reason x -o csv", 64, "devices");
    anna.fails("release list --state forever", 64, "possible values");
    anna.fails("release list -o csv", 64, "devices");
    anna.fails("release show rel-nothing", 3, "release list");
    anna.fails("release withdraw rel-nothing --reason x", 3, "release list");
    assert_eq!(anna.ok("release list -o json"), "[]\n");

    let made = anna.run("release add x1.json --reason lab");
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(made.err.contains("Acme X1 2.4 are attested by it"), "{}", made.err);
    let first = made.out.trim().to_owned();
    assert!(first.starts_with("rel-"), "{first}");
    let again = anna.run("release add x1.json --reason lab");
    assert_eq!((again.code, again.out.trim()), (0, first.as_str()));
    assert!(again.err.contains("nothing was changed"), "{}", again.err);
    anna.fails("release add other.json --reason lab", 4, "--replace");
    let second = anna.ok(&format!("release add other.json --replace {first} --reason recalled"));
    anna.ok("release add next.json --reason lab");
    insta::assert_snapshot!("list", without_numbers(&hq.same(&anna.ok("release list"))));
    let wide = anna.ok("release list --state withdrawn -o wide");
    insta::assert_snapshot!("list-wide", without_numbers(&hq.same(&wide)));
    let second = second.trim();
    let shown = anna.ok(&format!("release show {second}"));
    assert!(shown.contains("PCR 4: 0 allowed, 1 required"), "{shown}");
    let json: Value =
        serde_json::from_str(&anna.ok(&format!("release show {first} -o json"))).unwrap();
    assert_eq!((&json["state"], &json["replaced_by"]), (&json!("withdrawn"), &json!(second)));
    let withdraw = format!("release withdraw {first} {second} --reason old");
    let done = anna.run(&withdraw);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains(&format!("{first} was withdrawn already")), "{}", done.err);
    assert!(done.err.contains(&format!("{second} is withdrawn")), "{}", done.err);
    assert_eq!(anna.ok("release list --state current -o name").lines().count(), 1);
}
