//! Looking, waiting, and the folder that is compared.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, ValueEnum};

use super::{At, Output};
use crate::args::duration;

const GET: &str = "\
Examples:
  ringfence get devices
  ringfence get devices -l 'type=ip-camera,site in (w1,w2),!owner' -o wide
  ringfence get devices -l state=stale -o name | xargs -n1 ringfence retire device --reason gone
  ringfence get devices --where 'device.zone != \"cameras\" && device.type like \"*-camera\"'
  ringfence get devices --where 'device.last_seen < now.offset(duration(\"-1d\"))' --sort last_seen
  ringfence get devices --view nobody-owns
  ringfence get devices --search gate --sort -last_seen
  ringfence get device camera-7 -o yaml
  ringfence get devices -l site=w1 -o csv > devices.csv
  ringfence get sites --watch
  ringfence get leases camera-7
  ringfence get flows camera-7
  ringfence get reach camera-7 -o json
  ringfence get policy -o json | jq -r '.files[\"estate.toml\"]'
  ringfence get slo

Selectors: FIELD=VALUE, FIELD!=VALUE, FIELD (has a value), !FIELD (has none), FIELD in (A,B), with
fields id, state, site, address, mac, label.NAME, name, owner, zone, type, vendor, model and so on;
joined by commas, all have to hold.

Expressions are Cedar, in the words of policies, with `device` and `now`: the same fields,
addresses, networks, macs, keys, labels.NAME, resurfaced, confused, first_seen, last_seen. What
nobody says is \"\"; `device has owner` asks whether somebody does. docs/control.md has them all.

Exit codes: 0 shown, also where the list is empty, 1 failed, 3 no such thing, 5 not allowed,
64 wrong usage.";

/// Options of `get`.
#[derive(Debug, Group)]
#[command(after_help = GET)]
pub(crate) struct Get {
    /// What.
    #[arg(value_enum, value_name = "KIND")]
    pub(crate) kind: Kind,
    /// Only these (leases, flows, reach: of these devices).
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Only devices that a selector selects.
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "ids")]
    pub(crate) selector: Option<String>,
    /// Only devices that a Cedar expression holds for.
    #[arg(long = "where", value_name = "EXPRESSION", conflicts_with = "ids")]
    pub(crate) expression: Option<String>,
    /// Only devices with these words in a name, an address, vendor, model, owner or id.
    #[arg(long, value_name = "WORDS", conflicts_with = "ids")]
    pub(crate) search: Option<String>,
    /// Devices in this order: a field, with `-` in front for falling (else: by id).
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true, conflicts_with_all = ["ids", "watch"])]
    pub(crate) sort: Option<String>,
    /// Only devices of a view, with its columns and in its order.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["ids", "watch"])]
    pub(crate) view: Option<String>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    /// Goes on, and shows again what changes (devices and sites); Ctrl-C ends it.
    #[arg(short, long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

/// A sort of thing that the controller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Devices.
    #[value(alias = "device")]
    Devices,
    /// Sites, and what each enforces.
    #[value(alias = "site")]
    Sites,
    /// Teams that are answerable.
    #[value(alias = "team")]
    Teams,
    /// The decision in force about each device.
    #[value(alias = "lease")]
    Leases,
    /// Who a device talked to, by hour.
    #[value(alias = "flow")]
    Flows,
    /// How far somebody gets who takes a device over; without a device, from where furthest.
    Reach,
    /// The policy folder in force.
    #[value(alias = "policies")]
    Policy,
    /// Service levels, as measured.
    Slo,
    /// People who may log in.
    #[value(alias = "operator")]
    Operators,
    /// Tokens of programs.
    #[value(alias = "token")]
    Tokens,
    /// What waits for a second person.
    #[value(alias = "approval")]
    Approvals,
    /// Ways to look at devices that are kept under a name.
    #[value(alias = "view")]
    Views,
    /// What waits for a person (see `ringfence decide`).
    #[value(alias = "question")]
    Questions,
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For people, with more columns.
    Wide,
    /// One document; a list is an array.
    Json,
    /// One thing a line, as JSON.
    Jsonl,
    /// One document, as YAML.
    Yaml,
    /// One id a line.
    Name,
    /// A table that `ringfence import` takes again (devices only).
    Csv,
}

const DESCRIBE: &str = "\
Examples:
  ringfence describe device camera-7
  ringfence describe site w1
  ringfence describe decision dec-01JD2M…

Exit codes: 0 shown, 1 failed, 3 no such thing, 5 not allowed, 64 wrong usage.";

/// Options of `describe`.
#[derive(Debug, Group)]
#[command(after_help = DESCRIBE)]
pub(crate) struct Describe {
    /// What.
    #[arg(value_enum, value_name = "KIND")]
    pub(crate) kind: Described,
    /// Which.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What can be described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Described {
    /// Values with their sources, lease, latest changes.
    Device,
    /// Certificate, what it is meant to enforce, how far it is.
    Site,
    /// How it is reached, what it owns.
    Team,
    /// The same as `explain`.
    Decision,
}

const HISTORY: &str = "\
Examples:
  ringfence history device camera-7
  ringfence history device camera-7 --all -o jsonl | jq -r 'select(.who | test(\"person\"))'

Exit codes: 0 shown, 1 failed, 3 no such device, 64 wrong usage.";

/// Options of `history`.
#[derive(Debug, Group)]
#[command(after_help = HISTORY)]
pub(crate) struct History {
    /// Of what.
    #[arg(value_enum, value_name = "KIND")]
    pub(crate) kind: HasHistory,
    /// Which.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Changes to show.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Show all of them.
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Lines,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What has a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HasHistory {
    /// Everything that changed it, from its journal entries.
    Device,
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lines {
    /// For people.
    #[default]
    Table,
    /// One thing a line, as JSON.
    Jsonl,
}

const EXPLAIN: &str = "\
Examples:
  ringfence explain dec-01JD2M…
  ringfence explain camera-7 --replay

A device stands for the decision in force about it. --replay makes the decision again from what its
journal entry holds, and compares.

Exit codes: 0 shown (and the same again), 1 failed, or the replay differs, 3 no such decision or
device, 64 wrong usage.";

/// Options of `explain`.
#[derive(Debug, Group)]
#[command(after_help = EXPLAIN)]
pub(crate) struct Explain {
    /// Decision, or device.
    #[arg(value_name = "DECISION")]
    pub(crate) decision: String,
    /// Make it again, and compare.
    #[arg(long)]
    pub(crate) replay: bool,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) at: At,
}

const DIFF: &str = "\
Examples:
  ringfence diff -f policy/
  ringfence diff -f policy/ --detailed-exitcode || ringfence apply -f policy/ --reason \"ticket 17\"

Exit codes: 0 shown, 1 the folder has faults, or it failed, 2 they differ (with
--detailed-exitcode), 5 the folder would be refused, 64 wrong usage.";

/// Options of `diff`.
#[derive(Debug, Group)]
#[command(after_help = DIFF)]
pub(crate) struct Diff {
    /// Policy folder here.
    #[arg(short = 'f', long, value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Show every group and flow, not only the first ones.
    #[arg(long)]
    pub(crate) all: bool,
    /// Exit with 2 when they differ.
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

const WAIT: &str = "\
Examples:
  ringfence wait device camera-7 --for posture=normal
  ringfence wait device -l type=ip-camera,site=w1 --for posture=normal
  ringfence wait site w1 --for enrolled --timeout 10m
  ringfence apply -f policy/ --reason \"ticket 17\" && ringfence wait site w1 --for verified

Devices: state=VALUE, any FIELD=VALUE, lease=granted or lease=refused. Sites: state=VALUE, enrolled,
applied, verified (what it is meant to enforce now). Of a selection every device has to come to it
that is in it at the start.

Exit codes: 0 it has come to it, 1 it has not in time, or it failed, 3 no such device or site, or
none is selected, 64 wrong usage.";

/// Options of `wait`.
#[derive(Debug, Group)]
#[command(after_help = WAIT)]
pub(crate) struct Wait {
    /// What.
    #[arg(value_enum, value_name = "KIND")]
    pub(crate) kind: Waited,
    /// Which.
    #[arg(value_name = "ID", required_unless_present_any = ["selector", "expression", "search"])]
    pub(crate) id: Option<String>,
    /// All devices that a selector selects (see `ringfence get --help`).
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "id")]
    pub(crate) selector: Option<String>,
    /// All devices that a Cedar expression holds for (see `ringfence get --help`).
    #[arg(long = "where", value_name = "EXPRESSION", conflicts_with = "id")]
    pub(crate) expression: Option<String>,
    /// All devices with these words in a name, an address, vendor, model, owner or id.
    #[arg(long, value_name = "WORDS", conflicts_with = "id")]
    pub(crate) search: Option<String>,
    /// To what.
    #[arg(long = "for", value_name = "CONDITION")]
    pub(crate) condition: String,
    /// How long at most: 90s, 10m, 2h.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Waited {
    /// A device.
    Device,
    /// A site.
    Site,
}

const EVENTS: &str = "\
Examples:
  ringfence events
  ringfence events --area lease -o jsonl | jq '.events[].event'

Exit codes: 0 ended by you or by --count, 1 failed, or the controller ended it, 64 wrong usage.";

/// Options of `events`.
#[derive(Debug, Group)]
#[command(after_help = EVENTS)]
pub(crate) struct Events {
    /// Only of these areas.
    #[arg(long, value_enum, value_name = "AREA", value_delimiter = ',')]
    pub(crate) area: Vec<Area>,
    /// End after so many changes.
    #[arg(short = 'n', long, value_name = "NUMBER")]
    pub(crate) count: Option<u64>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Lines,
    #[command(flatten)]
    pub(crate) at: At,
}

/// A part of the estate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Area {
    /// Operators, tokens, approvals.
    Access,
    /// What is found about what devices signed.
    Commitment,
    /// Devices.
    Device,
    /// Paths that are open for a while.
    Exception,
    /// What devices have shown, and what was refused to whom.
    Identity,
    /// Decisions.
    Lease,
    /// The policy folder.
    Policy,
    /// Firmware that somebody answers for.
    Release,
    /// Sites.
    Site,
    /// Teams.
    Team,
    /// Views.
    View,
}

const DOCTOR: &str = "\
Examples:
  ringfence doctor
  ringfence doctor -o json | jq '.[] | select(.state == \"wrong\")'

It looks at the context, the way to the controller, both clocks, the login, the journal and its
signatures, and every site's line.

Exit codes: 0 all is well, 1 something is wrong, 64 wrong usage.";

/// Options of `doctor`.
#[derive(Debug, Group)]
#[command(after_help = DOCTOR)]
pub(crate) struct Doctor {
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) at: At,
}

const DECIDE: &str = "\
Examples:
  ringfence decide
  ringfence decide --kind same-device
  ringfence decide same-3fa94c1b22d07e11
  ringfence decide same-3fa94c1b22d07e11 merge --reason \"new network card\"

Exit codes: 0 shown or done, 1 failed, 3 nothing waits under this id, 4 it is decided already,
5 not allowed, 64 wrong usage.";

/// Options of `decide`.
#[derive(Debug, Group)]
#[command(after_help = DECIDE)]
pub(crate) struct Decide {
    /// What (else: all of it is listed).
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
    /// The answer (else: what is known is shown, and what can be chosen).
    #[arg(value_name = "CHOICE", requires = "reason")]
    pub(crate) choice: Option<String>,
    /// Only of this kind.
    #[arg(long, value_enum, value_name = "KIND", conflicts_with = "id")]
    pub(crate) kind: Option<Waiting>,
    /// Why; it goes into the journal.
    #[arg(long, value_name = "TEXT", requires = "choice")]
    pub(crate) reason: Option<String>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: super::Format,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Waiting {
    /// A change that takes a second person.
    Approval,
    /// Devices that ask for a certificate.
    Certificate,
    /// Records that may be one device.
    SameDevice,
    /// Retired devices that were seen again.
    Back,
    /// Devices that nobody is answerable for.
    NoOwner,
    /// Sites without a box.
    NotEnrolled,
}

impl Waiting {
    /// Its word in the API.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Certificate => "certificate",
            Self::SameDevice => "same-device",
            Self::Back => "back",
            Self::NoOwner => "no-owner",
            Self::NotEnrolled => "not-enrolled",
        }
    }
}
