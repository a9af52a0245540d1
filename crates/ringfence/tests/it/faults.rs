//! Inputs that are not what they should be: what could be read is reported, the fault is named.

use std::fs;

use crate::bytes::{PLUG, arp, dhcp, pcap};
use crate::{Ran, folder, ringfence};

fn home() -> Vec<u8> {
    pcap(1_700_000_000, &[arp(PLUG, 7), dhcp(PLUG, b"HS100(EU)"), arp(PLUG, 7)])
}

/// Exit code 1, and every part of the message.
#[track_caller]
fn refused(ran: &Ran, parts: &[&str]) {
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    for part in parts {
        assert!(ran.err.contains(part), "`{part}` is not in: {}", ran.err);
    }
}

#[test]
fn what_is_no_capture_is_named() {
    let here = folder("no-capture");
    fs::write(here.join("empty.pcap"), b"").unwrap();
    fs::write(here.join("text.pcap"), b"hello, this is no capture at all").unwrap();
    fs::create_dir(here.join("dir")).unwrap();
    refused(&ringfence(&here, "inspect empty.pcap"), &["empty.pcap", "is empty", "byte 0"]);
    refused(&ringfence(&here, "inspect text.pcap"), &["text.pcap", "pcap"]);
    refused(&ringfence(&here, "inspect dir"), &["dir"]);
    refused(&ringfence(&here, "inspect nowhere.pcap"), &["nowhere.pcap"]);
    refused(&ringfence(&here, "inspect -i nowhere0"), &["nowhere0"]);
}

#[test]
fn a_truncated_file_is_read_to_its_end() {
    let here = folder("truncated");
    let whole = home();
    let cut = whole.len() - 5;
    fs::write(here.join("cut.pcap"), &whole[..cut]).unwrap();
    let ran = ringfence(&here, "inspect -o json cut.pcap");
    refused(&ran, &["cut.pcap", "byte"]);
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["inputs"][0]["packets"], 2);
    assert_eq!(document["inputs"][0]["truncated"], true);
    assert_eq!(document["devices"][0]["model"]["value"], "HS100(EU)");
}

#[test]
fn one_bad_file_does_not_lose_the_others() {
    let here = folder("one-bad");
    fs::write(here.join("bad.pcap"), b"\0").unwrap();
    fs::write(here.join("good.pcap"), home()).unwrap();
    let ran = ringfence(&here, "inspect -o json bad.pcap good.pcap");
    refused(&ran, &["bad.pcap"]);
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["devices"].as_array().unwrap().len(), 1);
    let faulty = document["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|i| i["errors"] != serde_json::json!([]));
    assert_eq!(faulty.count(), 1);
}

#[test]
fn damaged_bytes_never_stop_it() {
    let here = folder("damaged");
    let whole = home();
    // Every byte of the file flipped in turn would take minutes as processes; every seventh will do.
    for at in (0..whole.len()).step_by(7) {
        let mut file = whole.clone();
        file[at] ^= 0xff;
        fs::write(here.join("damaged.pcap"), &file).unwrap();
        let ran = ringfence(&here, "inspect -o json damaged.pcap");
        assert!(matches!(ran.code, 0 | 1), "byte {at}: exit code {} {}", ran.code, ran.err);
        assert!(!ran.err.contains("panicked"), "byte {at}: {}", ran.err);
    }
}

#[test]
fn an_empty_capture_is_an_empty_estate() {
    let here = folder("empty-estate");
    fs::write(here.join("none.pcap"), pcap(0, &[])).unwrap();
    let ran = ringfence(&here, "inspect --html page.html --policy draft none.pcap");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("0 packets"), "{}", ran.out);
}

#[test]
fn unusable_knowledge_is_refused_before_anything_is_read() {
    let here = folder("knowledge");
    fs::write(here.join("good.pcap"), home()).unwrap();
    fs::create_dir(here.join("rules")).unwrap();
    refused(&ringfence(&here, "inspect --rules rules good.pcap"), &["rules"]);
    let rule = "[[rule]]\nid = \"x\"\nfield = \"no.such_field\"\nmatch = \"x\"\nvendor = \"X\"\nyes = [{ value = \"x\", vendor = \"X\" }]\nno = [\"y\"]\n";
    fs::write(here.join("rules/mine.toml"), rule).unwrap();
    refused(&ringfence(&here, "inspect --rules rules good.pcap"), &["mine.toml", "no.such_field"]);
    fs::write(here.join("oui.tsv"), "nonsense").unwrap();
    refused(&ringfence(&here, "inspect --oui oui.tsv good.pcap"), &["oui.tsv", "line 1"]);
    refused(&ringfence(&here, "inspect --site b\u{e4}d good.pcap"), &["site"]);
}
