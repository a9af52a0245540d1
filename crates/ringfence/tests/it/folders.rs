//! Every command that is given a policy folder reads it alike, and refuses it with the same words.

use std::fs;
use std::path::Path;

use crate::policies::{append, is, policy};
use crate::{folder, ringfence};

/// Each command that reads a policy folder, and the exit code of one that is refused.
fn commands(folder: &str) -> Vec<(String, i32)> {
    let ask = |text: &str| text.replace("DIR", folder);
    let site = ask("site run --policy DIR --interface nowhere0 --method none --state DIR-state");
    [
        "plan DIR",
        "apply ok.plan -i lo --state no-state --policy DIR",
        "export nft DIR -i lo",
        "policy check DIR",
        "policy test DIR",
        "policy prove DIR --solver no-such-solver",
        "policy preview DIR",
        "policy why cam-1 nvr --policy DIR",
        "policy reach --policy DIR",
        "policy cut-off cam-1 --policy DIR",
        "policy unused DIR",
        "mud propose m.json --policy DIR --type ip-camera",
        "mud export --policy DIR --type ip-camera",
        "observe log.jsonl --policy DIR",
    ]
    .map(|text| (ask(text), 1))
    .into_iter()
    .chain([(site, 5)])
    .collect()
}

/// What the commands need beside the folder.
fn beside(here: &Path) {
    is(&ringfence(here, "plan policy --out ok.plan"), 0, &[]);
    fs::write(here.join("log.jsonl"), "").unwrap();
    let mud = r#"{"ietf-mud:mud": {"mud-version": 1, "mud-url": "https://cam.example/m.json",
        "last-update": "2031-01-01T00:00:00Z", "is-supported": true, "systeminfo": "a camera"}}"#;
    fs::write(here.join("m.json"), mud).unwrap();
}

#[test]
fn faults_are_shown_with_their_line_by_every_command() {
    let here = policy("folders-faults");
    beside(&here);
    append(&here, "estate.toml", "\n[[device]]\nid = \"cam-1\"\ntype = \"x\"\nzone = \"mars\"\n");
    let mut said = Vec::new();
    for (command, code) in commands("policy") {
        // What was applied is in the plan: the folder is only compared with it.
        if command.starts_with("apply") {
            is(&ringfence(&here, &command), 4, &["changed after the plan was made"]);
            continue;
        }
        let ran = ringfence(&here, &command);
        let parts = ["[policy/estate.toml:104:1]", "ringfence::policy::faults", "2 fault(s)"];
        is(&ran, code, &parts);
        assert_eq!(ran.out, "", "{command}");
        // The log of a site says it too.
        let plain = ran.err.lines().filter(|line| !line.starts_with("ringfence site: "));
        said.push(plain.collect::<Vec<_>>().join("\n"));
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:#?}");
}

#[test]
fn what_is_no_policy_folder_is_named_by_every_command() {
    let here = policy("folders-none");
    beside(&here);
    fs::create_dir(here.join("empty")).unwrap();
    for (command, code) in commands("empty") {
        let parts = ["ringfence::policy::no_folder", "has no estate.toml", "inspect --policy DIR"];
        is(&ringfence(&here, &command), code, &parts);
    }
    for (command, _) in commands("absent") {
        is(&ringfence(&here, &command), 1, &["absent cannot be read: No such file"]);
    }
    // Nothing can be enforced from a file either.
    for (command, _) in commands("ok.plan") {
        let ran = ringfence(&here, &command);
        is(&ran, 1, &["ok.plan"]);
        assert!(!ran.err.contains("panicked"), "{command}: {}", ran.err);
    }
}

#[test]
fn bounds_and_foreign_bytes_have_their_message() {
    let here = policy("folders-bounds");
    let ran = ringfence(&here, "policy check policy/estate.toml");
    is(&ran, 1, &["it is a file; a folder is wanted"]);
    fs::write(here.join("policy/notes.toml"), [0xff, 0xfe]).unwrap();
    let ran = ringfence(&here, "policy check policy");
    is(&ran, 1, &["policy/notes.toml cannot be read", "not text in UTF-8"]);
    let large = fs::File::create(here.join("policy/notes.toml")).unwrap();
    large.set_len(300 << 20).unwrap();
    let ran = ringfence(&here, "policy check policy");
    is(&ran, 1, &["too large for a policy folder", "holds more than", "beside the folder"]);
}

#[test]
fn a_fault_in_a_pack_shows_the_line_of_the_pack() {
    let here = policy("folders-pack");
    let estate = fs::read_to_string(here.join("policy/estate.toml")).unwrap();
    let packs = estate.replacen('\n', "\npacks = [\"iec62443\"]\n", 1);
    fs::write(here.join("policy/estate.toml"), packs).unwrap();
    let schema = policy::folder::SCHEMA.replace("  security_level?: Long,\n", "");
    fs::write(here.join("policy/schema.cedarschema"), schema).unwrap();
    let ran = ringfence(&here, "policy check policy");
    is(&ran, 1, &["[pack:iec62443/levels.cedar:", "policy is impossible", "here"]);
}

#[test]
fn escape_sequences_of_a_file_reach_no_terminal() {
    let here = folder("folders-escape");
    fs::write(here.join("m.json"), "{\n\u{1b}]0;owned\u{7}\n}").unwrap();
    let ran = ringfence(&here, "mud check m.json");
    is(&ran, 1, &["[m.json:2:1]", "?]0;owned?", "ringfence::mud::faults"]);
    assert!(!ran.err.contains('\u{1b}'), "{}", ran.err.escape_debug());
    // A file of one long line is named, not printed.
    fs::write(here.join("m.json"), format!("[{}]x", "1,".repeat(5_000))).unwrap();
    let ran = ringfence(&here, "mud check m.json");
    is(&ran, 1, &["m.json:1:", "not JSON"]);
    assert!(ran.err.len() < 1_000, "{}", ran.err);
}
