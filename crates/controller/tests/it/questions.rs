//! What waits for a person, what each answer does, and that it is not asked again.

use std::collections::BTreeSet;

use estate::{Command, devices};
use serde_json::{Value, json};

use crate::{Folder, Running, start};

fn told(running: &Running, site: &str, devices: &Value) {
    let report = json!({ "do": "report", "site": site, "source": "sensor", "devices": devices });
    let command = Command::Device(serde_json::from_value::<devices::Command>(report).unwrap());
    let me = controller::hub::itself().unwrap();
    running.hub.command(&me, "a test", command, BTreeSet::new()).unwrap();
}

fn facts(id: &str, keys: &[&str], day: u8) -> Value {
    json!({
        "id": id, "subject": id, "keys": keys, "first_seen": "2026-01-01T00:00:00Z",
        "last_seen": format!("2026-02-{day:02}T00:00:00Z"),
        "said": [{ "field": "model", "value": "P-17", "confidence": 90, "at": "2026-01-01T00:00:00Z" }],
    })
}

const A: &str = "mac/00:80:f4:00:00:0a";
const B: &str = "mac/00:80:f4:00:00:0b";

/// Two devices of which one shows an identifier of the other, and one that is retired and seen again.
async fn world(running: &Running) {
    let host = running.host();
    for site in ["w1", "w2"] {
        let body = json!({ "id": site, "name": site, "why": "a test" });
        assert!(running.ask(&host, "POST", "/v1/sites", Some(body)).await.status < 300);
    }
    told(running, "w1", &json!([facts("a", &[A], 1), facts("b", &[B], 1), facts("gone", &[], 1)]));
    confuse(running, 2);
    let retired = json!({ "why": "scrapped" });
    let path = "/v1/devices/gone/retire";
    assert_eq!(running.ask("operator", "POST", path, Some(retired)).await.status, 200);
    seen_again(running, 3);
}

fn confuse(running: &Running, day: u8) {
    told(running, "w1", &json!([facts("a", &[A, B], day)]));
}

fn seen_again(running: &Running, day: u8) {
    told(running, "w1", &json!([facts("gone", &[], day)]));
}

async fn questions(running: &Running, who: &str, query: &str) -> Vec<Value> {
    let answer = running.ask(who, "GET", &format!("/v1/questions?{query}"), None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["items"].as_array().unwrap().clone()
}

async fn one(running: &Running, kind: &str) -> Value {
    let all = questions(running, "viewer", &format!("kind={kind}")).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0].clone()
}

/// Does what a choice says.
async fn choose(running: &Running, who: &str, question: &Value, choice: &str) -> crate::Answer {
    let mut choices = question["choices"].as_array().unwrap().iter();
    let chosen = choices.find(|c| c["choice"] == choice).unwrap_or_else(|| panic!("{question:#}"));
    let mut body = chosen["request"]["body"].clone();
    body["why"] = json!("looked at it");
    let text = |name: &str| chosen["request"][name].as_str().unwrap().to_owned();
    running.ask(who, &text("method"), &text("path"), Some(body)).await
}

#[tokio::test]
async fn each_question_has_evidence_an_age_and_choices() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    let all = questions(&running, "viewer", "").await;
    let kinds: Vec<&str> = all.iter().map(|q| q["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["back", "no-owner", "not-enrolled", "not-enrolled", "same-device"]);
    let same = &all[4];
    assert_eq!((&same["devices"], &same["site"]), (&json!(["a", "b"]), &json!("w1")));
    let evidence = same["evidence"].to_string();
    assert!(
        evidence.contains(A) && evidence.contains(B) && evidence.contains("the same: model"),
        "{evidence}"
    );
    for question in [same, &all[0]] {
        assert!(question["age_s"].as_i64().unwrap() < 600, "{question}");
        assert!(question["since"].is_string());
    }
    let unowned = one(&running, "no-owner").await;
    assert!(unowned["what"].as_str().unwrap().contains("2 devices at w1"), "{unowned}");
    // In pages, one by one, and by id.
    let (mut page, mut ids) = (String::new(), Vec::new());
    loop {
        let answer = running
            .ask("viewer", "GET", &format!("/v1/questions?limit=2{page}"), None)
            .await
            .json();
        assert_eq!(answer["total"], json!(all.len()), "of all pages");
        ids.extend(answer["items"].as_array().unwrap().iter().map(|q| q["id"].clone()));
        match answer["next"].as_str() {
            Some(next) => page = format!("&page={next}"),
            None => break,
        }
    }
    assert_eq!(ids, all.iter().map(|q| q["id"].clone()).collect::<Vec<_>>());
    let by_id =
        questions(&running, "viewer", &format!("id={}", same["id"].as_str().unwrap())).await;
    assert_eq!(by_id, std::slice::from_ref(same));
    // Who is for another site is asked nothing of this one.
    let other = questions(&running, "viewer@w2", "").await;
    assert_eq!(other.iter().map(|q| q["id"].clone()).collect::<Vec<_>>(), ["not-enrolled-w2"]);
    // What is counted is what is asked for, by whoever sees it.
    for (who, query, total) in [
        ("viewer", "kind=not-enrolled&limit=1", 2),
        ("viewer", "kind=approval", 0),
        ("viewer@w2", "limit=1", 1),
        ("viewer@w2", "kind=back", 0),
    ] {
        let answer = running.ask(who, "GET", &format!("/v1/questions?{query}"), None).await;
        assert_eq!(answer.json()["total"], json!(total), "{who} {query}");
    }
}

#[tokio::test]
async fn records_that_are_kept_apart_are_not_asked_about_again() {
    let folder = Folder::new();
    {
        let running = start(&folder);
        world(&running).await;
        let same = one(&running, "same-device").await;
        for who in ["viewer", "operator@w2"] {
            assert!(matches!(choose(&running, who, &same, "apart").await.status, 403 | 404));
        }
        assert_eq!(choose(&running, "operator@w1", &same, "apart").await.status, 200);
        confuse(&running, 4);
        assert!(questions(&running, "viewer", "kind=same-device").await.is_empty());
    }
    // After a start from the journal, and from a snapshot.
    for _ in 0..2 {
        let running = start(&folder);
        confuse(&running, 5);
        assert!(questions(&running, "viewer", "kind=same-device").await.is_empty());
        let device = running.ask("viewer", "GET", "/v1/devices/a", None).await.json();
        assert_eq!(device["confused_with"], json!([]));
        running.hub.snapshot().unwrap();
    }
}

#[tokio::test]
async fn records_of_one_device_are_merged_and_a_cut_is_not_lost_by_it() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    let same = one(&running, "same-device").await;
    let cut = json!({ "set": { "posture": "quarantined" }, "why": "it scans" });
    let cut = running.ask("security-admin", "PATCH", "/v1/devices/b", Some(cut)).await;
    assert_eq!(cut.status, 200);
    let refused = choose(&running, "operator", &same, "merge").await;
    assert_eq!(refused.problem(), (403, "access.role".to_owned()));
    let merged = choose(&running, "security-admin", &same, "merge").await;
    assert_eq!(merged.status, 200, "{}", merged.body);
    let device = running.ask("viewer", "GET", "/v1/devices/b", None).await.json();
    assert_eq!((&device["id"], &device["posture"]["value"]), (&json!("a"), &json!("quarantined")));
    assert_eq!(device["aliases"], json!(["b"]));
    assert!(questions(&running, "viewer", "kind=same-device").await.is_empty());
    let again = choose(&running, "security-admin", &same, "merge").await;
    assert_eq!(again.problem(), (409, "device.merged".to_owned()));
    let nobody = json!({ "other": "nobody", "why": "x" });
    let nobody = running.ask("operator", "POST", "/v1/devices/a/merge", Some(nobody)).await;
    assert_eq!(nobody.problem(), (404, "device.unknown".to_owned()));
}

#[tokio::test]
async fn a_device_that_is_back_returns_or_stays_retired() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    let back = one(&running, "back").await;
    assert_eq!(choose(&running, "viewer", &back, "return").await.status, 403);
    assert_eq!(choose(&running, "operator", &back, "keep-retired").await.status, 200);
    assert!(questions(&running, "viewer", "kind=back").await.is_empty());
    // It is seen once more, and asked about once more.
    seen_again(&running, 6);
    let back = one(&running, "back").await;
    let done = choose(&running, "operator", &back, "return").await;
    assert_eq!((done.status, &done.json()["state"]), (200, &json!("active")), "{}", done.body);
    assert!(questions(&running, "viewer", "kind=back").await.is_empty());
    let again = choose(&running, "operator", &back, "return").await;
    assert_eq!(again.problem(), (409, "device.not-retired".to_owned()));
}
