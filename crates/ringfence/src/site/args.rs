//! What can be typed after `ringfence site`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Subcommand, ValueEnum};

use crate::args::duration;

const EXAMPLES: &str = "\
Examples:
  sudo ringfence site prepare --interface br0 --check
  sudo ringfence site prepare --interface br0
  sudo ringfence site --policy /etc/ringfence/policy --interface br0
  sudo ringfence site status
  sudo ringfence site reload --confirm-within 2m && sudo ringfence site confirm
  sudo ringfence site break-glass --zone main/plcs/10.0.2.0-24 --for 30m --reason \"pump 3 is stuck\"
  sudo ringfence site join --controller hq.example.com:8444 --token-file token
  sudo ringfence site --controller --interface br0

Exit codes: 0 done, 1 failed, 3 no such zone, 5 refused (by the policy folder's faults, the
promotion gate, or a limit of site.toml), 64 wrong usage.";

/// Sensor and enforcer of one site.
#[derive(Debug, Group)]
#[command(disable_help_subcommand = true, after_help = EXAMPLES)]
pub(crate) struct Site {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// `ringfence site --policy …` means `ringfence site run --policy …`.
pub(crate) fn plain(mut line: Vec<OsString>) -> Vec<OsString> {
    let word = |at: usize| line.get(at).and_then(|word| word.to_str()).unwrap_or_default();
    let is_option = word(2).starts_with('-') && !matches!(word(2), "-h" | "--help");
    if word(1) == "site" && is_option {
        line.insert(2, OsString::from("run"));
    }
    line
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Enforce a policy folder, or what a controller says, on this machine and watch who is there.
    ///
    /// Order: neighbours are contained, the rules applied in one transaction, read back, and only
    /// then is anything called verified. A folder with any fault is refused whole, and what is
    /// enforced stays. A stopped or killed site leaves its fence up; the next one claims it again
    /// without a gap, and never goes back to an older generation.
    #[command(
        after_help = "Examples:\n  sudo ringfence site run --policy /etc/ringfence/policy --interface br0 --confirm-within 2m\n  sudo ringfence site run --controller --interface br0\n\nExit codes: 0 it was ended, 1 failed, 5 the folder has faults, 64 wrong usage."
    )]
    Run(Run),
    /// Join a controller with a one-time token, so that policy comes from there.
    ///
    /// The token pins the controller's root certificate, so nobody in between can answer. The site's
    /// key is made here and never leaves. When the answer is lost, the same command again does no
    /// harm. Give the token in a file or on standard input: a command line is seen by others.
    #[command(
        after_help = "Examples:\n  sudo ringfence site join --controller hq.example.com:8444 --token-file token\n  cat token | sudo ringfence site join --controller hq.example.com:8444 -\n\nExit codes: 0 it has joined, 1 failed, 5 the controller refuses, 64 wrong usage."
    )]
    Join(Join),
    /// How the site stands: every control as intended, applied or verified.
    #[command(
        after_help = "Example:\n  sudo ringfence site status -o json | jq '.controls[] | select(.state != \"verified\")'\n\nExit codes: 0 it is shown, 1 failed, or no site is running, 64 wrong usage."
    )]
    Status(Status),
    /// Read the policy folder again.
    #[command(
        after_help = "Example:\n  sudo ringfence site reload --confirm-within 2m\n\nExit codes: 0 done, 1 failed, or no site is running, 5 the folder has faults, 64 wrong usage."
    )]
    Reload(Reload),
    /// Keep what waits for a confirmation.
    #[command(
        after_help = "Example:\n  sudo ringfence site reload --confirm-within 2m && sudo ringfence site confirm\n\nExit codes: 0 done, 1 failed, or no site is running, 5 nothing waits, 64 wrong usage."
    )]
    Confirm(State),
    /// Open the paths from and to a zone for a while, in an emergency.
    ///
    /// Opens what the estate knows and no policy forbids. Works without a controller. The kernel
    /// ends it, also when this program is dead by then. It is written to the journal first.
    #[command(
        after_help = "Examples:\n  sudo ringfence site break-glass --zone main/plcs/10.0.2.0-24 --for 30m --reason \"pump 3 is stuck\"\n  sudo ringfence site break-glass --zone main/plcs/10.0.2.0-24 --end\n\nExit codes: 0 done, 1 failed, or no site is running, 3 no such zone, 5 refused (the\nmessage says why), 64 wrong usage."
    )]
    BreakGlass(BreakGlass),
    /// A zone from shadow to enforce, where its promotion gate is open.
    #[command(
        after_help = "Example:\n  sudo ringfence site promote --zone main/cameras/10.0.1.0-24\n\nExit codes: 0 done, 1 failed, or no site is running, 3 no such zone, 5 refused (the\nmessage says why), 64 wrong usage."
    )]
    Promote(Zone),
    /// A zone back to shadow: what policy denies is counted, and passes.
    #[command(
        after_help = "Example:\n  sudo ringfence site step-back --zone main/cameras/10.0.1.0-24 --reason \"recorder was replaced\"\n\nExit codes: 0 done, 1 failed, or no site is running, 3 no such zone, 5 refused (the\nmessage says why), 64 wrong usage."
    )]
    StepBack(StepBack),
    /// Print the site's journal and check that no line was changed.
    #[command(
        after_help = "Example:\n  sudo ringfence site journal -o json | jq 'select(.event == \"break-glass\")'\n\nExit codes: 0 no line was changed, 1 one was, or it cannot be read, 64 wrong usage."
    )]
    Journal(Journal),
    /// Put neighbours on one subnet under the fence, or say per path what that would need.
    #[command(
        after_help = "Examples:\n  sudo ringfence site prepare --interface br0 --check\n  sudo ringfence site prepare --interface br0 --method isolated-ports\n  sudo ringfence site prepare --interface br0 --undo\n\nExit codes: 0 done, 1 failed, 64 wrong usage."
    )]
    Prepare(Prepare),
    /// End the running site; its fence stays up.
    #[command(
        after_help = "Example:\n  sudo ringfence site stop\n\nExit codes: 0 done, 1 failed, or no site is running, 64 wrong usage."
    )]
    Stop(State),
}

/// Where a box keeps what it enforces, be it a site or a plan that was applied.
pub(crate) const STATE: &str = "/var/lib/ringfence/site";

/// Which site.
#[derive(Debug, Group)]
pub(crate) struct State {
    /// State directory of the site.
    #[arg(long, value_name = "DIR", default_value = STATE)]
    pub(crate) state: PathBuf,
}

/// Options of `run`.
#[derive(Debug, Group)]
pub(crate) struct Run {
    /// Policy folder.
    #[arg(long, value_name = "DIR", required_unless_present = "controller")]
    pub(crate) policy: Option<PathBuf>,
    /// Policy comes from the controller that this site has joined (`ringfence site join`). While it
    /// is out of reach, leases run out: see docs/site-line.md.
    #[arg(long, conflicts_with_all = ["policy", "confirm_within", "watch", "site"])]
    pub(crate) controller: bool,
    /// Keep lists of revoked certificates of devices here, for brokers and proxies on this machine
    /// (else: `lists` in the state directory).
    #[arg(long, value_name = "DIR", requires = "controller")]
    pub(crate) lists: Option<PathBuf>,
    /// Interface the devices are behind: a bridge, so that neighbours pass the fence too.
    #[arg(short, long, value_name = "IFACE")]
    pub(crate) interface: String,
    #[command(flatten)]
    pub(crate) state: State,
    /// Name of the site.
    #[arg(long, value_name = "NAME", default_value = "site")]
    pub(crate) site: String,
    /// Everything passes and is counted, whatever the folder says.
    #[arg(long)]
    pub(crate) shadow: bool,
    /// Go back to what was enforced before, unless `ringfence site confirm` comes within this time.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) confirm_within: Option<Duration>,
    /// Read the folder again when it changes (else: on SIGHUP and `ringfence site reload`).
    #[arg(long)]
    pub(crate) watch: bool,
    /// NFLOG group that the rules log to; the site reads it and writes `verdicts.jsonl`.
    #[arg(long, value_name = "NUMBER", default_value_t = enforcer::verdict::GROUP)]
    pub(crate) log_group: u16,
    /// How neighbours on one subnet are kept apart.
    #[arg(long, value_enum, default_value_t = Method::BridgeFilter)]
    pub(crate) method: Method,
    /// Answer devices' DNS questions on port 53 of the interface, asking this resolver
    /// (192.0.2.53:53); may be given several times. Paths that policy names by DNS name open with
    /// the answers; without it they stay closed.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) resolver_upstream: Vec<std::net::SocketAddr>,
}

/// Options of `join`.
#[derive(Debug, Group)]
pub(crate) struct Join {
    /// Where the controller listens.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) controller: String,
    #[command(flatten)]
    pub(crate) state: State,
    /// File with the token.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// The token; `-`: it is read from standard input.
    #[arg(value_name = "TOKEN", required_unless_present = "token_file")]
    pub(crate) token: Option<String>,
}

/// How neighbours on one subnet are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// Bridged frames pass the fence (needs br_netfilter).
    BridgeFilter,
    /// Ports are isolated, and neighbours routed through the fence.
    IsolatedPorts,
    /// As it is.
    None,
}

/// Options of `status`.
#[derive(Debug, Group)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) state: State,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
}

/// Options of `reload`.
#[derive(Debug, Group)]
pub(crate) struct Reload {
    #[command(flatten)]
    pub(crate) state: State,
    /// Go back to what was enforced before, unless `ringfence site confirm` comes within this time.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) confirm_within: Option<Duration>,
}

/// Options of `break-glass`.
#[derive(Debug, Group)]
pub(crate) struct BreakGlass {
    #[command(flatten)]
    pub(crate) state: State,
    /// Zone whose paths open.
    #[arg(long, value_name = "ZONE")]
    pub(crate) zone: String,
    /// For how long: 90s, 30m, 2h. The longest is `break_glass.max_s` in site.toml (4 h).
    #[arg(long = "for", value_name = "TIME", value_parser = duration, required_unless_present = "end")]
    pub(crate) run_for: Option<Duration>,
    /// Why; it goes to the journal.
    #[arg(long, value_name = "TEXT", required_unless_present = "end")]
    pub(crate) reason: Option<String>,
    /// End it now.
    #[arg(long, conflicts_with_all = ["run_for", "reason"])]
    pub(crate) end: bool,
}

/// A zone.
#[derive(Debug, Group)]
pub(crate) struct Zone {
    #[command(flatten)]
    pub(crate) state: State,
    /// Which.
    #[arg(long, value_name = "ZONE")]
    pub(crate) zone: String,
}

/// Options of `step-back`.
#[derive(Debug, Group)]
pub(crate) struct StepBack {
    #[command(flatten)]
    pub(crate) zone: Zone,
    /// Why; it goes to the journal.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// Options of `journal`.
#[derive(Debug, Group)]
pub(crate) struct Journal {
    #[command(flatten)]
    pub(crate) state: State,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// Options of `prepare`.
#[derive(Debug, Group)]
pub(crate) struct Prepare {
    #[command(flatten)]
    pub(crate) state: State,
    /// The bridge.
    #[arg(short, long, value_name = "IFACE")]
    pub(crate) interface: String,
    /// How.
    #[arg(long, value_enum, default_value_t = Method::BridgeFilter)]
    pub(crate) method: Method,
    /// Only tell what it would change, and which paths are enforceable.
    #[arg(long, conflicts_with = "undo")]
    pub(crate) check: bool,
    /// Put back what it changed.
    #[arg(long)]
    pub(crate) undo: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_may_be_left_out() {
        let check = |line: &str, expect: &str| {
            let line = plain(line.split(' ').map(OsString::from).collect());
            let words: Vec<_> = line.iter().filter_map(|word| word.to_str()).collect();
            assert_eq!(words.join(" "), expect);
        };
        check("rf site --policy p -i br0", "rf site run --policy p -i br0");
        check("rf site run --policy p", "rf site run --policy p");
        check("rf site --controller -i br0", "rf site run --controller -i br0");
        check("rf site --help", "rf site --help");
        check("rf site", "rf site");
        check("rf inspect -i br0", "rf inspect -i br0");
    }

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    fn parsed(line: &str) -> Result<Command, clap::error::ErrorKind> {
        use clap::Parser as _;
        let line = Line::try_parse_from(line.split(' '));
        line.map(|line| line.command).map_err(|error| error.kind())
    }

    #[test]
    fn policy_comes_from_a_folder_or_from_the_line_and_not_from_both() {
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument};
        let check = |line: &str, expect: Option<clap::error::ErrorKind>| {
            assert_eq!(parsed(line).err(), expect, "{line}");
        };
        check("site run -i br0 --policy p", None);
        check("site run -i br0 --controller", None);
        check("site run -i br0", Some(MissingRequiredArgument));
        for both in ["--policy p", "--watch", "--confirm-within 2m", "--site shop"] {
            check(&format!("site run -i br0 --controller {both}"), Some(ArgumentConflict));
        }
    }

    #[test]
    fn a_token_need_not_stand_on_the_command_line() {
        for good in ["--token-file t", "-", "rfj_0"] {
            assert!(parsed(&format!("site join --controller hq:1 {good}")).is_ok(), "{good}");
        }
        for wrong in ["", " --token-file t -"] {
            assert!(parsed(&format!("site join --controller hq:1{wrong}")).is_err(), "{wrong}");
        }
    }
}
