//! IANA private enterprise numbers of makers whose devices stand in offices, shops and plants.
//!
//! Facts from the public registry (RFC 9371), with the names the makers sell under today.

/// Enterprise number below `1.3.6.1.4.1`, when the object identifier lies there.
pub(super) fn number(oid: &[u32]) -> Option<u32> {
    match oid {
        [1, 3, 6, 1, 4, 1, number, ..] => Some(*number),
        _ => None,
    }
}

/// The maker's name, when it is in the table.
pub(super) fn name(number: u32) -> Option<&'static str> {
    let at = TABLE.binary_search_by_key(&number, |row| row.0).ok()?;
    TABLE.get(at).map(|row| row.1)
}

#[rustfmt::skip]
const TABLE: &[(u32, &str)] = &[
    (2, "IBM"), (9, "Cisco"), (11, "HP"), (23, "Novell"), (35, "Nortel"), (36, "DEC"),
    (42, "Sun Microsystems"), (43, "3Com"), (45, "Nortel/Avaya"), (52, "Enterasys"),
    (63, "Apple"), (94, "Nokia"), (95, "Rockwell Automation"), (99, "SNMP Research"),
    (111, "Oracle"), (119, "NEC"), (122, "Sony"), (128, "Tektronix"), (161, "Motorola"),
    (164, "RAD"), (171, "D-Link"), (186, "Toshiba"), (193, "Ericsson"), (207, "Allied Telesis"),
    (211, "Fujitsu"), (231, "Fujitsu"), (232, "HP"), (236, "Samsung"), (244, "Lantronix"),
    (248, "Hirschmann"), (253, "Xerox"), (259, "Accton"), (266, "Nexans"), (289, "Brocade"),
    (297, "Fujifilm"), (311, "Microsoft"), (318, "APC"), (332, "Digi International"),
    (343, "Intel"), (367, "Ricoh"), (368, "Axis"), (388, "Symbol"), (396, "Panasonic"),
    (409, "Mitsubishi Electric"), (476, "Vertiv"), (529, "Ascend"), (534, "Eaton"),
    (553, "GarrettCom"), (637, "Nokia"), (641, "Lexmark"), (664, "Adtran"), (674, "Dell"),
    (705, "MGE"), (714, "Wyse"), (789, "NetApp"), (850, "Tripp Lite"), (890, "Zyxel"),
    (908, "ABB"), (935, "Phoenixtec"), (1027, "Mitel"), (1129, "Toshiba TEC"), (1139, "Dell EMC"),
    (1182, "Yamaha"), (1229, "SEH"), (1248, "Epson"), (1347, "Kyocera"), (1588, "Brocade"),
    (1602, "Canon"), (1718, "Server Technology"), (1751, "Lucent"), (1872, "Alteon"),
    (1890, "Red Lion"), (1916, "Extreme Networks"), (1966, "Perle"), (1991, "Brocade"),
    (2001, "OKI"), (2011, "Huawei"), (2021, "UCD-SNMP"), (2254, "Delta Electronics"),
    (2272, "Nortel/Avaya"), (2352, "Ericsson"), (2356, "LANCOM Systems"), (2385, "Sharp"),
    (2435, "Brother"), (2544, "Adtran"), (2590, "Konica Minolta"), (2604, "Sophos"),
    (2606, "Rittal"), (2620, "Check Point"), (2636, "Juniper"), (2699, "Printer Working Group"),
    (2882, "Pepperl+Fuchs"), (2925, "Cyclades"), (3076, "Cisco"), (3097, "WatchGuard"),
    (3212, "Crestron"), (3224, "Juniper"), (3375, "F5"), (3417, "Blue Coat"), (3442, "Advantech"),
    (3561, "Broadband Forum"), (3582, "LSI"), (3808, "CyberPower"), (3833, "Schneider Electric"),
    (3902, "ZTE"), (3955, "Linksys"), (3967, "Bosch"), (4131, "Tridium"), (4196, "Siemens"),
    (4329, "Siemens"), (4346, "Phoenix Contact"), (4399, "Johnson Controls"), (4413, "Broadcom"),
    (4491, "CableLabs"), (4526, "Netgear"), (4555, "Socomec"), (4881, "Ruijie"),
    (5003, "AudioCodes"), (5528, "NetBotz"), (5596, "Tandberg"), (5624, "Extreme Networks"),
    (5651, "Maipu"), (5951, "Citrix NetScaler"), (6027, "Dell Force10"), (6302, "Vertiv"),
    (6486, "Alcatel-Lucent Enterprise"), (6527, "Nokia"), (6574, "Synology"), (6876, "VMware"),
    (6889, "Avaya"), (7526, "Snom"), (7779, "Infoblox"), (7783, "Riello"), (8072, "Net-SNMP"),
    (8691, "Moxa"), (8741, "SonicWall"), (8886, "Raisecom"), (8942, "AMX"), (9148, "Oracle"),
    (9839, "CAREL"), (10002, "Ubiquiti"), (10297, "Advantech"), (10418, "Avocent"),
    (10642, "Zebra"), (10704, "Barracuda"), (10781, "Schneider Electric"), (11256, "Stormshield"),
    (11268, "Mitel"), (11863, "TP-Link"), (12148, "Eltek"), (12356, "Fortinet"),
    (13400, "Vertiv"), (13576, "WAGO"), (13742, "Raritan"), (13885, "Polycom"),
    (14179, "Cisco"), (14501, "Blue Coat"), (14525, "Trapeze"), (14823, "Aruba"),
    (14988, "MikroTik"), (15004, "RuggedCom"), (16177, "Westermo"), (16838, "Omron"),
    (17163, "Riverbed"), (17713, "Cambium Networks"), (18026, "Extron"),
    (18334, "Konica Minolta"), (18928, "Areca"), (19046, "Lenovo"), (20540, "Red Lion"),
    (20916, "AVTECH"), (20974, "American Megatrends"), (20992, "Cradlepoint"),
    (20998, "Honeywell"), (21111, "Datalogic"), (21239, "Vertiv"), (21317, "ATEN"),
    (21701, "Mobotix"), (22610, "A10 Networks"), (22736, "Digium"), (23465, "Vivotek"),
    (23695, "Peplink"), (24681, "QNAP"), (25053, "Ruckus"), (25157, "Beckhoff"),
    (25461, "Palo Alto Networks"), (25506, "H3C"), (26543, "Lenovo"), (26928, "Aerohive"),
    (27378, "Belden"), (28381, "Red Lion"), (28507, "Gude"), (28558, "Keyence"),
    (29312, "B&R"), (29671, "Cisco Meraki"), (30065, "Arista"), (30155, "OpenBSD"),
    (30803, "VyOS"), (31034, "Schleifenbauer"), (31322, "Sierra Wireless"), (31343, "Festo"),
    (33049, "NVIDIA Mellanox"), (34278, "Janitza"), (35265, "Eltex"), (36849, "Hanwha Vision"),
    (37459, "Yealink"), (38113, "Red Lion"), (38187, "Weidmüller"), (39165, "Hikvision"),
    (39975, "Cognex"), (40310, "Cumulus Networks"), (41112, "Ubiquiti"), (42036, "LOYTEC"),
    (42147, "Pepperl+Fuchs"), (42397, "Grandstream"), (42406, "SATO"), (47196, "HPE"),
    (47349, "Rockwell Automation"), (48690, "Teltonika"), (50536, "iXsystems"),
    (52203, "SICK"), (52642, "FS"), (52674, "Schneider Electric"), (55062, "QNAP"),
    (57461, "WAGO"), (57501, "i-PRO"), (59153, "KUKA"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_unknown_numbers_have_no_name() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(name(9), Some("Cisco"));
        assert_eq!(name(59153), Some("KUKA"));
        assert_eq!(name(0), None);
        assert_eq!(number(&[1, 3, 6, 1, 4, 1, 14988, 1]), Some(14988));
        assert_eq!(number(&[1, 3, 6, 1, 2, 1, 1]), None);
    }
}
