//! Vendor ids that PROFIBUS & PROFINET International assigns, the common ones.

/// Vendor of an id.
pub(crate) fn name(id: u16) -> Option<&'static str> {
    let found = VENDORS.binary_search_by_key(&id, |(id, _)| *id).ok()?;
    VENDORS.get(found).map(|(_, name)| *name)
}

/// In order of the id.
const VENDORS: &[(u16, &str)] = &[
    (0x001a, "ABB"),
    (0x002a, "Siemens"),
    (0x005d, "Pepperl+Fuchs"),
    (0x0080, "Danfoss"),
    (0x0083, "SMC"),
    (0x00b0, "Phoenix Contact"),
    (0x0101, "SICK"),
    (0x0105, "Kollmorgen"),
    (0x0106, "Lenze"),
    (0x010a, "SEW-Eurodrive"),
    (0x010c, "HMS Industrial Networks"),
    (0x011d, "WAGO"),
    (0x011e, "Hilscher"),
    (0x011f, "Bosch Rexroth"),
    (0x0120, "Beckhoff"),
    (0x0122, "Emhart"),
    (0x0124, "Deutschmann"),
    (0x012f, "Murrelektronik"),
    (0x0134, "Weidmüller"),
    (0x0135, "Euchner"),
    (0x0136, "ifm"),
    (0x0137, "Cognex"),
    (0x0138, "Markator"),
    (0x013d, "Turck"),
    (0x014d, "Festo"),
    (0x0152, "Leuze"),
    (0x0153, "TR-Electronic"),
    (0x015a, "GE Intelligent Platforms"),
    (0x015b, "SensoPart"),
    (0x015d, "esd electronics"),
    (0x0161, "Siebert"),
    (0x0170, "Matuschek"),
    (0x0173, "KEBA"),
    (0x0193, "Harting"),
    (0x019b, "KUKA"),
    (0x019c, "Datalogic"),
    (0x01ab, "Identec Solutions"),
    (0x01b0, "Fronius"),
    (0x01b7, "FANUC"),
    (0x01be, "Primes"),
    (0x01c0, "Vitronic"),
    (0x01cf, "Microsyst"),
    (0x01db, "Perceptron"),
    (0x01fd, "Keyence"),
    (0x01fe, "KW-Software"),
    (0x0200, "JVL"),
    (0x0201, "MTS Sensors"),
    (0x023f, "Kistler"),
    (0x0293, "Janitza"),
    (0x029b, "Mettler Toledo"),
    (0x02b3, "Vahle"),
    (0x02b8, "E-T-A"),
    (0x02d9, "Fortress Interlocks"),
    (0x0361, "Universal Robots"),
    (0x0377, "B&R"),
    (0x0378, "Balluff"),
    (0x0379, "AMK"),
    (0x03cf, "Assa Abloy"),
    (0x092f, "Pilz"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_answers() {
        assert!(VENDORS.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(name(0x002a), Some("Siemens"));
        assert_eq!(name(0xffff), None);
    }
}
