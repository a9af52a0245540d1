//! What a person hears of the door: copies of keys that are in use, and strangers who were refused. Devices are curl with openssl, from addresses of
//! loopback that are networks of their own.

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

use crypto::tls::Credentials;
use device_agent::http::Connection;
use estate::devices::{self, Facts};
use estate::identities::{self, AtDoor};
use estate::{Command, sites};
use model::{DeviceId, SiteId};
use pki::Certificate;

use crate::est::{Door, Maker, P256, need, runtime, soon};
use crate::{Folder, now};

const OLDER: &str = "identity.older-certificate";
const TWICE: &str = "identity.key-at-two-places";

/// The last line that people see of something about a device.
fn what(door: &Door, device: &str) -> String {
    door.running.hub.read(|estate| {
        let mut found = estate.identities().found().filter(|f| f.device.as_str() == device);
        found.next_back().map(|found| found.what.clone()).unwrap_or_default()
    })
}

fn issued(door: &Door) -> u64 {
    door.est.counts.all().iter().find(|(word, _)| *word == "issued").unwrap().1
}

/// A device with its first certificate.
async fn enrolled(door: &Door, name: &str) {
    door.request(name, &P256).await;
    door.token(name, &format!("est-{name}"));
    let with = ["-u", &format!("x:est-{name}")];
    let first = door.enrol("simpleenroll", name, &with).await;
    door.keep(name, &first);
}

/// It comes from an address with a certificate of a file, and asks for something that changes nothing.
async fn comes(door: &Door, name: &str, certificate: &str, from: &str) {
    let (pem, key) = (format!("{certificate}.pem"), format!("{name}.key"));
    let got = door.curl("csrattrs", &["--interface", from, "--cert", &pem, "--key", &key]).await;
    assert_eq!(got.status, 200, "{name} from {from}: {}", got.text());
}

/// A device of a site that has an address.
fn told(door: &Door, site: &str, id: &str, address: [u8; 4]) {
    let site = SiteId::new(site).unwrap();
    if door.running.hub.read(|estate| estate.sites().get(&site).is_none()) {
        let name = site.to_string();
        door.command(Command::Site(sites::Command::Create { id: site.clone(), name }));
    }
    let facts = Facts {
        id: DeviceId::new(id).unwrap(),
        subject: id.to_owned(),
        keys: vec![format!("serial/acme/{id}")],
        addresses: Some(vec![IpAddr::from(address)]),
        said: Vec::new(),
        first_seen: now(),
        last_seen: now(),
    };
    let (source, devices) = ("sensor".to_owned(), vec![facts]);
    door.command(Command::Device(devices::Command::Report { site, source, devices }));
}

#[test]
fn a_certificate_that_is_older_than_the_one_in_use_is_found_and_gets_no_other() {
    if !need("an older certificate", "curl", "curl") {
        return;
    }
    runtime().block_on(async {
        let folder = Folder::new();
        let door = Door::new(&folder, &["cam-1", "cam-2"]).await;
        enrolled(&door, "cam-1").await;
        fs::copy(door.file("cam-1.pem"), door.file("old.pem")).unwrap();
        let old = ["--cert", "old.pem", "--key", "cam-1.key"];
        // An answer that was lost: it comes again with the one that it has.
        for _ in 0..2 {
            let next = door.enrol("simplereenroll", "cam-1", &old).await;
            door.keep("cam-1", &next);
        }
        assert_eq!(door.found("cam-1"), [""; 0]);
        comes(&door, "cam-1", "cam-1", "127.0.0.1").await;
        let before = issued(&door);
        // Whoever has the old one now has a copy, or was put back: once in an hour. It is let in, and gets nothing.
        comes(&door, "cam-1", "old", "127.0.0.1").await;
        assert_eq!(door.found("cam-1"), [OLDER]);
        let said = what(&door, "cam-1");
        assert!(said.starts_with("127.0.0.1 shows certificate "), "{said}");
        door.request("other", &P256).await;
        for (operation, name) in
            [("simplereenroll", "cam-1"), ("simpleenroll", "cam-1"), ("simplereenroll", "other")]
        {
            let copy = door.enrol(operation, name, &old).await;
            assert_eq!(copy.status, 409, "{operation} {name}: {}", copy.text());
            assert!(copy.text().contains("its certificate is older than"), "{}", copy.text());
        }
        assert_eq!((door.found("cam-1").len(), issued(&door)), (1, before));
        // The journal has it over a restart.
        door.close().await;
        let door = Door::again(&folder).await;
        let copy = door.enrol("simplereenroll", "cam-1", &old).await;
        assert_eq!(copy.status, 409, "{}", copy.text());
        let own = ["--cert", "cam-1.pem", "--key", "cam-1.key"];
        let next = door.enrol("simplereenroll", "cam-1", &own).await;
        door.keep("cam-1", &next);
        assert_eq!((door.found("cam-1").len(), issued(&door)), (1, 1));
        door.close().await;
    });
}

#[test]
fn a_key_that_is_used_from_two_places_is_found_and_one_that_moves_is_not() {
    if !need("two places", "curl", "curl") {
        return;
    }
    runtime().block_on(async {
        let folder = Folder::new();
        let door = Door::new(&folder, &["cam-1", "cam-2", "cam-3", "cam-4"]).await;
        for name in ["cam-1", "cam-2", "cam-3", "cam-4"] {
            enrolled(&door, name).await;
        }
        let [a, b, c] = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];
        // It gets another address, and another one.
        for from in [a, a, b, b, c, c] {
            comes(&door, "cam-1", "cam-1", from).await;
        }
        assert_eq!(door.found("cam-1"), [""; 0]);
        for from in [a, b, a, b, a] {
            comes(&door, "cam-2", "cam-2", from).await;
        }
        assert_eq!(door.found("cam-2"), [TWICE], "once in an hour");
        let said = what(&door, "cam-2");
        assert!(
            said.contains("used from 127.0.0.2, from 127.0.0.3, and from the first again"),
            "{said}"
        );
        // An address proves nothing: it renews.
        let own = ["--cert", "cam-2.pem", "--key", "cam-2.key"];
        let next = door.enrol("simplereenroll", "cam-2", &own).await;
        door.keep("cam-2", &next);

        // Two connections at one time: one that lies idle is what is left of a move, two that speak are two.
        let chain = Certificate::read_all(&fs::read(door.file("cam-3.pem")).unwrap()).unwrap();
        let pem = fs::read(door.file("cam-3.key")).unwrap();
        let key = Arc::new(crypto::PrivateKey::from_pem(&pem).unwrap());
        let (server, root) = (format!("127.0.0.1:{}", door.port), door.authority.root().clone());
        let ask = |line: &mut Connection| {
            let path = "/.well-known/est/csrattrs";
            assert_eq!(line.ask("GET", path, &[], &[]).unwrap().status, 200);
        };
        let mut line = tokio::task::block_in_place(|| {
            let own = Credentials { chain, key };
            let mut line = Connection::open(&server, &root, Some(&own)).unwrap();
            ask(&mut line);
            line
        });
        comes(&door, "cam-3", "cam-3", b).await;
        assert_eq!(door.found("cam-3"), [""; 0]);
        tokio::task::block_in_place(|| ask(&mut line));
        assert_eq!(door.found("cam-3"), [TWICE]);
        drop(line);

        // At two sites that are known, both are named, and neither gets a certificate.
        told(&door, "shop", "shelf", [127, 0, 0, 2]);
        told(&door, "depot", "pump", [127, 0, 0, 3]);
        for from in [a, b, a] {
            comes(&door, "cam-4", "cam-4", from).await;
        }
        let said = what(&door, "cam-4");
        assert!(said.contains("from 127.0.0.2 (site shop), from 127.0.0.3 (site depot)"), "{said}");
        let before = issued(&door);
        let own = ["--cert", "cam-4.pem", "--key", "cam-4.key"];
        let copy = door.enrol("simplereenroll", "cam-4", &own).await;
        assert_eq!(copy.status, 409, "{}", copy.text());
        assert!(copy.text().contains("used at two sites within the hour"), "{}", copy.text());
        assert_eq!((issued(&door), door.found("cam-4")), (before, vec![TWICE.to_owned()]));
        door.close().await;
    });
}

/// What people are to look at, about nobody who is known.
fn at_door(door: &Door) -> Vec<AtDoor> {
    door.running.hub.read(|estate| estate.identities().at_door().cloned().collect())
}

/// The last line of a kind, and how often.
fn of(door: &Door, code: &str) -> Option<(String, u64)> {
    let all = at_door(door);
    all.into_iter().find(|one| one.code == code).map(|one| (one.what, one.times))
}

#[test]
fn a_stranger_who_is_refused_is_a_finding_of_the_door() {
    if !need("a stranger", "curl", "curl") {
        return;
    }
    runtime().block_on(async {
        let folder = Folder::new();
        let door = Door::new(&folder, &["cam-1"]).await;
        door.token("cam-1", "est-secret");
        let with = ["-u", "x:est-secret"];
        door.request("weak", &["rsa:1024"]).await;
        door.request("curve", &["ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"]).await;
        fs::write(door.file("text.b64"), b"this is no request").unwrap();
        fs::write(door.file("long.b64"), "QUFB".repeat(20_000)).unwrap();
        for (times, name, status, says) in [
            (1, "weak", 400, "too weak"),
            (2, "curve", 400, "the curve 1.3.132.0.10"),
            (3, "text", 400, "base64"),
            (4, "long", 413, "longer"),
        ] {
            let got = door.enrol("simpleenroll", name, &with).await;
            assert_eq!(got.status, status, "{name}: {}", got.text());
            assert!(got.text().contains(says), "{name}: {}", got.text());
            let (what, count) = of(&door, "identity.request").unwrap();
            assert!(what.starts_with("from 127.0.0.1: ") && what.contains(says), "{what}");
            assert_eq!(count, times);
        }
        // A token that was used is its device's; one that nobody knows is nobody's.
        for name in ["cam-1", "cam-2"] {
            door.request(name, &P256).await;
        }
        let first = door.enrol("simpleenroll", "cam-1", &with).await;
        door.keep("cam-1", &first);
        let used = door.enrol("simpleenroll", "cam-2", &with).await;
        assert_eq!(used.status, 401, "{}", used.text());
        assert!(used.text().contains("used by another key"), "{}", used.text());
        assert_eq!(door.found("cam-1"), ["identity.token"]);
        assert!(what(&door, "cam-1").contains("used by another key"));
        let guess = door.enrol("simpleenroll", "cam-2", &["-u", "x:guess"]).await;
        assert_eq!(guess.status, 401, "{}", guess.text());
        let (what, times) = of(&door, "identity.token").unwrap();
        assert_eq!(times, 1);
        assert!(
            what.starts_with("from 127.0.0.1: ") && what.contains("unknown, used up"),
            "{what}"
        );
        let from: Vec<_> = at_door(&door).into_iter().map(|one| one.from).collect();
        assert_eq!(from, [Some(IpAddr::from([127, 0, 0, 1])); 2]);
        // Whoever alone has the address is whom it concerns; two of shops that are built alike are not.
        told(&door, "shop", "shelf", [127, 0, 0, 1]);
        door.enrol("simpleenroll", "text", &with).await;
        assert_eq!(door.found("shelf"), ["identity.request"]);
        assert_eq!(of(&door, "identity.request").unwrap().1, 4);
        told(&door, "depot", "pump", [127, 0, 0, 1]);
        door.enrol("simpleenroll", "text", &with).await;
        assert_eq!((door.found("shelf").len(), door.found("pump").len()), (1, 0));
        assert_eq!(of(&door, "identity.request").unwrap().1, 5);
        // Those that are too many for an entry each are there together, when the door closes at the latest.
        for _ in 0..12 {
            door.enrol("simpleenroll", "cam-2", &["-u", "x:guess"]).await;
        }
        door.close().await;
        let door = Door::again(&folder).await;
        let (what, times) = of(&door, "identity.more-refused").unwrap();
        assert!(times >= 1 && what.contains("more refused from 127.0.0.1 "), "{times} {what}");
        door.close().await;
    });
}

/// A device whose maker's certificate is good from one year to another: `openssl x509` cannot say so, `openssl ca` can.
fn dated(maker: &Maker, name: &str, number: &str, years: [u16; 2]) -> [String; 4] {
    let ca = "[ca]\ndefault_ca=all\n[all]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\n\
        policy=any\nunique_subject=no\n[any]\norganizationName=optional\nserialNumber=optional\ncommonName=optional\n\
        [device]\nkeyUsage=critical,digitalSignature\n";
    for (file, text) in [("dated.cnf", ca), ("index", ""), ("serial", "1001")] {
        fs::write(maker.at(file), text).unwrap();
    }
    let subject = format!("/O=Axis/serialNumber={number}/CN=camera");
    let [key, csr, pem] = ["key", "csr", "pem"].map(|kind| format!("{name}.{kind}"));
    let mut request = vec!["req", "-new", "-nodes", "-newkey"];
    request.extend(P256);
    request.extend(["-subj", &subject, "-keyout", &key, "-out", &csr]);
    maker.openssl(&request);
    let [start, end] = years.map(|year| format!("{year}0101000000Z"));
    let sign = format!(
        "ca -batch -notext -config dated.cnf -extensions device -cert root.pem -keyfile root.key \
        -startdate {start} -enddate {end} -in {csr} -out {pem}"
    );
    maker.openssl(&sign.split_whitespace().collect::<Vec<_>>());
    let path = |name: &str| maker.at(name).to_str().unwrap().to_owned();
    ["--cert".to_owned(), path(&pem), "--key".to_owned(), path(&key)]
}

#[test]
fn a_makers_certificate_at_the_wrong_time_is_a_finding_that_says_so() {
    if !need("a maker's certificate", "curl", "curl") {
        return;
    }
    runtime().block_on(async {
        let (folder, maker) = (Folder::new(), Maker::new());
        let root = maker.at("root.pem");
        let door = Door::with(&folder, &["cam-1"], Some(("axis", &root))).await;
        let (maker_of, number) = ("axis".to_owned(), "ACCC8E000001".to_owned());
        let device = DeviceId::new("cam-1").unwrap();
        let expected = vec![identities::Expected { maker: maker_of, number, device }];
        door.command(Command::Identity(identities::Command::Expect { expected }));
        door.request("cam", &P256).await;
        let over = dated(&maker, "over", "ACCC8E000001", [2020, 2021]);
        let foreign = maker.device("ACCC8E000001", "other", "300");
        let early = dated(&maker, "early", "ACCC8E000001", [2049, 2050]);
        for (times, own, says) in [
            (1, &over, ["certificate ended at 2021-01-01T00:00:00", "and the clock here says "]),
            (2, &early, ["certificate begins at 2049-01-01T00:00:00", "and the clock here says "]),
            (3, &foreign, ["its certificate is refused", "UnknownIssuer"]),
        ] {
            let words: Vec<&str> = own.iter().map(String::as_str).collect();
            let got = door.enrol("simpleenroll", "cam", &words).await;
            assert_eq!(got.status, 0, "no handshake: {}", got.text());
            // The device hears of it before it is written down.
            let code = "identity.certificate";
            soon(|| of(&door, code).is_some_and(|(_, count)| count == times)).await;
            let (what, _) = of(&door, code).unwrap();
            assert!(says.iter().all(|part| what.contains(part)), "{what}");
        }
        assert_eq!((issued(&door), door.found("cam-1")), (0, Vec::new()));
        // One that nobody bought.
        let unknown = maker.device("ACCC8E000009", "sub", "300");
        let words: Vec<&str> = unknown.iter().map(String::as_str).collect();
        let got = door.enrol("simpleenroll", "cam", &words).await;
        assert_eq!(got.status, 403, "{}", got.text());
        let (what, _) = of(&door, "identity.unexpected").unwrap();
        assert!(what.contains("number ACCC8E000009 of axis is not expected"), "{what}");
        door.close().await;
    });
}
