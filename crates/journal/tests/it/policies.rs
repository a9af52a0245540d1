//! Which logs and witnesses are believed (C2SP tlog-policy), and what a log may sign.

use journal::checkpoint::{Checkpoint, SignedCheckpoint};
use journal::guard::{WouldBreak, extends};
use journal::policy::{Distrust, Party, Policy};
use journal::{Hash, KeyName};

use crate::notes::signed;
use crate::reference::{Grid, Toy, Toys, data, mth};

/// The example of C2SP tlog-policy, Example policy, with keys.
fn example() -> (Toy, Vec<Toy>, String) {
    let log = Toy::new("log.example/journal");
    let toys: Vec<Toy> = ["X1", "X2", "X3", "Y1", "Y2", "Y3"].map(Toy::new).into();
    let witness = |t: &Toy| format!("witness {} {}\n", t.name, t.witness());
    let text = format!(
        "# An example.\n\nlog {} https://log.example/journal\n{}group X-witnesses 2 X1 X2 X3\n\
         \tgroup Y-witnesses  any\tY1 Y2 Y3 \n\ngroup X-and-Y all X-witnesses Y-witnesses\n\
         quorum X-and-Y\n",
        log.log(),
        toys.iter().map(witness).collect::<String>(),
    );
    (log, toys, text)
}

#[test]
fn groups_of_groups_make_a_quorum() {
    let (log, toys, text) = example();
    let policy: Policy = text.parse().unwrap();
    assert_eq!(policy.to_string().parse(), Ok(policy.clone()));
    assert_eq!(policy.logs()[0].url.as_deref(), Some("https://log.example/journal"));
    assert_eq!(policy.witnesses().len(), 6);
    // Every subset of the witnesses.
    for subset in 0_u32..64 {
        let cosigners: Vec<&Toy> =
            (0..6).filter(|i| subset >> i & 1 == 1).map(|i| &toys[i]).collect();
        let (x, y) = ((subset & 7).count_ones(), (subset >> 3).count_ones());
        let judged = policy.judge(&signed(&log, 3, Hash::of(b"root"), &cosigners), &Toys);
        match judged {
            Ok(believed) => {
                assert!(x >= 2 && y >= 1, "{subset:b}");
                assert_eq!(believed.cosigned.len(), cosigners.len());
            }
            Err(Distrust::Quorum { quorum, needed, of, cosigned }) => {
                assert!(x < 2 || y < 1, "{subset:b}");
                assert_eq!((quorum.as_str(), needed, of), ("X-and-Y", 2, 2));
                assert_eq!(cosigned.len(), cosigners.len());
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn witnesses_of_one_party_count_once() {
    let log = Toy::new("log.example");
    let [a1, a2, b, c] = ["a1", "a2", "b", "c"].map(Toy::new);
    let party = |name: &str, toys: &[&Toy]| Party {
        name: name.to_owned(),
        witnesses: toys.iter().map(|t| t.witness()).collect(),
    };
    let parties = || vec![party("it", &[&a1, &a2]), party("ot", &[&b]), party("auditor", &[&c])];
    let policy = Policy::parties(log.log(), 2, parties()).unwrap();
    let judge = |toys: &[&Toy]| policy.judge(&signed(&log, 1, Hash::of(b"r"), toys), &Toys);
    let refused = judge(&[&a1, &a2]).unwrap_err();
    assert_eq!(refused.to_string(), "quorum asks for 2 of 3; cosigned: it-1, it-2");
    assert!(judge(&[&a1, &b]).is_ok() && judge(&[&b, &c]).is_ok());
    assert_eq!(judge(&[]).unwrap_err().to_string(), "quorum asks for 2 of 3; cosigned: nobody");
    // Somebody unknown counts for nothing, and is told.
    let stranger = Toy::new("stranger");
    let believed = judge(&[&a2, &stranger, &c]).unwrap();
    assert_eq!(believed.unknown.len(), 1);
    assert_eq!((believed.unknown[0].0, believed.unknown[0].1.as_str()), (7, "stranger"));
    let times: Vec<_> = believed.cosigned.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(times, ["it-2", "auditor-1"]);

    assert!(Policy::parties(log.log(), 4, parties()).is_err());
    assert!(Policy::parties(log.log(), 0, parties()).is_err());
    let twice = vec![party("it", &[&a1]), party("ot", &[&a1])];
    assert!(Policy::parties(log.log(), 2, twice).is_err(), "one key for two parties");
    let spaced = vec![party("I T", &[&a1])];
    assert!(Policy::parties(log.log(), 1, spaced).is_err());
}

#[test]
fn only_the_log_speaks_for_itself() {
    let [log, other, witness] = ["log.example", "other.example", "w"].map(Toy::new);
    let policy = Policy::log_alone(log.log());
    let head = || Checkpoint::new(&log.name, 1, Hash::of(b"root"));
    assert!(policy.judge(&SignedCheckpoint::sign(head(), &log).unwrap(), &Toys).is_ok());
    let unknown = policy.judge(&signed(&other, 1, Hash::of(b"root"), &[]), &Toys);
    assert_eq!(unknown, Err(Distrust::OtherLog { origin: "other.example".to_owned() }));
    // Somebody else signs under the log's name.
    let forged = policy.judge(&SignedCheckpoint::sign(head(), &other).unwrap(), &Toys);
    assert_eq!(forged, Err(Distrust::LogDidNotSign { origin: "log.example".to_owned() }));
    // Cosignatures alone are not the log's word.
    let parties = vec![Party { name: "p".to_owned(), witnesses: vec![witness.witness()] }];
    let policy = Policy::parties(log.log(), 1, parties).unwrap();
    let mut cosigned = SignedCheckpoint::sign(head(), &other).unwrap();
    let both = signed(&log, 1, Hash::of(b"root"), &[&witness]);
    cosigned.add(both.note().signatures()[1].clone()).unwrap();
    let forged = policy.judge(&cosigned, &Toys);
    assert_eq!(forged, Err(Distrust::LogDidNotSign { origin: "log.example".to_owned() }));
    // The cosignature was for another text.
    let mut moved =
        SignedCheckpoint::sign(Checkpoint::new(&log.name, 2, Hash::of(b"r")), &log).unwrap();
    moved.add(both.note().signatures()[1].clone()).unwrap();
    assert!(matches!(policy.judge(&moved, &Toys), Err(Distrust::Signature(_))));
}

#[test]
fn malformed_policies_are_refused_with_their_line() {
    let (log, toys, text) = example();
    let (log, w) = (log.log(), toys[0].witness());
    let begin = |line: &str| text.find(line).unwrap();
    for (from, to, why) in [
        ("quorum X-and-Y", "quorum nobody", "no witness or group `nobody`"),
        ("quorum X-and-Y", "quorum X-and-Y\nquorum none", "a second quorum"),
        ("group X-witnesses 2", "group X-witnesses 4", "4 of 3 members"),
        ("group X-witnesses 2", "group X-witnesses 0", "0 of 3 members"),
        ("group X-witnesses 2", "group X-witnesses 02", "not any, all or a number"),
        ("group X-witnesses 2 X1", "group X-witnesses 2 X1 X1", "member of a group already"),
        ("any\tY1", "any\tX1", "member of a group already"),
        ("all X-witnesses", "all X-and-Y", "no witness or group `X-and-Y`"),
        ("group X-and-Y all", "group X1 all", "`X1` is there twice"),
        ("group X-and-Y all", "group none all", "`none` is no name"),
        ("all X-witnesses Y-witnesses", "all", "0 of 0 members"),
        ("witness X2", "witness X1", "`X1` is there twice"),
        ("witness X1", "witness X1 extra", "key"),
        ("log ", "logs ", "a line is `log`"),
    ] {
        let changed = text.replacen(from, to, 1);
        let fault = changed.parse::<Policy>().unwrap_err();
        assert!(fault.why.contains(why), "{fault}");
        let line = text[..begin(from)].rfind('\n').map_or(0, |n| n + 1);
        assert!(fault.at >= line && fault.at <= changed.len(), "{fault}");
    }
    let parse = |text: String| text.parse::<Policy>().map_err(|e| e.why);
    let fault = parse(format!("log {log}\n")).unwrap_err();
    assert!(fault.contains("no quorum"), "{fault}");
    let fault = parse(format!("log {log}\nlog {log}\nquorum none\n")).unwrap_err();
    assert!(fault.contains("there twice"), "{fault}");
    let fault = parse(format!("witness a {w}\nwitness b {w}\nquorum a\n")).unwrap_err();
    assert!(fault.contains("there twice"), "{fault}");
    let fault = parse(format!("witness a {log}\nquorum a\n")).unwrap_err();
    assert!(fault.contains("not for cosignatures"), "{fault}");
    assert!(parse(format!("log {log}\nquorum none")).is_err(), "a line without newline");
    assert!(parse(format!("log {log}\r\nquorum none\n")).is_err());
    assert!(parse(format!("log {log}\nquorum none\n")).is_ok());
    assert!(parse(format!("witness a {w} https://a.example\nquorum a\n")).is_ok());
}

#[test]
fn a_log_signs_only_what_extends_its_last_head() {
    let origin = KeyName::new("log.example").unwrap();
    let d = data(40);
    let head = |d: &[Vec<u8>]| Checkpoint::new(&origin, u64::try_from(d.len()).unwrap(), mth(d));
    let here = Grid::new(&d);
    for size in 0..=40 {
        assert_eq!(extends(&head(&d[..size]), "log.example", 40, &here), Ok(()));
    }
    // A restored backup.
    let backup = extends(&head(&d), "log.example", 30, &Grid::new(&d[..30]));
    assert_eq!(backup, Err(WouldBreak::RolledBack { signed: 40, here: 30 }));
    // A restored backup that went on.
    let mut other = d[..30].to_vec();
    other.extend((0..20).map(|i| format!("other {i}").into_bytes()));
    let fork = extends(&head(&d), "log.example", 50, &Grid::new(&other));
    let (signed, here) = (mth(&d), mth(&other[..40]));
    assert_eq!(fork, Err(WouldBreak::Forked { size: 40, signed, here }));
    assert_eq!(extends(&head(&d[..30]), "log.example", 50, &Grid::new(&other)), Ok(()));
    let stranger = extends(&head(&d), "other.example", 40, &Grid::new(&d));
    assert!(matches!(stranger, Err(WouldBreak::OtherLog { .. })));
}
