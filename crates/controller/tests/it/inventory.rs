//! The list of devices: what is chosen, in which order, in pages, counted; and who sees what of it.

use std::collections::BTreeSet;

use estate::{Command, devices};
use serde_json::{Value, json};

use crate::{Folder, Running, start};

/// Two sites with devices: `w1` has twice as many.
async fn many(running: &Running, count: usize) {
    let host = running.host();
    for site in ["w1", "w2"] {
        let body = json!({ "id": site, "name": site, "why": "a test" });
        let made = running.ask(&host, "POST", "/v1/sites", Some(body)).await;
        assert!(made.status < 300, "{}", made.body);
    }
    let devices = |site: usize| -> Vec<Value> {
        let here = (0..count).filter(|n| (n % 3 == 0) == (site == 2));
        here.map(|n| {
            let kind = ["plc", "ip-camera", "Printer"][n % 3];
            json!({
                "id": format!("d-{n:04}"), "subject": format!("s{n}"),
                "keys": [format!("mac/00:80:f4:00:{:02x}:{:02x}", n / 256, n % 256)],
                "addresses": [format!("10.0.{}.{}", n / 200, n % 200 + 1)],
                "said": [
                    { "field": "type", "value": kind, "confidence": 90,
                      "at": "2026-01-01T00:00:00Z" },
                    { "field": "vendor", "value": format!("Vendor-{}", n % 7), "confidence": 90,
                      "at": "2026-01-01T00:00:00Z" },
                ],
                "first_seen": "2026-01-01T00:00:00Z",
                "last_seen": format!("2026-01-{:02}T00:00:00Z", n % 28 + 1),
            })
        })
        .collect()
    };
    for site in [1, 2] {
        let report = json!({ "do": "report", "site": format!("w{site}"), "source": "import/list", "devices": devices(site) });
        let command = Command::Device(serde_json::from_value::<devices::Command>(report).unwrap());
        let me = controller::hub::itself().unwrap();
        running.hub.command(&me, "a list", command, BTreeSet::new()).unwrap();
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

/// All pages of a query, and what `total` said on each.
async fn pages(running: &Running, who: &str, query: &str) -> (Vec<Value>, BTreeSet<String>) {
    let (mut items, mut totals) = (Vec::new(), BTreeSet::new());
    let mut page = String::new();
    loop {
        let path = format!("/v1/devices?limit=17&{query}{page}");
        let answer = running.ask(who, "GET", &path, None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let answer = answer.json();
        items.extend(answer["items"].as_array().unwrap().iter().cloned());
        totals.insert(answer["total"].to_string());
        match answer["next"].as_str() {
            Some(next) => page = format!("&page={next}"),
            None => return (items, totals),
        }
    }
}

fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_is_chosen_is_what_holds_and_nobody_sees_other_sites() {
    let folder = Folder::new();
    let running = start(&folder);
    many(&running, 100).await;
    let cameras = "device.type == \"ip-camera\" && device.networks.contains(ip(\"10.0.0.0/26\"))";
    let query = format!("where={}", encoded(cameras));
    let (items, totals) = pages(&running, "viewer", &query).await;
    let expected: Vec<String> =
        (0..63).filter(|n| n % 3 == 1).map(|n| format!("d-{n:04}")).collect();
    assert_eq!(ids(&items), expected);
    assert_eq!(totals, BTreeSet::from(["null".to_owned()]));
    // Both have to hold; words too.
    let (items, totals) = pages(
        &running,
        "viewer",
        &format!("{query}&l=mac=00:80:f4:00:00:1*&q=VENDOR-4&count=true"),
    )
    .await;
    assert_eq!((ids(&items), totals), (vec!["d-0025"], BTreeSet::from(["1".to_owned()])));
    for (words, found) in
        [("d-0007", 1), ("10.0.0.99", 1), ("00:80:F4:00:00:0", 16), ("vendor-1", 15), ("plc", 0)]
    {
        let (items, _) = pages(&running, "viewer", &format!("q={}", encoded(words))).await;
        assert_eq!(items.len(), found, "{words}");
    }
    // Somebody for one site counts and sees that one's.
    for query in ["count=true", "count=true&sort=-vendor", "count=true&q=d-"] {
        let (items, totals) = pages(&running, "viewer@w2", query).await;
        assert_eq!((items.len(), totals), (34, BTreeSet::from(["34".to_owned()])), "{query}");
        assert!(items.iter().all(|item| item["site"] == "w2"));
        let (items, totals) = pages(&running, "viewer", query).await;
        assert_eq!((items.len(), totals), (100, BTreeSet::from(["100".to_owned()])), "{query}");
    }
}

#[tokio::test]
async fn every_order_is_whole_and_its_pages_are_good_while_things_change() {
    let folder = Folder::new();
    let running = start(&folder);
    many(&running, 90).await;
    let sorted = |items: &[Value], pointer: &str| -> Vec<String> {
        let text = |item: &Value| {
            item.pointer(pointer).map_or(String::new(), |v| v.as_str().unwrap().to_lowercase())
        };
        items.iter().map(text).collect()
    };
    for (sort, pointer) in [
        ("id", "/id"),
        ("state", "/state"),
        ("site", "/site"),
        ("last_seen", "/last_seen"),
        ("first_seen", "/first_seen"),
        ("type", "/type/value"),
        ("vendor", "/vendor/value"),
        ("owner", "/owner/value"),
    ] {
        for falling in [false, true] {
            let sign = if falling { "-" } else { "" };
            let (items, totals) =
                pages(&running, "viewer", &format!("count=true&sort={sign}{sort}")).await;
            assert_eq!(totals, BTreeSet::from(["90".to_owned()]));
            assert_eq!(ids(&items).into_iter().collect::<BTreeSet<_>>().len(), 90, "{sign}{sort}");
            let values = sorted(&items, pointer);
            let mut expected = values.clone();
            expected.sort();
            if falling {
                expected.reverse();
            }
            assert_eq!(values, expected, "{sign}{sort}");
        }
    }
    let (items, _) = pages(&running, "viewer", "sort=address").await;
    assert_eq!(ids(&items)[..3], ["d-0000", "d-0001", "d-0002"], "10.0.0.2 comes before 10.0.0.10");

    // A ladder comes in its order, and who has no value last.
    let set = |id: &'static str, value: &'static str| {
        let body = json!({ "set": { "criticality": value }, "why": "a test" });
        let path = format!("/v1/devices/{id}");
        let running = &running;
        async move { assert_eq!(running.ask("operator", "PATCH", &path, Some(body)).await.status, 200) }
    };
    for (id, value) in [("d-0050", "low"), ("d-0010", "safety"), ("d-0070", "high")] {
        set(id, value).await;
    }
    let (items, _) = pages(&running, "viewer", "sort=criticality").await;
    assert_eq!(ids(&items)[..4], ["d-0050", "d-0070", "d-0010", "d-0000"]);
    let (items, _) = pages(&running, "viewer", "sort=-criticality").await;
    assert_eq!(ids(&items)[..4], ["d-0010", "d-0070", "d-0050", "d-0000"]);

    // What changes between two pages neither repeats nor loses what did not.
    let first =
        running.ask("viewer", "GET", "/v1/devices?limit=40&sort=-id&count=true", None).await.json();
    assert_eq!(first["items"][0]["id"], "d-0089");
    set("d-0088", "high").await;
    let path = format!(
        "/v1/devices?limit=100&sort=-id&count=true&page={}",
        first["next"].as_str().unwrap()
    );
    let second = running.ask("viewer", "GET", &path, None).await.json();
    assert_eq!(second["items"].as_array().unwrap().len(), 50);
    assert_eq!((&second["items"][0]["id"], &second["total"]), (&json!("d-0049"), &json!(90)));
    // A change is seen at once on a first page.
    let (items, totals) = pages(&running, "viewer", "l=criticality=high&count=true&sort=id").await;
    assert_eq!((items.len(), totals), (2, BTreeSet::from(["2".to_owned()])));
}

#[tokio::test]
async fn a_far_place_is_gone_to_at_once_and_kept_whatever_comes_before() {
    let folder = Folder::new();
    let running = start(&folder);
    many(&running, 100).await;
    for (who, query) in [
        ("viewer", ""),
        ("viewer", "count=true"),
        ("viewer", "sort=-id"),
        ("viewer", "sort=-vendor&count=true"),
        ("viewer", "q=d-&l=site=w1"),
        ("viewer", "where=device.type%20%3D%3D%20%22plc%22&count=true"),
        ("viewer@w2", ""),
        ("viewer@w2", "sort=-last_seen"),
    ] {
        let (all, _) = pages(&running, who, query).await;
        let all = ids(&all);
        for offset in [0, 1, 7, all.len() / 2, all.len() / 2 + 1, all.len() - 1] {
            let asked = format!("/v1/devices?limit=5&{query}");
            let there =
                running.ask(who, "GET", &format!("{asked}&offset={offset}"), None).await.json();
            let expected = &all[offset..all.len().min(offset + 5)];
            assert_eq!(ids(there["items"].as_array().unwrap()), expected, "{query} {offset}");
            assert_eq!(there["here"].is_null(), offset == 0, "{query} {offset}: {there}");
            // What it says of its place and of the next one is true.
            let rest = &all[all.len().min(offset + 5)..all.len().min(offset + 10)];
            assert_eq!(there["next"].is_null(), rest.is_empty(), "{query} {offset}");
            for (token, expected) in [("here", expected), ("next", rest)] {
                let Some(token) = there[token].as_str() else { continue };
                let path = format!("{asked}&page={token}");
                let page = running.ask(who, "GET", &path, None).await.json();
                assert_eq!(ids(page["items"].as_array().unwrap()), expected, "{query} {offset}");
                assert!(page["here"].is_null());
            }
        }
        for beyond in [all.len(), all.len() + 1, usize::MAX] {
            let query = query.trim_end_matches("count=true");
            let path = format!("/v1/devices?{query}&offset={beyond}&count=true");
            let nothing = running.ask(who, "GET", &path, None).await.json();
            assert_eq!(nothing["items"], json!([]), "{query} {beyond}");
            assert_eq!(nothing["total"], json!(all.len()));
            assert!(nothing["next"].is_null());
        }
    }
    // What comes in front changes numbers, and no place.
    let there = running.ask("viewer", "GET", "/v1/devices?offset=50&limit=2", None).await.json();
    let report = json!({ "do": "report", "site": "w1", "source": "import/list",
        "devices": [{ "id": "a-first", "subject": "x", "said": [], "first_seen": "2026-01-01T00:00:00Z", "last_seen": "2026-01-01T00:00:00Z" }] });
    let command = Command::Device(serde_json::from_value::<devices::Command>(report).unwrap());
    let me = controller::hub::itself().unwrap();
    running.hub.command(&me, "one more", command, BTreeSet::new()).unwrap();
    let again = format!("/v1/devices?limit=2&page={}", there["here"].as_str().unwrap());
    let again = running.ask("viewer", "GET", &again, None).await.json();
    assert_eq!(again["items"], there["items"]);
    let moved = running.ask("viewer", "GET", "/v1/devices?offset=51&limit=2", None).await.json();
    assert_eq!(moved["items"], there["items"]);
}

#[tokio::test]
async fn an_empty_estate_has_no_far_place() {
    let folder = Folder::new();
    let running = start(&folder);
    for query in ["offset=0", "offset=9", "offset=9&sort=-id", "offset=9&q=x&count=true"] {
        let answer = running.ask("viewer", "GET", &format!("/v1/devices?{query}"), None).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer = answer.json();
        let none = (&json!([]), &Value::Null, &Value::Null);
        assert_eq!((&answer["items"], &answer["next"], &answer["here"]), none, "{query}");
    }
}

#[tokio::test]
async fn what_words_find_is_changed_and_retired_and_waits_for_a_second_person() {
    let folder = Folder::new();
    let running = start(&folder);
    many(&running, 30).await;
    let long = json!({ "q": "x".repeat(2_000), "set": { "zone": "x" }, "why": "y" });
    let wrong = running.ask("operator", "POST", "/v1/devices/edit", Some(long)).await;
    assert_eq!(wrong.problem(), (400, "request.invalid".to_owned()));
    let blank = json!({ "q": " ", "set": { "zone": "x" }, "why": "y" });
    for path in ["/v1/devices/edit", "/v1/devices/retire"] {
        let mut blank = blank.clone();
        if path.ends_with("retire") {
            blank.as_object_mut().unwrap().remove("set");
        }
        let wrong = running.ask("operator", "POST", path, Some(blank)).await;
        assert_eq!(wrong.problem(), (400, "request.invalid".to_owned()), "{path}");
    }
    let none = json!({ "q": "nothing is called so", "set": { "zone": "x" }, "why": "y" });
    let none = running.ask("operator", "POST", "/v1/devices/edit", Some(none)).await;
    assert_eq!(none.problem(), (404, "device.none".to_owned()));

    let found = running.ask("viewer", "GET", "/v1/devices?q=vendor-3&count=true", None).await;
    let edit = json!({ "q": "VENDOR-3", "set": { "zone": "hall" }, "why": "y" });
    let done = running.ask("operator", "POST", "/v1/devices/edit", Some(edit)).await;
    let total = found.json()["total"].clone();
    assert_eq!(done.json(), json!({ "selected": total, "changed": total }), "{}", done.body);
    // All of it has to hold, and nobody changes what they do not see.
    let edit = json!({ "q": "vendor-3", "l": "site=w1", "set": { "zone": "yard" }, "why": "y" });
    let done = running.ask("operator@w2", "POST", "/v1/devices/edit", Some(edit)).await;
    assert_eq!(done.problem(), (404, "device.none".to_owned()));
    running.auth.set_approval_above(3);
    let edit = json!({ "q": "vendor-3", "set": { "zone": "yard" }, "why": "y" });
    let waits = running.ask("operator", "POST", "/v1/devices/edit", Some(edit)).await;
    assert_eq!((waits.status, &waits.json()["command"]["q"]), (202, &json!("vendor-3")));
    running.auth.set_approval_above(30);
    let retire = json!({ "q": "d-002", "why": "scrapped" });
    let done = running.ask("operator", "POST", "/v1/devices/retire", Some(retire)).await;
    assert_eq!(done.json(), json!({ "selected": 10, "changed": 10 }), "{}", done.body);
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_place() {
    let folder = Folder::new();
    let running = start(&folder);
    let wrong = running
        .ask(
            "viewer",
            "GET",
            &format!("/v1/devices?where={}", encoded("device.typ == \"plc\"")),
            None,
        )
        .await;
    assert_eq!(wrong.problem(), (400, "request.where".to_owned()));
    let detail = wrong.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("\n  device.typ == \"plc\"\n") && detail.contains('^'), "{detail}");
    for query in [
        "sort=colour",
        "sort=",
        "page=zz&sort=name",
        "page=5b5d&sort=name",
        "l=colour=1",
        "limit=0",
        "offset=-1",
        "offset=x",
        "offset=18446744073709551616",
        "offset=5&page=642d30303031",
        "offset=0&page=642d30303031",
    ] {
        let answer = running.ask("viewer", "GET", &format!("/v1/devices?{query}"), None).await;
        assert_eq!(answer.problem(), (400, "request.invalid".to_owned()), "{query}");
    }
    let edit = json!({ "where": "device.typ == 1", "set": { "zone": "x" }, "why": "y" });
    let wrong = running.ask("operator", "POST", "/v1/devices/edit", Some(edit)).await;
    assert_eq!(wrong.problem(), (400, "request.where".to_owned()));
    let nothing = json!({ "where": " ", "set": { "zone": "x" }, "why": "y" });
    let wrong = running.ask("operator", "POST", "/v1/devices/edit", Some(nothing)).await;
    assert_eq!(wrong.problem(), (400, "request.invalid".to_owned()));
}

#[tokio::test]
async fn an_expression_chooses_what_is_changed_and_what_is_approved() {
    let folder = Folder::new();
    let running = start(&folder);
    many(&running, 30).await;
    let edit = json!({ "where": "device.type == \"plc\"", "l": "site=w2", "set": { "zone": "hall" }, "why": "y" });
    let done = running.ask("operator", "POST", "/v1/devices/edit", Some(edit.clone())).await;
    assert_eq!(done.json(), json!({ "selected": 10, "changed": 10 }), "{}", done.body);
    running.auth.set_approval_above(3);
    let mut cut = edit;
    cut["set"] = json!({ "zone": "yard" });
    let waits = running.ask("operator", "POST", "/v1/devices/edit", Some(cut)).await;
    assert_eq!(waits.status, 202, "{}", waits.body);
    assert_eq!(waits.json()["command"]["where"], "device.type == \"plc\"");
}
