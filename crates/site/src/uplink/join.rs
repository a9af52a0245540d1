//! The first contact with a controller: a person carries a token there, and the site gets its certificate.
//!
//! The token pins the estate's root, so nobody in between can answer. The key is made here and is durable before anything is asked: when the
//! answer is lost, the same is asked again with the same key and the same token, and no harm is done.

use std::path::Path;
use std::sync::Arc;

use crypto::{Provider, tls};
use model::Timestamp;
use model::line::{Chain, Enrol};
use pki::identity::{MemberId, estate_of};
use pki::issue::{Profile, Subject};
use pki::{Pem, Signer, request};

use super::client::{self, LineError, Pings};
use super::keep::{Enrolled, Joined, Keep, KeepError};
use super::reckon::DIFFERS_NANOS;
use crate::store::StoreError;

/// What a person carries from the controller to the site.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    root_sha256: [u8; 32],
    secret: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// Why a site cannot join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The token.
    #[error("this is no token of a controller: rfj_, 64 hex digits, _, and 64 more are expected")]
    Token,
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is in it, or what was answered.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The line.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The other end showed no root that this token speaks of.
    #[error("the controller did not show the root that the token speaks of")]
    NoRoot,
    /// A root that is for no estate.
    #[error("the controller's root is for no estate")]
    NoEstate,
    /// No request can be made.
    #[error("a certificate cannot be asked for: {0}")]
    Request(String),
    /// The answer is not of that root.
    #[error("the certificate that was answered does not end at the root that the token speaks of")]
    OtherRoot,
    /// No runtime.
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Welcome {
    /// Who the site is now.
    pub enrolled: Enrolled,
    /// How the clock here is not the controller's, in words.
    pub clock: Option<String>,
}

impl std::str::FromStr for Token {
    type Err = JoinError;

    fn from_str(text: &str) -> Result<Self, JoinError> {
        let digits = |text: &str| {
            text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let rest = text.trim().strip_prefix("rfj_").ok_or(JoinError::Token)?;
        let (root, secret) = rest.split_once('_').ok_or(JoinError::Token)?;
        if !digits(root) || !digits(secret) {
            return Err(JoinError::Token);
        }
        let mut root_sha256 = [0; 32];
        for (byte, pair) in root_sha256.iter_mut().zip(root.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| JoinError::Token)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| JoinError::Token)?;
        }
        Ok(Self { root_sha256, secret: secret.to_owned() })
    }
}

/// Joins the controller at `HOST:PORT`. Repeated, it asks again with the key that is there.
pub fn join(
    state: &Path,
    controller: &str,
    token: &Token,
    clock: Arc<dyn tls::Clock>,
) -> Result<Welcome, JoinError> {
    client::host_port(controller)?;
    let keep = Keep::open(state)?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build()?;
    runtime.block_on(ask(&keep, controller, token, clock))
}

async fn ask(
    keep: &Keep,
    controller: &str,
    token: &Token,
    clock: Arc<dyn tls::Clock>,
) -> Result<Welcome, JoinError> {
    let config =
        tls::client_pinned(token.root_sha256, Arc::clone(&clock)).map_err(LineError::from)?;
    let up = client::connect(controller, config, Pings::default()).await?;
    let root = tls::pinned_root(&up.presented, token.root_sha256).ok_or(JoinError::NoRoot)?;
    let key = keep.key()?;
    let estate = estate_of(&root).ok_or(JoinError::NoEstate)?;
    // Which site it is, the token says.
    let id = MemberId::new("site").map_err(|error| JoinError::Request(error.to_string()))?;
    let csr = csr(Subject { estate, id, hosts: Vec::new(), addresses: Vec::new() }, &key);
    let enrol = Enrol { secret: token.secret.clone(), csr: csr.map_err(JoinError::Request)? };
    let body = serde_json::to_vec(&enrol).map_err(|error| JoinError::Request(error.to_string()))?;
    let mut client = up.client;
    let answer = client.post("/site/v1/enrol", "application/json", body).await?;
    let chain: Chain =
        serde_json::from_slice(&answer).map_err(|error| LineError::Answer(error.to_string()))?;
    let last = pki::Certificate::read_all(chain.pem.as_bytes()).ok().and_then(|mut all| all.pop());
    if last.as_ref() != Some(&root) {
        return Err(JoinError::OtherRoot);
    }
    let joined = Joined { controller: controller.to_owned(), site: chain.site };
    let enrolled = keep.enrol(joined, &chain.pem, root)?;
    let clock = clock.now().and_then(|now| differs(now, chain.now));
    Ok(Welcome { enrolled, clock })
}

fn differs(here: Timestamp, there: Timestamp) -> Option<String> {
    let ahead = here.as_nanos().saturating_sub(there.as_nanos());
    (ahead.saturating_abs() > DIFFERS_NANOS)
        .then(|| format!("the clock here says {here}, and the controller's {there}: put it right"))
}

/// A certificate request, in PEM.
pub(super) fn csr(subject: Subject, key: &dyn Signer) -> Result<String, String> {
    let der = request::make(Profile::Site, &subject, key, &Provider).map_err(|e| e.to_string())?;
    Pem::write("CERTIFICATE REQUEST", &der).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_strictly_and_never_shown() {
        let (root, secret) = ("0f".repeat(32), "ab".repeat(32));
        let token: Token = format!("rfj_{root}_{secret}\n").parse().unwrap();
        assert_eq!(token.root_sha256, [15; 32]);
        assert_eq!(token.secret, secret);
        assert_eq!(format!("{token:?}"), "Token");
        let (upper, short) = (root.to_uppercase(), "ab".repeat(31));
        for wrong in [
            String::new(),
            "rfj_".to_owned(),
            format!("rfj_{root}"),
            format!("rfj_{root}_{short}"),
            format!("rfj_{root}_{secret}ab"),
            format!("rfj_{upper}_{secret}"),
            format!("{root}_{secret}"),
        ] {
            assert!(wrong.parse::<Token>().is_err(), "{wrong}");
        }
    }
}
