//! A site and its controller, both as processes: joined, enforcing what the estate decides, cut off, and back.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use lab::Process;
use lab::folder::{self, zone};
use serde_json::{Value, json};
use site::life::Control;

use crate::netns::{Site, state};

/// Seconds that leases hold, and how much longer what is critical goes on: both short, so that a test sees their end.
const TERM_S: u32 = 12;
const STALE_S: u32 = 30;

/// Headquarters on the lab's gateway, beside the site.
struct Headquarters {
    site: Site,
    here: PathBuf,
    process: Option<Process>,
}

impl Headquarters {
    fn new(test: &str) -> Self {
        let site = Site::new(test);
        let here = site.state.parent().unwrap().to_owned();
        let mut hq = Self { site, here, process: None };
        hq.start();
        hq
    }

    fn start(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.args("controller run --state hq --name acme.example --lease-every 1s".split(' '));
        command.args([
            "--lease-term",
            &format!("{TERM_S}s"),
            "--stale-after",
            &format!("{STALE_S}s"),
            "--est-listen",
            "127.0.0.1:8446",
        ]);
        let mut log = fs::OpenOptions::new();
        let log = log.append(true).create(true).open(self.here.join("hq.log")).unwrap();
        command.current_dir(&self.here).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process = Some(self.site.lab.gateway().spawn("controller", command).unwrap());
        let end = lab::wait::now() + Duration::from_secs(60);
        let up = lab::wait::until(end, || self.run("login --state hq").status.success());
        assert!(up.unwrap(), "{}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.here.join("hq.log")).unwrap_or_default()
    }

    fn run(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.args(line.split(' ')).current_dir(&self.here).stdin(Stdio::null());
        command.env("RINGFENCE_CONFIG", self.here.join("contexts.toml")).env("NO_COLOR", "1");
        self.site.lab.gateway().enter(|| command.output()).unwrap().unwrap()
    }

    /// Runs a script beside headquarters.
    fn shell(&self, script: &str) -> Output {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(&self.here).stdin(Stdio::null());
        self.site.lab.gateway().enter(|| command.output()).unwrap().unwrap()
    }

    /// Runs what has to work.
    #[track_caller]
    fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {told}\n{}", self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    fn document(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(line)).unwrap()
    }

    /// What a device exchanged with another one over TCP, as headquarters have it.
    fn flow(&self, device: &str, role: &str, peer: &str) -> Option<Value> {
        let all = self.document(&format!("get flows {device} -o json"));
        let wanted = |row: &&Value| {
            row["role"] == *role && row["peer"] == *peer && row["transport"] == "tcp"
        };
        all.as_array().unwrap().iter().find(wanted).cloned()
    }

    /// Sends a signal to the controller.
    fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    fn join(&mut self) {
        folder::write(&self.site.folder, &[], None, "", &[]).unwrap();
        self.join_with_policy();
    }

    /// Joins with the policy folder that is there.
    fn join_with_policy(&mut self) {
        self.ok("apply -f policy --reason first");
        fs::write(self.here.join("token"), self.ok("sites token lab --reason box")).unwrap();
        self.ok("site join --controller localhost:8444 --state state --token-file token");
        self.site.start_with(&["--controller"]);
        self.ok("wait site lab --for verified --timeout 90s");
    }

    /// Waits until the line has the site enforce something else than in a generation, and it is verified.
    #[track_caller]
    fn enforces(&self, variant: &str, after: u64) -> u64 {
        let status = self.site.wait(&format!("`{variant}` in force"), |status| {
            let line = serde_json::to_value(&status.line).unwrap();
            let rules = state(status, "rules") == Some(Control::Verified);
            line["variant"] == *variant && rules && status.generation > after
        });
        status.generation
    }
}

#[test]
fn netns_an_exception_opens_at_a_site_and_ends_there_with_and_without_headquarters() {
    let test = "netns_an_exception_opens_at_a_site_and_ends_there_with_and_without_headquarters";
    if !lab::need(test) {
        return;
    }
    let mut hq = Headquarters::new("site-exceptions");
    hq.join();
    hq.site.check("camera", "plc", 502, false);
    // A team that the policy folder does not have: the site is told of it all the same.
    hq.ok("teams set repairs --contact desk --reason x");
    let wanted = "exception add camera svc:plc/tcp/502 --owner repairs --reason pump";
    assert_eq!(hq.run(&format!("{wanted} --for 91d")).status.code(), Some(1));
    assert_eq!(hq.run(&format!("{wanted} --for 1h --dry-run")).status.code(), Some(0));
    hq.site.check("camera", "plc", 502, false);
    let id = hq.ok(&format!("{wanted} --for 1h"));
    hq.ok("wait site lab --for verified --timeout 60s");
    hq.site.check("camera", "plc", 502, true);
    hq.site.check("till", "plc", 502, false);
    hq.ok(&format!("exception end {} --reason done", id.trim()));
    hq.ok("wait site lab --for verified --timeout 60s");
    hq.site.check("camera", "plc", 502, false);

    // Whoever is cut off takes an exception along, and the site goes on with all else.
    hq.ok(&format!("{wanted} --for 1h"));
    hq.ok("quarantine camera --reason scans");
    hq.ok("wait site lab --for verified --timeout 60s");
    hq.site.check("camera", "plc", 502, false);
    hq.site.check("hmi", "plc", 502, true);
    hq.ok("quarantine camera --lift --reason clean");
    let open = hq.ok("exception list --state expiring -o name");
    hq.ok(&format!("exception end {} --reason done", open.trim()));

    // Headquarters falls silent. What is critical keeps its exception, and keeps it no longer than it was made for.
    hq.ok("edit device camera --set criticality=high --reason line");
    let id = hq.ok(&format!("{wanted} --for 40s"));
    hq.ok("wait site lab --for verified --timeout 30s");
    let held = hq.site.status().generation;
    hq.site.check("camera", "plc", 502, true);
    hq.signal("-STOP");
    hq.enforces("expired", held);
    let end = lab::wait::now() + Duration::from_secs(100);
    let over = || !hq.site.tcp("camera", "plc", 502).passed();
    assert!(lab::wait::until(end, over).unwrap(), "the exception did not end");
    hq.signal("-CONT");
    let shown = hq.document("exception list -o json");
    let shown = shown.as_array().unwrap().iter().find(|e| e["id"] == *id.trim()).unwrap();
    assert_eq!(shown["state"], "expired");
    hq.ok("wait site lab --for verified --timeout 60s");
    hq.site.check("camera", "plc", 502, false);
}

#[test]
fn netns_a_device_whose_certificate_is_revoked_is_out_at_the_site_too() {
    if !lab::need("netns_a_device_whose_certificate_is_revoked_is_out_at_the_site_too") {
        return;
    }
    let mut hq = Headquarters::new("site-revoked");
    // Who shows no key is among the cameras, which open nothing to each other.
    let below =
        format!("vlan = 30\nassurance_min = \"device-key\"\notherwise = \"{}\"\n", zone("camera"));
    folder::write(&hq.site.folder, &[], None, "", &[("engineering", &below)]).unwrap();
    let closed = format!(
        "@id(\"cameras-open-nothing\")\nforbid (principal in Zone::\"{0}\", action, resource in Zone::\"{0}\");\n",
        zone("camera")
    );
    fs::write(hq.site.folder.join("policies/cameras.cedar"), closed).unwrap();
    hq.join_with_policy();
    hq.site.check("laptop", "camera", 80, false);
    let shown = hq.document("identity show laptop -o json");
    assert_eq!(shown["zone"], json!({ "meant": zone("engineering"), "in_force": zone("camera") }));

    // It gets its certificate, and what needs one opens.
    let token = hq.ok("identity token laptop --reason desk -o json");
    let token: Value = serde_json::from_str(&token).unwrap();
    let script = format!(
        r#"set -e
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
openssl req -new -key key.pem -subj /CN=laptop -outform DER | base64 > request.b64
curl -sSf --cacert hq/pki/root.pem --user laptop:{} -H 'Content-Type: application/pkcs10' \
  --data-binary @request.b64 https://localhost:8446/.well-known/est/simpleenroll > answer.b64
base64 -d answer.b64 | openssl pkcs7 -inform DER -print_certs -out laptop.pem
"#,
        token["token"].as_str().unwrap()
    );
    let enrolled = hq.shell(&script);
    assert!(enrolled.status.success(), "{enrolled:?}\n{}", hq.log());
    hq.ok("wait site lab --for verified --timeout 60s");
    hq.site.check("laptop", "camera", 80, true);
    let shown = hq.document("identity show laptop -o json");
    let meant = zone("engineering");
    assert_eq!(shown["zone"], json!({ "meant": meant, "in_force": meant, "vlan": 30 }));
    let verify = "openssl verify -crl_check -CAfile state/lists/authorities.pem \
                  -CRLfile state/lists/revoked.pem laptop.pem";
    let judged = hq.shell(verify);
    assert!(judged.status.success(), "{judged:?}");

    // Revoked, it is refused by the kernel, and by whoever looks into the lists beside the site.
    hq.ok("identity revoke laptop --because key-compromise --reason stolen");
    hq.ok("wait site lab --for verified --timeout 60s");
    hq.site.check("laptop", "camera", 80, false);
    hq.site.check("hmi", "plc", 502, true);
    let end = lab::wait::now() + Duration::from_secs(60);
    let refused = || String::from_utf8_lossy(&hq.shell(verify).stderr).contains("revoked");
    assert!(lab::wait::until(end, refused).unwrap(), "{:?}", hq.shell(verify));
}

#[test]
fn netns_a_site_follows_its_controller_and_outlives_it() {
    if !lab::need("netns_a_site_follows_its_controller_and_outlives_it") {
        return;
    }
    let mut hq = Headquarters::new("site-headquarters");
    hq.join();
    hq.site.check("hmi", "plc", 502, true);
    hq.site.check("laptop", "camera", 80, true);
    hq.site.check("camera", "plc", 502, false);

    // A decision at headquarters is in force at the site, and whoever decides sees that it is.
    hq.ok("quarantine laptop --reason scans");
    hq.ok("wait site lab --for verified --timeout 60s");
    hq.site.check("laptop", "camera", 80, false);
    hq.site.check("hmi", "plc", 502, true);
    let standing = hq.document("get slo -o json");
    let measured = |name: &str| {
        let levels = standing["levels"].as_array().unwrap();
        levels.iter().any(|level| level["name"] == *name && level["count"].as_u64() > Some(0))
    };
    assert!(measured("change to decision"), "{standing}");
    assert!(measured("change to verified at the site"), "{standing}");
    hq.ok("quarantine laptop --lift --reason clean");
    hq.ok("edit device hmi --set criticality=high --reason line");
    hq.ok("edit device plc --set criticality=high --reason line");
    hq.ok("wait site lab --for verified --timeout 60s");
    hq.site.check("laptop", "camera", 80, true);
    let generation = hq.document("get site lab -o json")["verified"].clone();

    // Headquarters falls silent without a word: first leases end, and what may not stop goes on; then the budget for that ends.
    let held = hq.site.status().generation;
    hq.signal("-STOP");
    let expired = hq.enforces("expired", held);
    hq.site.check("hmi", "plc", 502, true);
    hq.site.check("laptop", "camera", 80, false);
    let stale = hq.enforces("stale", expired);
    hq.site.check("hmi", "plc", 502, false);

    // It is back, as another process, and says the same: the same generation holds again.
    hq.signal("-KILL");
    hq.process = None;
    hq.start();
    let held = hq.enforces("held", stale);
    hq.site.check("hmi", "plc", 502, true);
    hq.site.check("laptop", "camera", 80, true);
    hq.site.check("camera", "plc", 502, false);
    assert_eq!(hq.document("get site lab -o json")["verified"], generation);

    // What happened meanwhile is in the estate's journal.
    let end = lab::wait::now() + Duration::from_secs(60);
    let told = lab::wait::until(end, || {
        hq.document("get site lab -o json").to_string().contains("leases-ended")
    });
    assert!(told.unwrap(), "{}", hq.document("get site lab -o json"));

    // A site that is not believed any more is cut off, and what it holds ends with its leases.
    hq.ok("sites revoke lab --reason stolen");
    hq.enforces("expired", held);
    hq.site.check("laptop", "camera", 80, false);
}

#[test]
fn netns_what_crosses_a_sites_wire_is_told_of_its_devices() {
    if !lab::need("netns_what_crosses_a_sites_wire_is_told_of_its_devices") {
        return;
    }
    let mut hq = Headquarters::new("site-flows");
    hq.join();
    hq.site.check("hmi", "plc", 502, true);
    hq.site.check("camera", "plc", 502, false);
    // A site tells once a minute.
    let end = lab::wait::now() + Duration::from_secs(150);
    let told = lab::wait::until(end, || hq.flow("hmi", "client", "plc").is_some()).unwrap();
    assert!(told, "{}", hq.document("get flows hmi plc -o json"));
    let called = hq.flow("hmi", "client", "plc").unwrap();
    let was_called = hq.flow("plc", "server", "hmi").unwrap();
    assert_eq!((&called["port"], &called["device"]), (&Value::from(502), &Value::from("hmi")));
    assert!(called["flows"].as_u64() >= Some(1), "{called}");
    assert!(called["packets_out"].as_u64() >= Some(2), "{called}");
    for (ours, theirs) in [("packets_out", "packets_in"), ("bytes_in", "bytes_out")] {
        assert_eq!(called[ours], was_called[theirs], "{called} {was_called}");
    }
    // Nothing came to be between these.
    assert_eq!(hq.flow("camera", "client", "plc"), None);
    // It is kept over a restart.
    hq.signal("-KILL");
    hq.process = None;
    hq.start();
    assert!(hq.flow("hmi", "client", "plc").is_some());
}
