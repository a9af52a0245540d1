//! The enforcer against the kernel, in one bare namespace.

use enforcer::runner::Output;
use enforcer::verify::Drift;
use enforcer::{EnforceError, Fence, Options, Runner};
use lab::{Lab, Netns};
use model::observation::Transport;
use model::ruleset::{Exception, Member, Mode, Peer, Permit, Ruleset, Terms};

use crate::begin::now;

struct Bench {
    netns: Netns,
    fence: Fence<Netns>,
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
    let options = lab.options(now());
    Bench { fence: Fence::new(netns.clone(), "ringfence"), netns, ruleset, options }
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

/// Puts generation 6 in force whenever somebody is about to change rules.
struct Meddler(Netns);

impl Runner for Meddler {
    fn run(&self, argv: &[&str], stdin: &str) -> std::io::Result<Output> {
        if argv == ["nft", "-f", "-"] {
            let other =
                "delete chain inet ringfence generation_5\nadd chain inet ringfence generation_6\n";
            assert_eq!(self.0.run(argv, other)?.code, 0);
        }
        self.0.run(argv, stdin)
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

    let check = |command: &str, expect: &[&str]| {
        bench.nft(command);
        let told: Vec<_> = bench.verify().unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), expect.len(), "{command}: {told:#?}");
        for (told, expect) in told.iter().zip(expect) {
            assert!(told.contains(expect), "{command}: {told}");
        }
        let again = bench.fence.apply(&bench.ruleset, &bench.options).unwrap();
        assert_eq!(again.replaced, Some(5));
        bench.verify().unwrap();
    };
    check(
        "delete element inet ringfence member4 { 10.77.0.40 }",
        &["member4: `10.77.0.40` is missing"],
    );
    check(
        "add element inet ringfence exact_8 { 6 . 6 . 502 : goto allowed }",
        &["exact_8: `6 . 6 . 502` is there and was not intended"],
    );
    check(
        "delete element inet ringfence member4 { 10.77.0.40 }\n\
         add element inet ringfence member4 { 10.77.0.40 comment \"camera\" : 6 }",
        &["member4: `10.77.0.40` is `6` and should be `8`"],
    );
    check("insert rule inet ringfence inside accept", &["inside: `{"]);
    check("add rule inet ringfence outside accept", &["outside: `{"]);
    check(
        "flush chain inet ringfence deny_8",
        &["deny_8: `rule 1: {", "rule 2", "rule 3", "rule 4", "rule 5"],
    );
    check("add chain inet ringfence extra", &["extra: `the chain` is there"]);
    check("add set inet ringfence extra { type ipv4_addr; }", &["extra: `the set` is there"]);
    check("delete table bridge ringfence", &["bridge ringfence: `the table` is missing"]);
    check("add chain inet ringfence extra", &["extra: `the chain` is there"]);
    check("add set inet ringfence extra { type ipv4_addr; }", &["extra: `the set` is there"]);
    check("delete table bridge ringfence", &["bridge ringfence: `the table` is missing"]);
    check(
        "chain inet ringfence forward { type filter hook forward priority 0; policy drop; }",
        &["forward: `chain` is"],
    );
    check(
        "delete element inet ringfence except4 { 10.77.0.40 . 198.51.100.7 . 6 . 443 }\n\
         add element inet ringfence except4 { 10.77.0.40 . 198.51.100.7 . 6 . 443 timeout 9h comment \"other\" : goto granted }",
        &["is `other` and should be `vendor-visit`"],
    );
    // An exception may end by itself, and the kernel may remember denials: no drift.
    bench.nft("delete element inet ringfence except4 { 10.77.0.40 . 198.51.100.7 . 6 . 443 }");
    bench.nft("add element inet ringfence denied4 { 10.77.0.40 . 10.77.0.30 . 6 . 502 }");
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
fn netns_a_refused_transaction_changes_nothing_and_names_the_line() {
    if !lab::need("netns_a_refused_transaction_changes_nothing_and_names_the_line") {
        return;
    }
    let mut bench = bench();
    bench.nft("table inet other {\nchain c {\ntype filter hook forward priority 0;\n}\n}");
    bench.fence.apply(&bench.ruleset, &bench.options).unwrap();
    // Somebody changes the fence between our reading it and our replacing it.
    let meddler = Fence::new(Meddler(bench.netns.clone()), "ringfence");
    bench.ruleset.generation = 7;
    let error = meddler.apply(&bench.ruleset, &bench.options).unwrap_err();
    let EnforceError::Refused { line, statement, why } = &error else { panic!("{error}") };
    assert_eq!((*line, statement.as_str()), (1, "delete chain inet ringfence generation_5"));
    assert!(why.contains("No such file or directory"), "{error}");
    assert_eq!(bench.fence.read().unwrap().generation, Some(6));
    bench.fence.apply(&bench.ruleset, &bench.options).unwrap();
    bench.verify().unwrap();
    bench.fence.remove().unwrap();
    bench.fence.remove().unwrap();
    let left = bench.netns.run(&["nft", "list", "ruleset"], "").unwrap().stdout;
    assert!(left.contains("table inet other") && !left.contains("ringfence"), "{left}");
    assert_eq!(bench.fence.read().unwrap(), enforcer::InForce::default());
}

#[test]
fn netns_the_golden_text_loads_and_reads_back() {
    if !lab::need("netns_the_golden_text_loads_and_reads_back") {
        return;
    }
    let bench = bench();
    bench.nft(&enforcer::render(&bench.ruleset, &bench.options).unwrap());
    bench.verify().unwrap();
}
