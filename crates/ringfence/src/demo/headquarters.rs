//! The demo's headquarters: a real controller on loopback that is told, through its API, what the demo finds out and does, so that
//! its console shows it. It is gone with the demo.

use std::fs::DirBuilder;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::controller::keys::Keeper;
use ::controller::line::Timing;
use ::controller::shell::{self, Config, RunError, Running};
use hyper::Method;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use model::inspect::{Attribute, Device};
use serde_json::{Value, json};

use crate::control::client::{Client, segment};
use crate::folder;
use crate::inspect::Learnt;

/// Where people look for it, unless something else is there.
const PORT: u16 = 8443;
/// Of its folder; the number of the process follows.
const PREFIX: &str = "ringfence-demo-";
const SITE: &str = "warehouse";
const LOGIN: &str = "demo";
const WHY: &str = "the demo";

pub(super) struct Headquarters {
    /// Taken when it ends.
    running: Option<Running>,
    state: PathBuf,
    client: Client,
    pub(super) address: String,
    pub(super) password: String,
    pub(super) root_sha256: String,
}

impl Headquarters {
    /// Starts it, and makes its operator. `None`: this process has a network of its own, where no browser is.
    pub(super) fn start() -> Result<Option<Self>> {
        if is_alone() {
            return Ok(None);
        }
        let temporary = std::env::temp_dir();
        sweep(&temporary);
        let state = temporary.join(format!("{PREFIX}{}", std::process::id()));
        // Ours alone: whoever made it before us could read what is put there.
        let made = DirBuilder::new().mode(0o700).create(&state).into_diagnostic();
        made.wrap_err_with(|| format!("making {}", state.display()))?;
        let running = run(&state).inspect_err(|_| drop(std::fs::remove_dir_all(&state)))?;
        let address = format!("https://{}", running.up.api);
        let joined = join(&running, &address, &state);
        let (client, password) = match joined {
            Ok(joined) => joined,
            Err(report) => {
                let _ = running.stop();
                let _ = std::fs::remove_dir_all(&state);
                return Err(report);
            }
        };
        let root_sha256 = running.up.root_sha256.clone();
        Ok(Some(Self { running: Some(running), state, client, address, password, root_sha256 }))
    }

    /// Tells what was learnt: the draft policy with the devices it names, and what the sensor knows of each.
    pub(super) fn learnt(&mut self, learnt: &Learnt) -> Result<()> {
        let folder = json!({ "files": learnt.draft.folder.files(), "origin": "demo", "why": WHY });
        let set = self.client.ask(&Method::PUT, "/v1/policy", Some(&folder), &[]);
        set.into_diagnostic().wrap_err("setting the draft policy at the demo's controller")?;
        let devices: Vec<Value> = learnt.report.devices.iter().map(facts).collect();
        let report =
            json!({ "site": SITE, "source": "import/demo", "devices": devices, "why": WHY });
        let told = self.client.post("/v1/devices/report", &report);
        told.into_diagnostic().wrap_err("telling the demo's controller of devices").map(drop)
    }

    /// Cuts a device off, as its people would.
    pub(super) fn quarantine(&mut self, device: &str, why: &str) -> Result<()> {
        let change = json!({ "set": { "posture": "quarantined" }, "why": why });
        let path = format!("/v1/devices/{}", segment(device));
        let done = self.client.ask(&Method::PATCH, &path, Some(&change), &[]);
        done.into_diagnostic().wrap_err("cutting a device off at the demo's controller").map(drop)
    }
}

impl Drop for Headquarters {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // Its state goes anyway.
            let _ = running.stop();
        }
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

/// Takes away what demos left that were killed.
fn sweep(temporary: &Path) {
    for entry in std::fs::read_dir(temporary).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // It may be somebody else's.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Nothing but loopback is here: a network namespace that was made for this process.
fn is_alone() -> bool {
    let links = std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    links.lines().skip(2).all(|line| line.trim_start().starts_with("lo:"))
}

fn run(state: &Path) -> Result<Running> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let config = |port| Config {
        state: state.to_owned(),
        keeper: Keeper::default(),
        name: Some("demo.internal".to_owned()),
        listen: at(port),
        line: at(0),
        est: None,
        hosts: Vec::new(),
        timing: Timing::default(),
    };
    // What it tells people who run one is not for those who watch a demo.
    let start = |port| shell::start(&config(port), folder::now, Arc::new(|_: &str| {}));
    let running = match start(PORT) {
        Err(RunError::Io { .. }) => start(0),
        other => other,
    };
    running.into_diagnostic().wrap_err("starting the demo's controller")
}

/// A client that speaks as the first operator, and the password of that one.
fn join(running: &Running, address: &str, state: &Path) -> Result<(Client, String)> {
    let mut root = [0; 32];
    for (byte, digits) in root.iter_mut().zip(running.up.root_sha256.as_bytes().chunks(2)) {
        let digits = str::from_utf8(digits).into_diagnostic()?;
        *byte = u8::from_str_radix(digits, 16).into_diagnostic()?;
    }
    let (mut client, _) = Client::first_contact(address, root).into_diagnostic()?;
    let secret = std::fs::read_to_string(state.join("setup-token")).into_diagnostic()?;
    let password = password()?;
    let first =
        json!({ "secret": secret.trim(), "login": LOGIN, "name": "Demo", "password": password });
    let begun = client.post("/v1/setup", &first).into_diagnostic()?;
    let token = begun.get("token").and_then(Value::as_str);
    client.speak_as(token.ok_or_else(|| miette!("the demo's controller gives no session"))?);
    client
        .post("/v1/sites", &json!({ "id": SITE, "name": "Warehouse", "why": WHY }))
        .into_diagnostic()?;
    Ok((client, password))
}

/// Easy to read and to type, and of this demo only: 80 bits.
fn password() -> Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 16];
    crypto::random(&mut random).into_diagnostic()?;
    let mut text = String::new();
    for (n, byte) in random.into_iter().enumerate() {
        if n > 0 && n % 4 == 0 {
            text.push('-');
        }
        text.extend(LETTERS.get(usize::from(byte % 32)).map(|letter| char::from(*letter)));
    }
    Ok(text)
}

/// What the sensor knows of a device, as the API takes it.
fn facts(device: &Device) -> Value {
    let at = device.last_seen.to_string();
    let said = |field: &str, attribute: Option<&Attribute>| {
        let attribute = attribute?;
        let detail = attribute.evidence.first().map(|evidence| evidence.field.as_ref());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
        let confidence = (attribute.confidence.clamp(0.0, 1.0) * 100.0).round() as u8;
        Some(json!({
            "field": field, "value": attribute.value, "detail": detail.unwrap_or_default(),
            "confidence": confidence, "at": at,
        }))
    };
    let attributes = [
        ("type", &device.kind),
        ("vendor", &device.vendor),
        ("model", &device.model),
        ("firmware", &device.firmware),
        ("hardware", &device.hardware),
        ("serial", &device.serial),
        ("os", &device.os),
    ];
    let attributes = attributes.into_iter().filter_map(|(field, a)| said(field, a.as_ref()));
    let name = device
        .hostnames
        .first()
        .map(|name| json!({ "field": "hostname", "value": name, "confidence": 70, "at": at }));
    json!({
        "id": device.id, "subject": device.id,
        "keys": device.macs.iter().map(|mac| format!("mac/{mac}")).collect::<Vec<_>>(),
        "addresses": device.ips,
        "said": attributes.chain(name).collect::<Vec<_>>(),
        "first_seen": device.first_seen.to_string(), "last_seen": at,
    })
}
