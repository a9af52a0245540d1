//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

/// Zero-trust control plane for IoT and OT fleets.
#[derive(Debug, Parser)]
#[command(name = "ringfence", version, about, max_term_width = 100, disable_help_subcommand = true)]
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
    /// Applies a saved plan: exactly what was shown, or nothing.
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
    /// The tamper-evident journal: new, append, verify, prove, export.
    Journal {
        #[command(subcommand)]
        command: crate::journal::args::Journal,
    },
    /// The fields that identification rules can match on, with their meaning.
    Fields,
}

/// Options of `demo`.
#[derive(Debug, Group)]
pub(crate) struct Demo {
    /// Decides the schedule of all traffic.
    #[arg(long, value_name = "NUMBER", default_value_t = 7)]
    pub(crate) seed: u64,
    /// Where the page is written.
    #[arg(long, value_name = "FILE", default_value = "ringfence-demo.html")]
    pub(crate) html: PathBuf,
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

    #[test]
    fn durations() {
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        for text in ["", "0s", "m", "10x", "99999999999999999999s", "9999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
