//! The estate behind the fence: what is needed passes, all else stops, neighbours included.

use std::time::Duration;

use enforcer::contain::Method;
use lab::probe::{self, Outcome, Probe, Verdict};
use lab::{Lab, attack, traffic};
use model::observation::Transport;
use model::ruleset::{ClassId, Exception, Mode};

use crate::{now, running};

fn enforce(lab: &Lab, generation: u64, mode: Mode) {
    let (ruleset, options) = (lab.ruleset(generation, mode), lab.options(now()));
    lab.fence().apply(&ruleset, &options).unwrap();
    lab.fence().verify(&ruleset, &options).unwrap().unwrap();
}

/// Probes that ended otherwise than [`lab::estate::NEEDS`] says.
fn wrong(verdicts: &[Verdict]) -> Vec<String> {
    let wrong = verdicts.iter().filter(|v| v.outcome.passed() != v.probe.is_needed());
    wrong.map(ToString::to_string).collect()
}

#[test]
fn netns_exactly_the_needed_paths_pass_the_fence() {
    if !lab::need("netns_exactly_the_needed_paths_pass_the_fence") {
        return;
    }
    let lab = running();
    traffic::baseline(&lab, Duration::from_secs(2)).unwrap();
    let isolated = lab.isolate(Method::BridgeFilter).unwrap();
    enforce(&lab, 1, Mode::Enforce);

    let probes = probe::everything(&lab);
    let verdicts = probe::matrix(&lab, &probes).unwrap();
    assert_eq!(wrong(&verdicts), [""; 0]);
    let passed = verdicts.iter().filter(|verdict| verdict.outcome.passed()).count();
    assert_eq!(passed, lab::estate::NEEDS.len());

    // The warehouse works on: DHCP, names, time, and all that is needed.
    lab.boot().unwrap();
    let report = traffic::baseline(&lab, Duration::from_secs(3)).unwrap();
    assert!(report.failed.is_empty(), "{report:#?}");

    let read = lab.fence().read().unwrap();
    assert_eq!(read.generation, Some(1));
    assert!(read.hits["scanner-to-printer-tcp-9100"] > 0, "{:?}", read.hits);
    let camera = lab.device("camera").unwrap().ip;
    assert!(read.denials.iter().any(|d| d.from == camera && d.port == Some(502)), "{read:?}");

    // Without the fence on bridged frames, neighbours reach each other past it.
    lab.release(&isolated).unwrap();
    assert_eq!(probe::tcp(&lab, "camera", "plc", 502).unwrap(), Outcome::Reached);
    lab.fence().remove().unwrap();
}

#[test]
fn netns_isolated_ports_contain_as_well() {
    if !lab::need("netns_isolated_ports_contain_as_well") {
        return;
    }
    let lab = running();
    let isolated = lab.isolate(Method::IsolatedPorts).unwrap();
    enforce(&lab, 1, Mode::Enforce);
    let verdicts = probe::matrix(&lab, &probe::everything(&lab)).unwrap();
    assert_eq!(wrong(&verdicts), [""; 0]);
    lab.boot().unwrap();
    // Without a fence, the gateway routes between neighbours.
    lab.fence().remove().unwrap();
    assert_eq!(probe::tcp(&lab, "camera", "plc", 502).unwrap(), Outcome::Reached);
    lab.release(&isolated).unwrap();
}

#[test]
fn netns_a_camera_that_is_taken_over_gets_nowhere() {
    if !lab::need("netns_a_camera_that_is_taken_over_gets_nowhere") {
        return;
    }
    let lab = running();
    traffic::baseline(&lab, Duration::from_secs(1)).unwrap();
    let flat = attack::take_over(&lab, "camera").unwrap();
    assert_eq!(flat.steps.iter().filter(|step| !step.success).count(), 0, "{:#?}", flat.steps);
    assert_eq!(flat.found.len(), 12, "{:?}", flat.found);
    assert_eq!(flat.reached(), flat.probes.len());
    assert_eq!(flat.machines(), 13);

    let _isolated = lab.isolate(Method::BridgeFilter).unwrap();
    enforce(&lab, 1, Mode::Enforce);
    let fenced = attack::take_over(&lab, "camera").unwrap();
    assert_eq!(fenced.successes(), 0, "{:#?}", fenced.steps);
    assert_eq!(fenced.found, [std::net::Ipv4Addr::UNSPECIFIED; 0]);
    // What a camera needs is what is left to it: the time.
    let left: Vec<_> = fenced.probes.iter().filter(|v| v.outcome.passed()).collect();
    assert_eq!((left.len(), fenced.served()), (1, 1), "{left:?}");
    let read = lab.fence().read().unwrap();
    assert!(read.counters["strangers"] > 0 && read.counters["arp_spoofed"] > 0, "{read:?}");
    let after = traffic::baseline(&lab, Duration::from_secs(1)).unwrap();
    assert!(after.failed.is_empty(), "{after:#?}");
}

#[test]
fn netns_shadow_counts_and_passes() {
    if !lab::need("netns_shadow_counts_and_passes") {
        return;
    }
    let lab = running();
    let _isolated = lab.isolate(Method::BridgeFilter).unwrap();
    enforce(&lab, 1, Mode::Shadow);
    let verdicts = probe::matrix(&lab, &probe::everything(&lab)).unwrap();
    let kept: Vec<_> = verdicts.iter().filter(|verdict| !verdict.outcome.passed()).collect();
    assert!(kept.is_empty(), "{kept:#?}");
    let read = lab.fence().read().unwrap();
    let denied: u64 =
        read.counters.iter().filter(|(n, _)| n.starts_with("denied_")).map(|(_, n)| n).sum();
    assert!(denied > 100, "{read:?}");
    let camera = lab.device("camera").unwrap().ip;
    assert!(read.denials.iter().any(|d| d.from == camera && d.port == Some(502)), "{read:?}");
}

#[test]
fn netns_a_path_that_policy_closes_is_cut_at_once() {
    use std::io::{Read, Write};
    if !lab::need("netns_a_path_that_policy_closes_is_cut_at_once") {
        return;
    }
    let lab = running();
    let _isolated = lab.isolate(Method::BridgeFilter).unwrap();
    enforce(&lab, 1, Mode::Enforce);
    let (hmi, plc) = (lab.device("hmi").unwrap(), lab.device("plc").unwrap());
    let open = hmi.netns.enter(|| std::net::TcpStream::connect((plc.ip, 502))).unwrap();
    let mut open = open.unwrap();
    open.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
    let mut ask = || {
        open.write_all(&[0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1])?;
        open.read_exact(&mut [0; 11])
    };
    ask().unwrap();
    enforce(&lab, 2, Mode::Enforce);
    ask().unwrap();

    let mut closed = lab.ruleset(3, Mode::Enforce);
    closed.permits.retain(|permit| permit.rule != "hmi-to-plc-tcp-502");
    lab.fence().apply(&closed, &lab.options(now())).unwrap();
    assert!(ask().is_err(), "an open session outlived its permit");
    // A grant for this one device opens it again, and ends by itself.
    let mut granted = closed.clone();
    granted.generation = 4;
    granted.exceptions.push(Exception {
        from: hmi.ip.into(),
        to: plc.ip.into(),
        transport: Transport::Tcp,
        port: 502,
        expires: now().plus_nanos(4_000_000_000),
        name: "repair".to_owned(),
    });
    lab.fence().apply(&granted, &lab.options(now())).unwrap();
    assert_eq!(probe::tcp(&lab, "hmi", "plc", 502).unwrap(), Outcome::Reached);
    assert_eq!(probe::tcp(&lab, "camera", "plc", 502).unwrap(), Outcome::Dropped);
    let end = lab::wait::now() + Duration::from_secs(8);
    let over = || probe::tcp(&lab, "hmi", "plc", 502).unwrap() == Outcome::Dropped;
    assert!(lab::wait::until(end, over).unwrap(), "the exception did not end");
}

#[test]
fn netns_group_traffic_needs_a_permit_like_any_other() {
    if !lab::need("netns_group_traffic_needs_a_permit_like_any_other") {
        return;
    }
    let lab = running();
    let _isolated = lab.isolate(Method::BridgeFilter).unwrap();
    enforce(&lab, 1, Mode::Enforce);
    // A device on each port hears the group; a member of it would answer.
    let heard = || {
        let laptop = lab.device("laptop").unwrap();
        let path = lab.directory().join("laptop.pcap");
        let socket = laptop.netns.enter(|| {
            let socket = std::net::UdpSocket::bind(("0.0.0.0", 5353))?;
            socket.join_multicast_v4(&[224, 0, 0, 251].into(), &laptop.ip)?;
            socket.set_read_timeout(Some(Duration::from_millis(500)))?;
            Ok::<_, std::io::Error>(socket)
        });
        let socket = socket.unwrap().unwrap();
        let _ = path;
        let printer = lab.device("printer").unwrap();
        let sent = printer.netns.enter(|| {
            let from = std::net::UdpSocket::bind((printer.ip, 0))?;
            from.send_to(b"announcement", ("224.0.0.251", 5353))
        });
        sent.unwrap().unwrap();
        socket.recv(&mut [0; 64]).is_ok()
    };
    assert!(!heard());
    let mut ruleset = lab.ruleset(2, Mode::Enforce);
    let printers = ruleset.members.iter().find(|m| m.device.as_str() == "printer").unwrap().class;
    let group = ClassId(99);
    let mdns = model::ruleset::Class { name: "group/mdns".to_owned(), mode: Mode::Enforce };
    ruleset.classes.insert(group, mdns);
    let ip = "224.0.0.251".parse().unwrap();
    ruleset.peers.push(model::ruleset::Peer { ip, prefix: 32, class: group });
    ruleset.permits.push(model::ruleset::Permit {
        from: printers,
        to: group,
        transport: Transport::Udp,
        first_port: 5353,
        last_port: 5353,
        rule: "printers-announce".to_owned(),
    });
    lab.fence().apply(&ruleset, &lab.options(now())).unwrap();
    assert!(heard());
}

#[test]
fn netns_probes_name_devices_that_exist() {
    if !lab::need("netns_probes_name_devices_that_exist") {
        return;
    }
    let lab = Lab::new(1).unwrap();
    let error = probe::matrix(&lab, &[Probe::tcp("camera", "mainframe", 23)]).unwrap_err();
    assert_eq!(error.to_string(), "there is no `mainframe` in the lab");
}
