//! A controller from the command line: its API in words, and its answers as tables or documents.
//!
//! What may be done and what comes of it is decided there; here is typing, sending and printing.

pub(crate) mod args;
mod change;
pub(crate) mod client;
mod columns;
mod context;
mod decide;
mod describe;
mod doctor;
mod exception;
mod explain;
mod fault;
mod folder;
mod follow;
mod get;
mod history;
mod identity;
mod import;
mod keyring;
mod keys;
mod parts;
mod people;
mod progress;
mod release;
mod secret;
mod session;
mod shell;
mod sink;
mod sse;
mod wait;
mod words;
mod yaml;

use miette::{Report, Result};

use self::args::{At, Command};
use self::client::Client;
use self::context::Chosen;
use self::fault::{Fault, Stop};
use crate::policies::args::Apply;

/// Runs a command.
pub(crate) fn run(command: &Command) -> Result<u8> {
    told(match command {
        Command::Context { command } => session::context(command),
        Command::Login(args) => session::login(args),
        Command::Setup(args) => session::setup(args),
        Command::Logout(args) => session::logout(args),
        Command::Whoami(args) => session::whoami(args),
        Command::Password(args) => session::password(args),
        Command::Get(args) => get::run(args),
        Command::Describe(args) => describe::run(args),
        Command::History(args) => history::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Diff(args) => folder::diff(args),
        Command::Edit(args) => change::edit(args),
        Command::Import(args) => import::run(args),
        Command::Owner(args) => change::owner(args),
        Command::Quarantine(args) => change::quarantine(args),
        Command::Retire(args) => change::retire(args),
        Command::Exception { command } => exception::run(command),
        Command::Identity { command } => identity::run(command),
        Command::Release { command } => release::run(command),
        Command::Sites { command } => change::sites(command),
        Command::Teams { command } => change::teams(command),
        Command::Keys { command } => keys::run(command),
        Command::Views { command } => change::views(command),
        Command::Tokens { command } => people::tokens(command),
        Command::Operators { command } => people::operators(command),
        Command::Decide(args) => decide::run(args),
        Command::Approve(args) => people::judge(args, true),
        Command::Reject(args) => people::judge(args, false),
        Command::Wait(args) => wait::run(args),
        Command::Events(args) => follow::events(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Completions(args) => shell::completions(args),
        Command::Man(args) => shell::man(args),
    })
}

/// `ringfence apply -f FOLDER`.
pub(crate) fn apply(args: &Apply) -> Result<u8> {
    told(folder::apply(&args.to_controller))
}

/// A fault is told once, and gives the exit code.
fn told(outcome: Result<u8, Stop>) -> Result<u8> {
    outcome.or_else(|stop| match stop {
        Stop::Fault(fault) => {
            let code = fault.code_of_exit();
            eprintln!("{:?}", Report::new(*fault));
            Ok(code)
        }
        Stop::Other(report) => Err(report),
    })
}

/// The controller that a command is about.
fn open(at: &At) -> Result<Client, Fault> {
    let chosen = Chosen::find(at.context.as_deref())?;
    if chosen.context.credential.is_none() {
        let help = "`ringfence login` begins a session; programs set RINGFENCE_TOKEN";
        return Err(Fault::new("logged_out", chosen.context.server, "nobody is logged in", help));
    }
    Client::new(&chosen.context)
}
