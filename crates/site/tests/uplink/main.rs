//! The line of a site against a controller's end that is real in TLS and HTTP/2 and misbehaves when it is told to.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod estate;
mod server;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crypto::tls::SystemClock;
use model::Timestamp;
use model::line::{
    Bundle, Delta, Files, Frame, Happened, Held, Progress, RevocationList, Sighting,
};
use site::folder;
use site::life::Control;
use site::uplink::join::{self, JoinError, Welcome};
use site::uplink::keep::Keep;
use site::uplink::reckon::{Look, Variant};
use site::uplink::shell::{Clock, Config, Handle, MachineClock, Timing, Uplink};
use site::uplink::state::Offer;
use site::uplink::{Line, Said, Standing, Told};

use crate::server::{Answer, Server};

const SECOND: i64 = 1_000_000_000;
/// Longest wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The clocks of this machine, and what a test adds.
#[derive(Debug, Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn look(&self) -> Look {
        let more = self.0.load(Ordering::SeqCst);
        let Look { wall, running_nanos } = MachineClock.look();
        Look { wall: wall.plus_nanos(more), running_nanos: running_nanos + more }
    }
}

fn folder_of(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("rf-uplink-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn try_join(server: &Server, state: &Path) -> Result<Welcome, JoinError> {
    let token = server.token().parse().unwrap();
    join::join(state, &server.address.to_string(), &token, Arc::new(SystemClock))
}

/// A running line; ends when it is dropped, like a process that is killed.
struct Site {
    handle: Handle,
    said: Receiver<Said>,
    stop: Arc<AtomicBool>,
    clock: Arc<Ahead>,
}

impl Site {
    fn start(state: &Path) -> Self {
        let clock = Arc::new(Ahead::default());
        let tick = Duration::from_millis(20);
        let timing = Timing { tick, seen_every_s: 0, ..Timing::default() };
        let config = Config { state: state.to_owned(), lists: None, clock: clock.clone(), timing };
        let uplink = Uplink::open(config, 0).unwrap();
        assert_eq!(uplink.site().as_str(), "Shop/1");
        let (sender, said) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let handle = uplink.start(Arc::clone(&stop), sender).unwrap();
        Self { handle, said, stop, clock }
    }

    /// What comes next of what a test looks at.
    fn next<T>(&self, what: &str, wanted: impl Fn(Said) -> Option<T>) -> T {
        loop {
            let said = self.said.recv_timeout(PATIENCE);
            if let Some(found) = wanted(said.unwrap_or_else(|_| panic!("{what} did not come"))) {
                return found;
            }
        }
    }

    /// The next offer; it is judged as good.
    fn offer(&self) -> Offer {
        let offer = self.next("an offer", |said| match said {
            Said::Offer(offer) => Some(offer),
            _ => None,
        });
        self.tell(Told::Judged { generation: offer.generation, refused: None });
        offer
    }

    fn finding(&self, wanted: &str) -> String {
        self.next(wanted, |said| match said {
            Said::Find { kind, what, .. } if kind == wanted => Some(what),
            _ => None,
        })
    }

    fn tell(&self, told: Told) {
        assert!(self.handle.tell(told));
    }

    fn happen(&self, what: &str) {
        let at = Timestamp::from_secs(1, 0);
        let (kind, subject, what) = ("test".to_owned(), String::new(), what.to_owned());
        let happened = Happened { at, kind, subject, what };
        self.tell(Told::Happened { happened, journal: None });
    }

    fn stands(&self, files: &Files, control: Control) {
        let content = folder::name(files);
        self.tell(Told::Stands(Standing { content, generation: 9, control, why: None }));
    }

    /// Waits until the line stands so. It says something now and then, and that is when to look.
    fn until(&self, what: &str, done: impl Fn(&Line) -> bool) {
        let mut left = PATIENCE;
        let step = Duration::from_millis(20);
        while !done(&self.handle.line()) {
            left = left.checked_sub(step).unwrap_or_else(|| panic!("{what} did not come"));
            let _ = self.said.recv_timeout(step); // What it says is not looked at here.
        }
    }

    fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * SECOND, Ordering::SeqCst);
    }

    /// Ends the thread, and waits until its files are free.
    fn end(self, state: &Path) {
        self.stop.store(true, Ordering::SeqCst);
        drop(self.handle);
        // Its sender goes with the thread.
        while self.said.recv_timeout(PATIENCE).is_ok() {}
        drop(Keep::open(state).unwrap());
    }
}

fn files(generation: u64, variant: &str) -> Files {
    Files::from([("estate.toml".to_owned(), format!("{generation} {variant}"))])
}

fn bundle(generation: u64) -> Frame {
    let held = files(generation, "held");
    let delta = |variant| Delta::between(&held, &files(generation, variant));
    Frame::Bundle(Box::new(Bundle {
        generation,
        content: folder::name(&held),
        expired: delta("expired"),
        stale: delta("stale"),
        held: Held::Whole { files: held },
        lease_until: site::shell::now().plus_nanos(300 * SECOND),
        stale_after_s: 3_600,
    }))
}

fn lease(seconds: i64) -> Frame {
    let now = site::shell::now();
    Frame::Lease { generation: 1, until: now.plus_nanos(seconds * SECOND), now }
}

#[test]
fn a_lost_enrolment_is_asked_for_again_with_the_same_key() {
    let (server, state) = (Server::start(), folder_of("join"));
    server.told().loses_enrolment = true;
    assert!(matches!(try_join(&server, &state), Err(JoinError::Line(_))));
    assert!(!state.join("uplink/controller").exists());
    server.told().loses_enrolment = false;
    let welcome = try_join(&server, &state).unwrap();
    assert_eq!(welcome.enrolled.joined.site.as_str(), "Shop/1");
    assert_eq!(welcome.clock, None);
    let told = server.told();
    assert_eq!(told.enrolled.len(), 2);
    assert_eq!(told.enrolled[0], told.enrolled[1]);
    let mode = fs::metadata(state.join("uplink/key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::remove_dir_all(state).unwrap();
}

#[test]
fn nobody_else_can_answer_and_a_refusal_says_why() {
    let (server, other, state) = (Server::start(), Server::start(), folder_of("pinned"));
    let token = other.token().parse().unwrap();
    let address = server.address.to_string();
    let wrong = join::join(&state, &address, &token, Arc::new(SystemClock)).unwrap_err();
    assert!(wrong.to_string().contains("is not believed"), "{wrong}");
    assert_eq!(server.told().enrolled.len(), 0);
    server.told().refuses = true;
    let refused = try_join(&server, &state).unwrap_err().to_string();
    assert!(refused.contains("(403): not known: this site is revoked"), "{refused}");
    assert!(!state.join("uplink/controller").exists());
    let (clock, timing) = (Arc::new(MachineClock), Timing::default());
    let missing = Uplink::open(Config { state: state.clone(), lists: None, clock, timing }, 0);
    assert!(missing.unwrap_err().to_string().contains("ringfence site join"));
    fs::remove_dir_all(state).unwrap();
}

#[test]
fn bundles_come_acknowledgements_go_and_go_again_on_the_next_line() {
    let (server, state) = (Server::start(), folder_of("bundles"));
    try_join(&server, &state).unwrap();
    server.told().first = vec![bundle(1), lease(300)];
    let site = Site::start(&state);
    let offer = site.offer();
    assert_eq!((offer.generation, offer.variant), (1, Variant::Held));
    assert_eq!(offer.files, files(1, "held"));
    assert_eq!(offer.others, [files(1, "expired"), files(1, "stale")]);
    site.stands(&files(1, "held"), Control::Applied);
    drop(server.until("applied", |told| told.acks.len() == 1));
    site.stands(&files(1, "held"), Control::Verified);
    let told = server.until("verified", |told| told.acks.len() == 2);
    let progress: Vec<Progress> = told.acks.iter().map(|ack| ack.progress).collect();
    assert_eq!(progress, [Progress::Applied, Progress::Verified]);
    assert_eq!(told.acks[1].kernel_generation, Some(9));
    drop(told);
    let line = site.handle.line();
    assert!(line.connected && line.why.is_empty(), "{line:?}");
    assert_eq!((line.offered, line.applied, line.verified), (1, 1, 1));
    // The line breaks and comes back: what is held is said, and acknowledged again.
    server.cut();
    let told = server.until("again", |told| told.acks.len() == 3);
    assert_eq!(told.acks[2], told.acks[1]);
    let content = folder::name(&files(1, "held"));
    assert_eq!(told.lines[0], format!("held=0&content={}&lists=1", "0".repeat(64)));
    assert_eq!(told.lines[1], format!("held=1&content={content}&lists=1"));
    drop(told);
    // A later one, as what changed.
    let delta = Delta::between(&files(1, "held"), &files(2, "held"));
    let Frame::Bundle(two) = bundle(2) else { unreachable!() };
    let since = Bundle { held: Held::Since { content, delta }, ..*two };
    server.say(&Frame::Bundle(Box::new(since)));
    assert_eq!(site.offer().files, files(2, "held"));
    site.end(&state);
    fs::remove_dir_all(state).unwrap();
}

#[test]
fn lists_of_revoked_certificates_are_kept_for_others_and_bad_ones_change_nothing() {
    let (server, state) = (Server::start(), folder_of("lists"));
    try_join(&server, &state).unwrap();
    let frame = |lists: Vec<RevocationList>| {
        let authorities = server.authority().root_pem();
        Frame::Revoked { authorities, lists }
    };
    let list = |number, count, is_whole| server.authority().revoked(number, count, is_whole);
    server.told().first = vec![lease(300), frame(vec![list(2, 1, true)])];
    let site = Site::start(&state);
    let at = state.join("lists");
    let kept = |name: &str| fs::read_to_string(at.join(name)).unwrap_or_default();
    site.until("the first lists", |_| !kept("revoked-delta.pem").is_empty());
    let (first, authorities) = (kept("revoked.pem"), kept("authorities.pem"));
    assert!(first.starts_with("-----BEGIN X509 CRL-----"));
    assert_eq!(authorities, server.authority().root_pem());
    let mode = fs::metadata(at.join("revoked.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    // Only what changed: the complete one stays.
    let second = list(3, 2, false);
    server.say(&frame(vec![second.clone()]));
    site.until("the change", |_| kept("revoked-delta.pem") == second.delta);
    assert_eq!(kept("revoked.pem"), first);
    // Somebody else's, spoilt, and what is no list.
    let other = server::Server::start();
    let stranger = other.authority().revoked(3, 1, true);
    let foreign = RevocationList { authority: second.authority.clone(), ..stranger };
    let unknown = other.authority().revoked(3, 1, false);
    let spoilt =
        RevocationList { delta: second.delta.replace("X509 CRL", "CERTIFICATE"), ..second.clone() };
    for wrong in [foreign, unknown, spoilt] {
        server.say(&frame(vec![wrong]));
        let why = site.finding("revocation-lists");
        assert!(why.contains("those of before stay"), "{why}");
        assert_eq!(
            (kept("revoked.pem"), kept("revoked-delta.pem")),
            (first.clone(), second.delta.clone())
        );
        // Good ones end it.
        server.say(&frame(vec![second.clone()]));
        site.next("the end of it", |said| {
            matches!(said, Said::Over { kind: "revocation-lists" }).then_some(())
        });
    }
    site.end(&state);
    fs::remove_dir_all(state).unwrap();
}

#[test]
fn cut_off_leases_end_and_hold_again_when_it_is_back() {
    let (server, state) = (Server::start(), folder_of("leases"));
    try_join(&server, &state).unwrap();
    server.told().first = vec![bundle(1), lease(300)];
    let site = Site::start(&state);
    site.offer();
    server.told().refuses = true;
    server.cut();
    site.finding("line-refused");
    assert!(!site.handle.line().connected);
    site.pass(301);
    let to = site.next("the end of leases", |said| match said {
        Said::Turned { to } => Some(to),
        _ => None,
    });
    assert_eq!(to, Variant::Expired);
    assert_eq!(site.offer().files, files(1, "expired"));
    // The process ends and starts, still cut: it goes on where it was, and not at the beginning.
    site.end(&state);
    // This process sees a clock that is behind what the one before saw.
    let site = Site::start(&state);
    site.finding("clock-wrong");
    assert_eq!(site.offer().files, files(1, "expired"));
    site.pass(3_700);
    assert_eq!(site.offer().files, files(1, "stale"));
    server.told().refuses = false;
    let now = site.clock.look().wall;
    let until = now.plus_nanos(300 * SECOND);
    server.told().first = vec![Frame::Lease { generation: 1, until, now }];
    assert_eq!(site.offer().files, files(1, "held"));
    site.end(&state);
    fs::remove_dir_all(state).unwrap();
}

#[test]
fn what_happened_is_told_once_whatever_happens_to_the_answers() {
    let (server, state) = (Server::start(), folder_of("outbox"));
    try_join(&server, &state).unwrap();
    server.told().answer = Answer::Lose;
    let site = Site::start(&state);
    site.happen("first");
    // Each try breaks the line: the same batch under the same number.
    let mut told = server.until("three tries", |told| told.batches.len() >= 3);
    assert!(told.batches.iter().all(|batch| *batch == told.batches[0]));
    assert_eq!(told.counted.len(), 1);
    told.answer = Answer::Later(1);
    let before = told.batches.len();
    drop(told);
    site.happen("second");
    drop(server.until("a try that is put off", |told| told.batches.len() > before + 1));
    // The process ends meanwhile, and another one goes on.
    site.end(&state);
    server.told().answer = Answer::Take;
    let site = Site::start(&state);
    site.happen("third");
    let seen = Sighting {
        macs: vec!["02:00:00:00:00:01".to_owned()],
        ips: Vec::new(),
        keys: Vec::new(),
        attributes: BTreeMap::new(),
        seen_at: Timestamp::from_secs(5, 0),
    };
    site.tell(Told::Seen(vec![("dev".to_owned(), seen.clone())]));
    let told = server.until("all of it", |told| {
        let events = told.counted.iter().map(|batch| batch.events.len()).sum::<usize>();
        events == 3 && told.counted.iter().any(|batch| !batch.devices.is_empty())
    });
    let events = told.counted.iter().flat_map(|batch| &batch.events);
    assert_eq!(events.map(|e| e.what.as_str()).collect::<Vec<_>>(), ["first", "second", "third"]);
    let devices: Vec<_> = told.counted.iter().flat_map(|batch| batch.devices.clone()).collect();
    assert_eq!(devices, [seen]);
    let numbers: Vec<u64> = told.counted.iter().map(|batch| batch.number).collect();
    assert_eq!(numbers, (1..=told.counted.last().unwrap().number).collect::<Vec<_>>());
    drop(told);
    site.until("an empty outbox", |line| line.outbox == 0);
    site.end(&state);
    // All of it was taken: nothing is kept.
    assert_eq!(Keep::open(&state).unwrap().events().unwrap(), []);
    fs::remove_dir_all(state).unwrap();
}

#[test]
fn a_certificate_is_renewed_in_time_and_shown_on_the_next_line() {
    let (server, state) = (Server::start(), folder_of("renew"));
    // Two thirds of its life are over, and more than jitter adds.
    server.told().days = (-99, 10);
    let welcome = try_join(&server, &state).unwrap();
    let site = Site::start(&state);
    let told = server.until("a renewal and another line", |told| {
        told.renewed.len() == 1 && told.lines.len() >= 2
    });
    assert_eq!(told.renewed[0], told.enrolled[0]);
    drop(told);
    assert!(site.handle.line().certificate_until > welcome.enrolled.not_after);
    site.end(&state);
    let kept = Keep::open(&state).unwrap().enrolled().unwrap();
    assert!(kept.not_after > welcome.enrolled.not_after);
    fs::remove_dir_all(state).unwrap();
}

#[test]
fn what_cannot_be_read_and_what_is_damaged_is_told_and_the_line_goes_on() {
    let (server, state) = (Server::start(), folder_of("damaged"));
    try_join(&server, &state).unwrap();
    let Frame::Bundle(one) = bundle(1) else { unreachable!() };
    let damaged = Bundle { content: "ab".repeat(32), ..*one };
    server.told().first = vec![Frame::Bundle(Box::new(damaged))];
    let site = Site::start(&state);
    site.finding("damaged-bundle");
    server.told().first = vec![bundle(1), lease(300)];
    assert_eq!(site.offer().files, files(1, "held"));
    site.end(&state);
    for name in ["outbox.json", "mark.json"] {
        fs::write(state.join("uplink").join(name), "{").unwrap();
    }
    server.told().first = vec![lease(300)];
    let site = Site::start(&state);
    site.finding("line-state-damaged");
    // Nothing is known of leases until the controller says it.
    assert_eq!(site.offer().files, files(1, "expired"));
    assert_eq!(site.offer().files, files(1, "held"));
    site.end(&state);
    fs::remove_dir_all(state).unwrap();
}
