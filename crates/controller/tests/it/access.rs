//! Every way in, with nobody and with somebody who may not.

use std::collections::BTreeSet;
use std::path::Path;

use controller::api::{ENDPOINTS, Needs, document};
use estate::access::{Role, rbac::Action};

use crate::{Folder, start};

fn concrete(path: &str) -> String {
    path.replace("{id}", "x")
        .replace("{number}", "0")
        .replace("{file}", "devices")
        .replace("{path}", "0/000")
        .replace("{key}", "x")
        .replace("{request}", "x")
}

#[tokio::test]
async fn every_endpoint_refuses_nobody_and_whoever_may_not() {
    let folder = Folder::new();
    let running = start(&folder);
    for role in Role::ALL {
        running.bearer(role.word()).await;
    }
    let size = running.hub.read(estate::Estate::size);
    let list = format!("{}.crl", running.authority.issuing().sha256());
    for (method, path, needs) in ENDPOINTS {
        let path = &path.replace("{list}", &list);
        let nobody = running.ask("", method, &concrete(path), None).await;
        let stranger = running.ask("made-up", method, &concrete(path), None).await;
        if *needs == Needs::Nothing {
            // Who has nothing to say is told so, whoever it is.
            let expected = if *method == "GET" { 200 } else { 415 };
            assert_eq!(nobody.status, expected, "{method} {path}");
            continue;
        }
        for answer in [nobody, stranger] {
            assert_eq!(answer.status, 401, "{method} {path}: {}", answer.body);
            assert_eq!(answer.kind, "application/problem+json");
        }
        let Needs::To(action) = needs else { continue };
        let least: &Action = action;
        let below = Role::ALL.into_iter().filter(|role| !role.covers(least.least().unwrap()));
        for role in below {
            let answer = running.ask(role.word(), method, &concrete(path), None).await;
            assert_eq!(answer.status, 403, "{method} {path} as {}: {}", role.word(), answer.body);
        }
    }
    assert_eq!(running.hub.read(estate::Estate::size), size, "whoever may not changes nothing");
}

#[tokio::test]
async fn whoever_asks_is_told_what_they_may_and_that_is_so() {
    let folder = Folder::new();
    let running = start(&folder);
    let words = |of: &serde_json::Value| -> BTreeSet<String> {
        of.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    for role in Role::ALL {
        let me = running.ask(role.word(), "GET", "/v1/whoami", None).await.json();
        let may = words(&me["may"]);
        assert_eq!(may, words(&me["may_everywhere"]), "somebody for all sites is told once");
        let covered = Role::ALL.into_iter().filter(|other| role.covers(*other));
        assert_eq!(words(&me["covers"]), covered.map(|other| other.word().to_owned()).collect());
        for (method, path, needs) in ENDPOINTS {
            let Needs::To(action) = needs else { continue };
            let refused = running.ask(role.word(), method, &concrete(path), None).await;
            let refused = refused.status == 403;
            assert_eq!(refused, !may.contains(action.word()), "{method} {path} as {}", role.word());
        }
        let here = format!("{}@w1", role.word());
        let me = running.ask(&here, "GET", "/v1/whoami", None).await.json();
        assert_eq!((words(&me["may"]), &me["may_everywhere"]), (may, &serde_json::json!([])));
    }
    // A token vouches for nobody.
    let make = serde_json::json!({ "label": "bot", "roles": ["admin"], "why": "bot" });
    let bot = running.ask("admin", "POST", "/v1/tokens", Some(make)).await.json();
    let me = running.ask(bot["token"].as_str().unwrap(), "GET", "/v1/whoami", None).await.json();
    let may = words(&me["may"]);
    assert!(may.contains("operators.read") && !may.contains("approvals.decide"), "{may:?}");
}

#[tokio::test]
async fn what_is_not_listed_is_not_there() {
    let folder = Folder::new();
    let running = start(&folder);
    let nowhere = running.ask("admin", "GET", "/v1/secrets", None).await;
    assert_eq!(
        (nowhere.status, &*nowhere.json()["code"].to_string()),
        (404, "\"request.nowhere\"")
    );
    let nowhere = running.ask("admin", "POST", "/v1/secrets", None).await;
    assert_eq!(nowhere.problem(), (404, "request.nowhere".to_owned()));
    let not_that = running.ask("admin", "DELETE", "/v1/devices", None).await;
    assert_eq!(
        (not_that.status, &*not_that.json()["code"].to_string()),
        (405, "\"request.method\"")
    );
}

#[test]
fn the_described_api_is_the_listed_one_and_the_committed_one() {
    let document = serde_json::to_value(document()).unwrap();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let listed: BTreeSet<_> =
        ENDPOINTS.iter().map(|(m, p, _)| ((*m).to_owned(), (*p).to_owned())).collect();
    assert_eq!(described, listed);

    let mut names = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, about) in methods.as_object().unwrap() {
            let name = about["operationId"].as_str().unwrap().to_owned();
            assert!(names.insert(name.clone()), "{method} {path}: {name} is the name of two");
        }
    }

    // Two types of one name would be described as one of them.
    let mut bodies = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, about) in methods.as_object().unwrap() {
            let schema = &about["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            if let Some(schema) = schema.as_str() {
                assert!(bodies.insert(schema.to_owned()), "{method} {path}: {schema}");
            }
        }
    }

    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
    if std::env::var_os("RINGFENCE_BLESS").is_some() {
        std::fs::write(&at, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&at).unwrap_or_default();
    assert!(
        committed == text,
        "docs/openapi.json is not what the code says: RINGFENCE_BLESS=1 writes it anew"
    );
}
