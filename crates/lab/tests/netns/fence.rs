//! The estate behind the fence: what is needed passes, all else stops, neighbours included.

use std::time::Duration;

use enforcer::Runner;
use enforcer::contain::Method;
use lab::probe::{self, Outcome, Probe, Verdict};
use lab::{Lab, attack, traffic};
use model::observation::Transport;
use model::ruleset::{ClassId, Exception, Mode, Terms};

use crate::begin::{now, probe_all, running};

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
    let told = || lab.messages();
    assert!(told() > 0, "the operator panel was told nothing");
    // A sensor listens on: the bridge hands every frame up as well.
    let path = lab.directory().join("fenced.pcap");
    let _recording = lab::record::start(&lab, &path).unwrap();
    let isolated = lab.isolate(Method::BridgeFilter).unwrap();
    enforce(&lab, 1, Mode::Enforce);

    let verdicts = probe_all(&lab, Probe::is_needed);
    assert_eq!(wrong(&verdicts), [""; 0]);
    let passed = verdicts.iter().filter(|verdict| verdict.outcome.passed()).count();
    assert_eq!(passed, lab::estate::NEEDS.len());

    // The warehouse works on: DHCP, names, time, and all that is needed.
    lab.boot().unwrap();
    let report = traffic::baseline(&lab, Duration::from_secs(3)).unwrap();
    assert!(report.failed.is_empty(), "{report:#?}");
    // The panel's session was open before there was a fence; its next keep-alive (5 s) carries on.
    let before = told();
    let end = lab::wait::now() + Duration::from_secs(12);
    let more = || {
        let _ = traffic::baseline(&lab, Duration::ZERO);
        told() > before
    };
    assert!(lab::wait::until(end, more).unwrap(), "an open session did not survive the fence");

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
    let verdicts = probe_all(&lab, Probe::is_needed);
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
    // On a busy machine a packet may be lost.
    assert!(flat.reached() * 10 > flat.probes.len() * 9, "{}", flat.reached());
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
    let verdicts = probe_all(&lab, |_| true);
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
        let socket = laptop.netns.enter(|| {
            let socket = std::net::UdpSocket::bind(("0.0.0.0", 5353))?;
            socket.join_multicast_v4(&[224, 0, 0, 251].into(), &laptop.ip)?;
            socket.set_read_timeout(Some(Duration::from_millis(500)))?;
            Ok::<_, std::io::Error>(socket)
        });
        let socket = socket.unwrap().unwrap();
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
        terms: Terms::default(),
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

#[test]
fn netns_frames_that_are_not_ip_need_a_permit() {
    const PROFINET: u16 = 0x8892;
    if !lab::need("netns_frames_that_are_not_ip_need_a_permit") {
        return;
    }
    let lab = running();
    let _isolated = lab.isolate(Method::BridgeFilter).unwrap();
    assert!(probe::frame(&lab, "hmi", "plc", PROFINET).unwrap());
    enforce(&lab, 1, Mode::Enforce);
    assert!(!probe::frame(&lab, "hmi", "plc", PROFINET).unwrap());
    let mut ruleset = lab.ruleset(2, Mode::Enforce);
    let mut permit =
        ruleset.permits.iter().find(|p| p.rule.starts_with("hmi-to-plc")).unwrap().clone();
    permit.transport = Transport::Link;
    (permit.first_port, permit.last_port) = (PROFINET, PROFINET);
    ruleset.permits.push(permit);
    lab.fence().apply(&ruleset, &lab.options(now())).unwrap();
    assert!(probe::frame(&lab, "hmi", "plc", PROFINET).unwrap());
    assert!(!probe::frame(&lab, "hmi", "plc", PROFINET + 1).unwrap());
    assert!(!probe::frame(&lab, "camera", "plc", PROFINET).unwrap());
}

/// SplitMix64, enough to make rulesets up.
fn random(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % below
}

/// The kernel and the ruleset agree about every probe, for rulesets nobody thought up.
#[test]
fn netns_the_kernel_agrees_with_the_second_opinion() {
    if !lab::need("netns_the_kernel_agrees_with_the_second_opinion") {
        return;
    }
    let lab = running();
    let _isolated = lab.isolate(Method::BridgeFilter).unwrap();
    let options = lab.options(now());
    let ports = [22, 53, 80, 123, 502, 554, 1883, 5000, 5015, 8080, 9100];
    let mut state = 20_260_417;
    for generation in 1..=2 {
        let mut ruleset = lab.ruleset(generation, Mode::Enforce);
        // Four classes instead of one each; one of them in shadow; a wide peer around the site.
        for member in &mut ruleset.members {
            member.class = ClassId(1 + u32::try_from(random(&mut state, 4)).unwrap());
        }
        ruleset.classes.get_mut(&ClassId(4)).unwrap().mode = Mode::Shadow;
        let wide = "0.0.0.0".parse().unwrap();
        ruleset.peers.push(model::ruleset::Peer { ip: wide, prefix: 0, class: ClassId(5) });
        ruleset.permits.clear();
        for number in 0..24 {
            let first = ports[usize::try_from(random(&mut state, 11)).unwrap()];
            let width = [0, 0, 0, 500, 65_535][usize::try_from(random(&mut state, 5)).unwrap()];
            let (first_port, last_port) =
                if width == 65_535 { (0, width) } else { (first, first + width) };
            let class = |state: &mut u64| ClassId(1 + u32::try_from(random(state, 6)).unwrap());
            ruleset.permits.push(model::ruleset::Permit {
                from: class(&mut state),
                to: class(&mut state),
                transport: [Transport::Tcp, Transport::Udp][number % 2],
                first_port,
                last_port,
                rule: format!("rule-{number}"),
                terms: Terms::default(),
            });
        }
        if generation == 1 {
            lab.fence().apply(&ruleset, &options).unwrap();
            lab.fence().verify(&ruleset, &options).unwrap().unwrap();
        } else {
            // The exported text judges alike.
            lab.fence().remove().unwrap();
            let text = enforcer::render(&ruleset, &options).unwrap();
            let loaded = lab.gateway().run(&["nft", "-f", "-"], &text).unwrap();
            assert_eq!(loaded.code, 0, "{}", loaded.stderr);
        }
        let ip = |name: &str| lab.device(name).unwrap().ip.into();
        let expect = |probe: &Probe| {
            let (from, to) = (ip(&probe.from), ip(&probe.to));
            let flow = enforcer::Flow { from, to, transport: probe.transport, port: probe.port };
            enforcer::judge(&ruleset, &options, &flow)
        };
        let verdicts = probe_all(&lab, |probe| expect(probe).passes());
        let mut passed = 0;
        for verdict in &verdicts {
            let expect = expect(&verdict.probe);
            assert_eq!(verdict.outcome.passed(), expect.passes(), "{verdict}: {expect:?}");
            passed += usize::from(expect.passes());
        }
        assert!(passed > 100 && passed < verdicts.len() - 100, "{passed}");
    }
}
