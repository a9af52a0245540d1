//! Home Assistant's generated matchers: `dhcp.py`, `zeroconf.py` (with HomeKit models), `ssdp.py`
//! of `homeassistant/generated`, as Python or as JSON.
//!
//! They choose an integration, which is mostly a vendor: hints. Matchers on an address block alone
//! are refused, because a block often belongs to a module maker.

use std::collections::BTreeMap;

use super::literal::{self, Literal};
use super::{BYTES_MAX, ImportError, Imported};
use crate::rules::format::{Common, Inline, Rule, Test, Text};
use crate::rules::{Attribute, Attributes, check_pattern};

const STRENGTH: f64 = 0.25;
/// For patterns that other things may match too.
const STRENGTH_WEAK: f64 = 0.1;

/// Integrations whose names are not their vendors', and the vendors.
const VENDORS: &[(&str, &str)] = &[
    ("apple_tv", "Apple"),
    ("august", "August"),
    ("cast", "Google"),
    ("doorbird", "DoorBird"),
    ("esphome", ""),
    ("flux_led", ""),
    ("fritz", "AVM"),
    ("fritzbox", "AVM"),
    ("homekit", ""),
    ("homekit_controller", ""),
    ("hue", "Philips (Signify)"),
    ("ipp", ""),
    ("lutron_caseta", "Lutron"),
    ("lyric", "Honeywell"),
    ("mqtt", ""),
    ("myq", "Chamberlain"),
    ("nest", "Nest Labs"),
    ("octoprint", ""),
    ("powerwall", "Tesla"),
    ("roomba", "iRobot"),
    ("samsungtv", "Samsung"),
    ("sonos", "Sonos"),
    ("tesla_wall_connector", "Tesla"),
    ("tradfri", "IKEA"),
    ("unifiprotect", "Ubiquiti"),
    ("upnp", ""),
    ("webostv", "LG Electronics"),
    ("xiaomi_aqara", "Xiaomi"),
    ("xiaomi_miio", "Xiaomi"),
    ("zwave_js", ""),
];

/// Reads one table.
///
/// # Errors
/// When it is none of the known tables.
pub fn parse(text: &str) -> Result<Imported, ImportError> {
    if text.len() > BYTES_MAX {
        return Err(ImportError::TooLarge);
    }
    let wrong = |why| ImportError::Format { format: "a table of Home Assistant matchers", why };
    let tables = literal::assignments(text).map_err(wrong)?;
    let mut out = Imported::default();
    let mut known = false;
    for (name, table) in &tables {
        known = true;
        match (name.as_str(), table) {
            ("DHCP" | "", Literal::List(matchers)) => dhcp(matchers, &mut out),
            ("ZEROCONF", Literal::Table(types)) => zeroconf(types, &mut out),
            ("HOMEKIT", Literal::Table(models)) => homekit(models, &mut out),
            ("SSDP", Literal::Table(domains)) => ssdp(domains, &mut out),
            ("", Literal::Table(table)) if table.keys().any(|k| k.starts_with('_')) => {
                zeroconf(table, &mut out);
            }
            ("", Literal::Table(table)) => ssdp(table, &mut out),
            _ => known = !out.rules.is_empty(),
        }
    }
    if known {
        Ok(out)
    } else {
        Err(wrong("it has none of DHCP, ZEROCONF, HOMEKIT, SSDP".to_owned()))
    }
}

fn dhcp(matchers: &[Literal], out: &mut Imported) {
    for matcher in matchers.iter().filter_map(Literal::table) {
        let get = |key: &str| matcher.get(key).and_then(Literal::text);
        let Some(domain) = get("domain") else {
            continue;
        };
        match (get("hostname"), get("macaddress")) {
            // A name that fits only beside an address block is too short to stand alone.
            (Some(name), block) if block.is_some() && literal_chars(name) < 4 => {
                out.skip(
                    format!("{domain}: {name}"),
                    "the name alone is too short to mean anything",
                );
            }
            (Some(name), block) => {
                let strength = if block.is_some() { STRENGTH_WEAK } else { STRENGTH };
                add(out, domain, "dhcp.hostname", &glob(name), strength, Vec::new());
            }
            (None, Some(block)) => {
                out.skip(
                    format!("{domain}: {block}"),
                    "an address block alone does not name a product",
                );
            }
            (None, None) => {} // `registered_devices`: no matcher
        }
    }
}

fn zeroconf(types: &BTreeMap<String, Literal>, out: &mut Imported) {
    for (service, matchers) in types {
        let service = service.trim_end_matches('.').trim_end_matches(".local");
        for matcher in matchers.list().iter().filter_map(Literal::table) {
            let Some(domain) = matcher.get("domain").and_then(Literal::text) else {
                continue;
            };
            let mut when = Vec::new();
            if let Some(name) = matcher.get("name").and_then(Literal::text) {
                when.push(test("mdns.instance", &glob(name)));
            }
            let properties = matcher.get("properties").and_then(Literal::table);
            for (key, value) in properties.into_iter().flatten() {
                if let Some(value) = value.text() {
                    when.push(test(&format!("mdns.txt.{}", key.to_lowercase()), &glob(value)));
                }
            }
            let pattern = format!("(?i)^{}(\\.local)?$", regex_syntax::escape(service));
            add(out, domain, "mdns.service", &pattern, STRENGTH, when);
        }
    }
}

fn homekit(models: &BTreeMap<String, Literal>, out: &mut Imported) {
    for (model, to) in models {
        let domain = to.text().or_else(|| to.table()?.get("domain")?.text());
        if let Some(domain) = domain {
            let pattern = format!("^{}( .*)?$", regex_syntax::escape(model));
            let when = vec![test("mdns.service", r"^_hap\._(tcp|udp)")];
            add(out, domain, "mdns.txt.md", &pattern, STRENGTH, when);
        }
    }
}

fn ssdp(domains: &BTreeMap<String, Literal>, out: &mut Imported) {
    const FIELDS: &[(&str, &str)] = &[
        ("modelName", "upnp.model_name"),
        ("modelDescription", "upnp.model_description"),
        ("modelNumber", "upnp.model_number"),
        ("manufacturer", "upnp.manufacturer"),
        ("manufacturerURL", "upnp.manufacturer_url"),
        ("deviceType", "upnp.device_type"),
        ("st", "ssdp.st"),
        ("nt", "ssdp.nt"),
    ];
    for (domain, matchers) in domains {
        for matcher in matchers.list().iter().filter_map(Literal::table) {
            let mut tests = FIELDS.iter().filter_map(|(theirs, ours)| {
                let value = matcher.get(*theirs)?.text()?;
                Some((*ours, format!("^{}$", regex_syntax::escape(value))))
            });
            let Some((field, pattern)) = tests.next() else {
                out.skip(domain, "none of its keys is a field");
                continue;
            };
            let when = tests.map(|(field, pattern)| test(field, &pattern)).collect();
            add(out, domain, field, &pattern, STRENGTH, when);
        }
    }
}

fn add(
    out: &mut Imported,
    domain: &str,
    field: &str,
    pattern: &str,
    strength: f64,
    when: Vec<Test>,
) {
    let what = || format!("{domain}: {field} {pattern}");
    let vendor = match VENDORS.iter().find(|(name, _)| *name == domain) {
        Some((_, "")) => {
            return out.skip(what(), "the integration serves many vendors");
        }
        Some((_, vendor)) => (*vendor).to_owned(),
        None => title(domain),
    };
    let others = when.iter().filter_map(|test| match test {
        Test::Inline(inline) => inline.pattern.as_deref(),
        Test::Named(_) => None,
    });
    if let Some(why) = others.chain([pattern]).find_map(|p| check_pattern(p).err()) {
        return out.skip(what(), why);
    }
    let id = format!("home-assistant/{domain}/{}", out.rules.len() + out.skipped.len() + 1);
    let tells = Attributes::from([(Attribute::Vendor, vendor)]);
    let note = Some(format!("Home Assistant integration `{domain}`"));
    let common = Common { strength: Some(strength), tells, when, note, ..Common::default() };
    let pattern = Some(pattern.to_owned());
    out.rules.push(Rule { id, field: Text::from(field), pattern, common });
}

fn test(field: &str, pattern: &str) -> Test {
    let pattern = Some(pattern.to_owned());
    Test::Inline(Inline { field: Text::from(field), pattern, ..Inline::default() })
}

/// A file name pattern (`*`, `?`, `[ab]`) as a regular expression; Home Assistant compares in
/// lower case.
fn glob(pattern: &str) -> String {
    let mut regex = "(?i)^".to_owned();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        rest = after;
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => match class(after) {
                Some((members, tail)) => {
                    regex.push_str(&members);
                    rest = tail;
                }
                None => regex.push_str(r"\["),
            },
            c => regex.push_str(&regex_syntax::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push('$');
    regex
}

/// What follows `[`: the class, and what follows it. A `]` in the first place is a member.
fn class(after: &str) -> Option<(String, &str)> {
    let (negated, members) = match after.strip_prefix('!') {
        Some(members) => ("^", members),
        None => ("", after),
    };
    let skip = members.chars().next()?.len_utf8();
    let end = members.get(skip..)?.find(']')? + skip;
    let inner: String = members.get(..end)?.chars().fold(String::new(), |mut text, c| {
        if matches!(c, '[' | ']' | '\\' | '^' | '&' | '~') {
            text.push('\\');
        }
        text.push(c);
        text
    });
    Some((format!("[{negated}{inner}]"), members.get(end + 1..)?))
}

fn literal_chars(glob: &str) -> usize {
    glob.chars().filter(|c| c.is_alphanumeric()).count()
}

fn title(domain: &str) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        chars.next().map_or(String::new(), |c| c.to_uppercase().chain(chars).collect())
    };
    domain.split('_').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{FactView, RulePack, Rules};

    fn check(table: &str, facts: &[(&str, &str)], expect: &[&str]) {
        let imported = parse(table).unwrap();
        let pack = RulePack::from_rules("ha", &imported.rules, &|_| true).unwrap();
        let rules = Rules::new(vec![pack]).unwrap();
        let facts: Vec<FactView<'_>> =
            facts.iter().map(|(field, value)| FactView { field, value }).collect();
        let mut claims = Vec::new();
        rules.evaluate(&facts, &mut claims);
        let told: Vec<String> =
            claims.iter().map(|c| format!("{}={} {}", c.attribute, c.value, c.strength)).collect();
        assert_eq!(told, expect);
    }

    #[test]
    fn dhcp_matchers() {
        let table = "DHCP: Final[list[dict[str, str | bool]]] = [\n\
            {\"domain\": \"acme_cam\", \"hostname\": \"acme[-_]*\"},\n\
            {\"domain\": \"roomba\", \"hostname\": \"irobot-*\", \"macaddress\": \"501479*\"},\n\
            {\"domain\": \"tplink\", \"hostname\": \"hs*\", \"macaddress\": \"1C3BF3*\"},\n\
            {\"domain\": \"lifx\", \"macaddress\": \"D073D5*\"},\n\
            {\"domain\": \"acme_cam\", \"registered_devices\": True},\n]\n";
        check(table, &[("dhcp.hostname", "ACME-12")], &["vendor=Acme Cam 0.25"]);
        check(table, &[("dhcp.hostname", "iRobot-7")], &["vendor=iRobot 0.1"]);
        check(table, &[("dhcp.hostname", "hs110")], &[]);
        let skipped = parse(table).unwrap().skipped;
        assert_eq!(skipped.len(), 2, "{skipped:?}");
    }

    #[test]
    fn globs() {
        assert_eq!(glob("hs*"), "(?i)^hs.*$");
        assert_eq!(glob("k[lp]?"), "(?i)^k[lp].$");
        assert_eq!(glob("duco [[][0-9][]]"), r"(?i)^duco [\[][0-9][\]]$");
        assert_eq!(glob("[!a]b.c["), r"(?i)^[^a]b\.c\[$");
    }

    #[test]
    fn zeroconf_homekit_and_ssdp() {
        let table = "HOMEKIT = {\"BSB002\": {\"domain\": \"hue\", \"always_discover\": True}}\n\
            ZEROCONF = {\"_axis-video._tcp.local.\": [{\"domain\": \"axis\", \"properties\": {\"macaddress\": \"00408c*\"}}],\n\
            \"_ipp._tcp.local.\": [{\"domain\": \"ipp\"}]}\n";
        check(
            table,
            &[("mdns.service", "_hap._tcp"), ("mdns.txt.md", "BSB002")],
            &["vendor=Philips (Signify) 0.25"],
        );
        check(
            table,
            &[("mdns.service", "_axis-video._tcp"), ("mdns.txt.macaddress", "00408C123456")],
            &["vendor=Axis 0.25"],
        );
        check(
            table,
            &[("mdns.service", "_axis-video._tcp"), ("mdns.txt.macaddress", "ACCC8E123456")],
            &[],
        );
        check(table, &[("mdns.service", "_ipp._tcp")], &[]);
        let ssdp = "{\"denon\": [{\"manufacturer\": \"Denon\", \"deviceType\": \"urn:x:1\"}]}";
        check(
            ssdp,
            &[("upnp.manufacturer", "Denon"), ("upnp.device_type", "urn:x:1")],
            &["vendor=Denon (Sound United) 0.25"],
        );
        check(ssdp, &[("upnp.manufacturer", "Denon")], &[]);
    }

    #[test]
    fn other_files_are_refused() {
        for text in ["", "import os\n", "[1, 2", "COUNTRIES = {\"DE\"}"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("COUNTRIES = [\"DE\"]").is_err());
    }
}
