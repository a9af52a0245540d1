//! Lists of devices: what they would change, what they change, and that the same list again changes nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::body::Body;
use axum::http::Request;
use controller::import::{self, Format, Outcome, Plan, Scope, export};
use estate::access::Principal;
use estate::devices::{Edit, Facts, Field, Said};
use estate::{At, Command, Estate, devices, sites, teams};
use http_body_util::BodyExt as _;
use model::{DeviceId, SiteId, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{Folder, Running, sample, start};

const LIST: &str = "id;mac;vendor;serial;name;owner;label.rack\n\
                    ;00:80:f4:00:00:01;Schneider;17;Line 1;night;B12\n\
                    ;00:80:f4:00:00:02;Schneider;18;;;\n\
                    ;00:80:f4:00:00:02;Schneider;19;;;\n\
                    ;00:80:f4:00:00:03;;;;nobody;\n\
                    ;;;;lonely;;\n";

impl Running {
    /// Sends a list.
    async fn list(&self, who: &str, query: &str, body: &str, approval: &str) -> (u16, Value) {
        let bearer = self.bearer(who).await;
        let request = Request::post(format!("/v1/devices/import?{query}"))
            .header("authorization", format!("Bearer {bearer}"))
            .header("content-type", "text/csv")
            .header("ringfence-approval", approval);
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        if approval.is_empty() {
            request.headers_mut().remove("ringfence-approval");
        }
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Every device as a table.
    async fn table(&self) -> String {
        let bearer = self.bearer("viewer").await;
        let request = Request::get("/v1/devices")
            .header("authorization", format!("Bearer {bearer}"))
            .header("accept", "text/csv");
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/csv; charset=utf-8");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }
}

/// A controller with the sample estate and the team `night`.
async fn used(folder: &Folder) -> Running {
    let running = start(folder);
    let body = json!({ "files": sample(), "origin": "sample", "why": "the first folder" });
    assert_eq!(running.ask("policy-admin", "PUT", "/v1/policy", Some(body)).await.status, 200);
    let team = json!({ "name": "Night", "contact": "n@example.com", "escalate_after_min": 30, "why": "shifts" });
    assert_eq!(running.ask("operator", "PUT", "/v1/teams/night", Some(team)).await.status, 200);
    running
}

fn outcomes(document: &Value) -> Vec<&str> {
    document["rows"].as_array().unwrap().iter().map(|r| r["outcome"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_dry_run_tells_all_of_it_and_changes_nothing_and_doing_it_twice_is_doing_it_once() {
    let folder = Folder::new();
    let running = used(&folder).await;
    let site = running.hub.read(|e| e.sites().iter().next().unwrap().id.to_string());
    let size = running.hub.read(estate::Estate::size);
    let dry = format!("site={site}&dry_run=true&source=import/purchase");
    let (status, first) = running.list("operator", &dry, LIST, "").await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(outcomes(&first), ["new", "new", "refused", "refused", "refused"], "{first}");
    assert_eq!((&first["separator"], &first["applied"]), (&json!(";"), &json!(false)));
    let why = |at: usize| first["rows"][at]["why"].as_str().unwrap();
    assert!(why(2).contains("line 3 is about this device too: it has mac/"), "{}", why(2));
    assert!(why(3).contains("team nobody"), "{}", why(3));
    assert!(why(4).contains("nothing would recognise it"), "{}", why(4));
    assert_eq!(first["rows"][4]["line"], json!(6));
    let (_, again) = running.list("operator", &dry, LIST, "").await;
    assert_eq!(first, again, "it is the same to the byte");
    assert_eq!(running.hub.read(estate::Estate::size), size, "nothing was changed");

    // All or nothing: nothing.
    let whole = format!("site={site}&source=import/purchase&why=delivery&all_or_nothing=true");
    let (status, refused) = running.list("operator", &whole, LIST, "").await;
    assert_eq!((status, &refused["code"]), (422, &json!("import.refused")));
    assert_eq!(running.hub.read(estate::Estate::size), size);
    let unreasoned = format!("site={site}&source=import/purchase");
    assert_eq!(running.list("operator", &unreasoned, LIST, "").await.0, 400);

    let done = format!("site={site}&source=import/purchase&why=delivery");
    let (status, applied) = running.list("operator", &done, LIST, "").await;
    assert_eq!((status, &applied["applied"]), (200, &json!(true)), "{applied}");
    assert_eq!(applied["rows"], first["rows"], "what was told is what was done");
    let id = first["rows"][0]["device"].as_str().unwrap();
    let device = running.ask("viewer", "GET", &format!("/v1/devices/{id}"), None).await.json();
    assert_eq!(
        (&device["name"]["decided"], &device["vendor"]["decided"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(device["vendor"]["source"], json!("import/purchase"));
    assert_eq!(device["labels"]["rack"], json!("B12"));
    let size = running.hub.read(estate::Estate::size);
    let (_, same) = running.list("operator", &done, LIST, "").await;
    assert_eq!(outcomes(&same), ["same", "same", "refused", "refused", "refused"], "{same}");
    assert_eq!(running.hub.read(estate::Estate::size), size);

    // What a sensor is surer of stands, and that is told; what a person decides wins.
    let row = format!("id,vendor,name\n{id},Siemens,Line 2\n");
    let (_, changed) = running.list("operator", "source=import/other&dry_run=true", &row, "").await;
    let changes = changed["rows"][0]["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 2, "{changed}");
    assert_eq!(
        (&changes[0]["before"], &changes[0]["after"]),
        (&json!("Schneider"), &json!("Siemens"))
    );
    assert_eq!(changes[1]["decided"], json!(true));
}

#[tokio::test]
async fn what_is_given_out_is_taken_in_without_a_change() {
    let folder = Folder::new();
    let running = used(&folder).await;
    let table = running.table().await;
    let devices = running.hub.read(|estate| estate.devices().len());
    assert_eq!(table.lines().count(), devices + 1, "{table}");
    let size = running.hub.read(estate::Estate::size);
    let (status, same) = running.list("operator", "why=again", &table, "").await;
    assert_eq!(status, 200, "{same}");
    assert_eq!(same["counts"]["same"], json!(devices), "{same}");
    assert_eq!(running.hub.read(estate::Estate::size), size);
    // A person changes one value in it.
    let id = running.hub.read(|estate| estate.devices().after(None).next().unwrap().id.clone());
    let edited: String = table
        .lines()
        .map(|line| match line.strip_prefix(&format!("{id},")) {
            Some(_) => line.replacen(",active,", ",active,Gate 3", 1) + "\n",
            None => format!("{line}\n"),
        })
        .collect();
    let (_, changed) = running.list("operator", "why=edited", &edited, "").await;
    assert_eq!(changed["counts"]["changed"], json!(1), "{changed}");
}

#[tokio::test]
async fn leases_are_signs_of_life_until_they_end() {
    let folder = Folder::new();
    let running = used(&folder).await;
    let site = running.hub.read(|e| e.sites().iter().next().unwrap().id.to_string());
    let now = running.hub.now().as_nanos() / 1_000_000_000;
    let (later, before) = (now + 3_600, now - 60);
    let kea = format!(
        "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state\n\
         10.7.0.5,24:0a:c4:00:00:05,,7200,{later},1,0,0,cam-5,0\n\
         10.7.0.6,24:0a:c4:00:00:06,,7200,{before},1,0,0,cam-6,0\n\
         10.7.0.7,broken\n"
    );
    let query = format!("site={site}&why=hourly");
    let (status, first) = running.list("operator", &query, &kea, "").await;
    assert_eq!(
        (status, &first["format"], &first["source"]),
        (200, &json!("kea"), &json!("leases/kea"))
    );
    assert_eq!(outcomes(&first), ["new", "ended", "refused"], "{first}");
    let id = first["rows"][0]["device"].as_str().unwrap();
    let path = format!("/v1/devices/{id}");
    let device = running.ask("viewer", "GET", &path, None).await.json();
    assert_eq!(
        (&device["hostname"]["value"], &device["addresses"]),
        (&json!("cam-5"), &json!(["10.7.0.5"]))
    );
    assert_eq!(device["last_seen"], json!(Timestamp::from_secs(later - 7_200, 0).to_string()));
    let (_, same) = running.list("operator", &query, &kea, "").await;
    assert_eq!(outcomes(&same), ["same", "ended", "refused"], "{same}");

    // Renewed, at another address and under another name.
    let (renewed, end) =
        (kea.replace("10.7.0.5", "10.7.0.50").replace("cam-5", "cam-5b"), now + 7_000);
    let renewed = renewed.replace(&later.to_string(), &end.to_string());
    let (_, changed) = running.list("operator", &query, &renewed, "").await;
    let changes: Vec<&str> = changed["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["outcome"] == "changed")
        .flat_map(|row| row["changes"].as_array().unwrap())
        .map(|change| change["field"].as_str().unwrap())
        .collect();
    assert_eq!(changes, ["addresses", "hostname"], "{changed}");
    let (status, refused) = running.list("operator", "why=hourly", &kea, "").await;
    assert_eq!((status, &refused["code"]), (400, &json!("request.invalid")), "leases need a site");
}

#[tokio::test]
async fn who_may_not_does_not_and_many_take_a_second_person() {
    let folder = Folder::new();
    let running = used(&folder).await;
    let all: Vec<String> =
        running.hub.read(|e| e.sites().iter().map(|site| site.id.to_string()).collect());
    let (mine, other) = (&all[0], &all[1]);
    let row = "mac\n00:80:f4:00:00:01\n";
    let query = |site: &str| format!("site={site}&why=delivery");
    assert_eq!(running.list("viewer", &query(mine), row, "").await.0, 403);
    let local = format!("operator@{mine}");
    assert_eq!(running.list(&local, &query(other), row, "").await.0, 403);
    let elsewhere = format!("mac,site\n00:80:f4:00:00:01,{other}\n");
    let (_, refused) = running.list(&local, "why=delivery", &elsewhere, "").await;
    assert_eq!(outcomes(&refused), ["refused"], "{refused}");
    let cut = "mac,posture\n00:80:f4:00:00:01,quarantined\n";
    let (_, refused) = running.list("operator", &query(mine), cut, "").await;
    assert!(refused["rows"][0]["why"].as_str().unwrap().contains("posture"), "{refused}");
    for (query, body, code) in [
        ("site=nowhere&why=x", row, "site.unknown"),
        ("why=x&format=xml", row, "request.invalid"),
        ("why=x&source=sensor", row, "request.invalid"),
        ("why=x&source=import/a|b", row, "request.invalid"),
        ("why=x", "colour\nred\n", "import.unreadable"),
    ] {
        let (_, problem) = running.list("operator", query, body, "").await;
        assert_eq!(problem["code"], json!(code), "{query}: {problem}");
    }

    running.auth.set_approval_above(1);
    let many = "mac,name\n00:80:f4:00:00:01,a\n00:80:f4:00:00:02,b\n";
    let (status, waits) = running.list("operator", &query(mine), many, "").await;
    assert_eq!(status, 202, "{waits}");
    let id = waits["id"].as_str().unwrap();
    let changed = many.replace(",b", ",c");
    let (status, problem) = running.list("operator", &query(mine), &changed, id).await;
    assert_eq!((status, &problem["code"]), (409, &json!("approval.other")), "not another list");
    let yes = json!({ "approve": true, "why": "looked at" });
    let second = format!("operator@{mine}");
    let said = running.ask(&second, "POST", &format!("/v1/approvals/{id}"), Some(yes)).await;
    assert_eq!(said.status, 200, "{}", said.body);
    let (status, done) = running.list("operator", &query(mine), many, id).await;
    assert_eq!((status, &done["counts"]["new"]), (200, &json!(2)), "{done}");
    // Claims alone decide nothing.
    let claims = "mac,vendor\n00:80:f4:00:00:11,a\n00:80:f4:00:00:12,b\n";
    assert_eq!(running.list("operator", &query(mine), claims, "").await.0, 200);
}

/// An estate with two sites and a team.
fn estate() -> Estate {
    let mut estate = Estate::default();
    for id in ["w1", "w2"] {
        let id = SiteId::new(id).unwrap();
        let name = id.to_string();
        carry_out(&mut estate, &Command::Site(sites::Command::Create { id, name }));
    }
    let team = teams::Team {
        id: "night".to_owned(),
        name: "Night".to_owned(),
        contact: "n@example.com".to_owned(),
        escalate_after_min: 30,
        escalate_to: None,
    };
    carry_out(&mut estate, &Command::Team(teams::Command::Set { team }));
    estate
}

fn at(day: i64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + day * 86_400, 0)
}

fn carry_out(estate: &mut Estate, command: &Command) {
    let who = Principal::host("test");
    let events = estate.decide(command, &who, at(10)).unwrap();
    let entry = estate.size();
    estate.apply(&events, At { entry, time: at(10), who: &who });
}

fn planned(estate: &Estate, text: &str, source: &str, site: &str) -> Plan {
    let lines = import::read(Format::Csv, text.as_bytes(), at(10)).unwrap();
    let (who, site) = (Principal::host("test"), SiteId::new(site).unwrap());
    let scope = Scope {
        source,
        site: Some(&site),
        who: &who,
        now: at(10),
        may: &|_| true,
        may_cut_off: true,
    };
    import::plan(estate, &lines.lines, &scope)
}

/// What a sensor, a list and a person have said of a device: its link address, values, labels, addresses.
type Told = (u8, Vec<(usize, String)>, Vec<(String, String)>, Vec<IpAddr>);

fn told() -> impl Strategy<Value = Told> {
    let text = "[ -~äß\u{2028}]{1,12}";
    (
        0_u8..20,
        prop::collection::vec((0..Field::ALL.len(), text.prop_map(String::from)), 0..6),
        prop::collection::vec(("[a-zA-Z][a-z0-9_./-]{0,5}", text.prop_map(String::from)), 0..3),
        prop::collection::vec(any::<[u8; 4]>().prop_map(IpAddr::from), 0..3),
    )
}

fn device(estate: &mut Estate, n: usize, told: &Told) {
    let (mac, values, labels, addresses) = told;
    let id = DeviceId::new(&format!("d-{n}")).unwrap();
    let word = |field: Field, text: &str| match field.words() {
        Some(words) => words[text.len() % words.len()].to_owned(),
        None => text.to_owned(),
    };
    let said = values.iter().map(|(f, text)| (Field::ALL[*f], text));
    let said = said.filter(|(field, _)| !field.is_decided_only()).map(|(field, text)| Said {
        field,
        value: Some(word(field, text)),
        detail: String::new(),
        confidence: 90,
        at: at(1),
    });
    let facts = Facts {
        id: id.clone(),
        subject: format!("s-{n}"),
        keys: vec![format!("mac/00:80:f4:00:00:{mac:02x}"), format!("serial/A %, ;B/{n}")],
        addresses: Some(addresses.clone()),
        said: said.collect(),
        first_seen: at(1),
        last_seen: at(2),
    };
    let (site, source) = (SiteId::new("w1").unwrap(), "sensor".to_owned());
    let report = devices::Command::Report { site, source, devices: vec![facts] };
    carry_out(estate, &Command::Device(report));
    if estate.devices().get(&id).is_none() {
        return; // Its link address is another's already.
    }
    let mut edit = Edit::default();
    for (field, text) in values.iter().map(|(f, text)| (Field::ALL[*f], text)) {
        let value = match field {
            Field::Assurance | Field::Site => continue,
            Field::Owner => "night".to_owned(),
            field => word(field, text),
        };
        edit.set.insert(field, Some(value));
    }
    edit.labels = labels.iter().map(|(n, v)| (n.clone(), Some(v.clone()))).collect();
    if !edit.set.is_empty() || !edit.labels.is_empty() {
        let command = devices::Command::Edit { devices: vec![id], edit };
        carry_out(estate, &Command::Device(command));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_table_that_was_given_out_changes_nothing(all in prop::collection::vec(told(), 1..6)) {
        let mut estate = estate();
        for (n, told) in all.iter().enumerate() {
            device(&mut estate, n, told);
        }
        let labels: BTreeSet<String> = estate
            .devices()
            .iter()
            .flat_map(|device| device.labels.iter().map(|(name, _)| name.to_string()))
            .collect();
        let mut text = export::head(&labels);
        estate.devices().iter().for_each(|device| text.push_str(&export::row(device, &labels)));
        let plan = planned(&estate, &text, "import/again", "w2");
        prop_assert_eq!(plan.count(Outcome::Same), estate.devices().len(), "{:?}\n{}", plan.rows, text);
        prop_assert!(plan.commands("import/again", 10).is_empty());
    }

    #[test]
    fn a_list_twice_is_a_list_once(
        all in prop::collection::vec(told(), 1..4),
        rows in prop::collection::vec((0_u8..24, "[a-z]{0,3}", "[a-z]{0,3}", prop::option::of("(low|high|x)"), 0_u8..8), 1..8),
    ) {
        let mut estate = estate();
        for (n, told) in all.iter().enumerate() {
            device(&mut estate, n, told);
        }
        let mut text = "id,mac,vendor,name,criticality,addresses,label.rack\n".to_owned();
        for (mac, vendor, name, criticality, id) in &rows {
            let id = if *id < 4 { format!("d-{id}") } else { String::new() };
            let criticality = criticality.as_deref().unwrap_or_default();
            text.push_str(&format!(
                "{id},00:80:f4:00:00:{mac:02x},{vendor},{name},{criticality},10.0.0.{mac},{vendor}\n"
            ));
        }
        let first = planned(&estate, &text, "import/list", "w1");
        for command in first.commands("import/list", 3) {
            carry_out(&mut estate, &command);
        }
        let second = planned(&estate, &text, "import/list", "w1");
        for (one, two) in first.rows.iter().zip(&second.rows) {
            match one.outcome {
                Outcome::Refused => prop_assert_eq!(two.outcome, Outcome::Refused, "{:?}", two),
                _ => prop_assert_eq!(two.outcome, Outcome::Same, "{:?}\n{}", two, text),
            }
        }
    }
}
