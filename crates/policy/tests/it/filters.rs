//! Expressions about devices: what they say, what is wrong with them, and that Cedar says the same.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::Timestamp;
use policy::filter::{Filter, Subject, Text};
use proptest::prelude::*;

#[derive(Clone, Debug, Default)]
struct Device {
    texts: BTreeMap<Text, String>,
    assurance: i64,
    addresses: Vec<IpAddr>,
    keys: Vec<String>,
    labels: BTreeMap<String, String>,
    resurfaced: bool,
    confused: bool,
    first_seen: Timestamp,
    last_seen: Timestamp,
}

impl Subject for Device {
    fn text(&self, of: Text) -> &str {
        self.texts.get(&of).map_or(of.otherwise(), String::as_str)
    }

    fn assurance(&self) -> i64 {
        self.assurance
    }

    fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str)
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    fn resurfaced(&self) -> bool {
        self.resurfaced
    }

    fn confused(&self) -> bool {
        self.confused
    }

    fn first_seen(&self) -> Timestamp {
        self.first_seen
    }

    fn last_seen(&self) -> Timestamp {
        self.last_seen
    }
}

const NOW: i64 = 1_900_000_000;

fn now() -> Timestamp {
    Timestamp::from_secs(NOW, 0)
}

/// A camera of nobody's, seen two days ago.
fn camera() -> Device {
    let texts = [
        (Text::Id, "camera-7"),
        (Text::Type, "ip-camera"),
        (Text::Zone, "floor"),
        (Text::Site, "w1"),
        (Text::State, "active"),
        (Text::Firmware, "1.2*"),
    ];
    Device {
        texts: texts.map(|(of, text)| (of, text.to_owned())).into(),
        addresses: vec!["10.0.0.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        keys: vec!["mac/00:80:f4:01:02:03".to_owned(), "serial/acme/1".to_owned()],
        labels: [("rack".to_owned(), "B12".to_owned())].into(),
        first_seen: Timestamp::from_secs(NOW - 30 * 86_400, 0),
        last_seen: Timestamp::from_secs(NOW - 2 * 86_400, 999_999_999),
        ..Device::default()
    }
}

#[test]
fn expressions_hold_or_do_not_and_cedar_agrees() {
    let device = camera();
    for (text, expected) in [
        ("device.type == \"ip-camera\" && device.zone != \"cameras\"", true),
        ("device.addresses.contains(ip(\"10.0.0.7\"))", true),
        ("device.addresses.contains(ip(\"10.0.0.8\"))", false),
        ("device.networks.contains(ip(\"10.0.0.0/24\"))", true),
        ("device.networks.contains(ip(\"0.0.0.0/0\"))", true),
        ("device.networks.contains(ip(\"10.0.1.0/24\"))", false),
        ("device.networks.containsAny([ip(\"10.9.0.0/16\"), ip(\"2001:db8::/32\")])", true),
        ("device.macs == [\"00:80:f4:01:02:03\"]", true),
        ("device.keys.containsAll([\"serial/acme/1\"])", true),
        ("device.macs.isEmpty()", false),
        ("device.last_seen < now.offset(duration(\"-1d\"))", true),
        ("now.durationSince(device.last_seen) > duration(\"2d\")", false),
        ("now.durationSince(device.last_seen).toDays() == 1", true),
        ("device.first_seen < datetime(\"2030-01-01\")", false),
        ("device.last_seen.toDate() <= now.toDate() && now.toTime() > duration(\"0h\")", true),
        // What nobody says is "", and no comparison fails.
        ("device.owner == \"\"", true),
        ("device.model != \"DVR-4\"", true),
        ("device.model like \"*\"", true),
        ("device has owner", false),
        ("device has firmware", true),
        ("!(device has owner)", true),
        // Policies have words of their own for these.
        ("device.posture == \"normal\" && device.support == \"unknown\"", true),
        ("device.assurance < 3", true),
        ("-device.assurance >= 1 - 1 * 2", true),
        ("device.firmware like \"1.*\"", true),
        ("device.firmware like \"1.2\\*\"", true),
        ("device.firmware like \"2*\"", false),
        ("device.labels.rack == \"B12\"", true),
        ("device.labels[\"rack\"] == \"B12\"", true),
        ("device.labels has rack && !(device.labels has shelf)", true),
        ("device.hasTag(\"rack\") && device.getTag(\"rack\") == \"B12\"", true),
        ("device.labels.shelf == \"\"", true),
        ("device.labels.device == \"\" && device.labels.now == \"\"", true),
        // As policies write it.
        ("principal.type == DeviceType::\"ip-camera\"", true),
        ("Zone::\"floor\" != principal.zone", false),
        ("principal.type in [DeviceType::\"plc\", DeviceType::\"ip-camera\"]", true),
        ("device in Zone::\"floor\" && device in [Site::\"w1\", Site::\"w2\"]", true),
        ("device is Device in DeviceType::\"plc\"", false),
        ("device == Device::\"camera-7\"", true),
        ("[\"plc\", \"ip-camera\"].contains(device.type)", true),
        ("if device.confused then device.resurfaced else device.state == \"active\"", true),
        // An overflow makes it not hold, either way round.
        ("9223372036854775807 + device.assurance + 1 > 0", false),
        ("!(9223372036854775807 + device.assurance + 1 > 0)", false),
        ("device.name == \"device // now\" // device", false),
    ] {
        let filter = Filter::parse(text).unwrap_or_else(|e| panic!("{text}: {}", e.shown()));
        assert_eq!(filter.holds(&device, now()), expected, "{text}");
        assert_eq!(filter.ask_cedar(&device, now()), Ok(expected), "Cedar: {text}");
    }
}

#[test]
fn what_is_wrong_is_shown_where_it_is() {
    let mut all = String::new();
    for text in [
        "",
        "device.typ == \"plc\"",
        "now > device.last_seen && device.lastseen > now",
        "device.type = \"plc\"",
        "device.type == 7",
        "device.type == \"plc\" &&",
        "device.zone == Zone::\"a\" && device.zone == Sight::\"b\"",
        "device.zone == Site::\"a\"",
        "true }; permit (principal, action, resource) when { true",
        "resource.port == 1",
        "devcie.type == \"plc\"",
        "device.assurance == \"device-key\"",
        "device has posture",
        "device has addresses",
        "device has labels",
        "device has nose",
        "device.last_seen > \"2031-01-01\"",
        "device.last_seen > datetime(\"yesterday\")",
        "device.addresses.contains(ip(\"10.0.0\"))",
        "device.addresses.contains(\"10.0.0.7\")",
        "device.networks.contains(ip(\"10.0.0.7/24\"))",
        "ip(\"10.0.0.7\").isInRange(ip(\"10.0.0.0/8\"))",
        "decimal(\"1.0\").lessThan(decimal(\"2.0\"))",
        "device.owner == device.nobody.owner",
        "device.name\n  == \"ü\" && device.naem == \"\"",
        "device",
        "device.owner",
    ] {
        let error = Filter::parse(text).expect_err(text);
        all.push_str(&format!("{text}\n    {}\n", error.shown().replace('\n', "\n    ")));
        if !error.help.is_empty() {
            all.push_str(&format!("    help: {}\n", error.help));
        }
    }
    insta::assert_snapshot!(all);
}

#[test]
fn what_is_large_or_deep_is_refused_and_does_not_stop_the_process() {
    let long = format!("device.name == \"{}\"", "x".repeat(10_000));
    assert!(Filter::parse(&long).unwrap_err().what.contains("bytes"));
    for deep in [
        format!("{}true{}", "(".repeat(4_000), ")".repeat(4_000)),
        format!("true{}", "&&true".repeat(1_000)),
        format!("true{}", "||true".repeat(100)),
        format!("{}1", "[".repeat(5_000)),
        format!("1{} == 1", "+1".repeat(3_000)),
        format!("device{} == 1", ".name".repeat(200)),
        format!("{}true", "!".repeat(300)),
        format!("{}true", "if true then true else ".repeat(60)),
        format!("{}1{} == 1", "(1+".repeat(60), ")".repeat(60)),
    ] {
        assert!(Filter::parse(&deep).unwrap_err().what.contains("more than"), "{deep:.20}");
    }
    // As deep as it may be.
    let deep = format!("1{} == 62 + device.assurance", "+1".repeat(61));
    assert!(Filter::parse(&deep).unwrap().holds(&camera(), now()));
    let deep = format!("{}true{}", "(".repeat(64), ")".repeat(64));
    assert!(Filter::parse(&deep).is_ok());
    let deep = format!("device.type == \"ip-camera\"{}", " && device.owner == \"\"".repeat(60));
    assert!(Filter::parse(&deep).unwrap().holds(&camera(), now()));
    // Many values are no depth.
    let many: Vec<String> = (0..400).map(|n| format!("\"camera-{n}\"")).collect();
    let many = format!("[{}].contains(device.id)", many.join(","));
    assert!(Filter::parse(&many).unwrap().holds(&camera(), now()));
}

fn text() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "a", "b", "ab", "unknown", "a*b"])
}

fn instant() -> impl Strategy<Value = Timestamp> {
    // Around the epoch too, and to the millisecond.
    prop_oneof![-5_000_i64..5_000, NOW - 200_000..NOW + 200_000]
        .prop_flat_map(|secs| (Just(secs), 0_i64..3))
        .prop_map(|(secs, part)| Timestamp::from_secs(secs, part * 499_999_999))
}

fn address() -> impl Strategy<Value = IpAddr> {
    let all = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "2001:db8::1", "fe80::1"];
    prop::sample::select(all.to_vec()).prop_map(|text| text.parse().unwrap())
}

fn device() -> impl Strategy<Value = Device> {
    let texts = prop::collection::btree_map(prop::sample::select(Text::ALL), text(), 0..12);
    let labels = prop::collection::btree_map(prop::sample::select(vec!["r", "a"]), text(), 0..2);
    let keys =
        prop::collection::vec(prop::sample::select(vec!["mac/a", "mac/b", "serial/a"]), 0..3);
    (
        (texts, labels, keys, prop::collection::vec(address(), 0..3)),
        (0_i64..6, any::<bool>(), any::<bool>(), instant(), instant()),
    )
        .prop_map(|((texts, labels, keys, addresses), rest)| {
            let (assurance, resurfaced, confused, first_seen, last_seen) = rest;
            Device {
                texts: texts.into_iter().map(|(of, text)| (of, text.to_owned())).collect(),
                labels: labels.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
                keys: keys.into_iter().map(str::to_owned).collect(),
                assurance,
                addresses,
                resurfaced,
                confused,
                first_seen,
                last_seen,
            }
        })
}

fn one_of(texts: &[&str]) -> BoxedStrategy<String> {
    prop::sample::select(texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()).boxed()
}

/// Texts, numbers, instants, spans and sets as expressions.
fn words() -> BoxedStrategy<String> {
    let field = prop::sample::select(Text::ALL).prop_map(|of| format!("device.{}", of.word()));
    prop_oneof![field, one_of(&["\"a\"", "\"\"", "\"unknown\"", "device.labels.r"])].boxed()
}

fn numbers() -> BoxedStrategy<String> {
    let leaf = one_of(&[
        "0",
        "3",
        "9223372036854775807",
        "device.assurance",
        "now.durationSince(device.last_seen).toHours()",
        "device.last_seen.toTime().toSeconds()",
    ]);
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), one_of(&["+", "-"]), inner.clone())
                .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            inner.prop_map(|a| format!("(-{a} * 2)")),
        ]
    })
    .boxed()
}

fn instants() -> BoxedStrategy<String> {
    one_of(&[
        "now",
        "device.first_seen",
        "device.last_seen.toDate()",
        "now.offset(duration(\"-1d2h\"))",
        "datetime(\"1970-01-01T00:00:01.500Z\")",
    ])
}

fn sets() -> BoxedStrategy<String> {
    one_of(&["device.macs", "device.keys", "[\"a\", \"b\"]", "[device.name, device.model]"])
}

fn nets() -> BoxedStrategy<String> {
    one_of(&[
        "device.addresses",
        "device.networks",
        "[ip(\"10.0.0.1\"), ip(\"10.0.1.0/24\")]",
        "[ip(\"2001:db8::/32\")]",
    ])
}

fn expression() -> BoxedStrategy<String> {
    let order = || one_of(&["<", "<=", ">", ">=", "==", "!="]);
    let two = |(a, op, b): (String, String, String)| format!("{a} {op} {b}");
    let method = |(a, op, b): (String, String, String)| format!("{a}.{op}({b})");
    let has = || one_of(&["containsAll", "containsAny"]);
    let leaf = prop_oneof![
        one_of(&["true", "device.resurfaced", "device.confused", "device has owner"]),
        one_of(&["device.labels has r", "device.hasTag(\"a\")", "device in Zone::\"a\""]),
        one_of(&["device.type in [DeviceType::\"a\"]", "device.site == Site::\"b\""]),
        one_of(&["device.addresses.isEmpty()", "device is Device in Site::\"a\""]),
        (words(), one_of(&["\"a*\"", "\"*\"", "\"a\\*b\""]))
            .prop_map(|(a, p)| format!("{a} like {p}")),
        (words(), one_of(&["==", "!="]), words()).prop_map(two),
        (numbers(), order(), numbers()).prop_map(two),
        (instants(), order(), instants()).prop_map(two),
        (sets(), one_of(&["contains"]), words()).prop_map(method),
        (sets(), has(), sets()).prop_map(method),
        (sets(), one_of(&["==", "!="]), sets()).prop_map(two),
        (nets(), one_of(&["contains"]), one_of(&["ip(\"10.0.0.1\")", "ip(\"10.0.0.0/8\")"]))
            .prop_map(method),
        (nets(), has(), nets()).prop_map(method),
        (nets(), one_of(&["==", "!="]), nets()).prop_map(two),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            (inner.clone(), one_of(&["&&", "||", "=="]), inner.clone())
                .prop_map(|(a, op, b)| format!("({a}) {op} ({b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("if {a} then {b} else {c}")),
        ]
    })
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_compiled_filter_says_what_cedar_says(
        text in expression(),
        devices in prop::collection::vec(device(), 3),
        now in instant(),
    ) {
        let filter = Filter::parse(&text);
        let filter = filter.map_err(|e| TestCaseError::fail(format!("{text}\n{}", e.shown())))?;
        for device in &devices {
            let cedar = filter.ask_cedar(device, now).map_err(TestCaseError::fail)?;
            prop_assert_eq!(filter.holds(device, now), cedar, "{}", text);
        }
    }

    #[test]
    fn no_text_stops_the_process(text in "\\PC{0,60}", part in "[a-z.()\\[\\]\"=&|! ]{0,40}") {
        for text in [text, part.clone(), format!("device.{part}")] {
            if let Err(error) = Filter::parse(&text) {
                prop_assert!(!error.shown().is_empty());
            }
        }
    }
}
