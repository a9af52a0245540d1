//! `ringfence policy mutate`: mistakes that the folder's own tests miss, and the tests that notice them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::policies::{append, is, policy};
use crate::ringfence;

fn document(here: &Path, arguments: &str) -> Value {
    let ran = ringfence(here, &format!("policy mutate policy -o json {arguments}"));
    is(&ran, 0, &["ringfence.policy-mutate/v1"]);
    serde_json::from_str(&ran.out).unwrap()
}

/// Mutants of an outcome, as "line mistake".
fn with(document: &Value, outcome: &str) -> Vec<String> {
    let mutants = document["mutants"].as_array().unwrap().iter();
    let these = mutants.filter(|mutant| mutant["outcome"] == outcome);
    these.map(|m| format!("{} {}", m["line"], m["mistake"].as_str().unwrap())).collect()
}

#[test]
fn what_the_tests_miss_survives_with_the_test_that_would_notice() {
    let here = policy("mutate-misses");
    let ran = ringfence(&here, "policy mutate policy");
    is(&ran, 0, &["2 policies", "1 must-allow, 1 must-deny, 0 reach budgets, 1 claim:"]);
    insta::assert_snapshot!("mutate-misses", ran.out);
    is(&ringfence(&here, "policy mutate policy --detailed-exitcode"), 2, &[]);
    let document = document(&here, "");
    // No test says that cameras push to the recorder, so its rule may go.
    assert!(with(&document, "survived").contains(&"9 deleted".to_owned()), "{document:#}");
    // The one test of the other rule notices that it is gone.
    assert!(with(&document, "caught").contains(&"1 deleted".to_owned()), "{document:#}");
    let mutants = document["mutants"].as_array().unwrap();
    let caught = mutants.iter().find(|m| m["outcome"] == "caught").unwrap();
    assert_eq!(caught["caught_by"], "tests.toml:2: nvr to cam-1/rtsp must be allowed");
}

#[test]
fn the_tests_that_are_written_out_notice_everything() {
    let here = policy("mutate-catches");
    let before = document(&here, "");
    let mutants = before["mutants"].as_array().unwrap();
    let tests: std::collections::BTreeSet<&str> =
        mutants.iter().filter_map(|m| m["pair"]["test"].as_str()).collect();
    assert!(tests.len() > 1, "{before:#}");
    append(&here, "tests.toml", &tests.into_iter().collect::<Vec<_>>().join("\n"));
    let ran = ringfence(&here, "policy mutate policy --detailed-exitcode");
    is(&ran, 0, &[" caught, 0 survived, "]);
    let after = document(&here, "");
    assert_eq!(after["counts"]["mutants"], before["counts"]["mutants"]);
    let caught = |document: &Value| document["counts"]["caught"].as_u64().unwrap();
    let survived = before["counts"]["survived"].as_u64().unwrap();
    assert_eq!(caught(&after), caught(&before) + survived);
}

#[test]
fn what_tests_cannot_ask_about_is_not_called_caught() {
    let here = policy("mutate-not-judged");
    append(
        &here,
        "policies/more.cedar",
        r#"@id("night") permit (principal == Device::"till-1", action == Action::"connect", resource == Service::"nvr/ingest")
when { context has hour && context.hour >= 22 };
@id("later") @mode("shadow") permit (principal == Device::"till-1", action == Action::"connect", resource == Service::"cam-1/rtsp");
@id("reads") permit (principal == Device::"nvr", action == Action::"read", resource == Service::"cam-1/rtsp");
@id("sum") permit (principal == Device::"till-1", action == Action::"connect", resource == Service::"cam-2/rtsp")
when { context.port + 1 == 555 };
@id("again") permit (principal in Zone::"main/recorders", action == Action::"connect", resource in Zone::"main/cameras")
when { context.protocol == "tcp" && context.port == 554 && resource.sensitive };
"#,
    );
    let ran = ringfence(&here, "policy mutate policy --all");
    is(
        &ran,
        0,
        &[
            "Not judged, because the policy is in shadow",
            "policies/more.cedar:3: later",
            "Not judged, because tests ask about the action `connect` only",
            "policies/more.cedar:4: reads",
            "Not judged, because it matters at some hours only",
            "policies/more.cedar:1: night",
            "Only the deletion was tried of what runs on Cedar's own authorizer",
            "policies/more.cedar:5: sum: ",
            "policies/more.cedar:7: again: deleted",
        ],
    );
    let of = |rule: &str, generated: &str| {
        let document = document(&here, &format!("--rule {rule} {generated}"));
        [with(&document, "caught").len(), with(&document, "survived").len()]
    };
    // Hours, shadow and other actions are in reach of generated requests, and every part matters.
    assert_eq!(
        of("night", ""),
        [0, 1],
        "only the whole condition turned around holds at no moment"
    );
    for rule in ["night", "later", "reads"] {
        let [caught, survived] = of(rule, "--generated");
        assert!(caught > 2 && survived == 0, "{rule}: {caught} {survived}");
    }
    // The recorders pull from every camera already, not only what is sensitive.
    let document = document(&here, "--rule again --generated");
    let expect = ["7 deleted", "7 `resource.sensitive` negated"];
    assert_eq!(with(&document, "survived"), expect, "{document:#}");
}

#[test]
fn packs_are_judged_when_asked_for() {
    let here = policy("mutate-packs");
    let estate = fs::read_to_string(here.join("policy/estate.toml")).unwrap();
    let packs = estate.replacen('\n', "\npacks = [\"base\"]\n", 1);
    fs::write(here.join("policy/estate.toml"), packs).unwrap();
    let own = ringfence(&here, "policy mutate policy");
    is(&own, 0, &["of 2 policies", "Left out: 9 policies of packs"]);
    let all = document(&here, "--packs");
    let files = all["policies"].as_array().unwrap().iter().map(|p| p["file"].as_str().unwrap());
    assert!(files.clone().any(|file| file == "pack:base/identity.cedar"), "{all:#}");
    assert_eq!(all["packs_left_out"], 0);
    let one = document(&here, "--rule base.no-owner");
    assert_eq!(one["policies"].as_array().unwrap().len(), 1);
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let here = policy("mutate-refused");
    is(
        &ringfence(&here, "policy mutate policy --rule camera-push"),
        3,
        &["there is no policy `camera-push`", "cameras-push"],
    );
    append(&here, "tests.toml", "[[allow]]\nfrom = \"till-1\"\nto = \"nvr/ingest\"\n");
    let ran = ringfence(&here, "policy mutate policy");
    is(&ran, 5, &["till-1 to nvr/ingest must be allowed", "do not hold as it is", "--generated"]);
    assert_eq!(ran.out, "");
    is(&ringfence(&here, "policy mutate policy --generated"), 0, &["requests generated"]);
    is(&ringfence(&here, "policy mutate policy --rule a --packs"), 64, &["cannot be used with"]);
}
