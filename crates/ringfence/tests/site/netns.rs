//! A site from its start to its end.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use enforcer::cut::Connections;
use enforcer::netlink::Place;
use lab::folder::{self, zone};
use lab::probe::{self, Outcome, Probe};
use lab::{Lab, Netns, Process};
use model::ruleset::Mode;
use site::control::{self, Answer, Request};
use site::life::Control;
use site::status::Status;

use crate::exceptions::except;
use crate::privileges;

/// A lab with a site's folders beside it.
pub(crate) struct Site {
    pub(crate) lab: Lab,
    pub(crate) folder: PathBuf,
    pub(crate) state: PathBuf,
    process: Option<Process>,
}

impl Site {
    pub(crate) fn new(test: &str) -> Self {
        let here = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = fs::remove_dir_all(&here);
        fs::create_dir_all(&here).unwrap();
        let lab = Lab::new(7).unwrap();
        lab.boot().unwrap();
        let (folder, state) = (here.join("policy"), here.join("state"));
        Self { lab, folder, state, process: None }
    }

    fn log(&self) -> PathBuf {
        self.state.with_extension("log")
    }

    fn start(&mut self, more: &[&str]) {
        let folder = self.folder.to_str().unwrap().to_owned();
        self.start_with(&[&["--policy", &folder], more].concat());
    }

    pub(crate) fn start_with(&mut self, more: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.args(["site", "run", "--interface", self.lab.bridge_interface()]);
        command.arg("--state").arg(&self.state).args(more);
        let log = fs::OpenOptions::new().append(true).create(true).open(self.log()).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).env("NO_COLOR", "1");
        self.process = Some(self.lab.gateway().spawn("site", command).unwrap());
        self.wait("the rules are verified", |s| state(s, "rules") == Some(Control::Verified));
    }

    /// kill -9.
    fn kill(&mut self) {
        self.process = None;
    }

    fn ask(&self, request: &Request) -> Answer {
        control::ask(&self.state, request).unwrap()
    }

    pub(crate) fn status(&self) -> Status {
        *self.ask(&Request::Status).status.unwrap()
    }

    #[track_caller]
    pub(crate) fn wait(&self, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
        let mut last = None;
        let end = lab::wait::now() + Duration::from_secs(100);
        let came = lab::wait::until(end, || {
            last = control::ask(&self.state, &Request::Status).ok().and_then(|a| a.status);
            last.as_ref().is_some_and(|status| holds(status))
        });
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        assert!(came.unwrap(), "{what} did not come: {last:#?}\n{log}");
        *last.unwrap()
    }

    pub(crate) fn tcp(&self, from: &str, to: &str, port: u16) -> Outcome {
        let mut verdicts = probe::matrix(&self.lab, &[Probe::tcp(from, to, port)]).unwrap();
        // On a busy machine a packet may be lost: what is dropped is tried again.
        probe::confirm(&self.lab, &mut verdicts, |_| true).unwrap();
        verdicts[0].outcome
    }

    #[track_caller]
    pub(crate) fn check(&self, from: &str, to: &str, port: u16, passes: bool) {
        let outcome = self.tcp(from, to, port);
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        assert_eq!(outcome.passed(), passes, "{from} → {to}:{port} {outcome:?}\n{log}");
    }

    /// Waits until `ringfence observe` finds a verdict in the site's log.
    #[track_caller]
    fn observed(&self, filters: &str) -> serde_json::Value {
        let mut last = None;
        let end = lab::wait::now() + Duration::from_secs(100);
        let came = lab::wait::until(end, || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
            command.args(["observe", "-o", "jsonl", "--state"]).arg(&self.state);
            let output = command.args(filters.split_whitespace()).output().unwrap();
            let found = output.status.success().then(|| output.stdout.clone());
            last = Some(output);
            found.is_some_and(|text| !text.is_empty())
        });
        assert!(came.unwrap(), "{filters}: {last:?}");
        let text = String::from_utf8(last.unwrap().stdout).unwrap();
        serde_json::from_str(text.lines().next().unwrap()).unwrap()
    }

    fn journal(&self) -> Vec<String> {
        let checked = site::journal::check(&self.state.join("journal.jsonl")).unwrap();
        checked.lines.into_iter().map(|line| line.entry.event).collect()
    }
}

pub(crate) fn state(status: &Status, control: &str) -> Option<Control> {
    status.controls.iter().find(|c| c.control == control).map(|c| c.state)
}

#[test]
fn netns_a_site_enforces_refuses_faults_and_outlives_its_process() {
    if !lab::need("netns_a_site_enforces_refuses_faults_and_outlives_its_process") {
        return;
    }
    let mut site = Site::new("site-outlives");
    folder::write(&site.folder, &[], None, "", &[]).unwrap();
    site.check("camera", "plc", 502, true); // A flat network to begin with.
    site.start(&[]);
    let fenced = |site: &Site| {
        site.check("hmi", "plc", 502, true);
        site.check("laptop", "camera", 80, true);
        site.check("camera", "plc", 502, false);
        site.check("camera", "nvr", 5000, false);
    };
    fenced(&site);
    let denied = site.observed("--verdict denied --from camera --to plc --to-port 502");
    assert_eq!(denied["site"], "site");
    assert_eq!(denied["generation"], site.status().generation);
    assert!(denied["why"]["differs"].is_string(), "{denied}");
    let first = site.status();
    assert_eq!(state(&first, "containment"), Some(Control::Verified), "{first:#?}");
    assert_eq!(first.in_kernel, Some(first.generation));

    privileges::only_kept(site.process.as_ref().unwrap().id());

    // A folder with a fault is refused whole, with file and line; what is enforced stays.
    let estate = fs::read_to_string(site.folder.join("estate.toml")).unwrap();
    let broken = estate.replacen("10.77.0.40", "10.77.0.4000", 1);
    fs::write(site.folder.join("estate.toml"), &broken).unwrap();
    let line = 1 + broken.lines().position(|line| line.contains("10.77.0.4000")).unwrap();
    let answer = site.ask(&Request::Reload { confirm_within_s: None });
    assert!(answer.refused.unwrap().contains("what is enforced stays"));
    let expect = format!("estate.toml:{line}:");
    assert!(answer.faults.iter().any(|fault| fault.starts_with(&expect)), "{:?}", answer.faults);
    let after = site.status();
    assert_eq!((after.generation, after.faults.len()), (first.generation, 1), "{after:#?}");

    // kill -9: the fence stays; a restart with the broken folder goes on with what was accepted.
    site.kill();
    fenced(&site);
    site.start(&[]);
    let again = site.status();
    assert_eq!(again.generation, first.generation, "{}", again.why);
    assert_eq!(again.faults.len(), 1);
    fenced(&site);

    // Without its state directory, it goes on from the kernel's generation.
    site.kill();
    fs::remove_dir_all(&site.state).unwrap();
    fs::write(site.folder.join("estate.toml"), estate).unwrap();
    site.start(&[]);
    let later = site.status();
    assert!(later.generation > first.generation, "{} after {}", later.generation, first.generation);
    fenced(&site);

    // A change by somebody else is undone and told.
    let flush = ["nft", "delete", "table", "bridge", "ringfence"];
    let by_other = enforcer::runner::Runner::run(site.lab.gateway(), &flush, "").unwrap();
    if by_other.code == 0 {
        site.wait("the drift is told", |s| s.findings.iter().any(|f| f.kind == "drift"));
    }
    fenced(&site);

    // It stops when asked, and its fence stays.
    assert_eq!(site.ask(&Request::Stop).refused, None);
    let mut process = site.process.take().unwrap();
    let end = lab::wait::now() + Duration::from_secs(20);
    assert!(lab::wait::until(end, || !process.runs()).unwrap(), "it did not stop");
    fenced(&site);
}

#[test]
fn netns_a_change_goes_back_unless_confirmed_and_break_glass_ends_in_the_kernel() {
    if !lab::need("netns_a_change_goes_back_unless_confirmed_and_break_glass_ends_in_the_kernel") {
        return;
    }
    let mut site = Site::new("site-returns");
    folder::write(&site.folder, &[], None, "[break_glass]\nmax_s = 3600\n", &[]).unwrap();
    site.start(&[]);
    let before = site.status().generation;
    site.check("hmi", "plc", 502, true);
    let open = site.lab.device("hmi").unwrap().netns.enter(|| {
        let plc = site.lab.device("plc").unwrap().ip;
        std::net::TcpStream::connect((plc, 502)).unwrap()
    });
    let open = open.unwrap();
    let port = open.local_addr().unwrap().port();
    let kept = || {
        let mut table = Connections::open(&Place::netns(&site.lab.gateway().path())).unwrap();
        !table.list(|flow| flow.asked.from_port == Some(port)).unwrap().is_empty()
    };
    assert!(kept(), "the open flow is not in the connection table");
    let closed = || {
        let text = "[break_glass]\nmax_s = 3600\n";
        folder::write(&site.folder, &[], Some(("hmi", "plc")), text, &[]).unwrap();
    };
    closed();
    let answer = site.ask(&Request::Reload { confirm_within_s: Some(40) });
    assert_eq!(answer.refused, None, "{:?}", answer.faults);
    let pending = answer.status.unwrap();
    assert!(pending.pending.is_some() && pending.generation > before);
    assert!(!kept(), "the open flow of a closed path was not cut");
    site.check("hmi", "plc", 502, false);
    let back = site.wait("the change goes back", |s| s.pending.is_none());
    assert!(back.generation > pending.generation);
    site.wait("the old rules are verified", |s| state(s, "rules") == Some(Control::Verified));
    site.check("hmi", "plc", 502, true);
    assert!(site.journal().contains(&"rolled-back".to_owned()), "{:?}", site.journal());

    // Confirmed, it stays.
    assert_eq!(site.ask(&Request::Reload { confirm_within_s: Some(3_600) }).refused, None);
    assert_eq!(site.ask(&Request::Confirm).refused, None);
    assert!(site.status().pending.is_none());
    site.check("hmi", "plc", 502, false);

    // Break-glass: refused without a reason and for too long, else open at once.
    let glass = |seconds, reason: &str| Request::BreakGlass {
        zone: zone("plc"),
        seconds,
        reason: reason.to_owned(),
    };
    assert!(site.ask(&glass(60, " ")).refused.unwrap().contains("a reason is needed"));
    assert!(site.ask(&glass(3_601, "x")).refused.unwrap().contains("1 second to 3600"));
    let answer = site.ask(&glass(40, "pump 3 is stuck"));
    assert_eq!(answer.refused, None);
    let open = answer.status.unwrap();
    assert_eq!(open.break_glass.len(), 1);
    assert_eq!(state(&open, "rules"), Some(Control::Verified), "{open:#?}");
    site.check("camera", "plc", 502, true);
    site.check("camera", "nvr", 5000, false); // Another zone stays closed.
    // The process dies; the kernel ends it all the same.
    site.kill();
    let end = lab::wait::now() + Duration::from_secs(100);
    let over = || !site.tcp("camera", "plc", 502).passed();
    assert!(lab::wait::until(end, over).unwrap(), "break-glass did not end");
    site.start(&[]);
    assert_eq!(site.status().break_glass, []);
    let journal = site.journal();
    assert!(journal.contains(&"break-glass".to_owned()), "{journal:?}");
}

#[test]
fn netns_an_exception_of_the_folder_ends_in_the_kernel_when_nobody_runs() {
    if !lab::need("netns_an_exception_of_the_folder_ends_in_the_kernel_when_nobody_runs") {
        return;
    }
    let mut site = Site::new("site-exception");
    folder::write(&site.folder, &[], None, "", &[]).unwrap();
    except(&site.folder, "camera", "plc", 502, 70);
    site.start(&[]);
    site.check("camera", "plc", 502, true);
    site.check("till", "plc", 502, false);
    // kill -9: the grant holds for its time and not longer, and nothing else opens or closes.
    site.kill();
    site.check("camera", "plc", 502, true);
    let end = lab::wait::now() + Duration::from_secs(150);
    let over = || !site.tcp("camera", "plc", 502).passed();
    assert!(lab::wait::until(end, over).unwrap(), "the exception did not end");
    site.check("hmi", "plc", 502, true);
    // The next process does not bring it back.
    site.start(&[]);
    site.check("camera", "plc", 502, false);
}

#[test]
fn netns_a_shadow_proves_itself_is_promoted_and_steps_back() {
    if !lab::need("netns_a_shadow_proves_itself_is_promoted_and_steps_back") {
        return;
    }
    let mut site = Site::new("site-shadow");
    let text = "[gate]\ndays_min = 0\nexplained_min = 0.1\nflows_min = 1\nback_denials = 2\n";
    let shadow = ["hmi", "camera"];
    folder::write(&site.folder, &shadow, None, text, &[]).unwrap();
    // A spanning tree keeps a new port shut for twice this time (hundredths of seconds): canaries wait.
    let bridge = ["ip", "link", "set", site.lab.bridge_interface(), "type", "bridge"];
    let bridge = [&bridge[..], &["stp_state", "1", "forward_delay", "400"]].concat();
    let set = enforcer::runner::Runner::run(site.lab.gateway(), &bridge, "").unwrap();
    assert_eq!(set.code, 0, "{}", set.stderr);
    site.start(&[]);
    let cameras = format!("shadow {}", zone("camera"));
    assert_eq!(state(&site.status(), &cameras), Some(Control::Applied), "before it can be proved");
    site.wait("the canary is counted", |s| state(s, &cameras) == Some(Control::Verified));
    let find = |status: &Status, role: &str| {
        status.zones.iter().find(|z| z.zone == zone(role)).unwrap().clone()
    };
    // Shadow: it passes, and is counted.
    site.check("camera", "plc", 502, true);
    site.check("till", "plc", 502, false);
    let counted = site.wait("the would-be denial", |s| find(s, "camera").would_deny > 0);
    assert_eq!(find(&counted, "camera").mode, Mode::Shadow);
    site.observed("--verdict would-deny --from camera --to plc --to-port 502");
    // It is the camera's flow: who answers in it has done nothing that would be denied.
    let fence = enforcer::Fence::new(Place::netns(&site.lab.gateway().path()), "ringfence");
    let denials = fence.read().unwrap().denials;
    let [camera, plc] =
        ["camera", "plc"].map(|name| IpAddr::from(site.lab.device(name).unwrap().ip));
    assert!(denials.iter().any(|d| (d.from, d.to, d.port) == (camera, plc, Some(502))));
    assert!(!denials.iter().any(|d| (d.from, d.to) == (plc, camera)), "{denials:?}");

    // The gate of a zone that opened nothing is closed, and says why.
    let promote = |role: &str| Request::Promote { zone: zone(role) };
    let refused = site.ask(&promote("hmi")).refused.unwrap();
    assert!(refused.contains("0 of 1 flows observed"), "{refused}");
    site.check("hmi", "plc", 502, true);
    site.wait("the gate opens", |s| find(s, "hmi").gate.is_some_and(|gate| gate.open));
    assert_eq!(site.ask(&promote("hmi")).refused, None);
    assert_eq!(find(&site.status(), "hmi").mode, Mode::Enforce);
    site.check("hmi", "nvr", 5000, false);

    // A policy that closes a recorded path: its denials put the zone back to shadow.
    folder::write(&site.folder, &shadow, Some(("hmi", "plc")), text, &[]).unwrap();
    assert_eq!(site.ask(&Request::Reload { confirm_within_s: None }).refused, None);
    let end = lab::wait::now() + Duration::from_secs(100);
    let back = lab::wait::until(end, || {
        let _ = site.tcp("hmi", "plc", 502);
        find(&site.status(), "hmi").mode == Mode::Shadow
    });
    assert!(back.unwrap(), "{:#?}", site.status());
    site.check("hmi", "plc", 502, true);
    let status = site.status();
    assert!(status.findings.iter().any(|f| f.kind == "stepped-back"), "{status:#?}");
    assert!(site.journal().contains(&"stepped-back".to_owned()));
    // Our own port of the bridge goes with the process.
    assert_eq!(site.ask(&Request::Stop).refused, None);
    let gone = |gateway: &Netns| {
        let argv = ["ip", "link", "show", "rf-canary"];
        enforcer::runner::Runner::run(gateway, &argv, "").unwrap().code != 0
    };
    let end = lab::wait::now() + Duration::from_secs(20);
    assert!(lab::wait::until(end, || gone(site.lab.gateway())).unwrap());
}

#[test]
fn netns_more_denials_than_are_remembered_are_told_and_keep_gates_shut() {
    if !lab::need("netns_more_denials_than_are_remembered_are_told_and_keep_gates_shut") {
        return;
    }
    let mut site = Site::new("site-full");
    let text = "[gate]\ndays_min = 0\nexplained_min = 0.1\nflows_min = 1\n";
    folder::write(&site.folder, &["hmi", "camera"], None, text, &[]).unwrap();
    site.start(&[]);
    let gate = |status: &Status| {
        let zone = status.zones.iter().find(|z| z.zone == zone("hmi")).unwrap();
        zone.gate.clone().unwrap()
    };
    site.check("hmi", "plc", 502, true);
    site.wait("the gate opens", |s| gate(s).open);
    // A camera tries more ports of the PLC than are remembered, and then than are logged.
    let (camera, plc) = (site.lab.device("camera").unwrap(), site.lab.device("plc").unwrap());
    let scan = || {
        let socket = std::net::UdpSocket::bind((camera.ip, 0)).unwrap();
        for port in 1..=9_000_u16 {
            // The PLC's refusals come back as errors of the next send.
            let _ = socket.send_to(b"x", (plc.ip, port));
        }
    };
    let told = |status: &Status, kind| status.findings.iter().any(|f| f.kind == kind);
    let end = lab::wait::now() + Duration::from_secs(100);
    let both = lab::wait::until(end, || {
        camera.netns.enter(scan).unwrap();
        let status = site.status();
        told(&status, "denials-not-remembered") && told(&status, "flows-not-logged")
    });
    assert!(both.unwrap(), "{:#?}", site.status().findings);
    // Who else was denied is not known: no zone is promoted.
    let shut = gate(&site.status());
    assert!(shut.reasons.iter().any(|r| r.contains("can be remembered")), "{shut:?}");
    let refused = site.ask(&Request::Promote { zone: zone("hmi") }).refused.unwrap();
    assert!(refused.contains("can be remembered"), "{refused}");
}

#[test]
fn netns_zones_treat_groups_and_frames_as_they_declare() {
    const PROFINET: u16 = 0x8892;
    if !lab::need("netns_zones_treat_groups_and_frames_as_they_declare") {
        return;
    }
    let mut site = Site::new("site-treatments");
    let zones = [
        (
            "sensor",
            "treatment = { profinet = \"within-zone\", mdns = \"permit\", goose = \"within-zone\" }",
        ),
        ("plc", "treatment = { profinet = \"permit\" }"),
    ];
    folder::write(&site.folder, &[], None, "", &zones).unwrap();
    site.start(&[]);
    let frame = |from: &str, to: &str, kind| probe::frame(&site.lab, from, to, kind).unwrap();
    assert!(frame("sensor-cold", "sensor-dock", PROFINET));
    assert!(!frame("sensor-cold", "plc", PROFINET));
    assert!(frame("plc", "sensor-cold", PROFINET));
    assert!(!frame("camera", "plc", PROFINET));
    assert!(!frame("sensor-cold", "sensor-dock", PROFINET + 1));
    // A member of the mDNS group at one port hears who may send to it.
    let heard = |from: &str, group: [u8; 4], port: u16| {
        let laptop = site.lab.device("laptop").unwrap();
        let socket = laptop.netns.enter(|| {
            let socket = std::net::UdpSocket::bind(("0.0.0.0", port))?;
            socket.join_multicast_v4(&group.into(), &laptop.ip)?;
            socket.set_read_timeout(Some(Duration::from_millis(800)))?;
            Ok::<_, std::io::Error>(socket)
        });
        let socket = socket.unwrap().unwrap();
        let sender = site.lab.device(from).unwrap();
        let sent = sender.netns.enter(|| {
            let socket = std::net::UdpSocket::bind((sender.ip, 0))?;
            socket.send_to(b"announcement", (std::net::Ipv4Addr::from(group), port))
        });
        sent.unwrap().unwrap();
        socket.recv(&mut [0; 64]).is_ok()
    };
    let (mdns, ssdp) = ([224, 0, 0, 251], [239, 255, 255, 250]);
    assert!(heard("sensor-cold", mdns, 5353));
    assert!(!heard("printer", mdns, 5353));
    assert!(!heard("sensor-cold", ssdp, 1900));
    let told = site.status().not_enforceable;
    assert!(
        told.iter().any(|line| line.starts_with("goose = within-zone in zone lab/sensor/")),
        "{told:?}"
    );
}

#[test]
fn netns_prepare_tells_does_and_undoes() {
    if !lab::need("netns_prepare_tells_does_and_undoes") {
        return;
    }
    let site = Site::new("site-prepare");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.args(["site", "prepare", "--interface", site.lab.bridge_interface()]);
        command.arg("--state").arg(&site.state).args(arguments).env("NO_COLOR", "1");
        let output = site.lab.gateway().enter(|| command.output()).unwrap().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
    };
    for method in ["bridge-filter", "isolated-ports"] {
        let check = run(&["--method", method, "--check"]);
        assert!(check.1.contains("change: "), "{}", check.1);
        assert!(check.1.contains("not prepared; `ringfence site prepare` does it"), "{}", check.1);
        let done = run(&["--method", method]);
        assert_eq!(done.0, Some(0), "{}", done.1);
        assert!(done.1.contains("Done and read back"), "{}", done.1);
        assert!(run(&["--method", method, "--check"]).1.contains("Nothing has to be changed"));
        let undone = run(&["--undo"]);
        assert_eq!(undone.0, Some(0), "{}", undone.1);
        assert!(run(&["--undo"]).1.contains("there is nothing to undo"));
    }
    let lost = run(&["--method", "none"]);
    assert_eq!(lost.0, Some(1), "{}", lost.1);
    let camera = site.lab.device("camera").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.args(["site", "prepare", "--interface", "eth0", "--state"]).arg(&site.state);
    let output = camera.netns.enter(|| command.output()).unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let words: Vec<&str> = said.split_whitespace().filter(|word| *word != "│").collect();
    let said = words.join(" ");
    assert!(said.contains("is no bridge") && said.contains("not enforceable here"), "{said}");
    assert!(IpAddr::V4(camera.ip).is_ipv4());
}
