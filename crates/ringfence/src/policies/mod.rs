//! `ringfence plan`, `apply`, `policy …` and `export`: reading folders, asking the core, showing answers.

pub(crate) mod args;
mod ask;
mod given;
mod mutate;
mod names;
mod plan;
mod print;
mod unused;

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressStyle};
use miette::{Result, Severity};
use policy::folder::Folder;
use policy::lower::lower;
use policy::{cards, check, compile, iec62443};
use serde::Serialize;

pub(crate) use plan::{apply, export, run as plan};
pub(crate) use print::plan as print_plan;

use crate::{exit, folder, out};
use args::{Check, Output, Policy};

/// Answers a question about a policy folder.
pub(crate) fn run(command: &Policy) -> Result<u8> {
    match command {
        Policy::Check(args) => check_folder(args),
        Policy::Test(args) => test(args),
        Policy::Prove(args) => ask::prove(args),
        Policy::Preview(args) => plan::preview(args),
        Policy::Why(args) => ask::why(args),
        Policy::Mutate(args) => mutate::run(args),
        Policy::Reach(args) => ask::reach(args),
        Policy::Unused(args) => unused::run(args),
        Policy::CutOff(args) => ask::cut_off(args),
    }
}

/// Remarks about a folder that has no fault.
#[derive(Debug, Serialize)]
struct Remarks {
    schema: &'static str,
    devices: usize,
    services: usize,
    policies: usize,
    /// Policies that decide nothing yet.
    in_shadow: Vec<String>,
    /// Exceptions that have ended.
    expired: Vec<String>,
    /// Capabilities that nothing compensates.
    uncovered: Vec<String>,
    /// What enforcement points cannot express.
    limits: Vec<String>,
    /// Policies that could not be compiled: they hold, and are slower.
    on_cedar: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iec62443: Option<iec62443::Assessment>,
}

fn check_folder(args: &Check) -> Result<u8> {
    let read = folder::read(&args.of.folder)?;
    let lowered = lower(&read.folder);
    let folder = &read.folder;
    let now = folder::now();
    let mut limits = policy::plan::not_enforceable(folder, &lowered);
    if let Err(error) = compile::ruleset_of(folder, &lowered, 1, None) {
        limits.push(error.to_string());
    }
    let remarks = Remarks {
        schema: "ringfence.policy-check/v1",
        devices: folder.estate.devices.len(),
        services: folder.estate.services.len(),
        policies: folder.policies.len(),
        in_shadow: in_shadow(folder),
        expired: folder
            .expired(now)
            .map(|e| {
                format!(
                    "exceptions.toml:{}: `{}` ended at {}: renew it or take the line out",
                    e.line, e.id, e.expires
                )
            })
            .collect(),
        uncovered: cards::cover(folder).uncovered_words(),
        limits,
        on_cedar: check::on_cedar(folder),
        iec62443: args.iec62443.then(|| iec62443::assess(folder, &lowered)),
    };
    let any = !remarks.expired.is_empty()
        || !remarks.uncovered.is_empty()
        || !remarks.limits.is_empty()
        || remarks.iec62443.as_ref().is_some_and(|a| !a.remarks.is_empty());
    show(args.of.output, &remarks, |out| print::remarks(out, &remarks))?;
    Ok(if any && args.detailed_exitcode { exit::FINDINGS } else { exit::FINE })
}

fn in_shadow(folder: &Folder) -> Vec<String> {
    let shadow = |p: &&policy::language::Policy| p.mode() == model::ruleset::Mode::Shadow;
    folder
        .policies
        .iter()
        .filter(shadow)
        .map(|p| format!("{}:{}: `{}`", p.file, p.line, p.id))
        .collect()
}

#[derive(Debug, Serialize)]
struct Tested {
    schema: &'static str,
    allow: usize,
    deny: usize,
    reach: usize,
    claims: usize,
    broken: Vec<policy::Fault>,
}

fn test(args: &args::Folder) -> Result<u8> {
    let read = folder::read(&args.folder)?;
    let folder = &read.folder;
    let broken = check::run(folder, &lower(folder));
    folder::show(&args.folder, &read.files, &broken, Severity::Error);
    let tested = Tested {
        schema: "ringfence.policy-test/v1",
        allow: folder.tests.allow.len(),
        deny: folder.tests.deny.len(),
        reach: folder.tests.reach.len(),
        claims: folder.claims.len(),
        broken,
    };
    show(args.output, &tested, |out| {
        writeln!(
            out,
            "{} must-allow, {} must-deny, {} reach budgets, {} claims: {}",
            tested.allow,
            tested.deny,
            tested.reach,
            tested.claims,
            match tested.broken.len() {
                0 => "all hold".to_owned(),
                n => format!("{n} broken"),
            }
        )
    })?;
    Ok(if tested.broken.is_empty() { exit::FINE } else { exit::REFUSED })
}

/// A progress bar, where somebody looks at standard error.
fn bar(len: usize, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(len).unwrap_or(0));
    if let Ok(style) =
        ProgressStyle::with_template(&format!("{{pos}}/{{len}} {what} {{wide_bar}} {{msg}}"))
    {
        bar.set_style(style);
    }
    bar
}

/// Prints an answer: as a document, or for people.
fn show<T: Serialize>(
    output: Output,
    value: &T,
    people: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    match output {
        Output::Table => out::print(people),
        Output::Json => out::document(value),
    }
}
