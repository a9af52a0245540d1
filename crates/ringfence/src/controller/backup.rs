//! `ringfence controller backup` and `restore`: a bar while it lasts, and what the file holds.

use std::io::IsTerminal as _;
use std::path::Path;

use ::controller::backup::{self, BackupError, Held};
use indicatif::{ProgressBar, ProgressStyle};
use miette::Result;
use serde_json::json;

use super::args::{Backup, Output, Restore};
use crate::folder::now;
use crate::{exit, out, told};

pub(super) fn make(args: &Backup) -> Result<u8> {
    let bar = Bar::new();
    let made = backup::make(&args.state, &args.file, args.force, now, &mut |doing, done, of| {
        bar.shows(doing, done, of);
    });
    bar.ends();
    match made {
        Ok(held) => tell("backup", &args.file, &held, None, args.output),
        Err(error) => failed(&error),
    }
}

pub(super) fn restore(args: &Restore) -> Result<u8> {
    let bar = Bar::new();
    let mut shows = |doing: &str, done: u64, of: u64| bar.shows(doing, done, of);
    let held = match &args.state {
        Some(state) => backup::restore(&args.file, state, now, &mut shows),
        None => {
            let name = format!("ringfence-restore-{}", std::process::id());
            backup::check(&args.file, &std::env::temp_dir().join(name), now, &mut shows)
        }
    };
    bar.ends();
    match held {
        Ok(held) => {
            let what = if args.state.is_some() { "restored" } else { "whole" };
            tell(what, &args.file, &held, args.state.as_deref(), args.output)
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &BackupError) -> Result<u8> {
    let report = told::error(error.code(), error);
    if error.is_conflict() {
        eprintln!("{report:?}");
        return Ok(exit::CONFLICT);
    }
    Err(report)
}

fn tell(what: &str, file: &Path, held: &Held, state: Option<&Path>, output: Output) -> Result<u8> {
    let Held { manifest, facts, left_out, size_bytes } = held;
    if output == Output::Json {
        out::document(&json!({
            "file": file, "size_bytes": size_bytes, "state": state, "manifest": manifest,
            "holds": facts, "left_out": left_out,
        }))?;
        return Ok(exit::FINE);
    }
    out::print(|out| {
        writeln!(out, "{what}: {}, {size_bytes} bytes", file.display())?;
        writeln!(out, "  estate     {}, {}", facts.estate, manifest.made_at)?;
        let signed = facts.signed.map_or("none".to_owned(), |n| n.to_string());
        writeln!(out, "  journal    {} entries, {signed} of them signed", facts.entries)?;
        writeln!(out, "  root       {}", facts.root)?;
        writeln!(
            out,
            "  holds      {} devices, {} sites, {} operators; private keys and personal data",
            facts.devices, facts.sites, facts.operators
        )?;
        let files = manifest.files.len();
        writeln!(out, "  files      {files}, {} bytes", manifest.size_bytes())?;
        if !left_out.is_empty() {
            writeln!(out, "  not in it  {}: made again at the next start", left_out.join(", "))?;
        }
        Ok(())
    })?;
    if facts.operators_lost > 0 {
        eprintln!(
            "ringfence: {} operators have no record that the journal knows, and cannot log in: set profile and password anew",
            facts.operators_lost
        );
    }
    if state.is_some() && !facts.witnessed {
        eprintln!(
            "ringfence: this journal has no witnesses, so nobody can tell whether this is the newest backup"
        );
    }
    Ok(exit::FINE)
}

/// A bar on a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {msg} {binary_bytes}/{binary_total_bytes}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(std::time::Duration::from_millis(300));
        Self(bar)
    }

    fn shows(&self, doing: &str, done: u64, of: u64) {
        self.0.set_message(doing.to_owned());
        self.0.set_length(of);
        self.0.set_position(done);
    }

    fn ends(&self) {
        self.0.finish_and_clear();
    }
}
