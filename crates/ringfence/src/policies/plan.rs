//! Plans: made, saved, applied, or only looked at.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use enforcer::netlink::Place;
use enforcer::verdict::GROUP;
use enforcer::{Fence, Options, Ownership};
use miette::{Diagnostic, Result, Severity, WrapErr};
use model::Timestamp;
use policy::plan::{ENFORCED_FILE, Enforced, Plan, SCHEMA, Stale, Wanted, make};

use super::args::{Apply, Export, ExportNft, Plan as Args, Preview};
use super::{given, names, print, show};
use crate::told::Tell as _;
use crate::{exit, folder, out};

/// Code of what could not be put in force.
const NOT_APPLIED: &str = "ringfence::apply::failed";
/// Socket of a site daemon in its state folder.
const CONTROL_SOCKET: &str = "control.sock";

#[derive(Debug, thiserror::Error, Diagnostic)]
enum Wrong {
    #[error("{0}")]
    #[diagnostic(code(ringfence::apply::stale))]
    Stale(Stale),
    #[error("the plan is refused: {0} test(s), claim(s) or budget(s) do not hold")]
    #[diagnostic(code(ringfence::apply::refused), help("`ringfence plan` says which"))]
    Refused(usize),
    #[error("generation {generation} was applied, and reading it back shows a difference: {what}")]
    #[diagnostic(
        code(ringfence::apply::not_verified),
        help("something else changes these tables; apply again, and see `nft monitor`")
    )]
    NotVerified { generation: u64, what: String },
    #[error("{} cannot be written: {why}", path.display())]
    #[diagnostic(code(ringfence::plan::unwritable))]
    Unwritable { path: PathBuf, why: String },
    #[error("a site daemon keeps {} and enforces its own folder", .0.display())]
    #[diagnostic(
        code(ringfence::apply::site_runs),
        help("change the folder it was started with; `ringfence site reload` takes it over")
    )]
    SiteRuns(PathBuf),
}

/// `ringfence plan`.
pub(crate) fn run(args: &Args) -> Result<u8> {
    let files = folder::files(&args.folder)?;
    let enforced = given::enforced(args.enforced.as_deref())?;
    let flows = given::flows(&args.flows)?;
    let wanted =
        Wanted { files: &files, enforced: enforced.as_ref(), flows: &flows, now: folder::now() };
    let plan = make(&wanted).map_err(|faults| folder::refused(&args.folder, &files, &faults))?;
    folder::show(&args.folder, &files, &plan.refused, Severity::Error);
    show(args.output, &plan, |out| print::plan(out, &plan, args.all))?;
    if plan.is_refused() {
        return Ok(exit::REFUSED);
    }
    if let Some(path) = &args.out {
        save(path, &plan)?;
        eprintln!("saved: ringfence apply {} -i INTERFACE applies exactly this", path.display());
    }
    Ok(if plan.changed && args.detailed_exitcode { exit::FINDINGS } else { exit::FINE })
}

/// `ringfence policy preview`: the difference to the folder as it is.
pub(crate) fn preview(args: &Preview) -> Result<u8> {
    let now = folder::now();
    let files = folder::files(&args.of.folder)?;
    let flows = given::flows(&args.flows)?;
    let is = Wanted { files: &files, enforced: None, flows: &[], now };
    let is = make(&is).map_err(|faults| folder::refused(&args.of.folder, &files, &faults))?;
    let enforced = is.ruleset.clone().map(|ruleset| Enforced::of(files.clone(), ruleset, now));
    if enforced.is_none() {
        folder::show(&args.of.folder, &files, &is.refused, Severity::Error);
        return Err(Wrong::Refused(is.refused.len()).into());
    }
    let other = changed(args, &files)?;
    let wanted = Wanted { files: &other, enforced: enforced.as_ref(), flows: &flows, now };
    let plan = make(&wanted).map_err(|faults| folder::refused(&args.of.folder, &other, &faults))?;
    folder::show(&args.of.folder, &other, &plan.refused, Severity::Warning);
    show(args.of.output, &plan, |out| print::plan(out, &plan, args.all))?;
    Ok(if plan.is_refused() { exit::REFUSED } else { exit::FINE })
}

/// The folder with what the preview asks for.
fn changed(args: &Preview, files: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let mut files = files.clone();
    for path in &args.add {
        let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        files.insert(format!("policies/{name}"), folder::text(path)?);
    }
    if args.pack.is_empty() && args.zone.is_empty() {
        return Ok(files);
    }
    let estate = files.get(policy::folder::ESTATE_FILE).cloned().unwrap_or_default();
    let mut parsed = policy::folder::parse(&files)
        .map_err(|faults| folder::refused(&args.of.folder, &files, &faults))?;
    for (name, mode) in &args.zone {
        let zone = names::zone(&parsed, name)?;
        if let Some(zone) = parsed.estate.zones.get_mut(zone) {
            zone.mode = match mode.as_str() {
                "shadow" => model::ruleset::Mode::Shadow,
                _ => model::ruleset::Mode::Enforce,
            };
        }
    }
    args.pack.iter().try_for_each(|name| names::pack(name).map(drop))?;
    parsed.estate.packs.extend(args.pack.iter().cloned());
    let written = parsed.files().remove(policy::folder::ESTATE_FILE).unwrap_or(estate);
    files.insert(policy::folder::ESTATE_FILE.to_owned(), written);
    Ok(files)
}

/// `ringfence apply`: exactly the saved plan, or nothing; a folder goes to the controller.
pub(crate) fn apply(args: &Apply) -> Result<u8> {
    let Some(path) = &args.plan else {
        return crate::control::apply(args);
    };
    let plan: Plan = folder::document(path, SCHEMA)?;
    let Some(ruleset) = plan.ruleset.as_ref().filter(|_| !plan.is_refused()) else {
        eprintln!("{:?}", miette::Report::new(Wrong::Refused(plan.refused.len().max(1))));
        return Ok(exit::REFUSED);
    };
    let socket = args.state.join(CONTROL_SOCKET);
    if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
        eprintln!("{:?}", miette::Report::new(Wrong::SiteRuns(args.state.clone())));
        return Ok(exit::CONFLICT);
    }
    let enforced = given::enforced(Some(&args.state))?;
    let now_in_folder = args.policy.as_deref().map(folder::files).transpose()?;
    if let Err(stale) = plan.fits(enforced.as_ref(), now_in_folder.as_ref()) {
        eprintln!("{:?}", miette::Report::new(Wrong::Stale(stale)));
        return Ok(exit::CONFLICT);
    }
    let now = folder::now();
    let mut options = Options {
        interfaces: args.interface.clone(),
        ports: args.ports.clone(),
        // This process ends and the fence stays: nobody would be left to own it.
        ownership: Ownership::Open,
        ..of_folder(&plan.files, now)
    };
    let fence = Fence::new(Place::here(), &args.table);
    for name in missing(&args.interface) {
        eprintln!(
            "there is no interface `{name}` here: its rules wait until there is (`ip link` lists them)"
        );
    }
    let applied = fence.apply(ruleset, &options).or_else(|error| {
        // A kernel that cannot log can still keep the fence.
        let silent = Options { log_group: None, ..options.clone() };
        let applied = fence.apply(ruleset, &silent).map_err(|_| error)?;
        eprintln!("the kernel does not log here: denials are counted, and not told one by one");
        options = silent;
        Ok(applied)
    });
    let applied = match applied {
        Err(error @ enforcer::EnforceError::Stale { .. }) => {
            eprintln!("ringfence: {error}");
            return Ok(exit::CONFLICT);
        }
        other => other.told(NOT_APPLIED).wrap_err("nothing was changed")?,
    };
    // The state is written before the read-back: what the kernel took is what is in force, verified or not.
    if let Some(state) = Enforced::after(&plan, now) {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&args.state);
        made.map_err(|error| Wrong::Unwritable {
            path: args.state.clone(),
            why: error.to_string(),
        })?;
        save(&args.state.join(ENFORCED_FILE), &state)?;
    }
    for what in &applied.unsupported {
        eprintln!("not enforceable here: {what}");
    }
    match fence.verify(ruleset, &options).told(NOT_APPLIED)? {
        Ok(verified) => {
            out::print(|out| {
                writeln!(
                    out,
                    "generation {} applied and verified: {} elements and {} rules read back",
                    verified.generation, verified.compared, verified.rules
                )
            })?;
            Ok(exit::FINE)
        }
        Err(differences) => {
            let what = differences.first().map_or(String::new(), ToString::to_string);
            Err(Wrong::NotVerified { generation: applied.generation, what }.into())
        }
    }
}

/// `ringfence export`.
pub(crate) fn export(what: &Export) -> Result<u8> {
    let Export::Nft(args) = what;
    let text = nft(args)?;
    out::print(|out| out.write_all(text.as_bytes())).map(|()| exit::FINE)
}

fn nft(args: &ExportNft) -> Result<String> {
    let now = folder::now();
    let files = folder::files(&args.folder)?;
    let wanted = Wanted { files: &files, enforced: None, flows: &[], now };
    let plan = make(&wanted).map_err(|faults| folder::refused(&args.folder, &files, &faults))?;
    folder::show(&args.folder, &files, &plan.refused, Severity::Error);
    let Some(mut ruleset) = plan.ruleset else {
        return Err(Wrong::Refused(plan.refused.len()).into());
    };
    ruleset.generation = args.generation;
    let options = Options {
        table: args.table.clone(),
        interfaces: args.interface.clone(),
        ports: args.ports.clone(),
        ..of_folder(&files, now)
    };
    enforcer::render(&ruleset, &options).told("ringfence::export::failed")
}

/// Interfaces that are not there, or not yet. A name may end with `*`.
fn missing(names: &[String]) -> Vec<&str> {
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let here: Vec<&str> =
        table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    let is_here = |name: &str| match name.strip_suffix('*') {
        Some(begin) => here.iter().any(|here| here.starts_with(begin)),
        None => here.contains(&name),
    };
    // Where nothing can be listed, nothing is known.
    names.iter().map(String::as_str).filter(|name| !here.is_empty() && !is_here(name)).collect()
}

/// What a folder says about where it is enforced: the networks of its zones, in which an address that is
/// nobody's is unknown. Verdicts go to the group that `ringfence observe --live` reads.
fn of_folder(files: &BTreeMap<String, String>, now: Timestamp) -> Options {
    let zones = policy::folder::parse(files).map(|folder| folder.estate.zones).unwrap_or_default();
    let networks = zones.iter().filter_map(|zone| {
        let (ip, prefix) = zone.subnet.split_once('/')?;
        Some((ip.parse().ok()?, prefix.parse().ok()?))
    });
    let mut site: Vec<(IpAddr, u8)> = networks.collect();
    site.sort_unstable();
    site.dedup();
    Options { site, log_group: Some(GROUP), ..Options::new("", now) }
}

/// Writes a document beside its place and moves it there: a reader sees the old one or the new one.
fn save<T: serde::Serialize>(path: &Path, value: &T) -> Result<()> {
    let wrong = |why: String| Wrong::Unwritable { path: path.to_owned(), why };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let text = serde_json::to_string(value).map_err(|error| wrong(error.to_string()))?;
    let written = fs::File::create(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&beside, path)).map_err(|error| wrong(error.to_string()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_that_are_not_there_are_named() {
        let names = ["lo", "nowhere0", "l*", "nowhere*"].map(str::to_owned);
        assert_eq!(missing(&names), ["nowhere0", "nowhere*"]);
    }
}
