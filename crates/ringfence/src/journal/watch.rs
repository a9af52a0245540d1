//! `ringfence journal watch`: follows the heads of a journal, from its folder or over HTTP.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crypto::Provider;
use journal::Hash;
use journal::checkpoint::SignedCheckpoint;
use journal::follow::{Broken, Follower, Step};
use journal::tile::{TileNodes, TilePath, TileSource};
use miette::IntoDiagnostic as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use store::{Disk, Http, TileFolder, WebTiles, replace};

use super::args::Watch;
use super::fault::Fault;
use super::{Stop, place, print};
use crate::{exit, out};

/// Longest wait for one answer of a web server.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How often a new head is looked at again when its tiles are not whole: whoever writes or copies them may be under way.
const TRIES_MAX: u32 = 3;

/// Where checkpoints and tiles are.
enum Source {
    Folder(TileFolder<Disk>),
    Web(WebTiles),
}

impl Source {
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, String> {
        match self {
            Self::Folder(folder) => folder.checkpoint().map_err(|e| e.to_string()),
            Self::Web(web) => web.checkpoint(),
        }
    }
}

impl TileSource for Source {
    type Error = String;

    fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, String> {
        match self {
            Self::Folder(folder) => folder.tile(path).map_err(|e| e.to_string()),
            Self::Web(web) => web.tile(path),
        }
    }
}

pub(super) fn run(args: &Watch) -> Result<u8, Stop> {
    let here = Path::new(&args.what);
    let is_url = args.what.contains("://");
    let source = match is_url {
        true => Source::Web(WebTiles::new(Http::new(TIMEOUT), &args.what)),
        false => Source::Folder(place::tiles(here)?),
    };
    let folder = if is_url { None } else { Some(here) };
    let policy = place::believed(folder, here, args.key.as_deref(), args.policy.as_deref())?;
    let last = args.last.as_deref().map(last_head).transpose()?.flatten();
    let mut follower = Follower::new(policy, last);
    let mut signals = Signals::new([SIGINT, SIGTERM]).into_diagnostic().map_err(Stop::Out)?;
    let (told, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            // Who is gone need not be told.
            let _ = told.send(());
        }
    });
    let mut tries = 0;
    loop {
        match look(&source, &mut follower, args) {
            Ok(()) => tries = 0,
            Err(Look::Away(why)) => {
                eprintln!("ringfence: {why}");
                if args.once {
                    return Ok(exit::FAILED);
                }
            }
            Err(Look::Unwhole(stop)) => {
                tries += 1;
                if args.once || tries == TRIES_MAX {
                    return Err(stop);
                }
            }
            Err(Look::Stop(stop)) => return Err(stop),
        }
        if args.once {
            return Ok(exit::FINE);
        }
        match ended.recv_timeout(args.every) {
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            _ => return Ok(exit::FINE),
        }
    }
}

/// What keeps a look from being good.
enum Look {
    /// Nothing can be read now.
    Away(String),
    /// The head cannot be proven from its tiles.
    Unwhole(Stop),
    /// It is over.
    Stop(Stop),
}

fn look(source: &Source, follower: &mut Follower, args: &Watch) -> Result<(), Look> {
    let note = source.checkpoint().map_err(Look::Away)?;
    let Some(note) = note else {
        return Err(Look::Away(format!("{} has no checkpoint", args.what)));
    };
    let last = follower.last().cloned();
    let outcome = match SignedCheckpoint::decode(&note) {
        Ok(head) => {
            let size = head.checkpoint().size;
            let seen = follower.see(head.clone(), &TileNodes::new(source, size), &Provider);
            seen.map(|seen| (head, seen))
        }
        Err(why) => {
            return Err(Look::Stop(broken(args, last.as_ref(), &note, &why.to_string()).into()));
        }
    };
    match outcome {
        Ok((head, seen)) => {
            if seen.step != Step::Same {
                let line = print::head(&head, &seen, args.output);
                out::print(|out| writeln!(out, "{line}")).map_err(|e| Look::Stop(Stop::Out(e)))?;
            }
            match &args.last {
                Some(path) if last.as_ref() != Some(&head) => {
                    let saved = replace(&Disk, path, head.encode().as_bytes());
                    saved.map_err(|e| Look::Stop(Fault::io(path)(e).into()))
                }
                _ => Ok(()),
            }
        }
        Err(why) => {
            let text = why.to_string();
            let stop = || broken(args, last.as_ref(), &note, &text).into();
            Err(match why {
                Broken::Nodes(_) | Broken::Damaged { .. } | Broken::Unproven { .. } => {
                    Look::Unwhole(stop())
                }
                _ => Look::Stop(stop()),
            })
        }
    }
}

/// The head that was kept before; none when this is the first run.
fn last_head(path: &Path) -> Result<Option<SignedCheckpoint>, Fault> {
    let note = match fs::read(path) {
        Ok(note) => note,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Fault::io(path)(e)),
    };
    SignedCheckpoint::decode(&note).map(Some).map_err(Fault::malformed(path.display().to_string()))
}

/// Keeps both heads, and says where.
fn broken(args: &Watch, last: Option<&SignedCheckpoint>, note: &[u8], why: &str) -> Fault {
    let id: String = Hash::of(note).0.iter().take(8).map(|b| format!("{b:02x}")).collect();
    let offered = args.evidence.join(format!("head-{id}.offered"));
    let mut kept = Vec::new();
    let mut failed = String::new();
    let last = last.map(|last| (args.evidence.join(format!("head-{id}.last")), last.encode()));
    let last = last.as_ref().map(|(path, text)| (path, text.as_bytes()));
    for (path, bytes) in last.into_iter().chain([(&offered, note)]) {
        match fs::create_dir_all(&args.evidence).and_then(|()| replace(&Disk, path, bytes)) {
            Ok(()) => kept.push(path.display().to_string()),
            Err(e) => failed = format!("; {} could not be kept: {e}", path.display()),
        }
    }
    Fault::Broken {
        what: format!("{}:", args.what),
        why: why.to_owned(),
        help: format!("kept as evidence: {}{failed}", kept.join(" and ")),
    }
}
