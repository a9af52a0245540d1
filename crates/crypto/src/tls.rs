//! TLS 1.3 and 1.2 for everything that speaks it, over the one provider (docs/adr/0021).
//!
//! Configurations are made here and nowhere else: certificates of an estate on both sides, keys behind [`pki::Signer`], time
//! from a [`Clock`] that is handed in. Whoever presents a certificate is judged at every handshake: there is no resumption
//! where one is asked for, because a resumed session would never meet the verifier again.
//!
//! A session that is open stays open when its certificate is revoked: whoever revokes cuts it.

mod key;
mod remembered;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use pki::{Certificate, Identity, Signer};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, ServerConfig};

pub use rustls;

use verify::{Anchors, ClientVerifier, Pinned, ServerVerifier};

/// Protocols that are offered, the preferred one first (RFC 7301).
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Whose time certificates are judged by.
pub trait Clock: Send + Sync {
    /// The time, or `None` where it is not known: then every handshake that needs it fails.
    fn now(&self) -> Option<Timestamp>;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Option<Timestamp> {
        DefaultTimeProvider.current_time().map(timestamp)
    }
}

/// Knows which certificates are no longer good. It is asked at every handshake, about every certificate that was presented,
/// and has to answer at once.
pub trait Revoked: Send + Sync {
    /// Whether this certificate was revoked.
    fn is_revoked(&self, certificate: &Certificate) -> bool;
}

impl<F: Fn(&Certificate) -> bool + Send + Sync> Revoked for F {
    fn is_revoked(&self, certificate: &Certificate) -> bool {
        self(certificate)
    }
}

/// What one side shows of itself.
#[derive(Clone)]
pub struct Credentials {
    /// Its certificate, then those between it and the root. The root comes last where clients pin it
    /// ([`client_pinned`]).
    pub chain: Vec<Certificate>,
    /// The key of the first certificate.
    pub key: Arc<dyn Signer + Send + Sync>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Credentials").field(&self.chain).finish()
    }
}

/// Whose clients are believed.
#[derive(Clone)]
pub struct Trust {
    /// Roots that vouch for them. One that is not valid at the time vouches for nobody.
    pub roots: Vec<Certificate>,
    /// Who of them is no longer good.
    pub revoked: Arc<dyn Revoked>,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Trust").field(&self.roots).finish()
    }
}

/// Whether clients show certificates.
#[derive(Clone, Debug)]
pub enum Clients {
    /// They are not asked for one.
    Anonymous,
    /// One without a certificate is let in; one with a bad certificate is not.
    Optional(Trust),
    /// Nobody is let in without one.
    Required(Trust),
}

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Credentials without a certificate.
    #[error("there is no certificate for the key")]
    NoCertificate,
    /// A key of another certificate.
    #[error("the key is not the one of the certificate of {0}")]
    OtherKey(String),
    /// A key that does not sign handshakes.
    #[error("the key of {0} is neither P-256 nor P-384 nor Ed25519")]
    KeyKind(String),
    /// Nobody to trust.
    #[error("there is no root to believe in")]
    NoRoots,
    /// What the library says.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Setup(error.to_string())
    }
}

/// A server's side. Without clients' certificates it resumes sessions; with them never.
pub fn server(
    credentials: &Credentials,
    clients: Clients,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let certified = certified(credentials)?;
    let builder = ServerConfig::builder_with_details(provider.clone(), time(clock));
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12])?;
    let (trust, mandatory) = match clients {
        Clients::Anonymous => (None, false),
        Clients::Optional(trust) => (Some(trust), false),
        Clients::Required(trust) => (Some(trust), true),
    };
    let asks = trust.is_some();
    let builder = match trust {
        None => builder.with_no_client_auth(),
        Some(Trust { roots, revoked }) => {
            let anchors = Anchors::new(roots, provider)?;
            let verifier = ClientVerifier::new(anchors, mandatory, revoked)?;
            builder.with_client_cert_verifier(Arc::new(verifier))
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(certified));
    config.alpn_protocols = alpn();
    if asks {
        // No ticketer is set, so neither state nor tickets are left to resume from.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// A client's side, for servers that one of the roots vouches for. It never resumes.
pub fn client(
    roots: Vec<Certificate>,
    credentials: Option<&Credentials>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = ServerVerifier::new(Anchors::new(roots, provider())?)?;
    client_with(Arc::new(verifier), credentials, clock)
}

/// A client's side for first contact: all it knows is the SHA-256 of the root's certificate (DER). The server has to present
/// that root in its chain, and a certificate beneath it for its name. [`pinned_root`] is what to keep.
pub fn client_pinned(
    root_sha256: [u8; 32],
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    client_with(Arc::new(Pinned::new(root_sha256, provider())), None, clock)
}

/// The root with this digest among what a server presented. Ask only after the handshake is complete.
pub fn pinned_root(presented: &[CertificateDer<'_>], root_sha256: [u8; 32]) -> Option<Certificate> {
    let root = presented.iter().find(|der| crate::sha256(der) == root_sha256)?;
    Certificate::from_der(root).ok()
}

/// The other end, after the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its certificate.
    pub certificate: Certificate,
    /// Whom it speaks for, when it is a member of an estate.
    pub identity: Option<Identity>,
}

impl Peer {
    /// From `peer_certificates()` of a connection whose handshake is complete: only then are they verified. `None` where the
    /// other end has shown none.
    pub fn of(presented: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        let certificate = Certificate::from_der(presented?.first()?).ok()?;
        let identity = pki::identity_of(&certificate);
        Some(Self { certificate, identity })
    }
}

/// A handshake that failed because of the time. A site whose own clock may be wrong tells it apart from an attack by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongTime {
    /// The time is not known here.
    #[error("the time is not known, so no certificate can be judged")]
    Unknown,
    /// By our clock it is over.
    #[error("the other end's certificate ended at {not_after}, and the clock here says {now}")]
    Expired {
        /// What our clock says.
        now: Timestamp,
        /// Its last second.
        not_after: Timestamp,
    },
    /// By our clock it has not begun.
    #[error("the other end's certificate begins at {not_before}, and the clock here says {now}")]
    NotYetValid {
        /// What our clock says.
        now: Timestamp,
        /// Its first second.
        not_before: Timestamp,
    },
}

impl WrongTime {
    /// Whether an error is one.
    pub fn of(error: &rustls::Error) -> Option<Self> {
        use rustls::Error::{FailedToGetCurrentTime, InvalidCertificate};
        match *error {
            FailedToGetCurrentTime => Some(Self::Unknown),
            InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
                Some(Self::Expired { now: timestamp(time), not_after: timestamp(not_after) })
            }
            InvalidCertificate(CertificateError::NotValidYetContext { time, not_before }) => {
                Some(Self::NotYetValid { now: timestamp(time), not_before: timestamp(not_before) })
            }
            _ => None,
        }
    }
}

fn client_with(
    verifier: Arc<dyn rustls::client::danger::ServerCertVerifier>,
    credentials: Option<&Credentials>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_details(provider(), time(clock));
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12])?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match credentials {
        Some(credentials) => builder.with_client_cert_resolver(Arc::new(certified(credentials)?)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn alpn() -> Vec<Vec<u8>> {
    ALPN.map(<[u8]>::to_vec).to_vec()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certified(credentials: &Credentials) -> Result<SingleCertAndKey, TlsError> {
    let first = credentials.chain.first().ok_or(TlsError::NoCertificate)?;
    let key = key::HandshakeKey::new(credentials.key.clone());
    let key = key.ok_or_else(|| TlsError::KeyKind(first.subject_text()))?;
    if first.key().as_ref() != Ok(key.public()) {
        return Err(TlsError::OtherKey(first.subject_text()));
    }
    let chain = credentials.chain.iter().map(|c| CertificateDer::from(c.der().to_vec())).collect();
    Ok(CertifiedKey::new(chain, Arc::new(key)).into())
}

fn time(clock: Arc<dyn Clock>) -> Arc<dyn TimeProvider> {
    Arc::new(Time(clock))
}

struct Time(Arc<dyn Clock>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = self.0.now()?.as_nanos().div_euclid(1_000_000_000);
        let seconds = u64::try_from(seconds).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

impl std::fmt::Debug for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Time")
    }
}

fn timestamp(time: UnixTime) -> Timestamp {
    Timestamp::from_secs(i64::try_from(time.as_secs()).unwrap_or(i64::MAX), 0)
}
