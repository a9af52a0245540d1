//! A policy folder becomes devices, decisions and bundles; people decide; everything is there again after a restart.

use std::future::Future as _;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use tower::ServiceExt as _;

use crate::{Folder, Running, sample, start};

async fn apply(running: &Running) {
    let body = json!({ "files": sample(), "origin": "sample", "why": "the first folder" });
    let set = running.ask("policy-admin", "PUT", "/v1/policy", Some(body)).await;
    assert_eq!(set.status, 200, "{}", set.body);
    running.pdp.settle("policy", running.hub.now()).unwrap();
}

#[tokio::test]
async fn a_folder_becomes_devices_leases_and_bundles() {
    let folder = Folder::new();
    let running = start(&folder);
    apply(&running).await;

    let page = running.ask("viewer", "GET", "/v1/devices?limit=3", None).await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
    let rest = format!("/v1/devices?limit=1000&page={}", page["next"].as_str().unwrap());
    let rest = running.ask("viewer", "GET", &rest, None).await.json();
    let total = 3 + rest["items"].as_array().unwrap().len();
    assert_eq!(total, running.hub.read(|estate| estate.devices().len()));

    let leases = running.ask("viewer", "GET", "/v1/leases?granted=true", None).await.json();
    let lease = &leases["items"][0];
    let replay = format!("/v1/decisions/{}/replay", lease["decision"].as_str().unwrap());
    let replay = running.ask("viewer", "GET", &replay, None).await.json();
    assert_eq!(replay["same"], json!(true), "{replay}");

    for site in running.hub.read(|e| e.sites().iter().map(|s| s.id.clone()).collect::<Vec<_>>()) {
        let bundle = running.pdp.bundle(&site).unwrap();
        assert_eq!(bundle.generation, 1);
        controller::pdp::check(&bundle.files, crate::now())
            .unwrap_or_else(|faults| panic!("{site}: {faults:?}"));
        for later in [&bundle.expired, &bundle.stale] {
            controller::pdp::check(&later.over(&bundle.files), crate::now())
                .unwrap_or_else(|faults| panic!("{site}: {faults:?}"));
        }
    }
    // Nothing changed, so nothing is decided and nothing is offered.
    let size = running.hub.read(estate::Estate::size);
    running.pdp.settle("sweep", running.hub.now()).unwrap();
    assert_eq!(running.hub.read(estate::Estate::size), size);
}

#[tokio::test]
async fn a_quarantine_takes_the_lease_and_the_bundle_follows() {
    let folder = Folder::new();
    let running = start(&folder);
    apply(&running).await;
    let leases = running.ask("viewer", "GET", "/v1/leases?granted=true", None).await.json();
    let (id, site) = (
        leases["items"][0]["device"].as_str().unwrap(),
        leases["items"][0]["site"].as_str().unwrap(),
    );
    let path = format!("/v1/devices/{id}");
    let before = running.ask("operator", "GET", &path, None).await;
    let cut = json!({ "set": { "posture": "quarantined" }, "why": "it scans" });

    // Who looks after devices does not cut them off.
    assert_eq!(running.ask("operator", "PATCH", &path, Some(cut.clone())).await.status, 403);
    let stale = running
        .ask_with("security-admin", "PATCH", &path, Some(cut.clone()), &[("if-match", "\"0\"")])
        .await;
    assert_eq!(stale.status, 412, "{}", stale.body);
    let done = running
        .ask_with("security-admin", "PATCH", &path, Some(cut), &[("if-match", &before.etag)])
        .await;
    assert_eq!((done.status, &done.json()["posture"]["decided"]), (200, &json!(true)));
    running.pdp.settle("device", running.hub.now()).unwrap();

    let lease = running.ask("viewer", "GET", &format!("/v1/leases?device={id}"), None).await.json();
    assert_eq!(lease["items"][0]["granted"], json!(false));
    let site = model::SiteId::new(site).unwrap();
    assert_eq!(running.pdp.bundle(&site).unwrap().generation, 2);

    let history = running.ask("viewer", "GET", &format!("{path}/history"), None).await.json();
    assert_eq!(history["items"][0]["why"], json!("it scans"));
    assert_eq!(history["items"][0]["events"][0]["event"], json!("edited"));
}

#[tokio::test]
async fn everything_is_there_again_after_a_restart() {
    let folder = Folder::new();
    let (before, content) = {
        let running = start(&folder);
        apply(&running).await;
        running.hub.publish().unwrap();
        let team = json!({ "name": "Night", "contact": "night@example.com", "escalate_after_min": 30, "why": "shifts" });
        assert_eq!(running.ask("operator", "PUT", "/v1/teams/night", Some(team)).await.status, 200);
        (running.hub.read(Clone::clone), running.pdp.files().unwrap().0)
    };
    let running = start(&folder);
    assert!(running.hub.read(|estate| *estate == before), "the fold of the journal is the estate");
    assert_eq!(running.pdp.files().unwrap().0, content);
    running.hub.snapshot().unwrap();
    drop(running);
    let running = start(&folder);
    assert!(running.hub.read(|estate| *estate == before), "and so is the snapshot");
    // Sites get the same generation again, not a new one for the same content.
    running.pdp.settle("start", running.hub.now()).unwrap();
    assert!(running.hub.read(|e| {
        e.sites().iter().all(|s| s.intended.as_ref().is_some_and(|b| b.generation == 1))
    }));
}

#[tokio::test]
async fn bad_input_is_a_problem_with_what_why_and_what_to_do() {
    let folder = Folder::new();
    let running = start(&folder);
    running.bearer("policy-admin").await;
    let size = running.hub.read(estate::Estate::size);
    let mut files = sample();
    files.insert("estate.toml".to_owned(), "format = 7\n".to_owned());
    let body = json!({ "files": files, "why": "broken" });
    let broken = running.ask("policy-admin", "PUT", "/v1/policy", Some(body)).await;
    assert_eq!((broken.status, &broken.json()["code"]), (422, &json!("policy.faults")));
    assert_eq!(running.hub.read(estate::Estate::size), size, "none of it is taken");

    apply(&running).await;
    let again = json!({ "files": sample(), "parent": "0".repeat(64), "why": "from an old copy" });
    let mut changed = again.clone();
    changed["files"]["tests.toml"] = json!("# none\n");
    let conflict = running.ask("policy-admin", "PUT", "/v1/policy", Some(changed)).await;
    assert_eq!((conflict.status, &conflict.json()["code"]), (409, &json!("policy.parent")));
    for (path, status, code) in [
        ("/v1/devices?l=colour=red", 400, "request.invalid"),
        ("/v1/devices?limit=0", 400, "request.invalid"),
        ("/v1/devices?page=zz", 400, "request.invalid"),
        ("/v1/devices/none", 404, "device.unknown"),
        ("/v1/decisions/none", 404, "decision.unknown"),
        ("/v1/journal/entries/999999", 404, "journal.entry"),
    ] {
        let answer = running.ask("admin", "GET", path, None).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{path}");
    }
    // Somebody for one site sees nothing of another.
    let there = running.ask("viewer@w2", "GET", "/v1/devices?limit=1000", None).await.json();
    assert!(there["items"].as_array().unwrap().iter().all(|device| device["site"] == "w2"));
    // And does nothing to what belongs to all.
    let team =
        json!({ "name": "Night", "contact": "night", "escalate_after_min": 30, "why": "mine" });
    assert_eq!(running.ask("operator@w2", "PUT", "/v1/teams/night", Some(team)).await.status, 403);
    assert_eq!(running.ask("viewer@w2", "GET", "/v1/journal/entries/0", None).await.status, 403);
    assert_eq!(running.ask("viewer@w2", "GET", "/v1/policy", None).await.status, 403);
    let set = json!({ "files": sample(), "why": "mine" });
    assert_eq!(running.ask("policy-admin@w2", "PUT", "/v1/policy", Some(set)).await.status, 403);
}

#[tokio::test]
async fn a_request_that_comes_again_is_done_once_also_when_its_answer_was_lost() {
    let folder = Folder::new();
    let running = start(&folder);
    let token = running.bearer("security-admin").await;
    let post = |id: &str| {
        let body = json!({ "id": id, "name": id, "why": "a new shop" });
        let request = Request::builder().method("POST").uri("/v1/sites");
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/json");
        let request = request.header("idempotency-key", "one").body(Body::from(body.to_string()));
        running.router.clone().oneshot(request.unwrap())
    };
    // Whoever asked goes away at once.
    let mut lost = Box::pin(post("north"));
    let waker = std::task::Waker::noop();
    assert!(lost.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    drop(lost);
    let again = loop {
        let again = post("north").await.unwrap();
        if again.status() != 409 {
            break again;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(again.status(), 201);
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(post("south").await.unwrap().status(), 422, "one key, two things");
    assert_eq!(running.hub.read(|estate| estate.sites().iter().count()), 1);
}
