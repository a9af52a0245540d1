//! What an agent does for its device: enrol, renew, report, attest.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto::tls::Credentials;
use crypto::{PrivateKey, Provider};
use model::Timestamp;
use model::report::{self, Noted, Report};
use model::tpm::{
    Ask, Certification, Challenge, Enrol, LOG_BYTES_MAX, Nonce, PATH, Quote, Verdict,
};
use pki::identity::MemberId;
use pki::issue::{Profile, Subject};
use pki::request::{self, Extras};
use pki::tpm::{Selection, binding};
use pki::{Certificate, KeyKind, est, identity};
use serde::de::DeserializeOwned;

use crate::home::{self, Home, HomeError};
use crate::http::{self, Answer, Connection, HttpError};
use crate::identity::{Identity, InTpm};
use crate::{Keys, KeysError, Stored, Tpm, transport};

/// Where a kernel has the event log of the boot.
pub const EVENT_LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";
/// Where a kernel has the TPM.
pub const TPM: &str = "/dev/tpmrm0";

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// What is kept.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The server.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The TPM.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The TPM cannot be opened.
    #[error("the TPM {place} cannot be opened: {source}")]
    NoTpm {
        /// Which.
        place: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server says no.
    #[error("the server refuses ({status}): {why}")]
    Refused {
        /// Its status.
        status: u16,
        /// Its line.
        why: String,
    },
    /// A person has to decide first.
    #[error("not yet: {why}; ask again in {seconds} seconds")]
    NotYet {
        /// The server's line.
        why: String,
        /// When to ask again.
        seconds: u32,
    },
    /// Something else is wrong.
    #[error("{0}")]
    Other(String),
}

impl AgentError {
    /// Whether the same may go well later: the server has not said no.
    fn may_pass(&self) -> bool {
        match self {
            Self::Http(error) => error.may_pass(),
            Self::Refused { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }
}

fn other(error: impl ToString) -> AgentError {
    AgentError::Other(error.to_string())
}

/// Which TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The kernel's, where there is one.
    Usual,
    /// None.
    None,
    /// This one ([`transport::open`]).
    At(String),
}

/// By what a server is trusted.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Its root, or the one that is kept.
    Root(Option<Box<Certificate>>),
    /// The SHA-256 of its root.
    Sha256([u8; 32]),
}

/// A first certificate is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// From whom: `HOST:PORT`.
    pub server: String,
    /// By what it is trusted.
    pub trust: Trust,
    /// The secret of a token.
    pub token: Option<String>,
    /// Certificates between the TPM's and its manufacturer's root.
    pub ek_chain: Vec<Certificate>,
}

/// An agent of one device.
#[derive(Clone, Debug)]
pub struct Agent {
    /// What it keeps.
    pub home: Home,
    /// Its TPM.
    pub place: Place,
}

impl Agent {
    /// Gets a certificate, with a key in the TPM where there is one. A key that was made before is used again: who lost the answer asks with the
    /// same one.
    pub fn enrol(&self, wanted: &Wanted) -> Result<String, AgentError> {
        let root = self.root(&wanted.server, &wanted.trust)?;
        let identity = self.identity(true)?;
        let certificate = match &identity {
            Identity::Tpm(tpm) => by_tpm(&wanted.server, &root, tpm, wanted, None)?,
            Identity::File(_) => {
                let token = wanted.token.as_deref();
                plain(&wanted.server, &root, &identity, "simpleenroll", token, None)?
            }
        };
        self.home.keep(home::ROOT, &root)?;
        self.home.write(home::SERVER, wanted.server.as_bytes())?;
        self.take(&wanted.server, &root, &identity, &certificate)?;
        Ok(told(&certificate, &identity))
    }

    /// Gets the next certificate when it is time, or now.
    pub fn renew(&self, now: Timestamp, at_once: bool) -> Result<String, AgentError> {
        let (server, root) = self.server()?;
        let identity = self.identity(false)?;
        if let Some(next) = self.home.certificate(home::NEXT)? {
            // Of an interrupted renewal: what it is good for shows now.
            match self.swap(&server, &root, &identity, &next) {
                Ok(()) => {}
                // It may have been shown, and whoever has shown it gets no other for an older one.
                Err(error) if error.may_pass() && now < next.not_after() => return Err(error),
                Err(_) => self.home.remove(home::NEXT)?,
            }
        }
        let has = self.home.certificate(home::CERTIFICATE)?;
        let has = has.ok_or_else(|| other("there is no certificate: enrol first"))?;
        let due = due(&has);
        if now < due && !at_once {
            return Ok(format!(
                "the certificate is renewed from {due} on; it ends at {}",
                has.not_after()
            ));
        }
        let late = now >= has.not_after();
        let own = credentials(&has, &identity);
        let certificate = match &identity {
            // Without a certificate that counts, the TPM shows again who it is, or the request whose key it is.
            Identity::Tpm(tpm) if late => {
                let trust = Trust::Root(None);
                let wanted =
                    Wanted { server: server.clone(), trust, token: None, ek_chain: Vec::new() };
                by_tpm(&server, &root, tpm, &wanted, None)?
            }
            Identity::File(_) if late => {
                plain(&server, &root, &identity, "simpleenroll", None, None)?
            }
            _ => plain(&server, &root, &identity, "simplereenroll", None, Some(&own))?,
        };
        self.take(&server, &root, &identity, &certificate)?;
        Ok(told(&certificate, &identity))
    }

    /// Says what was measured; what came of it. `None`: the key is in no TPM.
    pub fn attest(&self, log: &Path) -> Result<Option<Verdict>, AgentError> {
        let (server, root) = self.server()?;
        let identity = self.identity(false)?;
        let Identity::Tpm(tpm) = &identity else {
            return Ok(None);
        };
        let has = self.home.certificate(home::CERTIFICATE)?;
        let has = has.ok_or_else(|| other("there is no certificate: enrol first"))?;
        let mut connection = Connection::open(&server, &root, Some(&credentials(&has, &identity)))?;
        let asked: Nonce = document(&connection.ask("GET", &word("nonce"), &[], &[])?)?;
        let (nonce, pcrs) = (bytes(&asked.nonce)?, bytes(&asked.pcrs)?);
        let selection = Selection::read(&pcrs).map_err(other)?;
        let nonce = binding(&nonce, &connection.channel()?, &identity.public(), &Provider);
        let answer = tpm.keys().quote(&nonce, &selection)?;
        let event_log = match asked.event_log {
            true => event_log(log)?.map(|log| STANDARD.encode(log)),
            false => None,
        };
        let quote = Quote {
            attest: STANDARD.encode(&answer.quote.attest),
            signature: STANDARD.encode(&answer.quote.signature),
            pcrs: STANDARD.encode(answer.pcrs.write()),
            event_log,
        };
        let said = post(&mut connection, &word("quote"), &quote, &[])?;
        match said.status {
            200 | 403 => serde_json::from_slice(&said.body).map(Some).map_err(|_| refused(&said)),
            _ => Err(refused(&said)),
        }
    }

    /// Says what runs here; whether that is news.
    pub fn report(&self, report: &Report) -> Result<bool, AgentError> {
        let (server, root) = self.server()?;
        let identity = self.identity(false)?;
        let has = self.home.certificate(home::CERTIFICATE)?;
        let has = has.ok_or_else(|| other("there is no certificate: enrol first"))?;
        let mut connection = Connection::open(&server, &root, Some(&credentials(&has, &identity)))?;
        let noted: Noted = document(&post(&mut connection, report::PATH, report, &[])?)?;
        Ok(noted.news)
    }

    /// Keys of the TPM, made if they are not there yet.
    pub fn keys(&self, make: bool) -> Result<Keys, AgentError> {
        let place = match &self.place {
            Place::At(place) => place,
            _ => TPM,
        };
        let no_tpm = |source| AgentError::NoTpm { place: place.to_owned(), source };
        let tpm = Tpm::new(transport::open(place).map_err(no_tpm)?);
        match self.home.read(home::KEYS)? {
            Some(bytes) => Ok(Keys::open(tpm, Stored::read(&bytes)?)?),
            None if make => {
                let keys = Keys::make(tpm)?;
                self.home.write(home::KEYS, &keys.stored().write())?;
                Ok(keys)
            }
            None => Err(other("there are no keys in the TPM: enrol first")),
        }
    }

    fn has_tpm(&self) -> bool {
        match self.place {
            Place::None => false,
            Place::At(_) => true,
            Place::Usual => Path::new(TPM).exists(),
        }
    }

    /// The key that speaks TLS. Whoever has one keeps it where it is.
    fn identity(&self, make: bool) -> Result<Identity, AgentError> {
        let kept = self.home.read(home::KEY)?;
        if kept.is_none() && (self.has_tpm() || self.home.read(home::KEYS)?.is_some()) {
            let tpm = InTpm::new(self.keys(make)?).map_err(other)?;
            return Ok(Identity::Tpm(Arc::new(tpm)));
        }
        let pem = match kept {
            Some(pem) => pem,
            None if make => {
                let (_, pem) = PrivateKey::generate(KeyKind::P256).map_err(other)?;
                self.home.write(home::KEY, pem.as_bytes())?;
                pem.into_bytes()
            }
            None => return Err(other("there is no key: enrol first")),
        };
        Ok(Identity::File(Arc::new(PrivateKey::from_pem(&pem).map_err(other)?)))
    }

    fn root(&self, server: &str, trust: &Trust) -> Result<Certificate, AgentError> {
        match trust {
            Trust::Root(Some(root)) => Ok(Certificate::clone(root)),
            Trust::Sha256(digest) => Ok(http::root(server, *digest)?),
            Trust::Root(None) => {
                let kept = self.home.certificate(home::ROOT)?;
                kept.ok_or_else(|| {
                    other("by what is the server trusted? --root or --root-sha256 says so")
                })
            }
        }
    }

    fn server(&self) -> Result<(String, Certificate), AgentError> {
        let server = String::from_utf8(self.home.need(home::SERVER)?).map_err(other)?;
        let root = self.home.certificate(home::ROOT)?;
        Ok((server, root.ok_or_else(|| other("there is no root: enrol first"))?))
    }

    /// Keeps a certificate beside the one that there is, and puts it in its place once the server lets it in.
    fn take(
        &self,
        server: &str,
        root: &Certificate,
        identity: &Identity,
        certificate: &Certificate,
    ) -> Result<(), AgentError> {
        self.home.keep(home::NEXT, certificate)?;
        self.swap(server, root, identity, certificate)
    }

    fn swap(
        &self,
        server: &str,
        root: &Certificate,
        identity: &Identity,
        next: &Certificate,
    ) -> Result<(), AgentError> {
        if next.key().map_err(other)? != identity.public() {
            return Err(other("the certificate is for another key"));
        }
        let own = credentials(next, identity);
        let mut connection = Connection::open(server, root, Some(&own))?;
        // Whether a certificate is believed shows with the first answer (TLS 1.3).
        let said = connection.ask("GET", "/.well-known/est/cacerts", &[], &[])?;
        match said.status {
            200 => Ok(self.home.swap(home::NEXT, home::CERTIFICATE)?),
            _ => Err(refused(&said)),
        }
    }
}

/// From when on a certificate is renewed: after two thirds of its life, and a little more for some, so that devices which were unpacked together
/// do not come together.
pub fn due(certificate: &Certificate) -> Timestamp {
    let (since, until) = (certificate.not_before(), certificate.not_after());
    let life = until.as_nanos().saturating_sub(since.as_nanos()).max(0);
    let spread = crypto::sha256(certificate.der()).first().copied().unwrap_or_default();
    let later = (life / 12 / 256).saturating_mul(i64::from(spread));
    since.plus_nanos((life / 3).saturating_mul(2).saturating_add(later))
}

fn credentials(certificate: &Certificate, identity: &Identity) -> Credentials {
    Credentials { chain: vec![certificate.clone()], key: identity.signer() }
}

fn told(certificate: &Certificate, identity: &Identity) -> String {
    let place = match identity {
        Identity::Tpm(_) => "in the TPM",
        Identity::File(_) => "in a file",
    };
    format!("a certificate for a key {place}, until {}", certificate.not_after())
}

/// The kernel's event log; `None`: there is none.
fn event_log(path: &Path) -> Result<Option<Vec<u8>>, AgentError> {
    use std::io::Read as _;
    let wrong = |error: &dyn std::fmt::Display| other(format!("{}: {error}", path.display()));
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| wrong(&error))?,
    };
    let mut log = Vec::new();
    // A file of the kernel does not say how long it is.
    let most = u64::try_from(LOG_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut log).map_err(|error| wrong(&error))?;
    match log.len() > LOG_BYTES_MAX {
        true => Err(wrong(&format!("it is longer than {LOG_BYTES_MAX} bytes"))),
        false => Ok(Some(log)),
    }
}

/// A certificate by EST alone.
fn plain(
    server: &str,
    root: &Certificate,
    identity: &Identity,
    operation: &str,
    token: Option<&str>,
    own: Option<&Credentials>,
) -> Result<Certificate, AgentError> {
    let mut connection = Connection::open(server, root, own)?;
    let csr = csr(&mut connection, root, identity)?;
    let mut headers = vec![
        "Content-Type: application/pkcs10".to_owned(),
        "Content-Transfer-Encoding: base64".to_owned(),
    ];
    headers.extend(token.map(basic));
    let path = format!("/.well-known/est/{operation}");
    let said = connection.ask("POST", &path, &headers, est::body(&csr).as_bytes())?;
    issued(&said, identity)
}

/// A certificate by what the TPM shows: it opens a challenge, then says that the request's key is in it.
fn by_tpm(
    server: &str,
    root: &Certificate,
    tpm: &Arc<InTpm>,
    wanted: &Wanted,
    own: Option<&Credentials>,
) -> Result<Certificate, AgentError> {
    let identity = Identity::Tpm(Arc::clone(tpm));
    let (ask, public) = {
        let keys = tpm.keys();
        let (endorsement, stored) = (keys.endorsement(), keys.stored());
        let own = endorsement.certificate.iter().map(Vec::as_slice);
        let chain = own.chain(wanted.ek_chain.iter().map(Certificate::der));
        let ask = Ask {
            ek_certificates: chain.map(|der| STANDARD.encode(der)).collect(),
            ek_public: STANDARD.encode(&endorsement.public),
            ak_public: STANDARD.encode(&stored.attestation.public),
        };
        (ask, stored.device.public.clone())
    };
    let mut connection = Connection::open(server, root, own)?;
    let sealed: Challenge = document(&post(&mut connection, &word("challenge"), &ask, &[])?)?;
    drop(connection);
    let challenge = pki::tpm::Challenge { blob: bytes(&sealed.blob)?, seed: bytes(&sealed.seed)? };
    let secret = tpm.keys().activate(&challenge)?;
    // Some TPMs took longer for that than a stranger may stay.
    let mut connection = Connection::open(server, root, own)?;
    let csr = csr(&mut connection, root, &identity)?;
    let id = bytes(&sealed.id)?;
    let nonce = binding(&id, &connection.channel()?, &identity.public(), &Provider);
    let said = tpm.keys().certify(&nonce)?;
    let certify = Certification {
        attest: STANDARD.encode(&said.attest),
        signature: STANDARD.encode(&said.signature),
        public: STANDARD.encode(public),
    };
    let (secret, csr) = (STANDARD.encode(secret), STANDARD.encode(csr));
    let enrol = Enrol { id: sealed.id, secret, csr, certify };
    let headers: Vec<String> = wanted.token.as_deref().map(basic).into_iter().collect();
    issued(&post(&mut connection, &word("enrol"), &enrol, &headers)?, &identity)
}

/// A request that was made for this connection. Whose certificate it becomes is the server's to say.
fn csr(
    connection: &mut Connection,
    root: &Certificate,
    identity: &Identity,
) -> Result<Vec<u8>, AgentError> {
    let estate = identity::estate_of(root).ok_or_else(|| other("the root is no estate's"))?;
    let id = MemberId::new("device").map_err(other)?;
    let subject = Subject { estate, id, hosts: Vec::new(), addresses: Vec::new() };
    let challenge = est::challenge_of(&connection.channel()?);
    let extras = Extras { challenge: Some(&challenge), mud_url: None };
    request::make_with(Profile::Device, &subject, extras, &*identity.signer(), &Provider)
        .map_err(other)
}

fn issued(said: &Answer, identity: &Identity) -> Result<Certificate, AgentError> {
    match said.status {
        200 => {}
        202 => {
            let (why, seconds) = (said.line(), said.retry_after_s.unwrap_or(60));
            return Err(AgentError::NotYet { why, seconds });
        }
        _ => return Err(refused(said)),
    }
    let all = est::read_certs_only(&said.body).map_err(other)?;
    let own = identity.public();
    let mine = all.into_iter().find(|c| c.key().is_ok_and(|key| key == own));
    mine.ok_or_else(|| other("the server gave a certificate for another key"))
}

fn word(word: &str) -> String {
    format!("{PATH}{word}")
}

/// HTTP Basic (RFC 7617), without a name.
fn basic(token: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(format!(":{token}")))
}

fn post(
    connection: &mut Connection,
    path: &str,
    document: &impl serde::Serialize,
    more: &[String],
) -> Result<Answer, AgentError> {
    let body = serde_json::to_vec(document).map_err(other)?;
    let mut headers = vec!["Content-Type: application/json".to_owned()];
    headers.extend(more.iter().cloned());
    Ok(connection.ask("POST", path, &headers, &body)?)
}

fn document<T: DeserializeOwned>(said: &Answer) -> Result<T, AgentError> {
    match said.status {
        200 => serde_json::from_slice(&said.body).map_err(other),
        _ => Err(refused(said)),
    }
}

fn refused(said: &Answer) -> AgentError {
    AgentError::Refused { status: said.status, why: said.line() }
}

fn bytes(text: &str) -> Result<Vec<u8>, AgentError> {
    STANDARD.decode(text).map_err(other)
}
