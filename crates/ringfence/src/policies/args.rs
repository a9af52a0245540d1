//! What can be typed about policies.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Subcommand, ValueEnum};
use model::observation::Transport;

use crate::args::duration;
use crate::site::args::STATE;

const PLAN_EXAMPLES: &str = "\
Examples:
  ringfence plan policy/
  ringfence plan policy/ --enforced /var/lib/ringfence/site --flows monday.json
  ringfence plan policy/ --out change.plan && ringfence apply change.plan -i br0
  ringfence plan policy/ -o json | jq '.breaks[] | {from, to, owner, last_seen}'

Recorded flows are the conduits of estate.toml and of documents that `ringfence inspect -o json`
wrote.

Exit codes: 0 fine, 1 the folder has faults, 2 there are changes (with --detailed-exitcode),
5 refused: a test, claim or reach budget does not hold, 64 wrong usage.";

/// Options of `plan`.
#[derive(Debug, Group)]
#[command(after_help = PLAN_EXAMPLES)]
pub(crate) struct Plan {
    /// Policy folder.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// What is enforced: a state document, or the state folder of a site or of `apply`, which holds
    /// `enforced.json`. Without it, or where there is none yet, the plan is compared with nothing.
    #[arg(long, value_name = "PATH")]
    pub(crate) enforced: Option<PathBuf>,
    /// Documents of `ringfence inspect -o json`: flows that must not break by accident.
    #[arg(long, value_name = "FILE")]
    pub(crate) flows: Vec<PathBuf>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// Save the plan: `ringfence apply FILE` applies exactly it.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Exit with 2 when there are changes.
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Show every group and flow, not only the first ones.
    #[arg(long)]
    pub(crate) all: bool,
}

const APPLY_EXAMPLES: &str = "\
Examples:
  sudo ringfence apply change.plan -i br0
  sudo ringfence apply change.plan -i br0 --ports 'lan*' --policy policy/
  ringfence apply -f policy/ --reason \"ticket 17\"
  ringfence apply -f policy/ --commit --reason \"release 12\" && ringfence wait site w1 --for verified

A saved plan is applied on this box, in one transaction, and read back element by element. A plan
that no longer fits what is in force, or the folder it was made from, is not applied.

With -f a policy folder goes to the controller: checked here, then there, and set whole or not at
all. It is refused when something else is in force than what it was made from.

Exit codes: 0 applied and verified, or set, 1 failed (what was in force stays), 4 the plan is stale,
or another folder came between, 5 refused, or a second person has to approve it first,
64 wrong usage.";

/// Options of `apply`.
#[derive(Debug, Group)]
#[command(after_help = APPLY_EXAMPLES)]
pub(crate) struct Apply {
    /// A plan saved with `ringfence plan --out`.
    #[arg(value_name = "PLAN", required_unless_present = "folder")]
    pub(crate) plan: Option<PathBuf>,
    /// Interface behind which the devices are.
    #[arg(short, long, value_name = "IFACE", required_unless_present = "folder")]
    pub(crate) interface: Vec<String>,
    /// Bridge ports on which frames between neighbours are judged too (`*` at the end: begins with).
    #[arg(long, value_name = "PORT")]
    pub(crate) ports: Vec<String>,
    /// Name of the tables in the kernel.
    #[arg(long, value_name = "NAME", default_value = "ringfence")]
    pub(crate) table: String,
    /// Where the state in force is kept.
    #[arg(long, value_name = "DIR", default_value = STATE)]
    pub(crate) state: PathBuf,
    /// The folder the plan was made from: an edit since then makes the plan stale.
    #[arg(long, value_name = "DIR")]
    pub(crate) policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) to_controller: crate::control::args::ApplyFolder,
}

/// Options of `export`.
#[derive(Debug, Subcommand)]
pub(crate) enum Export {
    /// An nft file for a box that is not ours: `nft -f FILE` there enforces the same.
    #[command(
        after_help = "Examples:\n  ringfence export nft policy/ -i br0 > fence.nft\n  ssh box nft -f - < fence.nft\n\nExit codes: 0 written, 1 the folder has faults, or a test does not hold, 64 wrong usage."
    )]
    Nft(ExportNft),
}

/// Options of `export nft`.
#[derive(Debug, Group)]
pub(crate) struct ExportNft {
    /// Policy folder.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Interface there behind which the devices are.
    #[arg(short, long, value_name = "IFACE", required = true)]
    pub(crate) interface: Vec<String>,
    /// Bridge ports there.
    #[arg(long, value_name = "PORT")]
    pub(crate) ports: Vec<String>,
    /// Number of the generation.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) generation: u64,
    /// Name of the tables.
    #[arg(long, value_name = "NAME", default_value = "ringfence")]
    pub(crate) table: String,
}

/// Questions about a policy folder.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Faults and remarks: what is wrong, uncovered, not enforceable.
    ///
    /// Refuses a folder with any fault as a whole, with file, line, what and why.
    #[command(
        after_help = "Examples:\n  ringfence policy check policy/\n  ringfence policy check policy/ --iec62443 -o json\n\nExit codes: 0 fine, 1 faults, 2 remarks (with --detailed-exitcode), 64 wrong usage."
    )]
    Check(Check),
    /// Runs the folder's own tests, claims and reach budgets.
    #[command(
        after_help = "Examples:\n  ringfence policy test policy/\n\nExit codes: 0 all hold, 1 the folder has faults, 5 one does not hold, 64 wrong usage."
    )]
    Test(Folder),
    /// Proves the standing claims for every estate under the schema.
    ///
    /// Uses the solver cvc5 where it is installed. Without it, claims are checked on every pair of today's
    /// estate, and labelled so.
    #[command(
        after_help = "Examples:\n  ringfence policy prove policy/\n  ringfence policy prove policy/ --claim cameras-never-tills --for 2m\n\nExit codes: 0 proved or holds today, 1 the folder has faults, 2 not proved for every estate (with\n--detailed-exitcode), 3 no such claim, 5 broken, 64 wrong usage."
    )]
    Prove(Prove),
    /// What would change if policies or zone modes were different.
    #[command(
        after_help = "Examples:\n  ringfence policy preview policy/ --add new-rules.cedar\n  ringfence policy preview policy/ --zone main/cameras/10.0.1.0-24=enforce\n  ringfence policy preview policy/ --pack retail --flows monday.json\n\nExit codes: 0 fine, 1 the folder has faults, 3 no such zone or pack, 5 the plan would be refused,\n64 wrong usage."
    )]
    Preview(Preview),
    /// Why a device may open a service, or may not.
    ///
    /// Names the rule and its line; for a default deny the nearest rule and the fields that differ.
    #[command(
        after_help = "Examples:\n  ringfence policy why cam-1 nvr\n  ringfence policy why cam-1 svc:nvr/tcp/8443 --policy policy/\n  ringfence policy why 10.0.1.12 10.0.3.100 --protocol tcp --port 22\n\nDevices go by id, name, MAC or IP address; services by id, name, or their device's.\n\nExit codes: 0 allowed, 1 the folder has faults, 3 no such device or service, 5 denied,\n64 wrong usage."
    )]
    Why(Why),
    /// How far a device gets when it is taken over; without one, the devices that get furthest.
    #[command(
        after_help = "Examples:\n  ringfence policy reach\n  ringfence policy reach cam-1 --policy policy/\n  ringfence policy reach cam-1 --to till-1\n\nExit codes: 0 shown, 1 the folder has faults, 3 no such device, 64 wrong usage."
    )]
    Reach(ReachOf),
    /// Permits that nothing has used, and for how long.
    ///
    /// Reads the counters of the fence in force on this box, or a tally that was kept elsewhere.
    #[command(
        after_help = "Examples:\n  sudo ringfence policy unused policy/\n  ringfence policy unused policy/ --hits hits.json\n\nExit codes: 0 shown, 1 failed, or nothing is counted here, 64 wrong usage."
    )]
    Unused(Unused),
    /// Does anybody notice a mistake in a rule? Every rule broken in turn, and what notices.
    ///
    /// Each rule is deleted, each of its conditions turned around, each comparison negated, each scope
    /// widened. The folder's own tests, claims and reach budgets judge; one that survives is a part of a rule
    /// that could be lost without anybody noticing, and the test that would notice it is written out.
    #[command(
        after_help = "Examples:\n  ringfence policy mutate policy/\n  ringfence policy mutate policy/ --rule cameras-push --all\n  ringfence policy mutate policy/ --detailed-exitcode && git push\n  ringfence policy mutate policy/ --generated\n  ringfence policy mutate policy/ -o json | jq '.mutants[] | select(.outcome == \"survived\")'\n\nExit codes: 0 judged, 1 the folder has faults, 2 some survive (with --detailed-exitcode), 3 no such\nrule, 5 the folder's own tests do not hold, 64 wrong usage."
    )]
    Mutate(Mutate),
    /// What stops when a device is cut off, and whose it is.
    #[command(
        after_help = "Examples:\n  ringfence policy cut-off nvr --policy policy/ --flows monday.json\n\nExit codes: 0 shown, 1 the folder has faults, 3 no such device, 64 wrong usage."
    )]
    CutOff(CutOff),
}

/// A folder and how to answer.
#[derive(Debug, Group)]
pub(crate) struct Folder {
    /// Policy folder.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// Options of `policy check`.
#[derive(Debug, Group)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) of: Folder,
    /// Also judge zones and conduits as IEC 62443-3-2 asks.
    #[arg(long)]
    pub(crate) iec62443: bool,
    /// Exit with 2 when there are remarks.
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

/// Options of `policy prove`.
#[derive(Debug, Group)]
pub(crate) struct Prove {
    #[command(flatten)]
    pub(crate) of: Folder,
    /// Only this claim.
    #[arg(long, value_name = "NAME")]
    pub(crate) claim: Vec<String>,
    /// What one question to the solver may take: 30s, 2m.
    #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) limit: Duration,
    /// The solver.
    #[arg(long, value_name = "PROGRAM", default_value = "cvc5")]
    pub(crate) solver: PathBuf,
    /// Exit with 2 when a claim holds today but not for every estate.
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

/// Options of `policy preview`.
#[derive(Debug, Group)]
pub(crate) struct Preview {
    #[command(flatten)]
    pub(crate) of: Folder,
    /// A Cedar file to add, or to put in place of the folder's file of that name.
    #[arg(long, value_name = "FILE")]
    pub(crate) add: Vec<PathBuf>,
    /// A shipped pack to add.
    #[arg(long, value_name = "NAME")]
    pub(crate) pack: Vec<String>,
    /// Another mode for a zone.
    #[arg(long, value_name = "ZONE=MODE", value_parser = zone_mode)]
    pub(crate) zone: Vec<(String, String)>,
    /// Documents of `ringfence inspect -o json`.
    #[arg(long, value_name = "FILE")]
    pub(crate) flows: Vec<PathBuf>,
    /// Show every group and flow.
    #[arg(long)]
    pub(crate) all: bool,
}

/// Options of `policy why`.
#[derive(Debug, Group)]
pub(crate) struct Why {
    /// Device: id, name, MAC or IP address.
    pub(crate) device: String,
    /// Service: id or name; or a device that offers one.
    pub(crate) service: String,
    /// Another transport: tcp, udp, icmp, ip, link.
    #[arg(long, value_parser = transport)]
    pub(crate) protocol: Option<Transport>,
    /// Another port.
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Policy folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) policy: PathBuf,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// Options of `policy reach`.
#[derive(Debug, Group)]
pub(crate) struct ReachOf {
    /// Device: id, name, MAC or IP address.
    pub(crate) device: Option<String>,
    /// Show the way to this device.
    #[arg(long, value_name = "DEVICE", requires = "device")]
    pub(crate) to: Option<String>,
    /// Policy folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) policy: PathBuf,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// Show every device.
    #[arg(long)]
    pub(crate) all: bool,
}

/// Options of `policy cut-off`.
#[derive(Debug, Group)]
pub(crate) struct CutOff {
    /// Device: id, name, MAC or IP address.
    pub(crate) device: String,
    /// Policy folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) policy: PathBuf,
    /// Documents of `ringfence inspect -o json`.
    #[arg(long, value_name = "FILE")]
    pub(crate) flows: Vec<PathBuf>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// Options of `policy mutate`.
#[derive(Debug, Group)]
pub(crate) struct Mutate {
    #[command(flatten)]
    pub(crate) of: Folder,
    /// Judge by requests generated from the policies instead: which parts of rules change nothing at all?
    #[arg(long)]
    pub(crate) generated: bool,
    /// Also the rules of shipped packs.
    #[arg(long)]
    pub(crate) packs: bool,
    /// Only this rule, by its id.
    #[arg(long, value_name = "ID", conflicts_with = "packs")]
    pub(crate) rule: Vec<String>,
    /// Show every policy and survivor, not only the first ones.
    #[arg(long)]
    pub(crate) all: bool,
    /// Exit with 2 when some survive.
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

/// Options of `policy unused`.
#[derive(Debug, Group)]
pub(crate) struct Unused {
    #[command(flatten)]
    pub(crate) of: Folder,
    /// A tally: a document `ringfence.hits/v1`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["state", "table"])]
    pub(crate) hits: Option<PathBuf>,
    /// Where the state in force is kept: it says since when the counters count.
    #[arg(long, value_name = "DIR", default_value = STATE)]
    pub(crate) state: PathBuf,
    /// Name of the tables in the kernel.
    #[arg(long, value_name = "NAME", default_value = "ringfence")]
    pub(crate) table: String,
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// One document.
    Json,
}

/// A transport by its word.
fn transport(text: &str) -> Result<Transport, String> {
    [Transport::Tcp, Transport::Udp, Transport::Icmp, Transport::Ip, Transport::Link]
        .into_iter()
        .find(|transport| transport.word() == text)
        .ok_or_else(|| "write tcp, udp, icmp, ip or link".to_owned())
}

/// `ZONE=MODE`; zones may hold any character.
fn zone_mode(text: &str) -> Result<(String, String), String> {
    match text.rsplit_once('=') {
        Some((zone, mode @ ("shadow" | "enforce"))) if !zone.is_empty() => {
            Ok((zone.to_owned(), mode.to_owned()))
        }
        _ => Err("write ZONE=shadow or ZONE=enforce".to_owned()),
    }
}
