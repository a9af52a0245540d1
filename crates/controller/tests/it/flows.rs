//! Who talked to whom: what a site tells by address is kept by device, counts once, and is shown to whoever sees the device.

use controller::line::Timing;
use model::Timestamp;
use model::line::{Batch, End, FLOWS_MAX, Flow, Sighting, Traffic};
use model::observation::Transport;
use serde_json::Value;

use super::line::{Client, Hq};
use crate::{Folder, now};

const CAMERA: ([u8; 6], [u8; 4]) = ([0x00, 0x80, 0xf4, 0, 0, 1], [10, 0, 0, 1]);
const NVR: ([u8; 6], [u8; 4]) = ([0x00, 0x80, 0xf4, 0, 0, 2], [10, 0, 0, 2]);
const ROUTER: ([u8; 6], [u8; 4]) = ([0x00, 0x80, 0xf4, 0, 0, 3], [10, 0, 0, 254]);

fn end((mac, ip): ([u8; 6], [u8; 4])) -> End {
    End { mac: model::Mac(mac), ip: Some(ip.into()) }
}

/// What a router forwards for somebody outside.
fn outside() -> End {
    End { ip: Some([192, 0, 2, 9].into()), ..end(ROUTER) }
}

fn flow(client: End, server: End, port: u16, last: Timestamp) -> Flow {
    Flow {
        client,
        server,
        transport: Transport::Tcp,
        port,
        protocol: Some("rtsp".to_owned()),
        name: Some("nvr\u{1b}[31m.example".to_owned()),
        certain: true,
        first: last.plus_nanos(-1_000_000_000),
        last,
        flows: 1,
        packets: [20, 10],
        bytes: [2_000, 1_000],
    }
}

async fn post(client: &mut Client, path: &str, body: &impl serde::Serialize) -> u16 {
    let packed = zstd::encode_all(&*serde_json::to_vec(body).unwrap(), 3).unwrap();
    client.post(path, packed).await.unwrap().status
}

/// A site that is connected and has seen three devices, by kind.
async fn north(hq: &Hq) -> (Client, [String; 3]) {
    let site = hq.site("north");
    hq.site("south");
    let shown = hq.enrolled(&site).await;
    let mut client = hq.dial(hq.with_credentials(&shown)).await;
    let seen = |(mac, ip): ([u8; 6], [u8; 4])| Sighting {
        macs: vec![model::Mac(mac).to_string()],
        ips: vec![std::net::IpAddr::from(ip).to_string()],
        keys: Vec::new(),
        attributes: std::collections::BTreeMap::new(),
        seen_at: now(),
    };
    let devices = [CAMERA, NVR, ROUTER].map(seen).to_vec();
    let batch = Batch { number: 1, events: Vec::new(), devices };
    assert_eq!(post(&mut client, "/site/v1/observations", &batch).await, 200);
    let mut ids = Vec::new();
    for (_, ip) in [CAMERA, NVR, ROUTER] {
        let path = format!("/v1/devices?l=address%3D{}", std::net::IpAddr::from(ip));
        let found = hq.running.ask("viewer", "GET", &path, None).await.json();
        ids.push(found["items"][0]["id"].as_str().unwrap().to_owned());
    }
    (client, ids.try_into().unwrap())
}

async fn flows(hq: &Hq, who: &str, id: &str, query: &str) -> Value {
    let path = format!("/v1/devices/{id}/flows{query}");
    let answer = hq.running.ask(who, "GET", &path, None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[tokio::test]
async fn what_a_site_tells_by_address_is_of_its_devices_and_counts_once() {
    let folder = Folder::new();
    let hq = Hq::new(&folder, Timing::default()).await;
    let (mut client, [camera, nvr, router]) = north(&hq).await;
    let told = vec![
        flow(end(CAMERA), end(NVR), 554, now()),
        flow(end(CAMERA), outside(), 443, now()),
        // Of nobody here, and of a time that is not kept.
        flow(outside(), outside(), 1, now()),
        flow(end(CAMERA), end(NVR), 2, Timestamp::from_secs(1_000, 0)),
    ];
    let report = Traffic { run: now(), number: 1, flows: told };
    for _ in 0..2 {
        assert_eq!(post(&mut client, "/site/v1/traffic", &report).await, 204);
    }
    let of_camera = flows(&hq, "viewer", &camera, "").await;
    let items = of_camera["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{of_camera}");
    let to = |address: &str| items.iter().find(|row| row["address"] == *address).unwrap();
    let (inside, out) = (to("10.0.0.2"), to("192.0.2.9"));
    assert_eq!((&inside["peer"], &inside["role"]), (&nvr.into(), &"client".into()));
    assert_eq!((&inside["bytes_out"], &inside["bytes_in"]), (&2_000.into(), &1_000.into()));
    assert_eq!(inside["name"], "nvr[31m.example", "what a terminal obeys is gone");
    assert_eq!(out["peer"], Value::Null, "a router is not whom it forwards for");
    assert_eq!(of_camera["hours"][0]["packets_out"], 40);
    let of_router = flows(&hq, "viewer", &router, "").await;
    assert_eq!(of_router["items"].as_array().unwrap().len(), 0);

    let nvr = inside["peer"].as_str().unwrap();
    let of_nvr = flows(&hq, "viewer", nvr, "").await;
    let row = &of_nvr["items"][0];
    assert_eq!((&row["peer"], &row["role"]), (&camera.as_str().into(), &"server".into()));
    assert_eq!((&row["bytes_out"], &row["bytes_in"]), (&1_000.into(), &2_000.into()));

    // Pages, the sums with the first one only.
    let first = flows(&hq, "viewer", &camera, "?limit=1").await;
    let next = first["next"].as_str().unwrap();
    let second = flows(&hq, "viewer", &camera, &format!("?limit=1&page={next}")).await;
    assert_ne!(first["items"][0]["address"], second["items"][0]["address"]);
    assert_eq!((&second["next"], &second["hours"]), (&Value::Null, &Value::Null));
    // Nothing of it is in the journal.
    let size = hq.running.hub.read(estate::Estate::size);
    let more = Traffic { number: 2, flows: vec![flow(end(NVR), end(CAMERA), 80, now())], ..report };
    assert_eq!(post(&mut client, "/site/v1/traffic", &more).await, 204);
    assert_eq!(hq.running.hub.read(estate::Estate::size), size);
}

#[tokio::test]
async fn who_does_not_see_a_device_sees_no_flow_of_it_and_no_report_is_beyond_bounds() {
    let folder = Folder::new();
    let hq = Hq::new(&folder, Timing::default()).await;
    let (mut client, [camera, ..]) = north(&hq).await;
    let all = vec![flow(end(CAMERA), end(NVR), 554, now()); FLOWS_MAX + 1];
    let mut report = Traffic { run: now(), number: 1, flows: all };
    assert_eq!(post(&mut client, "/site/v1/traffic", &report).await, 400);
    report.flows.truncate(FLOWS_MAX);
    assert_eq!(post(&mut client, "/site/v1/traffic", &report).await, 204);
    for body in [b"".to_vec(), b"{}".to_vec(), zstd::encode_all(&b"{}"[..], 1).unwrap()] {
        assert_eq!(client.post("/site/v1/traffic", body).await.unwrap().status, 400);
    }
    let path = format!("/v1/devices/{camera}/flows");
    for (who, path) in [("viewer@south", path.as_str()), ("viewer", "/v1/devices/dev-none/flows")] {
        let answer = hq.running.ask(who, "GET", path, None).await;
        assert_eq!(answer.problem(), (404, "device.unknown".to_owned()));
    }
    for query in ["?limit=0", "?page=00", "?page=7b7d"] {
        let answer = hq.running.ask("viewer", "GET", &format!("{path}{query}"), None).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.body);
    }
    assert_eq!(flows(&hq, "viewer@north", &camera, "").await["items"][0]["flows"], 1_000);
}
