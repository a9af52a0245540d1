//! Certificates of sites: the first one for a token, the next one for the one before. What is given is in the journal before it leaves.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use crypto::Provider;
use estate::sites::{Command, Identity};
use estate::{Refusal, Sort};
use model::SiteId;
use model::line::{Chain, Enrol, Renew};
use pki::request::{self, Request};
use pki::{Certificate, Pem};

use super::sessions::Session;
use super::{Line, actor, blocking, too_early};
use crate::HubError;
use crate::api::Problem;
use crate::authority::{AuthorityError, Issued, key_sha256};
use crate::blobs::hex;

/// What a certificate costs of a site's purse.
const COST: i64 = 20;

/// The first certificate, or the same site's again whose answer was lost.
pub(super) async fn enrol(
    line: &Arc<Line>,
    from: IpAddr,
    enrol: Enrol,
) -> Result<Response, Problem> {
    line.tries.begin(from, line.hub.now()).map_err(|later| {
        line.metrics.too_early.up();
        too_early(later, "enrolment", "too many attempts failed")
    })?;
    let at = Arc::clone(line);
    let done = blocking(move || {
        let now = at.hub.now();
        let request = read(&enrol.csr)?;
        let (secret, key) =
            (hex(&crypto::sha256(enrol.secret.as_bytes())), key_sha256(&request.key));
        let site = at.hub.read(|estate| {
            estate.sites().enrolling(&secret, &key, now).map(|site| site.id.clone())
        });
        let site = site.ok_or_else(unknown)?;
        at.spend(&site, COST)?;
        let why = format!("it enrolled with a one-time token, from {from}");
        at.issue(&site, &request, &why, |id, identity| Command::Enrol {
            id,
            secret_sha256: secret,
            identity,
        })
    });
    let chain = done.await?;
    line.tries.good(from);
    line.note(&format!("site {} enrolled from {from}", chain.site));
    Ok((StatusCode::OK, Json(chain)).into_response())
}

/// The next certificate, for the same key or another one.
pub(super) async fn renew(
    line: &Arc<Line>,
    session: &Arc<Session>,
    renew: Renew,
) -> Result<Response, Problem> {
    let (at, session) = (Arc::clone(line), Arc::clone(session));
    let chain = blocking(move || {
        at.spend(session.site(), COST)?;
        let request = read(&renew.csr)?;
        let key_sha256 = session.key_sha256().to_owned();
        at.issue(session.site(), &request, "it renewed its certificate", |id, identity| {
            Command::Renew { id, key_sha256, identity }
        })
    });
    Ok((StatusCode::OK, Json(chain.await?)).into_response())
}

impl Line {
    fn issue(
        &self,
        site: &SiteId,
        request: &Request,
        why: &str,
        command: impl FnOnce(SiteId, Identity) -> Command,
    ) -> Result<Chain, Problem> {
        let issued =
            self.authority.site(site, request, self.hub.now()).map_err(|error| match error {
                AuthorityError::Refused(refusal) => {
                    Problem::invalid("the certificate request", refusal.to_string())
                }
                other => internal(&other.to_string()),
            })?;
        let pem = pem(&issued.chain)?;
        let Issued { key_sha256, serial, not_after, .. } = issued;
        let command = command(site.clone(), Identity { key_sha256, serial, not_after });
        let who = actor(site).map_err(HubError::from)?;
        self.hub.command(&who, why, estate::Command::Site(command), BTreeSet::new())?;
        self.metrics.certificates.up();
        Ok(Chain { site: site.clone(), pem, now: self.hub.now() })
    }
}

fn read(csr: &str) -> Result<Request, Problem> {
    request::read(csr.as_bytes(), &Provider)
        .map_err(|refusal| Problem::invalid("the certificate request", refusal.to_string()))
}

fn pem(chain: &[Certificate]) -> Result<String, Problem> {
    let one = |certificate: &Certificate| Pem::write("CERTIFICATE", certificate.der());
    let all: Result<Vec<String>, _> = chain.iter().map(one).collect();
    all.map(|all| all.concat()).map_err(|error| internal(&error.to_string()))
}

fn internal(why: &str) -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "line.authority",
        "no certificate was made",
        why,
    )
    .help("see the controller's log")
}

fn unknown() -> Problem {
    let why = "the token is unknown, used up, or expired";
    Refusal::new(Sort::Forbidden, "site.enrol", "enrolment", why)
        .help("`ringfence sites token SITE` on the controller makes a new one")
        .into()
}
