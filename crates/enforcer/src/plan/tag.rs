//! Names of kernel objects: which generation they belong to.

use std::fmt;
use std::str::FromStr;

/// Prefix of the chain whose name says which generation is in force.
pub const GENERATION: &str = "generation_";

/// The end of the names of a generation's chains, sets and counters, so that two can stand beside
/// each other: `_g7`, and `_g7r1` where generation 7 was built a second time to repair it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// Generation that built the objects.
    pub generation: u64,
    /// How often it was built before.
    pub round: u32,
}

impl Tag {
    /// The first build of `generation`.
    pub fn first(generation: u64) -> Self {
        Self { generation, round: 0 }
    }

    /// The full name of an object.
    pub fn name(&self, base: &str) -> String {
        format!("{base}_{self}")
    }

    /// Splits a full name into the object's own name and its tag.
    pub fn split(name: &str) -> Option<(&str, Self)> {
        let (base, tag) = name.rsplit_once("_g")?;
        Some((base, tag.parse().ok()?))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.round {
            0 => write!(f, "g{}", self.generation),
            round => write!(f, "g{}r{round}", self.generation),
        }
    }
}

impl FromStr for Tag {
    type Err = std::num::ParseIntError;

    /// Reads `7`, `7r1`, with or without `g` in front.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix('g').unwrap_or(text);
        let (generation, round) = text.split_once('r').unwrap_or((text, "0"));
        Ok(Self { generation: generation.parse()?, round: round.parse()? })
    }
}

/// What the name of the marker chain says: `generation_9_on_g7` is generation 9, which changed
/// elements of the objects that generation 7 built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marker {
    /// Generation in force.
    pub generation: u64,
    /// Whose objects carry it.
    pub tag: Tag,
}

impl Marker {
    /// Reads the name of a chain; `None` where it is no marker.
    pub fn parse(chain: &str) -> Option<Self> {
        let rest = chain.strip_prefix(GENERATION)?;
        let Some((generation, tag)) = rest.split_once("_on_") else {
            let generation = rest.parse().ok()?;
            return Some(Self { generation, tag: Tag::first(generation) });
        };
        Some(Self { generation: generation.parse().ok()?, tag: tag.parse().ok()? })
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{GENERATION}{}", self.generation)?;
        if self.tag == Tag::first(self.generation) { Ok(()) } else { write!(f, "_on_{}", self.tag) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_generation_and_build() {
        for (generation, tag, name) in [
            (7, "g7", "generation_7"),
            (7, "g7r1", "generation_7_on_g7r1"),
            (9, "g7r12", "generation_9_on_g7r12"),
        ] {
            let tag: Tag = tag.parse().unwrap();
            let marker = Marker { generation, tag };
            assert_eq!(marker.to_string(), name);
            assert_eq!(Marker::parse(name), Some(marker));
            assert_eq!(Tag::split(&tag.name("exact_3")), Some(("exact_3", tag)));
        }
        for foreign in
            ["", "forward", "generation_", "generation_x", "generation_9_on_", "generation_-1"]
        {
            assert_eq!(Marker::parse(foreign), None, "{foreign}");
        }
        assert_eq!(Tag::split("exact_gx"), None);
        assert_eq!(Tag::split("forward"), None);
    }
}
