//! `ringfence site join`: the token comes in, and what to do next is said.

use std::fs;
use std::io::{self, Read};
use std::sync::Arc;

use crypto::tls::SystemClock;
use miette::{Result, miette};
use site::uplink::client::LineError;
use site::uplink::join::{self, JoinError, Token};

use super::args::Join;
use super::{FAILED, print};
use crate::exit;
use crate::told::{self, Tell as _};

/// Bytes of a token that are read: more is none.
const TOKEN_BYTES_MAX: u64 = 1_024;

pub(super) fn join(args: &Join) -> Result<u8> {
    let text = token(args)?;
    let token: Token = text.parse().told(FAILED)?;
    let clock = Arc::new(SystemClock);
    let joined = match join::join(&args.state.state, &args.controller, &token, clock) {
        Ok(joined) => joined,
        Err(error @ JoinError::Line(LineError::Refused { .. })) => {
            eprintln!("ringfence: {error}");
            return Ok(exit::REFUSED);
        }
        Err(error) => return Err(told::error(FAILED, &error)),
    };
    if let Some(clock) = &joined.clock {
        eprintln!("ringfence: {clock}");
    }
    let site = &joined.enrolled.joined.site;
    let until = joined.enrolled.not_after;
    let controller = &args.controller;
    print(&format!(
        "This is site {site} of the controller at {controller}. Its certificate is good until {until}, and renewed before.\n\
         Next: sudo ringfence site run --controller --interface IFACE\n"
    ))?;
    Ok(exit::FINE)
}

fn token(args: &Join) -> Result<String> {
    let read = |input: &mut dyn Read, from: &str| {
        let mut text = String::new();
        let read = input.take(TOKEN_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| miette!(code = FAILED, "cannot read the token from {from}: {error}"))?;
        Ok(text)
    };
    match (&args.token_file, args.token.as_deref()) {
        (Some(path), _) => {
            let from = path.display().to_string();
            let file = fs::File::open(path);
            let mut file = file.map_err(|error| {
                miette!(code = FAILED, "cannot read the token from {from}: {error}")
            })?;
            read(&mut file, &from)
        }
        (None, None | Some("-")) => read(&mut io::stdin().lock(), "standard input"),
        (None, Some(token)) => Ok(token.to_owned()),
    }
}
