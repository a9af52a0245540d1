//! The document, the report, the page and the draft of one small capture.

use serde_json::Value;

use crate::bytes::{PLUG, ROUTER, arp, dhcp, http, pcap, save};
use crate::{folder, ringfence};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: uc-httpd 1.0.0\r\nContent-Length: 0\r\n\r\n";

fn home() -> Vec<Vec<u8>> {
    let mut frames = vec![arp(PLUG, 7), dhcp(PLUG, b"HS100(EU)"), arp(ROUTER, 1)];
    frames.extend(http((ROUTER, 1), (PLUG, 7), ANSWER));
    frames
}

#[test]
fn the_document_keeps_its_contract() {
    let here = folder("contract");
    save(&here.join("home.pcap"), &home());
    let ran = ringfence(&here, "inspect -o json home.pcap");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["schema"], "ringfence.inspect/v1");
    for key in ["devices", "services", "conduits", "findings", "reach", "inputs"] {
        assert!(!document[key].is_null(), "{key}");
    }
    let plug = document["devices"]
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["macs"][0] == "50:c7:bf:00:fc:a3")
        .unwrap();
    for key in [
        "id",
        "ips",
        "hostnames",
        "vendor",
        "model",
        "type",
        "firmware",
        "hardware",
        "serial",
        "os",
        "chip_vendor",
        "role",
        "parent",
        "children",
        "merge_suggestions",
        "protocols",
        "first_seen",
        "last_seen",
        "packets",
        "bytes",
        "packets_to_identity",
    ] {
        assert!(plug.get(key).is_some(), "{key}");
    }
    assert_eq!(plug["vendor"]["value"], "TP-Link");
    assert_eq!(plug["model"]["value"], "HS100(EU)");
    assert_eq!(plug["ips"], serde_json::json!(["192.0.2.7"]));
    assert_eq!(plug["packets_to_identity"], 2);
    let evidence = &plug["model"]["evidence"][0];
    assert_eq!(evidence["input"], "home.pcap");
    assert_eq!(evidence["packet"], 2);
    assert_eq!(evidence["protocol"], "dhcp");
    assert_eq!(evidence["field"], "dhcp.hostname");
    assert!(evidence["rule"].as_str().is_some_and(|r| !r.is_empty()));
    assert_eq!(evidence["observed_at"], "2023-11-14T22:13:21.000000Z");
    let conduit = &document["conduits"][0];
    assert_eq!((&conduit["transport"], &conduit["port"]), (&"tcp".into(), &80.into()));
    assert_eq!(conduit["direction"], "from-device");
    assert_eq!(document["inputs"][0]["packets"], 8);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let here = folder("determinism");
    save(&here.join("home.pcap"), &home());
    let first = ringfence(&here, "inspect -o json home.pcap").out;
    assert_eq!(first, ringfence(&here, "inspect -o json home.pcap").out);
}

#[test]
fn several_files_are_one_estate_in_time_order() {
    let here = folder("several");
    std::fs::write(here.join("late.pcap"), pcap(1_800_000_000, &[dhcp(PLUG, b"HS110(EU)")]))
        .unwrap();
    save(&here.join("early.pcap"), &home());
    let ran = ringfence(&here, "inspect -o json late.pcap early.pcap");
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["devices"].as_array().unwrap().len(), 2);
    assert_eq!(document["span"]["first"], "2023-11-14T22:13:20.000000Z");
    assert_eq!(document["span"]["last"], "2027-01-15T08:00:00.000000Z");
}

#[test]
fn the_report_for_people() {
    let here = folder("report");
    save(&here.join("home.pcap"), &home());
    let ran = ringfence(&here, "inspect home.pcap");
    assert_eq!(ran.code, 0);
    insta::assert_snapshot!("report", ran.out);
}

/// Names come off the wire; on a page they are text, whatever they look like.
#[test]
fn a_hostile_name_stays_text_on_the_page() {
    let here = folder("hostile");
    let name = b"</script><img src=x onerror=alert(1)>\x1b[31m";
    save(&here.join("home.pcap"), &[arp(PLUG, 7), dhcp(PLUG, name)]);
    let ran = ringfence(&here, "inspect --html page.html home.pcap");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!ran.out.contains('\u{1b}'), "an escape sequence reached the terminal");
    let page = std::fs::read_to_string(here.join("page.html")).unwrap();
    assert!(page.contains("onerror=alert(1)"), "the name is in the data");
    assert!(!page.contains("<img"), "and nowhere as markup");
    assert_eq!(page.matches("</script>").count(), 2, "the page's own two scripts");
    assert!(!page.contains("http://") || !page.contains("src=\"http"), "nothing is loaded");
}

#[test]
fn a_draft_is_written_once_and_never_over_another() {
    let here = folder("draft");
    save(&here.join("home.pcap"), &home());
    let ran = ringfence(&here, "inspect --policy draft home.pcap");
    assert_eq!(ran.code, 0, "{}", ran.err);
    for file in
        ["estate.toml", "tests.toml", "claims.toml", "exceptions.toml", "schema.cedarschema"]
    {
        assert!(here.join("draft").join(file).is_file(), "{file}");
    }
    let again = ringfence(&here, "inspect --policy draft home.pcap");
    assert_eq!(again.code, 1);
    assert!(again.err.contains("holds files already"), "{}", again.err);
}

#[test]
fn imported_fingerprints_are_hints() {
    let here = folder("import");
    std::fs::create_dir(here.join("more")).unwrap();
    let recog = r#"<fingerprints matches="http_header.server" protocol="http" database_type="service">
  <fingerprint pattern="^uc-httpd (\d+\.\d+\.\d+)$">
    <description>A web server of recorders</description>
    <example>uc-httpd 1.0.0</example>
    <param pos="0" name="hw.vendor" value="Xiongmai"/>
    <param pos="0" name="hw.device" value="DVR"/>
  </fingerprint>
</fingerprints>"#;
    std::fs::write(here.join("more/http.xml"), recog).unwrap();
    let mut frames = vec![arp([2, 0, 0, 0, 0, 9], 9), arp(ROUTER, 1)];
    frames.extend(http((ROUTER, 1), ([2, 0, 0, 0, 0, 9], 9), ANSWER));
    save(&here.join("dvr.pcap"), &frames);
    let ran = ringfence(&here, "inspect --rules more -o json dvr.pcap");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    let vendors: Vec<&Value> =
        document["devices"].as_array().unwrap().iter().map(|d| &d["vendor"]["value"]).collect();
    assert!(vendors.iter().any(|v| **v == "Xiongmai"), "{vendors:?}");
}
