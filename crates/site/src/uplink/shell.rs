//! The thread of the line: one connection, its frames, and what is posted on it; clocks and files for [`super::state`] and
//! [`super::outbox`]. It decides nothing by itself.

mod task;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use model::line::Happened;
use model::{SiteId, Timestamp};
use tokio::sync::mpsc;

use super::client::Pings;
use super::keep::{Enrolled, Keep, KeepError};
use super::lists::{self, Lists};
use super::outbox::Outbox;
use super::reckon::Look;
use super::state::{Bundles, State};
use super::words::{Line, Said, Told};
use crate::journal;
use crate::store::StoreError;

use task::Task;

/// The clocks of a machine.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// What they show.
    fn look(&self) -> Look;
}

/// The clocks of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineClock;

impl Clock for MachineClock {
    fn look(&self) -> Look {
        // It goes on while the machine sleeps.
        let running = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let nanos = running.tv_sec.saturating_mul(1_000_000_000).saturating_add(running.tv_nsec);
        Look { wall: crate::shell::now(), running_nanos: nanos }
    }
}

/// How patient a line is.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between two looks at the clocks.
    pub tick: Duration,
    /// Pings on the connection.
    pub pings: Pings,
    /// A line on which no frame came for so long is given up: leases come every minute.
    pub silence: Duration,
    /// Devices wait so long for others before they are told of, in seconds.
    pub seen_every_s: u32,
    /// Traffic waits so long for more before it is told of, in seconds.
    pub traffic_every_s: u32,
    /// Where the controller refuses something without saying when to try again, in seconds.
    pub refused_s: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(200),
            pings: Pings::default(),
            silence: Duration::from_secs(200),
            seen_every_s: 10,
            traffic_every_s: 60,
            refused_s: 30,
        }
    }
}

/// How a line is run.
#[derive(Clone, Debug)]
pub struct Config {
    /// State directory of the site.
    pub state: PathBuf,
    /// Directory for lists of revoked certificates; none: `lists` in the state directory.
    pub lists: Option<PathBuf>,
    /// Clocks.
    pub clock: Arc<dyn Clock>,
    /// How patient it is.
    pub timing: Timing,
}

/// A line that is ready to be started: everything was read.
#[derive(Debug)]
pub struct Uplink {
    config: Config,
    keep: Keep,
    enrolled: Enrolled,
    state: State,
    outbox: Outbox,
    lists: Lists,
    /// What could not be read, in words.
    damaged: Vec<String>,
}

/// A running line, as the site's loop has it.
#[derive(Clone, Debug)]
pub struct Handle {
    told: mpsc::Sender<Told>,
    line: Arc<Mutex<Line>>,
}

/// What the site says and the line has not taken up yet.
const TOLD_MAX: usize = 8_192;

impl Uplink {
    /// Reads what was kept. `journal`: the last line of the site's journal; what is before a site's first line is not told.
    pub fn open(config: Config, journal: u64) -> Result<Self, KeepError> {
        let keep = Keep::open(&config.state)?;
        let enrolled = keep.enrolled()?;
        let mut damaged = Vec::new();
        let bundles = or_none(keep.bundles(), &mut damaged).unwrap_or_default();
        let mark = or_none(keep.mark(), &mut damaged).flatten();
        let head = or_none(keep.head(), &mut damaged).unwrap_or_default();
        let events = or_none(keep.events(), &mut damaged).unwrap_or_default();
        let state = State::new(bundles, mark, config.clock.look());
        let mut outbox = Outbox::new(head, events);
        outbox.begin_after(journal);
        let lists = config.lists.clone();
        let lists = Lists::new(lists.unwrap_or_else(|| config.state.join(lists::FOLDER)));
        Ok(Self { config, keep, enrolled, state, outbox, lists, damaged })
    }

    /// Which site this is.
    pub const fn site(&self) -> &SiteId {
        &self.enrolled.joined.site
    }

    /// Where the controller is.
    pub fn controller(&self) -> &str {
        &self.enrolled.joined.controller
    }

    /// The bundles that are there.
    pub const fn bundles(&self) -> &Bundles {
        self.state.bundles()
    }

    /// Starts the thread; what it says goes to `said`, until `stop`.
    pub fn start<T: From<Said> + Send + 'static>(
        self,
        stop: Arc<AtomicBool>,
        said: Sender<T>,
    ) -> io::Result<Handle> {
        let (told, heard) = mpsc::channel(TOLD_MAX);
        let line = Arc::new(Mutex::new(self.first_line()));
        let shared = Arc::clone(&line);
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build()?;
        let said = Box::new(move |what| said.send(T::from(what)).is_ok());
        let builder = thread::Builder::new().name("uplink".to_owned());
        builder.spawn(move || {
            let mut task = Task::new(self, shared, said);
            runtime.block_on(task.run(heard, &stop));
            // Names that are still being looked up do not keep the process.
            runtime.shutdown_background();
        })?;
        Ok(Handle { told, line })
    }

    fn first_line(&self) -> Line {
        Line {
            controller: self.controller().to_owned(),
            connected: false,
            since: self.config.clock.look().wall,
            why: "not connected yet".to_owned(),
            leases_until: None,
            offered: self.state.floor(),
            applied: 0,
            verified: 0,
            refused: String::new(),
            variant: None,
            outbox: self.outbox.waiting(),
            lost: 0,
            certificate_until: self.enrolled.not_after,
        }
    }
}

fn or_none<T>(read: Result<T, StoreError>, damaged: &mut Vec<String>) -> Option<T> {
    read.map_err(|error| damaged.push(error.to_string())).ok()
}

impl Handle {
    /// Says something to the line, without waiting; `false`: it has too much to do, or is gone.
    pub fn tell(&self, told: Told) -> bool {
        self.told.try_send(told).is_ok()
    }

    /// How it stands.
    pub fn line(&self) -> Line {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A line of the site's journal, as it is told.
pub(crate) fn happened(at: Timestamp, entry: &crate::life::Entry) -> Happened {
    let mut what = Vec::new();
    what.extend((!entry.reason.is_empty()).then(|| entry.reason.clone()));
    what.extend((!entry.by.is_empty()).then(|| format!("by {}", entry.by)));
    what.extend(entry.until.map(|until| format!("until {until}")));
    what.extend(entry.generation.map(|generation| format!("generation {generation} here")));
    Happened { at, kind: entry.event.clone(), subject: entry.zone.clone(), what: what.join(", ") }
}

/// Lines of the journal after this one; what cannot be read is not told here: the site itself has checked it.
fn journal_after(state: &std::path::Path, after: u64) -> Vec<journal::Line> {
    let lines = journal::check(&state.join("journal.jsonl")).map(|checked| checked.lines);
    lines.unwrap_or_default().into_iter().filter(|line| line.seq > after).collect()
}
