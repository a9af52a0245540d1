//! A site on its own kernel, and how soon what headquarters decides is read back from it: on one machine, and with a slow line between them.
//!
//! The warehouse of the lab; headquarters runs on its gateway, beside the site. Each round cuts one device off that has a session open. The line's delay is
//! made by a relay: what comes in goes on after [`DELAY`], in both directions.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use enforcer::cut::Connections;
use enforcer::netlink::Place;
use lab::{Lab, Process, folder, wait};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, tcp};
use tokio::sync::mpsc;

use super::{now, stop};
use crate::Stop;
use crate::figures::{Bar, Figure};

/// Times that the device is cut off.
const ROUNDS: usize = 75;
/// Between two: what a site says is an entry of the journal each time, and it may say so much in a time only (`line/pace.rs`).
const PAUSE: Duration = Duration::from_millis(500);
/// One way, as between a site and a data centre of the same country.
const DELAY: Duration = Duration::from_millis(10);
const LINE: u16 = 8_444;
const RELAY: u16 = 8_555;
const LEVEL: &str = "change to verified at the site";
const PATIENCE: Duration = Duration::from_secs(60);
const CUT: &str = "laptop";
const PEER: (&str, u16) = ("camera", 80);

pub(super) fn measure(here: &Path) -> Result<Vec<Figure>, Stop> {
    lab::privilege::check().map_err(stop)?;
    let mut figures = Vec::new();
    for (place, port, bar) in
        [("on one machine", LINE, 250.0), ("over a line of 20 ms", RELAY, 1_000.0)]
    {
        eprintln!("measuring a site {place}");
        let _ = fs::remove_dir_all(here);
        fs::create_dir_all(here).map_err(stop)?;
        let measured = Warehouse::new(here, port)?.rounds()?;
        let _ = fs::remove_dir_all(here);
        figures.extend([
            Figure::new(
                format!("change to verified at a site {place}: measured"),
                measured.count,
                "change",
            )
            .bar(Bar::AtLeast(100.0)),
            Figure::new(format!("change to verified at a site {place}, p50"), measured.p50, "ms"),
            Figure::new(format!("change to verified at a site {place}, p99"), measured.p99, "ms")
                .bar(Bar::AtMost(bar)),
            Figure::new(
                format!("sessions of a cut device still open at a site {place}"),
                measured.open,
                "session",
            )
            .bar(Bar::AtMost(0.0)),
        ]);
    }
    Ok(figures)
}

struct Measured {
    count: f64,
    p50: f64,
    p99: f64,
    open: f64,
}

/// The lab with a site and its controller.
struct Warehouse {
    lab: Lab,
    here: PathBuf,
    controller: Option<Process>,
    _site: Process,
}

impl Warehouse {
    fn new(here: &Path, port: u16) -> Result<Self, Stop> {
        let lab = Lab::new(7).map_err(stop)?;
        lab.boot().map_err(stop)?;
        folder::write(&here.join("policy"), &[], None, "", &[]).map_err(stop)?;
        let controller = controller(&lab, here)?;
        if port != LINE {
            let relayed = lab.gateway().thread("relay", move || relay(port, LINE));
            drop(relayed.map_err(stop)?); // It ends with its namespace.
        }
        let run = |line: &str| run(&lab, here, line);
        run("apply -f policy --reason first")?;
        fs::write(here.join("token"), run("sites token lab --reason box")?).map_err(stop)?;
        run(&format!("site join --controller localhost:{port} --state state --token-file token"))?;
        let mut site = Command::new(crate::ringfence()?);
        site.args([
            "site",
            "run",
            "--interface",
            lab.bridge_interface(),
            "--state",
            "state",
            "--controller",
        ]);
        site.current_dir(here).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let site = lab.gateway().spawn("site", site).map_err(stop)?;
        run("wait site lab --for verified --timeout 90s")?;
        let mut warehouse =
            Self { lab, here: here.to_owned(), controller: Some(controller), _site: site };
        // Service levels begin anew, without what it took to begin.
        warehouse.controller = None;
        warehouse.controller = Some(self::controller(&warehouse.lab, here)?);
        warehouse.run("wait site lab --for verified --timeout 90s")?;
        Ok(warehouse)
    }

    fn run(&self, line: &str) -> Result<String, Stop> {
        run(&self.lab, &self.here, line)
    }

    /// Cuts the device off or takes it back, and waits until that is verified.
    fn quarantine(&self, cut: bool) -> Result<(), Stop> {
        let lift = if cut { "" } else { " --lift" };
        self.run(&format!("quarantine {CUT}{lift} --reason bench"))?;
        self.run("wait site lab --for verified --timeout 60s").map(drop)
    }

    fn rounds(self) -> Result<Measured, Stop> {
        let from = self.lab.device(CUT).map_err(stop)?;
        let to = SocketAddr::from((self.lab.device(PEER.0).map_err(stop)?.ip, PEER.1));
        let place = Place::netns(&self.lab.gateway().path());
        let mut open = 0_u32;
        for _ in 0..ROUNDS {
            let session = from.netns.enter(|| TcpStream::connect_timeout(&to, PATIENCE));
            let session = session.map_err(stop)?.map_err(stop)?;
            let asked_from = session.local_addr().map_err(stop)?;
            self.quarantine(true)?;
            let mut table = Connections::open(&place).map_err(stop)?;
            let left = table.list(|flow| {
                flow.asked.from == asked_from.ip()
                    && flow.asked.from_port == Some(asked_from.port())
            });
            let left = left.map_err(stop)?;
            open = open.saturating_add(u32::try_from(left.len()).unwrap_or(u32::MAX));
            drop(session);
            self.quarantine(false)?;
            wait::pass(PAUSE).map_err(stop)?;
        }
        let standing: Value = serde_json::from_str(&self.run("get slo -o json")?).map_err(stop)?;
        let levels = standing["levels"].as_array().cloned().unwrap_or_default();
        let level = levels.into_iter().find(|level| level["name"] == LEVEL).unwrap_or_default();
        let of = |name: &str| level[name].as_f64().unwrap_or(f64::NAN);
        let (count, p50, p99) = (of("count"), of("p50_us") / 1_000.0, of("p99_us") / 1_000.0);
        Ok(Measured { count, p50, p99, open: f64::from(open) })
    }
}

/// Starts headquarters on the gateway, and logs in.
fn controller(lab: &Lab, here: &Path) -> Result<Process, Stop> {
    let mut command = Command::new(crate::ringfence()?);
    command.args(["controller", "run", "--state", "hq", "--name", super::NAME]);
    command.current_dir(here).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let process = lab.gateway().spawn("controller", command).map_err(stop)?;
    let up = wait::until(now() + PATIENCE, || run(lab, here, "login --state hq").is_ok());
    match up.map_err(stop)? {
        true => Ok(process),
        false => Err(Stop("the controller does not answer".to_owned())),
    }
}

/// Runs the program on the gateway.
fn run(lab: &Lab, here: &Path, line: &str) -> Result<String, Stop> {
    let mut command = Command::new(crate::ringfence()?);
    command.args(line.split(' ')).current_dir(here).stdin(Stdio::null());
    command.env("RINGFENCE_CONFIG", here.join("contexts.toml")).env("NO_COLOR", "1");
    let output = lab.gateway().enter(|| command.output()).map_err(stop)?.map_err(stop)?;
    if !output.status.success() {
        return Err(Stop(format!("{line}: {}", String::from_utf8_lossy(&output.stderr))));
    }
    String::from_utf8(output.stdout).map_err(stop)
}

/// Hands on what comes to a port of this namespace, later.
fn relay(from: u16, to: u16) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    runtime.block_on(async {
        let Ok(listener) = TcpListener::bind(("127.0.0.1", from)).await else { return };
        while let Ok((near, _)) = listener.accept().await {
            // Without headquarters the connection ends, as on any line.
            let Ok(far) = tokio::net::TcpStream::connect(("127.0.0.1", to)).await else { continue };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            tokio::spawn(one_way(from_near, to_far));
            tokio::spawn(one_way(from_far, to_near));
        }
    });
}

async fn one_way(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf) {
    let (sender, mut came) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let due = tokio::time::Instant::now() + DELAY;
            if sender.send((due, bytes[..count].to_vec())).is_err() {
                break;
            }
        }
    });
    while let Some((due, bytes)) = came.recv().await {
        tokio::time::sleep_until(due).await;
        if to.write_all(&bytes).await.is_err() {
            break;
        }
    }
}
