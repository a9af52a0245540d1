//! A policy folder here and the one in force there: `ringfence diff -f`, `ringfence apply -f`.
//!
//! What is sent is based on something: the version that this folder was last compared with or sent as is remembered in the
//! context, and the controller refuses a folder that is based on another one than is in force.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use hyper::Method;
use miette::Severity;
use policy::plan::{Enforced, Plan, Wanted, make};
use serde_json::{Value, json};
use similar::TextDiff;
use site::folder::Files;

use super::args::{ApplyFolder, Diff};
use super::change::{WAITS, waits};
use super::client::{APPROVAL, Client};
use super::context::{Chosen, Contexts};
use super::fault::{Fault, Stop};
use super::progress::waiting;
use super::words::{at, plain, short};
use crate::{exit, folder, out, policies};

/// The policy in force at the controller.
struct InForce {
    number: String,
    content: String,
    files: Files,
}

/// `ringfence diff -f`.
pub(super) fn diff(args: &Diff) -> Result<u8, Stop> {
    let here = folder::read(&args.folder)?.files;
    let mut client = super::open(&args.at)?;
    let there = in_force(&mut client)?;
    let plan = plan(&args.folder, there.as_ref(), &here)?;
    let before = there.as_ref().map(|there| there.files.clone()).unwrap_or_default();
    folder::show(&args.folder, &here, &plan.refused, Severity::Error);
    out::print(|out| {
        texts(out, &before, &here)?;
        policies::print_plan(out, &plan, args.all)
    })?;
    based(args.at.context.as_deref(), &args.folder, there.as_ref())?;
    if plan.is_refused() {
        return Ok(exit::REFUSED);
    }
    Ok(if before != here && args.detailed_exitcode { exit::FINDINGS } else { exit::FINE })
}

/// `ringfence apply -f`.
pub(super) fn apply(args: &ApplyFolder) -> Result<u8, Stop> {
    let (Some(path), Some(reason)) = (&args.folder, &args.reason) else {
        return Err(
            Fault::usage("apply", "give -f FOLDER and --reason TEXT, or a saved plan").into()
        );
    };
    let here = folder::read(path)?.files;
    let origin = match (args.commit, &args.origin) {
        (true, _) => commit(path)?,
        (false, Some(origin)) => origin.clone(),
        (false, None) => path.display().to_string(),
    };
    let mut client = super::open(&args.at)?;
    let there = in_force(&mut client)?;
    let plan = plan(path, there.as_ref(), &here)?;
    folder::show(path, &here, &plan.refused, Severity::Error);
    if plan.is_refused() {
        let why = format!("{} test(s), claim(s) or budget(s) do not hold", plan.refused.len());
        let help = "the messages above name file and line; what is in force stays";
        return Err(Fault::new("refused", "the folder", why, help).exit(exit::REFUSED).into());
    }
    if args.dry_run {
        out::print(|out| policies::print_plan(out, &plan, false))?;
        eprintln!("nothing was set");
        return Ok(exit::FINE);
    }
    if there.as_ref().is_some_and(|there| there.files == here) {
        eprintln!("it is in force already");
        remember(args.at.context.as_deref(), path, there.as_ref().map(|there| &*there.content))?;
        return Ok(exit::FINE);
    }
    let known = based_on(args.at.context.as_deref(), path)?;
    let mut parent = args.parent.clone().or(known);
    if let (None, Some(there)) = (&parent, &there) {
        eprintln!(
            "it is not known here what this folder was made from: it goes upon version {}",
            there.number
        );
        parent = Some(there.content.clone());
    }
    let body = json!({ "files": here, "parent": parent, "origin": origin, "why": reason });
    let approved: Vec<_> =
        args.approval.approval.iter().map(|id| (APPROVAL, id.as_str())).collect();
    let bar = waiting("the controller checks it");
    let answer = client.ask(&Method::PUT, "/v1/policy", Some(&body), &approved);
    bar.finish_and_clear();
    let answer = answer.map_err(|fault| match fault.word() {
        "policy.parent" => fault.help(format!(
            "`ringfence diff -f {}` shows the difference to what is in force now, and takes note of it",
            path.display()
        )),
        _ => fault,
    })?;
    let set = answer.json()?;
    if answer.status == WAITS {
        return Ok(waits(&set));
    }
    remember(args.at.context.as_deref(), path, Some(&at(&set, "/content")))?;
    out::print(|out| {
        writeln!(
            out,
            "version {} is in force: content {}, {} paths open, {} close",
            at(&set, "/number"),
            short(&set, "/content"),
            plan.opened.pairs,
            plan.closed.pairs
        )
    })?;
    eprintln!("sites get it now; `ringfence wait site ID --for verified` waits for one");
    Ok(exit::FINE)
}

fn in_force(client: &mut Client) -> Result<Option<InForce>, Fault> {
    let policy = match client.get("/v1/policy") {
        Ok(policy) => policy,
        Err(fault) if fault.word() == "policy.none" => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let files = policy.get("files").cloned().unwrap_or(Value::Null);
    let files = serde_json::from_value(files);
    let files = files.map_err(|error| Fault::new("answer", "the policy in force", error, ""))?;
    let (number, content) = (at(&policy, "/number"), at(&policy, "/content"));
    Ok(Some(InForce { number, content, files }))
}

/// What the folder here would open and close, against the one there.
fn plan(path: &Path, there: Option<&InForce>, here: &Files) -> Result<Plan, Stop> {
    let now = folder::now();
    let made = |files: &Files, enforced: Option<&Enforced>| {
        let wanted = Wanted { files, enforced, flows: &[], now };
        make(&wanted)
    };
    let before = there.and_then(|there| {
        // One that is in force has no faults; if it had some here, the plan is against nothing.
        let ruleset = made(&there.files, None).ok()?.ruleset?;
        Some(Enforced::of(there.files.clone(), ruleset, now))
    });
    let plan = made(here, before.as_ref());
    Ok(plan.map_err(|faults| folder::refused(path, here, &faults))?)
}

/// Files that differ, line by line.
fn texts(out: &mut dyn Write, before: &Files, after: &Files) -> io::Result<()> {
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let none = String::new();
    let mut any = false;
    for path in paths {
        let old = before.get(path).unwrap_or(&none);
        let new = after.get(path).unwrap_or(&none);
        if old == new {
            continue;
        }
        any = true;
        let name = |side: &str, there: bool| match there {
            true => format!("{side}/{path}"),
            false => "/dev/null".to_owned(),
        };
        let old_name = name("in-force", before.contains_key(path));
        let new_name = name("here", after.contains_key(path));
        let diff = TextDiff::from_lines(old, new);
        let text = diff.unified_diff().context_radius(2).header(&old_name, &new_name).to_string();
        text.lines().try_for_each(|line| writeln!(out, "{}", plain(line)))?;
    }
    if any { writeln!(out) } else { Ok(()) }
}

/// The folder was compared with what is in force: that is what a change of it is based on.
fn based(context: Option<&str>, path: &Path, there: Option<&InForce>) -> Result<(), Fault> {
    if let Some(there) = there {
        eprintln!(
            "compared with version {} in force ({:.12})",
            plain(&there.number),
            there.content
        );
    }
    remember(context, path, there.map(|there| &*there.content))
}

/// What the folder was made from, as far as it is known here.
fn based_on(context: Option<&str>, path: &Path) -> Result<Option<String>, Fault> {
    let chosen = Chosen::find(context)?;
    Ok(chosen.context.folders.get(&absolute(path)).cloned())
}

fn remember(context: Option<&str>, path: &Path, content: Option<&str>) -> Result<(), Fault> {
    let Some(name) = Chosen::find(context)?.name else {
        // All is from the environment: nothing is kept.
        return Ok(());
    };
    let mut contexts = Contexts::read()?;
    let Some(known) = contexts.contexts.get_mut(&name) else { return Ok(()) };
    let path = absolute(path);
    let before = match content {
        Some(content) => known.folders.insert(path, content.to_owned()),
        None => known.folders.remove(&path),
    };
    match before.as_deref() == content {
        true => Ok(()),
        false => contexts.write(),
    }
}

fn absolute(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
    path.display().to_string()
}

/// The commit that the folder is at.
fn commit(path: &Path) -> Result<String, Fault> {
    let what = format!("the commit of {}", path.display());
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(path).args(arguments).output();
        let output = output.map_err(|error| {
            Fault::new(
                "git",
                what.clone(),
                format!("git cannot be run: {error}"),
                "leave --commit out",
            )
        })?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(Fault::new("git", what.clone(), plain(said.trim()), "leave --commit out"))
            }
        }
    };
    let head = git(&["rev-parse", "--verify", "HEAD"])?;
    if !git(&["status", "--porcelain", "--", "."])?.is_empty() {
        let why = "it has changes that are not committed";
        return Err(Fault::new("git", what, why, "commit them, or leave --commit out"));
    }
    let within = git(&["rev-parse", "--show-prefix"])?;
    let within = within.trim_end_matches('/');
    Ok(if within.is_empty() { format!("commit {head}") } else { format!("commit {head} {within}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_differ_are_shown_and_obey_nothing() {
        let files = |all: &[(&str, &str)]| -> Files {
            all.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
        };
        let before = files(&[("a.toml", "one\ntwo\n"), ("gone.cedar", "x\n"), ("same", "s\n")]);
        let after =
            files(&[("a.toml", "one\n2\u{1b}[1m\n"), ("new.cedar", "y\n"), ("same", "s\n")]);
        let mut out = Vec::new();
        texts(&mut out, &before, &after).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
