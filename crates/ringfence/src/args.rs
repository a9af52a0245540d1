//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use model::Timestamp;

const FIRST: &str = "\
Begin with:
  sudo ringfence demo                             what it is for, on this machine, in a minute
  ringfence inspect --policy draft/ plant.pcap    an inventory and a draft policy from real traffic
  ringfence plan draft/                           what that policy would open and close
  ringfence login --server HOST --ca root.pem     a controller; then: get devices, doctor";

/// Zero-trust control plane for IoT and OT fleets.
#[derive(Debug, Parser)]
#[command(name = "ringfence", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = FIRST)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Inventory, used paths, draft policy and reach from real traffic.
    ///
    /// Reads captures (pcap, pcapng, also gzip or zstd) or listens on an interface. Several files
    /// are one estate, in time order. Nothing is sent to any network.
    Inspect(Inspect),
    /// A small warehouse in network namespaces: learnt, fenced, attacked, proved.
    ///
    /// Builds 12 devices and their services on this machine, listens, drafts a policy, enforces it
    /// with nf_tables, and lets a taken-over camera attack before and after. Ends by itself within
    /// a minute and leaves nothing behind, also after Ctrl-C. Needs root or unprivileged user
    /// namespaces, and the Debian packages it names when they are missing.
    Demo(Demo),
    /// What would change if a policy folder were enforced.
    ///
    /// Compares the folder with what is enforced: paths that open and close, recorded flows that would
    /// break, exceptions, reach before and after. Changes nothing.
    Plan(crate::policies::args::Plan),
    /// Applies a saved plan, or a policy folder at the controller: whole, or nothing.
    Apply(crate::policies::args::Apply),
    /// Questions about a policy folder: check, test, mutate, prove, preview, why, reach, cut-off.
    Policy {
        #[command(subcommand)]
        command: crate::policies::args::Policy,
    },
    /// What is enforced elsewhere, as files.
    Export {
        #[command(subcommand)]
        what: crate::policies::args::Export,
    },
    /// Headquarters: one estate, its journal, its policy, its API, and the line to every site.
    Controller {
        #[command(subcommand)]
        command: crate::controller::args::Controller,
    },
    /// Sensor and enforcer of one site, stand-alone from a policy folder.
    Site(crate::site::args::Site),
    /// What the fence did: denied, would deny, would allow, and why.
    ///
    /// Reads the log of a site, a file of it, or the kernel's own log as it happens. Every denial
    /// names the rule that came nearest and the first field that differs.
    Observe(crate::observe::args::Observe),
    /// Manufacturer usage descriptions (RFC 8520): check, show, propose, export.
    Mud {
        #[command(subcommand)]
        command: crate::mud::args::Mud,
    },
    /// The tamper-evident journal: new, append, verify, prove, export, watch.
    Journal {
        #[command(subcommand)]
        command: crate::journal::args::Journal,
    },
    /// An independent cosigner of journals (C2SP tlog-witness): new, serve.
    Witness {
        #[command(subcommand)]
        command: crate::witness::args::Witness,
    },
    #[command(flatten)]
    Control(crate::control::args::Command),
    /// The fields that identification rules can match on, with their meaning.
    #[command(
        after_help = "Example:\n  ringfence fields | grep '^dhcp'\n\nExit codes: 0 always, 64 wrong usage."
    )]
    Fields,
}

const DEMO: &str = "\
Examples:
  sudo ringfence demo
  sudo ringfence demo --seed 11 --html /tmp/demo.html
  sudo ringfence demo --stay                          look around in the console afterwards

Exit codes: 0 the fence held and broke nothing, 1 it did not, or it was interrupted, 64 wrong usage.";

/// Options of `demo`.
#[derive(Debug, Group)]
#[command(after_help = DEMO)]
pub(crate) struct Demo {
    /// Decides the schedule of all traffic.
    #[arg(long, value_name = "NUMBER", default_value_t = 7)]
    pub(crate) seed: u64,
    /// Where the page is written.
    #[arg(long, value_name = "FILE", default_value = "ringfence-demo.html")]
    pub(crate) html: PathBuf,
    /// Leave the console up afterwards, until Ctrl-C.
    #[arg(long)]
    pub(crate) stay: bool,
}

const EXAMPLES: &str = "\
Examples:
  ringfence inspect plant.pcapng
  ringfence inspect --html report.html monday.pcap.gz tuesday.pcap.zst
  ringfence inspect -o json plant.pcap | jq '.devices[].model.value'
  ringfence inspect --policy draft/ plant.pcap
  sudo ringfence inspect -i eth1 --for 10m

Exit codes: 0 all was read, 1 something could not be read, 2 there are findings of medium severity
or above (with --detailed-exitcode), 64 wrong usage.";

/// Options of `inspect`.
#[derive(Debug, Group)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Inspect {
    /// Capture files; `-` is standard input.
    #[arg(
        required_unless_present = "interface",
        conflicts_with = "interface",
        value_name = "FILE"
    )]
    pub(crate) files: Vec<PathBuf>,
    /// Listen on this interface instead (needs CAP_NET_RAW); Ctrl-C ends it and reports.
    #[arg(short, long, value_name = "IFACE")]
    pub(crate) interface: Option<String>,
    /// Listen for this long: 90s, 10m, 2h.
    #[arg(long = "for", value_name = "TIME", conflicts_with = "files", value_parser = duration)]
    pub(crate) run_for: Option<Duration>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// Also write one self-contained HTML page.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Also write a draft policy folder (must be new or empty).
    #[arg(long, value_name = "DIR")]
    pub(crate) policy: Option<PathBuf>,
    /// Further identification rules: a folder of *.toml files (see rules/README.md), Recog
    /// fingerprints (*.xml) and Home Assistant matchers (*.py, *.json).
    #[arg(long, value_name = "DIR")]
    pub(crate) rules: Option<PathBuf>,
    /// Another table of address blocks (see rules/README.md).
    #[arg(long, value_name = "FILE")]
    pub(crate) oui: Option<PathBuf>,
    /// Name of the site that is looked at.
    #[arg(long, value_name = "NAME", default_value = "site")]
    pub(crate) site: String,
    /// Show every device and every finding, not only the first ones.
    #[arg(long)]
    pub(crate) all: bool,
    /// Exit with 2 when there are findings of medium severity or above.
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// No progress bar.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A report for people.
    Table,
    /// The document `ringfence.inspect/v1`.
    Json,
    /// One device a line, as JSON.
    Jsonl,
}

/// `2031-03-14T18:00:00Z`.
pub(crate) fn instant(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "write an instant, such as 2031-03-14T18:00:00Z".to_owned())
}

/// `90`, `90s`, `10m`, `2h`, `1d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(format!("`{unit}` is no unit; write 90s, 10m, 2h or 1d")),
    };
    let number: u64 =
        number.parse().map_err(|_| "write a number and a unit, as in 10m".to_owned())?;
    number
        .checked_mul(seconds)
        .filter(|s| *s > 0)
        .map(Duration::from_secs)
        .ok_or_else(|| "must be more than zero, and fit a clock".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    /// What is wrapped again by the terminal is hard to read.
    const COLUMNS: usize = 100;

    fn leaves(command: clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
        let path = format!("{path} {}", command.get_name());
        if !command.has_subcommands() {
            found.push((path, command));
            return;
        }
        for sub in command.get_subcommands() {
            leaves(sub.clone(), &path, found);
        }
    }

    #[test]
    fn every_command_has_examples_and_exit_codes() {
        let mut all = Vec::new();
        leaves(Args::command(), "", &mut all);
        assert!(all.len() > 60, "{}", all.len());
        let mut wrong = Vec::new();
        for (path, command) in all {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let plain = help.replace("sudo ", "");
            let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
            let parts = ["Example", " ringfence ", "Exit codes: 0 ", "64 wrong"];
            let missing = parts.iter().filter(|part| !plain.contains(**part));
            wrong.extend(missing.map(|part| format!("{path}: no `{part}`")));
            let long = help.lines().filter(|line| line.chars().count() > COLUMNS);
            wrong.extend(long.map(|line| format!("{path}: too long: {line}")));
        }
        assert_eq!(wrong, Vec::<String>::new());
    }

    #[test]
    fn instants() {
        assert_eq!(instant("1970-01-01T00:00:01Z"), Ok(Timestamp::from_secs(1, 0)));
        for text in ["", "yesterday", "2031-03-14", "10m"] {
            assert!(instant(text).is_err_and(|why| why.contains("2031-03-14T18:00:00Z")), "{text}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        for text in ["", "0s", "m", "10x", "99999999999999999999s", "9999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
