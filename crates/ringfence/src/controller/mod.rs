//! `ringfence controller`: wiring and words around the crate `controller`.

pub(crate) mod args;
mod backup;

use std::sync::Arc;
use std::time::Duration;

use ::controller::hub::HubError;
use ::controller::line::Timing;
use ::controller::shell::{self, Config, RunError};
use ::controller::state::StateError;
use miette::Result;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use self::args::{Controller, Output, RenewRoot, Run};
use crate::folder::now;
use crate::told::{self, Tell as _};
use crate::{exit, out};

/// Code of what a controller could not do.
const FAILED: &str = "ringfence::controller::failed";

pub(crate) fn run(command: &Controller) -> Result<u8> {
    match command {
        Controller::Run(args) => serve(args),
        Controller::Backup(args) => backup::make(args),
        Controller::Restore(args) => backup::restore(args),
        Controller::RenewRoot(args) => renew_root(args),
    }
}

fn serve(args: &Run) -> Result<u8> {
    // Before anybody is told where it listens: whoever knows may end it.
    let mut signals = Signals::new([SIGINT, SIGTERM]).told(FAILED)?;
    let config = Config {
        state: args.state.clone(),
        keeper: args.keys.keeper(),
        name: args.name.clone(),
        listen: args.listen,
        line: args.line_listen,
        est: args.est_listen,
        hosts: args.hosts.clone(),
        timing: Timing {
            lease_every_s: seconds(args.lease_every),
            lease_term_s: seconds(args.lease_term),
            stale_after_s: seconds(args.stale_after),
        },
    };
    let tell: shell::Told = Arc::new(|line| eprintln!("ringfence controller: {line}"));
    let running = match shell::start(&config, now, tell) {
        Ok(running) => running,
        Err(RunError::State(error @ StateError::InUse { .. })) => {
            eprintln!("{:?}", told::error(FAILED, &error));
            return Ok(exit::CONFLICT);
        }
        Err(error) => return Err(told::error(FAILED, &error)),
    };
    let up = running.up.clone();
    out::print(|out| {
        writeln!(out, "estate {} ({} journal entries)", up.name, up.entries)?;
        writeln!(out, "  API     https://{}", up.api)?;
        writeln!(out, "  sites   {}", up.line)?;
        if let Some(est) = up.est {
            writeln!(out, "  devices https://{est}/.well-known/est")?;
        }
        writeln!(out, "  root    sha256 {}", up.root_sha256)
    })?;
    signals.forever().next();
    eprintln!("ringfence controller: ends");
    running.stop().map_err(|error| match error {
        RunError::Hub(HubError::Journal(error)) => told::error(FAILED, &error),
        error => told::error(FAILED, &error),
    })?;
    Ok(exit::FINE)
}

fn renew_root(args: &RenewRoot) -> Result<u8> {
    if !args.state.join("pki/root.pem").exists() {
        let state = args.state.display();
        return Err(miette::miette!(code = FAILED, "{state} is no state folder of a controller"));
    }
    let next = match shell::renew_root(&args.state, &args.keys.keeper(), now()) {
        Ok(next) => next,
        Err(RunError::State(error @ StateError::InUse { .. })) => {
            eprintln!("{:?}", told::error(FAILED, &error));
            return Ok(exit::CONFLICT);
        }
        Err(error) => return Err(told::error(FAILED, &error)),
    };
    out::print(|out| match args.output {
        Output::Table => {
            writeln!(out, "root    sha256 {}", next.root_sha256)?;
            writeln!(out, "before  sha256 {}", next.before_sha256)?;
            writeln!(out, "Take the key of the root of before away: {}", next.former_key)
        }
        Output::Json => {
            let document = serde_json::json!({
                "root_sha256": next.root_sha256,
                "before_sha256": next.before_sha256,
                "former_key": next.former_key,
            });
            writeln!(out, "{document:#}")
        }
    })?;
    Ok(exit::FINE)
}

/// At least one.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1)
}
