//! The enforcer against the kernel, in one bare namespace.

use enforcer::netlink::Place;
use enforcer::plan::Ownership;
use enforcer::verify::Drift;
use enforcer::{EnforceError, Fence, Options, Runner};
use lab::{Lab, Netns};
use model::observation::Transport;
use model::ruleset::{Exception, Member, Mode, Peer, Permit, Ruleset, Terms};

use crate::begin::now;

struct Bench {
    netns: Netns,
    fence: Fence,
    ruleset: Ruleset,
    options: Options,
}

/// A ruleset of the lab in an empty namespace: the kernel does not ask whether devices exist.
fn bench() -> Bench {
    let lab = Lab::new(7).unwrap();
    let mut ruleset = lab.ruleset(5, Mode::Enforce);
    let camera = lab.device("camera").unwrap().ip.into();
    ruleset.exceptions.push(Exception {
        from: camera,
        to: "198.51.100.7".parse().unwrap(),
        transport: Transport::Tcp,
        port: 443,
        expires: now().plus_nanos(3_600_000_000_000),
        name: "vendor-visit".to_owned(),
    });
    add_a_little_of_everything(&mut ruleset);
    let netns = Netns::new("rf-bench").unwrap();
    // Open, so that a test can play the outsider.
    let options = Options { ownership: Ownership::Open, ..lab.options(now()) };
    let fence = Fence::new(Place::netns(&netns.path()), "ringfence");
    Bench { fence, netns, ruleset, options }
}

/// What the lab's own ruleset lacks: IPv6, prefixes, ranges, ICMP, other protocols, frames.
fn add_a_little_of_everything(ruleset: &mut Ruleset) {
    let camera = ruleset.members.iter().find(|m| m.device.as_str() == "camera").unwrap().clone();
    let plc = ruleset.members.iter().find(|m| m.device.as_str() == "plc").unwrap().clone();
    for ip in ["fe80::aecc:8eff:fe12:3440", "fd00::40", "::ffff:10.0.0.1"] {
        ruleset.members.push(Member { ip: ip.parse().unwrap(), ..camera.clone() });
    }
    for (net, prefix) in
        [("0.0.0.0", 0), ("192.0.2.0", 24), ("192.0.2.128", 31), ("::", 0), ("2001:db8::", 32)]
    {
        let class = if prefix == 0 { camera.class } else { plc.class };
        ruleset.peers.push(Peer { ip: net.parse().unwrap(), prefix, class });
    }
    let (from, to) = (camera.class, plc.class);
    for (transport, first_port, last_port) in [
        (Transport::Tcp, 0, u16::MAX),
        (Transport::Udp, 6970, 6999),
        (Transport::Udp, 6990, 7010),
        (Transport::Udp, 7011, 7011),
        (Transport::Icmp, 0, u16::MAX),
        (Transport::Ip, 47, 50),
        (Transport::Link, 0x8892, 0x8892),
        (Transport::Link, 0x22f0, 0x22f1),
    ] {
        let rule = format!("camera \"to\" plc {transport:?} {first_port} — größer");
        ruleset.permits.push(Permit {
            from,
            to,
            transport,
            first_port,
            last_port,
            rule,
            terms: Terms::default(),
        });
    }
}

impl Bench {
    fn nft(&self, command: &str) {
        let output = self.netns.run(&["nft", "-f", "-"], command).unwrap();
        assert_eq!(output.code, 0, "{command}: {}", output.stderr);
    }

    fn verify(&self) -> Result<enforcer::Verified, Vec<enforcer::Difference>> {
        self.fence.verify(&self.ruleset, &self.options).unwrap()
    }
}

#[test]
fn netns_drift_of_any_kind_is_named_and_repaired() {
    if !lab::need("netns_drift_of_any_kind_is_named_and_repaired") {
        return;
    }
    let bench = bench();
    let missing = bench.verify().unwrap_err();
    assert_eq!(missing[0].to_string(), "inet ringfence: `the table` is missing");
    let applied = bench.fence.apply(&bench.ruleset, &bench.options).unwrap();
    assert_eq!((applied.generation, applied.replaced), (5, None));
    let verified = bench.verify().unwrap();
    assert_eq!(verified.elements, applied.elements);
    assert!(verified.rules > 100, "{verified:?}");

    // Each repair builds the generation anew, under the next name.
    let round = std::cell::Cell::new(0);
    let check = |command: &str, expect: &[&str]| {
        let tag = match round.get() {
            0 => "g5".to_owned(),
            round => format!("g5r{round}"),
        };
        bench.nft(&command.replace("TAG", &tag));
        let told: Vec<_> = bench.verify().unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), expect.len(), "{command}: {told:#?}");
        for (told, expect) in told.iter().zip(expect) {
            assert!(told.contains(expect), "{command}: {told}");
        }
        let again = bench.fence.apply(&bench.ruleset, &bench.options).unwrap();
        assert_eq!(again.replaced, Some(5));
        bench.verify().unwrap();
        round.set(round.get() + 1);
    };
    check(
        "delete element inet ringfence member4_TAG { 10.77.0.40 }",
        &["member4: `10.77.0.40` is missing"],
    );
    check(
        "add element inet ringfence exact_8_TAG { 6 . 6 . 502 : goto allowed_TAG }",
        &["exact_8: `6 . 6 . 502` is there and was not intended"],
    );
    check(
        "delete element inet ringfence member4_TAG { 10.77.0.40 }\n\
         add element inet ringfence member4_TAG { 10.77.0.40 : 6 }",
        &["member4: `10.77.0.40` is `6` and should be `8`"],
    );
    check("insert rule inet ringfence inside_TAG accept", &["inside: `[immediate"]);
    check("add rule inet ringfence outside_TAG accept", &["outside: `[immediate"]);
    check(
        "flush chain inet ringfence refuse_8_TAG",
        &["refuse_8: `rule 1: meta l4proto", "rule 2", "rule 3", "rule 4", "rule 5"],
    );
    check("add chain inet ringfence extra", &["extra: `the chain` is there"]);
    check("add set inet ringfence extra { type ipv4_addr; }", &["extra: `the set` is there"]);
    check("add counter inet ringfence extra", &["extra: `the counter` is there"]);
    check("delete table bridge ringfence", &["bridge ringfence: `the table` is missing"]);
    check(
        "add chain inet ringfence extra { type filter hook forward priority -9; policy accept; }",
        &["extra: `the chain` is there"],
    );
    check(
        "chain inet ringfence forward { type filter hook forward priority 0; policy drop; }",
        &["forward: `chain` is"],
    );
    // A marker that lies about whose rules are in force.
    bench.nft(&format!(
        "delete chain inet ringfence generation_5_on_g5r{}\nadd chain inet ringfence generation_5",
        round.get()
    ));
    assert!(bench.verify().is_err());
    bench.fence.apply(&bench.ruleset, &bench.options).unwrap();
    bench.verify().unwrap();
    round.set(round.get() + 1);
    // No marker at all.
    bench.nft(&format!("delete chain inet ringfence generation_5_on_g5r{}", round.get()));
    assert!(bench.verify().is_err());
    bench.fence.apply(&bench.ruleset, &bench.options).unwrap();
    bench.verify().unwrap();
    round.set(round.get() + 1);
    let full = |set: &str| format!("{set}_g5r{}", round.get());
    let except = full("except4");
    let key = "10.77.0.40 . 198.51.100.7 . 6 . 443";
    bench.nft(&format!(
        "delete element inet ringfence {except} {{ {key} }}\n\
         add element inet ringfence {except} {{ {key} timeout 9h comment \"other\" : goto {} }}",
        full("granted")
    ));
    let told = bench.verify().unwrap_err();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].to_string().contains("is `other` and should be `vendor-visit`"), "{told:?}");
    // An exception may end by itself, and the kernel may remember denials: no drift.
    bench.nft(&format!("delete element inet ringfence {except} {{ {key} }}"));
    let denied = full("denied4");
    bench.nft(&format!(
        "add element inet ringfence {denied} {{ 10.77.0.40 . 10.77.0.30 . 6 . 502 }}"
    ));
    bench.verify().unwrap();

    let mut other = bench.ruleset.clone();
    other.members[0].class.0 += 1;
    let told = bench.fence.verify(&other, &bench.options).unwrap().unwrap_err();
    assert!(matches!(told[0].what, Drift::Changed { .. }), "{told:?}");
}

#[test]
fn netns_never_goes_back_to_an_older_generation() {
    if !lab::need("netns_never_goes_back_to_an_older_generation") {
        return;
    }
    let mut bench = bench();
    bench.fence.apply(&bench.ruleset, &bench.options).unwrap();
    bench.ruleset.generation = 4;
    let error = bench.fence.apply(&bench.ruleset, &bench.options).unwrap_err();
    assert!(matches!(error, EnforceError::Stale { offered: 4, in_force: 5 }), "{error}");
    assert_eq!(bench.fence.read().unwrap().generation, Some(5));
    bench.ruleset.generation = 6;
    let applied = bench.fence.apply(&bench.ruleset, &bench.options).unwrap();
    assert_eq!(applied.replaced, Some(5));
    assert_eq!(bench.fence.read().unwrap().generation, Some(6));
    bench.verify().unwrap();
}

#[test]
fn netns_foreign_tables_stay_and_a_fence_can_be_taken_away_twice() {
    if !lab::need("netns_foreign_tables_stay_and_a_fence_can_be_taken_away_twice") {
        return;
    }
    let bench = bench();
    bench.nft("table inet other {\nchain c {\ntype filter hook forward priority 0;\n}\n}");
    bench.nft("table inet ringfences {\nset s {\ntype ipv4_addr; elements = { 10.0.0.1 }\n}\n}");
    let foreign = |listing: String| -> Vec<String> {
        let ours = |line: &&str| line.contains("ringfence\"") || line.contains("metainfo");
        listing.lines().filter(|line| !ours(line)).map(str::to_owned).collect()
    };
    let list = || {
        let tables = ["other", "ringfences"].map(|name| {
            bench.netns.run(&["nft", "list", "table", "inet", name], "").unwrap().stdout
        });
        foreign(tables.concat())
    };
    let before = list();
    assert!(before.len() > 8, "{before:?}");
    bench.fence.apply(&bench.ruleset, &bench.options).unwrap();
    assert_eq!(list(), before);
    bench.fence.remove().unwrap();
    bench.fence.remove().unwrap();
    assert_eq!(list(), before);
    let left = bench.netns.run(&["nft", "list", "tables"], "").unwrap().stdout;
    assert!(!left.contains("ringfence\n"), "{left}");
    assert_eq!(bench.fence.read().unwrap(), enforcer::InForce::default());
}

/// nft as an independent reader: what we send over netlink and what it makes of the exported text
/// are the same objects, down to every comment.
#[test]
fn netns_the_exported_text_and_our_messages_are_the_same_rules() {
    if !lab::need("netns_the_exported_text_and_our_messages_are_the_same_rules") {
        return;
    }
    let bench = bench();
    let options = Options { log_group: Some(7), ..bench.options.clone() };
    bench.fence.apply(&bench.ruleset, &options).unwrap();
    let exported = Netns::new("rf-export").unwrap();
    let text = enforcer::render(&bench.ruleset, &options).unwrap();
    let loaded = exported.run(&["nft", "-f", "-"], &text).unwrap();
    assert_eq!(loaded.code, 0, "{}", loaded.stderr);
    for family in ["inet", "bridge"] {
        // Objects in any order; time passes for exceptions.
        let list = |netns: &Netns| -> Vec<String> {
            let argv = ["nft", "-nn", "list", "table", family, "ringfence"];
            let text = netns.run(&argv, "").unwrap().stdout;
            let words = |object: &str| {
                let mut words: Vec<_> = object.split_whitespace().collect();
                let passes = |at: usize| at > 0 && words[at - 1] == "expires";
                let kept: Vec<_> = (0..words.len()).filter(|at| !passes(*at)).collect();
                words = kept.into_iter().map(|at| words[at]).collect();
                words.join(" ")
            };
            let mut objects: Vec<_> = text.split("\n\n").map(words).collect();
            objects.sort();
            objects
        };
        let (ours, theirs) = (list(&bench.netns), list(&exported));
        assert!(ours.len() > 10, "{ours:?}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(ours.len(), theirs.len());
    }
}

#[test]
fn netns_an_exported_text_takes_the_place_of_an_older_one() {
    if !lab::need("netns_an_exported_text_takes_the_place_of_an_older_one") {
        return;
    }
    let bench = bench();
    let load = |netns: &Netns, generation: u64| {
        let ruleset = Ruleset { generation, ..bench.ruleset.clone() };
        let text = enforcer::render(&ruleset, &bench.options).unwrap();
        let loaded = netns.run(&["nft", "-f", "-"], &text).unwrap();
        assert_eq!(loaded.code, 0, "{}", loaded.stderr);
    };
    let list = |netns: &Netns| netns.run(&["nft", "-s", "list", "ruleset"], "").unwrap().stdout;
    let (alone, after) = (Netns::new("rf-alone").unwrap(), Netns::new("rf-after").unwrap());
    // What is somebody else's stays.
    let theirs = "table inet theirs {\nchain c {\n}\n}\n";
    for netns in [&alone, &after] {
        assert_eq!(netns.run(&["nft", "-f", "-"], theirs).unwrap().code, 0);
    }
    load(&alone, 2);
    load(&after, 1);
    assert!(list(&after).contains("inside_g1"));
    load(&after, 2);
    let listed = list(&after);
    assert!(listed.contains("inside_g2") && listed.contains("table inet theirs"), "{listed}");
    assert!(!listed.contains("_g1"), "{listed}");
    assert_eq!(listed, list(&alone));
}
