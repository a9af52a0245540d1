//! What the lab needs of the machine, and what is done where it is not there.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::{LabError, Netns};

/// Programs the lab runs, with the Debian package of each.
pub const PROGRAMS: [(&str, &str); 7] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("mosquitto", "mosquitto"),
    ("mosquitto_pub", "mosquitto-clients"),
    ("dnsmasq", "dnsmasq-base"),
    ("udhcpc", "udhcpc"),
];

/// Set in the process that [`reexec`] starts, so that it starts only one.
const INSIDE: &str = "RINGFENCE_IN_USER_NAMESPACE";

/// May this process make network namespaces, and are all programs there?
pub fn check() -> Result<(), LabError> {
    let absent: Vec<_> = PROGRAMS.iter().filter(|(name, _)| !installed(name)).collect();
    if !absent.is_empty() {
        let programs = absent.iter().map(|(name, _)| (*name).to_owned()).collect();
        let packages = absent.iter().map(|(_, package)| (*package).to_owned()).collect();
        return Err(LabError::Missing { programs, packages });
    }
    Netns::new("rf-check").map(drop).map_err(|source| LabError::NotPermitted { source })
}

/// Where this process may not make network namespaces but may make a user namespace, starts the
/// program again inside one (`unshare --user --net --mount --map-root-user`) and does not return.
///
/// Call it first in `main`: nothing done before survives.
pub fn reexec() -> Result<(), LabError> {
    let Err(source) = Netns::new("rf-check") else {
        return Ok(());
    };
    if std::env::var_os(INSIDE).is_some() || !user_namespaces() {
        return Err(LabError::NotPermitted { source });
    }
    let program = std::env::current_exe().map_err(|e| LabError::failed("find this program", e))?;
    let error = Command::new("unshare")
        .args(["--user", "--net", "--mount", "--map-root-user", "--"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(LabError::failed("start again in a user namespace", error))
}

/// The kernel lets this user make a user namespace with a network namespace in it.
pub fn user_namespaces() -> bool {
    let mut probe = Command::new("unshare");
    probe.args(["--user", "--net", "--map-root-user", "true"]);
    probe.output().is_ok_and(|output| output.status.success())
}

/// For tests: `true` when the lab can be built here. Where it cannot, prints a line that names the
/// test and the reason, and is `false`; with `RINGFENCE_STRICT=1` it fails the test instead.
///
/// ```no_run
/// # fn netns_example() {
/// if !lab::need("netns_example") { return; }
/// # }
/// ```
#[must_use = "return from the test when this is false"]
pub fn need(test: &str) -> bool {
    let Err(why) = check() else {
        return true;
    };
    if std::env::var_os("RINGFENCE_STRICT").is_some_and(|value| value == "1") {
        #[expect(clippy::panic, reason = "a test that must not be skipped fails")]
        {
            panic!("{test}: {why}");
        }
    }
    eprintln!("SKIPPED {test}: {why}");
    false
}

/// `program` where Debian keeps it, also where an ordinary user's PATH does not look.
pub(crate) fn program(name: &str) -> Command {
    Command::new(find(name).unwrap_or_else(|| PathBuf::from(name)))
}

fn installed(program: &str) -> bool {
    find(program).is_some()
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut places = std::env::split_paths(&path).chain(more).map(|dir| dir.join(program));
    places.find(|file| file.is_file())
}
