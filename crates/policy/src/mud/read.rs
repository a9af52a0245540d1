//! JSON as a MUD file: RFC 8520, and what was written before it was one.
//!
//! Before the RFC the container was `access-lists` instead of `acls`, names were `acl-name` and
//! `rule-name`, entries stood in `access-list-entries`, matches in `ipv4-acl` with `source-port-range`, and
//! abstractions in `ietf-mud:mud-acl` or directly among the matches. All of these are read.

use std::net::IpAddr;

use serde_json::{Map, Value as Json};

use super::{
    Ace, Acl, Ethernet, Family, Icmp, Initiated, Ip, Matches, Mud, Network, PortMatch, Ports, Who,
};
use crate::Fault;
use crate::text::line;

/// Bytes of a file that is read at all.
const BYTES_MAX: usize = 4 << 20;
/// Access list entries in one file.
const ACES_MAX: usize = 20_000;

/// Reads a MUD file; `name` goes into faults. Faults of the structure name the JSON path in `what`.
pub fn parse(name: &str, text: &str) -> Result<Mud, Vec<Fault>> {
    if text.len() > BYTES_MAX {
        let why = format!("{} bytes are more than {BYTES_MAX}", text.len());
        return Err(vec![Fault::of_file(name, "too large", why)]);
    }
    let json: Json = serde_json::from_str(text).map_err(|error| {
        let line = u32::try_from(error.line()).unwrap_or(u32::MAX);
        let mut fault = Fault::on_line(name, line, "not JSON", error.to_string());
        fault.column = u32::try_from(error.column()).unwrap_or(u32::MAX);
        vec![fault]
    })?;
    let mut reader = Reader { name, faults: Vec::new(), unknown: Vec::new() };
    let mut mud = reader.file(&json);
    if reader.faults.is_empty() {
        mud.unknown = reader.unknown;
        Ok(mud)
    } else {
        Err(reader.faults)
    }
}

struct Reader<'n> {
    name: &'n str,
    faults: Vec<Fault>,
    unknown: Vec<String>,
}

type Object = Map<String, Json>;

impl Reader<'_> {
    fn fault(&mut self, path: &str, why: impl Into<String>) {
        if self.faults.len() < 100 {
            self.faults.push(Fault::of_file(self.name, path, why.into()));
        }
    }

    fn file(&mut self, json: &Json) -> Mud {
        let mut mud =
            Mud { version: 1, cache_validity_hours: 48, is_supported: true, ..Mud::default() };
        let Some(whole) = json.as_object() else {
            self.fault("/", "a MUD file is an object");
            return mud;
        };
        let mut acls = None;
        for (key, value) in whole {
            match key.as_str() {
                "ietf-mud:mud" => self.about(value, &mut mud),
                "ietf-access-control-list:acls" | "ietf-access-control-list:access-lists" => {
                    acls = Some((key, value));
                }
                _ => self.strange("", key),
            }
        }
        if mud.url.is_empty() {
            self.fault("/ietf-mud:mud/mud-url", "missing; it is what devices announce");
        }
        match acls {
            Some((key, value)) => mud.acls = self.acls(&format!("/{key}"), value),
            None => self.fault("/ietf-access-control-list:acls", "missing"),
        }
        for named in mud.from_device.iter().chain(&mud.to_device) {
            if !mud.acls.iter().any(|acl| acl.name == *named) {
                let why = format!("access list `{}` does not exist", line(named));
                self.fault("/ietf-mud:mud", why);
            }
        }
        mud
    }

    fn strange(&mut self, path: &str, key: &str) {
        if self.unknown.len() < 100 {
            self.unknown.push(format!("{path}/{}", line(key)));
        }
    }

    fn about(&mut self, json: &Json, mud: &mut Mud) {
        let path = "/ietf-mud:mud";
        let Some(object) = json.as_object() else {
            return self.fault(path, "not an object");
        };
        for (key, value) in object {
            let at = format!("{path}/{key}");
            let text = |reader: &mut Self| reader.text(&at, value);
            match key.as_str() {
                "mud-version" => mud.version = self.number(&at, value).unwrap_or(1),
                "mud-url" => mud.url = text(self).unwrap_or_default(),
                "mud-signature" => mud.signature_url = text(self),
                "last-update" => mud.last_update = text(self).unwrap_or_default(),
                "cache-validity" => {
                    mud.cache_validity_hours = self.number(&at, value).unwrap_or(48);
                }
                "is-supported" => match value.as_bool() {
                    Some(yes) => mud.is_supported = yes,
                    None => self.fault(&at, "not true or false"),
                },
                "systeminfo" => mud.systeminfo = text(self),
                "mfg-name" => mud.mfg_name = text(self),
                "model-name" => mud.model_name = text(self),
                "firmware-rev" => mud.firmware_rev = text(self),
                "software-rev" => mud.software_rev = text(self),
                "documentation" => mud.documentation = text(self),
                "extensions" => {
                    let items = value.as_array().into_iter().flatten();
                    mud.extensions = items.filter_map(|item| self.text(&at, item)).collect();
                }
                "from-device-policy" => mud.from_device = self.names(&at, value),
                "to-device-policy" => mud.to_device = self.names(&at, value),
                _ => self.strange(path, key),
            }
        }
        if mud.version != 1 {
            self.fault(
                "/ietf-mud:mud/mud-version",
                format!("version {} is not known", mud.version),
            );
        }
    }

    fn text(&mut self, path: &str, json: &Json) -> Option<String> {
        let text = json.as_str().map(str::to_owned);
        if text.is_none() {
            self.fault(path, "not a string");
        }
        text
    }

    fn number<T: TryFrom<u64>>(&mut self, path: &str, json: &Json) -> Option<T> {
        // Some writers quote numbers.
        let number = json.as_u64().or_else(|| json.as_str()?.parse().ok());
        let number = number.and_then(|n| T::try_from(n).ok());
        if number.is_none() {
            self.fault(path, "not a number of this field's range");
        }
        number
    }

    /// Names in a `from-device-policy`.
    fn names(&mut self, path: &str, json: &Json) -> Vec<String> {
        let list = json.get("access-lists").and_then(|lists| lists.get("access-list"));
        let Some(list) = list.and_then(Json::as_array) else {
            self.fault(path, "has no access-lists/access-list");
            return Vec::new();
        };
        let name = |item: &Json| item.get("name").or_else(|| item.get("acl-name")).cloned();
        let names: Vec<Json> = list.iter().filter_map(name).collect();
        names.iter().filter_map(|name| self.text(path, name)).collect()
    }

    fn acls(&mut self, path: &str, json: &Json) -> Vec<Acl> {
        let Some(list) = json.get("acl").and_then(Json::as_array) else {
            self.fault(path, "has no acl");
            return Vec::new();
        };
        let mut left = ACES_MAX;
        let mut acls = Vec::new();
        for (i, item) in list.iter().enumerate() {
            acls.extend(self.acl(&format!("{path}/acl[{i}]"), item, &mut left));
        }
        acls
    }

    fn acl(&mut self, path: &str, json: &Json, left: &mut usize) -> Option<Acl> {
        let either = |a: &str, b: &str| json.get(a).or_else(|| json.get(b));
        let Some(name) = either("name", "acl-name").and_then(Json::as_str) else {
            self.fault(path, "has no name");
            return None;
        };
        let family = either("type", "acl-type").and_then(Json::as_str).unwrap_or("ipv4-acl-type");
        let family = match family.rsplit(':').next().unwrap_or(family) {
            "ipv4-acl-type" | "ipv4-acl" => Family::V4,
            "ipv6-acl-type" | "ipv6-acl" => Family::V6,
            "eth-acl-type" | "eth-acl" | "ethernet-acl-type" => Family::Ethernet,
            kind if kind.starts_with("mixed-") => Family::Mixed,
            kind => {
                self.fault(path, format!("type `{}` is not known", line(kind)));
                return None;
            }
        };
        let aces = either("aces", "access-list-entries").and_then(|a| a.get("ace"));
        let Some(list) = aces.and_then(Json::as_array) else {
            self.fault(path, "has no aces/ace");
            return None;
        };
        let mut aces = Vec::new();
        for (i, item) in list.iter().enumerate() {
            if *left == 0 {
                self.fault(path, format!("more than {ACES_MAX} entries in the file"));
                return None;
            }
            *left = left.saturating_sub(1);
            aces.extend(self.ace(&format!("{path}/ace[{i}]"), item));
        }
        Some(Acl { name: name.to_owned(), family, aces })
    }

    fn ace(&mut self, path: &str, json: &Json) -> Option<Ace> {
        let name = json.get("name").or_else(|| json.get("rule-name")).and_then(Json::as_str);
        let forwarding =
            json.get("actions").and_then(|a| a.get("forwarding")).and_then(Json::as_str);
        let accept = match forwarding.map(|f| f.rsplit(':').next().unwrap_or(f)) {
            Some("accept") => true,
            Some("drop" | "reject") => false,
            _ => {
                self.fault(path, "actions/forwarding is not accept, drop or reject");
                return None;
            }
        };
        let Some(object) = json.get("matches").and_then(Json::as_object) else {
            self.fault(path, "has no matches");
            return None;
        };
        let path = format!("{path}/matches");
        let mut matches = Matches::default();
        for (key, value) in object {
            let at = format!("{path}/{key}");
            match (key.as_str(), value.as_object()) {
                ("ietf-mud:mud" | "ietf-mud:mud-acl", Some(who)) => {
                    for (key, value) in who {
                        self.who(&at, key, value, &mut matches);
                    }
                }
                ("ipv4" | "ipv4-acl", Some(ip)) => self.ip(&at, ip, false, &mut matches),
                ("ipv6" | "ipv6-acl", Some(ip)) => self.ip(&at, ip, true, &mut matches),
                ("tcp" | "tcp-acl", Some(tcp)) => self.ports(&at, tcp, true, &mut matches),
                ("udp" | "udp-acl", Some(udp)) => self.ports(&at, udp, false, &mut matches),
                ("icmp", Some(icmp)) => matches.icmp = Some(self.icmp(&at, icmp)),
                ("eth", Some(eth)) => matches.ethernet = Some(self.ethernet(&at, eth)),
                (key, _) => match key.strip_prefix("ietf-mud:") {
                    Some(who) => self.who(&path, who, value, &mut matches),
                    None => self.must_know(&path, key),
                },
            }
        }
        Some(Ace { name: name.unwrap_or_default().to_owned(), matches, accept })
    }

    /// A match that is not understood would widen the entry if it were left out.
    fn must_know(&mut self, path: &str, key: &str) {
        self.fault(
            &format!("{path}/{}", line(key)),
            "this match is not known; ignoring it would open more",
        );
    }

    fn who(&mut self, path: &str, key: &str, value: &Json, matches: &mut Matches) {
        let who = match key {
            "my-controller" => Who::MyController,
            "same-manufacturer" => Who::SameManufacturer,
            "local-networks" => Who::LocalNetworks,
            "controller" => Who::Controller(self.text(path, value).unwrap_or_default()),
            "manufacturer" => Who::Manufacturer(self.text(path, value).unwrap_or_default()),
            "model" => Who::Model(self.text(path, value).unwrap_or_default()),
            "direction-initiated" => {
                if let (Some(initiated), Some(ports)) =
                    (self.initiated(path, value), &mut matches.ports)
                {
                    ports.initiated = Some(initiated);
                }
                return;
            }
            _ => return self.must_know(path, key),
        };
        if matches.who.replace(who).is_some() {
            self.fault(path, "two abstractions in one entry");
        }
    }

    fn initiated(&mut self, path: &str, value: &Json) -> Option<Initiated> {
        match value.as_str() {
            Some("from-device") => Some(Initiated::FromDevice),
            Some("to-device") => Some(Initiated::ToDevice),
            _ => {
                self.fault(path, "direction-initiated is neither from-device nor to-device");
                None
            }
        }
    }

    fn ip(&mut self, path: &str, object: &Object, v6: bool, matches: &mut Matches) {
        let mut ip = Ip { v6, ..Ip::default() };
        for (key, value) in object {
            let at = format!("{path}/{key}");
            match key.as_str() {
                "protocol" => ip.protocol = self.number(&at, value),
                "source-ipv4-network" | "source-ipv6-network" => {
                    ip.source = self.network(&at, value);
                }
                "destination-ipv4-network" | "destination-ipv6-network" => {
                    ip.destination = self.network(&at, value);
                }
                "ietf-acldns:src-dnsname" | "src-dnsname" => ip.source_name = self.text(&at, value),
                "ietf-acldns:dst-dnsname" | "dst-dnsname" => {
                    ip.destination_name = self.text(&at, value);
                }
                "source-port-range"
                | "source-port-range-or-operator"
                | "destination-port-range"
                | "destination-port-range-or-operator" => {
                    let port = self.port(&at, value);
                    let ports = matches.ports.get_or_insert_default();
                    let source = key.starts_with("source");
                    *(if source { &mut ports.source } else { &mut ports.destination }) = port;
                }
                _ => self.must_know(path, key),
            }
        }
        if let Some(ports) = matches.ports.as_mut().filter(|_| ip.protocol.is_some()) {
            ports.tcp = ip.protocol == Some(6);
        }
        if matches.ip.replace(ip).is_some() {
            self.fault(path, "two IP versions in one entry");
        }
    }

    fn network(&mut self, path: &str, value: &Json) -> Option<Network> {
        let text = self.text(path, value)?;
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text.as_str(), None),
        };
        let network = ip.parse::<IpAddr>().ok().and_then(|ip| {
            let whole = if ip.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.map_or(Some(whole), |p| p.parse().ok())?;
            (prefix <= whole).then_some(Network { ip, prefix })
        });
        if network.is_none() {
            self.fault(path, format!("`{}` is not a network", line(&text)));
        }
        network
    }

    fn ports(&mut self, path: &str, object: &Object, tcp: bool, matches: &mut Matches) {
        let mut ports = Ports { tcp, ..Ports::default() };
        for (key, value) in object {
            let at = format!("{path}/{key}");
            match key.as_str() {
                "source-port" | "source-port-range" => ports.source = self.port(&at, value),
                "destination-port" | "destination-port-range" => {
                    ports.destination = self.port(&at, value);
                }
                "ietf-mud:direction-initiated" | "direction-initiated" => {
                    ports.initiated = self.initiated(&at, value);
                }
                _ => self.must_know(path, key),
            }
        }
        // Before the RFC the ports could stand among the IP fields and the direction here.
        if let Some(before) = matches.ports.take() {
            if (before.source.is_some() && ports.source.is_some())
                || (before.destination.is_some() && ports.destination.is_some())
            {
                self.fault(path, "ports are given twice");
            }
            ports.source = ports.source.or(before.source);
            ports.destination = ports.destination.or(before.destination);
            ports.initiated = ports.initiated.or(before.initiated);
        }
        matches.ports = Some(ports);
    }

    fn port(&mut self, path: &str, value: &Json) -> Option<PortMatch> {
        let field = |key: &str| value.get(key).filter(|v| !v.is_null());
        if let (Some(lower), Some(upper)) = (field("lower-port"), field("upper-port")) {
            let (lower, upper) = (self.number(path, lower)?, self.number(path, upper)?);
            if lower > upper {
                self.fault(path, "the range is empty");
            }
            return Some(if lower == upper {
                PortMatch::Equal(lower)
            } else {
                PortMatch::Range(lower, upper)
            });
        }
        let port = match field("port").or_else(|| field("lower-port")) {
            Some(port) => self.number(path, port)?,
            None => {
                self.fault(path, "has neither port nor lower-port and upper-port");
                return None;
            }
        };
        match field("operator").and_then(Json::as_str).unwrap_or("eq") {
            "eq" => Some(PortMatch::Equal(port)),
            "neq" => Some(PortMatch::NotEqual(port)),
            "lte" => Some(PortMatch::AtMost(port)),
            "gte" => Some(PortMatch::AtLeast(port)),
            operator => {
                self.fault(path, format!("operator `{}` is not known", line(operator)));
                None
            }
        }
    }

    fn icmp(&mut self, path: &str, object: &Object) -> Icmp {
        let mut icmp = Icmp::default();
        for (key, value) in object {
            match key.as_str() {
                "type" => icmp.kind = self.number(path, value),
                "code" => icmp.code = self.number(path, value),
                _ => self.must_know(path, key),
            }
        }
        icmp
    }

    fn ethernet(&mut self, path: &str, object: &Object) -> Ethernet {
        let mut ethernet = Ethernet::default();
        for (key, value) in object {
            match key.as_str() {
                "ethertype" => ethernet.ethertype = self.text(path, value),
                "source-mac-address" => ethernet.source = self.text(path, value),
                "destination-mac-address" => ethernet.destination = self.text(path, value),
                _ => self.must_know(path, key),
            }
        }
        ethernet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(container: &str, acl: &str) -> String {
        format!(
            r#"{{"ietf-mud:mud": {{"mud-url": "https://x.example/m", "last-update": "2031-01-01T00:00:00Z",
               "from-device-policy": {{"access-lists": {{"access-list": [{{"acl-name": "a"}}]}}}}}},
               "ietf-access-control-list:{container}": {{"acl": [{acl}]}}}}"#
        )
    }

    fn one(matches: &str) -> Result<Matches, String> {
        let acl = format!(
            r#"{{"name": "a", "type": "ipv4-acl-type", "aces": {{"ace": [{{"name": "e",
               "matches": {matches}, "actions": {{"forwarding": "accept"}}}}]}}}}"#
        );
        let mud = parse("m.json", &wrap("acls", &acl)).map_err(|f| f[0].to_string())?;
        Ok(mud.acls[0].aces[0].matches.clone())
    }

    #[test]
    fn all_abstractions() {
        for (json, who) in [
            (r#"{"my-controller": [null]}"#, Who::MyController),
            (r#"{"same-manufacturer": [null]}"#, Who::SameManufacturer),
            (r#"{"local-networks": [null]}"#, Who::LocalNetworks),
            (
                r#"{"controller": "urn:ietf:params:mud:dns"}"#,
                Who::Controller("urn:ietf:params:mud:dns".into()),
            ),
            (r#"{"manufacturer": "x.example"}"#, Who::Manufacturer("x.example".into())),
            (r#"{"model": "https://x.example/m"}"#, Who::Model("https://x.example/m".into())),
        ] {
            let matches = one(&format!(r#"{{"ietf-mud:mud": {json}}}"#)).unwrap();
            assert_eq!(matches.who, Some(who));
        }
    }

    #[test]
    fn written_before_the_rfc() {
        let acl = r#"{"acl-name": "a", "acl-type": "ietf-access-control-list:ipv4-acl",
            "access-list-entries": {"ace": [
              {"rule-name": "r1", "actions": {"forwarding": "accept"}, "matches": {"ipv4-acl": {
                "source-port-range": {"lower-port": 80, "upper-port": 90},
                "protocol": 6, "ietf-acldns:src-dnsname": "x.example"}}},
              {"rule-name": "r2", "actions": {"forwarding": "accept"},
               "matches": {"ietf-mud:same-manufacturer": [null]}}]}}"#;
        let mud = parse("m.json", &wrap("access-lists", acl)).unwrap();
        let [first, second] = mud.acls[0].aces.as_slice() else { panic!("{mud:?}") };
        let ports = first.matches.ports.as_ref().unwrap();
        assert_eq!((ports.tcp, ports.source), (true, Some(PortMatch::Range(80, 90))));
        assert_eq!(first.matches.ip.as_ref().unwrap().source_name.as_deref(), Some("x.example"));
        assert_eq!(second.matches.who, Some(Who::SameManufacturer));
        assert_eq!(parse("again", &mud.to_json()).unwrap(), mud);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let check = |matches: &str, expect: &str| {
            let fault = one(matches).unwrap_err();
            assert!(fault.contains(expect), "{matches}: {fault}");
        };
        check(r#"{"ipv4": {"dscp": 3}}"#, "ipv4/dscp");
        check(r#"{"vendor:magic": {}}"#, "vendor:magic");
        check(r#"{"ipv4": {"destination-ipv4-network": "1.2.3.4/40"}}"#, "not a network");
        check(r#"{"tcp": {"source-port": {"operator": "near", "port": 5}}}"#, "near");
        check(r#"{"tcp": {"source-port": {"lower-port": 9, "upper-port": 5}}}"#, "empty");
        check(r#"{"ipv4": {"protocol": 999}}"#, "range");
        check(
            r#"{"ietf-mud:mud": {"my-controller": [null], "local-networks": [null]}}"#,
            "two abstractions",
        );
        for (text, expect) in [
            ("{", "m.json:1:1: not JSON"),
            ("[]", "a MUD file is an object"),
            ("{}", "mud-url"),
            (&wrap("acls", ""), "access list `a` does not exist"),
        ] {
            let fault = parse("m.json", text).unwrap_err()[0].to_string();
            assert!(fault.contains(expect), "{fault}");
        }
    }

    #[test]
    fn addresses_without_a_length_are_hosts() {
        let matches = one(r#"{"ipv6": {"destination-ipv6-network": "ff02::fb"}}"#).unwrap();
        assert_eq!(matches.ip.unwrap().destination.unwrap().to_string(), "ff02::fb/128");
    }
}
