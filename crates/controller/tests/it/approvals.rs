//! What takes two people.

use serde_json::{Value, json};

use crate::{Answer, Folder, Running, sample, start};

async fn apply(running: &Running, who: &str, body: &Value, approval: Option<&str>) -> Answer {
    let headers: Vec<(&str, &str)> =
        approval.map(|id| ("Ringfence-Approval", id)).into_iter().collect();
    running.ask_with(who, "PUT", "/v1/policy", Some(body.clone()), &headers).await
}

async fn edit(running: &Running, who: &str, body: &Value, approval: Option<&str>) -> Answer {
    let headers: Vec<(&str, &str)> =
        approval.map(|id| ("Ringfence-Approval", id)).into_iter().collect();
    running.ask_with(who, "POST", "/v1/devices/edit", Some(body.clone()), &headers).await
}

async fn answer(running: &Running, who: &str, id: &str, approve: bool) -> Answer {
    let body = json!({ "approve": approve, "why": "looked at it" });
    running.ask(who, "POST", &format!("/v1/approvals/{id}"), Some(body)).await
}

/// A policy admin and a security admin beside those that `ask` makes.
async fn people(running: &Running) {
    for role in ["viewer", "operator", "policy-admin", "security-admin", "admin", "operator@w1"] {
        running.bearer(role).await;
    }
}

#[tokio::test]
async fn a_cut_of_many_devices_takes_a_second_person_and_is_done_once() {
    let folder = Folder::new();
    let running = start(&folder);
    people(&running).await;
    let first = json!({ "files": sample(), "why": "the first folder" });
    assert_eq!(apply(&running, "policy-admin", &first, None).await.status, 200);
    running.auth.set_approval_above(3);

    let cut = json!({ "l": "state=active", "set": { "posture": "quarantined" }, "why": "worm" });
    // Few are cut at once.
    let page = running.ask("viewer", "GET", "/v1/devices?limit=4", None).await.json();
    let ids: Vec<&Value> = page["items"].as_array().unwrap().iter().map(|d| &d["id"]).collect();
    let few = json!({ "ids": &ids[..3], "labels": { "checked": "yes" }, "why": "inventory" });
    assert_eq!(edit(&running, "operator", &few, None).await.status, 200);

    let asked = edit(&running, "security-admin", &cut, None).await;
    assert_eq!((asked.status, &asked.json()["state"]), (202, &json!("pending")));
    let id = asked.json()["id"].as_str().unwrap().to_owned();
    let again = edit(&running, "security-admin", &cut, None).await;
    assert_eq!(again.json()["id"], json!(id), "asked once");
    let early = edit(&running, "security-admin", &cut, Some(&id)).await;
    assert_eq!(early.problem(), (409, "approval.not-approved".to_owned()));

    // Who asked cannot, nor who may not cut, nor who is for one site, nor a token.
    assert_eq!(
        answer(&running, "security-admin", &id, true).await.problem(),
        (403, "approval.same-person".to_owned())
    );
    assert_eq!(
        answer(&running, "operator", &id, true).await.problem(),
        (403, "approval.role".to_owned())
    );
    assert_eq!(answer(&running, "operator@w1", &id, true).await.status, 404);
    let make = json!({ "label": "bot", "roles": ["admin"], "why": "bot" });
    let bot = running.ask("admin", "POST", "/v1/tokens", Some(make)).await.json();
    assert_eq!(answer(&running, bot["token"].as_str().unwrap(), &id, true).await.status, 403);
    let yes = answer(&running, "admin", &id, true).await;
    assert_eq!((yes.status, &yes.json()["state"]), (200, &json!("approved")));

    // Not for somebody else, not for another change.
    let other = (409, "approval.other".to_owned());
    assert_eq!(edit(&running, "admin", &cut, Some(&id)).await.problem(), other);
    let more = json!({ "l": "state=active", "set": { "posture": "watched" }, "why": "worm" });
    assert_eq!(edit(&running, "security-admin", &more, Some(&id)).await.problem(), other);
    let done = edit(&running, "security-admin", &cut, Some(&id)).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(done.json()["selected"], done.json()["changed"]);
    let twice = edit(&running, "security-admin", &cut, Some(&id)).await;
    assert_eq!(twice.problem(), (409, "approval.not-approved".to_owned()));
    let list = running.ask("viewer", "GET", "/v1/approvals", None).await.json();
    assert_eq!(
        (list["items"].as_array().unwrap().len(), &list["items"][0]["state"]),
        (1, &json!("concluded"))
    );
}

#[tokio::test]
async fn a_policy_for_many_devices_takes_a_second_person() {
    let folder = Folder::new();
    let running = start(&folder);
    people(&running).await;
    let first = json!({ "files": sample(), "why": "the first folder" });
    assert_eq!(apply(&running, "policy-admin", &first, None).await.status, 200);
    running.auth.set_approval_above(3);

    let parent = running.ask("admin", "GET", "/v1/policy", None).await.json()["content"].clone();
    let mut next = json!({ "files": sample(), "parent": parent, "why": "a comment" });
    let tests = next["files"]["estate.toml"].as_str().unwrap().to_owned();
    next["files"]["estate.toml"] = json!(format!("{tests}\n# a comment\n"));
    let mut broken = next.clone();
    broken["files"]["estate.toml"] = json!("format = 7\n");
    let refused = apply(&running, "policy-admin", &broken, None).await;
    assert_eq!(refused.problem(), (422, "policy.faults".to_owned()), "nobody is asked for that");

    let mut other = next.clone();
    other["parent"] = json!("0".repeat(64));
    let refused = apply(&running, "policy-admin", &other, None).await;
    assert_eq!(refused.problem(), (409, "policy.parent".to_owned()), "nor for that");

    let asked = apply(&running, "policy-admin", &next, None).await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    assert_eq!(asked.json()["command"]["files"], json!(["estate.toml"]));
    let id = asked.json()["id"].as_str().unwrap().to_owned();
    // Taken back by who asked, it is not to be had any more; asked again it is another one.
    assert_eq!(
        answer(&running, "policy-admin", &id, false).await.json()["state"],
        json!("rejected")
    );
    let gone = apply(&running, "policy-admin", &next, Some(&id)).await;
    assert_eq!(gone.problem(), (409, "approval.not-approved".to_owned()));
    let id = apply(&running, "policy-admin", &next, None).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(answer(&running, "admin", &id, true).await.status, 200);
    let done = apply(&running, "policy-admin", &next, Some(&id)).await;
    assert_eq!((done.status, &done.json()["number"]), (200, &json!(2)), "{}", done.body);

    // This machine's own token waits for nobody.
    let host = running.host();
    let parent = &done.json()["content"];
    let back = json!({ "files": sample(), "parent": parent, "why": "back" });
    assert_eq!(apply(&running, &host, &back, None).await.status, 200);
}

#[tokio::test]
async fn many_are_retired_all_or_none_and_very_many_take_a_second_person() {
    let folder = Folder::new();
    let running = start(&folder);
    people(&running).await;
    let first = json!({ "files": sample(), "why": "the first folder" });
    assert_eq!(apply(&running, "policy-admin", &first, None).await.status, 200);
    let retire = async |who: &str, body: &Value, approval: Option<&str>| {
        let headers: Vec<(&str, &str)> =
            approval.map(|id| ("Ringfence-Approval", id)).into_iter().collect();
        running.ask_with(who, "POST", "/v1/devices/retire", Some(body.clone()), &headers).await
    };
    let size = running.hub.read(estate::Estate::size);
    for (body, status) in [
        (json!({ "why": "x" }), 400),
        (json!({ "l": "colour=red", "why": "x" }), 400),
        (json!({ "l": "type=toaster", "why": "x" }), 404),
        (json!({ "ids": ["camera", "nobody"], "why": "x" }), 404),
        (json!({ "ids": ["camera"], "why": "" }), 400),
        (json!({ "ids": ["camera"] }), 422),
    ] {
        let answer = retire("operator", &body, None).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
    let nvrs = json!({ "l": "type=nvr", "why": "scrapped" });
    assert_eq!(retire("viewer", &nvrs, None).await.status, 403);
    let mut dry = nvrs.clone();
    dry["dry_run"] = json!(true);
    let dry = retire("operator", &dry, None).await;
    assert_eq!((dry.status, dry.json()), (200, json!({ "selected": 2, "changed": 0 })));
    assert_eq!(running.hub.read(estate::Estate::size), size, "nothing was written");

    running.auth.set_approval_above(1);
    let asked = retire("operator", &nvrs, None).await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    let wants = &asked.json()["command"];
    assert_eq!((&wants["change"], &wants["devices"]), (&json!("retire"), &json!(2)));
    let id = asked.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(answer(&running, "admin", &id, true).await.status, 200);
    let other = json!({ "l": "type=ip-camera", "why": "scrapped" });
    let other = retire("operator", &other, Some(&id)).await;
    assert_eq!(other.problem(), (409, "approval.other".to_owned()));
    let done = retire("operator", &nvrs, Some(&id)).await;
    assert_eq!((done.status, done.json()), (200, json!({ "selected": 2, "changed": 2 })));
    let again = retire("operator", &nvrs, None).await;
    assert_eq!((again.status, again.json()), (200, json!({ "selected": 2, "changed": 0 })));
}
