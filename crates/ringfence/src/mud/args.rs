//! What can be typed after `ringfence mud`.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand, ValueEnum};
use model::{DeviceId, Timestamp};

use crate::args::instant;

/// Commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Mud {
    /// Read a MUD file and verify who signed it.
    ///
    /// A fault refuses the file whole, with its place. What is well formed and not understood is
    /// listed; nothing is dropped in silence.
    Check(Check),
    /// Show what MUD files say: entries, abstractions, validity.
    Show(Show),
    /// What a MUD file would open in a policy folder, and what stands against it.
    ///
    /// The answer is a proposal in shadow. A path that local policy forbids is never part of it, and
    /// what devices do without their file describing it is a finding. Changes nothing.
    Propose(Propose),
    /// Write what a type of device is granted as a MUD file, signed if you like.
    Export(Export),
}

const CHECK: &str = "\
Examples:
  ringfence mud check lamp.json
  ringfence mud check lamp.json --signature lamp.p7s --anchor maker-root.pem
  ringfence mud check lamp.json --signature lamp.p7s --anchor root.pem --at 2031-03-14T18:00:00Z
  ringfence mud check lamp.json --signature lamp.p7s --anchor root.pem --device-cert lamp-idevid.pem

Exit codes: 0 the file is sound (and signed, when that was asked), 1 it is not, 2 there are remarks
(with --detailed-exitcode), 64 wrong usage.";

/// Options of `check`.
#[derive(Debug, Group)]
#[command(after_help = CHECK)]
pub(crate) struct Check {
    /// The MUD file (JSON).
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Its detached signature (CMS, DER or PEM).
    #[arg(long, value_name = "FILE", requires = "anchors")]
    pub(crate) signature: Option<PathBuf>,
    /// Certificates that are trusted to vouch for signers (PEM or DER); may be given several times.
    #[arg(long = "anchor", value_name = "FILE", requires = "signature")]
    pub(crate) anchors: Vec<PathBuf>,
    /// Judge certificates at this time instead of now.
    #[arg(long, value_name = "TIME", requires = "signature", value_parser = instant)]
    pub(crate) at: Option<Timestamp>,
    /// Certificate of a device: its MUD URL must be the file's, and the signer the one it names.
    #[arg(long, value_name = "FILE", requires = "signature")]
    pub(crate) device_cert: Option<PathBuf>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// Exit with 2 when there are remarks or statements that are not understood.
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

const SHOW: &str = "\
Examples:
  ringfence mud show lamp.json
  ringfence mud show -o json lamp.json | jq '.[].abstractions'
  ringfence mud show lamp.json --fetched 2031-03-14T18:00:00Z

Exit codes: 0 all are sound, 1 one is not, 64 wrong usage.";

/// Options of `show`.
#[derive(Debug, Group)]
#[command(after_help = SHOW)]
pub(crate) struct Show {
    /// MUD files.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// When the files were fetched: says until when they may be used.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) fetched: Option<Timestamp>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

const PROPOSE: &str = "\
Examples:
  ringfence mud propose lamp.json --policy policy/ --type lamp
  ringfence mud propose lamp.json --policy policy/ --device lamp-7 --observed monday.json
  ringfence mud propose fw1.json fw2.json --policy policy/ --device lamp-7 --firmware 2.4.1
  ringfence mud propose lamp.json --policy policy/ --type lamp -o cedar > policy/policies/lamp.cedar

`controller` and `my-controller` get their meaning in estate.toml:
  [controllers]
  \"urn:ietf:params:mud:dns\" = [\"svc:resolver/udp/53\"]
  \"my-controller\" = [\"lighting-server\"]

Exit codes: 0 nothing stands against the file, 1 failed, 2 there are conflicts or undescribed paths
(with --detailed-exitcode), 3 no such type or device, 64 wrong usage.";

/// Options of `propose`.
#[derive(Debug, Group)]
#[command(after_help = PROPOSE)]
#[command(group = clap::ArgGroup::new("whom").required(true).args(["kind", "device"]))]
pub(crate) struct Propose {
    /// MUD files; of several, the device's firmware version chooses one.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The policy folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) policy: PathBuf,
    /// For all devices of this type.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// For this device.
    #[arg(long, value_name = "ID", value_parser = |id: &str| DeviceId::new(id))]
    pub(crate) device: Option<DeviceId>,
    /// Recorded traffic of the estate: a document of `ringfence inspect -o json`.
    #[arg(long, value_name = "FILE")]
    pub(crate) observed: Option<PathBuf>,
    /// Firmware version that chooses among several files; otherwise the one in --observed.
    #[arg(long, value_name = "VERSION")]
    pub(crate) firmware: Option<String>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t = ProposalOutput::Table)]
    pub(crate) output: ProposalOutput,
    /// Show every path, not only the first ones.
    #[arg(long)]
    pub(crate) all: bool,
    /// Exit with 2 when there are conflicts or undescribed paths.
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

const EXPORT: &str = "\
Examples:
  ringfence mud export --policy policy/ --type ip-camera
  ringfence mud export --policy policy/ --type ip-camera --out camera.json \\
      --sign key.pem --cert signer.pem --chain issuing-ca.pem --base https://mud.example.com/

The signature is written beside the file, as camera.p7s; `openssl cms -verify` accepts it.

Exit codes: 0 it is written, 1 failed, 3 no such type, 64 wrong usage.";

/// Options of `export`.
#[derive(Debug, Group)]
#[command(after_help = EXPORT)]
pub(crate) struct Export {
    /// The policy folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) policy: PathBuf,
    /// Type of device.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: String,
    /// Where the file goes; standard output otherwise.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Sign with this private key (PEM); the signature goes beside the file.
    #[arg(long, value_name = "FILE", requires = "cert", requires = "out")]
    pub(crate) sign: Option<PathBuf>,
    /// Certificate of the signing key (PEM or DER).
    #[arg(long, value_name = "FILE", requires = "sign")]
    pub(crate) cert: Option<PathBuf>,
    /// Certificates between the signer's and the trust anchor (PEM or DER).
    #[arg(long, value_name = "FILE", requires = "sign")]
    pub(crate) chain: Option<PathBuf>,
    /// Recorded traffic of the estate: adds makers and models.
    #[arg(long, value_name = "FILE")]
    pub(crate) observed: Option<PathBuf>,
    /// What the URLs of files begin with.
    #[arg(long, value_name = "URL", default_value = policy::mud::URL_BASE)]
    pub(crate) base: String,
    /// Time of signing, and of the last update where the folder has none; now otherwise.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) at: Option<Timestamp>,
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A report for people.
    Table,
    /// One JSON document.
    Json,
}

/// What standard output gets from `propose`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProposalOutput {
    /// A report for people.
    Table,
    /// One JSON document.
    Json,
    /// The permits in shadow, as a file for the folder; new services stand in its comments.
    Cedar,
}
