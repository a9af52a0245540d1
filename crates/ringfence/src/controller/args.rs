//! What can be typed after `ringfence controller`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ::controller::keys::{CREDENTIAL, Keeper};
use clap::{Args as Group, Subcommand, ValueEnum};

use crate::args::duration;

/// Commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Controller {
    /// Run headquarters: one estate, its journal, its policy, its API, and the line to every site.
    ///
    /// All of it lives in one folder. The first start makes what is missing: keys, a journal, a certificate authority, and a secret with
    /// which the first operator is made. Ends on SIGTERM or Ctrl-C; what it answered is durable by then.
    Run(Run),
    /// Write all of a controller into one file, while it runs or not.
    ///
    /// The file is a copy that fits together, of one moment. It was opened as a controller opens it before it gets its name. It holds private keys and
    /// personal data: only its owner reads it; encrypt it before it leaves the machine.
    Backup(Backup),
    /// Put a backup back into a new folder, or check one.
    ///
    /// Every byte is compared with what was written, the journal is opened and folded, every entry is hashed again. The folder gets its name when
    /// all of it fits together; otherwise nothing is left behind.
    Restore(Restore),
    /// Put another root certificate, and an issuing authority below it, in the place of those that there are.
    ///
    /// The controller must not run meanwhile. Both roots are shown and believed for as long as they last, and the new issuing authority is certified
    /// by the root of before too: no site and no device is cut off. Devices learn of the new root when they renew (EST cacerts).
    RenewRoot(RenewRoot),
}

const RUN: &str = "\
Examples:
  ringfence controller run --state /var/lib/ringfence/controller
  ringfence controller run --state hq --name plants.example.org --host hq.example.org \\
    --listen 0.0.0.0:8443 --line-listen 0.0.0.0:8444
  ringfence controller run --state hq --passphrase-file /run/secrets/ringfence

Then, on the same machine, with the folder's own token:
  ringfence login --state hq
or as the first operator, with the secret in hq/setup-token:
  ringfence setup --server https://localhost:8443 --ca hq/pki/root.pem

A file `witnesses` in the folder (C2SP tlog-policy) names who cosigns the journal: with it, nothing
is signed before they were asked.

Exit codes: 0 it was told to end, 1 something failed, 4 another process has the folder, 64 wrong
usage.";

/// Options of `run`.
#[derive(Debug, Group)]
#[command(after_help = RUN)]
pub(crate) struct Run {
    /// The folder that it lives in; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/ringfence/controller")]
    pub(crate) state: PathBuf,
    #[command(flatten)]
    pub(crate) keys: Keys,
    /// The estate's name, like a host name of yours; it stands in certificates and in the journal, for ever.
    /// [default: the one it has, or estate.internal]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Where the API listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8443")]
    pub(crate) listen: SocketAddr,
    /// Where sites connect; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8444")]
    pub(crate) line_listen: SocketAddr,
    /// Where devices enrol and renew their certificates over EST (RFC 7030): 0.0.0.0:8445. [default: nowhere]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) est_listen: Option<SocketAddr>,
    /// A name or an address under which this machine is asked, for its certificate, besides its own names. May be given
    /// several times.
    #[arg(long = "host", value_name = "NAME|ADDRESS")]
    pub(crate) hosts: Vec<String>,
    /// How often a site hears that its leases hold: 10s, 1m.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration)]
    pub(crate) lease_every: Duration,
    /// How long leases hold after the last time that a site heard so. Then, out of reach of its controller, only devices whose
    /// criticality is `high` or `safety` keep what they have.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub(crate) lease_term: Duration,
    /// For how long after that they keep it.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = duration)]
    pub(crate) stale_after: Duration,
}

const BACKUP: &str = "\
Examples:
  ringfence controller backup hq-2026-11-27.rfbk
  ringfence controller backup --state hq nightly.rfbk --force
  ringfence controller backup nightly.rfbk && age -r age1… -o nightly.rfbk.age nightly.rfbk

It holds the journal, people.db, policy folders, the keys of the journal and of the authority (under
their passphrase, which is in it too unless it is kept elsewhere), and the names of witnesses. The
secrets of this machine (host-token, setup-token) and the published tiles (log/) are not in it: the
next start makes them again. `zstd -d | tar t` lists what is in it.

Exit codes: 0 it is there and whole, 1 something failed, 3 there is no such controller, 4 the file
is there already or another backup is being written, 64 wrong usage.";

/// Options of `backup`.
#[derive(Debug, Group)]
#[command(after_help = BACKUP)]
pub(crate) struct Backup {
    /// The file to write; its folder needs about twice the room of the state folder meanwhile.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The state folder of the controller.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/ringfence/controller")]
    pub(crate) state: PathBuf,
    /// Replace the file, if there is one.
    #[arg(long)]
    pub(crate) force: bool,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

const RESTORE: &str = "\
Examples:
  ringfence controller restore hq-2026-11-27.rfbk --check
  ringfence controller restore hq-2026-11-27.rfbk --state /var/lib/ringfence/controller
  ringfence controller run --state /var/lib/ringfence/controller

Never run two controllers from one backup. A restored controller asks its witnesses before it signs:
one that saw more than the backup has says so, and nothing is signed until a newer backup is
restored. --check unpacks into the folder for temporary files (TMPDIR) and removes it again.

Exit codes: 0 it is there (or whole), 1 it is damaged or something failed, 4 the folder is not empty
or another restore is under way, 64 wrong usage.";

/// Options of `restore`.
#[derive(Debug, Group)]
#[command(after_help = RESTORE)]
pub(crate) struct Restore {
    /// The backup.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The folder to restore into; it is not there yet, or empty.
    #[arg(long, value_name = "DIR", required_unless_present = "check", conflicts_with = "check")]
    pub(crate) state: Option<PathBuf>,
    /// Only check that it can be restored.
    #[arg(long)]
    pub(crate) check: bool,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

const RENEW_ROOT: &str = "\
Examples:
  ringfence controller backup before-the-new-root.rfbk
  systemctl stop ringfence-controller
  ringfence controller renew-root --state /var/lib/ringfence/controller
  systemctl start ringfence-controller

Afterwards, take the key of the root of before out of the state folder; it signs nothing any more.
Tokens of sites that were made before name the root of before, and stay good.

Exit codes: 0 it is done, 1 something failed (the root's key is away), 4 the controller runs, 64
wrong usage.";

/// Options of `renew-root`.
#[derive(Debug, Group)]
#[command(after_help = RENEW_ROOT)]
pub(crate) struct RenewRoot {
    /// The state folder of the controller.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/ringfence/controller")]
    pub(crate) state: PathBuf,
    #[command(flatten)]
    pub(crate) keys: Keys,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// Who keeps the passphrase of private keys.
#[derive(Debug, Group)]
pub(crate) struct Keys {
    /// A file whose first line is the passphrase of the private keys in the folder, 12 bytes at least. [default: the systemd
    /// credential ringfence-passphrase, where there is one; else the folder keeps a passphrase itself]
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// A file with the passphrase of before, for the start that changes it.
    #[arg(long, value_name = "FILE")]
    pub(crate) old_passphrase_file: Option<PathBuf>,
}

impl Keys {
    /// As it was asked for, or as the service manager gives it (systemd.exec(5), CREDENTIALS_DIRECTORY).
    pub(crate) fn keeper(&self) -> Keeper {
        let credential = || {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
            Some(PathBuf::from(folder).join(CREDENTIAL)).filter(|file| file.exists())
        };
        Keeper {
            file: self.passphrase_file.clone().or_else(credential),
            before: self.old_passphrase_file.clone(),
        }
    }
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Lines for people.
    Table,
    /// One document.
    Json,
}
