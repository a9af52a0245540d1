//! Who reaches what, as the API tells it: the same as the policy says about each single path.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{Folder, Running, sample, start};

async fn in_force(running: &Running) {
    let me = controller::hub::itself().unwrap();
    running.pdp.set(&me, "drill", sample(), None, "sample".to_owned()).unwrap();
    running.pdp.settle("policy", running.hub.now()).unwrap();
}

async fn get(running: &Running, path: &str) -> Value {
    get_as(running, "viewer", path).await
}

async fn get_as(running: &Running, who: &str, path: &str) -> Value {
    let answer = running.ask(who, "GET", path, None).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

#[tokio::test]
async fn without_a_policy_nothing_is_said_to_reach_anything() {
    let folder = Folder::new();
    let running = start(&folder);
    for path in ["matrix", "map", "worst", "devices/x", "why?device=x&service=y"] {
        let answer = running.ask("admin", "GET", &format!("/v1/reach/{path}"), None).await;
        assert_eq!(answer.problem(), (404, "policy.none".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn the_matrix_is_what_each_path_is() {
    let folder = Folder::new();
    let running = start(&folder);
    in_force(&running).await;
    let matrix = get(&running, "/v1/reach/matrix").await;
    let (zones, services) = (&matrix["zones"], matrix["services"].as_array().unwrap());
    let mut granted: BTreeMap<(String, String), u64> = BTreeMap::new();
    for cell in matrix["cells"].as_array().unwrap() {
        let of = |list: &Value, n: &Value| {
            list[usize::try_from(n.as_u64().unwrap()).unwrap()]["id"].as_str().unwrap().to_owned()
        };
        let key = (of(zones, &cell["zone"]), of(&matrix["services"], &cell["service"]));
        granted.insert(key, cell["granted"].as_u64().unwrap());
        assert!(!cell["policies"].as_array().unwrap().is_empty() || cell["granted"] == 0);
    }
    let devices = get(&running, "/v1/devices?limit=1000").await;
    let mut asked = 0;
    for device in devices["items"].as_array().unwrap() {
        let Some(zone) = device["zone"]["value"].as_str() else { continue };
        let id = device["id"].as_str().unwrap();
        let reached = running.ask("viewer", "GET", &format!("/v1/reach/devices/{id}"), None).await;
        let reached = reached.json();
        for service in services {
            let service = service["id"].as_str().unwrap();
            let why = get(&running, &format!("/v1/reach/why?device={id}&service={service}")).await;
            let named = reached["granted"].as_array().unwrap().iter();
            assert_eq!(why["allowed"], json!(named.clone().any(|g| g["service"] == service)));
            if why["allowed"] == true {
                let count = granted.get_mut(&(zone.to_owned(), service.to_owned())).unwrap();
                *count -= 1;
                let rule = &why["decided"]["rule"];
                assert!(
                    named.clone().any(|g| g["service"] == service && g["policy"] == *rule),
                    "{why}"
                );
            }
            asked += 1;
        }
    }
    assert!(asked > 50, "{asked}");
    assert!(granted.values().all(|left| *left == 0), "{granted:?}");
}

#[tokio::test]
async fn a_map_has_a_place_for_every_zone_and_its_edges_are_the_cells() {
    let folder = Folder::new();
    let running = start(&folder);
    in_force(&running).await;
    let (map, matrix) =
        (get(&running, "/v1/reach/map").await, get(&running, "/v1/reach/matrix").await);
    let nodes = map["nodes"].as_array().unwrap();
    assert_eq!(
        nodes.len(),
        matrix["zones"].as_array().unwrap().len(),
        "few enough to be themselves"
    );
    let sum = |list: &Value, field: &str| -> u64 {
        list.as_array().unwrap().iter().map(|one| one[field].as_u64().unwrap()).sum()
    };
    assert_eq!(sum(&map["edges"], "pairs"), sum(&matrix["cells"], "granted"));
    assert_eq!(sum(&map["nodes"], "devices"), sum(&matrix["zones"], "devices"));
    assert!(sum(&map["edges"], "pairs") > 10);
}

#[tokio::test]
async fn what_is_at_other_sites_is_neither_counted_nor_explained() {
    let folder = Folder::new();
    let running = start(&folder);
    in_force(&running).await;
    let answer = running
        .ask(
            "admin",
            "POST",
            "/v1/sites",
            Some(json!({ "id": "elsewhere", "name": "e", "why": "w" })),
        )
        .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let matrix = running.ask("viewer@elsewhere", "GET", "/v1/reach/matrix", None).await.json();
    assert_eq!(matrix["cells"], json!([]));
    let text = format!("{matrix}{}", get_as(&running, "viewer@elsewhere", "/v1/reach/map").await);
    for site in ["w1/", "w2/"] {
        assert!(!text.contains(site), "{text}");
    }
    let devices = get(&running, "/v1/devices").await;
    let id = devices["items"][0]["id"].as_str().unwrap();
    let path = format!("/v1/reach/devices/{id}");
    let answer = running.ask("viewer@elsewhere", "GET", &path, None).await;
    assert_eq!(answer.problem(), (404, "device.unknown".to_owned()));
    let answer = running.ask("viewer@elsewhere", "GET", "/v1/reach/worst", None).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn who_sees_one_site_is_told_of_another_only_what_their_own_devices_reach_there() {
    let folder = Folder::new();
    let running = start(&folder);
    in_force(&running).await;
    let matrix = get_as(&running, "viewer@w2", "/v1/reach/matrix").await;
    let whole = get(&running, "/v1/reach/matrix").await;
    let ids = |list: &Value| -> Vec<String> {
        let ids = list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap());
        ids.map(str::to_owned).collect()
    };
    let zones = ids(&matrix["zones"]);
    assert!(zones.iter().any(|zone| zone.starts_with("w2/")), "{zones:?}");
    assert!(!zones.iter().any(|zone| zone.starts_with("w1/")), "{zones:?}");
    // The cells are those of the whole, under other numbers.
    let named = |matrix: &Value, of: &str| -> Vec<(String, String, Value)> {
        let (zones, services) = (ids(&matrix["zones"]), ids(&matrix["services"]));
        let at = |list: &[String], n: &Value| {
            list[usize::try_from(n.as_u64().unwrap()).unwrap()].clone()
        };
        let cells = matrix["cells"].as_array().unwrap().iter();
        let cells = cells.map(|cell| {
            (at(&zones, &cell["zone"]), at(&services, &cell["service"]), cell["granted"].clone())
        });
        cells.filter(|(zone, ..)| zone.starts_with(of)).collect()
    };
    assert_eq!(named(&matrix, ""), named(&whole, "w2/"));
    assert!(!named(&matrix, "").is_empty());
    let (some, all) = (ids(&matrix["services"]), ids(&whole["services"]));
    assert!(some.len() < all.len(), "{some:?}");
    // Who is reached elsewhere is counted, and not named.
    let devices = get_as(&running, "viewer@w2", "/v1/devices").await;
    let mine = ids(&devices["items"]);
    for id in &mine {
        let path = format!("/v1/reach/devices/{id}");
        let reached = get_as(&running, "viewer@w2", &path).await;
        for hop in reached["taken_over"].as_array().unwrap() {
            assert!(mine.contains(&hop["device"].as_str().unwrap().to_owned()), "{hop}");
        }
        let whole = get(&running, &path).await;
        assert_eq!(reached["taken_over_devices"], whole["taken_over_devices"]);
    }
}

#[tokio::test]
async fn who_is_cut_off_is_granted_nothing_and_the_answer_says_of_when_it_is() {
    let folder = Folder::new();
    let running = start(&folder);
    in_force(&running).await;
    let before = get(&running, "/v1/reach/worst").await;
    let worst = before["devices"][0]["device"].as_str().unwrap();
    let path = format!("/v1/devices/{worst}");
    let change = json!({ "set": { "posture": "quarantined" }, "why": "drill" });
    let answer = running.ask("admin", "PATCH", &path, Some(change)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    // What is asked within a second may be of a second ago, and says so.
    let mut reached = Value::Null;
    for _ in 0..100 {
        reached = get(&running, &format!("/v1/reach/devices/{worst}")).await;
        if reached["as_of"]["entries"] != before["as_of"]["entries"] {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    assert_eq!(reached["granted"], json!([]));
    assert_eq!(reached["taken_over_devices"], 0);
    assert!(reached["as_of"]["entries"].as_u64() > before["as_of"]["entries"].as_u64());
    let unknown = running
        .ask("viewer", "GET", &format!("/v1/reach/why?device={worst}&service=none"), None)
        .await;
    assert_eq!(unknown.problem(), (404, "service.unknown".to_owned()));
}

#[tokio::test]
async fn a_plan_is_over_the_devices_of_the_estate() {
    let folder = Folder::new();
    let running = start(&folder);
    in_force(&running).await;
    let same =
        running.ask("admin", "POST", "/v1/policy/plan", Some(json!({ "files": sample() }))).await;
    assert_eq!(same.status, 200, "{}", same.body);
    assert_eq!(
        (&same.json()["opened"]["pairs"], &same.json()["closed"]["pairs"]),
        (&json!(0), &json!(0))
    );
    // What is granted, but for a device's own services.
    let matrix = get(&running, "/v1/reach/matrix").await;
    let mut pairs = 0;
    for device in get(&running, "/v1/devices?limit=1000").await["items"].as_array().unwrap() {
        let id = &device["id"];
        let path = format!("/v1/reach/devices/{}", id.as_str().unwrap());
        let reached = running.ask("viewer", "GET", &path, None).await.json();
        for grant in reached["granted"].as_array().into_iter().flatten() {
            let services = matrix["services"].as_array().unwrap();
            let service = services.iter().find(|service| service["id"] == grant["service"]);
            pairs += u64::from(service.unwrap()["device"] != *id);
        }
    }
    assert!(pairs > 10, "{pairs}");
    // Without a single permit everything closes that was open.
    let mut files = sample();
    files.retain(|path, _| !path.ends_with(".cedar"));
    let nothing =
        running.ask("admin", "POST", "/v1/policy/plan", Some(json!({ "files": files }))).await;
    assert_eq!(nothing.status, 200, "{}", nothing.body);
    assert_eq!(nothing.json()["closed"]["pairs"], json!(pairs));
    assert!(!nothing.json()["refused"].as_array().unwrap().is_empty(), "its tests want paths");
    let wrong = BTreeMap::from([("estate.toml", "what = ")]);
    let wrong =
        running.ask("admin", "POST", "/v1/policy/plan", Some(json!({ "files": wrong }))).await;
    assert_eq!(wrong.problem(), (422, "policy.faults".to_owned()));
}
