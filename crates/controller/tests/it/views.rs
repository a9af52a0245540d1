//! Views: kept, changed as they were seen, opened, taken away, and there after a restart.

use serde_json::json;

use crate::{Folder, start};

#[tokio::test]
async fn a_view_is_kept_and_what_could_not_be_opened_is_not() {
    let folder = Folder::new();
    {
        let running = start(&folder);
        let view = json!({
            "l": "site=w1", "where": "device.owner == \"\"", "columns": ["id", "label.rack", "mud-url"],
            "sort": "-last_seen", "why": "walk-through",
        });
        let path = "/v1/views/nobody-owns";
        for who in ["viewer", "operator@w1"] {
            assert_eq!(running.ask(who, "PUT", path, Some(view.clone())).await.status, 403);
        }
        let made = running.ask("operator", "PUT", path, Some(view.clone())).await;
        assert_eq!(made.status, 200, "{}", made.body);
        assert_eq!(made.json()["where"], "device.owner == \"\"");
        let stale = [("If-Match", "\"1\"")];
        let stale = running.ask_with("operator", "PUT", path, Some(view.clone()), &stale).await;
        assert_eq!(stale.problem(), (412, "request.stale".to_owned()));
        let size = running.hub.read(estate::Estate::size);
        let same = running
            .ask_with("operator", "PUT", path, Some(view), &[("If-Match", &made.etag)])
            .await;
        assert_eq!((same.status, running.hub.read(estate::Estate::size)), (200, size));
        for (wrong, code) in [
            (json!({ "l": "colour=red", "why": "x" }), "view.malformed"),
            (json!({ "where": "device.typ == 1", "why": "x" }), "view.malformed"),
            (json!({ "sort": "colour", "why": "x" }), "view.malformed"),
            (json!({ "columns": ["id", "colour"], "why": "x" }), "view.malformed"),
            (json!({ "columns": vec!["id"; 33], "why": "x" }), "view.malformed"),
            (json!({ "l": "site=w1", "why": "" }), "request.invalid"),
        ] {
            let answer = running.ask("operator", "PUT", path, Some(wrong.clone())).await;
            assert_eq!(answer.problem().1, code, "{wrong}");
        }
        let name = running
            .ask("operator", "PUT", "/v1/views/Big%20One", Some(json!({ "why": "x" })))
            .await;
        assert_eq!(name.problem(), (422, "view.malformed".to_owned()));
        assert_eq!(
            running
                .ask("operator", "PUT", "/v1/views/all", Some(json!({ "why": "x" })))
                .await
                .status,
            200
        );
    }
    let running = start(&folder);
    let all = running.ask("viewer@w1", "GET", "/v1/views", None).await.json();
    let names: Vec<_> =
        all["items"].as_array().unwrap().iter().map(|v| v["name"].clone()).collect();
    assert_eq!(names, ["all", "nobody-owns"]);
    assert_eq!(running.ask("viewer", "DELETE", "/v1/views/all", None).await.status, 403);
    // Why it is taken away is in the journal; what is no reason is refused.
    let why = |why: &str| format!("/v1/views/all?why={why}");
    let empty = running.ask("operator", "DELETE", &why(""), None).await;
    assert_eq!(empty.problem(), (400, "request.invalid".to_owned()));
    let told = running.ask("operator", "DELETE", &why("nobody%20looks"), None).await;
    assert_eq!(told.status, 204, "{}", told.body);
    let team = json!({ "name": "x", "contact": "x", "escalate_after_min": 30, "escalate_to": null, "why": "x" });
    assert_eq!(running.ask("admin", "PUT", "/v1/teams/t", Some(team)).await.status, 200);
    let path = "/v1/teams/t?why=dissolved";
    assert_eq!(running.ask("admin", "DELETE", path, None).await.status, 204);
    let token = json!({ "label": "bot", "roles": ["viewer"], "why": "bot" });
    let token = running.ask("admin", "POST", "/v1/tokens", Some(token)).await.json();
    let path = format!("/v1/tokens/{}?why=leaked", token["id"].as_str().unwrap());
    assert_eq!(running.ask("admin", "DELETE", &path, None).await.status, 204);
    let size = running.hub.read(estate::Estate::size);
    let whys: Vec<String> = (0..size).map(|n| running.hub.entry(n).unwrap().unwrap().why).collect();
    for why in ["nobody looks", "dissolved", "leaked"] {
        assert!(whys.iter().any(|said| said == why), "{why}");
    }
    let gone = running.ask("operator", "DELETE", "/v1/views/all", None).await;
    assert_eq!(gone.problem(), (404, "view.unknown".to_owned()));
    assert_eq!(
        running.ask("viewer", "GET", "/v1/views/all", None).await.problem(),
        (404, "view.unknown".to_owned())
    );
}
