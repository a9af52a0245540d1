//! Identities through the API: refused where they may not be, and each site's for its own people.

use std::collections::BTreeSet;

use estate::access::Principal;
use estate::identities::{Command, Enrolment, How, NewCredential, Outcome, Serial, Wanted};
use estate::side::Digest;
use estate::{Command as Any, devices};
use model::{DeviceId, Timestamp};
use serde_json::{Value, json};

use crate::{Answer, Folder, Running, start};

const DAY: i64 = 86_400 * 1_000_000_000;

pub(crate) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub(crate) fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

pub(crate) fn command(running: &Running, command: Any) {
    running.hub.command(&Principal::host("test"), "a test", command, BTreeSet::new()).unwrap();
}

fn told(running: &Running, site: &str, id: &str, vendor: &str) {
    let at = "2026-01-01T00:00:00Z";
    let said = json!([{ "field": "vendor", "value": vendor, "confidence": 90, "at": at }]);
    let facts = json!({
        "id": id, "subject": id, "keys": [format!("serial/x/{id}")], "first_seen": at, "last_seen": at, "said": said,
    });
    let report = json!({ "do": "report", "site": site, "source": "sensor", "devices": [facts] });
    command(running, Any::Device(serde_json::from_value::<devices::Command>(report).unwrap()));
}

/// Two sites with devices, and people of each.
pub(crate) async fn world(running: &Running) {
    for role in ["viewer", "operator", "security-admin", "admin"] {
        running.bearer(role).await;
    }
    let host = running.host();
    for site in ["w1", "w2"] {
        let body = json!({ "id": site, "name": site, "why": "a test" });
        assert_eq!(running.ask(&host, "POST", "/v1/sites", Some(body)).await.status, 201);
    }
    for who in ["viewer@w1", "security-admin@w1", "security-admin@w2"] {
        running.bearer(who).await;
    }
    for (site, id, vendor) in [
        ("w1", "cam", "TP-Link"),
        ("w1", "gw", "Moxa"),
        ("w1", "lamp", "Osram"),
        ("w2", "far", "Axis"),
    ] {
        told(running, site, id, vendor);
    }
}

/// A certificate whose serial number begins with `serial`, for a key.
pub(crate) fn enrolment(id: &str, key: &str, serial: u8, until: Timestamp, how: How) -> Enrolment {
    let since = until.plus_nanos(-30 * DAY);
    let (serial, issuer) = (Serial([serial; 16]), digest("ca"));
    let credential = NewCredential { key: digest(key), serial, issuer, since, until };
    Enrolment { device: device(id), credential, how }
}

/// A device gets a certificate with a token.
fn enrol(running: &Running, id: &str, key: &str, serial: u8, days: i64) -> Outcome {
    let (now, secret) = (running.hub.now(), digest(&format!("{id} {key} {serial}")));
    let token = Command::IssueToken { device: device(id), secret, expires_at: now.plus_nanos(DAY) };
    command(running, Any::Identity(token));
    let batch = vec![enrolment(id, key, serial, now.plus_nanos(days * DAY), How::Token { secret })];
    let who = Principal::host("test");
    let decided = running.hub.read(|estate| estate.enrol(&batch, &who, now)).unwrap().1;
    command(running, Any::Identity(Command::Enrol { batch }));
    decided.into_iter().next().unwrap()
}

async fn post(running: &Running, who: &str, path: &str, body: Value) -> Answer {
    running.ask(who, "POST", path, Some(body)).await
}

async fn get(running: &Running, who: &str, path: &str) -> Value {
    let answer = running.ask(who, "GET", path, None).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

async fn ids(running: &Running, who: &str, path: &str, name: &str) -> Vec<String> {
    let page = get(running, who, path).await;
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item[name].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn what_may_not_be_is_refused_and_changes_nothing() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    enrol(&running, "cam", "k1", 1, 20);
    let size = running.hub.read(estate::Estate::size);
    let of = |id: &str, what: &str| format!("/v1/devices/{id}/identity/{what}");
    let (serial, none) = ("ab".repeat(16), "0".repeat(64));
    for (path, body, status, code) in [
        (of("nobody", "token"), json!({ "why": "x" }), 404, "device.unknown"),
        (of("cam", "token"), json!({ "why": "" }), 400, "request.invalid"),
        (of("cam", "token"), json!({}), 422, "request.body"),
        (of("cam", "token"), json!({ "why": "x", "for_s": 0 }), 422, "identity.token-life"),
        (of("cam", "token"), json!({ "why": "x", "for_s": 2_592_001 }), 422, "identity.token-life"),
        (of("cam", "revoke"), json!({ "why": "x" }), 422, "request.body"),
        (of("cam", "revoke"), json!({ "why": "x", "reason": "bored" }), 400, "request.invalid"),
        (
            of("cam", "revoke"),
            json!({ "why": "x", "reason": "superseded", "serials": ["1"] }),
            400,
            "request.invalid",
        ),
        (
            of("cam", "revoke"),
            json!({ "why": "x", "reason": "superseded", "serials": [serial] }),
            404,
            "identity.serial",
        ),
        (of("lamp", "voucher"), json!({ "why": "x", "for_s": 0 }), 422, "identity.voucher-life"),
        (
            of("lamp", "voucher"),
            json!({ "why": "x", "for_s": 7_776_001 }),
            422,
            "identity.voucher-life",
        ),
        (
            of("lamp", "voucher"),
            json!({ "why": "x", "for_s": 60, "gateway": "lamp" }),
            422,
            "identity.voucher-self",
        ),
        (
            of("lamp", "voucher"),
            json!({ "why": "x", "for_s": 60, "gateway": "nobody" }),
            404,
            "device.unknown",
        ),
        (
            format!("/v1/identities/requests/{none}"),
            json!({ "why": "x", "reject": true }),
            404,
            "identity.request",
        ),
        (
            "/v1/identities/requests/x".to_owned(),
            json!({ "why": "x", "reject": true }),
            404,
            "identity.request",
        ),
    ] {
        let answer = post(&running, "security-admin", &path, body.clone()).await;
        assert_eq!(answer.problem(), (status, code.to_owned()), "{path} {body}: {}", answer.body);
    }
    for query in ["level=high", "below=", "ends_before=tomorrow", "page=xx", "limit=0"] {
        let answer = running.ask("viewer", "GET", &format!("/v1/identities?{query}"), None).await;
        assert_eq!(answer.problem(), (400, "request.invalid".to_owned()), "{query}");
    }
    for path in ["/v1/identities/requests?state=lost", "/v1/identities/findings?page=00"] {
        let answer = running.ask("viewer", "GET", path, None).await;
        assert_eq!(answer.problem(), (400, "request.invalid".to_owned()), "{path}");
    }
    // Whoever is for one site knows nothing of another one.
    for (method, what) in
        [("GET", ""), ("POST", "/token"), ("POST", "/revoke"), ("DELETE", "/voucher")]
    {
        let body = match what {
            "/token" => Some(json!({ "why": "x" })),
            "/revoke" => Some(json!({ "why": "x", "reason": "superseded" })),
            _ => None,
        };
        let path = format!("/v1/devices/cam/identity{what}");
        let answer = running.ask("security-admin@w2", method, &path, body).await;
        assert_eq!(answer.problem(), (404, "device.unknown".to_owned()), "{method} {path}");
    }
    let gateway = json!({ "why": "x", "for_s": 60, "gateway": "far" });
    let answer = post(&running, "security-admin@w1", &of("lamp", "voucher"), gateway).await;
    assert_eq!(answer.problem(), (404, "device.unknown".to_owned()), "a gateway of others");
    assert_eq!(running.hub.read(estate::Estate::size), size, "nothing was written");
}

#[tokio::test]
async fn devices_are_listed_with_their_levels_and_why_no_higher() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    assert_eq!(enrol(&running, "cam", "k1", 1, 20), Outcome::Issued);
    assert_eq!(enrol(&running, "cam", "k2", 2, 29), Outcome::Issued);
    assert_eq!(enrol(&running, "far", "k3", 3, 5), Outcome::Issued);
    let all = async |who: &str, query: &str| {
        ids(&running, who, &format!("/v1/identities?{query}"), "device").await
    };
    assert_eq!(all("viewer", "").await, ["cam", "far", "gw", "lamp"]);
    assert_eq!(all("viewer@w1", "").await, ["cam", "gw", "lamp"]);
    assert_eq!(all("viewer", "level=device-key").await, ["cam", "far"]);
    assert_eq!(all("viewer", "below=device-key").await, ["gw", "lamp"]);
    let soon = running.hub.now().plus_nanos(10 * DAY);
    assert_eq!(all("viewer", &format!("ends_before={soon}")).await, ["far"]);
    assert_eq!(all("viewer@w1", &format!("ends_before={soon}")).await, [""; 0]);
    let (mut seen, mut page) = (Vec::new(), String::new());
    loop {
        let next = get(&running, "viewer@w1", &format!("/v1/identities?limit=1{page}")).await;
        seen.extend(next["items"].as_array().unwrap().iter().map(|i| i["device"].to_string()));
        let Some(token) = next["next"].as_str() else { break };
        page = format!("&page={token}");
    }
    assert_eq!(seen, ["\"cam\"", "\"gw\"", "\"lamp\""]);

    let shown = get(&running, "viewer", "/v1/devices/cam/identity").await;
    assert_eq!((&shown["level"], &shown["limit"]), (&json!("device-key"), &json!("credential")));
    assert!(shown["because"].as_str().unwrap().contains("in its hardware was not shown"));
    assert_eq!((&shown["proof"], &shown["certificates"]), (&json!("token"), &json!(2)));
    let first = &shown["credentials"][0];
    assert_eq!(first["serial"], json!("01".repeat(16)));
    assert_eq!(first["key_sha256"], json!(digest("k1").to_string()));
    assert_eq!((&first["age_days"], &first["state"]), (&json!(10), &json!("good")));
    assert_eq!(shown["until"], shown["credentials"][1]["until"]);

    // A bad conscience is worth no certificate.
    let cut = json!({ "set": { "posture": "quarantined" }, "why": "worm" });
    let cut = running.ask("security-admin", "PATCH", "/v1/devices/cam", Some(cut)).await;
    assert_eq!(cut.status, 200, "{}", cut.body);
    let shown = get(&running, "viewer", "/v1/devices/cam/identity").await;
    assert_eq!((&shown["level"], &shown["limit"]), (&json!("observed"), &json!("health")));
    let lamp = get(&running, "viewer", "/v1/devices/lamp/identity").await;
    assert_eq!((&lamp["limit"], &lamp["until"]), (&json!("evidence"), &Value::Null));
    assert_eq!(lamp["credentials"], json!([]));
}

#[tokio::test]
async fn a_token_is_told_once_and_only_its_digest_is_kept() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    let path = "/v1/devices/cam/identity/token";
    let body = json!({ "why": "unpacked", "for_s": 3_600 });
    let key = [("Idempotency-Key", "once")];
    let ask = async || {
        running.ask_with("security-admin@w1", "POST", path, Some(body.clone()), &key).await
    };
    let (one, other) = (ask().await, ask().await);
    assert_eq!((one.status, other.status), (201, 201), "{}", one.body);
    let token = one.json()["token"].as_str().unwrap().to_owned();
    assert_ne!(token, other.json()["token"].as_str().unwrap(), "no answer with a secret is kept");
    assert!(token.len() == 36 && token.starts_with("est-"), "{token}");
    assert_eq!(one.json()["root_sha256"].as_str().unwrap().len(), 64);
    assert!(one.json()["hint"].as_str().unwrap().contains("--user 'cam:TOKEN'"));
    let (now, secret) = (running.hub.now(), digest(&token));
    let known = running.hub.read(|estate| estate.identities().token(&secret).cloned()).unwrap();
    assert_eq!((known.device, known.used_by), (device("cam"), None));
    let size = running.hub.read(estate::Estate::size);
    for bytes in running.hub.entries(0..size).unwrap() {
        assert!(!String::from_utf8_lossy(&bytes).contains(&token), "the secret is in the journal");
    }
    // It opens what it is for.
    let until = now.plus_nanos(20 * DAY);
    let batch = vec![enrolment("cam", "k1", 1, until, How::Token { secret })];
    command(&running, Any::Identity(Command::Enrol { batch }));
    let shown = get(&running, "viewer", "/v1/devices/cam/identity").await;
    assert_eq!(shown["level"], json!("device-key"));
}

#[tokio::test]
async fn what_is_revoked_falls_at_once() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    enrol(&running, "cam", "k1", 1, 20);
    enrol(&running, "cam", "k2", 2, 20);
    let path = "/v1/devices/cam/identity/revoke";
    let one =
        json!({ "serials": ["01".repeat(16)], "reason": "key-compromise", "why": "it was stolen" });
    let done = post(&running, "security-admin@w1", path, one.clone()).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let first = &done.json()["credentials"][0];
    assert_eq!(
        (&first["state"], &first["revoked_reason"]),
        (&json!("revoked"), &json!("key-compromise"))
    );
    assert_eq!(done.json()["level"], json!("device-key"), "it has another one");
    let size = running.hub.read(estate::Estate::size);
    assert_eq!(post(&running, "security-admin@w1", path, one).await.status, 200);
    assert_eq!(running.hub.read(estate::Estate::size), size, "it was so already");
    let rest = json!({ "reason": "cessation-of-operation", "why": "it is gone" });
    let done = post(&running, "security-admin@w1", path, rest).await.json();
    assert_eq!((&done["level"], &done["certificates"]), (&json!("observed"), &json!(0)));
    let shown = get(&running, "viewer", "/v1/devices/cam").await;
    assert_eq!(shown["assurance"]["value"], json!("observed"));
    // Its key is remembered.
    let again = enrol(&running, "cam", "k1", 9, 20);
    assert!(matches!(again, Outcome::Refused(refusal) if refusal.code == "identity.key-revoked"));
    let found = get(&running, "viewer@w1", "/v1/identities/findings").await;
    assert_eq!(found["items"][0]["code"], json!("identity.key-revoked"));
    assert_eq!(
        ids(&running, "security-admin@w2", "/v1/identities/findings", "code").await,
        [""; 0]
    );
}

#[tokio::test]
async fn findings_come_the_newest_first_in_pages() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    enrol(&running, "cam", "k1", 1, 20);
    let (now, how) = (running.hub.now(), How::Token { secret: digest("none") });
    // Two in one entry, then one.
    let copy = |id: &str, serial| enrolment(id, "k1", serial, now.plus_nanos(DAY), how.clone());
    let batch = vec![copy("lamp", 2), copy("gw", 3)];
    command(&running, Any::Identity(Command::Enrol { batch }));
    command(&running, Any::Identity(Command::Enrol { batch: vec![copy("far", 4)] }));
    let path = "/v1/identities/findings";
    assert_eq!(ids(&running, "viewer", path, "device").await, ["far", "gw", "lamp"]);
    assert_eq!(ids(&running, "viewer@w1", path, "device").await, ["gw", "lamp"]);
    let (mut seen, mut page) = (Vec::new(), String::new());
    loop {
        let next = get(&running, "viewer", &format!("{path}?limit=1{page}")).await;
        seen.extend(next["items"].as_array().unwrap().iter().map(|i| i["device"].to_string()));
        let Some(token) = next["next"].as_str() else { break };
        page = format!("&page={token}");
    }
    assert_eq!(seen, ["\"far\"", "\"gw\"", "\"lamp\""]);
    // Who was refused and is no device that is known stands among them, for people of all sites.
    let code = "identity.request".to_owned();
    let (why, from) = ("from 2001:db8::7: no request".to_owned(), "2001:db8::7".parse().ok());
    let refuse = Command::Refuse { code, why, device: None, key: None, from, times: 2 };
    for _ in 0..2 {
        command(&running, Any::Identity(refuse.clone()));
    }
    assert_eq!(ids(&running, "viewer", path, "device").await, ["", "far", "gw", "lamp"]);
    assert_eq!(ids(&running, "viewer@w1", path, "device").await, ["gw", "lamp"]);
    let all = get(&running, "viewer", path).await;
    let (door, copied) = (&all["items"][0], &all["items"][1]);
    assert_eq!(
        (&door["device"], &door["from"], &door["times"]),
        (&Value::Null, &json!("2001:db8::"), &json!(4))
    );
    assert!(
        door["since"].as_str() <= door["at"].as_str()
            && door["entry"].as_u64() > copied["entry"].as_u64()
    );
    assert_eq!((&copied["times"], &copied["from"]), (&json!(1), &Value::Null));
}

#[tokio::test]
async fn vouching_always_takes_two_people() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    let path = "/v1/devices/lamp/identity/voucher";
    let body = json!({ "for_s": 86_400, "why": "it can do no better" });
    let alone = post(&running, &running.host(), path, body.clone()).await;
    assert_eq!(alone.problem(), (403, "identity.voucher-alone".to_owned()));

    let asked = post(&running, "security-admin@w1", path, body.clone()).await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    let id = asked.json()["id"].as_str().unwrap().to_owned();
    let approval = [("Ringfence-Approval", id.as_str())];
    let again = async |who: &str, body: &Value| {
        running.ask_with(who, "POST", path, Some(body.clone()), &approval).await
    };
    let early = again("security-admin@w1", &body).await;
    assert_eq!(early.problem(), (409, "approval.not-approved".to_owned()));
    let yes = json!({ "approve": true, "why": "so it is" });
    let answer =
        async |who: &str| post(&running, who, &format!("/v1/approvals/{id}"), yes.clone()).await;
    assert_eq!(answer("security-admin@w1").await.problem().1, "approval.same-person");
    assert_eq!(answer("operator").await.problem().1, "approval.role");
    assert_eq!(answer("security-admin@w2").await.status, 404);
    assert_eq!(answer("admin").await.status, 200);
    let longer = json!({ "for_s": 86_401, "why": "it can do no better" });
    assert_eq!(again("security-admin@w1", &longer).await.problem().1, "approval.other");
    let done = again("security-admin@w1", &body).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let (shown, first) = (done.json(), running.operator("security-admin-w1").await);
    let second = running.operator("admin").await;
    assert_eq!((&shown["level"], &shown["limit"]), (&json!("vouched"), &json!("voucher")));
    assert_eq!((&shown["proof"], &shown["voucher"]["kind"]), (&json!("people"), &json!("people")));
    assert_eq!(
        (shown["voucher"]["first"].as_str(), shown["voucher"]["second"].as_str()),
        (first.as_deref(), second.as_deref())
    );
    // One is enough to let it fall.
    let end = running.ask("security-admin@w1", "DELETE", &format!("{path}?why=moved"), None).await;
    assert_eq!(end.status, 204, "{}", end.body);
    let shown = get(&running, "viewer", "/v1/devices/lamp/identity").await;
    assert_eq!((&shown["level"], &shown["voucher"]), (&json!("observed"), &Value::Null));
}

#[tokio::test]
async fn a_gateway_that_vouches_takes_two_people_and_lends_no_more_than_it_has() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    let path = "/v1/devices/lamp/identity/voucher";
    let body = json!({ "gateway": "gw", "for_s": 86_400, "why": "it is behind it" });
    assert_eq!(post(&running, "security-admin", path, body.clone()).await.status, 202);
    // This machine's own token waits for nobody.
    let done = post(&running, &running.host(), path, body).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let shown = done.json();
    assert_eq!((&shown["level"], &shown["proof"]), (&json!("observed"), &json!("gateway")));
    assert_eq!(shown["voucher"]["gateway"], json!("gw"));
    enrol(&running, "gw", "k1", 1, 20);
    let shown = get(&running, "viewer", "/v1/devices/lamp/identity").await;
    assert_eq!(shown["level"], json!("vouched"));
    assert!(shown["because"].as_str().unwrap().contains("gateway gw"), "{shown}");
}

fn asks(running: &Running, name: &str, key: &str, from: &str, seen_as: Option<&str>) -> String {
    let wanted = Wanted {
        request: digest(name),
        key: digest(key),
        names: vec![name.to_owned()],
        from: from.parse().unwrap(),
        seen_as: seen_as.map(device),
    };
    command(running, Any::Identity(Command::Ask { wanted }));
    digest(name).to_string()
}

#[tokio::test]
async fn a_request_is_a_question_to_whoever_is_told_of_it() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    asks(&running, "CN=axis-q6135", "k1", "10.0.0.9", Some("cam"));
    let lost = asks(&running, "CN=lost", "k5", "192.0.2.1", None);
    let all = async |who: &str| {
        let shown = get(&running, who, "/v1/questions?kind=certificate").await;
        shown["items"].as_array().unwrap().clone()
    };
    assert_eq!(all("viewer").await.len(), 2);
    assert_eq!(all("security-admin@w2").await.len(), 0);
    let mine = all("security-admin@w1").await;
    let [question] = &*mine else { panic!("{mine:?}") };
    assert_eq!(question["devices"], json!(["cam"]));
    let evidence = question["evidence"].to_string();
    for line in [
        "it calls itself CN=axis-q6135",
        "which is Axis; the wire says TP-Link",
        "at 10.0.0.9 is cam, ",
    ] {
        assert!(evidence.contains(line), "{line}: {evidence}");
    }
    let of_nobody = all("viewer").await;
    let of_nobody = of_nobody.iter().find(|q| q["devices"] == json!([])).unwrap();
    let by_hand = &of_nobody["choices"][0];
    assert_eq!(by_hand["request"], Value::Null);
    let command = format!("ringfence identity approve {} --device ID", lost.get(..16).unwrap());
    assert!(by_hand["does"].as_str().unwrap().starts_with(&command), "{by_hand}");

    let request = &question["choices"][0]["request"];
    let mut body = request["body"].clone();
    body["why"] = json!("I stood before it");
    let path = request["path"].as_str().unwrap();
    let done = post(&running, "security-admin@w1", path, body).await;
    assert_eq!((done.status, &done.json()["device"]), (200, &json!("cam")), "{}", done.body);
    assert_eq!(
        all("viewer").await,
        std::slice::from_ref(of_nobody),
        "what was answered is no question"
    );
}

#[tokio::test]
async fn requests_stand_beside_what_is_known_and_are_answered_once() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    enrol(&running, "gw", "kept", 1, 20);
    let axis = asks(&running, "CN=axis-q6135", "k1", "10.0.0.9", Some("cam"));
    let tapo = asks(&running, "CN=tp-link-tapo", "k2", "10.0.0.9", Some("cam"));
    let copy = asks(&running, "CN=lamp", "kept", "10.0.0.3", Some("lamp"));
    let far = asks(&running, "CN=far", "k4", "10.9.0.4", Some("far"));
    let lost = asks(&running, "CN=lost", "k5", "192.0.2.1", None);
    let all = async |who: &str, query: &str| {
        ids(&running, who, &format!("/v1/identities/requests?{query}"), "id").await
    };
    assert_eq!(all("viewer", "").await, [&*axis, &*tapo, &*copy, &*far, &*lost]);
    assert_eq!(all("viewer@w1", "").await, [&*axis, &*tapo, &*copy]);
    assert_eq!(all("security-admin@w2", "").await, [&*far], "nor what nobody has seen");
    let shown = get(&running, "viewer@w1", "/v1/identities/requests").await;
    let said = |n: usize| shown["items"][n]["contradictions"][0].as_str().unwrap_or_default();
    assert_eq!(said(0), "it calls itself `CN=axis-q6135`, which is Axis; the wire says TP-Link");
    assert_eq!(shown["items"][0]["seen_as"]["vendor"], json!("TP-Link"));
    assert_eq!(shown["items"][1]["contradictions"], json!([]));
    assert_eq!(said(2), "its key is the key of device gw");
    let first = get(&running, "viewer", "/v1/identities/requests?limit=4").await;
    let next = first["next"].as_str().unwrap();
    let rest = all("viewer", &format!("limit=4&page={next}")).await;
    assert_eq!(rest, [&*lost]);

    let say = async |who: &str, id: &str, body: Value| {
        post(&running, who, &format!("/v1/identities/requests/{id}"), body).await
    };
    let approve = |id: &str| json!({ "approve": id, "why": "I stood before it" });
    let reject = json!({ "reject": true, "why": "a stranger" });
    let both = json!({ "approve": "cam", "reject": true, "why": "x" });
    for body in [both, json!({ "why": "x" })] {
        let answer = say("security-admin", &axis, body).await;
        assert_eq!(answer.problem(), (400, "request.invalid".to_owned()));
    }
    let unknown = (404, "identity.request".to_owned());
    assert_eq!(say("security-admin@w2", &axis, reject.clone()).await.problem(), unknown);
    assert_eq!(say("security-admin@w1", &lost, reject.clone()).await.problem(), unknown);
    let of_others = say("security-admin@w1", &tapo, approve("far")).await;
    assert_eq!(of_others.problem(), (404, "device.unknown".to_owned()));
    let taken = say("security-admin@w1", &copy, approve("lamp")).await;
    assert_eq!(taken.problem(), (409, "identity.key-taken".to_owned()));

    let done = say("security-admin@w1", &tapo, approve("cam")).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(
        (&done.json()["state"], &done.json()["device"]),
        (&json!("approved"), &json!("cam"))
    );
    let twice = say("security-admin@w1", &tapo, reject.clone()).await;
    assert_eq!(twice.problem(), (409, "identity.answered".to_owned()));
    assert_eq!(say("security-admin", &lost, reject).await.json()["state"], json!("rejected"));
    assert_eq!(all("viewer", "").await, [&*axis, &*copy, &*far]);
    assert_eq!(all("viewer", "state=approved").await, [&*tapo]);
    assert_eq!(all("viewer", "state=all").await.len(), 5);
    // It is a way to a certificate now.
    let how = How::Approved { request: digest("CN=tp-link-tapo") };
    let until = running.hub.now().plus_nanos(20 * DAY);
    let batch = vec![enrolment("cam", "k2", 7, until, how)];
    command(&running, Any::Identity(Command::Enrol { batch }));
    let shown = get(&running, "viewer", "/v1/devices/cam/identity").await;
    assert_eq!((&shown["level"], &shown["proof"]), (&json!("device-key"), &json!("approved")));
}

#[tokio::test]
async fn what_was_bought_is_said_by_people_of_the_site_all_of_it_or_nothing() {
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    let path = "/v1/identities/expected";
    let one = |number: &str, id: &str| json!({ "maker": "axis", "number": number, "device": id });
    let all = |expected: Vec<Value>| Some(json!({ "expected": expected, "why": "order 4711" }));
    let far = running.ask("security-admin@w1", "POST", path, all(vec![one("1", "far")])).await;
    assert_eq!(far.status, 404, "another site's device is not there: {}", far.body);
    let mixed = all(vec![one("1", "cam"), one("2", "nobody")]);
    let mixed = running.ask("security-admin", "POST", path, mixed).await;
    assert_eq!(mixed.status, 404, "{}", mixed.body);
    let long = all((0..1_001).map(|n| one(&n.to_string(), "cam")).collect());
    assert_eq!(running.ask("security-admin", "POST", path, long).await.status, 400);
    let none = running.ask("viewer", "GET", path, None).await.json();
    assert_eq!(none["items"], json!([]), "nothing of a list that is refused");

    let good = || all(vec![one("1", "cam"), one("2", "far")]);
    let done = running.ask("security-admin", "POST", path, good()).await;
    assert_eq!((done.status, done.json()["new"].as_u64()), (200, Some(2)), "{}", done.body);
    let again = running.ask("security-admin", "POST", path, good()).await;
    assert_eq!(again.json()["new"], 0);
    let other = running.ask("security-admin", "POST", path, all(vec![one("1", "gw")])).await;
    assert_eq!(other.problem(), (409, "identity.expected".to_owned()));
    let own = running.ask("viewer@w1", "GET", path, None).await.json();
    let own: Vec<_> = own["items"].as_array().unwrap().iter().map(|one| &one["device"]).collect();
    assert_eq!(own, ["cam"]);
    let first = running.ask("viewer", "GET", &format!("{path}?limit=1"), None).await.json();
    let next = format!("{path}?limit=1&page={}", first["next"].as_str().unwrap());
    let second = running.ask("viewer", "GET", &next, None).await.json();
    assert_eq!(
        (&first["items"][0]["number"], &second["items"][0]["number"]),
        (&json!("1"), &json!("2"))
    );
}
