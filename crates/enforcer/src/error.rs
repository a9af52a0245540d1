//! What can go wrong between a plan and the kernel, and what to do about it.

use std::net::IpAddr;

use model::Mac;

use crate::netlink::NetlinkError;

/// Why a plan is not in force.
#[derive(Debug, thiserror::Error)]
pub enum EnforceError {
    /// The ruleset contradicts itself; nothing was sent to the kernel.
    #[error("the ruleset cannot be enforced: {0}")]
    Invalid(#[from] Invalid),
    /// A program of the system is not there.
    #[error("cannot run `{program}`: {source}; install it (Debian: apt-get install {package})")]
    Missing {
        /// Program name.
        program: String,
        /// Debian package that has it.
        package: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The kernel wants more privilege than this process has.
    #[error(
        "the kernel refused for lack of privilege: {said}; run as root, or in a user namespace \
         (unshare --user --map-root-user --net); a table that another living process owns cannot \
         be changed"
    )]
    NotPermitted {
        /// What the program said.
        said: String,
    },
    /// The kernel refused a transaction. What was in force stays in force.
    #[error("the kernel refused to {what}: {why}; the previous rules stay in force")]
    Refused {
        /// What was asked: `add rule to chain judge_g7`.
        what: String,
        /// What the kernel said.
        why: String,
    },
    /// Others change rules faster than ours can be put in force.
    #[error(
        "rules of this network namespace were changed by somebody else {tries} times while ours \
         were being put in force; the previous rules stay in force: find out who (nft monitor)"
    )]
    Contended {
        /// How often it was tried.
        tries: usize,
    },
    /// This process has not put anything in force, or somebody else has put something else in
    /// force since.
    #[error("{in_force}, which this process did not apply or verify; apply a ruleset first")]
    NotOurs {
        /// What is in force, in words.
        in_force: String,
    },
    /// A name permit that the ruleset in force does not have.
    #[error("the ruleset in force has no name permit `{rule}` for {name}")]
    NoSuchName {
        /// The rule.
        rule: String,
        /// The DNS name.
        name: String,
    },
    /// Something failed between us and the kernel.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The plan is older than what is in force.
    #[error(
        "generation {offered} is older than generation {in_force} in force; an enforcement point \
         never goes back: plan again against {in_force}"
    )]
    Stale {
        /// Generation of the plan.
        offered: u64,
        /// Generation read back from the kernel.
        in_force: u64,
    },
    /// A program ran and failed.
    #[error("`{command}` failed with code {code}: {said}")]
    Failed {
        /// Command line.
        command: String,
        /// Exit code, −1 when it was killed.
        code: i32,
        /// Its standard error.
        said: String,
    },
    /// A program answered what cannot be understood.
    #[error("cannot understand what `{command}` answered: {why}; is it nftables 1.0.2 or newer?")]
    Unreadable {
        /// Command line.
        command: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// Some other failure of the system.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What is wrong with a ruleset or the options it is to be enforced with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A name that nf_tables would not take, or that could smuggle in rules.
    #[error("`{name}` cannot be {what}; use 1 to {max} characters of a-z A-Z 0-9 . _ -")]
    Name {
        /// What it was meant to name.
        what: &'static str,
        /// The name.
        name: String,
        /// Longest length.
        max: usize,
    },
    /// Rules for no interface would judge nothing.
    #[error("no interface is named; name the bridge or port the devices are behind")]
    NoInterface,
    /// Class 0 is the packet mark of the unknown.
    #[error("class number 0 is reserved for unknown destinations; number classes from 1")]
    ClassZero,
    /// A class that is not defined.
    #[error("{by} refers to class {class}, which is not defined")]
    NoSuchClass {
        /// Who refers to it.
        by: String,
        /// The number.
        class: u32,
    },
    /// One address, two classes.
    #[error("{ip} is in class {one} and in class {other}; an address has one class")]
    TwoClasses {
        /// Address or prefix.
        ip: String,
        /// One class.
        one: u32,
        /// The other.
        other: u32,
    },
    /// A link address that cannot be a sender.
    #[error("{mac} cannot be the link address of {ip}: it is a group or zero address")]
    NotASender {
        /// Link address.
        mac: Mac,
        /// Network address.
        ip: IpAddr,
    },
    /// Prefix longer than the address.
    #[error("/{prefix} is too long for {ip}")]
    Prefix {
        /// Address.
        ip: IpAddr,
        /// Prefix length.
        prefix: u8,
    },
    /// First port after the last.
    #[error("rule `{rule}` permits ports {first} to {last}: the first is after the last")]
    Ports {
        /// Rule name.
        rule: String,
        /// First port.
        first: u16,
        /// Last port.
        last: u16,
    },
    /// A rate that lets nothing through.
    #[error("rule `{rule}` permits 0 flows per second; take the rule away, or name a rate from 1")]
    Rate {
        /// Rule name.
        rule: String,
    },
    /// An exception between an IPv4 and an IPv6 address.
    #[error("exception `{name}` joins {from} and {to}: one is IPv4, the other IPv6")]
    Families {
        /// Exception name.
        name: String,
        /// Source.
        from: IpAddr,
        /// Destination.
        to: IpAddr,
    },
}
