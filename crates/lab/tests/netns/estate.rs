//! The estate without a fence: everything works, and everybody reaches everybody.

use std::time::Duration;

use lab::probe::{self, Outcome};
use lab::{Lab, record, traffic};

use crate::begin::probe_all;

#[test]
fn netns_a_flat_warehouse_works_and_is_wide_open() {
    if !lab::need("netns_a_flat_warehouse_works_and_is_wide_open") {
        return;
    }
    let lab = Lab::new(7).unwrap();
    let path = lab.directory().join("boot.pcap");
    let recording = record::start(&lab, &path).unwrap();
    lab.boot().unwrap();
    let report = traffic::baseline(&lab, Duration::from_secs(3)).unwrap();
    let recorded = recording.stop().unwrap();
    assert!(report.failed.is_empty(), "{report:#?}");
    assert_eq!(report.done.len(), 15, "{report:#?}");

    let check = |outcome: Outcome, expect: Outcome| assert_eq!(outcome, expect);
    check(probe::tcp(&lab, "camera", "plc", 502).unwrap(), Outcome::Reached);
    check(probe::tcp(&lab, "camera", "plc", 503).unwrap(), Outcome::Refused);
    check(probe::tcp(&lab, "camera", "payments", 8080).unwrap(), Outcome::Reached);
    check(probe::udp(&lab, "camera", "gateway", 53).unwrap(), Outcome::Reached);
    check(probe::udp(&lab, "camera", "till", 53).unwrap(), Outcome::Refused);
    let verdicts = probe_all(&lab, |_| true);
    let kept: Vec<_> = verdicts.iter().filter(|verdict| !verdict.outcome.passed()).collect();
    assert!(kept.is_empty(), "{kept:#?}");

    let bytes = std::fs::read(&path).unwrap();
    assert!(recorded.frames > 300, "{recorded:?}");
    assert_eq!(bytes.len() as u64, 24 + 16 * recorded.frames + recorded.bytes);
    for wanted in [
        &b"https://mud.sensors.example/coldroom-v2.json"[..],
        b"AXIS,Network Camera,M3045-V,9.80.3.8",
        b"BMX P34 2020",
        b"V75.20.01Z",
        b"_pdl-datastream",
        b"AXIS_ACCC8E123440",
        b"warehouse/coldroom/1/temperature",
        b"hmi-packing-1",
        b"onvif://www.onvif.org/hardware/M3045-V",
    ] {
        let there = bytes.windows(wanted.len()).any(|window| window == wanted);
        assert!(there, "{}", String::from_utf8_lossy(wanted));
    }
}
