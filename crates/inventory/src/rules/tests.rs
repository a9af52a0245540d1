use proptest::prelude::*;

use super::compile::Compiled;
use super::format::Text;
use super::shipped::{SHIPPED, WRITTEN};
use super::*;

fn any_field(_: &str) -> bool {
    true
}

fn rules(text: &str) -> Rules {
    Rules::new(vec![RulePack::parse("test.toml", text, &any_field).unwrap()]).unwrap()
}

fn claims(rules: &Rules, facts: &[(&str, &str)]) -> Vec<String> {
    let facts: Vec<FactView<'_>> =
        facts.iter().map(|(field, value)| FactView { field, value }).collect();
    let mut out = Vec::new();
    rules.evaluate(&facts, &mut out);
    let mut out: Vec<String> = out
        .iter()
        .map(|c| format!("{}: {}={} {:.2} @{}", c.rule, c.attribute, c.value, c.strength, c.fact))
        .collect();
    out.sort();
    out
}

const PACK: &str = r#"
[[condition]]
id = "phone"
any = [{ field = "http.user_agent", match = 'Dalvik|iPhone' }, { field = "dhcp.vendor_class", is = ["MSFT 5.0"] }]

[[condition]]
id = "chip"
any = [{ field = "mac.oui", vendor = ["Espressif", "Texas Instruments"] }]

[[rule]]
id = "dhnap"
field = "mdns.txt.model_number"
match = '^(?<model>D[CS][A-Z]-[A-Z]?\d+[A-Z]?)$'
vendor = "D-Link International"
strengths = { vendor = 0.8 }
when = [{ field = "mac.oui", vendor = "D-Link" }]
yes = [{ value = "DSP-W215", model = "DSP-W215", vendor = "D-Link", with = { "mac.oui" = "D-Link Corporation" } }]
no = ["DSP-W215"]

[[rule]]
id = "cloud"
field = ["dns.query", "tls.sni"]
match = '(^|\.)xbcs\.net$'
vendor = "Belkin"
type = "smart-plug"
strength = 0.3
unless = ["phone"]
yes = ["api.xbcs.net", { field = "tls.sni", value = "xbcs.net" }]
no = ["xbcs.network", { value = "api.xbcs.net", with = { "dhcp.vendor_class" = "msft 5.0" } }]

[[rule]]
id = "oui"
field = "mac.oui"
vendor = "{value}"
except = ["@chip", '^Private$']
yes = [{ value = "Belkin International Inc.", vendor = "Belkin" }]
no = ["Espressif Inc.", "Private"]

[[rule]]
id = "firmware-request"
field = "http.*"
match = 'model=(?<m>[A-Z0-9-]+)_(?<hardware>[A-Z]x)_.*FW_(?<v>\d+)'
model = "{m}"
firmware = "{v}"
yes = [{ field = "http.request", value = "GET /?model=DCH-S160_Ax_Default_FW_0120", model = "DCH-S160", firmware = "0120", hardware = "Ax" }]
no = [{ field = "http.request", value = "GET /" }]

[[map]]
id = "hue"
field = "mdns.txt.*"
vendor = "Signify"
type = "lamp"
[map.values]
BSB002 = { model = "Hue bridge BSB002", type = "lighting-bridge" }
LWB006 = { model = "Hue white" }
[[map.yes]]
field = "mdns.txt.md"
value = "bsb002"
type = "lighting-bridge"
[[map.no]]
field = "mdns.txt.md"
value = "BSB003"
"#;

#[test]
fn rules_conclude() {
    let rules = rules(PACK);
    assert_eq!(rules.failing_examples(), []);
    assert_eq!(
        claims(&rules, &[("mac.oui", "D-Link Corp"), ("mdns.txt.model_number", "DCS-935L")]),
        [
            "dhnap: model=DCS-935L 0.90 @1",
            "dhnap: vendor=D-Link 0.80 @1",
            "oui: vendor=D-Link 0.40 @0"
        ]
    );
    assert_eq!(
        claims(&rules, &[("mdns.txt.md", "LWB006")]),
        [
            "hue: model=Hue white 0.90 @0",
            "hue: type=lamp 0.90 @0",
            "hue: vendor=Philips (Signify) 0.90 @0"
        ]
    );
    assert_eq!(claims(&rules, &[("mac.oui", "Unknown"), ("tls.sni", "xbcs.net.evil")]), [""; 0]);
}

#[test]
fn examples_that_fail_are_listed_with_their_rule() {
    let rules = rules(
        &PACK
            .replace("yes = [\"api.xbcs.net\"", "yes = [\"api.xbcs.org\"")
            .replace("no = [\"Espressif Inc.\"", "no = [\"Siemens AG\""),
    );
    let failures: Vec<String> = rules.failing_examples().iter().map(ToString::to_string).collect();
    assert_eq!(
        failures,
        [
            "test.toml:20: rule `cloud`: example `api.xbcs.org`: does not match, but is under `yes`",
            "test.toml:31: rule `oui`: example `Siemens AG`: is under `no`, but tells vendor `Siemens`",
        ]
    );
}

#[test]
fn what_is_wrong_is_said() {
    let check = |text: &str, expect: &str| {
        let exists = |field: &str| field.starts_with("dhcp.");
        let parsed = RulePack::parse("p.toml", text, &exists);
        let error = parsed.and_then(|p| Rules::new(vec![p])).unwrap_err();
        assert!(!error.help.is_empty());
        let text = error.to_string();
        assert!(text.contains(expect), "expected `{expect}` in `{text}`");
    };
    let rule = |lines: &str| {
        format!("\n[[rule]]\nid = \"a\"\nfield = \"dhcp.x\"\nyes = [\"x\"]\nno = [\"y\"]\n{lines}")
    };
    check("x = ", "p.toml:1:");
    check("[[rul]]", "unknown field `rul`");
    check(&rule("modle = \"x\""), "unknown key `modle`");
    check(&rule("type = 5"), "invalid type: integer");
    check(&rule(""), "p.toml:2: rule `a`: tells nothing");
    check(&rule("match = '(?<x>.)'\ntype = \"x\""), "group `x` is not used");
    check(&rule("type = \"{x}\""), "place {x}");
    check(&rule("type = \"{value|loud}\""), "loud");
    check(&rule("match = '('\ntype = \"x\""), "unclosed");
    check(&rule("strength = 1.5\ntype = \"x\""), "strength 1.5");
    check(&rule("type = \"x\"\nwhen = [\"nobody\"]"), "unknown condition `nobody`");
    check(&rule("type = \"x\"\nwhen = [{ field = \"http.x\" }]"), "unknown field `http.x`");
    check(
        &rule("type = \"x\"\nunless = [{ field = \"dhcp.y\", match = 'a', is = \"b\" }]"),
        "more than one",
    );
    check(&rule("type = \"x\"\nunless = [{ feld = \"dhcp.y\" }]"), "feld");
    check(&format!("{0}type = \"x\"{0}type = \"x\"", rule("")), "used twice");
    check(
        "[[rule]]\nid = \"a\"\nfield = \"dhcp.x\"\ntype = \"x\"\nyes = [\"x\"]",
        "no `no` example",
    );
    check(
        "[[rule]]\nid = \"a\"\nfield = \"http.x\"\ntype = \"x\"\nyes = [\"x\"]\nno = [\"y\"]",
        "http.x",
    );
    let map = "[[map]]\nid = \"a\"\nfield = \"dhcp.x\"\nyes = [\"x\"]\nno = [\"y\"]\n";
    check(&format!("{map}[map.values]\na = \"x\""), "entry of `a` is not used");
    check(&format!("{map}model = \"{{entry}}\"\n[map.values]\na = \"x\"\nA = \"x\""), "twice");
    check(&format!("{map}match = '(.)'\n[map.values]"), "group `key`");
}

#[test]
fn a_pack_can_switch_off_a_rule_of_another() {
    let off = RulePack::parse("site.toml", "disable = [\"oui\"]", &any_field).unwrap();
    let rules =
        Rules::new(vec![RulePack::parse("test.toml", PACK, &any_field).unwrap(), off]).unwrap();
    assert_eq!(claims(&rules, &[("mac.oui", "Belkin")]), [""; 0]);
}

/// The shipped packs; that their fields exist is checked where dissectors are known, by every run
/// of the binary.
fn shipped_rules() -> Rules {
    let packs = WRITTEN.iter().map(|(name, text)| {
        RulePack::parse(name, text, &any_field).unwrap_or_else(|e| panic!("{e}"))
    });
    Rules::new(packs.collect()).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn the_shipped_rules_do_what_their_examples_say() {
    let rules = shipped_rules();
    let failures: Vec<String> = rules.failing_examples().iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
}

/// A run of the program reads the packs without most examples, and knows the same.
#[test]
fn a_shipped_pack_is_the_written_one_with_fewer_examples() {
    let all = |packs: Vec<RulePack>| {
        let rules = packs.into_iter().flat_map(|pack| pack.rules);
        let untried = rules.map(|rule| Compiled { yes: Vec::new(), no: Vec::new(), ..rule });
        untried.map(|rule| format!("{rule:?}")).collect::<Vec<_>>()
    };
    let parse = |(name, text): &(&str, &str)| RulePack::parse(name, text, &any_field).unwrap();
    let written = all(WRITTEN.iter().map(parse).collect());
    let shipped = all(RulePack::shipped(&any_field).unwrap());
    assert_eq!(shipped.len(), written.len());
    assert_eq!(shipped.iter().zip(&written).find(|(shipped, written)| shipped != written), None);
    let size = |packs: &[(&str, &str)]| packs.iter().map(|(_, text)| text.len()).sum::<usize>();
    assert!(size(SHIPPED) * 5 < size(WRITTEN) * 4, "{} bytes", size(SHIPPED));
}

#[test]
fn the_shipped_expressions_compile() {
    for ready in &shipped_rules().rules {
        let rule = &ready.rule;
        let pattern = match &rule.how {
            super::compile::How::Regex(pattern) => Some(pattern),
            super::compile::How::Table(table) => table.key.as_ref(),
            super::compile::How::Any => None,
        };
        let is_right = |p: &super::pattern::Pattern| p.compiles() && p.is_as_trusted();
        assert!(pattern.is_none_or(is_right), "{}", rule.at.id);
    }
}

/// A device's facts, from what shipped rules look at and from noise.
fn facts() -> impl Strategy<Value = Vec<(String, String)>> {
    let fields = [
        "mac.oui",
        "dhcp.hostname",
        "dhcp.vendor_class",
        "mdns.txt.md",
        "http.user_agent",
        "snmp.sys_descr",
        "dns.query",
        "tls.sni",
        "ssdp.server",
        "lldp.system_description",
        "x.y",
        "",
    ];
    let mut values: Vec<String> =
        shipped_rules().rules_for_tests().flat_map(|(yes, no)| yes.into_iter().chain(no)).collect();
    values.push("Siemens AG".to_owned());
    let value = prop_oneof![proptest::sample::select(values), "\\PC{0,60}"];
    let field = proptest::sample::select(fields.to_vec()).prop_map(str::to_owned);
    proptest::collection::vec((field, value), 0..24)
}

#[test]
fn evaluation_never_panics_and_does_not_depend_on_order() {
    let rules = shipped_rules();
    let run = |facts: &[(String, String)]| {
        let views: Vec<FactView<'_>> =
            facts.iter().map(|(field, value)| FactView { field, value }).collect();
        let mut out = Vec::new();
        rules.evaluate(&views, &mut out);
        let mut set: Vec<String> = out
            .iter()
            .map(|c| {
                format!("{}|{}|{}|{}|{:?}", c.rule, c.attribute, c.value, c.strength, views[c.fact])
            })
            .collect();
        set.sort();
        set
    };
    proptest!(ProptestConfig::with_cases(200), |(facts in facts(), seed in any::<u64>())| {
        let mut other = facts.clone();
        let mut state = seed;
        for i in (1..other.len()).rev() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            other.swap(i, (state >> 33) as usize % (i + 1));
        }
        prop_assert_eq!(run(&facts), run(&other));
    });
}

impl Rules {
    fn rules_for_tests(&self) -> impl Iterator<Item = (Vec<String>, Vec<String>)> {
        let values = |examples: &[format::Example]| {
            examples.iter().map(|e| e.value.clone()).collect::<Vec<_>>()
        };
        self.rules.iter().map(move |r| (values(&r.rule.yes), values(&r.rule.no)))
    }
}

#[test]
fn text_reads_one_or_many() {
    #[derive(serde::Deserialize)]
    struct Holder {
        t: Text,
    }
    let read = |text: &str| toml::from_str::<Holder>(text).unwrap().t.0;
    assert_eq!(read("t = \"a\""), ["a"]);
    assert_eq!(read("t = [\"a\", \"b\"]"), ["a", "b"]);
}
