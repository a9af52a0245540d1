//! Field names of this group.

use crate::fields::{Field, field};

/// All fields the dissectors of this group report.
#[rustfmt::skip]
pub(crate) const FIELDS: &[Field] = &[
    // DHCPv4: about the client, whatever relay is in between
    field("dhcp.hostname", "host name the client sends (option 12)"),
    field("dhcp.vendor_class", "vendor class identifier (option 60)"),
    field("dhcp.parameters", "parameter request list, comma separated (option 55)"),
    field("dhcp.option_order", "codes of the client's options in order, comma separated"),
    field("dhcp.client_id", "client identifier that is not just the link address (option 61, RFC 4361)"),
    field("dhcp.client_uuid", "machine UUID of a network boot client (option 97)"),
    field("dhcp.client_arch", "architecture number of a network boot client (option 93)"),
    field("dhcp.duid_type", "how the DUID in option 61 was made: llt, en, ll, uuid, other"),
    field("dhcp.duid_enterprise", "enterprise number in a DUID of type EN in option 61"),
    field("dhcp.fqdn", "fully qualified name the client sends (option 81)"),
    field("dhcp.user_class", "user class (option 77)"),
    field("dhcp.mud_url", "manufacturer usage description (option 161, RFC 8520)"),
    field("dhcp.max_size", "largest message the client accepts, in bytes (option 57)"),
    field("dhcp.requested_address", "address the client asks for (option 50)"),
    field("dhcp.vendor_class_enterprise", "enterprise number of vendor options (124, 125; DHCPv6 16, 17)"),
    field("dhcp.vendor_class_enterprise_name", "maker of that enterprise number, where known"),
    field("dhcp.vendor_class_data", "vendor-identifying class data that is text (option 124)"),
    field("dhcp.vendor_option.*", "option 43 sub-option with readable text, by its number"),
    field("dhcp.enterprise_option.*", "option 125 sub-option with readable text, as enterprise.number"),
    field("dhcp.tr069_oui", "manufacturer's block in upper-case hex (option 125, TR-069)"),
    field("dhcp.device_type", "device type in CableLabs options (ECM, EMTA…)"),
    field("dhcp.serial", "serial number in CableLabs or TR-069 options"),
    field("dhcp.model", "model or product class in CableLabs or TR-069 options"),
    field("dhcp.manufacturer", "maker in CableLabs options"),
    field("dhcp.firmware", "software version in CableLabs options"),
    field("dhcp.hardware", "hardware version in CableLabs options"),
    // DHCPv4: what servers say
    field("dhcp.server", "the device is a DHCP server: its server identifier (option 54)"),
    field("dhcp.server_domain", "domain name the server hands out (option 15)"),
    field("dhcp.assigned_hostname", "host name the *server* gives the client: not the client's word"),
    field("dhcp.boot_file", "boot file the server names for the client"),
    // DHCPv6
    field("dhcpv6.client_id", "the client's DUID in hex (option 1)"),
    field("dhcpv6.server_id", "the server's DUID in hex (option 2)"),
    field("dhcpv6.server", "the device is a DHCPv6 server: its DUID in hex"),
    field("dhcpv6.duid_type", "how the DUID was made: llt, en, ll, uuid, other"),
    field("dhcpv6.duid_enterprise", "enterprise number in a DUID of type EN"),
    field("dhcpv6.option_order", "codes of the client's options in order, comma separated"),
    field("dhcpv6.parameters", "option request list, comma separated (option 6)"),
    field("dhcpv6.fqdn", "name the client sends (option 39)"),
    field("dhcpv6.vendor_class", "vendor class data (option 16)"),
    field("dhcpv6.user_class", "user class data (option 15)"),
    field("dhcpv6.mud_url", "manufacturer usage description (option 112, RFC 8520)"),
    // DNS, mDNS, LLMNR
    field("dns.query", "name the client asks for, lower case; reverse look-ups are left out"),
    field("dns.server_version", "program of the resolver (version.bind)"),
    field("dns.update_name", "name a host registers for its own address (RFC 2136)"),
    field("mdns.host", "host name of own records, without .local"),
    field("mdns.service", "service type offered (`_hap._tcp`)"),
    field("mdns.instance", "instance name of an offered service"),
    field("mdns.txt.*", "key of an own TXT record, in lower case"),
    field("mdns.txt_text", "string of an own TXT record that is not key=value: often the product"),
    field("mdns.hinfo_cpu", "processor in an own HINFO record"),
    field("mdns.hinfo_os", "operating system in an own HINFO record"),
    field("mdns.owner", "primary link address in the sleep proxy's owner option"),
    field("mdns.query", "service type the client looks for: weak, says what software runs"),
    field("llmnr.name", "name in an own answer"),
    field("llmnr.claim", "name the host checks for uniqueness (query of type ANY, RFC 4795 §4.1)"),
    // NetBIOS
    field("nbns.name", "NetBIOS name registered, or in an own answer"),
    field("nbns.workgroup", "NetBIOS group: workgroup or domain"),
    field("nbns.mac", "link address in a node status answer"),
    field("browser.name", "name in a browser announcement"),
    field("browser.os_version", "version in a browser announcement (6.1 is Windows 7, 4.9 often Samba)"),
    field("browser.server_type", "kinds of server announced, comma separated"),
    field("browser.comment", "comment in a browser announcement: often the product"),
    // SSDP, UPnP, WS-Discovery, ONVIF
    field("ssdp.server", "SERVER header: system, UPnP version, product"),
    field("ssdp.usn", "unique service name up to `::`: `uuid:…`; what follows there is ssdp.nt or ssdp.st"),
    field("ssdp.st", "search target of an own answer"),
    field("ssdp.nt", "notification type of an announcement"),
    field("ssdp.location", "URL of the description"),
    field("ssdp.header.*", "header of an announcement beyond the standard ones"),
    field("ssdp.search", "target the client looks for: weak"),
    field("ssdp.user_agent", "USER-AGENT of a search: the client's software"),
    field("upnp.device_type", "deviceType of the root device"),
    field("upnp.friendly_name", "friendlyName of the root device; people change it"),
    field("upnp.display_name", "displayName of the root device"),
    field("upnp.manufacturer", "manufacturer of the root device"),
    field("upnp.manufacturer_url", "manufacturerURL of the root device"),
    field("upnp.model_name", "modelName of the root device"),
    field("upnp.model_number", "modelNumber of the root device"),
    field("upnp.model_description", "modelDescription of the root device"),
    field("upnp.model_url", "modelURL of the root device"),
    field("upnp.presentation_url", "presentationURL of the root device"),
    field("upnp.serial_number", "serialNumber of the root device"),
    field("upnp.udn", "UDN of the root device"),
    field("upnp.upc", "UPC of the root device"),
    field("upnp.mac", "link address in the description"),
    field("upnp.firmware", "firmwareVersion, softwareVersion… of the root device"),
    field("upnp.hardware", "hardwareVersion of the root device"),
    field("upnp.room", "roomName of the root device"),
    field("upnp.windows_hardware_id", "X_hardwareId or X_deviceCategory of the root device"),
    field("wsd.endpoint", "endpoint address of WS-Discovery"),
    field("wsd.types", "device types of WS-Discovery without name-space prefix"),
    field("wsd.scopes", "scopes of WS-Discovery other than ONVIF's"),
    field("wsd.xaddrs", "transport addresses of WS-Discovery"),
    field("wsd.friendly_name", "FriendlyName in the device metadata"),
    field("wsd.manufacturer", "Manufacturer in the device metadata"),
    field("wsd.model_name", "ModelName in the device metadata"),
    field("wsd.model_number", "ModelNumber in the device metadata"),
    field("wsd.firmware", "FirmwareVersion in the device metadata"),
    field("wsd.serial", "SerialNumber in the device metadata"),
    field("onvif.*", "ONVIF scope by its category: name, hardware, location, type…"),
    // SNMP
    field("snmp.version", "version spoken: 1, 2c, 3"),
    field("snmp.sys_descr", "sysDescr: product, version, system"),
    field("snmp.sys_object_id", "sysObjectID: the maker's number of the product"),
    field("snmp.enterprise_number", "enterprise number in sysObjectID"),
    field("snmp.enterprise", "maker of that enterprise number, where known"),
    field("snmp.sys_name", "sysName"),
    field("snmp.sys_location", "sysLocation"),
    field("snmp.sys_contact", "sysContact"),
    field("snmp.engine_id", "engine identifier of an SNMPv3 agent in hex"),
    field("snmp.engine_enterprise", "maker in that engine identifier"),
    field("snmp.ent_descr", "entPhysicalDescr of the whole device"),
    field("snmp.ent_model", "entPhysicalModelName of the whole device"),
    field("snmp.ent_manufacturer", "entPhysicalMfgName of the whole device"),
    field("snmp.ent_serial", "entPhysicalSerialNum of the whole device"),
    field("snmp.ent_hardware", "entPhysicalHardwareRev of the whole device"),
    field("snmp.ent_firmware", "entPhysicalFirmwareRev of the whole device"),
    field("snmp.ent_software", "entPhysicalSoftwareRev of the whole device"),
    field("snmp.hr_device_descr", "hrDeviceDescr of the first device: a printer's model, a computer's processor"),
    field("snmp.printer_name", "prtGeneralPrinterName"),
    field("snmp.printer_serial", "prtGeneralSerialNumber"),
    field("snmp.ieee1284_id", "IEEE 1284 device id: MFG, MDL, SN…"),
    field("snmp.manufacturer", "manufacturer in UPS-MIB"),
    field("snmp.model", "model in UPS-MIB or a maker's own object"),
    field("snmp.serial", "serial number in a maker's own object"),
    field("snmp.firmware", "firmware in UPS-MIB or a maker's own object"),
    field("snmp.if_phys_address", "link address of an own interface or bridge"),
    field("snmp.trap", "object identifier of a notification"),
    field("snmp.trap_enterprise", "maker whose notification it is, or the enterprise number"),
    // logs, clocks, files, access
    field("syslog.hostname", "host name in the header"),
    field("syslog.app", "program in the header"),
    field("syslog.facility", "facility number"),
    field("syslog.device_name", "device name an appliance writes (devname, device_name)"),
    field("syslog.device_id", "serial number an appliance writes (devid, sn…)"),
    field("syslog.model", "model an appliance writes (device_model)"),
    field("ntp.role", "client, server or peer"),
    field("ntp.stratum", "distance of a server from its reference clock"),
    field("ntp.version", "program of a server (control query)"),
    field("ntp.system", "operating system of a server (control query)"),
    field("ntp.processor", "processor of a server (control query)"),
    field("tftp.file", "file the client asks for or sends"),
    field("tftp.operation", "read or write"),
    field("tftp.options", "names of the client's options in order, comma separated"),
    field("radius.nas_identifier", "name of the access device (NAS-Identifier)"),
    field("radius.vendor", "maker of the access device by its vendor attributes"),
    // redundancy
    field("vrrp.group", "virtual router id"),
    field("vrrp.priority", "priority in the group; 255 owns the address"),
    field("vrrp.virtual_address", "address the group shares"),
    field("hsrp.group", "group number"),
    field("hsrp.state", "active, standby…"),
    field("hsrp.priority", "priority in the group"),
    field("hsrp.virtual_address", "address the group shares"),
];

#[cfg(test)]
mod tests {
    use crate::fields::exists;

    /// Every field name in the sources of this group is in the catalogue, and the other way.
    #[test]
    fn sources_and_catalogue_agree() {
        let sources = [
            include_str!("browser.rs"),
            include_str!("dhcp.rs"),
            include_str!("dhcpv6.rs"),
            include_str!("dns.rs"),
            include_str!("fhrp.rs"),
            include_str!("llmnr.rs"),
            include_str!("mdns.rs"),
            include_str!("mdns_txt.rs"),
            include_str!("nbns.rs"),
            include_str!("ntp.rs"),
            include_str!("radius.rs"),
            include_str!("snmp.rs"),
            include_str!("snmp_oids.rs"),
            include_str!("snmp_traps.rs"),
            include_str!("ssdp.rs"),
            include_str!("syslog.rs"),
            include_str!("tftp.rs"),
            include_str!("upnp.rs"),
            include_str!("wsd.rs"),
        ]
        .map(|source| source.split("#[cfg(test)]").next().unwrap())
        .concat();
        let literals: Vec<&str> = source_literals(&sources).collect();
        let protocols: Vec<&str> =
            (super::FIELDS.iter()).map(|f| f.name.split('.').next().unwrap()).collect();
        for literal in &literals {
            let (protocol, rest) = literal.split_once('.').unwrap_or((literal, ""));
            let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c);
            if protocols.contains(&protocol) && !rest.is_empty() && rest.chars().all(word) {
                assert!(exists(literal) || exists(&format!("{literal}.x")), "{literal}");
            }
        }
        for f in super::FIELDS {
            let name = f.name.trim_end_matches(".*");
            assert!(literals.contains(&name), "{name} is never reported");
        }
    }

    fn source_literals(source: &str) -> impl Iterator<Item = &str> {
        source.split('"').skip(1)
    }
}
