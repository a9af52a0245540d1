//! Releases over the API: who may add and withdraw them, what is no release, what stays after a restart; and files from before there was a catalogue.

use estate::identities::{Attestation, Command, How, Octets, Tpm};
use serde_json::{Value, json};

use crate::identities::{command, device, digest, enrolment, world};
use crate::{Folder, Running, start};

const PATH: &str = "/v1/releases";

fn document(version: &str, values: &[&str]) -> String {
    let values: Vec<String> = values.iter().map(|digits| digits.repeat(32)).collect();
    json!({
        "schema": "ringfence.reference/v1", "vendor": "Acme", "model": "X1", "firmware": version,
        "values": { "0": values },
    })
    .to_string()
}

fn adding(document: &str) -> Value {
    json!({ "document": document, "why": "measured in the lab" })
}

fn size(running: &Running) -> u64 {
    running.hub.read(estate::Estate::size)
}

#[tokio::test]
async fn a_release_is_added_shown_replaced_and_withdrawn_on_the_record() {
    let folder = Folder::new();
    let id = {
        let running = start(&folder);
        let good = document("2.4", &["ab", "CD"]);
        for who in ["viewer", "operator", "policy-admin", "security-admin@w1"] {
            let refused = running.ask(who, "POST", PATH, Some(adding(&good))).await;
            assert_eq!(refused.status, 403, "{who}");
        }
        let with = |change: &dyn Fn(&mut Value)| {
            let mut other: Value = serde_json::from_str(&good).unwrap();
            change(&mut other);
            other.to_string()
        };
        for (wrong, code) in [
            (String::new(), "request.invalid"),
            ("{}".to_owned(), "request.invalid"),
            (with(&|d| d["values"]["0"][0] = json!("abc")), "request.invalid"),
            (with(&|d| d["schema"] = json!("ringfence.reference/v2")), "request.invalid"),
            (with(&|d| d["values"] = json!({ "24": ["ab".repeat(32)] })), "release.register"),
            (with(&|d| d["vendor"] = json!("")), "release.malformed"),
            (with(&|d| d["firmware"] = json!("\u{1b}[1m")), "release.malformed"),
            (with(&|d| d["values"]["0"] = json!([])), "release.register"),
            (" ".repeat((4 << 20) + 1), "request.invalid"),
        ] {
            let refused = running.ask("security-admin", "POST", PATH, Some(adding(&wrong))).await;
            assert_eq!(refused.problem().1, code, "{wrong:.200}: {}", refused.body);
        }
        let long = json!({ "document": " ".repeat(9 << 20), "why": "x" });
        let long = running.ask("security-admin", "POST", PATH, Some(long)).await;
        assert_eq!(long.problem(), (413, "request.too-large".to_owned()));
        let nothing = json!({ "document": good, "why": "" });
        let nothing = running.ask("security-admin", "POST", PATH, Some(nothing)).await;
        assert_eq!(nothing.problem().1, "request.invalid");
        assert_eq!(running.ask("viewer", "GET", PATH, None).await.json()["items"], json!([]));

        let made = running.ask("security-admin", "POST", PATH, Some(adding(&good))).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let first = made.json();
        let digest = estate::side::Digest(crypto::sha256(good.as_bytes())).to_string();
        assert_eq!((&first["document_sha256"], &first["values"]), (&json!(digest), &json!(2)));
        assert_eq!(first["registers"]["0"]["allowed"][1], "cd".repeat(32));
        let before = size(&running);
        let same = running.ask("security-admin", "POST", PATH, Some(adding(&good))).await;
        assert_eq!((same.status, &same.json()["id"]), (200, &first["id"]));
        assert_eq!(size(&running), before, "nothing is written twice");
        let other = document("2.4", &["ef"]);
        let refused = running.ask("security-admin", "POST", PATH, Some(adding(&other))).await;
        assert_eq!(refused.problem(), (409, "release.exists".to_owned()));
        let mut replacing = adding(&other);
        replacing["replaces"] = first["id"].clone();
        let second = running.ask("security-admin", "POST", PATH, Some(replacing)).await;
        assert_eq!(second.status, 201, "{}", second.body);
        let id = second.json()["id"].as_str().unwrap().to_owned();
        let gone = format!("{PATH}/{}", first["id"].as_str().unwrap());
        let gone = running.ask("viewer@w1", "GET", &gone, None).await.json();
        assert_eq!((&gone["state"], &gone["replaced_by"]), (&json!("withdrawn"), &json!(id)));
        assert_eq!((&gone["values"], &gone["registers"]), (&json!(2), &json!({})));

        let path = format!("{PATH}/{id}/withdraw");
        let why = || Some(json!({ "why": "the maker recalled it" }));
        for who in ["viewer", "operator", "security-admin@w1"] {
            assert_eq!(running.ask(who, "POST", &path, why()).await.status, 403, "{who}");
        }
        let unknown = format!("{PATH}/rel-nothing/withdraw");
        let unknown = running.ask("security-admin", "POST", &unknown, why()).await;
        assert_eq!(unknown.problem(), (404, "release.unknown".to_owned()));
        let stale = [("If-Match", "\"1\"")];
        let stale = running.ask_with("security-admin", "POST", &path, why(), &stale).await;
        assert_eq!(stale.problem(), (412, "request.stale".to_owned()));
        let done = running.ask("security-admin", "POST", &path, why()).await;
        assert_eq!((done.status, &done.json()["state"]), (200, &json!("withdrawn")));
        let before = size(&running);
        assert_eq!(running.ask("security-admin", "POST", &path, why()).await.status, 200);
        assert_eq!(size(&running), before, "it is so already");
        let third =
            running.ask("admin", "POST", PATH, Some(adding(&document("2.5", &["ab"])))).await;
        assert_eq!(third.status, 201, "{}", third.body);
        running.hub.snapshot().unwrap();
        id
    };
    let running = start(&folder);
    let listed = |query: &str| format!("{PATH}{query}");
    let ids = |answer: Value| answer["items"].as_array().unwrap().len();
    for (query, count) in [
        ("", 3),
        ("?state=withdrawn", 2),
        ("?state=current&vendor=Acme&model=X1", 1),
        ("?vendor=Other", 0),
        ("?limit=2", 2),
    ] {
        let answer = running.ask("viewer", "GET", &listed(query), None).await;
        assert_eq!(ids(answer.json()), count, "{query}");
    }
    let shown = running.ask("viewer", "GET", &format!("{PATH}/{id}"), None).await.json();
    assert_eq!(shown["withdrawn_because"], "the maker recalled it");
    assert!(shown["withdrawn_by"].as_str().unwrap().contains('/'));
    let entry = running.hub.entry(shown["entry"].as_u64().unwrap()).unwrap().unwrap();
    assert_eq!(
        (entry.why.as_str(), entry.command.name.as_str()),
        ("measured in the lab", "release")
    );
    let unknown = running.ask("viewer", "GET", &listed("/rel-nothing"), None).await;
    assert_eq!(unknown.problem(), (404, "release.unknown".to_owned()));
}

#[test]
fn files_from_before_become_releases_of_the_controller_once() {
    let folder = Folder::new();
    let running = start(&folder);
    let write = |name: &str, text: &str| {
        running.state.write(&format!("references/{name}"), text.as_bytes(), 0o644).unwrap();
    };
    let import = || {
        let mut told = Vec::new();
        let mut tell = |line: &str| told.push(line.to_owned());
        controller::releases::import(&running.hub, &running.state, &mut tell).unwrap();
        told
    };
    assert!(import().is_empty(), "there is no such folder");
    write("a.json", &document("2.4", &["ab"]));
    write("b.json", &document("2.4", &["cd"]));
    write("c.json", "{");
    write("d.json", &document("2.5", &["ab"]));
    write("notes.txt", "no release");
    let told = import();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].contains("a.json is in the catalogue now, as rel-"), "{told:?}");
    assert!(
        told[1].contains("b.json is not taken") && told[1].contains("other values"),
        "{told:?}"
    );
    assert!(told[2].contains("c.json is not taken"), "{told:?}");
    let of = |version: &str| {
        running.hub.read(|estate| {
            let current = estate.releases().current("Acme", "X1", version);
            current.map(|release| release.id.clone())
        })
    };
    let first = of("2.4").unwrap();
    let by = running.hub.read(|e| e.releases().get(&first).unwrap().by.clone());
    assert_eq!((by.kind.as_str(), by.id.as_str()), ("controller", "controller"));
    // The next start, and one after somebody withdrew it, bring nothing back.
    let before = size(&running);
    assert_eq!(import().len(), 2, "what is wrong is told again");
    assert_eq!(size(&running), before);
    let withdraw = |id: &str| {
        let (id, reason) = (id.to_owned(), "recalled".to_owned());
        let command = estate::releases::Command::Withdraw { id, reason };
        let me = controller::hub::itself().unwrap();
        let command = estate::Command::Release(command);
        running.hub.command(&me, "a test", command, Default::default()).unwrap();
    };
    withdraw(&of("2.5").unwrap());
    import();
    assert_eq!(of("2.5"), None);
    assert_eq!(of("2.4"), Some(first));
}

/// A device whose key is in a TPM, and which was attested by a release.
fn attested(running: &Running, id: &str, release: &str) {
    let (now, secret) = (running.hub.now(), digest("token"));
    let later = |seconds: i64| now.plus_nanos(seconds * 1_000_000_000);
    let token = Command::IssueToken { device: device(id), secret, expires_at: later(3_600) };
    command(running, estate::Command::Identity(token));
    let (public, name) = (Octets(vec![1; 90]), Octets(vec![0; 34]));
    let (ek, ak) = (digest("ek"), digest("ak"));
    let how =
        How::Tpm { tpm: Box::new(Tpm { ek, ak, public, name, maker: None }), token: Some(secret) };
    let batch = vec![enrolment(id, "key", 1, later(20 * 86_400), how)];
    command(running, estate::Command::Identity(Command::Enrol { batch }));
    let attestation = Attestation {
        key: digest("key"),
        quote: digest("quote"),
        ak,
        reset_count: 1,
        restart_count: 0,
        clock_ms: 1,
        firmware: Octets(vec![0; 8]),
        until: later(3_600),
    };
    let (device, release) = (device(id), release.to_owned());
    command(running, estate::Command::Identity(Command::Attest { device, attestation, release }));
}

#[tokio::test]
async fn who_looks_at_a_device_sees_what_attested_it_and_what_it_says_itself() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    let made = running.ask("admin", "POST", PATH, Some(adding(&document("2.4", &["ab"])))).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    attested(&running, "cam", &id);
    let word = estate::devices::OwnWord {
        field: estate::devices::Field::Firmware,
        value: "2.5".to_owned(),
        detail: String::new(),
    };
    let said = estate::devices::Command::SelfReport { device: device("cam"), said: vec![word] };
    command(&running, estate::Command::Device(said));
    let path = "/v1/devices/cam/identity";
    let shown = running.ask("viewer@w1", "GET", path, None).await.json();
    assert_eq!((&shown["level"], &shown["firmware"]), (&json!("attested"), &json!("2.5")));
    let by = &shown["attestation"]["release"];
    assert_eq!(
        (&by["id"], &by["version"], &by["state"]),
        (&json!(id), &json!("2.4"), &json!("current"))
    );
    let withdraw = format!("{PATH}/{id}/withdraw");
    let done = running.ask("admin", "POST", &withdraw, Some(json!({ "why": "recalled" }))).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let shown = running.ask("viewer@w1", "GET", path, None).await.json();
    assert_eq!((&shown["level"], &shown["limit"]), (&json!("hardware-key"), &json!("freshness")));
    assert_eq!(shown["attestation"]["release"]["state"], "withdrawn");
    assert_eq!(shown["attestation"]["counts"], false);
    let because = shown["because"].as_str().unwrap();
    assert!(because.contains("was withdrawn: recalled"), "{because}");
    let device = running.ask("viewer@w1", "GET", "/v1/devices/cam", None).await.json();
    let own = &device["firmware"];
    assert_eq!((&own["source"], &own["value"]), (&json!("agent"), &json!("2.5")));
    assert_eq!(device["otherwise"], json!({}));
    // Whoever sees something else is believed, and its own word is there all the same.
    let seen = json!({ "field": "firmware", "value": "2.4", "confidence": 60, "at": "2026-01-02T00:00:00Z" });
    let report = json!({
        "do": "report", "site": "w1", "source": "sensor",
        "devices": [{
            "id": "cam", "subject": "cam", "said": [seen],
            "first_seen": "2026-01-01T00:00:00Z", "last_seen": "2026-01-02T00:00:00Z",
        }],
    });
    command(&running, estate::Command::Device(serde_json::from_value(report).unwrap()));
    let device = running.ask("viewer@w1", "GET", "/v1/devices/cam", None).await.json();
    assert_eq!(device["firmware"]["value"], "2.4");
    let other = &device["otherwise"]["firmware"][0];
    assert_eq!((&other["source"], &other["value"]), (&json!("agent"), &json!("2.5")));
}
