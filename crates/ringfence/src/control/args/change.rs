//! Changing: every command says why.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Subcommand};

use super::{At, Output, Reason};
use crate::args::duration;

const EDIT: &str = "\
Examples:
  ringfence edit device camera-7 --set name=\"Gate 3\" --set label.rack=B12 --reason \"walk-through\"
  ringfence edit device -l 'type=plc,site=w1' --set criticality=high --reason \"line 1\"
  ringfence edit device camera-7 --set zone= --reason \"the sensor knows better\"
  ringfence edit device -l '!owner' --set owner=video --reason \"new team\" --dry-run
  ringfence edit device --where 'device in Zone::\"hall\"' --set zone=hall-1 --reason \"new zones\"
  ringfence edit device --search \"dock 4\" --set owner=floor --reason \"they answer for it\"

Fields: name, owner, zone, site, type, vendor, model, firmware, hardware, serial, os, hostname,
criticality, posture, support, exposure, and label.NAME. About one device it is refused when
somebody else changed it meanwhile; about many it is done for all of them or for none.

Exit codes: 0 done, 1 failed, 3 no such device, or none is selected, 4 changed meanwhile,
5 not allowed, or a second person has to approve it first, 64 wrong usage.";

/// What a second person has approved.
#[derive(Clone, Debug, Default, Group)]
pub(crate) struct Approval {
    /// Carry out what was approved under this id: the command has to be the same as when it was asked.
    #[arg(long, value_name = "ID")]
    pub(crate) approval: Option<String>,
}

/// Options of `edit`.
#[derive(Debug, Group)]
#[command(after_help = EDIT)]
pub(crate) struct Edit {
    /// What: device.
    #[arg(value_enum, value_name = "KIND")]
    pub(crate) kind: super::HasHistory,
    /// Which.
    #[arg(value_name = "ID", required_unless_present_any = ["selector", "expression", "search"])]
    pub(crate) ids: Vec<String>,
    /// All that a selector selects (see `ringfence get --help`).
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "ids")]
    pub(crate) selector: Option<String>,
    /// All that a Cedar expression holds for (see `ringfence get --help`).
    #[arg(long = "where", value_name = "EXPRESSION", conflicts_with = "ids")]
    pub(crate) expression: Option<String>,
    /// All with these words in a name, an address, vendor, model, owner or id.
    #[arg(long, value_name = "WORDS", conflicts_with = "ids")]
    pub(crate) search: Option<String>,
    /// What is decided; an empty value takes it back.
    #[arg(long, value_name = "FIELD=VALUE", required = true, value_parser = assignment)]
    pub(crate) set: Vec<(String, String)>,
    /// Only tell how many devices it is about.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) approval: Approval,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// One device, or all that are selected.
#[derive(Clone, Debug, Group)]
pub(crate) struct Which {
    /// A device, or a selector (see `ringfence get --help`).
    #[arg(value_name = "SELECTOR", required_unless_present_any = ["expression", "search"])]
    pub(crate) devices: Option<String>,
    /// Devices that a Cedar expression holds for (see `ringfence get --help`).
    #[arg(long = "where", value_name = "EXPRESSION", conflicts_with = "devices")]
    pub(crate) expression: Option<String>,
    /// Devices with these words in a name, an address, vendor, model, owner or id.
    #[arg(long, value_name = "WORDS", conflicts_with = "devices")]
    pub(crate) search: Option<String>,
}

const OWNER: &str = "\
Examples:
  ringfence owner camera-7 video --reason \"new team\"
  ringfence owner 'type=ip-camera,!owner' video --reason \"new team\"
  ringfence owner --where 'device.site == \"w1\" && !(device has owner)' floor --reason \"new team\"
  ringfence owner --search \"dock 4\" floor --reason \"they answer for it\"

Exit codes: 0 done, 1 failed, 3 no such device or team, 5 not allowed, or a second person has to
approve it first, 64 wrong usage.";

/// Options of `owner`.
#[derive(Debug, Group)]
#[command(after_help = OWNER, allow_missing_positional = true)]
pub(crate) struct Owner {
    #[command(flatten)]
    pub(crate) devices: Which,
    /// The team.
    #[arg(value_name = "TEAM")]
    pub(crate) team: String,
    #[command(flatten)]
    pub(crate) approval: Approval,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

const QUARANTINE: &str = "\
Examples:
  ringfence quarantine camera-7 --reason \"it scans\"
  ringfence quarantine 'model=DVR-4,firmware=1.0' --reason \"advisory 2031-7\"
  ringfence quarantine --where 'device.exposure == \"known-exploited\"' --reason \"advisory 2031-7\"
  ringfence quarantine camera-7 --lift --reason \"new firmware\"

A device in quarantine keeps nothing that it was granted; open connections are cut.

Exit codes: 0 done, 1 failed, 3 no such device, or none is selected, 5 not allowed, or a second
person has to approve it first, 64 wrong usage.";

/// Options of `quarantine`.
#[derive(Debug, Group)]
#[command(after_help = QUARANTINE)]
pub(crate) struct Quarantine {
    #[command(flatten)]
    pub(crate) devices: Which,
    /// Take it back.
    #[arg(long)]
    pub(crate) lift: bool,
    #[command(flatten)]
    pub(crate) approval: Approval,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

const RETIRE: &str = "\
Examples:
  ringfence retire device camera-7 --reason \"scrapped\"
  ringfence retire device -l state=stale,site=w1 --reason \"inventory\" --dry-run
  ringfence retire device --where 'device.last_seen < now.offset(duration(\"-90d\"))' --reason gone
  ringfence retire device --search DVR-4 --reason \"sold\" --dry-run

What is selected is retired all, or not at all.

Exit codes: 0 done, 1 failed, 3 no such device, or none is selected, 5 not allowed, or a second
person has to approve it first, 64 wrong usage.";

/// Options of `retire`.
#[derive(Debug, Group)]
#[command(after_help = RETIRE)]
pub(crate) struct Retire {
    /// What: device.
    #[arg(value_enum, value_name = "KIND")]
    pub(crate) kind: super::HasHistory,
    /// Which.
    #[arg(value_name = "ID", required_unless_present_any = ["selector", "expression", "search"])]
    pub(crate) ids: Vec<String>,
    /// Devices that a selector selects (see `ringfence get --help`).
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "ids")]
    pub(crate) selector: Option<String>,
    /// Devices that a Cedar expression holds for (see `ringfence get --help`).
    #[arg(long = "where", value_name = "EXPRESSION", conflicts_with = "ids")]
    pub(crate) expression: Option<String>,
    /// Devices with these words in a name, an address, vendor, model, owner or id.
    #[arg(long, value_name = "WORDS", conflicts_with = "ids")]
    pub(crate) search: Option<String>,
    /// Only tell how many devices it is about.
    #[arg(long, conflicts_with = "ids")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) approval: Approval,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Commands of `sites`.
#[derive(Debug, Subcommand)]
pub(crate) enum Sites {
    /// Makes a site.
    #[command(
        after_help = "Example:\n  ringfence sites create w1 --name \"Warehouse 1\" --reason \"new warehouse\"\n\nExit codes: 0 made, 1 failed, 4 there is one already, 5 not allowed, 64 wrong usage."
    )]
    Create(SiteCreate),
    /// Prints a token with which a box enrols as this site, once.
    #[command(
        after_help = "Examples:\n  ringfence sites token w1 --reason \"new box\"\n  ringfence sites token w1 --for 2h --reason \"new box\" | ssh box 'cat > token'\n\nAn earlier token of the site is worth nothing then.\n\nExit codes: 0 printed, 1 failed, 3 no such site, 5 not allowed, 64 wrong usage."
    )]
    Token(SiteToken),
    /// Ends a site's certificate and its line; what it enforces goes on until its leases end.
    #[command(
        after_help = "Example:\n  ringfence sites revoke w1 --reason \"box was stolen\"\n\nExit codes: 0 done, 1 failed, 3 no such site, 5 not allowed, 64 wrong usage."
    )]
    Revoke(SiteRevoke),
}

/// Options of `sites create`.
#[derive(Debug, Group)]
pub(crate) struct SiteCreate {
    /// Its id.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Name, for people (else: its id).
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `sites token`.
#[derive(Debug, Group)]
pub(crate) struct SiteToken {
    /// Which.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// How long it is good, in whole hours: 2h, 3d (else: what the controller gives).
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) lasts: Option<Duration>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `sites revoke`.
#[derive(Debug, Group)]
pub(crate) struct SiteRevoke {
    /// Which.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Commands of `teams`.
#[derive(Debug, Subcommand)]
pub(crate) enum Teams {
    /// Makes a team, or changes it; what is not given stays.
    #[command(
        after_help = "Examples:\n  ringfence teams set video --name \"Video\" --contact video@example.com --reason \"new team\"\n  ringfence teams set video --escalate-after 30m --escalate-to night --reason \"shifts\"\n\nExit codes: 0 done, 1 failed, 4 changed meanwhile, 5 not allowed, 64 wrong usage."
    )]
    Set(TeamSet),
    /// Takes a team away; one that owns devices stays.
    #[command(
        after_help = "Example:\n  ringfence teams remove video\n\nExit codes: 0 done, 1 failed, 3 no such team, 4 it owns devices, 5 not allowed, 64 wrong usage."
    )]
    Remove(TeamRemove),
}

/// Options of `teams set`.
#[derive(Debug, Group)]
pub(crate) struct TeamSet {
    /// Which.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Name, for people.
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// How to reach it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) contact: Option<String>,
    /// How long it has before the next one is asked: 30m, 4h, 3d (a new team: 4h).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) escalate_after: Option<Duration>,
    /// The team that is asked next; empty: none.
    #[arg(long, value_name = "TEAM")]
    pub(crate) escalate_to: Option<String>,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `teams remove`.
#[derive(Debug, Group)]
pub(crate) struct TeamRemove {
    /// Which.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Why; it goes into the journal, beside what was done.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Commands of `views`.
#[derive(Debug, Subcommand)]
pub(crate) enum Views {
    /// Keeps a way to look at devices; an earlier one of this name is replaced.
    #[command(
        after_help = "Examples:\n  ringfence views set ours -l owner=video --columns id,site,last_seen --sort -last_seen --reason x\n  ringfence views set quiet --where 'device.last_seen < now.offset(duration(\"-1d\"))' --reason shifts\n  ringfence get devices --view quiet\n\nColumns: id, site, state, address, mac, labels, first_seen, last_seen, label.NAME and the fields.\n\nExit codes: 0 done, 1 failed, 4 changed meanwhile, 5 not allowed, 64 wrong usage."
    )]
    Set(ViewSet),
    /// Takes a view away.
    #[command(
        after_help = "Example:\n  ringfence views remove quiet\n\nExit codes: 0 done, 1 failed, 3 no such view, 5 not allowed, 64 wrong usage."
    )]
    Remove(ViewRemove),
}

/// Options of `views set`.
#[derive(Debug, Group)]
pub(crate) struct ViewSet {
    /// Its name.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Devices that a selector selects (see `ringfence get --help`).
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "")]
    pub(crate) selector: String,
    /// Devices that a Cedar expression holds for (see `ringfence get --help`).
    #[arg(long = "where", value_name = "EXPRESSION", default_value = "")]
    pub(crate) expression: String,
    /// Devices with these words in a name, an address, vendor, model, owner or id.
    #[arg(long, value_name = "WORDS", default_value = "")]
    pub(crate) search: String,
    /// What is shown of them, in order.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
    /// In which order: a field, with `-` in front for falling (else: by id).
    #[arg(long, value_name = "FIELD", default_value = "", allow_hyphen_values = true)]
    pub(crate) sort: String,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `views remove`.
#[derive(Debug, Group)]
pub(crate) struct ViewRemove {
    /// Which.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Why; it goes into the journal, beside what was done.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Commands of `tokens`.
#[derive(Debug, Subcommand)]
pub(crate) enum Tokens {
    /// Makes a token for a program and prints it, once.
    #[command(
        after_help = "Examples:\n  ringfence tokens create --label \"nightly report\" --role viewer --reason \"ticket 17\"\n  ringfence tokens create --label ci --role policy-admin --for 90d --reason ci > ci-token\n\nExit codes: 0 printed, 1 failed, 5 not allowed, 64 wrong usage."
    )]
    Create(TokenCreate),
    /// Ends a token.
    #[command(
        after_help = "Example:\n  ringfence tokens revoke tok-01JD2M…\n\nExit codes: 0 done, 1 failed, 3 no such token, 5 not allowed, 64 wrong usage."
    )]
    Revoke(TokenRevoke),
}

/// Options of `tokens create`.
#[derive(Debug, Group)]
pub(crate) struct TokenCreate {
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: String,
    #[command(flatten)]
    pub(crate) grant: Grant,
    /// How long it is good: 12h, 90d; 366d at most.
    #[arg(long = "for", value_name = "TIME", default_value = "90d", value_parser = duration)]
    pub(crate) lasts: Duration,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `tokens revoke`.
#[derive(Debug, Group)]
pub(crate) struct TokenRevoke {
    /// Which.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Why; it goes into the journal, beside what was done.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What somebody may do, and where.
#[derive(Clone, Debug, Group)]
pub(crate) struct Grant {
    /// viewer, operator, policy-admin, security-admin, admin.
    #[arg(long = "role", value_name = "ROLE", required = true, value_delimiter = ',')]
    pub(crate) roles: Vec<String>,
    /// Only at these sites.
    #[arg(long = "site", value_name = "SITE", value_delimiter = ',')]
    pub(crate) sites: Vec<String>,
}

/// Commands of `operators`.
#[derive(Debug, Subcommand)]
pub(crate) enum Operators {
    /// Makes an operator with a first password that has to be changed.
    #[command(
        after_help = "Examples:\n  ringfence operators create --login ben --name \"Ben Li\" --role operator --reason \"new colleague\"\n  ringfence operators create --login ben --role viewer --site w1 --password-file - --reason shift\n\nExit codes: 0 made, 1 failed, 4 the login is taken, 5 not allowed, 64 wrong usage."
    )]
    Create(OperatorCreate),
    /// Sets what an operator may do from now on.
    #[command(
        after_help = "Example:\n  ringfence operators roles op-01JD2M… --role operator,policy-admin --reason \"promotion\"\n\nExit codes: 0 done, 1 failed, 3 no such operator, 5 not allowed, 64 wrong usage."
    )]
    Roles(OperatorRoles),
    /// Sets another password, which has to be changed at the next login.
    #[command(
        after_help = "Example:\n  ringfence operators password op-01JD2M… --reason \"forgotten\"\n\nExit codes: 0 done, 1 failed, 3 no such operator, 5 not allowed, 64 wrong usage."
    )]
    Password(OperatorPassword),
    /// Ends all that an operator may do; their sessions and tokens end.
    #[command(
        after_help = "Example:\n  ringfence operators disable op-01JD2M… --reason \"left\"\n\nExit codes: 0 done, 1 failed, 3 no such operator, 5 not allowed, 64 wrong usage."
    )]
    Disable(OperatorName),
    /// Lets an operator act again.
    #[command(
        after_help = "Example:\n  ringfence operators enable op-01JD2M… --reason \"is back\"\n\nExit codes: 0 done, 1 failed, 3 no such operator, 5 not allowed, 64 wrong usage."
    )]
    Enable(OperatorName),
}

/// Options of `operators create`.
#[derive(Debug, Group)]
pub(crate) struct OperatorCreate {
    /// Login name.
    #[arg(long, value_name = "NAME")]
    pub(crate) login: String,
    /// Name, for people (else: the login name).
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// How to reach them.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) contact: String,
    #[command(flatten)]
    pub(crate) grant: Grant,
    /// File with the first password; `-` is standard input (else: the terminal is asked, twice).
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `operators roles`.
#[derive(Debug, Group)]
pub(crate) struct OperatorRoles {
    /// Id or login name.
    #[arg(value_name = "OPERATOR")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) grant: Grant,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `operators password`.
#[derive(Debug, Group)]
pub(crate) struct OperatorPassword {
    /// Id or login name.
    #[arg(value_name = "OPERATOR")]
    pub(crate) id: String,
    /// File with the password; `-` is standard input (else: the terminal is asked, twice).
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// An operator.
#[derive(Debug, Group)]
pub(crate) struct OperatorName {
    /// Id or login name.
    #[arg(value_name = "OPERATOR")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

const APPROVE: &str = "\
Examples:
  ringfence get approvals
  ringfence approve apr-01JD2M… --reason \"checked with production\"

Exit codes: 0 done, 1 failed, 3 no such request, 4 it is decided already, 5 not allowed (nobody
approves their own), 64 wrong usage.";

pub(super) const REJECT: &str = "\
Example:
  ringfence reject apr-01JD2M… --reason \"not during the shift\"

Exit codes: 0 done, 1 failed, 3 no such request, 4 it is decided already, 5 not allowed,
64 wrong usage.";

/// A request of somebody.
#[derive(Debug, Group)]
#[command(after_help = APPROVE)]
pub(crate) struct Judge {
    /// Which.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What `apply` needs for a folder that goes to the controller.
#[derive(Debug, Group)]
pub(crate) struct ApplyFolder {
    /// Sends this policy folder to the controller: checked here, set there whole or not at all.
    #[arg(short = 'f', long, value_name = "DIR", requires = "reason", conflicts_with_all = ["plan", "interface", "ports", "policy"])]
    pub(crate) folder: Option<PathBuf>,
    /// Why; it goes into the journal.
    #[arg(long, value_name = "TEXT", requires = "folder")]
    pub(crate) reason: Option<String>,
    /// Take the origin from git: the folder must have no change that is not committed.
    #[arg(long, requires = "folder")]
    pub(crate) commit: bool,
    /// Where the folder comes from, for people (else: its path).
    #[arg(long, value_name = "TEXT", requires = "folder", conflicts_with = "commit")]
    pub(crate) origin: Option<String>,
    /// Content of the version in force that it was made from (else: what was seen here last).
    #[arg(long, value_name = "SHA256", requires = "folder")]
    pub(crate) parent: Option<String>,
    /// Check, and tell what would change; set nothing.
    #[arg(long, requires = "folder")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) approval: Approval,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `FIELD=VALUE`.
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((field, value)) if !field.trim().is_empty() => {
            Ok((field.trim().to_owned(), value.to_owned()))
        }
        _ => Err("write FIELD=VALUE, or FIELD= to take a decision back".to_owned()),
    }
}
