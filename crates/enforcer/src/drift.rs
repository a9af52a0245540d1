//! Keeps the fence what it was made: changes by others are noticed as they happen, named, undone
//! where they touch what is ours, and reported where a rule of theirs leads around it.
//!
//! The kernel tells every change of nf_tables and the process that made it. [`Watch`] listens and
//! sorts; [`Guard`] acts: it puts the intended rules back and never touches objects of others.
//!
//! When events are lost (the kernel says so, or the number of the last transaction is not the one
//! that was told last) everything is looked at again, and that is told as well.
//!
//! An owned table cannot be changed by others while its owner lives: the kernel refuses them, and
//! nothing is heard here. After the owner's death, and on kernels without owned tables, this is
//! what keeps it.

mod event;
mod foreign;
mod settings;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use event::{Act, Change, Generation, Object};
pub use foreign::{Bypass, Does, Foreign, scan};
pub use settings::{Changed, Expected};

use crate::EnforceError;
use crate::netlink::{Message, NetlinkError, Place, Protocol, Socket};
use event::Event;

/// `NFNLGRP_NFTABLES`.
const GROUP: u32 = 7;
/// `NFT_MSG_GETGEN`.
const GET_GENERATION: u16 = u16::from_be_bytes([event::SUBSYSTEM, 16]);
/// Events of a large transaction of ours must fit: a million elements are some 100 MB; what does
/// not fit is an overrun, which costs one look at everything.
const BUFFER_BYTES: usize = 8 << 20;
/// Changes kept of one transaction; the rest is counted.
const CHANGES_MAX: usize = 32;
/// Datagrams read in one go, so that a flood of changes cannot keep the guard from acting.
const DATAGRAMS_MAX: usize = 4_096;

/// Reads a message as each listener here would.
pub(crate) fn read_any(message: &Message<'_>) {
    let _ = event::read(message);
    let _ = foreign::read_any(message);
}

/// A transaction of somebody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// Process id; 0 where the kernel did not say.
    pub pid: u32,
    /// Name of the program.
    pub process: String,
    /// What was changed, in order, without repetitions.
    pub changes: Vec<Change>,
    /// Changes that are not listed.
    pub more: usize,
    /// It touched a table of ours.
    pub ours: bool,
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let process = if self.process.is_empty() { "an unknown process" } else { &self.process };
        write!(f, "{process} (pid {}) ", self.pid)?;
        for (n, change) in self.changes.iter().enumerate() {
            write!(f, "{}{change}", if n == 0 { "" } else { ", " })?;
        }
        if self.changes.is_empty() {
            write!(f, "changed nf_tables")?;
        }
        if self.more > 0 {
            write!(f, " and {} more", self.more)?;
        }
        Ok(())
    }
}

/// What was heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Transactions of others, in order.
    pub outside: Vec<Outside>,
    /// Transactions of this process.
    pub own: usize,
    /// Events were lost.
    pub lost: bool,
}

/// Hears every change of nf_tables in one network namespace.
#[derive(Debug)]
pub struct Watch {
    events: Socket,
    asks: Socket,
    table: String,
    own_pid: u32,
    own_ports: BTreeSet<u32>,
    /// Of the transaction whose end has not come yet.
    open: Outside,
    open_is_own: bool,
    /// Number of the last transaction that was heard of.
    last: u32,
}

impl Watch {
    /// Hears from now on. `table` is the name of our tables (families `inet` and `bridge`);
    /// changes by process `own_pid` are our own.
    pub fn open(place: &Place, table: &str, own_pid: u32) -> Result<Self, NetlinkError> {
        let mut events = Socket::open(Protocol::Netfilter, place)?;
        events.buffers(1 << 16, BUFFER_BYTES)?;
        events.join(GROUP)?;
        let asks = Socket::open(Protocol::Netfilter, place)?;
        let mut out = Self {
            events,
            asks,
            table: table.to_owned(),
            own_pid,
            own_ports: BTreeSet::new(),
            open: Outside::default(),
            open_is_own: false,
            last: 0,
        };
        out.last = out.generation()?.id;
        Ok(out)
    }

    /// Changes sent from this netlink port are our own too: those of other threads than the first,
    /// and where processes are numbered otherwise than in the kernel's first process namespace
    /// (containers).
    pub fn is_own_port(&mut self, port: u32) {
        self.own_ports.insert(port);
    }

    /// The last transaction and who sent it: one question, whatever the size of the rules.
    pub fn generation(&mut self) -> Result<Generation, NetlinkError> {
        let mut out = None;
        self.asks.get(
            GET_GENERATION,
            |e| e.netfilter(0, 0),
            |message| {
                out = event::generation(&message).or(out.take());
            },
        )?;
        out.ok_or(NetlinkError::Unreadable("no generation id"))
    }

    /// Waits for changes at most `timeout`, then hears all that are there.
    ///
    /// When nothing came, the number of the last transaction is compared: a change that was not
    /// told is an event that was lost.
    pub fn hear(&mut self, timeout: Duration) -> Result<Heard, NetlinkError> {
        let mut heard = Heard::default();
        let mut wait = timeout;
        for _ in 0..DATAGRAMS_MAX {
            match self.datagram(wait, &mut heard) {
                Ok(true) => wait = Duration::ZERO,
                Ok(false) => break,
                Err(NetlinkError::Lost) => {
                    heard.lost = true;
                    wait = Duration::ZERO;
                }
                Err(error) => return Err(error),
            }
        }
        if heard.lost {
            self.forget();
            self.last = self.generation()?.id;
        } else if heard == Heard::default() {
            self.compare(&mut heard)?;
        }
        Ok(heard)
    }

    fn datagram(&mut self, wait: Duration, heard: &mut Heard) -> Result<bool, NetlinkError> {
        let Self { events, table, own_pid, own_ports, open, open_is_own, last, .. } = self;
        events.events(wait, |message| {
            *open_is_own |= own_ports.contains(&message.port);
            match event::read(&message) {
                Some(Event::Change(change)) => note(open, change, table),
                Some(Event::End(generation)) => {
                    *last = generation.id;
                    let mut outside = std::mem::take(open);
                    let own = std::mem::take(open_is_own) || generation.pid == *own_pid;
                    (outside.pid, outside.process) = (generation.pid, generation.process);
                    if own {
                        heard.own += 1;
                    } else {
                        heard.outside.push(outside);
                    }
                }
                None => {}
            }
        })
    }

    /// Nothing was heard: was nothing changed?
    fn compare(&mut self, heard: &mut Heard) -> Result<(), NetlinkError> {
        let now = self.generation()?;
        if now.id == self.last {
            return Ok(());
        }
        // It may just have happened: its events are on their way.
        if self.datagram(Duration::from_millis(50), heard)? || now.pid == self.own_pid {
            self.last = self.last.max(now.id);
            return Ok(());
        }
        self.last = now.id;
        heard.lost = true;
        Ok(())
    }

    fn forget(&mut self) {
        self.open = Outside::default();
        self.open_is_own = false;
    }
}

fn note(open: &mut Outside, change: Change, table: &str) {
    open.ours |= change.table == table && matches!(change.family.as_str(), "inet" | "bridge");
    if open.changes.last() == Some(&change) {
        // Elements of one set come one by one.
    } else if open.changes.len() < CHANGES_MAX {
        open.changes.push(change);
    } else {
        open.more += 1;
    }
}

/// What the guard has to tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "drift", rename_all = "kebab-case")]
pub enum Finding {
    /// Somebody changed our rules.
    Changed {
        /// Who and what.
        by: Outside,
        /// They are as they were, read back.
        restored: bool,
        /// Why they are not; empty where they are.
        why: String,
        /// From the moment it was heard of until the rules were back, milliseconds.
        took_ms: u64,
    },
    /// Events were lost; everything was looked at.
    Overrun {
        /// Ours are as they must be, read back.
        restored: bool,
        /// Why they are not; empty where they are.
        why: String,
    },
    /// A rule of somebody else leads around the fence. It is theirs: it stays.
    Bypass {
        /// What.
        what: Bypass,
        /// Who made it, where that was heard.
        by: Option<Outside>,
    },
    /// There are more such rules than are reported.
    MoreBypasses,
    /// A setting that keeps neighbours apart was changed.
    Setting {
        /// Which.
        what: Changed,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |f: &mut fmt::Formatter<'_>, restored: bool, why: &str| {
            if restored { write!(f, "; put back") } else { write!(f, "; NOT put back: {why}") }
        };
        match self {
            Self::Changed { by, restored, why, took_ms } => {
                write!(f, "{by}")?;
                end(f, *restored, why)?;
                write!(f, " ({took_ms} ms)")
            }
            Self::Overrun { restored, why } => {
                write!(f, "changes came faster than they could be read; everything was compared")?;
                end(f, *restored, why)
            }
            Self::Bypass { what, by } => {
                write!(f, "{what}")?;
                by.as_ref()
                    .map_or(Ok(()), |by| write!(f, "; made by {} (pid {})", by.process, by.pid))
            }
            Self::MoreBypasses => write!(f, "more rules lead around the fence than are listed"),
            Self::Setting { what } => write!(f, "{what}"),
        }
    }
}

/// Puts back what others change, and tells.
#[derive(Debug)]
pub struct Guard {
    watch: Watch,
    place: Place,
    table: String,
    expected: Expected,
    /// Reported already, so that each is told once.
    bypasses: BTreeSet<Bypass>,
    settings: BTreeSet<Changed>,
    told_more: bool,
    /// Foreign rules were changed since they were last looked at.
    look: Option<Outside>,
    first: bool,
}

impl Guard {
    /// Begins to watch `table` in `place`, and the settings of `expected`.
    pub fn open(
        place: &Place,
        table: &str,
        own_pid: u32,
        expected: Expected,
    ) -> Result<Self, NetlinkError> {
        Ok(Self {
            watch: Watch::open(place, table, own_pid)?,
            place: place.clone(),
            table: table.to_owned(),
            expected,
            bypasses: BTreeSet::new(),
            settings: BTreeSet::new(),
            told_more: false,
            look: None,
            first: true,
        })
    }

    /// What the guard listens with.
    pub fn watch(&mut self) -> &mut Watch {
        &mut self.watch
    }

    /// Waits at most `timeout`, and acts on what happened. Called again and again; with a timeout
    /// of half a second or less, a change is undone within a second.
    ///
    /// `restore` puts the intended rules in force and reads them back; it is called once, however
    /// many changes there were, and only when ours were touched or may have been.
    ///
    /// # Errors
    /// When the kernel cannot be heard at all. A restoration that fails is a finding.
    pub fn step(
        &mut self,
        timeout: Duration,
        restore: &mut dyn FnMut() -> Result<(), EnforceError>,
    ) -> Result<Vec<Finding>, NetlinkError> {
        let timeout = if self.first { Duration::ZERO } else { timeout };
        let heard = self.watch.hear(timeout)?;
        let begin = crate::clock::now();
        let (touched, foreign): (Vec<_>, Vec<_>) = heard.outside.into_iter().partition(|o| o.ours);
        let mut out = Vec::new();
        if heard.lost || !touched.is_empty() {
            let (restored, why) = match restore() {
                Ok(()) => (true, String::new()),
                Err(error) => (false, error.to_string()),
            };
            let took_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
            if heard.lost {
                out.push(Finding::Overrun { restored, why: why.clone() });
            }
            out.extend(touched.into_iter().map(|by| Finding::Changed {
                by,
                restored,
                why: why.clone(),
                took_ms,
            }));
        }
        if self.first || heard.lost || !foreign.is_empty() {
            self.first = false;
            self.look = foreign.into_iter().next_back();
            self.bypasses(&mut out)?;
        }
        self.settings(&mut out)?;
        Ok(out)
    }

    fn bypasses(&mut self, out: &mut Vec<Finding>) -> Result<(), NetlinkError> {
        let found = scan(&mut self.watch.asks, &self.table)?;
        let by = self.look.take();
        let made = |what: &Bypass| {
            let table =
                |change: &Change| change.family == what.family && change.table == what.table;
            by.as_ref().filter(|by| by.more > 0 || by.changes.iter().any(table)).cloned()
        };
        for what in found.found.difference(&self.bypasses) {
            out.push(Finding::Bypass { what: what.clone(), by: made(what) });
        }
        if found.more && !self.told_more {
            out.push(Finding::MoreBypasses);
        }
        // What went away is told again when it comes back.
        (self.bypasses, self.told_more) = (found.found, found.more);
        Ok(())
    }

    fn settings(&mut self, out: &mut Vec<Finding>) -> Result<(), NetlinkError> {
        if self.expected == Expected::default() {
            return Ok(());
        }
        let changed: BTreeSet<Changed> = self.expected.check(&self.place)?.into_iter().collect();
        let new = changed.difference(&self.settings);
        out.extend(new.map(|what| Finding::Setting { what: what.clone() }));
        self.settings = changed;
        Ok(())
    }
}
