//! Device types and the classes that zones are made of.
//!
//! A zone is "class at a site in a subnet" (IEC 62443: a group with one security requirement). The
//! table below is the only place that says which type belongs to which class.

/// Class of a device whose type is not known.
pub const UNKNOWN: &str = "unknown";
/// Zone (and class) of destinations outside the estate.
pub const EXTERNAL: &str = "external";
/// Zone (and class) of multicast and broadcast groups.
pub const GROUPS: &str = "groups";

/// One class with the words in a device type that put the device into it.
struct Class {
    name: &'static str,
    /// Words of the type (split at `-`), tried in the order of the table.
    words: &'static [&'static str],
}

/// Earlier rows win: an `ip-camera-recorder` is a recorder, a `payment-terminal` a till.
const CLASSES: &[Class] = &[
    Class { name: "recorders", words: &["nvr", "dvr", "recorder", "vms"] },
    Class {
        name: "tills",
        words: &["till", "pos", "payment", "cash", "checkout", "eftpos", "kiosk"],
    },
    Class { name: "cameras", words: &["camera", "cam", "webcam", "doorbell", "cctv"] },
    Class {
        name: "hmi-scada",
        words: &["hmi", "scada", "historian", "engineering", "operator", "mes", "opc"],
    },
    Class {
        name: "plcs",
        words: &[
            "plc",
            "controller",
            "rtu",
            "ied",
            "drive",
            "vfd",
            "servo",
            "robot",
            "relay",
            "safety",
            "backplane",
            "module",
            "io",
            "remote",
            "coupler",
            "fieldbus",
            "cnc",
        ],
    },
    Class {
        name: "building",
        words: &[
            "bacnet",
            "hvac",
            "thermostat",
            "knx",
            "building",
            "elevator",
            "ups",
            "pdu",
            "meter",
        ],
    },
    Class { name: "access-control", words: &["door", "lock", "badge", "intercom", "alarm"] },
    Class { name: "printers", words: &["printer", "mfp", "label", "plotter", "print"] },
    Class { name: "scanners", words: &["scanner", "barcode", "handheld", "rfid", "pda"] },
    Class {
        name: "sensors",
        words: &["sensor", "counter", "probe", "gauge", "beacon", "detector"],
    },
    Class {
        name: "lighting",
        words: &["bulb", "light", "lamp", "lighting", "plug", "switchable", "outlet", "dimmer"],
    },
    Class {
        name: "media",
        words: &[
            "tv",
            "display",
            "signage",
            "speaker",
            "media",
            "cast",
            "streaming",
            "console",
            "projector",
        ],
    },
    Class {
        name: "phones",
        words: &["phone", "voip", "sip", "smartphone", "tablet", "mobile", "conference"],
    },
    Class {
        name: "network",
        words: &[
            "router", "gateway", "switch", "firewall", "ap", "access", "wlan", "bridge", "modem",
            "network", "hub", "repeater",
        ],
    },
    Class {
        name: "servers",
        words: &["server", "nas", "storage", "hypervisor", "broker", "database", "vm", "service"],
    },
    Class {
        name: "computers",
        words: &["computer", "pc", "laptop", "workstation", "desktop", "notebook", "thin", "host"],
    },
    Class { name: "medical", words: &["medical", "infusion", "patient", "imaging", "scale"] },
    Class {
        name: "appliances",
        words: &["appliance", "vacuum", "fridge", "washer", "oven", "iot", "smart"],
    },
];

/// The class of a device type (`ip-camera` → `cameras`); [`UNKNOWN`] where the table has no word
/// for it.
pub fn of_type(kind: &str) -> &'static str {
    let has = |class: &&Class| {
        kind.split(['-', '_', ' ', '/']).any(|word| {
            let word = word.to_ascii_lowercase();
            let singular = word.strip_suffix('s').unwrap_or(&word);
            class.words.iter().any(|w| *w == word || *w == singular)
        })
    };
    CLASSES.iter().find(has).map_or(UNKNOWN, |class| class.name)
}

/// Members of the class do different jobs, so one member's path says nothing about the others:
/// a path that only one of them uses is not suspicious for that reason.
pub fn is_mixed(class: &str) -> bool {
    matches!(class, "servers" | "network" | UNKNOWN)
}

/// Devices of the class are what others report to or are commanded by: `my-controller` of RFC 8520.
pub fn is_controller(class: &str) -> bool {
    matches!(class, "recorders" | "hmi-scada" | "servers")
}

/// A claim that should hold in any estate that has both classes.
#[derive(Clone, Copy, Debug)]
pub struct StandingClaim {
    /// Class of the device that is taken over.
    pub from: &'static str,
    /// Class it must not reach.
    pub never: &'static str,
    /// Why.
    pub because: &'static str,
}

/// Claims that a draft proposes.
pub const CLAIMS: &[StandingClaim] = &[
    StandingClaim {
        from: "cameras",
        never: "tills",
        because: "a camera has no business with payments",
    },
    StandingClaim {
        from: "cameras",
        never: "plcs",
        because: "a camera has no business with control",
    },
    StandingClaim {
        from: "cameras",
        never: "computers",
        because: "a camera is reached, it does not reach",
    },
    StandingClaim {
        from: "printers",
        never: "tills",
        because: "a printer has no business with payments",
    },
    StandingClaim {
        from: "printers",
        never: "plcs",
        because: "a printer has no business with control",
    },
    StandingClaim {
        from: "sensors",
        never: "tills",
        because: "a sensor has no business with payments",
    },
    StandingClaim {
        from: "lighting",
        never: "tills",
        because: "a bulb has no business with payments",
    },
    StandingClaim {
        from: "lighting",
        never: "plcs",
        because: "a bulb has no business with control",
    },
    StandingClaim {
        from: "media",
        never: "tills",
        because: "a display has no business with payments",
    },
    StandingClaim {
        from: "media",
        never: "plcs",
        because: "a display has no business with control",
    },
    StandingClaim {
        from: "phones",
        never: "plcs",
        because: "a phone has no business with control",
    },
    StandingClaim { from: "tills", never: "plcs", because: "a till has no business with control" },
    StandingClaim {
        from: "unknown",
        never: "plcs",
        because: "an unknown device must not control a plant",
    },
    StandingClaim {
        from: "unknown",
        never: "tills",
        because: "an unknown device must not touch payments",
    },
    StandingClaim {
        from: "plcs",
        never: EXTERNAL,
        because: "control equipment stays off the Internet",
    },
    StandingClaim { from: "plcs", never: "tills", because: "control and payments are separate" },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_by_type() {
        for (kind, class) in [
            ("ip-camera", "cameras"),
            ("Camera", "cameras"),
            ("network-video-recorder", "recorders"),
            ("nvr", "recorders"),
            ("plc", "plcs"),
            ("hmi", "hmi-scada"),
            ("scada-server", "hmi-scada"),
            ("label-printer", "printers"),
            ("payment-terminal", "tills"),
            ("till", "tills"),
            ("barcode-scanner", "scanners"),
            ("temperature-sensor", "sensors"),
            ("ip-phone", "phones"),
            ("smartphone", "phones"),
            ("access-point", "network"),
            ("industrial-switch", "network"),
            ("file-server", "servers"),
            ("mqtt-broker", "servers"),
            ("computers", "computers"),
            ("smart-plug", "lighting"),
            ("unknown", UNKNOWN),
            ("", UNKNOWN),
            ("zeppelin", UNKNOWN),
        ] {
            assert_eq!(of_type(kind), class, "{kind}");
        }
    }

    #[test]
    fn claims_name_classes_that_exist() {
        let known = |name| {
            name == UNKNOWN || name == EXTERNAL || CLASSES.iter().any(|class| class.name == name)
        };
        assert!(CLAIMS.iter().all(|claim| known(claim.from) && known(claim.never)));
    }
}
