//! The journal over the API, read and verified by somebody who believes nothing but the key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::Hash;
use journal::checkpoint::SignedCheckpoint;
use journal::policy::Policy;
use journal::tile::{TileNodes, TilePath, TileSource};
use journal::tlog_proof::TlogProof;
use serde_json::json;

use crate::{Folder, Running, start};

async fn entries(running: &Running, count: usize) {
    for n in 0..count {
        let team = json!({ "name": format!("team {n}"), "contact": "x@example.com", "escalate_after_min": 30, "why": "drill" });
        let answer = running.ask("admin", "PUT", &format!("/v1/teams/t{n}"), Some(team)).await;
        assert!(answer.status < 300, "{}", answer.body);
    }
    running.hub.publish().unwrap();
}

#[tokio::test]
async fn before_the_first_signature_there_is_no_head_and_no_proof() {
    let folder = Folder::new();
    let running = start(&folder);
    let head = running.ask("admin", "GET", "/v1/journal/checkpoint", None).await;
    assert_eq!(head.problem(), (404, "journal.unsigned".to_owned()));
    let proof = running.ask("admin", "GET", "/v1/journal/entries/0/proof", None).await;
    assert_eq!(proof.problem(), (404, "journal.entry".to_owned()));
    let standing = running.ask("admin", "GET", "/v1/journal", None).await.json();
    assert_eq!((&standing["signed"], &standing["witnesses"]), (&json!(0), &json!([])));
    assert!(standing["entries"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn every_entry_is_proved_to_who_has_only_the_key() {
    let folder = Folder::new();
    let running = start(&folder);
    entries(&running, 9).await;
    let standing = running.ask("operator", "GET", "/v1/journal", None).await.json();
    let key = standing["verifier_key"].as_str().unwrap().parse().unwrap();
    let policy = Policy::log_alone(key);
    let size = standing["signed"].as_u64().unwrap();
    for number in 0..size {
        let path = format!("/v1/journal/entries/{number}/proof");
        let proof = running.ask("operator", "GET", &path, None).await.json();
        let entry = STANDARD.decode(proof["entry"].as_str().unwrap()).unwrap();
        let kept = TlogProof::decode(proof["tlog_proof"].as_str().unwrap().as_bytes()).unwrap();
        kept.verify(&Hash::leaf(&entry), &policy, &crypto::Provider).unwrap();
        kept.verify(&Hash::leaf(b"another"), &policy, &crypto::Provider).unwrap_err();
        // The parts say the same as the text.
        let path: Vec<String> = kept.hashes.iter().map(ToString::to_string).collect();
        assert_eq!(proof["path"], json!(path));
        assert_eq!(proof["root"], json!(kept.checkpoint.checkpoint().root.to_string()));
    }
    let beyond = format!("/v1/journal/entries/{size}/proof");
    assert_eq!(running.ask("operator", "GET", &beyond, None).await.status, 404);
}

/// Tiles as somebody far away gets them.
struct Fetched(std::collections::BTreeMap<TilePath, Vec<u8>>);

impl TileSource for Fetched {
    type Error = std::convert::Infallible;

    fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, Self::Error> {
        Ok(self.0.get(path).cloned())
    }
}

#[tokio::test]
async fn tiles_lead_to_the_signed_root_and_old_partial_ones_stay_readable() {
    let folder = Folder::new();
    let running = start(&folder);
    entries(&running, 3).await;
    let early = running.hub.log().signed().unwrap().checkpoint().size;
    entries(&running, 300).await;
    let head = running.ask("operator", "GET", "/v1/journal/checkpoint", None).await;
    let head = SignedCheckpoint::decode(head.body.as_bytes()).unwrap();
    let size = head.checkpoint().size;
    assert!(size > 256, "{size}");
    let mut fetched = Fetched(std::collections::BTreeMap::new());
    for path in TilePath::all(size) {
        let bytes = running.bytes("operator", &format!("/v1/journal/{path}")).await;
        fetched.0.insert(path, bytes.unwrap());
    }
    let root = journal::tree::root(&TileNodes::new(&fetched, size), size).unwrap();
    assert_eq!(root, head.checkpoint().root);
    // A partial tile of a smaller tree, which is gone, is the beginning of the full one.
    for path in TilePath::all(early) {
        let partial = running.bytes("operator", &format!("/v1/journal/{path}")).await.unwrap();
        let full = &fetched.0[&path.full()];
        assert!(full.starts_with(&partial) && partial.len() < full.len(), "{path}");
    }
    for (path, status) in [
        ("tile/0/x001", 400),
        ("tile/0/999", 404),
        ("tile/../signed", 400),
        ("tile/0/%2e%2e/000", 400),
        ("tile/9/000", 404),
        ("tile/entries/000.p/0", 400),
    ] {
        let answer = running.bytes("operator", &format!("/v1/journal/{path}")).await;
        assert_eq!(answer.unwrap_err(), status, "{path}");
    }
    let elsewhere = running.bytes("operator@main", "/v1/journal/tile/0/000").await;
    assert_eq!(elsewhere.unwrap_err(), 403, "a bundle has entries of every site");
}

#[tokio::test]
async fn entries_come_in_pages_the_newest_first_each_once() {
    let folder = Folder::new();
    let running = start(&folder);
    entries(&running, 20).await;
    running.bearer("operator").await;
    let size = running.hub.read(estate::Estate::size);
    let mut seen = Vec::new();
    let mut page = String::new();
    loop {
        let path = format!("/v1/journal/entries?limit=7{page}");
        let answer = running.ask("operator", "GET", &path, None).await.json();
        for entry in answer["items"].as_array().unwrap() {
            seen.push(entry["number"].as_u64().unwrap());
        }
        let Some(next) = answer["next"].as_str() else { break };
        page = format!("&page={next}");
    }
    assert_eq!(seen, (0..size).rev().collect::<Vec<_>>());
    let newest = running.ask("operator", "GET", "/v1/journal/entries?limit=1", None).await.json();
    let number = newest["items"][0]["number"].as_u64().unwrap();
    let whole =
        running.ask("operator", "GET", &format!("/v1/journal/entries/{number}"), None).await.json();
    assert_eq!(whole["why"], newest["items"][0]["why"]);
    let wrong = running.ask("operator", "GET", "/v1/journal/entries?page=zz", None).await;
    assert_eq!(wrong.problem(), (400, "request.invalid".to_owned()));
}
