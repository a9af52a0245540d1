//! The packs in `rules/` at the root of the repository, in the program: without their examples, which tests have tried.

macro_rules! packs {
    ($($name:literal),* $(,)?) => {
        /// Name and text of every shipped pack.
        pub(super) const SHIPPED: &[(&str, &str)] =
            &[$(($name, include_str!(concat!(env!("OUT_DIR"), "/", $name)))),*];

        /// The same with examples, as people write them.
        #[cfg(test)]
        pub(super) const WRITTEN: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../../rules/", $name)))),*];
    };
}

packs! {
    "conditions.toml",
    "direct.toml",
    "discovery.toml",
    "chips.toml",
    "it.toml",
    "phones.toml",
    "printers.toml",
    "cameras.toml",
    "smarthome.toml",
    "network.toml",
    "ics.toml",
    "building.toml",
    "voip.toml",
    "compute.toml",
    "retail.toml",
}
