//! Policy packs that ship with the program: forbids that a folder takes in by naming the pack.
//!
//! Their text is in the repository's `policies/`, each pack with a README and a sample estate on which its
//! rules are tested. A folder says `packs = ["base"]` in `estate.toml`; the policies then belong to it like its
//! own, but are never written into it. Files of a pack are called `pack:base/identity.cedar`.

use crate::Fault;
use crate::cedar;
use crate::language::Policy;

/// The pack that a draft takes in.
pub const BASE: &str = "base";

const PREFIX: &str = "pack:";

/// A pack: its name and its files, each with name (as faults and verdicts give it) and text.
#[derive(Clone, Copy, Debug)]
pub struct Pack {
    /// Name in `estate.toml`.
    pub name: &'static str,
    /// Name and text of each policy file.
    pub files: &'static [(&'static str, &'static str)],
}

macro_rules! pack {
    ($name:literal: $($file:literal),+) => {
        Pack {
            name: $name,
            files: &[$((
                concat!("pack:", $name, "/", $file),
                include_str!(concat!("../../../policies/", $name, "/", $file)),
            )),+],
        }
    };
}

/// Every shipped pack, by name.
pub const ALL: &[Pack] = &[
    pack!("base": "channel.cedar", "cleartext.cedar", "identity.cedar", "posture.cedar", "resolvers.cedar"),
    pack!("iec62443": "conduits.cedar", "levels.cedar"),
    pack!("retail": "floor.cedar", "payments.cedar"),
    pack!("warehouse": "borders.cedar", "devices.cedar"),
];

/// A pack by its name.
pub fn pack(name: &str) -> Option<&'static Pack> {
    ALL.iter().find(|pack| pack.name == name)
}

/// Text of a pack's file, by the name that faults and verdicts give.
pub fn text(file: &str) -> Option<&'static str> {
    ALL.iter().flat_map(|pack| pack.files).find(|(name, _)| *name == file).map(|(_, text)| *text)
}

/// A file of a pack, not of the folder.
pub fn is_pack_file(file: &str) -> bool {
    file.starts_with(PREFIX)
}

/// Policies of a pack; none for a name that no pack has.
pub(crate) fn policies(name: &str) -> Result<Vec<Policy>, Vec<Fault>> {
    pack(name).map_or(Ok(Vec::new()), |pack| cedar::read_all(pack.files))
}

/// Why a name is no pack.
pub(crate) fn unknown(name: &str) -> String {
    let all: Vec<&str> = ALL.iter().map(|pack| pack.name).collect();
    format!("no pack `{name}` ships with this version; there are {}", all.join(", "))
}
