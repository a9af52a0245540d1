//! What can be typed after `ringfence controller`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Subcommand};

use crate::args::duration;

/// Commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Controller {
    /// Run headquarters: one estate, its journal, its policy, its API, and the line to every site.
    ///
    /// All of it lives in one folder. The first start makes what is missing: keys, a journal, a certificate authority, and a secret with
    /// which the first operator is made. Ends on SIGTERM or Ctrl-C; what it answered is durable by then.
    Run(Run),
}

const RUN: &str = "\
Examples:
  ringfence controller run --state /var/lib/ringfence/controller
  ringfence controller run --state hq --name plants.example.org --host hq.example.org \\
    --listen 0.0.0.0:8443 --line-listen 0.0.0.0:8444

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
