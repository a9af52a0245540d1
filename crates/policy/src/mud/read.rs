//! JSON as a MUD file: RFC 8520, and what was written before it was one.
//!
//! Before the RFC the container was `access-lists` instead of `acls`, names were `acl-name` and
//! `rule-name`, entries stood in `access-list-entries`, matches in `ipv4-acl` with `source-port-range`, and
//! abstractions in `ietf-mud:mud-acl` or directly among the matches. All of these are read; `matches`
//! reads the conditions of an entry.

use serde_json::{Map, Value as Json};

use super::{Ace, Acl, Family, Forwarding, Mud, Statement};
use crate::Fault;
use crate::text::line;

/// Bytes of a file that is read at all.
const BYTES_MAX: usize = 4 << 20;
/// Access list entries in one file.
const ACES_MAX: usize = 20_000;
/// Statements that are kept without being understood.
const OTHER_MAX: usize = 1_000;
/// Faults that are told; one more says that there are more.
const FAULTS_MAX: usize = 100;

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
    let mut reader = Reader { name, faults: Vec::new(), other: Vec::new(), others: 0 };
    let mud = reader.file(&json);
    if reader.faults.is_empty() { Ok(mud) } else { Err(reader.faults) }
}

pub(super) struct Reader<'n> {
    name: &'n str,
    faults: Vec<Fault>,
    /// What was not understood, until its holder takes it.
    pub(super) other: Vec<Statement>,
    others: usize,
}

pub(super) type Object = Map<String, Json>;

impl Reader<'_> {
    pub(super) fn fault(&mut self, path: &str, why: impl Into<String>) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault::of_file(self.name, path, why.into()));
        } else if self.faults.len() == FAULTS_MAX {
            let why = format!("there are more than {FAULTS_MAX} faults");
            self.faults.push(Fault::of_file(self.name, "and more", why));
        }
    }

    /// Keeps what is not understood.
    pub(super) fn strange(&mut self, path: &[&str], value: &Json) {
        self.others = self.others.saturating_add(1);
        if self.others > OTHER_MAX {
            let why = format!("more than {OTHER_MAX} statements are not understood");
            return self.fault(&format!("/{}", line(&path.join("/"))), why);
        }
        let path = path.iter().map(|name| (*name).to_owned()).collect();
        self.other.push(Statement { path, value: value.clone() });
    }

    /// What was kept since the last time, in an order that does not depend on the file's.
    pub(super) fn kept(&mut self) -> Vec<Statement> {
        let mut kept = std::mem::take(&mut self.other);
        kept.sort_by(|a, b| a.path.cmp(&b.path));
        kept
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
                    if acls.replace((key, value)).is_some() {
                        self.fault(&format!("/{key}"), "there are two containers of access lists");
                    }
                }
                _ => self.strange(&[key], value),
            }
        }
        if mud.url.is_empty() {
            self.fault("/ietf-mud:mud/mud-url", "missing; it is what devices announce");
        }
        let mut other = std::mem::take(&mut self.other);
        match acls {
            Some((key, value)) => {
                mud.acls = self.acls(&format!("/{key}"), value);
                other.append(&mut self.other);
            }
            None => self.fault("/ietf-access-control-list:acls", "missing"),
        }
        self.other = other;
        mud.other = self.kept();
        for named in mud.from_device.iter().chain(&mud.to_device) {
            if !mud.acls.iter().any(|acl| acl.name == *named) {
                let why = format!("access list `{}` does not exist", line(named));
                self.fault("/ietf-mud:mud", why);
            }
        }
        mud
    }

    fn about(&mut self, json: &Json, mud: &mut Mud) {
        let path = "/ietf-mud:mud";
        let Some(object) = json.as_object() else {
            return self.fault(path, "not an object");
        };
        for (key, value) in object {
            let at = format!("{path}/{}", line(key));
            let text = |reader: &mut Self| reader.text(&at, value);
            match key.as_str() {
                "mud-version" => mud.version = self.number(&at, value).unwrap_or(1),
                "mud-url" => mud.url = text(self).unwrap_or_default(),
                "mud-signature" => mud.signature_url = text(self),
                "last-update" => mud.last_update = text(self).unwrap_or_default(),
                "cache-validity" => {
                    mud.cache_validity_hours = self.number(&at, value).unwrap_or(48);
                }
                "is-supported" => mud.is_supported = self.truth(&at, value),
                "ietf-mud-tls:is-tls-dtls-profile-supported" => {
                    mud.tls_profile_supported = self.truth(&at, value);
                }
                "systeminfo" => mud.systeminfo = text(self),
                "mfg-name" => mud.mfg_name = text(self),
                "model-name" => mud.model_name = text(self),
                "firmware-rev" => mud.firmware_rev = text(self),
                "software-rev" => mud.software_rev = text(self),
                "documentation" => mud.documentation = text(self),
                "extensions" => match value.as_array() {
                    Some(items) => {
                        let items = items.iter().filter_map(|item| self.text(&at, item));
                        mud.extensions = items.collect();
                    }
                    None => self.fault(&at, "not a list"),
                },
                "from-device-policy" => mud.from_device = self.names(&at, value),
                "to-device-policy" => mud.to_device = self.names(&at, value),
                _ => self.strange(&["ietf-mud:mud", key], value),
            }
        }
        if mud.version != 1 {
            let why = format!("version {} is not known", mud.version);
            self.fault("/ietf-mud:mud/mud-version", why);
        }
    }

    pub(super) fn text(&mut self, path: &str, json: &Json) -> Option<String> {
        let text = json.as_str().map(str::to_owned);
        if text.is_none() {
            self.fault(path, "not a string");
        }
        text
    }

    /// The examples of RFC 9761 quote it.
    fn truth(&mut self, path: &str, json: &Json) -> bool {
        match json.as_bool().or_else(|| json.as_str()?.parse().ok()) {
            Some(truth) => truth,
            None => {
                self.fault(path, "not true or false");
                false
            }
        }
    }

    /// Some writers quote numbers.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, path: &str, json: &Json) -> Option<T> {
        let number = json.as_u64().or_else(|| json.as_str()?.parse().ok());
        let number = number.and_then(|n| T::try_from(n).ok());
        if number.is_none() {
            self.fault(path, "not a number of this field's range");
        }
        number
    }

    /// Names in a `from-device-policy`.
    fn names(&mut self, path: &str, json: &Json) -> Vec<String> {
        let lists = json.get("access-lists");
        let Some(list) = lists.and_then(|l| l.get("access-list")).and_then(Json::as_array) else {
            self.fault(path, "has no access-lists/access-list");
            return Vec::new();
        };
        for (holder, known) in [(Some(json), "access-lists"), (lists, "access-list")] {
            for key in holder.and_then(Json::as_object).into_iter().flat_map(Map::keys) {
                if key != known {
                    self.fault(&format!("{path}/{}", line(key)), "not known here");
                }
            }
        }
        let mut names = Vec::new();
        for item in list {
            for (key, value) in item.as_object().into_iter().flatten() {
                match key.as_str() {
                    "name" | "acl-name" => names.extend(self.text(path, value)),
                    // Before the RFC a reference repeated the list's type.
                    "type" | "acl-type" => {}
                    _ => self.fault(&format!("{path}/{}", line(key)), "not known here"),
                }
            }
        }
        if names.len() != list.len() {
            self.fault(path, "an entry names no access list");
        }
        names
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
        for (key, value) in json.as_object().into_iter().flatten() {
            if key != "acl" {
                self.strange(&["ietf-access-control-list:acls", key], value);
            }
        }
        acls
    }

    fn acl(&mut self, path: &str, json: &Json, left: &mut usize) -> Option<Acl> {
        let Some(object) = json.as_object() else {
            self.fault(path, "not an object");
            return None;
        };
        let (mut name, mut kind, mut entries) = (None, None, None);
        for (key, value) in object {
            match key.as_str() {
                "name" | "acl-name" => name = self.text(path, value),
                "type" | "acl-type" => kind = self.text(path, value),
                "aces" | "access-list-entries" => entries = Some(value),
                _ => self.strange(&[key], value),
            }
        }
        let other = self.kept();
        let Some(name) = name else {
            self.fault(path, "has no name");
            return None;
        };
        // The type may be left out (RFC 8519 §4.1): then the entries say what they match.
        let family = match kind.as_deref().map(|kind| kind.rsplit(':').next().unwrap_or(kind)) {
            Some("ipv4-acl-type" | "ipv4-acl") => Family::V4,
            Some("ipv6-acl-type" | "ipv6-acl") => Family::V6,
            Some("eth-acl-type" | "eth-acl" | "ethernet-acl-type") => Family::Ethernet,
            Some(kind) if kind.starts_with("mixed-") => Family::Mixed,
            None => Family::Mixed,
            Some(kind) => {
                self.fault(path, format!("type `{}` is not known", line(kind)));
                return None;
            }
        };
        let Some(list) = entries.and_then(|e| e.get("ace")).and_then(Json::as_array) else {
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
        Some(Acl { name, family, aces, other })
    }

    fn ace(&mut self, path: &str, json: &Json) -> Option<Ace> {
        let Some(object) = json.as_object() else {
            self.fault(path, "not an object");
            return None;
        };
        let (mut name, mut matches, mut actions) = (None, None, None);
        for (key, value) in object {
            match key.as_str() {
                "name" | "rule-name" => name = self.text(path, value),
                "matches" => matches = value.as_object(),
                "actions" => actions = value.as_object(),
                _ => self.strange(&[key], value),
            }
        }
        let (forwarding, log) = self.actions(path, actions);
        let Some(matches) = matches else {
            self.fault(path, "has no matches");
            return None;
        };
        let matches = self.matches(&format!("{path}/matches"), matches);
        let other = self.kept();
        let name = name.unwrap_or_default();
        Some(Ace { name, matches, forwarding: forwarding?, log, other })
    }

    fn actions(&mut self, path: &str, actions: Option<&Object>) -> (Option<Forwarding>, bool) {
        let (mut forwarding, mut log) = (None, false);
        for (key, value) in actions.into_iter().flatten() {
            let word = value.as_str().map(|word| word.rsplit(':').next().unwrap_or(word));
            match (key.as_str(), word) {
                ("forwarding", Some("accept")) => forwarding = Some(Forwarding::Accept),
                ("forwarding", Some("drop")) => forwarding = Some(Forwarding::Drop),
                ("forwarding", Some("reject")) => forwarding = Some(Forwarding::Reject),
                ("forwarding", _) => {}
                ("logging", Some("log-syslog")) => log = true,
                ("logging", Some("log-none")) => {}
                _ => self.strange(&["actions", key], value),
            }
        }
        if forwarding.is_none() {
            self.fault(path, "actions/forwarding is not accept, drop or reject");
        }
        (forwarding, log)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Abstraction, Matches, PortMatch, Who};
    use super::*;

    fn wrap(container: &str, acl: &str) -> String {
        format!(
            r#"{{"ietf-mud:mud": {{"mud-url": "https://x.example/m", "last-update": "2031-01-01T00:00:00Z",
               "from-device-policy": {{"access-lists": {{"access-list": [{{"acl-name": "a"}}]}}}}}},
               "ietf-access-control-list:{container}": {{"acl": [{acl}]}}}}"#
        )
    }

    fn file(matches: &str, actions: &str) -> Result<Mud, String> {
        let acl = format!(
            r#"{{"name": "a", "type": "ipv4-acl-type", "aces": {{"ace": [{{"name": "e",
               "matches": {matches}, "actions": {actions}}}]}}}}"#
        );
        let mud = parse("m.json", &wrap("acls", &acl)).map_err(|f| f[0].to_string())?;
        assert_eq!(parse("again", &mud.to_json()).as_ref(), Ok(&mud), "{matches}");
        Ok(mud)
    }

    fn one(matches: &str) -> Result<Matches, String> {
        Ok(file(matches, r#"{"forwarding": "accept"}"#)?.acls[0].aces[0].matches.clone())
    }

    #[test]
    fn all_abstractions() {
        for (json, who) in [
            (r#"{"my-controller": [null]}"#, Who::MyController),
            (r#"{"same-manufacturer": null}"#, Who::SameManufacturer),
            (r#"{"local-networks": []}"#, Who::LocalNetworks),
            (
                r#"{"controller": "urn:ietf:params:mud:dns"}"#,
                Who::Controller("urn:ietf:params:mud:dns".into()),
            ),
            (r#"{"manufacturer": "x.example"}"#, Who::Manufacturer("x.example".into())),
            (r#"{"model": "https://x.example/m"}"#, Who::Model("https://x.example/m".into())),
        ] {
            let matches = one(&format!(r#"{{"ietf-mud:mud": {json}}}"#)).unwrap();
            assert_eq!(matches.who, [who]);
        }
        let both = r#"{"ietf-mud:mud": {"local-networks": [null], "same-manufacturer": [null]}}"#;
        assert_eq!(one(both).unwrap().who, [Who::SameManufacturer, Who::LocalNetworks]);
    }

    #[test]
    fn written_before_the_rfc() {
        let acl = r#"{"acl-name": "a", "acl-type": "ietf-access-control-list:ipv4-acl",
            "access-list-entries": {"ace": [
              {"rule-name": "r1", "actions": {"forwarding": "accept"}, "matches": {"ipv4-acl": {
                "source-port-range": {"lower-port": 80, "upper-port": 90},
                "protocol": 6, "ietf-acldns:src-dnsname": "X.example."}}},
              {"rule-name": "r2", "actions": {"forwarding": "accept"},
               "matches": {"ietf-mud:same-manufacturer": [null]}},
              {"rule-name": "r3", "actions": {"forwarding": "accept"},
               "matches": {"ietf-mud:mud-acl": {"my-controller": [null]},
                 "ietf-mud:direction-initiated": "to-device",
                 "ipv6-acl": {"protocol": 6, "destination-port-range-or-operator":
                   {"operator": "eq", "port": 443}}}}]}}"#;
        let mud = parse("m.json", &wrap("access-lists", acl)).unwrap();
        let [first, second, third] = mud.acls[0].aces.as_slice() else { panic!("{mud:?}") };
        let ports = first.matches.ports.as_ref().unwrap();
        assert_eq!((ports.tcp, ports.source), (true, Some(PortMatch::Range(80, 90))));
        assert_eq!(first.matches.ip.as_ref().unwrap().source_name.as_deref(), Some("x.example"));
        assert_eq!(second.matches.who, [Who::SameManufacturer]);
        let ports = third.matches.ports.as_ref().unwrap();
        assert_eq!(ports.initiated, Some(super::super::Initiated::ToDevice));
        assert_eq!(ports.destination, Some(PortMatch::Equal(443)));
        assert_eq!(parse("again", &mud.to_json()).unwrap(), mud);
    }

    /// Well formed and not understood: kept, told, and never wider than it was.
    #[test]
    fn what_is_not_understood_is_kept_and_told() {
        let accept = r#"{"forwarding": "accept"}"#;
        for (matches, statement) in [
            (r#"{"ipv4": {"dscp": 3, "protocol": 17}}"#, "matches/ipv4/dscp"),
            (r#"{"tcp": {"flags": "syn"}}"#, "matches/tcp/flags"),
            (r#"{"udp": {"length": 3}}"#, "matches/udp/length"),
            (r#"{"icmp": {"type": 8, "rest-of-header": "AA=="}}"#, "matches/icmp/rest-of-header"),
            (r#"{"eth": {"vlan": 3}}"#, "matches/eth/vlan"),
            (r#"{"egress-interface": "eth0"}"#, "matches/egress-interface"),
            (r#"{"vendor:magic": {"a": [1]}}"#, "matches/vendor:magic"),
            (
                r#"{"ietf-mud:mud": {"vendor:friends": [null]}}"#,
                "matches/ietf-mud:mud/vendor:friends",
            ),
            (
                r#"{"ietf-acl-tls:client-profiles": {"x": 1}}"#,
                "matches/ietf-acl-tls:client-profiles",
            ),
        ] {
            let mud = file(matches, accept).unwrap();
            let told = mud.unsupported();
            assert_eq!(told.len(), 1, "{matches}");
            assert_eq!((told[0].statement.as_str(), told[0].withholds), (statement, true));
            assert!(mud.acls[0].aces[0].is_unclear());
            // A refusal under such a condition is understood as wider, which closes more.
            let mud = file(matches, r#"{"forwarding": "reject"}"#).unwrap();
            assert!(!mud.unsupported()[0].withholds);
        }
        let actions = r#"{"forwarding": "accept", "logging": "log-syslog", "vendor:mirror": 1}"#;
        let mud = file(r#"{"ipv4": {"protocol": 17}}"#, actions).unwrap();
        assert!(mud.acls[0].aces[0].log);
        assert_eq!(mud.unsupported()[0].statement, "actions/vendor:mirror");
        assert!(!mud.unsupported()[0].withholds);
        let mut json: Json = serde_json::from_str(&mud.to_json()).unwrap();
        json["ietf-mud:mud"]["vendor:reporter"] = serde_json::json!({"uri": "x"});
        json["vendor:top"] = serde_json::json!(1);
        json["ietf-access-control-list:acls"]["attachment-points"] = serde_json::json!({});
        json["ietf-access-control-list:acls"]["acl"][0]["vendor:list"] = serde_json::json!(2);
        let mud = parse("m.json", &json.to_string()).unwrap();
        let told: Vec<String> = mud.unsupported().into_iter().map(|u| u.statement).collect();
        assert_eq!(
            told,
            [
                "ietf-access-control-list:acls/attachment-points",
                "ietf-mud:mud/vendor:reporter",
                "vendor:top",
                "vendor:list",
                "actions/vendor:mirror"
            ]
        );
        assert_eq!(parse("again", &mud.to_json()).unwrap(), mud);
    }

    #[test]
    fn a_network_of_the_other_ip_version_opens_nothing() {
        let matches = r#"{"ipv6": {"destination-ipv6-network": "192.0.2.1", "protocol": 6}}"#;
        let mud = file(matches, r#"{"forwarding": "accept"}"#).unwrap();
        let told = mud.unsupported();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].statement, "matches/ipv6/destination-ipv6-network");
        assert!(told[0].withholds);
        assert_eq!(parse("again", &mud.to_json()).unwrap(), mud);
    }

    #[test]
    fn tls_profiles_in_both_spellings() {
        for (container, list, s) in [
            ("client-profiles", "tls-dtls-profile", ""),
            ("client-profile", "tls-dtls-profiles", "s"),
        ] {
            let json = format!(
                r#"{{"tcp": {{}}, "ietf-acl-tls:{container}": {{"{list}": [{{"name": "p1",
                   "supported-tls-version{s}": ["tls13"], "cipher-suite{s}": [4865, 4866],
                   "extension-type{s}": [10, 11], "supported-group{s}": [29],
                   "certificate-authorities": ["x"]}}]}}}}"#
            );
            let matches = one(&json).unwrap();
            let profile = &matches.tls[0];
            assert_eq!((profile.name.as_str(), profile.members.len()), ("p1", 5));
            let mud = file(&json, r#"{"forwarding": "accept"}"#).unwrap();
            assert_eq!(mud.abstractions().get(&Abstraction::Tls), Some(&1));
        }
    }

    #[test]
    fn ethernet_by_number_and_by_name() {
        for (value, number) in
            [("\"0x888e\"", 0x888e), ("34958", 0x888e), ("\"eap\"", 0x888e), ("\"0x0006\"", 6)]
        {
            let json = format!(
                r#"{{"eth": {{"ethertype": {value}, "destination-mac-address": "01:80:c2:00:00:03",
                   "destination-mac-address-mask": "ff:ff:ff:ff:ff:ff"}}}}"#
            );
            assert_eq!(one(&json).unwrap().ethernet.unwrap().ethertype, Some(number));
        }
    }

    #[test]
    fn every_operator_and_the_refusals() {
        for (json, port) in [
            (r#"{"operator": "eq", "port": 5}"#, PortMatch::Equal(5)),
            (r#"{"operator": "neq", "port": 5}"#, PortMatch::NotEqual(5)),
            (r#"{"operator": "lte", "port": 5}"#, PortMatch::AtMost(5)),
            (r#"{"operator": "gte", "port": "5"}"#, PortMatch::AtLeast(5)),
            (r#"{"port": 5}"#, PortMatch::Equal(5)),
            (r#"{"lower-port": 5, "upper-port": 6}"#, PortMatch::Range(5, 6)),
            (r#"{"lower-port": 5, "upper-port": 5}"#, PortMatch::Equal(5)),
        ] {
            let matches = one(&format!(r#"{{"udp": {{"source-port": {json}}}}}"#)).unwrap();
            assert_eq!(matches.ports.unwrap().source, Some(port));
        }
        for forwarding in ["drop", "reject"] {
            let mud = file("{}", &format!(r#"{{"forwarding": "{forwarding}"}}"#)).unwrap();
            assert!(!mud.acls[0].aces[0].accepts());
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let check = |matches: &str, expect: &str| {
            let fault = one(matches).unwrap_err();
            assert!(fault.contains(expect), "{matches}: {fault}");
        };
        check(r#"{"ipv4": {"destination-ipv4-network": "1.2.3.4/40"}}"#, "not an IPv4 network");
        check(r#"{"ipv6": {"destination-ipv6-network": "::1/129"}}"#, "not an IPv6 network");
        check(r#"{"ipv4": {"ietf-acldns:src-dnsname": "a b"}}"#, "not a DNS name");
        check(r#"{"tcp": {"source-port": {"operator": "near", "port": 5}}}"#, "near");
        check(r#"{"tcp": {"source-port": {"port": 5, "mask": 3}}}"#, "mask");
        check(r#"{"tcp": {"source-port": {"lower-port": 9, "upper-port": 5}}}"#, "empty");
        check(r#"{"ipv4": {"protocol": 999}}"#, "range");
        check(r#"{"ipv4": {"source-port-range": {"port": 5}}}"#, "neither TCP nor UDP");
        check(r#"{"ietf-mud:direction-initiated": "to-device"}"#, "neither TCP nor UDP");
        check(r#"{"ietf-mud:mud": {"my-controller": 7}}"#, "empty leaf");
        check(r#"{"ietf-mud:mud": {"controller": 7}}"#, "not a string");
        check(r#"{"eth": {"ethertype": "cheese"}}"#, "EtherType");
        check(r#"{"eth": {"source-mac-address-mask": "ff:ff:ff:ff:ff:ff"}}"#, "without an address");
        check(r#"{"tcp": {}, "udp": {}}"#, "TCP and UDP");
        check(r#"{"ipv4": {}, "ipv6": {}}"#, "two IP versions");
        assert!(file("{}", r#"{"forwarding": "maybe"}"#).unwrap_err().contains("forwarding"));
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
    fn bounds_are_faults() {
        let ace = r#"{"name": "e", "matches": {}, "actions": {"forwarding": "drop"}}"#;
        let list = |n: usize, ace: &str| {
            format!(r#"{{"name": "a", "aces": {{"ace": [{}]}}}}"#, vec![ace; n].join(","))
        };
        assert!(parse("m", &wrap("acls", &list(ACES_MAX, ace))).is_ok());
        let fault = parse("m", &wrap("acls", &list(ACES_MAX + 1, ace))).unwrap_err();
        assert!(fault[0].to_string().contains("more than 20000 entries"));
        let strange = r#"{"name": "e", "matches": {"x": 1}, "actions": {"forwarding": "drop"}}"#;
        assert!(parse("m", &wrap("acls", &list(OTHER_MAX, strange))).is_ok());
        let faults = parse("m", &wrap("acls", &list(OTHER_MAX + 200, strange))).unwrap_err();
        assert_eq!(faults.len(), FAULTS_MAX + 1);
        let large = " ".repeat(BYTES_MAX + 1);
        assert!(parse("m", &large).unwrap_err()[0].to_string().contains("too large"));
    }

    #[test]
    fn addresses_without_a_length_are_hosts() {
        let matches = one(r#"{"ipv6": {"destination-ipv6-network": "ff02::fb"}}"#).unwrap();
        assert_eq!(matches.ip.unwrap().destination.unwrap().to_string(), "ff02::fb/128");
    }

    #[test]
    fn remarks_name_what_has_no_effect() {
        let ace = r#"{"name": "e", "matches": {"ipv6": {}}, "actions": {"forwarding": "drop"}}"#;
        let lists = format!(
            r#"{{"name": "a", "type": "ipv4-acl-type", "aces": {{"ace": [{ace}, {ace}]}}}},
               {{"name": "b", "aces": {{"ace": []}}}}"#
        );
        let mut mud = parse("m", &wrap("acls", &lists)).unwrap();
        mud.url = "http://x.example/m".to_owned();
        mud.cache_validity_hours = 200;
        mud.is_supported = false;
        mud.extensions = vec!["mud-tls".to_owned(), "reporter".to_owned()];
        mud.systeminfo = Some("x".repeat(61));
        mud.last_update = "soon".to_owned();
        let remarks = mud.remarks().join("\n");
        for part in [
            "not an https URL",
            "not an instant",
            "200 h",
            "longer than 60",
            "does not support",
            "extension 'reporter'",
            "2 entries of another kind",
            "1 entry without effect",
            "no policy uses list 'b'",
        ] {
            let part = part.replace('\'', "`");
            assert!(remarks.contains(&part), "{part} is missing in\n{remarks}");
        }
        assert_eq!(mud.remarks().len(), 9, "{remarks}");
    }
}
