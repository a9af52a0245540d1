//! The packs in `rules/` at the root of the repository, in the program.

macro_rules! pack {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../rules/", $name)))
    };
}

const PACKS: &[(&str, &str)] = &[pack!("direct.toml")];

/// Name and text of every shipped pack.
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    PACKS
}
