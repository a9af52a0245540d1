//! MUD files of a draft, and of anybody.

use policy::draft::{DraftOptions, draft};
use policy::mud::{Initiated, Mud, PortMatch, Who, parse};
use proptest::prelude::*;

use crate::sample::{estates, warehouse};

fn manifests() -> Vec<(String, Mud)> {
    let draft = draft(&warehouse(), &DraftOptions::default());
    let files = draft.files.iter().filter(|(path, _)| path.starts_with("mud/"));
    files.map(|(path, text)| (path.clone(), parse(path, text).unwrap())).collect()
}

#[test]
fn one_file_per_known_type() {
    let paths: Vec<String> = manifests().into_iter().map(|(path, _)| path).collect();
    let kinds = [
        "file-server",
        "gateway",
        "hmi",
        "ip-camera",
        "mqtt-broker",
        "nvr",
        "payment-server",
        "plc",
        "sensor",
        "till",
    ];
    let expect: Vec<String> = kinds
        .into_iter()
        .filter(|kind| *kind != "file-server")
        .map(|kind| format!("mud/{kind}.json"))
        .collect();
    assert_eq!(paths, expect);
}

#[test]
fn a_camera_in_both_directions() {
    let all = manifests();
    let (_, camera) = all.iter().find(|(path, _)| path == "mud/ip-camera.json").unwrap();
    assert_eq!(camera.mfg_name.as_deref(), Some("Acme"));
    let aces = |list: &str| camera.acls.iter().find(|a| a.name == list).unwrap().aces.clone();
    let named = |aces: Vec<policy::mud::Ace>| {
        aces.into_iter().map(|a| a.matches).find(|m| {
            m.ip.as_ref()
                .is_some_and(|ip| ip.source_name.is_some() || ip.destination_name.is_some())
                && m.ports.as_ref().is_some_and(|p| p.tcp)
        })
    };
    let out = named(aces("mud-ip-camera-v4fr")).unwrap();
    assert_eq!(out.ip.unwrap().destination_name.as_deref(), Some("cloud.acme.example"));
    let ports = out.ports.unwrap();
    assert_eq!((ports.destination, ports.source), (Some(PortMatch::Equal(443)), None));
    assert_eq!(ports.initiated, Some(Initiated::FromDevice));
    let back = named(aces("mud-ip-camera-v4to")).unwrap();
    assert_eq!(back.ip.unwrap().source_name.as_deref(), Some("cloud.acme.example"));
    assert_eq!(back.ports.unwrap().source, Some(PortMatch::Equal(443)));
    // The recorder fetches from the camera.
    let rtsp = aces("mud-ip-camera-v4to")
        .into_iter()
        .map(|a| a.matches)
        .find(|m| m.ports.as_ref().is_some_and(|p| p.destination == Some(PortMatch::Equal(554))));
    let rtsp = rtsp.unwrap();
    assert_eq!(rtsp.who, [Who::MyController]);
    assert_eq!(rtsp.ports.unwrap().initiated, Some(Initiated::ToDevice));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(report in estates()) {
        let draft = draft(&report, &DraftOptions::default());
        for (path, text) in draft.files.iter().filter(|(path, _)| path.starts_with("mud/")) {
            let mud = parse(path, text).unwrap();
            prop_assert!(mud.unsupported().is_empty());
            prop_assert_eq!(mud.remarks(), Vec::<String>::new());
            prop_assert_eq!(&mud.to_json(), text);
            for acl in &mud.acls {
                prop_assert!(mud.from_device.contains(&acl.name) != mud.to_device.contains(&acl.name));
                prop_assert!(acl.aces.iter().all(|a| a.accepts() && a.matches.ip.is_some()));
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}", cut in 0usize..4000) {
        let _ = parse("x", &text);
        let (_, mud) = manifests().swap_remove(0);
        let json = mud.to_json();
        let _ = parse("x", json.get(..cut.min(json.len())).unwrap_or(""));
    }
}
