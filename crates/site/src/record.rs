//! What the kernel logs, named and written as lines of `verdicts.jsonl` (`ringfence.verdict/v1`).
//!
//! A thread of its own, so that a flood of denials does not hold up the loop. It is told of every
//! ruleset before that is put in force: whatever the kernel logs by it is named by it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;
use std::{io, thread};

use enforcer::EnforceError;
use enforcer::netlink::Place;
use enforcer::verdict::{Links, Log, Namer, Seen};
use model::SiteId;
use model::ruleset::Ruleset;
use model::verdict::Entry;
use policy::evaluate::Evaluator;

use crate::resolve::Told;
use crate::shell::now;
use crate::{canary, store};

/// Name of the file in the state directory.
pub(crate) const FILE: &str = "verdicts.jsonl";
/// Longest wait for records, and so for the end.
const PATIENCE: Duration = Duration::from_millis(200);
/// Looks for the end while the log belongs to another reader; between two tries.
const TRIES_APART: u32 = 25;

/// Where records go, and from where.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) place: Place,
    /// NFLOG group.
    pub(crate) group: u16,
    pub(crate) site: SiteId,
    /// `verdicts.jsonl`.
    pub(crate) file: PathBuf,
}

/// Tells the thread of rulesets.
#[derive(Debug)]
pub(crate) struct Recorder(Sender<Arc<Ruleset>>);

impl Recorder {
    /// Names by this one from now on.
    pub(crate) fn name_by(&self, ruleset: &Ruleset) {
        // The thread ends with the process; if it is gone, it has said why.
        let _ = self.0.send(Arc::new(ruleset.clone()));
    }
}

/// Starts the thread; it ends when `stop` is set.
pub(crate) fn start<T: From<Told> + Send + 'static>(
    config: Config,
    stop: Arc<AtomicBool>,
    told: Sender<T>,
) -> io::Result<Recorder> {
    let (sender, rulesets) = mpsc::channel();
    let work = move || {
        // The loop ends before this thread does.
        let tell = |kind, what| drop(told.send(T::from(Told { kind, what })));
        Writer { config, stop, lost: false, ahead: Vec::new() }.run(&rulesets, &tell);
    };
    thread::Builder::new().name("verdicts".to_owned()).spawn(work)?;
    Ok(Recorder(sender))
}

type Tell<'a> = &'a dyn Fn(&'static str, String);

struct Writer {
    config: Config,
    stop: Arc<AtomicBool>,
    /// The last lines could not be written.
    lost: bool,
    /// Read before a newer ruleset was known, to be named by it.
    ahead: Vec<Seen>,
}

impl Writer {
    fn run(&mut self, rulesets: &Receiver<Arc<Ruleset>>, tell: Tell<'_>) {
        let Some(mut log) = self.open(tell) else {
            return;
        };
        let mut before: Option<Arc<Ruleset>> = None;
        let mut newest = rulesets.recv().ok();
        while let Some(ruleset) = newest {
            newest = match self.follow(&mut log, &ruleset, before.as_deref(), rulesets, tell) {
                Ok(newer) => newer,
                Err(error) => {
                    tell("verdicts-not-heard", error.to_string());
                    return;
                }
            };
            before = Some(ruleset);
        }
    }

    /// The log, when nobody else reads it any more; none when the site ends.
    fn open(&self, tell: Tell<'_>) -> Option<Log> {
        let mut said = false;
        loop {
            match Log::open(&self.config.place, self.config.group) {
                Ok(log) => return Some(log),
                Err(error) if !said => {
                    said = true;
                    let what = format!("{error}; denials are counted, and not told one by one");
                    tell("verdicts-not-heard", what);
                }
                Err(_) => {}
            }
            for _ in 0..TRIES_APART {
                if self.ends() {
                    return None;
                }
                crate::wait::pause(PATIENCE);
            }
        }
    }

    /// Writes what is logged, until a newer ruleset comes; none when the site ends.
    fn follow(
        &mut self,
        log: &mut Log,
        ruleset: &Ruleset,
        before: Option<&Ruleset>,
        rulesets: &Receiver<Arc<Ruleset>>,
        tell: Tell<'_>,
    ) -> Result<Option<Arc<Ruleset>>, EnforceError> {
        let evaluator = Evaluator::new(ruleset);
        let mut namer = Namer::new(self.config.site.clone(), ruleset, &evaluator);
        if let Some(before) = before {
            namer.remember(before);
        }
        let mut seen = std::mem::take(&mut self.ahead);
        loop {
            let mut entries = Vec::new();
            for seen in seen.drain(..) {
                entries.extend(self.entry(&namer, &seen, log.links()));
            }
            self.write(&entries, tell);
            if self.ends() {
                return Ok(None);
            }
            let gap = log.read(PATIENCE, |record, _| seen.push(record.clone()))?;
            if let Some(gap) = gap {
                let lost = gap.line(now(), self.config.site.clone());
                tell("verdicts-lost", format!("{} records: {}", lost.records, lost.why));
                self.write(&[Entry::Lost(lost)], tell);
            }
            // A ruleset is told before it is in force, so what it logged comes after it.
            if let Some(newest) = rulesets.try_iter().last() {
                self.ahead = seen;
                return Ok(Some(newest));
            }
        }
    }

    fn entry(&self, namer: &Namer<'_>, seen: &Seen, links: &mut Links) -> Option<Entry> {
        let record = namer.name(seen, links, now())?;
        // Canaries stand for devices that sent nothing.
        let real = record.interface_in.as_deref() != Some(canary::PORT);
        real.then(|| Entry::Verdict(Box::new(record)))
    }

    fn write(&mut self, entries: &[Entry], tell: Tell<'_>) {
        match store::append(&self.config.file, entries) {
            Ok(()) => self.lost &= entries.is_empty(),
            Err(_) if self.lost => {}
            Err(error) => {
                self.lost = true;
                tell("verdicts-lost", error.to_string());
            }
        }
    }

    fn ends(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn lines_that_cannot_be_written_are_told_once_until_they_can_again() {
        let here = std::env::temp_dir().join(format!("rf-record-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&here);
        let site = SiteId::new("lab").unwrap();
        let config =
            Config { place: Place::here(), group: 1, site: site.clone(), file: here.join(FILE) };
        let stop = Arc::new(AtomicBool::new(false));
        let mut writer = Writer { config, stop, lost: false, ahead: Vec::new() };
        let gap = enforcer::verdict::Gap { records: 3, overrun: true };
        let line = [Entry::Lost(gap.line(now(), site))];
        let said = RefCell::new(Vec::new());
        let mut write = |entries: &[Entry]| {
            let before = said.borrow().len();
            writer.write(entries, &|kind, what| said.borrow_mut().push((kind, what)));
            said.borrow().len() - before
        };
        // The directory is gone: said, and not once a line.
        assert_eq!([write(&line), write(&line), write(&[]), write(&line)], [1, 0, 0, 0]);
        std::fs::create_dir(&here).unwrap();
        assert_eq!(write(&line), 0);
        // It worked in between: another outage is another thing to say.
        std::fs::remove_dir_all(&here).unwrap();
        assert_eq!(write(&line), 1);
        let (kind, what) = said.borrow()[0].clone();
        assert_eq!(kind, "verdicts-lost");
        assert!(what.contains(FILE), "{what}");
        std::fs::create_dir(&here).unwrap();
        assert_eq!(write(&line), 0);
        let text = std::fs::read_to_string(here.join(FILE)).unwrap();
        assert!(text.lines().count() == 1 && text.contains("\"records\":3"), "{text}");
        std::fs::remove_dir_all(&here).unwrap();
    }
}
