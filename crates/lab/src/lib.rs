//! A test estate in network namespaces: a small warehouse with real programs, real protocols on
//! the kernel's own sockets, and a device that turns hostile.
//!
//! ```text
//!   sensor-cold sensor-dock broker plc hmi camera nvr printer scanner till files laptop
//!        └──────────┴─────────┴────┴───┴────┴──────┴────┬────┴──────┴─────┴─────┘
//!                                             br0  gateway  wan0 ── payments (203.0.113.10)
//!                                       DHCP, DNS, NTP; fence; sensor
//! ```
//!
//! * [`Lab`]: builds it, tells what is in it, takes it away.
//! * [`Netns`]: one namespace; run a closure or a program inside.
//! * [`traffic`]: what the devices do all day; [`attack`]: what the camera does once taken over.
//! * [`folder`]: the warehouse as a policy folder.
//! * [`probe`]: who reaches whom, judged at the victim's own interface.
//! * [`uplink`]: a smaller site with an outside world behind it, for names.
//! * [`proof`]: the fence under load, swaps and kills.
//! * [`record`]: the bridge's traffic as a capture file.
//! * [`privilege`], [`need`]: what a machine must have, and how tests say that it has not.
//!
//! Namespaces have no name in the file system: the kernel takes them away, with all links, rules
//! and addresses in them, as soon as this process is gone, however it went. Programs die with
//! their parent. What could be left is one directory of small files, which the next lab sweeps,
//! and two empty lock files: at most two labs run at once on a machine, the next waits.
//! Nothing outside the namespaces it made is touched.

pub mod attack;
mod build;
mod client;
pub mod estate;
pub mod folder;
pub mod interrupt;
mod mdns;
mod netns;
pub mod privilege;
pub mod probe;
mod process;
pub mod proof;
pub mod record;
mod serve;
mod slot;
mod sys;
pub mod traffic;
pub mod uplink;
pub mod wait;

pub use build::{Device, Lab};
pub use netns::Netns;
pub use privilege::need;
pub use process::Process;

/// Why a lab cannot be built or used.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Not allowed to make network namespaces.
    #[error(
        "cannot make a network namespace: {source}; run as root, or allow unprivileged user \
         namespaces (sysctl kernel.unprivileged_userns_clone=1, and on Ubuntu \
         kernel.apparmor_restrict_unprivileged_userns=0)"
    )]
    NotPermitted {
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Programs are missing.
    #[error("missing programs: {}; install them: apt-get install {}", programs.join(", "), packages.join(" "))]
    Missing {
        /// Their names.
        programs: Vec<String>,
        /// Debian packages that have them.
        packages: Vec<String>,
    },
    /// A step of the construction failed.
    #[error("cannot {doing}: {why}")]
    Failed {
        /// The step.
        doing: String,
        /// What was said.
        why: String,
    },
    /// Ctrl-C or SIGTERM.
    #[error("interrupted")]
    Interrupted,
    /// A name that is not in the lab.
    #[error("there is no `{0}` in the lab")]
    NoSuchDevice(String),
    /// The enforcement point.
    #[error(transparent)]
    Enforce(#[from] enforcer::EnforceError),
}

impl LabError {
    pub(crate) fn failed(doing: impl Into<String>, why: impl ToString) -> Self {
        Self::Failed { doing: doing.into(), why: why.to_string() }
    }
}
