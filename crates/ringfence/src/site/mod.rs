//! `ringfence site`: wiring and words around the crate `site`.

pub(crate) mod args;
mod join;
mod show;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use enforcer::Fence;
use enforcer::contain::{self, Isolated};
use enforcer::netlink::Place;
use enforcer::runner::Host;
use indicatif::ProgressBar;
use miette::{Result, miette};
use model::SiteId;
use site::control::{self, Answer, Request};
use site::folder::FolderError;
use site::prepare::{self, PrepareError};
use site::resolve::{Names, Opener};
use site::sense::Sense;
use site::shell::{self, RunError, Source};
use site::store::Store;
use site::uplink::shell::MachineClock;

use self::args::{Command, Format, Method, Run, Site};
use crate::ids::SubjectIds;
use crate::told::{self, Tell as _};
use crate::{exit, folder, knowledge, out};

/// Code of what a site could not do.
const FAILED: &str = "ringfence::site::failed";
/// Name of our tables in the kernel.
const TABLE: &str = "ringfence";

pub(crate) fn run(args: &Site) -> Result<u8> {
    match &args.command {
        Command::Run(run) => start(run),
        Command::Join(args) => join::join(args),
        Command::Status(status) => match ask(&status.state.state, &Request::Status)? {
            Answer { status: Some(told), .. } => {
                print(&show::status(&told, status.output == Format::Json)?).map(|()| exit::FINE)
            }
            _ => Err(miette!(code = FAILED, "the site told nothing")),
        },
        Command::Reload(reload) => {
            let request = Request::Reload { confirm_within_s: seconds(reload.confirm_within) };
            request_of(&reload.state.state, &request)
        }
        Command::Confirm(state) => request_of(&state.state, &Request::Confirm),
        Command::BreakGlass(glass) => {
            let zone = glass.zone.clone();
            let request = match (&glass.reason, glass.run_for) {
                (Some(reason), Some(time)) => {
                    Request::BreakGlass { zone, seconds: time.as_secs(), reason: on_behalf(reason) }
                }
                _ => Request::EndBreakGlass { zone },
            };
            request_of(&glass.state.state, &request)
        }
        Command::Promote(zone) => {
            request_of(&zone.state.state, &Request::Promote { zone: zone.zone.clone() })
        }
        Command::StepBack(back) => {
            let (zone, reason) = (back.zone.zone.clone(), on_behalf(&back.reason));
            request_of(&back.zone.state.state, &Request::StepBack { zone, reason })
        }
        Command::Journal(journal) => {
            let path = journal.state.state.join("journal.jsonl");
            let checked = site::journal::check(&path).told(FAILED)?;
            print(&show::journal(&checked, journal.output == Format::Json)?)?;
            Ok(exit::FINE)
        }
        Command::Prepare(args) => prepare(args),
        Command::Stop(state) => request_of(&state.state, &Request::Stop),
    }
}

fn start(run: &Run) -> Result<u8> {
    let site = SiteId::new(&run.site)
        .map_err(|error| miette!(code = "ringfence::site::name", "--site: {error}"))?;
    let knowledge = knowledge::load(None, None)?;
    let sense =
        Sense { interface: run.interface.clone(), site, knowledge, ids: Box::new(SubjectIds) };
    let fence = Fence::new(Place::here(), TABLE);
    let upstreams = run.resolver_upstream.clone();
    let names =
        (!upstreams.is_empty()).then(|| Names { upstreams, sink: Box::new(Opener(fence.clone())) });
    let policy = match &run.policy {
        Some(folder) => Source::Folder(folder.clone()),
        None => Source::Line,
    };
    let config = shell::Config {
        names,
        policy,
        clock: Arc::new(MachineClock),
        state: run.state.state.clone(),
        lists: run.lists.clone(),
        table: TABLE.to_owned(),
        all_shadow: run.shadow,
        confirm_within_s: seconds(run.confirm_within),
        watch: run.watch,
        log_group: run.log_group,
        contain: method(run.method),
        sense,
    };
    let ended = shell::run(config, &Host::here(), &fence, &mut |line| {
        eprintln!("ringfence site: {line}");
    });
    match ended {
        Ok(()) => Ok(exit::FINE),
        Err(RunError::Folder(error)) => {
            let faults = matches!(error, FolderError::Faults { .. });
            let folder = run.policy.as_deref().unwrap_or(Path::new(""));
            let report = folder::unusable(folder, error);
            if !faults {
                return Err(report);
            }
            eprintln!("{report:?}");
            Ok(exit::REFUSED)
        }
        Err(error) => Err(told::error(FAILED, &error)),
    }
}

/// Asks, with a spinner for people who wait.
fn ask(state: &Path, request: &Request) -> Result<Answer> {
    let bar = ProgressBar::new_spinner();
    if io::stderr().is_terminal() {
        bar.enable_steady_tick(Duration::from_millis(120));
        bar.set_message("asking the site");
    }
    let answer = control::ask(state, request).told(FAILED);
    bar.finish_and_clear();
    answer
}

fn request_of(state: &Path, request: &Request) -> Result<u8> {
    let answer = ask(state, request)?;
    for fault in &answer.faults {
        eprintln!("ringfence: {fault}");
    }
    if let Some(why) = answer.refused {
        eprintln!("ringfence: {why}");
        let unknown = why.starts_with("there is no zone");
        return Ok(if unknown { exit::NOT_FOUND } else { exit::REFUSED });
    }
    if let Some(status) = &answer.status {
        print(&show::outcome(request, status))?;
    }
    Ok(exit::FINE)
}

fn prepare(args: &args::Prepare) -> Result<u8> {
    let host = Host::here();
    if args.undo {
        let store = Store::open(&args.state.state).told(FAILED)?;
        let record: Option<Isolated> = store.read(prepare::RECORD).told(FAILED)?;
        let record = record.ok_or(PrepareError::NothingToUndo).told(FAILED)?;
        contain::release(&host, &record).told(FAILED)?;
        store.remove(prepare::RECORD).told(FAILED)?;
        print(&format!("{} is as it was before.\n", record.bridge))?;
        return Ok(exit::FINE);
    }
    let survey = prepare::survey(&host, &args.interface).told(FAILED)?;
    let method = method(args.method)
        .ok_or_else(|| miette!(code = FAILED, "--method none prepares nothing"))?;
    let changes = prepare::changes(&survey, method);
    print(&show::changes(&changes))?;
    if args.check {
        print(&show::paths(&prepare::paths(&survey)))?;
        return Ok(exit::FINE);
    }
    let store = Store::open(&args.state.state).told(FAILED)?;
    let done = prepare::contain(&host, &survey, method).told(FAILED)?;
    if store.read::<Isolated>(prepare::RECORD).told(FAILED)?.is_none() {
        store.write(prepare::RECORD, &done).told(FAILED)?;
    }
    let after = prepare::survey(&host, &args.interface).told(FAILED)?;
    print(&show::paths(&prepare::paths(&after)))?;
    print("Done and read back. `ringfence site prepare --undo` puts it back.\n")?;
    Ok(exit::FINE)
}

fn method(method: Method) -> Option<contain::Method> {
    match method {
        Method::BridgeFilter => Some(contain::Method::BridgeFilter),
        Method::IsolatedPorts => Some(contain::Method::IsolatedPorts),
        Method::None => None,
    }
}

fn seconds(time: Option<Duration>) -> Option<u32> {
    time.map(|time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
}

/// Behind `sudo` the kernel only says root; who it was is added as told, not as known.
fn on_behalf(reason: &str) -> String {
    match std::env::var("SUDO_USER") {
        Ok(user) if !reason.trim().is_empty() => format!("{reason} (sudo: {user})"),
        _ => reason.to_owned(),
    }
}

fn print(text: &str) -> Result<()> {
    out::print(|out| out.write_all(text.as_bytes()))
}
