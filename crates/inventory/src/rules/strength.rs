//! How much a match on a field proves where a rule does not say (documented in rules/README.md).

/// Prefixes of field names, the longest that fits wins.
const DEFAULTS: &[(&str, f64)] = &[
    // Asked for and answered by the device itself, in a field made for it.
    ("ads.", 0.95),
    ("bacnet.", 0.95),
    ("cip.", 0.95),
    ("enip.", 0.95),
    ("modbus.", 0.95),
    ("mms.", 0.95),
    ("opcua.", 0.85),
    ("pnio.", 0.95),
    ("profinet.", 0.95),
    ("dcp.", 0.95),
    ("s7.", 0.95),
    ("umas.", 0.95),
    ("snmp.", 0.9),
    ("lldp.", 0.95),
    ("cdp.", 0.95),
    ("upnp.", 0.9),
    ("onvif.", 0.9),
    ("ipp.", 0.9),
    ("mdns.txt", 0.9),
    ("mdns.", 0.7),
    ("ssdp.", 0.75),
    ("tls.cert", 0.8),
    ("ssh.", 0.75),
    ("smb.", 0.8),
    ("ntlm.", 0.8),
    ("ftp.", 0.7),
    ("telnet.", 0.7),
    ("rtsp.", 0.7),
    ("sip.", 0.8),
    ("smtp.", 0.6),
    ("http.server", 0.6),
    ("http.realm", 0.7),
    ("http.title", 0.6),
    ("http.user_agent", 0.7),
    ("http.", 0.6),
    ("dhcp.vendor_class", 0.75),
    // Chosen by people, or by firmware.
    ("dhcp.", 0.65),
    ("nbns.", 0.5),
    ("llmnr.", 0.5),
    // What it asks for, which an app of the same vendor asks for too.
    ("dns.", 0.35),
    ("tls.sni", 0.35),
    ("quic.", 0.35),
    // Who made the network interface, not who sells the product.
    ("mac.", 0.4),
    ("service.", 0.3),
    ("client.", 0.25),
];

/// For fields not listed.
const OTHERWISE: f64 = 0.6;

/// The default for a field.
pub(super) fn of_field(field: &str) -> f64 {
    DEFAULTS
        .iter()
        .filter(|(prefix, _)| field.starts_with(prefix))
        .max_by_key(|(prefix, _)| prefix.len())
        .map_or(OTHERWISE, |(_, strength)| *strength)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins() {
        assert!(of_field("mdns.txt.md") > of_field("mdns.host"));
        assert!(of_field("tls.cert.subject") > of_field("tls.sni"));
        assert!((of_field("no.such") - OTHERWISE).abs() < 1e-9);
    }
}
