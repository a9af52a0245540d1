//! What the process may still do once it is up: change network rules and read packets, nothing else.

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

/// The capabilities a running site keeps, by their kernel names. The unit file grants these and
/// [`TO_BIND`].
pub const KEPT: [(&str, CapabilitySet); 2] =
    [("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN), ("CAP_NET_RAW", CapabilitySet::NET_RAW)];

/// What it takes to listen on port 53, and nothing else: given up once that is done.
pub const TO_BIND: (&str, CapabilitySet) =
    ("CAP_NET_BIND_SERVICE", CapabilitySet::NET_BIND_SERVICE);

/// Why the process is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// One of the two is missing.
    #[error("a site needs the capability {0}; start it as root, or by its systemd unit")]
    Missing(&'static str),
    /// The kernel did not let it drop one.
    #[error("cannot {doing}: {source}")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Drops all but [`KEPT`], in this thread and in those it starts from now on; programs it starts get
/// no more either. There is no way back.
pub fn drop_to_kept() -> Result<(), PrivilegeError> {
    let held = held()?;
    let mut kept = CapabilitySet::empty();
    for (name, capability) in KEPT {
        if !held.permitted.contains(capability) {
            return Err(PrivilegeError::Missing(name));
        }
        kept |= capability;
    }
    drop_to(held, kept)
}

/// Drops all but [`TO_BIND`] in this thread, and that too where the process does not have it.
pub(crate) fn drop_to_bind() -> Result<(), PrivilegeError> {
    let held = held()?;
    drop_to(held, held.permitted & TO_BIND.1)
}

fn held() -> Result<CapabilitySets, PrivilegeError> {
    capabilities(None).map_err(refused("read capabilities"))
}

fn refused(doing: &'static str) -> impl Fn(rustix::io::Errno) -> PrivilegeError {
    move |error| PrivilegeError::Refused { doing, source: error.into() }
}

fn drop_to(held: CapabilitySets, kept: CapabilitySet) -> Result<(), PrivilegeError> {
    // The bounding set first: dropping from it needs a capability that goes with the others.
    if held.effective.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all().difference(kept).iter() {
            match remove_capability_from_bounding_set(capability) {
                // A capability that this kernel does not know cannot be gained.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(refused("lower the capability bounding set")(error)),
            }
        }
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
    set_capabilities(None, sets).map_err(refused("drop capabilities"))?;
    clear_ambient_capability_set().map_err(refused("clear ambient capabilities"))?;
    for capability in kept.iter() {
        configure_capability_in_ambient_set(capability, true)
            .map_err(refused("hand capabilities on to programs"))?;
    }
    set_no_new_privs(true).map_err(refused("give up new privileges"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The unit file says the same as the code.
    #[test]
    fn the_unit_file_grants_what_is_kept_and_what_is_given_up_after_binding() {
        let unit = include_str!("../../../packaging/systemd/ringfence-site.service");
        let value = |key: &str| {
            let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_else(|| panic!("the unit has no {key}")).to_owned()
        };
        let granted: Vec<&str> = KEPT.iter().chain([&TO_BIND]).map(|(name, _)| *name).collect();
        assert_eq!(KEPT.map(|(name, _)| name), ["CAP_NET_ADMIN", "CAP_NET_RAW"]);
        let words = |key: &str| {
            let value = value(key);
            value.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(words("CapabilityBoundingSet"), granted);
        assert_eq!(words("AmbientCapabilities"), granted);
        for (key, expect) in [
            ("NoNewPrivileges", "yes"),
            ("ProtectSystem", "strict"),
            ("ProtectHome", "yes"),
            ("PrivateTmp", "yes"),
            ("ProtectKernelModules", "yes"),
            ("RestrictNamespaces", "yes"),
            ("MemoryDenyWriteExecute", "yes"),
            ("SystemCallArchitectures", "native"),
            ("Type", "exec"),
        ] {
            assert_eq!(value(key), expect, "{key}");
        }
        let start = value("ExecStart");
        assert!(start.contains("ringfence site run --policy"), "{start}");
        // What the site writes is where the unit lets it write.
        assert_eq!(value("StateDirectory"), "ringfence/site");
        assert!(start.contains("--state /var/lib/ringfence/site"), "{start}");
    }
}
