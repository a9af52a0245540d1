//! The packs in `rules/` at the root of the repository, in the program.

macro_rules! pack {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../rules/", $name)))
    };
}

const PACKS: &[(&str, &str)] = &[
    pack!("conditions.toml"),
    pack!("direct.toml"),
    pack!("discovery.toml"),
    pack!("chips.toml"),
    pack!("it.toml"),
    pack!("phones.toml"),
    pack!("printers.toml"),
    pack!("cameras.toml"),
    pack!("smarthome.toml"),
    pack!("network.toml"),
    pack!("ics.toml"),
    pack!("building.toml"),
    pack!("voip.toml"),
    pack!("compute.toml"),
    pack!("retail.toml"),
];

/// Name and text of every shipped pack.
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    PACKS
}
