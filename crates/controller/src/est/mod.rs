//! Enrolment of devices over EST (RFC 7030, RFC 8951): a door of its own, and what stands behind it.
//!
//! ```text
//!  device ─▶ door: TLS, whose certificate? ─▶ wire: the body ─▶ enrol: why should it have one? ─▶ sign ─▶ desk ─▶ journal ─▶ device
//!                                                                   └─ nobody knows it: a person decides, it asks again (202)
//! ```
//!
//! A certificate is in the journal before its bytes leave. Whoever shows one is judged at the handshake, and its connection ends when it is
//! revoked ([`crate::sessions`]). A TPM's way in, and what it measured, is in [`tpm`]; pre-shared keys are in [`psk`], what a device says of itself in [`report`]; a key at two places is found in [`places`]. Everything that a stranger can make grow has a bound, and strangers take no room from devices that renew.

mod door;
mod enrol;
mod makers;
mod mud;
mod places;
mod psk;
mod report;
mod tpm;
mod unsaid;
mod wire;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crypto::tls::rustls::ServerConfig;
use crypto::tls::{self, Clients, Clock, Trust};
use estate::identities::{BATCH_MAX, Enrolment, Outcome, Showing};
use estate::side::Digest;
use model::Timestamp;
use pki::Certificate;
use pki::identity::Kind;

use crate::Hub;
use crate::authority::{Authority, AuthorityError};
use crate::desk::Desk;
use crate::line::LineError;
use crate::line::pace::Tries;
use crate::secrets::Digests;
use crate::sessions::{Sessions, Strangers};
use crate::shell::Told;
use crate::state::StateFolder;

pub use door::serve;

/// A server's certificate that ends sooner is followed by another one, in nanoseconds: 30 days.
const RENEW_NANOS: i64 = 30 * 86_400 * 1_000_000_000;
/// When it failed, it is tried again after this long, in nanoseconds.
const RETRY_NANOS: i64 = 3_600 * 1_000_000_000;

/// Enrolments that wait to be written: as many as there are connections, because a fleet comes back at once.
const WAITING_MAX: usize = 16_384;

/// What has been counted since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Certificates that were given.
    pub issued: AtomicU64,
    /// Requests that were refused.
    pub refused: AtomicU64,
    /// Requests that wait for a person.
    pub waiting: AtomicU64,
    /// Handshakes that failed.
    pub handshakes_failed: AtomicU64,
    /// Connections that were cut because their certificate was revoked.
    pub cut: AtomicU64,
    /// Strangers that came too often.
    pub too_early: AtomicU64,
    /// Pre-shared keys that were proved.
    pub proved: AtomicU64,
    /// Wrong ones that were said.
    pub wrong_secrets: AtomicU64,
}

impl Counts {
    /// By word.
    pub fn all(&self) -> [(&'static str, u64); 8] {
        let Self { issued, refused, waiting, handshakes_failed, cut, .. } = self;
        let Self { too_early, proved, wrong_secrets, .. } = self;
        [
            ("issued", issued),
            ("refused", refused),
            ("waiting", waiting),
            ("handshakes-failed", handshakes_failed),
            ("cut", cut),
            ("too-early", too_early),
            ("proved", proved),
            ("wrong-secrets", wrong_secrets),
        ]
        .map(|(word, count)| (word, count.load(Ordering::Relaxed)))
    }
}

fn up(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Enrolment of devices.
pub struct Est {
    hub: Arc<Hub>,
    authority: Arc<Authority>,
    /// Names and addresses that devices dial.
    hosts: Vec<String>,
    told: Told,
    desk: Desk<(), Enrolment, Outcome>,
    /// Certificates that were shown, the first time.
    shows: Desk<(), Showing, ()>,
    /// Strangers that try.
    tries: Tries,
    /// Those that were turned away and are written down.
    complaints: Tries,
    /// Those that are too many for that.
    unsaid: unsaid::Unsaid,
    sessions: Arc<Sessions<Digest, ()>>,
    /// Where devices use their keys.
    places: places::Places,
    tpms: tpm::Tpms,
    makers: makers::Makers,
    digests: Arc<Digests>,
    strangers: Strangers,
    /// What the server shows, and until when.
    shown: Mutex<(Arc<ServerConfig>, Timestamp)>,
    /// What has been counted.
    pub counts: Counts,
}

impl std::fmt::Debug for Est {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Est").finish_non_exhaustive()
    }
}

impl Est {
    /// Enrolment at a door that is known by these names and addresses. Whom it believes, makers and manufacturers of TPMs, stands in the state folder.
    pub fn new(
        hub: Arc<Hub>,
        authority: Arc<Authority>,
        hosts: Vec<String>,
        told: Told,
        folder: &StateFolder,
    ) -> Result<Arc<Self>, LineError> {
        let makers = makers::Makers::open(folder).map_err(AuthorityError::from)?;
        let digests = Arc::new(Digests::open(folder).map_err(AuthorityError::from)?);
        let shown = Mutex::new(shown(&hub, &authority, &hosts, &makers)?);
        Ok(Arc::new(Self {
            hub,
            authority,
            hosts,
            told,
            desk: Desk::new(BATCH_MAX, WAITING_MAX, "est.busy"),
            shows: Desk::new(BATCH_MAX, WAITING_MAX, "est.busy"),
            tries: Tries::default(),
            complaints: Tries::default(),
            unsaid: unsaid::Unsaid::default(),
            sessions: Arc::default(),
            places: places::Places::default(),
            tpms: tpm::Tpms::new(folder),
            makers,
            digests,
            strangers: Strangers::default(),
            shown,
            counts: Counts::default(),
        }))
    }

    /// What makes digests of pre-shared keys.
    pub const fn digests(&self) -> &Arc<Digests> {
        &self.digests
    }

    /// What the server shows; another one in time.
    fn shown(&self) -> Arc<ServerConfig> {
        let mut kept = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.hub.now();
        if now >= kept.1 {
            match shown(&self.hub, &self.authority, &self.hosts, &self.makers) {
                Ok(new) => *kept = new,
                Err(error) => {
                    kept.1 = now.plus_nanos(RETRY_NANOS);
                    (self.told)(&format!("est: the server's certificate is not renewed: {error}"));
                }
            }
        }
        Arc::clone(&kept.0)
    }

    /// Whether a key may speak now.
    fn believes(&self, key: &Digest) -> bool {
        believes(&self.hub, key)
    }
}

fn believes(hub: &Hub, key: &Digest) -> bool {
    let now = hub.now();
    hub.read(|estate| estate.speaks(key, now).is_some())
}

/// The key of a device's certificate; `None`: it is no device's of this estate.
fn key_of(authority: &Authority, shown: &Certificate) -> Option<Digest> {
    let identity = pki::identity_of(shown)?;
    let of_fleet = matches!(identity.kind, Kind::Device | Kind::Gateway);
    let ours = of_fleet && identity.estate == *authority.estate();
    let key = shown.key().ok().filter(|_| ours)?;
    Some(Digest(crypto::sha256(&key.write())))
}

fn shown(
    hub: &Arc<Hub>,
    authority: &Arc<Authority>,
    hosts: &[String],
    makers: &makers::Makers,
) -> Result<(Arc<ServerConfig>, Timestamp), LineError> {
    let now = hub.now();
    let credentials = authority.server(hosts, now)?;
    let end = credentials.chain.first().map_or(now, Certificate::not_after);
    let revoked = {
        let (hub, authority) = (Arc::clone(hub), Arc::clone(authority));
        move |shown: &Certificate| {
            // Whom we vouch for is judged by the estate; authorities, and whom makers vouch for, by the path.
            let ours = pki::identity_of(shown).is_some();
            ours && key_of(&authority, shown).is_none_or(|key| !believes(&hub, &key))
        }
    };
    // Many devices send their own certificate and nothing above it.
    let roots = authority.anchors().into_iter().chain(makers.roots().cloned()).collect();
    let trust = Trust { roots, revoked: Arc::new(revoked) };
    let clock: Arc<dyn Clock> = Arc::<Hub>::clone(hub);
    let config = tls::server(&credentials, Clients::Optional(trust), clock)?;
    Ok((config, end.plus_nanos(-RENEW_NANOS).max(now.plus_nanos(RETRY_NANOS))))
}
