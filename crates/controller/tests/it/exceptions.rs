//! Exceptions: refused where they may not be, open at a site while they last, and really gone when they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use controller::blobs::Files;
use controller::pdp::Bundle;
use model::{SiteId, Timestamp};
use serde_json::{Value, json};

use crate::{Answer, Folder, Running, now, sample, start, start_at};

/// Seconds that have passed besides.
static PASSED: AtomicI64 = AtomicI64::new(0);

fn clock() -> Timestamp {
    now().plus_nanos(PASSED.load(Ordering::SeqCst) * 1_000_000_000)
}

/// The sample, of which only what the camera needs is open, with addresses.
fn files(exceptions: &str) -> Files {
    let mut files = sample();
    let estate = files.get_mut("estate.toml").unwrap();
    let devices =
        ["camera", "nvr", "wms", "label", "handheld", "crane", "station", "nvr-2", "label-2"];
    for (n, id) in devices.into_iter().enumerate() {
        let line = format!("[[device]]\nid = \"{id}\"\n");
        let with =
            format!("{line}macs = [\"00:1b:1b:00:00:0{n}\"]\naddresses = [\"10.0.0.{}\"]\n", n + 1);
        assert!(estate.contains(&line));
        *estate = estate.replace(&line, &with);
    }
    let permit = "@id(\"own\")\n@reason(\"x\")\npermit (principal in Zone::\"w1/cameras\", action, resource == Service::\"nvr-web\");\n";
    files.insert("policies/local.cedar".to_owned(), permit.to_owned());
    let deny = "[[deny]]\nfrom = \"station\"\nto = \"crane-modbus\"\nbecause = \"the crane is being moved\"\n";
    files.insert("tests.toml".to_owned(), deny.to_owned());
    let claim =
        "[[claim]]\nid = \"apart\"\nfrom = \"printers\"\nnever = \"servers\"\nbecause = \"x\"\n";
    files.insert("claims.toml".to_owned(), claim.to_owned());
    files.insert("exceptions.toml".to_owned(), exceptions.to_owned());
    files
}

fn line(id: &str, expires: Timestamp) -> String {
    format!(
        "[[exception]]\nid = \"{id}\"\nfrom = \"handheld\"\nto = \"label-print\"\nowner = \"team\"\nreason = \"a fair\"\nexpires = \"{expires}\"\n"
    )
}

async fn apply(running: &Running, files: Files) -> Answer {
    let parent = running.ask("viewer", "GET", "/v1/policy", None).await;
    let parent = if parent.status == 200 { parent.json()["content"].clone() } else { Value::Null };
    let body = json!({ "files": files, "parent": parent, "why": "a folder" });
    let set = running.ask("policy-admin", "PUT", "/v1/policy", Some(body)).await;
    if set.status == 200 {
        running.pdp.settle("policy", running.hub.now()).unwrap();
    }
    set
}

async fn set(running: &Running, exceptions: &str) {
    let set = apply(running, files(exceptions)).await;
    assert_eq!(set.status, 200, "{}", set.body);
}

fn wanted() -> Value {
    json!({ "from": "handheld", "to": "wms-web", "owner": "team", "for_s": 3_600, "why": "inventory night" })
}

fn with(change: &[(&str, Value)]) -> Value {
    let mut body = wanted();
    for (name, value) in change {
        match value {
            Value::Null => drop(body.as_object_mut().unwrap().remove(*name)),
            value => body[*name] = value.clone(),
        }
    }
    body
}

async fn add(running: &Running, who: &str, body: &Value) -> Answer {
    running.ask(who, "POST", "/v1/exceptions", Some(body.clone())).await
}

async fn made(running: &Running, body: &Value) -> String {
    let made = add(running, "policy-admin", body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.json()["exception"]["id"].as_str().unwrap().to_owned()
}

async fn end(running: &Running, who: &str, id: &str) -> Answer {
    let body = json!({ "why": "done" });
    running.ask(who, "POST", &format!("/v1/exceptions/{id}/end"), Some(body)).await
}

async fn get(running: &Running, id: &str) -> Value {
    let answer = running.ask("viewer", "GET", &format!("/v1/exceptions/{id}"), None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn bundle(running: &Running) -> Arc<Bundle> {
    running.pdp.settle("test", running.hub.now()).unwrap();
    running.pdp.bundle(&SiteId::new("w1").unwrap()).unwrap()
}

/// Exceptions that a site is sent, after it has compiled them as it does.
fn sent(files: &Files) -> Vec<String> {
    let folder = policy::folder::parse(files).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let ruleset = policy::compile::ruleset(&folder, 1, None).unwrap();
    ruleset.exceptions.into_iter().map(|e| e.name).collect()
}

#[tokio::test]
async fn what_may_not_be_is_refused_and_changes_nothing() {
    let folder = Folder::new();
    let running = start(&folder);
    for role in [
        "viewer",
        "operator",
        "security-admin",
        "policy-admin@w1",
        "policy-admin@w2",
        "policy-admin",
        "admin",
    ] {
        running.bearer(role).await;
    }
    let nothing = add(&running, "policy-admin", &wanted()).await;
    assert_eq!(nothing.problem(), (404, "device.unknown".to_owned()));
    set(&running, "").await;
    let size = running.hub.read(estate::Estate::size);
    let in_past = running.hub.now().plus_nanos(-1_000_000_000).to_string();
    let too_far = running.hub.now().plus_nanos(91 * 86_400 * 1_000_000_000).to_string();
    let all = [
        (vec![("from", json!("nobody"))], 404, "device.unknown"),
        (vec![("from", json!("\u{1b}"))], 404, "device.unknown"),
        (vec![("to", json!("nothing"))], 404, "service.unknown"),
        (vec![("to", json!(""))], 404, "service.unknown"),
        (vec![("owner", json!("strangers"))], 404, "team.unknown"),
        (vec![("owner", json!(""))], 404, "team.unknown"),
        (vec![("owner", Value::Null)], 422, "request.body"),
        (vec![("why", json!(""))], 400, "request.invalid"),
        (vec![("why", json!(" "))], 422, "exception.reason"),
        (vec![("why", Value::Null)], 422, "request.body"),
        (vec![("for_s", Value::Null)], 422, "exception.endless"),
        (vec![("for_s", json!(0))], 422, "exception.over"),
        (vec![("for_s", json!(7_776_001))], 422, "exception.too-long"),
        (vec![("until", json!(too_far))], 422, "exception.endless"),
        (vec![("for_s", Value::Null), ("until", json!("never"))], 400, "request.invalid"),
        (vec![("for_s", Value::Null), ("until", json!(in_past))], 422, "exception.over"),
        (vec![("for_s", Value::Null), ("until", json!(too_far))], 422, "exception.too-long"),
        (
            vec![("for_s", Value::Null), ("until", json!("2200-01-01T00:00:00Z"))],
            422,
            "exception.too-long",
        ),
        (vec![("from", json!("camera")), ("to", json!("label-print"))], 422, "exception.refused"),
        (vec![("from", json!("label"))], 422, "exception.refused"),
        (vec![("from", json!("camera-keyed")), ("to", json!("cloud"))], 422, "exception.refused"),
    ];
    for (n, (change, status, code)) in all.into_iter().enumerate() {
        // Nobody has so many turns at once.
        let who = if n < 10 { "policy-admin" } else { "admin" };
        let answer = add(&running, who, &with(&change)).await;
        assert_eq!(answer.problem(), (status, code.to_owned()), "{change:?}: {}", answer.body);
    }
    let why = |answer: Answer| answer.json()["detail"].as_str().unwrap().to_owned();
    let body = with(&[("from", json!("camera")), ("to", json!("label-print"))]);
    assert!(
        why(add(&running, "policy-admin", &body).await).contains("no exception lifts a forbid")
    );
    let why = why(add(&running, "policy-admin", &with(&[("from", json!("label"))])).await);
    assert!(why.starts_with("claims.toml:"), "{why}");
    // A test is about policies: it is told, and no more.
    let change =
        [("from", json!("station")), ("to", json!("crane-modbus")), ("dry_run", json!(true))];
    let told = add(&running, "policy-admin", &with(&change)).await.json();
    assert_eq!(told["plan"]["refused"], json!([]));
    assert!(told["against"][0].as_str().unwrap().contains("must be denied"), "{told}");
    for who in ["viewer", "operator", "security-admin"] {
        assert_eq!(add(&running, who, &wanted()).await.problem(), (403, "access.role".to_owned()));
    }
    // Whoever is for another site does not know the device; and one's own may not be let into others.
    let stranger = add(&running, "policy-admin@w2", &wanted()).await;
    assert_eq!(stranger.problem(), (404, "device.unknown".to_owned()));
    let elsewhere = with(&[("to", json!("label-2-print"))]);
    assert_eq!(add(&running, "policy-admin@w1", &elsewhere).await.problem().0, 403);
    let stale = [("If-Match", "\"1\"")];
    let stale =
        running.ask_with("policy-admin", "POST", "/v1/exceptions", Some(wanted()), &stale).await;
    assert_eq!(stale.problem(), (412, "request.stale".to_owned()));
    let unknown = end(&running, "policy-admin", "exc-nothing").await;
    assert_eq!(unknown.problem(), (404, "exception.unknown".to_owned()));
    let try_out = add(&running, "policy-admin", &with(&[("dry_run", json!(true))])).await;
    assert_eq!(try_out.status, 200, "{}", try_out.body);
    assert_eq!(try_out.json()["plan"]["opened"]["pairs"], json!(1), "{}", try_out.body);
    assert_eq!(try_out.json()["exception"], Value::Null);
    assert_eq!(running.hub.read(estate::Estate::size), size, "nothing was written");
}

#[tokio::test]
async fn one_is_open_at_its_site_until_somebody_ends_it() {
    let folder = Folder::new();
    let running = start(&folder);
    set(&running, "").await;
    // A team that no folder declares, and that owns a device: the site has to understand what it is sent.
    let team = json!({ "name": "Night", "contact": "night@example.com", "escalate_after_min": 30, "escalate_to": null, "why": "x" });
    assert_eq!(running.ask("admin", "PUT", "/v1/teams/night", Some(team)).await.status, 200);
    let owned = json!({ "set": { "owner": "night" }, "why": "x" });
    assert_eq!(
        running.ask("admin", "PATCH", "/v1/devices/handheld", Some(owned)).await.status,
        200
    );
    let before = bundle(&running);
    assert!(sent(&before.files).is_empty());
    let key = [("Idempotency-Key", "night-1")];
    let body = with(&[("owner", json!("night"))]);
    let first =
        running.ask_with("policy-admin", "POST", "/v1/exceptions", Some(body.clone()), &key).await;
    assert_eq!(first.status, 201, "{}", first.body);
    let again =
        running.ask_with("policy-admin", "POST", "/v1/exceptions", Some(body.clone()), &key).await;
    assert_eq!(again.body, first.body, "it is made once");
    let id = first.json()["exception"]["id"].as_str().unwrap().to_owned();
    let twice = add(&running, "policy-admin", &body).await;
    assert_eq!(twice.problem(), (409, "exception.exists".to_owned()));

    let opened = bundle(&running);
    assert!(opened.generation > before.generation);
    assert_eq!(sent(&opened.files), [id.as_str()]);
    // What holds when the line is cut can be compiled too, and opens nothing for what is not critical.
    for later in [&opened.expired, &opened.stale] {
        assert!(sent(&later.over(&opened.files)).is_empty());
    }
    let shown = get(&running, &id).await;
    assert_eq!(shown["state"], "expiring");
    assert_eq!((&shown["source"], &shown["host"]), (&json!("controller"), &json!("wms")));
    assert!(shown["left_s"].as_i64().unwrap() > 3_500 && shown["made_by"].is_string(), "{shown}");
    // What is told of reach may be a second old.
    let end_by = now().plus_nanos(60_000_000_000);
    loop {
        let why = "/v1/reach/why?device=handheld&service=wms-web";
        let why = running.ask("viewer", "GET", why, None).await.json();
        if why["decided"]["id"] == json!(id) {
            break;
        }
        assert!(now() < end_by, "{why}");
    }

    // Who answers for it stays while it lasts.
    let team = running.ask("admin", "DELETE", "/v1/teams/night", None).await;
    assert_eq!(team.problem(), (409, "team.owns".to_owned()));
    // Another folder does not take it away, and one that forbids it closes it.
    let mut other = files("");
    other.insert("policies/more.cedar".to_owned(), "@id(\"more\")\n@reason(\"x\")\nforbid (principal, action, resource == Service::\"wms-web\");\n".to_owned());
    assert_eq!(apply(&running, other).await.status, 200);
    assert!(sent(&bundle(&running).files).is_empty());
    let shown = get(&running, &id).await;
    assert_eq!(shown["state"], "not-in-force");
    assert!(shown["why_not"].as_str().unwrap().contains("`more`"), "{shown}");
    set(&running, "").await;
    assert_eq!(sent(&bundle(&running).files), [id.as_str()]);
    // A device that is cut off takes it with it, and the rest of the bundle is as good as before.
    let cut = json!({ "set": { "posture": "quarantined" }, "why": "scans" });
    assert_eq!(running.ask("admin", "PATCH", "/v1/devices/handheld", Some(cut)).await.status, 200);
    assert!(sent(&bundle(&running).files).is_empty());
    let back = json!({ "set": { "posture": null }, "why": "clean" });
    assert_eq!(running.ask("admin", "PATCH", "/v1/devices/handheld", Some(back)).await.status, 200);
    assert_eq!(sent(&bundle(&running).files), [id.as_str()]);

    for who in ["viewer", "operator", "security-admin"] {
        assert_eq!(end(&running, who, &id).await.status, 403);
    }
    let path = format!("/v1/exceptions/{id}/end");
    let body = Some(json!({ "why": "done" }));
    let stale = [("If-Match", "\"1\"")];
    let stale = running.ask_with("policy-admin", "POST", &path, body.clone(), &stale).await;
    assert_eq!(stale.problem(), (412, "request.stale".to_owned()));
    let etag = shown_etag(&running, &id).await;
    let seen = [("If-Match", &*etag)];
    let ended = running.ask_with("policy-admin", "POST", &path, body, &seen).await;
    assert_eq!((ended.status, &ended.json()["state"]), (200, &json!("ended")), "{}", ended.body);
    assert_eq!(ended.json()["left_s"], json!(0));
    assert!(sent(&bundle(&running).files).is_empty());
    assert_eq!(end(&running, "policy-admin", &id).await.status, 200, "it is over already");
    // Who, what and why are in the journal.
    let entries =
        running.ask("security-admin", "GET", "/v1/journal/entries?limit=1000", None).await;
    assert!(entries.body.contains("exception.added") && entries.body.contains("exception.ended"));
    assert!(entries.body.contains("inventory night"));
}

async fn shown_etag(running: &Running, id: &str) -> String {
    running.ask("viewer", "GET", &format!("/v1/exceptions/{id}"), None).await.etag
}

#[tokio::test]
async fn an_exception_of_the_folder_is_listed_and_an_end_outlasts_the_folder() {
    let folder = Folder::new();
    let running = start(&folder);
    let expires = running.hub.now().plus_nanos(3_600_000_000_000);
    let lines = line("fair", expires);
    set(&running, &lines).await;
    assert_eq!(sent(&bundle(&running).files), ["fair"]);
    let own = made(&running, &wanted()).await;
    let list = running.ask("viewer", "GET", "/v1/exceptions?limit=1", None).await.json();
    assert_eq!(list["items"][0]["id"], json!(own));
    let next = list["next"].as_str().unwrap();
    let rest = format!("/v1/exceptions?limit=1&page={next}");
    let rest = running.ask("viewer", "GET", &rest, None).await.json();
    assert_eq!((&rest["items"][0]["id"], &rest["next"]), (&json!("fair"), &Value::Null));
    for (query, count) in [
        ("owner=team", 2),
        ("owner=nobody", 0),
        ("state=expiring", 2),
        ("state=ended", 0),
        ("l=type=barcode-scanner", 2),
        ("l=type=plc", 0),
    ] {
        let path = format!("/v1/exceptions?{query}");
        let list = running.ask("viewer", "GET", &path, None).await.json();
        assert_eq!(list["items"].as_array().unwrap().len(), count, "{query}: {list}");
    }
    let wrong = running.ask("viewer", "GET", "/v1/exceptions?l=colour=red", None).await;
    assert_eq!(wrong.status, 400);
    let elsewhere = running.ask("viewer@w2", "GET", "/v1/exceptions", None).await.json();
    assert_eq!(elsewhere["items"], json!([]));
    let hidden = running.ask("viewer@w2", "GET", "/v1/exceptions/fair", None).await;
    assert_eq!(hidden.problem(), (404, "exception.unknown".to_owned()));
    assert_eq!(end(&running, "policy-admin@w2", "fair").await.problem().0, 404);
    let ended = end(&running, "policy-admin@w1", "fair").await;
    assert_eq!((ended.status, &ended.json()["state"]), (200, &json!("ended")), "{}", ended.body);
    assert_eq!(sent(&bundle(&running).files), [own.as_str()]);
    // The same line set again opens nothing; another end is another decision.
    set(&running, &format!("# again\n{lines}")).await;
    assert_eq!(sent(&bundle(&running).files), [own.as_str()]);
    set(&running, &line("fair", expires.plus_nanos(1_000_000_000))).await;
    assert_eq!(sent(&bundle(&running).files), [own.as_str(), "fair"]);
    // A folder whose exception breaks its own claim is refused, and one that asks for what is forbidden.
    let broken = lines.replace("handheld", "label").replace("label-print", "wms-web");
    assert_eq!(apply(&running, files(&broken)).await.problem(), (422, "policy.faults".to_owned()));
    let forbidden = lines.replace("handheld", "camera");
    assert_eq!(apply(&running, files(&forbidden)).await.problem().1, "policy.faults");
}

#[tokio::test]
async fn one_that_has_expired_is_taken_from_its_site_by_the_controller_too() {
    let folder = Folder::new();
    let running = start_at(&folder, clock);
    set(&running, &line("fair", clock().plus_nanos(7_200_000_000_000))).await;
    let id = made(&running, &wanted()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let decisions = {
        let (pdp, stop) = (Arc::clone(&running.pdp), Arc::clone(&stop));
        std::thread::spawn(move || pdp.run(&stop, &|told| panic!("{told}")))
    };
    let until = |expected: &[&str]| {
        let end = now().plus_nanos(60_000_000_000);
        loop {
            let bundle = running.pdp.bundle(&SiteId::new("w1").unwrap());
            let open = bundle.map(|bundle| sent(&bundle.files)).unwrap_or_default();
            if open == expected {
                break;
            }
            assert!(now() < end, "{open:?}, not {expected:?}");
            std::thread::yield_now();
        }
    };
    until(&[&id, "fair"]);
    PASSED.fetch_add(3_601, Ordering::SeqCst);
    until(&["fair"]);
    let path = format!("/v1/exceptions/{id}");
    let shown = running.ask(&running.host(), "GET", &path, None).await.json();
    assert_eq!((&shown["state"], &shown["left_s"]), (&json!("expired"), &json!(0)), "{shown}");
    PASSED.fetch_add(3_600, Ordering::SeqCst);
    until(&[]);
    // Nothing goes round in circles afterwards.
    let size = running.hub.read(estate::Estate::size);
    running.pdp.settle("test", running.hub.now()).unwrap();
    assert_eq!(running.hub.read(estate::Estate::size), size);
    stop.store(true, Ordering::SeqCst);
    decisions.join().unwrap();
    // The path can be opened anew.
    assert_eq!(add(&running, &running.host(), &wanted()).await.status, 201);
}

#[tokio::test]
async fn one_that_lets_somebody_reach_many_devices_takes_a_second_person() {
    let folder = Folder::new();
    let running = start(&folder);
    for role in ["policy-admin", "admin", "operator"] {
        running.bearer(role).await;
    }
    set(&running, "").await;
    let far = with(&[("dry_run", json!(true))]);
    let devices = add(&running, "policy-admin", &far).await.json()["devices"].as_u64().unwrap();
    assert_eq!(devices, 1, "the server that offers it");
    running.auth.set_approval_above(0);
    let asked = add(&running, "policy-admin", &wanted()).await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    let approval = asked.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(asked.json()["command"]["change"], "exception");
    assert_eq!(asked.json()["sites"], json!(["w1"]));
    let list = running.ask("viewer", "GET", "/v1/exceptions", None).await.json();
    assert_eq!(list["items"], json!([]));
    let yes = json!({ "approve": true, "why": "looked at it" });
    let path = format!("/v1/approvals/{approval}");
    assert_eq!(running.ask("admin", "POST", &path, Some(yes)).await.status, 200);
    let header = [("Ringfence-Approval", &*approval)];
    let longer = with(&[("for_s", json!(7_200))]);
    let other =
        running.ask_with("policy-admin", "POST", "/v1/exceptions", Some(longer), &header).await;
    assert_eq!(other.problem(), (409, "approval.other".to_owned()));
    let done =
        running.ask_with("policy-admin", "POST", "/v1/exceptions", Some(wanted()), &header).await;
    assert_eq!(done.status, 201, "{}", done.body);
    assert_eq!(done.json()["second_person"], json!(true));
}
