//! What the authority publishes, judged by openssl.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use controller::authority::Authority;
use crypto::{PrivateKey, Provider};
use estate::identities::{self, CREDENTIALS_MAX, Enrolment, How, NewCredential, Serial};
use estate::side::Digest;
use http_body_util::BodyExt as _;
use model::{DeviceId, Timestamp};
use pki::crl::{self, Crl};
use pki::{KeyKind, Pem};
use serde_json::json;
use tower::ServiceExt as _;

use crate::identities::{command, world};
use crate::{Folder, Running, now, start, start_at};

const HOUR: i64 = 3_600 * 1_000_000_000;

/// Whether the peer is there; a missing one is a failure under `RINGFENCE_STRICT=1`.
fn need(test: &str) -> bool {
    if Command::new("openssl").arg("version").output().is_ok_and(|o| o.status.success()) {
        return true;
    }
    let strict = std::env::var_os("RINGFENCE_STRICT").is_some_and(|value| value == "1");
    assert!(!strict, "{test}: the program openssl is missing (Debian package openssl)");
    eprintln!("SKIPPED {test}: the program openssl is missing");
    false
}

/// Files for a program, and what it says of them.
struct Desk(PathBuf);

impl Desk {
    fn new(folder: &Folder) -> Self {
        let path = folder.0.join("desk");
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.join(name), bytes).unwrap();
    }

    fn fetch(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap()
    }

    /// Whether it succeeds, and all that it says.
    fn openssl(&self, line: &str) -> (bool, String) {
        let ran =
            Command::new("openssl").args(line.split(' ')).current_dir(&self.0).output().unwrap();
        let said = [ran.stdout, ran.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
        (ran.status.success(), said.concat())
    }
}

/// A device with a certificate of the estate's authority, and the certificate.
pub(super) fn certified(running: &Running, id: &str, days: i64) -> (Serial, pki::Certificate) {
    let (device, now) = (DeviceId::new(id).unwrap(), running.hub.now());
    let (key, _) = PrivateKey::generate(KeyKind::P256).unwrap();
    let made = running.authority.device(&device, &key.public(), now).unwrap();
    let (serial, key) = (Serial(made.serial), Digest::of(&key.public().write()));
    let secret = Digest::of(serial.to_string().as_bytes());
    let expires_at = now.plus_nanos(HOUR);
    let token = identities::Command::IssueToken { device: device.clone(), secret, expires_at };
    command(running, estate::Command::Identity(token));
    let until = now.plus_nanos(days * 24 * HOUR).min(made.certificate.not_after());
    let since = made.certificate.not_before();
    let credential = NewCredential { key, serial, issuer: made.issuer, since, until };
    let batch = vec![Enrolment { device, credential, how: How::Token { secret } }];
    command(running, estate::Command::Identity(identities::Command::Enrol { batch }));
    (serial, made.certificate)
}

pub(super) async fn revoke(running: &Running, id: &str, reason: &str) {
    let body = json!({ "reason": reason, "why": "a test" });
    let path = format!("/v1/devices/{id}/identity/revoke");
    // No session lives as long as these clocks run.
    let done = running.ask(&running.host(), "POST", &path, Some(body)).await;
    assert_eq!(done.status, 200, "{}", done.body);
}

async fn list(running: &Running, path: &str) -> (Vec<u8>, Crl) {
    let der = running.bytes("", path).await.unwrap();
    let list =
        crl::read(&der, running.authority.issuing().certificate(), running.hub.now(), &Provider)
            .unwrap();
    (der, list)
}

async fn complete(running: &Running) -> (Vec<u8>, Crl) {
    list(running, "/pki/issuing.crl").await
}

async fn delta(running: &Running) -> (Vec<u8>, Crl) {
    list(running, "/pki/issuing-delta.crl").await
}

#[tokio::test]
async fn openssl_believes_the_lists_and_refuses_who_is_on_them() {
    if !need("openssl_believes_the_lists_and_refuses_who_is_on_them") {
        return;
    }
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    let desk = Desk::new(&folder);
    for name in ["root.pem", "issuing.pem"] {
        desk.put(name, &running.bytes("", &format!("/pki/{name}")).await.unwrap());
    }
    let ids = ["cam", "lamp"];
    for id in ids {
        let (_, certificate) = certified(&running, id, 30);
        let pem = Pem::write("CERTIFICATE", certificate.der()).unwrap();
        desk.put(&format!("{id}.pem"), pem.as_bytes());
    }
    let kept = async |name: &str| {
        desk.put(&format!("{name}.der"), &complete(&running).await.0);
        desk.put(&format!("{name}-delta.der"), &delta(&running).await.0);
        for name in [name.to_owned(), format!("{name}-delta")] {
            let line =
                format!("crl -inform DER -in {name}.der -out {name}.pem -CAfile issuing.pem");
            let (good, said) = desk.openssl(&line);
            assert!(good && said.contains("verify OK"), "{said}");
        }
    };
    let verify = |lists: &str, id: &str| {
        let chain = "-CAfile root.pem -untrusted issuing.pem";
        desk.openssl(&format!("verify -crl_check {chain} {lists} {id}.pem"))
    };
    kept("before").await;
    for id in ids {
        let (good, said) = verify("-CRLfile before.pem", id);
        assert!(good, "{said}");
    }
    revoke(&running, "cam", "key-compromise").await;
    kept("after").await;
    let text = desk.openssl("crl -inform DER -in after.der -noout -text").1;
    assert!(text.contains("Key Compromise") && text.contains("X509v3 CRL Number"), "{text}");
    assert!(text.contains("URI:https://hq/pki/issuing-delta.crl"), "{text}");
    let text = desk.openssl("crl -inform DER -in after-delta.der -noout -text").1;
    assert!(text.contains("X509v3 Delta CRL Indicator: critical"), "{text}");
    for lists in ["-CRLfile after.pem", "-use_deltas -CRLfile before.pem -CRLfile after-delta.pem"]
    {
        let (good, said) = verify(lists, "cam");
        assert!(!good && said.contains("certificate revoked"), "{lists}: {said}");
        let (good, said) = verify(lists, "lamp");
        assert!(good, "{lists}: {said}");
    }
    // The list of before does not know, and that is what the delta is for.
    assert!(verify("-CRLfile before.pem", "cam").0);
}

#[tokio::test]
async fn openssl_asks_about_single_certificates() {
    if !need("openssl_asks_about_single_certificates") {
        return;
    }
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    let desk = Desk::new(&folder);
    for name in ["root.pem", "issuing.pem"] {
        desk.put(name, &running.bytes("", &format!("/pki/{name}")).await.unwrap());
    }
    let (_, certificate) = certified(&running, "cam", 30);
    desk.put("cam.pem", Pem::write("CERTIFICATE", certificate.der()).unwrap().as_bytes());
    let of = "-issuer issuing.pem -cert cam.pem -CAfile root.pem";
    for (hash, by_path) in [("-sha1", false), ("-sha256", false), ("-sha256 -no_nonce", true)] {
        let line = format!("ocsp {hash} -issuer issuing.pem -cert cam.pem -reqout asked.der");
        assert!(desk.openssl(&line).0);
        desk.put("said.der", &asked(&running, &desk.fetch("asked.der"), by_path).await);
        let (good, said) = desk.openssl(&format!("ocsp {hash} {of} -no_nonce -respin said.der"));
        assert!(good && said.contains("Response verify OK") && said.contains(": good"), "{said}");
    }
    revoke(&running, "cam", "superseded").await;
    assert!(desk.openssl("ocsp -sha256 -issuer issuing.pem -cert cam.pem -reqout asked.der").0);
    desk.put("said.der", &asked(&running, &desk.fetch("asked.der"), false).await);
    let (_, said) = desk.openssl(&format!("ocsp -sha256 {of} -no_nonce -respin said.der"));
    assert!(said.contains("Response verify OK") && said.contains(": revoked"), "{said}");
    assert!(said.contains("Reason: superseded"), "{said}");
    // Nobody knows a certificate that no device has.
    let (key, _) = PrivateKey::generate(KeyKind::P256).unwrap();
    let never =
        running.authority.device(&DeviceId::new("gw").unwrap(), &key.public(), running.hub.now());
    let pem = Pem::write("CERTIFICATE", never.unwrap().certificate.der()).unwrap();
    desk.put("cam.pem", pem.as_bytes());
    assert!(desk.openssl("ocsp -issuer issuing.pem -cert cam.pem -reqout asked.der").0);
    desk.put("said.der", &asked(&running, &desk.fetch("asked.der"), false).await);
    let (_, said) = desk.openssl(&format!("ocsp {of} -no_nonce -respin said.der"));
    assert!(said.contains(": unknown"), "{said}");
    // Nor of another authority's; and what is no request is told so.
    assert!(desk.openssl("ocsp -issuer root.pem -cert issuing.pem -reqout asked.der").0);
    desk.put("said.der", &asked(&running, &desk.fetch("asked.der"), false).await);
    assert!(desk.openssl("ocsp -respin said.der").1.contains("unauthorized (6)"));
    desk.put("said.der", &asked(&running, b"what?", true).await);
    assert!(desk.openssl("ocsp -respin said.der").1.contains("malformedrequest (1)"));
}

/// Certificates of an authority that another one has followed stay revocable, and openssl judges them by its list and its answers.
#[tokio::test]
async fn an_authority_that_was_followed_has_lists_while_its_certificates_last() {
    if !need("an_authority_that_was_followed_has_lists_while_its_certificates_last") {
        return;
    }
    let folder = Folder::new();
    let running = start(&folder);
    world(&running).await;
    let desk = Desk::new(&folder);
    for name in ["root.pem", "issuing.pem"] {
        desk.put(
            &format!("old-{name}"),
            &running.bytes("", &format!("/pki/{name}")).await.unwrap(),
        );
    }
    for id in ["cam", "lamp"] {
        let (_, certificate) = certified(&running, id, 30);
        desk.put(
            &format!("{id}.pem"),
            Pem::write("CERTIFICATE", certificate.der()).unwrap().as_bytes(),
        );
    }
    let former = running.authority.issuing().sha256();
    drop(running);
    let state = controller::state::StateFolder::open(&folder.0).unwrap();
    Authority::next_root(&state, "ringfence.example", now()).unwrap();
    drop(state);

    let running = start(&folder);
    assert_ne!(running.authority.issuing().sha256(), former);
    let (_, new) = certified(&running, "gw", 30);
    desk.put("gw.pem", Pem::write("CERTIFICATE", new.der()).unwrap().as_bytes());
    desk.put("issuing.pem", &running.bytes("", "/pki/issuing.pem").await.unwrap());
    let issuers = running.bytes("", "/pki/issuers.pem").await.unwrap();
    let issuers = pki::Certificate::read_all(&issuers).unwrap();
    let shas: Vec<Digest> = issuers.iter().map(|one| Digest::of(one.der())).collect();
    assert_eq!(shas, [running.authority.issuing().sha256(), former]);

    let of_former = format!("/pki/issuers/{former}");
    let lists = async |name: &str| {
        desk.put(
            &format!("{name}.der"),
            &running.bytes("", &format!("{of_former}.crl")).await.unwrap(),
        );
        let delta = running.bytes("", &format!("{of_former}-delta.crl")).await.unwrap();
        desk.put(&format!("{name}-delta.der"), &delta);
        for name in [name.to_owned(), format!("{name}-delta")] {
            let line =
                format!("crl -inform DER -in {name}.der -out {name}.pem -CAfile old-issuing.pem");
            let (good, said) = desk.openssl(&line);
            assert!(good && said.contains("verify OK"), "{said}");
        }
    };
    let verify = |lists: &str, id: &str| {
        let chain = "-CAfile old-root.pem -untrusted old-issuing.pem";
        desk.openssl(&format!("verify -crl_check {chain} {lists} {id}.pem"))
    };
    lists("before").await;
    for id in ["cam", "lamp"] {
        let (good, said) = verify("-CRLfile before.pem", id);
        assert!(good, "{said}");
    }
    revoke(&running, "cam", "key-compromise").await;
    lists("after").await;
    let text = desk.openssl("crl -inform DER -in after.der -noout -text").1;
    assert!(text.contains(&format!("URI:https://hq{of_former}-delta.crl")), "{text}");
    for lists in ["-CRLfile after.pem", "-use_deltas -CRLfile before.pem -CRLfile after-delta.pem"]
    {
        let (good, said) = verify(lists, "cam");
        assert!(!good && said.contains("certificate revoked"), "{lists}: {said}");
        let (good, said) = verify(lists, "lamp");
        assert!(good, "{lists}: {said}");
    }
    // It is not on the list of the one of today, which is another one's.
    assert_eq!(complete(&running).await.1.entries().len(), 0);
    let path = format!("/pki/issuers/{}.crl", running.authority.issuing().sha256());
    assert_eq!(list(&running, &path).await.0, complete(&running).await.0);

    // Sites hear of both.
    let published = running.published.lists().unwrap();
    let authorities: Vec<Digest> = published.iter().map(|of| Digest::of(&of.authority)).collect();
    assert_eq!(authorities, shas);

    // One address answers for both.
    for (issuing, root, id, status) in [
        ("old-issuing.pem", "old-root.pem", "cam", ": revoked"),
        ("old-issuing.pem", "old-root.pem", "lamp", ": good"),
        ("issuing.pem", "root.pem", "gw", ": good"),
    ] {
        desk.put("root.pem", &running.bytes("", "/pki/root.pem").await.unwrap());
        let of = format!("-issuer {issuing} -cert {id}.pem -no_nonce");
        assert!(desk.openssl(&format!("ocsp {of} -reqout asked.der")).0);
        desk.put("said.der", &asked(&running, &desk.fetch("asked.der"), false).await);
        let (_, said) = desk.openssl(&format!("ocsp {of} -respin said.der -CAfile {root}"));
        assert!(said.contains("Response verify OK") && said.contains(status), "{id}: {said}");
    }
    let nobody = format!("/pki/issuers/{}.crl", "0".repeat(64));
    for path in [nobody.as_str(), "/pki/issuers/x.crl", "/pki/issuers/x"] {
        assert_eq!(running.bytes("", path).await.unwrap_err(), 404, "{path}");
    }
}

async fn asked(running: &Running, request: &[u8], by_path: bool) -> Vec<u8> {
    let coded = STANDARD.encode(request).replace('+', "%2B").replace('=', "%3D");
    let request = match by_path {
        true => Request::get(format!("/pki/ocsp/{coded}")).body(Body::empty()),
        false => Request::post("/pki/ocsp")
            .header(header::CONTENT_TYPE, "application/ocsp-request")
            .body(Body::from(request.to_vec())),
    };
    let response = running.router.clone().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/ocsp-response");
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

/// Nanoseconds that have passed besides.
static PASSED: AtomicI64 = AtomicI64::new(0);

fn clock() -> Timestamp {
    now().plus_nanos(PASSED.load(Ordering::SeqCst))
}

#[tokio::test]
async fn lists_are_made_when_something_changed_or_an_hour_is_over_and_their_numbers_grow() {
    let folder = Folder::new();
    let running = start_at(&folder, clock);
    world(&running).await;
    let (first, _) = certified(&running, "cam", 30);
    let pass = |nanos: i64| PASSED.fetch_add(nanos, Ordering::SeqCst);

    let (bytes, base) = complete(&running).await;
    assert_eq!((base.entries().len(), base.base()), (0, None));
    assert!(base.check(clock()).is_ok());
    let (_, empty) = delta(&running).await;
    assert_eq!((empty.base(), empty.entries().len()), (Some(base.number()), 0));
    assert!(empty.number() > base.number());
    pass(HOUR / 2);
    assert_eq!(complete(&running).await.0, bytes, "nothing has changed");
    let tag = format!("\"{}\"", base.number());
    let known = [("If-None-Match", tag.as_str())];
    let same = running.ask_with("", "GET", "/pki/issuing.crl", None, &known).await;
    assert_eq!((same.status, same.etag), (304, tag.clone()));

    revoke(&running, "cam", "key-compromise").await;
    let (_, second) = complete(&running).await;
    assert!(second.number() > empty.number());
    assert_eq!(second.entries()[0].serial, pki::Number::from(first.0));
    let (_, changed) = delta(&running).await;
    assert_eq!((changed.number(), changed.base()), (second.number(), Some(base.number())));
    let applied = base.apply(&changed).unwrap();
    assert_eq!(applied.entries(), second.entries());

    // An hour later it is another one that says the same; a day later deltas are to it.
    pass(HOUR);
    let (_, third) = complete(&running).await;
    assert!(third.number() > second.number() && third.entries() == second.entries());
    assert!(third.check(clock().plus_nanos(23 * HOUR)).is_ok());
    pass(25 * HOUR);
    let (_, fourth) = complete(&running).await;
    let (_, later) = delta(&running).await;
    assert_eq!((later.base(), later.entries().len()), (Some(fourth.number()), 0));
    assert!(base.apply(&later).is_err(), "who has an older list needs a complete one");

    // Numbers grow over a restart, and when the clock is set back, as long as the journal does.
    drop(running);
    pass(-2 * HOUR);
    let running = start_at(&folder, clock);
    certified(&running, "lamp", 30);
    let (_, again) = complete(&running).await;
    assert!(again.number() > fourth.number(), "{} after {}", again.number(), fourth.number());
    assert_eq!(again.entries(), fourth.entries());

    // One that is over stays for one list more, and is taken away by the delta.
    pass(30 * 24 * HOUR);
    let (_, all) = complete(&running).await;
    assert_eq!(all.entries().len(), 0, "it is over");
}

/// The same for a device that asks without end.
static BUSY: AtomicI64 = AtomicI64::new(0);

fn busy_clock() -> Timestamp {
    now().plus_nanos(BUSY.load(Ordering::SeqCst))
}

#[tokio::test]
async fn one_certificate_too_many_is_revoked_and_what_was_revoked_stays_so() {
    let folder = Folder::new();
    let running = start_at(&folder, busy_clock);
    world(&running).await;
    let (first, _) = certified(&running, "cam", 30);
    revoke(&running, "cam", "key-compromise").await;
    let (second, _) = certified(&running, "cam", 30);
    for _ in 0..CREDENTIALS_MAX {
        // A device gets few in an hour.
        BUSY.fetch_add(HOUR, Ordering::SeqCst);
        certified(&running, "cam", 30);
    }
    let (_, list) = complete(&running).await;
    let reason = |serial: Serial| list.find(&pki::Number::from(serial.0)).map(|entry| entry.reason);
    assert_eq!(list.entries().len(), 2);
    assert_eq!(reason(first), Some(crl::Reason::KeyCompromise));
    assert_eq!(reason(second), Some(crl::Reason::Superseded));
}
