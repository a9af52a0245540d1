//! Operators and tokens: adding, changing, disabling, erasing; what tokens are worth.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use controller::auth::Auth;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{Answer, Folder, Running, start};

async fn add(running: &Running, who: &str, login: &str, roles: &[&str]) -> Answer {
    let body = json!({
        "login": login, "name": login, "contact": null, "roles": roles, "why": "a test",
    });
    running.ask(who, "POST", "/v1/operators", Some(body)).await
}

async fn change(running: &Running, path: &str, change: Value) -> Answer {
    let mut body = change;
    body["why"] = json!("a test");
    running.ask("admin", "PATCH", path, Some(body)).await
}

fn path_of(answer: &Answer) -> String {
    format!(
        "/v1/operators/{}",
        answer.json()["id"].as_str().unwrap_or_else(|| panic!("{}", answer.body))
    )
}

#[tokio::test]
async fn logins_are_unique_whatever_their_capitals() {
    let folder = Folder::new();
    let running = start(&folder);
    let bob = add(&running, "admin", "bob", &["viewer"]).await;
    assert_eq!(bob.status, 201, "{}", bob.body);
    let size = running.hub.read(estate::Estate::size);
    let taken = (409, "operator.login-taken".to_owned());
    assert_eq!(add(&running, "admin", "BOB", &["viewer"]).await.problem(), taken);
    for (login, roles, status) in
        [("a b", vec!["viewer"], 422), ("eve", vec![], 422), ("eve", vec!["king"], 422)]
    {
        assert_eq!(add(&running, "admin", login, &roles).await.status, status, "{login}");
    }
    assert_eq!(running.hub.read(estate::Estate::size), size, "nothing of that is in the journal");

    // A login that was given up is free; one's own can get other capitals.
    let path = path_of(&bob);
    assert_eq!(change(&running, &path, json!({ "login": "admin" })).await.problem(), taken);
    assert_eq!(change(&running, &path, json!({ "login": "Bob" })).await.status, 200);
    assert_eq!(change(&running, &path, json!({ "login": "robert" })).await.status, 200);
    assert_eq!(add(&running, "admin", "bob", &["viewer"]).await.status, 201);
    drop(running);
    let running = start(&folder);
    assert_eq!(add(&running, "admin", "Robert", &["viewer"]).await.problem(), taken);
}

#[tokio::test]
async fn a_refused_change_leaves_no_record_behind() {
    let folder = Folder::new();
    let running = start(&folder);
    let made = add(&running, "admin", "eve", &[]).await;
    assert_eq!(made.problem(), (422, "grant.empty".to_owned()));
    drop(running);
    // What is there is named, so the next start finds nothing to erase.
    let running = start(&folder);
    assert!(!running.notes.iter().any(|note| note.contains("erased")), "{:?}", running.notes);
    // What a broken-off change left is erased.
    drop(running);
    let side = store::side::Side::open(&folder.0.join("people.db")).unwrap();
    side.put("rec-left-over", &[7; 32], b"Eve").unwrap();
    drop(side);
    let running = start(&folder);
    assert!(running.notes.iter().any(|note| note.contains("erased")), "{:?}", running.notes);
}

#[tokio::test]
async fn an_operator_is_changed_whole_or_not_at_all() {
    let folder = Folder::new();
    let running = start(&folder);
    let made = add(&running, "admin", "bob", &["viewer"]).await;
    let path = path_of(&made);
    let stale = running
        .ask_with(
            "admin",
            "PATCH",
            &path,
            Some(json!({ "enabled": false, "why": "x" })),
            &[("if-match", "\"1\"")],
        )
        .await;
    assert_eq!(stale.status, 412);
    let both = json!({ "name": "Robert", "roles": ["operator"], "sites": ["w1", "w2"] });
    let done = change(&running, &path, both).await.json();
    assert_eq!((&done["name"], &done["sites"]), (&json!("Robert"), &json!(["w1", "w2"])));
    assert_ne!(done["etag"], json!(made.etag));
    // Roles alone leave the sites alone; null takes the bound away.
    let done = change(&running, &path, json!({ "roles": ["viewer"] })).await.json();
    assert_eq!(done["sites"], json!(["w1", "w2"]));
    let done = change(&running, &path, json!({ "sites": null })).await.json();
    assert_eq!((&done["sites"], &done["roles"]), (&Value::Null, &json!(["viewer"])));

    // The last admin stays one, and nothing else of that change is done.
    let admin = format!("/v1/operators/{}", running.operator("admin").await.unwrap());
    let size = running.hub.read(estate::Estate::size);
    let both = json!({ "name": "Nobody", "enabled": false });
    let last = change(&running, &admin, both).await;
    assert_eq!(last.problem(), (409, "operator.last-admin".to_owned()));
    assert_eq!(running.hub.read(estate::Estate::size), size);
    let same = running.ask("admin", "GET", &admin, None).await.json();
    assert_eq!((&same["name"], &same["enabled"]), (&json!("admin"), &json!(true)));
}

#[tokio::test]
async fn who_is_disabled_and_their_tokens_can_do_nothing_from_then_on() {
    let folder = Folder::new();
    let running = start(&folder);
    let session = running.bearer("operator").await;
    let token = make_token(&running, "operator", json!(["viewer"])).await;
    let path = format!("/v1/operators/{}", running.operator("operator").await.unwrap());
    for bearer in [&session, &token] {
        assert_eq!(running.ask(bearer, "GET", "/v1/devices", None).await.status, 200);
    }
    let request = Request::builder().uri("/v1/events");
    let request = request.header(header::AUTHORIZATION, format!("Bearer {session}"));
    let live = running.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(live.status(), 200);
    let mut live = live.into_body();
    assert_eq!(change(&running, &path, json!({ "enabled": false })).await.status, 200);
    for bearer in [&session, &token] {
        assert_eq!(running.ask(bearer, "GET", "/v1/devices", None).await.status, 401);
    }
    let told = tokio::time::timeout(Duration::from_secs(60), live.frame()).await.unwrap();
    assert!(told.is_none(), "what is told ends too: {told:?}");
    // Back again: the token is worth something again, the session is not.
    assert_eq!(change(&running, &path, json!({ "enabled": true })).await.status, 200);
    assert_eq!(running.ask(&session, "GET", "/v1/devices", None).await.status, 401);
    assert_eq!(running.ask(&token, "GET", "/v1/devices", None).await.status, 200);

    let erase = |path: String| {
        let (running, body) = (&running, json!({ "why": "left" }));
        async move { running.ask("admin", "POST", &format!("{path}/erase"), Some(body)).await }
    };
    assert_eq!(erase(path.clone()).await.problem(), (409, "operator.enabled".to_owned()));
    assert_eq!(change(&running, &path, json!({ "enabled": false })).await.status, 200);
    for _ in 0..2 {
        let gone = erase(path.clone()).await;
        assert_eq!((gone.status, &gone.json()["profile"]), (200, &json!("erased")));
        assert_eq!(gone.json()["login"], Value::Null);
    }
    assert_eq!(add(&running, "admin", "operator", &["viewer"]).await.status, 201, "it is free");
}

async fn make_token(running: &Running, who: &str, roles: Value) -> String {
    let body = json!({ "label": "ci", "roles": roles, "why": "ci" });
    let made = running.ask(who, "POST", "/v1/tokens", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.json()["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_is_worth_no_more_than_it_was_made_for_nor_than_its_operator() {
    let folder = Folder::new();
    let running = start(&folder);
    let above = json!({ "label": "ci", "roles": ["admin"], "why": "ci" });
    let above = running.ask("operator", "POST", "/v1/tokens", Some(above)).await;
    assert_eq!(above.problem(), (403, "token.above-maker".to_owned()));
    let token = make_token(&running, "operator", json!(["viewer"])).await;
    assert_eq!(running.ask(&token, "GET", "/v1/devices", None).await.status, 200);
    let team = json!({ "name": "N", "contact": "n", "escalate_after_min": 30, "why": "x" });
    assert_eq!(running.ask(&token, "PUT", "/v1/teams/n", Some(team)).await.status, 403);
    let more = json!({ "label": "more", "roles": ["viewer"], "why": "x" });
    let more = running.ask(&token, "POST", "/v1/tokens", Some(more)).await;
    assert_eq!(more.status, 403, "a token makes no token");

    // Of an admin: it takes over nobody.
    let admin = make_token(&running, "admin", json!(["admin"])).await;
    assert_eq!(add(&running, &admin, "eve", &["admin"]).await.status, 403);
    assert_eq!(running.ask(&admin, "GET", "/v1/operators", None).await.status, 200);

    // One sees and revokes one's own; an admin everybody's.
    let list = |who: &'static str| {
        let running = &running;
        async move {
            let list = running.ask(who, "GET", "/v1/tokens", None).await.json();
            list["items"].as_array().unwrap().clone()
        }
    };
    let own = list("operator").await;
    assert_eq!((own.len(), list("viewer").await.len(), list("admin").await.len()), (1, 0, 2));
    let path = format!("/v1/tokens/{}", own[0]["id"].as_str().unwrap());
    assert_eq!(running.ask("viewer", "DELETE", &path, None).await.status, 403);
    assert_eq!(running.ask("operator", "DELETE", &path, None).await.status, 204);
    assert_eq!(running.ask(&token, "GET", "/v1/devices", None).await.status, 401);
    assert_eq!(list("operator").await[0]["live"], json!(false));
    // For one site it stays there.
    let body = json!({ "label": "w1", "roles": ["viewer"], "sites": ["w2"], "why": "x" });
    let beyond = running.ask("operator@w1", "POST", "/v1/tokens", Some(body)).await;
    assert_eq!(beyond.problem(), (403, "token.above-maker".to_owned()));
}

#[tokio::test]
async fn the_use_of_a_token_is_noted_once() {
    let folder = Folder::new();
    let running = start(&folder);
    let token = make_token(&running, "operator", json!(["viewer"])).await;
    let mut changes = running.hub.watch();
    let size = running.hub.read(estate::Estate::size);
    for _ in 0..20 {
        assert_eq!(running.ask(&token, "GET", "/v1/devices", None).await.status, 200);
    }
    let told = tokio::time::timeout(Duration::from_secs(60), changes.recv()).await;
    let told = told.unwrap().unwrap();
    assert_eq!(told.who.kind.as_str(), "token");
    let list = running.ask("operator", "GET", "/v1/tokens", None).await.json();
    assert!(list["items"][0]["used_at"].is_string(), "{list}");
    assert_eq!(running.hub.read(estate::Estate::size), size + 1);
}

#[test]
fn a_side_store_of_another_journal_is_not_emptied() {
    let folder = Folder::new();
    let running = start(&folder);
    let (hub, state) = (running.hub.clone(), &running.state);
    assert!(
        matches!(Auth::open(hub, state, &mut |_| ()), Err(controller::auth::AuthError::Side(_))),
        "one process at a time"
    );
    drop(running);
    let side = store::side::Side::open(&folder.0.join("people.db")).unwrap();
    side.put("rec-somebody", &[7; 32], b"somebody").unwrap();
    drop(side);
    for file in ["journal.db", "journal.db-wal", "journal.db-shm", "signed"] {
        let _ = std::fs::remove_file(folder.0.join(file));
    }
    let _ = std::fs::remove_dir_all(folder.0.join("log"));
    let state = controller::state::StateFolder::open(&folder.0).unwrap();
    let hub = controller::Hub::open(&state, "ringfence.example/test", crate::now, &mut |_| ());
    let opened = Auth::open(std::sync::Arc::new(hub.unwrap()), &state, &mut |_| ());
    assert!(matches!(opened, Err(controller::auth::AuthError::Foreign(_))), "{opened:?}");
    let side = store::side::Side::open(&folder.0.join("people.db")).unwrap();
    assert!(matches!(side.get("rec-somebody").unwrap(), store::side::Record::Kept { .. }));
}
