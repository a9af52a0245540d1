//! What can be typed to a controller.

mod change;
mod exception;
mod identity;
mod import;
mod keyring;
mod keys;
mod look;
mod release;
mod session;
mod shell;

use clap::{Args as Group, Subcommand, ValueEnum};

pub(crate) use change::*;
pub(crate) use exception::*;
pub(crate) use identity::*;
pub(crate) use import::*;
pub(crate) use keyring::*;
pub(crate) use keys::*;
pub(crate) use look::*;
pub(crate) use release::*;
pub(crate) use session::*;
pub(crate) use shell::*;

/// Everything that is said to a controller.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Known controllers, and which of them is asked.
    Context {
        #[command(subcommand)]
        command: ContextCommand,
    },
    /// Logs in at a controller, and remembers it as a context.
    ///
    /// The password is read from the terminal without echo, or from a file; never from the command line.
    Login(Login),
    /// Makes the first operator of a new controller.
    ///
    /// The setup token lies in the controller's state folder: whoever may read it there may do this, once.
    Setup(Setup),
    /// Ends the session, here and at the controller.
    Logout(Logout),
    /// Who is logged in, and what they may do.
    Whoami(Whoami),
    /// Changes the own password; all other sessions end.
    Password(Password),
    /// Lists or shows what the controller knows: devices, sites, teams, leases, policy, levels, people.
    Get(Get),
    /// One thing with all that belongs to it.
    Describe(Describe),
    /// What changed a device, the newest first: when, who, why.
    History(History),
    /// Why a device is granted what it is granted: the decision, what it rests on, its policy.
    Explain(Explain),
    /// What a policy folder here would change at the controller.
    ///
    /// The texts that differ, then the paths that would open and close. Changes nothing.
    Diff(Diff),
    /// Decides about devices: fields and labels.
    ///
    /// What a person decides is never overwritten by discovery. `FIELD=` takes a decision back.
    Edit(Edit),
    /// Takes in a list of devices: a table (CSV), or the leases of a DHCP server.
    ///
    /// What would change is told row by row; --dry-run changes nothing.
    Import(Import),
    /// Says which team is answerable for devices.
    Owner(Owner),
    /// Cuts devices off, or lets them back in.
    Quarantine(Quarantine),
    /// Retires devices that are gone for good: their ids stay taken, their leases end.
    Retire(Retire),
    /// Paths that are open for a while, with an owner, a reason and an end: list, add, end.
    Exception {
        #[command(subcommand)]
        command: Exceptions,
    },
    /// What devices have shown, and how they come to certificates: list, show, token, revoke, vouch, requests, keys.
    Identity {
        #[command(subcommand)]
        command: Identity,
    },
    /// Firmware that somebody answers for, by which devices are attested: list, show, add, withdraw.
    Release {
        #[command(subcommand)]
        command: Releases,
    },
    /// Sites of the estate: create, token, revoke.
    Sites {
        #[command(subcommand)]
        command: Sites,
    },
    /// Teams that are answerable: set, remove.
    Teams {
        #[command(subcommand)]
        command: Teams,
    },
    /// Keys with which devices sign what they send: list, chains, register, revoke.
    Keys {
        #[command(subcommand)]
        command: Keys,
    },
    /// Ways to look at devices that are kept under a name: set, remove.
    Views {
        #[command(subcommand)]
        command: Views,
    },
    /// Tokens for programs: create, revoke.
    Tokens {
        #[command(subcommand)]
        command: Tokens,
    },
    /// People who may log in: create, roles, password, disable, enable.
    Operators {
        #[command(subcommand)]
        command: Operators,
    },
    /// What waits for a person: records that may be one device, devices that are back, approvals; and the answer.
    Decide(Decide),
    /// Agrees, as the second person, to what somebody asked for.
    Approve(Judge),
    /// Refuses what somebody asked for, or takes the own request back.
    #[command(after_help = change::REJECT)]
    Reject(Judge),
    /// Waits until a device or a site has come to something.
    Wait(Wait),
    /// Changes as they happen; Ctrl-C ends it.
    Events(Events),
    /// Looks for what is wrong between here, the controller and its sites.
    Doctor(Doctor),
    /// Completions for a shell.
    Completions(Completions),
    /// Manual pages, one for each command.
    Man(Man),
}

/// Which controller.
#[derive(Clone, Debug, Default, Group)]
pub(crate) struct At {
    /// Context to use (else: $RINGFENCE_CONTEXT, or the one that `context use` named).
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// Why something is changed.
#[derive(Clone, Debug, Group)]
pub(crate) struct Reason {
    /// Why; it goes into the journal.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// One document.
    Json,
}
