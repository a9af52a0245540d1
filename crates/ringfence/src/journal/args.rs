//! What can be typed after `ringfence journal`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Subcommand, ValueEnum};

/// Commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Journal {
    /// Begin a journal: a folder with a key and a log without entries.
    New(New),
    /// Append one entry, and publish it under a signed checkpoint.
    ///
    /// The checkpoint is signed after the entry is on the disk, and only when it extends the one that was signed last.
    Append(Append),
    /// Check a journal, offline: every entry, tile and checkpoint. The first wrong byte is named.
    ///
    /// Takes the folder of a journal, the folder of tiles that a web server serves, or proofs. Bring the verifier key from
    /// elsewhere: a key that lies beside what it verifies proves little.
    Verify(Verify),
    /// Write a proof that an entry is in the journal, or that a device sent a message, to be kept and shown elsewhere.
    Prove(Prove),
    /// Print entries as JSON, one a line.
    Export(Export),
    /// Follow a journal from outside: every new head has to extend the one before.
    ///
    /// Ends with an error, and keeps both heads as evidence, when the journal was forked or rolled back. Bring the verifier key from
    /// elsewhere, and keep the last head with --last: then it knows after a restart what it saw before.
    Watch(Watch),
}

const NEW: &str = "\
Examples:
  ringfence journal new journal --origin example.com/journal

The folder gets key.pem (the private key, readable by its owner alone), log.vkey (the verifier key,
for everybody), journal.db (the entries), log/ (what a web server may serve) and signed (what was
signed last; keep it out of backups of journal.db).

Exit codes: 0 it is there, 1 something failed, 4 the folder is not empty, 64 wrong usage.";

/// Options of `new`.
#[derive(Debug, Group)]
#[command(after_help = NEW)]
pub(crate) struct New {
    /// The folder; it must be new or empty.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// The name of the journal, for ever: a host name of yours, and a path if you like.
    #[arg(long, value_name = "NAME")]
    pub(crate) origin: String,
}

const APPEND: &str = "\
Examples:
  ringfence journal append journal --command note.written --who person:p-17 --why 'first try'
  ringfence journal append journal --command device.retire --payload '{\"device\":\"cam-3\"}' \\
    --who person:p-17 --why 'support ended' --evidence advisory.pdf --event device.retired
  ringfence journal append journal --command note.written --payload @note.txt --who person:p-17 \\
    --why 'only as the third entry' --expect 2
  ringfence journal append journal --witnesses trust.txt --command note.written --who person:p-17 \\
    --why 'cosigned by whom trust.txt names'

With witnesses, they are asked what they hold before anything is appended, and the checkpoint is
published when a quorum has cosigned it.

Exit codes: 0 it is durable and published, 1 something failed, no witness can be asked, or the
quorum is late, 3 there is no such journal, 4 another entry came first or another process writes,
5 signing would fork or roll back what was signed, 64 wrong usage.";

/// Options of `append`.
#[derive(Debug, Group)]
#[command(after_help = APPEND)]
pub(crate) struct Append {
    /// The folder of the journal.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// What is commanded: a type such as device.retire.
    #[arg(long, value_name = "TYPE")]
    pub(crate) command: String,
    /// What the command says: text, or @FILE for the bytes of a file.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) payload: String,
    /// Who commands: a kind and an id that is no name of a person, such as person:p-17.
    #[arg(long, value_name = "KIND:ID")]
    pub(crate) who: String,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,
    /// A file that it rests on; the entry has its SHA-256. May be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) evidence: Vec<PathBuf>,
    /// What came of it: a type, and what it says. May be given several times.
    #[arg(long = "event", value_name = "TYPE[=TEXT]")]
    pub(crate) events: Vec<String>,
    /// The number that the entry has to get; refused when another one came first.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) expect: Option<u64>,
    /// The witnesses, their addresses, and how many have to cosign: a policy as in C2SP tlog-policy. [default: the file
    /// `witnesses` in the folder, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) witnesses: Option<PathBuf>,
    /// How long to wait for a witness.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = crate::args::duration)]
    pub(crate) timeout: Duration,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

const VERIFY: &str = "\
Examples:
  ringfence journal verify journal
  ringfence journal verify /srv/www/journal --key example.com/journal+8f2c51aa+AQ…
  ringfence journal verify journal --policy trust.txt --checkpoint from-a-witness.txt
  ringfence journal verify 3.tlog-proof --key log.vkey

Exit codes: 0 everything is as it was signed, 1 it is not, 3 there is no such journal or file, 64
wrong usage.";

/// Options of `verify`.
#[derive(Debug, Group)]
#[command(after_help = VERIFY)]
pub(crate) struct Verify {
    /// A folder, files *.tlog-proof with the entry beside them (*.entry), or files *.message-proof.
    #[arg(required = true, value_name = "DIR|FILE")]
    pub(crate) what: Vec<PathBuf>,
    /// The verifier key of the log, or a file with it. [default: log.vkey in the folder]
    #[arg(long, value_name = "KEY|FILE", conflicts_with = "policy")]
    pub(crate) key: Option<String>,
    /// Whom to believe, and how many witnesses: a policy as in C2SP tlog-policy.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// A checkpoint that was kept elsewhere: it shows a fork or a rollback. May be given several times.
    #[arg(long = "checkpoint", value_name = "FILE")]
    pub(crate) checkpoints: Vec<PathBuf>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

const PROVE: &str = "\
Examples:
  ringfence journal prove journal 3
  ringfence journal prove journal 3 --to evidence/
  ringfence journal verify 3.tlog-proof --key journal/log.vkey
  ringfence journal prove /var/lib/ringfence/controller --device scale-2 --sequence 17 \\
    --batch batch.bin
  ringfence journal prove journal --device scale-2 --sequence 17 --batch batch.txt --lines
  ringfence journal verify 5-17.message-proof --policy trust.txt

Writes ENTRY.tlog-proof (C2SP tlog-proof) and ENTRY.entry (the entry's bytes); or, of a message,
ENTRY-SEQUENCE.message-proof: the message, its path to the root that its device signed, the signed
commitment and the key's registration with their places in the journal, and the checkpoint.

Exit codes: 0 it is written, 1 something failed, or the messages are not those of the batch, 3 there
is no such journal, entry or commitment, 64 wrong usage.";

/// Options of `prove`.
#[derive(Debug, Group)]
#[command(after_help = PROVE)]
pub(crate) struct Prove {
    /// The folder of a journal, or of its tiles.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// The number of the entry, from 0.
    #[arg(value_name = "ENTRY", required_unless_present = "device", conflicts_with = "device")]
    pub(crate) entry: Option<u64>,
    /// Prove a message of this device instead, as its commitments name it.
    #[arg(long, value_name = "DEVICE", requires_all = ["sequence", "what"])]
    pub(crate) device: Option<String>,
    /// The number of the message, as its device counts.
    #[arg(long, value_name = "NUMBER", requires = "device")]
    pub(crate) sequence: Option<u64>,
    /// The epoch that the device counted in. [default: the only one that has the number]
    #[arg(long, value_name = "NUMBER", requires = "device")]
    pub(crate) epoch: Option<u64>,
    /// By what a gateway saw, which does not bind the device.
    #[arg(long, requires = "device")]
    pub(crate) gateway: bool,
    /// All messages of the batch that it is in, each behind its length in four bytes, big end first.
    #[arg(long, value_name = "FILE", requires = "device", group = "what")]
    pub(crate) batch: Option<PathBuf>,
    /// The batch has one message a line.
    #[arg(long, requires = "batch")]
    pub(crate) lines: bool,
    /// The message, where its path is known and the batch is not.
    #[arg(long, value_name = "FILE", requires = "path", group = "what", conflicts_with = "batch")]
    pub(crate) message: Option<PathBuf>,
    /// Its path to the root of the batch: hashes in base64, one a line.
    #[arg(long, value_name = "FILE", requires = "message")]
    pub(crate) path: Option<PathBuf>,
    /// Where the files are written.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) to: PathBuf,
}

const EXPORT: &str = "\
Examples:
  ringfence journal export journal | jq -r '[.number, .who.id, .command.type, .why] | @tsv'
  ringfence journal export journal --from 1000 > since-1000.jsonl

Exit codes: 0 everything is printed, 1 something cannot be read, 3 there is no such journal,
64 wrong usage.";

/// Options of `export`.
#[derive(Debug, Group)]
#[command(after_help = EXPORT)]
pub(crate) struct Export {
    /// The folder of a journal, or of its tiles.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// The first entry.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) from: u64,
}

const WATCH: &str = "\
Examples:
  ringfence journal watch http://journal.example.com/log --key log.vkey --last seen
  ringfence journal watch /srv/www/journal --policy trust.txt --every 10s --evidence kept/
  ringfence journal watch journal --once

Exit codes: 0 it was told to end, or looked once and all is well, 1 the journal was forked, rolled
back or cannot be verified, or something failed, 3 there is no such journal, 64 wrong usage.";

/// Options of `watch`.
#[derive(Debug, Group)]
#[command(after_help = WATCH)]
pub(crate) struct Watch {
    /// The folder of a journal or of its tiles, or the address that serves the tiles.
    #[arg(value_name = "DIR|URL")]
    pub(crate) what: String,
    /// The verifier key of the log, or a file with it. [default: log.vkey in the folder]
    #[arg(long, value_name = "KEY|FILE", conflicts_with = "policy")]
    pub(crate) key: Option<String>,
    /// Whom to believe, and how many witnesses: a policy as in C2SP tlog-policy.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// How often to look.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = crate::args::duration)]
    pub(crate) every: Duration,
    /// Look once and end.
    #[arg(long)]
    pub(crate) once: bool,
    /// Where the last good head is kept from one run to the next.
    #[arg(long, value_name = "FILE")]
    pub(crate) last: Option<PathBuf>,
    /// Where both heads are kept when one does not extend the other.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) evidence: PathBuf,
    /// Output on standard output: lines, or one document a line.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Lines for people.
    Table,
    /// One document.
    Json,
}
