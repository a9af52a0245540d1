//! What comes of a command about sites.

use model::{SiteId, Timestamp};

use super::{
    Ack, Bundle, Command, Event, Happened, Identity, SITES_MAX, Site, Sites, TELL_MAX, TOKEN_S_MAX,
};
use crate::{Refusal, Sort};

/// Characters kept of why a site is no further.
const WHY_CHARS_MAX: usize = 1_000;
/// Characters kept of a word, a subject, and a line of what happened.
const HAPPENED_CHARS_MAX: [usize; 3] = [64, 256, 512];
/// Bytes of one event as JSON: with its command and its reason it fits an entry.
const EVENT_BYTES_MAX: usize = 40_000;

impl Sites {
    pub(crate) fn decide(&self, command: &Command, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Create { id, name } => {
                if self.all.contains_key(id) {
                    let why = "there is one with this id";
                    return Err(Refusal::new(
                        Sort::Conflict,
                        "site.exists",
                        format!("site {id}"),
                        why,
                    ));
                }
                if self.all.len() >= SITES_MAX {
                    let why = format!("there are {SITES_MAX} already");
                    return Err(Refusal::new(Sort::Full, "site.full", format!("site {id}"), why));
                }
                if name.is_empty()
                    || name.chars().count() > 200
                    || name.chars().any(char::is_control)
                {
                    let why = "its name is 1 to 200 characters without control characters";
                    return Err(Refusal::new(
                        Sort::Invalid,
                        "site.name",
                        format!("site {id}"),
                        why,
                    ));
                }
                Ok(vec![Event::Created { id: id.clone(), name: name.clone() }])
            }
            Command::IssueToken { id, secret_sha256, expires_at } => {
                self.one(id)?;
                check_hash(secret_sha256)?;
                let life = expires_at.as_nanos().saturating_sub(now.as_nanos());
                if life <= 0 || life > TOKEN_S_MAX.saturating_mul(1_000_000_000) {
                    let why = "a token is good for a moment to 7 days";
                    return Err(Refusal::new(
                        Sort::Invalid,
                        "site.token-life",
                        format!("token of site {id}"),
                        why,
                    ));
                }
                let (id, secret_sha256, expires_at) =
                    (id.clone(), secret_sha256.clone(), *expires_at);
                Ok(vec![Event::TokenIssued { id, secret_sha256, expires_at }])
            }
            Command::Enrol { id, secret_sha256, identity } => {
                let site = self.one(id)?;
                self.check_identity(id, identity, now)?;
                if !site.enrols(secret_sha256, &identity.key_sha256, now) {
                    return Err(not_enrolled(id, "its token is unknown, used up, or expired"));
                }
                let (id, identity) = (id.clone(), identity.clone());
                Ok(vec![Event::Enrolled { id, identity, renewed: false }])
            }
            Command::Renew { id, key_sha256, identity } => {
                let site = self.one(id)?;
                self.check_identity(id, identity, now)?;
                if !site.believes(key_sha256, now) {
                    return Err(not_enrolled(id, "its key is not believed"));
                }
                // Who asks with the new key has it.
                let settled = site.unsettled(key_sha256);
                let mut events: Vec<Event> =
                    settled.then(|| Event::Settled { id: id.clone() }).into_iter().collect();
                let (id, identity) = (id.clone(), identity.clone());
                events.push(Event::Enrolled { id, identity, renewed: true });
                Ok(events)
            }
            Command::Revoke { id } => {
                let site = self.one(id)?;
                if site.revoked || (site.identity.is_none() && site.token.is_none()) {
                    return Ok(Vec::new());
                }
                Ok(vec![Event::Revoked { id: id.clone() }])
            }
            Command::Offer { id, bundle } => {
                let site = self.one(id)?;
                check_hash(&bundle.content)?;
                let last = site.intended.as_ref();
                let is = |last: &Bundle| {
                    last.content == bundle.content && last.generation >= bundle.generation
                };
                if last.is_some_and(is) {
                    return Ok(Vec::new());
                }
                if last.is_some_and(|last| last.generation >= bundle.generation) {
                    let why = "generations only grow";
                    return Err(Refusal::new(
                        Sort::Conflict,
                        "site.generation",
                        format!("bundle {} of site {id}", bundle.generation),
                        why,
                    ));
                }
                Ok(vec![Event::Offered { id: id.clone(), bundle: bundle.clone() }])
            }
            Command::Acknowledge { id, ack } => {
                let site = self.one(id)?;
                let offered = site.intended.as_ref().map_or(0, |bundle| bundle.generation);
                if ack.generation > offered {
                    let why = format!("{offered} is the newest that it was offered");
                    return Err(Refusal::new(
                        Sort::Invalid,
                        "site.ack",
                        format!("acknowledgement of {} by site {id}", ack.generation),
                        why,
                    ));
                }
                let why = clipped(&ack.why, WHY_CHARS_MAX);
                let ack = Ack { why, ..ack.clone() };
                let same = site.ack.as_ref() == Some(&ack);
                Ok(if same {
                    Vec::new()
                } else {
                    vec![Event::Acknowledged { id: id.clone(), ack }]
                })
            }
            Command::Settle { id, key_sha256 } => {
                let settled = self.one(id)?.unsettled(key_sha256);
                Ok(settled.then(|| Event::Settled { id: id.clone() }).into_iter().collect())
            }
            Command::Tell { id, number, happened } => tell(self.one(id)?, *number, happened),
        }
    }

    fn check_identity(
        &self,
        id: &SiteId,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        check_hash(&identity.key_sha256)?;
        match self.of_key(&identity.key_sha256, now) {
            Some(other) if other.id != *id => {
                let why = format!("site {} has it", other.id);
                Err(Refusal::new(Sort::Conflict, "site.key", format!("the key of site {id}"), why)
                    .help("each site makes a key of its own; a copied disk has to make a new one"))
            }
            _ => Ok(()),
        }
    }
}

fn not_enrolled(id: &SiteId, why: &str) -> Refusal {
    Refusal::new(Sort::Forbidden, "site.enrol", format!("enrolment of site {id}"), why)
        .help(format!("`ringfence sites token {id}` on the controller makes a new one"))
}

/// The next batch counts, one that counts already does not, and one that comes too early is refused.
fn tell(site: &Site, number: u64, happened: &[Happened]) -> Result<Vec<Event>, Refusal> {
    let refused = |sort, code, why| {
        Refusal::new(sort, code, format!("batch {number} of site {}", site.id), why)
    };
    if number <= site.told {
        return Ok(Vec::new());
    }
    let wanted = site.told.saturating_add(1);
    if number != wanted {
        let why = format!("batch {wanted} is wanted first");
        return Err(refused(Sort::Conflict, "site.gap", why));
    }
    if happened.len() > TELL_MAX {
        let why = format!("{} things happened in it, and {TELL_MAX} is the most", happened.len());
        return Err(refused(Sort::Invalid, "site.batch", why));
    }
    let part = |happened: Vec<Happened>| Event::Told { id: site.id.clone(), number, happened };
    let (mut events, mut now, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
    for one in happened {
        let [kind, subject, what] = HAPPENED_CHARS_MAX;
        let one = Happened {
            at: one.at,
            kind: clipped(&one.kind, kind),
            subject: clipped(&one.subject, subject),
            what: clipped(&one.what, what),
        };
        let more = serde_json::to_vec(&one).map_or(EVENT_BYTES_MAX, |text| text.len());
        if !now.is_empty() && bytes.saturating_add(more) > EVENT_BYTES_MAX {
            events.push(part(std::mem::take(&mut now)));
            bytes = 0;
        }
        bytes = bytes.saturating_add(more).saturating_add(1);
        now.push(one);
    }
    events.push(part(now));
    Ok(events)
}

/// A site may say anything: what it says at length is cut, not refused again and again.
fn clipped(text: &str, chars: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(chars).collect()
}

fn check_hash(text: &str) -> Result<(), Refusal> {
    match text.len() == 64 && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)) {
        true => Ok(()),
        false => Err(Refusal::new(
            Sort::Invalid,
            "hash.malformed",
            "a digest",
            "SHA-256 is 64 hex digits in lower case",
        )),
    }
}
