//! What people mistype, and readers that stop reading: every command answers in words, with its code.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::bytes::{PLUG, arp, pcap};
use crate::policies::{is, policy};
use crate::ringfence;

/// The folder `policy`, a plan, a MUD file, a log and a capture.
fn everything(test: &str) -> PathBuf {
    let here = policy(test);
    is(&ringfence(&here, "plan policy --out ok.plan"), 0, &[]);
    let mud = r#"{"ietf-mud:mud": {"mud-version": 1, "mud-url": "https://cam.example/m.json",
      "last-update": "2031-01-01T00:00:00Z", "is-supported": true, "systeminfo": "a camera",
      "from-device-policy": {"access-lists": {"access-list": [{"name": "fr"}]}}},
     "ietf-access-control-list:acls": {"acl": [{"name": "fr", "type": "ipv4-acl-type", "aces": {"ace": [
      {"name": "cloud", "matches": {"ipv4": {"protocol": 6, "ietf-acldns:dst-dnsname": "cam.example"},
        "tcp": {"destination-port": {"operator": "eq", "port": 443}}},
       "actions": {"forwarding": "accept"}}]}}]}}"#;
    fs::write(here.join("m.json"), mud).unwrap();
    let line = r#"{"schema":"ringfence.verdict/v1","at":"2026-04-17T08:00:00.000000Z","site":"north","verdict":"denied","from":{"device":"cam-1"},"to":{"device":"nvr"},"transport":"tcp","protocol":6,"port":22,"why":{},"generation":5}"#;
    fs::write(here.join("log.jsonl"), format!("{line}\n")).unwrap();
    fs::write(here.join("a.pcap"), pcap(1_700_000_000, &[arp(PLUG, 7)])).unwrap();
    let hits = r#"{"schema":"ringfence.hits/v1","since":"2030-01-01T00:00:00Z","until":"2030-02-01T00:00:00Z","rules":{}}"#;
    fs::write(here.join("hits.json"), hits).unwrap();
    here
}

/// Commands that print, and change nothing.
const PRINT: [&str; 22] = [
    "plan policy",
    "plan policy -o json",
    "export nft policy -i br0",
    "policy check policy --iec62443",
    "policy check policy -o json",
    "policy test policy",
    "policy prove policy --solver no-such-solver",
    "policy preview policy --zone main/tills=shadow",
    "policy why nvr cam-1 --policy policy",
    "policy mutate policy",
    "policy reach --policy policy",
    "policy reach cam-1 --to cam-2 --policy policy",
    "policy cut-off nvr --policy policy",
    "policy unused policy --hits hits.json",
    "mud check m.json",
    "mud show m.json",
    "mud propose m.json --policy policy --type ip-camera",
    "mud export --policy policy --type ip-camera",
    "observe log.jsonl",
    "observe log.jsonl -o jsonl",
    "inspect a.pcap",
    "fields",
];

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let here = everything("usage-pipe");
    for arguments in PRINT {
        let whole = ringfence(&here, arguments);
        assert!(whole.code == 0 && !whole.out.is_empty(), "{arguments}: {}", whole.err);
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.args(arguments.split_whitespace()).current_dir(&here).env("NO_COLOR", "1");
        // Nobody reads: the other end is closed before the program starts.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        drop(command);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments}: {said}");
        assert_eq!(said, whole.err, "{arguments}");
    }
}

#[test]
fn what_was_named_and_is_not_there_has_its_own_code() {
    let here = everything("usage-not-found");
    for (arguments, says) in [
        ("policy why cam-9 nvr --policy policy", "no device `cam-9`"),
        ("policy why cam-1 teapot --policy policy", "no service `teapot`"),
        ("policy reach cam-9 --policy policy", "the nearest names: cam-1, cam-2"),
        ("policy reach cam-1 --to cam-9 --policy policy", "no device `cam-9`"),
        ("policy cut-off dome --policy policy", "`dome` may mean 2 devices"),
        ("policy prove policy --claim cameras-never-till", "cameras-never-tills"),
        ("policy preview policy --zone main/till=shadow", "main/tills"),
        ("policy preview policy --pack retial", "the nearest names: retail"),
        ("policy mutate policy --rule nvr-pull", "nvr-pulls"),
        ("mud propose m.json --policy policy --type toaster", "`toaster` is not in estate.toml"),
        ("mud export --policy policy --type toaster", "no type `toaster`"),
    ] {
        let ran = ringfence(&here, arguments);
        is(&ran, 3, &[says]);
        assert_eq!(ran.out, "", "{arguments}");
        let codes = ["::not_found\n", "::ambiguous\n"];
        assert!(codes.iter().any(|code| ran.err.contains(code)), "{arguments}: {}", ran.err);
    }
}

#[test]
fn what_makes_no_sense_is_wrong_usage() {
    let here = everything("usage-wrong");
    for (arguments, says) in [
        ("policy why cam-1 nvr --policy policy --protocol tcpp", "write tcp, udp"),
        ("policy why cam-1 nvr --policy policy --port 99999", "99999 is not in 0..=65535"),
        ("policy prove policy --for 10x", "write 90s, 10m, 2h or 1d"),
        ("policy preview policy --zone main/tills=open", "write ZONE=shadow or ZONE=enforce"),
        ("mud show m.json --fetched yesterday", "such as 2031-03-14T18:00:00Z"),
        ("mud export --policy policy --type x --at 2031", "such as 2031-03-14T18:00:00Z"),
        ("observe log.jsonl --since yesterday", "write 90s, 10m, 2h, 3d or 2026-04-17T08:00:00Z"),
        ("observe log.jsonl --policy policy --device cam-9", "did you mean one of `cam-1`"),
        ("inspect -i lo --for 0s", "more than zero"),
        ("site break-glass --zone x --for 10y --reason z", "`y` is no unit"),
        ("site run --policy policy", "--interface <IFACE>"),
        ("apply ok.plan", "--interface <IFACE>"),
        ("demo --seed x", "--seed <NUMBER>"),
    ] {
        let ran = ringfence(&here, arguments);
        is(&ran, 64, &[says]);
        assert!(ran.out.is_empty(), "{arguments}: {}", ran.out);
    }
}

#[test]
fn what_cannot_be_had_is_said_once_with_what_to_do() {
    let here = everything("usage-failed");
    let check = |arguments: &str, parts: &[&str]| {
        let ran = ringfence(&here, arguments);
        is(&ran, 1, parts);
        let times = ran.err.matches("No such file").count();
        assert!(times <= 1, "{arguments}: {}", ran.err);
        assert!(ran.err.contains("ringfence::"), "{arguments}: no code: {}", ran.err);
    };
    check("observe nowhere.jsonl", &["nowhere.jsonl cannot be read", "state directory"]);
    check("site status --state nowhere", &["no site is running", "ringfence site run"]);
    check("site journal --state nowhere", &["nowhere/journal.jsonl", "ringfence::site::failed"]);
    check("site run --policy policy --interface nowhere0 --state s", &["no interface `nowhere0`"]);
    check("site prepare -i nowhere0 --check", &["no interface `nowhere0`"]);
    check("inspect -i nowhere0", &["no interface `nowhere0`", "ringfence::inspect::interface"]);
    check("policy preview policy --add nowhere.cedar", &["nowhere.cedar cannot be read"]);
    check("policy unused policy --hits nowhere", &["nowhere cannot be read"]);
    check("apply nowhere.plan -i lo", &["nowhere.plan cannot be read"]);
    check("plan policy --out nowhere/x.plan", &["nowhere/x.plan cannot be written"]);
    // Before a minute is spent.
    let page = "cannot be written: there is no folder nowhere";
    check("demo --html nowhere/x.html", &[page]);
    check("inspect --html nowhere/x.html a.pcap", &[page]);
    check("inspect --html policy a.pcap", &["policy cannot be written: it is a folder"]);
    assert!(!here.join("nowhere").exists());
}
