//! Identities of devices: certificates, tokens, who vouches, requests that wait.

use std::time::Duration;

use clap::{Args as Group, Subcommand};

use super::{Approval, At, Format, IdentityKeys, Output, Reason};
use crate::args::duration;

const LEVELS: [&str; 6] =
    ["observed", "vouched", "shared-secret", "device-key", "hardware-key", "attested"];

/// Commands of `identity`.
#[derive(Debug, Subcommand)]
pub(crate) enum Identity {
    /// How high devices stand, why no higher, and until when.
    #[command(
        after_help = "Examples:\n  ringfence identity list --below device-key\n  ringfence identity list --ends-before 2031-03-14T00:00:00Z -o name\n\nLevels: observed, vouched, shared-secret, device-key, hardware-key, attested.\nLimits: evidence (only what the wire shows), credential (it shows no more), freshness (evidence for\nmore has ended), voucher (who vouches goes no further), health (its posture).\n\nExit codes: 0 printed, 1 failed, 5 not allowed, 64 wrong usage."
    )]
    List(IdentityList),
    /// All that a device has shown: its level and what limits it, its certificates, who vouches for it.
    #[command(
        after_help = "Examples:\n  ringfence identity show camera-7\n  ringfence identity show camera-7 -o json\n\nExit codes: 0 printed, 1 failed, 3 no such device, 5 not allowed, 64 wrong usage."
    )]
    Show(IdentityShow),
    /// Makes a one-time token with which a device gets its certificate (EST).
    ///
    /// Standard output gets the token alone; on a terminal it is shown as a QR code too. It is told once.
    #[command(
        after_help = "Examples:\n  ringfence identity token camera-7 --reason \"installed at gate 3\"\n  ringfence identity token camera-7 --for 30d --reason \"in a box\" -o json\n\nThe device sends it as the password of HTTP Basic; one key can use it, and may come again with it.\n\nExit codes: 0 made, 1 failed, 3 no such device, 4 it is retired, 5 not allowed, 64 wrong usage."
    )]
    Token(IdentityToken),
    /// Revokes certificates of a device: it falls at once, and their keys never count again.
    #[command(
        after_help = "Examples:\n  ringfence identity revoke camera-7 --because key-compromise --reason \"it was stolen\"\n  ringfence identity revoke camera-7 --serial 5b21…c4 --because superseded --reason \"new board\"\n\nWithout --serial all of them are. `ringfence identity show` has their serial numbers.\n\nExit codes: 0 done, 1 failed, 3 no such device or certificate, 5 not allowed, 64 wrong usage."
    )]
    Revoke(IdentityRevoke),
    /// Vouches for a device that can show nothing itself: that raises it to `vouched`, and no further.
    ///
    /// It takes two people, always: who asks, and who approves. With --gateway that one speaks for it, as long as it stands high enough itself.
    #[command(
        after_help = "Examples:\n  ringfence identity vouch scale-2 --for 30d --reason \"I stood before it\"\n  ringfence identity vouch meter-9 --gateway gate-1 --for 90d --reason \"behind it\" \\\n    --approval apr-01JD…\n  ringfence identity vouch scale-2 --end --reason \"replaced\"\n\nIt lasts 90 days at most. One person is enough to end it.\n\nExit codes: 0 done, 1 failed, 3 no such device, 4 it is retired, 5 not allowed, or it takes a second\nperson, 64 wrong usage."
    )]
    Vouch(IdentityVouch),
    /// Certificate requests that wait for a person, beside what the estate knows of where they came from.
    #[command(
        after_help = "Examples:\n  ringfence identity requests\n  ringfence identity requests --state all -o json\n\nExit codes: 0 printed, 1 failed, 5 not allowed, 64 wrong usage."
    )]
    Requests(IdentityRequests),
    /// Says which device a request comes from; it gets its certificate when it asks again.
    #[command(
        after_help = "Example:\n  ringfence identity approve 5b21d0c4 --device camera-7 --reason \"I stood before it\"\n\nThe request may be given by its beginning.\n\nExit codes: 0 done, 1 failed, 3 no such request or device, 4 answered already, or another device has\nthe key, 5 not allowed, 64 wrong usage."
    )]
    Approve(IdentityApprove),
    /// Says that a request gets no certificate.
    #[command(
        after_help = "Example:\n  ringfence identity reject 5b21d0c4 --reason \"none of ours\"\n\nThe request may be given by its beginning.\n\nExit codes: 0 done, 1 failed, 3 no such request, 4 answered already, 5 not allowed, 64 wrong usage."
    )]
    Reject(IdentityReject),
    /// Says which devices will come with their makers' certificates (IDevID), from a list of what was bought; or prints who is expected.
    #[command(
        after_help = "Examples:\n  ringfence identity expect order-4711.csv --reason \"purchase order 4711\"\n  ringfence identity expect\n\nThe file has the columns maker, number and device: the maker is the name of a file of roots\nin the controller's pki/makers (axis for axis.pem), the number stands in the maker's certificate,\nthe device is one of the inventory; other columns are passed over. It is CSV in UTF-8 with commas,\nsemicolons or tabs. Nothing of a file is taken if a row of it is wrong: each is named with its line.\nThe same file may be sent again.\n\nExit codes: 0 done, 1 failed, 5 not allowed, 64 wrong usage, or rows that are wrong."
    )]
    Expect(IdentityExpect),
    /// Every key and secret that is known: whose it is, how old, and when another one is due.
    #[command(
        after_help = "Examples:\n  ringfence identity keys --overdue\n  ringfence identity keys --kind psk --owner metering -o json\n  ringfence identity keys add meter-9 --kind psk --secret-file psk --reason \"installed\"\n  ringfence identity keys import psks.csv --reason \"delivery 4711\"\n\nCertificates of the authorities, of this server, of sites and of devices are there by themselves;\nPSKs, OSCORE contexts and passwords of MQTT are told with add and import.\n\nExit codes: 0 printed, 1 failed, 5 not allowed, 64 wrong usage."
    )]
    Keys(IdentityKeys),
    /// What was found about identities, the newest first: copied keys, shared secrets, who was refused.
    #[command(
        after_help = "Examples:\n  ringfence identity findings\n  ringfence identity findings -o jsonl\n\nOf whoever was refused at the door and is no known device there is a line for each network and\nreason, with how often; people of all sites see them.\n\nExit codes: 0 printed, 1 failed, 5 not allowed, 64 wrong usage."
    )]
    Findings(IdentityFindings),
}

/// Options of `identity list`.
#[derive(Debug, Group)]
pub(crate) struct IdentityList {
    /// Only those on this level.
    #[arg(long, value_name = "LEVEL", value_parser = LEVELS)]
    pub(crate) level: Option<String>,
    /// Only those that stand lower than this level.
    #[arg(long, value_name = "LEVEL", value_parser = LEVELS)]
    pub(crate) below: Option<String>,
    /// Only those that fall before then (RFC 3339).
    #[arg(long, value_name = "INSTANT")]
    pub(crate) ends_before: Option<String>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `identity expect`.
#[derive(Debug, Group)]
pub(crate) struct IdentityExpect {
    /// A CSV file with a header; without it, who is expected is printed.
    #[arg(value_name = "FILE", requires = "reason")]
    pub(crate) file: Option<std::path::PathBuf>,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `identity show`.
#[derive(Debug, Group)]
pub(crate) struct IdentityShow {
    /// Which.
    #[arg(value_name = "DEVICE")]
    pub(crate) device: String,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `identity token`.
#[derive(Debug, Group)]
pub(crate) struct IdentityToken {
    /// Which.
    #[arg(value_name = "DEVICE")]
    pub(crate) device: String,
    /// How long it is good: 2h, 3d; 30d at most (else: a week).
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) lasts: Option<Duration>,
    /// Show the QR code also when standard output is no terminal.
    #[arg(long)]
    pub(crate) qr: bool,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `identity revoke`.
#[derive(Debug, Group)]
pub(crate) struct IdentityRevoke {
    /// Whose.
    #[arg(value_name = "DEVICE")]
    pub(crate) device: String,
    /// Only these, by serial number.
    #[arg(long = "serial", value_name = "HEX")]
    pub(crate) serials: Vec<String>,
    /// What revocation lists say of it.
    #[arg(long, value_name = "WORD", value_parser = ["unspecified", "key-compromise", "superseded", "cessation-of-operation", "privilege-withdrawn"])]
    pub(crate) because: String,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `identity vouch`.
#[derive(Debug, Group)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["lasts", "end"]))]
pub(crate) struct IdentityVouch {
    /// For which.
    #[arg(value_name = "DEVICE")]
    pub(crate) device: String,
    /// The device that speaks for it.
    #[arg(long, value_name = "DEVICE", conflicts_with = "end")]
    pub(crate) gateway: Option<String>,
    /// How long: 12h, 30d; 90d at most.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) lasts: Option<Duration>,
    /// Nobody vouches for it any more.
    #[arg(long)]
    pub(crate) end: bool,
    #[command(flatten)]
    pub(crate) approval: Approval,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `identity requests`.
#[derive(Debug, Group)]
pub(crate) struct IdentityRequests {
    /// In this state.
    #[arg(long, value_name = "STATE", default_value = "waiting", value_parser = ["waiting", "approved", "rejected", "all"])]
    pub(crate) state: String,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `identity approve`.
#[derive(Debug, Group)]
pub(crate) struct IdentityApprove {
    /// Which, or its beginning.
    #[arg(value_name = "REQUEST")]
    pub(crate) request: String,
    /// The device that it is.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: String,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `identity reject`.
#[derive(Debug, Group)]
pub(crate) struct IdentityReject {
    /// Which, or its beginning.
    #[arg(value_name = "REQUEST")]
    pub(crate) request: String,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `identity findings`.
#[derive(Debug, Group)]
pub(crate) struct IdentityFindings {
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) at: At,
}
