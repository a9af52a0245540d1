//! A MUD file as RFC 8520 JSON.

use model::Mac;
use serde_json::{Map, Value as Json, json};

use super::{
    Ace, Acl, Ethernet, Family, Forwarding, Icmp, Initiated, Ip, Matches, Mud, PortMatch, Ports,
    Statement, TlsProfile, Who,
};

pub(super) fn json(mud: &Mud) -> String {
    let policy = |names: &[String]| {
        let names: Vec<Json> = names.iter().map(|name| json!({ "name": name })).collect();
        json!({"access-lists": {"access-list": names}})
    };
    let mut about = Map::new();
    let mut put = |key: &str, value: Json| drop(about.insert(key.to_owned(), value));
    put("mud-version", json!(mud.version));
    put("mud-url", json!(mud.url));
    put("last-update", json!(mud.last_update));
    for (key, value) in [
        ("mud-signature", &mud.signature_url),
        ("systeminfo", &mud.systeminfo),
        ("mfg-name", &mud.mfg_name),
        ("model-name", &mud.model_name),
        ("firmware-rev", &mud.firmware_rev),
        ("software-rev", &mud.software_rev),
        ("documentation", &mud.documentation),
    ] {
        if let Some(value) = value {
            put(key, json!(value));
        }
    }
    put("cache-validity", json!(mud.cache_validity_hours));
    put("is-supported", json!(mud.is_supported));
    if mud.tls_profile_supported {
        put("ietf-mud-tls:is-tls-dtls-profile-supported", json!(true));
    }
    if !mud.extensions.is_empty() {
        put("extensions", json!(mud.extensions));
    }
    if !mud.from_device.is_empty() {
        put("from-device-policy", policy(&mud.from_device));
    }
    if !mud.to_device.is_empty() {
        put("to-device-policy", policy(&mud.to_device));
    }
    let acls: Vec<Json> = mud.acls.iter().map(acl).collect();
    let mut whole = json!({
        "ietf-mud:mud": about,
        "ietf-access-control-list:acls": {"acl": acls},
    });
    put_back(&mut whole, &mud.other);
    format!("{whole:#}\n")
}

/// What was not understood goes back to where it stood.
fn put_back(holder: &mut Json, other: &[Statement]) {
    for statement in other {
        let Some((last, before)) = statement.path.split_last() else {
            continue;
        };
        let mut at = &mut *holder;
        for name in before {
            let Json::Object(object) = at else {
                break;
            };
            at = object.entry(name.clone()).or_insert_with(|| json!({}));
        }
        if let Json::Object(object) = at {
            object.insert(last.clone(), statement.value.clone());
        }
    }
}

fn acl(acl: &Acl) -> Json {
    let family = match acl.family {
        Family::V4 => "ipv4-acl-type",
        Family::V6 => "ipv6-acl-type",
        Family::Ethernet => "eth-acl-type",
        Family::Mixed => "mixed-eth-ipv4-ipv6-acl-type",
    };
    let aces: Vec<Json> = acl.aces.iter().map(ace).collect();
    let mut json = json!({"name": acl.name, "type": family, "aces": {"ace": aces}});
    put_back(&mut json, &acl.other);
    json
}

fn ace(ace: &Ace) -> Json {
    let forwarding = match ace.forwarding {
        Forwarding::Accept => "accept",
        Forwarding::Drop => "drop",
        Forwarding::Reject => "reject",
    };
    let mut actions = json!({"forwarding": forwarding});
    if let (true, Json::Object(actions)) = (ace.log, &mut actions) {
        actions.insert("logging".to_owned(), json!("ietf-access-control-list:log-syslog"));
    }
    let mut json = json!({"name": ace.name, "matches": matches(&ace.matches), "actions": actions});
    put_back(&mut json, &ace.other);
    json
}

fn matches(matches: &Matches) -> Json {
    let mut all = Map::new();
    let mut put = |key: &str, value: Json| drop(all.insert(key.to_owned(), value));
    if !matches.who.is_empty() {
        put("ietf-mud:mud", object(matches.who.iter().map(who)));
    }
    if let Some(ethernet) = &matches.ethernet {
        put("eth", self::ethernet(ethernet));
    }
    if let Some(ip) = &matches.ip {
        put(if ip.v6 { "ipv6" } else { "ipv4" }, self::ip(ip));
    }
    if let Some(ports) = &matches.ports {
        put(if ports.tcp { "tcp" } else { "udp" }, self::ports(ports));
    }
    if let Some(Icmp { kind, code }) = matches.icmp {
        let fields = [("type", kind), ("code", code)];
        put("icmp", object(fields.into_iter().filter_map(|(k, v)| Some((k, json!(v?))))));
    }
    if !matches.tls.is_empty() {
        put("ietf-acl-tls:client-profiles", TlsProfile::json(&matches.tls));
    }
    Json::Object(all)
}

fn object<'k>(fields: impl Iterator<Item = (&'k str, Json)>) -> Json {
    Json::Object(fields.map(|(key, value)| (key.to_owned(), value)).collect())
}

/// An empty leaf is `[null]` in JSON (RFC 7951 §6.9).
fn who(who: &Who) -> (&'static str, Json) {
    match who {
        Who::Controller(uri) => ("controller", json!(uri)),
        Who::MyController => ("my-controller", json!([null])),
        Who::Manufacturer(name) => ("manufacturer", json!(name)),
        Who::SameManufacturer => ("same-manufacturer", json!([null])),
        Who::Model(uri) => ("model", json!(uri)),
        Who::LocalNetworks => ("local-networks", json!([null])),
    }
}

fn ethernet(ethernet: &Ethernet) -> Json {
    let address = |end: &Option<(Mac, Option<Mac>)>| end.map(|(mac, _)| json!(mac.to_string()));
    let mask = |end: &Option<(Mac, Option<Mac>)>| {
        end.and_then(|(_, mask)| mask).map(|mask| json!(mask.to_string()))
    };
    let fields = [
        ("destination-mac-address", address(&ethernet.destination)),
        ("destination-mac-address-mask", mask(&ethernet.destination)),
        ("source-mac-address", address(&ethernet.source)),
        ("source-mac-address-mask", mask(&ethernet.source)),
        ("ethertype", ethernet.ethertype.map(|number| json!(number))),
    ];
    object(fields.into_iter().filter_map(|(key, value)| Some((key, value?))))
}

fn ip(ip: &Ip) -> Json {
    let (source, destination) = match ip.v6 {
        false => ("source-ipv4-network", "destination-ipv4-network"),
        true => ("source-ipv6-network", "destination-ipv6-network"),
    };
    let text = |value: Option<String>| value.map(Json::String);
    let fields = [
        ("protocol", ip.protocol.map(|p| json!(p))),
        (source, text(ip.source.map(|n| n.to_string()))),
        (destination, text(ip.destination.map(|n| n.to_string()))),
        ("ietf-acldns:src-dnsname", text(ip.source_name.clone())),
        ("ietf-acldns:dst-dnsname", text(ip.destination_name.clone())),
    ];
    object(fields.into_iter().filter_map(|(key, value)| Some((key, value?))))
}

fn ports(ports: &Ports) -> Json {
    let initiated = ports.initiated.map(|initiated| match initiated {
        Initiated::FromDevice => json!("from-device"),
        Initiated::ToDevice => json!("to-device"),
    });
    let fields = [
        ("ietf-mud:direction-initiated", initiated),
        ("source-port", ports.source.map(port)),
        ("destination-port", ports.destination.map(port)),
    ];
    object(fields.into_iter().filter_map(|(key, value)| Some((key, value?))))
}

fn port(port: PortMatch) -> Json {
    let operator = |operator: &str, port: u16| json!({"operator": operator, "port": port});
    match port {
        PortMatch::Equal(port) => operator("eq", port),
        PortMatch::NotEqual(port) => operator("neq", port),
        PortMatch::AtMost(port) => operator("lte", port),
        PortMatch::AtLeast(port) => operator("gte", port),
        PortMatch::Range(lower, upper) => json!({"lower-port": lower, "upper-port": upper}),
    }
}
