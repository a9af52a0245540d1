//! Keys and secrets as inventory, through the API: whose, how old, when another one is due; and what is never told.

use std::collections::BTreeSet;

use estate::identities::Command;
use serde_json::{Value, json};

use crate::identities::{command, world};
use crate::{Folder, Running, start};

const KEY: &str = "000102030405060708090a0b0c0d0e0f";

/// All pages of a list.
async fn all(running: &Running, who: &str, query: &str, limit: usize) -> Vec<Value> {
    let (mut items, mut page) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/keys?limit={limit}{query}{page}");
        let answer = running.ask(who, "GET", &path, None).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let body = answer.json();
        let here = body["items"].as_array().unwrap();
        assert!(here.len() <= limit);
        items.extend(here.iter().cloned());
        match body["next"].as_str() {
            Some(next) => page = format!("&page={next}"),
            None => return items,
        }
    }
}

fn secret(device: &str, kind: &str, secret: &str) -> Value {
    json!({ "device": device, "kind": kind, "secret": secret })
}

async fn add(running: &Running, who: &str, secrets: Vec<Value>) -> crate::Answer {
    let body = json!({ "secrets": secrets, "why": "a test" });
    running.ask(who, "POST", "/v1/keys", Some(body)).await
}

#[tokio::test]
async fn every_key_has_an_owner_an_age_and_a_rotation() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    let host = running.host();
    let team = json!({ "name": "Metering", "contact": "metering@example.org", "escalate_after_min": 30, "why": "a test" });
    let made = running.ask(&host, "PUT", "/v1/teams/metering", Some(team)).await;
    assert!(made.status < 300, "{}", made.body);
    let owner = json!({ "set": { "owner": "metering" }, "why": "a test" });
    let owned = running.ask(&host, "PATCH", "/v1/devices/cam", Some(owner)).await;
    assert_eq!(owned.status, 200, "{}", owned.body);
    let old = json!({
        "device": "cam", "kind": "mqtt-password", "secret": "hunter2 and more", "name": "broker",
        "since": "2020-01-01T00:00:00Z", "rotate_days": 90,
    });
    let done = add(&running, &host, vec![secret("cam", "psk", KEY), old]).await;
    assert_eq!((done.status, &done.json()["new"]), (200, &json!(2)), "{}", done.body);
    running.authority.server(&["localhost".to_owned()], running.hub.now()).unwrap();

    let keys = all(&running, "viewer", "", 100).await;
    let kinds: Vec<&str> = keys.iter().map(|key| key["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["root", "issuing", "server", "psk", "mqtt-password"]);
    for key in &keys {
        let (since, age) = (key["since"].as_str(), key["age_days"].as_i64());
        assert!(since.is_some() && age.is_some_and(|days| days >= 0), "{key}");
        assert!(key["owner"].is_string() && key["rotate_by"].is_string(), "{key}");
    }
    assert_eq!((&keys[0]["owner"], &keys[0]["overdue"]), (&json!("security-admin"), &json!(false)));
    let broker = &keys[4];
    assert_eq!(broker["owner"], "metering");
    assert_eq!(broker["contact"], "metering@example.org");
    assert_eq!(
        (&broker["overdue"], &broker["rotate_by"]),
        (&json!(true), &json!("2020-03-31T00:00:00.000000Z"))
    );

    // Page by page it is the same list; filters leave out what they should.
    assert_eq!(all(&running, "viewer", "", 1).await, keys);
    assert_eq!(all(&running, "viewer", "&overdue=true", 1).await, keys[4..]);
    assert_eq!(all(&running, "viewer", "&kind=psk", 2).await, keys[3..4]);
    assert_eq!(all(&running, "viewer", "&owner=metering", 2).await, keys[3..]);
    assert_eq!(all(&running, "viewer", "&device=cam", 1).await, keys[3..]);
    assert_eq!(running.ask("viewer", "GET", "/v1/keys?kind=pks", None).await.status, 400);

    // No secret comes back, from nowhere: not from the list, not from the journal.
    let told: String = keys.iter().map(Value::to_string).collect();
    let journal = running.ask(&host, "GET", "/v1/journal/entries?limit=1000", None).await;
    assert_eq!(journal.status, 200);
    let digest = crypto::sha256(b"hunter2 and more").map(|b| format!("{b:02x}")).concat();
    for text in [told, journal.body] {
        assert!(!text.contains("hunter2") && !text.contains(KEY) && !text.contains(&digest));
    }
    let files: BTreeSet<_> = std::fs::read_dir(folder.0.join("pki"))
        .unwrap()
        .collect::<Result<Vec<_>, _>>()
        .unwrap()
        .into_iter()
        .map(|f| f.file_name())
        .collect();
    for name in
        files.iter().filter_map(|name| name.to_str()).filter(|name| name.ends_with(".key.pem"))
    {
        let bytes = std::fs::read(folder.0.join("pki").join(name)).unwrap();
        assert!(crypto::PrivateKey::is_sealed(&bytes), "{name}");
    }
}

#[tokio::test]
async fn secrets_are_rotated_ended_and_found_on_two_devices() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    let admin = "security-admin";
    assert_eq!(add(&running, admin, vec![secret("cam", "psk", KEY)]).await.json()["new"], 1);
    assert_eq!(add(&running, admin, vec![secret("cam", "psk", KEY)]).await.json()["new"], 0);
    // All of it, or nothing; and the secret is in no answer.
    for (wrong, code) in [
        (secret("cam", "psk", "00112233"), "request.invalid"),
        (secret("cam", "pks", KEY), "request.invalid"),
        (secret("nobody", "psk", KEY), "device.unknown"),
        (secret("cam", "psk", "ffffffffffffffffffffffffffffffff"), "identity.secret"),
    ] {
        let answer =
            add(&running, admin, vec![secret("gw", "psk", "aa".repeat(16).as_str()), wrong]).await;
        assert_eq!(answer.problem().1, code, "{}", answer.body);
        assert!(!answer.body.contains("00112233") && !answer.body.contains("ffffff"));
    }
    assert_eq!(all(&running, admin, "&kind=psk", 10).await.len(), 1);

    // Proved, it shows something, until another device turns out to have it.
    let digests = controller::secrets::Digests::open(&running.state).unwrap();
    let digest = digests.of(&controller::secrets::key_of(KEY).unwrap());
    let until = running.hub.now().plus_nanos(3_600_000_000_000);
    let prove = Command::ProveSecret { name: "cam".to_owned(), secret: digest, until };
    command(&running, estate::Command::Identity(prove));
    let stands = async || running.ask(admin, "GET", "/v1/devices/cam/identity", None).await.json();
    let cam = stands().await;
    assert_eq!(
        (&cam["level"], &cam["proof"]),
        (&json!("shared-secret"), &json!("secret")),
        "{cam}"
    );
    assert!(cam["because"].as_str().unwrap().contains("pre-shared key"), "{cam}");
    let listed = all(&running, admin, "&kind=psk", 10).await;
    assert_eq!(listed[0]["proved_until"], cam["until"]);

    let shared = add(&running, admin, vec![secret("gw", "psk", KEY)]).await.json();
    assert_eq!(stands().await["level"], "observed");
    assert!(
        shared["findings"][0].as_str().unwrap().contains("2 devices have the same secret"),
        "{shared}"
    );
    let found = running.ask(admin, "GET", "/v1/identities/findings", None).await.json();
    assert_eq!(found["items"][0]["code"], "identity.secret-shared");
    let states = all(&running, admin, "&kind=psk", 10).await;
    assert!(states.iter().all(|key| key["state"] == "shared"), "{states:?}");

    let new = json!({ "secret": secret("gw", "psk", &"ab".repeat(16)), "why": "a test" });
    assert_eq!(running.ask(admin, "POST", "/v1/keys/rotate", Some(new)).await.status, 200);
    assert!(all(&running, admin, "&kind=psk", 10).await.iter().all(|key| key["state"] == "good"));
    let end = json!({ "device": "gw", "kind": "psk", "why": "a test" });
    assert_eq!(running.ask(admin, "POST", "/v1/keys/end", Some(end.clone())).await.status, 204);
    assert_eq!(running.ask(admin, "POST", "/v1/keys/end", Some(end)).await.status, 404);
    assert_eq!(all(&running, admin, "&kind=psk", 10).await.len(), 1);
}

#[tokio::test]
async fn each_site_is_for_its_own_people_and_only_some_change_anything() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    let host = running.host();
    let both = vec![secret("cam", "psk", KEY), secret("far", "psk", &"ab".repeat(16))];
    assert_eq!(add(&running, &host, both).await.status, 200);
    let devices = |keys: Vec<Value>| -> Vec<String> {
        keys.iter().filter_map(|key| key["device"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(devices(all(&running, "viewer@w1", "", 1).await), ["cam"]);
    assert_eq!(devices(all(&running, "security-admin@w2", "", 1).await), ["far"]);
    assert_eq!(devices(all(&running, "viewer@w1", "&device=far", 1).await), Vec::<String>::new());
    let foreign = add(&running, "security-admin@w2", vec![secret("cam", "oscore", KEY)]).await;
    assert_eq!(foreign.problem().1, "device.unknown");
    for who in ["viewer", "operator"] {
        let refused = add(&running, who, vec![secret("cam", "oscore", KEY)]).await;
        assert_eq!(refused.status, 403, "{}", refused.body);
        let end = json!({ "device": "cam", "kind": "psk", "why": "a test" });
        assert_eq!(running.ask(who, "POST", "/v1/keys/end", Some(end)).await.status, 403);
    }
    assert_eq!(running.ask("", "GET", "/v1/keys", None).await.status, 401);
    // A device that is retired has no keys any more.
    let retire = json!({ "why": "a test" });
    assert!(running.ask(&host, "POST", "/v1/devices/cam/retire", Some(retire)).await.status < 300);
    assert_eq!(devices(all(&running, "viewer", "", 10).await), ["far"]);
}
