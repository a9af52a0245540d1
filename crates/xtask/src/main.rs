//! Repository automation, called by `./x`.

mod bench;
mod controller_bench;
mod decisions;
mod estate;
mod estate_bench;
mod fence;
mod figures;
mod identity_bench;
mod journal_bench;
mod live;
mod matching;
mod oui;
mod reach;
mod replay;
mod resolver;
mod score;
mod score_journal;
mod score_mud;
mod tidy;
mod truth;

use std::path::PathBuf;
use std::process::ExitCode;

// What is measured in this process has the memory of the program.
use memory as _;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  tidy                               repository rules that compilers do not check
  score inspect [DIR] [-v] [-o json] accuracy of `ringfence inspect` against DIR/truth.json
  score mud [DIR] [-v] [-o json]     MUD files read, and signatures verified
  score journal [DIR] [-v] [-o json] Merkle proofs accepted and refused as vectors say
  oui [--out FILE] [SOURCE…]         build the table of address blocks from the IEEE registry
  bench sensor [DIR] [-o json]       speed and memory of `ringfence inspect` beside its peers
  bench reach [-o json]              exact reach of 100,000 devices
  bench policy [-o json]             decisions a second, beside Cedar; whole matrices
  bench journal [-o json]            durable appends a second beside a plain file; proofs
  bench estate [-o json]             a million devices in memory; leases of 50,000
  bench identity [PART] [-o json]    certificates, a fleet that comes back, revocation, quotes, a million identities
  bench controller [PART] [-o json]  reads, pages, signed messages and changes through a real controller (root)
  bench enforcer [-o json]           the fence at full size beside nft (needs root)
  bench names [-o json]              first connections to 10,000 fresh names (needs root)
  bench live [-o json]               loss of live capture between two namespaces (needs root)
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // It has options of its own.
    if let [first, rest @ ..] = words.as_slice()
        && first == "oui"
    {
        return match oui::run(rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("xtask: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let mut options = Options::default();
    let mut names = Vec::new();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "-v" => options.verbose = true,
            "-o" => match words.next() {
                Some("json") => options.json = true,
                Some("table") => options.json = false,
                other => return usage(&format!("-o takes table or json, not {other:?}")),
            },
            "-h" | "--help" => {
                print!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            _ if word.starts_with('-') => return usage(&format!("there is no option {word}")),
            _ => names.push(word),
        }
    }
    let done = match *names.as_slice() {
        ["tidy"] => tidy::run(),
        ["score", "inspect"] => score::run(&captures(), &options),
        ["score", "inspect", dir] => score::run(&PathBuf::from(dir), &options),
        ["score", "mud"] => score_mud::run(&root().join("../shared/data/mud"), &options),
        ["score", "mud", dir] => score_mud::run(&PathBuf::from(dir), &options),
        ["score", "journal"] => score_journal::run(&root().join("../shared/data/ledger"), &options),
        ["score", "journal", dir] => score_journal::run(&PathBuf::from(dir), &options),
        ["bench", "sensor"] => bench::run(&captures(), &options),
        ["bench", "sensor", dir] => bench::run(&PathBuf::from(dir), &options),
        ["bench", "names"] => resolver::run(&options),
        ["bench", "reach"] => reach::run(&options),
        ["bench", "policy"] => decisions::run(&options),
        ["bench", "journal"] => journal_bench::run(&options),
        ["bench", "estate"] => estate_bench::run(&options),
        ["bench", "controller"] => controller_bench::run(None, &options),
        ["bench", "controller", part] => controller_bench::run(Some(part), &options),
        ["bench", "identity"] => identity_bench::run(None, &options),
        ["bench", "identity", part] => identity_bench::run(Some(part), &options),
        ["bench", "controller-bare", folder] => controller_bench::bare(folder),
        ["bench", "enforcer"] => fence::run(&options),
        ["bench", "live"] => live::run(&options),
        ["bench", "live-sender", seconds, rate] => live::send(seconds, rate),
        _ => return usage("no such command"),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How to show results.
#[derive(Debug, Default)]
struct Options {
    verbose: bool,
    json: bool,
}

/// What stopped a task; the text says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Stop(String);

fn usage(problem: &str) -> ExitCode {
    eprint!("xtask: {problem}\n\n{USAGE}");
    ExitCode::from(64)
}

/// The repository's root.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map(PathBuf::from).unwrap_or(here)
}

/// The captures beside the repository, when they are there.
fn captures() -> PathBuf {
    let beside = root().join("../shared/data/pcaps");
    match std::env::var_os("RINGFENCE_CAPTURES") {
        Some(dir) => PathBuf::from(dir),
        None => beside,
    }
}

/// The release binary, which `./x` builds before it calls this.
fn ringfence() -> Result<PathBuf, Stop> {
    release("ringfence")
}

/// What `./x` builds before it calls this.
fn release(name: &str) -> Result<PathBuf, Stop> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let binary = target.join("release").join(name);
    if binary.is_file() {
        Ok(binary)
    } else {
        let hint = "run this through `./x`, which builds it first";
        Err(Stop(format!("{} is not there: {hint}", binary.display())))
    }
}
