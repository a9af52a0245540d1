//! The command line of Ringfence. Wiring and presentation only: what is true is decided below.

mod args;
mod control;
mod controller;
mod demo;
mod exit;
mod folder;
mod html;
mod ids;
mod inspect;
mod journal;
mod knowledge;
mod mud;
mod observe;
mod out;
mod policies;
mod site;
mod terminal;
mod told;
mod witness;

use std::process::ExitCode;

use clap::Parser;
use memory as _;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = match Args::try_parse_from(site::args::plain(std::env::args_os().collect())) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, not errors.
            let code = if error.use_stderr() { exit::USAGE } else { exit::FINE };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let outcome = match &args.command {
        Command::Inspect(inspect) => inspect::run(inspect),
        Command::Demo(demo) => demo::run(demo),
        Command::Plan(plan) => policies::plan(plan),
        Command::Apply(apply) => policies::apply(apply),
        Command::Policy { command } => policies::run(command),
        Command::Export { what } => policies::export(what),
        Command::Site(args) => site::run(args),
        Command::Observe(observe) => observe::run(observe),
        Command::Mud { command } => mud::run(command),
        Command::Journal { command } => journal::run(command),
        Command::Controller { command } => controller::run(command),
        Command::Witness { command } => witness::run(command),
        Command::Control(command) => control::run(command),
        Command::Fields => Ok(terminal::fields()),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(report) => {
            eprintln!("{report:?}");
            ExitCode::from(exit::of(&report))
        }
    }
}
