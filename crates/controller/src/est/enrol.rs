//! Who gets a certificate: from a request and who brings it, to an entry of the journal and an answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use crypto::Provider;
use estate::devices::{Device, Field, State};
use estate::identities::{Answer, Command, Enrolment, How, NewCredential, Outcome, Serial, Wanted};
use estate::side::Digest;
use estate::{Refusal, Sort};
use journal::entry::{Actor, Name};
use model::{DeviceId, network};
use pki::est::{self, Binding, Wishes};
use pki::request;

use super::door::Caller;
use super::psk::Said;
use super::wire::{self, Basic, No};
use super::{Est, mud, places, psk, report, tpm, up};
use crate::HubError;
use crate::api::Problem;
use crate::line::pace::Later;

/// Type of devices that are gateways.
const GATEWAY: &str = "gateway";
/// Bytes of a body: a request in base64.
const BODY_BYTES_MAX: usize = 2 * est::REQUEST_MAX;
/// How long a body may take.
const BODY: Duration = Duration::from_secs(20);
/// Seconds after which what is full may be so no longer.
const FULL_S: u32 = 300;

/// One request of HTTP.
pub(super) async fn answer(est: &Arc<Est>, caller: &Caller, request: Request) -> Response {
    match route(est, caller, request).await {
        Ok(response) => response,
        Err(no) if no.waits() => {
            up(&est.counts.waiting);
            no.into_response()
        }
        Err(no) => {
            up(&est.counts.refused);
            // Whatever it is for: a list of what is written could forget one.
            if !no.written {
                let (from, theirs) = (caller.from.ip(), no.is_theirs());
                turned_away(est, no.code, from, caller.key, &no.why, theirs).await;
            }
            no.into_response()
        }
    }
}

/// The operation of a path: `/.well-known/est/OPERATION`, or with a label before it (RFC 7030 §3.2.2), of which there is one authority's.
fn operation(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/.well-known/est/")?;
    match rest.split_once('/') {
        None => Some(rest),
        Some((label, operation)) if !label.is_empty() && !operation.contains('/') => {
            Some(operation)
        }
        Some(_) => None,
    }
}

async fn route(est: &Arc<Est>, caller: &Caller, request: Request) -> Result<Response, No> {
    places::used(est, caller).await;
    let (head, body) = request.into_parts();
    if let Some(word) = head.uri.path().strip_prefix(model::tpm::PATH) {
        return tpm::answer(est, caller, &head, word, body).await;
    }
    if head.uri.path() == model::report::PATH {
        return report::answer(est, caller, &head, body).await;
    }
    if head.uri.path() == psk::PATH {
        return psk::answer(est, caller, &head).await;
    }
    let get = head.method == Method::GET;
    match operation(head.uri.path()) {
        Some("cacerts") if get => Ok(wire::certificates(&est.authority.anchors())),
        Some("csrattrs") if get => {
            let wishes = Wishes { bound: caller.modern, hosts: Vec::new(), uris: Vec::new() };
            Ok(wire::wishes(&wishes))
        }
        Some("simpleenroll" | "simplereenroll") if head.method == Method::POST => {
            let bytes = whole(&head.headers, body, BODY_BYTES_MAX).await?;
            simple(est, caller, &head.headers, &bytes).await
        }
        Some("serverkeygen" | "fullcmc") => Err(No::new(
            StatusCode::NOT_IMPLEMENTED,
            "a key that others have made and sent is nobody's own: make one on the device, and use simpleenroll",
        )),
        Some("cacerts" | "csrattrs" | "simpleenroll" | "simplereenroll") => Err(No::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "cacerts and csrattrs take GET, simpleenroll and simplereenroll take POST",
        )),
        _ => Err(No::new(
            StatusCode::NOT_FOUND,
            "here are /.well-known/est/cacerts, csrattrs, simpleenroll and simplereenroll",
        )),
    }
}

async fn simple(
    est: &Arc<Est>,
    caller: &Caller,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, No> {
    let said = headers.get(header::AUTHORIZATION).map(wire::basic);
    // Whoever is known already takes no place of strangers, and finds his own.
    let stranger = caller.key.is_none();
    if stranger {
        try_once(est, caller)?;
    }
    let asked = Asked::read(caller, body)?;
    let (device, how) = match known(est, caller, said, &asked) {
        Ok(known) => known,
        Err(Unknown::WrongSecret(name)) => {
            return Err(psk::wrong(est, caller, "the enrolment", &name).await);
        }
        Err(Unknown::Nobody) => return wait(est, caller, &asked).await,
        Err(Unknown::Refused(refusal)) => {
            return Err(refused(est, caller, Some(asked.key), refusal).await);
        }
    };
    let issued = issue(est, &device, how, &asked).await?;
    if stranger {
        est.tries.good(caller.from.ip());
    }
    mud::tell(est, caller, &device, &asked.request).await;
    up(&est.counts.issued);
    Ok(wire::certificates(&issued))
}

/// A stranger tries; it counts unless it turns out to be good.
pub(super) fn try_once(est: &Est, caller: &Caller) -> Result<(), No> {
    est.tries.begin(caller.from.ip(), est.hub.now()).map_err(|later| too_early(est, later))
}

pub(super) fn too_early(est: &Est, later: Later) -> No {
    up(&est.counts.too_early);
    let why = "too many attempts failed; try again later";
    let no = No::new(StatusCode::TOO_MANY_REQUESTS, why);
    No { retry_after_s: Some(later.0), code: "identity.too-early", ..no }
}

/// A request that is sound.
pub(super) struct Asked {
    pub(super) request: request::Request,
    /// SHA-256 of all of it, and of its key.
    digest: Digest,
    key: Digest,
}

impl Asked {
    pub(super) fn read(caller: &Caller, body: &[u8]) -> Result<Self, No> {
        let bad = |why: String| No::new(StatusCode::BAD_REQUEST, why);
        let der = est::read_request(body).map_err(|e| match e {
            est::Refusal::TooLong { .. } => No::new(StatusCode::PAYLOAD_TOO_LARGE, e.to_string()),
            other => bad(other.to_string()),
        })?;
        let request = request::read_der(&der, &Provider).map_err(|e| bad(e.to_string()))?;
        if !est::takes_key(request.key.kind) {
            let why = format!(
                "no certificate is given for a key of the kind {:?}; P-256, P-384, Ed25519 and RSA of 2,048 to 4,096 bits are good",
                request.key.kind
            );
            return Err(bad(why));
        }
        if est::binding(&request, &caller.channel) == Binding::Other {
            let why = match caller.modern {
                true => {
                    "its challengePassword is not this connection's tls-exporter (RFC 9266): the request was made for another one"
                }
                false => {
                    "its challengePassword is not this connection's tls-exporter (RFC 9266); tls-unique cannot be checked here: use TLS 1.3, or leave it out"
                }
            };
            return Err(bad(why.to_owned()));
        }
        let digest = Digest(crypto::sha256(&der));
        let key = Digest(crypto::sha256(&request.key.write()));
        Ok(Self { request, digest, key })
    }

    /// SHA-256 of its key.
    pub(super) const fn key(&self) -> Digest {
        self.key
    }

    /// What it calls itself.
    fn names(&self) -> Vec<String> {
        let request = &self.request;
        let subject = std::iter::once(&request.subject).filter(|subject| !subject.is_empty());
        let url = request.mud_url.as_ref();
        subject.chain(&request.hosts).chain(&request.uris).chain(url).cloned().collect()
    }
}

enum Unknown {
    /// There is nothing to go by.
    Nobody,
    /// There is, and it is not good.
    Refused(Refusal),
    /// It is not the pre-shared key with this identity.
    WrongSecret(String),
}

/// For which device it is, and why that should have a certificate.
fn known(
    est: &Est,
    caller: &Caller,
    said: Option<Option<Basic>>,
    asked: &Asked,
) -> Result<(DeviceId, How), Unknown> {
    let now = est.hub.now();
    let forbidden = |code, why: &str| {
        let what = "the enrolment";
        Unknown::Refused(Refusal::new(Sort::Forbidden, code, what, why))
    };
    est.hub.read(|estate| {
        let identities = estate.identities();
        if let Some(key) = caller.key {
            let device = estate.speaks(&key, now).map(|device| device.id.clone());
            let device = device.ok_or_else(|| {
                forbidden(
                    "identity.renewal",
                    "the certificate that it showed is not believed any more",
                )
            })?;
            if est.places.is_apart(&device, now) {
                let why = "its key was used at two sites within the hour: one of the two is a copy, and neither gets a certificate";
                let what = "the enrolment";
                let refusal = Refusal::new(Sort::Conflict, places::CODE, what, why);
                return Err(Unknown::Refused(refusal));
            }
            return Ok((device, How::Renewal { key, shown: caller.serial }));
        }
        if let Some(idevid) = &caller.idevid {
            let (maker, number) = idevid.named();
            let device = identities.expected(maker, number).cloned().ok_or_else(|| {
                let why = format!(
                    "number {number} of {maker} is not expected here: `ringfence identity expect` says which device it is"
                );
                forbidden("identity.unexpected", &why)
            })?;
            // What is said beside it has to be good, and is a token: a pre-shared key shows less than the maker's certificate does.
            let token = match said {
                None => None,
                Some(None) => return Err(forbidden("identity.token", psk::WRONG)),
                Some(Some(said)) => Some(Digest(crypto::sha256(said.password.as_bytes()))),
            };
            return Ok((device, idevid.how(token)));
        }
        if let Some(said) = said {
            let unknown = || forbidden("identity.token", psk::WRONG);
            let said = said.ok_or_else(unknown)?;
            let secret = Digest(crypto::sha256(said.password.as_bytes()));
            if let Some(token) = identities.token(&secret) {
                return Ok((token.device.clone(), How::Token { secret }));
            }
            return match psk::said(est, identities, &said) {
                Said::Known(device, secret) => Ok((device, psk::how(&said, secret))),
                Said::Wrong => Err(Unknown::WrongSecret(said.user)),
                Said::NoSuch => Err(unknown()),
            };
        }
        match identities.request(&asked.digest).and_then(|waiting| waiting.answer.as_ref()) {
            Some(Answer::Approved { device }) => {
                return Ok((device.clone(), How::Approved { request: asked.digest }));
            }
            Some(Answer::Rejected) => {
                return Err(forbidden("identity.rejected", "a person has rejected this request"));
            }
            None => {}
        }
        // Who proves the key of a certificate that has ended is who it was.
        match identities.of_key(&asked.key) {
            Some((device, _)) => Ok((device.clone(), How::Grace)),
            None => Err(Unknown::Nobody),
        }
    })
}

/// Signs, writes it down, and only then has something to hand out.
pub(super) async fn issue(
    est: &Arc<Est>,
    device: &DeviceId,
    how: How,
    asked: &Asked,
) -> Result<Vec<pki::Certificate>, No> {
    let now = est.hub.now();
    let key = &asked.request.key;
    let issued = match is_gateway(est, device) {
        true => est.authority.gateway(device, key, now),
        false => est.authority.device(device, key, now),
    };
    let issued = issued.map_err(|error| No::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let credential = NewCredential {
        key: asked.key,
        serial: Serial(issued.serial),
        issuer: issued.issuer,
        since: issued.certificate.not_before(),
        until: issued.certificate.not_after(),
    };
    let enrolment = Enrolment { device: device.clone(), credential, how };
    let at = Arc::clone(est);
    let settle = move |(): &(), batch| {
        let who = actor().map_err(HubError::from)?;
        at.hub.enrol(&who, "devices enrol or renew", batch).map_err(Problem::from)
    };
    let outcomes = est.desk.write((), vec![enrolment], settle).await.map_err(busy)?;
    match outcomes.into_iter().next() {
        Some(Outcome::Issued) => Ok(vec![issued.certificate]),
        Some(Outcome::Refused(refusal)) => Err(no_of(&refusal).written()),
        None => Err(No::new(StatusCode::INTERNAL_SERVER_ERROR, "it was lost on its way")),
    }
}

/// Whether a person said that it is one: what it says itself, or looks like, does not count.
fn is_gateway(est: &Est, device: &DeviceId) -> bool {
    est.hub.read(|estate| {
        let claims = estate.devices().get(device).map(Device::claims).unwrap_or_default();
        let said = claims.iter().filter(|claim| claim.decided && claim.field == Field::Type);
        said.into_iter().any(|claim| &*claim.value == GATEWAY)
    })
}

/// A person has to look at it; the device asks again.
async fn wait(est: &Arc<Est>, caller: &Caller, asked: &Asked) -> Result<Response, No> {
    let from = caller.from.ip().to_canonical();
    let new = est.hub.read(|estate| {
        // It asks again and again, and all devices are looked at for an address.
        if estate.identities().request(&asked.digest).is_some() {
            return None;
        }
        Some(at(estate, from).map(|device| device.id.clone()))
    });
    if let Some(seen_as) = new {
        let wanted =
            Wanted { request: asked.digest, key: asked.key, names: asked.names(), from, seen_as };
        command(est, "a device asks for its first certificate", Command::Ask { wanted })
            .await
            .map_err(busy)?;
    }
    // It waits as it should: that is no failed attempt.
    est.tries.good(caller.from.ip());
    Err(No::later("a person looks at this request first; ask again with the same one"))
}

/// Whom something concerns: whose key or maker's certificate is shown, else whoever alone has the address.
fn concerned(est: &Est, key: Option<Digest>, from: IpAddr) -> Option<DeviceId> {
    est.hub.read(|estate| {
        let of_key = key.and_then(|key| estate.identities().of_key(&key));
        let of_key = of_key.map(|(device, _)| device.clone());
        of_key.or_else(|| at(estate, from.to_canonical()).map(|device| device.id.clone()))
    })
}

/// The device with an address, where it is the only one: shops that are built alike have the same ones.
pub(super) fn at(estate: &estate::Estate, from: IpAddr) -> Option<&Device> {
    let at = |device: &&Device| device.state != State::Retired && device.addresses.contains(&from);
    let mut all = estate.devices().iter().filter(at);
    let one = all.next()?;
    all.next().is_none().then_some(one)
}

/// Writes down that somebody was turned away before it was asked who it is; `false`: it comes again and again, would fill the journal, and is written
/// with others when the minute is over. What is not `theirs` to mend is nothing to look at on their device.
pub(super) async fn turned_away(
    est: &Arc<Est>,
    code: &'static str,
    from: IpAddr,
    key: Option<Digest>,
    why: &str,
    theirs: bool,
) -> bool {
    let now = est.hub.now();
    if est.complaints.begin(from, now).is_err() {
        est.unsaid.add(code, from, now);
        return false;
    }
    let device = theirs.then(|| concerned(est, key, from)).flatten();
    let (named, why) = (code.to_owned(), format!("from {}: {why}", from.to_canonical()));
    let from_network = Some(network(from));
    let refuse =
        Command::Refuse { code: named, why, device, key: None, from: from_network, times: 1 };
    // It is turned away all the same.
    let written = command(est, "somebody was turned away at the door", refuse).await.is_ok();
    if !written {
        est.unsaid.add(code, from, now);
    }
    written
}

/// Writes down how many more were refused: of a minute that is over, or, at the end, of any.
pub(super) async fn tell_unsaid(est: &Arc<Est>, any: bool) {
    for said in est.unsaid.take(est.hub.now(), any) {
        let code = "identity.more-refused".to_owned();
        let (why, from, times) = (said.line(), said.of(), said.times());
        let refuse = Command::Refuse { code, why, device: None, key: None, from, times };
        if command(est, "more were refused at the door", refuse).await.is_err() {
            est.unsaid.put_back(&said);
        }
    }
}

/// Writes down that somebody got none.
pub(super) async fn refused(
    est: &Arc<Est>,
    caller: &Caller,
    key: Option<Digest>,
    refusal: Refusal,
) -> No {
    let no = no_of(&refusal);
    let from = caller.from.ip().to_canonical();
    let device = concerned(est, caller.key, from);
    let why = match device {
        Some(_) => refusal.why,
        None => format!("from {from}: {}", refusal.why),
    };
    let (code, from) = (refusal.code.to_owned(), Some(network(from)));
    let refuse = Command::Refuse { code, why, device, key, from, times: 1 };
    match command(est, "an enrolment was refused", refuse).await {
        Ok(()) => no.written(),
        Err(problem) => busy(problem),
    }
}

pub(super) async fn command(
    est: &Arc<Est>,
    why: &'static str,
    command: Command,
) -> Result<(), Problem> {
    let at = Arc::clone(est);
    let done = tokio::task::spawn_blocking(move || {
        let who = actor().map_err(HubError::from)?;
        let command = estate::Command::Identity(command);
        at.hub.command(&who, why, command, std::collections::BTreeSet::new()).map(drop)
    });
    match done.await {
        Ok(done) => done.map_err(Problem::from),
        Err(error) => Err(crate::desk::given_up(&error)),
    }
}

/// The door, as an actor: whom it let in stands in the events.
pub(super) fn actor() -> Result<Actor, journal::Malformed> {
    Ok(Actor { kind: Name::new("service")?, id: "est".to_owned() })
}

fn no_of(refusal: &Refusal) -> No {
    let status = match (refusal.sort, refusal.code) {
        // So that a client which holds its secret back sends it.
        (_, "identity.token" | "identity.psk") => StatusCode::UNAUTHORIZED,
        (Sort::Full, _) => StatusCode::SERVICE_UNAVAILABLE,
        (Sort::Invalid, _) => StatusCode::BAD_REQUEST,
        (Sort::Conflict, _) => StatusCode::CONFLICT,
        _ => StatusCode::FORBIDDEN,
    };
    let retry_after_s = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(FULL_S);
    No { retry_after_s, ..No::new(status, format!("{}: {}", refusal.what, refusal.why)) }
}

pub(super) fn busy(problem: Problem) -> No {
    let why = format!("{}: {}", problem.title, problem.detail);
    let status = match StatusCode::from_u16(problem.status) {
        // A device comes again for 503, and gives up at 507.
        Ok(StatusCode::INSUFFICIENT_STORAGE) => StatusCode::SERVICE_UNAVAILABLE,
        status => status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let later = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(FULL_S);
    let retry_after_s = problem.retry_after_s.or(later);
    No { retry_after_s, code: problem.code, ..No::new(status, why) }
}

/// A body of bounded length, in time.
pub(super) async fn whole(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Bytes, No> {
    let too_long = || {
        let why = format!("it is longer than {bytes_max} bytes, or was cut");
        No::new(StatusCode::PAYLOAD_TOO_LARGE, why)
    };
    let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if said.and_then(|said| said.parse::<usize>().ok()).is_some_and(|said| said > bytes_max) {
        return Err(too_long());
    }
    match tokio::time::timeout(BODY, axum::body::to_bytes(body, bytes_max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(too_long()),
        Err(_) => {
            let why = format!("its body did not come within {} seconds", BODY.as_secs());
            Err(No::new(StatusCode::REQUEST_TIMEOUT, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::operation;

    #[test]
    fn an_operation_may_have_a_label() {
        for (path, expected) in [
            ("/.well-known/est/cacerts", Some("cacerts")),
            ("/.well-known/est/shops/cacerts", Some("cacerts")),
            ("/.well-known/est/a/b/cacerts", None),
            ("/.well-known/est//cacerts", None),
            ("/.well-known/est", None),
            ("/cacerts", None),
        ] {
            assert_eq!(operation(path), expected, "{path}");
        }
    }
}
