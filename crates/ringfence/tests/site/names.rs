//! Names in policy: the site's resolver, its fence, and devices that connect as soon as they know.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use lab::Process;
use lab::uplink::{self, BOX, DNSMASQ, Uplink};
use site::control::{self, Request};
use site::life::Control;

use crate::privileges;

/// Long enough for a loaded machine, too short for a packet that was dropped and sent again.
const PATIENCE: Duration = Duration::from_millis(900);

fn folder(folder: &Path, names: &[(String, Vec<IpAddr>)]) {
    fs::create_dir_all(folder.join("policies")).unwrap();
    let mut estate = "format = \"ringfence.policy/v1\"\n[[site]]\nid = \"lab\"\n".to_owned();
    for (n, kind) in [(1, "sensor"), (2, "camera")] {
        let [v4, v6] = Uplink::addresses(n);
        let mac = Uplink::mac(n);
        let _ = writeln!(
            estate,
            "[[zone]]\nid = \"{kind}s\"\nsite = \"lab\"\nclass = \"{kind}\"\nsubnet = \"10.66.0.0/24\"\nmode = \"enforce\"\n\
             [[device]]\nid = \"{kind}-{n}\"\ntype = \"{kind}\"\nzone = \"{kind}s\"\nmacs = [\"{mac}\"]\naddresses = [\"{v4}\", \"{v6}\"]"
        );
    }
    let list = |words: &mut dyn Iterator<Item = String>| {
        words.map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
    };
    let _ = writeln!(
        estate,
        "[[zone]]\nid = \"external\"\nclass = \"external\"\n\
         [[service]]\nid = \"svc:box/udp/53\"\nscope = \"external\"\nzone = \"external\"\naddresses = [{}]\nprotocol = \"udp\"\nport = 53\n\
         [[service]]\nid = \"svc:cloud/tcp/8080\"\nscope = \"external\"\nzone = \"external\"\ndns_names = [{}]\nprotocol = \"tcp\"\nport = 8080",
        list(&mut BOX.iter().map(ToString::to_string)),
        list(&mut names.iter().map(|(name, _)| name.clone())),
    );
    let policies = policies();
    let files = [
        ("schema.cedarschema", policy::folder::SCHEMA),
        ("estate.toml", &estate),
        ("policies/lab.cedar", &policies),
        ("tests.toml", ""),
        ("claims.toml", ""),
        ("exceptions.toml", ""),
    ];
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
}

fn policies() -> String {
    "@id(\"ask-names\")\n@reason(\"everybody asks the site\")\n\
         permit (principal, action == Action::\"connect\", resource == Service::\"svc:box/udp/53\");\n\
         @id(\"sensors-to-cloud\")\n@reason(\"readings\")\n\
         permit (principal in DeviceType::\"sensor\", action == Action::\"connect\", resource == Service::\"svc:cloud/tcp/8080\");\n"
        .to_owned()
}

/// Adds a service of camera 2 with a name, as drafts write them, and a permit for the sensors.
fn add_inside(folder: &Path, name: &str) {
    let append = |file: &str, text: &str| {
        let path = folder.join(file);
        fs::write(&path, fs::read_to_string(&path).unwrap() + text).unwrap();
    };
    let service = format!(
        "[[service]]\nid = \"svc:camera-2/tcp/8080\"\nscope = \"estate\"\nzone = \"cameras\"\ndevice = \"camera-2\"\n\
         dns_names = [\"{name}\"]\nprotocol = \"tcp\"\nport = 8080\n"
    );
    append("estate.toml", &service);
    append(
        "policies/lab.cedar",
        "@id(\"sensors-to-camera\")\n@reason(\"pictures\")\n\
         permit (principal in DeviceType::\"sensor\", action == Action::\"connect\", resource == Service::\"svc:camera-2/tcp/8080\");\n",
    );
}

fn start(up: &Uplink, folder: &Path, state: &Path) -> Process {
    start_under(up, folder, state, &[])
}

/// The same through a program that limits what it may do.
fn start_under(up: &Uplink, folder: &Path, state: &Path, limits: &[&str]) -> Process {
    let mut argv = limits.to_vec();
    argv.push(env!("CARGO_BIN_EXE_ringfence"));
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]);
    command.args(["site", "run", "--interface", "lan0", "--method", "none", "--policy"]);
    command.arg(folder).arg("--state").arg(state);
    command.args(["--resolver-upstream", &format!("{DNSMASQ}:53")]);
    let written = fs::OpenOptions::new().append(true).create(true).open(log(state)).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(written).env("NO_COLOR", "1");
    let process = up.site().spawn("site", command).unwrap();
    let end = lab::wait::now() + Duration::from_secs(100);
    let verified = || control_of(state, "rules").is_some_and(|(s, _)| s == Control::Verified);
    let said = || fs::read_to_string(log(state)).unwrap_or_default();
    assert!(lab::wait::until(end, verified).unwrap(), "the rules are not verified\n{}", said());
    process
}

/// How far a control is, and why it is no further.
fn control_of(state: &Path, control: &str) -> Option<(Control, String)> {
    let status = control::ask(state, &Request::Status).ok()?.status?;
    let found = status.controls.into_iter().find(|c| c.control == control)?;
    Some((found.state, found.why))
}

fn log(state: &Path) -> PathBuf {
    state.with_extension("log")
}

/// A device asks the site's box and connects to the first address at once.
fn visit(up: &Uplink, device: u8, name: &str, v6: bool) -> Result<(), String> {
    let server = SocketAddr::from((BOX[usize::from(v6)], 53));
    let inside = up.device(device).unwrap().enter(|| {
        let found = uplink::resolve(server, name, v6).map_err(|e| format!("resolve: {e}"))?;
        let ip = *found.first().ok_or("no address")?;
        uplink::fetch((ip, 8080).into(), PATIENCE).map_err(|e| format!("connect: {e}"))
    });
    inside.unwrap().map(drop)
}

fn reaches(up: &Uplink, device: u8, to: IpAddr) -> bool {
    let connect = || uplink::fetch((to, 8080).into(), PATIENCE).is_ok();
    up.device(device).unwrap().enter(connect).unwrap()
}

#[test]
fn netns_names_in_policy_open_with_the_answer_and_outlive_the_process() {
    if !lab::need("netns_names_in_policy_open_with_the_answer_and_outlive_the_process") {
        return;
    }
    let here = Path::new(env!("CARGO_TARGET_TMPDIR")).join("site-names");
    let _ = fs::remove_dir_all(&here);
    let (policy, state) = (here.join("policy"), here.join("state"));
    let address = |n: u8| {
        let v6 = format!("2001:db8:1::{n:x}").parse().unwrap();
        vec![IpAddr::from([198, 18, 100, n]), v6]
    };
    let names: Vec<(String, Vec<IpAddr>)> =
        (1..=20).map(|n| (format!("host-{n}.fresh.example"), address(n))).collect();
    folder(&policy, &names);
    let up = Uplink::new().unwrap();
    up.dnsmasq(&names, 120).unwrap();
    let process = start(&up, &policy, &state);
    let said = || fs::read_to_string(log(&state)).unwrap_or_default();

    privileges::only_kept(process.id());
    assert_eq!(control_of(&state, "resolver").unwrap().0, Control::Applied);
    assert!(!reaches(&up, 1, names[0].1[0]), "open before anybody asked\n{}", said());
    for (n, (name, _)) in names.iter().enumerate() {
        assert_eq!(visit(&up, 1, name, n % 2 == 1), Ok(()), "{name}\n{}", said());
    }
    assert_eq!(control_of(&state, "resolver"), Some((Control::Verified, String::new())));
    // Who has no permit gets the answer, and no path.
    let refused = visit(&up, 2, &names[0].0, false).unwrap_err();
    assert!(refused.starts_with("connect"), "{refused}\n{}", said());

    // Its own thread filled the sets: that is no change by somebody else.
    let status = control::ask(&state, &Request::Status).unwrap().status.unwrap();
    assert!(status.findings.iter().all(|f| f.kind != "drift"), "{:#?}", status.findings);

    // kill -9: what is open stays open for its time, and nothing else opens.
    drop(process);
    assert!(reaches(&up, 1, names[0].1[0]) && reaches(&up, 1, names[1].1[1]));
    assert!(!reaches(&up, 2, names[0].1[0]) && !reaches(&up, 1, names[0].1[1]));
    let _again = start(&up, &policy, &state);
    assert!(reaches(&up, 1, names[0].1[0]), "closed by the restart\n{}", said());
    assert_eq!(visit(&up, 1, &names[0].0, true), Ok(()), "{}", said());
}

#[test]
fn netns_the_units_privileges_are_enough_for_port_53_and_are_given_up_when_it_is_free() {
    if !lab::need(
        "netns_the_units_privileges_are_enough_for_port_53_and_are_given_up_when_it_is_free",
    ) {
        return;
    }
    let unit = include_str!("../../../../packaging/systemd/ringfence-site.service");
    let granted =
        unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let words = granted.split_whitespace().map(|word| word.to_lowercase().replace("cap_", ",+"));
    let bounding = format!("-all{}", words.collect::<String>());
    let here = Path::new(env!("CARGO_TARGET_TMPDIR")).join("site-names-unit");
    let _ = fs::remove_dir_all(&here);
    let (policy, state) = (here.join("policy"), here.join("state"));
    let names = vec![("a.fresh.example".to_owned(), vec![IpAddr::from([198, 18, 100, 1])])];
    folder(&policy, &names);
    let up = Uplink::new().unwrap();
    up.dnsmasq(&names, 120).unwrap();

    // Somebody else has the port: the site runs, says so, and one thread may go on trying.
    let taken = up.site().enter(|| std::net::UdpSocket::bind((BOX[0], 53))).unwrap().unwrap();
    let process = start_under(&up, &policy, &state, &["setpriv", "--bounding-set", &bounding]);
    let said = || fs::read_to_string(log(&state)).unwrap_or_default();
    let (stands, why) = control_of(&state, "resolver").unwrap();
    assert_eq!(stands, Control::Intended, "{why}");
    assert!(why.contains("10.66.0.1:53") && why.contains("another resolver"), "{why}");
    // Without privileges of its own the process cannot lower its bounding set; nobody gains from that.
    let has = |thread: &privileges::Thread, kept: u64| {
        let sets = thread.sets.iter().filter(|(key, _)| *key != "CapBnd");
        sets.fold(thread.closed, |fine, (_, set)| fine && *set == kept)
    };
    for thread in privileges::threads(process.id()) {
        let binds = thread.name == "resolver-bind";
        let kept = if binds { privileges::TO_BIND } else { privileges::KEPT };
        assert!(has(&thread, kept), "{thread:#?}");
    }
    drop(taken);
    let end = lab::wait::now() + Duration::from_secs(100);
    let listens = || control_of(&state, "resolver").is_some_and(|(s, _)| s == Control::Applied);
    assert!(lab::wait::until(end, listens).unwrap(), "{}", said());
    assert_eq!(visit(&up, 1, &names[0].0, false), Ok(()), "{}", said());
    let threads = privileges::threads(process.id());
    assert!(threads.iter().any(|thread| thread.name == "names"), "{threads:#?}");
    for thread in &threads {
        assert!(has(thread, privileges::KEPT), "{thread:#?}");
    }
}

#[test]
fn netns_the_sites_own_names_are_answered_and_a_zone_is_refused_all_others() {
    if !lab::need("netns_the_sites_own_names_are_answered_and_a_zone_is_refused_all_others") {
        return;
    }
    let here = Path::new(env!("CARGO_TARGET_TMPDIR")).join("site-names-inside");
    let _ = fs::remove_dir_all(&here);
    let (policy, state) = (here.join("policy"), here.join("state"));
    let (inside, cloud, other) = ("cam.warehouse.example", "a.fresh.example", "b.fresh.example");
    let at = |ip: [u8; 4]| vec![IpAddr::from(ip)];
    let cloud_at = (cloud.to_owned(), at([198, 18, 100, 1]));
    folder(&policy, std::slice::from_ref(&cloud_at));
    add_inside(&policy, inside);
    let up = Uplink::new().unwrap();
    let camera = Uplink::addresses(2).to_vec();
    // The cloud's name also answers with an address inside: that is rebinding.
    let lying = (cloud.to_owned(), vec![cloud_at.1[0], camera[0]]);
    let world =
        [(inside.to_owned(), camera.clone()), lying, (other.to_owned(), at([198, 18, 100, 2]))];
    up.dnsmasq(&world, 120).unwrap();
    let settings = |zone: &str| {
        fs::write(policy.join("site.toml"), format!("[resolver]\nrefuse = [\"{zone}\"]\n"))
            .unwrap();
    };
    settings("cameras");
    let _process = start(&up, &policy, &state);
    let said = || fs::read_to_string(log(&state)).unwrap_or_default();
    let ask = |device: u8, name: &str| {
        let server = SocketAddr::from((BOX[0], 53));
        let found = up.device(device).unwrap().enter(|| uplink::resolve(server, name, false));
        found.unwrap().map_err(|error| {
            // What the resolver tells comes a moment after its answer.
            let _ = control::ask(&state, &Request::Status);
            error.to_string()
        })
    };
    assert_eq!(ask(1, inside), Ok(vec![camera[0]]), "{}", said());
    assert_eq!(ask(1, cloud), Ok(cloud_at.1.clone()), "{}", said());
    assert_eq!(ask(1, other), Ok(at([198, 18, 100, 2])), "{}", said());
    assert!(ask(2, other).is_err(), "{}", said());
    let status = control::ask(&state, &Request::Status).unwrap().status.unwrap();
    let found: Vec<&str> = status.findings.iter().map(|f| f.what.as_str()).collect();
    assert!(
        found.iter().any(|what| what.contains("a.fresh.example answers with 10.66.0.12")),
        "{found:?}"
    );
    assert!(!found.iter().any(|what| what.contains(inside)), "{found:?}");
    let questions = status.questions.unwrap();
    let (permitted, unknown) = (questions.permitted, questions.unknown);
    assert!(permitted >= 2 && unknown >= 1 && questions.refused >= 1, "{questions:?}");
    let listed = |n: usize| {
        let device = Uplink::addresses(u8::try_from(n).unwrap())[0];
        questions.unknown_names.iter().any(|u| u.name == other && u.device == device)
    };
    assert!(listed(1) && listed(2), "{questions:?}");

    // A zone that is not there: the folder is refused whole.
    settings("camera");
    let answer = control::ask(&state, &Request::Reload { confirm_within_s: None }).unwrap();
    let expect = "there is no zone `camera`; the zones are: ";
    assert!(answer.faults.iter().any(|fault| fault.contains(expect)), "{:?}", answer.faults);
    assert!(ask(2, other).is_err(), "what is enforced did not stay");
}
