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
    let policies = "@id(\"ask-names\")\n@reason(\"everybody asks the site\")\n\
         permit (principal, action == Action::\"connect\", resource == Service::\"svc:box/udp/53\");\n\
         @id(\"sensors-to-cloud\")\n@reason(\"readings\")\n\
         permit (principal in DeviceType::\"sensor\", action == Action::\"connect\", resource == Service::\"svc:cloud/tcp/8080\");\n";
    let files = [
        ("schema.cedarschema", policy::folder::SCHEMA),
        ("estate.toml", &estate),
        ("policies/lab.cedar", policies),
        ("tests.toml", ""),
        ("claims.toml", ""),
        ("exceptions.toml", ""),
    ];
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
}

fn start(up: &Uplink, folder: &Path, state: &Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.args(["site", "run", "--interface", "lan0", "--method", "none", "--policy"]);
    command.arg(folder).arg("--state").arg(state);
    command.args(["--resolver-upstream", &format!("{DNSMASQ}:53")]);
    let written = fs::OpenOptions::new().append(true).create(true).open(log(state)).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(written).env("NO_COLOR", "1");
    let process = up.site().spawn("site", command).unwrap();
    let end = lab::wait::now() + Duration::from_secs(100);
    let verified = || {
        let status = control::ask(state, &Request::Status).ok().and_then(|answer| answer.status);
        status.is_some_and(|status| {
            status.controls.iter().any(|c| c.control == "rules" && c.state == Control::Verified)
        })
    };
    let said = || fs::read_to_string(log(state)).unwrap_or_default();
    assert!(lab::wait::until(end, verified).unwrap(), "the rules are not verified\n{}", said());
    process
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

    assert!(!reaches(&up, 1, names[0].1[0]), "open before anybody asked\n{}", said());
    for (n, (name, _)) in names.iter().enumerate() {
        assert_eq!(visit(&up, 1, name, n % 2 == 1), Ok(()), "{name}\n{}", said());
    }
    // Who has no permit gets the answer, and no path.
    let refused = visit(&up, 2, &names[0].0, false).unwrap_err();
    assert!(refused.starts_with("connect"), "{refused}\n{}", said());

    // kill -9: what is open stays open for its time, and nothing else opens.
    drop(process);
    assert!(reaches(&up, 1, names[0].1[0]) && reaches(&up, 1, names[1].1[1]));
    assert!(!reaches(&up, 2, names[0].1[0]) && !reaches(&up, 1, names[0].1[1]));
    let _again = start(&up, &policy, &state);
    assert!(reaches(&up, 1, names[0].1[0]), "closed by the restart\n{}", said());
    assert_eq!(visit(&up, 1, &names[0].0, true), Ok(()), "{}", said());
}
