//! The first operator, passwords, sessions, and this machine's token.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicI64, Ordering};

use model::Timestamp;
use serde_json::{Value, json};

use crate::{Answer, Folder, Running, start, start_at};

const PASSWORD: &str = "tischlampe im regen";
const OTHER: &str = "regenlampe am tisch";

/// The first operator, `Ada`; her session.
async fn set_up(running: &Running) -> String {
    let body = json!({
        "secret": running.text("setup-token"), "login": "Ada", "name": "Ada Lovelace",
        "contact": "ada@example.com", "password": PASSWORD,
    });
    let made = running.ask("", "POST", "/v1/setup", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    token_of(&made)
}

fn token_of(answer: &Answer) -> String {
    answer.json()["token"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
}

async fn log_in(running: &Running, login: &str, password: &str) -> Answer {
    let body = json!({ "login": login, "password": password });
    running.ask("", "POST", "/v1/login", Some(body)).await
}

async fn whoami(running: &Running, token: &str) -> u16 {
    running.ask(token, "GET", "/v1/whoami", None).await.status
}

#[tokio::test]
async fn the_first_operator_is_made_once_with_the_secret_of_this_machine() {
    let folder = Folder::new();
    let running = start(&folder);
    let mode = |name: &str| {
        std::fs::metadata(running.state.file(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("setup-token"), mode("host-token")), (0o600, 0o600));
    assert!(running.notes.iter().any(|note| note.contains("setup-token")), "{:?}", running.notes);
    let secret = running.text("setup-token");
    assert!(running.notes.iter().all(|note| !note.contains(&secret)), "where it is, not what");

    let size = running.hub.read(estate::Estate::size);
    let body = |secret: &str, password: &str| json!({ "secret": secret, "login": "ada", "name": "Ada", "password": password });
    for (body, problem) in [
        (body(&format!("rfu_{}", "0".repeat(64)), PASSWORD), (403, "setup.token")),
        (body("", PASSWORD), (403, "setup.token")),
        (body(&secret, "too short"), (422, "password.unfit")),
    ] {
        let refused = running.ask("", "POST", "/v1/setup", Some(body)).await;
        assert_eq!(refused.problem(), (problem.0, problem.1.to_owned()), "{}", refused.body);
    }
    assert_eq!(running.hub.read(estate::Estate::size), size);

    let token = set_up(&running).await;
    let me = running.ask(&token, "GET", "/v1/whoami", None).await.json();
    assert_eq!((&me["roles"], &me["sites"]), (&json!(["admin"]), &Value::Null));
    assert!(running.state.read("setup-token").unwrap().is_none(), "used up");
    let again = running.ask("", "POST", "/v1/setup", Some(body(&secret, PASSWORD))).await;
    assert_eq!(again.problem(), (409, "setup.done".to_owned()));
}

#[tokio::test]
async fn a_set_up_secret_survives_a_restart_and_another_one_follows_when_it_is_over() {
    static HOURS: AtomicI64 = AtomicI64::new(0);
    fn clock() -> Timestamp {
        Timestamp::from_secs(1_800_000_000 + HOURS.load(Ordering::SeqCst) * 3_600, 0)
    }
    let folder = Folder::new();
    let first = start_at(&folder, clock).text("setup-token");
    let running = start_at(&folder, clock);
    assert_eq!(running.text("setup-token"), first, "it still stands");
    HOURS.store(25, Ordering::SeqCst);
    let mut notes = Vec::new();
    running.auth.upkeep(&running.state, &mut |note| notes.push(note.to_owned())).unwrap();
    let second = running.text("setup-token");
    assert!(second != first && notes.len() == 1, "{notes:?}");
    let body = json!({ "secret": first, "login": "ada", "name": "Ada", "password": PASSWORD });
    let old = running.ask("", "POST", "/v1/setup", Some(body)).await;
    assert_eq!(old.problem(), (403, "setup.token".to_owned()));
    set_up(&running).await;
    // There is somebody now: nothing is offered any more.
    let size = running.hub.read(estate::Estate::size);
    HOURS.store(90, Ordering::SeqCst);
    running.auth.upkeep(&running.state, &mut |note| panic!("{note}")).unwrap();
    drop(running);
    let running = start_at(&folder, clock);
    assert_eq!(running.hub.read(estate::Estate::size), size);
    assert!(running.state.read("setup-token").unwrap().is_none());
}

#[tokio::test]
async fn who_knows_the_password_gets_in_and_nobody_learns_what_was_wrong() {
    let folder = Folder::new();
    let running = start(&folder);
    set_up(&running).await;
    let bob = json!({ "login": "bob", "name": "Bob", "password": PASSWORD, "roles": ["viewer"], "why": "helps" });
    let bob = running.ask(&running.host(), "POST", "/v1/operators", Some(bob)).await.json();
    let off = json!({ "enabled": false, "why": "left" });
    let path = format!("/v1/operators/{}", bob["id"].as_str().unwrap());
    assert_eq!(running.ask(&running.host(), "PATCH", &path, Some(off)).await.status, 200);

    let wrong = log_in(&running, "ada", OTHER).await;
    assert_eq!(wrong.problem(), (401, "auth.wrong".to_owned()));
    for (login, password) in
        [("nobody", PASSWORD), ("bob", PASSWORD), ("", PASSWORD), ("аda", PASSWORD), ("ada", "")]
    {
        let other = log_in(&running, login, password).await;
        assert_eq!((other.status, &other.body), (wrong.status, &wrong.body), "{login}");
    }
    assert_eq!(log_in(&running, "ada", &"x".repeat(2_000)).await.body, wrong.body);
    let long = log_in(&running, "ada", &"x".repeat(20_000)).await;
    assert_eq!(long.status, 413, "{}", long.body);

    let figures = running.ask(&running.host(), "GET", "/metrics", None).await.body;
    let wrongs = "ringfence_logins{result=\"wrong\"} 7\n";
    assert!(figures.contains(wrongs), "{figures}");

    // Capitals of a login do not count, those of a password do.
    let right = log_in(&running, "aDA", PASSWORD).await;
    assert_eq!((right.status, &right.json()["must_change"]), (200, &json!(false)));
    assert_eq!(log_in(&running, "ada", &PASSWORD.to_uppercase()).await.status, 401);
    let token = token_of(&right);
    assert_eq!(whoami(&running, &token).await, 200);
    assert_eq!(running.ask(&token, "POST", "/v1/logout", None).await.status, 204);
    assert_eq!(whoami(&running, &token).await, 401);
    assert_eq!(
        running.ask(&running.host(), "POST", "/v1/logout", None).await.problem(),
        (422, "auth.no-session".to_owned())
    );
}

#[tokio::test]
async fn guesses_slow_down_and_the_answer_says_for_how_long() {
    let folder = Folder::new();
    // No turn comes back while nothing moves.
    let running = start_at(&folder, || Timestamp::from_secs(1_800_000_000, 0));
    let token = set_up(&running).await;
    let body = json!({ "login": "ada", "password": OTHER });
    for n in 0..10 {
        let wrong = running.ask_from([192, 0, 2, n], "/v1/login", body.clone()).await;
        assert_eq!(wrong.status, 401, "{}", wrong.body);
    }
    let right = json!({ "login": "ADA", "password": PASSWORD });
    let slow = running.ask_from([192, 0, 2, 99], "/v1/login", right).await;
    assert_eq!(slow.problem(), (429, "auth.too-many".to_owned()));
    assert_eq!(slow.retry_after, "60");
    // Whoever found a session has no more turns than at the login; the session itself goes on.
    let change = json!({ "old": OTHER, "new": "whatever it may be" });
    let slow = running.ask(&token, "POST", "/v1/password", Some(change)).await;
    assert_eq!(slow.problem(), (429, "auth.too-many".to_owned()));
    assert_eq!(whoami(&running, &token).await, 200);
    // One address, many logins.
    for n in 0..31 {
        let body = json!({ "login": format!("guess-{n}"), "password": OTHER });
        let guess = running.ask_from([198, 51, 100, 1], "/v1/login", body).await;
        assert_eq!(guess.status, if n < 30 { 401 } else { 429 }, "{n}");
    }
}

#[tokio::test]
async fn a_session_ends_unused_and_after_half_a_day() {
    static MINUTES: AtomicI64 = AtomicI64::new(0);
    fn clock() -> Timestamp {
        Timestamp::from_secs(1_800_000_000 + MINUTES.load(Ordering::SeqCst) * 60, 0)
    }
    let folder = Folder::new();
    let running = start_at(&folder, clock);
    let token = set_up(&running).await;
    MINUTES.store(29, Ordering::SeqCst);
    assert_eq!(whoami(&running, &token).await, 200);
    MINUTES.store(59, Ordering::SeqCst);
    assert_eq!(whoami(&running, &token).await, 401, "30 minutes unused");

    let begun = log_in(&running, "ada", PASSWORD).await;
    assert_eq!(begun.json()["expires_at"], json!(clock().plus_nanos(12 * 3_600 * 1_000_000_000)));
    let token = token_of(&begun);
    for minute in (59..59 + 12 * 60).step_by(29) {
        MINUTES.store(minute, Ordering::SeqCst);
        assert_eq!(whoami(&running, &token).await, 200, "{minute}");
    }
    MINUTES.store(59 + 12 * 60, Ordering::SeqCst);
    assert_eq!(whoami(&running, &token).await, 401, "12 hours");
}

#[tokio::test]
async fn a_password_set_by_somebody_else_has_to_be_changed_first() {
    let folder = Folder::new();
    let running = start(&folder);
    let ada = set_up(&running).await;
    let bob = json!({ "login": "bob", "name": "Bob", "password": OTHER, "roles": ["admin"], "why": "helps" });
    let bob = running.ask(&ada, "POST", "/v1/operators", Some(bob)).await;
    assert_eq!((bob.status, &bob.json()["password"]), (201, &json!("temporary")));

    let first = log_in(&running, "bob", OTHER).await;
    assert_eq!(first.json()["must_change"], json!(true));
    let token = token_of(&first);
    for (method, path) in [
        ("GET", "/v1/devices"),
        ("GET", "/v1/operators"),
        ("GET", "/v1/tokens"),
        ("POST", "/v1/tokens"),
    ] {
        let refused = running.ask(&token, method, path, None).await;
        assert_eq!(refused.problem(), (403, "auth.must-change".to_owned()), "{path}");
    }
    for (old, new, problem) in [
        (PASSWORD, "another password", (403, "password.old")),
        (OTHER, OTHER, (422, "password.unfit")),
        (OTHER, "short", (422, "password.unfit")),
    ] {
        let body = json!({ "old": old, "new": new });
        let refused = running.ask(&token, "POST", "/v1/password", Some(body)).await;
        assert_eq!(refused.problem(), (problem.0, problem.1.to_owned()), "{new}");
    }
    let second = token_of(&log_in(&running, "bob", OTHER).await);
    let body = json!({ "old": OTHER, "new": "bob's own password" });
    let changed = running.ask(&token, "POST", "/v1/password", Some(body)).await;
    assert_eq!(changed.status, 204, "{}", changed.body);
    for token in [&token, &second] {
        assert_eq!(whoami(&running, token).await, 401, "all sessions ended");
    }
    assert_eq!(log_in(&running, "bob", OTHER).await.status, 401);
    let token = token_of(&log_in(&running, "bob", "bob's own password").await);
    assert_eq!(running.ask(&token, "GET", "/v1/devices", None).await.status, 200);

    // Set anew by an admin it is temporary again; nobody sets their own that way.
    let path = format!("/v1/operators/{}/password", bob.json()["id"].as_str().unwrap());
    let body = json!({ "password": PASSWORD, "why": "forgotten" });
    let own = running.ask(&token, "POST", &path, Some(body.clone())).await;
    assert_eq!(own.problem(), (403, "password.own".to_owned()));
    assert_eq!(running.ask(&ada, "POST", &path, Some(body)).await.status, 204);
    assert_eq!(whoami(&running, &token).await, 401);
    assert_eq!(log_in(&running, "bob", PASSWORD).await.json()["must_change"], json!(true));
}

#[tokio::test]
async fn a_restart_keeps_operators_and_forgets_sessions() {
    let folder = Folder::new();
    let (session, host, before) = {
        let running = start(&folder);
        let token = set_up(&running).await;
        (token, running.host(), running.hub.read(Clone::clone))
    };
    let running = start(&folder);
    assert!(running.hub.read(|estate| *estate == before));
    assert_eq!(whoami(&running, &session).await, 401);
    assert_eq!(whoami(&running, &host).await, 200, "this machine's token stays");
    assert_eq!(log_in(&running, "ada", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn the_token_of_this_machine_is_an_administrator_and_another_one_when_others_read_it() {
    let folder = Folder::new();
    let running = start(&folder);
    let host = running.host();
    let me = running.ask(&host, "GET", "/v1/whoami", None).await.json();
    assert_eq!((&me["actor"], &me["roles"]), (&json!("host/local"), &json!(["admin"])));
    let other: String = host
        .chars()
        .map(|c| match c {
            '0' => '1',
            '1' => '0',
            c => c,
        })
        .collect();
    assert_ne!(other, host, "64 digits, and neither 0 nor 1: never");
    assert_eq!(whoami(&running, &other).await, 401);
    assert_eq!(whoami(&running, "rfh_").await, 401);
    // It is nobody, so it makes nobody's tokens.
    let token = json!({ "label": "ci", "roles": ["viewer"], "why": "ci" });
    assert_eq!(running.ask(&host, "POST", "/v1/tokens", Some(token)).await.status, 403);
    let at = running.state.file("host-token");
    drop(running);
    std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o644)).unwrap();
    let running = start(&folder);
    assert_ne!(running.host(), host);
    assert!(running.notes.iter().any(|note| note.contains("host-token")), "{:?}", running.notes);
    assert_eq!(whoami(&running, &host).await, 401);
}

#[tokio::test]
async fn no_secret_is_in_the_journal_or_in_what_is_printed() {
    let folder = Folder::new();
    let running = start(&folder);
    let setup = running.text("setup-token");
    let session = set_up(&running).await;
    let make = json!({ "label": "ci", "roles": ["viewer"], "why": "ci" });
    let token = token_of(&running.ask(&session, "POST", "/v1/tokens", Some(make)).await);
    let change = json!({ "old": PASSWORD, "new": OTHER });
    assert_eq!(running.ask(&session, "POST", "/v1/password", Some(change)).await.status, 204);
    running.hub.publish().unwrap();
    running.hub.snapshot().unwrap();
    let printed = format!("{:?} {:?}", running.auth, running.hub);
    let host = running.host();
    let secrets = [&*setup, &*session, &*token, &*host, PASSWORD, OTHER];
    let people = ["Lovelace", "ada@example.com", "argon2id"];
    let path = |name: &str| running.state.file(name);
    let mut files = vec![path("journal.db"), path("journal.db-wal")];
    files.extend(walk(&path("log")));
    assert!(files.len() > 2, "tiles are there");
    for text in secrets.iter().chain(&people) {
        for file in &files {
            let bytes = std::fs::read(file).unwrap_or_default();
            let found = bytes.windows(text.len()).any(|part| part == text.as_bytes());
            assert!(!found, "{text} is in {}", file.display());
        }
        assert!(!printed.contains(text), "{printed}");
    }
    // No secret but hashes and personal data is in the side store either, and the old hash is gone.
    let mut side = std::fs::read(path("people.db")).unwrap();
    side.extend(std::fs::read(path("people.db-wal")).unwrap_or_default());
    let count =
        |text: &str| side.windows(text.len()).filter(|part| *part == text.as_bytes()).count();
    for text in secrets {
        assert_eq!(count(text), 0, "{text}");
    }
    assert_eq!(count("$argon2id$v=19$m=19456,t=2,p=1$"), 1);
}

fn walk(at: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}
