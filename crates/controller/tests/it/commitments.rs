//! Commitments under real keys, through both doors, on a real journal.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use controller::api::ENDPOINTS;
use crypto::{NoteKey, PrivateKey};
use estate::devices::{self, Facts};
use estate::{Command, sites};
use http_body_util::BodyExt as _;
use journal::Hash;
use journal::commitment::{Class, Commitment, Key, NOTHING, Signed, prove, root};
use journal::entry::Entry;
use model::{DeviceId, SiteId};
use pki::{KeyKind, Pem, Signer as _};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::line::Hq;
use crate::{Folder, Running, now, start};
use controller::line::Timing;

/// A device with its key, and what it knows of itself.
struct Device {
    id: &'static str,
    key: PrivateKey,
    class: Class,
    epoch: u64,
    next: u64,
    previous: Hash,
}

impl Device {
    fn new(id: &'static str, kind: KeyKind) -> Self {
        let (key, _) = PrivateKey::generate(kind).unwrap();
        Self { id, key, class: Class::Device, epoch: 0, next: 0, previous: NOTHING }
    }

    fn public(&self) -> Key {
        let key = self.key.public();
        match key.kind {
            KeyKind::Ed25519 => Key::Ed25519(key.bytes.try_into().unwrap()),
            _ => Key::P256(key.bytes.try_into().unwrap()),
        }
    }

    fn pem(&self) -> String {
        Pem::write("PUBLIC KEY", &self.key.public().write()).unwrap()
    }

    fn commitment(&self, messages: &[&str]) -> Commitment {
        let count = u64::try_from(messages.len()).unwrap();
        Commitment {
            class: self.class,
            key: self.public().id(),
            device: self.id.to_owned(),
            epoch: self.epoch,
            first: self.next,
            last: self.next + count - 1,
            previous: self.previous,
            root: root(messages),
        }
    }

    fn sign(&self, commitment: Commitment) -> Signed {
        let signature = self.key.sign(&commitment.message().unwrap()).unwrap();
        let signature = match self.key.public().kind {
            KeyKind::Ed25519 => signature.try_into().unwrap(),
            _ => fixed(&signature),
        };
        Signed { commitment, signature }
    }

    /// The next batch, which counts when it arrives.
    fn commit(&mut self, messages: &[&str]) -> Signed {
        let commitment = self.commitment(messages);
        self.next = commitment.last + 1;
        self.previous = commitment.hash().unwrap();
        self.sign(commitment)
    }
}

/// `r` and `s` of an ECDSA signature in DER, 32 bytes each.
fn fixed(der: &[u8]) -> [u8; 64] {
    let mut out = [0; 64];
    let mut at = 2;
    for half in 0..2 {
        let length = usize::from(der[at + 1]);
        let number = &der[at + 2..at + 2 + length];
        let number = &number[number.len().saturating_sub(32)..];
        out[half * 32 + 32 - number.len()..half * 32 + 32].copy_from_slice(number);
        at += 2 + length;
    }
    out
}

fn sequence(all: &[Signed]) -> Vec<u8> {
    all.iter().flat_map(|signed| signed.encode().unwrap()).collect()
}

fn site(running: &Running, id: &str) {
    let id = SiteId::new(id).unwrap();
    let create = sites::Command::Create { id: id.clone(), name: id.to_string() };
    command(running, Command::Site(create));
}

fn command(running: &Running, command: Command) {
    let who = estate::access::Principal::host("test");
    running.hub.command(&who, "a test", command, Default::default()).unwrap();
}

fn seen(running: &Running, at: &str, ids: &[&str]) {
    let facts = |id: &&str| Facts {
        id: DeviceId::new(id).unwrap(),
        subject: (*id).to_owned(),
        keys: vec![format!("serial/ACME/{id}")],
        addresses: None,
        said: Vec::new(),
        first_seen: now(),
        last_seen: now(),
    };
    let devices = ids.iter().map(facts).collect();
    let (site, source) = (SiteId::new(at).unwrap(), "import/test".to_owned());
    command(running, Command::Device(devices::Command::Report { site, source, devices }));
}

async fn register(running: &Running, device: &Device, gateway: Option<&str>) {
    let path = format!("/v1/devices/{}/keys", device.id);
    let body = json!({
        "key": device.pem(), "gateway": gateway, "epoch": device.epoch, "why": "installed",
    });
    let made = running.ask("security-admin", "POST", &path, Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.body);
}

/// Sends over the API; the results.
async fn send(running: &Running, who: &str, all: &[Signed]) -> Vec<String> {
    let (status, body) = post(running, who, sequence(all), "application/cbor-seq").await;
    assert_eq!(status, 200, "{body}");
    results(&body)
}

fn results(body: &Value) -> Vec<String> {
    let items = body["items"].as_array().unwrap();
    items.iter().map(|item| item["result"].as_str().unwrap().to_owned()).collect()
}

async fn post(running: &Running, who: &str, bytes: Vec<u8>, kind: &str) -> (u16, Value) {
    let bearer = running.bearer(who).await;
    brought(running.router.clone(), bearer, bytes, kind.to_owned()).await
}

async fn brought(router: Router, bearer: String, bytes: Vec<u8>, kind: String) -> (u16, Value) {
    let request = Request::builder().method("POST").uri("/v1/commitments");
    let request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
    let request = request.header(header::CONTENT_TYPE, kind).body(Body::from(bytes)).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn chains(running: &Running, device: &str) -> Value {
    let path = format!("/v1/devices/{device}/commitments");
    let answer = running.ask("viewer", "GET", &path, None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["items"].clone()
}

#[tokio::test]
async fn what_a_device_signed_counts_once_and_is_in_the_journal_byte_for_byte() {
    for kind in [KeyKind::Ed25519, KeyKind::P256] {
        let folder = Folder::new();
        let running = start(&folder);
        site(&running, "w1");
        seen(&running, "w1", &["cam-1", "cam-2"]);
        let mut cam = Device::new("cam-1", kind);
        register(&running, &cam, None).await;
        let messages = ["21.5", "21.6", "21.7"];
        let one = cam.commit(&messages);
        let two = cam.commit(&["21.8"]);
        let both = [one.clone(), two.clone()];
        assert_eq!(send(&running, "operator", &both).await, ["accepted", "accepted"]);
        // The answer was lost; somebody sends it again.
        let size = running.hub.read(estate::Estate::size);
        assert_eq!(send(&running, "operator", &both).await, ["again", "again"]);
        assert_eq!(send(&running, "operator", std::slice::from_ref(&one)).await, ["again"]);
        assert_eq!(running.hub.read(estate::Estate::size), size, "that is no entry");
        let chain = chains(&running, "cam-1").await[0].clone();
        assert_eq!(chain["last"]["last"], 3);
        assert_eq!(
            (&chain["commitments"], &chain["messages"], &chain["found"]),
            (&json!(2), &json!(4), &json!(0))
        );
        // Years later, with the journal alone: the device sent this message.
        let entry: u64 = chain["last"]["entry"].as_u64().unwrap();
        let entry = running.hub.entry(entry).unwrap().unwrap();
        let entry = Entry::decode(&entry.encode().unwrap()).unwrap();
        let evidence = estate::record::events(&entry).unwrap();
        let evidence = evidence.into_iter().find_map(|event| match event {
            estate::Event::Commitment(estate::commitments::Event::Committed { commitments }) => {
                Some(commitments[0].0.clone())
            }
            _ => None,
        });
        let evidence = evidence.unwrap();
        assert_eq!(evidence.encode(), one.encode());
        let key = cam.public();
        let speaker = journal::commitment::Speaker {
            class: Class::Device,
            key: &key,
            device: "cam-1",
            epoch: 0,
        };
        let accepted =
            journal::commitment::accept(&evidence, &speaker, None, &crypto::Provider).unwrap();
        let path = prove(&messages, 1).unwrap();
        assert_eq!(accepted.verify(1, b"21.6", &path), Ok(()));
        assert!(accepted.verify(1, b"21.7", &path).is_err());
    }
}

#[tokio::test]
async fn what_cannot_be_true_is_refused_by_name_and_kept_as_evidence_also_over_a_restart() {
    let folder = Folder::new();
    let running = start(&folder);
    site(&running, "w1");
    seen(&running, "w1", &["cam-1", "cam-2", "gate-1"]);
    let mut cam = Device::new("cam-1", KeyKind::P256);
    let mut gate = Device { class: Class::Gateway, ..Device::new("cam-1", KeyKind::Ed25519) };
    register(&running, &cam, None).await;
    register(&running, &gate, Some("gate-1")).await;
    let one = cam.commit(&["a"]);
    let fork = {
        let mut twin = Device {
            next: 0,
            previous: NOTHING,
            key: cam.key,
            ..Device::new("cam-1", KeyKind::P256)
        };
        let fork = twin.commit(&["b"]);
        cam.key = twin.key;
        fork
    };
    let saw = gate.commit(&["a"]);
    let mut forged = cam.sign(cam.commitment(&["x"]));
    forged.signature[9] ^= 1;
    let wrong_class = gate.sign(Commitment { class: Class::Device, ..gate.commitment(&["x"]) });
    let other_device =
        cam.sign(Commitment { device: "cam-2".to_owned(), ..cam.commitment(&["x"]) });
    let gap = cam.sign(Commitment { first: 9, last: 9, ..cam.commitment(&["x"]) });
    let astray = cam.sign(Commitment { previous: NOTHING, ..cam.commitment(&["x"]) });
    let stranger = Device::new("cam-1", KeyKind::Ed25519).commit(&["x"]);
    let all = [one.clone(), fork, saw, forged, wrong_class, other_device, gap, astray, stranger];
    let expected = [
        "accepted",
        "commitment.fork",
        "accepted",
        "commitment.signature",
        "commitment.key-unknown",
        "commitment.key-unknown",
        "commitment.gap",
        "commitment.previous",
        "commitment.key-unknown",
    ];
    assert_eq!(send(&running, "operator", &all).await, expected);
    let shown = chains(&running, "cam-1").await;
    assert_eq!((&shown[0]["class"], &shown[0]["found"]), (&json!("device"), &json!(3)));
    assert_eq!((&shown[1]["gateway"], &shown[1]["found"]), (&json!("gate-1"), &json!(0)));
    let metrics = running.ask("admin", "GET", "/metrics", None).await.body;
    for (word, count) in [("accepted", 2), ("again", 0), ("found", 3), ("refused", 4)] {
        let line = format!("ringfence_commitments{{result=\"{word}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    let before = running.hub.read(Clone::clone);
    let token = running.bearer("operator").await;
    drop(running);
    drop(token);

    // From the journal, then from a snapshot.
    let running = start(&folder);
    assert!(running.hub.read(|estate| *estate == before));
    running.hub.snapshot().unwrap();
    drop(running);
    let running = start(&folder);
    assert!(running.hub.read(|estate| *estate == before));
    let two = cam.commit(&["b"]);
    assert_eq!(send(&running, "operator", &[one, two]).await, ["again", "accepted"]);
    // A key that is taken away signs nothing that counts; the next one begins an epoch.
    let keys = running.ask("viewer", "GET", "/v1/devices/cam-1/keys", None).await.json();
    let mine = estate::side::Digest::from(cam.public().id()).to_string();
    assert!(keys["items"].as_array().unwrap().iter().any(|key| key["id"] == mine.as_str()));
    let path = format!("/v1/devices/cam-1/keys/{mine}?why=opened");
    assert_eq!(running.ask("operator", "DELETE", &path, None).await.status, 403);
    assert_eq!(running.ask("security-admin", "DELETE", &path, None).await.status, 204);
    assert_eq!(send(&running, "operator", &[cam.commit(&["c"])]).await, ["commitment.key-revoked"]);
    let mut cam = Device { epoch: 1, ..Device::new("cam-1", KeyKind::Ed25519) };
    register(&running, &cam, None).await;
    assert_eq!(send(&running, "operator", &[cam.commit(&["d"])]).await, ["accepted"]);
}

#[tokio::test]
async fn keys_are_registered_by_who_may_and_a_key_that_is_no_good_is_said() {
    let folder = Folder::new();
    let running = start(&folder);
    site(&running, "w1");
    site(&running, "w2");
    seen(&running, "w1", &["cam-1"]);
    seen(&running, "w2", &["cam-2"]);
    let cam = Device::new("cam-1", KeyKind::P256);
    let good = json!({ "key": cam.pem(), "why": "installed" });
    let path = "/v1/devices/cam-1/keys";
    assert_eq!(running.ask("operator", "POST", path, Some(good.clone())).await.status, 403);
    assert_eq!(
        running.ask("security-admin@w2", "POST", path, Some(good.clone())).await.status,
        404
    );
    let made = running.ask("security-admin@w1", "POST", path, Some(good.clone())).await;
    assert_eq!((made.status, &made.json()["epoch"]), (201, &json!(0)), "{}", made.body);
    let taken = running.ask("security-admin", "POST", "/v1/devices/cam-2/keys", Some(good)).await;
    assert_eq!(taken.problem(), (409, "key.taken".to_owned()));
    assert!(taken.json()["detail"].as_str().unwrap().contains("cam-1"), "{}", taken.body);
    let (_, private) = PrivateKey::generate(KeyKind::Ed25519).unwrap();
    let weak = format!("ed25519:01{}", "00".repeat(31));
    let nowhere = format!("p256:04{}", "01".repeat(64));
    let p384 = PrivateKey::generate(KeyKind::P384).unwrap().0;
    let p384 = Pem::write("PUBLIC KEY", &p384.public().write()).unwrap();
    for (key, code) in [
        (weak.as_str(), "key.weak"),
        (&nowhere, "key.malformed"),
        (&p384, "key.malformed"),
        (&private, "key.malformed"),
        ("", "key.malformed"),
    ] {
        let body = json!({ "key": key, "why": "x" });
        let answer = running.ask("security-admin", "POST", path, Some(body)).await;
        assert_eq!(answer.problem(), (422, code.to_owned()), "{key}: {}", answer.body);
    }
    let nobody = json!({ "key": cam.pem(), "why": "x" });
    let answer = running.ask("security-admin", "POST", "/v1/devices/none/keys", Some(nobody)).await;
    assert_eq!(answer.problem(), (404, "device.unknown".to_owned()));
    for path in ["/v1/devices/cam-1/keys/00", "/v1/devices/none/keys/00"] {
        assert_eq!(running.ask("security-admin", "DELETE", path, None).await.status, 404);
    }
    // Whoever is for some sites brings nothing of others.
    let mut cam = cam;
    let one = [cam.commit(&["a"])];
    assert_eq!(send(&running, "operator@w2", &one).await, ["commitment.key-unknown"]);
    assert_eq!(send(&running, "operator@w1", &one).await, ["accepted"]);
    assert!(ENDPOINTS.iter().any(|(_, path, _)| *path == "/v1/commitments"));
}

#[tokio::test]
async fn bytes_that_are_no_commitments_change_nothing() {
    let folder = Folder::new();
    let running = start(&folder);
    site(&running, "w1");
    seen(&running, "w1", &["cam-1"]);
    let mut cam = Device::new("cam-1", KeyKind::Ed25519);
    register(&running, &cam, None).await;
    running.bearer("operator").await;
    let size = running.hub.read(estate::Estate::size);
    let good = sequence(&[cam.commit(&["a"]), cam.commit(&["b"])]);
    let kind = "application/cbor-seq";
    for (bytes, kind, status, code) in [
        (good.clone(), "application/json", 415, "request.media"),
        (Vec::new(), kind, 400, "commitment.malformed"),
        (good[..good.len() - 1].to_vec(), kind, 400, "commitment.malformed"),
        ([&good[..], &[0]].concat(), kind, 400, "commitment.malformed"),
        (b"[]".to_vec(), kind, 400, "commitment.malformed"),
        (good[..good.len() / 2].repeat(1_025), kind, 400, "commitment.malformed"),
    ] {
        let (got, body) = post(&running, "operator", bytes, kind).await;
        assert_eq!((got, &body["code"]), (status, &json!(code)), "{body}");
    }
    let bearer = running.bearer("operator").await;
    let request = Request::builder().method("POST").uri("/v1/commitments");
    let request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
    let request = request.header(header::CONTENT_TYPE, kind);
    let request = request.body(Body::from(vec![0; (512 << 10) + 1])).unwrap();
    let answer = running.router.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status().as_u16(), 413);
    assert_eq!(running.hub.read(estate::Estate::size), size);
}

/// A few are checked where they are, more of them on all cores: each gets its own answer either way, in the order in which they came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_come_each_signature_is_judged_by_itself() {
    let folder = Folder::new();
    let running = start(&folder);
    site(&running, "w1");
    seen(&running, "w1", &["cam"]);
    let mut cam = Device::new("cam", KeyKind::Ed25519);
    register(&running, &cam, None).await;
    // Around both limits: what is worth a thread, and what is worth another one.
    for count in [1, 3, 4, 5, 15, 16, 17, 33] {
        for wrong in [0, count / 2, count - 1] {
            let mut all: Vec<Signed> = (1..count).map(|_| cam.commit(&["a"])).collect();
            let mut forged = all.get(wrong).cloned().unwrap_or_else(|| {
                let next = cam.commitment(&["a"]);
                cam.sign(next)
            });
            forged.signature[9] ^= 1;
            all.insert(wrong, forged);
            let came = send(&running, "operator", &all).await;
            let expected = (0..count).map(|n| match n == wrong {
                true => "commitment.signature",
                false => "accepted",
            });
            assert_eq!(came, expected.collect::<Vec<_>>(), "{count}, {wrong}");
        }
    }
}

/// Requests that come at once share writes, nobody's answer is another's, and one that goes away takes nothing along.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_are_written_together_and_each_gets_its_own_answer() {
    let folder = Folder::new();
    let running = start(&folder);
    site(&running, "w1");
    let ids: Vec<&'static str> =
        (0..24).map(|n| &*Box::leak(format!("cam-{n}").into_boxed_str())).collect();
    seen(&running, "w1", &ids);
    let bearers = [running.bearer("operator").await, running.bearer("admin").await];
    let mut senders = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        let mut cam = Device::new(id, KeyKind::Ed25519);
        register(&running, &cam, None).await;
        let (router, bearer) = (running.router.clone(), bearers[n % 2].clone());
        senders.push(tokio::spawn(async move {
            let send = |all: &[Signed]| {
                let kind = "application/cbor-seq".to_owned();
                brought(router.clone(), bearer.clone(), sequence(all), kind)
            };
            for round in 0..10 {
                let good = cam.commit(&["a"]);
                let mut bad = good.clone();
                bad.signature[0] ^= 1;
                if round == n % 10 {
                    // It goes away; what it sent may count or not, and comes again.
                    let lost = send(std::slice::from_ref(&good));
                    let _ = tokio::time::timeout(std::time::Duration::from_micros(300), lost).await;
                }
                let (status, body) = send(&[bad, good]).await;
                assert_eq!(status, 200, "{body}");
                let came = results(&body);
                assert_eq!(came[0], "commitment.signature");
                assert!(["accepted", "again"].contains(&&*came[1]), "{came:?}");
            }
        }));
    }
    for sender in senders {
        sender.await.unwrap();
    }
    for id in ids {
        let chain = chains(&running, id).await[0].clone();
        assert_eq!((&chain["commitments"], &chain["found"]), (&json!(10), &json!(0)), "{id}");
    }
}

#[tokio::test]
async fn two_sites_that_bring_one_chain_at_once_make_one_history() {
    let folder = Folder::new();
    let hq = Hq::new(&folder, Timing::default()).await;
    let (north, south) = (hq.site("north"), hq.site("south"));
    seen(&hq.running, "north", &["cam-1"]);
    let mut cam = Device::new("cam-1", KeyKind::P256);
    register(&hq.running, &cam, None).await;
    let mut lines = Vec::new();
    for site in [&north, &south] {
        let credentials = hq.enrolled(site).await;
        lines.push(hq.dial(hq.with_credentials(&credentials)).await);
    }
    let (mut a, mut b) = (lines.remove(0), lines.remove(0));
    let path = "/site/v1/commitments";
    for round in 0..10 {
        let mut twin = Device {
            id: cam.id,
            key: cam.key,
            class: cam.class,
            epoch: cam.epoch,
            next: cam.next,
            previous: cam.previous,
        };
        let other = twin.commit(&["another history"]);
        cam.key = twin.key;
        let one = cam.commit(&["one"]);
        let second = if round % 2 == 0 { &one } else { &other };
        let (x, y) = tokio::join!(
            a.post(path, sequence(std::slice::from_ref(&one))),
            b.post(path, sequence(std::slice::from_ref(second))),
        );
        let (x, y) = (x.unwrap(), y.unwrap());
        assert_eq!((x.status, y.status), (200, 200), "{} {}", x.text(), y.text());
        let mut both = [results(&x.of()), results(&y.of())].concat();
        // Whichever came first counts.
        if round % 2 == 1 && results(&y.of()) == ["accepted"] {
            cam.previous = other.commitment.hash().unwrap();
        }
        both.sort_unstable();
        let expected =
            if round % 2 == 0 { ["accepted", "again"] } else { ["accepted", "commitment.fork"] };
        assert_eq!(both, expected, "round {round}");
    }
    let chain = chains(&hq.running, "cam-1").await[0].clone();
    assert_eq!((&chain["commitments"], &chain["found"]), (&json!(10), &json!(5)));
    // The journal says who brought it.
    let entry = hq.running.hub.entry(chain["last"]["entry"].as_u64().unwrap()).unwrap().unwrap();
    assert_eq!(entry.who.kind.as_str(), "site");
    // A site whose devices sign without end waits, and can still say everything else.
    let garbage = a.post(path, b"no commitments".to_vec()).await.unwrap();
    assert_eq!(garbage.code(), (400, "commitment.malformed".to_owned()));
    let long = a.post(path, vec![0; (512 << 10) + 1]).await.unwrap();
    assert_eq!(long.status, 413);
    // Nobody's: that takes no time, so that the purse is empty before it is filled again.
    let stranger = Device::new("cam-9", KeyKind::Ed25519).commit(&["x"]);
    let same = sequence(&vec![stranger; 1_024]);
    let mut refused = None;
    for _ in 0..500 {
        let answer = a.post(path, same.clone()).await.unwrap();
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    assert_eq!(refused.unwrap().code().1, "line.pace");
}

/// A note key is an Ed25519 key as well: what a gateway of ours signs with it counts.
#[tokio::test]
async fn a_gateway_of_ours_signs_what_it_saw() {
    let folder = Folder::new();
    let running = start(&folder);
    site(&running, "w1");
    seen(&running, "w1", &["plc-1", "gate-1"]);
    let mut gate = Device { class: Class::Gateway, ..Device::new("plc-1", KeyKind::Ed25519) };
    register(&running, &gate, Some("gate-1")).await;
    let commitment = gate.commitment(&["a"]);
    let signed = gate.commit(&["a"]);
    let key: NoteKey = gate.key.try_into().unwrap();
    assert_eq!(Signed::sign(commitment, &key).unwrap(), signed);
    assert_eq!(send(&running, "operator", &[signed]).await, ["accepted"]);
}
