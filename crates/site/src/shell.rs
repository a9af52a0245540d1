//! The process of a site: the loop around [`crate::life`], and the order in which a site comes up.
//!
//! Containment, then the rules, then their read-back; then the sensor, the control socket, and the
//! clock. Whatever fails on the way leaves the fence that was there standing.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use enforcer::Options;
use enforcer::contain::Method;
use enforcer::drift::{Expected, Guard};
use enforcer::netlink::Place;
use enforcer::runner::Runner;
use model::{Mac, Timestamp};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::{self, SettingsError};
use crate::control::{self, Answer, Asked, Request};
use crate::engine::Engine;
use crate::folder::{self, Accepted, FolderError};
use crate::life::Event;
use crate::point::Point;
use crate::prepare::{self, PrepareError};
use crate::privileges::{self, PrivilegeError};
use crate::record;
use crate::resolve::{self, Names, Resolver};
use crate::sense::{self, Carried, Seen, Sense};
use crate::store::{Store, StoreError};
use crate::uplink::keep::KeepError;
use crate::uplink::shell::{Clock, Uplink};
use crate::uplink::{self, Said};

/// How a site is run.
#[derive(Debug)]
pub struct Config {
    /// Where policy comes from.
    pub policy: Source,
    /// State directory.
    pub state: PathBuf,
    /// Name of our tables.
    pub table: String,
    /// Everything passes and is counted, whatever the folder says.
    pub all_shadow: bool,
    /// Roll the folder back unless confirmed within this many seconds.
    pub confirm_within_s: Option<u32>,
    /// Read the folder again when it changes.
    pub watch: bool,
    /// Clocks of the line to a controller.
    pub clock: Arc<dyn Clock>,
    /// NFLOG group that the rules log to.
    pub log_group: u16,
    /// How neighbours are contained; none: as it is.
    pub contain: Option<Method>,
    /// Directory for lists of revoked certificates; none: `lists` in the state directory.
    pub lists: Option<PathBuf>,
    /// The resolver for names in policy; none: such paths stay closed.
    pub names: Option<Names>,
    /// The sensor; it also has the interface and the site's name.
    pub sense: Sense,
}

/// Where policy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A folder on disk.
    Folder(PathBuf),
    /// The controller that this site has joined.
    Line,
}

/// Why a site does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder, and there is no earlier one to go on with.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// `site.toml`.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The line to a controller.
    #[error(transparent)]
    Line(#[from] KeepError),
    /// Containment.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Privileges.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// The enforcement point cannot even be read.
    #[error(transparent)]
    Enforce(#[from] enforcer::EnforceError),
    /// The sensor.
    #[error(transparent)]
    Sensor(#[from] sensor::capture::ring::RingError),
    /// The control socket or a signal.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// What reaches the loop.
#[derive(Debug)]
enum Message {
    Asked(Asked),
    Seen(Seen),
    Carried(Carried),
    Named(resolve::Told),
    Uplink(Said),
    Signal(i32),
}

impl From<Said> for Message {
    fn from(said: Said) -> Self {
        Self::Uplink(said)
    }
}

impl From<resolve::Told> for Message {
    fn from(told: resolve::Told) -> Self {
        Self::Named(told)
    }
}

impl From<Asked> for Message {
    fn from(asked: Asked) -> Self {
        Self::Asked(asked)
    }
}

impl From<Carried> for Message {
    fn from(carried: Carried) -> Self {
        Self::Carried(carried)
    }
}

impl From<Seen> for Message {
    fn from(seen: Seen) -> Self {
        Self::Seen(seen)
    }
}

/// Who asks for a folder where there is none.
const NO_FOLDER: &str =
    "this site takes its policy from the controller: there is no folder to read again";
/// Longest pause of the loop.
const TICK: Duration = Duration::from_millis(250);
/// Nanoseconds between two looks at the kernel's counters, the folder, and the bridge.
const LOOK_NANOS: i64 = 2_000_000_000;

/// Runs a site until it is told to stop; `told` gets what people should know, a line each.
pub fn run(
    config: Config,
    runner: &dyn Runner,
    point: &dyn Point,
    told: &mut dyn FnMut(&str),
) -> Result<(), RunError> {
    let store = Store::open(&config.state)?;
    let durable = store.load()?;
    let journal = store.journal()?;
    let interface = config.sense.interface.clone();
    let mut uplink = match config.policy {
        Source::Folder(_) => None,
        Source::Line => Some(open_line(&config, journal.last(), told)?),
    };
    let mut sense = config.sense;
    if let Some(uplink) = &uplink {
        // Its name is the controller's to say.
        sense.site = uplink.site().clone();
    }
    let first = match &config.policy {
        Source::Folder(path) => Some(folder::load(path)),
        Source::Line => None,
    };
    let settings = match &first {
        Some(Ok(accepted)) => settings(accepted)?,
        _ if durable.order.is_some() => match store.content(&content_of(&durable))? {
            Some(files) => settings_of(&files)?,
            None => config::Settings::default(),
        },
        _ => config::Settings::default(),
    };
    let first = match (first, &durable.order) {
        (Some(Err(error)), None) => {
            told(&format!("refused: {error}"));
            return Err(RunError::Folder(error));
        }
        (first, _) => first,
    };
    let mut survey = prepare::survey(runner, &interface)?;
    if let Some(method) = config.contain {
        for change in prepare::changes(&survey, method) {
            told(&format!("containment: {change}"));
        }
        let done = prepare::contain(runner, &survey, method)?;
        if store.read::<enforcer::contain::Isolated>(prepare::RECORD)?.is_none() {
            store.write(prepare::RECORD, &done)?;
        }
        survey = prepare::survey(runner, &interface)?;
    }
    let (sender, messages) = mpsc::channel();
    // Before privileges go: port 53 needs one that does not stay.
    let resolver = config.names.map(|names| {
        let file = store.file("names.json");
        Resolver::bind(names, &survey.addresses, file, sender.clone())
    });
    privileges::drop_to_kept()?;
    let kernel = point.read()?.generation;
    let mut options = Options::new(&interface, now());
    options.table.clone_from(&config.table);
    options.log_group = Some(config.log_group);
    let verdicts = store.file(record::FILE);
    let mut engine = Engine::new(
        store,
        journal,
        durable,
        settings,
        config.all_shadow,
        options,
        survey,
        sense.site.clone(),
    );
    engine.contain = config.contain;
    // What guards the containment's settings is this loop itself: it sees new ports too.
    let guard = Guard::open(&Place::here(), &config.table, std::process::id(), Expected::default());
    match guard {
        Ok(mut guard) => {
            // The kernel names the thread that made a change; the resolver's is another one than ours.
            guard.watch().is_own_port(point.port()?);
            engine.guard = Some(guard);
        }
        Err(error) => told(&format!("changes by others are found by reading back only: {error}")),
    }
    if let Some(mut resolver) = resolver {
        // After privileges went: its threads need none.
        if let Err(why) = resolver.start() {
            engine.note("resolver", "start", &why, told);
        }
        engine.resolver = Some(resolver);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let recording = record::Config {
        place: Place::here(),
        group: config.log_group,
        site: sense.site.clone(),
        file: verdicts,
    };
    let recorder = record::start(recording, Arc::clone(&stop), sender.clone());
    engine.recorder =
        Some(recorder.map_err(|source| RunError::Io { doing: "listen to verdicts", source })?);
    engine.handle(Event::Started { kernel }, runner, point, told);
    match first {
        Some(Ok(accepted)) => {
            engine.offer(accepted, false, config.confirm_within_s, runner, point, told);
        }
        Some(Err(error)) => engine.refused(&error, told),
        None => {}
    }
    if let Some(uplink) = uplink.take() {
        let line = uplink.start(Arc::clone(&stop), sender.clone());
        let line = line.map_err(|source| RunError::Io { doing: "start the line", source })?;
        engine.link(line);
    }
    signals(sender.clone())?;
    control::listen(&config.state, sender.clone())
        .map_err(|source| RunError::Io { doing: "listen on the control socket", source })?;
    sense::start(sense, Arc::clone(&stop), sender)?;
    told(&format!("running: {}", engine.line()));
    let ended = serve(&mut engine, &config.policy, config.watch, &messages, runner, point, told);
    stop.store(true, Ordering::SeqCst);
    engine.end(runner, told);
    ended
}

fn serve(
    engine: &mut Engine,
    policy: &Source,
    watch: bool,
    messages: &Receiver<Message>,
    runner: &dyn Runner,
    point: &dyn Point,
    told: &mut dyn FnMut(&str),
) -> Result<(), RunError> {
    let mut look = now();
    loop {
        let message = match messages.recv_timeout(TICK) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        match message {
            Some(Message::Seen(seen)) => engine.seen(seen, told),
            Some(Message::Carried(carried)) => engine.carried(carried),
            Some(Message::Named(named)) => engine.note(named.kind, &named.what, &named.what, told),
            Some(Message::Uplink(said)) => engine.said(said, runner, point, told),
            Some(Message::Signal(SIGHUP)) => match policy {
                Source::Folder(path) => {
                    engine.reload(path, true, None, runner, point, told);
                }
                Source::Line => told(NO_FOLDER),
            },
            Some(Message::Signal(_)) => return Ok(()),
            Some(Message::Asked(asked)) => {
                let ends = asked.request == Request::Stop;
                let answer = answer(engine, &asked, policy, runner, point, told);
                let _ = asked.answer.send(answer); // The asker may have lost patience.
                if ends {
                    return Ok(());
                }
            }
            None => {}
        }
        engine.guard(point, told);
        engine.fly(runner, point, told);
        engine.handle(Event::Tick, runner, point, told);
        if now() >= look {
            look = now().plus_nanos(LOOK_NANOS);
            engine.look(runner, point, told);
            if let (true, Source::Folder(path)) = (watch, policy) {
                engine.reload(path, false, None, runner, point, told);
            }
        }
        engine.tell_standing(told);
    }
}

fn answer(
    engine: &mut Engine,
    asked: &Asked,
    policy: &Source,
    runner: &dyn Runner,
    point: &dyn Point,
    told: &mut dyn FnMut(&str),
) -> Answer {
    let by = asked.by.as_str();
    let mut faults = Vec::new();
    let refused = match &asked.request {
        Request::Status | Request::Stop => None,
        Request::Reload { confirm_within_s } => match policy {
            Source::Folder(path) => {
                let refused = engine.reload(path, true, *confirm_within_s, runner, point, told);
                faults = refused.clone();
                (!refused.is_empty())
                    .then(|| "the policy folder is refused; what is enforced stays".to_owned())
            }
            Source::Line => Some(NO_FOLDER.to_owned()),
        },
        Request::Confirm => engine.ask(runner, point, told, |life, _| life.confirm(by)),
        Request::BreakGlass { zone, seconds, reason } => {
            engine.ask(runner, point, told, |life, now| {
                life.break_glass(now, zone, *seconds, reason, by)
            })
        }
        Request::EndBreakGlass { zone } => {
            engine.ask(runner, point, told, |life, now| life.end_break_glass(now, zone, by))
        }
        Request::Promote { zone } => {
            engine.ask(runner, point, told, |life, now| life.promote(now, zone, by))
        }
        Request::StepBack { zone, reason } => {
            engine.ask(runner, point, told, |life, now| life.step_back(now, zone, reason, by))
        }
    };
    Answer { refused, faults, status: Some(Box::new(engine.status(point))) }
}

fn signals(sender: Sender<Message>) -> Result<(), RunError> {
    let io = |doing| move |source| RunError::Io { doing, source };
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(io("listen to signals"))?;
    let builder = thread::Builder::new().name("signals".to_owned());
    let thread = builder.spawn(move || {
        for signal in signals.forever() {
            if sender.send(Message::Signal(signal)).is_err() {
                return;
            }
        }
    });
    thread.map(drop).map_err(io("listen to signals"))
}

fn content_of(durable: &crate::life::Durable) -> String {
    durable.order.as_ref().map_or_else(String::new, |order| order.content.clone())
}

fn settings(accepted: &Accepted) -> Result<config::Settings, SettingsError> {
    settings_of(&accepted.files)
}

/// The settings in a folder's files; all defaults where there is no `site.toml`.
pub fn settings_of(files: &folder::Files) -> Result<config::Settings, SettingsError> {
    files
        .get(config::FILE)
        .map_or_else(|| Ok(config::Settings::default()), |text| config::parse(text))
}

/// Reads what was kept of the line, and says what it starts with.
fn open_line(
    config: &Config,
    journal: u64,
    told: &mut dyn FnMut(&str),
) -> Result<Uplink, RunError> {
    let clock = Arc::clone(&config.clock);
    let state = config.state.clone();
    let (lists, timing) = (config.lists.clone(), uplink::shell::Timing::default());
    let line = uplink::shell::Config { state, lists, clock, timing };
    let uplink = Uplink::open(line, journal)?;
    told(&format!("site {} of the controller at {}", uplink.site(), uplink.controller()));
    let bundles = uplink.bundles();
    if bundles.current.is_none() && bundles.next.is_none() {
        told(
            "nothing came from the controller yet: what the kernel holds stays as it is until it does",
        );
    }
    Ok(uplink)
}

/// The present. The one place of this crate that reads the clock.
#[expect(clippy::disallowed_methods, reason = "the edge of the process")]
pub fn now() -> Timestamp {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        i64::from(since.subsec_nanos()),
    )
}

/// Link addresses of this machine on the interface.
pub(crate) fn own(survey: &prepare::Survey) -> BTreeSet<Mac> {
    survey.mac.parse().into_iter().collect()
}
