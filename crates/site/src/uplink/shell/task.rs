//! What the thread of the line does, in one loop: hears, decides through [`State`] and [`Outbox`], and starts what takes time beside itself.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crypto::tls;
use model::Timestamp;
use model::line::{Ack, Chain, FRAME_BYTES_MAX, Frame, FrameReader, Progress, Renew, Taken};
use pki::issue::Subject;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::super::client::{self, Client, LineError};
use super::super::outbox::{Entered, Ready, Settled};
use super::super::reckon::Look;
use super::super::redial::Redial;
use super::super::state::{Action, Input};
use super::super::traffic::Waiting;
use super::super::words::{Line, Said, Told};
use super::super::{join, renew};
use super::{Clock, Uplink, happened, journal_after};

/// What a task beside the loop says.
enum Wire {
    Up(Client, AbortHandle),
    Frame(Vec<u8>),
    Down(LineError),
    Acked(Ack, Result<(), LineError>),
    Sent(Result<Taken, LineError>),
    Carried(Result<(), LineError>),
    Renewed(Result<Chain, LineError>),
}

/// Frames and answers that the loop has not taken up yet.
const WIRE_MAX: usize = 4;
/// Longest time after which something refused is tried again, in seconds.
const LATER_S_MAX: u64 = 600;
/// Level of compression: fast, and devices' texts repeat.
const LEVEL: i32 = 3;

/// One try to connect and what came of it.
struct Dialled {
    number: u64,
    /// Reads frames.
    reader: AbortHandle,
    /// Drives the connection, once it is up.
    connection: Option<AbortHandle>,
    client: Option<Client>,
    heard: Instant,
    acking: bool,
    sending: bool,
    carrying: bool,
    renewing: bool,
}

impl Drop for Dialled {
    fn drop(&mut self) {
        self.reader.abort();
        if let Some(connection) = &self.connection {
            connection.abort();
        }
    }
}

/// The time that certificates are judged by: the wall clock, but never before what is known.
struct TlsClock {
    clock: Arc<dyn Clock>,
    floor_nanos: Arc<AtomicI64>,
}

impl tls::Clock for TlsClock {
    fn now(&self) -> Option<Timestamp> {
        let floor = Timestamp::from_nanos(self.floor_nanos.load(Ordering::Relaxed));
        Some(self.clock.look().wall.max(floor))
    }
}

pub(super) struct Task {
    up: Uplink,
    line: Arc<Mutex<Line>>,
    said: Box<dyn Fn(Said) -> bool + Send>,
    floor_nanos: Arc<AtomicI64>,
    redial: Redial,
    /// Running time of the next try, of whatever.
    dial_at: i64,
    ack_at: i64,
    send_at: i64,
    /// When devices were told of last.
    seen_at: i64,
    /// What crossed the wire, and when the next of it is told.
    traffic: Waiting,
    traffic_at: i64,
    renew_at: Timestamp,
    renew_again: i64,
    dialled: Option<Dialled>,
    dials: u64,
    wire: Option<mpsc::Sender<(u64, Wire)>>,
    applied: u64,
    verified: u64,
    /// Events sent since their file was written anew.
    settled: usize,
    /// Words of what was told and is not over.
    open: Vec<&'static str>,
}

impl Task {
    pub(super) fn new(
        up: Uplink,
        line: Arc<Mutex<Line>>,
        said: Box<dyn Fn(Said) -> bool + Send>,
    ) -> Self {
        let renew_at = renew::due(up.enrolled.not_before, up.enrolled.not_after, random());
        let traffic = Waiting::new(up.config.clock.look().wall);
        Self {
            up,
            line,
            said,
            floor_nanos: Arc::new(AtomicI64::new(i64::MIN)),
            redial: Redial::default(),
            dial_at: i64::MIN,
            ack_at: i64::MIN,
            send_at: i64::MIN,
            seen_at: i64::MIN,
            traffic,
            traffic_at: i64::MIN,
            renew_at,
            renew_again: i64::MIN,
            dialled: None,
            dials: 0,
            wire: None,
            applied: 0,
            verified: 0,
            settled: 0,
            open: Vec::new(),
        }
    }

    pub(super) async fn run(&mut self, mut told: mpsc::Receiver<Told>, stop: &AtomicBool) {
        let (wire, mut heard) = mpsc::channel(WIRE_MAX);
        self.wire = Some(wire);
        for what in std::mem::take(&mut self.up.damaged) {
            self.find("line-state-damaged", &what);
        }
        self.handle(Input::Started);
        self.catch_up();
        let mut tick = tokio::time::interval(self.up.config.timing.tick);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.load(Ordering::SeqCst) {
            tokio::select! {
                one = told.recv() => match one {
                    Some(told) => self.told(told),
                    None => break,
                },
                Some((number, wire)) = heard.recv() => {
                    // What an earlier connection still says does not count.
                    if self.dialled.as_ref().is_some_and(|dialled| dialled.number == number) {
                        self.wired(wire);
                    }
                }
                _ = tick.tick() => self.handle(Input::Tick),
            }
            self.move_on();
            self.publish();
        }
        // What the site has said by now is durable when the thread ends.
        while let Ok(told) = told.try_recv() {
            self.told(told);
        }
        let _ = self.up.keep.save_mark(&self.up.state.mark()); // The one before is good too.
    }

    fn look(&self) -> Look {
        self.up.config.clock.look()
    }

    fn say(&self, said: Said) {
        let _ = (self.said)(said); // The site is ending: nobody is left to hear it.
    }

    /// Tells once, until it is over.
    fn find(&mut self, kind: &'static str, what: &str) {
        if self.open.contains(&kind) {
            return;
        }
        self.open.push(kind);
        let (subject, what) = ("line".to_owned(), what.to_owned());
        self.say(Said::Find { kind, subject, what });
    }

    fn over(&mut self, kind: &'static str) {
        if let Some(at) = self.open.iter().position(|open| *open == kind) {
            self.open.remove(at);
            self.say(Said::Over { kind });
        }
    }

    /// Lines of the journal that were durable before the process ended, and were not taken up.
    fn catch_up(&mut self) {
        let after = self.up.outbox.head().journal.unwrap_or(0);
        for line in journal_after(&self.up.config.state, after) {
            let happened = happened(line.at, &line.entry);
            self.told(Told::Happened { happened, journal: Some(line.seq) });
        }
        if let Err(error) = self.up.keep.save_head(self.up.outbox.head()) {
            self.find("line-not-kept", &error.to_string());
        }
    }

    /// Tells the state, and does what it says.
    fn handle(&mut self, input: Input) {
        let look = self.look();
        let mut left: VecDeque<Action> = self.up.state.handle(look, input).into();
        while let Some(action) = left.pop_front() {
            match action {
                Action::Save => match self.up.keep.save_bundles(self.up.state.bundles()) {
                    Ok(()) => self.over("line-not-kept"),
                    Err(error) => {
                        self.find("line-not-kept", &error.to_string());
                        // Nothing that rests on it may happen.
                        left = self.up.state.handle(look, Input::Unsaved).into();
                    }
                },
                Action::Mark => {
                    if let Err(error) = self.up.keep.save_mark(&self.up.state.mark()) {
                        self.find("line-not-kept", &error.to_string());
                    }
                }
                Action::Turned { to } => self.say(Said::Turned { to }),
                Action::Offer(offer) => self.say(Said::Offer(offer)),
                Action::Lists { authorities, lists } => {
                    let here = self.up.state.reckoning().here(look.wall);
                    match self.up.lists.take(&authorities, lists, here) {
                        Ok(()) => self.over("revocation-lists"),
                        Err(why) => {
                            self.find("revocation-lists", &why.to_string());
                        }
                    }
                }
                Action::AskWhole => {
                    self.down(look);
                    let why = "what came could not be taken".to_owned();
                    left.extend(self.up.state.handle(look, Input::Cut { why }));
                }
                Action::Find { kind, subject, what } => {
                    self.say(Said::Find { kind, subject, what });
                }
                Action::Over { kind } => self.say(Said::Over { kind }),
            }
        }
        let floor = self.up.state.reckoning().here(look.wall);
        self.floor_nanos.store(floor.as_nanos(), Ordering::Relaxed);
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Judged { generation, refused } => {
                self.handle(Input::Judged { generation, refused });
            }
            Told::Stands(standing) => self.handle(Input::Stands(standing)),
            Told::Happened { happened, journal } => {
                match self.up.outbox.happened(happened, journal) {
                    Entered::Known => {}
                    Entered::Full => {
                        let what = "so much happened while the line was cut that there is no room for more: what comes is counted only";
                        self.find("outbox-full", what);
                    }
                    Entered::Noted(noted) => match self.up.keep.add_events(&noted) {
                        Ok(()) => self.over("outbox-full"),
                        Err(error) => {
                            self.up.outbox.not_kept(&noted);
                            self.find("line-not-kept", &error.to_string());
                        }
                    },
                }
            }
            Told::Seen(devices) => {
                for (device, sighting) in devices {
                    self.up.outbox.saw(device, sighting);
                }
                if let (_, 1..) = self.up.outbox.lost() {
                    let what = "more devices wait to be told of than there is room for: those that waited longest are told of when they are seen again";
                    self.find("sightings-dropped", what);
                }
            }
            Told::Carried(flows) => {
                flows.into_iter().for_each(|flow| self.traffic.add(flow));
                if self.traffic.left_out() > 0 {
                    let what = "more traffic waits to be told of than there is room for: what comes is left out";
                    self.find("traffic-dropped", what);
                }
            }
        }
    }

    fn wired(&mut self, wire: Wire) {
        let look = self.look();
        match wire {
            Wire::Up(client, connection) => {
                if let Some(dialled) = &mut self.dialled {
                    (dialled.client, dialled.connection) = (Some(client), Some(connection));
                    dialled.heard = Instant::now();
                }
                self.redial.up(look.running_nanos);
                self.over("line-refused");
                self.say(Said::Tell(format!("connected to {}", self.up.controller())));
                self.handle(Input::Connected);
            }
            Wire::Frame(bytes) => {
                if let Some(dialled) = &mut self.dialled {
                    dialled.heard = Instant::now();
                }
                match serde_json::from_slice::<Frame>(&bytes) {
                    Ok(frame) => self.handle(Input::Frame(frame)),
                    Err(error) => {
                        let what = format!(
                            "the controller says what cannot be read: {error}; is it newer than this site?"
                        );
                        self.find("frame-not-read", &what);
                    }
                }
            }
            Wire::Down(error) => self.cut(&error),
            Wire::Acked(ack, done) => {
                self.still(|dialled| dialled.acking = false);
                match done {
                    Ok(()) => self.handle(Input::Acked(ack)),
                    Err(error) => self.ack_at = self.later(look, &error),
                }
            }
            Wire::Sent(done) => {
                self.still(|dialled| dialled.sending = false);
                match done {
                    Ok(taken) => self.taken(taken.number),
                    Err(error) => {
                        self.send_at = self.later(look, &error);
                        if let LineError::Refused { status, .. } = error
                            && status != 429
                        {
                            self.find("observations-refused", &error.to_string());
                        }
                    }
                }
            }
            Wire::Carried(done) => {
                self.still(|dialled| dialled.carrying = false);
                match done {
                    Ok(()) => {
                        self.traffic.taken();
                        self.over("traffic-refused");
                        // What waited while the line was cut goes at once.
                        if !self.traffic.is_full() {
                            self.traffic_at = self.traffic_due(look);
                        }
                    }
                    Err(error) => {
                        self.traffic_at = self.later(look, &error).max(self.traffic_due(look));
                        if let LineError::Refused { status, .. } = error
                            && status != 429
                        {
                            // An older controller has no such place, and will never take it.
                            self.traffic.taken();
                            self.find("traffic-refused", &error.to_string());
                        }
                    }
                }
            }
            Wire::Renewed(done) => {
                self.still(|dialled| dialled.renewing = false);
                self.renewed(look, done);
            }
        }
    }

    fn still(&mut self, change: impl FnOnce(&mut Dialled)) {
        if let Some(dialled) = &mut self.dialled {
            change(dialled);
        }
    }

    /// When to try again what was refused, by running time.
    fn later(&self, look: Look, error: &LineError) -> i64 {
        let said = match error {
            LineError::Refused { retry_after_s: Some(seconds), .. } => *seconds,
            _ => u64::from(self.up.config.timing.refused_s),
        };
        let seconds = i64::try_from(said.clamp(1, LATER_S_MAX)).unwrap_or(1);
        look.running_nanos.saturating_add(seconds.saturating_mul(1_000_000_000))
    }

    fn taken(&mut self, number: u64) {
        let events = self.up.outbox.head().sending.as_ref().map_or(0, |batch| batch.events.len());
        match self.up.outbox.taken(number) {
            Settled::Other => return,
            Settled::Taken => self.over("observations-refused"),
            Settled::Renumbered => {
                let what = format!(
                    "the controller has batch {number} of this site, which its state directory does not know: numbering goes on after it; what is told from now on may have been told before"
                );
                self.find("outbox-behind", &what);
            }
        }
        self.settled = self.settled.saturating_add(events);
        if let Err(error) = self.up.keep.save_head(self.up.outbox.head()) {
            // It is sent again after a crash, under the same number.
            self.find("line-not-kept", &error.to_string());
            return;
        }
        let left = self.up.outbox.events().count();
        // Written anew when half of it is over: all in all, every event is written twice.
        if self.settled >= left && self.up.keep.events_bytes() > 0 {
            self.settled = 0;
            if let Err(error) = self.up.keep.replace_events(self.up.outbox.events()) {
                self.find("line-not-kept", &error.to_string());
            }
        }
    }

    fn renewed(&mut self, look: Look, done: Result<Chain, LineError>) {
        self.renew_again = look.running_nanos.saturating_add(renew::AGAIN_NANOS);
        let enrolled = &self.up.enrolled;
        let kept = done.map_err(|error| error.to_string()).and_then(|chain| {
            let (joined, root) = (enrolled.joined.clone(), enrolled.root.clone());
            let kept = self.up.keep.enrol(joined, &chain.pem, root);
            kept.map_err(|error| error.to_string())
        });
        match kept {
            Ok(enrolled) => {
                self.over("certificate-not-renewed");
                self.renew_at = renew::due(enrolled.not_before, enrolled.not_after, random());
                self.say(Said::Tell(format!(
                    "the certificate was renewed, until {}",
                    enrolled.not_after
                )));
                self.up.enrolled = enrolled;
                // The next line shows the new one, so that the one before can be forgotten.
                self.down(look);
                self.dial_at = i64::MIN;
                self.handle(Input::Cut { why: "it shows its new certificate".to_owned() });
            }
            Err(why) => {
                let until = self.up.enrolled.not_after;
                let what =
                    format!("the certificate is good until {until} and was not renewed: {why}");
                self.find("certificate-not-renewed", &what);
            }
        }
    }

    fn cut(&mut self, error: &LineError) {
        let look = self.look();
        self.down(look);
        if let LineError::Refused { .. } = error {
            let what = format!("{error}; is this site known there, and not revoked?");
            self.find("line-refused", &what);
        }
        if self.up.state.connected().0 {
            self.say(Said::Tell(format!(
                "the line to {} is cut: {error}; what is enforced goes on",
                self.up.controller()
            )));
        }
        self.handle(Input::Cut { why: error.to_string() });
    }

    /// Whatever is there of a connection goes.
    fn down(&mut self, look: Look) {
        self.dialled = None;
        let pause = self.redial.down(look.running_nanos, random());
        self.dial_at = look.running_nanos.saturating_add(pause);
    }

    /// Starts what is due.
    fn move_on(&mut self) {
        let look = self.look();
        let running = look.running_nanos;
        let Some(dialled) = &self.dialled else {
            if running >= self.dial_at {
                self.dial(look);
            }
            return;
        };
        let silence = self.up.config.timing.silence;
        if dialled.client.is_some() && dialled.heard.elapsed() > silence {
            let why = format!("nothing was heard for {} s", silence.as_secs());
            self.cut(&LineError::Http(why));
            return;
        }
        let Some(client) = dialled.client.clone() else {
            return;
        };
        if !dialled.acking && running >= self.ack_at {
            let due = self.up.state.acks_due();
            if let Some(ack) = due.into_iter().next() {
                self.still(|dialled| dialled.acking = true);
                self.beside(client.clone(), async move |client| {
                    let sent = post(client, "/site/v1/acks", &ack).await.map(drop);
                    Wire::Acked(ack, sent)
                });
            }
        }
        self.send(running, client.clone());
        self.carry(running, client.clone());
        self.renew(look, client);
    }

    fn traffic_due(&self, look: Look) -> i64 {
        let every = i64::from(self.up.config.timing.traffic_every_s);
        look.running_nanos.saturating_add(every.saturating_mul(1_000_000_000))
    }

    fn carry(&mut self, running: i64, client: Client) {
        let is_busy = self.dialled.as_ref().is_none_or(|dialled| dialled.carrying);
        if is_busy || running < self.traffic_at {
            return;
        }
        let Some(report) = self.traffic.report() else {
            return;
        };
        // Numbers and names: it can always be written.
        let packed = serde_json::to_vec(report).unwrap_or_default();
        let packed = zstd::encode_all(packed.as_slice(), LEVEL).unwrap_or_default();
        self.still(|dialled| dialled.carrying = true);
        self.beside(client, async move |mut client| {
            let sent = client.post("/site/v1/traffic", "application/zstd", packed).await;
            Wire::Carried(sent.map(drop))
        });
    }

    fn send(&mut self, running: i64, client: Client) {
        let is_busy = self.dialled.as_ref().is_none_or(|dialled| dialled.sending);
        let every = i64::from(self.up.config.timing.seen_every_s).saturating_mul(1_000_000_000);
        let due = match self.up.outbox.ready() {
            None => false,
            Some(Ready::Happened) => true,
            Some(Ready::Seen) => running >= self.seen_at.saturating_add(every),
        };
        if is_busy || !due || running < self.send_at {
            return;
        }
        let Some((batch, new)) = self.up.outbox.batch() else {
            return;
        };
        let packed = serde_json::to_vec(batch).map_err(std::io::Error::other);
        let packed = packed.and_then(|text| zstd::encode_all(text.as_slice(), LEVEL));
        let kept = if new { self.up.keep.save_head(self.up.outbox.head()) } else { Ok(()) };
        let packed = match (packed, kept) {
            (Ok(packed), Ok(())) => packed,
            (packed, kept) => {
                // Not durable, not sent.
                self.up.outbox.not_sent();
                self.send_at = running.saturating_add(every.max(1_000_000_000));
                let why = kept.err().map(|error| error.to_string());
                let why = why.or(packed.err().map(|error| error.to_string()));
                self.find("line-not-kept", &why.unwrap_or_default());
                return;
            }
        };
        self.seen_at = running;
        self.still(|dialled| dialled.sending = true);
        self.beside(client, async move |mut client| {
            let kind = "application/zstd";
            let sent = client.post("/site/v1/observations", kind, packed).await;
            Wire::Sent(sent.and_then(|answer| read(&answer)))
        });
    }

    fn renew(&mut self, look: Look, client: Client) {
        let is_busy = self.dialled.as_ref().is_none_or(|dialled| dialled.renewing);
        let due = self.up.state.reckoning().here(look.wall) >= self.renew_at;
        if is_busy || !due || look.running_nanos < self.renew_again {
            return;
        }
        let enrolled = &self.up.enrolled;
        let subject = Subject {
            estate: enrolled.identity.estate.clone(),
            id: enrolled.identity.id.clone(),
            hosts: Vec::new(),
            addresses: Vec::new(),
        };
        let csr = match join::csr(subject, enrolled.credentials.key.as_ref()) {
            Ok(csr) => csr,
            Err(why) => {
                self.renewed(look, Err(LineError::Answer(why)));
                return;
            }
        };
        self.still(|dialled| dialled.renewing = true);
        self.beside(client, async move |client| {
            let chain = post(client, "/site/v1/renew", &Renew { csr }).await;
            Wire::Renewed(chain.and_then(|answer| read(&answer)))
        });
    }

    /// Does something that takes time, and hears of it when it is done.
    fn beside<F>(&self, client: Client, work: impl FnOnce(Client) -> F + Send + 'static)
    where
        F: Future<Output = Wire> + Send,
    {
        let (Some(wire), Some(dialled)) = (self.wire.clone(), &self.dialled) else {
            return;
        };
        let number = dialled.number;
        tokio::spawn(async move {
            let done = work(client).await;
            let _ = wire.send((number, done)).await; // The loop has ended.
        });
    }

    fn dial(&mut self, look: Look) {
        let Some(wire) = self.wire.clone() else {
            return;
        };
        let enrolled = &self.up.enrolled;
        let floor_nanos = Arc::clone(&self.floor_nanos);
        let clock = Arc::clone(&self.up.config.clock);
        let clock = Arc::new(TlsClock { clock, floor_nanos });
        let config = tls::client(vec![enrolled.root.clone()], Some(&enrolled.credentials), clock);
        let here = self.up.state.reckoning().here(look.wall);
        if here > enrolled.not_after {
            let what = format!(
                "the certificate of this site ended at {}: `ringfence site join` with a new token of the controller gets another one",
                enrolled.not_after
            );
            self.find("certificate-ended", &what);
        }
        let config = match config {
            Ok(config) => config,
            Err(error) => return self.cut(&LineError::Setup(error)),
        };
        let address = self.up.controller().to_owned();
        let (held, content) = self.up.state.held();
        let path = format!("/site/v1/bundles?held={held}&content={content}&lists=1");
        let pings = self.up.config.timing.pings;
        self.dials = self.dials.wrapping_add(1);
        let number = self.dials;
        let reader = tokio::spawn(async move {
            let error = match listen(&address, config, pings, &path, number, &wire).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            let _ = wire.send((number, Wire::Down(error))).await; // The loop has ended.
        });
        self.dialled = Some(Dialled {
            number,
            reader: reader.abort_handle(),
            connection: None,
            client: None,
            heard: Instant::now(),
            acking: false,
            sending: false,
            carrying: false,
            renewing: false,
        });
    }

    fn publish(&mut self) {
        let state = &self.up.state;
        let last = state.progress();
        if let Some(ack) = &last {
            if ack.progress >= Progress::Applied {
                self.applied = self.applied.max(ack.generation);
            }
            if ack.progress == Progress::Verified {
                self.verified = self.verified.max(ack.generation);
            }
        }
        let refused = last.filter(|ack| ack.progress == Progress::Refused);
        let (connected, since, why) = state.connected();
        let line = Line {
            controller: self.up.controller().to_owned(),
            connected,
            since,
            why: if connected { String::new() } else { why.to_owned() },
            leases_until: state.reckoning().kept().until,
            offered: state.floor(),
            applied: self.applied,
            verified: self.verified,
            refused: refused.map_or(String::new(), |ack| ack.why),
            variant: state.variant().map(|(_, variant)| variant),
            outbox: self.up.outbox.waiting(),
            lost: self.up.outbox.lost().0,
            certificate_until: self.up.enrolled.not_after,
        };
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = line;
    }
}

/// Connects, asks for bundles, and hands on frames for as long as the line holds.
async fn listen(
    address: &str,
    config: Arc<tls::rustls::ClientConfig>,
    pings: client::Pings,
    path: &str,
    number: u64,
    wire: &mpsc::Sender<(u64, Wire)>,
) -> Result<std::convert::Infallible, LineError> {
    use http_body_util::BodyExt as _;
    let ends = || LineError::Http("the controller ended it".to_owned());
    let up = client::connect(address, config, pings).await?;
    let mut client = up.client;
    let connection = up.ended.abort_handle();
    let mut body = client.get(path).await?;
    wire.send((number, Wire::Up(client, connection))).await.map_err(|_| ends())?;
    let mut reader = FrameReader::new(FRAME_BYTES_MAX);
    loop {
        let Some(piece) = body.frame().await else {
            return Err(ends());
        };
        let piece = piece.map_err(|error| LineError::Http(error.to_string()))?;
        let Ok(bytes) = piece.into_data() else {
            continue;
        };
        let frames = reader.take(&bytes).map_err(|error| LineError::Answer(error.to_string()))?;
        for frame in frames {
            wire.send((number, Wire::Frame(frame))).await.map_err(|_| ends())?;
        }
    }
}

async fn post(
    mut client: Client,
    path: &str,
    document: &impl serde::Serialize,
) -> Result<hyper::body::Bytes, LineError> {
    let body =
        serde_json::to_vec(document).map_err(|error| LineError::Answer(error.to_string()))?;
    client.post(path, "application/json", body).await
}

fn read<T: serde::de::DeserializeOwned>(answer: &[u8]) -> Result<T, LineError> {
    serde_json::from_slice(answer).map_err(|error| LineError::Answer(error.to_string()))
}

/// For pauses, which are only guessed to annoy.
fn random() -> u64 {
    let mut bytes = [0; 8];
    match crypto::random(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => u64::MAX,
    }
}
