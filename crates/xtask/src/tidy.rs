//! Rules of this repository that no compiler checks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::Stop;

/// Longest source file, in lines; a longer one says why in its first lines.
const LINES_MAX: usize = 800;

/// How a long file says why.
const EXCUSE: &str = "//! Long because";

/// Floors (ARCHITECTURE.md): a crate depends on crates below its own floor, or beside it where it is
/// listed. Crates without a floor are tools.
const FLOORS: &[(&str, u8)] = &[
    ("model", 0),
    ("dissect", 0),
    ("memory", 0),
    ("inventory", 1),
    ("journal", 1),
    ("pki", 1),
    ("policy", 1),
    ("estate", 2),
    ("crypto", 3),
    ("sensor", 3),
    ("enforcer", 3),
    ("names", 3),
    ("prove", 3),
    ("store", 3),
    ("controller", 4),
    ("lab", 4),
    ("site", 4),
    ("ringfence", 5),
    ("device-agent", 5),
];

/// Dependencies within one floor.
const BESIDE: &[(&str, &str)] = &[("dissect", "model")];

/// Crates that are tools for this repository: nothing that ships depends on them.
const TOOLS: &[&str] = &["xtask"];

/// Checks every rule and prints what is broken.
pub(crate) fn run() -> Result<bool, Stop> {
    let root = crate::root();
    let mut broken = Vec::new();
    let files = tracked(&root)?;
    let mut read = 0;
    for file in &files {
        // Binary files (fuzz corpora) are no text.
        if let Ok(text) = std::fs::read_to_string(root.join(file)) {
            read += 1;
            check_text(file, &text, &mut broken);
        }
    }
    check_floors(&packages(&root)?, &mut broken);
    for line in &broken {
        println!("{line}");
    }
    println!("tidy: {read} files, {} rules broken", broken.len());
    Ok(broken.is_empty())
}

fn check_text(file: &str, text: &str, broken: &mut Vec<String>) {
    // Written in pieces, so that this file does not break its own rule.
    let machine = ["/wo", "rk/|/ro", "ot/|/tmp/tar", "get|/ho", "me/"].concat();
    let unfinished = ["to", "do!("].concat();
    let is_rust = Path::new(file).extension().is_some_and(|e| e == "rs");
    if !file.ends_with(".lock") {
        for (n, line) in text.lines().enumerate() {
            if let Some(path) = machine.split('|').find(|p| names_path(line, p)) {
                broken.push(format!("{file}:{}: names a path of one machine ({path})", n + 1));
            }
            if is_rust && line.contains(&unfinished) {
                broken.push(format!("{file}:{}: is not finished ({unfinished}…)", n + 1));
            }
        }
    }
    let lines = text.lines().count();
    let excused = text.lines().take(20).any(|l| l.starts_with(EXCUSE));
    if is_rust && lines > LINES_MAX && !excused {
        broken.push(format!(
            "{file}: {lines} lines, more than {LINES_MAX}: split it, or say `{EXCUSE} …` at its top"
        ));
    }
}

/// Whether a line has an absolute path that begins like this; `a/work/b` is none.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|b| b.chars().next_back());
        before.is_none_or(|c| !c.is_alphanumeric() && !"._-~$}/*>".contains(c))
    })
}

fn check_floors(packages: &[Package], broken: &mut Vec<String>) {
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    for package in packages {
        let name = package.name.as_str();
        let floor = floors.get(name);
        if floor.is_none() && !TOOLS.contains(&name) {
            broken.push(format!("crate {name} has no floor: add it to the table in xtask's tidy"));
        }
        for dependency in &package.dependencies {
            // Tests may use anything; only what ships has to stand on a lower floor.
            let ships = dependency.kind.as_deref() != Some("dev");
            if !ships || dependency.path.is_none() {
                continue;
            }
            let below = dependency.name.as_str();
            let allowed = match (floor, floors.get(below)) {
                (Some(floor), Some(under)) => under < floor || BESIDE.contains(&(name, below)),
                (None, Some(_)) => true,
                (_, None) => false,
            };
            if !allowed {
                broken.push(format!("crate {name} may not depend on {below}: floors point down"));
            }
        }
    }
}

/// A member of the workspace.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<PathBuf>,
}

fn packages(root: &Path) -> Result<Vec<Package>, Stop> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let text = output(Command::new("cargo").args(arguments).current_dir(root))?;
    serde_json::from_slice::<Metadata>(&text)
        .map(|m| m.packages)
        .map_err(|e| Stop(format!("`cargo metadata` is not understood: {e}")))
}

/// Files under version control, and new ones that will be.
fn tracked(root: &Path) -> Result<Vec<String>, Stop> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let text = output(Command::new("git").args(arguments).current_dir(root))?;
    let names = String::from_utf8_lossy(&text);
    Ok(names.split('\0').filter(|n| !n.is_empty()).map(str::to_owned).collect())
}

fn output(command: &mut Command) -> Result<Vec<u8>, Stop> {
    let name = format!("{command:?}");
    let output = command.output().map_err(|e| Stop(format!("{name} cannot be run: {e}")))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Stop(format!("{name} failed: {}", said.trim())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, text: &str, expect: &[&str]) {
        let mut broken = Vec::new();
        check_text(file, text, &mut broken);
        assert_eq!(broken.len(), expect.len(), "{broken:?}");
        for (got, part) in broken.iter().zip(expect) {
            assert!(got.contains(part), "{got}");
        }
    }

    #[test]
    fn texts_are_checked() {
        let unfinished = ["fn f() { to", "do!() }"].concat();
        check("a.rs", &unfinished, &["a.rs:1: is not finished"]);
        check("a.md", &unfinished, &[]);
        let path = ["see `/wo", "rk/notes`"].concat();
        check("README.md", &format!("x\n{path}"), &["README.md:2: names a path"]);
        check("Cargo.lock", &path, &[]);
        check("a.md", &["net", "/wo", "rk/x and ~/ro", "ot/y"].concat(), &[]);
        let long = "line\n".repeat(LINES_MAX + 1);
        check("a.rs", &long, &["more than 800"]);
        check("a.rs", &format!("{EXCUSE} of its tables.\n{long}"), &[]);
        check("a.toml", &long, &[]);
    }

    #[test]
    fn floors_point_down() {
        let package = |name: &str, uses: &[(&str, Option<&str>)]| Package {
            name: name.to_owned(),
            dependencies: uses
                .iter()
                .map(|(name, kind)| Dependency {
                    name: (*name).to_owned(),
                    kind: kind.map(str::to_owned),
                    path: Some(PathBuf::new()),
                })
                .collect(),
        };
        for (name, uses, expect) in [
            ("inventory", &[("model", None)][..], 0),
            ("dissect", &[("model", None)], 0),
            ("inventory", &[("policy", None)], 1),
            ("model", &[("sensor", None)], 1),
            ("model", &[("sensor", Some("dev"))], 0),
            ("xtask", &[("sensor", None)], 0),
            ("sensor", &[("xtask", None)], 1),
            ("unheard-of", &[], 1),
        ] {
            let mut broken = Vec::new();
            check_floors(&[package(name, uses)], &mut broken);
            assert_eq!(broken.len(), expect, "{name}: {broken:?}");
        }
    }
}
