//! Every field name there is: what rule packs may match on.

/// A field with its meaning.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// `protocol.field`; a name ending in `.*` stands for open-ended keys.
    pub name: &'static str,
    /// What it holds and where it is defined.
    pub meaning: &'static str,
}

/// Shorthand for the tables of the dissectors.
pub(crate) const fn field(name: &'static str, meaning: &'static str) -> Field {
    Field { name, meaning }
}

/// Fields the sensor adds itself, without a dissector.
const SENSOR: &[Field] = &[
    field("mac.oui", "vendor of the IEEE block of the link address"),
    field("service.tcp", "a TCP port the device accepts connections on, as `port/protocol`"),
    field("service.udp", "a UDP port the device answers on, as `port/protocol`"),
    field("client.tcp", "a TCP port the device connects to, as `port/protocol`"),
    field("client.udp", "a UDP port the device talks to, as `port/protocol`"),
];

/// The catalogue, in the order of the dissectors.
pub fn all() -> impl Iterator<Item = &'static Field> {
    [
        SENSOR,
        crate::link::FIELDS,
        crate::names::FIELDS,
        crate::app::FIELDS,
        crate::ics::FIELDS,
        crate::vendor::FIELDS,
    ]
    .into_iter()
    .flatten()
}

/// Whether rule packs may match on this name.
pub fn exists(name: &str) -> bool {
    all().any(|f| match f.name.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix) && name.len() > prefix.len(),
        None => f.name == name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_well_formed() {
        let mut names: Vec<&str> = all().map(|f| f.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a field is listed twice");
        for f in all() {
            assert!(f.name.contains('.'), "{} has no protocol", f.name);
            let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-*".contains(c);
            assert!(f.name.chars().all(ok), "{} is not lower case", f.name);
            assert!(!f.meaning.is_empty(), "{} says nothing", f.name);
        }
    }
}
