//! What the devices do all day, in rounds. Seeded: the same seed gives the same schedule.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::estate::PAYMENTS_NAME;
use crate::privilege::program;
use crate::{Device, Lab, LabError, client, mdns, sys, wait};

/// What was done, and what failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Times each task succeeded: `nvr pulls video` → 5.
    pub done: BTreeMap<String, u32>,
    /// Tasks that failed, with the last reason and how often.
    pub failed: BTreeMap<String, (u32, String)>,
}

/// All devices do their work for `time`, each at least once.
pub fn baseline(lab: &Lab, time: Duration) -> Result<Report, LabError> {
    subscribe(lab)?;
    let end = wait::now() + time;
    let mut report = Report::default();
    thread::scope(|scope| {
        let workers: Vec<_> = lab
            .devices()
            .iter()
            .zip(0u64..)
            .filter(|(device, _)| TASKS.iter().any(|task| task.device == device.name))
            .map(|(device, number)| scope.spawn(move || work(lab, device, number, end)))
            .collect();
        for worker in workers {
            let one = worker
                .join()
                .map_err(|_| LabError::failed("make traffic", "a thread panicked"))??;
            report.done.extend(one.done);
            report.failed.extend(one.failed);
        }
        Ok(())
    })
    .map(|()| report)
}

/// Something a device does again and again.
struct Task {
    device: &'static str,
    what: &'static str,
    every_ms: u64,
    run: fn(&mut Turn<'_>) -> io::Result<()>,
}

/// What a task knows.
struct Turn<'a> {
    device: &'a Device,
    round: u32,
    random: Random,
}

const fn task(
    device: &'static str,
    what: &'static str,
    every_ms: u64,
    run: fn(&mut Turn<'_>) -> io::Result<()>,
) -> Task {
    Task { device, what, every_ms, run }
}

const TASKS: [Task; 15] = [
    task("sensor-cold", "publishes a temperature", 2_000, |turn| {
        let value = turn.random.below(40);
        publish(
            "coldroom-1",
            "warehouse/coldroom/1/temperature",
            &format!("{{\"t\":-18.{value:02}}}"),
        )
    }),
    task("sensor-dock", "publishes a temperature", 3_000, |turn| {
        let value = turn.random.below(90) + 100;
        publish(
            "shellyht-8A5522",
            "shellies/shellyht-8A5522/sensor/temperature",
            &format!("{value}"),
        )
    }),
    task("hmi", "polls the PLC", 1_000, |turn| {
        let plc = client::resolve("plc.warehouse.example")?;
        let mut requests: Vec<&[u8]> = vec![&[3, 0, 0, 0, 8]];
        if turn.round == 0 {
            requests.insert(0, &[43, 14, 1, 0]);
        }
        client::modbus(plc, &requests).map(|_| ())
    }),
    task("nvr", "pulls video", 2_000, |_| {
        let camera = client::resolve("axis-accc8e123440.warehouse.example")?;
        client::rtsp(camera).map(|_| ())
    }),
    task("nvr", "takes a picture", 3_000, |_| {
        let camera = client::resolve("axis-accc8e123440.warehouse.example")?;
        let agent = "Synology Surveillance Station";
        let request = "GET /axis-cgi/jpg/image.cgi";
        client::http(camera, 80, request, "axis-accc8e123440", agent, client::DIGEST, "")
            .map(|_| ())
    }),
    task("nvr", "asks the time", 5_000, |_| client::ntp()),
    task("camera", "asks the time", 4_000, |_| client::ntp()),
    task("camera", "says hello", 8_000, |turn| mdns::hello_camera(turn.device.ip)),
    task("printer", "announces itself", 5_000, |turn| mdns::announce_printer(turn.device.ip)),
    task("scanner", "fetches orders", 2_500, |_| {
        let files = client::resolve("nas-office.warehouse.example")?;
        let agent = "okhttp/4.9.3 (Honeywell CT40; Android 11)";
        client::http(files, 8080, "GET /orders/today.csv", "nas-office", agent, "", "").map(|_| ())
    }),
    task("scanner", "prints a label", 2_000, |turn| {
        let printer = client::resolve("ZBR6A1050.warehouse.example")?;
        client::print(printer, &format!("ORDER {}", 4700 + turn.random.below(99)))
    }),
    task("till", "authorises a payment", 1_500, |turn| {
        let payments = client::resolve(PAYMENTS_NAME)?;
        let body = format!("{{\"terminal\":\"till-1\",\"amount\":{}}}", turn.random.below(9_999));
        let agent = "Verifone-Carbon/10.2";
        let kind = "Content-Type: application/json\r\n";
        client::http(payments, 8080, "POST /v1/authorise", PAYMENTS_NAME, agent, kind, &body)
            .map(|_| ())
    }),
    task("laptop", "reads the PLC project", 4_000, |_| {
        let files = client::resolve("nas-office.warehouse.example")?;
        let request = "GET /projects/packing-line.stu";
        client::http(files, 8080, request, "nas-office", BROWSER, "", "").map(|_| ())
    }),
    task("laptop", "checks the PLC", 4_000, |turn| {
        let plc = client::resolve("plc.warehouse.example")?;
        let mut requests: Vec<&[u8]> = vec![&[43, 14, 1, 0], &[3, 0, 0, 0, 4]];
        if turn.round == 0 {
            requests.push(&[6, 0, 3, 0x01, 0x2c]); // One set-point a day.
        }
        client::modbus(plc, &requests).map(|_| ())
    }),
    task("laptop", "looks at the camera", 5_000, |_| {
        let camera = client::resolve("axis-accc8e123440.warehouse.example")?;
        let request = "GET /axis-cgi/param.cgi?action=list";
        client::http(camera, 80, request, "axis-accc8e123440", BROWSER, client::DIGEST, "")
            .map(|_| ())
    }),
];

const BROWSER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36";

fn work(
    lab: &Lab,
    device: &Device,
    number: u64,
    end: std::time::Instant,
) -> Result<Report, LabError> {
    let work = || {
        let mut random = Random(lab.seed() ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let start = wait::now();
        let tasks: Vec<_> = TASKS.iter().filter(|task| task.device == device.name).collect();
        // Due times in milliseconds from the start; the first round is spread over half a second.
        let mut due: Vec<_> = tasks.iter().map(|_| (random.below(500), 0u32)).collect();
        let mut report = Report::default();
        loop {
            let next = due.iter_mut().zip(&tasks).min_by_key(|((at, _), _)| *at);
            let Some(((at, round), task)) = next else {
                return Ok(report);
            };
            let when = start + Duration::from_millis(*at);
            if when >= end && *round > 0 {
                return Ok(report);
            }
            wait::until(when, || false)?;
            let mut turn = Turn { device, round: *round, random: Random(random.next()) };
            report.note(task, (task.run)(&mut turn));
            *round += 1;
            *at += task.every_ms + random.below(task.every_ms / 4 + 1);
        }
    };
    let doing = || format!("make traffic of {}", device.name);
    device.netns.enter(work).map_err(|error| LabError::failed(doing(), error))?
}

impl Report {
    fn note(&mut self, task: &Task, result: io::Result<()>) {
        let name = format!("{} {}", task.device, task.what);
        match result {
            Ok(()) => *self.done.entry(name).or_default() += 1,
            Err(error) => {
                let entry = self.failed.entry(name).or_default();
                *entry = (entry.0 + 1, error.to_string());
            }
        }
    }

    /// Tasks done, in all.
    pub fn total(&self) -> u32 {
        self.done.values().sum()
    }
}

/// Publishes with the real program, from inside the calling thread's namespace.
fn publish(client_id: &str, topic: &str, payload: &str) -> io::Result<()> {
    publish_to(client::resolve("mqtt01.warehouse.example")?, client_id, topic, payload)
}

pub(crate) fn publish_to(
    broker: Ipv4Addr,
    client_id: &str,
    topic: &str,
    payload: &str,
) -> io::Result<()> {
    let mut command = program("mosquitto_pub");
    command.args([
        "-h",
        &broker.to_string(),
        "-i",
        client_id,
        "-t",
        topic,
        "-m",
        payload,
        "-q",
        "1",
    ]);
    run(command)
}

/// Runs a program for at most a moment; its failure is ours.
pub(crate) fn run(mut command: Command) -> io::Result<()> {
    sys::die_with_parent(&mut command);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut status = None;
    let ended = wait::until(wait::now() + client::PATIENCE, || {
        status = child.try_wait().ok().flatten();
        status.is_some()
    });
    if !ended.unwrap_or(false) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(io::ErrorKind::TimedOut.into());
    }
    match status {
        Some(status) if status.success() => Ok(()),
        other => Err(io::Error::other(format!("exit {other:?}"))),
    }
}

/// The operator panel subscribes once, for good.
fn subscribe(lab: &Lab) -> Result<(), LabError> {
    if lab.has_process(SUBSCRIBER) {
        return Ok(());
    }
    let hmi = lab.device("hmi")?;
    let broker = hmi.netns.enter(|| client::resolve("mqtt01.warehouse.example"));
    let broker = broker.and_then(|ip| ip).map_err(|e| LabError::failed("find the broker", e))?;
    let mut command = program("mosquitto_sub");
    command.args(["-h", &broker.to_string(), "-i", "hmi-packing-1", "-k", "5", "-v"]);
    command.args(["-t", "warehouse/#", "-t", "shellies/#"]);
    lab.start(&hmi.netns, SUBSCRIBER, command)
}

/// Its output tells what the panel was told.
pub(crate) const SUBSCRIBER: &str = "mosquitto_sub";

/// SplitMix64.
#[derive(Clone, Copy, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}
