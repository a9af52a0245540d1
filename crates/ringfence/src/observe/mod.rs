//! `ringfence observe`: what the fence did, from a log, a site's state or the kernel.

pub(crate) mod args;
mod filter;
mod read;
mod table;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use enforcer::netlink::Place;
use enforcer::verdict::{Log, Namer};
use miette::{Diagnostic, IntoDiagnostic, Result};
use model::SiteId;
use model::ruleset::Ruleset;
use model::verdict::Entry;
use policy::evaluate::Evaluator;
use policy::folder::Folder;

use crate::exit;
use crate::folder::{self, now};
use crate::told::Tell as _;
use args::{Observe, Output};
use filter::{BadFilter, Filter, Names, ServiceName};
use read::Lines;
use table::Tally;

/// The log in a site's state directory.
const LOG: &str = "verdicts.jsonl";
/// Code of what the kernel's own log does not give.
const LIVE: &str = "ringfence::observe::live";
/// How long a look for more waits.
const PAUSE: Duration = Duration::from_millis(200);
/// Names met that a suggestion may come from.
const MET_MAX: usize = 10_000;

#[derive(Debug, thiserror::Error, Diagnostic)]
enum Unreadable {
    #[error("{} cannot be read: {why}", path.display())]
    #[diagnostic(
        code(ringfence::observe::unreadable),
        help(
            "name a log of verdicts, `-` for standard input, or the state directory of a site (--state DIR)"
        )
    )]
    File { path: PathBuf, why: String },
}

/// Runs the command.
pub(crate) fn run(args: &Observe) -> Result<u8> {
    let folder = args.policy.as_deref().map(folder::read).transpose()?.map(|read| read.folder);
    let known = folder.as_ref().map(names);
    let filter = match Filter::new(args, known.as_ref(), now()) {
        Ok(filter) => filter,
        Err(error) => return Ok(usage(&error)),
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).into_diagnostic()?;
    }
    let names = known.unwrap_or_default();
    let mut out = io::stdout().lock();
    let mut show = Show::new(args, &filter, &names, &mut out);
    if args.live {
        live(args, folder.as_ref(), &mut show, &stop)?;
        return show.end(&Lines::default());
    }
    let path = match (&args.state, &args.file) {
        (Some(state), _) => state.join(LOG),
        (None, Some(file)) => file.clone(),
        (None, None) => PathBuf::from("-"),
    };
    let mut lines = Lines::default();
    if path == Path::new("-") {
        read(&path, &mut io::stdin().lock(), &mut lines, &mut show)?;
    } else {
        let failed = |why| unreadable(&path, &why);
        let mut input = BufReader::new(File::open(&path).map_err(failed)?);
        let mut more = read(&path, &mut input, &mut lines, &mut show)?;
        while more && args.follow && !stop.load(Ordering::Relaxed) {
            pause();
            // A log that was put aside and begun anew is read from its beginning.
            if is_new(&path, &input) {
                if let Some(entry) = lines.finish() {
                    show.take(&entry);
                }
                input = BufReader::new(File::open(&path).map_err(failed)?);
            }
            more = read(&path, &mut input, &mut lines, &mut show)?;
        }
    }
    if !args.follow
        && let Some(entry) = lines.finish()
    {
        show.take(&entry);
    }
    show.end(&lines)
}

fn unreadable(path: &Path, why: &io::Error) -> Unreadable {
    Unreadable::File { path: path.to_owned(), why: why.to_string() }
}

fn usage(error: &BadFilter) -> u8 {
    eprintln!("error: {error}");
    exit::USAGE
}

fn read(
    path: &Path,
    input: &mut dyn BufRead,
    lines: &mut Lines,
    show: &mut Show<'_>,
) -> Result<bool> {
    let read = lines.read(input, &mut |entry| show.take(&entry));
    Ok(read.map_err(|why| unreadable(path, &why))?)
}

/// Another file stands where the one that is read was.
fn is_new(path: &Path, input: &BufReader<File>) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (std::fs::metadata(path), input.get_ref().metadata()) {
        (Ok(there), Ok(read)) => (there.dev(), there.ino()) != (read.dev(), read.ino()),
        _ => false,
    }
}

/// What becomes of lines.
struct Show<'a> {
    args: &'a Observe,
    filter: &'a Filter,
    names: &'a Names,
    out: &'a mut dyn Write,
    tally: Tally,
    matched: u64,
    seen: u64,
    met: BTreeSet<String>,
}

impl<'a> Show<'a> {
    fn new(
        args: &'a Observe,
        filter: &'a Filter,
        names: &'a Names,
        out: &'a mut dyn Write,
    ) -> Self {
        let (tally, met) = (Tally::default(), BTreeSet::new());
        Self { args, filter, names, out, tally, matched: 0, seen: 0, met }
    }

    /// Shows or counts a line; `false` when nobody reads any more.
    fn take(&mut self, entry: &Entry) -> bool {
        self.seen += 1;
        self.meet(entry);
        if !self.filter.wants(entry) {
            return true;
        }
        self.matched += u64::from(matches!(entry, Entry::Verdict(_)));
        self.tally.add(entry, self.names);
        let one_by_one = self.args.follow || self.args.live;
        let text = match self.args.output {
            Output::Jsonl => match serde_json::to_string(entry) {
                Ok(text) => text,
                Err(_) => return true,
            },
            Output::Table if one_by_one => table::line(entry, self.names),
            Output::Table => return true,
        };
        let written = writeln!(self.out, "{text}");
        let written = if one_by_one { written.and_then(|()| self.out.flush()) } else { written };
        written.is_ok()
    }

    fn meet(&mut self, entry: &Entry) {
        let Entry::Verdict(record) = entry else {
            return;
        };
        if self.met.len() >= MET_MAX {
            return;
        }
        for end in [&record.from, &record.to] {
            self.met.extend(end.device.iter().map(ToString::to_string));
            self.met.extend(end.service.clone());
        }
        let why = &record.why;
        self.met.extend([&why.rule, &why.exception, &why.nearest].into_iter().flatten().cloned());
        let interfaces = [&record.interface_in, &record.interface_out];
        self.met.extend(interfaces.into_iter().flatten().cloned());
        self.met.insert(record.site.to_string());
    }

    fn end(self, lines: &Lines) -> Result<u8> {
        let Self { args, filter, out, tally, matched, seen, met, .. } = self;
        let table = args.output == Output::Table && !args.follow && !args.live;
        if table && !(tally.is_empty() && seen > 0) {
            // A reader that has seen enough (`| head`) is no error.
            let _ = tally.print(out, args.all);
        }
        for fault in &lines.faults {
            eprintln!("{fault}");
        }
        if lines.bad > 0 {
            eprintln!("{} lines could not be read and are not counted", lines.bad);
            return Ok(exit::FAILED);
        }
        if matched == 0 && seen > 0 && !args.follow && !args.live {
            eprintln!("none of {seen} lines matches");
            for near in filter.near(&met) {
                eprintln!("  {}", read::plain(&near));
            }
            return Ok(exit::NOT_FOUND);
        }
        if args.detailed_exitcode && tally.has_gaps() {
            return Ok(exit::FINDINGS);
        }
        Ok(exit::FINE)
    }
}

/// Verdicts from the kernel, named by the policy folder.
fn live(
    args: &Observe,
    folder: Option<&Folder>,
    show: &mut Show<'_>,
    stop: &AtomicBool,
) -> Result<()> {
    let site = folder.and_then(|folder| folder.estate.sites.first()).map(|site| site.id.clone());
    let site = site.map_or_else(|| SiteId::new("here").into_diagnostic(), Ok)?;
    let mut log = Log::open(&Place::here(), args.group).told(LIVE)?;
    let ruleset = match folder {
        Some(folder) => policy::compile::ruleset(folder, 1, None).into_diagnostic()?,
        None => nothing(),
    };
    let evaluator = Evaluator::new(&ruleset);
    let mut namer = Namer::new(site.clone(), &ruleset, &evaluator);
    let mut generation = ruleset.generation;
    while !stop.load(Ordering::Relaxed) {
        let mut go_on = true;
        let gap = log.read(PAUSE, |seen, links| {
            // The folder does not say which generation it is in force as; its rules' numbers
            // depend on the folder alone.
            if let Some(prefix) = seen.prefix.filter(|prefix| prefix.generation != generation) {
                generation = prefix.generation;
                namer.remember(&Ruleset { generation, ..ruleset.clone() });
            }
            if let Some(record) = namer.name(seen, links, now()) {
                go_on &= show.take(&Entry::Verdict(Box::new(record)));
            }
        });
        if let Some(gap) = gap.told(LIVE)? {
            go_on &= show.take(&Entry::Lost(gap.line(now(), site.clone())));
        }
        if !go_on {
            break;
        }
    }
    Ok(())
}

/// The ruleset of nobody: addresses stay addresses.
fn nothing() -> Ruleset {
    Ruleset {
        generation: 0,
        parent: None,
        classes: Default::default(),
        members: Vec::new(),
        peers: Vec::new(),
        permits: Vec::new(),
        exceptions: Vec::new(),
        names: Vec::new(),
        proposed: Vec::new(),
    }
}

fn names(folder: &Folder) -> Names {
    let estate = &folder.estate;
    let devices = estate.devices.iter().map(|d| (d.id.to_string(), d.name.clone())).collect();
    let services = estate.services.iter().map(|service| {
        let host =
            service.device.as_ref().and_then(|id| estate.devices.iter().find(|d| d.id == *id));
        let hosted = host.map(|device| device.addresses.as_slice()).unwrap_or_default();
        let addresses = if service.addresses.is_empty() { hosted } else { &service.addresses };
        let name = ServiceName {
            name: service.name.clone(),
            port: (service.transport.word().to_owned(), service.port),
            addresses: addresses.iter().copied().collect(),
        };
        (service.id.to_string(), name)
    });
    Names { devices, services: services.collect() }
}

#[expect(clippy::disallowed_methods, reason = "a growing file gives no sign: look again")]
fn pause() {
    std::thread::sleep(PAUSE);
}
