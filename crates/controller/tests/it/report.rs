//! What a device says of itself at the door, by the real agent and by hand; and that every refusal is on the record.

use std::fs;
use std::sync::Arc;

use crypto::tls::Credentials;
use device_agent::home;
use device_agent::http::Connection;
use estate::devices::Field;
use estate::identities;
use model::DeviceId;

use crate::Folder;
use crate::tpm::{Hq, Machine, hex};

#[test]
fn a_device_says_what_runs_on_it_and_stands_no_higher() {
    let folder = Folder::new();
    let hq = Hq::new(&folder, &["a"]);
    let machine = Machine { folder: folder.0.join("machines/a"), running: None };
    let run = |words: &[&str]| machine.run_in("agent", "none", words);
    hq.token("a", "secret");
    let (server, root) = (hq.server(), hq.authority.root_sha256());
    assert_eq!(run(&["report", "--version", "2.5"]).0, 1, "it has not enrolled");
    let enrol = ["enrol", "--server", &server, "--root-sha256", &root, "--token", "secret"];
    assert_eq!(run(&enrol).0, 0);
    let level = hq.level("a");
    let size = || hq.running.hub.read(estate::Estate::size);
    let (os_release, image) = (machine.at("os-release"), machine.at("image"));
    let firmware = ["report", "--firmware", &os_release];
    let (code, said) = run(&[&firmware[..], &["--version", "2.5"]].concat());
    assert!(code == 1 && said.contains("os-release"), "{said}");
    fs::write(&os_release, "NAME=Debian\n").unwrap();
    let (code, said) = run(&firmware);
    assert!(code == 1 && said.contains("--version"), "{said}");
    fs::write(&os_release, "PRETTY_NAME=\"Debian 13\"\nIMAGE_VERSION=2.5\n").unwrap();
    assert_eq!(run(&[&firmware[..], &["--image", &image]].concat()).0, 1, "there is no image");
    let before = size();
    let (code, said) = run(&firmware);
    assert!(code == 0 && said.contains("version 2.5: noted"), "{said}");
    assert_eq!(size(), before + 1);
    let (code, said) = run(&firmware);
    assert!(code == 0 && said.contains("known already"), "{said}");
    assert_eq!((size(), hq.level("a")), (before + 1, level), "a timer fills no journal");
    // What is seen of it is believed, and both are there.
    let claims = || {
        hq.running.hub.read(|estate| {
            let device = estate.devices().get(&DeviceId::new("a").unwrap()).unwrap();
            let all = device.claims().iter().filter(|claim| claim.field == Field::Firmware);
            let all =
                all.map(|claim| format!("{} {}", claim.source, claim.value)).collect::<Vec<_>>();
            (device.value(Field::Firmware).unwrap().to_owned(), all)
        })
    };
    let both = ["agent 2.5", "sensor 2.4"].map(str::to_owned).to_vec();
    assert_eq!(claims(), ("2.4".to_owned(), both));
    fs::write(&image, b"firmware").unwrap();
    let with = ["--image", &image, "--vendor", "Acme", "--model", "X1"];
    let (code, said) = run(&[&firmware[..], &with].concat());
    assert!(code == 0 && said.contains("noted"), "{said}");
    let detail = format!("agent/sha256.{} 2.5", hex(&crypto::sha256(b"firmware")));
    assert_eq!(claims().1, [detail, "sensor 2.4".to_owned()]);
    // What is no report is told, and found once; a stranger says nothing.
    hq.pass(61);
    let own = machine.home().certificate(home::CERTIFICATE).unwrap().unwrap();
    let pem = machine.home().read(home::KEY).unwrap().unwrap();
    let key = Arc::new(crypto::PrivateKey::from_pem(&pem).unwrap());
    let own = Credentials { chain: vec![own], key };
    let open = |own| Connection::open(&hq.server(), hq.authority.root(), own).unwrap();
    let path = model::report::PATH;
    let mut hand = open(Some(&own));
    let before = size();
    for (wrong, says) in [
        (&b""[..], "expected"),
        (b"{}", "version"),
        (br#"{"version":7}"#, "a string"),
        (br#"{"version":""}"#, "empty"),
        (br#"{"version":"2\u0007"}"#, "control"),
        (br#"{"version":"2","hash":"ab"}"#, "hash"),
    ] {
        let said = hand.ask("POST", path, &[], wrong).unwrap();
        assert_eq!(said.status, 400, "{}", said.line());
        assert!(said.line().contains(says), "{}", said.line());
    }
    let found = hq.found();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "identity.request");
    assert_eq!(hand.ask("GET", path, &[], &[]).unwrap().status, 405);
    let long = hand.ask("POST", path, &[], &vec![b' '; 8_193]).unwrap();
    assert_eq!(long.status, 413);
    let last = (0..8).map(|_| hand.ask("POST", path, &[], b"{}").unwrap().status).last();
    assert_eq!(last, Some(429));
    let stranger = open(None).ask("POST", path, &[], br#"{"version":"9"}"#).unwrap();
    assert_eq!(stranger.status, 403, "{}", stranger.line());
    assert_eq!(hq.level("a"), level);
    // Ten are written one by one, and the rest of the minute in one entry.
    drop(hand);
    let written = size() - before;
    hq.pass(61);
    let after = hq.runtime.block_on(async {
        for _ in 0..100 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            if size() > before + written {
                break;
            }
        }
        size()
    });
    let events = (before..after).flat_map(|n| {
        let entry = hq.running.hub.entry(n).unwrap().unwrap();
        estate::record::events(&entry).unwrap()
    });
    let refused: Vec<(String, String)> = events
        .filter_map(|event| match event {
            estate::Event::Identity(identities::Event::Refused { code, why, .. }) => {
                Some((code, why))
            }
            _ => None,
        })
        .collect();
    let more: Vec<&String> = refused
        .iter()
        .filter(|(code, _)| code == "identity.more-refused")
        .map(|(_, why)| why)
        .collect();
    assert_eq!((after - before, more.len()), (written + 1, 1), "{refused:?}");
    let one_by_one = refused.len() - 1;
    // Six were no reports, one was no POST, one too long, eight too many, one a stranger's.
    let rest: usize = more[0].split(' ').next().unwrap().parse().unwrap();
    assert_eq!((one_by_one <= 10, one_by_one + rest), (true, 6 + 1 + 1 + 8 + 1), "{refused:?}");
    // What is left when the door closes is written then.
    let stranger = || open(None).ask("POST", path, &[], b"{}").unwrap().status;
    assert!((0..11).all(|_| stranger() == 403));
    let all = size();
    hq.close();
    let hq = Hq::open(&folder);
    assert_eq!(hq.running.hub.read(estate::Estate::size), all + 1);
    hq.close();
}
